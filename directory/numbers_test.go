package directory_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/earshot/earshot/directory"
)

// seeded gives a random source and prints what it began with.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func stand(d *directory.Directory, at time.Time) *time.Time {
	d.SetNow(func() time.Time { return at })
	return &at
}

// written is a history in short: status or owner, from when until when in
// seconds after t0, reason.
func written(history []directory.Assignment, t0 time.Time) []string {
	var out []string
	for _, a := range history {
		who := a.Status
		if a.Owner != nil {
			who = a.Owner.Kind + " " + a.Owner.ID
		}
		until := "now"
		if !a.Until.IsZero() {
			until = fmt.Sprint(a.Until.Sub(t0).Seconds())
		}
		out = append(out, fmt.Sprintf("%s %v-%s %s", who, a.From.Sub(t0).Seconds(), until, a.Reason))
	}
	return out
}

func TestNumberHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		t0 := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
		clock := stand(d, t0)
		applySeed(t, d)
		ctx := directory.WithActor(t.Context(), directory.Actor{Kind: "key", ID: "k1", Name: "Ann"})
		const number = "+14155550102"
		*clock = t0.Add(10 * time.Second)
		n := must(d.TransferNumber(ctx, "default", number, directory.Owner{Kind: "room", ID: "blue"}, " moved desks "))(t)
		if !n.Since.Equal(*clock) {
			t.Errorf("since %v", n.Since)
		}
		*clock = t0.Add(20 * time.Second)
		must(d.TransferNumber(ctx, "default", number, directory.Owner{Kind: directory.KindPool}, ""))(t)
		// Again: nothing changes.
		must(d.TransferNumber(ctx, "default", number, directory.Owner{Kind: directory.KindPool}, "again"))(t)
		*clock = t0.Add(30 * time.Second)
		must(d.TransferNumber(ctx, "default", number, directory.Owner{Kind: "user", ID: "bob"}, ""))(t)
		*clock = t0.Add(40 * time.Second)
		if err := d.DeleteUser(ctx, "default", "bob"); err != nil {
			t.Fatal(err)
		}
		history, _, err := d.NumberHistory(ctx, "default", "(415) 555-0102", directory.Page{})
		want := []string{"available 40-now the user was deleted", "user bob 30-40 ", "available 20-30 ", "room blue 10-20 moved desks"}
		if got := written(history, t0); err != nil || !slices.Equal(got[:4], want) || !strings.HasPrefix(got[4], "user alice ") || len(got) != 5 {
			t.Errorf("history:\n%s\n%v", strings.Join(got, "\n"), err)
		}
		if h := history[3]; h.By.Name != "Ann" || h.Owner.Name != "Blue room" {
			t.Errorf("by %+v, owner %+v", h.By, h.Owner)
		}
		// Both users have it on their pages.
		for user, want := range map[string]string{"alice": "moved desks user alice>room blue", "bob": " available>user bob; the user was deleted user bob>available"} {
			entries, _, err := d.Journal(ctx, "default", directory.JournalFilter{User: user, From: t0.Add(time.Second)})
			var notes []string
			for _, e := range entries {
				if e.Change.Kind == "number" && e.Change.ID == number {
					notes = append(notes, e.Change.Text+" "+e.Change.Fields[0].Old+">"+e.Change.Fields[0].New)
				}
			}
			slices.Reverse(notes)
			if got := strings.Join(notes, "; "); err != nil || got != want {
				t.Errorf("notes of %s: %q, %v; want %q", user, got, err, want)
			}
		}
		// Pages give the same.
		var paged []directory.Assignment
		for page := (directory.Page{Limit: 2}); ; {
			part, next, err := d.NumberHistory(ctx, "default", number, page)
			if err != nil {
				t.Fatal(err)
			}
			paged = append(paged, part...)
			if page.Cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(written(paged, t0), written(history, t0)) {
			t.Errorf("pages: %v", written(paged, t0))
		}
		for at, who := range map[float64]string{1: "alice", 9.999999: "alice", 10: "blue", 19.5: "blue", 20: "", 35: "bob", 40: "", 1e6: ""} {
			a, err := d.NumberAt(ctx, "default", number, t0.Add(time.Duration(at*1e6)*time.Microsecond))
			got := ""
			if a.Owner != nil {
				got = a.Owner.ID
			}
			if err != nil || got != who {
				t.Errorf("at %v: %q, %v; want %q", at, got, err, who)
			}
		}
		for _, at := range []time.Time{t0.Add(-time.Second), {}} {
			if _, err := d.NumberAt(ctx, "default", number, at); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("before it was there: %v", err)
			}
		}
		if _, err := d.NumberAt(ctx, "other", number, *clock); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's: %v", err)
		}
		if _, _, err := d.NumberHistory(ctx, "other", number, directory.Page{}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's: %v", err)
		}
	})
}

// A host whose clock is behind makes neither gaps nor overlaps.
func TestHistoryWithClocksThatDiffer(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		t0 := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
		clock := stand(d, t0)
		applySeed(t, d)
		for i, to := range []directory.Owner{{Kind: "room", ID: "blue"}, {Kind: "user", ID: "bob"}, {Kind: "room", ID: "blue"}, {Kind: directory.KindPool}} {
			*clock = t0.Add(-time.Duration(i) * time.Hour)
			must(d.TransferNumber(t.Context(), "default", "+14155550102", to, ""))(t)
		}
		history, _, err := d.NumberHistory(t.Context(), "default", "+14155550102", directory.Page{})
		if err != nil || len(history) != 5 {
			t.Fatal(history, err)
		}
		inOneLine(t, history)
	})
}

// inOneLine checks that a history, the newest first, has no gap and no overlap.
func inOneLine(t *testing.T, history []directory.Assignment) {
	t.Helper()
	for i, a := range history {
		if i == 0 && !a.Until.IsZero() || i > 0 && !a.Until.Equal(history[i-1].From) || !a.Until.IsZero() && !a.From.Before(a.Until) {
			t.Errorf("%s: %v until %v, then %v", a.Number, a.From, a.Until, history[max(0, i-1)].From)
		}
	}
}

func TestLastNumberStays(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		for number, kind := range map[string]string{
			"+442071838750": "user", "+14155550100": "office", "+18005550199": "department", "+14155550110": "room", "+14155550120": "contact center",
		} {
			for _, to := range []directory.Owner{{Kind: directory.KindPool}, {Kind: "user", ID: "alice"}} {
				_, err := d.TransferNumber(t.Context(), "default", number, to, "")
				wantField(t, err, directory.ErrConflict, "number")
				if !strings.Contains(err.Error(), "only number that its "+kind+" has") {
					t.Errorf("%s: %v", kind, err)
				}
			}
			if n := must(d.Number(t.Context(), "default", number))(t); n.Owner == nil {
				t.Errorf("%s: its number is gone", kind)
			}
		}
		_, err := d.TransferNumber(t.Context(), "default", "+14155550102", directory.Owner{Kind: directory.KindPool, ID: "x"}, "")
		wantField(t, err, directory.ErrInvalid, "to.id")
		_, err = d.TransferNumber(t.Context(), "default", "+14155550102", directory.Owner{Kind: "user"}, "")
		wantField(t, err, directory.ErrInvalid, "to.id")
		_, err = d.TransferNumber(t.Context(), "default", "+14155550102", directory.Owner{Kind: "user", ID: "bob"}, "a\x00b")
		wantField(t, err, directory.ErrInvalid, "reason")
		_, err = d.TransferNumber(t.Context(), "default", "+14155550102", directory.Owner{Kind: "user", ID: "a\x00b"}, "")
		wantField(t, err, directory.ErrInvalid, "to.id")
	})
}

// 1,000 transfers at once among 100 owners: all keep a number, all numbers have
// one owner, and the history is what happened.
func TestConcurrentTransfers(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		random := seeded(t)
		ctx := context.Background()
		begun := time.Now()
		kinds := []string{"user", "room", "office", "department", "contact_center"}
		var owners []directory.Owner
		var numbers []string
		happened := map[string][]directory.Number{} // what the callers were told, by number
		s := directory.SeedCompany{ID: "default"}
		for i := range 100 {
			o := directory.Owner{Kind: kinds[i%len(kinds)], ID: fmt.Sprintf("o%d", i)}
			owners = append(owners, o)
			var own []string
			for range 1 + random.IntN(3) {
				own = append(own, fmt.Sprintf("+1415555%04d", len(numbers)))
				numbers = append(numbers, own[len(own)-1])
			}
			place := directory.SeedPlace{ID: o.ID, Name: o.ID, Numbers: own}
			switch o.Kind {
			case "user":
				s.Users = append(s.Users, directory.SeedUser{ID: o.ID, Name: o.ID, Numbers: own})
			case "room":
				s.Rooms = append(s.Rooms, place)
			case "office":
				s.Offices = append(s.Offices, place)
			case "department":
				s.Departments = append(s.Departments, place)
			default:
				s.ContactCenters = append(s.ContactCenters, place)
			}
		}
		if err := d.ApplySeed(ctx, &directory.SeedFile{Companies: []directory.SeedCompany{s}}); err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			happened[n] = []directory.Number{must(d.Number(ctx, "default", n))(t)}
		}

		var wg sync.WaitGroup
		var mu sync.Mutex
		done, refused := 0, 0
		start := make(chan struct{})
		for range 1000 {
			number, to := numbers[random.IntN(len(numbers))], owners[random.IntN(len(owners))]
			wg.Go(func() {
				<-start
				n, err := d.TransferNumber(ctx, "default", number, to, "")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, directory.ErrConflict):
					refused++
				case err != nil:
					t.Error(err)
				default:
					done++
					happened[number] = append(happened[number], n)
				}
			})
		}
		close(start)
		wg.Wait()
		if done < 100 || refused == 0 {
			t.Fatalf("%d done, %d refused: this proves nothing", done, refused)
		}
		t.Logf("%d done, %d refused", done, refused)

		has := map[directory.Owner]int{}
		type change struct {
			at       time.Time
			from, to directory.Owner
		}
		var changes []change
		who := func(o *directory.Owner) directory.Owner { return directory.Owner{Kind: o.Kind, ID: o.ID} }
		for _, number := range numbers {
			told := happened[number]
			slices.SortStableFunc(told, func(a, b directory.Number) int { return a.Since.Compare(b.Since) })
			told = slices.CompactFunc(told, func(a, b directory.Number) bool { return a.Since.Equal(b.Since) && who(a.Owner) == who(b.Owner) })
			now := must(d.Number(ctx, "default", number))(t)
			has[who(now.Owner)]++
			history, _, err := d.NumberHistory(ctx, "default", number, directory.Page{Limit: directory.MaxLimit})
			if err != nil || len(history) != len(told) {
				t.Fatalf("%s: history of %d, callers were told %d: %v", number, len(history), len(told), err)
			}
			inOneLine(t, history)
			slices.Reverse(history)
			for i, h := range history {
				if !h.From.Equal(told[i].Since) || who(h.Owner) != who(told[i].Owner) {
					t.Errorf("%s: the history has %+v where a caller was told %+v", number, h, told[i])
				}
				if i > 0 {
					changes = append(changes, change{h.From, who(history[i-1].Owner), who(h.Owner)})
				}
			}
			if who(history[len(history)-1].Owner) != who(now.Owner) {
				t.Errorf("%s: the history ends with %v, it is %v", number, history[len(history)-1].Owner, now.Owner)
			}
			for range 5 {
				i := random.IntN(len(told))
				end := begun.Add(time.Hour)
				if i+1 < len(told) {
					end = told[i+1].Since
				}
				at := told[i].Since.Add(time.Duration(random.Int64N(int64(end.Sub(told[i].Since)))).Truncate(time.Microsecond))
				if a, err := d.NumberAt(ctx, "default", number, at); err != nil || who(a.Owner) != who(told[i].Owner) {
					t.Errorf("%s at %v: %+v, %v; want %+v", number, at, a, err, told[i])
				}
			}
		}
		for _, o := range owners {
			if has[o] == 0 {
				t.Errorf("%v has no number", o)
			}
		}
		// Nor had any owner none at any moment: undo the changes from the last.
		slices.SortStableFunc(changes, func(a, b change) int { return b.at.Compare(a.at) })
		for i := 0; i < len(changes); {
			at := changes[i].at
			for ; i < len(changes) && changes[i].at.Equal(at); i++ {
				has[changes[i].from]++
				has[changes[i].to]--
			}
			for _, o := range owners {
				if has[o] <= 0 {
					t.Fatalf("%v had no number before %v", o, at)
				}
			}
		}
	})
}

// model is what a search is compared with: all numbers, looked at one by one.
type model struct {
	directory.Number
	office string
}

func (m model) matches(f directory.NumberFilter) bool {
	digits := m.Number.Number[1:]
	is := func(filter, value string) bool { return filter == "" || filter == value }
	q := f.Query
	return is(f.Type, m.Type) && is(f.Status, m.Status) && is(f.Office, m.office) && is(f.OwnerKind, kindOf(m.Owner)) &&
		(f.Owner == nil || m.Owner != nil && *f.Owner == directory.Owner{Kind: m.Owner.Kind, ID: m.Owner.ID}) &&
		strings.HasPrefix(m.National, f.AreaCode+map[bool]string{true: f.Prefix}[f.AreaCode != ""]) &&
		(f.AreaCode != "" || strings.HasPrefix(m.Prefix, f.Prefix)) && strings.HasSuffix(digits, f.Suffix) &&
		(strings.HasPrefix(q, "+") && strings.HasPrefix(m.Number.Number, q) ||
			!strings.HasPrefix(q, "+") && (strings.HasPrefix(digits, q) || strings.HasPrefix(m.National, q) || m.Prefix == q && q != "" || strings.HasSuffix(digits, q) ||
				len(q) > 2 && strings.HasPrefix(m.National, strings.TrimPrefix(q, "1")) || len(q) > 7 && q[0] == '0' && strings.HasPrefix(m.National, q[1:]) ||
				len(q) > 6 && strings.HasPrefix(q, "00") && strings.HasPrefix(digits, q[2:]) || len(q) > 7 && strings.HasPrefix(q, "011") && strings.HasPrefix(digits, q[3:])))
}

func kindOf(o *directory.Owner) string {
	if o == nil {
		return ""
	}
	return o.Kind
}

// searchable fills a company with numbers that have much in common.
func searchable(t *testing.T, d *directory.Directory, random *rand.Rand) []model {
	s := directory.SeedCompany{ID: "default", Offices: []directory.SeedPlace{{ID: "hq", Name: "HQ"}, {ID: "far", Name: "Far"}},
		Departments: []directory.SeedPlace{{ID: "sales", Name: "Sales", Office: "hq"}}, Rooms: []directory.SeedPlace{{ID: "blue", Name: "Blue"}},
		Users: []directory.SeedUser{{ID: "alice", Name: "Alice", Office: "hq"}, {ID: "bob", Name: "Bob", Office: "far"}}}
	offices := map[directory.Owner]string{{Kind: "office", ID: "hq"}: "hq", {Kind: "department", ID: "sales"}: "hq", {Kind: "room", ID: "blue"}: "",
		{Kind: "user", ID: "alice"}: "hq", {Kind: "user", ID: "bob"}: "far"}
	var owners []directory.Owner
	for o := range offices {
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b directory.Owner) int { return cmp.Compare(a.ID, b.ID) })
	var all []model
	had := map[string]bool{}
	for len(all) < 400 {
		area := []string{"+1415", "+1212", "+1800", "+1888", "+44207", "+4930"}[random.IntN(6)]
		value := area + []string{"555", "415", "183", "800"}[random.IntN(4)] + fmt.Sprintf("%04d", []int{0, 99, 100, 415, 1415, 5550}[random.IntN(6)]+random.IntN(20))
		n, err := directory.ParseNumber(value, "US")
		if err != nil || had[n.Number] {
			continue
		}
		had[n.Number] = true
		m := model{Number: n}
		seed := directory.SeedNumber{Number: value}
		switch r := random.IntN(10); {
		case r < 3:
		case r == 3:
			m.Status, seed.Status = "port_pending", "port_pending"
		default:
			o := owners[random.IntN(len(owners))]
			m.Status, m.Owner, m.office = o.Kind, &o, offices[o]
			seed.Owner = &directory.SeedOwner{Kind: o.Kind, ID: o.ID}
		}
		s.Numbers = append(s.Numbers, seed)
		all = append(all, m)
	}
	other := directory.SeedCompany{ID: "other", Numbers: s.Numbers[:0:0]}
	for _, n := range s.Numbers[:100] {
		other.Numbers = append(other.Numbers, directory.SeedNumber{Number: n.Number})
	}
	if err := d.ApplySeed(t.Context(), &directory.SeedFile{Companies: []directory.SeedCompany{s, other}}); err != nil {
		t.Fatal(err)
	}
	return all
}

// Searches with random filters, on pages of random length, give what looking at
// every number gives, each once.
func searchesAgree(t *testing.T, d *directory.Directory) {
	random := seeded(t)
	all := searchable(t, d, random)
	one := func(values ...string) string { return values[random.IntN(len(values))] }
	// A slice of the digits of some number.
	piece := func(longest int) string {
		digits := all[random.IntN(len(all))].Number.Number[1:]
		from := random.IntN(len(digits))
		return digits[from:min(len(digits), from+1+random.IntN(longest))]
	}
	sometimes := func(f func()) {
		if random.IntN(4) == 0 {
			f()
		}
	}
	found := 0
	for range 400 {
		var f directory.NumberFilter
		sometimes(func() { f.Query = one("", "+", "00", "011") + piece(11) })
		sometimes(func() { f.AreaCode = one("415", "212", "207", "30", "8", "800") })
		sometimes(func() { f.Prefix = one("555", "5", "415", "18", "800") })
		sometimes(func() { f.Suffix = one("0", "00", "5555", "0099", "1415", "9", "999") })
		sometimes(func() { f.Type = one("local", "toll_free") })
		sometimes(func() {
			f.Status = one("available", "user", "office", "department", "room", "contact_center", "port_pending")
		})
		sometimes(func() { f.Office = one("hq", "far", "none") })
		if f.Status == "" {
			sometimes(func() { f.OwnerKind = one("user", "office", "department") })
			sometimes(func() {
				f.Owner, f.OwnerKind = &directory.Owner{Kind: "user", ID: one("alice", "bob", "carol")}, "user"
			})
		}
		var want []string
		for _, m := range all {
			if m.matches(f) {
				want = append(want, m.Number.Number)
			}
		}
		var got []string
		f.Limit = 1 + random.IntN(150)
		for {
			numbers, next, err := d.Numbers(t.Context(), "default", f)
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			got = append(got, ids(numbers, func(n directory.Number) string { return n.Number })...)
			if f.Cursor = next; next == "" {
				break
			}
		}
		if f.Query == "" && f.Suffix == "" && f.Prefix == "" && f.AreaCode == "" && !slices.IsSorted(got) {
			t.Errorf("%+v: not in order: %v", f, got)
		}
		slices.Sort(got)
		slices.Sort(want)
		found += len(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%+v %+v: got %v, want %v", f, f.Owner, got, want)
		}
	}
	if found < 1000 {
		t.Errorf("only %d numbers were looked for: this proves nothing", found)
	}
}

func TestNumberSearchAgrees(t *testing.T) { onBoth(t, searchesAgree) }

// A database whose text sorts as people do finds the same.
func TestNumberSearchInOtherCollations(t *testing.T) {
	newPostgres(t) // the server
	server := must(postgres())(t)
	admin := must(sql.Open("pgx", server.DSN("postgres")))(t)
	defer admin.Close()
	must(admin.ExecContext(t.Context(), "CREATE DATABASE collated TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"))(t)
	d := must(directory.Open(t.Context(), directory.Config{DSN: server.DSN("collated")}, t.TempDir()))(t)
	defer d.Close()
	searchesAgree(t, d)
}

func TestNumbersAsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		const us, toll, uk = "+14155550101", "+18005550199", "+442071838750"
		for q, want := range map[string]string{
			"+14155550101": us, "+1 (415) 555-0101": us, "1-415-555-0101": us, "415.555.0101": us, "415/555-0101": us, "tel:+1-415-555-0101;ext=12": us,
			"tel:415-555-0101": us, "sip:+14155550101@example.com;user=phone": us, "00 1 415 555 0101": us, "011 1 415 555 0101": us, "＋１４１５５５５０１０１": us,
			"٤١٥ ٥٥٥ ٠١٠١": us, "415–555–0101": us, "1 800 555 0199": toll, "1-800-LJJ-019w": toll, "+44 (0)20 7183 8750": uk, "+44 20 7183 8750": uk, "020 7183 8750": uk,
			"00442071838750": uk, "011 44 20 7183 8750": uk, "2071838750": uk, "8750": uk, "+442": uk, "207": uk, "44": uk,
		} {
			numbers, _, err := d.Numbers(t.Context(), "default", directory.NumberFilter{Query: q})
			got := ids(numbers, func(n directory.Number) string { return n.Number })
			if err != nil || !slices.Equal(got, strings.Fields(want)) {
				t.Errorf("q %s: got %v, %v; want %s", q, got, err, want)
			}
		}
		for name, c := range map[string]struct {
			filter directory.NumberFilter
			want   []string
		}{
			"area code":                  {directory.NumberFilter{AreaCode: "(800)"}, []string{toll}},
			"area code with trunk":       {directory.NumberFilter{AreaCode: "1-800"}, []string{toll}},
			"short area code":            {directory.NumberFilter{AreaCode: "20"}, []string{uk}},
			"area code and prefix":       {directory.NumberFilter{AreaCode: "20", Prefix: "718"}, []string{uk}},
			"prefix":                     {directory.NumberFilter{Prefix: "183"}, []string{uk}},
			"prefix is not an area code": {directory.NumberFilter{Prefix: "207"}, []string{}},
			"long prefix":                {directory.NumberFilter{Prefix: "1 (800) 555"}, []string{toll}},
			"prefix with country":        {directory.NumberFilter{Prefix: "+44 20"}, []string{uk}},
			"suffix":                     {directory.NumberFilter{Suffix: "50"}, []string{uk}},
			"office":                     {directory.NumberFilter{Office: "hq", Suffix: "0"}, []string{"+14155550100", "+14155550110", "+14155550120"}},
			"office and suffix":          {directory.NumberFilter{Office: "hq", Suffix: "0110"}, []string{"+14155550110"}},
			"of departments":             {directory.NumberFilter{OwnerKind: "department"}, []string{toll}},
		} {
			numbers, _, err := d.Numbers(t.Context(), "default", c.filter)
			if got := ids(numbers, func(n directory.Number) string { return n.Number }); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
			}
		}
		for field, f := range map[string]directory.NumberFilter{
			"q": {Query: "alice"}, "area_code": {AreaCode: "+1"}, "prefix": {Prefix: "x"}, "suffix": {Suffix: "%"}, "status": {Status: "user", OwnerKind: "office"},
			"owner_kind": {OwnerKind: "pool"}, "type": {Type: "mobile"}, "cursor": {Page: directory.Page{Cursor: "WyI5IiwiIiwiIl0"}},
		} {
			_, _, err := d.Numbers(t.Context(), "default", f)
			wantField(t, err, directory.ErrInvalid, field)
		}
		// One number, in the path of a URL.
		for _, v := range []string{" 14155550101", "00 1 415 555 0101", "01114155550101", "tel:+1-415-555-0101"} {
			if n, err := d.Number(t.Context(), "default", v); err != nil || n.Number != us {
				t.Errorf("%s: %v %v", v, n.Number, err)
			}
		}
		// The office follows the owner.
		office := ""
		must(d.UpdateUser(t.Context(), "default", "alice", directory.UserChange{Office: &office}))(t)
		if numbers, _, err := d.Numbers(t.Context(), "default", directory.NumberFilter{Office: "hq", Suffix: "5550101"}); err != nil || len(numbers) != 0 {
			t.Errorf("after the move: %v %v", numbers, err)
		}
	})
}

// What was stored before there were histories has one from then on.
func TestNumbersOfOldDirectories(t *testing.T) {
	for name, c := range map[string]struct {
		driver  string
		dialect goose.Dialect
		dsn     func(t *testing.T) string
	}{
		"sqlite":   {"sqlite", goose.DialectSQLite3, func(t *testing.T) string { return filepath.Join(t.TempDir(), "old.db") }},
		"postgres": {"pgx", goose.DialectPostgres, newPostgres},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := c.dsn(t)
			old := must(sql.Open(c.driver, dsn))(t)
			steps := must(goose.NewProvider(c.dialect, old, os.DirFS("migrations"), goose.WithLogger(goose.NopLogger())))(t)
			must(steps.UpTo(t.Context(), 4))(t)
			at := time.Date(2025, 5, 5, 5, 5, 5, 0, time.UTC)
			for _, q := range []string{
				"INSERT INTO company (id, name, created_us) VALUES ('default', 'Acme', 1)",
				"INSERT INTO place (company, kind, id, name, created_us) VALUES ('default', 'office', 'hq', 'HQ', 1)",
				"INSERT INTO users (company, id, name, state, office_id, search, created_us, updated_us) VALUES ('default', 'alice', 'Alice', 'active', 'hq', 'alice', 1, 1)",
				fmt.Sprintf(`INSERT INTO number (company, number, national, type, region, area_code, prefix, status, owner_kind, owner_id, created_us, updated_us) VALUES
					('default', '+14155550101', '4155550101', 'local', 'US', '415', '555', 'user', 'user', 'alice', 1, %d),
					('default', '+290223', '90223', 'local', 'SH', '902', '23', 'available', '', '', 1, %d)`, at.UnixMicro(), at.UnixMicro()),
			} {
				must(old.ExecContext(t.Context(), q))(t)
			}
			old.Close()
			d := must(directory.Open(t.Context(), directory.Config{DSN: dsn}, ""))(t)
			defer d.Close()
			for suffix, want := range map[string]string{"0101": "+14155550101", "0223": "+290223"} {
				numbers, _, err := d.Numbers(t.Context(), "default", directory.NumberFilter{Suffix: suffix})
				if err != nil || len(numbers) != 1 || numbers[0].Number != want {
					t.Errorf("suffix %s: %v %v", suffix, numbers, err)
				}
			}
			if numbers, _, err := d.Numbers(t.Context(), "default", directory.NumberFilter{Office: "hq"}); err != nil || len(numbers) != 1 {
				t.Errorf("office: %v %v", numbers, err)
			}
			a := must(d.NumberAt(t.Context(), "default", "+14155550101", at))(t)
			if a.Owner == nil || a.Owner.ID != "alice" || !a.From.Equal(at) || !a.Until.IsZero() {
				t.Errorf("history: %+v", a)
			}
			if _, err := d.NumberAt(t.Context(), "default", "+14155550101", at.Add(-1*time.Microsecond)); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("before anything is known: %v", err)
			}
		})
	}
}
