package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/internal/failpoint"
)

// Named steps of the transaction, for tests that stop the program there.
const (
	StepMidRestore       = "processors.mid-restore"       // checkpoint loaded, input not yet replayed
	StepBeforeProduce    = "processors.before-produce"    // batch applied, nothing written
	StepDuringCheckpoint = "processors.during-checkpoint" // entries written, header not
	StepAfterProduce     = "processors.after-produce"     // everything written, transaction open
	StepBeforeCommit     = "processors.before-commit"     // brokers have acknowledged all of it
	StepAfterCommit      = "processors.after-commit"      // committed, memory not yet told
)

// ErrFenced says that another process with the same instance name has taken over.
var ErrFenced = errors.New("another processor with the same instance name has taken over")

// Config is how a processor works.
type Config struct {
	Group             string        `koanf:"group" doc:"consumer group of the processors"`
	Instance          string        `koanf:"instance" doc:"name of this process, stable over restarts, unique in the group; empty: the host name"`
	CheckpointRecords int           `koanf:"checkpoint_records" doc:"records of a partition after which its state is checkpointed"`
	CheckpointEvery   time.Duration `koanf:"checkpoint_every" doc:"event time after which a changed state is checkpointed"`
	BatchRecords      int           `koanf:"batch_records" doc:"records of one transaction, about: a Kafka record holds several"`
	FetchBytes        int32         `koanf:"fetch_bytes" doc:"bytes fetched ahead from one broker at most"`
	SessionTimeout    time.Duration `koanf:"session_timeout" doc:"silence after which the partitions of a process go to others"`
	TransactionTime   time.Duration `koanf:"transaction_timeout" doc:"time after which the broker aborts the transaction of a process that died"`
	ShutdownTime      time.Duration `koanf:"shutdown_timeout" doc:"time to finish the current transaction and the last checkpoint when told to stop"`
	Tombstones        int           `koanf:"tombstones" doc:"ended imports that a partition remembers"`
}

// DefaultConfig is for one process; Instance must be set where several share a host.
func DefaultConfig() Config {
	return Config{
		Group:             "earshot-processors",
		CheckpointRecords: 5000,
		CheckpointEvery:   5 * time.Second,
		BatchRecords:      5000,
		FetchBytes:        16 << 20,
		SessionTimeout:    10 * time.Second,
		TransactionTime:   30 * time.Second,
		ShutdownTime:      20 * time.Second,
		Tombstones:        100_000,
	}
}

// Deps is what a processor works with.
type Deps struct {
	Bus bus.Config
	// Machines makes the state machine of one partition, by input topic.
	Machines map[string]func() Machine
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// Failpoint is called at each named step; an error aborts the transaction.
	// Nil: failpoint.Hit.
	Failpoint func(step string) error
}

// Processor reads the input topics and writes outcomes, each exactly once.
type Processor struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	opts    []kgo.Opt // of every client

	parts    map[topicPartition]*partition // owned by Run
	progress bool                          // whether the session has committed anything
	packed   float64                       // records in a Kafka record, of late

	mu   sync.Mutex
	lost map[topicPartition]struct{} // taken away since Run last looked
}

type topicPartition struct {
	topic     string
	partition int32
}

// New checks the configuration; nothing is opened before Run.
func New(cfg Config, deps Deps) (*Processor, error) {
	switch {
	case cfg.Group == "":
		return nil, errors.New("processors.group must be set")
	case cfg.CheckpointRecords < 1 || cfg.CheckpointEvery <= 0:
		return nil, errors.New("processors.checkpoint_records and processors.checkpoint_every must be positive")
	case cfg.BatchRecords < 1 || cfg.FetchBytes < 1 || cfg.Tombstones < 0:
		return nil, errors.New("processors.batch_records and processors.fetch_bytes must be positive, processors.tombstones not negative")
	case cfg.SessionTimeout <= 0 || cfg.TransactionTime <= 0 || cfg.ShutdownTime <= 0:
		return nil, errors.New("timeouts of processors must be positive")
	case len(deps.Machines) == 0:
		return nil, errors.New("no state machines are given")
	}
	if cfg.Instance == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("cannot name this instance after its host: %w", err)
		}
		cfg.Instance = name
	}
	opts, err := deps.Bus.Options()
	if err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Failpoint == nil {
		deps.Failpoint = func(step string) error { failpoint.Hit(step); return nil }
	}
	return &Processor{
		cfg: cfg, deps: deps, log: deps.Log, metrics: newMetrics(deps.Metrics), opts: opts,
		parts: map[topicPartition]*partition{}, lost: map[topicPartition]struct{}{}, packed: packedAtFirst,
	}, nil
}

// Run works until ctx is done, then commits, checkpoints, leaves the group and
// returns nil. What goes wrong with the brokers is tried again; only a process
// that has been replaced by another returns ErrFenced.
func (p *Processor) Run(ctx context.Context) error {
	const shortest, longest = 250 * time.Millisecond, 15 * time.Second
	wait := shortest
	for {
		p.progress = false
		err := p.session(ctx)
		p.forgetAll()
		// A producer alone is also fenced by a broker that has lost its memory in
		// a crash, so only the group's word counts.
		if errors.Is(err, kerr.FencedInstanceID) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
		if ctx.Err() != nil {
			if err != nil {
				p.log.Warn("processors stopped without a last commit", "error", err)
			}
			return nil
		}
		p.metrics.restarts.Inc()
		if p.progress {
			wait = shortest
		}
		p.log.Error("processors lost their session and begin another", "error", err, "after", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// session works with one client until ctx is done or the client is of no more use.
func (p *Processor) session(ctx context.Context) error {
	// What has begun is finished when ctx ends, but not for ever.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(p.cfg.ShutdownTime, cancel) })
	defer stop()

	s, err := p.open()
	if err != nil {
		return err
	}
	left := false
	defer func() {
		s.Close()
		if left {
			p.leave(work)
		}
	}()
	// Taking the producer id aborts what a killed process of the same name has
	// left open. Without it the group would wait for that transaction's timeout.
	if _, _, err := s.Client().ProducerID(work); err != nil {
		return fmt.Errorf("cannot get a producer id: %w", err)
	}
	p.log.Info("processors run", "group", p.cfg.Group, "instance", p.cfg.Instance)
	for ctx.Err() == nil {
		fetches := s.PollRecords(ctx, max(1, int(float64(p.cfg.BatchRecords)/p.packed)))
		if fetches.IsClientClosed() {
			return kgo.ErrClientClosed
		}
		if err := p.fetchErrors(ctx, fetches); err != nil {
			return err
		}
		p.dropLost()
		batches := p.batches(fetches)
		if len(batches) == 0 {
			continue
		}
		if err := p.process(work, batches); err != nil {
			return err
		}
		p.weigh(batches)
		if err := p.transact(work, s, batches); err != nil {
			return err
		}
	}
	if err := p.lastCheckpoint(work, s); err != nil {
		p.log.Warn("processors cannot write a last checkpoint", "error", err)
	}
	left = true
	return nil
}

func (p *Processor) open() (*kgo.GroupTransactSession, error) {
	topics := make([]string, 0, len(p.deps.Machines))
	for t := range p.deps.Machines {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	taken := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for topic, numbers := range gone {
			for _, n := range numbers {
				p.lost[topicPartition{topic, n}] = struct{}{}
			}
		}
	}
	id := p.cfg.Group + "-" + p.cfg.Instance
	s, err := kgo.NewGroupTransactSession(append(slices.Clone(p.opts),
		kgo.ConsumerGroup(p.cfg.Group),
		// A process that comes back under its name takes its partitions back
		// at once, without waiting for the session of the dead one to end.
		kgo.InstanceID(p.cfg.Instance),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(p.cfg.TransactionTime),
		kgo.SessionTimeout(p.cfg.SessionTimeout),
		// Joining waits for no transaction here, so who is silent for a session
		// is not waited for in a rebalance either: the default, a minute, would
		// be one without verdicts for all.
		kgo.RebalanceTimeout(p.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(p.cfg.SessionTimeout/3, 3*time.Second)),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(p.cfg.FetchBytes),
		kgo.FetchMaxPartitionBytes(max(p.cfg.FetchBytes/8, 1)),
		kgo.MaxConcurrentFetches(4),
		kgo.ProducerBatchMaxBytes(maxRecordBytes+40_000),
		// Outcomes and checkpoints stay on the partition of their input.
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(r.Partition) % n }
		})),
		kgo.OnPartitionsRevoked(taken),
		kgo.OnPartitionsLost(taken),
	)...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	return s, nil
}

// fetchErrors looks at what a poll could not read. Most of it the client tries
// again by itself.
func (p *Processor) fetchErrors(ctx context.Context, fetches kgo.Fetches) error {
	var fatal error
	fetches.EachError(func(topic string, partition int32, err error) {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return
		}
		var lossy *kgo.ErrDataLoss
		switch {
		case errors.Is(err, kerr.FencedInstanceID):
			fatal = err
		case errors.As(err, &lossy):
			p.metrics.truncated.WithLabelValues(topic).Inc()
			p.log.Error("input was deleted before it was processed", "topic", topic, "partition", partition, "error", err)
		default:
			p.metrics.fetchErrors.Inc()
			p.log.Warn("processors cannot read", "topic", topic, "partition", partition, "error", err)
		}
	})
	return fatal
}

// batch is what one poll gave of one partition.
type batch struct {
	key     topicPartition
	records []*kgo.Record
	high    int64 // high watermark
	out     *output
	part    *partition
}

func (p *Processor) batches(fetches kgo.Fetches) []*batch {
	byKey := map[topicPartition]*batch{}
	var all []*batch
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		key := topicPartition{f.Topic, f.Partition}
		b := byKey[key]
		if b == nil {
			b = &batch{key: key}
			byKey[key] = b
			all = append(all, b)
		}
		b.records = append(b.records, f.Records...)
		b.high = max(b.high, f.HighWatermark)
	})
	return all
}

// packedAtFirst is how many records are taken to be in a Kafka record before
// one was seen.
const packedAtFirst = 64

// weigh notes how many records a Kafka record holds, so that the next
// transaction is as large as it shall be. It forgets full ones slowly: the state
// of a transaction that is too large is memory.
func (p *Processor) weigh(batches []*batch) {
	kafka, records := 0, 0
	for _, b := range batches {
		kafka += len(b.records)
		records += b.out.applied
	}
	p.packed = max(1, float64(records)/float64(kafka), p.packed*0.75)
}

// process applies the batches, partitions side by side, each in its order.
func (p *Processor) process(ctx context.Context, batches []*batch) error {
	// Not more readers at a time than a broker and the memory like.
	readers := make(chan struct{}, 4)
	errs := make([]error, len(batches))
	var wg sync.WaitGroup
	for i, b := range batches {
		b.part = p.parts[b.key]
		wg.Go(func() {
			first := b.records[0].Offset
			if b.part == nil {
				readers <- struct{}{}
				b.part, errs[i] = p.recover(ctx, b.key, first)
				<-readers
				if errs[i] != nil {
					return
				}
			}
			b.out = newOutput()
			for _, r := range b.records {
				b.part.apply(r, b.out)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, b := range batches {
		p.parts[b.key] = b.part
	}
	return nil
}

// transact writes what the batches led to, with the offsets, as one transaction.
func (p *Processor) transact(ctx context.Context, s *kgo.GroupTransactSession, batches []*batch) error {
	began := time.Now()
	if err := s.Begin(); err != nil {
		return fmt.Errorf("cannot begin a transaction: %w", err)
	}
	w := &writer{s: s}
	err := p.write(ctx, w, batches)
	if err != nil {
		p.log.Warn("processors abort a transaction", "error", err)
	}
	committed, endErr := s.End(ctx, kgo.TransactionEndTry(err == nil))
	if committed {
		// Between the commit and what memory makes of it nothing can be lost:
		// memory only lags behind.
		if err := p.deps.Failpoint(StepAfterCommit); err != nil {
			return err
		}
	}
	p.metrics.transactionSeconds.Observe(time.Since(began).Seconds())
	if endErr != nil {
		p.metrics.transactions.WithLabelValues("failed").Inc()
		return fmt.Errorf("cannot end a transaction: %w", endErr)
	}
	if !committed {
		p.metrics.transactions.WithLabelValues("aborted").Inc()
		// State is ahead of what was committed: it is read again.
		for _, b := range batches {
			delete(p.parts, b.key)
		}
		for key := range w.checkpointed {
			delete(p.parts, key)
		}
		return nil
	}
	p.progress = true
	p.metrics.transactions.WithLabelValues("committed").Inc()
	p.metrics.committed(batches)
	for _, b := range batches {
		if n := len(b.out.deadTexts); n > 0 {
			p.log.Error("records went to the dead letters", "topic", b.key.topic, "partition", b.key.partition, "records", n, "first_error", b.out.deadTexts[0])
		}
	}
	return nil
}

// write produces outcomes, dead letters and due checkpoints.
func (p *Processor) write(ctx context.Context, w *writer, batches []*batch) error {
	if err := p.deps.Failpoint(StepBeforeProduce); err != nil {
		return err
	}
	var due []*partition
	for _, b := range batches {
		w.produce(ctx, b.out.records...)
		if b.part.due(p.cfg.CheckpointRecords, p.cfg.CheckpointEvery.Microseconds()) {
			due = append(due, b.part)
		}
	}
	if err := p.writeCheckpoints(ctx, w, due); err != nil {
		return err
	}
	if err := p.deps.Failpoint(StepAfterProduce); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	return p.deps.Failpoint(StepBeforeCommit)
}

func (p *Processor) writeCheckpoints(ctx context.Context, w *writer, due []*partition) error {
	if len(due) == 0 {
		return nil
	}
	began := time.Now()
	var headers []*kgo.Record
	bytes := 0
	for _, part := range due {
		records, err := part.checkpoint()
		if err != nil {
			// The partition goes on without checkpoints; recovery takes longer.
			p.metrics.checkpointFailures.Inc()
			p.log.Error("a state cannot be checkpointed any more", "topic", part.topic, "partition", part.number, "error", err)
			continue
		}
		w.checkpoint(topicPartition{part.topic, part.number})
		for _, r := range records {
			bytes += len(r.Key) + len(r.Value)
		}
		w.produce(ctx, records[:len(records)-1]...)
		headers = append(headers, records[len(records)-1])
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := p.deps.Failpoint(StepDuringCheckpoint); err != nil {
		return err
	}
	w.produce(ctx, headers...)
	p.metrics.checkpointBytes.Observe(float64(bytes))
	p.metrics.checkpointSeconds.Observe(time.Since(began).Seconds())
	return nil
}

// lastCheckpoint saves all state on the way out, so that the next start has
// nothing to replay. No offsets are committed with it, so membership is proven
// first: otherwise a process that has been replaced without knowing could
// overwrite the checkpoint of its successor.
func (p *Processor) lastCheckpoint(ctx context.Context, s *kgo.GroupTransactSession) error {
	p.dropLost()
	var due []*partition
	for _, part := range p.parts {
		if part.due(1, 1) {
			due = append(due, part)
		}
	}
	if len(due) == 0 {
		return nil
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("cannot begin a transaction: %w", err)
	}
	w := &writer{s: s}
	err := p.writeCheckpoints(ctx, w, due)
	if err == nil {
		err = w.flush(ctx)
	}
	if err == nil {
		err = p.stillMember(ctx, s.Client())
	}
	_, endErr := s.End(ctx, kgo.TransactionEndTry(err == nil))
	return errors.Join(err, endErr)
}

func (p *Processor) stillMember(ctx context.Context, client *kgo.Client) error {
	member, generation := client.GroupMetadata()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = p.cfg.Group, member, generation, &p.cfg.Instance
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("cannot prove membership of group %s: %w", p.cfg.Group, err)
	}
	return nil
}

// leave hands the partitions to the others at once. A client with an instance
// name does not leave by itself when it is closed.
func (p *Processor) leave(ctx context.Context) {
	client, err := kgo.NewClient(p.opts...)
	if err != nil {
		return
	}
	defer client.Close()
	left, err := kadm.NewClient(client).LeaveGroup(ctx, kadm.LeaveGroup(p.cfg.Group).Reason("shutdown").InstanceIDs(p.cfg.Instance))
	if err == nil {
		err = left.Error()
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) {
		p.log.Warn("processors cannot leave their group", "group", p.cfg.Group, "error", err)
	}
}

// dropLost forgets the state of partitions that went to another process.
func (p *Processor) dropLost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.lost {
		delete(p.parts, key)
		p.metrics.forget(key)
	}
	clear(p.lost)
}

func (p *Processor) forgetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.parts {
		p.metrics.forget(key)
	}
	clear(p.parts)
	clear(p.lost)
}

// writer produces inside the open transaction and remembers what failed.
type writer struct {
	s            *kgo.GroupTransactSession
	checkpointed map[topicPartition]struct{}

	mu  sync.Mutex
	err error
}

func (w *writer) produce(ctx context.Context, records ...*kgo.Record) {
	for _, r := range records {
		w.s.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err == nil {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.err == nil {
				w.err = fmt.Errorf("cannot produce to %s: %w", r.Topic, err)
			}
		})
	}
}

func (w *writer) checkpoint(key topicPartition) {
	if w.checkpointed == nil {
		w.checkpointed = map[topicPartition]struct{}{}
	}
	w.checkpointed[key] = struct{}{}
}

func (w *writer) flush(ctx context.Context) error {
	if err := w.s.Client().Flush(ctx); err != nil {
		return fmt.Errorf("cannot flush: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (t topicPartition) String() string { return fmt.Sprintf("%s/%d", t.topic, t.partition) }
