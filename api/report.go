package api

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/query/explain"
)

// report is what a support engineer pastes into a ticket: who has the trouble,
// which call, between which numbers, and what was measured.
type report struct {
	Call        query.Call        `json:"call"`
	UserID      *string           `json:"user_id" doc:"Of the target: whose call it is"`
	UserLink    string            `json:"user_link,omitempty"`
	CallLink    string            `json:"call_link"`
	ToNumber    string            `json:"to_number" doc:"The number that received the call"`
	FromNumber  string            `json:"from_number" doc:"The number that made the call"`
	SummaryText string            `json:"summary_text"`
	Evidence    []reportEvidence  `json:"evidence" doc:"In the order in which an engineer would tell it"`
	Graphs      map[string]string `json:"graphs" doc:"Links to the graphs and to the points behind them"`

	Explain map[string]explain.Explanation `json:"explain,omitempty" doc:"By path in the call, such as verdict.delay.rtt_ms.p95; with explain=true"`
}

// reportEvidence is a piece of evidence with the link that opens the call's page
// at its place on the graphs.
type reportEvidence struct {
	query.Evidence
	Link string `json:"link"`
}

func reportOf(c query.Call) report {
	from, to := c.Target, c.Contact
	if c.Direction == "inbound" {
		from, to = c.Contact, c.Target
	}
	portal := c.Links["portal"]
	r := report{
		Call: c, UserID: c.Target.UserID, UserLink: c.Links["user"], CallLink: portal,
		FromNumber: from.Number, ToNumber: to.Number, SummaryText: summary(c), Evidence: evidenceOf(c),
		Graphs: map[string]string{"jitter_buffer": portal + "#jitter", "delay": portal + "#delay", "audio": portal + "#audio", "loss": portal + "#loss", "samples": c.Links["samples"]},
	}
	if r.UserID != nil && *r.UserID == "" {
		r.UserID = nil
	}
	return r
}

func evidenceOf(c query.Call) []reportEvidence {
	out := make([]reportEvidence, len(c.Verdict.Evidence))
	for i, e := range c.Verdict.Evidence {
		out[i] = reportEvidence{Evidence: e, Link: c.Links["portal"] + evidenceAt(c, i)}
	}
	return out
}

// evidenceAt is what the page's address says of a piece of evidence: its place in
// the list, and its time, which stands also where a later version of the verdict
// has it in another place.
func evidenceAt(c query.Call, i int) string {
	place := fmt.Sprintf("#evidence-%d", i+1)
	at := c.Verdict.Evidence[i].At
	if at.IsZero() {
		return place
	}
	return fmt.Sprintf("?at=%.1f%s", sinceAnswer(c, at).Seconds(), place)
}

// sinceAnswer is where a moment lies on the call's graphs.
func sinceAnswer(c query.Call, at query.Time) time.Duration {
	begin := c.ConnectedAt
	if begin.IsZero() {
		begin = c.StartedAt
	}
	return at.Sub(begin.Time)
}

// summary says in a sentence or two what happened and what was wrong.
func summary(c query.Call) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s call between %s and %s", capital(or(c.Direction, "a")), who(c.Target), who(c.Contact))
	if !c.StartedAt.IsZero() {
		fmt.Fprintf(&b, " on %s", c.StartedAt.UTC().Format("2006-01-02 at 15:04:05 UTC"))
	}
	switch {
	case c.State == "live":
		b.WriteString(", still running")
	case c.ConnectedAt.IsZero():
		b.WriteString(", never connected")
	case c.DurationMs != nil:
		fmt.Fprintf(&b, ", connected for %s", duration(*c.DurationMs))
	}
	b.WriteString(". ")
	v := c.Verdict
	fmt.Fprintf(&b, "Verdict: %s", or(v.Overall, "unknown"))
	if !v.Final {
		b.WriteString(" (provisional)")
	}
	var wrong []string
	if o := v.OneWayAudio; o.State == "confirmed" || o.State == "suspected" {
		what := "one-way audio"
		if value(o.Direction) == "both" {
			what = "no audio"
		}
		wrong = append(wrong, o.State+" "+what)
	}
	for _, d := range []struct{ name, band string }{{"delay", v.Delay.Band}, {"jitter", v.Jitter.Band}, {"packet loss", v.Loss.Band}} {
		if d.band == "bad" || d.band == "unacceptable" || d.band == "choppy" {
			wrong = append(wrong, d.name+" "+d.band)
		}
	}
	if len(wrong) > 0 {
		b.WriteString(": " + strings.Join(wrong, ", "))
	}
	b.WriteString(".")
	if len(wrong) > 0 && v.OneWayAudio.Text != "" && v.OneWayAudio.State != "none" {
		b.WriteString(" " + v.OneWayAudio.Text)
	}
	if text := fault(v); text != "" {
		b.WriteString(" The fault lies with " + text + ".")
	}
	for _, r := range c.Rejections {
		fmt.Fprintf(&b, " Rejected: %s", strings.ReplaceAll(r.Reason, "_", " "))
		if r.Agent.Name != "" {
			fmt.Fprintf(&b, " by %s", r.Agent.Name)
		}
		b.WriteString(".")
	}
	return b.String()
}

// fault names the side at fault and how sure that is; empty where it is not known.
func fault(v query.Verdict) string {
	if v.FaultSide == "" || v.FaultSide == "unknown" {
		return ""
	}
	text := "the " + v.FaultSide
	if v.FaultConfidence != nil {
		text += fmt.Sprintf(" (%.0f %% sure)", *v.FaultConfidence*100)
	}
	return text
}

func who(p query.Party) string {
	switch {
	case p.Name != "" && p.Number != "":
		return p.Name + " (" + p.Number + ")"
	case p.Name != "":
		return p.Name
	}
	return or(p.Number, "an unknown party")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func duration(ms int64) string {
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// markdown writes the report for a ticket: GitHub's Markdown, which Jira,
// Zendesk and others take too.
func (r report) markdown(out io.Writer) error {
	var b strings.Builder
	c, v := r.Call, r.Call.Verdict
	b.WriteString("## Call issue report\n\n" + escapeMarkdown(r.SummaryText) + "\n\n| | |\n|---|---|\n")
	row := func(name, text string) {
		if text != "" {
			b.WriteString("| " + name + " | " + text + " |\n")
		}
	}
	if r.UserID != nil {
		row("User ID", code(*r.UserID)+" "+r.UserLink)
	}
	row("Call", code(c.ID)+" "+r.CallLink)
	row("From number", escapeMarkdown(r.FromNumber))
	row("To number", escapeMarkdown(r.ToNumber))
	row("Target", escapeMarkdown(party(c.Target)))
	row("Contact", escapeMarkdown(party(c.Contact)))
	row("Direction", c.Direction)
	row("Started", c.StartedAt.String())
	row("Connected", c.ConnectedAt.String())
	row("Ended", c.EndedAt.String())
	if c.DurationMs != nil {
		row("Duration", duration(*c.DurationMs))
	}
	if c.End != nil {
		text := "by " + or(c.End.By, "unknown")
		if c.End.SIPStatus != nil && *c.End.SIPStatus != 0 {
			text += fmt.Sprintf(", SIP %d", *c.End.SIPStatus)
		}
		if c.End.Reason != "" {
			text += ", " + c.End.Reason
		}
		row("End", escapeMarkdown(text))
	}
	ids := make([]string, len(c.SIPCallIDs))
	for i, id := range c.SIPCallIDs {
		ids[i] = code(id)
	}
	row("SIP Call-ID", strings.Join(ids, ", "))

	b.WriteString("\n### Verdict: " + or(v.Overall, "unknown") + "\n\n" + made(v) + "\n\n| | | |\n|---|---|---|\n")
	line := func(name, band, text string) {
		b.WriteString("| " + name + " | " + or(band, "unknown") + " | " + text + " |\n")
	}
	delay := ""
	if d := v.Delay.RTTMs; d != nil {
		delay = fmt.Sprintf("RTT median %.0f ms, 95th percentile %.0f ms, maximum %.0f ms", d.P50, d.P95, d.Max)
	}
	line("Delay", v.Delay.Band, delay)
	var jitter []string
	if d := v.Jitter.JitterMs; d != nil {
		jitter = append(jitter, fmt.Sprintf("median %.1f ms, 95th percentile %.1f ms, maximum %.1f ms", d.P50, d.P95, d.Max))
	}
	if n := v.Jitter.BufferOverPreferredRatio; n != nil {
		jitter = append(jitter, fmt.Sprintf("jitter buffer %.1f times the preferred", *n))
	}
	if n := v.Jitter.ConcealmentPercent; n != nil {
		jitter = append(jitter, fmt.Sprintf("%.1f %% concealed", *n))
	}
	line("Jitter", v.Jitter.Band, strings.Join(jitter, "; "))
	var loss []string
	for _, l := range []struct {
		name string
		n    *float64
	}{{"", v.Loss.Percent}, {"in bursts ", v.Loss.BurstPercent}, {"target to contact ", v.Loss.TargetToContactPercent}, {"contact to target ", v.Loss.ContactToTargetPercent}} {
		if l.n != nil {
			loss = append(loss, fmt.Sprintf("%s%.2f %%", l.name, *l.n))
		}
	}
	line("Loss", v.Loss.Band, strings.Join(loss, "; "))
	oneWayText := ""
	if o := v.OneWayAudio; o.State == "confirmed" || o.State == "suspected" {
		oneWayText = escapeMarkdown(o.Text)
	}
	line("One-way audio", v.OneWayAudio.State, oneWayText)
	if m := v.MOS; m != nil {
		text := "ITU-T " + m.Model
		if m.Estimated {
			text += ", estimated"
		}
		line("MOS", fmt.Sprintf("%.2f", m.Avg), fmt.Sprintf("minimum %.2f (%s)", m.Min, text))
	}
	certainty := ""
	if v.FaultConfidence != nil {
		certainty = fmt.Sprintf("%.0f %% sure", *v.FaultConfidence*100)
	}
	line("Fault side", v.FaultSide, certainty)
	for _, g := range v.Segments {
		line(capital(g.From)+" to "+g.To, g.Band, segmentFigures(g))
	}
	if len(v.Sources) > 0 {
		parts := make([]string, len(v.Sources))
		for i, s := range v.Sources {
			parts[i] = fmt.Sprintf("%s at the %s (%d)", s.Kind, or(s.Side, "unknown side"), s.Samples)
		}
		b.WriteString("| Based on | | " + strings.Join(parts, ", ") + " |\n")
	}

	if len(r.Evidence) > 0 {
		b.WriteString("\n### Evidence\n\n")
		for i, e := range r.Evidence {
			fmt.Fprintf(&b, "%d. ", i+1)
			if when := span(c, e.Evidence); when != "" {
				fmt.Fprintf(&b, "[%s](%s): ", when, e.Link)
			}
			b.WriteString(escapeMarkdown(or(e.Text, e.Kind)))
			if e.At.IsZero() && e.Graph != "" {
				b.WriteString(" [Graph](" + e.Link + ")")
			}
			b.WriteByte('\n')
		}
	}
	if len(c.BaselineSentences) > 0 {
		b.WriteString("\n### Compared with what is usual\n\n")
		for _, e := range c.BaselineSentences {
			b.WriteString("- " + escapeMarkdown(e.Text) + "\n")
		}
	}
	if len(c.Rejections) > 0 {
		b.WriteString("\n### Rejections\n\n")
		for _, j := range c.Rejections {
			text := strings.ReplaceAll(j.Reason, "_", " ")
			if j.Agent.Name != "" {
				text += ", " + j.Agent.Name
			}
			if j.SIPStatus != 0 {
				text += fmt.Sprintf(", SIP %d", j.SIPStatus)
			}
			if said := or(j.Text, j.RawReason); said != "" {
				text += ": " + said
			}
			b.WriteString("- " + escapeMarkdown(text) + "\n")
		}
	}
	if len(c.Ratings) > 0 {
		b.WriteString("\n### Ratings\n\n")
		for _, g := range c.Ratings {
			b.WriteString("- " + escapeMarkdown(fmt.Sprintf("%d of 5 by %s %s", g.Rating, or(g.Name, "unknown"), g.Text)) + "\n")
		}
	}
	b.WriteString("\n### Graphs\n\n")
	for _, g := range []struct{ name, key string }{{"Jitter", "jitter_buffer"}, {"Delay", "delay"}, {"Audio levels", "audio"}, {"Loss", "loss"}, {"Samples", "samples"}} {
		b.WriteString("- " + g.name + ": " + r.Graphs[g.key] + "\n")
	}
	if len(r.Explain) > 0 {
		explained(&b, r.Explain)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

// made says which version of the verdict it is and how it came to be.
func made(v query.Verdict) string {
	text := fmt.Sprintf("Version %d, provisional", v.Version)
	if v.Final {
		text = fmt.Sprintf("Version %d, final", v.Version)
	}
	if !v.ComputedAt.IsZero() {
		text += ", computed " + v.ComputedAt.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if v.Rules != "" {
		text += ", rules " + escapeMarkdown(v.Rules)
	}
	return text + "."
}

// span writes when a piece of evidence began and ended, in the call's own time
// and by the clock.
func span(c query.Call, e query.Evidence) string {
	if e.At.IsZero() {
		return ""
	}
	text := offset(sinceAnswer(c, e.At))
	if !e.Until.IsZero() {
		text += "–" + offset(sinceAnswer(c, e.Until))
	}
	return text + e.At.UTC().Format(" (15:04:05 UTC)")
}

// offset writes a place in a call as the page does: 0:06, 1:02:05.
func offset(d time.Duration) string {
	sign := ""
	if d <= -time.Second {
		sign, d = "−", -d
	}
	s := int64(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%s%d:%02d:%02d", sign, s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%s%d:%02d", sign, s/60, s%60)
}

func segmentFigures(g query.PathSegment) string {
	var parts []string
	if g.RTTMs != nil {
		parts = append(parts, fmt.Sprintf("RTT median %.0f ms, 95th percentile %.0f ms", g.RTTMs.P50, g.RTTMs.P95))
	}
	for _, f := range []struct {
		format string
		n      *float64
	}{
		{"jitter to contact %.1f ms", g.TargetToContactJitterMs}, {"jitter to target %.1f ms", g.ContactToTargetJitterMs},
		{"loss to contact %.2f %%", g.TargetToContactLossPercent}, {"loss to target %.2f %%", g.ContactToTargetLossPercent},
	} {
		if f.n != nil {
			parts = append(parts, fmt.Sprintf(f.format, *f.n))
		}
	}
	return strings.Join(parts, "; ")
}

// explained writes how the figures of the verdict came to be; those of single
// pieces of evidence and the rules themselves stand in the JSON only.
func explained(b *strings.Builder, all map[string]explain.Explanation) {
	b.WriteString("\n### How the numbers were made\n\n| number | value | formula | inputs | standard |\n|---|---|---|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(all)) {
		x := all[path]
		if x.Value == nil || !strings.HasPrefix(path, "verdict.") || strings.HasPrefix(path, "verdict.evidence") || strings.HasPrefix(path, "verdict.thresholds") {
			continue
		}
		inputs := make([]string, 0, len(x.Inputs)+len(x.ClockRate))
		for _, in := range x.Inputs {
			inputs = append(inputs, strings.TrimSpace(fmt.Sprintf("%s %v %s", in.Name, in.Value, in.Unit)))
		}
		for _, c := range x.ClockRate {
			inputs = append(inputs, fmt.Sprintf("clock rate of %s %d Hz", c.Codec, c.Hz))
		}
		fmt.Fprintf(b, "| %s | %v %s | %s | %s | %s |\n", escapeMarkdown(x.Name), *x.Value, x.Unit, escapeMarkdown(x.Formula), escapeMarkdown(strings.Join(inputs, "; ")), escapeMarkdown(x.Standard))
	}
}

func party(p query.Party) string {
	parts := []string{who(p)}
	for _, s := range []string{p.Endpoint, p.AppVersion, p.Platform} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// escapeMarkdown keeps texts from outside, such as display names, from breaking
// the table or being links.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r == 0x7f:
		case strings.ContainsRune("\\`*_[]<>|#~!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	// Schemes make links by themselves in many trackers.
	return strings.ReplaceAll(b.String(), "://", ":\u200b//")
}

// code shows an id as it is. Backslashes do nothing inside code, so what would
// end it is replaced.
func code(s string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "¦", "\n", " ", "\r", " ").Replace(s) + "`"
}
