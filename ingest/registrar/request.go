package registrar

import (
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// flow is the way a request came and its answer goes (RFC 5626 §2).
type flow struct {
	transport   string // udp, tcp, tls, ws, wss
	local, peer netip.AddrPort
}

// stream reports whether the flow is a connection.
func (f flow) stream() bool { return f.transport != "udp" }

// request is a SIP request and how it came.
type request struct {
	*sipgo.Request
	flow flow
	raw  []byte
	m    *telemetry.SIPMessage // nil where the request cannot be read
}

const (
	// maxFields bounds the header fields of a request, through all of which
	// sipgo goes for each that is asked for.
	maxFields = 256
	// maxParts bounds the values and parameters of one header field and of the
	// request's URI: sipgo looks for each parameter among all before it.
	maxParts = 128
)

// errTooMany is a request that would take long to read.
var errTooMany = errors.New("registrar: too many header fields or parameters")

// fields are the header fields that are read or go back into the answer. But for
// Contact they are kept as they came, as what goes back has to be what came:
// sipgo's own forms lose parameters with white space around them (RFC 4475
// §3.1.1.1) and the port in front of one. Accessors read them all the same.
var fields = sipgo.HeadersParser{
	"via": kept("Via"), "v": kept("Via"), "from": kept("From"), "f": kept("From"), "to": kept("To"), "t": kept("To"),
	"call-id": kept("Call-ID"), "i": kept("Call-ID"), "cseq": kept("CSeq"), "record-route": kept("Record-Route"), "path": kept("Path"),
	// Compact names that sipgo does not know.
	"k": kept("Supported"), "o": kept("Event"), "e": kept("Content-Encoding"),
	"contact": contacts, "m": contacts,
}

var parser = func() *sipgo.Parser {
	sipgo.SetDefaultLogger(slog.New(slog.DiscardHandler)) // what strangers send is counted
	p := sipgo.NewParser(sipgo.WithHeadersParsers(fields))
	p.MaxMessageLength = math.MaxInt // transports have bounds of their own
	return p
}()

// kept keeps a header field as it came, but within its line.
func kept(name string) sipgo.HeaderParser {
	return func(_ []byte, value string) (sipgo.Header, error) {
		if parts(value) > maxParts {
			return nil, errTooMany
		}
		return sipgo.NewHeader(name, lineBreaks.Replace(value)), nil
	}
}

func contacts(name []byte, value string) (sipgo.Header, error) {
	if parts(value) > maxParts {
		return nil, errTooMany
	}
	return sipgo.DefaultHeadersParser()["contact"](name, lineBreaks.Replace(value))
}

// lineBreaks keeps what a request brought within its line.
var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// parts is no less than the number of values and parameters in a text.
func parts(s string) int {
	return strings.Count(s, ";") + strings.Count(s, "&") + strings.Count(s, ",")
}

// readRequest reads a request; nil is none. With an error it has no more than
// what its answer needs.
func readRequest(raw []byte, from flow) (*request, error) {
	method, rest, _ := strings.Cut(firstLine(raw), " ")
	if strings.HasPrefix(strings.ToUpper(method), "SIP/") { // sipgo takes "SIP/2.0 200 SIP" for a request
		return nil, nil
	}
	q, err := &request{flow: from, raw: raw}, errTooMany
	if parts(rest) <= maxParts {
		var m sipgo.Message
		m, _, err = parser.ParseHeaders(raw, true)
		q.Request, _ = m.(*sipgo.Request)
	}
	switch {
	case err == nil && q.Request == nil:
		return nil, nil
	case err == nil && len(q.Headers()) > maxFields:
		err = errTooMany
	}
	if err != nil {
		q.Request = leftover(raw)
	}
	q.Method = sipgo.RequestMethod(method) // as it came: sipgo's is in upper case (RFC 3261 §7.1)
	q.cutTopVia()
	return q, err
}

// leftover is what answers need of a request that sipgo cannot read.
func leftover(raw []byte) *sipgo.Request {
	m := sipgo.NewRequest("", sipgo.Uri{})
	left := maxFields
	for name, value := range sip.Headers(raw) {
		if left--; left < 0 {
			break
		}
		read, ok := fields[strings.ToLower(name)]
		if !ok {
			continue
		}
		if h, err := read(nil, strings.Clone(value)); err == nil {
			m.AppendHeader(h)
		}
	}
	return m
}

func firstLine(raw []byte) string {
	line, _, _ := strings.Cut(strings.TrimLeft(string(raw[:min(len(raw), 4096)]), "\r\n"), "\n")
	return line
}

// cutTopVia gives the top Via value a header field of its own (RFC 3261
// §7.3.1), as sipgo's accessor reads the whole of one.
func (q *request) cutTopVia() {
	via, top := q.one("Via"), ""
	sip.Values(via, func(one string) {
		if top == "" {
			top = one
		}
	})
	_, rest, _ := strings.Cut(via, top)
	if rest = strings.TrimLeft(rest, ", \t"); rest == "" {
		return
	}
	q.RemoveHeader("Via")
	q.PrependHeader(sipgo.NewHeader("Via", top), sipgo.NewHeader("Via", rest))
}

// one is the first header field of a name, empty without one.
func (q *request) one(name string) string {
	if h := q.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// values are all values of a header field that is a list.
func (q *request) values(name string) []string {
	var all []string
	for _, h := range q.GetHeaders(name) {
		sip.Values(h.Value(), func(one string) { all = append(all, one) })
	}
	return all
}

// tags are the option tags in a header field.
func (q *request) tags(name string) []string {
	all := q.values(name)
	for i, tag := range all {
		all[i] = strings.ToLower(tag)
	}
	return all
}

// token is the part of a value before its parameters.
func token(value string) string {
	t, _, _ := strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// param is a parameter, unquoted, whatever the case of its name and the white
// space around it, which sipgo leaves alone.
func param(of sipgo.HeaderParams, name string) (string, bool) {
	for _, p := range of {
		if strings.EqualFold(strings.TrimSpace(p.K), name) {
			return strings.Trim(strings.TrimSpace(p.V), `"`), true
		}
	}
	return "", false
}

// response is an answer without what every answer has.
type response struct {
	status int
	reason string
	fields []field
}

type field struct{ name, value string }

func answer(status int, reason string, fields ...field) response {
	return response{status: status, reason: reason, fields: fields}
}

// serverName is what answers say in Server.
const serverName = "Earshot"

// bytes writes the response (RFC 3261 §8.2.6).
func (a response) bytes(q *request) []byte {
	res := sipgo.NewResponseFromRequest(q.Request, a.status, a.reason, nil)
	res.SipVersion = "SIP/2.0" // whatever the request's is
	put := func(name, value string) {
		if h := sipgo.NewHeader(name, lineBreaks.Replace(value)); res.GetHeader(name) != nil {
			res.ReplaceHeader(h)
		} else {
			res.AppendHeader(h)
		}
	}
	tag := ""
	if to := q.To(); to != nil {
		if _, has := param(to.Params, "tag"); !has {
			tag, _ = res.To().Params.Get("tag") // sipgo chose one
		}
	}
	put("Via", q.received())
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		if value := q.one(name); value != "" {
			if name == "To" && tag != "" {
				value += ";tag=" + tag
			}
			put(name, value)
		}
	}
	for _, f := range append(a.fields, field{"Server", serverName}) {
		res.AppendHeader(sipgo.NewHeader(f.name, lineBreaks.Replace(f.value)))
	}
	return []byte(res.String())
}

// received is the top Via with where the request really came from (RFC 3261
// §18.2.1, RFC 3581 §4). Of these sipgo knows the second alone.
func (q *request) received() string {
	peer := q.flow.peer
	var out strings.Builder
	asked := false
	for i, part := range strings.Split(q.one("Via"), ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case i > 0 && name == "received":
			continue // not for the sender to say
		case i > 0 && name == "rport":
			asked = true
			part = "rport=" + strconv.Itoa(int(peer.Port()))
		}
		if i > 0 {
			out.WriteByte(';')
		}
		out.WriteString(part)
	}
	if asked || q.sentBy().Addr() != peer.Addr() {
		out.WriteString(";received=" + peer.Addr().String())
	}
	return out.String()
}

// sentBy is the address in the top Via; invalid where it is a name.
func (q *request) sentBy() netip.AddrPort {
	via := q.Via()
	if via == nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(via.Host)
	if err != nil || via.Port < 0 || via.Port > math.MaxUint16 {
		return netip.AddrPort{}
	}
	port := via.Port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}

// destination is where a datagram's answer goes: back to where it came from
// where the phone asks for it (RFC 3581) or its Via names another address, as
// behind a NAT that nobody told it of; else to the port in Via (RFC 3261 §18.2.2).
func (q *request) destination() netip.AddrPort {
	by := q.sentBy()
	if by.Addr() != q.flow.peer.Addr() {
		return q.flow.peer
	}
	if _, rport := param(q.Via().Params, "rport"); rport {
		return q.flow.peer
	}
	return by
}
