package calls_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

func TestRejections(t *testing.T) {
	ring := func(s *script) {
		s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
		s.sip(0.2, 1, "INVITE", 180)
	}
	elsewhere := withReason(`SIP;cause=200;text="Call completed elsewhere"`)
	proxy, b1, b2 := "10.0.0.9:5060", "10.0.1.1:5060", "10.0.1.2:5060"
	// fork sends the call through a proxy to two phones of the callee.
	fork := func(s *script) {
		s.sip(0, 0, "INVITE", 0, withPath(signalling[0], proxy), withSDP(s.sdp(0, "sendrecv")))
		s.sip(0.1, 0, "INVITE", 0, withPath(proxy, b1), withBranch("z9hG4bK-b1"), withSDP(s.sdp(0, "sendrecv")))
		s.sip(0.1, 0, "INVITE", 0, withPath(proxy, b2), withBranch("z9hG4bK-b2"), withSDP(s.sdp(0, "sendrecv")))
	}
	first, second := withBranch("z9hG4bK-b1"), withBranch("z9hG4bK-b2")
	tests := []struct {
		name   string
		script func(*script)
		want   []string // reason and status
		endBy  string
	}{
		{"busy", func(s *script) { ring(s); s.sip(3, 1, "INVITE", 486) }, []string{"on_a_call 486"}, "contact"},
		{"busy, sent three times", func(s *script) {
			ring(s)
			s.sip(3, 1, "INVITE", 486)
			s.sip(3.5, 1, "INVITE", 486)
			s.sip(4.5, 1, "INVITE", 486)
		}, []string{"on_a_call 486"}, "contact"},
		{"declined", func(s *script) { ring(s); s.sip(3, 1, "INVITE", 603) }, []string{"manually_declined 603"}, "contact"},
		{"not there", func(s *script) {
			s.sip(0, 0, "INVITE", 0)
			s.sip(0.2, 1, "INVITE", 480)
		}, []string{"no_available_endpoints 480"}, "contact"},
		{"not answered", func(s *script) { ring(s); s.sip(30, 1, "INVITE", 480) }, []string{"no_answer 480"}, "contact"},
		{"challenged, then answered", func(s *script) {
			s.sip(0, 0, "INVITE", 0)
			s.sip(0.1, 1, "INVITE", 407)
			s.sip(0.2, 0, "INVITE", 0, withCSeq(2), withBranch("z9hG4bK-2"), withSDP(s.sdp(0, "sendrecv")))
			s.sip(1, 1, "INVITE", 200, withCSeq(2), withBranch("z9hG4bK-2"), withSDP(s.sdp(1, "sendrecv")))
			s.bye(10, 1)
		}, nil, "contact"},
		{"challenged, and given up", func(s *script) {
			s.sip(0, 0, "INVITE", 0)
			s.sip(0.1, 1, "INVITE", 401)
		}, nil, "system"},
		{"Reason beside the status", func(s *script) {
			ring(s)
			s.sip(3, 1, "INVITE", 480, withReason("Q.850;cause=17"))
		}, []string{"on_a_call 480"}, "contact"},
		{"the caller hangs up", func(s *script) {
			ring(s)
			s.sip(5, 0, "CANCEL", 0)
			s.sip(5.1, 1, "CANCEL", 200)
			s.sip(5.2, 1, "INVITE", 487)
		}, []string{"caller_abandoned 487"}, "target"},
		{"answered elsewhere", func(s *script) {
			ring(s)
			s.sip(5, 0, "CANCEL", 0, elsewhere)
			s.sip(5.2, 1, "INVITE", 487)
		}, []string{"assigned_to_another_operator 487"}, "target"},
		{"answered elsewhere, 487 never seen", func(s *script) {
			ring(s)
			s.sip(5, 0, "CANCEL", 0, elsewhere)
		}, []string{"assigned_to_another_operator 0"}, "target"},
		{"the answer crosses the CANCEL", func(s *script) {
			ring(s)
			s.sip(5, 0, "CANCEL", 0)
			s.sip(5.01, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
			s.bye(30, 0)
		}, nil, "target"},
		{"one phone of two answers", func(s *script) {
			fork(s)
			s.sip(0.5, 1, "INVITE", 180, withPath(b1, proxy), first, withToTag("t1"))
			s.sip(0.5, 1, "INVITE", 180, withPath(b2, proxy), second, withToTag("t2"))
			s.sip(3, 1, "INVITE", 200, withPath(b1, proxy), first, withToTag("t1"), withSDP(s.sdp(1, "sendrecv")))
			s.sip(3.1, 1, "INVITE", 200, withPath(proxy, signalling[0]), withToTag("t1"), withSDP(s.sdp(1, "sendrecv")))
			s.sip(3.1, 0, "CANCEL", 0, withPath(proxy, b2), second, elsewhere)
			s.sip(3.2, 1, "INVITE", 487, withPath(b2, proxy), second, withToTag("t2"))
			s.bye(20, 0)
		}, []string{"assigned_to_another_operator 487"}, "target"},
		{"one phone of two answers, and the proxy does not say so", func(s *script) {
			fork(s)
			s.sip(3, 1, "INVITE", 200, withPath(b1, proxy), first, withToTag("t1"), withSDP(s.sdp(1, "sendrecv")))
			s.sip(3.1, 0, "CANCEL", 0, withPath(proxy, b2), second)
			s.sip(3.2, 1, "INVITE", 487, withPath(b2, proxy), second, withToTag("t2"))
			s.bye(20, 0)
		}, []string{"assigned_to_another_operator 487"}, "target"},
		{"busy while another leg of the agent rings", func(s *script) {
			fork(s)
			s.sip(0.5, 1, "INVITE", 180, withPath(b1, proxy), first, withToTag("t1"))
			s.sip(0.6, 1, "INVITE", 486, withPath(b2, proxy), second, withToTag("t2"))
			s.sip(3, 1, "INVITE", 200, withPath(b1, proxy), first, withToTag("t1"), withSDP(s.sdp(1, "sendrecv")))
			s.bye(20, 0)
		}, []string{"ringing_in_progress 486"}, "target"},
		{"both refuse, the proxy passes one on", func(s *script) {
			fork(s)
			s.sip(1, 1, "INVITE", 486, withPath(b1, proxy), first, withToTag("t1"))
			s.sip(2, 1, "INVITE", 603, withPath(b2, proxy), second, withToTag("t2"))
			s.sip(2.1, 1, "INVITE", 603, withPath(proxy, signalling[0]), withToTag("t2"))
		}, []string{"on_a_call 486", "manually_declined 603"}, "contact"},
		{"the platform says it first", func(s *script) {
			s.sip(0, 0, "INVITE", 0)
			s.event(0.1, "rejected", func(e *telemetry.CallEvent) {
				e.Reason, e.Text, e.LegId = "reserved_to_another_call", "Reserved", "leg-9"
				e.Subject = s.callee
			})
			s.sip(0.2, 1, "INVITE", 480)
		}, []string{"reserved_to_another_call 480"}, "contact"},
		{"the platform says it later", func(s *script) {
			s.sip(0, 0, "INVITE", 0)
			s.sip(0.2, 1, "INVITE", 480)
			s.event(0.5, "rejected", func(e *telemetry.CallEvent) { e.Reason, e.Subject = "do_not_disturb", s.callee })
		}, []string{"do_not_disturb 480"}, "contact"},
		{"an event alone, told twice", func(s *script) {
			same := func(e *telemetry.CallEvent) { e.Id, e.Reason, e.Subject = "e1", "after_hours", agentB }
			s.event(0, "started", func(e *telemetry.CallEvent) { e.From, e.To, e.Direction = someA, agentB, "inbound" })
			s.event(1, "rejected", same)
			s.event(1.5, "rejected", same)
			s.event(2, "ended", nil)
		}, []string{"after_hours 0"}, "system"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			tt.script(s)
			out := s.run(250)
			var got []string
			for _, r := range rejected(out) {
				got = append(got, fmt.Sprint(r.Reason, " ", r.SipStatus))
				if r.Id == "" || r.AtUs == 0 || r.Source == "" {
					t.Errorf("rejection %v", r)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("rejections %v, want %v", got, tt.want)
			}
			c := last(t, out)
			if c.State != "ended" || c.End.GetBy() != tt.endBy {
				t.Errorf("%s, ended by %q, want %q", c.State, c.End.GetBy(), tt.endBy)
			}
		})
	}
}

// TestVersions: provisional ones at most every 5 s and only for news, the final
// one 5 s after the end, another for what comes late.
func TestVersions(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	late := len(s.records)
	s.rtcp(60, reporting{packets: 250}, reporting{packets: 250})
	type version struct {
		at    float64
		final bool
		state string
	}
	var got []version
	prev := -100.0
	out := live(t, newMachine(), s.records[:late], 10)
	for _, o := range out {
		if c := o.GetCall(); c != nil {
			at := float64(c.Verdict.ComputedUs-startUs) / 1e6
			if at-prev < 4.999 {
				t.Errorf("versions at %.1f and %.1f s", prev, at)
			}
			prev = at
			got = append(got, version{at, c.Verdict.Final, c.State})
		}
	}
	if n := len(got); n < 7 || n > 10 || !got[n-1].final || got[n-1].state != "ended" || got[n-1].at < 45 || got[n-1].at > 47 || got[n-2].final {
		t.Errorf("versions: %v", got)
	}
	// A late report, within two minutes.
	all := live(t, newMachine(), s.records, 200)
	finals := 0
	for _, o := range all {
		if o.GetCall().GetVerdict().GetFinal() {
			finals++
		}
	}
	if finals != 2 {
		t.Errorf("%d final versions, want the final and a late one", finals)
	}
	if c := last(t, all); c.EndedUs != startUs+40_000_000 {
		t.Errorf("a late report moved the end to %d", c.EndedUs)
	}
}

// TestQuietCallMakesNoVersions: without news there is nothing to say.
func TestQuietCallMakesNoVersions(t *testing.T) {
	s := newScript(t)
	s.answered()
	n := 0
	for _, o := range s.run(600) {
		if o.GetCall() != nil {
			n++
		}
	}
	if n != 2 { // ringing and answered fall into the first, or the first and the second
		t.Errorf("%d versions of a call of which nothing was heard after its answer", n)
	}
}

// TestStatistics: a call that only getStats knows ends when they stop.
func TestStatistics(t *testing.T) {
	in := records(t, stats, "w1_clean.jsonl.gz")
	for _, r := range in {
		r.Timeline = nil // as if it were live
	}
	out := live(t, newMachine(), in[:len(in)-1], 60)
	c := last(t, out)
	if c.State != "ended" || !c.Verdict.Final || c.Verdict.Overall != "good" || c.End.By != "system" || c.EndedUs != in[len(in)-2].AtUs {
		t.Errorf("%v %v", c.End, explain(c))
	}
	if at := c.Verdict.ComputedUs - c.EndedUs; at < 34_000_000 || at > 38_000_000 {
		t.Errorf("final after %d µs", at)
	}
}

// TestForgetting: a call that is over takes no room for long, and what comes
// later does not open it again.
func TestForgetting(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	m := newMachine()
	live(t, m, s.records, 0)
	var out []*telemetry.Outcome
	emit := func(o *telemetry.Outcome) { out = append(out, o) }
	now := startUs + 40_000_000
	advance := func(seconds int64) {
		for range seconds {
			now += 1_000_000
			m.Advance("", now, emit)
		}
	}
	advance(200)
	out = nil
	straggler := newScript(t)
	straggler.rtcp(300, reporting{packets: 10}, reporting{packets: 10})
	straggler.event(300, "rated", func(e *telemetry.CallEvent) { e.Rating, e.Subject, e.Text = 2, agentA, "choppy" })
	for _, r := range straggler.records {
		if err := m.Apply(r, emit); err != nil {
			t.Fatal(err)
		}
	}
	advance(100)
	if len(out) != 2 || out[1].GetMoment().GetRating() != 2 || out[0].GetRating().GetRating() != 2 || out[0].GetRating().GetRater().GetUserId() != "alice" {
		t.Errorf("after the call was over: %v", out)
	}
	advance(700)
	if m.Open() != 0 {
		t.Errorf("%d calls held", m.Open())
	}
	left := 0
	m.Checkpoint(func(_ string, state []byte) {
		if state != nil {
			left++
		}
	})
	if left != 0 {
		t.Errorf("%d entries of state left", left)
	}
}

// TestNoCall: what has a Call-ID and is no call makes messages only.
func TestNoCall(t *testing.T) {
	s := newScript(t)
	s.sip(0, 0, "OPTIONS", 0)
	s.sip(0.1, 1, "OPTIONS", 200)
	s.sip(0.2, 1, "OPTIONS", 200)
	m := newMachine()
	out := live(t, m, s.records, 120)
	if len(out) != 2 || out[0].GetMessage() == nil || out[1].GetMessage() == nil {
		t.Errorf("outcomes %v", out)
	}
	if m.Open() != 0 {
		t.Errorf("%d calls held", m.Open())
	}
}

func TestPoison(t *testing.T) {
	good := newScript(t).answered().records[0]
	m := newMachine()
	for name, tt := range map[string]struct {
		record *telemetry.Record
		want   error
	}{
		"no body":    {&telemetry.Record{Company: "acme", CallKey: "x", AtUs: 1}, calls.ErrNoBody},
		"nothing":    {&telemetry.Record{}, calls.ErrNoBody},
		"no company": {&telemetry.Record{CallKey: "x", AtUs: 1, Body: good.Body}, calls.ErrNoCall},
		"no call":    {&telemetry.Record{Company: "acme", AtUs: 1, Body: good.Body}, calls.ErrNoCall},
		"no time":    {&telemetry.Record{Company: "acme", CallKey: "x", Body: good.Body}, calls.ErrTime},
		"far future": {&telemetry.Record{Company: "acme", CallKey: "x", AtUs: 1 << 62, Body: good.Body}, calls.ErrTime},
	} {
		err := m.Apply(tt.record, func(o *telemetry.Outcome) { t.Errorf("%s: %v came out", name, o) })
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if m.Open() != 0 {
		t.Error("poison opened a call")
	}
}

// TestAnswerNotSeen: where the beginning was not captured, a call that has media
// or ends with BYE was answered all the same.
func TestAnswerNotSeen(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	c := last(t, live(t, newMachine(), s.records[4:], 60)) // RTCP and BYE
	if c.ConnectedUs == 0 || c.Verdict.OneWayAudio.State != "none" || c.End.By != "target" {
		t.Error(explain(c))
	}
	s = newScript(t)
	s.reinvite(3, 1, 7, "sendrecv", "sendrecv")
	s.talk(6, 36)
	s.bye(40, 0)
	c = last(t, s.run(20))
	if c.ConnectedUs == 0 || c.Verdict.OneWayAudio.State != "none" {
		t.Error(explain(c))
	}
}

// TestEventsWithoutAnAnswer: the platform tells of start and end only.
func TestEventsWithoutAnAnswer(t *testing.T) {
	s := newScript(t)
	s.event(0, "started", func(e *telemetry.CallEvent) { e.From, e.To, e.Direction = someA, agentB, "inbound" })
	first := int64(0)
	for _, r := range records(t, stats, "w1_clean.jsonl.gz") {
		if r.GetWebrtc() == nil {
			continue
		}
		if first == 0 {
			first = r.AtUs
		}
		r.CallKey, r.Timeline, r.AtUs = s.key, nil, r.AtUs-first+startUs+1_000_000
		s.records = append(s.records, r)
	}
	s.event(40, "ended", func(e *telemetry.CallEvent) { e.Side = "contact" })
	c := last(t, s.run(20))
	if c.Verdict.Overall != "good" || c.Direction != "inbound" || c.Target.GetIdentity().GetUserId() != "bob" || c.End.By != "contact" {
		t.Error(explain(c))
	}
}

// TestRatingAlone: a rating days later opens no call.
func TestRatingAlone(t *testing.T) {
	s := newScript(t)
	s.event(0, "rated", func(e *telemetry.CallEvent) { e.Rating = 5 })
	s.event(1, "rated", func(e *telemetry.CallEvent) { e.Rating = 9 })
	out := s.run(100)
	if len(out) != 2 || out[1].GetMoment().GetRating() != 5 || out[0].GetRating().GetRating() != 5 {
		t.Errorf("outcomes %v", out)
	}
}

// TestQualityReports: XR VoIP metrics and RFC 6035 reports feed the verdict.
func TestQualityReports(t *testing.T) {
	s := newScript(t)
	s.answered()
	f := func(v float64) *float64 { return &v }
	u := func(v uint32) *uint32 { return &v }
	s.add(30, func(r *telemetry.Record) {
		r.Body = &telemetry.Record_Rtcp{Rtcp: &telemetry.RTCPPacket{Src: "10.0.0.1:10001", Dst: "10.0.0.2:11001", SenderSsrc: 0xaaaa,
			VoipMetrics: []*telemetry.VoIPMetrics{{ReporterSsrc: 0xaaaa, Ssrc: 0xbbbb, LossRate: 5, DiscardRate: 4, RoundTripDelayMs: 250, MosCqX10: 38, MosLqX10: 127}}}}
	})
	s.add(40.2, func(r *telemetry.Record) {
		r.Body = &telemetry.Record_Vq{Vq: &telemetry.VQReport{Report: "CallTerm", CallId: s.key, LocalAddress: "10.0.0.2:11000",
			Local: &telemetry.VQMetrics{Codec: "PCMU", ClockRate: 8000, LossPercent: f(0.5), DiscardPercent: f(0.2), JitterMs: f(7), RoundTripDelayMs: u(260), MosLq: f(4.1)}}}
	})
	s.bye(40, 0)
	out := s.run(20)
	c := last(t, out)
	v := c.Verdict
	if v.Delay.Band != "bad" || v.Loss.GetContactToTargetPercent() < 3.4 || v.Loss.GetContactToTargetPercent() > 3.6 ||
		v.Loss.GetTargetToContactPercent() < 0.69 || v.Loss.GetTargetToContactPercent() > 0.71 || v.Mos.GetModel() != "reported" || v.Mos.GetAvg() != 3.8 {
		t.Error(explain(c))
	}
	kinds := map[string]string{}
	for _, x := range samples(out) {
		kinds[x.Source] = x.Side + " " + x.Direction
	}
	if kinds["rtcp_xr"] != "target contact_to_target" || kinds["vq_rtcpxr"] != "contact target_to_contact" {
		t.Errorf("samples %v", kinds)
	}
}

// TestExtendedReports: what several blocks say of a stream is one sample.
func TestExtendedReports(t *testing.T) {
	bit := func(block int) uint32 { return 1 << (block - 14) }
	blocks := bit(15) | bit(16) | bit(20) | bit(23) | bit(24) | bit(29)
	s := newScript(t)
	s.answered()
	send := func(atS float64, p *telemetry.RTCPPacket) {
		p.Src, p.Dst, p.SenderSsrc = "10.0.0.1:10001", "10.0.0.2:11001", 0xaaaa
		s.add(atS, func(r *telemetry.Record) { r.Body = &telemetry.Record_Rtcp{Rtcp: p} })
	}
	send(20, &telemetry.RTCPPacket{
		Statistics: []*telemetry.StatisticsSummary{{ReporterSsrc: 0xaaaa, Ssrc: 0xbbbb, BeginSeq: 65_400, EndSeq: 114, HasLost: true, LostPackets: 5, HasJitter: true, MeanJitter: 80}},
		Metrics: []*telemetry.XRMetrics{{ReporterSsrc: 0xaaaa, Ssrc: 0xbbbb, Blocks: blocks, PdvMeanMs: 3, RttMeanMs: 150, BurstLost: 12, BurstExpected: 50,
			JbNominalMs: 60, Discarded: 7, Mos: 3.9}},
	})
	// Nothing but what its sender cannot measure, and a count of the whole call.
	send(30, &telemetry.RTCPPacket{Metrics: []*telemetry.XRMetrics{{ReporterSsrc: 0xaaaa, Ssrc: 0xbbbb, Blocks: bit(24), Cumulative: bit(24), Discarded: 9, Mos: 4}}})
	s.bye(40, 0)
	out := s.run(20)
	c := last(t, out)
	var xr []*telemetry.Sample
	for _, x := range samples(out) {
		if x.Source == "rtcp_xr" {
			xr = append(xr, x)
		}
	}
	if len(xr) != 1 {
		t.Fatalf("samples %v", xr)
	}
	x := xr[0]
	if x.Side != "target" || x.Direction != "contact_to_target" || x.Ssrc != 0xbbbb || x.GetRttMs() != 150 || x.GetJitterMs() != 10 || x.GetJitterBufferMs() != 60 ||
		x.GetPackets() != 245 || x.GetPacketsLost() != 5 || x.GetLossPercent() != 2 || x.GetPacketsDiscarded() != 7 || x.GetMos() != 3.9 {
		t.Errorf("sample %v", x)
	}
	if v := c.Verdict; v.Delay.Band != "acceptable" || v.Mos.GetModel() != "reported" || v.Mos.GetAvg() != 3.9 {
		t.Error(explain(c))
	}
}

// TestReportedBuffer: a jitter buffer that the phone reports is not assumed.
func TestReportedBuffer(t *testing.T) {
	for _, reported := range []bool{true, false} {
		s := newScript(t)
		s.answered()
		for at := 6.0; at <= 21; at += 5 {
			for i, r := range []struct{ src, dst string }{{"10.0.0.1:10001", "10.0.0.2:11001"}, {"10.0.0.2:11001", "10.0.0.1:10001"}} {
				p := &telemetry.RTCPPacket{Src: r.src, Dst: r.dst, SenderSsrc: uint32(0xaaaa + i),
					Metrics: []*telemetry.XRMetrics{{ReporterSsrc: uint32(0xaaaa + i), Ssrc: s.ssrc[1-i], Blocks: 1 << (23 - 14), JbNominalMs: 80}}}
				if reported {
					s.add(at-0.5, func(r *telemetry.Record) { r.Body = &telemetry.Record_Rtcp{Rtcp: p} })
				}
			}
			s.talk(at, at)
		}
		s.bye(22, 0)
		c := last(t, s.run(20))
		in := c.Verdict.GetMos().GetInputs()
		if _, assumed := in["jitter_buffer_assumed"]; c.Verdict.GetMos().GetAvg() == 0 || (in["jitter_buffer_ms"] > 50) != reported || !reported && !assumed {
			t.Errorf("reported %v: %v\n%s", reported, in, explain(c))
		}
	}
}

// TestSplit: wherever a machine is stopped and another takes up its checkpoint,
// the outcomes are the same bytes.
func TestSplit(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 16)
	s.reinvite(18, 0, 2, "sendonly", "recvonly")
	s.event(19, "muted", func(e *telemetry.CallEvent) { e.Side = "contact" })
	s.rtcp(21, reporting{packets: 250, lost: 4}, reporting{})
	s.reinvite(23, 0, 3, "sendrecv", "sendrecv")
	s.talk(28, 43)
	s.event(44, "rejected", func(e *telemetry.CallEvent) { e.Reason, e.Subject = "on_a_call", agentB })
	s.bye(45, 1)
	recordings := map[string][]*telemetry.Record{
		"script":  s.records,
		"capture": records(t, captures, "loss5_jitter40", "mid.pcap"),
		"one way": records(t, captures, "oneway_AB_from_start", "mid.pcap"),
		"hold":    records(t, captures, "hold_12s_resume_24s", "mid.pcap"),
		"stats":   records(t, stats, "w3_oneway_AB_start.jsonl.gz"),
		"dtx":     records(t, stats, "w8_dtx_silence_A.jsonl.gz"),
	}
	for name, in := range recordings {
		t.Run(name, func(t *testing.T) {
			want := transcript(t, in, 0)
			for _, every := range []int{1, 2, 3, 7, 31} {
				if got := transcript(t, in, every); !bytes.Equal(got, want) {
					t.Errorf("a restart every %d records changes the outcomes", every)
				}
			}
		})
	}
}
