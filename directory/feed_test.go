package directory_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/feedtest"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/internal/kafkatest"
	"github.com/earshot/earshot/telemetry"
)

// truth is who is who, read from the tables by itself.
type truth struct {
	users       map[string]*telemetry.Identity // by id and email address, as they are stored
	aors        map[string]*telemetry.Identity
	numbers     map[string]*telemetry.Identity
	nationals   map[string]*telemetry.Identity
	everyone    map[string]*telemetry.Identity // the deleted too
	places      map[string]*telemetry.Identity // by kind and id
	credentials map[string][]string            // ids of those in use by address
	history     map[string][]held
}

type held struct {
	from, until int64
	owner       string // kind and id
}

// rows calls each with the columns of every row as text.
func rows(t *testing.T, d *directory.Directory, query string, each func(c []string)) {
	t.Helper()
	r, err := d.DB().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	columns, err := r.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for r.Next() {
		texts, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := r.Scan(into...); err != nil {
			t.Fatal(err)
		}
		each(texts)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
}

func truthOf(t *testing.T, d *directory.Directory, company string) *truth {
	t.Helper()
	h := &truth{
		users: map[string]*telemetry.Identity{}, aors: map[string]*telemetry.Identity{}, numbers: map[string]*telemetry.Identity{}, everyone: map[string]*telemetry.Identity{},
		nationals: map[string]*telemetry.Identity{}, places: map[string]*telemetry.Identity{}, credentials: map[string][]string{}, history: map[string][]held{},
	}
	of := " WHERE company = '" + company + "'"
	rows(t, d, "SELECT kind, id, name, office_id FROM place"+of, func(c []string) {
		id := &telemetry.Identity{Name: c[2], OfficeId: c[3]}
		switch c[0] {
		case "office":
			id.OfficeId = c[1]
		case "department":
			id.DepartmentId = c[1]
		case "contact_center":
			id.ContactCenterId = c[1]
		}
		h.places[c[0]+" "+c[1]] = id
	})
	rows(t, d, "SELECT id, name, email, office_id, state FROM users"+of, func(c []string) {
		id := &telemetry.Identity{UserId: c[0], Name: c[1], OfficeId: c[3]}
		h.everyone[c[0]] = id
		if c[4] == "deleted" {
			return
		}
		h.users[c[0]] = id
		if c[2] != "" {
			h.users[c[2]] = id
		}
	})
	rows(t, d, "SELECT user_id, kind, place_id FROM membership"+of+" ORDER BY place_id DESC", func(c []string) {
		if c[1] == "department" {
			h.everyone[c[0]].DepartmentId = c[2]
		} else {
			h.everyone[c[0]].ContactCenterId = c[2]
		}
	})
	shared := map[string]bool{}
	rows(t, d, "SELECT number, national, owner_kind, owner_id FROM number"+of+" AND owner_kind <> '' ORDER BY created_us, number", func(c []string) {
		var id *telemetry.Identity
		if c[2] == "user" {
			u := h.users[c[3]]
			if u == nil {
				t.Errorf("%s is of a user who is not there", c[0])
				return
			}
			if u.Number == "" {
				u.Number = c[0]
			}
			id = proto.CloneOf(u)
		} else {
			id = proto.CloneOf(h.places[c[2]+" "+c[3]])
		}
		id.Number = c[0]
		h.numbers[c[0]] = id
		shared[c[1]] = h.nationals[c[1]] != nil
		h.nationals[c[1]] = id
	})
	for n, s := range shared {
		if s {
			delete(h.nationals, n)
		}
	}
	rows(t, d, "SELECT aor, user_id FROM aor"+of, func(c []string) { h.aors[c[0]] = h.users[c[1]] })
	rows(t, d, "SELECT id, aor, user_id, revoked_us FROM device_credentials"+of+" ORDER BY id", func(c []string) {
		h.credentials[c[1]] = append(h.credentials[c[1]], nil...)
		if owner := h.resolve("aor", c[1]); c[3] == "0" && owner.GetUserId() == c[2] {
			h.credentials[c[1]] = append(h.credentials[c[1]], c[0])
		}
	})
	rows(t, d, "SELECT number, from_us, until_us, owner_kind, owner_id FROM number_history"+of+" ORDER BY number, from_us", func(c []string) {
		from, _ := strconv.ParseInt(c[1], 10, 64)
		until, _ := strconv.ParseInt(c[2], 10, 64)
		h.history[c[0]] = append(h.history[c[0]], held{from, until, c[3] + " " + c[4]})
	})
	return h
}

func (h *truth) resolve(kind, value string) *telemetry.Identity {
	switch kind {
	case "user":
		if id := h.users[value]; id != nil {
			return id
		}
		return h.users[strings.ToLower(value)]
	case "aor":
		aor := directory.NormalizeAOR(value)
		user, _, _ := strings.Cut(aor, "@")
		for _, a := range []string{aor, user} {
			if id := h.aors[a]; id != nil {
				return id
			}
		}
		value = user
	}
	digits := strings.TrimPrefix(value, "+")
	if strings.Trim(digits, "0123456789") != "" || len(digits) < 3 {
		return nil
	}
	if id := h.numbers["+"+digits]; id != nil || digits != value {
		return id
	}
	for _, prefix := range []string{"011", "00"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && h.numbers["+"+rest] != nil {
			return h.numbers["+"+rest]
		}
	}
	for _, prefix := range []string{"", "1", "0"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && h.nationals[rest] != nil {
			return h.nationals[rest]
		}
	}
	return nil
}

// at is the owner of a number at a time, as its history has it.
func (h *truth) at(number string, us int64) (owner string) {
	list := h.history[number]
	if us < list[0].from {
		us = list[0].from // before it is known, it was as it is known first
	}
	for _, row := range list {
		if row.from <= us && (row.until == 0 || us < row.until) {
			return strings.TrimSpace(row.owner)
		}
	}
	return ""
}

// same compares what a resolver says with the tables.
func same(t *testing.T, d *directory.Directory, r *directory.Resolver, rng *rand.Rand, values map[string]bool, nowUs int64) {
	t.Helper()
	for _, company := range []string{"default", "other"} {
		h := truthOf(t, d, company)
		for value := range values {
			for _, kind := range []string{"user", "aor", "number"} {
				want := h.resolve(kind, value)
				if got := r.Resolve(company, kind, value, 0); !proto.Equal(got, want) {
					t.Fatalf("%s %s %s: %v, want %v", company, kind, value, got, want)
				}
			}
			var ids []string
			usable, protected := r.Credentials(company, value)
			for _, c := range usable {
				ids = append(ids, c.ID)
			}
			slices.Sort(ids)
			var want []string
			known := false
			aor := directory.NormalizeAOR(value)
			user, _, _ := strings.Cut(aor, "@")
			names := []string{aor, user}
			if n := h.resolve("number", user); n != nil {
				names = append(names, n.Number)
			}
			slices.Sort(names)
			for _, name := range slices.Compact(names) {
				list, ok := h.credentials[name]
				want, known = append(want, list...), known || ok
			}
			slices.Sort(want)
			if !slices.Equal(ids, want) || protected != known {
				t.Fatalf("%s credentials of %s: %v %v, want %v %v", company, value, ids, protected, want, known)
			}
		}
		for number := range h.history {
			us := nowUs - rng.Int64N(400_000_000)
			want := h.at(number, us)
			got := r.Resolve(company, "number", number, us)
			said := ""
			switch kind, id, _ := strings.Cut(want, " "); {
			case got == nil:
			case kind == "user":
				said = "user " + got.UserId
			case got.UserId == "" && h.places[want] == nil, got.UserId == "" && proto.Equal(h.places[want], &telemetry.Identity{
				Name: got.Name, OfficeId: got.OfficeId, DepartmentId: got.DepartmentId, ContactCenterId: got.ContactCenterId}):
				said = kind + " " + id
			}
			if kind, _, _ := strings.Cut(want, " "); kind != "" && kind != "user" && h.places[want] == nil {
				want, said = "", "" // the place is gone, and nothing is known of it
			}
			if said != want {
				t.Fatalf("%s at %d: %v, want %q\n%v", number, us, got, want, h.history[number])
			}
		}
	}
}

// changes makes random changes of every kind to a directory.
type changes struct {
	t      *testing.T
	d      *directory.Directory
	rng    *rand.Rand
	values map[string]bool // that something was called or is
	next   int
	ports  []string
}

func (c *changes) pick(list ...string) string { return list[c.rng.IntN(len(list))] }
func (c *changes) id(kind string) string      { return kind + strconv.Itoa(c.rng.IntN(10)) }
func (c *changes) company() string            { return c.pick("default", "default", "default", "other") }
func (c *changes) number() string {
	// Those of London and of Maine share their national digits.
	n := c.pick("+1415555010", "+1415555011", "+1207183875", "+44207183875") + strconv.Itoa(c.rng.IntN(10))
	for _, v := range []string{n, n[1:], n[2:], n[3:], "0" + n[3:], "00" + n[1:], "011" + n[1:], n + "@10.0.0.1"} {
		c.values[v] = true
	}
	return n
}

func (c *changes) owner() directory.Owner {
	kind := c.pick("user", "user", "user", "office", "department", "room", "contact_center", "pool")
	if kind == "pool" {
		return directory.Owner{Kind: kind}
	}
	return directory.Owner{Kind: kind, ID: c.id(kind)}
}

func (c *changes) aor() string {
	a := c.pick("ann", "bob", "carl", "dora") + c.pick("", "@example.com", "@example.org")
	c.values[a] = true
	return a
}

func (c *changes) user() directory.User {
	c.next++
	u := directory.User{ID: c.id("user"), Name: fmt.Sprint("N ", c.next), Email: c.pick("", "a@example.com", "b@example.com", "c@example.com"), Office: c.pick("", c.id("office"))}
	if c.rng.IntN(2) == 0 {
		u.AORs = []string{c.aor(), c.aor()}
	}
	if c.rng.IntN(2) == 0 {
		u.Departments = []string{c.id("department"), c.id("department")}
	}
	if c.rng.IntN(3) == 0 {
		u.ContactCenters = []string{c.id("contact_center")}
	}
	c.values[u.ID], c.values[u.Email] = true, true
	return u
}

// one makes a change, and says which. Most attempts are refused at first, for
// what they refer to is not there.
func (c *changes) one() (what string, err error) {
	ctx, d, company := c.t.Context(), c.d, c.company()
	what = c.pick("place", "place", "place", "place change", "place delete", "user", "user", "user", "user", "user", "user", "user change", "user change", "user delete", "number", "number", "transfer", "transfer", "transfer", "transfer", "transfer",
		"transfer", "credential", "credential", "credential revoke", "device delete", "port", "port step", "port step", "import", "import", "import", "seed", "note")
	kind := c.pick("office", "department", "room", "contact_center")
	switch what {
	case "place":
		p := directory.Place{Kind: kind, ID: c.id(kind), Name: c.id("Place ")}
		if kind != "office" {
			p.Office = c.pick("", c.id("office"))
		}
		_, err = d.CreatePlace(ctx, company, p)
	case "place change":
		name, office := c.id("Named "), c.id("office")
		change := directory.PlaceChange{Name: &name}
		if kind != "office" && c.rng.IntN(2) == 0 {
			change.Office = &office
		}
		_, err = d.UpdatePlace(ctx, company, kind, c.id(kind), change)
	case "place delete":
		err = d.DeletePlace(ctx, company, kind, c.id(kind))
	case "user":
		u := c.user()
		if c.rng.IntN(2) == 0 {
			u.Numbers = []string{c.number(), c.number()}
		}
		_, err = d.CreateUser(ctx, company, u)
	case "user change":
		u := c.user()
		change := directory.UserChange{}
		for i, set := range []func(){
			func() { change.Name = &u.Name }, func() { change.Email = &u.Email }, func() { change.Office = &u.Office }, func() { change.AORs = &u.AORs },
			func() { change.Departments = &u.Departments }, func() { change.ContactCenters = &u.ContactCenters },
			func() { s := c.pick("active", "invited", "pending"); change.State = &s },
		} {
			if c.rng.IntN(4) == i%4 {
				set()
			}
		}
		_, err = d.UpdateUser(ctx, company, u.ID, change)
	case "user delete":
		err = d.DeleteUser(ctx, company, c.id("user"))
	case "number":
		owner := c.owner()
		to := &owner
		if owner.Kind == "pool" {
			to = nil
		}
		_, err = d.CreateNumber(ctx, company, c.number(), "", to)
	case "transfer":
		_, err = d.TransferNumber(ctx, company, c.number(), c.owner(), "because")
	case "credential":
		_, _, err = d.CreateDeviceCredential(ctx, company, directory.NewDeviceCredential{UserID: c.id("user"), DeviceID: c.id("device"), Realm: "earshot"})
	case "credential revoke":
		err = d.RevokeDeviceCredential(ctx, company, c.id("user"), c.id("device"))
	case "device delete":
		_, err = d.DeleteDevice(ctx, directory.DeviceDeletion{Company: company, UserID: c.id("user"), DeviceID: c.id("device")}, false)
	case "port":
		var made directory.PortRequest
		owner := c.owner()
		r := directory.PortRequest{BatchID: "b", Type: c.pick("port_in", "port_out"), Numbers: []string{c.number()}, Carrier: "c"}
		if r.Type == "port_in" && owner.Kind != "pool" {
			r.Target = &owner
		}
		if made, err = d.CreatePortRequest(ctx, company, r); err == nil {
			c.ports = append(c.ports, company+" "+made.ID)
		}
	case "port step":
		if len(c.ports) == 0 {
			return what, errors.New("none")
		}
		company, id, _ := strings.Cut(c.pick(c.ports...), " ")
		var r directory.PortRequest
		if r, err = d.PortRequest(ctx, company, id); err == nil && len(r.Transitions()) > 0 {
			step := directory.PortStep{To: r.Transitions()[0], Reason: "r"} // the first is the one forward
			if c.rng.IntN(4) == 0 {
				step.To = c.pick(r.Transitions()...)
			}
			if step.To == "foc_received" {
				step.FOCDate = "2027-01-01"
			}
			_, err = d.TransitPortRequest(ctx, company, id, step)
		}
	case "import":
		u, v := c.user(), c.user()
		csv := fmt.Sprintf("name,email,id,aors,numbers\n%s,%s,%s,%s,%s\n%s,,%s,,\n", u.Name, u.Email, u.ID, strings.Join(u.AORs, ";"), c.number(), v.Name, v.ID)
		var f *directory.ImportFile
		if f, err = directory.ParseUsers(strings.NewReader(csv)); err == nil {
			err = d.ImportUsers(ctx, company, f, directory.ImportOptions{})
		}
	case "seed":
		err = d.ApplySeed(ctx, &directory.SeedFile{Companies: []directory.SeedCompany{{ID: company,
			Rooms: []directory.SeedPlace{{ID: c.id("room"), Name: "Seeded", Numbers: []string{c.number()}}},
			Users: []directory.SeedUser{{ID: c.id("user"), Name: "Seeded", Numbers: []string{c.number()}, AORs: []string{c.aor()}}},
		}}})
	case "note":
		_, err = d.AddNote(ctx, company, c.id("user"), "a note")
	}
	return what, err
}

// After random changes of every kind, what has been told bit by bit is what the
// tables hold; and the journal names every object that has changed: a change that
// it does not name would be told minutes later.
func TestFeedFollowsEveryChange(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		seed := uint64(time.Now().UnixNano())
		if s := os.Getenv("EARSHOT_SEED"); s != "" {
			seed, _ = strconv.ParseUint(s, 10, 64)
		}
		t.Logf("EARSHOT_SEED=%d", seed)
		clock := time.Now().Add(-time.Hour)
		d.SetNow(func() time.Time { clock = clock.Add(time.Second); return clock })
		if _, err := d.CreateCompany(t.Context(), directory.Company{ID: "other", Name: "Other"}); err != nil {
			t.Fatal(err)
		}
		r := feedtest.Start(t, d)
		for _, kind := range []string{"office", "department", "room", "contact_center"} {
			for i := range 5 {
				must(d.CreatePlace(t.Context(), "default", directory.Place{Kind: kind, ID: kind + strconv.Itoa(i), Name: "At first"}))(t)
			}
		}
		c := &changes{t: t, d: d, rng: rand.New(rand.NewPCG(seed, 0)), values: map[string]bool{"nobody": true, "A@Example.com": true}}
		before, err := d.Told(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]int{}
		for i := range 300 {
			version := must(d.Version(t.Context()))(t)
			what, err := "", errors.New("none")
			for ; err != nil; what, err = c.one() {
				if what != "" && !errors.Is(err, directory.ErrInvalid) && !errors.Is(err, directory.ErrConflict) && !errors.Is(err, directory.ErrNotFound) &&
					!errors.As(err, new(*directory.ImportErrors)) && err.Error() != "none" {
					t.Fatalf("%s: %v", what, err)
				}
			}
			made[what]++
			after, err := d.Told(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			recorded := must(d.Recorded(t.Context(), version))(t)
			for key := range union(before, after) {
				if before[key] != after[key] && !recorded[key] {
					t.Errorf("change %d, %s: the journal does not name %s\nbefore %s\nafter  %s", i, what, key, before[key], after[key])
				}
			}
			before = after
			if i%10 == 9 {
				feedtest.Catch(t, d, r)
				same(t, d, r, c.rng, c.values, clock.UnixMicro())
			}
		}
		t.Log(made)
		for _, what := range []string{"user change", "user delete", "number", "transfer", "place change", "place delete", "credential", "port step", "seed"} {
			if made[what] == 0 {
				t.Errorf("no %s was made", what)
			}
		}
	})
}

func union(a, b map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			out[k] = true
		}
	}
	return out
}

// onEachBroker runs a test on the embedded broker and on Apache Kafka.
func onEachBroker(t *testing.T, test func(t *testing.T, cfg bus.Config)) {
	t.Run("embedded broker", func(t *testing.T) { test(t, feedtest.Broker(t)) })
	t.Run("Apache Kafka", func(t *testing.T) { test(t, feedtest.Topics(t, []string{kafkatest.Start(t).Addr})) })
}

func newSQLite(t *testing.T) *directory.Directory {
	t.Helper()
	d := must(directory.Open(t.Context(), directory.Config{}, t.TempDir()))(t)
	t.Cleanup(func() { d.Close() })
	return d
}

// What was told of one directory is taken back where another comes in its place,
// as one does that is brought back from a backup: without what came after it.
func TestFeedFollowsARestoredDirectory(t *testing.T) {
	onEachBroker(t, func(t *testing.T, cfg bus.Config) {
		ctx := t.Context()
		lost, restored := newSQLite(t), newSQLite(t)
		applySeed(t, lost)
		applySeed(t, restored)
		must(lost.CreateUser(ctx, "default", directory.User{ID: "late", Name: "Late", AORs: []string{"late@example.com"}, Numbers: []string{"+14155550150"}}))(t)
		must(lost.TransferNumber(ctx, "default", "+14155550102", directory.Owner{Kind: "user", ID: "bob"}, ""))(t)
		_, _, err := lost.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "late", DeviceID: "desk", Realm: "r"})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := feedtest.Resolve(t, cfg)
		stop := feedtest.Publish(t, cfg, lost, r, true)
		feedtest.Catch(t, lost, r)
		if r.Resolve("default", "aor", "late@example.com", 0) == nil || r.Resolve("default", "number", "+14155550102", 0).GetUserId() != "bob" {
			t.Fatal("the first directory was not told")
		}
		stop()
		// The same version, or a later one, says nothing: there were other changes.
		for range 5 {
			must(restored.CreatePlace(ctx, "default", directory.Place{Kind: "room", Name: "More"}))(t)
		}
		feedtest.Publish(t, cfg, restored, r, true)
		values := map[string]bool{"late": true, "late@example.com": true, "+14155550150": true, "+14155550102": true, "alice": true, "+14155550101": true}
		eventually(t, func() bool {
			return r.Resolve("default", "user", "late", 0) == nil && r.Resolve("default", "number", "+14155550102", 0).GetUserId() == "alice"
		})
		must(restored.CreateUser(ctx, "default", directory.User{ID: "new", Name: "New"}))(t)
		feedtest.Catch(t, restored, r)
		rng := rand.New(rand.NewPCG(1, 1))
		same(t, restored, r, rng, values, time.Now().UnixMicro())
		// Who begins now reads the same.
		fresh, _ := feedtest.Resolve(t, cfg)
		feedtest.Catch(t, restored, fresh)
		same(t, restored, fresh, rng, values, time.Now().UnixMicro())
	})
}

// Several publishers get along: one that is in charge and stops is followed by
// another, and nothing is told twice differently.
func TestPublishersTakeTurns(t *testing.T) {
	onEachBroker(t, func(t *testing.T, cfg bus.Config) {
		d := newSQLite(t)
		applySeed(t, d)
		var stops []func()
		var resolvers []*directory.Resolver
		for i := range 3 {
			r, _ := feedtest.Resolve(t, cfg)
			resolvers = append(resolvers, r)
			stops = append(stops, feedtest.Publish(t, cfg, d, r, i != 1))
			feedtest.Catch(t, d, r)
		}
		// The third took the place of the first; the second waits.
		rng := rand.New(rand.NewPCG(2, 2))
		values := map[string]bool{"alice": true, "+14155550102": true, "+14155550101": true}
		for i, stop := range []func(){func() {}, stops[2], stops[0], func() {}} {
			stop()
			to := directory.Owner{Kind: "user", ID: []string{"bob", "alice"}[i%2]}
			must(d.TransferNumber(t.Context(), "default", "+14155550102", to, ""))(t)
			for _, r := range resolvers {
				feedtest.Catch(t, d, r)
				same(t, d, r, rng, values, time.Now().UnixMicro())
			}
		}
	})
}

// A change that the journal does not name is found by comparison.
func TestFeedFindsWhatTheJournalLacks(t *testing.T) {
	d := newSQLite(t)
	applySeed(t, d)
	r := feedtest.Start(t, d)
	tx := must(d.DB().BeginTx(t.Context(), nil))(t)
	for _, q := range []string{"UPDATE directory_version SET n = n + 1", "UPDATE users SET name = 'Renamed by hand' WHERE id = 'alice'", "DELETE FROM aor WHERE aor = '1001'"} {
		if _, err := tx.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return r.Resolve("default", "user", "alice", 0).GetName() == "Renamed by hand" && r.Resolve("default", "aor", "1001@x", 0) == nil
	})
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be within a minute")
		}
	}
}

func TestSealedCredentialsOpenForTheirDeviceOnly(t *testing.T) {
	same, stable, wrongKey, wrongSecret, none := directory.SealOpens("a", "b", "key", "other")
	if !same || !stable || wrongKey || wrongSecret || none {
		t.Errorf("opens %v, stable %v, for another key %v, with another secret %v, with none %v", same, stable, wrongKey, wrongSecret, none)
	}
	first, err := directory.FeedSecret(directory.Config{}, t.TempDir()+"/new", false)
	if err != nil || first != "" {
		t.Errorf("a secret from nowhere: %v", err)
	}
	if _, err = directory.FeedSecret(directory.Config{FeedSecret: "tooshort"}, "", false); err == nil || strings.Contains(err.Error(), "tooshort") {
		t.Errorf("a secret that can be guessed: %v", err)
	}
	dir := t.TempDir()
	first, err = directory.FeedSecret(directory.Config{}, dir, true)
	if err != nil || len(first) < 52 {
		t.Fatal(err)
	}
	again, err := directory.FeedSecret(directory.Config{}, dir, true)
	if err != nil || again != first {
		t.Errorf("another secret at the second start: %v", err)
	}
	info, err := os.Stat(dir + "/" + directory.FeedSecretFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
