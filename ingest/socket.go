package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/gzip"

	"github.com/earshot/earshot/ingest/webrtc/stream"
)

// WebRTCProtocol is the WebSocket subprotocol of the browser SDK. A browser can
// give a WebSocket no header; the key stands beside it in the list, with
// keyProtocol before it.
const (
	WebRTCProtocol = "earshot.webrtc.v1"
	keyProtocol    = "earshot.key."
)

// A connection that is silent for socketIdle is gone: the SDK closes one that it
// does not need sooner.
const (
	socketIdle        = 90 * time.Second
	messageBytes      = 1 << 20 // as sent
	plainMessageBytes = 4 << 20
)

// acknowledgement answers a batch that Kafka has taken.
type acknowledgement struct {
	Ack      uint64    `json:"ack"`
	Rejected []Refusal `json:"rejected,omitempty"`
	dropped  uint64    // as the batch says
}

// webrtcSocket serves the browser SDK: each message is a batch of lines (package
// stream), as text or gzip, and each is answered {"ack": N} once Kafka has it.
func (in *Ingester) webrtcSocket() http.Handler {
	origins := in.cors()
	room := make(chan struct{}, in.cfg.HTTP.Sockets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.Header().Set("Upgrade", "websocket")
			writeProblem(w, &problem{Status: http.StatusUpgradeRequired, Detail: "post samples, or open a WebSocket"})
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameHost(origin, r.Host) && !origins.OriginAllowed(r) {
			writeProblem(w, &problem{Status: http.StatusForbidden, Detail: "pages of this origin may not send telemetry; ingest.http.origins names those that may"})
			return
		}
		company, ok := in.deps.Authenticate(withSocketKey(r))
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, &problem{Status: http.StatusUnauthorized, Detail: "an API key that may send telemetry is needed"})
			return
		}
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			w.Header().Set("Retry-After", "10")
			writeProblem(w, &problem{Status: http.StatusServiceUnavailable, Detail: "too many connections"})
			return
		}
		// The origin was checked above, against the same list as that of requests.
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{WebRTCProtocol}, InsecureSkipVerify: true})
		if err != nil {
			return // Accept has answered
		}
		defer c.CloseNow()
		if c.Subprotocol() != WebRTCProtocol {
			_ = c.Close(websocket.StatusPolicyViolation, "the subprotocol must be "+WebRTCProtocol)
			return
		}
		c.SetReadLimit(messageBytes)
		defer context.AfterFunc(in.stopping, func() { _ = c.Close(websocket.StatusGoingAway, "Earshot is stopping") })()
		// Not the request's context: the connection has left the server.
		in.follow(context.Background(), c, company)
	})
}

// follow takes batches until the connection ends.
func (in *Ingester) follow(ctx context.Context, c *websocket.Conn, company string) {
	tally := in.accounting.Tally(ListenerWebRTC, "", company)
	decoder, dropped := &stream.Decoder{}, uint64(0)
	for {
		message, err := readMessage(ctx, c)
		if err != nil {
			return
		}
		answer, err := in.takeBatch(ctx, tally, company, decoder, message)
		var p *problem
		if errors.As(err, &p) {
			// Nothing that follows can be trusted: changes build on what was lost.
			tally.Received()
			tally.Rejected("http_body")
			_ = c.Close(websocket.StatusInvalidFramePayloadData, p.Detail)
			return
		}
		if err != nil {
			_ = c.Close(websocket.StatusTryAgainLater, "telemetry cannot be kept right now; send it again")
			return
		}
		if answer.dropped > dropped {
			in.accounting.SenderDropped(company, answer.dropped-dropped)
			dropped = answer.dropped
		}
		b, err := json.Marshal(answer)
		if err != nil {
			in.log.Error("cannot write an acknowledgement", "error", err)
			return
		}
		if err := c.Write(ctx, websocket.MessageText, b); err != nil {
			return
		}
	}
}

// takeBatch takes the lines of one message. The error is a problem where they
// cannot be read, else that Kafka has not taken them.
func (in *Ingester) takeBatch(ctx context.Context, tally *Tally, company string, decoder *stream.Decoder, m socketMessage) (acknowledgement, error) {
	s := sampleBodies.Get().(*samples)
	defer s.free()
	s.begin(in, company, in.now())
	s.lines = decoder
	s.body = bytes.NewReader(m.data)
	if m.kind == websocket.MessageBinary {
		z := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(z)
		if err := z.Reset(s.body); err != nil {
			return acknowledgement{}, &problem{Detail: "a binary message must be gzip"}
		}
		s.body = &limitedReader{r: z, left: min(plainMessageBytes, in.cfg.HTTP.PlainBytes), err: &problem{Detail: "the message is too large unpacked"}}
	}
	if err := s.readLines(); err != nil {
		return acknowledgement{}, err
	}
	s.count(tally)
	if err := s.write(ctx, tally); err != nil {
		return acknowledgement{}, err
	}
	return acknowledgement{Ack: s.head.Batch, Rejected: s.receipt.Rejected, dropped: s.head.Dropped}, nil
}

// socketMessage is one WebSocket message: text, or gzip where it is binary.
type socketMessage struct {
	kind websocket.MessageType
	data []byte
}

func readMessage(ctx context.Context, c *websocket.Conn) (socketMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, socketIdle)
	defer cancel()
	kind, data, err := c.Read(ctx)
	return socketMessage{kind, data}, err
}

// withSocketKey gives the request as it would be if a page could set headers on a
// WebSocket. A cookie is no credential here: browsers send it for the pages of
// any origin.
func withSocketKey(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	out.Header.Del("Cookie")
	for _, list := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(list, ",") {
			if key, ok := strings.CutPrefix(strings.TrimSpace(name), keyProtocol); ok && out.Header.Get("Authorization") == "" {
				out.Header.Set("Authorization", "Bearer "+key)
			}
		}
	}
	return out
}

// sameHost says that a page comes from the host it talks to.
func sameHost(origin, host string) bool {
	_, rest, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(rest, host)
}
