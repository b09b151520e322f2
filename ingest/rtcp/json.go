package rtcp

import (
	"bytes"
	"math"
	"strconv"
	"unsafe"

	"github.com/earshot/earshot/telemetry"
)

// Profile names the sender of an RTCP JSON document, known by its habits.
type Profile uint8

// Senders of RTCP JSON.
const (
	ProfileUnknown   Profile = iota
	ProfileHeplify           // NTP in raw words; loss unsigned; XR zero-filled
	ProfileRTPEngine         // NTP in raw words; one document per compound
	ProfileAsterisk          // NTP as strings, Unix seconds and microseconds
	ProfileHepipe            // SSRCs in hex; counters are of the interval
	ProfileCaptagent         // only the first block; loss signed
	ProfilePion              // packets as github.com/pion/rtcp has them, in a list
)

// String gives the sender's name in lower case, as metrics label it.
func (p Profile) String() string {
	switch p {
	case ProfileHeplify:
		return "heplify"
	case ProfileRTPEngine:
		return "rtpengine"
	case ProfileAsterisk:
		return "asterisk"
	case ProfileHepipe:
		return "hepipe"
	case ProfileCaptagent:
		return "captagent"
	case ProfilePion:
		return "pion"
	default:
		return "unknown"
	}
}

// document is the union of what the senders write, and the scratch of DecodeJSON.
type document struct {
	ssrc, typ, sdesSSRC value
	sender              senderInfo
	blocks              []block
	xr                  xrBlock // report_blocks_xr: heplify
	voip                xrBlock // voip_metrics: the same, where it is written whole
	extended            xrBlock // extended_report_information: captagent

	hasSender, hasXR, hasVoIP, hasExtended bool
	// Ordinals among the members, from 1: captagent writes the blocks first.
	members, countAt, blocksAt int
}

type senderInfo struct {
	ntpSec, ntpUsec, rtpTimestamp, packets, octets value
}

type block struct {
	sourceSSRC, fractionLost, packetsLost, highestSeq, jitter, lsr, dlsr value
}

// xrBlock is the VoIP metrics block under the names that the senders give its
// members; a member has at most three.
type xrBlock struct {
	typ, ssrc                                       value
	lossRate, discardRate, burstDensity, gapDensity value
	burstDuration, gapDuration                      value
	roundTripDelay, endSystemDelay                  value
	signalLevel, noiseLevel, rerl, gmin             value
	rFactor, extRFactor, mosLQ, mosCQ               value
	rxConfig, jbNominal, jbMaximum, jbAbsMax        value
}

// value is an integer written as a number or a string, in decimal or hex. What
// cannot be read is absent: one member that a sender garbles must not cost the
// report.
type value struct {
	n      int64
	f      float64 // where it was written with a fraction
	isSet  bool
	quoted bool
	hex    bool // as a string, and not to be read in decimal
}

func (v *value) setText(s string, quoted bool) {
	*v = value{quoted: quoted}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		v.n, v.isSet = n, true
		return
	}
	if quoted {
		digits := s
		if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			digits = s[2:]
		}
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil {
			v.n, v.isSet, v.hex = int64(n), true, true
			return
		}
	}
	v.setFloat(s)
}

func (v *value) setFloat(s string) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<53 {
		v.n, v.f, v.isSet = int64(f), f, true
	}
}

// u32 reads an unsigned word; hepgen.js writes it as a signed one.
func (v value) u32() uint32 { return uint32(v.n) }

// ssrcValue reads an SSRC. Only hepipe.js writes one as a string, and then in
// hex, which eight decimal digits may be too.
func (v value) ssrcValue() uint32 {
	if !v.quoted || v.hex || v.n < 0 || v.n > 99_999_999 {
		return uint32(v.n)
	}
	var hex uint32 // the decimal digits read as hex ones
	for shift, n := 0, v.n; n > 0; shift, n = shift+4, n/10 {
		hex |= uint32(n%10) << shift
	}
	return hex
}

// lost reads the cumulative number of packets lost, a signed 24-bit number
// that some senders write as if it were unsigned.
func (v value) lost() int32 {
	switch {
	case v.n >= 1<<23 && v.n < 1<<24:
		return signed24(uint32(v.n))
	case v.n > math.MaxInt32 && v.n <= math.MaxUint32:
		return int32(uint32(v.n))
	default:
		return int32(max(math.MinInt32, min(math.MaxInt32, v.n)))
	}
}

func (v value) clamp(highest int64) uint32 { return uint32(max(0, min(highest, v.n))) }

// level reads a level in dBm0.
func (v value) level() int32 {
	if !v.isSet {
		return unavailable // RFC 3611 §4.7.4
	}
	return int32(int8(v.n))
}

// unavailable is what VoIP metrics have where there is no value.
const unavailable = 127

// optional reads what is unavailable and not 0 where it was not written.
func (v value) optional() uint32 {
	if !v.isSet {
		return unavailable
	}
	return v.clamp(255)
}

// mosX10 reads a MOS, which heplify 2 writes as such and the block has times ten.
func (v value) mosX10() uint32 {
	switch {
	case v.f > 0 && v.f < 25.6:
		return uint32(math.Round(v.f * 10))
	case v.isSet && v.n > 0 && v.n < 10:
		return uint32(v.n) * 10
	default:
		return v.optional()
	}
}

// Seconds between 1900, where NTP begins, and 1970.
const ntpUnixOffset = 2208988800

// DecodeJSON reads the RTCP JSON of HEP payload types 5 and 58. What it gives is
// valid like Decode's until the next call of either. A member of a wrong type is
// as absent; apart from that, and from nesting deeper than maxDepth, it accepts
// what encoding/json does.
func (d *Decoder) DecodeJSON(b []byte) (*telemetry.RTCPPacket, Profile, error) {
	b = bytes.TrimRight(bytes.TrimSpace(b), "\x00")
	if len(b) > 0 && b[0] == '[' {
		return d.decodePion(b)
	}
	if !d.scan(b) {
		return nil, ProfileUnknown, ErrJSON
	}
	return d.build(b)
}

// build makes the packet of the scanned document.
func (d *Decoder) build(b []byte) (*telemetry.RTCPPacket, Profile, error) {
	doc := &d.doc
	hasSender := doc.hasSender && doc.sender.present()
	if !doc.ssrc.isSet && !hasSender && len(doc.blocks) == 0 {
		return nil, ProfileUnknown, ErrJSON
	}
	profile := doc.recognise(b)
	p := d.reset()
	p.SenderSsrc = doc.ssrc.ssrcValue()
	if p.SenderSsrc == 0 {
		p.SenderSsrc = doc.sdesSSRC.ssrcValue() // heplify 2 of a compound that begins with a description
	}
	// Asterisk and FreeSWITCH report what they sent and received themselves; the
	// time is when they said so, not when the packet passed.
	p.EndpointReport = profile == ProfileAsterisk || profile == ProfileHepipe
	p.IntervalCounters = profile == ProfileHepipe
	// The type is 202 or 200 for any compound with some senders: what is there decides.
	if hasSender {
		s := d.senders.next()
		s.Ssrc = p.SenderSsrc
		s.Ntp = doc.sender.ntp()
		s.RtpTimestamp = doc.sender.rtpTimestamp.u32()
		s.PacketCount = doc.sender.packets.u32()
		s.OctetCount = doc.sender.octets.u32()
	}
	for i := range doc.blocks {
		in := &doc.blocks[i]
		if in.empty() {
			continue
		}
		r := d.reports.next()
		r.ReporterSsrc = p.SenderSsrc
		r.Ssrc = in.sourceSSRC.ssrcValue()
		r.FractionLost = in.fractionLost.clamp(255)
		r.CumulativeLost = in.packetsLost.lost()
		r.HighestSeq = in.highestSeq.u32()
		r.Jitter = in.jitter.u32()
		r.Lsr = in.lsr.u32()
		r.Dlsr = in.dlsr.u32()
	}
	if !hasSender && (doc.typ.n == typeRR || d.reports.n > 0) {
		p.ReceiverReports = 1
	}
	hasVoIP := doc.hasVoIP && !doc.voip.empty(false)
	if hasVoIP {
		d.voipOf(&doc.voip, p.SenderSsrc)
	}
	// heplify 2 writes the same block twice, whole and in part.
	if doc.hasXR && !doc.xr.empty(true) && !(hasVoIP && doc.voip.ssrc.n == doc.xr.ssrc.n) {
		d.voipOf(&doc.xr, p.SenderSsrc)
	}
	if doc.hasExtended && !doc.extended.empty(false) {
		d.voipOf(&doc.extended, p.SenderSsrc)
	}
	return d.finish(), profile, nil
}

func (s *senderInfo) present() bool {
	return s.ntpSec.n != 0 || s.rtpTimestamp.n != 0 || s.packets.n != 0
}

// isUnix tells Unix seconds from NTP's: as NTP they would be before 1970.
func (s *senderInfo) isUnix() bool {
	return s.ntpSec.n > 0 && s.ntpSec.n < ntpUnixOffset && s.ntpUsec.n < 1_000_000
}

func (s *senderInfo) ntp() uint64 {
	if s.isUnix() {
		fraction := (uint64(s.ntpUsec.n)<<32 + 500_000) / 1_000_000
		return (uint64(s.ntpSec.n)+ntpUnixOffset)<<32 | min(fraction, math.MaxUint32)
	}
	return uint64(s.ntpSec.u32())<<32 | uint64(s.ntpUsec.u32())
}

// empty reports a block that a sender filled with zeros because there was none.
func (r *block) empty() bool {
	return r.sourceSSRC.n == 0 && r.highestSeq.n == 0 && r.packetsLost.n == 0 && r.jitter.n == 0 && r.lsr.n == 0
}

// empty reports a block that is another than VoIP metrics, or none: heplify's is
// always there, zeroFilled.
func (x *xrBlock) empty(zeroFilled bool) bool {
	if x.typ.n != 0 {
		return x.typ.n != blockVoIPMetrics
	}
	return x.ssrc.n == 0 && (zeroFilled || !x.lossRate.isSet)
}

func (d *Decoder) voipOf(x *xrBlock, reporter uint32) {
	m := d.voip.next()
	m.ReporterSsrc = reporter
	m.Ssrc = x.ssrc.ssrcValue()
	m.LossRate = x.lossRate.clamp(255)
	m.DiscardRate = x.discardRate.clamp(255)
	m.BurstDensity = x.burstDensity.clamp(255)
	m.GapDensity = x.gapDensity.clamp(255)
	m.BurstDurationMs = x.burstDuration.clamp(math.MaxUint16)
	m.GapDurationMs = x.gapDuration.clamp(math.MaxUint16)
	m.RoundTripDelayMs = x.roundTripDelay.clamp(math.MaxUint16)
	m.EndSystemDelayMs = x.endSystemDelay.clamp(math.MaxUint16)
	m.SignalLevelDbm0 = x.signalLevel.level()
	m.NoiseLevelDbm0 = x.noiseLevel.level()
	m.RerlDb = x.rerl.optional()
	m.Gmin = x.gmin.clamp(255)
	m.RFactor = x.rFactor.optional()
	m.ExtRFactor = x.extRFactor.optional()
	m.MosLqX10 = x.mosLQ.mosX10()
	m.MosCqX10 = x.mosCQ.mosX10()
	// heplify 2 takes the one for the other. A conversation, where delay counts
	// too, is never better than listening (RFC 3611 §4.7.5).
	if m.MosLqX10 >= 10 && m.MosLqX10 < m.MosCqX10 && m.MosCqX10 <= 50 {
		m.MosLqX10, m.MosCqX10 = m.MosCqX10, m.MosLqX10
	}
	m.RxConfig = x.rxConfig.clamp(255)
	m.JbNominalMs = x.jbNominal.clamp(math.MaxUint16)
	m.JbMaximumMs = x.jbMaximum.clamp(math.MaxUint16)
	m.JbAbsMaxMs = x.jbAbsMax.clamp(math.MaxUint16)
}

// recognise knows the sender by what only it writes.
func (doc *document) recognise(b []byte) Profile {
	switch {
	case doc.ssrc.quoted || len(doc.blocks) > 0 && doc.blocks[0].sourceSSRC.quoted:
		return ProfileHepipe
	case doc.hasSender && doc.sender.ntpSec.quoted && doc.sender.isUnix(),
		!doc.hasSender && len(doc.blocks) > 0 && doc.blocks[0].lsr.quoted:
		return ProfileAsterisk
	case doc.hasXR:
		return ProfileHeplify
	case doc.hasExtended:
		return ProfileCaptagent
	case doc.countAt == 0 || doc.blocksAt == 0:
		return ProfileUnknown
	case doc.blocksAt < doc.countAt:
		return ProfileCaptagent
	case bytes.HasPrefix(b, []byte("{ ")):
		return ProfileRTPEngine
	default:
		return ProfileUnknown
	}
}

// maxKey is the longest member name that is looked up.
const maxKey = 40

// scan reads the document in one pass.
func (d *Decoder) scan(b []byte) bool {
	d.emptyDocument()
	doc := &d.doc
	s := scanner{b: b}
	if !s.open('{') {
		return false
	}
	for s.nextMember('}') {
		key, ok := s.key()
		if !ok {
			return false
		}
		doc.members++
		if !d.member(&s, key) {
			lower, changed := d.lower(key)
			if !changed || !d.member(&s, lower) {
				s.skip()
			}
		}
	}
	return !s.bad && s.atEnd()
}

// emptyDocument empties the scratch. Its largest part is seldom used.
func (d *Decoder) emptyDocument() {
	doc := &d.doc
	if d.touchedXR {
		d.touchedXR = false
		doc.xr, doc.voip, doc.extended = xrBlock{}, xrBlock{}, xrBlock{}
	}
	doc.ssrc, doc.typ, doc.sdesSSRC, doc.sender, doc.blocks = value{}, value{}, value{}, senderInfo{}, doc.blocks[:0]
	doc.hasSender, doc.hasXR, doc.hasVoIP, doc.hasExtended = false, false, false, false
	doc.members, doc.countAt, doc.blocksAt = 0, 0, 0
}

// lower gives a name in lower case, and whether that is another one.
func (d *Decoder) lower(key string) (string, bool) {
	if len(key) > maxKey {
		return "", false
	}
	changed := false
	for i := range len(key) {
		c := key[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
			changed = true
		}
		d.key[i] = c
	}
	return unsafe.String(&d.key[0], len(key)), changed
}

// member reads one member of the document, false if the name is not known.
func (d *Decoder) member(s *scanner, key string) bool {
	doc := &d.doc
	switch key {
	case "ssrc":
		s.value(&doc.ssrc)
	case "type":
		s.value(&doc.typ)
	case "sdes_ssrc":
		s.value(&doc.sdesSSRC)
	case "report_count":
		if doc.countAt == 0 {
			doc.countAt = doc.members
		}
		s.skip()
	case "report_blocks":
		if doc.blocksAt == 0 {
			doc.blocksAt = doc.members
		}
		d.reportBlocks(s)
	case "sender_information":
		d.object(s, &doc.sender, &doc.hasSender)
	case "report_blocks_xr":
		d.touchedXR = true
		d.object(s, &doc.xr, &doc.hasXR)
	case "voip_metrics":
		d.touchedXR = true
		d.object(s, &doc.voip, &doc.hasVoIP)
	case "extended_report_information":
		d.touchedXR = true
		d.object(s, &doc.extended, &doc.hasExtended)
	default:
		return false
	}
	return true
}

func (d *Decoder) reportBlocks(s *scanner) {
	switch s.peek() {
	case '[':
	case 'n':
		d.doc.blocks = d.doc.blocks[:0]
		s.skip()
		return
	default:
		s.skip()
		return
	}
	blocks := d.doc.blocks[:0]
	s.open('[')
	for s.nextMember(']') {
		blocks = append(blocks, block{})
		var has bool
		d.object(s, &blocks[len(blocks)-1], &has)
	}
	d.doc.blocks = blocks
}

// members gives the place of a member by its name, nil if it has none.
type members interface{ slot(key string) *value }

// object reads an object of scalars into m; has tells that it was one.
func (d *Decoder) object(s *scanner, m members, has *bool) {
	if c := s.peek(); c != '{' {
		if c == 'n' {
			*has = false
		}
		s.skip()
		return
	}
	*has = true
	s.open('{')
	for s.nextMember('}') {
		key, ok := s.key()
		if !ok {
			return
		}
		slot := m.slot(key)
		if slot == nil {
			if lower, changed := d.lower(key); changed {
				slot = m.slot(lower)
			}
		}
		if slot != nil {
			s.value(slot)
		} else {
			s.skip()
		}
	}
}

func (s *senderInfo) slot(key string) *value {
	switch key {
	case "ntp_timestamp_sec":
		return &s.ntpSec
	case "ntp_timestamp_usec":
		return &s.ntpUsec
	case "rtp_timestamp":
		return &s.rtpTimestamp
	case "packets":
		return &s.packets
	case "octets":
		return &s.octets
	}
	return nil
}

func (r *block) slot(key string) *value {
	switch key {
	case "source_ssrc":
		return &r.sourceSSRC
	case "fraction_lost":
		return &r.fractionLost
	case "packets_lost":
		return &r.packetsLost
	case "highest_seq_no":
		return &r.highestSeq
	case "ia_jitter":
		return &r.jitter
	case "lsr":
		return &r.lsr
	case "dlsr":
		return &r.dlsr
	}
	return nil
}

func (x *xrBlock) slot(key string) *value {
	switch key {
	case "type":
		return &x.typ
	case "id", "identifier", "ssrc":
		return &x.ssrc
	case "fraction_lost", "loss_rate":
		return &x.lossRate
	case "fraction_discard", "discard_rate":
		return &x.discardRate
	case "burst_density", "burst_rate":
		return &x.burstDensity
	case "gap_density", "gap_rate":
		return &x.gapDensity
	case "burst_duration":
		return &x.burstDuration
	case "gap_duration":
		return &x.gapDuration
	case "round_trip_delay":
		return &x.roundTripDelay
	case "end_system_delay", "end_sys_delay":
		return &x.endSystemDelay
	case "signal_level", "signal_lev":
		return &x.signalLevel
	case "noise_level", "noise_lev":
		return &x.noiseLevel
	case "rerl":
		return &x.rerl
	case "gmin":
		return &x.gmin
	case "r_factor", "r_fact":
		return &x.rFactor
	case "ext_r_factor", "ext_r_fact":
		return &x.extRFactor
	case "mos_lq":
		return &x.mosLQ
	case "mos_cq":
		return &x.mosCQ
	case "rx_config":
		return &x.rxConfig
	case "jb_nominal", "jb_nom":
		return &x.jbNominal
	case "jb_maximum", "jb_max":
		return &x.jbMaximum
	case "jb_abs_max":
		return &x.jbAbsMax
	}
	return nil
}
