package registrar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// serveWebSocket serves SIP over WebSocket (RFC 7118): the subprotocol is sip,
// at any path, and every WebSocket message is one SIP message.
func (r *Registrar) serveWebSocket(ctx context.Context, transport string, l net.Listener) error {
	var open sync.WaitGroup
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			open.Add(1)
			defer open.Done()
			r.upgrade(ctx, w, req, transport)
		}),
		ReadHeaderTimeout: handshakeFor, IdleTimeout: handshakeFor, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // what strangers do is counted
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(&bounded{l, r, transport})
	open.Wait()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("SIP listener ended: %w", err)
}

func (r *Registrar) upgrade(ctx context.Context, w http.ResponseWriter, req *http.Request, transport string) {
	if !offersSIP(req.Header) {
		r.metrics.refused.WithLabelValues(transport).Inc()
		http.Error(w, "This is SIP over WebSocket: offer the subprotocol sip.", http.StatusBadRequest)
		return
	}
	// Pages of any origin may register: what they need is a secret, which no
	// browser adds by itself.
	conn, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{"sip"}, OriginPatterns: []string{"*"}})
	if err != nil {
		r.metrics.refused.WithLabelValues(transport).Inc()
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(int64(r.cfg.MessageBytes))
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return
	}
	from := flow{transport: transport, peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())}
	if local, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		from.local = addrPort(local)
	}
	s := stream{r: r, from: from, write: func(b []byte) error {
		within, cancel := context.WithTimeout(ctx, writeFor)
		defer cancel()
		return conn.Write(within, websocket.MessageText, b)
	}}
	for {
		b, err := readWithin(ctx, conn, s.patience())
		if err != nil {
			return
		}
		if isBlank(b) {
			r.metrics.keepAlives.WithLabelValues("crlf").Inc()
			if s.write([]byte("\r\n")) != nil {
				return
			}
			continue
		}
		if !s.message(b) {
			return
		}
	}
}

func readWithin(ctx context.Context, conn *websocket.Conn, idle time.Duration) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	_, b, err := conn.Read(within)
	return b, err
}

func offersSIP(h http.Header) bool {
	for _, v := range h.Values("Sec-WebSocket-Protocol") {
		if slices.ContainsFunc(strings.Split(v, ","), func(p string) bool { return strings.EqualFold(strings.TrimSpace(p), "sip") }) {
			return true
		}
	}
	return false
}
