package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// actor is who did something.
type actor struct {
	Kind string `json:"kind" enum:"key,session,scim,system"`
	ID   string `json:"id" doc:"Of the key or the session"`
	Name string `json:"name"`
}

func actorFor(a directory.Actor) actor { return actor{Kind: a.Kind, ID: a.ID, Name: a.Name} }

// fieldChange is a member of a record before and after.
type fieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

func fieldChanges(all []directory.FieldChange) []fieldChange {
	out := make([]fieldChange, len(all))
	for i, f := range all {
		out[i] = fieldChange(f)
	}
	return out
}

// subject is what something was done to.
type subject struct {
	Kind string `json:"kind" doc:"Such as user, number, device, recording; of reads call, user, number, snapshot or export"`
	ID   string `json:"id"`
}

type auditEntry struct {
	ID           string        `json:"id"`
	At           query.Time    `json:"at"`
	Actor        actor         `json:"actor"`
	Action       string        `json:"action" doc:"kind.verb, such as number.transfer; or read"`
	Subject      subject       `json:"subject"`
	User         string        `json:"user,omitempty" doc:"Id of the user whom it concerns"`
	Text         string        `json:"text" doc:"The reason given, or of a read which part of the object"`
	Changes      []fieldChange `json:"changes"`
	ProxySession *string       `json:"proxy_session" doc:"Id of the proxy session that it was done in"`
	Count        int           `json:"count" doc:"Of a read: how often within five minutes"`
	LastAt       query.Time    `json:"last_at" doc:"Of a read: the last of them"`
}

func auditEntryOf(e directory.Entry) auditEntry {
	return auditEntry{ID: e.ID, At: at(e.At), Actor: actorFor(e.Actor), Action: e.Change.Action, Subject: subject{e.Change.Kind, e.Change.ID}, User: e.Change.User,
		Text: e.Change.Text, Changes: fieldChanges(e.Change.Fields), ProxySession: given(e.Actor.Proxy), Count: e.Count, LastAt: at(e.Through)}
}

// given is a text that may not be there.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// AuditInput narrows the audit.
type AuditInput struct {
	Actor  string `query:"actor" maxLength:"200" doc:"Id or name of who did it"`
	Action string `query:"action" maxLength:"64" doc:"Such as number.transfer; read: what was read"`
	Kind   string `query:"kind" maxLength:"64" doc:"Of the subject, such as user, number or call"`
	ID     string `query:"id" maxLength:"512" doc:"Of the subject"`
	TimeInput
	PageInput
}

func (s *server) audit(ctx context.Context, company string, in AuditInput) (*listOutput[auditEntry], error) {
	if err := in.TimeInput.check(); err != nil {
		return nil, err
	}
	entries, next, err := s.deps.Directory.Audit(ctx, company, directory.JournalFilter{Actor: in.Actor, Action: in.Action, Kind: in.Kind, ID: writtenNumber(in.ID),
		From: in.From, To: in.To, Page: in.PageInput.directory()})
	if err != nil {
		return nil, err
	}
	items := make([]auditEntry, len(entries))
	for i, e := range entries {
		items[i] = auditEntryOf(e)
	}
	return list(items, next), nil
}

func (s *server) routeAudit() {
	tags := []string{"Audit"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/audit", OperationID: "list-audit", Summary: "Who did and who read what, the newest first", Tags: tags,
		Description: "Changes are kept for ever, reads as long as directory.audit_retention says. A read shows a few seconds after it was made.", Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			AuditInput
		}) (*listOutput[auditEntry], error) {
			return s.audit(ctx, in.Company, in.AuditInput)
		})

	add(s, huma.Operation{Method: "GET", Path: "/api/v1/audit", OperationID: "list-operator-audit", Summary: "Who did what that belongs to no company, such as to the keys of operators", Tags: tags,
		Metadata: map[string]any{metaFormats: []string{csvType}, metaOperator: true}},
		func(ctx context.Context, in *struct{ AuditInput }) (*listOutput[auditEntry], error) {
			return s.audit(ctx, "", in.AuditInput)
		})
}

// readKinds are the objects whose reads are taken down, by the parameter that
// names them.
var readKinds = map[string]string{"{call}": "call", "{user}": "user", "{number}": "number"}

// takeDownReads tells the audit who has read a call, a user, a number or a whole
// list as a file. It comes after the answer and never waits.
func (s *server) takeDownReads(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	company := ctx.Param("company")
	if s.deps.Access == nil || op.Method != http.MethodGet || !strings.HasPrefix(op.Path, companyPath+"/") {
		next(ctx)
		return
	}
	a := directory.Access{Actor: principal(ctx.Context()).Actor(), Company: company}
	parts := strings.Split(strings.TrimPrefix(op.Path, companyPath+"/"), "/")
	if len(parts) > 1 && readKinds[parts[1]] != "" {
		a.Kind, a.ID = readKinds[parts[1]], ctx.Param(strings.Trim(parts[1], "{}"))
		a.What = strings.Join(slices.DeleteFunc(parts[2:], func(p string) bool { return strings.HasPrefix(p, "{") }), "/")
	}
	if offered, _ := op.Metadata[metaFormats].([]string); a.Kind != "" && slices.Contains(offered, eventStreamType) {
		s.deps.Access.Read(a) // one that follows something may do so for hours
		next(ctx)
		return
	}
	// Also of a list that breaks off, by a panic: the client has what came before.
	defer s.takeDownRead(ctx, company, a)
	next(ctx)
}

// takeDownRead tells the audit of a read that was answered.
func (s *server) takeDownRead(ctx huma.Context, company string, a directory.Access) {
	w := humagin.Unwrap(ctx).Writer
	if w.Status() != http.StatusOK {
		return
	}
	mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if what := map[string]string{export.CSV: "csv", export.Arrow: "arrow", export.Parquet: "parquet"}[mediaType]; what != "" {
		u := ctx.URL()
		a.Kind, a.ID, a.What = "export", strings.TrimPrefix(u.Path, strings.ReplaceAll(companyPath, "{company}", company)+"/"), what
	}
	if a.Kind == "" {
		return
	}
	if a.Kind == "number" {
		a.ID = s.deps.Directory.E164(context.WithoutCancel(ctx.Context()), company, writtenNumber(a.ID))
	}
	s.deps.Access.Read(a)
}
