package api_test

import (
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		t := s.t
		type placeItem struct {
			ID, Name, Office string
			Users            int
			Numbers          []string
		}
		var p placeItem
		s.get(defaultCompany+"/departments/sales").decode(t, &p)
		if p.Name != "Sales" || p.Office != "hq" || p.Users != 1 || len(p.Numbers) != 1 {
			t.Errorf("%+v", p)
		}
		p = placeItem{}
		s.as(s.operator, "PATCH", defaultCompany+"/departments/sales", `{"name":"Vertrieb","office":""}`).decode(t, &p)
		if p.Name != "Vertrieb" || p.Office != "" {
			t.Errorf("%+v", p)
		}
		var members struct{ Items []named }
		for path, want := range map[string]int{"offices/hq": 1, "departments/sales": 1, "contact-centers/help": 0} {
			s.get(defaultCompany+"/"+path+"/members").decode(t, &members)
			if len(members.Items) != want || want == 1 && members.Items[0].ID != "alice" {
				t.Errorf("%s: %+v", path, members.Items)
			}
		}
		if a := s.as(s.operator, "DELETE", defaultCompany+"/departments/sales", ""); a.status != 409 ||
			!strings.Contains(a.problem(t).Detail, "the department still has 1 member and 1 number") {
			t.Errorf("%d %s", a.status, a.body)
		}
		var list struct{ Items []placeItem }
		s.get(defaultCompany+"/departments?q=TRIEB").decode(t, &list)
		if len(list.Items) != 1 || list.Items[0].ID != "sales" {
			t.Errorf("%+v", list.Items)
		}
		s.as(s.operator, "POST", defaultCompany+"/subscriptions", `{"url":"https://example.com/hook","target":{"kind":"contact_center","id":"help"},"types":["*"]}`).decode(t, &p)
		if a := s.as(s.operator, "DELETE", defaultCompany+"/contact-centers/help", ""); a.status != 409 || !strings.Contains(a.problem(t).Detail, "the contact center still has 1 subscription;") {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.as(s.operator, "DELETE", defaultCompany+"/subscriptions/"+p.ID, ""); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.as(s.operator, "DELETE", defaultCompany+"/contact-centers/help", ""); a.status != 204 || s.get(defaultCompany+"/contact-centers/help").status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
		s.as(s.operator, "PATCH", defaultCompany+"/offices/hq", `{"office":"hq"}`).names(t, "body.office")
		s.as(s.operator, "PATCH", defaultCompany+"/departments/sales", `{"office":"nowhere"}`).names(t, "body.office")
		var c struct{ Name string }
		s.as(s.operator, "PATCH", defaultCompany, `{"name":"Acme 2","region":"AT"}`).decode(t, &c)
		if c.Name != "Acme 2" {
			t.Errorf("%+v", c)
		}
		s.as(s.operator, "PATCH", defaultCompany, `{"region":"XX"}`).names(t, "body.region")
		for name, x := range map[string][3]string{
			"another company":    {s.other, "GET", defaultCompany + "/departments/sales"},
			"another company 2":  {s.other, "DELETE", defaultCompany + "/offices/hq"},
			"not there":          {s.operator, "GET", defaultCompany + "/rooms/none"},
			"no members of none": {s.operator, "GET", defaultCompany + "/offices/none/members"},
			"of another kind":    {s.operator, "GET", defaultCompany + "/rooms/sales"},
		} {
			if a := s.as(x[0], x[1], x[2], ""); a.status != 404 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	})
}
