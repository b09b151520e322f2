package clickhouse

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/stretchr/testify/require"
	gproto "google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// encoded is the block as it goes to the server.
func encoded(t testing.TB, table *table) []byte {
	t.Helper()
	var buf proto.Buffer
	if table.rows() == 0 {
		return nil
	}
	for _, c := range table.input {
		if p, ok := c.Data.(proto.Preparable); ok {
			require.NoError(t, p.Prepare())
		}
		if s, ok := c.Data.(proto.StateEncoder); ok {
			s.EncodeState(&buf)
		}
		c.Data.EncodeColumn(&buf)
	}
	return buf.Buf
}

func fullSample() *telemetry.Outcome {
	f := func(v float64) *float64 { return &v }
	u, i := uint32(250), int32(-3)
	return &telemetry.Outcome{
		Company: "acme", CallId: "c1", Timeline: "import:1", Seq: 7 << 12, ReceivedUs: 1_790_000_000_000_000, AtUs: 5,
		Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{
			AtUs: 1_790_000_000_000_001, LegId: "leg é", Side: "target", Source: "rtcp_xr", Direction: "contact_to_target", Ssrc: 0xfffffffe, Codec: "opus", ClockRate: 48000,
			RttMs: f(1.5), JitterMs: f(0), LossPercent: f(100), Packets: &u, PacketsLost: &i, PacketsDiscarded: &u,
			JitterBufferMs: f(60), JitterBufferPreferredMs: f(40), ConcealmentPercent: f(2), SilentConcealmentPercent: f(1), AudioLevel: f(0.5), Mos: f(4.4),
		}},
	}
}

func TestSampleIsReadWithoutTheGenericDecoder(t *testing.T) {
	value, err := gproto.Marshal(fullSample())
	require.NoError(t, err)
	var w wireSample
	require.True(t, w.read(value))
	// Every field of Sample must be known to the fast decoder, or it would
	// leave samples to the slow one.
	require.Equal(t, sampleLastField, (&telemetry.Sample{}).ProtoReflect().Descriptor().Fields().Len())
	fast, slow := newBlocks(), newBlocks()
	require.NoError(t, fast.add(value, 1))
	require.NoError(t, slow.addAny(value, 1))
	require.Equal(t, encoded(t, slow.samples.table), encoded(t, fast.samples.table))
}

// FuzzSampleDecoder compares the fast decoder with protobuf's.
func FuzzSampleDecoder(f *testing.F) {
	for _, o := range []*telemetry.Outcome{
		fullSample(),
		{Company: "a", CallId: "b", Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{}}},
		{Company: "a", Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{AtUs: -1}}},
		{Company: "a", CallId: "b", Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: "x"}}},
		{Company: "a", CallId: "b", Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{Id: "m", Type: "rejected", Reason: "spam", Agent: &telemetry.Identity{UserId: "u"}}}},
	} {
		value, err := gproto.Marshal(o)
		require.NoError(f, err)
		f.Add(value)
		f.Add(append(value, value...))
	}
	fast, slow := newBlocks(), newBlocks()
	f.Fuzz(func(t *testing.T, value []byte) {
		fast.reset()
		slow.reset()
		errFast, errSlow := fast.add(value, 1), slow.addAny(value, 1)
		if (errFast == nil) != (errSlow == nil) {
			t.Fatalf("fast: %v, protobuf: %v", errFast, errSlow)
		}
		for i, table := range slow.tables() {
			if a, b := encoded(t, table), encoded(t, fast.tables()[i]); string(a) != string(b) {
				t.Fatalf("table %s: %x, protobuf: %x", table.name, b, a)
			}
		}
	})
}

func TestLowColumnGrowsBeyondSixteenBits(t *testing.T) {
	const n = 1<<16 + 10
	c := newLowColumn()
	for round := range 2 {
		for i := range n {
			if i%2 == 0 {
				c.Append(fmt.Sprint(i))
			} else {
				c.AppendBytes([]byte(fmt.Sprint(i)))
			}
			c.Append(fmt.Sprint(i))
		}
		require.Equal(t, 2*n, c.Rows())
		var buf proto.Buffer
		c.EncodeState(&buf)
		c.EncodeColumn(&buf)
		got := new(proto.ColStr).LowCardinality()
		r := proto.NewReader(bytes.NewReader(buf.Buf))
		require.NoError(t, got.DecodeState(r))
		require.NoError(t, got.DecodeColumn(r, 2*n))
		for i := range n {
			require.Equal(t, fmt.Sprint(i), got.Row(2*i), "round %d", round)
			require.Equal(t, fmt.Sprint(i), got.Row(2*i+1))
		}
		c.Reset()
	}
}
