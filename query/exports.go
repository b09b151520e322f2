package query

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// CallRow is a call as an export gives it: what stands in columns of its own, so
// that millions of them are read without decoding any.
type CallRow struct {
	ID                              string
	Company                         string
	State, Direction                string
	Target, Contact                 Party // of Contact the tables have the first four and the device
	StartedAt, ConnectedAt, EndedAt Time
	DurationMs                      *int64
	EndBy                           *string
	EndSIPStatus                    *uint32
	Overall                         string
	Final                           bool
	Version                         uint32
	Rules                           string
	DelayBand                       string
	RTTMsP50, RTTMsP95, RTTMsMax    *float64
	JitterBand                      string
	JitterMsP95                     *float64
	LossBand                        string
	LossPercent                     *float64
	OneWayState                     string
	OneWayDirection                 *string
	MOSMin, MOSAvg                  *float64
	FaultSide                       string
	Timeline                        string
	ReceivedAt                      Time
}

const callRowColumns = `call_id, state, direction,
target_user_id, target_name, target_number, target_endpoint, target_app_version, target_platform, target_device_id,
target_department_id, target_office_id, target_contact_center_id,
contact_user_id, contact_name, contact_number, contact_device_id,
toUnixTimestamp64Micro(started_at), ifNull(toUnixTimestamp64Micro(connected_at), 0), ifNull(toUnixTimestamp64Micro(ended_at), 0),
end_by, end_sip_status, overall, final, version, rules,
delay_band, rtt_ms_p50, rtt_ms_p95, rtt_ms_max, jitter_band, jitter_ms_p95, loss_band, loss_percent,
one_way_state, one_way_direction, mos_min, mos_avg, fault_side, timeline, toUnixTimestamp64Milli(received_at)`

func (c Company) scanCallRow(scan func(...any) error) (CallRow, error) {
	var (
		r                                              = CallRow{Company: c.id}
		target, contact, endBy, oneWay                 string
		started, connected, ended, received            int64
		sipStatus                                      uint16
		rtt50, rtt95, rttMax, jitter, loss, least, mos *float32
	)
	err := scan(&r.ID, &r.State, &r.Direction,
		&target, &r.Target.Name, &r.Target.Number, &r.Target.Endpoint, &r.Target.AppVersion, &r.Target.Platform, &r.Target.DeviceID,
		&r.Target.DepartmentID, &r.Target.OfficeID, &r.Target.ContactCenterID,
		&contact, &r.Contact.Name, &r.Contact.Number, &r.Contact.DeviceID,
		&started, &connected, &ended,
		&endBy, &sipStatus, &r.Overall, &r.Final, &r.Version, &r.Rules,
		&r.DelayBand, &rtt50, &rtt95, &rttMax, &r.JitterBand, &jitter, &r.LossBand, &loss,
		&r.OneWayState, &oneWay, &least, &mos, &r.FaultSide, &r.Timeline, &received)
	if err != nil {
		return CallRow{}, err
	}
	r.Target.UserID, r.Contact.UserID = orNil(target), orNil(contact)
	r.StartedAt, r.ConnectedAt, r.EndedAt, r.ReceivedAt = micros(started), micros(connected), micros(ended), micros(received*1000)
	if ended != 0 {
		var ms int64
		if connected != 0 {
			ms = max(0, ended-connected) / 1000
		}
		r.DurationMs = &ms
	}
	r.EndBy, r.EndSIPStatus = orNil(endBy), orNil(uint32(sipStatus))
	for _, band := range []*string{&r.Overall, &r.DelayBand, &r.JitterBand, &r.LossBand, &r.OneWayState, &r.FaultSide} {
		*band = known(*band)
	}
	r.RTTMsP50, r.RTTMsP95, r.RTTMsMax = shown(rtt50), shown(rtt95), shown(rttMax)
	r.JitterMsP95, r.LossPercent, r.MOSMin, r.MOSAvg = shown(jitter), shown(loss), shown(least), shown(mos)
	if r.OneWayState == "suspected" || r.OneWayState == "confirmed" {
		r.OneWayDirection = orNil(oneWay)
	}
	return r, nil
}

// EachCall gives every call that passes the filter, the newest first, as Calls
// lists them.
func (c Company) EachCall(ctx context.Context, f CallFilter, each func(*CallRow) error) error {
	s := c.from("calls", newParams()).newest().get(callRowColumns).with("ORDER BY started_at DESC, call_id DESC")
	if err := c.filterEveryCall(ctx, s, f); err != nil {
		return err
	}
	return stream(ctx, c, s, c.scanCallRow, each)
}

// filterEveryCall adds the conditions of a filter to a statement that is not of
// some calls only.
func (c Company) filterEveryCall(ctx context.Context, s *statement, f CallFilter) error {
	f, err := f.checked()
	if err != nil {
		return err
	}
	index, err := c.callIndex(ctx, f)
	if err != nil {
		return err
	}
	p := s.params
	// What few calls have need not be looked for in all.
	if len(index.keys) > 0 && index.keys[0].kind != "verdict" {
		p.text("this", index.id)
		these := []string{"SELECT {this:String}"}
		for i, k := range index.keys {
			these = append(these, c.keyed(p, i, k).get("call_id").String())
		}
		s.before("call_id IN (" + strings.Join(these, " UNION ALL ") + ")")
	}
	c.filterCalls(s, f)
	filterParties(s, f)
	if f.Address != "" {
		s.and("call_id IN (" + c.keyed(p, len(index.keys), callKey{kind: "address", key: f.Address}).get("call_id").String() + ")")
	}
	if f.Rejected != nil {
		not := ""
		if !*f.Rejected {
			not = "NOT "
		}
		s.and("call_id " + not + "IN (" + c.from("rejections", p).get("call_id").String() + ")")
	}
	if f.Rating != nil {
		p.integer("rating", int64(*f.Rating))
		s.and("call_id IN (" + c.from("ratings", p).newest().get("call_id").and("rating = {rating:UInt8}").String() + ")")
	}
	f.Rejected, f.Rating = nil, nil
	c.filterIDs(s, f)
	return nil
}

// CallRows gives calls by their ids, the newest first.
func (c Company) CallRows(ctx context.Context, ids []string) ([]CallRow, error) {
	p := newParams()
	p.texts("ids", ids)
	s := c.from("calls", p).newest().get(callRowColumns).and("call_id IN {ids:Array(String)}").with("ORDER BY started_at DESC, call_id DESC")
	out := make([]CallRow, 0, len(ids))
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := c.scanCallRow(scan)
		out = append(out, r)
		return err
	})
	return out, err
}

// EachRejection gives every rejection that passes the filter, the newest first,
// as Rejections lists them.
func (c Company) EachRejection(ctx context.Context, f RejectionFilter, each func(*Rejection) error) error {
	s := c.from("rejections", newParams()).newest().get(rejectionColumns).with("ORDER BY at DESC, call_id DESC, id DESC")
	filterRejections(s, f)
	timeRange(s, "at", f.From, f.To)
	return stream(ctx, c, s, scanRejection, each)
}

// EachSample gives every point behind a call's graphs in order of time, as
// Samples lists them. The id is as in Call.
func (c Company) EachSample(ctx context.Context, call string, each func(*Sample) error) error {
	found, err := c.findCall(ctx, call)
	if err != nil {
		return err
	}
	p := newParams()
	p.text("call", found.ID)
	p.text("timeline", found.Timeline)
	s := c.from("samples", p).newest().get(sampleColumns).
		and("call_id = {call:String}", "timeline = {timeline:String}").with("ORDER BY at, seq")
	scan := func(scan func(...any) error) (Sample, error) {
		sample, _, err := scanSample(scan)
		return sample, err
	}
	return stream(ctx, c, s, scan, each)
}

// CallSample is a sample with the call that it is of.
type CallSample struct {
	CallID   string `json:"call_id"`
	Timeline string `json:"timeline"` // empty: live traffic; a call that was also imported has its samples in each
	Sample
}

func scanCallSample(scan func(...any) error) (CallSample, cursor, error) {
	var out CallSample
	var err error
	var at cursor
	out.Sample, at, err = scanSample(func(dest ...any) error {
		return scan(append([]any{&out.CallID, &out.Timeline}, dest...)...)
	})
	at.Keys = []string{out.CallID}
	return out, at, err
}

// samplesBetween selects the samples of all calls, those with from ≤ at < to.
func (c Company) samplesBetween(from, to Time) *statement {
	s := c.from("samples", newParams()).newest().get("call_id, timeline, " + sampleColumns)
	timeRange(s, "at", from, to)
	// All versions of a sample have the same time: what is outside need not be merged.
	s.before(strings.Join(s.where, " AND "))
	s.where = nil
	return s
}

// EachSampleBetween gives every sample of a time in order of time.
func (c Company) EachSampleBetween(ctx context.Context, from, to Time, each func(*CallSample) error) error {
	scan := func(scan func(...any) error) (CallSample, error) {
		sample, _, err := scanCallSample(scan)
		return sample, err
	}
	return stream(ctx, c, c.samplesBetween(from, to).with("ORDER BY at, call_id, seq"), scan, each)
}

// SamplesBetween lists the samples of a time in order of time.
func (c Company) SamplesBetween(ctx context.Context, from, to Time, page Page) (List[CallSample], error) {
	limit, err := page.limit()
	if err != nil {
		return List[CallSample]{}, err
	}
	after, err := decodeCursor(page.Cursor, "company_samples", 1)
	if err != nil {
		return List[CallSample]{}, err
	}
	s := c.samplesBetween(from, to)
	if after != nil {
		s.params.integer("after_at", after.At)
		s.params.text("after_call", after.Keys[0])
		s.params.integer("after_seq", after.Seq)
		s.and("(at, call_id, seq) > (fromUnixTimestamp64Micro({after_at:Int64}, 'UTC'), {after_call:String}, {after_seq:Int64})")
	}
	s.with("ORDER BY at, call_id, seq LIMIT {limit:UInt32}")
	return onePage(ctx, c, s, limit, "company_samples", scanCallSample)
}

const (
	// streamBlock is how many rows the server sends at once: two such blocks wait
	// in memory while a third is read.
	streamBlock = 4 << 10
	// sortMemory is what the server sorts in memory; more goes to its disk.
	sortMemory = 256 << 20
)

// stream gives the rows of a long question one after the other. It ends at the
// server too when each fails or ctx is cancelled.
func stream[T any](ctx context.Context, c Company, s *statement, scanItem func(func(...any) error) (T, error), each func(*T) error) error {
	// The driver needs the deadline as well: without one it stops reading after some minutes.
	deadline := time.Now().Add(c.store.maxExport)
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var failed error
	err := c.ask(limited, s, clickhouse.Settings{
		"max_execution_time":             int(max(c.store.maxExport/time.Second, 1)),
		"max_block_size":                 streamBlock,
		"max_bytes_before_external_sort": sortMemory,
	}, func(scan func(...any) error) error {
		item, err := scanItem(scan)
		if err == nil {
			err = each(&item)
			failed = err
		}
		if err != nil {
			cancel() // or the driver would read to the end
		}
		return err
	})
	switch {
	case failed != nil:
		return failed
	case err != nil && ctx.Err() == nil && !time.Now().Before(deadline): // the connection may know it before the context does
		return fmt.Errorf("cannot read table %s within %s: %w", s.table, c.store.maxExport, ErrLimit)
	}
	return err
}
