package apptest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The browser SDK in two pages of Chromium that call each other.
func TestSDKInChromium(t *testing.T) {
	sdk := filepath.Join(Root(), "ingest", "webrtc", "sdk")
	// The pages have an origin of their own, as an app has.
	pages := httptest.NewServer(http.FileServer(http.Dir(sdk)))
	t.Cleanup(pages.Close)
	u := StartUp(t, "--ingest.http.origins="+pages.URL)
	key, err := u.Earshot("keys", "create", "--role", "ingest", "--company", "default", "--name", "page")
	require.NoError(t, err)
	link, err := u.Earshot("keys", "signin")
	require.NoError(t, err)

	// Addresses end up in logs: a key that can do more does not belong in one.
	res, err := http.Post(u.URL+"/ingest/v1/webrtc?key="+u.Key, "text/plain", strings.NewReader(`{"call_id":"x","stats":{}}`))
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)

	suite := exec.Command("npm", "run", "--silent", "e2e")
	suite.Dir = sdk
	suite.Env = append(os.Environ(), "EARSHOT_URL="+u.URL, "EARSHOT_SIGNIN="+strings.TrimSpace(link), "EARSHOT_KEY="+strings.TrimSpace(key),
		"EXAMPLE_URL="+pages.URL+"/examples/", "WIRE_URL="+startWire(t, u.Run.API))
	suite.Stdout, suite.Stderr = os.Stdout, os.Stderr
	require.NoError(t, suite.Run(), "the browser suite failed; what it saw stands above")
}

// wire is the network between a page and Earshot. POST /cut breaks it, /http
// lets requests through but no WebSocket, /mend repairs it. GET /beacons counts
// the requests that came with a key in the address.
type wire struct {
	to string

	mu      sync.Mutex
	state   string
	beacons int
	conns   map[net.Conn]bool
}

func startWire(t *testing.T, to string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	w := &wire{to: to, state: "/mend", conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return "http://" + l.Addr().String()
}

// carry carries one connection, which ends with its first answer unless it
// becomes a WebSocket.
func (w *wire) carry(c net.Conn) {
	defer c.Close()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	if p := r.URL.Path; r.Method == http.MethodPost && (p == "/cut" || p == "/http" || p == "/mend") {
		w.set(p)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		return
	}
	if r.URL.Path == "/beacons" {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d", w.beacons)
		return
	}
	if r.URL.Query().Has("key") {
		w.mu.Lock()
		w.beacons++
		w.mu.Unlock()
	}
	upgrade := r.Header.Get("Upgrade") != ""
	if state := w.add(c); state == "/cut" || state == "/http" && upgrade {
		return
	}
	defer w.remove(c)
	earshot, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer earshot.Close()
	if !upgrade {
		r.Close = true
	}
	if err := r.Write(earshot); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(earshot, c)
		earshot.Close()
	}()
	_, _ = io.Copy(c, earshot)
}

// set changes the state; what is open breaks.
func (w *wire) set(state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	for c := range w.conns {
		c.Close()
	}
}

func (w *wire) add(c net.Conn) (state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = true
	return w.state
}

func (w *wire) remove(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}
