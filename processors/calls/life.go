package calls

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// handler digests one record of one call.
type handler struct {
	c     *call // or the dialog within it that the record is of
	root  *call // the call
	rules *Rules
	emit  processors.Emit
	rec   *telemetry.Record // nil while time advances
}

func (h *handler) at() int64 { return h.rec.AtUs }

func (h *handler) apply() {
	c := h.c
	if c.phase == phaseGone {
		h.straggler()
		return
	}
	switch b := h.rec.Body.(type) {
	case *telemetry.Record_Sip:
		h.dialogMessage(b.Sip)
	case *telemetry.Record_Rtcp:
		if !h.waits(b.Rtcp.GetSrc(), b.Rtcp.GetDst()) {
			h.ofPacket(b.Rtcp.GetSrc(), b.Rtcp.GetDst(), b.Rtcp.GetSenderSsrc()).rtcp(b.Rtcp)
		}
	case *telemetry.Record_Rtp:
		if !h.waits(b.Rtp.GetSrc(), b.Rtp.GetDst()) {
			h.ofPacket(b.Rtp.GetSrc(), b.Rtp.GetDst(), b.Rtp.GetSsrc()).rtp(b.Rtp)
		}
	case *telemetry.Record_Webrtc:
		h.webrtc(b.Webrtc)
	case *telemetry.Record_Event:
		h.event(b.Event)
	case *telemetry.Record_Vq:
		h.ofCallID(b.Vq.GetCallId()).vq(b.Vq)
	case *telemetry.Record_Link:
		h.link(b.Link)
	}
	h.tell(c.lastUs)
}

// straggler treats what comes for a call that is over and forgotten: a message
// still belongs on its ladder, a rating and a change of recording still count, the
// rest would open the call anew with a fraction of what was known.
func (h *handler) straggler() {
	switch b := h.rec.Body.(type) {
	case *telemetry.Record_Sip:
		h.message(b.Sip)
	case *telemetry.Record_Event:
		h.aside(b.Event)
	}
}

// live says that there is a call.
func (h *handler) live() {
	c := h.c
	if c.phase == phaseNone {
		c.phase, c.phaseUs = phaseLive, h.at()
		c.startedUs = h.at()
	}
	c.changed, h.root.changed = true, true
	if h.root.phase == phaseFinal && h.root.lateUs == 0 {
		h.root.lateUs = h.at()
	}
}

// connect marks the answer: from here on audio is owed in both directions.
func (h *handler) connect(atUs int64) {
	c := h.c
	if c.connectedUs != 0 {
		return
	}
	c.connectedUs = atUs
	if c.startedUs == 0 || atUs < c.startedUs {
		c.startedUs = atUs
	}
	for d := range c.dir {
		if !c.dir[d].blocked {
			c.dir[d].clearUs, c.dir[d].srAtRTP = atUs, c.dir[d].srSent
		}
	}
}

// end marks the end of the call. The verdict waits for the reports of it.
func (h *handler) end(atUs int64, by string, status uint32, reason string) {
	c := h.c
	c.changed, h.root.changed = true, true
	if c.phase == phaseLive {
		h.silentAtEnd(atUs, silentMediaUs)
		if c == h.root {
			c.moments.endBy = h.teller()
		}
		c.phase, c.phaseUs = phaseEnded, max(atUs, c.lastUs)
		c.endedUs, c.endBy, c.endStatus, c.endReason = atUs, by, status, reason
		return
	}
	// A second word on the end: the final status after the CANCEL, the
	// platform's event after the BYE.
	if c.endStatus == 0 {
		c.endStatus = status
	}
	if c.endReason == "" {
		c.endReason = reason
	}
	if c.endBy == "" || c.endBy == "system" {
		c.endBy = by
	}
}

// revive takes back an end that was none: an answer crossed the CANCEL, or the
// caller tried again after a redirection.
func (h *handler) revive() {
	c := h.c
	if c.phase != phaseEnded {
		return
	}
	c.phase, c.phaseUs = phaseLive, h.at()
	c.endedUs, c.endBy, c.endStatus, c.endReason, c.cancelled = 0, "", 0, "", false
}

// advance does what is due; true where the call can be forgotten.
func (h *handler) advance(nowUs int64) bool {
	c := h.c
	h.tellRejected(nowUs)
	switch c.phase {
	case phaseNone:
		return true
	case phaseLive:
		if len(c.pending) > 0 && nowUs >= c.pendingUs+pendingMaxUs {
			h.release()
		}
		if nowUs >= c.lastUs+c.idleUs() {
			h.silenceEnds(nowUs)
			h.tell(nowUs)
			return false
		}
		h.tell(nowUs)
		if c.changed && nowUs >= max(c.versionUs+provisionalUs, c.startedUs) {
			h.version(nowUs, false)
		}
	case phaseEnded:
		if nowUs >= c.phaseUs+graceUs {
			h.finalise(nowUs)
		} else {
			h.tell(nowUs)
		}
	case phaseFinal:
		if c.changed {
			h.version(nowUs, true)
		}
		if nowUs >= c.phaseUs+lateUs {
			gone := call{
				id: c.id, phase: phaseGone, phaseUs: nowUs, receivedUs: c.receivedUs,
				lastUs: c.lastUs, versionUs: c.versionUs, version: c.version,
			}
			*c = gone
		}
	case phaseGone:
		return nowUs >= c.phaseUs+goneUs
	}
	return false
}

// silenceEnds ends a call that nobody ended: nothing was heard of it for long.
func (h *handler) silenceEnds(nowUs int64) {
	c := h.c
	reason := "nothing more was heard of the call"
	if !c.hasSIP && !c.hasEvents {
		reason = "reports stopped"
	}
	h.silentAtEnd(c.lastUs, silentLeftUs)
	c.phase, c.phaseUs = phaseEnded, nowUs
	c.endedUs, c.endBy, c.endReason = c.lastUs, "system", reason
	c.moments.endBy = tellerEarshot
	c.changed = true
}

func (h *handler) finalise(nowUs int64) {
	c := h.c
	if len(c.pending) > 0 {
		h.release()
	}
	h.refuseSilent()
	c.phase, c.phaseUs = phaseFinal, nowUs
	h.tellRejected(math.MaxInt64)
	h.tell(nowUs)
	h.version(nowUs, true)
}

// close ends the call with its timeline.
func (h *handler) close(atUs int64) {
	c := h.c
	nowUs := max(atUs, c.lastUs)
	switch c.phase {
	case phaseLive:
		if len(c.pending) > 0 {
			h.release()
		}
		h.silentAtEnd(c.lastUs, silentLeftUs)
		c.phase, c.endedUs, c.endBy = phaseEnded, c.lastUs, "system"
		c.moments.endBy = tellerEarshot
		c.endReason = "the capture ends here"
		if !c.hasSIP && !c.hasEvents {
			c.endReason = "reports stopped"
		}
		h.finalise(nowUs)
	case phaseEnded:
		h.finalise(nowUs)
	case phaseFinal:
		if c.changed {
			h.version(nowUs, true)
		}
	}
}

// --- outcomes ---

func (h *handler) outcome(o *telemetry.Outcome) {
	c := h.root
	o.Company = c.id.company
	if c.publicID == "" {
		c.publicID = telemetry.CallID(c.id.key)
	}
	o.CallId = c.publicID
	o.Timeline = c.id.timeline
	o.ReceivedUs = c.receivedUs
	if h.rec != nil {
		o.ReceivedUs = h.rec.ReceivedUs
	}
	h.emit(o)
}

func (h *handler) message(m *telemetry.SIPMessage) {
	h.outcome(&telemetry.Outcome{
		AtUs:   h.at(),
		Source: h.rec.Source,
		Body:   &telemetry.Outcome_Message{Message: m},
	})
}

// sampleBox holds a sample, its outcome and its optional values in one piece of
// memory: samples are most of what a machine makes.
type sampleBox struct {
	outcome telemetry.Outcome
	body    telemetry.Outcome_Sample
	sample  telemetry.Sample
	values  [10]float64
	used    int
	packets [2]uint32
	lost    int32
}

// value gives the optional for v, nil where v is not known.
func (b *sampleBox) value(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	b.values[b.used] = v
	b.used++
	return &b.values[b.used-1]
}

// count gives the optional for a number of packets, nil where it is not known.
func (b *sampleBox) count(i int, v float64) *uint32 {
	if !(v >= 0) || v > math.MaxUint32 {
		return nil
	}
	b.packets[i] = uint32(v)
	return &b.packets[i]
}

func (b *sampleBox) lostCount(v float64) *int32 {
	if math.IsNaN(v) || math.Abs(v) > math.MaxInt32 {
		return nil
	}
	b.lost = int32(v)
	return &b.lost
}

// sample begins a sample by a witness about the direction that sender sends.
func (h *handler) sample(kind source, sender int, side, legID string) *sampleBox {
	b := &sampleBox{}
	h.root.targetFixed = true
	b.sample.AtUs = h.at()
	b.sample.LegId = legID
	b.sample.Side = side
	b.sample.Source = sourceNames[kind]
	b.sample.Direction = h.c.directionName(sender)
	return b
}

func (h *handler) emitSample(b *sampleBox) {
	b.body.Sample = &b.sample
	b.outcome.Body = &b.body
	h.outcome(&b.outcome)
}

// --- names ---

// side says which end of the call a party is.
func (c *call) side(p int) string {
	if p == int(c.target) {
		return "target"
	}
	return "contact"
}

func (c *call) directionName(sender int) string {
	if sender == int(c.target) {
		return "target_to_contact"
	}
	return "contact_to_target"
}

// sipLeg is the id of the leg that signalling gives to a party.
func (c *call) sipLeg(p int) string {
	name := "callee"
	if p == int(c.callerParty) {
		name = "caller"
	}
	if c.ordinal > 0 {
		name += "-" + strconv.Itoa(int(c.ordinal)+1)
	}
	return name
}

func (c *call) number(p int) string {
	id := c.party[p].identity
	if id.GetNumber() != "" {
		return id.GetNumber()
	}
	return id.GetUserId()
}

// codecOf gives name and clock of a payload type, of the negotiated codec where
// the type is not known.
func (c *call) codecOf(payloadType uint32, known bool) (string, uint32) {
	if known {
		for i := range c.codecs {
			if c.codecs[i].payloadType == payloadType {
				return c.codecs[i].name, c.codecs[i].clockRate
			}
		}
		if rate := quality.ClockRate(payloadType); rate != 0 {
			return quality.StaticCodec(payloadType), rate
		}
	}
	return c.codecName, c.codecClock
}

// fresh remembers a hash and says whether it is new.
func (c *call) fresh(hash uint64) bool {
	for _, s := range c.seen {
		if s == hash {
			return false
		}
	}
	if len(c.seen) < maxSeen {
		c.seen = append(c.seen, hash)
		return true
	}
	c.seen[c.seenNext] = hash
	c.seenNext = (c.seenNext + 1) % maxSeen
	return true
}

// --- who is who ---

func merge(into **telemetry.Identity, id *telemetry.Identity) {
	if id == nil {
		return
	}
	if *into == nil {
		*into = proto.Clone(id).(*telemetry.Identity)
		return
	}
	fill := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	to := *into
	// An identity of another user is another identity: keep the first.
	if to.UserId != "" && id.UserId != "" && to.UserId != id.UserId {
		return
	}
	fill(&to.UserId, id.UserId)
	fill(&to.Name, id.Name)
	fill(&to.Number, id.Number)
	fill(&to.DeviceId, id.DeviceId)
	fill(&to.DepartmentId, id.DepartmentId)
	fill(&to.OfficeId, id.OfficeId)
	fill(&to.ContactCenterId, id.ContactCenterId)
}

// settle decides who the target is and which way the call went.
func (c *call) settle() {
	caller, callee := int(c.callerParty), 1-int(c.callerParty)
	callerIsUser := c.party[caller].identity.GetUserId() != ""
	calleeIsUser := c.party[callee].identity.GetUserId() != ""
	if !c.targetFixed {
		switch {
		case calleeIsUser && !callerIsUser:
			c.target = uint8(callee)
		case !calleeIsUser && !callerIsUser && c.direction == "inbound":
			c.target = uint8(callee)
		case c.hasSIP || callerIsUser:
			c.target = uint8(caller)
		}
	}
	if c.direction == "" || c.hasSIP {
		switch {
		case callerIsUser && calleeIsUser:
			c.direction = "internal"
		case callerIsUser:
			c.direction = "outbound"
		case calleeIsUser:
			c.direction = "inbound"
		}
	}
}

// --- RTCP and RTP that came before their SDP ---

// waits keeps a packet until signalling says whose it is. True where it waits.
func (h *handler) waits(src, dst string) bool {
	c := h.c
	if len(c.addresses) > 0 || strings.HasPrefix(c.id.key, "rtcp:") || c.at(src, dst) != nil {
		return false
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(h.rec)
	if err != nil {
		return false
	}
	if len(c.pending) == 0 {
		c.pendingUs = h.at()
	}
	c.pending = append(c.pending, b)
	h.live()
	if len(c.pending) >= maxPending {
		h.release()
	}
	return true
}

// release digests the packets that waited. Where nothing told whose they are,
// the sender of the first is party 0.
func (h *handler) release() {
	c := h.c
	waiting := c.pending
	c.pending, c.pendingUs = nil, 0
	saved := h.rec
	for _, b := range waiting {
		var r telemetry.Record
		if proto.Unmarshal(b, &r) != nil {
			continue
		}
		h.rec = &r
		switch body := r.Body.(type) {
		case *telemetry.Record_Rtcp:
			h.ofPacket(body.Rtcp.GetSrc(), body.Rtcp.GetDst(), body.Rtcp.GetSenderSsrc()).rtcp(body.Rtcp)
		case *telemetry.Record_Rtp:
			h.ofPacket(body.Rtp.GetSrc(), body.Rtp.GetDst(), body.Rtp.GetSsrc()).rtp(body.Rtp)
		}
	}
	h.rec = saved
}
