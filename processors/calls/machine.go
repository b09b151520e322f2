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

// Machine is the state of the calls of one partition. A call that nothing happens
// to lies there as the bytes of its state, which a checkpoint takes as they are:
// it is less than half of what the fields take in memory, and holds nothing that
// the garbage collector would have to follow.
type Machine struct {
	rules     *quality.RuleBook
	timelines map[string]*timeline
	dirty     []*entry
	deleted   []*entry
	desk      call // the call that is worked on, and room for what it consists of
	room      room
	scratch   []byte // of pack
	lookup    []byte // of find
}

var _ processors.Machine = (*Machine)(nil)

// timeline holds the calls of a capture, or of the live traffic.
type timeline struct {
	id    string
	calls map[string]*entry // by entry.id
	queue dueHeap
}

// entry is a call at rest.
type entry struct {
	id        string // company, NUL, key
	line      *timeline
	state     string // what call.code writes
	due       int64
	heapIndex int32
	dirty     bool // since the last checkpoint
	gone      bool // phaseGone
}

// New gives a machine without calls. Each call is judged by the rules that its
// company has in the book.
func New(rules *quality.RuleBook) *Machine {
	return &Machine{rules: rules, timelines: map[string]*timeline{}}
}

// Open is the number of calls held, those included that are over and remembered.
func (m *Machine) Open() (n int) {
	for _, line := range m.timelines {
		n += len(line.calls)
	}
	return n
}

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
	line, e := m.find(r.Timeline.GetId(), r.Company, r.CallKey)
	var c *call
	if e == nil {
		m.desk = call{id: callID{r.Company, line.id, r.CallKey}}
		c = &m.desk
	} else {
		c = m.unpack(e)
	}
	c.receivedUs = max(c.receivedUs, r.ReceivedUs)
	if c.phase != phaseGone {
		c.lastUs = max(c.lastUs, r.AtUs)
	}
	h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit, rec: r}
	h.apply()
	if e == nil {
		e = &entry{id: string(m.lookup), line: line, heapIndex: -1}
		line.calls[e.id] = e
	}
	m.pack(e, c)
	return nil
}

// find gives a timeline and the call on it, nil where there is none.
func (m *Machine) find(timelineID, company, key string) (*timeline, *entry) {
	line := m.timelines[timelineID]
	if line == nil {
		line = &timeline{id: timelineID, calls: map[string]*entry{}}
		m.timelines[timelineID] = line
	}
	m.lookup = append(append(append(m.lookup[:0], company...), 0), key...)
	return line, line.calls[string(m.lookup)]
}

// unpack puts a call on the desk. What it says must be taken down by pack before
// the next one comes; until then a failure leaves the call as it was.
func (m *Machine) unpack(e *entry) *call {
	c := &m.desk
	*c = call{id: e.callID()}
	m.room.clear()
	x := coder{in: e.state, room: &m.room}
	c.code(&x)
	if x.err != nil { // it was written by pack, or read by Restore
		panic(fmt.Errorf("cannot read the state of call %q: %w", e.id, x.err))
	}
	return c
}

// pack takes down the state of a call, and when it wants to be looked at again.
func (m *Machine) pack(e *entry, c *call) {
	x := coder{writing: true, out: m.scratch[:0], room: &m.room}
	c.code(&x)
	if x.err != nil {
		panic(fmt.Errorf("cannot write the state of call %q: %w", e.id, x.err))
	}
	m.scratch = x.out
	e.state, e.gone = string(x.out), c.phase == phaseGone
	if !e.dirty {
		e.dirty = true
		m.dirty = append(m.dirty, e)
	}
	e.schedule(c.nextDue())
}

// Advance gives the versions that are due and forgets what is over.
func (m *Machine) Advance(timeline string, nowUs int64, emit processors.Emit) {
	line := m.timelines[timeline]
	for line != nil && len(line.queue) > 0 && line.queue[0].due <= nowUs {
		e := line.queue[0]
		c := m.unpack(e)
		h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit}
		if h.advance(nowUs) {
			m.forget(e)
			continue
		}
		m.pack(e, c)
		if e.due <= nowUs { // what is due has been done; never spin
			e.schedule(nowUs + second)
		}
	}
}

// End finalises every open call of a timeline and forgets the timeline.
func (m *Machine) End(timeline string, atUs int64, emit processors.Emit) {
	line := m.timelines[timeline]
	if line == nil {
		return
	}
	open := slices.Clone(line.queue)
	slices.SortFunc(open, func(a, b *entry) int { return strings.Compare(a.id, b.id) })
	for _, e := range open {
		c := m.unpack(e)
		h := handler{c: c, root: c, rules: m.rules.For(c.id.company), emit: emit}
		h.close(atUs)
		m.forget(e)
	}
	delete(m.timelines, timeline)
}

// Checkpoint puts what changed, in the order of the keys.
func (m *Machine) Checkpoint(put func(key string, state []byte)) {
	type change struct {
		key string
		e   *entry
	}
	changes := make([]change, 0, len(m.dirty)+len(m.deleted))
	for _, e := range m.dirty {
		if e.heapIndex >= 0 {
			id := e.callID()
			changes = append(changes, change{id.checkpointKey(), e})
		}
		e.dirty = false
	}
	for _, e := range m.deleted {
		id := e.callID()
		changes = append(changes, change{id.checkpointKey(), nil})
	}
	// A call that was forgotten and came again is there.
	slices.SortStableFunc(changes, func(a, b change) int { return strings.Compare(a.key, b.key) })
	changes = slices.CompactFunc(changes, func(a, b change) bool { return a.key == b.key })
	for _, d := range changes {
		if d.e == nil {
			put(d.key, nil)
			continue
		}
		put(d.key, d.e.checkpoint())
	}
	clear(m.dirty)
	clear(m.deleted)
	m.dirty, m.deleted = m.dirty[:0], m.deleted[:0]
}

// checkpoint gives what Restore takes.
func (e *entry) checkpoint() []byte {
	x := coder{writing: true, out: make([]byte, 0, len(e.id)+len(e.line.id)+len(e.state)+20)}
	id := e.callID()
	id.code(&x)
	x.i64(&e.due)
	return append(x.out, e.state...)
}

// Restore takes back one entry.
func (m *Machine) Restore(key string, state []byte) error {
	var id callID
	var due int64
	x := coder{in: string(state), room: &room{}}
	id.code(&x)
	x.i64(&due)
	packed := x.in
	c := call{id: id}
	c.code(&x)
	if x.err == nil && len(x.in) != 0 {
		x.fail()
	}
	if x.err != nil {
		return fmt.Errorf("cannot restore the call of checkpoint entry %q: %w", key, x.err)
	}
	if id.checkpointKey() != key {
		return fmt.Errorf("cannot restore checkpoint entry %q: it holds another call: %w", key, ErrState)
	}
	line, old := m.find(id.timeline, id.company, id.key)
	if old != nil {
		m.forget(old)
	}
	e := &entry{id: string(m.lookup), line: line, state: strings.Clone(packed), gone: c.phase == phaseGone, heapIndex: -1}
	line.calls[e.id] = e
	e.schedule(due)
	return nil
}

// callID names the call of an entry.
func (e *entry) callID() callID {
	company, key, _ := strings.Cut(e.id, "\x00")
	return callID{company, e.line.id, key}
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

func (m *Machine) forget(e *entry) {
	if e.heapIndex >= 0 {
		heap.Remove(&e.line.queue, int(e.heapIndex))
	}
	delete(e.line.calls, e.id)
	m.deleted = append(m.deleted, e)
}

// schedule puts the call where Advance finds it.
func (e *entry) schedule(due int64) {
	old := e.due
	e.due = due
	switch {
	case e.heapIndex < 0:
		heap.Push(&e.line.queue, e)
	case due != old:
		heap.Fix(&e.line.queue, int(e.heapIndex))
	}
}

// nextDue is the event time at which the call wants to be looked at.
func (c *call) nextDue() int64 {
	due := c.phaseDue()
	if c.moments.startUs != 0 {
		due = min(due, c.moments.startUs)
	}
	for i := range c.rejected {
		if at := c.rejected[i].tellUs; at != 0 {
			due = min(due, at)
		}
	}
	return due
}

func (c *call) phaseDue() int64 {
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

// dueHeap orders calls by when they are due; equal times by their names, so that
// the order is the same after a restart.
type dueHeap []*entry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.due != b.due {
		return a.due < b.due
	}
	return a.id < b.id
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = int32(i), int32(j)
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.heapIndex = int32(len(*h))
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.heapIndex = -1
	return e
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
