package rtcstats

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/earshot/earshot/telemetry"
)

// Route is where the Server is mounted; what stands after it names the call.
const Route = "/ingest/v1/rtcstats"

// Observation is what a message gave: a sample or an event, which last until
// Produce returns.
type Observation struct {
	Company  string
	Sample   *telemetry.WebRTCSample // or
	Event    *telemetry.CallEvent
	AtUs     int64 // Unix microseconds, by the clock of this machine
	OffsetUs int64 // what AtUs differs from the sender's clock
	Received time.Time
}

// Counts tell what became of messages; see ingest.Accounting.
type Counts interface {
	Received()
	Produced()
	Rejected(reason string)
	Dropped(reason string)
}

// Deps is what a Server works with.
type Deps struct {
	// Authenticate gives the company that an API key in the Authorization header
	// may bring telemetry for.
	Authenticate func(*http.Request) (company string, ok bool)
	// Produce writes an observation to Kafka. It waits for room as long as ctx
	// lasts; done is called once, when Kafka has acknowledged or will not.
	Produce func(ctx context.Context, o Observation, done func(error))
	Counts  func(company string) Counts
	// Tolerance and Replay are the bounds of clocks that are off: see ingest.ClockConfig.
	Tolerance, Replay time.Duration
	Metrics           prometheus.Registerer
	Log               *slog.Logger
	Now               func() time.Time
}

// Server is the WebSocket end of rtcstats clients.
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	verifier *verifier
	budget   *Budget

	opened   prometheus.Gauge
	messages *prometheus.CounterVec
	refused  *prometheus.CounterVec
	resumed  prometheus.Counter

	live, end context.Context // until connections are to end; until nothing is written any more
	stop      context.CancelFunc
	finish    context.CancelFunc

	mu          sync.Mutex
	connections map[*connection]struct{}
	sessions    map[sessionKey]*session
	handlers    sync.WaitGroup
}

type sessionKey struct{ company, id string }

// New makes a Server; it answers requests at once and Run ends them.
func New(cfg Config, deps Deps) (*Server, error) {
	v, err := newVerifier(cfg.Token, deps.Now)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Log, verifier: v, budget: NewBudget(cfg.TotalStateBytes),
		connections: map[*connection]struct{}{}, sessions: map[sessionKey]*session{},
		opened: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "rtcstats", Name: "connections",
			Help: "Open connections of rtcstats clients."}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "rtcstats", Name: "messages_total",
			Help: "Messages of rtcstats clients, by dialect and method."}, []string{"dialect", "method"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "rtcstats", Name: "refused_total",
			Help: "Connections of rtcstats clients that were refused, by reason."}, []string{"reason"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "rtcstats", Name: "resumed_total",
			Help: "Jitsi clients that went on after a cut."}),
	}
	deps.Metrics.MustRegister(s.opened, s.messages, s.refused, s.resumed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "rtcstats", Name: "state_bytes",
			Help: "Memory that the statistics of rtcstats clients take."}, func() float64 { return float64(s.budget.Used()) }))
	s.live, s.stop = context.WithCancel(context.Background())
	s.end, s.finish = context.WithCancel(context.Background())
	return s, nil
}

// drain is how long connections may take to end.
const drain = 5 * time.Second

// Run keeps the sessions until ctx ends; then it closes all connections (1012,
// service restart), waits for their last messages and returns.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.forget(s.deps.Now())
			continue
		case <-ctx.Done():
		}
		break
	}
	s.stop()
	give := time.AfterFunc(drain, s.finish)
	defer give.Stop()
	s.handlers.Wait()
	s.finish()
}

// forget drops sessions that were not resumed in time.
func (s *Server) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, session := range s.sessions {
		session.mu.Lock()
		over := session.conn == nil && now.Sub(session.usedAt) > s.cfg.Resume
		session.mu.Unlock()
		if over {
			s.drop(key, session)
		}
	}
}

func (s *Server) drop(key sessionKey, session *session) {
	delete(s.sessions, key)
	session.decoder.Close()
}

var (
	numberedProtocol = regexp.MustCompile(`^rtcstats#5\.[0-9]{1,3}$`)
	namedProtocol    = regexp.MustCompile(`^[12]\.[0-9]{1,3}$`)
	jitsiProtocol    = regexp.MustCompile(`^3\.[0-9]{1,3}_[A-Z]{1,16}$`)
)

// protocol picks the first subprotocol offered that is spoken here.
func protocol(r *http.Request) (name string, dialect Dialect, ok bool) {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			offered = strings.TrimSpace(offered)
			switch {
			case numberedProtocol.MatchString(offered):
				return offered, Numbered, true
			case namedProtocol.MatchString(offered):
				return offered, Named, true
			case jitsiProtocol.MatchString(offered):
				return offered, Jitsi, true
			}
		}
	}
	return "", 0, false
}

// refusal is why a connection is closed, as its client is told.
type refusal struct {
	reason string // in counters
	code   websocket.StatusCode
	text   string
}

// authorise finds out whom a connection belongs to. Browsers can set no headers
// for a WebSocket, so the token stands in the query, or, for clients that make
// the query themselves, before the meeting in the path: /~token/meeting. It is a
// JSON Web Token or an API key. Cookies are not looked at: any page could make a
// browser send them.
func (s *Server) authorise(r *http.Request) (grant, *refusal) {
	place := strings.ToValidUTF8(strings.Trim(strings.TrimPrefix(r.URL.Path, Route), "/"), "\uFFFD")
	query := r.URL.Query()
	token := query.Get("rtcstats-token")
	if first, rest, _ := strings.Cut(place, "/"); strings.HasPrefix(first, "~") {
		place = strings.Trim(rest, "/")
		if token == "" {
			token = first[1:]
		}
	}
	if len(place) > maxName {
		return grant{}, &refusal{"path", websocket.StatusPolicyViolation, fmt.Sprintf("the path names a call with more than %d bytes", maxName)}
	}
	if strings.Count(token, ".") == 2 {
		if s.verifier == nil {
			return grant{}, &refusal{"token", websocket.StatusPolicyViolation, "tokens are not taken here: neither ingest.rtcstats.token.secret nor .public_key is set"}
		}
		claim, err := s.verifier.verify(token)
		if err != nil {
			return grant{}, &refusal{"token", websocket.StatusPolicyViolation, "rtcstats-token is not valid"}
		}
		return grant{company: s.cfg.Token.Company, claim: claim, token: true, place: place}, nil
	}
	keyed := r.Clone(r.Context())
	keyed.Header = http.Header{}
	switch {
	case token != "":
		keyed.Header.Set("Authorization", "Bearer "+token)
	case r.Header.Get("Authorization") != "":
		keyed.Header.Set("Authorization", r.Header.Get("Authorization"))
	default:
		return grant{}, &refusal{"no_token", websocket.StatusPolicyViolation, "rtcstats-token is missing: a JSON Web Token or an API key"}
	}
	company, ok := s.deps.Authenticate(keyed)
	if !ok {
		return grant{}, &refusal{"key", websocket.StatusPolicyViolation, "rtcstats-token is neither a JSON Web Token nor an API key that may bring telemetry"}
	}
	claim := Claim{User: bounded(query, "user"), Session: bounded(query, "session"), Conference: bounded(query, "conference")}
	return grant{company: company, claim: claim, place: place}, nil
}

func bounded(query url.Values, name string) string {
	if v := query.Get(name); len(v) <= maxName {
		return strings.ToValidUTF8(v, "\uFFFD")
	}
	return ""
}

// ServeHTTP takes one connection and stays with it until it ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		s.refuse(w, "no_websocket", http.StatusUpgradeRequired, "this is a WebSocket")
		return
	}
	name, dialect, ok := protocol(r)
	if !ok {
		s.refuse(w, "protocol", http.StatusBadRequest, "the WebSocket subprotocol must be rtcstats#5.x, 1.x, 2.x or 3.x_STANDARD, _LEGACY, _JVB")
		return
	}
	c := &connection{server: s, dialect: dialect, opened: s.deps.Now(), over: make(chan struct{}), methods: map[string]prometheus.Counter{},
		limiter: rate.NewLimiter(rate.Limit(s.cfg.MessagesPerSecond), s.cfg.MessagesBurst), window: make(chan struct{}, s.cfg.InFlight)}
	if !s.enter(c) {
		w.Header().Set("Retry-After", "10")
		s.refuse(w, "full", http.StatusServiceUnavailable, "there are too many connections, or Earshot is stopping")
		return
	}
	defer s.leave(c)
	ws, err := websocket.Accept(wideReads{w}, r, &websocket.AcceptOptions{
		Subprotocols: []string{name},
		// Pages of any origin may connect: each has to show a token, and cookies are not looked at.
		InsecureSkipVerify: true,
		OnPongReceived:     func(context.Context, []byte) { c.pongs.Add(1) },
	})
	if err != nil {
		s.refused.WithLabelValues("handshake").Inc() // Accept has answered
		return
	}
	defer ws.CloseNow()
	c.ws = ws
	ws.SetReadLimit(s.cfg.MessageBytes)
	grant, refused := s.authorise(r)
	if refused != nil {
		s.refused.WithLabelValues(refused.reason).Inc()
		_ = ws.Close(refused.code, refused.text) // the client may be gone
		return
	}
	s.opened.Inc()
	defer s.opened.Dec()
	c.counts = s.deps.Counts(grant.company)
	c.run(grant, r.URL.Query().Get("statsSessionId"))
}

// readBytes is what is read at a time. A message with a whole report has 15 kB,
// and a reader of 4 kB, which net/http gives, takes three system calls for it.
const readBytes = 16 << 10

// wideReads gives a connection that is taken over a larger reader.
type wideReads struct{ http.ResponseWriter }

// Unwrap lets the WebSocket library find what else the writer can do.
func (w wideReads) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeaderNow passes on what gin needs to be told before a connection is taken over.
func (w wideReads) WriteHeaderNow() {
	if g, ok := w.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		g.WriteHeaderNow()
	}
}

// Hijack implements http.Hijacker.
func (w wideReads) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	wide := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), readBytes)
	if _, err := wide.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return conn, bufio.NewReadWriter(wide, buffered.Writer), nil
}

func (s *Server) refuse(w http.ResponseWriter, reason string, status int, text string) {
	s.refused.WithLabelValues(reason).Inc()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": text}) // the caller is gone: nobody to tell
}

func (s *Server) enter(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live.Err() != nil || len(s.connections) >= s.cfg.Connections {
		return false
	}
	s.connections[c] = struct{}{}
	s.handlers.Add(1)
	return true
}

func (s *Server) leave(c *connection) {
	s.mu.Lock()
	delete(s.connections, c)
	s.mu.Unlock()
	close(c.over)
	s.handlers.Done()
}

// attach gives a connection its session: with Jitsi the one from before a cut.
func (s *Server) attach(c *connection, g grant, id string) *session {
	if c.dialect != Jitsi || id == "" || len(id) > maxName {
		return s.newSession(c, g, id)
	}
	key := sessionKey{g.company, id}
	for {
		s.mu.Lock()
		found := s.sessions[key]
		if found == nil {
			if len(s.sessions) >= 2*s.cfg.Connections {
				s.evict()
			}
			found = s.newSession(c, g, id)
			s.sessions[key] = found
			s.mu.Unlock()
			return found
		}
		found.mu.Lock()
		before := found.conn
		if before == nil {
			found.conn, found.told = c, found.acked
			found.mu.Unlock()
			s.mu.Unlock()
			s.resumed.Inc()
			return found
		}
		found.mu.Unlock()
		s.mu.Unlock()
		// The client comes again before this side has noticed the cut.
		before.ws.CloseNow()
		<-before.over
	}
}

// evict drops the session that has waited longest for its client.
func (s *Server) evict() {
	var oldest sessionKey
	var at time.Time
	for key, session := range s.sessions {
		session.mu.Lock()
		if session.conn == nil && (at.IsZero() || session.usedAt.Before(at)) {
			oldest, at = key, session.usedAt
		}
		session.mu.Unlock()
	}
	if session := s.sessions[oldest]; session != nil {
		s.drop(oldest, session)
	}
}

func (s *Server) newSession(c *connection, g grant, id string) *session {
	if id == "" || len(id) > maxName {
		if id = g.claim.Session; id == "" {
			id = strings.ToLower(rand.Text())
		}
	}
	return &session{
		grant: g, id: strings.ToValidUTF8(id, "\uFFFD"), user: g.claim.User, conn: c, usedAt: s.deps.Now(),
		decoder: NewDecoder(c.dialect, Limits{StateBytes: s.cfg.StateBytes, Total: s.budget}),
		clock:   clock{toleranceUs: s.deps.Tolerance.Microseconds(), replayUs: s.deps.Replay.Microseconds()},
	}
}

// detach leaves a Jitsi session for its client to come back to, unless it said goodbye.
func (s *Server) detach(c *connection, session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sessionKey{session.grant.company, session.id}
	if s.sessions[key] != session {
		session.decoder.Close()
		return
	}
	session.mu.Lock()
	session.conn, session.usedAt = nil, s.deps.Now()
	session.mu.Unlock()
	if c.goodbye {
		s.drop(key, session)
	}
}

// connection is one WebSocket.
type connection struct {
	server  *Server
	dialect Dialect
	ws      *websocket.Conn
	counts  Counts
	opened  time.Time
	limiter *rate.Limiter
	window  chan struct{} // messages that wait for Kafka
	over    chan struct{} // closed when the connection has ended
	pongs   atomic.Int64
	reading atomic.Bool
	goodbye bool
	buf     bytes.Buffer
	methods map[string]prometheus.Counter
}

// Jitsi's closing codes.
const closedByLeaving = 3001

// ackStep is after how many sequence numbers a Jitsi client is told to forget them.
const ackStep = 100

func (c *connection) run(g grant, id string) {
	s := c.server
	session := s.attach(c, g, id)
	defer s.detach(c, session)
	ctx, cancel := context.WithCancel(s.end)
	defer cancel()
	// Once for the connection: a read that has a context would watch it anew for
	// every part of every message.
	defer context.AfterFunc(s.end, func() { c.ws.CloseNow() })()
	go c.keep(ctx, session)
	// A read whose context ends would take the connection with it, without a word.
	stopped := make(chan struct{})
	bye := context.AfterFunc(s.live, func() {
		defer close(stopped)
		_ = c.ws.Close(websocket.StatusServiceRestart, "Earshot is stopping") // the client may be gone
	})
	defer func() {
		if !bye() {
			<-stopped
		}
	}()
	if c.dialect == Jitsi {
		// The client sends nothing before it knows where to go on.
		session.mu.Lock()
		value := session.acked
		session.mu.Unlock()
		if c.say(ctx, value, true) != nil {
			return
		}
	}
	var failed error
	for failed == nil {
		if failed = c.limiter.Wait(s.live); failed == nil {
			failed = c.read(session)
		}
	}
	switch {
	case websocket.CloseStatus(failed) == closedByLeaving || websocket.CloseStatus(failed) == websocket.StatusNormalClosure:
		c.goodbye = true
	case errors.Is(failed, websocket.ErrMessageTooBig):
		c.counts.Received()
		c.counts.Rejected("too_large") // and the library has told the client, 1009
	}
}

// say tells a Jitsi client up to which sequence number Kafka has its messages.
func (c *connection) say(ctx context.Context, value int64, first bool) error {
	state := ""
	if first {
		state = `,"state":"initial"`
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.cfg.Ping)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, []byte(`{"type":"sn","body":{"value":`+strconv.FormatInt(value, 10)+state+`}}`))
}

// keep pings, and tells a Jitsi client now and then what it may forget.
func (c *connection) keep(ctx context.Context, session *session) {
	ping := time.NewTicker(c.server.cfg.Ping)
	defer ping.Stop()
	tell := time.NewTicker(time.Second)
	defer tell.Stop()
	answered, waited := int64(0), false
	for rounds := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tell.C:
			if c.dialect != Jitsi {
				continue
			}
			step := int64(ackStep)
			if rounds++; rounds%10 == 0 {
				step = 1
			}
			if value, ok := session.unsaid(step); ok {
				_ = c.say(ctx, value, false)
			}
		case <-ping.C:
			// While this side does not read, for Kafka has no room, a pong cannot be seen.
			if waited && c.pongs.Load() == answered && c.reading.Load() {
				c.ws.CloseNow()
				return
			}
			answered, waited = c.pongs.Load(), c.reading.Load()
			go func() {
				ctx, cancel := context.WithTimeout(ctx, c.server.cfg.Ping)
				defer cancel()
				_ = c.ws.Ping(ctx) // counted by its pong
			}()
		}
	}
}

// read takes one message off the connection.
func (c *connection) read(session *session) error {
	c.reading.Store(true)
	kind, r, err := c.ws.Reader(context.Background())
	if err == nil {
		c.buf.Reset()
		_, err = io.Copy(&c.buf, r)
	}
	c.reading.Store(false)
	if err != nil {
		return err
	}
	received := c.server.deps.Now()
	c.counts.Received()
	if kind != websocket.MessageText {
		c.counts.Rejected("binary")
		return nil
	}
	c.message(session, c.buf.Bytes(), received)
	if c.buf.Cap() > 256<<10 {
		c.buf = bytes.Buffer{} // one large message is no reason to keep its room
	}
	return nil
}

func (c *connection) message(session *session, message []byte, received time.Time) {
	s := c.server
	var e Event
	var err error
	if c.dialect == Jitsi {
		e, err = session.decoder.DecodeJitsi(message, session.seen)
	} else {
		e, err = session.decoder.Decode(message)
	}
	if err != nil {
		c.counts.Rejected(Reason(err))
		return
	}
	c.counter(&e).Inc()
	if e.Full {
		s.messages.WithLabelValues(c.dialect.String(), "state_full").Inc()
	}
	pass := func(reason string) {
		c.counts.Rejected(reason)
		if e.Seq > 0 {
			session.passed(e.Seq)
		}
	}
	o := Observation{Company: session.grant.company, Received: received}
	switch e.Kind {
	case Stats:
		o.Sample = session.sample(&e)
		at := e.Statistics.Sample(o.Sample)
		if Empty(o.Sample) {
			pass("no_statistics")
			return
		}
		// The browser stamps statistics by a clock that stands still while the
		// machine sleeps.
		if tolerance := s.deps.Tolerance.Microseconds(); e.AtUs == 0 || at > e.AtUs-tolerance && at < e.AtUs+tolerance {
			e.AtUs = at
		}
	case Rated:
		o.Event = session.rated(&e)
	case Identified:
		session.identify(&e)
	case Left:
		c.goodbye = true
	}
	if e.AtUs > 0 {
		o.OffsetUs = session.clock.offset(e.AtUs, received.UnixMicro(), c.opened.UnixMicro(), e.Prompt)
		o.AtUs = e.AtUs + o.OffsetUs
	}
	if o.Sample == nil && o.Event == nil {
		pass("no_telemetry")
		return
	}
	if e.Seq > 0 {
		session.decoded(e.Seq)
	}
	select {
	case c.window <- struct{}{}:
	case <-s.end.Done():
		c.counts.Dropped("stopping")
		return
	}
	s.deps.Produce(s.end, o, func(err error) {
		<-c.window
		switch {
		case err == nil:
			c.counts.Produced()
		default:
			c.counts.Dropped("kafka")
			s.log.Warn("cannot take a sample of an rtcstats client", "error", err)
		}
		if e.Seq > 0 {
			session.settled(e.Seq)
		}
	})
}

// counter counts the messages of a method.
func (c *connection) counter(e *Event) prometheus.Counter {
	if n, ok := c.methods[e.Method]; ok {
		return n
	}
	label := e.Label()
	n := c.server.messages.WithLabelValues(c.dialect.String(), label)
	if label == e.Method { // there are but so many of these
		c.methods[strings.Clone(label)] = n
	}
	return n
}

// Empty says whether a report held nothing about audio: before media flows.
func Empty(s *telemetry.WebRTCSample) bool {
	return len(s.Inbound)+len(s.Outbound)+len(s.RemoteInbound)+len(s.RemoteOutbound)+len(s.MediaSources) == 0 && s.Pair == nil
}
