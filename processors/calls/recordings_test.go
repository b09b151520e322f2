package calls_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

const (
	captures = "../../testdata/captures"
	stats    = "../../testdata/webrtc"
)

func newMachine() *calls.Machine { return calls.New(calls.DefaultRules()) }

// records reads a recording as the importer does.
func records(t testing.TB, elem ...string) []*telemetry.Record {
	t.Helper()
	var out []*telemetry.Record
	_, err := ingest.ReadFile(filepath.Join(elem...), "acme", nil, 1_800_000_000_000_000, func(r *telemetry.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// play gives records to a machine as the runtime does: time advances once per
// second of event time, and the end closes the timeline.
func play(t testing.TB, m *calls.Machine, records []*telemetry.Record) []*telemetry.Outcome {
	t.Helper()
	var out []*telemetry.Outcome
	emit := func(o *telemetry.Outcome) { out = append(out, o) }
	var clock int64
	for _, r := range records {
		if r.GetEnd() != nil {
			m.End(r.Timeline.GetId(), r.AtUs, emit)
			continue
		}
		if r.GetSip().GetMethod() == "REGISTER" {
			continue
		}
		if err := m.Apply(r, emit); err != nil {
			t.Fatalf("Apply: %v", err)
		}
		if r.AtUs/1_000_000 > clock {
			clock = r.AtUs / 1_000_000
			m.Advance(r.Timeline.GetId(), r.AtUs, emit)
		}
	}
	return out
}

// last gives the newest version of the only call.
func last(t testing.TB, out []*telemetry.Outcome) *telemetry.Call {
	t.Helper()
	var c *telemetry.Call
	for _, o := range out {
		if o.GetCall() != nil {
			c = o.GetCall()
		}
	}
	if c == nil {
		t.Fatal("no call came out")
	}
	return c
}

func samples(out []*telemetry.Outcome) []*telemetry.Sample {
	var s []*telemetry.Sample
	for _, o := range out {
		if o.GetSample() != nil {
			s = append(s, o.GetSample())
		}
	}
	return s
}

// explain prints a verdict as a reader sees it.
func explain(c *telemetry.Call) string {
	var b strings.Builder
	v := c.Verdict
	fmt.Fprintf(&b, "%s %s: overall %s, fault %s\n", c.State, c.Description, v.Overall, v.FaultSide)
	fmt.Fprintf(&b, "  delay %v\n  jitter %v\n  loss %v\n  one-way %v\n  mos %v\n", v.Delay, v.Jitter, v.Loss, v.OneWayAudio, v.Mos)
	for _, e := range v.Evidence {
		fmt.Fprintf(&b, "  - [%s %s %s] %s\n", e.Kind, e.Side, e.Direction, e.Text)
	}
	for _, s := range v.Sources {
		fmt.Fprintf(&b, "  source %s %s %d\n", s.Kind, s.Side, s.Samples)
	}
	return b.String()
}

// expectation is what a recording's truth.json supports.
type expectation struct {
	file    []string
	overall string
	fault   string
	// Round trip in ms: the percentile that is compared and its bounds.
	rttMin, rttP50   [2]float64
	delay            string
	lossTC, lossCT   [2]float64 // percent, target to contact and back
	noLossTC         bool       // nothing may be claimed
	jitter           string
	oneWay           string
	direction        string
	confidence       float64
	sinceUs          [2]int64
	evidence         []string // kinds that must be there
	noEvidence       []string
	sources          []string // kind and side
	mosModel         string
	mosBelow, mosMin float64
}

var (
	anything = [2]float64{-1, -1}
	noLoss   = [2]float64{0, 0}
)

func around(v, tolerance float64) [2]float64 { return [2]float64{v - tolerance, v + tolerance} }

func TestRecordings(t *testing.T) {
	capture := func(name string) []string { return []string{captures, name, "mid.pcap"} }
	poll := func(name string) []string { return []string{stats, name + ".jsonl.gz"} }
	// baresip puts X-RTP-Stat into BYE and its 200.
	rtcpBoth := []string{"rtcp target", "sip target", "rtcp contact", "sip contact", "rtp server", "sip server"}
	statsBoth := []string{"webrtc target", "webrtc contact"}
	tests := map[string]expectation{
		"clean": { // delays 10 and 30 ms each way
			file: capture("clean_twoway"), overall: "good", fault: "unknown",
			rttMin: around(80, 5), rttP50: around(80, 5), delay: "good", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", evidence: []string{"audio_both_ways", "rtt", "segment"}, sources: rtcpBoth, mosModel: "G.107", mosMin: 4.2, mosBelow: 4.5,
		},
		"loss and jitter at the capture point": { // 20 and 60 ms; 105 of 2042 lost after the capture point
			file: capture("loss5_jitter40"), overall: "unacceptable", fault: "contact",
			rttMin: around(160, 5), rttP50: [2]float64{160, 200}, delay: "acceptable", lossTC: around(5.14, 0.3), lossCT: around(1.02, 0.3), jitter: "good",
			oneWay: "none", evidence: []string{"loss"}, sources: rtcpBoth, mosModel: "G.107", mosBelow: 4,
		},
		"one way from the start": { // first_rtp 1795333135.710
			file: capture("oneway_AB_from_start"), overall: "unacceptable", fault: "contact",
			rttMin: anything, rttP50: anything, delay: "unknown", noLossTC: true, lossCT: noLoss, jitter: "good",
			oneWay: "confirmed", direction: "target_to_contact", confidence: 0.95, sinceUs: [2]int64{1795333135_700000, 1795333141_700000},
			evidence: []string{"never_received"}, noEvidence: []string{"audio_both_ways"}, sources: rtcpBoth,
		},
		"hold": {
			file: capture("hold_12s_resume_24s"), overall: "good", fault: "unknown",
			rttMin: around(80, 5), rttP50: around(80, 5), delay: "good", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", evidence: []string{"hold"}, sources: rtcpBoth, mosModel: "G.107", mosMin: 4.2, mosBelow: 4.5,
		},
		"too short to tell": {
			file: capture("short_4s_oneway_AB"), overall: "unknown", fault: "unknown",
			rttMin: anything, rttP50: anything, delay: "unknown", lossTC: noLoss, lossCT: noLoss, jitter: "unknown",
			oneWay: "unknown", evidence: []string{"too_short"}, noEvidence: []string{"audio_both_ways", "direction_unknown"}, sources: []string{"rtp server", "sip server"},
		},
		"getStats clean": {
			file: poll("w1_clean"), overall: "good", fault: "unknown",
			rttMin: around(40, 5), rttP50: around(40, 5), delay: "good", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", evidence: []string{"audio_both_ways"}, sources: statsBoth, mosModel: "G.107.2", mosMin: 4.2, mosBelow: 4.5,
		},
		"getStats with loss and jitter": { // 126 of 1963 and 20 of 1957
			file: poll("w2_loss_jitter"), overall: "unacceptable", fault: "network",
			rttMin: around(120, 5), rttP50: [2]float64{120, 185}, delay: "acceptable", lossTC: around(6.42, 0.3), lossCT: around(1.02, 0.3), jitter: "unacceptable",
			oneWay: "none", evidence: []string{"loss", "jitter"}, sources: statsBoth, mosModel: "G.107.2", mosBelow: 3,
		},
		"getStats one way from the start": { // the first poll is 1.3 s into the call
			file: poll("w3_oneway_AB_start"), overall: "unacceptable", fault: "network",
			rttMin: around(60, 5), rttP50: around(60, 5), delay: "good", noLossTC: true, lossCT: noLoss, jitter: "good",
			oneWay: "confirmed", direction: "target_to_contact", confidence: 0.98, sinceUs: [2]int64{1795333421_900000, 1795333428_000000},
			evidence: []string{"not_received"}, noEvidence: []string{"audio_both_ways"}, sources: statsBoth, mosModel: "G.107.2", mosMin: 4, mosBelow: 4.5,
		},
		"muted": { // the source level still reads high
			file: poll("w5_mute_A"), overall: "good", fault: "unknown",
			rttMin: around(60, 5), rttP50: around(60, 5), delay: "good", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", evidence: []string{"muted_or_bridge"}, sources: statsBoth, mosModel: "G.107.2", mosMin: 4, mosBelow: 4.5,
		},
		"discontinuous transmission": {
			file: poll("w8_dtx_silence_A"), overall: "good", fault: "unknown",
			rttMin: around(60, 5), rttP50: around(60, 5), delay: "good", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", evidence: []string{"silent_payload"}, noEvidence: []string{"muted_or_bridge"}, sources: statsBoth, mosModel: "G.107.2", mosMin: 4, mosBelow: 4.5,
		},
		"long way": {
			file: poll("w9_rtt340"), overall: "unacceptable", fault: "network",
			rttMin: around(340, 5), rttP50: around(340, 5), delay: "unacceptable", lossTC: noLoss, lossCT: noLoss, jitter: "good",
			oneWay: "none", sources: statsBoth, mosModel: "G.107.2", mosMin: 3.5, mosBelow: 4.2,
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			c := last(t, play(t, newMachine(), records(t, want.file...)))
			want.check(t, c)
			if t.Failed() {
				t.Log(explain(c))
			}
		})
	}
}

func (want *expectation) check(t *testing.T, c *telemetry.Call) {
	t.Helper()
	v := c.Verdict
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	within := func(what string, got *float64, bounds [2]float64) {
		t.Helper()
		if bounds == anything {
			if got != nil {
				t.Errorf("%s is %v, want none", what, *got)
			}
			return
		}
		if got == nil || *got < bounds[0] || *got > bounds[1] {
			t.Errorf("%s is %v, want %v", what, got, bounds)
		}
	}
	equal("state", c.State, "ended")
	equal("overall", v.Overall, want.overall)
	equal("fault side", v.FaultSide, want.fault)
	equal("delay", v.Delay.Band, want.delay)
	equal("jitter", v.Jitter.Band, want.jitter)
	equal("one-way audio", v.OneWayAudio.State, want.oneWay)
	equal("direction", v.OneWayAudio.Direction, want.direction)
	equal("rules", v.Rules, calls.DefaultRules().For("default").Version)
	if !v.Final {
		t.Error("the verdict is not final")
	}
	var minimum, median *float64
	if r := v.Delay.RttMs; r != nil {
		minimum, median = &r.Min, &r.P50
	}
	within("least round trip", minimum, want.rttMin)
	within("median round trip", median, want.rttP50)
	if want.noLossTC {
		want.lossTC = anything
	}
	within("loss to the contact", v.Loss.TargetToContactPercent, want.lossTC)
	within("loss to the target", v.Loss.ContactToTargetPercent, want.lossCT)
	if want.confidence != 0 && v.OneWayAudio.Confidence != want.confidence {
		t.Errorf("confidence is %v, want %v", v.OneWayAudio.Confidence, want.confidence)
	}
	if s := v.OneWayAudio.SinceUs; s < want.sinceUs[0] || s > want.sinceUs[1] && want.sinceUs[1] != 0 {
		t.Errorf("first dead second is %d, want %v", s, want.sinceUs)
	}
	kinds := map[string]bool{}
	for _, e := range v.Evidence {
		kinds[e.Kind] = true
	}
	for _, k := range want.evidence {
		if !kinds[k] {
			t.Errorf("no evidence of kind %s", k)
		}
	}
	for _, k := range want.noEvidence {
		if kinds[k] {
			t.Errorf("evidence of kind %s", k)
		}
	}
	var sources []string
	for _, s := range v.Sources {
		sources = append(sources, s.Kind+" "+s.Side)
		if s.Samples == 0 {
			t.Errorf("source %s %s has no samples", s.Kind, s.Side)
		}
	}
	equal("sources", strings.Join(sources, ", "), strings.Join(want.sources, ", "))
	if want.mosModel == "" {
		if v.Mos != nil {
			t.Errorf("MOS is %v, want none", v.Mos)
		}
	} else if v.Mos.GetModel() != want.mosModel || v.Mos.GetAvg() < want.mosMin || v.Mos.GetAvg() > want.mosBelow {
		t.Errorf("MOS is %v, want %s in %v–%v", v.Mos, want.mosModel, want.mosMin, want.mosBelow)
	}
}

// TestOutcomesOfACapture counts what comes out: nothing twice, nothing missing.
func TestOutcomesOfACapture(t *testing.T) {
	in := records(t, captures, "clean_twoway", "mid.pcap")
	out := play(t, newMachine(), in)
	count := map[string]int{}
	version := uint32(0)
	for _, o := range out {
		if o.Company != "acme" || o.CallId != "519bce5e8727e02c" || !strings.HasPrefix(o.Timeline, "import:") || o.ReceivedUs == 0 {
			t.Fatalf("outcome is not of the call: %v", o)
		}
		switch b := o.Body.(type) {
		case *telemetry.Outcome_Message:
			count["message"]++
			if len(b.Message.Raw) == 0 || o.AtUs == 0 {
				t.Error("a message without bytes or time")
			}
		case *telemetry.Outcome_Sample:
			count[b.Sample.Source]++
			if (b.Sample.Side == "server") != (b.Sample.Source == "rtp") {
				t.Errorf("a sample by %s from %s", b.Sample.Side, b.Sample.Source)
			}
		case *telemetry.Outcome_Call:
			count["call"]++
			if b.Call.Verdict.Version != version+1 {
				t.Errorf("version %d after %d", b.Call.Verdict.Version, version)
			}
			version = b.Call.Verdict.Version
		}
	}
	if count["message"] != 6 || count["rtcp"] != 12 || count["rtp"] < 60 || count["call"] < 5 || count["call"] > 9 {
		t.Errorf("outcomes: %v", count)
	}
	c := last(t, out)
	if c.Direction != "outbound" || c.End.GetBy() != "target" || c.StartedUs != 1795333135666094 ||
		c.ConnectedUs != 1795333135728159 || c.EndedUs != 1795333166668033 {
		t.Errorf("call: %v", c)
	}
	if len(c.Legs) != 2 || c.Legs[0].Side != "target" || c.Legs[0].UserAgent != "baresip v1.0.0 (x86_64/linux)" ||
		c.Legs[0].Codec != "PCMU" || c.Legs[0].ClockRate != 8000 || c.Legs[0].Address != "10.66.0.1:10096" || c.Legs[1].Side != "contact" {
		t.Errorf("legs: %v", c.Legs)
	}
}

// TestTwice gives a machine every record twice: the second changes nothing.
func TestTwice(t *testing.T) {
	for _, elem := range [][]string{{captures, "loss5_jitter40", "mid.pcap"}, {stats, "w2_loss_jitter.jsonl.gz"}} {
		once := records(t, elem...)
		var twice []*telemetry.Record
		for _, r := range once {
			twice = append(twice, r)
			if r.GetEnd() == nil {
				twice = append(twice, proto.Clone(r).(*telemetry.Record))
			}
		}
		a := play(t, newMachine(), once)
		b := play(t, newMachine(), twice)
		if len(a) != len(b) {
			t.Fatalf("%s: %d outcomes, %d where each record came twice", elem[1], len(a), len(b))
		}
		for i := range a {
			if !proto.Equal(a[i], b[i]) {
				t.Fatalf("outcome %d differs:\n%v\n%v", i, a[i], b[i])
			}
		}
	}
}
