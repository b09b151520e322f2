package query_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// refusals are rejections around both changes of Europe's clocks, many of them in two
// versions that differ in reason and agent, some told twice.
func refusals(r *rand.Rand, n int) []*telemetry.Outcome {
	var out []*telemetry.Outcome
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range n {
		day := time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC)
		if r.IntN(2) == 0 {
			day = time.Date(2026, 10, 23, 0, 0, 0, 0, time.UTC)
		}
		at := day.Add(time.Duration(r.Int64N(int64(96 * time.Hour))))
		if r.IntN(4) == 0 {
			at = at.Truncate(30 * time.Minute) // on the edge of an interval
		}
		company := "acme"
		if r.IntN(10) == 0 {
			company = "other"
		}
		for version := range 1 + r.IntN(2) {
			agent := &telemetry.Identity{Number: fmt.Sprint("+1415555", 1000+r.IntN(4))}
			if r.IntN(3) > 0 {
				agent.UserId = fmt.Sprint("u", r.IntN(20))
				agent.Name = "Agent " + agent.UserId
			}
			agent.DepartmentId, agent.OfficeId, agent.ContactCenterId = pick("", "sales", "support"), pick("hq", "north"), pick("", "cc")
			o := &telemetry.Outcome{Company: company, CallId: fmt.Sprint("c", i/2), Seq: int64(10*i+version) << 12, Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
				Id: fmt.Sprint("r", i), AtUs: at.UnixMicro(), Reason: pick("on_a_call", "spam", "after_hours", "unknown"), Agent: agent, FromNumber: "+14155550001", ToNumber: "+14155550002"}}}
			out = append(out, o)
			if r.IntN(8) == 0 {
				out = append(out, o)
			}
		}
	}
	return out
}

// Trends of rejections equal what is counted row by row, and lists show what is so now.
func TestRejectionTrendIsExact(t *testing.T) {
	ctx := context.Background()
	store, conn := storedRaw(t, refusals(rand.New(rand.NewPCG(4, 8)), 700))
	acme := store.Company("acme")
	type row struct {
		at   time.Time
		keys map[string]string
	}
	var raw []row
	rows, err := conn.Query(ctx, `SELECT toUnixTimestamp64Micro(at), reason, if(agent_user_id != '', agent_user_id, agent_number), department_id, office_id, contact_center_id
FROM rejections FINAL WHERE company = 'acme'`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var us int64
		var k [5]string
		require.NoError(t, rows.Scan(&us, &k[0], &k[1], &k[2], &k[3], &k[4]))
		raw = append(raw, row{time.UnixMicro(us), map[string]string{"reason": k[0], "agent": k[1], "department": k[2], "office": k[3], "contact_center": k[4]}})
	}
	require.NoError(t, rows.Err())
	require.Greater(t, len(raw), 500)

	for _, zone := range []string{"Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"} {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		for _, month := range []time.Month{3, 10} {
			from := time.Date(2026, month, 24, 7, 10, 0, 0, loc)
			to := from.Add(6 * 24 * time.Hour)
			for _, interval := range []string{"1m", "5m", "15m", "1h", "1d"} {
				if interval == "1m" {
					from = time.Date(2026, month, map[time.Month]int{3: 29, 10: 25}[month], 0, 0, 0, 0, loc)
					to = from.Add(26 * time.Hour)
				}
				for _, group := range []string{"reason", "agent", "department", "office", "contact_center"} {
					f := query.TrendFilter{GroupBy: group, Interval: interval, TimeZone: zone, From: query.Time{Time: from}, To: query.Time{Time: to}}
					if group == "agent" {
						f.Top, f.Filter = 5, query.RejectionFilter{Office: "hq"}
					}
					what := fmt.Sprintf("%+v", f)
					got, err := acme.RejectionTrend(ctx, f)
					require.NoError(t, err, what)
					want, all := map[string]map[int64]uint64{}, uint64(0)
					for _, r := range raw {
						if r.at.Before(from) || !r.at.Before(to) || f.Filter.Office != "" && r.keys["office"] != f.Filter.Office {
							continue
						}
						// The begin of the interval by the clock on the wall, other than query does it.
						var begin time.Time
						switch local := r.at.In(loc); interval {
						case "1d":
							begin = time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, loc)
						default:
							step, err := time.ParseDuration(interval)
							require.NoError(t, err)
							begin = local.Add(-(time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())) % step)
						}
						if want[r.keys[group]] == nil {
							want[r.keys[group]] = map[int64]uint64{}
						}
						want[r.keys[group]][begin.Unix()]++
						all++
					}
					for _, s := range got.Series {
						points := want[s.Key]
						if s.Other {
							points = map[int64]uint64{}
							for _, rest := range want {
								for at, n := range rest {
									points[at] += n
								}
							}
						}
						var total uint64
						for _, p := range s.Points {
							require.Equal(t, points[p.At.Unix()], p.Count, "%s: %s at %s", what, s.Key, p.At)
							total += p.Count
						}
						require.Equal(t, s.Total, total, what)
						all -= total
						delete(want, s.Key)
					}
					require.Zero(t, all, "%s: every rejection is in a line", what)
				}
			}
		}
	}

	// Of two versions, whether merged or not, the newer says what is found.
	for _, f := range []query.RejectionFilter{{Reason: "spam"}, {Office: "north", Department: "sales"}, {Agent: "u3"}, {ContactCenter: "cc"}, {}} {
		passes := func(k map[string]string) bool {
			return (f.Reason == "" || f.Reason == k["reason"]) && (f.Office == "" || f.Office == k["office"]) && (f.Department == "" || f.Department == k["department"]) &&
				(f.Agent == "" || f.Agent == k["agent"]) && (f.ContactCenter == "" || f.ContactCenter == k["contact_center"])
		}
		want, n := map[string]bool{}, 0
		for _, r := range raw {
			if passes(r.keys) {
				want[r.at.String()+r.keys["reason"]] = true
				n++
			}
		}
		seen := map[string]bool{}
		var last time.Time
		for page := (query.Page{Limit: 7}); ; {
			l, err := acme.Rejections(ctx, f, page)
			require.NoError(t, err)
			for _, r := range l.Items {
				require.False(t, seen[r.CallID+" "+r.ID], "%+v: twice", f)
				seen[r.CallID+" "+r.ID] = true
				require.True(t, want[time.UnixMicro(r.At.UnixMicro()).String()+r.Reason], "%+v: %+v", f, r)
				require.True(t, last.IsZero() || !r.At.After(last))
				last = r.At.Time
			}
			if l.NextCursor == nil {
				break
			}
			page.Cursor = *l.NextCursor
		}
		require.Len(t, seen, n, "%+v", f)
	}
}
