package quality

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
//
// Fields are tagged with their key in a rules file and the range that makes
// sense, in the field's unit.
type Rules struct {
	Version string `yaml:"version"`

	// Round trip: below DelayGoodMs good, below DelayAcceptableMs acceptable,
	// up to and including DelayBadMs bad, above it unacceptable. Equal ones leave
	// the band between them empty.
	DelayGoodMs       float64 `yaml:"delay_good_ms" range:"1..10000"`
	DelayAcceptableMs float64 `yaml:"delay_acceptable_ms" range:"1..10000"`
	DelayBadMs        float64 `yaml:"delay_bad_ms" range:"1..10000"`

	// Loss with discards, percent: below each its band, from LossBadPercent unacceptable.
	LossGoodPercent       float64 `yaml:"loss_good_percent" range:"0.01..100"`
	LossAcceptablePercent float64 `yaml:"loss_acceptable_percent" range:"0.01..100"`
	LossBadPercent        float64 `yaml:"loss_bad_percent" range:"0.01..100"`

	// A moment is choppy when network jitter is above JitterChoppyMs, when
	// concealment reaches ConcealmentChoppyPercent, or when it reaches
	// ConcealmentBufferPercent while the jitter buffer is above
	// BufferOverPreferredRatio times the preferred one.
	JitterChoppyMs           float64 `yaml:"jitter_choppy_ms" range:"1..10000"`
	ConcealmentChoppyPercent float64 `yaml:"concealment_choppy_percent" range:"0.01..100"`
	ConcealmentBufferPercent float64 `yaml:"concealment_buffer_percent" range:"0.01..100"`
	BufferOverPreferredRatio float64 `yaml:"buffer_over_preferred_ratio" range:"1..100"`
	// The jitter band follows from the share of moments (0–1) that were choppy:
	// below each its band, from ChoppyShareBad unacceptable.
	ChoppyShareGood       float64 `yaml:"choppy_share_good" range:"0.0001..1"`
	ChoppyShareAcceptable float64 `yaml:"choppy_share_acceptable" range:"0.0001..1"`
	ChoppyShareBad        float64 `yaml:"choppy_share_bad" range:"0.0001..1"`
	// Jitter of a poll with fewer packets per second says nothing: with
	// discontinuous transmission the spacing of comfort noise is no jitter.
	DTXPacketsPerSecond float64 `yaml:"dtx_packets_per_second" range:"0..1000"`

	// What is measured before Settle after the answer counts for no band.
	Settle time.Duration `yaml:"settle" range:"0s..1m"`

	OneWay OneWayRules `yaml:"one_way"`
}

// OneWayRules decide on one-way audio.
type OneWayRules struct {
	// Nothing is concluded from what happens within Grace of the answer or of
	// the end of a hold.
	Grace time.Duration `yaml:"grace" range:"0s..1m"`
	// A direction must be silent this long to be dead.
	Dead time.Duration `yaml:"dead" range:"1s..5m"`
	// Packets sent that make the silence of the receiver's reports an observation.
	MinPacketsSent uint32 `yaml:"min_packets_sent" range:"1..100000"`
	// Reports, one after the other, that must agree.
	MinReports uint32 `yaml:"min_reports" range:"1..100"`
	// getStats that must have been seen of a direction before it counts as alive.
	MinStats time.Duration `yaml:"min_stats" range:"0s..5m"`
	// No remote-inbound statistics this long after connect, or none newer than
	// RemoteStale: the other side may receive nothing.
	RemoteAbsent time.Duration `yaml:"remote_absent" range:"1s..5m"`
	RemoteStale  time.Duration `yaml:"remote_stale" range:"1s..5m"`
	// Levels are RMS, 0–1.
	SpeechLevel float64 `yaml:"speech_level" range:"0.00001..1"`
	SilentLevel float64 `yaml:"silent_level" range:"0.00001..1"`
	// Packets that flow and carry silence for this long are worth a sentence.
	SilentPayload time.Duration `yaml:"silent_payload" range:"1s..10m"`
	// A direction last seen alive longer ago than this at the end of the call is unknown.
	AliveStale time.Duration `yaml:"alive_stale" range:"1s..10m"`
	// Confidence (0–1) from which one-way audio is said to be so, or suspected.
	Confirmed float64 `yaml:"confirmed" range:"0.01..1"`
	Suspected float64 `yaml:"suspected" range:"0.01..1"`
}

// DefaultRules are the thresholds of Earshot, the preset "earshot".
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

// Validate says whether the rules can be used; its error names the fields.
func (r Rules) Validate() error {
	if wrong := r.problems(); len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrRules, strings.Join(wrong, "; "))
	}
	return nil
}

// problems are the sentences about what is wrong with the rules.
func (r Rules) problems() (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if r.Version == "" {
		complain("version is empty: want a name such as acme-1, a new one for every change")
	}
	for _, f := range fieldsOf(&r) {
		if f.bounds != "" && !f.inRange() {
			complain("%s is %s: want %s", f.key, f.text(), f.wants())
		}
	}
	for _, o := range []struct {
		names  string
		values []float64
	}{
		{"delay_good_ms, delay_acceptable_ms and delay_bad_ms", []float64{r.DelayGoodMs, r.DelayAcceptableMs, r.DelayBadMs}},
		{"loss_good_percent, loss_acceptable_percent and loss_bad_percent", []float64{r.LossGoodPercent, r.LossAcceptablePercent, r.LossBadPercent}},
		{"concealment_buffer_percent and concealment_choppy_percent", []float64{r.ConcealmentBufferPercent, r.ConcealmentChoppyPercent}},
		{"choppy_share_good, choppy_share_acceptable and choppy_share_bad", []float64{r.ChoppyShareGood, r.ChoppyShareAcceptable, r.ChoppyShareBad}},
		{"one_way.silent_level and one_way.speech_level", []float64{r.OneWay.SilentLevel, r.OneWay.SpeechLevel}},
		{"one_way.suspected and one_way.confirmed", []float64{r.OneWay.Suspected, r.OneWay.Confirmed}},
	} {
		if !slices.IsSorted(o.values) {
			complain("%s are %s: none may be below the one before it", o.names, numbers(o.values))
		}
	}
	return wrong
}

func numbers(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(texts, ", ")
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
