package rtcp

import (
	"strings"
	"unsafe"
)

// maxDepth bounds the nesting of a JSON document; a report needs three.
const maxDepth = 32

// scanner walks through JSON (RFC 8259) without copying any of it. After the
// first fault, bad is set and everything ends.
type scanner struct {
	b     []byte
	i     int
	depth int
	bad   bool
	first bool // the next member is the first of its object or array
}

func (s *scanner) fail() { s.bad, s.i = true, len(s.b) }

// peek gives the next byte that is no blank, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c > ' ' {
			return c
		}
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			break
		}
		s.i++
	}
	return 0
}

func (s *scanner) atEnd() bool {
	s.peek()
	return s.i == len(s.b)
}

// open enters an object or array.
func (s *scanner) open(bracket byte) bool {
	if s.peek() != bracket || s.depth == maxDepth {
		s.fail()
		return false
	}
	s.i++
	s.depth++
	s.first = true
	return true
}

// nextMember goes to the next member or element, false behind the last one.
func (s *scanner) nextMember(closing byte) bool {
	if at := s.b[s.i:]; len(at) > 1 && at[0] == ',' && at[1] == '"' && !s.first {
		s.i++
		return true
	}
	return s.nextSpaced(closing)
}

// nextSpaced is nextMember however it is written.
func (s *scanner) nextSpaced(closing byte) bool {
	c := s.peek()
	switch {
	case c == closing:
		s.i++
		s.depth--
		s.first = false
		return false
	case s.first:
		s.first = false
		return !s.bad && c != 0 || s.failed()
	case c == ',':
		s.i++
		if c = s.peek(); c != closing && c != 0 {
			return true
		}
	}
	return s.failed()
}

func (s *scanner) failed() bool {
	s.fail()
	return false
}

// key reads a member's name and the colon after it. A name with an escape in it
// is given as it is written: no sender writes one.
func (s *scanner) key() (string, bool) {
	if s.peek() != '"' {
		return "", s.failed()
	}
	key, ok := s.text()
	if s.i < len(s.b) && s.b[s.i] == ':' {
		s.i++
		return key, ok
	}
	if !ok || s.peek() != ':' {
		return "", s.failed()
	}
	s.i++
	return key, true
}

// isPlain tells the bytes that stand for themselves in a string.
var isPlain = func() (plain [256]bool) {
	for c := ' '; c < 256; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// text reads a string, without the quotes and with its escapes.
func (s *scanner) text() (string, bool) {
	b := s.b
	start := s.i + 1
	i := start
	for {
		for i < len(b) && isPlain[b[i]] {
			i++
		}
		if i >= len(b) {
			return "", s.failed()
		}
		switch b[i] {
		case '"':
			s.i = i + 1
			if i == start {
				return "", true
			}
			return unsafe.String(&b[start], i-start), true
		case '\\':
			n := escape(b[i:])
			if n == 0 {
				return "", s.failed()
			}
			i += n
		default:
			return "", s.failed()
		}
	}
}

// escape gives the length of the escape at the beginning of b, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !isHex(c) {
				return 0
			}
		}
		return 6
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// value reads any value into v, which stays unset if it is no number, neither
// plain nor in a string.
func (s *scanner) value(v *value) {
	switch c := s.peek(); {
	case c >= '0' && c <= '9' || c == '-':
		s.number(v)
	case c == '"':
		if text, ok := s.text(); ok {
			v.set(text)
		}
	default:
		*v = value{}
		s.skip()
	}
}

// maxDigits is how many decimal digits an int64 holds for certain.
const maxDigits = 18

// number reads a JSON number; v may be nil.
func (s *scanner) number(v *value) {
	b, start := s.b, s.i
	i := start
	negative := b[i] == '-'
	if negative {
		i++
	}
	digits := i
	var n int64
	for i < len(b) && b[i]-'0' <= 9 {
		n = n*10 + int64(b[i]-'0') // too many digits are read again
		i++
	}
	count := i - digits
	if count == 0 || count > 1 && b[digits] == '0' {
		s.fail()
		return
	}
	plain := true
	if i < len(b) && b[i] == '.' {
		plain = false
		if i = skipDigits(b, i+1); b[i-1] == '.' {
			s.fail()
			return
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		plain = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = skipDigits(b, i); i == from {
			s.fail()
			return
		}
	}
	s.i = i
	switch {
	case v == nil:
	case !plain:
		*v = value{}
		v.setFloat(unsafe.String(&b[start], i-start))
	case count > maxDigits:
		v.setText(unsafe.String(&b[start], i-start), false)
	case negative:
		*v = value{n: -n, isSet: true}
	default:
		*v = value{n: n, isSet: true}
	}
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// set reads a number out of a string.
func (v *value) set(text string) {
	if len(text) > 0 && (text[0] <= ' ' || text[0] >= 0x80 || text[len(text)-1] <= ' ' || text[len(text)-1] >= 0x80) {
		text = strings.TrimSpace(text)
	}
	if len(text) == 0 || len(text) > maxDigits {
		v.setText(text, true)
		return
	}
	var n int64
	for i := range len(text) {
		c := text[i] - '0'
		if c > 9 {
			v.setHex(text)
			return
		}
		n = n*10 + int64(c)
	}
	*v = value{n: n, isSet: true, quoted: true}
}

// setHex reads what is not a plain decimal number.
func (v *value) setHex(text string) {
	if len(text) > 8 {
		v.setText(text, true)
		return
	}
	var n int64
	for i := range len(text) {
		c := text[i]
		if !isHex(c) {
			v.setText(text, true)
			return
		}
		digit := c - '0'
		if digit > 9 {
			digit = c | 0x20 - 'a' + 10
		}
		n = n<<4 | int64(digit)
	}
	*v = value{n: n, isSet: true, quoted: true, hex: true}
}

// skip passes over any value.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case c == '"':
		s.text()
	case c == '{':
		if !s.open('{') {
			return
		}
		for s.nextMember('}') {
			if _, ok := s.key(); !ok {
				return
			}
			s.skip()
		}
	case c == '[':
		if !s.open('[') {
			return
		}
		for s.nextMember(']') {
			s.skip()
		}
	case c == '-' || c >= '0' && c <= '9':
		s.number(nil)
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	default:
		s.fail()
	}
}

func (s *scanner) literal(word string) {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		s.fail()
		return
	}
	s.i += len(word)
}
