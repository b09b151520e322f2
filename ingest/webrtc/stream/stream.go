// Package stream reads what the browser SDK sends: lines of JSON in batches,
// where a getStats sample says only what has changed since the one before it.
// Package webrtc reads what comes out.
//
// A line is one of
//
//	{"batch": 7, "sent_at": 1772359200250, "dropped": 0}      the head of a batch
//	{"specversion": "1.0", …}                                 a call event (CloudEvents 1.0)
//	{"ref": 1, "call_id": "42", …, "stats": {…}}              a whole sample, kept under ref
//	{"ref": 1, "at": …, "stats": {"I1": {"packetsReceived": 51}, "O1": null}}
//	                                                          what changed since the sample before
//	{"call_id": "42", …, "stats": {…}}                        a whole sample, not kept
//
// In a change, an absent member is unchanged and null removes it; this holds for
// the members of the sample, for the reports in stats and for their members.
// Values are never merged deeper than that.
package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrLine is what every error of Line wraps: the line cannot be taken.
var ErrLine = errors.New("stream: line cannot be read")

// LineError names the member that a line was refused for. It wraps ErrLine.
type LineError struct {
	Field  string // empty: the line as a whole
	Detail string
}

func (e *LineError) Error() string {
	if e.Field == "" {
		return "stream: " + e.Detail
	}
	return "stream: " + e.Field + ": " + e.Detail
}

// Unwrap gives ErrLine.
func (e *LineError) Unwrap() error { return ErrLine }

// Kind says what a line is.
type Kind int

// The kinds of lines.
const (
	Sample Kind = iota
	Event
	Head
)

// Line is one line that was read.
type Line struct {
	Kind Kind
	// Item is the whole sample or the event, JSON. It stays valid.
	Item []byte
	// Batch is the number of the batch that a Head begins.
	Batch uint64
	// SentAtUs is the sender's clock when the batch was sent, Unix microseconds; 0
	// where it does not say.
	SentAtUs int64
	// Dropped is how many samples the sender has given up since it started.
	Dropped uint64
}

// What one connection may make a Decoder keep.
const (
	MaxLegs      = 64
	MaxItemBytes = 64 << 10 // of one whole sample
	maxKeptBytes = 512 << 10
	// maxPinnedBytes is what the lines of a leg may come to before it is compacted.
	maxPinnedBytes = 16 << 10
	maxReports     = 512 // of one sample
	maxMembers     = 128 // of one report, or of the sample itself
)

// Decoder puts the samples of one connection, or of one body, together again.
// The zero value is ready; it is not for several goroutines at once.
type Decoder struct {
	legs map[uint8]*leg
	kept int // bytes of all legs
}

// leg is the newest sample of a leg.
type leg struct {
	members members // without ref and stats
	reports []report
	bytes   int
	// pinned is the length of all lines that members may stand in: each member
	// keeps the whole line that brought it.
	pinned int
}

type report struct {
	id      []byte // as it stands between its quotes
	members members
}

type members []member

type member struct{ key, value []byte }

// Line reads one line. A line that is refused leaves the leg as it was.
func (d *Decoder) Line(b []byte) (Line, error) {
	if !json.Valid(b) {
		return Line{}, &LineError{"", "is no JSON"}
	}
	if b = bytes.TrimSpace(b); b[0] != '{' {
		return Line{}, &LineError{"", "must be a JSON object"}
	}
	var ref, batch []byte
	whole, event, statsWrong := false, false, false
	for key, value := range objectMembers(b) {
		switch string(key) {
		case "ref":
			ref = value
		case "batch":
			batch = value
		case "specversion":
			event = true
		case "call_id":
			whole = string(value) != "null"
		case "stats":
			statsWrong = statsWrong || value[0] != '{'
		}
	}
	switch {
	case event:
		return Line{Kind: Event, Item: b}, nil
	case batch != nil:
		return head(b)
	case ref == nil:
		return Line{Kind: Sample, Item: b}, nil
	}
	number, err := strconv.ParseUint(string(ref), 10, 8)
	if err != nil {
		return Line{}, &LineError{"ref", "must be a number from 0 to 255"}
	}
	if statsWrong {
		return Line{}, &LineError{"stats", "must be an object of RTCStats"}
	}
	item, err := d.apply(uint8(number), b, whole)
	return Line{Kind: Sample, Item: item}, err
}

func head(b []byte) (Line, error) {
	var h struct {
		Batch   uint64  `json:"batch"`
		SentAt  float64 `json:"sent_at"`
		Dropped uint64  `json:"dropped"`
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return Line{}, &LineError{"batch", err.Error()}
	}
	const y2200 = 7_258_118_400_000
	if h.SentAt < 0 || h.SentAt > y2200 {
		return Line{}, &LineError{"sent_at", "must be Unix milliseconds"}
	}
	return Line{Kind: Head, Batch: h.Batch, SentAtUs: int64(h.SentAt * 1000), Dropped: h.Dropped}, nil
}

// apply makes the leg's next sample of its last one and a line. It changes the
// leg only when all of the line is good.
func (d *Decoder) apply(ref uint8, b []byte, whole bool) ([]byte, error) {
	last := d.legs[ref]
	if last == nil && !whole {
		return nil, &LineError{"ref", "changes a sample that was not sent on this connection"}
	}
	if last == nil && len(d.legs) >= MaxLegs {
		return nil, &LineError{"ref", fmt.Sprintf("one connection may have %d legs", MaxLegs)}
	}
	b = bytes.Clone(b) // a line is part of a batch that may be far larger
	next := &leg{pinned: len(b)}
	if !whole {
		next.members, next.reports, next.pinned = last.members, last.reports, next.pinned+last.pinned
	}
	next.members = next.members.changed(b, "ref", "stats")
	for key, value := range objectMembers(b) {
		if string(key) == "stats" {
			next.reports = changed(next.reports, value)
		}
	}
	if len(next.reports) > maxReports || len(next.members) > maxMembers {
		return nil, &LineError{"", "has too many members"}
	}
	item, ok := next.item()
	if !ok {
		return nil, &LineError{"", fmt.Sprintf("a sample may have %d bytes and a report in it %d members", MaxItemBytes, maxMembers)}
	}
	next.bytes = len(item)
	kept := d.kept + next.bytes
	if last != nil {
		kept -= last.bytes
	}
	if kept > maxKeptBytes {
		return nil, &LineError{"", fmt.Sprintf("the samples of one connection may have %d bytes", maxKeptBytes)}
	}
	if next.pinned > maxPinnedBytes {
		next.compact(item)
	}
	if d.legs == nil {
		d.legs = map[uint8]*leg{}
	}
	d.legs[ref], d.kept = next, kept
	return item, nil
}

// compact lets go of the lines that the newest sample's members stand in.
func (l *leg) compact(item []byte) {
	l.members = members(nil).changed(item, "stats")
	for key, value := range objectMembers(item) {
		if string(key) == "stats" {
			l.reports = changed(nil, value)
		}
	}
	l.pinned = len(item)
}

// item writes the whole sample; false: it is too large.
func (l *leg) item() ([]byte, bool) {
	size := 16
	for _, m := range l.members {
		size += len(m.key) + len(m.value) + 4
	}
	for _, r := range l.reports {
		if len(r.members) > maxMembers {
			return nil, false
		}
		size += len(r.id) + 6
		for _, m := range r.members {
			size += len(m.key) + len(m.value) + 4
		}
	}
	if size > MaxItemBytes {
		return nil, false
	}
	out := append(make([]byte, 0, size), '{')
	for _, m := range l.members {
		out = append(m.appendTo(out), ',')
	}
	out = append(out, `"stats":{`...)
	for i, r := range l.reports {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), r.id...), `":{`...)
		for j, m := range r.members {
			if j > 0 {
				out = append(out, ',')
			}
			out = m.appendTo(out)
		}
		out = append(out, '}')
	}
	return append(out, '}', '}'), true
}

func (m member) appendTo(out []byte) []byte {
	return append(append(append(append(out, '"'), m.key...), `":`...), m.value...)
}

// changed gives the members with those of object b set or, where null, removed;
// the members named in without are not taken. m stays as it is.
func (m members) changed(b []byte, without ...string) members {
	out := make(members, len(m), len(m)+4)
	copy(out, m)
next:
	for key, value := range objectMembers(b) {
		for _, w := range without {
			if string(key) == w {
				continue next
			}
		}
		at := -1
		for i := range out {
			if bytes.Equal(out[i].key, key) {
				at = i
				break
			}
		}
		switch null := string(value) == "null"; {
		case at < 0 && !null && len(out) <= maxMembers: // one more than allowed is found out by the caller
			out = append(out, member{key, value})
		case at >= 0 && null:
			out = append(out[:at], out[at+1:]...)
		case at >= 0:
			out[at].value = value
		}
	}
	return out
}

// changed gives the reports with those of stats changed, added or removed.
func changed(reports []report, stats []byte) []report {
	out := make([]report, len(reports), len(reports)+4)
	copy(out, reports)
	for id, value := range objectMembers(stats) {
		at := -1
		for i := range out {
			if bytes.Equal(out[i].id, id) {
				at = i
				break
			}
		}
		switch {
		case string(value) == "null":
			if at >= 0 {
				out = append(out[:at], out[at+1:]...)
			}
		case value[0] != '{': // no report: nothing that could be kept
		case at >= 0:
			out[at].members = out[at].members.changed(value)
		case len(out) <= maxReports:
			out = append(out, report{id, members(nil).changed(value)})
		}
	}
	return out
}

// objectMembers goes through the members of a JSON object that is known to be
// valid: keys as they stand between their quotes, values as they stand.
func objectMembers(b []byte) func(yield func(key, value []byte) bool) {
	return func(yield func(key, value []byte) bool) {
		i := blank(b, 0) + 1 // behind {
		for i = blank(b, i); b[i] != '}'; i = blank(b, i) {
			end := text(b, i)
			key := b[i+1 : end-1]
			i = blank(b, blank(b, end)+1) // behind :
			end = value(b, i)
			if !yield(key, b[i:end]) {
				return
			}
			if i = blank(b, end); b[i] == ',' {
				i++
			}
		}
	}
}

// blank gives the index of the first byte from i on that is no white space.
func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// text gives the index behind the string that begins at i.
func text(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// value gives the index behind the value that begins at i.
func value(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = text(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
			continue
		default:
			for i < len(b) && !bytes.ContainsRune([]byte(",]}: \t\r\n"), rune(b[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
