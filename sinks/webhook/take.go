package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/telemetry"
)

const (
	sessionTimeout = 10 * time.Second // how long partitions of a dead member wait
	pollRecords    = 5_000
	// noteEvery is how often progress is stored where nobody is to be told of
	// anything: most outcomes are nobody's event.
	noteEvery = 10 * time.Second
)

// taker reads outcomes for as long as its view of the positions holds.
type taker struct {
	*Sink
	client *kgo.Client
	match  matcher

	mu     sync.Mutex
	source string          // topic and incarnation
	stored map[int32]int64 // the position in the database; -1: none
	read   map[int32]int64 // where reading is, beyond stored

	noted time.Time
	// unstored is set while events are in hand whose deliveries are not stored.
	unstored bool
}

// take turns events into deliveries until ctx ends.
func (s *Sink) take(ctx context.Context) error {
	for {
		err := s.takeFrom(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, directory.ErrPositionMoved):
			// A partition went to another member while its events were in hand here:
			// that member has stored them.
			s.log.Info("events were taken by another process; reading on from there")
			if !sleep(ctx, 200*time.Millisecond) {
				return nil
			}
		case err != nil:
			return err
		}
	}
}

func (s *Sink) takeFrom(ctx context.Context) error {
	t := &taker{Sink: s, match: matcher{dir: s.dir}, stored: map[int32]int64{}, read: map[int32]int64{}, noted: time.Now()}
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
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(sessionTimeout/5),
		kgo.FetchMaxBytes(8<<20),
		kgo.FetchMaxPartitionBytes(2<<20),
		kgo.AdjustFetchOffsetsFn(t.positions),
		kgo.OnPartitionsRevoked(t.lost),
		kgo.OnPartitionsLost(t.lost),
	)
	if s.deps.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(s.deps.InstanceID))
	}
	if t.client, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer t.client.Close()
	for ctx.Err() == nil {
		// Progress is noted also when nothing comes any more.
		poll, cancel := context.WithTimeout(ctx, noteEvery)
		fetches := t.client.PollRecords(poll, pollRecords)
		cancel()
		if fetches.IsClientClosed() {
			return errors.New("the Kafka client was closed")
		}
		var fenced error
		fetches.EachError(func(topic string, partition int32, err error) {
			if errors.Is(err, kerr.FencedInstanceID) {
				fenced = fmt.Errorf("%w: %q: %w", ErrInstanceTaken, s.deps.InstanceID, err)
			} else if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Warn("cannot read outcomes, trying again", "topic", topic, "partition", partition, "error", err)
			}
		})
		if fenced != nil {
			return fenced
		}
		if err := t.store(ctx, fetches); err != nil {
			return err
		}
	}
	if t.unstored {
		return nil
	}
	// What was read and is nobody's need not be read again.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = t.dir.QueueDeliveries(last, t.moves(), nil)
	return nil
}

// positions says where reading of new partitions begins: where the database
// says that their events were taken to. What the group has committed is only
// for people to see.
func (t *taker) positions(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	admin := kadm.NewClient(t.client)
	var at map[int64]int64
	var source string
	ok := t.again(ctx, "read how far events were taken", func() error {
		topics, err := admin.ListTopics(ctx, telemetry.TopicOutcomes)
		if err != nil {
			return fmt.Errorf("cannot describe topic %s: %w", telemetry.TopicOutcomes, err)
		}
		// A topic that was deleted and made again counts from 0 again.
		source = telemetry.TopicOutcomes
		if id := topics[telemetry.TopicOutcomes].ID; id != (kadm.TopicID{}) {
			source += "/" + id.String()
		}
		at, err = t.dir.Positions(ctx, source)
		return err
	})
	if !ok {
		return nil, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.source = source
	for partition := range assigned[telemetry.TopicOutcomes] {
		delete(t.read, partition)
		t.stored[partition] = -1
		offset := kgo.NewOffset().AtStart()
		if next, known := at[int64(partition)]; known {
			t.stored[partition] = next
			offset = kgo.NewOffset().At(next)
		}
		assigned[telemetry.TopicOutcomes][partition] = offset
	}
	return assigned, nil
}

func (t *taker) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range partitions[telemetry.TopicOutcomes] {
		delete(t.stored, p)
		t.metrics.lag.DeleteLabelValues(strconv.Itoa(int(p)))
	}
}

// moves are the steps that reading is ahead of what is stored.
func (t *taker) moves() []directory.Move {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []directory.Move
	for p, next := range t.read {
		if from, mine := t.stored[p]; !mine {
			delete(t.read, p)
		} else if next > from {
			out = append(out, directory.Move{Source: t.source, Part: int64(p), From: from, To: next})
		}
	}
	return out
}

// store makes deliveries of the events among what was fetched.
func (t *taker) store(ctx context.Context, fetches kgo.Fetches) error {
	events := t.eventsOf(fetches)
	var deliveries []directory.Delivery
	if len(events) > 0 {
		t.unstored = true
		if !t.again(ctx, "read the subscriptions", func() error { return t.match.refresh(ctx) }) {
			return nil
		}
		deliveries = t.match.deliveries(events)
	}
	t.unstored = len(deliveries) > 0
	if len(deliveries) == 0 && time.Since(t.noted) < noteEvery {
		return nil
	}
	moves := t.moves()
	if len(moves) == 0 {
		return nil
	}
	failpoint.Hit("webhook.before-take")
	var moved error
	ok := t.again(ctx, "store deliveries", func() error {
		n, err := t.dir.QueueDeliveries(ctx, moves, deliveries)
		if errors.Is(err, directory.ErrPositionMoved) {
			moved = err
			return nil
		}
		if err == nil {
			t.metrics.queued.Add(float64(n))
		}
		return err
	})
	if !ok || moved != nil {
		return moved
	}
	failpoint.Hit("webhook.after-take")
	t.unstored = false
	if len(deliveries) > 0 {
		t.wake()
	}
	t.noted = time.Now()
	t.commit(ctx, moves)
	return nil
}

func (t *taker) eventsOf(fetches kgo.Fetches) []*event {
	var events []*event
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		next := p.Records[len(p.Records)-1].Offset + 1
		t.mu.Lock()
		_, mine := t.stored[p.Partition]
		if mine {
			t.read[p.Partition] = next
		}
		t.mu.Unlock()
		if !mine {
			return // lost meanwhile; its next owner reads them again
		}
		for _, r := range p.Records {
			e, err := t.readEvent(r.Value)
			if err != nil {
				// The sink into ClickHouse, which reads the same, keeps it as a dead letter.
				t.metrics.poison.Inc()
				t.log.Error("an outcome cannot be read, nobody is told of it", "partition", r.Partition, "offset", r.Offset, "error", err)
			} else if e != nil {
				events = append(events, e)
			}
		}
		t.metrics.lag.WithLabelValues(strconv.Itoa(int(p.Partition))).Set(float64(max(0, p.HighWatermark-next)))
	})
	t.metrics.events.Add(float64(len(events)))
	return events
}

// commit tells the group what the database knows already, for those who watch lag.
func (t *taker) commit(ctx context.Context, moves []directory.Move) {
	offsets := map[int32]kgo.EpochOffset{}
	t.mu.Lock()
	for _, m := range moves {
		if _, mine := t.stored[int32(m.Part)]; mine {
			t.stored[int32(m.Part)] = m.To
			offsets[int32(m.Part)] = kgo.EpochOffset{Epoch: -1, Offset: m.To}
		}
	}
	t.mu.Unlock()
	t.client.CommitOffsets(ctx, map[string]map[int32]kgo.EpochOffset{telemetry.TopicOutcomes: offsets}, nil)
}
