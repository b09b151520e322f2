package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type portRequest struct {
	ID              string           `json:"id"`
	BatchID         string           `json:"batch_id" doc:"Requests that were made together have the same"`
	Office          string           `json:"office"`
	LNPID           string           `json:"lnp_id" doc:"What the number portability administration calls it"`
	DIDs            int              `json:"dids" doc:"How many numbers"`
	Numbers         []string         `json:"numbers,omitempty" doc:"E.164; not in lists"`
	PortType        string           `json:"port_type" enum:"port_in,port_out"`
	State           string           `json:"state" enum:"draft,submitted,foc_received,rejected,completed,cancelled"`
	Transitions     []string         `json:"transitions" doc:"States that may follow"`
	RequestedAt     query.Time       `json:"requested_at"`
	ModifiedAt      query.Time       `json:"modified_at"`
	FOCDate         *string          `json:"foc_date" format:"date" doc:"The day of the port, as the losing carrier confirmed it"`
	Target          *numberOwner     `json:"target" doc:"Who gets the numbers in the end; null: the pool"`
	Carrier         string           `json:"carrier" doc:"The other one"`
	RejectionReason string           `json:"rejection_reason"`
	History         []portTransition `json:"history,omitempty" doc:"The oldest first; not in lists"`
}

type portTransition struct {
	At   query.Time `json:"at"`
	From string     `json:"from" doc:"Empty: the request was made"`
	To   string     `json:"to"`
	By   actor      `json:"by"`
	Text string     `json:"text" doc:"The reason given"`
}

func portRequestOf(r directory.PortRequest) portRequest {
	out := portRequest{
		ID: r.ID, BatchID: r.BatchID, Office: r.Office, LNPID: r.LNPID, DIDs: r.DIDs, Numbers: r.Numbers, PortType: r.Type, State: r.State,
		Transitions: orEmpty(r.Transitions()), RequestedAt: at(r.RequestedAt), ModifiedAt: at(r.ModifiedAt), Target: ownerOf(r.Target),
		FOCDate: given(r.FOCDate), Carrier: r.Carrier, RejectionReason: r.RejectionReason,
	}
	for _, t := range r.History {
		out.History = append(out.History, portTransition{At: at(t.At), From: t.From, To: t.To, By: actorFor(t.By), Text: t.Text})
	}
	return out
}

// optional is a member of a body that may be left out, or null to take away what is there.
type optional[T any] struct {
	Sent  bool
	Value *T
}

// UnmarshalJSON is called for null too, but not for what is left out.
func (g *optional[T]) UnmarshalJSON(b []byte) error {
	g.Sent = true
	return json.Unmarshal(b, &g.Value)
}

// Schema makes the OpenAPI document say what T is.
func (g optional[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// or is the value, or none where it was null; nil where it was left out.
func (g optional[T]) or(none T) *T {
	if g.Sent && g.Value == nil {
		return &none
	}
	return g.Value
}

// PortInput names a port request.
type PortInput struct {
	CompanyInput
	ID string `path:"id" maxLength:"64"`
}

// portBody is what a request is made of, and what PATCH may change.
type portBody struct {
	BatchID *string                `json:"batch_id,omitempty" maxLength:"100" doc:"Made up where not given"`
	Office  *string                `json:"office,omitempty" maxLength:"64" doc:"Id of the office"`
	LNPID   *string                `json:"lnp_id,omitempty" maxLength:"100"`
	Type    *string                `json:"port_type,omitempty" enum:"port_in,port_out" doc:"Default port_in"`
	Numbers *[]string              `json:"numbers,omitempty" maxItems:"1000" doc:"In any way of writing them"`
	Carrier *string                `json:"carrier,omitempty" maxLength:"200"`
	FOCDate optional[string]       `json:"foc_date,omitempty" doc:"YYYY-MM-DD; null: none"`
	Target  optional[numberTarget] `json:"target,omitempty" doc:"Who gets the numbers when the port is complete; null: the pool"`
}

func (b portBody) change() directory.PortChange {
	c := directory.PortChange{BatchID: b.BatchID, Office: b.Office, LNPID: b.LNPID, Type: b.Type, Numbers: b.Numbers, Carrier: b.Carrier, FOCDate: b.FOCDate.or("")}
	if t := b.Target.or(numberTarget{Kind: directory.KindPool}); t != nil {
		o := t.directory()
		c.Target = &o
	}
	return c
}

func (s *server) routePorts() {
	tags := []string{"Port requests"}
	one := func(r directory.PortRequest, err error) (*bodyOutput[portRequest], error) {
		if err != nil {
			return nil, err
		}
		return &bodyOutput[portRequest]{Body: portRequestOf(r)}, nil
	}

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/port-requests", OperationID: "list-port-requests", Summary: "Port requests, the last requested first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			State  string `query:"state" enum:"draft,submitted,foc_received,rejected,completed,cancelled"`
			Office string `query:"office" maxLength:"64" doc:"Id of the office"`
			Batch  string `query:"batch" maxLength:"100" doc:"Id of the batch"`
			LNPID  string `query:"lnp_id" maxLength:"100"`
			Q      string `query:"q" maxLength:"100" doc:"Part of an id, batch id, LNP id, carrier or number"`
			PageInput
		}) (*listOutput[portRequest], error) {
			requests, next, err := s.deps.Directory.PortRequests(ctx, in.Company, directory.PortFilter{State: in.State, Office: in.Office, Batch: in.Batch, LNPID: in.LNPID,
				Query: writtenNumber(in.Q), Page: in.PageInput.directory()})
			if err != nil {
				return nil, err
			}
			items := make([]portRequest, len(requests))
			for i, r := range requests {
				items[i] = portRequestOf(r)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/port-requests", OperationID: "create-port-request", Summary: "Draft a port request",
		Description: "Its numbers are not touched before it is submitted.", Tags: tags, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body portBody
		}) (*bodyOutput[portRequest], error) {
			c := in.Body.change()
			r := directory.PortRequest{Type: directory.PortIn, Target: c.Target}
			for to, from := range map[*string]*string{&r.BatchID: c.BatchID, &r.Office: c.Office, &r.LNPID: c.LNPID, &r.Type: c.Type, &r.FOCDate: c.FOCDate, &r.Carrier: c.Carrier} {
				if from != nil {
					*to = *from
				}
			}
			if c.Numbers != nil {
				r.Numbers = *c.Numbers
			}
			return one(s.deps.Directory.CreatePortRequest(ctx, in.Company, r))
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/port-requests/{id}", OperationID: "get-port-request", Summary: "A port request with its numbers and history", Tags: tags},
		func(ctx context.Context, in *PortInput) (*bodyOutput[portRequest], error) {
			return one(s.deps.Directory.PortRequest(ctx, in.Company, in.ID))
		})

	add(s, huma.Operation{Method: "PATCH", Path: companyPath + "/port-requests/{id}", OperationID: "update-port-request", Summary: "Change a port request",
		Description: "Members that are not given stay as they are. Type and numbers change only as a draft or when rejected; nothing does once it is completed or cancelled.",
		Tags:        tags, Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			PortInput
			Body portBody
		}) (*bodyOutput[portRequest], error) {
			return one(s.deps.Directory.UpdatePortRequest(ctx, in.Company, in.ID, in.Body.change()))
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/port-requests/{id}/transition", OperationID: "transit-port-request", Summary: "Change the state of a port request",
		Description: "draft → submitted, cancelled · submitted → foc_received, rejected, cancelled · foc_received → completed, rejected, cancelled · rejected → submitted, cancelled. " +
			"Any other is 409 and names those that may follow.\n\nNumbers are port_pending from submitted on. Completed, those that came go to the target or the pool and those that left are gone. " +
			"Rejected or cancelled, numbers that were the company's own are as before and the others are gone from its list.",
		Tags: tags, Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			PortInput
			Body struct {
				To      string `json:"to" enum:"submitted,foc_received,rejected,completed,cancelled"`
				FOCDate string `json:"foc_date,omitempty" maxLength:"10" doc:"YYYY-MM-DD; for foc_received, where the request has none yet"`
				Reason  string `json:"reason,omitempty" maxLength:"1000" doc:"Required for rejected"`
			}
		}) (*bodyOutput[portRequest], error) {
			return one(s.deps.Directory.TransitPortRequest(ctx, in.Company, in.ID, directory.PortStep{To: in.Body.To, FOCDate: in.Body.FOCDate, Reason: in.Body.Reason}))
		})
}
