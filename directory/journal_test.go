package directory_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func (c *clock) after(d time.Duration) time.Time {
	c.t = c.t.Add(d)
	return c.t
}

// withClock gives the directory a clock that stands still until the test moves it.
func withClock(d *directory.Directory) *clock {
	c := &clock{time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	d.SetNow(c.now)
	return c
}

var ann = directory.Actor{Kind: "key", ID: "k1", Name: "Ann's key"}

// More entries than one statement takes are all there, in their order, on pages
// that neither repeat nor skip, and those of another company are not.
func TestJournalKeepsAll(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		c := withClock(d)
		var all []directory.Change
		for i := range 451 {
			ch := directory.Change{Action: "user.update", Kind: "user", ID: fmt.Sprintf("u%03d", i), User: fmt.Sprintf("u%03d", i)}
			if i%3 == 0 {
				ch.Fields = []directory.FieldChange{{Field: "name", Old: `a "quoted" näme` + "\n", New: "<b>"}, {Field: "email"}}
			}
			all = append(all, ch)
		}
		if err := d.RecordTwice(ctx, "default", all[:201], all[201:], nil); err != nil {
			t.Fatal(err)
		}
		if err := d.Record(ctx, "other", all[0]); err != nil {
			t.Fatal(err)
		}
		if err := d.Record(ctx, "default"); err != nil {
			t.Fatalf("nothing to record: %v", err)
		}
		for _, limit := range []int{1000, 100, 7} {
			var got []directory.Change
			seen := map[string]bool{}
			page := directory.Page{Limit: limit}
			for {
				entries, next, err := d.Journal(ctx, "default", directory.JournalFilter{Kind: "user", Page: page})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if seen[e.ID] || !e.At.Equal(c.t) || e.Actor != ann || e.Count != 1 {
						t.Fatalf("entry %+v", e)
					}
					seen[e.ID] = true
					got = append(got, e.Change)
				}
				if page.Cursor = next; next == "" {
					break
				}
			}
			slices.Reverse(got)
			if !reflect.DeepEqual(got, all) {
				t.Fatalf("limit %d: %d entries, the first %+v, not those that were written", limit, len(got), got[0])
			}
		}
		if _, _, err := d.Journal(ctx, "default", directory.JournalFilter{Page: directory.Page{Cursor: "W10"}}); err == nil {
			t.Error("a cursor of another list is taken")
		}
	})
}

// What is not stored is not in the journal either.
func TestJournalIsPartOfTheChange(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		refused := errors.New("refused")
		change := []directory.Change{{Action: "user.update", Kind: "user", ID: "nobody"}}
		if err := d.RecordTwice(t.Context(), "default", change, change, refused); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if entries := must(first(d.Journal(t.Context(), "default", directory.JournalFilter{ID: "nobody"})))(t); len(entries) != 0 {
			t.Errorf("a refused change left %+v", entries)
		}
	})
}

func TestJournalFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		c := withClock(d)
		applySeed(t, d)
		begin := c.after(time.Hour)
		cookie := must(d.CreateSession(t.Context(), directory.Principal{Role: directory.RoleOperator, Name: "Bob"}, 24*time.Hour))(t)
		bob := must(d.AuthenticateSession(t.Context(), cookie))(t).Actor()
		acting := must(d.StartProxy(directory.WithActor(t.Context(), bob), "default", "alice", "she asked", time.Hour))(t)
		bob.Proxy = acting.ID
		for i, w := range []struct {
			actor  directory.Actor
			change directory.Change
		}{
			{ann, directory.Change{Action: "user.note", Kind: "user", ID: "alice", User: "alice", Text: "called back"}},
			{ann, directory.Change{Action: "number.transfer", Kind: "number", ID: "+14155550101", User: "alice"}},
			{bob, directory.Change{Action: "user.update", Kind: "user", ID: "alice", User: "alice"}},
			{bob, directory.Change{Action: "office.create", Kind: "office", ID: "hq"}},
		} {
			c.after(time.Minute)
			if err := d.Record(directory.WithActor(t.Context(), w.actor), "default", w.change); err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		if err := d.Record(t.Context(), "", directory.Change{Action: "key.create", Kind: "key", ID: "k9"}); err != nil {
			t.Fatal(err)
		}
		minute := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
		for name, tt := range map[string]struct {
			filter directory.JournalFilter
			want   []string
		}{
			"actor by id":        {directory.JournalFilter{Actor: "k1"}, []string{"number.transfer", "user.note"}},
			"actor by name":      {directory.JournalFilter{Actor: "Bob"}, []string{"office.create", "user.update", "proxy_session.start"}},
			"action":             {directory.JournalFilter{Action: "user.update"}, []string{"user.update"}},
			"subject":            {directory.JournalFilter{Kind: "user", ID: "alice", From: begin}, []string{"user.update", "user.note"}},
			"on someone's page":  {directory.JournalFilter{User: "alice", From: begin.Add(time.Microsecond)}, []string{"user.update", "number.transfer", "user.note"}},
			"written":            {directory.JournalFilter{User: "alice", Note: "note"}, []string{"user.note"}},
			"changes":            {directory.JournalFilter{User: "alice", Note: "change", From: begin}, []string{"number.transfer"}},
			"in someone's place": {directory.JournalFilter{User: "alice", Note: "proxy"}, []string{"user.update", "proxy_session.start"}},
			"of the company":     {directory.JournalFilter{Note: "note"}, []string{"user.note"}},
			"from":               {directory.JournalFilter{Kind: "user", From: minute(3)}, []string{"user.update"}},
			"to is not included": {directory.JournalFilter{Kind: "user", To: minute(3), From: minute(1)}, []string{"user.note"}},
			"nobody":             {directory.JournalFilter{Actor: "no one"}, []string{}},
		} {
			entries, next, err := d.Journal(t.Context(), "default", tt.filter)
			if got := ids(entries, func(e directory.Entry) string { return e.Change.Action }); err != nil || next != "" || !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, %q, %v; want %v", name, got, next, err, tt.want)
			}
		}
		entries := must(first(d.Journal(t.Context(), "", directory.JournalFilter{Kind: "key", ID: "k9"})))(t)
		if len(entries) != 1 || entries[0].Actor.Kind != "system" {
			t.Errorf("what belongs to no company, done by no one who said so: %+v", entries)
		}
	})
}

// first leaves the cursor out.
func first[T any](items []T, _ string, err error) ([]T, error) { return items, err }
