package registrar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/stun/v4"

	"github.com/earshot/earshot/ingest/sip"
)

// serveUDP reads datagrams until ctx ends.
func (r *Registrar) serveUDP(ctx context.Context) error {
	conn := r.listeners.UDP
	local := addrPort(conn.LocalAddr())
	buffer := make([]byte, 64<<10)
	for {
		n, remote, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("SIP listener ended: %w", err)
			}
			continue // ICMP errors of an earlier answer are no end of listening
		}
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		from := flow{"udp", local, remote}
		if kept := r.keepAlive(conn, buffer[:n], from); kept {
			continue
		}
		out, to := r.take(buffer[:n], from)
		if out == nil {
			continue
		}
		if _, err := conn.WriteToUDPAddrPort(out, to); err != nil {
			r.metrics.unsent.WithLabelValues("udp").Inc()
			continue
		}
		r.sent(out, from, to)
	}
}

// keepAlive takes what phones send to keep a NAT's binding: STUN, which they
// want an answer to (RFC 5626 §3.5.2), and white space or NULs (§3.5.1 and older
// habits).
func (r *Registrar) keepAlive(conn PacketConn, b []byte, from flow) bool {
	if isBlank(b) {
		r.metrics.keepAlives.WithLabelValues("blank").Inc()
		return true
	}
	if !stun.IsMessage(b) || sip.IsSIP(b) {
		return false
	}
	r.metrics.keepAlives.WithLabelValues("stun").Inc()
	if !r.limits.allow(from.peer.Addr(), r.cfg.Now()) {
		return true
	}
	ask := &stun.Message{Raw: append([]byte(nil), b...)}
	if ask.Decode() != nil || ask.Type != stun.BindingRequest {
		return true
	}
	seen := &stun.XORMappedAddress{IP: from.peer.Addr().AsSlice(), Port: int(from.peer.Port())}
	tell, err := stun.Build(ask, stun.BindingSuccess, seen, stun.Fingerprint)
	if err != nil {
		return true
	}
	if _, err := conn.WriteToUDPAddrPort(tell.Raw, from.peer); err != nil {
		r.metrics.unsent.WithLabelValues("udp").Inc()
	}
	return true
}

func isBlank(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 && c != ' ' {
			return false
		}
	}
	return true
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
