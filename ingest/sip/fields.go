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
