package sip

import "iter"

// Headers gives name and value of each header field of a message, in order and
// without decoding, the name as it stands: for headers that only some networks
// know. Folded lines are one (RFC 3261 §7.3.1). The strings may share memory with
// raw.
func Headers(raw []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		_, fields := cutLine(skipKeepAlive(text(raw)))
		h := headers{rest: fields}
		for {
			name, value, ok := h.next()
			if !ok || !yield(name, value) {
				return
			}
		}
	}
}
