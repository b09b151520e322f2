package sip

import (
	"math"
	"strconv"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// statNames are the headers in which phones and gateways tell at the end of a
// call, in BYE and its 200, what they measured:
//
//	X-RTP-Stat     AVM, Grandstream, Patton, AudioCodes, Poly ATA, baresip
//	P-RTP-Stat     Cisco CUBE, TelcoBridges and phones after them
//	RTP-RxStat     Cisco phones, snom; what was received; RTP-TxStat: what was sent
//	RxStat, TxStat the same of older Cisco phones
//	X-Siemens-…    Unify
var statNames = [...]string{
	statX, statP, statRx, statTx, statOldRx, statOldTx, "x-rtp-stats", "p-rtp-stats", "x-rtp-statistics", "x-ng-rtp-stats",
	"x-siemens-rtp-stats", "x-siemens-rtp-stats-list",
}

const (
	statX     = "x-rtp-stat"
	statP     = "p-rtp-stat"
	statRx    = "rtp-rxstat"
	statTx    = "rtp-txstat"
	statOldRx = "rxstat"
	statOldTx = "txstat"
)

// Bounds of what a header can mean. JI is in ms where a vendor says so, and taken
// for ms where none does; more than maxStatJitterMs is then in another unit.
const (
	maxStats        = 8 // of a message
	maxStatPairs    = 128
	maxStatJitterMs = 500
	maxStatDelayMs  = 10_000
	maxStatCount    = 1 << 48
)

// statName is the name of a statistics header in lower case; empty for others.
func statName(name string) string {
	for _, known := range statNames {
		if is(name, known) {
			return known
		}
	}
	return ""
}

// ParseRTPStat reads the value of a statistics header; nil if it says nothing
// that is known. It accepts any order, semicolons and commas, unknown keys and
// values that are none ("-", "-1"), which are left out.
func ParseRTPStat(name, value string) *telemetry.RTPStat {
	header := statName(name)
	if header == "" {
		return nil
	}
	p := statParser{out: &telemetry.RTPStat{Header: header}}
	for range maxStatPairs {
		if value == "" {
			break
		}
		var key, v string
		key, v, value = cutStat(value)
		p.metrics = p.metrics || is(key, "vqmetrics")
		if v == "" {
			continue
		}
		switch header {
		case statRx, statOldRx:
			p.received(key, v)
		case statTx, statOldTx:
			p.sent(key, v)
		default:
			p.both(key, v)
		}
	}
	if !p.known {
		return nil
	}
	p.jitterUnit()
	return p.out
}

// jitterUnit turns a jitter that was read as timestamp units into ms where these
// are meant. Older Cisco phones count in units, as Cisco documents for RxStat;
// those with VQMetrics in ms, as their screens show it. baresip counted in units
// before it told the round trip.
func (p *statParser) jitterUnit() {
	o := p.out
	units := o.JitterTimestampUnits
	if units == nil || !p.metrics && !(p.baresip && o.RoundTripMs != nil) {
		o.RemoteJitterMs = nil
		return
	}
	o.JitterTimestampUnits = nil
	if *units <= maxStatJitterMs {
		o.JitterMs = units
	}
}

// cutStat gives the first KEY=value and what follows it. Semicolons and quotes
// end a value, for the groups that Cisco has in quotes need none; a comma does
// where a key follows, else it is part of the value (AVM: "JI=23,2").
func cutStat(s string) (key, value, rest string) {
	end := len(s)
	for i := range len(s) {
		if c := s[i]; c == ';' || c == '"' || c == ',' && beginsPair(s[i+1:]) {
			end, rest = i, s[i+1:]
			break
		}
	}
	key, value, _ = cut(s[:end], '=')
	return trim(key), trim(value), rest
}

// beginsPair looks no further than a key is long. A comma at the end separates too.
func beginsPair(s string) bool {
	s = s[:min(len(s), 32)]
	i := strings.IndexAny(s, "=;,\"")
	return i < 0 && trim(s) == "" || i > 0 && s[i] == '='
}

type statParser struct {
	out     *telemetry.RTPStat
	known   bool
	metrics bool // there are Cisco's VQMetrics
	baresip bool // its pairs of numbers are of received and of sent packets
}

// both reads the headers that speak of both directions.
func (p *statParser) both(key, v string) {
	o := p.out
	switch key = strings.ToUpper(key); key {
	case "EX":
		p.baresip = is(v, "baresip")
	case "PS":
		o.PacketsSent = p.count(v)
	case "OS":
		o.OctetsSent = p.count(v)
	case "PR":
		o.PacketsReceived = p.count(v)
	case "OR":
		o.OctetsReceived = p.count(v)
	case "PL":
		lost, other, _ := cut(v, ',') // the second number is AVM's longest gap, or baresip's other direction
		o.PacketsLost = p.count(lost)
		if p.baresip {
			o.RemotePacketsLost = p.count(other)
		}
	case "PD":
		discarded, _, _ := cut(v, ',')
		o.PacketsDiscarded = p.count(discarded)
	case "JI":
		p.jitter(v)
	case "LA":
		// Cisco says that its latency is the round trip; others do not say.
		if ms := p.number(v, math.SmallestNonzeroFloat64, maxStatDelayMs); o.Header == statP {
			o.RoundTripMs = ms
		} else {
			o.LatencyMs = ms
		}
	case "RT":
		o.RoundTripMs = p.number(v, math.SmallestNonzeroFloat64, maxStatDelayMs)
	case "DU", "CD":
		o.DurationS = p.seconds(v)
	case "MOS":
		o.MosLq = p.number(v, 1, 5)
	case "EN":
		o.Encoder, p.known = v, true
	case "DE":
		o.Decoder, p.known = v, true
	}
}

// jitter reads the mean, or the mean and the maximum in either order.
func (p *statParser) jitter(v string) {
	o := p.out
	first, second, two := cut(v, ',')
	if p.baresip {
		o.JitterTimestampUnits = p.number(first, 0, math.MaxUint32)
		o.RemoteJitterMs = p.number(second, 0, maxStatJitterMs)
		return
	}
	a := p.number(first, 0, maxStatJitterMs)
	if !two {
		o.JitterMs = a
		return
	}
	// Of one that is left it cannot be known which it is.
	if b := p.number(second, 0, maxStatJitterMs); a != nil && b != nil {
		low, high := min(*a, *b), max(*a, *b)
		o.JitterMs, o.JitterMaxMs = &low, &high
	}
}

// received reads what Cisco and snom say about what was received.
func (p *statParser) received(key, v string) {
	o := p.out
	switch strings.ToLower(key) {
	case "dur":
		o.DurationS = p.seconds(v)
	case "pkt", "rx_pkts":
		o.PacketsReceived = p.count(v)
	case "oct":
		o.OctetsReceived = p.count(v)
	case "latepkt":
		o.PacketsDiscarded = p.count(v)
	case "lostpkt", "rx_pkts_lost":
		o.PacketsLost = p.count(v)
	case "remote_rx_pkts_lost":
		o.RemotePacketsLost = p.count(v)
	case "avgjit":
		o.JitterTimestampUnits = p.number(v, 0, math.MaxUint32)
	case "maxjitter":
		o.JitterMaxMs = p.number(v, 0, maxStatJitterMs)
	case "voonewaydelayms":
		o.LatencyMs = p.number(v, math.SmallestNonzeroFloat64, maxStatDelayMs)
	case "ccr": // cumulative concealment ratio
		if ratio := p.number(v, 0, 1); ratio != nil {
			percent := 100 * *ratio
			o.ConcealmentPercent = &percent
		}
	case "moslq", "mlqk":
		if mos := p.number(v, 1, 5); mos != nil {
			o.MosLq = mos
		}
	case "moscq":
		o.MosCq = p.number(v, 1, 5)
	case "vorxcodec":
		o.Decoder, p.known = v, true
	}
}

// sent reads what they say about what was sent.
func (p *statParser) sent(key, v string) {
	o := p.out
	switch strings.ToLower(key) {
	case "dur":
		o.DurationS = p.seconds(v)
	case "pkt", "tx_pkts":
		o.PacketsSent = p.count(v)
	case "oct":
		o.OctetsSent = p.count(v)
	case "votxcodec":
		o.Encoder, p.known = v, true
	}
}

// count reads a number of packets or octets; nil where it is none.
func (p *statParser) count(v string) *uint64 {
	n, err := strconv.ParseUint(trim(v), 10, 64)
	if err != nil || n > maxStatCount {
		return nil
	}
	p.known = true
	return &n
}

func (p *statParser) seconds(v string) *uint32 {
	n, ok := decimal(v)
	if !ok || n == math.MaxUint32 {
		return nil
	}
	s := uint32(n)
	return &s
}

func (p *statParser) number(v string, lowest, highest float64) *float64 {
	f := vqFloat(trim(v), lowest, highest)
	p.known = p.known || f != nil
	return f
}
