package registrar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	siplib "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/ingest/sip"
)

// answers is a transaction that keeps what it was answered.
type answers struct {
	siplib.ServerTransaction
	got []*siplib.Response
}

func (a *answers) Respond(r *siplib.Response) error { a.got = append(a.got, r); return nil }

func newRegistrar(now func() time.Time) *Registrar {
	return &Registrar{
		cfg:      Config{MinExpires: 20 * time.Second, DefaultExpires: 300 * time.Second, MaxExpires: 3600 * time.Second, MaxBindings: 100, Now: now},
		bindings: bindings{most: 100, byAOR: map[string][]*binding{}},
	}
}

func registerRequest(user, callID string, cseq int, headers ...string) string {
	return fmt.Sprintf("REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%s%d\r\nFrom: <sip:%s@example.test>;tag=1\r\nTo: <sip:%s@Example.TEST>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\n",
		callID, cseq, user, user, callID, cseq) + strings.Join(append(headers, "Content-Length: 0", "", ""), "\r\n")
}

func (r *Registrar) answer(t testing.TB, raw string) *siplib.Response {
	t.Helper()
	m, err := siplib.ParseMessage([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	tx := &answers{}
	r.register(m.(*siplib.Request), tx)
	if len(tx.got) != 1 {
		t.Fatalf("%d answers", len(tx.got))
	}
	return tx.got[0]
}

func TestBindingsExpire(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRegistrar(func() time.Time { return now })
	r.answer(t, registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>;expires=60", "Contact: <sip:ann@192.0.2.2>;expires=120"))
	now = now.Add(59 * time.Second)
	if got := r.answer(t, registerRequest("ann", "q", 1)).GetHeaders("Contact"); len(got) != 2 || got[0].Value() != "<sip:ann@192.0.2.1>;expires=1" {
		t.Errorf("contacts %v", got)
	}
	now = now.Add(time.Second)
	if got := r.answer(t, registerRequest("ann", "q", 2)).GetHeaders("Contact"); len(got) != 1 || got[0].Value() != "<sip:ann@192.0.2.2>;expires=60" {
		t.Errorf("contacts %v", got)
	}
	now = now.Add(time.Minute)
	r.bindings.sweep(now)
	if r.Registered() != 0 || len(r.bindings.byAOR) != 0 {
		t.Errorf("%d bindings of %d addresses left", r.Registered(), len(r.bindings.byAOR))
	}
}

// A refused request changes nothing, not even by those of its contacts that
// would have been granted (RFC 3261 §10.3).
func TestRegisterIsAllOrNothing(t *testing.T) {
	r := newRegistrar(time.Now)
	if res := r.answer(t, registerRequest("ann", "c", 1, "Contact: <sip:ann@192.0.2.1>;expires=60, <sip:ann@192.0.2.2>;expires=5")); res.StatusCode != 423 {
		t.Errorf("%v", res)
	}
	if r.Registered() != 0 {
		t.Errorf("%d bindings", r.Registered())
	}
}

func TestBindingsAreBounded(t *testing.T) {
	r := newRegistrar(time.Now)
	for i := range 200 {
		want := 200
		if i >= 100 {
			want = 503
		}
		user := fmt.Sprint("user", i)
		if res := r.answer(t, registerRequest(user, user, 1, "Contact: <sip:u@192.0.2.1>")); res.StatusCode != want {
			t.Fatalf("user %d: %v", i, res)
		}
	}
	// Those who are registered may refresh, and go.
	if res := r.answer(t, registerRequest("user7", "user7", 2, "Contact: <sip:u@192.0.2.1>")); res.StatusCode != 200 {
		t.Errorf("refresh: %v", res)
	}
	if res := r.answer(t, registerRequest("user7", "user7", 3, "Contact: *", "Expires: 0")); res.StatusCode != 200 || r.Registered() != 99 {
		t.Errorf("unregister: %v, %d left", res, r.Registered())
	}
	var many []string
	for i := range maxContacts + 1 {
		many = append(many, fmt.Sprintf("Contact: <sip:u@192.0.2.%d>", i))
	}
	if res := r.answer(t, registerRequest("hoarder", "h", 1, many...)); res.StatusCode != 503 || r.Registered() != 99 {
		t.Errorf("too many contacts: %v, %d bindings", res, r.Registered())
	}
}

func TestKeepAlive(t *testing.T) {
	for in, want := range map[string]bool{"\r\n\r\n": true, "\x00\x00\x00\x00": true, "": true, " ": true, "REGI": false, "\r\nx": false} {
		if isKeepAlive([]byte(in)) != want {
			t.Errorf("%q", in)
		}
	}
}

// Whatever passes the tap and the library's parser gets exactly one answer,
// which can be read again.
func FuzzRegister(f *testing.F) {
	f.Add([]byte(registerRequest("ann", "c", 1, `Contact: "A" <sip:ann@192.0.2.1>;expires=60;+sip.instance="<urn:uuid:1>";reg-id=1, sip:x@y`)))
	f.Add([]byte(registerRequest("ann", "c", 1, "Contact: *", "Expires: 0")))
	f.Add([]byte(registerRequest("ann", "c", 1, "m: <sip:[2001:db8::1]:5060;transport=tcp>;q=0.5", "Expires: 99999999999")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := sip.Parse(raw); err != nil || !sip.IsSIP(raw) {
			return
		}
		m, err := siplib.ParseMessage(raw)
		if err != nil {
			return
		}
		req, ok := m.(*siplib.Request)
		if !ok || req.Via() == nil || req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil {
			return
		}
		req.SetSource("192.0.2.1:5060")
		req.SetTransport("UDP")
		r := newRegistrar(time.Now)
		tx := &answers{}
		r.register(req, tx)
		if len(tx.got) != 1 {
			t.Fatalf("%d answers", len(tx.got))
		}
		if _, err := sip.Parse([]byte(tx.got[0].String())); err != nil {
			t.Fatalf("the answer cannot be read: %v\n%s", err, tx.got[0])
		}
	})
}
