package sip

import (
	"bytes"
	"strings"
)

const (
	mediaSDP          = "application/sdp"
	maxMultipartDepth = 3
)

// bodyHeaders are the header fields that describe a body.
type bodyHeaders struct {
	typ    []byte // Content-Type
	length int64  // Content-Length; -1 where absent or no number
}

func (h *bodyHeaders) see(f header) {
	switch f.name {
	case "content-type":
		if h.typ == nil {
			h.typ = f.value
		}
	case "content-length":
		if h.length < 0 {
			h.length = deltaSeconds(f.value)
		}
	}
}

// cut gives the body out of what follows the header. A Content-Length that
// ends in the middle of a line, or is 0 although a session description
// follows, is wrong, and then the whole is meant: phones count LF as CRLF, or
// the other way round.
func (h *bodyHeaders) cut(rest []byte) []byte {
	if h.length < 0 || h.length >= int64(len(rest)) {
		return rest
	}
	body, after := rest[:h.length], rest[h.length:]
	if len(body) == 0 {
		if h.typ != nil && bytes.HasPrefix(after, []byte("v=0")) {
			return rest
		}
		return body
	}
	if body[len(body)-1] != '\n' && after[0] != '\r' && after[0] != '\n' && !IsSIP(after) {
		return rest
	}
	return body
}

// Body gives the body of the message, or that part of a multipart body, whose
// media type is mediaType ("application/sdp"); nil if there is none.
func Body(raw []byte, mediaType string) []byte {
	_, rest := cutLine(skipKeepAlive(raw))
	body := bodyHeaders{length: -1}
	h := headers{rest}
	for {
		f, ok := h.next()
		if !ok {
			break
		}
		body.see(f)
	}
	return find(body.typ, body.cut(h.rest), mediaType, maxMultipartDepth)
}

// find gives the part of a body that has the media type. A body without a type
// that begins like SDP is SDP.
func find(contentType, body []byte, mediaType string, depth int) []byte {
	if len(body) == 0 {
		return nil
	}
	if len(contentType) == 0 {
		if mediaType == mediaSDP && bytes.HasPrefix(body, []byte("v=")) {
			return body
		}
		return nil
	}
	typ, params, _ := bytes.Cut(contentType, []byte(";"))
	typ = bytes.TrimSpace(typ)
	if strings.EqualFold(string(typ), mediaType) {
		return body
	}
	if depth == 0 || len(typ) < len("multipart/") || !strings.EqualFold(string(typ[:len("multipart/")]), "multipart/") {
		return nil
	}
	boundary, _ := param(params, "boundary")
	if boundary == "" {
		return nil
	}
	delimiter := []byte("--" + boundary)
	_, rest, ok := bytes.Cut(body, delimiter)
	for ok && !bytes.HasPrefix(rest, []byte("--")) {
		var part []byte
		part, rest, ok = bytes.Cut(rest, delimiter)
		_, part = cutLine(part) // what follows the boundary on its line
		var described bodyHeaders
		h := headers{part}
		for {
			f, more := h.next()
			if !more {
				break
			}
			described.see(f)
		}
		// The line break before a boundary belongs to the boundary (RFC 2046 §5.1.1).
		content := trimCR(bytes.TrimSuffix(h.rest, []byte("\n")))
		if found := find(described.typ, content, mediaType, depth-1); found != nil {
			return found
		}
	}
	return nil
}
