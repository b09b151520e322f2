package sip

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
