package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// A call object and its report say what is usual, with the names of people and places.
func TestCallIsComparedWithWhatIsUsual(t *testing.T) {
	p := withEngine(t)
	s := newSite(t, p.store)
	const other = "/api/v1/companies/other"
	if a := s.as(s.operator, "POST", other+"/offices", `{"id":"lisbon","name":"Lisbon | office"}`); a.status != 201 {
		t.Fatalf("office: %d %s", a.status, a.body)
	}
	begin := time.Now().Add(-time.Hour)
	var outcomes []*telemetry.Outcome
	for i := range 12 {
		rtt, at := 40., begin.Add(-time.Duration(i)*time.Hour)
		if i == 0 {
			rtt = 200
		}
		outcomes = append(outcomes, &telemetry.Outcome{Company: "other", CallId: fmt.Sprint("usual-", i), Seq: at.UnixMicro(), ReceivedUs: at.UnixMicro(), Body: &telemetry.Outcome_Call{Call: &telemetry.Call{
			State: "ended", StartedUs: at.UnixMicro(), ConnectedUs: at.UnixMicro(), EndedUs: at.UnixMicro() + 60e6,
			Target:  &telemetry.Party{Identity: &telemetry.Identity{UserId: "zoe", Name: "Zoe", OfficeId: "lisbon"}},
			Verdict: &telemetry.Verdict{Final: true, Delay: &telemetry.Delay{RttMs: &telemetry.Distribution{P50: rtt, P95: rtt}}},
		}}})
	}
	var c query.Call
	p.put(t, func() bool {
		a := s.as(s.operator, "GET", other+"/calls/usual-0", "")
		if a.status != 200 {
			return false
		}
		c = query.Call{}
		a.decode(t, &c)
		return len(c.Baselines) == 2 && c.Baselines[1].Calls == 11
	}, outcomes...)
	if b := c.Baselines[1]; b.Kind != "office" || b.Name != "Lisbon | office" || b.RTTMs == nil || !b.RTTMs.Remarkable || *b.RTTMs.Ratio != 5 {
		t.Errorf("%+v", b)
	}
	want := "The round trip was 5.0 times what is usual for Zoe: 200 ms (usual: 40 ms, median of 11 calls in 28 days)."
	if len(c.BaselineSentences) != 1 || c.BaselineSentences[0].Text != want || c.BaselineSentences[0].Values["ratio"] != 5 {
		t.Errorf("%+v", c.BaselineSentences)
	}
	report := s.as(s.operator, "GET", other+"/calls/usual-0/report", "", "Accept", "text/markdown").body
	if !strings.Contains(report, "### Compared with what is usual\n\n- "+want+"\n") {
		t.Errorf("%s", report)
	}
	if a := s.as(s.operator, "GET", other+"/calls/usual-5", ""); !strings.Contains(a.body, `"baselines":[]`) || !strings.Contains(a.body, `"baseline_sentences":[]`) {
		t.Errorf("6 calls before it: %s", a.body)
	}
}
