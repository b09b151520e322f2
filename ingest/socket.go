package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// does not need sooner. A message has at most messageBytes and messageItems lines.
const (
	socketIdle   = 90 * time.Second
	messageBytes = 1 << 20
	messageItems = 4096
)

// acknowledgement answers a batch that Kafka has taken.
type acknowledgement struct {
	Ack      uint64    `json:"ack"`
	Rejected []Refusal `json:"rejected,omitempty"`
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
		var batch stream.Line
		lines, err := in.lines(message)
		if err != nil {
			// Nothing that follows can be trusted: changes build on what was lost.
			tally.Received()
			tally.Rejected("http_body")
			_ = c.Close(websocket.StatusInvalidFramePayloadData, err.Error())
			return
		}
		receipt, err := in.take(ctx, tally, lines, in.streamIntake(decoder, company, in.now(), func(h stream.Line) { batch = h }))
		if err != nil {
			_ = c.Close(websocket.StatusTryAgainLater, "telemetry cannot be kept right now; send it again")
			return
		}
		if batch.Dropped > dropped {
			in.accounting.SenderDropped(company, batch.Dropped-dropped)
			dropped = batch.Dropped
		}
		answer, err := json.Marshal(acknowledgement{batch.Batch, receipt.Rejected})
		if err != nil {
			in.log.Error("cannot write an acknowledgement", "error", err)
			return
		}
		if err := c.Write(ctx, websocket.MessageText, answer); err != nil {
			return
		}
	}
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

// lines unpacks a message. The error is short enough for a close frame.
func (in *Ingester) lines(m socketMessage) ([][]byte, error) {
	plain := m.data
	if m.kind == websocket.MessageBinary {
		z, err := gzip.NewReader(bytes.NewReader(m.data))
		if err != nil {
			return nil, errors.New("a binary message must be gzip")
		}
		errTooLarge := errors.New("the message is too large unpacked")
		plain, err = io.ReadAll(&limitedReader{r: z, left: min(4*messageBytes, in.cfg.HTTP.PlainBytes), err: errTooLarge})
		if errors.Is(err, errTooLarge) {
			return nil, err
		}
		if err != nil {
			return nil, errors.New("the message cannot be unpacked")
		}
	}
	var lines [][]byte
	for line := range bytes.Lines(plain) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(line) > in.cfg.HTTP.ItemBytes {
			return nil, fmt.Errorf("a line may have %d bytes", in.cfg.HTTP.ItemBytes)
		}
		if lines = append(lines, line); len(lines) > messageItems {
			return nil, fmt.Errorf("a message may have %d lines", messageItems)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("the message is empty")
	}
	return lines, nil
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
