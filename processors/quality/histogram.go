package quality

import (
	"math/bits"
	"sort"
)

// Histogram is a distribution of milliseconds in bounded memory: buckets of
// relative width 1/128 over tenths of a millisecond, minimum and maximum exact.
// It uses integers only, so that every machine gives the same percentiles.
type Histogram struct {
	Buckets []Bucket // by Index
	Count   uint64
	MinMs   float64
	MaxMs   float64
}

// Bucket counts the values of one bucket.
type Bucket struct {
	Index uint16
	Count uint32
}

const (
	bucketsPerOctave = 128
	// 10 minutes; what is above counts as that.
	maxTenths = 6_000_000
)

func bucketIndex(tenths uint32) uint16 {
	if tenths < bucketsPerOctave {
		return uint16(tenths)
	}
	shift := bits.Len32(tenths) - 8 // keeps 8 significant bits, the first is 1
	return uint16(bucketsPerOctave*(shift+1) + int(tenths>>shift) - bucketsPerOctave)
}

// bucketMiddle gives the middle of a bucket in tenths of a millisecond.
func bucketMiddle(index uint16) float64 {
	if index < bucketsPerOctave {
		return float64(index)
	}
	shift := int(index)/bucketsPerOctave - 1
	low := (int(index)%bucketsPerOctave + bucketsPerOctave) << shift
	return float64(low) + float64(int(1)<<shift-1)/2
}

// Add counts one value; negative values and NaN are ignored.
func (h *Histogram) Add(ms float64) {
	if !(ms >= 0) {
		return
	}
	tenths := uint32(maxTenths)
	if ms*10+0.5 < maxTenths {
		tenths = uint32(ms*10 + 0.5)
	}
	idx := bucketIndex(tenths)
	i := sort.Search(len(h.Buckets), func(i int) bool { return h.Buckets[i].Index >= idx })
	if i == len(h.Buckets) || h.Buckets[i].Index != idx {
		h.Buckets = append(h.Buckets, Bucket{})
		copy(h.Buckets[i+1:], h.Buckets[i:])
		h.Buckets[i] = Bucket{Index: idx}
	}
	h.Buckets[i].Count++
	if h.Count == 0 || ms < h.MinMs {
		h.MinMs = ms
	}
	if h.Count == 0 || ms > h.MaxMs {
		h.MaxMs = ms
	}
	h.Count++
}

// Merge adds what another histogram counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.Count == 0 {
		return
	}
	if h.Count == 0 || o.MinMs < h.MinMs {
		h.MinMs = o.MinMs
	}
	if h.Count == 0 || o.MaxMs > h.MaxMs {
		h.MaxMs = o.MaxMs
	}
	h.Count += o.Count
	merged := make([]Bucket, 0, len(h.Buckets)+len(o.Buckets))
	i, j := 0, 0
	for i < len(h.Buckets) || j < len(o.Buckets) {
		switch {
		case j == len(o.Buckets) || (i < len(h.Buckets) && h.Buckets[i].Index < o.Buckets[j].Index):
			merged = append(merged, h.Buckets[i])
			i++
		case i == len(h.Buckets) || o.Buckets[j].Index < h.Buckets[i].Index:
			merged = append(merged, o.Buckets[j])
			j++
		default:
			merged = append(merged, Bucket{h.Buckets[i].Index, h.Buckets[i].Count + o.Buckets[j].Count})
			i, j = i+1, j+1
		}
	}
	h.Buckets = merged
}

// Quantile gives the value below or at which the share q (0–1) of the values
// lies (nearest rank), within 0.4 % or 0.05 ms; 0 where there is none.
func (h *Histogram) Quantile(q float64) float64 {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.Count))
	if float64(rank) < q*float64(h.Count) || rank == 0 {
		rank++
	}
	rank = min(rank, h.Count)
	var seen uint64
	for _, b := range h.Buckets {
		seen += uint64(b.Count)
		if seen >= rank {
			return min(max(bucketMiddle(b.Index)/10, h.MinMs), h.MaxMs)
		}
	}
	return h.MaxMs
}

// Share gives the share (0–1) of the values for which in answers true, by the
// middle of their bucket.
func (h *Histogram) Share(in func(ms float64) bool) float64 {
	if h.Count == 0 {
		return 0
	}
	var n uint64
	for _, b := range h.Buckets {
		if in(min(max(bucketMiddle(b.Index)/10, h.MinMs), h.MaxMs)) {
			n += uint64(b.Count)
		}
	}
	return float64(n) / float64(h.Count)
}
