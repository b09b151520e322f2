// Package state measures what an open call costs while it is open: memory,
// checkpoints, recovery; and how soon after its end the final verdict is there.
package state

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

var (
	recovered = flag.Int("recovered", 100_000, "open calls that a processor recovers")
	measured  = flag.Int("measured", 10_000, "open calls for memory and checkpoints")
	judged    = flag.Int("judged", 200, "calls whose final verdict is waited for")
)

// BenchmarkState fills RESULT.md.
func BenchmarkState(b *testing.B) {
	apptest.Program(b) // built before the clock runs
	for range b.N {
		sip := openCalls(b, "captures", "clean_twoway", "mid.pcap")
		stats := openCalls(b, "webrtc", "w1_clean.jsonl.gz")
		verdicts := finalVerdicts(b)
		r := recovery(b)

		b.ReportMetric(sip.bytes, "B/open-call")
		b.ReportMetric(verdicts.p99.Seconds(), "s-to-final-p99")
		b.ReportMetric(r.took.Seconds(), "s-recovery")
		body := fmt.Sprintf(`## Open calls

%d calls open in one machine of the processors, each given the records of a real call; live heap after a collection, entries of maps and queues included.

| | SIP and RTCP of both sides, %.0f s | getStats of two peer connections, %.0f s |
|---|---|---|
| bytes per open call | **%.0f** | **%.0f** |
| records | %.0f | %.0f |
| CPU of a record, with its samples, µs | %.1f | %.1f |
| CPU of versions that fall due, per record, µs | %.1f | %.1f |
| CPU of a checkpoint every 5 s, per record, µs | %.2f | %.2f |
| share of the checkpoints | %.1f %% | %.1f %% |
| bytes of a checkpoint, per call that changed | %.0f | %.0f |

A checkpoint writes the calls that changed since the last; a call lies in memory as the bytes that it writes, so that it is a copy. Encoding outcomes
and Kafka are not in these figures: benchmarks/endtoend has them.

## Recovery

%d calls open, the processors killed with SIGKILL and started again (one process, Kafka-protocol broker embedded, ticks go on meanwhile).

| | |
|---|---|
| from the start of the process until every call is open again and nothing waits, s | **%.1f** |
| CPU of the processors meanwhile, s | **%.1f** |
| the slowest partition: checkpoint read, state made, input replayed, s, at most | %.1f |
| Kafka records replayed | %.0f |
| resident memory after it, MiB | %.0f |

## Final verdicts

%d calls of SIP and RTCP over HEP/TCP, ended at random within 20 s; from the sending of the last packet until the API gives the final verdict,
asked ten times a second for the list of calls, by all roles in one process. The grace time of 5 s is in it. The load average of the machine's %d cores was %s at the end: with other work on them
these are the times of a queue for the processor.

| | s |
|---|---|
| p50 | %.2f |
| p99 | **%.2f** |
| longest | %.2f |
`, *measured, sip.lasted, stats.lasted, sip.bytes, stats.bytes, sip.records, stats.records, sip.apply, stats.apply, sip.advance, stats.advance,
			sip.checkpoint, stats.checkpoint, sip.share(), stats.share(), sip.checkpointBytes, stats.checkpointBytes,
			*recovered, r.took.Seconds(), r.cpu.Seconds(), r.slowest, r.replayed, r.mebibytes,
			*judged, runtime.NumCPU(), verdicts.load, verdicts.p50.Seconds(), verdicts.p99.Seconds(), verdicts.longest.Seconds())
		b.Log("\n" + body)
		require.NoError(b, benchmarks.Write("RESULT.md", "State of open calls", "make bench", body))
	}
}

// open is what open calls cost; times in µs of CPU per record.
type open struct {
	bytes, records, lasted, checkpointBytes float64
	apply, advance, checkpoint              float64
}

func (o open) share() float64 { return 100 * o.checkpoint / (o.apply + o.advance + o.checkpoint) }

// openCalls opens calls that are all as a recorded one, but for what ends it.
func openCalls(b *testing.B, file ...string) (o open) {
	var template []*telemetry.Record
	_, err := ingest.ReadFile(filepath.Join(append([]string{apptest.Root(), "testdata"}, file...)...), "acme", nil, time.Now().UnixMicro(), func(r *telemetry.Record) error {
		if r.GetEnd() == nil && r.GetSip().GetMethod() != "BYE" && r.GetSip().GetMethod() != "REGISTER" {
			template = append(template, r)
		}
		return nil
	})
	require.NoError(b, err)
	o.records = float64(len(template))
	o.lasted = float64(template[len(template)-1].AtUs-template[0].AtUs) / 1e6
	var applied, advanced, checkpointed time.Duration
	checkpoints, bytes := 0, 0
	run := func(m *calls.Machine, n int) {
		next := template[0].AtUs + 1e6
		batch := make([]*telemetry.Record, n)
		emit := func(*telemetry.Outcome) {}
		for _, r := range template {
			for ; r.AtUs >= next; next += 1e6 {
				began := cpu()
				m.Advance("", next, emit)
				advanced += cpu() - began
				if next/1e6%5 == 0 {
					began := cpu()
					m.Checkpoint(func(_ string, state []byte) { checkpoints++; bytes += len(state) })
					checkpointed += cpu() - began
				}
			}
			for i := range batch { // each in memory of its own, as they come from Kafka
				own := proto.CloneOf(r)
				own.Timeline, own.CallKey = nil, fmt.Sprintf("%08x-7e4a-4c1b-9d2f-%012x@10.20.30.40", i, i)
				value, err := own.MarshalVT()
				require.NoError(b, err)
				batch[i] = &telemetry.Record{}
				require.NoError(b, batch[i].UnmarshalVT(value))
			}
			began := cpu()
			for _, r := range batch {
				require.NoError(b, m.Apply(r, emit))
			}
			applied += cpu() - began
		}
	}
	run(calls.New(calls.DefaultRules()), 1) // what is made once and kept
	applied, advanced, checkpointed, checkpoints, bytes = 0, 0, 0, 0, 0
	m := calls.New(calls.DefaultRules())
	before := heap()
	run(m, *measured)
	m.Checkpoint(func(string, []byte) {})
	o.bytes = float64(heap()-before) / float64(*measured)
	require.Equal(b, *measured, m.Open())
	runtime.KeepAlive(template)
	events := o.records * float64(*measured)
	perEvent := func(d time.Duration) float64 { return float64(d.Microseconds()) / events }
	o.apply, o.advance, o.checkpoint = perEvent(applied), perEvent(advanced), perEvent(checkpointed)
	o.checkpointBytes = float64(bytes) / float64(checkpoints)
	return o
}

func heap() int64 {
	for range 4 { // what lies in pools outlives two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type recoveryResult struct {
	took, cpu                    time.Duration
	slowest, replayed, mebibytes float64
}

// recovery kills the processors with many calls open.
func recovery(b *testing.B) (r recoveryResult) {
	u := apptest.StartUp(b, "--roles=api,ingest", "--log.level=warn")
	admin := freeAddress(b)
	p := apptest.Start(b, nil, "process", "--data", u.Data, "--admin.listen="+admin, "--log.level=warn", "--processors.instance=bench")
	conn, err := net.Dial("tcp", u.Run.Ingest["hep"])
	require.NoError(b, err)
	defer conn.Close()
	var buf []byte
	for n := range *recovered {
		c := benchmarks.NewCall("recovered", n)
		buf = c.Report(c.SetUp(buf, time.Now()), time.Now())
		if len(buf) > 1<<16 || n == *recovered-1 {
			_, err := conn.Write(buf)
			require.NoError(b, err)
			buf = buf[:0]
		}
	}
	caughtUp := func() error {
		m, err := metrics(admin)
		if err != nil {
			return err
		}
		if open, lag := m.sum("earshot_processors_open_states", telemetry.TopicTelemetry), m.sum("earshot_processors_lag_records", telemetry.TopicTelemetry); open < float64(*recovered) || lag > 200 {
			return fmt.Errorf("%.0f calls are open, %.0f records wait", open, lag)
		}
		return nil
	}
	apptest.Eventually(b, 10*time.Minute, "all calls are open", caughtUp)
	time.Sleep(10 * time.Second) // a checkpoint later
	p.Kill()
	began := time.Now()
	p.Restart()
	apptest.Eventually(b, 10*time.Minute, "all calls are open again", caughtUp)
	r.took = time.Since(began)
	r.cpu, err = benchmarks.CPU(p.PID())
	require.NoError(b, err)
	m, err := metrics(admin)
	require.NoError(b, err)
	r.slowest = m.upper("earshot_processors_restore_seconds_bucket")
	r.replayed = m.sum("earshot_processors_replayed_records_total", telemetry.TopicTelemetry)
	rss, err := benchmarks.RSS(p.PID())
	require.NoError(b, err)
	r.mebibytes = float64(rss) / (1 << 20)
	return r
}

func freeAddress(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	return l.Addr().String()
}

// series are the lines of a page of metrics.
type series []string

func metrics(admin string) (series, error) {
	res, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return strings.Split(string(text), "\n"), err
}

// sum adds the series of a name that have a label value.
func (s series) sum(name, label string) (sum float64) {
	for _, line := range s {
		if strings.HasPrefix(line, name) && strings.Contains(line, strconv.Quote(label)) {
			v, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += v
		}
	}
	return sum
}

// upper gives the bound of a histogram's buckets that no value exceeded.
func (s series) upper(name string) (bound float64) {
	last := -1.0
	for _, line := range s {
		if !strings.HasPrefix(line, name) {
			continue
		}
		_, rest, _ := strings.Cut(line, `le="`)
		le, count, _ := strings.Cut(rest, `"} `)
		if n, _ := strconv.ParseFloat(count, 64); n > last {
			last = n
			bound, _ = strconv.ParseFloat(le, 64)
		}
	}
	return bound
}

type verdictTimes struct {
	p50, p99, longest time.Duration
	load              string
}

// finalVerdicts ends calls at random and waits for each in the API.
func finalVerdicts(b *testing.B) verdictTimes {
	u := apptest.StartUp(b, "--log.level=warn")
	random := rand.New(rand.NewPCG(1, 1))
	conn, err := net.Dial("tcp", u.Run.Ingest["hep"])
	require.NoError(b, err)
	defer conn.Close()
	all, ends := make([]*benchmarks.Call, *judged), make([]time.Duration, *judged)
	for n := range all {
		all[n], ends[n] = benchmarks.NewCall("judged", n), 5*time.Second+time.Duration(random.Int64N(int64(20*time.Second)))
	}
	times := map[string]time.Duration{}
	ended := make(chan ending, *judged)
	var waits sync.WaitGroup
	waits.Go(func() { watch(b, u, ended, times) })
	began := time.Now()
	var buf []byte
	for _, c := range all {
		buf = c.SetUp(buf, time.Now())
	}
	_, err = conn.Write(buf)
	require.NoError(b, err)
	for second, left := 0, len(all); left > 0; time.Sleep(10 * time.Millisecond) {
		now := time.Since(began)
		var over []int
		buf = buf[:0]
		reports := int(now/time.Second) > second && int(now/time.Second)%5 == 0
		second = int(now / time.Second)
		for n, c := range all {
			switch {
			case c == nil:
			case now >= ends[n]:
				buf = c.HangUp(c.Report(buf, time.Now()), time.Now())
				all[n] = nil
				left--
				over = append(over, n)
			case reports:
				buf = c.Report(buf, time.Now())
			}
		}
		_, err := conn.Write(buf)
		require.NoError(b, err)
		for _, n := range over {
			ended <- ending{fmt.Sprintf("bench-judged-%d", n), time.Now()}
		}
	}
	close(ended)
	waits.Wait()
	require.Len(b, times, *judged)
	sorted := slices.Sorted(maps.Values(times))
	at := func(q float64) time.Duration { return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)] }
	load, err := os.ReadFile("/proc/loadavg")
	require.NoError(b, err)
	average, _, _ := strings.Cut(string(load), " ")
	return verdictTimes{p50: at(0.5), p99: at(0.99), longest: sorted[len(sorted)-1], load: average}
}

type ending struct {
	call string
	at   time.Time
}

// watch asks for the list of calls ten times a second until all that ended have
// their final verdict.
func watch(b *testing.B, u *apptest.Up, ended <-chan ending, times map[string]time.Duration) {
	waiting := map[string]time.Time{}
	more := true
	for deadline := time.Now().Add(5 * time.Minute); more || len(waiting) > 0; time.Sleep(100 * time.Millisecond) {
		for taken := true; taken && more; {
			select {
			case e, open := <-ended:
				if more = open; open {
					waiting[e.call] = e.at
				}
			default:
				taken = false
			}
		}
		if time.Now().After(deadline) {
			b.Errorf("%d calls have no final verdict", len(waiting))
			return
		}
		var page struct {
			Items []struct {
				ID      string `json:"id"`
				Verdict struct {
					Final bool `json:"final"`
				} `json:"verdict"`
			} `json:"items"`
		}
		if err := u.Get(fmt.Sprintf("/api/v1/companies/default/calls?limit=%d", *judged), &page); err != nil {
			continue // asked again; the deadline ends it
		}
		for _, c := range page.Items {
			if at, waits := waiting[c.ID]; waits && c.Verdict.Final {
				times[c.ID] = time.Since(at)
				delete(waiting, c.ID)
			}
		}
	}
}
