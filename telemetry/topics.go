package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// Topics of the bus. Telemetry, registrations, outcomes and checkpoints have
// the same number of partitions.
const (
	TopicTelemetry     = "earshot.telemetry.v1"     // Batch, by company + call key
	TopicRegistrations = "earshot.registrations.v1" // Batch, by company + address-of-record
	TopicOutcomes      = "earshot.outcomes.v1"      // Outcome, key as its input
	TopicCheckpoints   = "earshot.checkpoints.v1"   // CheckpointEntry, compacted
	TopicBindings      = "earshot.bindings.v2"      // Batch of Binding, by ingester; kept for a day
	TopicDirectory     = "earshot.directory.v1"     // DirectoryRecord, by DirectoryKey; one partition, compacted
	TopicDeadLetter    = "earshot.deadletter.v1"    // the raw input, reason in headers
)

// Key decides the partition: all records of one call (or of one
// address-of-record) of one company have the same key, hence one partition and
// one order. Outcomes carry it as the key of their Kafka record; a Batch holds
// records of many keys and has none.
func Key(company, subject string) []byte {
	k := make([]byte, 0, len(company)+1+len(subject))
	k = append(k, company...)
	k = append(k, 0)
	return append(k, subject...)
}

// DirectoryKey is the key of what is told of an object of the directory.
func DirectoryKey(company, kind, id string) []byte {
	return append(append(Key(company, kind), 0), id...)
}

// ParseDirectoryKey takes a DirectoryKey apart.
func ParseDirectoryKey(key []byte) (company, kind, id string, ok bool) {
	company, rest, one := strings.Cut(string(key), "\x00")
	kind, id, two := strings.Cut(rest, "\x00")
	return company, kind, id, one && two
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
//
// The hash is XXH3-128: fast and stable, and no cryptography. Whoever wants two
// observations with one id can make them, and loses one of his own.
func EventID(company, timeline, source string, atMicros int64, payload ...[]byte) []byte {
	h := EventHash{}
	h.Begin(company, timeline, source, atMicros)
	for _, p := range payload {
		h.Field(p)
	}
	return h.Append(nil)
}

// EventHash makes event ids one after the other with one buffer.
type EventHash struct{ buf []byte }

// Begin starts the id of the next observation.
func (h *EventHash) Begin(company, timeline, source string, atMicros int64) {
	h.buf = h.buf[:0]
	h.Text(company)
	h.Text(timeline)
	h.Text(source)
	h.buf = binary.BigEndian.AppendUint64(h.buf, uint64(atMicros))
}

// Field adds one part of the payload; parts have borders.
func (h *EventHash) Field(b []byte) {
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(b)))
	h.buf = append(h.buf, b...)
}

// Text adds one part of the payload as Field does.
func (h *EventHash) Text(s string) {
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(s)))
	h.buf = append(h.buf, s...)
}

// Append appends the id, 16 bytes, to dst.
func (h *EventHash) Append(dst []byte) []byte {
	sum := xxh3.Hash128(h.buf).Bytes()
	return append(dst, sum[:]...)
}

// Time gives the instant of Unix microseconds; the zero time for 0.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// MomentTypes are the types of a CallMoment, in the order of a call's life.
var MomentTypes = []string{
	"started", "ringing", "connected", "held", "resumed", "muted", "unmuted",
	"transferred", "ended", "rejected", "rated", "recording_changed", "verdict",
}
