package calls

import (
	"iter"

	"github.com/earshot/earshot/telemetry"
)

// maxDialogs bounds the dialogs of a call beyond the first, maxSIPCallIDs the
// Call-IDs that a call is found by, maxLinked the calls it is linked with.
const (
	maxDialogs    = 8
	maxSIPCallIDs = 2 * maxDialogs
	maxLinked     = 8
)

// parts gives the call and then its further dialogs.
func (c *call) parts() iter.Seq[*call] {
	return func(yield func(*call) bool) {
		if !yield(c) {
			return
		}
		for _, d := range c.dialogs {
			if !yield(d) {
				return
			}
		}
	}
}

// of is the handler of a part of the call. A part calls its ends as the call does.
func (h *handler) of(part *call) *handler {
	if part == h.c {
		return h
	}
	if part.ordinal > 0 {
		part.target, part.callerParty, part.targetFixed = h.root.target, h.root.callerParty, h.root.targetFixed
		part.lastUs = max(part.lastUs, h.root.lastUs)
	}
	other := *h
	other.c = part
	return &other
}

// known remembers a Call-ID that the call is to be found by.
func (c *call) known(callID string) {
	if callID != "" && !contains(c.sipCallIDs, callID) && len(c.sipCallIDs) < maxSIPCallIDs {
		c.sipCallIDs = append(c.sipCallIDs, callID)
	}
}

// ofCallID is the handler of the dialog with a Call-ID, of the call where it has none.
func (h *handler) ofCallID(callID string) *handler {
	for _, d := range h.root.dialogs {
		if d.sipCallID == callID {
			return h.of(d)
		}
	}
	return h
}

// dialogMessage gives a message to its dialog.
func (h *handler) dialogMessage(m *telemetry.SIPMessage) {
	c := h.root
	switch {
	case m == nil:
	case m.CallId == c.sipCallID || m.CallId == "":
		h.sip(m)
	case c.sipCallID == "":
		if m.Method != "OPTIONS" && m.Method != "SUBSCRIBE" && m.Method != "NOTIFY" {
			c.sipCallID, c.linkedBy, c.linkConfidence = m.CallId, m.LinkedBy, m.LinkConfidence
		}
		h.sip(m)
	default:
		if d := h.ofCallID(m.CallId); d.c != c {
			if m.LinkConfidence > d.c.linkConfidence { // what was a guess is more by now
				d.c.linkedBy, d.c.linkConfidence = m.LinkedBy, m.LinkConfidence
			}
			d.sip(m)
		} else if d := h.begin(m); d != nil {
			d.sip(m)
		} else {
			h.message(m)
		}
	}
}

// begin makes a further dialog of the call. The one that began first is the
// call's own, in whatever order two ingesters write them.
func (h *handler) begin(m *telemetry.SIPMessage) *handler {
	c := h.root
	if m.Method != "INVITE" || len(c.dialogs) == maxDialogs {
		return nil
	}
	d := &call{id: c.id, sipCallID: m.CallId, linkedBy: m.LinkedBy, linkConfidence: m.LinkConfidence}
	if m.Status == 0 && m.To.GetTag() == "" && len(c.dialogs) == 0 && len(c.invites) > 0 && h.at() < c.invites[0].atUs &&
		c.connectedUs == 0 && !c.targetFixed && !c.hasEvents {
		c.yieldTo(d)
		return h
	}
	c.dialogs = append(c.dialogs, d)
	d.ordinal = uint8(len(c.dialogs))
	if m.Status == 0 && c.connectedUs != 0 && replaces(m.Raw) {
		h.tellTransfer(-1)
	}
	return h.of(d)
}

// yieldTo makes what was the call's own dialog a further one, d in its place.
func (c *call) yieldTo(d *call) {
	old := *c
	*c = call{
		id: old.id, phase: old.phase, receivedUs: old.receivedUs, lastUs: old.lastUs, phaseUs: old.phaseUs,
		versionUs: old.versionUs, version: old.version, changed: true, description: old.description, startedUs: old.startedUs,
		hasSIP: old.hasSIP, moments: old.moments, sipCallIDs: append([]string{d.sipCallID}, old.sipCallIDs...), rejected: old.rejected, linked: old.linked,
		sipCallID: d.sipCallID, dialogs: []*call{d},
		pending: old.pending, pendingUs: old.pendingUs,
		publicID: old.publicID,
	}
	linkedBy, confidence := d.linkedBy, d.linkConfidence
	if linkedBy == "" {
		linkedBy, confidence = old.linkedBy, old.linkConfidence
	}
	*d = old
	d.version, d.versionUs, d.sipCallIDs, d.rejected, d.linked, d.pending = 0, 0, nil, nil, nil, nil
	d.publicID, d.moments = "", moments{}
	d.ordinal, d.linkedBy, d.linkConfidence = 1, linkedBy, confidence
	if c.phase == phaseEnded { // the other dialog is, the call has just begun
		c.phase = phaseLive
	}
}

// adopt takes over who answered a further dialog: behind the number that was
// called, and the server, there is a user.
func (h *handler) adopt() {
	c := h.root
	if h.c == c || c.party[1-c.callerParty].identity.GetUserId() != "" {
		return
	}
	merge(&c.party[1-c.callerParty].identity, h.c.party[1-c.callerParty].identity)
	c.settle()
}

// link takes down that another call holds another leg of this one.
func (h *handler) link(l *telemetry.CallLink) {
	c := h.c
	id := telemetry.CallID(l.GetCallKey())
	if l.GetCallKey() == "" || l.GetCallKey() == c.id.key || len(c.linked) == maxLinked {
		return
	}
	for _, known := range c.linked {
		if known.CallId == id {
			return
		}
	}
	h.live()
	c.linked = append(c.linked, &telemetry.LinkedCall{CallId: id, LinkedBy: l.LinkedBy, LinkConfidence: l.LinkConfidence})
}

// refuseSilent counts the legs whose refusal nobody told: those that were
// cancelled without a 487 being seen, and the call itself where none of the legs
// that a server offered says why it was refused.
func (h *handler) refuseSilent() {
	c := h.root
	for part := range c.parts() {
		h.of(part).refuseCancelled()
	}
	if len(c.dialogs) == 0 || len(c.rejected) > 0 || c.connectedUs != 0 {
		return
	}
	for i := range c.invites {
		if t := &c.invites[i]; t.initial && (t.status >= 400 || t.cancelled) && len(c.rejected) == 0 {
			h.rejectLeg(t, nil)
		}
	}
}

// --- media of several dialogs ---

// has says whether signalling gave an address to a party of this dialog.
func (c *call) has(host string, port uint16) bool {
	for i := range c.addresses {
		if a := &c.addresses[i]; a.host == host && (a.rtp == port || a.rtcp == port) {
			return true
		}
	}
	return false
}

// at gives the dialog whose SDP named the addresses of a packet, both before
// one; nil where none did.
func (c *call) at(src, dst string) (found *call) {
	srcHost, srcPort, _ := splitAddr(src)
	dstHost, dstPort, _ := splitAddr(dst)
	for part := range c.parts() {
		s, d := part.has(srcHost, srcPort), part.has(dstHost, dstPort)
		if s && d {
			return part
		}
		if found == nil && (s || d) {
			found = part
		}
	}
	return found
}

// ofPacket is the handler of the dialog that a packet belongs to: that of its
// addresses, then of its SSRC, then the call's own.
func (h *handler) ofPacket(src, dst string, ssrc uint32) *handler {
	c := h.root
	if len(c.dialogs) == 0 {
		return h
	}
	part := c.at(src, dst)
	for p := range c.parts() {
		if part == nil && ssrc != 0 && (p.dir[0].find(ssrc) != nil || p.dir[1].find(ssrc) != nil) {
			part = p
		}
	}
	if part == nil {
		return h
	}
	return h.of(part)
}

// anchored says whether media of a further dialog goes through the server, so
// that it is a segment of its own: else its offer names the caller itself.
func (c *call) anchored(d *call) bool {
	offer := d.party[c.callerParty].media
	if d.connectedUs == 0 || offer == "" {
		return false
	}
	host, port, _ := splitAddr(offer)
	for i := range c.addresses {
		if a := &c.addresses[i]; a.party == c.callerParty && a.host == host && a.rtp == port {
			return false // its own, or that of a relay before the server
		}
	}
	return true
}

// segments are the further dialogs through which audio of the call went.
func (c *call) segments() (out []*call) {
	for _, d := range c.dialogs {
		if c.anchored(d) {
			out = append(out, d)
		}
	}
	return out
}

// middle says whether another dialog goes on from where this one ends.
func (c *call) middle(part *call) bool {
	if len(part.invites) == 0 || part.invites[0].from == part.invites[0].to {
		return false
	}
	for other := range c.parts() {
		if other != part && len(other.invites) > 0 && other.invites[0].from == part.invites[0].to && c.anchored(other) {
			return true
		}
	}
	return false
}

// server says whether party p of a part is the server between two dialogs.
func (c *call) server(part *call, p int) bool {
	caller := p == int(c.callerParty)
	switch {
	case part.ordinal > 0 && caller:
		return true
	case part.ordinal > 0:
		return c.middle(part)
	case caller:
		return false
	}
	for _, d := range c.dialogs {
		if c.anchored(d) {
			return true
		}
	}
	return false
}

// sideOf says which end of the call party p of a part is, or that it is the
// server between two of its dialogs.
func (c *call) sideOf(part *call, p int) string {
	if c.server(part, p) {
		return "server"
	}
	return c.side(p)
}

// witness is the side of a party that reports on media.
func (h *handler) witness(p int) string { return h.root.sideOf(h.c, p) }

// answeredBy is the further dialog that reached who talked in the end: the
// newest that was answered and from which none goes on.
func (c *call) answeredBy() (found *call) {
	for _, d := range c.dialogs {
		if d.connectedUs != 0 && !c.middle(d) && (found == nil || d.connectedUs >= found.connectedUs) {
			found = d
		}
	}
	return found
}
