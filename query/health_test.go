package query_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/processors/registrations"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// fleet plays phones to the real processor; its outcomes are in out.
type fleet struct {
	t    *testing.T
	m    *registrations.Machine
	cseq uint32
	out  []*telemetry.Outcome
}

func (f *fleet) emit(o *telemetry.Outcome) { f.out = append(f.out, o) }

// says plays a request and its response; a phone is known by its Call-ID.
func (f *fleet) says(ago time.Duration, aor, agent, source string, status uint32, expires int64, opts ...func(*telemetry.SIPMessage)) {
	f.t.Helper()
	f.cseq++
	for _, status := range []uint32{0, status} {
		m := &telemetry.SIPMessage{Method: "REGISTER", To: &telemetry.NameAddr{User: aor, Host: "x"}, CallId: aor, Cseq: f.cseq, Status: status, UserAgent: agent, Src: source,
			ExpiresS: -1, MinExpiresS: -1, Contacts: []*telemetry.Contact{{Uri: "sip:" + aor + "@192.0.2.1", ExpiresS: expires}}, Callee: &telemetry.Identity{UserId: "u-" + aor, Name: aor}}
		for _, o := range opts {
			o(m)
		}
		f.m.Advance("", us(ago), f.emit)
		r := &telemetry.Record{Company: "acme", AtUs: us(ago), ReceivedUs: us(ago), Body: &telemetry.Record_Sip{Sip: m}}
		require.NoError(f.t, f.m.Apply(r, f.emit))
	}
}

func credentials(m *telemetry.SIPMessage) { m.HasCredentials = true }

func TestRegistrationHealth(t *testing.T) {
	const desk, home, cafe = "Yealink SIP-T46S 66.84.0.15", "198.51.100.1:5060", "198.51.100.2:5060"
	f := &fleet{t: t, m: registrations.New()}
	day := 24 * time.Hour
	// In order of time, as the live timeline is.
	f.says(3*day, "gone", desk, home, 200, 3600)       // lapsed three days ago, and is refused since
	f.says(2*day, "healthy", desk, home, 200, 1000000) // all the time
	f.says(9*time.Hour, "left", desk, home, 200, 36000)
	f.says(8*time.Hour, "lapser", desk, home, 200, 3600) // 1 h, then a gap of 3 h, and again
	f.says(6*time.Hour, "iphone", "Linphone/5.2.0 (iPhone; iOS 17.1)", home, 200, 3600)
	f.says(5*time.Hour, "left", desk, home, 200, 0)
	f.says(4*time.Hour, "lapser", "Yealink SIP-T46S 66.86.0.20", cafe, 200, 7200)
	f.says(3*time.Hour, "mover", desk, home, 200, 36000)
	f.says(2*time.Hour, "mover", desk, cafe, 200, 36000)
	f.says(90*time.Minute, "gone", desk, home, 503, 3600)
	for _, ago := range []time.Duration{60 * time.Minute, 55 * time.Minute} {
		f.says(ago, "wrong", desk, home, 401, 3600)
		f.says(ago, "wrong", desk, home, 403, 3600, credentials)
	}
	f.says(50*time.Minute, "never", desk, home, 503, 3600)
	for i := range 3 {
		f.says(time.Duration(8-2*i)*time.Minute, "flapper", desk, home, 200, 3600)
		f.says(time.Duration(7-2*i)*time.Minute, "flapper", desk, home, 200, 0)
	}
	f.m.Advance("", us(0), f.emit)
	out := append(f.out, callOutcome("acme", "c1", us(time.Minute), &telemetry.Call{State: "ended",
		Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: "u-healthy", DeviceId: "web-1"}, Endpoint: "web"}}))
	acme := stored(t, out).Company("acme")
	ctx := context.Background()

	list, err := acme.Registrations(ctx, query.RegistrationFilter{}, query.Page{})
	require.NoError(t, err)
	by := map[string]query.Registration{}
	for _, r := range list.Items {
		by[r.AOR[:len(r.AOR)-2]] = r
	}
	type told struct {
		state string
		share float64
		since time.Duration // ago
		say   []string
	}
	for aor, want := range map[string]told{
		"healthy": {"healthy", 1, 2 * day, []string{
			"healthy It is registered since 2026-03-02 15:30:00 UTC (2 d) from 198.51.100.1:5060, until 2026-03-14 05:16:40 UTC unless it is refreshed."}},
		"gone": {"lapsed", 0, 0, []string{"lapsed Its registration has expired, and no newer one was seen.", "rejected The registrar refused: 503.", "registered_share It was registered 0.0 % of the last 24 h."}},
		"left": {"unregistered", 4. / 9, 5 * time.Hour, []string{"unregistered The device unregistered; it was registered since 2026-03-04 06:30:00 UTC.", "registered_share It was registered 44.4 % of the 9 h since it was first seen."}},
		"lapser": {"lapsed", 3. / 8, 2 * time.Hour, []string{
			"lapsed It expired at 2026-03-04 13:30:00 UTC, registered since 2026-03-04 11:30:00 UTC; no REGISTER of the device was seen that would have refreshed it.",
			"lapses It lapsed twice and was not registered for 5 h of the 8 h since it was first seen.",
			"version_changed Its version changed from Yealink 66.84.0.15 to Yealink 66.86.0.20 at 2026-03-04 11:30:00 UTC.",
			"registered_share It was registered 37.5 % of the 8 h since it was first seen."}},
		"iphone": {"push", 1. / 6, 0, []string{"push Apps on iOS and Android are woken by push: that this one is not registered is not a fault.",
			"lapses It lapsed once and was not registered for 5 h of the 6 h since it was first seen."}},
		"mover": {"healthy", 1, 3 * time.Hour, []string{
			"healthy It is registered since 2026-03-04 12:30:00 UTC (3 h) from 198.51.100.2:5060, until 2026-03-04 23:30:00 UTC unless it is refreshed.",
			"source_changed The source changed from 198.51.100.1:5060, where it was since 2026-03-04 12:30:00 UTC, to 198.51.100.2:5060."}},
		"wrong": {"failing_authentication", 0, time.Hour, []string{
			"failing_authentication The registrar refused the credentials (403), 2 times since 2026-03-04 14:30:00 UTC.",
			"auth_failures Its credentials were refused twice in the last 24 h, last at 2026-03-04 14:35:00 UTC.",
			"registered_share It was registered 0.0 % of the 1 h since it was first seen."}},
		"never": {"never_registered", 0, 0, []string{"never_registered No registration of this device was ever seen.", "rejected The registrar refused: 503."}},
		"flapper": {"flapping", 3. / 8, 3 * time.Minute, []string{
			"flapping 3 times registered and lost within 10 min, the first loss at 2026-03-04 15:23:00 UTC.",
			"unregistered The device unregistered; it was registered since 2026-03-04 15:26:00 UTC.",
			"registered_share It was registered 37.5 % of the 8 min since it was first seen."}},
	} {
		h := by[aor].Health
		require.NotNil(t, h, aor)
		require.Equal(t, want.state, h.State, aor)
		require.InDelta(t, want.share, h.RegisteredShare24h, 1e-9, aor)
		if want.since == 0 {
			require.True(t, h.Since.IsZero(), aor)
		} else {
			require.Equal(t, now.Add(-want.since), h.Since.Time, aor)
		}
		var say []string
		for _, s := range h.Sentences {
			say = append(say, s.Kind+" "+s.Text)
		}
		require.Equal(t, want.say, say, aor)
	}
	require.EqualValues(t, 2, by["lapser"].Health.Lapses24h)
	require.EqualValues(t, 1, by["mover"].Health.SourceChanges24h)
	require.EqualValues(t, 2, by["wrong"].Health.AuthFailures24h)
	require.Len(t, by["lapser"].Health.Versions, 2)

	sum, err := acme.RegistrationHealth(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{"healthy": 2, "lapsed": 2, "unregistered": 1, "push": 1, "failing_authentication": 1, "never_registered": 1, "flapping": 1}, sum.States)
	require.EqualValues(t, 9, sum.Devices)
	require.Len(t, sum.Versions, 3)
	require.Equal(t, "66.84.0.15", sum.Versions[0].Version)
	require.EqualValues(t, 7, sum.Versions[0].Devices)
	require.EqualValues(t, 2, sum.Versions[0].Registered)
	for state, n := range sum.States {
		some, err := acme.Registrations(ctx, query.RegistrationFilter{Health: state}, query.Page{})
		require.NoError(t, err)
		require.Len(t, some.Items, int(n), state)
	}
	_, err = acme.Registrations(ctx, query.RegistrationFilter{Health: "fine"}, query.Page{})
	require.ErrorIs(t, err, query.ErrFilter)
	devices, err := acme.Devices(ctx, "u-healthy")
	require.NoError(t, err)
	for _, d := range devices {
		require.Equal(t, map[bool]string{true: "never_registered", false: "healthy"}[d.ID == "web-1"], d.Health.State)
	}

	// Was it registered at that time?
	ago := func(d time.Duration) query.Time { return query.Time{Time: now.Add(-d)} }
	device := by["lapser"].DeviceID
	timeline, err := acme.DeviceTimeline(ctx, device, query.TimelineFilter{At: ago(5 * time.Hour)})
	require.NoError(t, err)
	require.Equal(t, ago(17*time.Hour), timeline.From)
	require.Equal(t, ago(0), timeline.To)
	var spans []string
	for _, s := range timeline.Spans {
		spans = append(spans, fmt.Sprintf("%s %s %v %v", s.State, s.Reason, now.Sub(s.From.Time), now.Sub(s.To.Time)))
	}
	require.Equal(t, []string{"unknown  17h0m0s 8h0m0s", "registered  8h0m0s 7h0m0s", "lapsed silence 7h0m0s 4h0m0s", "registered  4h0m0s 2h0m0s", "lapsed silence 2h0m0s 0s"}, spans)
	require.False(t, *timeline.At.Registered)
	require.Equal(t, "No: at 2026-03-04 10:30:00 UTC it was not registered. It expired at 2026-03-04 08:30:00 UTC, registered since 2026-03-04 07:30:00 UTC; "+
		"no REGISTER of the device was seen that would have refreshed it. Its last REGISTER before was accepted at 2026-03-04 07:30:00 UTC, from 198.51.100.1:5060.", timeline.At.Text)
	require.Equal(t, ago(7*time.Hour), timeline.At.Since)
	require.Equal(t, ago(4*time.Hour), timeline.At.Until)
	require.InDelta(t, 3./8, timeline.RegisteredShare, 1e-9)
	require.Len(t, timeline.Events, 4)
	require.Equal(t, "registered", timeline.Events[0].Change)
	require.Len(t, timeline.Versions, 2)
	// A past in which nothing changed: only what came before and after tells.
	timeline, err = acme.DeviceTimeline(ctx, by["left"].DeviceID, query.TimelineFilter{From: ago(7 * time.Hour), To: ago(6 * time.Hour), At: ago(6*time.Hour + time.Minute)})
	require.NoError(t, err)
	require.EqualValues(t, 1, timeline.RegisteredShare)
	require.True(t, *timeline.At.Registered)
	require.Empty(t, timeline.Events)
	timeline, err = acme.DeviceTimeline(ctx, by["gone"].DeviceID, query.TimelineFilter{})
	require.NoError(t, err)
	require.Len(t, timeline.Spans, 1)
	require.Equal(t, "lapsed", timeline.Spans[0].State)
	require.Equal(t, "silence", timeline.Spans[0].Reason)
	for name, bad := range map[string]query.TimelineFilter{
		"order": {From: ago(1), To: ago(2)}, "future": {From: ago(-time.Hour)}, "at outside": {From: ago(2 * time.Hour), To: ago(time.Hour), At: ago(0)}, "at in the future": {At: ago(-time.Hour)},
	} {
		_, err = acme.DeviceTimeline(ctx, device, bad)
		require.ErrorIs(t, err, query.ErrFilter, name)
	}
	_, err = acme.DeviceTimeline(ctx, "none", query.TimelineFilter{})
	require.ErrorIs(t, err, query.ErrNotFound)
}
