package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// callAt is a call's place in lists, which are ordered by both, and when that
// version of it was received.
type callAt struct {
	id         string
	startedUs  int64
	receivedMs int64
}

func (a callAt) at(b callAt) bool { return a.id == b.id && a.startedUs == b.startedUs }

func (a callAt) cursor() *cursor {
	return &cursor{List: "calls", At: a.startedUs, Keys: []string{a.id}}
}

// callKey is a range of call_keys: the calls with one key, in order of time, or
// those of all keys that begin so.
type callKey struct {
	kind, key string
	begins    bool
}

var (
	// manyRows is where reading and sorting a range ends to be cheap. Of what more
	// rows than that have, a page is soon found in the order of time.
	manyRows = 50_000
	// fewMoments are as many as it is cheap to look up the calls of.
	fewMoments = 256
)

// callIndex is where the calls of a filter are looked for: in call_keys, or
// without keys in call_times.
type callIndex struct {
	c    Company
	f    CallFilter
	keys []callKey // their calls together
	id   string    // and the call with this id
	also []callKey // of those, the calls that have all of these
	// moment is looked for instead, see momentCandidates.
	moment *callKey
	slack  time.Duration // how long after a call began its moment may be
	step   time.Duration // reaches the next look at call_times
}

// How long after a call began it is refused, or rated.
const (
	rejectionSlack = 2 * liveWindow
	ratingSlack    = 31 * 24 * time.Hour
)

// callIndex chooses where the least has to be read for a page.
func (c Company) callIndex(ctx context.Context, f CallFilter) (*callIndex, error) {
	index := &callIndex{c: c, f: f}
	switch {
	case f.SIPCallID != "":
		index.keys, index.id = []callKey{{kind: "id", key: f.SIPCallID}}, f.SIPCallID
		return index, nil
	case f.Q != "":
		index.id = f.Q
		for _, kind := range []string{"id", "user", "device"} {
			index.keys = append(index.keys, callKey{kind: kind, key: f.Q})
		}
		if number := strings.TrimLeft(f.Q, "+"); number != "" {
			index.keys = append(index.keys, callKey{kind: "number", key: number})
		}
		return index, nil
	}
	var ways []callKey
	add := func(kind, key string, begins bool) {
		if key != "" {
			ways = append(ways, callKey{kind, key, begins})
		}
	}
	add("number", strings.TrimLeft(f.Number, "+"), false)
	add("device", f.Device, false)
	add("address", f.Address, false)
	add("user", f.User, false)
	add("number", f.NumberPrefix, true)
	add("number_reversed", reversed(f.NumberSuffix), true)
	switch {
	case f.Rating != nil:
		index.moment, index.slack = &callKey{kind: "rating", key: fmt.Sprint(*f.Rating)}, ratingSlack
	case f.Rejected != nil && *f.Rejected:
		index.moment, index.slack = &callKey{kind: "rejected"}, rejectionSlack
	case len(ways) == 0 && f.Verdict != "" && f.Verdict != "good":
		index.keys = []callKey{{kind: "verdict", key: f.Verdict}}
	}
	return index, index.choose(ctx, ways)
}

// choose takes the key that the fewest calls have, and those of the others that
// are rare enough to be looked at as well. The calls of one key are in order of
// time, so that only what a page needs is read of them; those of a beginning are
// not, and are of use only where they are few. Without any, a page of what many
// calls have is near in call_times.
func (x *callIndex) choose(ctx context.Context, ways []callKey) error {
	if len(ways) == 0 {
		return nil
	}
	if len(ways) == 1 && !ways[0].begins && x.moment == nil {
		x.keys = ways
		return nil
	}
	type counted struct {
		callKey
		rows uint64
	}
	var found []counted
	for _, way := range ways {
		n, err := x.count(ctx, way)
		if err != nil {
			return err
		}
		if !way.begins || n < uint64(manyRows) {
			found = append(found, counted{way, n})
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, func(a, b counted) int { return cmp.Compare(a.rows, b.rows) })
	x.keys = []callKey{found[0].callKey}
	if x.moment != nil {
		n, err := x.count(ctx, *x.moment)
		if err != nil {
			return err
		}
		found, x.moment = append(found, counted{*x.moment, n}), nil
	}
	if found[0].rows <= uint64(fewMoments) {
		return nil // they are soon looked at one by one
	}
	for _, other := range found[1:] {
		if other.rows < uint64(manyRows) {
			x.also = append(x.also, other.callKey)
		}
	}
	return nil
}

// count says how many rows a key has, up to manyRows.
func (x *callIndex) count(ctx context.Context, k callKey) (n uint64, err error) {
	p := newParams()
	p.integer("many", int64(manyRows))
	s := x.c.keyed(p, 0, k).get("1").with("LIMIT {many:UInt32}").inside("SELECT count()", "")
	return n, x.c.one(ctx, s, &n)
}

// keyed begins a statement on the rows of a key, the n-th of the parameters.
func (c Company) keyed(p *params, n int, k callKey) *statement {
	kind, key := fmt.Sprint("kind_", n), fmt.Sprint("key_", n)
	p.text(kind, k.kind)
	p.text(key, k.key)
	s := c.from("call_keys", p).and("kind = {" + kind + ":String}")
	if k.begins {
		return s.and("startsWith(key, {" + key + ":String})")
	}
	return s.and("key = {" + key + ":String}")
}

// candidates reads up to need calls behind after. next is where to read on, nil
// where nothing is left.
func (x *callIndex) candidates(ctx context.Context, after *cursor, need int) (found []callAt, next *cursor, err error) {
	if x.moment != nil {
		return x.momentCandidates(ctx, after, need)
	}
	p := newParams()
	if len(x.keys) == 0 {
		s := x.c.from("call_times", p)
		filterParties(s, x.f)
		return x.read(ctx, []*statement{s}, after, need)
	}
	var parts []*statement
	for i, k := range x.keys {
		s := x.c.keyed(p, i, k)
		for j, other := range x.also {
			s.and("call_id IN (" + x.c.keyed(p, len(x.keys)+j, other).get("call_id").String() + ")")
		}
		parts = append(parts, s)
	}
	if x.id != "" {
		p.text("id", x.id)
		parts = append(parts, x.c.from("calls", p).and("call_id = {id:String}"))
	}
	return x.read(ctx, parts, after, need)
}

const callAtColumns = "call_id, toUnixTimestamp64Micro(started_at), toUnixTimestamp64Milli(received_at)"

const inListOrder = "ORDER BY started_at DESC, call_id DESC LIMIT {limit:UInt32}"

// read merges parts, each of which is read in order. Versions of a call that were
// not merged yet, and copies in several parts, are neighbours; LIMIT BY would
// remove them too, but keeps the server from reading in order.
func (x *callIndex) read(ctx context.Context, parts []*statement, after *cursor, need int) ([]callAt, *cursor, error) {
	limit := 2*need + 16
	var texts []string
	for _, s := range parts {
		s.get("call_id, started_at, received_at").with(inListOrder)
		s.params.integer("limit", int64(limit))
		x.c.filterCalls(s, x.f)
		s.behind(after)
		texts = append(texts, s.String())
	}
	first := parts[0]
	if len(parts) > 1 {
		first.with(inListOrder+" UNION ALL "+strings.Join(texts[1:], " UNION ALL ")).
			inside("SELECT "+callAtColumns, inListOrder)
	} else {
		first.get(callAtColumns)
	}
	var out []callAt
	var last callAt
	read, more := 0, false
	err := x.c.rows(ctx, first, func(scan func(...any) error) error {
		var a callAt
		if err := scan(&a.id, &a.startedUs, &a.receivedMs); err != nil {
			return err
		}
		read++
		switch {
		case read > 1 && a.at(last):
			// The sooner of two receptions is known to be no later than the newest.
			if len(out) > 0 && out[len(out)-1].at(a) {
				out[len(out)-1].receivedMs = min(out[len(out)-1].receivedMs, a.receivedMs)
			}
		case len(out) == need:
			more = true
		default:
			out = append(out, a)
		}
		last = a
		return nil
	})
	if err != nil || len(out) == 0 || !more && read < limit {
		return out, nil, err
	}
	return out, out[len(out)-1].cursor(), nil
}

// behind narrows a list to what follows a cursor.
func (s *statement) behind(after *cursor) {
	if after == nil {
		return
	}
	s.params.integer("after_at", after.At)
	s.params.text("after_id", after.Keys[0])
	const at = "fromUnixTimestamp64Micro({after_at:Int64}, 'UTC')"
	s.and("started_at <= "+at, "started_at < "+at+" OR call_id < {after_id:String}")
}

// startSkew is how much sooner than its call a moment may seem to be: witnesses
// have clocks of their own.
const startSkew = time.Hour

// momentCandidates looks for calls by a moment in them: a refusal, a rating.
// Moments are ordered by their own time, not by when their calls began, so it
// goes back over spans of time in which calls began, with the moments that calls
// of the span may have. Where these are few, their calls are looked up; where
// they are many, a page of them is near in call_times.
func (x *callIndex) momentCandidates(ctx context.Context, after *cursor, need int) ([]callAt, *cursor, error) {
	few := max(fewMoments, 2*need)
	p := newParams()
	p.integer("few", int64(few))
	s := x.c.keyed(p, 0, *x.moment).get("call_id, toUnixTimestamp64Micro(started_at)").with("ORDER BY started_at DESC LIMIT {few:UInt32}")
	until := x.f.To.Micros()
	if after != nil {
		until = after.At
	}
	if until != 0 {
		p.integer("until", until+x.slack.Microseconds())
		s.and("started_at <= fromUnixTimestamp64Micro({until:Int64}, 'UTC')")
	}
	if from := x.f.From.Micros(); from != 0 {
		p.integer("from_moment", from-startSkew.Microseconds())
		s.and("started_at >= fromUnixTimestamp64Micro({from_moment:Int64}, 'UTC')")
	}
	var ids []string
	var newest, oldest int64
	read := 0
	err := x.c.rows(ctx, s, func(scan func(...any) error) error {
		var id string
		if err := scan(&id, &oldest); err != nil {
			return err
		}
		newest = max(newest, oldest)
		read++
		ids = append(ids, id)
		return nil
	})
	if err != nil || read == 0 {
		return nil, nil, err
	}
	if until == 0 {
		until = newest + startSkew.Microseconds() // no call that began later has any
	}
	since := int64(0)
	if read == few {
		since = oldest + startSkew.Microseconds() // of calls since then all are known
	}
	if since == 0 || since < until-x.slack.Microseconds() {
		return x.momentsOf(ctx, ids, after, since)
	}
	x.step = min(max(2*x.step, 24*time.Hour), 64*24*time.Hour)
	since = until - x.step.Microseconds()
	p = newParams()
	p.integer("since", since)
	p.integer("moments_since", since-startSkew.Microseconds())
	p.integer("moments_until", until+x.slack.Microseconds())
	moments := x.c.keyed(p, 0, *x.moment).get("call_id").
		and("started_at >= fromUnixTimestamp64Micro({moments_since:Int64}, 'UTC')", "started_at <= fromUnixTimestamp64Micro({moments_until:Int64}, 'UTC')")
	times := x.c.from("call_times", p).and("started_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')", "call_id IN ("+moments.String()+")")
	filterParties(times, x.f)
	found, next, err := x.read(ctx, []*statement{times}, after, need)
	if err == nil && next == nil {
		next = beforeTime(since)
	}
	return found, next, err
}

// momentsOf gives those of some calls that began at since or later.
func (x *callIndex) momentsOf(ctx context.Context, ids []string, after *cursor, since int64) ([]callAt, *cursor, error) {
	p := newParams()
	p.texts("ids", slices.Compact(slices.Sorted(slices.Values(ids))))
	p.integer("since", since)
	s := x.c.from("calls", p).newest().get(callAtColumns).before("call_id IN {ids:Array(String)}").
		and("started_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')").with("ORDER BY started_at DESC, call_id DESC")
	x.c.filterCalls(s, x.f)
	filterParties(s, x.f)
	s.behind(after)
	var out []callAt
	err := x.c.rows(ctx, s, func(scan func(...any) error) error {
		var a callAt
		err := scan(&a.id, &a.startedUs, &a.receivedMs)
		out = append(out, a)
		return err
	})
	if since == 0 {
		return out, nil, err
	}
	return out, beforeTime(since), err
}

// beforeTime is behind all calls that began at a time or later.
func beforeTime(us int64) *cursor { return callAt{startedUs: us}.cursor() }

func reversed(digits string) string {
	b := []byte(digits)
	slices.Reverse(b)
	return string(b)
}
