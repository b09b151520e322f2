package quality

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

func TestClockRate(t *testing.T) {
	want := map[uint32]uint32{0: 8000, 3: 8000, 4: 8000, 5: 8000, 6: 16000, 7: 8000, 8: 8000, 9: 8000, 10: 44100, 11: 44100,
		12: 8000, 13: 8000, 14: 90000, 15: 8000, 16: 11025, 17: 22050, 18: 8000}
	for pt := uint32(0); pt < 128; pt++ {
		if got := ClockRate(pt); got != want[pt] {
			t.Errorf("ClockRate(%d) = %d, want %d", pt, got, want[pt])
		}
		if StaticCodec(pt) != "" && ClockRate(pt) == 0 {
			t.Errorf("%s has no clock", StaticCodec(pt))
		}
	}
}

func TestJitterMs(t *testing.T) {
	for _, tt := range []struct {
		jitter, clock uint32
		ms            float64
		ok            bool
	}{{28, 8000, 3.5, true}, {1920, 48000, 40, true}, {28, 0, 0, false}} {
		if ms, ok := JitterMs(tt.jitter, tt.clock); ms != tt.ms || ok != tt.ok {
			t.Errorf("JitterMs(%d, %d) = %v, %v", tt.jitter, tt.clock, ms, ok)
		}
	}
}

func TestCumulativeLost(t *testing.T) {
	for _, tt := range []struct {
		in   uint32
		want int32
	}{{0, 0}, {1, 1}, {0x7fffff, 8388607}, {0x800000, -8388608}, {0xffffff, -1}, {0xaafffffe, -2}} {
		if got := SignExtend24(tt.in); got != tt.want {
			t.Errorf("SignExtend24(%#x) = %d, want %d", tt.in, got, tt.want)
		}
	}
	for _, tt := range []struct{ prev, cur, want int32 }{
		{5, 11, 6}, {11, 5, -6}, {-3, 2, 5}, {8388606, -8388607, 3},
	} {
		if got := CumulativeLostDelta(tt.prev, tt.cur); got != tt.want {
			t.Errorf("CumulativeLostDelta(%d, %d) = %d, want %d", tt.prev, tt.cur, got, tt.want)
		}
	}
}

func TestHighestSeqDelta(t *testing.T) {
	for _, tt := range []struct {
		prev, cur, want uint32
		ok              bool
	}{
		{100, 350, 250, true}, {100, 100, 0, true},
		{0x0000ffff, 0x000100f0, 0xf1, true},  // cycle
		{0xffffff00, 0x00000010, 0x110, true}, // wrap of 32 bits
		{50_000, 1_000, 0, false},             // restart
		{1_000, 0x40000000, 0, false},         // jump
	} {
		if got, ok := HighestSeqDelta(tt.prev, tt.cur); got != tt.want || ok != tt.ok {
			t.Errorf("HighestSeqDelta(%d, %d) = %d, %v", tt.prev, tt.cur, got, ok)
		}
	}
}

func TestExpectedOfFirst(t *testing.T) {
	// 11 lost, fraction 11/256, in truth of 250.
	if n, ok := ExpectedOfFirst(11, 11); !ok || n < 230 || n > 256 {
		t.Errorf("ExpectedOfFirst = %d, %v", n, ok)
	}
	for _, tt := range []struct {
		lost     int32
		fraction uint32
	}{{0, 0}, {-4, 3}, {5, 0}, {5, 256}} {
		if _, ok := ExpectedOfFirst(tt.lost, tt.fraction); ok {
			t.Errorf("ExpectedOfFirst(%d, %d) gave a number", tt.lost, tt.fraction)
		}
	}
}

func TestRTTAtEnd(t *testing.T) {
	tests := []struct {
		name          string
		arrival, l, d uint32
		want          float64
		ok            bool
	}{
		// RFC 3550 figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000, 6.125 s.
		{"RFC 3550 figure 2", 0xb7108000, 0xb7052000, 0x00054000, 6125, true},
		{"across the wrap", 0x00008000, 0xffff8000, 0x00008000, 500, true},
		{"no report yet", 0xb7108000, 0, 0x54000, 0, false},
		{"no delay", 0xb7108000, 0xb7052000, 0, 0, false},
		{"negative", 0xb7052000, 0xb7052001, 5, 0, false},
		{"zero", 0x10005, 0x10000, 5, 0, false},
		{"above ten seconds", 0xb7200000, 0xb7052000, 1, 0, false},
	}
	for _, tt := range tests {
		got, ok := RTTAtEnd(tt.arrival, tt.l, tt.d)
		if ok != tt.ok || math.Abs(got-tt.want) > 0.001 {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestLegRTT(t *testing.T) {
	// A report 3.0 s after the sender report passed, held for 2.88 s.
	if ms, ok := LegRTT(1_000_000, 4_000_000, 188744); !ok || math.Abs(ms-120) > 0.1 {
		t.Errorf("leg of %v ms, %v", ms, ok)
	}
	// A monitor beside the reporter.
	if ms, ok := LegRTT(1_000_000, 1_000_020, 66); !ok || ms != 0 {
		t.Errorf("leg of %v ms, %v, want 0", ms, ok)
	}
	for _, rr := range []int64{900_000, 12_000_000} {
		if ms, ok := LegRTT(1_000_000, rr, 1); ok {
			t.Errorf("leg of %v ms believed", ms)
		}
	}
}

func TestNTP(t *testing.T) {
	for _, us := range []int64{1_795_333_135_728_148, 0, 1} {
		if got := MicrosOfNTP(NTPOfMicros(us)); us-got > 1 || got > us {
			t.Errorf("%d came back as %d", us, got)
		}
	}
	if got := MiddleNTP(0xc59286defef9db23); got != 0x86defef9 {
		t.Errorf("MiddleNTP = %#x", got)
	}
}

func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, scale := range []float64{3, 80, 900, 40_000} {
		var h, a, b Histogram
		values := make([]float64, 5_000)
		for i := range values {
			values[i] = scale * r.ExpFloat64()
			h.Add(values[i])
			if i%3 == 0 {
				a.Add(values[i])
			} else {
				b.Add(values[i])
			}
		}
		sort.Float64s(values)
		a.Merge(&b)
		for _, q := range []float64{0, 0.05, 0.5, 0.95, 0.999, 1} {
			want := values[min(max(int(math.Ceil(q*float64(len(values))))-1, 0), len(values)-1)]
			for _, got := range []float64{h.Quantile(q), a.Quantile(q)} {
				// Thousands of values over so many octaves: neighbours became one.
				if math.Abs(got-want) > max(0.051, want*0.0041)*8 {
					t.Errorf("quantile %v of scale %v is %v, want %v", q, scale, got, want)
				}
			}
		}
		if float32(h.Min()) != float32(values[0]) || float32(h.Max()) != float32(values[len(values)-1]) || h.Count() != 5_000 || len(h.buckets()) > maxBuckets {
			t.Errorf("scale %v: %v–%v of %d in %d buckets", scale, h.Min(), h.Max(), h.Count(), len(h.buckets()))
		}
		var back Histogram
		rest, err := back.Read(string(h.Append(nil)), words)
		if err != nil || len(rest) != 0 || !slices.Equal(h.words, back.words) {
			t.Errorf("scale %v: read back as %v with %d bytes left: %v", scale, back.words, len(rest), err)
		}
		if share := h.Share(func(ms float64) bool { return ms < scale*math.Ln2 }); math.Abs(share-0.5) > 0.03 {
			t.Errorf("share below the median is %v", share)
		}
	}
}

// TestHistogramOfMany: what fits into the buckets keeps its resolution.
func TestHistogramOfMany(t *testing.T) {
	var h Histogram
	for i := range 200 {
		for range 3 {
			h.Add(20 + float64(i)/10)
		}
	}
	for _, q := range []float64{0.05, 0.5, 0.95} {
		if got, want := h.Quantile(q), 20+q*20; math.Abs(got-want) > 0.0041*want+0.1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Min() != 20 || h.Max() != 39.9 {
		t.Errorf("%v–%v", h.Min(), h.Max())
	}
}

func words(n int) []uint32 { return make([]uint32, n) }

// TestHistogramOfNonsense: what no sender can have measured comes back as a number.
func TestHistogramOfNonsense(t *testing.T) {
	var h Histogram
	for _, ms := range []float64{math.NaN(), -1, math.Inf(-1), 1e300, math.Inf(1)} {
		h.Add(ms)
	}
	if h.Count() != 2 || h.Min() != 600_000 || h.Max() != 600_000 || h.Quantile(0.5) != 600_000 {
		t.Errorf("%d values from %v to %v, %v in the median", h.Count(), h.Min(), h.Max(), h.Quantile(0.5))
	}
}

func FuzzHistogramRead(f *testing.F) {
	var h Histogram
	h.Add(3)
	h.Add(900)
	f.Add(h.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, back Histogram
		rest, err := h.Read(string(b), words)
		if err != nil {
			return
		}
		h.Quantile(0.5)
		if _, err := back.Read(string(h.Append(nil))+rest, words); err != nil || !slices.Equal(h.words, back.words) {
			t.Errorf("%v came back as %v: %v", h.words, back.words, err)
		}
	})
}

func TestHistogramOfNothing(t *testing.T) {
	var h Histogram
	h.Add(math.NaN())
	h.Add(-1)
	if h.Count() != 0 || h.Quantile(0.5) != 0 || h.Share(func(float64) bool { return true }) != 0 {
		t.Errorf("something of nothing: %+v", h)
	}
	h.Add(math.Inf(1))
	h.Add(0)
	if h.Quantile(0.5) != 0 {
		t.Errorf("median %v", h.Quantile(0.5))
	}
}

// bucketMiddle lies in the bucket that it is the middle of.
func TestBuckets(t *testing.T) {
	prev := -1
	for tenths := uint32(0); tenths <= maxTenths; tenths += 1 + tenths/200 {
		i := bucketIndex(tenths)
		if int(i) < prev {
			t.Fatalf("bucket %d of %d after %d", i, tenths, prev)
		}
		prev = int(i)
		if m := bucketMiddle(i, 0); math.Abs(m-float64(tenths)) > max(0.5, float64(tenths)*0.0041) {
			t.Fatalf("%d is in a bucket around %v", tenths, m)
		}
	}
}

func TestBands(t *testing.T) {
	r := DefaultRules()
	for _, tt := range []struct {
		ms   float64
		want string
	}{{0, Good}, {99.99, Good}, {100, Acceptable}, {199.9, Acceptable}, {200, Bad}, {300, Bad}, {300.1, Unacceptable}} {
		if got := r.DelayBand(tt.ms); got != tt.want {
			t.Errorf("DelayBand(%v) = %s", tt.ms, got)
		}
	}
	for _, tt := range []struct {
		percent float64
		want    string
	}{{0, Good}, {0.99, Good}, {1, Acceptable}, {2.99, Acceptable}, {3, Bad}, {4.99, Bad}, {5, Unacceptable}, {100, Unacceptable}} {
		if got := r.LossBand(tt.percent); got != tt.want {
			t.Errorf("LossBand(%v) = %s", tt.percent, got)
		}
	}
	nan := math.NaN()
	for _, tt := range []struct {
		name                               string
		jitter, buffer, preferred, conceal float64
		want                               bool
	}{
		{"quiet", 5, 40, 60, 0, false},
		{"current below preferred is normal", 5, 40, 160, 2.5, false},
		{"buffer well above preferred while concealing", 5, 100, 60, 2, true},
		{"buffer above preferred, nothing concealed", 5, 100, 60, 0.5, false},
		{"concealment alone", 5, 40, 60, 3, true},
		{"network jitter alone", 30.1, nan, nan, nan, true},
		{"just not", 30, nan, nan, nan, false},
		{"nothing measured", nan, nan, nan, nan, false},
	} {
		if got := r.Choppy(tt.jitter, tt.buffer, tt.preferred, tt.conceal); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if got := Worst(Unknown, Good, Bad, Acceptable); got != Bad {
		t.Errorf("Worst = %s", got)
	}
	if got := Worst(Unknown); got != Unknown {
		t.Errorf("Worst of unknown = %s", got)
	}
}

func TestRulesValidate(t *testing.T) {
	if err := DefaultRules().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Rules){
		"no version":      func(r *Rules) { r.Version = "" },
		"delay falls":     func(r *Rules) { r.DelayBadMs = 150 },
		"loss is NaN":     func(r *Rules) { r.LossGoodPercent = math.NaN() },
		"confirmed below": func(r *Rules) { r.OneWay.Confirmed = 0.5 },
		"no reports":      func(r *Rules) { r.OneWay.MinReports = 0 },
		"no time":         func(r *Rules) { r.OneWay.Dead = 0 },
		"choppy share":    func(r *Rules) { r.ChoppyShareBad = 0.01 },
	} {
		r := DefaultRules()
		spoil(&r)
		if err := r.Validate(); !errors.Is(err, ErrRules) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Worked examples of G.107 and G.113 that are published elsewhere.
func TestEModel(t *testing.T) {
	g711, _ := EquipmentOf("PCMU")
	g729, _ := EquipmentOf("G729")
	noPLC := Equipment{Bpl: 4.3}
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s = %.3f, want %v", what, got, want)
		}
	}
	near("R of the defaults", R(g711, 0, 0, 1), 93.2, 0.05)
	near("MOS of the defaults", MOSOfR(93.2), 4.41, 0.005)
	near("Id at 150 ms", DelayImpairment(150), 3.8, 0.1)
	near("R of G.729A with VAD, 2 %, 150 ms", R(g729, 150, 2, 1), 70.5, 0.15)
	near("MOS of it", MOSOfR(R(g729, 150, 2, 1)), 3.62, 0.015)
	near("R of G.711, 2 %, 150 ms", R(g711, 150, 2, 1), 82.5, 0.15)
	near("MOS of it", MOSOfR(R(g711, 150, 2, 1)), 4.12, 0.015)
	near("Ie,eff without concealment", EffectiveImpairment(noPLC, 2, 1), 30.2, 0.1)
	near("Ie,eff without concealment, bursts", EffectiveImpairment(noPLC, 2, 2), 35.8, 0.1)
	near("MOS of R 92.73", MOSOfR(92.729821), 4.4, 0.005)
	near("MOS below", MOSOfR(-1), 1, 0)
	near("MOS above", MOSOfR(999), 4.5, 0)
	near("MOS of NaN", MOSOfR(math.NaN()), 1, 0)
}

// G.107.1 with the rows of G.113 tables IV.1 and IV.4: R, and R/1.29 mapped.
func TestWidebandEModel(t *testing.T) {
	for name, c := range map[string]struct {
		e       Equipment
		loss    float64
		r, want float64
	}{
		"nothing impaired":         {Equipment{Model: ModelG1071}, 0, 129, 4.5},
		"G.722.2 23.05, monotic":   {Equipment{Model: ModelG1071, Ie: 1}, 0, 128, 4.494},
		"G.722.2 12.65, monotic":   {Equipment{Model: ModelG1071, Ie: 13}, 0, 116, 4.3371},
		"G.722.2 6.6, monotic":     {Equipment{Model: ModelG1071, Ie: 41}, 0, 88, 3.5123},
		"G.722.2 12.65, 2 % lost":  {Equipment{Model: ModelG1071, Ie: 20, Bpl: 4.3}, 2, 129 - 43.8095, 3.4062},
		"G.722.2 6.6, by two ears": {Equipment{Model: ModelG1071, Ie: 56}, 0, 73, 2.922},
	} {
		r := R(c.e, 0, c.loss, 1)
		if mos := MOSOfR(r / scaleOf(ModelG1071)); math.Abs(r-c.r) > 1e-3 || math.Abs(mos-c.want) > 5e-4 {
			t.Errorf("%s: R %.4f, MOS %.4f, want %v and %v", name, r, mos, c.r, c.want)
		}
	}
	for _, codec := range []string{"audio/G722", "AMR-WB"} {
		s, ok := MOS(MOSInput{Codec: codec, RTTMs: 40, JitterBufferMs: 40})
		if !ok || s.Equipment.Model != ModelG1071 || !s.Equipment.Estimated || s.MOS < 4.2 || s.R > 116 {
			t.Errorf("%s: %+v %v", codec, s, ok)
		}
	}
}

func TestBurstRatio(t *testing.T) {
	for name, c := range map[string]struct {
		lost, expected, runs float64
		want                 float64
		ok                   bool
	}{
		"single packets of many":   {10, 1000, 10, 1, true},
		"runs of four":             {40, 1000, 10, 3.84, true},
		"as long as chance has it": {500, 1000, 250, 1, true},
		"too few":                  {8, 1000, 2, 0, false},
		"nothing lost":             {0, 1000, 0, 0, false},
		"more runs than losses":    {3, 1000, 9, 0, false}, // they came later
	} {
		if got, ok := BurstRatio(c.lost, c.expected, c.runs); ok != c.ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v %v", name, got, ok)
		}
	}
	// A quarter of all in bursts of half a second, nothing between: half of the
	// packets of a burst are lost, in runs of 2; over all 1/8, by chance 8/7.
	if got, ok := BurstRatioOfGaps(0.5, 500, 0, 1500); !ok || math.Abs(got-2*(1-0.125)) > 1e-9 {
		t.Errorf("of gaps: %v %v", got, ok)
	}
	for _, bad := range [][4]float64{{0, 0, 0, 0}, {0.5, 0, 0.1, 100}, {2, 100, 0, 100}, {math.NaN(), 100, 0, 100}, {0.5, 100, 0.1, math.NaN()}} {
		if got, ok := BurstRatioOfGaps(bad[0], bad[1], bad[2], bad[3]); ok {
			t.Errorf("%v gives %v", bad, got)
		}
	}
	// All of a burst lost is one run of its length.
	if got, ok := BurstRatioOfGaps(1, 200, 0, 1800); !ok || got < 8 || got > 10 {
		t.Errorf("whole bursts: %v %v", got, ok)
	}
}

func TestEModelMonotonic(t *testing.T) {
	for _, codec := range []string{"PCMU", "G729", "G722", "AMR-WB", "opus"} {
		prev := 5.0
		for loss := 0.0; loss <= 40; loss += 0.5 {
			s, ok := MOS(MOSInput{Codec: codec, RTTMs: 100, JitterBufferMs: 40, LossPercent: loss})
			mos := s.MOS
			if !ok || mos > prev || mos < 1 || mos > 4.5 {
				t.Fatalf("%s at %v %%: %v after %v", codec, loss, mos, prev)
			}
			prev = mos
		}
		prev = 5.0
		for rtt := 0.0; rtt <= 2000; rtt += 20 {
			s, _ := MOS(MOSInput{Codec: codec, RTTMs: rtt, JitterBufferMs: 40})
			mos := s.MOS
			if mos > prev+1e-9 {
				t.Fatalf("%s at %v ms: %v after %v", codec, rtt, mos, prev)
			}
			prev = mos
		}
	}
}

func TestMOSNeedsItsInputs(t *testing.T) {
	nan := math.NaN()
	whole := MOSInput{Codec: "audio/opus", RTTMs: 80, JitterBufferMs: 60, LossPercent: 0}
	s, ok := MOS(whole)
	if !ok || s.Equipment.Model != ModelG1072 || !s.Equipment.Estimated || s.MOS < 4 || s.OneWayMs != 80.0/2+60+20+6.5 || s.BurstR != 1 {
		t.Errorf("opus: %+v %v", s, ok)
	}
	whole.PacketisationMs, whole.BurstR, whole.LossPercent = 60, 2.5, 3
	if long, _ := MOS(whole); long.OneWayMs != s.OneWayMs+40 || long.BurstR != 2.5 || long.MOS >= s.MOS {
		t.Errorf("with 60 ms packets and bursts: %+v", long)
	}
	for name, in := range map[string]MOSInput{
		"codec": {Codec: "speex", RTTMs: 80, JitterBufferMs: 60}, "no codec": {RTTMs: 80, JitterBufferMs: 60},
		"rtt": {Codec: "PCMU", RTTMs: nan, JitterBufferMs: 60}, "loss": {Codec: "PCMU", RTTMs: 80, JitterBufferMs: 60, LossPercent: nan},
		"buffer": {Codec: "PCMU", RTTMs: 80, JitterBufferMs: nan},
	} {
		if s, ok := MOS(in); ok {
			t.Errorf("MOS %v without %s", s.MOS, name)
		}
	}
}

func TestInboundSince(t *testing.T) {
	u := func(v uint64) *uint64 { return &v }
	i := func(v int64) *int64 { return &v }
	f := func(v float64) *float64 { return &v }
	first := InboundOf(&telemetry.InboundRTP{PacketsReceived: u(100), PacketsLost: i(5), PacketsDiscarded: u(1), JitterS: f(0.004),
		JitterBufferDelayS: f(48_000 * 0.02), JitterBufferTargetDelayS: f(48_000 * 0.05), JitterBufferEmittedCount: u(48_000),
		ConcealedSamples: u(500), SilentConcealedSamples: u(100), TotalSamplesReceived: u(48_000), TotalAudioEnergy: f(0.1), TotalSamplesDurationS: f(1)})
	second := InboundOf(&telemetry.InboundRTP{PacketsReceived: u(148), PacketsLost: i(7), PacketsDiscarded: u(2), JitterS: f(0.006),
		JitterBufferDelayS: f(48_000*0.02 + 24_000*0.1), JitterBufferTargetDelayS: f(48_000*0.05 + 24_000*0.05), JitterBufferEmittedCount: u(72_000),
		ConcealedSamples: u(1460), SilentConcealedSamples: u(580), TotalSamplesReceived: u(96_000), TotalAudioEnergy: f(0.19), TotalSamplesDurationS: f(2)})
	d := second.Since(first)
	for _, tt := range []struct {
		what      string
		got, want float64
	}{
		{"packets", d.Packets, 48}, {"lost", d.Lost, 2}, {"discarded", d.Discarded, 1}, {"loss", d.LossPercent, 4},
		{"jitter", d.JitterMs, 6}, {"buffer", d.BufferMs, 100}, {"preferred", d.BufferPreferredMs, 50},
		{"concealment", d.ConcealmentPercent, 2}, {"silent", d.SilentConcealmentPercent, 1}, {"level", d.Level, 0.3},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s is %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	// A stream that began anew counts from 0, and packetsLost may fall.
	again := InboundOf(&telemetry.InboundRTP{PacketsReceived: u(20), PacketsLost: i(0)})
	if d := again.Since(second); d.Packets != 20 || d.Lost != 0 {
		t.Errorf("restart: %+v", d)
	}
	fell := second
	fell.PacketsReceived, fell.PacketsLost = 150, 6
	if d := fell.Since(second); d.Lost != -1 || d.LossPercent != 0 {
		t.Errorf("lost packets that came late: %+v", d)
	}
	// What the browser does not give is not 0.
	bare := InboundOf(&telemetry.InboundRTP{PacketsReceived: u(20)})
	d = bare.Since(Inbound{})
	for what, v := range map[string]float64{"buffer": d.BufferMs, "preferred": d.BufferPreferredMs, "concealment": d.ConcealmentPercent, "level": d.Level, "jitter": d.JitterMs, "loss": d.LossPercent} {
		if !math.IsNaN(v) {
			t.Errorf("%s is %v, want none", what, v)
		}
	}
	// Legacy gauges, and a level on the legacy scale that is none.
	legacy := InboundOf(&telemetry.InboundRTP{JitterBufferMs: f(70), JitterBufferPreferredMs: f(60), AudioLevel: f(12000)})
	if d := legacy.Since(Inbound{}); d.BufferMs != 70 || d.BufferPreferredMs != 60 || !math.IsNaN(d.Level) {
		t.Errorf("legacy: %+v", d)
	}
	level := InboundOf(&telemetry.InboundRTP{AudioLevel: f(0.25)})
	if d := level.Since(Inbound{}); d.Level != 0.25 {
		t.Errorf("level: %v", d.Level)
	}
}
