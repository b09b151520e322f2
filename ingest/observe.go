package ingest

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/registrar"
	"github.com/earshot/earshot/ingest/rtcp"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// agentIdle is how long a silent agent is remembered, maxAgentStates how many
// are. Beyond that an agent's clock is judged anew with every packet.
const (
	agentIdle      = 10 * time.Minute
	maxAgentStates = 100_000
)

type agentKey struct {
	remote netip.AddrPort
	id     uint32
	name   string
}

// agent is one HEP sender.
type agent struct {
	label string

	mu     sync.Mutex
	clock  agentClock
	replay *timeline
}

func (in *Ingester) agent(key agentKey) *agent {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.agents[key]
	if a == nil {
		a = &agent{label: agentLabel(key), clock: agentClock{cfg: in.cfg.Clock}}
		if len(in.agents) < maxAgentStates {
			in.agents[key] = a
		}
	}
	return a
}

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
	a.mu.Lock()
	defer a.mu.Unlock()
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

// observeHEP takes one HEP packet as it came from a socket. b may be reused afterwards.
func (in *Ingester) observeHEP(b []byte, listener string, remote netip.AddrPort, received time.Time, write sink) {
	var p hep.Packet
	if err := hep.Parse(b, &p); err != nil {
		t := in.accounting.Tally(listener, "", "")
		t.Received()
		t.Rejected(reasonOf(err))
		return
	}
	a := in.agent(agentKey{remote, p.AgentID, string(p.AgentName)})
	w := Witness{AuthKey: p.AuthKey, AgentID: p.AgentID, AgentName: p.AgentName, Remote: remote.Addr()}
	scope := in.deps.Tenancy.Company(w)
	receivedUs := received.UnixMicro()
	captureUs := receivedUs // HEP 1 has no time
	if !p.Time.IsZero() && p.Time.Unix() > 0 {
		captureUs = p.Time.UnixMicro()
	}
	tl, offset := in.stand(a, captureUs, receivedUs)
	h := heard{
		in: in, write: write, tl: tl, witness: w, scope: scope, tally: in.accounting.Tally(listener, a.label, scope),
		captureUs: captureUs, atUs: captureUs + offset, receivedUs: receivedUs,
		source: &telemetry.Source{Kind: telemetry.Source_KIND_HEP, Agent: a.label, ClockOffsetUs: offset},
		src:    p.Src, dst: p.Dst, transport: transportName(p.Protocol),
		correlationID: correlationID(p.CorrelationID),
	}
	if tl.id != "" {
		tl.mu.Lock()
		tl.lastReceivedUs = receivedUs
		tl.lastAtUs = max(tl.lastAtUs, captureUs)
		tl.mu.Unlock()
		tl.advance(captureUs, write)
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
	in            *Ingester
	write         sink
	tl            *timeline
	witness       Witness
	scope         string
	tally         *Tally
	captureUs     int64
	atUs          int64
	receivedUs    int64
	source        *telemetry.Source
	src, dst      netip.AddrPort
	transport     string
	correlationID string
	receivedFrom  string
}

// payload decodes by type, and by what it looks like where senders disagree
// about types. Nothing here is fatal: what cannot be used is counted.
func (h *heard) payload(kind uint8, b []byte) {
	looksJSON := len(b) > 0 && b[0] == '{'
	switch {
	case kind == hep.TypeRTCPJSON && looksJSON, kind == hep.TypeRTCP && looksJSON:
		h.rtcpJSON(b)
	case kind == hep.TypeRTCPJSON, kind == hep.TypeRTCP, kind != hep.TypeRTP && rtcp.IsRTCP(b):
		h.rtcp(b)
	case kind == hep.TypeVQ:
		h.vq(b)
	case kind == hep.TypeSIP, sip.IsSIP(b):
		h.sip(b)
	default:
		h.tally.Received()
		h.tally.Rejected("payload_type_" + strconv.Itoa(int(kind)))
	}
}

func (h *heard) observation(company string, b []byte) *observation {
	return &observation{
		record: &telemetry.Record{
			EventId: telemetry.EventID(company, h.tl.id, h.source.Agent, h.captureUs, []byte(h.src.String()), []byte(h.dst.String()), b),
			Company: company, AtUs: h.atUs, ReceivedUs: h.receivedUs, Source: h.source,
		},
		tally: h.tally, timeline: h.tl, scope: h.scope, nowUs: h.nowUs(), sink: h.write,
	}
}

// nowUs is the time for the correlator: reception on the live timeline, where
// clocks of agents are of no account, else the capture's.
func (h *heard) nowUs() int64 {
	if h.tl.id == "" {
		return h.receivedUs
	}
	return h.captureUs
}

func (h *heard) sip(b []byte) {
	h.tally.Received()
	m, err := sip.Parse(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	company := h.in.deps.Tenancy.CompanyOfSIP(h.witness, m)
	m.Src, m.Dst, m.Transport, m.ReceivedFrom = h.src.String(), h.dst.String(), h.transport, h.receivedFrom
	resolveParties(h.in.deps.Resolver, company, m)
	o := h.observation(company, b)
	o.record.CallKey = m.CallId
	o.record.Body = &telemetry.Record_Sip{Sip: m}
	o.sip(m, h.in.shareBindings)
	if body := vqBody(m); body != nil {
		h.vqFrom(body, company, m)
	}
}

func (in *Ingester) shareBindings(bindings []*telemetry.Binding) {
	if in.cfg.Bindings.Share {
		in.producer.share(in.instance, bindings)
	}
}

func resolveParties(r Resolver, company string, m *telemetry.SIPMessage) {
	m.Caller, m.Callee = party(r, company, m.From), party(r, company, m.To)
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

func (h *heard) vqRecord(company string, b []byte, vq *telemetry.VQReport) {
	if vq.Identity == nil {
		vq.Identity = vqIdentity(h.in.deps.Resolver, company, vq)
	}
	vq.Raw = bytes.Clone(vq.Raw) // it may wait longer than the buffer lives
	o := h.observation(company, b)
	o.record.Body = &telemetry.Record_Vq{Vq: vq}
	switch {
	case vq.CallId != "":
		o.keyed(vq.CallId)
	default:
		o.media(vqMedia(vq), h.correlationID, true)
	}
}

func vqIdentity(r Resolver, company string, vq *telemetry.VQReport) *telemetry.Identity {
	user, host := sip.UserHost(vq.From)
	if user == "" {
		return nil
	}
	return party(r, company, &telemetry.NameAddr{User: user, Host: host})
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

func (h *heard) rtcp(b []byte) {
	h.tally.Received()
	p, err := rtcp.Decode(b)
	if err != nil && !errors.Is(err, rtcp.ErrEncrypted) {
		h.tally.Rejected(reasonOf(err))
		return
	}
	h.rtcpRecord(b, p, false)
}

func (h *heard) rtcpJSON(b []byte) {
	h.tally.Received()
	p, _, err := rtcp.DecodeJSON(b)
	if err != nil {
		h.tally.Rejected(reasonOf(err))
		return
	}
	h.rtcpRecord(b, p, true)
}

func (h *heard) rtcpRecord(b []byte, p *telemetry.RTCPPacket, trusted bool) {
	p.Src, p.Dst = h.src.String(), h.dst.String()
	o := h.observation(h.scope, b)
	o.record.Body = &telemetry.Record_Rtcp{Rtcp: p}
	o.media(MediaPacket{h.src, h.dst, ssrcsOf(p)}, h.correlationID, trusted)
}

// observeRTCP takes one datagram of plain RTCP.
func (in *Ingester) observeRTCP(b []byte, remote, local netip.AddrPort, received time.Time, write sink) {
	w := Witness{Remote: remote.Addr()}
	scope := in.deps.Tenancy.Company(w)
	h := heard{
		in: in, write: write, tl: in.live, witness: w, scope: scope, tally: in.accounting.Tally(ListenerRTCP, remote.Addr().String(), scope),
		captureUs: received.UnixMicro(), atUs: received.UnixMicro(), receivedUs: received.UnixMicro(),
		source: &telemetry.Source{Kind: telemetry.Source_KIND_RTCP, Agent: remote.Addr().String()},
		src:    remote, dst: local, transport: "udp",
	}
	h.rtcp(b)
}

// observeWire takes one message that the registrar received or sent.
func (in *Ingester) observeWire(m registrar.Message) {
	w := Witness{Remote: m.Peer.Addr()}
	listener := ListenerSIPUDP
	if m.Transport == "tcp" {
		listener = ListenerSIPTCP
	}
	scope := in.deps.Tenancy.Company(w)
	us := m.At.UnixMicro()
	h := heard{
		in: in, write: in.droppingSink(), tl: in.live, witness: w, scope: scope, tally: in.accounting.Tally(listener, "", scope),
		captureUs: us, atUs: us, receivedUs: us,
		source: &telemetry.Source{Kind: telemetry.Source_KIND_SIP, Agent: m.Peer.Addr().String()},
		src:    m.Src, dst: m.Dst, transport: m.Transport, receivedFrom: m.Peer.String(),
	}
	if m.Err != nil {
		h.tally.Received()
		h.tally.Rejected(reasonOf(m.Err))
		return
	}
	h.sip(m.Raw)
}
