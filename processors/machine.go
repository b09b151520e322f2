// Package processors turns telemetry into outcomes: it reads the telemetry and
// registrations topics, gives every record to the state machine of its
// partition and writes what the machine concluded, each effect exactly once.
package processors

import "github.com/earshot/earshot/telemetry"

// Emit hands over one outcome. The machine sets Company, CallId, Timeline,
// ReceivedUs and the body; the runtime sets Seq. The outcome must not be
// changed afterwards.
type Emit func(*telemetry.Outcome)

// Machine is the state of one partition of one topic: a pure function of the
// records it was given. It uses no clock, no randomness and no I/O, and emits
// in an order that depends on nothing else (never on the order of a map), so
// that a replay gives the same outcomes with the same numbers. One goroutine at
// a time calls it.
type Machine interface {
	// Apply takes one observation. An error means that the record is poison:
	// it goes to the dead letters, and the machine must be as if it had never
	// seen it.
	Apply(r *telemetry.Record, emit Emit) error
	// Advance says that event time of the timeline has reached nowUs (Unix
	// microseconds). It comes at most once per second of event time, and nowUs
	// never falls on one timeline.
	Advance(timeline string, nowUs int64, emit Emit)
	// End says that the timeline is over at atUs: what is open on it is
	// finalised. The live timeline ("") never ends.
	End(timeline string, atUs int64, emit Emit)
	// Checkpoint puts every entry of state that changed since the last call of
	// Checkpoint or since the Restores; a nil state deletes the entry. The
	// runtime keeps the bytes. Keys are at most 1 KiB and any byte is allowed.
	Checkpoint(put func(key string, state []byte))
	// Restore takes back one entry, on a new machine, before any other call, in
	// any order.
	Restore(key string, state []byte) error
}
