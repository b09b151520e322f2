package directory_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func subscribe(t *testing.T, d *directory.Directory, s directory.Subscription) directory.Subscription {
	t.Helper()
	if s.URL == "" {
		s.URL = "https://example.com/hook"
	}
	if s.Types == nil {
		s.Types = []string{"*"}
	}
	s.Enabled = true
	return must(d.CreateSubscription(t.Context(), "default", s))(t)
}

func TestSubscriptions(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		s := subscribe(t, d, directory.Subscription{URL: "https://example.com/a?token=hush", Types: []string{"rejected", "ended", "rejected"}, Target: directory.Target{Kind: "user", ID: "alice"}})
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
		if err != nil || len(key) != 32 || !strings.HasPrefix(s.Secret, "whsec_") || !slices.Equal(s.Types, []string{"ended", "rejected"}) || s.State() != "ok" {
			t.Errorf("%+v %v", s, err)
		}
		stored := must(d.Subscription(t.Context(), "default", s.ID))(t)
		if fmt.Sprint(stored) != fmt.Sprint(s) {
			t.Errorf("stored %+v, made %+v", stored, s)
		}
		if _, err := d.Subscription(t.Context(), "other", s.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company sees it: %v", err)
		}

		url, types, off, on := "http://example.org/", []string{"*", "rated"}, false, true
		changed := must(d.UpdateSubscription(t.Context(), "default", s.ID, directory.SubscriptionChange{URL: &url, Types: &types, Enabled: &off}))(t)
		if changed.URL != url || !slices.Equal(changed.Types, []string{"*"}) || changed.State() != "disabled" || changed.DisabledReason == "" || changed.Secret != s.Secret {
			t.Errorf("%+v", changed)
		}
		changed = must(d.UpdateSubscription(t.Context(), "default", s.ID, directory.SubscriptionChange{Enabled: &on}))(t)
		if changed.State() != "ok" || changed.DisabledReason != "" {
			t.Errorf("%+v", changed)
		}
		rotated := must(d.RotateSubscriptionSecret(t.Context(), "default", s.ID, time.Hour))(t)
		if rotated.Secret == s.Secret || rotated.OldSecret != s.Secret || time.Until(rotated.OldSecretUntil) > time.Hour || time.Until(rotated.OldSecretUntil) < 50*time.Minute {
			t.Errorf("%+v", rotated)
		}
		if rotated = must(d.RotateSubscriptionSecret(t.Context(), "default", s.ID, 0))(t); rotated.OldSecret != "" || !rotated.OldSecretUntil.IsZero() {
			t.Errorf("%+v", rotated)
		}

		var all []string
		for i := range 5 {
			all = append(all, subscribe(t, d, directory.Subscription{Description: fmt.Sprint(i)}).ID)
		}
		all = append([]string{s.ID}, all...)
		var listed []string
		for page := (directory.Page{Limit: 2}); ; {
			part, next, err := d.Subscriptions(t.Context(), "default", page)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range part {
				listed = append(listed, s.ID)
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(listed, all) {
			t.Errorf("listed %v, made %v", listed, all)
		}
		if _, _, err := d.Subscriptions(t.Context(), "default", directory.Page{Cursor: "WyJ4IiwieSJd"}); !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("a wrong cursor: %v", err)
		}
		if err := d.DeleteSubscription(t.Context(), "other", s.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company deletes it: %v", err)
		}
		if err := d.DeleteSubscription(t.Context(), "default", s.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Subscription(t.Context(), "default", s.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
		if text := fmt.Sprint(d.JournalText(t)); strings.Contains(text, "hush") || strings.Contains(text, "whsec_") ||
			strings.Count(text, "subscription.create") != 6 || !strings.Contains(text, "subscription.rotate_secret") || !strings.Contains(text, "subscription.delete") {
			t.Errorf("journal: %s", text)
		}
	})
}

func TestWrongSubscriptions(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		good := directory.Subscription{URL: "https://example.com/", Types: []string{"*"}}
		for field, wrong := range map[string][]func(*directory.Subscription){
			"url": {
				func(s *directory.Subscription) { s.URL = "" }, func(s *directory.Subscription) { s.URL = "ftp://example.com/" },
				func(s *directory.Subscription) { s.URL = "https://" }, func(s *directory.Subscription) { s.URL = "https://u:p@example.com/" },
				func(s *directory.Subscription) { s.URL = "https://example.com/#x" }, func(s *directory.Subscription) { s.URL = "https://example.com:99999/" },
				func(s *directory.Subscription) { s.URL = "https://example.com/" + strings.Repeat("x", 2000) }, func(s *directory.Subscription) { s.URL = "https://example.com/\x00" },
			},
			"types":       {func(s *directory.Subscription) { s.Types = nil }},
			"types[1]":    {func(s *directory.Subscription) { s.Types = []string{"rated", "shouted"} }, func(s *directory.Subscription) { s.Types = []string{"rated", "ping"} }},
			"description": {func(s *directory.Subscription) { s.Description = "a\x00b" }, func(s *directory.Subscription) { s.Description = strings.Repeat("x", 600) }},
			"target.kind": {func(s *directory.Subscription) { s.Target.Kind = "room" }},
			"target.id": {
				func(s *directory.Subscription) { s.Target = directory.Target{Kind: "user", ID: "nobody"} }, func(s *directory.Subscription) { s.Target = directory.Target{Kind: "user", ID: "eve"} },
				func(s *directory.Subscription) { s.Target = directory.Target{Kind: "company", ID: "default"} }, func(s *directory.Subscription) { s.Target = directory.Target{Kind: "office", ID: "sales"} },
			},
		} {
			for _, spoil := range wrong {
				s := good
				spoil(&s)
				_, err := d.CreateSubscription(t.Context(), "default", s)
				wantField(t, err, directory.ErrInvalid, field)
				if err != nil && len(s.URL) > 12 && strings.Contains(err.Error(), s.URL) {
					t.Errorf("the error repeats the URL: %v", err)
				}
			}
		}
	})
}

func TestWhoIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		told := func(user, kind string) bool {
			t.Helper()
			return must(d.Subscribed(t.Context(), "default", user, kind))(t)
		}
		if told("alice", "device_reregister") {
			t.Error("nobody has subscribed")
		}
		for _, target := range []directory.Target{{Kind: "office", ID: "hq"}, {Kind: "department", ID: "sales"}, {Kind: "contact_center", ID: "help"}, {Kind: "user", ID: "alice"}} {
			s := subscribe(t, d, directory.Subscription{Target: target, Types: []string{"device_reregister"}})
			if !told("alice", "device_reregister") || told("bob", "device_reregister") || told("alice", "rated") {
				t.Errorf("%v: alice %v, bob %v", target, told("alice", "device_reregister"), told("bob", "device_reregister"))
			}
			if n, err := d.SubscriptionsOf(t.Context(), "default", target.Kind, target.ID); n != 1 || err != nil {
				t.Errorf("%v has %d subscriptions: %v", target, n, err)
			}
			if err := d.DeleteSubscription(t.Context(), "default", s.ID); err != nil {
				t.Fatal(err)
			}
		}
		s := subscribe(t, d, directory.Subscription{})
		if !told("bob", "rated") {
			t.Error("who is subscribed to all of the company is not told")
		}
		if err := d.DisableSubscription(t.Context(), s.ID, "for a test"); err != nil {
			t.Fatal(err)
		}
		if told("bob", "rated") || must(d.Subscription(t.Context(), "default", s.ID))(t).DisabledReason != "for a test" {
			t.Error("a disabled subscription is told")
		}
	})
}

// event is the i-th event of a call, for a subscription.
func event(s directory.Subscription, call string, i int) directory.Delivery {
	return directory.Delivery{Subscription: s.ID, EventID: fmt.Sprintf("%s-%d", call, i), Type: "held", Call: call, Body: fmt.Sprintf(`{"i":%d}`, i)}
}

func queue(t *testing.T, d *directory.Directory, from, to int64, deliveries ...directory.Delivery) {
	t.Helper()
	must(d.QueueDeliveries(t.Context(), []directory.Move{{Source: "topic", Part: 1, From: from, To: to}}, deliveries))(t)
}

func dueOf(t *testing.T, d *directory.Directory, s directory.Subscription) []string {
	t.Helper()
	var out []string
	for _, del := range must(d.Endpoint(t.Context(), s.ID, 100))(t).Due {
		out = append(out, del.EventID)
	}
	return out
}

// finish records that the due delivery with the id was delivered or not.
func finish(t *testing.T, d *directory.Directory, s directory.Subscription, id, state string, next time.Duration) {
	t.Helper()
	e := must(d.Endpoint(t.Context(), s.ID, 100))(t)
	for _, del := range e.Due {
		if del.EventID == id {
			r := directory.Result{Delivery: del, State: state, Attempt: directory.Attempt{AtMicros: time.Now().UnixMicro(), Status: 200}, Changed: e.Changed}
			if state == directory.DeliveryPending {
				r.Next, r.Error, r.Status = time.Now().Add(next), "answered 500", 500
			} else {
				r.Forget = time.Now().Add(time.Hour)
			}
			if err := d.FinishAttempts(t.Context(), "me", time.Minute, []directory.Result{r}); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s is not due", id)
}

func TestDeliveriesKeepTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		must(d.StartSending(t.Context(), "me", time.Minute))(t)
		s, other := subscribe(t, d, directory.Subscription{}), subscribe(t, d, directory.Subscription{})
		before := must(d.Version(t.Context()))(t)
		queue(t, d, -1, 10, event(s, "a", 1), event(s, "a", 2), event(s, "b", 1), event(other, "a", 1), event(s, "a", 2))
		queue(t, d, 10, 20, event(s, "a", 3), event(s, "b", 1), event(s, "", 1), event(s, "", 2))
		want := func(ids ...string) {
			t.Helper()
			got := dueOf(t, d, s)
			slices.Sort(got)
			if !slices.Equal(got, ids) {
				t.Errorf("due are %v, want %v", got, ids)
			}
		}
		want("-1", "-2", "a-1", "b-1")
		if got := must(d.Subscription(t.Context(), "default", s.ID))(t); got.Pending != 6 {
			t.Errorf("%d are pending, want 6: each event once", got.Pending)
		}
		finish(t, d, s, "a-1", directory.DeliveryPending, time.Hour)
		want("-1", "-2", "b-1") // a-2 waits for a-1
		if got := must(d.Subscription(t.Context(), "default", s.ID))(t); got.State() != "failing" || got.LastError != "answered 500" {
			t.Errorf("%+v", got)
		}
		finish(t, d, s, "b-1", directory.DeliveryDelivered, 0)
		want("-1", "-2")
		if got := must(d.Subscription(t.Context(), "default", s.ID))(t); got.State() != "ok" || got.LastSuccess.IsZero() || got.Pending != 5 {
			t.Errorf("%+v", got)
		}
		off, on := false, true // switching on makes due what waits for its next attempt
		must(d.UpdateSubscription(t.Context(), "default", s.ID, directory.SubscriptionChange{Enabled: &off}))(t)
		if _, err := d.Endpoint(t.Context(), s.ID, 1); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("a disabled one is sent to: %v", err)
		}
		must(d.UpdateSubscription(t.Context(), "default", s.ID, directory.SubscriptionChange{Enabled: &on}))(t)
		want("-1", "-2", "a-1")
		finish(t, d, s, "a-1", directory.DeliveryDead, 0)
		want("-1", "-2", "a-2")

		// A dead one comes again in its turn: after what is under way for its call.
		list, _, err := d.Deliveries(t.Context(), "default", s.ID, "dead", directory.Page{})
		if err != nil || len(list) != 1 || list[0].EventID != "a-1" || len(list[0].Attempts) != 2 || list[0].AttemptCount != 2 {
			t.Fatalf("%+v %v", list, err)
		}
		again := must(d.Redeliver(t.Context(), "default", s.ID, list[0].Seq))(t)
		if again.State != "pending" || again.EventID != "a-1" {
			t.Errorf("%+v", again)
		}
		_, err = d.Redeliver(t.Context(), "default", s.ID, list[0].Seq)
		wantField(t, err, directory.ErrConflict, "delivery")
		want("-1", "-2", "a-2")
		finish(t, d, s, "a-2", directory.DeliveryDelivered, 0)
		want("-1", "-2", "a-1")
		finish(t, d, s, "a-1", directory.DeliveryDelivered, 0)
		want("-1", "-2", "a-3")
		if got := dueOf(t, d, other); !slices.Equal(got, []string{"a-1"}) {
			t.Errorf("of the other subscription %v are due", got)
		}

		// What delivers leaves who is who alone.
		changes := must(d.Version(t.Context()))(t) - before
		if changes != 3 {
			t.Errorf("the directory's version moved by %d; two updates and a redelivery are 3", changes)
		}
		ping := must(d.TestSubscription(t.Context(), "default", s.ID, "ping-1", "{}"))(t)
		if due := dueOf(t, d, s); ping.Type != "ping" || due[0] != "ping-1" {
			t.Errorf("a test waits: %v", due)
		}
	})
}

func TestEventsAreTakenOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		s := subscribe(t, d, directory.Subscription{})
		queue(t, d, -1, 5, event(s, "a", 1))
		for _, m := range []directory.Move{{Source: "topic", Part: 1, From: -1, To: 7}, {Source: "topic", Part: 1, From: 4, To: 7}, {Source: "topic", Part: 2, From: 0, To: 7}} {
			if _, err := d.QueueDeliveries(t.Context(), []directory.Move{m}, []directory.Delivery{event(s, "a", 9)}); !errors.Is(err, directory.ErrPositionMoved) {
				t.Errorf("%+v: %v", m, err)
			}
		}
		if got := must(d.Positions(t.Context(), "topic"))(t); len(got) != 1 || got[1] != 5 {
			t.Errorf("positions %v", got)
		}
		if got := dueOf(t, d, s); len(got) != 1 {
			t.Errorf("%v", got)
		}
		// Many take at once, each its part; the events of a call come from one of them.
		var wg sync.WaitGroup
		for part := range int64(8) {
			wg.Go(func() {
				for i := range int64(25) {
					del := event(s, fmt.Sprint("call", part), int(i))
					if _, err := d.QueueDeliveries(t.Context(), []directory.Move{{Source: "many", Part: part, From: i - 1, To: i}}, []directory.Delivery{del}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		got := must(d.Subscription(t.Context(), "default", s.ID))(t)
		if due := dueOf(t, d, s); got.Pending != 201 || len(due) != 9 {
			t.Errorf("%d pending, %d due; want 201 and 9", got.Pending, len(due))
		}
	})
}

func TestOneSends(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		now := time.Now()
		d.SetNow(func() time.Time { return now })
		start := func(owner string) bool { t.Helper(); return must(d.StartSending(t.Context(), owner, time.Minute))(t) }
		if !start("a") || start("b") || !start("a") {
			t.Error("two send")
		}
		if err := d.FinishAttempts(t.Context(), "b", time.Minute, nil); !errors.Is(err, directory.ErrNotSending) {
			t.Errorf("another stored what it sent: %v", err)
		}
		now = now.Add(2 * time.Minute)
		if !start("b") || start("a") {
			t.Error("nobody took over")
		}
		if err := d.StopSending(t.Context(), "a"); err != nil || start("a") {
			t.Errorf("one stopped another: %v", err)
		}
		if err := d.StopSending(t.Context(), "b"); err != nil || !start("a") {
			t.Errorf("it was not left: %v", err)
		}
	})
}

func TestFailingAndHeld(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		d.SetNow(func() time.Time { return now })
		must(d.StartSending(t.Context(), "me", 100*time.Hour))(t)
		s := subscribe(t, d, directory.Subscription{})
		queue(t, d, -1, 1, event(s, "a", 1), event(s, "b", 1))
		due := func() int { return len(must(d.DueEndpoints(t.Context(), 10))(t)) }
		if due() != 1 {
			t.Fatal("it is not due")
		}
		fail := func(e directory.Endpoint, hold time.Duration) {
			t.Helper()
			r := directory.Result{Delivery: e.Due[0], State: "pending", Next: now.Add(time.Hour), Hold: now.Add(hold), Changed: e.Changed,
				Attempt: directory.Attempt{AtMicros: now.UnixMicro(), Error: "connection refused"}}
			if err := d.FinishAttempts(t.Context(), "me", 100*time.Hour, []directory.Result{r}); err != nil {
				t.Fatal(err)
			}
		}
		e := must(d.Endpoint(t.Context(), s.ID, 1))(t)
		fail(e, time.Minute)
		if due() != 0 || !must(d.Endpoint(t.Context(), s.ID, 1))(t).Held {
			t.Error("it is not held")
		}
		now = now.Add(2 * time.Minute)
		if e := must(d.Endpoint(t.Context(), s.ID, 9))(t); due() != 1 || e.Held || e.Failures != 1 || len(e.Due) != 1 || e.Due[0].EventID != "b-1" {
			t.Errorf("%+v", e)
		}
		// What failed at an address that has changed since says nothing.
		stale := must(d.Endpoint(t.Context(), s.ID, 1))(t)
		now = now.Add(time.Second)
		url := "https://example.org/new"
		must(d.UpdateSubscription(t.Context(), "default", s.ID, directory.SubscriptionChange{URL: &url}))(t)
		fail(stale, time.Hour)
		if e := must(d.Endpoint(t.Context(), s.ID, 9))(t); e.Failures != 0 || e.Held || !e.FailingSince.IsZero() || len(e.Due) != 1 || e.Due[0].EventID != "a-1" {
			t.Errorf("%+v", e)
		}
		// One success makes due what waits for its next attempt.
		e = must(d.Endpoint(t.Context(), s.ID, 1))(t)
		ok := directory.Result{Delivery: e.Due[0], State: "delivered", Forget: now.Add(time.Hour), Changed: e.Changed, Recovered: true, Attempt: directory.Attempt{AtMicros: now.UnixMicro(), Status: 204}}
		if err := d.FinishAttempts(t.Context(), "me", 100*time.Hour, []directory.Result{ok}); err != nil {
			t.Fatal(err)
		}
		if got := dueOf(t, d, s); !slices.Equal(got, []string{"b-1"}) {
			t.Errorf("due are %v", got)
		}
		if n, oldest, err := d.Backlog(t.Context()); n != 1 || oldest.IsZero() || err != nil {
			t.Errorf("backlog %d since %v: %v", n, oldest, err)
		}
		finish(t, d, s, "b-1", "delivered", 0)
		if err := d.RestEndpoint(t.Context(), s.ID); err != nil || due() != 0 {
			t.Errorf("nothing is pending and it is due: %v", err)
		}
	})
}

func TestForgetting(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		must(d.StartSending(t.Context(), "me", time.Minute))(t)
		s, gone, off := subscribe(t, d, directory.Subscription{}), subscribe(t, d, directory.Subscription{}), subscribe(t, d, directory.Subscription{})
		var all []directory.Delivery
		for i := range 30 {
			all = append(all, event(s, fmt.Sprint(i), 1), event(gone, fmt.Sprint(i), 1), event(off, fmt.Sprint(i%3), i))
		}
		queue(t, d, -1, 1, all...)
		for i := range 10 {
			finish(t, d, s, fmt.Sprintf("%d-1", i), "delivered", 0)
		}
		if err := d.DeleteSubscription(t.Context(), "default", gone.ID); err != nil {
			t.Fatal(err)
		}
		if err := d.DisableSubscription(t.Context(), off.ID, "failed"); err != nil {
			t.Fatal(err)
		}
		if n := must(d.ForgetDeliveries(t.Context(), 7))(t); n != 7 { // of the deleted one only
			t.Errorf("removed %d", n)
		}
		now := time.Now().Add(2 * time.Hour)
		d.SetNow(func() time.Time { return now })
		total := 7
		for n := -1; n != 0; total += n {
			n = must(d.ForgetDeliveries(t.Context(), 7))(t)
		}
		if total != 10+30+2 { // ten delivered, and a subscription with its endpoint
			t.Errorf("removed %d", total)
		}
		if list, _, err := d.Deliveries(t.Context(), "default", s.ID, "", directory.Page{}); len(list) != 20 || err != nil {
			t.Errorf("%d are left: %v", len(list), err)
		}
		if n := must(d.AbandonDeliveries(t.Context(), now.Add(-3*time.Hour), now, 7))(t); n != 0 {
			t.Errorf("%d were given up too early", n)
		}
		if n := must(d.AbandonDeliveries(t.Context(), now, now.Add(time.Hour), 7))(t); n != 7 {
			t.Errorf("%d were given up", n)
		}
		// Switched on in between: the first of each call is still there to be sent.
		on := true
		must(d.UpdateSubscription(t.Context(), "default", off.ID, directory.SubscriptionChange{Enabled: &on}))(t)
		if got := dueOf(t, d, off); !slices.Equal(got, []string{"0-0", "1-1", "2-2"}) {
			t.Errorf("due are %v", got)
		}
		if got := must(d.Subscription(t.Context(), "default", off.ID))(t); got.Pending != 23 {
			t.Errorf("%d are pending", got.Pending)
		}
	})
}

func TestJournaledDeletions(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		for i := range 3 {
			if err := d.Record(t.Context(), "default", directory.Change{Action: "device.delete", Kind: "device", ID: fmt.Sprint("d", i), User: "alice", Fields: []directory.FieldChange{{Field: "app_kind", Old: "web"}}},
				directory.Change{Action: "user.update", Kind: "user", ID: "alice"}); err != nil {
				t.Fatal(err)
			}
		}
		first, at, err := d.JournaledDeletions(t.Context(), 0)
		if err != nil || len(first) != 3 || first[0].Device != "d0" || first[0].User != "alice" || first[0].Fields[0].Old != "web" || first[0].At.IsZero() {
			t.Fatalf("%+v %v", first, err)
		}
		repeat, _, err := d.JournaledDeletions(t.Context(), 0)
		if err != nil || fmt.Sprint(repeat) != fmt.Sprint(first) || first[0].EventID == first[1].EventID || strings.Contains(first[0].EventID, ".") {
			t.Errorf("%v, then %v: %v", first, repeat, err)
		}
		if more, next, err := d.JournaledDeletions(t.Context(), at); len(more) != 0 || next != at || err != nil {
			t.Errorf("%v %d %v", more, next, err)
		}
	})
}

// However many events come for receivers that are down, what waits is bounded,
// of each subscription and of all of a company; nothing of it is thrown away.
func TestPendingIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx, c := t.Context(), withClock(d)
		must(d.StartSending(ctx, "me", time.Minute))(t)
		bounds := directory.PendingBounds{Subscription: 10, Company: 500}
		at := int64(-1)
		add := func(s directory.Subscription, n int) {
			t.Helper()
			var events []directory.Delivery
			for range n {
				events = append(events, event(s, "", int(at)+2+len(events)))
			}
			c.after(time.Minute)
			to := max(at, 0) + int64(n)
			queue(t, d, at, to, events...)
			at = to
		}
		disabled := func() (names []string) {
			t.Helper()
			for _, s := range must(d.DisableOverfull(ctx, bounds))(t) {
				names = append(names, s.Description)
			}
			return names
		}
		named := func(name string) directory.Subscription {
			t.Helper()
			return must(d.CreateSubscription(ctx, "default", directory.Subscription{URL: "https://example.com", Types: []string{"*"}, Description: name, Enabled: true}))(t)
		}
		switchOn := func(s directory.Subscription) {
			t.Helper()
			on := true
			must(d.UpdateSubscription(ctx, "default", s.ID, directory.SubscriptionChange{Enabled: &on}))(t)
		}
		down, up := named("down"), named("up")
		add(down, 10)
		add(up, 3)
		if got := disabled(); got != nil {
			t.Fatalf("disabled within the bounds: %q", got)
		}
		add(down, 1)
		before := must(d.Version(ctx))(t)
		if got := disabled(); !slices.Equal(got, []string{"down"}) {
			t.Fatalf("disabled: %q", got)
		}
		if got := disabled(); got != nil || must(d.Version(ctx))(t) != before+1 {
			t.Errorf("disabled again: %q", got)
		}
		s := must(d.Subscription(ctx, "default", down.ID))(t)
		if s.State() != directory.SubscriptionDisabled || s.DisabledReason != "11 deliveries were pending, more than 10" || s.Pending != 11 {
			t.Errorf("%+v", s)
		}
		if text := strings.Join(d.JournalText(t), "\n"); !strings.Contains(text, s.DisabledReason) {
			t.Errorf("the journal: %s", text)
		}

		// Switched on again it has time to take what gathered, while more comes…
		switchOn(down)
		if got := dueOf(t, d, down); len(got) != 11 {
			t.Errorf("due when it is switched on again: %q", got)
		}
		add(down, 9)
		if got := disabled(); got != nil {
			t.Errorf("disabled while it catches up: %q", got)
		}
		// …and what it has taken counts when it is down again.
		for _, id := range dueOf(t, d, down) {
			finish(t, d, down, id, directory.DeliveryDelivered, 0)
		}
		add(down, 10)
		if got := disabled(); got != nil {
			t.Errorf("disabled within the bounds: %q", got)
		}
		add(down, 1)
		if got := disabled(); !slices.Equal(got, []string{"down"}) {
			t.Errorf("disabled: %q", got)
		}
		// However often it is switched on, it never has more than twice the bound, but
		// for what comes before that is looked at.
		for range 5 {
			switchOn(down)
			for range 20 {
				if add(down, 1); disabled() != nil {
					break
				}
			}
		}
		if s := must(d.Subscription(ctx, "default", down.ID))(t); s.Enabled || s.Pending > 20+5 {
			t.Errorf("switched on again and again: %+v", s)
		}

		// Of a company: those that have gathered much give way, whatever the others do.
		bounds = directory.PendingBounds{Company: 50}
		much := named("much")
		add(much, 40)
		if got := disabled(); !slices.Equal(got, []string{"much", "up"}) && !slices.Equal(got, []string{"up", "much"}) {
			t.Errorf("disabled of the company: %q", got)
		}
		if s := must(d.Subscription(ctx, "default", much.ID))(t); s.DisabledReason != "40 deliveries were pending, and more than 50 of all the company's subscriptions" {
			t.Errorf("%+v", s)
		}
		bounds = directory.PendingBounds{Company: 500}
		few := named("few")
		add(few, 5)
		add(named("more"), 500)
		if got := disabled(); !slices.Equal(got, []string{"more"}) {
			t.Errorf("disabled of the company: %q", got)
		}
		bounds = directory.PendingBounds{}
		add(few, 100)
		if got := disabled(); got != nil {
			t.Errorf("disabled without a bound: %q", got)
		}
	})
}

// A company cannot make a delivery of each event for any number of subscriptions.
func TestSubscriptionsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		s := directory.Subscription{URL: "https://example.com", Types: []string{"*"}, Enabled: true}
		for range 200 {
			must(d.CreateSubscription(t.Context(), "default", s))(t)
		}
		_, err := d.CreateSubscription(t.Context(), "default", s)
		wantField(t, err, directory.ErrConflict, "company")
	})
}
