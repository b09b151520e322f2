package quality

import (
	"math"
	"strings"
)

// Equipment is what G.113 says of a codec, and the delay it adds.
type Equipment struct {
	// Name as reports and sentences write it.
	Name string
	// Model is the E-model whose scale Ie and Bpl are on.
	Model           string
	Ie              float64 // equipment impairment factor
	Bpl             float64 // packet-loss robustness factor
	PacketisationMs float64 // default frame per packet
	LookAheadMs     float64
	// Estimated: G.113 has no row for the codec, or not for all of it.
	Estimated bool
	// Note says where an estimate is from.
	Note string
}

// MOS models.
const (
	ModelG107  = "G.107"   // narrowband, R 0–100
	ModelG1071 = "G.107.1" // wideband, R 0–129
	ModelG1072 = "G.107.2" // fullband, R 0–148
)

// EquipmentOf gives the row of a codec by its name in SDP (or the MIME subtype
// of getStats), false where there is none: then there is no MOS.
func EquipmentOf(codec string) (Equipment, bool) {
	name := strings.ToUpper(codec)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	switch name {
	case "PCMU", "PCMA": // G.711 with packet loss concealment, G.113 table I.4
		return Equipment{Name: "G.711", Model: ModelG107, Ie: 0, Bpl: 25.1, PacketisationMs: 20}, true
	case "G729", "G729A": // with VAD, which RFC 3551 has on by default
		return Equipment{Name: "G.729", Model: ModelG107, Ie: 11, Bpl: 19, PacketisationMs: 20, LookAheadMs: 5}, true
	case "G723": // 6.3 kbit/s with VAD
		return Equipment{Name: "G.723.1", Model: ModelG107, Ie: 15, Bpl: 16.1, PacketisationMs: 30, LookAheadMs: 7.5}, true
	case "GSM-EFR", "AMR": // 12.2 kbit/s
		return Equipment{Name: "AMR", Model: ModelG107, Ie: 5, Bpl: 10, PacketisationMs: 20, LookAheadMs: 5}, true
	case "G722": // 64 kbit/s, G.113 table IV.1; for its loss G.113 has no value
		return Equipment{Name: "G.722", Model: ModelG1071, Ie: 13, Bpl: 4.3, PacketisationMs: 20, LookAheadMs: 1.5, Estimated: true,
			Note: "G.113 has no loss robustness for G.722: that of G.722.2 at the same Ie is taken"}, true
	case "AMR-WB": // 12.65 kbit/s, G.113 tables IV.1 and IV.4; the mode is in no report
		return Equipment{Name: "AMR-WB", Model: ModelG1071, Ie: 13, Bpl: 4.3, PacketisationMs: 20, LookAheadMs: 5, Estimated: true,
			Note: "the mode is not known: the values of 12.65 kbit/s are taken"}, true
	case "OPUS": // no row in G.113; the values that rtpengine uses on the scale of G.107.2
		return Equipment{Name: "Opus", Model: ModelG1072, Ie: 10.2, Bpl: 4.3, PacketisationMs: 20, LookAheadMs: 6.5, Estimated: true,
			Note: "G.113 has no values for Opus: those in use elsewhere on the fullband scale are taken"}, true
	}
	return Equipment{}, false
}

// Default values of G.107 §7, table 2, and what follows from them.
const (
	roDefault  = 94.7688 // signal-to-noise ratio, §7.2
	isDefault  = 1.4136  // simultaneous impairment, §7.3
	telr       = 65.0    // talker echo loudness rating, dB
	wepl       = 110.0   // weighted echo path loss, dB
	sumNoise   = -61.18  // No, dBm0p, §7.2
	rlr        = 2.0     // receive loudness rating, dB
	roWideband = 129.0   // G.107.1 §7.2
	roFullband = 148.0   // G.107.2 §7.2
)

// DelayImpairment is Id of G.107 §7.4 for a one-way delay T in ms with the
// default echo losses: Idte (talker echo) + Idle (listener echo) + Idd (delay
// as such), with Ta = T and Tr = 2T.
func DelayImpairment(oneWayMs float64) float64 {
	t := max(oneWayMs, 0)
	// Talker echo, (7-20) to (7-24).
	terv := telr - 40*math.Log10((1+t/10)/(1+t/150)) + 6*math.Exp(-0.3*t*t)
	re := 80 + 2.5*(terv-14)
	roe := -1.5 * (sumNoise - rlr)
	x := (roe - re) / 2
	idte := (x + math.Sqrt(x*x+100) - 1) * (1 - math.Exp(-t))
	// Listener echo, (7-25) and (7-26).
	rle := 10.5 * (wepl + 7) * math.Pow(2*t+1, -0.25)
	y := (roDefault - rle) / 2
	idle := y + math.Sqrt(y*y+169)
	return idte + idle + absoluteDelayImpairment(t)
}

// absoluteDelayImpairment is Idd of G.107 §7.4, (7-27) and (7-28).
func absoluteDelayImpairment(ta float64) float64 {
	if ta <= 100 {
		return 0
	}
	x := math.Log2(ta / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// EffectiveImpairment is Ie,eff of G.107 §7.5 (7-29), with the same constant in
// G.107.1 (7-15): loss in percent with jitter-buffer discards, burstR 1 for
// random loss.
func EffectiveImpairment(e Equipment, lossPercent, burstR float64) float64 {
	worst := 95.0
	if e.Model == ModelG1072 {
		worst = 132 // G.107.2 §7.5
	}
	if lossPercent <= 0 {
		return e.Ie
	}
	return e.Ie + (worst-e.Ie)*lossPercent/(lossPercent/max(burstR, 1)+e.Bpl)
}

// R is the transmission rating with the defaults of the codec's model (G.107
// §7.1, advantage factor 0). On the wider scales the impairments of the default
// connection are in Ro already, so that only what the delay adds is taken off.
func R(e Equipment, oneWayMs, lossPercent, burstR float64) float64 {
	added := DelayImpairment(oneWayMs) - DelayImpairment(0)
	switch e.Model {
	case ModelG1071:
		return roWideband - added - EffectiveImpairment(e, lossPercent, burstR)
	case ModelG1072:
		return roFullband - 1.48*added - EffectiveImpairment(e, lossPercent, burstR)
	}
	return roDefault - isDefault - DelayImpairment(oneWayMs) - EffectiveImpairment(e, lossPercent, burstR)
}

// MOSOfR maps a rating of 0–100 to MOS-CQE (G.107 Annex B), 1 to 4.5.
func MOSOfR(r float64) float64 {
	switch {
	case !(r > 0):
		return 1
	case r >= 100:
		return 4.5
	}
	return min(max(1+0.035*r+7e-6*r*(r-60)*(100-r), 1), 4.5)
}

// MOSInput is what a score is made of; NaN where it is not known.
type MOSInput struct {
	Codec string
	RTTMs float64
	// JitterBufferMs is what the receiver's buffer adds, one way.
	JitterBufferMs float64
	// LossPercent counts discards.
	LossPercent float64
	// BurstR is the burst ratio of G.107 §7.5; below 1, and so also 0, counts as 1.
	BurstR float64
	// PacketisationMs is the speech in one packet; 0: the codec's default.
	PacketisationMs float64
}

// Score is a MOS with all that it was made of.
type Score struct {
	MOS, R          float64
	IeEff           float64
	OneWayMs        float64 // RTT/2 + jitter buffer + packetisation + look-ahead
	BurstR          float64
	PacketisationMs float64
	Equipment       Equipment
}

// MOS scores what one direction sounds like; false where an input is missing
// or the codec is not known to G.113.
func MOS(in MOSInput) (Score, bool) {
	e, known := EquipmentOf(in.Codec)
	if !known || math.IsNaN(in.RTTMs) || math.IsNaN(in.JitterBufferMs) || math.IsNaN(in.LossPercent) {
		return Score{}, false
	}
	s := Score{Equipment: e, BurstR: 1, PacketisationMs: e.PacketisationMs}
	if in.BurstR > 1 {
		s.BurstR = in.BurstR
	}
	if in.PacketisationMs > 0 {
		s.PacketisationMs = in.PacketisationMs
	}
	s.OneWayMs = in.RTTMs/2 + in.JitterBufferMs + s.PacketisationMs + e.LookAheadMs
	s.IeEff = EffectiveImpairment(e, in.LossPercent, s.BurstR)
	s.R = R(e, s.OneWayMs, in.LossPercent, s.BurstR)
	s.MOS = MOSOfR(s.R / scaleOf(e.Model))
	return s, true
}

// scaleOf is what a rating is divided by before it is mapped to MOS (annex A of
// G.107.1 and G.107.2).
func scaleOf(model string) float64 {
	switch model {
	case ModelG1071:
		return 1.29
	case ModelG1072:
		return 1.48
	}
	return 1
}

// BurstRatio is BurstR of G.107 §7.5: the mean length of the runs of lost
// packets over the length that random loss of the same ratio has, 1/(1−p).
// Below 1 (losses spread more evenly than by chance) it is 1. False where too
// few runs were seen to tell.
func BurstRatio(lost, expected, runs float64) (float64, bool) {
	if !(runs >= minRuns) || !(lost >= runs) || !(expected > lost) {
		return 0, false
	}
	return max(lost/runs*(1-lost/expected), 1), true
}

// minRuns is how many runs of loss a burst ratio needs.
const minRuns = 3

// BurstRatioOfGaps is the same from the burst and gap metrics of RFC 3611 §4.7.2
// and RFC 6035 §4.6.2: densities of loss (0–1) within bursts and gaps, and how
// long each lasted in the mean. Within either the losses are taken as random.
func BurstRatioOfGaps(burstDensity, burstMs, gapDensity, gapMs float64) (float64, bool) {
	if !(burstMs > 0) || !(gapMs >= 0) || !(burstDensity > 0) || !(burstDensity <= 1) || !(gapDensity >= 0) || !(gapDensity <= 1) {
		return 0, false
	}
	burstDensity = min(burstDensity, 1-packetOf(burstMs))
	lost := burstDensity*burstMs + gapDensity*gapMs
	runs := burstDensity*(1-burstDensity)*burstMs + gapDensity*(1-gapDensity)*gapMs
	if !(lost > 0) || !(runs > 0) {
		return 0, false
	}
	return max(lost/runs*(1-lost/(burstMs+gapMs)), 1), true
}

// packetOf is the share of a time in ms that one packet of 20 ms has of it: the
// longest run of loss in it ends with it.
func packetOf(ms float64) float64 { return min(20/max(ms, 20), 0.5) }
