package clickhouse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/internal/kafkatest"
	"github.com/earshot/earshot/telemetry"
)

func TestEveryOutcomeBecomesItsRowsOnce(t *testing.T) {
	b := newBench(t, 3)
	b.produce(5000)
	stop := b.start(b.config, nil)
	b.requireExact()
	b.produce(700)
	b.requireExact()
	stop()
	b.produce(300)
	b.start(b.config, nil)
	b.requireExact()
}

// Aborted transactions leave gaps in the offsets, and their end markers are
// offsets without a record.
func TestAbortedTransactionsAreNotStored(t *testing.T) {
	b := newBench(t, 1)
	ctx := context.Background()
	for i := range 6 {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.bus.Brokers...), kgo.TransactionalID(fmt.Sprint("t", i)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		require.NoError(t, err)
		require.NoError(t, client.BeginTransaction())
		commit := i%2 == 0
		before := map[string]uint64{}
		for table, n := range b.want {
			before[table] = n
		}
		main := b.client
		b.client = client
		b.produce(40)
		b.client = main
		if !commit {
			b.want = before
		}
		require.NoError(t, client.EndTransaction(ctx, kgo.TransactionEndTry(commit)))
		client.Close()
	}
	b.produce(1) // behind the last marker, so that the group can pass it
	b.start(b.config, nil)
	b.requireExact()
}

// child is a sink in a process of its own.
func (b *bench) child(t *testing.T, c Config, point string) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(childConfig{ClickHouse: c, Brokers: b.bus.Brokers, Instance: "sink-1"})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=sink", "SINK_CONFIG="+string(config), failpoint.Env+"="+point)
	output := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sink with %q:\n%s", point, output)
		}
	})
	return cmd
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// Inserts of one batch go to eight tables: the counts of after-insert kill
// between each two of them.
func TestKilledAtEveryStepNothingIsLostOrTwice(t *testing.T) {
	points := []string{"sink.before-pending", "sink.after-pending", "sink.after-commit", "sink.before-pending:3", "sink.after-commit:2"}
	for i := 1; i <= 9; i++ {
		points = append(points, fmt.Sprintf("sink.after-insert:%d", i))
	}
	b := newBench(t, 2)
	for _, point := range points {
		b.produce(400)
		cmd := b.child(t, b.config, point)
		finished := make(chan error, 1)
		go func() { finished <- cmd.Wait() }()
		for alive := true; alive; {
			select {
			case err := <-finished:
				require.True(t, killed(err), "%s: %v", point, err)
				alive = false
			case <-time.After(100 * time.Millisecond):
				b.produce(40) // until the step is reached often enough
			}
		}
	}
	cmd := b.child(t, b.config, "")
	b.requireExact()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "SIGTERM drains and exits 0")
	require.Equal(t, b.want, b.rows())
	at, err := kadm.NewClient(b.client).FetchOffsets(context.Background(), Group)
	require.NoError(t, err)
	at.Each(func(o kadm.OffsetResponse) { require.Empty(t, o.Metadata, "nothing is pending at the end") })
}

// Offsets with metadata, static members and the fencing of commits as Apache
// Kafka does them, with the broker itself killed in the middle.
func TestKilledAgainstApacheKafka(t *testing.T) {
	broker := kafkatest.Start(t)
	b := newBenchAt(t, []string{broker.Addr}, 2)
	for _, point := range []string{"sink.after-pending", "sink.after-insert:2", "sink.after-commit"} {
		b.produce(400)
		cmd := b.child(t, b.config, point)
		err := cmd.Wait()
		require.True(t, killed(err), "%s: %v", point, err)
	}
	b.child(t, b.config, "")
	b.produce(400)
	broker.Kill()
	require.NoError(t, broker.Run())
	b.produce(400)
	b.requireExact()
}

// The embedded broker keeps the identity of a topic, which is part of every
// token, when it starts again over its log.
func TestTokensOutliveARestartOfTheBroker(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	name := ""
	for range 2 {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir))
		require.NoError(t, err)
		b := bus.DefaultConfig()
		b.Brokers = cluster.ListenAddrs()
		require.NoError(t, bus.EnsureTopics(ctx, b))
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...))
		require.NoError(t, err)
		s, err := NewSink(testConfig(), Deps{Bus: b})
		require.NoError(t, err)
		require.NoError(t, s.readTopic(ctx, kadm.NewClient(client)))
		if name == "" {
			name = s.topic
		}
		require.Equal(t, name, s.topic)
		require.NotEqual(t, telemetry.TopicOutcomes, s.topic, "the broker has topic ids")
		client.Close()
		cluster.Close()
	}
}

// The range that a killed sink left is what the next one inserts first, however
// it would have cut itself.
func TestPendingRangeIsInsertedAsItWas(t *testing.T) {
	b := newBench(t, 1)
	b.produce(1000)
	small := b.config
	small.Batch.Rows = 37
	cmd := b.child(t, small, "sink.after-insert:3")
	require.True(t, killed(cmd.Wait()))
	at, err := kadm.NewClient(b.client).FetchOffsets(context.Background(), Group)
	require.NoError(t, err)
	o, _ := at.Lookup(telemetry.TopicOutcomes, 0)
	pending, err := parsePending(o.Metadata)
	require.NoError(t, err)
	require.Equal(t, &pendingRange{lo: 0, hi: 37, schema: schemaVersion}, pending)
	require.EqualValues(t, 0, o.At)
	b.child(t, b.config, "")
	b.requireExact()
}

// proxy stands between the sink and ClickHouse.
type proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	conns    map[net.Conn]bool
	down     bool
	swallow  func() bool // asked before an answer goes to the client: true loses it and the connection
	swallows int
}

func newProxy(t *testing.T, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); p.setDown(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			c.Close()
		}
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	refused := p.down
	p.conns[c] = true
	p.mu.Unlock()
	if refused {
		return
	}
	go func() { _, _ = io.Copy(s, c); _ = s.(*net.TCPConn).CloseWrite() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.swallow != nil && p.swallow() {
			p.swallows++
			p.mu.Unlock()
			c.Close()
			_, _ = io.Copy(io.Discard, s)
			return
		}
		p.mu.Unlock()
		if _, err := c.Write(buf[:n]); err != nil {
			_, _ = io.Copy(io.Discard, s)
			return
		}
	}
}

func TestAnswerLostAfterClickHouseCommitted(t *testing.T) {
	b := newBench(t, 2)
	p := newProxy(t, serverAddr)
	// The answer to an insert is the first one after its rows are there.
	const lose = 12
	var seen uint64
	p.swallow = func() bool {
		if p.swallows == lose {
			return false
		}
		var n uint64
		row := b.conn.QueryRow(context.Background(), "SELECT toUInt64(sum(total_rows)) FROM system.tables WHERE database = currentDatabase()")
		if err := row.Scan(&n); err != nil {
			t.Errorf("cannot count rows: %v", err)
		}
		grew := n > seen
		seen = n
		return grew
	}
	c := b.config
	c.Addr = []string{p.listener.Addr().String()}
	c.Batch.Rows = 200
	b.produce(2000)
	b.start(c, nil)
	b.requireExact()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(t, lose, p.swallows, "answers were lost")
}

func TestClickHouseAwayForAWhile(t *testing.T) {
	b := newBench(t, 2)
	p := newProxy(t, serverAddr)
	c := b.config
	c.Addr = []string{p.listener.Addr().String()}
	c.Batch.Rows, c.Batch.Buffer = 500, 64<<10
	log := &logText{}
	s, err := NewSink(c, Deps{Bus: b.bus, Log: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.produce(1000)
	b.requireExact()
	p.setDown(true)
	b.produce(20_000)
	eventually(t, "the sink holds what it may and retries", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.buffered >= c.Batch.Buffer && log.contains("cannot insert, trying again")
	})
	size := 0
	for i := range b.made {
		o, _ := outcomeAt(i)
		size += proto.Size(o)
	}
	s.mu.Lock()
	held := s.buffered
	s.mu.Unlock()
	require.Less(t, held, size/2, "most of the backlog stays in Kafka")
	p.setDown(false)
	b.requireExact()
	require.True(t, log.contains("ClickHouse takes rows again"))
	cancel()
	require.NoError(t, <-done)
	require.Zero(t, s.buffered, "what was held is accounted for")
}

// ClickHouse itself is killed while it takes rows, and starts again over what
// it had written. Merges stay off, so two copies would be seen.
func TestClickHouseKilledWhileItInserts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b := newBench(t, 3)
	c := b.config
	c.Batch.Rows = 300
	b.start(c, nil)
	const kills = 5
	for range kills {
		b.produce(3000)
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		pid := serverPID()
		require.NotZero(t, pid, "the embedded engine runs")
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, "the engine is back", func() bool { now := serverPID(); return now != 0 && now != pid })
	}
	b.requireExact()
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(s))
}

// A second process under the same name takes the partitions over; the first says so and ends.
func TestSameInstanceTwice(t *testing.T) {
	b := newBench(t, 2)
	run := func() chan error {
		s, err := NewSink(b.config, Deps{Bus: b.bus, InstanceID: "one"})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return done
	}
	first := run()
	b.produce(200)
	b.requireExact()
	run()
	b.produce(200)
	b.requireExact()
	require.ErrorIs(t, <-first, ErrInstanceTaken)
}

// Members come and go while outcomes flow; partitions change hands in the
// middle of batches.
func TestRebalancesLoseNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b := newBench(t, 6)
	c := b.config
	c.Batch.Rows = 60
	var stops []func()
	for range 9 {
		b.produce(100 + random.IntN(1500))
		if len(stops) < 3 && (len(stops) == 0 || random.IntN(2) == 0) {
			stops = append(stops, b.start(c, nil))
		} else {
			i := random.IntN(len(stops))
			stops[i]()
			stops = append(stops[:i], stops[i+1:]...)
		}
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	}
	if len(stops) == 0 {
		b.start(c, nil)
	}
	b.requireExact()
}

func TestPoisonGoesToTheDeadLetters(t *testing.T) {
	b := newBench(t, 1)
	ctx := context.Background()
	b.produce(50)
	poison := map[string][]byte{}
	for reason, o := range map[string]*telemetry.Outcome{
		"no_company": {CallId: "x", Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{}}},
		"no_subject": {Company: "acme", Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{}}},
		"no_body":    {Company: "acme", CallId: "x"},
	} {
		value, err := proto.Marshal(o)
		require.NoError(t, err)
		poison[reason] = value
	}
	poison["undecodable"] = []byte{0xff, 0xff, 0xff}
	for _, value := range poison {
		require.NoError(t, b.client.ProduceSync(ctx, &kgo.Record{Topic: telemetry.TopicOutcomes, Value: value, Key: []byte("k")}).FirstErr())
	}
	b.produce(50)
	b.start(b.config, nil)
	b.requireExact()
	reader, err := kgo.NewClient(kgo.SeedBrokers(b.bus.Brokers...), kgo.ConsumeTopics(telemetry.TopicDeadLetter))
	require.NoError(t, err)
	defer reader.Close()
	got := map[string][]byte{}
	for len(got) < len(poison) {
		fetches := reader.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		for _, r := range fetches.Records() {
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			require.Equal(t, telemetry.TopicOutcomes, headers["topic"])
			require.Equal(t, "0", headers["partition"])
			require.NotEmpty(t, headers["offset"])
			require.NotEmpty(t, headers["error"])
			require.Equal(t, "k", string(r.Key))
			got[headers["reason"]] = r.Value
		}
	}
	require.Equal(t, poison, got)
}

func TestTablesThatForgetInsertsAreRefused(t *testing.T) {
	ctx := context.Background()
	for name, tc := range map[string]struct{ statement, says string }{
		"no window":     {"ALTER TABLE ratings MODIFY SETTING non_replicated_deduplication_window = 0", "table ratings has non_replicated_deduplication_window = 0"},
		"small window":  {"ALTER TABLE samples MODIFY SETTING non_replicated_deduplication_window = 9999", "table samples has non_replicated_deduplication_window = 9999"},
		"missing table": {"DROP TABLE calls", "table calls does not exist"},
		"view with a table of its own": {
			"CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY company AS SELECT company, count() AS n FROM samples GROUP BY company", ".inner_id."},
		"other engine": {"DROP TABLE ratings; CREATE TABLE ratings (company String) ENGINE = Memory", "engine Memory"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			for _, statement := range bytes.Split([]byte(tc.statement), []byte("; ")) {
				require.NoError(t, b.conn.Exec(ctx, string(statement)))
			}
			s, err := NewSink(b.config, Deps{Bus: b.bus})
			require.NoError(t, err)
			err = s.Run(ctx)
			require.ErrorIs(t, err, ErrDeduplication)
			require.ErrorContains(t, err, tc.says)
		})
	}
	t.Run("target of a view", func(t *testing.T) {
		b := newBench(t, 1)
		require.NoError(t, b.conn.Exec(ctx, "CREATE TABLE daily (company String, n UInt64) ENGINE = SummingMergeTree ORDER BY company"))
		require.NoError(t, b.conn.Exec(ctx, "CREATE MATERIALIZED VIEW v TO daily AS SELECT company, count() AS n FROM samples GROUP BY company"))
		err := CheckDeduplication(ctx, b.conn, 1)
		require.ErrorIs(t, err, ErrDeduplication)
		require.ErrorContains(t, err, "table daily")
		require.NoError(t, b.conn.Exec(ctx, "ALTER TABLE daily MODIFY SETTING non_replicated_deduplication_window = 10000"))
		require.NoError(t, CheckDeduplication(ctx, b.conn, 1))
		require.ErrorIs(t, CheckDeduplication(ctx, b.conn, 2), ErrDeduplication, "two servers that share no memory of tokens")
	})
}

func TestParsePending(t *testing.T) {
	for _, p := range []pendingRange{{0, 1, 1}, {120, 240, 7}} {
		got, err := parsePending(p.String())
		require.NoError(t, err)
		require.Equal(t, &p, got)
	}
	got, err := parsePending("pending=5-9")
	require.NoError(t, err)
	require.Equal(t, &pendingRange{5, 9, schemaVersion}, got)
	got, err = parsePending("")
	require.NoError(t, err)
	require.Nil(t, got)
	for _, bad := range []string{"x", "pending=-1-4", "pending=1-99999999999999999999", "pending=1-2;schema=x"} {
		_, err := parsePending(bad)
		require.Error(t, err, bad)
	}
}
