// Package directory measures how soon the directory answers when it is large:
// lookups, searches and transfers among a million users and three million
// numbers, on SQLite and on PostgreSQL.
package directory

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/postgrestest"
)

var (
	users    = flag.Int("users", 1_000_000, "users of the company")
	numbers  = flag.Int("numbers", 3_000_000, "its numbers; at least twice the users")
	asked    = flag.Int("asked", 1000, "how often each question is asked")
	only     = flag.String("only", "", "sqlite or postgres alone")
	matching = flag.String("questions", "", "a regular expression of the questions that are asked; empty: all, and transfers")
)

const company = directory.DefaultCompany

// BenchmarkDirectory fills RESULT.md.
func BenchmarkDirectory(b *testing.B) {
	for range b.N {
		var columns []*result
		for _, engine := range []string{"sqlite", "postgres"} {
			if *only == "" || *only == engine {
				columns = append(columns, measure(b, engine))
			}
		}
		body := table(columns)
		fmt.Println(body) // b.Log cuts it
		if *only == "" && *matching == "" {
			require.NoError(b, benchmarks.Write("RESULT.md", "Lookups in a large directory", "make bench", body))
		}
	}
}

// question is one thing that is asked, with another value each time.
type question struct {
	name string
	ask  func(ctx context.Context) (items int, err error)
}

// answer is how soon a question was answered.
type answer struct {
	p50, p99, longest time.Duration
	items             float64 // in an answer, on average
}

type result struct {
	engine, version string
	answers         map[string]answer
	order           []string
	filled          time.Duration // with records and indexes
	bytes           int64         // of the database
	journal         journal
	load            string
}

// journal is what a transfer adds to it.
type journal struct{ entries, bytes float64 }

func measure(b *testing.B, engine string) *result {
	ctx := b.Context()
	dsn := filepath.Join(b.TempDir(), "directory.db")
	driver, raw := "sqlite", dsn
	if engine == "postgres" {
		server, err := postgrestest.Start()
		require.NoError(b, err)
		defer server.Stop()
		dsn = server.NewDatabase(b)
		driver, raw = "pgx", dsn
	}
	d, err := directory.Open(ctx, directory.Config{DSN: dsn}, b.TempDir())
	require.NoError(b, err)
	_, err = d.CreateCompany(ctx, directory.Company{ID: company, Name: "Large"})
	require.NoError(b, err)
	require.NoError(b, d.Close())
	db, err := sql.Open(driver, raw)
	require.NoError(b, err)
	defer db.Close()

	began := time.Now()
	fill(b, db, engine)
	settle(b, db, engine)
	b.Logf("%s: stored after %v", engine, time.Since(began).Round(time.Second))
	// The words of users are indexed by the program when it opens a directory
	// whose index is behind.
	_, err = db.ExecContext(ctx, "UPDATE user_search SET version = 0")
	require.NoError(b, err)
	d, err = directory.Open(ctx, directory.Config{DSN: dsn}, b.TempDir())
	require.NoError(b, err)
	defer d.Close()
	r := &result{engine: engine, answers: map[string]answer{}}
	settle(b, db, engine)
	r.filled = time.Since(began)
	b.Logf("%s: filled in %v", engine, r.filled.Round(time.Second))
	r.version, r.bytes = about(b, db, engine)

	wanted, err := regexp.Compile(*matching)
	require.NoError(b, err)
	for _, q := range questions(b, d, db) {
		if !wanted.MatchString(q.name) {
			continue
		}
		r.order = append(r.order, q.name)
		r.answers[q.name] = ask(b, q)
	}
	if *matching == "" {
		transfers(b, d, db, r)
	}
	load, err := os.ReadFile("/proc/loadavg")
	require.NoError(b, err)
	r.load, _, _ = strings.Cut(string(load), " ")
	return r
}

// settle does what autovacuum does after a while.
func settle(b *testing.B, db *sql.DB, engine string) {
	if engine == "postgres" {
		_, err := db.ExecContext(b.Context(), "VACUUM ANALYZE")
		require.NoError(b, err)
	}
}

// ask asks a question often, one time after the other.
func ask(b *testing.B, q question) answer {
	times := make([]time.Duration, 0, *asked)
	items := 0
	for i := range *asked + 50 { // the first fill caches and prepare statements
		began := time.Now()
		n, err := q.ask(b.Context())
		took := time.Since(began)
		require.NoError(b, err, q.name)
		if i >= 50 {
			times = append(times, took)
			items += n
		}
	}
	return answerOf(times, items)
}

func answerOf(times []time.Duration, items int) answer {
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[min(int(q*float64(len(times))), len(times)-1)] }
	return answer{p50: at(0.5), p99: at(0.99), longest: times[len(times)-1], items: float64(items) / float64(len(times))}
}

// questions is what is asked, each time about another record.
func questions(b *testing.B, d *directory.Directory, db *sql.DB) []question {
	random := rand.New(rand.NewPCG(1, 2))
	userID := func() string { return fmt.Sprintf("u%d", random.IntN(*users)) }
	// Some of what fill makes is not read as a number by all plans.
	valid := func(n int) string {
		for {
			number := numberOf(random.IntN(n))
			if _, err := directory.ParseNumber(number, "US"); err == nil {
				return number
			}
		}
	}
	number := func() string { return valid(*numbers) }
	search := func(f func() directory.NumberFilter) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			found, _, err := d.Numbers(ctx, company, f())
			return len(found), err
		}
	}
	people := func(f func() directory.UserFilter) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			found, _, err := d.Users(ctx, company, f())
			return len(found), err
		}
	}
	one := func(_ any, err error) (int, error) { return 1, err }
	someone := func() (first, last string) {
		return firstNames[random.IntN(len(firstNames))], lastName(random.IntN(lastNames))
	}
	return []question{
		{"a raw row by primary key, without the program", func(ctx context.Context) (int, error) {
			var name string
			return one(nil, db.QueryRowContext(ctx, "SELECT name FROM users WHERE company = $1 AND id = $2", company, userID()).Scan(&name))
		}},
		{"user by id", func(ctx context.Context) (int, error) { return one(d.User(ctx, company, userID())) }},
		{"user by number", func(ctx context.Context) (int, error) {
			n, err := d.Number(ctx, company, valid(*users))
			if err != nil {
				return 0, err
			}
			return one(d.User(ctx, company, n.Owner.ID))
		}},
		{"users: full name", people(func() directory.UserFilter {
			first, last := someone()
			return directory.UserFilter{Query: first + " " + last}
		})},
		{"users: beginning of a last name", people(func() directory.UserFilter {
			_, last := someone()
			return directory.UserFilter{Query: last[:4]}
		})},
		{"users: first name, one office", people(func() directory.UserFilter {
			first, _ := someone()
			return directory.UserFilter{Query: first, Office: fmt.Sprintf("p%d", random.IntN(offices))}
		})},
		{"users: email address", people(func() directory.UserFilter {
			i := random.IntN(*users)
			return directory.UserFilter{Query: emailOf(i)}
		})},
		{"users: number", people(func() directory.UserFilter { return directory.UserFilter{Query: valid(*users)} })},
		{"users: a page of all", people(func() directory.UserFilter { return directory.UserFilter{} })},
		{"number by E.164", func(ctx context.Context) (int, error) { return one(d.Number(ctx, company, number())) }},
		{"who had a number at a time", func(ctx context.Context) (int, error) {
			return one(d.NumberAt(ctx, company, number(), time.Now()))
		}},
		{"numbers: q, full number", search(func() directory.NumberFilter { return directory.NumberFilter{Query: number()} })},
		{"numbers: q, national", search(func() directory.NumberFilter {
			n := number()
			return directory.NumberFilter{Query: "(" + n[2:5] + ") " + n[5:8] + "-" + n[8:]}
		})},
		{"numbers: q, 3 digits", search(func() directory.NumberFilter { return directory.NumberFilter{Query: number()[5:8]} })},
		{"numbers: q, 4 digits", search(func() directory.NumberFilter { return directory.NumberFilter{Query: number()[8:]} })},
		{"numbers: area code", search(func() directory.NumberFilter { return directory.NumberFilter{AreaCode: number()[2:5]} })},
		{"numbers: area code, available", search(func() directory.NumberFilter {
			return directory.NumberFilter{AreaCode: number()[2:5], Status: directory.StatusAvailable}
		})},
		{"numbers: area code and prefix", search(func() directory.NumberFilter {
			n := number()
			return directory.NumberFilter{AreaCode: n[2:5], Prefix: n[5:8]}
		})},
		{"numbers: prefix", search(func() directory.NumberFilter { return directory.NumberFilter{Prefix: number()[5:8]} })},
		{"numbers: suffix of 4", search(func() directory.NumberFilter { return directory.NumberFilter{Suffix: number()[8:]} })},
		{"numbers: suffix of 2", search(func() directory.NumberFilter { return directory.NumberFilter{Suffix: number()[10:]} })},
		{"numbers: suffix of 2, toll-free, being ported", search(func() directory.NumberFilter {
			return directory.NumberFilter{Suffix: number()[10:], Type: directory.TypeTollFree, Status: directory.StatusPortPending}
		})},
		{"numbers: suffix of 4, one office", search(func() directory.NumberFilter {
			return directory.NumberFilter{Suffix: number()[8:], Office: fmt.Sprintf("p%d", random.IntN(offices))}
		})},
		{"numbers: suffix of 2, one office", search(func() directory.NumberFilter {
			return directory.NumberFilter{Suffix: number()[10:], Office: fmt.Sprintf("p%d", random.IntN(offices))}
		})},
		{"numbers: area code, all offices in one", search(func() directory.NumberFilter {
			return directory.NumberFilter{AreaCode: number()[2:5], Office: "large"}
		})},
		{"numbers: of a user", search(func() directory.NumberFilter {
			return directory.NumberFilter{Owner: &directory.Owner{Kind: directory.KindUser, ID: userID()}}
		})},
		{"numbers: a page of the available, from anywhere", pages(d, directory.NumberFilter{Status: directory.StatusAvailable})},
		{"numbers: a page of one area code, from anywhere", pages(d, directory.NumberFilter{AreaCode: areaCodes()[0]})},
	}
}

// pages walks a list by its cursors.
func pages(d *directory.Directory, f directory.NumberFilter) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		found, next, err := d.Numbers(ctx, company, f)
		f.Cursor = next
		return len(found), err
	}
}

// transfers measures transfers, and what they leave in the journal.
func transfers(b *testing.B, d *directory.Directory, db *sql.DB, r *result) {
	random := rand.New(rand.NewPCG(3, 4))
	const name = "transfer between users"
	entries, bytes := journalSize(b, db)
	var times []time.Duration
	done := 0
	for range *asked {
		// The first numbers of half the users, who have two.
		n := numberOf(random.IntN(*users / 2))
		if _, err := directory.ParseNumber(n, "US"); err != nil {
			continue
		}
		to := directory.Owner{Kind: directory.KindUser, ID: fmt.Sprintf("u%d", random.IntN(*users))}
		began := time.Now()
		_, err := d.TransferNumber(b.Context(), company, n, to, "moved desks")
		took := time.Since(began)
		if errors.Is(err, directory.ErrConflict) {
			continue // its owner has no other any more
		}
		require.NoError(b, err)
		times = append(times, took)
		done++
	}
	r.order = append(r.order, name)
	r.answers[name] = answerOf(times, done)
	more, larger := journalSize(b, db)
	r.journal = journal{float64(more-entries) / float64(done), float64(larger-bytes) / float64(done)}
}

func journalSize(b *testing.B, db *sql.DB) (entries, bytes int64) {
	err := db.QueryRowContext(b.Context(), `SELECT COUNT(*), COALESCE(SUM(length(company) + length(actor_kind) + length(actor_id) + length(actor_name) + length(proxy_session)
		+ length(action) + length(subject_kind) + length(subject_id) + length(user_id) + length(text) + length(fields) + 24), 0) FROM journal`).Scan(&entries, &bytes)
	require.NoError(b, err)
	return entries, bytes
}

func about(b *testing.B, db *sql.DB, engine string) (version string, bytes int64) {
	ask := map[string]string{
		"sqlite":   "SELECT 'SQLite ' || sqlite_version(), page_count * page_size FROM pragma_page_count(), pragma_page_size()",
		"postgres": "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1), pg_database_size(current_database())",
	}[engine]
	require.NoError(b, db.QueryRowContext(b.Context(), ask).Scan(&version, &bytes))
	return version, bytes
}

func table(columns []*result) string {
	var t strings.Builder
	fmt.Fprintf(&t, "One company of %d users and %d numbers. Each question is asked %d times, one after the other, each time about another record; pages are of 100.\n\n", *users, *numbers, *asked)
	t.WriteString("|")
	for _, c := range columns {
		fmt.Fprintf(&t, " | %s p50, ms | p99, ms | longest", c.version)
	}
	t.WriteString(" | items |\n|---|" + strings.Repeat("---|---|---|", len(columns)) + "---|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }
	for _, name := range columns[0].order {
		t.WriteString("| " + name)
		for _, c := range columns {
			a := c.answers[name]
			fmt.Fprintf(&t, " | %s | **%s** | %s", ms(a.p50), ms(a.p99), ms(a.longest))
		}
		fmt.Fprintf(&t, " | %.1f |\n", columns[0].answers[name].items)
	}
	t.WriteString("\n")
	for _, c := range columns {
		fmt.Fprintf(&t, "- %s: %.1f GiB; filled and indexed in %.0f s; a transfer adds %.1f entries to the journal, %.0f bytes of text; load average %s at the end.\n",
			c.version, float64(c.bytes)/(1<<30), c.filled.Seconds(), c.journal.entries, c.journal.bytes, c.load)
	}
	t.WriteString(`
The first row is the ceiling: what the engine and its driver take for the smallest question there is. SQLite waits for the disk at each transfer; this PostgreSQL does not
(it is the one of the tests, with fsync off), so that its transfers show the work and not the disk. Where the load average is above the number of cores, the times are
also those of a queue for the processor: the first row shows by how much.
`)
	return t.String()
}
