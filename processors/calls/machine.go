package calls

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// Rules are the thresholds of verdicts.
type Rules = quality.Rules

// DefaultRules are the thresholds of Earshot, for every company.
func DefaultRules() *quality.RuleBook { return quality.BuiltInRules() }

// Reasons why a record is poison.
var (
	ErrNoCall = errors.New("calls: record names no company or no call")
	ErrNoBody = errors.New("calls: record has no body that calls know")
	ErrTime   = errors.New("calls: record has no usable time")
)

// The times of a call's life, in event time (microseconds).
const (
	second = int64(time.Second / time.Microsecond)

	graceUs       = 5 * second   // from the end to the final verdict
	provisionalUs = 5 * second   // least time between two versions
	lateUs        = 120 * second // how long late reports make new versions
	goneUs        = 600 * second // how long a call that is over is remembered
	pendingMaxUs  = 30 * second  // how long RTCP waits for its SDP

	idleStrayUs    = 60 * second        // what is no call
	idleMediaUs    = 30 * second        // getStats or RTCP without signalling
	idleOfferedUs  = 200 * second       // never answered: Timer C (RFC 3261 §16.6) and some
	idleSignalUs   = 12 * 3600 * second // answered, nothing but signalling was ever seen
	idleSilenceUs  = 900 * second       // answered, media reports were seen and stopped
	maxPlausibleUs = int64(1) << 56     // year 4253
)

var nan = math.NaN()

// Machine is the state of the calls of one partition.
type Machine struct {
	rules     *quality.RuleBook
	calls     map[callID]*call
	timelines map[string]*dueHeap
	dirty     []*call
	deleted   []callID
	scratch   []byte
}

var _ processors.Machine = (*Machine)(nil)

// New gives a machine without calls. Each call is judged by the rules that its
// company has in the book.
func New(rules *quality.RuleBook) *Machine {
	return &Machine{rules: rules, calls: map[callID]*call{}, timelines: map[string]*dueHeap{}}
}

// Open is the number of calls held, those included that are over and remembered.
func (m *Machine) Open() int { return len(m.calls) }

// Apply takes one observation.
func (m *Machine) Apply(r *telemetry.Record, emit processors.Emit) error {
	switch r.GetBody().(type) {
	case *telemetry.Record_Tick, *telemetry.Record_End:
		return nil // the runtime's business
	case *telemetry.Record_Sip, *telemetry.Record_Rtcp, *telemetry.Record_Rtp,
		*telemetry.Record_Webrtc, *telemetry.Record_Event, *telemetry.Record_Vq, *telemetry.Record_Link:
	default:
		return ErrNoBody
	}
	if r.Company == "" || r.CallKey == "" {
		return ErrNoCall
	}
	if r.AtUs <= 0 || r.AtUs > maxPlausibleUs {
		return fmt.Errorf("%w: %d", ErrTime, r.AtUs)
	}
	id := callID{r.Company, r.Timeline.GetId(), r.CallKey}
	c := m.calls[id]
	if c == nil {
		c = &call{id: id, heapIndex: -1}
		m.calls[id] = c
	}
	c.receivedUs = max(c.receivedUs, r.ReceivedUs)
	if c.phase != phaseGone {
		c.lastUs = max(c.lastUs, r.AtUs)
	}
	h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit, rec: r}
	h.apply()
	m.touch(c)
	m.schedule(c)
	return nil
}

// Advance gives the versions that are due and forgets what is over.
func (m *Machine) Advance(timeline string, nowUs int64, emit processors.Emit) {
	q := m.timelines[timeline]
	for q != nil && len(*q) > 0 && (*q)[0].due <= nowUs {
		c := (*q)[0]
		h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit}
		if h.advance(nowUs) {
			m.forget(c)
			continue
		}
		m.touch(c)
		m.schedule(c)
		if c.due <= nowUs { // what is due has been done; never spin
			c.due = nowUs + second
			heap.Fix(q, c.heapIndex)
		}
	}
}

// End finalises every open call of a timeline and forgets the timeline.
func (m *Machine) End(timeline string, atUs int64, emit processors.Emit) {
	q := m.timelines[timeline]
	if q == nil {
		return
	}
	open := slices.Clone(*q)
	slices.SortFunc(open, func(a, b *call) int {
		if d := strings.Compare(a.id.company, b.id.company); d != 0 {
			return d
		}
		return strings.Compare(a.id.key, b.id.key)
	})
	for _, c := range open {
		h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit}
		h.close(atUs)
		m.forget(c)
	}
	delete(m.timelines, timeline)
}

// Checkpoint puts what changed, in the order of the keys.
func (m *Machine) Checkpoint(put func(key string, state []byte)) {
	type entry struct {
		key string
		c   *call
	}
	entries := make([]entry, 0, len(m.dirty)+len(m.deleted))
	for _, c := range m.dirty {
		if c.heapIndex >= 0 && c.dirty {
			entries = append(entries, entry{c.id.checkpointKey(), c})
		}
		c.dirty = false
	}
	for _, id := range m.deleted {
		if m.calls[id] == nil {
			entries = append(entries, entry{id.checkpointKey(), nil})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return a.key == b.key })
	for _, e := range entries {
		if e.c == nil {
			put(e.key, nil)
			continue
		}
		put(e.key, m.encode(e.c))
	}
	m.dirty, m.deleted = m.dirty[:0], m.deleted[:0]
}

// encode gives the bytes of a call's state.
func (m *Machine) encode(c *call) []byte {
	x := coder{writing: true, b: m.scratch[:0]}
	c.id.code(&x)
	c.code(&x)
	x.i64(&c.due)
	m.scratch = x.b
	return slices.Clone(x.b)
}

// Restore takes back one entry.
func (m *Machine) Restore(key string, state []byte) error {
	c := &call{heapIndex: -1}
	x := coder{b: state}
	c.id.code(&x)
	c.code(&x)
	x.i64(&c.due)
	if x.err == nil && len(x.b) != 0 {
		x.fail()
	}
	if x.err != nil {
		return fmt.Errorf("cannot restore the call of checkpoint entry %q: %w", key, x.err)
	}
	if c.id.checkpointKey() != key {
		return fmt.Errorf("cannot restore checkpoint entry %q: it holds another call: %w", key, ErrState)
	}
	if old := m.calls[c.id]; old != nil {
		m.forget(old)
	}
	m.calls[c.id] = c
	heap.Push(m.queue(c.id.timeline), c)
	return nil
}

func (id *callID) code(x *coder) {
	x.str(&id.company)
	x.str(&id.timeline)
	x.str(&id.key)
}

// maxCheckpointKey leaves room below the runtime's 1 KiB.
const maxCheckpointKey = 512

func (id *callID) checkpointKey() string {
	k := id.company + "\x00" + id.timeline + "\x00" + id.key
	if len(k) <= maxCheckpointKey {
		return k
	}
	sum := sha256.Sum256([]byte(k))
	return "\x00" + string(sum[:])
}

func (m *Machine) touch(c *call) {
	if !c.dirty {
		c.dirty = true
		m.dirty = append(m.dirty, c)
	}
}

func (m *Machine) forget(c *call) {
	if c.heapIndex >= 0 {
		heap.Remove(m.queue(c.id.timeline), c.heapIndex)
	}
	delete(m.calls, c.id)
	m.deleted = append(m.deleted, c.id)
}

func (m *Machine) queue(timeline string) *dueHeap {
	q := m.timelines[timeline]
	if q == nil {
		q = &dueHeap{}
		m.timelines[timeline] = q
	}
	return q
}

// schedule puts the call where Advance finds it.
func (m *Machine) schedule(c *call) {
	due := c.nextDue()
	q := m.queue(c.id.timeline)
	if c.heapIndex < 0 {
		c.due = due
		heap.Push(q, c)
		return
	}
	if c.due != due {
		c.due = due
		heap.Fix(q, c.heapIndex)
	}
}

// nextDue is the event time at which the call wants to be looked at.
func (c *call) nextDue() int64 {
	switch c.phase {
	case phaseNone:
		return c.lastUs + idleStrayUs
	case phaseLive:
		due := c.lastUs + c.idleUs()
		if c.changed {
			due = min(due, max(c.versionUs+provisionalUs, c.startedUs))
		}
		if len(c.pending) > 0 {
			due = min(due, c.pendingUs+pendingMaxUs)
		}
		return due
	case phaseEnded:
		return c.phaseUs + graceUs
	case phaseFinal:
		due := c.phaseUs + lateUs
		if c.changed {
			due = min(due, c.versionUs+provisionalUs)
		}
		return due
	}
	return c.phaseUs + goneUs
}

// idleUs is how long a live call may be silent before it counts as over.
func (c *call) idleUs() int64 {
	switch {
	case !c.hasSIP && !c.hasEvents:
		return idleMediaUs
	case c.connectedUs == 0:
		return idleOfferedUs
	case c.hasStats || c.hasMedia:
		return idleSilenceUs
	}
	return idleSignalUs
}

// dueHeap orders calls by when they are due; equal times by key, so that the
// order is the same after a restart.
type dueHeap []*call

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.due != b.due {
		return a.due < b.due
	}
	if a.id.key != b.id.key {
		return a.id.key < b.id.key
	}
	return a.id.company < b.id.company
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}
func (h *dueHeap) Push(x any) {
	c := x.(*call)
	c.heapIndex = len(*h)
	*h = append(*h, c)
}
func (h *dueHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	c.heapIndex = -1
	return c
}

// hash64 is FNV-1a over strings, each closed by a byte that is in no UTF-8.
func hash64(parts ...string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	return h
}

// eventHash shortens an event id.
func eventHash(id []byte) uint64 {
	if len(id) < 8 {
		return hash64(string(id))
	}
	return binary.BigEndian.Uint64(id)
}
