package explain_test

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/query/explain"
	"github.com/earshot/earshot/telemetry"
)

// recorded plays a recording through the calls processor and gives the newest
// version of its call and its samples, as the API shows them.
func recorded(t *testing.T, file string) (query.Call, []query.Sample) {
	t.Helper()
	m := calls.New(calls.DefaultRules())
	var call *telemetry.Call
	var samples []query.Sample
	emit := func(o *telemetry.Outcome) {
		if c := o.GetCall(); c != nil {
			call = c
		}
		if s := o.GetSample(); s != nil {
			samples = append(samples, query.Sample{Source: s.Source, Direction: s.Direction, Codec: s.Codec, ClockRate: s.ClockRate,
				SSRC: s.Ssrc, RTTMs: s.RttMs, JitterMs: s.JitterMs, LossPercent: s.LossPercent, MOS: s.Mos, AudioLevel: s.AudioLevel})
		}
	}
	clock := int64(0)
	_, err := ingest.ReadFile(file, "acme", nil, 1_800_000_000_000_000, func(r *telemetry.Record) error {
		if r.GetEnd() != nil {
			m.End(r.Timeline.GetId(), r.AtUs, emit)
			return nil
		}
		if err := m.Apply(r, emit); err != nil {
			return err
		}
		if r.AtUs/1_000_000 > clock {
			clock = r.AtUs / 1_000_000
			m.Advance(r.Timeline.GetId(), r.AtUs, emit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if call == nil {
		t.Fatalf("no call came out of %s", file)
	}
	return query.CallOf(call), samples
}

func recordings(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/captures/*/*.pcap", "testdata/webrtc/*.jsonl.gz", "benchmarks/verdicts/calls/*/wire.pcap.gz", "benchmarks/verdicts/calls/*/stats.jsonl.gz"} {
		found, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = slices.DeleteFunc(found, func(f string) bool { return strings.Contains(f, "register") })
		for i, file := range found {
			// Recorded calls of a kind stand beside each other: every other one will do.
			if i%2 == 0 || strings.HasPrefix(pattern, "testdata") {
				files = append(files, file)
			}
		}
	}
	if len(files) < 40 {
		t.Fatalf("found only %q", files)
	}
	return files
}

// paths gives every number in JSON.
func paths(t *testing.T, v any) map[string]float64 {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	var walk func(string, any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				walk(strings.TrimPrefix(at+"."+name, "."), x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s[%d]", at, i), x)
			}
		case float64:
			out[at] = v
		}
	}
	walk("", tree)
	return out
}

func TestEveryNumberOfARecordedCallIsExplained(t *testing.T) {
	for _, file := range recordings(t) {
		call, samples := recorded(t, file)
		explained, err := explain.Call(call)
		if err != nil {
			t.Fatal(err)
		}
		numbers := paths(t, call)
		if len(numbers) < 20 {
			t.Errorf("%s: only %d numbers", file, len(numbers))
		}
		for path, value := range numbers {
			x, ok := explained[path]
			switch {
			case !ok:
				t.Errorf("%s: %s = %v has no explanation", file, path, value)
			case x.Value == nil || *x.Value != value:
				t.Errorf("%s: %s is %v, explained is %v", file, path, value, x.Value)
			case strings.HasPrefix(path, "verdict.thresholds.") && value == 0:
				t.Errorf("%s: %s is not what the rules have", file, path)
			case x.Name == "" || x.Formula == "":
				t.Errorf("%s: %s has no name or no formula: %+v", file, path, x)
			}
		}
		columns := explain.Samples(samples)
		for i, s := range samples {
			if i%10 != 0 && i > 50 {
				continue // the same over and over
			}
			for path := range paths(t, s) {
				if x, ok := columns[s.Source+"."+path]; !ok || x.Formula == "" {
					t.Errorf("%s: column %s of %s has no explanation", file, path, s.Source)
				}
			}
		}
	}
}

// What the verdict is told by must be there, not only some text.
func TestExplanationsHaveTheirInputs(t *testing.T) {
	call, samples := recorded(t, "../../testdata/captures/loss5_jitter40/mid.pcap")
	explained, err := explain.Call(call)
	if err != nil {
		t.Fatal(err)
	}
	input := func(path, name string) float64 {
		t.Helper()
		for _, in := range explained[path].Inputs {
			if strings.HasPrefix(in.Name, name) {
				return in.Value
			}
		}
		t.Errorf("%s has no input %q: %+v", path, name, explained[path].Inputs)
		return 0
	}
	rtt := explained["verdict.delay.rtt_ms.p95"]
	if rtt.Band != call.Verdict.Delay.Band || rtt.Rules == nil || rtt.Rules.Version != call.Verdict.Rules || !strings.Contains(rtt.Rules.Text, "below 100 ms good") {
		t.Errorf("band and rules of the round trip: %+v", rtt)
	}
	if !strings.Contains(rtt.Standard, "RFC 3550 §6.4.1") || len(rtt.Evidence) == 0 || input("verdict.delay.rtt_ms.p95", "measurements") < 5 {
		t.Errorf("round trip: %+v", rtt)
	}
	reporters := 0
	for _, w := range rtt.Source {
		if w.Kind == "rtcp" {
			reporters++
		}
		if w.Samples == 0 || w.Formula == "" || (w.Kind == "rtcp" && !strings.Contains(w.Formula, "DLSR")) || w.Side == "server" {
			t.Errorf("round trip measured by %+v", w)
		}
	}
	if reporters != 2 {
		t.Errorf("%d parties measured the round trip by RTCP", reporters)
	}
	jitter := explained["verdict.jitter.jitter_ms.p95"]
	if len(jitter.ClockRate) != 1 || jitter.ClockRate[0] != (explain.Clock{Codec: "PCMU", Hz: 8000}) {
		t.Errorf("clock of jitter: %+v", jitter.ClockRate)
	}
	for way, percent := range map[string]*float64{"target_to_contact": call.Verdict.Loss.TargetToContactPercent, "contact_to_target": call.Verdict.Loss.ContactToTargetPercent} {
		path := "verdict.loss." + way + "_percent"
		lost, expected := input(path, "packets lost"), input(path, "packets expected")
		if expected == 0 || percent == nil {
			t.Errorf("%s: %v of %v", path, lost, expected)
		} else if got := 100 * lost / expected; got < *percent-0.01 || got > *percent+0.01 {
			t.Errorf("%s is %v, its inputs give %v", path, *percent, got)
		}
	}
	if x := explained["verdict.mos.avg"]; !strings.Contains(x.Standard, "G.107") || input("verdict.mos.avg", "Loss Ppl") == 0 {
		t.Errorf("MOS: %+v", x)
	}
	// The stated inputs give the stated score: G.711 is on the scale of G.107.
	in := call.Verdict.MOS.Inputs
	if in["one_way_delay_ms"] != in["rtt_ms"]/2+in["jitter_buffer_ms"]+in["packetisation_ms"]+in["look_ahead_ms"] {
		t.Errorf("one-way delay: %v", in)
	}
	ieEff := in["ie"] + (95-in["ie"])*in["loss_percent"]/(in["loss_percent"]/in["burst_r"]+in["bpl"])
	if math.Abs(ieEff-in["ie_eff"]) > 0.01 || math.Abs(quality.MOSOfR(in["r"])-call.Verdict.MOS.Avg) > 0.01 {
		t.Errorf("Ie,eff is %v and MOS %v by the inputs, stated are %v and %v", ieEff, quality.MOSOfR(in["r"]), in["ie_eff"], call.Verdict.MOS.Avg)
	}
	columns := explain.Samples(samples)
	if x := columns["rtcp.jitter_ms"]; len(x.ClockRate) != 1 || !strings.Contains(x.Formula, "clock rate") {
		t.Errorf("jitter of RTCP samples: %+v", x)
	}
}

// A number that no recording has must be explained too: those that the types
// can hold, but for maps, whose keys the processors choose.
func TestEveryNumberThatACallCanHaveIsExplained(t *testing.T) {
	var call query.Call
	fill(reflect.ValueOf(&call).Elem())
	explained, err := explain.Call(call)
	if err != nil {
		t.Fatal(err)
	}
	numbers := paths(t, call)
	if len(numbers) < 60 {
		t.Fatalf("only %d numbers", len(numbers))
	}
	for path := range numbers {
		if _, ok := explained[path]; !ok {
			t.Errorf("%s has no explanation", path)
		}
	}
}

// fill puts something into every field, one item into every list.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[query.Time]() || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	}
}
