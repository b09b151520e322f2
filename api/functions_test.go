package api_test

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

var tableRoute = regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) [^` ]+)`")

// functions drives the routes that docs/portal.md names, and remembers which.
type functions struct {
	*site
	company string // of its own: other tests count what is in the store
	tried   map[string]bool
}

// do asks a route as the table writes it, with values in place of its {…}, and
// decodes an answer that must be of the 200s.
func (f *functions) do(route, body string, into any, values ...string) answer {
	f.t.Helper()
	return f.ask(route, "", body, into, values...)
}

// ask is do with a query string.
func (f *functions) ask(route, query, body string, into any, values ...string) answer {
	f.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	if rest, ok := strings.CutPrefix(path, "C"); ok && (rest == "" || rest[0] == '/') {
		path = f.path(rest)
	}
	path = strings.ReplaceAll(path, "{company}", f.company)
	for _, v := range values {
		begin, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		if begin < 0 {
			f.t.Fatalf("%s: a value too many", route)
		}
		path = path[:begin] + url.PathEscape(v) + path[end+1:]
	}
	if strings.Contains(path, "{") {
		f.t.Fatalf("%s: a value is missing", route)
	}
	header := []string{}
	if strings.Contains(path, "/scim/") {
		header = append(header, "Content-Type", "application/scim+json", "Accept", "application/scim+json")
	}
	if strings.HasSuffix(path, "/import") {
		header = append(header, "Content-Type", "text/csv")
	}
	a := f.as(f.operator, method, path+query, body, header...)
	if a.status/100 != 2 {
		f.t.Fatalf("%s: %d %s", route, a.status, a.body)
	}
	f.tried[route] = true
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			f.t.Fatalf("%s: %v: %s", route, err, a.body)
		}
	}
	return a
}

// path is that of something in the company.
func (f *functions) path(rest string) string { return "/api/v1/companies/" + f.company + rest }

type items[T any] struct {
	Items []T `json:"items"`
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Every function in the table of docs/portal.md works, whichever database the
// directory is in; a route that the table names and this does not try fails.
func TestEveryFunctionOfThePortal(t *testing.T) {
	table, err := os.ReadFile("../docs/portal.md")
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, m := range tableRoute.FindAllStringSubmatch(string(table), -1) {
		routes = append(routes, m[1])
	}
	if len(routes) < 100 {
		t.Fatalf("the table has %d routes only", len(routes))
	}
	p := withEngine(t)
	onBothSites(t, p.store, func(s *site) {
		t := s.t
		f := &functions{site: s, company: "functions-" + strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]), tried: map[string]bool{}}
		f.site.company(f.company)
		call := f.company
		began := time.Now().Add(-time.Minute)
		registered := &telemetry.Outcome{Company: f.company, Seq: began.UnixMicro(), ReceivedUs: began.UnixMicro(), AtUs: began.UnixMicro(), Body: &telemetry.Outcome_Registration{Registration: &telemetry.RegistrationChange{
			Aor: "alice@example.com", DeviceId: "functions-device", AtUs: began.UnixMicro(), Change: "registered", Registered: true, ExpiresUs: began.Add(time.Hour).UnixMicro(), Identity: &telemetry.Identity{UserId: "alice"}}}}
		p.put(t, func() bool {
			return f.get(f.path("/calls/"+call+"/samples")).status == 200 && f.get(f.path("/devices/functions-device/timeline")).status == 200
		}, append(oneWayCall(f.company, call, began), registered)...)
		f.places()
		f.users()
		f.devices()
		f.numbers()
		f.experiments()
		f.proxy()
		f.calls(call)
		f.recording(call)
		f.events(call)
		for _, route := range routes {
			if !f.tried[route] {
				t.Errorf("%s is in the table and was not tried", route)
			}
		}
		for route := range f.tried {
			if !slices.Contains(routes, route) {
				t.Errorf("%s was tried and is not in the table", route)
			}
		}
	})
}

func (f *functions) places() {
	var companies items[named]
	f.do("GET /api/v1/companies", "", &companies)
	if len(companies.Items) != 3 {
		f.t.Errorf("companies: %v", companies.Items)
	}
	var company struct {
		Links map[string]string `json:"links"`
	}
	f.do("GET C", "", &company)
	for _, link := range []string{"users", "offices", "departments", "rooms", "numbers", "ratings"} {
		if company.Links[link] == "" {
			f.t.Errorf("the company has no link to its %s", link)
		}
	}
	f.do("PATCH C", `{"name":"Acme Inc."}`, &struct{}{})
	for _, kind := range []string{"offices", "departments", "contact-centers"} {
		id := map[string]string{"offices": "hq", "departments": "sales", "contact-centers": "help"}[kind]
		var members items[named]
		f.do("GET C/"+kind+"/{place}/members", "", &members, id)
		if kind != "contact-centers" && !slices.ContainsFunc(members.Items, func(u named) bool { return u.ID == "alice" }) {
			f.t.Errorf("members of %s: %v", id, members.Items)
		}
	}
	for _, kind := range []string{"offices", "departments", "rooms", "contact-centers"} {
		var made, read, changed named
		f.do("POST C/"+kind, `{"id":"p1","name":"First"}`, &made)
		f.do("GET C/"+kind+"/{place}", "", &read, "p1")
		f.do("PATCH C/"+kind+"/{place}", `{"name":"Second"}`, &changed, "p1")
		if made.Name != "First" || read != made || changed.Name != "Second" {
			f.t.Errorf("%s: %v %v %v", kind, made, read, changed)
		}
		f.do("DELETE C/"+kind+"/{place}", "", nil, "p1")
		var left items[named]
		f.do("GET C/"+kind, "", &left)
		if slices.ContainsFunc(left.Items, func(p named) bool { return p.ID == "p1" }) {
			f.t.Errorf("%s: still there after it was deleted", kind)
		}
	}
}

func (f *functions) users() {
	var made struct {
		named
		Numbers []string `json:"numbers"`
	}
	f.do("POST C/users", `{"id":"dora","name":"Dora","email":"dora@example.com","office":"hq","numbers":["+14155550140"],"aors":["dora@example.com"]}`, &made)
	f.do("PATCH C/users/{user}", `{"name":"Dora Smith"}`, &made, "dora")
	f.do("GET C/users/{user}", "", &made, "dora")
	if made.Name != "Dora Smith" || !slices.Equal(made.Numbers, []string{"+14155550140"}) {
		f.t.Errorf("changed to %v", made)
	}
	var found items[struct {
		named
		State       string   `json:"state"`
		Numbers     []string `json:"numbers"`
		AppVersions []string `json:"app_versions"`
	}]
	f.ask("GET C/users", "?q=dora&state=active&office=hq", "", &found)
	if len(found.Items) != 1 || found.Items[0].ID != "dora" || found.Items[0].State != "active" || found.Items[0].Numbers[0] != "+14155550140" {
		f.t.Errorf("search: %v", found.Items)
	}
	var preview struct {
		Numbers []struct {
			Number, Becomes string
		} `json:"numbers"`
	}
	f.do("GET C/users/{user}/deletion", "", &preview, "dora")
	if len(preview.Numbers) != 1 || preview.Numbers[0].Number != "+14155550140" || preview.Numbers[0].Becomes != "available" {
		f.t.Errorf("deletion would do %v", preview)
	}
	f.do("DELETE C/users/{user}", "", nil, "dora")
	f.do("GET C/users/{user}/erasure/preview", "", &struct{}{}, "dora")
	var erasure struct{ State, Reason string }
	f.do("POST C/users/{user}/erasure", `{"reason":"asked for it"}`, nil, "dora")
	f.do("GET C/users/{user}/erasure", "", &erasure, "dora")
	if erasure.State != "pending" || erasure.Reason != "asked for it" {
		f.t.Errorf("erasure: %+v", erasure)
	}
	var number struct {
		Status string `json:"status"`
	}
	f.do("GET C/numbers/{number}", "", &number, "+14155550140")
	if number.Status != "available" {
		f.t.Errorf("the number of a deleted user is %s", number.Status)
	}

	var imported struct {
		Created int `json:"created"`
	}
	f.ask("POST C/users/import", "?office=hq&dry_run=true", "name,email\nErin,erin@example.com\n", &imported)
	f.ask("GET C/users", "?q=erin", "", &found)
	if len(found.Items) != 0 {
		f.t.Error("a dry run stored users")
	}
	f.ask("POST C/users/import", "?office=hq", "name,email\nErin,erin@example.com\nFred,fred@example.com\n", &imported)
	f.ask("GET C/users", "?q=erin", "", &found)
	if imported.Created != 2 || len(found.Items) != 1 {
		f.t.Errorf("import created %d, and Erin is found %d times", imported.Created, len(found.Items))
	}

	const user = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"gina@example.com","displayName":"%","name":{"givenName":"Gina","familyName":"Gray"},"active":true,"emails":[{"value":"gina@example.com","type":"work","primary":true}]}`
	var scim struct {
		ID          string `json:"id"`
		DisplayName string `json:"displayName"`
		Active      bool   `json:"active"`
	}
	f.do("POST /scim/v2/{company}/Users", strings.Replace(user, "%", "Gina Gray", 1), &scim)
	f.do("PUT /scim/v2/{company}/Users/{id}", strings.Replace(user, "%", "Gina Green", 1), &scim, scim.ID)
	if scim.DisplayName != "Gina Green" {
		f.t.Errorf("replaced by %v", scim)
	}
	f.do("PATCH /scim/v2/{company}/Users/{id}", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}`, nil, scim.ID)
	f.do("GET /scim/v2/{company}/Users/{id}", "", &scim, scim.ID)
	if scim.Active {
		f.t.Error("still active")
	}
	var listed struct {
		TotalResults int `json:"totalResults"`
	}
	f.ask("GET /scim/v2/{company}/Users", "?filter="+url.QueryEscape(`userName eq "gina@example.com"`), "", &listed)
	if listed.TotalResults != 1 {
		f.t.Errorf("%d users found by userName", listed.TotalResults)
	}
	f.do("DELETE /scim/v2/{company}/Users/{id}", "", nil, scim.ID)
	f.do("GET /scim/v2/{company}/Groups", "", &listed)
	if listed.TotalResults != 2 {
		f.t.Errorf("%d groups", listed.TotalResults)
	}
	for _, about := range []string{"ServiceProviderConfig", "ResourceTypes", "Schemas"} {
		f.do("GET /scim/v2/{company}/"+about, "", &struct{}{})
	}
}

func (f *functions) devices() {
	var devices items[map[string]any]
	f.do("GET C/users/{user}/devices", "", &devices, "alice")
	var secret struct {
		Secret string `json:"secret"`
	}
	const credentials = "C/users/{user}/devices/{device}/credentials"
	f.do("POST "+credentials, "", &secret, "alice", "desk")
	if len(secret.Secret) < 16 {
		f.t.Errorf("a secret of %d characters", len(secret.Secret))
	}
	var had items[struct {
		RevokedAt *string `json:"revoked_at"`
	}]
	f.do("GET "+credentials, "", &had, "alice", "desk")
	f.do("DELETE "+credentials, "", nil, "alice", "desk")
	f.do("POST "+credentials, "", nil, "alice", "desk")
	var gone struct {
		Instructions       []string `json:"instructions"`
		CredentialsRevoked int      `json:"credentials_revoked"`
	}
	f.do("DELETE C/users/{user}/devices/{device}", "", &gone, "alice", "desk")
	if gone.CredentialsRevoked != 1 || len(gone.Instructions) == 0 {
		f.t.Errorf("deleting the device: %+v", gone)
	}
	f.do("GET "+credentials, "", &had, "alice", "desk")
	if slices.ContainsFunc(had.Items, func(c struct {
		RevokedAt *string `json:"revoked_at"`
	}) bool {
		return c.RevokedAt == nil
	}) {
		f.t.Error("credentials of a deleted device are in use")
	}
	f.do("GET C/users/{user}/registrations", "", &items[any]{}, "alice")
	f.do("GET C/registrations", "", &items[any]{})
	f.do("GET C/registrations/health", "", nil)
	f.do("GET C/devices/{device}/timeline", "", nil, "functions-device")
	f.do("PUT C/app-releases/{kind}", `{"version":"5.3.0"}`, nil, "native")
	var releases items[struct{ Kind, Version string }]
	f.do("GET C/app-releases", "", &releases)
	if !slices.Contains(releases.Items, struct{ Kind, Version string }{"native", "5.3.0"}) {
		f.t.Errorf("releases: %v", releases.Items)
	}
	f.do("GET C/app-releases/{kind}", "", &struct{}{}, "native")
	f.do("DELETE C/app-releases/{kind}", "", nil, "native")
	const shared = "/api/v1/app-releases"
	f.do("PUT "+shared+"/{kind}", `{"version":"5.4.0"}`, nil, "web")
	f.do("GET "+shared, "", &releases)
	f.do("DELETE "+shared+"/{kind}", "", nil, "web")
	f.ask("GET C/devices", "?outdated=false", "", &devices)
}

func (f *functions) numbers() {
	type number struct {
		Number string `json:"number"`
		Status string `json:"status"`
		Owner  *struct {
			Kind, ID string
		} `json:"owner"`
	}
	var n number
	f.do("POST C/numbers", `{"number":"(415) 555-0177"}`, &n)
	for _, q := range []string{"4155550177", "415-555-0177", "415", "555", "0177"} {
		var found items[number]
		f.ask("GET C/numbers", "?q="+url.QueryEscape(q), "", &found)
		if !slices.ContainsFunc(found.Items, func(n number) bool { return n.Number == "+14155550177" }) {
			f.t.Errorf("%q does not find the number", q)
		}
	}
	began := time.Now()
	for _, to := range []string{`{"kind":"user","id":"alice"}`, `{"kind":"office","id":"hq"}`} {
		// An office keeps one too.
		if strings.Contains(to, "office") {
			f.do("POST C/numbers", `{"number":"+14155550178","owner":{"kind":"office","id":"hq"}}`, nil)
		}
		f.do("POST C/numbers/{number}/transfer", `{"to":`+to+`}`, &n, "+14155550177")
	}
	f.do("POST C/numbers/{number}/transfer", `{"to":{"kind":"pool"}}`, &n, "+14155550177")
	if n.Status != "available" || n.Owner != nil {
		f.t.Errorf("back in the pool: %+v", n)
	}
	if a := f.as(f.operator, "POST", f.path("/numbers/+442071838750/transfer"), `{"to":{"kind":"user","id":"alice"}}`); a.status != 409 {
		f.t.Errorf("taking the only number of a user: %d %s", a.status, a.body)
	}
	var history items[struct {
		Owner *struct {
			Kind, ID string
		} `json:"owner"`
		From string `json:"from"`
	}]
	f.do("GET C/numbers/{number}/history", "", &history, "+14155550177")
	var kinds []string
	for _, h := range history.Items {
		if h.Owner != nil {
			kinds = append(kinds, h.Owner.Kind)
		}
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"office", "user"}) {
		f.t.Errorf("history: %+v", history.Items)
	}
	f.ask("GET C/numbers/{number}/owner", "?at="+url.QueryEscape(time.Now().UTC().Format(time.RFC3339Nano)), "", nil, "+14155550101")
	_ = began

	var port struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Dids  int    `json:"dids"`
	}
	f.do("POST C/port-requests", `{"batch_id":"B1","office":"hq","lnp_id":"L1","port_type":"port_in","numbers":["+14155550181","+14155550182"],"target":{"kind":"office","id":"hq"}}`, &port)
	f.do("PATCH C/port-requests/{id}", `{"carrier":"Example Telecom"}`, &port, port.ID)
	f.do("POST C/port-requests/{id}/transition", `{"to":"submitted"}`, &port, port.ID)
	f.do("GET C/port-requests/{id}", "", &port, port.ID)
	if port.State != "submitted" || port.Dids != 2 {
		f.t.Errorf("port request: %+v", port)
	}
	f.do("GET C/numbers/{number}", "", &n, "+14155550181")
	if n.Status != "port_pending" {
		f.t.Errorf("a number that is being ported is %s", n.Status)
	}
	var ports items[struct {
		ID string `json:"id"`
	}]
	f.ask("GET C/port-requests", "?state=submitted", "", &ports)
	if len(ports.Items) != 1 {
		f.t.Errorf("%d port requests are submitted", len(ports.Items))
	}
}

type experiment struct {
	Key       string `json:"key"`
	Enabled   *bool  `json:"enabled"`
	Effective bool   `json:"effective"`
	From      string `json:"from"`
}

func (f *functions) experiments() {
	const route, own = "C/experiments/{key}", "C/users/{user}/experiments/{key}"
	f.do("PUT "+route, `{"enabled":true}`, nil, "new_dialer")
	f.do("PUT "+own, `{"enabled":false}`, nil, "alice", "new_dialer")
	effective := func(want bool, from string) {
		f.t.Helper()
		var list items[experiment]
		f.do("GET C/users/{user}/experiments", "", &list, "alice")
		i := slices.IndexFunc(list.Items, func(e experiment) bool { return e.Key == "new_dialer" })
		if i < 0 || list.Items[i].Effective != want || list.Items[i].From != from {
			f.t.Errorf("%v, want %v from %s", list.Items, want, from)
		}
	}
	effective(false, "user")
	f.do("DELETE "+own, "", nil, "alice", "new_dialer")
	effective(true, "company")
	f.do("DELETE "+route, "", nil, "new_dialer")
	var list items[experiment]
	f.do("GET C/experiments", "", &list)
	if slices.ContainsFunc(list.Items, func(e experiment) bool { return e.Key == "new_dialer" && e.Effective }) {
		f.t.Error("a removed experiment is on")
	}
}

func (f *functions) proxy() {
	const sessions = "C/users/{user}/proxy-sessions"
	var session struct {
		ID string `json:"id"`
	}
	f.do("POST "+sessions, `{"reason":"ticket 4711","minutes":5}`, &session, "alice")
	var who struct {
		Proxy *struct {
			User string `json:"user"`
		} `json:"proxy"`
	}
	if f.do("GET /api/v1/whoami", "", &who); who.Proxy == nil || who.Proxy.User != "alice" {
		f.t.Error("whoami does not say that one acts for alice")
	}
	var account map[string]string
	f.do("GET "+sessions+"/{id}/account", "", &account, "alice", session.ID)
	if len(account) != 3 || account["email"] != "alice@example.com" {
		f.t.Errorf("an account shows %v", account)
	}
	f.do("PATCH "+sessions+"/{id}/account", `{"voicemail_greeting":"Please leave a message."}`, &account, "alice", session.ID)
	if a := f.as(f.operator, "PATCH", f.path("/users/alice/proxy-sessions/"+session.ID+"/account"), `{"office":"hq"}`); a.status != 422 {
		f.t.Errorf("changing more than the account: %d %s", a.status, a.body)
	}
	f.do("DELETE "+sessions+"/{id}", "", nil, "alice", session.ID)
	if a := f.as(f.operator, "PATCH", f.path("/users/alice/proxy-sessions/"+session.ID+"/account"), `{"name":"Eve"}`); a.status/100 != 4 {
		f.t.Errorf("after going back: %d %s", a.status, a.body)
	}
	f.do("GET "+sessions, "", &items[any]{}, "alice")

	f.do("POST C/users/{user}/notes", `{"text":"Called back."}`, nil, "alice")
	var notes items[struct {
		Kind, Text string
		Author     struct{ Name string }
		Changes    []struct{ Field, Old, New string }
	}]
	f.do("GET C/users/{user}/notes", "", &notes, "alice")
	var greeted, written bool
	for _, n := range notes.Items {
		written = written || n.Text == "Called back." && n.Author.Name == "operator"
		for _, c := range n.Changes {
			greeted = greeted || n.Kind == "proxy" && c.Field == "voicemail_greeting" && c.New == "Please leave a message."
		}
	}
	if !greeted || !written {
		f.t.Errorf("notes: %+v", notes.Items)
	}
	f.do("GET C/notes", "", &items[any]{})
	f.do("GET /api/v1/audit", "", &items[any]{})
	var audit items[struct{ Action string }]
	f.do("GET C/audit", "", &audit)
	if !slices.ContainsFunc(audit.Items, func(e struct{ Action string }) bool { return strings.HasPrefix(e.Action, "number.") }) {
		f.t.Error("the audit log has no change of a number")
	}
}

func (f *functions) calls(call string) {
	var list items[named]
	f.do("GET C/users/{user}/calls", "", &list, "alice")
	f.do("GET C/calls", "", &list)
	var one struct {
		ID     string         `json:"id"`
		Target map[string]any `json:"target"`
	}
	f.do("GET C/calls/{call}", "", &one, call)
	if one.ID != call || one.Target["user_id"] != "alice" {
		f.t.Errorf("call: %+v", one)
	}
	f.do("GET C/calls/{call}/samples", "", nil, call)
	f.do("GET C/calls/{call}/report", "", nil, call)
	var quality query.QualityTrend
	f.ask("GET C/quality/trend", "?group_by=user&interval=1d&office=hq", "", &quality)
	if len(quality.Series) != 1 || quality.Series[0].Key != "alice" || quality.Total.OneWay != quality.Total.Calls || quality.Total.Calls == 0 {
		f.t.Errorf("quality: %+v", quality)
	}
	f.snapshots(call)
	var ratings items[struct{ Rating int }]
	f.do("GET C/ratings", "", &ratings)
	f.do("GET C/users/{user}/ratings", "", &ratings, "alice")
	if len(ratings.Items) == 0 || ratings.Items[0].Rating != 1 {
		f.t.Errorf("ratings: %v", ratings.Items)
	}
	var devices items[struct {
		ID string `json:"id"`
	}]
	f.do("GET C/users/{user}/devices", "", &devices, "alice")
}

func (f *functions) snapshots(call string) {
	type snapshot struct {
		ID   string `json:"id"`
		Note string `json:"note"`
	}
	var made, read snapshot
	f.do("POST C/calls/{call}/snapshots", `{"note":"ticket 4711"}`, &made, call)
	f.do("GET /api/v1/snapshots/{snapshot}", "", &read, made.ID)
	if read != made || read.Note != "ticket 4711" {
		f.t.Errorf("frozen %v, read %v", made, read)
	}
	f.do("GET /api/v1/snapshots/{snapshot}/messages.pcap", "", nil, made.ID)
	var list items[snapshot]
	f.ask("GET C/snapshots", "?call="+url.QueryEscape(call), "", &list)
	if !slices.Contains(list.Items, made) {
		f.t.Errorf("snapshots: %v", list.Items)
	}
	f.do("DELETE C/snapshots/{snapshot}", "", nil, made.ID)
}

func (f *functions) recording(call string) {
	if a := f.get(f.path("/recording")); a.status != 403 || !strings.Contains(a.body, "admin_call_recording") {
		f.t.Errorf("without the experiment: %d %s", a.status, a.body)
	}
	f.do("PUT C/experiments/{key}", `{"enabled":true}`, nil, "admin_call_recording")
	f.do("PUT C/recording", `{"enabled":true,"reason":"for training"}`, nil)
	for kind, id := range map[string]string{"offices": "hq", "departments": "sales", "contact-centers": "help"} {
		var at struct {
			Effective bool   `json:"effective"`
			From      string `json:"from"`
		}
		f.do("PUT C/"+kind+"/{place}/recording", `{"enabled":true,"reason":"for training"}`, nil, id)
		f.do("GET C/"+kind+"/{place}/recording", "", &at, id)
		if !at.Effective || at.From == "company" {
			f.t.Errorf("%s: %+v", id, at)
		}
	}
	f.do("PUT C/users/{user}/recording", `{"enabled":false,"reason":"asked for it"}`, nil, "alice")
	var state struct {
		Effective bool   `json:"effective"`
		From      string `json:"from"`
	}
	f.do("GET C/recording", "", &state)
	if !state.Effective {
		f.t.Error("the company does not record")
	}
	f.do("GET C/users/{user}/recording", "", &state, "alice")
	if state.Effective || state.From != "user" {
		f.t.Errorf("alice: %+v", state)
	}
	var changes items[struct {
		By     struct{ Name string }
		Reason string
	}]
	f.do("GET C/recording-changes", "", &changes)
	if len(changes.Items) != 5 {
		f.t.Errorf("changes: %v", changes.Items)
	}
	f.do("GET C/users/{user}/recording-changes", "", &changes, "alice")
	if len(changes.Items) == 0 || changes.Items[0].By.Name != "operator" || changes.Items[0].Reason != "asked for it" {
		f.t.Errorf("changes for alice: %v", changes.Items)
	}
	var why struct {
		Enabled  bool   `json:"enabled"`
		Sentence string `json:"sentence"`
	}
	f.do("GET C/calls/{call}/recording", "", &why, call)
	if why.Enabled || why.Sentence == "" {
		f.t.Errorf("the call began before anything was set: %+v", why)
	}
}

func (f *functions) events(call string) {
	f.do("GET C/calls/{call}/events", "", &items[any]{}, call)
	f.do("GET C/events", "", &items[any]{})
	var rejections items[struct{ Reason string }]
	f.ask("GET C/rejections", "?reason=on_a_call&agent=alice", "", &rejections)
	if len(rejections.Items) == 0 {
		f.t.Error("no rejection of alice")
	}
	f.ask("GET C/rejections/trend", "?group_by=agent&interval=1h", "", nil)
	var reasons items[struct{ ID, Title, Explanation string }]
	f.do("GET C/rejections/reasons", "", &reasons)
	if len(reasons.Items) < 9 || slices.ContainsFunc(reasons.Items, func(r struct{ ID, Title, Explanation string }) bool { return r.Explanation == "" }) {
		f.t.Errorf("reasons: %v", reasons.Items)
	}

	const route = "C/subscriptions/{id}"
	var made struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
	}
	f.do("POST C/subscriptions", `{"url":"https://hooks.example.com/x","target":{"kind":"user","id":"alice"},"types":["rejected"]}`, &made)
	before := made.Secret
	f.do("POST "+route+"/rotate-secret", "", &made, made.ID)
	if !strings.HasPrefix(before, "whsec_") || !strings.HasPrefix(made.Secret, "whsec_") || made.Secret == before {
		f.t.Error("the secret is not a new one")
	}
	var list items[map[string]any]
	f.do("GET C/subscriptions", "", &list)
	var one map[string]any
	f.do("GET "+route, "", &one, made.ID)
	if len(list.Items) != 1 || one["secret"] != nil && one["secret"] != "" {
		f.t.Errorf("a secret is shown again: %v", one)
	}
	var delivery struct {
		ID string `json:"id"`
	}
	f.do("POST "+route+"/test", "", &delivery, made.ID)
	var deliveries items[struct {
		ID string `json:"id"`
	}]
	f.do("GET "+route+"/deliveries", "", &deliveries, made.ID)
	if len(deliveries.Items) != 1 {
		f.t.Errorf("deliveries: %v", deliveries.Items)
	}
	// No sender runs here that would find the receiver dead after a day.
	f.sql("UPDATE webhook_delivery SET state = 'dead'")
	f.do("POST "+route+"/deliveries/{delivery}/redeliver", "", nil, made.ID, delivery.ID)
	f.do("PATCH "+route, `{"enabled":false}`, nil, made.ID)
	f.do("DELETE "+route, "", nil, made.ID)
}
