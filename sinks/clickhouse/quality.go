package clickhouse

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"

	"github.com/earshot/earshot/telemetry"
)

// dayUs is a day in microseconds.
const dayUs = 24 * 60 * 60 * 1_000_000

// maxMovedDays bounds how many days after its own a call is deleted from: only a
// wrong clock makes it last longer.
const maxMovedDays = 7

// qualityTable has a row for each ended call with a final verdict, for trends.
type qualityTable struct {
	*table
	company, direction, office, department, center, version, platform, endpoint, network, overall *lowColumn
	day, received                                                                                 *dayColumn
	call                                                                                          *proto.ColUInt64
	started                                                                                       *secondsColumn
	user                                                                                          *proto.ColStr
	oneWay                                                                                        *proto.ColBool
	rtt, jitter, loss, mos                                                                        *nullColumn[float64, float32]
	deleted                                                                                       *proto.ColUInt8
	seq                                                                                           *proto.ColInt64
}

func newQualityTable() *qualityTable {
	t := newTable("call_quality")
	return &qualityTable{
		table:      t,
		company:    t.low("company"),
		day:        t.day("day"),
		call:       t.uint64("call"),
		started:    t.seconds("started_at"),
		direction:  t.low("direction"),
		user:       t.text("user_id"),
		office:     t.low("office_id"),
		department: t.low("department_id"),
		center:     t.low("contact_center_id"),
		version:    t.low("app_version"),
		platform:   t.low("platform"),
		endpoint:   t.low("endpoint"),
		network:    t.low("network"),
		overall:    t.low("overall"),
		oneWay:     t.flag("one_way"),
		rtt:        t.nullFloat("rtt_ms"),
		jitter:     t.nullFloat("jitter_ms"),
		loss:       t.nullFloat("loss_percent"),
		mos:        t.nullFloat("mos"),
		deleted:    t.uint8("deleted"),
		seq:        t.int64("seq"),
		received:   t.day("received_at"),
	}
}

func (t *qualityTable) add(o *telemetry.Outcome, c *telemetry.Call) {
	v := c.GetVerdict()
	if c.GetState() != "ended" || !v.GetFinal() {
		return
	}
	call, started := xxhash.Sum64String(o.CallId), clampMicros(startedUs(o, c))
	t.row(o, call, started, c)
	// An earlier version may have begun later, though not after its verdict: of what
	// stands at a later day nothing is left. Nearly all calls are over on their day.
	last := clampMicros(max(v.GetComputedUs(), c.GetEndedUs())) / dayUs
	for day := started/dayUs + 1; day <= min(last, started/dayUs+maxMovedDays); day++ {
		t.row(o, call, day*dayUs, nil)
	}
}

// row appends a call; nil: that it is not of this day.
func (t *qualityTable) row(o *telemetry.Outcome, call uint64, atUs int64, c *telemetry.Call) {
	target, v := c.GetTarget(), c.GetVerdict()
	t.company.Append(o.Company)
	t.day.append(atUs)
	t.call.Append(call)
	t.started.append(atUs)
	t.direction.Append(c.GetDirection())
	t.user.Append(target.GetIdentity().GetUserId())
	t.office.Append(target.GetIdentity().GetOfficeId())
	t.department.Append(target.GetIdentity().GetDepartmentId())
	t.center.Append(target.GetIdentity().GetContactCenterId())
	t.version.Append(target.GetAppVersion())
	t.platform.Append(target.GetPlatform())
	t.endpoint.Append(target.GetEndpoint())
	t.network.Append(networkOf(c))
	t.overall.Append(band(v.GetOverall()))
	oneWay := v.GetOneWayAudio().GetState()
	t.oneWay.Append(oneWay == "suspected" || oneWay == "confirmed")
	rtt, jitter, mos := v.GetDelay().GetRttMs(), v.GetJitter().GetJitterMs(), v.GetMos()
	t.rtt.append(present(rtt != nil, rtt.GetP50()))
	t.jitter.append(present(jitter != nil, jitter.GetP95()))
	t.loss.append(present(v.GetLoss() != nil && v.Loss.Percent != nil, v.GetLoss().GetPercent()))
	t.mos.append(present(mos != nil, mos.GetAvg()))
	deleted := uint8(0)
	if c == nil {
		deleted = 1
	}
	t.deleted.Append(deleted)
	t.seq.Append(o.Seq)
	t.received.append(o.ReceivedUs)
}

func networkOf(c *telemetry.Call) string {
	if c == nil {
		return ""
	}
	for _, p := range c.Peers() {
		if p.Kind == telemetry.PeersNetwork {
			return p.ID
		}
	}
	return ""
}

// dayColumn is Date.
type dayColumn struct{ proto.ColDate }

func (c *dayColumn) append(us int64) { c.Append(time.UnixMicro(clampMicros(us)).UTC()) }

func (t *table) day(name string) *dayColumn {
	c := new(dayColumn)
	t.column(name, c)
	return c
}

// secondsColumn is DateTime.
type secondsColumn struct{ proto.ColDateTime }

func (c *secondsColumn) append(us int64) { c.Append(time.UnixMicro(clampMicros(us))) }

func (t *table) seconds(name string) *secondsColumn {
	c := &secondsColumn{proto.ColDateTime{Location: time.UTC}}
	t.column(name, c)
	return c
}
