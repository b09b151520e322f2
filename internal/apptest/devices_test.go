package apptest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// keeping runs baresip as alice, with a secret, that refreshes its registration
// every few seconds. The same folder is the same device, whatever the secret.
func keeping(t *testing.T, u *Up, dir, secret string) (output *tail, stop func() error) {
	t.Helper()
	for name, text := range map[string]string{
		"accounts": fmt.Sprintf("<sip:alice@example.org;transport=udp>;auth_user=alice;auth_pass=%s;outbound=\"sip:%s;transport=udp\";regint=10;sipnat=outbound\n", secret, u.Run.Ingest["sip"]),
		"contacts": "",
		"config":   "sip_listen 127.0.0.1:0\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule stun.so\nmodule uuid.so\nmodule_app account.so\nmodule_app menu.so\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return start(t, "baresip", "-f", dir, "-t", "300")
}

// A phone that is registered is deleted in the portal: its binding ends and the
// history says why, what it had is refused, it is not listed; with new
// credentials it registers again and is there.
func TestDeletedDeviceRegistersAnew(t *testing.T) {
	u := StartUp(t, "--ingest.sip.min_expires=5s")
	require.NoError(t, u.Do("POST", company+"/users", "application/json", []byte(`{"id":"alice","name":"Alice","aors":["alice@example.org"]}`), nil))
	var made struct{ Secret string }
	credentials := func() {
		t.Helper()
		require.NoError(t, u.Do("POST", company+"/users/alice/devices/desk-1/credentials", "", nil, &made))
	}
	credentials()
	old := made.Secret
	dir := t.TempDir()
	output, stop := keeping(t, u, dir, old)

	type device struct {
		query.Device
		Name        string
		Credentials bool
	}
	devices := func(query string) (found []device, err error) {
		var l struct{ Items []device }
		err = u.Get(company+"/users/alice/devices"+query, &l)
		return l.Items, err
	}
	var phone device
	registered := func(what string) {
		t.Helper()
		Eventually(t, 60*time.Second, what, func() error {
			found, err := devices("")
			if err != nil {
				return err
			}
			for _, d := range found {
				if d.Registered != nil && *d.Registered && d.Credentials {
					phone = d
					return nil
				}
			}
			return fmt.Errorf("%+v\n%s", found, output)
		})
	}
	registered("the phone is registered, and known to use the credentials")
	require.Equal(t, "desk-1", phone.Name)
	require.Contains(t, phone.UserAgent, "baresip")
	require.NotEqual(t, "desk-1", phone.ID, "a device of its own, by what it said of itself")

	var deleted struct {
		Instructions []string
		Revoked      int `json:"credentials_revoked"`
	}
	before := time.Now()
	require.NoError(t, u.Do("DELETE", company+"/users/alice/devices/"+phone.ID, "", nil, &deleted))
	require.Equal(t, 1, deleted.Revoked)
	require.NotEmpty(t, deleted.Instructions)
	found, err := devices("")
	require.NoError(t, err)
	require.Empty(t, found)

	Eventually(t, 60*time.Second, "the registrar has ended the binding, and then refused what the phone had", func() error {
		var history query.List[query.RegistrationChange]
		if err := u.Get(company+"/users/alice/registrations?history=true", &history); err != nil {
			return err
		}
		var told []string
		revoked, refused := false, false
		for i := range history.Items { // in order of time
			c := history.Items[len(history.Items)-1-i]
			if c.DeviceID != phone.ID || c.At.Before(before) {
				continue
			}
			told = append(told, c.Change+" "+c.Reason)
			revoked = revoked || c.Change == "unregistered" && c.Reason == "revoked"
			refused = refused || revoked && c.Change == "auth_failed"
			if revoked && c.Registered {
				t.Errorf("it was registered after it was deleted: %v", told)
			}
		}
		if !refused {
			return fmt.Errorf("%q\n%s", told, output)
		}
		return nil
	})
	found, err = devices("")
	require.NoError(t, err)
	require.Empty(t, found, "a refused attempt is no sign of life")
	found, err = devices("?deleted=true")
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NotNil(t, found[0].Registered)
	require.False(t, *found[0].Registered)
	require.NoError(t, stop())

	credentials()
	require.NotEqual(t, old, made.Secret)
	first := phone.ID
	// A change of the directory reaches the registrar within a second or so, and
	// baresip waits longer after each refusal: it is started anew until it is in.
	Eventually(t, 90*time.Second, "with new credentials it is registered again", func() error {
		output, stop = keeping(t, u, dir, made.Secret)
		for range 40 {
			time.Sleep(200 * time.Millisecond)
			if found, err := devices(""); err == nil && len(found) == 1 && found[0].Registered != nil && *found[0].Registered && found[0].Credentials {
				phone = found[0]
				return nil
			}
		}
		return errors.Join(fmt.Errorf("not registered:\n%s", output), stop())
	})
	require.Equal(t, first, phone.ID, "the same device")
	require.Equal(t, "desk-1", phone.Name)
	found, err = devices("?deleted=true")
	require.NoError(t, err)
	require.Empty(t, found)
	require.NoError(t, stop())
}
