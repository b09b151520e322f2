package rtp

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"github.com/earshot/earshot/telemetry"
)

var (
	src   = netip.MustParseAddrPort("192.0.2.1:4000")
	dst   = netip.MustParseAddrPort("192.0.2.2:5000")
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func TestParse(t *testing.T) {
	plain := []byte{0x80, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 5, 0xca, 0xfe, 0xba, 0xbe, 1, 2, 3, 4}
	extended := []byte{0x91, 8, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 9, 9}
	padded := []byte{0xa0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 1, 2, 0, 2}
	var h Header
	for name, tt := range map[string]struct {
		in   []byte
		want Header
	}{
		"plain":              {plain, Header{96, true, 0x1234, 5, 0xcafebabe, 4}},
		"CSRC and extension": {extended, Header{8, false, 1, 5, 9, 2}},
		"padding":            {padded, Header{0, false, 1, 5, 9, 2}},
		"nothing but header": {plain[:12], Header{96, true, 0x1234, 5, 0xcafebabe, 0}},
		"padding of SRTP":    {append(padded[:15:15], 200), Header{0, false, 1, 5, 9, 4}},
		"comfort noise":      {[]byte{0x80, 13, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 0x40}, Header{13, false, 1, 5, 9, 1}},
		"marker, type of 72": {[]byte{0x80, 0x80 | 63, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9}, Header{63, true, 1, 5, 9, 0}},
	} {
		if err := Parse(tt.in, &h); err != nil || h != tt.want {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": plain[:11], "version 1": append([]byte{0x40}, plain[1:]...), "STUN": make([]byte, 20),
		"RTCP": {0x80, 200, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9}, "CSRCs beyond the end": append([]byte{0x82}, plain[1:]...),
		"extension beyond the end": extended[:20], "no room for an extension": append([]byte{0x90}, plain[1:12]...),
	} {
		if err := Parse(b, &h); err != ErrNotRTP {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// talk sends count packets of 20 ms at 8000 Hz to the aggregator.
type talk struct {
	a    *Aggregator
	at   time.Time
	seq  uint16
	ts   uint32
	pt   uint8
	seen []*telemetry.RTPInterval
}

func (s *talk) send(count int) {
	for range count {
		s.packet(0)
		s.skip(1)
	}
}

func (s *talk) packet(late time.Duration) {
	h := Header{PayloadType: s.pt, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: 7}
	if i := s.a.Observe(s.at.Add(late), src, dst, &h, 8000); i != nil {
		s.seen = append(s.seen, i)
	}
}

func (s *talk) skip(n int) {
	s.at, s.seq, s.ts = s.at.Add(time.Duration(n)*20*time.Millisecond), s.seq+uint16(n), s.ts+uint32(n)*160
}

func (s *talk) end() (packets, expected uint32, last *telemetry.RTPInterval) {
	s.seen = append(s.seen, s.a.Flush(time.Time{})...)
	for _, i := range s.seen {
		packets += i.Packets
		expected += i.Expected
	}
	return packets, expected, s.seen[len(s.seen)-1]
}

func newTalk() *talk { return &talk{a: NewAggregator(8), at: start, seq: 65500, ts: 1000} }

func TestIntervals(t *testing.T) {
	s := newTalk()
	s.send(125)
	packets, expected, last := s.end()
	if packets != 125 || expected != 125 || len(s.seen) != 3 {
		t.Errorf("%d of %d in %d intervals", packets, expected, len(s.seen))
	}
	first := s.seen[0]
	if first.Packets != 50 || first.FirstUs != start.UnixMicro() || first.LastUs != start.Add(980*time.Millisecond).UnixMicro() ||
		first.Src != src.String() || first.Dst != dst.String() || first.Ssrc != 7 || first.ClockRate != 8000 || first.JitterMs != 0 {
		t.Errorf("%v", first)
	}
	// 65500 + 124, over the wrap.
	if last.HighestSeq != 65624 || last.MaxGapMs != 20 {
		t.Errorf("%v", last)
	}
}

func TestLossAndOrder(t *testing.T) {
	s := newTalk()
	s.send(10)
	s.skip(5) // lost
	s.send(10)
	h := Header{SequenceNumber: s.seq - 3, Timestamp: s.ts - 480, SSRC: 7} // a duplicate, late
	s.a.Observe(s.at, src, dst, &h, 8000)
	packets, expected, last := s.end()
	if packets != 21 || expected != 25 || last.MaxGapMs != 120 || last.LossRuns != 1 || last.TimestampStep != 160 {
		t.Errorf("%d of %d, gap %d ms, %d runs, step %d", packets, expected, last.MaxGapMs, last.LossRuns, last.TimestampStep)
	}
}

func TestRestart(t *testing.T) {
	s := newTalk()
	s.send(10)
	s.seq, s.ts = 20000, 5
	s.send(10)
	packets, expected, last := s.end()
	if packets != 20 || expected != 20 || last.HighestSeq != 20009 {
		t.Errorf("%d of %d, highest %d", packets, expected, last.HighestSeq)
	}
	if last.JitterMs > 0.001 {
		t.Errorf("jitter %v ms from a restart", last.JitterMs)
	}

	s = newTalk()
	s.send(10)
	stray := Header{SequenceNumber: 20000, Timestamp: s.ts, SSRC: 7}
	s.a.Observe(s.at, src, dst, &stray, 8000)
	s.send(10)
	if packets, expected, _ := s.end(); packets != 21 || expected != 20 {
		t.Errorf("after a stray packet: %d of %d", packets, expected)
	}
}

// Packets that are late by 10 ms in turn: every D is 10 ms, to which J converges.
func TestJitter(t *testing.T) {
	s := newTalk()
	for n := range 400 {
		s.packet(time.Duration(n%2) * 10 * time.Millisecond)
		s.skip(1)
	}
	if _, _, last := s.end(); math.Abs(last.JitterMs-10) > 0.01 {
		t.Errorf("jitter %v ms", last.JitterMs)
	}
}

func TestTelephoneEventsAreNoJitter(t *testing.T) {
	s := newTalk()
	s.send(20)
	s.pt = 101
	began := s.ts
	for range 10 {
		s.ts = began
		s.packet(0)
		s.skip(1)
	}
	s.pt, s.ts = 0, began+10*160
	s.send(20)
	if _, _, last := s.end(); last.JitterMs != 0 {
		t.Errorf("jitter %v ms", last.JitterMs)
	}
}

func TestClockUnknown(t *testing.T) {
	a := NewAggregator(1)
	for n := range 10 {
		a.Observe(start.Add(time.Duration(n*n)*time.Millisecond), src, dst, &Header{SequenceNumber: uint16(n), Timestamp: uint32(n)}, 0)
	}
	if i := a.Flush(time.Time{}); len(i) != 1 || i[0].ClockRate != 0 || i[0].JitterMs != 0 || i[0].Packets != 10 {
		t.Errorf("%v", i)
	}
}

func TestFlushAndBound(t *testing.T) {
	a := NewAggregator(2)
	for n, ssrc := range []uint32{3, 2} {
		a.Observe(start.Add(time.Duration(n)*time.Millisecond), src, dst, &Header{SSRC: ssrc}, 8000)
	}
	if got := a.Flush(start); len(got) != 0 {
		t.Errorf("not silent, but flushed: %v", got)
	}
	if got := a.Flush(start.Add(time.Millisecond)); len(got) != 1 || got[0].Ssrc != 3 {
		t.Errorf("%v", got)
	}
	a.Observe(start.Add(2*time.Millisecond), src, dst, &Header{SSRC: 3, SequenceNumber: 1}, 8000)
	evicted := a.Observe(start.Add(3*time.Millisecond), src, dst, &Header{SSRC: 4}, 8000)
	if evicted == nil || evicted.Ssrc != 2 || len(a.streams) != 2 {
		t.Errorf("evicted %v, %d streams", evicted, len(a.streams))
	}
	if got := a.Flush(time.Time{}); len(got) != 2 || got[0].Ssrc != 3 || got[0].MaxGapMs != 2 || got[1].Ssrc != 4 {
		t.Errorf("%v", got)
	}
	if got := a.Flush(time.Time{}); len(got) != 0 {
		t.Errorf("flushed twice: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x91, 8, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 9, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Header
		if Parse(b, &h) != nil {
			return
		}
		if h.PayloadBytes < 0 || h.PayloadBytes > len(b)-headerBytes || binary.BigEndian.Uint32(b[8:]) != h.SSRC {
			t.Fatalf("%+v of %d bytes", h, len(b))
		}
		var p pion.Packet
		if p.Unmarshal(b) != nil {
			return
		}
		if p.PayloadType != h.PayloadType || p.SequenceNumber != h.SequenceNumber || p.Timestamp != h.Timestamp || p.Marker != h.Marker ||
			len(p.Payload) != h.PayloadBytes && b[0]&0x20 == 0 {
			t.Fatalf("%+v, pion: %v", h, p)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	a := NewAggregator(8)
	wire := make([]byte, 172)
	wire[0] = 0x80
	var h Header
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		binary.BigEndian.PutUint16(wire[2:], uint16(n))
		binary.BigEndian.PutUint32(wire[4:], uint32(n)*160)
		if err := Parse(wire, &h); err != nil {
			b.Fatal(err)
		}
		a.Observe(start.Add(time.Duration(n)*20*time.Millisecond), src, dst, &h, 8000)
	}
}
