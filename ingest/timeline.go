package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

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
	tallies        map[*telemetry.Record]*Tally // of records that wait
	seq            uint64
	lastAtUs       int64
	lastReceivedUs int64
}

func newTimeline(id string, cfg Config) *timeline {
	return &timeline{id: id, correlator: NewCorrelator(cfg.Waiting, cfg.Bindings), tallies: map[*telemetry.Record]*Tally{}}
}

// sink writes a record; it may wait for room (TCP) or not (UDP).
type sink func(r *telemetry.Record, done func(error))

// observation is one decoded piece of telemetry on its way to Kafka.
type observation struct {
	record   *telemetry.Record
	tally    *Tally
	timeline *timeline
	scope    string
	nowUs    int64 // time of the timeline, for the correlator
	sink     sink
}

// outcome counts what became of a record.
func (t *Tally) outcome(err error) {
	switch {
	case err == nil:
		t.Produced()
	case errors.Is(err, ErrBufferFull):
		t.Dropped("buffer_full")
	default:
		t.Dropped("kafka")
	}
}

// emit writes a record. On a replay the caller holds the timeline.
func (tl *timeline) emit(r *telemetry.Record, tally *Tally, write sink) {
	r.Timeline = &telemetry.Timeline{Id: tl.id}
	if tl.id != "" {
		tl.seq++
		r.Timeline.Seq = tl.seq
	}
	write(r, tally.outcome)
}

// correlated runs f, which may use the correlator and gives the records to write,
// and writes them.
func (tl *timeline) correlated(write sink, f func() []*telemetry.Record) {
	tl.mu.Lock()
	records := f()
	tallies := make([]*Tally, len(records))
	for i, r := range records {
		tallies[i] = tl.tallies[r]
		delete(tl.tallies, r)
	}
	if tl.id == "" {
		tl.mu.Unlock()
	} else {
		defer tl.mu.Unlock()
	}
	for i, r := range records {
		tl.emit(r, tallies[i], write)
	}
}

// observeSIP places a SIP message: it is itself what places others.
func (o *observation) sip(m *telemetry.SIPMessage, share func([]*telemetry.Binding)) {
	tl := o.timeline
	tl.correlated(o.sink, func() []*telemetry.Record {
		released, fresh := tl.correlator.SIP(o.scope, Call{o.record.Company, m.CallId}, m, o.nowUs)
		if len(fresh) > 0 && tl.id == "" {
			share(fresh)
		}
		tl.tallies[o.record] = o.tally
		return append([]*telemetry.Record{o.record}, released...)
	})
}

// media places a media packet, or lets it wait. A correlation id names the call
// where its sender is known to give Call-IDs (trusted), or where it is one.
func (o *observation) media(p MediaPacket, correlationID string, trusted bool) {
	tl := o.timeline
	tl.correlated(o.sink, func() []*telemetry.Record {
		if correlationID != "" {
			if call, ok := tl.correlator.Known(o.scope, correlationID); ok {
				return o.placed(call)
			}
		}
		if call, kind, ok := tl.correlator.Place(o.scope, p, o.nowUs); ok {
			if kind != "" && kind != "audio" {
				o.tally.Rejected("not_audio")
				return nil
			}
			return o.placed(call)
		}
		if correlationID != "" && trusted {
			return o.placed(Call{o.record.Company, correlationID})
		}
		tl.tallies[o.record] = o.tally
		return tl.correlator.Wait(o.scope, p, o.record, o.nowUs)
	})
}

func (o *observation) placed(call Call) []*telemetry.Record {
	o.record.Company, o.record.CallKey = call.Company, call.Key
	o.timeline.tallies[o.record] = o.tally
	return []*telemetry.Record{o.record}
}

// keyed places what names its call itself.
func (o *observation) keyed(callKey string) {
	o.timeline.correlated(o.sink, func() []*telemetry.Record {
		return o.placed(Call{o.record.Company, callKey})
	})
}

// advance takes the time of the timeline: what waited too long is written.
func (tl *timeline) advance(nowUs int64, write sink) {
	tl.correlated(write, func() []*telemetry.Record { return tl.correlator.Advance(nowUs) })
}

// drain writes everything that waits.
func (tl *timeline) drain(nowUs int64, write sink) {
	tl.correlated(write, func() []*telemetry.Record { return tl.correlator.Drain(nowUs) })
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
