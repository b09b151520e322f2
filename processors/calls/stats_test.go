package calls_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// polls reads a recording and lets change alter every poll: side is A or B, the
// number is that of the poll of its side. A poll for which it answers false is
// left out.
func polls(t *testing.T, name string, change func(side string, n int, w *telemetry.WebRTCSample, r *telemetry.Record) bool) []*telemetry.Record {
	t.Helper()
	var out []*telemetry.Record
	count := map[string]int{}
	for _, r := range records(t, stats, name+".jsonl.gz") {
		if w := r.GetWebrtc(); w != nil {
			side := w.LegId
			if side == "" {
				side = w.Side
			}
			n := count[side]
			count[side]++
			if !change(side, n, w, r) {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// sides are the ids of the two legs of a recording, in the order in which they came.
func sides(t *testing.T, name string) (a, b string) {
	var ids []string
	polls(t, name, func(side string, _ int, _ *telemetry.WebRTCSample, _ *telemetry.Record) bool {
		if !slices.Contains(ids, side) {
			ids = append(ids, side)
		}
		return true
	})
	if len(ids) != 2 {
		t.Fatalf("legs %v", ids)
	}
	return ids[0], ids[1]
}

// TestStatisticsOfOneSide: what one side alone can tell, and with what confidence.
func TestStatisticsOfOneSide(t *testing.T) {
	tests := map[string]struct {
		recording  string
		keep       int // 0: A, the first; 1: B
		state      string
		direction  string // as the kept leg is the target
		confidence float64
		evidence   string
	}{
		// A sends into the void and hears B.
		"the deaf side is not asked":  {"w3_oneway_AB_start", 0, "suspected", "target_to_contact", 0.75, "not_acknowledged"},
		"the mute side is not asked":  {"w3_oneway_AB_start", 1, "confirmed", "contact_to_target", 0.9, "not_received"},
		"clean, seen by A":            {"w1_clean", 0, "none", "", 0, "audio_both_ways"},
		"clean, seen by B":            {"w1_clean", 1, "none", "", 0, "audio_both_ways"},
		"loss, seen by A":             {"w2_loss_jitter", 0, "none", "", 0, "audio_both_ways"},
		"A is muted, seen by B":       {"w5_mute_A", 1, "none", "", 0, "silent_payload"},
		"A is muted, seen by A":       {"w5_mute_A", 0, "none", "", 0, "audio_both_ways"},
		"A sends comfort noise, by B": {"w8_dtx_silence_A", 1, "none", "", 0, "silent_payload"},
		"A sends comfort noise, by A": {"w8_dtx_silence_A", 0, "none", "", 0, "audio_both_ways"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := sides(t, tt.recording)
			keep := []string{a, b}[tt.keep]
			in := polls(t, tt.recording, func(side string, _ int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
				w.Side = "" // the first leg seen is the target
				return side == keep
			})
			c := last(t, play(t, newMachine(), in))
			o := c.Verdict.OneWayAudio
			if o.State != tt.state || o.Direction != tt.direction || tt.confidence != 0 && o.Confidence != tt.confidence {
				t.Errorf("one-way audio is %v", o)
			}
			found := false
			for _, e := range c.Verdict.Evidence {
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

// TestLossSeenByTheSender: without the receiver, remote-inbound tells.
func TestLossSeenByTheSender(t *testing.T) {
	a, _ := sides(t, "w2_loss_jitter")
	c := last(t, play(t, newMachine(), polls(t, "w2_loss_jitter", func(side string, _ int, _ *telemetry.WebRTCSample, _ *telemetry.Record) bool { return side == a })))
	l := c.Verdict.Loss
	if l.GetTargetToContactPercent() < 6.1 || l.GetTargetToContactPercent() > 6.8 || l.GetContactToTargetPercent() < 0.7 || l.GetContactToTargetPercent() > 1.4 {
		t.Error(explain(c))
	}
}

// TestStatisticsTraps changes a clean recording in the ways of the field.
func TestStatisticsTraps(t *testing.T) {
	a, b := sides(t, "w1_clean")
	tests := map[string]struct {
		change   func(side string, n int, w *telemetry.WebRTCSample, r *telemetry.Record) bool
		state    string
		dir      string
		evidence string
	}{
		"audio stops arriving at B from 12 s": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			freeze(side == b && n >= 12, w, "w1-b")
			return true
		}, "confirmed", "target_to_contact", "not_received"},
		"A reports that it was muted then": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			freeze(side == b && n >= 12, w, "w1-b")
			if side == a {
				w.HasMuted, w.Muted = true, n >= 11
			}
			return true
		}, "none", "", "muted"},
		"the browser of B went away": {func(side string, n int, _ *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			return side == a || n < 12
		}, "none", "", "audio_both_ways"},
		"ICE shows no life at B, but A says that it sends": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			freeze(side == b && n >= 2, w, "w1-b")
			if side == b && n >= 2 {
				w.Pair = nil
			}
			if side == a {
				w.RemoteInbound = nil
			}
			return true
		}, "confirmed", "target_to_contact", "not_received"},
		"the connection of B died, and A does not report": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			freeze(side == b && n >= 2, w, "w1-b")
			if side == b && n >= 2 {
				w.Pair = nil
			}
			return side == b
		}, "suspected", "target_to_contact", "not_received"},
		"A has hung up, and B polls for some seconds more": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			freeze(side == b && n >= 22, w, "w1-b")
			if side == b && n >= 22 {
				w.Pair = nil
			}
			return side == b || n < 22
		}, "none", "", "audio_both_ways"},
		"counters of B begin anew with another SSRC": {func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			if side == b && n >= 12 {
				for _, in := range w.Inbound {
					in.Ssrc++
					*in.PacketsReceived -= 400
				}
			}
			return true
		}, "none", "", "audio_both_ways"},
		"polls out of order and twice": {func(side string, n int, _ *telemetry.WebRTCSample, r *telemetry.Record) bool {
			if n%5 == 4 {
				r.AtUs -= 3_000_000
			}
			return true
		}, "none", "", "audio_both_ways"},
		"five seconds in all": {func(_ string, n int, _ *telemetry.WebRTCSample, _ *telemetry.Record) bool {
			return n < 6
		}, "unknown", "", "too_short"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			frozen = map[string][]uint64{}
			c := last(t, play(t, newMachine(), polls(t, "w1_clean", tt.change)))
			if o := c.Verdict.OneWayAudio; o.State != tt.state || o.Direction != tt.dir {
				t.Errorf("one-way audio is %v", o)
			}
			found := false
			for _, e := range c.Verdict.Evidence {
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

var frozen map[string][]uint64

// freeze lets the counters of what arrives stand still from the first poll on
// which on is true.
func freeze(on bool, w *telemetry.WebRTCSample, key string) {
	if !on {
		return
	}
	if frozen[key] == nil {
		for _, in := range w.Inbound {
			frozen[key] = append(frozen[key], in.GetPacketsReceived(), in.GetTotalSamplesReceived(), in.GetConcealedSamples(), in.GetSilentConcealedSamples(), in.GetJitterBufferEmittedCount())
		}
	}
	for i, in := range w.Inbound {
		f := frozen[key][5*i:]
		in.PacketsReceived, in.TotalSamplesReceived, in.ConcealedSamples, in.SilentConcealedSamples, in.JitterBufferEmittedCount =
			proto.Uint64(f[0]), proto.Uint64(f[1]), proto.Uint64(f[2]), proto.Uint64(f[3]), proto.Uint64(f[4])
	}
}

// TestStatisticsBesideSignalling: the legs of a call that SIP knows too.
func TestStatisticsBesideSignalling(t *testing.T) {
	s := newScript(t)
	s.caller, s.callee = someA, agentB // inbound: the callee is the target
	s.answered()
	s.bye(40, 0)
	at := s.records[2].AtUs
	var first int64
	leg := map[string]string{}
	a, _ := sides(t, "w1_clean")
	for _, r := range records(t, stats, "w1_clean.jsonl.gz") {
		w := r.GetWebrtc()
		if w == nil {
			continue
		}
		if first == 0 {
			first = r.AtUs
		}
		c := proto.Clone(r).(*telemetry.Record)
		c.CallKey, c.Timeline, c.AtUs = s.key, nil, r.AtUs-first+at
		// The first leg is bob's, the other says nothing.
		c.GetWebrtc().Side = ""
		if w.LegId == a || w.Side == a {
			c.GetWebrtc().UserId = "bob"
			leg["bob"] = c.GetWebrtc().LegId
		}
		s.records = append(s.records, c)
	}
	slices.SortStableFunc(s.records, func(x, y *telemetry.Record) int { return int(x.AtUs - y.AtUs) })
	c := last(t, s.run(20))
	if c.Direction != "inbound" || c.Target.Identity.UserId != "bob" || c.Verdict.OneWayAudio.State != "none" || c.Verdict.Overall != "good" {
		t.Error(explain(c))
	}
	for _, l := range c.Legs {
		if l.Kind == "webrtc" && (l.Id == leg["bob"]) != (l.Side == "target") {
			t.Errorf("leg %s is on the side of the %s", l.Id, l.Side)
		}
	}
}
