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
	"sync"
	"time"

	"github.com/rs/cors"

	"github.com/earshot/earshot/ingest/events"
	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/ingest/webrtc/stream"
	"github.com/earshot/earshot/telemetry"
)

// HTTPHandler serves POST /ingest/v1/webrtc and POST /ingest/v1/events: one
// item, an array of them, or one per line (NDJSON), plain, gzip or zstd. It
// answers 202 only after Kafka has acknowledged. Good items of a body are taken
// even where others are refused; the answer names those by index. On the path of
// the samples it also takes the browser SDK's WebSocket, and below rtcstats.Route
// those of rtcstats clients.
func (in *Ingester) HTTPHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /ingest/v1/webrtc", in.postSamples())
	mux.Handle("GET /ingest/v1/webrtc", in.webrtcSocket())
	mux.Handle("POST /ingest/v1/events", in.postEvents())
	posts := in.cors().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Past the mux: a meeting's name may hold what the mux would redirect.
		if rest, ok := strings.CutPrefix(r.URL.Path, rtcstats.Route); ok && (rest == "" || rest[0] == '/') && r.Method == http.MethodGet {
			in.rtcstats.ServeHTTP(w, r)
			return
		}
		posts.ServeHTTP(w, r)
	})
}

// cors lets the pages of the configured origins send telemetry. Cookies stay
// out: a page of another origin shows a key.
func (in *Ingester) cors() *cors.Cors {
	options := cors.Options{
		AllowedOrigins: in.cfg.HTTP.Origins, AllowedMethods: []string{http.MethodPost},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Content-Encoding"}, MaxAge: 7200,
	}
	if len(options.AllowedOrigins) == 0 {
		// To the library an empty list means all.
		options.AllowOriginFunc = func(string) bool { return false }
	}
	return cors.New(options)
}

// Refusal is why one item of a body was not taken.
type Refusal struct {
	Index  int    `json:"index"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Receipt is the body of a 202.
type Receipt struct {
	Accepted int       `json:"accepted"`
	Rejected []Refusal `json:"rejected"`
}

// problem is RFC 9457, with the member that is wrong.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
	// Rejected lists the items where all of a batch were refused.
	Rejected []Refusal `json:"rejected,omitempty"`
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func writeProblem(w http.ResponseWriter, p *problem) {
	p.Type = "about:blank"
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller is gone: nobody to tell
}

// unreadable is the error of a body that cannot be taken apart at all.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// posting serves the POST of a listener. take gives what became of the items of
// the body; an error that is not unreadable says that nothing was taken, and that
// it should be sent again.
func (in *Ingester) posting(listener string, take func(r *http.Request, company string, tally *Tally) (Receipt, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		company, ok := in.deps.Authenticate(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, &problem{Status: http.StatusUnauthorized, Detail: "an API key that may post telemetry is needed"})
			return
		}
		tally := in.accounting.Tally(listener, "", company)
		receipt, err := take(r, company, tally)
		if !errors.As(err, &unreadable{}) {
			answer(w, receipt, err)
			return
		}
		// A body that cannot be taken apart is one observation.
		tally.Received()
		tally.Rejected("http_body")
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{Status: http.StatusBadRequest, Detail: err.Error()}
		}
		writeProblem(w, p)
	})
}

// postEvents serves POST /ingest/v1/events.
func (in *Ingester) postEvents() http.Handler {
	return in.posting(ListenerEvents, func(r *http.Request, company string, tally *Tally) (Receipt, error) {
		received := in.now()
		body, err := in.body(r)
		if err != nil {
			return Receipt{}, unreadable{err}
		}
		items, err := split(body, r.Header.Get("Content-Type"), in.cfg.HTTP.ItemBytes)
		if err != nil {
			return Receipt{}, unreadable{err}
		}
		return in.takeEvents(r.Context(), tally, company, items, received)
	})
}

// takeEvents decodes events, writes what can be taken and waits for Kafka. The
// error says that nothing was taken, and that it should be sent again.
func (in *Ingester) takeEvents(ctx context.Context, tally *Tally, company string, items [][]byte, received time.Time) (Receipt, error) {
	receipt := Receipt{Rejected: []Refusal{}}
	var records []*telemetry.Record
	for index, item := range items {
		tally.Received()
		record, err := in.eventItem(company, item, received)
		if err != nil {
			tally.Rejected("http_item")
			receipt.Rejected = append(receipt.Rejected, refusal(index, err))
			continue
		}
		records = append(records, record)
	}
	if len(records) == 0 {
		return receipt, nil
	}
	if err := in.producer.ProduceAll(ctx, in.cfg.HTTP.AckTimeout, records...); err != nil {
		reason := "kafka"
		if errors.Is(err, ErrBufferFull) {
			reason = "buffer_full"
		}
		for range records {
			tally.Dropped(reason)
		}
		in.log.Warn("cannot take posted telemetry", "records", len(records), "error", err)
		return receipt, err
	}
	for range records {
		tally.Produced()
	}
	receipt.Accepted = len(records)
	return receipt, nil
}

// refusal says why an item was refused, and which member of it where the error knows.
func refusal(index int, err error) Refusal {
	var wf *webrtc.FieldError
	var ef *events.FieldError
	var le *stream.LineError
	switch {
	case errors.As(err, &wf):
		return Refusal{index, wf.Field, wf.Detail}
	case errors.As(err, &ef):
		return Refusal{index, ef.Field, ef.Detail}
	case errors.As(err, &le):
		return Refusal{index, le.Field, le.Detail}
	}
	return Refusal{Index: index, Detail: err.Error()}
}

// answer says what became of a body.
func answer(w http.ResponseWriter, receipt Receipt, err error) {
	switch {
	case err != nil:
		w.Header().Set("Retry-After", "5")
		writeProblem(w, &problem{Status: http.StatusServiceUnavailable, Detail: "telemetry cannot be kept right now; send it again"})
	case receipt.Accepted == 0 && len(receipt.Rejected) == 1:
		writeProblem(w, &problem{Status: http.StatusBadRequest, Detail: receipt.Rejected[0].Detail, Field: receipt.Rejected[0].Field})
	case receipt.Accepted == 0 && len(receipt.Rejected) > 0:
		writeProblem(w, &problem{Status: http.StatusBadRequest, Detail: "no item can be taken", Rejected: receipt.Rejected})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(receipt) // the caller is gone: nobody to tell
	}
}

// body reads and unpacks a request body within its bounds.
func (in *Ingester) body(r *http.Request) ([]byte, error) {
	plain, release, err := in.unpack(r)
	if err != nil {
		return nil, err
	}
	defer release()
	b, err := io.ReadAll(plain)
	if err != nil {
		return nil, bodyError(err, "the body cannot be unpacked")
	}
	return b, nil
}

// split cuts a body into items: the elements of an array, the lines of NDJSON,
// or JSON texts one after the other. In NDJSON a bad line is an item that will
// be refused; elsewhere nothing after a syntax error can be trusted.
func split(body []byte, contentType string, maxItem int) ([][]byte, error) {
	lines, err := lineByLine(contentType)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, &problem{Status: http.StatusBadRequest, Detail: "the body is empty"}
	}
	if lines {
		var items [][]byte
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			if len(line) > maxItem {
				return nil, itemTooLarge(len(items), maxItem)
			}
			items = append(items, line)
		}
		return items, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	array := body[0] == '['
	if array {
		if _, err := decoder.Token(); err != nil {
			return nil, malformed(err, 0)
		}
	}
	var items [][]byte
	for !array || decoder.More() {
		var item json.RawMessage
		err := decoder.Decode(&item)
		if err == io.EOF && !array {
			return items, nil
		}
		if err != nil {
			return nil, malformed(err, len(items))
		}
		if len(item) > maxItem {
			return nil, itemTooLarge(len(items), maxItem)
		}
		items = append(items, item)
	}
	if _, err := decoder.Token(); err != nil { // the closing bracket
		return nil, malformed(err, len(items))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, malformed(errors.New("data after the array"), len(items))
	}
	if len(items) == 0 {
		return nil, &problem{Status: http.StatusBadRequest, Detail: "the array is empty"}
	}
	return items, nil
}

func malformed(err error, index int) error {
	return &problem{Status: http.StatusBadRequest, Field: fmt.Sprintf("[%d]", index), Detail: "the body is no JSON: " + err.Error()}
}

func itemTooLarge(index, maxItem int) error {
	return &problem{Status: http.StatusRequestEntityTooLarge, Field: fmt.Sprintf("[%d]", index), Detail: fmt.Sprintf("an item may have %d bytes", maxItem)}
}

func (in *Ingester) eventItem(company string, item []byte, received time.Time) (*telemetry.Record, error) {
	decoded, err := events.Decode(item)
	if err != nil {
		return nil, err
	}
	e := decoded.Event
	receivedUs := received.UnixMicro()
	at := decoded.AtUs
	if at == 0 {
		at = receivedUs
	}
	source := &telemetry.Source{Kind: telemetry.Source_KIND_HTTP, Agent: decoded.Source}
	r := &telemetry.Record{
		// A CloudEvent is known by source and id: a resend with another time is the same.
		EventId: telemetry.EventID(company, "", decoded.Source, 0, []byte(e.Id)), Company: company, CallKey: in.callKey(company, e.CallId, e.SipCallId),
		Timeline: &telemetry.Timeline{}, AtUs: at, ReceivedUs: receivedUs, Source: source, Body: &telemetry.Record_Event{Event: e},
	}
	// An event may come late, but not before it happens: then its clock is off.
	if at > receivedUs+in.cfg.Clock.Tolerance.Microseconds() {
		r.AtUs, source.ClockOffsetUs = receivedUs, receivedUs-at
	}
	e.From, e.To = completed(in.deps.Resolver, company, e.From, r.AtUs), completed(in.deps.Resolver, company, e.To, r.AtUs)
	e.Subject = completed(in.deps.Resolver, company, e.Subject, r.AtUs)
	return r, nil
}

// legClocks keeps the clock offset of every browser or app that posts, by leg.
type legClocks struct {
	mu     sync.Mutex
	clocks map[legKey]*legClock
}

type legKey struct{ company, callID, legID string }

type legClock struct{ offsetUs, usedUs int64 }

// legIdle is how long the clock of a silent leg is remembered, maxLegs how many are.
const (
	legIdle = 10 * time.Minute
	maxLegs = 500_000
)

func (l *legClocks) forget(nowUs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, c := range l.clocks {
		if nowUs-c.usedUs > legIdle.Microseconds() {
			delete(l.clocks, key)
		}
	}
}

// offset is what the clock of a leg is off, whose newest sample of those that
// came at receivedUs was taken, by that clock, at newestUs.
func (l *legClocks) offset(k legKey, newestUs, receivedUs, toleranceUs int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clocks[k]
	diff := receivedUs - newestUs
	if c == nil || diff < c.offsetUs-toleranceUs {
		// First seen, or its clock was set forward meanwhile.
		c = &legClock{}
		if abs(diff) > toleranceUs {
			c.offsetUs = diff
		}
		if len(l.clocks) < maxLegs {
			l.clocks[k] = c
		}
	}
	c.usedUs = receivedUs
	return c.offsetUs
}
