// Package sip reads captured SIP (RFC 3261): messages, their SDP (RFC 4566) and
// the voice quality reports they carry (RFC 6035). It is made for looking on,
// not for taking part: what a phone sent wrongly is read as far as it goes.
package sip

import (
	"errors"

	"github.com/earshot/earshot/telemetry"
)

// Reasons why a message cannot be read.
var (
	ErrNotSIP    = errors.New("sip: no request or status line")
	ErrVersion   = errors.New("sip: version other than SIP/2.0")
	ErrHeader    = errors.New("sip: header line malformed")
	ErrMissing   = errors.New("sip: mandatory header missing")
	ErrCSeq      = errors.New("sip: CSeq malformed")
	ErrTooLarge  = errors.New("sip: message larger than the bound")
	ErrTruncated = errors.New("sip: ends before its body")
	ErrSDP       = errors.New("sip: SDP malformed")
	ErrVQ        = errors.New("sip: no voice quality report")
)

// IsSIP reports whether b begins like a SIP message.
func IsSIP(b []byte) bool { return false }

// Parse reads one message. Raw is b itself, not a copy. Src, Dst, Transport,
// Caller, Callee and ReceivedFrom are the caller's to set.
// A body shorter than its Content-Length (a cut capture) is no error.
func Parse(b []byte) (*telemetry.SIPMessage, error) { return nil, ErrNotSIP }

// Body gives the body of the message, or that part of a multipart body, whose
// media type is mediaType ("application/sdp"); nil if there is none.
func Body(raw []byte, mediaType string) []byte { return nil }

// ParseSDP reads a session description.
func ParseSDP(b []byte) (*telemetry.SDP, error) { return nil, ErrSDP }

// ParseVQ reads an application/vq-rtcpxr body (RFC 6035 and the dialects of the field).
func ParseVQ(b []byte) (*telemetry.VQReport, error) { return nil, ErrVQ }

// Frame gives the length of the first message in b, a piece of a stream
// (RFC 3261 §18.3), with CRLF keep-alives (RFC 5626 §3.5.1) before it counted
// in skip: the message is b[skip:skip+n]. n is 0 if more bytes are needed.
func Frame(b []byte) (skip, n int, err error) { return 0, 0, nil }

// Framer gathers the chunks of one direction of one TCP connection and gives
// the messages in them.
type Framer struct{ buf []byte }

// Push adds a chunk, which is copied.
func (f *Framer) Push(chunk []byte) {}

// Next gives the next whole message; nil if more bytes are needed. The slice
// is the caller's to keep. After an error the framer has dropped what it held
// up to the next start line.
func (f *Framer) Next() ([]byte, error) { return nil, nil }

// Reset forgets an unfinished message: the stream has a gap or begins anew.
func (f *Framer) Reset() { f.buf = f.buf[:0] }
