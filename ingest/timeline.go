package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/earshot/earshot/telemetry"
)

// timeline is the live one, or that of a capture which an agent replays: a
// clock, what is known about its calls, and the order of its records.
type timeline struct {
	id string // "" is the live one

	// mu guards what follows. A replay holds it while it produces, so that
	// ordinals reach Kafka in order; the live timeline has no ordinals and is
	// never held that long.
	mu             sync.Mutex
	correlator     *Correlator
	seq            uint64
	lastAtUs       int64
	lastReceivedUs int64
}

func newTimeline(id string, cfg Config) *timeline {
	return &timeline{id: id, correlator: NewCorrelator(cfg.Waiting, cfg.Bindings, cfg.Correlation)}
}

// sink writes a record; it may wait for room (TCP) or not (UDP). It copies it.
type sink func(o outgoing)

// acknowledged counts what became of records. What Earshot found out itself, as
// that two calls are one, was received from nobody.
func (t *Tally) acknowledged(records int, err error) {
	switch {
	case t == nil:
	case err == nil:
		t.produced.Add(float64(records))
	case errors.Is(err, ErrBufferFull):
		t.droppedMany("buffer_full", records)
	default:
		t.droppedMany("kafka", records)
	}
}

// Fields of Record that are appended once its call is known.
const (
	recordCompany  = 2
	recordCallKey  = 3
	recordTimeline = 4
	timelineID     = 1
	timelineSeq    = 2
)

// complete appends to a record what it belongs to and its place on the
// timeline. On a replay the caller holds the timeline.
func (tl *timeline) complete(record []byte, company, callKey string) []byte {
	record = protowire.AppendTag(record, recordCompany, protowire.BytesType)
	record = protowire.AppendString(record, company)
	if callKey != "" {
		record = protowire.AppendTag(record, recordCallKey, protowire.BytesType)
		record = protowire.AppendString(record, callKey)
	}
	record = protowire.AppendTag(record, recordTimeline, protowire.BytesType)
	if tl.id == "" {
		return protowire.AppendVarint(record, 0)
	}
	tl.seq++
	size := protowire.SizeTag(timelineID) + protowire.SizeBytes(len(tl.id)) + protowire.SizeTag(timelineSeq) + protowire.SizeVarint(tl.seq)
	record = protowire.AppendVarint(record, uint64(size))
	record = protowire.AppendTag(record, timelineID, protowire.BytesType)
	record = protowire.AppendString(record, tl.id)
	record = protowire.AppendTag(record, timelineSeq, protowire.VarintType)
	return protowire.AppendVarint(record, tl.seq)
}

// write writes records that have been given their call. The caller holds the
// timeline, which write unlocks: the live one before, for a sink may wait.
func (tl *timeline) write(held []*Held, write sink) {
	if tl.id == "" {
		tl.mu.Unlock()
	} else {
		defer tl.mu.Unlock()
	}
	tl.emit(held, write)
}

// emit is write where the timeline is unlocked as it has to be.
func (tl *timeline) emit(held []*Held, write sink) {
	for _, h := range held {
		write(outgoing{key: telemetry.Key(h.Company, h.CallKey), record: tl.complete(h.record, h.Company, h.CallKey), from: h.from, to: h.tally})
	}
}

// learn takes a binding of another ingester.
func (tl *timeline) learn(b *telemetry.Binding, nowUs int64, write sink) {
	tl.mu.Lock()
	tl.write(tl.correlator.Learn(b, nowUs), write)
}

// advance takes the time of the timeline: what waited too long is written.
func (tl *timeline) advance(nowUs int64, write sink) {
	tl.mu.Lock()
	tl.write(tl.correlator.Advance(nowUs), write)
}

// drain writes everything that waits.
func (tl *timeline) drain(nowUs int64, write sink) {
	tl.mu.Lock()
	tl.write(tl.correlator.Drain(nowUs), write)
}

// end closes the timeline of a replay. Kafka may be away: it is tried until ctx
// ends. It reports whether the end was written.
func (tl *timeline) end(ctx context.Context, p *Producer, write sink, log *slog.Logger) bool {
	tl.mu.Lock()
	at, received := tl.lastAtUs, tl.lastReceivedUs
	tl.mu.Unlock()
	tl.drain(at, write)
	tl.mu.Lock()
	end := &telemetry.Record{AtUs: at, ReceivedUs: received, Timeline: &telemetry.Timeline{Id: tl.id, Seq: tl.seq + 1},
		EventId: telemetry.EventID("", tl.id, "end", at), Body: &telemetry.Record_End{End: &telemetry.TimelineEnd{}}}
	tl.mu.Unlock()
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.Everywhere(attempt, end)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		log.Warn("cannot end replayed capture, trying again", "timeline", tl.id, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}
