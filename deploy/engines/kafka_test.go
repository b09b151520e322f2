package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func kafkaClient(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.FetchMaxWait(200 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t testing.TB, client *kgo.Client, topic string, partitions int32, configs map[string]*string) {
	t.Helper()
	if _, err := kadm.NewClient(client).CreateTopic(context.Background(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
}

// committed reads what a topic holds for a reader of committed records, up to its last stable offset, by partition.
func committed(t testing.TB, addr, topic string) map[int32][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := kafkaClient(t, addr, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	waiting := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := starts.Lookup(topic, o.Partition); o.Offset > s.Offset {
			waiting[o.Partition] = o.Offset
		}
	})
	records := map[int32][]*kgo.Record{}
	for len(waiting) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %s up to %v: %v", topic, waiting, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, ok := waiting[r.Partition]; ok && r.Offset >= end-1 {
				delete(waiting, r.Partition)
			}
			if !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
		})
	}
	return records
}

func values(records map[int32][]*kgo.Record) []string {
	var all []string
	for _, partition := range slices.Sorted(maps.Keys(records)) {
		for _, r := range records[partition] {
			all = append(all, string(r.Value))
		}
	}
	return all
}

func killKafka(t testing.TB, s *Set) {
	t.Helper()
	before := s.Health()[0].PID
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker is back", func() bool { h := s.Health()[0]; return h.Ready && h.PID != before })
}

// An aborted transaction stays aborted, and takes nothing with it, however often the broker is killed.
func TestOpenTransactionIsAbortedByACrash(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	createTopic(t, kafkaClient(t, s.KafkaAddr()), "txn", 1, nil)
	var want []string
	transaction := func(commit bool, values ...string) {
		t.Helper()
		client := kafkaClient(t, s.KafkaAddr(), kgo.TransactionalID("one"), kgo.DefaultProduceTopic("txn"))
		defer client.Close()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := client.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if !commit {
			killKafka(t, s)
			return
		}
		if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		want = append(want, values...)
	}
	for round := range 3 {
		transaction(false, fmt.Sprintf("open %d", round))
		transaction(true, fmt.Sprintf("done %d a", round), fmt.Sprintf("done %d b", round))
		if round == 1 {
			killKafka(t, s)
		}
		if got := values(committed(t, s.KafkaAddr(), "txn")); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q, want %q", round, got, want)
		}
	}
}

// The copy of a topic through consume-transform-produce transactions holds every record once while the broker is
// killed at random.
func TestTransactionsAreExactWhileTheBrokerIsKilled(t *testing.T) {
	const (
		records    = 3000
		partitions = 4
		kills      = 12
	)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	admin := kafkaClient(t, s.KafkaAddr())
	createTopic(t, admin, "in", partitions, nil)
	createTopic(t, admin, "out", partitions, nil)

	// The producer is idempotent and goes on through the kills: its retries must not be stored twice.
	produced := make(chan error, 1)
	go func() {
		client := kafkaClient(t, s.KafkaAddr(), kgo.DefaultProduceTopic("in"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.MaxBufferedRecords(50))
		for i := range records {
			client.Produce(ctx, &kgo.Record{Value: []byte(strconv.Itoa(i)), Partition: int32(i % partitions)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("record %d: %v", i, err)
				}
			})
			if i%10 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		produced <- client.Flush(ctx)
	}()

	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if again := copyRecords(ctx, t, s.KafkaAddr(), stop); !again {
				return
			}
		}
	}()
	for range kills {
		time.Sleep(time.Duration(50+random.IntN(500)) * time.Millisecond)
		killKafka(t, s)
	}
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy has caught up", func() bool {
		offsets, err := kadm.NewClient(admin).FetchOffsets(ctx, "copy")
		if err != nil {
			return false
		}
		total := int64(0)
		offsets.Each(func(o kadm.OffsetResponse) { total += max(o.At, 0) })
		return total >= records
	})
	close(stop)
	<-done
	killKafka(t, s) // what a reader sees must also hold after one more recovery

	for _, topic := range []string{"in", "out"} {
		got := committed(t, s.KafkaAddr(), topic)
		total := 0
		for partition := range int32(partitions) {
			for i, r := range got[partition] {
				if want := strconv.Itoa(i*partitions + int(partition)); string(r.Value) != want {
					t.Fatalf("topic %s, partition %d: record %d at offset %d is %s, want %s (seed %d)", topic, partition, i, r.Offset, r.Value, want, seed)
				}
				total++
			}
		}
		if total != records {
			t.Errorf("topic %s has %d records, want %d (seed %d)", topic, total, records, seed)
		}
	}
	t.Logf("%d kills, %d records, restarts %d", kills+1, records, s.Health()[0].Restarts)
}

// copyRecords runs one consumer of the copy. It returns true when a new one has to take its place, as after fencing.
func copyRecords(ctx context.Context, t testing.TB, addr string, stop <-chan struct{}) bool {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(addr), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.TransactionalID("copy"), kgo.ConsumerGroup("copy"), kgo.ConsumeTopics("in"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(500*time.Millisecond))
	if err != nil {
		t.Error(err)
		return false
	}
	defer session.Close()
	for {
		select {
		case <-stop:
			return false
		case <-ctx.Done():
			return false
		default:
		}
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := session.PollRecords(pollCtx, 40)
		cancel()
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			t.Logf("begin: %v", err)
			return true
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: "out", Partition: r.Partition, Value: bytes.Clone(r.Value)}, nil)
		})
		if _, err := session.End(ctx, kgo.TryCommit); err != nil {
			t.Logf("end: %v", err)
			return true
		}
	}
}

// A crash after the broker took a commit, but before it carried it out, leaves the whole of it to recovery.
func TestCommitThatHadBegunIsFinished(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	log := filepath.Join(config.Data, "kafka")
	createTopic(t, kafkaClient(t, s.KafkaAddr()), "in", 1, nil)
	createTopic(t, kafkaClient(t, s.KafkaAddr()), "out", 3, nil)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(s.KafkaAddr()), kgo.TransactionalID("x"), kgo.ConsumerGroup("g"),
		kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := kafkaClient(t, s.KafkaAddr()).ProduceSync(ctx, &kgo.Record{Topic: "in", Value: []byte("in")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if n := session.PollFetches(ctx).NumRecords(); n != 1 {
		t.Fatalf("%d records", n)
	}
	if err := session.Begin(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		if err := session.Client().ProduceSync(ctx, &kgo.Record{Topic: "out", Partition: p, Value: fmt.Appendf(nil, "out %d", p)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(log)); err != nil {
		t.Fatal(err)
	}
	if ok, err := session.End(ctx, kgo.TryCommit); !ok || err != nil {
		t.Fatal(ok, err)
	}
	intent, err := os.ReadFile(filepath.Join(log, commitIntentFile))
	if err != nil {
		t.Fatal(err)
	}
	markerOn0, err := os.ReadFile(segmentPath(partitionDir(log, "out", 0), 0))
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()

	for name, test := range map[string]struct {
		change func(dir string)
		want   []string
		offset int64
	}{
		"before it is written down": {func(string) {}, nil, -1},
		"before the first marker":   {func(dir string) { put(t, filepath.Join(dir, commitIntentFile), intent) }, []string{"out 0", "out 1", "out 2"}, 1},
		"while it is written down":  {func(dir string) { put(t, filepath.Join(dir, commitIntentFile), intent[:len(intent)/2]) }, nil, -1},
		"after the marker of partition": {func(dir string) {
			put(t, filepath.Join(dir, commitIntentFile), intent)
			put(t, segmentPath(partitionDir(dir, "out", 0), 0), markerOn0)
		}, []string{"out 0", "out 1", "out 2"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t, t.TempDir())
			config.Kafka = true
			dir := filepath.Join(config.Data, "kafka")
			if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
				t.Fatal(err)
			}
			test.change(dir)
			s := start(t, config)
			if got := values(committed(t, s.KafkaAddr(), "out")); !slices.Equal(got, test.want) {
				t.Errorf("committed: %q, want %q", got, test.want)
			}
			offsets, err := kadm.NewClient(kafkaClient(t, s.KafkaAddr())).FetchOffsets(ctx, "g")
			if err != nil {
				t.Fatal(err)
			}
			offset := int64(-1)
			if o, ok := offsets.Lookup("in", 0); ok {
				offset = o.At
			}
			if offset != test.offset {
				t.Errorf("offset of the group: %d, want %d", offset, test.offset)
			}
		})
	}
}

func put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := appendSync(path, content); err != nil {
		t.Fatal(err)
	}
}

// What a crash tears off at the end of a file takes nothing with it that was written before or is written later.
func TestTornFilesAreMended(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	dir := filepath.Join(config.Data, "kafka")
	var want []string
	for round := range 3 {
		s := start(t, config)
		client := kafkaClient(t, s.KafkaAddr(), kgo.DefaultProduceTopic("torn"))
		if round == 0 {
			createTopic(t, client, "torn", 1, nil)
		}
		adm := kadm.NewClient(client)
		for i := range 5 {
			v := fmt.Sprintf("%d/%d", round, i)
			want = append(want, v)
			if err := client.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			var o kadm.Offsets
			o.AddOffset("torn", 0, int64(len(want)), -1)
			if err := adm.CommitAllOffsets(ctx, "g", o); err != nil {
				t.Fatal(err)
			}
		}
		killKafka(t, s) // now what was written behind the torn end has to be read from the disk
		if got := values(committed(t, s.KafkaAddr(), "torn")); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q, want %q", round, got, want)
		}
		offsets, err := adm.FetchOffsets(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := offsets.Lookup("torn", 0); !ok || o.At != int64(len(want)) {
			t.Fatalf("round %d: the group is at %d, want %d", round, o.At, len(want))
		}
		s.Stop()
		config.Metrics = nil
		// As after a kill in the middle of each write.
		if err := os.Remove(filepath.Join(dir, cleanEndFile)); err != nil {
			t.Fatal(err)
		}
		segment := segmentPath(partitionDir(dir, "torn", 0), 0)
		whole, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, segment, whole[:70])
		index, err := os.ReadFile(strings.TrimSuffix(segment, ".dat") + ".idx")
		if err != nil {
			t.Fatal(err)
		}
		put(t, strings.TrimSuffix(segment, ".dat")+".idx", index[:len(index)-indexEntryBytes])
		for _, name := range []string{"groups.log", "pids.log"} {
			appendTo(t, filepath.Join(dir, name), []byte{40, 0, 0, 0, 1, 2, 3})
		}
	}
}

// The sequence numbers that recovery reads from the log are those that the broker had.
func TestRecoveredSequenceNumbersAreTheBrokers(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	admin := kafkaClient(t, s.KafkaAddr())
	createTopic(t, admin, "seq", 2, nil)
	for n := range 3 {
		client := kafkaClient(t, s.KafkaAddr(), kgo.DefaultProduceTopic("seq"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		for range 3 + 4*n {
			if err := client.ProduceSync(ctx, kgo.StringRecord("a"), kgo.StringRecord("b"), kgo.StringRecord("c")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
	}
	s.Stop()
	dir := filepath.Join(config.Data, "kafka")
	read := func() map[windowKey]sequenceWindow {
		var file struct {
			Windows []sequenceWindow `json:"windows"`
		}
		if err := readJSON(filepath.Join(dir, "seq_windows.json"), &file); err != nil {
			t.Fatal(err)
		}
		all := map[windowKey]sequenceWindow{}
		for _, w := range file.Windows {
			// kfake leaves what was overwritten by fewer entries in place, and begins anywhere in the ring.
			var ring []sequenceEntry
			for i := range w.Count {
				ring = append(ring, w.Entries[(int(w.At)+5-int(w.Count)+int(i))%5])
			}
			w.Entries, w.At = [5]sequenceEntry{}, 0
			copy(w.Entries[:], ring)
			all[windowKey{w.ProducerID, w.Topic, w.Partition}] = w
		}
		return all
	}
	want := read()
	if len(want) == 0 {
		t.Fatal("the broker wrote no sequence numbers")
	}
	put(t, filepath.Join(dir, "seq_windows.json"), []byte(`{"version":1}`))
	if _, err := recoverLog(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := read(); !maps.Equal(got, want) {
		t.Errorf("recovered %+v\nwant %+v", got, want)
	}
}

func TestCompactionKeepsTheNewestCommittedRecords(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	compact := "compact"
	createTopic(t, kafkaClient(t, s.KafkaAddr()), "state", 1, map[string]*string{"cleanup.policy": &compact})
	client := kafkaClient(t, s.KafkaAddr(), kgo.DefaultProduceTopic("state"), kgo.TransactionalID("t"))
	want := map[string]string{}
	padding := strings.Repeat("x", 1000)
	for i := range 60 {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		commit := i%3 != 2
		for j := range 5 {
			key, value := strconv.Itoa((i+j)%9), fmt.Sprintf("%d %s", i, padding)
			r := kgo.KeyStringRecord(key, value)
			if i%7 == 0 {
				r = &kgo.Record{Key: []byte(key)}
			}
			if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if commit {
				want[key] = string(r.Value)
			}
		}
		if err := client.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	newest := func(addr string) (map[string]string, int64, int) {
		got := map[string]string{}
		records := committed(t, addr, "state")[0]
		for _, r := range records {
			got[string(r.Key)] = string(r.Value)
		}
		ends, err := kadm.NewClient(kafkaClient(t, addr)).ListEndOffsets(ctx, "state")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("state", 0)
		return got, end.Offset, len(records)
	}
	got, end, before := newest(s.KafkaAddr())
	if !maps.Equal(got, want) {
		t.Fatal("the records are not those that were written")
	}
	s.Stop()
	dir := filepath.Join(config.Data, "kafka")
	part := partitionDir(dir, "state", 0)
	original := t.TempDir()
	if err := os.CopyFS(original, os.DirFS(part)); err != nil {
		t.Fatal(err)
	}
	gained, err := compactLog(dir, time.Now(), 0)
	if err != nil || gained <= 0 {
		t.Fatalf("gained %d bytes, %v", gained, err)
	}

	// Each place at which a crash may interrupt it leaves the old state or the new one.
	compacted := t.TempDir()
	if err := os.CopyFS(compacted, os.DirFS(part)); err != nil {
		t.Fatal(err)
	}
	lay := func(path, from string) {
		if err := errors.Join(os.RemoveAll(path), os.CopyFS(path, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
	}
	for name, state := range map[string]struct{ at, compacted, replaced string }{
		"while it writes":      {at: original, compacted: compacted},
		"after the first move": {compacted: compacted, replaced: original},
		"after the second":     {at: compacted, replaced: original},
	} {
		for path, from := range map[string]string{part: state.at, part + compactedSuffix: state.compacted, part + replacedSuffix: state.replaced} {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if from != "" {
				lay(path, from)
			}
		}
		config.Metrics = nil
		s := start(t, config)
		got, gotEnd, n := newest(s.KafkaAddr())
		if !maps.Equal(got, want) || gotEnd != end {
			t.Errorf("%s: the newest records or the end (%d, want %d) are others", name, gotEnd, end)
		}
		if name != "while it writes" && n >= before {
			t.Errorf("%s: still %d records of %d", name, n, before)
		}
		// And the topic goes on behind it.
		if err := kafkaClient(t, s.KafkaAddr(), kgo.DefaultProduceTopic("state")).ProduceSync(ctx, kgo.KeyStringRecord("new", name)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		killKafka(t, s)
		if got, gotEnd, _ := newest(s.KafkaAddr()); got["new"] != name || gotEnd != end+1 {
			t.Errorf("%s: after one more record and a kill: %q, end %d", name, got["new"], gotEnd)
		}
		s.Stop()
		if left, err := filepath.Glob(part + ".*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

// The broker closes for a moment to compact; its clients notice no more than a broken connection, and a transaction that
// was open goes on.
func TestBrokerCompactsWhileItServes(t *testing.T) {
	ctx := context.Background()
	port, err := choosePort(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(KafkaArgs{Dir: t.TempDir(), Port: port}, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	b.upkeepPeriod, b.minCompactBytes, b.liveCompactBytes = 20*time.Millisecond, 0, 200_000
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.run(stop) }()
	addr := loopback(port)
	compact := "compact"
	createTopic(t, kafkaClient(t, addr), "state", 1, map[string]*string{"cleanup.policy": &compact})
	createTopic(t, kafkaClient(t, addr), "in", 1, nil)

	// A transaction that is open while the log is compacted.
	open := kafkaClient(t, addr, kgo.TransactionalID("open"), kgo.DefaultProduceTopic("in"))
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := open.ProduceSync(ctx, kgo.StringRecord("before")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	client := kafkaClient(t, addr, kgo.DefaultProduceTopic("state"))
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	compacted := func() bool {
		n, err := compactedBytes(b.args.Dir)
		return err == nil && len(want) > 0 && n < 100_000
	}
	written := 0
	for written < 300 || !compacted() && written < 20_000 {
		value := make([]byte, 1000)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		r := &kgo.Record{Key: []byte(strconv.Itoa(written % 7)), Value: value}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want[string(r.Key)] = string(value)
		written++
	}
	if !compacted() {
		t.Fatalf("nothing was compacted in %d records", written)
	}
	if err := open.ProduceSync(ctx, kgo.StringRecord("after")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := open.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := values(committed(t, addr, "in")); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("the open transaction: %q", got)
	}
	records := committed(t, addr, "state")[0]
	got := map[string]string{}
	for _, r := range records {
		got[string(r.Key)] = string(r.Value)
	}
	if !maps.Equal(got, want) {
		t.Error("the newest records are not those that were written")
	}
	if end := records[len(records)-1].Offset + 1; end != int64(written) || len(records) == written {
		t.Errorf("%d records are left, the next offset is %d; %d were written", len(records), end, written)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRetentionGivesUpWholeSegmentsButNeverTheLast(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	part := partitionDir(dir, "a/b", 0)
	if err := os.MkdirAll(part, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, base := range []int64{0, 100, 200, 300} {
		put(t, segmentPath(part, base), make([]byte, 1000))
		age := now.Add(-time.Duration(4-i) * 24 * time.Hour)
		if err := os.Chtimes(segmentPath(part, base), age, age); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		configs map[string]string
		want    int64
	}{
		"default of a week": {nil, 0},
		"two and a half":    {map[string]string{"retention.ms": "216000000"}, 200},
		"an hour":           {map[string]string{"retention.ms": "3600000"}, 300},
		"forever":           {map[string]string{"retention.ms": "-1"}, 0},
		"bytes":             {map[string]string{"retention.bytes": "2500"}, 100},
		"hardly any bytes":  {map[string]string{"retention.bytes": "1"}, 300},
		"compacted":         {map[string]string{"cleanup.policy": "compact", "retention.ms": "1"}, 0},
	} {
		if got, err := expired(dir, topicEntry{Name: "a/b", Partitions: 1, Configs: test.configs}, 0, now); err != nil || got != test.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, test.want)
		}
	}
}

func FuzzReadBatches(f *testing.F) {
	f.Add(marker(7, 0, 1, 2, true, 3))
	f.Add(committedBatch(batch{baseOffset: 5, records: 1}, []kmsg.Record{{Key: []byte("k"), Length: 8}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		batches, valid := readBatches(raw, 0)
		if valid > int64(len(raw)) {
			t.Fatalf("%d bytes of %d", valid, len(raw))
		}
		for _, b := range batches {
			_ = eachRecord(raw[b.pos:b.pos+b.bytes], func(kmsg.Record) error { return nil })
		}
	})
}

func FuzzReadEntries(f *testing.F) {
	seed, err := appendEntry(nil, groupEntry{Type: "commit", Group: "g"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, valid := readEntries(raw)
		if valid > len(raw) {
			t.Fatalf("%d bytes of %d", valid, len(raw))
		}
		for _, e := range entries {
			var g groupEntry
			_ = json.Unmarshal(e, &g)
		}
	})
}
