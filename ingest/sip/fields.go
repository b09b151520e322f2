package sip

// Fields calls f with every header field of a message, unfolded and trimmed,
// the name as it stands, until f returns false. Name and value may be pieces of
// raw; those of a folded field are valid until f returns.
func Fields(raw []byte, f func(name, value string) bool) {
	_, fields := cutLine(skipKeepAlive(text(raw)))
	h := headers{fields, new(scratch)}
	for {
		name, value, ok := h.next()
		if !ok || !f(name, value) {
			return
		}
	}
}

// Values calls f with each of the values that commas separate in one header
// field (RFC 3261 §7.3.1).
func Values(value string, f func(one string)) {
	for value != "" {
		var one string
		if one, value = cutList(value); one != "" {
			f(one)
		}
	}
}

// Param gives a parameter of a header value, unquoted: of a name-addr those
// after the angle brackets, of others those after the first semicolon.
func Param(value, name string) (string, bool) {
	s := new(scratch)
	_, _, params := splitNameAddr(value, s)
	return param(params, name, s)
}
