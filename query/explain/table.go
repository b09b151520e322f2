package explain

import (
	"fmt"
	"strconv"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// way is how one kind of witness measures a quantity.
type way struct {
	formula  string
	standard string
	clocked  bool // RTP timestamps and their clock rate are involved
}

// quantity is how each kind of witness measures it; kinds that cannot are absent.
type quantity map[string]way

const (
	w3c     = "W3C webrtc-stats"
	rfc3550 = "RFC 3550 §6.4.1"
	rfc3611 = "RFC 3611 §4.7"
	rfc6035 = "RFC 6035 §4.6.2"
	g107    = "ITU-T G.107, G.107.1, G.107.2"
	headers = "P-RTP-Stat, X-RTP-Stat"
)

var (
	roundTrip = quantity{
		"rtcp": {formula: "At a party: A − LSR − DLSR in 1/65536 s, where A is the arrival of the report. At a capture point between the parties: for each leg the time from a sender report to the receiver report that answers it, less DLSR; the two legs are added. No LSR or DLSR: no number.",
			standard: rfc3550},
		"webrtc":    {formula: "remote-inbound-rtp.roundTripTime · 1000, where it was measured; else currentRoundTripTime · 1000 of the selected candidate pair.", standard: w3c + " RTCRemoteInboundRtpStreamStats, RTCIceCandidatePairStats"},
		"rtcp_xr":   {formula: "Mean round trip of the delay metrics block (RFC 6843), else that of the VoIP metrics block, as the phone measured it; 0 is unmeasured.", standard: rfc3611},
		"vq_rtcpxr": {formula: "RTD of the phone's quality report, as the phone measured it.", standard: rfc6035},
		"sip":       {formula: "Round trip of the statistics header that the phone sent at the end of the call.", standard: headers},
	}
	jitter = quantity{
		"rtcp":      {formula: "Interarrival jitter of the report block · 1000 / clock rate. The receiver runs J += (|D| − J) / 16 over the packets' spacing. Clock rate unknown: no number.", standard: rfc3550 + ", A.8", clocked: true},
		"rtp":       {formula: "The same estimator, J += (|D| − J) / 16, over the packets that passed the capture point, · 1000 / clock rate. Used only where no receiver reports.", standard: "RFC 3550 A.8", clocked: true},
		"webrtc":    {formula: "inbound-rtp.jitter · 1000: the browser's own estimate, already in seconds. Polls with silence suppression are left out.", standard: w3c + " RTCReceivedRtpStreamStats; RFC 3550 A.8"},
		"rtcp_xr":   {formula: "Mean jitter of the statistics summary · 1000 / clock rate, or the packet delay variation that the phone reports.", standard: "RFC 3611 §4.6", clocked: true},
		"vq_rtcpxr": {formula: "IAJ of the phone's quality report.", standard: rfc6035},
		"sip":       {formula: "Jitter of the statistics header that the phone sent at the end of the call: a mean.", standard: headers, clocked: true},
	}
	loss = quantity{
		"rtcp":      {formula: "100 · Δ cumulative lost / Δ extended highest sequence number between report blocks; cumulative lost is signed, 24 bits.", standard: rfc3550 + ", A.3"},
		"webrtc":    {formula: "100 · (ΔpacketsLost + ΔpacketsDiscarded) / (ΔpacketsLost + ΔpacketsReceived) between polls.", standard: w3c + " RTCReceivedRtpStreamStats, RTCInboundRtpStreamStats"},
		"rtp":       {formula: "100 · gaps in the sequence numbers / packets expected, up to the capture point and no further.", standard: "RFC 3550 A.3"},
		"rtcp_xr":   {formula: "100 · (loss rate + discard rate) / 256, of the whole reception.", standard: rfc3611 + ".1"},
		"vq_rtcpxr": {formula: "NLR + JDR of the phone's quality report.", standard: rfc6035},
		"sip":       {formula: "100 · (lost + discarded) / (lost + received) of the statistics header that the phone sent at the end of the call.", standard: headers},
	}
	buffer = quantity{
		"webrtc":    {formula: "1000 · ΔjitterBufferDelay / ΔjitterBufferEmittedCount between polls: how long a sample waited; googJitterBufferMs of older browsers.", standard: w3c + " RTCInboundRtpStreamStats"},
		"rtcp_xr":   {formula: "Jitter buffer nominal delay, as the phone reports it.", standard: rfc3611 + ".7"},
		"vq_rtcpxr": {formula: "JBN of the phone's quality report.", standard: rfc6035},
	}
	preferred = quantity{
		"webrtc": {formula: "1000 · ΔjitterBufferTargetDelay / ΔjitterBufferEmittedCount between polls: what the buffer wanted to be; googPreferredJitterBufferMs of older browsers.", standard: w3c + " RTCInboundRtpStreamStats"},
	}
	concealment = quantity{
		"webrtc": {formula: "100 · ΔconcealedSamples / ΔtotalSamplesReceived between polls.", standard: w3c + " RTCInboundRtpStreamStats"},
		"sip":    {formula: "Share of concealed sound of the statistics header that the phone sent at the end of the call.", standard: headers},
	}
	silent = quantity{
		"webrtc": {formula: "100 · ΔsilentConcealedSamples / ΔtotalSamplesReceived between polls: the part of concealment that was filled with silence.", standard: w3c + " RTCInboundRtpStreamStats"},
	}
	level = quantity{
		"webrtc": {formula: "√(ΔtotalAudioEnergy / ΔtotalSamplesDuration) between polls: of media-source for the microphone, of inbound-rtp for what is heard; levels of older browsers / 32767.", standard: w3c + " RTCAudioSourceStats, RTCInboundRtpStreamStats"},
	}
	received = quantity{
		"webrtc":  {formula: "ΔpacketsReceived between polls.", standard: w3c + " RTCReceivedRtpStreamStats"},
		"rtcp":    {formula: "Δ extended highest sequence number − Δ cumulative lost.", standard: rfc3550},
		"rtp":     {formula: "Packets that passed the capture point.", standard: "RFC 3550 §5.1"},
		"rtcp_xr": {formula: "Expected packets less lost ones of the statistics summary.", standard: "RFC 3611 §4.6"},
		"sip":     {formula: "Packets received by the statistics header, of the whole call.", standard: headers},
	}
	lost = quantity{
		"webrtc":  {formula: "ΔpacketsLost between polls; may be negative where late packets arrive after all.", standard: w3c + " RTCReceivedRtpStreamStats"},
		"rtcp":    {formula: "Δ cumulative lost, signed: late packets and duplicates make it fall.", standard: rfc3550},
		"rtp":     {formula: "Gaps in the sequence numbers at the capture point.", standard: "RFC 3550 A.3"},
		"rtcp_xr": {formula: "Lost packets of the statistics summary.", standard: "RFC 3611 §4.6"},
		"sip":     {formula: "Packets lost by the statistics header, of the whole call.", standard: headers},
	}
	discarded = quantity{
		"webrtc":  {formula: "ΔpacketsDiscarded between polls: arrived, but too late or too early to be played.", standard: w3c + " RTCInboundRtpStreamStats"},
		"rtcp_xr": {formula: "Discarded packets, as the phone reports them.", standard: "RFC 7002"},
		"sip":     {formula: "Discarded packets by the statistics header, of the whole call.", standard: headers},
	}
	score = quantity{
		"webrtc":    {formula: eModel, standard: g107},
		"rtcp":      {formula: eModel + " The jitter buffer is that of extended reports, else taken as twice the jitter, at least 20 ms.", standard: g107},
		"rtcp_xr":   {formula: "The phone's own MOS-CQ / 10 of the VoIP metrics block, else the MOS of RFC 7266.", standard: rfc3611 + ".5"},
		"vq_rtcpxr": {formula: "MOSCQ, else MOSLQ, of the phone's quality report.", standard: rfc6035},
		"sip":       {formula: "The phone's own score in the statistics header.", standard: headers},
	}
	// heard is how it is known whether audio of a direction arrives.
	heard = quantity{
		"webrtc": {formula: "Packets received between polls, against packets sent and levels of the microphone at the other end.", standard: w3c},
		"rtcp":   {formula: "Packets counted by sender reports against the highest sequence number of the receiver's report blocks. Fraction lost is not looked at: after a blackout it stays 0.", standard: rfc3550},
		"rtp":    {formula: "Packets that passed the capture point.", standard: "RFC 3550 §5.1"},
		"sip":    {formula: "Packets sent and received that the phones told at the end of the call.", standard: headers},
	}
)

const eModel = "R = Ro − Is − Id − Ie,eff + A with the model's default values. Ie,eff = Ie + (95 − Ie) · Ppl / (Ppl / BurstR + Bpl), with 132 for 95 in fullband. Id from the one-way delay: RTT / 2 + jitter buffer + packetisation + look-ahead. Wideband R / 1.29, fullband R / 1.48. MOS = 1 + 0.035 R + 7·10⁻⁶ R (R − 60) (100 − R), held within 1 and 4.5."

// Formulas of statistics over a call.
const (
	ofAll    = "of all measurements of the call after the settling time, from a histogram with buckets of 0.1 ms or 1/128 of the value"
	smallest = "The smallest " + ofAll + "."
	median   = "The median (50th percentile) " + ofAll + "."
	p95      = "The value that 95 % of the measurements do not exceed (95th percentile) " + ofAll + "."
	largest  = "The largest " + ofAll + "."
	asStated = "As the rules state it."
	perCall  = "Counted by Earshot."
)

func number(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

func delayRules(t *query.Thresholds) string {
	return fmt.Sprintf("95th percentile below %s ms good, below %s ms acceptable, up to %s ms bad, above it unacceptable; the first %s s after the answer are left out.",
		number(t.DelayGoodMs), number(t.DelayAcceptableMs), number(t.DelayBadMs), number(t.SettleS))
}

func jitterRules(t *query.Thresholds) string {
	return fmt.Sprintf("A moment is choppy with network jitter above %s ms, with %s %% concealed, or with %s %% concealed while the jitter buffer is above %s × the preferred. Choppy in less than %s %% of the moments good, %s %% acceptable, %s %% bad, else unacceptable.",
		number(t.JitterChoppyMs), number(t.ConcealmentChoppyPercent), number(t.ConcealmentBufferPercent), number(t.BufferOverPreferredRatio),
		number(t.ChoppyShareGood*100), number(t.ChoppyShareAcceptable*100), number(t.ChoppyShareBad*100))
}

func lossRules(t *query.Thresholds) string {
	return fmt.Sprintf("The worse direction: below %s %% good, below %s %% acceptable, below %s %% bad, else unacceptable; discarded packets count.",
		number(t.LossGoodPercent), number(t.LossAcceptablePercent), number(t.LossBadPercent))
}

func oneWayRules(t *query.Thresholds) string {
	return fmt.Sprintf("Dead for at least %s s, after %s s of grace from the answer or the end of a hold; %d reports in a row and %d packets sent where RTCP shows it. Confirmed from a confidence of %s, suspected from %s.",
		number(t.OneWayDeadS), number(t.OneWayGraceS), t.OneWayMinReports, t.OneWayMinPacketsSent, number(t.OneWayConfirmed), number(t.OneWaySuspected))
}

func delayBand(v *query.Verdict) string  { return v.Delay.Band }
func jitterBand(v *query.Verdict) string { return v.Jitter.Band }
func lossBand(v *query.Verdict) string   { return v.Loss.Band }
func oneWayBand(v *query.Verdict) string { return v.OneWayAudio.State }

var (
	rttKinds   = []string{"rtt", "rtt_sum", "rtt_partial"}
	rttInputs  = []string{"measurements", "min_ms", "p50_ms", "p95_ms", "max_ms"}
	lossInputs = []string{"packets_lost", "packets_discarded", "packets_expected", "percent"}
	deadKinds  = []string{"never_received", "stopped", "not_received", "not_sent", "nothing_sent", "not_acknowledged", "lost_before", "healed", "contradiction"}
)

// confidenceFormula says where confidences of one-way audio come from.
var confidenceFormula = fmt.Sprintf("The confidence of the strongest witness of that direction: the sender's microphone has sound and the receiver gets no packets %g; RTCP shows it %g, and of a time that had ended after one report that shows it %g; the receiver's getStats show it %g; the sender counts packets and none passes the capture point %g; the phones' own counts %g; only the sender's getStats show it %g; the receiver has no stream %g; nothing at all comes from the sender %g. A witness who contradicts multiplies it by %g. None dead and both seen alive: %g.",
	telemetry.ConfidenceBothSides, telemetry.ConfidenceReports, telemetry.ConfidenceGap, telemetry.ConfidenceReceiver, telemetry.ConfidenceMonitor, telemetry.ConfidenceHeaders, telemetry.ConfidenceRemote,
	telemetry.ConfidenceNoStream, telemetry.ConfidenceSilent, telemetry.Contradicted, telemetry.ConfidenceAlive)

// faultFormula says where the confidence of the side at fault comes from.
var faultFormula = fmt.Sprintf("%g where servers split the way, the parts were measured and one has %g %% or more of the loss or the delay; %g where a capture point splits the way so; %g where both ends are sound and the way was not split. Of one-way audio: %g or %g times the confidence that the direction was dead; where nothing at all came from a party, that confidence.",
	telemetry.FaultMeasured, 100*telemetry.FaultShare, telemetry.FaultSplit, telemetry.FaultUnsplit, telemetry.FaultSplit, telemetry.FaultUnsplit)

// table explains the numbers of a call. Keys are paths in its JSON with [] for
// the places of a list.
var table = map[string]entry{
	"baselines[].calls": {name: "Calls before", formula: "Calls of the group that began in the 28 days before this one, the newest 500."},
	"duration_ms":       {name: "Duration", unit: "ms", formula: "ended_at − connected_at: from the answer (200 of the INVITE, or the platform's event) to the end; 0 where the call was never answered."},

	"end.sip_status":                 {name: "Final SIP status", formula: "The status with which the call ended.", standard: "RFC 3261 §21"},
	"legs[].clock_rate":              {name: "Clock rate", unit: "Hz", formula: "Of SDP's a=rtpmap, else of the static payload type (G.722: 8000), or of the codec in getStats.", standard: "RFC 8866 §6.6; RFC 3551 §6; RFC 7587"},
	"legs[].link_confidence":         {name: "Confidence of the link", formula: linkFormula},
	"linked_calls[].link_confidence": {name: "Confidence of the link", formula: linkFormula},
	"rejections[].sip_status":        {name: "SIP status", formula: "The final status of the refused leg; 0 where a platform's event told it.", standard: "RFC 3261 §21"},
	"ratings[].rating":               {name: "Rating", formula: "What the user gave, 1 to 5."},

	"verdict.version":           {name: "Version of the verdict", formula: "Counts up each time the verdict was made anew: while the call runs at most every 5 s, at its end, and when a report came late."},
	"verdict.sources[].samples": {name: "Samples", formula: "Reports or polls of this witness that were used."},
	"verdict.fault_confidence":  {name: "Confidence of the side at fault", formula: faultFormula, kinds: []string{"fault", "segment"}},

	"verdict.delay.rtt_ms.min": delay("Round trip, lowest", smallest),
	"verdict.delay.rtt_ms.p50": delay("Round trip, median", median),
	"verdict.delay.rtt_ms.p95": delay("Round trip, 95th percentile", p95),
	"verdict.delay.rtt_ms.max": delay("Round trip, highest", largest),

	"verdict.delay.share.good":         share("good"),
	"verdict.delay.share.acceptable":   share("acceptable"),
	"verdict.delay.share.bad":          share("bad"),
	"verdict.delay.share.unacceptable": share("unacceptable"),

	"verdict.jitter.buffer_over_preferred_ratio": {name: "Jitter buffer over the preferred", unit: "×", quantity: buffer, kinds: []string{"jitter"},
		formula: "Σ current jitter buffer / Σ preferred jitter buffer over the polls, of the direction where it is worse. Below 1 is normal.",
		inputs:  []string{"buffer_ms", "buffer_preferred_ms", "buffer_over_preferred_ratio"}, rules: jitterRules, band: jitterBand, more: bufferInputs},
	"verdict.jitter.concealment_percent": {name: "Concealed sound", unit: "%", quantity: concealment, kinds: []string{"jitter"},
		formula: "100 · Σ concealed samples / Σ samples played over the call, of the direction where it is worse.",
		inputs:  []string{"concealed_samples", "total_samples", "concealment_percent", "silent_concealment_percent"}, rules: jitterRules, band: jitterBand},
	"verdict.jitter.buffer_ms": {name: "Jitter buffer", unit: "ms", quantity: buffer, kinds: []string{"jitter"},
		formula: "Mean over the polls of how long a sample waited in the jitter buffer, of the direction with the worse ratio.", rules: jitterRules, band: jitterBand},
	"verdict.jitter.buffer_preferred_ms": {name: "Preferred jitter buffer", unit: "ms", quantity: preferred, kinds: []string{"jitter"},
		formula: "Mean over the polls of what the jitter buffer wanted to be, of the direction with the worse ratio.", rules: jitterRules, band: jitterBand},

	"verdict.loss.percent": {name: "Packet loss, worse direction", unit: "%", quantity: loss, kinds: []string{"loss"}, inputs: lossInputs,
		formula: "100 · (lost + discarded) / expected packets over the call, of the direction where it is worse. Of several witnesses the receiver's own comes first; of several hops the worst.", rules: lossRules, band: lossBand},
	"verdict.loss.burst_percent": {name: "Loss of the worst interval", unit: "%", quantity: loss, kinds: []string{"loss"}, inputs: []string{"burst_percent"},
		formula: "The highest loss of one reporting interval (RTCP report, poll), or the burst loss that the phone reports itself."},
	"verdict.loss.burst_ratio": {name: "Burst ratio (BurstR)", quantity: loss, kinds: []string{"loss"}, inputs: []string{"burst_ratio", "packets_lost", "packets_expected"},
		formula: "Mean length of the runs of lost packets / the mean length that loss at random of the same rate would have, in the worse direction; 1 is random loss.", standard: "ITU-T G.107 §7.5"},
	"verdict.loss.target_to_contact_percent": {name: "Packet loss, target to contact", unit: "%", quantity: loss, direction: "target_to_contact", kinds: []string{"loss"}, inputs: lossInputs,
		formula: "100 · (lost + discarded) / expected packets that the target sent and the contact should have received.", rules: lossRules, band: lossBand},
	"verdict.loss.contact_to_target_percent": {name: "Packet loss, contact to target", unit: "%", quantity: loss, direction: "contact_to_target", kinds: []string{"loss"}, inputs: lossInputs,
		formula: "100 · (lost + discarded) / expected packets that the contact sent and the target should have received.", rules: lossRules, band: lossBand},

	"verdict.one_way_audio.confidence": {name: "Confidence of the judgement on one-way audio", quantity: heard, kinds: append([]string{"audio_both_ways"}, deadKinds...), formula: confidenceFormula,
		inputs: []string{"confidence", "dead_s", "packets_sent", "packets_at_monitor", "observations"}, rules: oneWayRules, band: oneWayBand, more: ofDeadDirection},
	"verdict.one_way_audio.since": {name: "Since when", quantity: heard, kinds: deadKinds, formula: "The first second in which nothing of that direction arrived: the last packet, report or poll that showed audio.",
		rules: oneWayRules, band: oneWayBand, more: ofDeadDirection},
	"verdict.one_way_audio.until": {name: "Until when", quantity: heard, kinds: deadKinds, formula: "When audio was seen to arrive again, else the end of the call or the last report.",
		rules: oneWayRules, band: oneWayBand, more: ofDeadDirection},
	"verdict.one_way_audio.spans[].confidence": {name: "Confidence that this time was dead", quantity: heard, kinds: deadKinds, formula: confidenceFormula, rules: oneWayRules, more: ofSpan},

	"verdict.mos.avg": {name: "MOS over the call", quantity: score, kinds: []string{"mos"}, formula: "From the totals of the call, in the direction that sounds worse. " + eModel, more: mosInputs},
	"verdict.mos.min": {name: "MOS of the worst interval", quantity: score, kinds: []string{"mos"}, formula: "The lowest score of one report or poll, in the direction that sounds worse. " + eModel, more: mosInputs},

	"verdict.segments[].rtt_ms.min":                     segment("Round trip of this part, lowest", "ms", smallest, roundTrip),
	"verdict.segments[].rtt_ms.p50":                     segment("Round trip of this part, median", "ms", median, roundTrip),
	"verdict.segments[].rtt_ms.p95":                     segment("Round trip of this part, 95th percentile", "ms", p95, roundTrip),
	"verdict.segments[].rtt_ms.max":                     segment("Round trip of this part, highest", "ms", largest, roundTrip),
	"verdict.segments[].target_to_contact_jitter_ms":    segment("Jitter at the end of this part, target to contact", "ms", p95, jitter),
	"verdict.segments[].contact_to_target_jitter_ms":    segment("Jitter at the end of this part, contact to target", "ms", p95, jitter),
	"verdict.segments[].target_to_contact_loss_percent": segment("Loss on this part, target to contact", "%", lossOfPart, loss),
	"verdict.segments[].contact_to_target_loss_percent": segment("Loss on this part, contact to target", "%", lossOfPart, loss),
}

const (
	linkFormula = "How sure it is that this dialog belongs to the call: 1 where the platform said so or both carry the same id, less where it follows from numbers and times."
	lossOfPart  = "100 · packets lost on this part / packets that entered it."
)

func delay(name, formula string) entry {
	return entry{name: name, unit: "ms", formula: formula + " Where the call passes a server that ends RTCP, the parts are added.", quantity: roundTrip, kinds: rttKinds, inputs: rttInputs, rules: delayRules, band: delayBand}
}

func share(band string) entry {
	return entry{name: "Share of time with " + band + " delay", formula: "Measurements in this band / all measurements, 0–1.", quantity: roundTrip, kinds: rttKinds, inputs: []string{"measurements"}, rules: delayRules, band: func(*query.Verdict) string { return band }}
}

func segment(name, unit, formula string, q quantity) entry {
	return entry{name: name, unit: unit, formula: formula + " The way is split where it was seen: at a capture point between the parties, or at a server that ends RTP.", quantity: q, more: ofSegment}
}

// distributions of jitter, which stand in three places.
func init() {
	for member, d := range map[string]struct{ name, direction string }{
		"jitter_ms":            {"Network jitter", ""},
		"target_to_contact_ms": {"Network jitter, target to contact", "target_to_contact"},
		"contact_to_target_ms": {"Network jitter, contact to target", "contact_to_target"},
	} {
		for figure, f := range map[string]struct{ name, formula string }{
			"min": {"lowest", smallest}, "p50": {"median", median}, "p95": {"95th percentile", p95}, "max": {"highest", largest},
		} {
			e := entry{name: d.name + ", " + f.name, unit: "ms", formula: f.formula, quantity: jitter, direction: d.direction, kinds: []string{"jitter"},
				inputs: []string{"measurements", "moments", "choppy_moments", "choppy_share", "jitter_p50_ms", "jitter_p95_ms", "jitter_max_ms"}, rules: jitterRules, band: jitterBand}
			if d.direction == "" {
				e.formula += " Both directions together."
			}
			table["verdict.jitter."+member+"."+figure] = e
		}
	}
	for name, e := range values {
		e.more = ofEvidence
		table["verdict.evidence[].values."+name] = e
	}
	for metric, m := range map[string]struct{ name, unit string }{
		"rtt_ms": {"Median round trip", "ms"}, "rtt_p95_ms": {"95th percentile of the round trip", "ms"}, "jitter_ms": {"95th percentile of jitter", "ms"},
		"loss_percent": {"Loss", "%"}, "mos": {"MOS", ""},
	} {
		for figure, e := range usualFigures {
			e.name = m.name + ", " + e.name
			if e.unit == "as measured" {
				e.unit = m.unit
			}
			if metric == "mos" && figure == "p90" {
				e.formula = "The 10th percentile of the MOS of those calls: of MOS low is bad."
			}
			table["baselines[]."+metric+"."+figure] = e
		}
	}
	for name, figure := range map[string]string{"usual": "p50", "usual_p90": "p90", "calls": "calls", "this": "this", "ratio": "ratio", "recent": "recent_p50", "recent_calls": "recent_calls"} {
		e := usualFigures[figure]
		if e.unit == "as measured" {
			e.unit = ""
		}
		table["baseline_sentences[].values."+name] = e
	}
	for name, e := range mosFigures {
		e.more = ofMOS
		table["verdict.mos.inputs."+name] = e
	}
	for name, text := range thresholdTexts {
		e := entry{name: text, formula: asStated, more: ofRules, unit: unitOf(name)}
		table["verdict.thresholds."+name] = e
	}
}

// values are those of evidence, by name.
var values = map[string]entry{
	"min_ms":                      {name: "Lowest", unit: "ms", formula: smallest, quantity: roundTrip},
	"p50_ms":                      {name: "Median", unit: "ms", formula: median, quantity: roundTrip},
	"p95_ms":                      {name: "95th percentile", unit: "ms", formula: p95, quantity: roundTrip},
	"max_ms":                      {name: "Highest", unit: "ms", formula: largest, quantity: roundTrip},
	"measurements":                {name: "Measurements", formula: "How many values were measured after the settling time."},
	"choppy_share":                {name: "Share of choppy moments", formula: "Choppy moments / moments, 0–1; one moment per report or poll with packets.", quantity: jitter, rules: jitterRules},
	"moments":                     {name: "Moments", formula: "Reports or polls with packets, after the settling time."},
	"choppy_moments":              {name: "Choppy moments", formula: "Moments that were choppy.", rules: jitterRules},
	"jitter_p50_ms":               {name: "Network jitter, median", unit: "ms", formula: median, quantity: jitter},
	"jitter_p95_ms":               {name: "Network jitter, 95th percentile", unit: "ms", formula: p95, quantity: jitter},
	"jitter_max_ms":               {name: "Network jitter, highest", unit: "ms", formula: largest, quantity: jitter},
	"concealment_percent":         {name: "Concealed sound", unit: "%", formula: "100 · Σ concealed samples / Σ samples played.", quantity: concealment, rules: jitterRules},
	"silent_concealment_percent":  {name: "Concealed with silence", unit: "%", formula: "100 · Σ samples concealed with silence / Σ samples played.", quantity: silent},
	"concealed_samples":           {name: "Concealed samples", formula: "Σ ΔconcealedSamples.", quantity: concealment},
	"total_samples":               {name: "Samples played", formula: "Σ ΔtotalSamplesReceived.", quantity: concealment},
	"buffer_over_preferred_ratio": {name: "Jitter buffer over the preferred", unit: "×", formula: "Σ current / Σ preferred jitter buffer over the polls.", quantity: buffer, rules: jitterRules},
	"buffer_ms":                   {name: "Jitter buffer", unit: "ms", formula: "Mean over the polls.", quantity: buffer},
	"buffer_preferred_ms":         {name: "Preferred jitter buffer", unit: "ms", formula: "Mean over the polls.", quantity: preferred},
	"percent":                     {name: "Packet loss", unit: "%", formula: "100 · (lost + discarded) / expected packets.", quantity: loss, rules: lossRules},
	"burst_percent":               {name: "Loss of the worst interval", unit: "%", formula: "The highest loss of one reporting interval.", quantity: loss},
	"burst_ratio":                 {name: "Burst ratio (BurstR)", formula: "Mean length of the runs of lost packets / that of loss at random of the same rate.", standard: "ITU-T G.107 §7.5"},
	"packets_lost":                {name: "Packets lost", formula: "Over the call, never below 0.", quantity: lost},
	"packets_discarded":           {name: "Packets discarded", formula: "Arrived, but too late or too early to be played; over the call.", quantity: discarded},
	"packets_expected":            {name: "Packets expected", formula: "Received + lost, over the call.", quantity: received},
	"percent_before_monitor":      {name: "Loss up to the capture point", unit: "%", formula: "100 · gaps in the sequence numbers at the capture point / packets expected there.", standard: "RFC 3550 A.3"},
	"packets_sent":                {name: "Packets sent meanwhile", formula: "What the sender counted in that time.", quantity: heard},
	"packets_received":            {name: "Packets received", formula: "What the receiver counted in that time.", quantity: heard},
	"packets_at_monitor":          {name: "Packets at the capture point", formula: "RTP of that direction that passed the capture point.", standard: "RFC 3550 §5.1"},
	"confidence":                  {name: "Confidence", formula: confidenceFormula, quantity: heard, rules: oneWayRules},
	"dead_s":                      {name: "Length", unit: "s", formula: "From the first to the last second in which nothing arrived.", quantity: heard, rules: oneWayRules},
	"silent_s":                    {name: "Length", unit: "s", formula: "How long packets flowed and carried silence (level below the silent level while the other side talked).", quantity: level},
	"talked_s":                    {name: "Length of the talk", unit: "s", formula: "From the answer to the end."},
	"quiet_s":                     {name: "Length", unit: "s", formula: "How long the receiver got no packet while the sender itself counts none sent.", quantity: heard},
	"held_s":                      {name: "Length", unit: "s", formula: "From the re-INVITE or UPDATE that holds to the one that resumes.", standard: "RFC 3264 §8.4"},
	"observations":                {name: "Observations", formula: "How often this witness saw audio arrive."},
	"reports":                     {name: "Reports", formula: "Reports in a row that agree."},
	"avg":                         {name: "MOS over the call", formula: eModel, quantity: score},
	"min":                         {name: "MOS of the worst interval", formula: eModel, quantity: score},
	"r":                           {name: "Transmission rating R", formula: eModel, standard: g107},
	"confidence_alone":            {name: "Confidence without the contradiction", formula: confidenceFormula, quantity: heard},
	"percent_other":               {name: "Packet loss by the other witness", unit: "%", formula: "100 · (lost + discarded) / expected packets, by the witness that the verdict does not follow.", quantity: loss},
	"jitter_p50_ms_other":         {name: "Network jitter by the other witness, median", unit: "ms", formula: median, quantity: jitter},
	"rtt_p50_ms":                  {name: "Round trip by one witness, median", unit: "ms", formula: median, quantity: roundTrip},
	"rtt_p50_ms_other":            {name: "Round trip by the other witness, median", unit: "ms", formula: median, quantity: roundTrip},
	"late_s":                      {name: "How late", unit: "s", formula: "From the final verdict to the last report that changed it."},
	"share":                       {name: "Share with silence suppression", formula: "Reports or polls with so few packets as silence suppression sends / all whose rate is known, 0–1.", quantity: received},
	"polls":                       {name: "Polls", formula: "Polls in which the app told the level of its microphone.", quantity: level},
	"polls_silent":                {name: "Silent polls", formula: "Polls in which the microphone's level was below the silent level.", quantity: level},
	"target_to_contact_percent":   {name: "Loss on this part, target to contact", unit: "%", formula: lossOfPart, quantity: loss, rules: lossRules},
	"contact_to_target_percent":   {name: "Loss on this part, contact to target", unit: "%", formula: lossOfPart, quantity: loss, rules: lossRules},
	"target_to_contact_jitter_ms": {name: "Jitter at the end of this part, target to contact", unit: "ms", formula: p95, quantity: jitter},
	"contact_to_target_jitter_ms": {name: "Jitter at the end of this part, contact to target", unit: "ms", formula: p95, quantity: jitter},
}

// usualFigures compare a number of a call with that of the calls before it.
var usualFigures = map[string]entry{
	"calls":        {name: "calls compared with", formula: "Calls of the group that began in the 28 days before this one and have the number; fewer than 10 say nothing."},
	"p50":          {name: "usual", unit: "as measured", formula: "The median over those calls of each call's own number."},
	"p90":          {name: "one in ten was above", unit: "as measured", formula: "The 90th percentile over those calls of each call's own number."},
	"this":         {name: "this call", unit: "as measured", formula: "The number of this call's verdict."},
	"ratio":        {name: "times the usual", unit: "×", formula: "This call's number / the usual one."},
	"recent_calls": {name: "calls of others", formula: "Calls of others in the group that began in the 24 h before this one."},
	"recent_p50":   {name: "usual for others that day", unit: "as measured", formula: "The median over the calls of others in the group that began in the 24 h before this one."},
}

// mosFigures are what a score was made with: means over its intervals.
var mosFigures = map[string]entry{
	"scores":                {name: "Scores", formula: "Reports or polls that could be scored."},
	"ie":                    {name: "Equipment impairment Ie", formula: "Of the codec; for Opus, which has no row, an estimate.", standard: "ITU-T G.113 Appendix I"},
	"bpl":                   {name: "Packet-loss robustness Bpl", formula: "Of the codec with packet loss concealment; for Opus, which has no row, an estimate.", standard: "ITU-T G.113 Appendix I"},
	"ie_eff":                {name: "Effective impairment Ie,eff", formula: "Ie + (95 − Ie) · Ppl / (Ppl / BurstR + Bpl), with 132 for 95 in fullband.", standard: "ITU-T G.107 (7-29)"},
	"burst_r_assumed":       {name: "Burst ratio assumed", formula: "1: the runs of lost packets were not measured and the losses are taken as random."},
	"burst_r":               {name: "Burst ratio BurstR", formula: "Mean length of the runs of lost packets / that of loss at random; 1 is random loss.", standard: "ITU-T G.107 §7.5"},
	"rtt_ms":                {name: "Round trip", unit: "ms", formula: "The median of the call."},
	"one_way_delay_ms":      {name: "One-way delay", unit: "ms", formula: "RTT / 2 + jitter buffer + packetisation + look-ahead."},
	"loss_percent":          {name: "Loss Ppl", unit: "%", formula: "Lost and discarded packets / expected packets, over the call."},
	"jitter_buffer_ms":      {name: "Jitter buffer", unit: "ms", formula: "Mean over the reports or polls that could be scored."},
	"jitter_buffer_assumed": {name: "Jitter buffer assumed", formula: "1: no jitter buffer was reported and twice the jitter, at least 20 ms, was taken."},
	"packetisation_ms":      {name: "Packetisation", unit: "ms", formula: "Speech in one packet: by the timestamps of RTP, else as the receiver asked for (a=ptime), else the codec's default.", standard: "RFC 3551 §4.5; RFC 7587"},
	"look_ahead_ms":         {name: "Look-ahead", unit: "ms", formula: "Of the codec."},
	"r":                     {name: "Transmission rating R", formula: eModel, standard: g107},
}

var thresholdTexts = map[string]string{
	"delay_good_ms": "Delay is good below", "delay_acceptable_ms": "Delay is acceptable below", "delay_bad_ms": "Delay is bad up to",
	"loss_good_percent": "Loss is good below", "loss_acceptable_percent": "Loss is acceptable below", "loss_bad_percent": "Loss is bad below",
	"jitter_choppy_ms": "Jitter above which a moment is choppy", "concealment_choppy_percent": "Concealment from which a moment is choppy",
	"concealment_buffer_percent":  "Concealment from which a moment is choppy while the jitter buffer is far above the preferred",
	"buffer_over_preferred_ratio": "Ratio from which the jitter buffer is far above the preferred",
	"choppy_share_good":           "Share of choppy moments that is good below", "choppy_share_acceptable": "Share of choppy moments that is acceptable below", "choppy_share_bad": "Share of choppy moments that is bad below",
	"settle_s": "Time after the answer that is left out of bands", "one_way_grace_s": "Time after the answer or a hold from which nothing is concluded",
	"one_way_dead_s": "Least time that a direction is silent to be dead", "one_way_min_packets_sent": "Least packets sent for silence to be an observation",
	"one_way_min_reports": "Least reports in a row that agree", "one_way_suspected": "Confidence from which one-way audio is suspected", "one_way_confirmed": "Confidence from which one-way audio is confirmed",
}

// columns are those of the samples.
var columns = map[string]entry{
	"ssrc":                       {name: "SSRC", formula: "Of the stream that the sample is of, as it stands in RTP.", standard: "RFC 3550 §8"},
	"clock_rate":                 {name: "Clock rate", unit: "Hz", formula: "Of the codec's RTP timestamps; 0 where it is unknown.", standard: "RFC 8866 §6.6; RFC 3551 §6"},
	"rtt_ms":                     {name: "Round trip", unit: "ms", formula: "As the source reports it.", quantity: roundTrip},
	"jitter_ms":                  {name: "Network jitter", unit: "ms", formula: "As the source reports it.", quantity: jitter},
	"loss_percent":               {name: "Packet loss of the interval", unit: "%", formula: "100 · lost / expected packets of the interval.", quantity: loss},
	"packets":                    {name: "Packets of the interval", formula: "As the source counts them.", quantity: received},
	"packets_lost":               {name: "Packets lost in the interval", formula: "As the source counts them.", quantity: lost},
	"packets_discarded":          {name: "Packets discarded in the interval", formula: "As the source counts them.", quantity: discarded},
	"jitter_buffer_ms":           {name: "Jitter buffer", unit: "ms", formula: "As the source reports it.", quantity: buffer},
	"jitter_buffer_preferred_ms": {name: "Preferred jitter buffer", unit: "ms", formula: "As the source reports it.", quantity: preferred},
	"concealment_percent":        {name: "Concealed sound", unit: "%", formula: "As the source reports it.", quantity: concealment},
	"silent_concealment_percent": {name: "Concealed with silence", unit: "%", formula: "As the source reports it.", quantity: silent},
	"audio_level":                {name: "Audio level, RMS, 0–1", formula: "As the source reports it.", quantity: level},
	"mos":                        {name: "MOS of the interval", formula: "As the source reports it.", quantity: score},
}

// named has words for names of values that are no sentence by themselves.
var named = map[string]string{
	"min_ms": "lowest", "p50_ms": "median", "p95_ms": "95th percentile", "max_ms": "highest",
	"target_to_contact": "target to contact", "contact_to_target": "contact to target",
	"dead_s": "length", "percent": "loss", "packets_at_monitor": "packets at the capture point",
	"jitter_p50_ms": "jitter, median", "jitter_p95_ms": "jitter, 95th percentile", "jitter_max_ms": "jitter, highest",
	"buffer_ms": "jitter buffer", "buffer_preferred_ms": "preferred jitter buffer", "burst_percent": "loss of the worst interval",
	"ie": "Ie", "bpl": "Bpl", "r": "R", "burst_r": "BurstR",
}

// bufferInputs are the two means that the ratio is of.
func bufferInputs(s *subject, x *Explanation) {
	j := s.verdict().Jitter
	if j.BufferMs != nil && j.BufferPreferredMs != nil && len(x.Inputs) == 0 {
		x.Inputs = append(x.Inputs, Input{"current jitter buffer", *j.BufferMs, "ms"}, Input{"preferred jitter buffer", *j.BufferPreferredMs, "ms"})
	}
}

// mosInputs are what the scores were made with.
func mosInputs(s *subject, x *Explanation) {
	m := s.verdict().MOS
	if m == nil {
		return
	}
	x.Inputs = nil
	for _, name := range []string{"scores", "ie", "bpl", "burst_r", "burst_r_assumed", "loss_percent", "ie_eff", "rtt_ms", "jitter_buffer_ms", "packetisation_ms", "look_ahead_ms", "one_way_delay_ms", "jitter_buffer_assumed", "r"} {
		if v, there := m.Inputs[name]; there {
			x.Inputs = append(x.Inputs, Input{mosFigures[name].name, v, mosFigures[name].unit})
		}
	}
	x.Standard = modelStandard(m.Model)
	if m.Model == "reported" {
		x.Formula = "The phone's own scores, not Earshot's: their mean, and the lowest of them."
	}
	if m.Codec != "" {
		x.Formula += " Codec: " + m.Codec + "."
	}
	if m.Estimated {
		x.Formula += " Estimated: G.113 has no row for this codec."
	}
}

func modelStandard(model string) string {
	if model == "reported" {
		return "the phone's own"
	}
	const ofCodecs = "; ITU-T G.113"
	if model == "G.107" {
		return "ITU-T G.107 (7-1), (7-29), Annex B" + ofCodecs
	}
	return "ITU-T " + model + ", Annex A; the delay by ITU-T G.107 §7.4" + ofCodecs
}

func ofMOS(s *subject, x *Explanation) {
	if m := s.verdict().MOS; m != nil && x.Standard == "" {
		x.Standard = modelStandard(m.Model)
	}
}

// ofDeadDirection narrows to the direction that is dead.
func ofDeadDirection(s *subject, x *Explanation) {
	o := s.verdict().OneWayAudio
	if o.Direction == nil || *o.Direction == "both" {
		return
	}
	narrow(s, x, *o.Direction)
	x.Source = s.sources(heard, "")
}

func ofSpan(s *subject, x *Explanation) {
	narrow(s, x, s.verdict().OneWayAudio.Spans[s.index[0]].Direction)
}

func narrow(s *subject, x *Explanation, direction string) {
	places := s.evidence(direction, deadKinds...)
	x.Evidence = nil
	for _, i := range places {
		x.Evidence = append(x.Evidence, i+1)
	}
	x.Inputs = s.inputs(places, "confidence", "confidence_alone", "dead_s", "packets_sent", "packets_at_monitor", "observations")
}

// ofSegment says which part of the way it is.
func ofSegment(s *subject, x *Explanation) {
	g := s.verdict().Segments[s.index[0]]
	x.Name += fmt.Sprintf(" (%s to %s)", g.From, g.To)
	x.Band = g.Band
}

// ofEvidence narrows to the piece of evidence that the value stands in.
func ofEvidence(s *subject, x *Explanation) {
	e := s.verdict().Evidence[s.index[0]]
	x.Evidence = []int{s.index[0] + 1}
	if e.Kind == "fault" {
		x.Formula, x.Rules, x.Source = faultFormula, nil, nil
		return
	}
	if e.Side == "" {
		return
	}
	var own []Witness
	for _, w := range x.Source {
		if w.Side == e.Side {
			own = append(own, w)
		}
	}
	if own != nil {
		x.Source = own
	}
}

func ofRules(s *subject, x *Explanation) {
	x.Rules = &Rules{Version: s.verdict().Rules, Text: x.Name}
}
