package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// Group is the consumer group of the sink.
const Group = "earshot-sink-clickhouse"

const (
	sessionTimeout = 10 * time.Second // how long partitions of a dead member wait
	revokeGrace    = 5 * time.Second  // how long a partition's batch may finish when it is taken away
	pollRecords    = 5_000
)

// ErrInstanceTaken says that another process has joined the group under this one's name.
var ErrInstanceTaken = errors.New("another sink runs under the same instance name")

// Deps is what a Sink needs beside its configuration.
type Deps struct {
	Bus     bus.Config
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// InstanceID makes the member static (KIP-345): a process that was killed
	// and comes back has its partitions at once instead of after the session
	// timeout. It must be unique in the group; empty: not static.
	InstanceID string
}

// Sink copies committed outcomes from Kafka to ClickHouse, each once.
type Sink struct {
	config  Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics

	topic string // topic and incarnation, as it stands in tokens; guarded by mu

	mu       sync.Mutex
	workers  map[int32]*worker
	buffered int           // bytes handed to workers and not yet stored
	room     chan struct{} // told when buffered falls
}

// NewSink checks the configuration.
func NewSink(c Config, d Deps) (*Sink, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = prometheus.NewRegistry()
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, err
	}
	return &Sink{
		config: c, deps: d, metrics: m,
		log:     d.Log.With("component", "clickhouse-sink"),
		workers: map[int32]*worker{},
		room:    make(chan struct{}, 1),
	}, nil
}

// Run stores outcomes until ctx ends. It refuses a database that would not
// recognise a retried insert.
func (s *Sink) Run(ctx context.Context) error {
	if err := s.checkDatabase(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	opts, err := s.deps.Bus.Options()
	if err != nil {
		return err
	}
	opts = append(opts,
		kgo.ConsumerGroup(Group),
		kgo.ConsumeTopics(telemetry.TopicOutcomes),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(sessionTimeout/5),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.lost),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if s.deps.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(s.deps.InstanceID))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	// Leaving the group calls revoked, which lets the batches finish.
	defer client.CloseAllowingRebalance()
	defer s.stopAll()

	for ctx.Err() == nil {
		if !s.waitForRoom(ctx) {
			break
		}
		fetches := client.PollRecords(ctx, pollRecords)
		if fetches.IsClientClosed() {
			return errors.New("the Kafka client was closed")
		}
		var fenced error
		fetches.EachError(func(topic string, partition int32, err error) {
			if errors.Is(err, kerr.FencedInstanceID) {
				fenced = fmt.Errorf("%w: %q: %w", ErrInstanceTaken, s.deps.InstanceID, err)
				return
			}
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				s.log.Warn("cannot read outcomes, trying again", "topic", topic, "partition", partition, "error", err)
			}
		})
		if fenced != nil {
			return fenced
		}
		s.dispatch(fetches)
		client.AllowRebalance()
	}
	return nil
}

// checkDatabase waits for ClickHouse to answer, then judges its tables.
func (s *Sink) checkDatabase(ctx context.Context) error {
	conn, err := Open(s.config)
	if err != nil {
		return err
	}
	defer conn.Close()
	backoff := newBackoff()
	for {
		err := CheckDeduplication(ctx, conn, len(s.config.Addr))
		if err == nil || errors.Is(err, ErrDeduplication) {
			return err
		}
		s.log.Warn("cannot check the tables of ClickHouse, trying again", "error", err, "attempt", backoff.attempt+1)
		if !backoff.wait(ctx) {
			return ctx.Err()
		}
	}
}

// waitForRoom holds reading while too much waits for ClickHouse. The group's
// heartbeats do not depend on reading.
func (s *Sink) waitForRoom(ctx context.Context) bool {
	for {
		s.mu.Lock()
		full := s.buffered >= s.config.Batch.Buffer
		s.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.room:
		}
	}
}

func (s *Sink) hold(bytes int) {
	s.mu.Lock()
	s.buffered += bytes
	s.metrics.buffered.Set(float64(s.buffered))
	s.mu.Unlock()
	if bytes < 0 {
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
}

// dispatch hands records to their partition's worker. It runs between a poll
// and AllowRebalance, so every record belongs to the assignment that the worker is for.
func (s *Sink) dispatch(fetches kgo.Fetches) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		s.mu.Lock()
		w := s.workers[p.Partition]
		s.mu.Unlock()
		if w == nil {
			return // lost meanwhile; its next owner reads them again
		}
		size := 0
		for _, r := range p.Records {
			size += len(r.Value)
		}
		s.hold(size)
		w.give(p.Records, p.HighWatermark)
	})
}

// assigned reads what the last owner of each partition had in hand and starts
// a worker from there. Nothing is fetched before it returns.
func (s *Sink) assigned(ctx context.Context, client *kgo.Client, assigned map[string][]int32) {
	partitions := assigned[telemetry.TopicOutcomes]
	if len(partitions) == 0 {
		return
	}
	admin := kadm.NewClient(client)
	backoff := newBackoff()
	var committed kadm.OffsetResponses
	for {
		err := s.readTopic(ctx, admin)
		if err == nil {
			committed, err = admin.FetchOffsets(ctx, Group)
		}
		if err == nil {
			err = committed.Error()
		}
		if err == nil {
			break
		}
		s.log.Warn("cannot read the group's offsets, trying again", "error", err)
		if !backoff.wait(ctx) {
			return
		}
	}
	for _, partition := range partitions {
		w := newWorker(s, client, partition)
		if at, ok := committed.Lookup(telemetry.TopicOutcomes, partition); ok && at.At >= 0 {
			w.position = at.At
			pending, err := parsePending(at.Metadata)
			switch {
			case err != nil:
				s.log.Error("cannot read the pending range of a partition, going on without", "partition", partition, "metadata", at.Metadata, "error", err)
			case pending == nil:
			case pending.lo != at.At || pending.hi <= pending.lo:
				s.log.Error("the pending range of a partition does not begin at its offset, going on without", "partition", partition, "metadata", at.Metadata, "offset", at.At)
			default:
				w.pending = pending
				s.log.Info("a pending range is inserted again", "partition", partition, "from", pending.lo, "to", pending.hi)
			}
		}
		s.mu.Lock()
		s.workers[partition] = w
		s.mu.Unlock()
		go w.run()
	}
}

// readTopic learns which incarnation of the topic this is. A topic that was
// deleted and made again counts offsets from 0 again; with the name alone its
// ranges would have the tokens of old ones, and ClickHouse would drop new rows.
func (s *Sink) readTopic(ctx context.Context, admin *kadm.Client) error {
	topics, err := admin.ListTopics(ctx, telemetry.TopicOutcomes)
	if err != nil {
		return fmt.Errorf("cannot describe topic %s: %w", telemetry.TopicOutcomes, err)
	}
	t, ok := topics[telemetry.TopicOutcomes]
	if !ok || t.Err != nil {
		return fmt.Errorf("cannot describe topic %s: %w", telemetry.TopicOutcomes, t.Err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topic = telemetry.TopicOutcomes
	if t.ID != (kadm.TopicID{}) {
		s.topic += "/" + t.ID.String()
	}
	return nil
}

// revoked runs before the group moves on, so no commit of a worker can come
// after another member has its partition.
func (s *Sink) revoked(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.stop(partitions[telemetry.TopicOutcomes], revokeGrace)
}

func (s *Sink) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.stop(partitions[telemetry.TopicOutcomes], 0)
}

func (s *Sink) stopAll() {
	s.mu.Lock()
	var all []int32
	for p := range s.workers {
		all = append(all, p)
	}
	s.mu.Unlock()
	s.stop(all, revokeGrace)
}

func (s *Sink) stop(partitions []int32, grace time.Duration) {
	var stopping []*worker
	s.mu.Lock()
	for _, p := range partitions {
		if w := s.workers[p]; w != nil {
			stopping = append(stopping, w)
			delete(s.workers, p)
		}
	}
	s.mu.Unlock()
	for _, w := range stopping {
		close(w.stopping)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for _, w := range stopping {
		select {
		case <-w.done:
		case <-timer.C:
			for _, w := range stopping {
				w.cancel()
			}
			<-w.done
		}
		w.cancel()
		s.hold(-w.close())
		s.metrics.forget(w.partition)
	}
}
