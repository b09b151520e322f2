package verdicts

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/query"
)

// What a verdict may differ from the truth by.
const (
	rttToleranceMs  = 5
	rttTolerance    = 0.05 // or this share
	jitterTolerance = 0.10
	jitterFloorMs   = 1   // below 10 ms: the clients stamp and count packets in their own time, not in the path's
	jitterTickMs    = 4   // of linphone, which reads its socket every 10 ms
	lossTolerance   = 0.3 // percentage points: reports stop some seconds before the call does
	sinceTolerance  = 6   // s: RTCP reports every five seconds
	missedFromS     = 10  // a one-way stretch this long must be found
	aloneFromS      = 15  // and this long where one end alone reports: one that sends hears of it when reports stay out for 10 s
	settleS         = 5   // the beginning of a call that no band counts
)

// Heard is what Earshot says of a recording.
type Heard struct {
	Call    query.Call
	Samples []query.Sample
}

// Number is something measured by Earshot and by whoever recorded the call.
type Number struct {
	Name        string // rtt, jitter target_to_contact, loss contact_to_target, …
	Said, True  float64
	Tolerance   float64
	Reports     int     // that it was made from
	Uncertainty float64 // of the median of so few reports of what varies; 0 where each is compared with its own moment
}

// Error is how far it is off.
func (n *Number) Error() float64 { return n.Said - n.True }

// OK says whether that is within what is allowed.
func (n *Number) OK() bool { return math.Abs(n.Error()) <= n.Tolerance+n.Uncertainty }

// Judgement is a recording's verdict held against its truth.
type Judgement struct {
	Recording Recording
	Heard     Heard
	From      string // wire or stats: what of the recording Earshot was given
	Alone     string // a or b: the only end whose reports it was given; else empty
	Numbers   []Number
	SinceErrS *float64
	Wrong     []string // what is not as it should be
}

// said gives what a verdict says in a dimension.
func said(v *query.Verdict, dimension string) string {
	switch dimension {
	case "one_way":
		return v.OneWayAudio.State
	case "one_way_direction":
		if v.OneWayAudio.Direction != nil {
			return *v.OneWayAudio.Direction
		}
		return ""
	case "delay":
		return v.Delay.Band
	case "jitter":
		return v.Jitter.Band
	case "loss":
		return v.Loss.Band
	case "overall":
		return v.Overall
	case "fault_side":
		return v.FaultSide
	}
	panic("verdicts: no dimension " + dimension)
}

var dimensions = []string{"one_way", "one_way_direction", "delay", "jitter", "loss", "overall", "fault_side"}

// raised says whether a verdict tells of audio that goes one way or none.
func raised(v *query.Verdict) bool {
	return v.OneWayAudio.State == "suspected" || v.OneWayAudio.State == "confirmed"
}

// Judge holds what Earshot says of a recording against its truth.
func Judge(r Recording, from string, heard Heard) *Judgement {
	j := &Judgement{Recording: r, Heard: heard, From: from}
	t, v := &r.Truth, &heard.Call.Verdict
	j.always()
	if t.missable(missedFromS) && !raised(v) {
		j.wrong("one-way audio of %.0f s is missed: %s", t.Dead(), v.OneWayAudio.State)
	}
	for _, dimension := range dimensions {
		allowed := t.Expect.Allowed(dimension)
		if got := said(v, dimension); allowed != nil && !slices.Contains(allowed, got) {
			j.wrong("%s is %s, not %s", dimension, got, strings.Join(allowed, " or "))
		}
	}
	j.since()
	return j
}

// JudgeAlone does so where Earshot was given the reports of one end alone: it may
// know less, and may say nothing that is not so.
func JudgeAlone(r Recording, from, end string, heard Heard) *Judgement {
	j := &Judgement{Recording: r, Heard: heard, From: from, Alone: end}
	j.always()
	if v := &heard.Call.Verdict; r.Truth.missable(aloneFromS) && v.OneWayAudio.State == "none" {
		j.wrong("one-way audio of %.0f s is denied", r.Truth.Dead())
	}
	return j
}

// always is what holds whoever the witnesses are.
func (j *Judgement) always() {
	v := &j.Heard.Call.Verdict
	if !v.Final {
		j.wrong("the verdict is not final")
	}
	if j.trapped() {
		j.wrong("trap %s raised one-way: %s", j.Recording.Truth.Trap, v.OneWayAudio.State)
	}
	if len(v.Evidence) == 0 {
		j.wrong("no evidence")
	}
	for _, e := range v.Evidence {
		if e.Text == "" {
			j.wrong("evidence %s has no text", e.Kind)
		}
	}
	j.numbers()
}

// trapped says whether a call on which audio went as it should raised one-way.
func (j *Judgement) trapped() bool {
	t, v := &j.Recording.Truth, &j.Heard.Call.Verdict
	if t.Trap == "receive_only" && j.Alone != "" && j.From == "stats" && v.OneWayAudio.State == "suspected" {
		return false // without signalling nor the other end it looks like nothing else
	}
	return raised(v) && !t.oneWay() || raised(v) && t.Class == "trap" && !slices.Contains(t.Expect.Allowed("one_way"), v.OneWayAudio.State)
}

// missable says whether audio was dead for so many seconds that it must be found.
func (t *Truth) missable(fromS float64) bool {
	return t.Class == "fault" && t.oneWay() && t.Dead() >= fromS
}

func (j *Judgement) wrong(format string, args ...any) {
	j.Wrong = append(j.Wrong, fmt.Sprintf(format, args...))
}

// oneWay says whether audio went one way, or no way, when both should have worked.
func (t *Truth) oneWay() bool {
	return t.Fault == "one_way" || t.Fault == "no_audio" || slices.Contains(t.Expect.Allowed("one_way"), "suspected") || slices.Contains(t.Expect.Allowed("one_way"), "confirmed")
}

// at gives the time within the call.
func (t *Truth) at(at time.Time) float64 { return at.Sub(t.AnsweredAt).Seconds() }

func (j *Judgement) since() {
	t, v := &j.Recording.Truth, &j.Heard.Call.Verdict
	if t.Expect.SinceS == nil || !raised(v) {
		return
	}
	if v.OneWayAudio.Since.IsZero() {
		j.wrong("since when is not said")
		return
	}
	off := t.at(v.OneWayAudio.Since.Time) - *t.Expect.SinceS
	j.SinceErrS = &off
	if math.Abs(off) > sinceTolerance {
		j.wrong("since is off by %+.1f s", off)
	}
}

// numbers compares round trip, jitter and loss.
func (j *Judgement) numbers() {
	t, v := &j.Recording.Truth, &j.Heard.Call.Verdict
	if rtt := v.Delay.RTTMs; rtt != nil && t.RTT != nil {
		n := Number{Name: "rtt", Said: rtt.P50, True: t.RTT.P50, Tolerance: math.Max(rttToleranceMs, rttTolerance*t.RTT.P50)}
		for _, s := range j.Heard.Samples {
			if s.RTTMs != nil && t.at(s.At.Time) >= settleS {
				n.Reports++
			}
		}
		n.Uncertainty = math.Sqrt2 * t.RTT.uncertainty(n.Reports) // the truth is made of as few
		j.add(n)
	}
	for _, d := range []struct {
		name  string
		truth *Direction
		loss  *float64
	}{{"target_to_contact", t.AToB, v.Loss.TargetToContactPercent}, {"contact_to_target", t.BToA, v.Loss.ContactToTargetPercent}} {
		if d.truth == nil {
			continue
		}
		j.jitter(d.name, d.truth)
		// Loss of a direction that died in between is what one-way audio says. Of the
		// others the band is judged: the last report comes seconds before the end.
		if d.loss != nil && d.truth.LossPercent != nil && len(d.truth.Dead) == 0 {
			tolerance := lossTolerance + 0.05**d.truth.LossPercent
			j.Numbers = append(j.Numbers, Number{Name: "loss " + d.name, Said: *d.loss, True: *d.truth.LossPercent, Tolerance: tolerance})
		}
	}
}

func (j *Judgement) add(n Number) {
	j.Numbers = append(j.Numbers, n)
	if !n.OK() {
		j.wrong("%s is %.2f, truly %.2f", n.Name, n.Said, n.True)
	}
}

// jitter compares the jitter that the end that hears a direction told of it with
// that of the packets on their way out of the path. What the other end repeats of
// it is of an earlier moment.
func (j *Judgement) jitter(direction string, truth *Direction) {
	if truth.Jitter == nil {
		return
	}
	_, hears, _ := strings.Cut(direction, "_to_")
	var said, true_ []float64
	for _, s := range j.Heard.Samples {
		at := j.Recording.Truth.at(s.At.Time)
		if s.Direction != direction || s.Side != hears || s.JitterMs == nil || s.Source != "rtcp" && s.Source != "webrtc" || at < settleS {
			continue
		}
		own, known := truth.jitterAt(at, *s.JitterMs)
		if !known {
			continue
		}
		said, true_ = append(said, *s.JitterMs), append(true_, own)
	}
	if len(said) < 3 {
		return
	}
	n := Number{Name: "jitter " + direction, Said: median(said), True: median(true_), Reports: len(said)}
	n.Tolerance = math.Max(j.Recording.Truth.jitterFloor(), jitterTolerance*n.True)
	if truth.Jitter.Each100Ms == nil {
		n.Uncertainty = truth.Jitter.uncertainty(len(said))
	}
	j.add(n)
}

// jitterFloor is what a client itself adds to what it measures, ms.
func (t *Truth) jitterFloor() float64 {
	if slices.ContainsFunc(t.MadeWith, func(client string) bool { return strings.Contains(strings.ToLower(client), "linphone") }) {
		return jitterTickMs
	}
	return jitterFloorMs
}

// uncertainty is twice the standard deviation of the median of so few values of
// what varies like m: of a normal distribution the 95th percentile is 1.645
// standard deviations from the median, whose own is 1.2533/√n of one.
func (m *Measured) uncertainty(values int) float64 {
	return 2 * 1.2533 * (m.P95 - m.P50) / 1.645 / math.Sqrt(float64(max(values, 1)))
}

// reportLagS is how long before it was seen a report may have been made, at most.
const reportLagS = 0.2

// jitterAt gives the true jitter at the moment that a report is of, or that of
// the whole call where the moments were not kept. Which moment that was is not
// known to the tenth of a second, in which jitter may change by a fifth: of the
// values of that time the one nearest to what was said counts.
func (d *Direction) jitterAt(at, said float64) (ms float64, known bool) {
	each := d.Jitter.Each100Ms
	if each == nil {
		return d.Jitter.P50, true
	}
	first, last := int(math.Floor((at-reportLagS)*10)), int(math.Ceil(at*10))
	for k := max(first, 0); k <= last && k < len(each); k++ {
		if each[k] != nil && (!known || math.Abs(*each[k]-said) < math.Abs(ms-said)) {
			ms, known = *each[k], true
		}
	}
	return ms, known
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
