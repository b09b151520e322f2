package ingest

import (
	"encoding/binary"
	"net/netip"
)

// Reasons of drops before a datagram was looked at.
const (
	dropSourceQueue = "source_queue_full" // its source sent faster than Earshot works
	dropSources     = "too_many_sources"
)

// fairQueue holds datagrams between the socket and the work, and gives every
// source its turn: a source that sends more than its share loses its own
// datagrams and nobody else's.
//
// A source is a remote address and port: one socket of one agent. Address alone
// would let agents behind one NAT suffer for each other; what an agent says
// about itself in HEP is known only after the work that is to be shared out. A
// host with many sockets has many turns: against that there are the rules of tenancy.
//
// Memory is bounded twice. A source may have SourceBytes, and no more than what
// is left of QueueBytes: as long as a few flood each has a share, and there is
// always as much left for those who come.
type fairQueue struct {
	cfg  UDPConfig
	ob   *observer
	take func(b []byte, from *source, receivedUs int64)

	sources map[netip.AddrPort]*queuedSource
	last    *queuedSource // the datagram before was from this one
	active  queue[*queuedSource]
	used    int // bytes of all blocks in use
	free    []*block
	sweptUs int64
}

// queuedSource is a source and what waits of it.
type queuedSource struct {
	source
	first, newest *block
	bytes         int // of its blocks
	credit        int // deficit round robin
	waits         bool
	dropped       int // not yet counted
	heardUs       int64
}

// block is a piece of queue: frames of length (4 bytes), time of reception
// (8 bytes, Unix microseconds) and datagram.
type block struct {
	buf        []byte
	start, end int
	next       *block
}

const (
	blockBytes = 8 << 10
	frameHead  = 12
	// turnCredit is what a source may spend in one turn. A datagram costs its
	// length and packetCost, which stands for the work that length does not tell.
	turnCredit = 8 << 10
	packetCost = 512
)

func newFairQueue(cfg UDPConfig, ob *observer, take func(b []byte, from *source, receivedUs int64)) *fairQueue {
	return &fairQueue{cfg: cfg, ob: ob, take: take, sources: map[netip.AddrPort]*queuedSource{}}
}

func (q *fairQueue) empty() bool { return q.active.len() == 0 }

// put takes a datagram; b is copied.
func (q *fairQueue) put(b []byte, remote netip.AddrPort, receivedUs int64) {
	s := q.last
	if s == nil || s.remote != remote {
		if s = q.find(remote, receivedUs); s == nil {
			q.lost(nil, dropSources, 1)
			return
		}
		q.last = s
	}
	s.heardUs = receivedUs
	k := q.blockFor(s, frameHead+len(b))
	if k == nil {
		s.dropped++
		return
	}
	binary.NativeEndian.PutUint32(k.buf[k.end:], uint32(len(b)))
	binary.NativeEndian.PutUint64(k.buf[k.end+4:], uint64(receivedUs))
	k.end += frameHead + copy(k.buf[k.end+frameHead:], b)
	if !s.waits {
		s.waits = true
		q.active.push(s)
	}
}

func (q *fairQueue) find(remote netip.AddrPort, nowUs int64) *queuedSource {
	if s := q.sources[remote]; s != nil {
		return s
	}
	q.sweep(nowUs)
	if len(q.sources) >= q.cfg.Sources {
		return nil
	}
	s := &queuedSource{source: *newSource(remote)}
	q.sources[remote] = s
	return s
}

// blockFor gives a block of the source with room for n bytes; nil where there
// may be none.
func (q *fairQueue) blockFor(s *queuedSource, n int) *block {
	if k := s.newest; k != nil && len(k.buf)-k.end >= n {
		return k
	}
	size := max(blockBytes, n)
	if s.bytes > 0 && s.bytes+size > min(q.cfg.SourceBytes, q.cfg.QueueBytes-q.used) || q.used+size > q.cfg.QueueBytes {
		return nil
	}
	var k *block
	if last := len(q.free) - 1; size == blockBytes && last >= 0 {
		k, q.free = q.free[last], q.free[:last]
	} else {
		k = &block{buf: make([]byte, size)}
	}
	s.bytes += size
	q.used += size
	if s.newest == nil {
		s.first = k
	} else {
		s.newest.next = k
	}
	s.newest = k
	return k
}

// serve works on the next n datagrams, or on all that wait.
func (q *fairQueue) serve(n int) {
	for n > 0 && q.active.len() > 0 {
		s := q.active.front()
		if s.credit <= 0 {
			s.credit += turnCredit
		}
		for n > 0 && s.waits && s.credit > 0 {
			b, receivedUs := s.next()
			q.take(b, &s.source, receivedUs)
			q.served(s, len(b))
			n--
		}
		q.settleSource(s)
		if !s.waits {
			s.credit = 0
			q.active.pop()
		} else if s.credit <= 0 {
			q.active.push(q.active.pop())
		}
	}
}

// next gives the oldest datagram of a source, which stays where it is until served.
func (s *queuedSource) next() (b []byte, receivedUs int64) {
	k := s.first
	n := int(binary.NativeEndian.Uint32(k.buf[k.start:]))
	us := int64(binary.NativeEndian.Uint64(k.buf[k.start+4:]))
	at := k.start + frameHead
	return k.buf[at : at+n : at+n], us
}

// served removes the oldest datagram of a source.
func (q *fairQueue) served(s *queuedSource, n int) {
	s.credit -= n + packetCost
	k := s.first
	if k.start += frameHead + n; k.start < k.end {
		return
	}
	s.first = k.next
	if s.first == nil {
		s.newest = nil
		s.waits = false
	}
	s.bytes -= len(k.buf)
	q.used -= len(k.buf)
	if len(k.buf) == blockBytes && (len(q.free)+1)*blockBytes <= q.cfg.QueueBytes/8 {
		k.start, k.end, k.next = 0, 0, nil
		q.free = append(q.free, k)
	}
}

// settleSource counts what a source lost, with what it is known by.
func (q *fairQueue) settleSource(s *queuedSource) {
	if s.dropped == 0 {
		return
	}
	var t *Tally
	if s.last != nil {
		t = s.last.tally
	}
	q.lost(t, dropSourceQueue, s.dropped)
	s.dropped = 0
}

func (q *fairQueue) lost(t *Tally, reason string, n int) {
	if t == nil {
		t = q.ob.in.accounting.Tally(q.ob.listener, "", "")
	}
	t.received.Add(float64(n))
	t.droppedMany(reason, n)
}

// settle counts everything that was lost and is not counted yet.
func (q *fairQueue) settle() {
	for _, s := range q.sources {
		q.settleSource(s)
	}
}

// Sources that are silent are looked for once in a while, and often when there
// are too many.
const (
	sweepUs       = int64(60e6)
	sweepFullUs   = int64(1e6)
	sourceIdleUs  = int64(agentIdle / 1e3)
	crowdedIdleUs = int64(30e6)
)

// sweep forgets sources that have long been silent.
func (q *fairQueue) sweep(nowUs int64) {
	every, idle := sweepUs, sourceIdleUs
	if len(q.sources) >= q.cfg.Sources {
		every, idle = sweepFullUs, crowdedIdleUs
	}
	if nowUs-q.sweptUs < every {
		return
	}
	q.sweptUs = nowUs
	q.settle()
	for remote, s := range q.sources {
		agentsGone := q.ob.forget(&s.source, nowUs-idle)
		if !s.waits && agentsGone && nowUs-s.heardUs > idle {
			delete(q.sources, remote)
			if q.last == s {
				q.last = nil
			}
		}
	}
}
