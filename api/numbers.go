package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type number struct {
	Number   string       `json:"number" doc:"E.164 with +"`
	National string       `json:"national" doc:"National significant number"`
	Type     string       `json:"type" enum:"local,toll_free"`
	Status   string       `json:"status" enum:"available,user,department,office,room,contact_center,port_pending"`
	AreaCode string       `json:"area_code"`
	Prefix   string       `json:"prefix"`
	Region   string       `json:"region" doc:"ISO 3166"`
	Owner    *numberOwner `json:"owner" doc:"null where available or being ported"`
	Since    query.Time   `json:"since" doc:"Since when it has been so"`
}

type numberOwner struct {
	Kind string `json:"kind" enum:"user,department,office,room,contact_center"`
	ID   string `json:"id" minLength:"1" maxLength:"64"`
	Name string `json:"name,omitempty" readOnly:"true"`
}

// numberTarget is where a number may go: to an owner or back to the pool.
type numberTarget struct {
	Kind string `json:"kind" enum:"user,department,office,room,contact_center,pool"`
	ID   string `json:"id,omitempty" maxLength:"64" doc:"None for the pool"`
}

func (t numberTarget) directory() directory.Owner { return directory.Owner{Kind: t.Kind, ID: t.ID} }

func ownerOf(o *directory.Owner) *numberOwner {
	if o == nil {
		return nil
	}
	return &numberOwner{Kind: o.Kind, ID: o.ID, Name: o.Name}
}

func numberOf(n directory.Number) number {
	return number{Number: n.Number, National: n.National, Type: n.Type, Status: n.Status, AreaCode: n.AreaCode, Prefix: n.Prefix, Region: n.Region,
		Owner: ownerOf(n.Owner), Since: at(n.Since)}
}

type assignment struct {
	Owner  *numberOwner `json:"owner" doc:"null: no one"`
	Status string       `json:"status" enum:"available,user,department,office,room,contact_center,port_pending"`
	From   query.Time   `json:"from"`
	Until  query.Time   `json:"until" doc:"null: still"`
	By     actor        `json:"by" doc:"Who made it so; without a name where it was so before histories were kept"`
	Reason string       `json:"reason"`
}

func assignmentOf(a directory.Assignment) assignment {
	return assignment{Owner: ownerOf(a.Owner), Status: a.Status, From: at(a.From), Until: at(a.Until), By: actorFor(a.By), Reason: a.Reason}
}

// NumberInput names a number.
type NumberInput struct {
	CompanyInput
	Number string `path:"number" maxLength:"40" doc:"In any way of writing it"`
}

func (s *server) routeNumbers() {
	tags := []string{"Numbers"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/numbers", OperationID: "list-numbers", Summary: "Numbers", Tags: tags,
		Description: "Digits are read in any way that people write them: with punctuation, with a trunk prefix, with +, 00 or 011, as a tel: URI, with the letters of a telephone's keys.\n\n" +
			"The order is that of what is searched by: numerical, but with q what begins with it first, then what has it as prefix, then what ends in it; with suffix by the digits from the last to the first.", Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			Q         string `query:"q" maxLength:"60" doc:"A full number, area code, prefix or the end of a number"`
			AreaCode  string `query:"area_code" maxLength:"20" doc:"What national numbers begin with"`
			Prefix    string `query:"prefix" maxLength:"40" doc:"Up to three digits: what follows area_code, or without it the digits 4 to 6 of the national number. Longer or with +: what the number begins with"`
			Suffix    string `query:"suffix" maxLength:"40" doc:"What numbers end in"`
			Type      string `query:"type" enum:"local,toll_free"`
			Status    string `query:"status" enum:"available,user,department,office,room,contact_center,port_pending"`
			OwnerKind string `query:"owner_kind" enum:"user,department,office,room,contact_center"`
			Owner     string `query:"owner" maxLength:"64" doc:"Id of the owner; owner_kind says of what"`
			Office    string `query:"office" maxLength:"64" doc:"Id of the office that the owner is in, or is"`
			PageInput
		}) (*listOutput[number], error) {
			filter := directory.NumberFilter{Query: writtenNumber(in.Q), AreaCode: writtenNumber(in.AreaCode), Prefix: writtenNumber(in.Prefix), Suffix: in.Suffix,
				Type: in.Type, Status: in.Status, OwnerKind: in.OwnerKind, Office: in.Office, Page: in.PageInput.directory()}
			if in.Owner != "" {
				if in.OwnerKind == "" {
					return nil, newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.owner", Message: "needs owner_kind"})
				}
				filter.Owner = &directory.Owner{Kind: in.OwnerKind, ID: in.Owner}
			}
			numbers, next, err := s.deps.Directory.Numbers(ctx, in.Company, filter)
			if err != nil {
				return nil, err
			}
			items := make([]number, len(numbers))
			for i, n := range numbers {
				items[i] = numberOf(n)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/numbers", OperationID: "create-number", Summary: "Add a number", Tags: tags, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body struct {
				Number string       `json:"number" minLength:"3" maxLength:"40"`
				Status string       `json:"status,omitempty" enum:"available,user,department,office,room,contact_center,port_pending" doc:"Default: as the owner says, else available"`
				Owner  *numberOwner `json:"owner,omitempty"`
			}
		}) (*bodyOutput[number], error) {
			var owner *directory.Owner
			if o := in.Body.Owner; o != nil {
				owner = &directory.Owner{Kind: o.Kind, ID: o.ID}
			}
			n, err := s.deps.Directory.CreateNumber(ctx, in.Company, in.Body.Number, in.Body.Status, owner)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[number]{Body: numberOf(n)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/numbers/{number}", OperationID: "get-number", Summary: "A number", Tags: tags},
		func(ctx context.Context, in *NumberInput) (*bodyOutput[number], error) {
			n, err := s.deps.Directory.Number(ctx, in.Company, in.Number)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[number]{Body: numberOf(n)}, nil
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/numbers/{number}/transfer", OperationID: "transfer-number", Summary: "Assign a number to another owner, or return it to the pool",
		Description: "409 where the owner it is taken from, of whatever kind, would be left without a number, and while the number is being ported.", Tags: tags, Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			NumberInput
			Body struct {
				To     numberTarget `json:"to"`
				Reason string       `json:"reason,omitempty" maxLength:"1000" doc:"Kept in the number's history and in the notes of the users concerned"`
			}
		}) (*bodyOutput[number], error) {
			n, err := s.deps.Directory.TransferNumber(ctx, in.Company, writtenNumber(in.Number), in.Body.To.directory(), in.Body.Reason)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[number]{Body: numberOf(n)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/numbers/{number}/history", OperationID: "number-history", Summary: "Who had a number from when until when, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			NumberInput
			PageInput
		}) (*listOutput[assignment], error) {
			history, next, err := s.deps.Directory.NumberHistory(ctx, in.Company, writtenNumber(in.Number), in.PageInput.directory())
			if err != nil {
				return nil, err
			}
			items := make([]assignment, len(history))
			for i, a := range history {
				items[i] = assignmentOf(a)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/numbers/{number}/owner", OperationID: "number-owner", Summary: "Who had a number at a time",
		Description: "404 where the company did not have the number then, or nothing is known of that time.", Tags: tags},
		func(ctx context.Context, in *struct {
			NumberInput
			AtInput
		}) (*bodyOutput[assignment], error) {
			when := in.At
			if when.IsZero() {
				when = s.now()
			}
			a, err := s.deps.Directory.NumberAt(ctx, in.Company, writtenNumber(in.Number), when)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[assignment]{Body: assignmentOf(a)}, nil
		})
}
