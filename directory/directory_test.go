package directory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/feedtest"
	"github.com/earshot/earshot/directory/postgrestest"
)

// postgres is started by the first test that needs it: fuzzing does not.
var postgres = sync.OnceValues(postgrestest.Start)

var started bool

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		if server, err := postgres(); err == nil {
			server.Stop()
		}
	}
	os.Exit(code)
}

func newPostgres(t *testing.T) string {
	t.Helper()
	started = true
	server, err := postgres()
	if err != nil {
		t.Fatal(err)
	}
	return server.NewDatabase(t)
}

// onBoth runs a test on SQLite and on PostgreSQL, each new and empty but for
// the company "default".
func onBoth(t *testing.T, test func(t *testing.T, d *directory.Directory)) {
	for name, dsn := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "" },
		"postgres": newPostgres,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a b%3F?") // a path that needs escaping
			d, err := directory.Open(t.Context(), directory.Config{DSN: dsn(t)}, dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			if _, _, err := d.Bootstrap(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			test(t, d)
		})
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantField(t *testing.T, err error, kind error, field string) {
	t.Helper()
	var f *directory.FieldError
	if !errors.As(err, &f) || f.Field != field || !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v naming %s", err, kind, field)
	}
}

const seed = `
companies:
  - id: default
    name: Acme
    offices: [{id: hq, name: Headquarters, numbers: ["+14155550100"]}]
    departments: [{id: sales, name: Sales, office: hq, numbers: ["+18005550199"]}]
    rooms: [{id: blue, name: Blue room, office: hq, numbers: ["+14155550110"]}]
    contact_centers: [{id: help, name: Help line, office: hq, numbers: ["+14155550120"]}]
    users:
      - {id: alice, name: Alice Ámos, email: Alice@Example.com, office: hq, departments: [sales], contact_centers: [help], numbers: ["+1 (415) 555-0101", "+14155550102"], aors: ["sip:Alice@Example.com:5060;transport=tcp", "1001"]}
      - {id: bob, name: Bob, state: invited, numbers: ["+442071838750"]}
      - {id: eve, name: Eve, state: deleted}
    numbers: [{number: "+14155550130"}, {number: "+14155550131", status: port_pending}]
  - id: other
    users: [{id: alice, name: Other Alice, numbers: ["+14155550101"], aors: ["alice@example.com"]}]
`

func applySeed(t *testing.T, d *directory.Directory) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Seed(t.Context(), file); err != nil {
		t.Fatal(err)
	}
}

func TestSeed(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		alice := must(d.User(t.Context(), "default", "alice"))(t)
		alice.CreatedAt, alice.UpdatedAt = time.Time{}, time.Time{}
		want := directory.User{
			ID: "alice", Name: "Alice Ámos", Email: "alice@example.com", State: "active", Office: "hq",
			Numbers: []string{"+14155550101", "+14155550102"}, AORs: []string{"1001", "alice@example.com"},
			Departments: []string{"sales"}, ContactCenters: []string{"help"},
		}
		if !reflect.DeepEqual(alice, want) {
			t.Errorf("got  %+v\nwant %+v", alice, want)
		}

		// A second time it changes nothing, not even what was changed since.
		name := "Alice Changed"
		must(d.UpdateUser(t.Context(), "default", "alice", directory.UserChange{Name: &name}))(t)
		must(d.TransferNumber(t.Context(), "default", "+14155550102", directory.Owner{Kind: "user", ID: "bob"}, ""))(t)
		applySeed(t, d)
		alice = must(d.User(t.Context(), "default", "alice"))(t)
		if alice.Name != name || !slices.Equal(alice.Numbers, []string{"+14155550101"}) {
			t.Errorf("the seed undid a change: %+v", alice)
		}
		counts := must(d.Counts(t.Context(), "default"))(t)
		if counts != (directory.Counts{Users: 2, Numbers: 9}) {
			t.Errorf("counts: %+v", counts)
		}
	})
}

func TestSeedAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		s := must(directory.ParseSeed([]byte(`{"companies":[{"id":"new","users":[{"id":"a","name":"A"},{"id":"b","name":"B","numbers":["+14155550101","911"]}]}]}`)))(t)
		err := d.ApplySeed(t.Context(), s)
		wantField(t, err, directory.ErrInvalid, "users[1].numbers[1]")
		if strings.Contains(err.Error(), "911") {
			t.Errorf("the error repeats the number: %v", err)
		}
		if _, err := d.Company(t.Context(), "new"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("half of a seed was stored: %v", err)
		}
		if _, err := directory.ParseSeed([]byte("companies:\n  - id: a\n    userz: []\n")); err == nil || !strings.Contains(err.Error(), "userz") {
			t.Errorf("an unknown key: %v", err)
		}
	})
}

func ids[T any](items []T, id func(T) string) []string {
	out := make([]string, len(items))
	for i, v := range items {
		out[i] = id(v)
	}
	return out
}

func TestUserFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		for name, c := range map[string]struct {
			filter directory.UserFilter
			want   []string
		}{
			"all":                   {directory.UserFilter{}, []string{"alice", "bob", "eve"}},
			"name in another case":  {directory.UserFilter{Query: "ÁMOS"}, []string{"alice"}},
			"number as written":     {directory.UserFilter{Query: "(415) 555-0102"}, []string{"alice"}},
			"SIP address":           {directory.UserFilter{Query: "@example.com"}, []string{"alice"}},
			"percent is no pattern": {directory.UserFilter{Query: "%"}, []string{}},
			"state":                 {directory.UserFilter{State: "invited"}, []string{"bob"}},
			"office":                {directory.UserFilter{Office: "hq"}, []string{"alice"}},
			"ids":                   {directory.UserFilter{IDs: []string{"eve", "bob"}}, []string{"bob", "eve"}},
			"no ids":                {directory.UserFilter{IDs: []string{}}, []string{}},
		} {
			users, next, err := d.Users(t.Context(), "default", c.filter)
			if got := ids(users, func(u directory.User) string { return u.ID }); err != nil || next != "" || !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, %q, %v; want %v", name, got, next, err, c.want)
			}
		}
	})
}

func TestPages(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		var want []string
		for i := range 7 {
			// The same name twice: the id decides.
			u := must(d.CreateUser(t.Context(), "default", directory.User{ID: fmt.Sprintf("u%d", i), Name: fmt.Sprintf("N%d", i/2)}))(t)
			want = append(want, u.ID)
		}
		var got []string
		cursor := ""
		for range 10 {
			users, next, err := d.Users(t.Context(), "default", directory.UserFilter{Page: directory.Page{Limit: 2, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ids(users, func(u directory.User) string { return u.ID })...)
			if cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, bad := range []string{"x", "W10", "IiI"} {
			_, _, err := d.Users(t.Context(), "default", directory.UserFilter{Page: directory.Page{Cursor: bad}})
			wantField(t, err, directory.ErrInvalid, "cursor")
		}
	})
}

func TestUserChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := t.Context()
		for field, c := range map[string]struct {
			user directory.User
			kind error
		}{
			"id":                 {directory.User{ID: "alice", Name: "A"}, directory.ErrConflict},
			"name":               {directory.User{Name: " "}, directory.ErrInvalid},
			"email":              {directory.User{Name: "A", Email: "ALICE@example.com"}, directory.ErrConflict},
			"state":              {directory.User{Name: "A", State: "gone"}, directory.ErrInvalid},
			"office":             {directory.User{Name: "A", Office: "nowhere"}, directory.ErrInvalid},
			"departments[1]":     {directory.User{Name: "A", Departments: []string{"sales", "nope"}}, directory.ErrInvalid},
			"aors[0]":            {directory.User{Name: "A", AORs: []string{"sip:ALICE@example.com"}}, directory.ErrConflict},
			"aors[1]":            {directory.User{Name: "A", AORs: []string{"new@example.com", "sip:@example.com"}}, directory.ErrInvalid},
			"numbers[0]":         {directory.User{Name: "A", Numbers: []string{"+14155550101"}}, directory.ErrConflict},
			"numbers[1]":         {directory.User{Name: "A", Numbers: []string{"+14155550130", "911"}}, directory.ErrInvalid},
			"contact_centers[0]": {directory.User{Name: "A", ContactCenters: []string{"sales"}}, directory.ErrInvalid},
		} {
			_, err := d.CreateUser(ctx, "default", c.user)
			wantField(t, err, c.kind, field)
		}
		if n := must(d.Number(ctx, "default", "+14155550130"))(t); n.Status != "available" {
			t.Errorf("a refused change left a trace: %+v", n)
		}
		u := must(d.CreateUser(ctx, "default", directory.User{Name: "New", Numbers: []string{"(415) 555-0130", "4155550140"}}))(t)
		if !slices.Equal(u.Numbers, []string{"+14155550130", "+14155550140"}) && !slices.Equal(u.Numbers, []string{"+14155550140", "+14155550130"}) {
			t.Errorf("numbers: %v", u.Numbers)
		}

		if err := d.DeleteUser(ctx, "default", "alice"); err != nil {
			t.Fatal(err)
		}
		gone := must(d.User(ctx, "default", "alice"))(t)
		if gone.State != "deleted" || len(gone.Numbers)+len(gone.AORs)+len(gone.Departments) != 0 {
			t.Errorf("a deleted user keeps things: %+v", gone)
		}
		if n := must(d.Number(ctx, "default", "+14155550101"))(t); n.Status != "available" || n.Owner != nil {
			t.Errorf("a deleted user's number: %+v", n)
		}
		// Her address and email may be another's now; the namesake in the other company is as before.
		must(d.CreateUser(ctx, "default", directory.User{Name: "A", Email: "alice@example.com", AORs: []string{"alice@example.com"}}))(t)
		if o := must(d.User(ctx, "other", "alice"))(t); o.State != "active" || len(o.Numbers) != 1 {
			t.Errorf("another company's user: %+v", o)
		}
		if _, err := d.User(ctx, "other", "bob"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's user is seen: %v", err)
		}
	})
}

func TestNumberSearch(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		for name, c := range map[string]struct {
			filter directory.NumberFilter
			want   []string
		}{
			"full":         {directory.NumberFilter{Query: "+1 415-555-0101"}, []string{"+14155550101"}},
			"without plus": {directory.NumberFilter{Query: "14155550101"}, []string{"+14155550101"}},
			"national":     {directory.NumberFilter{Query: "(415) 555-0101"}, []string{"+14155550101"}},
			"area code":    {directory.NumberFilter{Query: "800"}, []string{"+18005550199"}},
			"prefix":       {directory.NumberFilter{Query: "183"}, []string{"+442071838750"}},
			"suffix":       {directory.NumberFilter{Query: "0199"}, []string{"+18005550199"}},
			"toll free":    {directory.NumberFilter{Type: "toll_free"}, []string{"+18005550199"}},
			"pending":      {directory.NumberFilter{Status: "port_pending"}, []string{"+14155550131"}},
			"available":    {directory.NumberFilter{Status: "available"}, []string{"+14155550130"}},
			"of a room":    {directory.NumberFilter{Owner: &directory.Owner{Kind: "room", ID: "blue"}}, []string{"+14155550110"}},
		} {
			numbers, _, err := d.Numbers(t.Context(), "default", c.filter)
			if got := ids(numbers, func(n directory.Number) string { return n.Number }); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
			}
		}
		_, _, err := d.Numbers(t.Context(), "default", directory.NumberFilter{Query: "abc"})
		wantField(t, err, directory.ErrInvalid, "q")
		n := must(d.Number(t.Context(), "default", " 14155550120"))(t)
		n.Since = time.Time{}
		want := directory.Number{Number: "+14155550120", National: "4155550120", Type: "local", Region: "US", AreaCode: "415", Prefix: "555", Status: "contact_center",
			Owner: &directory.Owner{Kind: "contact_center", ID: "help", Name: "Help line"}}
		if !reflect.DeepEqual(n, want) {
			t.Errorf("got %+v %+v", n, n.Owner)
		}
	})
}

func TestTransfer(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := t.Context()
		n := must(d.TransferNumber(ctx, "default", "+14155550102", directory.Owner{Kind: "room", ID: "blue"}, ""))(t)
		if n.Status != "room" || *n.Owner != (directory.Owner{Kind: "room", ID: "blue", Name: "Blue room"}) {
			t.Errorf("transferred: %+v", n)
		}
		_, err := d.TransferNumber(ctx, "default", "+14155550101", directory.Owner{Kind: "user", ID: "bob"}, "")
		wantField(t, err, directory.ErrConflict, "number")
		_, err = d.TransferNumber(ctx, "default", "+14155550131", directory.Owner{Kind: "user", ID: "bob"}, "")
		wantField(t, err, directory.ErrConflict, "number")
		_, err = d.TransferNumber(ctx, "default", "+14155550130", directory.Owner{Kind: "user", ID: "eve"}, "")
		wantField(t, err, directory.ErrInvalid, "to.id")
		if _, err = d.TransferNumber(ctx, "other", "+14155550130", directory.Owner{Kind: "user", ID: "alice"}, ""); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's number: %v", err)
		}
	})
}

// Two transfers at once, each of which leaves the source one number, must not
// together leave it none.
func TestTransferHasNoWriteSkew(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := context.Background()
		must(d.CreateUser(ctx, "default", directory.User{ID: "sink", Name: "Sink"}))(t)
		for round := range 20 {
			user := fmt.Sprintf("u%d", round)
			numbers := []string{fmt.Sprintf("+1415555%04d", 2*round), fmt.Sprintf("+1415555%04d", 2*round+1)}
			must(d.CreateUser(ctx, "default", directory.User{ID: user, Name: user, Numbers: numbers}))(t)
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i, n := range numbers {
				wg.Go(func() {
					_, errs[i] = d.TransferNumber(ctx, "default", n, directory.Owner{Kind: "user", ID: "sink"}, "")
				})
			}
			wg.Wait()
			refused := 0
			for _, err := range errs {
				if errors.Is(err, directory.ErrConflict) {
					refused++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if u := must(d.User(ctx, "default", user))(t); refused != 1 || len(u.Numbers) != 1 {
				t.Fatalf("round %d: %d refused, the source has %v", round, refused, u.Numbers)
			}
		}
	})
}

func TestKeysAndSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := t.Context()
		plain, key, err := d.CreateKey(ctx, "script", directory.RoleCompany, "default")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(plain, key.Prefix) || len(plain) < len(key.Prefix)+32 {
			t.Errorf("key %q, shown as %q", plain, key.Prefix)
		}
		p := must(d.AuthenticateKey(ctx, plain))(t)
		if !p.May("default") || p.May("other") || p.Name != "script" {
			t.Errorf("principal: %+v", p)
		}
		session := must(d.CreateSession(ctx, p, time.Hour))(t)
		if s := must(d.AuthenticateSession(ctx, session))(t); s.KeyID != key.ID || s.Expires.Before(time.Now()) {
			t.Errorf("session: %+v", s)
		}
		if k := must(d.Keys(ctx))(t); len(k) != 2 || k[0].ID != key.ID || k[0].UsedAt.IsZero() {
			t.Errorf("keys: %+v", k)
		}
		must(d.RevokeKey(ctx, key.Prefix))(t)
		if _, err := d.AuthenticateKey(ctx, plain); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("a revoked key: %v", err)
		}
		if _, err := d.AuthenticateSession(ctx, session); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("a session of a revoked key: %v", err)
		}

		_, _, err = d.CreateKey(ctx, "x", directory.RoleCompany, "nowhere")
		wantField(t, err, directory.ErrInvalid, "company")
		ingest, _, err := d.CreateKey(ctx, "page", directory.RoleIngest, "default")
		if err != nil {
			t.Fatal(err)
		}
		if p := must(d.AuthenticateKey(ctx, ingest))(t); p.May("default") || p.Company != "default" {
			t.Errorf("an ingest key is %+v", p)
		}
		_, _, err = d.CreateKey(ctx, "x", directory.RoleIngest, "")
		wantField(t, err, directory.ErrInvalid, "company")
		_, err = d.CreateSigninToken(ctx, "x", directory.RoleIngest, "default", time.Hour)
		wantField(t, err, directory.ErrInvalid, "role")
		_, _, err = d.CreateKey(ctx, "x", "god", "")
		wantField(t, err, directory.ErrInvalid, "role")

		token := must(d.CreateSigninToken(ctx, "link", directory.RoleOperator, "", time.Hour))(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var sessions []string
		for range 5 {
			wg.Go(func() {
				s, _, err := d.ConsumeSigninToken(context.Background(), token, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					sessions = append(sessions, s)
				} else if !errors.Is(err, directory.ErrUnauthenticated) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(sessions) != 1 {
			t.Fatalf("a one-time token opened %d sessions", len(sessions))
		}
		if p := must(d.AuthenticateSession(ctx, sessions[0]))(t); !p.May("other") {
			t.Errorf("principal: %+v", p)
		}
		if err := d.EndSession(ctx, sessions[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := d.AuthenticateSession(ctx, sessions[0]); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("an ended session: %v", err)
		}
		expired := must(d.CreateSigninToken(ctx, "link", directory.RoleOperator, "", -time.Second))(t)
		if _, _, err := d.ConsumeSigninToken(ctx, expired, time.Hour); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("an expired token: %v", err)
		}
	})
}

func TestBootstrap(t *testing.T) {
	dir := t.TempDir()
	d := must(directory.Open(t.Context(), directory.Config{}, dir))(t)
	file, created, err := d.Bootstrap(t.Context(), dir)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	info := must(os.Stat(file))(t)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	key := strings.TrimSpace(string(must(os.ReadFile(file))(t)))
	if p := must(d.AuthenticateKey(t.Context(), key))(t); p.Role != directory.RoleOperator {
		t.Errorf("principal: %+v", p)
	}
	d.Close()

	// After a restart the key is the same.
	d = must(directory.Open(t.Context(), directory.Config{}, dir))(t)
	defer d.Close()
	if _, created, err = d.Bootstrap(t.Context(), dir); err != nil || created {
		t.Fatal(created, err)
	}
	must(d.AuthenticateKey(t.Context(), key))(t)
	for _, m := range must(d.Migrations(t.Context()))(t) {
		if m.Applied.IsZero() {
			t.Errorf("migration %d was not applied", m.Version)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, dsn := range []string{"mysql://u:secret@h/d", "postgres://u:secret@127.0.0.1:1/d?connect_timeout=1", "postgres://u:secret@h:x/d"} {
		_, err := directory.Open(t.Context(), directory.Config{DSN: dsn}, t.TempDir())
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

func TestResolve(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		s := feedtest.Start(t, d)
		for _, c := range []struct{ company, kind, value, user, number string }{
			{"default", "number", "+14155550101", "alice", "+14155550101"},
			{"default", "number", "+14155550102", "alice", "+14155550102"},
			{"default", "number", "14155550101", "alice", "+14155550101"},
			{"default", "number", "4155550101", "alice", "+14155550101"},
			{"default", "number", "0014155550101", "alice", "+14155550101"},
			{"default", "number", "01114155550101", "alice", "+14155550101"},
			{"default", "number", "+442071838750", "bob", "+442071838750"},
			{"default", "number", "02071838750", "bob", "+442071838750"},
			{"default", "number", "01", "", ""},
			{"default", "number", "alice", "", ""},
			{"default", "number", "+14155550130", "", ""},
			{"default", "aor", "sip:alice@example.com:5062;ob", "alice", "+14155550101"},
			{"default", "aor", "sip:1001@10.0.0.7", "alice", "+14155550101"},
			{"default", "aor", "sip:+14155550102@10.0.0.7", "alice", "+14155550102"},
			{"default", "aor", "alice@example.org", "", ""},
			{"default", "user", "alice", "alice", "+14155550101"},
			{"default", "user", "Alice@Example.com", "alice", "+14155550101"},
			{"default", "user", "eve", "", ""},
			{"other", "user", "bob", "", ""},
			{"nowhere", "user", "bob", "", ""},
		} {
			id := s.Resolve(c.company, c.kind, c.value, 0)
			if (id == nil) != (c.user == "") || id.GetUserId() != c.user || id.GetNumber() != c.number {
				t.Errorf("%s %s %s: got %v", c.company, c.kind, c.value, id)
			}
		}
		if id := s.Resolve("default", "user", "alice", 0); id.OfficeId != "hq" || id.DepartmentId != "sales" || id.ContactCenterId != "help" || id.Name != "Alice Ámos" {
			t.Errorf("identity: %v", id)
		}
		if id := s.Resolve("default", "number", "+18005550199", 0); id.GetDepartmentId() != "sales" || id.GetName() != "Sales" || id.GetUserId() != "" {
			t.Errorf("a department's number: %v", id)
		}
		if id := s.Resolve("other", "number", "+14155550101", 0); id.GetName() != "Other Alice" {
			t.Errorf("the same number elsewhere: %v", id)
		}

		// What is returned belongs to the caller.
		s.Resolve("default", "user", "alice", 0).Name = "changed"
		if s.Resolve("default", "user", "alice", 0).Name != "Alice Ámos" {
			t.Error("a caller changed what is known")
		}

		if err := d.DeleteUser(t.Context(), "default", "alice"); err != nil {
			t.Fatal(err)
		}
		feedtest.Catch(t, d, s)
		if id := s.Resolve("default", "number", "+14155550101", 0); id != nil {
			t.Errorf("after the change: %v", id)
		}
	})
}

func TestNormalizeAOR(t *testing.T) {
	for in, want := range map[string]string{
		"sip:Alice@Example.COM":                        "alice@example.com",
		"\"Alice\" <sips:alice@example.com:5061;x=y>":  "alice@example.com",
		"alice@[2001:db8::1]:5060":                     "alice@[2001:db8::1]",
		"alice@[2001:db8::1]":                          "alice@[2001:db8::1]",
		"sip:+14155550101;phone-context=x@example.com": "+14155550101@example.com",
		"tel:+14155550101":                             "+14155550101",
		"":                                             "",
	} {
		if got := directory.NormalizeAOR(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalizeAOR(f *testing.F) {
	f.Add("sip:alice@example.com:5060;transport=tcp")
	f.Add("<sip:a@[::1]:1>")
	f.Fuzz(func(t *testing.T, s string) {
		once := directory.NormalizeAOR(s)
		if strings.ContainsRune(once, '\n') && !strings.ContainsRune(s, '\n') {
			t.Errorf("%q became %q", s, once)
		}
	})
}

func FuzzParseNumber(f *testing.F) {
	f.Add("+1 (415) 555-0101", "US")
	f.Add("020 7183 8750", "GB")
	f.Fuzz(func(t *testing.T, value, region string) {
		n, err := directory.ParseNumber(value, region)
		if err != nil {
			return
		}
		// What was accepted is stable: E.164 reads as itself anywhere.
		again, err := directory.ParseNumber(n.Number, "ZZ")
		if err != nil || again != n {
			t.Errorf("%q: %+v, then %+v, %v", value, n, again, err)
		}
	})
}
