// Package endtoend measures the processor time of an event from the HEP socket
// to the row in ClickHouse, beside ceilings measured in the same run.
package endtoend

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	chdriver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
)

const (
	calls   = 2000
	reports = 20 // of each side
	events  = calls * (3 + 2*reports + 2)
)

var profile = flag.String("profile", "", "file for a CPU profile of Earshot during the run; it costs a little itself")

// BenchmarkHEPToRow sends whole calls over HEP/TCP as fast as they are taken
// and waits until each has its final verdict in ClickHouse.
func BenchmarkHEPToRow(b *testing.B) {
	u := apptest.StartUp(b, "--log.level=warn")
	db := open(b, u.Run.Engines.ClickHouse.Addr)
	processes := map[string]int{
		"earshot (ingest, process, sink)": u.Run.PID, "ClickHouse": u.Run.Engines.ClickHouse.PID, "Kafka-protocol broker": u.Run.Engines.Kafka.PID,
	}
	order := []string{"earshot (ingest, process, sink)", "Kafka-protocol broker", "ClickHouse"}
	for range b.N {
		before := map[string]time.Duration{}
		for name, pid := range processes {
			cpu, err := benchmarks.CPU(pid)
			require.NoError(b, err)
			before[name] = cpu
		}
		start := time.Now()
		profiled := make(chan error, 1)
		go func() { profiled <- benchmarks.Profile(u.Run.Admin, "profile?seconds=6", *profile) }()
		conn, err := net.Dial("tcp", u.Run.Ingest["hep"])
		require.NoError(b, err)
		send(b, conn, fmt.Sprint(start.UnixNano()))
		sent := time.Since(start)
		apptest.Eventually(b, 5*time.Minute, "every call is final", func() error {
			var n uint64
			if err := db.QueryRow(context.Background(), "SELECT count() FROM earshot.calls FINAL WHERE state = 'ended'").Scan(&n); err != nil {
				return err
			}
			if n < calls {
				return fmt.Errorf("%d of %d calls", n, calls)
			}
			return nil
		})
		took := time.Since(start)
		require.NoError(b, <-profiled)
		var rows uint64
		require.NoError(b, db.QueryRow(context.Background(), "SELECT (SELECT count() FROM earshot.samples FINAL) + (SELECT count() FROM earshot.messages FINAL) + (SELECT count() FROM earshot.calls)").Scan(&rows))
		var lines []string
		var total float64
		for _, name := range order {
			cpu, err := benchmarks.CPU(processes[name])
			require.NoError(b, err)
			per := float64(cpu-before[name]) / events
			total += per
			lines = append(lines, fmt.Sprintf("| %s | %.0f |", name, per))
		}
		ceiling := ceilings(b, u, db)
		b.ReportMetric(total, "cpu-ns/event")
		b.ReportMetric(total/ceiling.sum(), "x-ceiling")
		body := fmt.Sprintf(`%d calls over HEP/TCP: %d events (SIP and RTCP as JSON), %d rows. Sent in %.1f s, all final after %.1f s (grace time of the verdict included).

| process | CPU ns per event |
|---|---|
%s
| **all** | **%.0f** |

Ceilings, measured in the same run with nothing but the client libraries, CPU ns per event, client and server together:

| stage | ns |
|---|---|
| produce and consume one record of 300 B, snappy (twice on the way) | %.0f |
| insert one row of 12 columns, columnar, 100k rows a block | %.0f |
| **sum (2 × Kafka + 1 × insert)** | **%.0f** |

End to end is **%.2f ×** that sum. The sum leaves out reading the socket, parsing, correlating and judging, and its blocks are full.

For comparison, what each stage can cost on a machine of this size when it is done alone and well, ns CPU per event: HEP over TCP, read and
parsed 580; SIP fields 230, RTCP scanned 7; produce 1,150 a record (300 when 64 events are packed into one); consume 690 (245); call state 116;
insert of a row 670–2,570 on the client and 2,000 on the server with blocks of 100,000 rows (19,300 with blocks of 1,000).
`, calls, events, rows, sent.Seconds(), took.Seconds(), strings.Join(lines, "\n"), total, ceiling.kafka, ceiling.insert, ceiling.sum(), total/ceiling.sum())
		b.Log("\n" + body)
		require.NoError(b, benchmarks.Write("RESULT.md", "CPU per event, from HEP socket to ClickHouse row", "make bench", body))
	}
}

func open(b *testing.B, addr string) driver.Conn {
	db, err := chdriver.Open(&chdriver.Options{Addr: []string{addr}})
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	return db
}

// send writes all calls, five seconds of media in every step, on a clock that ends now.
func send(b *testing.B, conn net.Conn, run string) {
	defer conn.Close()
	all := make([]*benchmarks.Call, calls)
	at := time.Now().Add(-1500 * time.Millisecond) // within the tolerance of an agent's clock
	var buf []byte
	flush := func() {
		_, err := conn.Write(buf)
		require.NoError(b, err)
		buf = buf[:0]
	}
	for i := range all {
		all[i] = benchmarks.NewCall(run, i)
		if buf = all[i].SetUp(buf, at); len(buf) > 1<<16 {
			flush()
		}
	}
	for r := range reports {
		for _, c := range all {
			if buf = c.Report(buf, at.Add(time.Duration(r)*10*time.Millisecond)); len(buf) > 1<<16 {
				flush()
			}
		}
	}
	for _, c := range all {
		if buf = c.HangUp(buf, at.Add(reports*10*time.Millisecond)); len(buf) > 1<<16 {
			flush()
		}
	}
	flush()
}

type ceiling struct{ kafka, insert float64 }

func (c ceiling) sum() float64 { return 2*c.kafka + c.insert }

// ceilings measures the client libraries alone against the same engines.
func ceilings(b *testing.B, u *apptest.Up, db driver.Conn) ceiling {
	ctx := context.Background()
	cpu := func(pids ...int) (sum time.Duration) {
		for _, pid := range pids {
			one, err := benchmarks.CPU(pid)
			require.NoError(b, err)
			sum += one
		}
		return sum
	}
	self := os.Getpid()
	kafka, clickhouse := u.Run.Engines.Kafka, u.Run.Engines.ClickHouse

	const records, topic = 200_000, "earshot.bench.ceiling"
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr), kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(5*time.Millisecond))
	require.NoError(b, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, 8, -1, nil, topic)
	require.NoError(b, err)
	value := []byte(strings.Repeat("sip:+14155550100@bench.example;tag=", 9)[:300])
	before := cpu(self, kafka.PID)
	for i := range records {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%1000), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	require.NoError(b, client.Flush(ctx))
	for got := 0; got < records; {
		fetches := client.PollFetches(ctx)
		require.NoError(b, fetches.Err())
		got += fetches.NumRecords()
	}
	c := ceiling{kafka: float64(cpu(self, kafka.PID)-before) / records}

	require.NoError(b, db.Exec(ctx, "CREATE TABLE IF NOT EXISTS default.ceiling (company LowCardinality(String), call_id String, at DateTime64(6), leg LowCardinality(String), side LowCardinality(String), direction LowCardinality(String), ssrc UInt32, rtt Nullable(Float64), jitter Nullable(Float64), loss Nullable(Float64), packets UInt32, seq Int64) ENGINE = MergeTree ORDER BY (company, call_id, at)"))
	const rows = 100_000
	before = cpu(self, clickhouse.PID)
	for block := range 3 {
		batch, err := db.PrepareBatch(ctx, "INSERT INTO default.ceiling")
		require.NoError(b, err)
		columns := [12]any{
			make([]string, rows), make([]string, rows), make([]time.Time, rows), make([]string, rows), make([]string, rows), make([]string, rows),
			make([]uint32, rows), make([]*float64, rows), make([]*float64, rows), make([]*float64, rows), make([]uint32, rows), make([]int64, rows),
		}
		rtt := 81.5
		for i := range rows {
			columns[0].([]string)[i], columns[1].([]string)[i] = "default", fmt.Sprintf("bench-%d-%d", block, i/40)
			columns[2].([]time.Time)[i] = time.UnixMicro(1795333135000000 + int64(i)*5000)
			columns[3].([]string)[i], columns[4].([]string)[i], columns[5].([]string)[i] = "a", "target", "target_to_contact"
			columns[6].([]uint32)[i], columns[7].([]*float64)[i], columns[10].([]uint32)[i], columns[11].([]int64)[i] = uint32(i), &rtt, 250, int64(i)
		}
		for i, column := range columns {
			require.NoError(b, batch.Column(i).Append(column))
		}
		require.NoError(b, batch.Send())
	}
	c.insert = float64(cpu(self, clickhouse.PID)-before) / (3 * rows)
	return c
}
