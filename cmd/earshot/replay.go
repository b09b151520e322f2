package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

const (
	// replayMargin is how much earlier than asked a replay begins to read, to know
	// the calls that were under way by then.
	replayMargin = 15 * time.Minute
	// compareAtOnce is how many calls are looked up in the store at a time.
	compareAtOnce = 500
)

func replayCommand() *cobra.Command {
	var since, until, rules string
	var asJSON bool
	r := replay{}
	cmd := &cobra.Command{
		Use: "replay", Short: "Judge again what Kafka still holds and show which verdicts would change", Args: cobra.NoArgs,
		Long: `Judge again the calls of which Kafka still holds all telemetry, under the rules that
the processors have or under others, and show which of them would get another
verdict than the one that users see. Nothing is written.

T is how long ago (90m, 36h, 7d) or a time (2026-11-22, 2026-11-22T18:00:00Z), and
counts from reception. Calls that began before it are not compared.`,
		Example: "  earshot replay --since 7d --rules strict.yaml\n  earshot replay --since 36h --rules teams --company acme --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			var err error
			if r.since, err = parseMoment(since, now); err != nil {
				return fmt.Errorf("cannot use --since: %w", err)
			}
			r.until = now
			if until != "" {
				if r.until, err = parseMoment(until, now); err != nil {
					return fmt.Errorf("cannot use --until: %w", err)
				}
			}
			if !r.since.Before(r.until) {
				return fmt.Errorf("cannot replay from %s until %s: that is no time at all", r.since.Format(time.RFC3339), r.until.Format(time.RFC3339))
			}
			if r.s, _, err = load(cmd); err != nil {
				return err
			}
			if r.rules, err = quality.LoadRules(cmp.Or(rules, r.s.Verdicts.Rules)); err != nil {
				return err
			}
			if run, err := engines.ReadRun(r.s.Data); err == nil && run.Alive {
				r.apiAddr = run.API
			}
			if err := r.s.findEngines(); err != nil {
				return err
			}
			r.errOut, r.drawn = cmd.ErrOrStderr(), isTerminal(os.Stderr)
			if err := r.run(cmd.Context()); err != nil {
				return err
			}
			if asJSON {
				return r.printJSON(cmd.OutOrStdout())
			}
			return r.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "judge calls that began at T or later")
	cmd.Flags().StringVar(&until, "until", "", "read telemetry that came before T; default: now")
	cmd.Flags().StringVar(&rules, "rules", "", "file of rules, or the name of a preset; default: verdicts.rules")
	cmd.Flags().StringVar(&r.company, "company", "", "only this company's calls")
	cmd.Flags().IntVar(&r.limit, "limit", 1000, "how many changed calls are shown, the oldest first; all are counted")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	_ = cmd.MarkFlagRequired("since")
	return cmd
}

// parseMoment reads a time, or how long before now it is.
func parseMoment(text string, now time.Time) (time.Time, error) {
	ago, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		ago = time.Duration(n * float64(24*time.Hour))
	}
	if err == nil {
		if ago < 0 {
			return time.Time{}, fmt.Errorf("%q lies in the future", text)
		}
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-22T18:00:00Z nor how long ago, such as 36h or 7d", text)
}

// replayCounts says what became of the calls that were judged again.
type replayCounts struct {
	Compared  int `json:"compared"`
	Unchanged int `json:"unchanged"`
	// Reworded calls are unchanged ones that say it with other figures or sentences.
	Reworded    int            `json:"reworded"`
	Changed     int            `json:"changed"`
	ByDimension map[string]int `json:"changed_by_dimension"`
	// What follows was not compared.
	BeganBefore int `json:"began_before"`
	Open        int `json:"open"`
	NotStored   int `json:"not_stored"`
	Superseded  int `json:"superseded"`
}

// changedCall is a call that would get another verdict.
type changedCall struct {
	Company   string         `json:"company"`
	CallID    string         `json:"call_id"`
	Link      string         `json:"link"`
	StartedAt query.Time     `json:"started_at"`
	RulesFrom string         `json:"rules_from"`
	RulesTo   string         `json:"rules_to"`
	Changes   []calls.Change `json:"changes"`
}

// replay is one run of `earshot replay`.
type replay struct {
	s            *settings
	rules        *quality.RuleBook
	since, until time.Time
	company      string
	limit        int
	apiAddr      string
	store        *query.Store
	errOut       io.Writer
	drawn        bool // progress is drawn: standard error is a terminal

	mu      sync.Mutex
	counts  replayCounts
	changed []changedCall
	whole   time.Time // from when on Kafka holds calls whole
	drawnAt time.Time
	failed  context.CancelCauseFunc
}

func (r *replay) run(ctx context.Context) error {
	conn, err := clickhouse.Open(r.s.ClickHouse)
	if err != nil {
		return err
	}
	defer conn.Close()
	r.store = query.New(conn, query.Options{MaxExecution: r.s.ClickHouse.MaxExecution})
	if err := r.store.Ping(ctx); err != nil {
		return err
	}
	r.counts.ByDimension, r.changed, r.whole = map[string]int{}, []changedCall{}, r.since
	ctx, r.failed = context.WithCancelCause(ctx)
	defer r.failed(nil)

	parts := map[int32]*replayedPart{}
	part := func(p processors.ReplayedPartition) *replayedPart {
		r.mu.Lock()
		defer r.mu.Unlock()
		if parts[p.Number] == nil {
			parts[p.Number] = newReplayedPart(ctx, r, p)
		}
		return parts[p.Number]
	}
	err = processors.Replay(ctx, r.s.Processors, processors.ReplayDeps{
		Bus: r.s.Kafka, Topics: []string{telemetry.TopicTelemetry},
		Machine: func(p processors.ReplayedPartition) processors.Machine { return part(p).retrial },
		Ended: func(p processors.ReplayedPartition) error {
			done := part(p)
			done.retrial.Rest()
			done.compare()
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(parts, p.Number) // its memory
			return context.Cause(ctx)
		},
		Progress: r.progress,
	}, r.since.Add(-replayMargin), r.until)
	if r.drawn {
		fmt.Fprint(r.errOut, "\r\033[K")
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	r.cut(r.limit)
	return err
}

// progress draws one line that is renewed, where somebody looks.
func (r *replay) progress(done, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.drawn || time.Since(r.drawnAt) < 100*time.Millisecond {
		return
	}
	r.drawnAt = time.Now()
	fmt.Fprintf(r.errOut, "\r\033[K%3.0f %% read, %d calls compared, %d changed", 100*float64(done)/float64(max(total, 1)), r.counts.Compared, r.counts.Changed)
}

// replayedPart judges the calls of one partition again and compares them.
type replayedPart struct {
	replay  *replay
	ctx     context.Context // of the replay: machines are not told one
	retrial *calls.Retrial
	end     int64 // offset up to which was read
	sinceUs int64 // from when on calls are whole
	waiting map[string][]calls.Retried
	n       int
}

func newReplayedPart(ctx context.Context, r *replay, p processors.ReplayedPartition) *replayedPart {
	since := r.since
	if p.Trimmed() {
		// Retention has taken what was before. What is heard of within the margin
		// may have begun there.
		since = latest(since, p.FirstAt.Add(replayMargin))
		r.whole = latest(r.whole, since)
	}
	part := &replayedPart{replay: r, ctx: ctx, end: p.End, sinceUs: since.UnixMicro(), waiting: map[string][]calls.Retried{}}
	part.retrial = calls.NewRetrial(r.rules, r.company, part.over)
	return part
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// over takes a call of which there is no later version to come.
func (p *replayedPart) over(c calls.Retried) {
	began := p.sinceUs > c.FirstUs || c.Timeline == "" && p.sinceUs > c.Call.StartedUs
	switch {
	case c.LastUs < p.sinceUs:
		return // read only for the sake of others
	case began:
		p.count(func(n *replayCounts) { n.BeganBefore++ })
	case !c.Call.GetVerdict().GetFinal():
		p.count(func(n *replayCounts) { n.Open++ })
	default:
		p.waiting[c.Company] = append(p.waiting[c.Company], c)
		if p.n++; p.n >= compareAtOnce {
			p.compare()
		}
	}
}

func (p *replayedPart) count(change func(*replayCounts)) {
	p.replay.mu.Lock()
	defer p.replay.mu.Unlock()
	change(&p.replay.counts)
}

// compare looks up the calls that wait and compares them.
func (p *replayedPart) compare() {
	for company, list := range p.waiting {
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].CallID
		}
		stored, err := p.replay.store.Company(company).StoredCalls(p.ctx, ids)
		if err != nil {
			p.replay.failed(fmt.Errorf("cannot look up calls of %s: %w", company, err))
			return
		}
		for _, c := range list {
			p.judge(c, stored)
		}
	}
	clear(p.waiting)
	p.n = 0
}

func (p *replayedPart) judge(c calls.Retried, stored map[string]query.StoredCall) {
	r := p.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	was, found := stored[c.CallID]
	switch {
	case !found:
		r.counts.NotStored++
		return
	case c.Timeline == "" && was.Timeline == "" && was.Call.GetStartedUs() < p.sinceUs:
		// Nothing came of it within the margin, so that it seemed to begin later.
		r.counts.BeganBefore++
		return
	case was.Timeline != c.Timeline:
		r.counts.Superseded++
		return
	case !was.Call.GetVerdict().GetFinal() || processors.InputOffset(was.Seq) >= p.end:
		r.counts.Open++ // the sink is behind, or more has come since
		return
	}
	r.counts.Compared++
	from, to := was.Call.GetVerdict(), c.Call.GetVerdict()
	changes := calls.Changes(from, to)
	if len(changes) == 0 {
		r.counts.Unchanged++
		if !calls.SameVersion(was.Call, c.Call) {
			r.counts.Reworded++
		}
		return
	}
	r.counts.Changed++
	for _, change := range changes {
		r.counts.ByDimension[change.Dimension]++
	}
	r.changed = append(r.changed, changedCall{
		Company: c.Company, CallID: c.CallID, Link: r.s.callLink(r.apiAddr, c.Company, c.CallID),
		StartedAt: query.Time{Time: telemetry.Time(c.Call.StartedUs)}, RulesFrom: from.GetRules(), RulesTo: to.GetRules(), Changes: changes,
	})
	if len(r.changed) > 2*r.limit+1000 {
		r.cut(r.limit)
	}
}

// cut keeps the oldest of the changed calls.
func (r *replay) cut(limit int) {
	slices.SortFunc(r.changed, func(a, b changedCall) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt.Time), cmp.Compare(a.Company, b.Company), cmp.Compare(a.CallID, b.CallID))
	})
	r.changed = r.changed[:min(len(r.changed), max(limit, 0))]
}

func (r *replay) printJSON(out io.Writer) error {
	versions := map[string]string{}
	for company := range r.rules.Companies() {
		versions[company] = r.rules.For(company).Version
	}
	return writeJSON(out, struct {
		Since     query.Time        `json:"since"`
		Until     query.Time        `json:"until"`
		WholeFrom query.Time        `json:"whole_from"` // Kafka holds all telemetry of calls that began later
		Rules     string            `json:"rules"`
		Companies map[string]string `json:"companies,omitempty"` // those with other rules
		Counts    replayCounts      `json:"counts"`
		Changed   []changedCall     `json:"changed"`
		LeftOff   int               `json:"left_off"`
	}{
		query.Time{Time: r.since}, query.Time{Time: r.until}, query.Time{Time: r.whole},
		r.rules.Default().Rules.Version, versions, r.counts, r.changed, r.counts.Changed - len(r.changed),
	})
}

func (r *replay) print(out io.Writer) error {
	var problems []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format+"\n", args...)
		problems = append(problems, err)
	}
	if len(r.changed) > 0 {
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "CALL\tSTARTED\tWOULD CHANGE\tRULES\tLINK")
		for _, c := range r.changed {
			texts := make([]string, len(c.Changes))
			for i, change := range c.Changes {
				texts[i] = fmt.Sprintf("%s: %s → %s", change.Dimension, change.From, change.To)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s → %s\t%s\n", c.CallID, c.StartedAt.UTC().Format(time.RFC3339), strings.Join(texts, ", "), c.RulesFrom, c.RulesTo, c.Link)
		}
		problems = append(problems, w.Flush())
		if left := r.counts.Changed - len(r.changed); left > 0 {
			say("… and %d more; see --limit.", left)
		}
		say("")
	}
	n := r.counts
	say("%d calls since %s compared under %s: %d changed, %d unchanged (%d of them in other figures or words).",
		n.Compared, r.since.UTC().Format(time.RFC3339), inForce(r.rules), n.Changed, n.Unchanged, n.Reworded)
	if n.Changed > 0 {
		var parts []string
		for _, dimension := range calls.Dimensions {
			if k := n.ByDimension[dimension]; k > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", dimension, k))
			}
		}
		say("Changed by dimension: %s.", strings.Join(parts, ", "))
	}
	if r.whole.After(r.since) {
		say("Retention has taken the beginning: only from %s on Kafka holds calls whole.", r.whole.UTC().Format(time.RFC3339))
	}
	for _, not := range []struct {
		n   int
		why string
	}{
		{n.BeganBefore, "began before that"},
		{n.Open, "have no final verdict yet"},
		{n.NotStored, "are no longer in the store"},
		{n.Superseded, "are shown from another capture"},
	} {
		if not.n > 0 {
			say("Not compared: %d that %s.", not.n, not.why)
		}
	}
	return errors.Join(problems...)
}
