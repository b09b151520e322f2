package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

const (
	snapLength  = 262144
	maxUDPBytes = 65535 - 20 - 8 // of payload in an IPv4 packet
)

// WriteUDP writes datagrams as a pcap of raw IP packets. TCP ones are written
// as UDP, for a message of a ladder is whole, and a segment of it is not. A
// payload too long for one packet is cut, and marked so as a snap length does.
func WriteUDP(w io.Writer, ds []Datagram) error {
	header := make([]byte, 0, 24)
	header = binary.LittleEndian.AppendUint32(header, magicMicros)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = binary.LittleEndian.AppendUint64(header, 0)
	header = binary.LittleEndian.AppendUint32(header, snapLength)
	header = binary.LittleEndian.AppendUint32(header, linkRaw)
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("cannot write capture: %w", err)
	}
	var b []byte
	for _, d := range ds {
		payload := d.Payload[:min(len(d.Payload), maxUDPBytes)]
		b = append(b[:0], make([]byte, 16)...)
		b = appendUDP(b, d.Src, d.Dst, payload)
		binary.LittleEndian.PutUint32(b[0:], uint32(d.At.Unix()))
		binary.LittleEndian.PutUint32(b[4:], uint32(d.At.Nanosecond()/1000))
		captured := uint32(len(b) - 16)
		binary.LittleEndian.PutUint32(b[8:], captured)
		binary.LittleEndian.PutUint32(b[12:], captured+uint32(len(d.Payload)-len(payload)))
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("cannot write capture: %w", err)
		}
	}
	return nil
}

// appendUDP appends an IP packet with a UDP datagram in it.
func appendUDP(b []byte, src, dst netip.AddrPort, payload []byte) []byte {
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
	}
	if !to.IsValid() {
		to = netip.IPv4Unspecified()
	}
	length := 8 + len(payload)
	var pseudo uint32
	if from.Is4() && to.Is4() {
		at := len(b)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+length))
		b = append(b, 0, 0, 0x40, 0, 64, protoUDP, 0, 0) // do not fragment, time to live 64
		b = append(b, from.AsSlice()...)
		b = append(b, to.AsSlice()...)
		binary.BigEndian.PutUint16(b[at+10:], fold(sum(0, b[at:])))
		pseudo = sum(0, b[at+12:])
	} else {
		v6from, v6to := from.As16(), to.As16()
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, protoUDP, 64)
		at := len(b)
		b = append(append(b, v6from[:]...), v6to[:]...)
		pseudo = sum(0, b[at:])
	}
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	checksum := fold(sum(pseudo+protoUDP+uint32(length), b[at:]))
	if checksum == 0 {
		checksum = 0xffff // 0 stands for none (RFC 768)
	}
	binary.BigEndian.PutUint16(b[at+6:], checksum)
	return b
}

// sum adds 16-bit words (RFC 1071).
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
