package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

const recordingSeed = `
companies:
  - id: default
    name: Acme
    offices: [{id: vienna, name: Vienna}, {id: graz, name: Graz}]
    departments: [{id: sales, name: Sales, office: vienna}, {id: support, name: Support, office: graz}]
    contact_centers: [{id: help, name: Help line, office: graz}]
    rooms: [{id: blue, name: Blue}]
    users:
      - {id: ann, name: Ann Example, office: vienna, departments: [sales, support], contact_centers: [help]}
      - {id: bob, name: Bob Sample, office: graz}
      - {id: eve, name: Eve, state: deleted}
  - {id: other, name: Other}
`

// recorder is a directory with people and a clock that goes on by a minute at each setting.
type recorder struct {
	t *testing.T
	d *directory.Directory
	*clock
}

func onBothRecorders(t *testing.T, test func(t *testing.T, r *recorder)) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		c := withClock(d)
		s := must(directory.ParseSeed([]byte(recordingSeed)))(t)
		if err := d.ApplySeed(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		test(t, &recorder{t, d, c})
	})
}

var on, off = true, false

func level(kind, id string) directory.RecordingLevel {
	return directory.RecordingLevel{Level: kind, ID: id}
}

// set is done by the person named, with a reason, a minute after the last one.
func (r *recorder) set(kind, id string, to *bool) {
	r.t.Helper()
	r.after(time.Minute)
	ctx := directory.WithActor(r.t.Context(), directory.Actor{Kind: "key", ID: "k", Name: "Bob"})
	if err := r.d.SetRecording(ctx, "default", level(kind, id), to, "asked for"); err != nil {
		r.t.Fatal(err)
	}
}

// state is what holds: on or off, and which level says so.
func (r *recorder) state(kind, id string, at time.Time) string {
	r.t.Helper()
	s := must(r.d.Recording(r.t.Context(), "default", level(kind, id), at))(r.t)
	if (s.By != nil) != (s.From != directory.LevelDefault) || s.By != nil && (*s.By.New != s.Effective || s.By.Level != s.From || s.By.At.After(at)) {
		r.t.Errorf("a state that contradicts itself: %+v", s)
	}
	said := "off by "
	if s.Effective {
		said = "on by "
	}
	if s.By != nil && s.By.RecordingLevel.ID != "" {
		return said + s.From + " " + s.By.RecordingLevel.ID
	}
	return said + s.From
}

func (r *recorder) want(want, kind, id string) {
	r.t.Helper()
	if got := r.state(kind, id, r.t0()); got != want {
		r.t.Errorf("%s %s is %q, want %q", kind, id, got, want)
	}
}

func (r *recorder) t0() time.Time { return r.clock.t }

func TestRecordingPrecedence(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		r.want("off by default", "user", "ann")
		r.want("off by default", "company", "")
		r.set("company", "", &on)
		r.want("on by company", "user", "ann")
		r.want("on by company", "contact_center", "help")
		r.set("office", "vienna", &off)
		r.want("off by office vienna", "user", "ann")
		r.want("off by office vienna", "department", "sales")
		r.want("on by company", "department", "support")
		r.want("on by company", "user", "bob")
		r.set("department", "sales", &on)
		r.want("on by department sales", "user", "ann")
		// In two departments of different minds, off is enough.
		r.set("department", "support", &off)
		r.want("off by department support", "user", "ann")
		r.set("contact_center", "help", &on)
		r.want("on by contact_center help", "user", "ann")
		r.set("user", "ann", &off)
		r.want("off by user ann", "user", "ann")
		r.want("on by company", "user", "bob")
		r.set("user", "ann", nil)
		r.want("on by contact_center help", "user", "ann")
		r.set("contact_center", "help", nil)
		r.want("off by department support", "user", "ann")
		r.set("department", "support", nil)
		r.want("on by department sales", "user", "ann")
	})
}

// At every time the answer is what was true then, whatever came later.
func TestRecordingAtATime(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		type moment struct {
			at   time.Time
			want string
		}
		past := []moment{{r.clock.t, "off by default"}}
		step := func(want string, change func()) {
			change()
			past = append(past, moment{r.clock.t, want}, moment{r.clock.t.Add(59 * time.Second), want})
		}
		user := func(c directory.UserChange) func() {
			return func() {
				r.after(time.Minute)
				must(r.d.UpdateUser(t.Context(), "default", "ann", c))(t)
			}
		}
		graz, none, sales := "graz", []string{}, []string{"sales"}
		step("on by office vienna", func() { r.set("office", "vienna", &on) })
		step("on by office vienna", func() { r.set("office", "graz", &off) })
		step("off by office graz", user(directory.UserChange{Office: &graz}))
		step("on by department support", func() { r.set("department", "support", &on) })
		step("off by office graz", user(directory.UserChange{Departments: &sales}))
		step("off by contact_center help", func() { r.set("contact_center", "help", &off) })
		step("on by office graz", func() {
			r.set("office", "graz", &on)
			must(r.d.UpdateUser(t.Context(), "default", "ann", directory.UserChange{ContactCenters: &none}))(t)
		})
		name := "Ann Other"
		step("on by office graz", user(directory.UserChange{Name: &name}))
		step("off by user ann", func() { r.set("user", "ann", &off) })
		r.after(time.Hour)
		if err := r.d.DeleteUser(t.Context(), "default", "ann"); err != nil {
			t.Fatal(err)
		}
		for _, m := range past {
			if got := r.state("user", "ann", m.at); got != m.want {
				t.Errorf("at %s it was %q, want %q", m.at.Format(time.TimeOnly), got, m.want)
			}
		}
		s := must(r.d.Recording(t.Context(), "default", level("user", "ann"), past[1].at))(t)
		if s.Memberships.Office != "vienna" || !slices.Equal(s.Memberships.Departments, []string{"sales", "support"}) || !slices.Equal(s.Memberships.ContactCenters, []string{"help"}) {
			t.Errorf("where she was then: %+v", s.Memberships)
		}
	})
}

func TestRecordingLog(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		ctx := t.Context()
		r.set("company", "", &on)
		r.set("office", "vienna", &off)
		r.set("office", "graz", &on)
		r.set("user", "ann", &on)
		r.set("user", "ann", &on) // changes nothing
		// A clock that goes back must not make what is later come before.
		r.after(-time.Hour)
		r.set("user", "ann", &off)
		r.set("user", "bob", &on)
		if err := r.d.SetRecording(ctx, "other", level("company", ""), &on, "x"); err != nil {
			t.Fatal(err)
		}
		told := func(c directory.RecordingChange) string {
			text := func(b *bool) string {
				if b == nil {
					return "-"
				}
				return fmt.Sprint(*b)
			}
			return fmt.Sprintf("%s %s: %s→%s by %s: %s", c.Level, c.Name, text(c.Old), text(c.New), c.By.Name, c.Reason)
		}
		all := []string{
			"user Bob Sample: -→true by Bob: asked for", "user Ann Example: true→false by Bob: asked for", "user Ann Example: -→true by Bob: asked for",
			"office Graz: -→true by Bob: asked for", "office Vienna: -→false by Bob: asked for", "company Default: -→true by Bob: asked for",
		}
		var got []string
		for page := (directory.Page{Limit: 4}); ; {
			changes, next, err := r.d.RecordingChanges(ctx, "default", "", page)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ids(changes, told)...)
			if page.Cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("the log of the company:\n%s", strings.Join(got, "\n"))
		}
		// Of a user: what was set for her, her places and the company.
		r.clock.t = r.clock.t.Add(3 * time.Hour)
		graz := "graz"
		must(r.d.UpdateUser(ctx, "default", "ann", directory.UserChange{Office: &graz}))(t)
		changes := must(first(r.d.RecordingChanges(ctx, "default", "ann", directory.Page{})))(t)
		if got := ids(changes, told); !slices.Equal(got, all[1:]) {
			t.Errorf("the log of a user who was in both offices:\n%s", strings.Join(got, "\n"))
		}
		r.want("off by user ann", "user", "ann")
		notes := must(first(r.d.Journal(ctx, "default", directory.JournalFilter{User: "ann", Kind: "recording"})))(t)
		if len(notes) != 2 || notes[0].Change.Text != "asked for" {
			t.Errorf("notes on her page: %+v", notes)
		}
		// The log of a place that is gone stays, and so does what it was called.
		if err := r.d.DeleteUser(ctx, "default", "bob"); err != nil {
			t.Fatal(err)
		}
		changes = must(first(r.d.RecordingChanges(ctx, "default", "bob", directory.Page{})))(t)
		if len(changes) == 0 || told(changes[0]) != "user Bob Sample: true→- by Earshot: deleted" {
			t.Errorf("a deleted user's log: %v", ids(changes, told))
		}
	})
}

func TestRecordingRefused(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		ctx := t.Context()
		for name, tt := range map[string]struct {
			level  directory.RecordingLevel
			reason string
			kind   error
			field  string
		}{
			"no reason":      {level("user", "ann"), " ", directory.ErrInvalid, "reason"},
			"a long reason":  {level("user", "ann"), strings.Repeat("x", 501), directory.ErrInvalid, "reason"},
			"a room":         {level("room", "blue"), "x", directory.ErrInvalid, "level"},
			"a deleted user": {level("user", "eve"), "x", directory.ErrConflict, "user"},
			"company's id":   {level("company", "default"), "x", directory.ErrInvalid, "level"},
		} {
			t.Run(name, func(t *testing.T) {
				wantField(t, r.d.SetRecording(ctx, "default", tt.level, &on, tt.reason), tt.kind, tt.field)
			})
		}
		for _, l := range []directory.RecordingLevel{level("user", "nobody"), level("office", "sales"), level("department", "")} {
			if err := r.d.SetRecording(ctx, "default", l, &on, "x"); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("%v: %v", l, err)
			}
		}
		if _, err := r.d.Recording(ctx, "other", level("user", "ann"), r.clock.t); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's user: %v", err)
		}
		if changes := must(first(r.d.RecordingChanges(ctx, "default", "", directory.Page{})))(t); len(changes) != 0 {
			t.Errorf("what was refused is in the log: %+v", changes)
		}
	})
}

func TestWhyACallWasNotRecorded(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		why := func(began, ended time.Time, user string) string {
			t.Helper()
			c := must(r.d.RecordingOfCall(t.Context(), "default", directory.RecordedCall{User: user, Began: began, Ended: ended,
				Memberships: directory.Memberships{Office: "vienna"}}))(t)
			return c.Sentence
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		begin := r.clock.t // 09:00
		long := begin.Add(24 * time.Hour)
		want(why(begin, long, "ann"), `Recording was off for Ann Example when the call began at 2026-03-01 09:00:00 UTC: nothing was set for any of user, contact center, department, office and company, and without a setting nothing is recorded; it has not been turned on since.`)
		r.set("office", "vienna", &on)  // 09:01
		r.set("office", "vienna", &off) // 09:02
		r.set("user", "bob", &on)       // 09:03, who is elsewhere
		want(why(begin.Add(150*time.Second), long, "ann"), `Recording was off for Ann Example when the call began at 2026-03-01 09:02:30 UTC: Bob turned it off for the office Vienna on 2026-03-01 09:02:00 UTC ("asked for"); it has not been turned on since.`)
		r.set("department", "sales", &on) // 09:04
		want(why(begin.Add(150*time.Second), begin.Add(200*time.Second), "ann"), `Recording was off for Ann Example when the call began at 2026-03-01 09:02:30 UTC: Bob turned it off for the office Vienna on 2026-03-01 09:02:00 UTC ("asked for"); it was turned on for the department Sales by Bob on 2026-03-01 09:04:00 UTC, after the call.`)
		want(why(begin.Add(150*time.Second), long, "ann"), `Recording was off for Ann Example when the call began at 2026-03-01 09:02:30 UTC: Bob turned it off for the office Vienna on 2026-03-01 09:02:00 UTC ("asked for"); it was turned on for the department Sales by Bob on 2026-03-01 09:04:00 UTC, during the call.`)
		want(why(begin.Add(4*time.Minute), long, "ann"), `Recording was on for Ann Example when the call began at 2026-03-01 09:04:00 UTC: Bob turned it on for the department Sales on 2026-03-01 09:04:00 UTC ("asked for"); if the call was not recorded, the settings are not why.`)
		r.set("department", "sales", nil) // 09:05
		r.set("office", "vienna", nil)    // 09:06
		want(why(begin.Add(4*time.Minute), begin.Add(5*time.Minute), "ann"), `Recording was on for Ann Example when the call began at 2026-03-01 09:04:00 UTC: Bob turned it on for the department Sales on 2026-03-01 09:04:00 UTC ("asked for"); it was taken back for the department Sales by Bob on 2026-03-01 09:05:00 UTC, after the call.`)
		want(why(begin.Add(7*time.Minute), long, "ann"), `Recording was off for Ann Example when the call began at 2026-03-01 09:07:00 UTC: nothing was set for any of user, contact center, department, office and company, and without a setting nothing is recorded; Bob had taken the setting of the office Vienna back on 2026-03-01 09:06:00 UTC ("asked for"); it has not been turned on since.`)
		want(why(begin.Add(150*time.Second), begin.Add(151*time.Second), ""), `Recording was off for the number of the call when the call began at 2026-03-01 09:02:30 UTC: Bob turned it off for the office Vienna on 2026-03-01 09:02:00 UTC ("asked for"); it has not been turned on since.`)

		c := must(r.d.RecordingOfCall(t.Context(), "default", directory.RecordedCall{User: "ann", Began: begin.Add(150 * time.Second)}))(t)
		if got := ids(c.Since, func(c directory.RecordingChange) string { return c.Level + " " + c.RecordingLevel.ID }); !slices.Equal(got, []string{"department sales", "department sales", "office vienna"}) {
			t.Errorf("changes since: %v", got)
		}
	})
}

// However often settings have changed since a call, one answer about it costs a
// few queries.
func TestWhyACallWasNotRecordedCostsLittle(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		began := r.clock.t
		ask := func() (c directory.CallRecording, queries int) {
			t.Helper()
			queries = r.d.CountQueries(t, func() {
				c = must(r.d.RecordingOfCall(t.Context(), "default", directory.RecordedCall{User: "ann", Began: began}))(t)
			})
			return c, queries
		}
		_, none := ask()
		for range 30 { // which change nothing for ann, whose contact center decides
			r.set("office", "vienna", &off)
			r.set("office", "vienna", nil)
		}
		r.set("contact_center", "help", &off)
		for range 30 {
			r.set("company", "", &on)
			r.set("company", "", &off)
		}
		c, many := ask()
		if len(c.Since) != 121 || !strings.HasSuffix(c.Sentence, "it has not been turned on since.") {
			t.Errorf("%d changes: %s", len(c.Since), c.Sentence)
		}
		if none == 0 || many > none {
			t.Errorf("%d queries without changes, %d with many", none, many)
		}
	})
}

// Of what was set in the same moment, that counts which holds after it.
func TestTurnedWithinAMoment(t *testing.T) {
	onBothRecorders(t, func(t *testing.T, r *recorder) {
		began := r.clock.t
		r.after(time.Minute)
		ctx := directory.WithActor(t.Context(), directory.Actor{Kind: "key", ID: "k", Name: "Bob"})
		for _, c := range []struct {
			kind, id string
			to       *bool
		}{{"office", "vienna", &on}, {"department", "sales", &off}, {"contact_center", "help", &on}, {"company", "", &off}} {
			if err := r.d.SetRecording(ctx, "default", level(c.kind, c.id), c.to, "asked for"); err != nil {
				t.Fatal(err)
			}
		}
		c := must(r.d.RecordingOfCall(t.Context(), "default", directory.RecordedCall{User: "ann", Began: began, Ended: r.clock.t.Add(time.Hour)}))(t)
		if want := "it was turned on for the contact center Help line by Bob on 2026-03-01 09:01:00 UTC, during the call."; !strings.HasSuffix(c.Sentence, want) {
			t.Errorf("%s", c.Sentence)
		}
	})
}
