// Package rtcp reads RTCP (RFC 3550 §6, RFC 3611, RFC 5506) as it is on the
// wire and as capture agents turn it into JSON.
package rtcp

import (
	"encoding/binary"
	"errors"
)

// Reasons why a packet cannot be read, or not whole.
var (
	ErrNotRTCP   = errors.New("rtcp: no RTCP header")
	ErrTruncated = errors.New("rtcp: shorter than its length says")
	ErrMalformed = errors.New("rtcp: block out of bounds")
	ErrEncrypted = errors.New("rtcp: encrypted (SRTCP)")
	ErrJSON      = errors.New("rtcp: JSON is no RTCP report")
)

// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
const (
	typeSR    = 200
	typeRR    = 201
	typeSDES  = 202
	typeBYE   = 203
	typeRTPFB = 205
	typeXR    = 207
	typeLow   = 192 // RFC 5761 §4: what can be RTCP where RTP may come too
	typeHigh  = 223
)

const (
	headerBytes     = 4
	ssrcBytes       = 4
	senderInfoBytes = 20
	reportBytes     = 24
)

// IsRTCP reports whether b is RTCP rather than RTP or anything else
// (RFC 5761 §4: version 2, packet type 192–223).
func IsRTCP(b []byte) bool {
	return len(b) >= headerBytes+ssrcBytes && isHeader(b)
}

func isHeader(b []byte) bool {
	return b[0]>>6 == 2 && b[1] >= typeLow && b[1] <= typeHigh
}

func packetBytes(b []byte) int { return (int(binary.BigEndian.Uint16(b[2:])) + 1) * 4 }

// chain follows the packets of a compound by their lengths before any block is
// read, and gives the bytes of those that are whole. An encrypted compound has
// a readable first header and then no chain: where only the first packet is one
// and so much follows that it may be ciphertext with a trailer that is not
// recognised, nothing is taken for readable.
func chain(b []byte) (whole int, fault error) {
	for whole < len(b) {
		rest := b[whole:]
		if len(rest) < headerBytes || !isHeader(rest) {
			fault = trailer(b, rest, whole)
			if fault == ErrMalformed && whole == packetBytes(b) && len(rest) >= srtcpIndexBytes+srtcpTagBytes {
				whole = 0
			}
			return whole, fault
		}
		n := packetBytes(rest)
		if n > len(rest) {
			// Ciphertext looks like a header once in 32 times. A small index with
			// the bit that says encrypted is not by chance.
			if whole > 0 && (encryptedIndex(b) || keyedIndex(b)) {
				return whole, ErrEncrypted
			}
			return whole, ErrTruncated
		}
		whole += n
	}
	return whole, nil
}

// Trailer of SRTCP (RFC 3711 §3.4): one bit that says encrypted, 31 bits of
// index, and a tag of 10 bytes (of 16 before the index with AES-GCM, RFC 7714 §17).
const (
	srtcpIndexBytes = 4
	srtcpTagBytes   = 10
	gcmTagBytes     = 16
)

// encryptedIndex reports whether b ends in an SRTCP trailer that says encrypted
// and counts fewer than 2^24 packets: SRTCP counts from 0 or 1.
func encryptedIndex(b []byte) bool {
	return len(b) >= srtcpIndexBytes+srtcpTagBytes &&
		(b[len(b)-srtcpTagBytes-srtcpIndexBytes] == 0x80 || b[len(b)-srtcpIndexBytes] == 0x80)
}

// keyedIndex reports whether b ends in a trailer with a master key identifier
// of up to maxMKIBytes between index and tag, where the index is below 2^16.
func keyedIndex(b []byte) bool {
	for mki := 1; mki <= maxMKIBytes; mki++ {
		at := len(b) - srtcpTagBytes - mki - srtcpIndexBytes
		if at < headerBytes+ssrcBytes {
			return false
		}
		if b[at] == 0x80 && b[at+1] == 0 {
			return true
		}
	}
	return false
}

// maxMKIBytes is the longest master key identifier in use; RFC 4568 §6.1 lets it
// be 128 bytes long.
const maxMKIBytes = 4

// trailer judges what follows the last packet that could be read.
func trailer(b, rest []byte, whole int) error {
	if len(b) < headerBytes+ssrcBytes+srtcpIndexBytes+srtcpTagBytes {
		if allZero(rest) {
			return nil
		}
		return ErrMalformed
	}
	index := b[len(b)-srtcpTagBytes-srtcpIndexBytes]
	indexGCM := b[len(b)-srtcpIndexBytes]
	switch {
	case allZero(rest): // some devices pad the datagram instead of the packet
		return nil
	case len(rest) == srtcpIndexBytes+srtcpTagBytes && index&0x80 == 0 && whole > 0,
		len(rest) == srtcpIndexBytes+gcmTagBytes && indexGCM&0x80 == 0 && whole > 0:
		return nil // authenticated, not encrypted
	case index&0x80 != 0, indexGCM&0x80 != 0, keyedIndex(b):
		return ErrEncrypted
	default:
		return ErrMalformed
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// unpadded gives a packet's body without header and padding (RFC 3550 §6.4.1).
func unpadded(b []byte) ([]byte, error) {
	body := b[headerBytes:]
	if b[0]&0x20 == 0 || len(body) == 0 {
		return body, nil
	}
	pad := int(body[len(body)-1]) // 0 is wrong, and harmless
	if pad > len(body) {
		return nil, ErrMalformed
	}
	return body[:len(body)-pad], nil
}

// signed24 reads the lower 24 bits as a signed number: duplicates make the
// cumulative number of packets lost negative (RFC 3550 §6.4.1).
func signed24(v uint32) int32 { return int32(v<<8) >> 8 }
