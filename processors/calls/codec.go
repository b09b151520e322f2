package calls

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"google.golang.org/protobuf/proto"
)

// ErrState is wrapped by every complaint about the bytes of a checkpoint.
var ErrState = errors.New("calls: state is not readable")

// coder writes or reads the state of a call. One walk over the fields serves
// both ways, so that what is written is what is read. The bytes depend on the
// values only.
type coder struct {
	writing bool
	b       []byte
	err     error
}

func (x *coder) fail() {
	if x.err == nil {
		x.err = ErrState
	}
	x.b = nil
}

func (x *coder) u64(p *uint64) {
	if x.writing {
		x.b = binary.AppendUvarint(x.b, *p)
		return
	}
	v, n := binary.Uvarint(x.b)
	if n <= 0 {
		x.fail()
		return
	}
	*p, x.b = v, x.b[n:]
}

func (x *coder) i64(p *int64) {
	u := uint64(*p)<<1 ^ uint64(*p>>63)
	x.u64(&u)
	*p = int64(u>>1) ^ -int64(u&1)
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
	var u uint64
	if *p {
		u = 1
	}
	x.u64(&u)
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
	if x.writing {
		x.b = binary.AppendUvarint(x.b, uint64(len(*p)))
		x.b = append(x.b, *p...)
		return
	}
	var n uint64
	x.u64(&n)
	if n > uint64(len(x.b)) {
		x.fail()
		return
	}
	*p, x.b = string(x.b[:n]), x.b[n:]
}

// list walks a slice; every element takes at least one byte.
func list[T any](x *coder, s *[]T, each func(*T)) {
	n := uint64(len(*s))
	x.u64(&n)
	if !x.writing {
		if n > uint64(len(x.b)) {
			x.fail()
			return
		}
		*s = nil
		if n > 0 {
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

func (x *coder) strs(p *[]string) { list(x, p, x.str) }
func (x *coder) u64s(p *[]uint64) { list(x, p, x.u64) }

// message walks an optional protobuf message.
func message[T any, M interface {
	*T
	proto.Message
}](x *coder, p *M) {
	present := *p != nil
	x.flag(&present)
	if !present {
		if !x.writing {
			*p = nil
		}
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
