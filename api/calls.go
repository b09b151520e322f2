package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/query/explain"
)

// CallFilter narrows a list of calls.
type CallFilter struct {
	Number       string `query:"number" maxLength:"64" doc:"A number of either side, in any way of writing it"`
	NumberPrefix string `query:"number_prefix" maxLength:"40" doc:"What a number of either side begins with: with + the country code first, without it national digits, with area_code what follows that"`
	NumberSuffix string `query:"number_suffix" maxLength:"40" doc:"What a number of either side ends in"`
	AreaCode     string `query:"area_code" maxLength:"20" doc:"What a national number of either side begins with"`
	Device       string `query:"device" maxLength:"64" doc:"Id of a device on either side"`
	Address      string `query:"address" maxLength:"64" doc:"IP address that a leg's media came from or went to, as signalling told it"`
	SIPCallID    string `query:"sip_call_id" maxLength:"256" doc:"SIP Call-ID of any leg"`
	Direction    string `query:"direction" enum:"inbound,outbound,internal"`
	State        string `query:"state" enum:"live,ended"`
	Verdict      string `query:"verdict" enum:"good,acceptable,bad,unacceptable,unknown,one_way,choppy,delay,loss" doc:"The overall verdict, or what is wrong"`
	Rejected     string `query:"rejected" enum:"true,false" doc:"Whether any leg was refused"`
	Rating       uint32 `query:"rating" minimum:"1" maximum:"5"`
	Q            string `query:"q" maxLength:"256" doc:"Any id: of the call, a leg, a SIP dialog, a user or a device; or a number"`
	TimeInput
}

// callFilter reads the digits of numbers as the company writes them.
func (s *server) callFilter(ctx context.Context, company, user string, f CallFilter) (query.CallFilter, error) {
	if err := f.TimeInput.check(); err != nil {
		return query.CallFilter{}, err
	}
	out := query.CallFilter{User: user, Device: f.Device, SIPCallID: f.SIPCallID, Direction: f.Direction, State: f.State, Verdict: f.Verdict,
		Rejected: tristate(f.Rejected), From: f.from(), To: f.to(), Q: writtenNumber(f.Q)}
	if f.Number != "" {
		out.Number = s.deps.Directory.E164(ctx, company, writtenNumber(f.Number))
	}
	var err error
	if out.NumberPrefix, err = s.deps.Directory.NumberBeginning(ctx, company, writtenNumber(f.AreaCode), writtenNumber(f.NumberPrefix)); err != nil {
		return out, err
	}
	if out.NumberSuffix, err = directory.NumberEnding(writtenNumber(f.NumberSuffix)); err != nil {
		return out, err
	}
	if f.Address != "" {
		address, err := netip.ParseAddr(f.Address)
		if err != nil {
			return out, newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.address", Message: "must be an IP address, without a port"})
		}
		out.Address = address.String()
	}
	if f.Rating != 0 {
		out.Rating = &f.Rating
	}
	return out, nil
}

func (s *server) calls(ctx context.Context, company, user string, f CallFilter, page RowsInput) (*rowsOutput[query.Call], error) {
	filter, err := s.callFilter(ctx, company, user, f)
	if err != nil {
		return nil, err
	}
	q, file := s.deps.Query.Company(company), page.file(s.api)
	if file != "" && page.all() {
		return fileOf[query.Call](newFile(ctx, s, file, company+"-calls", true, callColumns, func(ctx context.Context, row func(*callRow) error) error {
			return q.EachCall(ctx, filter, row)
		})), nil
	}
	calls, err := q.Calls(ctx, filter, page.query())
	if err != nil {
		return nil, err
	}
	if file != "" {
		ids := make([]string, len(calls.Items))
		for i := range calls.Items {
			ids[i] = calls.Items[i].ID
		}
		rows, err := q.CallRows(ctx, ids)
		if err != nil {
			return nil, err
		}
		return pageFile(newFile(ctx, s, file, company+"-calls", false, callColumns, eachOf(rows)), calls), nil
	}
	for i := range calls.Items {
		calls.Items[i].Links = callLinks(ctx, calls.Items[i])
	}
	return rowsOf(calls), nil
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
	file    *file
}

func (e explainedSamples) writeFile(w io.Writer) error { return e.file.writeFile(w) }

type samplesOutput struct {
	Vary        string `header:"Vary"`
	Next        string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Disposition string `header:"Content-Disposition" doc:"The name of a file"`
	Body        explainedSamples
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

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls", OperationID: "list-calls", Summary: "Calls, the newest first", Description: rowsDescription, Tags: tags, Metadata: rowsToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			User string `query:"user" maxLength:"64" doc:"Id of a user on either side"`
			CallFilter
			RowsInput
		}) (*rowsOutput[query.Call], error) {
			return s.calls(ctx, in.Company, in.User, in.CallFilter, in.RowsInput)
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

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/samples", OperationID: "list-samples", Summary: "The points behind a call's graphs, in order of time", Description: rowsDescription, Tags: tags, Metadata: rowsToo},
		func(ctx context.Context, in *struct {
			CallInput
			ExplainInput
			RowsInput
		}) (*samplesOutput, error) {
			q := s.deps.Query.Company(in.Company)
			l, err := rowsAnswer(ctx, s, in.RowsInput, in.Company+"-call-samples", sampleColumns,
				func(page query.Page) (query.List[query.Sample], error) { return q.Samples(ctx, in.Call, page) },
				func(ctx context.Context, row func(*query.Sample) error) error {
					return q.EachSample(ctx, in.Call, row)
				})
			if err != nil {
				return nil, err
			}
			out := &samplesOutput{Vary: l.Vary, Next: l.Next, Disposition: l.Disposition, Body: explainedSamples{List: l.Body.List, file: l.Body.file}}
			if in.Explain {
				out.Body.Explain = explain.Samples(l.Body.Items)
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
