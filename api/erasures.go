package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// erasure is what becomes of a user's telemetry.
type erasure struct {
	User        string     `json:"user" doc:"Id of the user"`
	State       string     `json:"state" enum:"pending,done" doc:"pending: it begins within seconds. done: what comes late is still looked for, for 90 days"`
	Reason      string     `json:"reason"`
	RequestedAt query.Time `json:"requested_at" doc:"What was measured up to then is erased"`
	RequestedBy actor      `json:"requested_by"`
	DoneAt      query.Time `json:"done_at" doc:"null while pending"`
	LookedAt    query.Time `json:"looked_at" doc:"The last time that something was looked for"`
	LastError   string     `json:"last_error" doc:"Of that time; it is tried again"`
	Calls       int64      `json:"calls" doc:"Erased so far"`
	Snapshots   int64      `json:"snapshots" doc:"Deleted so far"`
}

func erasureOf(e directory.Erasure) erasure {
	out := erasure{User: e.User, State: "pending", Reason: e.Reason, RequestedAt: at(e.RequestedAt), RequestedBy: actorFor(e.RequestedBy), DoneAt: at(e.DoneAt), LookedAt: at(e.LookedAt),
		LastError: e.LastError, Calls: e.Calls, Snapshots: e.Snapshots}
	if !e.DoneAt.IsZero() {
		out.State = "done"
	}
	return out
}

// erasurePreview is what an erasure would take.
type erasurePreview struct {
	query.Mentions
	Snapshots int `json:"snapshots"`
}

func (s *server) routeErasures() {
	tags := []string{"Users"}
	const path = companyPath + "/users/{user}/erasure"
	operators := map[string]any{metaOperator: true}

	add(s, huma.Operation{Method: "GET", Path: path + "/preview", OperationID: "preview-erasure", Summary: "What erasing a user's telemetry would take", Tags: tags, Metadata: operators},
		func(ctx context.Context, in *UserInput) (*bodyOutput[erasurePreview], error) {
			if _, err := s.deps.Directory.User(ctx, in.Company, in.User); err != nil {
				return nil, err
			}
			mentions, err := s.deps.Query.Company(in.Company).Mentions(ctx, in.User)
			if err != nil {
				return nil, err
			}
			out := &bodyOutput[erasurePreview]{Body: erasurePreview{Mentions: mentions}}
			for page := (directory.SnapshotFilter{User: in.User, Page: directory.Page{Limit: directory.MaxLimit}}); ; {
				found, next, err := s.deps.Directory.Snapshots(ctx, in.Company, page)
				if err != nil {
					return nil, err
				}
				out.Body.Snapshots += len(found)
				if page.Cursor = next; next == "" {
					return out, nil
				}
			}
		})

	add(s, huma.Operation{Method: "POST", Path: path, OperationID: "erase-user", Summary: "Erase what was measured of a user", Tags: tags, Metadata: operators, DefaultStatus: http.StatusAccepted,
		Description: "Deletes every call that names the user, whole, with samples, messages, events, rejections and ratings; the user's registrations; and snapshots of such calls. " +
			"What comes of it later is erased too. There is no way back. The user's record in the directory is not touched: delete the user for that."},
		func(ctx context.Context, in *struct {
			UserInput
			Body struct {
				Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"It stands in the journal"`
			}
		}) (*bodyOutput[erasure], error) {
			e, err := s.deps.Directory.RequestErasure(ctx, in.Company, in.User, in.Body.Reason)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[erasure]{Body: erasureOf(e)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: path, OperationID: "get-erasure", Summary: "How erasing a user's telemetry goes", Tags: tags, Metadata: operators},
		func(ctx context.Context, in *UserInput) (*bodyOutput[erasure], error) {
			e, err := s.deps.Directory.Erasure(ctx, in.Company, in.User)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[erasure]{Body: erasureOf(e)}, nil
		})
}
