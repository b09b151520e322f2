// Package hep reads and writes the Homer Encapsulation Protocol: versions 1, 2
// and 3 (also called EEP), one packet per datagram or framed in a TCP stream.
package hep

import (
	"errors"
	"io"
	"net/netip"
	"time"
)

// Payload types of chunk 0x0b. Senders disagree about some of them: where it
// matters the payload itself decides.
const (
	TypeSIP      = 1
	TypeSDP      = 3
	TypeRTP      = 4
	TypeRTCPJSON = 5
	TypeMOS      = 34
	TypeVQ       = 35
	TypeSIPJSON  = 50
	TypeRTCP     = 58
	TypeCDR      = 60
	TypeNG       = 61
	TypeLog      = 100
)

// IP protocol numbers of Packet.Protocol.
const (
	ProtocolTCP  = 6
	ProtocolUDP  = 17
	ProtocolSCTP = 132
)

// Reasons why a packet cannot be read. Parse returns one of them, wrapped or bare.
var (
	ErrNotHEP     = errors.New("hep: no HEP magic or version")
	ErrTruncated  = errors.New("hep: shorter than its length says")
	ErrChunk      = errors.New("hep: chunk length out of bounds")
	ErrFamily     = errors.New("hep: IP family unknown or without addresses")
	ErrCompressed = errors.New("hep: compressed payload cannot be read")
	ErrTooLarge   = errors.New("hep: packet larger than the bound")
	ErrNoPayload  = errors.New("hep: no payload")
)

// Packet is one HEP packet. The byte slices point into the parsed buffer (into
// a fresh one if it was compressed) and are valid as long as that is.
type Packet struct {
	Version       uint8 // 1, 2 or 3
	Family        uint8 // 2 IPv4, 10 IPv6
	Protocol      uint8 // IP protocol number
	TCPFlags      uint8
	TOS           uint8
	Src, Dst      netip.AddrPort
	Time          time.Time // capture time; zero where the packet has none (HEP 1)
	PayloadType   uint8
	AgentID       uint32
	AgentName     []byte
	AuthKey       []byte
	CorrelationID []byte
	GroupID       []byte
	VLAN          uint16
	KeepAlive     uint16 // seconds
	MOS           uint16 // ×100 by some agents
	Payload       []byte
}

// Parse reads one HEP packet of any version into p, which it resets first.
func Parse(b []byte, p *Packet) error { *p = Packet{}; return ErrNotHEP }

// Append appends p to dst as a HEP 3 packet and returns the extended buffer.
func Append(dst []byte, p *Packet) []byte { return dst }

// IsHEP reports whether b looks like a HEP packet of any version, gzip included.
func IsHEP(b []byte) bool { return false }

// Scanner cuts a TCP stream into HEP 3 packets by their total length. After
// bytes that are no packet it looks for the next magic.
type Scanner struct{ skipped int64 }

// NewScanner gives a Scanner whose packets are at most maxBytes long.
func NewScanner(r io.Reader, maxBytes int) *Scanner { return &Scanner{} }

// Next gives the next packet, valid until the following call. It returns
// io.EOF at the end of the stream, io.ErrUnexpectedEOF in the middle of a packet.
func (s *Scanner) Next() ([]byte, error) { return nil, io.EOF }

// Skipped is the number of bytes that belonged to no packet.
func (s *Scanner) Skipped() int64 { return s.skipped }
