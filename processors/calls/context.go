package calls

import (
	"math"

	"github.com/earshot/earshot/processors/quality"
)

// --- what else a reader wants to know ---

// unanswered is all there is to say of a call without an answer.
func (v *verdictOf) unanswered() {
	c := v.c
	v.say("not_answered", -1, "", c.startedUs, nil, "The call was not answered: there is no audio to judge.")
	if c.earlyUs != 0 {
		v.say("early_media", -1, "", c.earlyUs, nil, "Media flowed before an answer (ringing tones, announcements): nothing is concluded from it.")
	}
}

// late says that the verdict was made again, and why.
func (v *verdictOf) late(nowUs int64) {
	c := v.c
	v.say("late_reports", -1, "", c.lateUs, map[string]float64{"late_s": float64(nowUs-c.phaseUs) / float64(second)},
		"This verdict was made anew at %s, because reports arrived up to %s after the final one.", clock(nowUs), seconds(nowUs-c.phaseUs))
}

// contextOfCall says what is so of the whole call.
func (v *verdictOf) contextOfCall() {
	c := v.c
	if c.transferUs != 0 {
		v.say("transfer", -1, "", c.transferUs, nil, "The call was transferred at %s: the %s after it are left out.", clock(c.transferUs), seconds(transferUs)).until(c.transferUs + transferUs)
	}
	for part := range c.parts() {
		for p := range part.party {
			if us := part.party[p].faxUs; us != 0 {
				v.say("fax", -1, c.sideOf(part, p), us, nil, "It became a fax (T.38) at %s: from there on no audio is expected.", clock(us))
				return
			}
		}
	}
}

// context says what happened on this part of the way that is no fault, and that
// could be taken for one.
func (v *verdictOf) context() {
	c := v.c
	for d := range c.dir {
		p := &c.party[d]
		x := &c.dir[d]
		if p.everHeld {
			v.say("hold", -1, v.side(d), p.heldUs, nil, "%s put the call on hold at %s: the time on hold is left out.", v.who(d), clock(p.heldUs))
		}
		if p.everMuted {
			v.say("muted", d, c.side(d), p.mutedUs, nil, "%s was muted for a time from %s, as its app reports: that time is left out.", v.end(d), clock(p.mutedUs))
		}
		if x.sparse > 0 && float64(x.sparse) >= 0.2*float64(x.rated) && x.sparse >= 3 {
			share := float64(x.sparse) / float64(x.rated)
			v.say("silence_suppression", d, v.side(d), 0, map[string]float64{"share": share},
				"%s suppressed silence in %.0f %% of the time: few packets, comfort noise, no fault.", v.who(d), share*100)
		}
		if span := x.quietUntilUs - x.quietSinceUs; span >= v.rules.OneWay.Dead.Microseconds() {
			v.say("not_sent", d, c.side(d), x.quietSinceUs, map[string]float64{"quiet_s": float64(span) / float64(second)},
				"%s received no packet of %s from %s for %s, and %s itself counts none sent: on hold or muted without a word. This is no one-way audio of the network.",
				v.end(1-d), v.end(d), clock(x.quietSinceUs), seconds(span), v.end(d)).until(x.quietUntilUs)
		}
		if span := v.endUs - x.sentUs; !x.blocked && x.srSent > 0 && x.reportsOnly >= v.rules.OneWay.MinReports && span >= blocksMissingUs && !v.find[d].dead {
			v.say("not_sent", d, v.side(d), x.sentUs, map[string]float64{"reports": float64(x.reportsOnly)},
				"%s sent no audio any more from %s on, by %d of its own reports: muted without a word, or it stopped. This is no one-way audio of the network.",
				v.who(d), clock(x.sentUs), x.reportsOnly).until(v.endUs)
		}
		v.silence(d)
	}
}

// silence speaks of packets that arrive and carry no sound.
func (v *verdictOf) silence(d int) {
	c := v.c
	p, x := &c.party[d], &c.dir[d]
	for i := range c.legs {
		l := &c.legs[i]
		if int(l.party) == d && l.micPolls >= 15 && float64(l.micQuiet) >= 0.98*float64(l.micPolls) {
			v.say("dead_microphone", d, c.side(d), l.firstUs, map[string]float64{"polls": float64(l.micPolls), "polls_silent": float64(l.micQuiet)},
				"The microphone of %s picked up nothing in the whole call, and it was not muted: it is dead, or the wrong one was chosen. This is no one-way audio of the network.", v.end(d)).until(l.atUs)
			return
		}
	}
	if x.silentUntilUs == 0 || p.everMuted {
		return
	}
	span := x.silentUntilUs - x.silentSinceUs
	if x.silentSenderSpeaks {
		v.say("muted_or_bridge", d, c.side(d), x.silentSinceUs, map[string]float64{"silent_s": float64(span) / float64(second), "confidence": 0.8},
			"Packets from %s arrived and carried silence from %s for %s, while its microphone picked up sound: it was muted, or a media bridge sent silence. This is no one-way audio.",
			v.end(d), clock(x.silentSinceUs), seconds(span)).until(x.silentUntilUs)
		return
	}
	v.say("silent_payload", d, c.side(d), x.silentSinceUs, map[string]float64{"silent_s": float64(span) / float64(second), "confidence": 0.5},
		"Packets from %s arrived and carried silence from %s for %s: nobody spoke, the microphone was dead, or it was muted. This is no one-way audio.",
		v.end(d), clock(x.silentSinceUs), seconds(span)).until(x.silentUntilUs)
}

// --- witnesses who say different things of the same ---

// contradictions shows where two witnesses measured the same thing and say
// different values. Both stand; the verdict names the one it follows.
func (v *verdictOf) contradictions() {
	for d := range v.c.dir {
		v.lossContradiction(d)
		v.jitterContradiction(d)
	}
	v.rttContradiction()
}

// differ says whether two values are further apart than measuring explains.
func differ(a, b, least, share float64) bool {
	return math.Abs(a-b) > max(least, share*max(a, b))
}

func (v *verdictOf) lossContradiction(d int) {
	f := v.loss[d]
	if !f.known || f.from == lossMonitor || v.find[d].dead {
		return
	}
	for s := f.from + 1; s < lossMonitor; s++ {
		o, ok := v.c.lossFrom(d, s)
		if !ok || !differ(f.percent, o.percent, 1, 0.5) || o.expected > 0 && o.expected < 5*burstPackets {
			continue
		}
		v.say("contradiction", d, v.side(1-d), v.c.connectedUs, map[string]float64{"percent": f.percent, "percent_other": o.percent},
			"Of the loss from %s to %s, %s says %.2f %% and %s %.2f %%: the verdict follows the former.",
			v.end(d), v.end(1-d), lossNames[f.from], f.percent, lossNames[s], o.percent).until(v.endUs).on(graphLoss)
	}
}

func (v *verdictOf) jitterContradiction(d int) {
	a, b := &v.c.dir[d].jitter, &v.c.dir[d].jitterRemote
	if v.find[d].dead || a.Count() < 3 || b.Count() < 3 || !differ(a.Quantile(0.5), b.Quantile(0.5), 10, 0.5) {
		return
	}
	v.say("contradiction", d, v.side(1-d), v.c.connectedUs, map[string]float64{"jitter_p50_ms": a.Quantile(0.5), "jitter_p50_ms_other": b.Quantile(0.5)},
		"Of the jitter from %s to %s, the receiver says %.1f ms in the median and the sender's remote statistics %.1f ms: the verdict follows the former.",
		v.end(d), v.end(1-d), a.Quantile(0.5), b.Quantile(0.5)).until(v.endUs).on(graphJitter)
}

func (v *verdictOf) rttContradiction() {
	c := v.c
	type measure struct {
		who string
		ms  float64
	}
	var all []measure
	for p := range c.party {
		if h := &c.party[p].rtt; h.Count() >= 3 {
			all = append(all, measure{v.who(p), h.Quantile(0.5)})
		}
	}
	if t := c.bestTap(); t != nil && min(t.hist[0].Count(), t.hist[1].Count()) >= 3 {
		all = append(all, measure{"the capture point", t.hist[0].Quantile(0.5) + t.hist[1].Quantile(0.5)})
	}
	for i := 1; i < len(all); i++ {
		if a, b := all[0], all[i]; differ(a.ms, b.ms, 20, 0.25) {
			v.say("contradiction", -1, "", c.connectedUs, map[string]float64{"rtt_p50_ms": a.ms, "rtt_p50_ms_other": b.ms},
				"Of the round trip, %s says %.0f ms in the median and %s %.0f ms: both are in the verdict.", a.who, a.ms, b.who, b.ms).
				until(v.endUs).on(graphRTT).band(quality.Acceptable)
		}
	}
}

// bestTap is the place that measured the way to both parties most often, else to
// one of them; nil where none did.
func (c *call) bestTap() (best *tap) {
	better := func(a, b *tap) bool {
		both, least := min(a.hist[0].Count(), a.hist[1].Count()), min(b.hist[0].Count(), b.hist[1].Count())
		if both != least {
			return both > least
		}
		return a.hist[0].Count()+a.hist[1].Count() > b.hist[0].Count()+b.hist[1].Count()
	}
	for i := range c.taps {
		t := &c.taps[i]
		if t.hist[0].Count()+t.hist[1].Count() > 0 && (best == nil || better(t, best)) {
			best = t
		}
	}
	return best
}
