package registrar

import (
	"net/netip"
	"strconv"
	"strings"

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

// request is what of a SIP request decides about its answer. Its strings are
// pieces of what was received.
type request struct {
	flow flow
	raw  []byte
	m    *telemetry.SIPMessage // nil where the request cannot be read

	method string
	// Header fields as they go back into the answer (RFC 3261 §8.2.6.2).
	vias                   []string
	from, to, callID, cseq string

	contacts           []string
	authorization      []string
	require, supported []string // option tags
	path               []string
	event              string // without parameters, in lower case
	ifMatch            string // SIP-If-Match (RFC 3903)
	contentType        string // without parameters, in lower case
	encoding           string
}

// compact names of header fields that matter here (RFC 3261 §7.3.3).
var compact = map[string]string{
	"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "k": "supported", "o": "event", "c": "content-type", "e": "content-encoding",
}

// maxFields bounds the header fields that are looked at.
const maxFields = 256

func readRequest(raw []byte, from flow) *request {
	q := &request{flow: from, raw: raw}
	if fields := strings.Fields(firstLine(raw)); len(fields) > 0 {
		q.method = fields[0]
	}
	left := maxFields
	for name, value := range sip.Headers(raw) {
		if left--; left < 0 {
			break
		}
		name = strings.ToLower(name)
		if long, ok := compact[name]; ok {
			name = long
		}
		q.see(name, strings.Clone(value)) // raw may be used again
	}
	return q
}

func firstLine(raw []byte) string {
	line, _, _ := strings.Cut(strings.TrimLeft(string(raw[:min(len(raw), 4096)]), "\r\n"), "\n")
	return line
}

func (q *request) see(name, value string) {
	once := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	switch name {
	case "via":
		q.vias = append(q.vias, value)
	case "from":
		once(&q.from, value)
	case "to":
		once(&q.to, value)
	case "call-id":
		once(&q.callID, value)
	case "cseq":
		once(&q.cseq, value)
	case "contact":
		sip.Values(value, func(one string) { q.contacts = append(q.contacts, one) })
	case "authorization":
		q.authorization = append(q.authorization, value)
	case "require":
		sip.Values(value, func(one string) { q.require = append(q.require, strings.ToLower(one)) })
	case "supported":
		sip.Values(value, func(one string) { q.supported = append(q.supported, strings.ToLower(one)) })
	case "path":
		sip.Values(value, func(one string) { q.path = append(q.path, one) })
	case "event":
		once(&q.event, token(value))
	case "sip-if-match":
		once(&q.ifMatch, value)
	case "content-type":
		once(&q.contentType, token(value))
	case "content-encoding":
		once(&q.encoding, token(value))
	}
}

// token is the part of a value before its parameters.
func token(value string) string {
	t, _, _ := strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// hops is the number of Via values.
func (q *request) hops() int {
	n := 0
	for _, v := range q.vias {
		sip.Values(v, func(string) { n++ })
	}
	return n
}

// topVia is the first Via value and what follows it in its header field.
func (q *request) topVia() (top, rest string) {
	if len(q.vias) == 0 {
		return "", ""
	}
	sip.Values(q.vias[0], func(one string) {
		switch {
		case top == "":
			top = one
		case rest == "":
			rest = one
		default:
			rest += ", " + one
		}
	})
	return top, rest
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

// bytes writes the response (RFC 3261 §8.2.6). tag is To's where it has none.
func (a response) bytes(q *request, tag string) []byte {
	var b strings.Builder
	line := func(name, value string) {
		b.WriteString(name)
		b.WriteString(": ")
		b.WriteString(lineBreaks.Replace(value))
		b.WriteString("\r\n")
	}
	b.WriteString("SIP/2.0 " + strconv.Itoa(a.status) + " " + a.reason + "\r\n")
	for i, v := range q.vias {
		if i == 0 {
			top, rest := q.topVia()
			if v = received(top, q.flow.peer); rest != "" {
				v += ", " + rest
			}
		}
		line("Via", v)
	}
	if q.from != "" {
		line("From", q.from)
	}
	if to := q.to; to != "" {
		if _, has := sip.Param(to, "tag"); !has && a.status > 100 {
			to += ";tag=" + tag
		}
		line("To", to)
	}
	if q.callID != "" {
		line("Call-ID", q.callID)
	}
	if q.cseq != "" {
		line("CSeq", q.cseq)
	}
	for _, f := range a.fields {
		line(f.name, f.value)
	}
	line("Server", serverName)
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}

// lineBreaks keeps what a request brought within its line.
var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// received notes in a Via where the request really came from (RFC 3261
// §18.2.1, RFC 3581 §4).
func received(via string, peer netip.AddrPort) string {
	var out strings.Builder
	asked, known := false, false
	for i, part := range strings.Split(via, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case i > 0 && name == "received":
			continue // not for the sender to say
		case i > 0 && name == "rport":
			asked = true
			part = "rport=" + strconv.Itoa(int(peer.Port()))
		case i == 0:
			known = sentBy(via).Addr() == peer.Addr()
		}
		if i > 0 {
			out.WriteByte(';')
		}
		out.WriteString(part)
	}
	if asked || !known {
		out.WriteString(";received=" + peer.Addr().String())
	}
	return out.String()
}

// sentBy is the address in a Via; invalid where it is a name.
func sentBy(via string) netip.AddrPort {
	head, _, _ := strings.Cut(via, ";")
	fields := strings.Fields(head)
	if len(fields) < 2 {
		return netip.AddrPort{}
	}
	host := fields[len(fields)-1]
	if ap, err := netip.ParseAddrPort(host); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), 5060)
}

// destination is where a datagram's answer goes: back to where it came from
// where the phone asks for it (RFC 3581) or its Via names another address, as
// behind a NAT that nobody told it of; else to the port in Via (RFC 3261 §18.2.2).
func (q *request) destination() netip.AddrPort {
	via, _ := q.topVia()
	if _, rport := sip.Param(via, "rport"); rport {
		return q.flow.peer
	}
	if by := sentBy(via); by.Addr() == q.flow.peer.Addr() && by.Port() != 0 {
		return by
	}
	return q.flow.peer
}
