package path

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// Kind is what a packet is, as told by its first bytes (RFC 5761, RFC 7983).
type Kind string

// The kinds of packets.
const (
	RTP   Kind = "rtp"
	RTCP  Kind = "rtcp"
	SIP   Kind = "sip"
	Other Kind = "other"
)

const (
	ipHeader  = 20
	udpHeader = 8
	rtpHeader = 12
	protoUDP  = 17
)

// Packet is an IPv4 packet, from its IP header on.
type Packet []byte

func (p Packet) valid() bool { return len(p) >= ipHeader && p[0]>>4 == 4 && len(p) >= p.header() }

func (p Packet) header() int { return int(p[0]&0xf) * 4 }

// To is where the packet goes.
func (p Packet) To() netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// Payload is what a UDP packet carries; nil for every other one and for later
// fragments.
func (p Packet) Payload() []byte {
	at := p.header() + udpHeader
	if p[9] != protoUDP || len(p) < at || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return nil
	}
	return p[at:]
}

// Kind tells what the packet is.
func (p Packet) Kind() Kind {
	b := p.Payload()
	switch {
	case len(b) >= rtpHeader && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223, len(b) == 8 && b[0]>>6 == 2 && b[1] == 201: // an empty receiver report
		return RTCP
	case len(b) >= rtpHeader && b[0]>>6 == 2:
		return RTP
	case bytes.HasPrefix(b, []byte("SIP/2.0 ")), bytes.Contains(firstLine(b), []byte(" SIP/2.0")):
		return SIP
	default:
		return Other
	}
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b[:min(len(b), 512)], []byte("\r\n"))
	return line
}

// answers tells whether the packet is a 200 to an INVITE.
func (p Packet) answers() bool {
	b := p.Payload()
	if !bytes.HasPrefix(b, []byte("SIP/2.0 200")) {
		return false
	}
	_, after, _ := bytes.Cut(b, []byte("\r\nCSeq:"))
	return bytes.HasSuffix(firstLine(after), []byte("INVITE"))
}

// cut is the packet without RTP payload and with every other byte. The lengths
// in its headers are kept. Its UDP checksum, of what is no longer there, is none;
// its IP identification is 0 (RFC 6864 §4.1: of an atomic datagram it means
// nothing, and a third of a packed capture would be it).
func (p Packet) cut() Packet {
	if p.Kind() != RTP {
		return p
	}
	b := p.Payload()
	n := rtpHeader + 4*int(b[0]&0xf)
	if b[0]&0x10 != 0 && len(b) >= n+4 {
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	at := p.header() + udpHeader
	short := bytes.Clone(p[:at+min(n, len(b))])
	short[at-2], short[at-1] = 0, 0
	short[4], short[5], short[10], short[11] = 0, 0, 0, 0
	var sum uint32
	for i := 0; i < p.header(); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(short[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(short[10:], ^uint16(sum+sum>>16))
	return short
}

// rtp is the header of an RTP packet (RFC 3550 §5.1).
type rtp struct {
	ssrc, timestamp uint32
	sequence        uint16
	payloadType     uint8
}

func (p Packet) rtp() rtp {
	b := p.Payload()
	return rtp{
		ssrc: binary.BigEndian.Uint32(b[8:]), timestamp: binary.BigEndian.Uint32(b[4:]),
		sequence: binary.BigEndian.Uint16(b[2:]), payloadType: b[1] & 0x7f,
	}
}
