package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"github.com/earshot/earshot/telemetry"
)

const (
	// baselineWindow is how far back usual reaches before a call began.
	baselineWindow = 28 * 24 * time.Hour
	// baselineCalls is the least number of earlier calls that anything is usual by.
	baselineCalls = 10
	// maxBaselineCalls are the newest that are looked at: an office or version of a big
	// company has more than matter. Baseline.Since says how far they reached.
	maxBaselineCalls = 500
	// recentWindow is that day: how calls of others fared just before.
	recentWindow = 24 * time.Hour
	recentCalls  = 5
)

// Baseline is what is usual for one of the groups that a call belongs to, by
// their calls that began before it.
type Baseline struct {
	Kind        string  `json:"kind"` // user, network, office, app_version: the target's
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Calls       uint64  `json:"calls"`  // earlier ones, of 28 days
	Since       Time    `json:"since"`  // when the first of them began
	RTTMs       *Figure `json:"rtt_ms"` // the median of each call
	RTTP95Ms    *Figure `json:"rtt_p95_ms"`
	JitterMs    *Figure `json:"jitter_ms"` // the 95th percentile of each call
	LossPercent *Figure `json:"loss_percent"`
	MOS         *Figure `json:"mos"` // the average of each call
}

// Figure compares one number of a call with that of the calls before.
type Figure struct {
	Calls uint64   `json:"calls"` // that have the number; at least 10
	P50   float64  `json:"p50"`
	P90   float64  `json:"p90"` // of MOS, where low is bad, the 10th percentile
	This  *float64 `json:"this"`
	Ratio *float64 `json:"ratio"` // this by p50; null where p50 is 0
	// Remarkable: at least twice what is usual, beyond p90, and enough to be
	// noticed. Of MOS: 0.5 less than usual, and below the 10th percentile.
	Remarkable bool `json:"remarkable"`
	// The calls of others in the group that began in the 24 h before this one.
	RecentCalls uint64   `json:"recent_calls"`
	RecentP50   *float64 `json:"recent_p50"`
}

// metric is a number that is compared.
type metric struct {
	name, column string
	what, unit   string
	low          float64 // below it nobody notices
	step         float64 // nor if it is no further from what is usual
	digits       int
	worseDown    bool
}

var metrics = []metric{
	{name: "rtt_ms", column: "rtt_ms_p50", what: "The round trip", unit: " ms", low: 100, step: 40},
	{name: "rtt_p95_ms", column: "rtt_ms_p95", what: "The round trip of the worst moments (95th percentile)", unit: " ms", low: 150, step: 60},
	{name: "loss_percent", column: "loss_percent", what: "The loss", unit: " %", low: 1, step: 1, digits: 1},
	{name: "jitter_ms", column: "jitter_ms_p95", what: "The jitter (95th percentile)", unit: " ms", low: 20, step: 10},
	{name: "mos", column: "mos_avg", what: "The MOS", digits: 1, step: 0.5, worseDown: true},
}

func (b *Baseline) figure(i int) **Figure {
	return []**Figure{&b.RTTMs, &b.RTTP95Ms, &b.LossPercent, &b.JitterMs, &b.MOS}[i]
}

// these are the call's own numbers, in the order of metrics; NaN where unknown.
func (c *Call) these() []float64 {
	out := []float64{math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	v := &c.Verdict
	if d := v.Delay.RTTMs; d != nil {
		out[0], out[1] = d.P50, d.P95
	}
	if v.Loss.Percent != nil {
		out[2] = *v.Loss.Percent
	}
	if d := v.Jitter.JitterMs; d != nil {
		out[3] = d.P95
	}
	if v.MOS != nil {
		out[4] = v.MOS.Avg
	}
	return out
}

// Baselines compares a call with the calls before it. officeName names the
// target's office for people.
func (c Company) Baselines(ctx context.Context, call *Call, officeName string) ([]Baseline, error) {
	out := []Baseline{}
	if len(call.peers) == 0 {
		return out, nil
	}
	begin := call.StartedAt
	columns, arrays := "call_id, started_at, user_id, seq", "groupArray(cityHash64(call_id)), groupArray(seq), groupArray(toUnixTimestamp64Micro(started_at)), groupArray(user_id = {me:String})"
	for _, m := range metrics {
		columns += ", " + m.column
		arrays += ", groupArray(ifNull(" + m.column + ", nan))"
	}
	these := call.these()
	found := make([]*Baseline, len(call.peers))
	// Each on a connection of its own: planning takes longer than reading.
	group, ctx := errgroup.WithContext(ctx)
	for i, peer := range call.peers {
		group.Go(func() error {
			p := newParams()
			p.integer("from", begin.Add(-baselineWindow).UnixMicro())
			p.integer("to", begin.UnixMicro())
			p.text("kind", peer.Kind)
			p.text("id", peer.ID)
			p.text("call", call.ID)
			p.text("me", stringOf(call.Target.UserID))
			// In the order of the table from its end, so that only what is needed is
			// read. Versions that are not merged yet are neighbours; to order them too
			// would keep the server from reading in order.
			s := c.from("call_figures", p).get(columns).and("kind = {kind:String}", "id = {id:String}",
				"started_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')", "started_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC')", "call_id != {call:String}").
				with(fmt.Sprintf("ORDER BY started_at DESC, call_id DESC LIMIT %d", maxBaselineCalls)).inside("SELECT "+arrays, "")
			return c.ask(ctx, s, fewRows, func(scan func(...any) error) error {
				var calls []uint64
				var startedUs, seqs []int64
				var own []uint8
				values := make([][]float32, len(metrics))
				into := []any{&calls, &seqs, &startedUs, &own}
				for i := range values {
					into = append(into, &values[i])
				}
				if err := scan(into...); err != nil {
					return err
				}
				b := Baseline{Kind: peer.Kind, ID: peer.ID, Name: nameOf(peer, call, officeName)}
				if b.fill(newestOf(calls, seqs), startedUs, own, values, these, begin.Add(-recentWindow).UnixMicro()) {
					found[i] = &b
				}
				return nil
			})
		})
	}
	err := group.Wait()
	for _, b := range found {
		if b != nil {
			out = append(out, *b)
		}
	}
	return out, err
}

// newestOf marks, of the rows of calls in order of time, those to count: of
// versions of a call that are not merged yet the newest.
func newestOf(calls []uint64, seqs []int64) []bool {
	counts := make([]bool, len(calls))
	last := -1
	for k := range calls {
		if last >= 0 && calls[last] == calls[k] {
			if seqs[k] < seqs[last] {
				continue
			}
			counts[last] = false
		}
		counts[k], last = true, k
	}
	return counts
}

// fill sums up calls, the newest first; own says which are the target's. It is
// false where there is nothing to compare with.
func (b *Baseline) fill(counts []bool, startedUs []int64, own []uint8, values [][]float32, these []float64, recentUs int64) (any bool) {
	all, recent := make([][]float64, len(metrics)), make([][]float64, len(metrics))
	for k, is := range counts {
		if !is {
			continue
		}
		b.Calls++
		b.Since = micros(startedUs[k])
		for i := range metrics {
			v := float64(values[i][k])
			if math.IsNaN(v) {
				continue
			}
			all[i] = append(all[i], v)
			if own[k] == 0 && startedUs[k] >= recentUs {
				recent[i] = append(recent[i], v)
			}
		}
	}
	for i, m := range metrics {
		if len(all[i]) < baselineCalls {
			continue
		}
		tail := 0.9
		if m.worseDown {
			tail = 0.1
		}
		f := &Figure{Calls: uint64(len(all[i])), P50: quantile(all[i], 0.5), P90: quantile(all[i], tail), RecentCalls: uint64(len(recent[i]))}
		if len(recent[i]) > 0 {
			p50 := quantile(recent[i], 0.5)
			f.RecentP50 = &p50
		}
		f.compare(m, these[i])
		*b.figure(i) = f
		any = true
	}
	return any
}

// quantile sorts values and interpolates between the two nearest.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	at := q * float64(len(values)-1)
	low, part := math.Modf(at)
	if int(low) == len(values)-1 {
		return values[int(low)]
	}
	return values[int(low)] + part*(values[int(low)+1]-values[int(low)])
}

// fewRows are settings for reading some thousand rows in the order of the table:
// the default block would read twenty times as many, and threads cost more than they bring.
var fewRows = clickhouse.Settings{"max_threads": 1, "max_block_size": 1024, "query_plan_optimize_lazy_materialization": 0}

func stringOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func nameOf(p telemetry.Peers, call *Call, officeName string) string {
	switch {
	case p.Kind == telemetry.PeersUser && call.Target.Name != "":
		return call.Target.Name
	case p.Kind == telemetry.PeersOffice && officeName != "":
		return officeName
	case p.Kind == telemetry.PeersNetwork && officeName != "":
		return strings.TrimSuffix(p.ID, " of "+call.Target.OfficeID)
	case p.Kind == telemetry.PeersAppVersion:
		return strings.ReplaceAll(p.ID, "_", " ")
	}
	return p.ID
}

// compare sets what the call's own number is against the usual.
func (f *Figure) compare(m metric, this float64) {
	if math.IsNaN(this) {
		return
	}
	f.This = &this
	if f.P50 > 0 {
		ratio := this / f.P50
		f.Ratio = &ratio
	}
	f.Remarkable = m.remarkable(this, f.P50) && (m.worseDown && this < f.P90 || !m.worseDown && this > f.P90)
}

func (m metric) remarkable(this, usual float64) bool {
	if m.worseDown {
		return usual-this >= m.step
	}
	return this >= 2*usual && this >= m.low && this-usual >= m.step
}

// number writes a value as people read it.
func (m metric) number(v float64) string { return fmt.Sprintf("%.*f%s", m.digits, v, m.unit) }

// BaselineSentences tells what is remarkable about a call against its baselines,
// what tells most first.
func BaselineSentences(call *Call, baselines []Baseline) []Evidence {
	type finding struct {
		weight    float64
		sentences []Evidence
	}
	var found []finding
	for i, m := range metrics {
		// The worst moments are no news where the median is, nor is MOS where what
		// it is made of was told.
		if m.name == "rtt_p95_ms" && len(found) > 0 || m.name == "mos" && len(found) > 0 {
			continue
		}
		b := mostTelling(i, baselines)
		if b == nil {
			continue
		}
		f := *b.figure(i)
		weight := *f.This / max(f.P50, m.low/10)
		if m.worseDown {
			weight = 0
		}
		found = append(found, finding{weight, append([]Evidence{sentence(call, m, b, f, ownUsual(i, baselines))}, around(call, m, i, b, baselines)...)})
	}
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(b.weight, a.weight) })
	out := []Evidence{}
	for _, f := range found {
		out = append(out, f.sentences...)
	}
	return out
}

// mostTelling is the nearest group in which the number is remarkable: the user
// before the network, the office and the app version.
func mostTelling(i int, baselines []Baseline) *Baseline {
	for b := range baselines {
		if f := *baselines[b].figure(i); f != nil && f.Remarkable {
			return &baselines[b]
		}
	}
	return nil
}

func ownUsual(i int, baselines []Baseline) *Figure {
	for b := range baselines {
		if baselines[b].Kind == telemetry.PeersUser {
			return *baselines[b].figure(i)
		}
	}
	return nil
}

func evidence(call *Call, text string, f *Figure) Evidence {
	values := map[string]float64{"usual": f.P50, "usual_p90": f.P90, "calls": float64(f.Calls)}
	if f.This != nil {
		values["this"] = *f.This
	}
	if f.Ratio != nil {
		values["ratio"] = *f.Ratio
	}
	at := call.ConnectedAt
	if at.IsZero() {
		at = call.StartedAt
	}
	return Evidence{Kind: "baseline", At: at, Text: text, Values: values}
}

// sentence is what there is to say against one baseline.
func sentence(call *Call, m metric, b *Baseline, f, own *Figure) Evidence {
	basis := fmt.Sprintf("median of %d calls in %s", f.Calls, b.reach(call))
	text := fmt.Sprintf("%s was %s, where %s is usual %s (%s).", m.what, m.number(*f.This), m.number(f.P50), b.whose(), basis)
	if !m.worseDown && f.Ratio != nil && *f.Ratio < 100 {
		text = fmt.Sprintf("%s was %.1f times what is usual %s: %s (usual: %s, %s).", m.what, *f.Ratio, b.whose(), m.number(*f.This), m.number(f.P50), basis)
	}
	if b.Kind != telemetry.PeersUser && own != nil && !own.Remarkable {
		text += fmt.Sprintf(" It is not far from what is usual for this user: %s.", m.number(own.P50))
	}
	return evidence(call, text, f)
}

// around says whether others in the network and the office had the same trouble
// that day: that is where to look.
func around(call *Call, m metric, i int, telling *Baseline, baselines []Baseline) (out []Evidence) {
	for b := range baselines {
		g := &baselines[b]
		if g.Kind != telemetry.PeersNetwork && g.Kind != telemetry.PeersOffice {
			continue
		}
		f := *g.figure(i)
		if f == nil || f.RecentCalls < recentCalls || f.RecentP50 == nil {
			continue
		}
		calls := fmt.Sprintf("median of %d calls in the 24 h before", f.RecentCalls)
		if m.remarkable(*f.RecentP50, f.P50) {
			e := evidence(call, fmt.Sprintf("So it was for others %s that day: %s, %s (usual: %s). Look there, not at this user.",
				strings.Replace(g.whose(), "for", "in", 1), m.number(*f.RecentP50), calls, m.number(f.P50)), f)
			e.Values["recent"], e.Values["recent_calls"] = *f.RecentP50, float64(f.RecentCalls)
			return append(out, e)
		}
		if telling.Kind != telemetry.PeersUser {
			continue
		}
		e := evidence(call, fmt.Sprintf("Others %s were not affected: %s, %s.", strings.Replace(g.whose(), "for", "in", 1), m.number(*f.RecentP50), calls), f)
		e.Values["recent"], e.Values["recent_calls"] = *f.RecentP50, float64(f.RecentCalls)
		out = append(out, e)
	}
	return out
}

// whose names the group in a sentence.
func (b *Baseline) whose() string {
	switch b.Kind {
	case telemetry.PeersNetwork:
		return "for the network " + b.Name
	case telemetry.PeersOffice:
		return "for the office " + b.Name
	}
	return "for " + b.Name
}

// reach is how far back the calls of a baseline go.
func (b *Baseline) reach(call *Call) string {
	if b.Calls < maxBaselineCalls {
		return "28 days"
	}
	return spoken(call.StartedAt.Sub(b.Since.Time))
}
