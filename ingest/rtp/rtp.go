// Package rtp looks at RTP headers (RFC 3550 §5.1) and sums up streams. It
// never looks at media.
package rtp

import (
	"encoding/binary"
	"errors"
)

// ErrNotRTP is returned for bytes that are no RTP packet.
var ErrNotRTP = errors.New("rtp: no RTP header")

const (
	headerBytes    = 12
	csrcBytes      = 4
	extensionBytes = 4
)

// Header is the fixed part of an RTP header.
type Header struct {
	PayloadType    uint8
	Marker         bool
	SequenceNumber uint16
	Timestamp      uint32
	SSRC           uint32
	PayloadBytes   int // without header, extension and padding
}

// Parse reads the header of an RTP packet into h. RTCP (RFC 5761 §4) is
// ErrNotRTP, as is a packet whose CSRCs, extension or padding do not fit it.
func Parse(b []byte, h *Header) error {
	if len(b) < headerBytes || b[0]>>6 != 2 {
		return ErrNotRTP
	}
	if b[1] >= 192 && b[1] <= 223 {
		return ErrNotRTP
	}
	at := headerBytes + int(b[0]&0x0f)*csrcBytes
	if b[0]&0x10 != 0 {
		if len(b) < at+extensionBytes {
			return ErrNotRTP
		}
		at += extensionBytes + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	if at > len(b) {
		return ErrNotRTP
	}
	payload := len(b) - at
	// In SRTP the padding is encrypted and the count that of ciphertext: what
	// cannot be a count is not held against the packet, but nothing is taken off.
	if b[0]&0x20 != 0 && payload > 0 {
		if pad := int(b[len(b)-1]); pad > 0 && pad <= payload {
			payload -= pad
		}
	}
	*h = Header{
		PayloadType:    b[1] & 0x7f,
		Marker:         b[1]&0x80 != 0,
		SequenceNumber: binary.BigEndian.Uint16(b[2:]),
		Timestamp:      binary.BigEndian.Uint32(b[4:]),
		SSRC:           binary.BigEndian.Uint32(b[8:]),
		PayloadBytes:   payload,
	}
	return nil
}
