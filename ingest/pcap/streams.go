package pcap

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Bounds of reassembly.
const (
	maxStreams         = 4096
	maxHeldPerStream   = 1 << 20  // bytes behind a hole
	maxHeldBytes       = 32 << 20 // of all streams
	maxSegmentsHeld    = 512      // per stream
	maxHoleTime        = 5 * time.Second
	maxSequenceJump    = 16 << 20 // beyond which it is another connection
	tcpFIN, tcpSYN     = 0x01, 0x02
	tcpRST             = 0x04
	minTCPHeader       = 20
	smallestDataOffset = 5
)

type streamKey struct{ src, dst netip.AddrPort }

// segment is one that waits for a hole before it to be filled.
type segment struct {
	seq     uint32
	data    []byte
	missing int // bytes of it that were not captured
	at      time.Time
	frame   int
}

// stream is one direction of one connection.
type stream struct {
	key    streamKey
	next   uint32 // sequence number that follows what was given out
	gap    bool   // for the next chunk
	held   []segment
	bytes  int // held
	lastAt time.Time
}

// streams puts TCP segments into order (RFC 9293 §3.4).
type streams struct {
	r     *Reader
	open  map[streamKey]*stream
	bytes int
}

func newStreams(r *Reader) *streams {
	return &streams{r: r, open: make(map[streamKey]*stream)}
}

func (r *Reader) tcp(p packet, b []byte) {
	if len(b) < minTCPHeader {
		r.leaveOut(LeftOutTruncated)
		return
	}
	header := int(b[12]>>4) * 4
	if header < smallestDataOffset*4 {
		r.leaveOut(LeftOutMalformed)
		return
	}
	if header > len(b) {
		r.leaveOut(LeftOutTruncated)
		return
	}
	key := streamKey{
		netip.AddrPortFrom(p.src, binary.BigEndian.Uint16(b)),
		netip.AddrPortFrom(p.dst, binary.BigEndian.Uint16(b[2:])),
	}
	r.streams.add(key, segment{
		seq: binary.BigEndian.Uint32(b[4:]), data: b[header:], missing: p.missing, at: p.at, frame: r.stats.Frames,
	}, b[13])
}

func (s *streams) add(key streamKey, g segment, flags byte) {
	st := s.open[key]
	if flags&tcpSYN != 0 {
		// A SYN takes one number; sent again it begins nothing anew.
		if st == nil || st.next != g.seq+1 {
			s.finish(st)
			st = s.start(key, g.seq+1, g.at)
		}
		g.seq++
	}
	if len(g.data) == 0 && g.missing == 0 {
		s.r.leaveOut(LeftOutEmpty)
	} else {
		if st == nil {
			st = s.start(key, g.seq, g.at) // the capture began after the connection
		}
		if d := int32(g.seq - st.next); d > maxSequenceJump || d < -maxSequenceJump {
			s.finish(st)
			st = s.start(key, g.seq, g.at)
		}
		st.lastAt = g.at
		s.data(st, g)
	}
	if flags&(tcpFIN|tcpRST) != 0 && st != nil {
		// A FIN may overtake data; what is missing then is not waited for longer
		// than for any hole.
		if len(st.held) == 0 || flags&tcpRST != 0 {
			s.finish(st)
		}
	}
}

func (s *streams) start(key streamKey, next uint32, at time.Time) *stream {
	if len(s.open) >= maxStreams {
		s.finish(s.idlest())
	}
	st := &stream{key: key, next: next, gap: true, lastAt: at}
	s.open[key] = st
	return st
}

func (s *streams) idlest() *stream {
	var oldest *stream
	for _, st := range s.open {
		if oldest == nil || st.lastAt.Before(oldest.lastAt) ||
			st.lastAt.Equal(oldest.lastAt) && st.key.compare(oldest.key) < 0 {
			oldest = st
		}
	}
	return oldest
}

// compare orders keys, so that one file always gives one order of datagrams.
func (k streamKey) compare(o streamKey) int {
	return cmp.Or(k.src.Compare(o.src), k.dst.Compare(o.dst))
}

// data takes a segment with payload.
func (s *streams) data(st *stream, g segment) {
	if d := int32(g.seq - st.next); d > 0 {
		s.hold(st, g)
		return
	}
	if !st.trim(&g) {
		s.r.leaveOut(LeftOutRetransmission)
		return
	}
	s.give(st, g)
}

// trim takes off a segment what was given out before; false if that is all of it.
func (st *stream) trim(g *segment) bool {
	old := int(st.next - g.seq)
	if old >= len(g.data)+g.missing {
		return false
	}
	if old > len(g.data) { // what is new of it was not captured
		g.missing -= old - len(g.data)
		old = len(g.data)
	}
	g.data = g.data[old:]
	g.seq = st.next
	return true
}

// give gives out a segment that follows on, with what waited for it.
func (s *streams) give(st *stream, g segment) {
	chunk := Datagram{
		At: g.at, Src: st.key.src, Dst: st.key.dst, Transport: "tcp", Frame: g.frame, Gap: st.gap,
		Payload: g.data, Truncated: g.missing > 0,
	}
	st.next = g.seq + uint32(len(g.data)+g.missing)
	st.gap = g.missing > 0
	for len(st.held) > 0 && int32(st.held[0].seq-st.next) <= 0 && !st.gap {
		h := st.held[0]
		st.held = st.held[1:]
		st.bytes -= len(h.data)
		s.bytes -= len(h.data)
		if !st.trim(&h) {
			s.r.leaveOut(LeftOutRetransmission)
			continue
		}
		if h.frame > chunk.Frame {
			// It follows on a hole that was given up, and came later than what is
			// given out now: it has a time of its own.
			if len(chunk.Payload) > 0 {
				s.r.emit(chunk)
				chunk.Gap = false
			}
			chunk.At, chunk.Frame, chunk.Payload = h.at, h.frame, nil
		}
		// A copy: the segment's bytes lie in their own frame.
		chunk.Payload = append(chunk.Payload[:len(chunk.Payload):len(chunk.Payload)], h.data...)
		chunk.Truncated = h.missing > 0
		st.next = h.seq + uint32(len(h.data)+h.missing)
		st.gap = h.missing > 0
	}
	if len(chunk.Payload) > 0 {
		s.r.emit(chunk)
	}
	if st.gap && len(st.held) > 0 {
		s.skipHole(st)
	}
}

// hold keeps a segment until the hole before it is filled, or no longer waited for.
func (s *streams) hold(st *stream, g segment) {
	at, same := slices.BinarySearchFunc(st.held, g, func(h, g segment) int { return int(int32(h.seq - g.seq)) })
	if same && len(st.held[at].data)+st.held[at].missing >= len(g.data)+g.missing {
		s.r.leaveOut(LeftOutRetransmission)
		return
	}
	st.held = slices.Insert(st.held, at, g)
	st.bytes += len(g.data)
	s.bytes += len(g.data)
	for len(st.held) > maxSegmentsHeld || st.bytes > maxHeldPerStream ||
		len(st.held) > 0 && g.at.Sub(oldest(st.held)) > maxHoleTime {
		s.skipHole(st)
	}
	for s.bytes > maxHeldBytes {
		s.finish(s.idlest())
	}
}

func oldest(held []segment) time.Time {
	at := held[0].at
	for _, h := range held[1:] {
		if h.at.Before(at) {
			at = h.at
		}
	}
	return at
}

// skipHole gives up on the bytes before the first segment held.
func (s *streams) skipHole(st *stream) {
	g := st.held[0]
	st.held = st.held[1:]
	st.bytes -= len(g.data)
	s.bytes -= len(g.data)
	if int32(g.seq-st.next) > 0 {
		st.next, st.gap = g.seq, true
	}
	if !st.trim(&g) {
		s.r.leaveOut(LeftOutRetransmission)
		return
	}
	s.give(st, g)
}

// finish gives out what a stream holds and forgets it.
func (s *streams) finish(st *stream) {
	if st == nil {
		return
	}
	for len(st.held) > 0 {
		s.skipHole(st)
	}
	if s.open[st.key] == st {
		delete(s.open, st.key)
	}
}

func (s *streams) flush() {
	all := make([]*stream, 0, len(s.open))
	for _, st := range s.open {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b *stream) int { return a.key.compare(b.key) })
	for _, st := range all {
		s.finish(st)
	}
}
