package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type user struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Email          string   `json:"email"`
	State          string   `json:"state" enum:"active,pending,invited,deleted"`
	Office         string   `json:"office"`
	Numbers        []string `json:"numbers"`
	AORs           []string `json:"aors" doc:"SIP addresses, user@host; without host for any"`
	AppVersions    []string `json:"app_versions" doc:"Of the devices last seen"`
	Departments    []string `json:"departments"`
	ContactCenters []string `json:"contact_centers"`
	// VoicemailGreeting is text: what is said, not how it sounds.
	VoicemailGreeting string            `json:"voicemail_greeting" doc:"What callers hear who leave a message, as text"`
	CreatedAt         query.Time        `json:"created_at"`
	UpdatedAt         query.Time        `json:"updated_at"`
	Links             map[string]string `json:"links"`
}

func userOf(ctx context.Context, company string, u directory.User, versions []string) user {
	return user{
		ID: u.ID, Name: u.Name, Email: u.Email, State: u.State, Office: u.Office,
		Numbers: orEmpty(u.Numbers), AORs: orEmpty(u.AORs), AppVersions: orEmpty(versions),
		Departments: orEmpty(u.Departments), ContactCenters: orEmpty(u.ContactCenters), VoicemailGreeting: u.VoicemailGreeting,
		CreatedAt: at(u.CreatedAt), UpdatedAt: at(u.UpdatedAt),
		Links: map[string]string{
			"portal":        link(ctx, "c", company, "users", u.ID),
			"devices":       apiLink(ctx, company, "users", u.ID, "devices"),
			"registrations": apiLink(ctx, company, "users", u.ID, "registrations"),
			"calls":         apiLink(ctx, company, "users", u.ID, "calls"),
		},
	}
}

// appVersions maps users to what they register with and call from. Without
// ClickHouse the list of users is still worth having.
func (s *server) appVersions(ctx context.Context, company string, users ...directory.User) map[string][]string {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	versions, err := s.deps.Query.Company(company).AppVersions(ctx, ids)
	if err != nil {
		s.log.Warn("cannot read app versions", "request_id", requestID(ctx), "error", err)
	}
	return versions
}

// usersInput asks for users.
type usersInput struct {
	CompanyInput
	Q             string `query:"q" maxLength:"200" doc:"Words, each of which must begin a word of the name, email address, id or SIP address; digits also begin or end a number"`
	State         string `query:"state" enum:"active,pending,invited,deleted"`
	Office        string `query:"office" maxLength:"64" doc:"Id of the office"`
	Department    string `query:"department" maxLength:"64" doc:"Id of a department"`
	ContactCenter string `query:"contact_center" maxLength:"64" doc:"Id of a contact center"`
	AppVersion    string `query:"app_version" maxLength:"100" doc:"A version as app_versions shows it, with or without the app"`
	Limit         int    `query:"limit" minimum:"1" maximum:"1000" doc:"Items in the answer; default 100, as CSV all"`
	Cursor        string `query:"cursor" maxLength:"1000" doc:"next_cursor of the answer before"`
	Accept        string `header:"Accept" hidden:"true"`
}

// exportsAll tells whether the answer is CSV without an end.
func (in *usersInput) exportsAll(api huma.API) bool {
	format, err := api.Negotiate(in.Accept)
	return err == nil && format == csvType && in.Limit == 0
}

type usersOutput struct {
	Vary string `header:"Vary"`
	Next string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Body userList
}

// userList is a list that is an export where it is written as CSV.
type userList struct {
	query.List[user]
	// rest gives the users after Items, where all are to be written.
	rest func(row func(user) error) error
}

func (s *server) usersOf(ctx context.Context, company string, users []directory.User) []user {
	versions := s.appVersions(ctx, company, users...)
	items := make([]user, len(users))
	for i, u := range users {
		items[i] = userOf(ctx, company, u, versions[u.ID])
	}
	return items
}

func (s *server) userFilter(ctx context.Context, in *usersInput) (directory.UserFilter, error) {
	filter := directory.UserFilter{Query: writtenNumber(in.Q), State: in.State, Office: in.Office, Department: in.Department, ContactCenter: in.ContactCenter, Page: directory.Page{Limit: in.Limit, Cursor: in.Cursor}}
	if in.AppVersion != "" {
		ids, err := s.deps.Query.Company(in.Company).UsersOfApp(ctx, in.AppVersion)
		if err != nil {
			return filter, err
		}
		filter.IDs = ids
	}
	return filter, nil
}

// deletion is what deleting a user does to what it has.
type deletion struct {
	Numbers           []deletedNumber `json:"numbers"`
	Devices           []deletedDevice `json:"devices" doc:"Those with credentials"`
	AORs              []string        `json:"aors" doc:"SIP addresses that become free"`
	Memberships       int             `json:"memberships" doc:"Departments and contact centers that lose a member"`
	RecordingSettings int             `json:"recording_settings" doc:"That are taken back"`
	Subscriptions     int             `json:"subscriptions" doc:"That are deleted"`
	Warnings          []string        `json:"warnings" doc:"What the company may not want"`
}

type deletedNumber struct {
	Number  string `json:"number"`
	Becomes string `json:"becomes" enum:"available"`
}

type deletedDevice struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Becomes string `json:"becomes" doc:"In words"`
}

func deletionOf(d directory.Deletion) deletion {
	out := deletion{Numbers: []deletedNumber{}, Devices: []deletedDevice{}, AORs: orEmpty(d.AORs), Memberships: len(d.Departments) + len(d.ContactCenters),
		RecordingSettings: d.RecordingSettings, Subscriptions: d.Subscriptions, Warnings: orEmpty(d.Warnings)}
	for _, n := range d.Numbers {
		out.Numbers = append(out.Numbers, deletedNumber{n, directory.StatusAvailable})
	}
	for _, v := range d.Devices {
		out.Devices = append(out.Devices, deletedDevice{v.ID, v.Name, "must register anew, refused"})
	}
	return out
}

// UserInput names a user.
type UserInput struct {
	CompanyInput
	User string `path:"user" maxLength:"64" doc:"Id of the user"`
}

func (s *server) routeUsers() {
	tags := []string{"Users"}
	csvToo := map[string]any{metaFormats: []string{csvType}}

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users", OperationID: "list-users", Summary: "Users by name", Tags: tags, Metadata: csvToo,
		Description: "A search that more than 1,000 users match is ordered by the word that matched, the nearest first; a page of it may be shorter than its limit although more follow. " +
			"As text/csv without a limit: all users, in the columns of an import and a few more."},
		func(ctx context.Context, in *usersInput) (*usersOutput, error) {
			filter, err := s.userFilter(ctx, in)
			if err != nil {
				return nil, err
			}
			users, next, err := s.deps.Directory.Users(ctx, in.Company, filter)
			if err != nil {
				return nil, err
			}
			out := &usersOutput{Vary: "Accept", Next: next, Body: userList{List: list(s.usersOf(ctx, in.Company, users), next).Body}}
			if in.exportsAll(s.api) && next != "" {
				out.Next, out.Body.NextCursor = "", nil
				filter.Cursor, filter.Limit = next, directory.MaxLimit
				out.Body.rest = func(row func(user) error) error { return s.exportRest(ctx, in.Company, filter, row) }
			}
			return out, nil
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/users", OperationID: "create-user", Summary: "Add a user", Tags: tags, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body struct {
				ID             string   `json:"id,omitempty" maxLength:"64" doc:"Made up where not given"`
				Name           string   `json:"name" minLength:"1" maxLength:"200"`
				Email          string   `json:"email,omitempty" maxLength:"254"`
				State          string   `json:"state,omitempty" enum:"active,pending,invited" doc:"Default active"`
				Office         string   `json:"office,omitempty" maxLength:"64"`
				Numbers        []string `json:"numbers,omitempty" maxItems:"50" doc:"Available ones of the company, or new ones"`
				AORs           []string `json:"aors,omitempty" maxItems:"50"`
				Departments    []string `json:"departments,omitempty" maxItems:"50"`
				ContactCenters []string `json:"contact_centers,omitempty" maxItems:"50"`
				Greeting       string   `json:"voicemail_greeting,omitempty" maxLength:"4000"`
			}
		}) (*bodyOutput[user], error) {
			b := in.Body
			u, err := s.deps.Directory.CreateUser(ctx, in.Company, directory.User{ID: b.ID, Name: b.Name, Email: b.Email, State: b.State, Office: b.Office,
				Numbers: b.Numbers, AORs: b.AORs, Departments: b.Departments, ContactCenters: b.ContactCenters, VoicemailGreeting: b.Greeting})
			if err != nil {
				return nil, err
			}
			return &bodyOutput[user]{Body: userOf(ctx, in.Company, u, nil)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}", OperationID: "get-user", Summary: "A user", Tags: tags},
		func(ctx context.Context, in *UserInput) (*bodyOutput[user], error) {
			u, err := s.deps.Directory.User(ctx, in.Company, in.User)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[user]{Body: userOf(ctx, in.Company, u, s.appVersions(ctx, in.Company, u)[u.ID])}, nil
		})

	add(s, huma.Operation{Method: "PATCH", Path: companyPath + "/users/{user}", OperationID: "update-user", Summary: "Change a user", Description: "Members that are not given stay as they are. Numbers are moved by transferring them.", Tags: tags},
		func(ctx context.Context, in *struct {
			UserInput
			Body struct {
				Name           *string   `json:"name,omitempty" minLength:"1" maxLength:"200"`
				Email          *string   `json:"email,omitempty" maxLength:"254"`
				State          *string   `json:"state,omitempty" enum:"active,pending,invited,deleted"`
				Office         *string   `json:"office,omitempty" maxLength:"64"`
				AORs           *[]string `json:"aors,omitempty" maxItems:"50"`
				Departments    *[]string `json:"departments,omitempty" maxItems:"50"`
				ContactCenters *[]string `json:"contact_centers,omitempty" maxItems:"50"`
				Greeting       *string   `json:"voicemail_greeting,omitempty" maxLength:"4000"`
			}
		}) (*bodyOutput[user], error) {
			b := in.Body
			u, err := s.deps.Directory.UpdateUser(ctx, in.Company, in.User, directory.UserChange{Name: b.Name, Email: b.Email, State: b.State, Office: b.Office,
				AORs: b.AORs, Departments: b.Departments, ContactCenters: b.ContactCenters, VoicemailGreeting: b.Greeting})
			if err != nil {
				return nil, err
			}
			return &bodyOutput[user]{Body: userOf(ctx, in.Company, u, s.appVersions(ctx, in.Company, u)[u.ID])}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/deletion", OperationID: "preview-user-deletion", Summary: "What deleting a user would do", Tags: tags},
		func(ctx context.Context, in *UserInput) (*bodyOutput[deletion], error) {
			d, err := s.deps.Directory.Deletion(ctx, in.Company, in.User)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[deletion]{Body: deletionOf(d)}, nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: companyPath + "/users/{user}", OperationID: "delete-user", Summary: "Mark a user as deleted and release what it has", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *UserInput) (*struct{}, error) {
			return nil, s.deps.Directory.DeleteUser(ctx, in.Company, in.User)
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/calls", OperationID: "list-user-calls", Summary: "A user's calls, the newest first", Description: rowsDescription, Tags: tags, Metadata: rowsToo},
		func(ctx context.Context, in *struct {
			UserInput
			CallFilter
			RowsInput
		}) (*rowsOutput[query.Call], error) {
			if _, err := s.deps.Directory.User(ctx, in.Company, in.User); err != nil {
				return nil, err
			}
			return s.calls(ctx, in.Company, in.User, in.CallFilter, in.RowsInput)
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/ratings", OperationID: "list-user-ratings", Summary: "What a user thought of calls, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			TimeInput
			PageInput
		}) (*listOutput[query.Rating], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			if _, err := s.deps.Directory.User(ctx, in.Company, in.User); err != nil {
				return nil, err
			}
			ratings, err := s.deps.Query.Company(in.Company).Ratings(ctx, query.RatingFilter{User: in.User, From: in.from(), To: in.to()}, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			return listOf(ratings), nil
		})
}
