package verdicts

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Result is what became of a whole set.
type Result []*Judgement

// Wrong lists everything that is not as it should be, a line each.
func (r Result) Wrong() (all []string) {
	for _, j := range r {
		for _, what := range j.Wrong {
			all = append(all, j.title()+": "+what)
		}
	}
	return all
}

func (j *Judgement) title() string {
	var of []string
	if j.Recording.Wire != "" && j.Recording.Stats != "" {
		of = append(of, j.From)
	}
	if j.Alone != "" {
		of = append(of, j.Alone+" alone")
	}
	if of == nil {
		return j.Recording.Truth.Name
	}
	return j.Recording.Truth.Name + " (" + strings.Join(of, ", ") + ")"
}

// String is the report as Markdown.
func (r Result) String() string {
	var b strings.Builder
	r.summary(&b)
	for _, dimension := range dimensions {
		r.matrix(&b, dimension, func(t *Truth) []string { return t.Expect.Allowed(dimension) })
	}
	r.matrix(&b, "one_way", func(t *Truth) []string {
		if t.Class == "fault" {
			return []string{t.Fault}
		}
		return []string{strings.TrimSpace(t.Class + " " + t.Trap)}
	})
	r.errors(&b)
	r.table(&b)
	return b.String()
}

func (r Result) summary(b *strings.Builder) {
	calls := map[string]bool{}
	count := map[string]int{}
	var trapsRaised, missed []string
	for _, j := range r {
		t, v := &j.Recording.Truth, &j.Heard.Call.Verdict
		if !calls[t.Name] {
			calls[t.Name] = true
			count[t.Class]++
		}
		if len(j.Wrong) == 0 {
			count["right"]++
		}
		if j.trapped() {
			trapsRaised = append(trapsRaised, j.title())
		}
		if from := map[bool]float64{true: missedFromS, false: aloneFromS}[j.Alone == ""]; t.missable(from) {
			count["one-way"]++
			if !raised(v) && (j.Alone == "" || v.OneWayAudio.State != unknown) {
				missed = append(missed, j.title())
			}
		}
	}
	fmt.Fprintf(b, "%d calls: %d clean, %d with a fault, %d traps; %d verdicts (captures and getStats apart), of which %d are right in everything.\n\n",
		len(calls), count["clean"], count["fault"], count["trap"], len(r), count["right"])
	fmt.Fprintf(b, "- one-way audio was raised where there was none: %s\n", orNone(trapsRaised))
	fmt.Fprintf(b, "- one-way or no audio for %d s or more (%d s by one end alone) that was missed: %s of %d\n", missedFromS, aloneFromS, orNone(missed), count["one-way"])
	if wrong := r.Wrong(); len(wrong) > 0 {
		fmt.Fprintf(b, "\nWrong:\n\n- %s\n", strings.Join(wrong, "\n- "))
	}
	b.WriteByte('\n')
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// orders are how labels stand in the matrices; others follow by name.
var orders = []string{"none", "suspected", "confirmed", "good", "acceptable", "bad", "unacceptable", "target_to_contact", "contact_to_target", "both",
	"target", "contact", "network", "server", "unknown", ""}

func byOrder(a, b string) int {
	rank := func(label string) int {
		label, _, _ = strings.Cut(label, " or ")
		if i := slices.Index(orders, label); i >= 0 {
			return i
		}
		return len(orders)
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// matrix counts what was said in a dimension by what is true.
func (r Result) matrix(b *strings.Builder, dimension string, truthOf func(*Truth) []string) {
	counts, columns := map[string]map[string]int{}, map[string]bool{}
	for _, j := range r {
		allowed := truthOf(&j.Recording.Truth)
		if allowed == nil {
			continue
		}
		truth, got := strings.Join(allowed, " or "), said(&j.Heard.Call.Verdict, dimension)
		if counts[truth] == nil {
			counts[truth] = map[string]int{}
		}
		counts[truth][got]++
		columns[got] = true
	}
	if len(counts) == 0 {
		return
	}
	said := slices.SortedFunc(maps.Keys(columns), byOrder)
	fmt.Fprintf(b, "### %s\n\n| true \\ said |", strings.ReplaceAll(dimension, "_", " "))
	for _, label := range said {
		fmt.Fprintf(b, " %s |", orDash(label))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(said)))
	for _, truth := range slices.SortedFunc(maps.Keys(counts), byOrder) {
		fmt.Fprintf(b, "| %s |", truth)
		for _, label := range said {
			switch n := counts[truth][label]; {
			case n == 0:
				b.WriteString(" |")
			case slices.Contains(strings.Split(truth, " or "), label):
				fmt.Fprintf(b, " **%d** |", n)
			default:
				fmt.Fprintf(b, " %d |", n)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

// AloneString is the report of verdicts by the reports of one end alone.
func (r Result) AloneString() string {
	var b strings.Builder
	b.WriteString("## By the reports of one end alone\n\n")
	r.summary(&b)
	r.matrix(&b, "one_way", func(t *Truth) []string { return t.Expect.Allowed("one_way") })
	r.errors(&b)
	return b.String()
}

// errors tells how far the numbers are off.
func (r Result) errors(b *strings.Builder) {
	byName := map[string][]Number{}
	var since []float64
	for _, j := range r {
		for _, n := range j.Numbers {
			name, _, _ := strings.Cut(n.Name, " ")
			byName[name] = append(byName[name], n)
		}
		if j.SinceErrS != nil {
			since = append(since, *j.SinceErrS)
		}
	}
	b.WriteString("### errors\n\n| number | compared | error p5 / p50 / p95 | largest | beyond tolerance | beyond that and what so few reports of a varying path can tell |\n|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		var errs, relative []float64
		beyond, off := 0, 0
		for _, n := range byName[name] {
			errs = append(errs, n.Error())
			if n.True != 0 {
				relative = append(relative, math.Abs(n.Error())/n.True)
			}
			if math.Abs(n.Error()) > n.Tolerance {
				beyond++
			}
			if !n.OK() {
				off++
			}
		}
		unit := map[string]string{"rtt": "ms", "jitter": "ms", "loss": "points"}[name]
		fmt.Fprintf(b, "| %s | %d | %s %s | %+.2f | %d | %d |\n", name, len(errs), spread(errs), unit, largest(errs), beyond, off)
		if name != "loss" && len(relative) > 0 {
			slices.Sort(relative)
			fmt.Fprintf(b, "| %s, of the truth | %d | median %.1f %%, p95 %.1f %% | %.1f %% | | |\n", name, len(relative), 100*quantile(relative, .5), 100*quantile(relative, .95), 100*relative[len(relative)-1])
		}
	}
	if len(since) > 0 {
		fmt.Fprintf(b, "| one-way audio: since | %d | %s s | %+.2f | | |\n", len(since), spread(since), largest(since))
	}
	b.WriteByte('\n')
}

func spread(v []float64) string {
	v = slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%+.2f / %+.2f / %+.2f", quantile(v, .05), quantile(v, .5), quantile(v, .95))
}

func largest(v []float64) float64 {
	most := 0.0
	for _, x := range v {
		if math.Abs(x) > math.Abs(most) {
			most = x
		}
	}
	return most
}

// quantile of sorted values.
func quantile(v []float64, q float64) float64 {
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

// table has a line for each verdict.
func (r Result) table(b *strings.Builder) {
	b.WriteString("### calls\n\n| call | class | one-way | delay | jitter | loss | overall | fault side | RTT ms (true) | jitter ms → (true) | ← (true) | loss % → (true) | ← (true) | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, j := range r {
		t, v := &j.Recording.Truth, &j.Heard.Call.Verdict
		class := t.Fault
		if t.Class != "fault" {
			class = strings.TrimSpace(t.Class + " " + t.Trap)
		}
		oneWay := v.OneWayAudio.State
		if v.OneWayAudio.Direction != nil && raised(v) {
			oneWay += " " + arrows[*v.OneWayAudio.Direction]
		}
		verdict := "ok"
		if len(j.Wrong) > 0 {
			verdict = "**wrong**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", j.title(), strings.ReplaceAll(class, "_", " "), oneWay,
			v.Delay.Band, v.Jitter.Band, v.Loss.Band, v.Overall, v.FaultSide, j.cell("rtt", 1),
			j.cell("jitter target_to_contact", 2), j.cell("jitter contact_to_target", 2), j.cell("loss target_to_contact", 2), j.cell("loss contact_to_target", 2), verdict)
	}
	b.WriteByte('\n')
}

var arrows = map[string]string{"target_to_contact": "→", "contact_to_target": "←", "both": "↔"}

func (j *Judgement) cell(name string, digits int) string {
	for _, n := range j.Numbers {
		if n.Name == name {
			return fmt.Sprintf("%.*f (%.*f)", digits, n.Said, digits, n.True)
		}
	}
	return ""
}
