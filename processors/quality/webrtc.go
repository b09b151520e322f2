package quality

import (
	"math"

	"github.com/earshot/earshot/telemetry"
)

// Counters of getStats() are cumulative; what is wanted is what happened
// between two polls. NaN stands for a member that the browser did not give.

// Inbound is what one poll says of one inbound-rtp (W3C webrtc-stats §8.2).
type Inbound struct {
	SSRC                                              uint32
	PacketsReceived, PacketsLost, PacketsDiscarded    float64
	BufferDelayS, BufferTargetDelayS, BufferEmitted   float64
	Concealed, SilentConcealed, Samples               float64
	Energy, DurationS                                 float64
	JitterMs, BufferMs, BufferPreferredMs, LevelGauge float64 // gauges
}

// maxCounter is more than anything counts to in a call. What is beyond it was not
// counted, and sums of it would be no numbers any more.
const maxCounter = 1 << 52

// Counter is the value of a counter, NaN where there is none or it cannot be.
func Counter[T uint64 | int64 | float64](p *T) float64 {
	if p == nil || !(math.Abs(float64(*p)) <= maxCounter) {
		return math.NaN()
	}
	return float64(*p)
}

// gauge is a value that cannot be negative: some senders say -1 for "none".
func gauge(p *float64) float64 {
	if v := Counter(p); v >= 0 {
		return v
	}
	return math.NaN()
}

// JitterMsOfSeconds is jitter that getStats tells in seconds.
func JitterMsOfSeconds(jitterS *float64) float64 {
	if ms := gauge(jitterS) * 1000; ms < MaxJitterMs {
		return ms
	}
	return math.NaN()
}

// InboundOf reads one report.
func InboundOf(in *telemetry.InboundRTP) Inbound {
	return Inbound{
		SSRC:               in.Ssrc,
		PacketsReceived:    Counter(in.PacketsReceived),
		PacketsLost:        Counter(in.PacketsLost),
		PacketsDiscarded:   Counter(in.PacketsDiscarded),
		BufferDelayS:       Counter(in.JitterBufferDelayS),
		BufferTargetDelayS: Counter(in.JitterBufferTargetDelayS),
		BufferEmitted:      Counter(in.JitterBufferEmittedCount),
		Concealed:          Counter(in.ConcealedSamples),
		SilentConcealed:    Counter(in.SilentConcealedSamples),
		Samples:            Counter(in.TotalSamplesReceived),
		Energy:             Counter(in.TotalAudioEnergy),
		DurationS:          Counter(in.TotalSamplesDurationS),
		JitterMs:           JitterMsOfSeconds(in.JitterS),
		BufferMs:           gauge(in.JitterBufferMs),
		BufferPreferredMs:  gauge(in.JitterBufferPreferredMs),
		LevelGauge:         Counter(in.AudioLevel),
	}
}

// InboundDelta is what happened on an inbound stream between two polls.
type InboundDelta struct {
	Packets, Lost, Discarded            float64
	LossPercent                         float64 // Δlost / (Δlost + Δreceived), never below 0
	JitterMs                            float64
	BufferMs, BufferPreferredMs         float64
	Concealed, SilentConcealed, Samples float64
	ConcealmentPercent                  float64
	SilentConcealmentPercent            float64
	Level                               float64 // RMS 0–1, of the energy
}

// delta is the growth of a counter; one that fell, or was not there, began anew.
func delta(prev, cur float64) float64 {
	if math.IsNaN(prev) || cur < prev {
		return cur
	}
	return cur - prev
}

func ratio(num, den float64) float64 {
	if !(den > 0) {
		return math.NaN()
	}
	return num / den
}

// RMS is √(Δenergy / Δduration) (webrtc-stats §8.7.1), clamped to 0–1.
func RMS(energy, durationS float64) float64 {
	r := ratio(max(energy, 0), durationS)
	return min(math.Sqrt(r), 1)
}

// Since gives what happened from the poll prev to this one. The caller resets
// prev (to the zero Inbound) where the stats id or the SSRC is another.
func (in Inbound) Since(prev Inbound) InboundDelta {
	// A stream that began anew counts from 0: its packets fell.
	if in.PacketsReceived < prev.PacketsReceived || in.Samples < prev.Samples {
		prev = Inbound{}
	}
	d := InboundDelta{
		Packets:         delta(prev.PacketsReceived, in.PacketsReceived),
		Lost:            in.PacketsLost - prev.PacketsLost, // may fall: late packets
		Discarded:       delta(prev.PacketsDiscarded, in.PacketsDiscarded),
		JitterMs:        in.JitterMs,
		Concealed:       delta(prev.Concealed, in.Concealed),
		SilentConcealed: delta(prev.SilentConcealed, in.SilentConcealed),
		Samples:         delta(prev.Samples, in.Samples),
	}
	d.LossPercent = ratio(100*max(d.Lost, 0), max(d.Lost, 0)+d.Packets)
	emitted := delta(prev.BufferEmitted, in.BufferEmitted)
	d.BufferMs = 1000 * ratio(delta(prev.BufferDelayS, in.BufferDelayS), emitted)
	if math.IsNaN(d.BufferMs) {
		d.BufferMs = in.BufferMs
	}
	d.BufferPreferredMs = 1000 * ratio(delta(prev.BufferTargetDelayS, in.BufferTargetDelayS), emitted)
	if math.IsNaN(d.BufferPreferredMs) {
		d.BufferPreferredMs = in.BufferPreferredMs
	}
	d.ConcealmentPercent = 100 * min(ratio(d.Concealed, d.Samples), 1)
	d.SilentConcealmentPercent = 100 * min(ratio(d.SilentConcealed, d.Samples), 1)
	d.Level = RMS(in.Energy-prev.Energy, in.DurationS-prev.DurationS)
	// Without energy there is the gauge. Some browsers give it as 0–32767 with
	// −1 for "none": that is no level.
	if math.IsNaN(d.Level) && in.LevelGauge >= 0 && in.LevelGauge <= 1 {
		d.Level = in.LevelGauge
	}
	return d
}
