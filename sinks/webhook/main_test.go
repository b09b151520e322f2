package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/postgrestest"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// childEnv makes the test binary a sink process that can be killed.
const childEnv = "EARSHOT_WEBHOOK_TEST_CHILD"

var (
	postgres = sync.OnceValues(postgrestest.Start)
	started  bool
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := sinkProcess(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if started {
		if server, err := postgres(); err == nil {
			server.Stop()
		}
	}
	os.Exit(code)
}

// childConfig travels to a sink process in its environment.
type childConfig struct {
	Config   Config
	DSN      string
	Data     string
	Brokers  []string
	Instance string
}

func sinkProcess(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d, err := directory.Connect(ctx, directory.Config{DSN: c.DSN}, c.Data)
	if err != nil {
		return err
	}
	defer d.Close()
	b := bus.DefaultConfig()
	b.Brokers = c.Brokers
	s, err := NewSink(c.Config, Deps{Bus: b, Directory: d, Show: show, InstanceID: c.Instance, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// show is what the program shows of a moment.
func show(company, call string, m *telemetry.CallMoment) any {
	return struct {
		Company string `json:"company"`
		query.CallEvent
	}{company, query.CallEventOf(call, m)}
}

// bench is a directory, a broker with the topics, and what was produced.
type bench struct {
	*testing.T
	dsn, data string
	dir       *directory.Directory
	bus       bus.Config
	client    *kgo.Client
	made      map[string]int // events by call
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(b *bench)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel() // with the other one: they mostly wait
		test(newBench(t, ""))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		started = true
		server, err := postgres()
		require.NoError(t, err)
		test(newBench(t, server.NewDatabase(t)))
	})
}

const partitions = 4

func newBench(t *testing.T, dsn string) *bench {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	b := &bench{T: t, dsn: dsn, data: t.TempDir(), bus: bus.DefaultConfig(), made: map[string]int{}}
	b.bus.Brokers, b.bus.Partitions = cluster.ListenAddrs(), partitions
	require.NoError(t, bus.EnsureTopics(t.Context(), b.bus))
	b.dir, err = directory.Open(t.Context(), directory.Config{DSN: dsn}, b.data)
	require.NoError(t, err)
	t.Cleanup(func() { b.dir.Close() })
	_, _, err = b.dir.Bootstrap(t.Context(), b.data)
	require.NoError(t, err)
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.bus.Brokers...))
	require.NoError(t, err)
	t.Cleanup(b.client.Close)
	return b
}

// quick is a configuration in which a day passes in moments.
func quick() Config {
	c := DefaultConfig()
	c.Backoff, c.GiveUp, c.Probe = []string{"20ms", "50ms", "100ms"}, time.Hour, 200*time.Millisecond
	c.Timeout, c.AllowPrivate = 2*time.Second, []string{"127.0.0.0/8"}
	return c
}

// start runs a sink in this process; the returned function ends it and waits.
func (b *bench) start(c Config) (stop func()) {
	b.Helper()
	s, err := NewSink(c, Deps{Bus: b.bus, Directory: b.dir, Log: slog.New(slog.NewTextHandler(testWriter{b.T}, nil)), Show: show, InstanceID: "test"})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(b, <-done)
	})
	b.Cleanup(stop)
	return stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Logf("%s", p); return len(p), nil }

func (b *bench) subscribe(url string, types ...string) directory.Subscription {
	b.Helper()
	if len(types) == 0 {
		types = []string{"*"}
	}
	s, err := b.dir.CreateSubscription(b.Context(), directory.DefaultCompany, directory.Subscription{URL: url, Types: types, Enabled: true})
	require.NoError(b, err)
	return s
}

// moment is the next event of a call.
func (b *bench) moment(call string, change func(*telemetry.Outcome, *telemetry.CallMoment)) *kgo.Record {
	b.Helper()
	i := b.made[call]
	b.made[call]++
	m := &telemetry.CallMoment{Id: fmt.Sprintf("%s-%04d", call, i), Type: "held", AtUs: time.Now().UnixMicro() - int64(i)}
	o := &telemetry.Outcome{Company: directory.DefaultCompany, CallId: call, Seq: int64(i), ReceivedUs: time.Now().UnixMicro(), Body: &telemetry.Outcome_Moment{Moment: m}}
	if change != nil {
		change(o, m)
	}
	value, err := proto.Marshal(o)
	require.NoError(b, err)
	return &kgo.Record{Topic: telemetry.TopicOutcomes, Key: telemetry.Key(o.Company, call), Value: value}
}

func (b *bench) produce(records ...*kgo.Record) {
	b.Helper()
	require.NoError(b, b.client.ProduceSync(b.Context(), records...).FirstErr())
}

// round produces one more event of each of n calls.
func (b *bench) round(n int) {
	b.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, b.moment(fmt.Sprintf("call-%d", i), nil))
	}
	b.produce(records...)
}

// eventually waits for a state that others bring about.
func (b *bench) eventually(what string, check func() error) {
	b.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("it never happened that %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var errNotYet = errors.New("not yet")

func delivery(created time.Time) directory.Delivery {
	return directory.Delivery{Subscription: "s", Seq: 1, EventID: "e", State: directory.DeliveryPending, CreatedAt: created}
}

// endpoint is one that has failed since a time.
func endpoint(since time.Time) directory.Endpoint {
	return directory.Endpoint{Failures: 9, Subscription: directory.Subscription{ID: "s", FailingSince: since}}
}
