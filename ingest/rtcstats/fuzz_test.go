package rtcstats

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/telemetry"
)

// check holds what no message may break: bounds are kept, a report is JSON.
func check(t *testing.T, d *Decoder, e Event) {
	t.Helper()
	if d.room.left < 0 || d.room.used < 0 {
		t.Fatalf("room: %d left, %d used", d.room.left, d.room.used)
	}
	size := 0
	for _, p := range d.peers {
		if len(p.base.index) != len(p.base.reports) {
			t.Fatalf("%d reports, %d ids", len(p.base.reports), len(p.base.index))
		}
		for i := range p.base.reports {
			size += p.base.reports[i].size()
		}
	}
	if size != d.room.used {
		t.Fatalf("%d bytes are kept, %d are counted", size, d.room.used)
	}
	if e.Kind != Stats {
		return
	}
	if !json.Valid(e.Report) {
		t.Fatalf("no JSON: %s", e.Report)
	}
	var stats webrtc.Stats
	if err := stats.Read(e.Report); err == nil {
		stats.Sample(&telemetry.WebRTCSample{})
	}
}

// fuzzed sends the lines of data to a Decoder, as a client its messages.
func fuzzed(f *testing.F, dialect Dialect, jitsi bool) {
	f.Fuzz(func(t *testing.T, data []byte) {
		all := NewBudget(64 << 10)
		d := NewDecoder(dialect, Limits{StateBytes: 32 << 10, Total: all})
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
			}
			if err != nil {
				if Reason(err) == "other" {
					t.Fatalf("an error without reason: %v", err)
				}
				continue
			}
			check(t, d, e)
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
			if l.Kind == Stats && !json.Valid(l.Report) {
				t.Fatalf("no JSON: %s", l.Report)
			}
			return nil
		})
		if err == nil && damage.Lines > lines {
			t.Fatalf("%d of %d lines cannot be read", damage.Lines, lines)
		}
	})
}
