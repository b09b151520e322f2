package ingest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/earshot/earshot/telemetry"
)

// Call names a call: whose it is and its key.
type Call struct {
	Company string
	Key     string
}

// MediaPacket is what ties an RTCP packet, an RTP stream or a quality report to
// a call.
type MediaPacket struct {
	Src, Dst netip.AddrPort
	// SSRCs are those that the packet is from or about.
	SSRCs []uint32
}

// Correlator finds the call of media telemetry by the addresses that SDP
// announced, and lets telemetry wait that comes before its SDP. It knows no
// clock: every method is told the time of the timeline it works for, in Unix
// microseconds, and the same calls of its methods give the same results. It is
// not safe for concurrent use.
//
// Addresses live in scopes: two agents in different companies may see the same
// private address and mean different phones.
type Correlator struct {
	waiting  WaitingConfig
	bindings BindingsConfig
	scopes   map[string]*scope
	links    *linker
	// foreign holds the calls of companies that are told from their scope by the
	// SIP domain only.
	foreign map[linkKey]*boundCall

	// clock holds known calls in the order in which they are to be looked at
	// again: the hand of a clock that removes what is over or idle.
	clock queue[*boundCall]
	over  queue[*boundCall]
	room  queue[*waiter]

	waitingNow  int // members of room that are not placed
	goneInClock int // members of clock that are forgotten
	stats       CorrelatorStats

	announced []announcement // of the SDP at hand
	text      []byte         // scratch
}

// CorrelatorStats counts what became of media telemetry since the start.
type CorrelatorStats struct {
	BySource, ByDestination, BySSRC uint64 // found by
	Waited                          uint64 // had to wait for its SDP
	Released                        uint64 // and was placed when that came
	ReleasedShared                  uint64 // of these, when another ingester told
	Learned                         uint64 // addresses learned from packets, behind a NAT
	Expired                         uint64 // became a call of its own, its time being over
	Evicted                         uint64 // became a call of its own early, the room being full
	CallsEvicted                    uint64 // calls forgotten early, there being too many
	Linked                          [len(linkReasons)]uint64
	LateLinks                       uint64 // legs recognised when both had records
	Ambiguous                       uint64 // guesses not made, there being several candidates
	LinksRefused                    uint64 // links not made, the call having too many legs
	Waiting                         int    // waits now
	OldestUs                        int64  // since when the oldest waits; 0: none does
	Calls                           int    // calls known now
}

type scope struct {
	calls     map[string]*boundCall
	addresses map[netip.AddrPort]*binding
	ssrcs     map[uint32]*boundCall
	heard     map[uint32]*boundCall // SSRCs that packets of a call had, which no SDP named
	waitAddr  map[netip.AddrPort][]*waiter
	waitSSRC  map[uint32][]*waiter
	// own holds address pairs that never got an SDP: the calls of their own.
	own map[addrPair]*boundCall
}

type boundCall struct {
	Call
	scope     *scope
	name      string // key in scope.calls; empty for one of its own
	sinceUs   int64  // first heard of
	usedUs    int64
	checkedUs int64 // the clock's hand was here
	overUs    int64 // 0: not over
	answered  bool  // from then on only BYE ends it, no refused re-INVITE
	addresses []netip.AddrPort
	ssrcs     []uint32
	heard     []uint32
	peers     []peer     // learned
	pairs     []addrPair // of one of its own
	gone      bool
	leg       leg   // of those with a name
	group     group // where it is the first leg

	// Room for the addresses of most calls: RTP and RTCP of two sides.
	firstAddresses [4]netip.AddrPort
	firstBindings  [4]binding
}

type binding struct {
	call *boundCall
	kind string // audio, video, image
	// before is whose the address was until this call took it over.
	before *boundCall
	// learnedUs is when the newest packet told of an address that no SDP named.
	learnedUs int64
}

// peer is where the far end of a call's address really is: behind a NAT that
// gives every destination another port (RFC 4787 §4.1) its SDP does not say so.
type peer struct{ at, of netip.AddrPort }

// maxHeard bounds the SSRCs that are learned of a call, maxPeers the addresses.
const (
	maxHeard = 4
	maxPeers = 8
)

// learnedIdle is how long a learned address counts without a packet from it.
const learnedIdle = int64(60e6)

type addrPair struct{ a, b netip.AddrPort }

type waiter struct {
	scope  *scope
	packet MediaPacket
	record *Held
	dueUs  int64
	placed bool
}

// Held is a record that waits, or waited, for its call: encoded but for that.
type Held struct {
	Company, CallKey string

	record []byte
	from   *origin
	tally  *Tally
}

// NewCorrelator gives an empty Correlator.
func NewCorrelator(waiting WaitingConfig, bindings BindingsConfig, correlation CorrelationConfig) *Correlator {
	c := &Correlator{waiting: waiting, bindings: bindings, scopes: map[string]*scope{}, foreign: map[linkKey]*boundCall{}}
	c.links = newLinker(correlation, func(company, callID string) *leg {
		if b := c.named(company, callID); b != nil {
			return &b.leg
		}
		return nil
	})
	return c
}

// named gives the call of a company that has a leg of this Call-ID or name.
func (c *Correlator) named(company, name string) *boundCall {
	if s := c.scopes[company]; s != nil {
		if b := s.calls[name]; b != nil && b.Company == company {
			return b
		}
	}
	if len(c.foreign) == 0 {
		return nil
	}
	return c.foreign[linkKey{company, name}]
}

// Stats is what was counted up to now.
func (c *Correlator) Stats() CorrelatorStats {
	s := c.stats
	s.Waiting = c.waitingNow
	s.Calls = c.clock.len() - c.goneInClock
	for c.room.len() > 0 && c.room.front().placed {
		c.room.pop()
	}
	if c.room.len() > 0 {
		s.OldestUs = c.room.front().dueUs - c.waiting.For.Microseconds()
	}
	s.Linked, s.LateLinks, s.Ambiguous, s.LinksRefused = c.links.linked, c.links.late, c.links.ambiguous, c.links.refused
	return s
}

func (c *Correlator) scope(name string) *scope {
	s := c.scopes[name]
	if s == nil {
		s = &scope{calls: map[string]*boundCall{}, addresses: map[netip.AddrPort]*binding{}, ssrcs: map[uint32]*boundCall{}, heard: map[uint32]*boundCall{},
			waitAddr: map[netip.AddrPort][]*waiter{}, waitSSRC: map[uint32][]*waiter{}, own: map[addrPair]*boundCall{}}
		c.scopes[name] = s
	}
	return s
}

// announcement is what one SDP says about where media will be.
type announcement struct {
	address netip.AddrPort
	kind    string
	clock   uint32
}

// announced lists the addresses of an SDP: of RTP, of RTCP and of ICE
// candidates. Rejected media (port 0), hold by 0.0.0.0 and the discard port of
// ICE name no address.
func announced(sdp *telemetry.SDP, into []announcement) (addresses []announcement, ssrcs []uint32) {
	addresses = into
	for _, m := range sdp.GetMedia() {
		if m.Port == 0 {
			continue
		}
		clock := uint32(0)
		if len(m.Codecs) > 0 {
			clock = m.Codecs[0].ClockRate
		}
		add := func(host string, port uint32) {
			ip, err := netip.ParseAddr(host)
			if err != nil || ip.IsUnspecified() || port == 0 || port == 9 || port > 65535 {
				return
			}
			addresses = append(addresses, announcement{netip.AddrPortFrom(ip.Unmap(), uint16(port)), m.Kind, clock})
		}
		add(m.Address, m.Port)
		if !m.RtcpMux && m.RtcpPort != 0 {
			host := m.RtcpAddress
			if host == "" {
				host = m.Address
			}
			add(host, m.RtcpPort)
		}
		// An offer of rtcp-mux may be declined: then RTCP goes to the next port.
		if m.RtcpMux || m.RtcpPort == 0 {
			add(m.Address, m.Port+1)
		}
		for _, candidate := range m.Candidates {
			if ap, err := netip.ParseAddrPort(candidate); err == nil {
				add(ap.Addr().String(), uint32(ap.Port()))
			}
		}
		if m.Kind == "audio" {
			ssrcs = append(ssrcs, m.Ssrcs...)
		}
	}
	return addresses, ssrcs
}

// isCall reports whether messages of this method belong to calls. Others have
// Call-IDs too, but no media.
func isCall(method string) bool {
	switch method {
	case "INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER":
		return true
	}
	return false
}

// ends reports whether the message ends its call: BYE or, before an answer, a
// final refusal. A challenge and 422 are followed by another attempt.
func ends(m *telemetry.SIPMessage, answered bool) bool {
	switch m.Method {
	case "BYE":
		return true
	case "INVITE":
		return !answered && m.Status >= 300 && m.Status != 401 && m.Status != 407 && m.Status != 422
	}
	return false
}

// Sighting is what became of a SIP message.
type Sighting struct {
	Call     Call
	LinkedBy string // why its dialog belongs to the call of another; empty: it does not
	// Written along: records that waited for what the message announces, and
	// records that tell calls of each other.
	Released []*Held
	Fresh    []*telemetry.Binding // for other ingesters
}

// SIP takes note of a message. call is what it names itself: its Call-ID.
func (c *Correlator) SIP(scopeName string, call Call, m *telemetry.SIPMessage, nowUs int64) Sighting {
	seen := Sighting{Call: call}
	if m.CallId == "" || m.Method == "REGISTER" {
		return seen
	}
	s := c.scope(scopeName)
	b := s.calls[m.CallId]
	if !isCall(m.Method) {
		if b != nil && b.Company == call.Company {
			seen.Call, seen.LinkedBy = b.Call, b.leg.by
		}
		return seen
	}
	introduced := b == nil
	if introduced {
		b = c.newCall(s, call, m.CallId, nowUs)
	}
	said := c.links.read(&b.leg, m, introduced)
	if introduced {
		if other, by := c.links.find(&b.leg, &said, nowUs); other != nil {
			c.joinCall(b, other, by)
		}
	}
	b.usedUs = nowUs
	if b.Company == call.Company {
		seen.Call, seen.LinkedBy = b.Call, b.leg.by
		keys, clashes := c.links.note(&b.leg, m, &said, nowUs)
		if len(keys) > 0 || introduced && b.leg.by != "" {
			seen.Fresh = append(seen.Fresh, &telemetry.Binding{Company: b.Company, CallKey: b.Key, CallId: b.name, AtUs: nowUs, Scope: scopeName,
				LinkedBy: b.leg.by, LinkKeys: keys})
		}
		for _, other := range clashes {
			seen.Released = c.tell(seen.Released, b, other, nowUs)
		}
	}
	if m.Sdp != nil {
		c.bind(s, scopeName, b, m.Sdp, nowUs, &seen)
	}
	if m.Method == "INVITE" && m.Status >= 200 && m.Status < 300 {
		b.answered = true
	}
	switch {
	case ends(m, b.answered) && b.overUs == 0:
		b.overUs, b.leg.over = nowUs, true
		c.over.push(b)
		c.unlearn(b)
	case m.Method == "INVITE" && m.Status == 0 && b.overUs != 0 && !b.answered:
		b.overUs, b.leg.over = 0, false // the same Call-ID again, with credentials or after a redirect
	}
	return seen
}

// joinCall makes a leg of which nothing was written yet part of another's call.
func (c *Correlator) joinCall(b *boundCall, other *leg, by string) {
	if c.links.join(&b.leg, other, by) {
		b.Key = b.leg.group.key
	}
}

// tell makes the records that tell two calls of each other.
func (c *Correlator) tell(out []*Held, b *boundCall, found clash, nowUs int64) []*Held {
	c.links.late++
	return append(out, linkRecord(b.Call, found.leg.group.root().key, found.leg.id, found.by, nowUs),
		linkRecord(Call{b.Company, found.leg.group.root().key}, b.Key, b.name, found.by, nowUs))
}

// linkRecord tells a call of another.
func linkRecord(call Call, otherKey, otherCallID, by string, nowUs int64) *Held {
	r := &telemetry.Record{
		EventId: telemetry.EventID(call.Company, "", "link", nowUs, []byte(call.Key), []byte(otherKey), []byte(otherCallID)),
		AtUs:    nowUs, ReceivedUs: nowUs, Source: &telemetry.Source{},
		Body: &telemetry.Record_Link{Link: &telemetry.CallLink{CallKey: otherKey, SipCallId: otherCallID, LinkedBy: by, LinkConfidence: linkConfidence(by)}},
	}
	encoded, err := r.MarshalVT()
	if err != nil {
		panic("ingest: cannot encode a link: " + err.Error()) // generated code; no input makes it fail
	}
	return &Held{Company: call.Company, CallKey: call.Key, record: encoded}
}

// Posted gives the call of telemetry that a platform or an app posts: callID is
// the platform's own id, sipCallID the Call-ID that it says it is, or empty. Two
// Call-IDs of one id of the platform's are legs of one call.
func (c *Correlator) Posted(company, callID, sipCallID string, nowUs int64) Sighting {
	if sipCallID == "" || sipCallID == callID || callID == "" || !c.links.cfg.Events {
		name := sipCallID
		if name == "" {
			name = callID
		}
		b := c.posted(company, name, nowUs)
		return Sighting{Call: b.Call, LinkedBy: b.leg.by}
	}
	byPlatform, bySIP := c.named(company, callID), c.named(company, sipCallID)
	switch {
	case byPlatform == nil && bySIP == nil:
		bySIP = c.posted(company, sipCallID, nowUs)
		fallthrough
	case byPlatform == nil:
		byPlatform = c.posted(company, callID, nowUs)
		byPlatform.Key, byPlatform.leg.group, byPlatform.leg.by = bySIP.Key, bySIP.leg.group.root(), LinkedByEvent
		byPlatform.leg.alias = true
	case bySIP == nil:
		bySIP = c.posted(company, sipCallID, nowUs)
		c.joinCall(bySIP, &byPlatform.leg, LinkedByEvent)
	default:
		byPlatform.usedUs, bySIP.usedUs = nowUs, nowUs
		seen := Sighting{Call: bySIP.Call, LinkedBy: bySIP.leg.by}
		if byPlatform.Key != bySIP.Key {
			seen.Released = c.tell(nil, bySIP, clash{&byPlatform.leg, LinkedByEvent}, nowUs)
		}
		return seen
	}
	seen := Sighting{Call: bySIP.Call, LinkedBy: bySIP.leg.by}
	for _, b := range []*boundCall{bySIP, byPlatform} {
		if b.leg.by == LinkedByEvent {
			seen.Fresh = append(seen.Fresh, &telemetry.Binding{Company: company, CallKey: b.Key, CallId: b.name, AtUs: nowUs, Scope: company, LinkedBy: LinkedByEvent})
		}
	}
	return seen
}

// posted finds or begins the call of a name.
func (c *Correlator) posted(company, name string, nowUs int64) *boundCall {
	b := c.named(company, name)
	if b == nil {
		b = c.newCall(c.scope(company), Call{company, name}, name, nowUs)
	}
	b.usedUs = nowUs
	return b
}

func (c *Correlator) newCall(s *scope, call Call, name string, nowUs int64) *boundCall {
	// What a message says lives as long as the packet it came in.
	same := call.Key == name
	if call.Key = strings.Clone(call.Key); same {
		name = call.Key
	} else {
		name = strings.Clone(name)
	}
	b := &boundCall{Call: call, scope: s, name: name, sinceUs: nowUs, usedUs: nowUs, checkedUs: nowUs}
	b.addresses = b.firstAddresses[:0]
	if name != "" {
		s.calls[name] = b
		if c.scopes[call.Company] != s {
			c.foreign[linkKey{call.Company, name}] = b
		}
		b.group = group{key: call.Key, legs: 1}
		b.leg = leg{company: call.Company, id: name, group: &b.group}
	}
	c.clock.push(b)
	for c.bindings.Calls > 0 && c.clock.len()-c.goneInClock > c.bindings.Calls {
		if old := c.clock.pop(); old.gone {
			c.goneInClock--
		} else {
			c.forget(old)
			c.stats.CallsEvicted++
		}
	}
	return b
}

// bind takes note of where an SDP wants media, and adds to seen what that changes.
func (c *Correlator) bind(s *scope, scopeName string, b *boundCall, sdp *telemetry.SDP, nowUs int64, seen *Sighting) {
	addresses, ssrcs := announced(sdp, c.announced[:0])
	c.announced = addresses
	var fresh []telemetry.Binding // made at once
	for i, a := range addresses {
		if !c.bindAddress(s, b, a.address, a.kind) {
			continue
		}
		if len(fresh) == 0 {
			fresh = make([]telemetry.Binding, len(addresses)-i)
			seen.Fresh = slices.Grow(seen.Fresh, len(fresh))
		}
		binding := &fresh[0]
		fresh = fresh[1:]
		c.text = a.address.AppendTo(c.text[:0])
		binding.Company, binding.Address, binding.CallKey, binding.AtUs = b.Company, string(c.text), b.Key, nowUs
		binding.ClockRate, binding.Scope, binding.Kind = a.clock, scopeName, a.kind
		if b.name != b.Key {
			binding.CallId, binding.LinkedBy = b.name, b.leg.by
		}
		seen.Fresh = append(seen.Fresh, binding)
		if list := s.waitAddr[a.address]; list != nil {
			delete(s.waitAddr, a.address)
			seen.Released = c.release(seen.Released, list, b)
		}
	}
	for _, ssrc := range ssrcs {
		if ssrc == 0 || s.ssrcs[ssrc] == b {
			continue
		}
		if holder := s.ssrcs[ssrc]; holder != nil && holder.overUs == 0 && holder.sinceUs > b.sinceUs {
			continue
		}
		s.ssrcs[ssrc] = b
		b.ssrcs = append(b.ssrcs, ssrc)
		if list := s.waitSSRC[ssrc]; list != nil {
			delete(s.waitSSRC, ssrc)
			seen.Released = c.release(seen.Released, list, b)
		}
	}
}

// bindAddress reports whether the binding is new. Ports are reused: the call
// that began later wins, whatever message comes last, unless the later one is
// over.
func (c *Correlator) bindAddress(s *scope, b *boundCall, address netip.AddrPort, kind string) bool {
	var before *boundCall
	if held := s.addresses[address]; held != nil && !held.call.gone && held.learnedUs == 0 {
		if held.call == b {
			if kind == "audio" {
				held.kind = "audio" // bundled media: audio is what we are after
			}
			return false
		}
		if held.call.overUs == 0 && held.call.sinceUs > b.sinceUs {
			return false
		}
		before = held.call
	}
	var bound *binding
	if n := len(b.addresses); n < len(b.firstBindings) {
		bound = &b.firstBindings[n]
	} else {
		bound = new(binding)
	}
	*bound = binding{call: b, kind: mediaKind(kind), before: before}
	s.addresses[address] = bound
	b.addresses = append(b.addresses, address)
	return true
}

// mediaKind is a copy of the kind of media, or the word itself.
func mediaKind(kind string) string {
	switch kind {
	case "audio":
		return "audio"
	case "video":
		return "video"
	}
	return strings.Clone(kind)
}

func (c *Correlator) release(out []*Held, waiters []*waiter, call *boundCall) []*Held {
	for _, w := range waiters {
		if w.placed {
			continue
		}
		c.stats.Released++
		out = append(out, c.place(w, call.Call))
	}
	return out
}

// place gives a waiting record its call. What stays of the waiter in the room
// is small and goes when its time is over.
func (c *Correlator) place(w *waiter, call Call) *Held {
	r := w.record
	w.placed, w.record = true, nil
	r.Company, r.CallKey = call.Company, call.Key
	c.waitingNow--
	c.unlist(w)
	return r
}

// Learn takes a binding that another ingester announced.
func (c *Correlator) Learn(shared *telemetry.Binding, nowUs int64) (released []*Held) {
	address, err := netip.ParseAddrPort(shared.Address)
	if err != nil && (shared.Address != "" || shared.CallId == "") {
		return nil
	}
	s := c.scope(shared.Scope)
	b := c.learnLeg(s, shared, nowUs)
	if b.Company == shared.Company {
		// Another ingester wrote it to another call; the two shall know.
		if b.Key != shared.CallKey {
			other := clash{&leg{company: b.Company, id: b.name, group: &group{key: shared.CallKey}}, linkReason(shared.LinkedBy, b.leg.by)}
			released = c.tell(released, b, other, nowUs)
		}
		for _, other := range c.links.learn(&b.leg, shared.LinkKeys, shared.AtUs) {
			released = c.tell(released, b, other, nowUs)
		}
	}
	if shared.Address == "" {
		return released
	}
	if c.bindAddress(s, b, address, shared.Kind) {
		list := s.waitAddr[address]
		delete(s.waitAddr, address)
		already := len(released)
		released = c.release(released, list, b)
		c.stats.ReleasedShared += uint64(len(released) - already)
	}
	return released
}

// learnLeg finds or begins the leg of a binding, with the call that the other
// ingester gave it.
func (c *Correlator) learnLeg(s *scope, shared *telemetry.Binding, nowUs int64) *boundCall {
	name := shared.CallId
	if name == "" {
		name = shared.CallKey
	}
	b := s.calls[name]
	if b != nil {
		return b
	}
	b = c.newCall(s, Call{shared.Company, shared.CallKey}, name, shared.AtUs)
	b.usedUs = nowUs
	b.leg.by = linkReason(shared.LinkedBy, "")
	if name == shared.CallKey {
		return b
	}
	if first := c.named(shared.Company, shared.CallKey); first != nil && first != b && first.Key == b.Key {
		b.leg.group = first.leg.group.root()
		b.leg.group.legs++
	}
	return b
}

// linkReason is the first of two that is one.
func linkReason(a, b string) string {
	for _, by := range []string{a, b} {
		if slices.Contains(linkReasons[:], by) {
			return by
		}
	}
	return ""
}

// Known gives the call of a Call-ID.
func (c *Correlator) Known(scopeName, callID string) (Call, bool) {
	if s := c.scopes[scopeName]; s != nil {
		if b := s.calls[callID]; b != nil {
			return b.Call, true
		}
	}
	return Call{}, false
}

// Place gives the call of a media packet and the kind of its media, empty if
// unknown. The source is asked first: behind a symmetric NAT it is the one that
// no SDP named, then the destination is; then the SSRC that SDP announced.
func (c *Correlator) Place(scopeName string, p MediaPacket, nowUs int64) (call Call, kind string, ok bool) {
	s := c.scopes[scopeName]
	if s == nil {
		return Call{}, "", false
	}
	src, dst := c.at(s, p.Src, nowUs), c.at(s, p.Dst, nowUs)
	if src != nil && (dst == nil || dst.call == src.call || src.before != dst.call) {
		c.stats.BySource++
		c.hear(s, src.call, p.SSRCs)
		src.call.usedUs = nowUs
		return src.call.Call, src.kind, true
	}
	// Where both ends belong to different calls one is a port that the next call
	// got already: the other end tells.
	if dst != nil {
		c.stats.ByDestination++
		if src == nil {
			c.learnPeer(s, dst, p, nowUs)
		}
		c.hear(s, dst.call, p.SSRCs)
		dst.call.usedUs = nowUs
		return dst.call.Call, dst.kind, true
	}
	if b := s.bySSRC(p.SSRCs); b != nil {
		b.usedUs = nowUs
		c.stats.BySSRC++
		return b.Call, "audio", true
	}
	if b := s.own[pairOf(p)]; b != nil {
		b.usedUs = nowUs
		return b.Call, "", true
	}
	return Call{}, "", false
}

// at gives the binding of an address. What was learned and is not confirmed any
// more is forgotten: the next phone may have the port by now.
func (c *Correlator) at(s *scope, address netip.AddrPort, nowUs int64) *binding {
	b := s.addresses[address]
	if b == nil || b.learnedUs == 0 {
		return b
	}
	if nowUs-b.learnedUs > learnedIdle {
		delete(s.addresses, address)
		return nil
	}
	b.learnedUs = max(b.learnedUs, nowUs)
	return b
}

// learnPeer learns where packets to an address that SDP named come from. An
// address that is anybody's already never changes hands that way.
func (c *Correlator) learnPeer(s *scope, relay *binding, p MediaPacket, nowUs int64) {
	b := relay.call
	if relay.learnedUs != 0 || b.overUs != 0 || !p.Src.IsValid() {
		return
	}
	i := slices.IndexFunc(b.peers, func(known peer) bool { return known.of == p.Dst })
	switch {
	case i >= 0: // the NAT gave it another port
		c.drop(s, b, b.peers[i].at)
		b.peers[i].at = p.Src
	case len(b.peers) == maxPeers:
		return
	default:
		b.peers = append(b.peers, peer{p.Src, p.Dst})
	}
	c.stats.Learned++
	s.addresses[p.Src] = &binding{call: b, kind: relay.kind, learnedUs: nowUs}
}

// drop forgets a learned address of a call.
func (c *Correlator) drop(s *scope, b *boundCall, address netip.AddrPort) {
	if held := s.addresses[address]; held != nil && held.call == b && held.learnedUs != 0 {
		delete(s.addresses, address)
	}
}

// unlearn forgets what was learned of a call. Its ports may be anybody's soon.
func (c *Correlator) unlearn(b *boundCall) {
	for _, p := range b.peers {
		c.drop(b.scope, b, p.at)
	}
	for _, ssrc := range b.heard {
		if b.scope.heard[ssrc] == b {
			delete(b.scope.heard, ssrc)
		}
	}
	b.peers, b.heard = nil, nil
}

// hear learns the SSRCs of packets that a call's addresses told.
func (c *Correlator) hear(s *scope, b *boundCall, ssrcs []uint32) {
	for _, ssrc := range ssrcs {
		if len(b.heard) == maxHeard || b.overUs != 0 {
			return
		}
		if ssrc == 0 || slices.Contains(b.heard, ssrc) {
			continue
		}
		s.heard[ssrc] = b
		b.heard = append(b.heard, ssrc)
	}
}

// bySSRC gives the call of one SSRC that SDP named, or of two that its packets
// had: of billions of SSRCs one may be two calls' by chance, two are not.
func (s *scope) bySSRC(ssrcs []uint32) *boundCall {
	for _, ssrc := range ssrcs {
		if b := s.ssrcs[ssrc]; b != nil {
			return b
		}
	}
	var found *boundCall
	for _, ssrc := range ssrcs {
		switch b := s.heard[ssrc]; {
		case b == nil:
		case b == found:
			return b
		case found == nil:
			found = b
		}
	}
	return nil
}

// Wait keeps the record of a packet that Place could not place until SDP names
// its call or its time is over. It returns records that had to make room, as
// calls of their own.
func (c *Correlator) Wait(scopeName string, p MediaPacket, r *Held, nowUs int64) (evicted []*Held) {
	s := c.scope(scopeName)
	w := &waiter{scope: s, packet: p, record: r, dueUs: nowUs + c.waiting.For.Microseconds()}
	for c.waitingNow > 0 && c.waitingNow >= c.waiting.Records {
		if old := c.nextWaiter(); old != nil {
			evicted = c.own(evicted, old, &c.stats.Evicted, nowUs)
		}
	}
	c.stats.Waited++
	c.waitingNow++
	c.room.push(w)
	for _, address := range [2]netip.AddrPort{p.Src, p.Dst} {
		if address.IsValid() {
			s.waitAddr[address] = append(s.waitAddr[address], w)
		}
	}
	for _, ssrc := range p.SSRCs {
		if ssrc != 0 {
			s.waitSSRC[ssrc] = append(s.waitSSRC[ssrc], w)
		}
	}
	return evicted
}

// nextWaiter takes the oldest record that still waits out of the room.
func (c *Correlator) nextWaiter() *waiter {
	for c.room.len() > 0 {
		w := c.room.pop()
		if !w.placed {
			return w
		}
	}
	return nil
}

// own makes a waiting record part of a call of its own, named by its two
// addresses, and with it all others of that call in the order in which they came:
// what comes next does not wait, and must not come before them. count tells why.
func (c *Correlator) own(held []*Held, w *waiter, count *uint64, nowUs int64) []*Held {
	s := w.scope
	waiting, ssrcs := s.together(w)
	b := s.own[pairOf(w.packet)]
	if b == nil {
		b = s.ownBySSRC(w.packet.Dst, ssrcs)
	}
	if b == nil {
		b = c.newCall(s, Call{w.record.Company, OwnCallKey(w.packet.Src, w.packet.Dst)}, "", nowUs)
	}
	b.usedUs = nowUs
	for _, ssrc := range ssrcs {
		if s.heard[ssrc] == nil {
			c.hear(s, b, []uint32{ssrc})
		}
	}
	for _, one := range waiting {
		if pair := pairOf(one.packet); s.own[pair] == nil {
			s.own[pair] = b
			b.pairs = append(b.pairs, pair)
		}
		*count++
		held = append(held, c.place(one, b.Call))
	}
	return held
}

const (
	// maxTogether bounds how many waiting records are looked through for others of
	// one call: an address may have very many of other calls. In the time that
	// they wait, browsers send some 600.
	maxTogether = 4096
	// maxCandidates bounds the pairs of addresses that are looked at beside it.
	maxCandidates = 8
)

// together gives the records that wait with w for the same call, in order, and
// the SSRCs in them: those between the same addresses, and those that the other
// party sent to the same monitor. Phones that send a copy of their RTCP there
// share no address, but one reports about the SSRC by which the other sends.
func (s *scope) together(w *waiter) (waiting []*waiter, ssrcs []uint32) {
	waiting, ssrcs = s.between(w)
	candidates := 0
	for _, ssrc := range ssrcs {
		for _, other := range head(s.waitSSRC[ssrc]) {
			if other.placed || other.packet.Dst != w.packet.Dst || pairOf(other.packet) == pairOf(w.packet) {
				continue
			}
			if candidates++; candidates > maxCandidates {
				return waiting, ssrcs
			}
			others, theirs := s.between(other)
			if !oneConversation(ssrcs, theirs) {
				continue
			}
			for _, ssrc := range theirs {
				ssrcs = appendSSRC(ssrcs, ssrc)
			}
			waiting = append(waiting, others...)
			slices.SortStableFunc(waiting, func(a, b *waiter) int { return cmp.Compare(a.dueUs, b.dueUs) })
			return waiting, ssrcs
		}
	}
	return waiting, ssrcs
}

// between gives the records that wait between the addresses of w, itself among them.
func (s *scope) between(w *waiter) (waiting []*waiter, ssrcs []uint32) {
	pair, found := pairOf(w.packet), false
	take := func(one *waiter) {
		waiting, found = append(waiting, one), found || one == w
		for _, ssrc := range one.packet.SSRCs {
			ssrcs = appendSSRC(ssrcs, ssrc)
		}
	}
	for _, one := range head(s.waitAddr[w.packet.Src]) {
		if !one.placed && pairOf(one.packet) == pair {
			take(one)
		}
	}
	if !found {
		take(w)
	}
	return waiting, ssrcs
}

func head(list []*waiter) []*waiter { return list[:min(len(list), maxTogether)] }

// ownBySSRC gives the call of its own whose other party sent to the same monitor.
func (s *scope) ownBySSRC(monitor netip.AddrPort, ssrcs []uint32) *boundCall {
	for _, ssrc := range ssrcs {
		b := s.heard[ssrc]
		if b != nil && len(b.pairs) == 1 && (b.pairs[0].a == monitor || b.pairs[0].b == monitor) && oneConversation(b.heard, ssrcs) {
			return b
		}
	}
	return nil
}

// oneConversation says whether SSRCs that two parties sent or reported about are
// those of one call: they have two in common, or one and no third. Devices that
// always use the same SSRC talk with others who do not.
func oneConversation(a, b []uint32) bool {
	common := 0
	for _, ssrc := range a {
		if slices.Contains(b, ssrc) {
			common++
		}
	}
	return common >= 2 || common == 1 && len(a)+len(b)-common <= 2
}

// unlist removes a placed waiter from the lists of its addresses, once all
// before it are placed too: waiters leave in order but for those that SDP
// releases, and looking through whole lists would let one busy address cost
// quadratic time.
func (c *Correlator) unlist(w *waiter) {
	for _, address := range [2]netip.AddrPort{w.packet.Src, w.packet.Dst} {
		if list := unplaced(w.scope.waitAddr[address]); len(list) > 0 {
			w.scope.waitAddr[address] = list
		} else {
			delete(w.scope.waitAddr, address)
		}
	}
	for _, ssrc := range w.packet.SSRCs {
		if list := unplaced(w.scope.waitSSRC[ssrc]); len(list) > 0 {
			w.scope.waitSSRC[ssrc] = list
		} else {
			delete(w.scope.waitSSRC, ssrc)
		}
	}
}

// unplaced is the list from its first waiter on that is not placed.
func unplaced(list []*waiter) []*waiter {
	for len(list) > 0 && list[0].placed {
		list = list[1:]
	}
	return list
}

// Advance takes the time: what has waited too long becomes calls of their own,
// and what is over or idle is forgotten.
func (c *Correlator) Advance(nowUs int64) (expired []*Held) {
	for c.room.len() > 0 {
		w := c.room.front()
		if w.placed {
			c.room.pop()
			continue
		}
		if w.dueUs > nowUs {
			break
		}
		c.room.pop()
		expired = c.own(expired, w, &c.stats.Expired, nowUs)
	}
	for c.over.len() > 0 {
		b := c.over.front()
		if b.overUs != 0 && b.overUs+c.bindings.AfterCall.Microseconds() > nowUs {
			break
		}
		c.over.pop()
		if !b.gone && b.overUs != 0 {
			c.forget(b)
			c.goneInClock++
		}
	}
	c.links.advance(nowUs)
	if c.goneInClock > 1024 && c.goneInClock*2 > c.clock.len() {
		for range c.clock.len() {
			if b := c.clock.pop(); !b.gone {
				c.clock.push(b)
			}
		}
		c.goneInClock = 0
	}
	idle := c.bindings.Idle.Microseconds()
	// A bounded turn of the hand: no turn may be long.
	for range min(c.clock.len(), 1000) {
		b := c.clock.front()
		if !b.gone && b.checkedUs+idle > nowUs {
			break // the rest was looked at later
		}
		c.clock.pop()
		switch {
		case b.gone:
			c.goneInClock--
		case b.usedUs+idle > nowUs:
			b.checkedUs = nowUs
			c.clock.push(b)
		default:
			c.forget(b)
		}
	}
	return expired
}

// Drain makes everything that waits a call of its own: nothing more will come.
func (c *Correlator) Drain(nowUs int64) (drained []*Held) {
	for {
		w := c.nextWaiter()
		if w == nil {
			return drained
		}
		drained = c.own(drained, w, &c.stats.Expired, nowUs)
	}
}

func (c *Correlator) forget(b *boundCall) {
	b.gone = true
	s := b.scope
	if b.name != "" {
		if s.calls[b.name] == b {
			delete(s.calls, b.name)
		}
		if at := (linkKey{b.Company, b.name}); c.foreign[at] == b {
			delete(c.foreign, at)
		}
		c.links.forget(&b.leg)
	}
	for _, address := range b.addresses {
		if held := s.addresses[address]; held != nil && held.call == b {
			delete(s.addresses, address)
		}
	}
	for _, ssrc := range b.ssrcs {
		if s.ssrcs[ssrc] == b {
			delete(s.ssrcs, ssrc)
		}
	}
	c.unlearn(b)
	for _, pair := range b.pairs {
		if s.own[pair] == b {
			delete(s.own, pair)
		}
	}
	b.addresses, b.ssrcs, b.pairs = nil, nil, nil
}

func pairOf(p MediaPacket) addrPair {
	if p.Src.Compare(p.Dst) > 0 {
		return addrPair{p.Dst, p.Src}
	}
	return addrPair{p.Src, p.Dst}
}

// OwnCallKey is the key of the call that media telemetry makes on its own where
// no signalling was seen: a hash of its two addresses, in either order.
func OwnCallKey(src, dst netip.AddrPort) string {
	pair := [2]string{src.String(), dst.String()}
	if pair[0] > pair[1] {
		pair[0], pair[1] = pair[1], pair[0]
	}
	sum := sha256.Sum256([]byte(strings.Join(pair[:], " ")))
	return "rtcp:" + hex.EncodeToString(sum[:12])
}

// ssrcsOf lists the SSRCs that an RTCP packet is from or about.
func ssrcsOf(p *telemetry.RTCPPacket) []uint32 { return appendSSRCs(nil, p) }

func appendSSRCs(out []uint32, p *telemetry.RTCPPacket) []uint32 {
	out = appendSSRC(out, p.SenderSsrc)
	for _, sr := range p.SenderReports {
		out = appendSSRC(out, sr.Ssrc)
	}
	for _, rr := range p.Reports {
		out = appendSSRC(appendSSRC(out, rr.ReporterSsrc), rr.Ssrc)
	}
	for _, x := range p.VoipMetrics {
		out = appendSSRC(appendSSRC(out, x.ReporterSsrc), x.Ssrc)
	}
	for _, x := range p.Metrics {
		out = appendSSRC(appendSSRC(out, x.ReporterSsrc), x.Ssrc)
	}
	return out
}

// maxSSRCs bounds what one packet is looked up by: each is compared with all
// others, and a datagram has room for thousands.
const maxSSRCs = 64

func appendSSRC(out []uint32, ssrc uint32) []uint32 {
	if ssrc == 0 || len(out) == maxSSRCs || slices.Contains(out, ssrc) {
		return out
	}
	return append(out, ssrc)
}

// isChannel reports whether a correlation id is the name of an Asterisk channel
// (res_hep_rtcp without uuid_type=call-id): it names one leg of a call by a word
// that no signalling knows, so that addresses have to tell.
func isChannel(id string) bool {
	return strings.HasPrefix(id, "SIP/") || strings.HasPrefix(id, "PJSIP/") || strings.HasPrefix(id, "IAX2/") || strings.HasPrefix(id, "Local/")
}

// correlationID gives a HEP correlation id as text that can be a call key and
// lives as long as b.
func correlationID(b []byte) string {
	b = bytes.TrimRight(b, "\x00")
	if len(b) > 512 {
		b = b[:512]
	}
	if utf8.Valid(b) {
		return aliasText(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// queue is a FIFO that gives its memory back.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }
func (q *queue[T]) push(v T) { q.items = append(q.items, v) }
func (q *queue[T]) front() T { return q.items[q.head] }
func (q *queue[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head > 1024 && q.head*2 > len(q.items) {
		q.items = append(q.items[:0], q.items[q.head:]...)
		q.head = 0
	}
	return v
}
