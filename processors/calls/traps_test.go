package calls_test

import (
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// What must raise one-way audio, and what must not, each from a call of its own.
func TestOneWayAudio(t *testing.T) {
	talking := reporting{packets: 250}
	tests := []struct {
		name      string
		script    func(*script)
		state     string
		direction string
		since     float64 // seconds after the start; 0: not compared
		overall   string  // "": not compared
		evidence  string
	}{
		{"both talk", func(s *script) {
			s.answered().talk(6, 36)
			s.bye(40, 0)
		}, "none", "", 0, "good", "audio_both_ways"},
		{"the contact never receives", func(s *script) {
			s.answered()
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, talking)
			}
			s.bye(40, 0)
		}, "confirmed", "target_to_contact", 1, "unacceptable", "never_received"},
		{"the target never receives", func(s *script) {
			s.answered()
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, talking, reporting{packets: 250, blackout: true})
			}
			s.bye(40, 0)
		}, "confirmed", "contact_to_target", 1, "unacceptable", "never_received"},
		{"audio stops in the middle", func(s *script) {
			s.answered().talk(6, 21)
			for at := 26.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, talking)
			}
			s.bye(50, 0)
		}, "confirmed", "target_to_contact", 21, "unacceptable", "stopped"},
		{"audio stops and the blocks stop with it", func(s *script) {
			s.answered().talk(6, 21)
			for at := 26.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250, noBlock: true})
			}
			s.bye(50, 0)
		}, "confirmed", "target_to_contact", 21, "unacceptable", "stopped"},
		{"neither receives", func(s *script) {
			s.answered()
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250, blackout: true})
			}
			s.bye(40, 0)
		}, "confirmed", "both", 1, "unacceptable", "never_received"},
		{"nothing at all comes from the target", func(s *script) {
			s.answered()
			for at := 6.0; at <= 56; at += 5 {
				s.rtcp(at, reporting{silent: true}, talking)
			}
			s.bye(60, 0)
		}, "suspected", "target_to_contact", 1, "bad", "nothing_sent"},
		{"the target falls silent in the middle", func(s *script) {
			s.answered().talk(6, 21)
			for at := 26.0; at <= 66; at += 5 {
				s.rtcp(at, reporting{silent: true, blackout: true}, talking)
			}
			s.bye(70, 1)
		}, "suspected", "target_to_contact", 21, "bad", "nothing_sent"},

		{"sender reports without blocks, and the blocks by themselves", func(s *script) {
			s.answered()
			for at := 6.0; at <= 46; at += 5 {
				s.rtcp(at, talking, talking)
				s.rtcp(at+1.5, reporting{packets: 75, blackout: true}, reporting{packets: 75, noBlock: true})
				s.rtcp(at+3, reporting{packets: 75, blackout: true}, reporting{packets: 75, noBlock: true})
				s.received[0] = s.sent[0]
			}
			s.bye(50, 0)
		}, "none", "", 0, "good", ""},
		{"one report without a block is no proof", func(s *script) {
			s.answered().talk(6, 11)
			s.rtcp(16, reporting{packets: 250, blackout: true}, talking)
			s.talk(21, 36)
			s.bye(40, 0)
		}, "none", "", 0, "good", ""},
		{"hold with sendonly", func(s *script) {
			s.answered().talk(6, 16)
			s.reinvite(18, 0, 2, "sendonly", "recvonly")
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{})
			}
			s.reinvite(48, 0, 3, "sendrecv", "sendrecv")
			s.talk(53, 68)
			s.bye(70, 0)
		}, "none", "", 0, "good", "hold"},
		{"hold with inactive, and the phone stops RTCP", func(s *script) {
			s.answered().talk(6, 16)
			s.reinvite(18, 1, 2, "inactive", "inactive")
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{silent: true}, reporting{packets: 250})
			}
			s.reinvite(48, 1, 3, "sendrecv", "sendrecv")
			s.talk(53, 68)
			s.bye(70, 0)
		}, "none", "", 0, "good", "hold"},
		{"hold the old way, 0.0.0.0", func(s *script) {
			s.answered().talk(6, 16)
			hold := s.sdp(0, "sendrecv")
			hold.Media[0].Address = "0.0.0.0"
			s.sip(18, 0, "INVITE", 0, withCSeq(2), withBranch("z9hG4bK-h"), withToTag(tags[1]), withSDP(hold))
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{}, reporting{packets: 250, blackout: true})
			}
			s.bye(50, 0)
		}, "none", "", 0, "good", "hold"},
		{"held by the app", func(s *script) {
			s.answered().talk(6, 16)
			s.event(18, "held", func(e *telemetry.CallEvent) { e.Side = "target" })
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{})
			}
			s.event(47, "resumed", func(e *telemetry.CallEvent) { e.Side = "target" })
			s.talk(52, 67)
			s.bye(70, 0)
		}, "none", "", 0, "good", "hold"},
		{"muted, and the phone sends nothing while muted", func(s *script) {
			s.answered().talk(6, 16)
			s.event(18, "muted", func(e *telemetry.CallEvent) { e.Side = "target" })
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 60, blackout: true}, talking)
			}
			s.event(47, "unmuted", func(e *telemetry.CallEvent) { e.Side = "target" })
			s.talk(52, 67)
			s.bye(70, 0)
		}, "none", "", 0, "good", "muted"},
		{"receive-only by design", func(s *script) {
			s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "recvonly")))
			s.sip(1, 1, "INVITE", 200, withSDP(s.sdp(1, "sendonly")))
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{}, talking)
			}
			s.bye(40, 0)
		}, "none", "", 0, "good", "receive_only"},
		{"candidates still to come look like a hold of old", func(s *script) {
			s.answered().talk(6, 16)
			offer, answer := s.sdp(0, "sendrecv"), s.sdp(1, "sendrecv")
			answer.Media[0].Address, answer.Media[0].Port = "0.0.0.0", 9
			branch := withBranch("z9hG4bK-ice")
			s.sip(18, 0, "INVITE", 0, withCSeq(2), branch, withToTag(tags[1]), withSDP(offer))
			s.sip(18.1, 1, "INVITE", 200, withCSeq(2), branch, withSDP(answer))
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, talking)
			}
			s.bye(50, 0)
		}, "confirmed", "target_to_contact", 16, "unacceptable", "stopped"},
		{"a phone stops sending and says so", func(s *script) {
			s.answered().talk(6, 16)
			for at := 21.0; at <= 56; at += 5 {
				s.rtcp(at, reporting{}, talking)
			}
			s.bye(60, 0)
		}, "none", "", 0, "good", "not_sent"},
		{"ten seconds between three reports", func(s *script) {
			s.answered().talk(6, 16)
			s.rtcp(21, reporting{packets: 250, blackout: true}, talking)
			s.rtcp(26, reporting{packets: 250, lost: 495}, talking)
			s.talk(31, 46)
			s.bye(50, 0)
		}, "confirmed", "target_to_contact", 16, "unacceptable", "stopped"},
		{"early media without an answer", func(s *script) {
			s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
			s.sip(0.2, 1, "INVITE", 183, withSDP(s.sdp(1, "sendrecv")))
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, blackout: true}, talking)
			}
			s.sip(40, 1, "INVITE", 480)
		}, "unknown", "", 0, "unknown", "not_answered"},
		{"early media, then a good call", func(s *script) {
			s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
			s.sip(0.2, 1, "INVITE", 183, withSDP(s.sdp(1, "sendrecv")))
			for at := 6.0; at <= 21; at += 5 {
				s.rtcp(at, reporting{}, talking)
			}
			s.sip(23, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
			s.talk(26, 46)
			s.bye(50, 0)
		}, "none", "", 0, "good", ""},
		{"too short for two reports", func(s *script) {
			s.answered()
			s.rtcp(6, reporting{packets: 250, blackout: true}, talking)
			s.bye(8, 0)
		}, "unknown", "", 0, "unknown", "too_short"},
		{"encrypted RTCP", func(s *script) {
			s.proto = "RTP/SAVP"
			s.answered()
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, encrypted: true}, reporting{packets: 250, encrypted: true})
			}
			s.bye(40, 0)
		}, "unknown", "", 0, "unknown", "encrypted"},
		{"encrypted media whose reports read as empty", func(s *script) {
			s.proto = "RTP/SAVP"
			s.answered()
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, noBlock: true}, reporting{packets: 250, noBlock: true})
			}
			s.bye(40, 0)
		}, "unknown", "", 0, "unknown", "encrypted"},
		{"T.38", func(s *script) {
			s.answered().talk(6, 16)
			fax := &telemetry.SDP{Media: []*telemetry.Media{{Kind: "audio", Protocol: "RTP/AVP", Address: media[0], Port: 0}, {Kind: "image", Protocol: "udptl", Address: media[0], Port: 4000}}}
			s.sip(18, 0, "INVITE", 0, withCSeq(2), withBranch("z9hG4bK-f"), withToTag(tags[1]), withSDP(fax))
			for at := 21.0; at <= 46; at += 5 {
				s.rtcp(at, reporting{silent: true}, reporting{packets: 250, noBlock: true})
			}
			s.bye(50, 0)
		}, "none", "", 0, "good", ""},
		{"one SSRC ends and another begins", func(s *script) {
			s.answered().talk(6, 16)
			s.ssrc[0], s.sent[0], s.received[0], s.lost[0] = 0xcccc, 0, 0, 0
			s.talk(21, 41)
			s.bye(45, 0)
		}, "none", "", 0, "good", ""},
		{"a source restarts its sequence", func(s *script) {
			s.answered().talk(6, 16)
			s.sent[0], s.received[0], s.lost[0] = 0, 0, 0
			s.talk(21, 41)
			s.bye(45, 0)
		}, "none", "", 0, "good", ""},
		{"the contact's reports go missing", func(s *script) {
			s.answered().talk(6, 11)
			for at := 16.0; at <= 61; at += 5 {
				s.rtcp(at, talking, reporting{packets: 250, silent: true})
			}
			s.bye(65, 0)
		}, "unknown", "", 0, "", "not_observed"},
		{"a capture that begins in the middle", func(s *script) {
			s.sent, s.received, s.lost = [2]uint32{90_000, 90_000}, [2]uint32{90_000, 90_000}, [2]int32{500, 0}
			s.answered().talk(6, 36)
			s.bye(40, 0)
		}, "none", "", 0, "good", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			tt.script(s)
			c := last(t, s.run(20))
			v := c.Verdict
			if v.OneWayAudio.State != tt.state || v.OneWayAudio.Direction != tt.direction {
				t.Errorf("one-way audio is %v, want %s %s", v.OneWayAudio, tt.state, tt.direction)
			}
			if tt.overall != "" && v.Overall != tt.overall {
				t.Errorf("overall is %s, want %s", v.Overall, tt.overall)
			}
			if tt.since != 0 {
				if d := float64(v.OneWayAudio.SinceUs-startUs)/1e6 - tt.since; d < -1 || d > 1 {
					t.Errorf("dead since %.1f s off", d)
				}
			}
			switch tt.direction {
			case "target_to_contact":
				if v.OneWayAudio.From != "+13125550100" || v.OneWayAudio.To != "+14155550199" {
					t.Errorf("from %s to %s", v.OneWayAudio.From, v.OneWayAudio.To)
				}
			case "contact_to_target":
				if v.OneWayAudio.From != "+14155550199" || v.OneWayAudio.To != "+13125550100" {
					t.Errorf("from %s to %s", v.OneWayAudio.From, v.OneWayAudio.To)
				}
			}
			found := tt.evidence == ""
			for _, e := range v.Evidence {
				found = found || e.Kind == tt.evidence
			}
			if !found {
				t.Errorf("no evidence of kind %s", tt.evidence)
			}
			if t.Failed() {
				t.Log(explain(c))
			}
		})
	}
}

// TestRoundTrip: 20 ms each way on either side of the capture point.
func TestRoundTrip(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	c := last(t, s.run(20))
	if r := c.Verdict.Delay.RttMs; r == nil || r.Min < 79.5 || r.Max > 80.5 {
		t.Errorf("round trip %v, want 80 ms", r)
	}
}

// TestRoundTripOfAnOlderReport: a receiver answers an older sender report than
// the newest that passed.
func TestRoundTripOfAnOlderReport(t *testing.T) {
	s := newScript(t)
	s.answered()
	for at := 6.0; at <= 36; at += 5 {
		old, oldAt := s.lastSR, s.lastSRAt
		s.rtcp(at, reporting{packets: 250}, reporting{packets: 250})
		newest, newestAt := s.lastSR, s.lastSRAt
		if old[0] != 0 {
			s.lastSR, s.lastSRAt = old, oldAt
		}
		s.rtcp(at+1, reporting{packets: 50}, reporting{packets: 50})
		s.lastSR, s.lastSRAt = newest, newestAt
	}
	s.bye(40, 0)
	c := last(t, s.run(20))
	if r := c.Verdict.Delay.RttMs; r == nil || r.Min < 79.5 || r.Max > 80.5 {
		t.Errorf("round trip %v, want 80 ms", r)
	}
}

// TestTwoCapturePoints: the same packets seen by two agents count once, and
// round trips are only taken where one agent saw both.
func TestTwoCapturePoints(t *testing.T) {
	s := newScript(t)
	s.answered()
	s.talk(6, 36)
	n := len(s.records)
	var both []*telemetry.Record
	for i, r := range s.records[:n] {
		both = append(both, r)
		if r.GetRtcp() == nil && i >= 4 {
			continue
		}
		s.agent = "second"
		copied := s.add(float64(r.AtUs-startUs)/1e6+0.001, func(c *telemetry.Record) { c.Body = r.Body })
		both = append(both, copied)
	}
	s.records, s.agent = both, "probe"
	s.bye(40, 0)
	out := s.run(20)
	c := last(t, out)
	if r := c.Verdict.Delay.RttMs; r == nil || r.Min < 79 || r.Max > 81 {
		t.Errorf("round trip %v, want 80 ms", r)
	}
	messages, reports := 0, 0
	for _, o := range out {
		if o.GetMessage() != nil {
			messages++
		}
		if o.GetSample().GetSource() == "rtcp" {
			reports++
		}
	}
	// 7 times two reports; the first of each pair cannot have a block yet... but for those of party 0.
	if messages != 6 || reports != 14 {
		t.Errorf("%d messages, %d reports", messages, reports)
	}
	if c.Verdict.OneWayAudio.State != "none" || c.Verdict.Overall != "good" {
		t.Error(explain(c))
	}
}

// TestEarlyRTCP: reports that come before the SDP are kept until it tells whose they are.
func TestEarlyRTCP(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	want := len(samples(s.run(20)))
	// Signalling after the first three packets of RTCP.
	late := append([]*telemetry.Record{}, s.records[4:7]...)
	late = append(late, s.records[0:4]...)
	late = append(late, s.records[7:]...)
	out := live(t, newMachine(), late, 20)
	if got := len(samples(out)); got != want {
		t.Errorf("%d samples, %d where signalling came first", got, want)
	}
	if c := last(t, out); c.Verdict.OneWayAudio.State != "none" || c.Target.GetIdentity().GetUserId() != "alice" {
		t.Error(explain(c))
	}
}

// TestUncorrelatedRTCP: a call of its own, known by its addresses alone.
func TestUncorrelatedRTCP(t *testing.T) {
	s := newScript(t)
	s.key = "rtcp:0123456789abcdef"
	s.talk(1, 41)
	out := s.run(60)
	c := last(t, out)
	if c.State != "ended" || c.Verdict.Overall != "good" || c.Verdict.OneWayAudio.State != "none" || c.Verdict.Delay.RttMs == nil {
		t.Error(explain(c))
	}
	if c.Verdict.Jitter.JitterMs != nil {
		t.Errorf("jitter %v of a clock that nobody named", c.Verdict.Jitter.JitterMs)
	}
}

func TestLossByDirection(t *testing.T) {
	s := newScript(t)
	s.answered()
	s.rtcp(6, reporting{packets: 250}, reporting{packets: 250})
	for at := 11.0; at <= 51; at += 5 {
		lost := uint32(10) // 4 %
		if at == 31 {
			lost = 50
		}
		s.rtcp(at, reporting{packets: 250, lost: lost}, reporting{packets: 250, lost: 1})
	}
	s.bye(55, 0)
	c := last(t, s.run(20))
	l := c.Verdict.Loss
	// 130 of 2500 and 9 of 2500.
	if l.GetTargetToContactPercent() < 5.1 || l.GetTargetToContactPercent() > 5.9 || l.GetContactToTargetPercent() < 0.3 || l.GetContactToTargetPercent() > 0.45 ||
		l.GetBurstPercent() != 20 || l.Band != "unacceptable" || l.GetPercent() != l.GetTargetToContactPercent() {
		t.Errorf("loss %v", l)
	}
	if c.Verdict.FaultSide != "network" {
		t.Errorf("fault side %s", c.Verdict.FaultSide)
	}
}

// TestSides: inbound, internal, and both numbers in the verdict.
func TestSides(t *testing.T) {
	for name, tt := range map[string]struct {
		caller, callee *telemetry.Identity
		direction      string
		target         string
	}{
		"outbound":  {agentA, someA, "outbound", "alice"},
		"inbound":   {someA, agentB, "inbound", "bob"},
		"internal":  {agentA, agentB, "internal", "alice"},
		"strangers": {someA, &telemetry.Identity{Number: "+14155550199"}, "outbound", ""},
	} {
		s := newScript(t)
		s.caller, s.callee = tt.caller, tt.callee
		s.answered()
		for at := 6.0; at <= 36; at += 5 { // the caller cannot be heard
			s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		}
		s.bye(40, 1)
		c := last(t, s.run(20))
		if c.Direction != tt.direction || c.Target.GetIdentity().GetUserId() != tt.target {
			t.Errorf("%s: %s of %q", name, c.Direction, c.Target.GetIdentity().GetUserId())
		}
		direction, by := "target_to_contact", "contact"
		if tt.direction == "inbound" {
			direction, by = "contact_to_target", "target"
		}
		if o := c.Verdict.OneWayAudio; o.Direction != direction || o.From != tt.caller.Number || o.To != tt.callee.Number {
			t.Errorf("%s: %v", name, o)
		}
		if c.End.By != by {
			t.Errorf("%s: ended by %s", name, c.End.By)
		}
	}
}
