package directory_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

// freeze keeps a call whose content is text.
func freeze(t *testing.T, d *directory.Directory, call, text, note string, users ...string) (directory.Snapshot, bool) {
	t.Helper()
	s, created, err := d.CreateSnapshot(t.Context(), "default", directory.Frozen{
		CallID: call, Note: note, Users: users, Digest: "digest of " + text,
		Content: func(id string) ([]byte, error) { return []byte(id + " " + text), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, created
}

func TestSnapshots(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := directory.WithActor(t.Context(), directory.Actor{Kind: "key", ID: "k1", Name: "Kim"})
		long := strings.Repeat("a sample of a call ", 100_000)
		one, created, err := d.CreateSnapshot(ctx, "default", directory.Frozen{
			CallID: "call-1", Note: " ticket 4711\n", Users: []string{"alice", "", "alice", "bob"}, Digest: "d1",
			Content: func(id string) ([]byte, error) { return []byte(id + long), nil },
		})
		if err != nil || !created {
			t.Fatal(created, err)
		}
		if len(one.ID) < 26 || one.Note != "ticket 4711" || one.CreatedBy != (directory.Actor{Kind: "key", ID: "k1", Name: "Kim"}) || one.Bytes < 1 || one.Bytes > int64(len(long))/100 {
			t.Errorf("made %+v of %d bytes", one, len(long))
		}
		found, content, err := d.Snapshot(t.Context(), one.ID)
		if err != nil || found != one || string(content) != one.ID+long {
			t.Errorf("stored %+v with %d bytes, made %+v, %v", found, len(content), one, err)
		}

		// An unchanged call is frozen once; a further ticket stands beside the first.
		freezeAgain := func(note string) directory.Snapshot {
			t.Helper()
			s, created, err := d.CreateSnapshot(t.Context(), "default", directory.Frozen{CallID: "call-1", Note: note, Digest: "d1", Content: func(string) ([]byte, error) { return []byte("other"), nil }})
			if err != nil || created {
				t.Errorf("again: %v %v", created, err)
			}
			return s
		}
		for _, c := range []struct{ note, want string }{{"", "ticket 4711"}, {"ticket 4711", "ticket 4711"}, {"ticket 4812", "ticket 4711\nticket 4812"}, {"ticket 4812", "ticket 4711\nticket 4812"}} {
			if s := freezeAgain(c.note); s.ID != one.ID || s.Note != c.want {
				t.Errorf("frozen again with %q: %+v", c.note, s)
			}
		}
		if _, content, _ := d.Snapshot(t.Context(), one.ID); string(content) != one.ID+long {
			t.Error("freezing again has changed what was frozen")
		}
		// A note that was refused says why, and the other note stays.
		_, _, err = d.CreateSnapshot(t.Context(), "default", directory.Frozen{CallID: "call-1", Note: strings.Repeat("x", directory.MaxSnapshotNoteBytes), Digest: "d1", Content: func(string) ([]byte, error) { return nil, nil }})
		wantField(t, err, directory.ErrInvalid, "note")
		_, _, err = d.CreateSnapshot(t.Context(), "default", directory.Frozen{CallID: "call-1", Note: "a\x00b", Digest: "d1", Content: func(string) ([]byte, error) { return nil, nil }})
		wantField(t, err, directory.ErrInvalid, "note")

		two, created := freeze(t, d, "call-1", "changed", "")
		if !created || two.ID == one.ID {
			t.Error("a call that has changed is not frozen anew")
		}
		three, _ := freeze(t, d, "call-2", "changed", "", "bob")
		if three.ID == two.ID {
			t.Error("two calls are one")
		}
		list := func(f directory.SnapshotFilter) (ids []string) {
			t.Helper()
			for {
				part, next, err := d.Snapshots(t.Context(), "default", f)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range part {
					ids = append(ids, s.ID)
				}
				if f.Cursor = next; next == "" {
					return ids
				}
			}
		}
		for name, c := range map[string]struct {
			f    directory.SnapshotFilter
			want []string
		}{
			"all":        {directory.SnapshotFilter{Page: directory.Page{Limit: 1}}, []string{three.ID, two.ID, one.ID}},
			"of a call":  {directory.SnapshotFilter{Call: "call-1"}, []string{two.ID, one.ID}},
			"of no call": {directory.SnapshotFilter{Call: "call-3"}, nil},
			"of a user":  {directory.SnapshotFilter{User: "bob"}, []string{three.ID, one.ID}},
			"of both":    {directory.SnapshotFilter{User: "bob", Call: "call-2"}, []string{three.ID}},
		} {
			if got := list(c.f); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		if got, _, err := d.Snapshots(t.Context(), "other", directory.SnapshotFilter{}); err != nil || len(got) != 0 {
			t.Errorf("another company sees %v %v", got, err)
		}
		if _, _, err := d.Snapshots(t.Context(), "default", directory.SnapshotFilter{Page: directory.Page{Cursor: "x"}}); !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("a wrong cursor: %v", err)
		}

		if err := d.DeleteSnapshot(t.Context(), "other", one.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company deletes it: %v", err)
		}
		if err := d.DeleteSnapshot(t.Context(), "default", one.ID); err != nil {
			t.Error(err)
		}
		if _, _, err := d.Snapshot(t.Context(), one.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("after it was deleted: %v", err)
		}
		if err := d.DeleteSnapshot(t.Context(), "default", one.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		if got := list(directory.SnapshotFilter{User: "alice"}); got != nil {
			t.Errorf("alice is still named in %v", got)
		}

		entries, _, err := d.Journal(t.Context(), "default", directory.JournalFilter{Kind: "snapshot", ID: one.ID})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range entries {
			told = append(told, fmt.Sprint(e.Change.Action, " ", e.Change.Text, " ", e.Change.Fields))
		}
		want := []string{"snapshot.delete ticket 4711\nticket 4812 [{call call-1 }]", "snapshot.change  [{note ticket 4711 ticket 4711\nticket 4812}]", "snapshot.create ticket 4711 [{call  call-1}]"}
		if !slices.Equal(told, want) || entries[2].Actor.Name != "Kim" {
			t.Errorf("the journal tells %q, want %q", told, want)
		}
	})
}

// What cannot be kept is refused, and nothing of it stays.
func TestSnapshotBounds(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		noise := make([]byte, directory.MaxSnapshotBytes+1)
		rand.Read(noise)
		failure := errors.New("failure")
		for name, c := range map[string]struct {
			content func(string) ([]byte, error)
			want    error
		}{
			"too big compressed": {func(string) ([]byte, error) { return noise, nil }, directory.ErrInvalid},
			"too big":            {func(string) ([]byte, error) { return bytes.Repeat([]byte{'a'}, 129<<20), nil }, directory.ErrInvalid},
			"failed":             {func(string) ([]byte, error) { return nil, failure }, failure},
		} {
			if _, _, err := d.CreateSnapshot(t.Context(), "default", directory.Frozen{CallID: "c", Digest: name, Content: c.content}); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got, _, err := d.Snapshots(t.Context(), "default", directory.SnapshotFilter{}); err != nil || len(got) != 0 {
			t.Errorf("stored %v %v", got, err)
		}
	})
}

// Several who freeze the same call at once get the same snapshot.
func TestSnapshotsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		const n = 8
		ids, errs := make(chan string, n), make(chan error, n)
		made := make(chan bool, n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range n {
			go func() {
				s, created, err := d.CreateSnapshot(ctx, "default", directory.Frozen{CallID: "c", Digest: "d", Content: func(id string) ([]byte, error) { return []byte(id), nil }})
				ids <- s.ID
				made <- created
				errs <- err
			}()
		}
		seen, firsts := map[string]bool{}, 0
		for range n {
			seen[<-ids] = true
			if <-made {
				firsts++
			}
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if len(seen) != 1 || firsts != 1 {
			t.Errorf("%d snapshots of one call, made %d times", len(seen), firsts)
		}
	})
}
