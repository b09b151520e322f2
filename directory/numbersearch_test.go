package directory

import (
	"strings"
	"testing"
)

func TestSpanEnds(t *testing.T) {
	for begins, want := range map[string]string{"415": "416", "419": "42", "4199": "42", "9": "", "999": "", "0": "1", "+1415": "+1416", "+199": "+2", "+9": "", "09": "1"} {
		if got := (span{"number", begins}).end(); got != want {
			t.Errorf("%s: %q, want %q", begins, got, want)
		}
	}
}

func FuzzNumberSearch(f *testing.F) {
	for _, q := range []string{"+1 (415) 555-0101", "tel:020 7183 8750;ext=1", "1-800-FLOWERS", "415", "0099", "＋１", "011 44", "+", "(0)", "99999999999999999999"} {
		f.Add(q, "US")
	}
	f.Add("06 12345678", "IT")
	f.Fuzz(func(t *testing.T, q, region string) {
		spans, err := readings(q, region)
		if err == nil {
			more, err := NumberFilter{AreaCode: q, Prefix: q, Suffix: q}.required(region)
			if err == nil {
				spans = append(spans, more...)
			}
		}
		for _, s := range spans {
			digits := strings.TrimPrefix(s.begins, "+")
			if digits == "" || strings.Trim(digits, "0123456789") != "" || (s.column == "number") != strings.HasPrefix(s.begins, "+") {
				t.Errorf("%q: %+v", q, s)
			}
			// A range holds what begins with it, and not what follows.
			end := s.end()
			if end != "" && (end <= s.begins+"99999999999999999999" || strings.HasPrefix(end, s.begins)) {
				t.Errorf("%q: %+v ends before %q", q, s, end)
			}
		}
	})
}
