package calls

import (
	"math"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// maxExtended bounds the streams that one packet's extended reports are read of.
const maxExtended = 8

// Blocks of telemetry.XRMetrics, as its bits are numbered.
const (
	xrDelayVariation = 1 << (15 - 14)
	xrDelay          = 1 << (16 - 14)
	xrBurstGapLoss   = 1 << (20 - 14)
	xrDeJitterBuffer = 1 << (23 - 14)
	xrDiscardCount   = 1 << (24 - 14)
	xrMOS            = 1 << (29 - 14)
)

// extendedReport is what one packet's extended reports say of one stream.
type extendedReport struct {
	ssrc       uint32
	voip       *telemetry.VoIPMetrics
	statistics *telemetry.StatisticsSummary
	metrics    *telemetry.XRMetrics
}

// extended digests extended reports (RFC 3611, RFC 6792): what s measured of what
// it receives. All that they say of a stream makes one sample, for a second one
// of the same time, witness and stream would take its place.
func (h *handler) extended(s int, p *telemetry.RTCPPacket) {
	if len(p.VoipMetrics) == 0 && len(p.Statistics) == 0 && len(p.Metrics) == 0 {
		return
	}
	var streams [maxExtended]extendedReport
	n := 0
	of := func(ssrc uint32) *extendedReport {
		for i := range streams[:n] {
			if streams[i].ssrc == ssrc {
				return &streams[i]
			}
		}
		if n == maxExtended {
			return nil
		}
		n++
		streams[n-1].ssrc = ssrc
		return &streams[n-1]
	}
	for _, v := range p.VoipMetrics {
		if x := of(v.GetSsrc()); v != nil && x != nil {
			x.voip = v
		}
	}
	for _, v := range p.Statistics {
		if x := of(v.GetSsrc()); v != nil && x != nil {
			x.statistics = v
		}
	}
	for _, v := range p.Metrics {
		if x := of(v.GetSsrc()); v != nil && x != nil {
			x.metrics = v
		}
	}
	for i := range streams[:n] {
		h.extendedReport(s, &streams[i])
	}
}

func (h *handler) extendedReport(s int, x *extendedReport) {
	c := h.c
	d := &c.dir[1-s]
	name, clock := c.codecOf(0, false)
	loss, expected, lost := x.loss()
	rtt, jitter, buffer, discards, mos := x.roundTrip(), x.jitter(clock), x.buffer(), x.discards(), x.opinion()
	if b := x.burst(); b > d.loss[lossVQ].burst {
		d.loss[lossVQ].burst, d.loss[lossVQ].burstUs = b, h.at()
	}
	if !anyKnown(loss, rtt, jitter, buffer, discards, mos) {
		return
	}
	box := h.sample(fromXR, 1-s, h.witness(s), c.sipLeg(s))
	box.sample.Ssrc, box.sample.Codec, box.sample.ClockRate = x.ssrc, name, clock
	box.sample.LossPercent = box.value(loss)
	box.sample.Packets = box.count(0, expected-lost)
	box.sample.PacketsLost = box.lostCount(lost)
	box.sample.RttMs = box.value(rtt)
	box.sample.JitterMs = box.value(jitter)
	box.sample.JitterBufferMs = box.value(buffer)
	box.sample.PacketsDiscarded = box.count(1, discards)
	box.sample.Mos = box.value(mos)
	d.sourceSamples[fromXR]++
	h.emitSample(box)

	if !math.IsNaN(rtt) {
		h.addRTT(rtt, s)
	}
	if !math.IsNaN(mos) {
		d.reportedMOS(mos)
	}
	if !math.IsNaN(buffer) {
		d.xrBufferMs, d.xrBufferUs = buffer, h.at()
	}
	if v := x.voip; v != nil {
		// Rates are of the whole reception (RFC 3611 §4.7.1): the newest holds.
		l := &d.loss[lossVQ]
		l.percent, l.discardPercent = percentOf256(v.LossRate), percentOf256(v.DiscardRate)
		l.reports++
		if r, ok := quality.BurstRatioOfGaps(float64(v.BurstDensity)/256, float64(v.BurstDurationMs), float64(v.GapDensity)/256, float64(v.GapDurationMs)); ok {
			d.burstR = r
		}
	}
	x.count(&d.loss[lossRTCP])
}

// count adds the packets that came too early or too late to be played (RFC 7002)
// to what RTCP says was lost.
func (x *extendedReport) count(l *lossAcc) {
	if !x.has(xrDiscardCount) {
		return
	}
	if x.metrics.Cumulative&xrDiscardCount != 0 {
		l.discarded = int64(x.metrics.Discarded)
		return
	}
	l.discarded += int64(x.metrics.Discarded)
}

func anyKnown(values ...float64) bool {
	for _, v := range values {
		if !math.IsNaN(v) {
			return true
		}
	}
	return false
}

func percentOf256(rate uint32) float64 { return min(float64(rate)*100/256, 100) }

// loss gives the loss of the interval with its packets where it was counted,
// else the rate of the whole reception.
func (x *extendedReport) loss() (percent, expected, lost float64) {
	if v := x.statistics; v != nil && v.HasLost {
		// end_seq is the first one after the interval (RFC 3611 §4.6).
		if n := uint32(uint16(v.EndSeq - v.BeginSeq)); n > 0 && v.LostPackets <= n {
			return 100 * float64(v.LostPackets) / float64(n), float64(n), float64(v.LostPackets)
		}
	}
	if x.voip != nil {
		return percentOf256(x.voip.LossRate), nan, nan
	}
	return nan, nan, nan
}

func (x *extendedReport) has(block uint32) bool { return x.metrics.GetBlocks()&block != 0 }

func (x *extendedReport) roundTrip() float64 {
	ms := float64(x.voip.GetRoundTripDelayMs())
	if x.has(xrDelay) {
		ms = x.metrics.RttMeanMs
	}
	if ms > 0 && ms <= 10_000 { // 0: not measured
		return ms
	}
	return nan
}

// jitter gives the mean interarrival jitter, else the mean delay variation.
func (x *extendedReport) jitter(clock uint32) float64 {
	if v := x.statistics; v != nil && v.HasJitter {
		if ms, ok := quality.JitterMs(v.MeanJitter, clock); ok {
			return ms
		}
	}
	if ms := math.Abs(x.metrics.GetPdvMeanMs()); x.has(xrDelayVariation) && ms < quality.MaxJitterMs {
		return ms
	}
	return nan
}

func (x *extendedReport) buffer() float64 {
	switch {
	case x.has(xrDeJitterBuffer):
		return float64(x.metrics.JbNominalMs)
	case x.voip.GetJbNominalMs() > 0:
		return float64(x.voip.JbNominalMs)
	}
	return nan
}

// discards gives the packets that came too early or too late in the interval.
func (x *extendedReport) discards() float64 {
	if x.has(xrDiscardCount) && x.metrics.Cumulative&xrDiscardCount == 0 {
		return float64(x.metrics.Discarded)
	}
	return nan
}

// opinion gives the score that the endpoint computed: of conversation before
// that of RFC 7266, whose algorithm says what it is of.
func (x *extendedReport) opinion() float64 {
	if v := x.voip; v != nil && v.MosCqX10 >= 10 && v.MosCqX10 <= 50 { // 127: unavailable
		return float64(v.MosCqX10) / 10
	}
	if x.has(xrMOS) && x.metrics.Mos >= 1 && x.metrics.Mos <= 5 {
		return x.metrics.Mos
	}
	return nan
}

// burst gives the loss within bursts, 0 where too little is known of them.
func (x *extendedReport) burst() float64 {
	m := x.metrics
	if !x.has(xrBurstGapLoss) || m.BurstExpected < burstPackets {
		return 0
	}
	return min(100*float64(m.BurstLost)/float64(m.BurstExpected), 100)
}
