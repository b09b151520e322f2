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

// A phone that is killed shows as registered, then as lapsed.
func TestKilledPhoneLapses(t *testing.T) {
	u := StartUp(t, "--ingest.sip.min_expires=10s", "--ingest.sip.max_expires=15s")
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("accounts", fmt.Sprintf("<sip:mallory@example.org;transport=udp>;auth_pass=none;outbound=\"sip:%s;transport=udp\";regint=15\n", u.Run.Ingest["sip"]))
	write("contacts", "")
	write("config", "sip_listen 127.0.0.1:0\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule_app account.so\nmodule_app menu.so\n")
	output, kill := start(t, "baresip", "-f", dir, "-t", "300")

	binding := func() (query.Registration, error) {
		var list query.List[query.Registration]
		if err := u.Get(company+"/registrations", &list); err != nil {
			return query.Registration{}, err
		}
		for _, r := range list.Items {
			if r.AOR == "mallory@example.org" {
				return r, nil
			}
		}
		return query.Registration{}, errors.New("no binding of mallory@example.org")
	}
	Eventually(t, 20*time.Second, "the phone is registered", func() error {
		r, err := binding()
		if err == nil && (!r.Registered || r.State != "registered") {
			err = fmt.Errorf("state %s", r.State)
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, output)
		}
		return err
	})
	r, err := binding()
	require.NoError(t, err)
	require.Contains(t, r.UserAgent, "baresip")
	require.NoError(t, kill())
	// 15 s of expiry and 32 s (64·T1) in which a refresh may still arrive.
	Eventually(t, 75*time.Second, "the binding has lapsed", func() error {
		r, err := binding()
		if err == nil && (r.Registered || r.State != "lapsed") {
			err = fmt.Errorf("state %s", r.State)
		}
		return err
	})
	Eventually(t, 10*time.Second, "the history has one binding and one lapse", func() error {
		var history query.List[query.RegistrationChange]
		if err := u.Get(company+"/registrations?history=true", &history); err != nil {
			return err
		}
		changes := map[string]int{}
		for _, c := range history.Items {
			changes[c.Change]++
		}
		if changes["registered"] != 1 || changes["lapsed"] != 1 {
			return fmt.Errorf("%v", changes)
		}
		return nil
	})
	lapsed, err := binding()
	require.NoError(t, err)
	require.Equal(t, "lapsed", lapsed.Health.State)
	require.EqualValues(t, 1, lapsed.Health.Lapses24h)
	require.Contains(t, lapsed.Health.Sentences[0].Text, "no REGISTER of the device was seen that would have refreshed it")
	require.Greater(t, lapsed.Health.RegisteredShare24h, 0.0)
	require.Equal(t, lapsed.ExpiresAt, lapsed.Health.Since)
	// Was it registered then? Just after it registered yes, after its expiry no, before it no one knows.
	for at, want := range map[time.Time]string{r.RegisteredAt.Add(time.Second): "registered", lapsed.ExpiresAt.Add(time.Second): "lapsed", r.RegisteredAt.Add(-time.Hour): "unknown"} {
		var line query.DeviceTimeline
		require.NoError(t, u.Get(company+"/devices/"+r.DeviceID+"/timeline?at="+at.UTC().Format(time.RFC3339Nano), &line))
		require.Equal(t, want, line.At.State, at)
		require.Contains(t, line.Versions[0].UserAgent, "baresip")
	}
	var sum query.RegistrationHealth
	require.NoError(t, u.Get(company+"/registrations/health", &sum))
	require.EqualValues(t, 1, sum.States["lapsed"])
}

// SIPp against Kamailio: four cycles of 423, 401, 200 and 401, 200 with Contact: *.
func TestRegisterCapture(t *testing.T) {
	onEachBroker(t, func(t *testing.T, flags ...string) {
		u := StartUp(t, flags...)
		require.Empty(t, u.Import(filepath.Join(Root(), "testdata", "captures", "register", "register1.pcap")), "no calls in it")
		var history query.List[query.RegistrationChange]
		Eventually(t, 30*time.Second, "the registrations are stored", func() error {
			if err := u.Get(company+"/registrations?history=true&limit=1000", &history); err != nil {
				return err
			}
			if len(history.Items) < 12 {
				return fmt.Errorf("%d changes", len(history.Items))
			}
			return nil
		})
		changes := map[string]int{}
		flapping := false
		for _, c := range history.Items {
			require.Equal(t, "carol", c.AOR[:5])
			changes[c.Change]++
			flapping = flapping || c.Flapping
		}
		require.Equal(t, 4, changes["interval_too_brief"], "423")
		require.Equal(t, 4, changes["registered"], "bindings")
		require.Equal(t, 4, changes["unregistered"], "Contact: *")
		require.Zero(t, changes["lapsed"])
		require.Zero(t, changes["auth_failed"], "a challenge is not a failure")
		require.True(t, flapping, "three cycles in 19 s")
		var current query.List[query.Registration]
		require.NoError(t, u.Get(company+"/registrations", &current))
		for _, r := range current.Items {
			require.False(t, r.Registered)
			require.Equal(t, "AcmeDialer", r.App)
			require.Equal(t, "2.3.1", r.AppVersion)
			// Flapping long ago is not flapping now: its timeline ends with the capture.
			require.Equal(t, "unregistered", r.Health.State)
			var line query.DeviceTimeline
			require.NoError(t, u.Get(company+"/devices/"+r.DeviceID+"/timeline", &line))
			require.Equal(t, r.UpdatedAt.Add(time.Millisecond), line.To.Time)
			require.Greater(t, line.RegisteredShare, 0.0)
			require.Contains(t, []string{"unregistered", "flapping"}, line.Events[len(line.Events)-1].Change)
		}
	})
}
