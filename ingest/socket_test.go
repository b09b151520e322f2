package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/earshot/earshot/telemetry"
)

func (r *rig) dialSocket(header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, r.web.URL+"/ingest/v1/webrtc", &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: header})
	if err == nil {
		r.t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, res, err
}

func (r *rig) socket() *websocket.Conn {
	r.t.Helper()
	c, _, err := r.dialSocket(nil, WebRTCProtocol, "earshot.key.k")
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// exchange sends one message and gives the answer.
func (r *rig) exchange(c *websocket.Conn, kind websocket.MessageType, message string) (acknowledgement, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, kind, []byte(message)); err != nil {
		return acknowledgement{}, err
	}
	_, b, err := c.Read(ctx)
	if err != nil {
		return acknowledgement{}, err
	}
	var a acknowledgement
	return a, json.Unmarshal(b, &a)
}

func TestSocket(t *testing.T) {
	r := newRig(t)
	c := r.socket()
	for i, tc := range []struct {
		message  string
		rejected int
	}{
		{`{"batch":1}` + "\n" + `{"ref":0,"call_id":"s1","leg_id":"l","at":%[1]d000,"stats":{"I":{"type":"inbound-rtp","kind":"audio","ssrc":5,"packetsReceived":50}}}`, 0},
		{`{"batch":2}` + "\n" + `{"ref":0,"at":%[1]d001,"stats":{"I":{"packetsReceived":100}}}` + "\n" + fmt.Sprintf(event, "s-1"), 0},
		{`{"batch":3}` + "\n" + `{"ref":7,"at":1}` + "\n" + `{"ref":0,"at":%[1]d002,"stats":{"I":{"packetsReceived":150}}}`, 1},
	} {
		message := strings.ReplaceAll(tc.message, "%[1]d", fmt.Sprint(time.Now().Unix()))
		kind := websocket.MessageText
		if i > 0 {
			kind, message = websocket.MessageBinary, packed(t, "gzip", message)
		}
		a, err := r.exchange(c, kind, message)
		if err != nil || a.Ack != uint64(i+1) || len(a.Rejected) != tc.rejected {
			t.Fatalf("message %d: %+v, %v", i, a, err)
		}
	}
	for i, rec := range r.wait(3, func(rec *telemetry.Record) bool { return rec.GetWebrtc() != nil }) {
		in := rec.GetWebrtc().Inbound
		if rec.Company != "acme" || rec.CallKey != "s1" || len(in) != 1 || in[0].Ssrc != 5 || in[0].GetPacketsReceived() != uint64(50*(i+1)) {
			t.Errorf("record %d: %v", i, rec)
		}
	}
	r.wait(1, func(rec *telemetry.Record) bool { return rec.GetEvent() != nil })
	r.balance(ListenerWebRTC)
}

// Samples that waited in the page for a connection keep their times: the head of
// the batch says what the page's clock shows now.
func TestSocketClock(t *testing.T) {
	r := newRig(t)
	sent := time.Now().Add(-time.Hour).UnixMilli()
	message := fmt.Sprintf(`{"batch":1,"sent_at":%d}`+"\n"+`{"call_id":"c","leg_id":"l","at":%d,"stats":{}}`, sent, sent-7000)
	if _, err := r.exchange(r.socket(), websocket.MessageText, message); err != nil {
		t.Fatal(err)
	}
	rec := r.wait(1, func(rec *telemetry.Record) bool { return rec.GetWebrtc() != nil })[0]
	if ago := rec.ReceivedUs - rec.AtUs; ago/1000 != 7000 {
		t.Errorf("a sample taken 7 s before it was sent is %d µs old", ago)
	}
}

func TestSocketRefuses(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.HTTP.Origins, c.HTTP.Sockets = []string{"https://app.example.com"}, 1 })
	for name, tc := range map[string]struct {
		header    http.Header
		protocols []string
		status    int
	}{
		"no key":         {nil, []string{WebRTCProtocol}, 401},
		"a wrong key":    {nil, []string{WebRTCProtocol, "earshot.key.x"}, 401},
		"another origin": {http.Header{"Origin": {"https://evil.example"}}, []string{WebRTCProtocol, "earshot.key.k"}, 403},
	} {
		_, res, err := r.dialSocket(tc.header, tc.protocols...)
		if err == nil || res == nil || res.StatusCode != tc.status {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	for name, header := range map[string]http.Header{
		"its own origin": {"Origin": {r.web.URL}}, "a configured origin": {"Origin": {"https://app.example.com"}}, "a key in the header": {"Authorization": {"Bearer k"}},
	} {
		protocols := []string{WebRTCProtocol}
		if header.Get("Authorization") == "" {
			protocols = append(protocols, "earshot.key.k")
		}
		// The one before must be gone: one connection may be open.
		var c *websocket.Conn
		for deadline := time.Now().Add(10 * time.Second); ; {
			var res *http.Response
			var err error
			if c, res, err = r.dialSocket(header, protocols...); err == nil {
				break
			}
			if res == nil || res.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
				t.Fatalf("%s: %v, %v", name, res, err)
			}
		}
		_ = c.CloseNow()
	}
	if res, err := http.Get(r.web.URL + "/ingest/v1/webrtc"); err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("no upgrade: %v, %v", res, err)
	}
}

func TestSocketMessages(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.HTTP.ItemBytes, c.HTTP.PlainBytes = 1000, 5000 })
	for name, tc := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
	}{
		"no gzip":          {websocket.MessageBinary, "{}", websocket.StatusInvalidFramePayloadData},
		"cut gzip":         {websocket.MessageBinary, packed(t, "gzip", sample)[:30], websocket.StatusInvalidFramePayloadData},
		"empty":            {websocket.MessageText, "\n\n", websocket.StatusInvalidFramePayloadData},
		"a long line":      {websocket.MessageText, strings.Repeat("x", 1001), websocket.StatusInvalidFramePayloadData},
		"large unpacked":   {websocket.MessageBinary, packed(t, "gzip", strings.Repeat("{}\n", 2000)), websocket.StatusInvalidFramePayloadData},
		"too many lines":   {websocket.MessageText, strings.Repeat("1\n", maxItems+1), websocket.StatusInvalidFramePayloadData},
		"a larger message": {websocket.MessageText, strings.Repeat("x", messageBytes+1), websocket.StatusMessageTooBig},
	} {
		_, err := r.exchange(r.socket(), tc.kind, tc.message)
		if websocket.CloseStatus(err) != tc.code {
			t.Errorf("%s: %v, want close status %d", name, err, tc.code)
		}
	}
	r.balance(ListenerWebRTC)
}

func TestSocketEndsWithTheIngester(t *testing.T) {
	r := newRig(t)
	c := r.socket()
	if _, err := r.exchange(c, websocket.MessageText, `{"batch":1,"dropped":4}`+"\n"+sample); err != nil {
		t.Fatal(err)
	}
	r.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("%v", err)
	}
	if n := r.sums("earshot_ingest_sender_dropped_total"); n != 4 {
		t.Errorf("%v samples were dropped by the sender, want 4", n)
	}
}

// Without Kafka nothing is acknowledged, and the sender is told to come again.
func TestSocketWithoutKafka(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.HTTP.AckTimeout, c.Buffer.Drain = 200*time.Millisecond, 100*time.Millisecond
	})
	c := r.socket()
	r.broker.Close()
	_, err := r.exchange(c, websocket.MessageText, `{"batch":1}`+"\n"+sample)
	if websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("%v", err)
	}
}

func TestCORS(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.HTTP.Origins = []string{"https://app.example.com"} })
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example": ""} {
		req, err := http.NewRequest(http.MethodOptions, r.web.URL+"/ingest/v1/webrtc", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", "authorization,content-encoding,content-type")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want || res.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allowed %q, headers %v", origin, got, res.Header)
		}
	}
	// A page that goes can send only what needs no leave, which is no JSON by name.
	body := `{"batch":0,"dropped":0}` + "\n" + sample + "\n" + fmt.Sprintf(event, "beacon")
	if res, answer := r.post("/ingest/v1/webrtc", body, "text/plain", "", "Bearer k"); res.StatusCode != http.StatusAccepted || !strings.Contains(answer, `"accepted":2`) {
		t.Errorf("%d %s", res.StatusCode, answer)
	}
}
