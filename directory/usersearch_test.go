package directory_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/earshot/earshot/directory"
)

func userIDs(users []directory.User) []string {
	return ids(users, func(u directory.User) string { return u.ID })
}

// allUsers follows the cursors to the end.
func allUsers(t *testing.T, d *directory.Directory, f directory.UserFilter) []directory.User {
	t.Helper()
	var out []directory.User
	for pages := 0; ; pages++ {
		users, next, err := d.Users(t.Context(), "default", f)
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, users...); next == "" {
			return out
		}
		if f.Cursor = next; pages > 1000 {
			t.Fatal("a list without end")
		}
	}
}

func TestUserSearch(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := t.Context()
		applySeed(t, d)
		for _, u := range []directory.User{
			{ID: "obrien", Name: "Síle O’Brien-Walsh", Email: "sile.ob@mail.example.org", Office: "hq"},
			{ID: "u-000123", Name: "王小明", AORs: []string{"7001@pbx.example.net"}},
			{ID: "jsmith", Name: "John Ronald Smith", State: "invited", ContactCenters: []string{"help"}, Numbers: []string{"+442071838751"}},
			{ID: "smithj", Name: "Smith, John"},
			{ID: "johnson", Name: "JOHNSON Ann", Numbers: []string{"+18005550155", "+18005550156"}},
			{ID: "percent", Name: "100% Legal_Name"},
		} {
			must(d.CreateUser(ctx, "default", u))(t)
		}
		for query, want := range map[string][]string{
			"obrien":               {"obrien"},
			"o'brien":              {"obrien"},
			"O’BRIEN-WALSH":        {"obrien"},
			"walsh sile":           {"obrien"},
			"sile.ob@mail":         {"obrien"},
			"@mail.example.org":    {"obrien"},
			"mail.example":         {"obrien"},
			"ob":                   {"obrien"},
			"rien":                 {},
			"王":                    {"u-000123"},
			"000123":               {"u-000123"},
			"U-0001":               {"u-000123"},
			"7001":                 {"u-000123"},
			"7001@pbx":             {"u-000123"},
			"john":                 {"jsmith", "johnson", "smithj"},
			"john smith":           {"jsmith", "smithj"},
			"smith john":           {"jsmith", "smithj"},
			"smith, jo":            {"jsmith", "smithj"},
			"john smith ann":       {},
			"+44 20 7183 8751":     {"jsmith"},
			"020 7183":             {},
			"2071838":              {"bob", "jsmith"},
			"8751":                 {"jsmith"},
			"800":                  {"johnson"},
			"(800) 555":            {"johnson"},
			"+1800":                {"johnson"},
			"+800":                 {},
			"ann 555":              {},
			"ann 800":              {"johnson"},
			"%":                    {},
			"_":                    {},
			"100%":                 {"percent", "alice"},
			"legal_n":              {"percent"},
			"\\":                   {},
			"\x01state=active":     {},
			" \t ":                 userIDs(allUsers(t, d, directory.UserFilter{})),
			strings.Repeat("x", 9): {},
		} {
			got := userIDs(allUsers(t, d, directory.UserFilter{Query: query}))
			if !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("%q: got %v, want %v", query, got, want)
			}
		}
		for name, c := range map[string]struct {
			filter directory.UserFilter
			want   []string
		}{
			"contact center":    {directory.UserFilter{ContactCenter: "help"}, []string{"alice", "jsmith"}},
			"department":        {directory.UserFilter{Department: "sales"}, []string{"alice"}},
			"state and word":    {directory.UserFilter{State: "invited", Query: "john"}, []string{"jsmith"}},
			"all filters":       {directory.UserFilter{State: "active", Office: "hq", Department: "sales", ContactCenter: "help", Query: "al"}, []string{"alice"}},
			"ids and word":      {directory.UserFilter{IDs: []string{"jsmith", "alice"}, Query: "smith"}, []string{"jsmith"}},
			"a place elsewhere": {directory.UserFilter{Office: "sales"}, nil},
		} {
			if got := userIDs(allUsers(t, d, c.filter)); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
		_, _, err := d.Users(ctx, "default", directory.UserFilter{Query: strings.Repeat("ab cd ef gh ij kl ", 3) + "a b c d e f g h i j k l"})
		wantField(t, err, directory.ErrInvalid, "q")

		// What is changed is found by the new words only.
		name, office, none := "Anders Åberg", "", []string{}
		must(d.UpdateUser(ctx, "default", "alice", directory.UserChange{Name: &name, Office: &office, AORs: &none, Departments: &none}))(t)
		for query, want := range map[string]int{"amos": 0, "aberg": 1, "alice": 1 /* the id and email */, "1001": 0} {
			if got := allUsers(t, d, directory.UserFilter{Query: query}); len(got) != want {
				t.Errorf("after a change %q finds %v", query, userIDs(got))
			}
		}
		if got := allUsers(t, d, directory.UserFilter{Office: "hq"}); !slices.Equal(userIDs(got), []string{"obrien"}) {
			t.Errorf("of an office that one has left: %v", userIDs(got))
		}
	})
}

// reference is the search said in other words.
func reference(u directory.User, words []string, f directory.UserFilter) bool {
	local, host, _ := strings.Cut(u.Email, "@")
	has := append(strings.Fields(strings.ToLower(u.Name)), u.Email, host, u.ID)
	has = append(has, strings.Split(local, ".")...)
	for _, w := range words {
		begins := func(s string) bool { return strings.HasPrefix(s, w) }
		digits := func(n string) bool {
			return len(w) >= 3 && strings.Trim(w, "0123456789") == "" && (strings.HasPrefix(n, "+"+w) || strings.HasPrefix(n, "+1"+w) || strings.HasSuffix(n, w))
		}
		if !slices.ContainsFunc(has, begins) && !slices.ContainsFunc(u.Numbers, digits) {
			return false
		}
	}
	return (f.State == "" || u.State == f.State) && (f.Office == "" || u.Office == f.Office) && (f.Department == "" || slices.Contains(u.Departments, f.Department))
}

// Whatever is searched for, the pages together have each user that matches once;
// lists that are short enough, and all without words, are in order of names.
func TestUserSearchOfMany(t *testing.T) {
	few, walk := directory.SetSearchBounds(9, 20)
	t.Cleanup(func() { directory.SetSearchBounds(few, walk) })
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		defer directory.SetSearchBounds(9, 20)
		for _, p := range []directory.Place{{Kind: "office", ID: "north", Name: "N"}, {Kind: "office", ID: "south", Name: "S"}, {Kind: "department", ID: "it", Name: "IT"}} {
			must(d.CreatePlace(t.Context(), "default", p))(t)
		}
		r := rand.New(rand.NewPCG(5, 5))
		pick := func(s ...string) string { return s[r.IntN(len(s))] }
		var csv strings.Builder
		csv.WriteString("id,name,email,state,office,departments,numbers\n")
		for i := range 300 {
			first, last := pick("Ann", "Anna", "John", "Joan", "Jo", "Smith"), pick("Smith", "Smithson", "Jones", "Ann", "Johnson")
			fmt.Fprintf(&csv, "%x%d,%s %s,%s.%d@%s.example,%s,%s,%s,+1%s555%04d\n", i%7+10, i, first, last, strings.ToLower(first), i, pick("acme", "jo"),
				pick("active", "active", "active", "invited", "pending"), pick("north", "south", ""), pick("it", ""), pick("415", "650", "212"), i)
		}
		importText(t, d, csv.String())
		all := allUsers(t, d, directory.UserFilter{Page: directory.Page{Limit: 1000}})
		if len(all) != 300 || !slices.IsSortedFunc(all, func(a, b directory.User) int {
			return strings.Compare(strings.ToLower(a.Name)+a.ID, strings.ToLower(b.Name)+b.ID)
		}) {
			t.Fatalf("%d users, or out of order", len(all))
		}
		for i := range 300 {
			if i == 150 {
				directory.SetSearchBounds(few, walk) // for which all of these are few
			}
			f := directory.UserFilter{State: pick("", "", "active", "pending"), Office: pick("", "", "north"), Department: pick("", "", "it"), Page: directory.Page{Limit: r.IntN(40) + 1}}
			var words []string
			for range r.IntN(3) {
				words = append(words, pick("a", "ann", "anna", "j", "jo", "john", "smith", "smiths", "jones", "acme.ex", "415", "4155", "555", "0042", "5550", "zz", "ann.4"))
			}
			f.Query = strings.Join(words, " ")
			got := allUsers(t, d, f)
			var want []string
			for _, u := range all {
				if reference(u, words, f) {
					want = append(want, u.ID)
				}
			}
			sorted := slices.Sorted(slices.Values(userIDs(got)))
			if slices.Sort(want); !slices.Equal(sorted, want) {
				t.Errorf("%+v: got %d, want %d\n%v\n%v", f, len(sorted), len(want), sorted, want)
			}
			if len(words) == 0 && !slices.IsSortedFunc(got, func(a, b directory.User) int {
				return strings.Compare(strings.ToLower(a.Name)+a.ID, strings.ToLower(b.Name)+b.ID)
			}) {
				t.Errorf("%+v: out of order", f)
			}
		}
	})
}

// A directory that is older than the index gets it when it is opened.
func TestUserSearchIsFilledLater(t *testing.T) {
	for name, dsn := range map[string]func(t *testing.T) string{"sqlite": func(*testing.T) string { return "" }, "postgres": newPostgres} {
		t.Run(name, func(t *testing.T) {
			dir, cfg := t.TempDir(), directory.Config{DSN: dsn(t)}
			d := must(directory.Open(t.Context(), cfg, dir))(t)
			applySeed(t, d)
			d.Close()
			driver, source := "sqlite", filepath.Join(dir, "directory.db")
			if cfg.DSN != "" {
				driver, source = "pgx", cfg.DSN
			}
			db := must(sql.Open(driver, source))(t)
			for _, q := range []string{"DELETE FROM user_token", "UPDATE users SET name_key = '', search = 'alice'", "UPDATE user_search SET version = 0"} {
				must(db.Exec(q))(t)
			}
			db.Close()
			d = must(directory.Open(t.Context(), cfg, dir))(t)
			defer d.Close()
			if got := userIDs(allUsers(t, d, directory.UserFilter{Query: "amos 415", Department: "sales"})); !slices.Equal(got, []string{"alice"}) {
				t.Errorf("got %v", got)
			}
			if got := userIDs(allUsers(t, d, directory.UserFilter{})); !slices.Equal(got, []string{"alice", "bob", "eve"}) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// The order of the index is that of bytes in a database of any collation.
func TestUserSearchInAnotherCollation(t *testing.T) {
	dsn := newPostgres(t)
	at := strings.LastIndex(strings.Split(dsn, "?")[0], "/")
	name, params, _ := strings.Cut(dsn[at+1:], "?")
	name += "_danish"
	db := must(sql.Open("pgx", dsn))(t)
	_, err := db.Exec("CREATE DATABASE " + name + " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'da-DK' LOCALE 'C.UTF-8'")
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	d := must(directory.Open(t.Context(), directory.Config{DSN: dsn[:at+1] + name + "?" + params}, t.TempDir()))(t)
	defer d.Close()
	if _, _, err := d.Bootstrap(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	// Danish has aa after z, and ignores nothing.
	for i, name := range []string{"Zoe", "Aaron", "aa-bb", "Aabc", "ab", "Ærø", "AA"} {
		must(d.CreateUser(t.Context(), "default", directory.User{ID: fmt.Sprintf("u%d", i), Name: name, Numbers: []string{fmt.Sprintf("+1415555%04d", i)}}))(t)
	}
	for query, want := range map[string][]string{
		"a":       {"AA", "aa-bb", "Aabc", "Aaron", "ab"},
		"aa":      {"AA", "aa-bb", "Aabc", "Aaron"},
		"aab":     {"aa-bb", "Aabc"},
		"555":     {},
		"0003":    {"Aabc"},
		"(415) 5": {"AA", "aa-bb", "Aabc", "Aaron", "ab", "Zoe", "Ærø"},
		"":        {"AA", "aa-bb", "Aabc", "Aaron", "ab", "Zoe", "Ærø"},
	} {
		got := ids(allUsers(t, d, directory.UserFilter{Query: query, Page: directory.Page{Limit: 2}}), func(u directory.User) string { return u.Name })
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
}
