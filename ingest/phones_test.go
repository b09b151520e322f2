package ingest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/earshot/earshot/ingest/registrar"
	"github.com/earshot/earshot/telemetry"
)

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (pair tls.Certificate, roots *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}, roots, certFile, keyFile
}

// acmeOnly protects every address of the company acme.
type acmeOnly struct{}

func (acmeOnly) Credentials(company, aor string) ([]registrar.Credential, bool) {
	return nil, company == "acme" && aor == "ann@example.test"
}

// Phones on every transport are seen as what they are and belong to their
// company, whose credentials count.
func TestPhoneListeners(t *testing.T) {
	pair, roots, certFile, keyFile := certificate(t)
	tenancy, err := NewTenancy(TenancyRules{{Company: "acme", SIPDomain: "example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config, d *Deps) {
		c.SIP.TLS = SIPTLSConfig{Listen: "127.0.0.1:0", Cert: certFile, Key: keyFile, ClientCA: certFile}
		c.SIP.WebSocket.Listen, c.SIP.WebSocketTLS.Listen = "127.0.0.1:0", "127.0.0.1:0"
		d.Tenancy, d.Credentials = tenancy, acmeOnly{}
	})
	addrs := r.ingester.Addrs()
	dial := func(certs ...tls.Certificate) *tls.Conn {
		conn, err := tls.Dial("tcp", addrs.SIPTLS.String(), &tls.Config{RootCAs: roots, Certificates: certs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	if _, err := dial().Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a phone without a certificate: %v", err)
	}
	for network, conn := range map[string]net.Conn{"udp": r.dial("udp", addrs.SIPUDP), "tcp": r.dial("tcp", addrs.SIPTCP), "tls": dial(pair)} {
		if got := r.request(conn, "REGISTER", "ann", network, 1, "", "Contact: <sip:ann@10.0.0.1>"); status(got) != "401" {
			t.Errorf("%s: %s", network, got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// Browsers have no certificates to show.
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for transport, url := range map[string]string{"ws": "ws://" + addrs.SIPWS.String(), "wss": "wss://" + addrs.SIPWSS.String()} {
		conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: browser, Subprotocols: []string{"sip"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		request := "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK1\r\nFrom: <sip:ann@example.test>;tag=1\r\nTo: <sip:ann@example.test>\r\nCall-ID: " + transport + "\r\nCSeq: 1 REGISTER\r\n\r\n"
		if err := conn.Write(ctx, websocket.MessageText, []byte(request)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || status(string(got)) != "401" {
			t.Errorf("%s: %s %v", transport, got, err)
		}
	}
	transports := map[string]int{}
	for _, rec := range r.wait(10, isSIP) {
		m := rec.GetSip()
		transports[m.Transport]++
		if rec.Company != "acme" || m.Transport != m.CallId || Topic(rec) != telemetry.TopicRegistrations {
			t.Errorf("record %v", rec)
		}
	}
	r.stop()
	for transport, listener := range map[string]string{"udp": ListenerSIPUDP, "tcp": ListenerSIPTCP, "tls": ListenerSIPTLS, "ws": ListenerSIPWS, "wss": ListenerSIPWSS} {
		if transports[transport] != 2 {
			t.Errorf("%s: %d messages", transport, transports[transport])
		}
		r.balance(listener)
	}
}

// What cannot be used is said before anything listens.
func TestPhoneSettings(t *testing.T) {
	_, _, certFile, keyFile := certificate(t)
	for name, c := range map[string]struct {
		change func(*SIPConfig)
		says   string
	}{
		"policy":         {func(c *SIPConfig) { c.Auth = "yes" }, "ingest.sip.auth"},
		"algorithm":      {func(c *SIPConfig) { c.Algorithms = []string{"SHA-1"} }, "SHA-1"},
		"no certificate": {func(c *SIPConfig) { c.TLS.Listen = "127.0.0.1:0" }, "ingest.sip.tls.cert"},
		"wss without":    {func(c *SIPConfig) { c.WebSocketTLS.Listen = "127.0.0.1:0" }, "ingest.sip.tls.cert"},
		"no such file":   {func(c *SIPConfig) { c.TLS = SIPTLSConfig{Listen: "127.0.0.1:0", Cert: "/nowhere", Key: "/nowhere"} }, "ingest.sip.tls"},
		"no authority": {func(c *SIPConfig) {
			c.TLS = SIPTLSConfig{Listen: "127.0.0.1:0", Cert: certFile, Key: keyFile, ClientCA: keyFile}
		}, "client_ca"},
		"nothing wrong": {func(c *SIPConfig) { c.TLS = SIPTLSConfig{Listen: "127.0.0.1:0", Cert: certFile, Key: keyFile} }, ""},
	} {
		sip := defaultSIP()
		c.change(&sip)
		if err := sip.Check(); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if defaultSIP().GRUU {
		t.Error("phones are given addresses that lead nowhere unless a PBX knows them")
	}
}
