// Package directorycache measures what it costs ingesters to know who is who,
// and how soon they know of a change.
package directorycache

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

var (
	users   = flag.Int("users", 1_000_000, "users of the company")
	numbers = flag.Int("numbers", 3_000_000, "its numbers")
	changes = flag.Int("changes", 500, "transfers whose lag is measured")
)

const (
	company = directory.DefaultCompany
	secret  = "benchmark"
	within  = 10 * time.Minute
)

func numberOf(i int) string { return fmt.Sprintf("+1415%d", 2_000_000+i) }

// fill stores a company: each user has an address, an email address, an office, a
// department and three numbers.
func fill(b *testing.B, dir string) *directory.Directory {
	ctx := b.Context()
	d, err := directory.Open(ctx, directory.Config{}, dir)
	require.NoError(b, err)
	b.Cleanup(func() { d.Close() })
	_, _, err = d.Bootstrap(ctx, dir)
	require.NoError(b, err)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "directory.db")+"?_pragma=busy_timeout(15000)")
	require.NoError(b, err)
	defer db.Close()
	conn, err := db.Conn(ctx)
	require.NoError(b, err)
	defer conn.Close()
	seq := func(n int) string {
		return fmt.Sprintf("WITH RECURSIVE seq (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM seq WHERE i < %d) ", n-1)
	}
	for _, q := range []string{
		"PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000", "BEGIN",
		seq(1000) + "INSERT INTO place (company, kind, id, name, created_us) SELECT 'default', 'office', 'office' || i, 'Office ' || i, 1 FROM seq",
		seq(1000) + "INSERT INTO place (company, kind, id, name, created_us) SELECT 'default', 'department', 'dept' || i, 'Department ' || i, 1 FROM seq",
		seq(*users) + `INSERT INTO users (company, id, name, email, state, office_id, search, created_us, updated_us)
			SELECT 'default', 'user-' || i, 'Somebody Withaname ' || i, 'somebody.withaname.' || i || '@example.com', 'active', 'office' || (i % 1000), '', 1, 1 FROM seq`,
		seq(*users) + "INSERT INTO aor (company, aor, user_id) SELECT 'default', 'user-' || i || '@voice.example.com', 'user-' || i FROM seq",
		seq(*users) + "INSERT INTO membership (company, user_id, kind, place_id) SELECT 'default', 'user-' || i, 'department', 'dept' || (i % 1000) FROM seq",
		seq(*numbers) + fmt.Sprintf(`INSERT INTO number (company, number, national, type, region, area_code, prefix, status, owner_kind, owner_id, created_us, updated_us)
			SELECT 'default', '+1415' || (2000000 + i), '415' || (2000000 + i), 'local', 'US', '415', '200', 'user', 'user', 'user-' || (i %% %d), i + 1, i + 1 FROM seq`, *users),
		"INSERT INTO number_history (company, number, from_us, status, owner_kind, owner_id) SELECT company, number, updated_us, status, owner_kind, owner_id FROM number",
		"UPDATE directory_version SET n = n + 1", "COMMIT",
	} {
		_, err := conn.ExecContext(ctx, q)
		require.NoError(b, err, q)
	}
	return d
}

// broker is the embedded broker, in a process of its own.
func broker(b *testing.B) bus.Config {
	data := b.TempDir()
	p := apptest.Start(b, nil, "up", "--roles=none", "--data", data, "--admin.listen=127.0.0.1:0", "--log.level=warn")
	cfg := bus.DefaultConfig()
	apptest.Eventually(b, 90*time.Second, "the broker runs", func() error {
		run, err := engines.ReadRun(data)
		if err == nil && (!run.Alive || run.PID != p.PID() || run.Admin == "") {
			err = fmt.Errorf("not yet")
		}
		if err != nil {
			return err
		}
		cfg.Brokers = []string{run.Engines.Kafka.Addr}
		return nil
	})
	require.NoError(b, bus.EnsureTopics(b.Context(), cfg))
	return cfg
}

func resolve(b *testing.B, cfg bus.Config) *directory.Resolver {
	r, err := directory.NewResolver(directory.ResolverDeps{Bus: cfg, Secret: secret, Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	background(b, r.Run)
	return r
}

func background(b *testing.B, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
}

func caught(b *testing.B, d *directory.Directory, r *directory.Resolver) {
	ctx, cancel := context.WithTimeout(b.Context(), within)
	defer cancel()
	version, err := d.Version(ctx)
	require.NoError(b, err)
	require.NoError(b, r.Wait(ctx, version))
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// perLookup is the mean time of a lookup in ns, by one goroutine.
func perLookup(r *directory.Resolver, kind string, value func(i int) string) float64 {
	values := make([]string, 200_000)
	for i := range values {
		values[i] = value(rand.IntN(*users))
	}
	known := 0
	start := time.Now()
	for _, v := range values {
		if r.Resolve(company, kind, v, 0) != nil {
			known++
		}
	}
	took := time.Since(start)
	if known != len(values) {
		return -1
	}
	return float64(took.Nanoseconds()) / float64(len(values))
}

// BenchmarkDirectoryCache fills RESULT.md.
func BenchmarkDirectoryCache(b *testing.B) {
	for range b.N {
		apptest.Program(b)
		d := fill(b, b.TempDir())
		cfg := broker(b)
		first := resolve(b, cfg)
		p, err := d.NewPublisher(directory.PublisherDeps{Bus: cfg, Resolver: first, Secret: secret, Eager: true, Log: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		start := time.Now()
		background(b, p.Run)
		caught(b, d, first)
		published := time.Since(start)

		before := heap()
		start = time.Now()
		r := resolve(b, cfg)
		caught(b, d, r)
		loaded := time.Since(start)
		after := heap()
		start = time.Now()
		runtime.GC()
		collected := time.Since(start)
		require.NotNil(b, r.Resolve(company, "number", numberOf(*numbers-1), 0))

		lookups := []float64{
			perLookup(r, "number", numberOf), perLookup(r, "number", func(i int) string { return numberOf(i)[2:] }),
			perLookup(r, "aor", func(i int) string { return fmt.Sprintf("user-%d@voice.example.com", i) }), perLookup(r, "user", func(i int) string { return fmt.Sprintf("user-%d", i) }),
		}
		lags := lag(b, d, r)
		bulk := rename(b, d, r)

		var s strings.Builder
		row := func(what, format string, args ...any) {
			fmt.Fprintf(&s, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
		}
		fmt.Fprintf(&s, "%d users with an address each, %d numbers, 2,000 places in one company; SQLite, the embedded broker in a process of its own.\n\n| | |\n|---|---|\n", *users, *numbers)
		row("telling all for the first time, s", "%.1f", published.Seconds())
		row("reading all at the start of an ingester, s", "%.1f", loaded.Seconds())
		row("of it for each record, µs", "%.2f", loaded.Seconds()*1e6/float64(*users+*numbers+2000))
		row("heap of an ingester's cache, MiB", "%d", int64(after-before)>>20)
		row("a full garbage collection with two such caches in the process, ms", "%d", collected.Milliseconds())
		row("size of the topic, MiB", "%d", topicBytes(b, cfg)>>20)
		row("lookup of a number in E.164, ns", "%.0f", lookups[0])
		row("lookup of a number as dialled nationally, ns", "%.0f", lookups[1])
		row("lookup of an address-of-record, ns", "%.0f", lookups[2])
		row("lookup of a user's id, ns", "%.0f", lookups[3])
		row(fmt.Sprintf("from the commit of a transfer until it is resolved, %d transfers, ms: p50, p99, most", len(lags)), "%.0f, %.0f, %.0f", lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1])
		row("from the last commit of 100 users renamed one after the other until all are resolved, ms", "%d", bulk.Milliseconds())
		b.Log("\n" + s.String())
		if *users == 1_000_000 && *numbers == 3_000_000 {
			require.NoError(b, benchmarks.Write("RESULT.md", "Who is who in an ingester", "make bench", s.String()))
		}
	}
}

// lag transfers numbers and gives how long each took to be known, in ms, sorted.
func lag(b *testing.B, d *directory.Directory, r *directory.Resolver) []float64 {
	var out []float64
	for i := range *changes {
		to := fmt.Sprintf("user-%d", (i+7)%*users)
		_, err := d.TransferNumber(b.Context(), company, numberOf(i), directory.Owner{Kind: "user", ID: to}, "")
		require.NoError(b, err)
		committed := time.Now()
		for r.Resolve(company, "number", numberOf(i), 0).GetUserId() != to {
			require.Less(b, time.Since(committed), within)
			time.Sleep(100 * time.Microsecond)
		}
		out = append(out, float64(time.Since(committed).Microseconds())/1000)
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
	}
	slices.Sort(out)
	return out
}

// rename changes users as fast as the directory takes it.
func rename(b *testing.B, d *directory.Directory, r *directory.Resolver) time.Duration {
	name := "Somebody Else"
	for i := range 100 {
		_, err := d.UpdateUser(b.Context(), company, fmt.Sprintf("user-%d", i), directory.UserChange{Name: &name})
		require.NoError(b, err)
	}
	start := time.Now()
	caught(b, d, r)
	require.Equal(b, name, r.Resolve(company, "user", "user-99", 0).GetName())
	return time.Since(start)
}

func topicBytes(b *testing.B, cfg bus.Config) int64 {
	opts, err := cfg.Options()
	require.NoError(b, err)
	client, err := kgo.NewClient(opts...)
	require.NoError(b, err)
	defer client.Close()
	dirs, err := kadm.NewClient(client).DescribeAllLogDirs(b.Context(), kadm.TopicsSet{telemetry.TopicDirectory: {0: {}}})
	require.NoError(b, err)
	var size int64
	dirs.Each(func(dir kadm.DescribedLogDir) {
		dir.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == telemetry.TopicDirectory {
				size += p.Size
			}
		})
	})
	return size
}
