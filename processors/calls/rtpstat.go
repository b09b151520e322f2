package calls

import (
	"strconv"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// rtpStats digests the statistics headers of one message: what party p measured
// over its whole call, of what it received and of what it sent. Proxies pass
// them on, so the same may come on every hop.
func (h *handler) rtpStats(p int, stats []*telemetry.RTPStat) {
	c := h.c
	for _, s := range stats {
		if s == nil || !c.fresh(statHash(p, s)) {
			continue
		}
		c.hasMedia = true
		if s.PacketsSent != nil {
			c.dir[p].headerSent, c.dir[p].hasHeaderSent = *s.PacketsSent, true
			h.judgeHeaders(p)
		}
		if s.PacketsReceived != nil {
			c.dir[1-p].headerReceived, c.dir[1-p].hasHeaderReceived = *s.PacketsReceived, true
			h.judgeHeaders(1 - p)
		}
		if s.PacketsReceived != nil || s.JitterMs != nil || s.JitterTimestampUnits != nil || s.MosLq != nil || s.MosCq != nil {
			h.statReceived(p, s)
		}
	}
}

// judgeHeaders compares what one end told that it sent with what the other told
// that it received. Nothing received is one-way audio; nearly everything received
// means that audio arrived all the time.
func (h *handler) judgeHeaders(d int) {
	x := &h.c.dir[d]
	if !x.hasHeaderSent || !x.hasHeaderReceived || !h.open(d, x.clearUs) {
		return
	}
	untilUs := h.at()
	if h.c.endedUs != 0 {
		untilUs = min(untilUs, h.c.endedUs)
	}
	switch sent := float64(x.headerSent); {
	case sent < float64(h.rules.OneWay.MinPacketsSent):
	case x.headerReceived == 0:
		h.dead(d, byHeader, death{sinceUs: x.clearUs, untilUs: untilUs, confidence: telemetry.ConfidenceHeaders, kind: deadNeverReceived, packets: x.headerSent})
	case float64(x.headerReceived) >= 0.9*sent:
		h.alive(d, byHeader, x.clearUs)
	}
}

func statHash(p int, s *telemetry.RTPStat) uint64 {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return hash64("rtp stat", strconv.Itoa(p), s.Header, number(s.GetPacketsReceived()), number(s.GetOctetsReceived()), number(s.GetPacketsLost()),
		number(s.GetPacketsSent()), number(uint64(s.GetDurationS())))
}

// statReceived takes what party p says of what it received: one sample and,
// where nothing better is known, the loss of its direction.
func (h *handler) statReceived(p int, s *telemetry.RTPStat) {
	c := h.c
	d := &c.dir[1-p]
	name, clock := c.codecOf(0, false)
	box := h.sample(fromHeader, 1-p, h.witness(p), c.sipLeg(p))
	box.sample.Codec, box.sample.ClockRate = name, clock

	received, lost, discarded := float64(s.GetPacketsReceived()), float64(s.GetPacketsLost()), float64(s.GetPacketsDiscarded())
	loss := nan
	if s.PacketsReceived != nil && s.PacketsLost != nil && received+lost > 0 {
		loss = 100 * lost / (received + lost)
		box.sample.PacketsLost = box.lostCount(lost)
	}
	if s.PacketsReceived != nil {
		box.sample.Packets = box.count(0, received)
	}
	if s.PacketsDiscarded != nil {
		box.sample.PacketsDiscarded = box.count(1, discarded)
	}
	box.sample.LossPercent = box.value(loss)
	jitter := statJitter(s, clock)
	box.sample.JitterMs = box.value(jitter)
	rtt := within(s.RoundTripMs, 1, 10_000)
	box.sample.RttMs = box.value(rtt)
	box.sample.ConcealmentPercent = box.value(within(s.ConcealmentPercent, 0, 100))
	mos := within(s.MosCq, 1, 5)
	if mos != mos {
		mos = within(s.MosLq, 1, 5)
	}
	box.sample.Mos = box.value(mos)
	d.sourceSamples[fromHeader]++
	h.emitSample(box)

	if rtt == rtt {
		h.addRTT(rtt, p)
	}
	if mos == mos {
		d.reportedMOS(mos)
	}
	if jitter == jitter && h.settled() && d.jitter.Count() == 0 { // a mean beside single values would distort them
		d.jitter.Add(jitter)
	}
	if loss == loss {
		l := &d.loss[lossHeader]
		l.reports++
		l.lost, l.received, l.discarded = countOf(lost), countOf(received), countOf(min(discarded, received)) // of the whole call: the newest holds
	}
}

// statJitter is the mean jitter in ms; NaN where the unit needs a clock that is
// not known.
func statJitter(s *telemetry.RTPStat, clockRate uint32) float64 {
	switch {
	case s.JitterMs != nil:
		return within(s.JitterMs, 0, quality.MaxJitterMs)
	case s.JitterTimestampUnits != nil && clockRate > 0:
		ms := *s.JitterTimestampUnits * 1000 / float64(clockRate)
		return within(&ms, 0, quality.MaxJitterMs)
	}
	return nan
}

// countOf bounds a count so that sums of a few stay within an int64.
func countOf(v float64) int64 { return int64(min(v, 1<<48)) }

// within is the value where there is one between the bounds, else NaN.
func within(v *float64, low, high float64) float64 {
	if v == nil || !(*v >= low && *v <= high) {
		return nan
	}
	return *v
}
