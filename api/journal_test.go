package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

type auditItem struct {
	ID      string
	At      time.Time
	Kind    string
	Action  string
	Actor   struct{ Kind, ID, Name string }
	Author  struct{ Kind, ID, Name string }
	Subject struct{ Kind, ID string }
	User    string
	Text    string
	Changes []struct{ Field, Old, New string }
	Proxy   *string `json:"proxy_session"`
	Count   int
	LastAt  time.Time `json:"last_at"`
}

type auditList struct {
	Items []auditItem
	Next  *string `json:"next_cursor"`
}

// list reads a list of notes or of the audit.
func (s *site) list(key, path string) []auditItem {
	s.t.Helper()
	var l auditList
	s.as(key, "GET", path, "").decode(s.t, &l)
	return l.Items
}

// signIn opens a session of the portal and gives what a browser sends with it.
func (s *site) signIn(key string) []string {
	s.t.Helper()
	a := s.do("POST", "/api/v1/session", `{"key":"`+key+`"}`, "Origin", s.url)
	cookie, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if a.status != 200 || err != nil {
		s.t.Fatalf("signing in: %d %s", a.status, a.body)
	}
	return []string{"Cookie", cookie.Name + "=" + cookie.Value, "Origin", s.url}
}

func TestNotesOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t, notes := s.t, defaultCompany+"/users/alice/notes"
		var n auditItem
		a := s.as(s.operator, "POST", notes, `{"text":" Called back.\n\"Twice\" "}`)
		a.decode(t, &n)
		if a.status != 201 || n.Kind != "note" || n.Text != "Called back.\n\"Twice\"" || n.Author.Kind != "key" || n.Author.Name != "operator" || n.User != "alice" || n.Proxy != nil {
			t.Errorf("%d %+v", a.status, n)
		}
		// What is done in the portal is the session's, with the key's name.
		browser := s.signIn(s.operator)
		if a := s.do("PATCH", defaultCompany+"/users/alice", `{"name":"Alice New"}`, browser...); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got := s.list(s.operator, notes+"?kind=change")
		if c := got[0]; c.Kind != "change" || c.Author.Kind != "session" || c.Author.Name != "operator" || c.Action != "user.update" ||
			!slices.Contains(c.Changes, struct{ Field, Old, New string }{"name", "Alice", "Alice New"}) {
			t.Errorf("the change of a name: %+v", got)
		}
		if got := s.list(s.operator, notes+"?kind=note"); len(got) != 1 || got[0].ID != n.ID {
			t.Errorf("written notes: %+v", got)
		}
		if got := s.list(s.operator, defaultCompany+"/notes?limit=2"); len(got) != 2 || got[0].Action != "user.update" || got[1].ID != n.ID {
			t.Errorf("notes of the company: %+v", got)
		}
		var first, second auditList
		s.get(notes+"?limit=1").decode(t, &first)
		s.get(notes+"?limit=1&cursor="+*first.Next).decode(t, &second)
		if first.Items[0].Action != "user.update" || second.Items[0].ID != n.ID {
			t.Errorf("pages: %+v, %+v", first, second)
		}
		if a := s.get(notes, "Accept", "text/csv"); a.status != 200 || !strings.Contains(a.body, "Called back.") {
			t.Errorf("CSV: %d %s", a.status, a.body)
		}
		for body, field := range map[string]string{`{"text":""}`: "body.text", `{"text":" "}`: "body.text", `{"text":"a\u0000b"}`: "body.text", `{}`: "body", `{"text":"` + strings.Repeat("x", 10_001) + `"}`: "body.text"} {
			if a := s.as(s.operator, "POST", notes, body); a.status != 422 {
				t.Errorf("%.20s: %d %s", body, a.status, a.body)
			} else {
				a.names(t, field)
			}
		}
		for path, key := range map[string]string{defaultCompany + "/users/nobody/notes": s.operator, notes: s.other, "/api/v1/companies/other/users/alice/notes": s.other, defaultCompany + "/notes": s.other} {
			for _, method := range []string{"GET", "POST"} {
				if method == "POST" && strings.HasSuffix(path, "default/notes") {
					continue
				}
				body := ""
				if method == "POST" {
					body = `{"text":"x"}`
				}
				if a := s.as(key, method, path, body); a.status != 404 {
					t.Errorf("%s %s: %d", method, path, a.status)
				}
			}
		}
	})
}

func TestAuditOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		flush := func() {
			t.Helper()
			if err := s.access.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// What is not an answer is not a read; neither are lists.
		for _, path := range []string{"/users", "/users/nobody", "/calls/x", "/numbers/+999", "/notes"} {
			s.get(defaultCompany + path)
		}
		for range 3 {
			s.get(defaultCompany + "/users/alice")
		}
		s.get(defaultCompany + "/users/alice/notes")
		s.get(defaultCompany + "/numbers/" + url.PathEscape("(415) 555-0101"))
		s.get(defaultCompany+"/users", "Accept", "text/csv")
		s.do("GET", defaultCompany+"/users/alice", "", s.signIn(s.operator)...)
		s.as(s.other, "GET", "/api/v1/companies/other/users/carol", "")
		flush()
		reads := s.list(s.operator, defaultCompany+"/audit?action=read")
		var got []string
		for _, e := range reads {
			got = append(got, fmt.Sprint(e.Actor.Kind, " ", e.Actor.Name, ": ", e.Subject.Kind, " ", e.Subject.ID, " ", e.Text, " ×", e.Count))
			if e.At.IsZero() || e.LastAt.Before(e.At) || e.Proxy != nil {
				t.Errorf("%+v", e)
			}
		}
		slices.Sort(got)
		if want := []string{
			"key operator: export users csv ×1", "key operator: number +14155550101  ×1", "key operator: user alice  ×3", "key operator: user alice notes ×1", "session operator: user alice  ×1",
		}; !slices.Equal(got, want) {
			t.Errorf("reads:\n%s", strings.Join(got, "\n"))
		}
		s.as(s.operator, "POST", defaultCompany+"/users/alice/notes", `{"text":"x"}`)
		all := s.list(s.operator, defaultCompany+"/audit?from="+url.QueryEscape(reads[len(reads)-1].At.Format(time.RFC3339Nano)))
		if len(all) != 6 || all[0].Action != "user.note" || all[0].Text != "x" {
			t.Errorf("changes and reads: %+v", all)
		}
		for query, want := range map[string]int{
			"?action=read&actor=operator": 5, "?action=user.note": 1, "?kind=number&id=%2B14155550101&action=read": 1, "?kind=number&id=+14155550101&action=read": 1, "?actor=nobody": 0, "?action=read&kind=export": 1,
		} {
			if got := s.list(s.operator, defaultCompany+"/audit"+query); len(got) != want {
				t.Errorf("%s: %d entries, want %d: %+v", query, len(got), want, got)
			}
		}
		if got := s.list(s.other, "/api/v1/companies/other/audit?action=read"); len(got) != 1 || got[0].Subject.ID != "carol" || got[0].Actor.Name != "other" {
			t.Errorf("the other company's: %+v", got)
		}
		if a := s.as(s.other, "GET", defaultCompany+"/audit", ""); a.status != 404 {
			t.Errorf("another company's audit: %d", a.status)
		}
		if a := s.as(s.other, "GET", "/api/v1/audit", ""); a.status != 403 {
			t.Errorf("the operators' audit for a company: %d", a.status)
		}
		if got := s.list(s.operator, "/api/v1/audit?action=key.create"); len(got) != 1 || got[0].Subject.Kind != "key" || got[0].Actor.Kind != "system" {
			t.Errorf("the operators' audit: %+v", got)
		}
		if a := s.get(defaultCompany+"/audit", "Accept", "text/csv"); a.status != 200 || !strings.HasPrefix(a.body, "id,at,actor.kind,") || !strings.Contains(a.body, "export") {
			t.Errorf("CSV: %d %.200s", a.status, a.body)
		}
		for _, secret := range []string{s.operator, s.other} {
			if b, _ := json.Marshal(s.list(s.operator, "/api/v1/audit?limit=1000")); strings.Contains(string(b), secret) {
				t.Error("the audit holds a key")
			}
		}
		s.get(defaultCompany+"/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").names(t, "query.to")
		s.get(defaultCompany+"/audit?cursor=x").names(t, "query.cursor")
	})
}

func TestExperimentsOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		type experiment struct {
			Key, Description, Level, From string
			Enabled                       *bool
			Effective                     bool
			SetBy                         *string    `json:"set_by"`
			SetAt                         *time.Time `json:"set_at"`
			Users                         *int
		}
		var e experiment
		s.as(s.operator, "PUT", defaultCompany+"/experiments/new_dialer", `{"enabled":true,"description":"Bigger keys"}`).decode(t, &e)
		if e.Key != "new_dialer" || e.Description != "Bigger keys" || e.Level != "company" || !*e.Enabled || !e.Effective || e.From != "company" || *e.SetBy != "operator" || e.SetAt == nil || *e.Users != 0 {
			t.Errorf("set: %+v", e)
		}
		e = experiment{}
		s.as(s.operator, "PUT", defaultCompany+"/users/alice/experiments/new_dialer", `{"enabled":false}`).decode(t, &e)
		if *e.Enabled || e.Effective || e.From != "user" || e.Level != "user" || e.Users != nil || e.Description != "Bigger keys" {
			t.Errorf("set for a user: %+v", e)
		}
		var l struct{ Items []experiment }
		s.get(defaultCompany+"/users/bob/experiments").decode(t, &l)
		if len(l.Items) != 2 || l.Items[0].Key != "admin_call_recording" || l.Items[0].Effective || l.Items[0].Description == "" || l.Items[0].SetBy != nil || l.Items[0].SetAt != nil ||
			l.Items[1].Enabled != nil || !l.Items[1].Effective || l.Items[1].From != "company" {
			t.Errorf("of another user: %+v", l)
		}
		s.get(defaultCompany+"/experiments").decode(t, &l)
		if *l.Items[1].Users != 1 {
			t.Errorf("of the company: %+v", l)
		}
		for _, path := range []string{defaultCompany + "/users/alice/experiments/new_dialer", defaultCompany + "/experiments/new_dialer"} {
			if a := s.as(s.operator, "DELETE", path, ""); a.status != 204 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			if a := s.as(s.operator, "DELETE", path, ""); a.status != 404 {
				t.Errorf("%s again: %d", path, a.status)
			}
		}
		for path, status := range map[string]int{"/experiments/New": 422, "/experiments/1": 422, "/users/nobody/experiments/x": 404} {
			if a := s.as(s.operator, "PUT", defaultCompany+path, `{"enabled":true}`); a.status != status {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := s.as(s.other, "PUT", defaultCompany+"/experiments/x", `{"enabled":true}`); a.status != 404 {
			t.Errorf("of another company: %d", a.status)
		}
	})
}
