package calls

import (
	"fmt"
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
	if c.phase == phaseFinal && c.lateUs != 0 {
		v.late(nowUs)
	}
	out := &telemetry.Call{
		State:       "live",
		Direction:   c.directionOut(),
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
	if c.phase >= phaseEnded {
		out.State = "ended"
		out.End = &telemetry.CallEnd{By: c.endBy, SipStatus: c.endStatus, Reason: c.endReason}
	}
	out.Description = c.describe(out.Direction)
	out.Verdict.Final, out.Verdict.Version, out.Verdict.ComputedUs = final, c.version, nowUs
	out.Verdict.Rules, out.Verdict.Thresholds = h.rules.Version, thresholds(h.rules)
	h.outcome(&telemetry.Outcome{AtUs: nowUs, Body: &telemetry.Outcome_Call{Call: out}})
	if final {
		h.tellVerdict(out.Verdict)
	}
}

// directionOut is the direction of the call, a guess where neither party is known.
func (c *call) directionOut() string {
	switch {
	case c.direction != "":
		return c.direction
	case c.callerParty != c.target:
		return "inbound"
	}
	return "outbound"
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
	c     *call
	rules *Rules
	endUs int64
	told  *[]*told
	find  [2]finding
	loss  [2]lossFigure

	root     *call
	segments []*verdictOf // of the further dialogs that audio went through
}

// newVerdict reads what was seen of a call, and of each segment of its way.
func newVerdict(c *call, rules *Rules, endUs int64) *verdictOf {
	v := &verdictOf{c: c, root: c, rules: rules, endUs: endUs, told: new([]*told)}
	v.read()
	for _, d := range c.segments() {
		d.target, d.callerParty = c.target, c.callerParty
		s := &verdictOf{c: d, root: c, rules: rules, endUs: endUs, told: v.told}
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
		v.unanswered()
		out.Evidence = v.evidence()
		return out
	}
	v.oneWay(out.OneWayAudio)
	v.delay(out.Delay)
	v.jitter(out.Jitter)
	v.lossVerdict(out.Loss)
	partial := v.ofSegments(out)
	out.Mos = v.mos(out.Delay, partial)
	for _, part := range v.all() {
		part.contradictions()
		part.context()
	}
	v.contextOfCall()
	v.path(out)
	v.overall(out)
	v.fault(out)
	out.Evidence = v.evidence()
	return out
}

// observed says whether anybody told what became of direction d at its receiver.
func (v *verdictOf) observed(d int) bool {
	f := v.find[d]
	if f.alive || f.none || (f.dead && f.confidence >= v.rules.OneWay.Suspected) {
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
		if !v.said(d, "too_short", "not_observed", "not_expected", "encrypted", "receive_only", "not_forwarded") {
			v.say("direction_unknown", d, "", c.connectedUs, nil, "What %s heard of %s was never observed.", v.end(1-d), v.end(d))
		}
		if quality.Severity(worst) < quality.Severity(quality.Bad) {
			out.Overall = quality.Unknown
		}
	}
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
				side, n = c.side(p), 0
				for i := range c.legs {
					if int(c.legs[i].party) == p {
						n += c.legs[i].polls // also those of a page that nothing arrives at
					}
				}
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
