package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// TrendInput is what all trends are asked with.
type TrendInput struct {
	Interval string `query:"interval" enum:"1m,5m,15m,30m,1h,3h,6h,12h,1d" default:"1h" doc:"At most 3000 of them in the time asked for"`
	TimeZone string `query:"time_zone" maxLength:"64" doc:"IANA name; days and hours begin by it. Default UTC"`
	TimeInput
}

// trend fills in what was not asked: the last day up to now.
func (s *server) trend(in TrendInput) (query.TrendFilter, error) {
	if _, err := zone(in.TimeZone); err != nil {
		return query.TrendFilter{}, err
	}
	if in.To.IsZero() {
		in.To = s.now()
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-24 * time.Hour)
	}
	if err := in.TimeInput.check(); err != nil {
		return query.TrendFilter{}, err
	}
	return query.TrendFilter{Interval: in.Interval, TimeZone: in.TimeZone, From: in.from(), To: in.to()}, nil
}

// QualityInput narrows calls by their target.
type QualityInput struct {
	User          string `query:"user" maxLength:"64" doc:"Id of the user whose calls they are"`
	Office        string `query:"office" maxLength:"64" doc:"Of the user, as all that follow"`
	Department    string `query:"department" maxLength:"64"`
	ContactCenter string `query:"contact_center" maxLength:"64"`
	AppVersion    string `query:"app_version" maxLength:"128"`
	Platform      string `query:"platform" maxLength:"64"`
	Network       string `query:"network" maxLength:"128" doc:"Such as 203.0.113.0/24; of private addresses with their office: 10.0.0.0/24 of hq"`
	Endpoint      string `query:"endpoint" maxLength:"64"`
	Direction     string `query:"direction" enum:"inbound,outbound,internal"`
}

// qualityTrend is a trend that can be written as CSV.
type qualityTrend struct{ query.QualityTrend }

// rejectionTrend is the same of refusals.
type rejectionTrend struct{ query.RejectionTrend }

func (s *server) routeQuality() {
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/quality/trend", OperationID: "get-quality-trend", Summary: "Calls, verdicts and percentiles over time, by group", Tags: []string{"Calls"}, Metadata: csvToo,
		Description: "Of ended calls whose verdict is final, by when they began, to the second. Counts are exact; percentiles are over the figures of calls (rtt_ms: each call's median, " +
			"jitter_ms: its 95th percentile, loss_percent, mos: its average) and within 1 % of the exact ones, over a bucket and over all of the time alike; of mos, where low is bad, " +
			"p95 and p99 are the 5th and the 1st percentile.\n\nGroups that have no series of their own are one together, the last. An answer has at most 20,000 points."},
		func(ctx context.Context, in *struct {
			CompanyInput
			GroupBy  string `query:"group_by" enum:"none,office,department,contact_center,app_version,platform,network,user,endpoint,direction" default:"none" doc:"Of the target; none: all together"`
			Top      int    `query:"top" minimum:"1" maximum:"50" default:"10" doc:"Groups with a series of their own"`
			Order    string `query:"order" enum:"calls,bad,one_way" default:"calls" doc:"Which groups come first: with the most calls, or with the greatest share of bad and unacceptable ones, or of one-way audio"`
			MinCalls int64  `query:"min_calls" minimum:"0" default:"0" doc:"Groups with fewer calls are among the others"`
			QualityInput
			TrendInput
		}) (*trendOutput[qualityTrend], error) {
			f, err := s.trend(in.TrendInput)
			if err != nil {
				return nil, err
			}
			t, err := s.deps.Query.Company(in.Company).QualityTrend(ctx, query.QualityFilter{
				GroupBy: in.GroupBy, Interval: f.Interval, TimeZone: f.TimeZone, From: f.From, To: f.To, Top: in.Top, Order: in.Order, MinCalls: uint64(in.MinCalls),
				User: in.User, Office: in.Office, Department: in.Department, ContactCenter: in.ContactCenter, AppVersion: in.AppVersion, Platform: in.Platform,
				Network: in.Network, Endpoint: in.Endpoint, Direction: in.Direction,
			})
			if err != nil {
				return nil, err
			}
			for i := range t.Series {
				line := &t.Series[i]
				if !line.Other {
					line.Name = s.groupName(ctx, in.Company, in.GroupBy, line.Key, line.Name)
				}
			}
			return &trendOutput[qualityTrend]{Vary: "Accept", Body: qualityTrend{t}}, nil
		})
}

// trendOutput answers a trend.
type trendOutput[T any] struct {
	Vary string `header:"Vary"`
	Body T
}

// groupName is what people call a user or a place; name where the directory does
// not know it, or not any more.
func (s *server) groupName(ctx context.Context, company, group, id, name string) string {
	if id == "" {
		return name
	}
	switch group {
	case directory.KindUser:
		if u, err := s.deps.Directory.User(ctx, company, id); err == nil && u.Name != "" {
			return u.Name
		}
	case directory.KindOffice, directory.KindDepartment, directory.KindContactCenter:
		if p, err := s.deps.Directory.Place(ctx, company, group, id); err == nil && p.Name != "" {
			return p.Name
		}
	}
	return name
}

// csv has a row for each group and bucket, the total among the groups.
func (t qualityTrend) csv(w io.Writer) error {
	header := []string{"group", "name", "of", "at", "calls"}
	header = append(append(header, query.Bands...), "one_way")
	for _, figure := range []string{"rtt_ms", "jitter_ms", "loss_percent", "mos"} {
		for _, p := range []string{"calls", "p50", "p95", "p99"} {
			header = append(header, figure+"."+p)
		}
	}
	return writeCSV(w, header, func(write func(...string)) {
		points := func(of string, line query.QualitySeries) {
			for _, p := range line.Points {
				row := []string{line.Key, line.Name, of, csvTime(p.At), strconv.FormatUint(p.Calls, 10)}
				for _, band := range query.Bands {
					row = append(row, strconv.FormatUint(p.Verdicts[band], 10))
				}
				row = append(row, strconv.FormatUint(p.OneWay, 10))
				for _, f := range []*query.Percentiles{p.RTTMs, p.JitterMs, p.LossPercent, p.MOS} {
					row = append(row, percentileCells(f)...)
				}
				write(row...)
			}
		}
		for _, line := range t.Series {
			of := "group"
			if line.Other {
				of = "other"
			}
			points(of, line)
		}
		points("total", t.Total)
	})
}

func percentileCells(f *query.Percentiles) []string {
	if f == nil {
		return []string{"", "", "", ""}
	}
	cells := []string{strconv.FormatUint(f.Calls, 10)}
	for _, v := range []float64{f.P50, f.P95, f.P99} {
		cells = append(cells, strconv.FormatFloat(v, 'f', -1, 64))
	}
	return cells
}

// csv has a row for each group and bucket.
func (t rejectionTrend) csv(w io.Writer) error {
	return writeCSV(w, []string{"group", "name", "at", "count"}, func(write func(...string)) {
		for _, line := range t.Series {
			for _, p := range line.Points {
				write(line.Key, line.Name, csvTime(p.At), strconv.FormatUint(p.Count, 10))
			}
		}
	})
}

func csvTime(t query.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// writeCSV writes rows of texts that spreadsheets must not run.
func writeCSV(w io.Writer, header []string, rows func(write func(...string))) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	write := func(row ...string) {
		for i := range row {
			row[i] = export.Harmless(row[i])
		}
		_ = out.Write(row) // Error says it in the end
	}
	write(header...)
	rows(write)
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	return nil
}
