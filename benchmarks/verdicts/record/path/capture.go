package path

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const snapLength = 65535

// Capture is all that a path carried.
type Capture struct {
	Config  Config
	Zero    int64 // when windows of time began, ns since the Unix epoch; 0: never
	Hops    []*Hop
	Dropped int // packets to no address of the path
}

// WriteWire writes what the monitor saw as a gzipped capture of raw IP packets,
// RTP without its payload. Of what neither is UDP nor ICMP it has nothing, nor
// what keep refuses; a nil keep keeps all.
func (c *Capture) WriteWire(file string, keep func(*Hop) bool) error {
	seen := make([]*Hop, 0, len(c.Hops))
	for _, h := range c.Hops {
		if h.Middle == 0 || h.Unseen || h.Packet[9] != protoUDP && h.Packet[9] != 1 || keep != nil && !keep(h) {
			continue
		}
		seen = append(seen, h)
	}
	slices.SortStableFunc(seen, func(x, y *Hop) int { return cmp.Compare(x.Middle, y.Middle) })
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("cannot write capture: %w", err)
	}
	defer f.Close()
	zip, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("cannot write capture: %w", err)
	}
	w := pcapgo.NewWriter(zip)
	if err := w.WriteFileHeader(snapLength, layers.LinkTypeRaw); err != nil {
		return fmt.Errorf("cannot write capture: %w", err)
	}
	for _, h := range seen {
		short := h.Packet.cut()
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, h.Middle), CaptureLength: len(short), Length: len(h.Packet)}
		if err := w.WritePacket(info, short); err != nil {
			return fmt.Errorf("cannot write capture: %w", err)
		}
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("cannot write capture: %w", err)
	}
	return f.Close()
}

// Gone says that a node no longer had an address so long after zero: what was
// handed over for it reached nobody.
func (c *Capture) Gone(address netip.Addr, after time.Duration) {
	for _, h := range c.Hops {
		if h.Packet.To() == address && h.Out > c.Zero+int64(after) {
			h.Out = 0
		}
	}
}

// Late tells how much later than told the path handed packets over, in ms: its
// own error.
func (c *Capture) Late() (p50, p99, max float64) {
	var late []float64
	for _, h := range c.Hops {
		if h.Out != 0 {
			late = append(late, ms(h.Out-h.Due))
		}
	}
	slices.Sort(late)
	return rank(late, 0.5), rank(late, 0.99), rank(late, 1)
}

func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }

// rank is a quantile by nearest rank of sorted values, 0 if there are none.
func rank(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
