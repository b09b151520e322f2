package main

import (
	"github.com/earshot/earshot/benchmarks/verdicts"
	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// A spot is where on the path something is done.
type spot func(*path.Config)

func aOut(is ...path.Impairment) spot { return func(c *path.Config) { c.AOut = append(c.AOut, is...) } }
func aIn(is ...path.Impairment) spot  { return func(c *path.Config) { c.AIn = append(c.AIn, is...) } }
func bOut(is ...path.Impairment) spot { return func(c *path.Config) { c.BOut = append(c.BOut, is...) } }
func bIn(is ...path.Impairment) spot  { return func(c *path.Config) { c.BIn = append(c.BIn, is...) } }

// way is a path of so many ms between a and the middle and between the middle
// and b, each way, with more done to it.
func way(aMs, bMs float64, spots ...spot) path.Config {
	near, far := path.Impairment{DelayMs: aMs}, path.Impairment{DelayMs: bMs}
	c := path.Config{AOut: []path.Impairment{near}, AIn: []path.Impairment{near}, BOut: []path.Impairment{far}, BIn: []path.Impairment{far}}
	for _, s := range spots {
		s(&c)
	}
	return c
}

var (
	rtpOnly  = []string{"rtp"}
	rtcpOnly = []string{"rtcp"}
	media    = []string{"media"}
)

func block(kinds []string, fromS, toS float64) path.Impairment {
	return path.Impairment{Kinds: kinds, From: fromS, To: toS, LossPercent: 100}
}

func loss(percent float64) path.Impairment {
	return path.Impairment{Kinds: media, LossPercent: percent}
}

func uniform(ms float64) path.Impairment { return path.Impairment{Kinds: media, JitterMs: ms} }

func normal(ms float64) path.Impairment {
	return path.Impairment{Kinds: media, JitterMs: ms, Normal: true}
}

func overtaking(i path.Impairment) path.Impairment { i.Reorder = true; return i }

// Directions of one-way audio, as verdicts name them.
const (
	toContact = "target_to_contact"
	toTarget  = "contact_to_target"
	both      = "both"
)

type expect = verdicts.Expectations

// fine is what a good verdict says of a call with nothing wrong.
var fine = expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "good", Overall: "good"}

// dead is what it says of a direction that was dead since then.
func dead(direction string, sinceS float64) expect {
	return expect{OneWay: "confirmed", OneWayDirection: direction, SinceS: &sinceS, Overall: "unacceptable"}
}

var scenarios = []Scenario{
	// Nothing wrong.
	{Name: "sip-clean-pcma", What: "two phones talk over a good path", Class: "clean", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15), TalkS: 30, Expect: fine},
	{Name: "sip-clean-pcmu-linphone", What: "linphone calls baresip over a good path", Class: "clean", Codec: pcmu,
		A: Linphone{}, B: Baresip{}, Path: way(5, 20), TalkS: 30, Expect: fine},
	{Name: "sip-clean-g722", What: "wide-band, over a good path", Class: "clean", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(12, 8), TalkS: 30, Expect: fine},
	{Name: "sip-clean-g722-linphone", What: "baresip calls linphone, wide-band, over a good path", Class: "clean", Codec: g722,
		A: Baresip{}, B: Linphone{}, Path: way(3, 30), TalkS: 30, Expect: fine},
	{Name: "sip-clean-opus", What: "full-band, over a good path", Class: "clean", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(20, 10), TalkS: 30, Expect: fine},
	{Name: "sip-clean-opus-linphone", What: "two linphones, which send extended reports, over a good path", Class: "clean", Codec: opus,
		A: Linphone{}, B: Linphone{}, Path: way(10, 10), TalkS: 30, Expect: fine},
	{Name: "sip-clean-gsm", What: "a codec that ITU-T G.113 does not list, over a good path", Class: "clean", Codec: gsm,
		A: Baresip{}, B: Baresip{}, Path: way(10, 25), TalkS: 30, Expect: fine},
	{Name: "sip-clean-speex-linphone", What: "a codec that ITU-T G.113 does not list, wide-band, over a good path", Class: "clean", Codec: speex,
		A: Linphone{}, B: Linphone{}, Path: way(15, 15), TalkS: 30, Expect: fine},
	{Name: "sip-clean-one-witness-pcma", What: "a good call; the callee's RTCP is filtered before the monitor", Class: "clean", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 10, bOut(block(rtcpOnly, 0, 0))), TalkS: 30, Witnesses: []string{"a", "monitor"},
		Expect: expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown"}, "delay": {"good", "unknown"}, "jitter": {"good"}, "loss": {"good"}, "overall": {"good", "unknown"}}}},

	// One-way audio and no audio.
	{Name: "sip-oneway-ab-start-pcma", What: "RTP from the caller is lost behind the monitor from the start; RTCP passes", Class: "fault", Fault: "one_way", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, bIn(block(rtpOnly, 0, 0))), TalkS: 35, Expect: dead(toContact, 0)},
	{Name: "sip-oneway-ba-start-opus", What: "RTP and RTCP from the callee are filtered before the monitor from the start", Class: "fault", Fault: "one_way", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(15, 15, bOut(block(media, 0, 0))), TalkS: 35, Witnesses: []string{"a", "monitor"},
		Expect: expect{OneWay: "confirmed", OneWayDirection: toTarget, SinceS: new(0.0), MayBe: map[string][]string{"one_way": {"confirmed", "suspected"}, "overall": {"unacceptable", "bad"}}}},
	{Name: "sip-oneway-ba-start-one-witness-pcma", What: "RTP from the callee is lost behind the monitor, its RTCP before it", Class: "fault", Fault: "one_way", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 10, bOut(block(rtcpOnly, 0, 0)), aIn(block(rtpOnly, 0, 0))), TalkS: 35, Witnesses: []string{"a", "monitor"},
		Expect: dead(toTarget, 0)},
	{Name: "sip-oneway-ab-mid-g722", What: "RTP from the caller is lost behind the monitor from 15 s on", Class: "fault", Fault: "one_way", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(10, 30, bIn(block(rtpOnly, 15, 0))), TalkS: 40, Expect: dead(toContact, 15)},
	{Name: "sip-oneway-ba-mid-pcmu-linphone", What: "RTP and RTCP from the callee are lost behind the monitor from 12 s on", Class: "fault", Fault: "one_way", Codec: pcmu,
		A: Linphone{}, B: Baresip{}, Path: way(10, 10, aIn(block(media, 12, 0))), TalkS: 40, Expect: dead(toTarget, 12)},
	{Name: "sip-oneway-ab-mid-opus-linphone", What: "RTP from the caller, a linphone, does not reach the callee, another, from 18 s on", Class: "fault", Fault: "one_way", Codec: opus,
		A: Linphone{}, B: Linphone{}, Path: way(10, 10, bIn(block(rtpOnly, 18, 0))), TalkS: 42, Expect: dead(toContact, 18)},
	{Name: "sip-oneway-ab-heals-pcmu", What: "RTP from the caller is lost for the first 12 s, then heals", Class: "fault", Fault: "one_way", Codec: pcmu,
		A: Baresip{}, B: Baresip{}, Path: way(20, 20, bIn(block(rtpOnly, 0, 12))), TalkS: 40, Expect: dead(toContact, 0)},
	{Name: "sip-oneway-ba-10s-pcma", What: "RTP from the callee is lost for 10 s in the middle of the call", Class: "fault", Fault: "one_way", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(15, 10, aIn(block(rtpOnly, 14.5, 24.6))), TalkS: 40,
		Expect: expect{OneWay: "confirmed", OneWayDirection: toTarget, SinceS: new(14.5), MayBe: map[string][]string{"one_way": {"confirmed", "suspected"}}}},
	{Name: "sip-noaudio-start-pcma", What: "no RTP passes in either direction from the start; RTCP does", Class: "fault", Fault: "no_audio", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 10, bIn(block(rtpOnly, 0, 0)), aIn(block(rtpOnly, 0, 0))), TalkS: 35, Expect: dead(both, 0)},
	{Name: "sip-noaudio-mid-g722", What: "no RTP passes in either direction from 15 s on; RTCP does", Class: "fault", Fault: "no_audio", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(10, 10, bIn(block(rtpOnly, 15, 0)), aIn(block(rtpOnly, 15, 0))), TalkS: 40, Expect: dead(both, 15)},

	// Delay.
	{Name: "sip-delay-150-pcma", What: "a round trip of 150 ms", Class: "fault", Fault: "delay", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(25, 50), TalkS: 32, Expect: expect{OneWay: "none", Delay: "acceptable", Jitter: "good", Loss: "good", Overall: "acceptable"}},
	{Name: "sip-delay-250-g722", What: "a round trip of 250 ms", Class: "fault", Fault: "delay", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(95, 30), TalkS: 32, Expect: expect{OneWay: "none", Delay: "bad", Jitter: "good", Loss: "good", Overall: "bad"}},
	{Name: "sip-delay-400-opus", What: "a round trip of 400 ms", Class: "fault", Fault: "delay", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(60, 140), TalkS: 32, Expect: expect{OneWay: "none", Delay: "unacceptable", Jitter: "good", Loss: "good", Overall: "unacceptable"}},
	{Name: "sip-delay-asymmetric-pcmu-linphone", What: "15 ms from the caller to the callee, 160 ms back", Class: "fault", Fault: "delay", Codec: pcmu,
		A: Linphone{}, B: Linphone{}, Path: way(5, 10, bOut(path.Impairment{DelayMs: 145})), TalkS: 32,
		Expect: expect{OneWay: "none", Delay: "acceptable", Jitter: "good", Loss: "good", Overall: "acceptable"}},
	{Name: "sip-delay-rises-pcma", What: "a round trip of 60 ms that rises to 360 ms after 15 s", Class: "fault", Fault: "delay", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(15, 15, bIn(path.Impairment{From: 15, DelayMs: 150}), bOut(path.Impairment{From: 15, DelayMs: 150})), TalkS: 40,
		Expect: expect{OneWay: "none", Delay: "unacceptable", Loss: "good", Overall: "unacceptable"}},

	// Jitter.
	{Name: "sip-jitter-10-pcma", What: "delay varies by 10 ms in both directions: phones make up for it", Class: "clean", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(20, 20, bIn(uniform(10)), aIn(uniform(10))), TalkS: 35,
		Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "good", Overall: "good"}},
	{Name: "sip-jitter-40-g722", What: "delay varies by ±60 ms with packets overtaking, behind the monitor towards the callee", Class: "fault", Fault: "jitter", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(20, 45, bIn(overtaking(uniform(60)))), TalkS: 40, Expect: expect{OneWay: "none", Jitter: "unacceptable", Loss: "good", Overall: "unacceptable"}},
	{Name: "sip-jitter-80-pcmu", What: "delay varies by ±80 ms with packets overtaking, towards the caller", Class: "fault", Fault: "jitter", Codec: pcmu,
		A: Baresip{}, B: Baresip{}, Path: way(85, 10, aIn(overtaking(uniform(80)))), TalkS: 40, Expect: expect{OneWay: "none", Jitter: "unacceptable", Overall: "unacceptable"}},
	{Name: "sip-jitter-80-opus", What: "delay varies by ±80 ms before the monitor, from the caller", Class: "fault", Fault: "jitter", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(85, 10, aOut(overtaking(uniform(80)))), TalkS: 40, Expect: expect{OneWay: "none", Jitter: "unacceptable", Overall: "unacceptable"}},
	{Name: "sip-jitter-40-normal-pcma-linphone", What: "delay varies with a standard deviation of 40 ms towards both ends", Class: "fault", Fault: "jitter", Codec: pcma,
		A: Linphone{}, B: Linphone{}, Path: way(60, 60, bIn(overtaking(normal(40))), aIn(overtaking(normal(40)))), TalkS: 40, Expect: expect{OneWay: "none", Jitter: "unacceptable"}},

	// Loss.
	{Name: "sip-loss-2-pcma", What: "2 % of packets are lost in both directions", Class: "fault", Fault: "loss", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, bIn(loss(2)), aIn(loss(2))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "acceptable", Overall: "acceptable"}},
	{Name: "sip-loss-4-g722", What: "4 % of packets from the caller are lost", Class: "fault", Fault: "loss", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, bIn(loss(4))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "bad", Overall: "bad"}},
	{Name: "sip-loss-8-opus", What: "8 % of packets are lost in both directions", Class: "fault", Fault: "loss", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, bOut(loss(8)), bIn(loss(8))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "unacceptable", Overall: "unacceptable"}},
	{Name: "sip-loss-4-pcmu-linphone", What: "4 % of packets from the callee are lost behind the monitor", Class: "fault", Fault: "loss", Codec: pcmu,
		A: Linphone{}, B: Linphone{}, Path: way(15, 15, aIn(loss(4))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "bad", Overall: "bad"}},
	{Name: "sip-burst-pcma", What: "bursts of five packets from the callee are lost, some 4 % in all", Class: "fault", Fault: "burst_loss", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, aIn(path.Impairment{Kinds: media, Burst: &path.Burst{ToBad: 1.2, ToGood: 20}})), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "bad", Overall: "bad"}},
	{Name: "sip-burst-opus", What: "bursts of eight packets from the caller are lost behind the monitor, some 6 % in all", Class: "fault", Fault: "burst_loss", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(10, 20, bIn(path.Impairment{Kinds: media, Burst: &path.Burst{ToBad: 0.5, ToGood: 12}})), TalkS: 42, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "unacceptable", Overall: "unacceptable"}},

	// Mixtures.
	{Name: "sip-mixed-pcmu-linphone", What: "a round trip of 220 ms, 3 % loss and ±30 ms jitter towards the callee", Class: "fault", Fault: "mixed", Codec: pcmu,
		A: Linphone{}, B: Baresip{}, Path: way(50, 60, bIn(loss(3.5), overtaking(uniform(30)))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "bad", Jitter: "good", MayBe: map[string][]string{"loss": {"acceptable", "bad"}}}},
	{Name: "sip-mixed-g722", What: "a round trip of 340 ms and 6 % loss from the callee", Class: "fault", Fault: "mixed", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(90, 80, aIn(loss(6))), TalkS: 42, Expect: expect{OneWay: "none", Delay: "unacceptable", Jitter: "good", Loss: "unacceptable", Overall: "unacceptable"}},
	{Name: "sip-mixed-oneway-loss-opus", What: "3 % loss from the callee, and RTP from the caller is lost from 20 s on", Class: "fault", Fault: "one_way", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(20, 20, aIn(loss(4)), bIn(block(rtpOnly, 20, 0))), TalkS: 42, Expect: dead(toContact, 20)},

	// Through a server that carries the media, and captured there.
	{Name: "sip-server-clean-pcma", What: "through Kamailio and rtpengine, nothing wrong", Class: "clean", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(15, 10), TalkS: 30, Expect: fine},
	{Name: "sip-server-clean-opus-linphone", What: "through Kamailio and rtpengine, nothing wrong", Class: "clean", Codec: opus,
		A: Linphone{}, B: Linphone{}, Proxy: &Proxy{}, Path: way(10, 20), TalkS: 30, Expect: fine},
	{Name: "sip-server-delay-target-pcma", What: "230 ms there and back between the caller and the server, 20 ms behind it", Class: "fault", Fault: "delay", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(115, 10), TalkS: 35, Expect: expect{OneWay: "none", Delay: "bad", Jitter: "good", Loss: "good", Overall: "bad", FaultSide: "target"}},
	{Name: "sip-server-loss-contact-opus", What: "6 % loss each way between the server and the callee", Class: "fault", Fault: "loss", Codec: opus,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(10, 10, bIn(loss(6)), bOut(loss(6))), TalkS: 40, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "unacceptable", Overall: "unacceptable", FaultSide: "contact"}},
	{Name: "sip-server-loss-target-g722", What: "6 % loss from the caller to the server", Class: "fault", Fault: "loss", Codec: g722,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(10, 10, aOut(loss(6))), TalkS: 40, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "unacceptable", Overall: "unacceptable", FaultSide: "target"}},
	{Name: "sip-server-oneway-ab-contact-pcma", What: "RTP is lost between the server and the callee from 15 s on", Class: "fault", Fault: "one_way", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(10, 10, bIn(block(rtpOnly, 15, 0))), TalkS: 40, Expect: sided(dead(toContact, 15), "contact")},
	{Name: "sip-server-oneway-ba-contact-pcmu-linphone", What: "RTP from the callee never reaches the server", Class: "fault", Fault: "one_way", Codec: pcmu,
		A: Linphone{}, B: Linphone{}, Proxy: &Proxy{}, Path: way(10, 10, bOut(block(rtpOnly, 0, 0))), TalkS: 35, Expect: sided(dead(toTarget, 0), "contact")},
	{Name: "sip-server-oneway-ab-target-g722", What: "RTP from the caller does not reach the server from 12 s on", Class: "fault", Fault: "one_way", Codec: g722,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(10, 10, aOut(block(rtpOnly, 12, 0))), TalkS: 36, Expect: sided(dead(toContact, 12), "target")},
	{Name: "sip-server-jitter-target-pcmu", What: "delay varies by ±80 ms between the caller and the server", Class: "fault", Fault: "jitter", Codec: pcmu,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(85, 10, aOut(overtaking(uniform(80)))), TalkS: 40, Expect: expect{OneWay: "none", Jitter: "unacceptable", Overall: "unacceptable", FaultSide: "target"}},
	{Name: "sip-server-hiding-loss-contact-pcma", What: "a server that gives the second leg another Call-ID; 4 % loss between it and the callee", Class: "fault", Fault: "loss", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{Hiding: true}, Path: way(10, 10, bIn(loss(4))), TalkS: 40, Expect: expect{OneWay: "none", Delay: "good", Jitter: "good", Loss: "bad", Overall: "bad", FaultSide: "contact"}},
	{Name: "sip-server-hold-pcma", What: "through a server; the caller holds from 10 s to 22 s", Class: "trap", Trap: "hold", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Proxy: &Proxy{}, Path: way(10, 10), TalkS: 36, Steps: []Step{{10, path.A, "hold"}, {22, path.A, "resume"}}, Expect: fine},

	// Hold.
	{Name: "sip-hold-sendonly-pcmu", What: "the caller holds from 12 s to 24 s (a=sendonly)", Class: "trap", Trap: "hold", Codec: pcmu,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15), TalkS: 38, Steps: []Step{{12, path.A, "hold"}, {24, path.A, "resume"}}, Expect: fine},
	{Name: "sip-hold-callee-long-opus", What: "the callee holds from 6 s until the call ends (a=sendonly)", Class: "trap", Trap: "hold", Codec: opus,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15), TalkS: 42, Steps: []Step{{6, path.B, "hold"}},
		Expect: expect{OneWay: "none", Delay: "good", MayBe: map[string][]string{"one_way": {"none", "unknown"}}}},
	{Name: "sip-hold-music-pcma-linphone", What: "the caller holds from 12 s to 26 s (a=sendonly), and goes on sending", Class: "trap", Trap: "hold", Codec: pcma,
		A: Linphone{}, B: Linphone{}, Path: way(10, 15), TalkS: 40, Steps: []Step{{12, path.A, "pause"}, {26, path.A, "resume"}}, Expect: fine},
	{Name: "sip-hold-music-pcmu-linphone", What: "the caller, a linphone, holds from 12 s to 26 s (a=sendonly), and goes on sending", Class: "trap", Trap: "hold", Codec: pcmu,
		A: Linphone{}, B: Baresip{}, Path: way(10, 15), TalkS: 40, Steps: []Step{{12, path.A, "pause"}, {26, path.A, "resume"}}, Expect: fine},
	{Name: "sip-hold-both-g722", What: "the caller holds from 8 s to 24 s, the callee from 12 s to 28 s (a=inactive in the answers)", Class: "trap", Trap: "hold", Codec: g722,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15), TalkS: 42, Steps: []Step{{8, path.A, "hold"}, {12, path.B, "hold"}, {24, path.A, "resume"}, {28, path.B, "resume"}},
		Expect: fine},
	{Name: "sip-hold-0000-pcma", What: "the caller holds from 12 s to 24 s (c=IN IP4 0.0.0.0, a=inactive); it never sends RTCP", Class: "trap", Trap: "hold", Codec: pcma,
		A: SIPp{Scenario: "caller-holds", Spoken: []float64{12}, LaterS: 24}, B: Baresip{}, Path: way(10, 15), TalkS: 38, Witnesses: []string{"b", "monitor"}, Expect: half},
	{Name: "sip-hold-then-oneway-pcma", What: "the caller holds from 8 s to 18 s; from 22 s on RTP from the callee is lost", Class: "fault", Fault: "one_way", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15, aIn(block(rtpOnly, 22, 0))), TalkS: 44, Steps: []Step{{8, path.A, "hold"}, {18, path.A, "resume"}}, Expect: dead(toTarget, 22)},

	// Silence that is nobody's fault.
	{Name: "sip-mute-pcma", What: "the caller mutes from 8 s to 28 s; its packets flow", Class: "trap", Trap: "mute", Codec: pcma,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15), TalkS: 36, Steps: []Step{{8, path.A, "mute"}, {28, path.A, "mute"}}, Expect: fine},
	{Name: "sip-mute-opus-linphone", What: "the callee mutes from 8 s until the call ends", Class: "trap", Trap: "mute", Codec: opus,
		A: Linphone{}, B: Linphone{}, Path: way(10, 15), TalkS: 36, Steps: []Step{{8, path.B, "mute"}}, Expect: fine},
	{Name: "sip-dead-microphone-g722", What: "the caller's microphone gives digital silence; packets flow", Class: "trap", Trap: "dead_microphone", Codec: g722,
		A: Baresip{Silent: true}, B: Baresip{}, Path: way(10, 15), TalkS: 32, Expect: fine},
	{Name: "sip-dead-microphone-pcmu-linphone", What: "the callee's microphone gives digital silence; packets flow", Class: "trap", Trap: "dead_microphone", Codec: pcmu,
		A: Linphone{}, B: Linphone{Silent: true}, Path: way(10, 15), TalkS: 30, Expect: fine},
	{Name: "sip-dtx-opus", What: "discontinuous transmission: pauses of 4 s between phrases, in which packets have one byte", Class: "trap", Trap: "dtx", Codec: opus,
		A: Baresip{PauseS: 4, Config: dtx}, B: Baresip{PauseS: 4, Config: dtx}, Path: way(10, 15), TalkS: 42, Expect: quiet},
	{Name: "sip-dtx-silent-opus", What: "discontinuous transmission; the caller says nothing at all, and its packets have one byte", Class: "trap", Trap: "dtx", Codec: opus,
		A: Baresip{Silent: true, Config: dtx}, B: Baresip{Config: dtx}, Path: way(10, 15), TalkS: 42, Expect: quiet},
	{Name: "sip-dtx-opus-linphone", What: "discontinuous transmission of two linphones: pauses of 6 s between phrases", Class: "trap", Trap: "dtx", Codec: opus,
		A: Linphone{PauseS: 6, Fmtp: "useinbandfec=0; usedtx=1"}, B: Linphone{PauseS: 6, Fmtp: "useinbandfec=0; usedtx=1"}, Path: way(10, 15), TalkS: 42, Expect: quiet},
	{Name: "sip-vad-pcma", What: "comfort noise (RFC 3389), six packets a second, from the caller for 5 s of every 8; it sends no RTCP", Class: "trap", Trap: "dtx", Codec: pcma,
		A: SIPp{Scenario: "caller-vad", VAD: true}, B: Baresip{}, Path: way(10, 15), TalkS: 37, Witnesses: []string{"b", "monitor"}, Expect: half},

	// Encrypted.
	{Name: "sip-srtp-clean-pcma", What: "SRTP with keys in the session description: nobody in the middle reads the reports", Class: "trap", Trap: "encrypted", Codec: pcma,
		A: Baresip{Account: ";mediaenc=srtp-mand"}, B: Baresip{Account: ";mediaenc=srtp-mand"}, Path: way(10, 15), TalkS: 32, Witnesses: []string{"monitor"},
		Expect: unseen},
	{Name: "sip-srtp-clean-opus-linphone", What: "SRTP between two linphones: nobody in the middle reads the reports", Class: "trap", Trap: "encrypted", Codec: opus,
		A: Linphone{Config: srtp}, B: Linphone{Config: srtp}, Path: way(10, 15), TalkS: 32, Witnesses: []string{"monitor"}, Expect: unseen},

	// Too short for a report.
	{Name: "sip-short-3s-oneway-pcmu", What: "RTP from the caller is lost, but the call ends after 3 s", Class: "trap", Trap: "short", Codec: pcmu,
		A: Baresip{}, B: Baresip{}, Path: way(10, 15, bIn(block(rtpOnly, 0, 0))), TalkS: 3, Expect: expect{OneWay: "unknown", MayBe: map[string][]string{"one_way": {"unknown", "none"}}}},
	{Name: "sip-short-4s-clean-g722-linphone", What: "a good call that ends after 4 s", Class: "trap", Trap: "short", Codec: g722,
		A: Linphone{}, B: Linphone{}, Path: way(10, 15), TalkS: 4, Expect: expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown"}}}},

	// Not answered.
	{Name: "sip-cancelled-pcma", What: "the caller gives up after 8 s of ringing", Class: "trap", Trap: "not_answered", Codec: pcma,
		A: Baresip{}, B: Baresip{Manual: true}, Path: way(10, 15), UnansweredS: 10, Steps: []Step{{8, path.A, "hangup"}}, Expect: nothing},
	{Name: "sip-declined-pcmu-linphone", What: "the callee declines after 4 s of ringing", Class: "trap", Trap: "not_answered", Codec: pcmu,
		A: Linphone{}, B: Linphone{Manual: true}, Path: way(10, 15), UnansweredS: 6, Steps: []Step{{4, path.B, "terminate"}}, Expect: nothing},
	{Name: "sip-busy-pcma", What: "the callee is busy (486)", Class: "trap", Trap: "not_answered", Codec: pcma,
		A: Baresip{}, B: SIPp{Scenario: "busy"}, Path: way(10, 15), UnansweredS: 4, Expect: nothing},

	// What only SIPp can be made to do.
	{Name: "sip-early-media-unanswered-pcma", What: "an announcement of 12 s before the answer (183), then 480", Class: "trap", Trap: "early_media", Codec: pcma,
		A: Baresip{}, B: SIPp{Scenario: "early"}, Path: way(10, 15), UnansweredS: 15, Expect: nothing},
	{Name: "sip-early-media-answered-pcma", What: "early media of 8 s (183), then an answered call with a callee that sends no RTCP", Class: "trap", Trap: "early_media", Codec: pcma,
		A: Baresip{}, B: SIPp{Scenario: "early-answers"}, Path: way(10, 15), TalkS: 30, Witnesses: []string{"a", "monitor"}, Expect: half},
	{Name: "sip-receive-only-pcma", What: "an announcement: the caller offers a=sendonly, the phone answers a=recvonly", Class: "trap", Trap: "receive_only", Codec: pcma,
		A: SIPp{Scenario: "announce"}, B: Baresip{}, Path: way(10, 15), TalkS: 31, Witnesses: []string{"b", "monitor"}, Expect: half},
	{Name: "sip-no-rtcp-pcma", What: "a caller that sends no RTCP, and RTP as it should", Class: "trap", Trap: "no_rtcp", Codec: pcma,
		A: SIPp{Scenario: "caller"}, B: Baresip{}, Path: way(10, 15), TalkS: 37, Witnesses: []string{"b", "monitor"}, Expect: half},
	{Name: "sip-no-rtcp-oneway-pcma", What: "a caller that sends no RTCP, and whose RTP is lost behind the monitor from 12 s on", Class: "fault", Fault: "one_way", Codec: pcma,
		A: SIPp{Scenario: "caller"}, B: Baresip{}, Path: way(10, 15, bIn(block(rtpOnly, 12, 0))), TalkS: 37, Witnesses: []string{"b", "monitor"},
		Expect: expect{OneWay: "confirmed", OneWayDirection: toContact, SinceS: new(12.0), MayBe: map[string][]string{"one_way": {"confirmed", "suspected"}, "overall": {"unacceptable", "bad"}}}},
	{Name: "sip-ssrc-change-pcma", What: "the caller's stream changes its SSRC and sequence after 16 s", Class: "trap", Trap: "ssrc_change", Codec: pcma,
		A: SIPp{Scenario: "caller", Spoken: []float64{16, 30}}, B: Baresip{}, Path: way(10, 15), TalkS: 37, Witnesses: []string{"b", "monitor"}, Expect: half},
	{Name: "sip-moved-port-pcma", What: "the caller moves to another port by re-INVITE after 15 s", Class: "trap", Trap: "transfer", Codec: pcma,
		A: SIPp{Scenario: "caller-moves", Spoken: []float64{15}, LaterS: 15}, B: Baresip{}, Path: way(10, 15), TalkS: 37, Witnesses: []string{"b", "monitor"}, Expect: half},
	{Name: "sip-t38-pcma", What: "after 8 s of tones the called fax machine asks for T.38; UDPTL for 25 s", Class: "trap", Trap: "t38", Codec: pcma,
		A: SIPp{Scenario: "fax", Spoken: []float64{8}}, B: SIPp{Scenario: "fax-answers", Spoken: []float64{8}}, Path: way(10, 15), TalkS: 35, Witnesses: []string{"monitor"},
		Expect: expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown"}}}},

	// A phone that stops by itself.
	{Name: "sip-rtp-stops-pcma", What: "the callee's phone stops sending RTP after 14 s and goes on with RTCP", Class: "trap", Trap: "rtp_stops", Codec: pcma,
		A: Baresip{}, B: Baresip{Unplugs: true}, Path: way(10, 15), TalkS: 40, Steps: []Step{{14, path.B, "ausrc aubridge,nobody"}},
		// The phone says itself that it sends nothing: the caller hears nothing, and nothing is wrong on the way.
		Expect: expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown", "suspected"}}}},
	{Name: "sip-rtp-stops-opus", What: "the caller's phone stops sending RTP after 10 s and goes on with RTCP", Class: "trap", Trap: "rtp_stops", Codec: opus,
		A: Baresip{Unplugs: true}, B: Baresip{}, Path: way(10, 15), TalkS: 35, Steps: []Step{{10, path.A, "ausrc aubridge,nobody"}},
		Expect: expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown", "suspected"}}}},
	{Name: "sip-roaming-pcmu-linphone", What: "the caller's address changes after 14 s; some 5 s later its phone notices and tells the other by re-INVITE, until when what is sent to the old address is lost", Class: "trap", Trap: "transfer", Codec: pcmu,
		A: Linphone{Roams: true}, B: Linphone{}, Path: way(10, 15), TalkS: 45, Steps: []Step{{14, path.A, roam}}, Gone: gone{path.AddressA, 14},
		Expect: expect{OneWay: "none", Delay: "good", MayBe: map[string][]string{"one_way": {"none", "suspected", "confirmed"}}}},
	{Name: "sip-late-reports-opus-linphone", What: "phones that publish quality reports (RFC 6035) after the call ended", Class: "trap", Trap: "late_reports", Codec: opus,
		A: Linphone{Config: publishes}, B: Linphone{Config: publishes}, Proxy: &Proxy{}, Path: way(10, 15), TalkS: 30, AfterS: 4, Expect: fine},
}

// sided adds where the fault is.
func sided(e expect, side string) expect {
	e.FaultSide = side
	return e
}

// quiet is what a verdict says of a good call whose phones send nothing while
// nobody speaks: delay, jitter and loss may be known or not.
var quiet = expect{OneWay: "none", MayBe: map[string][]string{"delay": {"good", "unknown"}, "jitter": {"good", "unknown"}, "loss": {"good", "unknown"}, "overall": {"good", "unknown"}}}

// unseen is what it says where only RTP headers can be read.
var unseen = expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown"}, "delay": {"unknown"}, "jitter": {"good", "unknown"}, "loss": {"good", "unknown"}, "overall": {"good", "unknown"}}}

// nothing is what it says of a call that never was one.
var nothing = expect{OneWay: "unknown", MayBe: map[string][]string{"one_way": {"unknown", "none"}, "overall": {"unknown"}}}

// half is what it says of a good call of which one end never reports: there is
// no round trip, and of the direction to that end only what the monitor saw.
var half = expect{OneWay: "none", MayBe: map[string][]string{"one_way": {"none", "unknown"}, "delay": {"unknown", "good"}, "jitter": {"good", "unknown"}, "loss": {"good", "unknown"}, "overall": {"good", "unknown"}}}

// roam takes the caller's first address away; the second one is left.
const roam = "!sysctl -qw net.ipv4.conf.tun0.promote_secondaries=1; ip addr del 10.66.0.1/24 dev tun0; ip route replace default dev tun0 src 10.66.0.11"

const publish = "quality_reporting_enabled=1\nquality_reporting_collector=sip:" + path.AddressServer + "\nquality_reporting_interval=0\n"

var publishes = map[string]string{"proxy_0": publish}

const dtx = "opus_dtx yes\nopus_application voip"

var srtp = map[string]string{"sip": "media_encryption=srtp\nmedia_encryption_mandatory=1\n"}
