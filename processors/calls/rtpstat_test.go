package calls_test

import (
	"math"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

func withStats(stats ...*telemetry.RTPStat) sipOption {
	return func(m *telemetry.SIPMessage) { m.RtpStats = stats }
}

// TestStatisticsHeaders: what phones put into BYE and its 200 makes samples and,
// where nobody else reports, the verdict.
func TestStatisticsHeaders(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	u := func(v uint64) *uint64 { return &v }
	caller := &telemetry.RTPStat{Header: "p-rtp-stat", PacketsSent: u(1000), PacketsReceived: u(950), PacketsLost: u(50), JitterMs: f(12), RoundTripMs: f(240)}
	callee := &telemetry.RTPStat{Header: "rtp-rxstat", PacketsReceived: u(990), PacketsLost: u(10), JitterTimestampUnits: f(160), MosLq: f(4.1)}
	sent := &telemetry.RTPStat{Header: "rtp-txstat", PacketsSent: u(1000)}

	s := newScript(t)
	s.answered()
	s.sip(30, 0, "BYE", 0, withCSeq(90), withBranch("z9hG4bK-bye"), withStats(caller))
	s.sip(30.01, 0, "BYE", 0, withCSeq(90), withBranch("z9hG4bK-next"), withPath("10.0.0.9:5060", "10.0.0.2:5060"), withStats(caller)) // a proxy passes it on
	s.sip(30.05, 1, "BYE", 200, withCSeq(90), withBranch("z9hG4bK-bye"), withStats(callee, sent))
	out := s.run(20)
	c := last(t, out)
	v := c.Verdict
	near := func(got, want float64) bool { return math.Abs(got-want) < 0.01 }
	if !near(v.Loss.GetContactToTargetPercent(), 5) || !near(v.Loss.GetTargetToContactPercent(), 1) || v.Delay.GetBand() != "bad" || v.Mos.GetModel() != "reported" || !near(v.Mos.GetAvg(), 4.1) {
		t.Error(explain(c))
	}
	type point struct {
		side, direction    string
		loss, jitter, rtt  float64
		packets, lost, mos float64
	}
	var got []point
	for _, x := range samples(out) {
		if x.Source == "sip" {
			got = append(got, point{x.Side, x.Direction, x.GetLossPercent(), x.GetJitterMs(), x.GetRttMs(), float64(x.GetPackets()), float64(x.GetPacketsLost()), x.GetMos()})
		}
	}
	// Timestamp units become ms by the clock of the SDP.
	want := []point{{"target", "contact_to_target", 5, 12, 240, 950, 50, 0}, {"contact", "target_to_contact", 1, 20, 0, 990, 10, 4.1}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("samples\n got %v\nwant %v", got, want)
	}
	kinds := map[string]uint32{}
	for _, x := range v.Sources {
		kinds[x.Kind+" "+x.Side] = x.Samples
	}
	if kinds["sip target"] != 1 || kinds["sip contact"] != 1 {
		t.Errorf("sources %v", v.Sources)
	}
}

// RTCP knows each interval; a header only the sum, so RTCP comes first.
func TestStatisticsHeadersAndRTCP(t *testing.T) {
	lost := uint64(500)
	s := newScript(t)
	s.answered().talk(6, 26)
	s.sip(30, 0, "BYE", 0, withCSeq(90), withStats(&telemetry.RTPStat{Header: "x-rtp-stat", PacketsReceived: &lost, PacketsLost: &lost}))
	c := last(t, s.run(20))
	if c.Verdict.Loss.GetContactToTargetPercent() > 1 {
		t.Error(explain(c))
	}
}

// Whatever a header says, the outcomes can be written and hold no nonsense.
func TestStatisticsHeadersOutOfBounds(t *testing.T) {
	big, nan, low := uint64(math.MaxUint64), math.NaN(), -5.0
	s := newScript(t)
	s.answered()
	s.bye(20, 0)
	s.sip(20.01, 0, "BYE", 0, withBranch("z9hG4bK-x"), withStats(nil, &telemetry.RTPStat{PacketsReceived: &big, PacketsLost: &big, PacketsDiscarded: &big, JitterMs: &nan, RoundTripMs: &low, MosCq: &nan, ConcealmentPercent: &low}))
	for _, x := range samples(s.run(20)) {
		if x.Source == "sip" && (x.JitterMs != nil || x.RttMs != nil || x.Mos != nil || x.Packets != nil || x.ConcealmentPercent != nil || x.GetLossPercent() < 0 || x.GetLossPercent() > 100) {
			t.Errorf("%v", x)
		}
	}
}
