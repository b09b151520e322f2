package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earshot/earshot/directory"
)

// accessLog is the log of a directory and what it counts.
func accessLog(t *testing.T, d *directory.Directory, retention time.Duration) (*directory.AccessLog, func(metric string) float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	l, err := d.NewAccessLog(retention, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l, func(metric string) float64 {
		t.Helper()
		for _, f := range must(registry.Gather())(t) {
			if f.GetName() == metric {
				return f.Metric[0].Counter.GetValue()
			}
		}
		t.Fatalf("there is no metric %s", metric)
		return 0
	}
}

func flush(t *testing.T, l *directory.AccessLog) {
	t.Helper()
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func told(e directory.Entry) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", e.Change.Action, e.Change.Kind, e.Change.ID, e.Change.Text))
}

func TestReadsAreOneEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		c := withClock(d)
		l, metric := accessLog(t, d, 0)
		begin := c.t
		bob := directory.Actor{Kind: "session", ID: "s1", Name: "Bob"}
		read := func(a directory.Actor, id, what string) {
			l.Read(directory.Access{Actor: a, Company: "default", Kind: "call", ID: id, What: what})
		}
		read(ann, "c1", "")
		c.after(time.Minute)
		read(ann, "c1", "")
		flush(t, l)
		c.after(time.Minute)
		read(ann, "c1", "") // grows what is stored already
		read(ann, "c1", "samples")
		read(bob, "c1", "")
		read(bob, "c\x00\xff1", "") // what PostgreSQL would not take
		flush(t, l)
		flush(t, l) // nothing new
		c.after(5 * time.Minute)
		read(ann, "c1", "")
		flush(t, l)
		entries := must(first(d.Audit(t.Context(), "default", directory.JournalFilter{ID: "c1", Actor: "k1"})))(t)
		if got := ids(entries, told); !slices.Equal(got[:1], []string{"read call/c1"}) || len(got) != 3 {
			t.Fatalf("entries: %q", got)
		}
		// The first and its samples are minutes apart.
		e := entries[2]
		if e.Count != 3 || !e.At.Equal(begin) || !e.Through.Equal(begin.Add(2*time.Minute)) || e.Actor != ann {
			t.Errorf("three reads: %+v", e)
		}
		if entries[0].Count != 1 || !entries[0].At.Equal(c.t) {
			t.Errorf("minutes later: %+v", entries[0])
		}
		if n := metric("earshot_audit_reads_dropped_total"); n != 0 {
			t.Errorf("%v dropped", n)
		}
		if n := metric("earshot_audit_reads_stored_total"); n != 6 {
			t.Errorf("%v stored, want 6: nothing is written twice for nothing", n)
		}
	})
}

// Changes and reads are one list, on pages of any size, whatever is equal.
func TestAuditMerges(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		c := withClock(d)
		l, _ := accessLog(t, d, 0)
		ctx := directory.WithActor(t.Context(), ann)
		var want []string
		for i := range 12 {
			change := func(n int) {
				for j := range n {
					if err := d.Record(ctx, "default", directory.Change{Action: "user.update", Kind: "user", ID: fmt.Sprint(i, "-", j)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			read := func(n int) {
				for j := range n {
					l.Read(directory.Access{Actor: ann, Company: "default", Kind: "call", ID: fmt.Sprint(i, "-", j)})
				}
			}
			change(i % 3)
			read(i % 4) // at the same microsecond
			for range i % 3 {
				want = append(want, "change")
			}
			for range i % 4 {
				want = append(want, "read")
			}
			c.after(time.Minute)
		}
		l.Read(directory.Access{Actor: ann, Company: "other", Kind: "call", ID: "x"})
		flush(t, l)
		for _, limit := range []int{1, 2, 3, 5, 100} {
			seen := map[string]bool{}
			kinds := 0
			var last time.Time
			for page := (directory.Page{Limit: limit}); ; {
				entries, next, err := d.Audit(ctx, "default", directory.JournalFilter{Actor: "k1", Page: page})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if key := e.Change.Action + e.Change.ID; seen[key] || !last.IsZero() && e.At.After(last) {
						t.Fatalf("limit %d: %s again, or out of order", limit, key)
					} else {
						seen[key] = true
					}
					last = e.At
					kinds++
				}
				if page.Cursor = next; next == "" {
					break
				}
			}
			if kinds != len(want) {
				t.Errorf("limit %d: %d entries, want %d", limit, kinds, len(want))
			}
		}
		for name, tt := range map[string]struct {
			filter directory.JournalFilter
			want   int
		}{
			"reads":     {directory.JournalFilter{Action: "read"}, 18},
			"changes":   {directory.JournalFilter{Action: "user.update"}, 12},
			"an object": {directory.JournalFilter{Kind: "call", ID: "3-0"}, 1},
			"a time":    {directory.JournalFilter{Actor: "k1", From: c.t.Add(-time.Minute), To: c.t}, 2 + 3},
			"its end":   {directory.JournalFilter{Actor: "k1", From: c.t}, 0},
			"someone":   {directory.JournalFilter{Actor: "Ann's key"}, 30},
			"no one":    {directory.JournalFilter{Actor: "nobody"}, 0},
		} {
			if entries := must(first(d.Audit(ctx, "default", tt.filter)))(t); len(entries) != tt.want {
				t.Errorf("%s: %d entries, want %d", name, len(entries), tt.want)
			}
		}
		for _, bad := range []string{"x", "WyIxIiwiMiIsIjMiXQ", "WyJhIiwiMiIsIjMiLCIiXQ"} {
			_, _, err := d.Audit(ctx, "default", directory.JournalFilter{Page: directory.Page{Cursor: bad}})
			wantField(t, err, directory.ErrInvalid, "cursor")
		}
	})
}

func TestAuditRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		c := withClock(d)
		l, _ := accessLog(t, d, 24*time.Hour)
		forever, _ := accessLog(t, d, 0)
		for i := range 3 {
			for n := range 1 + i {
				l.Read(directory.Access{Actor: ann, Company: "default", Kind: "call", ID: fmt.Sprint(i, n)})
			}
			flush(t, l)
			c.after(23 * time.Hour)
		}
		count := func() int {
			return len(must(first(d.Audit(t.Context(), "default", directory.JournalFilter{Action: "read"})))(t))
		}
		if err := forever.Sweep(t.Context()); err != nil || count() != 6 {
			t.Errorf("kept for ever: %d left, %v", count(), err)
		}
		if err := l.Sweep(t.Context()); err != nil || count() != 3 {
			t.Errorf("kept for a day: %d left, %v", count(), err)
		}
	})
}

// While the directory does not take entries they wait, as many as there is room
// for; the rest is counted. Reading goes on all the same.
func TestReadsNeverWait(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	d := must(directory.Open(t.Context(), directory.Config{}, dir))(t)
	l, metric := accessLog(t, d, 0)
	d.Close()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 3000 {
				l.Read(directory.Access{Actor: ann, Company: "default", Kind: "call", ID: fmt.Sprint(n, "-", i)})
			}
		})
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Log("nothing had been read yet")
	}
	wg.Wait()
	if n := metric("earshot_audit_reads_dropped_total"); n != 4000 {
		t.Errorf("%v dropped of 24,000 with room for 20,000", n)
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Error("stored in a directory that is closed")
	}
	if n := metric("earshot_audit_reads_stored_total"); n != 0 {
		t.Errorf("%v stored", n)
	}
}

// What waited is stored once the directory answers again, and at the end.
func TestReadsAreStoredLater(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		l, _ := accessLog(t, d, 0)
		for i := range 450 {
			l.Read(directory.Access{Actor: ann, Company: "default", Kind: "call", ID: fmt.Sprint(i)})
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Flush(gone); !errors.Is(err, context.Canceled) {
			t.Fatalf("stored by a context that is over: %v", err)
		}
		if err := l.Run(gone); err != nil {
			t.Fatal(err)
		}
		if entries := must(first(d.Audit(t.Context(), "default", directory.JournalFilter{Action: "read", Page: directory.Page{Limit: 1000}})))(t); len(entries) != 450 {
			t.Errorf("%d of 450 reads stored", len(entries))
		}
	})
}
