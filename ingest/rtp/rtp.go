// Package rtp looks at RTP headers (RFC 3550 §5.1) and sums up streams. It
// never looks at media.
package rtp

import (
	"errors"
	"net/netip"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// ErrNotRTP is returned for bytes that are no RTP packet.
var ErrNotRTP = errors.New("rtp: no RTP header")

// Header is the fixed part of an RTP header.
type Header struct {
	PayloadType    uint8
	Marker         bool
	SequenceNumber uint16
	Timestamp      uint32
	SSRC           uint32
	PayloadBytes   int // without header, extension and padding
}

// Parse reads the header of an RTP packet into h. RTCP (RFC 5761) is ErrNotRTP.
func Parse(b []byte, h *Header) error { return ErrNotRTP }

// Aggregator sums up the packets of every stream into intervals of about a
// second of capture time.
type Aggregator struct{ maxStreams int }

// NewAggregator gives an Aggregator that follows at most maxStreams streams at
// once; the one that was silent longest makes room.
func NewAggregator(maxStreams int) *Aggregator { return &Aggregator{maxStreams: maxStreams} }

// Observe adds a packet. clockRate is that of its payload type in Hz, 0 if
// unknown. The interval that the packet closes, if it does, is returned.
func (a *Aggregator) Observe(at time.Time, src, dst netip.AddrPort, h *Header, clockRate uint32) *telemetry.RTPInterval {
	return nil
}

// Flush gives the open intervals of streams that have been silent since
// before, in order of their first packet; a zero time means all.
func (a *Aggregator) Flush(before time.Time) []*telemetry.RTPInterval { return nil }
