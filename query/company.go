package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Counts sums up the company; today begins at midnight in loc.
func (c Company) Counts(ctx context.Context, loc *time.Location) (Counts, error) {
	if loc == nil {
		loc = time.UTC
	}
	var out Counts
	p := newParams()
	s := c.bindings(p).get("*").inside("SELECT count(), countIf("+registrationState+" = 'registered')", "")
	if err := c.one(ctx, s, &out.Devices, &out.Registered); err != nil {
		return Counts{}, err
	}
	now := c.store.now()
	y, m, d := now.In(loc).Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, loc)
	p = newParams()
	p.integer("midnight", midnight.UnixMicro())
	// Ids, not rows: a call whose start was corrected has two.
	s = c.from("call_times", p).get("uniqExact(cityHash64(call_id))").and("started_at >= fromUnixTimestamp64Micro({midnight:Int64}, 'UTC')")
	if err := c.one(ctx, s, &out.CallsToday); err != nil {
		return Counts{}, err
	}
	candidates := c.from("call_times", p).newest().get("call_id")
	s = c.from("calls", p).newest().get("count()")
	for _, one := range []*statement{candidates, s} {
		if err := c.filterCalls(one, CallFilter{State: "live"}); err != nil {
			return Counts{}, err
		}
	}
	s.and("call_id IN (" + candidates.String() + ")")
	if err := c.one(ctx, s, &out.LiveCalls); err != nil {
		return Counts{}, err
	}
	s = c.from("rejections", p).newest().get("count()").and("at >= fromUnixTimestamp64Micro({midnight:Int64}, 'UTC')")
	if err := c.one(ctx, s, &out.RejectionsToday); err != nil {
		return Counts{}, err
	}
	return out, nil
}

func (c Company) one(ctx context.Context, s *statement, dest ...any) error {
	return c.rows(ctx, s, func(scan func(...any) error) error { return scan(dest...) })
}

// maxHits is how many things of one kind a search shows.
const maxHits = 10

// Any finds what an id, number or address may mean, the best match first.
func (c Company) Any(ctx context.Context, q string) ([]Hit, error) {
	out := []Hit{}
	if q = strings.TrimSpace(q); q == "" {
		return out, nil
	}
	p := newParams()
	p.text("q", q)
	p.integer("limit", maxHits)
	add := func(s *statement) error {
		return c.rows(ctx, s, func(scan func(...any) error) error {
			var h Hit
			var at int64
			if err := scan(&h.Kind, &h.ID, &h.Text, &at); err != nil {
				return err
			}
			h.At = micros(at)
			if !slices.ContainsFunc(out, func(o Hit) bool { return o.Kind == h.Kind && o.ID == h.ID }) {
				out = append(out, h)
			}
			return nil
		})
	}
	const describe = "concat(target_number, ' – ', contact_number)"
	for _, s := range []*statement{
		c.from("calls", p).newest().get("'call', call_id, " + describe + ", toUnixTimestamp64Micro(started_at)").
			and("call_id = {q:String} OR startsWith(call_id, {q:String})").with("ORDER BY call_id = {q:String} DESC, started_at DESC LIMIT {limit:UInt32}"),
		c.from("calls", p).newest().get("'call', call_id, " + describe + ", toUnixTimestamp64Micro(started_at)").
			and("has(sip_call_ids, {q:String})").with("ORDER BY started_at DESC LIMIT {limit:UInt32}"),
		c.from("calls", p).newest().get("'call', call_id, " + describe + ", toUnixTimestamp64Micro(started_at)").
			and("has(leg_ids, {q:String})").with("ORDER BY started_at DESC LIMIT {limit:UInt32}"),
		c.bindings(p).get("*").inside(`SELECT multiIf(user_id = {q:String}, 'user', device_id = {q:String}, 'device', 'aor') AS kind,
multiIf(kind = 'user', user_id, kind = 'device', device_id, aor), multiIf(kind = 'aor', user_name, aor), toUnixTimestamp64Micro(at)`,
			"WHERE aor = {q:String} OR device_id = {q:String} OR user_id = {q:String} OR startsWith(aor, {q:String}) OR startsWith(aor, concat('sip:', {q:String}))"+
				" ORDER BY at DESC LIMIT {limit:UInt32}"),
		c.from("call_times", p).get(`if({q:String} IN (target_user_id, contact_user_id), 'user', 'number') AS kind,
if(kind = 'user', {q:String}, if(startsWith({q:String}, '+'), {q:String}, if({q:String} IN (target_number, contact_number), {q:String}, concat('+', {q:String})))) AS id,
'', toUnixTimestamp64Micro(max(started_at))`).
			and("target_user_id = {q:String} OR contact_user_id = {q:String} OR target_number IN ({q:String}, concat('+', {q:String})) OR contact_number IN ({q:String}, concat('+', {q:String}))").
			with("GROUP BY kind, id LIMIT {limit:UInt32}"),
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// QualityTrend sums up calls by group and bucket of started_at.
func (c Company) QualityTrend(ctx context.Context, f QualityFilter) (QualityTrend, error) {
	columns, ok := map[string][2]string{
		"":            {"''", "'All calls'"},
		"user":        {"target_user_id", "target_name"},
		"office":      {"target_office_id", "''"},
		"department":  {"target_department_id", "''"},
		"app_version": {"target_app_version", "''"},
		"platform":    {"target_platform", "''"},
		"endpoint":    {"target_endpoint", "''"},
		"direction":   {"direction", "''"},
	}[f.GroupBy]
	if !ok {
		return QualityTrend{}, fmt.Errorf("%w: group_by %q is none of user, office, department, app_version, platform, endpoint, direction", ErrFilter, f.GroupBy)
	}
	b, err := newBuckets(f.Interval, f.TimeZone, f.From, f.To)
	if err != nil {
		return QualityTrend{}, err
	}
	p := newParams()
	p.integers("bounds", b.starts)
	s := c.from("calls", p).newest().
		get("toString(" + columns[0] + ") AS key, argMax(" + columns[1] + ", started_at), " + bucketOf("started_at") + ` AS bucket, count(),
countIf(overall = 'good'), countIf(overall = 'acceptable'), countIf(overall = 'bad'), countIf(overall = 'unacceptable'), countIf(overall = 'unknown'),
countIf(one_way_state IN ('suspected', 'confirmed')),
quantileExactOrNull(0.5)(rtt_ms_p50), quantileExactOrNull(0.95)(rtt_ms_p95), quantileExactOrNull(0.95)(jitter_ms_p95),
toFloat32(avgOrNull(loss_percent)), toFloat32(avgOrNull(mos_avg))`).
		and("state = 'ended'").with("GROUP BY key, bucket")
	timeRange(s, "started_at", b.from, b.to)
	if f.User != "" {
		p.text("user", f.User)
		s.and("target_user_id = {user:String} OR contact_user_id = {user:String}")
	}
	if f.Office != "" {
		p.text("office", f.Office)
		s.and("target_office_id = {office:String}")
	}
	series := map[string]*QualitySeries{}
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		var (
			key, name                            string
			bucket                               int64
			calls, oneWay                        uint64
			bands                                [5]uint64
			rttP50, rttP95, jitterP95, loss, mos *float32
		)
		if err := scan(&key, &name, &bucket, &calls, &bands[0], &bands[1], &bands[2], &bands[3], &bands[4], &oneWay,
			&rttP50, &rttP95, &jitterP95, &loss, &mos); err != nil {
			return err
		}
		line := series[key]
		if line == nil {
			line = &QualitySeries{Key: key, Name: name, Points: make([]QualityPoint, len(b.starts))}
			if name == "" {
				line.Name = key
			}
			for i, at := range b.starts {
				line.Points[i] = QualityPoint{At: Time{time.Unix(at, 0).UTC()}, Verdicts: map[string]uint64{}}
			}
			series[key] = line
		}
		line.Calls += calls
		if i, ok := slices.BinarySearch(b.starts, bucket); ok {
			point := &line.Points[i]
			point.Calls, point.OneWay = calls, oneWay
			for k, band := range []string{"good", "acceptable", "bad", "unacceptable", "unknown"} {
				point.Verdicts[band] = bands[k]
			}
			point.RTTMsP50, point.RTTMsP95, point.JitterMsP95, point.LossPercent, point.MOSAvg =
				shown(rttP50), shown(rttP95), shown(jitterP95), shown(loss), shown(mos)
		}
		return nil
	})
	if err != nil {
		return QualityTrend{}, err
	}
	out := QualityTrend{Interval: b.interval, GroupBy: f.GroupBy, TimeZone: b.zone.String(), From: b.from, To: b.to, Series: []QualitySeries{}}
	for _, line := range series {
		out.Series = append(out.Series, *line)
	}
	slices.SortFunc(out.Series, func(x, y QualitySeries) int {
		if x.Calls != y.Calls {
			if x.Calls > y.Calls {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Key, y.Key)
	})
	if len(out.Series) > maxSeries {
		out.Series = out.Series[:maxSeries]
	}
	return out, nil
}
