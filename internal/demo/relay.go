package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// impairment is what the relay does to the packets of one direction.
type impairment struct {
	delay  time.Duration // to every packet
	jitter time.Duration // uniform 0…jitter more to each RTP packet, which also reorders
	loss   float64       // share of RTP packets, 0–1
	// RTP is swallowed from deadFrom after the first packet on; negative: never.
	deadFrom time.Duration
}

// relay stands between two parties as a network would: each sees the other at
// the relay's address. Real packets pass; what happens to them is the fault
// the call is labelled with.
type relay struct {
	legs   [2]*leg
	seed   *rand.Rand
	mu     sync.Mutex
	tap    func(from int, src, dst netip.AddrPort, packet []byte)
	closed bool
	start  time.Time
}

// leg is the relay's socket that faces one party.
type leg struct {
	conn  *net.UDPConn
	party netip.AddrPort
	to    impairment // of packets from this party to the other
}

func newRelay(fromA, fromB impairment, seed uint64) (*relay, error) {
	r := &relay{seed: rand.New(rand.NewPCG(seed, 7))}
	for i, imp := range []impairment{fromA, fromB} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("cannot open the demo's relay: %w", err)
		}
		r.legs[i] = &leg{conn: conn, to: imp}
	}
	return r, nil
}

// facing is the address at which party i (0 or 1) finds the other one.
func (r *relay) facing(i int) netip.AddrPort {
	return r.legs[i].conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// setParty tells where party i really is.
func (r *relay) setParty(i int, addr netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.legs[i].party = addr
}

func (r *relay) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		for _, l := range r.legs {
			_ = l.conn.Close()
		}
	})
	defer stop()
	var wg sync.WaitGroup
	for i := range r.legs {
		wg.Go(func() { r.forward(i) })
	}
	wg.Wait()
}

func (r *relay) forward(from int) {
	in, out := r.legs[from], r.legs[1-from]
	buf := make([]byte, 2048)
	for {
		n, src, err := in.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		r.mu.Lock()
		dst := out.party
		if !in.party.IsValid() {
			in.party = src
		}
		if r.tap != nil {
			r.tap(from, src, in.conn.LocalAddr().(*net.UDPAddr).AddrPort(), packet)
		}
		wait, drop := r.judge(in.to, packet)
		r.mu.Unlock()
		if drop || !dst.IsValid() {
			continue
		}
		time.AfterFunc(wait, func() { _, _ = out.conn.WriteToUDPAddrPort(packet, dst) })
	}
}

func (r *relay) judge(imp impairment, packet []byte) (wait time.Duration, drop bool) {
	wait = imp.delay
	if !isRTP(packet) {
		return wait, false
	}
	if r.start.IsZero() {
		r.start = time.Now()
	}
	if imp.deadFrom >= 0 && time.Since(r.start) >= imp.deadFrom || r.seed.Float64() < imp.loss {
		return 0, true
	}
	if imp.jitter > 0 {
		wait += time.Duration(r.seed.Int64N(int64(imp.jitter)))
	}
	return wait, false
}

// isRTP tells RTP from STUN, DTLS and RTCP on one port (RFC 7983, RFC 5761).
func isRTP(packet []byte) bool {
	return len(packet) >= 12 && packet[0]>>6 == 2 && !isRTCP(packet)
}

func isRTCP(packet []byte) bool {
	return len(packet) >= 8 && packet[0]>>6 == 2 && packet[1] >= 192 && packet[1] <= 223
}
