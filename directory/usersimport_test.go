package directory_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/earshot/earshot/directory"
)

func importText(t *testing.T, d *directory.Directory, text string) {
	t.Helper()
	f := must(directory.ParseUsers(strings.NewReader(text)))(t)
	if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
}

// importErrors gives what is wrong as line:column.
func importErrors(t *testing.T, d *directory.Directory, text string, o directory.ImportOptions) []string {
	t.Helper()
	f := must(directory.ParseUsers(strings.NewReader(text)))(t)
	err := d.ImportUsers(t.Context(), "default", f, o)
	var all *directory.ImportErrors
	if err == nil || !errors.As(err, &all) {
		if err != nil {
			t.Fatal(err)
		}
		return nil
	}
	var out []string
	for _, e := range all.Errors {
		out = append(out, fmt.Sprintf("%d:%s", e.Line, e.Column))
		if e.Message == "" {
			t.Errorf("%v has no words", e)
		}
	}
	return out
}

func TestImportUsers(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := t.Context()
		text := "\xef\xbb\xbfName;Email;ID;State;Office;Departments;Contact Centers;Numbers;AORs;Voicemail Greeting;created_at\r\n" +
			"Anna Ek;ANNA@example.com;anna;invited;;\"sales;sales\";Help line;\"(415) 555-0130; +14155550141\";sip:anna@example.com;\"Hello,\r\n\"\"you\"\"\";yesterday\r\n" +
			"\r\n" +
			";;;;;;;;;;\r\n" +
			"'=1+1;;;;Headquarters;;;;;;\r\n" +
			"Gone;anna@example.com;gone;deleted;;;;;;;\r\n"
		f := must(directory.ParseUsers(strings.NewReader(text)))(t)
		var told []directory.ImportProgress
		if err := d.ImportUsers(ctx, "default", f, directory.ImportOptions{Office: "hq", DryRun: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.User(ctx, "default", "anna"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("a dry run stored something: %v", err)
		}
		err := d.ImportUsers(ctx, "default", f, directory.ImportOptions{Office: "hq", Progress: func(p directory.ImportProgress) { told = append(told, p) }})
		if err != nil {
			t.Fatal(err)
		}
		if len(told) == 0 || told[len(told)-1] != (directory.ImportProgress{Checked: 3, Stored: 3, Total: 3}) {
			t.Errorf("progress: %+v", told)
		}
		u := must(d.User(ctx, "default", "anna"))(t)
		if u.Name != "Anna Ek" || u.Email != "anna@example.com" || u.State != "invited" || u.Office != "hq" || u.VoicemailGreeting != "Hello,\n\"you\"" ||
			!slices.Equal(u.Departments, []string{"sales"}) || !slices.Equal(u.ContactCenters, []string{"help"}) || !slices.Equal(u.AORs, []string{"anna@example.com"}) ||
			!slices.Equal(slices.Sorted(slices.Values(u.Numbers)), []string{"+14155550130", "+14155550141"}) {
			t.Errorf("%+v", u)
		}
		formula := allUsers(t, d, directory.UserFilter{Query: "1", Office: "hq"})
		if i := slices.IndexFunc(formula, func(u directory.User) bool { return u.Name == "=1+1" }); i < 0 || formula[i].ID == "" {
			t.Errorf("%+v", formula)
		}
		if a := must(d.NumberAt(ctx, "default", "+14155550130", u.CreatedAt.Add(1e9)))(t); a.Owner == nil || a.Owner.ID != "anna" {
			t.Errorf("the history of a number that was available: %+v", a)
		}
		// Again: all of it is there.
		if got := importErrors(t, d, text, directory.ImportOptions{Office: "hq"}); !slices.Equal(got, []string{"2:id", "2:email", "2:aors", "2:numbers", "2:numbers", "7:id"}) {
			t.Errorf("a second time: %v", got)
		}
		err = d.ImportUsers(ctx, "default", f, directory.ImportOptions{Office: "nowhere"})
		wantField(t, err, directory.ErrInvalid, "office")
		if err := d.ImportUsers(ctx, "nowhere", f, directory.ImportOptions{}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("no such company: %v", err)
		}
	})
}

func TestImportNamesWhatIsWrong(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		must(d.CreatePlace(t.Context(), "default", directory.Place{Kind: "department", ID: "sales2", Name: "sales"}))(t)
		row := "name,email,id,office,departments,contact_centers,numbers,aors,state,voicemail_greeting\n"
		for name, c := range map[string]struct {
			text string
			want []string
		}{
			"empty":                {"", []string{"1:"}},
			"only a mark":          {"\xef\xbb\xbf", []string{"1:"}},
			"UTF-16 LE":            {"\xff\xfen\x00a\x00m\x00e\x00", []string{"1:"}},
			"UTF-16 BE":            {"\xfe\xff\x00n\x00a\x00m\x00e", []string{"1:"}},
			"UTF-16 without mark":  {"n\x00a\x00m\x00e\x00", []string{"1:"}},
			"Latin-1":              {"name,email\nA,a@example.com\nJ\xf6rg,j@example.com\n", []string{"3:name"}},
			"Latin-1 header":       {"name,b\xfcro\nA,b\n", []string{"1:"}},
			"CR alone":             {"name,email\rA,a@example.com\r", []string{"1:"}},
			"no name":              {"email,id\na@example.com,a\n", []string{"1:name"}},
			"unknown columns":      {"name,e-mail,depratments\n", []string{"1:", "1:"}},
			"column twice":         {"name,email,Email\n", []string{"1:email"}},
			"header of many lines": {"\n\nname,wrong\nA,b\n", []string{"3:"}},
			"too many cells":       {"name\nA\nB,b\n", []string{"3:"}},
			"too few cells":        {"name,email\nA\n", nil},
			"ends in delimiters":   {"name,email,\nA,,\n", nil},
			"bare quote":           {"name,email\nA \"B\" C,\nD,\n\"E\"x,\nF,not an address\n", []string{"2:", "4:", "5:email"}},
			"open quote":           {"name,email\nA,\n\"B,\nC,\nD,\n", []string{"3:"}},
			"lines of quoted rows": {row + "\"A\nB\",\n\"C\",nope,,\"\",\n" + ",x@example.com\n", []string{"2:name", "4:email", "5:name"}},
			"tabs":                 {"name\temail\nA, B\tnope\n", []string{"2:email"}},
			"long row":             {"name,voicemail_greeting\nA," + strings.Repeat("x", 70_000) + "\nB,\n", []string{"2:"}},
			"long greeting":        {"name,voicemail_greeting\nA," + strings.Repeat("x", 4001) + "\n", []string{"2:voicemail_greeting"}},
			"long name":            {"name\n" + strings.Repeat("x", 201) + "\n", []string{"2:name"}},
			"many values":          {"name,aors\nA," + strings.Repeat("a;", 51) + "\n", []string{"2:aors"}},
			"control character":    {"name\nA\x00B\nC\x1bD\n", []string{"2:name", "3:name"}},
			"values": {row + "A,a@,,,,,,,,\nA,,a b,,,,,,,\nA,,,nowhere,,,,,,\nA,,,,nope;help,,,,,\nA,,,,,sales,,,,\nA,,,,,,911;+1415555,,,\nA,,,,,,,sip:@x,,\nA,,,,,,,,gone,\nA,,,,,,+14155550188,,deleted,\n",
				[]string{"2:email", "3:id", "4:office", "5:departments", "5:departments", "6:contact_centers", "7:numbers", "7:numbers", "8:aors", "9:state", "10:numbers"}},
			"two of a name": {row + "A,,,,Sales,,,,,\nB,,,,sales2,,,,,\n", []string{"2:departments"}},
			"in the file":   {row + "A,a@example.org,a,,,,+14155550177,a@x,,\nB,A@example.org,a,,,,(415) 555-0177,sip:a@x,,\n", []string{"3:id", "3:email", "3:aors", "3:numbers"}},
			"number twice":  {row + "A,,,,,,+14155550177;4155550177,,,\n", []string{"2:numbers"}},
			"in the directory": {row + "A,alice@example.com,bob,,,,+14155550101;+14155550100;+14155550131,1001,,\n",
				[]string{"2:id", "2:email", "2:aors", "2:numbers", "2:numbers", "2:numbers"}},
		} {
			text := c.text
			dry := importErrors(t, d, text, directory.ImportOptions{DryRun: true})
			if !slices.Equal(dry, c.want) {
				t.Errorf("%s: got %q, want %q", name, dry, c.want)
			}
			if c.want != nil && !slices.Equal(importErrors(t, d, text, directory.ImportOptions{}), c.want) {
				t.Errorf("%s: an import says something else than its dry run", name)
			}
		}
		if n := len(allUsers(t, d, directory.UserFilter{})); n != 3 {
			t.Errorf("%d users: refused files left some", n)
		}
		var many strings.Builder
		many.WriteString("name,email\n")
		for range 1500 {
			many.WriteString("A,nope\n")
		}
		f := must(directory.ParseUsers(strings.NewReader(many.String())))(t)
		var all *directory.ImportErrors
		if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); !errors.As(err, &all) || all.Total != 1500 || len(all.Errors) != 1000 || !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("many errors: %v", err)
		}
		for line, want := range map[string]string{"A,\n": "more than 200000 users", "\n": "bigger than 64 MiB"} {
			f = must(directory.ParseUsers(io.MultiReader(strings.NewReader("name,email\n"), &endless{text: line})))(t)
			if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
				t.Errorf("a file without an end: %v", err)
			}
		}
		if _, err := directory.ParseUsers(io.MultiReader(strings.NewReader("name\nA\n"), broken{})); err == nil {
			t.Error("a file that breaks off is taken")
		}
	})
}

type endless struct {
	text string
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[e.n%len(e.text)]
		e.n++
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// The nearest column is the one that was meant.
func TestImportHeaderHelps(t *testing.T) {
	d := must(directory.Open(t.Context(), directory.Config{}, t.TempDir()))(t)
	defer d.Close()
	for header, want := range map[string]string{"name,mail": `"email"`, "name,Depratments": `"departments"`, "name,number": `"numbers"`, "name,contact center": `"contact_centers"`} {
		f := must(directory.ParseUsers(strings.NewReader(header + "\n")))(t)
		if _, err := d.CreateCompany(t.Context(), directory.Company{ID: "default", Name: "D"}); err != nil && !errors.Is(err, directory.ErrConflict) {
			t.Fatal(err)
		}
		if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// manyUsers is a file of n users with a number and an address each.
func manyUsers(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriter(w)
		fmt.Fprint(b, "name,email,numbers,aors\n")
		for i := range n {
			fmt.Fprintf(b, "First%d Last%d,user%d@example.com,+1%d%07d,user%d@pbx.example.com\n", i%977, i%1511, i, []int{415, 650}[i/5_000_000], 2_000_000+i%5_000_000, i)
		}
		b.Flush()
		w.Close()
	}()
	return r
}

const importBy = "EARSHOT_TEST_IMPORT"

// TestImportChild is no test: the next one runs it as a program of its own.
func TestImportChild(t *testing.T) {
	dsn, set := os.LookupEnv(importBy)
	if !set {
		t.Skip("is run by TestImportKilled")
	}
	d := must(directory.Connect(t.Context(), directory.Config{DSN: dsn}, ""))(t)
	defer d.Close()
	f := must(directory.ParseUsers(manyUsers(100_000)))(t)
	err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{Progress: func(p directory.ImportProgress) { fmt.Println("stored", p.Stored) }})
	fmt.Println("done", err)
}

// An import that is killed between its rows, or whose client goes away, leaves nothing.
func TestImportKilled(t *testing.T) {
	for name, dsn := range map[string]func(t *testing.T) string{"sqlite": func(t *testing.T) string { return filepath.Join(t.TempDir(), "directory.db") }, "postgres": newPostgres} {
		t.Run(name, func(t *testing.T) {
			dsn := dsn(t)
			d := must(directory.Open(t.Context(), directory.Config{DSN: dsn}, ""))(t)
			defer d.Close()
			must(d.CreateCompany(t.Context(), directory.Company{ID: "default", Name: "D"}))(t)
			cmd := exec.Command(os.Args[0], "-test.run=^TestImportChild$", "-test.v")
			cmd.Env = append(os.Environ(), importBy+"="+dsn)
			out := must(cmd.StdoutPipe())(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			killed := false
			for lines.Scan() {
				if n, ok := strings.CutPrefix(lines.Text(), "stored "); ok && must(strconv.Atoi(n))(t) >= 20_000 {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
					killed = true
					break
				}
			}
			_ = cmd.Wait()
			if !killed {
				t.Fatal("the import ended before it was killed")
			}
			wantNothing(t, dsn)

			ctx, cancel := context.WithCancel(t.Context())
			f := must(directory.ParseUsers(manyUsers(5000)))(t)
			err := d.ImportUsers(ctx, "default", f, directory.ImportOptions{Progress: func(p directory.ImportProgress) {
				if p.Stored >= 2000 {
					cancel()
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			wantNothing(t, dsn)
			if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if c := must(d.Counts(t.Context(), "default"))(t); c.Users != 5000 || c.Numbers != 5000 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// wantNothing looks at the tables themselves.
func wantNothing(t *testing.T, dsn string) {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(dsn, "postgres") {
		driver = "pgx"
	}
	db := must(sql.Open(driver, dsn))(t)
	defer db.Close()
	for _, table := range []string{"users", "user_token", "aor", "membership", "number", "number_history", "journal WHERE action = 'user.create'"} {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil || n > 0 {
			t.Errorf("%s: %d rows are left, %v", table, n, err)
		}
	}
}

// Many users, each with a number and a SIP address: more than fit in any one statement.
func TestImportOfMany(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		f := must(directory.ParseUsers(manyUsers(10_000)))(t)
		if err := d.ImportUsers(t.Context(), "default", f, directory.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
		if c := must(d.Counts(t.Context(), "default"))(t); c.Users != 10_000 || c.Numbers != 10_000 {
			t.Errorf("%+v", c)
		}
		users := allUsers(t, d, directory.UserFilter{Query: "first976 last4"})
		for _, u := range users {
			if !strings.HasPrefix(u.Name, "First976 Last4") || len(u.Numbers) != 1 || len(u.AORs) != 1 {
				t.Errorf("%+v", u)
			}
		}
		if len(users) == 0 {
			t.Error("none is found")
		}
	})
}

// Whatever bytes come, the parser ends, names lines that the file has, and takes
// only what can be stored.
func FuzzParseUsers(f *testing.F) {
	for _, s := range []string{
		"name,email\nA,a@example.com\n", "\xef\xbb\xbfname;numbers\r\n\"A\r\nB\";\"+1;2\"\r\n", "name\temail\n\"\"\"A\"\"\"\t\n", "\xff\xfen\x00", "name\rA\r",
		"name,aors\nA,sip:a@b;c\n", "name,\"", "name\n\xff\n", "name,email,\n,,\n'=A,,\n", "\n\n\"na\nme\"\n", "id,name,state\n.,x,deleted\n",
	} {
		f.Add([]byte(s))
	}
	d, err := directory.Open(f.Context(), directory.Config{}, f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	if _, err := d.CreateCompany(f.Context(), directory.Company{ID: "default", Name: "D"}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := directory.ParseUsers(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		err = d.ImportUsers(t.Context(), "default", file, directory.ImportOptions{DryRun: true})
		var wrong *directory.ImportErrors
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		if wrong == nil {
			// What it takes, another reader of CSV takes too.
			c := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(b), "\xef\xbb\xbf")))
			c.FieldsPerRecord, c.LazyQuotes = -1, true
			if rows, err := c.ReadAll(); err != nil || file.Total > len(rows)-1 {
				t.Fatalf("%d users of %d rows, %v", file.Total, len(rows), err)
			}
			return
		}
		for _, e := range wrong.Errors {
			if e.Line < 1 || e.Line > 1+strings.Count(string(b), "\n") {
				t.Fatalf("line %d of %d", e.Line, 1+strings.Count(string(b), "\n"))
			}
		}
	})
}
