package clickhouse

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// sampleValues are outcomes as processors write them for RTCP: four streams a call.
func sampleValues(b *testing.B, n int) [][]byte {
	rtt, jitter, loss, packets, lost, mos := 43.5, 2.25, 0.5, uint32(250), int32(1), 4.3
	values := make([][]byte, n)
	for i := range values {
		o := &telemetry.Outcome{
			Company: "acme", CallId: fmt.Sprintf("%08x-1b7e-4d0c@192.0.2.%d", i/40, i%250), Seq: int64(i) << 12, ReceivedUs: time.Now().UnixMicro(),
			Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{
				AtUs: time.Now().UnixMicro() + int64(i), LegId: "leg-1", Side: "target", Source: "rtcp", Direction: []string{"target_to_contact", "contact_to_target"}[i%2],
				Ssrc: uint32(i * 2654435761), Codec: "PCMU", ClockRate: 8000, RttMs: &rtt, JitterMs: &jitter, LossPercent: &loss, Packets: &packets, PacketsLost: &lost, Mos: &mos,
			}},
		}
		value, err := proto.Marshal(o)
		require.NoError(b, err)
		values[i] = value
	}
	return values
}

// BenchmarkRows is what a sample costs between Kafka's client and ClickHouse's.
func BenchmarkRows(b *testing.B) {
	values := sampleValues(b, 10_000)
	blocks := newBlocks()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100_000 == 0 {
			blocks.reset()
		}
		if err := blocks.add(values[i%len(values)], 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInsert is one insert of 100,000 samples, rows made beforehand.
func BenchmarkInsert(b *testing.B) {
	ctx := context.Background()
	c := testConfig()
	require.NoError(b, Migrate(ctx, c))
	blocks := newBlocks()
	for _, value := range sampleValues(b, 100_000) {
		require.NoError(b, blocks.add(value, 1))
	}
	i := &inserter{config: c}
	defer i.close()
	n := 0
	for b.Loop() {
		n++
		require.NoError(b, i.insert(ctx, blocks.samples.table, fmt.Sprint("bench", n)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/100_000, "ns/row")
}
