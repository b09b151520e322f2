package ingest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/earshot/earshot/ingest/registrar"
	"github.com/earshot/earshot/telemetry"
)

// SIPConfig sets up the registrar.
type SIPConfig struct {
	Listen       string            `koanf:"listen" doc:"address for SIP over UDP and TCP: REGISTER, PUBLISH, OPTIONS; empty: none"`
	TLS          SIPTLSConfig      `koanf:"tls"`
	WebSocket    SIPListenerConfig `koanf:"ws"`
	WebSocketTLS SIPListenerConfig `koanf:"wss"`

	Auth       string        `koanf:"auth" doc:"who has to authenticate to register: off, known (whoever has credentials) or required"`
	Realm      string        `koanf:"realm" doc:"realm of digest authentication; credentials hold for the realm they were made for"`
	Algorithms []string      `koanf:"algorithms" doc:"digest algorithms offered, in this order: SHA-256, MD5"`
	NonceFor   time.Duration `koanf:"nonce_for" doc:"how long a challenge may be answered; later it is renewed without asking for the password"`

	MinExpires     time.Duration `koanf:"min_expires" doc:"shortest registration granted; less is answered 423"`
	DefaultExpires time.Duration `koanf:"default_expires" doc:"registration granted where the phone names none"`
	MaxExpires     time.Duration `koanf:"max_expires" doc:"longest registration granted"`
	MaxBindings    int           `koanf:"max_bindings" doc:"most bindings kept; more are answered 503"`

	GRUU bool `koanf:"gruu" doc:"give phones that ask for it an address of their own (RFC 5627); they name it in calls, which Earshot does not route"`

	MessageBytes int           `koanf:"message_bytes" doc:"largest message taken over a connection, in bytes"`
	Connections  int           `koanf:"connections" doc:"most connections at a time, a quarter of them from one address"`
	Idle         time.Duration `koanf:"idle" doc:"silence that ends a connection"`
	Rate         float64       `koanf:"rate" doc:"messages per second that one address may send, more are dropped; 0: any number"`
	Burst        int           `koanf:"burst" doc:"messages that one address may send at once before its rate counts"`
}

// SIPTLSConfig sets up SIP over TLS, and the certificate of WSS.
type SIPTLSConfig struct {
	Listen   string `koanf:"listen" doc:"address for SIP over TLS (sips); empty: none"`
	Cert     string `koanf:"cert" doc:"PEM file of the certificate, of wss too"`
	Key      string `koanf:"key" doc:"PEM file of the certificate's key"`
	ClientCA string `koanf:"client_ca" doc:"PEM file of authorities whose certificate a phone must show over TLS; empty: it needs none"`
}

// SIPListenerConfig is one more address for SIP.
type SIPListenerConfig struct {
	Listen string `koanf:"listen" doc:"address for SIP over WebSocket (RFC 7118); empty: none"`
}

func defaultSIP() SIPConfig {
	return SIPConfig{
		Listen: "127.0.0.1:5060",
		Auth:   registrar.AuthKnown, Realm: "earshot", Algorithms: []string{registrar.MD5}, NonceFor: 5 * time.Minute,
		MinExpires: 20 * time.Second, DefaultExpires: 300 * time.Second, MaxExpires: 3600 * time.Second, MaxBindings: 1_000_000,
		// A connection lives from one registration to the next.
		MessageBytes: 64 << 10, Connections: 10_000, Idle: 65 * time.Minute, Rate: 100, Burst: 500,
	}
}

// Check says whether the settings can be used.
func (c SIPConfig) Check() error {
	if err := registrar.CheckAuth(c.Auth, c.Algorithms); err != nil {
		return fmt.Errorf("ingest.sip.auth, ingest.sip.algorithms: %w", err)
	}
	if c.TLS.Listen == "" && c.WebSocketTLS.Listen == "" {
		return nil
	}
	_, err := c.TLS.load()
	return err
}

// WithoutListeners is what is left for a process that only takes HTTP.
func (c Config) WithoutListeners() Config {
	c.HEP.Listen, c.RTCP.Listen = "", ""
	c.SIP.Listen, c.SIP.TLS.Listen, c.SIP.WebSocket.Listen, c.SIP.WebSocketTLS.Listen = "", "", "", ""
	return c
}

// Listeners of the registrar, as they are called in metrics.
const (
	ListenerSIPUDP = "sip_udp"
	ListenerSIPTCP = "sip_tcp"
	ListenerSIPTLS = "sip_tls"
	ListenerSIPWS  = "sip_ws"
	ListenerSIPWSS = "sip_wss"
)

func sipListener(transport string) string {
	switch transport {
	case "tcp":
		return ListenerSIPTCP
	case "tls":
		return ListenerSIPTLS
	case "ws":
		return ListenerSIPWS
	case "wss":
		return ListenerSIPWSS
	}
	return ListenerSIPUDP
}

// phoneReason names why a message of a phone was not taken.
func phoneReason(err error) string {
	if errors.Is(err, registrar.ErrRate) {
		return "sip_rate"
	}
	return reasonOf(err)
}

// listenSIP binds the registrar's sockets and makes it.
func (in *Ingester) listenSIP() error {
	c := in.cfg.SIP
	l, err := in.sipListeners()
	if err == nil && l != (registrar.Listeners{}) {
		in.registrar, err = registrar.New(registrar.Config{
			MinExpires: c.MinExpires, DefaultExpires: c.DefaultExpires, MaxExpires: c.MaxExpires, MaxBindings: c.MaxBindings, GRUU: c.GRUU,
			Auth: c.Auth, Realm: c.Realm, Algorithms: c.Algorithms, NonceFor: c.NonceFor, Credentials: in.deps.Credentials,
			Used: in.deps.CredentialUsed,
			Company: func(peer netip.Addr, m *telemetry.SIPMessage) string {
				return in.deps.Tenancy.CompanyOfSIP(Witness{Remote: peer}, m)
			},
			MessageBytes: c.MessageBytes, Connections: c.Connections, Idle: c.Idle, Rate: c.Rate, Burst: c.Burst,
			Metrics: in.deps.Metrics, Now: in.now,
		}, l, in.observeWire)
	}
	if err == nil {
		return nil
	}
	if l.UDP != nil {
		l.UDP.Close()
	}
	for _, one := range []net.Listener{l.TCP, l.TLS, l.WebSocket, l.WebSocketTLS} {
		if one != nil {
			one.Close()
		}
	}
	return fmt.Errorf("cannot make the registrar: %w", err)
}

func (in *Ingester) sipListeners() (l registrar.Listeners, err error) {
	c := in.cfg.SIP
	if c.Listen != "" {
		udp, tcp, err := listenBoth("ingest.sip.listen", c.Listen, in.cfg.HEP.ReceiveBytes, TLSConfig{}, in.log)
		if err != nil {
			return l, err
		}
		in.watchDrops(udp, ListenerSIPUDP)
		l.UDP = udp
		l.TCP = tcp
	}
	if c.WebSocket.Listen != "" {
		if l.WebSocket, err = listenTCP("ingest.sip.ws.listen", c.WebSocket.Listen, TLSConfig{}); err != nil {
			return l, err
		}
	}
	if c.TLS.Listen == "" && c.WebSocketTLS.Listen == "" {
		return l, nil
	}
	secure, err := c.TLS.load()
	if err != nil {
		return l, err
	}
	if c.TLS.Listen != "" {
		tcp, err := listenTCP("ingest.sip.tls.listen", c.TLS.Listen, TLSConfig{})
		if err != nil {
			return l, err
		}
		l.TLS = tls.NewListener(tcp, secure)
	}
	if c.WebSocketTLS.Listen != "" {
		tcp, err := listenTCP("ingest.sip.wss.listen", c.WebSocketTLS.Listen, TLSConfig{})
		if err != nil {
			return l, err
		}
		// Browsers have no certificates to show.
		open := secure.Clone()
		open.ClientAuth, open.NextProtos = tls.NoClientCert, []string{"http/1.1"}
		l.WebSocketTLS = tls.NewListener(tcp, open)
	}
	return l, nil
}

func (c SIPTLSConfig) load() (*tls.Config, error) {
	if c.Cert == "" || c.Key == "" {
		return nil, errors.New("ingest.sip.tls.cert and ingest.sip.tls.key are needed for TLS and WSS")
	}
	return loadTLS("ingest.sip.tls", c.Cert, c.Key, c.ClientCA)
}

// sipAddrs names the addresses the registrar is bound to.
func (in *Ingester) sipAddrs(a *Addrs) {
	if in.registrar == nil {
		return
	}
	l := in.registrar.Listeners()
	if l.UDP != nil {
		a.SIPUDP, a.SIPTCP = l.UDP.LocalAddr(), l.TCP.Addr()
	}
	for _, one := range []struct {
		from net.Listener
		to   *net.Addr
	}{{l.TLS, &a.SIPTLS}, {l.WebSocket, &a.SIPWS}, {l.WebSocketTLS, &a.SIPWSS}} {
		if one.from != nil {
			*one.to = one.from.Addr()
		}
	}
}
