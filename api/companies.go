package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// company is a tenant with what it has.
type company struct {
	ID     string            `json:"id"`
	Name   string            `json:"name"`
	Counts companyCounts     `json:"counts"`
	Links  map[string]string `json:"links"`
}

// companyCounts are null where the store that knows them does not answer.
type companyCounts struct {
	Users           *int    `json:"users"`
	Numbers         *int    `json:"numbers"`
	Devices         *uint64 `json:"devices"`
	Registered      *uint64 `json:"registered"`
	CallsToday      *uint64 `json:"calls_today" doc:"Since midnight in time_zone"`
	LiveCalls       *uint64 `json:"live_calls"`
	RejectionsToday *uint64 `json:"rejections_today"`
}

func (s *server) company(ctx context.Context, c directory.Company, zone *time.Location) (company, error) {
	n, err := s.deps.Directory.Counts(ctx, c.ID)
	if err != nil {
		return company{}, err
	}
	out := company{ID: c.ID, Name: c.Name, Counts: companyCounts{Users: &n.Users, Numbers: &n.Numbers}, Links: map[string]string{
		"portal":          link(ctx, "c", c.ID),
		"users":           apiLink(ctx, c.ID, "users"),
		"offices":         apiLink(ctx, c.ID, "offices"),
		"departments":     apiLink(ctx, c.ID, "departments"),
		"rooms":           apiLink(ctx, c.ID, "rooms"),
		"contact_centers": apiLink(ctx, c.ID, "contact-centers"),
		"numbers":         apiLink(ctx, c.ID, "numbers"),
		"calls":           apiLink(ctx, c.ID, "calls"),
		"registrations":   apiLink(ctx, c.ID, "registrations"),
		"rejections":      apiLink(ctx, c.ID, "rejections"),
		"ratings":         apiLink(ctx, c.ID, "ratings"),
	}}
	// Without ClickHouse there is still a page to work from.
	measured, err := s.deps.Query.Company(c.ID).Counts(ctx, zone)
	if err != nil {
		s.log.Warn("cannot count what was measured", "request_id", requestID(ctx), "error", err)
		return out, nil
	}
	out.Counts.Devices, out.Counts.Registered = &measured.Devices, &measured.Registered
	out.Counts.CallsToday, out.Counts.LiveCalls, out.Counts.RejectionsToday = &measured.CallsToday, &measured.LiveCalls, &measured.RejectionsToday
	return out, nil
}

type place struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Office    string     `json:"office,omitempty"`
	Numbers   []string   `json:"numbers"`
	Users     int        `json:"users" doc:"Members who are not deleted"`
	CreatedAt query.Time `json:"created_at"`
}

func zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.time_zone", Message: "is not a time zone such as Europe/Vienna"})
	}
	return loc, nil
}

func (s *server) routeCompanies() {
	add(s, huma.Operation{Method: "GET", Path: "/api/v1/companies", OperationID: "list-companies", Summary: "Companies that the caller may see", Tags: []string{"Companies"}, Metadata: csvToo},
		func(ctx context.Context, in *struct{ PageInput }) (*listOutput[company], error) {
			companies, next, err := s.deps.Directory.Companies(ctx, principal(ctx).Company, in.PageInput.directory())
			if err != nil {
				return nil, err
			}
			items := make([]company, 0, len(companies))
			for _, c := range companies {
				item, err := s.company(ctx, c, time.UTC)
				if err != nil {
					return nil, err
				}
				items = append(items, item)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: "/api/v1/companies", OperationID: "create-company", Summary: "Add a company", Tags: []string{"Companies"}, DefaultStatus: http.StatusCreated, Metadata: map[string]any{metaOperator: true}},
		func(ctx context.Context, in *struct {
			Body struct {
				ID     string `json:"id" minLength:"1" maxLength:"64" doc:"Part of every link; cannot be changed"`
				Name   string `json:"name" minLength:"1" maxLength:"200"`
				Region string `json:"region,omitempty" pattern:"^[A-Z]{2}$" doc:"ISO 3166 code in which numbers without + are read; default US"`
			}
		}) (*bodyOutput[company], error) {
			c, err := s.deps.Directory.CreateCompany(ctx, directory.Company{ID: in.Body.ID, Name: in.Body.Name, Region: in.Body.Region})
			if err != nil {
				return nil, err
			}
			out, err := s.company(ctx, c, time.UTC)
			return &bodyOutput[company]{Body: out}, err
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath, OperationID: "get-company", Summary: "A company with its counts and links", Tags: []string{"Companies"}},
		func(ctx context.Context, in *struct {
			CompanyInput
			TimeZone string `query:"time_zone" maxLength:"64" doc:"Where today begins; default UTC"`
		}) (*bodyOutput[company], error) {
			loc, err := zone(in.TimeZone)
			if err != nil {
				return nil, err
			}
			c, err := s.deps.Directory.Company(ctx, in.Company)
			if err != nil {
				return nil, err
			}
			out, err := s.company(ctx, c, loc)
			return &bodyOutput[company]{Body: out}, err
		})

	add(s, huma.Operation{Method: "PATCH", Path: companyPath, OperationID: "update-company", Summary: "Change a company", Tags: []string{"Companies"}, Description: "Members that are not given stay as they are."},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body struct {
				Name   *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
				Region *string `json:"region,omitempty" pattern:"^[A-Z]{2}$" doc:"ISO 3166 code in which numbers without + are read from now on"`
			}
		}) (*bodyOutput[company], error) {
			c, err := s.deps.Directory.UpdateCompany(ctx, in.Company, directory.CompanyChange{Name: in.Body.Name, Region: in.Body.Region})
			if err != nil {
				return nil, err
			}
			out, err := s.company(ctx, c, time.UTC)
			return &bodyOutput[company]{Body: out}, err
		})

	for _, p := range placeKinds {
		s.routePlaces(p.kind, p.path, p.one, p.what)
	}
}

// placeKinds are the kinds of places with how routes and operations name them.
var placeKinds = []struct{ kind, path, one, what string }{
	{directory.KindOffice, "offices", "office", "Offices"},
	{directory.KindDepartment, "departments", "department", "Departments"},
	{directory.KindRoom, "rooms", "room", "Rooms"},
	{directory.KindContactCenter, "contact-centers", "contact-center", "Contact centers"},
}

// PlaceInput names an office, department, room or contact center.
type PlaceInput struct {
	CompanyInput
	Place string `path:"place" maxLength:"64" doc:"Id of the place"`
}

func (s *server) routePlaces(kind, path, one, what string) {
	tags := []string{"Places"}
	all := companyPath + "/" + path
	add(s, huma.Operation{Method: "GET", Path: all, OperationID: "list-" + path, Summary: what, Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			Q string `query:"q" maxLength:"200" doc:"Part of the name or id"`
			PageInput
		}) (*listOutput[place], error) {
			places, next, err := s.deps.Directory.Places(ctx, in.Company, kind, directory.PlaceFilter{Query: in.Q, Page: in.PageInput.directory()})
			if err != nil {
				return nil, err
			}
			items := make([]place, len(places))
			for i, pl := range places {
				items[i] = placeOf(pl)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: all, OperationID: "create-" + path, Summary: what + ": add one", Tags: tags, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body struct {
				ID     string `json:"id,omitempty" maxLength:"64"`
				Name   string `json:"name" minLength:"1" maxLength:"200"`
				Office string `json:"office,omitempty" maxLength:"64"`
			}
		}) (*bodyOutput[place], error) {
			pl, err := s.deps.Directory.CreatePlace(ctx, in.Company, directory.Place{Kind: kind, ID: in.Body.ID, Name: in.Body.Name, Office: in.Body.Office})
			if err != nil {
				return nil, err
			}
			return &bodyOutput[place]{Body: placeOf(pl)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: all + "/{place}", OperationID: "get-" + one, Summary: what + ": one", Tags: tags},
		func(ctx context.Context, in *PlaceInput) (*bodyOutput[place], error) {
			pl, err := s.deps.Directory.Place(ctx, in.Company, kind, in.Place)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[place]{Body: placeOf(pl)}, nil
		})

	add(s, huma.Operation{Method: "PATCH", Path: all + "/{place}", OperationID: "update-" + one, Summary: what + ": change one", Tags: tags, Description: "Members that are not given stay as they are."},
		func(ctx context.Context, in *struct {
			PlaceInput
			Body struct {
				Name   *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
				Office *string `json:"office,omitempty" maxLength:"64" doc:"Empty: in none. An office is in none"`
			}
		}) (*bodyOutput[place], error) {
			pl, err := s.deps.Directory.UpdatePlace(ctx, in.Company, kind, in.Place, directory.PlaceChange{Name: in.Body.Name, Office: in.Body.Office})
			if err != nil {
				return nil, err
			}
			return &bodyOutput[place]{Body: placeOf(pl)}, nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: all + "/{place}", OperationID: "delete-" + one, Summary: what + ": remove one", Tags: tags, DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict},
		Description: "409 names what it still has: members, numbers, places in it, subscriptions, open port requests."},
		func(ctx context.Context, in *PlaceInput) (*struct{}, error) {
			err := s.deps.Directory.DeletePlace(ctx, in.Company, kind, in.Place)
			var field *directory.FieldError
			if errors.As(err, &field) {
				return nil, newProblem(http.StatusConflict, "the "+strings.ReplaceAll(kind, "_", " ")+" "+field.Reason)
			}
			return nil, err
		})

	if kind == directory.KindRoom {
		return // nobody works in one
	}
	add(s, huma.Operation{Method: "GET", Path: all + "/{place}/members", OperationID: "list-" + one + "-members", Summary: what + ": the users of one, by name", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			PlaceInput
			PageInput
		}) (*listOutput[user], error) {
			return s.members(ctx, in.Company, kind, in.Place, in.PageInput)
		})
}

// members are the users of a place who are not deleted: deleted ones keep their office.
func (s *server) members(ctx context.Context, company, kind, id string, page PageInput) (*listOutput[user], error) {
	if _, err := s.deps.Directory.Place(ctx, company, kind, id); err != nil {
		return nil, err
	}
	f := directory.UserFilter{Page: page.directory()}
	switch kind {
	case directory.KindOffice:
		f.Office = id
	case directory.KindDepartment:
		f.Department = id
	case directory.KindContactCenter:
		f.ContactCenter = id
	}
	users, next, err := s.deps.Directory.Users(ctx, company, f)
	if err != nil {
		return nil, err
	}
	users = slices.DeleteFunc(users, func(u directory.User) bool { return u.State == directory.StateDeleted })
	return list(s.usersOf(ctx, company, users), next), nil
}

func placeOf(p directory.Place) place {
	return place{ID: p.ID, Name: p.Name, Office: p.Office, Numbers: orEmpty(p.Numbers), Users: p.Users, CreatedAt: at(p.CreatedAt)}
}

// orEmpty makes a list that JSON shows as [], never null.
func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
