package ingest

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

func sourceAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 9060)
}

// Whatever is put in comes out once, in the order of its source, or is counted
// as lost; sources take turns; memory stays within its bounds.
func TestFairQueue(t *testing.T) {
	in := newQuiet(t)
	cfg := UDPConfig{SourceBytes: 64 << 10, QueueBytes: 256 << 10, Sources: 50}
	type got struct {
		remote netip.AddrPort
		n      int
	}
	var served []got
	next := map[netip.AddrPort]int{}
	q := newFairQueue(cfg, in.newObserver("x", nil), func(b []byte, from *source, receivedUs int64) {
		var n int
		if _, err := fmt.Sscan(string(bytes.TrimRight(b, ".")), &n); err != nil || int64(n) != receivedUs || n < next[from.remote] {
			t.Fatalf("%q of %s, received at %d, after %d: %v", b, from.remote, receivedUs, next[from.remote], err)
		}
		next[from.remote] = n + 1
		served = append(served, got{from.remote, n})
	})
	put := func(source, n, size int) {
		b := append(fmt.Appendf(nil, "%d", n), bytes.Repeat([]byte("."), size)...)
		q.put(b, sourceAt(source), int64(n))
		if q.used > cfg.QueueBytes {
			t.Fatalf("%d bytes are used", q.used)
		}
	}
	lost := func(reason string) int {
		return counted(t, in.accounting.Tally("x", "", "").reason(nil, "d", reason))
	}
	in.accounting.Tally("x", "", "").droppedMany(dropSourceQueue, 0)
	in.accounting.Tally("x", "", "").droppedMany(dropSources, 0)

	// One floods, another sends little: nothing of that is lost, and it is served in turn.
	for n := range 1000 {
		put(1, n, 600)
		if n%100 == 0 {
			put(2, n, 600)
		}
	}
	q.serve(64)
	byTwo := 0
	for _, g := range served {
		if g.remote == sourceAt(2) {
			byTwo++
		}
	}
	if byTwo != 10 {
		t.Errorf("%d of source 2 are among the first %d", byTwo, len(served))
	}
	q.serve(1 << 20)
	q.settle()
	if len(served)+lost(dropSourceQueue) != 1010 || lost(dropSourceQueue) == 0 || !q.empty() || q.used != 0 {
		t.Errorf("%d served, %d lost, %d bytes used", len(served), lost(dropSourceQueue), q.used)
	}
	before := lost(dropSourceQueue)

	// Many flood at once; one that comes then still finds room.
	served = nil
	for n := range 300 {
		for s := range 20 {
			put(s, 1000+n, 1200)
		}
	}
	put(40, 1, 100)
	put(41, 1, 60_000) // larger than any block
	q.serve(1 << 20)
	q.settle()
	if next[sourceAt(40)] == 0 || next[sourceAt(41)] != 0 && q.used != 0 {
		t.Errorf("the newcomers: %d, %d", next[sourceAt(40)], next[sourceAt(41)])
	}
	if len(served)+lost(dropSourceQueue)-before != 300*20+2 {
		t.Errorf("%d served, %d lost", len(served), lost(dropSourceQueue)-before)
	}

	// No more sources than allowed, and silent ones make way.
	for s := range 100 {
		put(200+s, 1, 10)
	}
	if len(q.sources) != cfg.Sources || lost(dropSources) == 0 {
		t.Errorf("%d sources, %d datagrams of others", len(q.sources), lost(dropSources))
	}
	q.serve(1 << 20)
	put(500, int(sourceIdleUs)+1000+sweepAllUs, 10)
	if len(q.sources) != 1 {
		t.Errorf("%d sources after a long silence", len(q.sources))
	}
}

const sweepAllUs = 100e6

// One source floods with more than can be worked on while another sends a
// counted stream: of that nothing is lost, and the sums agree to the packet.
func TestFloodTakesNothingFromOthers(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.HEP.ReceiveBytes = 8 << 20
		c.UDP.SourceBytes = 512 << 10
		c.Buffer.Records, c.Buffer.Bytes = 20_000, 16<<20
	})
	addr := r.ingester.Addrs().HEPUDP
	packet := func(agent string, n int) []byte {
		p := hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: addr4("10.0.0.1:4001"), Dst: addr4("10.0.0.2:5001"), Time: time.Now(),
			PayloadType: hep.TypeRTCPJSON, AgentName: []byte(agent), CorrelationID: fmt.Appendf(nil, "%s-%d", agent, n%500), Payload: []byte(rtcpJSON)}
		return hep.Append(nil, &p)
	}
	const steady = 1500
	var flooding atomic.Bool
	flooding.Store(true)
	sent := atomic.Int64{}
	var wg sync.WaitGroup
	for i := range 2 {
		conn := r.dial("udp", addr)
		wg.Go(func() {
			b := packet("flood", i)
			for flooding.Load() {
				if _, err := conn.Write(b); err == nil {
					sent.Add(1)
				}
			}
		})
	}
	// Steady means: within its share, however slow this machine is.
	heard := r.ingester.accounting.Tally(ListenerHEPUDP, "steady", DefaultCompany).received
	conn := r.dial("udp", addr)
	for n := range steady {
		send(t, conn, packet("steady", n))
		if n%50 != 49 {
			continue
		}
		for before, still := counted(t, heard), 0; before < n+1 && still < 5; {
			time.Sleep(2 * time.Millisecond)
			if now := counted(t, heard); now != before {
				before, still = now, 0
			} else {
				still++
			}
		}
	}
	flooding.Store(false)
	wg.Wait()
	r.wait(1, func(rec *telemetry.Record) bool { return rec.GetSource().GetAgent() == "steady" })
	r.stop()
	hepUDP := "listener=" + ListenerHEPUDP
	of := func(name, agent string) int { return int(r.sums("earshot_ingest_"+name, hepUDP, "agent="+agent)) }
	received, kernel := int(r.sums("earshot_ingest_received_total", hepUDP)), int(r.sums("earshot_ingest_kernel_dropped_total", hepUDP))
	if total := int(sent.Load()) + steady; total != received+kernel {
		t.Errorf("%d sent, %d received, %d dropped by the kernel", total, received, kernel)
	}
	for _, agent := range []string{"steady", "flood"} {
		if got := of("produced_total", agent) + of("rejected_total", agent) + of("dropped_total", agent); got != of("received_total", agent) {
			t.Errorf("%s: %d received, %d accounted for", agent, of("received_total", agent), got)
		}
	}
	// What the kernel dropped it took from all alike, before Earshot had a say.
	if lost := of("dropped_total", "steady"); lost != 0 || of("produced_total", "steady") < steady-kernel {
		t.Errorf("steady: %d sent, %d produced, %d dropped, %d dropped by the kernel", steady, of("produced_total", "steady"), lost, kernel)
	}
	t.Logf("flood: %d sent, %d dropped for a full queue; kernel: %d", sent.Load(), of("dropped_total", "flood"), kernel)
}

// A connection that takes all room there is leaves others theirs.
func TestRoomIsShared(t *testing.T) {
	r := room{maxRecords: 100, maxBytes: 1 << 20}
	flood, steady := &origin{}, &origin{}
	for r.take(10, flood) {
	}
	if flood.records != 100 {
		t.Fatalf("alone: %d", flood.records)
	}
	r.join(steady)
	if r.take(10, steady) {
		t.Fatal("more than there is")
	}
	// As room comes free it goes to the one that has none.
	for range 60 {
		r.release(ack{from: flood, records: 1, bytes: 10})
		r.take(10, flood)
		r.take(10, steady)
	}
	if flood.records > 50 || steady.records < 50 || r.records > 100 {
		t.Errorf("flood %d, steady %d of %d", flood.records, steady.records, r.records)
	}
	r.leave(steady)
	r.release(ack{from: flood, records: flood.records, bytes: flood.bytes})
	r.release(ack{from: steady, records: steady.records, bytes: steady.bytes})
	if r.active != 0 || r.records != 0 || r.bytes != 0 {
		t.Errorf("left: %+v", r)
	}
}
