package sip

import (
	"iter"
	"strings"
)

// Headers gives name and value of each header line of a message, in order and
// without decoding: for headers that only some networks know. Folded lines are
// one (RFC 3261 §7.3.1). The strings alias raw where nothing was folded.
func Headers(raw []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		_, rest := cutLine(text(raw)) // the start line
		for rest != "" {
			var line string
			if line, rest = cutLine(rest); line == "" {
				return
			}
			if rest != "" && isBlank(rest[0]) {
				line, rest = unfold(line, rest)
			}
			name, value, ok := strings.Cut(line, ":")
			if ok && !yield(trim(name), trim(value)) {
				return
			}
		}
	}
}

// unfold appends the lines that begin with white space.
func unfold(line, rest string) (whole, after string) {
	var b strings.Builder
	b.WriteString(line)
	for rest != "" && isBlank(rest[0]) {
		line, rest = cutLine(rest)
		b.WriteByte(' ')
		b.WriteString(trim(line))
	}
	return b.String(), rest
}
