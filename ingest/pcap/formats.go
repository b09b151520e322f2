package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"time"
)

// maxPacketBytes bounds one captured packet; Wireshark's own bound is the same.
const maxPacketBytes = 256 << 10

// Magic numbers of pcap (draft-ietf-opsawg-pcap §4).
const (
	magicMicros = 0xa1b2c3d4
	magicNanos  = 0xa1b23c4d
)

// Block types of pcapng (draft-ietf-opsawg-pcapng §4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockOldPacket = 2
	blockSimple    = 3
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d
)

func newSource(b *bufio.Reader, magic [4]byte) (source, error) {
	if binary.BigEndian.Uint32(magic[:]) == blockSection {
		s := &ngSource{r: b, order: binary.LittleEndian}
		return s, nil
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic[:]) {
		case magicMicros, magicNanos:
			var header [24]byte
			if _, err := io.ReadFull(b, header[:]); err != nil {
				return nil, ErrFormat
			}
			s := &pcapSource{r: b, order: order, unit: time.Microsecond}
			if order.Uint32(magic[:]) == magicNanos {
				s.unit = time.Nanosecond
			}
			// The upper bits tell of a frame check sequence.
			s.linkType = order.Uint32(header[20:]) & 0x0fffffff
			return s, nil
		}
	}
	return nil, ErrFormat
}

type pcapSource struct {
	r        *bufio.Reader
	order    binary.ByteOrder
	unit     time.Duration
	linkType uint32
}

func (s *pcapSource) next() (frame, error) {
	var h [16]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return frame{}, err // io.EOF only where not one byte was left
	}
	captured, original := s.order.Uint32(h[8:]), s.order.Uint32(h[12:])
	if captured > maxPacketBytes {
		return frame{}, ErrCorrupt
	}
	data, err := readN(s.r, int(captured))
	if err != nil {
		return frame{}, err
	}
	at := time.Unix(int64(s.order.Uint32(h[0:])), int64(s.order.Uint32(h[4:]))*int64(s.unit)).UTC()
	return frame{at, s.linkType, data, captured < original}, nil
}

// readN reads n bytes that have to be there.
func readN(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

type ngInterface struct {
	linkType  uint32
	perSecond uint64 // of its timestamps
	offset    int64  // seconds
	snap      uint32
}

// maxInterfaces bounds what a section may describe.
const maxInterfaces = 4096

type ngSource struct {
	r          *bufio.Reader
	order      binary.ByteOrder
	interfaces []ngInterface
	last       time.Time // simple packets have no time of their own
}

func (s *ngSource) next() (frame, error) {
	for {
		var h [12]byte
		if _, err := io.ReadFull(s.r, h[:8]); err != nil {
			return frame{}, err
		}
		// A section says its byte order after its length.
		if binary.BigEndian.Uint32(h[:]) == blockSection {
			if err := s.section(h[:]); err != nil {
				return frame{}, err
			}
			continue
		}
		typ, total := s.order.Uint32(h[0:]), s.order.Uint32(h[4:])
		if total < 12 || total%4 != 0 {
			return frame{}, ErrCorrupt
		}
		switch typ {
		case blockInterface, blockOldPacket, blockSimple, blockEnhanced:
		default:
			if err := s.discard(int64(total) - 8); err != nil {
				return frame{}, err
			}
			continue
		}
		if total > 2*maxPacketBytes {
			return frame{}, ErrCorrupt
		}
		block, err := readN(s.r, int(total)-8)
		if err != nil {
			return frame{}, err
		}
		body := block[:len(block)-4] // the length again stands at its end
		if typ == blockInterface {
			if err := s.describe(body); err != nil {
				return frame{}, err
			}
			continue
		}
		f, ok := s.packet(typ, body)
		if !ok {
			return frame{}, ErrCorrupt
		}
		return f, nil
	}
}

func (s *ngSource) discard(n int64) error {
	if _, err := io.CopyN(io.Discard, s.r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

func (s *ngSource) section(h []byte) error {
	if _, err := io.ReadFull(s.r, h[8:12]); err != nil {
		return io.ErrUnexpectedEOF
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(h[8:]):
		s.order = binary.LittleEndian
	case binary.BigEndian.Uint32(h[8:]):
		s.order = binary.BigEndian
	default:
		return ErrCorrupt
	}
	total := s.order.Uint32(h[4:])
	if total < 28 || total%4 != 0 {
		return ErrCorrupt
	}
	s.interfaces = nil // interfaces are numbered anew in every section
	return s.discard(int64(total) - 12)
}

// Options of an interface (§4.2).
const (
	optionEnd      = 0
	optionTSResol  = 9
	optionTSOffset = 14
)

func (s *ngSource) describe(body []byte) error {
	if len(body) < 8 || len(s.interfaces) == maxInterfaces {
		return ErrCorrupt
	}
	i := ngInterface{linkType: uint32(s.order.Uint16(body)), snap: s.order.Uint32(body[4:]), perSecond: 1_000_000}
	for o := body[8:]; len(o) >= 4; {
		code, n := s.order.Uint16(o), int(s.order.Uint16(o[2:]))
		o = o[4:]
		if code == optionEnd || n > len(o) {
			break
		}
		switch {
		case code == optionTSResol && n >= 1:
			i.perSecond = resolution(o[0])
		case code == optionTSOffset && n >= 8:
			i.offset = int64(s.order.Uint64(o))
		}
		o = o[min(len(o), (n+3)&^3):]
	}
	s.interfaces = append(s.interfaces, i)
	return nil
}

// resolution reads if_tsresol: a negative power of 10, or of 2 with the upper bit.
func resolution(v byte) uint64 {
	n := int(v & 0x7f)
	if v&0x80 != 0 {
		return 1 << min(n, 63)
	}
	per := uint64(1)
	for range min(n, 19) {
		per *= 10
	}
	return per
}

func (i *ngInterface) time(high, low uint32) time.Time {
	ts := uint64(high)<<32 | uint64(low)
	hi, lo := bits.Mul64(ts%i.perSecond, uint64(time.Second))
	nanos, _ := bits.Div64(hi, lo, i.perSecond)
	sec := ts / i.perSecond
	if sec > math.MaxInt32*4 { // beyond the year 2200 it is no time
		sec = 0
	}
	return time.Unix(int64(sec)+i.offset, int64(nanos)).UTC()
}

func (s *ngSource) packet(typ uint32, body []byte) (frame, bool) {
	index, header := uint32(0), 20
	switch typ {
	case blockSimple:
		header = 4
	case blockEnhanced:
		if len(body) < header {
			return frame{}, false
		}
		index = s.order.Uint32(body)
	default:
		if len(body) < header {
			return frame{}, false
		}
		index = uint32(s.order.Uint16(body))
	}
	if len(body) < header || index >= uint32(len(s.interfaces)) {
		return frame{}, false
	}
	i := &s.interfaces[index]
	var captured, original uint32
	at := s.last
	if typ == blockSimple {
		original = s.order.Uint32(body)
		captured = min(original, uint32(len(body)-header))
		if i.snap > 0 {
			captured = min(captured, i.snap)
		}
	} else {
		at = i.time(s.order.Uint32(body[4:]), s.order.Uint32(body[8:]))
		captured, original = s.order.Uint32(body[12:]), s.order.Uint32(body[16:])
		s.last = at
	}
	if captured > uint32(len(body)-header) {
		return frame{}, false
	}
	return frame{at, i.linkType, body[header:][:captured:captured], captured < original}, true
}
