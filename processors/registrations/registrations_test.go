package registrations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

const t0 = int64(1_700_000_000)

// phone is the script of a test: what a phone and its registrar say to each
// other, and when, in seconds from t0.
type phone struct {
	t        testing.TB
	m        *Machine
	timeline string
	callID   string
	source   string
	instance string
	agent    string
	aor      string
	got      []*telemetry.RegistrationChange
}

func newPhone(t testing.TB) *phone {
	return &phone{t: t, m: New(), callID: "c1", source: "192.0.2.1:5060", agent: "AcmeDialer/2.3.1 (Windows 11)", aor: "alice"}
}

func (p *phone) emit(o *telemetry.Outcome) {
	c := o.GetRegistration()
	if o.CallId != "" || o.Company != "acme" || o.Timeline != p.timeline || c == nil || o.ReceivedUs == 0 {
		p.t.Errorf("outcome %v", o)
	}
	p.got = append(p.got, proto.Clone(c).(*telemetry.RegistrationChange))
}

func (p *phone) apply(at float64, s *telemetry.SIPMessage) {
	p.t.Helper()
	s.Method, s.To = "REGISTER", &telemetry.NameAddr{User: p.aor, Host: "Example.com"}
	s.Callee = &telemetry.Identity{UserId: "u-" + p.aor}
	us := t0*secondUs + int64(at*float64(secondUs))
	r := &telemetry.Record{Company: "acme", AtUs: us, ReceivedUs: us + 1, Timeline: &telemetry.Timeline{Id: p.timeline, Seq: 1}, Body: &telemetry.Record_Sip{Sip: s}}
	if err := p.m.Apply(r, p.emit); err != nil {
		p.t.Fatal(err)
	}
}

type option func(*telemetry.SIPMessage)

func expires(s int64) option { return func(m *telemetry.SIPMessage) { m.ExpiresS = s } }
func minExpires(s int64) option {
	return func(m *telemetry.SIPMessage) { m.MinExpiresS = s }
}
func credentials(m *telemetry.SIPMessage) { m.HasCredentials = true }
func raw(s string) option                 { return func(m *telemetry.SIPMessage) { m.Raw = []byte(s) } }

// bound is a contact with an expires parameter; -1: without.
func bound(uri string, s int64) option {
	return func(m *telemetry.SIPMessage) {
		m.Contacts = append(m.Contacts, &telemetry.Contact{Uri: uri, ExpiresS: s})
	}
}

func (p *phone) message(opts []option) *telemetry.SIPMessage {
	m := &telemetry.SIPMessage{CallId: p.callID, ExpiresS: -1, MinExpiresS: -1}
	for _, o := range opts {
		o(m)
	}
	return m
}

func (p *phone) sends(at float64, cseq uint32, opts ...option) {
	p.t.Helper()
	m := p.message(opts)
	m.Cseq, m.Src, m.UserAgent = cseq, p.source, p.agent
	for _, c := range m.Contacts {
		c.Instance = p.instance
	}
	p.apply(at, m)
}

func (p *phone) gets(at float64, cseq, status uint32, opts ...option) {
	p.t.Helper()
	m := p.message(opts)
	m.Cseq, m.Status, m.Src, m.UserAgent = cseq, status, "198.51.100.1:5060", "Registrar"
	p.apply(at, m)
}

func (p *phone) tick(at int64) { p.m.Advance(p.timeline, (t0+at)*secondUs, p.emit) }

// register is a whole successful registration.
func (p *phone) register(at float64, cseq uint32, uri string, s int64) {
	p.t.Helper()
	p.sends(at, cseq, bound(uri, -1), expires(s))
	p.gets(at+0.1, cseq, 200, bound(uri, s))
}

func (p *phone) unregister(at float64, cseq uint32, uri string) {
	p.t.Helper()
	p.sends(at, cseq, bound(uri, 0))
	p.gets(at+0.1, cseq, 200)
}

// line is a change as the tests write it.
func line(c *telemetry.RegistrationChange) string {
	s := fmt.Sprintf("%.1f %s %s", float64(c.AtUs-t0*secondUs)/1e6, c.Change, c.Contact)
	if c.Registered {
		s += fmt.Sprintf(" until %.1f", float64(c.ExpiresUs-t0*secondUs)/1e6)
	}
	if c.Flapping {
		s += " flapping"
	}
	return s
}

const (
	one = "sip:alice@192.0.2.1:5062"
	two = "sip:alice@192.0.2.2:5062"
)

func TestChanges(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script func(p *phone)
		want   []string
	}{
		{"registered and refreshed", func(p *phone) {
			p.register(0, 1, one, 60)
			p.register(30, 2, one, 60)
		}, []string{"0.1 registered " + one + " until 60.1", "30.1 refreshed " + one + " until 90.1"}},
		{"a retransmission is one attempt", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.sends(0.5, 1, bound(one, 60))
			p.gets(0.6, 1, 100)
			p.gets(0.7, 1, 200, bound(one, 60))
			p.gets(0.8, 1, 200, bound(one, 60))
		}, []string{"0.7 registered " + one + " until 60.7"}},
		{"the response is captured before its request", func(p *phone) {
			p.gets(0.7, 1, 200, bound(one, 60))
			p.sends(0.6, 1, bound(one, 60))
		}, []string{"0.7 registered " + one + " until 60.7"}},
		{"expiry of the 200's contact comes first", func(p *phone) {
			p.sends(0, 1, bound(one, 3600), expires(7200))
			p.gets(0, 1, 200, bound(one, 30), expires(50))
		}, []string{"0.0 registered " + one + " until 30.0"}},
		{"then the 200's Expires", func(p *phone) {
			p.sends(0, 1, bound(one, 3600), expires(7200))
			p.gets(0, 1, 200, bound(one, -1), expires(50))
		}, []string{"0.0 registered " + one + " until 50.0"}},
		{"then the request's contact", func(p *phone) {
			p.sends(0, 1, bound(one, 70), expires(7200))
			p.gets(0, 1, 200, bound(one, -1))
		}, []string{"0.0 registered " + one + " until 70.0"}},
		{"then the request's Expires", func(p *phone) {
			p.sends(0, 1, bound(one, -1), expires(90))
			p.gets(0, 1, 200, bound(one, -1))
		}, []string{"0.0 registered " + one + " until 90.0"}},
		{"nobody says how long", func(p *phone) {
			p.sends(0, 1, bound(one, -1))
			p.gets(0, 1, 200, bound(one, -1))
		}, []string{"0.0 registered " + one + " until 3600.0"}},
		{"a challenge is no failure", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 401)
			p.sends(1, 2, bound(one, 60), credentials)
			p.gets(1, 2, 200, bound(one, 60))
		}, []string{"0.0 challenged " + one, "1.0 registered " + one + " until 61.0"}},
		{"a challenge to the answer of a challenge is one", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 407)
			p.sends(1, 2, bound(one, 60), credentials)
			p.gets(1, 2, 407)
		}, []string{"0.0 challenged " + one, "1.0 auth_failed " + one}},
		{"403 to credentials is one too", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 401)
			p.sends(1, 2, bound(one, 60), credentials)
			p.gets(1, 2, 403)
			p.sends(2, 3, bound(one, 60))
			p.gets(2, 3, 403)
		}, []string{"0.0 challenged " + one, "1.0 auth_failed " + one, "2.0 rejected " + one}},
		{"not when the nonce was stale", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 401)
			p.sends(1, 2, bound(one, 60), credentials)
			p.gets(1, 2, 401, raw("SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"n\", stale=TRUE\r\n\r\n"))
		}, []string{"0.0 challenged " + one, "1.0 challenged " + one}},
		{"nor when old credentials came with the first request", func(p *phone) {
			p.sends(0, 1, bound(one, 60), credentials)
			p.gets(0, 1, 401)
			p.sends(1, 2, bound(one, 60), credentials)
			p.gets(1, 2, 200, bound(one, 60))
		}, []string{"0.0 challenged " + one, "1.0 registered " + one + " until 61.0"}},
		{"too brief an interval", func(p *phone) {
			p.sends(0, 1, bound(one, 5))
			p.gets(0, 1, 423, minExpires(60))
		}, []string{"0.0 interval_too_brief " + one}},
		{"a failed refresh leaves the binding", func(p *phone) {
			p.register(0, 1, one, 60)
			p.sends(30, 2, bound(one, 60))
			p.gets(30, 2, 503)
		}, []string{"0.1 registered " + one + " until 60.1", "30.0 rejected " + one + " until 60.1"}},
		{"unregistered by expires=0", func(p *phone) {
			p.register(0, 1, one, 60)
			p.unregister(10, 2, one)
		}, []string{"0.1 registered " + one + " until 60.1", "10.1 unregistered " + one}},
		{"unregistered by a star, all devices", func(p *phone) {
			p.register(0, 1, one, 60)
			p.sends(1, 2, bound(two, 60))
			p.gets(1, 2, 200, bound(one, 59), bound(two, 60))
			p.sends(2, 3, bound("*", -1), expires(0))
			p.gets(2, 3, 200)
		}, []string{"0.1 registered " + one + " until 60.1", "1.0 registered " + two + " until 61.0", "2.0 unregistered " + two, "2.0 unregistered " + one}},
		{"another device's 200 is no refresh, but proof", func(p *phone) {
			p.register(0, 1, one, 60)
			p.callID = "c2"
			p.sends(50, 1, bound(two, 60))
			p.gets(50, 1, 200, bound(one, 40), bound(two, 60))
			p.tick(119)
			p.tick(122)
		}, []string{"0.1 registered " + one + " until 60.1", "50.0 registered " + two + " until 110.0", "122.0 lapsed " + one}},
		{"a registrar that holds one binding replaces it", func(p *phone) {
			p.register(0, 1, one, 60)
			p.callID = "c2"
			p.register(10, 1, two, 60)
		}, []string{"0.1 registered " + one + " until 60.1", "10.1 registered " + two + " until 70.1", "10.1 replaced " + one}},
		{"a query shows that a binding is gone", func(p *phone) {
			p.register(0, 1, one, 60)
			p.sends(5, 2)
			p.gets(5, 2, 200)
		}, []string{"0.1 registered " + one + " until 60.1", "5.0 unregistered " + one}},
		{"a query changes nothing else", func(p *phone) {
			p.register(0, 1, one, 60)
			p.sends(5, 2)
			p.gets(5, 2, 200, bound(one, 55))
		}, []string{"0.1 registered " + one + " until 60.1"}},
		{"a 200 without the binding", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 200)
		}, []string{"0.0 rejected " + one}},
		{"a registrar that rewrites the contact", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.gets(0, 1, 200, bound("sip:alice@203.0.113.9:40001;transport=udp", 60))
			p.sends(30, 2, bound(one, 60))
			p.gets(30, 2, 200, bound("sip:alice@203.0.113.9:40001;transport=udp", 60))
		}, []string{"0.0 registered " + one + " until 60.0", "30.0 refreshed " + one + " until 90.0"}},
		{"lapsed 32 s after its expiry", func(p *phone) {
			p.register(0, 1, one, 60)
			p.tick(92)
			p.tick(93)
			p.tick(94)
		}, []string{"0.1 registered " + one + " until 60.1", "92.1 lapsed " + one}},
		{"a late refresh is in time within 32 s", func(p *phone) {
			p.register(0, 1, one, 60)
			p.tick(91)
			p.register(91.5, 2, one, 60)
			p.tick(93)
		}, []string{"0.1 registered " + one + " until 60.1", "91.6 refreshed " + one + " until 151.6"}},
		{"registered again after a lapse no tick has told", func(p *phone) {
			p.register(0, 1, one, 60)
			p.register(100, 2, one, 60)
		}, []string{"0.1 registered " + one + " until 60.1", "92.1 lapsed " + one, "100.1 registered " + one + " until 160.1"}},
		{"no answer", func(p *phone) {
			p.sends(0, 1, bound(one, 60))
			p.tick(31)
			p.tick(32)
			p.tick(33)
		}, []string{"32.0 rejected " + one}},
		{"another source", func(p *phone) {
			p.register(0, 1, one, 60)
			p.source = "203.0.113.7:4444"
			p.register(30, 2, one, 60)
		}, []string{"0.1 registered " + one + " until 60.1", "30.1 refreshed " + one + " until 90.1", "30.1 source_changed " + one + " until 90.1"}},
		{"three changes of source in ten minutes", func(p *phone) {
			for i := range 4 {
				p.source = fmt.Sprintf("203.0.113.7:%d", 4000+i)
				p.register(float64(60*i), uint32(i+1), one, 120)
			}
		}, []string{"0.1 registered " + one + " until 120.1",
			"60.1 refreshed " + one + " until 180.1", "60.1 source_changed " + one + " until 180.1",
			"120.1 refreshed " + one + " until 240.1", "120.1 source_changed " + one + " until 240.1",
			"180.1 refreshed " + one + " until 300.1 flapping", "180.1 source_changed " + one + " until 300.1 flapping", "180.1 flapping " + one + " until 300.1 flapping"}},
		{"bound and lost three times, and calm again after ten minutes", func(p *phone) {
			for i := range 3 {
				p.register(float64(10*i), uint32(2*i+1), one, 60)
				p.unregister(float64(10*i+5), uint32(2*i+2), one)
			}
			p.register(30, 7, one, 60)
			p.register(700, 8, one, 60)
		}, []string{"0.1 registered " + one + " until 60.1", "5.1 unregistered " + one,
			"10.1 registered " + one + " until 70.1", "15.1 unregistered " + one,
			"20.1 registered " + one + " until 80.1", "25.1 unregistered " + one + " flapping", "25.1 flapping " + one + " flapping",
			"30.1 registered " + one + " until 90.1 flapping", "122.1 lapsed " + one + " flapping",
			"700.1 registered " + one + " until 760.1"}},
		{"three phones of an account that lose power together do not flap", func(p *phone) {
			three := "sip:alice@192.0.2.3:5062"
			p.register(0, 1, one, 60)
			p.callID = "c2"
			p.sends(1, 1, bound(two, 60))
			p.gets(1, 1, 200, bound(one, 60), bound(two, 60))
			p.callID = "c3"
			p.sends(2, 1, bound(three, 60))
			p.gets(2, 1, 200, bound(one, 60), bound(two, 60), bound(three, 60))
			p.tick(200)
		}, []string{"0.1 registered " + one + " until 60.1", "1.0 registered " + two + " until 61.0", "2.0 registered sip:alice@192.0.2.3:5062 until 62.0",
			"94.0 lapsed " + one, "94.0 lapsed " + two, "94.0 lapsed sip:alice@192.0.2.3:5062"}},
		{"the instance is the device, whatever its contact", func(p *phone) {
			p.instance = "<urn:uuid:1>"
			p.register(0, 1, one, 60)
			p.sends(30, 2, bound(two, 60))
			p.gets(30, 2, 200, bound(two, 60))
		}, []string{"0.1 registered " + one + " until 60.1", "30.0 refreshed " + two + " until 90.0"}},
		{"a capture's end drops what is open", func(p *phone) {
			p.timeline = "import:1"
			p.register(0, 1, one, 60)
			p.sends(1, 2, bound(one, 60))
			p.m.End("import:1", (t0+2)*secondUs, p.emit)
			p.tick(1000)
		}, []string{"0.1 registered " + one + " until 60.1"}},
		{"a capture's bindings lapse inside of it", func(p *phone) {
			p.timeline = "import:1"
			p.register(0, 1, one, 60)
			p.m.Advance("", (t0+1000)*secondUs, p.emit)
			p.tick(100)
		}, []string{"0.1 registered " + one + " until 60.1", "92.1 lapsed " + one}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPhone(t)
			tc.script(p)
			var got []string
			for _, c := range p.got {
				got = append(got, line(c))
			}
			// Changes of several devices by one record are in the order of device ids.
			if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(tc.want))) {
				t.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			for i, c := range p.got {
				if i > 0 && c.AtUs < p.got[i-1].AtUs {
					t.Errorf("change %d is before its predecessor", i)
				}
			}
			restoreEqual(t, p.m)
		})
	}
}

// restoreEqual checks that a machine and its restored copy are the same state.
func restoreEqual(t *testing.T, m *Machine) *Machine {
	t.Helper()
	c := New()
	for key, state := range states(m) {
		if err := c.Restore(key, []byte(state)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := states(m), states(c); !maps.Equal(a, b) {
		t.Errorf("restored state differs:\n%v\nwant\n%v", b, a)
	}
	return c
}

func states(m *Machine) map[string]string {
	all := map[string]string{}
	for _, t := range m.timelines {
		for key, a := range t.accounts {
			b, err := json.Marshal(a)
			if err != nil {
				panic(err)
			}
			all[key] = string(b)
		}
	}
	return all
}

func TestDetails(t *testing.T) {
	p := newPhone(t)
	p.sends(0, 1, bound(one, 5))
	p.gets(0, 1, 423, minExpires(60))
	p.register(1, 2, one, 60)
	p.source = "203.0.113.7:4444"
	p.register(30, 3, one, 60)
	if len(p.got) != 4 {
		t.Fatalf("%d changes", len(p.got))
	}
	brief, made, moved := p.got[0], p.got[1], p.got[3]
	if brief.Text != "The registrar wants at least 60 s, the device asked for 5 s." || brief.SipStatus != 423 || brief.Registered || brief.ExpiresUs != 0 {
		t.Errorf("too brief: %v", brief)
	}
	want := &telemetry.RegistrationChange{
		Aor: "alice@example.com", DeviceId: brief.DeviceId, AtUs: t0*secondUs + 1_100_000, Change: Registered, Contact: one, Source: "192.0.2.1:5060",
		UserAgent: "AcmeDialer/2.3.1 (Windows 11)", App: "AcmeDialer", AppVersion: "2.3.1", Platform: "Windows 11", Endpoint: "native",
		ExpiresUs: t0*secondUs + 61_100_000, Registered: true, SipStatus: 200, CallId: "c1", Cseq: 2, Identity: &telemetry.Identity{UserId: "u-alice"},
		RegisteredUs: t0*secondUs + 1_100_000, Text: "Registered for 60 s from 192.0.2.1:5060.",
	}
	if !proto.Equal(made, want) {
		t.Errorf("registered:\n%v\nwant\n%v", made, want)
	}
	if len(made.DeviceId) != 16 {
		t.Errorf("device id %q", made.DeviceId)
	}
	// What ends a binding says since when it held, and a lapse when it expired.
	p.tick(300)
	lapsed := p.got[len(p.got)-1]
	if lapsed.Change != Lapsed || lapsed.Registered || lapsed.RegisteredUs != made.RegisteredUs || lapsed.AtUs-lapsed.ExpiresUs != graceUs {
		t.Errorf("lapsed: %v", lapsed)
	}
	if moved.Change != SourceChanged || moved.Text != "The source changed from 192.0.2.1:5060, where it was since 2023-11-14 22:13:21 UTC, to 203.0.113.7:4444." || moved.Ordinal != 1 || moved.RegisteredUs != made.RegisteredUs {
		t.Errorf("moved: %v", moved)
	}
}

func TestPoison(t *testing.T) {
	m := New()
	never := func(*telemetry.Outcome) { t.Error("an outcome") }
	for name, s := range map[string]*telemetry.SIPMessage{
		"invite": {Method: "INVITE", To: &telemetry.NameAddr{User: "a", Host: "b"}},
		"no to":  {Method: "REGISTER"},
	} {
		if err := m.Apply(&telemetry.Record{Body: &telemetry.Record_Sip{Sip: s}}, never); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := m.Apply(&telemetry.Record{Body: &telemetry.Record_Tick{Tick: &telemetry.Tick{}}}, never); err == nil {
		t.Error("a tick was taken")
	}
	for _, us := range []int64{0, -5, 1 << 62} { // an expiry added to it would wrap
		s := &telemetry.SIPMessage{Method: "REGISTER", To: &telemetry.NameAddr{User: "a", Host: "b"}}
		if err := m.Apply(&telemetry.Record{Company: "acme", AtUs: us, Body: &telemetry.Record_Sip{Sip: s}}, never); !errors.Is(err, ErrTime) {
			t.Errorf("at %d: %v", us, err)
		}
	}
	for key, state := range map[string]string{"k": "{", "acme\x00\x00b": `{"company":"acme","aor":"a"}`, "acme\x00\x00a": `{"company":"acme","aor":"a","bindings":{"x":null}}`} {
		if err := m.Restore(key, []byte(state)); err == nil {
			t.Errorf("%q was restored", state)
		}
	}
	if len(m.timelines) > 0 {
		t.Error("poison left something behind")
	}
}

// The registrar ends a binding of a device that was deleted, and of no other.
func TestRevoked(t *testing.T) {
	p := newPhone(t)
	p.register(0, 1, one, 600)
	p.register(1, 1, two, 600) // of another dialog
	end := func(at float64, aor, device string) {
		t.Helper()
		us := t0*secondUs + int64(at*float64(secondUs))
		r := &telemetry.Record{Company: "acme", AtUs: us, ReceivedUs: us, Body: &telemetry.Record_RegistrationEnd{
			RegistrationEnd: &telemetry.RegistrationEnd{Aor: aor, DeviceId: device, Reason: "revoked"}}}
		if err := p.m.Apply(r, p.emit); err != nil {
			t.Error(err)
		}
	}
	device := p.got[0].DeviceId
	before := len(p.got)
	end(20, "alice@example.com", "another")
	end(20, "bob@example.com", device)
	if len(p.got) != before {
		t.Errorf("what is not bound has ended: %v", p.got[before:])
	}
	end(30, "alice@example.com", device)
	end(31, "alice@example.com", device)
	if len(p.got) != before+1 {
		t.Fatalf("%d changes, want 1", len(p.got)-before)
	}
	c := p.got[before]
	if c.Change != Unregistered || c.Reason != "revoked" || c.Registered || c.DeviceId != device || c.RegisteredUs != p.got[0].AtUs || c.AtUs != (t0+30)*secondUs ||
		c.GetIdentity().GetUserId() != "u-alice" || !strings.Contains(c.Text, "has to register anew") {
		t.Errorf("%v", c)
	}
	for _, bad := range []*telemetry.Record{
		{Company: "acme", AtUs: 0, Body: &telemetry.Record_RegistrationEnd{RegistrationEnd: &telemetry.RegistrationEnd{Aor: "a"}}},
		{Company: "acme", AtUs: 1, Body: &telemetry.Record_RegistrationEnd{RegistrationEnd: &telemetry.RegistrationEnd{}}},
	} {
		if err := p.m.Apply(bad, p.emit); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// Nothing is kept of an account once nothing of it is open or remembered.
func TestForgets(t *testing.T) {
	p := newPhone(t)
	p.register(0, 1, one, 60)
	p.unregister(10, 2, one)
	p.tick(60)
	if len(states(p.m)) != 1 {
		t.Fatal("the loss is forgotten too early")
	}
	p.tick(700)
	if s := states(p.m); len(s) != 0 {
		t.Errorf("still there: %v", s)
	}
	deleted := 0
	p.m.Checkpoint(func(_ string, state []byte) {
		if state == nil {
			deleted++
		}
	})
	if deleted != 1 || len(p.m.timelines[""].queue) != 0 {
		t.Errorf("%d entries deleted, %d in the queue", deleted, len(p.m.timelines[""].queue))
	}
}

// records reads the SIP messages of a capture as ingest would.
func records(t *testing.T, file, timeline string) []*telemetry.Record {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []*telemetry.Record
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(data, r.LinkType(), gopacket.Default)
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if ip == nil || udp == nil || !sip.IsSIP(udp.Payload) {
			continue
		}
		m, err := sip.Parse(bytes.Clone(udp.Payload))
		if err != nil {
			t.Fatal(err)
		}
		m.Src, m.Dst = fmt.Sprintf("%s:%d", ip.SrcIP, udp.SrcPort), fmt.Sprintf("%s:%d", ip.DstIP, udp.DstPort)
		all = append(all, &telemetry.Record{
			Company: "acme", AtUs: info.Timestamp.UnixMicro(), ReceivedUs: 1, Body: &telemetry.Record_Sip{Sip: m},
			Timeline: &telemetry.Timeline{Id: timeline, Seq: uint64(len(all) + 1)},
		})
	}
}

// Each change says in a sentence what, when, since when and from where.
func TestSentences(t *testing.T) {
	failed := func(p *phone, at float64, cseq, status uint32, opts ...option) {
		p.sends(at, cseq, bound(one, 60), credentials)
		p.gets(at, cseq, status, opts...)
	}
	for name, tc := range map[string]struct {
		script func(p *phone)
		want   []string // reason and text of the changes
	}{
		"silence": {func(p *phone) {
			p.register(0, 1, one, 60)
			p.tick(200)
		}, []string{" Registered for 60 s from 192.0.2.1:5060.",
			"silence It expired at 2023-11-14 22:14:20 UTC, registered since 2023-11-14 22:13:20 UTC; no REGISTER of the device was seen that would have refreshed it."}},
		"refused refreshes": {func(p *phone) {
			p.register(0, 1, one, 60)
			failed(p, 30, 2, 503)
			failed(p, 40, 3, 503)
			p.tick(200)
		}, []string{" Registered for 60 s from 192.0.2.1:5060.", "status The registrar refused: 503.", "status The registrar refused: 503.",
			"refused It expired at 2023-11-14 22:14:20 UTC, registered since 2023-11-14 22:13:20 UTC; 2 attempts to refresh it failed, the last at 2023-11-14 22:14:00 UTC with 503."}},
		"unanswered refreshes": {func(p *phone) {
			p.register(0, 1, one, 60)
			p.sends(30, 2, bound(one, 60))
			p.tick(63)
			p.tick(200)
		}, []string{" Registered for 60 s from 192.0.2.1:5060.", "no_answer No answer was seen within 32 s.",
			"no_answer It expired at 2023-11-14 22:14:20 UTC, registered since 2023-11-14 22:13:20 UTC; 1 attempt to refresh it failed, the last at 2023-11-14 22:14:22 UTC without an answer."}},
		"a failure before the last success is no reason": {func(p *phone) {
			p.register(0, 1, one, 60)
			failed(p, 30, 2, 503)
			p.register(40, 3, one, 60)
			p.tick(200)
		}, []string{" Registered for 60 s from 192.0.2.1:5060.", "status The registrar refused: 503.", " Refreshed for 60 s from 192.0.2.1:5060.",
			"silence It expired at 2023-11-14 22:15:00 UTC, registered since 2023-11-14 22:13:20 UTC; no REGISTER of the device was seen that would have refreshed it."}},
		"refused credentials": {func(p *phone) {
			for i := range uint32(3) {
				p.sends(float64(10*i), 2*i+1, bound(one, 60))
				p.gets(float64(10*i), 2*i+1, 401)
				failed(p, float64(10*i), 2*i+2, 401)
			}
			p.register(700, 9, one, 60)
			failed(p, 710, 10, 403)
		}, []string{" The registrar asked for credentials (401).", "credentials since 0 The registrar refused the credentials (401).",
			"since 0 The registrar asked for credentials (401).", "credentials since 0 The registrar refused the credentials (401), 2 times since 2023-11-14 22:13:20 UTC.",
			"since 0 The registrar asked for credentials (401).", "credentials since 0 The registrar refused the credentials (401), 3 times since 2023-11-14 22:13:20 UTC.",
			" Registered for 60 s from 192.0.2.1:5060.", "credentials since 710 The registrar refused the credentials (403)."}},
		"another source and another version": {func(p *phone) {
			p.register(0, 1, one, 60)
			p.agent, p.source = "AcmeDialer/2.4.0 (Windows 11)", "203.0.113.7:4444"
			p.register(30, 2, one, 60)
			p.unregister(50, 3, one)
			p.unregister(51, 4, one)
		}, []string{" Registered for 60 s from 192.0.2.1:5060.",
			" Refreshed for 60 s from 203.0.113.7:4444 by AcmeDialer/2.4.0 (Windows 11); before it was AcmeDialer/2.3.1 (Windows 11).",
			" The source changed from 192.0.2.1:5060, where it was since 2023-11-14 22:13:20 UTC, to 203.0.113.7:4444.",
			"device The device unregistered; it was registered since 2023-11-14 22:13:20 UTC.",
			"not_bound The device unregistered, though no registration of it is known."}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t)
			tc.script(p)
			var got []string
			for _, c := range p.got {
				s := c.Reason
				if c.FailingSinceUs != 0 {
					s = strings.TrimSpace(fmt.Sprintf("%s since %d", s, (c.FailingSinceUs-t0*secondUs)/secondUs))
				}
				got = append(got, s+" "+c.Text)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

// A real registrar and four cycles of one account from four ports: 423, 401,
// 200, 401, and 200 to Contact: *. The capture of 20 transactions is beside
// the reading tshark gives of it.
func TestRealRegistrar(t *testing.T) {
	in := records(t, "../../testdata/captures/register/register1.pcap", "import:x")
	if len(in) != 40 {
		t.Fatalf("%d messages", len(in))
	}
	// At every record the machine is replaced by its restored copy: the
	// outcomes must be those of one that was never touched.
	for _, restored := range []bool{false, true} {
		m := New()
		var got []*telemetry.RegistrationChange
		emit := func(o *telemetry.Outcome) { got = append(got, o.GetRegistration()) }
		for _, r := range in {
			m.Advance("import:x", r.AtUs, emit)
			if err := m.Apply(r, emit); err != nil {
				t.Fatal(err)
			}
			if restored {
				m = restoreEqual(t, m)
			}
		}
		m.End("import:x", in[len(in)-1].AtUs, emit)
		var changes []string
		for _, c := range got {
			s := c.Change
			if c.Flapping {
				s += "!"
			}
			changes = append(changes, s)
			if c.Aor != "carol@10.66.0.2" || c.App != "AcmeDialer" || c.AppVersion != "2.3.1" || c.Endpoint != "native" {
				t.Errorf("change %v", c)
			}
		}
		calm := "interval_too_brief challenged registered challenged unregistered"
		want := strings.Join([]string{calm, calm, "interval_too_brief challenged registered challenged unregistered! flapping!",
			"interval_too_brief! challenged! registered! challenged! unregistered!"}, " ")
		if s := strings.Join(changes, " "); s != want {
			t.Fatalf("changes (restored: %v):\n%s\nwant:\n%s", restored, s, want)
		}
		// One device per port, every change of a cycle about it.
		cycles := [][]*telemetry.RegistrationChange{got[:5], got[5:10], got[10:16], got[16:]}
		for i, port := range []string{"5081", "5091", "5092", "5093"} {
			for _, c := range cycles[i] {
				if c.Contact != "sip:carol@10.66.0.1:"+port || c.Source != "10.66.0.1:"+port || c.DeviceId != cycles[i][0].DeviceId {
					t.Errorf("cycle %d: %v", i, c)
				}
			}
			if b := cycles[i][0]; b.Text != "The registrar wants at least 20 s, the device asked for 5 s." {
				t.Errorf("cycle %d: %q", i, b.Text)
			}
			made := cycles[i][2]
			if made.ExpiresUs-made.AtUs != 30*secondUs || !made.Registered {
				t.Errorf("cycle %d: %v", i, made)
			}
		}
	}
}
