package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"time"
)

// Topics of the bus. Telemetry, registrations, outcomes and checkpoints have
// the same number of partitions.
const (
	TopicTelemetry     = "earshot.telemetry.v1"     // Record, key: company + call key
	TopicRegistrations = "earshot.registrations.v1" // Record, key: company + address-of-record
	TopicOutcomes      = "earshot.outcomes.v1"      // Outcome, key as its input
	TopicCheckpoints   = "earshot.checkpoints.v1"   // CheckpointEntry, compacted
	TopicBindings      = "earshot.bindings.v1"      // Binding, compacted
	TopicDeadLetter    = "earshot.deadletter.v1"    // the raw input, reason in headers
)

// Key is the Kafka record key: all records of one call (or of one
// address-of-record) of one company have the same key, hence one partition and
// one order.
func Key(company, subject string) []byte {
	k := make([]byte, 0, len(company)+1+len(subject))
	k = append(k, company...)
	k = append(k, 0)
	return append(k, subject...)
}

var safeID = regexp.MustCompile(`^[A-Za-z0-9._~@:+\-]{1,200}$`)

// CallID is the public id of a call: its key where that can stand in a path (a
// SIP Call-ID nearly always can), else "h" and 32 hex digits of its hash.
func CallID(callKey string) string {
	if safeID.MatchString(callKey) && callKey != "." && callKey != ".." {
		return callKey
	}
	sum := sha256.Sum256([]byte(callKey))
	return "h" + hex.EncodeToString(sum[:16])
}

// EventID is the deterministic id of an observation: 128 bits over company,
// timeline, source, capture time and payload. A resend of the same observation
// has the same id.
func EventID(company, timeline, source string, atMicros int64, payload ...[]byte) []byte {
	h := sha256.New()
	var head [8]byte
	field := func(p []byte) {
		binary.BigEndian.PutUint32(head[:4], uint32(len(p)))
		h.Write(head[:4])
		h.Write(p)
	}
	for _, s := range []string{company, timeline, source} {
		field([]byte(s))
	}
	binary.BigEndian.PutUint64(head[:], uint64(atMicros))
	h.Write(head[:])
	for _, p := range payload {
		field(p)
	}
	return h.Sum(nil)[:16]
}

// Time gives the instant of Unix microseconds; the zero time for 0.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
