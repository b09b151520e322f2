// Package hep reads and writes the Homer Encapsulation Protocol: versions 1, 2
// and 3 (also called EEP), one packet per datagram or framed in a TCP stream.
package hep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Payload types of chunk 0x0b. Senders disagree about some of them: where it
// matters the payload itself decides.
const (
	TypeSIP      = 1
	TypeSDP      = 3
	TypeRTP      = 4
	TypeRTCPJSON = 5
	TypeMOS      = 34
	TypeVQ       = 35
	TypeSIPJSON  = 50
	TypeRTCP     = 58
	TypeCDR      = 60
	TypeNG       = 61
	TypeLog      = 100
)

// PayloadName names a payload type in a few words of lower case; the number for
// one that has no name here.
func PayloadName(typ uint8) string {
	switch typ {
	case TypeSIP:
		return "sip"
	case TypeSDP:
		return "sdp"
	case TypeRTP:
		return "rtp"
	case TypeRTCPJSON:
		return "rtcp_json"
	case TypeMOS:
		return "mos"
	case TypeVQ:
		return "vq_rtcpxr"
	case TypeSIPJSON:
		return "sip_json"
	case TypeRTCP:
		return "rtcp"
	case TypeCDR:
		return "cdr"
	case TypeNG:
		return "ng"
	case TypeLog:
		return "log"
	}
	return strconv.Itoa(int(typ))
}

// IP protocol numbers of Packet.Protocol.
const (
	ProtocolTCP  = 6
	ProtocolUDP  = 17
	ProtocolSCTP = 132
)

// IP families of Packet.Family, as Linux numbers them.
const (
	FamilyIPv4 = 2
	FamilyIPv6 = 10
)

// MaxPacketBytes is the longest packet that HEP 3's length field can express.
const MaxPacketBytes = 65535

// maxInflatedBytes bounds what a compressed packet may grow to.
const maxInflatedBytes = 1 << 20

// Reasons why a packet cannot be read. Parse returns one of them, wrapped or bare.
var (
	ErrNotHEP     = errors.New("hep: no HEP magic or version")
	ErrTruncated  = errors.New("hep: shorter than its length says")
	ErrChunk      = errors.New("hep: chunk length out of bounds")
	ErrFamily     = errors.New("hep: IP family unknown or without addresses")
	ErrCompressed = errors.New("hep: compressed payload cannot be read")
	ErrTooLarge   = errors.New("hep: packet larger than the bound")
	ErrNoPayload  = errors.New("hep: no payload")
)

// Packet is one HEP packet. The byte slices point into the parsed buffer (into
// a fresh one if it was compressed) and are valid as long as that is.
type Packet struct {
	Version       uint8 // 1, 2 or 3
	Family        uint8 // FamilyIPv4 or FamilyIPv6
	Protocol      uint8 // IP protocol number
	TCPFlags      uint8
	TOS           uint8
	Src, Dst      netip.AddrPort
	Time          time.Time // capture time, UTC; zero where the packet has none (HEP 1)
	PayloadType   uint8
	AgentID       uint32
	AgentName     []byte
	AuthKey       []byte
	CorrelationID []byte
	GroupID       []byte
	VLAN          uint16
	KeepAlive     uint16 // seconds
	MOS           uint16 // ×100 by some agents
	Payload       []byte
}

// Chunk types of HEP 3, vendor 0.
const (
	chunkFamily      = 0x01
	chunkProtocol    = 0x02
	chunkIPv4Src     = 0x03
	chunkIPv4Dst     = 0x04
	chunkIPv6Src     = 0x05
	chunkIPv6Dst     = 0x06
	chunkPortSrc     = 0x07
	chunkPortDst     = 0x08
	chunkSeconds     = 0x09
	chunkMicros      = 0x0a
	chunkType        = 0x0b
	chunkAgentID     = 0x0c
	chunkKeepAlive   = 0x0d
	chunkAuthKey     = 0x0e
	chunkPayload     = 0x0f
	chunkCompressed  = 0x10
	chunkCorrelation = 0x11
	chunkVLAN        = 0x12
	chunkAgentName   = 0x13
	chunkTCPFlags    = 0x17
	chunkTOS         = 0x18
	chunkMOS         = 0x20
	chunkGroupID     = 0x29
)

const (
	headerBytes      = 6 // magic and total length
	chunkHeaderBytes = 6 // vendor, type, length
)

// IsHEP reports whether b looks like a HEP packet of any version, gzip included.
func IsHEP(b []byte) bool {
	switch {
	case len(b) < headerBytes:
		return false
	case isMagic3(b), isGzip(b):
		return true
	default:
		return isLegacy(b)
	}
}

func isMagic3(b []byte) bool {
	return (b[0] == 'H' || b[0] == 'E') && b[1] == 'E' && b[2] == 'P' && b[3] == '3'
}

func isGzip(b []byte) bool { return b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 }

// Parse reads one HEP packet of any version into p, which it resets first.
func Parse(b []byte, p *Packet) error {
	*p = Packet{}
	if len(b) < headerBytes {
		return ErrNotHEP
	}
	// heplify with compression gzips the whole message, not chunk 0x10.
	if isGzip(b) {
		plain, err := inflate(b)
		if err != nil {
			return err
		}
		if b = plain; len(b) < headerBytes {
			return ErrNotHEP
		}
	}
	switch {
	case isMagic3(b):
		return parse3(b, p)
	case isLegacy(b):
		return parseLegacy(b, p)
	default:
		return ErrNotHEP
	}
}

func parse3(b []byte, p *Packet) error {
	total := int(binary.BigEndian.Uint16(b[4:]))
	if total < headerBytes || total > len(b) {
		return ErrTruncated
	}
	b = b[headerBytes:total]

	var src, dst netip.Addr
	var srcPort, dstPort uint16
	var sec, usec uint32
	var compressed []byte
	p.Version = 3
	for len(b) > 0 {
		if len(b) < chunkHeaderBytes {
			return ErrChunk
		}
		vendor := binary.BigEndian.Uint16(b)
		typ := binary.BigEndian.Uint16(b[2:])
		n := int(binary.BigEndian.Uint16(b[4:]))
		if n < chunkHeaderBytes || n > len(b) {
			return ErrChunk
		}
		v := b[chunkHeaderBytes:n:n]
		b = b[n:]
		if vendor != 0 {
			continue
		}
		switch typ {
		case chunkFamily:
			p.Family = uint8(number(v))
		case chunkProtocol:
			p.Protocol = uint8(number(v))
		case chunkIPv4Src, chunkIPv6Src:
			if a, ok := netip.AddrFromSlice(v); ok {
				src = a.Unmap() // SIP3 puts IPv4-mapped IPv6 into the IPv4 chunks
			}
		case chunkIPv4Dst, chunkIPv6Dst:
			if a, ok := netip.AddrFromSlice(v); ok {
				dst = a.Unmap()
			}
		case chunkPortSrc:
			srcPort = uint16(number(v))
		case chunkPortDst:
			dstPort = uint16(number(v))
		case chunkSeconds:
			sec = number(v)
		case chunkMicros:
			usec = number(v)
		case chunkType:
			p.PayloadType = uint8(number(v))
		case chunkAgentID:
			p.AgentID = number(v)
			// sngrep writes a 16-bit id into the upper half of the 32.
			if p.AgentID&0xffff == 0 {
				p.AgentID >>= 16
			}
		case chunkKeepAlive:
			p.KeepAlive = uint16(number(v))
		case chunkAuthKey:
			p.AuthKey = v
		case chunkPayload:
			p.Payload = v
		case chunkCompressed:
			compressed = v
		case chunkCorrelation:
			p.CorrelationID = v
		case chunkVLAN:
			p.VLAN = uint16(number(v))
		case chunkAgentName:
			p.AgentName = v
		case chunkTCPFlags:
			p.TCPFlags = uint8(number(v))
		case chunkTOS:
			p.TOS = uint8(number(v))
		case chunkMOS:
			p.MOS = uint16(number(v))
		case chunkGroupID:
			p.GroupID = v
		}
	}
	if compressed != nil && len(p.Payload) == 0 {
		plain, err := inflate(compressed)
		if err != nil {
			return err
		}
		p.Payload = plain
	}
	if sec != 0 || usec != 0 {
		p.Time = time.Unix(int64(sec), int64(usec)*1000).UTC()
	}
	if len(p.Payload) == 0 {
		return ErrNoPayload
	}
	if !src.IsValid() || !dst.IsValid() {
		return ErrFamily
	}
	// Agents number IPv6 as their own system does (28, 30): the addresses decide.
	p.Family = family(src)
	p.Src, p.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return nil
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}

// number reads a big-endian integer of any width: agents write ids and ports
// in other widths than the specification's.
func number(v []byte) uint32 {
	var n uint32
	for _, c := range v {
		n = n<<8 | uint32(c)
	}
	return n
}

// Sizes of the HEP 1 and 2 structures: they are C structs of Kamailio's.
const (
	legacyHeaderBytes     = 8
	legacyTimeBytes       = 10 // seconds, microseconds, agent id
	legacyTimeBytesPadded = 12 // what sizeof gives, and most senders send
)

func isLegacy(b []byte) bool {
	return (b[0] == 1 || b[0] == 2) && b[1] >= legacyHeaderBytes && isFamily(b[2])
}

func isFamily(f uint8) bool { return f == FamilyIPv4 || f == FamilyIPv6 }

func parseLegacy(b []byte, p *Packet) error {
	addrBytes := 4
	if b[2] == FamilyIPv6 {
		addrBytes = 16
	}
	at := legacyHeaderBytes + 2*addrBytes
	if len(b) < at {
		return ErrTruncated
	}
	src, _ := netip.AddrFromSlice(b[legacyHeaderBytes:][:addrBytes])
	dst, _ := netip.AddrFromSlice(b[legacyHeaderBytes+addrBytes:][:addrBytes])
	p.Version, p.Family, p.Protocol = b[0], b[2], b[3]
	p.Src = netip.AddrPortFrom(src.Unmap(), binary.BigEndian.Uint16(b[4:]))
	p.Dst = netip.AddrPortFrom(dst.Unmap(), binary.BigEndian.Uint16(b[6:]))
	p.PayloadType = TypeSIP // HEP 1 and 2 have no type; the payload decides

	if p.Version == 2 {
		if len(b) < at+legacyTimeBytes {
			return ErrTruncated
		}
		p.Time, p.AgentID = legacyTime(b[at:])
		at += legacyTimeLength(b, at)
	}
	if at >= len(b) {
		return ErrNoPayload
	}
	p.Payload = b[at:]
	return nil
}

// legacyTimeLength says whether the time structure at b[at:] was sent with the
// padding that C adds to it. The header's length counts the structure with
// some senders and not with others.
func legacyTimeLength(b []byte, at int) int {
	switch int(b[1]) {
	case at + legacyTimeBytes:
		return legacyTimeBytes
	case at + legacyTimeBytesPadded:
		return legacyTimeBytesPadded
	}
	pad := b[at+legacyTimeBytes:]
	if len(pad) >= 2 && isText(pad[0]) && isText(pad[1]) {
		return legacyTimeBytes // a SIP message begins here
	}
	return min(legacyTimeBytesPadded, len(b)-at)
}

func isText(c byte) bool { return c >= 'A' && c <= 'Z' }

// Seconds of the years 2001 and 2100: what a capture time may be.
const (
	earliestSec = 978307200
	latestSec   = 4102444800
)

// legacyTime reads seconds, microseconds and agent id, whose byte order is
// that of the sending machine, or the network's, each for itself.
func legacyTime(b []byte) (time.Time, uint32) {
	sec, usec := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if !plausible(sec, usec) {
		if s, u := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]); plausible(s, u) {
			sec, usec = s, u
		}
	}
	// Ids are small numbers that people wrote into a configuration file, so the
	// smaller reading is the id.
	id := min(binary.LittleEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[8:]))
	return time.Unix(int64(sec), int64(usec)*1000).UTC(), uint32(id)
}

func plausible(sec, usec uint32) bool {
	return sec >= earliestSec && sec < latestSec && usec < 1_000_000
}

// Append appends p to dst as a HEP 3 packet and returns the extended buffer.
// A packet longer than MaxPacketBytes cannot be written: dst comes back as it was.
func Append(dst []byte, p *Packet) []byte {
	start := len(dst)
	dst = append(dst, 'H', 'E', 'P', '3', 0, 0)
	dst = append8(dst, chunkFamily, family(p.Src.Addr()))
	dst = append8(dst, chunkProtocol, p.Protocol)
	srcChunk, dstChunk := uint16(chunkIPv4Src), uint16(chunkIPv4Dst)
	if !p.Src.Addr().Is4() {
		srcChunk, dstChunk = chunkIPv6Src, chunkIPv6Dst
	}
	dst = appendAddr(dst, srcChunk, p.Src.Addr())
	dst = appendAddr(dst, dstChunk, p.Dst.Addr())
	dst = append16(dst, chunkPortSrc, p.Src.Port())
	dst = append16(dst, chunkPortDst, p.Dst.Port())
	if !p.Time.IsZero() {
		dst = append32(dst, chunkSeconds, uint32(p.Time.Unix()))
		dst = append32(dst, chunkMicros, uint32(p.Time.Nanosecond()/1000))
	}
	dst = append8(dst, chunkType, p.PayloadType)
	dst = append32(dst, chunkAgentID, p.AgentID)
	if p.KeepAlive != 0 {
		dst = append16(dst, chunkKeepAlive, p.KeepAlive)
	}
	if p.VLAN != 0 {
		dst = append16(dst, chunkVLAN, p.VLAN)
	}
	if p.TCPFlags != 0 {
		dst = append8(dst, chunkTCPFlags, p.TCPFlags)
	}
	if p.TOS != 0 {
		dst = append8(dst, chunkTOS, p.TOS)
	}
	if p.MOS != 0 {
		dst = append16(dst, chunkMOS, p.MOS)
	}
	for _, c := range [...]struct {
		typ uint16
		v   []byte
	}{
		{chunkAuthKey, p.AuthKey},
		{chunkAgentName, p.AgentName},
		{chunkGroupID, p.GroupID},
		{chunkCorrelation, p.CorrelationID},
		{chunkPayload, p.Payload},
	} {
		if len(c.v) == 0 {
			continue
		}
		if len(c.v) > MaxPacketBytes {
			return dst[:start]
		}
		dst = append(appendHeader(dst, c.typ, len(c.v)), c.v...)
	}
	total := len(dst) - start
	if total > MaxPacketBytes {
		return dst[:start]
	}
	binary.BigEndian.PutUint16(dst[start+4:], uint16(total))
	return dst
}

func appendHeader(dst []byte, typ uint16, n int) []byte {
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, typ)
	return binary.BigEndian.AppendUint16(dst, uint16(chunkHeaderBytes+n))
}

func append8(dst []byte, typ uint16, v uint8) []byte {
	return append(appendHeader(dst, typ, 1), v)
}

func append16(dst []byte, typ uint16, v uint16) []byte {
	return binary.BigEndian.AppendUint16(appendHeader(dst, typ, 2), v)
}

func append32(dst []byte, typ uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, typ, 4), v)
}

func appendAddr(dst []byte, typ uint16, a netip.Addr) []byte {
	if typ == chunkIPv4Src || typ == chunkIPv4Dst {
		// A family differs between the two addresses only where a caller is
		// wrong: an IPv6 address is then written as the IPv4 one it may map.
		if a = a.Unmap(); a.Is4() {
			v := a.As4()
			return append(appendHeader(dst, typ, len(v)), v[:]...)
		}
	}
	v := a.As16()
	return append(appendHeader(dst, typ, len(v)), v[:]...)
}

func compressedError(err error) error { return fmt.Errorf("%w: %w", ErrCompressed, err) }
