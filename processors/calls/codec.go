package calls

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// ErrState is wrapped by every complaint about the bytes of a checkpoint.
var ErrState = errors.New("calls: state is not readable")

// coder writes or reads the state of a call. One walk over the fields serves
// both ways, so that what is written is what is read. The bytes depend on the
// values only.
type coder struct {
	writing bool
	out     []byte
	in      string // what is still to be read; strings of the state share its memory
	baseUs  int64  // moments are written as their distance from here
	room    *room  // for what is read
	err     error
}

func (x *coder) fail() {
	if x.err == nil {
		x.err = ErrState
	}
	x.in = ""
}

// uvarint reads what binary.AppendUvarint wrote.
func (x *coder) uvarint() uint64 {
	if len(x.in) > 0 && x.in[0] < 0x80 { // nearly always
		v := uint64(x.in[0])
		x.in = x.in[1:]
		return v
	}
	var v uint64
	for i := 0; i < len(x.in) && i < binary.MaxVarintLen64; i++ {
		b := x.in[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			x.in = x.in[i+1:]
			return v | uint64(b)<<(7*i)
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
	x.fail()
	return 0
}

func (x *coder) u64(p *uint64) {
	if !x.writing {
		*p = x.uvarint()
		return
	}
	if *p < 0x80 {
		x.out = append(x.out, byte(*p))
		return
	}
	x.out = binary.AppendUvarint(x.out, *p)
}

// hash walks 64 bits of which none is likelier than the other.
func (x *coder) hash(p *uint64) {
	if x.writing {
		x.out = binary.LittleEndian.AppendUint64(x.out, *p)
		return
	}
	if len(x.in) < 8 {
		x.fail()
		return
	}
	var v uint64
	for i := range 8 {
		v |= uint64(x.in[i]) << (8 * i)
	}
	*p, x.in = v, x.in[8:]
}

func (x *coder) i64(p *int64) {
	u := uint64(*p)<<1 ^ uint64(*p>>63)
	x.u64(&u)
	*p = int64(u>>1) ^ -int64(u&1)
}

// time walks a moment, 0 where it is not known.
func (x *coder) time(p *int64) {
	var u uint64
	if x.writing && *p != 0 {
		d := *p - x.baseUs
		u = uint64(d)<<1 ^ uint64(d>>63) + 1
	}
	x.u64(&u)
	if x.writing {
		return
	}
	*p = 0
	if u--; u != math.MaxUint64 {
		*p = int64(u>>1) ^ -int64(u&1) + x.baseUs
	}
}

func (x *coder) u32(p *uint32) {
	u := uint64(*p)
	x.u64(&u)
	*p = uint32(u)
}

func (x *coder) u16(p *uint16) {
	u := uint64(*p)
	x.u64(&u)
	*p = uint16(u)
}

func (x *coder) u8(p *uint8) {
	if x.writing && *p < 0x80 {
		x.out = append(x.out, *p)
		return
	}
	u := uint64(*p)
	x.u64(&u)
	*p = uint8(u)
}

func (x *coder) i32(p *int32) {
	v := int64(*p)
	x.i64(&v)
	*p = int32(v)
}

func (x *coder) flag(p *bool) {
	var u uint8
	if *p {
		u = 1
	}
	x.u8(&u)
	*p = u != 0
}

// f64 keeps every bit, also those of NaN. Zero and small integers, which most
// fields hold, have their bits at the top: reversed they are short.
func (x *coder) f64(p *float64) {
	u := bits.ReverseBytes64(math.Float64bits(*p))
	x.u64(&u)
	*p = math.Float64frombits(bits.ReverseBytes64(u))
}

func (x *coder) str(p *string) {
	n := uint64(len(*p))
	x.u64(&n)
	if x.writing {
		x.out = append(x.out, *p...)
		return
	}
	if n > uint64(len(x.in)) {
		x.fail()
		return
	}
	*p, x.in = x.in[:n], x.in[n:]
}

// bytes walks bytes that nobody changes.
func (x *coder) bytes(p *[]byte) {
	s := string(*p)
	x.str(&s)
	if !x.writing {
		*p = []byte(s)
	}
}

// room is memory for the lists of one call after the other. What lies there is
// gone with the next call.
type room struct {
	streams   shelf[stream]
	srs       shelf[streamSR]
	reporters shelf[reporter]
	addresses shelf[address]
	invites   shelf[invite]
	taps      shelf[tap]
	codecs    shelf[codec]
	texts     shelf[string]
	hashes    shelf[uint64]
	words     shelf[uint32] // of histograms
}

func (r *room) clear() {
	r.streams.used, r.srs.used, r.reporters.used, r.addresses.used, r.invites.used = 0, 0, 0, 0, 0
	r.taps.used, r.codecs.used, r.texts.used, r.hashes.used, r.words.used = 0, 0, 0, 0, 0
}

type shelf[T any] struct {
	items []T
	used  int
}

// take gives n zero items; to append to them makes a copy.
func (s *shelf[T]) take(n int) []T {
	if s.used+n > len(s.items) {
		s.items, s.used = make([]T, 2*n+len(s.items)), 0
	}
	out := s.items[s.used : s.used+n : s.used+n]
	s.used += n
	clear(out)
	return out
}

// list walks a slice; every element takes at least one byte.
func list[T any](x *coder, s *[]T, each func(*T)) {
	if shelved(x, s, nil, each); x.err != nil {
		*s = nil
	}
}

// shelved walks a slice that lies in the room of the coder.
func shelved[T any](x *coder, s *[]T, on *shelf[T], each func(*T)) {
	n := uint64(len(*s))
	x.u64(&n)
	if !x.writing {
		if n > uint64(len(x.in)) {
			x.fail()
			return
		}
		switch {
		case n == 0:
			*s = nil
		case on != nil:
			*s = on.take(int(n))
		default:
			*s = make([]T, n)
		}
	}
	for i := range *s {
		each(&(*s)[i])
		if x.err != nil {
			return
		}
	}
}

func (x *coder) strs(p *[]string) { shelved(x, p, &x.room.texts, x.str) }

// hashes walks a slice of hashes.
func (x *coder) hashes(p *[]uint64) { shelved(x, p, &x.room.hashes, x.hash) }

// block walks fields that are mostly all zero, in one byte then: what is read
// was zero before.
func (x *coder) block(walk func()) {
	if !x.writing {
		if x.uvarint() != 0 {
			walk()
		}
		return
	}
	begin := len(x.out)
	x.out = append(x.out, 1)
	walk()
	for _, b := range x.out[begin+1:] {
		if b != 0 {
			return
		}
	}
	x.out = append(x.out[:begin], 0)
}

// identity walks who somebody is, nil where nobody knows.
func (x *coder) identity(p **telemetry.Identity) {
	present := *p != nil
	x.flag(&present)
	if !present {
		*p = nil
		return
	}
	if !x.writing {
		*p = &telemetry.Identity{}
	}
	id := *p
	for _, s := range []*string{&id.UserId, &id.Name, &id.Number, &id.DeviceId, &id.DepartmentId, &id.OfficeId, &id.ContactCenterId} {
		x.str(s)
	}
}

func histogram(x *coder, h *quality.Histogram) {
	if x.writing {
		x.out = h.Append(x.out)
		return
	}
	rest, err := h.Read(x.in, x.room.words.take)
	if err != nil {
		x.fail()
		return
	}
	x.in = rest
}

// message walks an optional protobuf message.
func message[T any, M interface {
	*T
	proto.Message
}](x *coder, p *M) {
	present := *p != nil
	x.flag(&present)
	if !present {
		*p = nil
		return
	}
	if x.writing {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(*p)
		if err != nil {
			x.err = err
			return
		}
		s := string(b)
		x.str(&s)
		return
	}
	var s string
	x.str(&s)
	if x.err != nil {
		return
	}
	m := M(new(T))
	if err := proto.Unmarshal([]byte(s), m); err != nil {
		x.fail()
		return
	}
	*p = m
}
