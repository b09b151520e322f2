package query

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Store asks one ClickHouse database.
type Store struct {
	conn driver.Conn
	// MaxExecution limits a statement's time on the server.
	maxExecution time.Duration
	maxExport    time.Duration // the same, of a statement whose rows are a download
	now          func() time.Time
}

// Options of New; the zero value is usable.
type Options struct {
	MaxExecution time.Duration    // of one statement on the server; 0: 20 s
	MaxExport    time.Duration    // of one statement whose rows are a download; 0: 1 h
	Now          func() time.Time // nil: time.Now; what registered is compared with
}

// maxMemory bounds one statement on the server, in bytes.
const maxMemory = 2 << 30

// New makes a store over an open connection, see clickhouse.Open.
func New(conn driver.Conn, o Options) *Store {
	if o.MaxExecution == 0 {
		o.MaxExecution = 20 * time.Second
	}
	if o.MaxExport == 0 {
		o.MaxExport = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{conn: conn, maxExecution: o.MaxExecution, maxExport: o.MaxExport, now: o.Now}
}

// Ping asks whether ClickHouse answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach ClickHouse: %w", err)
	}
	return nil
}

// Company is the only door to data: every question is one company's.
func (s *Store) Company(company string) Company { return Company{store: s, id: company} }

// Company asks about one company.
type Company struct {
	store *Store
	id    string
}

// statement is a SELECT of one company's rows. Its texts are constants of this
// package; what comes from outside travels in params, typed by the server.
type statement struct {
	columns string
	table   string
	final   bool     // of each row the newest version only
	first   string   // what is looked at before other columns are read: of FINAL, the sort key only
	where   []string // ANDed to the company
	tail    string   // GROUP BY, ORDER BY, LIMIT …
	outer   [2]string
	params  *params
}

// params are server-side query parameters by name.
type params map[string]string

// from begins every statement there is.
func (c Company) from(table string, p *params) *statement {
	p.text("company", c.id)
	return &statement{table: table, params: p}
}

func (s *statement) newest() *statement                  { s.final = true; return s }
func (s *statement) get(columns string) *statement       { s.columns = columns; return s }
func (s *statement) with(tail string) *statement         { s.tail = tail; return s }
func (s *statement) before(first string) *statement      { s.first = first; return s }
func (s *statement) and(where ...string) *statement      { s.where = append(s.where, where...); return s }
func (s *statement) inside(head, tail string) *statement { s.outer = [2]string{head, tail}; return s }

// String is the text for the server. The company is a condition of every
// statement and subquery because nothing else writes FROM.
func (s *statement) String() string {
	var b strings.Builder
	if s.outer[0] != "" {
		b.WriteString(s.outer[0] + " FROM (")
	}
	b.WriteString("SELECT " + s.columns + " FROM " + s.table)
	if s.final {
		b.WriteString(" FINAL")
	}
	if s.first != "" {
		b.WriteString(" PREWHERE " + s.first)
	}
	b.WriteString(" WHERE company = {company:String}")
	for _, w := range s.where {
		b.WriteString(" AND (" + w + ")")
	}
	if s.tail != "" {
		b.WriteString(" " + s.tail)
	}
	if s.outer[0] != "" {
		b.WriteString(") " + s.outer[1])
	}
	return b.String()
}

func newParams() *params { return &params{} }

func (p *params) text(name, v string)          { (*p)[name] = escape(v) }
func (p *params) integer(name string, v int64) { (*p)[name] = strconv.FormatInt(v, 10) }

func (p *params) texts(name string, vs []string) {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range vs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("'" + quoteEscape.Replace(v) + "'")
	}
	b.WriteByte(']')
	(*p)[name] = b.String()
}

func (p *params) integers(name string, vs []int64) {
	texts := make([]string, len(vs))
	for i, v := range vs {
		texts[i] = strconv.FormatInt(v, 10)
	}
	(*p)[name] = "[" + strings.Join(texts, ",") + "]"
}

var (
	// A String parameter is read as a tab-separated field.
	fieldEscape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
	quoteEscape = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
)

func escape(v string) string { return fieldEscape.Replace(v) }

// rows asks and calls each for every row.
func (c Company) rows(ctx context.Context, s *statement, each func(scan func(...any) error) error) error {
	return c.ask(ctx, s, nil, each)
}

// ask is rows with further settings of the server.
func (c Company) ask(ctx context.Context, s *statement, extra clickhouse.Settings, each func(scan func(...any) error) error) error {
	settings := clickhouse.Settings{
		"max_execution_time": int(max(c.store.maxExecution/time.Second, 1)),
		"max_memory_usage":   maxMemory,
		"readonly":           1,
	}
	maps.Copy(settings, extra)
	ctx = clickhouse.Context(ctx,
		clickhouse.WithParameters(clickhouse.Parameters(*s.params)),
		clickhouse.WithSettings(settings))
	rows, err := c.store.conn.Query(ctx, s.String())
	if err != nil {
		return explain(err, s.table)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return explain(err, s.table)
		}
	}
	if err := rows.Err(); err != nil {
		return explain(err, s.table)
	}
	return nil
}

// onePage gives up to limit items of a statement in order, which may take one more
// from {limit:UInt32}, to see whether more follow. scanItem also says where an item
// stands in the list of that name.
func onePage[T any](ctx context.Context, c Company, s *statement, limit int, list string, scanItem func(func(...any) error) (T, cursor, error)) (List[T], error) {
	s.params.integer("limit", int64(limit+1))
	out := List[T]{Items: []T{}}
	var last cursor
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		item, at, err := scanItem(scan)
		if err != nil {
			return err
		}
		if len(out.Items) == limit {
			last.List = list
			out.NextCursor = last.encode()
			return nil
		}
		last = at
		out.Items = append(out.Items, item)
		return nil
	})
	return out, err
}

// Codes of the server that mean: too big a question.
var limitCodes = map[int32]bool{
	158: true, // TOO_MANY_ROWS
	159: true, // TIMEOUT_EXCEEDED
	160: true, // TOO_SLOW
	241: true, // MEMORY_LIMIT_EXCEEDED
	307: true, // TOO_MANY_BYTES
	396: true, // TOO_MANY_ROWS_OR_BYTES
}

func explain(err error, table string) error {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) && limitCodes[exception.Code] {
		return fmt.Errorf("cannot ask table %s: %w: %w", table, ErrLimit, err)
	}
	return fmt.Errorf("cannot ask table %s: %w", table, err)
}
