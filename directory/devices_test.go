package directory_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

// actions are what Ann did to the subjects of one kind, the oldest first.
func actions(t *testing.T, d *directory.Directory, company, kind string) []string {
	t.Helper()
	entries, _, err := d.Journal(t.Context(), company, directory.JournalFilter{Kind: kind, Page: directory.Page{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Actor == ann { // and not the seed
			out = append(out, e.Change.Action+" "+e.Change.ID)
		}
	}
	slices.Reverse(out)
	return out
}

func TestDeleteDevice(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		c := withClock(d)
		for _, id := range []string{"alice", "bob"} {
			must(d.CreateUser(ctx, "default", directory.User{ID: id, Name: id, AORs: []string{id + "@example.com"}}))(t)
		}
		credentials := map[string]directory.DeviceCredential{}
		for _, x := range [][2]string{{"alice", "desk"}, {"alice", "soft"}, {"bob", "desk"}} {
			secret, made, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: x[0], DeviceID: x[1], Realm: "earshot"})
			if err != nil || secret == "" {
				t.Fatal(err)
			}
			credentials[x[0]+" "+x[1]] = made
		}
		// The phone was seen as aa, then, with the same credentials, as ab.
		for i, device := range []string{"aa", "ab", "aa"} {
			c.after(time.Duration(i) * time.Minute)
			if err := d.NoteCredentials(ctx, []directory.CredentialUse{{Credential: credentials["alice desk"].ID, Device: device}}); err != nil {
				t.Fatal(err)
			}
		}
		before := must(d.Version(ctx))(t)
		for range 2 {
			if err := d.NoteCredentials(ctx, []directory.CredentialUse{{Credential: "no such", Device: "aa"}, {Credential: credentials["alice desk"].ID, Device: "no\x00text\xff"}, {Credential: credentials["alice desk"].ID, Device: "ab"}}); err != nil {
				t.Errorf("credentials that are gone: %v", err)
			}
		}
		if now := must(d.Version(ctx))(t); now != before {
			t.Error("who is who is told anew for the use of credentials")
		}
		inUse := func(user string) map[string][]string {
			t.Helper()
			out := map[string][]string{}
			for _, x := range must(d.CredentialsInUse(ctx, "default", user))(t) {
				out[x.DeviceID] = x.UsedBy
			}
			return out
		}
		if got, want := inUse("alice"), map[string][]string{"desk": {"ab", "aa"}, "soft": nil}; !reflect.DeepEqual(got, want) {
			t.Errorf("in use: %v, want %v", got, want)
		}

		version := must(d.Version(ctx))(t)
		at := c.after(time.Hour)
		revoked, err := d.DeleteDevice(ctx, directory.DeviceDeletion{Company: "default", UserID: "alice", DeviceID: "aa", AppKind: "desk_phone", Platform: "SIP-T46S", Version: "66.85"}, true)
		if err != nil || revoked != 1 {
			t.Fatalf("%d revoked, %v", revoked, err)
		}
		if got := inUse("alice"); len(got) != 1 || got["desk"] != nil {
			t.Errorf("in use after: %v", got)
		}
		if got := inUse("bob"); len(got) != 1 {
			t.Errorf("another user's: %v", got)
		}
		deleted, upTo, err := d.DeletedDevices(ctx, version)
		if err != nil || upTo != must(d.Version(ctx))(t) {
			t.Fatalf("up to %d, %v", upTo, err)
		}
		var ids []string
		for _, x := range deleted {
			if x.Company != "default" || x.UserID != "alice" || x.Revoked != 1 || !x.DeletedAt.Equal(at) {
				t.Errorf("%+v", x)
			}
			ids = append(ids, x.DeviceID)
		}
		if slices.Sort(ids); !slices.Equal(ids, []string{"aa", "ab", "desk"}) {
			t.Errorf("deleted with the credentials: %v", ids)
		}
		if more, again, err := d.DeletedDevices(ctx, upTo); err != nil || len(more) != 0 || again != upTo {
			t.Errorf("told again: %v, %d, %v", more, again, err)
		}
		all := []directory.UserDevice{{User: "bob", Device: "aa"}, {User: "alice", Device: "soft"}}
		for i := range 200 { // of which nothing is known
			all = append(all, directory.UserDevice{User: "alice", Device: fmt.Sprintf("d%03d", i)})
		}
		for _, id := range ids {
			all = append(all, directory.UserDevice{User: "alice", Device: id})
		}
		if got := must(d.DeviceDeletions(ctx, "default", all[len(all)-1:]))(t); len(got) != 1 || got[0].DeviceID != "desk" {
			t.Errorf("of one: %+v", got)
		}
		if got := must(d.DeviceDeletions(ctx, "default", all))(t); len(got) != 3 || !slices.ContainsFunc(got, func(x directory.DeviceDeletion) bool {
			return x.DeviceID == "aa" && x.AppKind == "desk_phone" && x.Platform == "SIP-T46S" && x.Version == "66.85"
		}) {
			t.Errorf("%+v", got)
		}
		if got := must(d.DeviceDeletions(ctx, "other", all))(t); len(got) != 0 {
			t.Errorf("another company's: %+v", got)
		}

		// Again, and by the name of the credentials.
		c.after(time.Hour)
		if revoked, err := d.DeleteDevice(ctx, directory.DeviceDeletion{Company: "default", UserID: "alice", DeviceID: "soft"}, false); err != nil || revoked != 1 {
			t.Errorf("%d revoked, %v", revoked, err)
		}
		for name, x := range map[string]struct {
			user, device string
			known        bool
			want         error
		}{
			"nothing is known of it": {"alice", "soft", false, directory.ErrNotFound},
			"no such user":           {"nobody", "aa", true, directory.ErrNotFound},
			"bad id":                 {"alice", strings.Repeat("a", 65), true, directory.ErrInvalid},
		} {
			if _, err := d.DeleteDevice(ctx, directory.DeviceDeletion{Company: "default", UserID: x.user, DeviceID: x.device}, x.known); !errors.Is(err, x.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		want := []string{"device.delete aa", "device.delete ab", "device.delete desk", "device.delete soft"}
		if got := actions(t, d, "default", "device"); !slices.Equal(got, want) {
			t.Errorf("journal: %v, want %v", got, want)
		}
		want = []string{"create alice desk", "create alice soft", "create bob desk", "revoke alice desk", "revoke alice soft"}
		for i, w := range want {
			verb, of, _ := strings.Cut(w, " ")
			want[i] = "credential." + verb + " " + credentials[of].ID
		}
		if got := actions(t, d, "default", "credential"); !slices.Equal(got, want) {
			t.Errorf("journal: %v, want %v", got, want)
		}
	})
}

// The journal says that credentials were made and revoked, and nothing that
// they could be used with.
func TestJournalHasNoSecrets(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		must(d.CreateUser(ctx, "default", directory.User{ID: "alice", Name: "Alice", AORs: []string{"alice@example.com"}}))(t)
		secret, c, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "desk", Realm: "earshot"})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.RevokeDeviceCredential(ctx, "default", "alice", "desk"); err != nil {
			t.Fatal(err)
		}
		entries, _, err := d.Journal(ctx, "default", directory.JournalFilter{})
		if err != nil || len(entries) < 2 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		all := fmt.Sprintf("%+v", entries)
		for _, hidden := range []string{secret, c.HA1MD5, c.HA1SHA256} {
			if strings.Contains(all, hidden) {
				t.Error("a secret is in the journal")
			}
		}
		if !strings.Contains(all, "alice@example.com") {
			t.Error("the journal does not say of what address")
		}
	})
}

// A phone that is a new device with every port leaves no more than the last few.
func TestCredentialUsesAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := t.Context()
		c := withClock(d)
		must(d.CreateUser(ctx, "default", directory.User{ID: "alice", Name: "Alice", AORs: []string{"alice@example.com"}}))(t)
		_, made, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "desk", Realm: "earshot"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			c.after(time.Minute)
			if err := d.NoteCredentials(ctx, []directory.CredentialUse{{Credential: made.ID, Device: fmt.Sprintf("d%02d", i)}}); err != nil {
				t.Fatal(err)
			}
		}
		got := must(d.CredentialsInUse(ctx, "default", "alice"))(t)
		if want := []string{"d19", "d18", "d17", "d16", "d15", "d14", "d13", "d12"}; len(got) != 1 || !slices.Equal(got[0].UsedBy, want) {
			t.Errorf("%+v, want %v", got, want)
		}
	})
}
