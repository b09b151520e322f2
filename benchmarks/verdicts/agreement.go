package verdicts

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/earshot/earshot/query"
)

// Agreement compares what Earshot says of the same call by two ways.
type Agreement struct {
	rows           []string
	counts         map[string]map[string]int // of same, unknown, contradicts by way
	Contradictions []string
	Missed         []string // one-way audio that healed, which only the other way told of
}

// healedS is how long an outage may be that reports five seconds apart and
// without RTP miss, for it heals between them or takes them with it.
const healedS = missedFromS

// comparison is one call by two ways.
type comparison struct {
	call, way string
	results   []string // of oneWay, delay, jitter, loss, rest
}

const (
	same    = "same"
	unknown = "unknown" // to the second way, which saw less
)

// Identical compares two verdicts to the last digit: their witnesses saw the same packets.
func (a *Agreement) Identical(call, way string, want, got *query.Verdict) {
	c := comparison{call: call, way: way}
	equal := func(name string, want, got any) {
		w, g := text(want), text(got)
		if w == g {
			c.results = append(c.results, same)
			return
		}
		c.results = append(c.results, "differs")
		a.contradicts(call, way, "%s is\n    %s\n    %s", name, g, w)
	}
	equal("one-way audio", oneWayOf(want), oneWayOf(got))
	equal("delay", want.Delay, got.Delay)
	equal("jitter", want.Jitter, got.Jitter)
	equal("loss", want.Loss, got.Loss)
	equal("the rest", []any{want.Overall, want.FaultSide, want.MOS}, []any{got.Overall, got.FaultSide, got.MOS})
	a.add(c)
}

// oneWayOf leaves out the times, which another clock may tell; the text has
// those since the answer.
func oneWayOf(v *query.Verdict) query.OneWayAudio {
	o := v.OneWayAudio
	o.Since, o.Until = query.Time{}, query.Time{}
	o.Spans = slices.Clone(o.Spans)
	for i := range o.Spans {
		o.Spans[i].Since, o.Spans[i].Until = query.Time{}, query.Time{}
	}
	return o
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of numbers and strings
	}
	return string(b)
}

// Compatible compares verdicts of witnesses of whom the second saw less, or saw
// it from another place. swapped says that the second calls target whom the
// first calls contact; lateMs is what may lie between their round trips besides.
func (a *Agreement) Compatible(t *Truth, way string, first, second *Heard, swapped bool, lateMs float64) {
	call := t.Name
	want, got := &first.Call.Verdict, &second.Call.Verdict
	c := comparison{call: call, way: way}
	judge := func(name, contradiction string, known bool) {
		switch {
		case contradiction != "":
			c.results = append(c.results, "contradicts")
			a.contradicts(call, way, "%s: %s", name, contradiction)
		case !known:
			c.results = append(c.results, unknown)
		default:
			c.results = append(c.results, same)
		}
	}
	oneWay := contradictOneWay(want, got, swapped)
	if oneWay != "" && t.oneWay() && t.Dead() < healedS && raised(want) != raised(got) {
		a.Missed = append(a.Missed, fmt.Sprintf("%s, %s: %s, of %.0f s", call, way, oneWay, t.Dead()))
		oneWay = ""
	}
	judge("one-way audio", oneWay, got.OneWayAudio.State != unknown && want.OneWayAudio.State != unknown)
	judge("delay", contradictNumbers(want.Delay.RTTMs, got.Delay.RTTMs, rttToleranceMs+lateMs, rttTolerance), got.Delay.RTTMs != nil && want.Delay.RTTMs != nil)
	jitter, known := contradictJitter(first, second, swapped)
	judge("jitter", jitter, known)
	judge("loss", contradictLoss(&want.Loss, &got.Loss, swapped), got.Loss.Percent != nil && want.Loss.Percent != nil)
	c.results = append(c.results, "")
	a.add(c)
}

func contradictOneWay(want, got *query.Verdict, swapped bool) string {
	w, g := &want.OneWayAudio, &got.OneWayAudio
	if w.State == unknown || g.State == unknown {
		return ""
	}
	if raised(want) != raised(got) {
		return fmt.Sprintf("%s where the other way says %s", g.State, w.State)
	}
	if !raised(want) {
		return ""
	}
	direction := *g.Direction
	if swapped && direction != "both" {
		direction = reversed[direction]
	}
	if direction != *w.Direction && *w.Direction != "both" && direction != "both" { // half of the truth is one, by whichever way
		return fmt.Sprintf("%s where the other way says %s", direction, *w.Direction)
	}
	return ""
}

var reversed = map[string]string{"target_to_contact": "contact_to_target", "contact_to_target": "target_to_contact"}

func contradictNumbers(want, got *query.Distribution, floor, share float64) string {
	if want == nil || got == nil || math.Abs(want.P50-got.P50) <= math.Max(floor, share*want.P50) {
		return ""
	}
	return fmt.Sprintf("%.2f ms where the other way says %.2f ms", got.P50, want.P50)
}

// contradictJitter compares what those who hear told of each direction.
func contradictJitter(first, second *Heard, swapped bool) (contradiction string, known bool) {
	for direction := range reversed {
		other := direction
		if swapped {
			other = reversed[direction]
		}
		w, g := first.jitter(direction), second.jitter(other)
		if len(w) < 3 || len(g) < 3 {
			continue
		}
		known = true
		// Few values of what varies have medians that lie apart.
		slices.Sort(w)
		apart := quantile(w, .9) - quantile(w, .1)
		if m := median(w); math.Abs(m-median(g)) > math.Max(jitterFloorMs, jitterTolerance*m)+apart {
			return fmt.Sprintf("%s %.2f ms where the other way says %.2f ms", direction, median(g), m), true
		}
	}
	return "", known
}

// jitter is what the end that hears a direction told of it, ms.
func (h *Heard) jitter(direction string) (all []float64) {
	_, hears, _ := strings.Cut(direction, "_to_")
	for _, s := range h.Samples {
		if s.Direction == direction && s.Side == hears && s.JitterMs != nil && (s.Source == "rtcp" || s.Source == "webrtc") {
			all = append(all, *s.JitterMs)
		}
	}
	return all
}

func contradictLoss(want, got *query.Loss, swapped bool) string {
	there, back := got.TargetToContactPercent, got.ContactToTargetPercent
	if swapped {
		there, back = back, there
	}
	for _, pair := range [][2]*float64{{want.TargetToContactPercent, there}, {want.ContactToTargetPercent, back}} {
		if w, g := pair[0], pair[1]; w != nil && g != nil && math.Abs(*w-*g) > lossTolerance+0.05**w {
			return fmt.Sprintf("%.2f %% where the other way says %.2f %%", *g, *w)
		}
	}
	return ""
}

func (a *Agreement) contradicts(call, way, format string, args ...any) {
	a.Contradictions = append(a.Contradictions, fmt.Sprintf("%s, %s: ", call, way)+fmt.Sprintf(format, args...))
}

func (a *Agreement) add(c comparison) {
	if a.counts == nil {
		a.counts = map[string]map[string]int{}
	}
	if a.counts[c.way] == nil {
		a.counts[c.way] = map[string]int{}
	}
	for _, r := range c.results {
		if r != "" {
			a.counts[c.way][r]++
		}
	}
	a.counts[c.way]["calls"]++
	a.rows = append(a.rows, fmt.Sprintf("| %s | %s | %s |", c.call, c.way, strings.Join(c.results, " | ")))
}

// String is the report as Markdown.
func (a *Agreement) String() string {
	var b strings.Builder
	b.WriteString("### ways in\n\n| ways | calls | dimensions that are the same | unknown to one | contradict |\n|---|---|---|---|---|\n")
	var ways []string
	for way := range a.counts {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	for _, way := range ways {
		n := a.counts[way]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", way, n["calls"], n[same], n[unknown], n["differs"]+n["contradicts"])
	}
	if len(a.Missed) > 0 {
		fmt.Fprintf(&b, "\nOne-way audio that one of two ways missed, where RTCP had no RTP headers beside it:\n\n- %s\n", strings.Join(a.Missed, "\n- "))
	}
	b.WriteString("\n| call | ways | one-way | delay | jitter | loss | overall, fault side, MOS |\n|---|---|---|---|---|---|---|\n")
	slices.Sort(a.rows)
	b.WriteString(strings.Join(a.rows, "\n") + "\n")
	return b.String()
}
