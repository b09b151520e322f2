package calls_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

// carried gives a record as the processor gets it: read from bytes, sharing no
// memory with any other.
func carried(t testing.TB, r *telemetry.Record) *telemetry.Record {
	b, err := r.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	out := &telemetry.Record{}
	if err := out.UnmarshalVT(b); err != nil {
		t.Fatal(err)
	}
	return out
}

// reported is a call with signalling and a minute of reports of both sides, whose
// jitter and round trip vary as those of a real one.
func reported(t testing.TB, n int) []*telemetry.Record {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	s := newScript(t)
	s.key = fmt.Sprintf("%08x7e4a4c1b9d2f%08x@10.20.30.40", n, n)
	s.caller = &telemetry.Identity{UserId: fmt.Sprintf("user-%06d", n), Name: fmt.Sprintf("Alice Example %d", n), Number: fmt.Sprintf("+1312%07d", n), DepartmentId: "support", OfficeId: "chicago"}
	s.callee = &telemetry.Identity{Number: fmt.Sprintf("+1415%07d", n)}
	codecs := []*telemetry.Codec{
		{PayloadType: 96, Name: "opus", ClockRate: 48000, Channels: 2}, {PayloadType: 9, Name: "G722", ClockRate: 8000}, {PayloadType: 0, Name: "PCMU", ClockRate: 8000},
		{PayloadType: 8, Name: "PCMA", ClockRate: 8000}, {PayloadType: 18, Name: "G729", ClockRate: 8000}, {PayloadType: 101, Name: "telephone-event", ClockRate: 8000},
	}
	offer, answer := s.sdp(0, "sendrecv"), s.sdp(1, "sendrecv")
	offer.Media[0].Codecs, answer.Media[0].Codecs = codecs, codecs[2:]
	s.sip(0, 0, "INVITE", 0, withSDP(offer))
	s.sip(0.1, 1, "INVITE", 100)
	s.sip(0.2, 1, "INVITE", 180)
	s.sip(1, 1, "INVITE", 200, withSDP(answer))
	s.sip(1.05, 0, "ACK", 0)
	s.talk(6, 66)
	for _, r := range s.records {
		if m := r.GetSip(); m != nil {
			m.RequestUri = "sip:" + s.callee.Number + "@sip.example.com;user=phone"
			m.ViaBranch = fmt.Sprintf("z9hG4bK%016x", n)
			m.From.Tag = strings.Replace(m.From.Tag, "tag-", fmt.Sprintf("%012x", n), 1)
			if m.To.Tag != "" {
				m.To.Tag = strings.Replace(m.To.Tag, "tag-", fmt.Sprintf("%012x", n), 1)
			}
		}
		if p := r.GetRtcp(); p != nil {
			for _, b := range p.Reports {
				b.Jitter = uint32(random.IntN(200))
			}
			r.AtUs += random.Int64N(20_000)
		}
	}
	return s.records
}

// recorded reads a recording of two peer connections once.
var recorded = func() func(testing.TB) []*telemetry.Record {
	var all []*telemetry.Record
	return func(t testing.TB) []*telemetry.Record {
		if all == nil {
			all = records(t, stats, "w1_clean.jsonl.gz")
		}
		return all
	}
}()

// polled is a call of two peer connections that send getStats for a minute.
func polled(t testing.TB, n int) []*telemetry.Record {
	random := rand.New(rand.NewPCG(uint64(n), 2))
	all := recorded(t)
	out := make([]*telemetry.Record, 0, len(all))
	for _, r := range all {
		r = carried(t, r)
		w := r.GetWebrtc()
		if w == nil {
			continue
		}
		r.Timeline, r.CallKey = &telemetry.Timeline{}, fmt.Sprintf("5f1f0d1e-7a54-4dd7-a1a0-%012x", n)
		w.UserId, w.DeviceId = fmt.Sprintf("user-%s-%06d", w.Side, n), fmt.Sprintf("device-%s-%06d", w.Side, n)
		for _, in := range w.Inbound {
			if in.JitterS != nil {
				*in.JitterS = random.Float64() * 0.02
			}
		}
		for _, in := range w.RemoteInbound {
			if in.RoundTripTimeS != nil {
				*in.RoundTripTimeS = 0.05 + random.Float64()*0.05
			}
		}
		out = append(out, r)
	}
	return out
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryOfAnOpenCall: what a machine holds of a call, its entries of maps and
// queues included.
func TestMemoryOfAnOpenCall(t *testing.T) {
	const n = 200
	for name, kind := range map[string]struct {
		traffic func(testing.TB, int) []*telemetry.Record
		bytes   uint64
	}{"rtcp": {reported, 2048}, "getstats": {polled, 2048}} {
		t.Run(name, func(t *testing.T) {
			feed := func(m *calls.Machine, i int) {
				for _, r := range kind.traffic(t, i) {
					if err := m.Apply(carried(t, r), func(*telemetry.Outcome) {}); err != nil {
						t.Fatal(err)
					}
				}
			}
			feed(newMachine(), 0) // what is made once and kept
			m := newMachine()
			before := heap()
			for i := range n {
				feed(m, i)
			}
			checkpoint := 0
			m.Checkpoint(func(_ string, state []byte) { checkpoint += len(state) })
			used := (heap() - before) / n
			if m.Open() != n {
				t.Fatalf("%d calls are open", m.Open())
			}
			t.Logf("%d bytes per call, %d of a checkpoint", used, checkpoint/n)
			if used > kind.bytes {
				t.Errorf("an open call takes %d bytes, more than %d", used, kind.bytes)
			}
			runtime.KeepAlive(m)
		})
	}
}

// TestMemoryIsBounded: whatever is fed to a call, for however long, it holds a
// bounded amount.
func TestMemoryIsBounded(t *testing.T) {
	const bound = 32 << 10
	random := rand.New(rand.NewPCG(7, 7))
	m := newMachine()
	most := 0
	for i, r := range randomRecords(random, 3_000) {
		r.CallKey, r.Company, r.Timeline = "c1", "acme", nil
		any := func(kind string) string { return fmt.Sprintf("%s-%d", kind, random.IntN(1000)) }
		addr := func() string {
			return fmt.Sprintf("10.0.%d.%d:%d", random.IntN(4), random.IntN(8), 10_000+2*random.IntN(50))
		}
		switch b := r.Body.(type) {
		case *telemetry.Record_Sip:
			b.Sip.CallId, b.Sip.ViaBranch, b.Sip.Src, b.Sip.Dst = any("dialog"), any("branch"), addr(), addr()
			if b.Sip.Method == "BYE" || b.Sip.Status >= 300 {
				b.Sip.CallId = "c1"
			}
		case *telemetry.Record_Rtcp:
			b.Rtcp.Src, b.Rtcp.Dst, b.Rtcp.SenderSsrc = addr(), addr(), random.Uint32N(100)
			for _, sr := range b.Rtcp.SenderReports {
				sr.Ssrc, sr.Ntp = random.Uint32N(100), random.Uint64()
			}
			for _, rr := range b.Rtcp.Reports {
				rr.Ssrc, rr.Jitter, rr.HighestSeq = random.Uint32N(100), random.Uint32N(20_000), uint32(i)*250
			}
		case *telemetry.Record_Webrtc:
			b.Webrtc.LegId = any("leg")
		case *telemetry.Record_Event:
			b.Event.Id, b.Event.SipCallId = any("event"), any("dialog")
		case *telemetry.Record_Link:
			b.Link.CallKey = any("linked")
		}
		if err := m.Apply(carried(t, r), func(*telemetry.Outcome) {}); err != nil {
			t.Fatal(err)
		}
		m.Checkpoint(func(_ string, state []byte) { most = max(most, len(state)) })
	}
	t.Logf("%d bytes at most", most)
	if most > bound {
		t.Errorf("a call took %d bytes, more than %d", most, bound)
	}
}
