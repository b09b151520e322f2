package sip

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
)

const (
	mediaSDP          = "application/sdp"
	maxMultipartDepth = 3
)

// bodyHeaders are the header fields that describe a body.
type bodyHeaders struct {
	typ      string // Content-Type
	encoding string // Content-Encoding
	length   int64  // Content-Length; -1 where absent or no number
}

func (h *bodyHeaders) see(f field, value string) {
	switch f {
	case fieldContentType:
		if h.typ == "" {
			h.typ = value
		}
	case fieldContentEncoding:
		if h.encoding == "" {
			h.encoding = value
		}
	case fieldContentLength:
		if h.length < 0 {
			h.length = deltaSeconds(value)
		}
	}
}

// cut gives the body out of what follows the header. A Content-Length that
// ends in the middle of a line, or is 0 although a session description
// follows, is wrong, and then the whole is meant: phones count LF as CRLF, or
// the other way round.
func (h *bodyHeaders) cut(rest string) string {
	if h.length < 0 || h.length >= int64(len(rest)) {
		return rest
	}
	body, after := rest[:h.length], rest[h.length:]
	if body == "" {
		if h.typ != "" && strings.HasPrefix(after, "v=0") {
			return rest
		}
		return body
	}
	if h.encoding == "" && body[len(body)-1] != '\n' && after[0] != '\r' && after[0] != '\n' && !beginsSIP(after) {
		return rest
	}
	return body
}

// find gives the body, or that part of it, that has the media type.
func (h *bodyHeaders) find(rest, mediaType string, s *scratch) string {
	body := h.cut(rest)
	if h.encoding != "" && body != "" {
		body = s.decode(h.encoding, body)
	}
	return find(h.typ, body, mediaType, maxMultipartDepth, s)
}

// decode unpacks a body (RFC 3261 §20.12); it is empty where that cannot be
// done, for then there is nothing to read.
func (s *scratch) decode(encoding, body string) string {
	var r io.Reader
	var err error
	switch {
	case is(encoding, "identity"):
		return body
	case is(encoding, "gzip"), is(encoding, "x-gzip"):
		r, err = gzip.NewReader(strings.NewReader(body))
	case is(encoding, "deflate"):
		r, err = zlib.NewReader(strings.NewReader(body))
	default:
		return ""
	}
	if err != nil {
		return ""
	}
	plain, _ := io.ReadAll(io.LimitReader(r, MaxMessageBytes)) // cut captures: as far as it goes
	return text(plain)
}

// Body gives the body of the message, or that part of a multipart body, whose
// media type is mediaType ("application/sdp"); nil if there is none. It may
// share memory with raw.
func Body(raw []byte, mediaType string) []byte {
	_, rest := cutLine(skipKeepAlive(text(raw)))
	body := bodyHeaders{length: -1}
	var s scratch
	h := headers{rest, &s}
	for {
		name, value, ok := h.next()
		if !ok {
			break
		}
		body.see(fieldOf(name), value)
	}
	if found := body.find(h.rest, mediaType, &s); found != "" {
		return []byte(found)
	}
	return nil
}

// find gives the part of a body that has the media type. A body without a type
// that begins like SDP is SDP.
func find(contentType, body, mediaType string, depth int, s *scratch) string {
	if body == "" {
		return ""
	}
	if contentType == "" {
		if mediaType == mediaSDP && strings.HasPrefix(body, "v=") {
			return body
		}
		return ""
	}
	typ, params, _ := cut(contentType, ';')
	typ = trim(typ)
	if is(typ, mediaType) {
		return body
	}
	if depth == 0 || len(typ) < len("multipart/") || !is(typ[:len("multipart/")], "multipart/") {
		return ""
	}
	boundary, _ := param(params, "boundary", s)
	if boundary == "" {
		return ""
	}
	at := len(s.buf)
	s.buf = append(append(s.buf, "--"...), boundary...)
	delimiter := s.since(at)
	_, rest, ok := strings.Cut(body, delimiter)
	for ok && !strings.HasPrefix(rest, "--") {
		var part string
		part, rest, ok = strings.Cut(rest, delimiter)
		_, part = cutLine(part) // what follows the boundary on its line
		var described bodyHeaders
		h := headers{part, s}
		for {
			name, value, more := h.next()
			if !more {
				break
			}
			described.see(fieldOf(name), value)
		}
		// The line break before a boundary belongs to the boundary (RFC 2046 §5.1.1).
		content := trimCR(strings.TrimSuffix(h.rest, "\n"))
		if found := find(described.typ, content, mediaType, depth-1, s); found != "" {
			return found
		}
	}
	return ""
}
