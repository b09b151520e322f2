package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Buckets tile every day of every kind of zone: each begins at the first moment of
// a local day plus a multiple of the interval, and none overlap.
func TestBuckets(t *testing.T) {
	hours := func(zone, from, to, interval string) []string {
		t.Helper()
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		begin, err := time.ParseInLocation("2006-01-02 15:04", from, loc)
		require.NoError(t, err)
		end, err := time.ParseInLocation("2006-01-02 15:04", to, loc)
		require.NoError(t, err)
		b, err := newBuckets(interval, zone, Time{begin}, Time{end})
		require.NoError(t, err)
		out := make([]string, len(b.starts))
		for i, s := range b.starts {
			out[i] = time.Unix(s, 0).In(loc).Format("2 15:04-07:00")
		}
		return out
	}
	// Berlin's day of 23 hours and its day of 25.
	require.Equal(t, []string{"28 00:00+01:00", "29 00:00+01:00", "30 00:00+02:00"}, hours("Europe/Berlin", "2026-03-28 00:00", "2026-03-31 00:00", "1d"))
	require.Equal(t, []string{"29 01:00+01:00", "29 03:00+02:00", "29 04:00+02:00"}, hours("Europe/Berlin", "2026-03-29 01:00", "2026-03-29 05:00", "1h"))
	require.Len(t, hours("Europe/Berlin", "2026-03-29 00:00", "2026-03-30 00:00", "15m"), 23*4)
	require.Equal(t, []string{"25 00:00+02:00", "26 00:00+01:00"}, hours("Europe/Berlin", "2026-10-25 00:00", "2026-10-27 00:00", "1d"))
	require.Equal(t, []string{"25 01:00+02:00", "25 02:00+02:00", "25 02:00+01:00", "25 03:00+01:00"}, hours("Europe/Berlin", "2026-10-25 01:00", "2026-10-25 04:00", "1h"))
	require.Len(t, hours("Europe/Berlin", "2026-10-25 00:00", "2026-10-26 00:00", "1m"), 25*60)
	// India is half an hour off: hours begin at :30 UTC.
	require.Equal(t, []string{"4 10:00+05:30", "4 11:00+05:30"}, hours("Asia/Kolkata", "2026-03-04 10:15", "2026-03-04 11:30", "1h"))
	b, err := newBuckets("1h", "Asia/Kolkata", Time{time.Date(2026, 3, 4, 4, 45, 0, 0, time.UTC)}, Time{time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	require.Equal(t, "2026-03-04T04:30:00Z", time.Unix(b.starts[0], 0).UTC().Format(time.RFC3339))
	// Where clocks change at midnight a day begins at 01:00, or 00:00 comes twice.
	require.Equal(t, []string{"23 00:00+02:00", "24 01:00+03:00", "25 00:00+03:00"}, hours("Africa/Cairo", "2026-04-23 00:00", "2026-04-26 00:00", "1d"))
	require.Equal(t, []string{"24 01:00+03:00", "24 02:00+03:00"}, hours("Africa/Cairo", "2026-04-24 01:00", "2026-04-24 03:00", "1h"))
	require.Equal(t, []string{"31 00:00-04:00", "1 00:00-04:00", "2 00:00-05:00"}, hours("America/Havana", "2026-10-31 00:00", "2026-11-03 00:00", "1d"))
	// Samoa had no 30 December 2011.
	require.Equal(t, []string{"28 00:00-10:00", "29 00:00-10:00", "31 00:00+14:00", "1 00:00+14:00"}, hours("Pacific/Apia", "2011-12-28 00:00", "2012-01-02 00:00", "1d"))

	for _, zone := range []string{"Europe/Berlin", "Asia/Kolkata", "Africa/Cairo", "America/Santiago", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "UTC"} {
		for interval, step := range intervals {
			from := time.Date(2026, 1, 1, 13, 7, 0, 0, time.UTC)
			b, err := newBuckets(interval, zone, Time{from}, Time{from.Add(min(step*maxBuckets, 366*24*time.Hour))})
			require.NoError(t, err)
			require.LessOrEqual(t, b.starts[0], from.Unix(), "%s %s", zone, interval)
			for i := 1; i < len(b.starts); i++ {
				gap := time.Duration(b.starts[i]-b.starts[i-1]) * time.Second
				require.Positive(t, gap, "%s %s", zone, interval)
				require.LessOrEqual(t, gap, max(step, 25*time.Hour*time.Duration(step/(24*time.Hour))), "%s %s", zone, interval)
			}
			require.LessOrEqual(t, len(b.starts), maxBuckets+400, "%s %s", zone, interval)
		}
	}
	var tooMany *TooManyPointsError
	_, err = newBuckets("1m", "UTC", Time{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, Time{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)})
	require.ErrorAs(t, err, &tooMany)
	require.ErrorIs(t, err, ErrLimit)
	require.Equal(t, TooManyPointsError{Points: 31 * 1440, Most: maxBuckets}, *tooMany)
}
