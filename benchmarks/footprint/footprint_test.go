// Package footprint measures what Earshot needs when nothing happens, and what
// an open call adds.
package footprint

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/telemetry"
)

const openCalls = 20_000

var profile = flag.String("profile", "", "file for a heap profile of Earshot with the calls open")

// BenchmarkFootprint starts Earshot three times and then opens calls.
func BenchmarkFootprint(b *testing.B) {
	for range b.N {
		var ready []string
		var u *apptest.Up
		apptest.Program(b) // built before the clock runs
		for range 3 {
			if u != nil {
				u.Stop()
			}
			start := time.Now()
			u = apptest.StartUp(b, "--log.level=warn")
			ready = append(ready, fmt.Sprintf("%.1f", time.Since(start).Seconds()))
		}
		time.Sleep(20 * time.Second) // until start-up garbage is gone
		idle := memory(b, u)
		idleHeap := metric(b, u, "go_memstats_heap_alloc_bytes", "")
		kafka, err := benchmarks.RSS(u.Run.Engines.Kafka.PID)
		require.NoError(b, err)
		clickhouse, err := benchmarks.RSS(u.Run.Engines.ClickHouse.PID)
		require.NoError(b, err)

		conn, err := net.Dial("tcp", u.Run.Ingest["hep"])
		require.NoError(b, err)
		var buf []byte
		for n := range openCalls {
			c := benchmarks.NewCall("open", n)
			buf = c.SetUp(buf[:0], time.Now())
			buf = c.Report(buf, time.Now())
			_, err := conn.Write(buf)
			require.NoError(b, err)
		}
		require.NoError(b, conn.Close())
		apptest.Eventually(b, 2*time.Minute, "all calls are open", func() error {
			if got := metric(b, u, "earshot_processors_open_states", telemetry.TopicTelemetry); got < openCalls {
				return fmt.Errorf("%.0f of %d", got, openCalls)
			}
			return nil
		})
		time.Sleep(20 * time.Second)
		perCall := float64(memory(b, u)-idle) / openCalls
		heapPerCall := (metric(b, u, "go_memstats_heap_alloc_bytes", "") - idleHeap) / openCalls
		require.NoError(b, benchmarks.Profile(u.Run.Admin, "heap", *profile))
		b.ReportMetric(float64(idle)/(1<<20), "idle-MiB")
		b.ReportMetric(heapPerCall, "B/open-call")
		body := fmt.Sprintf(`| | |
|---|---|
| start to ready, s (three starts on empty data, engines included) | %s |
| Earshot idle (all roles), MiB of anonymous memory | %.0f |
| Kafka-protocol broker idle, MiB | %.0f |
| ClickHouse idle, MiB | %.0f |
| growth of Earshot's live heap per open call, bytes | %.0f |
| growth of its resident memory per open call, with what the garbage collector keeps in hand, bytes | %.0f |

%d calls with signalling and one report of each side. The heap holds, by profile, under 2 KB of state in the processor (benchmarks/state) and 0.6 KB of bindings in the
ingester per call; the rest are buffers of the Kafka clients and of the sink, which do not grow with the number of calls.
`, strings.Join(ready, ", "), float64(idle)/(1<<20), float64(kafka)/(1<<20), float64(clickhouse)/(1<<20), heapPerCall, perCall, openCalls)
		b.Log("\n" + body)
		require.NoError(b, benchmarks.Write("RESULT.md", "Memory and start-up", "make bench", body))
	}
}

// memory asks for a garbage collection first, so that it is what is needed and not what was left lying.
func memory(b *testing.B, u *apptest.Up) int64 {
	res, err := http.Get("http://" + u.Run.Admin + "/debug/pprof/heap?gc=1")
	require.NoError(b, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(b, res.Body.Close())
	rss, err := benchmarks.RSS(u.Run.PID)
	require.NoError(b, err)
	return rss
}

// metric sums the series of a name that have a label value, or all of them.
func metric(b *testing.B, u *apptest.Up, name, label string) (sum float64) {
	res, err := http.Get("http://" + u.Run.Admin + "/metrics")
	require.NoError(b, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b, err)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name) && (label == "" || strings.Contains(line, strconv.Quote(label))) {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}
