package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/earshot/earshot/ingest/events"
	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/telemetry"
)

// HTTPHandler serves POST /ingest/v1/webrtc and POST /ingest/v1/events: one
// item, an array of them, or one per line (NDJSON), plain, gzip or zstd. It
// answers 202 only after Kafka has acknowledged. Good items of a body are taken
// even where others are refused; the answer names those by index.
func (in *Ingester) HTTPHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /ingest/v1/webrtc", in.post(ListenerWebRTC, in.webrtcItem, in.fixLegClocks))
	mux.Handle("POST /ingest/v1/events", in.post(ListenerEvents, in.eventItem, nil))
	return mux
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

// itemFunc turns one item into a record. The error may be a field error.
type itemFunc func(company string, item []byte, received time.Time) (*telemetry.Record, error)

func (in *Ingester) post(listener string, decode itemFunc, prepare func([]*telemetry.Record)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		company, ok := in.deps.Authenticate(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, &problem{Status: http.StatusUnauthorized, Detail: "an API key that may post telemetry is needed"})
			return
		}
		received := in.now()
		tally := in.accounting.Tally(listener, "", company)
		body, err := in.body(r)
		if err == nil {
			var items [][]byte
			if items, err = split(body, r.Header.Get("Content-Type"), in.cfg.HTTP.ItemBytes); err == nil {
				in.take(w, r, tally, company, items, decode, prepare, received)
				return
			}
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

func (in *Ingester) take(w http.ResponseWriter, r *http.Request, tally *Tally, company string, items [][]byte, decode itemFunc, prepare func([]*telemetry.Record), received time.Time) {
	receipt := Receipt{Rejected: []Refusal{}}
	var records []*telemetry.Record
	for i, item := range items {
		tally.Received()
		record, err := decode(company, item, received)
		if err == nil {
			records = append(records, record)
			continue
		}
		tally.Rejected("http_item")
		refusal := Refusal{Index: i, Detail: err.Error()}
		var wf *webrtc.FieldError
		var ef *events.FieldError
		switch {
		case errors.As(err, &wf):
			refusal.Field, refusal.Detail = wf.Field, wf.Detail
		case errors.As(err, &ef):
			refusal.Field, refusal.Detail = ef.Field, ef.Detail
		}
		receipt.Rejected = append(receipt.Rejected, refusal)
	}
	if prepare != nil {
		prepare(records)
	}
	if len(records) == 0 {
		p := &problem{Status: http.StatusBadRequest}
		if p.Detail = "no item can be taken"; len(receipt.Rejected) == 1 {
			p.Detail, p.Field = receipt.Rejected[0].Detail, receipt.Rejected[0].Field
		} else {
			p.Rejected = receipt.Rejected
		}
		writeProblem(w, p)
		return
	}
	if err := in.producer.ProduceAll(r.Context(), in.cfg.HTTP.AckTimeout, records...); err != nil {
		reason := "kafka"
		if errors.Is(err, ErrBufferFull) {
			reason = "buffer_full"
		}
		for range records {
			tally.Dropped(reason)
		}
		in.log.Warn("cannot take posted telemetry", "records", len(records), "error", err)
		w.Header().Set("Retry-After", "5")
		writeProblem(w, &problem{Status: http.StatusServiceUnavailable, Detail: "telemetry cannot be kept right now; send it again"})
		return
	}
	for range records {
		tally.Produced()
	}
	receipt.Accepted = len(records)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(receipt) // the caller is gone: nobody to tell
}

// body reads and unpacks a request body within its bounds.
func (in *Ingester) body(r *http.Request) ([]byte, error) {
	limits := in.cfg.HTTP
	tooLarge := &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("a body may have %d bytes, %d unpacked", limits.BodyBytes, limits.PlainBytes)}
	var packed io.Reader = &limitedReader{r: r.Body, left: limits.BodyBytes, err: tooLarge}
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, bodyError(err, "the body is no gzip")
		}
		packed = z
	case "zstd":
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limits.PlainBytes)), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, bodyError(err, "the body is no zstd")
		}
		defer z.Close()
		packed = z
	default:
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Encoding must be gzip, zstd or none"}
	}
	b, err := io.ReadAll(&limitedReader{r: packed, left: limits.PlainBytes, err: tooLarge})
	if err != nil {
		return nil, bodyError(err, "the body cannot be unpacked")
	}
	return b, nil
}

func bodyError(err error, detail string) error {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: "the body is too large unpacked"}
	}
	return &problem{Status: http.StatusBadRequest, Detail: detail}
}

type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, l.err
	}
	// One byte more than allowed tells a body that is exactly full from a larger one.
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.err
	}
	return n, err
}

// split cuts a body into items: the elements of an array, the lines of NDJSON,
// or JSON texts one after the other. In NDJSON a bad line is an item that will
// be refused; elsewhere nothing after a syntax error can be trusted.
func split(body []byte, contentType string, maxItem int) ([][]byte, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, &problem{Status: http.StatusBadRequest, Detail: "the body is empty"}
	}
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
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
	case "", "application/json", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json", "application/octet-stream":
	default:
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Type must be application/json, application/x-ndjson, application/cloudevents+json or application/cloudevents-batch+json"}
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

// webrtcRecord is the record of a getStats sample; at_us is the sender's clock.
func webrtcRecord(r Resolver, company, timelineID string, kind telemetry.Source_Kind, agent string, item *webrtc.Item, payload []byte, receivedUs int64) *telemetry.Record {
	s := item.Sample
	at := item.AtUs
	if at == 0 {
		at = receivedUs
	}
	if s.UserId != "" {
		s.Identity = completed(r, company, &telemetry.Identity{UserId: s.UserId, DeviceId: s.DeviceId})
	}
	s.From, s.To = completed(r, company, s.From), completed(r, company, s.To)
	return &telemetry.Record{
		EventId: telemetry.EventID(company, timelineID, s.LegId, at, payload), Company: company, CallKey: s.CallId,
		Timeline: &telemetry.Timeline{Id: timelineID}, AtUs: at, ReceivedUs: receivedUs,
		Source: &telemetry.Source{Kind: kind, Agent: agent}, Body: &telemetry.Record_Webrtc{Webrtc: s},
	}
}

func (in *Ingester) webrtcItem(company string, item []byte, received time.Time) (*telemetry.Record, error) {
	decoded, err := webrtc.Decode(item)
	if err != nil {
		return nil, err
	}
	return webrtcRecord(in.deps.Resolver, company, "", telemetry.Source_KIND_HTTP, "", decoded, item, received.UnixMicro()), nil
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
		EventId: telemetry.EventID(company, "", decoded.Source, 0, []byte(e.Id)), Company: company, CallKey: decoded.CallKey,
		Timeline: &telemetry.Timeline{}, AtUs: at, ReceivedUs: receivedUs, Source: source, Body: &telemetry.Record_Event{Event: e},
	}
	// An event may come late, but not before it happens: then its clock is off.
	if at > receivedUs+in.cfg.Clock.Tolerance.Microseconds() {
		r.AtUs, source.ClockOffsetUs = receivedUs, receivedUs-at
	}
	e.From, e.To = completed(in.deps.Resolver, company, e.From), completed(in.deps.Resolver, company, e.To)
	e.Subject = completed(in.deps.Resolver, company, e.Subject)
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

// fixLegClocks corrects the times of samples whose sender's clock is off, by a
// constant for each leg so that the intervals between its samples stay. The
// newest sample of a body is the one that was just taken.
func (in *Ingester) fixLegClocks(records []*telemetry.Record) {
	tolerance := in.cfg.Clock.Tolerance.Microseconds()
	newest := map[legKey]int64{}
	key := func(r *telemetry.Record) legKey {
		return legKey{r.Company, r.CallKey, r.GetWebrtc().GetLegId()}
	}
	for _, r := range records {
		newest[key(r)] = max(newest[key(r)], r.AtUs)
	}
	in.legs.mu.Lock()
	defer in.legs.mu.Unlock()
	for _, r := range records {
		k := key(r)
		c := in.legs.clocks[k]
		diff := r.ReceivedUs - newest[k]
		if c == nil || diff < c.offsetUs-tolerance {
			// First seen, or its clock was set forward meanwhile.
			c = &legClock{}
			if abs(diff) > tolerance {
				c.offsetUs = diff
			}
			if len(in.legs.clocks) < maxLegs {
				in.legs.clocks[k] = c
			}
		}
		c.usedUs = r.ReceivedUs
		r.AtUs += c.offsetUs
		r.Source.ClockOffsetUs = c.offsetUs
	}
}
