package query

import (
	"fmt"
	"time"
)

// maxBuckets is how many points a line may have.
const maxBuckets = 3000

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
	if to.Sub(from.Time)/step > maxBuckets {
		return buckets{}, fmt.Errorf("%w: more than %d buckets of %s", ErrLimit, maxBuckets, interval)
	}
	b := buckets{interval: interval, zone: loc, from: from, to: to}
	y, m, d := from.In(loc).Date()
	for day := time.Date(y, m, d, 0, 0, 0, 0, loc); day.Before(to.Time); {
		next := time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, loc)
		if step == 24*time.Hour {
			b.starts = append(b.starts, day.Unix())
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
