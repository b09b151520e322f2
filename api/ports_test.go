package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNumberHistoryOverHTTP(t *testing.T) { onBothSites(t, nil, numberHistoryOverHTTP) }

func numberHistoryOverHTTP(s *site) {
	t := s.t
	numbers := defaultCompany + "/numbers"
	const path = "/+14155550102"
	before := time.Now().UTC()
	var n struct {
		Status string
		Owner  *struct{ Kind, ID, Name string }
		Since  time.Time
	}
	s.as(s.operator, "POST", numbers+path+"/transfer", `{"to":{"kind":"department","id":"sales"},"reason":"new line"}`).decode(t, &n)
	if n.Status != "department" || n.Owner.Name != "Sales" || n.Since.Before(before.Truncate(time.Millisecond)) {
		t.Errorf("%+v", n)
	}
	s.as(s.operator, "POST", numbers+path+"/transfer", `{"to":{"kind":"pool"}}`).decode(t, &n)
	if n.Status != "available" || n.Owner != nil {
		t.Errorf("%+v", n)
	}
	a := s.as(s.operator, "POST", numbers+"/+14155550101/transfer", `{"to":{"kind":"pool"}}`)
	if p := a.problem(t); a.status != 409 || !strings.Contains(p.Detail, "the only number that its user has") {
		t.Errorf("the last number: %d %s", a.status, a.body)
	}
	s.as(s.operator, "POST", numbers+path+"/transfer", `{"to":{"kind":"pool","id":"x"}}`).names(t, "body.to.id")
	s.as(s.operator, "POST", numbers+path+"/transfer", `{"to":{"kind":"user"}}`).names(t, "body.to.id")
	s.as(s.operator, "POST", numbers+path+"/transfer", `{"to":{"kind":"company","id":"x"}}`).names(t, "body.to.kind")

	var l struct {
		Items []struct {
			Owner       *struct{ Kind, ID string }
			Status      string
			From, Until *time.Time
			By          struct{ Kind, Name string }
			Reason      string
		}
		Next *string `json:"next_cursor"`
	}
	s.get(numbers+path+"/history?limit=2").decode(t, &l)
	if len(l.Items) != 2 || l.Next == nil || l.Items[0].Owner != nil || l.Items[0].Until != nil || l.Items[1].Owner.ID != "sales" || l.Items[1].Reason != "new line" || l.Items[1].Until == nil {
		t.Errorf("history: %+v", l)
	}
	s.get(numbers+path+"/history?cursor="+*l.Next).decode(t, &l)
	if len(l.Items) != 1 || l.Next != nil || l.Items[0].Owner.ID != "alice" {
		t.Errorf("history: %+v", l)
	}
	var owner struct{ Owner *struct{ ID string } }
	s.get(numbers+path+"/owner?at="+url.QueryEscape(before.Format(time.RFC3339Nano))).decode(t, &owner)
	if owner.Owner == nil || owner.Owner.ID != "alice" {
		t.Errorf("before: %+v", owner.Owner)
	}
	owner.Owner = nil
	if s.get(numbers+path+"/owner").decode(t, &owner); owner.Owner != nil {
		t.Errorf("now: %+v", owner.Owner)
	}
	for _, p := range []string{path + "/owner?at=2001-01-01T00:00:00Z", "/+14155550199/owner", "/+14155550199/history", "/x/history"} {
		if a := s.get(numbers + p); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", p, a.status, a.body)
		}
	}
	if a := s.as(s.other, "GET", numbers+path+"/history", ""); a.status != http.StatusNotFound {
		t.Errorf("another company: %d", a.status)
	}
}

func TestNumberSearchOverHTTP(t *testing.T) { onBothSites(t, nil, numberSearchOverHTTP) }

func numberSearchOverHTTP(s *site) {
	t := s.t
	for query, want := range map[string]string{
		"q=%2B1+800": "+18005550199", "q=+1+800": "+18005550199", "area_code=415&suffix=0130": "+14155550130", "prefix=555&type=toll_free": "+18005550199",
		"office=hq": "+14155550101 +14155550102 +18005550199", "owner_kind=user&owner=bob": "+442071838750", "owner_kind=department": "+18005550199",
		"status=available": "+14155550130", "suffix=8750": "+442071838750",
	} {
		var l struct{ Items []struct{ Number string } }
		s.get(defaultCompany+"/numbers?"+query).decode(t, &l)
		var got []string
		for _, n := range l.Items {
			got = append(got, n.Number)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %v", query, got)
		}
	}
	s.get(defaultCompany+"/numbers?owner=bob").names(t, "query.owner")
	s.get(defaultCompany+"/numbers?suffix=alice").names(t, "query.suffix")
	s.get(defaultCompany+"/numbers?area_code=x").names(t, "query.area_code")
}

func TestPortRequests(t *testing.T) { onBothSites(t, nil, portRequests) }

func portRequests(s *site) {
	t := s.t
	ports := defaultCompany + "/port-requests"
	type port struct {
		ID          string
		BatchID     string `json:"batch_id"`
		State       string
		DIDs        int `json:"dids"`
		Numbers     []string
		Transitions []string
		FOCDate     *string `json:"foc_date"`
		Target      *struct{ Kind, ID, Name string }
		History     []struct {
			From, To string
			By       struct{ Name string }
		}
	}
	var p port
	a := s.as(s.operator, "POST", ports, `{"office":"hq","lnp_id":"L1","port_type":"port_in","carrier":"Old Bell","foc_date":null,"numbers":["(415) 555-0150","+14155550130"],"target":{"kind":"user","id":"alice"}}`)
	if a.decode(t, &p); a.status != http.StatusCreated || p.State != "draft" || p.DIDs != 2 || p.BatchID != p.ID || p.Target.Name != "Alice" || p.FOCDate != nil ||
		!slices.Equal(p.Transitions, []string{"submitted", "cancelled"}) || !slices.Equal(p.Numbers, []string{"+14155550150", "+14155550130"}) {
		t.Errorf("%d %s", a.status, a.body)
	}
	one := ports + "/" + p.ID
	s.as(s.operator, "PATCH", one, `{"foc_date":"2026-12-24","target":null,"batch_id":"B1"}`).decode(t, &p)
	if p.BatchID != "B1" || p.Target != nil || p.FOCDate == nil || *p.FOCDate != "2026-12-24" {
		t.Errorf("%+v", p)
	}
	var q port
	s.as(s.operator, "PATCH", one, `{"foc_date":null,"target":{"kind":"department","id":"sales"}}`).decode(t, &q)
	if q.FOCDate != nil || q.Target == nil || q.BatchID != "B1" {
		t.Errorf("%+v", q)
	}
	s.as(s.operator, "PATCH", one, `{"foc_date":"24 December"}`).names(t, "body.foc_date")
	s.as(s.operator, "PATCH", one, `{"target":{"kind":"user","id":"nobody"}}`).names(t, "body.target.id")
	s.as(s.operator, "POST", ports, `{"numbers":["+14155550150","911"]}`).names(t, "body.numbers[1]")
	s.as(s.operator, "POST", ports, `{"port_type":"sideways"}`).names(t, "body.port_type")
	a = s.as(s.operator, "POST", one+"/transition", `{"to":"completed"}`)
	if p := a.problem(t); a.status != http.StatusConflict || !strings.Contains(p.Detail, "it may become submitted, cancelled") {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.as(s.operator, "POST", one+"/transition", `{"to":"submitted"}`).decode(t, &q)
	var n struct{ Status string }
	if s.get(defaultCompany+"/numbers/+14155550150").decode(t, &n); n.Status != "port_pending" {
		t.Errorf("submitted: the number is %s", n.Status)
	}
	if a := s.as(s.operator, "POST", one+"/transition", `{"to":"foc_received"}`); a.status != http.StatusUnprocessableEntity {
		t.Errorf("without a date: %d %s", a.status, a.body)
	}
	s.as(s.operator, "POST", one+"/transition", `{"to":"foc_received","foc_date":"2026-12-01"}`).decode(t, &q)
	s.as(s.operator, "POST", one+"/transition", `{"to":"completed"}`).decode(t, &q)
	if len(q.History) != 4 || q.History[0].To != "draft" || q.History[3].From != "foc_received" || q.History[3].By.Name == "" || len(q.Transitions) != 0 {
		t.Errorf("history: %+v", q)
	}
	if s.get(defaultCompany+"/numbers/+14155550150").decode(t, &n); n.Status != "department" {
		t.Errorf("completed: the number is %s", n.Status)
	}
	for query, want := range map[string]int{"": 1, "?state=completed": 1, "?state=draft": 0, "?office=hq": 1, "?batch=B1": 1, "?lnp_id=L2": 0, "?q=old+bell": 1, "?q=555-0150": 1, "?q=%00": -1} {
		var l struct{ Items []port }
		a := s.get(ports + query)
		if want < 0 {
			a.names(t, "query.q")
			continue
		}
		if a.decode(t, &l); len(l.Items) != want || want == 1 && (l.Items[0].DIDs != 2 || l.Items[0].Numbers != nil) {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	if a := s.get(ports, "Accept", "text/csv"); a.status != 200 || !strings.HasPrefix(a.body, "id,batch_id,office,lnp_id,dids,") {
		t.Errorf("CSV: %d %s", a.status, a.body)
	}
	for _, p := range []string{one, ports, one + "/transition"} {
		if a := s.as(s.other, "GET", p, ""); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("another company, %s: %d", p, a.status)
		}
	}
	if a := s.get(ports + "/none"); a.status != http.StatusNotFound {
		t.Errorf("none: %d", a.status)
	}
}
