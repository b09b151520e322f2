package quality

import (
	"math"
	"strings"
)

// Equipment is what G.113 Appendix I says of a codec, and the delay it adds.
type Equipment struct {
	Ie              float64 // equipment impairment factor
	Bpl             float64 // packet-loss robustness factor
	PacketisationMs float64 // default frame per packet
	LookAheadMs     float64
	// Fullband: Ie and Bpl are on the scale of G.107.2.
	Fullband bool
	// Estimated: G.113 has no row for the codec.
	Estimated bool
}

// EquipmentOf gives the row of a codec by its name in SDP (or the MIME subtype
// of getStats), false where there is none: then there is no MOS.
func EquipmentOf(codec string) (Equipment, bool) {
	name := strings.ToUpper(codec)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	switch name {
	case "PCMU", "PCMA": // G.711 with packet loss concealment, G.113 table I.4
		return Equipment{Ie: 0, Bpl: 25.1, PacketisationMs: 20}, true
	case "G729", "G729A": // with VAD, which RFC 3551 has on by default
		return Equipment{Ie: 11, Bpl: 19, PacketisationMs: 20, LookAheadMs: 5}, true
	case "G723": // 6.3 kbit/s with VAD
		return Equipment{Ie: 15, Bpl: 16.1, PacketisationMs: 30, LookAheadMs: 7.5}, true
	case "GSM-EFR", "AMR": // 12.2 kbit/s
		return Equipment{Ie: 5, Bpl: 10, PacketisationMs: 20, LookAheadMs: 5}, true
	case "OPUS": // no row in G.113; the values that rtpengine uses on the scale of G.107.2
		return Equipment{Ie: 10.2, Bpl: 4.3, PacketisationMs: 20, LookAheadMs: 6.5, Fullband: true, Estimated: true}, true
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

// EffectiveImpairment is Ie,eff of G.107 §7.5 (7-29): loss in percent with
// jitter-buffer discards, burstR 1 for random loss.
func EffectiveImpairment(e Equipment, lossPercent, burstR float64) float64 {
	worst := 95.0
	if e.Fullband {
		worst = 132 // G.107.2 §7.5
	}
	if lossPercent <= 0 {
		return e.Ie
	}
	return e.Ie + (worst-e.Ie)*lossPercent/(lossPercent/max(burstR, 1)+e.Bpl)
}

// R is the transmission rating with G.107's defaults (§7.1, advantage factor 0),
// or on the scale of G.107.2 for a fullband codec (0–148).
func R(e Equipment, oneWayMs, lossPercent, burstR float64) float64 {
	if e.Fullband {
		return roFullband - 1.48*(DelayImpairment(oneWayMs)-DelayImpairment(0)) - EffectiveImpairment(e, lossPercent, burstR)
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
}

// OneWayDelayMs is RTT/2 + jitter buffer + packetisation + look-ahead.
func (in MOSInput) OneWayDelayMs(e Equipment) float64 {
	return in.RTTMs/2 + in.JitterBufferMs + e.PacketisationMs + e.LookAheadMs
}

// MOS models.
const (
	ModelG107  = "G.107"
	ModelG1072 = "G.107.2"
)

// MOS scores what one direction sounds like; false where an input is missing
// or the codec is not known to G.113.
func MOS(in MOSInput) (mos float64, model string, estimated, ok bool) {
	e, known := EquipmentOf(in.Codec)
	if !known || math.IsNaN(in.RTTMs) || math.IsNaN(in.JitterBufferMs) || math.IsNaN(in.LossPercent) {
		return 0, "", false, false
	}
	r := R(e, in.OneWayDelayMs(e), in.LossPercent, 1)
	if e.Fullband {
		return MOSOfR(r / 1.48), ModelG1072, e.Estimated, true // G.107.2 §7.6: Rx = R/1.48
	}
	return MOSOfR(r), ModelG107, e.Estimated, true
}
