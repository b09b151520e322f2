// Package registrar answers phones that register at Earshot (RFC 3261 §10) and
// that send quality reports (RFC 6035), and shows every message of both.
package registrar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo"
	siplib "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/ingest/sip"
)

// Config sets the registrar's policy.
type Config struct {
	MinExpires, DefaultExpires, MaxExpires time.Duration
	MaxBindings                            int
	Now                                    func() time.Time // nil: time.Now
}

// Registrar serves SIP on one UDP socket and one TCP listener.
type Registrar struct {
	cfg      Config
	udp      net.PacketConn
	tcp      net.Listener
	udpAddr  net.Addr
	agent    *sipgo.UserAgent
	server   *sipgo.Server
	bindings bindings
}

const (
	serverName = "Earshot"
	allowed    = "REGISTER, PUBLISH, NOTIFY, OPTIONS"
)

// New makes a Registrar on sockets that are open already. observe is called
// with every message received or sent, from several goroutines, and must not
// keep its bytes.
func New(cfg Config, udp *net.UDPConn, tcp net.Listener, observe func(Message)) (*Registrar, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	// What strangers send is counted by the observer, not logged by the library.
	quiet := slog.New(slog.DiscardHandler)
	siplib.SetDefaultLogger(quiet) // connections log there, whatever logger the layers have
	agent, err := sipgo.NewUA(sipgo.WithUserAgent(serverName),
		sipgo.WithUserAgentTransportLayerOptions(siplib.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(siplib.WithTransactionLayerLogger(quiet)))
	if err != nil {
		return nil, fmt.Errorf("cannot make a SIP user agent: %w", err)
	}
	server, err := sipgo.NewServer(agent, sipgo.WithServerLogger(quiet))
	if err != nil {
		agent.Close()
		return nil, fmt.Errorf("cannot make a SIP server: %w", err)
	}
	r := &Registrar{
		cfg: cfg, agent: agent, server: server, udpAddr: udp.LocalAddr(),
		udp:      &udpTap{UDPConn: udp, observe: observe, now: cfg.Now, local: addrPort(udp.LocalAddr())},
		tcp:      &tcpTap{Listener: tcp, observe: observe, now: cfg.Now},
		bindings: bindings{most: cfg.MaxBindings, byAOR: map[string][]*binding{}},
	}
	server.OnRegister(r.register)
	server.OnPublish(r.report)
	server.OnNotify(r.report)
	server.OnOptions(r.options)
	server.OnAck(func(*siplib.Request, siplib.ServerTransaction) {}) // of an INVITE that was refused
	server.OnNoRoute(r.refuse)
	return r, nil
}

// Addrs are the bound addresses.
func (r *Registrar) Addrs() (udp, tcp net.Addr) { return r.udpAddr, r.tcp.Addr() }

// Registered is the number of bindings that are kept.
func (r *Registrar) Registered() int { return r.bindings.count() }

// Close closes both sockets.
func (r *Registrar) Close() {
	r.udp.Close()
	r.tcp.Close()
}

// Run serves until ctx ends.
func (r *Registrar) Run(ctx context.Context) error {
	defer r.agent.Close()
	stop := context.AfterFunc(ctx, r.Close)
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- r.server.ServeUDP(r.udp) }()
	go func() { ended <- r.server.ServeTCP(r.tcp) }()
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	left := 2
	for {
		select {
		case err := <-ended:
			if ctx.Err() == nil {
				r.Close()
				return fmt.Errorf("SIP listener ended: %w", err)
			}
			if left--; left == 0 {
				return nil
			}
		case <-sweep.C:
			r.bindings.sweep(r.cfg.Now())
		}
	}
}

func reply(req *siplib.Request, tx siplib.ServerTransaction, status int, reason string, headers ...siplib.Header) {
	res := siplib.NewResponseFromRequest(req, status, reason, nil)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	res.AppendHeader(siplib.NewHeader("Server", serverName))
	// A phone that is gone, or that got its answer already, needs none.
	_ = tx.Respond(res)
}

func header(name, value string) siplib.Header { return siplib.NewHeader(name, value) }

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// register answers a REGISTER (RFC 3261 §10.3).
func (r *Registrar) register(req *siplib.Request, tx siplib.ServerTransaction) {
	// Read by the same decoder as everything that is only looked at, so that what
	// is answered and what is reported cannot disagree.
	m, err := sip.Parse([]byte(req.String()))
	if err != nil || m.To.GetHost() == "" {
		reply(req, tx, 400, "Bad Request")
		return
	}
	now := r.cfg.Now()
	u := update{aor: m.To.User + "@" + strings.ToLower(m.To.Host), callID: m.CallId, cseq: m.Cseq}
	for _, c := range m.Contacts {
		if c.Uri == "*" {
			if m.ExpiresS != 0 || len(m.Contacts) != 1 {
				reply(req, tx, 400, "Wildcard Needs Expires 0")
				return
			}
			u.all = true
			continue
		}
		wanted := r.cfg.DefaultExpires
		for _, s := range []int64{c.ExpiresS, m.ExpiresS} {
			if s >= 0 {
				wanted = time.Duration(min(s, 1<<31)) * time.Second
				break
			}
		}
		b := binding{uri: c.Uri, instance: c.Instance, regID: c.RegId, callID: m.CallId, cseq: m.Cseq}
		switch {
		case wanted == 0:
			u.remove = append(u.remove, b)
			continue
		case wanted < r.cfg.MinExpires:
			reply(req, tx, 423, "Interval Too Brief", header("Min-Expires", seconds(r.cfg.MinExpires)))
			return
		}
		b.expiresAt = now.Add(min(wanted, r.cfg.MaxExpires))
		u.set = append(u.set, b)
	}
	held, verdict := r.bindings.apply(u, now)
	switch verdict {
	case outOfOrder:
		reply(req, tx, 500, "CSeq Out Of Order")
		return
	case tooMany:
		reply(req, tx, 503, "Too Many Bindings", header("Retry-After", "60"))
		return
	}
	headers := []siplib.Header{header("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))}
	for _, b := range held {
		headers = append(headers, header("Contact", contact(b, now)))
	}
	reply(req, tx, 200, "OK", headers...)
}

// contact is a binding in a 200, with its instance and flow (RFC 5626 §6).
func contact(b binding, now time.Time) string {
	// Rounded up: a binding that still holds never shows 0, which would say that
	// it was removed.
	left := (b.expiresAt.Sub(now) + time.Second - 1) / time.Second
	s := "<" + b.uri + ">;expires=" + strconv.FormatInt(int64(left), 10)
	if b.instance != "" {
		s += `;+sip.instance="<` + b.instance + `>"`
	}
	if b.regID != "" {
		s += ";reg-id=" + b.regID
	}
	return s
}

// report takes PUBLISH and NOTIFY of quality reports (RFC 6035 §4). The
// observer has read the body; what it could not read is its to count.
func (r *Registrar) report(req *siplib.Request, tx siplib.ServerTransaction) {
	event := ""
	if h := req.GetHeader("Event"); h != nil {
		event, _, _ = strings.Cut(h.Value(), ";")
		event = strings.ToLower(strings.TrimSpace(event))
	} else if h := req.GetHeader("o"); h != nil {
		event, _, _ = strings.Cut(h.Value(), ";")
		event = strings.ToLower(strings.TrimSpace(event))
	}
	switch {
	case req.Method == siplib.NOTIFY && event == "keep-alive": // a habit of Sipura and its heirs
		reply(req, tx, 200, "OK")
	case event != "vq-rtcpxr":
		reply(req, tx, 489, "Bad Event", header("Allow-Events", "vq-rtcpxr"))
	case req.Method == siplib.PUBLISH:
		reply(req, tx, 200, "OK", header("SIP-ETag", strings.ToLower(rand.Text()[:16])), header("Expires", "3600"))
	default:
		reply(req, tx, 200, "OK")
	}
}

func (r *Registrar) options(req *siplib.Request, tx siplib.ServerTransaction) {
	reply(req, tx, 200, "OK", header("Allow", allowed), header("Accept", sip.MediaVQ), header("Allow-Events", "vq-rtcpxr"))
}

// refuse answers what this is no place for: it registers phones and connects no calls.
func (r *Registrar) refuse(req *siplib.Request, tx siplib.ServerTransaction) {
	switch req.Method {
	case siplib.INVITE, siplib.BYE, siplib.CANCEL, siplib.SUBSCRIBE, siplib.REFER, siplib.MESSAGE, siplib.INFO, siplib.PRACK, siplib.UPDATE:
		reply(req, tx, 405, "Method Not Allowed", header("Allow", allowed))
	default:
		reply(req, tx, 501, "Not Implemented", header("Allow", allowed))
	}
}
