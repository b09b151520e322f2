package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

type recordingAnswer struct {
	Enabled     *bool
	Effective   bool
	From        string
	FromID      string     `json:"from_id"`
	FromName    string     `json:"from_name"`
	SetBy       *string    `json:"set_by"`
	SetAt       *time.Time `json:"set_at"`
	Reason      *string
	Memberships *struct {
		Office         string
		Departments    []string
		ContactCenters []string `json:"contact_centers"`
	}
}

type recordingItem struct {
	ID        string
	At        time.Time
	Level     string
	LevelID   string `json:"level_id"`
	LevelName string `json:"level_name"`
	Old, New  *bool
	By        struct{ Name string }
	Reason    string
}

func TestRecordingOverHTTP(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		gated := map[string]string{
			"GET /recording": "", "PUT /recording": `{"enabled":true,"reason":"x"}`, "GET /users/alice/recording": "", "PUT /users/alice/recording": `{"enabled":true,"reason":"x"}`,
			"GET /offices/hq/recording": "", "PUT /departments/sales/recording": `{"enabled":true,"reason":"x"}`, "GET /contact-centers/help/recording": "",
			"GET /recording-changes": "", "GET /users/alice/recording-changes": "", "GET /calls/x/recording": "",
		}
		for route, body := range gated {
			method, path, _ := strings.Cut(route, " ")
			a := s.as(s.operator, method, defaultCompany+path, body)
			if p := a.problem(t); a.status != 403 || !strings.Contains(p.Detail, "admin_call_recording") {
				t.Errorf("%s without the experiment: %d %s", route, a.status, a.body)
			}
		}
		s.as(s.operator, "PUT", defaultCompany+"/experiments/admin_call_recording", `{"enabled":true}`)
		put := func(path, body string) (r recordingAnswer) {
			t.Helper()
			s.as(s.operator, "PUT", defaultCompany+path+"/recording", body).decode(t, &r)
			return r
		}
		of := func(path string) (r recordingAnswer) {
			t.Helper()
			s.get(defaultCompany+path).decode(t, &r)
			return r
		}
		if r := of("/users/alice/recording"); r.Enabled != nil || r.Effective || r.From != "default" || r.SetBy != nil || r.SetAt != nil || r.Reason != nil || r.Memberships.Office != "hq" || len(r.Memberships.Departments) != 1 || r.Memberships.ContactCenters == nil {
			t.Errorf("new: %+v %+v", r, r.Memberships)
		}
		if r := put("/offices/hq", `{"enabled":true,"reason":"training"}`); r.Enabled == nil || !*r.Enabled || !r.Effective || r.From != "office" || r.FromID != "hq" || r.FromName != "Headquarters" || *r.SetBy != "operator" || *r.Reason != "training" || r.SetAt == nil {
			t.Errorf("of the office: %+v", r)
		}
		between := time.Now()
		if r := put("/users/alice", `{"enabled":false,"reason":"she asked"}`); *r.Enabled || r.Effective || r.From != "user" || r.FromName != "Alice" {
			t.Errorf("of her: %+v", r)
		}
		if r := of("/users/alice/recording?at=" + url.QueryEscape(between.UTC().Format(time.RFC3339Nano))); !r.Effective || r.From != "office" || r.Enabled != nil {
			t.Errorf("of her, before: %+v", r)
		}
		if r := put("/users/alice", `{"enabled":null,"reason":"no more"}`); r.Enabled != nil || !r.Effective || r.From != "office" {
			t.Errorf("taken back: %+v", r)
		}
		var l struct{ Items []recordingItem }
		s.get(defaultCompany+"/users/alice/recording-changes").decode(t, &l)
		var log []string
		text := func(b *bool) string {
			if b == nil {
				return "-"
			}
			return fmt.Sprint(*b)
		}
		for _, c := range l.Items {
			log = append(log, fmt.Sprint(c.Level, " ", c.LevelID, " ", c.LevelName, " ", text(c.Old), "→", text(c.New), " ", c.By.Name, ": ", c.Reason))
		}
		want := "user alice Alice false→- operator: no more\nuser alice Alice -→false operator: she asked\noffice hq Headquarters -→true operator: training"
		if strings.Join(log, "\n") != want {
			t.Errorf("the log:\n%s", strings.Join(log, "\n"))
		}
		s.get(defaultCompany+"/recording-changes?limit=2").decode(t, &l)
		if len(l.Items) != 2 {
			t.Errorf("the log of the company: %+v", l)
		}
		if notes := s.list(s.operator, defaultCompany+"/users/alice/notes?limit=2"); notes[0].Action != "recording.clear" || notes[1].Text != "she asked" {
			t.Errorf("notes: %+v", notes)
		}
		for body, field := range map[string]string{`{"enabled":true}`: "body", `{"enabled":true,"reason":" "}`: "body.reason", `{"reason":"x"}`: "body"} {
			if a := s.as(s.operator, "PUT", defaultCompany+"/recording", body); a.status != 422 {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			} else {
				a.names(t, field)
			}
		}
		for _, path := range []string{"/users/nobody", "/offices/sales", "/rooms/hq"} {
			if a := s.get(defaultCompany + path + "/recording"); a.status != 404 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
		if a := s.as(s.other, "GET", defaultCompany+"/recording", ""); a.status != 404 {
			t.Errorf("another company's: %d", a.status)
		}
	})
}

// Whether a call was recorded is answered by what was set when it began.
func TestWhyACallWasNotRecordedOverHTTP(t *testing.T) {
	p := withEngine(t)
	onBothSites(t, p.store, func(s *site) {
		t := s.t
		s.as(s.operator, "PUT", defaultCompany+"/experiments/admin_call_recording", `{"enabled":true}`)
		set := func(path, body string) {
			t.Helper()
			if a := s.as(s.operator, "PUT", defaultCompany+path+"/recording", body); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		set("/offices/hq", `{"enabled":false,"reason":"works council"}`)
		id := "recorded-" + strings.ReplaceAll(s.t.Name(), "/", "-")
		begin := time.Now()
		changed := &telemetry.Outcome{Company: "default", CallId: id, Seq: 1000, AtUs: begin.UnixMicro() + 5e6, ReceivedUs: begin.UnixMicro(), Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{
			Id: id, Type: "recording_changed", AtUs: begin.UnixMicro() + 5e6, RecordingEnabled: proto.Bool(true), Source: "event"}}}
		p.put(t, func() bool {
			a := s.get(defaultCompany + "/calls/" + id + "/events")
			return a.status == 200 && strings.Contains(a.body, "recording_changed") && s.get(defaultCompany+"/calls/"+id).status == 200
		}, append(oneWayCall("default", id, begin), changed)...)
		set("/users/alice", `{"enabled":true,"reason":"quality"}`)

		var r struct {
			At           time.Time
			Enabled      bool
			From         string
			User         *string
			Sentence     string
			Setting      *recordingItem
			ChangesSince []recordingItem `json:"changes_since"`
			Events       []struct{ Enabled bool }
		}
		s.get(defaultCompany+"/calls/"+id+"/recording").decode(t, &r)
		if r.Enabled || r.From != "office" || *r.User != "alice" || !r.At.Equal(begin.Truncate(time.Millisecond)) || r.Setting.Reason != "works council" || len(r.ChangesSince) != 1 || len(r.Events) != 1 || !r.Events[0].Enabled {
			t.Errorf("%+v", r)
		}
		for _, part := range []string{
			"Recording was off for Alice when the call began at " + begin.UTC().Format("2006-01-02 15:04:05 UTC") + ": operator turned it off for the office Headquarters on ",
			` ("works council"); it was turned on for Alice by operator on `, ", during the call. The call itself told that its recording was turned on at ",
		} {
			if !strings.Contains(r.Sentence, part) {
				t.Errorf("%q lacks %q", r.Sentence, part)
			}
		}
		if a := s.get(defaultCompany + "/calls/no-such-call/recording"); a.status != 404 {
			t.Errorf("a call that is not there: %d", a.status)
		}
	})
}
