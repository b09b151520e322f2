package main

import (
	"context"
	"math/rand/v2"

	"github.com/earshot/earshot/benchmarks/verdicts"
	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// scenario is a call to record, and its label.
type scenario struct {
	name, what         string
	class, fault, trap string
	codecs             []string // in order of preference, as browsers name them
	dtx, encrypted     bool
	gateway            bool      // b is a phone behind rtpengine
	reordered          bool      // from b to a, by so much that a few measurements tell neither jitter nor round trip
	feedback           bool      // with RTP header extensions and transport-wide congestion control
	receiveOnly        string    // the side that has no microphone by design
	sounds             [2]string // of a's and b's microphone
	path               path.Config
	talk               float64 // seconds after the answer
	pollFrom, pollTo   float64 // getStats in that time; To 0: to the end
	steps              []step
	stats              string // whose getStats are kept: a, b, ab
	wire               bool   // whether the monitor's capture is kept
	expect             verdicts.Expectations

	microphones map[string]string
}

// step is what somebody does at a time.
type step struct {
	at float64 // seconds after the answer
	do func(*call, context.Context) error
}

func (s *scenario) truth() verdicts.Truth {
	t := verdicts.Truth{
		Name: s.name, MadeWith: s.madeWith(), What: s.what, Class: s.class, Fault: s.fault, Trap: s.trap,
		Codec: s.codecs[0], ClockRate: 48000, Bandwidth: "full", Expect: s.expect,
	}
	switch s.codecs[0] {
	case "PCMU", "PCMA":
		t.ClockRate, t.Bandwidth = 8000, "narrow"
	case "G722":
		t.ClockRate, t.Bandwidth = 8000, "wide" // the clock rate is wrong for history's sake, RFC 3551 §4.5.2
	}
	for _, side := range s.stats {
		t.Witnesses = append(t.Witnesses, string(side))
	}
	if s.wire {
		t.Witnesses = append(t.Witnesses, "monitor")
	}
	return t
}

// leaveOut removes what was measured and is no measure for a client.
func (s *scenario) leaveOut(t *verdicts.Truth) {
	if s.reordered && t.BToA != nil {
		t.BToA.Jitter, t.RTT = nil, nil
	}
}

// mayNotKnow is for calls of which some of the files tell only in part.
func (s *scenario) mayNotKnow() {
	for _, dimension := range []string{"one_way", "delay", "jitter", "loss", "overall"} {
		answers := s.expect.Allowed(dimension)
		s.may(dimension, append(answers, "unknown")...)
	}
}

// may has several right answers in a dimension.
func (s *scenario) may(dimension string, answers ...string) {
	all := map[string][]string{dimension: answers}
	for other, list := range s.expect.MayBe {
		if other != dimension {
			all[other] = list
		}
	}
	s.expect.MayBe = all
}

func (s *scenario) madeWith() []string {
	made := []string{chromiumVersion()}
	if s.gateway {
		made = append(made, "Kamailio 5.6.3", "rtpengine 10.5.3", "baresip 1.0.0")
	}
	return made
}

// Short names of what the path does.
func delay(ms float64) path.Impairment { return path.Impairment{DelayMs: ms} }

func block(kind string, from, to float64) path.Impairment {
	return path.Impairment{Kinds: []string{kind}, From: from, To: to, LossPercent: 100}
}

func lose(percent float64) path.Impairment {
	return path.Impairment{Kinds: []string{"media"}, LossPercent: percent}
}

func jitter(ms float64, reorder bool) path.Impairment {
	return path.Impairment{Kinds: []string{"media"}, JitterMs: ms, Reorder: reorder}
}

// stalls holds media up over and over, as a bad radio link does: what queues up
// meanwhile arrives at once.
func stalls() (all list) {
	random := rand.New(rand.NewPCG(3, 0))
	for at := 0.5; at < 60; {
		length := 0.35 + 0.4*random.Float64()
		all = append(all, path.Impairment{Kinds: []string{"media"}, From: at, To: at + 0.03, DelayMs: length*1000 - 20})
		at += length
	}
	return all
}

// way is a path with a delay of ms each way, half of it on each side of the
// monitor, and something more on the way to b and to a, before the monitor.
// Behind it, packets that have overtaken each other stay so.
func way(ms float64, ab, ba []path.Impairment) path.Config {
	half, rest := delay(ms/2), path.Impairment{DelayMs: ms / 2, Reorder: true}
	return path.Config{
		AOut: append([]path.Impairment{half}, ab...), BIn: []path.Impairment{rest},
		BOut: append([]path.Impairment{half}, ba...), AIn: []path.Impairment{rest}, Seed: 7,
	}
}

// behind is the same with the disturbance behind the monitor.
func behind(ms float64, ab, ba []path.Impairment) path.Config {
	half := delay(ms / 2)
	return path.Config{
		AOut: []path.Impairment{half}, BIn: append([]path.Impairment{half}, ab...),
		BOut: []path.Impairment{half}, AIn: append([]path.Impairment{half}, ba...), Seed: 11,
	}
}

type list = []path.Impairment

// Things that people and pages do.
func mute(side string, on, told bool) func(*call, context.Context) error {
	return func(c *call, _ context.Context) error { return c.phones[side].do(nil, "mute", on, told) }
}

func tell(side, what string) func(*call, context.Context) error {
	return func(c *call, _ context.Context) error { return c.phones[side].do(nil, what) }
}

func direct(side, direction string) func(*call, context.Context) error {
	return func(c *call, ctx context.Context) error {
		if err := c.phones[side].do(nil, "direction", direction); err != nil {
			return err
		}
		return c.reoffer(ctx, side, nil)
	}
}

func restartICE(side string) func(*call, context.Context) error {
	return func(c *call, ctx context.Context) error {
		return c.reoffer(ctx, side, map[string]any{"iceRestart": true})
	}
}

// reload lets a page go away and come back into the same call.
func reload(side string) func(*call, context.Context) error {
	return func(c *call, ctx context.Context) error {
		if err := c.collect(side); err != nil {
			return err
		}
		if err := c.phones[side].do(nil, "crash"); err != nil {
			return err
		}
		if err := c.phones[side].do(nil, "open", c.options(side)); err != nil {
			return err
		}
		if err := c.reoffer(ctx, side, nil); err != nil {
			return err
		}
		return c.phones[side].do(nil, "poll", true)
	}
}

// none is the label of a call in which nothing is wrong.
var good = verdicts.Expectations{OneWay: "none", Delay: "good", Jitter: "good", Loss: "good", Overall: "good"}

// oneWay is the label of a direction that dies. The monitor's capture shows on
// whose side of it that is; the ends alone may not tell.
func oneWay(direction string, since float64, side string) verdicts.Expectations {
	return verdicts.Expectations{
		OneWay: "confirmed", OneWayDirection: direction, SinceS: &since, FaultSide: side,
		MayBe: map[string][]string{"fault_side": {side, "network", "unknown"}},
	}
}

const (
	toContact = "target_to_contact"
	toTarget  = "contact_to_target"
)

func clean(name, what string, with func(*scenario)) *scenario {
	s := &scenario{
		name: name, what: what, class: "clean", fault: "none", codecs: []string{"opus"}, sounds: [2]string{"alice", "bob"},
		path: way(20, nil, nil), talk: 34, stats: "ab", wire: true, expect: good,
	}
	if with != nil {
		with(s)
	}
	return s
}

func fault(name, kind, what string, way path.Config, expect verdicts.Expectations, with func(*scenario)) *scenario {
	return clean(name, what, func(s *scenario) {
		s.class, s.fault, s.path, s.expect = "fault", kind, way, expect
		if with != nil {
			with(s)
		}
	})
}

func trap(name, kind, what string, with func(*scenario)) *scenario {
	return clean(name, what, func(s *scenario) {
		s.class, s.trap = "trap", kind
		if with != nil {
			with(s)
		}
	})
}

func pcm(codec string) func(*scenario) { return func(s *scenario) { s.codecs = []string{codec} } }

func scenarios() []*scenario {
	var all []*scenario
	for _, part := range [][]*scenario{cleans(), oneWays(), disturbed(), traps(), gateways()} {
		all = append(all, part...)
	}
	return all
}

func cleans() []*scenario {
	return []*scenario{
		clean("rtc-clean-opus", "nothing is wrong: Opus, 20 ms each way", func(s *scenario) { s.feedback = true }),
		clean("rtc-clean-pcmu", "nothing is wrong: PCMU, 35 ms each way", func(s *scenario) { s.codecs = []string{"PCMU"}; s.path = way(35, nil, nil) }),
		clean("rtc-clean-pcma-one-witness", "nothing is wrong: PCMA, 10 ms each way; only a's getStats are known", func(s *scenario) {
			s.codecs, s.path, s.stats, s.wire = []string{"PCMA"}, way(10, nil, nil), "a", false
		}),
		clean("rtc-clean-g722", "nothing is wrong: G.722, 30 ms each way", func(s *scenario) { s.codecs, s.path = []string{"G722"}, way(30, nil, nil) }),
		clean("rtc-clean-jitter20", "the delay from a to b varies by ±20 ms, which a jitter buffer takes in its stride", func(s *scenario) {
			s.path = way(35, list{jitter(20, false)}, nil)
			s.expect.Overall = ""
		}),
		clean("rtc-clean-icerestart", "a restarts ICE after 15 s (re-INVITE): new candidates, the same streams", func(s *scenario) {
			s.steps = []step{{15, restartICE("a")}}
		}),
	}
}

func oneWays() []*scenario {
	return []*scenario{
		fault("rtc-oneway-ab-start", "one_way", "RTP from a to b is blocked from the start, before the monitor; RTCP and ICE go on",
			way(25, list{block("rtp", 0, 0)}, nil), oneWay(toContact, 0, "target"), nil),
		fault("rtc-oneway-ba-start-pcmu", "one_way", "RTP from b to a is blocked from the start, before the monitor; RTCP and ICE go on",
			way(25, nil, list{block("rtp", 0, 0)}), oneWay(toTarget, 0, "contact"), pcm("PCMU")),
		fault("rtc-oneway-ab-middle", "one_way", "RTP from a to b is blocked from 14 s on, behind the monitor",
			behind(25, list{block("rtp", 14, 0)}, nil), oneWay(toContact, 14, "contact"), nil),
		fault("rtc-oneway-ba-middle", "one_way", "RTP from b to a is blocked from 16 s on, behind the monitor",
			behind(40, nil, list{block("rtp", 16, 0)}), oneWay(toTarget, 16, "target"), nil),
		fault("rtc-oneway-ab-heals", "one_way", "RTP from a to b is blocked from 10 s to 22 s, before the monitor, and then flows again",
			way(25, list{block("rtp", 10, 22)}, nil), oneWay(toContact, 10, "target"), nil),
		fault("rtc-oneway-ba-10s-pcma", "one_way", "RTP from b to a is blocked from 12 s to 22.5 s, before the monitor",
			way(30, nil, list{block("rtp", 12, 22.5)}), oneWay(toTarget, 12, "contact"), pcm("PCMA")),
		fault("rtc-oneway-ab-media", "one_way", "RTP and RTCP from a to b are blocked from 8 s on, before the monitor; ICE goes on",
			way(25, list{block("media", 8, 0)}, nil), oneWay(toContact, 8, "target"), func(s *scenario) {
				s.may("one_way", "confirmed", "suspected")
			}),
		fault("rtc-oneway-ab-everything", "one_way", "all packets from a to b are blocked from 14 s on, before the monitor, those of ICE too",
			way(25, list{{From: 14, LossPercent: 100}}, nil), oneWay(toContact, 14, "target"), func(s *scenario) {
				s.talk = 30
				// Some seconds later the connection is lost, and with it the other direction.
				s.may("one_way", "confirmed", "suspected")
				s.may("one_way_direction", toContact, "both")
				s.expect.SinceS = nil // of which direction?
			}),
		fault("rtc-oneway-ab-one-witness", "one_way", "RTP from a to b is blocked from the start; only a's getStats are known",
			way(25, list{block("rtp", 0, 0)}, nil), oneWay(toContact, 0, "target"), func(s *scenario) {
				s.stats, s.wire = "a", false
				s.may("one_way", "confirmed", "suspected")
			}),
		fault("rtc-oneway-ba-one-witness", "one_way", "RTP from b to a is blocked from 10 s on; only a's getStats are known",
			way(25, nil, list{block("rtp", 10, 0)}), oneWay(toTarget, 10, "contact"), func(s *scenario) { s.stats, s.wire = "a", false }),
		fault("rtc-oneway-ab-callee-witness", "one_way", "RTP from a to b is blocked from 10 s to 25 s; only b's getStats are known, and the wire behind the block",
			way(25, list{block("rtp", 10, 25)}, nil), oneWay(toContact, 10, "target"), func(s *scenario) { s.stats = "b" }),
		fault("rtc-noaudio-start", "no_audio", "RTP is blocked in both directions from the start; RTCP and ICE go on",
			way(25, list{block("rtp", 0, 0)}, list{block("rtp", 0, 0)}), oneWay("both", 0, "network"), nil),
		fault("rtc-noaudio-connection-lost", "no_audio", "nothing gets through in either direction from 14 s on: the connection is lost",
			way(25, list{{From: 14, LossPercent: 100}}, list{{From: 14, LossPercent: 100}}), oneWay("both", 14, "network"), func(s *scenario) {
				s.talk = 32
				// The monitor's capture ends at 14 s: what it shows is a call without an end.
				s.may("one_way", "confirmed", "suspected", "unknown")
				s.may("one_way_direction", "both", "")
			}),
	}
}

func disturbed() []*scenario {
	rtt := func(band string) verdicts.Expectations {
		return verdicts.Expectations{OneWay: "none", Delay: band, Jitter: "good", Loss: "good", Overall: band, FaultSide: "network"}
	}
	choppy := verdicts.Expectations{
		OneWay: "none", Jitter: "unacceptable", MayBe: map[string][]string{"jitter": {"bad", "unacceptable"}, "overall": {"bad", "unacceptable"}},
	}
	loss := func(band string) verdicts.Expectations {
		return verdicts.Expectations{OneWay: "none", Delay: "good", Loss: band}
	}
	return []*scenario{
		fault("rtc-delay-120-g722", "delay", "60 ms each way", way(60, nil, nil), rtt("acceptable"), func(s *scenario) { s.expect.FaultSide = ""; s.codecs = []string{"G722"} }),
		fault("rtc-delay-250-pcmu", "delay", "125 ms each way", way(125, nil, nil), rtt("bad"), pcm("PCMU")),
		fault("rtc-delay-350", "delay", "175 ms each way", way(175, nil, nil), rtt("unacceptable"), nil),
		// The estimator of RFC 3550 stays below 30 ms, however long packets of 20 ms that do not overtake each other are held up.
		fault("rtc-jitter-stalls", "jitter", "packets arrive only every 0.35 to 0.75 s, in both directions",
			way(20, stalls(), stalls()), verdicts.Expectations{OneWay: "none", Loss: "good", MayBe: map[string][]string{"overall": {"bad", "unacceptable"}}}, nil),
		fault("rtc-jitter-160", "jitter", "the delay from b to a varies by ±160 ms, packets overtake each other; libwebrtc leaves those out of its jitter, and a round trip depends on which packet measures it: the truth has neither",
			way(60, nil, list{delay(130), jitter(160, true)}), choppy, func(s *scenario) { s.reordered = true }),
		fault("rtc-jitter-160-one-witness-g722", "jitter", "the same with G.722; only a's getStats are known",
			way(60, nil, list{delay(130), jitter(160, true)}), choppy, func(s *scenario) {
				s.codecs, s.stats, s.wire, s.reordered = []string{"G722"}, "a", false, true
			}),
		fault("rtc-loss-2", "loss", "2 % of the media are lost in both directions, before the monitor", way(25, list{lose(2)}, list{lose(2)}), loss("acceptable"), func(s *scenario) { s.feedback = true }),
		fault("rtc-loss-4-ab-pcma", "loss", "4.4 % of the media from a to b are lost, behind the monitor", behind(25, list{lose(4.4)}, nil), loss("bad"), pcm("PCMA")),
		fault("rtc-loss-8-ba", "loss", "8 % of the media from b to a are lost, before the monitor", way(25, nil, list{lose(8)}), loss("unacceptable"), func(s *scenario) { s.expect.Overall = "unacceptable" }),
		fault("rtc-loss-8-one-witness", "loss", "8 % of the media from a to b are lost; only a's getStats are known", way(25, list{lose(8)}, nil), loss("unacceptable"), func(s *scenario) {
			s.expect.Overall, s.stats, s.wire = "unacceptable", "a", false
		}),
		fault("rtc-loss-burst", "burst_loss", "bursts of five packets in the mean are lost from a to b, behind the monitor",
			behind(25, list{{Kinds: []string{"rtp"}, Burst: &path.Burst{ToBad: 1.3, ToGood: 20}}}, nil), loss("unacceptable"), func(s *scenario) { s.expect.Overall = "unacceptable" }),
		fault("rtc-mixed", "mixed", "130 ms of round trip, ±12 ms of variation and 6.5 % of loss in both directions",
			way(65, list{jitter(12, false), lose(6.5)}, list{jitter(12, false), lose(6.5)}),
			verdicts.Expectations{OneWay: "none", Delay: "acceptable", Loss: "unacceptable", Overall: "unacceptable"}, nil),
	}
}

func traps() []*scenario {
	return []*scenario{
		trap("rtc-dtx-opus", "dtx", "both use DTX of Opus: a few packets a second while one listens", func(s *scenario) { s.dtx = true }),
		trap("rtc-encrypted", "encrypted", "as browsers do it, all media are encrypted: DTLS-SRTP, SRTCP", func(s *scenario) {
			s.encrypted, s.feedback = true, true
			s.mayNotKnow()
		}),
		trap("rtc-encrypted-wire", "encrypted", "all media are encrypted and nobody has the browsers' getStats: only the monitor's view", func(s *scenario) {
			s.encrypted, s.stats = true, ""
			s.mayNotKnow()
		}),
		trap("rtc-mute-known", "mute", "a is muted from 8 s to 26 s (track.enabled = false), and the page says so", func(s *scenario) {
			s.steps = []step{{1.5, mute("a", false, true)}, {8, mute("a", true, true)}, {26, mute("a", false, true)}}
		}),
		trap("rtc-mute-unknown", "mute", "b is muted from 8 s to 28 s (track.enabled = false), and nobody is told", func(s *scenario) {
			s.steps = []step{{8, mute("b", true, false)}, {28, mute("b", false, false)}}
		}),
		trap("rtc-mute-no-track", "mute", "a's page takes the microphone away from 10 s to 26 s (replaceTrack(null)): it sends nothing", func(s *scenario) {
			s.steps = []step{{10, tell("a", "unplug")}, {26, tell("a", "plug")}}
			s.may("one_way", "none", "unknown")
			s.expect.Overall, s.expect.Jitter = "", ""
		}),
		trap("rtc-dead-microphone", "dead_microphone", "a's microphone gives digital silence: packets flow and carry nothing", func(s *scenario) { s.sounds[0] = "silent" }),
		trap("rtc-faint-microphone-pcmu", "dead_microphone", "b's microphone gives next to nothing", func(s *scenario) {
			s.sounds[1], s.codecs = "faint", []string{"PCMU"}
		}),
		trap("rtc-receive-only", "receive_only", "a only listens by design: its transceiver is recvonly", func(s *scenario) { s.receiveOnly = "a" }),
		trap("rtc-receive-only-callee", "receive_only", "b only listens by design: its transceiver is recvonly", func(s *scenario) { s.receiveOnly = "b" }),
		trap("rtc-hold-sendonly", "hold", "a puts b on hold from 10 s to 24 s: its transceiver is sendonly", func(s *scenario) {
			s.steps = []step{{10, direct("a", "sendonly")}, {24, direct("a", "sendrecv")}}
			s.expect.Jitter, s.expect.Overall = "", ""
		}),
		trap("rtc-hold-inactive", "hold", "b puts the call on hold from 10 s to 25 s: its transceiver is inactive", func(s *scenario) {
			s.steps = []step{{10, direct("b", "inactive")}, {25, direct("b", "sendrecv")}}
			s.expect.Jitter, s.expect.Overall = "", ""
		}),
		trap("rtc-short", "short", "a call of 4 s in which RTP from a to b is blocked: too short for a verdict", func(s *scenario) {
			s.talk, s.path = 4, way(25, list{block("rtp", 0, 0)}, nil)
			s.expect = verdicts.Expectations{OneWay: "unknown", MayBe: map[string][]string{"one_way": {"unknown", "none"}}}
		}),
		trap("rtc-reports-stop", "late_reports", "both pages stop asking for statistics after 16 s, the call goes on; only they are witnesses", func(s *scenario) { s.pollTo, s.wire = 16, false }),
		trap("rtc-late-reports", "late_reports", "both pages begin to ask for statistics 15 s after the answer; only they are witnesses", func(s *scenario) { s.pollFrom, s.wire = 15, false }),
		trap("rtc-page-reload", "transfer", "a's page goes away after 14 s and comes back into the call with streams of its own", func(s *scenario) {
			s.steps = []step{{14, reload("a")}}
			s.expect.Jitter, s.expect.Loss, s.expect.Overall = "", "", ""
		}),
	}
}

// Of calls through a gateway the media towards the page are encrypted, those
// towards the phone are plain; the monitor sees both as they enter and leave the
// middle, and the page gives its statistics.
func gateways() []*scenario {
	call := func(name, kind, what string, way path.Config, expect verdicts.Expectations, with func(*scenario)) *scenario {
		return clean(name, what, func(s *scenario) {
			way.Server, way.Seed = true, 13
			s.gateway, s.encrypted, s.codecs, s.stats, s.path, s.expect = true, true, []string{"PCMU"}, "a", way, expect
			if kind != "none" {
				s.class, s.fault = "fault", kind
			}
			if with != nil {
				with(s)
			}
		})
	}
	// legs delays each leg by ms each way; more is added to one of the four ways.
	legs := func(ms float64, add func(*path.Config)) path.Config {
		c := path.Config{AOut: list{delay(ms)}, AIn: list{delay(ms)}, BOut: list{delay(ms)}, BIn: list{delay(ms)}}
		if add != nil {
			add(&c)
		}
		return c
	}
	at := func(e verdicts.Expectations, side string) verdicts.Expectations {
		e.FaultSide = side
		// The page alone may not tell; the monitor names the leg.
		e.MayBe = map[string][]string{"fault_side": {side, "network", "unknown"}}
		return e
	}
	// One end alone cannot be sure that its packets do not arrive, or that some were sent to it.
	alone := func(s *scenario) { s.may("one_way", "confirmed", "suspected") }
	return []*scenario{
		call("gw-clean-pcmu", "none", "a page calls a phone through rtpengine, nothing is wrong: PCMU", legs(15, nil), good, nil),
		call("gw-clean-opus", "none", "a page calls a phone through rtpengine, nothing is wrong: Opus", legs(10, nil), good, func(s *scenario) { s.codecs = []string{"opus"} }),
		call("gw-oneway-page-leg", "one_way", "RTP from rtpengine to the page is blocked from 10 s on", legs(15, func(c *path.Config) { c.AIn = append(c.AIn, block("rtp", 10, 0)) }),
			at(oneWay(toTarget, 10, "network"), "target"), nil),
		call("gw-oneway-page-uplink", "one_way", "RTP from the page to rtpengine is blocked from the start", legs(15, func(c *path.Config) { c.AOut = append(c.AOut, block("rtp", 0, 0)) }),
			at(oneWay(toContact, 0, "network"), "target"), alone),
		call("gw-oneway-phone-leg", "one_way", "RTP from rtpengine to the phone is blocked from 10 s on; the page cannot know and is no witness", legs(15, func(c *path.Config) { c.BIn = append(c.BIn, block("rtp", 10, 0)) }),
			at(oneWay(toContact, 10, "network"), "contact"), func(s *scenario) { s.stats = "" }),
		call("gw-oneway-phone-uplink", "one_way", "RTP from the phone to rtpengine is blocked from the start", legs(15, func(c *path.Config) { c.BOut = append(c.BOut, block("rtp", 0, 0)) }),
			at(oneWay(toTarget, 0, "network"), "contact"), alone),
		call("gw-delay-page-leg", "delay", "the page is 120 ms each way away from rtpengine, the phone 10 ms", legs(10, func(c *path.Config) { c.AOut, c.AIn = list{delay(120)}, list{delay(120)} }),
			at(verdicts.Expectations{OneWay: "none", Delay: "bad", Jitter: "good", Loss: "good", Overall: "bad"}, "target"), nil),
		call("gw-loss-phone-leg", "mixed", "6 % of the media between rtpengine and the phone are lost in both directions, and it is 60 ms each way away",
			legs(10, func(c *path.Config) {
				c.BOut, c.BIn = list{delay(60), lose(6)}, list{delay(60), lose(6)}
			}), at(verdicts.Expectations{OneWay: "none", Delay: "acceptable", Loss: "unacceptable", Overall: "unacceptable"}, "contact"), nil),
		call("gw-loss-page-leg", "loss", "7 % of the media from rtpengine to the page are lost", legs(15, func(c *path.Config) { c.AIn = append(c.AIn, lose(7)) }),
			at(verdicts.Expectations{OneWay: "none", Delay: "good", Loss: "unacceptable", Overall: "unacceptable"}, "target"), nil),
	}
}
