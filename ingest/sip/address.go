package sip

import (
	"bytes"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// cutList gives the first of the values that commas separate outside quotes
// and angle brackets, trimmed, and the rest.
func cutList(b []byte) (first, rest []byte) {
	if i := indexOutside(b, ','); i >= 0 {
		return bytes.TrimSpace(b[:i]), b[i+1:]
	}
	return bytes.TrimSpace(b), nil
}

// indexOutside is the index of c outside quoted strings and angle brackets. A
// quote that is never closed quotes nothing.
func indexOutside(b []byte, c byte) int {
	angle := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			if end := closingQuote(b[i:]); end > 0 {
				i += end
			}
		case b[i] == c && !angle:
			return i
		case b[i] == '<':
			angle = true
		case b[i] == '>':
			angle = false
		}
	}
	return -1
}

// closingQuote is the index of the quote that closes the one at b[0]; 0 if none does.
func closingQuote(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return 0
}

// unquote takes the quotes and escapes off a quoted string (RFC 3261 §25.1).
func unquote(b []byte) string {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return string(b)
	}
	b = b[1 : len(b)-1]
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		out = append(out, b[i])
	}
	return string(out)
}

// splitNameAddr takes name-addr or addr-spec apart (RFC 3261 §20.10). Without
// angle brackets what follows a semicolon belongs to the header, not the URI.
func splitNameAddr(v []byte) (display string, uri, params []byte) {
	open := indexOutside(v, '<')
	if open < 0 {
		// A quote that is not closed hides nothing from those who look on.
		open = bytes.IndexByte(v, '<')
	}
	if open < 0 {
		uri, params, _ = bytes.Cut(v, []byte(";"))
		return "", bytes.TrimSpace(uri), params
	}
	display = strings.TrimPrefix(unquote(bytes.TrimSpace(v[:open])), `"`)
	rest := v[open+1:]
	if end := bytes.IndexByte(rest, '>'); end >= 0 {
		return display, bytes.TrimSpace(rest[:end]), bytes.TrimLeft(rest[end+1:], " \t;")
	}
	return display, bytes.TrimSpace(rest), nil
}

func parseNameAddr(v []byte, a *telemetry.NameAddr) {
	display, uri, params := splitNameAddr(v)
	a.Display, a.Uri = display, string(uri)
	a.User, a.Host = UserHost(a.Uri)
	a.Tag, _ = param(params, "tag")
}

// UserHost gives the user and host of a sip, sips or tel URI: without password,
// port and parameters, escapes resolved, the host in lower case. What follows a
// number in the user part (";npdi", ";phone-context=") is not part of it.
func UserHost(uri string) (user, host string) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return "", ""
	}
	switch strings.ToLower(scheme) {
	case "tel":
		user, _, _ = strings.Cut(rest, ";")
		return unescape(user), ""
	case "sip", "sips":
	default:
		return "", ""
	}
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		// Some take a mail address for a user name: the last @ before the host's
		// parameters counts.
		end := len(rest)
		if i := strings.IndexAny(rest[at:], ";?"); i >= 0 {
			end = at + i
		}
		at = strings.LastIndexByte(rest[:end], '@')
		user, rest = rest[:at], rest[at+1:]
		user, _, _ = strings.Cut(user, ":")
		if number, _, ok := strings.Cut(user, ";"); ok && strings.Trim(number, "+0123456789-.()*#") == "" {
			user = number
		}
		user = unescape(user)
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, ";")
	if strings.HasPrefix(rest, "[") {
		if end := strings.IndexByte(rest, ']'); end > 0 {
			rest = rest[:end+1]
		}
	} else {
		rest, _, _ = strings.Cut(rest, ":")
	}
	return user, strings.ToLower(rest)
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// param gives the value of a header parameter, unquoted; found also where it
// has no value.
func param(params []byte, name string) (value string, found bool) {
	for len(params) > 0 {
		var one []byte
		if i := indexOutside(params, ';'); i >= 0 {
			one, params = params[:i], params[i+1:]
		} else {
			one, params = params, nil
		}
		key, v, _ := bytes.Cut(one, []byte("="))
		if strings.EqualFold(string(bytes.TrimSpace(key)), name) {
			return unquote(bytes.TrimSpace(v)), true
		}
	}
	return "", false
}

func appendContacts(to []*telemetry.Contact, v []byte) []*telemetry.Contact {
	for len(v) > 0 {
		var one []byte
		if one, v = cutList(v); len(one) == 0 {
			continue
		}
		_, uri, params := splitNameAddr(one)
		c := &telemetry.Contact{Uri: string(uri), ExpiresS: -1}
		if e, ok := param(params, "expires"); ok {
			c.ExpiresS = deltaSeconds([]byte(e))
		}
		instance, _ := param(params, "+sip.instance")
		c.Instance = strings.Trim(instance, `<>"`)
		c.RegId, _ = param(params, "reg-id")
		to = append(to, c)
	}
	return to
}
