package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/query/explain"
)

// CallFilter narrows a list of calls.
type CallFilter struct {
	Number    string `query:"number" maxLength:"64" doc:"A number of either side, in any way of writing it"`
	Direction string `query:"direction" enum:"inbound,outbound,internal"`
	State     string `query:"state" enum:"live,ended"`
	Verdict   string `query:"verdict" enum:"good,acceptable,bad,unacceptable,unknown,one_way,choppy,delay,loss" doc:"The overall verdict, or what is wrong"`
	Rejected  string `query:"rejected" enum:"true,false" doc:"Whether any leg was refused"`
	Rating    uint32 `query:"rating" minimum:"1" maximum:"5"`
	Q         string `query:"q" maxLength:"256" doc:"Any id: of the call, a leg, a SIP dialog, a user or a device; or a number"`
	TimeInput
}

func (s *server) calls(ctx context.Context, company, user string, f CallFilter, page PageInput) (*listOutput[query.Call], error) {
	if err := f.TimeInput.check(); err != nil {
		return nil, err
	}
	filter := query.CallFilter{User: user, Direction: f.Direction, State: f.State, Verdict: f.Verdict, Rejected: tristate(f.Rejected), From: f.from(), To: f.to(), Q: writtenNumber(f.Q)}
	if f.Number != "" {
		filter.Number = s.deps.Directory.E164(ctx, company, writtenNumber(f.Number))
	}
	if f.Rating != 0 {
		filter.Rating = &f.Rating
	}
	calls, err := s.deps.Query.Company(company).Calls(ctx, filter, page.query())
	if err != nil {
		return nil, err
	}
	for i := range calls.Items {
		calls.Items[i].Links = callLinks(ctx, calls.Items[i])
	}
	return listOf(calls), nil
}

func callLinks(ctx context.Context, c query.Call) map[string]string {
	links := map[string]string{
		"self":     apiLink(ctx, c.Company, "calls", c.ID),
		"portal":   link(ctx, "c", c.Company, "calls", c.ID),
		"samples":  apiLink(ctx, c.Company, "calls", c.ID, "samples"),
		"messages": apiLink(ctx, c.Company, "calls", c.ID, "messages"),
		"pcap":     apiLink(ctx, c.Company, "calls", c.ID, "messages.pcap"),
		"report":   apiLink(ctx, c.Company, "calls", c.ID, "report"),
	}
	if c.State == "live" {
		links["live"] = apiLink(ctx, c.Company, "calls", c.ID, "live")
	}
	if c.Target.UserID != nil && *c.Target.UserID != "" {
		links["user"] = link(ctx, "c", c.Company, "users", *c.Target.UserID)
	}
	return links
}

func (s *server) call(ctx context.Context, company, id string) (query.Call, error) {
	c, err := s.deps.Query.Company(company).Call(ctx, id)
	if err != nil {
		return query.Call{}, err
	}
	c.Links = callLinks(ctx, c)
	return c, nil
}

// CallInput names a call.
type CallInput struct {
	CompanyInput
	Call string `path:"call" maxLength:"512" doc:"The call's id, or any leg's SIP Call-ID"`
}

// ExplainInput asks how the numbers came to be.
type ExplainInput struct {
	Explain bool `query:"explain" doc:"Say of every number how it came to be"`
}

// explainedCall is a call with what each of its numbers was made of.
type explainedCall struct {
	query.Call
	Explain map[string]explain.Explanation `json:"explain,omitempty" doc:"By path in this object, such as verdict.delay.rtt_ms.p95; with explain=true"`
}

// explainedSamples is a page of samples with what their columns were made of.
type explainedSamples struct {
	query.List[query.Sample]
	Explain map[string]explain.Explanation `json:"explain,omitempty" doc:"By source and column, such as rtcp.jitter_ms; with explain=true"`
}

type samplesOutput struct {
	Vary string `header:"Vary"`
	Next string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Body explainedSamples
}

// rawOutput answers bytes of a type of their own.
type rawOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// eventStream answers server-sent events.
type eventStream struct {
	Body func(huma.Context)
}

func (s *server) routeCalls() {
	tags := []string{"Calls"}

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls", OperationID: "list-calls", Summary: "Calls, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			User string `query:"user" maxLength:"64" doc:"Id of a user on either side"`
			CallFilter
			PageInput
		}) (*listOutput[query.Call], error) {
			return s.calls(ctx, in.Company, in.User, in.CallFilter, in.PageInput)
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}", OperationID: "get-call", Summary: "A call with its verdict and what it rests on", Tags: tags},
		func(ctx context.Context, in *struct {
			CallInput
			ExplainInput
		}) (*bodyOutput[explainedCall], error) {
			c, err := s.comparedCall(ctx, in.Company, in.Call)
			if err != nil {
				return nil, err
			}
			out := &bodyOutput[explainedCall]{Body: explainedCall{Call: c}}
			if in.Explain {
				out.Body.Explain, err = explain.Call(c)
			}
			return out, err
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/samples", OperationID: "list-samples", Summary: "The points behind a call's graphs, in order of time", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CallInput
			ExplainInput
			PageInput
		}) (*samplesOutput, error) {
			samples, err := s.deps.Query.Company(in.Company).Samples(ctx, in.Call, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			l := listOf(samples)
			out := &samplesOutput{Vary: l.Vary, Next: l.Next, Body: explainedSamples{List: l.Body}}
			if in.Explain {
				out.Body.Explain = explain.Samples(samples.Items)
			}
			return out, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/messages", OperationID: "list-messages", Summary: "The SIP ladder, in order of time", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CallInput
			PageInput
		}) (*listOutput[query.Message], error) {
			messages, err := s.deps.Query.Company(in.Company).Messages(ctx, in.Call, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			return listOf(messages), nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/messages.pcap", OperationID: "get-messages-pcap", Summary: "The SIP messages of a call as a capture file", Tags: tags, Metadata: map[string]any{metaFormats: []string{pcapType}}},
		func(ctx context.Context, in *CallInput) (*rawOutput, error) {
			q := s.deps.Query.Company(in.Company)
			var datagrams []pcap.Datagram
			size := 0
			page := query.Page{Limit: 1000}
			for {
				messages, err := q.Messages(ctx, in.Call, page)
				if err != nil {
					return nil, err
				}
				for _, m := range messages.Items {
					d := datagram(m)
					datagrams = append(datagrams, d)
					size += len(d.Payload) + headerBytes
				}
				if messages.NextCursor == nil || size > maxCaptureBytes {
					break
				}
				page.Cursor = *messages.NextCursor
			}
			var buf bytes.Buffer
			if err := pcap.WriteUDP(&buf, datagrams); err != nil {
				return nil, err
			}
			return &rawOutput{ContentType: pcapType, Disposition: `attachment; filename="messages.pcap"`, Body: buf.Bytes()}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/report", OperationID: "get-report", Summary: "What a ticket needs", Tags: tags, Metadata: map[string]any{metaFormats: []string{markdownType}}},
		func(ctx context.Context, in *struct {
			CallInput
			ExplainInput
		}) (*struct {
			Vary string `header:"Vary"`
			Body report
		}, error) {
			c, err := s.comparedCall(ctx, in.Company, in.Call)
			if err != nil {
				return nil, err
			}
			r := reportOf(c)
			if in.Explain {
				r.Explain, err = explain.Call(c)
			}
			return &struct {
				Vary string `header:"Vary"`
				Body report
			}{Vary: "Accept", Body: r}, err
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/live", OperationID: "follow-call", Summary: "A call while it runs, as server-sent events", Tags: tags,
		Description: "Event call: the call object, each time it has changed. Event end: the call is over and its verdict final; the stream ends.", Metadata: map[string]any{metaFormats: []string{eventStreamType}}},
		func(ctx context.Context, in *CallInput) (*eventStream, error) {
			if _, err := s.call(ctx, in.Company, in.Call); err != nil {
				return nil, err // while there still is a status to say it with
			}
			return &eventStream{Body: func(ctx huma.Context) { s.followCall(ctx, in.Company, in.Call) }}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/live", OperationID: "follow-company", Summary: "All running calls, as server-sent events", Tags: tags,
		Description: "Event call: a call object, when it begins and each time it has changed. Event end: {\"id\"} of a call that is over.", Metadata: map[string]any{metaFormats: []string{eventStreamType}}},
		func(ctx context.Context, in *CompanyInput) (*eventStream, error) {
			if _, err := s.deps.Query.Company(in.Company).LiveCalls(ctx, query.Page{Limit: 1}); err != nil {
				return nil, err
			}
			return &eventStream{Body: func(ctx huma.Context) { s.followCompany(ctx, in.Company) }}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/ratings", OperationID: "list-ratings", Summary: "What users thought of calls, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			User string `query:"user" maxLength:"64" doc:"Id of the user who rated"`
			TimeInput
			PageInput
		}) (*listOutput[query.Rating], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			ratings, err := s.deps.Query.Company(in.Company).Ratings(ctx, query.RatingFilter{User: in.User, From: in.from(), To: in.to()}, in.PageInput.query())
			if err != nil {
				return nil, err
			}
			return listOf(ratings), nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/quality/trend", OperationID: "get-quality-trend", Summary: "Calls, verdicts and percentiles over time", Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			GroupBy string `query:"group_by" enum:"office,app_version,platform,endpoint,network,user,direction" doc:"Of the target; not given: all together"`
			User    string `query:"user" maxLength:"64"`
			Office  string `query:"office" maxLength:"64"`
			TrendInput
		}) (*bodyOutput[query.QualityTrend], error) {
			f, err := s.trend(in.TrendInput)
			if err != nil {
				return nil, err
			}
			t, err := s.deps.Query.Company(in.Company).QualityTrend(ctx, query.QualityFilter{GroupBy: in.GroupBy, Interval: f.Interval, TimeZone: f.TimeZone, From: f.From, To: f.To, User: in.User, Office: in.Office})
			return &bodyOutput[query.QualityTrend]{Body: t}, err
		})
}

// TrendInput is what all trends are asked with.
type TrendInput struct {
	Interval string `query:"interval" enum:"1m,5m,15m,30m,1h,3h,6h,12h,1d" default:"1h"`
	TimeZone string `query:"time_zone" maxLength:"64" doc:"IANA name; days and hours begin by it. Default UTC"`
	TimeInput
}

// trend fills in what was not asked: the last day up to now.
func (s *server) trend(in TrendInput) (query.TrendFilter, error) {
	if _, err := zone(in.TimeZone); err != nil {
		return query.TrendFilter{}, err
	}
	if in.To.IsZero() {
		in.To = s.now()
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-24 * time.Hour)
	}
	if err := in.TimeInput.check(); err != nil {
		return query.TrendFilter{}, err
	}
	return query.TrendFilter{Interval: in.Interval, TimeZone: in.TimeZone, From: in.from(), To: in.to()}, nil
}

func (s *server) routeRegistrations() {
	tags := []string{"Registrations"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/registrations", OperationID: "list-registrations", Summary: "Current bindings, or with history=true their changes, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			User string `query:"user" maxLength:"64" doc:"Id of the user"`
			RegistrationInput
			PageInput
		}) (*registrationsOutput, error) {
			return s.registrations(ctx, in.Company, in.User, in.RegistrationInput, in.PageInput)
		})
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/registrations", OperationID: "list-user-registrations", Summary: "A user's current bindings, or with history=true their changes, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			RegistrationInput
			PageInput
		}) (*registrationsOutput, error) {
			if _, err := s.deps.Directory.User(ctx, in.Company, in.User); err != nil {
				return nil, err
			}
			return s.registrations(ctx, in.Company, in.User, in.RegistrationInput, in.PageInput)
		})
}

// RegistrationInput narrows a list of registrations.
type RegistrationInput struct {
	AOR     string `query:"aor" maxLength:"256" doc:"SIP address"`
	Device  string `query:"device" maxLength:"64" doc:"Id of the device"`
	State   string `query:"state" enum:"registered,unregistered,lapsed,failed"`
	Health  string `query:"health" enum:"healthy,flapping,failing_authentication,lapsed,unregistered,never_registered,push" doc:"How the device fares; not of the history"`
	History bool   `query:"history" doc:"The changes instead of the current bindings"`
	TimeInput
}

// registrationsOutput is a list of one of two kinds, by history.
type registrationsOutput struct {
	Vary string `header:"Vary"`
	Next string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Body any
}

func (s *server) registrations(ctx context.Context, company, user string, in RegistrationInput, page PageInput) (*registrationsOutput, error) {
	if err := in.TimeInput.check(); err != nil {
		return nil, err
	}
	f := query.RegistrationFilter{User: user, AOR: in.AOR, DeviceID: in.Device, State: in.State, Health: in.Health}
	q := s.deps.Query.Company(company)
	if !in.History {
		if !in.From.IsZero() || !in.To.IsZero() {
			return nil, newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.from", Message: "goes with history=true only"})
		}
		regs, err := q.Registrations(ctx, f, page.query())
		if err != nil {
			return nil, err
		}
		releases, err := s.deps.Directory.AppReleases(ctx, company)
		if err != nil {
			return nil, err
		}
		l := listOf(registrationsOf(regs, releases))
		return &registrationsOutput{Vary: l.Vary, Next: l.Next, Body: l.Body}, nil
	}
	f.From, f.To = in.from(), in.to()
	changes, err := q.RegistrationHistory(ctx, f, page.query())
	if err != nil {
		return nil, err
	}
	l := listOf(changes)
	return &registrationsOutput{Vary: l.Vary, Next: l.Next, Body: l.Body}, nil
}
