package query

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Bounds of a timeline.
const (
	maxEvents  = 500
	maxEndings = 5000
)

// DeviceTimeline is when a device was registered, and what happened.
type DeviceTimeline struct {
	Device          Registration         `json:"device"`
	From            Time                 `json:"from"`
	To              Time                 `json:"to"`
	At              *RegisteredAt        `json:"at"`               // null unless it was asked for
	RegisteredShare float64              `json:"registered_share"` // of the time since it was first seen, 0–1
	Spans           []RegistrationSpan   `json:"spans"`            // without a gap from from to to
	Events          []RegistrationChange `json:"events"`           // all but refreshes and challenges, in order of time
	EventsLeftOut   bool                 `json:"events_left_out"`
	Versions        []AppVersion         `json:"versions"` // the last used first
}

// RegistrationSpan is a time in which nothing changed for callers.
type RegistrationSpan struct {
	State  string `json:"state"` // registered, lapsed, unregistered; unknown before the device was first seen
	From   Time   `json:"from"`
	To     Time   `json:"to"`
	Reason string `json:"reason"` // of what began it, in a word; or empty
	Text   string `json:"text"`
}

// RegisteredAt answers whether a device was registered at a moment.
type RegisteredAt struct {
	At          Time   `json:"at"`
	Registered  *bool  `json:"registered"` // null: not known
	State       string `json:"state"`
	Since       Time   `json:"since"`
	Until       Time   `json:"until"` // null: it is still so, as far as the timeline goes
	RefreshedAt Time   `json:"refreshed_at"`
	Source      string `json:"source"` // address:port of the last REGISTER before
	Text        string `json:"text"`
}

// TimelineFilter asks for a timeline. Without From and To it is that of the 24 h
// up to now, or around At; of a capture that was imported, up to its last change.
type TimelineFilter struct {
	From, To, At Time
}

// ending is a change that ended a binding, with the span of that.
type ending struct {
	span
	atUs                 int64
	change, reason, text string
}

func (e *ending) state() string {
	if e.change == lapsed {
		return lapsed
	}
	return unregistered
}

// DeviceTimeline tells a device's registrations over a time.
func (c Company) DeviceTimeline(ctx context.Context, device string, f TimelineFilter) (DeviceTimeline, error) {
	found, err := c.Registrations(ctx, RegistrationFilter{DeviceID: device}, Page{Limit: 2})
	if err != nil {
		return DeviceTimeline{}, err
	}
	if len(found.Items) == 0 {
		return DeviceTimeline{}, fmt.Errorf("device: %w", ErrNotFound)
	}
	// One id is one address-of-record and one device; an import beside live
	// traffic is not listed.
	r := found.Items[0]
	now := Time{c.store.now().UTC()}
	if err := f.complete(&r, now); err != nil {
		return DeviceTimeline{}, err
	}
	out := DeviceTimeline{Device: r, From: f.From, To: f.To, Events: []RegistrationChange{}, Versions: []AppVersion{}}
	of := func(p *params) *statement {
		p.text("aor", r.AOR)
		p.text("device", r.DeviceID)
		p.text("timeline", r.timeline)
		return c.from("registration_changes", p).and("aor = {aor:String}", "device_id = {device:String}", "timeline = {timeline:String}")
	}
	endings, firstUs, err := c.endings(ctx, of, f)
	if err != nil {
		return DeviceTimeline{}, err
	}
	out.Spans = spansOf(&r, endings, firstUs, f.From.Micros(), f.To.Micros())
	var registered, known time.Duration
	for _, s := range out.Spans {
		length := s.To.Sub(s.From.Time)
		if s.State != "unknown" {
			known += length
		}
		if s.State == "registered" {
			registered += length
		}
	}
	if known > 0 {
		out.RegisteredShare = registered.Seconds() / known.Seconds()
	}
	if out.Events, out.EventsLeftOut, err = c.events(ctx, r, f); err != nil {
		return DeviceTimeline{}, err
	}
	p := newParams()
	s := of(p).get(versionColumns).and("user_agent != ''").with("GROUP BY aor, device_id, timeline, app, app_version ORDER BY max(at) DESC, app, app_version")
	timeRange(s, "at", f.From, f.To)
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		_, v, err := scanVersion(scan)
		out.Versions = append(out.Versions, v)
		return err
	})
	if err != nil || f.At.IsZero() {
		return out, err
	}
	out.At = registeredAt(out.Spans, f)
	p = newParams()
	p.integer("at", f.At.Micros())
	s = of(p).get("toUnixTimestamp64Micro(at), source").
		and("change IN ('registered', 'refreshed')", "at <= fromUnixTimestamp64Micro({at:Int64}, 'UTC')").with("ORDER BY at DESC LIMIT 1")
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		var us int64
		if err := scan(&us, &out.At.Source); err != nil {
			return err
		}
		out.At.RefreshedAt = micros(us)
		out.At.Text += " Its last REGISTER before was accepted at " + moment(out.At.RefreshedAt)
		if out.At.Source != "" {
			out.At.Text += ", from " + out.At.Source
		}
		out.At.Text += "."
		return nil
	})
	return out, err
}

// complete fills in what was not asked, and refuses what has no answer.
func (f *TimelineFilter) complete(r *Registration, now Time) error {
	end := now
	if r.timeline != "" {
		end = Time{r.UpdatedAt.Add(time.Millisecond)}
	}
	if f.To.IsZero() {
		f.To = end
		if !f.At.IsZero() && f.From.IsZero() && f.At.Add(12*time.Hour).Before(end.Time) {
			f.To = Time{f.At.Add(12 * time.Hour)}
		}
	}
	if f.To.After(now.Time) {
		f.To = now
	}
	if f.From.IsZero() && !f.At.IsZero() {
		f.From = Time{f.At.Add(-12 * time.Hour)}
	}
	if f.From.IsZero() {
		f.From = Time{f.To.Add(-24 * time.Hour)}
	}
	if !f.From.Before(f.To.Time) {
		return fmt.Errorf("%w: from must be before to, and not in the future", ErrFilter)
	}
	if !f.At.IsZero() && (f.At.Before(f.From.Time) || f.At.After(f.To.Time)) {
		return fmt.Errorf("%w: at must lie between from and to, and not in the future", ErrFilter)
	}
	return nil
}

// endings reads what ended bindings that reach into the time, and the last
// ending before it; and when the device was first seen.
func (c Company) endings(ctx context.Context, of func(*params) *statement, f TimelineFilter) (out []ending, firstUs int64, err error) {
	const columns = `ifNull(toUnixTimestamp64Micro(registered_at), 0), ifNull(toUnixTimestamp64Micro(expires_at), toUnixTimestamp64Micro(at)),
toUnixTimestamp64Micro(at), change, reason, text`
	const from = "fromUnixTimestamp64Micro({from:Int64}, 'UTC')"
	each := func(scan func(...any) error) error {
		var e ending
		err := scan(&e.fromUs, &e.toUs, &e.atUs, &e.change, &e.reason, &e.text)
		out = append(out, e)
		return err
	}
	p := newParams()
	p.integer("from", f.From.Micros())
	p.integer("to", f.To.Micros())
	s := of(p).newest().get(columns).and("change IN "+endings, "reason != 'not_bound'", "at <= "+from).with("ORDER BY at DESC, seq DESC LIMIT 1")
	if err := c.rows(ctx, s, each); err != nil {
		return nil, 0, err
	}
	s = of(p).newest().get(columns).and("change IN "+endings, "reason != 'not_bound'", "at > "+from,
		"registered_at IS NULL OR registered_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC')").with(fmt.Sprintf("ORDER BY at, seq LIMIT %d", maxEndings))
	if err := c.rows(ctx, s, each); err != nil {
		return nil, 0, err
	}
	return out, firstUs, c.one(ctx, of(newParams()).get("toUnixTimestamp64Micro(min(at))"), &firstUs)
}

// spansOf tells the whole time from fromUs to toUs, in order: where a binding
// held, and between bindings how the one before ended.
func spansOf(r *Registration, endings []ending, firstUs, fromUs, toUs int64) []RegistrationSpan {
	bound := r.holding()
	for _, e := range endings {
		if e.fromUs != 0 {
			bound = append(bound, e.span)
		}
	}
	out := []RegistrationSpan{}
	gap := func(from, to int64) {
		if firstUs != 0 && from < firstUs {
			until := min(to, firstUs)
			out = append(out, RegistrationSpan{State: "unknown", From: micros(from), To: micros(until), Text: "Nothing was seen of this device before " + moment(micros(firstUs)) + "."})
			from = until
		}
		if from >= to {
			return
		}
		s := RegistrationSpan{State: unregistered, From: micros(from), To: micros(to), Text: "It was not registered."}
		for _, e := range endings {
			if e.toUs <= from {
				s.State, s.Reason, s.Text = e.state(), e.reason, e.text
			}
		}
		if r.bound && !r.Registered && r.ExpiresAt.Micros() <= from {
			// It has expired, and no tick has told so yet.
			s.State, s.Reason, s.Text = lapsed, "silence", "It expired at "+moment(r.ExpiresAt)+", and no newer registration was seen."
		}
		out = append(out, s)
	}
	at := fromUs
	for _, b := range joined(bound, fromUs, toUs) {
		if at < b.fromUs {
			gap(at, b.fromUs)
		}
		out = append(out, RegistrationSpan{State: "registered", From: micros(b.fromUs), To: micros(b.toUs),
			Text: "It was registered for " + spoken(time.Duration(b.toUs-b.fromUs)*time.Microsecond) + "."})
		at = b.toUs
	}
	if at < toUs {
		gap(at, toUs)
	}
	return out
}

func registeredAt(spans []RegistrationSpan, f TimelineFilter) *RegisteredAt {
	a := &RegisteredAt{At: f.At}
	i := slices.IndexFunc(spans, func(s RegistrationSpan) bool { return f.At.Before(s.To.Time) })
	if i < 0 {
		i = len(spans) - 1 // at is the very end
	}
	s := spans[i]
	is := s.State == "registered"
	a.State, a.Since = s.State, s.From
	if i < len(spans)-1 {
		a.Until = s.To
	}
	if s.State != "unknown" {
		a.Registered = &is
	}
	switch s.State {
	case "registered":
		a.Text = "Yes: at " + moment(f.At) + " it was registered"
		if i > 0 {
			a.Text += ", since " + moment(s.From)
		}
		if i < len(spans)-1 {
			a.Text += ", until " + moment(s.To)
		}
		a.Text += "."
	case "unknown":
		a.Text = "Not known: " + s.Text
	default:
		a.Text = "No: at " + moment(f.At) + " it was not registered. " + s.Text
	}
	return a
}

// events are the changes that a timeline names.
func (c Company) events(ctx context.Context, r Registration, f TimelineFilter) (out []RegistrationChange, leftOut bool, err error) {
	// The newest are the ones that matter where there are too many.
	list, err := c.RegistrationHistory(ctx, RegistrationFilter{AOR: r.AOR, DeviceID: r.DeviceID, From: f.From, To: f.To, events: true, timeline: &r.timeline}, Page{Limit: maxEvents})
	if err != nil {
		return nil, false, err
	}
	slices.Reverse(list.Items)
	return list.Items, list.NextCursor != nil, nil
}
