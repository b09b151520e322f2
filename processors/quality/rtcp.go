package quality

import "time"

// ClockRate gives the RTP clock of a static payload type in Hz (RFC 3551 §6,
// tables 4 and 5), 0 where the type is dynamic or unassigned. G.722 (9) runs on
// 8000 though it samples at 16000 (RFC 3551 §4.5.2).
func ClockRate(payloadType uint32) uint32 {
	switch payloadType {
	case 0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18:
		return 8000
	case 6:
		return 16000
	case 10, 11:
		return 44100
	case 16:
		return 11025
	case 17:
		return 22050
	case 14:
		return 90000
	}
	return 0
}

// StaticCodec names a static audio payload type (RFC 3551 §6, table 4), "" where
// the type is dynamic or no audio.
func StaticCodec(payloadType uint32) string {
	switch payloadType {
	case 0:
		return "PCMU"
	case 3:
		return "GSM"
	case 4:
		return "G723"
	case 5, 6, 16, 17:
		return "DVI4"
	case 7:
		return "LPC"
	case 8:
		return "PCMA"
	case 9:
		return "G722"
	case 10, 11:
		return "L16"
	case 12:
		return "QCELP"
	case 14:
		return "MPA"
	case 15:
		return "G728"
	case 18:
		return "G729"
	}
	return ""
}

// MaxJitterMs is more jitter than audio can have: from here on it is a counter or a
// clock that went wrong.
const MaxJitterMs = 60_000

// JitterMs turns interarrival jitter of a reception report (RFC 3550 §6.4.1,
// RTP timestamp units) into milliseconds; false where the clock is unknown, or
// cannot be the one that was counted with.
func JitterMs(jitter, clockRate uint32) (float64, bool) {
	if clockRate == 0 {
		return 0, false
	}
	ms := float64(jitter) * 1000 / float64(clockRate)
	return ms, ms < MaxJitterMs
}

// SignExtend24 reads the cumulative number of packets lost (RFC 3550 §6.4.1),
// which is a signed 24-bit integer: duplicates make it negative.
func SignExtend24(v uint32) int32 { return int32(v<<8) >> 8 }

// CumulativeLostDelta is the number of packets lost between two values of the
// 24-bit counter, across its wrap.
func CumulativeLostDelta(prev, cur int32) int32 { return SignExtend24(uint32(cur) - uint32(prev)) }

// maxSeqStep bounds what one report interval can move the extended sequence
// number; more than this, or backwards, is a source that began anew.
const maxSeqStep = 1 << 20

// HighestSeqDelta is how far the extended highest sequence number moved between
// two reports about one source, across the 32-bit wrap; false where the source
// must have restarted its sequence (it jumped, or went back).
func HighestSeqDelta(prev, cur uint32) (uint32, bool) {
	d := cur - prev
	if d > maxSeqStep {
		return 0, false
	}
	return d, true
}

// ExpectedOfFirst estimates how many packets a first report about a source
// covers. A receiver's first fraction is lost·256/expected (RFC 3550 A.3), so
// where something was lost the expected number follows; the fraction is cut to
// 8 bits, hence the middle of its interval. False where nothing follows.
func ExpectedOfFirst(cumulativeLost int32, fractionLost uint32) (uint32, bool) {
	if cumulativeLost <= 0 || fractionLost == 0 || fractionLost > 255 {
		return 0, false
	}
	return uint32(float64(cumulativeLost)*256/(float64(fractionLost)+0.5) + 0.5), true
}

// MaxRTT is the longest round trip believed; more is a clock that jumped.
const MaxRTT = 10 * time.Second

// MiddleNTP gives the middle 32 bits of a 64-bit NTP timestamp (RFC 3550 §4).
func MiddleNTP(ntp uint64) uint32 { return uint32(ntp >> 16) }

// ntpEpochOffset is the seconds between 1900 and 1970 (RFC 5905 §6).
const ntpEpochOffset = 2208988800

// NTPOfMicros gives the 64-bit NTP timestamp of Unix microseconds.
func NTPOfMicros(us int64) uint64 {
	sec := us / 1_000_000
	frac := us % 1_000_000
	if frac < 0 {
		sec, frac = sec-1, frac+1_000_000
	}
	return uint64(sec+ntpEpochOffset)<<32 | uint64(frac)<<32/1_000_000
}

// MicrosOfNTP gives the Unix microseconds of a 64-bit NTP timestamp of era 0.
func MicrosOfNTP(ntp uint64) int64 {
	return int64(ntp>>32)*1_000_000 - ntpEpochOffset*1_000_000 + int64((ntp&0xffffffff)*1_000_000>>32)
}

// RTTAtEnd is the round trip in milliseconds that the end which receives a
// reception report measures: A − LSR − DLSR, modulo 2^32 in units of 1/65536 s
// (RFC 3550 §6.4.1). arrival is the middle 32 bits of the NTP time of arrival.
// False where LSR or DLSR is 0, and where the result is not in (0, 10 s].
func RTTAtEnd(arrival, lsr, dlsr uint32) (float64, bool) {
	if lsr == 0 || dlsr == 0 {
		return 0, false
	}
	// Signed, so that a clock that is slightly behind gives a small negative
	// and not 18 hours.
	d := int32(arrival - lsr - dlsr)
	if d <= 0 || float64(d)/65536 > MaxRTT.Seconds() {
		return 0, false
	}
	return float64(d) * 1000 / 65536, true
}

// legSlackMs is how far below zero a leg may come out and still be a leg of
// nothing: a monitor beside an end sees its answer in the same microsecond,
// while DLSR is cut to 15 µs and set before the packet leaves.
const legSlackMs = 5

// LegRTT is the round trip in milliseconds between a monitor and the reporter B,
// seen by the monitor: the time from A's sender report passing it to B's
// reception report passing it back, less what B held it (DLSR, 1/65536 s).
// The mirror measures A's leg; A↔B is the sum of the two. False where the
// result is not in [0, 10 s].
func LegRTT(srSeenUs, rrSeenUs int64, dlsr uint32) (float64, bool) {
	ms := float64(rrSeenUs-srSeenUs)/1000 - float64(dlsr)*1000/65536
	if ms < -legSlackMs || ms > float64(MaxRTT.Milliseconds()) {
		return 0, false
	}
	return max(ms, 0), true
}

// Unavailable is the value of RFC 3611 §4.7 for a VoIP metric that was not measured.
const Unavailable = 127
