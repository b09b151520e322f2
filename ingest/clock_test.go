package ingest

import (
	"testing"
	"time"
)

func TestAgentClock(t *testing.T) {
	const s, ms = int64(1_000_000), int64(1_000)
	type packet struct{ capture, received int64 } // µs from an arbitrary beginning
	const b = 2_000_000_000 * s
	for name, tc := range map[string]struct {
		packets []packet
		want    []Standing
	}{
		"on time": {[]packet{{b, b + 3*ms}, {b + s, b + s - ms}, {b + 2*s, b + 4*s}}, []Standing{{}, {}, {}}},
		// The first packet was under way longer than the second: that one tells more.
		"off by five minutes": {
			[]packet{{b, b + 300*s + 50*ms}, {b + s, b + 301*s + 10*ms}, {b + 2*s, b + 302*s + 90*ms}},
			[]Standing{{OffsetUs: 300*s + 50*ms}, {OffsetUs: 300*s + 10*ms}, {OffsetUs: 300*s + 10*ms}}},
		"ahead": {[]packet{{b + 60*s, b}, {b + 61*s, b + s}}, []Standing{{OffsetUs: -60 * s}, {OffsetUs: -60 * s}}},
		// Held up by a broken connection: the clock is right.
		"held up": {[]packet{{b, b}, {b + s, b + 30*s}, {b + 2*s, b + 30*s}, {b + 31*s, b + 31*s}}, []Standing{{}, {}, {}, {}}},
		"set forward": {[]packet{{b, b}, {b + 60*s, b + s}, {b + 61*s, b + 2*s}},
			[]Standing{{}, {OffsetUs: -59 * s}, {OffsetUs: -59 * s}}},
		"set back": {[]packet{{b, b}, {b - 59*s, b + s}, {b - 28*s, b + 32*s}, {b + 2*s, b + 62*s}, {b + 3*s, b + 63*s}},
			[]Standing{{}, {}, {}, {OffsetUs: 60 * s}, {OffsetUs: 60 * s}}},
		"replay": {
			[]packet{{b - 9000*s, b}, {b - 8999*s, b}, {b - 8000*s, b + s}},
			[]Standing{{Replay: true, New: true}, {Replay: true}, {Replay: true}}},
		"two captures, one after the other": {
			[]packet{{b - 9000*s, b}, {b - 8999*s, b}, {b - 90000*s, b}, {b - 89999*s, b}},
			[]Standing{{Replay: true, New: true}, {Replay: true}, {Replay: true, New: true}, {Replay: true}}},
		"replay, silence, then live": {
			[]packet{{b - 9000*s, b}, {b + 11*s, b + 11*s}}, []Standing{{Replay: true, New: true}, {}}},
		"live, then replay": {
			[]packet{{b, b}, {b - 9000*s, b + s}}, []Standing{{}, {Replay: true, New: true}}},
	} {
		c := agentClock{cfg: DefaultConfig().Clock}
		for i, p := range tc.packets {
			if got := c.judge(p.capture, p.received); got != tc.want[i] {
				t.Errorf("%s: packet %d: %+v, want %+v", name, i, got, tc.want[i])
			}
		}
	}
	if DefaultConfig().Clock.Tolerance != 2*time.Second {
		t.Error("the cases stand for a tolerance of 2 s")
	}
}
