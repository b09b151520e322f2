package quality

import (
	"errors"
	"fmt"
	"time"
)

// Bands of a dimension, from best to worst.
const (
	Good         = "good"
	Acceptable   = "acceptable"
	Bad          = "bad"
	Unacceptable = "unacceptable"
	Unknown      = "unknown"
)

// ErrRules is wrapped by every complaint about a set of rules.
var ErrRules = errors.New("rules are not usable")

// Rules are the thresholds that verdicts are made with. A verdict stores Version.
type Rules struct {
	Version string `json:"version" yaml:"version" koanf:"version"`

	// Round trip: below DelayGoodMs good, below DelayAcceptableMs acceptable,
	// up to and including DelayBadMs bad, above it unacceptable.
	DelayGoodMs       float64 `json:"delay_good_ms" yaml:"delay_good_ms" koanf:"delay_good_ms"`
	DelayAcceptableMs float64 `json:"delay_acceptable_ms" yaml:"delay_acceptable_ms" koanf:"delay_acceptable_ms"`
	DelayBadMs        float64 `json:"delay_bad_ms" yaml:"delay_bad_ms" koanf:"delay_bad_ms"`

	// Loss with discards, percent: below each its band, from LossBadPercent unacceptable.
	LossGoodPercent       float64 `json:"loss_good_percent" yaml:"loss_good_percent" koanf:"loss_good_percent"`
	LossAcceptablePercent float64 `json:"loss_acceptable_percent" yaml:"loss_acceptable_percent" koanf:"loss_acceptable_percent"`
	LossBadPercent        float64 `json:"loss_bad_percent" yaml:"loss_bad_percent" koanf:"loss_bad_percent"`

	// A moment is choppy when network jitter is above JitterChoppyMs, when
	// concealment reaches ConcealmentChoppyPercent, or when it reaches
	// ConcealmentBufferPercent while the jitter buffer is above
	// BufferOverPreferredRatio times the preferred one.
	JitterChoppyMs           float64 `json:"jitter_choppy_ms" yaml:"jitter_choppy_ms" koanf:"jitter_choppy_ms"`
	ConcealmentChoppyPercent float64 `json:"concealment_choppy_percent" yaml:"concealment_choppy_percent" koanf:"concealment_choppy_percent"`
	ConcealmentBufferPercent float64 `json:"concealment_buffer_percent" yaml:"concealment_buffer_percent" koanf:"concealment_buffer_percent"`
	BufferOverPreferredRatio float64 `json:"buffer_over_preferred_ratio" yaml:"buffer_over_preferred_ratio" koanf:"buffer_over_preferred_ratio"`
	// The jitter band follows from the share of moments (0–1) that were choppy:
	// below each its band, from ChoppyShareBad unacceptable.
	ChoppyShareGood       float64 `json:"choppy_share_good" yaml:"choppy_share_good" koanf:"choppy_share_good"`
	ChoppyShareAcceptable float64 `json:"choppy_share_acceptable" yaml:"choppy_share_acceptable" koanf:"choppy_share_acceptable"`
	ChoppyShareBad        float64 `json:"choppy_share_bad" yaml:"choppy_share_bad" koanf:"choppy_share_bad"`
	// Jitter of a poll with fewer packets per second says nothing: with
	// discontinuous transmission the spacing of comfort noise is no jitter.
	DTXPacketsPerSecond float64 `json:"dtx_packets_per_second" yaml:"dtx_packets_per_second" koanf:"dtx_packets_per_second"`

	// What is measured before Settle after the answer counts for no band.
	Settle time.Duration `json:"settle" yaml:"settle" koanf:"settle"`

	OneWay OneWayRules `json:"one_way" yaml:"one_way" koanf:"one_way"`
}

// OneWayRules decide on one-way audio.
type OneWayRules struct {
	// Nothing is concluded from what happens within Grace of the answer or of
	// the end of a hold.
	Grace time.Duration `json:"grace" yaml:"grace" koanf:"grace"`
	// A direction must be silent this long to be dead.
	Dead time.Duration `json:"dead" yaml:"dead" koanf:"dead"`
	// Packets sent that make the silence of the receiver's reports an observation.
	MinPacketsSent uint32 `json:"min_packets_sent" yaml:"min_packets_sent" koanf:"min_packets_sent"`
	// Reports, one after the other, that must agree.
	MinReports uint32 `json:"min_reports" yaml:"min_reports" koanf:"min_reports"`
	// getStats that must have been seen of a direction before it counts as alive.
	MinStats time.Duration `json:"min_stats" yaml:"min_stats" koanf:"min_stats"`
	// No remote-inbound statistics this long after connect, or none newer than
	// RemoteStale: the other side may receive nothing.
	RemoteAbsent time.Duration `json:"remote_absent" yaml:"remote_absent" koanf:"remote_absent"`
	RemoteStale  time.Duration `json:"remote_stale" yaml:"remote_stale" koanf:"remote_stale"`
	// Levels are RMS, 0–1.
	SpeechLevel float64 `json:"speech_level" yaml:"speech_level" koanf:"speech_level"`
	SilentLevel float64 `json:"silent_level" yaml:"silent_level" koanf:"silent_level"`
	// Packets that flow and carry silence for this long are worth a sentence.
	SilentPayload time.Duration `json:"silent_payload" yaml:"silent_payload" koanf:"silent_payload"`
	// A direction last seen alive longer ago than this at the end of the call is unknown.
	AliveStale time.Duration `json:"alive_stale" yaml:"alive_stale" koanf:"alive_stale"`
	Confirmed  float64       `json:"confirmed" yaml:"confirmed" koanf:"confirmed"`
	Suspected  float64       `json:"suspected" yaml:"suspected" koanf:"suspected"`
}

// DefaultRules are the thresholds of Earshot.
func DefaultRules() Rules {
	return Rules{
		Version:           "earshot-1",
		DelayGoodMs:       100,
		DelayAcceptableMs: 200,
		DelayBadMs:        300,

		LossGoodPercent:       1,
		LossAcceptablePercent: 3,
		LossBadPercent:        5,

		JitterChoppyMs:           30,
		ConcealmentChoppyPercent: 3,
		ConcealmentBufferPercent: 2,
		BufferOverPreferredRatio: 1.5,
		ChoppyShareGood:          0.02,
		ChoppyShareAcceptable:    0.10,
		ChoppyShareBad:           0.50,
		DTXPacketsPerSecond:      25,

		Settle: 5 * time.Second,
		OneWay: OneWayRules{
			Grace:          3 * time.Second,
			Dead:           5 * time.Second,
			MinPacketsSent: 50,
			MinReports:     2,
			MinStats:       5 * time.Second,
			RemoteAbsent:   15 * time.Second,
			RemoteStale:    10 * time.Second,
			SpeechLevel:    0.005,
			SilentLevel:    0.001,
			SilentPayload:  15 * time.Second,
			AliveStale:     20 * time.Second,
			Confirmed:      0.9,
			Suspected:      0.6,
		},
	}
}

// Validate says whether the rules can be used; its error names the field.
func (r Rules) Validate() error {
	rising := func(name string, v ...float64) error {
		prev := 0.0
		for _, x := range v {
			if !(x > prev) {
				return fmt.Errorf("%w: thresholds of %s must be above 0 and rise", ErrRules, name)
			}
			prev = x
		}
		return nil
	}
	if r.Version == "" {
		return fmt.Errorf("%w: version is empty", ErrRules)
	}
	return errors.Join(
		rising("delay", r.DelayGoodMs, r.DelayAcceptableMs, r.DelayBadMs),
		rising("loss", r.LossGoodPercent, r.LossAcceptablePercent, r.LossBadPercent),
		rising("jitter", r.JitterChoppyMs),
		rising("concealment", r.ConcealmentBufferPercent, r.ConcealmentChoppyPercent),
		rising("buffer_over_preferred_ratio", r.BufferOverPreferredRatio),
		rising("choppy_share", r.ChoppyShareGood, r.ChoppyShareAcceptable, r.ChoppyShareBad),
		rising("one_way.suspected and confirmed", r.OneWay.Suspected, r.OneWay.Confirmed),
		rising("one_way.silent_level and speech_level", r.OneWay.SilentLevel, r.OneWay.SpeechLevel),
		rising("one_way.dead", float64(r.OneWay.Dead)),
		rising("one_way.min_packets_sent", float64(r.OneWay.MinPacketsSent)),
		rising("one_way.min_reports", float64(r.OneWay.MinReports)),
	)
}

// DelayBand is the band of a round trip.
func (r Rules) DelayBand(rttMs float64) string {
	switch {
	case rttMs < r.DelayGoodMs:
		return Good
	case rttMs < r.DelayAcceptableMs:
		return Acceptable
	case rttMs <= r.DelayBadMs:
		return Bad
	}
	return Unacceptable
}

// LossBand is the band of a loss in percent.
func (r Rules) LossBand(percent float64) string {
	return below(percent, r.LossGoodPercent, r.LossAcceptablePercent, r.LossBadPercent)
}

// JitterBand is the band of the share (0–1) of moments that were choppy.
func (r Rules) JitterBand(choppyShare float64) string {
	return below(choppyShare, r.ChoppyShareGood, r.ChoppyShareAcceptable, r.ChoppyShareBad)
}

func below(v, good, acceptable, bad float64) string {
	switch {
	case v < good:
		return Good
	case v < acceptable:
		return Acceptable
	case v < bad:
		return Bad
	}
	return Unacceptable
}

// Choppy says whether a moment was choppy. NaN stands for what was not measured.
func (r Rules) Choppy(jitterMs, bufferMs, preferredMs, concealmentPercent float64) bool {
	if jitterMs > r.JitterChoppyMs || concealmentPercent >= r.ConcealmentChoppyPercent {
		return true
	}
	return concealmentPercent >= r.ConcealmentBufferPercent && preferredMs > 0 &&
		bufferMs > preferredMs*r.BufferOverPreferredRatio
}

// Severity orders the bands; unknown is -1.
func Severity(band string) int {
	switch band {
	case Good:
		return 0
	case Acceptable:
		return 1
	case Bad:
		return 2
	case Unacceptable:
		return 3
	}
	return -1
}

// Worst is the worst of the bands that are known, unknown where none is.
func Worst(bands ...string) string {
	worst := Unknown
	for _, b := range bands {
		if Severity(b) > Severity(worst) {
			worst = b
		}
	}
	return worst
}
