package registrar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/earshot/earshot/ingest/sip"
)

const (
	firstFor     = 30 * time.Second // how long a connection may take to bring its first message
	handshakeFor = 10 * time.Second // how long TLS and the WebSocket's upgrade may take
	writeFor     = 10 * time.Second // how long an answer may take to leave
)

// streams bounds the connections of all transports together.
type streams struct {
	most int

	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
}

func newStreams(most int) *streams { return &streams{most: most, by: map[netip.Addr]int{}} }

// enter takes a place for a connection; one address has a quarter of them.
func (s *streams) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.most || s.by[from] >= max(s.most/4, 1) {
		return false
	}
	s.total++
	s.by[from]++
	return true
}

func (s *streams) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.by[from]--; s.by[from] == 0 {
		delete(s.by, from)
	}
}

// bounded is a listener whose connections have a place.
type bounded struct {
	net.Listener
	r         *Registrar
	transport string
}

// Accept gives the next connection that finds a place; the others are closed.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrPort(conn.RemoteAddr()).Addr()
		if !b.r.streams.enter(from) {
			b.r.metrics.refused.WithLabelValues(b.transport).Inc()
			conn.Close()
			continue
		}
		gauge := b.r.metrics.connections.WithLabelValues(b.transport)
		gauge.Inc()
		return &placed{Conn: conn, leave: sync.OnceFunc(func() { gauge.Dec(); b.r.streams.leave(from) })}, nil
	}
}

// placed is a connection that leaves its place when it closes.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

// serveStreams serves TCP, or TLS where the listener gives encrypted connections.
func (r *Registrar) serveStreams(ctx context.Context, transport string, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	places := &bounded{l, r, transport}
	for {
		conn, err := places.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("SIP listener ended: %w", err)
			}
			select { // out of file descriptors and the like: it passes
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		open.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			r.serveStream(conn, transport)
		})
	}
}

// serveStream reads one connection to its end.
func (r *Registrar) serveStream(conn net.Conn, transport string) {
	if p, ok := conn.(*placed); ok {
		if secured, ok := p.Conn.(*tls.Conn); ok {
			_ = conn.SetDeadline(r.deadline(handshakeFor))
			if err := secured.Handshake(); err != nil {
				r.metrics.refused.WithLabelValues(transport).Inc()
				return
			}
			_ = conn.SetDeadline(time.Time{})
		}
	}
	from := flow{transport, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())}
	s := stream{r: r, from: from, write: func(b []byte) error {
		_ = conn.SetWriteDeadline(r.deadline(writeFor))
		_, err := conn.Write(b)
		return err
	}}
	buffer := make([]byte, 16<<10)
	for {
		_ = conn.SetReadDeadline(r.deadline(s.patience()))
		n, err := conn.Read(buffer)
		if n > 0 && !s.push(buffer[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// deadline is by the real clock, whatever Config.Now says.
func (r *Registrar) deadline(in time.Duration) time.Time { return time.Now().Add(in) }

// stream gathers the messages of one connection (RFC 3261 §18.3).
type stream struct {
	r      *Registrar
	from   flow
	write  func([]byte) error
	framer sip.Framer
	used   bool // a message came
	breaks int  // line breaks between messages: two CRLFs are a ping (RFC 5626 §3.5.1)
}

// patience is how long a connection may be silent.
func (s *stream) patience() time.Duration {
	if !s.used {
		return min(firstFor, s.r.cfg.Idle)
	}
	return s.r.cfg.Idle
}

// push takes what was read; false ends the connection.
func (s *stream) push(b []byte) bool {
	for len(b) > 0 && s.framer.Buffered() == 0 && (b[0] == '\r' || b[0] == '\n') {
		if b[0] == '\n' {
			if s.breaks++; s.breaks == 2 {
				s.breaks = 0
				s.r.metrics.keepAlives.WithLabelValues("crlf").Inc()
				if s.write([]byte("\r\n")) != nil {
					return false
				}
			}
		}
		b = b[1:]
	}
	if len(b) == 0 {
		return true
	}
	s.breaks = 0
	s.framer.Push(b)
	for {
		raw, err := s.framer.Next()
		switch {
		case err != nil:
			// Where the next message begins nobody can tell for sure.
			s.r.observe(Message{Src: s.from.peer, Dst: s.from.local, Peer: s.from.peer, Transport: s.from.transport, At: s.r.cfg.Now(), Err: err})
			return false
		case raw == nil && s.framer.Buffered() > s.r.cfg.MessageBytes:
			s.r.observe(Message{Src: s.from.peer, Dst: s.from.local, Peer: s.from.peer, Transport: s.from.transport, At: s.r.cfg.Now(), Err: sip.ErrTooLarge})
			return false
		case raw == nil:
			return true
		}
		if !s.message(raw) {
			return false
		}
	}
}

// message takes one whole message; false ends the connection.
func (s *stream) message(raw []byte) bool {
	s.used = true
	out, _ := s.r.take(raw, s.from)
	if out == nil {
		return true
	}
	if s.write(out) != nil {
		s.r.metrics.unsent.WithLabelValues(s.from.transport).Inc()
		return false
	}
	s.r.sent(out, s.from, s.from.peer)
	return true
}
