// Package explain says of every number in a call's JSON how it came to be: the
// formula, what went into it, the clock it was counted with, who measured it,
// the standard that defines it and the rules that made a band of it. The table
// is the only place where this is written; API, report and portal read it.
package explain

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/earshot/earshot/query"
)

// Explanation says how one number came to be.
type Explanation struct {
	Name  string   `json:"name" doc:"What it is, in words"`
	Value *float64 `json:"value" doc:"The number itself; null where it is a time"`
	Unit  string   `json:"unit,omitempty"`
	// Formula says what was done with what the sources measured.
	Formula string  `json:"formula"`
	Inputs  []Input `json:"inputs,omitempty" doc:"What went into it, as far as it was kept"`
	// ClockRate of the RTP timestamps where they were involved.
	ClockRate []Clock   `json:"clock_rate,omitempty"`
	Source    []Witness `json:"source,omitempty" doc:"Who measured, and how"`
	Standard  string    `json:"standard,omitempty"`
	Rules     *Rules    `json:"rules,omitempty"`
	Band      string    `json:"band,omitempty" doc:"What the rules made of it"`
	Evidence  []int     `json:"evidence,omitempty" doc:"Places in verdict.evidence, from 1, that hold the inputs"`
}

// Input is one figure that went into a number.
type Input struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// Clock is the rate of a codec's RTP timestamps (RFC 3551; SDP a=rtpmap).
type Clock struct {
	Codec string `json:"codec"`
	Hz    uint32 `json:"hz"`
}

// Witness is who measured, and how.
type Witness struct {
	Kind     string `json:"kind"`
	Side     string `json:"side,omitempty"`
	Samples  uint32 `json:"samples,omitempty"`
	Formula  string `json:"formula,omitempty"`
	Standard string `json:"standard,omitempty"`
}

// Rules is what made a band or a state of a number.
type Rules struct {
	Version string `json:"version"`
	Text    string `json:"text"`
}

// Call explains every number of a call by its path in the call's JSON, such as
// verdict.delay.rtt_ms.p95 or verdict.evidence[2].values.packets_lost.
func Call(c query.Call) (map[string]Explanation, error) {
	numbers, err := leaves(c)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Explanation, len(numbers))
	for _, n := range numbers {
		e, known := table[n.pattern]
		if !known {
			continue
		}
		x := e.of(&subject{call: &c, index: n.index, pattern: n.pattern})
		x.Value = n.value
		out[n.path] = x
	}
	return out, nil
}

// Samples explains the columns of a call's samples: <source>.<column>, such as
// rtcp.rtt_ms, for what stands in the rows.
func Samples(rows []query.Sample) map[string]Explanation {
	out := map[string]Explanation{}
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for field, name := range sampleColumns {
			e, ok := columns[name]
			if v := row.Field(field); !ok || v.Kind() == reflect.Pointer && v.IsNil() {
				continue
			}
			key := rows[i].Source + "." + name
			x, known := out[key]
			if !known {
				x = e.column(rows[i].Source)
			}
			if clock := (Clock{rows[i].Codec, rows[i].ClockRate}); e.quantity[rows[i].Source].clocked && clock.Hz != 0 && !slices.Contains(x.ClockRate, clock) {
				x.ClockRate = append(x.ClockRate, clock)
			} else if known {
				continue
			}
			out[key] = x
		}
	}
	return out
}

// sampleColumns are the members of a sample in JSON by their place in the type.
var sampleColumns = func() map[int]string {
	out := map[int]string{}
	t := reflect.TypeFor[query.Sample]()
	for i := range t.NumField() {
		out[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return out
}()

func addClock(all []Clock, c Clock) []Clock {
	if slices.Contains(all, c) {
		return all
	}
	return append(all, c)
}

// leaf is a number in JSON. index has the places in the lists on the way to it.
type leaf struct {
	path    string // verdict.evidence[2].values.percent
	pattern string // verdict.evidence[].values.percent
	index   []int
	value   *float64 // nil: a time
}

// leaves gives every number, and the times that a verdict concludes.
func leaves(v any) ([]leaf, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot explain: %w", err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		return nil, fmt.Errorf("cannot explain: %w", err)
	}
	var out []leaf
	var walk func(v any, at leaf)
	walk = func(v any, at leaf) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				in := at
				if in.path != "" {
					in.path += "."
					in.pattern += "."
				}
				in.path += name
				in.pattern += name
				walk(member, in)
			}
		case []any:
			for i, item := range v {
				in := at
				in.path += "[" + strconv.Itoa(i) + "]"
				in.pattern += "[]"
				in.index = append(slices.Clone(at.index), i)
				walk(item, in)
			}
		case float64:
			at.value = &v
			out = append(out, at)
		case string:
			if _, explained := table[at.pattern]; explained {
				out = append(out, at)
			}
		}
	}
	walk(tree, leaf{})
	return out, nil
}

// subject is the number that is explained, in its call.
type subject struct {
	call    *query.Call
	index   []int
	pattern string
}

func (s *subject) verdict() *query.Verdict { return &s.call.Verdict }

// sources are the witnesses that can measure a quantity. direction narrows them
// to who hears it; empty: all.
func (s *subject) sources(q quantity, direction string) []Witness {
	hears := map[string]string{"target_to_contact": "contact", "contact_to_target": "target"}[direction]
	var out []Witness
	for _, w := range s.verdict().Sources {
		way, can := q[w.Kind]
		if w.Kind == "sip" && w.Side == "server" {
			continue // the messages; what phones tell in them has their side
		}
		if !can || (hears != "" && w.Side != hears && w.Side != "server") {
			continue
		}
		out = append(out, Witness{Kind: w.Kind, Side: w.Side, Samples: w.Samples, Formula: way.formula, Standard: way.standard})
	}
	return out
}

// clocks are the rates of the call's codecs as its SIP legs agreed on them.
func (s *subject) clocks() []Clock {
	var out []Clock
	for _, l := range s.call.Legs {
		if l.ClockRate != 0 && l.Kind == "sip" {
			out = addClock(out, Clock{l.Codec, l.ClockRate})
		}
	}
	return out
}

// evidence gives the places of the evidence of a kind, of one direction or, with
// an empty one, of all.
func (s *subject) evidence(direction string, kinds ...string) []int {
	var out []int
	for i, e := range s.verdict().Evidence {
		if slices.Contains(kinds, e.Kind) && (direction == "" || e.Direction == "" || e.Direction == direction) {
			out = append(out, i)
		}
	}
	return out
}

// inputs are values of evidence, by name. Where several pieces hold one, each
// is named by whom or which way it speaks of.
func (s *subject) inputs(places []int, names ...string) []Input {
	var out []Input
	for _, i := range places {
		e := s.verdict().Evidence[i]
		for _, name := range names {
			v, there := e.Values[name]
			if !there {
				continue
			}
			in := Input{Name: words(name), Value: v, Unit: unitOf(name)}
			if u := unitWords[in.Unit]; u != "" {
				in.Name = strings.TrimSuffix(in.Name, " "+u)
			}
			if len(places) > 1 {
				in.Name += of(e)
			}
			if !slices.Contains(out, in) {
				out = append(out, in)
			}
		}
	}
	return out
}

func of(e query.Evidence) string {
	switch {
	case e.Direction != "":
		return ", " + words(e.Direction)
	case e.Side != "":
		return ", " + e.Side
	}
	return ""
}

func words(name string) string {
	if w, ok := named[name]; ok {
		return w
	}
	return strings.ReplaceAll(name, "_", " ")
}

var unitWords = map[string]string{"ms": "ms", "%": "percent", "s": "s"}

// unitOf reads the unit off a name, which all names of the API hold.
func unitOf(name string) string {
	switch {
	case strings.HasSuffix(name, "_ms"), name == "min_ms":
		return "ms"
	case strings.HasSuffix(name, "percent"), strings.HasPrefix(name, "percent"):
		return "%"
	case strings.HasSuffix(name, "_s"):
		return "s"
	case strings.HasSuffix(name, "_hz"):
		return "Hz"
	}
	return ""
}

// entry explains one number of a call.
type entry struct {
	name     string
	unit     string
	formula  string
	standard string
	// quantity is what was measured; its witnesses are the source.
	quantity  quantity
	direction string   // narrows evidence and witnesses
	kinds     []string // of evidence that holds the inputs
	inputs    []string // names of values there
	rules     func(*query.Thresholds) string
	band      func(*query.Verdict) string
	more      func(*subject, *Explanation)
}

func (e entry) of(s *subject) Explanation {
	x := Explanation{Name: e.name, Unit: e.unit, Formula: e.formula, Standard: e.standard}
	x.Source = s.sources(e.quantity, e.direction)
	places := s.evidence(e.direction, e.kinds...)
	x.Inputs = s.inputs(places, e.inputs...)
	for _, i := range places {
		x.Evidence = append(x.Evidence, i+1)
	}
	if x.Standard == "" {
		x.Standard = standards(x.Source)
	}
	for _, w := range x.Source {
		if e.quantity[w.Kind].clocked {
			x.ClockRate = s.clocks()
		}
	}
	v := s.verdict()
	if e.rules != nil && v.Thresholds != nil {
		x.Rules = &Rules{Version: v.Rules, Text: e.rules(v.Thresholds)}
	}
	if e.band != nil {
		x.Band = e.band(v)
	}
	if e.more != nil {
		e.more(s, &x)
	}
	return x
}

// column explains a column of the samples as one source fills it.
func (e entry) column(source string) Explanation {
	x := Explanation{Name: e.name, Unit: e.unit, Formula: e.formula, Standard: e.standard}
	if way, ok := e.quantity[source]; ok {
		x.Formula, x.Standard = way.formula, way.standard
		x.Source = []Witness{{Kind: source}}
	}
	return x
}

// standards names those of the sources, each once.
func standards(sources []Witness) string {
	var out []string
	for _, s := range sources {
		if s.Standard != "" && !slices.Contains(out, s.Standard) {
			out = append(out, s.Standard)
		}
	}
	return strings.Join(out, "; ")
}
