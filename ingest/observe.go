package ingest

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/registrar"
	"github.com/earshot/earshot/ingest/rtcp"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// agentIdle is how long a silent agent is remembered, maxAgentStates how many
// are by one observer. Beyond that an agent's clock is judged anew with every
// packet.
const (
	agentIdle      = 10 * time.Minute
	maxAgentStates = 100_000
)

// source is where packets come from: the address and port of an agent's socket,
// or a connection. One agent may report for others, told apart by id and name.
type source struct {
	remote netip.AddrPort
	origin origin
	agents map[agentKey]*agent // nil: none are remembered
	last   *agent              // the one that was heard last

	judged, refused bool // by the networks that may send
}

func newSource(remote netip.AddrPort) *source {
	return &source{remote: remote, agents: map[agentKey]*agent{}}
}

type agentKey struct {
	id   uint32
	name string
}

// agent is one HEP sender.
type agent struct {
	key    agentKey
	label  string
	clock  agentClock
	replay *timeline

	// What its last packet made of it.
	authKey []byte
	refusal string
	scope   string
	tally   *Tally
}

// observer takes packets one after the other, and keeps between them what it
// can use again. What it decodes points into the packet and into its own
// buffers; it is encoded before the next packet comes. One goroutine at a time
// uses it.
type observer struct {
	in       *Ingester
	listener string
	write    sink
	agents   int // remembered, of all sources
	// admission is who may send; nil: everybody.
	admission *admission

	packet   hep.Packet
	messages sip.Parser
	reports  rtcp.Decoder

	record   telemetry.Record
	source   telemetry.Source
	sipBody  telemetry.Record_Sip
	rtcpBody telemetry.Record_Rtcp
	vqBody   telemetry.Record_Vq
	id       telemetry.EventHash
	parties  parties

	eventID, addresses, encoded, key []byte
	ssrcs                            []uint32
}

func (in *Ingester) newObserver(listener string, write sink) *observer {
	return &observer{in: in, listener: listener, write: write}
}

// refuses counts a datagram of a source that may not send.
func (ob *observer) refuses(from *source) bool {
	if !from.judged {
		from.judged, from.refused = true, ob.admission != nil && !ob.admission.allows(from.remote.Addr())
	}
	if from.refused {
		t := ob.in.accounting.Tally(ob.listener, "", "")
		t.Received()
		t.Rejected(refusedNetwork)
	}
	return from.refused
}

// agent gives the sender of a packet.
func (ob *observer) agent(from *source, p *hep.Packet) *agent {
	if a := from.last; a != nil && a.key.id == p.AgentID && a.key.name == string(p.AgentName) {
		return a
	}
	a := from.agents[agentKey{p.AgentID, aliasText(p.AgentName)}]
	if a == nil {
		a = &agent{key: agentKey{p.AgentID, string(p.AgentName)}, clock: agentClock{cfg: ob.in.cfg.Clock}}
		a.label = agentLabel(a.key)
		if from.agents == nil || ob.agents >= maxAgentStates {
			return a
		}
		from.agents[a.key] = a
		ob.agents++
	}
	from.last = a
	return a
}

// forget removes the agents of a source that have been silent since a time, and
// reports whether none is left.
func (ob *observer) forget(from *source, sinceUs int64) bool {
	for key, a := range from.agents {
		if a.clock.lastReceiveUs >= sinceUs {
			continue
		}
		delete(from.agents, key)
		ob.agents--
		if from.last == a {
			from.last = nil
		}
	}
	return len(from.agents) == 0
}

// aliasText is b as a string that is valid as long as b stays as it is.
func aliasText(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func agentLabel(key agentKey) string {
	label := validText(strings.TrimRight(key.name, "\x00"))
	if label == "" {
		label = strconv.FormatUint(uint64(key.id), 10)
	}
	if len(label) > 64 {
		label = validText(label[:64])
	}
	return label
}

// stand puts a packet on a timeline.
func (in *Ingester) stand(a *agent, captureUs, receivedUs int64) (tl *timeline, offsetUs int64) {
	s := a.clock.judge(captureUs, receivedUs)
	if !s.Replay {
		a.replay = nil
		return in.live, s.OffsetUs
	}
	if s.New || a.replay == nil {
		a.replay = in.openReplay("replay:"+a.label+":"+time.UnixMicro(captureUs).UTC().Format("2006-01-02T15:04:05.000000Z"), receivedUs)
	}
	return a.replay, 0
}

// openReplay gives the timeline of a replayed capture. Replaying it again gives
// the same id, so that processors know it.
func (in *Ingester) openReplay(id string, receivedUs int64) *timeline {
	in.mu.Lock()
	defer in.mu.Unlock()
	tl := in.replays[id]
	if tl == nil {
		tl = newTimeline(id, in.cfg)
		tl.lastReceivedUs = receivedUs
		in.replays[id] = tl
		in.log.Info("an agent replays a capture", "timeline", id)
	}
	return tl
}

// hepReasons names why a HEP packet was rejected.
var hepReasons = []struct {
	err    error
	reason string
}{
	{hep.ErrNotHEP, "hep_not_hep"}, {hep.ErrTruncated, "hep_truncated"}, {hep.ErrChunk, "hep_chunk"}, {hep.ErrFamily, "hep_family"},
	{hep.ErrCompressed, "hep_compressed"}, {hep.ErrTooLarge, "hep_too_large"}, {hep.ErrNoPayload, "hep_no_payload"},
	{sip.ErrNotSIP, "sip_not_sip"}, {sip.ErrVersion, "sip_version"}, {sip.ErrStatus, "sip_status"}, {sip.ErrMissing, "sip_missing"},
	{sip.ErrCSeq, "sip_cseq"}, {sip.ErrTooLarge, "sip_too_large"}, {sip.ErrSDP, "sip_sdp"}, {sip.ErrVQ, "vq_malformed"},
	{rtcp.ErrNotRTCP, "rtcp_not_rtcp"}, {rtcp.ErrTruncated, "rtcp_truncated"}, {rtcp.ErrMalformed, "rtcp_malformed"},
	{rtcp.ErrJSON, "rtcp_json"},
}

func reasonOf(err error) string {
	for _, r := range hepReasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "malformed"
}

// hep takes one HEP packet as it came from a socket. b may be reused afterwards.
func (ob *observer) hep(b []byte, from *source, receivedUs int64) {
	if ob.refuses(from) {
		return
	}
	p := &ob.packet
	if err := hep.Parse(b, p); err != nil {
		t := ob.in.accounting.Tally(ob.listener, "", "")
		t.Received()
		t.Rejected(reasonOf(err))
		return
	}
	h := heard{
		observer: ob, from: &from.origin, receivedUs: receivedUs, captureUs: receivedUs, // HEP 1 has no time
		witness: Witness{AuthKey: p.AuthKey, AgentID: p.AgentID, AgentName: p.AgentName, Remote: from.remote.Addr()},
		src:     p.Src, dst: p.Dst, transport: transportName(p.Protocol), correlationID: correlationID(p.CorrelationID),
	}
	if !p.Time.IsZero() && p.Time.Unix() > 0 {
		h.captureUs = p.Time.UnixMicro()
	}
	a := ob.agent(from, p)
	if a.tally == nil || subtle.ConstantTimeCompare(a.authKey, p.AuthKey) != 1 {
		a.authKey = append(a.authKey[:0], p.AuthKey...)
		a.scope = ob.in.deps.Tenancy.Company(h.witness)
		a.tally = ob.in.accounting.Tally(ob.listener, a.label, a.scope)
		if a.refusal = ""; ob.admission != nil {
			a.refusal = ob.admission.refusal(p)
		}
	}
	if a.refusal != "" {
		a.tally.Received()
		a.tally.Rejected(a.refusal)
		return
	}
	h.scope, h.tally = a.scope, a.tally
	tl, offset := ob.in.stand(a, h.captureUs, receivedUs)
	h.tl, h.atUs = tl, h.captureUs+offset
	ob.source.Kind, ob.source.Agent, ob.source.ClockOffsetUs = telemetry.Source_KIND_HEP, a.label, offset
	if tl.id != "" {
		tl.mu.Lock()
		tl.lastReceivedUs = receivedUs
		tl.lastAtUs = max(tl.lastAtUs, h.captureUs)
		tl.mu.Unlock()
		tl.advance(h.captureUs, ob.write)
	}
	h.payload(p.PayloadType, p.Payload)
}

func transportName(protocol uint8) string {
	switch protocol {
	case hep.ProtocolTCP:
		return "tcp"
	case hep.ProtocolSCTP:
		return "sctp"
	default:
		return "udp"
	}
}

// heard is one packet with everything known about how it came.
type heard struct {
	*observer
	tl            *timeline
	witness       Witness
	scope         string
	tally         *Tally
	from          *origin
	captureUs     int64
	atUs          int64
	receivedUs    int64
	src, dst      netip.AddrPort
	transport     string
	correlationID string
	receivedFrom  string
}

// payload decodes by type, and by what it looks like where senders disagree
// about types. Nothing here is fatal: what cannot be used is counted.
func (h *heard) payload(kind uint8, b []byte) {
	isJSON := looksJSON(b)
	switch {
	case kind == hep.TypeRTCPJSON && isJSON, kind == hep.TypeRTCP && isJSON:
		h.rtcpJSON(b)
	case kind == hep.TypeMOS && isJSON, kind == hep.TypeVQ && isJSON:
		h.rtpReport(b)
	case kind == hep.TypeRTCPJSON, kind == hep.TypeRTCP, kind != hep.TypeRTP && rtcp.IsRTCP(b):
		h.heardRTCP(b)
	case kind == hep.TypeSIP, sip.IsSIP(b): // collectors send the whole PUBLISH as 35
		h.sipMessages(b)
	case kind == hep.TypeVQ:
		h.vq(b)
	default:
		h.tally.Received()
		h.tally.Rejected("payload_type_" + hep.PayloadName(kind))
	}
}

func looksJSON(b []byte) bool { return len(b) > 0 && (b[0] == '{' || b[0] == '[') }

// texts gives the two addresses of the packet as text, valid until the next packet.
func (h *heard) texts() (src, dst string) {
	b := h.src.AppendTo(h.addresses[:0])
	n := len(b)
	b = h.dst.AppendTo(b)
	h.addresses = b
	return aliasText(b[:n]), aliasText(b[n:])
}

// encode encodes the record but for its call and its place on the timeline. The
// payload is what makes it this observation.
func (h *heard) encode(company, src, dst string, payload []byte) {
	ob := h.observer
	ob.id.Begin(company, h.tl.id, ob.source.Agent, h.captureUs)
	ob.id.Text(src)
	ob.id.Text(dst)
	ob.id.Field(payload)
	ob.eventID = ob.id.Append(ob.eventID[:0])
	r := &ob.record
	r.EventId, r.AtUs, r.ReceivedUs, r.Source = ob.eventID, h.atUs, h.receivedUs, &ob.source
	size := r.SizeVT()
	// What complete appends has room too.
	ob.encoded = slices.Grow(ob.encoded[:0], size+256)[:size]
	if n, err := r.MarshalToSizedBufferVT(ob.encoded); err != nil || n != size {
		panic(fmt.Sprintf("ingest: a record of %d bytes is encoded in %d: %v", size, n, err)) // generated code contradicts itself
	}
}

// placed writes what was encoded as part of a call. The caller holds the
// timeline, which placed unlocks: the live one before, for a sink may wait.
func (h *heard) placed(call Call) {
	if h.tl.id == "" {
		h.tl.mu.Unlock()
	} else {
		defer h.tl.mu.Unlock()
	}
	h.key = appendKey(h.key[:0], call.Company, call.Key)
	h.finish(call, false)
}

func (h *heard) finish(call Call, registration bool) {
	h.encoded = h.tl.complete(h.encoded, call.Company, call.Key)
	h.write(outgoing{registration: registration, key: h.key, record: h.encoded, from: h.from, to: h.tally})
}

func appendKey(dst []byte, company, subject string) []byte {
	dst = append(dst, company...)
	dst = append(dst, 0)
	return append(dst, subject...)
}

// nowUs is the time for the correlator: reception on the live timeline, where
// clocks of agents are of no account, else the capture's.
func (h *heard) nowUs() int64 {
	if h.tl.id == "" {
		return h.receivedUs
	}
	return h.captureUs
}

// sipMessages takes every message of a payload: a TCP segment may hold several.
func (h *heard) sipMessages(b []byte) {
	for len(b) > 0 {
		one, rest := b, []byte(nil)
		if h.transport != "udp" { // in a datagram only the first counts (RFC 3261 §18.3)
			one, rest = sip.Split(b)
		}
		h.sip(one)
		b = rest
	}
}

func (h *heard) sip(b []byte) {
	h.tally.Received()
	m, err := h.messages.Parse(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	company := h.in.deps.Tenancy.CompanyOfSIP(h.witness, m)
	m.Src, m.Dst = h.texts()
	m.Transport, m.ReceivedFrom = h.transport, h.receivedFrom
	resolveParties(h.in.deps.Resolver, company, m, &h.parties, h.atUs)
	h.sipBody.Sip = m
	h.record.Body = &h.sipBody
	h.message(Call{company, m.CallId}, m, b)
	if body := vqBody(m); body != nil {
		h.vqFrom(body, company, m)
	}
}

// message places a SIP message, which itself places others.
func (h *heard) message(call Call, m *telemetry.SIPMessage, b []byte) {
	tl := h.tl
	tl.mu.Lock()
	seen := tl.correlator.SIP(h.scope, call, m, h.nowUs())
	live := tl.id == ""
	if live {
		tl.mu.Unlock()
	} else {
		defer tl.mu.Unlock()
	}
	if live && len(seen.Fresh) > 0 {
		h.in.shareBindings(seen.Fresh)
	}
	m.LinkedBy, m.LinkConfidence = seen.LinkedBy, linkConfidence(seen.LinkedBy)
	h.encode(call.Company, m.Src, m.Dst, b)
	call = seen.Call
	register := isRegister(m)
	if register {
		h.key = appendAOR(appendKey(h.key[:0], call.Company, ""), m)
	} else {
		h.key = appendKey(h.key[:0], call.Company, call.Key)
	}
	h.finish(call, register)
	tl.emit(seen.Released, h.write)
}

func (in *Ingester) shareBindings(bindings []*telemetry.Binding) {
	if in.cfg.Bindings.Share {
		in.producer.share(in.instance, bindings)
	}
}

// parties is what a message says about caller and callee.
type parties [2]telemetry.Identity

func resolveParties(r Resolver, company string, m *telemetry.SIPMessage, said *parties, atUs int64) {
	m.Caller, m.Callee = party(r, company, m.From, &said[0], atUs), party(r, company, m.To, &said[1], atUs)
}

// vqBody gives the quality report that a request carries (RFC 6035 §4).
func vqBody(m *telemetry.SIPMessage) []byte {
	if m.Status != 0 || !bytes.Contains(m.Raw, []byte("vq-rtcpxr")) {
		return nil
	}
	return sip.Body(m.Raw, "application/vq-rtcpxr")
}

func (h *heard) vqFrom(body []byte, company string, m *telemetry.SIPMessage) {
	h.tally.Received()
	vq, err := sip.ParseVQFrom(body, m.UserAgent)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	vq.Identity = m.Caller
	h.vqRecord(company, body, vq)
}

func (h *heard) vq(b []byte) {
	h.tally.Received()
	vq, err := sip.ParseVQ(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	h.vqRecord(h.scope, b, vq)
}

// rtpReport takes what an agent measured of a stream on its way.
func (h *heard) rtpReport(b []byte) {
	h.tally.Received()
	vq, err := rtcp.DecodeRTPReport(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	h.vqRecord(h.scope, b, vq)
}

func (h *heard) vqRecord(company string, b []byte, vq *telemetry.VQReport) {
	if vq.Identity == nil {
		vq.Identity = vqIdentity(h.in.deps.Resolver, company, vq, h.atUs)
	}
	if !utf8.Valid(b) {
		repairText(vq.ProtoReflect())
	}
	h.vqBody.Vq = vq
	h.record.Body = &h.vqBody
	src, dst := h.texts()
	h.encode(company, src, dst, b)
	if vq.CallId != "" {
		h.tl.mu.Lock()
		call, ok := h.tl.correlator.Known(h.scope, vq.CallId)
		if !ok || call.Company != company {
			call = Call{company, vq.CallId}
		}
		h.placed(call)
		return
	}
	h.media(company, vqMedia(vq), true)
}

func vqIdentity(r Resolver, company string, vq *telemetry.VQReport, atUs int64) *telemetry.Identity {
	user, host := sip.UserHost(vq.From)
	if user == "" {
		return nil
	}
	return party(r, company, &telemetry.NameAddr{User: user, Host: host}, &telemetry.Identity{}, atUs)
}

// vqMedia ties a report without a Call-ID to the call of its media.
func vqMedia(vq *telemetry.VQReport) MediaPacket {
	p := MediaPacket{}
	p.Src, _ = netip.ParseAddrPort(vq.LocalAddress)
	p.Dst, _ = netip.ParseAddrPort(vq.RemoteAddress)
	for _, m := range []*telemetry.VQMetrics{vq.Local, vq.Remote} {
		if m.GetSsrc() != 0 {
			p.SSRCs = append(p.SSRCs, m.GetSsrc())
		}
	}
	return p
}

func (h *heard) heardRTCP(b []byte) {
	h.tally.Received()
	p, err := h.reports.Decode(b)
	if err != nil && !errors.Is(err, rtcp.ErrEncrypted) {
		h.tally.Rejected(reasonOf(err))
		if p == nil {
			return
		}
		h.tally.Received() // what could be read of the compound is one of its own
	}
	h.rtcpRecord(b, p, false)
}

func (h *heard) rtcpJSON(b []byte) {
	h.tally.Received()
	p, _, err := h.reports.DecodeJSON(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	h.rtcpRecord(b, p, true)
}

func (h *heard) rtcpRecord(b []byte, p *telemetry.RTCPPacket, trusted bool) {
	p.Src, p.Dst = h.texts()
	if h.source.Kind == telemetry.Source_KIND_RTCP {
		p.Dst = "" // a copy: where it came is not where the other party is
	}
	h.rtcpBody.Rtcp = p
	h.record.Body = &h.rtcpBody
	h.encode(h.scope, p.Src, p.Dst, b)
	h.ssrcs = appendSSRCs(h.ssrcs[:0], p)
	h.media(h.scope, MediaPacket{h.src, h.dst, h.ssrcs}, trusted)
}

// media places a media packet, or lets it wait. A correlation id names the call
// where its sender is known to give Call-IDs (trusted), or where it is one.
func (h *heard) media(company string, p MediaPacket, trusted bool) {
	tl := h.tl
	tl.mu.Lock()
	if h.correlationID != "" {
		if call, ok := tl.correlator.Known(h.scope, h.correlationID); ok {
			h.placed(call)
			return
		}
	}
	named := h.correlationID != "" && trusted && !isChannel(h.correlationID)
	if named {
		p.SSRCs = nil // who names the call knows better than they
	}
	call, kind, ok := tl.correlator.Place(h.scope, p, h.nowUs())
	switch {
	case ok && kind != "" && kind != "audio":
		tl.mu.Unlock()
		h.tally.Rejected("not_audio")
	case ok:
		h.placed(call)
	case named:
		h.placed(Call{company, h.correlationID})
	default:
		p.SSRCs = slices.Clone(p.SSRCs)
		held := &Held{Company: company, record: bytes.Clone(h.encoded), from: h.from, tally: h.tally}
		tl.write(tl.correlator.Wait(h.scope, p, held, h.nowUs()), h.write)
	}
}

// rtcp takes one datagram of plain RTCP.
func (ob *observer) rtcp(b []byte, from *source, local netip.AddrPort, receivedUs int64) {
	if ob.refuses(from) {
		return
	}
	a := from.last
	if a == nil {
		a = &agent{label: from.remote.Addr().String(), clock: agentClock{lastReceiveUs: receivedUs}}
		a.scope = ob.in.deps.Tenancy.Company(Witness{Remote: from.remote.Addr()})
		a.tally = ob.in.accounting.Tally(ob.listener, a.label, a.scope)
		from.last = a
	}
	ob.source.Kind, ob.source.Agent, ob.source.ClockOffsetUs = telemetry.Source_KIND_RTCP, a.label, 0
	h := heard{
		observer: ob, tl: ob.in.live, witness: Witness{Remote: from.remote.Addr()}, scope: a.scope, tally: a.tally, from: &from.origin,
		captureUs: receivedUs, atUs: receivedUs, receivedUs: receivedUs,
		src: from.remote, dst: local, transport: "udp",
	}
	h.heardRTCP(b)
}

// wire observes what Earshot's own registrar receives and sends.
type wire struct {
	mu sync.Mutex
	*observer
}

// observeWire takes one message that the registrar received or sent.
func (in *Ingester) observeWire(m registrar.Message) {
	w := Witness{Remote: m.Peer.Addr()}
	listener := sipListener(m.Transport)
	scope := in.deps.Tenancy.Company(w)
	us := m.At.UnixMicro()
	in.wire.mu.Lock()
	defer in.wire.mu.Unlock()
	in.wire.source.Kind, in.wire.source.Agent, in.wire.source.ClockOffsetUs = telemetry.Source_KIND_SIP, m.Peer.Addr().String(), 0
	h := heard{
		observer: in.wire.observer, tl: in.live, witness: w, scope: scope, tally: in.accounting.Tally(listener, "", scope),
		captureUs: us, atUs: us, receivedUs: us,
		src: m.Src, dst: m.Dst, transport: m.Transport, receivedFrom: m.Peer.String(),
	}
	if m.Err != nil {
		h.tally = in.accounting.Tally(listener, m.Peer.Addr().String(), scope)
		h.tally.Received()
		h.tally.Rejected(phoneReason(m.Err))
		return
	}
	h.sip(m.Raw)
}
