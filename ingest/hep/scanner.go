package hep

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
)

// Scanner cuts a TCP stream into HEP 3 packets: by their total length, or by
// where gzip ends, with which heplify may pack each. After bytes that are no
// packet it looks for the next one.
type Scanner struct {
	r          io.Reader
	buf        []byte
	start, end int  // what is buffered and not yet given out
	full       bool // the last read filled the buffer
	maxBytes   int
	skipped    int64
	reads      int64
	err        error

	member     member
	unzip      *gzip.Reader
	plain      []byte // what was unpacked last
	badMembers int
	cut        bool // the stream ended in what may be a member
}

// NewScanner gives a Scanner whose packets are at most maxBytes long (0 means
// MaxPacketBytes). A longer one is passed over as bytes that are no packet.
func NewScanner(r io.Reader, maxBytes int) *Scanner {
	if maxBytes <= 0 || maxBytes > MaxPacketBytes {
		maxBytes = MaxPacketBytes
	}
	return &Scanner{r: r, maxBytes: maxBytes, buf: make([]byte, 4096)}
}

// Next gives the next packet, valid until the following call; one that was
// packed is given unpacked. It returns io.EOF at the end of the stream,
// io.ErrUnexpectedEOF in the middle of a packet, else the reader's error.
func (s *Scanner) Next() ([]byte, error) {
	for {
		s.resync()
		if s.end > s.start && s.buf[s.start] == gzipMagic[0] {
			if b := s.nextMember(); b != nil {
				return b, nil
			}
			continue
		}
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
			if s.err == io.EOF && (s.end > s.start || s.cut) {
				s.start, s.cut = s.end, false
				return nil, io.ErrUnexpectedEOF
			}
			return nil, s.err
		}
		s.fill(max(n, headerBytes))
	}
}

// maxBadMembers bounds what it costs to look for gzip in a stream that has none.
const maxBadMembers = 16

// nextMember unpacks the gzip member that begins here; nil where none does, and
// then the search goes on behind its first byte.
func (s *Scanner) nextMember() []byte {
	s.member = member{s: s}
	err := s.inflate()
	if err == nil && len(s.plain) <= s.maxBytes {
		s.start += s.member.at
		return s.plain
	}
	s.cut = s.cut || errors.Is(err, errCut)
	s.badMembers++
	s.skip(1)
	return nil
}

// inflate unpacks one member into s.plain.
func (s *Scanner) inflate() error {
	if s.unzip == nil {
		s.unzip = new(gzip.Reader)
	}
	if err := s.unzip.Reset(&s.member); err != nil {
		return err
	}
	s.unzip.Multistream(false)
	s.plain = s.plain[:0]
	for {
		if len(s.plain) > s.maxBytes {
			return ErrTooLarge
		}
		if len(s.plain) == cap(s.plain) {
			s.plain = append(s.plain, make([]byte, max(len(s.plain), 2048))...)[:len(s.plain)]
		}
		n, err := s.unzip.Read(s.plain[len(s.plain):cap(s.plain)])
		s.plain = s.plain[:len(s.plain)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// errCut is that the stream ends in a member.
var errCut = errors.New("hep: stream ends in a compressed packet")

// member reads on from where a member begins, without taking from the scanner
// what it reads: it may be no member. It gives single bytes, so that nothing
// behind the member is read.
type member struct {
	s  *Scanner
	at int // bytes that were read
}

func (m *member) ReadByte() (byte, error) {
	for m.s.start+m.at == m.s.end {
		switch {
		case m.s.err != nil:
			return 0, errCut
		case m.at == MaxPacketBytes:
			return 0, ErrTooLarge
		}
		m.s.fill(m.at + 1)
	}
	m.at++
	return m.s.buf[m.s.start+m.at-1], nil
}

func (m *member) Read(b []byte) (int, error) {
	for i := range b {
		c, err := m.ReadByte()
		if err != nil {
			return i, err
		}
		b[i] = c
	}
	return len(b), nil
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

// Reads is how often the scanner has read from the stream.
func (s *Scanner) Reads() int64 { return s.reads }

func (s *Scanner) skip(n int) {
	s.start += n
	s.skipped += int64(n)
}

// What follows the first byte of a packet, and gzip's beginning (RFC 1952 §2.3).
var (
	magicTail = []byte("EP3")
	gzipMagic = []byte{0x1f, 0x8b, 8}
)

// resync moves to where the next packet begins, or may be beginning.
func (s *Scanner) resync() {
	for s.end > s.start {
		b := s.buf[s.start:s.end]
		switch b[0] {
		case 'H', 'E':
			if begins(b[1:], magicTail) {
				return
			}
		case gzipMagic[0]:
			if s.badMembers < maxBadMembers && begins(b[1:], gzipMagic[1:]) {
				return
			}
		}
		next := bytes.IndexAny(b[1:], "HE\x1f")
		if next < 0 {
			s.skip(len(b))
			return
		}
		s.skip(1 + next)
	}
}

// begins compares as far as there are bytes.
func begins(b, magic []byte) bool {
	n := min(len(b), len(magic))
	return bytes.Equal(b[:n], magic[:n])
}

// fill reads more, with room for a packet of n bytes.
func (s *Scanner) fill(n int) {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	// Where a read filled the buffer there was more: a larger one saves reads.
	if n > len(s.buf) || s.full && len(s.buf) < MaxPacketBytes {
		grown := make([]byte, min(max(n, 4*len(s.buf)), MaxPacketBytes))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	// A reader may give nothing without an error, but not for ever.
	for range 100 {
		m, err := s.r.Read(s.buf[s.end:])
		s.reads++
		s.end += m
		s.full = s.end == len(s.buf)
		if err != nil {
			s.err = err
		}
		if m > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}
