package registrar

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/telemetry"
)

const (
	// Flow-Timer (RFC 5626 §4.4.1): after how long without a keep-alive a flow is
	// given up. What is granted is what its section recommends phones without one.
	flowTimerStream = 120 * time.Second
	flowTimerUDP    = 30 * time.Second
)

// register answers a REGISTER (RFC 3261 §10.3, RFC 5626 §6, RFC 5627 §5).
func (r *Registrar) register(q *request, now time.Time) response {
	if q.m.To.GetHost() == "" {
		return answer(400, "To Names No Address")
	}
	// Whose address it is says the decoder, not sipgo, which leaves escapes in a
	// user's name: nobody is to be let in under one name and shown under another.
	aor := strings.Clone(q.m.To.User + "@" + strings.ToLower(q.m.To.Host))
	company := strings.Clone(r.cfg.Company(q.flow.peer.Addr(), q.m))
	by, refusal, ok := r.guard.admit(q, company, aor, now)
	if !ok {
		return refusal
	}
	u, refusal, ok := r.wanted(q, aor, now)
	if !ok {
		return refusal
	}
	for i := range u.set {
		u.set[i].company, u.set[i].by = company, by
	}
	held, verdict := r.bindings.apply(u, now)
	switch verdict {
	case outOfOrder:
		return answer(500, "CSeq Out Of Order")
	case tooMany:
		return answer(503, "Too Many Bindings", field{"Retry-After", "60"})
	}
	r.used(u)
	a := answer(200, "OK", field{"Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")})
	gruu := r.cfg.GRUU && slices.Contains(q.tags("Supported"), "gruu")
	for _, b := range held {
		a.fields = append(a.fields, field{"Contact", b.contact(aor, gruu, now)})
	}
	if u.flows {
		timer := flowTimerUDP
		if q.flow.stream() {
			timer = flowTimerStream
		}
		a.fields = append(a.fields, field{"Require", "outbound"}, field{"Flow-Timer", seconds(timer)})
	}
	if path := q.values("Path"); len(path) > 0 && slices.Contains(q.tags("Supported"), "path") {
		a.fields = append(a.fields, field{"Path", strings.Join(path, ", ")})
	}
	a.fields = append(a.fields, field{"Supported", strings.Join(r.extensions(), ", ")})
	return a
}

// wanted reads what a REGISTER is to change.
func (r *Registrar) wanted(q *request, aor string, now time.Time) (u update, refusal response, ok bool) {
	u = update{aor: aor, callID: q.CallID().Value(), cseq: q.CSeq().SeqNo}
	outbound := slices.Contains(q.tags("Supported"), "outbound")
	expires, stated := interval(q.one("Expires"))
	if !stated {
		expires = r.cfg.DefaultExpires
	}
	flows := 0
	contacts := q.GetHeaders("Contact")
	for i, h := range contacts {
		c, typed := h.(*sipgo.ContactHeader)
		if !typed {
			continue
		}
		if c.Address.Wildcard {
			if !stated || expires != 0 || len(contacts) != 1 {
				return u, answer(400, "Wildcard Needs Expires 0"), false
			}
			u.all = true
			continue
		}
		instance, _ := param(c.Params, "+sip.instance")
		b := binding{
			uri: c.Address.String(), instance: strings.Clone(strings.Trim(instance, "<>")), callID: u.callID, cseq: u.cseq,
			source: q.flow.peer.Addr(),
		}
		b.device = q.device(i, len(contacts), b.uri)
		if b.q, ok = preference(c.Params); !ok {
			return u, answer(400, "Contact Preference Malformed"), false
		}
		// Without an instance there is no device whose flow it could be (RFC 5626 §6).
		if regID, _ := param(c.Params, "reg-id"); outbound && regID != "" && b.instance != "" {
			if n, err := strconv.ParseUint(regID, 10, 31); err != nil || n == 0 {
				return u, answer(400, "Reg-Id Malformed"), false
			}
			b.regID = strings.Clone(regID)
		}
		wanted := expires
		own, _ := param(c.Params, "expires")
		if s, ok := interval(own); ok {
			wanted = s
		}
		switch {
		case wanted == 0:
			u.remove = append(u.remove, b)
			continue
		case wanted < r.cfg.MinExpires:
			return u, answer(423, "Interval Too Brief", field{"Min-Expires", seconds(r.cfg.MinExpires)}), false
		}
		if b.regID != "" {
			if flows++; flows > 1 {
				return u, answer(400, "One Flow Per Request"), false
			}
			if len(q.values("Via")) > 1 && !firstHopKeepsFlows(q.values("Path")) {
				return u, answer(439, "First Hop Lacks Outbound Support"), false
			}
			u.flows = true
		}
		if b.instance != "" {
			b.temporary = strings.ToLower(rand.Text())
		}
		b.expiresAt = now.Add(min(wanted, r.cfg.MaxExpires))
		u.set = append(u.set, b)
	}
	return u, response{}, true
}

// device is the id that the history of registrations has for the phone with one
// of a request's contacts: it goes by the decoder's reading.
func (q *request) device(i, of int, uri string) string {
	c := &telemetry.Contact{Uri: uri}
	if len(q.m.Contacts) == of {
		c = q.m.Contacts[i]
	}
	return telemetry.DeviceID(addressOfRecord(q.m.To), c.Instance, c.RegId, c.Uri)
}

// addressOfRecord is user@host of To as the history of registrations writes it.
func addressOfRecord(to *telemetry.NameAddr) string {
	host := strings.ToLower(to.GetHost())
	if user := to.GetUser(); user != "" {
		return strings.Clone(user + "@" + host)
	}
	return strings.Clone(host)
}

// firstHopKeepsFlows reports whether the proxy next to the phone, whose Path is
// the last, can send over the phone's own connection (RFC 5626 §5.1).
func firstHopKeepsFlows(path []string) bool {
	if len(path) == 0 {
		return false
	}
	last := path[len(path)-1]
	if begin, end := strings.IndexByte(last, '<'), strings.IndexByte(last, '>'); begin >= 0 && end > begin {
		last = last[begin+1 : end]
	}
	for i, parameter := range strings.Split(last, ";") {
		if i > 0 && strings.EqualFold(strings.TrimSpace(parameter), "ob") {
			return true
		}
	}
	return false
}

// preference is the q of a contact (RFC 3261 §20.10), empty without one.
func preference(of sipgo.HeaderParams) (q string, ok bool) {
	q, found := param(of, "q")
	if !found {
		return "", true
	}
	v, err := strconv.ParseFloat(q, 64)
	return strings.Clone(q), err == nil && v >= 0 && v <= 1 && len(q) <= 5 && strings.Trim(q, "0123456789.") == ""
}

// interval is a number of seconds (RFC 3261 §20.19), at most 2³¹ of them.
func interval(text string) (time.Duration, bool) {
	s, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(s, 1<<31)) * time.Second, true
}

// contact is a binding in a 200, with its instance and flow (RFC 5626 §6) and,
// for those who know them, the addresses that lead to this instance from
// anywhere (RFC 5627 §5.4).
func (b *binding) contact(aor string, gruu bool, now time.Time) string {
	// Rounded up: a binding that still holds never shows 0, which would say that
	// it was removed.
	left := (b.expiresAt.Sub(now) + time.Second - 1) / time.Second
	s := "<" + b.uri + ">;expires=" + strconv.FormatInt(int64(left), 10)
	if b.q != "" {
		s += ";q=" + b.q
	}
	if b.instance != "" {
		s += `;+sip.instance="<` + b.instance + `>"`
	}
	if b.regID != "" {
		s += ";reg-id=" + b.regID
	}
	if gruu && b.instance != "" {
		user, host, _ := strings.Cut(aor, "@")
		s += fmt.Sprintf(`;pub-gruu="sip:%s@%s;gr=%s";temp-gruu="sip:tgruu.%s@%s;gr"`, escapeUser(user), host, escapeParam(b.instance), b.temporary, host)
	}
	return s
}

// escapeUser and escapeParam write text as RFC 3261 §25.1 lets it stand in the
// user part and in a parameter of a URI.
func escapeUser(s string) string  { return escape(s, "-_.!~*'()&=+$,;?/") }
func escapeParam(s string) string { return escape(s, "-_.!~*'()[]/:&+$") }

func escape(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte(also, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
