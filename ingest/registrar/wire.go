package registrar

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/earshot/earshot/ingest/sip"
)

// Message is one SIP message as it was on the wire, in either direction.
type Message struct {
	Raw       []byte // the receiver's to use until Observe returns
	Src, Dst  netip.AddrPort
	Peer      netip.AddrPort // the phone: Src of what it sent, Dst of what it was sent
	Transport string         // udp, tcp
	At        time.Time
	Err       error // it could not be read and is not answered
}

// udpTap shows every datagram that passes. What is no SIP goes no further: it
// would only be logged, with what a stranger wrote in it.
type udpTap struct {
	*net.UDPConn
	observe func(Message)
	now     func() time.Time
	local   netip.AddrPort
}

func (t *udpTap) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, remote, err := t.UDPConn.ReadFrom(b)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && transient(err) {
				continue // ICMP errors of an earlier answer are no end of listening
			}
			return n, remote, err
		}
		if n <= 4 || !sip.IsSIP(b[:n]) {
			if isKeepAlive(b[:n]) {
				continue
			}
			peer := addrPort(remote)
			t.observe(Message{Src: peer, Dst: t.local, Peer: peer, Transport: "udp", At: t.now(), Err: sip.ErrNotSIP})
			continue
		}
		peer := addrPort(remote)
		m := Message{Raw: b[:n], Src: peer, Dst: t.local, Peer: peer, Transport: "udp", At: t.now()}
		if _, err := sip.Parse(b[:n]); err != nil {
			m.Err = err
			t.observe(m)
			continue
		}
		t.observe(m)
		return n, remote, nil
	}
}

func (t *udpTap) WriteTo(b []byte, remote net.Addr) (int, error) {
	n, err := t.UDPConn.WriteTo(b, remote)
	if err == nil {
		peer := addrPort(remote)
		t.observe(Message{Raw: b, Src: t.local, Dst: peer, Peer: peer, Transport: "udp", At: t.now()})
	}
	return n, err
}

func transient(err error) bool {
	var ne net.Error
	return errors.As(err, &ne)
}

// isKeepAlive reports the white space and NULs that phones send to keep a NAT's
// binding (RFC 5626 §3.5.1 and older habits).
func isKeepAlive(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 && c != ' ' {
			return false
		}
	}
	return true
}

// tcpTap gives connections that show every message that passes.
type tcpTap struct {
	net.Listener
	observe func(Message)
	now     func() time.Time
}

func (t *tcpTap) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &connTap{Conn: conn, tap: t, local: addrPort(conn.LocalAddr()), peer: addrPort(conn.RemoteAddr())}, nil
}

type connTap struct {
	net.Conn
	tap         *tcpTap
	local, peer netip.AddrPort
	in          sip.Framer // only the reader uses it
	mu          sync.Mutex
	out         sip.Framer
}

func (c *connTap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.frames(&c.in, b[:n], c.peer, c.local)
	}
	return n, err
}

func (c *connTap) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.frames(&c.out, b[:n], c.local, c.peer)
	}
	return n, err
}

func (c *connTap) frames(f *sip.Framer, b []byte, src, dst netip.AddrPort) {
	f.Push(b)
	for {
		raw, err := f.Next()
		if err == nil && raw == nil {
			return
		}
		c.tap.observe(Message{Raw: raw, Src: src, Dst: dst, Peer: c.peer, Transport: "tcp", At: c.tap.now(), Err: err})
		if err != nil && raw == nil && f.Buffered() == 0 {
			return
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
