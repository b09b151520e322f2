package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/earshot/earshot/directory"
)

// sessionCookie is the name of the portal's cookie.
const sessionCookie = "earshot_session"

// ErrCrossOrigin is returned for a change that a browser sends with the
// portal's cookie from a page that is not the portal.
var ErrCrossOrigin = errors.New("request comes from another site")

// Authenticator tells who sends a request.
type Authenticator struct {
	directory *directory.Directory
	origin    string // of public_url, or empty
}

// NewAuthenticator makes an Authenticator for the API and HTTP ingest to share.
func NewAuthenticator(cfg Config, d *directory.Directory) *Authenticator {
	a := &Authenticator{directory: d}
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Host != "" {
		a.origin = u.Scheme + "://" + u.Host
	}
	return a
}

// Authenticate returns who sends r: by a key in the Authorization header, else
// by the session cookie. The error is directory.ErrUnauthenticated where it is
// neither, ErrCrossOrigin where a browser was tricked into sending it.
func (a *Authenticator) Authenticate(r *http.Request) (directory.Principal, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, key, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return directory.Principal{}, directory.ErrUnauthenticated
		}
		return a.directory.AuthenticateKey(r.Context(), strings.TrimSpace(key))
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return directory.Principal{}, directory.ErrUnauthenticated
	}
	p, err := a.directory.AuthenticateSession(r.Context(), c.Value)
	if err != nil {
		return directory.Principal{}, err
	}
	if !safeMethod(r.Method) && !a.sameOrigin(r) {
		return directory.Principal{}, ErrCrossOrigin
	}
	return p, nil
}

func safeMethod(m string) bool {
	return m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions
}

// sameOrigin is what stands between a session and other sites' pages: browsers
// send Origin with every change, and a page cannot choose it. A request with
// neither header does not come from a browser and has no business with a cookie.
func (a *Authenticator) sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	if a.origin != "" && origin == a.origin {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

type principalKey struct{}

// principal is who asks; the middleware has put it there.
func principal(ctx context.Context) directory.Principal {
	p, _ := ctx.Value(principalKey{}).(directory.Principal)
	return p
}

// setSession gives the browser its cookie. SameSite=Lax, so that links in
// tickets open signed in.
func (s *server) setSession(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil || strings.HasPrefix(s.cfg.PublicURL, "https://"),
	})
}

// signIn exchanges the token of a sign-in link for a session.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // the address holds the token
	session, _, err := s.deps.Directory.ConsumeSigninToken(r.Context(), r.URL.Query().Get("token"), s.cfg.SessionTTL)
	switch {
	case errors.Is(err, directory.ErrUnauthenticated):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(signInRefused))
		return
	case err != nil:
		s.log.Error("cannot sign in", "request_id", requestID(r.Context()), "error", err)
		writeProblem(w, r, newProblem(http.StatusInternalServerError, "signing in failed; the log has it under the request id"))
		return
	}
	s.setSession(w, r, session, int(s.cfg.SessionTTL.Seconds()))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

const signInRefused = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Earshot: sign in</title>
<h1>This sign-in link does not work any more</h1>
<p>Each link opens one session, for a short time. Ask for a new one: Earshot prints it when it starts.</p>
<p><a href="/">To the portal</a></p></html>
`
