package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

type proxyAnswer struct {
	ID        string
	Company   string
	User      string
	UserName  string `json:"user_name"`
	Reason    string
	By        string
	StartedAt time.Time  `json:"started_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Open      bool
	Links     map[string]string
}

func TestProxyOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t, path := s.t, defaultCompany+"/users/alice/proxy-sessions"
		browser := s.signIn(s.operator)
		in := func(method, path, body string) answer { t.Helper(); return s.do(method, path, body, browser...) }
		proxyOf := func(path string) *proxyAnswer {
			t.Helper()
			var who struct{ Proxy *proxyAnswer }
			in("GET", path, "").decode(t, &who)
			return who.Proxy
		}
		for body, field := range map[string]string{`{}`: "body", `{"reason":" "}`: "body.reason", `{"reason":"x","minutes":61}`: "body.minutes", `{"reason":"x","minutes":0.5}`: "body.minutes", `{"reason":"x","user":"bob"}`: "body.user"} {
			if a := in("POST", path, body); a.status != 422 {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			} else {
				a.names(t, field)
			}
		}
		var p proxyAnswer
		a := in("POST", path, `{"reason":"ticket 4711"}`)
		a.decode(t, &p)
		if a.status != 201 || p.User != "alice" || p.UserName != "Alice" || p.Company != "default" || p.By != "operator" || p.Reason != "ticket 4711" || !p.Open || p.EndedAt != nil || p.ExpiresAt.Sub(p.StartedAt) != 15*time.Minute ||
			!strings.HasSuffix(p.Links["account"], path+"/"+p.ID+"/account") {
			t.Errorf("%d %+v", a.status, p)
		}
		if a := in("POST", defaultCompany+"/users/bob/proxy-sessions", `{"reason":"x"}`); a.status != 409 {
			t.Errorf("a second session: %d %s", a.status, a.body)
		} else {
			a.names(t, "body.user")
		}
		if a := s.get("/api/v1/session"); a.status != 404 && a.status != 405 {
			t.Errorf("there are two ways to ask who is asking: %d %s", a.status, a.body)
		}
		if open := proxyOf("/api/v1/whoami"); open == nil || open.ID != p.ID || open.UserName != "Alice" {
			t.Errorf("%+v", open)
		}
		var who struct{ Proxy *proxyAnswer }
		if s.get("/api/v1/whoami").decode(t, &who); who.Proxy != nil {
			t.Errorf("the key acts for %+v, which its session does", who.Proxy)
		}

		account := path + "/" + p.ID + "/account"
		var now map[string]string
		in("GET", account, "").decode(t, &now)
		if fmt.Sprint(now) != "map[email:alice@example.com name:Alice voicemail_greeting:]" {
			t.Errorf("the account: %v", now)
		}
		in("PATCH", account, `{"name":"Alice Smith","voicemail_greeting":"Not here"}`).decode(t, &now)
		if fmt.Sprint(now) != "map[email:alice@example.com name:Alice Smith voicemail_greeting:Not here]" {
			t.Errorf("changed: %v", now)
		}
		// Nothing else can be changed, in whatever way it is asked.
		for _, body := range []string{`{"state":"deleted"}`, `{"office":""}`, `{"aors":[]}`, `{"numbers":[]}`, `{"name":"x","departments":[]}`, `{"id":"bob"}`} {
			if a := in("PATCH", account, body); a.status != 422 {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		for _, rest := range []string{"/calls", "/messages", "/voicemails", "/recordings", "/notes"} {
			if a := in("GET", path+"/"+p.ID+rest, ""); a.status != 404 {
				t.Errorf("%s of the session: %d", rest, a.status)
			}
		}
		var u struct{ Name, State, Office string }
		s.get(defaultCompany+"/users/alice").decode(t, &u)
		if u.Name != "Alice Smith" || u.State != "active" || u.Office != "hq" {
			t.Errorf("the user: %+v", u)
		}
		// The other caller's key is not the one that opened it; a conflict is told as one.
		if a := s.as(s.operator, "PATCH", account, `{"name":"x"}`); a.status != 403 || !strings.Contains(a.problem(t).Detail, "another caller") {
			t.Errorf("with the key: %d %s", a.status, a.body)
		}
		if a := s.as(s.other, "GET", account, ""); a.status != 404 {
			t.Errorf("another company: %d", a.status)
		}
		if a := in("GET", defaultCompany+"/users/bob/proxy-sessions/"+p.ID+"/account", ""); a.status != 404 {
			t.Errorf("with another user: %d", a.status)
		}
		in("PATCH", account, `{"email":"x"}`).names(t, "body.email")
		if a := s.do("PATCH", account, `{"name":"x"}`, browser[:2]...); a.status != 403 {
			t.Errorf("from another site: %d %s", a.status, a.body)
		}

		// What the caller does beside it is the caller's own.
		if a := in("PATCH", defaultCompany+"/users/bob", `{"name":"Robert"}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if got := s.list(s.operator, defaultCompany+"/users/bob/notes"); got[0].Proxy != nil || got[0].Kind != "change" || got[0].Author.Kind != "session" {
			t.Errorf("a change beside the session: %+v", got[0])
		}
		if a := in("DELETE", path+"/"+p.ID, ""); a.status != 204 {
			t.Errorf("Back: %d %s", a.status, a.body)
		}
		if proxyOf("/api/v1/whoami") != nil {
			t.Error("acts for her after Back")
		}
		for method, body := range map[string]string{"GET": "", "PATCH": `{"name":"Too late"}`} {
			if a := in(method, account, body); a.status != 410 || !strings.Contains(a.problem(t).Detail, "was ended at") {
				t.Errorf("%s after Back: %d %s", method, a.status, a.body)
			}
		}
		notes := s.list(s.operator, defaultCompany+"/users/alice/notes?kind=proxy")
		var said []string
		for _, n := range notes {
			said = append(said, fmt.Sprint(n.Action, " ", n.Text, n.Changes))
			if n.Kind != "proxy" || n.Proxy == nil || *n.Proxy != p.ID || n.Author.Name != "operator" {
				t.Errorf("note %+v", n)
			}
		}
		if !slices.Equal(said, []string{"proxy_session.end ticket 4711[]", "user.update [{name Alice Alice Smith} {voicemail_greeting  Not here}]", "proxy_session.start ticket 4711[]"}) {
			t.Errorf("notes: %q", said)
		}
		var l struct{ Items []proxyAnswer }
		s.get(path).decode(t, &l)
		if len(l.Items) != 1 || l.Items[0].EndedAt == nil || l.Items[0].Open {
			t.Errorf("sessions: %+v", l)
		}
	})
}

// A session that has run out is told as such.
func TestProxyExpiresOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t, path := s.t, defaultCompany+"/users/alice/proxy-sessions"
		var p proxyAnswer
		s.as(s.operator, "POST", path, `{"reason":"x","minutes":1}`).decode(t, &p)
		s.sql("UPDATE proxy_session SET expires_us = $1", time.Now().UnixMicro())
		for method, body := range map[string]string{"GET": "", "PATCH": `{"name":"Too late"}`} {
			if a := s.as(s.operator, method, path+"/"+p.ID+"/account", body); a.status != 410 || !strings.Contains(a.problem(t).Detail, "expired at") {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
		}
		if a := s.as(s.operator, "DELETE", path+"/"+p.ID, ""); a.status != 204 {
			t.Errorf("ending it: %d", a.status)
		}
		if u, err := s.directory.User(t.Context(), "default", "alice"); err != nil || u.Name != "Alice" {
			t.Errorf("%+v %v", u, err)
		}
		s.as(s.operator, "POST", path, `{"reason":"again"}`).decode(t, &p)
		if notes := s.list(s.operator, defaultCompany+"/users/alice/notes?kind=proxy"); len(notes) != 2 {
			t.Errorf("notes: %+v", notes)
		}
	})
}
