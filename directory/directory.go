// Package directory holds the portal's own records: companies, the offices,
// departments, rooms and contact centers in them, users with their SIP
// addresses, numbers, and who may sign in. It is the OLTP side of Earshot; what
// was measured lies in ClickHouse and is asked for in package query.
//
// The same statements run on SQLite and on PostgreSQL.
package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// Config says where the records are.
type Config struct {
	DSN string `koanf:"dsn" doc:"postgres://… for PostgreSQL, or the path of a SQLite file; empty: directory.db in data" secret:"true"`
	// Changes are kept for ever: they are the history of numbers and the notes of users.
	AuditRetention int `koanf:"audit_retention" doc:"days that the audit keeps who has read what; 0: for ever"`
	// All roles must have the same.
	FeedSecret string `koanf:"feed_secret" doc:"what device credentials are sealed with on their way to ingesters, the same for all roles; empty: directory.secret in data" secret:"true"`
}

// DefaultConfig is a SQLite file in the data folder.
func DefaultConfig() Config { return Config{AuditRetention: 400} }

var (
	// ErrNotFound is returned for a record that is not there, or belongs to
	// another company: the two look the same from outside.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned where a change contradicts what is stored.
	ErrConflict = errors.New("conflict")
	// ErrInvalid is returned for input that can never be stored.
	ErrInvalid = errors.New("invalid")
)

// errUnchanged is what a change returns to write where there is nothing to store.
var errUnchanged = errors.New("nothing has changed")

// FieldError names the field a change failed on. Its text never repeats the
// value: numbers and addresses must not reach logs by way of errors.
type FieldError struct {
	Field  string // as in the JSON of the API, such as numbers[2]
	Reason string
	Kind   error // ErrInvalid or ErrConflict
}

func (e *FieldError) Error() string { return e.Field + " " + e.Reason }
func (e *FieldError) Unwrap() error { return e.Kind }

func invalid(field, reason string) error {
	return &FieldError{Field: field, Reason: reason, Kind: ErrInvalid}
}

func conflict(field, reason string) error {
	return &FieldError{Field: field, Reason: reason, Kind: ErrConflict}
}

//go:embed migrations/*.sql
var migrations embed.FS

// Directory is a store of records. Its methods are safe for concurrent use.
type Directory struct {
	db *sql.DB
	// writes is what changes go through. On SQLite it is one connection of its own:
	// writers wait for each other here, not each on a connection that readers need.
	writes   *sql.DB
	postgres bool
	now      func() time.Time
	recent   recentKeys
}

// Open connects to the database that cfg names and brings its schema up to
// date. A DSN that is a path, or empty, means SQLite; the empty one is
// dataDir/directory.db.
func Open(ctx context.Context, cfg Config, dataDir string) (*Directory, error) {
	d, err := connect(ctx, cfg, dataDir)
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Connect is Open without touching the schema, for looking at it.
func Connect(ctx context.Context, cfg Config, dataDir string) (*Directory, error) {
	return connect(ctx, cfg, dataDir)
}

func connect(ctx context.Context, cfg Config, dataDir string) (*Directory, error) {
	d := &Directory{now: time.Now}
	var err error
	switch {
	case strings.HasPrefix(cfg.DSN, "postgres://"), strings.HasPrefix(cfg.DSN, "postgresql://"):
		d.postgres = true
		if d.db, err = sql.Open("pgx", cfg.DSN); err != nil {
			// The driver's text repeats the DSN with its password.
			return nil, errors.New("cannot open the directory: directory.dsn is no PostgreSQL URL")
		}
		d.writes = d.db
		d.db.SetMaxOpenConns(16)
		d.db.SetMaxIdleConns(4)
		d.db.SetConnMaxIdleTime(5 * time.Minute)
	case strings.Contains(cfg.DSN, "://"):
		return nil, errors.New("cannot open the directory: directory.dsn is neither a postgres:// URL nor a path")
	default:
		path := cfg.DSN
		if path == "" {
			path = filepath.Join(dataDir, "directory.db")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, fmt.Errorf("cannot make the folder of the directory: %w", err)
		}
		// Immediate transactions: a writer takes its lock at BEGIN, so that what
		// it reads cannot change before it writes. Plain reads are outside of
		// transactions and, in WAL, never wait. The longest that a writer waits for
		// is an import of users.
		dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_txlock=immediate" +
			"&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"}
		if d.db, err = sql.Open("sqlite", dsn.String()); err != nil {
			return nil, fmt.Errorf("cannot open the directory: %w", err)
		}
		d.db.SetMaxOpenConns(8)
		if d.writes, err = sql.Open("sqlite", dsn.String()); err != nil {
			return nil, fmt.Errorf("cannot open the directory: %w", err)
		}
		d.writes.SetMaxOpenConns(1)
	}
	if err := d.db.PingContext(ctx); err != nil {
		d.Close()
		return nil, fmt.Errorf("cannot reach the directory: %w", err)
	}
	return d, nil
}

// Close releases the connections.
func (d *Directory) Close() error { return errors.Join(d.writes.Close(), d.db.Close()) }

// Ping tells whether the database answers.
func (d *Directory) Ping(ctx context.Context) error {
	var one int
	if err := d.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("cannot reach the directory: %w", err)
	}
	return nil
}

func (d *Directory) migrator() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory's migrations: %w", err)
	}
	dialect, opts := goose.DialectSQLite3, []goose.ProviderOption{goose.WithLogger(goose.NopLogger())}
	if d.postgres {
		dialect = goose.DialectPostgres
		// Several roles may start at the same moment.
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, fmt.Errorf("cannot lock the directory for migration: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, d.db, files, opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory's migrations: %w", err)
	}
	return p, nil
}

// Migrate brings the schema up to date. It only ever goes forward.
func (d *Directory) Migrate(ctx context.Context) error {
	p, err := d.migrator()
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("cannot migrate the directory: %w", err)
	}
	return d.indexUsers(ctx)
}

// Migration is one numbered step of the schema.
type Migration struct {
	Version int64     `json:"version"`
	Name    string    `json:"name"`
	Applied time.Time `json:"applied_at"` // zero: pending
}

// Migrations lists the steps of the schema and which were taken.
func (d *Directory) Migrations(ctx context.Context) ([]Migration, error) {
	p, err := d.migrator()
	if err != nil {
		return nil, err
	}
	steps, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of the directory's schema: %w", err)
	}
	out := make([]Migration, 0, len(steps))
	for _, s := range steps {
		out = append(out, Migration{Version: s.Source.Version, Name: filepath.Base(s.Source.Path), Applied: s.AppliedAt})
	}
	return out, nil
}

// Version is a counter that grows with every change of the records that
// Resolve answers from.
func (d *Directory) Version(ctx context.Context) (int64, error) {
	var n int64
	if err := d.db.QueryRowContext(ctx, "SELECT n FROM directory_version").Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot read the directory's version: %w", err)
	}
	return n, nil
}

// write runs change in a transaction, alone among writers. The first statement
// locks the one row of directory_version until the end; whatever change then
// reads is what it writes upon. That is what keeps rules over several rows ("a
// source keeps a number") free of write skew on PostgreSQL at read committed.
func (d *Directory) write(ctx context.Context, change func(tx *sql.Tx) error) error {
	return d.writeOn(ctx, d.writes, change)
}

// beginner is what *sql.DB and *sql.Conn have in common.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// writeOn is write on a connection that the caller has.
func (d *Directory) writeOn(ctx context.Context, conn beginner, change func(tx *sql.Tx) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot begin a change of the directory: %w", err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "UPDATE directory_version SET n = n + 1"); err != nil {
		return fmt.Errorf("cannot begin a change of the directory: %w", err)
	}
	if proxy := actorOf(ctx).Proxy; proxy != "" {
		// Whoever acts for a user does so in a session that is open at this moment.
		if _, err := usableProxy(ctx, tx, proxy, d.now()); err != nil {
			return err
		}
	}
	switch err := change(tx); {
	case errors.Is(err, errUnchanged):
		return nil // rolled back: those who follow changes need not look
	case err != nil:
		return err
	}
	if err := tx.Commit(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // that is why the transaction has gone
		}
		return fmt.Errorf("cannot store a change of the directory: %w", err)
	}
	return nil
}

// querier is what *sql.DB and *sql.Tx have in common, for reads done in both.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func exists(ctx context.Context, q querier, query string, args ...any) (bool, error) {
	var one int
	switch err := q.QueryRowContext(ctx, query, args...).Scan(&one); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read the directory: %w", err)
	}
	return true, nil
}

// each calls row for every row of a query.
func each(ctx context.Context, q querier, row func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("cannot read the directory: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return fmt.Errorf("cannot read the directory: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot read the directory: %w", err)
	}
	return nil
}

// placeholders is "$first,$first+1,…", n of them.
func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// oneOf is the condition that a column is one of many values, which are one
// parameter, $n: a statement of as many parameters is slow on SQLite, and each
// length of it is another statement, which PostgreSQL has to plan.
func (d *Directory) oneOf(column string, n int, values []string) (condition string, arg any) {
	if d.postgres {
		return fmt.Sprintf("%s = ANY ($%d)", column, n), values
	}
	list, _ := json.Marshal(values) // strings always marshal
	return fmt.Sprintf("%s IN (SELECT value FROM json_each($%d))", column, n), string(list)
}

// appendAll is append of strings to the arguments of a statement.
func appendAll(args []any, values []string) []any {
	for _, v := range values {
		args = append(args, v)
	}
	return args
}

// insertRows inserts many rows, all of which begin with the company. SQLite looks
// for the parameters of a statement one by one, so long statements are the slow
// ones: each has few rows, and is prepared once.
func insertRows(ctx context.Context, tx *sql.Tx, company, into string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if b, ok := ctx.Value(bulkKey{}).(*bulk); ok {
		if err := b.insert(ctx, company, into, rows); err != nil {
			return fmt.Errorf("cannot store rows: %w", err)
		}
		return nil
	}
	statement := func(n int) string {
		var b strings.Builder
		b.WriteString("INSERT INTO " + into + " VALUES ")
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("($1," + placeholders(2+i*len(rows[0]), len(rows[0])) + ")")
		}
		return b.String()
	}
	arguments := func(rows [][]any) []any {
		return append([]any{company}, slices.Concat(rows...)...)
	}
	if n := max(1, 100/len(rows[0])); len(rows) >= 2*n {
		many, err := tx.PrepareContext(ctx, statement(n))
		if err != nil {
			return fmt.Errorf("cannot store rows: %w", err)
		}
		defer many.Close()
		for ; len(rows) >= n; rows = rows[n:] {
			if _, err := many.ExecContext(ctx, arguments(rows[:n])...); err != nil {
				return fmt.Errorf("cannot store rows: %w", err)
			}
		}
		if len(rows) == 0 {
			return nil
		}
	}
	if _, err := tx.ExecContext(ctx, statement(len(rows)), arguments(rows)...); err != nil {
		return fmt.Errorf("cannot store rows: %w", err)
	}
	return nil
}

// escapeLike makes s match itself in LIKE … ESCAPE '\'.
var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace

// idPattern is what an id given from outside may look like: safe in a URL path
// and in a file name.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// unixMicros is 0 for the zero time.
func unixMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func flagOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Page asks for a part of a list: at most Limit items after the Cursor that
// the part before gave. Both zero: the first 100.
type Page struct {
	Limit  int
	Cursor string
}

// DefaultLimit is the length of a page where the caller does not say.
const DefaultLimit = 100

// MaxLimit is the longest page.
const MaxLimit = 1000

func (p Page) limit() int {
	switch {
	case p.Limit <= 0:
		return DefaultLimit
	case p.Limit > MaxLimit:
		return MaxLimit
	}
	return p.Limit
}

// cut takes off what was asked for beyond the limit to see whether there is
// more, and gives the cursor of what follows, made of the last row's key.
func cut[T any](rows []T, limit int, key func(last T) []string) ([]T, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, encodeCursor(key(rows[limit-1])...)
}

// A cursor is the sort key of the last item, so that pages neither repeat nor
// skip what was there, whatever is added between them.
func encodeCursor(key ...string) string {
	b, _ := json.Marshal(key) // strings always marshal
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(cursor string, n int) ([]string, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, invalid("cursor", "is not one that a list gave")
	}
	var key []string
	if err := json.Unmarshal(b, &key); err != nil || len(key) != n {
		return nil, invalid("cursor", "is not one that a list gave")
	}
	return key, nil
}
