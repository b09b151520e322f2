package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/earshot/earshot/ingest/hep"
)

// listenUDP binds a socket whose kernel buffer holds what comes while it is not read.
func listenUDP(setting, address string, receiveBytes int, log *slog.Logger) (*net.UDPConn, error) {
	ua, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, &ListenError{setting, address, err}
	}
	conn, err := net.ListenUDP("udp", ua)
	if err != nil {
		return nil, &ListenError{setting, address, err}
	}
	if err := setReceiveBuffer(conn, receiveBytes); err != nil {
		log.Warn("cannot set the receive buffer of a socket", "setting", setting, "bytes", receiveBytes, "error", err)
	}
	return conn, nil
}

// watchDrops counts what the kernel drops on a socket from now on.
func (in *Ingester) watchDrops(conn *net.UDPConn, listener string) {
	drops := &kernelDrops{conn: conn, counter: in.accounting.kernelDrops.WithLabelValues(listener)}
	if err := drops.read(); err != nil {
		in.log.Warn("drops by the kernel cannot be counted", "listener", listener, "error", err)
	}
	in.drops[conn] = drops
}

func (in *Ingester) pollDrops() {
	for _, drops := range in.drops {
		drops.poll()
	}
}

// listenBoth binds one setting for UDP and TCP on one port.
func listenBoth(setting, address string, receiveBytes int, secure TLSConfig, log *slog.Logger) (*net.UDPConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	anyPort := err == nil && (port == "0" || port == "")
	for attempt := 1; ; attempt++ {
		udp, err := listenUDP(setting, address, receiveBytes, log)
		if err != nil {
			return nil, nil, err
		}
		tcpAddress := address
		if anyPort {
			tcpAddress = net.JoinHostPort(host, fmt.Sprint(udp.LocalAddr().(*net.UDPAddr).Port))
		}
		tcp, err := listenTCP(setting, tcpAddress, secure)
		if err == nil {
			return udp, tcp, nil
		}
		udp.Close()
		// The port that UDP was given may be in use for TCP: another one may not be.
		if !anyPort || !errors.Is(err, syscall.EADDRINUSE) || attempt == 20 {
			return nil, nil, err
		}
	}
}

func listenTCP(setting, address string, secure TLSConfig) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &ListenError{setting, address, err}
	}
	if secure.Cert == "" {
		return l, nil
	}
	config, err := loadTLS("ingest.hep.tls", secure.Cert, secure.Key, secure.ClientCA)
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, config), nil
}

// loadTLS reads what a TLS listener shows and, with authorities of clients, asks for.
func loadTLS(setting, cert, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", setting, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if clientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s.client_ca: %w", setting, err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s.client_ca holds no certificate", setting)
	}
	return config, nil
}

func (in *Ingester) runHEPUDP(ctx context.Context) error {
	ob := in.newObserver(ListenerHEPUDP, in.droppingSink())
	ob.admission = in.hepAdmission
	return in.runUDP(ctx, in.hepUDP, ob, ob.hep)
}

func (in *Ingester) runRTCP(ctx context.Context) error {
	ob := in.newObserver(ListenerRTCP, in.droppingSink())
	ob.admission = in.rtcpAdmission
	local := addrPort(in.rtcpUDP.LocalAddr())
	return in.runUDP(ctx, in.rtcpUDP, ob, func(b []byte, from *source, receivedUs int64) { ob.rtcp(b, from, local, receivedUs) })
}

// runHEPTCP serves agents that stay connected. When Kafka is away it stops
// reading: the agent's own buffer is the better place to wait.
func (in *Ingester) runHEPTCP(ctx context.Context) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, max(in.cfg.HEP.Connections, 1))
	for {
		conn, err := in.hepTCP.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			in.log.Warn("cannot accept a HEP connection", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if !in.hepAdmission.allows(addrPort(conn.RemoteAddr()).Addr()) {
			t := in.accounting.Tally(ListenerHEPTCP, "", "")
			t.Received()
			t.Rejected(refusedNetwork)
			conn.Close()
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			in.log.Warn("too many HEP connections, one is refused", "remote", conn.RemoteAddr().String(), "most", cap(places))
			conn.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-places }()
			in.serveHEP(ctx, conn)
		})
	}
}

func (in *Ingester) serveHEP(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	from := newSource(addrPort(conn.RemoteAddr()))
	ob := in.newObserver(ListenerHEPTCP, in.waitingSink(ctx))
	ob.admission = in.hepAdmission
	scanner := hep.NewScanner(conn, in.cfg.HEP.MaxBytes)
	var reads, receivedUs int64
	for {
		b, err := scanner.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				in.log.Info("HEP connection ended", "remote", from.remote.String(), "skipped_bytes", scanner.Skipped(), "error", err)
			}
			if scanner.Skipped() > 0 || errors.Is(err, io.ErrUnexpectedEOF) {
				t := in.accounting.Tally(ListenerHEPTCP, "", "")
				t.Received()
				t.Rejected("hep_not_hep")
			}
			return
		}
		if n := scanner.Reads(); n != reads { // what came together came at one time
			reads, receivedUs = n, in.now().UnixMicro()
		}
		ob.hep(b, from, receivedUs)
	}
}
