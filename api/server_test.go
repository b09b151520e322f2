package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earshot/earshot/api"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
)

const seed = `
companies:
  - id: default
    name: Acme
    offices: [{id: hq, name: Headquarters}]
    departments: [{id: sales, name: Sales, office: hq, numbers: ["+18005550199"]}]
    contact_centers: [{id: help, name: Help line}]
    users:
      - {id: alice, name: Alice, email: alice@example.com, office: hq, departments: [sales], numbers: ["+14155550101", "+14155550102"], aors: ["alice@example.com"]}
      - {id: bob, name: "=Bob", state: invited, numbers: ["+442071838750"]}
    numbers: [{number: "+14155550130"}]
  - id: other
    name: Other
    users: [{id: carol, name: Carol}]
`

// site is the real handler over a real directory.
type site struct {
	t         *testing.T
	url       string
	directory *directory.Directory
	operator  string // key
	other     string // key of the company "other"
	log       *logBuffer
	registry  *prometheus.Registry
	closing   chan struct{}
	access    *directory.AccessLog
	dsn       string // of the directory, where the test chose it
}

// logBuffer is what the server logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newSite starts a server. Without a store its ClickHouse is one that is down.
func newSite(t *testing.T, store *query.Store) *site {
	t.Helper()
	return newSiteOn(t, store, directory.Config{})
}

// newSiteOn is newSite with its directory in the database of cfg.
func newSiteOn(t *testing.T, store *query.Store, cfg directory.Config) *site {
	t.Helper()
	if store == nil {
		none := clickhouse.DefaultConfig()
		none.Addr = []string{"127.0.0.1:1"} // nothing listens on tcpmux
		conn, err := clickhouse.Open(none)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		store = query.New(conn, query.Options{})
	}
	d, err := directory.Open(t.Context(), cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s, err := directory.ParseSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ApplySeed(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	out := &site{t: t, directory: d, dsn: cfg.DSN, log: &logBuffer{}, registry: prometheus.NewRegistry(), closing: make(chan struct{})}
	if out.operator, _, err = d.CreateKey(t.Context(), "operator", directory.RoleOperator, ""); err != nil {
		t.Fatal(err)
	}
	if out.other, _, err = d.CreateKey(t.Context(), "other", directory.RoleCompany, "other"); err != nil {
		t.Fatal(err)
	}
	if out.access, err = d.NewAccessLog(0, out.registry, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Config{PublicURL: "https://earshot.example.com/"}, api.Deps{
		Directory: d, SIPRealm: "pbx", Query: store, Metrics: out.registry, Closing: out.closing, Access: out.access,
		Ingest: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ingest "+r.URL.Path) }),
		IngestOpenAPI: []byte(`
paths:
  /ingest/v1/things:
    post: {operationId: post-things, requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}}
schemas:
  Thing: {type: object, properties: {type: {type: string, enum: [a, b]}}}
`),
		Portal: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("secret")
			}
			fmt.Fprint(w, "portal "+r.URL.Path)
		}),
		Log: slog.New(slog.NewTextHandler(out.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	out.url = server.URL
	return out
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d, content type %q: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if p.Status != a.status || p.Title == "" || p.Detail == "" || p.RequestID != a.header.Get("X-Request-Id") || p.RequestID == "" {
		t.Errorf("%d: incomplete problem: %s", a.status, a.body)
	}
	return p
}

func (a answer) names(t *testing.T, location string) {
	t.Helper()
	for _, e := range a.problem(t).Errors {
		if e.Location == location && e.Message != "" {
			return
		}
	}
	t.Errorf("%d does not name %s: %s", a.status, location, a.body)
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	if a.status/100 != 2 {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// do sends a request; header values come in pairs. It follows no redirects and
// takes off no compression.
func (s *site) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
}

func (s *site) as(key, method, path, body string, header ...string) answer {
	s.t.Helper()
	return s.do(method, path, body, append([]string{"Authorization", "Bearer " + key}, header...)...)
}

func (s *site) get(path string, header ...string) answer {
	s.t.Helper()
	return s.as(s.operator, "GET", path, "", header...)
}

const defaultCompany = "/api/v1/companies/default"

func TestTenancy(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{
		"/api/v1/companies/default", "/api/v1/companies/default/users", "/api/v1/companies/default/users/alice", "/api/v1/companies/other/users/alice",
		"/api/v1/companies/default/numbers/+14155550101", "/api/v1/companies/other/numbers/+14155550101", "/api/v1/companies/default/calls", "/api/v1/companies/nowhere",
	} {
		a := s.as(s.other, "GET", path, "")
		if a.status != 404 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		// Theirs and none look the same.
		if p := a.problem(t); p.Detail != "there is no such object" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := s.get("/api/v1/companies/nowhere/calls"); a.status != 404 {
		t.Errorf("operator, no such company: %d", a.status)
	}
	var l struct{ Items []struct{ ID string } }
	s.as(s.other, "GET", "/api/v1/companies", "").decode(t, &l)
	if len(l.Items) != 1 || l.Items[0].ID != "other" {
		t.Errorf("a company's key sees %v", l.Items)
	}
	s.get("/api/v1/companies").decode(t, &l)
	if len(l.Items) != 2 {
		t.Errorf("an operator sees %v", l.Items)
	}
	a := s.as(s.other, "POST", "/api/v1/companies", `{"id":"mine","name":"Mine"}`)
	if a.problem(t); a.status != 403 {
		t.Errorf("a company's key makes companies: %d", a.status)
	}
	var who struct{ Role, Company string }
	s.as(s.other, "GET", "/api/v1/whoami", "").decode(t, &who)
	if who.Role != "company" || who.Company != "other" {
		t.Errorf("%+v", who)
	}
}

// A key that stands in a web page is everybody's: it must open nothing.
func TestIngestKeysSeeNothing(t *testing.T) {
	s := newSite(t, nil)
	key, _, err := s.directory.CreateKey(t.Context(), "page", directory.RoleIngest, "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/whoami", "/api/v1/companies", defaultCompany, defaultCompany + "/users", defaultCompany + "/live"} {
		if a := s.as(key, "GET", path, ""); a.status != http.StatusForbidden {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	if a := s.as(key, "POST", defaultCompany+"/users", `{"name":"N"}`); a.status != http.StatusForbidden {
		t.Errorf("POST users: %d %s", a.status, a.body)
	}
	a := s.do("POST", "/api/v1/session", `{"key":"`+key+`"}`, "Sec-Fetch-Site", "same-origin")
	if a.status != http.StatusForbidden || a.header.Get("Set-Cookie") != "" {
		t.Errorf("signing in: %d %v %s", a.status, a.header, a.body)
	}
}

func TestSessions(t *testing.T) {
	s := newSite(t, nil)
	token, err := s.directory.CreateSigninToken(t.Context(), "link", directory.RoleOperator, "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	in := s.do("GET", "/signin?token="+token, "")
	if in.status != http.StatusSeeOther || in.header.Get("Location") != "/" {
		t.Fatalf("%d %v", in.status, in.header)
	}
	set := in.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Secure", "Path=/"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %s", set, want)
		}
	}
	cookie, _, _ := strings.Cut(set, ";")
	if a := s.do("GET", "/signin?token="+token, ""); a.status != 401 || a.header.Get("Set-Cookie") != "" {
		t.Errorf("a token used twice: %d", a.status)
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the token is in the log")
	}

	if a := s.do("GET", "/api/v1/whoami", "", "Cookie", cookie); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	host := strings.TrimPrefix(s.url, "http://")
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"same origin":           {[]string{"Origin", "http://" + host}, 201},
		"public origin":         {[]string{"Origin", "https://earshot.example.com"}, 201},
		"fetch metadata":        {[]string{"Sec-Fetch-Site", "same-origin"}, 201},
		"another site":          {[]string{"Origin", "https://evil.example"}, 403},
		"another site, fetched": {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://" + host}, 403},
		"sandboxed":             {[]string{"Origin", "null"}, 403},
		"no origin":             {nil, 403},
	} {
		a := s.do("POST", defaultCompany+"/users", `{"name":"N"}`, append([]string{"Cookie", cookie}, c.header...)...)
		if a.status != c.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}

	out := s.do("DELETE", "/api/v1/session", "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	if out.status != 204 || !strings.Contains(out.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("sign out: %d %v", out.status, out.header)
	}
	if a := s.do("GET", "/api/v1/whoami", "", "Cookie", cookie); a.status != 401 {
		t.Errorf("after signing out: %d", a.status)
	}

	byKey := s.do("POST", "/api/v1/session", `{"key":"`+s.other+`"}`, "Sec-Fetch-Site", "same-origin")
	cookie, _, _ = strings.Cut(byKey.header.Get("Set-Cookie"), ";")
	if a := s.do("GET", "/api/v1/companies/other", "", "Cookie", cookie); byKey.status != 200 || a.status != 200 {
		t.Errorf("sign in by key: %d, then %d", byKey.status, a.status)
	}
	if a := s.do("POST", "/api/v1/session", `{"key":"nope"}`, "Sec-Fetch-Site", "same-origin"); a.status != 401 {
		t.Errorf("sign in by a wrong key: %d", a.status)
	}
	if a := s.do("POST", "/api/v1/session", `{"key":"`+s.other+`"}`, "Origin", "https://evil.example"); a.status != 403 {
		t.Errorf("sign in from another site: %d", a.status)
	}
}

// Every route of the OpenAPI document answers every kind of bad input with a
// problem that says where it was and does not repeat it.
func TestBadInput(t *testing.T) {
	s := newSite(t, nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct {
					Type, Format, Pattern string
					Enum                  []any
					MaxLength             *int
				}
			}
			RequestBody *struct {
				Content map[string]any
			}
			Security *[]map[string][]string
		}
	}
	s.do("GET", "/api/v1/openapi.json", "").decode(t, &doc)
	const secret = "+14155550199x"
	fill := strings.NewReplacer("{company}", "default", "{user}", "alice", "{number}", "+14155550101", "{call}", "c1", "{device}", "desk")
	routes := 0
	for path, operations := range doc.Paths {
		if strings.HasPrefix(path, "/ingest/") {
			continue // another package's, here a stand-in
		}
		for method, op := range operations {
			routes++
			method = strings.ToUpper(method)
			at := fill.Replace(path)
			name := method + " " + path
			check := func(what string, a answer, statuses ...int) answer {
				t.Helper()
				a.problem(t)
				if !slices.Contains(statuses, a.status) {
					t.Errorf("%s, %s: %d %s", name, what, a.status, a.body)
				}
				if strings.Contains(a.body, "4155550199") {
					t.Errorf("%s, %s: the value is repeated: %s", name, what, a.body)
				}
				return a
			}
			body := ""
			if op.RequestBody != nil {
				body = "{}"
			}
			public := op.Security != nil && len(*op.Security) == 0
			if !public {
				check("no key", s.do(method, at, body), 401)
				check("wrong key", s.do(method, at, body, "Authorization", "Bearer "+secret), 401)
				check("other scheme", s.do(method, at, body, "Authorization", "Basic eDp5"), 401)
			}
			if strings.Contains(path, "{company}") {
				check("no such company", s.as(s.operator, method, strings.Replace(at, "/default", "/nowhere", 1), body), 404)
			}
			check("unknown parameter", s.as(s.operator, method, at+"?%2B14155550199x=1", body), 422)
			check("malformed query", s.as(s.operator, method, at+"?limit=%zz", body), 422)
			check("Accept", s.as(s.operator, method, at, body, "Accept", "image/png"), 406)
			for _, p := range op.Parameters {
				if p.In != "query" {
					continue
				}
				bad := "%2B14155550199x"
				switch {
				case p.Schema.Type != "string" || p.Schema.Format != "" || len(p.Schema.Enum) > 0 || p.Schema.Pattern != "":
				case p.Schema.MaxLength != nil:
					bad += strings.Repeat("x", *p.Schema.MaxLength)
				default:
					t.Errorf("%s takes any %s of any length", name, p.Name)
					continue
				}
				check(p.Name, s.as(s.operator, method, at+"?"+p.Name+"="+bad, body), 422).names(t, "query."+p.Name)
				check(p.Name+" twice", s.as(s.operator, method, at+"?"+p.Name+"=1&"+p.Name+"=1", body), 422).names(t, "query."+p.Name)
			}
			if op.RequestBody != nil && op.RequestBody.Content["application/json"] != nil {
				header := []string{"Sec-Fetch-Site", "same-origin"}
				check("malformed body", s.as(s.operator, method, at, `{"`+secret, header...), 400, 422)
				check("body of another type", s.as(s.operator, method, at, `["`+secret+`"]`, header...), 422)
				check("unknown member", s.as(s.operator, method, at, `{"nosuch":"`+secret+`"}`, header...), 422).names(t, "body.nosuch")
				check("content type", s.as(s.operator, method, at, `a,b`, append([]string{"Content-Type", "text/csv"}, header...)...), 400, 415, 422)
				// A little over the limit: the server reads that little before it closes.
				check("huge body", s.as(s.operator, method, at, `{"name":"`+strings.Repeat("4155550199", 110_000)+`"}`, header...), 413)
			}
		}
	}
	if routes < 25 {
		t.Errorf("only %d routes", routes)
	}
	if strings.Contains(s.log.String(), "4155550199") {
		t.Error("a value from a request is in the log")
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/api", "/api/v1", "/api/v1/nosuch", "/api/v2/companies", defaultCompany + "/users/alice/nosuch", "/ingest/v2/x", defaultCompany + "/users/"} {
		if a := s.get(path); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		} else {
			a.problem(t)
		}
	}
	a := s.as(s.operator, "PUT", defaultCompany+"/users", "{}")
	if a.problem(t); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "GET") {
		t.Errorf("PUT: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := s.get(defaultCompany + "/calls?verdct=bad"); !strings.Contains(a.problem(t).Detail, `"verdict"`) || !strings.Contains(a.body, "verdct") {
		t.Errorf("the nearest name is not said: %s", a.body)
	}
	for path, want := range map[string]string{"/": "portal /", "/c/default/calls/x": "portal /c/default/calls/x", "/apidays": "portal /apidays", "/ingest/v1/events": "ingest /ingest/v1/events"} {
		if a := s.do("GET", path, ""); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
	if a := s.do("POST", "/ingest/v1/webrtc", "{}"); a.body != "ingest /ingest/v1/webrtc" {
		t.Errorf("ingest: %d %s", a.status, a.body)
	}
}

func TestPanic(t *testing.T) {
	s := newSite(t, nil)
	a := s.do("GET", "/panic", "")
	if p := a.problem(t); a.status != 500 || strings.Contains(a.body, "secret") || !strings.Contains(s.log.String(), p.RequestID) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !strings.Contains(s.log.String(), "secret") {
		t.Error("the panic is not in the log")
	}
}

func TestLogsAndMetricsHoldNoNumbers(t *testing.T) {
	s := newSite(t, nil)
	s.get(defaultCompany + "/numbers/+14155550101")
	s.get(defaultCompany + "/numbers?q=4155550101")
	s.get(defaultCompany + "/calls?number=%2B14155550101")
	s.as(s.operator, "POST", defaultCompany+"/numbers/+442071838750/transfer", `{"to":{"kind":"user","id":"alice"}}`)
	log := s.log.String()
	if strings.Contains(log, "4155550101") || strings.Contains(log, "2071838750") {
		t.Error("a number is in the log")
	}
	if !strings.Contains(log, "route=/api/v1/companies/:company/numbers/:number ") {
		t.Errorf("the route is not in the log: %s", log)
	}
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprint(families), "4155550101") {
		t.Error("a number is in the metrics")
	}
	if !strings.Contains(fmt.Sprint(families), "earshot_http_requests_total") {
		t.Error("requests are not counted")
	}
}

// Without ClickHouse accounts can still be worked on; the rest says so.
func TestWithoutClickHouse(t *testing.T) {
	s := newSite(t, nil)
	var c struct {
		Counts map[string]*int
	}
	s.get(defaultCompany).decode(t, &c)
	if n := c.Counts["users"]; n == nil || *n != 2 || c.Counts["devices"] != nil {
		t.Errorf("counts: %v", c.Counts)
	}
	if a := s.get(defaultCompany + "/users"); a.status != 200 {
		t.Errorf("users: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/calls", "/calls/x", "/calls/x/samples", "/calls/x/messages", "/calls/x/messages.pcap", "/calls/x/report", "/calls/x/live", "/live",
		"/registrations", "/registrations?history=true", "/registrations/health", "/devices/d1/timeline", "/rejections", "/rejections/trend", "/events", "/calls/x/events", "/ratings", "/quality/trend", "/users/alice/devices", "/users/alice/calls", "/users/alice/registrations"} {
		a := s.get(defaultCompany + path)
		if a.problem(t); a.status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "127.0.0.1") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestUsers(t *testing.T) {
	s := newSite(t, nil)
	created := s.as(s.operator, "POST", defaultCompany+"/users", `{"id":"dora","name":"Dora","email":"dora@example.com","office":"hq","numbers":["(415) 555-0130"],"aors":["sip:dora@example.com"],"departments":["sales"]}`)
	var u struct {
		ID, Name, Email, State, Office, CreatedAt string
		Numbers, AORs, Departments                []string
		AppVersions                               []string `json:"app_versions"`
		Created                                   string   `json:"created_at"`
		Links                                     map[string]string
	}
	created.decode(t, &u)
	if created.status != 201 || u.Office != "hq" || !slices.Equal(u.Numbers, []string{"+14155550130"}) || !slices.Equal(u.AORs, []string{"dora@example.com"}) || u.State != "active" {
		t.Errorf("%d %s", created.status, created.body)
	}
	if !strings.Contains(created.body, `"app_versions":[]`) || u.Links["portal"] != "https://earshot.example.com/c/default/users/dora" {
		t.Errorf("%s", created.body)
	}
	if parsed, err := time.Parse("2006-01-02T15:04:05.000Z", u.Created); err != nil || time.Since(parsed) > time.Hour {
		t.Errorf("created_at %q: %v", u.Created, err)
	}
	patched := s.as(s.operator, "PATCH", defaultCompany+"/users/dora", `{"name":"Dora D.","state":"pending"}`)
	patched.decode(t, &u)
	if u.Name != "Dora D." || u.State != "pending" || u.Email != "dora@example.com" {
		t.Errorf("%s", patched.body)
	}
	for body, want := range map[string]struct {
		status   int
		location string
	}{
		`{"name":"X","id":"alice"}`:                     {409, "body.id"},
		`{"name":"X","email":"ALICE@example.com"}`:      {409, "body.email"},
		`{"name":"X","numbers":["+14155550101"]}`:       {409, "body.numbers[0]"},
		`{"name":"X","numbers":["911"]}`:                {422, "body.numbers[0]"},
		`{"name":"X","office":"mars"}`:                  {422, "body.office"},
		`{"name":"X","state":"gone"}`:                   {422, "body.state"},
		`{"email":"x@example.com"}`:                     {422, "body"},
		`{"name":"X","aors":["sip:alice@example.com"]}`: {409, "body.aors[0]"},
	} {
		a := s.as(s.operator, "POST", defaultCompany+"/users", body)
		if a.status != want.status {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
		a.names(t, want.location)
	}
	if a := s.as(s.operator, "DELETE", defaultCompany+"/users/dora", ""); a.status != 204 || a.body != "" {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	var l struct {
		Items []struct{ ID, State string }
		Next  *string `json:"next_cursor"`
	}
	s.get(defaultCompany+"/users?state=deleted").decode(t, &l)
	if len(l.Items) != 1 || l.Items[0].ID != "dora" {
		t.Errorf("deleted: %+v", l)
	}
	var seen []string
	cursor := ""
	for range 5 {
		a := s.get(defaultCompany + "/users?limit=1" + cursor)
		a.decode(t, &l)
		seen = append(seen, l.Items[0].ID)
		if l.Next == nil {
			break
		}
		if a.header.Get("X-Next-Cursor") != *l.Next {
			t.Errorf("header %q", a.header.Get("X-Next-Cursor"))
		}
		cursor = "&cursor=" + *l.Next
	}
	if !slices.Equal(seen, []string{"bob", "alice", "dora"}) { // =Bob, Alice, Dora D.
		t.Errorf("pages: %v", seen)
	}
	s.get(defaultCompany+"/users?limit=1001").names(t, "query.limit")
	s.get(defaultCompany+"/users?limit=0").names(t, "query.limit")
	s.get(defaultCompany+"/users?cursor=abc").names(t, "query.cursor")
	s.get(defaultCompany+"/users?q=%2B1415555").decode(t, &l)
	if len(l.Items) != 1 || l.Items[0].ID != "alice" {
		t.Errorf("by number: %+v", l)
	}
	// An empty list is a list.
	if a := s.get(defaultCompany + "/rooms"); a.body != `{"items":[],"next_cursor":null}`+"\n" {
		t.Errorf("rooms: %s", a.body)
	}
}

func TestCSV(t *testing.T) {
	s := newSite(t, nil)
	a := s.get(defaultCompany+"/users", "Accept", "text/csv")
	if a.status != 200 || a.header.Get("Content-Type") != "text/csv" || a.header.Get("Vary") == "" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	if len(rows) != 3 || rows[1][column("name")] != "'=Bob" || rows[2][column("numbers")] != "+14155550101;+14155550102" {
		t.Errorf("%q", rows)
	}
	// What is no list has no rows; errors are JSON always.
	if a := s.get(defaultCompany, "Accept", "text/csv"); a.status != 406 {
		t.Errorf("%d", a.status)
	}
	s.get(defaultCompany+"/users?limit=0", "Accept", "text/csv").names(t, "query.limit")
	s.get(defaultCompany+"/users?state=gone", "Accept", "text/csv").names(t, "query.state")
	if a := s.get("/api/v1/companies/nowhere/users", "Accept", "text/csv"); a.status != 404 {
		t.Errorf("%d", a.status)
	} else {
		a.problem(t)
	}
}

func TestNumbers(t *testing.T) {
	s := newSite(t, nil)
	var n struct {
		Number, National, Type, Status, Prefix, Region string
		AreaCode                                       string `json:"area_code"`
		Owner                                          *struct{ Kind, ID, Name string }
	}
	for _, written := range []string{"+14155550101", "%2B14155550101", "14155550101", "(415)%20555-0101"} {
		s.get(defaultCompany+"/numbers/"+written).decode(t, &n)
		if n.Number != "+14155550101" || n.Owner == nil || n.Owner.Name != "Alice" || n.AreaCode != "415" || n.Prefix != "555" || n.Status != "user" {
			t.Errorf("%s: %+v", written, n)
		}
	}
	var l struct{ Items []struct{ Number string } }
	for q, want := range map[string]int{"q=415": 3, "q=+14155550102": 1, "q=%2B14155550102": 1, "q=0199": 1, "type=toll_free": 1, "status=available": 1, "status=user&q=415": 2} {
		if s.get(defaultCompany+"/numbers?"+q).decode(t, &l); len(l.Items) != want {
			t.Errorf("%s: %+v", q, l)
		}
	}
	a := s.as(s.operator, "POST", defaultCompany+"/numbers", `{"number":"+1 888 555 0123"}`)
	a.decode(t, &n)
	if a.status != 201 || n.Type != "toll_free" || n.Status != "available" || n.Owner != nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.as(s.operator, "POST", defaultCompany+"/numbers", `{"number":"+1 888 555 0123"}`).names(t, "body.number")
	s.as(s.operator, "POST", defaultCompany+"/numbers", `{"number":"911"}`).names(t, "body.number")
	moved := s.as(s.operator, "POST", defaultCompany+"/numbers/+14155550102/transfer", `{"to":{"kind":"department","id":"sales"}}`)
	moved.decode(t, &n)
	if n.Status != "department" || n.Owner.ID != "sales" {
		t.Errorf("%s", moved.body)
	}
	if a := s.as(s.operator, "POST", defaultCompany+"/numbers/+14155550101/transfer", `{"to":{"kind":"department","id":"sales"}}`); a.status != 409 {
		t.Errorf("the last number was taken: %d %s", a.status, a.body)
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/", "/api/docs", "/api/v1/openapi.json"} {
		h := s.do("GET", path, "").header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s %q", path, name, h.Get(name))
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src") || strings.Contains(csp, "http") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: CSP %q", path, csp)
		}
	}
	a := s.do("GET", "/api/v1/openapi.json", "", "Accept-Encoding", "gzip")
	if a.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v", a.header)
	}
	z, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ OpenAPI string }
	if err := json.NewDecoder(z).Decode(&doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("%v %v", doc, err)
	}
	if a := s.get("/api/v1/whoami", "X-Request-Id", "from-the-proxy-1"); a.header.Get("X-Request-Id") != "from-the-proxy-1" {
		t.Errorf("request id %q", a.header.Get("X-Request-Id"))
	}
	if a := s.get("/api/v1/whoami", "X-Request-Id", "a b\"c"); strings.ContainsAny(a.header.Get("X-Request-Id"), " \"") {
		t.Errorf("request id %q", a.header.Get("X-Request-Id"))
	}
}

func TestDocs(t *testing.T) {
	s := newSite(t, nil)
	a := s.do("GET", "/api/docs", "")
	if a.status != 200 || !strings.Contains(a.body, "/api/v1/companies/{company}/calls/{call}/report") || !strings.Contains(a.body, `href="/api/docs/style.css"`) {
		t.Fatalf("%d %.300s", a.status, a.body)
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, `src="http`) || strings.Contains(a.body, `href="http`) {
		t.Error("the page needs something from elsewhere")
	}
	if a := s.do("GET", "/api/docs/style.css", ""); a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/css") {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, u := range []string{"earshot.example.com", "ftp://x", "http://", "%"} {
		if _, err := api.New(api.Config{PublicURL: u}, api.Deps{}); err == nil {
			t.Errorf("%q was taken", u)
		}
	}
}

// The document tells of the ingest routes too, as the ingest role describes them.
func TestOpenAPIHasTheIngestRoutes(t *testing.T) {
	s := newSite(t, nil)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			RequestBody struct {
				Content map[string]struct {
					Schema map[string]string `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum []string `json:"enum"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	s.do("GET", "/api/v1/openapi.json", "").decode(t, &doc)
	post := doc.Paths["/ingest/v1/things"]["post"]
	if post.OperationID != "post-things" || post.RequestBody.Content["application/json"].Schema["$ref"] != "#/components/schemas/Thing" {
		t.Errorf("%+v", post)
	}
	if !slices.Equal(doc.Components.Schemas["Thing"].Properties["type"].Enum, []string{"a", "b"}) {
		t.Errorf("%+v", doc.Components.Schemas["Thing"])
	}
	if page := s.do("GET", "/api/docs", ""); !strings.Contains(page.body, "/ingest/v1/things") {
		t.Error("the rendered document does not have the route")
	}
	if _, err := api.New(api.Config{}, api.Deps{IngestOpenAPI: []byte("paths: [")}); err == nil {
		t.Error("a description that is none was taken")
	}
}
