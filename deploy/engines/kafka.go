package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// KafkaArgs says how the Kafka child serves; they are the flags of `earshot engine kafka`.
type KafkaArgs struct {
	Dir  string // where the log is kept
	Port int    // Kafka protocol, on loopback
}

const (
	// Retention works on whole segments, and the broker reads one at a time into memory when it starts.
	segmentBytes = 16 << 20
	upkeepPeriod = time.Minute
	never        = 100 * 365 * 24 * time.Hour
)

// ServeKafka serves the Kafka protocol until end of file on stdin, SIGTERM, SIGINT or the end of ctx. What it
// acknowledged survives any end of the process.
func ServeKafka(ctx context.Context, args KafkaArgs, stdin io.Reader) error {
	if err := os.MkdirAll(args.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the Kafka directory: %w", err)
	}
	unlock, err := lockEngineDir(ctx, args.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkPort(args.Port); err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		waitForStop(ctx, stdin, nil)
		close(stop)
	}()
	return newBroker(args, slog.New(slog.NewTextHandler(os.Stderr, nil))).run(stop)
}

// broker is kfake with what it lacks to be trusted with a log: see kafka_recovery.go and kafka_compaction.go.
type broker struct {
	args KafkaArgs
	log  *slog.Logger

	// staged is what running transactions will commit, by producer id. kfake calls its control functions one at a
	// time, and a broker is opened again only after the one before has ended.
	staged map[int64]*staging
	topics map[[16]byte]string // names by id

	upkeepPeriod     time.Duration
	minCompactBytes  int64
	liveCompactBytes int64

	mu       sync.Mutex
	saveFail bool // kfake reported that it could not write its state
}

func newBroker(args KafkaArgs, log *slog.Logger) *broker {
	return &broker{args: args, log: log, staged: map[int64]*staging{},
		upkeepPeriod: upkeepPeriod, minCompactBytes: minCompactBytes, liveCompactBytes: liveCompactBytes}
}

func (b *broker) run(stop <-chan struct{}) error {
	for {
		if again, err := b.serve(stop); err != nil || !again {
			return err
		}
	}
}

type staging struct {
	epoch   int16
	offsets []stagedOffset
}

// serve opens the log, serves it until stop is closed or it is time to compact, and closes it.
func (b *broker) serve(stop <-chan struct{}) (again bool, err error) {
	dir := b.args.Dir
	if err := beginLog(dir, b.log); err != nil {
		return false, err
	}
	if gained, err := compactLog(dir, time.Now(), b.minCompactBytes); err != nil {
		return false, fmt.Errorf("cannot compact the Kafka log: %w", err)
	} else if gained > 0 {
		b.log.Info("the Kafka log has been compacted", "gained_bytes", gained)
	}
	if err := b.adoptOpenTransactions(); err != nil {
		return false, err
	}
	clean, err := compactedBytes(dir)
	if err != nil {
		return false, fmt.Errorf("cannot see the size of the Kafka log: %w", err)
	}

	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(b.args.Port), kfake.DataDir(dir), kfake.SyncWrites(), kfake.WithLogger(kafkaLogger{b}),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes":      strconv.Itoa(segmentBytes),
			"log.cleaner.backoff.ms": strconv.FormatInt(never.Milliseconds(), 10), // see kafka_compaction.go
		}))
	if err != nil {
		return false, fmt.Errorf("cannot start the Kafka broker: %w", err)
	}
	cluster.ControlKey(int16(kmsg.TxnOffsetCommit), b.noteOffsets)
	cluster.ControlKey(int16(kmsg.EndTxn), b.noteCommit)

	ticker := time.NewTicker(b.upkeepPeriod)
	defer ticker.Stop()
	for !again {
		select {
		case <-stop:
		case <-ticker.C:
			if err := b.applyRetention(cluster); err != nil {
				b.log.Error("cannot apply the retention of Kafka topics", "error", err)
			}
			size, err := compactedBytes(dir)
			if err != nil {
				b.log.Error("cannot see the size of the Kafka log", "error", err)
			}
			again = size-clean > b.liveCompactBytes && size > 3*clean
			continue
		}
		break
	}
	cluster.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saveFail {
		return false, errors.New("the Kafka log was not closed: its state could not be written")
	}
	return again, endLog(dir)
}

func (b *broker) applyRetention(cluster *kfake.Cluster) error {
	topics, err := readTopics(b.args.Dir)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, topic := range topics {
		for partition := range topic.Partitions {
			cut, err := expired(b.args.Dir, topic, partition, now)
			if err != nil {
				return err
			}
			if cut == 0 {
				continue
			}
			if err := cluster.DeleteRecords(topic.Name, int32(partition), cut); err != nil {
				return fmt.Errorf("topic %s: %w", topic.Name, err)
			}
			b.log.Info("retention gave up old records", "topic", topic.Name, "partition", partition, "below_offset", cut)
		}
	}
	return nil
}

// noteOffsets sees the offsets that a transaction stages; kfake then handles the request.
func (b *broker) noteOffsets(r kmsg.Request) (kmsg.Response, error, bool) {
	req, ok := r.(*kmsg.TxnOffsetCommitRequest)
	if !ok {
		return nil, nil, false
	}
	s := b.staged[req.ProducerID]
	if s == nil || s.epoch != req.ProducerEpoch {
		s = &staging{epoch: req.ProducerEpoch}
		b.staged[req.ProducerID] = s
	}
	for _, topic := range req.Topics {
		name := topic.Topic
		if name == "" { // from version 6 on a topic is named by its id
			name = b.topicName(topic.TopicID)
		}
		for _, p := range topic.Partitions {
			s.offsets = append(s.offsets, stagedOffset{Group: req.Group, Topic: name, Partition: p.Partition,
				Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata})
		}
	}
	return nil, nil, false
}

// topicName finds a topic by its id; "" when there is none, which kfake then answers.
func (b *broker) topicName(id [16]byte) string {
	if name, ok := b.topics[id]; ok {
		return name
	}
	topics, err := readTopics(b.args.Dir)
	if err != nil {
		b.log.Error("cannot read the topics", "error", err)
		return ""
	}
	b.topics = make(map[[16]byte]string, len(topics))
	for _, t := range topics {
		if len(t.ID) == len(id) {
			b.topics[[16]byte(t.ID)] = t.Name
		}
	}
	return b.topics[id]
}

// noteCommit writes down a commit before kfake carries it out, so that recovery can finish it. A commit that cannot be
// written down is refused: the client asks again.
func (b *broker) noteCommit(r kmsg.Request) (kmsg.Response, error, bool) {
	req, ok := r.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, nil, false
	}
	s := b.staged[req.ProducerID]
	delete(b.staged, req.ProducerID)
	if !req.Commit {
		return nil, nil, false
	}
	intent := commitIntent{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
	if s != nil && s.epoch == req.ProducerEpoch {
		intent.Offsets = s.offsets
	}
	if err := writeJSON(filepath.Join(b.args.Dir, commitIntentFile), intent); err != nil {
		b.log.Error("cannot note a commit, refusing it", "error", err)
		if s != nil {
			b.staged[req.ProducerID] = s
		}
		return nil, err, true
	}
	return nil, nil, false
}

// adoptOpenTransactions reads what running transactions had staged when the log was closed.
func (b *broker) adoptOpenTransactions() error {
	var state struct {
		InProgressTxns []struct {
			PID       int64
			TxOffsets map[string]map[string]map[int32]struct {
				Offset      int64   `json:"o"`
				LeaderEpoch int32   `json:"e"`
				Metadata    *string `json:"m"`
			}
		}
	}
	if err := readJSON(filepath.Join(b.args.Dir, "session_state.json"), &state); err != nil || len(state.InProgressTxns) == 0 {
		return err
	}
	producers, err := recoverProducers(b.args.Dir, &recoveryReport{})
	if err != nil {
		return err
	}
	for _, t := range state.InProgressTxns {
		p := producers[t.PID]
		if p == nil {
			continue
		}
		s := &staging{epoch: p.epoch}
		for group, topics := range t.TxOffsets {
			for topic, partitions := range topics {
				for partition, o := range partitions {
					s.offsets = append(s.offsets, stagedOffset{group, topic, partition, o.Offset, o.LeaderEpoch, o.Metadata})
				}
			}
		}
		b.staged[t.PID] = s
	}
	return nil
}

// kafkaLogger passes on kfake's warnings. Where kfake could not write, it goes on with a memory that says more than the
// disk: the sequence number of a batch that was not stored counts as seen, a transaction is ended on some partitions
// only. So the process ends there and then, before the client has an answer, and recovery starts from the disk.
type kafkaLogger struct{ b *broker }

func (l kafkaLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn || level == kfake.LogLevelNone {
		return
	}
	text := fmt.Sprintf(format, args...)
	switch {
	case strings.HasPrefix(text, "persist to disk:"), strings.HasPrefix(text, "save session state:"):
		l.b.log.Error("cannot write the broker's state", "error", text)
		l.b.mu.Lock()
		l.b.saveFail = true
		l.b.mu.Unlock()
	case strings.HasPrefix(text, "persist "), strings.HasPrefix(text, "endTx: failed to persist"):
		l.b.log.Error("cannot write the Kafka log, ending the broker", "error", text)
		os.Exit(4)
	default:
		l.b.log.Warn("kfake: " + text)
	}
}
