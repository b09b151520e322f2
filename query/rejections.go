package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

// Rejections lists refused legs, the newest first.
func (c Company) Rejections(ctx context.Context, f RejectionFilter, p Page) (List[Rejection], error) {
	s := c.from("rejections", newParams()).newest().get(rejectionColumns)
	filterRejections(s, f)
	timeRange(s, "at", f.From, f.To)
	return newestFirst(ctx, c, s, p, "rejections", func(scan func(...any) error) (Rejection, cursor, error) {
		r, err := scanRejection(scan)
		return r, cursor{At: r.At.Micros(), Keys: []string{r.CallID, r.ID}}, err
	})
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
	s.params.integer("limit", int64(limit+1))
	s.with("ORDER BY at DESC, call_id DESC, id DESC LIMIT {limit:UInt32}")
	out := List[T]{Items: []T{}}
	var last cursor
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		item, at, err := scanItem(scan)
		if err != nil {
			return err
		}
		if len(out.Items) == limit {
			last.List = list
			out.NextCursor = last.encode()
			return nil
		}
		last = at
		out.Items = append(out.Items, item)
		return nil
	})
	return out, err
}

// maxSeries is how many lines a trend has; the rest is one more, "other".
const maxSeries = 100

// RejectionTrend counts refused legs by group and bucket; empty buckets are 0.
func (c Company) RejectionTrend(ctx context.Context, f TrendFilter) (RejectionTrend, error) {
	if f.GroupBy == "" {
		f.GroupBy = "reason"
	}
	columns, ok := map[string][2]string{
		"reason":         {"reason", "''"},
		"agent":          {"if(agent_user_id != '', agent_user_id, agent_number)", "if(agent_name != '', agent_name, agent_number)"},
		"department":     {"department_id", "''"},
		"office":         {"office_id", "''"},
		"contact_center": {"contact_center_id", "''"},
	}[f.GroupBy]
	if !ok {
		return RejectionTrend{}, fmt.Errorf("%w: group_by %q is none of reason, agent, department, office, contact_center", ErrFilter, f.GroupBy)
	}
	b, err := newBuckets(f.Interval, f.TimeZone, f.From, f.To)
	if err != nil {
		return RejectionTrend{}, err
	}
	p := newParams()
	p.integers("bounds", b.starts)
	s := c.from("rejections", p).newest().
		get("toString(" + columns[0] + ") AS key, argMax(" + columns[1] + ", at) AS name, " + bucketOf("at") + " AS bucket, count()").
		with("GROUP BY key, bucket")
	filterRejections(s, f.Filter)
	timeRange(s, "at", b.from, b.to)
	series := map[string]*TrendSeries{}
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		var (
			key, name string
			bucket    int64
			n         uint64
		)
		if err := scan(&key, &name, &bucket, &n); err != nil {
			return err
		}
		line := series[key]
		if line == nil {
			if f.GroupBy == "reason" {
				reason, _ := RejectionReasonByID(key)
				name = reason.Title
			}
			if name == "" {
				name = key
			}
			line = &TrendSeries{Key: key, Name: name, Points: b.counts()}
			series[key] = line
		}
		line.Total += n
		if i, ok := slices.BinarySearch(b.starts, bucket); ok {
			line.Points[i].Count += n
		}
		return nil
	})
	if err != nil {
		return RejectionTrend{}, err
	}
	out := RejectionTrend{Interval: b.interval, GroupBy: f.GroupBy, TimeZone: b.zone.String(), From: b.from, To: b.to, Series: []TrendSeries{}}
	for _, line := range series {
		out.Series = append(out.Series, *line)
	}
	slices.SortFunc(out.Series, func(x, y TrendSeries) int {
		if x.Total != y.Total {
			if x.Total > y.Total {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Key, y.Key)
	})
	if len(out.Series) > maxSeries {
		other := TrendSeries{Key: "other", Name: "Other", Points: b.counts()}
		for _, line := range out.Series[maxSeries:] {
			other.Total += line.Total
			for i := range line.Points {
				other.Points[i].Count += line.Points[i].Count
			}
		}
		out.Series = append(out.Series[:maxSeries], other)
	}
	if f.GroupBy == "agent" {
		err = c.addAnswered(ctx, &out)
	}
	return out, err
}

// addAnswered says of each agent how many calls were answered in the range, and
// which share of those offered was refused.
func (c Company) addAnswered(ctx context.Context, t *RejectionTrend) error {
	keys := make([]string, len(t.Series))
	for i := range t.Series {
		keys[i] = t.Series[i].Key
	}
	p := newParams()
	p.texts("agents", keys)
	s := c.from("call_event_times", p).get("agent_user_id, uniqExactIf(call_id, type = 'connected')").
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
