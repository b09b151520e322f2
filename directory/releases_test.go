package directory_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func TestCompareVersions(t *testing.T) {
	// Each line in rising order.
	for _, line := range [][]string{
		{"5.8", "5.9", "5.10", "5.10.1", "5.11", "6", "10.0"},
		{"1.2.3-dev", "1.2.3-alpha", "1.2.3-alpha.2", "1.2.3-beta", "1.2.3-beta.1", "1.2.3-beta.2", "1.2.3-beta.10", "1.2.3-rc.1", "1.2.3", "1.2.3.1", "1.2.4-beta"},
		{"5.2.0a1", "5.2.0b7", "5.2.0b10", "5.2.0rc1", "5.2.0", "5.2.0a", "5.2.0b", "5.2.1"},
		{"66.85.0.5", "66.85.0.15", "66.86.0.2"},
		{"12-8-1", "12-8-2", "12-10-1"},
		{"sip88xx.12-8-1", "sip88xx.12-10-1"},
		{"4.3.2", "4.3.2-77-g1a2b3c4", "4.3.2-101-gdeadbeef", "4.3.3"},
		{"5.2.1 (build 77)", "5.2.1 (build 80)", "5.2.1 (build 101)", "5.2.2 (build 3)"},
		{"5.2.1+77", "5.2.1+80", "5.2.2"},
		{"12.8(1)", "12.8(2)", "12.8(10)", "12.9(1)"},
		{"4.0.13", "4.0.13-sp1", "4.0.13-sp2", "4.0.14"},
		{"v0.9", "v1.0", "2024.1", "2026.01.5"},
		{"120.0.0.0", "121.0.6167.85"},
		{"18446744073709551615", "18446744073709551616", "99999999999999999999999"},
	} {
		for i, a := range line {
			for j, b := range line {
				got := directory.CompareVersions(a, b)
				if got < 0 != (i < j) || got > 0 != (i > j) {
					t.Errorf("%s and %s: %d", a, b, got)
				}
			}
		}
	}
	for _, same := range [][2]string{
		{"5.2", "5.2.0"}, {"5.2.0", "v5.2"}, {"05.02", "5.2"}, {"1.2-beta", "1.2.0-beta"}, {"R5.2", "release 5.2"}, {"5.2.1 1a2b3c4d", "5.2.1"}, {"5.2.1 stable", "5.2.1"},
		{"unknown", "5.2"}, {"", "5.2"},
	} {
		if got := directory.CompareVersions(same[0], same[1]); got != 0 {
			t.Errorf("%s and %s: %d", same[0], same[1], got)
		}
	}
}

func TestOutdated(t *testing.T) {
	all := directory.Releases{
		{Kind: "native", Version: "5.10"},
		{Kind: "mobile", Version: "5.2"},
		{Kind: "mobile", Platform: "iOS", Version: "5.3"},
		{Kind: "desk_phone", App: "Yealink", Version: "66.86.0.2"},
		{Company: "default", Kind: "web", Version: "7"},
		{Kind: "web", App: "Chrome", Version: "120"},
		{Kind: "packaged_app", Version: "5.2.1 (build 80)"},
	}
	for _, c := range []struct {
		kind, app, platform, version string
		want                         bool
	}{
		{"native", "AcmeDialer", "Windows", "5.9", true},
		{"native", "AcmeDialer", "Windows", "5.10", false},
		{"native", "AcmeDialer", "Windows", "5.11-beta", false},
		{"native", "AcmeDialer", "Windows", "", false},
		{"native", "AcmeDialer", "Windows", "unknown", false},
		{"mobile", "AcmeDialer", "Android", "5.2.0", false},
		{"mobile", "AcmeDialer", "ios", "5.2.0", true},
		{"desk_phone", "Yealink", "SIP-T46S", "66.85.0.5", true},
		{"desk_phone", "Polycom", "VVX 411", "5.9", false},
		{"sip", "baresip", "Linux", "0.1", false},
		{"web", "Chrome", "macOS", "119", false}, // the company's own comes before the operator's
		{"web", "Chrome", "macOS", "6.9", true},
		{"packaged_app", "", "", "5.2.1", false}, // says no build
		{"packaged_app", "", "", "5.2.1 (build 79)", true},
		{"packaged_app", "", "", "5.2.0 (build 81)", true},
	} {
		if got := all.Outdated(c.kind, c.app, c.platform, c.version); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAppReleases(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		c := withClock(d)
		released := c.t.Add(-24 * time.Hour)
		set := func(company string, r directory.AppRelease) directory.AppRelease {
			t.Helper()
			return must(d.SetAppRelease(ctx, company, r))(t)
		}
		set("", directory.AppRelease{Kind: "native", Version: "5.1"})
		set("", directory.AppRelease{Kind: "mobile", Platform: "iOS", Version: "5.3", ReleasedAt: released})
		set("default", directory.AppRelease{Kind: "native", Version: "5.0"})
		if got := set("default", directory.AppRelease{Kind: "native", Version: " 5.2 "}); got.Version != "5.2" || got.UpdatedAt != c.t {
			t.Errorf("%+v", got)
		}
		want := directory.Releases{
			{Company: "default", Kind: "native", Version: "5.2", UpdatedAt: c.t},
			{Kind: "mobile", Platform: "iOS", Version: "5.3", ReleasedAt: released, UpdatedAt: c.t},
		}
		if got := must(d.AppReleases(ctx, "default"))(t); !slices.Equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got := must(d.AppReleases(ctx, "other"))(t); len(got) != 2 || got[0].Version != "5.1" {
			t.Errorf("another company: %+v", got)
		}
		for field, bad := range map[string]directory.AppRelease{"kind": {Kind: "toaster", Version: "1"}, "version": {Kind: "web", Version: "latest"}} {
			_, err := d.SetAppRelease(ctx, "default", bad)
			wantField(t, err, directory.ErrInvalid, field)
		}
		if err := d.RemoveAppRelease(ctx, "default", "native", "", ""); err != nil {
			t.Fatal(err)
		}
		if got := must(d.AppReleases(ctx, "default"))(t); len(got) != 2 || got[0].Version != "5.1" {
			t.Errorf("after removing its own: %+v", got)
		}
		if err := d.RemoveAppRelease(ctx, "default", "native", "", ""); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		entries, _, err := d.Journal(ctx, "default", directory.JournalFilter{Kind: "company"})
		if err != nil || len(entries) < 3 || entries[0].Change.Action != "app_release.remove" || entries[1].Change.Action != "app_release.set" ||
			!slices.Equal(entries[1].Change.Fields, []directory.FieldChange{{Field: "native", Old: "5.0", New: "5.2"}}) {
			t.Errorf("journal: %+v, %v", entries, err)
		}
	})
}

// Any two versions compare, and the order is one.
func FuzzCompareVersions(f *testing.F) {
	for _, s := range [][3]string{
		{"5.9", "5.10", "5.10.0"}, {"1.2.3-beta.1", "1.2.3-rc", "1.2.3"}, {"12.8(1)", "5.2.1+77", "5.2.1 (build 80)"},
		{"4.3.2-77-g1a2b3c4", "sip88xx.12-8-1", "v0a"}, {"", "é9", "00"}, {"1.0.2a", "1a1", "1b"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, bc, ac := directory.CompareVersions(a, b), directory.CompareVersions(b, c), directory.CompareVersions(a, c)
		if ab != -directory.CompareVersions(b, a) || directory.CompareVersions(a, a) != 0 {
			t.Errorf("%q and %q: %d", a, b, ab)
		}
		numbered := directory.CompareVersions(a, "0") != 0 && directory.CompareVersions(b, "0") != 0 && directory.CompareVersions(c, "0") != 0
		if numbered && ab <= 0 && bc <= 0 && ac > 0 {
			t.Errorf("%q, %q, %q: %d %d %d", a, b, c, ab, bc, ac)
		}
		one := directory.Releases{{Kind: "web", Version: b}}
		if one.Outdated("web", "", "", a) && ab >= 0 {
			t.Errorf("%q is outdated against %q", a, b)
		}
	})
}
