package sip

import (
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// maxParams bounds the parameters that are looked at of one value.
const maxParams = 64

// cutList gives the first of the values that commas separate outside quotes
// and angle brackets, trimmed, and the rest.
func cutList(s string) (first, rest string) {
	if i := indexOutside(s, ','); i >= 0 {
		return trim(s[:i]), s[i+1:]
	}
	return trim(s), ""
}

// indexOutside is the index of c outside quoted strings and angle brackets. A
// quote that is never closed quotes nothing.
func indexOutside(s string, c byte) int {
	first := strings.IndexByte(s, c)
	if first < 0 || strings.IndexByte(s[:first], '"') < 0 && strings.IndexByte(s[:first], '<') < 0 {
		return first
	}
	angle, unclosed := false, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"' && !unclosed:
			if end := closingQuote(s[i:]); end > 0 {
				i += end
			} else {
				unclosed = true // and then no later one is closed either
			}
		case s[i] == c && !angle:
			return i
		case s[i] == '<':
			angle = true
		case s[i] == '>':
			angle = false
		}
	}
	return -1
}

// closingQuote is the index of the quote that closes the one at s[0]; 0 if none does.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return 0
}

// unquote takes the quotes and escapes off a quoted string (RFC 3261 §25.1).
func (s *scratch) unquote(v string) string {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return v
	}
	v = v[1 : len(v)-1]
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	at := len(s.buf)
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		s.buf = append(s.buf, v[i])
	}
	return s.since(at)
}

// splitNameAddr takes name-addr or addr-spec apart (RFC 3261 §20.10). Without
// angle brackets what follows a semicolon belongs to the header, not the URI.
func splitNameAddr(v string, s *scratch) (display, uri, params string) {
	open := indexOutside(v, '<')
	if open < 0 {
		// A quote that is not closed hides nothing from those who look on.
		open = strings.IndexByte(v, '<')
	}
	if open < 0 {
		uri, params, _ = cut(v, ';')
		return "", trim(uri), params
	}
	display = strings.TrimPrefix(s.unquote(trim(v[:open])), `"`)
	rest := v[open+1:]
	if end := strings.IndexByte(rest, '>'); end >= 0 {
		return display, trim(rest[:end]), strings.TrimLeft(rest[end+1:], " \t;")
	}
	return display, trim(rest), ""
}

func parseNameAddr(v string, a *telemetry.NameAddr, s *scratch) {
	var params string
	a.Display, a.Uri, params = splitNameAddr(v, s)
	a.User, a.Host = s.userHost(a.Uri)
	a.Tag, _ = param(params, "tag", s)
}

func parseContact(v string, c *telemetry.Contact, s *scratch) {
	var params string
	_, c.Uri, params = splitNameAddr(v, s)
	c.ExpiresS, c.Instance, c.RegId = -1, "", ""
	var seen struct{ expires, instance, regID bool }
	for range maxParams {
		if params == "" {
			return
		}
		var key, value string
		key, value, params = cutParam(params)
		switch {
		case !seen.expires && is(key, "expires"):
			seen.expires = true
			c.ExpiresS = deltaSeconds(s.unquote(value))
		case !seen.instance && is(key, "+sip.instance"):
			seen.instance = true
			c.Instance = strings.Trim(s.unquote(value), `<>"`)
		case !seen.regID && is(key, "reg-id"):
			seen.regID = true
			c.RegId = s.unquote(value)
		}
	}
}

// cutParam gives the first of the parameters that semicolons separate, its
// value as it stands, and the rest.
func cutParam(params string) (key, value, rest string) {
	one := params
	if i := indexOutside(params, ';'); i >= 0 {
		one, rest = params[:i], params[i+1:]
	}
	key, value, _ = cut(one, '=')
	return trim(key), trim(value), rest
}

// param gives the value of a header parameter, unquoted; found also where it
// has no value.
func param(params, name string, s *scratch) (value string, found bool) {
	for range maxParams {
		if params == "" {
			break
		}
		var key string
		key, value, params = cutParam(params)
		if is(key, name) {
			return s.unquote(value), true
		}
	}
	return "", false
}

// UserHost gives the user and host of a sip, sips or tel URI: without password,
// port and parameters, escapes resolved, the host in lower case. What follows a
// number in the user part (";npdi", ";phone-context=") is not part of it. They
// may be pieces of uri.
func UserHost(uri string) (user, host string) { return new(scratch).userHost(uri) }

func (s *scratch) userHost(uri string) (user, host string) {
	scheme, rest, _ := cut(uri, ':')
	switch {
	case is(scheme, "sip"), is(scheme, "sips"):
	case is(scheme, "tel"):
		user, _, _ = cut(rest, ';')
		return s.unescape(user), ""
	default:
		return "", ""
	}
	if at := plainUser(rest); at >= 0 {
		return rest[:at], s.lower(hostOf(rest[at+1:]))
	}
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		// Some take a mail address for a user name: the last @ before the host's
		// parameters counts.
		end := len(rest)
		if i := uriParams(rest[at:]); i >= 0 {
			end = at + i
		}
		at = strings.LastIndexByte(rest[:end], '@')
		user, rest = rest[:at], rest[at+1:]
		user, _, _ = cut(user, ':')
		if number, _, ok := cut(user, ';'); ok && isNumber(number) {
			user = number
		}
		user = s.unescape(user)
	}
	return user, s.lower(hostOf(rest))
}

// plainUser is the index of the only @ behind a user that is to be taken as it
// stands, as most are; else -1.
func plainUser(s string) int {
	for i := range len(s) {
		switch s[i] {
		case '@':
			if strings.IndexByte(s[i+1:], '@') >= 0 {
				return -1
			}
			return i
		case ':', ';', '%', '?':
			return -1
		}
	}
	return -1
}

// hostOf cuts port, parameters and headers off.
func hostOf(hostport string) string {
	if i := uriParams(hostport); i >= 0 {
		hostport = hostport[:i]
	}
	if strings.HasPrefix(hostport, "[") {
		if end := strings.IndexByte(hostport, ']'); end > 0 {
			return hostport[:end+1]
		}
		return hostport
	}
	host, port, _ := cut(hostport, ':')
	if strings.IndexByte(port, ':') >= 0 {
		return hostport // IPv6 without brackets (RFC 5118 §4.2)
	}
	return host
}

// uriParams is the index of the parameters or headers of a URI; -1 without any.
func uriParams(s string) int {
	for i := range len(s) {
		if s[i] == ';' || s[i] == '?' {
			return i
		}
	}
	return -1
}

// isNumber allows what people write between digits (RFC 3966 §5.1.1).
func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && strings.IndexByte("+-.()*#", s[i]) < 0 {
			return false
		}
	}
	return true
}

// unescape resolves %HH (RFC 3986 §2.1).
func (s *scratch) unescape(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	at := len(s.buf)
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := hexDigit(v[i+1]), hexDigit(v[i+2]); hi >= 0 && lo >= 0 {
				s.buf = append(s.buf, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		s.buf = append(s.buf, v[i])
	}
	return validText(s.since(at))
}

func hexDigit(c byte) int {
	switch c = lower(c); {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
