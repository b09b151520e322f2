// Package webrtc reads what RTCPeerConnection.getStats() gives (W3C webrtc-stats),
// posted by browsers and apps, and reduces it to the audio statistics that
// Earshot works with. Legacy (goog*) reports of Chrome and the older forms of
// Firefox and Safari are read too, and dumps of chrome://webrtc-internals.
//
// [Decoder] reads posted items, [Stats] bare statistics, whole or as changes.
// Both are used again and again and allocate nothing in the long run.
package webrtc

import (
	"errors"
	"fmt"
	"time"

	"github.com/earshot/earshot/telemetry"
)

var (
	// ErrItem is what every error about an item wraps: it cannot be taken.
	ErrItem = errors.New("webrtc: item cannot be read")
	// ErrTruncated is what the error about an item wraps that ends too early: with
	// more of it, it may be one.
	ErrTruncated = errors.New("webrtc: item is cut off")
	// ErrSyntax is what the error about an item wraps that is no JSON, or nested
	// too deep: where it ends is not known.
	ErrSyntax = errors.New("webrtc: item is no JSON")
	// ErrLine is what Next gives for a line of the browser SDK (package stream).
	ErrLine = errors.New("webrtc: not an item but a line of the browser SDK")
)

// FieldError names the member that an item was refused for. It wraps ErrItem.
type FieldError struct {
	Field  string // empty: the item as a whole
	Detail string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "webrtc: " + e.Detail
	}
	return "webrtc: " + e.Field + ": " + e.Detail
}

// Unwrap gives ErrItem.
func (e *FieldError) Unwrap() error { return ErrItem }

// syntaxError is an item that is no JSON.
type syntaxError struct {
	*FieldError
	kind error // ErrTruncated or ErrSyntax
}

func (e *syntaxError) Unwrap() []error { return []error{e.FieldError, e.kind} }

// itemError tells an error at index i of input that has size bytes.
func itemError(err error, i, size int) error {
	switch {
	case err == nil:
		return nil
	case err == errSyntax && i >= size:
		return &syntaxError{&FieldError{"", fmt.Sprintf("malformed JSON: it ends at byte %d", i)}, ErrTruncated}
	case err == errSyntax || err == errDepth:
		return &syntaxError{&FieldError{"", fmt.Sprintf("%v at byte %d", err, i)}, ErrSyntax}
	default:
		return err
	}
}

// Item is one posted sample. Identity, From and To of the sample carry only
// what the sender said; who that is in the directory is for the caller to find.
type Item struct {
	Sample *telemetry.WebRTCSample
	// AtUs is when the sample was taken by the sender's clock, Unix
	// microseconds: the member `at`, else the newest timestamp in the
	// statistics, 0 if there is neither.
	AtUs int64
}

// maxMember bounds the identifying members of an item, in bytes.
const maxMember = 256

// Decoder reads items of the telemetry JSON:
//
//	{"call_id", "leg_id", "user_id", "device_id", "endpoint", "app_version", "platform",
//	 "side": "target"|"contact", "muted": bool, "from", "to", "at", "stats": {"<id>": {RTCStats}}}
//
// call_id and stats are required. at is RFC 3339 or Unix milliseconds. stats
// may also be an array of RTCStats or of [id, RTCStats]. Unknown members are
// passed over; of a member that comes twice the last one counts.
//
// The zero Decoder is ready to be used, by one goroutine at a time.
type Decoder struct {
	stats Stats

	item     Item
	sample   telemetry.WebRTCSample
	from, to telemetry.Identity
	statsAt  int64
	hasStats bool
	line     bool  // it has members of the browser SDK's lines
	refused  error // the first member that is wrong; reading goes on behind it
}

// Repairs counts what was set right or left out, over the life of the Decoder.
func (d *Decoder) Repairs() Repairs { return d.stats.Repairs }

// Decode reads one item, which is all of b. The item belongs to the Decoder and
// refers to b: it lasts until the next call and as long as b does not change.
func (d *Decoder) Decode(b []byte) (*Item, error) {
	item, end, err := d.Next(b)
	if err == ErrLine {
		err = d.judge()
	}
	if _, lost := err.(*syntaxError); lost {
		return nil, err
	}
	if end = space(b, end); end < len(b) {
		return nil, itemError(errSyntax, end, len(b))
	}
	if err != nil {
		return nil, err
	}
	return item, nil
}

// Next reads the item that b begins with and gives the index after it, also
// where the item is refused. Only if the error is ErrTruncated or ErrSyntax is
// there no such index. The item lasts as for Decode.
func (d *Decoder) Next(b []byte) (item *Item, end int, err error) {
	d.reset()
	c, i := token(b, 0)
	if c != '{' {
		if end, err = skip(b, i, 0); err != nil {
			return nil, end, itemError(err, end, len(b))
		}
		return nil, end, &FieldError{"", "not a JSON object"}
	}
	if end, err = d.object(b, i); err != nil {
		return nil, end, itemError(err, end, len(b))
	}
	if err = d.judge(); d.line {
		return &d.item, end, ErrLine
	} else if err != nil {
		return nil, end, err
	}
	return &d.item, end, nil
}

// maxKept is how many objects a Decoder keeps room for. A report of a large
// conference has more, and is rare.
const maxKept = 512

func (d *Decoder) reset() {
	s := &d.sample
	s.CallId, s.LegId, s.UserId, s.DeviceId, s.Endpoint, s.AppVersion, s.Platform, s.Side = "", "", "", "", "", "", "", ""
	s.Identity, s.From, s.To, s.Pair = nil, nil, nil, nil
	s.Inbound, s.Outbound, s.RemoteInbound, s.RemoteOutbound, s.MediaSources = nil, nil, nil, nil, nil
	s.Muted, s.HasMuted = false, false
	if cap(d.stats.list) > maxKept {
		d.stats = Stats{Repairs: d.stats.Repairs}
	}
	d.stats.Reset()
	d.stats.arena = d.stats.arena[:0]
	d.item = Item{Sample: s}
	d.statsAt, d.hasStats, d.line, d.refused = 0, false, false, nil
}

func (d *Decoder) refuse(field, detail string) {
	if d.refused == nil {
		d.refused = &FieldError{field, detail}
	}
}

// judge says whether what was read is an item, and completes it.
func (d *Decoder) judge() error {
	s := &d.sample
	switch {
	case d.refused != nil:
	case s.CallId == "":
		d.refuse("call_id", "missing")
	case !d.hasStats:
		d.refuse("stats", "missing")
	case s.Side != "" && s.Side != "target" && s.Side != "contact":
		d.refuse("side", `must be "target" or "contact"`)
	}
	if d.refused != nil {
		return d.refused
	}
	if d.item.AtUs == 0 {
		d.item.AtUs = d.statsAt
	}
	if s.LegId == "" {
		// Samples of one peer connection must share a leg: whatever tells this
		// sender from the other one will do.
		for _, v := range [...]string{s.DeviceId, s.UserId, s.Side, "webrtc"} {
			if v != "" {
				s.LegId = v
				break
			}
		}
	}
	return nil
}

func (d *Decoder) object(b []byte, i int) (_ int, err error) {
	c, i := token(b, i+1)
	if c == '}' {
		return i + 1, nil
	}
	for more := true; more; {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		name, end, err := d.stats.str(b, i)
		if err != nil {
			return end, err
		}
		if i, err = colon(b, end); err != nil {
			return i, err
		}
		if i, err = d.member(b, i, name); err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, '}'); err != nil {
			return i, err
		}
	}
	return i, nil
}

func (d *Decoder) member(b []byte, i int, name string) (_ int, err error) {
	s := &d.sample
	switch name {
	case "call_id":
		s.CallId, i, err = d.text(b, i, name)
	case "leg_id":
		s.LegId, i, err = d.text(b, i, name)
	case "user_id":
		s.UserId, i, err = d.text(b, i, name)
	case "device_id":
		s.DeviceId, i, err = d.text(b, i, name)
	case "endpoint":
		s.Endpoint, i, err = d.text(b, i, name)
	case "app_version":
		s.AppVersion, i, err = d.text(b, i, name)
	case "platform":
		s.Platform, i, err = d.text(b, i, name)
	case "side":
		s.Side, i, err = d.text(b, i, name)
	case "from":
		s.From, i, err = d.party(b, i, name, &d.from)
	case "to":
		s.To, i, err = d.party(b, i, name, &d.to)
	case "muted":
		s.Muted, s.HasMuted, i, err = d.flag(b, i, name)
	case "at":
		d.item.AtUs, i, err = d.instant(b, i)
	case "stats":
		i, err = d.readStats(b, i)
	case "ref", "batch", "specversion":
		d.line = true
		i, err = skip(b, i, 1)
	default:
		i, err = skip(b, i, 1)
	}
	return i, err
}

// text reads an identifying member: a string, or the text of a number.
func (d *Decoder) text(b []byte, i int, name string) (string, int, error) {
	if i >= len(b) {
		return "", i, errSyntax
	}
	if c := b[i]; c != '"' && c != 'n' && c != '-' && (c < '0' || c > '9') {
		d.refuse(name, "must be a string")
	}
	v, i, err := d.stats.textValue(b, i, 1)
	if len(v) > maxMember {
		d.refuse(name, fmt.Sprintf("longer than %d bytes", maxMember))
	}
	return v, i, err
}

func (d *Decoder) party(b []byte, i int, name string, into *telemetry.Identity) (*telemetry.Identity, int, error) {
	number, i, err := d.text(b, i, name)
	if err != nil || number == "" {
		return nil, i, err
	}
	into.Reset() // whoever completes it writes into it
	into.Number = number
	return into, i, nil
}

func (d *Decoder) flag(b []byte, i int, name string) (value, ok bool, end int, err error) {
	if i < len(b) && b[i] != 't' && b[i] != 'f' && b[i] != 'n' {
		d.refuse(name, "must be true or false")
	}
	return boolean(b, i, 1)
}

func (d *Decoder) instant(b []byte, i int) (us int64, end int, err error) {
	if i >= len(b) {
		return 0, i, errSyntax
	}
	switch c := b[i]; {
	case c == 'n':
		end, err = skip(b, i, 1)
		return 0, end, err
	case c == '"':
		text, end, err := d.stats.str(b, i)
		if err != nil {
			return 0, end, err
		}
		if t, parseErr := time.Parse(time.RFC3339Nano, text); parseErr == nil && t.Year() >= 1970 {
			return t.UnixMicro(), end, nil
		}
		d.refuse("at", "must be an RFC 3339 time or Unix milliseconds")
		return 0, end, nil
	default:
		ms, ok, end, err := d.stats.number(b, i, 1)
		if err != nil {
			return 0, end, err
		}
		if us = epochMicros(ms); !ok || us == 0 {
			d.refuse("at", "must be an RFC 3339 time or Unix milliseconds")
		}
		return us, end, nil
	}
}

func (d *Decoder) readStats(b []byte, i int) (_ int, err error) {
	d.hasStats = true
	d.stats.Reset()
	start := i
	i, err = d.stats.read(b, i, 1)
	if field, ok := err.(*FieldError); ok {
		d.refuse(field.Field, field.Detail)
		return skip(b, start, 1)
	}
	if err == nil {
		d.statsAt = d.stats.Sample(&d.sample)
	}
	return i, err
}
