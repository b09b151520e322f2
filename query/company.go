package query

import (
	"context"
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
		c.filterCalls(one, CallFilter{State: "live"})
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
	p.text("number", strings.TrimLeft(q, "+"))
	// keyed are the calls with a key, of the newest so many as are shown.
	keyed := func(kind, key string) *statement {
		newest := c.from("call_keys", p).get("call_id").and("kind = '"+kind+"'", "key = {"+key+":String}").with("ORDER BY started_at DESC LIMIT {limit:UInt32}")
		return c.from("calls", p).newest().before("call_id IN (" + newest.String() + ")")
	}
	for _, s := range []*statement{
		// In the order of ids, of which the whole one is the first.
		c.from("calls", p).newest().get("'call', call_id, " + describe + ", toUnixTimestamp64Micro(started_at)").
			and("startsWith(call_id, {q:String})").with("ORDER BY call_id LIMIT {limit:UInt32}"),
		keyed("id", "q").get("'call', call_id, " + describe + ", toUnixTimestamp64Micro(started_at)").
			and("has(sip_call_ids, {q:String}) OR has(leg_ids, {q:String})").with("ORDER BY started_at DESC LIMIT {limit:UInt32}"),
		c.bindings(p).get("*").inside(`SELECT multiIf(user_id = {q:String}, 'user', device_id = {q:String}, 'device', 'aor') AS kind,
multiIf(kind = 'user', user_id, kind = 'device', device_id, aor), multiIf(kind = 'aor', user_name, aor), toUnixTimestamp64Micro(at)`,
			"WHERE aor = {q:String} OR device_id = {q:String} OR user_id = {q:String} OR startsWith(aor, {q:String}) OR startsWith(aor, concat('sip:', {q:String}))"+
				" ORDER BY at DESC LIMIT {limit:UInt32}"),
		keyed("user", "q").get("'user', {q:String}, '', toUnixTimestamp64Micro(max(started_at))").
			and("{q:String} IN (target_user_id, contact_user_id)").with("HAVING count() > 0"),
		keyed("number", "number").get("'number', if({q:String} IN (target_number, contact_number), {q:String}, concat('+', {q:String})) AS id, '', toUnixTimestamp64Micro(max(started_at))").
			and("target_number IN ({q:String}, concat('+', {q:String})) OR contact_number IN ({q:String}, concat('+', {q:String}))").with("GROUP BY id LIMIT {limit:UInt32}"),
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}
