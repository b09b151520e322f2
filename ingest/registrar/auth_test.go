package registrar

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	sipgo "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/earshot/earshot/telemetry"
)

// book is credentials by address.
type book map[string][]Credential

func (b book) Credentials(_, aor string) ([]Credential, bool) {
	c, protected := b[strings.ToLower(aor)]
	return c, protected
}

func credential(user, realm, secret string) Credential {
	text := user + ":" + realm + ":" + secret
	return Credential{Username: user, Realm: realm, HA1MD5: hashMD5(text), HA1SHA256: hashSHA256(text)}
}

// phoneWith answers challenges as a phone does: the library's own calculation
// checks ours.
type phoneWith struct {
	t            *testing.T
	r            *Registrar
	user, secret string
	callID       string
	cseq         int
}

func (p *phoneWith) register(headers ...string) reply {
	p.t.Helper()
	p.cseq++
	return p.r.answer(p.t, registerRequest(p.user, p.callID, p.cseq, append(headers, "Contact: <sip:u@192.0.2.1>")...))
}

func (p *phoneWith) credentials(challenge string, count int, change ...func(*digest.Credentials)) string {
	p.t.Helper()
	c, err := digest.ParseChallenge(challenge)
	if err != nil {
		p.t.Fatal(err)
	}
	d, err := digest.Digest(c, digest.Options{Method: "REGISTER", URI: "sip:example.test", Username: p.user, Password: p.secret, Count: count, Cnonce: "0a4f113b"})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range change {
		f(d)
	}
	return "Authorization: " + d.String()
}

func TestDigest(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	cfg := settings(func() time.Time { return now })
	cfg.Credentials = book{
		"ann@example.test": {credential("ann", "earshot", "another phone's"), credential("ann", "earshot", "right")},
		"eve@example.test": {}, // all revoked
	}
	for i, algorithm := range []string{SHA256, MD5} {
		t.Run(algorithm, func(t *testing.T) {
			r := newRegistrar(t, cfg)
			ann := &phoneWith{t: t, r: r, user: "ann", secret: "right", callID: "a"}
			a := ann.register()
			challenges := a.get("WWW-Authenticate")
			if a.status != 401 || len(challenges) != 2 || strings.Contains(a.raw, "stale") || r.Registered() != 0 {
				t.Fatalf("%s", a.raw)
			}
			challenge := challenges[i]
			if !strings.Contains(challenge, "algorithm="+algorithm) {
				t.Fatalf("%s", challenge)
			}
			if a = ann.register(ann.credentials(challenge, 1)); a.status != 200 || r.Registered() != 1 {
				t.Fatalf("right: %s", a.raw)
			}
			// The nonce goes on with a higher count, overtaken ones too, and none twice.
			for _, c := range []struct{ count, status int }{{2, 200}, {4, 200}, {3, 200}, {3, 401}, {1, 401}, {90, 200}, {5, 401}} {
				if a = ann.register(ann.credentials(challenge, c.count)); a.status != c.status || (a.status == 401) != strings.Contains(a.raw, "stale=true") {
					t.Errorf("count %d: %s", c.count, a.raw)
				}
			}
			// A wrong secret, another's, and tampering: no second chance with this nonce.
			wrong := &phoneWith{t: t, r: r, user: "ann", secret: "wrong", callID: "w"}
			if a = wrong.register(wrong.credentials(challenge, 7)); a.status != 403 {
				t.Errorf("wrong secret: %s", a.raw)
			}
			for name, change := range map[string]func(*digest.Credentials){
				"response":  func(d *digest.Credentials) { d.Response = strings.Repeat("0", len(d.Response)) },
				"count":     func(d *digest.Credentials) { d.Nc = 200 },
				"username":  func(d *digest.Credentials) { d.Username = "bob" },
				"algorithm": func(d *digest.Credentials) { d.Algorithm = "SHA-512" },
				"session":   func(d *digest.Credentials) { d.Algorithm += "-sess" },
				"qop":       func(d *digest.Credentials) { d.QOP = "auth-int" },
				"userhash":  func(d *digest.Credentials) { d.Userhash = true },
			} {
				if a = ann.register(ann.credentials(challenge, 8, change)); a.status != 403 {
					t.Errorf("%s: %s", name, a.raw)
				}
			}
			if a = ann.register("Authorization: Digest username"); a.status != 400 {
				t.Errorf("malformed: %s", a.raw)
			}
			if a = ann.register("Authorization: Basic YTpi"); a.status != 401 {
				t.Errorf("another scheme: %s", a.raw)
			}
			// A nonce that is none of ours: right credentials only need another one,
			// wrong ones are asked anew.
			foreign := func(d string) string { return strings.Replace(challenge, `nonce="`, `nonce="`+d, 1) }
			if a = ann.register(ann.credentials(foreign("x"), 1)); a.status != 401 || !strings.Contains(a.raw, "stale=true") {
				t.Errorf("foreign nonce: %s", a.raw)
			}
			if a = wrong.register(wrong.credentials(foreign("x"), 1)); a.status != 401 || strings.Contains(a.raw, "stale") {
				t.Errorf("foreign nonce, wrong secret: %s", a.raw)
			}
			now = now.Add(cfg.NonceFor)
			if a = ann.register(ann.credentials(challenge, 91)); a.status != 401 || !strings.Contains(a.raw, "stale=true") {
				t.Errorf("old nonce: %s", a.raw)
			}
			if a = ann.register(ann.credentials(a.get("WWW-Authenticate")[i], 1)); a.status != 200 {
				t.Errorf("after stale: %s", a.raw)
			}
			// Who has nothing but revoked credentials is asked, and refused.
			eve := &phoneWith{t: t, r: r, user: "eve", secret: "right", callID: "e"}
			if a = eve.register(); a.status != 401 {
				t.Errorf("revoked: %s", a.raw)
			}
			if a = eve.register(eve.credentials(a.get("WWW-Authenticate")[i], 1)); a.status != 403 {
				t.Errorf("revoked: %s", a.raw)
			}
			// Somebody else's right credentials are the wrong ones here.
			if a = r.answer(t, registerRequest("eve", "x", 1, ann.credentials(challenge, 99), "Contact: <sip:u@192.0.2.1>")); a.status == 200 {
				t.Errorf("another's: %s", a.raw)
			}
		})
	}
}

// Phones of RFC 2069 send neither qop nor count; a nonce serves them once.
func TestDigestWithoutQOP(t *testing.T) {
	cfg := settings(nil)
	cfg.Credentials = book{"ann@example.test": {credential("ann", "earshot", "right")}}
	r := newRegistrar(t, cfg)
	ann := &phoneWith{t: t, r: r, user: "ann", secret: "right", callID: "a"}
	challenge, err := digest.ParseChallenge(ann.register().get("WWW-Authenticate")[1])
	if err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf(`Authorization: Digest username="ann",realm="earshot",nonce="%s",uri="sip:example.test",response="%s"`, challenge.Nonce,
		hashMD5(hashMD5("ann:earshot:right")+":"+challenge.Nonce+":"+hashMD5("REGISTER:sip:example.test")))
	if a := ann.register(old); a.status != 200 {
		t.Errorf("%s", a.raw)
	}
	if a := ann.register(old); a.status != 401 || !strings.Contains(a.raw, "stale=true") {
		t.Errorf("replayed: %s", a.raw)
	}
}

func TestPolicies(t *testing.T) {
	credentials := book{"ann@example.test": {credential("ann", "earshot", "right")}, "old@example.test": {credential("old", "former realm", "right")}}
	for _, c := range []struct {
		policy, user string
		status       int
	}{
		{AuthOff, "ann", 200}, {AuthOff, "bob", 200}, {AuthKnown, "ann", 401}, {AuthKnown, "ANN", 401}, {AuthKnown, "bob", 200}, {AuthRequired, "bob", 401},
		{AuthKnown, "old", 401},
	} {
		cfg := settings(nil)
		cfg.Auth, cfg.Credentials = c.policy, credentials
		r := newRegistrar(t, cfg)
		if a := r.answer(t, registerRequest(c.user, "c", 1, "Contact: <sip:u@192.0.2.1>")); a.status != c.status {
			t.Errorf("%s, %s: %s", c.policy, c.user, a.raw)
		}
		if c.user == "old" {
			old := &phoneWith{t: t, r: r, user: "old", secret: "right", callID: "o"}
			if a := old.register(old.credentials(old.register().get("WWW-Authenticate")[0], 1)); a.status != 403 {
				t.Errorf("of another realm: %s", a.raw)
			}
		}
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Auth = "on" }, func(c *Config) { c.Auth = "" }, func(c *Config) { c.Algorithms = nil }, func(c *Config) { c.Algorithms = []string{"SHA-1"} },
	} {
		cfg := settings(nil)
		bad(&cfg)
		if _, err := New(cfg, Listeners{}, func(Message) {}); err == nil {
			t.Errorf("taken: %+v", cfg)
		}
	}
}

// Reports need credentials like registrations do, unless they come from where
// their phone is registered.
func TestReportsAuthenticate(t *testing.T) {
	cfg := settings(nil)
	cfg.Credentials = book{"ann@example.test": {credential("ann", "earshot", "right")}}
	r := newRegistrar(t, cfg)
	report := func(cseq int) reply {
		return r.answer(t, publishRequest("ann", cseq, "VQSessionReport: CallTerm\r\n", "Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr"))
	}
	if a := report(1); a.status != 401 {
		t.Errorf("%s", a.raw)
	}
	ann := &phoneWith{t: t, r: r, user: "ann", secret: "right", callID: "a"}
	if a := ann.register(ann.credentials(ann.register().get("WWW-Authenticate")[0], 1)); a.status != 200 {
		t.Fatalf("%s", a.raw)
	}
	if a := report(2); a.status != 200 {
		t.Errorf("%s", a.raw)
	}
}

// However many nonces are used, memory is bounded, and none is used twice.
func TestNoncesAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	n := newNonces(time.Minute)
	first, ok := n.read(n.make(now), now)
	if !ok || !n.use(first, 1, now) {
		t.Fatal("a new nonce is no good")
	}
	for range maxNonces + 10 {
		now = now.Add(time.Microsecond)
		id, _ := n.read(n.make(now), now)
		n.use(id, 1, now)
	}
	if len(n.used) > maxNonces {
		t.Errorf("%d nonces kept", len(n.used))
	}
	if n.use(first, 1, now) {
		t.Error("used again after it was forgotten")
	}
	now = now.Add(time.Minute)
	id, _ := n.read(n.make(now), now)
	if !n.use(id, 1, now) || len(n.used) != 1 {
		t.Errorf("%d nonces kept after their time", len(n.used))
	}
	if _, ok := n.read(n.make(now.Add(time.Second)), now); ok {
		t.Error("a nonce from the future")
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(`Digest username="ann", realm="earshot", nonce="MTIz", uri="sip:example.test", algorithm=MD5, cnonce="c", qop=auth, nc=00000001, response="00"`)
	f.Add(`Digest username=ann,realm="earshot",qop="auth",nc=-1`)
	f.Fuzz(func(t *testing.T, value string) {
		cfg := settings(nil)
		cfg.Credentials = book{"ann@example.test": {credential("ann", "earshot", "right")}}
		r := newRegistrar(t, cfg)
		q, err := readRequest([]byte(registerRequest("ann", "c", 1)), udp)
		if err != nil {
			t.Fatal(err)
		}
		q.AppendHeader(sipgo.NewHeader("Authorization", value))
		q.m = &telemetry.SIPMessage{RequestUri: "sip:example.test"}
		if _, a, ok := r.guard.admit(q, "", "ann@example.test", time.Now()); ok || a.status != 400 && a.status != 401 && a.status != 403 {
			t.Fatalf("%+v", a)
		}
	})
}

// A device whose binding is ended is told nothing, and has to register with what
// holds then; whoever is told of credentials in use is told once.
func TestEnd(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	cfg := settings(func() time.Time { return now })
	with := func(id, secret string) Credential {
		c := credential("ann", "earshot", secret)
		c.ID = id
		return c
	}
	holds := book{"ann@example.test": {with("c1", "right")}}
	cfg.Credentials = holds
	cfg.Company = func(netip.Addr, *telemetry.SIPMessage) string { return "acme" }
	type use struct{ credential, device string }
	var used []use
	takes := false
	cfg.Used = func(credential, device string) bool {
		used = append(used, use{credential, device})
		return takes
	}
	r := newRegistrar(t, cfg)
	ann := &phoneWith{t: t, r: r, user: "ann", secret: "right", callID: "a"}
	bob := &phoneWith{t: t, r: r, user: "bob", callID: "b"}
	register := func(p *phoneWith) reply {
		t.Helper()
		return p.register(p.credentials(p.register().get("WWW-Authenticate")[0], 1))
	}
	if a := register(ann); a.status != 200 {
		t.Fatalf("%s", a.raw)
	}
	if a := bob.register(); a.status != 200 { // without credentials
		t.Fatalf("%s", a.raw)
	}
	device := telemetry.DeviceID("ann@example.test", "", "", "sip:u@192.0.2.1:5060;transport=udp")
	takes = true
	for range 3 {
		register(ann)
	}
	if want := []use{{"c1", device}, {"c1", device}}; !slices.Equal(used, want) {
		t.Errorf("told of %v, want %v: again where it was not taken, then no more", used, want)
	}

	for _, other := range []Device{{"acme", "another"}, {"other", device}, {"", device}} {
		if ended := r.End(other); len(ended) != 0 || r.Registered() != 2 {
			t.Errorf("%v: %v", other, ended)
		}
	}
	delete(holds, "ann@example.test")
	holds["ann@example.test"] = nil // revoked
	if ended, want := r.End(Device{"acme", device}), []Ended{{"acme", "ann@example.test", device}}; !slices.Equal(ended, want) || r.Registered() != 1 {
		t.Errorf("%v, want %v; %d left", ended, want, r.Registered())
	}
	if a := register(ann); a.status != 403 || r.Registered() != 1 {
		t.Errorf("the old secret: %s", a.raw)
	}
	holds["ann@example.test"] = []Credential{with("c2", "new")}
	ann.secret = "new"
	if a := register(ann); a.status != 200 || r.Registered() != 2 || used[len(used)-1] != (use{"c2", device}) {
		t.Errorf("new credentials: %s, told of %v", a.raw, used)
	}
}
