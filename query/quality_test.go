package query_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// qualityCalls are calls of some weeks in all their versions: as they ran, ended
// without a final verdict, with it, and corrected later in what they are grouped by,
// in their figures and in their start, over midnight too; some twice.
func qualityCalls(r *rand.Rand, n int) []*telemetry.Outcome {
	var out []*telemetry.Outcome
	begin := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC)
	seq := int64(0)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range n {
		started := begin.Add(time.Duration(r.Int64N(int64(28 * 24 * time.Hour))))
		if r.IntN(4) == 0 { // near midnight UTC, whence corrections lead to the day before
			started = started.Truncate(24 * time.Hour).Add(time.Duration(r.Int64N(int64(10*time.Minute))) - 5*time.Minute)
		}
		ended := started.Add(time.Duration(r.Int64N(int64(20 * time.Minute))))
		verdict := func(final bool) *telemetry.Verdict {
			v := &telemetry.Verdict{Final: final, Overall: pick(query.Bands...), ComputedUs: ended.Add(30 * time.Second).UnixMicro(),
				OneWayAudio: &telemetry.OneWayAudio{State: pick("none", "none", "unknown", "suspected", "confirmed")}}
			if r.IntN(10) > 0 {
				f := math.Exp(4 + r.NormFloat64())
				v.Delay = &telemetry.Delay{RttMs: &telemetry.Distribution{P50: f, P95: 2 * f}}
			}
			if r.IntN(10) > 0 {
				v.Jitter = &telemetry.Jitter{JitterMs: &telemetry.Distribution{P50: 1, P95: math.Exp(1 + r.NormFloat64())}}
			}
			if r.IntN(10) > 0 {
				v.Loss = &telemetry.Loss{Percent: ptr(max(0, r.NormFloat64()))}
			}
			if r.IntN(10) > 0 {
				v.Mos = &telemetry.MOS{Avg: 4.4 - 3*r.Float64()*r.Float64()}
			}
			return v
		}
		c := &telemetry.Call{State: "live", StartedUs: started.UnixMicro(), Verdict: verdict(false)}
		change := func() {
			c.Direction = pick("inbound", "outbound", "internal")
			c.Target = &telemetry.Party{Endpoint: pick("web", "native"), AppVersion: pick("", "5.1", "5.2"), Platform: pick("ios", "linux"), Identity: &telemetry.Identity{
				UserId: fmt.Sprint("u", r.IntN(30)), OfficeId: pick("", "hq", "north", "o'brien\\"), DepartmentId: pick("sales", "support"), ContactCenterId: pick("", "cc")}}
			c.Legs = []*telemetry.Leg{{Side: "target", Address: fmt.Sprintf("203.0.%d.7:4000", r.IntN(4))}}
		}
		company := "acme"
		if r.IntN(10) == 0 {
			company = "other"
		}
		emit := func() {
			seq++
			o := callOutcome(company, fmt.Sprint("c", i), c.StartedUs, proto.Clone(c).(*telemetry.Call))
			o.Seq = seq << 12
			out = append(out, o)
			if r.IntN(8) == 0 {
				out = append(out, o)
			}
		}
		change()
		if r.IntN(3) == 0 {
			emit()
		}
		if r.IntN(20) == 0 {
			continue // still runs
		}
		c.State, c.EndedUs = "ended", ended.UnixMicro()
		if r.IntN(3) == 0 {
			emit()
		}
		if r.IntN(20) == 0 {
			continue // its verdict is not final yet
		}
		c.Verdict = verdict(true)
		emit()
		for range r.IntN(3) {
			c.Verdict = verdict(true)
			c.Verdict.ComputedUs += int64(r.IntN(120)) * 1e6
			change()
			if r.IntN(2) == 0 {
				c.StartedUs -= r.Int64N((10 * time.Minute).Microseconds())
			}
			emit()
		}
	}
	return out
}

// rawCall is the newest version of a call, as calls has it.
type rawCall struct {
	at      time.Time
	keys    map[string]string
	overall string
	oneWay  bool
	figures [4]*float32
}

func rawCalls(t *testing.T, conn driver.Conn, outcomes []*telemetry.Outcome) []rawCall {
	t.Helper()
	networks := map[string]string{}
	for _, o := range outcomes {
		for _, p := range o.GetCall().Peers() {
			if p.Kind == telemetry.PeersNetwork {
				networks[o.CallId] = p.ID // the last is the newest
			}
		}
	}
	rows, err := conn.Query(context.Background(), `SELECT call_id, toUnixTimestamp64Micro(started_at), target_office_id, target_department_id, target_contact_center_id, target_app_version,
target_platform, target_user_id, target_endpoint, direction, overall, one_way_state IN ('suspected', 'confirmed'), rtt_ms_p50, jitter_ms_p95, loss_percent, mos_avg
FROM calls FINAL WHERE company = 'acme' AND state = 'ended' AND final`)
	require.NoError(t, err)
	defer rows.Close()
	var out []rawCall
	for rows.Next() {
		var id string
		var us int64
		var oneWay uint8
		var k [8]string
		var c rawCall
		require.NoError(t, rows.Scan(&id, &us, &k[0], &k[1], &k[2], &k[3], &k[4], &k[5], &k[6], &k[7], &c.overall, &oneWay, &c.figures[0], &c.figures[1], &c.figures[2], &c.figures[3]))
		c.at, c.oneWay = time.UnixMicro(us), oneWay == 1
		c.keys = map[string]string{"none": "", "office": k[0], "department": k[1], "contact_center": k[2], "app_version": k[3], "platform": k[4], "user": k[5],
			"endpoint": k[6], "direction": k[7], "network": networks[id]}
		out = append(out, c)
	}
	require.NoError(t, rows.Err())
	return out
}

// like compares figures with those counted call by call.
func like(t *testing.T, want []rawCall, got query.QualityFigures, what string) {
	t.Helper()
	var oneWay uint64
	bands := map[string]uint64{"good": 0, "acceptable": 0, "bad": 0, "unacceptable": 0, "unknown": 0}
	for _, c := range want {
		bands[c.overall]++
		if c.oneWay {
			oneWay++
		}
	}
	require.EqualValues(t, len(want), got.Calls, what)
	require.Equal(t, bands, got.Verdicts, what)
	require.Equal(t, oneWay, got.OneWay, what)
	if len(want) > 0 {
		require.InDelta(t, float64(bands["bad"])/float64(len(want)), got.Shares["bad"], 1e-6, what)
		require.InDelta(t, float64(oneWay)/float64(len(want)), *got.OneWayShare, 1e-6, what)
	} else {
		require.Empty(t, got.Shares, what)
		require.Nil(t, got.OneWayShare, what)
	}
	for i, p := range []*query.Percentiles{got.RTTMs, got.JitterMs, got.LossPercent, got.MOS} {
		var values []float64
		for _, c := range want {
			if c.figures[i] != nil {
				values = append(values, float64(*c.figures[i]))
			}
		}
		if len(values) == 0 {
			require.Nil(t, p, what)
			continue
		}
		slices.Sort(values)
		require.EqualValues(t, len(values), p.Calls, what)
		levels := []float64{0.5, 0.95, 0.99}
		if i == 3 {
			levels = []float64{0.5, 0.05, 0.01}
		}
		for k, v := range []float64{p.P50, p.P95, p.P99} {
			at := levels[k] * float64(len(values)-1)
			low, high := values[int(math.Floor(at))], values[int(math.Ceil(at))]
			require.GreaterOrEqual(t, v, low*0.9899, "%s: figure %d level %v of %d", what, i, levels[k], len(values))
			require.LessOrEqual(t, v, high*1.0101, "%s: figure %d level %v of %d", what, i, levels[k], len(values))
		}
	}
}

// Trends of quality equal what is counted call by call from the newest versions, in
// any zone, group and filter, however many versions of a call there are.
func TestQualityTrendIsExact(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(6, 9))
	outcomes := qualityCalls(r, 900)
	store, conn := storedRaw(t, outcomes)
	raw := rawCalls(t, conn, outcomes)
	require.Greater(t, len(raw), 500)

	check := func(f query.QualityFilter) {
		t.Helper()
		what := fmt.Sprintf("%+v", f)
		got, err := store.Company("acme").QualityTrend(ctx, f)
		require.NoError(t, err, what)
		loc, err := time.LoadLocation(f.TimeZone)
		require.NoError(t, err)
		groups := map[string][]rawCall{}
		var all []rawCall
		for _, c := range raw {
			if c.at.Before(f.From.Time) || !c.at.Before(f.To.Time) || f.Office != "" && c.keys["office"] != f.Office || f.User != "" && c.keys["user"] != f.User ||
				f.Network != "" && c.keys["network"] != f.Network || f.AppVersion != "" && c.keys["app_version"] != f.AppVersion {
				continue
			}
			all = append(all, c)
			groups[c.keys[f.GroupBy]] = append(groups[c.keys[f.GroupBy]], c)
		}
		line := func(calls []rawCall, s query.QualitySeries) {
			t.Helper()
			like(t, calls, s.QualityFigures, what+" "+s.Name)
			for i, p := range s.Points {
				var in []rawCall
				for _, c := range calls {
					if !c.at.Before(p.At.Time) && (i == len(s.Points)-1 || c.at.Before(s.Points[i+1].At.Time)) {
						in = append(in, c)
					}
				}
				like(t, in, p.QualityFigures, fmt.Sprint(what, s.Name, p.At))
				if f.Interval == "1d" {
					require.Equal(t, "00:00", p.At.In(loc).Format("15:04"), what)
				}
			}
		}
		line(all, got.Total)
		if f.GroupBy == "none" {
			require.Empty(t, got.Series)
			return
		}
		require.EqualValues(t, len(groups), got.Groups, what)
		top := f.Top
		if top == 0 {
			top = 10
		}
		eligible := 0
		for _, calls := range groups {
			if uint64(len(calls)) >= f.MinCalls {
				eligible++
			}
		}
		shown := min(top, eligible)
		want := shown
		if shown < len(groups) {
			want++
		}
		require.Len(t, got.Series, want, what)
		weight := func(calls []rawCall) float64 {
			var bad, oneWay float64
			for _, c := range calls {
				if c.overall == "bad" || c.overall == "unacceptable" {
					bad++
				}
				if c.oneWay {
					oneWay++
				}
			}
			switch n := float64(len(calls)); f.Order {
			case "bad":
				return bad / n
			case "one_way":
				return oneWay / n
			default:
				return n
			}
		}
		for i, s := range got.Series {
			if i == shown {
				require.True(t, s.Other)
				var rest []rawCall
				for _, calls := range groups {
					rest = append(rest, calls...)
				}
				line(rest, s)
				break
			}
			line(groups[s.Key], s)
			delete(groups, s.Key)
			require.GreaterOrEqual(t, s.Calls, f.MinCalls, what)
			for _, calls := range groups {
				if uint64(len(calls)) >= f.MinCalls {
					require.GreaterOrEqual(t, weightOf(s, f.Order), weight(calls), what)
				}
			}
		}
	}
	at := func(zone string, m time.Month, d, h int) query.Time {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		return query.Time{Time: time.Date(2026, m, d, h, 0, 0, 0, loc)}
	}
	for _, group := range []string{"none", "office", "department", "contact_center", "app_version", "platform", "network", "user", "endpoint", "direction"} {
		check(query.QualityFilter{GroupBy: group, Interval: "1d", TimeZone: "Europe/Berlin", From: at("Europe/Berlin", 3, 14, 0), To: at("Europe/Berlin", 4, 14, 0)})
		check(query.QualityFilter{GroupBy: group, Interval: "1h", TimeZone: "Asia/Kolkata", From: at("Asia/Kolkata", 3, 28, 3), To: at("Asia/Kolkata", 3, 30, 0), Top: 2, MinCalls: 3})
	}
	for _, order := range []string{"calls", "bad", "one_way"} {
		check(query.QualityFilter{GroupBy: "user", Interval: "1d", TimeZone: "America/New_York", From: at("UTC", 3, 14, 0), To: at("UTC", 4, 14, 0), Order: order, Top: 7, MinCalls: 10})
	}
	check(query.QualityFilter{GroupBy: "network", Interval: "15m", TimeZone: "Europe/Berlin", From: at("Europe/Berlin", 3, 28, 0), To: at("Europe/Berlin", 3, 31, 0)})
	check(query.QualityFilter{GroupBy: "user", Interval: "12h", TimeZone: "UTC", From: at("UTC", 3, 14, 0), To: at("UTC", 4, 14, 0), Office: `o'brien\`, AppVersion: "5.2"})
	check(query.QualityFilter{GroupBy: "office", Interval: "1d", TimeZone: "UTC", From: at("UTC", 3, 14, 0), To: at("UTC", 4, 14, 0), User: "u3", Network: "203.0.1.0/24"})

	// Merged parts and a migration of what was stored before give the same.
	whole := query.QualityFilter{GroupBy: "network", Interval: "1d", TimeZone: "UTC", From: at("UTC", 3, 14, 0), To: at("UTC", 4, 14, 0)}
	before, err := store.Company("acme").QualityTrend(ctx, whole)
	require.NoError(t, err)
	require.NoError(t, conn.Exec(ctx, "OPTIMIZE TABLE call_quality FINAL"))
	merged, err := store.Company("acme").QualityTrend(ctx, whole)
	require.NoError(t, err)
	require.Equal(t, before, merged)
	require.NoError(t, conn.Exec(ctx, "TRUNCATE TABLE call_quality"))
	migration, err := os.ReadFile("../sinks/clickhouse/migrations/0009_call_quality.sql")
	require.NoError(t, err)
	_, fill, _ := strings.Cut(string(migration), "INSERT INTO call_quality")
	fill, _, _ = strings.Cut(fill, ";\n")
	require.NoError(t, conn.Exec(ctx, "INSERT INTO call_quality"+fill))
	filled, err := store.Company("acme").QualityTrend(ctx, whole)
	require.NoError(t, err)
	require.Equal(t, before.Total, filled.Total)
}

func weightOf(s query.QualitySeries, order string) float64 {
	switch order {
	case "bad":
		return float64(s.Verdicts["bad"]+s.Verdicts["unacceptable"]) / float64(s.Calls)
	case "one_way":
		return float64(s.OneWay) / float64(s.Calls)
	}
	return float64(s.Calls)
}
