package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func step(t *testing.T, d *directory.Directory, id string, s directory.PortStep) directory.PortRequest {
	t.Helper()
	return must(d.TransitPortRequest(t.Context(), "default", id, s))(t)
}

func status(t *testing.T, d *directory.Directory, value string) string {
	t.Helper()
	n, err := d.Number(t.Context(), "default", value)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return "none"
	case err != nil:
		t.Fatal(err)
	}
	return n.Status
}

func TestPortIn(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := directory.WithActor(t.Context(), directory.Actor{Kind: "key", ID: "k1", Name: "Ann"})
		// One is new, one in the pool, one was marked by hand as being ported.
		numbers := []string{"+14155550150", "+14155550130", "+14155550131"}
		r := must(d.CreatePortRequest(ctx, "default", directory.PortRequest{BatchID: " B-7 ", Office: "hq", LNPID: "LNP-1", Type: "port_in", Carrier: "Old Bell",
			Numbers: []string{"(415) 555-0150", "+14155550130", "4155550131"}, Target: &directory.Owner{Kind: "user", ID: "bob"}}))(t)
		if r.State != "draft" || r.BatchID != "B-7" || !slices.Equal(r.Numbers, numbers) || r.DIDs != 3 || status(t, d, numbers[0]) != "none" {
			t.Errorf("created: %+v", r)
		}
		r = step(t, d, r.ID, directory.PortStep{To: "submitted"})
		for _, n := range numbers {
			if s := status(t, d, n); s != "port_pending" {
				t.Errorf("submitted: %s is %s", n, s)
			}
		}
		_, err := d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "completed"})
		wantField(t, err, directory.ErrConflict, "to")
		if !strings.Contains(err.Error(), "foc_received, rejected, cancelled") {
			t.Errorf("what may follow is not said: %v", err)
		}
		_, err = d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "foc_received"})
		wantField(t, err, directory.ErrInvalid, "foc_date")
		_, err = d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "foc_received", FOCDate: "2026-02-30"})
		wantField(t, err, directory.ErrInvalid, "foc_date")
		_, err = d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "rejected"})
		wantField(t, err, directory.ErrInvalid, "reason")
		r = step(t, d, r.ID, directory.PortStep{To: "foc_received", FOCDate: "2026-12-01"})
		r = must(d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "completed", Reason: "done"}))(t)
		for _, n := range numbers {
			if n := must(d.Number(ctx, "default", n))(t); n.Owner == nil || n.Owner.ID != "bob" {
				t.Errorf("completed: %+v", n)
			}
		}
		var history []string
		for _, h := range r.History {
			history = append(history, h.From+">"+h.To+" "+h.By.Name+" "+h.Text)
		}
		if want := []string{">draft Ann ", "draft>submitted Earshot ", "submitted>foc_received Earshot ", "foc_received>completed Ann done"}; !slices.Equal(history, want) {
			t.Errorf("history: %q", history)
		}
		if r.FOCDate != "2026-12-01" || len(r.Transitions()) != 0 {
			t.Errorf("completed: %+v", r)
		}
		_, err = d.TransitPortRequest(ctx, "default", r.ID, directory.PortStep{To: "cancelled"})
		wantField(t, err, directory.ErrConflict, "to")
		carrier := "New"
		_, err = d.UpdatePortRequest(ctx, "default", r.ID, directory.PortChange{Carrier: &carrier})
		wantField(t, err, directory.ErrConflict, "state")
		assignments, _, err := d.NumberHistory(ctx, "default", numbers[0], directory.Page{})
		if err != nil || len(assignments) != 2 || assignments[0].Reason != "port request "+r.ID || assignments[1].Status != "port_pending" {
			t.Errorf("history of a ported number: %+v %v", assignments, err)
		}
	})
}

// What a port that comes to nothing held is as it was before.
func TestPortsThatEndBadly(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		before := map[string]string{"+14155550150": "none", "+14155550130": "available", "+14155550131": "port_pending"}
		numbers := []string{"+14155550150", "+14155550130", "+14155550131"}
		same := func(when string) {
			t.Helper()
			for n, want := range before {
				if got := status(t, d, n); got != want {
					t.Errorf("%s: %s is %s, was %s", when, n, got, want)
				}
			}
		}
		r := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_in", Numbers: numbers}))(t)
		step(t, d, r.ID, directory.PortStep{To: "submitted"})
		_, err := d.UpdatePortRequest(t.Context(), "default", r.ID, directory.PortChange{Numbers: &[]string{"+14155550160"}})
		wantField(t, err, directory.ErrConflict, "numbers")
		r = step(t, d, r.ID, directory.PortStep{To: "rejected", Reason: "wrong account number"})
		same("rejected")
		if r.RejectionReason != "wrong account number" {
			t.Errorf("rejected: %+v", r)
		}
		// Corrected and sent again.
		fewer := numbers[1:]
		r = must(d.UpdatePortRequest(t.Context(), "default", r.ID, directory.PortChange{Numbers: &fewer}))(t)
		if r = step(t, d, r.ID, directory.PortStep{To: "submitted"}); r.RejectionReason != "" || r.DIDs != 2 {
			t.Errorf("submitted again: %+v", r)
		}
		step(t, d, r.ID, directory.PortStep{To: "foc_received", FOCDate: "2026-12-01"})
		none := ""
		_, err = d.UpdatePortRequest(t.Context(), "default", r.ID, directory.PortChange{FOCDate: &none})
		wantField(t, err, directory.ErrInvalid, "foc_date")
		step(t, d, r.ID, directory.PortStep{To: "cancelled"})
		same("cancelled")
		// A number that left and comes again has both in its history.
		r = must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_in", Numbers: numbers[:1]}))(t)
		step(t, d, r.ID, directory.PortStep{To: "submitted"})
		history, _, err := d.NumberHistory(t.Context(), "default", numbers[0], directory.Page{})
		if err != nil || len(history) != 2 || history[1].Until.IsZero() || history[0].From.Before(history[1].Until) {
			t.Errorf("%+v %v", history, err)
		}
	})
}

func TestPortOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		for number, field := range map[string]string{"+14155550102": "numbers[1]", "+14155550177": "numbers[1]"} {
			r := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_out", Numbers: []string{"+14155550130", number}}))(t)
			_, err := d.TransitPortRequest(t.Context(), "default", r.ID, directory.PortStep{To: "submitted"})
			wantField(t, err, directory.ErrConflict, field)
			if s := status(t, d, "+14155550130"); s != "available" {
				t.Errorf("a refused request took a number: %s", s)
			}
		}
		r := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_out", Numbers: []string{"+14155550130"}}))(t)
		other := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_out", Numbers: []string{"+14155550130"}}))(t)
		step(t, d, r.ID, directory.PortStep{To: "submitted"})
		_, err := d.TransitPortRequest(t.Context(), "default", other.ID, directory.PortStep{To: "submitted"})
		wantField(t, err, directory.ErrConflict, "numbers[0]")
		_, err = d.TransferNumber(t.Context(), "default", "+14155550130", directory.Owner{Kind: "user", ID: "bob"}, "")
		wantField(t, err, directory.ErrConflict, "number")
		step(t, d, r.ID, directory.PortStep{To: "foc_received", FOCDate: "2026-12-01"})
		step(t, d, r.ID, directory.PortStep{To: "completed"})
		if s := status(t, d, "+14155550130"); s != "none" {
			t.Errorf("ported out, still %s", s)
		}
		if history, _, err := d.NumberHistory(t.Context(), "default", "+14155550130", directory.Page{}); err != nil || len(history) != 2 || history[0].Until.IsZero() {
			t.Errorf("its history: %+v %v", history, err)
		}
	})
}

func TestPortRequestRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		many := make([]string, 1001)
		for field, r := range map[string]directory.PortRequest{
			"port_type":   {Type: "sideways"},
			"numbers[1]":  {Type: "port_in", Numbers: []string{"+14155550150", "(415) 555-0150"}},
			"numbers[0]":  {Type: "port_in", Numbers: []string{"911"}},
			"numbers":     {Type: "port_in", Numbers: many},
			"office":      {Type: "port_in", Office: "nowhere"},
			"foc_date":    {Type: "port_in", FOCDate: "tomorrow"},
			"target.id":   {Type: "port_in", Target: &directory.Owner{Kind: "user", ID: "eve"}},
			"target.kind": {Type: "port_in", Target: &directory.Owner{Kind: "company", ID: "x"}},
			"target":      {Type: "port_out", Target: &directory.Owner{Kind: "user", ID: "bob"}},
			"carrier":     {Type: "port_in", Carrier: "a\x00b"},
		} {
			_, err := d.CreatePortRequest(t.Context(), "default", r)
			wantField(t, err, directory.ErrInvalid, field)
		}
		r := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_in"}))(t)
		_, err := d.TransitPortRequest(t.Context(), "default", r.ID, directory.PortStep{To: "submitted"})
		wantField(t, err, directory.ErrConflict, "numbers")
		_, err = d.TransitPortRequest(t.Context(), "default", r.ID, directory.PortStep{To: "lost"})
		wantField(t, err, directory.ErrInvalid, "to")
		if _, err = d.TransitPortRequest(t.Context(), "other", r.ID, directory.PortStep{To: "cancelled"}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's: %v", err)
		}
		// A target that has gone meanwhile.
		r = must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_in", Numbers: []string{"+14155550150"}, FOCDate: "2026-12-01",
			Target: &directory.Owner{Kind: "user", ID: "bob"}}))(t)
		step(t, d, r.ID, directory.PortStep{To: "submitted"})
		step(t, d, r.ID, directory.PortStep{To: "foc_received"})
		if err := d.DeleteUser(t.Context(), "default", "bob"); err != nil {
			t.Fatal(err)
		}
		_, err = d.TransitPortRequest(t.Context(), "default", r.ID, directory.PortStep{To: "completed"})
		wantField(t, err, directory.ErrConflict, "target")
		must(d.UpdatePortRequest(t.Context(), "default", r.ID, directory.PortChange{Target: &directory.Owner{Kind: directory.KindPool}}))(t)
		step(t, d, r.ID, directory.PortStep{To: "completed"})
		if s := status(t, d, "+14155550150"); s != "available" {
			t.Errorf("ported to the pool: %s", s)
		}
	})
}

// Of two steps at once, one is taken and the other told that it came too late.
func TestPortStepsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		for round := range 20 {
			number := fmt.Sprintf("+1415555%04d", 200+round)
			r := must(d.CreatePortRequest(t.Context(), "default", directory.PortRequest{Type: "port_in", Numbers: []string{number}}))(t)
			step(t, d, r.ID, directory.PortStep{To: "submitted"})
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i, to := range []directory.PortStep{{To: "rejected", Reason: "no"}, {To: "foc_received", FOCDate: "2026-12-01"}} {
				wg.Go(func() { _, errs[i] = d.TransitPortRequest(t.Context(), "default", r.ID, to) })
			}
			wg.Wait()
			r = must(d.PortRequest(t.Context(), "default", r.ID))(t)
			// Rejection may follow foc_received; the other way round it may not.
			switch {
			case errs[0] == nil && errors.Is(errs[1], directory.ErrConflict), errs[0] == nil && errs[1] == nil && len(r.History) == 4:
				if s := status(t, d, number); r.State != "rejected" || s != "none" {
					t.Errorf("round %d: %s, number %s", round, r.State, s)
				}
			default:
				t.Fatalf("round %d: %v, %v", round, errs[0], errs[1])
			}
			r = must(d.UpdatePortRequest(t.Context(), "default", r.ID, directory.PortChange{}))(t)
			for i := range errs {
				wg.Go(func() {
					_, errs[i] = d.TransitPortRequest(t.Context(), "default", r.ID, directory.PortStep{To: "submitted"})
				})
			}
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || errs[0] != nil && !errors.Is(errs[0], directory.ErrConflict) || errs[1] != nil && !errors.Is(errs[1], directory.ErrConflict) {
				t.Fatalf("round %d, the same step twice: %v, %v", round, errs[0], errs[1])
			}
		}
	})
}

func TestPortRequestList(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		clock := stand(d, time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))
		applySeed(t, d)
		var all []string
		for i := range 5 {
			*clock = clock.Add(time.Duration(i/2) * time.Hour) // some at the same time
			r := directory.PortRequest{Type: "port_in", BatchID: fmt.Sprintf("batch-%d", i/3), LNPID: fmt.Sprintf("LNP_%d", i), Carrier: "Äther 100%", Numbers: []string{fmt.Sprintf("+141555502%02d", i)}}
			if i == 1 {
				r.Office = "hq"
			}
			all = append(all, must(d.CreatePortRequest(t.Context(), "default", r))(t).ID)
		}
		step(t, d, all[4], directory.PortStep{To: "submitted"})
		id := func(r directory.PortRequest) string { return r.ID }
		for name, c := range map[string]struct {
			filter directory.PortFilter
			want   []string
		}{
			"all":     {directory.PortFilter{}, all},
			"state":   {directory.PortFilter{State: "submitted"}, all[4:]},
			"office":  {directory.PortFilter{Office: "hq"}, all[1:2]},
			"batch":   {directory.PortFilter{Batch: "batch-0"}, all[:3]},
			"lnp":     {directory.PortFilter{LNPID: "LNP_2"}, all[2:3]},
			"q lnp":   {directory.PortFilter{Query: "lnp_3"}, all[3:4]},
			"q":       {directory.PortFilter{Query: "äTHER 100%"}, all},
			"q %":     {directory.PortFilter{Query: "1%0"}, nil},
			"number":  {directory.PortFilter{Query: "555-0202"}, all[2:3]},
			"nothing": {directory.PortFilter{Query: "nobody", State: "draft"}, nil},
		} {
			var got []string
			c.filter.Limit = 2
			last := time.Time{}
			for {
				part, next, err := d.PortRequests(t.Context(), "default", c.filter)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for _, r := range part {
					if !last.IsZero() && r.RequestedAt.After(last) {
						t.Errorf("%s: %v comes after %v", name, r.RequestedAt, last)
					}
					last = r.RequestedAt
				}
				got = append(got, ids(part, id)...)
				if c.filter.Cursor = next; next == "" {
					break
				}
			}
			want := slices.Clone(c.want)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		if l, _, err := d.PortRequests(t.Context(), "other", directory.PortFilter{}); err != nil || len(l) != 0 {
			t.Errorf("another company sees %v %v", l, err)
		}
	})
}
