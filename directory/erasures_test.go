package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func TestErasures(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		d.SetNow(func() time.Time { return now })
		freeze(t, d, "call-1", "a", "", "alice", "bob")
		freeze(t, d, "call-2", "b", "", "bob")

		_, err := d.RequestErasure(t.Context(), "default", "alice", " ")
		wantField(t, err, directory.ErrInvalid, "reason")
		if _, err := d.RequestErasure(t.Context(), "default", "nobody", "asked"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		if _, err := d.Erasure(t.Context(), "default", "alice"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("not asked for: %v", err)
		}
		e, err := d.RequestErasure(t.Context(), "default", "alice", "asked")
		if err != nil || !e.RequestedAt.Equal(now) || !e.DoneAt.IsZero() || e.Snapshots != 1 || e.RequestedBy.Kind != "system" {
			t.Errorf("%+v %v", e, err)
		}
		left, _, err := d.Snapshots(t.Context(), "default", directory.SnapshotFilter{})
		if err != nil || len(left) != 1 || left[0].CallID != "call-2" {
			t.Errorf("snapshots left: %v %v", left, err)
		}
		if _, err := d.Erasure(t.Context(), "other", "alice"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company: %v", err)
		}
		// What is frozen before it is carried out names alice, too.
		freeze(t, d, "call-3", "c", "", "alice")

		var tried []string
		var failure error
		due := func(after time.Duration) []string {
			t.Helper()
			now, tried = now.Add(after), nil
			err := d.EraseDue(t.Context(), func(_ context.Context, company, user string, until time.Time) (int64, error) {
				tried = append(tried, fmt.Sprint(company, " ", user, " ", until.Format(time.DateTime)))
				return 2, failure
			})
			if !errors.Is(err, failure) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("said %v", err)
			}
			return tried
		}
		failure = errors.New("the store is away")
		want := []string{"default alice 2026-05-01 12:00:00"}
		for i, c := range []struct {
			after   time.Duration
			failure error
			want    []string
		}{
			{time.Second, failure, want},
			{10 * time.Second, nil, nil},     // not at once
			{time.Minute, nil, want},         // but soon
			{10 * time.Second, nil, nil},     // it is done
			{10 * time.Minute, nil, want},    // calls that ran have ended
			{3 * time.Hour, nil, want},       //
			{10 * time.Minute, nil, nil},     //
			{time.Hour, nil, want},           // what came late
			{89 * 24 * time.Hour, nil, want}, //
			{48 * time.Hour, failure, nil},   // nothing comes any more
		} {
			if failure = c.failure; len(c.want) == 0 {
				failure = nil
			}
			if got := due(c.after); !slices.Equal(got, c.want) {
				t.Errorf("step %d: erased %v, want %v", i, got, c.want)
			}
		}
		if e, err = d.Erasure(t.Context(), "default", "alice"); err != nil || e.Calls != 10 || e.Snapshots != 2 || e.LastError != "" || !e.DoneAt.Equal(time.Date(2026, 5, 1, 12, 1, 11, 0, time.UTC)) {
			t.Errorf("done: %+v %v", e, err)
		}

		// Asked for again, all up to then goes, and a failure is told.
		if e, err = d.RequestErasure(t.Context(), "default", "alice", "asked again"); err != nil || !e.DoneAt.IsZero() || e.Calls != 10 || e.Reason != "asked again" {
			t.Errorf("again: %+v %v", e, err)
		}
		failure = errors.New("away")
		if got := due(time.Second); len(got) != 1 || got[0] == want[0] {
			t.Errorf("again: erased %v", got)
		}
		if e, err = d.Erasure(t.Context(), "default", "alice"); err != nil || e.LastError != "away" || !e.DoneAt.IsZero() {
			t.Errorf("failed: %+v %v", e, err)
		}
	})
}
