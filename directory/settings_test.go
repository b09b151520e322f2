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

func TestNotes(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		c := withClock(d)
		ctx := directory.WithActor(t.Context(), ann)
		one := must(d.AddNote(ctx, "default", "alice", "  called back\n\"twice\" <b>Ä</b> "))(t)
		c.after(-time.Hour) // a clock that goes back
		second := must(d.AddNote(ctx, "default", "alice", "again"))(t)
		if one.Change.Text != "called back\n\"twice\" <b>Ä</b>" || one.Actor != ann || one.Change.User != "alice" || second.Change.Text != "again" || second.ID == one.ID {
			t.Errorf("notes as answered: %+v, %+v", one, second)
		}
		for text, what := range map[string]string{"": "empty", " \n ": "blank", "a\x00b": "NUL", "a\xffb": "broken UTF-8", "a\x1b[1mb": "escape", strings.Repeat("x", directory.MaxNoteBytes+1): "long"} {
			if _, err := d.AddNote(ctx, "default", "alice", text); !errors.Is(err, directory.ErrInvalid) {
				t.Errorf("%s note: %v", what, err)
			}
		}
		for _, who := range [][2]string{{"other", "bob"}, {"default", "nobody"}} {
			if _, err := d.AddNote(ctx, who[0], who[1], "x"); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("note on %v: %v", who, err)
			}
		}
		notes, next, err := d.Journal(ctx, "default", directory.JournalFilter{User: "alice", Note: "note"})
		if got := ids(notes, func(e directory.Entry) string { return e.Change.Text }); err != nil || next != "" || !slices.Equal(got, []string{one.Change.Text, "again"}) {
			t.Errorf("notes of a user: %q %v", got, err)
		}
		if notes := must(first(d.Journal(ctx, "other", directory.JournalFilter{User: "alice", Note: "note"})))(t); len(notes) != 0 {
			t.Errorf("the namesake's notes: %+v", notes)
		}
	})
}

func TestKeysAreInTheJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		plain, k, err := d.CreateKey(ctx, "grafana", directory.RoleCompany, "default")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is revoked already
			must(d.RevokeKey(ctx, k.ID))(t)
		}
		entries := must(first(d.Journal(ctx, "default", directory.JournalFilter{Kind: "key", ID: k.ID})))(t)
		if got := ids(entries, func(e directory.Entry) string { return e.Change.Action }); !slices.Equal(got, []string{"key.revoke", "key.create"}) {
			t.Errorf("journal: %v", got)
		}
		if strings.Contains(fmt.Sprint(entries), plain[len(k.Prefix):]) {
			t.Error("the journal holds the key")
		}
	})
}

func TestExperiments(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		c := withClock(d)
		ctx := directory.WithActor(t.Context(), ann)
		state := func(user, key string) string {
			t.Helper()
			list, next, err := d.Experiments(ctx, "default", directory.Page{})
			if user != "" {
				list, next, err = d.UserExperiments(ctx, "default", user, directory.Page{})
			}
			if err != nil || next != "" {
				t.Fatal(err, next)
			}
			for _, e := range list {
				if e.Key == key {
					own := "unset"
					if e.Enabled != nil {
						own = fmt.Sprint(*e.Enabled)
					}
					holds := must(d.ExperimentEnabled(ctx, "default", user, key))(t)
					if holds != e.Effective {
						t.Errorf("%s of %q: listed as %v, is %v", key, user, e.Effective, holds)
					}
					return fmt.Sprintf("%s %v by %s, %d users", own, e.Effective, e.From, e.Users)
				}
			}
			return "not there"
		}
		set := func(user, key string, on bool, description *string) {
			t.Helper()
			c.after(time.Minute)
			if err := d.SetExperiment(ctx, "default", user, key, on, description); err != nil {
				t.Fatal(err)
			}
		}
		want := func(when, user, key, want string) {
			t.Helper()
			if got := state(user, key); got != want {
				t.Errorf("%s: %s of %q is %q, want %q", when, key, user, got, want)
			}
		}
		want("new", "", directory.ExperimentCallRecording, "unset false by default, 0 users")
		want("new", "", "new_dialer", "not there")
		said := "A dialer with bigger keys"
		set("", "new_dialer", true, &said)
		want("on for all", "", "new_dialer", "true true by company, 0 users")
		want("on for all", "alice", "new_dialer", "unset true by company, 0 users")
		set("alice", "new_dialer", false, nil)
		want("off for one", "alice", "new_dialer", "false false by user, 0 users")
		want("off for one", "bob", "new_dialer", "unset true by company, 0 users")
		want("off for one", "", "new_dialer", "true true by company, 1 users")
		set("", "new_dialer", false, nil)
		list := must(first(d.Experiments(ctx, "default", directory.Page{})))(t)
		if i := slices.IndexFunc(list, func(e directory.Experiment) bool { return e.Key == "new_dialer" }); list[i].Description != said || list[i].SetBy != ann.Name || !list[i].SetAt.Equal(c.t) {
			t.Errorf("a change without a description: %+v", list[i])
		}
		set("alice", "only_hers", true, nil)
		want("of a user alone", "", "only_hers", "unset false by default, 1 users")
		want("of a user alone", "bob", "only_hers", "not there")

		before := must(first(d.Journal(ctx, "default", directory.JournalFilter{Kind: "experiment"})))(t)
		set("alice", "only_hers", true, nil)
		if after := must(first(d.Journal(ctx, "default", directory.JournalFilter{Kind: "experiment"})))(t); len(after) != len(before) || len(before) != 4 {
			t.Errorf("what is set already was set again: %d entries, then %d", len(before), len(after))
		}
		if err := d.RemoveExperiment(ctx, "default", "alice", "new_dialer"); err != nil {
			t.Fatal(err)
		}
		want("removed", "alice", "new_dialer", "unset false by company, 0 users")
		if err := d.RemoveExperiment(ctx, "default", "alice", "new_dialer"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		if err := d.RemoveExperiment(ctx, "other", "", "new_dialer"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("of another company: %v", err)
		}
		notes := must(first(d.Journal(ctx, "default", directory.JournalFilter{User: "alice", Kind: "experiment"})))(t)
		if got := ids(notes, func(e directory.Entry) string { return e.Change.Action + fmt.Sprint(e.Change.Fields) }); !slices.Equal(got, []string{
			"experiment.remove[{enabled off }]", "experiment.set[{enabled  on}]", "experiment.set[{enabled  off}]"}) {
			t.Errorf("notes: %q", got)
		}
		for _, key := range []string{"", "New", "1st", "a b", "a-b", strings.Repeat("a", 65), "ä"} {
			wantField(t, d.SetExperiment(ctx, "default", "", key, true, nil), directory.ErrInvalid, "key")
		}
		wantField(t, d.SetExperiment(ctx, "default", "eve", "x", true, nil), directory.ErrConflict, "user")
		for _, who := range [][2]string{{"default", "nobody"}, {"nowhere", ""}, {"other", "bob"}} {
			if err := d.SetExperiment(ctx, who[0], who[1], "x", true, nil); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("for %v: %v", who, err)
			}
		}
		if list := must(first(d.Experiments(ctx, "other", directory.Page{})))(t); len(list) != 1 {
			t.Errorf("another company's experiments: %+v", list)
		}
		page, next, err := d.Experiments(ctx, "default", directory.Page{Limit: 2})
		if err != nil || len(page) != 2 || next == "" {
			t.Fatalf("a page: %+v %q %v", page, next, err)
		}
		rest, next, err := d.Experiments(ctx, "default", directory.Page{Limit: 2, Cursor: next})
		if err != nil || len(rest) != 1 || next != "" || rest[0].Key <= page[1].Key {
			t.Errorf("the rest: %+v %q %v", rest, next, err)
		}
	})
}
