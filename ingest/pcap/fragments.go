package pcap

import (
	"net/netip"
	"time"
)

// Bounds of reassembly. RFC 8200 §4.5 gives the time.
const (
	maxFragmentTime     = 60 * time.Second
	maxFragmentedAtOnce = 1024
	maxFragmentBytes    = 16 << 20
	maxReassembled      = 65535
)

type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
	depth    int
}

type fragment struct {
	offset int
	data   []byte
}

// fragmented is a packet of which some fragments came.
type fragmented struct {
	first  time.Time
	pieces []fragment
	have   int // bytes
	total  int // -1 until the last fragment came
}

// fragments puts fragmented packets together (RFC 791 §3.2, RFC 8200 §4.5).
type fragments struct {
	r     *Reader
	open  map[fragmentKey]*fragmented
	order []fragmentKey // as they were opened, also ones that are no more
	bytes int
}

func newFragments(r *Reader) *fragments {
	return &fragments{r: r, open: make(map[fragmentKey]*fragmented)}
}

func (f *fragments) add(p packet, id uint32, proto uint8, offset int, more bool, b []byte) {
	if p.cut || len(b) == 0 || offset+len(b) > maxReassembled || more && len(b)%8 != 0 {
		f.r.leaveOut(LeftOutFragment)
		return
	}
	key := fragmentKey{p.src, p.dst, id, proto, p.depth}
	g := f.open[key]
	if g != nil && p.at.Sub(g.first) > maxFragmentTime {
		f.drop(key)
		g = nil
	}
	if g == nil {
		for len(f.open) >= maxFragmentedAtOnce || f.bytes+len(b) > maxFragmentBytes && len(f.open) > 0 {
			f.dropOldest()
		}
		g = &fragmented{first: p.at, total: -1}
		f.open[key] = g
		f.order = append(f.order, key)
	}
	for _, have := range g.pieces {
		if offset < have.offset+len(have.data) && have.offset < offset+len(b) {
			// The same once more, or an overlap, which RFC 8200 forbids: what came
			// first counts.
			f.r.leaveOut(LeftOutFragment)
			return
		}
	}
	if !more {
		g.total = offset + len(b)
	}
	g.pieces = append(g.pieces, fragment{offset, b})
	g.have += len(b)
	f.bytes += len(b)
	if g.total < 0 || g.have < g.total {
		return
	}
	whole := make([]byte, g.total)
	for _, piece := range g.pieces {
		if piece.offset+len(piece.data) > g.total {
			f.drop(key)
			return
		}
		copy(whole[piece.offset:], piece.data)
	}
	f.forget(key)
	f.r.transport(p, proto, whole)
}

func (f *fragments) forget(key fragmentKey) int {
	g := f.open[key]
	if g == nil {
		return 0
	}
	f.bytes -= g.have
	delete(f.open, key)
	if len(f.open) == 0 {
		f.order = f.order[:0]
	}
	return len(g.pieces)
}

func (f *fragments) drop(key fragmentKey) {
	for range f.forget(key) {
		f.r.leaveOut(LeftOutFragment)
	}
}

func (f *fragments) dropOldest() {
	key := f.order[0]
	f.order = f.order[1:]
	f.drop(key)
}

func (f *fragments) flush() {
	for len(f.order) > 0 && len(f.open) > 0 {
		f.dropOldest()
	}
}
