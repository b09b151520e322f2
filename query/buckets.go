package query

import (
	"fmt"
	"time"
)

const (
	// maxBuckets is how many points a line may have.
	maxBuckets = 3000
	// maxTrendPoints bounds an answer to some megabytes.
	maxTrendPoints = 100_000
)

// buckets are consecutive intervals that begin at local midnight plus a
// multiple of the interval, so that a day of 23 or 25 hours is one bucket of 1d.
type buckets struct {
	interval string
	zone     *time.Location
	from, to Time
	starts   []int64 // Unix seconds, ascending
}

var intervals = map[string]time.Duration{
	"1m": time.Minute, "5m": 5 * time.Minute, "15m": 15 * time.Minute, "30m": 30 * time.Minute,
	"1h": time.Hour, "3h": 3 * time.Hour, "6h": 6 * time.Hour, "12h": 12 * time.Hour, "1d": 24 * time.Hour,
}

func newBuckets(interval, zone string, from, to Time) (buckets, error) {
	if interval == "" {
		interval = "1h"
	}
	step, ok := intervals[interval]
	if !ok {
		return buckets{}, fmt.Errorf("%w: interval %q is none of 1m, 5m, 15m, 30m, 1h, 3h, 6h, 12h, 1d", ErrFilter, interval)
	}
	if zone == "" {
		zone = "UTC"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return buckets{}, fmt.Errorf("%w: time zone %q is not known", ErrFilter, zone)
	}
	if from.IsZero() || to.IsZero() || !from.Before(to.Time) {
		return buckets{}, fmt.Errorf("%w: from must be before to", ErrFilter)
	}
	if n := int(to.Sub(from.Time) / step); n > maxBuckets {
		return buckets{}, &TooManyPointsError{Points: n, Most: maxBuckets}
	}
	b := buckets{interval: interval, zone: loc, from: from, to: to}
	y, m, d := from.In(loc).Date()
	for day := startOfDay(y, m, d, loc); day.Before(to.Time); d++ {
		next := startOfDay(y, m, d+1, loc)
		if step == 24*time.Hour {
			if next.After(day) { // a day that the zone left out has no bucket
				b.starts = append(b.starts, day.Unix())
			}
		} else {
			for at := day; at.Before(next) && at.Before(to.Time); at = at.Add(step) {
				if end := at.Add(step); end.After(from.Time) || !end.Before(next) && next.After(from.Time) {
					b.starts = append(b.starts, at.Unix())
				}
			}
		}
		day = next
	}
	return b, nil
}

// startOfDay is the first moment of a date. Where clocks change at midnight that
// is not what they show as 00:00: there may be none, or two.
func startOfDay(year int, month time.Month, day int, loc *time.Location) time.Time {
	utc := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	_, _, date := utc.Date()
	noon := utc.Add(12 * time.Hour)
	first := time.Date(year, month, day, 0, 0, 0, 0, loc)
	changed, changes := first.ZoneBounds()
	candidates := []time.Time{changed, changes}
	for _, near := range []time.Time{noon.Add(-36 * time.Hour), noon, noon.Add(36 * time.Hour)} {
		_, offset := near.In(loc).Zone()
		candidates = append(candidates, utc.Add(-time.Duration(offset)*time.Second))
	}
	found := false
	for _, c := range candidates {
		c = c.In(loc)
		if c.IsZero() || c.Day() != date || c.Add(-time.Nanosecond).Day() == date || c.Sub(utc).Abs() > 26*time.Hour {
			continue
		}
		if !found || c.Before(first) {
			first, found = c, true
		}
	}
	return first
}

// TooManyPointsError says that a trend would be too long to draw or to send.
type TooManyPointsError struct{ Points, Most int }

func (e *TooManyPointsError) Error() string {
	return fmt.Sprintf("a trend of %d points is too long, at most %d", e.Points, e.Most)
}
func (e *TooManyPointsError) Unwrap() error { return ErrLimit }

// bucketOf is the begin of the bucket that a DateTime64 column falls in.
func bucketOf(column string) string {
	return "roundDown(toInt64(toUnixTimestamp(" + column + ")), {bounds:Array(Int64)})"
}

func (b buckets) counts() []TrendPoint {
	points := make([]TrendPoint, len(b.starts))
	for i, s := range b.starts {
		points[i].At = Time{time.Unix(s, 0).UTC()}
	}
	return points
}
