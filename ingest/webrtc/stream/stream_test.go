package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const whole = `{"ref":1,"call_id":"c","leg_id":"l","at":1,"muted":true,"stats":{
 "I1":{"type":"inbound-rtp","packetsReceived":50,"jitter":0.004}, "O1":{"type":"outbound-rtp"}}}`

func TestChangesAddUp(t *testing.T) {
	var d Decoder
	for _, step := range []struct{ line, want string }{
		{whole, `{"call_id":"c","leg_id":"l","at":1,"muted":true,"stats":{"I1":{"type":"inbound-rtp","packetsReceived":50,"jitter":0.004},"O1":{"type":"outbound-rtp"}}}`},
		{`{"ref":1,"at":2,"stats":{"I1":{"packetsReceived":51}}}`,
			`{"call_id":"c","leg_id":"l","at":2,"muted":true,"stats":{"I1":{"type":"inbound-rtp","packetsReceived":51,"jitter":0.004},"O1":{"type":"outbound-rtp"}}}`},
		{`{"ref":1,"at":3,"muted":false,"stats":{"I1":{"jitter":null},"O1":null,"R1":{"type":"x"}}}`,
			`{"call_id":"c","leg_id":"l","at":3,"muted":false,"stats":{"I1":{"type":"inbound-rtp","packetsReceived":51},"R1":{"type":"x"}}}`},
		{`{"ref":1,"at":4}`,
			`{"call_id":"c","leg_id":"l","at":4,"muted":false,"stats":{"I1":{"type":"inbound-rtp","packetsReceived":51},"R1":{"type":"x"}}}`},
		{`{"ref":1,"call_id":"d","at":5,"stats":{"Q":{"s":"}\",\\"}}}`, `{"call_id":"d","at":5,"stats":{"Q":{"s":"}\",\\"}}}`},
		{`{"call_id":"e","stats":{}}`, `{"call_id":"e","stats":{}}`},
		{`{"ref":1,"at":6}`, `{"call_id":"d","at":6,"stats":{"Q":{"s":"}\",\\"}}}`},
	} {
		line, err := d.Line([]byte(step.line))
		if err != nil || line.Kind != Sample {
			t.Fatalf("%s: kind %d, %v", step.line, line.Kind, err)
		}
		if string(line.Item) != step.want {
			t.Errorf("%s\ngot  %s\nwant %s", step.line, line.Item, step.want)
		}
	}
}

func TestHeadsAndEvents(t *testing.T) {
	var d Decoder
	line, err := d.Line([]byte(`{"batch":7,"sent_at":1772359200250,"dropped":3}`))
	if want := (Line{Kind: Head, Batch: 7, SentAtUs: 1772359200250000, Dropped: 3}); err != nil || !reflect.DeepEqual(line, want) {
		t.Errorf("%+v, %v", line, err)
	}
	line, err = d.Line([]byte(` {"specversion":"1.0","id":"e"} `))
	if err != nil || line.Kind != Event || string(line.Item) != `{"specversion":"1.0","id":"e"}` {
		t.Errorf("%+v, %v", line, err)
	}
}

func TestLineRefuses(t *testing.T) {
	large := strings.Repeat("x", MaxItemBytes)
	var many strings.Builder
	for i := range maxMembers + 1 {
		fmt.Fprintf(&many, `,"m%d":1`, i)
	}
	for in, field := range map[string]string{
		``:                              "",
		`[]`:                            "",
		`{`:                             "",
		`{"batch":-1}`:                  "batch",
		`{"batch":1,"sent_at":-5}`:      "sent_at",
		`{"ref":256,"call_id":"c"}`:     "ref",
		`{"ref":"1","call_id":"c"}`:     "ref",
		`{"ref":2,"stats":{}}`:          "ref",
		`{"ref":1,"stats":[]}`:          "stats",
		`{"ref":1,"a":"` + large + `"}`: "",
		`{"ref":1,"stats":{"I":{"a":"` + large + `"}}}`:        "",
		`{"ref":1` + many.String() + `}`:                       "",
		`{"ref":1,"stats":{"I":{"z":1` + many.String() + `}}}`: "",
	} {
		var d Decoder
		if _, err := d.Line([]byte(whole)); err != nil {
			t.Fatal(err)
		}
		_, err := d.Line([]byte(in))
		var le *LineError
		if !errors.As(err, &le) || !errors.Is(err, ErrLine) || le.Field != field {
			t.Errorf("%.80s: %v, want field %q", in, err, field)
		}
		// What was refused changed nothing.
		line, err := d.Line([]byte(`{"ref":1}`))
		if err != nil || !strings.Contains(string(line.Item), `"packetsReceived":50`) || strings.Contains(string(line.Item), "m0") {
			t.Errorf("after %.80s: %.200s %v", in, line.Item, err)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	var d Decoder
	refused := 0
	for ref := range 256 {
		_, err := d.Line(fmt.Appendf(nil, `{"ref":%d,"call_id":"c","stats":{"I":{"a":"%s"}}}`, ref, strings.Repeat("x", 20_000)))
		if err != nil {
			refused++
		}
	}
	if d.kept > maxKeptBytes || len(d.legs) > MaxLegs || refused == 0 {
		t.Errorf("%d bytes of %d legs, %d refused", d.kept, len(d.legs), refused)
	}
	d = Decoder{}
	for ref := range 256 {
		_, _ = d.Line(fmt.Appendf(nil, `{"ref":%d,"call_id":"c"}`, ref))
	}
	if len(d.legs) != MaxLegs {
		t.Errorf("%d legs", len(d.legs))
	}
}

// merged is what the protocol says, done with encoding/json.
func merged(into, change map[string]any) {
	for k, v := range change {
		switch {
		case k == "ref":
		case v == nil:
			delete(into, k)
		case k == "stats":
			stats, _ := into["stats"].(map[string]any)
			if stats == nil {
				stats = map[string]any{}
				into["stats"] = stats
			}
			for id, r := range v.(map[string]any) {
				members, isObject := r.(map[string]any)
				switch have, _ := stats[id].(map[string]any); {
				case r == nil:
					delete(stats, id)
				case !isObject:
				default:
					if have == nil {
						have = map[string]any{}
						stats[id] = have
					}
					for m, x := range members {
						if x == nil {
							delete(have, m)
						} else {
							have[m] = x
						}
					}
				}
			}
		default:
			into[k] = v
		}
	}
}

// ambiguous says that an object has two members of the same name, about which
// JSON leaves open what they mean.
func ambiguous(b []byte, depth int) bool {
	seen := map[string]bool{}
	for key, value := range objectMembers(b) {
		var name string
		_ = json.Unmarshal([]byte(`"`+string(key)+`"`), &name)
		if seen[name] || strings.Contains(string(key), `\`) || strings.Contains(name, "\uFFFD") {
			return true
		}
		seen[name] = true
		if depth > 0 && value[0] == '{' && ambiguous(value, depth-1) {
			return true
		}
	}
	return false
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(whole + "|" + `{"ref":1,"at":2,"stats":{"I1":{"packetsReceived":51,"jitter":null},"O1":null,"N":{"a":[1,{"b":"}"}]}}}`))
	f.Add([]byte(`{"batch":7,"sent_at":1772359200250,"dropped":3}|{"specversion":"1.0"}`))
	f.Add([]byte("{\"ref\":1,\"call_id\":\"c\",\"stats\":{\"\\u0041\\\"\":{\"x\":1e9}}}|{\"ref\" : 1 ,\n\"stats\":{ \"B\" : { } } }"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		whole := map[string]map[string]any{}
		clear := true
		for _, in := range strings.Split(string(b), "|") {
			line, err := d.Line([]byte(in))
			if err != nil {
				if !errors.Is(err, ErrLine) {
					t.Fatalf("foreign error %v", err)
				}
				continue
			}
			if line.Kind == Head {
				continue
			}
			if !json.Valid(line.Item) {
				t.Fatalf("%q became %q, which is no JSON", in, line.Item)
			}
			if d.kept > maxKeptBytes || len(d.legs) > MaxLegs {
				t.Fatalf("keeps %d bytes of %d legs", d.kept, len(d.legs))
			}
			var change map[string]any
			if err := json.Unmarshal([]byte(in), &change); err != nil || change["ref"] == nil || line.Kind != Sample {
				continue
			}
			clear = clear && !ambiguous([]byte(strings.TrimSpace(in)), 2)
			ref := fmt.Sprint(change["ref"])
			if change["call_id"] != nil {
				whole[ref] = map[string]any{}
			}
			if whole[ref] == nil || !clear {
				continue
			}
			merged(whole[ref], change)
			if whole[ref]["stats"] == nil {
				whole[ref]["stats"] = map[string]any{}
			}
			var got map[string]any
			if err := json.Unmarshal(line.Item, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, whole[ref]) {
				t.Fatalf("got  %v\nwant %v\nof %q", got, whole[ref], b)
			}
		}
	})
}

func BenchmarkChange(b *testing.B) {
	var d Decoder
	var stats strings.Builder
	for i := range 10 {
		fmt.Fprintf(&stats, `"R%d":{"type":"inbound-rtp","kind":"audio","packetsReceived":1,"jitter":0.004,"a":1,"b":2,"c":3,"d":4},`, i)
	}
	if _, err := d.Line([]byte(`{"ref":1,"call_id":"c","leg_id":"l","stats":{` + strings.TrimSuffix(stats.String(), ",") + `}}`)); err != nil {
		b.Fatal(err)
	}
	change := []byte(`{"ref":1,"at":1772359200250,"stats":{"R0":{"packetsReceived":50,"jitter":0.003,"a":2},"R1":{"packetsReceived":50},"R2":{"a":3,"b":4}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Line(change); err != nil {
			b.Fatal(err)
		}
	}
}
