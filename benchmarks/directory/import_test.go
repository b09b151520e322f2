package directory

import (
	"bytes"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/postgrestest"
)

var imported = flag.Int("imported", 100_000, "users of the file")

// BenchmarkImport fills IMPORT.md: a file of users, each with a number, an email
// address and a SIP address, goes into a directory that holds as many already.
func BenchmarkImport(b *testing.B) {
	for range b.N {
		var columns []*importResult
		for _, engine := range []string{"sqlite", "postgres"} {
			if *only == "" || *only == engine {
				columns = append(columns, measureImport(b, engine))
			}
		}
		body := importTable(columns)
		b.Log("\n" + body)
		if *only == "" {
			require.NoError(b, benchmarks.Write("IMPORT.md", "Import of users", "make bench", body))
		}
	}
}

type importResult struct {
	version               string
	parse, dry, real, raw time.Duration
	cpu                   time.Duration // of this process, in real: SQLite runs in it
	rows                  int           // that the import added to all tables
	load                  string
}

func measureImport(b *testing.B, engine string) *importResult {
	ctx := b.Context()
	dsn, driver := filepath.Join(b.TempDir(), "directory.db"), "sqlite"
	raw := dsn + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	if engine == "postgres" {
		server, err := postgrestest.Start()
		require.NoError(b, err)
		defer server.Stop()
		dsn = server.NewDatabase(b)
		driver, raw = "pgx", dsn
	}
	d, err := directory.Open(ctx, directory.Config{DSN: dsn}, b.TempDir())
	require.NoError(b, err)
	defer d.Close()
	_, err = d.CreateCompany(ctx, directory.Company{ID: company, Name: "Large"})
	require.NoError(b, err)
	db, err := sql.Open(driver, raw)
	require.NoError(b, err)
	defer db.Close()
	run := func(f *directory.ImportFile, o directory.ImportOptions) time.Duration {
		began := time.Now()
		require.NoError(b, d.ImportUsers(ctx, company, f, o))
		return time.Since(began)
	}
	run(parseUsers(b, 0), directory.ImportOptions{})
	settle(b, db, engine)
	before := countRows(b, db)

	r := &importResult{}
	began := time.Now()
	f := parseUsers(b, *imported)
	r.parse = time.Since(began)
	r.dry = run(f, directory.ImportOptions{DryRun: true})
	cpu, err := benchmarks.CPU(os.Getpid())
	require.NoError(b, err)
	r.real = run(f, directory.ImportOptions{})
	after, err := benchmarks.CPU(os.Getpid())
	require.NoError(b, err)
	r.cpu, r.rows = after-cpu, countRows(b, db)-before
	require.Greater(b, r.rows, 6**imported)
	r.raw = rawInserts(b, db, engine, r.rows)
	r.version, _ = about(b, db, engine)
	load, err := os.ReadFile("/proc/loadavg")
	require.NoError(b, err)
	r.load, _, _ = strings.Cut(string(load), " ")
	return r
}

// parseUsers reads a file of users, the first of whom is number from.
func parseUsers(b *testing.B, from int) *directory.ImportFile {
	var text bytes.Buffer
	text.WriteString("name,email,numbers,aors\n")
	for i, written := from, 0; written < *imported; i++ {
		// Not all that looks like a number is one; no number comes twice.
		n, err := directory.ParseNumber(numberOf(2*i+from/max(*imported, 1)), "US")
		if err != nil {
			continue
		}
		written++
		fmt.Fprintf(&text, "%s %s,%s,%s,u%d@pbx.example.com\n", firstNames[i%len(firstNames)], lastName(i/len(firstNames)%lastNames), emailOf(i), n.Number, i)
	}
	f, err := directory.ParseUsers(&text)
	require.NoError(b, err)
	require.Equal(b, *imported, f.Total)
	return f
}

func countRows(b *testing.B, db *sql.DB) int {
	total := 0
	for _, table := range []string{"users", "user_token", "aor", "membership", "number", "number_history", "journal"} {
		var n int
		require.NoError(b, db.QueryRowContext(b.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
		total += n
	}
	return total
}

// rawInserts stores n rows in one transaction, in one table that has a primary
// key and no other index, by the way that the driver has for many rows.
func rawInserts(b *testing.B, db *sql.DB, engine string, n int) time.Duration {
	ctx := b.Context()
	conn, err := db.Conn(ctx)
	require.NoError(b, err)
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "CREATE TABLE raw (id BIGINT NOT NULL PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL)")
	require.NoError(b, err)
	const some = "as much text as a row has on average"
	began := time.Now()
	if engine == "postgres" {
		require.NoError(b, conn.Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"raw"}, []string{"id", "a", "b"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
				return []any{int64(i), company, some}, nil
			}))
			return err
		}))
		return time.Since(began)
	}
	tx, err := conn.BeginTx(ctx, nil)
	require.NoError(b, err)
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO raw VALUES (?, ?, ?)")
	require.NoError(b, err)
	for i := range n {
		_, err := insert.Exec(i, company, some)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
	return time.Since(began)
}

func importTable(columns []*importResult) string {
	var t strings.Builder
	fmt.Fprintf(&t, "A file of %d users, each with an email address, a SIP address and a number, into a company that has as many already.\n\n", *imported)
	line := func(name string, cell func(*importResult) string) {
		t.WriteString("| " + name)
		for _, c := range columns {
			t.WriteString(" | " + cell(c))
		}
		t.WriteString(" |\n")
	}
	took := func(n func(*importResult) int, d func(*importResult) time.Duration) func(*importResult) string {
		return func(c *importResult) string {
			return fmt.Sprintf("%.1f s, %.0f/s", d(c).Seconds(), float64(n(c))/d(c).Seconds())
		}
	}
	users := func(*importResult) int { return *imported }
	rows := func(c *importResult) int { return c.rows }
	line("", func(c *importResult) string { return c.version })
	t.WriteString("|---|" + strings.Repeat("---|", len(columns)) + "\n")
	line("reading the file, users", took(users, func(c *importResult) time.Duration { return c.parse }))
	line("dry run, users", took(users, func(c *importResult) time.Duration { return c.dry }))
	line("**import, users**", took(users, func(c *importResult) time.Duration { return c.real }))
	line("the same, rows of all tables", took(rows, func(c *importResult) time.Duration { return c.real }))
	line("as many raw rows of one table, without the program", took(rows, func(c *importResult) time.Duration { return c.raw }))
	line("rows that the import stores", func(c *importResult) string { return fmt.Sprint(c.rows) })
	line("processor time of the program in the import", func(c *importResult) string { return fmt.Sprintf("%.1f s", c.cpu.Seconds()) })
	line("load average at the end", func(c *importResult) string { return c.load })
	t.WriteString(`
An import does a dry run first, then stores all in one transaction. The raw rows are the ceiling: one transaction into a table with a primary key and no other
index, by a prepared statement on SQLite and by COPY on PostgreSQL. The tables of an import have 26 indexes, nine of them on the journal, where each user has two
entries. SQLite runs in the program, and its processor time is counted there; PostgreSQL's is not. This PostgreSQL is the one of the tests, with fsync off. Where the
load average is above the number of cores, the times are also those of a queue for the processor.
`)
	return t.String()
}
