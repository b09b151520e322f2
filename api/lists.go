package api

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// companyPath is the beginning of nearly every route.
const companyPath = "/api/v1/companies/{company}"

// CompanyInput and the other inputs are exported because huma reads exported
// fields only, embedded ones too.
type CompanyInput struct {
	Company string `path:"company" doc:"Id of the company" maxLength:"64"`
}

// PageInput asks for a part of a list.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Items in the answer"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next_cursor of the answer before"`
}

func (p PageInput) directory() directory.Page {
	return directory.Page{Limit: p.Limit, Cursor: p.Cursor}
}
func (p PageInput) query() query.Page { return query.Page{Limit: p.Limit, Cursor: p.Cursor} }

// TimeInput narrows a list to a time.
type TimeInput struct {
	From time.Time `query:"from" doc:"Not before this time, RFC 3339"`
	To   time.Time `query:"to" doc:"Before this time, RFC 3339"`
}

func (t TimeInput) check() error {
	if !t.From.IsZero() && !t.To.IsZero() && !t.From.Before(t.To) {
		return newProblem(422, "", ProblemField{Location: "query.to", Message: "must be after from"})
	}
	return nil
}

func (t TimeInput) from() query.Time { return query.Time{Time: t.From.UTC()} }
func (t TimeInput) to() query.Time   { return query.Time{Time: t.To.UTC()} }

// listOutput answers a list.
type listOutput[T any] struct {
	Vary string `header:"Vary"`
	Next string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Body query.List[T]
}

// body answers one object.
type bodyOutput[T any] struct {
	Body T
}

func list[T any](items []T, next string) *listOutput[T] {
	l := query.List[T]{Items: items}
	if next != "" {
		l.NextCursor = &next
	}
	return listOf(l)
}

func listOf[T any](l query.List[T]) *listOutput[T] {
	if l.Items == nil {
		l.Items = []T{} // an empty list is [], not null
	}
	o := &listOutput[T]{Vary: "Accept", Body: l}
	if l.NextCursor != nil {
		o.Next = *l.NextCursor
	}
	return o
}

// aliasTimes makes the OpenAPI document say date-time where JSON has one.
func aliasTimes(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[query.Time](), reflect.TypeFor[time.Time]())
}

func at(t time.Time) query.Time { return query.Time{Time: t} }

// writtenNumber reads a number from a path or query, where a + that was not
// escaped has become a space.
func writtenNumber(s string) string {
	if strings.HasPrefix(s, " ") {
		return "+" + strings.TrimLeft(s, " ")
	}
	return s
}

// tristate reads a parameter that is true, false or not there.
func tristate(s string) *bool {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil
	}
	return &b
}

type baseKey struct{}

// base is where people reach this server: public_url, else as the request was
// addressed.
func (s *server) base(r *http.Request) string {
	switch {
	case s.cfg.PublicURL != "":
		return s.cfg.PublicURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// link is an address for people to follow and to paste elsewhere.
func link(ctx context.Context, parts ...string) string {
	base, _ := ctx.Value(baseKey{}).(string)
	var b strings.Builder
	b.WriteString(base)
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

func apiLink(ctx context.Context, company string, parts ...string) string {
	return link(ctx, append([]string{"api", "v1", "companies", company}, parts...)...)
}
