package calls

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// Where on the call page a sentence is to be seen.
const (
	graphRTT    = "rtt"
	graphJitter = "jitter"
	graphBuffer = "jitter_buffer"
	graphLoss   = "loss"
	graphLevel  = "level"
	graphMOS    = "mos"
	graphLadder = "ladder"
)

// The order in which an engineer tells of a call.
const (
	placeHeard     = iota // what was heard, and since when
	placeAgainst          // who says otherwise
	placeFault            // where the fault lies
	placeMeasure          // the measures, the worst first
	placePart             // the parts of the way
	placeContext          // what else happened
	placeUnknown          // what is not known
	placeAfterward        // what became of the verdict itself
)

// kinds of evidence: their place in the story, and the graph they are seen on.
var kinds = map[string]struct {
	place int
	graph string
}{
	"not_answered": {placeHeard, graphLadder},

	"never_received":   {placeHeard, graphLoss},
	"stopped":          {placeHeard, graphLoss},
	"not_received":     {placeHeard, graphLevel},
	"nothing_sent":     {placeHeard, graphLoss},
	"not_acknowledged": {placeHeard, graphLoss},
	"lost_before":      {placeHeard, graphLoss},
	"healed":           {placeHeard, graphLoss},
	"audio_both_ways":  {placeHeard, ""},

	"contradiction": {placeAgainst, ""},
	"fault":         {placeFault, ""},

	"rtt":    {placeMeasure, graphRTT},
	"jitter": {placeMeasure, graphJitter},
	"loss":   {placeMeasure, graphLoss},
	"mos":    {placeMeasure, graphMOS},

	"rtt_measured":  {placePart, graphRTT},
	"rtt_sum":       {placePart, graphRTT},
	"rtt_partial":   {placePart, graphRTT},
	"segment":       {placePart, graphRTT},
	"not_forwarded": {placePart, graphLoss},

	"hold":                {placeContext, graphLadder},
	"muted":               {placeContext, graphLevel},
	"muted_or_bridge":     {placeContext, graphLevel},
	"silent_payload":      {placeContext, graphLevel},
	"dead_microphone":     {placeContext, graphLevel},
	"not_sent":            {placeContext, graphLevel},
	"fax":                 {placeContext, graphLadder},
	"transfer":            {placeContext, graphLadder},
	"early_media":         {placeContext, graphLadder},
	"silence_suppression": {placeContext, graphLoss},
	"receive_only":        {placeContext, graphLoss},

	"not_expected":      {placeUnknown, graphLadder},
	"too_short":         {placeUnknown, ""},
	"encrypted":         {placeUnknown, ""},
	"not_observed":      {placeUnknown, ""},
	"direction_unknown": {placeUnknown, ""},
	"no_mos":            {placeUnknown, graphMOS},

	"late_reports": {placeAfterward, ""},
}

// told is a sentence with what orders it among the others.
type told struct {
	e        *telemetry.Evidence
	severity int // of the band that it gives reasons for
}

// say adds a sentence. d is the direction it speaks of (its sender), or -1.
func (v *verdictOf) say(kind string, d int, side string, atUs int64, values map[string]float64, format string, args ...any) *told {
	e := &telemetry.Evidence{
		Kind: kind, AtUs: atUs, Side: side, Values: values, Text: capital(fmt.Sprintf(format, args...)), Graph: kinds[kind].graph,
	}
	if d >= 0 {
		e.Direction = v.c.directionName(d)
	}
	for k, x := range e.Values {
		e.Values[k] = round(x, 3)
	}
	if v.c.ordinal > 0 {
		e.Leg = v.c.sipLeg(1 - int(v.c.callerParty))
	}
	t := &told{e: e, severity: -1}
	*v.told = append(*v.told, t)
	return t
}

// until makes it a span. A span that has not passed is none.
func (t *told) until(us int64) *told {
	if us > t.e.AtUs && t.e.AtUs != 0 {
		t.e.UntilUs = us
	}
	return t
}

func (t *told) on(graph string) *told {
	t.e.Graph = graph
	return t
}

func (t *told) band(band string) *told {
	t.severity = quality.Severity(band)
	return t
}

// evidence gives the sentences in the order in which they are told.
func (v *verdictOf) evidence() []*telemetry.Evidence {
	list := *v.told
	slices.SortStableFunc(list, func(a, b *told) int {
		place := kinds[a.e.Kind].place
		order := cmp.Or(cmp.Compare(place, kinds[b.e.Kind].place), cmp.Compare(b.severity, a.severity))
		if order == 0 && place == placeContext {
			order = cmp.Compare(a.e.AtUs, b.e.AtUs)
		}
		return order
	})
	out := make([]*telemetry.Evidence, len(list))
	for i, t := range list {
		out[i] = t.e
	}
	return out
}

// said says whether a sentence of a kind about direction d stands already.
func (v *verdictOf) said(d int, oneOf ...string) bool {
	name := v.c.directionName(d)
	for _, t := range *v.told {
		if t.e.Direction == name && slices.Contains(oneOf, t.e.Kind) {
			return true
		}
	}
	return false
}

// --- words ---

func clock(us int64) string { return telemetry.Time(us).Format("15:04:05") + " UTC" }

func seconds(us int64) string {
	return fmt.Sprintf("%.0f s", math.Max(float64(us)/float64(second), 0))
}

// who names a party in a sentence.
func (v *verdictOf) who(p int) string { return "the " + v.side(p) }

func (v *verdictOf) side(p int) string { return v.root.sideOf(v.c, p) }

// end names a party as an end of the call, which getStats always are.
func (v *verdictOf) end(p int) string { return "the " + v.c.side(p) }

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func round(x float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(x*p) / p
}

func optional(x float64, digits int) *float64 {
	r := round(x, digits)
	return &r
}

func distribution(h *quality.Histogram, digits int) *telemetry.Distribution {
	if h.Count() == 0 {
		return nil
	}
	return &telemetry.Distribution{
		Min: round(h.Min(), digits), P50: round(h.Quantile(0.5), digits), P95: round(h.Quantile(0.95), digits), Max: round(h.Max(), digits),
	}
}
