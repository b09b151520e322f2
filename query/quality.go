package query

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// QualityTrend is call quality over time, by group: of ended calls whose verdict
// is final, by when they began.
type QualityTrend struct {
	Interval string          `json:"interval"`
	GroupBy  string          `json:"group_by"`
	TimeZone string          `json:"time_zone"`
	From     Time            `json:"from"` // to the second
	To       Time            `json:"to"`
	Groups   uint64          `json:"groups"` // how many have a call
	Total    QualitySeries   `json:"total"`  // of all groups
	Series   []QualitySeries `json:"series"` // as ordered; what is not shown is the last, other
}

// QualitySeries is one group's line.
type QualitySeries struct {
	Key   string `json:"key"` // empty: calls of which it is not known
	Name  string `json:"name"`
	Other bool   `json:"other"` // all groups that have no series of their own
	QualityFigures
	Points []QualityPoint `json:"points"`
}

// QualityPoint is a bucket, named by its begin.
type QualityPoint struct {
	At Time `json:"at"`
	QualityFigures
}

// QualityFigures are how some calls fared.
type QualityFigures struct {
	Calls       uint64             `json:"calls"`
	Verdicts    map[string]uint64  `json:"verdicts"`      // calls by overall band
	Shares      map[string]float64 `json:"shares"`        // of calls, 0–1, by overall band; none where there is no call
	OneWay      uint64             `json:"one_way"`       // calls, confirmed or suspected
	OneWayShare *float64           `json:"one_way_share"` // of calls, 0–1
	RTTMs       *Percentiles       `json:"rtt_ms"`        // over the calls' medians
	JitterMs    *Percentiles       `json:"jitter_ms"`     // over the calls' 95th percentiles
	LossPercent *Percentiles       `json:"loss_percent"`
	MOS         *Percentiles       `json:"mos"` // over the calls' averages
}

// Percentiles are over calls, each within 1 % of the exact one.
type Percentiles struct {
	Calls uint64  `json:"calls"` // that have the number
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"` // of MOS, where low is bad, the 5th percentile
	P99   float64 `json:"p99"` // of MOS the 1st
}

// Bands are the overall verdicts, the best first.
var Bands = []string{"good", "acceptable", "bad", "unacceptable", "unknown"}

// QualityFilter asks for a quality trend. Groups and filters are of the target.
type QualityFilter struct {
	GroupBy  string // office, department, contact_center, app_version, platform, network, user, endpoint, direction; none or empty: all together
	Interval string // as TrendFilter's
	TimeZone string
	From, To Time
	Top      int    // how many groups have a series of their own; 0: 10
	Order    string // of groups: calls, the most first; bad, the greatest share of bad and unacceptable; one_way; empty: calls
	MinCalls uint64 // a group with fewer is among the others
	// Zero fields do not narrow.
	User, Office, Department, ContactCenter, AppVersion, Platform, Network, Endpoint, Direction string
}

const (
	defaultTop = 10
	// MaxTop is how many groups may have a series of their own.
	MaxTop = 50
	// maxQualityPoints bounds an answer to some megabytes.
	maxQualityPoints = 20_000
)

var qualityColumns = map[string]string{
	"office": "office_id", "department": "department_id", "contact_center": "contact_center_id", "app_version": "app_version",
	"platform": "platform", "network": "network", "user": "user_id", "endpoint": "endpoint", "direction": "direction",
}

var qualityOrders = map[string]string{
	"":        "calls",
	"calls":   "calls",
	"bad":     "countIf(overall IN ('bad', 'unacceptable')) / calls",
	"one_way": "countIf(one_way) / calls",
}

// qualityFigure is a number whose percentiles are told.
type qualityFigure struct {
	column  string
	levels  string
	figures func(*QualityFigures) **Percentiles
}

var qualityFigures = []qualityFigure{
	{"rtt_ms", "0.5, 0.95, 0.99", func(f *QualityFigures) **Percentiles { return &f.RTTMs }},
	{"jitter_ms", "0.5, 0.95, 0.99", func(f *QualityFigures) **Percentiles { return &f.JitterMs }},
	{"loss_percent", "0.5, 0.95, 0.99", func(f *QualityFigures) **Percentiles { return &f.LossPercent }},
	{"mos", "0.5, 0.05, 0.01", func(f *QualityFigures) **Percentiles { return &f.MOS }},
}

// sketch of a number's distribution: it is merged without loss, and every percentile
// of it is within 1 % of a value that is there. ClickHouse is up to three times
// as far off as the accuracy it is asked for (measured: 0.9 % for 0.3 %).
const (
	sketch   = "quantilesDD"
	accuracy = "0.003"
)

// perPartition lets FINAL read each partition on its own: versions of a call, and
// of a refusal, share theirs.
var perPartition = clickhouse.Settings{"do_not_merge_across_partitions_select_final": 1}

// QualityTrend sums up calls by group and bucket.
func (c Company) QualityTrend(ctx context.Context, f QualityFilter) (QualityTrend, error) {
	if f.GroupBy == "none" {
		f.GroupBy = ""
	}
	column, grouped := qualityColumns[f.GroupBy]
	if !grouped && f.GroupBy != "" {
		return QualityTrend{}, fmt.Errorf("%w: quality is not grouped by %q", ErrFilter, f.GroupBy)
	}
	order, ok := qualityOrders[f.Order]
	if !ok {
		return QualityTrend{}, fmt.Errorf("%w: order %q is none of calls, bad, one_way", ErrFilter, f.Order)
	}
	if f.Top == 0 {
		f.Top = defaultTop
	}
	if f.Top < 1 || f.Top > MaxTop {
		return QualityTrend{}, fmt.Errorf("%w: top must be 1 to %d", ErrLimit, MaxTop)
	}
	f.From, f.To = Time{f.From.Truncate(time.Second)}, Time{f.To.Truncate(time.Second)}
	b, err := newBuckets(f.Interval, f.TimeZone, f.From, f.To)
	if err != nil {
		return QualityTrend{}, err
	}
	out := QualityTrend{Interval: b.interval, GroupBy: "none", TimeZone: b.zone.String(), From: b.from, To: b.to,
		Total: QualitySeries{Name: "All calls"}, Series: []QualitySeries{}}
	if grouped {
		out.GroupBy = f.GroupBy
		if out.Series, out.Groups, err = c.topGroups(ctx, f, column, order); err != nil {
			return QualityTrend{}, err
		}
	}
	if n := (len(out.Series) + 1) * len(b.starts); n > maxQualityPoints {
		return QualityTrend{}, &TooManyPointsError{Points: n, Most: maxQualityPoints}
	}
	return out, c.fillQuality(ctx, f, column, b, &out)
}

// quality asks for the calls of a filter.
func (c Company) quality(f QualityFilter) *statement {
	p := newParams()
	p.integer("from", seconds(f.From))
	p.integer("to", seconds(f.To))
	// The days are what the table is in order of.
	s := c.from("call_quality", p).newest().and(
		"day >= toDate(toDateTime({from:Int64}, 'UTC'), 'UTC')", "day <= toDate(toDateTime({to:Int64}, 'UTC'), 'UTC')",
		"started_at >= toDateTime({from:Int64}, 'UTC')", "started_at < toDateTime({to:Int64}, 'UTC')")
	for by, value := range map[string]string{
		"user": f.User, "office": f.Office, "department": f.Department, "contact_center": f.ContactCenter, "app_version": f.AppVersion,
		"platform": f.Platform, "network": f.Network, "endpoint": f.Endpoint, "direction": f.Direction,
	} {
		if value != "" {
			p.text("only_"+by, value)
			s.and(qualityColumns[by] + " = {only_" + by + ":String}")
		}
	}
	return s
}

// seconds of a time as DateTime can have them.
func seconds(t Time) int64 { return min(max(t.Unix(), 0), math.MaxUint32) }

// topGroups are the groups that have a series, and how many groups there are.
func (c Company) topGroups(ctx context.Context, f QualityFilter, column, order string) ([]QualitySeries, uint64, error) {
	s := c.quality(f)
	s.params.integer("min_calls", int64(min(f.MinCalls, math.MaxInt64)))
	s.params.integer("top", int64(f.Top))
	s.get("toString("+column+") AS key, count() AS calls, "+order+" AS weight").with("GROUP BY key").
		inside("SELECT key, calls, count() OVER () AS groups", "ORDER BY calls >= {min_calls:UInt64} DESC, weight DESC, calls DESC, key LIMIT {top:UInt32}")
	var shown, groups uint64
	all := uint64(0)
	series := []QualitySeries{}
	err := c.ask(ctx, s, perPartition, func(scan func(...any) error) error {
		var key string
		var calls uint64
		if err := scan(&key, &calls, &groups); err != nil {
			return err
		}
		all++
		if calls >= f.MinCalls {
			series = append(series, QualitySeries{Key: key, Name: key})
			shown++
		}
		return nil
	})
	if shown < groups {
		series = append(series, QualitySeries{Name: "Other", Other: true})
	}
	return series, groups, err
}

// fillQuality adds the figures of each series and of the total, by bucket and
// over all of the time.
func (c Company) fillQuality(ctx context.Context, f QualityFilter, column string, b buckets, out *QualityTrend) error {
	s := c.quality(f)
	s.params.integers("bounds", b.starts)
	group := "0"
	if column != "" {
		keys := make([]string, 0, len(out.Series))
		for i := range out.Series {
			if !out.Series[i].Other {
				keys = append(keys, out.Series[i].Key)
			}
		}
		s.params.texts("keys", keys)
		group = "indexOf({keys:Array(String)}, toString(" + column + "))" // from 1; 0: other
	}
	inner := "toUInt16(" + group + ") AS series, " + bucketOf("started_at") + " AS bucket, count() AS calls, countIf(one_way) AS one_way_calls"
	outer := "SELECT toUInt8(grouping(series)) AS every_series, toUInt8(grouping(bucket)) AS every_bucket, series, bucket, sum(calls), sum(one_way_calls)"
	for i, band := range Bands {
		n := "band" + strconv.Itoa(i)
		inner += ", countIf(overall = '" + band + "') AS " + n
		outer += ", sum(" + n + ")"
	}
	for _, q := range qualityFigures {
		inner += fmt.Sprintf(", count(%[1]s) AS %[1]s_calls, %[2]sState(%[3]s, %[4]s)(%[1]s) AS %[1]s_sketch", q.column, sketch, accuracy, q.levels)
		outer += fmt.Sprintf(", sum(%[1]s_calls), arrayMap(v -> toFloat64(v), %[2]sMerge(%[3]s, %[4]s)(%[1]s_sketch))", q.column, sketch, accuracy, q.levels)
	}
	s.get(inner).with("GROUP BY series, bucket").inside(outer, "GROUP BY GROUPING SETS ((series, bucket), (series), (bucket), ())")
	other := len(out.Series) - 1
	for i := range out.Series {
		b.quality(&out.Series[i])
	}
	b.quality(&out.Total)
	return c.ask(ctx, s, perPartition, func(scan func(...any) error) error {
		var everySeries, everyBucket uint8
		var series uint16
		var bucket int64
		var figures QualityFigures
		bands := make([]uint64, len(Bands))
		counts, quantiles := make([]uint64, len(qualityFigures)), make([][]float64, len(qualityFigures))
		into := []any{&everySeries, &everyBucket, &series, &bucket, &figures.Calls, &figures.OneWay}
		for i := range bands {
			into = append(into, &bands[i])
		}
		for i := range qualityFigures {
			into = append(into, &counts[i], &quantiles[i])
		}
		if err := scan(into...); err != nil {
			return err
		}
		figures.fill(bands, counts, quantiles)
		line := &out.Total
		if everySeries == 0 {
			if column == "" {
				return nil // the same as the total
			}
			switch i := int(series) - 1; {
			case i >= 0:
				line = &out.Series[i]
			case other >= 0 && out.Series[other].Other:
				line = &out.Series[other]
			default:
				return nil // a group that was not there yet
			}
		}
		if everyBucket != 0 {
			line.QualityFigures = figures
		} else if i, ok := slices.BinarySearch(b.starts, bucket); ok {
			line.Points[i].QualityFigures = figures
		}
		return nil
	})
}

func (b buckets) quality(line *QualitySeries) {
	line.fill(make([]uint64, len(Bands)), make([]uint64, len(qualityFigures)), make([][]float64, len(qualityFigures)))
	line.Points = make([]QualityPoint, len(b.starts))
	for i, s := range b.starts {
		line.Points[i] = QualityPoint{At: Time{time.Unix(s, 0).UTC()}, QualityFigures: line.QualityFigures}
	}
}

func (q *QualityFigures) fill(bands, counts []uint64, quantiles [][]float64) {
	q.Verdicts, q.Shares = make(map[string]uint64, len(Bands)), map[string]float64{}
	share := func(n uint64) float64 { return math.Round(float64(n)/float64(q.Calls)*1e6) / 1e6 }
	for i, band := range Bands {
		q.Verdicts[band] = bands[i]
		if q.Calls > 0 {
			q.Shares[band] = share(bands[i])
		}
	}
	if q.Calls > 0 {
		oneWay := share(q.OneWay)
		q.OneWayShare = &oneWay
	}
	for i, f := range qualityFigures {
		if counts[i] > 0 && len(quantiles[i]) == 3 {
			*f.figures(q) = &Percentiles{Calls: counts[i], P50: digits4(quantiles[i][0]), P95: digits4(quantiles[i][1]), P99: digits4(quantiles[i][2])}
		}
	}
}

// digits4 leaves the digits that mean something.
func digits4(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
