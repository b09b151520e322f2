package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
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
}

type numberOwner struct {
	Kind string `json:"kind" enum:"user,department,office,room,contact_center"`
	ID   string `json:"id" minLength:"1" maxLength:"64"`
	Name string `json:"name,omitempty" readOnly:"true"`
}

func numberOf(n directory.Number) number {
	out := number{Number: n.Number, National: n.National, Type: n.Type, Status: n.Status, AreaCode: n.AreaCode, Prefix: n.Prefix, Region: n.Region}
	if n.Owner != nil {
		out.Owner = &numberOwner{Kind: n.Owner.Kind, ID: n.Owner.ID, Name: n.Owner.Name}
	}
	return out
}

// NumberInput names a number.
type NumberInput struct {
	CompanyInput
	Number string `path:"number" maxLength:"40" doc:"In any way of writing it"`
}

func (s *server) routeNumbers() {
	tags := []string{"Numbers"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/numbers", OperationID: "list-numbers", Summary: "Numbers in numerical order", Tags: tags, Metadata: map[string]any{metaFormats: []string{csvType}}},
		func(ctx context.Context, in *struct {
			CompanyInput
			Q      string `query:"q" maxLength:"40" doc:"A full number, area code, prefix or the end of a number, in any punctuation"`
			Type   string `query:"type" enum:"local,toll_free"`
			Status string `query:"status" enum:"available,user,department,office,room,contact_center,port_pending"`
			PageInput
		}) (*listOutput[number], error) {
			numbers, next, err := s.deps.Directory.Numbers(ctx, in.Company, directory.NumberFilter{Query: writtenNumber(in.Q), Type: in.Type, Status: in.Status, Page: in.PageInput.directory()})
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

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/numbers/{number}/transfer", OperationID: "transfer-number", Summary: "Assign a number to another owner",
		Description: "409 where the owner it is taken from would be left without a number.", Tags: tags, Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			NumberInput
			Body struct {
				To numberOwner `json:"to"`
			}
		}) (*bodyOutput[number], error) {
			n, err := s.deps.Directory.TransferNumber(ctx, in.Company, in.Number, directory.Owner{Kind: in.Body.To.Kind, ID: in.Body.To.ID})
			if err != nil {
				return nil, err
			}
			return &bodyOutput[number]{Body: numberOf(n)}, nil
		})
}
