package pcap

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Link types (the tcpdump group's registry).
const (
	linkNull     = 0
	linkEthernet = 1
	linkPPP      = 9
	linkRaw12    = 12 // raw IP as some systems number it
	linkRaw14    = 14
	linkPPPHDLC  = 50
	linkRaw      = 101
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// EtherTypes.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherQinQ91 = 0x9100
	etherMPLS   = 0x8847
	etherPPPoE  = 0x8864
)

// IP protocols.
const (
	protoHopByHop = 0
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoDestOpts = 60
)

const maxTunnels = 4

// packet is an IP packet on its way through the layers.
type packet struct {
	at       time.Time
	src, dst netip.Addr
	cut      bool // some of its end was not captured
	missing  int  // how many bytes of it, where that is known
	depth    int
}

// link takes the link layer off.
func (r *Reader) link(f frame) {
	b := f.data
	p := packet{at: f.at, cut: f.cut}
	switch f.linkType {
	case linkEthernet:
		if len(b) < 14 {
			r.leaveOut(LeftOutTruncated)
			return
		}
		r.ether(p, binary.BigEndian.Uint16(b[12:]), b[14:])
	case linkSLL:
		if len(b) < 16 {
			r.leaveOut(LeftOutTruncated)
			return
		}
		r.ether(p, binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkSLL2:
		if len(b) < 20 {
			r.leaveOut(LeftOutTruncated)
			return
		}
		r.ether(p, binary.BigEndian.Uint16(b), b[20:])
	case linkNull, linkLoop:
		// The address family is in the capturing machine's byte order and
		// numbering; the version in the packet says the same.
		if len(b) < 4 {
			r.leaveOut(LeftOutTruncated)
			return
		}
		r.ip(p, b[4:])
	case linkPPP:
		r.ppp(p, b)
	case linkPPPHDLC:
		if len(b) < 2 {
			r.leaveOut(LeftOutTruncated)
			return
		}
		r.ppp(p, b[2:])
	case linkRaw12, linkRaw14, linkRaw, linkIPv4, linkIPv6:
		r.ip(p, b)
	default:
		r.leaveOut(LeftOutLinkType)
	}
}

func (r *Reader) ether(p packet, typ uint16, b []byte) {
	for {
		switch typ {
		case etherIPv4, etherIPv6:
			r.ip(p, b)
			return
		case etherVLAN, etherQinQ, etherQinQ91:
			if len(b) < 4 {
				r.leaveOut(LeftOutTruncated)
				return
			}
			typ, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case etherPPPoE:
			if len(b) < 6 {
				r.leaveOut(LeftOutTruncated)
				return
			}
			r.ppp(p, b[6:])
			return
		case etherMPLS:
			for bottom := false; !bottom; b = b[4:] {
				if len(b) < 4 {
					r.leaveOut(LeftOutTruncated)
					return
				}
				bottom = b[2]&1 != 0
			}
			r.ip(p, b)
			return
		default:
			r.leaveOut(LeftOutNotIP)
			return
		}
	}
}

func (r *Reader) ppp(p packet, b []byte) {
	// HDLC framing may stand before the protocol (RFC 1662 §3.1).
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) < 2 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	switch binary.BigEndian.Uint16(b) {
	case 0x0021, 0x0057:
		r.ip(p, b[2:])
	default:
		r.leaveOut(LeftOutNotIP)
	}
}

func (r *Reader) ip(p packet, b []byte) {
	if p.depth++; p.depth > maxTunnels {
		r.leaveOut(LeftOutTunnel)
		return
	}
	if len(b) == 0 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	switch b[0] >> 4 {
	case 4:
		r.ipv4(p, b)
	case 6:
		r.ipv6(p, b)
	default:
		r.leaveOut(LeftOutNotIP)
	}
}

func (r *Reader) ipv4(p packet, b []byte) {
	if len(b) < 20 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total != 0 && total < header {
		r.leaveOut(LeftOutMalformed)
		return
	}
	if len(b) < header {
		r.leaveOut(LeftOutTruncated)
		return
	}
	p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	id, flags, proto := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), b[9]
	// The length is 0 where the network card was to cut the packet up.
	payload := p.trim(b[header:], total-header, total != 0)
	if offset, more := int(flags&0x1fff)*8, flags&0x2000 != 0; offset != 0 || more {
		r.fragments.add(p, uint32(id), proto, offset, more, payload)
		return
	}
	r.transport(p, proto, payload)
}

// trim takes off what is behind the packet (Ethernet's padding, a frame check
// sequence), or notes what is missing.
func (p *packet) trim(b []byte, length int, known bool) []byte {
	switch {
	case !known:
		return b
	case length > len(b):
		p.cut, p.missing = true, length-len(b)
		return b
	default:
		p.cut = false // what was not captured was not of the packet
		return b[:length]
	}
}

func (r *Reader) ipv6(p packet, b []byte) {
	if len(b) < 40 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	p.src, p.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	length, proto := int(binary.BigEndian.Uint16(b[4:])), b[6]
	b = p.trim(b[40:], length, length != 0)
	for {
		switch proto {
		case protoHopByHop, protoRouting, protoDestOpts, protoAH:
			if len(b) < 8 {
				r.leaveOut(LeftOutTruncated)
				return
			}
			n := (int(b[1]) + 1) * 8
			if proto == protoAH {
				n = (int(b[1]) + 2) * 4
			}
			if n > len(b) {
				r.leaveOut(LeftOutTruncated)
				return
			}
			proto, b = b[0], b[n:]
		case protoFragment:
			if len(b) < 8 {
				r.leaveOut(LeftOutTruncated)
				return
			}
			next, offset, more, id := b[0], int(binary.BigEndian.Uint16(b[2:])&^7), b[3]&1 != 0, binary.BigEndian.Uint32(b[4:])
			b = b[8:]
			if offset != 0 || more {
				r.fragments.add(p, id, next, offset, more, b)
				return
			}
			proto = next
		default:
			r.transport(p, proto, b)
			return
		}
	}
}

func (r *Reader) transport(p packet, proto uint8, b []byte) {
	switch proto {
	case protoUDP:
		r.udp(p, b)
	case protoTCP:
		r.tcp(p, b)
	case protoIPv4, protoIPv6:
		r.ip(p, b)
	case protoGRE:
		r.gre(p, b)
	default:
		r.leaveOut(LeftOutProtocol)
	}
}

// gre takes off a GRE header (RFC 2784, RFC 2890).
func (r *Reader) gre(p packet, b []byte) {
	if len(b) < 4 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	flags, typ, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), 4
	for _, optional := range []uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		if flags&optional != 0 {
			n += 4
		}
	}
	if flags&0x0007 != 0 || typ != etherIPv4 && typ != etherIPv6 {
		r.leaveOut(LeftOutNotIP)
		return
	}
	if len(b) < n {
		r.leaveOut(LeftOutTruncated)
		return
	}
	r.ip(p, b[n:])
}

func (r *Reader) udp(p packet, b []byte) {
	if len(b) < 8 {
		r.leaveOut(LeftOutTruncated)
		return
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length != 0 && length < 8 {
		r.leaveOut(LeftOutMalformed)
		return
	}
	payload, cut := b[8:], p.cut
	if length != 0 {
		if length-8 <= len(payload) {
			payload, cut = payload[:length-8], false
		} else {
			cut = true
		}
	}
	if len(payload) == 0 {
		reason := LeftOutEmpty
		if cut {
			reason = LeftOutTruncated
		}
		r.leaveOut(reason)
		return
	}
	r.emit(Datagram{
		At: p.at, Transport: "udp", Payload: payload, Truncated: cut, Frame: r.stats.Frames,
		Src: netip.AddrPortFrom(p.src, binary.BigEndian.Uint16(b)),
		Dst: netip.AddrPortFrom(p.dst, binary.BigEndian.Uint16(b[2:])),
	})
}
