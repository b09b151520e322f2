package apptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

// phoneCalls has calls of all kinds, with faults, for a while over one HEP connection.
func phoneCalls(t *testing.T, address string, random *rand.Rand, calls int, lasting time.Duration) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	type step struct {
		at  time.Duration
		say func(dst []byte, at time.Time) []byte
	}
	var steps []step
	add := func(at time.Duration, say func([]byte, time.Time) []byte) { steps = append(steps, step{at, say}) }
	for n := range calls {
		c := benchmarks.NewCall("killed", n)
		from := time.Duration(random.Int64N(int64(lasting / 2)))
		to := from + lasting/4 + time.Duration(random.Int64N(int64(lasting/4)))
		kind := n % 8
		if kind == 0 {
			add(from, func(dst []byte, at time.Time) []byte { return c.Refuse(dst, at, "486 Busy Here") })
			continue
		}
		if kind != 1 { // 1: nobody captured how it began
			add(from, c.SetUp)
		}
		held := kind == 2
		if held {
			add(from+(to-from)/3, func(dst []byte, at time.Time) []byte { return c.Hold(dst, at, true) })
			add(from+2*(to-from)/3, func(dst []byte, at time.Time) []byte { return c.Hold(dst, at, false) })
		}
		for at := from + 300*time.Millisecond; at < to; at += 400*time.Millisecond + time.Duration(random.Int64N(int64(400*time.Millisecond))) {
			var lost [2]uint32
			switch {
			case kind == 3, kind == 4 && at > (from+to)/2: // deaf, or so from then on
				lost[n/8%2] = 250
			case kind == 5:
				lost = [2]uint32{random.Uint32N(30), random.Uint32N(5)}
			}
			add(at, func(dst []byte, at time.Time) []byte { return c.ReportOf(dst, at, lost[0], lost[1]) })
		}
		switch kind {
		case 6: // nobody hangs up
		case 7: // a report after the end
			add(to, c.HangUp)
			add(to+6500*time.Millisecond, c.Report)
		default:
			add(to, c.HangUp)
		}
	}
	began := time.Now()
	for len(steps) > 0 {
		var later []step
		var buf []byte
		for _, s := range steps {
			if time.Since(began) < s.at {
				later = append(later, s)
				continue
			}
			buf = s.say(buf, time.Now())
		}
		_, err := conn.Write(buf)
		require.NoError(t, err)
		steps = later
		time.Sleep(20 * time.Millisecond)
	}
}

// Whatever processor is killed, stopped or started while calls go on, each
// version of each verdict is written once, and to the byte what a machine says
// that reads the same telemetry undisturbed.
func TestKillsChangeNoVerdict(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with go test ./internal/apptest -run TestKillsChangeNoVerdict -args -kill.seed=%d", seed, seed)
	random := rand.New(rand.NewPCG(seed, 2))

	const lasting = 16 * time.Second
	u := StartUp(t, "--roles=api,ingest", "--log.level=warn")
	process := func(name string) *Process {
		return Start(t, nil, "process", "--data", u.Data, "--admin.listen=127.0.0.1:0", "--log.level=warn",
			"--processors.instance="+name, "--processors.session_timeout=6s", "--processors.checkpoint_every=2s")
	}
	members := []*Process{process("one"), process("two"), process("three")}

	var load sync.WaitGroup
	load.Go(func() { phoneCalls(t, u.Run.Ingest["hep"], rand.New(rand.NewPCG(seed, 3)), 240, lasting) })
	kills, stops := 0, 0
	for began := time.Now(); time.Since(began) < lasting+8*time.Second; {
		time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		p := members[random.IntN(len(members))]
		switch {
		case p.Exited():
			p.Restart()
		case random.IntN(4) == 0: // it leaves, the others take over
			p.Signal(syscall.SIGTERM)
			stops++
		default:
			p.Kill()
			kills++
			if random.IntN(3) > 0 { // else the group gets on without it
				p.Restart()
			}
		}
	}
	for _, p := range members {
		if p.Exited() {
			p.Restart()
		}
	}
	load.Wait()

	want, ends := judgedAgain(t, u.Run)
	waitFor(t, u.Run, ends)
	got, versions := written(t, u.Run, ends)
	if diff := difference(want, got); diff != "" {
		t.Errorf("seed %d: %d outcomes undisturbed, %d after %d kills and %d stops\n%s", seed, len(want), len(got), kills, stops, diff)
	}
	if versions < 240 {
		t.Errorf("only %d versions of verdicts", versions)
	}
	t.Logf("%d kills and %d stops; %d outcomes, of them %d versions of verdicts", kills, stops, len(got), versions)
}

// outcomeLine names an outcome for difference: what it is, then its bytes.
func outcomeLine(r *kgo.Record, o *telemetry.Outcome) string {
	return fmt.Sprintf("%d %s %T of offset %d, version %d: %x", r.Partition, o.CallId, o.Body, processors.InputOffset(o.Seq), o.GetCall().GetVerdict().GetVersion(), r.Value)
}

// judgedAgain gives the outcomes of one undisturbed run over the telemetry that
// Kafka holds, and how far it went in each partition.
func judgedAgain(t *testing.T, run engines.Run) (lines []string, ends map[int32]int64) {
	t.Helper()
	ends = map[int32]int64{}
	var mu sync.Mutex
	book := calls.DefaultRules()
	err := processors.Replay(t.Context(), processors.DefaultConfig(), processors.ReplayDeps{
		Bus: bus.Config{Brokers: []string{run.Engines.Kafka.Addr}}, Topics: []string{telemetry.TopicTelemetry},
		Machine: func(p processors.ReplayedPartition) processors.Machine {
			mu.Lock()
			defer mu.Unlock()
			ends[p.Number] = p.End
			return calls.New(book)
		},
		Emit: func(_ processors.ReplayedPartition, r *kgo.Record) error {
			mu.Lock()
			defer mu.Unlock()
			if r.Topic != telemetry.TopicOutcomes {
				return fmt.Errorf("%s: %x", r.Topic, r.Value)
			}
			var o telemetry.Outcome
			if err := o.UnmarshalVT(r.Value); err != nil {
				return err
			}
			lines = append(lines, outcomeLine(r, &o))
			return nil
		},
	}, time.Time{}, time.Time{})
	require.NoError(t, err)
	return lines, ends
}

// waitFor waits until the processors have committed what is before the ends.
func waitFor(t *testing.T, run engines.Run, ends map[int32]int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(run.Engines.Kafka.Addr))
	require.NoError(t, err)
	defer client.Close()
	Eventually(t, 60*time.Second, "the processors have come to where the comparison ends", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		committed, err := kadm.NewClient(client).FetchOffsetsForTopics(ctx, "earshot-processors", telemetry.TopicTelemetry)
		if err != nil {
			return err
		}
		for partition, end := range ends {
			if at, _ := committed.Lookup(telemetry.TopicTelemetry, partition); at.At < end {
				return fmt.Errorf("partition %d is at %d of %d", partition, at.At, end)
			}
		}
		return nil
	})
}

// written gives the outcomes of telemetry before the ends.
func written(t *testing.T, run engines.Run, ends map[int32]int64) (lines []string, versions int) {
	t.Helper()
	committedOutcomes(t, run, func(r *kgo.Record, o *telemetry.Outcome) {
		if o.GetIngest() != nil || o.GetRegistration() != nil || processors.InputOffset(o.Seq) >= ends[r.Partition] {
			return
		}
		lines = append(lines, outcomeLine(r, o))
		if o.GetCall() != nil {
			versions++
		}
	})
	return lines, versions
}
