package calls_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// Audio that dies and comes back, of which RTCP alone tells and no report counts a
// packet as lost.
func TestGapsThatNoReportCounts(t *testing.T) {
	talking := reporting{packets: 250}
	heals := func(s *script) { s.received[0] = s.sent[0] }
	lost, none := reporting{packets: 250, blackout: true}, reporting{silent: true}
	// The receiver reports 2 s after the sender.
	inTurn := func(s *script, fromS, toS float64, sender reporting) {
		for at := fromS; at <= toS; at += 5 {
			s.rtcp(at, sender, none)
			s.rtcp(at+2, none, talking)
		}
	}
	tests := []struct {
		name         string
		script       func(*script)
		state        string
		confidence   float64
		since, until float64
		says         string
	}{
		{"one report in which the sequence stood still", func(s *script) {
			inTurn(s, 6, 21, talking)
			inTurn(s, 26, 26, lost)
			s.rtcp(31, lost, none)
			heals(s)
			inTurn(s, 36, 61, talking)
		}, "confirmed", telemetry.ConfidenceGap, 23, 28, "2 of its RTCP reports"},
		{"a sender that pauses", func(s *script) {
			inTurn(s, 6, 21, talking)
			inTurn(s, 26, 36, reporting{})
			inTurn(s, 41, 41, reporting{packets: 60, blackout: true}) // not there yet
			heals(s)
			inTurn(s, 46, 61, talking)
		}, "none", telemetry.ConfidenceAlive, 0, 0, ""},
		{"reports without a block, then with one", func(s *script) {
			s.rtcp(6, reporting{packets: 300, blackout: true}, talking)
			s.rtcp(11, reporting{packets: 250, blackout: true}, talking)
			heals(s)
			s.talk(16, 61)
		}, "confirmed", telemetry.ConfidenceGap, 0, 11, "has no block about the target"},
		{"blocks that come late, and not with sender reports", func(s *script) {
			for at := 6.0; at <= 11; at += 5 {
				s.rtcp(at, reporting{packets: 250}, reporting{packets: 250, noBlock: true})
			}
			s.sent[1] = 0 // from now on its reports are receiver reports
			s.rtcp(16, talking, reporting{})
			s.rtcp(21, talking, reporting{})
		}, "none", telemetry.ConfidenceAlive, 0, 0, ""},
		{"all of one party stops before the end", func(s *script) {
			s.talk(6, 41)
			s.rtcp(46, reporting{packets: 250, silent: true, blackout: true}, talking)
			s.rtcp(51, reporting{packets: 250, silent: true, blackout: true}, talking)
		}, "suspected", telemetry.ConfidenceSilent, 41, 52, "audio had stopped before"},
		{"the reports of one party stop, its audio does not", func(s *script) {
			s.talk(6, 41)
			s.rtcp(46, reporting{packets: 250, silent: true}, talking)
			s.rtcp(51, reporting{packets: 250, silent: true}, talking)
		}, "none", telemetry.ConfidenceAlive, 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			s.answered()
			tt.script(s)
			s.bye(float64(s.records[len(s.records)-1].AtUs-startUs)/1e6+1, 0)
			c := last(t, s.run(20))
			o := c.Verdict.OneWayAudio
			if o.State != tt.state || tt.confidence != 0 && o.Confidence != tt.confidence {
				t.Fatalf("one-way %v\n%s", o, explain(c))
			}
			if tt.says == "" {
				return
			}
			since, until := float64(o.SinceUs-startUs)/1e6, float64(o.UntilUs-startUs)/1e6
			if o.Direction != "target_to_contact" || since < tt.since-1 || since > tt.since+1.5 || until < tt.until-1 || until > tt.until+1 || !strings.Contains(explain(c), tt.says) {
				t.Errorf("dead from %.1f to %.1f s\n%s", since, until, explain(c))
			}
		})
	}
}

// Every recorded call of which signalling and RTCP alone are known, as agents bring
// them that send no RTP: none is said to be one-way that was not, and what was dead for
// ten seconds is found where RTCP tells of it.
func TestOneWayWithoutRTP(t *testing.T) {
	const recorded = "../../benchmarks/verdicts/calls"
	wires, err := filepath.Glob(filepath.Join(recorded, "*", "wire.pcap.gz"))
	if err != nil || len(wires) == 0 {
		t.Fatalf("%d recordings: %v", len(wires), err)
	}
	found := map[string]bool{}
	for _, wire := range wires {
		dir := filepath.Dir(wire)
		var truth struct {
			Expect struct {
				OneWay string              `json:"one_way"`
				MayBe  map[string][]string `json:"may_be"`
			} `json:"expect"`
		}
		text, err := os.ReadFile(filepath.Join(dir, "truth.json"))
		if err == nil {
			err = json.Unmarshal(text, &truth)
		}
		if err != nil {
			t.Fatal(err)
		}
		without := slices.DeleteFunc(records(t, wire), func(r *telemetry.Record) bool { return r.GetRtp() != nil })
		state := "unknown"
		for _, o := range play(t, newMachine(), without) {
			if v := o.GetCall().GetVerdict(); v.GetOneWayAudio() != nil && v.OneWayAudio.State != "unknown" {
				state = v.OneWayAudio.State
			}
		}
		said := state == "confirmed" || state == "suspected"
		if said && truth.Expect.OneWay == "none" && !slices.Contains(truth.Expect.MayBe["one_way"], state) {
			t.Errorf("%s is no one-way call, and said to be: %s", filepath.Base(dir), state)
		}
		found[filepath.Base(dir)] = said
	}
	for _, name := range []string{
		"rtc-oneway-ab-callee-witness", "rtc-oneway-ab-heals", "rtc-oneway-ba-10s-pcma", "rtc-oneway-ab-everything", "rtc-oneway-ab-media", "sip-oneway-ab-heals-pcmu",
	} {
		if !found[name] {
			t.Errorf("%s is one-way and was not found", name)
		}
	}
}
