package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/ingest/webrtc/stream"
	"github.com/earshot/earshot/telemetry"
)

// sampleBuffer is what a request's body is read into at first; it grows to hold
// the largest item. maxItems bounds the items of a body.
const (
	sampleBuffer = 128 << 10
	maxItems     = 20_000
)

// samples takes the getStats samples of one body: it reads, decodes and encodes
// them one by one, so that of a body no more is kept than its longest item and
// what goes to Kafka, about a tenth of it. It is used again for other bodies.
type samples struct {
	in         *Ingester
	company    string
	receivedUs int64

	decoder webrtc.Decoder
	lines   *stream.Decoder // nil until the browser SDK's lines come
	head    stream.Line     // what they say of themselves

	body      io.Reader
	buf       []byte // what was read of body
	at        int    // what of buf was decoded
	ended     bool   // body was
	items     int
	receipt   Receipt
	malformed int            // items of the receipt that are no JSON
	repaired  webrtc.Repairs // of the decoder when the body began

	identity telemetry.Identity
	source   telemetry.Source
	timeline telemetry.Timeline
	record   telemetry.Record
	webrtc   telemetry.Record_Webrtc

	encoded  []byte // records, each with room behind it
	produced []encodedSample
	legs     []sampleLeg
	legIndex map[legKey]int
}

// encodedSample is a record without its time, which is known when all are.
type encodedSample struct {
	start, end int // of samples.encoded
	leg        int // of samples.legs; -1: it has its time
	atUs       int64
	key        []byte
}

// sampleLeg is a leg of which the body has samples.
type sampleLeg struct {
	key      legKey
	callKey  string
	kafka    []byte // telemetry.Key
	newestUs int64
	offsetUs int64
}

var sampleBodies = sync.Pool{New: func() any {
	return &samples{buf: make([]byte, 0, sampleBuffer), legIndex: map[legKey]int{}}
}}

// postSamples serves POST /ingest/v1/webrtc.
func (in *Ingester) postSamples() http.Handler {
	return in.posting(ListenerWebRTC, func(r *http.Request, company string, tally *Tally) (Receipt, error) {
		s := sampleBodies.Get().(*samples)
		defer s.free()
		s.begin(in, company, in.now())
		if err := s.readBody(r); err != nil {
			return Receipt{}, unreadable{err}
		}
		s.count(tally)
		err := s.write(r.Context(), tally)
		return s.receipt, err
	})
}

func (s *samples) begin(in *Ingester, company string, received time.Time) {
	s.in, s.company, s.receivedUs = in, company, received.UnixMicro()
	s.lines, s.head = nil, stream.Line{}
	s.buf, s.at, s.ended, s.items, s.malformed = s.buf[:0], 0, false, 0, 0
	s.repaired = s.decoder.Repairs()
	s.receipt = Receipt{Rejected: []Refusal{}}
	s.encoded, s.produced, s.legs = s.encoded[:0], s.produced[:0], s.legs[:0]
	clear(s.legIndex)
}

// free gives s back. What a large body needed is not kept.
func (s *samples) free() {
	s.in, s.body, s.lines, s.receipt = nil, nil, nil, Receipt{}
	if cap(s.buf) <= 4*sampleBuffer && cap(s.encoded) <= 4*sampleBuffer {
		sampleBodies.Put(s)
	}
}

// readBody takes all items of a request. An error means that none is taken.
func (s *samples) readBody(r *http.Request) error {
	lines, err := lineByLine(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	body, release, err := s.in.unpack(r)
	if err != nil {
		return err
	}
	defer release()
	s.body = body
	if lines {
		return s.readLines()
	}
	return s.readTexts()
}

// more reads on. What is not decoded yet is moved to the front.
func (s *samples) more() error {
	if s.at > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.at:])]
		s.at = 0
	}
	if len(s.buf) > s.in.cfg.HTTP.ItemBytes {
		return itemTooLarge(s.items, s.in.cfg.HTTP.ItemBytes)
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	for len(s.buf) < cap(s.buf) {
		n, err := s.body.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err == io.EOF {
			s.ended = true
			return nil
		}
		if err != nil {
			return bodyError(err, "the body cannot be unpacked")
		}
	}
	return nil
}

// token gives the first byte that is no white space, 0 at the end of the body.
func (s *samples) token() (byte, error) {
	for {
		for s.at < len(s.buf) {
			switch c := s.buf[s.at]; c {
			case ' ', '\t', '\r', '\n':
				s.at++
			case 0:
				return 0, malformed(errors.New("a NUL"), s.items)
			default:
				return c, nil
			}
		}
		if s.ended {
			return 0, nil
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// readTexts takes an array of items, or JSON texts one after the other. Behind a
// syntax error nothing can be trusted.
func (s *samples) readTexts() error {
	c, err := s.token()
	if err != nil {
		return err
	}
	if c != '[' {
		for ; c != 0; c, err = s.token() {
			if err := s.readItem(); err != nil {
				return err
			}
		}
		return firstOf(err, s.empty("the body is empty"))
	}
	s.at++
	if c, err = s.token(); c != ']' {
		for more := true; more && err == nil; {
			if err = s.readItem(); err == nil {
				more, err = s.separator()
			}
		}
	} else {
		s.at++
	}
	if err != nil {
		return err
	}
	if c, err = s.token(); err == nil && c != 0 {
		err = malformed(errors.New("data after the array"), s.items)
	}
	return firstOf(err, s.empty("the array is empty"))
}

// firstOf is the first of two errors that is one.
func firstOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func (s *samples) empty(detail string) error {
	if s.items > 0 {
		return nil
	}
	return &problem{Status: http.StatusBadRequest, Detail: detail}
}

// separator passes over what follows an item of an array.
func (s *samples) separator() (more bool, err error) {
	c, err := s.token()
	if err == nil && c != ',' && c != ']' {
		err = malformed(errors.New("neither comma nor the end of the array"), s.items)
	}
	s.at++
	return c == ',', err
}

// readItem takes the item that comes next, wherever it ends.
func (s *samples) readItem() error {
	for {
		item, size, err := s.decoder.Next(s.buf[s.at:])
		if !s.ended && (errors.Is(err, webrtc.ErrTruncated) || s.at+size == len(s.buf)) {
			// Only what comes next says whether this was all of it.
			if err := s.more(); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, webrtc.ErrTruncated) || errors.Is(err, webrtc.ErrSyntax) {
			return malformed(err, s.items)
		}
		if size > s.in.cfg.HTTP.ItemBytes {
			return itemTooLarge(s.items, s.in.cfg.HTTP.ItemBytes)
		}
		text := s.buf[s.at : s.at+size]
		s.at += size
		return s.take(item, text, err)
	}
}

// readLines takes one item per line. A bad line is an item that is refused.
func (s *samples) readLines() error {
	for {
		end := bytes.IndexByte(s.buf[s.at:], '\n')
		if end < 0 && !s.ended {
			if err := s.more(); err != nil {
				return err
			}
			continue
		}
		if end < 0 {
			end = len(s.buf) - s.at
		}
		line := bytes.TrimSpace(s.buf[s.at : s.at+end])
		if len(line) > s.in.cfg.HTTP.ItemBytes {
			return itemTooLarge(s.items, s.in.cfg.HTTP.ItemBytes)
		}
		if s.at = min(s.at+end+1, len(s.buf)); len(line) > 0 {
			item, size, err := s.decoder.Next(line)
			if err == nil || err == webrtc.ErrLine {
				if size < len(line) {
					err = &webrtc.FieldError{Detail: "more than one JSON text in a line"}
				}
			}
			if err := s.take(item, line, err); err != nil {
				return err
			}
		}
		if s.ended && s.at == len(s.buf) {
			return s.empty("the body is empty")
		}
	}
}

// take encodes an item that was read, or says in the receipt why not.
func (s *samples) take(item *webrtc.Item, text []byte, err error) error {
	if s.items == maxItems {
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("a body may have %d items", maxItems)}
	}
	s.items++
	if err == webrtc.ErrLine {
		err = s.line(text)
	} else if err == nil {
		s.sample(item)
	}
	if err != nil {
		s.receipt.Rejected = append(s.receipt.Rejected, refusal(s.items-1, err))
		if errors.Is(err, webrtc.ErrSyntax) || errors.Is(err, webrtc.ErrTruncated) {
			s.malformed++
		}
	}
	return nil
}

// line takes a line of the browser SDK, which stays in use.
func (s *samples) line(text []byte) error {
	if s.lines == nil {
		s.lines = &stream.Decoder{}
	}
	line, err := s.lines.Line(bytes.Clone(text))
	if err != nil {
		return err
	}
	switch line.Kind {
	case stream.Head:
		s.head = line
		return nil
	case stream.Event:
		return s.event(line.Item)
	}
	item, err := s.decoder.Decode(line.Item)
	if err == nil {
		s.sample(item)
	}
	return err
}

// reserve is room for the time of a record and the offset of its clock.
const reserve = 32

func (s *samples) sample(item *webrtc.Item) {
	sample := item.Sample
	at := item.AtUs
	if at == 0 {
		at = s.receivedUs
	}
	resolver := s.in.deps.Resolver
	if sample.UserId != "" {
		s.identity.Reset()
		s.identity.UserId, s.identity.DeviceId = sample.UserId, sample.DeviceId
		sample.Identity = completed(resolver, s.company, &s.identity, at)
	}
	sample.From, sample.To = completed(resolver, s.company, sample.From, at), completed(resolver, s.company, sample.To, at)
	s.source.Kind = telemetry.Source_KIND_HTTP
	s.webrtc.Webrtc = sample
	r := &s.record
	r.EventId, r.Company = sampleID(s.company, "", sample, at), s.company
	r.Timeline, r.ReceivedUs, r.Source, r.Body = &s.timeline, s.receivedUs, &s.source, &s.webrtc
	leg := s.leg(sample)
	r.CallKey = s.legs[leg].callKey
	if at > s.legs[leg].newestUs {
		s.legs[leg].newestUs = at
	}
	s.put(r, encodedSample{leg: leg, atUs: at, key: s.legs[leg].kafka})
}

// sampleID names a sample: of a leg there is one at a time.
func sampleID(company, timeline string, s *telemetry.WebRTCSample, atUs int64) []byte {
	return telemetry.EventID(company, timeline, s.LegId, atUs, []byte(s.CallId))
}

func (s *samples) event(item []byte) error {
	r, err := s.in.eventItem(s.company, item, telemetry.Time(s.receivedUs))
	if err == nil {
		s.put(r, encodedSample{leg: -1, atUs: r.AtUs, key: Key(r)})
	}
	return err
}

// put encodes a record.
func (s *samples) put(r *telemetry.Record, e encodedSample) {
	size := r.SizeVT()
	e.start = len(s.encoded)
	e.end = e.start + size
	s.encoded = append(s.encoded, make([]byte, size+reserve)...)
	if _, err := r.MarshalToSizedBufferVT(s.encoded[e.start:e.end]); err != nil {
		// It has no way to fail but a size that is wrong.
		s.in.log.Error("cannot encode a sample", "error", err)
		s.encoded = s.encoded[:e.start]
		return
	}
	s.produced = append(s.produced, e)
}

func (s *samples) leg(sample *telemetry.WebRTCSample) int {
	key := legKey{s.company, sample.CallId, sample.LegId}
	if i, ok := s.legIndex[key]; ok {
		return i
	}
	key.callID, key.legID = strings.Clone(key.callID), strings.Clone(key.legID)
	callKey := s.in.callKey(s.company, key.callID, "")
	s.legs = append(s.legs, sampleLeg{key: key, callKey: callKey, kafka: telemetry.Key(s.company, callKey)})
	s.legIndex[key] = len(s.legs) - 1
	return len(s.legs) - 1
}

// timed completes a record with the time by the clock of its leg. To append to a
// protobuf message is to set its fields.
func (s *samples) timed(e *encodedSample) []byte {
	b := s.encoded[e.start:e.end:min(e.end+reserve, len(s.encoded))]
	if e.leg < 0 {
		return b
	}
	offset := s.legs[e.leg].offsetUs
	rest := telemetry.Record{AtUs: e.atUs + offset}
	if offset != 0 {
		rest.Source = &telemetry.Source{ClockOffsetUs: offset}
	}
	size := rest.SizeVT()
	b = b[:len(b)+size]
	if _, err := rest.MarshalToSizedBufferVT(b[len(b)-size:]); err != nil {
		s.in.log.Error("cannot encode a sample's time", "error", err)
	}
	return b
}

// count accounts for the items, of which some may be refused, and for what was
// set right in the others.
func (s *samples) count(tally *Tally) {
	for range len(s.produced) + len(s.receipt.Rejected) {
		tally.Received()
	}
	for i := range s.receipt.Rejected {
		if i < s.malformed {
			tally.Rejected("http_json")
		} else {
			tally.Rejected("http_item")
		}
	}
	now := s.decoder.Repairs()
	s.in.accounting.repaired("text", now.Text-s.repaired.Text)
	s.in.accounting.repaired("number", now.Numbers-s.repaired.Numbers)
	s.in.accounting.repaired("duplicate", now.Duplicate-s.repaired.Duplicate)
}

// write gives the records to Kafka and waits until it has them.
func (s *samples) write(ctx context.Context, tally *Tally) error {
	if len(s.produced) == 0 {
		return nil
	}
	tolerance := s.in.cfg.Clock.Tolerance.Microseconds()
	for i := range s.legs {
		leg := &s.legs[i]
		if s.head.SentAtUs > 0 {
			leg.newestUs = s.head.SentAtUs
		}
		leg.offsetUs = s.in.legs.offset(leg.key, leg.newestUs, s.receivedUs, tolerance)
	}
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.HTTP.AckTimeout)
	defer cancel()
	g := newGathering(len(s.produced))
	for i := range s.produced {
		e := &s.produced[i]
		s.in.producer.wait(ctx, outgoing{key: e.key, record: s.timed(e), to: g})
	}
	if err := g.wait(ctx); err != nil {
		reason := "kafka"
		if errors.Is(err, ErrBufferFull) {
			reason = "buffer_full"
		}
		for range s.produced {
			tally.Dropped(reason)
		}
		s.in.log.Warn("cannot take posted telemetry", "records", len(s.produced), "error", err)
		return err
	}
	for range s.produced {
		tally.Produced()
	}
	s.receipt.Accepted = len(s.produced)
	return nil
}
