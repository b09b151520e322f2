package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// childEnv makes the test binary another program: "engine", the ClickHouse
// child, or "sink", a sink process that can be killed.
const childEnv = "EARSHOT_CLICKHOUSE_TEST_CHILD"

// addrEnv names another ClickHouse to test against than the embedded engine.
const addrEnv = "EARSHOT_TEST_CLICKHOUSE_ADDR"

var (
	serverAddr = os.Getenv(addrEnv)
	serverPID  = func() int { return 0 } // of the embedded engine
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childEnv) == "engine":
		exit(engines.Serve(context.Background(), os.Args[2:], os.Stdin))
	case os.Getenv(childEnv) == "sink":
		exit(sinkProcess())
	}
	os.Exit(runWithClickHouse(m))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runWithClickHouse(m *testing.M) int {
	if serverAddr != "" {
		return m.Run()
	}
	data, err := os.MkdirTemp("", "earshot-clickhouse-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(data)
	library, err := engines.FindLibrary("", "../..")
	if err != nil {
		fmt.Fprintf(os.Stderr, "these tests run the real ClickHouse: run `%s` first: %v\n", engines.InstallCommand, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := engines.Start(ctx, engines.Config{
		Data: data, ClickHouse: true, Library: library, MinFreeBytes: 1, Env: []string{childEnv + "=engine"},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	serverAddr = server.ClickHouseAddr()
	serverPID = func() int {
		if h := server.Health()[0]; h.Ready {
			return h.PID
		}
		return 0
	}
	return m.Run()
}

// childConfig travels to a sink process in its environment.
type childConfig struct {
	ClickHouse Config
	Brokers    []string
	Instance   string
}

func sinkProcess() error {
	var c childConfig
	if err := json.Unmarshal([]byte(os.Getenv("SINK_CONFIG")), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b := bus.DefaultConfig()
	b.Brokers = c.Brokers
	s, err := NewSink(c.ClickHouse, Deps{
		Bus: b, InstanceID: c.Instance,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// bench is a database, a broker with the topics, and what was produced.
type bench struct {
	*testing.T
	config Config
	bus    bus.Config
	conn   driver.Conn
	client *kgo.Client
	made   int64
	want   map[string]uint64 // rows by table
}

var databases atomic.Int64

func newBench(t *testing.T, partitions int32) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return newBenchAt(t, cluster.ListenAddrs(), partitions)
}

func newBenchAt(t *testing.T, brokers []string, partitions int32) *bench {
	t.Helper()
	ctx := context.Background()
	var err error
	b := &bench{T: t, want: map[string]uint64{}}
	b.bus = bus.DefaultConfig()
	b.bus.Brokers, b.bus.Partitions = brokers, partitions
	require.NoError(t, bus.EnsureTopics(ctx, b.bus))
	b.config = testConfig()
	require.NoError(t, Migrate(ctx, b.config))
	b.conn, err = Open(b.config)
	require.NoError(t, err)
	t.Cleanup(func() { b.conn.Close() })
	// A merge would remove the second copy of a row before it is counted.
	for _, table := range newBlocks().tables() {
		require.NoError(t, b.conn.Exec(ctx, "SYSTEM STOP MERGES "+b.config.Database+"."+table.name))
		// The same for an engine that starts again.
		require.NoError(t, b.conn.Exec(ctx, "ALTER TABLE "+table.name+" MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1"))
	}
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.bus.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	t.Cleanup(b.client.Close)
	return b
}

func testConfig() Config {
	c := DefaultConfig()
	c.Addr = []string{serverAddr}
	c.Database = fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	c.Batch.Linger = 20 * time.Millisecond
	return c
}

// outcomeAt is the i-th outcome: every kind in turn, most of them samples.
func outcomeAt(i int64) (*telemetry.Outcome, []string) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro() + i*1000
	call := fmt.Sprintf("call-%d", i/20)
	f := float64(i%100) + 0.25
	o := &telemetry.Outcome{
		Company: "acme", CallId: call, Seq: i << 12, ReceivedUs: time.Now().UnixMicro(), AtUs: now,
	}
	switch i % 20 {
	case 0:
		o.Body = &telemetry.Outcome_Message{Message: &telemetry.SIPMessage{Src: "192.0.2.1:5060", Dst: "192.0.2.2:5060", Method: "INVITE", Cseq: 1, Raw: []byte("INVITE")}}
		return o, []string{"messages"}
	case 1:
		o.Body = &telemetry.Outcome_Call{Call: &telemetry.Call{State: "ended", Direction: "inbound", StartedUs: now,
			Target:  &telemetry.Party{Identity: &telemetry.Identity{UserId: "u", OfficeId: "hq"}},
			Verdict: &telemetry.Verdict{Final: true, Loss: &telemetry.Loss{Percent: &f}}}}
		return o, []string{"calls", "call_times", "call_keys", "call_keys", "call_figures", "call_figures", "call_quality"}
	case 2:
		o.Body = &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{Id: fmt.Sprint("r", i), AtUs: now, Reason: "on_a_call"}}
		return o, []string{"rejections", "rejection_times", "call_keys"}
	case 3:
		o.Body = &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: fmt.Sprint("s", i), AtUs: now, Rating: 4}}
		return o, []string{"ratings", "call_keys"}
	case 4:
		o.CallId = ""
		o.Body = &telemetry.Outcome_Registration{Registration: &telemetry.RegistrationChange{Aor: fmt.Sprint("sip:u", i, "@example.net"), DeviceId: "d", AtUs: now, Change: "registered", Registered: true}}
		return o, []string{"registration_changes", "registrations"}
	case 5:
		o.CallId = ""
		o.Body = &telemetry.Outcome_Ingest{Ingest: &telemetry.IngestReport{Instance: "i", Listener: "hep_udp", Agent: "9", Counts: []*telemetry.IngestCount{
			{Outcome: "received", Count: 3}, {Outcome: "rejected", Reason: "hep_chunk", Count: 1}}}}
		return o, []string{"ingest_counts", "ingest_counts"}
	case 6:
		o.Body = &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{Id: fmt.Sprint("m", i), Type: "held", AtUs: now, Agent: &telemetry.Identity{UserId: "u", OfficeId: "hq"}}}
		return o, []string{"call_events", "call_event_times"}
	}
	o.Body = &telemetry.Outcome_Sample{Sample: &telemetry.Sample{AtUs: now, LegId: "a", Side: "target", Source: "rtcp", Direction: "target_to_contact", Ssrc: uint32(i), RttMs: &f}}
	return o, []string{"samples"}
}

// produce writes the next n outcomes, over all partitions, and remembers their rows.
func (b *bench) produce(n int) {
	b.Helper()
	records := make([]*kgo.Record, 0, n)
	for range n {
		o, tables := outcomeAt(b.made)
		value, err := proto.Marshal(o)
		require.NoError(b, err)
		records = append(records, &kgo.Record{Topic: telemetry.TopicOutcomes, Partition: int32(b.made / 20 % int64(b.bus.Partitions)), Value: value})
		for _, t := range tables {
			b.want[t]++
		}
		b.made++
	}
	require.NoError(b, b.client.ProduceSync(context.Background(), records...).FirstErr())
}

// rows counts without FINAL: two copies of a row are two.
func (b *bench) rows() map[string]uint64 {
	b.Helper()
	got := map[string]uint64{}
	for _, t := range newBlocks().tables() {
		var n uint64
		require.NoError(b, b.conn.QueryRow(context.Background(), "SELECT count() FROM "+t.name).Scan(&n))
		if n > 0 {
			got[t.name] = n
		}
	}
	return got
}

// stored says whether the group has moved behind everything in the topic.
func (b *bench) stored() bool {
	ctx := context.Background()
	adm := kadm.NewClient(b.client)
	ends, err := adm.ListEndOffsets(ctx, telemetry.TopicOutcomes)
	require.NoError(b, err)
	at, err := adm.FetchOffsets(ctx, Group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return false // no sink has joined yet
	}
	require.NoError(b, err)
	for p, end := range ends[telemetry.TopicOutcomes] {
		if end.Offset == 0 {
			continue
		}
		o, ok := at.Lookup(telemetry.TopicOutcomes, p)
		if !ok || o.At < end.Offset {
			return false
		}
	}
	return true
}

func (b *bench) requireExact() {
	b.Helper()
	eventually(b, "everything is stored", b.stored)
	require.Equal(b, b.want, b.rows())
}

// start runs a sink in this process; the returned function ends it and waits.
func (b *bench) start(c Config, log *slog.Logger) func() {
	b.Helper()
	s, err := NewSink(c, Deps{Bus: b.bus, Log: log})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(b, <-done)
		}
	}
	b.Cleanup(stop)
	return stop
}

// eventually waits for a state that other processes bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(4 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
