package query_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// exportOutcomes are calls of one company, each in two versions, with samples
// and every third with a rejection and a rating.
func exportOutcomes(company string, n int) []*telemetry.Outcome {
	var out []*telemetry.Outcome
	for i := range n {
		id, began := fmt.Sprintf("%s-call-%03d", company, i), us(time.Duration(i)*time.Minute)
		call := fullCall()
		call.Target.Identity.UserId = fmt.Sprint("u", i%3)
		call.Verdict.Overall = []string{"good", "bad", "unknown"}[i%3]
		call.Legs[0].Address = fmt.Sprintf("192.0.2.%d:4000", i%5)
		early := &telemetry.Call{State: "live", Direction: "outbound"}
		out = append(out, callOutcome(company, id, began+int64(i%2)*5e6, early), callOutcome(company, id, began, call))
		for j := range 4 {
			out = append(out, sampleOutcome(company, id, "", began+int64(j)*1e6, &telemetry.Sample{LegId: "leg-a", Source: "rtcp", Side: "contact", Direction: "target_to_contact", RttMs: ptr(float64(i) + 0.1), PacketsLost: ptr(int32(-j))}))
		}
		if i%3 == 0 {
			out = append(out,
				&telemetry.Outcome{Company: company, CallId: id, Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
					Id: id + "-r", AtUs: began, Reason: []string{"declined", "on_a_call"}[i%2], Agent: &telemetry.Identity{UserId: "u1", OfficeId: "ny"}, Source: "event"}}},
				&telemetry.Outcome{Company: company, CallId: id, Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: id + "-g", AtUs: began, Rating: uint32(1 + i%5)}}})
		}
	}
	return out
}

// pages gives a list page after page.
func pages[T any](t *testing.T, list func(query.Page) (query.List[T], error)) (all []T) {
	t.Helper()
	for p := (query.Page{Limit: 7}); ; {
		l, err := list(p)
		require.NoError(t, err)
		all = append(all, l.Items...)
		if l.NextCursor == nil {
			return all
		}
		p.Cursor = *l.NextCursor
	}
}

// streamed gathers what is given one by one.
func streamed[T any](t *testing.T, each func(func(*T) error) error) (all []T) {
	t.Helper()
	require.NoError(t, each(func(row *T) error {
		all = append(all, *row)
		return nil
	}))
	return all
}

func TestStreamsAreTheLists(t *testing.T) {
	ctx := context.Background()
	const n = 40
	store := stored(t, append(exportOutcomes("acme", n), exportOutcomes("other", n)...))
	c := store.Company("acme")
	from, to := query.Time{Time: now.Add(-20 * time.Minute)}, query.Time{Time: now.Add(-10 * time.Minute)}
	for _, f := range []query.CallFilter{
		{}, {From: from, To: to}, {Direction: "inbound"}, {Direction: "outbound"}, {State: "live"}, {State: "ended", User: "u1"}, {User: "nobody"},
		{Number: "+12125550101"}, {Number: "+12125550101", From: from}, {NumberPrefix: "1212"}, {NumberSuffix: "0199"}, {NumberSuffix: "7777"},
		{Verdict: "bad"}, {Verdict: "one_way", User: "u2"}, {Verdict: "choppy"}, {Verdict: "delay"}, {Verdict: "loss"}, {Verdict: "unknown", From: from},
		{Rejected: ptr(true)}, {Rejected: ptr(false), User: "u1"}, {Rating: ptr(uint32(1))}, {Rating: ptr(uint32(4)), Rejected: ptr(true)},
		{Q: "acme-call-007"}, {Q: "other-call-007"}, {Q: "leg-a"}, {Q: "u1"}, {Q: "12125550101"}, {Q: "abc@192.0.2.7", User: "u1"},
		{Device: "browser-1", User: "u0"}, {SIPCallID: "xyz@192.0.2.8"}, {SIPCallID: "acme-call-003"}, {Address: "192.0.2.3"}, {Address: "192.0.2.3", User: "u1", Verdict: "bad"}, {Address: "2001:db8::1"},
	} {
		want := pages(t, func(p query.Page) (query.List[query.Call], error) { return c.Calls(ctx, f, p) })
		got := streamed(t, func(row func(*query.CallRow) error) error { return c.EachCall(ctx, f, row) })
		ids := make([]string, len(got))
		for i, r := range got {
			ids[i] = r.ID
			require.Equal(t, "acme", r.Company)
			if i < len(want) {
				require.Equal(t, want[i].StartedAt, r.StartedAt)
				require.Equal(t, want[i].DurationMs, r.DurationMs)
				require.Equal(t, want[i].Verdict.Overall, r.Overall)
				require.Equal(t, want[i].Target, r.Target)
			}
		}
		wanted := make([]string, len(want))
		for i, call := range want {
			wanted[i] = call.ID
		}
		require.Equal(t, wanted, ids, "%+v", f)
	}
	err := c.EachCall(ctx, query.CallFilter{Verdict: "terrible"}, func(*query.CallRow) error { return nil })
	require.ErrorIs(t, err, query.ErrFilter)

	for _, f := range []query.RejectionFilter{{}, {From: from, To: to}, {Reason: "declined"}, {Agent: "u1", Office: "ny"}, {Agent: "u2"}} {
		want := pages(t, func(p query.Page) (query.List[query.Rejection], error) { return c.Rejections(ctx, f, p) })
		require.Equal(t, want, streamed(t, func(row func(*query.Rejection) error) error { return c.EachRejection(ctx, f, row) }), "%+v", f)
	}

	for _, id := range []string{"acme-call-003", "abc@192.0.2.7"} {
		want := pages(t, func(p query.Page) (query.List[query.Sample], error) { return c.Samples(ctx, id, p) })
		require.Len(t, want, 4)
		require.Equal(t, want, streamed(t, func(row func(*query.Sample) error) error { return c.EachSample(ctx, id, row) }))
	}
	err = c.EachSample(ctx, "other-call-003", func(*query.Sample) error { return nil })
	require.ErrorIs(t, err, query.ErrNotFound)

	for _, span := range [][2]query.Time{{from, to}, {{Time: now.Add(-time.Hour)}, {Time: now.Add(time.Hour)}}} {
		want := pages(t, func(p query.Page) (query.List[query.CallSample], error) {
			return c.SamplesBetween(ctx, span[0], span[1], p)
		})
		require.NotEmpty(t, want)
		got := streamed(t, func(row func(*query.CallSample) error) error {
			return c.EachSampleBetween(ctx, span[0], span[1], row)
		})
		require.Equal(t, want, got)
		for i, s := range got {
			require.Contains(t, s.CallID, "acme-")
			require.False(t, s.At.Before(span[0].Time) || !s.At.Before(span[1].Time))
			require.False(t, i > 0 && s.At.Before(got[i-1].At.Time))
		}
	}
	require.Len(t, streamed(t, func(row func(*query.CallSample) error) error {
		return c.EachSampleBetween(ctx, query.Time{Time: now.Add(-time.Hour)}, query.Time{Time: now.Add(time.Hour)}, row)
	}), 4*n)
}

// TestStreamsEnd: what the receiver of rows says ends the stream and comes back as it is.
func TestStreamsEnd(t *testing.T) {
	store := stored(t, exportOutcomes("acme", 10))
	full := errors.New("the disk is full")
	rows := 0
	err := store.Company("acme").EachCall(context.Background(), query.CallFilter{}, func(*query.CallRow) error {
		if rows++; rows == 3 {
			return full
		}
		return nil
	})
	require.Equal(t, full, err)
	require.Equal(t, 3, rows)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = store.Company("acme").EachCall(ctx, query.CallFilter{}, func(*query.CallRow) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
}
