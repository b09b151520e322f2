package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/query"
)

// EventInput narrows a list of call events.
type EventInput struct {
	Type          string `query:"type" enum:"started,ringing,connected,held,resumed,muted,unmuted,transferred,ended,rejected,rated,recording_changed,verdict"`
	User          string `query:"user" maxLength:"64" doc:"Id of a user on either side, or of who did it"`
	Office        string `query:"office" maxLength:"64" doc:"Of one of them"`
	Department    string `query:"department" maxLength:"64" doc:"Of one of them"`
	ContactCenter string `query:"contact_center" maxLength:"64" doc:"Of one of them"`
	TimeInput
}

func (s *server) events(ctx context.Context, company string, list query.List[query.CallEvent]) *listOutput[query.CallEvent] {
	for i := range list.Items {
		e := &list.Items[i]
		e.Links = map[string]string{
			"call":   apiLink(ctx, company, "calls", e.Call),
			"portal": link(ctx, "c", company, "calls", e.Call),
		}
	}
	return listOf(list)
}

func (s *server) routeEvents() {
	tags := []string{"Call events"}

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/events", OperationID: "list-call-events", Summary: "What happened in a call, in order of time", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CallInput
			PageInput
		}) (*listOutput[query.CallEvent], error) {
			events, err := s.deps.Query.Company(in.Company).CallEvents(ctx, in.Call, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			return s.events(ctx, in.Company, events), nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/events", OperationID: "list-events", Summary: "What happened in calls, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			EventInput
			PageInput
		}) (*listOutput[query.CallEvent], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			f := query.EventFilter{Type: in.Type, User: in.User, Office: in.Office, Department: in.Department, ContactCenter: in.ContactCenter, From: in.from(), To: in.to()}
			events, err := s.deps.Query.Company(in.Company).Events(ctx, f, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			return s.events(ctx, in.Company, events), nil
		})
}

// RejectionInput narrows refusals.
type RejectionInput struct {
	Reason        string `query:"reason" pattern:"^[a-z_]{1,64}$" doc:"Id of the reason"`
	Agent         string `query:"agent" maxLength:"64" doc:"Id of the user who refused"`
	Department    string `query:"department" maxLength:"64" doc:"Of the agent, else that was called"`
	Office        string `query:"office" maxLength:"64" doc:"Of the agent, else that was called"`
	ContactCenter string `query:"contact_center" maxLength:"64" doc:"Of the agent, else that was called"`
	Number        string `query:"number" maxLength:"64" doc:"That called or was called"`
}

func (s *server) rejectionFilter(ctx context.Context, company string, in RejectionInput) query.RejectionFilter {
	f := query.RejectionFilter{Reason: in.Reason, Agent: in.Agent, Department: in.Department, Office: in.Office, ContactCenter: in.ContactCenter}
	if in.Number != "" {
		f.Number = s.deps.Directory.E164(ctx, company, writtenNumber(in.Number))
	}
	return f
}

func (s *server) routeRejections() {
	tags := []string{"Rejections"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/rejections", OperationID: "list-rejections", Summary: "Refused legs, the newest first", Description: rowsDescription, Tags: tags, Metadata: rowsToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			RejectionInput
			TimeInput
			RowsInput
		}) (*rowsOutput[query.Rejection], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			f := s.rejectionFilter(ctx, in.Company, in.RejectionInput)
			f.From, f.To = in.from(), in.to()
			q := s.deps.Query.Company(in.Company)
			return rowsAnswer(ctx, s, in.RowsInput, in.Company+"-rejections", rejectionColumns,
				func(page query.Page) (query.List[query.Rejection], error) { return q.Rejections(ctx, f, page) },
				func(ctx context.Context, row func(*query.Rejection) error) error { return q.EachRejection(ctx, f, row) })
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/rejections/reasons", OperationID: "list-rejection-reasons", Summary: "Why calls can be refused: the reasons of contact centres, then those that signalling alone tells", Tags: tags, Metadata: csvToo},
		func(context.Context, *CompanyInput) (*listOutput[query.RejectionReason], error) {
			return listOf(query.List[query.RejectionReason]{Items: query.RejectionReasons()}), nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/rejections/trend", OperationID: "get-rejection-trend", Summary: "Refused legs over time", Tags: tags, Metadata: csvToo,
		Description: "By agent it says too how many calls each of them answered in the same time, and which share of those offered was refused."},
		func(ctx context.Context, in *struct {
			CompanyInput
			GroupBy string `query:"group_by" enum:"reason,agent,department,office,contact_center" default:"reason"`
			Top     int    `query:"top" minimum:"1" maximum:"100" default:"100" doc:"Groups with a line of their own; the others are one together, the last"`
			RejectionInput
			TrendInput
		}) (*trendOutput[rejectionTrend], error) {
			f, err := s.trend(in.TrendInput)
			if err != nil {
				return nil, err
			}
			f.GroupBy, f.Top, f.Filter = in.GroupBy, in.Top, s.rejectionFilter(ctx, in.Company, in.RejectionInput)
			t, err := s.deps.Query.Company(in.Company).RejectionTrend(ctx, f)
			if err != nil {
				return nil, err
			}
			for i := range t.Series {
				line := &t.Series[i]
				if !line.Other && in.GroupBy != "agent" { // agents are named as they were
					line.Name = s.groupName(ctx, in.Company, in.GroupBy, line.Key, line.Name)
				}
			}
			return &trendOutput[rejectionTrend]{Vary: "Accept", Body: rejectionTrend{t}}, nil
		})
}
