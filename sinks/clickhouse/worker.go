package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/telemetry"
)

// pendingRange is what an owner of a partition was about to insert: the offsets
// lo ≤ o < hi, with the tokens of that schema.
type pendingRange struct {
	lo, hi int64
	schema int
}

func (p pendingRange) String() string {
	return fmt.Sprintf("pending=%d-%d;schema=%d", p.lo, p.hi, p.schema)
}

var pendingPattern = regexp.MustCompile(`^pending=(\d+)-(\d+)(?:;schema=(\d+))?$`)

// parsePending reads the metadata of an offset commit; nil where nothing is pending.
func parsePending(metadata string) (*pendingRange, error) {
	if metadata == "" {
		return nil, nil
	}
	m := pendingPattern.FindStringSubmatch(metadata)
	if m == nil {
		return nil, fmt.Errorf("%q is no pending range", metadata)
	}
	p := &pendingRange{schema: schemaVersion}
	var errs [3]error
	p.lo, errs[0] = strconv.ParseInt(m[1], 10, 64)
	p.hi, errs[1] = strconv.ParseInt(m[2], 10, 64)
	if m[3] != "" {
		p.schema, errs[2] = strconv.Atoi(m[3])
	}
	return p, errors.Join(errs[:]...)
}

// worker stores the outcomes of one partition for as long as it is this member's.
type worker struct {
	sink      *Sink
	client    *kgo.Client
	partition int32
	position  int64         // committed offset; -1: none yet
	pending   *pendingRange // what the last owner left, to be done first

	ctx      context.Context // ends when nothing may be committed any more
	cancel   context.CancelFunc
	stopping chan struct{} // closed when no new batch may begin
	done     chan struct{}

	mu            sync.Mutex
	queue         []*kgo.Record
	bytes         int // in queue
	highWatermark int64
	closed        bool
	arrived       chan struct{}

	batch    *blocks
	inserter *inserter
	inBatch  int // bytes
}

func newWorker(s *Sink, client *kgo.Client, partition int32) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	return &worker{
		sink: s, client: client, partition: partition, position: -1,
		ctx: ctx, cancel: cancel,
		stopping: make(chan struct{}), done: make(chan struct{}),
		arrived:  make(chan struct{}, 1),
		batch:    newBlocks(),
		inserter: &inserter{config: s.config},
	}
}

// give adds fetched records. It never blocks: the sink bounds what it reads.
func (w *worker) give(records []*kgo.Record, highWatermark int64) {
	w.mu.Lock()
	for _, r := range records {
		w.bytes += len(r.Value)
	}
	if w.closed {
		w.sink.hold(-w.bytes)
		w.bytes = 0
	}
	w.queue = append(w.queue, records...)
	w.highWatermark = highWatermark
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// close gives the bytes that were in memory when the worker was done.
func (w *worker) close() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := w.bytes + w.inBatch
	w.closed, w.queue, w.bytes = true, nil, 0
	return held
}

func (w *worker) run() {
	defer close(w.done)
	defer w.inserter.close()
	for {
		select {
		case <-w.stopping:
			return
		default:
		}
		r, ok := w.collect()
		if !ok {
			return
		}
		if err := w.store(r); err != nil {
			// Only the end of ctx gets here: everything else is tried again.
			w.sink.log.Info("a batch is left to the partition's next owner", "partition", w.partition, "from", r.lo, "to", r.hi, "reason", err)
			return
		}
	}
}

// batchRange is a batch that was collected into blocks.
type batchRange struct {
	pendingRange
	again bool // its range is already in the metadata
	dead  []*kgo.Record
}

// collect fills the blocks until the batch is full, old enough, or exactly the
// range that the last owner left.
func (w *worker) collect() (batchRange, bool) {
	w.batch.reset()
	config := w.sink.config.Batch
	b := batchRange{pendingRange: pendingRange{lo: w.position, schema: schemaVersion}}
	if w.pending != nil {
		b.pendingRange, b.again = *w.pending, true
	}
	var linger *time.Timer
	var lingered <-chan time.Time
	defer func() {
		if linger != nil {
			linger.Stop()
		}
	}()
	outcomes := 0
	for {
		r := w.next(b)
		if r == nil {
			if b.again && w.passed(b.hi) {
				return b, true // the end of the range is no longer in the topic
			}
			select {
			case <-w.arrived:
				continue
			case <-lingered:
				return b, true
			case <-w.stopping:
				return b, false
			case <-w.ctx.Done():
				return b, false
			}
		}
		if r.Offset < w.position {
			w.sink.log.Error("the topic begins again below what was stored", "partition", w.partition, "offset", r.Offset, "stored", w.position)
			w.position = r.Offset
			if outcomes == 0 {
				b.pendingRange, b.again, w.pending = pendingRange{lo: r.Offset, schema: schemaVersion}, false, nil
			}
		}
		if b.lo < 0 {
			b.lo = r.Offset
		}
		if err := w.batch.add(r.Value, r.Timestamp.UnixMicro()); err != nil {
			b.dead = append(b.dead, w.deadLetter(r, err))
		}
		w.inBatch += len(r.Value)
		outcomes++
		if b.again {
			if r.Offset == b.hi-1 {
				return b, true
			}
			continue
		}
		b.hi = r.Offset + 1
		if outcomes >= config.Rows || w.inBatch >= config.Bytes {
			return b, true
		}
		if linger == nil {
			linger = time.NewTimer(config.Linger)
			lingered = linger.C
		}
	}
}

// next takes a record from the queue, unless it lies behind a range that is done again.
func (w *worker) next(b batchRange) *kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil
	}
	r := w.queue[0]
	if b.again && r.Offset >= b.hi {
		return nil
	}
	w.queue[0] = nil
	w.queue = w.queue[1:]
	w.bytes -= len(r.Value)
	return r
}

func (w *worker) passed(hi int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) > 0 && w.queue[0].Offset >= hi
}

// keptBytes bounds the batch whose memory is kept for the next one. After a
// burst every partition would else hold on to the largest it ever had.
const keptBytes = 1 << 20

// store makes the batch part of ClickHouse. It tries until it succeeds; an
// error means that the partition is no longer this member's.
func (w *worker) store(b batchRange) error {
	failpoint.Hit("sink.before-pending")
	if !b.again {
		if err := w.commit(b.lo, b.String()); err != nil {
			return err
		}
	}
	failpoint.Hit("sink.after-pending")
	if len(b.dead) > 0 {
		if err := w.bury(b.dead); err != nil {
			return err
		}
	}
	w.sink.mu.Lock()
	topic := w.sink.topic
	w.sink.mu.Unlock()
	for _, t := range w.batch.tables() {
		if t.rows() == 0 {
			continue
		}
		token := fmt.Sprintf("%s:%d:%d-%d:%s:%d", topic, w.partition, b.lo, b.hi, t.name, b.schema)
		if err := w.insert(t, token); err != nil {
			return err
		}
		failpoint.Hit("sink.after-insert")
	}
	if err := w.commit(b.hi, ""); err != nil {
		return err
	}
	failpoint.Hit("sink.after-commit")
	if b.again {
		w.sink.metrics.again.Inc()
	}
	w.pending, w.position = nil, b.hi
	if w.inBatch > keptBytes {
		w.batch = newBlocks()
	}
	w.sink.hold(-w.inBatch)
	w.inBatch = 0
	w.mu.Lock()
	high := w.highWatermark
	w.mu.Unlock()
	w.sink.metrics.stored(w.partition, high-b.hi)
	return nil
}

func (w *worker) insert(t *table, token string) error {
	s := w.sink
	backoff := newBackoff()
	began := time.Now()
	for {
		at := time.Now()
		err := w.inserter.insert(w.ctx, t, token)
		if err == nil {
			s.metrics.inserted(t.name, t.rows(), time.Since(at))
			if backoff.attempt > 0 {
				s.metrics.stalled.WithLabelValues(partitionLabel(w.partition)).Set(0)
				s.log.Info("ClickHouse takes rows again", "partition", w.partition, "table", t.name, "rows", t.rows(), "after", time.Since(began))
			}
			return nil
		}
		if w.ctx.Err() != nil {
			return fmt.Errorf("stopped while inserting: %w", err)
		}
		s.metrics.retries.WithLabelValues(t.name).Inc()
		s.metrics.stalled.WithLabelValues(partitionLabel(w.partition)).Set(1)
		s.log.Warn("cannot insert, trying again", "partition", w.partition, "table", t.name, "rows", t.rows(),
			"attempt", backoff.attempt+1, "since", began, "exception", exceptionName(err), "error", err)
		if !backoff.wait(w.ctx) {
			return fmt.Errorf("stopped while inserting: %w", err)
		}
	}
}

// commit moves the partition's offset in the group, with metadata. The broker
// refuses it from a member of a past generation.
func (w *worker) commit(offset int64, metadata string) error {
	s := w.sink
	backoff := newBackoff()
	ctx := kgo.PreCommitFnContext(w.ctx, func(req *kmsg.OffsetCommitRequest) error {
		for t := range req.Topics {
			for p := range req.Topics[t].Partitions {
				req.Topics[t].Partitions[p].Metadata = &metadata
			}
		}
		return nil
	})
	offsets := map[string]map[int32]kgo.EpochOffset{
		telemetry.TopicOutcomes: {w.partition: {Epoch: -1, Offset: offset}},
	}
	for {
		var failed error
		w.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err != nil {
				return
			}
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
				failed = errors.New("the broker answered for other partitions")
				return
			}
			failed = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		})
		if failed == nil {
			return nil
		}
		if w.ctx.Err() != nil {
			return fmt.Errorf("stopped while committing: %w", failed)
		}
		s.metrics.commitRetries.Inc()
		s.log.Warn("cannot commit an offset, trying again", "partition", w.partition, "offset", offset, "attempt", backoff.attempt+1, "error", failed)
		if !backoff.wait(w.ctx) {
			return fmt.Errorf("stopped while committing: %w", failed)
		}
	}
}

// deadLetter is the record for the dead letter topic: the raw value, with what
// was wrong and where it came from.
func (w *worker) deadLetter(r *kgo.Record, err error) *kgo.Record {
	reason := "invalid"
	var poison *poisonError
	if errors.As(err, &poison) {
		reason = poison.reason
	}
	w.sink.metrics.dead.WithLabelValues(reason).Inc()
	w.sink.log.Error("an outcome cannot become a row, it goes to the dead letters", "partition", r.Partition, "offset", r.Offset, "reason", reason, "error", err)
	return &kgo.Record{
		Topic: telemetry.TopicDeadLetter,
		Key:   r.Key,
		Value: r.Value,
		Headers: []kgo.RecordHeader{
			{Key: "reason", Value: []byte(reason)},
			{Key: "error", Value: []byte(err.Error())},
			{Key: "topic", Value: []byte(r.Topic)},
			{Key: "partition", Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
			{Key: "offset", Value: strconv.AppendInt(nil, r.Offset, 10)},
		},
	}
}

func (w *worker) bury(dead []*kgo.Record) error {
	backoff := newBackoff()
	for {
		err := w.client.ProduceSync(w.ctx, dead...).FirstErr()
		if err == nil {
			return nil
		}
		if w.ctx.Err() != nil {
			return fmt.Errorf("stopped while writing dead letters: %w", err)
		}
		w.sink.log.Warn("cannot write dead letters, trying again", "partition", w.partition, "attempt", backoff.attempt+1, "error", err)
		if !backoff.wait(w.ctx) {
			return fmt.Errorf("stopped while writing dead letters: %w", err)
		}
		for _, r := range dead {
			r.Topic = telemetry.TopicDeadLetter
		}
	}
}

// backoff doubles from 100 ms to 10 s, with jitter so that partitions do not
// come back in step.
type backoff struct{ attempt int }

func newBackoff() *backoff { return &backoff{} }

// wait returns false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	d := min(100*time.Millisecond<<min(b.attempt, 10), 10*time.Second)
	b.attempt++
	d = d/2 + rand.N(d/2)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
