package hep

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Scanner cuts a TCP stream into HEP 3 packets by their total length. After
// bytes that are no packet it looks for the next magic.
type Scanner struct {
	r          io.Reader
	buf        []byte
	start, end int // what is buffered and not yet given out
	maxBytes   int
	skipped    int64
	err        error
}

// NewScanner gives a Scanner whose packets are at most maxBytes long (0 means
// MaxPacketBytes). A longer one is passed over as bytes that are no packet.
func NewScanner(r io.Reader, maxBytes int) *Scanner {
	if maxBytes <= 0 || maxBytes > MaxPacketBytes {
		maxBytes = MaxPacketBytes
	}
	return &Scanner{r: r, maxBytes: maxBytes, buf: make([]byte, 4096)}
}

// Next gives the next packet, valid until the following call. It returns
// io.EOF at the end of the stream, io.ErrUnexpectedEOF in the middle of a
// packet, else the reader's error.
func (s *Scanner) Next() ([]byte, error) {
	for {
		s.resync()
		n := 0
		if s.end-s.start >= headerBytes {
			n = int(binary.BigEndian.Uint16(s.buf[s.start+4:]))
			// The smallest packet has at least one chunk.
			if n < headerBytes+chunkHeaderBytes || n > s.maxBytes || !s.firstChunkFits(n) {
				s.skip(1)
				continue
			}
			if s.end-s.start >= n && n > 0 {
				b := s.buf[s.start : s.start+n : s.start+n]
				s.start += n
				return b, nil
			}
		}
		if s.err != nil {
			if s.err == io.EOF && s.end > s.start {
				s.start = s.end
				return nil, io.ErrUnexpectedEOF
			}
			return nil, s.err
		}
		s.fill(max(n, headerBytes))
	}
}

// firstChunkFits guards against a magic that is part of other bytes: the first
// chunk of a packet of n bytes has to lie in it. It is true as long as that
// chunk's header has not been read.
func (s *Scanner) firstChunkFits(n int) bool {
	if s.end-s.start < headerBytes+chunkHeaderBytes {
		return true
	}
	c := int(binary.BigEndian.Uint16(s.buf[s.start+headerBytes+4:]))
	return c >= chunkHeaderBytes && headerBytes+c <= n
}

// Skipped is the number of bytes that belonged to no packet.
func (s *Scanner) Skipped() int64 { return s.skipped }

func (s *Scanner) skip(n int) {
	s.start += n
	s.skipped += int64(n)
}

var magicTail = []byte("EP3")

// resync moves to where the next magic is, or may be beginning.
func (s *Scanner) resync() {
	for s.end > s.start {
		b := s.buf[s.start:s.end]
		if b[0] == 'H' || b[0] == 'E' {
			if have := min(len(b)-1, len(magicTail)); bytes.Equal(b[1:1+have], magicTail[:have]) {
				return
			}
		}
		next := bytes.IndexAny(b[1:], "HE")
		if next < 0 {
			s.skip(len(b))
			return
		}
		s.skip(1 + next)
	}
}

// fill reads more, with room for a packet of n bytes.
func (s *Scanner) fill(n int) {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	if n > len(s.buf) {
		grown := make([]byte, min(max(n, 2*len(s.buf)), MaxPacketBytes))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	// A reader may give nothing without an error, but not for ever.
	for range 100 {
		m, err := s.r.Read(s.buf[s.end:])
		s.end += m
		if err != nil {
			s.err = err
		}
		if m > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}
