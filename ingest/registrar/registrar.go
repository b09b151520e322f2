// Package registrar answers phones that register at Earshot (RFC 3261 §10) and
// that send quality reports (RFC 6035), over UDP, TCP, TLS and WebSocket, and
// shows every message of both. It registers and connects no calls, so every
// request is answered at once, by the one who read it.
package registrar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// Config sets the registrar's policy.
type Config struct {
	MinExpires, DefaultExpires, MaxExpires time.Duration
	MaxBindings                            int
	GRUU                                   bool // give addresses that lead to one device to those who ask

	Auth       string   // AuthOff, AuthKnown or AuthRequired
	Realm      string   // of challenges; credentials hold for one realm
	Algorithms []string // offered in challenges, in this order
	NonceFor   time.Duration
	// Credentials knows what devices register with; nil: nobody has any.
	Credentials Credentials
	// Used is told with which credentials a device has registered, once for each
	// binding unless it answers false; it must not block. nil: nobody is.
	Used func(credential, device string) bool
	// Company is whose phones these are; nil: everybody's are the same company's.
	Company func(peer netip.Addr, m *telemetry.SIPMessage) string

	MessageBytes int           // largest message on a connection
	Connections  int           // most connections at a time, a quarter of them from one address
	Idle         time.Duration // silence that ends a connection
	Rate         float64       // messages per second that one address may send; 0: any number
	Burst        int           // messages at once beyond that

	Metrics prometheus.Registerer // nil: none
	Now     func() time.Time      // nil: time.Now
}

// PacketConn is a UDP socket. *net.UDPConn is one.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// Listeners are sockets that are open already. Nil ones are not served.
type Listeners struct {
	UDP          PacketConn
	TCP, TLS     net.Listener // TLS and WSS give connections that are encrypted
	WebSocket    net.Listener
	WebSocketTLS net.Listener
}

// ErrRate is a message that was dropped because its sender sends too many.
var ErrRate = errors.New("registrar: more messages than one address may send")

// Message is one SIP message as it was on the wire, in either direction.
type Message struct {
	Raw       []byte // the receiver's to use until Observe returns
	Src, Dst  netip.AddrPort
	Peer      netip.AddrPort // the phone: Src of what it sent, Dst of what it was sent
	Transport string         // udp, tcp, tls, ws, wss
	At        time.Time
	Err       error // it could not be read or was not taken, and is not answered with what it asks for
}

// Registrar serves SIP.
type Registrar struct {
	cfg          Config
	listeners    Listeners
	observe      func(Message)
	bindings     bindings
	guard        guard
	limits       *limits
	transactions *transactions
	streams      *streams
	metrics      metrics
}

const (
	allowed     = "REGISTER, PUBLISH, NOTIFY, OPTIONS"
	allowEvents = "vq-rtcpxr"
)

// New makes a Registrar. observe is called with every message received or sent,
// from several goroutines, and must not keep its bytes.
func New(cfg Config, listeners Listeners, observe func(Message)) (*Registrar, error) {
	if err := CheckAuth(cfg.Auth, cfg.Algorithms); err != nil {
		return nil, fmt.Errorf("cannot set up authentication: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Credentials == nil {
		cfg.Credentials = nobody{}
	}
	if cfg.Company == nil {
		cfg.Company = func(netip.Addr, *telemetry.SIPMessage) string { return "" }
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	r := &Registrar{
		cfg: cfg, listeners: listeners, observe: observe,
		bindings:     bindings{most: cfg.MaxBindings, byAOR: map[string][]*binding{}},
		limits:       newLimits(cfg.Rate, cfg.Burst),
		transactions: newTransactions(),
		streams:      newStreams(cfg.Connections),
	}
	r.metrics = newMetrics(cfg.Metrics, r)
	r.guard = guard{
		policy: cfg.Auth, realm: cfg.Realm, algorithms: cfg.Algorithms, credentials: cfg.Credentials, nonces: newNonces(cfg.NonceFor),
		count: func(result string) { r.metrics.authentications.WithLabelValues(result).Inc() },
	}
	return r, nil
}

// Listeners are the sockets that are served.
func (r *Registrar) Listeners() Listeners { return r.listeners }

// Registered is the number of bindings that are kept.
func (r *Registrar) Registered() int { return r.bindings.count() }

// Device names what registers, by its id in the history of registrations.
type Device struct{ Company, ID string }

// Ended is a binding that its phone did not end.
type Ended struct{ Company, AOR, Device string }

// End gives up the bindings of some devices. Their phones do not learn of it
// before they register again.
func (r *Registrar) End(devices ...Device) []Ended {
	wanted := map[Device]bool{}
	for _, d := range devices {
		wanted[d] = true
	}
	return r.bindings.end(wanted)
}

// used tells of the credentials that an update was made with.
func (r *Registrar) used(u update) {
	if r.cfg.Used != nil && len(u.set) > 0 && u.set[0].by != "" {
		r.bindings.tell(u.aor, r.cfg.Used)
	}
}

// Close closes all sockets.
func (r *Registrar) Close() {
	if r.listeners.UDP != nil {
		r.listeners.UDP.Close()
	}
	for _, l := range []net.Listener{r.listeners.TCP, r.listeners.TLS, r.listeners.WebSocket, r.listeners.WebSocketTLS} {
		if l != nil {
			l.Close()
		}
	}
}

// Run serves until ctx ends.
func (r *Registrar) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, r.Close)
	defer stop()
	if r.listeners.UDP != nil {
		group.Go(func() error { return r.serveUDP(ctx) })
	}
	for transport, l := range map[string]net.Listener{"tcp": r.listeners.TCP, "tls": r.listeners.TLS} {
		if l != nil {
			group.Go(func() error { return r.serveStreams(ctx, transport, l) })
		}
	}
	for transport, l := range map[string]net.Listener{"ws": r.listeners.WebSocket, "wss": r.listeners.WebSocketTLS} {
		if l != nil {
			group.Go(func() error { return r.serveWebSocket(ctx, transport, l) })
		}
	}
	group.Go(func() error {
		sweep := time.NewTicker(time.Minute)
		defer sweep.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-sweep.C:
				r.bindings.sweep(r.cfg.Now())
			}
		}
	})
	return group.Wait()
}

// take looks at one message and gives what is to be sent back, nil for nothing.
func (r *Registrar) take(raw []byte, from flow) (out []byte, to netip.AddrPort) {
	now := r.cfg.Now()
	seen := Message{Src: from.peer, Dst: from.local, Peer: from.peer, Transport: from.transport, At: now}
	if !r.limits.allow(from.peer.Addr(), now) {
		seen.Err = ErrRate
		r.observe(seen)
		return nil, to
	}
	if !sip.IsSIP(raw) {
		seen.Err = sip.ErrNotSIP
		r.observe(seen)
		return nil, to
	}
	m, err := sip.Parse(raw)
	seen.Raw, seen.Err = raw, err
	r.observe(seen)
	if err == nil && m.Status != 0 {
		return nil, to // an answer, to nothing that was asked
	}
	q, unfit := readRequest(raw, from)
	if q == nil || q.IsAck() || q.one("Via") == "" {
		return nil, to
	}
	to = q.destination()
	if err == nil {
		q.m, err = m, unfit
	}
	key := ""
	if !from.stream() {
		key = transactionKey(q.Method, q)
		if out = r.transactions.find(key, now); out != nil {
			return out, to
		}
	}
	a := r.decide(q, err, now)
	r.metrics.answers.WithLabelValues(knownMethod(q.Method.String()), strconv.Itoa(a.status)).Inc()
	out = a.bytes(q)
	if key != "" {
		r.transactions.keep(key, out, now)
	}
	return out, to
}

// sent shows what was sent.
func (r *Registrar) sent(raw []byte, over flow, to netip.AddrPort) {
	r.observe(Message{Raw: raw, Src: over.local, Dst: to, Peer: over.peer, Transport: over.transport, At: r.cfg.Now()})
}

// decide answers a request.
func (r *Registrar) decide(q *request, unreadable error, now time.Time) response {
	switch {
	case errors.Is(unreadable, sip.ErrVersion):
		return answer(505, "Version Not Supported")
	case errors.Is(unreadable, sip.ErrCSeq):
		return answer(400, "CSeq Malformed")
	case errors.Is(unreadable, sip.ErrMissing):
		return answer(400, "Call-ID Or CSeq Missing")
	case unreadable != nil:
		return answer(400, "Request Malformed")
	case q.CallID() == nil, q.CSeq() == nil:
		return answer(400, "Call-ID Or CSeq Malformed")
	case q.From() == nil, q.To() == nil:
		return answer(400, "From Or To Missing Or Malformed")
	case q.Via() == nil:
		return answer(400, "Via Malformed")
	case strings.TrimSpace(q.CSeq().MethodName.String()) != q.Method.String():
		return answer(400, "CSeq Names Another Method")
	}
	if missing := r.unsupported(q); missing != "" && !q.IsCancel() {
		return answer(420, "Bad Extension", field{"Unsupported", missing})
	}
	switch q.Method {
	case "REGISTER":
		return r.register(q, now)
	case "PUBLISH", "NOTIFY":
		return r.report(q, now)
	case "OPTIONS":
		return answer(200, "OK", field{"Allow", allowed}, field{"Accept", sip.MediaVQ}, field{"Accept-Encoding", "identity"},
			field{"Allow-Events", allowEvents}, field{"Supported", strings.Join(r.extensions(), ", ")})
	case "CANCEL":
		// An INVITE is refused at once: there is nothing left to cancel (RFC 3261 §9.2).
		if r.transactions.find(transactionKey("INVITE", q), now) != nil {
			return answer(200, "OK")
		}
		return answer(481, "Call/Transaction Does Not Exist")
	case "INVITE", "BYE", "SUBSCRIBE", "REFER", "MESSAGE", "INFO", "PRACK", "UPDATE":
		return answer(405, "Method Not Allowed", field{"Allow", allowed})
	}
	return answer(501, "Not Implemented", field{"Allow", allowed})
}

// extensions are the option tags of what is supported here.
func (r *Registrar) extensions() []string {
	if r.cfg.GRUU {
		return []string{"path", "outbound", "gruu"}
	}
	return []string{"path", "outbound"}
}

// unsupported are the extensions that a request insists on and that are not
// here (RFC 3261 §8.2.2.3).
func (r *Registrar) unsupported(q *request) string {
	var missing []string
	for _, tag := range q.tags("Require") {
		if !slices.Contains(r.extensions(), tag) {
			missing = append(missing, tag)
		}
	}
	return strings.Join(missing, ", ")
}

// knownMethod keeps what strangers write out of metrics.
func knownMethod(method string) string {
	switch method {
	case "REGISTER", "PUBLISH", "NOTIFY", "OPTIONS", "INVITE", "CANCEL", "BYE", "SUBSCRIBE", "MESSAGE":
		return method
	}
	return "other"
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
