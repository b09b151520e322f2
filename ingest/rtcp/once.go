package rtcp

import "github.com/earshot/earshot/telemetry"

// Decode reads one packet with a Decoder of its own.
func Decode(b []byte) (*telemetry.RTCPPacket, error) { return new(Decoder).Decode(b) }

// DecodeJSON reads one document with a Decoder of its own.
func DecodeJSON(b []byte) (*telemetry.RTCPPacket, Profile, error) { return new(Decoder).DecodeJSON(b) }
