package calls_test

import (
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// poll adds what the page of a party polls: packets sent and received since its
// first poll, with the SSRCs that SDP or RTCP told of; nobody says whose page it is.
func (s *script) poll(atS float64, party int, sent, received uint64, concealed uint64) {
	s.add(atS, func(r *telemetry.Record) {
		seconds := uint64(received) / 50
		lost, jitter, buffer, samples := int64(0), 0.001, float64(received)*960*0.060, received*960
		emitted := samples
		in := &telemetry.InboundRTP{Id: "in", Ssrc: s.ssrc[1-party], MimeType: "audio/PCMU", ClockRate: 8000, PacketsReceived: &received, PacketsLost: &lost,
			JitterS: &jitter, JitterBufferDelayS: &buffer, JitterBufferTargetDelayS: &buffer, JitterBufferEmittedCount: &emitted, TotalSamplesReceived: &samples}
		hidden := concealed * seconds
		in.ConcealedSamples = &hidden
		w := &telemetry.WebRTCSample{CallId: s.key, LegId: []string{"page-a", "page-b"}[party],
			Outbound: []*telemetry.OutboundRTP{{Id: "out", Ssrc: s.ssrc[party], MimeType: "audio/PCMU", ClockRate: 8000, PacketsSent: &sent}}}
		if received > 0 {
			w.Inbound = []*telemetry.InboundRTP{in}
		}
		alive := received*172 + sent
		w.Pair = &telemetry.CandidatePair{State: "succeeded", BytesReceived: &alive}
		r.Body = &telemetry.Record_Webrtc{Webrtc: w}
	})
}

// with names SSRCs in an SDP, as browsers do.
func (s *script) withSSRC(p int) sipOption {
	d := s.sdp(p, "sendrecv")
	d.Media[0].Ssrcs = []uint32{s.ssrc[p]}
	return withSDP(d)
}

// A proxy sends HEP and both pages post getStats of the same call; no page says
// which side it is, and that of the callee comes first.
func both(t *testing.T) *script {
	s := newScript(t)
	s.caller, s.callee = nil, nil
	s.sip(0, 0, "INVITE", 0, s.withSSRC(0))
	s.sip(1, 1, "INVITE", 200, s.withSSRC(1))
	return s
}

func TestThePageIsThatOfItsStreams(t *testing.T) {
	s := both(t)
	for at := 2; at <= 32; at++ {
		n := uint64(50 * (at - 1))
		s.poll(float64(at), 1, n, 0, 0) // the callee hears nothing
		s.poll(float64(at)+0.2, 0, n, n, 0)
		if at%5 == 0 {
			s.rtcp(float64(at)+0.5, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		}
	}
	s.bye(33, 0)
	c := last(t, s.run(20))
	if o := c.Verdict.OneWayAudio; o.State != "confirmed" || o.Direction != "target_to_contact" {
		t.Errorf("one-way %v\n%s", o, explain(c))
	}
	for _, l := range c.Legs {
		if want := map[string]string{"page-a": "target", "page-b": "contact"}[l.Id]; want != "" && l.Side != want {
			t.Errorf("leg %s is the %s's", l.Id, l.Side)
		}
	}
	polls := map[string]uint32{}
	for _, w := range c.Verdict.Sources {
		if w.Kind == "webrtc" {
			polls[w.Side] = w.Samples
		}
	}
	if polls["target"] != 31 || polls["contact"] != 31 { // also of the page that nothing arrives at
		t.Errorf("sources %v", c.Verdict.Sources)
	}
}

// RTCP of a browser knows nothing of what it concealed and of its jitter buffer:
// where its getStats tell, they alone count for choppiness and score.
func TestReportsOfABrowserDoNotThinOutItsStatistics(t *testing.T) {
	call := func(withRTCP bool) *telemetry.Call {
		s := both(t)
		for at := 2; at <= 42; at++ {
			n := uint64(50 * (at - 1))
			s.poll(float64(at), 0, n, n, 48_000/20)
			if withRTCP && at%2 == 0 {
				s.rtcp(float64(at)+0.5, reporting{packets: 100}, reporting{packets: 100})
			}
		}
		s.bye(43, 0)
		return last(t, s.run(20))
	}
	alone, with := evidenceOf(call(false).Verdict, "jitter"), call(true)
	var heard *telemetry.Evidence
	for _, e := range with.Verdict.Evidence {
		if e.Kind == "jitter" && e.Side == "target" {
			heard = e
		}
	}
	if heard == nil || alone.Values["moments"] == 0 || heard.Values["moments"] != alone.Values["moments"] || heard.Values["choppy_share"] != 1 {
		t.Errorf("with RTCP %v, without %v", heard, alone)
	}
	if m := with.Verdict.Mos; m == nil || m.Direction != "contact_to_target" || m.Inputs["jitter_buffer_assumed"] != 0 {
		t.Errorf("MOS %v", m)
	}
}

// Of an SDP that a media relay rewrites the first copy is the party's own.
func TestARelayIsNotTheMediaAddressOfAParty(t *testing.T) {
	s := newScript(t)
	proxy := "10.0.0.9:5060"
	relayed := func(p int, protocol string) sipOption {
		d := s.sdp(p, "sendrecv")
		d.Media[0].Address, d.Media[0].RtcpAddress, d.Media[0].Protocol = "10.0.0.9", "10.0.0.9", protocol
		return withSDP(d)
	}
	own := func(p int, protocol string) sipOption {
		d := s.sdp(p, "sendrecv")
		d.Media[0].Protocol = protocol
		return withSDP(d)
	}
	s.sip(0, 0, "INVITE", 0, withPath(signalling[0], proxy), own(0, "UDP/TLS/RTP/SAVPF"))
	s.sip(0.1, 0, "INVITE", 0, withPath(proxy, signalling[1]), withBranch("z9hG4bK-2"), relayed(0, "RTP/AVP"))
	s.sip(1, 1, "INVITE", 200, withPath(signalling[1], proxy), withBranch("z9hG4bK-2"), own(1, "RTP/AVP"))
	s.sip(1.1, 1, "INVITE", 200, withPath(proxy, signalling[0]), relayed(1, "UDP/TLS/RTP/SAVPF"))
	for at := 6.0; at <= 41; at += 5 { // the phone's reports, on the way between it and the relay
		s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		s.poll(at+0.5, 0, uint64(50*at), uint64(50*at), 0)
		rtt := 0.031 // by ICE, to the relay
		s.records[len(s.records)-1].GetWebrtc().Pair.CurrentRoundTripTimeS = &rtt
	}
	s.bye(43, 0)
	c := last(t, s.run(20))
	for _, l := range c.Legs {
		if want := map[string]string{"target": media[0] + ":10000", "contact": media[1] + ":11000"}[l.Side]; l.Kind == "sip" && l.Address != want {
			t.Errorf("the %s's media address is %s", l.Side, l.Address)
		}
	}
	if d := c.Verdict.Delay; d.RttMs != nil { // nobody measured that of the whole way
		t.Errorf("the way to the relay is not that of the call: %v", d)
	}
	if o := c.Verdict.OneWayAudio; o.State != "confirmed" || o.Direction != "target_to_contact" {
		t.Errorf("the phone's reports are no secret: %v\n%s", o, explain(c))
	}
}
