// Package api is the outside of Earshot over HTTP: version 1 of the API with
// its OpenAPI document, signing in, and the way to the portal and to HTTP
// ingest. It decides who may ask; what is answered comes from packages query
// and directory.
package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/egress"
	"github.com/earshot/earshot/query"
)

// Deps is what the API stands on.
type Deps struct {
	Directory *directory.Directory
	Query     *query.Store
	Auth      *Authenticator // nil: one of its own
	SIPRealm  string         // that devices get credentials for
	// WebhookNetworks are those that webhooks may reach although they are not public.
	WebhookNetworks egress.Networks
	// Ingest answers below /ingest/v1/; nil where another role does.
	Ingest http.Handler
	// IngestOpenAPI describes those routes: paths and schemas, YAML.
	IngestOpenAPI []byte
	// Portal answers every path that is nobody else's.
	Portal http.Handler
	// Access takes down who has read what; nil: nobody does.
	Access  *directory.AccessLog
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Version string // of the program, for the OpenAPI document
	// Closing is closed when the server begins to stop: live views end then, which
	// http.Server.Shutdown would wait for. nil: they end with their clients.
	Closing <-chan struct{}
}

type server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	api      huma.API
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	now      func() time.Time
	exports  chan struct{} // has one for each that runs
	imports  chan struct{} // one for each import of users that is under way
}

// New builds the handler of everything that listens on api.listen.
func New(cfg Config, deps Deps) (http.Handler, error) {
	if u, err := url.Parse(cfg.PublicURL); err != nil || (cfg.PublicURL != "" && (u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"))) {
		return nil, errors.New("cannot use api.public_url: it must be an http:// or https:// URL")
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	if cfg.SessionTTL <= 0 {
		cfg.SessionTTL = DefaultConfig().SessionTTL
	}
	if cfg.MaxExports <= 0 {
		cfg.MaxExports = DefaultConfig().MaxExports
	}
	if deps.Auth == nil {
		deps.Auth = NewAuthenticator(cfg, deps.Directory)
	}
	if deps.Version == "" {
		deps.Version = "dev"
	}
	s := &server{cfg: cfg, deps: deps, log: deps.Log, now: time.Now, exports: make(chan struct{}, cfg.MaxExports), imports: make(chan struct{}, maxImports),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earshot_http_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "earshot_http_request_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
	}
	if deps.Metrics != nil {
		for _, c := range []prometheus.Collector{s.requests, s.seconds} {
			if err := deps.Metrics.Register(c); err != nil {
				return nil, err
			}
		}
	}

	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.UseRawPath, engine.UnescapePathValues = true, true // a Call-ID may hold an escaped slash
	engine.RedirectTrailingSlash, engine.RedirectFixedPath = false, false
	engine.HandleMethodNotAllowed = true
	engine.Use(s.observe, s.recover)

	s.api = humagin.New(engine, s.humaConfig())
	s.api.UseMiddleware(s.checkAccept, s.authenticate, s.checkQuery, s.takeDownReads)
	s.routeCompanies()
	s.routeUsers()
	s.routeUsersImport()
	s.routeNumbers()
	s.routePorts()
	s.routeCalls()
	s.routeSnapshots()
	s.routeErasures()
	s.routeRegistrations()
	s.routeHealth()
	s.routeCredentials()
	s.routeDevices()
	s.routeReleases()
	s.routeEvents()
	s.routeRejections()
	s.routeQuality()
	s.routeSamples()
	s.routeIngest()
	s.routeSessions()
	s.routeSubscriptions()
	s.routeNotes()
	s.routeExperiments()
	s.routeRecording()
	s.routeProxy()
	s.routeAudit()
	if err := describeIngest(s.api.OpenAPI(), deps.IngestOpenAPI); err != nil {
		return nil, err
	}
	docs, err := newDocs(s.api.OpenAPI())
	if err != nil {
		return nil, err
	}
	engine.GET("/api/docs", gin.WrapF(docs.page))
	engine.GET("/api/docs/style.css", gin.WrapF(docs.style))
	engine.GET("/signin", gin.WrapF(s.signIn))
	s.routeSCIM(engine)
	if deps.Ingest != nil {
		engine.Any("/ingest/v1/*path", gin.WrapH(deps.Ingest))
	}
	engine.NoMethod(func(c *gin.Context) {
		if !ours(c.Request.URL.Path) {
			s.portal(c)
			return
		}
		// gin has set Allow.
		writeProblem(c.Writer, c.Request, newProblem(http.StatusMethodNotAllowed, "this route does not have that method"))
	})
	engine.NoRoute(func(c *gin.Context) {
		if !ours(c.Request.URL.Path) {
			s.portal(c)
			return
		}
		writeProblem(c.Writer, c.Request, newProblem(http.StatusNotFound, "there is no such route"))
	})

	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(1200), gzhttp.ContentTypes([]string{
		"application/json", problemType, "application/openapi+json", "application/openapi+yaml", "text/csv", "text/markdown", "text/html", "text/css",
	}))
	if err != nil {
		return nil, err
	}
	compressed := compress(engine)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), requestIDKey{}, newRequestID(r))
		r = r.WithContext(context.WithValue(ctx, baseKey{}, s.base(r)))
		h := w.Header()
		h.Set("X-Request-Id", requestID(r.Context()))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			h.Set("Cache-Control", "no-store")
			compressed.ServeHTTP(w, r)
			return
		}
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		engine.ServeHTTP(w, r)
	}), nil
}

// ours tells paths of the API and of ingest from the portal's.
func ours(path string) bool {
	for _, p := range []string{"/api", "/ingest", "/scim"} {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

func (s *server) portal(c *gin.Context) {
	c.Status(http.StatusOK) // gin has set 404 already
	s.deps.Portal.ServeHTTP(c.Writer, c.Request)
}

func (s *server) humaConfig() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	aliasTimes(registry)
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Earshot", Version: s.deps.Version,
				Description: "Calls, registrations and rejections of business telephony, with verdicts and what they rest on.\n\n" +
					"Times are RFC 3339 in UTC with milliseconds. Durations stand in fields named with their unit. Numbers are E.164 with +. " +
					"Lists take limit and cursor and answer items and next_cursor; the cursor is opaque. Errors are application/problem+json (RFC 9457).",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key":     {Type: "http", Scheme: "bearer", Description: "An API key"},
					"session": {Type: "apiKey", In: "cookie", Name: sessionCookie, Description: "The portal's session; changes need the portal's own Origin"},
				},
			},
			Security: []map[string][]string{{"key": {}}, {"session": {}}},
		},
		OpenAPIPath:   "/api/v1/openapi",
		Formats:       formats(),
		DefaultFormat: "application/json",
		Transformers: []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
			if p, ok := v.(*Problem); ok {
				p.RequestID = requestID(ctx.Context())
			}
			return v, nil
		}},
	}
}

// Keys of huma.Operation.Metadata.
const (
	metaPublic   = "public"   // no one needs to be signed in
	metaOperator = "operator" // for operators only
	metaFormats  = "formats"  // []string: what it answers beside JSON
)

// csvToo is the metadata of a list that is also there as CSV.
var csvToo = map[string]any{metaFormats: []string{csvType}}

// add registers one route with the errors every route may give.
func add[I, O any](s *server, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	in := "body"
	if op.Method == http.MethodGet {
		in = "query"
	}
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	if op.Metadata[metaPublic] == true {
		op.Security = []map[string][]string{}
	}
	huma.Register(s.api, op, func(ctx context.Context, i *I) (*O, error) {
		o, err := handler(ctx, i)
		if err != nil {
			return nil, s.problem(ctx, in, err)
		}
		return o, nil
	})
	describeFormats(s.api.OpenAPI(), op)
}

// refuse answers from a middleware.
func (s *server) refuse(ctx huma.Context, p *Problem) {
	c := humagin.Unwrap(ctx)
	writeProblem(c.Writer, c.Request, p)
}

// checkAccept refuses what a route cannot answer, where it is asked for by name.
func (s *server) checkAccept(ctx huma.Context, next func(huma.Context)) {
	accept := ctx.Header("Accept")
	offered, _ := ctx.Operation().Metadata[metaFormats].([]string)
	if accept != "" && !acceptable(accept, offered) {
		s.refuse(ctx, newProblem(http.StatusNotAcceptable, "this route answers "+strings.Join(append([]string{"application/json"}, offered...), ", ")))
		return
	}
	next(ctx)
}

// acceptable tells whether an Accept header leaves JSON or one of the offered
// formats. Headers of browsers and programs end in */*.
func acceptable(accept string, offered []string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, _, _ := strings.Cut(part, ";")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == "*/*", name == "application/*", name == "application/json", name == problemType, slices.Contains(offered, name):
			return true
		case name == "text/*" && len(offered) > 0:
			return true
		}
	}
	return false
}

const ingestOnly = "this key may only bring telemetry"

// authenticate finds out who asks, and whether the company in the path is
// theirs to see. One that is not looks like one that is not there.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if op.Metadata[metaPublic] == true {
		next(ctx)
		return
	}
	r := humagin.Unwrap(ctx).Request
	p, err := s.deps.Auth.Authenticate(r)
	switch {
	case errors.Is(err, ErrCrossOrigin):
		s.refuse(ctx, newProblem(http.StatusForbidden, "a session may change things only from the portal's own pages"))
		return
	case err != nil:
		var problem *Problem
		if errors.As(s.problem(r.Context(), "query", err), &problem) {
			if problem.Status == http.StatusUnauthorized {
				ctx.SetHeader("WWW-Authenticate", `Bearer realm="earshot"`)
			}
			s.refuse(ctx, problem)
		}
		return
	}
	if p.Role == directory.RoleIngest {
		s.refuse(ctx, newProblem(http.StatusForbidden, ingestOnly))
		return
	}
	if op.Metadata[metaOperator] == true && p.Role != directory.RoleOperator {
		s.refuse(ctx, newProblem(http.StatusForbidden, "this is for operators"))
		return
	}
	if strings.Contains(op.Path, "{company}") {
		company := ctx.Param("company")
		err := error(directory.ErrNotFound)
		if p.May(company) {
			_, err = s.deps.Directory.Company(r.Context(), company)
		}
		var problem *Problem
		if err != nil && errors.As(s.problem(r.Context(), "path", err), &problem) {
			s.refuse(ctx, problem)
			return
		}
	}
	// Whoever asks is also who the directory writes down as having changed something.
	next(huma.WithContext(ctx, directory.WithActor(context.WithValue(ctx.Context(), principalKey{}, p), p.Actor())))
}

// checkQuery refuses parameters that the route does not have: a misspelt filter
// that is ignored gives an answer to another question.
func (s *server) checkQuery(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		s.refuse(ctx, newProblem(http.StatusUnprocessableEntity, "the query string is malformed"))
		return
	}
	var known []string
	for _, p := range ctx.Operation().Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	var fields []ProblemField
	for name, values := range given {
		if !slices.Contains(known, name) {
			fields = append(fields, ProblemField{Location: "query", Message: unknownParameter(name, known)})
		} else if len(values) > 1 {
			fields = append(fields, ProblemField{Location: "query." + name, Message: "is given more than once"})
		}
	}
	if len(fields) > 0 {
		slices.SortFunc(fields, func(a, b ProblemField) int {
			return strings.Compare(a.Location+a.Message, b.Location+b.Message)
		})
		s.refuse(ctx, newProblem(http.StatusUnprocessableEntity, "", fields...))
		return
	}
	next(ctx)
}

// parameterName is what a parameter may be called; anything else is a value
// that slipped its place and is not repeated.
var parameterName = regexp.MustCompile(`^[A-Za-z_-]{1,40}$`)

func unknownParameter(name string, known []string) string {
	said := "has an unknown parameter"
	if parameterName.MatchString(name) {
		said = "has no parameter " + strconv.Quote(name)
	}
	if len(known) == 0 {
		return said + "; this route takes none"
	}
	nearest := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
	return said + "; the nearest is " + strconv.Quote(nearest)
}

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// newRequestID takes over the id that a proxy in front gave.
func newRequestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); requestIDPattern.MatchString(id) {
		return id
	}
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// observe logs and counts by route, never by path or query: those hold numbers.
func (s *server) observe(c *gin.Context) {
	begin := time.Now()
	c.Next()
	took := time.Since(begin)
	route := c.FullPath()
	if route == "" {
		if route = "portal"; ours(c.Request.URL.Path) {
			route = "none"
		}
	}
	method := c.Request.Method
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other" // clients must not be able to make series
	}
	s.requests.WithLabelValues(route, method, strconv.Itoa(c.Writer.Status())).Inc()
	if !stays(c) {
		s.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
	// The portal asks every other second: what went well is in the metrics.
	level := slog.LevelDebug
	if c.Writer.Status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	s.log.Log(c.Request.Context(), level, "request", "request_id", requestID(c.Request.Context()), "method", method, "route", route,
		"status", c.Writer.Status(), "bytes", max(c.Writer.Size(), 0), "took_ms", float64(took.Microseconds())/1000)
}

// stays tells whether a request lives as long as its client likes: a WebSocket
// or a stream of events, whose length says nothing about how fast Earshot answers.
func stays(c *gin.Context) bool {
	return c.GetHeader("Upgrade") != "" || strings.HasPrefix(c.Writer.Header().Get("Content-Type"), "text/event-stream")
}

// recover turns a panic into an answer that says where to look.
func (s *server) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.log.Error("panic in a request", "request_id", requestID(c.Request.Context()), "route", c.FullPath(), "panic", v, "stack", string(debug.Stack()))
		c.Abort()
		if !c.Writer.Written() {
			writeProblem(c.Writer, c.Request, newProblem(http.StatusInternalServerError, "something failed inside; the log has it under the request id"))
		}
	}()
	c.Next()
}
