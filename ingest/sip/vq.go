package sip

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// MediaVQ is the media type of voice quality reports (RFC 6035 §4.6).
const MediaVQ = "application/vq-rtcpxr"

// maxVQLineBytes bounds a line, and with it what reading its pairs costs.
const maxVQLineBytes = 4096

// ParseVQ reads an application/vq-rtcpxr body (RFC 6035 and the dialects of the
// field: Polycom's and Cisco's after the drafts, snom's, Yealink's,
// liblinphone's). Groups and keys may be missing, in any order and case,
// separated by blanks, semicolons or commas, and numbers may have a unit. Raw is
// b itself, not a copy.
func ParseVQ(b []byte) (*telemetry.VQReport, error) { return ParseVQFrom(b, "") }

// ParseVQFrom is ParseVQ for a sender whose User-Agent is known.
func ParseVQFrom(b []byte, userAgent string) (*telemetry.VQReport, error) {
	r := &telemetry.VQReport{Raw: b}
	body := validText(string(b))
	p := vqParser{report: r, share: isLinphone(body, userAgent)}
	h := headers{rest: body}
	for {
		name, value, ok := h.nextLine()
		if !ok {
			break
		}
		p.line(strings.ToLower(name), value[:min(len(value), maxVQLineBytes)])
	}
	if !p.known {
		return nil, ErrVQ
	}
	if r.Report == "" {
		r.Report = "Session"
	}
	p.sources()
	return r, nil
}

// isLinphone tells liblinphone, which gives rates as a share of 1, rounded to
// one decimal, where RFC 6035 §4.6.1 has percent. Its reports are known by lines
// of its own where no User-Agent came with them.
func isLinphone(body, userAgent string) bool {
	if userAgent != "" {
		return strings.Contains(strings.ToLower(userAgent), "linphone")
	}
	return strings.Contains(body, "LinphoneExt:") || strings.Contains(body, "AdaptiveAlg:")
}

// nextLine is next for reports: a line need not have a colon, and an empty one
// does not end them, for some senders put one between their parts.
func (h *headers) nextLine() (name, value string, ok bool) {
	for len(h.rest) > 0 {
		var line string
		line, h.rest = cutLine(h.rest)
		if len(h.rest) > 0 && isBlank(h.rest[0]) {
			line = h.unfold(line)
		}
		if line = trim(line); line == "" {
			continue
		}
		name, value, _ = strings.Cut(line, ":")
		return trim(name), trim(value), true
	}
	return "", "", false
}

type vqParser struct {
	report                *telemetry.VQReport
	current               *telemetry.VQMetrics
	known                 bool // a line was seen that only a report has
	share                 bool // rates are a share of 1
	localSSRC, remoteSSRC uint32
}

// line reads one line of the report.
func (p *vqParser) line(name, value string) {
	r := p.report
	switch name {
	case "vqsessionreport":
		p.begin("Session")
		if strings.HasPrefix(strings.ToLower(value), "callterm") {
			r.Report = "CallTerm"
		}
	case "vqintervalreport":
		p.begin("Interval")
	case "vqalertreport":
		p.begin("Alert")
	case "localmetrics":
		r.Local = p.side(value)
	case "remotemetrics":
		r.Remote = p.side(value)
	case "callid": // Polycom has it inside the metrics
		if r.CallId == "" {
			r.CallId = value
		}
	case "localid":
		r.From = value
	case "remoteid":
		r.To = value
	case "fromid": // the drafts' names
		if r.From == "" {
			r.From = value
		}
	case "toid":
		if r.To == "" {
			r.To = value
		}
	case "localaddr":
		r.LocalAddress, p.localSSRC = vqAddress(value)
	case "remoteaddr":
		r.RemoteAddress, p.remoteSSRC = vqAddress(value)
	case "timestamps", "sessiondesc", "jitterbuffer", "packetloss", "burstgaploss", "delay", "signal", "qualityest":
		p.metrics(value)
	}
}

func (p *vqParser) begin(report string) { p.report.Report, p.known = report, true }

// side begins the metrics of one side; some have them on the same line.
func (p *vqParser) side(value string) *telemetry.VQMetrics {
	m := new(telemetry.VQMetrics)
	p.known, p.current = true, m
	p.metrics(value)
	return m
}

// sources gives each side's metrics the SSRC they are about: local metrics are
// of what was received, hence of the remote side's stream (RFC 6035 §4.6.2).
func (p *vqParser) sources() {
	if p.report.Local != nil {
		p.report.Local.Ssrc = p.remoteSSRC
	}
	if p.report.Remote != nil {
		p.report.Remote.Ssrc = p.localSSRC
	}
}

// vqAddress reads "IP=192.0.2.1 PORT=5000 SSRC=1a3b5c7d", or an address alone.
func vqAddress(value string) (address string, ssrc uint32) {
	var ip, port string
	if strings.IndexByte(value, '=') < 0 {
		ip, _ = word(value)
	}
	eachPair(value, func(key, v string) {
		switch key {
		case "ip":
			ip = v
		case "port":
			port = v
		case "ssrc":
			ssrc = vqSSRC(v)
		}
	})
	if ap, err := netip.ParseAddrPort(ip); err == nil {
		if n, ok := decimal(port); ok && n <= 65535 {
			ap = netip.AddrPortFrom(ap.Addr(), uint16(n))
		}
		return ap.String(), ssrc
	}
	if ip = strings.Trim(ip, "[]"); ip == "" {
		return "", ssrc
	}
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	if port == "" {
		return ip, ssrc
	}
	return ip + ":" + port, ssrc
}

// vqSSRC reads hex with or without 0x, or decimal, which old liblinphone wrote
// signed: more than eight digits cannot be hex, and hex is written with all of
// its eight.
func vqSSRC(v string) uint32 {
	digits := v
	if strings.HasPrefix(v, "-") {
		n, _ := strconv.ParseInt(v, 10, 32)
		return uint32(n)
	}
	if len(v) > 2 && (v[:2] == "0x" || v[:2] == "0X") {
		digits = v[2:]
	} else if isDecimal := strings.Trim(v, "0123456789") == ""; isDecimal && len(v) != 8 {
		n, _ := strconv.ParseUint(v, 10, 32)
		return uint32(n)
	}
	n, _ := strconv.ParseUint(digits, 16, 32)
	return uint32(n)
}

// eachPair calls f for every KEY=value of a line, the key in lower case. A value
// may be quoted, and a number may run into the next key (snom: "JBM=20JBX=240").
func eachPair(s string, f func(key, value string)) {
	for {
		s = strings.TrimLeft(s, " \t;,")
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return
		}
		key = trim(key)
		if i := strings.LastIndexAny(key, " \t"); i >= 0 {
			key = key[i+1:] // a word without a value stood before it
		}
		var value string
		if value, s = pairValue(strings.TrimLeft(rest, " \t")); value != "" {
			f(strings.ToLower(key), value)
		}
	}
}

// pairValue gives the value at the beginning of s, and what follows it.
func pairValue(s string) (value, rest string) {
	if strings.HasPrefix(s, `"`) {
		if end := closingQuote(s); end > 0 {
			return new(scratch).unquote(s[:end+1]), s[end+1:]
		}
		return s[1:], ""
	}
	end := strings.IndexAny(s, " \t;,=")
	if end < 0 {
		return s, ""
	}
	if s[end] == ',' && end+1 < len(s) && isDigit(s[end+1]) && !beginsPair(s[end+1:]) {
		// A decimal comma.
		more := strings.IndexAny(s[end+1:], " \t;,=")
		if more < 0 {
			more = len(s) - end - 1
		}
		return s[:end] + "." + s[end+1:end+1+more], s[end+1+more:]
	}
	if s[end] != '=' {
		return s[:end], s[end:]
	}
	at := end
	for at > 0 && isLetter(s[at-1]) {
		at--
	}
	if at == 0 || at == end {
		return s[:end], s[end+1:] // "KEY==…", or a key whose value is missing
	}
	return s[:at], s[at:]
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func (p *vqParser) metrics(line string) {
	m := p.current
	if m == nil {
		// Polycom's interval reports have no heading for the local side.
		if line == "" || !strings.Contains(line, "=") {
			return
		}
		p.report.Local = new(telemetry.VQMetrics)
		m, p.current = p.report.Local, p.report.Local
	}
	eachPair(line, func(key, v string) {
		p.known = true
		switch key {
		case "start":
			m.StartUs = vqTime(v)
		case "stop":
			m.StopUs = vqTime(v)
		case "pt":
			if n := vqUint(v); n != nil {
				m.PayloadType = *n
			}
		case "pd":
			m.Codec = v
		case "sr":
			if n := vqUint(v); n != nil {
				m.ClockRate = *n
			}
		case "nlr":
			m.LossPercent = p.rate(v)
		case "jdr":
			m.DiscardPercent = p.rate(v)
		case "bld":
			m.BurstLossPercent = vqFloat(v, 0, 100)
		case "bd":
			m.BurstDurationMs = vqUint(v)
		case "gld":
			m.GapLossPercent = vqFloat(v, 0, 100)
		case "gd":
			m.GapDurationMs = vqUint(v)
		case "rtd":
			// 0 is how a sender says that it measured none.
			if n := vqUint(v); n != nil && *n > 0 {
				m.RoundTripDelayMs = n
			}
		case "esd":
			m.EndSystemDelayMs = vqUint(v)
		case "iaj":
			m.JitterMs = vqFloat(v, 0, 65535)
		case "rlq":
			m.RLq = vqFloat(v, 0, 120)
		case "rcq":
			m.RCq = vqFloat(v, 0, 120)
		case "moslq":
			m.MosLq = vqFloat(v, 1, 5)
		case "moscq":
			m.MosCq = vqFloat(v, 1, 5)
		case "jbn":
			m.JbNominalMs = vqUint(v)
		}
	})
	// A call that stopped before it started has a clock that was set in between.
	if m.StopUs < m.StartUs {
		m.StopUs = 0
	}
}

// rate reads a percentage. 0 of a share rounded to tenths is anything up to 5 %,
// and says nothing.
func (p *vqParser) rate(v string) *float64 {
	if !p.share {
		return vqFloat(v, 0, 100)
	}
	f := vqFloat(v, 0, 1)
	if f == nil || *f == 0 {
		return nil
	}
	*f *= 100
	return f
}

// vqFloat reads a number, with a unit or without; nil where it is none or
// outside of what it can be, as 127 is, which stands for unavailable.
func vqFloat(v string, lowest, highest float64) *float64 {
	f, err := strconv.ParseFloat(strings.TrimRight(v, " %msMS"), 64)
	if err != nil || math.IsNaN(f) || f < lowest || f > highest {
		return nil
	}
	return &f
}

func vqUint(v string) *uint32 {
	f := vqFloat(v, 0, 65535)
	if f == nil {
		return nil
	}
	n := uint32(*f)
	return &n
}

// vqTimes are RFC 3339 and what phones take for it.
var vqTimes = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05.999999999Z0700"}

func vqTime(v string) int64 {
	for _, layout := range vqTimes {
		if t, err := time.Parse(layout, strings.ToUpper(v)); err == nil && t.Year() > 1970 {
			return t.UnixMicro()
		}
	}
	return 0
}
