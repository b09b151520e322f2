package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type whoami struct {
	Name      string     `json:"name" doc:"Of the key or the sign-in link"`
	Role      string     `json:"role" enum:"operator,company"`
	Company   *string    `json:"company" doc:"null for operators, who see all"`
	ExpiresAt query.Time `json:"expires_at" doc:"Of the session; null for a key"`

	Proxy *proxySession `json:"proxy" doc:"The session in which the caller acts for a user; null where none is open"`
}

func whoamiOf(p directory.Principal) whoami {
	w := whoami{Name: p.Name, Role: p.Role, ExpiresAt: at(p.Expires)}
	if p.Company != "" {
		w.Company = &p.Company
	}
	return w
}

func (s *server) routeSessions() {
	tags := []string{"Sessions"}
	add(s, huma.Operation{Method: "GET", Path: "/api/v1/whoami", OperationID: "whoami", Summary: "Who is asking, and for whom it acts", Tags: tags},
		func(ctx context.Context, _ *struct{}) (*bodyOutput[whoami], error) {
			w := whoamiOf(principal(ctx))
			var err error
			w.Proxy, err = s.openProxy(ctx)
			return &bodyOutput[whoami]{Body: w}, err
		})

	add(s, huma.Operation{Method: "POST", Path: "/api/v1/session", OperationID: "sign-in", Summary: "Sign in to the portal with an API key", Tags: tags, Metadata: map[string]any{metaPublic: true}},
		func(ctx context.Context, in *struct {
			Request
			Body struct {
				Key string `json:"key" minLength:"1" maxLength:"200"`
			}
		}) (*bodyOutput[whoami], error) {
			// Another site must not sign its visitors in here, either.
			if !s.deps.Auth.sameOrigin(in.http()) {
				return nil, newProblem(http.StatusForbidden, "sign in from the portal's own pages")
			}
			p, err := s.deps.Directory.AuthenticateKey(ctx, in.Body.Key)
			if err != nil {
				return nil, err
			}
			if p.Role == directory.RoleIngest {
				return nil, newProblem(http.StatusForbidden, ingestOnly)
			}
			session, err := s.deps.Directory.CreateSession(ctx, p, s.cfg.SessionTTL)
			if err != nil {
				return nil, err
			}
			s.setSession(in.writer(), in.http(), session, int(s.cfg.SessionTTL.Seconds()))
			p.Expires = s.now().Add(s.cfg.SessionTTL)
			return &bodyOutput[whoami]{Body: whoamiOf(p)}, nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: "/api/v1/session", OperationID: "sign-out", Summary: "Sign out of the portal", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct{ Request }) (*struct{}, error) {
			if c, err := in.http().Cookie(sessionCookie); err == nil {
				if err := s.deps.Directory.EndSession(ctx, c.Value); err != nil {
					return nil, err
				}
			}
			s.setSession(in.writer(), in.http(), "", -1)
			return nil, nil
		})
}

// Request gives a handler what stands behind huma: cookies are headers that
// huma's inputs and outputs do not cover.
type Request struct {
	ctx huma.Context
}

// Resolve implements huma.Resolver.
func (r *Request) Resolve(ctx huma.Context) []error {
	r.ctx = ctx
	return nil
}

func (r *Request) http() *http.Request         { return humagin.Unwrap(r.ctx).Request }
func (r *Request) writer() http.ResponseWriter { return humagin.Unwrap(r.ctx).Writer }
