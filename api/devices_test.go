package api_test

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/telemetry"
)

type deviceItem struct {
	ID               string  `json:"id"`
	UserID           string  `json:"user_id"`
	UserName         string  `json:"user_name"`
	Name             string  `json:"name"`
	Platform         string  `json:"platform"`
	AppKind          string  `json:"app_kind"`
	Version          string  `json:"version"`
	VersionUpdatedAt *string `json:"version_updated_at"`
	Outdated         bool    `json:"outdated"`
	LatestVersion    *string `json:"latest_version"`
	Registered       *bool   `json:"registered"`
	RegisteredReason string  `json:"registered_reason"`
	RegisteredSince  *string `json:"registered_since"`
	Credentials      bool    `json:"credentials"`
	Reregister       struct {
		State        string   `json:"state"`
		Instructions []string `json:"instructions"`
	} `json:"reregister"`
}

// change is a step in the life of a binding of a phone.
func change(company, user, device, agent, kind, platform, version, what string, at time.Time) *telemetry.Outcome {
	us := at.UnixMicro()
	c := &telemetry.RegistrationChange{
		Aor: user + "@example.com", DeviceId: device, AtUs: us, Change: what, UserAgent: agent + " " + version, App: agent, AppVersion: version, Endpoint: kind, Platform: platform,
		Identity: &telemetry.Identity{UserId: user, Name: user},
	}
	if what == "registered" || what == "refreshed" {
		c.Registered, c.RegisteredUs, c.ExpiresUs = true, us, us+86400e6
	}
	return &telemetry.Outcome{Company: company, Seq: us, ReceivedUs: us, AtUs: us, Body: &telemetry.Outcome_Registration{Registration: c}}
}

// workshop is the company of these tests.
const workshop = "/api/v1/companies/workshop"

func TestUserDevices(t *testing.T) {
	p := withEngine(t)
	run := 0
	onBothSites(t, p.store, func(s *site) {
		run++
		s.company("workshop")
		// One ClickHouse for both runs: each has its own user.
		user := fmt.Sprintf("devices-%d", run)
		path := workshop + "/users/" + user + "/devices"
		if _, err := s.directory.CreateUser(s.t.Context(), "workshop", directory.User{ID: user, Name: "Dee", AORs: []string{user + "@example.com"}}); err != nil {
			s.t.Fatal(err)
		}
		begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
		id := func(name string) string { return name + "-" + user }
		phone := func(name, what, version string, at time.Time) *telemetry.Outcome {
			return change("workshop", user, id(name), "Yealink", "desk_phone", "SIP-T46S", version, what, at)
		}
		list := func(query string) map[string]deviceItem {
			s.t.Helper()
			var l items[deviceItem]
			s.get(path+query).decode(s.t, &l)
			by := map[string]deviceItem{}
			for _, d := range l.Items {
				by[strings.TrimSuffix(d.ID, "-"+user)] = d
			}
			return by
		}
		outcomes := []*telemetry.Outcome{
			phone("desk", "registered", "66.84.0.15", begin), phone("desk", "refreshed", "66.85.0.5", begin.Add(time.Minute)),
			change("workshop", user, id("iphone"), "AcmeDialer", "mobile", "iOS", "5.9", "lapsed", begin.Add(2*time.Minute)),
			change("workshop", user, id("mac"), "AcmeDialer", "native", "macOS", "5.9", "registered", begin.Add(3*time.Minute)),
		}
		p.put(s.t, func() bool { return len(list("")) == 3 }, outcomes...)
		for _, r := range [][2]string{{"native", `{"version":"5.10","released_at":"2026-01-02T03:04:05Z"}`}, {"desk_phone?app=Yealink", `{"version":"66.85.0.5"}`}, {"mobile?platform=Android", `{"version":"9"}`}} {
			if a := s.as(s.operator, "PUT", workshop+"/app-releases/"+r[0], r[1]); a.status != 200 {
				s.t.Fatalf("%d %s", a.status, a.body)
			}
		}
		var made struct{ Secret string }
		s.as(s.operator, "POST", path+"/"+id("desk")+"/credentials", "").decode(s.t, &made)
		s.as(s.operator, "POST", path+"/spare/credentials", "").decode(s.t, &made)

		got := list("")
		desk, iphone, mac, spare := got["desk"], got["iphone"], got["mac"], got["spare"]
		if len(got) != 4 || desk.AppKind != "desk_phone" || desk.Platform != "SIP-T46S" || desk.Version != "66.85.0.5" ||
			*desk.VersionUpdatedAt != begin.Add(time.Minute).Format("2006-01-02T15:04:05.000Z") || desk.Outdated || *desk.LatestVersion != "66.85.0.5" || !*desk.Registered ||
			desk.RegisteredSince == nil || !desk.Credentials || desk.Name != id("desk") || desk.Reregister.State != "none" || len(desk.Reregister.Instructions) != 2 {
			s.t.Errorf("desk: %+v", desk)
		}
		if iphone.Registered != nil || !strings.Contains(iphone.RegisteredReason, "push") || iphone.LatestVersion != nil || iphone.Outdated || iphone.Credentials {
			s.t.Errorf("iphone: %+v", iphone)
		}
		if !mac.Outdated || *mac.LatestVersion != "5.10" || !*mac.Registered {
			s.t.Errorf("mac: %+v", mac)
		}
		if *spare.Registered || !spare.Credentials || spare.UserName != "Dee" || spare.VersionUpdatedAt != nil {
			s.t.Errorf("credentials that were never used: %+v", spare)
		}
		rows, err := csv.NewReader(strings.NewReader(s.get(path, "Accept", "text/csv").body)).ReadAll()
		if err != nil || len(rows) != 5 || !slices.Contains(rows[0], "version") || !slices.Contains(rows[0], "outdated") || !slices.Contains(rows[0], "reregister.state") {
			s.t.Errorf("CSV: %v %v", rows, err)
		}

		s.deletesDevice(path, id("desk"), list)
		// Refused attempts do not bring it back, an accepted one does.
		now := time.Now().UTC()
		p.put(s.t, func() bool {
			return strings.Contains(s.get(workshop+"/registrations?device="+id("desk")).body, `"failed"`)
		}, phone("desk", "auth_failed", "66.85.0.5", now))
		if _, back := list("")["desk"]; back {
			s.t.Error("a refused attempt brought a deleted device back")
		}
		p.put(s.t, func() bool { _, back := list("")["desk"]; return back }, phone("desk", "registered", "66.86.0.2", now.Add(time.Second)))
		if d := list("")["desk"]; d.Reregister.State != "none" || d.Credentials || len(list("?deleted=true")) != 0 {
			s.t.Errorf("after it came back: %+v, deleted %v", d, list("?deleted=true"))
		}

		// However many were deleted and never came back, nobody waits for them.
		s.sql(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
			INSERT INTO device (company, user_id, id, deleted_us, revoked, n) SELECT 'workshop', '` + user + `', 'gone-for-good-' || i, 1, 0, 0 FROM n`)

		// Every device of the company, by what it is.
		for query, want := range map[string][]string{
			"":                                      {"desk", "iphone", "mac"},
			"&outdated=true":                        {"mac"},
			"&outdated=false":                       {"desk", "iphone"},
			"&app_kind=mobile":                      {"iphone"},
			"&platform=macOS":                       {"mac"},
			"&version=5.9":                          {"iphone", "mac"},
			"&version=Yealink+66.86.0.2":            {"desk"},
			"&registered=true":                      {"desk", "mac"},
			"&registered=false":                     {},
			"&outdated=true&app_kind=desk_phone":    {},
			"&q=MAC-" + user:                        {},
			"&q=mac-" + user:                        {"mac"},
			"&q=" + strings.ToUpper(user) + "%40EX": {"desk", "iphone", "mac"},
		} {
			var names []string
			cursor := ""
			for {
				var l struct {
					Items []deviceItem
					Next  *string `json:"next_cursor"`
				}
				s.get(workshop+"/devices?limit=1&user="+user+query+cursor).decode(s.t, &l)
				for _, d := range l.Items {
					names = append(names, strings.TrimSuffix(d.ID, "-"+user))
				}
				if l.Next == nil {
					break
				}
				cursor = "&cursor=" + *l.Next
			}
			if slices.Sort(names); !slices.Equal(names, want) && len(names)+len(want) > 0 {
				s.t.Errorf("devices?%s: %v, want %v", query, names, want)
			}
		}
		s.tellsApps(path + "/" + id("mac"))
		var regs items[deviceItem]
		s.get(workshop+"/registrations?device="+id("mac")).decode(s.t, &regs)
		if len(regs.Items) != 1 || !regs.Items[0].Outdated || *regs.Items[0].LatestVersion != "5.10" || regs.Items[0].AppKind != "native" || regs.Items[0].Version != "5.9" {
			s.t.Errorf("registrations: %+v", regs.Items)
		}
		for name, c := range map[string]struct {
			key, method, path string
			status            int
		}{
			"no such device":      {s.operator, "DELETE", path + "/none", 404},
			"no such user":        {s.operator, "DELETE", workshop + "/users/nobody/devices/" + id("mac"), 404},
			"another user's":      {s.operator, "DELETE", workshop + "/users/alice/devices/" + id("mac"), 404},
			"another company":     {s.other, "DELETE", path + "/" + id("mac"), 404},
			"another company too": {s.other, "GET", workshop + "/devices", 404},
			"list of nobody":      {s.operator, "GET", workshop + "/users/nobody/devices", 404},
			"bad kind":            {s.operator, "GET", workshop + "/devices?app_kind=toaster", 422},
		} {
			if a := s.as(c.key, c.method, c.path, ""); a.status != c.status {
				s.t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	})
}

// deletesDevice deletes a device that has credentials, and the spare one.
func (s *site) deletesDevice(path, id string, list func(string) map[string]deviceItem) {
	s.t.Helper()
	var deleted struct {
		Instructions []string
		Revoked      int `json:"credentials_revoked"`
		Webhook      bool
	}
	s.as(s.operator, "DELETE", path+"/"+id, "").decode(s.t, &deleted)
	if deleted.Revoked != 1 || deleted.Webhook || len(deleted.Instructions) != 2 || !strings.Contains(deleted.Instructions[1], "Provision the phone again") {
		s.t.Errorf("%+v", deleted)
	}
	if a := s.as(s.operator, "DELETE", path+"/spare", ""); a.status != 200 {
		s.t.Errorf("%d %s", a.status, a.body)
	}
	got := list("")
	if _, still := got["desk"]; still || len(got) != 2 {
		s.t.Errorf("after: %v", got)
	}
	away := list("?deleted=true")
	if d, ok := away["desk"]; !ok || d.Reregister.State != "revoked" || d.Credentials || len(away) != 1 {
		s.t.Errorf("deleted: %+v", away)
	}
	if a := s.get(workshop + "/devices?limit=1000"); strings.Contains(a.body, `"`+id+`"`) {
		s.t.Error("the company's list still has it")
	}
}

// tellsApps deletes a device of which somebody wants to be told.
func (s *site) tellsApps(path string) {
	s.t.Helper()
	if a := s.as(s.operator, "POST", workshop+"/subscriptions", `{"url":"https://example.com/hook","types":["device_reregister"]}`); a.status != 201 {
		s.t.Fatalf("%d %s", a.status, a.body)
	}
	var deleted struct {
		Instructions []string
		Revoked      int `json:"credentials_revoked"`
		Webhook      bool
	}
	s.as(s.operator, "DELETE", path, "").decode(s.t, &deleted)
	if deleted.Revoked != 0 || !deleted.Webhook || !strings.Contains(strings.Join(deleted.Instructions, " "), "Log out of the desktop app and in again") {
		s.t.Errorf("%+v", deleted)
	}
	entries, _, err := s.directory.Journal(s.t.Context(), "workshop", directory.JournalFilter{Kind: "device"})
	if err != nil || len(entries) == 0 || entries[0].Change.Action != "device.delete" || !strings.HasSuffix(path, entries[0].Change.ID) || entries[0].Actor.Kind != "key" ||
		!slices.Contains(entries[0].Change.Fields, directory.FieldChange{Field: "app_kind", Old: "native"}) {
		s.t.Errorf("journal: %+v, %v", entries, err)
	}
}

func TestAppReleases(t *testing.T) {
	s := newSite(t, nil)
	const own, all = defaultCompany + "/app-releases", "/api/v1/app-releases"
	type released struct {
		Kind, App, Platform, Version, From string
		ReleasedAt                         *string `json:"released_at"`
	}
	list := func(path string) []released {
		t.Helper()
		var l items[released]
		s.get(path).decode(t, &l)
		return l.Items
	}
	if got := list(own); got == nil || len(got) != 0 {
		t.Errorf("%+v", got)
	}
	var r released
	s.as(s.operator, "PUT", all+"/native", `{"version":"5.1"}`).decode(t, &r)
	if r.From != "all" || r.ReleasedAt != nil {
		t.Errorf("%+v", r)
	}
	s.as(s.operator, "PUT", own+"/native", `{"version":"5.2","released_at":"2026-01-02T03:04:05Z"}`).decode(t, &r)
	if r.From != "company" || *r.ReleasedAt != "2026-01-02T03:04:05.000Z" {
		t.Errorf("%+v", r)
	}
	s.as(s.operator, "PUT", own+"/mobile?platform=iOS&app=Acme%20Dialer", `{"version":"5.3-beta.1"}`).decode(t, &r)
	if got := list(own); len(got) != 2 || got[0].Version != "5.2" || got[1].Kind != "mobile" || got[1].Platform != "iOS" || got[1].App != "Acme Dialer" {
		t.Errorf("%+v", got)
	}
	if got := list("/api/v1/companies/other/app-releases"); len(got) != 1 || got[0].Version != "5.1" || got[0].From != "all" {
		t.Errorf("another company: %+v", got)
	}
	s.get(own+"/native").decode(t, &r)
	if r.Version != "5.2" {
		t.Errorf("%+v", r)
	}
	s.as(s.operator, "PUT", own+"/native", `{"version":"latest"}`).names(t, "body.version")
	for name, c := range map[string]struct {
		key, method, path, body string
		status                  int
	}{
		"no such kind":             {s.operator, "PUT", own + "/toaster", `{"version":"1"}`, 422},
		"not set":                  {s.operator, "GET", own + "/web", "", 404},
		"removed":                  {s.operator, "DELETE", own + "/native", "", 204},
		"not the operator's":       {s.operator, "DELETE", own + "/native?platform=iOS", "", 404},
		"a company sets for all":   {s.other, "PUT", all + "/native", `{"version":"1"}`, 403},
		"a company reads for all":  {s.other, "GET", all, "", 403},
		"a company sets another's": {s.other, "PUT", own + "/native", `{"version":"1"}`, 404},
	} {
		if a := s.as(c.key, c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	s.get(own+"/native").decode(t, &r)
	if r.Version != "5.1" || r.From != "all" {
		t.Errorf("after removing the company's own: %+v", r)
	}
	if a := s.as(s.operator, "DELETE", all+"/native", ""); a.status != 204 || s.get(own+"/native").status != 404 {
		t.Errorf("%d", a.status)
	}
}
