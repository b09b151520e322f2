package api

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/earshot/earshot/query"
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
	Evidence    []query.Evidence  `json:"evidence"`
	Graphs      map[string]string `json:"graphs" doc:"Links to the graphs and to the points behind them"`
}

func reportOf(c query.Call) report {
	from, to := c.Target, c.Contact
	if c.Direction == "inbound" {
		from, to = c.Contact, c.Target
	}
	portal := c.Links["portal"]
	r := report{
		Call: c, UserID: c.Target.UserID, UserLink: c.Links["user"], CallLink: portal,
		FromNumber: from.Number, ToNumber: to.Number, SummaryText: summary(c), Evidence: c.Verdict.Evidence,
		Graphs: map[string]string{"jitter_buffer": portal + "#jitter", "delay": portal + "#delay", "audio": portal + "#audio", "samples": c.Links["samples"]},
	}
	if r.UserID != nil && *r.UserID == "" {
		r.UserID = nil
	}
	if r.Evidence == nil {
		r.Evidence = []query.Evidence{}
	}
	return r
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
		wrong = append(wrong, o.State+" "+oneWay(o))
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
	if v.FaultSide != "" && v.FaultSide != "unknown" {
		fmt.Fprintf(&b, " The fault lies with the %s.", v.FaultSide)
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

func oneWay(o query.OneWayAudio) string {
	text := "one-way audio"
	if value(o.Direction) == "both" {
		text = "loss of audio in both directions"
	} else if value(o.From) != "" && value(o.To) != "" {
		text += fmt.Sprintf(" (%s cannot be heard by %s)", *o.From, *o.To)
	}
	if !o.Since.IsZero() {
		text += " since " + o.Since.UTC().Format("15:04:05 UTC")
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

	b.WriteString("\n### Verdict: " + or(v.Overall, "unknown"))
	if !v.Final {
		b.WriteString(" (provisional)")
	}
	b.WriteString("\n\n| | | |\n|---|---|---|\n")
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
		oneWayText = escapeMarkdown(oneWay(o))
		if o.Confidence != nil {
			oneWayText += fmt.Sprintf(", confidence %.2f", *o.Confidence)
		}
	}
	line("One-way audio", v.OneWayAudio.State, oneWayText)
	if m := v.MOS; m != nil {
		text := "ITU-T " + m.Model
		if m.Estimated {
			text += ", estimated"
		}
		line("MOS", fmt.Sprintf("%.2f", m.Avg), fmt.Sprintf("minimum %.2f (%s)", m.Min, text))
	}
	line("Fault side", v.FaultSide, "")
	if len(v.Sources) > 0 {
		parts := make([]string, len(v.Sources))
		for i, s := range v.Sources {
			parts[i] = fmt.Sprintf("%s at the %s (%d)", s.Kind, or(s.Side, "unknown side"), s.Samples)
		}
		b.WriteString("| Based on | | " + strings.Join(parts, ", ") + " |\n")
	}

	if len(r.Evidence) > 0 {
		b.WriteString("\n### Evidence\n\n")
		for _, e := range r.Evidence {
			b.WriteString("- ")
			if !e.At.IsZero() {
				b.WriteString(e.At.UTC().Format("15:04:05.000 UTC") + ": ")
			}
			b.WriteString(escapeMarkdown(or(e.Text, e.Kind)) + "\n")
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
	for _, g := range []struct{ name, key string }{{"Jitter buffer", "jitter_buffer"}, {"Delay", "delay"}, {"Audio levels", "audio"}, {"Samples", "samples"}} {
		b.WriteString("- " + g.name + ": " + r.Graphs[g.key] + "\n")
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
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
