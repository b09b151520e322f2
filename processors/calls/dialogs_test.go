package calls_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

// legs is a call through a back-to-back user agent: a from the caller to the
// server at 10.0.0.2, b, c, … from the server to an agent each. They begin as
// calls of their own, as ingest sees them, and are joined by records.
type legs struct {
	t    testing.TB
	legs []*script
}

func newLegs(t testing.TB, n int) *legs {
	l := &legs{t: t}
	for i := range n {
		s := newScript(t)
		s.key = fmt.Sprint("call-", i+1)
		if i == 0 {
			s.caller, s.callee = someA, &telemetry.Identity{Number: "+13125550000"}
		} else {
			s.ssrc = [2]uint32{0x1000 + uint32(i), 0x2000 + uint32(i)}
			s.caller = someA
			s.callee = &telemetry.Identity{UserId: fmt.Sprint("agent", i), Number: fmt.Sprint("+1312555010", i), DepartmentId: "sales"}
		}
		l.legs = append(l.legs, s)
	}
	return l
}

// records gives the records of all legs in order of time, with the call key and
// the addresses that they have on their way through the server.
func (l *legs) records() (all []*telemetry.Record) {
	for i, s := range l.legs {
		agent := fmt.Sprintf("10.0.1.%d", i)
		for _, r := range s.records {
			r.CallKey = l.legs[0].key
			if i > 0 {
				moved(r, agent, 12_000+uint32(10*i), 13_000)
			}
			if m := r.GetSip(); m != nil && i > 0 {
				m.LinkedBy, m.LinkConfidence = "session_id", 0.95
				m.From.Tag, m.To.Tag = tagOf(m.From.Tag, i), tagOf(m.To.Tag, i)
			}
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b *telemetry.Record) int { return int(a.AtUs - b.AtUs) })
	return all
}

func tagOf(tag string, leg int) string {
	if tag == "" {
		return ""
	}
	return fmt.Sprint(tag, "-", leg)
}

// moved puts a leg between the server and an agent.
func moved(r *telemetry.Record, agent string, serverPort, agentPort uint32) {
	replace := strings.NewReplacer(
		"10.0.0.1:5060", "10.0.0.2:5060", "10.0.0.2:5060", agent+":5060",
		"10.0.0.1:10001", fmt.Sprint("10.0.0.2:", serverPort+1), "10.0.0.2:11001", fmt.Sprint(agent, ":", agentPort+1))
	if p := r.GetRtcp(); p != nil {
		p.Src, p.Dst = replace.Replace(p.Src), replace.Replace(p.Dst)
	}
	m := r.GetSip()
	if m == nil {
		return
	}
	m.Src, m.Dst = replace.Replace(m.Src), replace.Replace(m.Dst)
	for _, d := range m.GetSdp().GetMedia() {
		host, port := "10.0.0.2", serverPort
		if d.Address == media[1] {
			host, port = agent, agentPort
		}
		d.Address, d.RtcpAddress, d.Port, d.RtcpPort = host, host, port, port+1
	}
}

func (l *legs) run(tailS int64) []*telemetry.Outcome {
	l.t.Helper()
	return live(l.t, calls.New(calls.DefaultRules()), l.records(), tailS)
}

func finalOf(t testing.TB, out []*telemetry.Outcome) *telemetry.Call {
	t.Helper()
	var last *telemetry.Call
	for _, o := range out {
		if c := o.GetCall(); c != nil {
			if o.CallId != "call-1" {
				t.Fatalf("a call %s", o.CallId)
			}
			last = c
		}
	}
	if !last.GetVerdict().GetFinal() {
		t.Fatalf("no final version: %v", last)
	}
	return last
}

// through is a call that an agent answered at 0.9 s and the server at 1 s.
func through(t testing.TB) *legs {
	l := newLegs(t, 2)
	a, b := l.legs[0], l.legs[1]
	a.sip(0, 0, "INVITE", 0, withSDP(a.sdp(0, "sendrecv")))
	b.sip(0.1, 0, "INVITE", 0, withSDP(b.sdp(0, "sendrecv")))
	b.sip(0.2, 1, "INVITE", 180)
	a.sip(0.25, 1, "INVITE", 180)
	b.sip(0.9, 1, "INVITE", 200, withSDP(b.sdp(1, "sendrecv")), func(m *telemetry.SIPMessage) { m.UserAgent = "Zoiper v2.10" })
	a.sip(1, 1, "INVITE", 200, withSDP(a.sdp(1, "sendrecv")), func(m *telemetry.SIPMessage) { m.UserAgent = "Asterisk PBX 20" })
	b.sip(1.01, 0, "ACK", 0)
	a.sip(1.05, 0, "ACK", 0)
	return l
}

func (l *legs) hangUp(atS float64) *legs {
	l.legs[0].bye(atS, 0)
	l.legs[1].bye(atS+0.1, 0)
	return l
}

func TestTwoLegsAreOneCall(t *testing.T) {
	l := through(t)
	for _, s := range l.legs {
		s.talk(5, 40)
	}
	l.hangUp(45)
	c := finalOf(t, l.run(200))
	if c.Target.Identity.UserId != "agent1" || c.Contact.Identity.Number != someA.Number || c.Direction != "inbound" {
		t.Errorf("parties %v, %v, %s", c.Target, c.Contact, c.Direction)
	}
	if got := c.ConnectedUs - startUs; got != 1_000_000 || c.End.By != "contact" || c.EndedUs != startUs+45_000_000 {
		t.Errorf("connected after %d, ended %v by %v", got, c.EndedUs, c.End)
	}
	if !slices.Equal(c.SipCallIds, []string{"call-1", "call-2"}) {
		t.Errorf("Call-IDs %v", c.SipCallIds)
	}
	var got []string
	for _, leg := range c.Legs {
		got = append(got, fmt.Sprint(leg.Id, " ", leg.SipCallId, " ", leg.Side, " ", leg.Address, " ", leg.UserId, " ", leg.LinkedBy))
	}
	want := []string{"caller call-1 contact 10.0.0.1:10000  ", "callee call-1 server 10.0.0.2:11000  ",
		"caller-2 call-2 server 10.0.0.2:12010  session_id", "callee-2 call-2 target 10.0.1.1:13000 agent1 session_id"}
	if !slices.Equal(got, want) {
		t.Errorf("legs\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	v := c.Verdict
	if v.OneWayAudio.State != "none" || v.Overall != "acceptable" || v.Loss.Band != "good" || v.Delay.Band != "acceptable" {
		t.Errorf("verdict %v", v)
	}
	// Each part has 80 ms; from end to end it is both.
	if p50 := v.Delay.RttMs.GetP50(); p50 < 155 || p50 > 165 {
		t.Errorf("round trip %v", v.Delay.RttMs)
	}
	var sources []string
	for _, s := range v.Sources {
		sources = append(sources, s.Kind+" "+s.Side)
	}
	if !slices.Equal(sources, []string{"rtcp server", "rtcp contact", "rtcp target", "rtcp server", "sip server"}) {
		t.Errorf("sources %v", sources)
	}
}

// The messages of both legs stand on one ladder, samples of both on one graph.
func TestTwoLegsKeepMessagesAndSamples(t *testing.T) {
	l := through(t)
	for _, s := range l.legs {
		s.talk(5, 20)
	}
	l.hangUp(25)
	messages, sides := map[string]int{}, map[string]int{}
	for _, o := range l.run(200) {
		if m := o.GetMessage(); m != nil && o.CallId == "call-1" {
			messages[m.CallId]++
		}
		if s := o.GetSample(); s != nil && o.CallId == "call-1" {
			sides[s.LegId+" "+s.Side+" "+s.Direction]++
		}
	}
	if messages["call-1"] != 6 || messages["call-2"] != 6 {
		t.Errorf("messages %v", messages)
	}
	for _, who := range []string{"caller contact target_to_contact", "callee server contact_to_target", "caller-2 server target_to_contact", "callee-2 target contact_to_target"} {
		if sides[who] < 3 {
			t.Errorf("samples %v, none of %s", sides, who)
		}
	}
}

func TestFaultsOfOneLeg(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b  func(s *script, at float64)
		check func(v *telemetry.Verdict) string
	}{
		"loss behind the server": {talkAt, func(s *script, at float64) {
			s.rtcp(at, reporting{packets: 250, lost: 20}, reporting{packets: 250})
		}, func(v *telemetry.Verdict) string {
			if v.Loss.GetContactToTargetPercent() < 7 || v.Loss.GetTargetToContactPercent() > 1 || v.OneWayAudio.State != "none" {
				return "loss"
			}
			return ""
		}},
		"the server sends the agent nothing": {talkAt, func(s *script, at float64) {
			s.rtcp(at, reporting{silent: true}, reporting{packets: 250})
		}, func(v *telemetry.Verdict) string {
			if v.OneWayAudio.State != "suspected" || v.OneWayAudio.Direction != "contact_to_target" || v.FaultSide != "server" {
				return "one-way audio"
			}
			return ""
		}},
		"what the server sends is lost": {talkAt, func(s *script, at float64) {
			s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		}, func(v *telemetry.Verdict) string {
			if v.OneWayAudio.State != "confirmed" || v.OneWayAudio.Direction != "contact_to_target" || v.FaultSide != "network" || v.OneWayAudio.From != someA.Number {
				return "one-way audio"
			}
			return ""
		}},
		"nothing is known of the agent's leg": {talkAt, func(*script, float64) {}, func(v *telemetry.Verdict) string {
			if v.OneWayAudio.State != "unknown" || v.Overall != "unknown" {
				return "what nobody saw"
			}
			return ""
		}},
		"the caller's audio does not reach the server": {func(s *script, at float64) {
			s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		}, talkAt, func(v *telemetry.Verdict) string {
			if v.OneWayAudio.State != "confirmed" || v.OneWayAudio.Direction != "contact_to_target" {
				return "one-way audio"
			}
			return ""
		}},
	} {
		l := through(t)
		for at := 5.0; at <= 60; at += 5 {
			tc.a(l.legs[0], at)
			tc.b(l.legs[1], at+0.5)
		}
		l.hangUp(65)
		if v := finalOf(t, l.run(200)).Verdict; tc.check(v) != "" {
			t.Errorf("%s: %s: %v", name, tc.check(v), v)
		}
	}
}

func talkAt(s *script, at float64) {
	s.rtcp(at, reporting{packets: 250}, reporting{packets: 250})
}

func TestRejectionsOfLegs(t *testing.T) {
	offer := func(l *legs, atS float64) {
		l.legs[0].sip(atS, 0, "INVITE", 0, withSDP(l.legs[0].sdp(0, "sendrecv")))
		for i, s := range l.legs[1:] {
			s.sip(atS+0.1+float64(i)/100, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
			s.sip(atS+0.2+float64(i)/100, 1, "INVITE", 180)
		}
	}
	for name, tc := range map[string]struct {
		script func(l *legs)
		want   []string // reason, agent, status
		status uint32
		by     string
	}{
		"busy, then another answers": {func(l *legs) {
			offer(l, 0)
			l.legs[1].sip(1, 1, "INVITE", 486)
			l.legs[2].sip(2, 1, "INVITE", 200, withSDP(l.legs[2].sdp(1, "sendrecv")))
			l.legs[0].sip(2.1, 1, "INVITE", 200, withSDP(l.legs[0].sdp(1, "sendrecv")))
			l.legs[0].bye(20, 0)
		}, []string{"on_a_call agent1 486"}, 200, "contact"},
		"one answers, the other is cancelled": {func(l *legs) {
			offer(l, 0)
			l.legs[2].sip(2, 1, "INVITE", 200, withSDP(l.legs[2].sdp(1, "sendrecv")))
			l.legs[1].sip(2.05, 0, "CANCEL", 0)
			l.legs[1].sip(2.06, 1, "INVITE", 487)
			l.legs[0].sip(2.1, 1, "INVITE", 200, withSDP(l.legs[0].sdp(1, "sendrecv")))
			l.legs[0].bye(20, 0)
		}, []string{"assigned_to_another_operator agent1 487"}, 200, "contact"},
		"both decline": {func(l *legs) {
			offer(l, 0)
			l.legs[1].sip(1, 1, "INVITE", 603)
			l.legs[2].sip(2, 1, "INVITE", 486)
			l.legs[0].sip(2.1, 1, "INVITE", 480)
		}, []string{"manually_declined agent1 603", "on_a_call agent2 486"}, 480, "target"},
		"the caller gives up": {func(l *legs) {
			offer(l, 0)
			l.legs[0].sip(8, 0, "CANCEL", 0)
			for _, s := range l.legs[1:] {
				s.sip(8.1, 0, "CANCEL", 0)
				s.sip(8.2, 1, "INVITE", 487)
			}
			l.legs[0].sip(8.3, 1, "INVITE", 487)
		}, []string{"caller_abandoned agent1 487", "caller_abandoned agent2 487"}, 487, "contact"},
		"the server gives up": {func(l *legs) {
			offer(l, 0)
			for _, s := range l.legs[1:] {
				s.sip(30, 0, "CANCEL", 0)
				s.sip(30.1, 1, "INVITE", 487)
			}
			l.legs[0].sip(30.2, 1, "INVITE", 480)
		}, []string{"no_answer agent1 487", "no_answer agent2 487"}, 480, "target"},
		"no agent says why": {func(l *legs) {
			offer(l, 0)
			l.legs[0].sip(9, 1, "INVITE", 503)
		}, []string{"no_available_endpoints  503"}, 503, "system"},
	} {
		l := newLegs(t, 3)
		l.legs[0].callee.UserId = ""
		tc.script(l)
		out := l.run(200)
		var got []string
		for _, r := range rejected(out) {
			got = append(got, fmt.Sprintf("%s %s %d", r.Reason, r.Agent.GetUserId(), r.SipStatus))
		}
		slices.Sort(got)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: rejections %q, want %q", name, got, tc.want)
		}
		if c := finalOf(t, out); c.End.SipStatus != tc.status {
			t.Errorf("%s: ended %v", name, c.End)
		}
	}
}

// Two ingesters may write the legs in either order; the first dialog is the
// call's own nevertheless.
func TestLegsInAnyOrder(t *testing.T) {
	l := through(t)
	for _, s := range l.legs {
		s.talk(5, 20)
	}
	l.hangUp(25)
	records := l.records()
	want := finalOf(t, live(t, calls.New(calls.DefaultRules()), records, 200))
	records[0], records[1] = records[1], records[0]
	if records[0].GetSip().CallId != "call-2" {
		t.Fatal("the legs are in order")
	}
	got := finalOf(t, live(t, calls.New(calls.DefaultRules()), records, 200))
	if !proto.Equal(got, want) {
		t.Errorf("out of order\n%v\nwant\n%v", got, want)
	}
}

// A server that lets the media go directly is no part of the way.
func TestLegsWithoutMediaOfTheServer(t *testing.T) {
	l := through(t)
	l.legs[0].talk(5, 40)
	l.hangUp(45)
	records := l.records()
	for _, r := range records {
		for _, d := range r.GetSip().GetSdp().GetMedia() {
			switch d.Address {
			case "10.0.0.2": // each end gets the other's address
				d.Address, d.RtcpAddress, d.Port, d.RtcpPort = "10.0.0.1", "10.0.0.1", 10_000, 10_001
				if r.GetSip().Status == 200 {
					d.Address, d.RtcpAddress, d.Port, d.RtcpPort = "10.0.1.1", "10.0.1.1", 13_000, 13_001
				}
			}
		}
		if p := r.GetRtcp(); p != nil {
			replace := strings.NewReplacer("10.0.0.2:11001", "10.0.1.1:13001")
			p.Src, p.Dst = replace.Replace(p.Src), replace.Replace(p.Dst)
		}
	}
	c := finalOf(t, live(t, calls.New(calls.DefaultRules()), records, 200))
	if c.Verdict.OneWayAudio.State != "none" || c.Verdict.Overall != "good" {
		t.Errorf("verdict %v", c.Verdict)
	}
	if p50 := c.Verdict.Delay.RttMs.GetP50(); p50 < 75 || p50 > 85 {
		t.Errorf("round trip %v", c.Verdict.Delay.RttMs)
	}
}

func TestLateLink(t *testing.T) {
	s := newScript(t).answered()
	for range 2 {
		s.add(2, func(r *telemetry.Record) {
			r.Body = &telemetry.Record_Link{Link: &telemetry.CallLink{CallKey: "call-9", LinkedBy: "guess", LinkConfidence: 0.5}}
		})
	}
	s.bye(20, 0)
	c := finalOf(t, s.run(200))
	if len(c.LinkedCalls) != 1 || c.LinkedCalls[0].CallId != "call-9" || c.LinkedCalls[0].LinkedBy != "guess" {
		t.Errorf("linked %v", c.LinkedCalls)
	}
}

// A call of several dialogs comes back from its checkpoint as it was.
func TestLegsSurviveRestarts(t *testing.T) {
	l := through(t)
	for _, s := range l.legs {
		s.talk(5, 30)
	}
	l.hangUp(35)
	records := l.records()
	whole := transcript(t, records, 0)
	for _, every := range []int{1, 3, 7} {
		if !bytes.Equal(whole, transcript(t, records, every)) {
			t.Errorf("restarted every %d records, the outcomes differ", every)
		}
	}
}

// A call that more dialogs belong to than are kept apart still keeps their messages.
func TestDialogsAreBounded(t *testing.T) {
	l := newLegs(t, 20)
	for i, s := range l.legs {
		s.sip(float64(i)/10, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
	}
	messages, legs := 0, 0
	for _, o := range l.run(300) {
		if o.GetMessage() != nil {
			messages++
		}
		if c := o.GetCall(); c != nil {
			legs = len(c.Legs)
		}
	}
	if messages != 20 || legs != 18 {
		t.Errorf("%d messages, %d legs", messages, legs)
	}
}

// A hold that only the agent's leg shows keeps both parts quiet.
func TestHoldOnOneLeg(t *testing.T) {
	l := through(t)
	a, b := l.legs[0], l.legs[1]
	for at := 5.0; at <= 60; at += 5 {
		if at == 20 {
			b.reinvite(19, 1, 2, "sendonly", "recvonly")
		}
		if at < 20 {
			talkAt(a, at)
			talkAt(b, at)
			continue
		}
		b.rtcp(at, reporting{packets: 250}, reporting{silent: true})
		a.rtcp(at, reporting{packets: 250}, reporting{silent: true})
	}
	l.hangUp(65)
	v := finalOf(t, l.run(200)).Verdict
	if v.OneWayAudio.State != "none" {
		t.Errorf("verdict %v", v.OneWayAudio)
	}
	held := false
	for _, e := range v.Evidence {
		held = held || e.Kind == "hold" && e.Side == "target" && e.Leg == "callee-2"
	}
	if !held {
		t.Errorf("evidence %v", v.Evidence)
	}
}

// The caller is passed on from one agent to another: both legs are parts of the
// way, one after the other.
func TestPassedOn(t *testing.T) {
	l := newLegs(t, 3)
	a, b, c := l.legs[0], l.legs[1], l.legs[2]
	a.sip(0, 0, "INVITE", 0, withSDP(a.sdp(0, "sendrecv")))
	b.sip(0.1, 0, "INVITE", 0, withSDP(b.sdp(0, "sendrecv")))
	b.sip(0.9, 1, "INVITE", 200, withSDP(b.sdp(1, "sendrecv")))
	a.sip(1, 1, "INVITE", 200, withSDP(a.sdp(1, "sendrecv")))
	a.talk(5, 60)
	b.talk(5, 25)
	c.sip(28, 0, "INVITE", 0, withSDP(c.sdp(0, "sendrecv")))
	c.sip(29, 1, "INVITE", 200, withSDP(c.sdp(1, "sendrecv")))
	b.bye(29.5, 0)
	c.talk(33, 60)
	a.bye(65, 0)
	c.bye(65.1, 0)
	out := l.run(200)
	call := finalOf(t, out)
	if call.Verdict.OneWayAudio.State != "none" || len(call.Legs) != 6 || len(rejected(out)) != 0 {
		t.Errorf("call %v", call)
	}
	// One agent's part and the caller's, not all three.
	if p50 := call.Verdict.Delay.RttMs.GetP50(); p50 < 155 || p50 > 165 {
		t.Errorf("round trip %v", call.Verdict.Delay.RttMs)
	}
	if call.EndedUs != startUs+65_000_000 {
		t.Errorf("ended %v", call.End)
	}
}

// Three dialogs in a row: what is between two servers is theirs.
func TestChainOfDialogs(t *testing.T) {
	l := newLegs(t, 3)
	for i, s := range l.legs {
		s.sip(float64(i)/10, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
	}
	for i := len(l.legs) - 1; i >= 0; i-- {
		s := l.legs[i]
		s.sip(2-float64(i)/10, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
		s.talk(5+float64(i)/10, 40)
		s.bye(45+float64(i)/10, 0)
	}
	records := l.records()
	for _, r := range records { // the third leg begins where the second ends
		if m := r.GetSip(); m != nil && m.CallId == "call-3" {
			replace := strings.NewReplacer("10.0.0.2:5060", "10.0.1.1:5060")
			m.Src, m.Dst = replace.Replace(m.Src), replace.Replace(m.Dst)
		}
	}
	c := finalOf(t, live(t, calls.New(calls.DefaultRules()), records, 200))
	var sides []string
	for _, leg := range c.Legs {
		sides = append(sides, leg.Side)
	}
	if !slices.Equal(sides, []string{"contact", "server", "server", "server", "server", "target"}) || c.Verdict.OneWayAudio.State != "none" {
		t.Errorf("sides %v, verdict %v", sides, c.Verdict.OneWayAudio)
	}
	if p50 := c.Verdict.Delay.RttMs.GetP50(); p50 < 235 || p50 > 245 {
		t.Errorf("round trip %v", c.Verdict.Delay.RttMs)
	}
}
