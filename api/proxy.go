package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type proxySession struct {
	ID        string            `json:"id"`
	Company   string            `json:"company"`
	User      string            `json:"user" doc:"Id of the user whom one acts for"`
	UserName  string            `json:"user_name"`
	Reason    string            `json:"reason"`
	By        string            `json:"by" doc:"Name of the caller who opened it"`
	StartedAt query.Time        `json:"started_at"`
	ExpiresAt query.Time        `json:"expires_at"`
	EndedAt   query.Time        `json:"ended_at" doc:"null where nobody has ended it"`
	Open      bool              `json:"open" doc:"Neither ended nor expired"`
	Links     map[string]string `json:"links"`
}

func (s *server) proxySession(ctx context.Context, p directory.ProxySession) proxySession {
	return proxySession{ID: p.ID, Company: p.Company, User: p.User, UserName: p.UserName, Reason: p.Reason, By: p.By.Name,
		StartedAt: at(p.StartedAt), ExpiresAt: at(p.ExpiresAt), EndedAt: at(p.EndedAt), Open: p.Open(s.now()),
		Links: map[string]string{
			"account": apiLink(ctx, p.Company, "users", p.User, "proxy-sessions", p.ID, "account"),
			"portal":  link(ctx, "c", p.Company, "users", p.User, "account"),
		}}
}

// openProxy is the session in which the caller acts for a user, or nil.
func (s *server) openProxy(ctx context.Context) (*proxySession, error) {
	p, err := s.deps.Directory.OpenProxy(ctx)
	if err != nil || p == nil || !principal(ctx).May(p.Company) {
		return nil, err
	}
	out := s.proxySession(ctx, *p)
	return &out, nil
}

// account is all of a user that a proxy session opens.
type account struct {
	Name              string `json:"name"`
	Email             string `json:"email"`
	VoicemailGreeting string `json:"voicemail_greeting" doc:"As text"`
}

func accountOf(u directory.User) *bodyOutput[account] {
	return &bodyOutput[account]{Body: account{Name: u.Name, Email: u.Email, VoicemailGreeting: u.VoicemailGreeting}}
}

// ProxyInput names a proxy session.
type ProxyInput struct {
	UserInput
	ID string `path:"id" maxLength:"64" doc:"Id of the proxy session"`
}

// proxyProblem says what is wrong with a session that may not be used.
func (s *server) proxyProblem(ctx context.Context, in ProxyInput, err error) error {
	switch {
	case errors.Is(err, directory.ErrProxyOther):
		return newProblem(http.StatusForbidden, "another caller opened this proxy session: only that one may use it")
	case errors.Is(err, directory.ErrProxyOver):
		p, err := s.deps.Directory.ProxySession(ctx, in.Company, in.User, in.ID)
		if err != nil {
			return err
		}
		if p.EndedAt.IsZero() {
			return newProblem(http.StatusGone, "this proxy session expired at "+p.ExpiresAt.Format(time.RFC3339)+"; nothing was changed. Open another one to go on")
		}
		return newProblem(http.StatusGone, "this proxy session was ended at "+p.EndedAt.Format(time.RFC3339)+"; nothing was changed. Open another one to go on")
	}
	return err
}

func (s *server) routeProxy() {
	tags := []string{"Proxy sessions"}
	path := companyPath + "/users/{user}/proxy-sessions"
	over := []int{http.StatusGone, http.StatusConflict}
	add(s, huma.Operation{Method: "POST", Path: path, OperationID: "open-proxy-session", Summary: "Begin to act for a user, in account settings only",
		Description: "For a while and for a reason, which is noted on the user's page. A caller acts for one user at a time: 409 while another session of the caller is open. Calls, messages, voicemails and recordings stay the caller's own to see; nothing else is done as the user.",
		Tags:        tags, DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			UserInput
			Body struct {
				Reason  string `json:"reason" minLength:"1" maxLength:"500"`
				Minutes int    `json:"minutes,omitempty" minimum:"1" maximum:"60" default:"15"`
			}
		}) (*bodyOutput[proxySession], error) {
			p, err := s.deps.Directory.StartProxy(ctx, in.Company, in.User, in.Body.Reason, time.Duration(in.Body.Minutes)*time.Minute)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[proxySession]{Body: s.proxySession(ctx, p)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: path, OperationID: "list-proxy-sessions", Summary: "Who acted for a user, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			PageInput
		}) (*listOutput[proxySession], error) {
			found, next, err := s.deps.Directory.ProxySessions(ctx, in.Company, in.User, in.PageInput.directory())
			if err != nil {
				return nil, err
			}
			items := make([]proxySession, len(found))
			for i, p := range found {
				items[i] = s.proxySession(ctx, p)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: path + "/{id}", OperationID: "end-proxy-session", Summary: "Go back: end a proxy session", Description: "One that is over already stays as it is.", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *ProxyInput) (*struct{}, error) {
			return nil, s.deps.Directory.EndProxy(ctx, in.Company, in.User, in.ID)
		})

	add(s, huma.Operation{Method: "GET", Path: path + "/{id}/account", OperationID: "get-proxied-account", Summary: "The account settings of the user whom one acts for",
		Description: "410 where the session has ended or expired, 403 where it is another caller's.", Tags: tags, Errors: over},
		func(ctx context.Context, in *ProxyInput) (*bodyOutput[account], error) {
			u, err := s.deps.Directory.ProxiedAccount(ctx, in.Company, in.User, in.ID)
			if err != nil {
				return nil, s.proxyProblem(ctx, *in, err)
			}
			return accountOf(u), nil
		})

	add(s, huma.Operation{Method: "PATCH", Path: path + "/{id}/account", OperationID: "change-proxied-account", Summary: "Change account settings of the user whom one acts for",
		Description: "Each change is a note on the user's page, with who made it, what was and what is. 410 where the session has ended or expired, 403 where it is another caller's.", Tags: tags, Errors: over},
		func(ctx context.Context, in *struct {
			ProxyInput
			Body struct {
				Name              *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
				Email             *string `json:"email,omitempty" maxLength:"254"`
				VoicemailGreeting *string `json:"voicemail_greeting,omitempty" maxLength:"4000"`
			}
		}) (*bodyOutput[account], error) {
			b := in.Body
			u, err := s.deps.Directory.ChangeProxiedAccount(ctx, in.Company, in.User, in.ID, directory.AccountChange{Name: b.Name, Email: b.Email, VoicemailGreeting: b.VoicemailGreeting})
			if err != nil {
				return nil, s.proxyProblem(ctx, in.ProxyInput, err)
			}
			return accountOf(u), nil
		})
}
