package query_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

// childEnv makes the test binary the ClickHouse child.
const childEnv = "EARSHOT_QUERY_TEST_CHILD"

var serverAddr string

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := engines.Serve(context.Background(), os.Args[2:], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runWithClickHouse(m))
}

func runWithClickHouse(m *testing.M) int {
	data, err := os.MkdirTemp("", "earshot-query-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(data)
	library, err := engines.FindLibrary("", "..")
	if err != nil {
		fmt.Fprintf(os.Stderr, "these tests run the real ClickHouse: run `%s` first: %v\n", engines.InstallCommand, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := engines.Start(ctx, engines.Config{
		Data: data, ClickHouse: true, Library: library, MinFreeBytes: 1, Env: []string{childEnv + "=1"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	serverAddr = server.ClickHouseAddr()
	return m.Run()
}

// now is the clock of every test: what is registered and what is live is asked at this time.
var now = time.Date(2026, 3, 4, 15, 30, 0, 0, time.UTC)

func us(ago time.Duration) int64 { return now.Add(-ago).UnixMicro() }

// stored brings outcomes the whole way: topic, sink, tables.
func stored(t *testing.T, outcomes []*telemetry.Outcome) *query.Store {
	t.Helper()
	store, _ := storedRaw(t, outcomes)
	return store
}

// storedRaw is stored with a connection that sees the rows.
func storedRaw(t *testing.T, outcomes []*telemetry.Outcome) (*query.Store, driver.Conn) {
	t.Helper()
	ctx := context.Background()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	b := bus.DefaultConfig()
	b.Brokers, b.Partitions = cluster.ListenAddrs(), 1
	require.NoError(t, bus.EnsureTopics(ctx, b))
	c := clickhouse.DefaultConfig()
	c.Addr, c.Batch.Linger = []string{serverAddr}, 10*time.Millisecond
	c.Database = fmt.Sprintf("query_%d_%d", os.Getpid(), time.Now().UnixNano())
	require.NoError(t, clickhouse.Migrate(ctx, c))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	for i, o := range outcomes {
		if o.Seq == 0 {
			o.Seq = int64(i+1) << 12
		}
		if o.ReceivedUs == 0 {
			o.ReceivedUs = time.Now().UnixMicro()
		}
		value, err := proto.Marshal(o)
		require.NoError(t, err)
		require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Topic: telemetry.TopicOutcomes, Value: value}).FirstErr())
	}
	sink, err := clickhouse.NewSink(c, clickhouse.Deps{Bus: b})
	require.NoError(t, err)
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sink.Run(running) }()
	conn, err := clickhouse.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	adm := kadm.NewClient(client)
	deadline := time.Now().Add(4 * time.Minute)
	for {
		at, err := adm.FetchOffsets(ctx, clickhouse.Group)
		if !errors.Is(err, kerr.GroupIDNotFound) {
			require.NoError(t, err)
		}
		if o, ok := at.Lookup(telemetry.TopicOutcomes, 0); ok && o.At == int64(len(outcomes)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the outcomes were never stored")
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	require.NoError(t, <-done)
	return query.New(conn, query.Options{Now: func() time.Time { return now }}), conn
}
