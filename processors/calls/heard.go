package calls

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/earshot/earshot/telemetry"
)

// --- one-way audio ---

func (v *verdictOf) oneWay(out *telemetry.OneWayAudio) {
	c := v.c
	suspected, confirmed := v.rules.OneWay.Suspected, v.rules.OneWay.Confirmed
	var dead []int
	find := v.whole()
	for d := range c.dir {
		if f := find[d]; f.dead {
			f.at.explainDeath(d, f)
			if f.confidence >= suspected {
				dead = append(dead, d)
			}
		}
	}
	v.spans(out, find)
	state := func(confidence float64) string {
		if confidence >= confirmed {
			return "confirmed"
		}
		return "suspected"
	}
	if len(dead) == 2 {
		// Both, if it was at the same time; else the longer one is told first.
		a, b := find[0].death, find[1].death
		since, until := max(a.sinceUs, b.sinceUs), min(a.untilUs, b.untilUs)
		if until-since >= v.rules.OneWay.Dead.Microseconds() {
			out.Direction = "both"
			out.Confidence = round(min(find[0].confidence, find[1].confidence), 3)
			out.State = state(out.Confidence)
			out.SinceUs, out.UntilUs = min(a.sinceUs, b.sinceUs), max(a.untilUs, b.untilUs)
			out.From, out.To = c.number(int(c.target)), c.number(1-int(c.target))
			return
		}
		if b.untilUs-b.sinceUs > a.untilUs-a.sinceUs {
			dead = dead[1:]
		} else {
			dead = dead[:1]
		}
	}
	if len(dead) == 1 {
		d := dead[0]
		f := find[d]
		out.Direction = c.directionName(d)
		out.Confidence = round(f.confidence, 3)
		out.State = state(out.Confidence)
		out.SinceUs, out.UntilUs = f.death.sinceUs, f.death.untilUs
		out.From, out.To = c.number(d), c.number(1-d)
		v.unknown(find)
		return
	}
	if o, d := onlyListens(find); o {
		out.State, out.Confidence = "none", telemetry.ConfidenceAlive
		v.say("receive_only", d, c.side(d), c.connectedUs, nil,
			"%s only listened, by agreement: no audio was to come from it. Audio from %s was seen to arrive.", v.end(d), v.end(1-d)).until(v.endUs)
		return
	}
	if find[0].alive && find[1].alive && !find[0].dead && !find[1].dead {
		out.State, out.Confidence = "none", telemetry.ConfidenceAlive
		v.say("audio_both_ways", -1, "", c.connectedUs, nil, "Audio was seen to arrive in both directions.").until(v.endUs)
		return
	}
	out.State = "unknown"
	v.unknown(find)
}

// onlyListens says whether one direction is alive and the other none by agreement,
// and which.
func onlyListens(find [2]finding) (bool, int) {
	for d := range find {
		if find[d].none && !find[d].dead && find[1-d].alive && !find[1-d].dead {
			return true, d
		}
	}
	return false, 0
}

// unknown says why nothing is known of a direction, where that is so.
func (v *verdictOf) unknown(find [2]finding) {
	for d := range v.c.dir {
		if find[d].alive || find[d].dead {
			continue
		}
		for _, s := range v.all() {
			if f := s.find[d]; !f.alive && !f.dead {
				s.explainUnknown(d)
			}
		}
	}
}

// spans lists every time that a direction was dead. Of witnesses who saw the same
// time the surest tells when it began and ended.
func (v *verdictOf) spans(out *telemetry.OneWayAudio, find [2]finding) {
	for d := range v.c.dir {
		var merged []death
		for _, part := range v.all() {
			for _, e := range part.c.dir[d].deaths {
				if e.contra {
					e.confidence *= telemetry.Contradicted
				}
				merged = addSpan(merged, e)
			}
		}
		for _, e := range merged {
			if e.confidence < v.rules.OneWay.Suspected {
				continue
			}
			out.Spans = append(out.Spans, &telemetry.DeadSpan{
				Direction: v.c.directionName(d), SinceUs: e.sinceUs, UntilUs: e.untilUs, Confidence: round(e.confidence, 3), Healed: v.healed(d, e),
			})
			if f := find[d]; f.dead && (e.untilUs < f.death.sinceUs || e.sinceUs > f.death.untilUs) {
				v.say("stopped", d, v.side(1-d), e.sinceUs, map[string]float64{"confidence": e.confidence, "dead_s": float64(e.untilUs-e.sinceUs) / float64(second)},
					"Audio from %s to %s was also dead from %s to %s (%s).", v.end(d), v.end(1-d), clock(e.sinceUs), clock(e.untilUs), seconds(e.untilUs-e.sinceUs)).until(e.untilUs)
			} else if v.healed(d, e) {
				v.say("healed", d, v.side(1-d), e.untilUs, nil, "Audio from %s was seen to arrive again after %s.", v.end(d), clock(e.untilUs))
			}
		}
	}
	slices.SortStableFunc(out.Spans, func(a, b *telemetry.DeadSpan) int { return cmp.Compare(a.SinceUs, b.SinceUs) })
}

func addSpan(spans []death, e death) []death {
	for i := range spans {
		o := &spans[i]
		if e.sinceUs > o.untilUs || o.sinceUs > e.untilUs {
			continue
		}
		if e.confidence > o.confidence {
			*o = e
		}
		return spans
	}
	return append(spans, e)
}

// healed says whether audio was seen to arrive after a time in which none did.
func (v *verdictOf) healed(d int, e death) bool {
	for _, part := range v.all() {
		for w, l := range part.c.dir[d].life {
			if witness(w) != byHeader && l.count > 0 && l.lastUs > e.untilUs+second && l.lastFromUs >= e.sinceUs+second {
				return true
			}
		}
	}
	return false
}

func (v *verdictOf) explainDeath(d int, f finding) {
	c := v.c
	e := f.death
	speaker, listener, listens, speaks := v.who(d), v.who(1-d), v.side(1-d), v.side(d)
	if f.w == byReceiver || f.w == byRemote {
		speaker, listener, listens, speaks = v.end(d), v.end(1-d), c.side(1-d), c.side(d)
	}
	span := fmt.Sprintf("from %s to %s (%s)", clock(e.sinceUs), clock(e.untilUs), seconds(e.untilUs-e.sinceUs))
	values := map[string]float64{
		"confidence": f.confidence,
		"dead_s":     float64(e.untilUs-e.sinceUs) / float64(second),
	}
	if e.packets > 0 {
		values["packets_sent"] = float64(e.packets)
	}
	atMonitor := ""
	switch v.passed(d, e) {
	case passedBy:
		values["packets_at_monitor"] = float64(c.dir[d].rtpSent)
		atMonitor = fmt.Sprintf(" RTP from %s did pass the capture point: it was lost after it.", speaker)
	case passedNot:
		atMonitor = fmt.Sprintf(" No RTP from %s passed the capture point meanwhile: it was lost before it.", speaker)
	}
	kind, side, text := "not_received", listens, ""
	switch {
	case f.w == byRTCP && e.kind == deadNeverReceived && e.reports == 1:
		kind = "never_received"
		text = fmt.Sprintf("%s heard nothing of %s %s: its RTCP report at the end of that time has no block about %s, who had sent %d packets before it.%s",
			listener, speaker, span, speaker, e.packets, atMonitor)
	case f.w == byRTCP && e.kind == deadNeverReceived:
		kind = "never_received"
		text = fmt.Sprintf("%s heard nothing of %s %s: %d of its RTCP reports in a row have no block about %s, who sent %d packets meanwhile.%s",
			listener, speaker, span, e.reports, speaker, e.packets, atMonitor)
	case f.w == byRTCP:
		kind = "stopped"
		text = fmt.Sprintf("%s heard nothing of %s %s: in %d of its RTCP reports in a row the highest sequence number did not move, while %d packets were sent.%s",
			listener, speaker, span, e.reports, e.packets, atMonitor)
	case f.w == byMonitor:
		kind, side = "lost_before", speaks
		text = fmt.Sprintf("nothing of %s arrived %s: its RTCP counts %d packets sent, and none of them passed the capture point.",
			speaker, span, e.packets)
	case f.w == byHeader:
		kind = "never_received"
		text = fmt.Sprintf("at the end of the call %s told that it had received no packet, and %s that it had sent %d: nothing of it arrived %s.%s",
			listener, speaker, e.packets, span, atMonitor)
	case f.w == bySilence && e.kind == deadStopped:
		kind, side = "nothing_sent", speaks
		text = fmt.Sprintf("no RTCP came from %s %s, and by the newest report of %s, which went on sending, audio had stopped before: %s is silent or its way out is dead.",
			speaker, span, listener, speaker)
	case f.w == bySilence:
		kind, side = "nothing_sent", speaks
		text = fmt.Sprintf("neither RTP nor RTCP came from %s %s while %s went on sending: %s is silent or its way out is dead.",
			speaker, span, listener, speaker)
	case f.w == byRemote:
		kind, side = "not_acknowledged", speaks
		text = fmt.Sprintf("%s sent %d packets %s and got no receiver report about them, while audio from %s arrived.",
			speaker, e.packets, span, listener)
	case e.senderHeard:
		text = fmt.Sprintf("%s received no packet of %s %s, while %s was sending and its microphone picked up speech.%s",
			listener, speaker, span, speaker, atMonitor)
	case e.senderCounts:
		text = fmt.Sprintf("%s received no packet of %s %s, while the RTCP reports of %s counted packets sent.%s", listener, speaker, span, speaker, atMonitor)
	case e.noConnection:
		text = fmt.Sprintf("%s received nothing %s, neither audio nor answers to its connectivity checks, while it went on sending: the connection was dead.", listener, span)
	case e.noInbound:
		text = fmt.Sprintf("%s had no inbound audio stream %s, while it was sending itself and its connection was alive.%s", listener, span, atMonitor)
	default:
		text = fmt.Sprintf("%s received no packet of %s %s, while it was sending itself and its connection was alive.%s", listener, speaker, span, atMonitor)
	}
	v.say(kind, d, side, e.sinceUs, values, "%s", text).until(e.untilUs)
	if e.contra {
		l := c.dir[d].life[e.contraBy]
		values := map[string]float64{"observations": float64(l.count), "confidence": f.confidence, "confidence_alone": e.confidence}
		v.say("contradiction", d, "", l.lastFromUs, values,
			"Against it, %s saw audio from %s arrive until %s; both stand, and the confidence is %.0f %% instead of %.0f %%.",
			witnessName(e.contraBy), speaker, clock(l.lastUs), f.confidence*100, e.confidence*100).until(l.lastUs).on(kinds[kind].graph)
	}
}

// passing says what a capture point saw of the RTP of a direction in a time.
type passing uint8

const (
	passedUnknown passing = iota // no RTP is captured there, or of part of the time
	passedBy
	passedNot
)

// passed says whether RTP of direction d passed the capture point while nothing
// of it arrived.
func (v *verdictOf) passed(d int, e death) passing {
	x := &v.c.dir[d]
	gap := min(x.gapEndUs, e.untilUs) - max(x.gapUs, e.sinceUs)
	switch {
	case e.w == byMonitor, x.rtpSent > 0 && (gap >= (e.untilUs-e.sinceUs)/2 || x.rtpLast <= e.sinceUs+2*second):
		return passedNot
	case x.rtpSent > 0 && x.rtpFirst <= e.sinceUs+2*second && x.rtpLast >= e.untilUs-2*second:
		return passedBy
	}
	for i := range x.deaths {
		if o := &x.deaths[i]; o.w == byMonitor && o.sinceUs <= e.untilUs && e.sinceUs <= o.untilUs {
			return passedNot
		}
	}
	return passedUnknown
}

func witnessName(w witness) string {
	switch w {
	case byReceiver:
		return "the receiver's getStats"
	case byRemote:
		return "the sender's remote statistics"
	case byHeader:
		return "what the phones told at the end of the call"
	}
	return "RTCP"
}

func (v *verdictOf) explainUnknown(d int) {
	c := v.c
	x := &c.dir[d]
	talked := c.endedUs
	if talked == 0 {
		talked = v.endUs
	}
	switch {
	case x.clearUs == 0 || (x.blocked && x.blockedUs <= c.connectedUs+v.rules.OneWay.Grace.Microseconds()):
		v.say("not_expected", d, "", c.connectedUs, nil, "Audio from %s was not expected: on hold, muted or one-way by agreement.", v.who(d)).until(v.endUs)
	case talked-c.connectedUs < (v.rules.OneWay.Grace + v.rules.OneWay.Dead).Microseconds():
		v.say("too_short", d, "", c.connectedUs, map[string]float64{"talked_s": float64(talked-c.connectedUs) / float64(second)},
			"The call was too short (%s) to tell whether %s heard %s.", seconds(talked-c.connectedUs), v.who(1-d), v.who(d)).until(talked)
	case c.party[1-d].secure && c.party[1-d].rtcpSeen > 0 && x.life[byRTCP].count == 0:
		v.say("encrypted", d, v.side(1-d), c.connectedUs, nil, "The reports of %s are encrypted: whether it heard %s is not known.", v.who(1-d), v.who(d)).until(v.endUs)
	case x.reportsOnly >= v.rules.OneWay.MinReports && x.rtpSent == 0 && x.srSent == 0:
		v.say("receive_only", d, v.side(d), c.connectedUs, map[string]float64{"reports": float64(x.reportsOnly)},
			"%s reported on what it heard and, by its own reports, sent no audio: it only listened, or was muted without a word. That is no one-way audio.", v.who(d)).until(v.endUs)
	case x.rtpSent > 0:
		v.say("not_observed", d, v.side(1-d), x.rtpFirst, map[string]float64{"packets_at_monitor": float64(x.rtpSent)},
			"RTP from %s passed the capture point, but %s did not report enough to tell whether it arrived.", v.who(d), v.who(1-d)).until(x.rtpLast)
	default:
		v.say("not_observed", d, v.side(1-d), c.connectedUs, nil, "Nobody reported enough to tell whether %s heard %s.", v.who(1-d), v.who(d)).until(v.endUs)
	}
}
