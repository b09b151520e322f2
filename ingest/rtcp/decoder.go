package rtcp

import (
	"encoding/binary"
	"math/bits"

	"github.com/earshot/earshot/telemetry"
)

// Decoder reads packets into memory of its own that it uses again: what a call
// returns, with everything that hangs on it, is valid until the next call. Who
// keeps it longer uses a new Decoder, or encodes it first. In the steady state
// no call allocates. The zero value is ready; it is not for several goroutines.
type Decoder struct {
	packet  telemetry.RTCPPacket
	senders slab[telemetry.SenderReport]
	reports slab[telemetry.ReceptionReport]
	voip    slab[telemetry.VoIPMetrics]
	dlrrs   slab[telemetry.DLRR]
	rrtrs   slab[telemetry.ReceiverReferenceTime]
	stats   slab[telemetry.StatisticsSummary]
	metrics slab[telemetry.XRMetrics]
	byes    []uint32

	doc       document // of DecodeJSON
	touchedXR bool     // one of the three blocks of doc may hold something
	key       [maxKey]byte
}

// slab is a list of messages of which the first n are in use.
type slab[T any] struct {
	items []*T
	n     int
}

// next gives a message that holds anything: its caller sets every member.
func (s *slab[T]) next() *T {
	if s.n == len(s.items) {
		s.grow()
	}
	s.n++
	return s.items[s.n-1]
}

func (s *slab[T]) grow() {
	block := make([]T, max(len(s.items), 2))
	for i := range block {
		s.items = append(s.items, &block[i])
	}
}

func (s *slab[T]) used() []*T { return s.items[:s.n:s.n] }

// Decode reads a compound or reduced-size RTCP packet. Src and Dst are the
// caller's to set.
//
// A sub-packet or block that cannot be read costs none of its neighbours: then
// what was read comes together with ErrMalformed, or with ErrTruncated where
// the datagram ends early. Only if nothing could be read the packet is nil.
// With ErrEncrypted it has only Encrypted and SenderSsrc, which SRTCP leaves in
// the clear.
func (d *Decoder) Decode(b []byte) (*telemetry.RTCPPacket, error) {
	if !IsRTCP(b) {
		return nil, ErrNotRTCP
	}
	whole, fault := chain(b)
	p := d.reset()
	if fault == ErrEncrypted {
		p.SenderSsrc = binary.BigEndian.Uint32(b[headerBytes:])
		p.Encrypted = true
		return d.finish(), ErrEncrypted
	}
	readAny, known := false, false // known: SenderSsrc has been set, and 0 is a legal SSRC
	for b = b[:whole]; len(b) > 0; {
		n := packetBytes(b)
		body, err := unpadded(b[:n])
		read := err == nil
		if read {
			read, err = d.subPacket(b[1], int(b[0]&0x1f), body)
		}
		if err != nil {
			fault = err
		}
		if read && !known && len(body) >= ssrcBytes {
			p.SenderSsrc = binary.BigEndian.Uint32(body)
			known = true
		}
		readAny = readAny || read
		b = b[n:]
	}
	if !readAny {
		return nil, fault
	}
	return d.finish(), fault
}

func (d *Decoder) reset() *telemetry.RTCPPacket {
	d.senders.n, d.reports.n, d.voip.n, d.dlrrs.n, d.rrtrs.n, d.stats.n, d.metrics.n = 0, 0, 0, 0, 0, 0, 0
	d.byes = d.byes[:0]
	p := &d.packet
	p.Src, p.Dst = "", ""
	p.SenderSsrc, p.ReceiverReports, p.Nacks, p.RunLengths = 0, 0, 0, 0
	p.EndpointReport, p.IntervalCounters, p.Encrypted = false, false, false
	return p
}

func (d *Decoder) finish() *telemetry.RTCPPacket {
	p := &d.packet
	p.SenderReports = d.senders.used()
	p.Reports = d.reports.used()
	p.VoipMetrics = d.voip.used()
	p.Dlrrs = d.dlrrs.used()
	p.Rrtrs = d.rrtrs.used()
	p.Statistics = d.stats.used()
	p.Metrics = d.metrics.used()
	p.ByeSsrcs = d.byes
	return p
}

// subPacket reads one packet of a compound, and says whether something of it
// could be read.
func (d *Decoder) subPacket(typ byte, count int, body []byte) (read bool, err error) {
	switch typ {
	case typeSR:
		if len(body) < ssrcBytes+senderInfoBytes+count*reportBytes {
			return false, ErrMalformed
		}
		ssrc := binary.BigEndian.Uint32(body)
		s := d.senders.next()
		s.Ssrc = ssrc
		s.Ntp = binary.BigEndian.Uint64(body[4:])
		s.RtpTimestamp = binary.BigEndian.Uint32(body[12:])
		s.PacketCount = binary.BigEndian.Uint32(body[16:])
		s.OctetCount = binary.BigEndian.Uint32(body[20:])
		d.receptionReports(ssrc, count, body[ssrcBytes+senderInfoBytes:])
	case typeRR:
		if len(body) < ssrcBytes+count*reportBytes {
			return false, ErrMalformed
		}
		d.packet.ReceiverReports++
		d.receptionReports(binary.BigEndian.Uint32(body), count, body[ssrcBytes:])
	case typeSDES:
		// Names say nothing about quality; the first chunk's SSRC is the sender's.
	case typeBYE:
		if len(body) < count*ssrcBytes {
			return false, ErrMalformed
		}
		for i := range count {
			d.byes = append(d.byes, binary.BigEndian.Uint32(body[i*ssrcBytes:]))
		}
	case typeRTPFB:
		if count == feedbackNACK {
			d.packet.Nacks += nacks(body)
		}
	case typeXR:
		if len(body) < ssrcBytes {
			return false, ErrMalformed
		}
		return d.extended(binary.BigEndian.Uint32(body), body[ssrcBytes:])
	}
	// Application-defined packets, other feedback and what is not known are left.
	return true, nil
}

func (d *Decoder) receptionReports(reporter uint32, count int, b []byte) {
	for range count {
		v := b[:reportBytes]
		r := d.reports.next()
		r.ReporterSsrc = reporter
		r.Ssrc = binary.BigEndian.Uint32(v)
		lost := binary.BigEndian.Uint32(v[4:])
		r.FractionLost = lost >> 24
		r.CumulativeLost = signed24(lost)
		r.HighestSeq = binary.BigEndian.Uint32(v[8:])
		r.Jitter = binary.BigEndian.Uint32(v[12:])
		r.Lsr = binary.BigEndian.Uint32(v[16:])
		r.Dlsr = binary.BigEndian.Uint32(v[20:])
		b = b[reportBytes:]
	}
}

// feedbackNACK is the message type of generic NACKs among the transport layer
// feedback (RFC 4585 §6.2.1).
const feedbackNACK = 1

// nacks counts the packets that a generic NACK asks for: after the two SSRCs
// pairs of a packet id and a bit mask of the 16 after it.
func nacks(body []byte) (n uint32) {
	for at := 2 * ssrcBytes; at+4 <= len(body); at += 4 {
		n += 1 + uint32(bits.OnesCount16(binary.BigEndian.Uint16(body[at+2:])))
	}
	return n
}
