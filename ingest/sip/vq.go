package sip

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// MediaVQ is the media type of voice quality reports (RFC 6035 §4.6).
const MediaVQ = "application/vq-rtcpxr"

// ParseVQ reads an application/vq-rtcpxr body (RFC 6035 and the dialects of the
// field: Polycom's after the drafts, snom's). Raw is b itself, not a copy.
func ParseVQ(b []byte) (*telemetry.VQReport, error) { return ParseVQFrom(b, "") }

// ParseVQFrom is ParseVQ for a sender whose User-Agent is known: liblinphone
// gives rates as a share of 1 where RFC 6035 §4.6.1 has percent.
func ParseVQFrom(b []byte, userAgent string) (*telemetry.VQReport, error) {
	r := &telemetry.VQReport{Raw: b}
	p := vqParser{report: r, share: strings.Contains(strings.ToLower(userAgent), "linphone")}
	h := headers{validText(string(b)), new(scratch)}
	known := false
	for {
		name, value, ok := h.nextLine()
		if !ok {
			break
		}
		if p.line(strings.ToLower(name), value) {
			known = true
		}
	}
	if !known {
		return nil, ErrVQ
	}
	if r.Report == "" {
		r.Report = "Session"
	}
	p.sources()
	return r, nil
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
	share                 bool // rates are a share of 1
	localSSRC, remoteSSRC uint32
}

// line reads one line of the report and says whether it is one that begins a
// report or its metrics.
func (p *vqParser) line(name, value string) bool {
	r := p.report
	switch name {
	case "vqsessionreport":
		r.Report = "Session"
		if strings.HasPrefix(strings.ToLower(value), "callterm") {
			r.Report = "CallTerm"
		}
		return true
	case "vqintervalreport":
		r.Report = "Interval"
		return true
	case "vqalertreport":
		r.Report = "Alert"
		return true
	case "localmetrics":
		r.Local = new(telemetry.VQMetrics)
		p.current = r.Local
		p.metrics(value)
		return true
	case "remotemetrics":
		r.Remote = new(telemetry.VQMetrics)
		p.current = r.Remote
		p.metrics(value)
		return true
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
	return false
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

func vqAddress(value string) (address string, ssrc uint32) {
	var ip, port string
	eachPair(value, func(key, v string) {
		switch key {
		case "ip":
			ip = strings.Trim(v, "[]")
		case "port":
			port = v
		case "ssrc":
			ssrc = vqSSRC(v)
		}
	})
	if ip == "" {
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

// vqSSRC reads hex with or without 0x, or decimal: more than eight digits
// cannot be hex, and hex is written with all of its eight.
func vqSSRC(v string) uint32 {
	digits := v
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
		if i := strings.LastIndexAny(key, " \t"); i >= 0 {
			key = key[i+1:] // a word without a value stood before it
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			if end := closingQuote(rest); end > 0 {
				value, s = new(scratch).unquote(rest[:end+1]), rest[end+1:]
			} else {
				value, s = rest[1:], ""
			}
		} else {
			end := strings.IndexAny(rest, " \t;")
			if end < 0 {
				end = len(rest)
			}
			if next := strings.IndexByte(rest[:end], '='); next > 0 {
				at := next
				for at > 0 && isLetter(rest[at-1]) {
					at--
				}
				if at > 0 && at < next {
					end = at
				}
			}
			value, s = rest[:end], rest[end:]
		}
		f(strings.ToLower(strings.TrimSpace(key)), value)
	}
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

// rate reads a percentage.
func (p *vqParser) rate(v string) *float64 {
	if !p.share {
		return vqFloat(v, 0, 100)
	}
	f := vqFloat(v, 0, 1)
	if f != nil {
		*f *= 100
	}
	return f
}

// vqFloat reads a number; nil where it is none or outside of what it can be,
// as 127 is, which stands for unavailable.
func vqFloat(v string, lowest, highest float64) *float64 {
	f, err := strconv.ParseFloat(v, 64)
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

func vqTime(v string) int64 {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UnixMicro()
		}
	}
	return 0
}
