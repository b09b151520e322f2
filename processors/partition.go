package processors

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// maxRecordBytes is the largest value the processors produce: what Kafka takes
// by default (max.message.bytes = 1 MiB) less room for key, headers and batch.
const maxRecordBytes = 1_000_000

// Reasons of dead letters.
const (
	reasonUnmarshal = "unmarshal"         // no telemetry.Record, or no Batch of them
	reasonEmpty     = "empty"             // a Record without a body this version knows
	reasonOrdinal   = "ordinal_missing"   // on a timeline of its own, but without ordinal
	reasonRejected  = "rejected"          // the machine returned an error
	reasonPanic     = "panic"             // the machine panicked
	reasonTooLarge  = "outcome_too_large" // an outcome does not fit into a Kafka record
)

// Reasons of drops: records that are known and change nothing.
const (
	dropDuplicate = "duplicate"      // an ordinal this partition has seen
	dropEnded     = "timeline_ended" // a record on a timeline that is over
)

// output collects what a batch of one partition leads to. Its counts enter the
// metrics only once the transaction is committed.
type output struct {
	records   []*kgo.Record
	outcomes  map[string]int // by body
	dropped   map[string]int // by reason
	dead      map[string]int // by reason
	deadTexts []string
	applied   int
}

func newOutput() *output {
	return &output{outcomes: map[string]int{}, dropped: map[string]int{}, dead: map[string]int{}}
}

// partition is everything known about one partition of one input topic. It
// does no I/O: records go in, Kafka records to produce come out, and the same
// records always give the same output.
type partition struct {
	topic   string
	number  int32
	machine Machine

	next    int64 // offset of the next input record
	lastSeq int64 // of the newest outcome
	times   *timelines
	saved   savedState

	// Since the last checkpoint.
	records int
	liveUs  int64
}

func newPartition(topic string, number int32, m Machine, maxTombstones int) *partition {
	return &partition{topic: topic, number: number, machine: m, lastSeq: -1, times: newTimelines(maxTombstones), saved: newSavedState()}
}

// apply takes the next Kafka record, a batch of telemetry records. With a nil
// out it is a replay: state moves, nothing is written.
func (p *partition) apply(in *kgo.Record, out *output) {
	p.next = in.Offset + 1
	e := &emitter{p: p, in: in, out: out}
	for b, err := range telemetry.Unpack(in.Value) {
		e.record = b
		p.records++
		if out != nil {
			out.applied++
		}
		if err != nil {
			e.dead(reasonUnmarshal, err)
		} else {
			p.applyRecord(b, e)
		}
		e.index++
	}
	if e.index == 0 {
		e.dead(reasonEmpty, errors.New("the batch has no record"))
	}
}

func (p *partition) applyRecord(b []byte, e *emitter) {
	r := &telemetry.Record{}
	if err := r.UnmarshalVT(b); err != nil {
		e.dead(reasonUnmarshal, err)
		return
	}
	if r.Body == nil {
		e.dead(reasonEmpty, errors.New("the record has no body that this version knows"))
		return
	}
	id := r.GetTimeline().GetId()
	if id == "" {
		p.applyLive(r, e)
	} else {
		p.applyOwn(id, r, e)
	}
}

func (p *partition) applyLive(r *telemetry.Record, e *emitter) {
	switch r.Body.(type) {
	case *telemetry.Record_Tick:
		if !p.times.moveLive(r.AtUs) {
			return
		}
		e.keep(func() { p.machine.Advance("", r.AtUs, e.emit) })
		for _, t := range p.times.abandoned() {
			e.keep(func() { p.machine.End(t.id, t.watermarkUs, e.emit) })
			p.times.forget(t)
		}
	case *telemetry.Record_End:
		e.dead(reasonRejected, errors.New("the live timeline cannot end"))
	default:
		e.apply(r)
	}
}

func (p *partition) applyOwn(id string, r *telemetry.Record, e *emitter) {
	seq := r.GetTimeline().GetSeq()
	if seq == 0 {
		e.dead(reasonOrdinal, fmt.Errorf("a record of timeline %q has no ordinal", id))
		return
	}
	t := p.times.get(id)
	switch {
	case t.ended:
		e.drop(dropEnded)
		return
	case seq <= t.seq:
		e.drop(dropDuplicate)
		return
	}
	p.times.saw(t, seq)
	switch r.Body.(type) {
	case *telemetry.Record_End:
		p.times.moveOwn(t, r.AtUs)
		e.keep(func() { p.machine.End(id, t.watermarkUs, e.emit) })
		p.times.end(t, e.in.Offset)
	case *telemetry.Record_Tick:
		if p.times.moveOwn(t, r.AtUs) {
			e.keep(func() { p.machine.Advance(id, t.watermarkUs, e.emit) })
		}
	default:
		// Time first: what ended before this record must not be revived by it.
		if p.times.moveOwn(t, r.AtUs) {
			e.keep(func() { p.machine.Advance(id, t.watermarkUs, e.emit) })
		}
		e.apply(r)
	}
}

// dead sends the record to the dead letters, without its neighbours.
func (e *emitter) dead(reason string, err error) {
	in, out := e.in, e.out
	if out == nil {
		return
	}
	out.dead[reason]++
	text := err.Error()
	if len(text) > 1000 {
		text = text[:1000]
	}
	out.deadTexts = append(out.deadTexts, text)
	out.records = append(out.records, &kgo.Record{
		Topic: telemetry.TopicDeadLetter, Partition: e.p.number, Value: e.record,
		Headers: []kgo.RecordHeader{
			{Key: "reason", Value: []byte(reason)},
			{Key: "error", Value: []byte(text)},
			{Key: "topic", Value: []byte(in.Topic)},
			{Key: "partition", Value: strconv.AppendInt(nil, int64(in.Partition), 10)},
			{Key: "offset", Value: strconv.AppendInt(nil, in.Offset, 10)},
			{Key: "index", Value: strconv.AppendInt(nil, int64(e.index), 10)},
		},
	})
}

// emitter gives the outcomes of one Kafka record their numbers.
type emitter struct {
	p      *partition
	in     *kgo.Record
	record []byte // of the batch, the one at hand
	index  int    // of that record
	out    *output
}

// seqBits is how many bits of an outcome's number are not the offset of its input.
const seqBits = 20

// InputOffset is the offset of the input that the outcome with a number is of.
func InputOffset(seq int64) int64 { return seq >> seqBits }

// emit numbers an outcome offset<<20 | n, n counting the outcomes of all records
// of the batch at that offset. Should a batch cause more than 2^20 outcomes, or
// an offset pass 2^43, numbering runs on by one: a later outcome always has a
// higher number than an earlier one of the same partition.
func (e *emitter) emit(o *telemetry.Outcome) {
	e.p.lastSeq = max(e.p.lastSeq+1, e.in.Offset<<seqBits)
	if e.out == nil {
		return
	}
	o.Seq = e.p.lastSeq
	value, err := encodeOutcome(o)
	if err == nil && len(value) > maxRecordBytes {
		err = fmt.Errorf("an outcome of %d bytes is larger than %d", len(value), maxRecordBytes)
	}
	if err != nil {
		e.dead(reasonTooLarge, err)
		return
	}
	subject := o.CallId
	if c := o.GetRegistration(); c != nil {
		subject = c.Aor
	}
	e.out.outcomes[bodyName(o)]++
	e.out.records = append(e.out.records, &kgo.Record{
		Topic: telemetry.TopicOutcomes, Partition: e.p.number, Key: telemetry.Key(o.Company, subject), Value: value,
	})
}

// encodeOutcome gives the same bytes for the same outcome, whatever happens
// before. The generated code does not where there are maps, as in a call.
func encodeOutcome(o *telemetry.Outcome) ([]byte, error) {
	if o.GetCall() != nil {
		return proto.MarshalOptions{Deterministic: true}.Marshal(o)
	}
	return o.MarshalVT()
}

func (e *emitter) drop(reason string) {
	if e.out != nil {
		e.out.dropped[reason]++
	}
}

// apply gives a record to the machine. Where that fails, outcomes it had
// already emitted are taken back and the record becomes a dead letter.
func (e *emitter) apply(r *telemetry.Record) {
	seq := e.p.lastSeq
	var mark mark
	if e.out != nil {
		mark = e.out.mark()
	}
	reason := reasonRejected
	err := guard(func() error { return e.p.machine.Apply(r, e.emit) })
	if err == nil {
		return
	}
	if errors.As(err, new(*panicError)) {
		reason = reasonPanic
	}
	e.p.lastSeq = seq
	if e.out != nil {
		e.out.rewind(mark)
	}
	e.dead(reason, err)
}

// keep runs a step of the machine that moves time. Outcomes emitted before a
// panic belong to calls whose state has moved on, so they stay.
func (e *emitter) keep(step func()) {
	if err := guard(func() error { step(); return nil }); err != nil {
		e.dead(reasonPanic, err)
	}
}

// mark is a point in an output to go back to.
type mark struct {
	records, deadTexts int
}

func (o *output) mark() mark {
	return mark{records: len(o.records), deadTexts: len(o.deadTexts)}
}

func (o *output) rewind(m mark) {
	for _, r := range o.records[m.records:] {
		if r.Topic == telemetry.TopicDeadLetter {
			o.dead[reasonTooLarge]--
			continue
		}
		var out telemetry.Outcome
		if out.UnmarshalVT(r.Value) == nil {
			o.outcomes[bodyName(&out)]--
		}
	}
	clear(o.records[m.records:])
	o.records = o.records[:m.records]
	o.deadTexts = o.deadTexts[:m.deadTexts]
}

// panicError is a panic of a machine.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func guard(step func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return step()
}

func bodyName(o *telemetry.Outcome) string {
	switch o.Body.(type) {
	case *telemetry.Outcome_Sample:
		return "sample"
	case *telemetry.Outcome_Call:
		return "call"
	case *telemetry.Outcome_Rejection:
		return "rejection"
	case *telemetry.Outcome_Message:
		return "message"
	case *telemetry.Outcome_Registration:
		return "registration"
	case *telemetry.Outcome_Rating:
		return "rating"
	case *telemetry.Outcome_Moment:
		return "moment"
	}
	return "none"
}
