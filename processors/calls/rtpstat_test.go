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

// TestOneWayByHeaders: with nothing but signalling, the counts of the two phones
// tell whether audio arrived.
func TestOneWayByHeaders(t *testing.T) {
	stat := func(sent, received uint64) *telemetry.RTPStat {
		return &telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: &sent, PacketsReceived: &received}
	}
	tests := map[string]struct {
		caller, callee   *telemetry.RTPStat
		hold             bool
		seconds          float64
		state, direction string
		evidence         string
	}{
		"both ways":                {stat(1500, 1480), stat(1500, 1500), false, 30, "none", "", "audio_both_ways"},
		"nothing reaches B":        {stat(1500, 1480), stat(1500, 0), false, 30, "suspected", "target_to_contact", "never_received"},
		"nothing reaches A":        {stat(1500, 0), stat(1500, 1499), false, 30, "suspected", "contact_to_target", "never_received"},
		"B alone tells":            {nil, stat(1500, 0), false, 30, "unknown", "", "not_observed"},
		"half of it arrives":       {stat(1500, 700), stat(1500, 1500), false, 30, "unknown", "", "not_observed"},
		"on hold at the end":       {stat(1500, 0), stat(1500, 0), true, 30, "unknown", "", "not_observed"},
		"too short for conclusion": {stat(100, 0), stat(100, 100), false, 3, "unknown", "", "too_short"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.answered()
			if tt.hold {
				s.reinvite(10, 0, 2, "inactive", "inactive")
			}
			with := func(stat *telemetry.RTPStat) sipOption {
				if stat == nil {
					return withStats()
				}
				return withStats(stat)
			}
			s.sip(tt.seconds, 0, "BYE", 0, withCSeq(90), withBranch("z9hG4bK-bye"), with(tt.caller))
			s.sip(tt.seconds+0.05, 1, "BYE", 200, withCSeq(90), withBranch("z9hG4bK-bye"), with(tt.callee))
			c := last(t, s.run(20))
			found := false
			for _, e := range c.Verdict.Evidence {
				found = found || e.Kind == tt.evidence
			}
			if o := c.Verdict.OneWayAudio; o.State != tt.state || o.Direction != tt.direction || !found {
				t.Error(explain(c))
			}
		})
	}
}
