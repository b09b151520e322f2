package apptest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// registering runs baresip as alice, with a secret, until the returned function
// is called. Each has its directory, so each is a device of its own.
func registering(t *testing.T, u *Up, secret string) (stop func() error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"accounts": fmt.Sprintf("<sip:alice@example.org;transport=udp>;auth_user=alice;auth_pass=%s;outbound=\"sip:%s;transport=udp\";regint=60;sipnat=outbound\n", secret, u.Run.Ingest["sip"]),
		"contacts": "",
		"config":   "sip_listen 127.0.0.1:0\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule stun.so\nmodule uuid.so\nmodule_app account.so\nmodule_app menu.so\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	_, stop = start(t, "baresip", "-f", dir, "-t", "300")
	return stop
}

// Credentials of a device are made and revoked over the API: the right secret
// registers, a wrong and a revoked one show as failed.
func TestDeviceCredentials(t *testing.T) {
	u := StartUp(t)
	require.NoError(t, u.Do("POST", company+"/users", "application/json", []byte(`{"id":"alice","name":"Alice","aors":["alice@example.org"]}`), nil))
	const path = company + "/users/alice/devices/desk-1/credentials"
	var made struct{ Username, Realm, Secret string }
	require.NoError(t, u.Do("POST", path, "", nil, &made))
	require.Equal(t, "alice", made.Username)

	// A change of the directory reaches the registrar within a second or so: what
	// comes before finds the state before.
	newest := func() (query.RegistrationChange, error) {
		var history query.List[query.RegistrationChange]
		if err := u.Get(company+"/users/alice/registrations?history=true", &history); err != nil || len(history.Items) == 0 {
			return query.RegistrationChange{}, err
		}
		return history.Items[0], nil
	}
	try := func(what, secret, state, change string) {
		t.Helper()
		before, err := newest()
		require.NoError(t, err)
		Eventually(t, 60*time.Second, what, func() error {
			defer registering(t, u, secret)()
			var last query.RegistrationChange
			var list query.List[query.Registration]
			for range 25 {
				time.Sleep(200 * time.Millisecond)
				if last, err = newest(); err != nil {
					return err
				}
				if err := u.Get(company+"/users/alice/registrations", &list); err != nil {
					return err
				}
				// Each try is another device, and they are in no order of time.
				shown := func(r query.Registration) bool { return r.DeviceID == last.DeviceID && r.State == state }
				if last.At.After(before.At.Time) && last.Change == change && slices.ContainsFunc(list.Items, shown) {
					return nil
				}
			}
			return fmt.Errorf("newest change %+v, registrations %+v", last, list.Items)
		})
	}
	try("the wrong secret has failed", "wrong", "failed", "auth_failed")
	try("the right one is registered", made.Secret, "registered", "registered")
	require.NoError(t, u.Do("DELETE", path, "", nil, nil))
	try("the revoked one has failed", made.Secret, "failed", "auth_failed")
}
