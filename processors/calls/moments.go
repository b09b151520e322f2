package calls

import (
	"bytes"
	"math"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// Moments are the events of a call as others are told of them. The platform and
// signalling often tell the same one: whoever is first has told it, and the word of
// the other changes nothing but the reason of a refusal. Started, ringing,
// connected and ended come once per call; held, muted and transferred as often as
// they happen. They are emitted in the order in which they become known, which is
// that of their times unless one was told late. Nothing is told of a call before
// its start is.
const (
	// refusalUs is how long a refusal that signalling shows waits for the
	// platform's word, which says better why.
	refusalUs = 2 * second
	// unseenUs is how long a call waits for the word of its start, where something
	// else is the first that is heard of it: the sources race each other.
	unseenUs = 2 * second
	// maxAgain bounds the holds, mutes, transfers and changes of recording that are
	// told of one call.
	maxAgain = 1000
)

// moments are which of a call were emitted.
type moments struct {
	once  uint8 // bits of those that come once
	endBy teller

	startUs int64  // until when the start is waited for; 0: it is not, or it was told
	startBy teller // of what the call was first heard by meanwhile

	again       uint32 // how many of those that come again
	held        uint8  // by party 0, by party 1, by one that nobody named
	heldSDP     uint8  // by party, as the newest offers of this dialog say
	heldUs      int64  // when that last changed
	mutedUs     [2]int64
	transferBy  teller // of the newest transfer
	transferred int64
}

const (
	onceStarted uint8 = 1 << iota
	onceRinging
	onceConnected
	onceEnded
)

const heldBySomebody = 1 << 2

// teller is who told of a moment.
type teller uint8

const (
	tellerEarshot teller = iota
	tellerEvent
	tellerSIP
	tellerWebRTC
	tellerRTCP
	tellers
)

var tellerNames = [tellers]string{"earshot", "event", "sip", "webrtc", "rtcp"}

func (t *moments) code(x *coder) {
	x.u8(&t.once)
	x.u8((*uint8)(&t.endBy))
	x.block(func() {
		x.time(&t.startUs)
		x.u8((*uint8)(&t.startBy))
		x.u32(&t.again)
		x.u8(&t.held)
		x.u8(&t.heldSDP)
		x.time(&t.heldUs)
		for p := range t.mutedUs {
			x.time(&t.mutedUs[p])
		}
		x.u8((*uint8)(&t.transferBy))
		x.time(&t.transferred)
	})
	t.startBy %= tellers
	t.endBy %= tellers
	t.transferBy %= tellers
}

// teller is who told the record.
func (h *handler) teller() teller {
	switch h.rec.GetBody().(type) {
	case *telemetry.Record_Event:
		return tellerEvent
	case *telemetry.Record_Sip:
		return tellerSIP
	case *telemetry.Record_Webrtc:
		return tellerWebRTC
	case *telemetry.Record_Rtcp, *telemetry.Record_Rtp, *telemetry.Record_Vq:
		return tellerRTCP
	}
	return tellerEarshot
}

// ringing marks that somebody's phone rings.
func (h *handler) ringing() {
	if h.c.ringingUs == 0 {
		h.c.ringingUs = h.at()
	}
	if c := h.root; c.ringingUs == 0 && c.connectedUs == 0 {
		c.ringingUs = h.at()
	}
}

// tell emits what happened once and was not told yet.
func (h *handler) tell(nowUs int64) {
	c := h.root
	if c.phase == phaseNone || c.phase == phaseGone || c.moments.once&onceStarted == 0 && !h.tellStart(nowUs) {
		return
	}
	callee := 1 - int(c.callerParty)
	if c.ringingUs != 0 && c.moments.once&onceRinging == 0 {
		h.once(onceRinging, &telemetry.CallMoment{Type: "ringing", AtUs: c.ringingUs}, callee)
	}
	if c.connectedUs != 0 && c.moments.once&onceConnected == 0 {
		h.once(onceConnected, &telemetry.CallMoment{Type: "connected", AtUs: c.connectedUs}, callee)
	}
	// The end of a call that nobody answered may be taken back until it is final.
	if c.endedUs != 0 && c.moments.once&onceEnded == 0 && (c.connectedUs != 0 || c.phase >= phaseFinal) {
		p := -1
		switch c.endBy {
		case c.side(0):
			p = 0
		case c.side(1):
			p = 1
		}
		h.once(onceEnded, &telemetry.CallMoment{
			Type: "ended", AtUs: c.endedUs, Reason: c.endReason, SipStatus: c.endStatus, Side: c.endBy, Source: tellerNames[c.moments.endBy],
		}, p)
	}
}

// tellStart tells that the call has begun, false where that waits.
func (h *handler) tellStart(nowUs int64) bool {
	c := h.root
	if !c.hasSIP && !c.hasEvents && !c.hasStats && !c.hasMedia && len(c.rejected) == 0 && c.phase < phaseFinal {
		return false // packets that wait for their SDP, or the name of another call
	}
	seen := c.offered() || h.rec.GetEvent().GetType() == "started" || c.phase >= phaseFinal
	if !seen && c.moments.startUs == 0 {
		c.moments.startUs, c.moments.startBy = c.lastUs+unseenUs, h.teller()
	}
	if !seen && nowUs < c.moments.startUs {
		return false
	}
	c.moments.startUs = 0
	h.once(onceStarted, &telemetry.CallMoment{Type: "started", AtUs: c.startedUs}, int(c.callerParty))
	return true
}

func (h *handler) once(bit uint8, m *telemetry.CallMoment, p int) {
	h.root.moments.once |= bit
	if m.Source == "" && h.rec == nil {
		m.Source = tellerNames[h.root.moments.startBy]
	}
	h.moment(m, p, "")
}

// again emits a moment that may come again, of the time of the record.
func (h *handler) again(m *telemetry.CallMoment, p int, what string) {
	t := &h.root.moments
	if t.again >= maxAgain {
		return
	}
	t.again++
	h.tell(math.MaxInt64) // the call has begun
	m.AtUs = h.at()
	h.moment(m, p, strconv.FormatInt(m.AtUs, 10)+"\x00"+strconv.Itoa(p)+"\x00"+what)
}

// moment emits a moment that party p is the agent of, -1 for nobody that is known.
// What tells it from others of its type in the call is what.
func (h *handler) moment(m *telemetry.CallMoment, p int, what string) {
	c := h.root
	if e := h.rec.GetEvent(); e.GetType() == m.Type && m.Type != "rejected" {
		m.Agent, m.Text = cloneIdentity(e.Subject), e.Text
		if m.Side == "" {
			m.Side = e.Side
		}
	}
	if p >= 0 {
		if m.Agent == nil {
			m.Agent = cloneIdentity(c.party[p].identity)
		}
		if m.Side == "" {
			m.Side = c.side(p)
		}
	}
	if m.Source == "" {
		m.Source = tellerNames[h.teller()]
	}
	m.Id = shortID(c.id.company, c.id.timeline, c.id.key, "moment", m.Type, what)
	m.Direction = c.directionOut()
	m.Target, m.Contact = cloneIdentity(c.party[c.target].identity), cloneIdentity(c.party[1-c.target].identity)
	if m.Target == nil && m.Contact == nil { // of a call that is over, the platform says it again
		e := h.rec.GetEvent()
		m.Target, m.Contact = cloneIdentity(e.GetFrom()), cloneIdentity(e.GetTo())
		if e.GetDirection() != "" {
			m.Direction = e.Direction
		}
		if m.Direction == "inbound" {
			m.Target, m.Contact = m.Contact, m.Target
		}
	}
	h.outcome(&telemetry.Outcome{AtUs: m.AtUs, Body: &telemetry.Outcome_Moment{Moment: m}})
}

func cloneIdentity(id *telemetry.Identity) *telemetry.Identity {
	if id == nil {
		return nil
	}
	return proto.Clone(id).(*telemetry.Identity)
}

// tellHoldOf tells of a hold that a party's offer begins or ends. A party that
// answers to a hold, or repeats what is in force, changes nothing.
func (h *handler) tellHoldOf(p int, offer *party) {
	t := &h.c.moments
	if offer.noAudio || h.c.connectedUs == 0 {
		return
	}
	bit, other := uint8(1)<<p, uint8(1)<<(1-p)
	holds := offer.held || !offer.byDesign && (offer.sdp == sdpSendOnly || offer.sdp == sdpInactive && t.heldSDP&other == 0)
	if holds == (t.heldSDP&bit != 0) {
		return
	}
	t.heldSDP ^= bit
	h.tellHold(p, holds)
}

// tellHold tells that party p holds the call or resumes it; -1 for one of them.
func (h *handler) tellHold(p int, holds bool) {
	t := &h.root.moments
	if h.at() < t.heldUs {
		return // late, and of what was told since
	}
	was := t.held
	mine := uint8(heldBySomebody)
	if p >= 0 {
		mine |= 1 << p
	} else {
		mine = 0xff
	}
	known := was&mine != 0
	switch {
	case !holds:
		t.held &^= mine
	case p >= 0:
		t.held = was&^heldBySomebody | 1<<p
	case was == 0:
		t.held = heldBySomebody
	}
	if known == holds && (t.heldUs != 0 || h.teller() != tellerEvent) {
		return
	}
	t.heldUs = h.at()
	m := &telemetry.CallMoment{Type: "resumed"}
	if holds {
		m.Type = "held"
	}
	h.again(m, p, "")
}

// tellMute tells that party p was muted or is heard again. False where something
// newer was told.
func (h *handler) tellMute(p int, muted bool) bool {
	t := &h.root.moments
	if h.at() < t.mutedUs[p] {
		return false
	}
	first := t.mutedUs[p] == 0
	t.mutedUs[p] = h.at()
	if h.c.party[p].muted == muted && (!first || h.teller() != tellerEvent) {
		return true
	}
	m := &telemetry.CallMoment{Type: "unmuted"}
	if muted {
		m.Type = "muted"
	}
	h.again(m, p, "")
	return true
}

// tellTransfer tells of a transfer by party p, -1 where nobody says by whom. What
// signalling shows within transferUs of one that was told is that one, on another
// hop or in another dialog, and so is what the platform says once of one that
// signalling showed.
func (h *handler) tellTransfer(p int) {
	t := &h.root.moments
	by := h.teller()
	away := h.at() - t.transferred
	if t.transferred != 0 && away <= transferUs && away >= -transferUs && (by == tellerSIP || t.transferBy != by) {
		t.transferBy = by
		return
	}
	t.transferred, t.transferBy = h.at(), by
	id := ""
	if e := h.rec.GetEvent(); e != nil {
		id = e.Id
	}
	h.again(&telemetry.CallMoment{Type: "transferred"}, p, id)
}

// replaces says whether a request has a Replaces header (RFC 3891): it takes the
// place of a party that is being transferred.
func replaces(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return false
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(bytes.TrimSpace(name), []byte("Replaces")) {
			return true
		}
	}
	return false
}

// tellRejected tells the refusals whose time has come.
func (h *handler) tellRejected(nowUs int64) {
	c := h.root
	for i := range c.rejected {
		if at := c.rejected[i].tellUs; at != 0 && at <= nowUs {
			h.tellRefusal(&c.rejected[i])
		}
	}
}

// tellRefusal tells that a leg was refused.
func (h *handler) tellRefusal(r *rejection) {
	r.tellUs = 0
	h.tell(math.MaxInt64)
	out := r.out
	h.moment(&telemetry.CallMoment{
		Type: "rejected", AtUs: out.AtUs, Agent: cloneIdentity(out.Agent), Side: h.root.side(1 - int(h.root.callerParty)),
		Reason: out.Reason, Text: out.Text, LegId: out.LegId, SipStatus: out.SipStatus, Source: out.Source,
	}, -1, out.Id)
}

func (h *handler) tellRating(e *telemetry.CallEvent, id string) {
	h.moment(&telemetry.CallMoment{Type: "rated", AtUs: h.at(), Rating: e.Rating}, -1, id)
}

func (h *handler) tellRecording(e *telemetry.CallEvent) {
	if h.root.phase != phaseGone {
		h.tell(h.root.lastUs)
	}
	h.moment(&telemetry.CallMoment{Type: "recording_changed", AtUs: h.at(), Reason: e.Reason, RecordingEnabled: proto.Bool(e.RecordingEnabled)}, -1, e.Id)
}

// tellVerdict tells of a final verdict in short.
func (h *handler) tellVerdict(v *telemetry.Verdict) {
	h.moment(&telemetry.CallMoment{Type: "verdict", AtUs: v.ComputedUs, Source: tellerNames[tellerEarshot], Verdict: &telemetry.MomentVerdict{
		Version: v.Version, Overall: v.Overall, OneWayState: v.OneWayAudio.GetState(), OneWayDirection: v.OneWayAudio.GetDirection(), FaultSide: v.FaultSide,
	}}, -1, strconv.FormatUint(uint64(v.Version), 10))
}
