package processors

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// replayed gathers what a replay emits, as rig.result does with what was written.
func (r *rig) replayed(from, until time.Time) (undisturbed, []ReplayedPartition) {
	r.t.Helper()
	u := undisturbed{outcomes: map[string][]string{}, dead: map[string][]string{}}
	var mu sync.Mutex
	var parts []ReplayedPartition
	var last, total int64
	ended := 0
	err := Replay(r.t.Context(), testConfig("replay"), ReplayDeps{
		Bus: r.bus, Topics: inputTopics,
		Machine: func(p ReplayedPartition) Machine {
			mu.Lock()
			defer mu.Unlock()
			parts = append(parts, p)
			return newCounting(p.Topic)
		},
		Emit: func(_ ReplayedPartition, rec *kgo.Record) error {
			mu.Lock()
			defer mu.Unlock()
			u.add(rec)
			return nil
		},
		Ended: func(ReplayedPartition) error {
			mu.Lock()
			defer mu.Unlock()
			ended++
			return nil
		},
		Progress: func(done, all int64) {
			mu.Lock()
			defer mu.Unlock()
			last, total = max(last, done), all
		},
	}, from, until)
	require.NoError(r.t, err)
	require.Equal(r.t, total, last, "progress ends at its end")
	require.Equal(r.t, len(parts), ended)
	return u, parts
}

// produceAt writes records with the time that Kafka shall know of them.
func (r *rig) produceAt(at time.Time, records []*kgo.Record) {
	r.t.Helper()
	copies := make([]*kgo.Record, len(records))
	for i, in := range records {
		copies[i] = &kgo.Record{Topic: in.Topic, Partition: in.Partition, Value: in.Value, Timestamp: at}
	}
	require.NoError(r.t, r.client.ProduceSync(r.t.Context(), copies...).FirstErr())
}

func TestReplayIsWhatWasWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	records := input(7, 200)
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	var first, second []*kgo.Record
	for i, rec := range records {
		if i%200 < 120 {
			first = append(first, rec)
		} else {
			second = append(second, rec)
		}
	}
	r.produceAt(began, first)
	r.produceAt(began.Add(time.Minute), second)
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)
	written := r.result()

	all, parts := r.replayed(time.Time{}, time.Time{})
	require.Equal(t, written.outcomes, all.outcomes)
	require.Equal(t, written.dead, all.dead)
	require.Len(t, parts, 2*testPartitions)
	for _, p := range parts {
		require.False(t, p.Trimmed())
		require.True(t, p.FirstAt.Equal(began), "%s", p.FirstAt)
	}

	// The first minute is the head of the same.
	head, _ := r.replayed(time.Time{}, began.Add(time.Minute))
	for origin, got := range head.outcomes {
		require.NotEmpty(t, got)
		require.Less(t, len(got), len(written.outcomes[origin]))
		require.Equal(t, written.outcomes[origin][:len(got)], got)
	}

	// The second one alone begins without the state of before, at the same offsets.
	tail, parts := r.replayed(began.Add(time.Second), time.Time{})
	require.Len(t, parts, 2*testPartitions)
	for _, p := range parts {
		require.False(t, p.Trimmed(), "what is before was left out, it is not gone")
		require.EqualValues(t, 120, p.From)
		require.True(t, p.FirstAt.Equal(began.Add(time.Minute)), "%s", p.FirstAt)
	}
	require.Equal(t, lastOffset(t, written), lastOffset(t, tail))

	none, parts := r.replayed(began.Add(time.Hour), time.Time{})
	require.Empty(t, parts)
	require.Empty(t, none.outcomes)

	// Retention takes the head: what is left is read from there.
	gone := kadm.Offsets{}
	for _, topic := range inputTopics {
		for n := range int32(testPartitions) {
			gone.AddOffset(topic, n, 120, -1)
		}
	}
	_, err := kadm.NewClient(r.client).DeleteRecords(t.Context(), gone)
	require.NoError(t, err)
	trimmed, parts := r.replayed(time.Time{}, time.Time{})
	require.True(t, parts[0].Trimmed())
	require.Equal(t, tail.outcomes, trimmed.outcomes)
}

// lastOffset is the input offset that the newest outcome of each origin is of.
func lastOffset(t *testing.T, u undisturbed) map[string]int64 {
	t.Helper()
	last := map[string]int64{}
	for origin, outcomes := range u.outcomes {
		var o telemetry.Outcome
		b, err := hex.DecodeString(outcomes[len(outcomes)-1])
		require.NoError(t, err)
		require.NoError(t, proto.Unmarshal(b, &o))
		last[origin] = o.Seq >> seqBits
	}
	return last
}

func TestReplayEndsAtAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(input(3, 50))
	full := errors.New("no room")
	err := Replay(t.Context(), testConfig("replay"), ReplayDeps{
		Bus: r.bus, Topics: inputTopics,
		Machine: func(p ReplayedPartition) Machine { return newCounting(p.Topic) },
		Emit:    func(ReplayedPartition, *kgo.Record) error { return full },
	}, time.Time{}, time.Time{})
	require.ErrorIs(t, err, full)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = Replay(ctx, testConfig("replay"), ReplayDeps{
		Bus: r.bus, Topics: inputTopics,
		Machine: func(p ReplayedPartition) Machine { return newCounting(p.Topic) },
		Emit:    func(ReplayedPartition, *kgo.Record) error { return nil },
	}, time.Time{}, time.Time{})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.produced(telemetry.TopicOutcomes), "a replay writes nothing")
}
