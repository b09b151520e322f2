package rtcp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// metricsPacket is an extended report by SSRC 3 with blocks written in hex: pion
// has none of these.
func metricsPacket(t testing.TB, blocks string) []byte {
	t.Helper()
	v, err := hex.DecodeString(blocks)
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte{0x80, typeXR, 0, 0, 0, 0, 0, 3}, v...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	return b
}

// A report on stream 4 as a phone would send it: measurement information and
// then blocks of the interval (I = 10) or of the whole call (I = 11).
const (
	measurementBlock = "0e000007" + "00000004" + "0000fff0" + "0000fff0" + "000100ea" + "00050000" + "0000003c" + "80000000" // 5 s of 60.5 s
	variationBlock   = "0f840004" + "00000004" + "0140" + "6400" + "ff60" + "6400" + "0048" + "0000"                         // interval, 2-point: +20, −10, mean 4.5 ms
	delayBlock       = "10c00006" + "00000004" + "00001999" + "00000ccc" + "00003333" + "00000000" + "20000000"              // cumulative: 100, 50, 200 and 125 ms
	burstLossBlock   = "14a00005" + "00000004" + "10000190" + "00000c" + "000032" + "0030" + "00000000"                      // interval, with discards: 400 ms, 12 of 50 in 3 bursts
	burstDropBlock   = "15800003" + "00000004" + "10000006" + "00003200"                                                     // 6 of 50
	bufferBlock      = "17a00003" + "00000004" + "00280064" + "00780005"                                                     // adaptive: 40, 100, 120, 5 ms
	lateBlock        = "18a00002" + "00000004" + "00000007"
	earlyBlock       = "18900002" + "00000004" + "00000002"
	duplicateBlock   = "18800002" + "00000004" + "00000001"
	scoreBlock       = "1dc00002" + "00000004" + "01002900" // algorithm 2, PT 0, MOS 4.1

	blocksOfAllKinds = measurementBlock + variationBlock + delayBlock + burstLossBlock + burstDropBlock + bufferBlock +
		lateBlock + earlyBlock + duplicateBlock + scoreBlock
)

func TestMetrics(t *testing.T) {
	bit := func(types ...int) (v uint32) {
		for _, n := range types {
			v |= 1 << (n - 14)
		}
		return v
	}
	tests := map[string]struct {
		in   string
		want []*telemetry.XRMetrics
	}{
		"all": {blocksOfAllKinds, []*telemetry.XRMetrics{{
			ReporterSsrc: 3, Ssrc: 4, Blocks: bit(14, 15, 16, 20, 21, 23, 24, 29), Cumulative: bit(16, 29),
			FirstSeq: 65520, LastSeq: 65770, IntervalMs: 5000, CumulativeMs: 60_500,
			PdvType: 1, PdvMeanMs: 4.5, PdvPositiveMs: 20, PdvPositivePercentile: 100, PdvNegativeMs: -10, PdvNegativePercentile: 100,
			RttMeanMs: 6553.0 * 1000 / 65536, RttMinMs: 3276.0 * 1000 / 65536, RttMaxMs: 13107.0 * 1000 / 65536, EndSystemDelayMs: 125,
			BurstCombined: true, BurstThreshold: 16, BurstDurationMs: 400, BurstLost: 12, BurstExpected: 50, Bursts: 3,
			BurstDiscardThreshold: 16, BurstDiscarded: 6, BurstDiscardExpected: 50,
			JbAdaptive: true, JbNominalMs: 40, JbMaximumMs: 100, JbHighWaterMs: 120, JbLowWaterMs: 5,
			Discarded: 9, Duplicates: 1, MosAlgorithm: 2, Mos: 4.1,
		}}},
		"cannot be measured": {
			"0fc40004" + "00000004" + "7fff" + "ffff" + "7fff" + "ffff" + "7fff" + "0000" +
				"10c00006" + "00000004" + "ffffffff" + "ffffffff" + "fffffffe" + "ffffffff" + "ffffffff" +
				"14800005" + "00000004" + "10ffffff" + "ffffff" + "ffffff" + "ffff" + "ffffffff" +
				"15800003" + "00000004" + "10ffffff" + "ffffff00" +
				"17800003" + "00000004" + "ffffffff" + "fffeffff" +
				"18a00002" + "00000004" + "ffffffff" +
				"1dc00002" + "00000004" + "0100ffff",
			[]*telemetry.XRMetrics{{ReporterSsrc: 3, Ssrc: 4, PdvType: 1, BurstThreshold: 16, BurstDiscardThreshold: 16, MosAlgorithm: 2}},
		},
		"two streams": {
			"17800003" + "00000004" + "00280064" + "00780005" + "17800003" + "00000005" + "00140064" + "00780005",
			[]*telemetry.XRMetrics{
				{ReporterSsrc: 3, Ssrc: 4, Blocks: bit(23), JbNominalMs: 40, JbMaximumMs: 100, JbHighWaterMs: 120, JbLowWaterMs: 5},
				{ReporterSsrc: 3, Ssrc: 5, Blocks: bit(23), JbNominalMs: 20, JbMaximumMs: 100, JbHighWaterMs: 120, JbLowWaterMs: 5},
			},
		},
		"discards in one count":       {"18b00002" + "00000004" + "0000000b", []*telemetry.XRMetrics{{ReporterSsrc: 3, Ssrc: 4, Blocks: bit(24), Discarded: 11}}},
		"score of a channel":          {"1d800002" + "00000004" + "81083480", []*telemetry.XRMetrics{{ReporterSsrc: 3, Ssrc: 4, Blocks: bit(29), MosAlgorithm: 2, MosPayloadType: 8, Mos: 4.1}}}, // channel 1 of several
		"score that is not times ten": {"1d800002" + "00000004" + "01080380", []*telemetry.XRMetrics{{ReporterSsrc: 3, Ssrc: 4, Blocks: bit(29), MosAlgorithm: 2, MosPayloadType: 8, Mos: 3.5}}},
	}
	for name, tt := range tests {
		got, err := new(Decoder).Decode(metricsPacket(t, tt.in))
		if want := (&telemetry.RTCPPacket{SenderSsrc: 3, Metrics: tt.want}); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s:\n got %v, %v\nwant %v", name, got, err, want)
		}
	}
}

// A block that is too short costs neither those before nor those after it.
func TestMetricsMalformed(t *testing.T) {
	got, err := new(Decoder).Decode(metricsPacket(t, bufferBlock+"10c00001"+"00000004"+lateBlock))
	if !errors.Is(err, ErrMalformed) || len(got.GetMetrics()) != 1 || got.Metrics[0].JbNominalMs != 40 || got.Metrics[0].Discarded != 7 {
		t.Errorf("%v, %v", got, err)
	}
}

// A device that reports on more streams than there can be does not cost more.
func TestMetricsBound(t *testing.T) {
	var blocks []byte
	for i := range 4 * maxMetrics {
		blocks = append(blocks, blockDiscardCount, 0xa0, 0, 2, 0, 0, byte(i>>8), byte(i), 0, 0, 0, 1)
	}
	got, err := new(Decoder).Decode(metricsPacket(t, hex.EncodeToString(blocks)))
	if err != nil || len(got.GetMetrics()) != maxMetrics {
		t.Errorf("%d, %v", len(got.GetMetrics()), err)
	}
}
