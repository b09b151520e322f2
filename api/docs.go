package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle []byte

// docs is the OpenAPI document as a page that needs nothing from elsewhere, not
// even a script.
type docs struct {
	html []byte
}

type docsOperation struct {
	Method, Path, ID, Summary, Description string
	Parameters                             []docsParameter
	Body, Answer                           string
	Formats                                []string
	Public                                 bool
}

type docsParameter struct {
	Name, In, Type, Doc string
	Required            bool
}

type docsGroup struct {
	Name       string
	Operations []docsOperation
}

type docsSchema struct {
	Name, JSON string
}

func newDocs(api *huma.OpenAPI) (*docs, error) {
	groups := map[string]*docsGroup{}
	for path, item := range api.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			tag := "Others"
			if len(op.Tags) > 0 {
				tag = op.Tags[0]
			}
			if groups[tag] == nil {
				groups[tag] = &docsGroup{Name: tag}
			}
			o := docsOperation{Method: method, Path: path, ID: op.OperationID, Summary: op.Summary, Description: op.Description, Public: op.Metadata[metaPublic] == true}
			o.Formats, _ = op.Metadata[metaFormats].([]string)
			for _, p := range op.Parameters {
				d := docsParameter{Name: p.Name, In: p.In, Type: schemaName(p.Schema), Doc: p.Description, Required: p.Required}
				if p.Schema != nil && d.Doc == "" {
					d.Doc = p.Schema.Description
				}
				o.Parameters = append(o.Parameters, d)
			}
			if op.RequestBody != nil {
				o.Body = contentName(op.RequestBody.Content)
			}
			codes := make([]string, 0, len(op.Responses))
			for code := range op.Responses {
				codes = append(codes, code)
			}
			sort.Strings(codes)
			for _, code := range codes {
				if strings.HasPrefix(code, "2") {
					o.Answer = strings.TrimSpace(code + " " + contentName(op.Responses[code].Content))
					break
				}
			}
			groups[tag].Operations = append(groups[tag].Operations, o)
		}
	}
	sorted := make([]docsGroup, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g.Operations, func(a, b docsOperation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b docsGroup) int { return strings.Compare(a.Name, b.Name) })

	var schemas []docsSchema
	for name, s := range api.Components.Schemas.Map() {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("cannot render the API's documentation: %w", err)
		}
		schemas = append(schemas, docsSchema{Name: name, JSON: string(b)})
	}
	slices.SortFunc(schemas, func(a, b docsSchema) int { return strings.Compare(a.Name, b.Name) })

	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return nil, fmt.Errorf("cannot render the API's documentation: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{"Title": api.Info.Title, "Version": api.Info.Version, "Description": strings.Split(api.Info.Description, "\n\n"), "Groups": sorted, "Schemas": schemas})
	if err != nil {
		return nil, fmt.Errorf("cannot render the API's documentation: %w", err)
	}
	return &docs{html: out.Bytes()}, nil
}

func contentName(content map[string]*huma.MediaType) string {
	if m := content["application/json"]; m != nil {
		return schemaName(m.Schema)
	}
	for _, m := range content {
		return schemaName(m.Schema)
	}
	return ""
}

// schemaName says what a schema is in a word or two.
func schemaName(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, " | ")
	case s.Type == huma.TypeArray:
		return "list of " + schemaName(s.Items)
	case s.Format != "":
		return s.Format
	}
	return s.Type
}

func (d *docs) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(d.html)
}

func (d *docs) style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(docsStyle)
}
