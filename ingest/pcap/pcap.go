// Package pcap turns capture files (pcap and pcapng) into datagrams and pieces
// of TCP streams, and writes datagrams as a capture.
package pcap

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net/netip"
	"time"
)

// Reasons why a capture cannot be read.
var (
	ErrFormat   = errors.New("pcap: neither pcap nor pcapng")
	ErrCorrupt  = errors.New("pcap: record length out of bounds")
	ErrLinkType = errors.New("pcap: link type not supported")
)

// Reasons in Stats.LeftOut.
const (
	LeftOutLinkType       = "link_type"           // of a frame whose link type is not supported
	LeftOutNotIP          = "not_ip"              // ARP and the like
	LeftOutProtocol       = "ip_protocol"         // neither UDP nor TCP
	LeftOutMalformed      = "malformed"           // a header does not fit
	LeftOutTruncated      = "truncated_header"    // cut before the payload by the snap length
	LeftOutEmpty          = "no_payload"          // acknowledgements, keep-alives
	LeftOutRetransmission = "tcp_retransmission"  // bytes that came before
	LeftOutFragment       = "fragment_incomplete" // fragments whose rest never came
	LeftOutTunnel         = "tunnel_depth"        // tunnels in tunnels
)

// Datagram is one UDP datagram, or the bytes of one TCP direction that became
// contiguous with one segment.
type Datagram struct {
	At        time.Time // capture time of the packet that completed it
	Src, Dst  netip.AddrPort
	Transport string // udp, tcp
	Payload   []byte
	Truncated bool // cut by the capture's snap length
	// Gap is set on a TCP chunk that does not follow on the chunk before it of
	// the same direction: a new connection, or bytes that were not captured.
	Gap   bool
	Frame int // ordinal of that packet in the file, from 1, as Wireshark shows it
}

// Stats counts what was read and what was left out, by reason.
type Stats struct {
	Frames    int
	Datagrams int
	LeftOut   map[string]int // packets by reason, see the constants
	Truncated bool           // the file ended in the middle of a packet
}

// frame is one packet of the file.
type frame struct {
	at       time.Time
	linkType uint32
	data     []byte
	cut      bool // shorter than it was on the wire
}

// source reads one format. Its error is io.EOF at the end and
// io.ErrUnexpectedEOF in the middle of a record.
type source interface{ next() (frame, error) }

// Reader reads a capture.
type Reader struct {
	src       source
	stats     Stats
	ready     []Datagram
	fragments *fragments
	streams   *streams
	err       error // after the last frame
}

// Open reads the file's header. r is read to its end by Next, never sought.
// A file of which every packet has a link type that is not supported opens, and
// gives no datagram.
func Open(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, ErrFormat
	}
	rd := &Reader{stats: Stats{LeftOut: make(map[string]int)}}
	rd.fragments, rd.streams = newFragments(rd), newStreams(rd)
	if rd.src, err = newSource(b, [4]byte(magic)); err != nil {
		return nil, err
	}
	return rd, nil
}

// Next gives the next datagram, whose payload is the caller's to keep; io.EOF
// at the end. A file that ends in the middle of a packet gives io.EOF too and
// sets Stats.Truncated; one that goes wrong in its middle gives ErrCorrupt
// after all that was before.
func (r *Reader) Next() (Datagram, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return Datagram{}, r.err
		}
		f, err := r.src.next()
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				r.stats.Truncated = true
				err = io.EOF
			}
			r.err = err
			r.fragments.flush()
			r.streams.flush()
			continue
		}
		r.stats.Frames++
		r.link(f)
	}
	d := r.ready[0]
	r.ready = r.ready[1:]
	r.stats.Datagrams++
	return d, nil
}

// Stats is what was read up to now.
func (r *Reader) Stats() Stats {
	s := r.stats
	s.LeftOut = maps.Clone(s.LeftOut)
	return s
}

func (r *Reader) leaveOut(reason string) { r.stats.LeftOut[reason]++ }

func (r *Reader) emit(d Datagram) { r.ready = append(r.ready, d) }
