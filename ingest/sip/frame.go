package sip

import (
	"bytes"
	"strings"
)

// Frame gives the length of the first message in b, a piece of a stream
// (RFC 3261 §18.3), with CRLF keep-alives (RFC 5626 §3.5.1) before it counted
// in skip: the message is b[skip:skip+n]. n is 0 if more bytes are needed.
func Frame(b []byte) (skip, n int, err error) {
	rest := skipKeepAlive(text(b))
	skip = len(b) - len(rest)
	if len(rest) == 0 {
		return skip, 0, nil
	}
	end := headerEnd(rest)
	if end < 0 {
		switch {
		case len(rest) > MaxMessageBytes:
			return skip, 0, ErrTooLarge
		case strings.IndexByte(rest, '\n') >= 0 && !beginsSIP(rest), !mayBeSIP(rest):
			return skip, 0, ErrNotSIP
		}
		return skip, 0, nil
	}
	if !beginsSIP(rest) {
		return skip, 0, ErrNotSIP
	}
	// Without a length there is no body: a stream has no other end (§20.14).
	length := max(0, bodyLength(rest[:end]))
	if int64(end)+length > MaxMessageBytes {
		return skip, 0, ErrTooLarge
	}
	if n = end + int(length); n > len(rest) {
		return skip, 0, nil
	}
	return skip, n, nil
}

// Split cuts a payload that may hold several messages, as what a capture agent
// took off one TCP segment may: it gives the first message, and the rest if that
// begins like another one.
func Split(b []byte) (first, rest []byte) {
	s := text(b)
	if end := headerEnd(skipKeepAlive(s)); end < 0 || end == len(b) {
		return b, nil
	}
	skip, n, err := Frame(b)
	if err != nil || n == 0 || !beginsSIP(s[skip+n:]) {
		return b, nil
	}
	return b[:skip+n], b[skip+n:]
}

func bodyLength(head string) int64 {
	_, fields := cutLine(head)
	body := bodyHeaders{length: -1}
	h := headers{rest: fields}
	for {
		name, value, ok := h.next()
		if !ok {
			return body.length
		}
		body.see(fieldOf(name), value)
	}
}

// mayBeSIP reports whether an unfinished first line can still become one of SIP.
func mayBeSIP(s string) bool {
	if len(s) > maxStartLineBytes {
		return strings.IndexByte(s, '\n') >= 0
	}
	method, _, _ := cut(s, ' ')
	return isToken(method) || isVersion(s) || strings.HasPrefix("SIP/2.0", s)
}

// Framer gathers the chunks of one direction of one TCP connection and gives
// the messages in them.
type Framer struct{ buf []byte }

// Push adds a chunk, which is copied.
func (f *Framer) Push(chunk []byte) { f.buf = append(f.buf, chunk...) }

// Next gives the next whole message; nil if more bytes are needed. The slice
// is the caller's to keep. After an error the framer has dropped what it held
// up to the next start line.
func (f *Framer) Next() ([]byte, error) {
	skip, n, err := Frame(f.buf)
	f.buf = f.buf[skip:]
	if err != nil {
		f.resync()
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	message := bytes.Clone(f.buf[:n])
	if f.buf = f.buf[n:]; len(f.buf) == 0 {
		f.buf = nil
	}
	return message, nil
}

// resync drops bytes up to the next line that begins a message, at least one line.
func (f *Framer) resync() {
	for {
		i := bytes.IndexByte(f.buf, '\n')
		if i < 0 {
			f.buf = nil
			return
		}
		f.buf = f.buf[i+1:]
		if IsSIP(f.buf) {
			return
		}
	}
}

// Buffered is the number of bytes that wait for the rest of their message.
func (f *Framer) Buffered() int { return len(f.buf) }

// Reset forgets an unfinished message: the stream has a gap or begins anew.
func (f *Framer) Reset() { f.buf = nil }
