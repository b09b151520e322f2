// Package rtcp reads RTCP (RFC 3550 §6, RFC 3611, RFC 5506) as it is on the
// wire and as capture agents turn it into JSON.
package rtcp

import (
	"errors"

	"github.com/earshot/earshot/telemetry"
)

// Reasons why a packet cannot be read.
var (
	ErrNotRTCP   = errors.New("rtcp: no RTCP header")
	ErrTruncated = errors.New("rtcp: shorter than its length says")
	ErrMalformed = errors.New("rtcp: block out of bounds")
	ErrEncrypted = errors.New("rtcp: encrypted (SRTCP)")
	ErrJSON      = errors.New("rtcp: JSON is no RTCP report")
)

// Profile names the sender of an RTCP JSON document, known by its habits.
type Profile uint8

// Senders of RTCP JSON.
const (
	ProfileUnknown   Profile = iota
	ProfileHeplify           // NTP in raw words; loss unsigned
	ProfileRTPEngine         // NTP in raw words; one document per compound
	ProfileAsterisk          // NTP as strings, Unix seconds and microseconds
	ProfileHepipe            // SSRCs in hex; counters are deltas of the interval
	ProfileCaptagent         // only the first block; loss signed
)

// IsRTCP reports whether b is RTCP rather than RTP or anything else
// (RFC 5761 §4: version 2, packet type 192–223).
func IsRTCP(b []byte) bool { return false }

// Decode reads a compound or reduced-size RTCP packet. Src and Dst are the caller's to set.
// With ErrEncrypted the packet returned has only SenderSsrc.
func Decode(b []byte) (*telemetry.RTCPPacket, error) { return nil, ErrNotRTCP }

// DecodeJSON reads the RTCP JSON of HEP payload type 5.
func DecodeJSON(b []byte) (*telemetry.RTCPPacket, Profile, error) {
	return nil, ProfileUnknown, ErrJSON
}
