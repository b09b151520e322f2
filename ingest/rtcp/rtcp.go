// Package rtcp reads RTCP (RFC 3550 §6, RFC 3611, RFC 5506) as it is on the
// wire and as capture agents turn it into JSON.
package rtcp

import (
	"encoding/binary"
	"errors"

	"github.com/earshot/earshot/telemetry"
)

// Reasons why a packet cannot be read.
var (
	ErrNotRTCP   = errors.New("rtcp: no RTCP header")
	ErrTruncated = errors.New("rtcp: shorter than its length says")
	ErrMalformed = errors.New("rtcp: block out of bounds")
	ErrEncrypted = errors.New("rtcp: encrypted (SRTCP)")
	ErrJSON      = errors.New("rtcp: JSON is no RTCP report")
)

// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
const (
	typeSR   = 200
	typeRR   = 201
	typeBYE  = 203
	typeXR   = 207
	typeLow  = 192 // RFC 5761 §4: what can be RTCP where RTP may come too
	typeHigh = 223
)

// XR block types (RFC 3611 §4).
const (
	blockRRTR        = 4
	blockDLRR        = 5
	blockVoIPMetrics = 7
)

const (
	headerBytes      = 4
	ssrcBytes        = 4
	senderInfoBytes  = 20
	reportBytes      = 24
	dlrrBytes        = 12
	voipMetricsBytes = 32
)

// IsRTCP reports whether b is RTCP rather than RTP or anything else
// (RFC 5761 §4: version 2, packet type 192–223).
func IsRTCP(b []byte) bool {
	return len(b) >= headerBytes+ssrcBytes && isHeader(b)
}

func isHeader(b []byte) bool {
	return b[0]>>6 == 2 && b[1] >= typeLow && b[1] <= typeHigh
}

// Decode reads a compound or reduced-size RTCP packet. Src and Dst are the
// caller's to set. With ErrTruncated and ErrMalformed the packet, if it is not
// nil, holds what was read before the fault; with ErrEncrypted it has only
// Encrypted and SenderSsrc, which SRTCP leaves in the clear.
func Decode(b []byte) (*telemetry.RTCPPacket, error) {
	if !IsRTCP(b) {
		return nil, ErrNotRTCP
	}
	whole, fault := chain(b)
	if fault == ErrEncrypted {
		return &telemetry.RTCPPacket{SenderSsrc: binary.BigEndian.Uint32(b[headerBytes:]), Encrypted: true}, ErrEncrypted
	}
	if whole == 0 {
		return nil, fault
	}
	p := new(telemetry.RTCPPacket)
	known := false // SenderSsrc has been set: 0 is a legal SSRC
	for b = b[:whole]; len(b) > 0; {
		n := packetBytes(b)
		body, err := unpadded(b[:n])
		if err == nil {
			err = decodeOne(p, b[1], int(b[0]&0x1f), body)
		}
		if err != nil {
			if !known {
				return nil, err
			}
			return p, err
		}
		if !known && len(body) >= ssrcBytes {
			p.SenderSsrc = binary.BigEndian.Uint32(body)
			known = true
		}
		b = b[n:]
	}
	return p, fault
}

func packetBytes(b []byte) int { return (int(binary.BigEndian.Uint16(b[2:])) + 1) * 4 }

// chain follows the packets of a compound by their lengths before any block is
// read, and gives the bytes of those that are whole. An encrypted compound has
// a readable first header and then no chain.
func chain(b []byte) (whole int, fault error) {
	for whole < len(b) {
		rest := b[whole:]
		if len(rest) < headerBytes || !isHeader(rest) {
			return whole, trailer(b, rest, whole)
		}
		n := packetBytes(rest)
		if n > len(rest) {
			// Ciphertext looks like a header once in 32 times. A small index with
			// the bit that says encrypted is not by chance.
			if whole > 0 && encryptedIndex(b) {
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
	case index&0x80 != 0, indexGCM&0x80 != 0:
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

func decodeOne(p *telemetry.RTCPPacket, typ byte, count int, body []byte) error {
	switch typ {
	case typeSR:
		if len(body) < ssrcBytes+senderInfoBytes {
			return ErrMalformed
		}
		ssrc := binary.BigEndian.Uint32(body)
		p.SenderReports = append(p.SenderReports, &telemetry.SenderReport{
			Ssrc:         ssrc,
			Ntp:          binary.BigEndian.Uint64(body[4:]),
			RtpTimestamp: binary.BigEndian.Uint32(body[12:]),
			PacketCount:  binary.BigEndian.Uint32(body[16:]),
			OctetCount:   binary.BigEndian.Uint32(body[20:]),
		})
		return reports(p, ssrc, count, body[ssrcBytes+senderInfoBytes:])
	case typeRR:
		if len(body) < ssrcBytes {
			return ErrMalformed
		}
		p.ReceiverReports++
		return reports(p, binary.BigEndian.Uint32(body), count, body[ssrcBytes:])
	case typeBYE:
		if len(body) < count*ssrcBytes {
			return ErrMalformed
		}
		for i := range count {
			p.ByeSsrcs = append(p.ByeSsrcs, binary.BigEndian.Uint32(body[i*ssrcBytes:]))
		}
	case typeXR:
		if len(body) < ssrcBytes {
			return ErrMalformed
		}
		return extended(p, binary.BigEndian.Uint32(body), body[ssrcBytes:])
	}
	// SDES, APP and feedback say nothing about quality.
	return nil
}

func reports(p *telemetry.RTCPPacket, reporter uint32, count int, b []byte) error {
	if len(b) < count*reportBytes {
		return ErrMalformed
	}
	if count == 0 {
		return nil
	}
	// One allocation for all blocks of the packet.
	blocks := make([]telemetry.ReceptionReport, count)
	for i := range blocks {
		r, v := &blocks[i], b[i*reportBytes:]
		r.ReporterSsrc = reporter
		r.Ssrc = binary.BigEndian.Uint32(v)
		lost := binary.BigEndian.Uint32(v[4:])
		r.FractionLost = lost >> 24
		r.CumulativeLost = signed24(lost)
		r.HighestSeq = binary.BigEndian.Uint32(v[8:])
		r.Jitter = binary.BigEndian.Uint32(v[12:])
		r.Lsr = binary.BigEndian.Uint32(v[16:])
		r.Dlsr = binary.BigEndian.Uint32(v[20:])
		p.Reports = append(p.Reports, r)
	}
	return nil
}

// signed24 reads the lower 24 bits as a signed number: duplicates make the
// cumulative number of packets lost negative (RFC 3550 §6.4.1).
func signed24(v uint32) int32 { return int32(v<<8) >> 8 }

func extended(p *telemetry.RTCPPacket, reporter uint32, b []byte) error {
	for len(b) > 0 {
		if len(b) < headerBytes {
			return ErrMalformed
		}
		n := packetBytes(b)
		if n > len(b) {
			return ErrMalformed
		}
		typ, v := b[0], b[headerBytes:n]
		b = b[n:]
		switch typ {
		case blockRRTR:
			if len(v) < 8 {
				return ErrMalformed
			}
			p.Rrtrs = append(p.Rrtrs, &telemetry.ReceiverReferenceTime{
				ReporterSsrc: reporter,
				Ntp:          binary.BigEndian.Uint64(v),
			})
		case blockDLRR:
			for ; len(v) >= dlrrBytes; v = v[dlrrBytes:] {
				p.Dlrrs = append(p.Dlrrs, &telemetry.DLRR{
					ReporterSsrc: reporter,
					Ssrc:         binary.BigEndian.Uint32(v),
					LastRr:       binary.BigEndian.Uint32(v[4:]),
					Dlrr:         binary.BigEndian.Uint32(v[8:]),
				})
			}
			if len(v) > 0 {
				return ErrMalformed
			}
		case blockVoIPMetrics:
			if len(v) < voipMetricsBytes {
				return ErrMalformed
			}
			p.VoipMetrics = append(p.VoipMetrics, voipMetrics(reporter, v))
		}
	}
	return nil
}

func voipMetrics(reporter uint32, v []byte) *telemetry.VoIPMetrics {
	u16 := func(at int) uint32 { return uint32(binary.BigEndian.Uint16(v[at:])) }
	return &telemetry.VoIPMetrics{
		ReporterSsrc:     reporter,
		Ssrc:             binary.BigEndian.Uint32(v),
		LossRate:         uint32(v[4]),
		DiscardRate:      uint32(v[5]),
		BurstDensity:     uint32(v[6]),
		GapDensity:       uint32(v[7]),
		BurstDurationMs:  u16(8),
		GapDurationMs:    u16(10),
		RoundTripDelayMs: u16(12),
		EndSystemDelayMs: u16(14),
		SignalLevelDbm0:  int32(int8(v[16])),
		NoiseLevelDbm0:   int32(int8(v[17])),
		RerlDb:           uint32(v[18]),
		Gmin:             uint32(v[19]),
		RFactor:          uint32(v[20]),
		ExtRFactor:       uint32(v[21]),
		MosLqX10:         uint32(v[22]),
		MosCqX10:         uint32(v[23]),
		RxConfig:         uint32(v[24]),
		JbNominalMs:      u16(26),
		JbMaximumMs:      u16(28),
		JbAbsMaxMs:       u16(30),
	}
}
