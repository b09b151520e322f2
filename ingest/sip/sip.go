// Package sip reads captured SIP (RFC 3261): messages, their SDP (RFC 4566) and
// the voice quality reports they carry (RFC 6035). It is made for looking on,
// not for taking part: what a phone sent wrongly is read as far as it goes.
package sip

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/earshot/earshot/telemetry"
)

// Reasons why a message cannot be read.
var (
	ErrNotSIP   = errors.New("sip: no request or status line")
	ErrVersion  = errors.New("sip: version other than SIP/2.0")
	ErrStatus   = errors.New("sip: status code out of range")
	ErrMissing  = errors.New("sip: no Call-ID or no CSeq")
	ErrCSeq     = errors.New("sip: CSeq malformed")
	ErrTooLarge = errors.New("sip: message larger than the bound")
	ErrSDP      = errors.New("sip: SDP malformed")
	ErrVQ       = errors.New("sip: no voice quality report")
)

// MaxMessageBytes bounds a message on a stream.
const MaxMessageBytes = 256 << 10

// maxStartLineBytes bounds how far IsSIP looks for the end of the first line.
const maxStartLineBytes = 4096

// header is one header field as the scanner gives it.
type header struct {
	name  string // canonical, lower case, or "" for one that nothing here reads
	value []byte // unfolded and trimmed
}

// headers walks over the header fields of a message without copying them.
type headers struct{ rest []byte }

// next gives the next header field; ok is false after the last. A line without
// a colon is passed over: the field has proxies that insert debugging text.
func (h *headers) next() (f header, ok bool) {
	for {
		line, rest := cutLine(h.rest)
		if h.rest = rest; len(line) == 0 {
			return header{}, false
		}
		// A line that begins with white space continues the one before it.
		if len(h.rest) > 0 && isBlank(h.rest[0]) {
			line = bytes.Clone(line)
			for len(h.rest) > 0 && isBlank(h.rest[0]) {
				var more []byte
				more, h.rest = cutLine(h.rest)
				line = append(append(line, ' '), bytes.TrimSpace(more)...)
			}
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		return header{canonical(bytes.TrimSpace(line[:colon])), bytes.TrimSpace(line[colon+1:])}, true
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// cutLine gives the first line without its CRLF or LF, and what follows it.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return trimCR(b), nil
	}
	return trimCR(b[:i]), b[i+1:]
}

func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}

// canonical maps the name of a header field to the one used here, from any
// case and from the compact form (RFC 3261 §7.3.3).
func canonical(name []byte) string {
	var buf [20]byte
	if len(name) > len(buf) {
		return ""
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	switch string(buf[:len(name)]) {
	case "via", "v":
		return "via"
	case "from", "f":
		return "from"
	case "to", "t":
		return "to"
	case "call-id", "i":
		return "call-id"
	case "cseq":
		return "cseq"
	case "contact", "m":
		return "contact"
	case "content-length", "l":
		return "content-length"
	case "content-type", "c":
		return "content-type"
	case "expires":
		return "expires"
	case "min-expires":
		return "min-expires"
	case "user-agent":
		return "user-agent"
	case "server":
		return "server"
	case "reason":
		return "reason"
	case "session-id":
		return "session-id"
	case "authorization", "proxy-authorization":
		return "authorization"
	}
	return ""
}

// IsSIP reports whether b begins like a SIP message, of any version.
func IsSIP(b []byte) bool {
	b = skipKeepAlive(b)
	line, _ := cutLine(b[:min(len(b), maxStartLineBytes)])
	line = bytes.TrimSpace(line)
	if len(line) < len("X * SIP/2.0") {
		return false
	}
	if isVersion(line) {
		return line[len("SIP/2.0")] == ' '
	}
	space := bytes.IndexByte(line, ' ')
	last := bytes.LastIndexByte(line, ' ')
	return space > 0 && last > space && isToken(line[:space]) && isVersion(line[last+1:])
}

// isVersion reports whether b begins with SIP/ and digits.
func isVersion(b []byte) bool {
	return len(b) >= len("SIP/2.0") && strings.EqualFold(string(b[:4]), "SIP/") &&
		isDigit(b[4]) && b[5] == '.' && isDigit(b[6])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken follows RFC 3261 §25.1.
func isToken(b []byte) bool {
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c), strings.IndexByte("-.!%*_+`'~", c) >= 0:
		default:
			return false
		}
	}
	return len(b) > 0
}

// skipKeepAlive passes over the CRLFs that phones send to hold a NAT binding
// or a connection (RFC 5626 §3.5.1), which may stand before a message.
func skipKeepAlive(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// Parse reads one message. Raw is b itself, not a copy. Src, Dst, Transport,
// Caller, Callee and ReceivedFrom are the caller's to set; From and To are
// never nil. A body shorter than its Content-Length (a cut capture) is no
// error, nor is an SDP that cannot be read: Sdp is nil then.
func Parse(b []byte) (*telemetry.SIPMessage, error) {
	m := &telemetry.SIPMessage{
		Raw: b, From: new(telemetry.NameAddr), To: new(telemetry.NameAddr), ExpiresS: -1, MinExpiresS: -1,
	}
	head, rest := skipKeepAlive(b), []byte(nil)
	if end := headerEnd(head); end >= 0 {
		head, rest = head[:end], head[end:]
	}
	// A protobuf string is UTF-8; phones with an older code page write others.
	if !utf8.Valid(head) {
		head = bytes.ToValidUTF8(head, []byte("\uFFFD"))
	}
	line, head := cutLine(head)
	if err := startLine(m, bytes.TrimSpace(line)); err != nil {
		return nil, err
	}

	var seen struct{ via, from, to, cseq, userAgent bool }
	var body bodyHeaders
	body.length = -1
	var cseqMethod string
	h := headers{head}
	for {
		f, ok := h.next()
		if !ok {
			break
		}
		// Where a header that stands once is there twice, the first one is meant.
		switch f.name {
		case "via":
			if !seen.via {
				m.ViaBranch = viaBranch(f.value)
				seen.via = true
			}
		case "from":
			if !seen.from {
				parseNameAddr(f.value, m.From)
				seen.from = true
			}
		case "to":
			if !seen.to {
				parseNameAddr(f.value, m.To)
				seen.to = true
			}
		case "call-id":
			if m.CallId == "" {
				m.CallId = string(f.value)
			}
		case "cseq":
			if !seen.cseq {
				var err error
				if m.Cseq, cseqMethod, err = cseq(f.value); err != nil {
					return nil, err
				}
				seen.cseq = true
			}
		case "contact":
			m.Contacts = appendContacts(m.Contacts, f.value)
		case "expires":
			if m.ExpiresS < 0 {
				m.ExpiresS = deltaSeconds(f.value)
			}
		case "min-expires":
			if m.MinExpiresS < 0 {
				m.MinExpiresS = deltaSeconds(f.value)
			}
		case "user-agent":
			m.UserAgent, seen.userAgent = string(f.value), true
		case "server":
			if !seen.userAgent {
				m.UserAgent = string(f.value)
			}
		case "reason":
			for v := f.value; len(v) > 0; {
				var one []byte
				if one, v = cutList(v); len(one) > 0 {
					m.Reasons = append(m.Reasons, string(one))
				}
			}
		case "session-id":
			m.SessionId = string(f.value)
		case "authorization":
			m.HasCredentials = true
		default:
			body.see(f)
		}
	}
	if m.CallId == "" || !seen.cseq {
		return nil, ErrMissing
	}
	if m.Status != 0 {
		m.Method = cseqMethod
	}
	if text := find(body.typ, body.cut(rest), mediaSDP, maxMultipartDepth); text != nil {
		m.Sdp, _ = ParseSDP(text)
	}
	return m, nil
}

func startLine(m *telemetry.SIPMessage, line []byte) error {
	if len(line) > 8 && isVersion(line) && isBlank(line[len("SIP/2.0")]) {
		if !is2(line) {
			return ErrVersion
		}
		rest := bytes.TrimLeft(line[len("SIP/2.0"):], " \t")
		code, reason, _ := bytes.Cut(rest, []byte(" "))
		n, ok := decimal(code)
		if !ok {
			return ErrNotSIP
		}
		if n < 100 || n > 699 {
			return ErrStatus
		}
		m.Status = uint32(n)
		m.ReasonPhrase = string(bytes.TrimSpace(reason))
		return nil
	}
	space, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if space <= 0 || last <= space || !isToken(line[:space]) || !isVersion(line[last+1:]) {
		return ErrNotSIP
	}
	if !is2(line[last+1:]) {
		return ErrVersion
	}
	m.Method = string(line[:space])
	m.RequestUri = strings.Trim(string(line[space:last]), " \t<>") // some put it in <>
	return nil
}

func is2(version []byte) bool {
	return version[4] == '2' && version[6] == '0' && (len(version) == 7 || isBlank(version[7]))
}

// decimal reads digits only; a number beyond 32 bits reads as its limit.
func decimal(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > math.MaxUint32 {
			n = math.MaxUint32
		}
	}
	return n, len(b) > 0
}

// deltaSeconds reads a number of seconds; -1 if it is none. RFC 3261 §20.19
// bounds it at 2^32−1.
func deltaSeconds(b []byte) int64 {
	b, _, _ = bytes.Cut(b, []byte(";"))
	n, ok := decimal(bytes.Trim(b, " \t\""))
	if !ok {
		return -1
	}
	return int64(n)
}

func cseq(v []byte) (n uint32, method string, err error) {
	number, rest, _ := bytes.Cut(bytes.ReplaceAll(v, []byte("\t"), []byte(" ")), []byte(" "))
	method = string(bytes.TrimSpace(rest))
	value, ok := decimal(number)
	// RFC 3261 §8.1.1.5 wants less than 2^31; the field counts higher.
	if !ok || value == math.MaxUint32 || method == "" {
		return 0, "", ErrCSeq
	}
	return uint32(value), method, nil
}

// viaBranch gives the branch of the topmost Via.
func viaBranch(v []byte) string {
	top, _ := cutList(v)
	_, params, _ := bytes.Cut(top, []byte(";"))
	branch, _ := param(params, "branch")
	return branch
}
