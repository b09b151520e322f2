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

func TestDevices(t *testing.T) {
	const home = "198.51.100.1:5060"
	desk := func(version string) string { return "Yealink SIP-T46S " + version }
	f := &fleet{t: t, m: registrations.New()}
	day := 24 * time.Hour
	f.says(9*day, "desk", desk("66.84.0.15"), home, 200, 1<<20)
	f.says(8*day, "desk", desk("66.85.0.5"), home, 200, 1<<20)
	f.says(7*day, "desk", desk("66.84.0.15"), home, 200, 1<<20) // went back …
	f.says(6*day, "desk", desk("66.85.0.5"), home, 200, 1<<20)  // … and came forward again
	f.says(5*day, "desk", desk("66.85.0.5"), home, 200, 1<<20)
	f.says(4*day, "mac", "AcmeDialer/5.10 (Mac; macOS 15)", home, 200, 1<<20)
	f.says(3*day, "nameless", "", home, 200, 1<<20)
	f.says(2*day, "iphone", "AcmeDialer/5.9 (iPhone; iOS 18.1)", home, 200, 3600)
	f.says(1*day, "gone", desk("66.85.0.5"), home, 200, 3600)
	f.m.Advance("", us(0), f.emit)
	party := func(user, device, platform, endpoint, version string) *telemetry.Party {
		return &telemetry.Party{Identity: &telemetry.Identity{UserId: user, Name: user, DeviceId: device}, Platform: platform, Endpoint: endpoint, AppVersion: version}
	}
	call := func(id string, ago time.Duration, target, contact *telemetry.Party) *telemetry.Outcome {
		return callOutcome("acme", id, us(ago), &telemetry.Call{State: "ended", StartedUs: us(ago), Target: target, Contact: contact})
	}
	out := append(f.out,
		call("c1", 5*time.Hour, party("u-desk", "web-1", "Windows", "web", "5.1"), nil),
		call("c2", 4*time.Hour, party("u-desk", "web-1", "Windows", "web", "5.2"), nil),
		call("c3", 3*time.Hour, party("u-desk", "web-1", "", "", ""), nil), // says nothing
		call("c4", 2*time.Hour, party("u-desk", "web-1", "Windows", "web", "5.2"), party("u-called", "web-2", "macOS", "harness", "5.3")),
		call("c5", 2*time.Hour, party("u-mobile", "m-1", "Android", "", "5.9"), nil))
	store := stored(t, out)
	acme := store.Company("acme")
	ctx := context.Background()
	of := func(user string) map[string]query.Device {
		t.Helper()
		devices, err := acme.Devices(ctx, user)
		require.NoError(t, err)
		by := map[string]query.Device{}
		for _, d := range devices {
			name := d.ID
			if d.AOR != "" {
				name = d.AOR
			}
			by[name] = d
		}
		return by
	}
	for _, c := range []struct {
		user, device, kind, platform, version string
		registered                            string // true, false or why not known
		updated                               time.Duration
	}{
		{"u-desk", "desk@x", "desk_phone", "SIP-T46S", "66.85.0.5", "true", 6 * day},
		{"u-desk", "web-1", "web", "Windows", "5.2", "It was seen in calls only", 4 * time.Hour},
		{"u-mac", "mac@x", "native", "macOS 15", "5.10", "true", 4 * day},
		{"u-nameless", "nameless@x", "sip", "", "", "true", 0},
		{"u-iphone", "iphone@x", "mobile", "iOS", "5.9", "Apps on iOS, iPadOS and Android", 2 * day},
		{"u-gone", "gone@x", "desk_phone", "SIP-T46S", "66.85.0.5", "false", day},
		{"u-called", "web-2", "harness", "macOS", "5.3", "It was seen in calls only", 0},
		{"u-mobile", "m-1", "mobile", "Android", "5.9", "Apps on iOS, iPadOS and Android", 2 * time.Hour},
	} {
		d, ok := of(c.user)[c.device]
		require.True(t, ok, "%s: %+v", c.device, of(c.user))
		require.Equal(t, []string{c.kind, c.platform, c.version, c.user}, []string{d.AppKind, d.Platform, d.Version, d.UserID}, c.device)
		if d.Registered != nil {
			require.Equal(t, c.registered, fmt.Sprint(*d.Registered), c.device)
			require.Empty(t, d.RegisteredReason)
			require.Equal(t, *d.Registered, !d.RegisteredSince.IsZero(), c.device)
		} else {
			require.Contains(t, d.RegisteredReason, c.registered, c.device)
			require.True(t, d.RegisteredSince.IsZero(), c.device)
		}
		if c.updated == 0 {
			require.True(t, d.VersionUpdatedAt.IsZero(), c.device)
		} else {
			require.Equal(t, us(c.updated), d.VersionUpdatedAt.Micros(), c.device)
		}
	}

	// All of them, in pages of every length, and those that were asked for.
	list := func(f query.DeviceFilter, limit int) (names []string) {
		t.Helper()
		page := query.Page{Limit: limit}
		for {
			l, err := acme.CompanyDevices(ctx, f, page)
			require.NoError(t, err)
			require.LessOrEqual(t, len(l.Items), limit)
			for _, d := range l.Items {
				require.NotEmpty(t, d.UserID)
				require.NotNil(t, d.Health)
				require.Equal(t, d.Version != "", !d.VersionUpdatedAt.IsZero(), d.ID)
				if names = append(names, d.ID); d.AOR != "" {
					names[len(names)-1] = d.AOR
				}
			}
			if l.NextCursor == nil {
				return names
			}
			page.Cursor = *l.NextCursor
		}
	}
	all := []string{"desk@x", "gone@x", "iphone@x", "mac@x", "nameless@x", "web-1", "m-1"}
	for limit := 1; limit <= len(all)+1; limit++ {
		require.Equal(t, all, list(query.DeviceFilter{}, limit), limit)
	}
	yes, no := true, false
	for name, c := range map[string]struct {
		f    query.DeviceFilter
		want []string
	}{
		"user":            {query.DeviceFilter{User: "u-desk"}, []string{"desk@x", "web-1"}},
		"kind":            {query.DeviceFilter{AppKind: "mobile"}, []string{"iphone@x", "m-1"}},
		"platform":        {query.DeviceFilter{Platform: "SIP-T46S"}, []string{"desk@x", "gone@x"}},
		"version":         {query.DeviceFilter{Version: "5.9"}, []string{"iphone@x", "m-1"}},
		"app and version": {query.DeviceFilter{Version: "AcmeDialer 5.9"}, []string{"iphone@x"}},
		"registered":      {query.DeviceFilter{Registered: &yes}, []string{"desk@x", "mac@x", "nameless@x"}},
		"not registered":  {query.DeviceFilter{Registered: &no}, []string{"gone@x"}},
		"words":           {query.DeviceFilter{Query: "DESK"}, []string{"desk@x", "web-1"}},
		"an id":           {query.DeviceFilter{Query: "web-"}, []string{"web-1"}},
		"no app":          {query.DeviceFilter{Apps: []query.AppInUse{}}, nil},
		"apps":            {query.DeviceFilter{Apps: []query.AppInUse{{Kind: "mobile", App: "AcmeDialer", Platform: "iOS", Version: "5.9"}, {Kind: "web", Platform: "Windows", Version: "5.2"}}}, []string{"iphone@x", "web-1"}},
	} {
		require.Equal(t, c.want, list(c.f, 2), name)
	}
	apps, err := acme.AppsInUse(ctx)
	require.NoError(t, err)
	require.Contains(t, apps, query.AppInUse{Kind: "mobile", App: "AcmeDialer", Platform: "iOS", Version: "5.9"})
	require.Contains(t, apps, query.AppInUse{Kind: "mobile", Platform: "Android", Version: "5.9"})

	// A refusal is no sign of life, an accepted REGISTER and a call are.
	gone := of("u-gone")["gone@x"].ID
	seen, err := acme.DevicesSeen(ctx, []string{gone, "web-2", "m-1", "never"})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{gone: us(day), "web-2": us(2 * time.Hour), "m-1": us(2 * time.Hour)},
		map[string]int64{gone: seen[gone].Micros(), "web-2": seen["web-2"].Micros(), "m-1": seen["m-1"].Micros()})
	require.NotContains(t, seen, "never")
	other, err := store.Company("other").CompanyDevices(ctx, query.DeviceFilter{}, query.Page{})
	require.NoError(t, err)
	require.Empty(t, other.Items)
}
