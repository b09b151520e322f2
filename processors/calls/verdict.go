package calls

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/processors/useragent"
	"github.com/earshot/earshot/telemetry"
)

// version emits the call as it is known now.
func (h *handler) version(nowUs int64, final bool) {
	c := h.c
	c.settle()
	c.version++
	c.versionUs, c.changed = nowUs, false
	endUs := nowUs
	if c.endedUs != 0 {
		endUs = c.endedUs
	}
	v := newVerdict(c, h.rules, endUs)
	out := &telemetry.Call{
		State:       "live",
		Direction:   c.direction,
		Target:      c.partyOut(int(c.target)),
		Contact:     c.partyOut(1 - int(c.target)),
		StartedUs:   c.startedUs,
		ConnectedUs: c.connectedUs,
		EndedUs:     c.endedUs,
		Legs:        c.legsOut(),
		Verdict:     v.verdict(),
		SipCallIds:  append([]string(nil), c.sipCallIDs...),
		LinkedCalls: cloneLinked(c.linked),
	}
	if out.Direction == "" {
		out.Direction = "outbound"
		if c.callerParty != c.target {
			out.Direction = "inbound"
		}
	}
	if c.phase >= phaseEnded {
		out.State = "ended"
		out.End = &telemetry.CallEnd{By: c.endBy, SipStatus: c.endStatus, Reason: c.endReason}
	}
	out.Description = c.describe(out.Direction)
	out.Verdict.Final, out.Verdict.Version, out.Verdict.ComputedUs = final, c.version, nowUs
	out.Verdict.Rules, out.Verdict.Thresholds = h.rules.Version, thresholds(h.rules)
	h.outcome(&telemetry.Outcome{AtUs: nowUs, Body: &telemetry.Outcome_Call{Call: out}})
}

func (c *call) describe(direction string) string {
	if c.description != "" {
		return c.description
	}
	var b strings.Builder
	b.WriteString(strings.ToUpper(direction[:1]) + direction[1:] + " call")
	switch {
	case c.connectedUs == 0 && c.phase >= phaseEnded:
		b.WriteString(", not answered")
	case c.connectedUs == 0:
		b.WriteString(", not answered yet")
	case c.endedUs != 0:
		fmt.Fprintf(&b, ", %s", time.Duration((c.endedUs-c.connectedUs)*1000).Round(time.Second))
	default:
		b.WriteString(", in progress")
	}
	return b.String()
}

func (c *call) partyOut(p int) *telemetry.Party {
	q := &c.party[p]
	out := &telemetry.Party{Endpoint: q.endpoint, AppVersion: q.appVersion, Platform: q.platform}
	if q.identity != nil {
		out.Identity = proto.Clone(q.identity).(*telemetry.Identity)
	}
	// Behind a server it is the phone that answered, unless its app spoke for itself.
	if d := c.answeredBy(); d != nil && p != int(c.callerParty) && !c.reports(p) && d.party[p].userAgent != "" {
		q = &d.party[p]
		out.Endpoint, out.AppVersion, out.Platform = q.endpoint, q.appVersion, q.platform
	}
	if out.Endpoint == "" && c.hasSIP && (q.hasSDP || q.userAgent != "") {
		out.Endpoint = useragent.EndpointSIP
	}
	return out
}

// reports says whether getStats of a party are there.
func (c *call) reports(p int) bool {
	for i := range c.legs {
		if int(c.legs[i].party) == p {
			return true
		}
	}
	return false
}

func cloneLinked(linked []*telemetry.LinkedCall) (out []*telemetry.LinkedCall) {
	for _, l := range linked {
		out = append(out, proto.Clone(l).(*telemetry.LinkedCall))
	}
	return out
}

func (c *call) legsOut() []*telemetry.Leg {
	var legs []*telemetry.Leg
	sipCallID := c.sipCallID
	if sipCallID == "" && len(c.sipCallIDs) > 0 {
		sipCallID = c.sipCallIDs[0]
	}
	for part := range c.parts() {
		if !part.hasSIP && !part.hasMedia {
			continue
		}
		id := sipCallID
		if part.ordinal > 0 {
			id = part.sipCallID
		}
		for _, p := range []int{int(c.callerParty), 1 - int(c.callerParty)} {
			q := &part.party[p]
			if !part.hasSIP && q.rtcpSeen+q.rtpSeen == 0 {
				continue
			}
			leg := &telemetry.Leg{
				Id: part.sipLeg(p), SipCallId: id, Kind: "sip", Side: c.sideOf(part, p), UserAgent: q.userAgent,
				Codec: part.codecName, ClockRate: part.codecClock, Address: q.media,
				StartedUs: part.startedUs, EndedUs: part.endedUs,
				LinkedBy: part.linkedBy, LinkConfidence: part.linkConfidence,
			}
			if !c.server(part, p) {
				leg.UserId, leg.DeviceId = q.identity.GetUserId(), q.identity.GetDeviceId()
			}
			legs = append(legs, leg)
		}
	}
	for i := range c.legs {
		l := &c.legs[i]
		legs = append(legs, &telemetry.Leg{
			Id: l.id, SipCallId: sipCallID, Kind: "webrtc", Side: c.side(int(l.party)),
			Codec: l.codec, ClockRate: l.clock, StartedUs: l.firstUs, EndedUs: l.atUs,
			UserId: l.userID, DeviceId: l.deviceID,
		})
	}
	return legs
}

// verdictOf reads the state of a call and says what it means.
type verdictOf struct {
	c        *call
	rules    *Rules
	endUs    int64
	evidence *[]*telemetry.Evidence
	find     [2]finding
	loss     [2]lossFigure

	root     *call
	segments []*verdictOf // of the further dialogs that audio went through
}

// newVerdict reads what was seen of a call, and of each segment of its way.
func newVerdict(c *call, rules *Rules, endUs int64) *verdictOf {
	v := &verdictOf{c: c, root: c, rules: rules, endUs: endUs, evidence: new([]*telemetry.Evidence)}
	v.read()
	for _, d := range c.segments() {
		d.target, d.callerParty = c.target, c.callerParty
		s := &verdictOf{c: d, root: c, rules: rules, endUs: endUs, evidence: v.evidence}
		if d.endedUs != 0 {
			s.endUs = d.endedUs
		}
		s.read()
		v.segments = append(v.segments, s)
	}
	return v
}

func (v *verdictOf) read() {
	for d := range v.c.dir {
		v.find[d] = v.c.judge(v.rules, d, v.endUs)
		v.find[d].at = v
		v.loss[d] = v.c.lossOf(d)
	}
}

func (v *verdictOf) verdict() *telemetry.Verdict {
	c := v.c
	out := &telemetry.Verdict{
		Delay: &telemetry.Delay{Band: quality.Unknown}, Jitter: &telemetry.Jitter{Band: quality.Unknown},
		Loss: &telemetry.Loss{Band: quality.Unknown}, OneWayAudio: &telemetry.OneWayAudio{State: "unknown"},
		FaultSide: "unknown",
	}
	v.sources(out)
	if c.connectedUs == 0 {
		out.Overall = quality.Unknown
		v.say("not_answered", -1, "", c.startedUs, nil, "The call was not answered: there is no audio to judge.")
		out.Evidence = *v.evidence
		return out
	}
	v.oneWay(out.OneWayAudio)
	v.delay(out.Delay)
	v.jitter(out.Jitter)
	v.lossVerdict(out.Loss)
	out.Mos = v.mos()
	v.ofSegments(out)
	v.context()
	v.overall(out)
	out.Evidence = *v.evidence
	return out
}

// --- words ---

func clock(us int64) string { return telemetry.Time(us).Format("15:04:05") + " UTC" }

func seconds(us int64) string {
	return fmt.Sprintf("%.0f s", math.Max(float64(us)/float64(second), 0))
}

// who names a party in a sentence.
func (v *verdictOf) who(p int) string { return "the " + v.side(p) }

func (v *verdictOf) side(p int) string { return v.root.sideOf(v.c, p) }

// end names a party as an end of the call, which getStats always are.
func (v *verdictOf) end(p int) string { return "the " + v.c.side(p) }

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// say adds a sentence. d is the direction it speaks of (its sender), or -1.
func (v *verdictOf) say(kind string, d int, side string, atUs int64, values map[string]float64, format string, args ...any) {
	e := &telemetry.Evidence{Kind: kind, AtUs: atUs, Side: side, Values: values, Text: capital(fmt.Sprintf(format, args...))}
	if d >= 0 {
		e.Direction = v.c.directionName(d)
	}
	for k, x := range e.Values {
		e.Values[k] = round(x, 3)
	}
	if v.c.ordinal > 0 {
		e.Leg = v.c.sipLeg(1 - int(v.c.callerParty))
	}
	*v.evidence = append(*v.evidence, e)
}

func round(x float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(x*p) / p
}

func optional(x float64, digits int) *float64 {
	r := round(x, digits)
	return &r
}

// --- one-way audio ---

func (v *verdictOf) oneWay(out *telemetry.OneWayAudio) {
	c := v.c
	suspected, confirmed := v.rules.OneWay.Suspected, v.rules.OneWay.Confirmed
	var dead []int
	find := v.whole()
	for d := range c.dir {
		f := find[d]
		if f.dead {
			f.at.explainDeath(d, f)
			if f.confidence >= suspected {
				dead = append(dead, d)
			}
		}
	}
	state := func(confidence float64) string {
		if confidence >= confirmed {
			return "confirmed"
		}
		return "suspected"
	}
	if len(dead) == 2 {
		// Both, if it was at the same time; else the longer one is told first.
		a, b := find[0].death, find[1].death
		overlap := min(a.untilUs, b.untilUs) - max(a.sinceUs, b.sinceUs)
		if overlap >= v.rules.OneWay.Dead.Microseconds() {
			out.Direction = "both"
			out.Confidence = min(find[0].confidence, find[1].confidence)
			out.State = state(out.Confidence)
			out.SinceUs = max(a.sinceUs, b.sinceUs)
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
		out.SinceUs = f.death.sinceUs
		out.From, out.To = c.number(d), c.number(1-d)
		return
	}
	if find[0].alive && find[1].alive && !find[0].dead && !find[1].dead {
		out.State, out.Confidence = "none", confidenceAlive
		v.say("audio_both_ways", -1, "", 0, nil, "Audio was seen to arrive in both directions.")
		return
	}
	out.State = "unknown"
	for d := range c.dir {
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
	if c.dir[d].rtpSent > 0 && c.dir[d].rtpLast >= e.sinceUs {
		values["packets_at_monitor"] = float64(c.dir[d].rtpSent)
		atMonitor = fmt.Sprintf(" RTP from %s did pass the capture point: it was lost after it.", speaker)
	}
	kind, side, text := "one_way_audio", listens, ""
	switch {
	case f.w == byRTCP && e.kind == deadNeverReceived:
		kind = "never_received"
		text = fmt.Sprintf("%s sent %d RTCP reports in a row without a block about %s, who had sent %d packets meanwhile: nothing of it arrived %s.%s",
			listener, e.reports, speaker, e.packets, span, atMonitor)
	case f.w == byRTCP:
		kind = "stopped"
		text = fmt.Sprintf("in %d RTCP reports in a row of %s the highest sequence number received from %s did not move, while %d packets were sent: audio stopped arriving %s.%s",
			e.reports, listener, speaker, e.packets, span, atMonitor)
	case f.w == byHeader:
		kind = "never_received"
		text = fmt.Sprintf("at the end of the call %s told that it had received no packet, and %s that it had sent %d: nothing of it arrived %s.%s",
			listener, speaker, e.packets, span, atMonitor)
	case f.w == bySilence:
		kind, side = "nothing_sent", speaks
		text = fmt.Sprintf("neither RTP nor RTCP came from %s %s while %s went on sending: %s is silent or its way out is dead.",
			speaker, span, listener, speaker)
	case f.w == byRemote:
		kind, side = "not_acknowledged", speaks
		text = fmt.Sprintf("%s sent %d packets %s and got no receiver report about them, while audio from %s arrived.",
			speaker, e.packets, span, listener)
	case e.senderHeard:
		kind = "not_received"
		text = fmt.Sprintf("%s received no packet %s, while %s was sending and its microphone picked up speech: the audio was lost in the network.",
			listener, span, speaker)
	case e.senderQuiet:
		kind, side = "not_sent", speaks
		text = fmt.Sprintf("%s received no packet %s; %s itself reports that it sent none.", listener, span, speaker)
	default:
		kind = "not_received"
		text = fmt.Sprintf("%s received no packet %s, while it was sending itself and its connection was alive.", listener, span)
		if e.noInbound {
			text = fmt.Sprintf("%s has no inbound audio stream %s, while it was sending itself and its connection was alive.", listener, span)
		}
	}
	v.say(kind, d, side, e.sinceUs, values, "%s", text)
	if e.contra {
		l := c.dir[d].life[e.contraBy]
		v.say("contradiction", d, "", l.lastUs, map[string]float64{"observations": float64(l.count)},
			"against it, %s saw audio from %s arrive until %s; both observations stand and the confidence is lowered.",
			witnessName(e.contraBy), speaker, clock(l.lastUs))
	}
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
		v.say("not_expected", d, "", 0, nil, "Audio from %s was not expected: on hold, muted or one-way by agreement.", v.who(d))
	case talked-c.connectedUs < (v.rules.OneWay.Grace + v.rules.OneWay.Dead).Microseconds():
		v.say("too_short", d, "", 0, map[string]float64{"talked_s": float64(talked-c.connectedUs) / float64(second)},
			"The call was too short (%s) to tell whether %s heard %s.", seconds(talked-c.connectedUs), v.who(1-d), v.who(d))
	case c.party[1-d].secure && c.party[1-d].rtcpSeen > 0 && x.life[byRTCP].count == 0:
		v.say("encrypted", d, v.side(1-d), 0, nil, "The reports of %s are encrypted: whether it heard %s is not known.", v.who(1-d), v.who(d))
	case x.rtpSent > 0:
		v.say("not_observed", d, v.side(1-d), 0, map[string]float64{"packets_at_monitor": float64(x.rtpSent)},
			"RTP from %s passed the capture point, but %s did not report enough to tell whether it arrived.", v.who(d), v.who(1-d))
	default:
		v.say("not_observed", d, v.side(1-d), 0, nil, "Nobody reported enough to tell whether %s heard %s.", v.who(1-d), v.who(d))
	}
}

// --- delay ---

func (v *verdictOf) delay(out *telemetry.Delay) {
	c := v.c
	r := &c.rtt
	if r.Count == 0 {
		return
	}
	p95 := r.Quantile(0.95)
	out.Band = v.rules.DelayBand(p95)
	out.RttMs = &telemetry.Distribution{
		Min: round(r.MinMs, 1), P50: round(r.Quantile(0.5), 1), P95: round(p95, 1), Max: round(r.MaxMs, 1),
	}
	out.Share = map[string]float64{}
	for _, band := range []string{quality.Good, quality.Acceptable, quality.Bad, quality.Unacceptable} {
		out.Share[band] = round(r.Share(func(ms float64) bool { return v.rules.DelayBand(ms) == band }), 4)
	}
	v.say("rtt", -1, "", 0, map[string]float64{
		"min_ms": r.MinMs, "p50_ms": r.Quantile(0.5), "p95_ms": p95, "max_ms": r.MaxMs, "measurements": float64(r.Count),
	}, "The round trip%s was %.0f ms in the median, %.0f ms at the 95th percentile and %.0f ms at most, in %d measurements: %s.",
		v.between(), r.Quantile(0.5), p95, r.MaxMs, r.Count, out.Band)
	for p := range c.party {
		if s := &c.party[p].rtt; s.Count > 0 {
			v.say("rtt_measured", -1, v.side(p), 0, map[string]float64{"p50_ms": s.Quantile(0.5), "p95_ms": s.Quantile(0.95), "measurements": float64(s.Count)},
				"Measured by %s: median %.0f ms, 95th percentile %.0f ms.", v.who(p), s.Quantile(0.5), s.Quantile(0.95))
		}
	}
	for i := range c.taps {
		for p, s := range c.taps[i].hist {
			if s.Count > 0 {
				v.say("rtt_segment", -1, v.side(p), 0, map[string]float64{"p50_ms": s.Quantile(0.5), "p95_ms": s.Quantile(0.95), "measurements": float64(s.Count)},
					"Of the round trip, the way between the capture point and %s took %.0f ms in the median (95th percentile %.0f ms).",
					v.who(p), s.Quantile(0.5), s.Quantile(0.95))
			}
		}
	}
}

// --- jitter ---

func (v *verdictOf) jitter(out *telemetry.Jitter) {
	c := v.c
	var all quality.Histogram
	for d := range c.dir {
		x := &c.dir[d]
		h := &x.jitter
		if h.Count == 0 && x.moments == 0 {
			h = &x.jitterRTP
		}
		all.Merge(h)
	}
	var worstRatio, worstConcealment float64
	var hasRatio, hasConcealment bool
	for d := range c.dir {
		x := &c.dir[d]
		band, share := quality.Unknown, 0.0
		switch {
		case x.moments > 0:
			share = float64(x.choppy) / float64(x.moments)
			band = v.rules.JitterBand(share)
		case x.jitterRTP.Count > 0:
			share = x.jitterRTP.Share(func(ms float64) bool { return ms > v.rules.JitterChoppyMs })
			band = v.rules.JitterBand(share)
		default:
			continue
		}
		if v.find[d].dead && x.moments < v.rules.OneWay.MinReports {
			continue // nothing arrived: what did is no measure of it
		}
		out.Band = quality.Worst(out.Band, band)
		h := &x.jitter
		where := ""
		if x.moments == 0 {
			h, where = &x.jitterRTP, " at the capture point"
		}
		values := map[string]float64{"choppy_share": share}
		who, hears := v.who(1-d), v.side(1-d)
		if x.samples > 0 {
			who, hears = v.end(1-d), c.side(1-d)
		}
		text := fmt.Sprintf("what %s heard%s was choppy in %.0f %% of the time", who, where, share*100)
		if h.Count > 0 {
			values["jitter_p50_ms"], values["jitter_p95_ms"], values["jitter_max_ms"] = h.Quantile(0.5), h.Quantile(0.95), h.MaxMs
			text += fmt.Sprintf("; network jitter was %.1f ms in the median, %.1f ms at the 95th percentile", h.Quantile(0.5), h.Quantile(0.95))
		}
		if x.samples > 0 {
			concealment := 100 * x.concealed / x.samples
			values["concealment_percent"] = concealment
			values["silent_concealment_percent"] = 100 * x.silentConcealed / x.samples
			text += fmt.Sprintf("; %.1f %% of the sound was concealed", concealment)
			hasConcealment, worstConcealment = true, max(worstConcealment, concealment)
		}
		if x.preferredMs > 0 {
			ratio := x.bufferMs / x.preferredMs
			values["buffer_over_preferred_ratio"] = ratio
			text += fmt.Sprintf("; the jitter buffer was %.0f ms where %.0f ms was preferred", x.bufferMs/float64(x.bufferPolls), x.preferredMs/float64(x.bufferPolls))
			hasRatio, worstRatio = true, max(worstRatio, ratio)
		}
		v.say("jitter", d, hears, x.choppyUs, values, "%s: %s.", text, band)
	}
	if all.Count > 0 {
		out.JitterMs = &telemetry.Distribution{
			Min: round(all.MinMs, 2), P50: round(all.Quantile(0.5), 2), P95: round(all.Quantile(0.95), 2), Max: round(all.MaxMs, 2),
		}
	}
	if hasRatio {
		out.BufferOverPreferredRatio = optional(worstRatio, 3)
	}
	if hasConcealment {
		out.ConcealmentPercent = optional(worstConcealment, 3)
	}
}

// --- loss ---

// lossFigure is the loss of a direction from its best source.
type lossFigure struct {
	known           bool
	from            lossSource
	percent         float64 // with discards
	discarded       int64
	lost, expected  int64
	burst           float64
	burstUs         int64
	beforeMonitor   float64 // loss that RTP headers show up to the capture point
	monitorObserved bool
}

func (c *call) lossOf(d int) lossFigure {
	x := &c.dir[d]
	var f lossFigure
	if m := &x.loss[lossMonitor]; m.lost+m.received > 0 {
		f.monitorObserved = true
		f.beforeMonitor = percentOf(m.lost, m.lost+m.received)
	}
	for s := lossSource(0); s < lossSources; s++ {
		l := &x.loss[s]
		switch s {
		case lossRTCP:
			if c.rtcpLoss(d, &f) {
				f.from = s
				return f
			}
			continue
		case lossVQ:
			if l.reports == 0 {
				continue
			}
			f.known, f.from = true, s
			f.percent, f.burst, f.burstUs = min(l.percent+l.discardPercent, 100), l.burst, l.burstUs
			return f
		}
		expected := l.lost + l.received
		if expected <= 0 || l.reports == 0 {
			continue
		}
		f.known, f.from = true, s
		f.lost, f.expected, f.discarded = max(l.lost, 0), expected, l.discarded
		f.percent = percentOf(l.lost+l.discarded, expected)
		f.burst, f.burstUs = l.burst, l.burstUs
		return f
	}
	return f
}

func percentOf(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(max(100*float64(part)/float64(whole), 0), 100)
}

// rtcpLoss adds up the streams of one hop; where the call passes several, the
// worst hop counts, for what one hop lost the next cannot have.
func (c *call) rtcpLoss(d int, f *lossFigure) bool {
	x := &c.dir[d]
	type sum struct {
		hop            uint32
		lost, expected int64
	}
	var hops []sum
	add := func(hop uint32, lost, expected int64) {
		for i := range hops {
			if hops[i].hop == hop {
				hops[i].lost += lost
				hops[i].expected += expected
				return
			}
		}
		hops = append(hops, sum{hop, lost, expected})
	}
	for i := range x.streams {
		st := &x.streams[i]
		if st.expected > 0 {
			add(st.hop, st.lost, st.expected)
		}
		if st.burst > f.burst {
			f.burst, f.burstUs = st.burst, st.burstUs
		}
	}
	if old := &x.loss[lossRTCP]; old.lost+old.received > 0 {
		hop := uint32(0)
		if len(hops) > 0 {
			hop = hops[0].hop
		}
		add(hop, old.lost, old.lost+old.received)
		if old.burst > f.burst {
			f.burst, f.burstUs = old.burst, old.burstUs
		}
	}
	if len(hops) == 0 {
		return false
	}
	sort.SliceStable(hops, func(i, j int) bool {
		return percentOf(hops[i].lost, hops[i].expected) > percentOf(hops[j].lost, hops[j].expected)
	})
	f.known = true
	f.lost, f.expected = max(hops[0].lost, 0), hops[0].expected
	f.percent = percentOf(f.lost, f.expected)
	return true
}

var lossNames = [lossSources]string{
	lossInbound: "the receiver's getStats", lossRTCP: "RTCP reports", lossVQ: "a quality report of the phone",
	lossHeader: "the phone at the end of the call", lossRemote: "the sender's remote statistics", lossMonitor: "RTP at the capture point, that is up to there",
}

func (v *verdictOf) lossVerdict(out *telemetry.Loss) {
	c := v.c
	for d := range c.dir {
		f := v.loss[d]
		if !f.known {
			continue
		}
		if f.from == lossMonitor && v.find[d].dead {
			continue // it got to the capture point and no further
		}
		band := v.rules.LossBand(f.percent)
		out.Band = quality.Worst(out.Band, band)
		if out.Percent == nil || f.percent > *out.Percent {
			out.Percent = optional(f.percent, 3)
		}
		if out.BurstPercent == nil || f.burst > *out.BurstPercent {
			out.BurstPercent = optional(f.burst, 3)
		}
		way := &out.ContactToTargetPercent
		if d == int(c.target) {
			way = &out.TargetToContactPercent
		}
		if *way == nil || f.percent > **way {
			*way = optional(f.percent, 3)
		}
		values := map[string]float64{"percent": f.percent, "burst_percent": f.burst}
		text := fmt.Sprintf("%.2f %%", f.percent)
		if f.expected > 0 {
			values["packets_lost"], values["packets_expected"] = float64(f.lost), float64(f.expected)
			text = fmt.Sprintf("%d of %d packets (%.2f %%)", f.lost, f.expected, f.percent)
		}
		if f.discarded > 0 {
			values["packets_discarded"] = float64(f.discarded)
			text = fmt.Sprintf("%d of %d packets were lost and %d came too late (%.2f %% together)", f.lost, f.expected, f.discarded, f.percent)
		}
		who, hears := v.who, v.side(1-d)
		if f.from == lossInbound || f.from == lossRemote {
			who, hears = v.end, c.side(1-d)
		}
		text = fmt.Sprintf("from %s to %s, %s were lost by %s", who(d), who(1-d), text, lossNames[f.from])
		if f.discarded > 0 {
			text = strings.Replace(text, " together) were lost by ", " together) by ", 1)
		}
		if f.burst > 0 && f.burstUs != 0 {
			text += fmt.Sprintf("; the worst interval lost %.1f %% at %s", f.burst, clock(f.burstUs))
		}
		if f.from != lossMonitor && f.monitorObserved && f.percent > 0 {
			values["percent_before_monitor"] = f.beforeMonitor
			text += fmt.Sprintf("; up to the capture point it was %.2f %%", f.beforeMonitor)
		}
		v.say("loss", d, hears, f.burstUs, values, "%s: %s.", text, band)
	}
}

// --- MOS ---

func (v *verdictOf) mos() *telemetry.MOS {
	c := v.c
	worst := -1
	for d := range c.dir {
		x := &c.dir[d]
		if x.mosN > 0 && (worst < 0 || x.mosSum/float64(x.mosN) < c.dir[worst].mosSum/float64(c.dir[worst].mosN)) {
			worst = d
		}
	}
	if worst < 0 {
		return nil
	}
	x := &c.dir[worst]
	n := float64(x.mosN)
	out := &telemetry.MOS{Min: round(x.mosMin, 2), Avg: round(x.mosSum/n, 2), Model: x.mosModel, Estimated: x.mosEstimated, Inputs: map[string]float64{"scores": n}}
	if x.mosReported {
		out.Model = "reported"
		v.say("mos", worst, v.side(1-worst), 0, map[string]float64{"avg": out.Avg, "min": out.Min},
			"%s's own score of what it heard was %.2f in the mean.", v.who(1-worst), out.Avg)
		return out
	}
	e, _ := quality.EquipmentOf(x.mosCodec)
	out.Inputs["ie"], out.Inputs["bpl"] = e.Ie, e.Bpl
	out.Inputs["rtt_ms"] = round(x.mosRTT/n, 1)
	out.Inputs["loss_percent"] = round(x.mosLoss/n, 3)
	out.Inputs["jitter_buffer_ms"] = round(x.mosBuffer/n, 1)
	out.Inputs["packetisation_ms"], out.Inputs["look_ahead_ms"] = e.PacketisationMs, e.LookAheadMs
	note := ""
	if x.mosAssumed {
		out.Inputs["jitter_buffer_assumed"] = 1
		note = "; the jitter buffer was not reported and taken as twice the jitter"
	}
	if e.Estimated {
		note += "; G.113 has no values for this codec, so the score is estimated"
	}
	v.say("mos", worst, v.side(1-worst), 0, map[string]float64{"avg": out.Avg, "min": out.Min},
		"MOS by %s of what %s heard (%s): %.2f in the mean, %.2f at worst%s.", out.Model, v.who(1-worst), x.mosCodec, out.Avg, out.Min, note)
	return out
}

// --- what else a reader wants to know ---

func (v *verdictOf) context() {
	c := v.c
	for d := range c.dir {
		p := &c.party[d]
		if p.everHeld {
			v.say("hold", -1, v.side(d), p.heldUs, nil, "%s put the call on hold at %s: the time on hold is left out.", v.who(d), clock(p.heldUs))
		}
		if p.everMuted {
			v.say("muted", d, c.side(d), p.mutedUs, nil, "%s was muted for a time from %s, as its app reports.", v.who(d), clock(p.mutedUs))
		}
		x := &c.dir[d]
		if x.silentUntilUs != 0 && !p.everMuted {
			span := x.silentUntilUs - x.silentSinceUs
			if x.silentSenderSpeaks {
				v.say("muted_or_bridge", d, c.side(d), x.silentSinceUs, map[string]float64{"silent_s": float64(span) / float64(second), "confidence": 0.8},
					"Packets from %s arrived and carried silence from %s for %s, while its microphone picked up sound: it was muted, or a media bridge sent silence. This is no one-way audio.",
					v.who(d), clock(x.silentSinceUs), seconds(span))
			} else {
				v.say("silent_payload", d, c.side(d), x.silentSinceUs, map[string]float64{"silent_s": float64(span) / float64(second), "confidence": 0.5},
					"Packets from %s arrived and carried silence from %s for %s: nobody spoke, the microphone was dead, or it was muted. This is no one-way audio.",
					v.who(d), clock(x.silentSinceUs), seconds(span))
			}
		}
	}
}

// observed says whether anybody told what became of direction d at its receiver.
func (v *verdictOf) observed(d int) bool {
	f := v.find[d]
	if f.alive || (f.dead && f.confidence >= v.rules.OneWay.Suspected) {
		return true
	}
	return v.loss[d].known && v.loss[d].from != lossMonitor
}

// observedAll says the same of the whole way.
func (v *verdictOf) observedAll(d int) bool {
	if v.find[d].heard {
		return true
	}
	for _, s := range v.all() {
		if !s.observed(d) {
			return false
		}
	}
	return true
}

// overall is the worst of what is known. A direction that nobody observed may
// be worse than what is known, never better: then only bad news stand.
func (v *verdictOf) overall(out *telemetry.Verdict) {
	c := v.c
	worst := quality.Worst(out.Delay.Band, out.Jitter.Band, out.Loss.Band)
	switch out.OneWayAudio.State {
	case "confirmed":
		worst = quality.Unacceptable
	case "suspected":
		worst = quality.Worst(worst, quality.Bad)
	}
	out.Overall = worst
	for d := range c.dir {
		if v.observedAll(d) {
			continue
		}
		v.say("direction_unknown", d, "", 0, nil, "What %s heard of %s was never observed.", v.end(1-d), v.end(d))
		if quality.Severity(worst) < quality.Severity(quality.Bad) {
			out.Overall = quality.Unknown
		}
	}
	out.FaultSide = v.faultSide(out)
}

// faultSide says where the fault lies, where the evidence allows it.
func (v *verdictOf) faultSide(out *telemetry.Verdict) string {
	c := v.c
	if s := out.OneWayAudio.State; s == "confirmed" || s == "suspected" {
		if out.OneWayAudio.Direction == "both" {
			return "unknown"
		}
		d := int(c.target)
		if out.OneWayAudio.Direction == "contact_to_target" {
			d = 1 - d
		}
		f := v.whole()[d]
		switch {
		case f.w == bySilence:
			return f.at.side(d)
		case f.death.senderQuiet:
			return c.side(d)
		case f.death.senderHeard, f.w == byRTCP, f.w == byHeader:
			return "network"
		}
		return "unknown"
	}
	if quality.Severity(out.Overall) < quality.Severity(quality.Bad) {
		return "unknown"
	}
	// Loss that a capture point splits into what came before it and after it.
	worst, percent := -1, 0.0
	for d := range v.loss {
		if v.loss[d].known && v.loss[d].percent > percent {
			worst, percent = d, v.loss[d].percent
		}
	}
	if v.lossInSegment(percent) {
		return "network"
	}
	if worst >= 0 && v.rules.LossBand(percent) == out.Overall {
		f := v.loss[worst]
		if f.from != lossMonitor && f.monitorObserved {
			switch {
			case f.beforeMonitor >= 0.7*percent && c.away(1-worst):
				return c.side(worst)
			case f.beforeMonitor <= 0.3*percent && c.away(worst):
				return c.side(1 - worst)
			}
		}
		return "network"
	}
	if out.Delay.Band == out.Overall {
		for i := range c.taps {
			if len(v.segments) > 0 {
				break // the server is on the way, and its part of it
			}
			a, b := &c.taps[i].hist[0], &c.taps[i].hist[1]
			if a.Count == 0 || b.Count == 0 {
				continue
			}
			ma, mb := a.Quantile(0.5), b.Quantile(0.5)
			switch {
			case ma >= 0.7*(ma+mb):
				return c.side(0)
			case mb >= 0.7*(ma+mb):
				return c.side(1)
			}
		}
		return "network"
	}
	return "unknown"
}

// awayMs is the round trip from which a capture point is not beside a party.
const awayMs = 3

// away says whether a capture point lies between the network and party p, not
// beside p: only then does it tell p's part of the way from the other's.
func (c *call) away(p int) bool {
	for i := range c.taps {
		if h := &c.taps[i].hist[p]; h.Count > 0 && h.Quantile(0.5) >= awayMs {
			return true
		}
	}
	return false
}

// sources lists what the verdict is based on, in a fixed order.
func (v *verdictOf) sources(out *telemetry.Verdict) {
	c := v.c
	var monitor uint32
	for _, part := range v.all() {
		monitor += part.sourcesOf(out)
	}
	if monitor > 0 {
		out.Sources = append(out.Sources, &telemetry.VerdictSource{Kind: sourceNames[fromRTP], Side: "server", Samples: monitor})
	}
	if c.hasSIP {
		n := 0
		for part := range c.parts() {
			n += len(part.seen)
		}
		out.Sources = append(out.Sources, &telemetry.VerdictSource{Kind: "sip", Side: "server", Samples: uint32(n)})
	}
}

// sourcesOf lists the sources of one part. It returns the samples of monitors.
func (v *verdictOf) sourcesOf(out *telemetry.Verdict) (monitor uint32) {
	c := v.c
	for _, p := range []int{int(c.target), 1 - int(c.target)} {
		heard := &c.dir[1-p]
		for s := source(0); s < sources; s++ {
			n := heard.sourceSamples[s]
			side := v.side(p)
			switch s {
			case fromWebRTC:
				side = c.side(p)
			case fromRTP:
				continue
			case fromRTCP:
				n = 0
				for i := range c.party[p].reporters {
					n += c.party[p].reporters[i].reports
				}
			}
			if n > 0 {
				out.Sources = append(out.Sources, &telemetry.VerdictSource{Kind: sourceNames[s], Side: side, Samples: n})
			}
		}
	}
	return c.dir[0].sourceSamples[fromRTP] + c.dir[1].sourceSamples[fromRTP]
}
