package quality

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
	"sort"
)

// Histogram is a distribution of milliseconds in bounded memory: buckets of
// relative width 1/128 over tenths of a millisecond. Only buckets that hold
// something take room, 4 bytes each. Where more than maxBuckets would, every two
// neighbours become one, as often as needed, so that a call of hours takes no
// more than 1 KiB for it. It uses integers only, so that every machine gives the
// same percentiles.
type Histogram struct {
	// Empty, or: minimum and maximum as the bits of a float32, how often
	// neighbours became one, then index<<countBits | count by index.
	words []uint32
}

const (
	bucketsPerOctave = 128
	// 10 minutes; what is above counts as that.
	maxTenths  = 6_000_000
	maxBuckets = 256

	countBits = 20 // a bucket counts up to a million
	maxCount  = 1<<countBits - 1

	wordMin, wordMax, wordShift, wordBuckets = 0, 1, 2, 3
)

func bucketIndex(tenths uint32) uint32 {
	if tenths < bucketsPerOctave {
		return tenths
	}
	shift := bits.Len32(tenths) - 8 // keeps 8 significant bits, the first is 1
	return uint32(bucketsPerOctave*(shift+1) + int(tenths>>shift) - bucketsPerOctave)
}

// bucketLow gives the least value of a bucket in tenths of a millisecond.
func bucketLow(index uint32) uint64 {
	if index < bucketsPerOctave {
		return uint64(index)
	}
	shift := index/bucketsPerOctave - 1
	return uint64(index%bucketsPerOctave+bucketsPerOctave) << shift
}

// bucketMiddle gives the middle, in tenths of a millisecond, of the bucket that
// 1<<shift buckets were made to.
func bucketMiddle(index, shift uint32) float64 {
	low, next := bucketLow(index<<shift), bucketLow((index+1)<<shift)
	return float64(low) + float64(next-1-low)/2
}

// Add counts one value; negative values and NaN are ignored. What is longer than
// any call could stand counts as the longest: it must come back as a number.
func (h *Histogram) Add(ms float64) {
	if !(ms >= 0) {
		return
	}
	ms = min(ms, maxTenths/10)
	h.begin(ms, ms)
	h.add(bucketIndex(uint32(ms*10+0.5))>>h.words[wordShift], 1)
}

// begin makes room for values between low and high.
func (h *Histogram) begin(low, high float64) {
	if len(h.words) == 0 {
		h.words = make([]uint32, wordBuckets, wordBuckets+1)
		h.words[wordMin], h.words[wordMax] = math.Float32bits(float32(low)), math.Float32bits(float32(high))
		return
	}
	h.words[wordMin] = math.Float32bits(min(math.Float32frombits(h.words[wordMin]), float32(low)))
	h.words[wordMax] = math.Float32bits(max(math.Float32frombits(h.words[wordMax]), float32(high)))
}

// add counts n values of a bucket.
func (h *Histogram) add(index, n uint32) {
	i := wordBuckets + sort.Search(len(h.words)-wordBuckets, func(i int) bool { return h.words[wordBuckets+i]>>countBits >= index })
	if i < len(h.words) && h.words[i]>>countBits == index {
		h.words[i] = index<<countBits | min(h.words[i]&maxCount+n, maxCount)
		return
	}
	if len(h.words) == cap(h.words) { // many are held: little in reserve
		h.words = append(make([]uint32, 0, len(h.words)+4+len(h.words)/8), h.words...)
	}
	h.words = slices.Insert(h.words, i, index<<countBits|min(n, maxCount))
	for len(h.words) > wordBuckets+maxBuckets {
		h.coarsen(h.words[wordShift] + 1)
	}
}

// coarsen makes one bucket of neighbours until it was done shift times.
func (h *Histogram) coarsen(shift uint32) {
	by := shift - h.words[wordShift]
	old := h.words[wordBuckets:]
	h.words = h.words[:wordBuckets]
	h.words[wordShift] = shift
	for _, w := range old {
		index, n := w>>countBits>>by, w&maxCount
		if last := len(h.words) - 1; last >= wordBuckets && h.words[last]>>countBits == index {
			h.words[last] = index<<countBits | min(h.words[last]&maxCount+n, maxCount)
			continue
		}
		h.words = append(h.words, index<<countBits|n)
	}
}

// Count is the number of values counted.
func (h *Histogram) Count() (n uint64) {
	for _, w := range h.buckets() {
		n += uint64(w & maxCount)
	}
	return n
}

func (h *Histogram) buckets() []uint32 {
	if len(h.words) == 0 {
		return nil
	}
	return h.words[wordBuckets:]
}

// Min is the least value, 0 where there is none.
func (h *Histogram) Min() float64 { return h.extreme(wordMin) }

// Max is the greatest value, 0 where there is none.
func (h *Histogram) Max() float64 { return h.extreme(wordMax) }

// extreme reads a bound with the digits that a float32 has, so that 8.1 does not
// come back as 8.100000381.
func (h *Histogram) extreme(word int) float64 {
	if len(h.words) == 0 {
		return 0
	}
	v := float64(math.Float32frombits(h.words[word]))
	if rounded := math.Round(v*1000) / 1000; float32(rounded) == float32(v) {
		return rounded
	}
	return v
}

// Merge adds what another histogram counted.
func (h *Histogram) Merge(o *Histogram) {
	if len(o.words) == 0 {
		return
	}
	h.begin(o.Min(), o.Max())
	if o.words[wordShift] > h.words[wordShift] {
		h.coarsen(o.words[wordShift])
	}
	for _, w := range o.buckets() {
		h.add(w>>countBits>>(h.words[wordShift]-o.words[wordShift]), w&maxCount)
	}
}

// middle gives the middle of a bucket in milliseconds, within the bounds.
func (h *Histogram) middle(w uint32) float64 {
	return min(max(bucketMiddle(w>>countBits, h.words[wordShift])/10, h.Min()), h.Max())
}

// Quantile gives the value below or at which the share q (0–1) of the values
// lies (nearest rank); 0 where there is none. It is within 0.4 % or 0.05 ms as
// long as the values fell into maxBuckets buckets, and within twice as much for
// each time that neighbours became one.
func (h *Histogram) Quantile(q float64) float64 {
	count := h.Count()
	if count == 0 {
		return 0
	}
	rank := uint64(q * float64(count))
	if float64(rank) < q*float64(count) || rank == 0 {
		rank++
	}
	rank = min(rank, count)
	var seen uint64
	for _, w := range h.buckets() {
		seen += uint64(w & maxCount)
		if seen >= rank {
			return h.middle(w)
		}
	}
	return h.Max()
}

// Share gives the share (0–1) of the values for which in answers true, by the
// middle of their bucket.
func (h *Histogram) Share(in func(ms float64) bool) float64 {
	count := h.Count()
	if count == 0 {
		return 0
	}
	var n uint64
	for _, w := range h.buckets() {
		if in(h.middle(w)) {
			n += uint64(w & maxCount)
		}
	}
	return float64(n) / float64(count)
}

// ErrHistogram says that bytes are no histogram.
var ErrHistogram = errors.New("quality: not a histogram")

// Append appends the histogram to b: the number of buckets, and where there is
// one the bounds, how often neighbours became one, and of each bucket the steps
// from the one before and its count; all as varints.
func (h *Histogram) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.buckets())))
	if len(h.words) == 0 {
		return b
	}
	for _, w := range h.words[:wordBuckets] {
		b = binary.AppendUvarint(b, uint64(w))
	}
	var prev uint32
	for _, w := range h.buckets() {
		b = binary.AppendUvarint(b, uint64(w>>countBits-prev))
		b = binary.AppendUvarint(b, uint64(w&maxCount))
		prev = w >> countBits
	}
	return b
}

// Read reads what Append wrote and gives what follows it. Room gives the memory
// for a number of words.
func (h *Histogram) Read(b string, room func(words int) []uint32) (rest string, err error) {
	var bad bool
	next := func(most uint64) uint32 {
		var v uint64
		for i := 0; i < len(b) && i < binary.MaxVarintLen32; i++ {
			v |= uint64(b[i]&0x7f) << (7 * i)
			if b[i] < 0x80 {
				if b = b[i+1:]; v > most {
					break
				}
				return uint32(v)
			}
		}
		bad = true
		return 0
	}
	h.words = nil
	n := next(maxBuckets)
	if bad {
		return "", ErrHistogram
	}
	if n == 0 {
		return b, nil
	}
	words := room(int(wordBuckets + n))[:wordBuckets]
	words[wordMin], words[wordMax], words[wordShift] = next(math.MaxUint32), next(math.MaxUint32), next(12)
	top, index := bucketIndex(maxTenths)>>words[wordShift], uint32(0)
	for i := range n {
		step := next(uint64(top))
		index += step
		if bad || index > top || i > 0 && step == 0 {
			return "", ErrHistogram
		}
		words = append(words, index<<countBits|max(next(maxCount), 1))
	}
	if bad {
		return "", ErrHistogram
	}
	h.words = words
	return b, nil
}
