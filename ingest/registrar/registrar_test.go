package registrar

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/sip"
)

var (
	phone = netip.MustParseAddrPort("192.0.2.1:5060")
	here  = netip.MustParseAddrPort("192.0.2.99:5060")
	udp   = flow{"udp", here, phone}
	tcp   = flow{"tcp", here, phone}
)

// settings that tests begin with.
func settings(now func() time.Time) Config {
	return Config{
		MinExpires: 20 * time.Second, DefaultExpires: 300 * time.Second, MaxExpires: 3600 * time.Second, MaxBindings: 100, GRUU: true,
		Auth: AuthKnown, Realm: "earshot", Algorithms: []string{SHA256, MD5}, NonceFor: 5 * time.Minute,
		MessageBytes: 64 << 10, Connections: 16, Idle: time.Minute, Now: now,
	}
}

func newRegistrar(t testing.TB, cfg Config) *Registrar {
	t.Helper()
	r, err := New(cfg, Listeners{}, func(Message) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func registerRequest(user, callID string, cseq int, headers ...string) string {
	return fmt.Sprintf("REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%s%d\r\nFrom: <sip:%s@example.test>;tag=1\r\nTo: <sip:%s@Example.TEST>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\n",
		callID, cseq, user, user, callID, cseq) + strings.Join(append(headers, "Content-Length: 0", "", ""), "\r\n")
}

// reply is an answer taken apart.
type reply struct {
	t      testing.TB
	status int
	raw    string
}

func (r *Registrar) ask(t testing.TB, from flow, raw string) reply {
	t.Helper()
	out, _ := r.take([]byte(raw), from)
	fields := strings.Fields(firstLine(out))
	if len(fields) < 3 {
		t.Fatalf("answered: %q", out)
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatalf("answered: %q", out)
	}
	return reply{t, status, string(out)}
}

func (r *Registrar) answer(t testing.TB, raw string) reply { t.Helper(); return r.ask(t, udp, raw) }

func (a reply) get(name string) []string {
	var values []string
	for n, v := range sip.Headers([]byte(a.raw)) {
		if strings.EqualFold(n, name) {
			values = append(values, v)
		}
	}
	return values
}

func (a reply) one(name string) string {
	if v := a.get(name); len(v) == 1 {
		return v[0]
	}
	return fmt.Sprintf("%d times %s", len(a.get(name)), name)
}

func TestBindingsExpire(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRegistrar(t, settings(func() time.Time { return now }))
	r.answer(t, registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>;expires=60", "Contact: <sip:ann@192.0.2.2>;expires=120"))
	now = now.Add(59 * time.Second)
	if got := r.answer(t, registerRequest("ann", "q", 1)).get("Contact"); len(got) != 2 || got[0] != "<sip:ann@192.0.2.1>;expires=1" {
		t.Errorf("contacts %v", got)
	}
	now = now.Add(time.Second)
	if got := r.answer(t, registerRequest("ann", "q", 2)).one("Contact"); got != "<sip:ann@192.0.2.2>;expires=60" {
		t.Errorf("contact %v", got)
	}
	now = now.Add(time.Minute)
	r.bindings.sweep(now)
	if r.Registered() != 0 || len(r.bindings.byAOR) != 0 {
		t.Errorf("%d bindings of %d addresses left", r.Registered(), len(r.bindings.byAOR))
	}
}

// What is wrong with a request is said in the answer, and changes nothing.
func TestRefused(t *testing.T) {
	base := "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: c\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		field   string // Name: value that the answer has to have
	}{
		"too brief, and one that is not": {registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>;expires=60, <sip:ann@192.0.2.2>;expires=5"), 423, "Min-Expires: 20"},
		"wildcard alone":                 {registerRequest("ann", "c", 1, "Contact: *"), 400, ""},
		"wildcard with another":          {registerRequest("ann", "c", 1, "Contact: *, <sip:ann@192.0.2.1>", "Expires: 0"), 400, ""},
		"preference":                     {registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>;q=much"), 400, ""},
		"reg-id":                         {registerRequest("ann", "c", 1, "Supported: outbound", `Contact: <sip:ann@192.0.2.1>;+sip.instance="<urn:x>";reg-id=0`), 400, ""},
		"two flows":                      {registerRequest("ann", "c", 1, "Supported: outbound", `Contact: <sip:ann@192.0.2.1>;+sip.instance="<urn:x>";reg-id=1, <sip:ann@192.0.2.2>;+sip.instance="<urn:x>";reg-id=2`), 400, ""},
		"extension":                      {registerRequest("ann", "c", 1, "Require: gruu, magic"), 420, "Unsupported: magic"},
		"no To":                          {"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n", 400, ""},
		"To without host":                {"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@x>\r\nTo: <urn:x>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n", 400, ""},
		"no CSeq":                        {"REGISTER sip:x SIP/2.0\r\n" + base + "\r\n", 400, ""},
		"CSeq of another method":         {"REGISTER sip:x SIP/2.0\r\n" + base + "CSeq: 1 OPTIONS\r\n\r\n", 400, ""},
		"CSeq no number":                 {"REGISTER sip:x SIP/2.0\r\n" + base + "CSeq: one REGISTER\r\n\r\n", 400, ""},
		"version":                        {"OPTIONS sip:x SIP/3.0\r\n" + base + "CSeq: 1 OPTIONS\r\n\r\n", 505, ""},
		"call":                           {"INVITE sip:x SIP/2.0\r\n" + base + "CSeq: 1 INVITE\r\n\r\n", 405, "Allow: " + allowed},
		"cancel of nothing":              {"CANCEL sip:x SIP/2.0\r\n" + base + "CSeq: 1 CANCEL\r\n\r\n", 481, ""},
		"method in lower case":           {"register sip:x SIP/2.0\r\n" + base + "CSeq: 1 register\r\nContact: <sip:a@y>\r\n\r\n", 501, ""},
		"unknown method":                 {"FROBNICATE sip:x SIP/2.0\r\n" + base + "CSeq: 1 FROBNICATE\r\n\r\n", 501, "Allow: " + allowed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistrar(t, settings(nil))
			a := r.answer(t, c.request)
			if field, value, _ := strings.Cut(c.field, ": "); a.status != c.status || field != "" && a.one(field) != value {
				t.Errorf("%s", a.raw)
			}
			if r.Registered() != 0 {
				t.Errorf("%d bindings", r.Registered())
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	for name, raw := range map[string]string{
		"ACK":      "ACK sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@x>\r\nTo: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 ACK\r\n\r\n",
		"response": "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@x>\r\nTo: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
		"bad one":  "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n",
		"no Via":   "OPTIONS sip:x SIP/2.0\r\nFrom: <sip:a@x>\r\nTo: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
		"garbage":  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if out, _ := r.take([]byte(raw), udp); out != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// Call-ID and CSeq keep the order of what a phone sends (RFC 3261 §10.3).
func TestOrder(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	contact := "Contact: <sip:ann@192.0.2.1>"
	for i, c := range []struct {
		callID string
		cseq   int
		status int
	}{{"a", 5, 200}, {"a", 4, 500}, {"a", 6, 200}, {"b", 1, 200}, {"b", 2, 200}} {
		if a := r.answer(t, registerRequest("ann", c.callID, c.cseq, contact)); a.status != c.status {
			t.Errorf("%d: %s", i, a.raw)
		}
	}
	// The same number again, in a transaction of its own.
	again := strings.Replace(registerRequest("ann", "b", 2, contact), "z9hG4bK", "z9hG4bKagain", 1)
	if a := r.answer(t, again); a.status != 500 {
		t.Errorf("%s", a.raw)
	}
}

// A request that comes again gets the same answer; CANCEL finds its INVITE.
func TestTransactions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRegistrar(t, settings(func() time.Time { return now }))
	request := registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>")
	first := r.answer(t, request)
	now = now.Add(transactionFor - 1)
	if again := r.answer(t, request); again.raw != first.raw || first.status != 200 {
		t.Errorf("first %s\nagain %s", first.raw, again.raw)
	}
	now = now.Add(1)
	if late := r.answer(t, request); late.status != 500 {
		t.Errorf("%s", late.raw)
	}
	call := "%s sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKi\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: i\r\nCSeq: 1 %[1]s\r\n\r\n"
	if a := r.answer(t, fmt.Sprintf(call, "INVITE")); a.status != 405 {
		t.Errorf("%s", a.raw)
	}
	if a := r.answer(t, fmt.Sprintf(call, "CANCEL")); a.status != 200 {
		t.Errorf("%s", a.raw)
	}
	for i := range maxTransactions + 10 {
		r.transactions.keep(strconv.Itoa(i), []byte("x"), now)
	}
	if n := len(r.transactions.answers); n > maxTransactions || n != len(r.transactions.oldest) {
		t.Errorf("%d answers kept, %d in order", n, len(r.transactions.oldest))
	}
}

// Where answers go, and what they say about where the request came from
// (RFC 3261 §18.2, RFC 3581).
func TestWayBack(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	peer := netip.MustParseAddrPort("203.0.113.7:33000")
	for _, c := range []struct{ via, want, to string }{
		{"SIP/2.0/UDP 203.0.113.7:5062;branch=z9hG4bK1", "SIP/2.0/UDP 203.0.113.7:5062;branch=z9hG4bK1", "203.0.113.7:5062"},
		{"SIP/2.0/UDP 203.0.113.7;branch=z9hG4bK2", "SIP/2.0/UDP 203.0.113.7;branch=z9hG4bK2", "203.0.113.7:5060"},
		{"SIP/2.0/UDP 203.0.113.7:5062;rport;branch=z9hG4bK3", "SIP/2.0/UDP 203.0.113.7:5062;rport=33000;branch=z9hG4bK3;received=203.0.113.7", "203.0.113.7:33000"},
		{"SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK4", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK4;received=203.0.113.7", "203.0.113.7:33000"},
		{"SIP/2.0/UDP phone.local;branch=z9hG4bK5;received=198.51.100.1", "SIP/2.0/UDP phone.local;branch=z9hG4bK5;received=203.0.113.7", "203.0.113.7:33000"},
		{"SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK6, SIP/2.0/UDP 10.0.0.6", "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK6;received=203.0.113.7, SIP/2.0/UDP 10.0.0.6", "203.0.113.7:33000"},
	} {
		request := "OPTIONS sip:x SIP/2.0\r\nVia: " + c.via + "\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
		out, to := r.take([]byte(request), flow{"udp", here, peer})
		a := reply{t: t, raw: string(out)}
		if got := strings.Join(a.get("Via"), ", "); got != c.want || to.String() != c.to {
			t.Errorf("%s:\n%s to %s", c.via, got, to)
		}
		if _, tag, _ := strings.Cut(a.one("To"), ">;tag="); len(tag) < 8 {
			t.Errorf("To: %s", a.one("To"))
		}
	}
}

// What goes back is what came, however it was written, and nothing that was
// hidden in it becomes a line of its own.
func TestEcho(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	const request = "OPTIONS %s SIP/2.0\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\n%s\r\n"
	plain := []any{"sip:x", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "<sip:a@x>;tag=1", "<sip:b@x>;tag=2", "c", "1 OPTIONS", ""}
	for name, c := range map[string]struct {
		at     int // which part of the request is another
		value  string
		status int
	}{
		"Via with white space":           {1, "SIP / 2.0 / UDP 192.0.2.1 ; branch = z9hG4bK9ikj8", 200},
		"Via with white space at a port": {1, "SIP/2.0/UDP 192.0.2.1:5060 ;branch=z9hG4bK9ikj9", 200},
		"Via with a quoted parameter":    {1, `SIP/2.0/UDP 192.0.2.1;x="a b";branch=z9hG4bK3`, 200},
		"Via that is none":               {1, "192.0.2.1;branch=z9hG4bK4", 400},
		"From with white space":          {2, `"J Rosenberg \\\""       <sip:j@example.com> ; tag = 98asjd8`, 200},
		"From as RFC 2543 has it":        {2, "sip:j@example.com;tag=98asjd8", 200},
		"From with a quote left open":    {2, `"J <sip:j@example.com>;tag=1`, 400},
		"To with white space":            {3, "sip:vivekg@example.com ;   tag    = 1918181833n", 200},
		"To with a name":                 {3, "T. Watson <sip:t@example.com>;tag=7", 200},
		"Call-ID of every kind":          {4, "word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", 200},
		"CSeq with zeros":                {5, "0009 OPTIONS", 200},
		"CSeq too large":                 {5, "4294967296 OPTIONS", 400},
		"request URI in brackets":        {0, "<sip:x>", 400},
		"line that is no header field":   {6, "what is this\r\n", 400},
		"parameters without end":         {6, "Contact: <sip:x" + strings.Repeat(";a=b", 10_000) + ">\r\n", 400},
		"parameters without end in From": {6, "Path: <sip:x>" + strings.Repeat("&a=b", 10_000) + "\r\n", 400},
		"header fields without end":      {6, strings.Repeat("X: y\r\n", 10_000), 400},
	} {
		parts := slices.Clone(plain)
		parts[c.at] = c.value
		a := r.ask(t, tcp, fmt.Sprintf(request, parts...))
		if a.status != c.status || !strings.HasPrefix(a.one("Via"), parts[1].(string)) {
			t.Errorf("%s: %s", name, a.raw)
		}
		for i, field := range []string{"From", "To", "Call-ID", "CSeq"} {
			if a.one(field) != parts[i+2] {
				t.Errorf("%s: %s", name, a.raw)
			}
		}
		for i := 1; i < 6; i++ {
			parts[i] = parts[i].(string) + "\nContact: <sip:evil@x>\x00"
			if a := r.ask(t, tcp, fmt.Sprintf(request, parts...)); strings.Contains(a.raw, "\nContact") || strings.Contains(a.raw, "\x00") {
				t.Errorf("%s: %s", name, a.raw)
			}
		}
	}
}

// Nobody gets past credentials by another way to write an address.
func TestOneAddress(t *testing.T) {
	cfg := settings(nil)
	cfg.Credentials = book{"ann@example.test": {credential("ann", "earshot", "right")}}
	r := newRegistrar(t, cfg)
	for _, to := range []string{"<sip:%61nn@example.test>", "sip:ann@EXAMPLE.test", "<sip:ann:secret@example.test:5060>", "Ann <sips:ann@example.test;transport=tcp>"} {
		request := strings.Replace(registerRequest("ann", "c", 1, "Contact: <sip:u@192.0.2.1>"), "To: <sip:ann@Example.TEST>", "To: "+to, 1)
		if a := r.ask(t, tcp, request); a.status != 401 || r.Registered() != 0 {
			t.Errorf("%s: %s", to, a.raw)
		}
	}
}

// Several flows of one device (RFC 5626), one of another, and one without.
func TestFlows(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	flowOf := func(callID string, cseq int, host, regID string, headers ...string) reply {
		return r.ask(t, tcp, registerRequest("ann", callID, cseq, append(headers, "Supported: path, outbound",
			`Contact: <sip:ann@`+host+`>;+sip.instance="<urn:uuid:1>";reg-id=`+regID+`;expires=60`)...))
	}
	a := flowOf("f1", 1, "192.0.2.1", "1")
	if a.status != 200 || a.one("Require") != "outbound" || a.one("Flow-Timer") != "120" {
		t.Errorf("%s", a.raw)
	}
	flowOf("f2", 1, "192.0.2.2", "2")
	// The first one again after its connection broke: another address, the same flow.
	a = flowOf("f3", 1, "192.0.2.3", "1")
	if got := a.get("Contact"); len(got) != 2 || !strings.HasPrefix(got[0], "<sip:ann@192.0.2.3>") || !strings.HasSuffix(got[0], `;+sip.instance="<urn:uuid:1>";reg-id=1`) {
		t.Errorf("%v", got)
	}
	// Whoever does not know outbound has no flows.
	a = r.answer(t, registerRequest("ann", "o", 1, `Contact: <sip:ann@192.0.2.4>;+sip.instance="<urn:uuid:1>";reg-id=1`))
	if got := a.get("Contact"); len(got) != 3 || strings.Contains(got[2], "reg-id") || len(a.get("Require")) != 0 {
		t.Errorf("%s", a.raw)
	}
	// Through a proxy that cannot hold flows, and through one that can.
	via := func(a string) string {
		return strings.Replace(a, "\r\nFrom", "\r\nVia: SIP/2.0/TCP 192.0.2.50;branch=z9hG4bKp\r\nFrom", 1)
	}
	through := func(path string) reply {
		headers := []string{"Supported: path, outbound", `Contact: <sip:bob@192.0.2.9>;+sip.instance="<urn:uuid:2>";reg-id=1`}
		if path != "" {
			headers = append(headers, "Path: "+path)
		}
		return r.ask(t, tcp, via(registerRequest("bob", "p", 1, headers...)))
	}
	for path, status := range map[string]int{"": 439, "<sip:edge.test;lr>": 439, "<sip:core.test;lr;ob>, <sip:edge.test;lr>": 439} {
		if a := through(path); a.status != status {
			t.Errorf("path %q: %s", path, a.raw)
		}
	}
	if a := through("<sip:core.test;lr>, <sip:edge.test;lr;ob>"); a.status != 200 || a.one("Path") != "<sip:core.test;lr>, <sip:edge.test;lr;ob>" {
		t.Errorf("%s", a.raw)
	}
}

// Addresses that lead to one device (RFC 5627).
func TestGRUU(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	contact := `Contact: <sip:ann@192.0.2.1>;q=0.5;+sip.instance="<urn:uuid:f81d4fae-7dec>"`
	temporary := map[string]bool{}
	for i := range 2 {
		c := r.answer(t, registerRequest("ann", "g", i+1, "Supported: gruu", contact)).one("Contact")
		if !strings.Contains(c, `;pub-gruu="sip:ann@example.test;gr=urn:uuid:f81d4fae-7dec"`) {
			t.Errorf("%s", c)
		}
		_, temp, _ := strings.Cut(c, `;temp-gruu="`)
		if !strings.HasPrefix(temp, "sip:tgruu.") || !strings.HasSuffix(temp, `@example.test;gr"`) {
			t.Errorf("%s", c)
		}
		temporary[temp] = true
		if !strings.Contains(c, ";q=0.5;") {
			t.Errorf("%s", c)
		}
	}
	if len(temporary) != 2 {
		t.Errorf("not a new one each time: %v", temporary)
	}
	if c := r.answer(t, registerRequest("ann", "g", 3, contact)).one("Contact"); strings.Contains(c, "gruu") {
		t.Errorf("unasked: %s", c)
	}
	cfg := settings(nil)
	cfg.GRUU = false
	r = newRegistrar(t, cfg)
	if a := r.answer(t, registerRequest("ann", "g", 1, "Supported: gruu", contact)); a.status != 200 || strings.Contains(a.raw, "gruu") {
		t.Errorf("none are given: %s", a.raw)
	}
	if a := r.answer(t, registerRequest("ann", "g", 2, "Require: gruu", contact)); a.status != 420 || a.one("Unsupported") != "gruu" {
		t.Errorf("%s", a.raw)
	}
}

func publishRequest(user string, cseq int, body string, headers ...string) string {
	return fmt.Sprintf("PUBLISH sip:collector@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKp%d\r\nFrom: <sip:%s@example.test>;tag=1\r\nTo: <sip:collector@example.test>\r\nCall-ID: p\r\nCSeq: %d PUBLISH\r\n",
		cseq, user, cseq) + strings.Join(append(headers, fmt.Sprintf("Content-Length: %d", len(body)), "", ""), "\r\n") + body
}

// Publications and their entity-tags (RFC 3903, RFC 6035).
func TestPublish(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRegistrar(t, settings(func() time.Time { return now }))
	const event, kind, report = "Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr", "VQSessionReport: CallTerm\r\n"
	cseq := 0
	publish := func(body string, headers ...string) reply {
		cseq++
		return r.answer(t, publishRequest("ann", cseq, body, headers...))
	}
	a := publish(report, event, kind, "Expires: 60")
	tag := a.one("SIP-ETag")
	if a.status != 200 || a.one("Expires") != "60" || tag == "" {
		t.Fatalf("%s", a.raw)
	}
	if a = publish("", event, "SIP-If-Match: "+tag, "Expires: 60"); a.status != 200 || a.one("SIP-ETag") == "" {
		t.Errorf("refresh: %s", a.raw)
	}
	now = now.Add(time.Minute)
	for name, c := range map[string]struct {
		a      reply
		status int
		field  string
	}{
		"refreshed too late":  {publish("", event, "SIP-If-Match: "+tag), 412, ""},
		"another tag":         {publish("", event, "SIP-If-Match: dx200xyz"), 412, ""},
		"nothing":             {publish("", event), 400, ""},
		"another event":       {publish(report, "Event: presence", kind), 489, "Allow-Events: vq-rtcpxr"},
		"no event":            {publish(report, kind), 489, "Allow-Events: vq-rtcpxr"},
		"another type":        {publish(report, event, "Content-Type: application/pidf+xml"), 415, "Accept: application/vq-rtcpxr"},
		"compressed":          {publish(report, event, kind, "Content-Encoding: gzip"), 415, "Accept-Encoding: identity"},
		"compact, parameters": {publish(report, "o: VQ-RTCPXR;x=y", "c: application/vq-rtcpxr;charset=utf-8"), 200, "Expires: 3600"},
	} {
		if field, value, _ := strings.Cut(c.field, ": "); c.a.status != c.status || field != "" && c.a.one(field) != value {
			t.Errorf("%s: %s", name, c.a.raw)
		}
	}
	notify := strings.ReplaceAll(publishRequest("ann", 90, report, event, kind), "PUBLISH", "NOTIFY")
	if a := r.answer(t, notify); a.status != 200 {
		t.Errorf("NOTIFY: %s", a.raw)
	}
	if a := r.answer(t, strings.ReplaceAll(publishRequest("ann", 91, "", "Event: keep-alive"), "PUBLISH", "NOTIFY")); a.status != 200 {
		t.Errorf("NOTIFY keep-alive: %s", a.raw)
	}
}

func TestOptions(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	a := r.answer(t, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nf: <sip:a@x>;tag=1\r\nt: <sip:b@x>\r\ni: c\r\nCSeq: 1 OPTIONS\r\n\r\n")
	if a.status != 200 || a.one("Allow") != allowed || a.one("Accept") != sip.MediaVQ || a.one("Call-ID") != "c" {
		t.Errorf("%s", a.raw)
	}
}

func TestBindingsAreBounded(t *testing.T) {
	r := newRegistrar(t, settings(nil))
	for i := range 200 {
		want := 200
		if i >= 100 {
			want = 503
		}
		user := fmt.Sprint("user", i)
		if a := r.answer(t, registerRequest(user, user, 1, "Contact: <sip:u@192.0.2.1>")); a.status != want {
			t.Fatalf("user %d: %s", i, a.raw)
		}
	}
	// Those who are registered may refresh, and go.
	if a := r.answer(t, registerRequest("user7", "user7", 2, "Contact: <sip:u@192.0.2.1>")); a.status != 200 {
		t.Errorf("refresh: %s", a.raw)
	}
	if a := r.answer(t, registerRequest("user7", "user7", 3, "Contact: *", "Expires: 0")); a.status != 200 || r.Registered() != 99 {
		t.Errorf("unregister: %s, %d left", a.raw, r.Registered())
	}
	var many []string
	for i := range maxContacts + 1 {
		many = append(many, fmt.Sprintf("Contact: <sip:u@192.0.2.%d>", i))
	}
	if a := r.answer(t, registerRequest("hoarder", "h", 1, many...)); a.status != 503 || r.Registered() != 99 {
		t.Errorf("too many contacts: %s, %d bindings", a.raw, r.Registered())
	}
}

// A flood from one address leaves the others alone, whatever addresses it
// pretends to have.
func TestFlood(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	cfg := settings(func() time.Time { return now })
	cfg.Rate, cfg.Burst, cfg.MaxBindings = 10, 20, 1<<20
	dropped := map[netip.Addr]int{}
	r, err := New(cfg, Listeners{}, func(m Message) {
		if m.Err == ErrRate {
			dropped[m.Peer.Addr()]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	options := []byte("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n")
	from := func(s string) flow { return flow{"udp", here, netip.MustParseAddrPort(s)} }
	answered := 0
	for range 1000 {
		if out, _ := r.take(options, from("198.51.100.1:1")); out != nil {
			answered++
		}
	}
	if answered != 20 || dropped[netip.MustParseAddr("198.51.100.1")] != 980 {
		t.Errorf("%d answered, %v dropped", answered, dropped)
	}
	if out, _ := r.take(options, from("198.51.100.2:1")); out == nil {
		t.Error("another address has no answer")
	}
	now = now.Add(time.Second)
	if out, _ := r.take(options, from("198.51.100.1:9")); out == nil {
		t.Error("no answer after a second")
	}
	// One network of IPv6 is one source.
	for i := range 30 {
		out, _ := r.take(options, from(fmt.Sprintf("[2001:db8::%x]:1", i)))
		if (out != nil) != (i < 20) {
			t.Errorf("address %d of a network: %q", i, out)
		}
	}
	for i := range maxSources + 1000 {
		r.limits.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(r.limits.sources); n > maxSources {
		t.Errorf("%d sources kept", n)
	}
}

// answerFields are the header fields of answers.
var answerFields = []string{"Via", "Record-Route", "From", "To", "Call-ID", "CSeq", "Content-Length", "Server", "Date", "Contact", "Require", "Flow-Timer", "Path",
	"Supported", "Unsupported", "Allow", "Allow-Events", "Accept", "Accept-Encoding", "WWW-Authenticate", "SIP-ETag", "Expires", "Min-Expires", "Retry-After"}

func FuzzTake(f *testing.F) {
	f.Add([]byte(registerRequest("ann", "c", 1, `Contact: "A" <sip:ann@192.0.2.1>;expires=60;+sip.instance="<urn:uuid:1>";reg-id=1, sip:x@y`)), true)
	f.Add([]byte(registerRequest("ann", "c", 1, "Contact: *", "Expires: 0")), false)
	f.Add([]byte(registerRequest("ann", "c", 1, "Supported: outbound, gruu", `m: <sip:[2001:db8::1]:5060;transport=tcp>;q=0.5;+sip.instance="<x>";reg-id=7`, "Expires: 99999999999")), true)
	f.Add([]byte(registerRequest("eve", "c", 1, `Authorization: Digest username="eve", realm="earshot", nonce="x", uri="sip:example.test", response="0", qop=auth, nc=00000001, cnonce="y"`)), false)
	f.Add([]byte(publishRequest("ann", 1, "VQSessionReport\r\n", "Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr")), true)
	f.Add([]byte("CANCEL sip:x SIP/2.0\r\nv: SIP/2.0/UDP h;rport, SIP/2.0/UDP g\r\n t\r\nCSeq: 1 CANCEL\r\n\r\n"), true)
	f.Add([]byte("OPTIONS <sip:x> SIP/2.0\nVia: SIP / 2.0/UDP h : 1 ; rport\nFrom: \"a <sip:a@x>\nTo: a\nCall-ID: c\x00d\nCSeq: 1 OPTIONS\n\n"), false)
	// Whatever comes gets at most one answer, which can be read and whose lines are
	// the registrar's own; nobody who is protected gets in by chance.
	f.Fuzz(func(t *testing.T, raw []byte, stream bool) {
		cfg := settings(nil)
		cfg.Credentials = book{"eve@example.test": {{Username: "eve", Realm: "earshot", HA1MD5: hashMD5("eve:earshot:secret"), HA1SHA256: hashSHA256("eve:earshot:secret")}}}
		r := newRegistrar(t, cfg)
		from := udp
		if stream {
			from = tcp
		}
		out, _ := r.take(raw, from)
		if out == nil {
			return
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\r\n\r\n"), "\r\n") {
			if name, _, _ := strings.Cut(line, ":"); strings.ContainsAny(line, "\r\n\x00") || !strings.HasPrefix(line, "SIP/2.0 ") && !slices.Contains(answerFields, name) {
				t.Fatalf("%q in %q", line, out)
			}
		}
		m, err := sip.Parse(out)
		if err != nil {
			// A request without what it must have cannot get it back.
			if !strings.HasPrefix(string(out), "SIP/2.0 400 ") && !strings.HasPrefix(string(out), "SIP/2.0 505 ") {
				t.Fatalf("the answer cannot be read: %v\n%s", err, out)
			}
			return
		}
		if m.Status < 200 || m.Status > 699 || strings.Count(string(out), "\r\n\r\n") != 1 {
			t.Fatalf("%s", out)
		}
		if _, ok := r.bindings.byAOR["eve@example.test"]; ok {
			t.Fatalf("registered without credentials: %s", raw)
		}
	})
}

// BenchmarkTake is the cost of one datagram: of a phone that registers with
// credentials, and of one too many.
func BenchmarkTake(b *testing.B) {
	b.Run("register", func(b *testing.B) {
		now := time.Unix(1_700_000_000, 0)
		cfg := settings(func() time.Time { return now })
		cfg.Credentials = book{"ann@example.test": {{Username: "ann", Realm: "earshot", HA1MD5: hashMD5("ann:earshot:right")}}}
		r := newRegistrar(b, cfg)
		for i := range b.N {
			nonce := r.guard.nonces.make(now)
			response := hashMD5(hashMD5("ann:earshot:right") + ":" + nonce + ":00000001:c:auth:" + hashMD5("REGISTER:sip:example.test"))
			raw := []byte(registerRequest("ann", "c", i+1, "Contact: <sip:ann@192.0.2.1>", fmt.Sprintf(
				`Authorization: Digest username="ann", realm="earshot", nonce="%s", uri="sip:example.test", response="%s", cnonce="c", nc=00000001, qop=auth`, nonce, response)))
			if out, _ := r.take(raw, udp); !strings.HasPrefix(string(out), "SIP/2.0 200 ") {
				b.Fatalf("%s", out)
			}
			now = now.Add(time.Millisecond)
		}
	})
	b.Run("dropped", func(b *testing.B) {
		cfg := settings(nil)
		cfg.Rate, cfg.Burst = 1, 1
		r := newRegistrar(b, cfg)
		raw := []byte(registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>"))
		for range b.N {
			r.take(raw, udp)
		}
	})
}
