// Package lookups measures how soon the store answers, and how much it reads to,
// while its data grows a hundredfold.
package lookups

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/query"
	sink "github.com/earshot/earshot/sinks/clickhouse"
)

var (
	calls   = flag.Int("calls", 200_000, "calls at 1×")
	scales  = flag.String("scales", "1,10,100", "how many times as many are measured")
	samples = flag.Int("samples", 10, "of each call")
	asked   = flag.Int("asked", 200, "how often each question is asked")
	plain   = flag.Bool("plain", true, "ask plain tables in order of time too")
	slow    = flag.Int("slow", 5, "how often a plain table is asked")
	data    = flag.String("data", "", "directory for the data, removed afterwards; default a temporary one")
	only    = flag.String("only", "", "ask only what has this in its name; RESULT.md stays")
)

// childEnv makes the test binary the ClickHouse child.
const childEnv = "EARSHOT_LOOKUPS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := engines.Serve(context.Background(), os.Args[2:], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// answer is how soon a question was answered, and what was read for it.
type answer struct {
	p50, p95, p99 time.Duration
	rows, bytes   uint64  // read, the median
	most          uint64  // rows read at most
	items         float64 // in an answer, on average
}

type result struct {
	calls   int
	filled  time.Duration
	stored  map[string][2]uint64 // by table: rows, bytes on disk
	answers map[string]answer
	plain   map[string]answer
}

// BenchmarkLookups fills RESULT.md.
func BenchmarkLookups(b *testing.B) {
	for range b.N {
		dir := *data
		if dir == "" {
			dir = b.TempDir()
		}
		defer os.RemoveAll(dir)
		library, err := engines.FindLibrary("", "../..")
		require.NoError(b, err)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		server, err := engines.Start(ctx, engines.Config{Data: dir, ClickHouse: true, Library: library, MinFreeBytes: 1, Env: []string{childEnv + "=1"}})
		cancel()
		require.NoError(b, err)
		var results []*result
		var order []string
		for _, text := range strings.Split(*scales, ",") {
			var times int
			_, err := fmt.Sscan(text, &times)
			require.NoError(b, err)
			r, names := measure(b, server.ClickHouseAddr(), *calls*times)
			results, order = append(results, r), names
		}
		server.Stop()
		text := report(results, order)
		fmt.Println(text) // Log shows the beginning only
		if *only == "" {
			require.NoError(b, benchmarks.Write("RESULT.md", "Lookups while data grows", "go test ./benchmarks/lookups -run '^$' -bench . -benchtime 1x -timeout 6h", text))
		}
	}
}

// measure fills a database, asks everything and drops it.
func measure(b *testing.B, addr string, n int) (*result, []string) {
	ctx := context.Background()
	c := sink.DefaultConfig()
	c.Addr, c.Retention = []string{addr}, sink.Retention{}
	c.Database = fmt.Sprint("lookups_", n)
	require.NoError(b, sink.Migrate(ctx, c))
	conn, err := sink.Open(c)
	require.NoError(b, err)
	defer conn.Close()
	defer func() { require.NoError(b, conn.Exec(ctx, "DROP DATABASE "+c.Database+" SYNC")) }()
	r := &result{calls: n, stored: map[string][2]uint64{}, answers: map[string]answer{}, plain: map[string]answer{}}
	start := time.Now()
	fill(b, conn, n)
	r.filled = time.Since(start)
	rows, err := conn.Query(ctx, "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = ? GROUP BY table", c.Database)
	require.NoError(b, err)
	for rows.Next() {
		var table string
		var size [2]uint64
		require.NoError(b, rows.Scan(&table, &size[0], &size[1]))
		r.stored[table] = size
	}
	require.NoError(b, rows.Err())
	store := query.New(conn, query.Options{MaxExecution: 5 * time.Minute, Now: func() time.Time { return end }}).Company(company)
	known := pick(b, conn)
	var names []string
	for _, q := range questions(store) {
		if !strings.Contains(q.name, *only) {
			continue
		}
		names = append(names, q.name)
		r.answers[q.name] = ask(b, *asked, func(ctx context.Context, i int) (int, error) { return q.ask(ctx, known[i%len(known)]) })
		if *plain && q.plain != "" {
			r.plain[q.name] = ask(b, *slow, func(ctx context.Context, i int) (int, error) {
				return askPlain(ctx, conn, q.plain, known[i%len(known)])
			})
		}
	}
	return r, names
}

// call is one that exists, to ask for.
type call struct {
	id, sipCallID, user, number, contact, device string
	started                                      time.Time
}

// pick gives calls from anywhere, the same for the same data. Busy users are
// asked for more often, as they are.
func pick(b *testing.B, conn driver.Conn) []call {
	rows, err := conn.Query(context.Background(), `SELECT call_id, sip_call_ids[2], target_user_id, target_number, contact_number, target_device_id, started_at
FROM calls ORDER BY cityHash64(call_id, 'picked') LIMIT `+fmt.Sprint(*asked))
	require.NoError(b, err)
	var out []call
	for rows.Next() {
		var c call
		require.NoError(b, rows.Scan(&c.id, &c.sipCallID, &c.user, &c.number, &c.contact, &c.device, &c.started))
		out = append(out, c)
	}
	require.NoError(b, rows.Err())
	return out
}

// ask measures a question n times, after one that does not count.
func ask(b *testing.B, n int, one func(ctx context.Context, i int) (int, error)) answer {
	b.Helper()
	var took []time.Duration
	var rows, bytes []uint64
	items := 0
	for i := range n + 1 {
		var readRows, readBytes uint64
		ctx := clickhouse.Context(context.Background(), clickhouse.WithProgress(func(p *clickhouse.Progress) {
			readRows += p.Rows
			readBytes += p.Bytes
		}))
		start := time.Now()
		found, err := one(ctx, i)
		elapsed := time.Since(start)
		require.NoError(b, err)
		if i == 0 {
			continue
		}
		took, rows, bytes, items = append(took, elapsed), append(rows, readRows), append(bytes, readBytes), items+found
	}
	slices.Sort(took)
	slices.Sort(rows)
	slices.Sort(bytes)
	at := func(share float64) time.Duration { return took[min(len(took)-1, int(share*float64(len(took))))] }
	return answer{p50: at(0.5), p95: at(0.95), p99: at(0.99), rows: rows[len(rows)/2], most: rows[len(rows)-1], bytes: bytes[len(bytes)/2], items: float64(items) / float64(n)}
}

// question is asked through package query, and as SQL of a plain table.
type question struct {
	name  string
	ask   func(ctx context.Context, c call) (items int, err error)
	plain string // conditions on plain_calls, or a whole statement
}

func questions(q query.Company) []question {
	list := func(filter func(c call) query.CallFilter) func(context.Context, call) (int, error) {
		return func(ctx context.Context, c call) (int, error) {
			l, err := q.Calls(ctx, filter(c), query.Page{})
			return len(l.Items), err
		}
	}
	yes, one := true, uint32(1)
	at := func(t time.Time) query.Time { return query.Time{Time: t} }
	const user = "(target_user_id = {user:String} OR contact_user_id = {user:String})"
	return []question{
		{"call by id", func(ctx context.Context, c call) (int, error) { _, err := q.Call(ctx, c.id); return 1, err }, "call_id = {id:String}"},
		{"call by a leg's SIP Call-ID", func(ctx context.Context, c call) (int, error) { _, err := q.Call(ctx, c.sipCallID); return 1, err }, "has(sip_call_ids, {sip:String})"},
		{"samples of a call", func(ctx context.Context, c call) (int, error) {
			l, err := q.Samples(ctx, c.id, query.Page{})
			return len(l.Items), err
		}, "SELECT * FROM plain_samples WHERE company = {company:String} AND call_id = {id:String} ORDER BY at"},
		{"calls: the newest", list(func(call) query.CallFilter { return query.CallFilter{} }), "1"},
		{"calls: from anywhere in time", list(func(c call) query.CallFilter { return query.CallFilter{To: at(c.started)} }), "started_at < {at:DateTime64(6)}"},
		{"calls: user", list(func(c call) query.CallFilter { return query.CallFilter{User: c.user} }), user},
		{"calls: user, in a week", list(func(c call) query.CallFilter {
			return query.CallFilter{User: c.user, From: at(c.started.Add(-7 * 24 * time.Hour)), To: at(c.started.Add(time.Second))}
		}), user + " AND started_at > {at:DateTime64(6)} - INTERVAL 7 DAY AND started_at <= {at:DateTime64(6)}"},
		{"calls: user, unacceptable", list(func(c call) query.CallFilter { return query.CallFilter{User: c.user, Verdict: "unacceptable"} }), user + " AND overall = 'unacceptable'"},
		{"calls: user, with a refusal", list(func(c call) query.CallFilter { return query.CallFilter{User: c.user, Rejected: &yes} }), user + " AND call_id IN (SELECT call_id FROM rejections)"},
		{"calls: number", list(func(c call) query.CallFilter { return query.CallFilter{Number: c.contact} }), "(target_number = {contact:String} OR contact_number = {contact:String})"},
		{"calls: user and number", list(func(c call) query.CallFilter { return query.CallFilter{User: c.user, Number: c.contact} }), user + " AND (target_number = {contact:String} OR contact_number = {contact:String})"},
		{"calls: area code", list(func(c call) query.CallFilter { return query.CallFilter{NumberPrefix: c.contact[1:5]} }),
			"(startsWith(target_number, substring({contact:String}, 1, 5)) OR startsWith(contact_number, substring({contact:String}, 1, 5)))"},
		{"calls: prefix of 7 digits", list(func(c call) query.CallFilter { return query.CallFilter{NumberPrefix: c.contact[1:8]} }),
			"(startsWith(target_number, substring({contact:String}, 1, 8)) OR startsWith(contact_number, substring({contact:String}, 1, 8)))"},
		{"calls: suffix of 4 digits", list(func(c call) query.CallFilter { return query.CallFilter{NumberSuffix: c.contact[8:]} }),
			"(endsWith(target_number, substring({contact:String}, 9)) OR endsWith(contact_number, substring({contact:String}, 9)))"},
		{"calls: device", list(func(c call) query.CallFilter { return query.CallFilter{Device: c.device} }), "has(device_ids, {device:String})"},
		// All bodies name these addresses, which a user and a media server have.
		{"calls: address of a phone", list(func(call) query.CallFilter { return query.CallFilter{Address: "203.0.113.1"} }), ""},
		{"calls: address of a media server", list(func(call) query.CallFilter { return query.CallFilter{Address: "198.51.100.1"} }), ""},
		{"calls: q, a SIP Call-ID", list(func(c call) query.CallFilter { return query.CallFilter{Q: c.sipCallID} }), "has(sip_call_ids, {sip:String})"},
		{"calls: q, nothing", list(func(c call) query.CallFilter { return query.CallFilter{Q: "x" + c.id} }), "(call_id = concat('x', {id:String}) OR has(sip_call_ids, concat('x', {id:String})))"},
		{"calls: unacceptable", list(func(call) query.CallFilter { return query.CallFilter{Verdict: "unacceptable"} }), "overall = 'unacceptable'"},
		{"calls: one-way audio, from anywhere in time", list(func(c call) query.CallFilter { return query.CallFilter{Verdict: "one_way", To: at(c.started)} }), "one_way_state = 'confirmed' AND started_at < {at:DateTime64(6)}"},
		{"calls: inbound", list(func(call) query.CallFilter { return query.CallFilter{Direction: "inbound"} }), "direction = 'inbound'"},
		{"calls: with a refusal", list(func(call) query.CallFilter { return query.CallFilter{Rejected: &yes} }), "call_id IN (SELECT call_id FROM rejections)"},
		{"calls: with a refusal, from anywhere in time", list(func(c call) query.CallFilter { return query.CallFilter{Rejected: &yes, To: at(c.started)} }), "call_id IN (SELECT call_id FROM rejections) AND started_at < {at:DateTime64(6)}"},
		{"calls: rated 1", list(func(call) query.CallFilter { return query.CallFilter{Rating: &one} }), "call_id IN (SELECT call_id FROM ratings WHERE rating = 1)"},
		{"search: a number", func(ctx context.Context, c call) (int, error) { h, err := q.Any(ctx, c.contact); return len(h), err }, ""},
		{"rejections: an agent's", func(ctx context.Context, c call) (int, error) {
			l, err := q.Rejections(ctx, query.RejectionFilter{Agent: c.user}, query.Page{})
			return len(l.Items), err
		}, ""},
		{"rejections: trend of a day by reason", func(ctx context.Context, c call) (int, error) {
			t, err := q.RejectionTrend(ctx, query.TrendFilter{Interval: "1h", From: at(c.started.Add(-24 * time.Hour)), To: at(c.started)})
			return len(t.Series), err
		}, ""},
		{"registrations: a user's", func(ctx context.Context, c call) (int, error) {
			l, err := q.Registrations(ctx, query.RegistrationFilter{User: c.user}, query.Page{})
			return len(l.Items), err
		}, ""},
		{"registrations: a user's history", func(ctx context.Context, c call) (int, error) {
			l, err := q.RegistrationHistory(ctx, query.RegistrationFilter{User: c.user}, query.Page{})
			return len(l.Items), err
		}, ""},
	}
}

// askPlain asks the plain table for a page.
func askPlain(ctx context.Context, conn driver.Conn, where string, c call) (int, error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"company": company, "id": c.id, "sip": c.sipCallID, "user": c.user, "number": c.number, "contact": c.contact, "device": c.device, "at": c.started.UTC().Format("2006-01-02 15:04:05.000000"),
	}))
	text := where
	if !strings.HasPrefix(text, "SELECT") {
		text = "SELECT call_id, started_at, body FROM plain_calls WHERE company = {company:String} AND " + where + " ORDER BY started_at DESC, call_id DESC LIMIT 100"
	}
	rows, err := conn.Query(ctx, text)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

func report(results []*result, order []string) string {
	var b strings.Builder
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	var sizes []string
	for _, r := range results {
		sizes = append(sizes, fmt.Sprintf("%d calls with %d samples, %d rejections and %d changes of registrations",
			r.calls, r.stored["samples"][0], r.stored["rejections"][0], r.stored["registration_changes"][0]))
	}
	fmt.Fprintf(&b, "One company, a year of calls: %s. Each question is asked %d times through package query, one after the other, each time about another call; pages are of 100. "+
		"Plain tables have the same rows in order of time without anything else and are asked %d times by SQL. Times are milliseconds at p50 / p95 / p99; rows are those read for an answer, median (most).\n\n", strings.Join(sizes, "; "), *asked, *slow)
	b.WriteString("| |")
	for _, r := range results {
		fmt.Fprintf(&b, " %s calls, ms | rows | kB |", short(r.calls))
	}
	if *plain {
		fmt.Fprintf(&b, " plain, %s calls, p50 ms | rows |", short(results[len(results)-1].calls))
	}
	b.WriteString(" items |\n|---|" + strings.Repeat("---|", 3*len(results)))
	if *plain {
		b.WriteString("---|---|")
	}
	b.WriteString("---|\n")
	for _, name := range order {
		fmt.Fprintf(&b, "| %s |", name)
		var last *result
		for _, r := range results {
			a := r.answers[name]
			fmt.Fprintf(&b, " %s / %s / **%s** | %s (%s) | %d |", ms(a.p50), ms(a.p95), ms(a.p99), short(int(a.rows)), short(int(a.most)), a.bytes/1000)
			last = r
		}
		if *plain {
			if a, ok := last.plain[name]; ok {
				fmt.Fprintf(&b, " %s | %s |", ms(a.p50), short(int(a.rows)))
			} else {
				b.WriteString(" | |")
			}
		}
		fmt.Fprintf(&b, " %.1f |\n", last.answers[name].items)
	}
	b.WriteString("\nOn disk, bytes of a row and of all rows of a table by the number of calls:\n\n| table |")
	tables := map[string]bool{}
	for _, r := range results {
		fmt.Fprintf(&b, " %s calls: rows | B/row | B/call |", short(r.calls))
		for t := range r.stored {
			tables[t] = true
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", 3*len(results)) + "\n")
	var names []string
	for t := range tables {
		if !strings.HasPrefix(t, "schema_") {
			names = append(names, t)
		}
	}
	slices.Sort(names)
	for _, t := range names {
		fmt.Fprintf(&b, "| %s |", t)
		for _, r := range results {
			s := r.stored[t]
			fmt.Fprintf(&b, " %d | %.1f | %.1f |", s[0], float64(s[1])/float64(max(s[0], 1)), float64(s[1])/float64(r.calls))
		}
		b.WriteString("\n")
	}
	for _, r := range results {
		fmt.Fprintf(&b, "\n- %s calls: filled and merged in %.0f s.", short(r.calls), r.filled.Seconds())
	}
	return b.String() + "\n"
}

// short is a number in thousands or millions.
func short(n int) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%.0fM", float64(n)/1e6)
	case n >= 1_000_000:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}
