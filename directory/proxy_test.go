package directory_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func TestProxySessions(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		c := withClock(d)
		cookie := must(d.CreateSession(t.Context(), directory.Principal{Role: directory.RoleOperator, Name: "Bob"}, 24*time.Hour))(t)
		bob := must(d.AuthenticateSession(t.Context(), cookie))(t).Actor()
		ann := directory.Actor{Kind: "key", ID: bob.ID, Name: "Ann's key"} // the same id, another kind
		mine, theirs := directory.WithActor(t.Context(), ann), directory.WithActor(t.Context(), bob)
		p := must(d.StartProxy(mine, "default", "alice", " she asked ", 15*time.Minute))(t)
		if p.By != ann || p.UserName != "Alice Ámos" || p.Reason != "she asked" || !p.StartedAt.Equal(c.t) || !p.ExpiresAt.Equal(c.t.Add(15*time.Minute)) || !p.Open(c.t) {
			t.Errorf("started: %+v", p)
		}
		_, err := d.StartProxy(mine, "default", "bob", "too", time.Minute)
		wantField(t, err, directory.ErrConflict, "user")
		q := must(d.StartProxy(theirs, "default", "alice", "me too", time.Hour))(t)
		if open := must(d.OpenProxy(theirs))(t); open == nil || open.ID != q.ID {
			t.Errorf("the other's open session: %+v", open)
		}

		name, email := "Alice New", "new@example.com"
		if _, err := d.ChangeProxiedAccount(theirs, "default", "alice", p.ID, directory.AccountChange{Name: &name}); !errors.Is(err, directory.ErrProxyOther) {
			t.Errorf("in another's session: %v", err)
		}
		if _, err := d.ProxiedAccount(theirs, "default", "alice", p.ID); !errors.Is(err, directory.ErrProxyOther) {
			t.Errorf("reading in another's session: %v", err)
		}
		for _, who := range [][2]string{{"default", "bob"}, {"other", "alice"}} {
			if _, err := d.ChangeProxiedAccount(mine, who[0], who[1], p.ID, directory.AccountChange{Name: &name}); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("with another user, %v: %v", who, err)
			}
		}
		c.after(time.Minute)
		u := must(d.ChangeProxiedAccount(mine, "default", "alice", p.ID, directory.AccountChange{Name: &name, Email: &email}))(t)
		if u.Name != name || u.Email != email || u.Office != "hq" {
			t.Errorf("changed: %+v", u)
		}
		notes := must(first(d.Journal(mine, "default", directory.JournalFilter{User: "alice", Note: "proxy", Action: "user.update"})))(t)
		want := []directory.FieldChange{{Field: "name", Old: "Alice Ámos", New: name}, {Field: "email", Old: "alice@example.com", New: email}}
		if len(notes) != 1 || notes[0].Actor.Proxy != p.ID || notes[0].Actor.Name != ann.Name || !slices.Equal(notes[0].Change.Fields, want) || !notes[0].At.Equal(c.t) {
			t.Errorf("the note of the change: %+v", notes)
		}

		// To the end and not longer.
		c.t = p.ExpiresAt.Add(-time.Microsecond)
		must(d.ProxiedAccount(mine, "default", "alice", p.ID))(t)
		c.t = p.ExpiresAt
		name = "Too late"
		if _, err := d.ChangeProxiedAccount(mine, "default", "alice", p.ID, directory.AccountChange{Name: &name}); !errors.Is(err, directory.ErrProxyOver) {
			t.Errorf("after it expired: %v", err)
		}
		if _, err := d.ProxiedAccount(mine, "default", "alice", p.ID); !errors.Is(err, directory.ErrProxyOver) {
			t.Errorf("reading after it expired: %v", err)
		}
		if open := must(d.OpenProxy(mine))(t); open != nil {
			t.Errorf("an expired session is open: %+v", open)
		}
		// Another one may begin, and is ended by hand, which doing twice does not change.
		r := must(d.StartProxy(mine, "default", "bob", "again", time.Hour))(t)
		if err := d.EndProxy(theirs, "default", "alice", r.ID); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("ended by another user's path: %v", err)
		}
		for range 2 {
			if err := d.EndProxy(mine, "default", "bob", r.ID); err != nil {
				t.Fatal(err)
			}
			c.after(time.Minute)
		}
		if _, err := d.ChangeProxiedAccount(mine, "default", "bob", r.ID, directory.AccountChange{Name: &name}); !errors.Is(err, directory.ErrProxyOver) {
			t.Errorf("after it was ended: %v", err)
		}
		notes = must(first(d.Journal(mine, "default", directory.JournalFilter{User: "bob", Note: "proxy"})))(t)
		if got := ids(notes, func(e directory.Entry) string { return e.Change.Action + " " + e.Change.Text + " " + e.Actor.Proxy }); !slices.Equal(got, []string{
			"proxy_session.end again " + r.ID, "proxy_session.start again " + r.ID}) {
			t.Errorf("notes of the session: %q", got)
		}
		sessions := must(first(d.ProxySessions(mine, "default", "alice", directory.Page{})))(t)
		if len(sessions) != 2 || must(d.User(mine, "default", "alice"))(t).Name != "Alice New" {
			t.Errorf("sessions with alice: %+v", sessions)
		}
		page, next, err := d.ProxySessions(mine, "default", "alice", directory.Page{Limit: 1})
		if err != nil || len(page) != 1 || next == "" {
			t.Fatalf("a page: %+v %q %v", page, next, err)
		}
		rest := must(first(d.ProxySessions(mine, "default", "alice", directory.Page{Limit: 1, Cursor: next})))(t)
		if len(rest) != 1 || rest[0].ID == page[0].ID {
			t.Errorf("the next page: %+v", rest)
		}
	})
}

func TestProxyRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := directory.WithActor(t.Context(), ann)
		for name, tt := range map[string]struct {
			user, reason string
			length       time.Duration
			kind         error
			field        string
		}{
			"no reason":      {"alice", " ", time.Minute, directory.ErrInvalid, "reason"},
			"too short":      {"alice", "x", time.Minute - 1, directory.ErrInvalid, "minutes"},
			"too long":       {"alice", "x", time.Hour + 1, directory.ErrInvalid, "minutes"},
			"a deleted user": {"eve", "x", time.Minute, directory.ErrConflict, "user"},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := d.StartProxy(ctx, "default", tt.user, tt.reason, tt.length)
				wantField(t, err, tt.kind, tt.field)
			})
		}
		if _, err := d.StartProxy(ctx, "other", "bob", "x", time.Minute); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's user: %v", err)
		}
		// However often one asks at once, one session begins.
		var begun int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := d.StartProxy(ctx, "default", "alice", "x", time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					begun++
				} else if !errors.Is(err, directory.ErrConflict) {
					t.Errorf("at once: %v", err)
				}
			})
		}
		wg.Wait()
		if begun != 1 {
			t.Errorf("%d sessions began at once", begun)
		}
		// A refused change leaves no note.
		email := "bob"
		p := must(d.OpenProxy(ctx))(t)
		_, err := d.ChangeProxiedAccount(ctx, "default", "alice", p.ID, directory.AccountChange{Email: &email})
		wantField(t, err, directory.ErrInvalid, "email")
		if notes := must(first(d.Journal(ctx, "default", directory.JournalFilter{User: "alice", Action: "user.update"})))(t); len(notes) != 0 {
			t.Errorf("a refused change is a note: %+v", notes)
		}
	})
}

// Whoever signs out, or loses the key, or whose user goes, acts for no one any more.
func TestProxyEndsWithItsCaller(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		plain, k, err := d.CreateKey(t.Context(), "ann", directory.RoleOperator, "")
		if err != nil {
			t.Fatal(err)
		}
		who := must(d.AuthenticateKey(t.Context(), plain))(t)
		key := directory.WithActor(t.Context(), who.Actor())
		cookie := must(d.CreateSession(t.Context(), who, time.Hour))(t)
		signedIn := must(d.AuthenticateSession(t.Context(), cookie))(t)
		session := directory.WithActor(t.Context(), signedIn.Actor())
		if signedIn.Actor().Kind != "session" || who.Actor() != (directory.Actor{Kind: "key", ID: k.ID, Name: "ann"}) {
			t.Errorf("actors: %+v, %+v", who.Actor(), signedIn.Actor())
		}
		for _, ctx := range []struct {
			name string
			end  func() error
		}{
			{"signing out", func() error { return d.EndSession(t.Context(), cookie) }},
			{"revoking the key", func() error { _, err := d.RevokeKey(t.Context(), k.ID); return err }},
		} {
			as := session
			if ctx.name != "signing out" {
				as = key
			}
			p := must(d.StartProxy(as, "default", "alice", ctx.name, time.Hour))(t)
			if err := ctx.end(); err != nil {
				t.Fatal(err)
			}
			if _, err := d.ProxiedAccount(as, "default", "alice", p.ID); !errors.Is(err, directory.ErrProxyOver) {
				t.Errorf("after %s: %v", ctx.name, err)
			}
		}
		other := directory.WithActor(t.Context(), ann)
		p := must(d.StartProxy(other, "default", "bob", "he asked", time.Hour))(t)
		if err := d.DeleteUser(t.Context(), "default", "bob"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ProxiedAccount(other, "default", "bob", p.ID); !errors.Is(err, directory.ErrProxyOver) {
			t.Errorf("after the user was deleted: %v", err)
		}
	})
}

// With a key all end that was opened with it: the sessions in the portal, and the
// proxy sessions of those. The journal says who ended them.
func TestRevokingAKeyEndsWhatItsSessionsActFor(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		c := withClock(d)
		signIn := func(key string) (cookie string, who directory.Actor) {
			t.Helper()
			cookie = must(d.CreateSession(t.Context(), must(d.AuthenticateKey(t.Context(), key))(t), 8*time.Hour))(t)
			return cookie, must(d.AuthenticateSession(t.Context(), cookie))(t).Actor()
		}
		plain, k, err := d.CreateKey(t.Context(), "bob", directory.RoleOperator, "")
		if err != nil {
			t.Fatal(err)
		}
		others, _, err := d.CreateKey(t.Context(), "carol", directory.RoleOperator, "")
		if err != nil {
			t.Fatal(err)
		}
		byKey := must(d.AuthenticateKey(t.Context(), plain))(t).Actor()
		_, one := signIn(plain)
		_, two := signIn(plain)
		_, carol := signIn(others)
		open := map[directory.Actor]directory.ProxySession{}
		for _, who := range []directory.Actor{byKey, one, two, carol} {
			open[who] = must(d.StartProxy(directory.WithActor(t.Context(), who), "default", "alice", "ticket", time.Hour))(t)
		}
		at := c.after(time.Minute)
		must(d.RevokeKey(directory.WithActor(t.Context(), ann), k.ID))(t)
		for who, p := range open {
			got := must(d.ProxySession(t.Context(), "default", "alice", p.ID))(t)
			if want := who == carol; got.Open(c.t) != want || !want && !got.EndedAt.Equal(at) {
				t.Errorf("of %+v: %+v", who, got)
			}
			_, err := d.StartProxy(directory.WithActor(t.Context(), who), "default", "bob", "again", time.Hour)
			if who == carol {
				wantField(t, err, directory.ErrConflict, "user")
			} else if !errors.Is(err, directory.ErrUnauthenticated) {
				t.Errorf("%+v may begin anew: %v", who, err)
			}
		}
		var ended []string
		for _, e := range must(first(d.Journal(t.Context(), "default", directory.JournalFilter{User: "alice", Action: "proxy_session.end"})))(t) {
			if e.Actor.Name != ann.Name {
				t.Errorf("%+v", e)
			}
			ended = append(ended, e.Change.ID)
		}
		want := []string{open[byKey].ID, open[one].ID, open[two].ID}
		if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(ended)), want) {
			t.Errorf("journal: %v, want %v", ended, want)
		}
	})
}

// Nobody acts for a user longer than they are signed in.
func TestProxyEndsWithTheTimeOfItsSession(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		c := withClock(d)
		cookie := must(d.CreateSession(t.Context(), directory.Principal{Role: directory.RoleOperator, Name: "Bob"}, time.Hour))(t)
		as := directory.WithActor(t.Context(), must(d.AuthenticateSession(t.Context(), cookie))(t).Actor())
		end := c.t.Add(time.Hour)
		c.after(50 * time.Minute)
		if p := must(d.StartProxy(as, "default", "alice", "ticket", 15*time.Minute))(t); !p.ExpiresAt.Equal(end) {
			t.Errorf("to %s, want %s", p.ExpiresAt, end)
		}
		if err := d.EndSession(as, cookie); err != nil {
			t.Fatal(err)
		}
		if _, err := d.StartProxy(as, "default", "alice", "ticket", 15*time.Minute); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("after signing out: %v", err)
		}
	})
}
