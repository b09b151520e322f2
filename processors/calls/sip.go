package calls

import (
	"strconv"
	"strings"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/processors/rejections"
	"github.com/earshot/earshot/processors/useragent"
	"github.com/earshot/earshot/telemetry"
)

// transferUs is how long after a transfer nothing is concluded about audio.
const transferUs = 10 * second

// maxPtimeMs is the longest packet that is believed (RFC 3551 §4.2 has 200 ms).
const maxPtimeMs = 200

// sip digests one message of the dialog (RFC 3261).
func (h *handler) sip(m *telemetry.SIPMessage) {
	if m == nil {
		return
	}
	c := h.c
	// Retransmissions and captures of the same message by two agents.
	if !c.fresh(hash64(m.Src, m.Dst, m.Method, strconv.Itoa(int(m.Status)), strconv.Itoa(int(m.Cseq)), m.ViaBranch)) {
		return
	}
	h.message(m)
	switch m.Method {
	case "INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER":
	default:
		return // OPTIONS, SUBSCRIBE and the like have a Call-ID and are no call
	}
	h.live()
	c.hasSIP = true
	h.root.hasSIP = true
	h.root.known(m.CallId)
	h.identify(m)
	from := c.sender(m)
	if m.Status == 0 && m.Method != "CANCEL" && m.To.GetTag() != "" && !c.offered() {
		h.connect(h.at()) // a request within a dialog whose beginning was not captured
	}
	if len(m.RtpStats) > 0 {
		h.rtpStats(from, m.RtpStats)
	}
	switch {
	case m.Status == 0 && m.Method == "INVITE":
		h.invite(m, from)
	case m.Status == 0 && m.Method == "CANCEL":
		h.cancel(m)
	case m.Status == 0 && m.Method == "BYE":
		reason := "BYE"
		if len(m.Reasons) > 0 {
			reason = m.Reasons[0]
		}
		h.end(h.at(), c.side(from), 200, reason)
	case m.Status == 0 && m.Method == "REFER":
		h.transfer()
		h.tellTransfer(from)
	case m.Method == "INVITE":
		h.inviteResponse(m, from)
	}
	if m.Sdp != nil && m.Status < 300 {
		h.sdp(from, m)
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// identify learns who calls whom from the first request of the dialog.
func (h *handler) identify(m *telemetry.SIPMessage) {
	c := h.c
	opening := c.inviteTag == ""
	if opening {
		// Getting statistics before signalling, the first leg was taken for the
		// target; if the target turns out to be the callee, the caller is the other.
		calleeOnly := m.Callee.GetUserId() != "" && m.Caller.GetUserId() == ""
		if c.ordinal == 0 && c.targetFixed && m.Status == 0 && m.Method == "INVITE" {
			c.callerParty = c.target
			if calleeOnly {
				c.callerParty = 1 - c.target
			}
		}
		c.inviteTag = m.From.GetTag()
		c.party[c.callerParty].tag = c.inviteTag
		if m.Method == "INVITE" {
			c.startedUs = min(c.startedUs, h.at())
		}
	}
	caller, callee := c.callerParty, 1-c.callerParty
	if m.From.GetTag() == c.inviteTag {
		for _, side := range []struct {
			party    uint8
			identity *telemetry.Identity
			addr     *telemetry.NameAddr
		}{{caller, m.Caller, m.From}, {callee, m.Callee, m.To}} {
			p := &c.party[side.party]
			// A number that is transferred during the call still was whose it was
			// when the call began: later messages say whose it is by now.
			if opening {
				merge(&p.identity, side.identity)
			}
			if side.addr != nil && p.identity.GetNumber() == "" && side.addr.User != "" {
				merge(&p.identity, &telemetry.Identity{Number: side.addr.User, Name: side.addr.Display})
			}
		}
	}
	if c.ordinal == 0 {
		c.settle()
	}
}

// sender gives the party that sent a message, on whichever hop.
func (c *call) sender(m *telemetry.SIPMessage) int {
	caller := int(c.callerParty)
	requester := 1 - caller
	tag := m.From.GetTag()
	if tag == c.inviteTag || tag == c.party[caller].tag ||
		(m.Method == "INVITE" && m.To.GetTag() == "" && m.Status == 0) || m.Method == "CANCEL" {
		requester = caller
	}
	if m.Status == 0 {
		return requester
	}
	return 1 - requester
}

func hostOf(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		return strings.Trim(addr[:i], "[]")
	}
	return addr
}

func (h *handler) invite(m *telemetry.SIPMessage, from int) {
	c := h.c
	if m.UserAgent != "" && c.party[from].userAgent == "" {
		c.party[from].agent(m.UserAgent)
	}
	initial := m.To.GetTag() == ""
	if initial {
		if c.phase == phaseEnded && c.connectedUs == 0 && m.Cseq > c.cseq {
			h.revive()
		}
		c.party[c.callerParty].tag = m.From.GetTag()
		c.cseq = max(c.cseq, m.Cseq)
	}
	if c.transaction(m) != nil {
		return
	}
	if len(c.invites) == maxInvites {
		c.invites = append(c.invites[:0], c.invites[1:]...)
	}
	c.invites = append(c.invites, invite{
		branch: hash64(m.ViaBranch), cseq: m.Cseq, initial: initial, atUs: h.at(),
		from: hash64(hostOf(m.Src)), to: hash64(hostOf(m.Dst)), uri: uriUser(m.RequestUri),
	})
}

func uriUser(uri string) string {
	if i := strings.IndexByte(uri, ':'); i >= 0 {
		uri = uri[i+1:]
	}
	user, _, ok := strings.Cut(uri, "@")
	if !ok {
		return ""
	}
	user, _, _ = strings.Cut(user, ";")
	return user
}

// transaction finds the INVITE that a message belongs to, by branch and CSeq
// (RFC 3261 §17.1.3).
func (c *call) transaction(m *telemetry.SIPMessage) *invite {
	branch := hash64(m.ViaBranch)
	for i := range c.invites {
		if c.invites[i].branch == branch && c.invites[i].cseq == m.Cseq {
			return &c.invites[i]
		}
	}
	return nil
}

// upstream is the first hop on which an attempt was seen.
func (c *call) upstream(cseq uint32) *invite {
	for i := range c.invites {
		if c.invites[i].initial && c.invites[i].cseq == cseq {
			return &c.invites[i]
		}
	}
	return nil
}

func (h *handler) inviteResponse(m *telemetry.SIPMessage, from int) {
	c := h.c
	t := c.transaction(m)
	if t == nil { // its request was not captured
		if len(c.invites) == maxInvites {
			c.invites = append(c.invites[:0], c.invites[1:]...)
		}
		c.invites = append(c.invites, invite{
			branch: hash64(m.ViaBranch), cseq: m.Cseq, initial: c.connectedUs == 0, atUs: h.at(),
			from: hash64(hostOf(m.Dst)), to: hash64(hostOf(m.Src)), uri: m.To.GetUser(),
		})
		t = &c.invites[len(c.invites)-1]
	}
	if m.To.GetTag() != "" {
		t.toTag = m.To.GetTag()
	}
	switch {
	case m.Status < 200:
		if m.Status == 180 {
			t.rang = true
		}
		if m.Status == 180 || m.Status == 183 {
			h.ringing()
		}
	case m.Status < 300:
		t.status = m.Status
		if !t.initial {
			return
		}
		c.party[from].tag = m.To.GetTag()
		if m.UserAgent != "" {
			c.party[from].agent(m.UserAgent)
		}
		if c.cancelled {
			h.revive()
		}
		h.connect(h.at())
		h.adopt()
	default:
		if t.status != 0 {
			return
		}
		t.status = m.Status
		if c.connectedUs != 0 && !t.initial {
			// A refused re-INVITE leaves the call as it was, but for the two
			// that say that the dialog is gone (RFC 3261 §12.2.1.2).
			if m.Status == 481 || m.Status == 408 {
				h.end(h.at(), "system", m.Status, m.ReasonPhrase)
			}
			return
		}
		h.refused(t, m)
	}
}

// refused treats a final status of 300 and above to an initial INVITE.
func (h *handler) refused(t *invite, m *telemetry.SIPMessage) {
	c := h.c
	if rejections.Challenge(m.Status) && m.Status >= 400 {
		return // the caller tries again with the same Call-ID
	}
	h.reject(t, m)
	if c.connectedUs != 0 {
		return // another branch was answered
	}
	up := c.upstream(t.cseq)
	all := true
	for i := range c.invites {
		if v := &c.invites[i]; v.initial && v.cseq == t.cseq && v.status < 300 {
			all = false
		}
	}
	if t != up && !all {
		return
	}
	by := "system"
	switch {
	case up != nil && up.cancelled:
		by = c.side(int(c.callerParty))
	case m.Status >= 400 && m.Status < 500 && m.Status != 408 && m.Status != 487, m.Status >= 600:
		by = c.side(1 - int(c.callerParty))
	}
	reason := m.ReasonPhrase
	if len(m.Reasons) > 0 {
		reason = m.Reasons[0]
	}
	if c.phase == phaseEnded && c.cancelled {
		c.endStatus = m.Status
	}
	h.end(h.at(), by, m.Status, reason)
}

func (h *handler) cancel(m *telemetry.SIPMessage) {
	c := h.c
	t := c.transaction(m)
	if t == nil || t.status != 0 {
		return
	}
	t.cancelled = true
	t.cancelReasons = m.Reasons
	if t == c.upstream(t.cseq) && c.connectedUs == 0 && c.phase == phaseLive {
		reason := "cancelled"
		if len(m.Reasons) > 0 {
			reason = m.Reasons[0]
		}
		h.end(h.at(), c.side(int(c.callerParty)), 0, reason)
		c.cancelled = true
	}
}

// reject makes a rejection of a refused leg. Only the hop that reached the
// agent counts, and each leg once, on however many hops its answer was seen.
func (h *handler) reject(t *invite, m *telemetry.SIPMessage) {
	c := h.c
	for i := range c.invites {
		if v := &c.invites[i]; v != t && v.initial && v.cseq == t.cseq && v.from == t.to && v.to != t.from {
			return // a proxy: what it asked further is the leg
		}
	}
	if c.ordinal == 0 && len(c.dialogs) > 0 {
		return // the legs that the server offered further are refused, or not
	}
	h.rejectLeg(t, m)
}

func (h *handler) rejectLeg(t *invite, m *telemetry.SIPMessage) {
	c := h.c
	leg := rejections.Leg{
		Cancelled: t.cancelled, CancelReasons: t.cancelReasons, Rang: t.rang,
		Status: t.status,
	}
	atUs := c.lastUs
	if m != nil {
		leg.Reasons = m.Reasons
		atUs = h.at()
	}
	answered := false
	for i := range c.invites {
		v := &c.invites[i]
		if v == t || !v.initial {
			continue
		}
		answered = answered || (v.status >= 200 && v.status < 300)
		leg.OtherLegRings = leg.OtherLegRings || (v.status == 0 && v.rang && !v.cancelled && v.uri == t.uri && v.from == t.from)
	}
	for _, other := range h.root.dialogs {
		if other == c {
			continue
		}
		answered = answered || other.connectedUs != 0
		for i := range other.invites {
			v := &other.invites[i]
			leg.OtherLegRings = leg.OtherLegRings || (v.initial && v.status == 0 && v.rang && !v.cancelled && v.uri != "" && v.uri == t.uri)
		}
	}
	reason, refused := rejections.Why(leg)
	if !refused {
		return
	}
	gaveUp := c.ordinal > 0 && !h.root.cancelled // the server, not the caller
	if up := c.upstream(t.cseq); reason == rejections.CallerAbandoned && (gaveUp || up != nil && up != t && !up.cancelled) {
		// A proxy gave this leg up, not the caller.
		switch {
		case answered:
			reason = rejections.AssignedToAnotherOperator
		case t.rang:
			reason = rejections.NoAnswer
		default:
			reason = rejections.Unreachable
		}
	}
	id := t.toTag
	if id == "" || t.status == 0 {
		id = "branch-" + strconv.FormatUint(t.branch, 16)
	}
	raw := strings.Join(append(append([]string{}, t.cancelReasons...), leg.Reasons...), ", ")
	text := ""
	if m != nil {
		text = m.ReasonPhrase
	}
	agent := c.party[1-c.callerParty].identity
	if t.uri != "" && agent.GetNumber() == "" && agent.GetUserId() == "" {
		agent = &telemetry.Identity{Number: t.uri}
	}
	h.rejection(id, false, &telemetry.Rejection{
		AtUs: atUs, Reason: reason, Agent: agent, LegId: id, SipStatus: t.status,
		RawReason: raw, Text: text, Source: "sip",
	})
}

// refuseCancelled counts the legs that were cancelled and whose 487 was never seen.
func (h *handler) refuseCancelled() {
	c := h.c
	for i := range c.invites {
		if t := &c.invites[i]; t.initial && t.cancelled && t.status == 0 {
			h.reject(t, nil)
		}
	}
}

// sdp takes what a party says of its media (RFC 4566, RFC 3264). Of a message that
// comes by on several hops the first copy is the party's own: a proxy with a media
// relay puts its addresses into those that follow, and its own way to encrypt.
func (h *handler) sdp(from int, m *telemetry.SIPMessage) {
	c := h.c
	p := &c.party[from]
	message := uint32(hash64(m.Method, strconv.Itoa(int(m.Cseq)), strconv.Itoa(int(m.Status)), m.From.GetTag(), m.To.GetTag()))
	if message == p.sdpOf {
		p = new(party)
		defer func() {
			own := &c.party[from]
			own.relayed = own.relayed || p.media != "" && own.media != "" && p.media != own.media
		}()
	}
	p.sdpOf = message
	s, isAnswer := m.Sdp, m.Status != 0
	p.hasSDP, p.noAudio, p.fax, p.held = true, true, false, false
	p.sdp = sdpUnknown
	for _, m := range s.Media {
		if m == nil {
			continue
		}
		switch m.Kind {
		case "image":
			p.fax = p.fax || m.Port != 0
		case "audio":
			if m.Port == 0 || !p.noAudio {
				continue
			}
			p.noAudio = false
			p.sdp = sdpDirectionOf(m.Direction)
			// Port 9 stands for candidates that are still to come (RFC 8840 §4.1.1).
			p.held = isUnspecified(m.Address) && m.Port != 9
			p.byDesign = (c.connectedUs == 0 || h.at() <= c.connectedUs) && p.sdp != sdpSendRecv
			p.secure = strings.Contains(m.Protocol, "SAVP")
			p.ptimeMs = min(m.PtimeMs, maxPtimeMs)
			if !isUnspecified(m.Address) {
				p.media = m.Address + ":" + strconv.Itoa(int(m.Port))
				c.learn(address{host: m.Address, rtp: uint16(m.Port), rtcp: uint16(m.RtcpPort), party: uint8(from)})
				if m.RtcpAddress != "" && m.RtcpAddress != m.Address {
					c.learn(address{host: m.RtcpAddress, rtcp: uint16(m.RtcpPort), rtp: uint16(m.RtcpPort), party: uint8(from)})
				}
			}
			for _, cand := range m.Candidates {
				if host, port, ok := splitAddr(cand); ok {
					c.learn(address{host: host, rtp: port, rtcp: port, party: uint8(from)})
				}
			}
			for _, ssrc := range m.Ssrcs {
				c.dir[from].stream(ssrc, h.at())
			}
			first := true
			for _, k := range m.Codecs {
				if k == nil || k.Name == "" || strings.EqualFold(k.Name, "telephone-event") || strings.EqualFold(k.Name, "CN") || strings.EqualFold(k.Name, "red") {
					continue
				}
				clock := k.ClockRate
				if clock == 0 {
					clock = quality.ClockRate(k.PayloadType)
				}
				c.learnCodec(codec{k.PayloadType, k.Name, clock})
				// The answer's first codec is what will be spoken (RFC 3264 §6.1);
				// an offer's is a guess until then.
				if first && (isAnswer || c.codecName == "") {
					c.codecName, c.codecClock = k.Name, clock
				}
				first = false
			}
		}
	}
	h.block()
	if p == &c.party[from] && m.Status == 0 && m.To.GetTag() != "" {
		h.tellHoldOf(from, p)
	}
	if len(c.pending) > 0 && len(c.addresses) > 0 {
		h.release()
	}
}

func sdpDirectionOf(s string) sdpDirection {
	switch s {
	case "sendonly":
		return sdpSendOnly
	case "recvonly":
		return sdpRecvOnly
	case "inactive":
		return sdpInactive
	}
	return sdpSendRecv // the default of RFC 4566 §6
}

func isUnspecified(host string) bool { return host == "0.0.0.0" || host == "::" || host == "0::0" }

func (c *call) learnCodec(k codec) {
	for i := range c.codecs {
		if c.codecs[i].payloadType == k.payloadType {
			c.codecs[i] = k
			return
		}
	}
	if len(c.codecs) == maxCodecs {
		return
	}
	c.codecs = append(c.codecs, k)
}

// learn takes down a media address. The newest word on an address counts.
func (c *call) learn(a address) {
	for i := range c.addresses {
		o := &c.addresses[i]
		if o.host == a.host && o.rtp == a.rtp && o.rtcp == a.rtcp {
			o.party = a.party
			return
		}
	}
	if len(c.addresses) == maxAddresses {
		c.addresses = append(c.addresses[:0], c.addresses[1:]...)
	}
	c.addresses = append(c.addresses, a)
}

func splitAddr(s string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return strings.Trim(s, "[]"), 0, false
	}
	host = s[:i]
	if len(host) > 1 && host[0] == '[' {
		host = strings.Trim(host, "[]")
	}
	var n uint32
	for _, d := range []byte(s[i+1:]) {
		if d < '0' || d > '9' || n > 65535 {
			return host, 0, false
		}
		n = n*10 + uint32(d-'0')
	}
	if n > 65535 {
		return host, 0, false
	}
	return host, uint16(n), true
}

// block looks anew at what may flow in each direction. While something blocks
// a direction its silence is no fault.
func (h *handler) block() {
	// A hold is left out in both directions: the holding side may send music,
	// the held side nothing, and either may stop its RTCP too. Of several dialogs
	// each may hold the whole call.
	hold, noAudio, fax := false, false, false
	for c := range h.root.parts() {
		if c.ordinal > 0 && (c.connectedUs == 0 || c.endedUs != 0) {
			continue
		}
		for i := range c.party {
			p := &c.party[i]
			if p.fax && p.faxUs == 0 {
				p.faxUs = h.at()
			}
			holds := p.heldByApp || p.hasSDP && !p.noAudio && (p.held || !p.byDesign && (p.sdp == sdpSendOnly || p.sdp == sdpInactive))
			if holds && !p.everHeld && c.connectedUs != 0 && h.at() > c.connectedUs {
				p.everHeld, p.heldUs = true, h.at()
			}
			hold = hold || holds || p.hasSDP && !p.byDesign && p.sdp == sdpRecvOnly
			fax = fax || p.fax
			noAudio = noAudio || p.hasSDP && p.noAudio
		}
	}
	for c := range h.root.parts() {
		for d := range c.dir {
			h.of(c).setBlocked(d, hold || fax || noAudio || h.root.party[d].muted || h.root.unexpected(d))
		}
	}
}

func (h *handler) setBlocked(d int, blocked bool) {
	c := h.c
	x := &c.dir[d]
	if blocked == x.blocked {
		return
	}
	x.blocked = blocked
	switch {
	case blocked:
		x.blockedUs = h.at()
	case c.connectedUs != 0:
		x.clearUs, x.srAtRTP = h.at(), x.srSent
	}
	c.resetRuns(d)
}

// transfer leaves the time around a transfer out of every conclusion.
func (h *handler) transfer() {
	h.root.transferUs = h.at()
	for c := range h.root.parts() {
		for d := range c.dir {
			c.dir[d].clearUs = max(c.dir[d].clearUs, h.at()+transferUs)
			c.resetRuns(d)
		}
	}
}

// resetRuns begins anew what was being observed of a direction.
func (c *call) resetRuns(d int) {
	receiver := &c.party[1-d]
	for i := range receiver.reporters {
		receiver.reporters[i].run = [3]run{}
	}
	for i := range c.legs {
		l := &c.legs[i]
		if int(l.party) == 1-d {
			l.zeroSinceUs, l.silentSinceUs, l.silentSpoke = 0, 0, 0
		} else {
			l.sentSinceRIN = 0
		}
	}
}

// agent takes what a party's User-Agent says, once; what its app says of itself
// in getStats is better and stays.
func (p *party) agent(userAgent string) {
	p.userAgent = userAgent
	agent := useragent.Parse(userAgent)
	if p.endpoint == "" && agent.Endpoint != "" {
		p.endpoint, p.appVersion, p.platform = agent.Endpoint, agent.Version, agent.Platform
	}
}
