package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/earshot/earshot/telemetry"
)

// Results of a recovery, as metric label.
const (
	recoveredEmpty     = "empty"     // no checkpoint: replay from the start of the input
	recoveredRestored  = "restored"  // checkpoint and replay from its offset
	recoveredDistrust  = "distrust"  // checkpoint damaged or of another version: as if there were none
	recoveredAhead     = "ahead"     // offsets were moved back behind the checkpoint: begin anew there
	recoveredTruncated = "truncated" // retention took input between checkpoint and committed offset
)

// recover rebuilds the state of a partition as it was before the record at
// offset first, the one to be processed next. It writes nothing.
func (p *Processor) recover(ctx context.Context, key topicPartition, first int64) (*partition, error) {
	began := time.Now()
	log := p.log.With("topic", key.topic, "partition", key.partition)
	fresh := func() *partition {
		return newPartition(key.topic, key.partition, p.deps.Machines[key.topic](), p.cfg.Tombstones)
	}
	saved, err := p.readCheckpoint(ctx, key)
	if err != nil {
		return nil, err
	}
	part, result := fresh(), recoveredRestored
	found, err := part.restore(saved)
	switch {
	case err != nil:
		// Processing is a pure function of the input: all of the input gives
		// the state again, as far as it is still there.
		log.Error("a checkpoint is not usable, the state is rebuilt from the input", "error", err)
		part, result = fresh(), recoveredDistrust
		part.saved.stale = saved.keys()
	case !found:
		result = recoveredEmpty
	case part.next > first:
		// Someone moved the group's offsets back, to have it processed again.
		log.Error("the group stands before the checkpoint, processing begins anew there", "offset", first, "checkpoint", part.next)
		part, result = fresh(), recoveredAhead
		part.saved.stale = saved.keys()
		part.next = first
	}
	if err := p.deps.Failpoint(StepMidRestore); err != nil {
		return nil, err
	}
	replayed, truncated, err := p.replay(ctx, part, first)
	if err != nil {
		return nil, err
	}
	if truncated && result == recoveredRestored {
		log.Error("retention has deleted input since the checkpoint, the state may lack it", "offset", first)
		p.metrics.truncated.WithLabelValues(key.topic).Inc()
		result = recoveredTruncated
	}
	took := time.Since(began)
	p.metrics.restores.WithLabelValues(key.topic, result).Inc()
	p.metrics.restoreSeconds.Observe(took.Seconds())
	p.metrics.replayed.WithLabelValues(key.topic).Add(float64(replayed))
	level := slog.LevelInfo
	if result == "empty" {
		level = slog.LevelDebug // there was nothing to recover
	}
	log.Log(ctx, level, "a partition is recovered", "result", result, "entries", len(saved), "replayed", replayed, "took", took)
	return part, nil
}

// readCheckpoint reads what the checkpoint topic holds of a partition.
func (p *Processor) readCheckpoint(ctx context.Context, key topicPartition) (savedEntries, error) {
	saved := savedEntries{}
	start, end, err := p.stableRange(ctx, telemetry.TopicCheckpoints, key.partition)
	if err != nil || start >= end {
		return saved, err
	}
	prefix := checkpointPrefix(key.topic, key.partition)
	err = p.read(ctx, topicPartition{telemetry.TopicCheckpoints, key.partition}, start, end, func(r *kgo.Record) {
		saved.add(prefix, r)
	})
	return saved, err
}

// replay applies the input between the state's offset and the offset first.
func (p *Processor) replay(ctx context.Context, part *partition, first int64) (replayed int, truncated bool, err error) {
	if part.next >= first {
		return 0, false, nil
	}
	key := topicPartition{part.topic, part.number}
	starts, err := p.offsets(ctx, key.topic, key.partition, (*kadm.Client).ListStartOffsets)
	if err != nil {
		return 0, false, err
	}
	from := part.next
	if starts > from {
		truncated = true
		from = starts
	}
	if from >= first {
		part.next = first
		return 0, truncated, nil
	}
	err = p.read(ctx, key, from, first, func(r *kgo.Record) {
		part.apply(r, nil)
		replayed++
	})
	return replayed, truncated, err
}

// stableRange gives the first offset and the end of a partition, once every
// transaction that wrote before that end is over.
func (p *Processor) stableRange(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	if start, err = p.offsets(ctx, topic, partition, (*kadm.Client).ListStartOffsets); err != nil {
		return 0, 0, err
	}
	if end, err = p.offsets(ctx, topic, partition, (*kadm.Client).ListEndOffsets); err != nil {
		return 0, 0, err
	}
	for {
		stable, err := p.offsets(ctx, topic, partition, (*kadm.Client).ListCommittedOffsets)
		if err != nil {
			return 0, 0, err
		}
		if stable >= end {
			return start, end, nil
		}
		// The open one belongs to a live process, then it is short, or to a
		// dead one, then the broker aborts it at its timeout.
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Processor) offsets(ctx context.Context, topic string, partition int32, list func(*kadm.Client, context.Context, ...string) (kadm.ListedOffsets, error)) (int64, error) {
	client, err := kgo.NewClient(p.opts...)
	if err != nil {
		return 0, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	listed, err := list(kadm.NewClient(client), ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("cannot list offsets of %s: %w", topic, err)
	}
	o, ok := listed.Lookup(topic, partition)
	if !ok {
		return 0, fmt.Errorf("topic %s has no partition %d", topic, partition)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("cannot list offsets of %s/%d: %w", topic, partition, o.Err)
	}
	return o.Offset, nil
}

// read gives the committed records from offset from up to end, exclusive.
//
// It sends the fetches itself, because a consumer does not tell how far it has
// read: where a range ends in records of an aborted transaction, or in what
// compaction has removed, it would wait for ever.
func (p *Processor) read(ctx context.Context, key topicPartition, from, end int64, take func(*kgo.Record)) error {
	client, err := kgo.NewClient(p.opts...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(ctx, key.topic)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", key, err)
	}
	detail := topics[key.topic].Partitions[key.partition]
	if err := errors.Join(topics[key.topic].Err, detail.Err); err != nil {
		return fmt.Errorf("cannot read %s: %w", key, err)
	}
	leader := client.Broker(int(detail.Leader))
	for at := from; at < end; {
		part, err := p.fetch(ctx, leader, key, topics[key.topic].ID, at)
		if err != nil {
			return fmt.Errorf("cannot read %s at %d: %w", key, at, err)
		}
		got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: key.topic, Partition: key.partition,
		}, part, kgo.DefaultDecompressor(), nil)
		switch {
		case errors.Is(got.Err, kerr.OffsetOutOfRange) && got.LogStartOffset > at:
			at = got.LogStartOffset // retention was faster
			continue
		case got.Err != nil:
			return fmt.Errorf("cannot read %s at %d: %w", key, at, got.Err)
		}
		for _, r := range got.Records {
			if r.Offset < end {
				take(r)
			}
		}
		if next <= at && got.LastStableOffset >= end {
			return nil // nothing is left up to the end
		}
		at = max(at, next)
	}
	return nil
}

// fetch asks the leader once. An answer without records is one from a broker
// that has none.
func (p *Processor) fetch(ctx context.Context, leader *kgo.Broker, key topicPartition, id kadm.TopicID, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = key.partition, at, p.cfg.FetchBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = key.topic, id, []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 500, 1, p.cfg.FetchBytes, 1
	req.SessionEpoch = -1 // no fetch session
	req.Topics = []kmsg.FetchRequestTopic{topic}
	for {
		answer, err := leader.RetriableRequest(ctx, req)
		if err != nil {
			return nil, err
		}
		resp := answer.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return nil, errors.New("the broker answered for another partition")
		}
		got := &resp.Topics[0].Partitions[0]
		if len(got.RecordBatches) == 0 && resp.ThrottleMillis > 0 {
			continue // held back by a quota; the client waits before the next request
		}
		return got, nil
	}
}
