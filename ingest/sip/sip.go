// Package sip reads captured SIP (RFC 3261): messages, their SDP (RFC 4566), the
// voice quality reports (RFC 6035) and the statistics headers they carry. It is
// made for looking on, not for taking part: what a phone sent wrongly is read
// as far as it goes, also where a proxy has to refuse it (RFC 4475).
package sip

import (
	"errors"
	"math"
	"strings"
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

// headers walks over the header fields of a message without copying them.
type headers struct {
	rest     string
	*scratch // for folded lines; nil makes one where there are any
}

// next gives the next header field, its value unfolded and trimmed; ok is false
// after the last. A line without a colon is passed over: the field has proxies
// that insert debugging text.
func (h *headers) next() (name, value string, ok bool) {
	for {
		line, rest := cutLine(h.rest)
		if h.rest = rest; len(line) == 0 {
			return "", "", false
		}
		// A line that begins with white space continues the one before it.
		if len(rest) > 0 && isBlank(rest[0]) {
			line = h.unfold(line)
		}
		colon := strings.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		return trim(line[:colon]), trim(line[colon+1:]), true
	}
}

// unfold joins a line with those that continue it (RFC 3261 §7.3.1).
func (h *headers) unfold(line string) string {
	if h.scratch == nil {
		h.scratch = new(scratch)
	}
	at := len(h.buf)
	h.buf = append(h.buf, line...)
	for len(h.rest) > 0 && isBlank(h.rest[0]) {
		var more string
		more, h.rest = cutLine(h.rest)
		h.buf = append(append(h.buf, ' '), trim(more)...)
	}
	return h.since(at)
}

// field is a header field that something here reads.
type field uint8

const (
	fieldOther field = iota
	fieldVia
	fieldFrom
	fieldTo
	fieldCallID
	fieldCSeq
	fieldContact
	fieldContentLength
	fieldContentType
	fieldContentEncoding
	fieldExpires
	fieldMinExpires
	fieldUserAgent
	fieldServer
	fieldReason
	fieldSessionID
	fieldAuthorization
	fieldRTPStat
)

// fieldOf knows a header field by its name, in any case, or by its compact form
// (RFC 3261 §7.3.3).
func fieldOf(name string) field {
	switch len(name) {
	case 1:
		return compactField(lower(name[0]))
	case 2:
		return fieldIf(name, "to", fieldTo)
	case 3:
		return fieldIf(name, "via", fieldVia)
	case 4:
		if lower(name[0]) == 'f' {
			return fieldIf(name, "from", fieldFrom)
		}
		return fieldIf(name, "cseq", fieldCSeq)
	case 6:
		switch {
		case is(name, "server"):
			return fieldServer
		case is(name, "reason"):
			return fieldReason
		}
	case 7:
		switch lower(name[2]) {
		case 'l':
			return fieldIf(name, "call-id", fieldCallID)
		case 'n':
			return fieldIf(name, "contact", fieldContact)
		}
		return fieldIf(name, "expires", fieldExpires)
	case 10:
		switch {
		case is(name, "user-agent"):
			return fieldUserAgent
		case is(name, "session-id"):
			return fieldSessionID
		}
	case 11:
		if is(name, "min-expires") {
			return fieldMinExpires
		}
	case 12:
		return fieldIf(name, "content-type", fieldContentType)
	case 13:
		return fieldIf(name, "authorization", fieldAuthorization)
	case 14:
		if is(name, "content-length") {
			return fieldContentLength
		}
	case 16:
		if is(name, "content-encoding") {
			return fieldContentEncoding
		}
	case 19:
		if is(name, "proxy-authorization") {
			return fieldAuthorization
		}
	case len("x-siemens-rtp-stats-list"):
	default:
		return fieldOther
	}
	if statName(name) != "" {
		return fieldRTPStat
	}
	return fieldOther
}

func fieldIf(name, known string, f field) field {
	if is(name, known) {
		return f
	}
	return fieldOther
}

func compactField(c byte) field {
	switch c {
	case 'v':
		return fieldVia
	case 'f':
		return fieldFrom
	case 't':
		return fieldTo
	case 'i':
		return fieldCallID
	case 'm':
		return fieldContact
	case 'l':
		return fieldContentLength
	case 'c':
		return fieldContentType
	case 'e':
		return fieldContentEncoding
	}
	return fieldOther
}

// IsSIP reports whether b begins like a SIP message, of any version.
func IsSIP(b []byte) bool { return beginsSIP(text(b)) }

func beginsSIP(s string) bool {
	s = skipKeepAlive(s)
	line, _ := cutLine(s[:min(len(s), maxStartLineBytes)])
	line = trim(line)
	if len(line) < len("X * SIP/2.0") {
		return false
	}
	if isVersion(line) {
		return line[len("SIP/2.0")] == ' '
	}
	method, _, version, ok := requestLine(line)
	return ok && isToken(method) && isVersion(version)
}

// requestLine cuts at the first and the last space: a URI may have some in it.
func requestLine(line string) (method, uri, version string, ok bool) {
	space, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if space <= 0 || last <= space {
		return "", "", "", false
	}
	return line[:space], line[space:last], line[last+1:], true
}

// isVersion reports whether s begins with SIP/ and digits.
func isVersion(s string) bool {
	return len(s) >= len("SIP/2.0") && is(s[:4], "sip/") && isDigit(s[4]) && s[5] == '.' && isDigit(s[6])
}

func is2(version string) bool {
	return version[4] == '2' && version[6] == '0' && (len(version) == 7 || isBlank(version[7]))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// tokenChars are those of RFC 3261 §25.1.
var tokenChars = func() (set [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") {
		set[c] = true
	}
	return set
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// skipKeepAlive passes over the CRLFs that phones send to hold a NAT binding
// or a connection (RFC 5626 §3.5.1), which may stand before a message.
func skipKeepAlive(s string) string {
	for len(s) > 0 && (s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}

// headerEnd is the length of the header with its empty line; -1 without one.
func headerEnd(s string) int {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
		switch {
		case at < len(s) && s[at] == '\n':
			return at + 1
		case at+1 < len(s) && s[at] == '\r' && s[at+1] == '\n':
			return at + 2
		}
	}
}

// decimal reads digits only; a number beyond 32 bits reads as its limit.
func decimal(s string) (n uint64, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > math.MaxUint32 {
			n = math.MaxUint32
		}
	}
	return n, len(s) > 0
}

// deltaSeconds reads a number of seconds; -1 if it is none. RFC 3261 §20.19
// bounds it at 2^32−1.
func deltaSeconds(s string) int64 {
	n, ok := decimal(s)
	if !ok { // parameters behind it, or quotes around it
		s, _, _ = cut(s, ';')
		n, ok = decimal(strings.Trim(s, " \t\""))
	}
	if !ok {
		return -1
	}
	return int64(n)
}
