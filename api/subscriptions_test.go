package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

type shownSubscription struct {
	ID, URL, Description, State, Secret string
	Target                              struct {
		Kind string
		ID   *string
	}
	Types               []string
	Enabled             bool
	DisabledReason      string  `json:"disabled_reason"`
	LastSuccessAt       *string `json:"last_success_at"`
	FailingSince        *string `json:"failing_since"`
	PreviousSecretUntil *string `json:"previous_secret_until"`
	CreatedAt           string  `json:"created_at"`
	Pending             int
}

type shownDelivery struct {
	ID, Type, State string
	EventID         string `json:"event_id"`
	Call            *string
	Attempts        []struct {
		At     string
		Status *int
		Error  string
		TookMS int `json:"took_ms"`
	}
	NextAttemptAt *string `json:"next_attempt_at"`
	DeliveredAt   *string `json:"delivered_at"`
}

func TestSubscriptions(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		const path = defaultCompany + "/subscriptions"
		t := s.t
		var made, got shownSubscription
		a := s.as(s.operator, "POST", path, `{"url":"https://example.com/hook?token=hush","types":["rejected","ended"],"target":{"kind":"department","id":"sales"},"description":"staffing"}`)
		a.decode(t, &made)
		if a.status != 201 || !strings.HasPrefix(made.Secret, "whsec_") || made.State != "ok" || !made.Enabled || made.Target.Kind != "department" || *made.Target.ID != "sales" ||
			strings.Join(made.Types, " ") != "ended rejected" || made.LastSuccessAt != nil || made.FailingSince != nil || made.PreviousSecretUntil != nil || made.CreatedAt == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		one := path + "/" + made.ID
		a = s.get(one)
		a.decode(t, &got)
		if got.ID != made.ID || strings.Contains(a.body, "whsec_") || strings.Contains(a.body, `"secret"`) {
			t.Errorf("%s", a.body)
		}
		a = s.as(s.operator, "PATCH", one, `{"enabled":false,"types":["*"]}`)
		a.decode(t, &got)
		if got.State != "disabled" || got.DisabledReason == "" || got.Types[0] != "*" || got.URL != made.URL {
			t.Errorf("%s", a.body)
		}
		if a := s.as(s.operator, "POST", one+"/test", ""); a.status != 409 {
			t.Errorf("a disabled one is tested: %d %s", a.status, a.body)
		}
		s.as(s.operator, "PATCH", one, `{"enabled":true}`).decode(t, &got)
		a = s.as(s.operator, "POST", one+"/rotate-secret", "")
		a.decode(t, &got)
		if got.Secret == made.Secret || !strings.HasPrefix(got.Secret, "whsec_") || got.PreviousSecretUntil == nil {
			t.Errorf("%s", a.body)
		}
		got.PreviousSecretUntil = nil
		s.as(s.operator, "POST", one+"/rotate-secret", `{"overlap_hours":0}`).decode(t, &got)
		if got.PreviousSecretUntil != nil {
			t.Errorf("%+v", got)
		}
		s.as(s.operator, "POST", one+"/rotate-secret", `{"overlap_hours":1000}`).names(t, "body.overlap_hours")

		var list struct{ Items []shownSubscription }
		s.as(s.operator, "POST", path, `{"url":"https://8.8.8.8/","types":["*"]}`).decode(t, &got)
		if got.Target.Kind != "company" || got.Target.ID != nil {
			t.Errorf("%+v", got)
		}
		a = s.get(path)
		a.decode(t, &list)
		if len(list.Items) != 2 || list.Items[0].ID != made.ID || strings.Contains(a.body, "whsec_") {
			t.Errorf("%s", a.body)
		}

		// A test is a delivery like others.
		var ping, again shownDelivery
		a = s.as(s.operator, "POST", one+"/test", "")
		a.decode(t, &ping)
		if a.status != 202 || ping.Type != "ping" || ping.State != "pending" || ping.Call != nil || ping.NextAttemptAt == nil || len(ping.Attempts) != 0 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.as(s.operator, "POST", one+"/deliveries/"+ping.ID+"/redeliver", ""); a.status != 409 {
			t.Errorf("a pending one is sent again: %d %s", a.status, a.body)
		}
		s.deliver(made.ID, directory.DeliveryDead)
		var deliveries struct{ Items []shownDelivery }
		a = s.get(one + "/deliveries?state=dead")
		a.decode(t, &deliveries)
		if len(deliveries.Items) != 1 || deliveries.Items[0].ID != ping.ID || len(deliveries.Items[0].Attempts) != 1 || deliveries.Items[0].Attempts[0].Status != nil || deliveries.Items[0].Attempts[0].Error != "connection refused" ||
			deliveries.Items[0].NextAttemptAt != nil || deliveries.Items[0].DeliveredAt != nil {
			t.Errorf("%s", a.body)
		}
		s.get(one).decode(t, &got)
		if got.State != "failing" || got.FailingSince == nil {
			t.Errorf("%+v", got)
		}
		a = s.as(s.operator, "POST", one+"/deliveries/"+ping.ID+"/redeliver", "")
		a.decode(t, &again)
		if a.status != 202 || again.ID != ping.ID || again.EventID != ping.EventID || again.State != "pending" {
			t.Errorf("%d %s", a.status, a.body)
		}
		s.deliver(made.ID, directory.DeliveryDelivered)
		a = s.get(one + "/deliveries?state=delivered")
		a.decode(t, &deliveries)
		if len(deliveries.Items) != 1 || len(deliveries.Items[0].Attempts) != 2 || *deliveries.Items[0].Attempts[1].Status != 204 || deliveries.Items[0].DeliveredAt == nil {
			t.Errorf("%s", a.body)
		}

		for _, c := range []struct{ method, path string }{
			{"GET", one}, {"PATCH", one}, {"DELETE", one}, {"POST", one + "/test"}, {"POST", one + "/rotate-secret"}, {"GET", one + "/deliveries"}, {"POST", one + "/deliveries/1/redeliver"}, {"GET", path}, {"POST", path},
		} {
			body := ""
			if c.method == "PATCH" {
				body = "{}"
			}
			if a := s.as(s.other, c.method, c.path, body); a.status != 404 {
				t.Errorf("another company, %s: %d %s", c.method, a.status, a.body)
			}
			if elsewhere := strings.Replace(c.path, "/default/", "/other/", 1); c.path != path {
				if a := s.as(s.operator, c.method, elsewhere, body); a.status != 404 {
					t.Errorf("through another company, %s %s: %d %s", c.method, elsewhere, a.status, a.body)
				}
			}
		}
		for _, id := range []string{"99", "x", "0x1", "99999999999999999999"} {
			if a := s.as(s.operator, "POST", one+"/deliveries/"+id+"/redeliver", ""); a.status != 404 {
				t.Errorf("%s: %d %s", id, a.status, a.body)
			}
		}
		if a := s.as(s.operator, "DELETE", one, ""); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.get(one); a.status != 404 {
			t.Errorf("it is still there: %d", a.status)
		}
		if log := s.log.String(); strings.Contains(log, "hush") || strings.Contains(log, "whsec_") {
			t.Error("a secret is in the log")
		}
	})
}

// deliver records that what is due of a subscription was delivered or not.
func (s *site) deliver(id, state string) {
	s.t.Helper()
	if mine, err := s.directory.StartSending(s.t.Context(), "test", time.Hour); err != nil || !mine {
		s.t.Fatal(mine, err)
	}
	e, err := s.directory.Endpoint(s.t.Context(), id, 10)
	if err != nil || len(e.Due) != 1 {
		s.t.Fatalf("%d are due: %v", len(e.Due), err)
	}
	r := directory.Result{Delivery: e.Due[0], State: state, Forget: time.Now().Add(time.Hour), Changed: e.Changed, Attempt: directory.Attempt{AtMicros: time.Now().UnixMicro(), Status: 204, TookMS: 3}}
	if state == directory.DeliveryDead {
		r.Status, r.Error = 0, "connection refused"
	}
	if err := s.directory.FinishAttempts(s.t.Context(), "test", time.Hour, []directory.Result{r}); err != nil {
		s.t.Fatal(err)
	}
}

func TestSubscriptionsThatAreWrong(t *testing.T) {
	s := newSite(t, nil)
	const path = defaultCompany + "/subscriptions"
	for body, location := range map[string]string{
		`{"url":"example.com","types":["*"]}`:                                                           "body.url",
		`{"url":"ftp://example.com","types":["*"]}`:                                                     "body.url",
		`{"url":"https://10.1.2.3/hook","types":["*"]}`:                                                 "body.url",
		`{"url":"http://localhost:8080/","types":["*"]}`:                                                "body.url",
		`{"url":"http://[::ffff:169.254.169.254]/","types":["*"]}`:                                      "body.url",
		`{"url":"http://2130706433/","types":["*"]}`:                                                    "body.url",
		`{"url":"https://u:p@example.com/","types":["*"]}`:                                              "body.url",
		`{"url":"https://example.com/","types":["*","nonsense"]}`:                                       "body.types[1]",
		`{"url":"https://example.com/","types":[]}`:                                                     "body.types",
		`{"url":"https://example.com/"}`:                                                                "body",
		`{"url":"https://example.com/","types":["*"],"target":{"kind":"room","id":"x"}}`:                "body.target.kind",
		`{"url":"https://example.com/","types":["*"],"target":{"kind":"user","id":"nobody"}}`:           "body.target.id",
		`{"url":"https://example.com/","types":["*"],"target":{"kind":"company","id":"default"}}`:       "body.target.id",
		`{"url":"https://example.com/","types":["*"],"target":{"kind":"contact_center","id":"absent"}}`: "body.target.id",
	} {
		a := s.as(s.operator, "POST", path, body)
		if a.status != 422 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
			continue
		}
		a.names(t, location)
	}
	a := s.as(s.operator, "POST", path, `{"url":"https://10.1.2.3/hook","types":["*"]}`)
	if p := a.problem(t); !strings.Contains(p.Detail, "a private address is not allowed; an operator may allow its network with the setting webhooks.allow_private") || strings.Contains(a.body, "10.1.2.3") {
		t.Errorf("%s", a.body)
	}
	var made shownSubscription
	s.as(s.operator, "POST", path, `{"url":"https://example.com/","types":["*"],"target":{"kind":"company","id":null}}`).decode(t, &made)
	s.as(s.operator, "PATCH", path+"/"+made.ID, `{"url":"http://127.0.0.1/"}`).names(t, "body.url")
	s.as(s.operator, "PATCH", path+"/"+made.ID, `{"types":["x"]}`).names(t, "body.types[0]")
	s.get(path+"/"+made.ID+"/deliveries?state=lost").names(t, "query.state")
}
