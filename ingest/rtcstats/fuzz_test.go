package rtcstats

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
)

// check holds what no message may break: bounds are kept.
func check(t *testing.T, d *Decoder) {
	t.Helper()
	if d.room.left < 0 || d.room.used < 0 {
		t.Fatalf("room: %d left, %d used", d.room.left, d.room.used)
	}
	size := 0
	for _, p := range d.peers {
		size += p.stats.Used()
	}
	if size != d.room.used {
		t.Fatalf("%d bytes are kept, %d are counted", size, d.room.used)
	}
}

// same compares what two decoders make of a message.
func same(t *testing.T, e Event, err error) func(Event, error) {
	return func(other Event, otherErr error) {
		if Reason(err) != Reason(otherErr) || e.Kind != other.Kind || e.Method != other.Method || e.PC != other.PC || e.AtUs != other.AtUs {
			t.Fatalf("in one pass %+v %v, in several %+v %v", e, err, other, otherErr)
		}
		if e.Kind == Stats && !proto.Equal(given(&e), given(&other)) {
			t.Fatalf("in one pass %v, in several %v", given(&e), given(&other))
		}
	}
}

// fuzzed sends the lines of data to a Decoder, as a client its messages.
func fuzzed(f *testing.F, dialect Dialect, jitsi bool) {
	f.Fuzz(func(t *testing.T, data []byte) {
		all := NewBudget(64 << 10)
		d := NewDecoder(dialect, Limits{StateBytes: 32 << 10, Total: all})
		// With white space before it no message is read in one pass.
		slow := NewDecoder(dialect, Limits{StateBytes: 32 << 10})
		seen := int64(0)
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			var e Event
			var err error
			if jitsi {
				if e, err = d.DecodeJitsi(line, seen); err == nil && e.Seq > 0 {
					if e.Seq <= seen {
						t.Fatalf("sequence number %d after %d", e.Seq, seen)
					}
					seen = e.Seq
				}
			} else {
				e, err = d.Decode(line)
				same(t, e, err)(slow.Decode(append([]byte(" "), line...)))
			}
			if err != nil {
				if Reason(err) == "other" {
					t.Fatalf("an error without reason: %v", err)
				}
				continue
			}
			check(t, d)
		}
		d.Close()
		if all.Used() != 0 {
			t.Fatalf("%d bytes are not given back", all.Used())
		}
	})
}

func FuzzNumbered(f *testing.F) { fuzzed(f, Numbered, false) }
func FuzzNamed(f *testing.F)    { fuzzed(f, Named, false) }
func FuzzJitsi(f *testing.F)    { fuzzed(f, Jitsi, true) }

func FuzzDump(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := bytes.Count(data, []byte("\n")) + 1
		damage, err := ReadDump(bytes.NewReader(data), Limits{StateBytes: 32 << 10}, func(l *Line) error {
			if l.Number < 1 || l.Number > lines {
				t.Fatalf("line %d of %d", l.Number, lines)
			}
			if l.Kind == Stats {
				given(&l.Event)
			}
			return nil
		})
		if err == nil && damage.Lines > lines {
			t.Fatalf("%d of %d lines cannot be read", damage.Lines, lines)
		}
	})
}
