package demo

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// reportInterval is that of RTCP (RFC 3550 §6.2: 5 s).
const reportInterval = 5 * time.Second

// speaker is one end of a plain RTP stream in G.711 with its RTCP, on one port
// (RFC 5761): what a desk phone does.
type speaker struct {
	conn  *net.UDPConn
	to    netip.AddrPort
	ssrc  uint32
	voice *voice
	first bool

	mu      sync.Mutex
	sent    uint32
	octets  uint32
	ts      uint32
	seq     uint16
	started bool
	remote  uint32
	base    uint32
	highest uint32 // extended
	got     uint32
	jitter  float64 // timestamp units
	transit float64
	// of the previous report, for the fraction lost
	priorExpected, priorGot uint32
	lastSR                  uint32
	lastSRAt                time.Time
}

func newSpeaker(v *voice, first bool, ssrc uint32) (*speaker, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("cannot open a demo phone's media port: %w", err)
	}
	return &speaker{conn: conn, voice: v, first: first, ssrc: ssrc, seq: uint16(ssrc), ts: ssrc}, nil
}

func (s *speaker) local() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// sdp describes the stream as found at the given address.
func (s *speaker) sdp(at netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 %s\r\ns=call\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=rtcp-mux\r\na=sendrecv\r\na=ptime:20\r\na=ssrc:%d cname:demo\r\n",
		s.ssrc, at.Addr(), at.Addr(), at.Port(), s.ssrc)
}

// talk sends and receives until ctx ends.
func (s *speaker) talk(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	go s.listen()
	go pace(ctx, s.speak)
	reports := time.NewTicker(reportInterval)
	defer reports.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-reports.C:
			if raw, err := s.report(now); err == nil {
				_, _ = s.conn.WriteToUDPAddrPort(raw, s.to)
			}
		}
	}
}

// speak sends one frame.
func (s *speaker) speak(n int, _ time.Time) {
	f := s.voice.talk(n, s.first)
	s.mu.Lock()
	defer s.mu.Unlock()
	packet := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc}, Payload: f.pcmu}
	s.seq++
	s.ts += pcmuFrame
	if raw, err := packet.Marshal(); err == nil {
		_, _ = s.conn.WriteToUDPAddrPort(raw, s.to)
	}
	s.sent++
	s.octets += uint32(len(f.pcmu))
}

func (s *speaker) listen() {
	buf := make([]byte, 2048)
	for {
		n, _, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		now := time.Now()
		switch {
		case isRTCP(buf[:n]):
			s.receiveReport(buf[:n], now)
		case isRTP(buf[:n]):
			var packet rtp.Packet
			if packet.Unmarshal(buf[:n]) == nil {
				s.receive(&packet, now)
			}
		}
	}
}

func (s *speaker) receive(packet *rtp.Packet, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	transit := float64(now.UnixMicro())*pcmuRate/1e6 - float64(packet.Timestamp)
	if !s.started {
		s.started, s.remote = true, packet.SSRC
		s.base, s.highest = uint32(packet.SequenceNumber), uint32(packet.SequenceNumber)
	} else {
		if d := int16(packet.SequenceNumber - uint16(s.highest)); d > 0 {
			s.highest += uint32(d)
		}
		s.jitter += (math.Abs(transit-s.transit) - s.jitter) / 16 // RFC 3550 §6.4.1
	}
	s.transit = transit
	s.got++
}

func (s *speaker) receiveReport(raw []byte, now time.Time) {
	packets, err := rtcp.Unmarshal(raw)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			s.lastSR, s.lastSRAt = uint32(sr.NTPTime>>16), now
		}
	}
}

// report is a sender report with what was received (RFC 3550 §6.4.1, A.3).
func (s *speaker) report(now time.Time) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sr := &rtcp.SenderReport{SSRC: s.ssrc, NTPTime: ntp(now), RTPTime: s.ts, PacketCount: s.sent, OctetCount: s.octets}
	if s.started {
		expected := s.highest - s.base + 1
		interval, got := expected-s.priorExpected, s.got-s.priorGot
		s.priorExpected, s.priorGot = expected, s.got
		block := rtcp.ReceptionReport{SSRC: s.remote, TotalLost: (expected - s.got) & 0xffffff, LastSequenceNumber: s.highest, Jitter: uint32(s.jitter)}
		if interval > got {
			block.FractionLost = uint8(min(255, (interval-got)*256/interval))
		}
		if s.lastSR != 0 {
			block.LastSenderReport = s.lastSR
			block.Delay = uint32(now.Sub(s.lastSRAt).Seconds() * 65536)
		}
		sr.Reports = append(sr.Reports, block)
	}
	return rtcp.Marshal([]rtcp.Packet{sr, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: s.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "demo"}},
	}}}})
}
