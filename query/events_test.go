package query_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

var (
	ann = &telemetry.Identity{UserId: "u1", Name: "Ann", Number: "+12125550101", OfficeId: "hq", DepartmentId: "sales", ContactCenterId: "cc1"}
	bo  = &telemetry.Identity{UserId: "u2", Name: "Bo", Number: "+12125550102", OfficeId: "lab"}
	eve = &telemetry.Identity{Number: "+12125550199"}
)

// eventOutcome is an event of a call of Ann with Eve.
func eventOutcome(company, call, id, typ string, ago time.Duration, change func(*telemetry.CallMoment)) *telemetry.Outcome {
	m := &telemetry.CallMoment{Id: id, Type: typ, AtUs: us(ago), Target: ann, Contact: eve, Direction: "inbound", Source: "sip"}
	if change != nil {
		change(m)
	}
	return &telemetry.Outcome{Company: company, CallId: call, AtUs: m.AtUs, Body: &telemetry.Outcome_Moment{Moment: m}}
}

func by(who *telemetry.Identity, reason string) func(*telemetry.CallMoment) {
	return func(m *telemetry.CallMoment) { m.Agent, m.Reason = who, reason }
}

func TestCallEvents(t *testing.T) {
	ctx := context.Background()
	verdict := func(m *telemetry.CallMoment) {
		m.Verdict = &telemetry.MomentVerdict{Version: 3, Overall: "bad", OneWayState: "none", FaultSide: "contact"}
	}
	outcomes := []*telemetry.Outcome{
		callOutcome("acme", "c1", us(time.Hour), fullCall()),
		eventOutcome("acme", "c1", "e1", "started", time.Hour, by(eve, "")),
		eventOutcome("acme", "c1", "e2", "ringing", 59*time.Minute, by(ann, "")),
		eventOutcome("acme", "c1", "e3", "rejected", 58*time.Minute, by(bo, "on_a_call")),
		eventOutcome("acme", "c1", "e4", "connected", 58*time.Minute, by(ann, "")),
		eventOutcome("acme", "c1", "e6", "ended", 50*time.Minute, by(eve, "BYE")),
		// The platform says late that recording was off, and why Bo refused.
		eventOutcome("acme", "c1", "e5", "recording_changed", 55*time.Minute, func(m *telemetry.CallMoment) { m.RecordingEnabled = proto.Bool(false) }),
		eventOutcome("acme", "c1", "e3", "rejected", 58*time.Minute, by(bo, "do_not_disturb")),
		eventOutcome("acme", "c1", "e7", "verdict", 49*time.Minute, verdict),
		eventOutcome("acme", "c2", "e8", "rated", 10*time.Minute, func(m *telemetry.CallMoment) { m.Agent, m.Rating, m.Text, m.Target = bo, 4, "fine", nil }),
		eventOutcome("other", "c1", "e9", "started", time.Hour, nil),
	}
	acme := stored(t, outcomes).Company("acme")

	for _, id := range []string{"c1", "abc@192.0.2.7"} {
		list, err := acme.CallEvents(ctx, id, query.Page{})
		require.NoError(t, err)
		var types []string
		for _, e := range list.Items {
			types = append(types, e.Type)
		}
		require.Equal(t, []string{"started", "ringing", "connected", "rejected", "recording_changed", "ended", "verdict"}, types)
		refused := list.Items[3]
		require.Equal(t, "do_not_disturb", refused.Reason, "the newest word counts")
		require.Contains(t, refused.Explanation, "not to be disturbed")
		require.Equal(t, "u2", *refused.Agent.UserID)
		require.Empty(t, list.Items[5].Explanation)
		require.Equal(t, "BYE", list.Items[5].Reason)
		require.Equal(t, ptr(false), list.Items[4].RecordingEnabled)
		require.Nil(t, list.Items[4].Agent)
		require.Equal(t, &query.EventVerdict{Version: 3, Overall: "bad", OneWayState: "none", FaultSide: "contact"}, list.Items[6].Verdict)
		require.Equal(t, "cc1", *list.Items[0].Target.ContactCenterID)
		require.Equal(t, query.Time{Time: now.Add(-time.Hour)}, list.Items[0].At)
	}
	_, err := acme.CallEvents(ctx, "c9", query.Page{})
	require.ErrorIs(t, err, query.ErrNotFound)

	// All of them, whatever the page holds, newest first and none twice.
	want := []string{"e8", "e7", "e6", "e5", "e4", "e3", "e2", "e1"}
	for limit := 1; limit < 10; limit++ {
		var got []string
		page := query.Page{Limit: limit}
		for {
			list, err := acme.Events(ctx, query.EventFilter{}, page)
			require.NoError(t, err)
			for _, e := range list.Items {
				got = append(got, e.ID)
			}
			if list.NextCursor == nil {
				break
			}
			page.Cursor = *list.NextCursor
		}
		require.Equal(t, want, got, "pages of %d", limit)
	}
	for name, tt := range map[string]struct {
		f    query.EventFilter
		want []string
	}{
		"type":           {query.EventFilter{Type: "rejected"}, []string{"e3"}},
		"user on a side": {query.EventFilter{User: "u1", Type: "verdict"}, []string{"e7"}},
		"user who did":   {query.EventFilter{User: "u2"}, []string{"e8", "e3"}},
		"office":         {query.EventFilter{Office: "lab"}, []string{"e8", "e3"}},
		"department":     {query.EventFilter{Department: "sales", Type: "started"}, []string{"e1"}},
		"contact centre": {query.EventFilter{ContactCenter: "cc1", Type: "ended"}, []string{"e6"}},
		"time":           {query.EventFilter{From: query.Time{Time: now.Add(-55 * time.Minute)}, To: query.Time{Time: now.Add(-49 * time.Minute)}}, []string{"e6", "e5"}},
		"nothing":        {query.EventFilter{Office: "mars"}, nil},
	} {
		list, err := acme.Events(ctx, tt.f, query.Page{})
		require.NoError(t, err, name)
		var got []string
		for _, e := range list.Items {
			got = append(got, e.ID)
		}
		require.Equal(t, tt.want, got, name)
	}
	_, err = acme.Events(ctx, query.EventFilter{Type: "exploded"}, query.Page{})
	require.ErrorIs(t, err, query.ErrFilter)
	_, err = acme.Events(ctx, query.EventFilter{}, query.Page{Cursor: "bm9uZQ"})
	require.ErrorIs(t, err, query.ErrCursor)
}

// TestRefusedShare: of the calls that an agent was offered, those that were refused.
func TestRefusedShare(t *testing.T) {
	ctx := context.Background()
	var outcomes []*telemetry.Outcome
	refuse := func(who *telemetry.Identity, reason string, ago time.Duration) {
		id := fmt.Sprint("r", len(outcomes))
		outcomes = append(outcomes, &telemetry.Outcome{Company: "acme", CallId: "c" + id, Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
			Id: id, AtUs: us(ago), Reason: reason, Agent: who}}})
		outcomes = append(outcomes, eventOutcome("acme", "c"+id, id, "rejected", ago, by(who, reason)))
	}
	refuse(ann, "on_a_call", time.Hour)
	refuse(ann, "spam", 2*time.Hour)
	refuse(bo, "on_a_call", 3*time.Hour)
	refuse(eve, "on_a_call", 3*time.Hour) // a number that is nobody's
	for i := range 6 {
		outcomes = append(outcomes, eventOutcome("acme", fmt.Sprint("a", i), fmt.Sprint("a", i), "connected", time.Duration(i)*time.Hour, by(ann, "")))
	}
	outcomes = append(outcomes, eventOutcome("acme", "late", "late", "connected", 30*time.Hour, by(bo, "")))
	acme := stored(t, outcomes).Company("acme")
	f := query.TrendFilter{GroupBy: "agent", Interval: "1h", From: query.Time{Time: now.Add(-24 * time.Hour)}, To: query.Time{Time: now.Add(time.Minute)}}
	trend, err := acme.RejectionTrend(ctx, f)
	require.NoError(t, err)
	line := func(key string) query.TrendSeries {
		i := slices.IndexFunc(trend.Series, func(s query.TrendSeries) bool { return s.Key == key })
		require.GreaterOrEqual(t, i, 0, key)
		return trend.Series[i]
	}
	require.EqualValues(t, 2, line("u1").Total)
	require.EqualValues(t, 6, *line("u1").Answered)
	require.InDelta(t, 0.25, *line("u1").RejectedShare, 1e-9)
	require.EqualValues(t, 0, *line("u2").Answered)
	require.InDelta(t, 1, *line("u2").RejectedShare, 1e-9)
	require.Nil(t, line("+12125550199").RejectedShare)

	for group, want := range map[string]map[string]uint64{
		"contact_center": {"cc1": 2, "": 2},
		"department":     {"sales": 2, "": 2},
		"office":         {"hq": 2, "lab": 1, "": 1},
		"reason":         {"on_a_call": 3, "spam": 1},
	} {
		f.GroupBy = group
		trend, err = acme.RejectionTrend(ctx, f)
		require.NoError(t, err)
		got := map[string]uint64{}
		for _, s := range trend.Series {
			got[s.Key] = s.Total
			require.Nil(t, s.Answered)
		}
		require.Equal(t, want, got, group)
	}
}

func TestReasons(t *testing.T) {
	nine := []string{
		"reserved_to_another_call", "no_available_endpoints", "manually_declined", "assigned_to_another_operator", "after_hours",
		"spam", "on_a_call", "do_not_disturb", "ringing_in_progress",
	}
	all := query.RejectionReasons()
	for i, r := range all {
		require.NotEmpty(t, r.Title)
		require.NotEmpty(t, r.Explanation)
		if i < len(nine) {
			require.Equal(t, nine[i], r.ID)
		}
		require.Equal(t, i < len(nine), r.Kind == "platform", r.ID)
		found, ok := query.RejectionReasonByID(r.ID)
		require.True(t, ok)
		require.Equal(t, r, found)
	}
	_, ok := query.RejectionReasonByID("lunch")
	require.False(t, ok)
}
