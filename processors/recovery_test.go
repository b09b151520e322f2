package processors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/internal/kafkatest"
	"github.com/earshot/earshot/telemetry"
)

// A damaged checkpoint is not believed: the state is rebuilt from the input,
// and the next checkpoint is sound again.
func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	records := input(11, 200)
	r.produce(records)
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)

	damaged := 0
	for _, rec := range r.produced(telemetry.TopicCheckpoints) {
		if damaged == 0 && rec.Partition == 0 && strings.HasPrefix(string(rec.Key), "telemetry/0/m/") && rec.Value != nil {
			r.produce([]*kgo.Record{{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: []byte{0xff}}})
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatal("there is no entry to damage")
	}
	more := input(12, 50)
	r.produce(more)
	again := r.start(testConfig("a"), nil)
	r.settled()
	again.shutdown(t)
	if n := counted(again.metrics.restores.WithLabelValues(telemetry.TopicTelemetry, recoveredDistrust)); n != 1 {
		t.Errorf("%v checkpoints were distrusted, want 1", n)
	}
	third := r.processor(testConfig("c"), nil)
	saved, err := third.readCheckpoint(t.Context(), topicPartition{telemetry.TopicTelemetry, 0})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := newPartition(telemetry.TopicTelemetry, 0, newCounting("x"), 5).restore(saved); !found || err != nil {
		t.Errorf("the next checkpoint: found %v, error %v", found, err)
	}
	r.verify(append(records, more...))
}

// Offsets that were moved back mean: do it again. Processing begins anew there.
func TestOffsetsMovedBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	records := input(13, 200)
	r.produce(records)
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t)
	before := r.result()

	const back = 120
	var offsets kadm.Offsets
	offsets.AddOffset(telemetry.TopicTelemetry, 1, back, -1)
	if err := kadm.NewClient(r.client).CommitAllOffsets(t.Context(), DefaultConfig().Group, offsets); err != nil {
		t.Fatal(err)
	}
	again := r.start(testConfig("a"), nil)
	r.settled()
	again.shutdown(t)
	if n := counted(again.metrics.restores.WithLabelValues(telemetry.TopicTelemetry, recoveredAhead)); n != 1 {
		t.Errorf("%v partitions began anew, want 1", n)
	}
	fresh := newPartition(telemetry.TopicTelemetry, 1, newCounting(telemetry.TopicTelemetry), 5)
	want := undisturbed{outcomes: map[string][]string{}, dead: map[string][]string{}}
	out := newOutput()
	for _, rec := range records {
		if rec.Topic != telemetry.TopicTelemetry || rec.Partition != 1 {
			continue
		}
		if fresh.next < back {
			fresh.next++
			continue
		}
		one := *rec
		one.Offset = fresh.next
		fresh.apply(&one, out)
	}
	for _, o := range out.records {
		want.add(o)
	}
	origin := fmt.Sprint(telemetry.TopicTelemetry, "/1")
	got := r.result().outcomes[origin][len(before.outcomes[origin]):]
	if d := firstDifference(got, want.outcomes[origin]); d != "equal" {
		t.Error("outcomes since the offset: ", d)
	}
}

// Input that retention took before it could be replayed is gone; processing
// goes on with what is there and says so.
func TestInputTruncated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := input(14, 100)
	r.produce(first)
	run := r.start(testConfig("a"), nil)
	r.settled()
	run.shutdown(t) // a checkpoint at 100

	cfg := testConfig("a")
	cfg.CheckpointRecords, cfg.CheckpointEvery = 1_000_000, 1<<62
	second := input(15, 100)
	r.produce(second)
	var committed atomic.Int64
	crashing := r.start(cfg, func(step string) error {
		if step == StepAfterCommit {
			ends, err := kadm.NewClient(r.client).FetchOffsets(t.Context(), DefaultConfig().Group)
			if err != nil {
				return err
			}
			at, _ := ends.Lookup(telemetry.TopicTelemetry, 0)
			if committed.Store(at.At); at.At == 200 {
				runtime.Goexit()
			}
		}
		return nil
	})
	<-crashing.done
	if committed.Load() != 200 {
		t.Fatalf("committed up to %d", committed.Load())
	}
	var cut kadm.Offsets
	cut.AddOffset(telemetry.TopicTelemetry, 0, 150, -1)
	if deleted, err := kadm.NewClient(r.client).DeleteRecords(t.Context(), cut); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	third := input(16, 30)
	r.produce(third)
	again := r.start(testConfig("a"), nil)
	r.settled()
	again.shutdown(t)
	if n := counted(again.metrics.restores.WithLabelValues(telemetry.TopicTelemetry, recoveredTruncated)); n != 1 {
		t.Errorf("%v partitions lacked input, want 1", n)
	}
	// Every record has led to something all the same.
	want, got := compute(append(append(first, second...), third...)), r.result()
	for origin := range want.outcomes {
		if origin == fmt.Sprint(telemetry.TopicTelemetry, "/0") {
			continue // its state lacks what was deleted
		}
		if d := firstDifference(got.outcomes[origin], want.outcomes[origin]); d != "equal" {
			t.Errorf("outcomes of %s: %s", origin, d)
		}
	}
	if n := counted(again.metrics.records.WithLabelValues(telemetry.TopicTelemetry)); n < 30 {
		t.Errorf("%v records were processed after the restart", n)
	}
}

// The same against Apache Kafka: crashes at every step inside the process and
// SIGKILL from outside, then a rebalance.
func TestApacheKafka(t *testing.T) {
	r := newRigOn(t, []string{kafkatest.Start(t).Addr})
	var records []*kgo.Record
	produce := func(seed uint64) {
		more := input(seed, 60)
		r.produce(more)
		records = append(records, more...)
	}
	cfg := testConfig("a")
	cfg.SessionTimeout = kafkaSession
	for i, step := range steps[1:] {
		produce(uint64(200 + i))
		var hits atomic.Int64
		run := r.start(cfg, func(s string) error {
			if s == step && hits.Add(1) == 2 {
				runtime.Goexit()
			}
			return nil
		})
		<-run.done
	}
	for i, step := range steps {
		produce(uint64(300 + i))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PROCESSORS_CHILD_BROKER="+r.bus.Brokers[0], fmt.Sprintf("%s=%s:1", failpoint.Env, step))
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended otherwise: %v", err)
		}
	}
	a := r.start(cfg, nil)
	produce(400)
	other := cfg
	other.Instance = "b"
	b := r.start(other, nil)
	produce(401)
	r.settled()
	a.shutdown(t)
	produce(402)
	r.settled()
	b.shutdown(t)
	r.verify(records)
	t.Logf("%d kills, %d records, 0 lost, 0 duplicated", 2*len(steps)-1, len(records))
}

// A process dies for good with its transaction open; another, which was there
// already, takes its partitions over and waits for what is not decided yet.
func TestTakeover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	records := input(17, 100)
	r.produce(records)
	b := r.start(testConfig("b"), nil)
	r.settled()
	var hits atomic.Int64
	a := r.start(testConfig("a"), func(step string) error {
		if step == StepBeforeCommit && hits.Add(1) == 2 {
			runtime.Goexit()
		}
		return nil
	})
	for gone := false; !gone; {
		select {
		case <-a.done:
			gone = true
		default:
			more := input(uint64(len(records)), 10)
			r.produce(more)
			records = append(records, more...)
		}
	}
	more := input(18, 50)
	r.produce(more)
	records = append(records, more...)
	r.settled()
	b.shutdown(t)
	r.verify(records)
}

// The embedded broker is killed and comes back, again and again.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	broker := func() (kill func()) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PROCESSORS_CHILD_DIR="+dir, fmt.Sprint("PROCESSORS_CHILD_PORT=", addr.Port))
		cmd.Stderr = os.Stderr
		// The broker serves until its standard input ends.
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for { // until it listens
			if c, err := net.Dial("tcp", addr.String()); err == nil {
				c.Close()
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	kill := broker()
	defer func() { kill() }()
	r := newRigOn(t, []string{addr.String()})
	var records []*kgo.Record
	transactions := make(chan struct{}, 1000)
	cfg := testConfig("a")
	cfg.SessionTimeout = kafkaSession
	run := r.start(cfg, func(step string) error {
		if step == StepBeforeCommit {
			transactions <- struct{}{}
		}
		return nil
	})
	for i := range 4 {
		more := input(uint64(500+i), 150)
		r.produce(more)
		records = append(records, more...)
		// Not before it works again, and then in the middle of it.
		for range 1 + i {
			select {
			case <-transactions:
			case <-time.After(testTimeout):
				t.Fatal("the processor does not go on after a kill of the broker")
			}
		}
		kill()
		kill = broker()
	}
	r.settled()
	run.shutdown(t)
	r.verify(records)
	t.Logf("4 kills of the broker, %d records, 0 lost, 0 duplicated", len(records))
}

// BenchmarkProcess is how many records per second go through the runtime with a
// machine that does next to nothing, one outcome each.
func BenchmarkProcess(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	r := newRigOn(b, cluster.ListenAddrs())
	var records []*kgo.Record
	for seed := uint64(1); len(records) < 50_000; seed++ {
		records = append(records, input(seed, 2000)...)
	}
	for b.Loop() {
		b.StopTimer()
		r.produce(records)
		b.StartTimer()
		cfg := DefaultConfig()
		cfg.Instance = "a"
		run := r.start(cfg, nil)
		r.settled()
		b.StopTimer()
		run.stop()
		<-run.done
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
}
