package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	secondUs = int64(time.Second / time.Microsecond)
	minuteUs = 60 * secondUs
	// abandonedAfterUs is how long, in live time, a timeline of its own may stay
	// silent before it is closed: its import was killed and never run again.
	abandonedAfterUs = 24 * 60 * minuteUs
)

// timeline is the clock of one imported or replayed capture.
type timeline struct {
	id          string
	seq         uint64 // highest ordinal seen
	watermarkUs int64  // how far event time has come
	second      int64  // of event time that Advance was last called for
	liveUs      int64  // live time when its last record came, 0 where unknown
	ended       bool
	endedAt     int64 // input offset of its end, orders the tombstones
}

// timelines are the clocks of one partition: the live one, which only ticks
// move, and those of captures, which their own records move.
type timelines struct {
	liveUs     int64
	liveSecond int64
	newMinute  bool // whether the last tick opened a minute

	own           map[string]*timeline
	ended         []*timeline // oldest first
	maxTombstones int
	dirty         map[string]struct{}
}

func newTimelines(maxTombstones int) *timelines {
	return &timelines{own: map[string]*timeline{}, maxTombstones: maxTombstones, dirty: map[string]struct{}{}}
}

// moveLive says whether a tick opens a new second of live time. Ticks come
// from every ingester; the one furthest ahead counts.
func (ts *timelines) moveLive(atUs int64) bool {
	if atUs <= ts.liveUs {
		return false
	}
	ts.liveUs = atUs
	if s := atUs / secondUs; s > ts.liveSecond {
		ts.newMinute = s/60 > ts.liveSecond/60
		ts.liveSecond = s
		return true
	}
	return false
}

// abandoned gives the open timelines that have had no record for a day of live
// time. It looks once a minute.
func (ts *timelines) abandoned() []*timeline {
	if !ts.newMinute {
		return nil
	}
	var gone []*timeline
	for _, t := range ts.own {
		switch {
		case t.ended:
		case t.liveUs == 0: // it came before the first tick: count from now
			t.liveUs = ts.liveUs
			ts.dirty[t.id] = struct{}{}
		case ts.liveUs-t.liveUs > abandonedAfterUs:
			gone = append(gone, t)
		}
	}
	slices.SortFunc(gone, func(a, b *timeline) int { return strings.Compare(a.id, b.id) })
	return gone
}

// get gives the timeline, a new one where it is not known.
func (ts *timelines) get(id string) *timeline {
	t := ts.own[id]
	if t == nil {
		t = &timeline{id: id}
		ts.own[id] = t
	}
	return t
}

func (ts *timelines) saw(t *timeline, seq uint64) {
	t.seq = seq
	t.liveUs = ts.liveUs
	ts.dirty[t.id] = struct{}{}
}

// moveOwn says whether a record opens a new second on its timeline.
func (ts *timelines) moveOwn(t *timeline, atUs int64) bool {
	if atUs <= t.watermarkUs {
		return false
	}
	t.watermarkUs = atUs
	if s := atUs / secondUs; s > t.second {
		t.second = s
		return true
	}
	return false
}

// end leaves a tombstone, so that importing the same file again changes
// nothing. Only the newest maxTombstones are kept.
func (ts *timelines) end(t *timeline, offset int64) {
	t.ended, t.endedAt = true, offset
	ts.dirty[t.id] = struct{}{}
	ts.ended = append(ts.ended, t)
	for len(ts.ended) > ts.maxTombstones {
		ts.forget(ts.ended[0])
		ts.ended[0] = nil
		ts.ended = ts.ended[1:]
	}
}

func (ts *timelines) forget(t *timeline) {
	delete(ts.own, t.id)
	ts.dirty[t.id] = struct{}{}
}

// restored puts a timeline back; restoredAll must follow the last one.
func (ts *timelines) restored(t *timeline) {
	ts.own[t.id] = t
	if t.ended {
		ts.ended = append(ts.ended, t)
	}
}

func (ts *timelines) restoredAll() {
	slices.SortFunc(ts.ended, func(a, b *timeline) int {
		if a.endedAt != b.endedAt {
			return int(min(max(a.endedAt-b.endedAt, -1), 1))
		}
		return strings.Compare(a.id, b.id)
	})
}

// checkpoint puts every timeline that changed.
func (ts *timelines) checkpoint(put func(key string, state []byte)) {
	for id := range ts.dirty {
		t := ts.own[id]
		if t == nil {
			put(id, nil)
			continue
		}
		put(id, t.encode())
	}
	clear(ts.dirty)
}

const timelineVersion = 1

func (t *timeline) encode() []byte {
	b := []byte{timelineVersion}
	b = binary.AppendUvarint(b, t.seq)
	b = binary.AppendVarint(b, t.watermarkUs)
	b = binary.AppendVarint(b, t.second)
	b = binary.AppendVarint(b, t.liveUs)
	if t.ended {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.AppendVarint(b, t.endedAt)
}

var errShortState = errors.New("the state is cut short")

func decodeTimeline(id string, b []byte) (*timeline, error) {
	if len(b) == 0 || b[0] != timelineVersion {
		return nil, fmt.Errorf("cannot read the state of timeline %q: unknown version", id)
	}
	r := varints{b: b[1:]}
	t := &timeline{id: id, seq: r.uvarint(), watermarkUs: r.varint(), second: r.varint(), liveUs: r.varint()}
	t.ended = r.uvarint() == 1
	t.endedAt = r.varint()
	if r.err != nil {
		return nil, fmt.Errorf("cannot read the state of timeline %q: %w", id, r.err)
	}
	return t, nil
}

// varints reads numbers one after the other and remembers the first failure.
type varints struct {
	b   []byte
	err error
}

func (v *varints) uvarint() uint64 {
	x, n := binary.Uvarint(v.b)
	if n <= 0 {
		v.b, v.err = nil, errShortState
		return 0
	}
	v.b = v.b[n:]
	return x
}

func (v *varints) varint() int64 {
	x, n := binary.Varint(v.b)
	if n <= 0 {
		v.b, v.err = nil, errShortState
		return 0
	}
	v.b = v.b[n:]
	return x
}
