package rtcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

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
	default:
		return "unknown"
	}
}

// document is the union of what the senders write.
type document struct {
	SSRC     value       `json:"ssrc"`
	Sender   *senderInfo `json:"sender_information"`
	Blocks   []block     `json:"report_blocks"`
	XR       *xrBlock    `json:"report_blocks_xr"`            // heplify
	VoIP     *xrBlock    `json:"voip_metrics"`                // the same, where it is written whole
	Extended *xrBlock    `json:"extended_report_information"` // captagent
	SDESSSRC value       `json:"sdes_ssrc"`
	Type     value       `json:"type"`
}

type senderInfo struct {
	NTPSec       value `json:"ntp_timestamp_sec"`
	NTPUsec      value `json:"ntp_timestamp_usec"`
	RTPTimestamp value `json:"rtp_timestamp"`
	Packets      value `json:"packets"`
	Octets       value `json:"octets"`
}

type block struct {
	SourceSSRC   value `json:"source_ssrc"`
	FractionLost value `json:"fraction_lost"`
	PacketsLost  value `json:"packets_lost"`
	HighestSeq   value `json:"highest_seq_no"`
	Jitter       value `json:"ia_jitter"`
	LSR          value `json:"lsr"`
	DLSR         value `json:"dlsr"`
}

// xrBlock is the VoIP metrics block under the names that the senders give its
// members; a member has at most two.
type xrBlock struct {
	Type            value `json:"type"`
	ID              value `json:"id"`
	Identifier      value `json:"identifier"`
	SSRC            value `json:"ssrc"`
	FractionLost    value `json:"fraction_lost"`
	LossRate        value `json:"loss_rate"`
	FractionDiscard value `json:"fraction_discard"`
	DiscardRate     value `json:"discard_rate"`
	BurstDensity    value `json:"burst_density"`
	BurstRate       value `json:"burst_rate"`
	GapDensity      value `json:"gap_density"`
	GapRate         value `json:"gap_rate"`
	BurstDuration   value `json:"burst_duration"`
	GapDuration     value `json:"gap_duration"`
	RoundTripDelay  value `json:"round_trip_delay"`
	EndSystemDelay  value `json:"end_system_delay"`
	EndSysDelay     value `json:"end_sys_delay"`
	SignalLevel     value `json:"signal_level"`
	SignalLev       value `json:"signal_lev"`
	NoiseLevel      value `json:"noise_level"`
	NoiseLev        value `json:"noise_lev"`
	RERL            value `json:"rerl"` // encoding/json matches captagent's RERL too
	Gmin            value `json:"gmin"`
	RFactor         value `json:"r_factor"`
	RFact           value `json:"r_fact"`
	ExtRFactor      value `json:"ext_r_factor"`
	ExtRFact        value `json:"ext_r_fact"`
	MOSLQ           value `json:"mos_lq"`
	MOSCQ           value `json:"mos_cq"`
	RxConfig        value `json:"rx_config"`
	JBNominal       value `json:"jb_nominal"`
	JBNom           value `json:"jb_nom"`
	JBMaximum       value `json:"jb_maximum"`
	JBMax           value `json:"jb_max"`
	JBAbsMax        value `json:"jb_abs_max"`
}

// value is an integer written as a number or a string, in decimal or hex.
type value struct {
	n      int64
	isSet  bool
	quoted bool
	hex    bool // as a string, and not to be read in decimal
}

// UnmarshalJSON accepts what it cannot read as absent: one member that a
// sender garbles must not cost the report.
func (v *value) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		v.quoted = true
		b = bytes.TrimSpace(b[1 : len(b)-1])
	}
	s := string(b)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		v.n, v.isSet = n, true
		return nil
	}
	if v.quoted {
		digits := s
		if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			digits = s[2:]
		}
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil {
			v.n, v.isSet, v.hex = int64(n), true, true
			return nil
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<53 {
		v.n, v.isSet = int64(f), true
	}
	return nil
}

// u32 reads an unsigned word; hepgen.js writes it as a signed one.
func (v value) u32() uint32 { return uint32(v.n) }

// ssrc reads an SSRC. Only hepipe.js writes one as a string, and then in hex,
// which eight decimal digits may be too.
func (v value) ssrc() uint32 {
	if v.quoted && !v.hex && v.n >= 0 && v.n <= 99_999_999 {
		if n, err := strconv.ParseUint(strconv.FormatInt(v.n, 10), 16, 32); err == nil {
			return uint32(n)
		}
	}
	return uint32(v.n)
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

func either(a, b value) value {
	if a.isSet {
		return a
	}
	return b
}

// Seconds between 1900, where NTP begins, and 1970.
const ntpUnixOffset = 2208988800

// DecodeJSON reads the RTCP JSON of HEP payload type 5.
func DecodeJSON(b []byte) (*telemetry.RTCPPacket, Profile, error) {
	b = bytes.TrimRight(bytes.TrimSpace(b), "\x00")
	if len(b) == 0 || b[0] != '{' {
		return nil, ProfileUnknown, ErrJSON
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, ProfileUnknown, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	hasSender := d.Sender != nil && d.Sender.present()
	if !d.SSRC.isSet && !hasSender && len(d.Blocks) == 0 {
		return nil, ProfileUnknown, ErrJSON
	}

	profile := recognise(b, &d)
	p := &telemetry.RTCPPacket{
		SenderSsrc: d.SSRC.ssrc(),
		// Asterisk and FreeSWITCH report what they sent and received themselves;
		// the time is when they said so, not when the packet passed.
		EndpointReport:   profile == ProfileAsterisk || profile == ProfileHepipe,
		IntervalCounters: profile == ProfileHepipe,
	}
	// The type is 202 or 200 for any compound with some senders: what is there decides.
	if hasSender {
		p.SenderReports = []*telemetry.SenderReport{{
			Ssrc:         p.SenderSsrc,
			Ntp:          d.Sender.ntp(),
			RtpTimestamp: d.Sender.RTPTimestamp.u32(),
			PacketCount:  d.Sender.Packets.u32(),
			OctetCount:   d.Sender.Octets.u32(),
		}}
	}
	for _, r := range d.Blocks {
		if r.empty() {
			continue
		}
		p.Reports = append(p.Reports, &telemetry.ReceptionReport{
			ReporterSsrc:   p.SenderSsrc,
			Ssrc:           r.SourceSSRC.ssrc(),
			FractionLost:   r.FractionLost.clamp(255),
			CumulativeLost: r.PacketsLost.lost(),
			HighestSeq:     r.HighestSeq.u32(),
			Jitter:         r.Jitter.u32(),
			Lsr:            r.LSR.u32(),
			Dlsr:           r.DLSR.u32(),
		})
	}
	for _, x := range []*xrBlock{d.XR, d.VoIP, d.Extended} {
		if x != nil && !x.empty() {
			p.VoipMetrics = append(p.VoipMetrics, x.metrics(p.SenderSsrc))
		}
	}
	return p, profile, nil
}

func (s *senderInfo) present() bool {
	return s.NTPSec.n != 0 || s.RTPTimestamp.n != 0 || s.Packets.n != 0
}

// isUnix tells Unix seconds from NTP's: as NTP they would be before 1970.
func (s *senderInfo) isUnix() bool {
	return s.NTPSec.n > 0 && s.NTPSec.n < ntpUnixOffset && s.NTPUsec.n < 1_000_000
}

func (s *senderInfo) ntp() uint64 {
	if s.isUnix() {
		fraction := (uint64(s.NTPUsec.n)<<32 + 500_000) / 1_000_000
		return (uint64(s.NTPSec.n)+ntpUnixOffset)<<32 | min(fraction, math.MaxUint32)
	}
	return uint64(s.NTPSec.u32())<<32 | uint64(s.NTPUsec.u32())
}

// empty reports a block that a sender filled with zeros because there was none.
func (r *block) empty() bool {
	return r.SourceSSRC.n == 0 && r.HighestSeq.n == 0 && r.PacketsLost.n == 0 && r.Jitter.n == 0 && r.LSR.n == 0
}

func (x *xrBlock) empty() bool {
	return x.Type.n != 0 && x.Type.n != blockVoIPMetrics ||
		x.Type.n == 0 && either(x.ID, either(x.Identifier, x.SSRC)).n == 0 && !x.LossRate.isSet
}

func (x *xrBlock) metrics(reporter uint32) *telemetry.VoIPMetrics {
	level := func(v value) int32 {
		if !v.isSet {
			return 127 // unavailable (RFC 3611 §4.7.4)
		}
		return int32(int8(v.n))
	}
	// What was not written is unavailable, which for these is 127 and not 0.
	optional := func(v value) uint32 {
		if !v.isSet {
			return 127
		}
		return v.clamp(255)
	}
	return &telemetry.VoIPMetrics{
		ReporterSsrc:     reporter,
		Ssrc:             either(x.ID, either(x.Identifier, x.SSRC)).ssrc(),
		LossRate:         either(x.FractionLost, x.LossRate).clamp(255),
		DiscardRate:      either(x.FractionDiscard, x.DiscardRate).clamp(255),
		BurstDensity:     either(x.BurstDensity, x.BurstRate).clamp(255),
		GapDensity:       either(x.GapDensity, x.GapRate).clamp(255),
		BurstDurationMs:  x.BurstDuration.clamp(math.MaxUint16),
		GapDurationMs:    x.GapDuration.clamp(math.MaxUint16),
		RoundTripDelayMs: x.RoundTripDelay.clamp(math.MaxUint16),
		EndSystemDelayMs: either(x.EndSystemDelay, x.EndSysDelay).clamp(math.MaxUint16),
		SignalLevelDbm0:  level(either(x.SignalLevel, x.SignalLev)),
		NoiseLevelDbm0:   level(either(x.NoiseLevel, x.NoiseLev)),
		RerlDb:           optional(x.RERL),
		Gmin:             x.Gmin.clamp(255),
		RFactor:          optional(either(x.RFactor, x.RFact)),
		ExtRFactor:       optional(either(x.ExtRFactor, x.ExtRFact)),
		MosLqX10:         optional(x.MOSLQ),
		MosCqX10:         optional(x.MOSCQ),
		RxConfig:         x.RxConfig.clamp(255),
		JbNominalMs:      either(x.JBNominal, x.JBNom).clamp(math.MaxUint16),
		JbMaximumMs:      either(x.JBMaximum, x.JBMax).clamp(math.MaxUint16),
		JbAbsMaxMs:       x.JBAbsMax.clamp(math.MaxUint16),
	}
}

// recognise knows the sender by what only it writes.
func recognise(b []byte, d *document) Profile {
	switch {
	case d.SSRC.quoted || len(d.Blocks) > 0 && d.Blocks[0].SourceSSRC.quoted:
		return ProfileHepipe
	case d.Sender != nil && d.Sender.NTPSec.quoted && d.Sender.isUnix(),
		d.Sender == nil && len(d.Blocks) > 0 && d.Blocks[0].LSR.quoted:
		return ProfileAsterisk
	case d.XR != nil:
		return ProfileHeplify
	case d.Extended != nil:
		return ProfileCaptagent
	}
	count, blocks := bytes.Index(b, []byte(`"report_count"`)), bytes.Index(b, []byte(`"report_blocks"`))
	switch {
	case count < 0 || blocks < 0:
		return ProfileUnknown
	case blocks < count:
		return ProfileCaptagent
	case bytes.HasPrefix(b, []byte("{ ")):
		return ProfileRTPEngine
	default:
		return ProfileUnknown
	}
}
