package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type note struct {
	ID           string        `json:"id"`
	At           query.Time    `json:"at"`
	Kind         string        `json:"kind" enum:"note,change,proxy" doc:"Written by someone; a change; or a change by someone who acted for the user"`
	Author       actor         `json:"author"`
	User         string        `json:"user,omitempty" doc:"Id of the user on whose page it stands"`
	Action       string        `json:"action" doc:"kind.verb, such as number.transfer"`
	Subject      subject       `json:"subject"`
	Text         string        `json:"text" doc:"As written, or the reason given"`
	Changes      []fieldChange `json:"changes"`
	ProxySession *string       `json:"proxy_session" doc:"Id of the proxy session that it was done in"`
}

func noteOf(e directory.Entry) note {
	n := note{ID: e.ID, At: at(e.At), Kind: directory.NoteChange, Author: actorFor(e.Actor), User: e.Change.User, Action: e.Change.Action, Subject: subject{e.Change.Kind, e.Change.ID},
		Text: e.Change.Text, Changes: fieldChanges(e.Change.Fields), ProxySession: given(e.Actor.Proxy)}
	switch {
	case e.Change.Action == "user.note":
		n.Kind = directory.NoteWritten
	case n.ProxySession != nil:
		n.Kind = directory.NoteProxy
	}
	return n
}

// NoteInput narrows a list of notes.
type NoteInput struct {
	Kind string `query:"kind" enum:"note,change,proxy" doc:"Of the notes; not given: all"`
	TimeInput
	PageInput
}

func (s *server) notes(ctx context.Context, company, user string, in NoteInput) (*listOutput[note], error) {
	if err := in.TimeInput.check(); err != nil {
		return nil, err
	}
	entries, next, err := s.deps.Directory.Journal(ctx, company, directory.JournalFilter{User: user, Note: in.Kind, From: in.From, To: in.To, Page: in.PageInput.directory()})
	if err != nil {
		return nil, err
	}
	items := make([]note, len(entries))
	for i, e := range entries {
		items[i] = noteOf(e)
	}
	return list(items, next), nil
}

func (s *server) routeNotes() {
	tags := []string{"Notes"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/notes", OperationID: "list-notes", Summary: "What was written and changed in a company, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			NoteInput
		}) (*listOutput[note], error) {
			return s.notes(ctx, in.Company, "", in.NoteInput)
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/notes", OperationID: "list-user-notes", Summary: "What was written about a user and changed for it, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			NoteInput
		}) (*listOutput[note], error) {
			if _, err := s.deps.Directory.User(ctx, in.Company, in.User); err != nil {
				return nil, err
			}
			return s.notes(ctx, in.Company, in.User, in.NoteInput)
		})

	add(s, huma.Operation{Method: "POST", Path: companyPath + "/users/{user}/notes", OperationID: "create-user-note", Summary: "Write a note on a user's page",
		Description: "Notes stay: they cannot be changed or deleted.", Tags: tags, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			UserInput
			Body struct {
				Text string `json:"text" minLength:"1" maxLength:"10000"`
			}
		}) (*bodyOutput[note], error) {
			e, err := s.deps.Directory.AddNote(ctx, in.Company, in.User, in.Body.Text)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[note]{Body: noteOf(e)}, nil
		})
}
