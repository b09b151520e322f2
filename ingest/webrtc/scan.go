package webrtc

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Reading JSON (RFC 8259) in one pass, without building what nobody asks for: of
// the ~450 members of a getStats() result about 60 are needed. Every function
// takes the input and an index and gives the index after what it read; whatever
// is accepted, encoding/json accepts (the fuzz targets compare them). Text is
// looked at eight bytes at a time, because strings and numbers are nearly all of
// a report and a branch for each byte is what costs.

// maxDepth bounds nesting: getStats() has three levels, an item four.
const maxDepth = 64

var (
	// errSyntax is text that is no JSON, at the index given with it. Where that is
	// the end of the input, more of it may help.
	errSyntax = errors.New("malformed JSON")
	errDepth  = errors.New("nested too deep")
)

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special marks, in the high bit of its byte, the first byte that cannot simply
// be passed over in a string: a quote, a backslash, a control or a byte of a
// longer UTF-8 sequence. Only the lowest mark is exact.
func special(x uint64) uint64 {
	// Turning one bit round puts the quote beside the controls, below the rest. What
	// else these subtractions mark is marked by x itself, or stands behind a mark.
	low := (x ^ 2*lowBits) - ('"'-1)*lowBits
	slash := (x ^ '\\'*lowBits) - lowBits
	return (low | slash | x) & highBits
}

// notDigits marks the bytes that are no digits, in their high bits.
func notDigits(x uint64) uint64 {
	y := x ^ '0'*lowBits // digits are 0–9 now
	return ((y&^highBits + (128-10)*lowBits) | y) & highBits
}

func load(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// token gives the first byte of the next token, 0 at the end of the input.
func token(b []byte, i int) (byte, int) {
	if i = space(b, i); i < len(b) {
		return b[i], i
	}
	return 0, i
}

// textKind says what a string needs before it can be used.
type textKind uint8

const (
	textEscaped textKind = 1 << iota // it has escapes
	textWide                         // it has bytes beyond ASCII, perhaps invalid
)

// stringEnd gives the index after the string that begins at b[i], a quote.
func stringEnd(b []byte, i int) (end int, kind textKind, err error) {
	i++
	for {
		for i+8 <= len(b) {
			if m := special(load(b, i)); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return len(b), 0, errSyntax
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, kind, nil
		case c == '\\':
			kind |= textEscaped
			if i, err = escapeEnd(b, i); err != nil {
				return i, 0, err
			}
		case c < ' ':
			return i, 0, errSyntax
		default:
			if c >= utf8.RuneSelf {
				kind |= textWide
			}
			i++
		}
	}
}

// escapeEnd gives the index after the escape at b[i], a backslash.
func escapeEnd(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return len(b), errSyntax
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		for n := i + 2; n < i+6; n++ {
			if n >= len(b) {
				return len(b), errSyntax
			}
			if hexDigit(b[n]) < 0 {
				return n, errSyntax
			}
		}
		return i + 6, nil
	default:
		return i + 1, errSyntax
	}
}

func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	default:
		return -1
	}
}

func hex4(b []byte) rune {
	return hexDigit(b[0])<<12 | hexDigit(b[1])<<8 | hexDigit(b[2])<<4 | hexDigit(b[3])
}

// unquote appends what the inside of a string says to out. Bytes that are no
// UTF-8 and halves of surrogate pairs become U+FFFD.
func unquote(out, in []byte) []byte {
	for i := 0; i < len(in); {
		c := in[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(in[i:])
			out = utf8.AppendRune(out, r)
			i += n
		case c != '\\':
			out = append(out, c)
			i++
		case in[i+1] == 'u':
			r := hex4(in[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 <= len(in) && in[i] == '\\' && in[i+1] == 'u' {
					pair = utf16.DecodeRune(r, hex4(in[i+2:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, unescaped(in[i+1]))
			i += 2
		}
	}
	return out
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// alias is b as a string without a copy: it changes when b does.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// digits reads on a run of digits, v being what stood before them, and gives
// the index after it. Beyond 19 digits v is worthless.
func digits(b []byte, i int, v uint64) (uint64, int) {
	for i+8 <= len(b) {
		x := load(b, i)
		m := notDigits(x)
		x ^= '0' * lowBits
		if m == 0 {
			v, i = v*1e8+eight(x), i+8
			continue
		}
		n := bits.TrailingZeros64(m) >> 3
		if n == 0 {
			return v, i
		}
		return v*powers[n&7] + eight(x<<(64-8*n)), i + n
	}
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		v, i = v*10+uint64(b[i]-'0'), i+1
	}
	return v, i
}

var powers = [8]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7}

// eight is the number that eight digits make, the first in the lowest byte.
func eight(x uint64) uint64 {
	const mask = 0x000000FF000000FF
	x = x*10 + x>>8
	return (x&mask*(100+1000000<<32) + x>>16&mask*(1+10000<<32)) >> 32
}

// digitsEnd passes over a run of digits.
func digitsEnd(b []byte, i int) int {
	for i+8 <= len(b) {
		if m := notDigits(load(b, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// numberEnd gives the index after the number at b[i].
func numberEnd(b []byte, i int) (int, error) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digitsEnd(b, i); i == start {
		return i, errSyntax
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = digitsEnd(b, start); i == start {
			return i, errSyntax
		}
	}
	return exponentEnd(b, i)
}

func exponentEnd(b []byte, i int) (int, error) {
	if i >= len(b) || b[i]|0x20 != 'e' {
		return i, nil
	}
	if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	end := digitsEnd(b, i)
	if end == i {
		return i, errSyntax
	}
	return end, nil
}

// tens are the powers of ten that a float64 has exactly.
var tens = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads the number at b[i]; ok is false for one beyond float64.
func number(b []byte, i int) (v float64, ok bool, end int, err error) {
	first := i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	start := i
	if i < len(b) && b[i] == '0' {
		i++
	} else if mantissa, i = digits(b, i, 0); i == start {
		return 0, false, i, errSyntax
	}
	count, fraction := i-start, 0
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if mantissa, i = digits(b, start, mantissa); i == start {
			return 0, false, i, errSyntax
		}
		fraction = i - start
		count += fraction
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i, err = exponentEnd(b, i); err != nil {
			return 0, false, i, err
		}
	} else if count <= 19 && mantissa < 1<<53 && fraction < len(tens) {
		// Both are exact, so that their quotient is rounded once, as it must be.
		if v = float64(mantissa) / tens[fraction]; negative {
			v = -v
		}
		return v, true, i, nil
	}
	v, rangeErr := strconv.ParseFloat(alias(b[first:i]), 64)
	return v, rangeErr == nil, i, nil
}

// numberText reads a number that is the whole of a string, as legacy statistics
// have them; white space around it is allowed.
func numberText(s string) (v float64, ok bool) {
	s = strings.Trim(s, " \t\r\n")
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	v, ok, end, err := number(b, 0)
	return v, ok && err == nil && end == len(b) && !math.IsInf(v, 0)
}

// literalEnd gives the index after the word at b[i].
func literalEnd(b []byte, i int, word string) (int, error) {
	for n := range len(word) {
		if i+n >= len(b) || b[i+n] != word[n] {
			return i + n, errSyntax
		}
	}
	return i + len(word), nil
}

// skip gives the index after the value that begins at b[i], of any kind.
func skip(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, errSyntax
	}
	switch b[i] {
	case '"':
		end, _, err := stringEnd(b, i)
		return end, err
	case '{':
		return skipObject(b, i, depth)
	case '[':
		return skipArray(b, i, depth)
	case 't':
		return literalEnd(b, i, "true")
	case 'f':
		return literalEnd(b, i, "false")
	case 'n':
		return literalEnd(b, i, "null")
	default:
		return numberEnd(b, i)
	}
}

func skipObject(b []byte, i, depth int) (int, error) {
	if depth >= maxDepth {
		return i, errDepth
	}
	c, i := token(b, i+1)
	if c == '}' {
		return i + 1, nil
	}
	return skipMembers(b, i, depth)
}

// skipMembers passes over the rest of an object, of which a member's name comes next.
func skipMembers(b []byte, i, depth int) (_ int, err error) {
	for {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		if i, _, err = stringEnd(b, i); err != nil {
			return i, err
		}
		if i, err = colon(b, i); err != nil {
			return i, err
		}
		if i, err = skip(b, i, depth+1); err != nil {
			return i, err
		}
		more := false
		if i, more, err = comma(b, i, '}'); err != nil || !more {
			return i, err
		}
	}
}

func skipArray(b []byte, i, depth int) (_ int, err error) {
	if depth >= maxDepth {
		return i, errDepth
	}
	c, i := token(b, i+1)
	if c == ']' {
		return i + 1, nil
	}
	for more := true; more; {
		if i, err = skip(b, space(b, i), depth+1); err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, ']'); err != nil {
			return i, err
		}
	}
	return i, nil
}

// colon gives the index of the value after a member's name.
func colon(b []byte, i int) (int, error) {
	if i = space(b, i); i >= len(b) || b[i] != ':' {
		return i, errSyntax
	}
	return space(b, i+1), nil
}

// comma says whether another member or element follows; otherwise the object or
// array ends, which is passed over.
func comma(b []byte, i int, closing byte) (_ int, more bool, err error) {
	if i = space(b, i); i >= len(b) {
		return i, false, errSyntax
	}
	switch b[i] {
	case ',':
		return i + 1, true, nil
	case closing:
		return i + 1, false, nil
	default:
		return i, false, errSyntax
	}
}
