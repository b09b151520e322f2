package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// phone is a SIP user agent (RFC 3261): it registers at Earshot, calls other
// phones and answers them as the scenario wants.
type phone struct {
	user      string // of its address-of-record
	domain    string
	number    string
	userAgent string
	addr      netip.AddrPort
	registrar string

	agent   *sipgo.UserAgent
	client  *sipgo.Client
	dialogs *sipgo.DialogUA

	mu   sync.Mutex
	open map[string]*sipgo.DialogServerSession // by Call-ID
	// What to do with the call of a Call-ID; one that is not expected is unavailable.
	answers map[string]func(d *sipgo.DialogServerSession)
	cseq    uint32
	callID  string // of the registrations
}

func newPhone(ctx context.Context, p *phone, log *slog.Logger) (*phone, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, fmt.Errorf("cannot find a demo phone's port: %w", err)
	}
	p.addr = addr
	p.open = map[string]*sipgo.DialogServerSession{}
	p.answers = map[string]func(*sipgo.DialogServerSession){}
	p.callID = fmt.Sprintf("reg-%s-%d@%s", p.user, p.addr.Port(), p.domain)
	if p.agent, err = sipgo.NewUA(sipgo.WithUserAgent(p.user), sipgo.WithUserAgentHostname(p.domain)); err != nil {
		return nil, fmt.Errorf("cannot make a demo phone: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server, err := sipgo.NewServer(p.agent, sipgo.WithServerLogger(quiet))
	if err != nil {
		return nil, fmt.Errorf("cannot make a demo phone: %w", err)
	}
	if p.client, err = sipgo.NewClient(p.agent, sipgo.WithClientLogger(quiet),
		sipgo.WithClientConnectionAddr(p.addr.String()), sipgo.WithClientHostname(p.addr.Addr().String()), sipgo.WithClientPort(int(p.addr.Port()))); err != nil {
		return nil, fmt.Errorf("cannot make a demo phone: %w", err)
	}
	p.dialogs = &sipgo.DialogUA{Client: p.client, ContactHDR: sip.ContactHeader{Address: p.contact()}}
	server.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
		dialog, err := p.dialogs.ReadInvite(req, tx)
		if err != nil {
			log.Debug("demo phone cannot take a call", "error", err)
			return
		}
		p.mu.Lock()
		p.open[req.CallID().Value()] = dialog
		answer := p.answers[req.CallID().Value()]
		delete(p.answers, req.CallID().Value())
		p.mu.Unlock()
		if answer == nil {
			_ = dialog.Respond(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable", nil)
			return
		}
		answer(dialog)
	})
	server.OnAck(func(req *sip.Request, tx sip.ServerTransaction) {
		if d := p.dialog(req); d != nil {
			_ = d.ReadAck(req, tx)
		}
	})
	server.OnBye(func(req *sip.Request, tx sip.ServerTransaction) {
		if d := p.dialog(req); d != nil {
			_ = d.ReadBye(req, tx)
			p.mu.Lock()
			delete(p.open, req.CallID().Value())
			p.mu.Unlock()
		}
	})
	// The client shares the server's socket, so that has to be there first.
	ready := make(chan struct{})
	failed := make(chan error, 1)
	//lint:ignore SA1029 the key is sipgo's
	listening := context.WithValue(ctx, sipgo.ListenReadyCtxKey, sipgo.ListenReadyCtxValue(ready))
	go func() { failed <- server.ListenAndServe(listening, "udp", p.addr.String()) }()
	context.AfterFunc(ctx, func() { _ = p.agent.Close() })
	select {
	case <-ready:
		return p, nil
	case err := <-failed:
		return nil, fmt.Errorf("cannot open a demo phone's port: %w", err)
	}
}

// freeAddr finds a free port by taking one for a moment.
func freeAddr() (netip.AddrPort, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

func (p *phone) dialog(req *sip.Request) *sipgo.DialogServerSession {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[req.CallID().Value()]
}

func (p *phone) contact() sip.Uri {
	return sip.Uri{Scheme: "sip", User: p.user, Host: p.addr.Addr().String(), Port: int(p.addr.Port())}
}

func (p *phone) aor() sip.Uri { return sip.Uri{Scheme: "sip", User: p.user, Host: p.domain} }

// expect says how to treat the call that will come with a Call-ID.
func (p *phone) expect(callID string, answer func(*sipgo.DialogServerSession)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[callID] = answer
}

func params(pairs ...string) sip.HeaderParams {
	out := sip.NewParams()
	for i := 0; i < len(pairs); i += 2 {
		out.Add(pairs[i], pairs[i+1])
	}
	return out
}

// register binds the phone at Earshot for the given time (RFC 3261 §10); 0 unregisters.
func (p *phone) register(ctx context.Context, expires time.Duration) error {
	host, port, err := sip.ParseAddr(p.registrar)
	if err != nil {
		return fmt.Errorf("cannot read the registrar's address: %w", err)
	}
	aor := p.aor()
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: host, Port: port})
	req.AppendHeader(&sip.FromHeader{Address: aor, Params: params("tag", fmt.Sprintf("r%d", p.addr.Port()))})
	req.AppendHeader(&sip.ToHeader{Address: aor, Params: sip.NewParams()})
	id := sip.CallIDHeader(p.callID)
	req.AppendHeader(&id)
	p.mu.Lock()
	p.cseq++
	seq := p.cseq
	p.mu.Unlock()
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: sip.REGISTER})
	req.AppendHeader(&sip.ContactHeader{Address: p.contact(), Params: params("+sip.instance", fmt.Sprintf("\"<urn:uuid:00000000-0000-4000-8000-%012x>\"", hash(p.user+p.userAgent)&0xffffffffffff), "reg-id", "1")})
	req.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(int(expires.Seconds()))))
	req.AppendHeader(sip.NewHeader("User-Agent", p.userAgent))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := p.client.Do(ctx, req)
	if err != nil {
		return fmt.Errorf("cannot register %s: %w", p.user, err)
	}
	if res.StatusCode != sip.StatusOK {
		return fmt.Errorf("cannot register %s: %d %s", p.user, res.StatusCode, res.Reason)
	}
	return nil
}

// dial sends an INVITE to another phone with the given SDP.
func (p *phone) dial(ctx context.Context, to *phone, callID, sdp string) (*sipgo.DialogClientSession, error) {
	req := sip.NewRequest(sip.INVITE, to.contact())
	req.AppendHeader(&sip.FromHeader{DisplayName: p.user, Address: sip.Uri{Scheme: "sip", User: p.number, Host: p.domain}, Params: params("tag", fmt.Sprintf("c%x", hash(callID)&0xffffffff))})
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: to.number, Host: to.domain}, Params: sip.NewParams()})
	id := sip.CallIDHeader(callID)
	req.AppendHeader(&id)
	req.AppendHeader(sip.NewHeader("User-Agent", p.userAgent))
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	req.SetBody([]byte(sdp))
	dialog, err := p.dialogs.WriteInvite(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("cannot call: %w", err)
	}
	return dialog, nil
}

// cancel gives up a ringing call with a Reason (RFC 3326).
func (p *phone) cancel(dialog *sipgo.DialogClientSession, reason string) error {
	invite := dialog.InviteRequest
	req := sip.NewRequest(sip.CANCEL, invite.Recipient)
	req.AppendHeader(sip.HeaderClone(invite.Via()))
	req.AppendHeader(sip.HeaderClone(invite.From()))
	req.AppendHeader(sip.HeaderClone(invite.To()))
	req.AppendHeader(sip.HeaderClone(invite.CallID()))
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	if reason != "" {
		req.AppendHeader(sip.NewHeader("Reason", reason))
	}
	req.SetTransport(invite.Transport())
	req.SetDestination(invite.Destination())
	if err := p.client.WriteRequest(req, func(*sipgo.Client, *sip.Request) error { return nil }); err != nil {
		return fmt.Errorf("cannot cancel: %w", err)
	}
	return nil
}

// mirror is a capture agent beside the phones: what one of them reads from
// another goes to Earshot's HEP listener too. Reading and not writing, because
// a phone answers only after it has read: so the copies keep the order.
type mirror struct {
	agent *agent
	mu    sync.Mutex
	ours  map[string]bool // addresses of phones
}

func (m *mirror) add(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ours[addr.String()] = true
}

// SIPTraceWrite ignores what was written: its reader reports it.
func (m *mirror) SIPTraceWrite(string, string, string, []byte) {}

// SIPTraceRead reports a message between phones. What Earshot's own registrar
// answers it has seen itself.
func (m *mirror) SIPTraceRead(_, laddr, raddr string, message []byte) {
	m.mu.Lock()
	both := m.ours[laddr] && m.ours[raddr]
	m.mu.Unlock()
	if !both {
		return
	}
	src, err1 := netip.ParseAddrPort(raddr)
	dst, err2 := netip.ParseAddrPort(laddr)
	if err1 != nil || err2 != nil {
		return
	}
	m.agent.sip(src, dst, message)
}
