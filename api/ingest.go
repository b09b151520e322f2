package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
	"github.com/goccy/go-yaml"

	"github.com/earshot/earshot/query"
)

func (s *server) routeIngest() {
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/ingest", OperationID: "list-ingest", Tags: []string{"Ingest"},
		Summary:     "What was received from each agent and what became of it",
		Description: "Per listener and agent, the losses first: received = produced + rejected + dropped, beside what was in flight at either end of the time. Without from: the last hour. What names no company, as datagrams that the kernel dropped, stands with the default company.",
		Metadata:    csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			TimeInput
		}) (*listOutput[query.IngestAccount], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			accounts, err := s.deps.Query.Company(in.Company).Ingest(ctx, in.from(), in.to())
			if err != nil {
				return nil, err
			}
			return list(accounts, ""), nil
		})
}

// describeIngest completes the OpenAPI document with the routes below
// /ingest/v1/, which another package answers and describes.
func describeIngest(doc *huma.OpenAPI, description []byte) error {
	var routes struct {
		Paths   map[string]*huma.PathItem `yaml:"paths"`
		Schemas map[string]*huma.Schema   `yaml:"schemas"`
	}
	if err := yaml.Unmarshal(description, &routes); err != nil {
		return fmt.Errorf("cannot read the description of the ingest routes: %w", err)
	}
	for name, schema := range routes.Schemas {
		doc.Components.Schemas.Map()[name] = schema
	}
	for path, item := range routes.Paths {
		doc.Paths[path] = item
	}
	return nil
}
