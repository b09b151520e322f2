package apptest

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/ingest/events"
	"github.com/earshot/earshot/processors/rejections"
	"github.com/earshot/earshot/query"
)

// post sends one event as a platform does.
func (u *Up) post(t *testing.T, typ, call string, at time.Time, data map[string]any) {
	t.Helper()
	data["call_id"] = call
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": fmt.Sprintf("%s-%s-%d", typ, call, at.UnixNano()), "source": "/pbx", "type": typ, "time": at.UTC().Format(time.RFC3339Nano), "data": data,
	})
	require.NoError(t, err)
	require.NoError(t, u.Do(http.MethodPost, "/ingest/v1/events", "application/cloudevents+json", body, nil))
}

func (u *Up) eventsOf(t *testing.T, path string) (list []query.CallEvent, types []string) {
	t.Helper()
	var page query.List[query.CallEvent]
	require.NoError(t, u.Get(company+path, &page))
	for _, e := range page.Items {
		types = append(types, e.Type)
	}
	return page.Items, types
}

// waitEvents waits until a call has had so many events of a type.
func (u *Up) waitEvents(t *testing.T, call, typ string, n int) {
	t.Helper()
	Eventually(t, 60*time.Second, fmt.Sprintf("%d %s of call %s", n, typ, call), func() error {
		var list query.List[query.CallEvent]
		if err := u.Get(company+"/calls/"+call+"/events", &list); err != nil {
			return err
		}
		have := 0
		for _, e := range list.Items {
			if e.Type == typ {
				have++
			}
		}
		if have != n {
			return fmt.Errorf("%d so far", have)
		}
		return nil
	})
}

// What the platform posts and what capture agents see of one call are one row of
// events, whoever is first with which of them.
func TestCallEvents(t *testing.T) {
	u := StartUp(t)
	hep, err := net.Dial("tcp", u.Run.Ingest["hep"])
	require.NoError(t, err)
	defer hep.Close()

	const call = "bench-events-0"
	c := benchmarks.NewCall("events", 0)
	begin := time.Now().Add(-time.Second)
	in := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	ann := map[string]any{"user_id": "ann", "name": "Ann", "number": "+14155550199", "office_id": "hq", "contact_center_id": "support"}
	who := func() map[string]any {
		return map[string]any{"from": "+14155550100", "to": ann, "direction": "inbound"}
	}
	u.post(t, "started", call, in(0), who())
	u.post(t, "ringing", call, in(50), who())
	var wire []byte
	wire = c.SetUp(wire, in(100))
	wire = c.Hold(wire, in(400), true)
	wire = c.Hold(wire, in(600), false)
	wire = c.HangUp(wire, in(900))
	_, err = hep.Write(wire)
	require.NoError(t, err)
	u.waitEvents(t, call, "ended", 1)
	// The platform is slower than the wire with the rest.
	u.post(t, "connected", call, in(210), who())
	u.post(t, "held", call, in(410), map[string]any{"side": "contact"})
	u.post(t, "recording_changed", call, in(300), map[string]any{"recording_enabled": true, "user": "ann"})
	u.post(t, "ended", call, in(910), map[string]any{"side": "contact", "reason": "hung up"})
	u.post(t, "rated", call, in(950), map[string]any{"user": ann, "rating": 4, "text": "a bit far away"})
	u.waitEvents(t, call, "rated", 1)
	u.waitEvents(t, call, "verdict", 1)

	events, types := u.eventsOf(t, "/calls/"+call+"/events")
	require.Equal(t, []string{"started", "ringing", "connected", "recording_changed", "held", "resumed", "ended", "rated", "verdict"}, types)
	require.Equal(t, []string{"event", "event", "sip", "event", "sip", "sip", "sip", "event", "earshot"}, sourcesOf(events))
	require.Equal(t, query.Time{Time: begin.UTC().Truncate(time.Millisecond)}, query.Time{Time: events[0].At.Truncate(time.Millisecond)})
	require.Equal(t, "ann", *events[2].Agent.UserID, "who answered")
	require.True(t, *events[3].RecordingEnabled)
	require.Equal(t, "+14155550100", events[4].Agent.Number, "who held")
	require.Equal(t, "contact", events[6].Side)
	require.Equal(t, uint32(4), events[7].Rating)
	require.NotNil(t, events[8].Verdict)
	for _, e := range events {
		require.Equal(t, call, e.Call)
		require.True(t, strings.HasSuffix(e.Links["call"], company+"/calls/"+call))
	}

	// All nine reasons of the article reach the supervisor, with an explanation each;
	// the tenth call is refused on the wire, and the platform says better why.
	var reasons query.List[query.RejectionReason]
	require.NoError(t, u.Get(company+"/rejections/reasons", &reasons))
	for i, reason := range reasons.Items[:9] {
		u.post(t, "rejected", fmt.Sprint("refused-", i), in(i), map[string]any{"from": "+14155550100", "to": map[string]any{"number": "+14155550123", "contact_center_id": "support"}, "agent": "ann", "reason": reason.ID})
	}
	busy := benchmarks.NewCall("events", 1)
	begin = time.Now().Add(-time.Second)
	_, err = hep.Write(busy.Refuse(nil, in(500), "486 Busy Here"))
	require.NoError(t, err)
	u.post(t, "rejected", "bench-events-1", in(895), map[string]any{"agent": map[string]any{"number": "+14155550199"}, "reason": "do_not_disturb", "text": "asked for quiet"})
	for i := range 9 {
		u.waitEvents(t, fmt.Sprint("refused-", i), "rejected", 1)
	}
	u.waitEvents(t, "bench-events-1", "ended", 1)
	events, types = u.eventsOf(t, "/calls/bench-events-1/events")
	require.Equal(t, []string{"started", "ringing", "rejected", "ended"}, types[:4])
	require.Equal(t, "do_not_disturb", events[2].Reason)
	require.Equal(t, "asked for quiet", events[2].Text)
	require.Equal(t, uint32(486), events[2].SIPStatus)
	require.Contains(t, events[2].Explanation, "disturbed")

	events, _ = u.eventsOf(t, "/events?type=rejected&contact_center=support&user=ann")
	require.Len(t, events, 9)
	explained := map[string]bool{}
	for _, e := range events {
		require.NotEmpty(t, e.Explanation, e.Reason)
		explained[e.Reason] = true
	}
	require.Len(t, explained, 9)
	var trend query.RejectionTrend
	require.NoError(t, u.Get(company+"/rejections/trend?group_by=agent&contact_center=support", &trend))
	require.Len(t, trend.Series, 1)
	require.Equal(t, "ann", trend.Series[0].Key)
	require.EqualValues(t, 9, trend.Series[0].Total)
	require.EqualValues(t, 1, *trend.Series[0].Answered)
	require.InDelta(t, 0.9, *trend.Series[0].RejectedShare, 1e-9)
	require.NoError(t, u.Get(company+"/rejections/trend?group_by=contact_center&agent=ann", &trend))
	require.Len(t, trend.Series, 1)
	require.Equal(t, "support", trend.Series[0].Key)

	// As a sheet, and page by page.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.URL+company+"/events?limit=1000", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+u.Key)
	req.Header.Set("Accept", "text/csv")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	rows, err := csv.NewReader(res.Body).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"id", "type", "at", "call"}, rows[0][:4])
	var paged []string
	for cursor := ""; ; {
		var list query.List[query.CallEvent]
		require.NoError(t, u.Get(company+"/events?limit=7"+cursor, &list))
		for _, e := range list.Items {
			paged = append(paged, e.ID)
		}
		if list.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *list.NextCursor
	}
	ids := map[string]bool{}
	for _, id := range paged {
		require.False(t, ids[id], "an event twice")
		ids[id] = true
	}
	require.GreaterOrEqual(t, len(ids), len(rows)-1)
}

func sourcesOf(events []query.CallEvent) (sources []string) {
	for _, e := range events {
		sources = append(sources, e.Source)
	}
	return sources
}

// What platforms may post, what processors conclude and what people are told are
// the same reasons, though the three packages do not know each other.
func TestReasonsAreTheSameEverywhere(t *testing.T) {
	var told []string
	for _, reason := range query.RejectionReasons() {
		require.True(t, rejections.Known(reason.ID), reason.ID)
		told = append(told, reason.ID)
	}
	require.ElementsMatch(t, events.Reasons, told)
}
