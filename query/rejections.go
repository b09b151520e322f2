package query

import (
	"context"
	"fmt"
	"slices"
)

const rejectionColumns = `id, toUnixTimestamp64Micro(at), call_id, reason, agent_user_id, agent_name, agent_number,
department_id, contact_center_id, office_id, from_number, to_number, sip_status, raw_reason, text, source`

func scanRejection(scan func(...any) error) (Rejection, error) {
	var (
		r                                Rejection
		at                               int64
		user, department, center, office string
		status                           uint16
	)
	err := scan(&r.ID, &at, &r.CallID, &r.Reason, &user, &r.Agent.Name, &r.Agent.Number,
		&department, &center, &office, &r.FromNumber, &r.ToNumber, &status, &r.RawReason, &r.Text, &r.Source)
	r.At, r.SIPStatus = micros(at), uint32(status)
	r.Agent.UserID, r.Agent.DepartmentID, r.Agent.ContactCenterID, r.Agent.OfficeID = orNil(user), orNil(department), orNil(center), orNil(office)
	return r, err
}

func filterRejections(s *statement, f RejectionFilter) {
	for _, c := range []struct{ name, value, where string }{
		{"reason", f.Reason, "reason = {reason:String}"},
		{"agent", f.Agent, "agent_user_id = {agent:String}"},
		{"department", f.Department, "department_id = {department:String}"},
		{"office", f.Office, "office_id = {office:String}"},
		{"center", f.ContactCenter, "contact_center_id = {center:String}"},
		{"number", f.Number, "from_number = {number:String} OR to_number = {number:String}"},
	} {
		if c.value != "" {
			s.params.text(c.name, c.value)
			s.and(c.where)
		}
	}
}

// Rejections lists refused legs, the newest first. A page may hold fewer items
// than asked for and still have a next one.
func (c Company) Rejections(ctx context.Context, f RejectionFilter, page Page) (List[Rejection], error) {
	limit, err := page.limit()
	if err != nil {
		return List[Rejection]{}, err
	}
	after, err := decodeCursor(page.Cursor, "rejections", 2)
	if err != nil {
		return List[Rejection]{}, err
	}
	s := c.from("rejection_times", newParams()).get(rejectionColumns)
	filterRejections(s, f)
	timeRange(s, "at", f.From, f.To)
	if after != nil {
		s.params.integer("after_at", after.At)
		s.params.text("after_call", after.Keys[0])
		s.params.text("after_id", after.Keys[1])
		const at = "fromUnixTimestamp64Micro({after_at:Int64}, 'UTC')"
		s.and("at <= "+at, "(at, call_id, id) < ("+at+", {after_call:String}, {after_id:String})")
	}
	// Versions that were not merged yet are neighbours, the newest first; to have the
	// server remove them would keep it from reading in order.
	read, most := 0, 2*limit+16
	s.params.integer("limit", int64(most))
	s.with("ORDER BY at DESC, call_id DESC, id DESC, seq DESC LIMIT {limit:UInt32}")
	out := List[Rejection]{Items: []Rejection{}}
	more := false
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := scanRejection(scan)
		if err != nil {
			return err
		}
		read++
		n := len(out.Items)
		switch {
		case n > 0 && out.Items[n-1].ID == r.ID && out.Items[n-1].CallID == r.CallID:
		case n == limit:
			more = true
		default:
			out.Items = append(out.Items, r)
		}
		return nil
	})
	if n := len(out.Items); err == nil && n > 0 && (more || read == most) {
		last := out.Items[n-1]
		out.NextCursor = cursor{List: "rejections", At: last.At.Micros(), Keys: []string{last.CallID, last.ID}}.encode()
	}
	if err != nil || len(out.Items) == 0 {
		return out, err
	}
	return out, c.dropReplaced(ctx, f, &out)
}

// dropReplaced leaves only refusals whose newest version passes the filter: one that
// is not merged yet may have been found by what was known of it before.
func (c Company) dropReplaced(ctx context.Context, f RejectionFilter, l *List[Rejection]) error {
	if f.Reason+f.Agent+f.Department+f.Office+f.ContactCenter == "" {
		return nil // times and numbers stay as they are
	}
	calls := make([]string, len(l.Items))
	for i := range l.Items {
		calls[i] = l.Items[i].CallID
	}
	p := newParams()
	p.texts("calls", calls)
	s := c.from("rejections", p).newest().get("call_id, id").and("call_id IN {calls:Array(String)}")
	filterRejections(s, f)
	newest := map[[2]string]bool{}
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		var key [2]string
		err := scan(&key[0], &key[1])
		newest[key] = true
		return err
	})
	l.Items = slices.DeleteFunc(l.Items, func(r Rejection) bool { return !newest[[2]string{r.CallID, r.ID}] })
	return err
}

const ratingColumns = "id, toUnixTimestamp64Micro(at), call_id, user_id, name, rating, text"

func scanRating(scan func(...any) error) (Rating, error) {
	var (
		r      Rating
		at     int64
		user   string
		rating uint8
	)
	err := scan(&r.ID, &at, &r.CallID, &user, &r.Name, &rating, &r.Text)
	r.At, r.UserID, r.Rating = micros(at), orNil(user), uint32(rating)
	return r, err
}

// Ratings lists ratings, the newest first.
func (c Company) Ratings(ctx context.Context, f RatingFilter, p Page) (List[Rating], error) {
	s := c.from("ratings", newParams()).newest().get(ratingColumns)
	if f.User != "" {
		s.params.text("user", f.User)
		s.and("user_id = {user:String}")
	}
	if f.CallID != "" {
		s.params.text("call", f.CallID)
		s.and("call_id = {call:String}")
	}
	timeRange(s, "at", f.From, f.To)
	return newestFirst(ctx, c, s, p, "ratings", func(scan func(...any) error) (Rating, cursor, error) {
		r, err := scanRating(scan)
		return r, cursor{At: r.At.Micros(), Keys: []string{r.CallID, r.ID}}, err
	})
}

// newestFirst pages through a table with columns at, call_id and id.
func newestFirst[T any](ctx context.Context, c Company, s *statement, page Page, list string, scanItem func(func(...any) error) (T, cursor, error)) (List[T], error) {
	limit, err := page.limit()
	if err != nil {
		return List[T]{}, err
	}
	after, err := decodeCursor(page.Cursor, list, 2)
	if err != nil {
		return List[T]{}, err
	}
	if after != nil {
		s.params.integer("after_at", after.At)
		s.params.text("after_call", after.Keys[0])
		s.params.text("after_id", after.Keys[1])
		s.and("(at, call_id, id) < (fromUnixTimestamp64Micro({after_at:Int64}, 'UTC'), {after_call:String}, {after_id:String})")
	}
	s.with("ORDER BY at DESC, call_id DESC, id DESC LIMIT {limit:UInt32}")
	return onePage(ctx, c, s, limit, list, scanItem)
}

// maxSeries is how many lines a trend has; the rest is one more, "other".
const maxSeries = 100

var rejectionGroups = map[string][2]string{
	"reason":         {"reason", "''"},
	"agent":          {"if(agent_user_id != '', agent_user_id, agent_number)", "if(agent_name != '', agent_name, agent_number)"},
	"department":     {"department_id", "''"},
	"office":         {"office_id", "''"},
	"contact_center": {"contact_center_id", "''"},
}

// RejectionTrend counts refused legs by group and bucket; empty buckets are 0.
func (c Company) RejectionTrend(ctx context.Context, f TrendFilter) (RejectionTrend, error) {
	if f.GroupBy == "" {
		f.GroupBy = "reason"
	}
	columns, ok := rejectionGroups[f.GroupBy]
	if !ok {
		return RejectionTrend{}, fmt.Errorf("%w: group_by %q is none of reason, agent, department, office, contact_center", ErrFilter, f.GroupBy)
	}
	if f.Top == 0 {
		f.Top = maxSeries
	}
	if f.Top < 1 || f.Top > maxSeries {
		return RejectionTrend{}, fmt.Errorf("%w: top must be 1 to %d", ErrLimit, maxSeries)
	}
	b, err := newBuckets(f.Interval, f.TimeZone, f.From, f.To)
	if err != nil {
		return RejectionTrend{}, err
	}
	out := RejectionTrend{Interval: b.interval, GroupBy: f.GroupBy, TimeZone: b.zone.String(), From: b.from, To: b.to}
	if out.Series, err = c.topRejections(ctx, f, columns, b); err != nil {
		return RejectionTrend{}, err
	}
	if n := len(out.Series) * len(b.starts); n > maxTrendPoints {
		return RejectionTrend{}, &TooManyPointsError{Points: n, Most: maxTrendPoints}
	}
	if err := c.countRejections(ctx, f, columns[0], b, out.Series); err != nil {
		return RejectionTrend{}, err
	}
	if f.GroupBy == "agent" {
		err = c.addAnswered(ctx, &out)
	}
	return out, err
}

func (c Company) refusals(f TrendFilter, b buckets) *statement {
	s := c.from("rejection_times", newParams()).newest()
	filterRejections(s, f.Filter)
	timeRange(s, "at", b.from, b.to)
	return s
}

// topRejections are the groups that have a line, the biggest first, without points.
func (c Company) topRejections(ctx context.Context, f TrendFilter, columns [2]string, b buckets) ([]TrendSeries, error) {
	s := c.refusals(f, b)
	s.params.integer("top", int64(f.Top))
	s.get("toString("+columns[0]+") AS key, argMax("+columns[1]+", at) AS name, count() AS total").with("GROUP BY key").
		inside("SELECT key, name, total, sum(total) OVER () AS all", "ORDER BY total DESC, key LIMIT {top:UInt32}")
	series := []TrendSeries{}
	var shown, all uint64
	err := c.ask(ctx, s, perPartition, func(scan func(...any) error) error {
		var line TrendSeries
		if err := scan(&line.Key, &line.Name, &line.Total, &all); err != nil {
			return err
		}
		if f.GroupBy == "reason" {
			reason, _ := RejectionReasonByID(line.Key)
			line.Name = reason.Title
		}
		if line.Name == "" {
			line.Name = line.Key
		}
		shown += line.Total
		series = append(series, line)
		return nil
	})
	if shown < all {
		series = append(series, TrendSeries{Key: "other", Name: "Other", Other: true})
	}
	return series, err
}

// countRejections fills in the points of lines.
func (c Company) countRejections(ctx context.Context, f TrendFilter, column string, b buckets, series []TrendSeries) error {
	if len(series) == 0 {
		return nil
	}
	keys := make([]string, 0, len(series))
	for i := range series {
		series[i].Points, series[i].Total = b.counts(), 0 // what arrives meanwhile is in points and total alike
		if !series[i].Other {
			keys = append(keys, series[i].Key)
		}
	}
	s := c.refusals(f, b)
	s.params.texts("keys", keys)
	s.params.integers("bounds", b.starts)
	s.get("toUInt16(indexOf({keys:Array(String)}, toString(" + column + "))) AS series, " + bucketOf("at") + " AS bucket, count()").with("GROUP BY series, bucket")
	return c.ask(ctx, s, perPartition, func(scan func(...any) error) error {
		var line uint16 // from 1; 0: other
		var bucket int64
		var n uint64
		if err := scan(&line, &bucket, &n); err != nil {
			return err
		}
		k := int(line) - 1
		if k < 0 {
			k = len(series) - 1
			if !series[k].Other {
				return nil // a group that was not there yet
			}
		}
		series[k].Total += n
		if i, ok := slices.BinarySearch(b.starts, bucket); ok {
			series[k].Points[i].Count += n
		}
		return nil
	})
}

// addAnswered says of each agent how many calls were answered in the range, and
// which share of those offered was refused.
func (c Company) addAnswered(ctx context.Context, t *RejectionTrend) error {
	keys := make([]string, len(t.Series))
	for i := range t.Series {
		if !t.Series[i].Other {
			keys[i] = t.Series[i].Key
		}
	}
	p := newParams()
	p.texts("agents", keys)
	s := c.from("call_event_times", p).get("agent_user_id, uniqExactIf(cityHash64(call_id), type = 'connected')").
		and("type IN ('connected', 'rejected')", "agent_user_id != ''", "agent_user_id IN {agents:Array(String)}").with("GROUP BY agent_user_id")
	timeRange(s, "at", t.From, t.To)
	return c.rows(ctx, s, func(scan func(...any) error) error {
		var agent string
		var answered uint64
		if err := scan(&agent, &answered); err != nil {
			return err
		}
		if i := slices.Index(keys, agent); i >= 0 {
			line := &t.Series[i]
			share := float64(line.Total) / float64(line.Total+answered)
			line.Answered, line.RejectedShare = &answered, &share
		}
		return nil
	})
}
