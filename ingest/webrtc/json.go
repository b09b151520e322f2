package webrtc

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds nesting: getStats() has three levels.
const maxDepth = 64

var errSyntax = errors.New("malformed JSON")

// scanner reads JSON (RFC 8259) in one pass, without building what nobody asks
// for: of the ~50 objects of a getStats() report about ten are needed.
// Whatever it accepts, encoding/json accepts; the fuzz target compares them.
type scanner struct {
	b     []byte
	i     int
	depth int
	buf   []byte // unescaped string
}

func (s *scanner) fail() error { return fmt.Errorf("%w at byte %d", errSyntax, s.i) }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek gives the first byte of the next token; 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// object calls member for each member, which must consume the value. The key
// is valid until member reads something.
func (s *scanner) object(member func(key []byte) error) error {
	if s.peek() != '{' || s.depth >= maxDepth {
		return s.fail()
	}
	s.i++
	s.depth++
	defer func() { s.depth-- }()
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail()
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.fail()
		}
		s.i++
		if err := member(key); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.fail()
		}
	}
}

// array calls element for each element, which must consume it.
func (s *scanner) array(element func() error) error {
	if s.peek() != '[' || s.depth >= maxDepth {
		return s.fail()
	}
	s.i++
	s.depth++
	defer func() { s.depth-- }()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return s.fail()
		}
	}
}

// str reads a string. The result is valid until the next call.
func (s *scanner) str() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.fail()
	}
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			out := s.b[start:s.i]
			s.i++
			if !utf8.Valid(out) {
				out = []byte(string([]rune(string(out)))) // invalid bytes become U+FFFD
			}
			return out, nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return nil, s.fail()
		default:
			s.i++
		}
	}
	return nil, s.fail()
}

func (s *scanner) escaped(start int) ([]byte, error) {
	s.buf = append(s.buf[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			if !utf8.Valid(s.buf) {
				return []byte(string([]rune(string(s.buf)))), nil
			}
			return s.buf, nil
		case c < 0x20:
			s.i--
			return nil, s.fail()
		case c != '\\':
			s.buf = append(s.buf, c)
			continue
		}
		if s.i >= len(s.b) {
			return nil, s.fail()
		}
		c = s.b[s.i]
		s.i++
		switch c {
		case '"', '\\', '/':
			s.buf = append(s.buf, c)
		case 'b':
			s.buf = append(s.buf, '\b')
		case 'f':
			s.buf = append(s.buf, '\f')
		case 'n':
			s.buf = append(s.buf, '\n')
		case 'r':
			s.buf = append(s.buf, '\r')
		case 't':
			s.buf = append(s.buf, '\t')
		case 'u':
			r, ok := s.hex4(s.i)
			if !ok {
				return nil, s.fail()
			}
			s.i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
					low, ok = s.hex4(s.i + 2)
				}
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					r = pair
					s.i += 6
				} else {
					r = utf8.RuneError
				}
			}
			s.buf = utf8.AppendRune(s.buf, r)
		default:
			s.i--
			return nil, s.fail()
		}
	}
	return nil, s.fail()
}

func (s *scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// number reads a number and gives its text.
func (s *scanner) number() ([]byte, error) {
	s.space()
	start := s.i
	digits := func() bool {
		from := s.i
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > from
	}
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i < len(s.b) && s.b[s.i] == '0':
		s.i++
	case !digits():
		return nil, s.fail()
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !digits() {
			return nil, s.fail()
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !digits() {
			return nil, s.fail()
		}
	}
	return s.b[start:s.i], nil
}

func (s *scanner) literal(word string) error {
	s.space()
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.fail()
	}
	s.i += len(word)
	return nil
}

// skip passes over one value of any kind.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.str()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, err := s.number()
		return err
	}
}

// text reads a string, or the text of a number; anything else is "".
func (s *scanner) text() (string, error) {
	switch c := s.peek(); {
	case c == '"':
		b, err := s.str()
		return string(b), err
	case c == '-' || c >= '0' && c <= '9':
		b, err := s.number()
		return string(b), err
	default:
		return "", s.skip()
	}
}

// num reads a number, also one inside a string as legacy statistics have them.
// Anything else is absent.
func (s *scanner) num() (optional, error) {
	var b []byte
	var err error
	switch c := s.peek(); {
	case c == '"':
		b, err = s.str()
	case c == '-' || c >= '0' && c <= '9':
		b, err = s.number()
	default:
		return optional{}, s.skip()
	}
	if err != nil || len(b) == 0 {
		return optional{}, err
	}
	v, parseErr := strconv.ParseFloat(string(b), 64)
	if parseErr != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return optional{}, nil
	}
	return optional{v, true}, nil
}

// boolean reads true or false, also inside a string; anything else is absent.
func (s *scanner) boolean() (value, ok bool, err error) {
	switch s.peek() {
	case 't':
		return true, true, s.literal("true")
	case 'f':
		return false, true, s.literal("false")
	case '"':
		b, err := s.str()
		return string(b) == "true", string(b) == "true" || string(b) == "false", err
	default:
		return false, false, s.skip()
	}
}

// optional is a number that may be absent.
type optional struct {
	v  float64
	ok bool
}

func (o optional) or(other optional) optional {
	if o.ok {
		return o
	}
	return other
}

func (o optional) float() *float64 {
	if !o.ok {
		return nil
	}
	v := o.v
	return &v
}

// nonNegative is absent for a negative value, which browsers give for "none".
func (o optional) nonNegative() *float64 {
	if !o.ok || o.v < 0 {
		return nil
	}
	return o.float()
}

func (o optional) uint() *uint64 {
	if !o.ok || o.v < 0 || o.v >= 1<<63 {
		return nil
	}
	v := uint64(o.v)
	return &v
}

func (o optional) int() *int64 {
	if !o.ok || o.v >= 1<<62 || o.v <= -(1<<62) {
		return nil
	}
	v := int64(o.v)
	return &v
}

func (o optional) uint32() uint32 {
	if !o.ok || o.v < 0 || o.v > math.MaxUint32 {
		return 0
	}
	return uint32(o.v)
}

func (o optional) per(divisor float64) optional { return optional{o.v / divisor, o.ok} }
