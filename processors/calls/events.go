package calls

import (
	"encoding/hex"
	"strings"

	"google.golang.org/protobuf/proto"

	"crypto/sha256"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/processors/rejections"
	"github.com/earshot/earshot/telemetry"
)

// event digests one event of the platform (CloudEvents 1.0).
func (h *handler) event(e *telemetry.CallEvent) {
	if e == nil {
		return
	}
	c := h.c
	if e.Id != "" && !c.fresh(hash64("event", e.Id)) {
		return
	}
	switch e.Type {
	case "rated", "recording_changed":
		h.aside(e)
		return
	case "linked": // which ingest has seen to; the Call-ID finds the call from now on
		c.known(e.SipCallId)
		return
	}
	h.live()
	if e.Type != "rejected" {
		c.hasEvents = true
	}
	if e.Direction != "" && c.direction == "" {
		c.direction = e.Direction
	}
	if e.Description != "" {
		c.description = e.Description
	}
	c.known(e.SipCallId)
	// Before signalling or events said who calls, party 0 was the target.
	if !c.hasSIP && c.targetFixed && c.direction == "inbound" {
		c.callerParty = 1 - c.target
	}
	merge(&c.party[c.callerParty].identity, e.From)
	merge(&c.party[1-c.callerParty].identity, e.To)
	c.settle()
	p := h.eventParty(e)
	if e.Endpoint != "" && p >= 0 {
		c.party[p].endpoint = e.Endpoint
	}
	switch e.Type {
	case "started":
		if c.startedUs == 0 || h.at() < c.startedUs {
			c.startedUs = h.at()
		}
	case "ringing":
		h.ringing()
	case "connected":
		h.connect(h.at())
	case "held", "resumed":
		for _, q := range parties(p) {
			c.party[q].heldByApp = e.Type == "held"
		}
		h.block()
		h.tellHold(p, e.Type == "held")
	case "muted", "unmuted":
		if p >= 0 {
			h.mute(p, e.Type == "muted")
		} else {
			h.again(&telemetry.CallMoment{Type: e.Type}, p, e.Id)
		}
	case "transferred":
		h.transfer()
		h.tellTransfer(p)
	case "ended":
		by := e.Side
		if by == "" {
			by = "system"
			if p >= 0 {
				by = c.side(p)
			}
		}
		h.end(h.at(), by, 0, e.Reason)
	case "rejected":
		h.rejectedByPlatform(e)
	}
}

// parties are those an event is about: one, or both where it does not say.
func parties(p int) []int {
	if p < 0 {
		return []int{0, 1}
	}
	return []int{p}
}

// eventParty gives the party an event is about, -1 where it does not say.
func (h *handler) eventParty(e *telemetry.CallEvent) int {
	c := h.c
	switch e.Side {
	case "target":
		return int(c.target)
	case "contact":
		return 1 - int(c.target)
	}
	for p := range c.party {
		id := c.party[p].identity
		if e.Subject.GetUserId() != "" && id.GetUserId() == e.Subject.GetUserId() ||
			e.Subject.GetNumber() != "" && id.GetNumber() == e.Subject.GetNumber() {
			return p
		}
	}
	for i := range c.legs {
		if e.LegId != "" && c.legs[i].id == e.LegId {
			return int(c.legs[i].party)
		}
	}
	return -1
}

// aside treats what is told of a call beside its course: it may come days later,
// and opens no call.
func (h *handler) aside(e *telemetry.CallEvent) {
	switch {
	case e.GetType() == "rated" && e.Rating >= 1 && e.Rating <= 5:
		h.rating(e)
	case e.GetType() == "recording_changed":
		h.tellRecording(e)
	}
}

func (h *handler) rating(e *telemetry.CallEvent) {
	id := e.Id
	if id == "" {
		id = shortID(h.c.id.key, "rating", e.Subject.GetUserId(), e.Text)
	}
	h.outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{
		Id: id, AtUs: h.at(), Rater: e.Subject, Rating: e.Rating, Text: e.Text,
	}}})
	h.tellRating(e, id)
}

func shortID(parts ...string) string {
	s := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(s[:12])
}

func (h *handler) rejectedByPlatform(e *telemetry.CallEvent) {
	c := h.c
	reason, refused := rejections.Why(rejections.Leg{EventReason: e.Reason})
	if !refused {
		reason = rejections.UnknownReason
	}
	leg := e.LegId
	if leg == "" {
		leg = e.Subject.GetUserId()
	}
	if leg == "" {
		leg = "platform"
	}
	agent := e.Subject
	if agent == nil {
		agent = c.party[1-c.callerParty].identity
	}
	h.rejection(leg, true, &telemetry.Rejection{
		AtUs: h.at(), Reason: reason, Agent: agent, LegId: leg, Text: e.Text, RawReason: e.Reason, Source: "event",
	})
}

// rejection emits a refused leg. What is known of the same leg from another
// source is the same rejection: the platform's word replaces that of the
// signalling, never the other way, and status and Reason header are kept.
func (h *handler) rejection(leg string, byEvent bool, r *telemetry.Rejection) {
	c := h.root
	var same *rejection
	for i := range c.rejected {
		k := &c.rejected[i]
		if k.leg == leg {
			same = k
			break
		}
		if k.byEvent != byEvent && sameAgent(k.out.Agent, r.Agent, len(c.rejected) == 1) {
			same = k
		}
	}
	c.changed = true
	if same != nil {
		if same.byEvent == byEvent {
			return // the same answer on another hop, or the event again
		}
		merged := proto.Clone(same.out).(*telemetry.Rejection)
		if byEvent {
			merged.Reason, merged.Source, merged.Text = r.Reason, r.Source, r.Text
			if r.Agent.GetUserId() != "" || merged.Agent == nil {
				merged.Agent = c.placed(r.Agent)
			}
			same.byEvent = true
		} else {
			merged.SipStatus = r.SipStatus
			if r.RawReason != "" {
				merged.RawReason = r.RawReason
			}
		}
		same.out = merged
		h.emitRejection(merged)
		if byEvent {
			h.tellRefusal(same) // for the first time, or with more known
		}
		return
	}
	r.Agent = c.placed(r.Agent)
	r.Id = shortID(c.id.company, c.id.timeline, c.id.key, leg)
	r.FromNumber = c.number(int(c.callerParty))
	r.ToNumber = c.number(1 - int(c.callerParty))
	if len(c.rejected) == maxRejected {
		if c.rejected[0].tellUs != 0 {
			h.tellRefusal(&c.rejected[0])
		}
		c.rejected = append(c.rejected[:0], c.rejected[1:]...)
	}
	c.rejected = append(c.rejected, rejection{leg: leg, byEvent: byEvent, tellUs: r.AtUs + refusalUs, out: r})
	h.emitRejection(r)
	if h.rec == nil || byEvent && c.moments.once&onceStarted != 0 {
		h.tellRefusal(&c.rejected[len(c.rejected)-1])
	}
}

// placed says of an agent in whose office, department or contact centre the call
// was refused, where that is only known of the number that was called.
func (c *call) placed(agent *telemetry.Identity) *telemetry.Identity {
	called := c.party[1-c.callerParty].identity
	if called.GetOfficeId() == "" && called.GetDepartmentId() == "" && called.GetContactCenterId() == "" {
		return agent
	}
	if agent = cloneIdentity(agent); agent == nil {
		agent = &telemetry.Identity{}
	}
	if agent.DepartmentId == "" && agent.ContactCenterId == "" {
		agent.DepartmentId = called.DepartmentId
	}
	if agent.ContactCenterId == "" {
		agent.ContactCenterId = called.ContactCenterId
	}
	if agent.OfficeId == "" {
		agent.OfficeId = called.OfficeId
	}
	return agent
}

// sameAgent says whether two sources speak of the same refusal: of the same user
// or number, or of nobody in particular where there is only one.
func sameAgent(a, b *telemetry.Identity, only bool) bool {
	if a.GetUserId() != "" && b.GetUserId() != "" {
		return a.GetUserId() == b.GetUserId()
	}
	if a.GetNumber() != "" && b.GetNumber() != "" {
		return a.GetNumber() == b.GetNumber()
	}
	return only
}

func (h *handler) emitRejection(r *telemetry.Rejection) {
	h.outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Rejection{Rejection: proto.Clone(r).(*telemetry.Rejection)}})
}

// vq digests an RFC 6035 report: what one end measured of what it heard.
func (h *handler) vq(v *telemetry.VQReport) {
	if v == nil {
		return
	}
	c := h.c
	if len(h.rec.EventId) > 0 && !c.fresh(eventHash(h.rec.EventId)) {
		return
	}
	h.live()
	c.hasMedia = true
	p := h.vqParty(v)
	summary := !strings.EqualFold(v.Report, "interval") && !strings.EqualFold(v.Report, "alert")
	if v.Local != nil {
		h.vqMetrics(p, v.Local, summary)
	}
	if v.Remote != nil {
		h.vqMetrics(1-p, v.Remote, summary)
	}
}

func (h *handler) vqParty(v *telemetry.VQReport) int {
	c := h.c
	if host, port, ok := splitAddr(v.LocalAddress); ok {
		for i := range c.addresses {
			if a := &c.addresses[i]; a.host == host && (a.rtp == port || a.rtcp == port || port == 0) {
				return int(a.party)
			}
		}
	}
	for p := range c.party {
		id := c.party[p].identity
		if v.Identity.GetUserId() != "" && id.GetUserId() == v.Identity.GetUserId() ||
			v.Identity.GetNumber() != "" && id.GetNumber() == v.Identity.GetNumber() {
			return p
		}
	}
	merge(&c.party[c.callerParty].identity, v.Identity)
	return int(c.callerParty)
}

// vqMetrics takes what party p measured of what it receives.
func (h *handler) vqMetrics(p int, m *telemetry.VQMetrics, summary bool) {
	c := h.c
	d := &c.dir[1-p]
	name, clock := m.Codec, m.ClockRate
	if name == "" {
		name, clock = c.codecOf(m.PayloadType, m.PayloadType != 0)
	}
	box := h.sample(fromVQ, 1-p, h.witness(p), c.sipLeg(p))
	box.sample.Ssrc, box.sample.Codec, box.sample.ClockRate = m.Ssrc, name, clock
	loss, discard := within(m.LossPercent, 0, 100), within(m.DiscardPercent, 0, 100)
	jitter := within(m.JitterMs, 0, quality.MaxJitterMs)
	box.sample.LossPercent = box.value(loss)
	box.sample.JitterMs = box.value(jitter)
	if m.RoundTripDelayMs != nil && *m.RoundTripDelayMs > 0 && *m.RoundTripDelayMs <= 10_000 {
		rtt := float64(*m.RoundTripDelayMs)
		box.sample.RttMs = box.value(rtt)
		h.addRTT(rtt, p)
	}
	if m.JbNominalMs != nil {
		box.sample.JitterBufferMs = box.value(float64(*m.JbNominalMs))
	}
	mos := within(m.MosCq, 1, 5)
	if mos != mos {
		mos = within(m.MosLq, 1, 5)
	}
	box.sample.Mos = box.value(mos)
	d.sourceSamples[fromVQ]++
	h.emitSample(box)
	if !summary {
		return
	}
	if mos == mos {
		d.reportedMOS(mos)
	}
	if loss == loss {
		l := &d.loss[lossVQ]
		l.percent, l.reports = loss, l.reports+1
		if discard == discard {
			l.discardPercent = discard
		}
		burst := within(m.BurstLossPercent, 0, 100)
		if burst > l.burst {
			l.burst, l.burstUs = burst, h.at()
		}
		if m.BurstDurationMs != nil && m.GapDurationMs != nil {
			if r, ok := quality.BurstRatioOfGaps(burst/100, float64(*m.BurstDurationMs), within(m.GapLossPercent, 0, 100)/100, float64(*m.GapDurationMs)); ok {
				d.burstR = r
			}
		}
	}
	if jitter == jitter && h.settled() {
		d.jitter.Add(jitter)
		d.moment(h.rules.Choppy(jitter, nan, nan, nan), h.at())
	}
}
