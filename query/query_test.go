package query_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

func ptr[T any](v T) *T { return &v }

func callOutcome(company, id string, started int64, c *telemetry.Call) *telemetry.Outcome {
	c.StartedUs = started
	return &telemetry.Outcome{Company: company, CallId: id, Body: &telemetry.Outcome_Call{Call: c}}
}

func sampleOutcome(company, id, timeline string, at int64, s *telemetry.Sample) *telemetry.Outcome {
	s.AtUs = at
	return &telemetry.Outcome{Company: company, CallId: id, Timeline: timeline, Body: &telemetry.Outcome_Sample{Sample: s}}
}

func fullCall() *telemetry.Call {
	return &telemetry.Call{
		State: "ended", Direction: "inbound", ConnectedUs: us(59 * time.Minute), EndedUs: us(50 * time.Minute), Description: "support line",
		Target: &telemetry.Party{
			Identity: &telemetry.Identity{UserId: "u1", Name: "Ann", Number: "+12125550101", DeviceId: "browser-1", OfficeId: "ny", DepartmentId: "sales"},
			Endpoint: "web", AppVersion: "5.2", Platform: "chrome",
		},
		Contact: &telemetry.Party{Identity: &telemetry.Identity{Number: "+12125550199"}, Endpoint: "sip"},
		End:     &telemetry.CallEnd{By: "contact", SipStatus: 200, Reason: "BYE"},
		Legs: []*telemetry.Leg{
			{Id: "leg-a", SipCallId: "abc@192.0.2.7", Kind: "sip", Side: "contact", Codec: "PCMU", ClockRate: 8000},
			{Id: "leg-b", Kind: "webrtc", Side: "target", Codec: "opus", ClockRate: 48000, DeviceId: "browser-1"},
		},
		SipCallIds: []string{"abc@192.0.2.7", "xyz@192.0.2.8"},
		Verdict: &telemetry.Verdict{
			Overall: "bad", Final: true, Version: 3, ComputedUs: us(50 * time.Minute), Rules: "1",
			Delay:  &telemetry.Delay{Band: "acceptable", RttMs: &telemetry.Distribution{Min: 80, P50: 120, P95: 190, Max: 240}, Share: map[string]float64{"good": 0.25, "acceptable": 0.75}},
			Jitter: &telemetry.Jitter{Band: "bad", JitterMs: &telemetry.Distribution{P95: 45.5}, ConcealmentPercent: ptr(4.5)},
			Loss:   &telemetry.Loss{Band: "good", Percent: ptr(0.0), TargetToContactPercent: ptr(0.0)},
			OneWayAudio: &telemetry.OneWayAudio{State: "confirmed", Direction: "target_to_contact", From: "+12125550101", To: "+12125550199", SinceUs: us(58 * time.Minute), UntilUs: us(57 * time.Minute), Confidence: 0.95,
				Spans: []*telemetry.DeadSpan{{Direction: "target_to_contact", SinceUs: us(58 * time.Minute), UntilUs: us(57 * time.Minute), Confidence: 0.95, Healed: true}}},
			Mos:       &telemetry.MOS{Min: 3.1, Avg: 3.9, Model: "G.107", Codec: "PCMU", Direction: "contact_to_target", Inputs: map[string]float64{"r": 78}},
			FaultSide: "target", FaultConfidence: 0.8,
			Segments: []*telemetry.PathSegment{{From: "target", To: "server", RttMs: &telemetry.Distribution{Min: 1, P50: 2, P95: 3, Max: 4},
				TargetToContactLossPercent: ptr(4.0), Band: "bad", Source: "capture_point"}},
			Evidence: []*telemetry.Evidence{{Kind: "choppy", Leg: "leg-b", AtUs: us(57 * time.Minute), UntilUs: us(56 * time.Minute), Text: "concealment 4.5 %", Graph: "jitter_buffer", Values: map[string]float64{"percent": 4.5}}},
			Sources:  []*telemetry.VerdictSource{{Kind: "webrtc", Side: "target", Samples: 120}},
		},
	}
}

func TestCallComesBackWhole(t *testing.T) {
	ctx := context.Background()
	first := callOutcome("acme", "c1", us(time.Hour), &telemetry.Call{State: "live", Direction: "inbound"})
	store := stored(t, []*telemetry.Outcome{
		first,
		callOutcome("acme", "c1", us(time.Hour), fullCall()),
		{Company: "acme", CallId: "c1", Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
			Id: "r1", AtUs: us(55 * time.Minute), Reason: "on_a_call", Agent: &telemetry.Identity{UserId: "u2", Name: "Bo", DepartmentId: "sales"}, SipStatus: 486, Source: "sip"}}},
		{Company: "acme", CallId: "c1", Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: "s1", AtUs: us(40 * time.Minute), Rater: &telemetry.Identity{UserId: "u1", Name: "Ann"}, Rating: 2, Text: "choppy"}}},
	})
	acme := store.Company("acme")
	call, err := acme.Call(ctx, "c1")
	require.NoError(t, err)
	for _, id := range []string{"abc@192.0.2.7", "xyz@192.0.2.8"} {
		same, err := acme.Call(ctx, id)
		require.NoError(t, err)
		require.Equal(t, call, same, "by a leg's SIP Call-ID")
	}
	call.ReceivedAt = query.Time{}
	got, err := json.MarshalIndent(call, "", "  ")
	require.NoError(t, err)
	require.JSONEq(t, `{
  "id": "c1", "company": "acme", "state": "ended", "direction": "inbound",
  "target": {"user_id": "u1", "name": "Ann", "number": "+12125550101", "endpoint": "web", "app_version": "5.2", "platform": "chrome",
    "device_id": "browser-1", "department_id": "sales", "office_id": "ny"},
  "contact": {"user_id": null, "name": "", "number": "+12125550199", "endpoint": "sip", "app_version": "", "platform": ""},
  "started_at": "2026-03-04T14:30:00.000Z", "connected_at": "2026-03-04T14:31:00.000Z", "ended_at": "2026-03-04T14:40:00.000Z",
  "duration_ms": 540000, "description": "support line",
  "end": {"by": "contact", "sip_status": 200, "reason": "BYE"},
  "legs": [
    {"id": "leg-a", "sip_call_id": "abc@192.0.2.7", "kind": "sip", "side": "contact", "user_agent": "", "codec": "PCMU", "clock_rate": 8000, "address": "", "started_at": null, "ended_at": null},
    {"id": "leg-b", "sip_call_id": "", "kind": "webrtc", "side": "target", "user_agent": "", "codec": "opus", "clock_rate": 48000, "address": "", "started_at": null, "ended_at": null, "device_id": "browser-1"}],
  "sip_call_ids": ["abc@192.0.2.7", "xyz@192.0.2.8"],
  "verdict": {
    "overall": "bad", "final": true, "version": 3, "computed_at": "2026-03-04T14:40:00.000Z", "rules": "1",
    "delay": {"band": "acceptable", "rtt_ms": {"min": 80, "p50": 120, "p95": 190, "max": 240}, "share": {"good": 0.25, "acceptable": 0.75}},
    "jitter": {"band": "bad", "jitter_ms": {"min": 0, "p50": 0, "p95": 45.5, "max": 0}, "buffer_over_preferred_ratio": null, "concealment_percent": 4.5,
      "target_to_contact_ms": null, "contact_to_target_ms": null, "buffer_ms": null, "buffer_preferred_ms": null},
    "loss": {"band": "good", "percent": 0, "burst_percent": null, "target_to_contact_percent": 0, "contact_to_target_percent": null, "burst_ratio": null},
    "one_way_audio": {"state": "confirmed", "direction": "target_to_contact", "from": "+12125550101", "to": "+12125550199", "since": "2026-03-04T14:32:00.000Z", "until": "2026-03-04T14:33:00.000Z", "confidence": 0.95, "text": "Ann (+12125550101) cannot be heard by +12125550199 from 1:00 to 2:00 (95 % sure).",
      "spans": [{"direction": "target_to_contact", "since": "2026-03-04T14:32:00.000Z", "until": "2026-03-04T14:33:00.000Z", "confidence": 0.95, "healed": true}]},
    "mos": {"min": 3.1, "avg": 3.9, "model": "G.107", "codec": "PCMU", "direction": "contact_to_target", "inputs": {"r": 78}, "estimated": false},
    "fault_side": "target", "fault_confidence": 0.8,
    "segments": [{"from": "target", "to": "server", "rtt_ms": {"min": 1, "p50": 2, "p95": 3, "max": 4}, "target_to_contact_jitter_ms": null, "contact_to_target_jitter_ms": null,
      "target_to_contact_loss_percent": 4, "contact_to_target_loss_percent": null, "band": "bad", "source": "capture_point"}],
    "evidence": [{"kind": "choppy", "leg": "leg-b", "at": "2026-03-04T14:33:00.000Z", "until": "2026-03-04T14:34:00.000Z", "text": "concealment 4.5 %", "graph": "jitter_buffer", "values": {"percent": 4.5}}],
    "sources": [{"kind": "webrtc", "side": "target", "samples": 120}]},
  "rejections": [{"id": "r1", "at": "2026-03-04T14:35:00.000Z", "call_id": "c1", "reason": "on_a_call",
    "agent": {"user_id": "u2", "name": "Bo", "number": "", "department_id": "sales", "contact_center_id": null, "office_id": null},
    "from_number": "", "to_number": "", "sip_status": 486, "raw_reason": "", "text": "", "source": "sip"}],
  "ratings": [{"id": "s1", "at": "2026-03-04T14:50:00.000Z", "call_id": "c1", "user_id": "u1", "name": "Ann", "rating": 2, "text": "choppy"}],
  "received_at": null
}`, string(got))

	list, err := acme.Calls(ctx, query.CallFilter{}, query.Page{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	item, err := json.Marshal(list.Items[0])
	require.NoError(t, err)
	for _, absent := range []string{`"legs"`, `"evidence"`, `"sources"`} {
		require.NotContains(t, string(item), absent)
	}
	require.Equal(t, "bad", list.Items[0].Verdict.Jitter.Band)
	require.Len(t, list.Items[0].Rejections, 1)

	_, err = acme.Call(ctx, "c2")
	require.ErrorIs(t, err, query.ErrNotFound)
}

// No question gives a row of another company, whatever it asks for.
func TestAnotherCompanyIsNeverSeen(t *testing.T) {
	ctx := context.Background()
	outcomes := []*telemetry.Outcome{
		callOutcome("other", "c1", us(time.Hour), fullCall()),
		callOutcome("other", "live", us(time.Minute), &telemetry.Call{State: "live", Direction: "inbound"}),
		sampleOutcome("other", "c1", "", us(58*time.Minute), &telemetry.Sample{LegId: "a"}),
		{Company: "other", CallId: "c1", AtUs: us(time.Hour), Body: &telemetry.Outcome_Message{Message: &telemetry.SIPMessage{Method: "INVITE"}}},
		{Company: "other", CallId: "c1", Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{Id: "r", AtUs: us(time.Hour), Reason: "spam", Agent: &telemetry.Identity{UserId: "u1"}}}},
		{Company: "other", CallId: "c1", Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: "s", AtUs: us(time.Hour), Rating: 1, Rater: &telemetry.Identity{UserId: "u1"}}}},
		eventOutcome("other", "c1", "e", "connected", time.Hour, nil),
		{Company: "other", Body: &telemetry.Outcome_Registration{Registration: &telemetry.RegistrationChange{Aor: "sip:u1@example.net", DeviceId: "d1", AtUs: us(time.Minute), ExpiresUs: us(-time.Hour), Registered: true, Change: "registered", Identity: &telemetry.Identity{UserId: "u1"}}}},
	}
	store := stored(t, outcomes)
	window := query.TrendFilter{From: query.Time{Time: now.Add(-24 * time.Hour)}, To: query.Time{Time: now}}
	ask := func(c query.Company) map[string]int {
		got := map[string]int{}
		count := func(what string, n int, err error) {
			t.Helper()
			if err != nil {
				require.ErrorIs(t, err, query.ErrNotFound, what)
			}
			got[what] = n
		}
		calls, err := c.Calls(ctx, query.CallFilter{}, query.Page{})
		count("calls", len(calls.Items), err)
		calls, err = c.Calls(ctx, query.CallFilter{Rejected: ptr(true), Rating: ptr(uint32(1)), Q: "leg-a"}, query.Page{})
		count("calls by subqueries", len(calls.Items), err)
		live, err := c.LiveCalls(ctx, query.Page{})
		count("live", len(live.Items), err)
		for _, id := range []string{"c1", "abc@192.0.2.7"} {
			call, err := c.Call(ctx, id)
			count("call "+id, len(call.Legs), err)
			samples, err := c.Samples(ctx, id, query.Page{})
			count("samples "+id, len(samples.Items), err)
			messages, err := c.Messages(ctx, id, query.Page{})
			count("messages "+id, len(messages.Items), err)
			events, err := c.CallEvents(ctx, id, query.Page{})
			count("events "+id, len(events.Items), err)
		}
		events, err := c.Events(ctx, query.EventFilter{User: "u1"}, query.Page{})
		count("events", len(events.Items), err)
		rejections, err := c.Rejections(ctx, query.RejectionFilter{}, query.Page{})
		count("rejections", len(rejections.Items), err)
		trend, err := c.RejectionTrend(ctx, window)
		count("trend", len(trend.Series), err)
		quality, err := c.QualityTrend(ctx, query.QualityFilter{From: window.From, To: window.To})
		count("quality", int(quality.Total.Calls), err)
		registrations, err := c.Registrations(ctx, query.RegistrationFilter{}, query.Page{})
		count("registrations", len(registrations.Items), err)
		history, err := c.RegistrationHistory(ctx, query.RegistrationFilter{}, query.Page{})
		count("history", len(history.Items), err)
		devices, err := c.Devices(ctx, "u1")
		count("devices", len(devices), err)
		ratings, err := c.Ratings(ctx, query.RatingFilter{}, query.Page{})
		count("ratings", len(ratings.Items), err)
		for _, q := range []string{"c1", "u1", "sip:u1@example.net", "d1", "leg-a", "+12125550101", "12125550101"} {
			hits, err := c.Any(ctx, q)
			count("any "+q, len(hits), err)
		}
		counts, err := c.Counts(ctx, time.UTC)
		count("counts", int(counts.CallsToday+counts.Devices+counts.LiveCalls+counts.Registered+counts.RejectionsToday), err)
		return got
	}
	for what, n := range ask(store.Company("other")) {
		require.NotZero(t, n, "its own %s", what)
	}
	for _, stranger := range []string{"acme", "", "other' OR '1'='1", `other\' OR 1=1 --`, "{company:String}"} {
		for what, n := range ask(store.Company(stranger)) {
			require.Zero(t, n, "%s for %q", what, stranger)
		}
	}
}

func TestTextThatIsNoPlainText(t *testing.T) {
	ctx := context.Background()
	strange := []string{`a'b`, `a\b`, "a\tb", "a\nb", `a"b`, "é…", "a\x00b", `\N`, "'; DROP TABLE calls; --", "{user:String}", "?", "[1]"}
	var outcomes []*telemetry.Outcome
	for i, s := range strange {
		c := &telemetry.Call{State: "ended", Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: s}}, SipCallIds: []string{s}}
		outcomes = append(outcomes, callOutcome(s, fmt.Sprint("c", i), us(time.Hour), c))
	}
	store := stored(t, outcomes)
	for i, s := range strange {
		id := fmt.Sprint("c", i)
		c := store.Company(s)
		list, err := c.Calls(ctx, query.CallFilter{User: s}, query.Page{})
		require.NoError(t, err, "%q", s)
		require.Len(t, list.Items, 1, "%q", s)
		require.Equal(t, id, list.Items[0].ID)
		call, err := c.Call(ctx, s)
		require.NoError(t, err, "%q", s)
		require.Equal(t, id, call.ID)
	}
}

func ids(calls []query.Call) []string {
	out := []string{}
	for _, c := range calls {
		out = append(out, c.ID)
	}
	return out
}

func TestCallFilters(t *testing.T) {
	ctx := context.Background()
	party := func(user, number string) *telemetry.Party {
		return &telemetry.Party{Identity: &telemetry.Identity{UserId: user, Number: number}}
	}
	store := stored(t, []*telemetry.Outcome{
		callOutcome("acme", "in", us(4*time.Hour), &telemetry.Call{State: "ended", Direction: "inbound", Target: party("u1", "+1"), Contact: party("", "+9"), Verdict: &telemetry.Verdict{Overall: "good"}}),
		callOutcome("acme", "out", us(3*time.Hour), &telemetry.Call{State: "ended", Direction: "outbound", Target: party("u2", "+2"), Contact: party("u1", "+1"),
			Verdict: &telemetry.Verdict{Overall: "bad", Jitter: &telemetry.Jitter{Band: "bad"}, OneWayAudio: &telemetry.OneWayAudio{State: "suspected"}}}),
		// Versions: first bad, then good, with a corrected start.
		callOutcome("acme", "moved", us(2*time.Hour), &telemetry.Call{State: "live", Direction: "inbound", Target: party("u1", "+1"), Verdict: &telemetry.Verdict{Overall: "bad"}}),
		callOutcome("acme", "moved", us(5*time.Hour), &telemetry.Call{State: "ended", Direction: "inbound", Target: party("u1", "+1"), Verdict: &telemetry.Verdict{Overall: "good"}}),
		callOutcome("acme", "live", us(time.Minute), &telemetry.Call{State: "live", Direction: "inbound", Target: party("u3", "+3")}),
		{Company: "acme", CallId: "old", Timeline: "import:1", Body: &telemetry.Outcome_Call{Call: &telemetry.Call{State: "live", StartedUs: us(2 * time.Minute)}}},
		{Company: "acme", CallId: "in", Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{Id: "r", AtUs: us(4 * time.Hour)}}},
		{Company: "acme", CallId: "out", Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: "s", AtUs: us(time.Hour), Rating: 5}}},
	})
	acme := store.Company("acme")
	at := func(ago time.Duration) query.Time { return query.Time{Time: now.Add(-ago)} }
	for name, tc := range map[string]struct {
		filter query.CallFilter
		want   []string
	}{
		"all":          {query.CallFilter{}, []string{"live", "old", "out", "in", "moved"}},
		"user":         {query.CallFilter{User: "u1"}, []string{"out", "in", "moved"}},
		"number":       {query.CallFilter{Number: "+9"}, []string{"in"}},
		"from":         {query.CallFilter{From: at(3 * time.Hour)}, []string{"live", "old", "out"}},
		"to":           {query.CallFilter{To: at(4 * time.Hour)}, []string{"moved"}},
		"direction":    {query.CallFilter{Direction: "outbound"}, []string{"out"}},
		"live":         {query.CallFilter{State: "live"}, []string{"live"}},
		"ended":        {query.CallFilter{State: "ended"}, []string{"out", "in", "moved"}},
		"good":         {query.CallFilter{Verdict: "good"}, []string{"in", "moved"}},
		"bad":          {query.CallFilter{Verdict: "bad"}, []string{"out"}},
		"unknown":      {query.CallFilter{Verdict: "unknown"}, []string{"live", "old"}},
		"one way":      {query.CallFilter{Verdict: "one_way"}, []string{"out"}},
		"choppy":       {query.CallFilter{Verdict: "choppy"}, []string{"out"}},
		"delay":        {query.CallFilter{Verdict: "delay"}, []string{}},
		"rejected":     {query.CallFilter{Rejected: ptr(true)}, []string{"in"}},
		"not rejected": {query.CallFilter{Rejected: ptr(false), User: "u1"}, []string{"out", "moved"}},
		"rating":       {query.CallFilter{Rating: ptr(uint32(5))}, []string{"out"}},
		"other rating": {query.CallFilter{Rating: ptr(uint32(4))}, []string{}},
		"q call":       {query.CallFilter{Q: "moved"}, []string{"moved"}},
		"q user":       {query.CallFilter{Q: "u2"}, []string{"out"}},
		"q number":     {query.CallFilter{Q: "9"}, []string{"in"}},
		"together":     {query.CallFilter{User: "u1", Direction: "inbound", Verdict: "good", Rejected: ptr(true)}, []string{"in"}},
	} {
		list, err := acme.Calls(ctx, tc.filter, query.Page{})
		require.NoError(t, err, name)
		require.Equal(t, tc.want, ids(list.Items), name)
		require.Nil(t, list.NextCursor, name)
		var paged []string
		page := query.Page{Limit: 1}
		for range 9 {
			list, err := acme.Calls(ctx, tc.filter, page)
			require.NoError(t, err, name)
			paged = append(paged, ids(list.Items)...)
			if list.NextCursor == nil {
				break
			}
			page.Cursor = *list.NextCursor
		}
		require.Equal(t, tc.want, append([]string{}, paged...), "%s, one by one", name)
	}
	for name, f := range map[string]query.CallFilter{"verdict": {Verdict: "x"}, "state": {State: "x"}} {
		_, err := acme.Calls(ctx, f, query.Page{})
		require.ErrorIs(t, err, query.ErrFilter, name)
	}
	_, err := acme.Calls(ctx, query.CallFilter{}, query.Page{Cursor: "x"})
	require.ErrorIs(t, err, query.ErrCursor)
	_, err = acme.Calls(ctx, query.CallFilter{}, query.Page{Limit: query.MaxLimit + 1})
	require.ErrorIs(t, err, query.ErrLimit)
	counts, err := acme.Counts(ctx, time.UTC)
	require.NoError(t, err)
	require.Equal(t, query.Counts{CallsToday: 5, LiveCalls: 1, RejectionsToday: 1}, counts)
	tokyo := time.FixedZone("east", 14*3600) // it is already the next day there, since 5.5 hours
	counts, err = acme.Counts(ctx, tokyo)
	require.NoError(t, err)
	require.EqualValues(t, 5, counts.CallsToday)
}

func TestSamplesAndMessages(t *testing.T) {
	ctx := context.Background()
	var outcomes []*telemetry.Outcome
	for i := range 5 {
		outcomes = append(outcomes, sampleOutcome("acme", "c1", "", us(time.Hour)+int64(i)*1_000_000, &telemetry.Sample{
			LegId: "a", Side: "target", Source: "rtcp", Direction: "target_to_contact", Ssrc: 7, Codec: "PCMU", ClockRate: 8000,
			RttMs: ptr(100.1 + float64(i)), PacketsLost: ptr(int32(-2)), Packets: ptr(uint32(250)),
		}))
	}
	outcomes = append(outcomes,
		// The same point again, a later version: it replaces the first.
		sampleOutcome("acme", "c1", "", us(time.Hour), &telemetry.Sample{
			LegId: "a", Side: "target", Source: "rtcp", Direction: "target_to_contact", Ssrc: 7, LossPercent: ptr(0.0), AudioLevel: ptr(0.0123), Mos: ptr(4.409286)}),
		// The call on another timeline, which its newest version is not of.
		sampleOutcome("acme", "c1", "import:1", us(time.Hour), &telemetry.Sample{LegId: "a"}),
		&telemetry.Outcome{Company: "acme", CallId: "c1", AtUs: us(time.Hour), Body: &telemetry.Outcome_Message{Message: &telemetry.SIPMessage{
			Src: "192.0.2.1:5060", Dst: "192.0.2.2:5060", Transport: "udp", Method: "INVITE", Cseq: 1, CallId: "abc@192.0.2.7", Raw: []byte("INVITE sip:x SIP/2.0\r\n\r\n"), Sdp: &telemetry.SDP{}}}},
		&telemetry.Outcome{Company: "acme", CallId: "c1", AtUs: us(time.Hour) + 1, Body: &telemetry.Outcome_Message{Message: &telemetry.SIPMessage{
			Src: "192.0.2.2:5060", Dst: "192.0.2.1:5060", Transport: "udp", Method: "INVITE", Status: 180, ReasonPhrase: "Ringing", Cseq: 1, CallId: "abc@192.0.2.7"}}},
		&telemetry.Outcome{Company: "acme", CallId: "c1", Timeline: "import:1", Body: &telemetry.Outcome_Call{Call: &telemetry.Call{State: "ended", StartedUs: us(time.Hour)}}},
		callOutcome("acme", "c1", us(time.Hour), fullCall()),
		callOutcome("acme", "quiet", us(time.Hour), &telemetry.Call{State: "ended"}),
	)
	acme := stored(t, outcomes).Company("acme")
	list, err := acme.Samples(ctx, "c1", query.Page{})
	require.NoError(t, err)
	require.Len(t, list.Items, 5)
	require.Nil(t, list.NextCursor)
	b, err := json.Marshal(list.Items[:2])
	require.NoError(t, err)
	require.JSONEq(t, `[
{"at":"2026-03-04T14:30:00.000Z","leg_id":"a","side":"target","source":"rtcp","direction":"target_to_contact","ssrc":7,"codec":"","clock_rate":0,
 "rtt_ms":null,"jitter_ms":null,"loss_percent":0,"packets":null,"packets_lost":null,"packets_discarded":null,"jitter_buffer_ms":null,
 "jitter_buffer_preferred_ms":null,"concealment_percent":null,"silent_concealment_percent":null,"audio_level":0.0123,"mos":4.409286},
{"at":"2026-03-04T14:30:01.000Z","leg_id":"a","side":"target","source":"rtcp","direction":"target_to_contact","ssrc":7,"codec":"PCMU","clock_rate":8000,
 "rtt_ms":101.099998,"jitter_ms":null,"loss_percent":null,"packets":250,"packets_lost":-2,"packets_discarded":null,"jitter_buffer_ms":null,
 "jitter_buffer_preferred_ms":null,"concealment_percent":null,"silent_concealment_percent":null,"audio_level":null,"mos":null}]`, string(b))
	bySIP, err := acme.Samples(ctx, "abc@192.0.2.7", query.Page{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, list.Items[:2], bySIP.Items)
	rest, err := acme.Samples(ctx, "abc@192.0.2.7", query.Page{Limit: 3, Cursor: *bySIP.NextCursor})
	require.NoError(t, err)
	require.Equal(t, list.Items[2:], rest.Items)
	require.Nil(t, rest.NextCursor)

	ladder, err := acme.Messages(ctx, "c1", query.Page{})
	require.NoError(t, err)
	b, err = json.Marshal(ladder)
	require.NoError(t, err)
	require.JSONEq(t, `{"items":[
{"at":"2026-03-04T14:30:00.000Z","src":"192.0.2.1:5060","dst":"192.0.2.2:5060","transport":"udp","method":"INVITE","status":0,"reason_phrase":"","cseq":1,"call_id":"abc@192.0.2.7","summary":"INVITE (SDP)","raw":"INVITE sip:x SIP/2.0\r\n\r\n"},
{"at":"2026-03-04T14:30:00.000Z","src":"192.0.2.2:5060","dst":"192.0.2.1:5060","transport":"udp","method":"INVITE","status":180,"reason_phrase":"Ringing","cseq":1,"call_id":"abc@192.0.2.7","summary":"180 Ringing","raw":""}],
"next_cursor":null}`, string(b))

	quiet, err := acme.Samples(ctx, "quiet", query.Page{})
	require.NoError(t, err)
	require.Empty(t, quiet.Items)
	_, err = acme.Samples(ctx, "nobody", query.Page{})
	require.ErrorIs(t, err, query.ErrNotFound)
	_, err = acme.Samples(ctx, "c1", query.Page{Cursor: *bySIP.NextCursor + "x"})
	require.ErrorIs(t, err, query.ErrCursor)
}

func TestRegistrations(t *testing.T) {
	ctx := context.Background()
	change := func(aor, device, change string, ago, expiresIn time.Duration, registered bool) *telemetry.Outcome {
		r := &telemetry.RegistrationChange{Aor: aor, DeviceId: device, AtUs: us(ago), Change: change, Registered: registered, UserAgent: "Phone/1", Identity: &telemetry.Identity{UserId: "u-" + aor[4:5], Name: "N"}}
		if registered {
			r.RegisteredUs, r.ExpiresUs = us(ago), us(-expiresIn)
		}
		return &telemetry.Outcome{Company: "acme", Body: &telemetry.Outcome_Registration{Registration: r}}
	}
	imported := change("sip:a@x", "1", "registered", 10*365*24*time.Hour, time.Second-10*365*24*time.Hour, true)
	imported.Timeline = "import:1"
	acme := stored(t, []*telemetry.Outcome{
		change("sip:a@x", "1", "registered", time.Hour, -30*time.Minute, true),
		change("sip:a@x", "1", "refreshed", 31*time.Minute, 5*time.Minute, true),
		imported,
		change("sip:b@x", "1", "registered", time.Hour, -31*time.Second, true), // expired, but within 32 s
		change("sip:c@x", "1", "registered", time.Hour, -33*time.Second, true), // a lapse that no tick has told yet
		change("sip:d@x", "1", "registered", 2*time.Hour, time.Hour, true),
		change("sip:d@x", "1", "unregistered", time.Hour, 0, false),
		change("sip:e@x", "1", "auth_failed", time.Hour, 0, false),
		change("sip:f@x", "1", "lapsed", time.Hour, 0, false),
		change("sip:f@x", "2", "registered", time.Hour, time.Hour, true),
		change("sip:a@x", "1", "auth_failed", time.Minute, 4*time.Minute, true), // a wrong try does not unbind
		// The app in a browser never registers.
		callOutcome("acme", "c1", us(time.Minute), &telemetry.Call{State: "live", Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: "u-a", DeviceId: "web-1"}, Endpoint: "web", AppVersion: "5"}}),
	}).Company("acme")
	list, err := acme.Registrations(ctx, query.RegistrationFilter{}, query.Page{})
	require.NoError(t, err)
	got := map[string]string{}
	for _, r := range list.Items {
		got[r.AOR+" "+r.DeviceID] = r.State
		require.Equal(t, r.State == "registered", r.Registered)
	}
	require.Equal(t, map[string]string{
		"sip:a@x 1": "registered", "sip:b@x 1": "registered", "sip:c@x 1": "lapsed", "sip:d@x 1": "unregistered",
		"sip:e@x 1": "failed", "sip:f@x 1": "lapsed", "sip:f@x 2": "registered",
	}, got)
	for state, n := range map[string]int{"registered": 3, "lapsed": 2, "unregistered": 1, "failed": 1} {
		some, err := acme.Registrations(ctx, query.RegistrationFilter{State: state}, query.Page{})
		require.NoError(t, err)
		require.Len(t, some.Items, n, state)
	}
	var paged []query.Registration
	page := query.Page{Limit: 3}
	for range 5 {
		part, err := acme.Registrations(ctx, query.RegistrationFilter{}, page)
		require.NoError(t, err)
		paged = append(paged, part.Items...)
		if part.NextCursor == nil {
			break
		}
		page.Cursor = *part.NextCursor
	}
	require.Equal(t, list.Items, paged)
	ofUser, err := acme.Registrations(ctx, query.RegistrationFilter{User: "u-f"}, query.Page{})
	require.NoError(t, err)
	require.Len(t, ofUser.Items, 2)

	history, err := acme.RegistrationHistory(ctx, query.RegistrationFilter{AOR: "sip:a@x"}, query.Page{Limit: 3})
	require.NoError(t, err)
	var steps []string
	for _, h := range history.Items {
		steps = append(steps, h.Change)
	}
	require.Equal(t, []string{"auth_failed", "refreshed", "registered"}, steps)
	history, err = acme.RegistrationHistory(ctx, query.RegistrationFilter{AOR: "sip:a@x"}, query.Page{Limit: 3, Cursor: *history.NextCursor})
	require.NoError(t, err)
	require.Len(t, history.Items, 1)
	require.Equal(t, "import:1", history.Items[0].Timeline)
	require.Nil(t, history.NextCursor)

	devices, err := acme.Devices(ctx, "u-a")
	require.NoError(t, err)
	require.Len(t, devices, 2)
	byID := map[string]query.Device{}
	for _, d := range devices {
		byID[d.ID] = d
	}
	require.Equal(t, ptr(true), byID["1"].Registered)
	require.Nil(t, byID["web-1"].Registered)
	require.Equal(t, "web", byID["web-1"].Endpoint)
	counts, err := acme.Counts(ctx, time.UTC)
	require.NoError(t, err)
	require.Equal(t, query.Counts{Devices: 7, Registered: 3, CallsToday: 1, LiveCalls: 1}, counts)
	hits, err := acme.Any(ctx, "u-a")
	require.NoError(t, err)
	require.Equal(t, "user", hits[0].Kind)
	hits, err = acme.Any(ctx, "a@x")
	require.NoError(t, err)
	require.Equal(t, []query.Hit{{Kind: "aor", ID: "sip:a@x", Text: "N", At: query.Time{Time: now.Add(-time.Minute)}}}, hits)
}

func TestTrends(t *testing.T) {
	ctx := context.Background()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	var outcomes []*telemetry.Outcome
	reject := func(at time.Time, reason, agent, center string) {
		id := fmt.Sprint("r", len(outcomes))
		outcomes = append(outcomes, &telemetry.Outcome{Company: "acme", CallId: "c" + id, Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
			Id: id, AtUs: at.UnixMicro(), Reason: reason, Agent: &telemetry.Identity{UserId: agent, Name: "Agent " + agent, ContactCenterId: center}}}})
	}
	// Clocks go forward on 29 March: that day has 23 hours.
	reject(time.Date(2026, 3, 28, 23, 59, 59, 0, berlin), "on_a_call", "u1", "cc1")
	reject(time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), "on_a_call", "u2", "cc1")
	reject(time.Date(2026, 3, 29, 23, 59, 59, 0, berlin), "spam", "u1", "cc2")
	reject(time.Date(2026, 3, 30, 0, 0, 0, 0, berlin), "on_a_call", "u1", "cc1")
	reject(time.Date(2026, 3, 31, 0, 0, 0, 0, berlin), "spam", "u1", "cc1") // not before to
	for i, band := range []string{"good", "bad", "bad"} {
		f := float64(100 * (i + 1))
		outcomes = append(outcomes, callOutcome("acme", fmt.Sprint("q", i), time.Date(2026, 3, 29, 12, i, 0, 0, berlin).UnixMicro(), &telemetry.Call{
			State: "ended", Target: &telemetry.Party{AppVersion: "5.2"}, Verdict: &telemetry.Verdict{
				Overall: band, Final: true, Delay: &telemetry.Delay{RttMs: &telemetry.Distribution{P50: f, P95: f}}, Loss: &telemetry.Loss{Percent: ptr(float64(i))}}}))
	}
	acme := stored(t, outcomes).Company("acme")
	f := query.TrendFilter{
		Interval: "1d", TimeZone: "Europe/Berlin",
		From: query.Time{Time: time.Date(2026, 3, 28, 0, 0, 0, 0, berlin)}, To: query.Time{Time: time.Date(2026, 3, 31, 0, 0, 0, 0, berlin)},
	}
	got, err := acme.RejectionTrend(ctx, f)
	require.NoError(t, err)
	b, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, `{"interval":"1d","group_by":"reason","time_zone":"Europe/Berlin","from":"2026-03-27T23:00:00.000Z","to":"2026-03-30T22:00:00.000Z","series":[
{"key":"on_a_call","name":"On a call","total":3,"points":[{"at":"2026-03-27T23:00:00.000Z","count":1},{"at":"2026-03-28T23:00:00.000Z","count":1},{"at":"2026-03-29T22:00:00.000Z","count":1}]},
{"key":"spam","name":"Spam","total":1,"points":[{"at":"2026-03-27T23:00:00.000Z","count":0},{"at":"2026-03-28T23:00:00.000Z","count":1},{"at":"2026-03-29T22:00:00.000Z","count":0}]}]}`, string(b))
	f.Interval, f.GroupBy, f.Filter.ContactCenter = "1h", "agent", "cc1"
	got, err = acme.RejectionTrend(ctx, f)
	require.NoError(t, err)
	require.Len(t, got.Series, 2)
	require.Equal(t, "Agent u1", got.Series[0].Name)
	for _, s := range got.Series {
		require.Len(t, s.Points, 24+23+24)
		var sum uint64
		for _, p := range s.Points {
			sum += p.Count
		}
		require.Equal(t, s.Total, sum, "every rejection is in a bucket")
	}
	quality, err := acme.QualityTrend(ctx, query.QualityFilter{GroupBy: "app_version", Interval: "1d", TimeZone: "Europe/Berlin", From: f.From, To: f.To})
	require.NoError(t, err)
	require.Len(t, quality.Series, 1)
	require.Equal(t, "5.2", quality.Series[0].Key)
	day := quality.Series[0].Points[1]
	require.EqualValues(t, 3, day.Calls)
	require.EqualValues(t, 2, day.Verdicts["bad"])
	require.InEpsilon(t, 200, day.RTTMs.P50, 0.01)
	require.InEpsilon(t, 1, day.LossPercent.P50, 0.01)
	require.Nil(t, day.MOS)
	require.Zero(t, quality.Series[0].Points[0].Calls)

	for name, change := range map[string]func(*query.TrendFilter){
		"interval": func(f *query.TrendFilter) { f.Interval = "1s" },
		"zone":     func(f *query.TrendFilter) { f.TimeZone = "Mars/Base" },
		"group":    func(f *query.TrendFilter) { f.GroupBy = "company" },
		"order":    func(f *query.TrendFilter) { f.From, f.To = f.To, f.From },
		"no time":  func(f *query.TrendFilter) { f.From = query.Time{} },
	} {
		bad := f
		change(&bad)
		_, err := acme.RejectionTrend(ctx, bad)
		require.ErrorIs(t, err, query.ErrFilter, name)
	}
	f.Interval, f.To = "1m", query.Time{Time: f.From.Add(100 * 24 * time.Hour)}
	_, err = acme.RejectionTrend(ctx, f)
	require.ErrorIs(t, err, query.ErrLimit)
}
