package rtcstats

import (
	"sync/atomic"

	"github.com/earshot/earshot/ingest/webrtc"
)

// Bounds of what is remembered of one sender beside the bytes of statistics.
const (
	maxPeers = 64   // peer connections of one sender; the longest silent makes room
	maxName  = 256  // of an id, in bytes
	maxValue = 4096 // of a text, in bytes
)

// Budget bounds the memory that the base states of many senders take together.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a Budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) <= b.max {
		return true
	}
	b.used.Add(int64(-n))
	return false
}

// room is what one sender may take, of its own bound and of the budget of all.
type room struct {
	left int
	used int
	all  *Budget // may be nil
}

// Take takes n bytes and says whether there were that many.
func (r *room) Take(n int) bool {
	if n > r.left || r.all != nil && !r.all.take(n) {
		return false
	}
	r.left -= n
	r.used += n
	return true
}

// Give gives n bytes back.
func (r *room) Give(n int) {
	if r.all != nil {
		r.all.used.Add(int64(-n))
	}
	r.left += n
	r.used -= n
}

// How the dialects tell what has changed in statistics.
var changes = [...]*webrtc.Changes{
	Numbered: webrtc.NumberedChanges(types[:], members[:]),
	Named:    {},
	Jitsi:    {Sweep: true},
}
