package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

const usersPath = defaultCompany + "/users"

type importAnswer struct {
	DryRun        bool `json:"dry_run"`
	Rows, Created int
	Errors        []struct {
		Line            int
		Column, Message string
	}
	ErrorsTotal int `json:"errors_total"`
}

func (s *site) imports(query, body string, header ...string) answer {
	s.t.Helper()
	return s.as(s.operator, "POST", usersPath+"/import"+query, body, append([]string{"Content-Type", "text/csv"}, header...)...)
}

func (s *site) countUsers() int {
	s.t.Helper()
	c, err := s.directory.Counts(s.t.Context(), "default")
	if err != nil {
		s.t.Fatal(err)
	}
	return c.Users
}

func TestImportOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		const good = "name,email,numbers\nAnn,ann@example.com,+14155550130\nBen,ben@example.com,\n"
		const bad = "name,email\nAnn,ann@example.com\n,ALICE@example.com\n"
		before := s.countUsers()
		for name, c := range map[string]struct {
			query, body    string
			status, errors int
			created        int
		}{
			"dry":     {"?dry_run=true&office=hq", good, 200, 0, 2},
			"dry bad": {"?dry_run=true", bad, 200, 1, 0},
			"bad":     {"", bad, 422, 1, 0},
		} {
			var r importAnswer
			a := s.imports(c.query, c.body)
			if err := json.Unmarshal([]byte(a.body), &r); err != nil {
				t.Fatal(err)
			}
			if a.status != c.status || r.Created != c.created || len(r.Errors) != c.errors || r.ErrorsTotal != c.errors || s.countUsers() != before {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			if c.status == 422 {
				if p := a.header.Get("Content-Type"); p != "application/problem+json" || r.Errors[0].Line != 3 || r.Errors[0].Column != "name" || strings.Contains(a.body, "ALICE") {
					t.Errorf("%s: %s %s", name, p, a.body)
				}
			}
		}
		s.imports("?office=nowhere", good).names(t, "query.office")
		if a := s.imports("", good, "Content-Type", "application/json"); a.status != 415 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.as(s.other, "POST", usersPath+"/import", good, "Content-Type", "text/csv"); a.status != 404 {
			t.Errorf("another company: %d", a.status)
		}
		a := s.imports("?office=hq", good, "Accept", "application/x-ndjson")
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		var r importAnswer
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil || a.status != 200 || r.Created != 2 || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%d %s", a.status, a.body)
		}
		var list struct {
			Items []struct{ Email, Office string }
		}
		s.get(usersPath+"?q=ann").decode(t, &list)
		if len(list.Items) != 1 || list.Items[0].Office != "hq" {
			t.Errorf("%+v", list)
		}
		// Who imported is in the journal.
		if a := s.get(defaultCompany + "/audit?kind=user&action=user.create"); !strings.Contains(a.body, `"kind":"key"`) {
			t.Errorf("%s", a.body)
		}
	})
}

// While a file is still on its way nobody waits for it; when its sender goes away
// nothing of it is stored.
func TestImportOfASlowSender(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		before := s.countUsers()
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+usersPath+"/import", r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.operator)
		req.Header.Set("Content-Type", "text/csv")
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
				resp.Body.Close()
			}
		}()
		fmt.Fprint(w, "name,email\nAnn,ann@example.com\n")
		if a := s.as(s.operator, "POST", usersPath, `{"name":"Meanwhile"}`); a.status != 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
		w.CloseWithError(io.ErrClosedPipe)
		<-done
		if n := s.countUsers(); n != before+1 {
			t.Errorf("%d users, want %d", n, before+1)
		}
	})
}

// Two imports run at a time. A further one is stored when one of them has ended.
func TestImportsAtATime(t *testing.T) {
	s := newSite(t, nil)
	before := s.countUsers()
	type sender struct {
		io.WriteCloser
		status chan int
	}
	taken := make(chan sender)
	for i := range 3 {
		r, w := io.Pipe()
		out := sender{w, make(chan int, 1)}
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+usersPath+"/import", r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.operator)
		req.Header.Set("Content-Type", "text/csv")
		go func() {
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				out.status <- 0
				return
			}
			resp.Body.Close()
			out.status <- resp.StatusCode
		}()
		go func() {
			fmt.Fprintf(w, "name,email\n%[1]s,%[1]s@example.org\n", fmt.Sprint("user", i))
			// More than the connection's buffers hold: it is taken only by who reads it.
			for range 16 << 10 {
				fmt.Fprint(w, strings.Repeat("\n", 1<<10))
			}
			taken <- out
		}()
	}
	end := func(one sender) {
		one.Close()
		if status := <-one.status; status != 200 {
			t.Errorf("an import: %d", status)
		}
	}
	first, second := <-taken, <-taken
	select {
	case <-taken:
		t.Fatal("a third import is read while two are under way")
	case <-time.After(time.Second):
	}
	end(first)
	end(<-taken)
	end(second)
	if n := s.countUsers(); n != before+3 {
		t.Errorf("%d users, want %d", n, before+3)
	}
}

// What is exported can be imported elsewhere, and is the same there.
func TestExportRoundTrip(t *testing.T) {
	onBothSites(t, nil, func(from *site) {
		t := from.t
		ctx := t.Context()
		for i := range 250 {
			u := directory.User{Name: fmt.Sprintf("Umlaut Ä%03d, \"the\"\u00a0%d", i, i), Email: fmt.Sprintf("u%d@example.com", i), Office: "hq", Departments: []string{"sales"},
				ContactCenters: []string{"help"}, AORs: []string{fmt.Sprintf("u%d@x", i), fmt.Sprint(9000 + i)}, Numbers: []string{fmt.Sprintf("+1415666%04d", i), fmt.Sprintf("+1415777%04d", i)},
				VoicemailGreeting: "Line 1\nLine 2; more, \"quoted\""}
			if _, err := from.directory.CreateUser(ctx, "default", u); err != nil {
				t.Fatal(err)
			}
		}
		if err := from.directory.DeleteUser(ctx, "default", "alice"); err != nil {
			t.Fatal(err)
		}
		a := from.get(usersPath, "Accept", "text/csv")
		if a.status != 200 || a.header.Get("X-Next-Cursor") != "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) != 253 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if part := from.get(usersPath+"?limit=10", "Accept", "text/csv"); strings.Count(part.body, "\r\n") < 11 || part.header.Get("X-Next-Cursor") == "" || strings.Contains(part.body, "u200@") {
			t.Errorf("a page: %s", part.body)
		}
		to := newSite(t, nil)
		to.as(to.operator, "POST", "/api/v1/companies", `{"id":"new","name":"New"}`)
		for path, id := range map[string]string{"offices": "hq", "departments": "sales", "contact-centers": "help"} {
			to.as(to.operator, "POST", "/api/v1/companies/new/"+path, `{"id":"`+id+`","name":"`+id+`"}`)
		}
		if b := to.as(to.operator, "POST", "/api/v1/companies/new/users/import", a.body, "Content-Type", "text/csv"); b.status != 200 {
			t.Fatalf("%d %s", b.status, b.body)
		}
		type user struct {
			ID, Name, Email, State, Office             string
			Numbers, AORs, Departments, ContactCenters []string
			Greeting                                   string `json:"voicemail_greeting"`
		}
		var here, there struct{ Items []user }
		from.get(usersPath+"?limit=1000").decode(t, &here)
		to.get("/api/v1/companies/new/users?limit=1000").decode(t, &there)
		same := func(a, b user) bool {
			return a.ID == b.ID && a.Name == b.Name && a.Email == b.Email && a.State == b.State && a.Office == b.Office && a.Greeting == b.Greeting &&
				slices.Equal(a.Numbers, b.Numbers) && slices.Equal(a.AORs, b.AORs) && slices.Equal(a.Departments, b.Departments) && slices.Equal(a.ContactCenters, b.ContactCenters)
		}
		if len(here.Items) != 252 || !slices.EqualFunc(here.Items, there.Items, same) {
			for i := range min(len(here.Items), len(there.Items)) {
				if !same(here.Items[i], there.Items[i]) {
					t.Fatalf("%+v\n%+v", here.Items[i], there.Items[i])
				}
			}
			t.Errorf("%d and %d users", len(here.Items), len(there.Items))
		}
	})
}

// A deletion does what its preview says.
func TestDeletion(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		s.as(s.operator, "PATCH", usersPath+"/alice", `{"contact_centers":["help"],"voicemail_greeting":"Hello"}`)
		s.as(s.operator, "POST", usersPath+"/alice/devices/desk/credentials", "")
		s.as(s.operator, "POST", defaultCompany+"/subscriptions", `{"url":"https://hooks.example.com/x","target":{"kind":"user","id":"alice"},"types":["*"]}`)
		var d struct {
			Numbers                                       []struct{ Number, Becomes string }
			Devices                                       []struct{ ID, Name, Becomes string }
			AORs, Warnings                                []string
			Memberships, RecordingSettings, Subscriptions int
		}
		a := s.get(usersPath + "/alice/deletion")
		a.decode(t, &d)
		if a.status != 200 || len(d.Numbers) != 2 || d.Numbers[0].Becomes != "available" || len(d.Devices) != 1 || d.Devices[0].ID != "desk" || !slices.Equal(d.AORs, []string{"alice@example.com"}) ||
			d.Memberships != 2 || d.Subscriptions != 1 || len(d.Warnings) != 3 || !strings.Contains(strings.Join(d.Warnings, "\n"), "help is left without an agent") {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := s.as(s.operator, "DELETE", usersPath+"/alice", ""); a.status != 204 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, n := range d.Numbers {
			if stored, err := s.directory.Number(t.Context(), "default", n.Number); err != nil || stored.Status != n.Becomes {
				t.Errorf("%+v %v", stored, err)
			}
			if was, err := s.directory.NumberAt(t.Context(), "default", n.Number, time.Now().Add(-time.Millisecond)); err == nil && was.Owner == nil {
				t.Logf("history: %+v", was)
			}
		}
		credentials, err := s.directory.DeviceCredentials(t.Context(), "default", "alice")
		if err != nil || len(credentials) != 1 || credentials[0].RevokedAt.IsZero() {
			t.Errorf("%+v %v", credentials, err)
		}
		var subscriptions struct{ Items []any }
		s.get(defaultCompany+"/subscriptions").decode(t, &subscriptions)
		if len(subscriptions.Items) != 0 {
			t.Errorf("%+v", subscriptions)
		}
		a = s.get(usersPath + "/alice/deletion")
		a.decode(t, &d)
		if len(d.Numbers)+len(d.Devices)+len(d.AORs)+d.Memberships+d.Subscriptions+len(d.Warnings) != 0 {
			t.Errorf("of a user who is deleted: %s", a.body)
		}
		a = s.get(usersPath + "/alice/notes")
		for _, want := range []string{"user.delete", "voicemail_greeting", `"contact_centers"`, "number."} {
			if !strings.Contains(a.body, want) {
				t.Errorf("the notes lack %s: %s", want, a.body)
			}
		}
		if a := s.get(usersPath + "/nobody/deletion"); a.status != 404 {
			t.Errorf("%d", a.status)
		}
	})
}
