package api_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
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
const childEnv = "EARSHOT_API_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := engines.Serve(context.Background(), os.Args[2:], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	engine.stop()
	stopPostgres()
	os.Exit(code)
}

// pipeline is what stands behind the API from Kafka on: the broker, the real
// sink and the real ClickHouse.
type pipeline struct {
	once    sync.Once
	err     error
	data    string
	set     *engines.Set
	cluster *kfake.Cluster
	client  *kgo.Client
	cancel  context.CancelFunc
	sink    chan error
	conn    driver.Conn
	store   *query.Store
}

var engine pipeline

// withEngine is the pipeline, started by the first test that needs it.
func withEngine(t *testing.T) *pipeline {
	t.Helper()
	engine.once.Do(func() { engine.err = engine.start() })
	if engine.err != nil {
		t.Fatal(engine.err)
	}
	return &engine
}

func (p *pipeline) start() error {
	library, err := engines.FindLibrary("", "..")
	if err != nil {
		return fmt.Errorf("these tests run the real ClickHouse: run `%s` first: %w", engines.InstallCommand, err)
	}
	if p.data, err = os.MkdirTemp("", "earshot-api-test-"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p.set, err = engines.Start(ctx, engines.Config{Data: p.data, ClickHouse: true, Library: library, MinFreeBytes: 1, Env: []string{childEnv + "=1"}})
	if err != nil {
		return err
	}
	if p.cluster, err = kfake.NewCluster(kfake.NumBrokers(1)); err != nil {
		return err
	}
	kafka := bus.DefaultConfig()
	kafka.Brokers, kafka.Partitions = p.cluster.ListenAddrs(), 2
	if err := bus.EnsureTopics(ctx, kafka); err != nil {
		return err
	}
	cfg := clickhouse.DefaultConfig()
	cfg.Addr, cfg.Batch.Linger = []string{p.set.ClickHouseAddr()}, 20*time.Millisecond
	if err := clickhouse.Migrate(ctx, cfg); err != nil {
		return err
	}
	if p.conn, err = clickhouse.Open(cfg); err != nil {
		return err
	}
	p.store = query.New(p.conn, query.Options{})
	sink, err := clickhouse.NewSink(cfg, clickhouse.Deps{Bus: kafka})
	if err != nil {
		return err
	}
	if p.client, err = kgo.NewClient(kgo.SeedBrokers(kafka.Brokers...)); err != nil {
		return err
	}
	var run context.Context
	run, p.cancel = context.WithCancel(context.Background())
	p.sink = make(chan error, 1)
	go func() { p.sink <- sink.Run(run) }()
	return nil
}

func (p *pipeline) stop() {
	if p.cancel != nil {
		p.cancel()
		<-p.sink
	}
	if p.client != nil {
		p.client.Close()
	}
	if p.cluster != nil {
		p.cluster.Close()
	}
	if p.set != nil {
		p.set.Stop()
	}
	if p.data != "" {
		os.RemoveAll(p.data)
	}
}

// put writes outcomes as a processor would and waits until done finds them.
func (p *pipeline) put(t *testing.T, done func() bool, outcomes ...*telemetry.Outcome) {
	t.Helper()
	records := make([]*kgo.Record, len(outcomes))
	for i, o := range outcomes {
		b, err := proto.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		records[i] = &kgo.Record{Topic: telemetry.TopicOutcomes, Key: telemetry.Key(o.Company, o.CallId), Value: b}
	}
	if err := p.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case err := <-p.sink:
			p.sink <- err
			t.Fatal(errors.Join(errors.New("the sink ended"), err))
		case <-deadline:
			t.Fatal("outcomes never arrived")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
