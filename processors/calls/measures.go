package calls

import (
	"fmt"
	"sort"
	"strings"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// --- delay ---

func (v *verdictOf) delay(out *telemetry.Delay) {
	c := v.c
	r := &c.rtt
	if r.Count() == 0 {
		return
	}
	p95 := r.Quantile(0.95)
	out.Band = v.rules.DelayBand(p95)
	out.RttMs = distribution(r, 1)
	out.Share = map[string]float64{}
	for _, band := range []string{quality.Good, quality.Acceptable, quality.Bad, quality.Unacceptable} {
		out.Share[band] = round(r.Share(func(ms float64) bool { return v.rules.DelayBand(ms) == band }), 4)
	}
	worst := ""
	if differ(r.Max(), r.Quantile(0.5), 20, 0.25) {
		worst = " at " + clock(c.rttMaxUs)
	}
	v.say("rtt", -1, "", c.connectedUs, map[string]float64{
		"min_ms": r.Min(), "p50_ms": r.Quantile(0.5), "p95_ms": p95, "max_ms": r.Max(), "measurements": float64(r.Count()),
	}, "The round trip%s was %.0f ms in the median, %.0f ms at the 95th percentile and %.0f ms at most%s, in %d measurements: %s.",
		v.between(), r.Quantile(0.5), p95, r.Max(), worst, r.Count(), out.Band).until(v.endUs).band(out.Band)
	if a, b := &c.party[0].rtt, &c.party[1].rtt; a.Count() == 0 || b.Count() == 0 || !differ(a.Quantile(0.5), b.Quantile(0.5), 5, 0.1) {
		return // one witness, or both say the same
	}
	for p := range c.party {
		s := &c.party[p].rtt
		v.say("rtt_measured", -1, v.side(p), c.connectedUs, map[string]float64{"p50_ms": s.Quantile(0.5), "p95_ms": s.Quantile(0.95), "measurements": float64(s.Count())},
			"Of it, %s measured %.0f ms in the median and %.0f ms at the 95th percentile.", v.who(p), s.Quantile(0.5), s.Quantile(0.95)).until(v.endUs)
	}
}

// --- jitter ---

// heardJitter is the jitter of a direction by its best witness, and the share of
// the time that was choppy.
func (v *verdictOf) heardJitter(d int) (h *quality.Histogram, share float64, where string, ok bool) {
	x := &v.c.dir[d]
	above := func(ms float64) bool { return ms > v.rules.JitterChoppyMs }
	if at := &x.jitterRTP; x.samples == 0 && at.Count() >= 5 && x.jitter.Count() > 0 && at.Quantile(0.5) > max(x.jitter.Quantile(0.5)+10, 1.5*x.jitter.Quantile(0.5)) {
		// Some receivers leave packets that were overtaken out of their figure: what
		// was uneven at the capture point did not become even after it.
		return at, max(at.Share(above), float64(x.choppy)/float64(max(x.moments, 1))), " at the capture point", true
	}
	switch {
	case x.moments > 0:
		return &x.jitter, float64(x.choppy) / float64(x.moments), "", true
	case x.jitter.Count() > 0: // a phone's own figure of the whole call
		return &x.jitter, x.jitter.Share(above), "", true
	case x.jitterRemote.Count() > 0:
		return &x.jitterRemote, x.jitterRemote.Share(above), "", true
	case x.jitterRTP.Count() > 0:
		return &x.jitterRTP, x.jitterRTP.Share(above), " at the capture point", true
	}
	return nil, 0, "", false
}

func (v *verdictOf) jitter(out *telemetry.Jitter) {
	c := v.c
	var all quality.Histogram
	worstRatio := -1.0
	for d := range c.dir {
		x := &c.dir[d]
		h, share, where, ok := v.heardJitter(d)
		if !ok || v.find[d].dead && x.moments < v.rules.OneWay.MinReports {
			continue // nothing arrived: what did is no measure of it
		}
		all.Merge(h)
		if d == int(c.target) {
			out.TargetToContactMs = distribution(h, 2)
		} else {
			out.ContactToTargetMs = distribution(h, 2)
		}
		band := v.rules.JitterBand(share)
		out.Band = quality.Worst(out.Band, band)
		v.jitterSentence(d, h, share, where, band)
		if x.samples > 0 {
			if concealment := round(100*x.concealed/x.samples, 3); out.ConcealmentPercent == nil || concealment > *out.ConcealmentPercent {
				out.ConcealmentPercent = &concealment
			}
		}
		if x.preferredMs > 0 && x.bufferMs/x.preferredMs > worstRatio {
			worstRatio = x.bufferMs / x.preferredMs
			out.BufferOverPreferredRatio = optional(worstRatio, 3)
			out.BufferMs = optional(x.bufferMs/float64(x.bufferPolls), 1)
			out.BufferPreferredMs = optional(x.preferredMs/float64(x.bufferPolls), 1)
		}
	}
	out.JitterMs = distribution(&all, 2)
}

func (v *verdictOf) jitterSentence(d int, h *quality.Histogram, share float64, where, band string) {
	c := v.c
	x := &c.dir[d]
	values := map[string]float64{"choppy_share": share}
	who, hears, graph := v.who(1-d), v.side(1-d), graphJitter
	if x.samples > 0 {
		who, hears = v.end(1-d), c.side(1-d)
	}
	atUs, untilUs := c.connectedUs, v.endUs
	text := fmt.Sprintf("what %s heard%s was not choppy", who, where)
	if share > 0 {
		text = fmt.Sprintf("what %s heard%s was choppy in %.0f %% of the time", who, where, share*100)
		if x.choppyUs != 0 {
			atUs, untilUs = x.choppyUs, x.choppyLastUs
			text += ", first at " + clock(x.choppyUs)
		}
	}
	if x.moments > 0 {
		values["moments"], values["choppy_moments"] = float64(x.moments), float64(x.choppy)
	}
	if h.Count() > 0 {
		values["jitter_p50_ms"], values["jitter_p95_ms"], values["jitter_max_ms"] = h.Quantile(0.5), h.Quantile(0.95), h.Max()
		values["measurements"] = float64(h.Count())
		text += fmt.Sprintf("; network jitter was %.1f ms in the median, %.1f ms at the 95th percentile", h.Quantile(0.5), h.Quantile(0.95))
	}
	if x.samples > 0 {
		graph = graphBuffer
		concealment := 100 * x.concealed / x.samples
		values["concealment_percent"] = concealment
		values["silent_concealment_percent"] = 100 * x.silentConcealed / x.samples
		values["concealed_samples"], values["total_samples"] = x.concealed, x.samples
		text += fmt.Sprintf("; %.1f %% of the sound was concealed", concealment)
	}
	if x.preferredMs > 0 {
		ratio := x.bufferMs / x.preferredMs
		n := float64(x.bufferPolls)
		values["buffer_over_preferred_ratio"], values["buffer_ms"], values["buffer_preferred_ms"] = ratio, x.bufferMs/n, x.preferredMs/n
		text += fmt.Sprintf("; the jitter buffer was %.0f ms where %.0f ms was preferred", x.bufferMs/n, x.preferredMs/n)
	}
	v.say("jitter", d, hears, atUs, values, "%s: %s.", text, band).until(untilUs).band(band).on(graph)
}

// --- loss ---

// lossFigure is the loss of a direction from one source.
type lossFigure struct {
	known           bool
	from            lossSource
	percent         float64 // with discards
	discarded       int64
	lost, expected  int64
	burst           float64
	burstUs         int64
	beforeMonitor   float64 // loss that RTP headers show up to the capture point
	monitorObserved bool
}

// lossOf gives the loss of a direction from its best source.
func (c *call) lossOf(d int) lossFigure {
	x := &c.dir[d]
	var f lossFigure
	for s := lossSource(0); s < lossSources; s++ {
		if found, ok := c.lossFrom(d, s); ok {
			f = found
			break
		}
	}
	if m := &x.loss[lossMonitor]; m.lost+m.received > 0 {
		f.monitorObserved = true
		f.beforeMonitor = percentOf(m.lost, m.lost+m.received)
	}
	return f
}

// lossFrom gives what one source says of the loss of a direction.
func (c *call) lossFrom(d int, s lossSource) (lossFigure, bool) {
	x := &c.dir[d]
	l := &x.loss[s]
	f := lossFigure{known: true, from: s}
	switch s {
	case lossRTCP:
		return f, c.rtcpLoss(d, &f)
	case lossVQ:
		f.percent, f.burst, f.burstUs = min(l.percent+l.discardPercent, 100), l.burst, l.burstUs
		return f, l.reports > 0
	}
	expected := l.lost + l.received
	if expected <= 0 || l.reports == 0 {
		return lossFigure{}, false
	}
	f.lost, f.expected, f.discarded = max(l.lost, 0), expected, l.discarded
	f.percent = percentOf(l.lost+l.discarded, expected)
	f.burst, f.burstUs = l.burst, l.burstUs
	return f, true
}

func percentOf(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(max(100*float64(part)/float64(whole), 0), 100)
}

// rtcpLoss adds up the streams of one hop; where the call passes several, the
// worst hop counts, for what one hop lost the next cannot have. Discards that
// extended reports tell of count as lost.
func (c *call) rtcpLoss(d int, f *lossFigure) bool {
	x := &c.dir[d]
	type sum struct {
		hop            uint32
		lost, expected int64
	}
	var hops []sum
	add := func(hop uint32, lost, expected int64) {
		for i := range hops {
			if hops[i].hop == hop {
				hops[i].lost += lost
				hops[i].expected += expected
				return
			}
		}
		hops = append(hops, sum{hop, lost, expected})
	}
	for i := range x.streams {
		st := &x.streams[i]
		if st.expected > 0 {
			add(st.hop, st.lost, st.expected)
		}
		if st.burst > f.burst {
			f.burst, f.burstUs = st.burst, st.burstUs
		}
	}
	old := &x.loss[lossRTCP]
	if old.lost+old.received > 0 {
		hop := uint32(0)
		if len(hops) > 0 {
			hop = hops[0].hop
		}
		add(hop, old.lost, old.lost+old.received)
		if old.burst > f.burst {
			f.burst, f.burstUs = old.burst, old.burstUs
		}
	}
	if len(hops) == 0 {
		return false
	}
	sort.SliceStable(hops, func(i, j int) bool {
		return percentOf(hops[i].lost, hops[i].expected) > percentOf(hops[j].lost, hops[j].expected)
	})
	f.lost, f.expected = max(hops[0].lost, 0), hops[0].expected
	f.discarded = min(old.discarded, f.expected-min(f.lost, f.expected))
	if vq := &x.loss[lossVQ]; f.discarded == 0 && vq.reports > 0 {
		f.discarded = int64(vq.discardPercent / 100 * float64(f.expected))
	}
	f.percent = percentOf(f.lost+f.discarded, f.expected)
	return true
}

// burstRatio is BurstR of direction d, and whether it was measured: by the
// receiver, or from RTP headers where the loss had happened by then.
func (v *verdictOf) burstRatio(d int) (float64, bool) {
	x := &v.c.dir[d]
	if x.burstR > 0 {
		return x.burstR, true
	}
	m, f := &x.loss[lossMonitor], v.loss[d]
	if f.known && f.from != lossMonitor && f.beforeMonitor < 0.7*f.percent {
		return 1, false
	}
	if r, ok := quality.BurstRatio(float64(m.lost), float64(m.lost+m.received), float64(m.runs)); ok {
		return r, true
	}
	return 1, false
}

var lossNames = [lossSources]string{
	lossInbound: "the receiver's getStats", lossRTCP: "RTCP reports", lossVQ: "a quality report of the phone",
	lossHeader: "the phone at the end of the call", lossRemote: "the sender's remote statistics", lossMonitor: "RTP at the capture point, that is up to there",
}

func (v *verdictOf) lossVerdict(out *telemetry.Loss) {
	c := v.c
	for d := range c.dir {
		f := v.loss[d]
		if !f.known {
			continue
		}
		if f.from == lossMonitor && v.find[d].dead {
			continue // it got to the capture point and no further
		}
		band := v.rules.LossBand(f.percent)
		out.Band = quality.Worst(out.Band, band)
		ratio, measured := v.burstRatio(d)
		if out.Percent == nil || f.percent > *out.Percent {
			out.Percent, out.BurstRatio = optional(f.percent, 3), nil
			if measured {
				out.BurstRatio = optional(ratio, 2)
			}
		}
		if out.BurstPercent == nil || f.burst > *out.BurstPercent {
			out.BurstPercent = optional(f.burst, 3)
		}
		way := &out.ContactToTargetPercent
		if d == int(c.target) {
			way = &out.TargetToContactPercent
		}
		if *way == nil || f.percent > **way {
			*way = optional(f.percent, 3)
		}
		v.lossSentence(d, f, ratio, measured, band)
	}
}

func (v *verdictOf) lossSentence(d int, f lossFigure, ratio float64, measured bool, band string) {
	values := map[string]float64{"percent": f.percent, "burst_percent": f.burst}
	text := fmt.Sprintf("%.2f %% were lost", f.percent)
	if f.expected > 0 {
		values["packets_lost"], values["packets_expected"] = float64(f.lost), float64(f.expected)
		text = fmt.Sprintf("%d of %d packets (%.2f %%) were lost", f.lost, f.expected, f.percent)
	}
	if f.discarded > 0 {
		values["packets_discarded"] = float64(f.discarded)
		text = fmt.Sprintf("%d of %d packets were lost and %d came too late (%.2f %% together)", f.lost, f.expected, f.discarded, f.percent)
	}
	who, hears := v.who, v.side(1-d)
	if f.from == lossInbound || f.from == lossRemote {
		who, hears = v.end, v.c.side(1-d)
	}
	text = fmt.Sprintf("from %s to %s, %s, by %s", who(d), who(1-d), text, lossNames[f.from])
	if measured && f.percent > 0 {
		values["burst_ratio"] = ratio
		if ratio >= 1.5 {
			text += fmt.Sprintf("; in bursts, the runs %.1f times as long as by chance", ratio)
		}
	}
	atUs, untilUs := v.c.connectedUs, v.endUs
	if f.burst > 0 && f.burstUs != 0 {
		untilUs = 0
		atUs = f.burstUs
		text += fmt.Sprintf("; the worst interval lost %.1f %% at %s", f.burst, clock(f.burstUs))
	}
	if f.from != lossMonitor && f.monitorObserved && f.percent > 0 {
		values["percent_before_monitor"] = f.beforeMonitor
		text += fmt.Sprintf("; up to the capture point it was %.2f %%", f.beforeMonitor)
	}
	v.say("loss", d, hears, atUs, values, "%s: %s.", text, band).band(band).until(untilUs)
}

// --- MOS ---

// mos scores the worse direction of the whole call by the E-model, from the
// totals of the call: what is shown as inputs gives what is shown as score. The
// round trip is that of the whole way, partial where a part of it is not known.
func (v *verdictOf) mos(delay *telemetry.Delay, partial bool) *telemetry.MOS {
	var worst *telemetry.MOS
	var told func(*telemetry.MOS)
	reason := ""
	for _, part := range v.all() {
		for d := range part.c.dir {
			m, say, why := part.mosOf(d, delay, partial)
			if why != "" {
				reason = why
			}
			if m != nil && (worst == nil || m.Avg < worst.Avg) {
				worst, told = m, say
			}
		}
	}
	if worst != nil {
		told(worst)
		return worst
	}
	if reason != "" {
		v.say("no_mos", -1, "", v.c.connectedUs, nil, "There is no MOS: %s.", reason)
	}
	return nil
}

// mosOf scores direction d of this part. Where there is no score it says why not,
// if anything was heard in it at all.
func (v *verdictOf) mosOf(d int, delay *telemetry.Delay, partial bool) (*telemetry.MOS, func(*telemetry.MOS), string) {
	c := v.c
	x := &c.dir[d]
	f := v.loss[d]
	if x.mosReported && x.mosN > 0 {
		out, say := v.reportedMOS(d)
		return out, say, ""
	}
	if x.moments == 0 && x.jitterRemote.Count() == 0 || !f.known || f.from == lossMonitor {
		return nil, nil, ""
	}
	codec := x.mosCodec
	if codec == "" {
		codec = c.codecName
	}
	equipment, known := quality.EquipmentOf(codec)
	switch {
	case codec == "":
		return nil, nil, "the codec is not known"
	case !known:
		return nil, nil, "ITU-T G.113 gives no values for the codec " + codec
	case delay.RttMs == nil:
		return nil, nil, "the round trip was not measured"
	case partial:
		return nil, nil, "the round trip was not measured on all parts of the way"
	case x.mosN == 0:
		return nil, nil, ""
	}
	n := float64(x.mosN)
	ratio, measured := v.burstRatio(d)
	s, ok := quality.MOS(quality.MOSInput{
		Codec: codec, RTTMs: delay.RttMs.P50, JitterBufferMs: round(x.mosBuffer/n, 1), LossPercent: round(f.percent, 3),
		BurstR: round(ratio, 2), PacketisationMs: c.packetMs(x),
	})
	if !ok {
		return nil, nil, ""
	}
	out := &telemetry.MOS{
		Avg: round(s.MOS, 2), Min: round(min(s.MOS, x.mosMin), 2), Model: equipment.Model, Estimated: equipment.Estimated,
		Codec: equipment.Name, Direction: c.directionName(d),
		Inputs: map[string]float64{
			"scores": n, "ie": equipment.Ie, "bpl": equipment.Bpl, "ie_eff": round(s.IeEff, 2), "r": round(s.R, 1),
			"rtt_ms": delay.RttMs.P50, "jitter_buffer_ms": round(x.mosBuffer/n, 1), "packetisation_ms": s.PacketisationMs,
			"look_ahead_ms": equipment.LookAheadMs, "one_way_delay_ms": round(s.OneWayMs, 1),
			"loss_percent": round(f.percent, 3), "burst_r": s.BurstR,
		},
	}
	var notes []string
	if x.mosAssumed {
		out.Inputs["jitter_buffer_assumed"] = 1
		notes = append(notes, "the jitter buffer was not reported and is taken as twice the jitter")
	}
	if !measured && f.percent > 0 {
		out.Inputs["burst_r_assumed"] = 1
		notes = append(notes, "the losses are taken as random, their runs were not measured")
	}
	if equipment.Note != "" {
		notes = append(notes, equipment.Note)
	}
	return out, func(m *telemetry.MOS) {
		note := ""
		if len(notes) > 0 {
			note = "; " + strings.Join(notes, "; ")
		}
		v.say("mos", d, v.side(1-d), c.connectedUs, map[string]float64{"avg": m.Avg, "min": m.Min, "r": m.Inputs["r"]},
			"MOS by %s of what %s heard (%s) is %.2f over the call and %.2f in the worst interval: R %.0f, from %.0f ms of one-way delay and %.2f %% of loss%s.",
			m.Model, v.who(1-d), m.Codec, m.Avg, m.Min, m.Inputs["r"], s.OneWayMs, f.percent, note).until(v.endUs).band(mosBand(m.Avg))
	}, ""
}

// reportedMOS is the score that the endpoint computed itself.
func (v *verdictOf) reportedMOS(d int) (*telemetry.MOS, func(*telemetry.MOS)) {
	c := v.c
	x := &c.dir[d]
	out := &telemetry.MOS{
		Min: round(x.mosMin, 2), Avg: round(x.mosSum/float64(x.mosN), 2), Model: "reported",
		Inputs: map[string]float64{"scores": float64(x.mosN)}, Codec: c.codecName, Direction: c.directionName(d),
	}
	return out, func(m *telemetry.MOS) {
		v.say("mos", d, v.side(1-d), c.connectedUs, map[string]float64{"avg": m.Avg, "min": m.Min},
			"%s's own score of what it heard was %.2f in the mean.", v.who(1-d), m.Avg).until(v.endUs)
	}
}

// mosBand orders the sentence among the others; the score makes no band of the call.
func mosBand(mos float64) string {
	switch {
	case mos >= 4:
		return quality.Good
	case mos >= 3.6:
		return quality.Acceptable
	case mos >= 3.1:
		return quality.Bad
	}
	return quality.Unacceptable
}
