package sip

import (
	"strings"
	"unsafe"
)

// text is b as a string that shares its memory: valid as long as nobody writes to b.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// scratch holds the strings that are no piece of a message as it stands there:
// unfolded lines, names without escapes, hosts in lower case. Strings that it
// gave stay what they are until it is emptied.
type scratch struct{ buf []byte }

func (s *scratch) reset() { s.buf = s.buf[:0] }

// since gives what was appended from an index on.
func (s *scratch) since(at int) string { return text(s.buf[at:]) }

// lower is v with the letters of ASCII in lower case.
func (s *scratch) lower(v string) string {
	i := 0
	for i < len(v) && !('A' <= v[i] && v[i] <= 'Z') {
		i++
	}
	if i == len(v) {
		return v
	}
	at := len(s.buf)
	s.buf = append(s.buf, v...)
	for j := at + i; j < len(s.buf); j++ {
		s.buf[j] = lower(s.buf[j])
	}
	return s.since(at)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// validText is v in UTF-8: where it is none it has U+FFFD.
func validText(v string) string { return strings.ToValidUTF8(v, "\uFFFD") }

// pool keeps messages for the next time; what it gave belongs to the user until
// it is reset.
type pool[T any] struct {
	items []*T
	used  int
}

// maxPooled bounds what one strange message leaves behind.
const maxPooled = 1024

func (p *pool[T]) reset() {
	p.used = 0
	if len(p.items) > maxPooled {
		clear(p.items[maxPooled:])
		p.items = p.items[:maxPooled]
	}
}

// next gives one with what it had when it was used last.
func (p *pool[T]) next() *T {
	if p.used == len(p.items) {
		p.items = append(p.items, new(T))
	}
	p.used++
	return p.items[p.used-1]
}

// cutLine gives the first line without its CRLF or LF, and what follows it.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return trimCR(s), ""
	}
	return trimCR(s[:i]), s[i+1:]
}

// cut is strings.Cut at a byte.
func cut(s string, at byte) (before, after string, found bool) {
	if i := strings.IndexByte(s, at); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func trimCR(s string) string {
	if n := len(s); n > 0 && s[n-1] == '\r' {
		return s[:n-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// trim takes white space off both ends.
func trim(s string) string {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// word gives the first word, and what follows it.
func word(s string) (first, rest string) {
	i := 0
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	s = s[i:]
	for i = 0; i < len(s); i++ {
		if isSpace(s[i]) {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// is compares with a name in lower case, in any case of ASCII.
func is(s, name string) bool {
	if len(s) != len(name) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != name[i] {
			return false
		}
	}
	return true
}
