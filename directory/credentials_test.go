package directory_test

import (
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/feedtest"
)

func TestDeviceCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := t.Context()
		for _, u := range []directory.User{
			{ID: "alice", Name: "Alice", AORs: []string{"alice@example.com", "al"}, Numbers: []string{"+14155550101"}},
			{ID: "bob", Name: "Bob", Numbers: []string{"+14155550102"}},
		} {
			if _, err := d.CreateUser(ctx, "default", u); err != nil {
				t.Fatal(err)
			}
		}
		r := feedtest.Start(t, d)
		lookup := func(aor string) ([]directory.DeviceCredential, bool) {
			t.Helper()
			feedtest.Catch(t, d, r)
			return r.Credentials("default", aor)
		}
		if c, protected := lookup("alice@example.com"); len(c) != 0 || protected {
			t.Errorf("before: %v %v", c, protected)
		}

		secret, c, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "desk", AOR: "sip:Alice@Example.com", Realm: "earshot"})
		if err != nil {
			t.Fatal(err)
		}
		text := []byte("alice:earshot:" + secret)
		if c.AOR != "alice@example.com" || c.Username != "alice" || len(secret) < 26 ||
			c.HA1MD5 != fmt.Sprintf("%x", md5.Sum(text)) || c.HA1SHA256 != fmt.Sprintf("%x", sha256.Sum256(text)) {
			t.Errorf("%+v", c)
		}
		if got, protected := lookup("sip:ALICE@example.com:5061"); len(got) != 1 || !protected || got[0] != c {
			t.Errorf("%+v, protected %v, want %+v", got, protected, c)
		}
		if got, protected := r.Credentials("other", "alice@example.com"); len(got) != 0 || protected {
			t.Error("another company's")
		}

		// A second device keeps the first one's; a new secret for the same replaces it.
		if _, _, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "soft", AOR: "alice@example.com", Realm: "earshot"}); err != nil {
			t.Fatal(err)
		}
		_, renewed, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "desk", AOR: "alice@example.com", Realm: "earshot"})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := lookup("alice@example.com"); len(got) != 2 || got[0].ID == c.ID || got[1].ID == c.ID {
			t.Errorf("after renewal: %+v", got)
		}
		if all, err := d.DeviceCredentials(ctx, "default", "alice"); err != nil || len(all) != 3 {
			t.Errorf("%v %v", all, err)
		}

		// Revoked: nothing is left to register with, and nobody registers without.
		for _, device := range []string{"desk", "soft"} {
			if err := d.RevokeDeviceCredential(ctx, "default", "alice", device); err != nil {
				t.Fatal(err)
			}
		}
		if got, protected := lookup("alice@example.com"); len(got) != 0 || !protected {
			t.Errorf("revoked: %v %v (%s)", got, protected, renewed.ID)
		}
		if err := d.RevokeDeviceCredential(ctx, "default", "alice", "desk"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("revoked twice: %v", err)
		}

		// A number, in every spelling of it; and it goes when the number goes.
		if _, c, err = d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "bob", DeviceID: "d1", Realm: "earshot"}); err != nil || c.AOR != "+14155550102" {
			t.Fatal(c, err)
		}
		for _, aor := range []string{"+14155550102@pbx", "14155550102@pbx", "4155550102", "01114155550102@10.0.0.1"} {
			if got, protected := lookup(aor); len(got) != 1 || !protected {
				t.Errorf("%s: %v %v", aor, got, protected)
			}
		}
		if err := d.DeleteUser(ctx, "default", "bob"); err != nil {
			t.Fatal(err)
		}
		if got, protected := lookup("+14155550102@pbx"); len(got) != 0 || !protected {
			t.Errorf("of a deleted user: %v %v", got, protected)
		}

		for _, bad := range []struct {
			n    directory.NewDeviceCredential
			want error
		}{
			{directory.NewDeviceCredential{UserID: "alice", DeviceID: "a b"}, directory.ErrInvalid},
			{directory.NewDeviceCredential{UserID: "alice", DeviceID: "x", AOR: "bob@example.com"}, directory.ErrInvalid},
			{directory.NewDeviceCredential{UserID: "bob", DeviceID: "x"}, directory.ErrConflict},
			{directory.NewDeviceCredential{UserID: "nobody", DeviceID: "x"}, directory.ErrNotFound},
		} {
			if _, _, err := d.CreateDeviceCredential(ctx, "default", bad.n); !errors.Is(err, bad.want) {
				t.Errorf("%+v: %v", bad.n, err)
			}
		}
		for i := range directory.MaxAORCredentials + 1 {
			_, _, err := d.CreateDeviceCredential(ctx, "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: fmt.Sprint("d", i), AOR: "al"})
			if full := i >= directory.MaxAORCredentials; full != errors.Is(err, directory.ErrConflict) || !full && err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		}
	})
}
