package rtcstats

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/telemetry"
)

// taken is what a Server has produced, and counted.
type taken struct {
	mu      sync.Mutex
	samples []*telemetry.WebRTCSample
	events  []*telemetry.CallEvent
	counts  map[string]int
	waiting []func(error) // with hold: acknowledgements that are not given yet
	hold    bool
}

func (k *taken) count(what string) { k.mu.Lock(); defer k.mu.Unlock(); k.counts[what]++ }
func (k *taken) Received()         { k.count("received") }
func (k *taken) Produced()         { k.count("produced") }
func (k *taken) Rejected(r string) { k.count("rejected " + r) }
func (k *taken) Dropped(r string)  { k.count("dropped " + r) }

func (k *taken) produce(_ context.Context, o Observation, done func(error)) {
	k.mu.Lock()
	if o.Sample != nil {
		b, err := o.Sample.MarshalVT() // as the producer does: strings may be parts of the message
		copied := &telemetry.WebRTCSample{}
		if err = errors.Join(err, copied.UnmarshalVT(b)); err != nil {
			panic(err)
		}
		k.samples = append(k.samples, copied)
	} else {
		k.events = append(k.events, o.Event)
	}
	hold := k.hold
	if hold {
		k.waiting = append(k.waiting, done)
	}
	k.mu.Unlock()
	if !hold {
		done(nil)
	}
}

func (k *taken) get(what string) int { k.mu.Lock(); defer k.mu.Unlock(); return k.counts[what] }

func serve(t *testing.T, change func(*Config)) (*taken, *Server, string, context.CancelFunc) {
	t.Helper()
	k := &taken{counts: map[string]int{}}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{
		Authenticate: func(r *http.Request) (string, bool) {
			return "acme", r.Header.Get("Authorization") == "Bearer es_key" && r.Header.Get("Cookie") == ""
		},
		Produce: k.produce, Counts: func(string) Counts { return k }, Tolerance: 2 * time.Second, Replay: 10 * time.Minute,
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	web := httptest.NewServer(s)
	t.Cleanup(func() { cancel(); <-ended; web.Close() })
	return k, s, "ws" + strings.TrimPrefix(web.URL, "http") + Route, cancel
}

func dial(t *testing.T, url, protocol string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{protocol}, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	require.NoError(t, err)
	require.Equal(t, protocol, c.Subprotocol())
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func send(t *testing.T, c *websocket.Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte(m)))
	}
}

func eventually(t *testing.T, check func() bool) {
	t.Helper()
	require.Eventually(t, check, 20*time.Second, 5*time.Millisecond)
}

// closing gives how the server ended a connection.
func closing(t *testing.T, c *websocket.Conn) websocket.CloseError {
	t.Helper()
	for {
		_, _, err := c.Read(t.Context())
		if err == nil {
			continue
		}
		var end websocket.CloseError
		require.ErrorAs(t, err, &end)
		return end
	}
}

func signed(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return token
}

func TestServerTakesARecordedClient(t *testing.T) {
	k, s, url, _ := serve(t, func(c *Config) { c.Token = TokenConfig{Secret: "among us", Company: "acme"} })
	token := signed(t, jwt.SigningMethodHS256, []byte("among us"), jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(),
		"rtcStats": map[string]any{"user": "alice", "session": "s-1", "conference": 42}})
	c := dial(t, url+"/page?rtcstats-token="+token, "rtcstats#5.0")
	recorded := recording(t, "rtcstats5")
	for _, e := range recorded {
		send(t, c, e.Message)
	}
	eventually(t, func() bool {
		return k.get("received") == len(recorded) && k.get("produced")+k.get("rejected no_telemetry") == len(recorded)
	})
	require.Len(t, k.samples, 42)
	legs := map[string]int{}
	for _, x := range k.samples {
		require.Equal(t, "42", x.CallId)
		require.Equal(t, "alice", x.UserId)
		require.Equal(t, "alice", x.Identity.UserId)
		require.NotEmpty(t, x.Outbound)
		legs[x.LegId]++
	}
	require.Equal(t, map[string]int{"s-1/PC_0": 21, "s-1/PC_1": 21}, legs)
	require.Len(t, k.events, 1)
	require.Equal(t, "rated", k.events[0].Type)
	require.Equal(t, "42", k.events[0].CallId)
	require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	eventually(t, func() bool { return s.budget.Used() == 0 })
}

func TestServerRefuses(t *testing.T) {
	now := time.Now()
	good := jwt.MapClaims{"exp": now.Add(time.Hour).Unix(), "rtcStats": map[string]any{"conference": "c"}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	require.NoError(t, os.WriteFile(file, text, 0o600))
	_, _, none, _ := serve(t, nil)
	_, _, shared, _ := serve(t, func(c *Config) { c.Token.Secret = "among us" })
	_, _, public, _ := serve(t, func(c *Config) { c.Token.PublicKey = file })
	for _, c := range []struct{ name, url, reason string }{
		{"no token", none, "is missing"},
		{"a key that is unknown", none + "?rtcstats-token=es_other", "neither"},
		{"a token where none are taken", none + "?rtcstats-token=" + signed(t, jwt.SigningMethodHS256, []byte("x"), good), "not taken"},
		{"another secret", shared + "?rtcstats-token=" + signed(t, jwt.SigningMethodHS256, []byte("x"), good), "not valid"},
		{"expired", shared + "?rtcstats-token=" + signed(t, jwt.SigningMethodHS256, []byte("among us"), jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()}), "not valid"},
		{"unsigned", shared + "?rtcstats-token=" + signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good), "not valid"},
		{"signed with the public key as if it were a secret", public + "?rtcstats-token=" + signed(t, jwt.SigningMethodHS256, text, good), "not valid"},
		{"a claim that is too long", shared + "?rtcstats-token=" + signed(t, jwt.SigningMethodHS256, []byte("among us"), jwt.MapClaims{"rtcStats": map[string]any{"user": strings.Repeat("u", 300)}}), "not valid"},
		{"a path that is too long", none + "/" + strings.Repeat("p", 300) + "?rtcstats-token=es_key", "path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := closing(t, dial(t, c.url, "rtcstats#5.0"))
			require.Equal(t, websocket.StatusPolicyViolation, end.Code)
			require.Contains(t, end.Reason, c.reason)
		})
	}
	for name, url := range map[string]string{
		"ES256":           public + "?rtcstats-token=" + signed(t, jwt.SigningMethodES256, key, good),
		"a key":           none + "?rtcstats-token=es_key",
		"a key in a path": none + "/~es_key/room",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, url, "rtcstats#5.0")
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _, _, _ = c.Read(ctx) }() // pongs are seen only while something reads
			require.NoError(t, c.Ping(ctx), "the connection lives")
			cancel()
		})
	}
	web := "http" + strings.TrimPrefix(none, "ws")
	for protocol, status := range map[string]int{"": http.StatusUpgradeRequired, "chat": http.StatusBadRequest} {
		r, err := http.NewRequest(http.MethodGet, web, nil)
		require.NoError(t, err)
		if protocol != "" {
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Protocol", protocol)
		}
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, status, res.StatusCode)
	}
}

// With a key the query or the path may say whose call it is; a token is believed alone.
func TestServerNamesTheCall(t *testing.T) {
	k, _, url, _ := serve(t, func(c *Config) { c.Token.Secret = "among us" })
	token := signed(t, jwt.SigningMethodHS256, []byte("among us"), jwt.MapClaims{"rtcStats": map[string]any{"user": "alice"}})
	report := `["getstats","PC_0",{"a":{"type":"inbound-rtp","kind":"audio","ssrc":1,"packetsReceived":5}},` + strconv.FormatInt(time.Now().UnixMilli(), 10) + `]`
	for i, c := range []struct{ url, call, user string }{
		{"/room/1?rtcstats-token=es_key&user=bob&session=x", "room/1", "bob"},
		{"?rtcstats-token=es_key&conference=c-2&session=x", "c-2", ""},
		{"?rtcstats-token=es_key&session=x", "x", ""},
		{"/~es_key/t/room", "t/room", ""},
		{"/room?user=mallory&conference=other&rtcstats-token=" + token, "room", "alice"},
	} {
		send(t, dial(t, url+c.url, "2.0"), report)
		eventually(t, func() bool { return k.get("produced") == i+1 })
		require.Equal(t, c.call, k.samples[i].CallId)
		require.Equal(t, c.user, k.samples[i].UserId)
	}
	anonymous := dial(t, url+"?rtcstats-token=es_key", "2.0")
	send(t, anonymous, `["identity",null,{"user":"carol","conference":"c-3"},1795362426063]`, report)
	eventually(t, func() bool { return k.get("produced") == 6 })
	require.Equal(t, "c-3", k.samples[5].CallId)
	require.Equal(t, "carol", k.samples[5].UserId)
	liar := dial(t, url+"?rtcstats-token="+token, "2.0")
	send(t, liar, `["identity",null,{"user":"carol"},1795362426063]`, report)
	eventually(t, func() bool { return k.get("produced") == 7 })
	require.Equal(t, "alice", k.samples[6].UserId)
}

func TestServerCountsWhatItCannotUse(t *testing.T) {
	k, _, url, _ := serve(t, func(c *Config) { c.MessageBytes = 1000 })
	c := dial(t, url+"?rtcstats-token=es_key", "rtcstats#5.0")
	send(t, c, `nonsense`, `{}`, `[39,null,{},1795362426063]`, `["g","P",{},1]`)
	require.NoError(t, c.Write(t.Context(), websocket.MessageBinary, []byte{1}))
	send(t, c, `["g","P",{"0":{"type":1,"11":"audio","10":5,"14":50}},1]`)
	eventually(t, func() bool { return k.get("produced") == 1 })
	require.NoError(t, c.Write(t.Context(), websocket.MessageText, make([]byte, 2000)))
	require.Equal(t, websocket.StatusMessageTooBig, closing(t, c).Code)
	eventually(t, func() bool { return k.get("rejected too_large") == 1 })
	require.Equal(t, map[string]int{"received": 7, "produced": 1, "rejected json": 1, "rejected shape": 1, "rejected no_telemetry": 1,
		"rejected no_statistics": 1, "rejected binary": 1, "rejected too_large": 1}, k.counts)
}

// sn reads what a Jitsi client is told.
func sn(t *testing.T, c *websocket.Conn) (value int64, state string) {
	t.Helper()
	_, b, err := c.Read(t.Context())
	require.NoError(t, err)
	var m struct {
		Type string
		Body struct {
			Value int64
			State string
		}
	}
	require.NoError(t, json.Unmarshal(b, &m))
	require.Equal(t, "sn", m.Type)
	return m.Body.Value, m.Body.State
}

// A Jitsi client is cut off in the middle and sends again from where Kafka is,
// on statistics that build on those from before.
func TestServerResumesJitsi(t *testing.T) {
	k, s, url, _ := serve(t, nil)
	entries := recording(t, "jitsi")
	var messages []string
	var polls []int // indexes of messages with statistics
	for _, e := range entries {
		if strings.Contains(e.Message, `"data"`) {
			if e.Report != nil {
				polls = append(polls, len(messages))
			}
			messages = append(messages, e.Message)
		}
	}
	address := url + "/~es_key/room-7?statsSessionId=s-1&isReconnect="
	first := dial(t, address+"false", "3.1_STANDARD")
	value, state := sn(t, first)
	require.Equal(t, int64(0), value)
	require.Equal(t, "initial", state)
	quarter, half := polls[10], polls[20]
	send(t, first, messages[:quarter]...)
	eventually(t, func() bool { return k.get("produced")+k.get("rejected no_telemetry") == quarter })
	k.mu.Lock()
	k.hold = true
	before := len(k.samples)
	k.mu.Unlock()
	send(t, first, messages[quarter:half]...)
	eventually(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.samples) == before+10 })
	k.mu.Lock()
	held := k.waiting
	k.hold, k.waiting = false, nil
	k.mu.Unlock()
	held[0](nil) // Kafka has the first, and not the second
	held[2](nil)

	second := dial(t, address+"true", "3.1_STANDARD") // while the first still seems to live
	value, state = sn(t, second)
	require.Equal(t, "initial", state)
	require.Equal(t, int64(polls[11]), value, "the one before what Kafka has not got yet")
	for i, done := range held {
		if i != 0 && i != 2 {
			done(nil)
		}
	}
	send(t, second, messages[value:]...)
	eventually(t, func() bool { return k.get("rejected duplicate") == half-int(value) })
	eventually(t, func() bool {
		return k.get("produced")+k.get("rejected no_telemetry") == len(messages)
	})
	// All are there, once, with what the browser gave.
	n := 0
	for _, e := range entries {
		if e.Report == nil {
			continue
		}
		text, err := json.Marshal(e.Report)
		require.NoError(t, err)
		want := sample(t, text)
		got := k.samples[n]
		require.Equal(t, "meeting-42", got.CallId)
		require.Equal(t, "Alice", got.Identity.Name)
		require.Equal(t, "device-1", got.DeviceId)
		got = &telemetry.WebRTCSample{Inbound: got.Inbound, Outbound: got.Outbound, RemoteInbound: got.RemoteInbound, RemoteOutbound: got.RemoteOutbound, MediaSources: got.MediaSources, Pair: got.Pair}
		require.Empty(t, differences(want, got))
		n++
	}
	require.Len(t, k.samples, n)
	require.NoError(t, second.Close(closedByLeaving, ""))
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.sessions) == 0 })
	require.Zero(t, s.budget.Used())
	third := dial(t, address+"true", "3.1_STANDARD")
	value, _ = sn(t, third)
	require.Zero(t, value, "who left begins anew")
}

// A Jitsi client is told what it may forget, and a session that nobody resumes is dropped.
func TestServerLetsJitsiForget(t *testing.T) {
	_, s, url, _ := serve(t, func(c *Config) { c.Resume = time.Minute })
	c := dial(t, url+"/~es_key/room?statsSessionId=s-1", "3.1_LEGACY")
	sn(t, c)
	for i := 1; i <= ackStep+5; i++ {
		send(t, c, `{"type":"stats-entry","statsSessionId":"s-1","data":"[\"onicecandidate\",\"PC_0\",null,1795362426063,`+strconv.Itoa(i)+`]"}`)
	}
	value, state := sn(t, c)
	require.GreaterOrEqual(t, value, int64(ackStep))
	require.Empty(t, state)
	c.CloseNow()
	idle := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, session := range s.sessions {
			session.mu.Lock()
			defer session.mu.Unlock()
			return session.conn == nil
		}
		return false
	}
	eventually(t, idle)
	s.forget(time.Now().Add(30 * time.Second))
	require.Len(t, s.sessions, 1)
	s.forget(time.Now().Add(2 * time.Minute))
	require.Empty(t, s.sessions)
}

// While Kafka takes nothing, a connection is not read beyond its bound; others go on.
func TestServerHoldsBackOneSender(t *testing.T) {
	k, _, url, _ := serve(t, func(c *Config) { c.InFlight = 3 })
	k.hold = true
	report := func(i int) string {
		return `["g","P",{"0":{"type":1,"11":"audio","10":5,"14":` + strconv.Itoa(i) + `}},1]`
	}
	noisy := dial(t, url+"/loud?rtcstats-token=es_key", "rtcstats#5.0")
	send(t, noisy, `[39,null,{},1795362426063]`)
	for i := range 20 {
		send(t, noisy, report(i))
	}
	eventually(t, func() bool { return k.get("received") == 1+3+1 })
	other := dial(t, url+"/quiet?rtcstats-token=es_key", "rtcstats#5.0")
	send(t, other, `[39,null,{},1795362426063]`, report(1))
	eventually(t, func() bool { return k.get("received") == 1+3+1+2 })
	k.mu.Lock()
	require.Len(t, k.samples, 4)
	require.Equal(t, "quiet", k.samples[3].CallId)
	waiting := k.waiting
	k.hold, k.waiting = false, nil
	k.mu.Unlock()
	for _, done := range waiting[1:] {
		done(nil)
	}
	waiting[0](errors.New("Kafka is away"))
	eventually(t, func() bool { return k.get("produced") == 20 && k.get("dropped kafka") == 1 })
}

func TestServerStops(t *testing.T) {
	_, _, url, stop := serve(t, func(c *Config) { c.Connections = 2 })
	a := dial(t, url+"?rtcstats-token=es_key", "rtcstats#5.0")
	b := dial(t, url+"/~es_key/x?statsSessionId=1", "3.1_STANDARD")
	sn(t, b)
	_, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"rtcstats#5.0"}})
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	stop()
	require.Equal(t, websocket.StatusServiceRestart, closing(t, a).Code)
	require.Equal(t, websocket.StatusServiceRestart, closing(t, b).Code)
}

func TestServerEndsDeadConnections(t *testing.T) {
	_, s, url, _ := serve(t, func(c *Config) { c.Ping = 50 * time.Millisecond })
	dial(t, url+"?rtcstats-token=es_key", "rtcstats#5.0") // never reads, so never answers a ping
	live := dial(t, url+"?rtcstats-token=es_key", "rtcstats#5.0")
	go func() { _, _, _ = live.Read(context.Background()) }()
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.connections) == 1 })
	require.NoError(t, live.Ping(t.Context()))
}
