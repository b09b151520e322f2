package sip

import (
	"bytes"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/earshot/earshot/telemetry"
)

// Bounds of lists in a header: of what one message may make us keep.
const (
	maxContacts = 128
	maxReasons  = 32
)

// Parser reads messages one after the other without allocating: the message it
// gives is its own, and so are the strings in it, most of which are pieces of
// what was parsed. The zero value is ready. It is not safe for concurrent use.
type Parser struct {
	msg      telemetry.SIPMessage
	from, to telemetry.NameAddr
	contacts pool[telemetry.Contact]
	sdp      sdpParser
	scratch

	// Slices of msg, kept for their memory.
	contactList []*telemetry.Contact
	reasons     []string
}

// Parse reads one message. It is valid until the next Parse, and as long as
// nobody writes to b: whoever keeps it or a string of it takes a Clone or a
// strings.Clone.
//
// Raw is b itself. Src, Dst, Transport, Caller, Callee and ReceivedFrom are the
// caller's to set; From and To are never nil. A body shorter than its
// Content-Length (a cut capture) is no error, nor is an SDP that cannot be
// read: Sdp is nil then.
func (p *Parser) Parse(b []byte) (*telemetry.SIPMessage, error) {
	m := p.reset(b)
	// A protobuf string is UTF-8; phones with an older code page write others.
	head, body := skipKeepAlive(text(b)), ""
	valid := utf8.ValidString(head)
	if !valid {
		if end := headerEnd(head); end >= 0 {
			head, body = head[:end], head[end:]
		}
		if !utf8.ValidString(head) {
			head = validText(head)
		}
	}
	line, rest := cutLine(head)
	if err := startLine(m, trim(line)); err != nil {
		return nil, err
	}
	h := headers{rest, &p.scratch}
	described := bodyHeaders{length: -1}
	if err := p.fields(&h, &described); err != nil {
		return nil, err
	}
	if valid {
		body = h.rest
	}
	if body = described.find(body, mediaSDP, &p.scratch); body != "" {
		if !valid {
			body = validText(body)
		}
		m.Sdp, _ = p.sdp.parse(body, &p.scratch)
	}
	return m, nil
}

// Parse reads one message into memory of its own; only Raw is b itself. See
// Parser for what it says.
func Parse(b []byte) (*telemetry.SIPMessage, error) {
	m, err := new(Parser).Parse(bytes.Clone(b))
	if err != nil {
		return nil, err
	}
	m.Raw = b
	return m, nil
}

// Clone is a copy of a message that shares nothing with it, nor with the buffer
// that it was parsed from.
func Clone(m *telemetry.SIPMessage) *telemetry.SIPMessage {
	b, err := m.MarshalVT()
	c := new(telemetry.SIPMessage)
	if err == nil {
		err = c.UnmarshalVT(b)
	}
	if err != nil {
		panic("sip: a message cannot be copied: " + err.Error()) // its fields marshal, whatever they hold
	}
	return c
}

func (p *Parser) reset(b []byte) *telemetry.SIPMessage {
	p.scratch.reset()
	p.contacts.reset()
	p.contactList, p.reasons = p.contactList[:0], p.reasons[:0]
	p.from, p.to = telemetry.NameAddr{}, telemetry.NameAddr{}
	p.msg = telemetry.SIPMessage{Raw: b, From: &p.from, To: &p.to, ExpiresS: -1, MinExpiresS: -1}
	return &p.msg
}

// fields reads the header. Where a field that stands once is there twice, the
// first one is meant.
func (p *Parser) fields(h *headers, body *bodyHeaders) error {
	m := &p.msg
	var seen struct{ via, from, to, cseq, userAgent bool }
	var cseqMethod string
	for {
		name, value, ok := h.next()
		if !ok {
			break
		}
		switch f := fieldOf(name); f {
		case fieldOther:
		case fieldVia:
			if !seen.via {
				seen.via = true
				m.ViaBranch = viaBranch(value, &p.scratch)
			}
		case fieldFrom:
			if !seen.from {
				seen.from = true
				parseNameAddr(value, &p.from, &p.scratch)
			}
		case fieldTo:
			if !seen.to {
				seen.to = true
				parseNameAddr(value, &p.to, &p.scratch)
			}
		case fieldCallID:
			if m.CallId == "" {
				m.CallId = value
			}
		case fieldCSeq:
			if !seen.cseq {
				seen.cseq = true
				var err error
				if m.Cseq, cseqMethod, err = cseq(value); err != nil {
					return err
				}
			}
		case fieldContact:
			p.contact(value)
		case fieldExpires:
			if m.ExpiresS < 0 {
				m.ExpiresS = deltaSeconds(value)
			}
		case fieldMinExpires:
			if m.MinExpiresS < 0 {
				m.MinExpiresS = deltaSeconds(value)
			}
		case fieldUserAgent:
			m.UserAgent, seen.userAgent = value, true
		case fieldServer:
			if !seen.userAgent {
				m.UserAgent = value
			}
		case fieldReason:
			p.reason(value)
		case fieldSessionID:
			m.SessionId = value
		case fieldAuthorization:
			m.HasCredentials = true
		case fieldRTPStat:
			if stat := ParseRTPStat(name, value); stat != nil && len(m.RtpStats) < maxStats {
				m.RtpStats = append(m.RtpStats, stat)
			}
		default:
			body.see(f, value)
		}
	}
	if m.CallId == "" || !seen.cseq {
		return ErrMissing
	}
	if m.Status != 0 {
		m.Method = cseqMethod
	}
	if len(p.contactList) > 0 {
		m.Contacts = p.contactList
	}
	if len(p.reasons) > 0 {
		m.Reasons = p.reasons
	}
	return nil
}

func (p *Parser) contact(v string) {
	for len(v) > 0 && len(p.contactList) < maxContacts {
		var one string
		if one, v = cutList(v); one == "" {
			continue
		}
		c := p.contacts.next()
		parseContact(one, c, &p.scratch)
		p.contactList = append(p.contactList, c)
	}
}

func (p *Parser) reason(v string) {
	for len(v) > 0 && len(p.reasons) < maxReasons {
		var one string
		if one, v = cutList(v); one != "" {
			p.reasons = append(p.reasons, one)
		}
	}
}

func startLine(m *telemetry.SIPMessage, line string) error {
	if len(line) > 8 && isVersion(line) && isBlank(line[len("SIP/2.0")]) {
		return statusLine(m, line)
	}
	method, uri, version, ok := requestLine(line)
	if !ok || !isToken(method) || !isVersion(version) {
		return ErrNotSIP
	}
	if !is2(version) {
		return ErrVersion
	}
	m.Method = method
	if m.RequestUri = trim(uri); strings.HasPrefix(m.RequestUri, "<") || strings.HasSuffix(m.RequestUri, ">") {
		m.RequestUri = strings.Trim(m.RequestUri, " \t<>") // some put it in <>
	}
	return nil
}

func statusLine(m *telemetry.SIPMessage, line string) error {
	if !is2(line) {
		return ErrVersion
	}
	code, reason, _ := strings.Cut(strings.TrimLeft(line[len("SIP/2.0"):], " \t"), " ")
	n, ok := decimal(code)
	if !ok {
		return ErrNotSIP
	}
	if n < 100 || n > 699 {
		return ErrStatus
	}
	m.Status, m.ReasonPhrase = uint32(n), trim(reason)
	return nil
}

func cseq(v string) (n uint32, method string, err error) {
	number, rest := word(v)
	method, _ = word(rest)
	value, ok := decimal(number)
	// RFC 3261 §8.1.1.5 wants less than 2^31; the field counts higher.
	if !ok || value == math.MaxUint32 || method == "" {
		return 0, "", ErrCSeq
	}
	return uint32(value), method, nil
}

// viaBranch gives the branch of the topmost Via.
func viaBranch(v string, s *scratch) string {
	top, _ := cutList(v)
	_, params, _ := cut(top, ';')
	branch, _ := param(params, "branch", s)
	return branch
}
