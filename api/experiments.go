package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type experiment struct {
	Key         string     `json:"key"`
	Description string     `json:"description"`
	Level       string     `json:"level" enum:"company,user" doc:"Whose setting enabled is"`
	Enabled     *bool      `json:"enabled" doc:"As set at the level; null: not set there"`
	Effective   bool       `json:"effective" doc:"What holds"`
	From        string     `json:"from" enum:"user,company,default" doc:"What says so; the default is off"`
	SetBy       *string    `json:"set_by" doc:"Who made the setting that holds; null for the default"`
	SetAt       query.Time `json:"set_at" doc:"null for the default"`
	Users       *int       `json:"users,omitempty" doc:"Of a company: how many users have a setting of their own"`
}

func experimentOf(e directory.Experiment, level string) experiment {
	out := experiment{Key: e.Key, Description: e.Description, Level: level, Enabled: e.Enabled, Effective: e.Effective, From: e.From, SetBy: given(e.SetBy), SetAt: at(e.SetAt)}
	if level == directory.KindCompany {
		out.Users = &e.Users
	}
	return out
}

// experiments lists those of a company, or of a user where one is given.
func (s *server) experiments(ctx context.Context, company, user string, page PageInput) (*listOutput[experiment], error) {
	level := directory.KindCompany
	found, next, err := s.deps.Directory.Experiments(ctx, company, page.directory())
	if user != "" {
		level = directory.KindUser
		found, next, err = s.deps.Directory.UserExperiments(ctx, company, user, page.directory())
	}
	if err != nil {
		return nil, err
	}
	items := make([]experiment, len(found))
	for i, e := range found {
		items[i] = experimentOf(e, level)
	}
	return list(items, next), nil
}

// ExperimentBody turns an experiment on or off.
type ExperimentBody struct {
	Enabled     bool    `json:"enabled"`
	Description *string `json:"description,omitempty" maxLength:"500" doc:"What it does; not given: as it is"`
}

func (s *server) setExperiment(ctx context.Context, company, user, key string, b ExperimentBody) (*bodyOutput[experiment], error) {
	if err := s.deps.Directory.SetExperiment(ctx, company, user, key, b.Enabled, b.Description); err != nil {
		return nil, err
	}
	all, err := s.experiments(ctx, company, user, PageInput{Limit: directory.MaxLimit})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all.Body.Items, func(e experiment) bool { return e.Key == key })
	if i < 0 {
		return nil, directory.ErrNotFound // removed in between
	}
	return &bodyOutput[experiment]{Body: all.Body.Items[i]}, nil
}

func (s *server) routeExperiments() {
	tags := []string{"Experiments"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/experiments", OperationID: "list-experiments", Summary: "Features that are turned on or off for a company", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			PageInput
		}) (*listOutput[experiment], error) {
			return s.experiments(ctx, in.Company, "", in.PageInput)
		})
	add(s, huma.Operation{Method: "PUT", Path: companyPath + "/experiments/{key}", OperationID: "set-experiment", Summary: "Turn a feature on or off for a company", Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			Key  string `path:"key" maxLength:"64" pattern:"^[a-z][a-z0-9_]*$"`
			Body ExperimentBody
		}) (*bodyOutput[experiment], error) {
			return s.setExperiment(ctx, in.Company, "", in.Key, in.Body)
		})
	add(s, huma.Operation{Method: "DELETE", Path: companyPath + "/experiments/{key}", OperationID: "remove-experiment", Summary: "Take the setting of a company back", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			CompanyInput
			Key string `path:"key" maxLength:"64"`
		}) (*struct{}, error) {
			return nil, s.deps.Directory.RemoveExperiment(ctx, in.Company, "", in.Key)
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/experiments", OperationID: "list-user-experiments", Summary: "Features as they hold for a user, and what says so", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			PageInput
		}) (*listOutput[experiment], error) {
			return s.experiments(ctx, in.Company, in.User, in.PageInput)
		})
	add(s, huma.Operation{Method: "PUT", Path: companyPath + "/users/{user}/experiments/{key}", OperationID: "set-user-experiment", Summary: "Turn a feature on or off for a user", Tags: tags},
		func(ctx context.Context, in *struct {
			UserInput
			Key  string `path:"key" maxLength:"64" pattern:"^[a-z][a-z0-9_]*$"`
			Body ExperimentBody
		}) (*bodyOutput[experiment], error) {
			return s.setExperiment(ctx, in.Company, in.User, in.Key, in.Body)
		})
	add(s, huma.Operation{Method: "DELETE", Path: companyPath + "/users/{user}/experiments/{key}", OperationID: "remove-user-experiment", Summary: "Take the setting of a user back", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			UserInput
			Key string `path:"key" maxLength:"64"`
		}) (*struct{}, error) {
			return nil, s.deps.Directory.RemoveExperiment(ctx, in.Company, in.User, in.Key)
		})
}
