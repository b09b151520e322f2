package registrar

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/stun/v4"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/earshot/earshot/ingest/sip"
)

// count reads a counter.
func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// patience is how long tests wait for what has to come.
const patience = 20 * time.Second

// site is a registrar on real sockets.
type site struct {
	*Registrar
	t    *testing.T
	mu   sync.Mutex
	seen []Message
}

func serve(t *testing.T, cfg Config) *site {
	t.Helper()
	s := &site{t: t}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := Listeners{UDP: conn}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	for _, one := range []struct {
		to     *net.Listener
		secure bool
	}{{&l.TCP, false}, {&l.TLS, true}, {&l.WebSocket, false}, {&l.WebSocketTLS, true}} {
		if *one.to, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if one.secure {
			*one.to = tls.NewListener(*one.to, secure)
		}
	}
	s.Registrar, err = New(cfg, l, func(m Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		m.Raw = append([]byte(nil), m.Raw...)
		s.seen = append(s.seen, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return s
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.test"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// wait gives what was observed once it is as wanted.
func (s *site) wait(what string, wanted func([]Message) bool) []Message {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		seen := append([]Message(nil), s.seen...)
		s.mu.Unlock()
		if wanted(seen) {
			return seen
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, seen)
		}
	}
}

var trusting = &tls.Config{InsecureSkipVerify: true}

func (s *site) dial(transport string) net.Conn {
	s.t.Helper()
	var conn net.Conn
	var err error
	switch transport {
	case "udp":
		conn, err = net.Dial("udp", s.listeners.UDP.LocalAddr().String())
	case "tcp":
		conn, err = net.Dial("tcp", s.listeners.TCP.Addr().String())
	case "tls":
		conn, err = tls.Dial("tcp", s.listeners.TLS.Addr().String(), trusting)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func options(callID string) string {
	return "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK" + callID + "\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: " + callID + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
}

// readReply reads one answer from a stream.
func readReply(t *testing.T, in *bufio.Reader) reply {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, b.String())
		}
		b.WriteString(line)
	}
	return reply{t: t, raw: b.String()}
}

func TestStream(t *testing.T) {
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			s := serve(t, settings(nil))
			conn := s.dial(transport)
			in := bufio.NewReader(conn)
			write := func(text string) {
				t.Helper()
				if _, err := io.WriteString(conn, text); err != nil {
					t.Fatal(err)
				}
			}
			// A ping in two pieces, its pong, and messages that come as it pleases TCP.
			write("\r\n")
			write("\r\n")
			if line, err := in.ReadString('\n'); line != "\r\n" || err != nil {
				t.Fatalf("%q %v", line, err)
			}
			text := options("one") + "\r\n" + options("two") + options("three")
			for len(text) > 0 {
				n := min(len(text), 37)
				write(text[:n])
				text = text[n:]
			}
			for _, want := range []string{"one", "two", "three"} {
				if a := readReply(t, in); a.one("Call-ID") != want {
					t.Errorf("%s", a.raw)
				}
			}
			seen := s.wait("all messages are shown", func(m []Message) bool { return len(m) == 6 })
			for _, m := range seen {
				if m.Transport != transport || m.Peer.String() != conn.LocalAddr().String() || m.Err != nil || m.Src == m.Dst {
					t.Errorf("%+v", m)
				}
			}
			// What is no SIP ends the connection; others go on.
			other := s.dial(transport)
			write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := in.ReadByte(); err == nil {
				t.Error("the connection goes on")
			}
			s.wait("it is counted", func(m []Message) bool { return errors.Is(m[len(m)-1].Err, sip.ErrNotSIP) })
			if _, err := io.WriteString(other, options("four")); err != nil {
				t.Fatal(err)
			}
			if a := readReply(t, bufio.NewReader(other)); a.one("Call-ID") != "four" {
				t.Errorf("%s", a.raw)
			}
			// So does what never ends.
			endless := strings.Repeat("A", s.cfg.MessageBytes)
			_, _ = io.WriteString(other, "OPTIONS sip:x SIP/2.0\r\nX: "+endless+endless)
			if n, err := io.Copy(io.Discard, other); n > 200 {
				t.Errorf("%d bytes, %v", n, err)
			}
			s.wait("it is counted", func(m []Message) bool { return errors.Is(m[len(m)-1].Err, sip.ErrTooLarge) })
		})
	}
}

// One address has a quarter of the places, and a place is free again after its
// connection.
func TestConnectionsAreBounded(t *testing.T) {
	s := serve(t, settings(nil)) // 16 places
	alive := func(conn net.Conn) bool {
		if _, err := io.WriteString(conn, "\r\n\r\n"); err != nil {
			return false
		}
		_, err := conn.Read(make([]byte, 2))
		return err == nil
	}
	var open []net.Conn
	for range 4 {
		conn := s.dial("tcp")
		if !alive(conn) {
			t.Fatal("refused")
		}
		open = append(open, conn)
	}
	if alive(s.dial("tcp")) {
		t.Error("a fifth connection was taken")
	}
	if _, _, err := websocket.Dial(t.Context(), "ws://"+s.listeners.WebSocket.Addr().String(), &websocket.DialOptions{Subprotocols: []string{"sip"}}); err == nil {
		t.Error("a fifth connection was taken, as WebSocket")
	}
	if n := count(t, s.metrics.refused.WithLabelValues("tcp")); n != 1 {
		t.Errorf("%v refused", n)
	}
	open[0].Close()
	for deadline := time.Now().Add(patience); !alive(s.dial("tcp")); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no place after one was left")
		}
	}
}

func TestWebSocket(t *testing.T) {
	for _, transport := range []string{"ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			s := serve(t, settings(nil))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			url := "ws://" + s.listeners.WebSocket.Addr().String() + "/any/path"
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting}}
			if transport == "wss" {
				url = "wss://" + s.listeners.WebSocketTLS.Addr().String()
			}
			if _, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"chat"}}); err == nil || res == nil || res.StatusCode != 400 {
				t.Errorf("another subprotocol: %v %v", res, err)
			}
			conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"sip"},
				HTTPHeader: http.Header{"Origin": {"https://phone.example"}}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if conn.Subprotocol() != "sip" {
				t.Errorf("subprotocol %q", conn.Subprotocol())
			}
			ask := func(kind websocket.MessageType, text string) string {
				t.Helper()
				if err := conn.Write(ctx, kind, []byte(text)); err != nil {
					t.Fatal(err)
				}
				_, b, err := conn.Read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			if got := ask(websocket.MessageText, "\r\n\r\n"); got != "\r\n" {
				t.Errorf("%q", got)
			}
			// A frame is a message: it needs no Content-Length (RFC 7118 §5).
			text := strings.Replace(options("w"), "Content-Length: 0\r\n", "", 1)
			for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				if got := ask(kind, text); !strings.HasPrefix(got, "SIP/2.0 200 OK\r\n") {
					t.Errorf("%s", got)
				}
			}
			for _, m := range s.wait("all messages are shown", func(m []Message) bool { return len(m) == 4 }) {
				if m.Transport != transport || m.Err != nil || !m.Peer.IsValid() || !m.Dst.IsValid() || !m.Src.IsValid() {
					t.Errorf("%+v", m)
				}
			}
			if err := conn.Write(ctx, websocket.MessageText, make([]byte, s.cfg.MessageBytes+1)); err == nil {
				_, _, err = conn.Read(ctx)
				if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
					t.Errorf("too large: %v", err)
				}
			}
		})
	}
}

// What keeps a NAT's binding is counted, and STUN is told what it asks for.
func TestKeepAlive(t *testing.T) {
	s := serve(t, settings(nil))
	conn := s.dial("udp")
	for _, b := range []string{"\r\n\r\n", "\x00\x00\x00\x00", " "} {
		if _, err := io.WriteString(conn, b); err != nil {
			t.Fatal(err)
		}
	}
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if _, err := conn.Write(ask.Raw); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	got := &stun.Message{Raw: buffer[:n]}
	var seen stun.XORMappedAddress
	if err := got.Decode(); err != nil || got.Type != stun.BindingSuccess || got.TransactionID != ask.TransactionID || seen.GetFrom(got) != nil ||
		seen.String() != conn.LocalAddr().String() {
		t.Errorf("%v %v %v", got, seen, err)
	}
	if blank, asked := count(t, s.metrics.keepAlives.WithLabelValues("blank")), count(t, s.metrics.keepAlives.WithLabelValues("stun")); blank != 3 || asked != 1 {
		t.Errorf("%v blank, %v STUN", blank, asked)
	}
	if _, err := io.WriteString(conn, options("u")); err != nil {
		t.Fatal(err)
	}
	if n, err = conn.Read(buffer); err != nil || !strings.HasPrefix(string(buffer[:n]), "SIP/2.0 200 OK\r\n") {
		t.Errorf("%q %v", buffer[:n], err)
	}
	if m := s.wait("both messages are shown", func(m []Message) bool { return len(m) == 2 }); m[0].Transport != "udp" {
		t.Errorf("%+v", m)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(options("a")+"\r\n\r\n"+options("b")), uint8(7))
	f.Add([]byte("\r\n\r\n\r\nINVITE sip:x SIP/2.0\r\nContent-Length: 99999999\r\n\r\n"), uint8(1))
	// However a stream is cut, its messages are the same, up to where one gives up:
	// in pieces that may be sooner.
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		read := func(piece int) (out []string) {
			r := newRegistrar(t, settings(nil))
			r.observe = func(m Message) {
				if m.Src == phone && m.Err == nil {
					out = append(out, string(m.Raw))
				}
			}
			s := stream{r: r, from: tcp, write: func([]byte) error { return nil }}
			for rest := b; len(rest) > 0; {
				n := min(len(rest), piece)
				if !s.push(rest[:n]) {
					break
				}
				rest = rest[n:]
			}
			return out
		}
		whole, pieces := read(len(b)+1), read(int(cut)+1)
		if len(pieces) > len(whole) || !slices.Equal(whole[:len(pieces)], pieces) {
			t.Fatalf("whole %q\npieces %q", whole, pieces)
		}
	})
}
