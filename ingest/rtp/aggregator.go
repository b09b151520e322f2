package rtp

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// IntervalLength is how much capture time an interval covers.
const IntervalLength = time.Second

// How far a sequence number may jump and still belong to the same run
// (RFC 3550 §A.1).
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// maxTransit is the longest change of transit time that is taken for jitter.
const maxTransit = 5 * time.Second

// maxStep is the most that one packet holds, in timestamp units: 120 ms of Opus.
const maxStep = 48 * 120

// Aggregator sums up the packets of every stream into intervals of about a
// second of capture time.
type Aggregator struct {
	maxStreams int
	streams    map[streamKey]*stream
	order      uint64
}

type streamKey struct {
	src, dst netip.AddrPort
	ssrc     uint32
}

type stream struct {
	key   streamKey
	order uint64 // of the open interval's first packet, to give intervals in that order

	// The run of sequence numbers, over intervals.
	cycles     uint32 // ×65536
	maxSeq     uint16
	badSeq     uint32 // the number that would confirm a restart; above 65535 none
	lastAt     time.Time
	lastTS     uint32
	lastType   uint8
	jitter     float64 // RTP timestamp units
	hasTransit bool
	clockRate  uint32

	// The open interval.
	firstAt   time.Time
	packets   uint32
	base      uint32 // extended number before the interval's first
	restarted uint32 // expected in runs of this interval that a restart ended
	maxGap    time.Duration
	lossRuns  uint32
	tsStep    uint32 // least growth of the timestamp from one packet to the next
}

// NewAggregator gives an Aggregator that follows at most maxStreams streams at
// once; the one that was silent longest makes room and loses its history.
func NewAggregator(maxStreams int) *Aggregator {
	return &Aggregator{maxStreams: max(1, maxStreams), streams: make(map[streamKey]*stream)}
}

// Observe adds a packet. clockRate is that of its payload type in Hz, 0 if
// unknown. The interval that the packet closes, if it does, is returned.
func (a *Aggregator) Observe(at time.Time, src, dst netip.AddrPort, h *Header, clockRate uint32) *telemetry.RTPInterval {
	key := streamKey{src, dst, h.SSRC}
	s, known := a.streams[key]
	var closed *telemetry.RTPInterval
	if !known {
		if len(a.streams) >= a.maxStreams {
			closed = a.evict()
		}
		s = &stream{key: key}
		s.start(h.SequenceNumber)
		a.streams[key] = s
	} else if s.packets > 0 && !at.Before(s.firstAt.Add(IntervalLength)) {
		closed = s.close()
	}
	if s.packets == 0 {
		a.order++
		s.order = a.order
		s.firstAt = at
	}
	s.observe(at, h, clockRate, known)
	return closed
}

// start begins a run of sequence numbers.
func (s *stream) start(seq uint16) {
	s.cycles, s.maxSeq, s.badSeq = 0, seq, math.MaxUint32
	s.base = uint32(seq) - 1 // wraps below 0, and back when it is subtracted
}

func (s *stream) highest() uint32 { return s.cycles + uint32(s.maxSeq) }

func (s *stream) observe(at time.Time, h *Header, clockRate uint32, known bool) {
	seq := h.SequenceNumber
	delta := seq - s.maxSeq
	switch {
	case delta == 0:
	case delta < maxDropout:
		if known && delta > 1 {
			s.lossRuns++
		}
		if step := h.Timestamp - s.lastTS; known && delta == 1 && step > 0 && step < maxStep && h.PayloadType == s.lastType &&
			(s.tsStep == 0 || step < s.tsStep) {
			s.tsStep = step
		}
		if seq < s.maxSeq {
			s.cycles += 1 << 16
		}
		s.maxSeq = seq
		if s.badSeq != math.MaxUint32 {
			s.badSeq, s.hasTransit = math.MaxUint32, false // the packet before was astray
		}
	case int(delta) <= 1<<16-maxMisorder:
		// A jump. Two in a row that follow on one another are a restart.
		if uint32(seq) == s.badSeq {
			s.restarted += s.highest() - s.base
			s.start(seq)
			s.base = uint32(seq) - 2 // the packet before this one was of the new run
		} else {
			s.badSeq = (uint32(seq) + 1) & 0xffff
			s.hasTransit = false // its timestamps may be new as well
		}
	default:
		// Out of order or a duplicate: counted, moves nothing.
	}

	if known {
		if gap := at.Sub(s.lastAt); gap > s.maxGap {
			s.maxGap = gap
		}
	}
	if clockRate > 0 {
		if clockRate != s.clockRate {
			s.clockRate, s.jitter, s.hasTransit = clockRate, 0, false
		}
		// Telephone events keep the timestamp of their beginning (RFC 4733
		// §2.2.1): between them, and between them and audio, it says nothing.
		if s.hasTransit && h.Timestamp != s.lastTS && h.PayloadType == s.lastType {
			// RFC 3550 §6.4.1, with the difference of arrivals in floating point.
			arrivals := at.Sub(s.lastAt).Seconds() * float64(clockRate)
			d := math.Abs(arrivals - float64(int32(h.Timestamp-s.lastTS)))
			// A sender that begins its timestamps anew is not late by hours.
			if d < maxTransit.Seconds()*float64(clockRate) {
				s.jitter += (d - s.jitter) / 16
			}
		}
		s.hasTransit = true
	}
	s.lastTS, s.lastType = h.Timestamp, h.PayloadType
	if !known || at.After(s.lastAt) {
		s.lastAt = at
	}
	s.packets++
}

// close gives the open interval and begins the next one after its last packet.
func (s *stream) close() *telemetry.RTPInterval {
	i := &telemetry.RTPInterval{
		Src: s.key.src.String(), Dst: s.key.dst.String(), Ssrc: s.key.ssrc,
		PayloadType: uint32(s.lastType), ClockRate: s.clockRate,
		Packets:    s.packets,
		Expected:   s.restarted + s.highest() - s.base,
		HighestSeq: s.highest(),
		FirstUs:    s.firstAt.UnixMicro(),
		LastUs:     s.lastAt.UnixMicro(),
		MaxGapMs:   uint32(min(s.maxGap.Milliseconds(), math.MaxUint32)),
		LossRuns:   s.lossRuns, TimestampStep: s.tsStep,
	}
	if s.clockRate > 0 {
		i.JitterMs = s.jitter * 1000 / float64(s.clockRate)
	}
	s.base = s.highest()
	s.packets, s.restarted, s.maxGap, s.lossRuns, s.tsStep = 0, 0, 0, 0, 0
	return i
}

// evict makes room and gives the interval that was open, if one was.
func (a *Aggregator) evict() *telemetry.RTPInterval {
	var oldest *stream
	for _, s := range a.streams {
		if oldest == nil || s.lastAt.Before(oldest.lastAt) || s.lastAt.Equal(oldest.lastAt) && s.order < oldest.order {
			oldest = s
		}
	}
	delete(a.streams, oldest.key)
	if oldest.packets == 0 {
		return nil
	}
	return oldest.close()
}

// Flush gives the open intervals of streams that have been silent since
// before, in order of their first packet; a zero time means all. Streams stay
// known, so that a pause shows in the next interval's MaxGapMs.
func (a *Aggregator) Flush(before time.Time) []*telemetry.RTPInterval {
	var open []*stream
	for _, s := range a.streams {
		if s.packets > 0 && (before.IsZero() || s.lastAt.Before(before)) {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(x, y *stream) int { return cmp.Compare(x.order, y.order) })
	intervals := make([]*telemetry.RTPInterval, 0, len(open))
	for _, s := range open {
		intervals = append(intervals, s.close())
	}
	return intervals
}
