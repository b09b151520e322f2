package processors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/telemetry"
)

const (
	testPartitions = 3
	testTimeout    = 90 * time.Second
	kafkaSession   = 6 * time.Second // the shortest that Kafka allows by default
)

// counting counts the records of each call and says so with every one. A call
// without a record for ten seconds of its timeline ends.
type counting struct {
	topic string
	calls map[string]countingCall
	dirty map[string]bool
}

type countingCall struct{ n, lastUs, sum int64 }

func newCounting(topic string) *counting {
	return &counting{topic: topic, calls: map[string]countingCall{}, dirty: map[string]bool{}}
}

func (c *counting) Apply(r *telemetry.Record, emit Emit) error {
	key := r.GetTimeline().GetId() + "|" + r.CallKey
	call := c.calls[key]
	call.n++
	call.lastUs = max(call.lastUs, r.AtUs)
	call.sum = call.sum*31 + int64(binary.BigEndian.Uint32(r.EventId))
	c.outcome(key, call, emit)
	switch r.GetEvent().GetType() {
	case "poison":
		return errors.New("this one is poison")
	case "panic":
		panic("this one panics")
	case "big":
		emit(&telemetry.Outcome{CallId: key, Body: &telemetry.Outcome_Call{Call: &telemetry.Call{Description: strings.Repeat("x", maxRecordBytes)}}})
	}
	c.calls[key], c.dirty[key] = call, true
	return nil
}

func (c *counting) outcome(key string, call countingCall, emit Emit) {
	emit(&telemetry.Outcome{Company: c.topic, CallId: key, AtUs: call.lastUs,
		Body: &telemetry.Outcome_Call{Call: &telemetry.Call{Description: fmt.Sprint(call.n, " ", call.sum)}}})
}

func (c *counting) finish(keys []string, state string, atUs int64, emit Emit) {
	slices.Sort(keys)
	for _, key := range keys {
		call := c.calls[key]
		emit(&telemetry.Outcome{Company: c.topic, CallId: key, AtUs: atUs,
			Body: &telemetry.Outcome_Call{Call: &telemetry.Call{State: state, Description: fmt.Sprint(call.n, " ", call.sum)}}})
		delete(c.calls, key)
		c.dirty[key] = true
	}
}

func (c *counting) Advance(timeline string, nowUs int64, emit Emit) {
	var over []string
	for key, call := range c.calls {
		if id, _, _ := strings.Cut(key, "|"); id == timeline && nowUs-call.lastUs > 10*secondUs {
			over = append(over, key)
		}
	}
	c.finish(over, "silent", nowUs, emit)
}

func (c *counting) End(timeline string, atUs int64, emit Emit) {
	var over []string
	for key := range c.calls {
		if id, _, _ := strings.Cut(key, "|"); id == timeline {
			over = append(over, key)
		}
	}
	c.finish(over, "ended", atUs, emit)
}

func (c *counting) Checkpoint(put func(string, []byte)) {
	for key := range c.dirty {
		call, ok := c.calls[key]
		if !ok {
			put(key, nil)
			continue
		}
		put(key, call.encode())
	}
	clear(c.dirty)
}

func (c countingCall) encode() []byte {
	b := binary.AppendVarint(nil, c.n)
	b = binary.AppendVarint(b, c.lastUs)
	return binary.AppendVarint(b, c.sum)
}

func (c *counting) Restore(key string, state []byte) error {
	r := varints{b: state}
	c.calls[key] = countingCall{n: r.varint(), lastUs: r.varint(), sum: r.varint()}
	return r.err
}

// dump is all state of a partition as text.
func dump(p *partition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "next %d seq %d live %d second %d\n", p.next, p.lastSeq, p.times.liveUs, p.times.liveSecond)
	for _, id := range slices.Sorted(maps.Keys(p.times.own)) {
		fmt.Fprintf(&b, "timeline %q %x\n", id, p.times.own[id].encode())
	}
	for _, t := range p.times.ended {
		fmt.Fprintf(&b, "tombstone %q\n", t.id)
	}
	m := p.machine.(*counting)
	for _, key := range slices.Sorted(maps.Keys(m.calls)) {
		fmt.Fprintf(&b, "call %q %x\n", key, m.calls[key].encode())
	}
	return b.String()
}

var inputTopics = []string{telemetry.TopicTelemetry, telemetry.TopicRegistrations}

// input makes batches for every input partition: live calls, ticks, captures
// with ends, duplicates and poison.
func input(seed uint64, perPartition int) []*kgo.Record {
	rnd, packing := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 4))
	var all []*kgo.Record
	for _, topic := range inputTopics {
		for n := range int32(testPartitions) {
			liveUs := int64(1_700_000_000) * secondUs
			seqs := map[string]uint64{}
			i := 0
			for range perPartition {
				var batch []byte
				for range 1 + packing.IntN(3) {
					batch = telemetry.AppendToBatch(batch, inputRecord(rnd, i, &liveUs, seqs))
					i++
				}
				if packing.IntN(100) == 0 {
					batch = append(batch, 0x0a, 0x7f) // cut short
				}
				all = append(all, &kgo.Record{Topic: topic, Partition: n, Value: batch})
			}
		}
	}
	return all
}

func inputRecord(rnd *rand.Rand, i int, liveUs *int64, seqs map[string]uint64) []byte {
	*liveUs += rnd.Int64N(secondUs)
	r := &telemetry.Record{EventId: binary.BigEndian.AppendUint32(nil, uint32(i)), Company: "default", AtUs: *liveUs,
		CallKey: fmt.Sprint("call-", rnd.IntN(8)), Body: &telemetry.Record_Event{Event: &telemetry.CallEvent{Type: "started"}}}
	switch k := rnd.IntN(100); {
	case k < 10:
		r.CallKey, r.Body = "", &telemetry.Record_Tick{Tick: &telemetry.Tick{}}
	case k < 50:
		id := fmt.Sprint("import:", rnd.IntN(1+i/40))
		seqs[id] += 1 + uint64(rnd.IntN(3))
		r.Timeline = &telemetry.Timeline{Id: id, Seq: seqs[id]}
		r.AtUs = int64(1_200_000_000)*secondUs + int64(seqs[id])*700_000
		if rnd.IntN(10) == 0 {
			r.Timeline.Seq = 1 + rnd.Uint64N(seqs[id]) // seen before
		}
		if rnd.IntN(30) == 0 {
			r.CallKey, r.Body = "", &telemetry.Record_End{End: &telemetry.TimelineEnd{}}
		}
	case k < 53:
		r.GetEvent().Type = "poison"
	case k < 56:
		r.GetEvent().Type = "panic"
	}
	value, err := r.MarshalVT()
	if err != nil {
		panic(err)
	}
	if rnd.IntN(50) == 0 {
		value = []byte{0xff, 0xff, byte(i)}
	}
	return value
}

// packed counts the telemetry records of Kafka records, what cannot be read included.
func packed(records []*kgo.Record) (n int) {
	for _, k := range records {
		for range telemetry.Unpack(k.Value) {
			n++
		}
	}
	return n
}

// undisturbed is what the records must lead to: outcomes by origin and
// partition, dead letters, and the state at the end.
type undisturbed struct {
	outcomes map[string][]string
	dead     map[string][]string
	states   map[topicPartition]string
}

func compute(records []*kgo.Record) undisturbed {
	u := undisturbed{outcomes: map[string][]string{}, dead: map[string][]string{}, states: map[topicPartition]string{}}
	parts := map[topicPartition]*partition{}
	for _, in := range records {
		key := topicPartition{in.Topic, in.Partition}
		p := parts[key]
		if p == nil {
			p = newPartition(in.Topic, in.Partition, newCounting(in.Topic), 5)
			parts[key] = p
		}
		out := newOutput()
		r := *in
		r.Offset = p.next
		p.apply(&r, out)
		for _, o := range out.records {
			u.add(o)
		}
	}
	for key, p := range parts {
		u.states[key] = dump(p)
	}
	return u
}

func (u undisturbed) add(r *kgo.Record) {
	if r.Topic == telemetry.TopicDeadLetter {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		origin := headers["topic"] + "/" + headers["partition"]
		u.dead[origin] = append(u.dead[origin], fmt.Sprintf("%s/%s %s %x", headers["offset"], headers["index"], headers["reason"], r.Value))
		return
	}
	var o telemetry.Outcome
	if err := proto.Unmarshal(r.Value, &o); err != nil {
		panic(err)
	}
	origin := fmt.Sprint(o.Company, "/", r.Partition)
	u.outcomes[origin] = append(u.outcomes[origin], fmt.Sprintf("%x", r.Value))
}

// rig is a cluster and processors on it.
type rig struct {
	t       testing.TB
	bus     bus.Config
	cluster *kfake.Cluster
	client  *kgo.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := newRigOn(t, cluster.ListenAddrs())
	r.cluster = cluster
	return r
}

func newRigOn(t testing.TB, brokers []string) *rig {
	t.Helper()
	r := &rig{t: t, bus: bus.Config{Brokers: brokers, Partitions: testPartitions, Replication: 1}}
	if err := bus.EnsureTopics(t.Context(), r.bus); err != nil {
		t.Fatal(err)
	}
	opts, err := r.bus.Options()
	if err != nil {
		t.Fatal(err)
	}
	r.client, err = kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

func (r *rig) produce(records []*kgo.Record) {
	r.t.Helper()
	copies := make([]*kgo.Record, len(records))
	for i, in := range records {
		copies[i] = &kgo.Record{Topic: in.Topic, Partition: in.Partition, Key: in.Key, Value: in.Value}
	}
	if err := r.client.ProduceSync(r.t.Context(), copies...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func testConfig(instance string) Config {
	cfg := DefaultConfig()
	cfg.Instance = instance
	cfg.CheckpointRecords = 40
	cfg.BatchRecords = 100
	cfg.SessionTimeout = 2 * time.Second
	cfg.TransactionTime = 5 * time.Second
	cfg.Tombstones = 5
	return cfg
}

func machines() map[string]func() Machine {
	m := map[string]func() Machine{}
	for _, topic := range inputTopics {
		m[topic] = func() Machine { return newCounting(topic) }
	}
	return m
}

func (r *rig) processor(cfg Config, hook func(string) error) *Processor {
	r.t.Helper()
	if hook == nil {
		hook = func(string) error { return nil }
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() && os.Getenv("PROCESSORS_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	p, err := New(cfg, Deps{Bus: r.bus, Machines: machines(), Log: log, Metrics: prometheus.NewRegistry(), Failpoint: hook})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// running is a processor in its own goroutine.
type running struct {
	*Processor
	stop context.CancelFunc
	done chan error // closed when the goroutine is gone, however it went
}

func (r *rig) start(cfg Config, hook func(string) error) *running {
	ctx, cancel := context.WithCancel(r.t.Context())
	run := &running{Processor: r.processor(cfg, hook), stop: cancel, done: make(chan error, 1)}
	go func() {
		defer close(run.done)
		run.done <- run.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-run.done })
	return run
}

func (run *running) shutdown(t *testing.T) {
	t.Helper()
	run.stop()
	if err := <-run.done; err != nil {
		t.Fatal(err)
	}
}

// settled waits until the group has committed everything that was produced.
func (r *rig) settled() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), testTimeout)
	defer cancel()
	adm := kadm.NewClient(r.client)
	for {
		ends, err := adm.ListEndOffsets(ctx, inputTopics...)
		if err != nil {
			r.t.Fatal("cannot list ends: ", err)
		}
		committed, err := adm.FetchOffsets(ctx, DefaultConfig().Group)
		if err != nil && ctx.Err() != nil {
			r.t.Fatal("the processors did not finish: ", err)
		}
		behind := 0
		ends.Each(func(o kadm.ListedOffset) {
			c, ok := committed.Lookup(o.Topic, o.Partition)
			if o.Offset > 0 && (!ok || c.At < o.Offset) {
				behind++
			}
		})
		if err == nil && behind == 0 {
			return
		}
		select {
		case <-ctx.Done():
			r.t.Fatal("the processors did not finish")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// produced reads everything committed in a topic.
func (r *rig) produced(topic string) []*kgo.Record {
	r.t.Helper()
	p := r.processor(testConfig("reader"), nil)
	var all []*kgo.Record
	for n := range int32(testPartitions) {
		start, end, err := p.stableRange(r.t.Context(), topic, n)
		if err != nil {
			r.t.Fatal(err)
		}
		if start == end {
			continue
		}
		err = p.read(r.t.Context(), topicPartition{topic, n}, start, end, func(rec *kgo.Record) {
			all = append(all, rec)
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return all
}

func (r *rig) result() undisturbed {
	r.t.Helper()
	u := undisturbed{outcomes: map[string][]string{}, dead: map[string][]string{}, states: map[topicPartition]string{}}
	for _, topic := range []string{telemetry.TopicOutcomes, telemetry.TopicDeadLetter} {
		for _, rec := range r.produced(topic) {
			u.add(rec)
		}
	}
	return u
}

// verify compares outcomes, dead letters and the recovered state with what the
// same records give when nothing goes wrong.
func (r *rig) verify(records []*kgo.Record) {
	r.t.Helper()
	want, got := compute(records), r.result()
	n := 0
	for _, c := range []struct {
		what      string
		want, got map[string][]string
	}{{"outcomes", want.outcomes, got.outcomes}, {"dead letters", want.dead, got.dead}} {
		for _, origin := range slices.Sorted(maps.Keys(c.want)) {
			n += len(c.want[origin])
			if !slices.Equal(c.want[origin], c.got[origin]) {
				r.t.Errorf("%s of %s: %d, want %d; %s", c.what, origin, len(c.got[origin]), len(c.want[origin]), firstDifference(c.got[origin], c.want[origin]))
			}
		}
		for origin := range c.got {
			if c.want[origin] == nil {
				r.t.Errorf("%s of %s were not expected", c.what, origin)
			}
		}
	}
	if n == 0 {
		r.t.Error("the input leads to nothing, so nothing was tested")
	}
	p := r.processor(testConfig("verifier"), nil)
	for key, state := range want.states {
		ends, err := kadm.NewClient(r.client).ListEndOffsets(r.t.Context(), key.topic)
		if err != nil {
			r.t.Fatal(err)
		}
		end, _ := ends.Lookup(key.topic, key.partition)
		part, err := p.recover(r.t.Context(), key, end.Offset)
		if err != nil {
			r.t.Fatal(err)
		}
		if got := dump(part); got != state {
			r.t.Errorf("recovered state of %s:\n%swant:\n%s", key, got, state)
		}
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) {
			return fmt.Sprintf("#%d is missing: %s", i, want[i])
		}
		if i >= len(want) {
			return fmt.Sprintf("#%d is too much: %s", i, got[i])
		}
		if got[i] != want[i] {
			return fmt.Sprintf("#%d is %s, want %s", i, got[i], want[i])
		}
	}
	return "equal"
}

func TestUndisturbed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	records := input(1, 300)
	r.produce(records)
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)
	r.verify(records)

	for _, c := range []struct {
		name string
		got  float64
		want float64
	}{
		{"records", counted(run.metrics.records.WithLabelValues(telemetry.TopicTelemetry)), float64(packed(records[:testPartitions*300]))},
		{"restores", counted(run.metrics.restores.WithLabelValues(telemetry.TopicTelemetry, recoveredEmpty)), testPartitions},
	} {
		if c.got != c.want {
			t.Errorf("metric %s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if n := counted(run.metrics.dropped.WithLabelValues(telemetry.TopicTelemetry, dropDuplicate)); n == 0 {
		t.Error("no duplicates were counted")
	}
}

func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

var steps = []string{StepMidRestore, StepBeforeProduce, StepDuringCheckpoint, StepAfterProduce, StepBeforeCommit, StepAfterCommit}

// Transactions are aborted at every step, the very first one among them.
func TestAbortAtEachStep(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			records := input(2, 200)
			r.produce(records)
			var hits atomic.Int64
			run := r.start(testConfig("a"), func(s string) error {
				if s == step {
					if n := hits.Add(1); n == 1 || n == 4 {
						return errors.New("the test wants an abort")
					}
				}
				return nil
			})
			r.settled()
			run.shutdown(t)
			if hits.Load() < 4 {
				t.Fatalf("step %s was reached only %d times", step, hits.Load())
			}
			r.verify(records)
		})
	}
}

// The client vanishes at every step without a word to the brokers, with its
// transaction open, and another of the same name comes.
func TestCrashAtEachStep(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			records := input(3, 200)
			r.produce(records)
			crashes := 0
			for _, at := range []int64{1, 3, 5} {
				var hits atomic.Int64
				run := r.start(testConfig("a"), func(s string) error {
					if s == step && hits.Add(1) == at {
						if s == StepMidRestore {
							// Not on the goroutine of Run: this is as far as one gets.
							return errors.New("the test crashes a recovery")
						}
						runtime.Goexit()
					}
					return nil
				})
				settled := make(chan struct{})
				if step == StepMidRestore {
					go func() { r.settled(); close(settled) }()
					select {
					case <-settled:
					case <-run.done:
					}
					run.stop()
				}
				<-run.done
				if hits.Load() >= at {
					crashes++
				}
			}
			run := r.start(testConfig("a"), nil)
			r.settled()
			run.shutdown(t)
			if crashes == 0 {
				t.Fatal("nothing crashed")
			}
			r.verify(records)
		})
	}
}

// The children that tests kill: a processor, or a broker.
func TestMain(m *testing.M) {
	if broker := os.Getenv("PROCESSORS_CHILD_BROKER"); broker != "" {
		cfg := testConfig("a")
		cfg.SessionTimeout = kafkaSession
		p, err := New(cfg, Deps{Bus: bus.Config{Brokers: []string{broker}, Partitions: testPartitions, Replication: 1}, Machines: machines()})
		if err == nil {
			err = p.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, "the child was not killed:", err)
		os.Exit(3)
	}
	if dir := os.Getenv("PROCESSORS_CHILD_DIR"); dir != "" {
		err := engines.Serve(context.Background(), []string{engines.Kafka, "--dir", dir, "--port", os.Getenv("PROCESSORS_CHILD_PORT")}, os.Stdin)
		fmt.Fprintln(os.Stderr, "the broker was not killed:", err)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// A process is killed with SIGKILL at every step, several times each.
func TestKillAtEachStep(t *testing.T) {
	r := newRig(t)
	kills := 0
	var records []*kgo.Record
	for i, step := range steps {
		for _, count := range []int{1, 2, 4} {
			more := input(uint64(100*i+count), 60)
			r.produce(more)
			records = append(records, more...)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PROCESSORS_CHILD_BROKER="+r.bus.Brokers[0], fmt.Sprintf("%s=%s:%d", failpoint.Env, step, count))
			var text bytes.Buffer
			cmd.Stderr = &text
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// A step that is not reached often enough, because there is nothing
			// left to do, is killed where it stands.
			limit := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			limit.Stop()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child ended otherwise: %v\n%s", err, text.String())
			}
			kills++
		}
	}
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)
	r.verify(records)
	t.Logf("%d kills, %d records, 0 lost, 0 duplicated", kills, len(records))
}

// Processes come and go while records arrive.
func TestRebalance(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	records := input(5, 600)
	byPartition := map[topicPartition][]*kgo.Record{}
	for _, rec := range records {
		key := topicPartition{rec.Topic, rec.Partition}
		byPartition[key] = append(byPartition[key], rec)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; i < 600; i += 20 {
			var some []*kgo.Record
			for _, rs := range byPartition {
				some = append(some, rs[i:i+20]...)
			}
			r.produce(some)
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
	})
	a := r.start(testConfig("a"), nil)
	time.Sleep(500 * time.Millisecond)
	b := r.start(testConfig("b"), nil)
	time.Sleep(1500 * time.Millisecond)
	a.shutdown(t)
	c := r.start(testConfig("c"), nil)
	time.Sleep(1000 * time.Millisecond)
	b.shutdown(t)
	wg.Wait()
	r.settled()
	c.shutdown(t)
	r.verify(records)
}

// Crashes at random steps while records arrive; compaction in between.
func TestRandomCrashes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	var records []*kgo.Record
	const crashes = 12
	for range crashes {
		more := input(rnd.Uint64(), 80)
		r.produce(more)
		records = append(records, more...)
		step, at := steps[1+rnd.IntN(len(steps)-1)], 1+rnd.Int64N(3)
		var hits atomic.Int64
		run := r.start(testConfig("a"), func(s string) error {
			if s == step && hits.Add(1) == at {
				// The broker compacts while the transaction is open.
				r.cluster.Compact()
				runtime.Goexit()
			}
			return nil
		})
		settled := make(chan struct{})
		go func() { r.settled(); close(settled) }()
		select {
		case <-run.done:
		case <-settled:
		}
		run.stop()
		<-run.done
	}
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)
	r.verify(records)
	t.Logf("%d crashes, %d records", crashes, len(records))
}
