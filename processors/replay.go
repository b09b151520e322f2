package processors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/earshot/earshot/internal/bus"
)

// ReplayedPartition is one partition of an input topic that is read again.
type ReplayedPartition struct {
	Topic  string
	Number int32
	// From and End are the offsets that are read, End exclusive. Start is the first
	// one that Kafka still holds.
	Start, From, End int64
	// FirstAt is when Kafka took the record at From.
	FirstAt time.Time
}

// Trimmed says that retention has taken what was before the range.
func (p ReplayedPartition) Trimmed() bool { return p.From > 0 && p.From == p.Start }

// ReplayDeps is what a replay works with.
type ReplayDeps struct {
	Bus    bus.Config
	Topics []string
	// Machine makes the state machine of a partition. Partitions without a
	// record in the range get none.
	Machine func(ReplayedPartition) Machine
	// Emit takes the Kafka records that processors would write, outcomes and
	// dead letters, in their order. Partitions call it side by side. An error
	// ends the replay.
	Emit func(ReplayedPartition, *kgo.Record) error
	// Ended, where it is not nil, is told that the machine of a partition was given
	// everything. Partitions call it side by side.
	Ended func(ReplayedPartition) error
	// Progress, where it is not nil, is told how many Kafka records of how many
	// were read. Partitions call it side by side.
	Progress func(done, total int64)
}

// Replay gives the records that Kafka took at or after from and before until to
// new machines, as Processor does, and writes nothing. With a zero from it
// begins at the first record that Kafka still holds, with a zero until it ends
// at what is there when it begins.
//
// What it emits is, to the byte and in numbers, what a Processor with the same
// machines has written, as long as nothing before the range is missing. Where
// it is, that holds for what depends on records in the range alone, but for the
// lower bits of its numbers.
func Replay(ctx context.Context, cfg Config, deps ReplayDeps, from, until time.Time) error {
	machines := map[string]func() Machine{}
	for _, topic := range deps.Topics {
		machines[topic] = nil
	}
	p, err := New(cfg, Deps{Bus: deps.Bus, Machines: machines})
	if err != nil {
		return err
	}
	parts, err := p.replayRange(ctx, deps.Topics, from, until)
	if err != nil {
		return err
	}
	var total int64
	for _, part := range parts {
		total += part.End - part.From
	}
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, min(4, runtime.GOMAXPROCS(0))))
	for _, part := range parts {
		g.Go(func() error { return p.replayPartition(ctx, part, deps, &done, total) })
	}
	return g.Wait()
}

// replayRange finds the offsets to read.
func (p *Processor) replayRange(ctx context.Context, topics []string, from, until time.Time) ([]ReplayedPartition, error) {
	client, err := kgo.NewClient(p.opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	list := func(at time.Time, otherwise func(context.Context, ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
		var listed kadm.ListedOffsets
		var err error
		if at.IsZero() {
			listed, err = otherwise(ctx, topics...)
		} else {
			listed, err = adm.ListOffsetsAfterMilli(ctx, max(at.UnixMilli(), 0), topics...)
		}
		if err = errors.Join(err, listed.Error()); err != nil {
			return nil, fmt.Errorf("cannot list offsets: %w", err)
		}
		return listed, nil
	}
	starts, err := list(time.Time{}, adm.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	begins, err := list(from, adm.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	ends, err := list(until, adm.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	var parts []ReplayedPartition
	for _, topic := range topics {
		for _, end := range ends[topic] {
			start, _ := starts.Lookup(topic, end.Partition)
			begin, ok := begins.Lookup(topic, end.Partition)
			if ok && begin.Offset < end.Offset {
				parts = append(parts, ReplayedPartition{Topic: topic, Number: end.Partition, Start: start.Offset, From: begin.Offset, End: end.Offset})
			}
		}
	}
	return parts, nil
}

func (p *Processor) replayPartition(ctx context.Context, part ReplayedPartition, deps ReplayDeps, done *atomic.Int64, total int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var state *partition
	at := part.From
	progress := func(next int64) {
		sum := done.Add(next - at)
		at = next
		if deps.Progress != nil {
			deps.Progress(sum, total)
		}
	}
	err := p.read(ctx, topicPartition{part.Topic, part.Number}, part.From, part.End, func(r *kgo.Record) {
		if ctx.Err() != nil {
			return
		}
		if state == nil {
			part.FirstAt = r.Timestamp
			state = newPartition(part.Topic, part.Number, deps.Machine(part), p.cfg.Tombstones)
		}
		out := newOutput()
		state.apply(r, out)
		for _, o := range out.records {
			if err := deps.Emit(part, o); err != nil {
				cancel(err)
				return
			}
		}
		progress(r.Offset + 1)
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	progress(part.End)
	if err != nil || state == nil || deps.Ended == nil {
		return err
	}
	return deps.Ended(part)
}
