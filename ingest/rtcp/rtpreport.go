package rtcp

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// rtpReport is what agents that measure RTP on its way say of a stream: the RTP
// modules of captagent and hepagent, and hepfix.js, which takes it from the IPFIX
// records of session border controllers. Where a member has two names the second
// is that of the report at the end of the call.
type rtpReport struct {
	CallID        string `json:"RTP_SIP_CALL_ID"`
	CorrelationID string `json:"CORRELATION_ID"`
	Type          string `json:"TYPE"` // PERIODIC, FINAL, HANGUP

	SrcIP   string `json:"SRC_IP"`
	SrcPort number `json:"SRC_PORT"`
	DstIP   string `json:"DST_IP"`
	DstPort number `json:"DST_PORT"`

	SSRC      ssrc   `json:"SSRC"`
	CodecPT   number `json:"CODEC_PT"`
	CodecName name   `json:"CODEC_NAME"`
	Clock     number `json:"CLOCK"`        // Hz
	Start     number `json:"REPORT_START"` // Unix seconds
	End       number `json:"REPORT_END"`

	Expected      number `json:"EXPECTED_PK"`
	TotalExpected number `json:"TOTAL_EXPECTED_PK"`
	Lost          number `json:"PACKET_LOSS"`
	TotalLost     number `json:"TOTAL_PACKET_LOSS"`
	Jitter        number `json:"JITTER"` // ms
	MeanJitter    number `json:"MEAN_JITTER"`
	MOS           number `json:"MOS"`
	MeanMOS       number `json:"MEAN_MOS"`
	R             number `json:"RFACTOR"`
	MeanR         number `json:"MEAN_RFACTOR"`
}

// number is a number, also in a string, NaN where it is none or not there.
type number struct {
	value float64
	isSet bool
}

func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(unquoted(b)), 64)
	*n = number{v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)}
	return nil
}

// within gives the number if it is one between two others.
func (n number) within(low, high float64) (float64, bool) {
	return n.value, n.isSet && n.value >= low && n.value <= high
}

func (n number) optional(low, high float64) *float64 {
	if v, ok := n.within(low, high); ok {
		return &v
	}
	return nil
}

func (n number) integer(low, high float64) int64 {
	if v, ok := n.within(low, high); ok {
		return int64(v)
	}
	return 0
}

// ssrc is written in hex as a string, or as a number.
type ssrc uint32

func (s *ssrc) UnmarshalJSON(b []byte) error {
	text, base := strings.TrimSpace(unquoted(b)), 10
	if len(b) > 0 && b[0] == '"' {
		base = 16
		if lower := strings.ToLower(text); strings.HasPrefix(lower, "0x") {
			text = text[2:]
		}
	}
	v, _ := strconv.ParseUint(text, base, 32)
	*s = ssrc(v)
	return nil
}

// name is a codec's name; some agents have the payload type there.
type name string

func (n *name) UnmarshalJSON(b []byte) error {
	text := unquoted(b)
	if _, err := strconv.Atoi(text); err != nil && len(b) > 0 && b[0] == '"' {
		*n = name(strings.ToUpper(text))
	}
	return nil
}

func unquoted(b []byte) string {
	var s string
	if len(b) > 0 && b[0] == '"' && json.Unmarshal(b, &s) == nil {
		return s
	}
	return string(b)
}

func either(a, b number) number {
	if a.isSet {
		return a
	}
	return b
}

// DecodeRTPReport reads the report of an agent that measures RTP on its way, the
// JSON of HEP types 34 ("MOS full") and 35. It gives what RFC 6035 would have
// the receiver of that stream report: Local is what arrived at LocalAddress, as
// far as the agent could see, and its score is of listening, for the agent knows
// no delay. Raw is b itself.
func DecodeRTPReport(b []byte) (*telemetry.VQReport, error) {
	var in rtpReport
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	m := in.metrics()
	callID := in.CallID
	if callID == "" {
		callID = in.CorrelationID
	}
	if callID == "" && (in.SrcIP == "" || in.DstIP == "") || m.LossPercent == nil && m.JitterMs == nil && m.MosLq == nil {
		return nil, ErrJSON
	}
	out := &telemetry.VQReport{
		Report: "CallTerm", CallId: callID, Local: m, Raw: b,
		LocalAddress: address(in.DstIP, in.DstPort), RemoteAddress: address(in.SrcIP, in.SrcPort),
	}
	if strings.EqualFold(in.Type, "periodic") {
		out.Report = "Interval"
	}
	return out, nil
}

func (in *rtpReport) metrics() *telemetry.VQMetrics {
	m := &telemetry.VQMetrics{
		Ssrc: uint32(in.SSRC), PayloadType: uint32(in.CodecPT.integer(0, 127)), Codec: string(in.CodecName), ClockRate: uint32(in.Clock.integer(1, 1e6)),
		StartUs: in.Start.integer(0, math.MaxUint32) * 1_000_000, StopUs: in.End.integer(0, math.MaxUint32) * 1_000_000,
		JitterMs: either(in.MeanJitter, in.Jitter).optional(0, 60_000),
		MosLq:    either(in.MeanMOS, in.MOS).optional(1, 5),
		RLq:      either(in.MeanR, in.R).optional(0, 120),
	}
	expected, known := either(in.Expected, in.TotalExpected).within(1, math.MaxUint32)
	lost, counted := either(in.Lost, in.TotalLost).within(0, math.MaxUint32)
	if known && counted {
		percent := min(100*lost/expected, 100)
		m.LossPercent = &percent
	}
	return m
}

func address(host string, port number) string {
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.FormatInt(port.integer(0, math.MaxUint16), 10))
}
