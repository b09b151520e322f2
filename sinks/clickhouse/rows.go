package clickhouse

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
	gproto "google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// schemaVersion is part of the deduplication tokens. It changes when the same
// outcomes would give other rows.
const schemaVersion = 2

// poisonError says why an outcome can never become a row.
type poisonError struct {
	reason string // label of the metric, header of the dead letter
	err    error
}

func (e *poisonError) Error() string { return e.reason + ": " + e.err.Error() }
func (e *poisonError) Unwrap() error { return e.err }

var (
	errNoCompany = &poisonError{"no_company", errors.New("the outcome names no company")}
	errNoSubject = &poisonError{"no_subject", errors.New("the outcome names no call or address-of-record")}
	errNoBody    = &poisonError{"no_body", errors.New("the outcome has no body")}
)

// blocks are the rows of one batch, one block per table. The order of rows is
// that of the outcomes, so that the same range gives the same blocks.
type blocks struct {
	outcome telemetry.Outcome // reused
	wire    wireSample        // reused

	samples       *samplesTable
	messages      *messagesTable
	calls         *callsTable
	callTimes     *callTimesTable
	keys          *keysTable
	figures       *figuresTable
	quality       *qualityTable
	rejections    *rejectionsTable
	refusals      *rejectionsTable // the same in order of time
	ratings       *ratingsTable
	events        *eventsTable
	eventTimes    *eventsTable
	changes       *registrationsTable
	registrations *registrationsTable
	ingest        *ingestTable
}

func newBlocks() *blocks {
	return &blocks{
		samples:       newSamplesTable(),
		messages:      newMessagesTable(),
		calls:         newCallsTable(),
		callTimes:     newCallTimesTable(),
		keys:          newKeysTable(),
		figures:       newFiguresTable(),
		quality:       newQualityTable(),
		rejections:    newRejectionsTable("rejections"),
		refusals:      newRejectionsTable("rejection_times"),
		ratings:       newRatingsTable(),
		events:        newEventsTable("call_events"),
		eventTimes:    newEventsTable("call_event_times"),
		changes:       newRegistrationsTable("registration_changes"),
		registrations: newRegistrationsTable("registrations"),
		ingest:        newIngestTable(),
	}
}

// tables in the order in which they are inserted: what a list refers to is
// there before the list.
func (b *blocks) tables() []*table {
	return []*table{
		b.samples.table, b.messages.table, b.calls.table, b.rejections.table, b.ratings.table,
		b.events.table, b.callTimes.table, b.keys.table, b.figures.table, b.quality.table, b.refusals.table, b.eventTimes.table, b.changes.table, b.registrations.table, b.ingest.table,
	}
}

func (b *blocks) reset() {
	for _, t := range b.tables() {
		t.reset()
	}
}

// add turns the value of one record into rows. A *poisonError means that it
// never can; nothing was added then. writtenUs is when the record was written
// to Kafka, which stands in for a missing reception time: retention counts from it.
func (b *blocks) add(value []byte, writtenUs int64) error {
	if b.wire.read(value) {
		if b.wire.received <= 0 {
			b.wire.received = writtenUs
		}
		b.samples.addWire(&b.wire)
		return nil
	}
	return b.addAny(value, writtenUs)
}

func (b *blocks) addAny(value []byte, writtenUs int64) error {
	o := &b.outcome
	if err := gproto.Unmarshal(value, o); err != nil {
		return &poisonError{"undecodable", fmt.Errorf("cannot decode the outcome: %w", err)}
	}
	if o.Company == "" {
		return errNoCompany
	}
	if o.ReceivedUs <= 0 {
		o.ReceivedUs = writtenUs
	}
	if r, ok := o.Body.(*telemetry.Outcome_Registration); ok {
		if r.Registration == nil || r.Registration.Aor == "" {
			return errNoSubject
		}
		b.changes.add(o, r.Registration)
		b.registrations.add(o, r.Registration)
		return nil
	}
	if r, ok := o.Body.(*telemetry.Outcome_Ingest); ok {
		b.ingest.add(o, r.Ingest)
		return nil
	}
	if o.CallId == "" {
		return errNoSubject
	}
	switch body := o.Body.(type) {
	case *telemetry.Outcome_Sample:
		b.samples.add(o, body.Sample)
	case *telemetry.Outcome_Message:
		b.messages.add(o, body.Message)
	case *telemetry.Outcome_Call:
		encoded, err := gproto.MarshalOptions{Deterministic: true}.Marshal(body.Call)
		if err != nil {
			return &poisonError{"unencodable", fmt.Errorf("cannot encode the call: %w", err)}
		}
		b.calls.add(o, body.Call, encoded)
		b.callTimes.add(o, body.Call)
		b.keys.add(o, body.Call)
		b.figures.add(o, body.Call)
		b.quality.add(o, body.Call)
	case *telemetry.Outcome_Rejection:
		b.rejections.add(o, body.Rejection)
		b.refusals.add(o, body.Rejection)
		b.keys.addMoment(o, callKey{kind: "rejected"}, body.Rejection.GetAtUs())
	case *telemetry.Outcome_Rating:
		b.ratings.add(o, body.Rating)
		b.keys.addMoment(o, ratingKey(body.Rating), body.Rating.GetAtUs())
	case *telemetry.Outcome_Moment:
		encoded, err := gproto.MarshalOptions{Deterministic: true}.Marshal(body.Moment)
		if err != nil {
			return &poisonError{"unencodable", fmt.Errorf("cannot encode the event: %w", err)}
		}
		b.events.add(o, body.Moment, encoded)
		b.eventTimes.add(o, body.Moment, encoded)
	default:
		return errNoBody
	}
	return nil
}

// versioned are the last two columns of every table.
type versioned struct {
	seq      *proto.ColInt64
	received *millisColumn
}

func (v *versioned) declare(t *table) {
	v.seq, v.received = t.int64("seq"), t.millis("received_at")
}

func (v *versioned) add(o *telemetry.Outcome) {
	v.seq.Append(o.Seq)
	v.received.append(o.ReceivedUs)
}

type samplesTable struct {
	*table
	company, timeline, direction, source, side, codec                     *lowColumn
	call, leg                                                             *proto.ColStr
	at                                                                    *microsColumn
	ssrc, clock                                                           *proto.ColUInt32
	rtt, jitter, loss, buffer, preferred, concealment, silent, level, mos *nullColumn[float64, float32]
	packets, discarded                                                    *nullColumn[uint32, uint32]
	lost                                                                  *nullColumn[int32, int32]
	versioned
}

func newSamplesTable() *samplesTable {
	t := newTable("samples")
	s := &samplesTable{
		table:       t,
		company:     t.low("company"),
		call:        t.text("call_id"),
		timeline:    t.low("timeline"),
		at:          t.micros("at"),
		leg:         t.text("leg_id"),
		direction:   t.low("direction"),
		source:      t.low("source"),
		side:        t.low("side"),
		ssrc:        t.uint32("ssrc"),
		codec:       t.low("codec"),
		clock:       t.uint32("clock_rate"),
		rtt:         t.nullFloat("rtt_ms"),
		jitter:      t.nullFloat("jitter_ms"),
		loss:        t.nullFloat("loss_percent"),
		packets:     t.nullUint("packets"),
		lost:        t.nullInt("packets_lost"),
		discarded:   t.nullUint("packets_discarded"),
		buffer:      t.nullFloat("jitter_buffer_ms"),
		preferred:   t.nullFloat("jitter_buffer_preferred_ms"),
		concealment: t.nullFloat("concealment_percent"),
		silent:      t.nullFloat("silent_concealment_percent"),
		level:       t.nullFloat("audio_level"),
		mos:         t.nullFloat("mos"),
	}
	s.declare(t)
	return s
}

func (t *samplesTable) add(o *telemetry.Outcome, s *telemetry.Sample) {
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.timeline.Append(o.Timeline)
	t.at.append(s.AtUs)
	t.leg.Append(s.LegId)
	t.direction.Append(s.Direction)
	t.source.Append(s.Source)
	t.side.Append(s.Side)
	t.ssrc.Append(s.Ssrc)
	t.codec.Append(s.Codec)
	t.clock.Append(s.ClockRate)
	t.rtt.append(s.RttMs)
	t.jitter.append(s.JitterMs)
	t.loss.append(s.LossPercent)
	t.packets.append(s.Packets)
	t.lost.append(s.PacketsLost)
	t.discarded.append(s.PacketsDiscarded)
	t.buffer.append(s.JitterBufferMs)
	t.preferred.append(s.JitterBufferPreferredMs)
	t.concealment.append(s.ConcealmentPercent)
	t.silent.append(s.SilentConcealmentPercent)
	t.level.append(s.AudioLevel)
	t.mos.append(s.Mos)
	t.versioned.add(o)
}

type messagesTable struct {
	*table
	company, timeline, transport, method, phrase, agent *lowColumn
	call, src, dst, sipCall, uri, raw                   *proto.ColStr
	at                                                  *microsColumn
	status                                              *proto.ColUInt16
	cseq                                                *proto.ColUInt32
	sdp                                                 *proto.ColBool
	versioned
}

func newMessagesTable() *messagesTable {
	t := newTable("messages")
	m := &messagesTable{
		table:     t,
		company:   t.low("company"),
		call:      t.text("call_id"),
		timeline:  t.low("timeline"),
		at:        t.micros("at"),
		src:       t.text("src"),
		dst:       t.text("dst"),
		transport: t.low("transport"),
		method:    t.low("method"),
		status:    t.uint16("status"),
		phrase:    t.low("reason_phrase"),
		cseq:      t.uint32("cseq"),
		sipCall:   t.text("sip_call_id"),
		uri:       t.text("request_uri"),
		sdp:       t.flag("has_sdp"),
		agent:     t.low("agent"),
		raw:       t.text("raw"),
	}
	m.declare(t)
	return m
}

func (t *messagesTable) add(o *telemetry.Outcome, m *telemetry.SIPMessage) {
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.timeline.Append(o.Timeline)
	t.at.append(o.AtUs)
	t.src.Append(m.Src)
	t.dst.Append(m.Dst)
	t.transport.Append(m.Transport)
	t.method.Append(m.Method)
	t.status.Append(uint16(m.Status))
	t.phrase.Append(m.ReasonPhrase)
	t.cseq.Append(m.Cseq)
	t.sipCall.Append(m.CallId)
	t.uri.Append(m.RequestUri)
	t.sdp.Append(m.Sdp != nil)
	t.agent.Append(o.GetSource().GetAgent())
	t.raw.AppendBytes(m.Raw)
	t.versioned.add(o)
}

type callsTable struct {
	*table
	company, timeline, state, direction                                                  *lowColumn
	call                                                                                 *proto.ColStr
	started                                                                              *microsColumn
	connected, ended                                                                     *nullMicrosColumn
	targetUser, targetName, targetNumber, targetDevice                                   *proto.ColStr
	targetEndpoint, targetVersion, targetPlatform                                        *lowColumn
	targetDepartment, targetOffice, targetCenter                                         *lowColumn
	contactUser, contactName, contactNumber, contactDevice                               *proto.ColStr
	endBy                                                                                *lowColumn
	endStatus                                                                            *proto.ColUInt16
	overall, rules, delayBand, jitterBand, lossBand, oneWayState, oneWayDirection, fault *lowColumn
	final                                                                                *proto.ColBool
	version                                                                              *proto.ColUInt32
	rttP50, rttP95, rttMax, jitterP95, loss, mosMin, mosAvg                              *nullColumn[float64, float32]
	sipCalls, legs, devices                                                              *proto.ColArr[string]
	body                                                                                 *proto.ColStr
	versioned
}

func newCallsTable() *callsTable {
	t := newTable("calls")
	c := &callsTable{
		table:            t,
		company:          t.low("company"),
		call:             t.text("call_id"),
		timeline:         t.low("timeline"),
		state:            t.low("state"),
		direction:        t.low("direction"),
		started:          t.micros("started_at"),
		connected:        t.nullMicros("connected_at"),
		ended:            t.nullMicros("ended_at"),
		targetUser:       t.text("target_user_id"),
		targetName:       t.text("target_name"),
		targetNumber:     t.text("target_number"),
		targetDevice:     t.text("target_device_id"),
		targetEndpoint:   t.low("target_endpoint"),
		targetVersion:    t.low("target_app_version"),
		targetPlatform:   t.low("target_platform"),
		targetDepartment: t.low("target_department_id"),
		targetOffice:     t.low("target_office_id"),
		targetCenter:     t.low("target_contact_center_id"),
		contactUser:      t.text("contact_user_id"),
		contactName:      t.text("contact_name"),
		contactNumber:    t.text("contact_number"),
		contactDevice:    t.text("contact_device_id"),
		endBy:            t.low("end_by"),
		endStatus:        t.uint16("end_sip_status"),
		overall:          t.low("overall"),
		final:            t.flag("final"),
		version:          t.uint32("version"),
		rules:            t.low("rules"),
		delayBand:        t.low("delay_band"),
		jitterBand:       t.low("jitter_band"),
		lossBand:         t.low("loss_band"),
		oneWayState:      t.low("one_way_state"),
		oneWayDirection:  t.low("one_way_direction"),
		fault:            t.low("fault_side"),
		rttP50:           t.nullFloat("rtt_ms_p50"),
		rttP95:           t.nullFloat("rtt_ms_p95"),
		rttMax:           t.nullFloat("rtt_ms_max"),
		jitterP95:        t.nullFloat("jitter_ms_p95"),
		loss:             t.nullFloat("loss_percent"),
		mosMin:           t.nullFloat("mos_min"),
		mosAvg:           t.nullFloat("mos_avg"),
		sipCalls:         t.texts("sip_call_ids"),
		legs:             t.texts("leg_ids"),
		devices:          t.texts("device_ids"),
		body:             t.text("body"),
	}
	c.declare(t)
	return c
}

func (t *callsTable) add(o *telemetry.Outcome, c *telemetry.Call, body []byte) {
	target, contact, v := c.GetTarget(), c.GetContact(), c.GetVerdict()
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.timeline.Append(o.Timeline)
	t.state.Append(c.GetState())
	t.direction.Append(c.GetDirection())
	t.started.append(startedUs(o, c))
	t.connected.append(c.GetConnectedUs())
	t.ended.append(c.GetEndedUs())
	t.targetUser.Append(target.GetIdentity().GetUserId())
	t.targetName.Append(target.GetIdentity().GetName())
	t.targetNumber.Append(target.GetIdentity().GetNumber())
	t.targetDevice.Append(target.GetIdentity().GetDeviceId())
	t.targetEndpoint.Append(target.GetEndpoint())
	t.targetVersion.Append(target.GetAppVersion())
	t.targetPlatform.Append(target.GetPlatform())
	t.targetDepartment.Append(target.GetIdentity().GetDepartmentId())
	t.targetOffice.Append(target.GetIdentity().GetOfficeId())
	t.targetCenter.Append(target.GetIdentity().GetContactCenterId())
	t.contactUser.Append(contact.GetIdentity().GetUserId())
	t.contactName.Append(contact.GetIdentity().GetName())
	t.contactNumber.Append(contact.GetIdentity().GetNumber())
	t.contactDevice.Append(contact.GetIdentity().GetDeviceId())
	t.endBy.Append(c.GetEnd().GetBy())
	t.endStatus.Append(uint16(c.GetEnd().GetSipStatus()))
	t.overall.Append(band(v.GetOverall()))
	t.final.Append(v.GetFinal())
	t.version.Append(v.GetVersion())
	t.rules.Append(v.GetRules())
	t.delayBand.Append(band(v.GetDelay().GetBand()))
	t.jitterBand.Append(band(v.GetJitter().GetBand()))
	t.lossBand.Append(band(v.GetLoss().GetBand()))
	t.oneWayState.Append(band(v.GetOneWayAudio().GetState()))
	t.oneWayDirection.Append(v.GetOneWayAudio().GetDirection())
	t.fault.Append(band(v.GetFaultSide()))
	rtt, jitter, mos := v.GetDelay().GetRttMs(), v.GetJitter().GetJitterMs(), v.GetMos()
	t.rttP50.append(present(rtt != nil, rtt.GetP50()))
	t.rttP95.append(present(rtt != nil, rtt.GetP95()))
	t.rttMax.append(present(rtt != nil, rtt.GetMax()))
	t.jitterP95.append(present(jitter != nil, jitter.GetP95()))
	t.loss.append(present(v.GetLoss() != nil && v.Loss.Percent != nil, v.GetLoss().GetPercent()))
	t.mosMin.append(present(mos != nil, mos.GetMin()))
	t.mosAvg.append(present(mos != nil, mos.GetAvg()))
	t.sipCalls.Append(c.GetSipCallIds())
	var legs, devices []string
	for _, party := range []*telemetry.Party{target, contact} {
		devices = appendNew(devices, party.GetIdentity().GetDeviceId())
	}
	for _, leg := range c.GetLegs() {
		legs = appendNew(legs, leg.GetId())
		devices = appendNew(devices, leg.GetDeviceId())
	}
	t.legs.Append(legs)
	t.devices.Append(devices)
	t.body.AppendBytes(body)
	t.versioned.add(o)
}

type callTimesTable struct {
	*table
	company, timeline, state, direction                        *lowColumn
	started                                                    *microsColumn
	call, targetUser, targetNumber, contactUser, contactNumber *proto.ColStr
	overall, delayBand, jitterBand, lossBand, oneWayState      *lowColumn
	versioned
}

func newCallTimesTable() *callTimesTable {
	t := newTable("call_times")
	c := &callTimesTable{
		table:         t,
		company:       t.low("company"),
		started:       t.micros("started_at"),
		call:          t.text("call_id"),
		timeline:      t.low("timeline"),
		state:         t.low("state"),
		direction:     t.low("direction"),
		targetUser:    t.text("target_user_id"),
		targetNumber:  t.text("target_number"),
		contactUser:   t.text("contact_user_id"),
		contactNumber: t.text("contact_number"),
		overall:       t.low("overall"),
		delayBand:     t.low("delay_band"),
		jitterBand:    t.low("jitter_band"),
		lossBand:      t.low("loss_band"),
		oneWayState:   t.low("one_way_state"),
	}
	c.declare(t)
	return c
}

func (t *callTimesTable) add(o *telemetry.Outcome, c *telemetry.Call) {
	target, contact, v := c.GetTarget().GetIdentity(), c.GetContact().GetIdentity(), c.GetVerdict()
	t.company.Append(o.Company)
	t.started.append(startedUs(o, c))
	t.call.Append(o.CallId)
	t.timeline.Append(o.Timeline)
	t.state.Append(c.GetState())
	t.direction.Append(c.GetDirection())
	t.targetUser.Append(target.GetUserId())
	t.targetNumber.Append(target.GetNumber())
	t.contactUser.Append(contact.GetUserId())
	t.contactNumber.Append(contact.GetNumber())
	t.overall.Append(band(v.GetOverall()))
	t.delayBand.Append(band(v.GetDelay().GetBand()))
	t.jitterBand.Append(band(v.GetJitter().GetBand()))
	t.lossBand.Append(band(v.GetLoss().GetBand()))
	t.oneWayState.Append(band(v.GetOneWayAudio().GetState()))
	t.versioned.add(o)
}

// figuresTable has a row for each group that an ended call is compared with.
type figuresTable struct {
	*table
	company, kind                           *lowColumn
	id, call, user                          *proto.ColStr
	started                                 *microsColumn
	rttP50, rttP95, jitterP95, loss, mosAvg *nullColumn[float64, float32]
	versioned
}

func newFiguresTable() *figuresTable {
	t := newTable("call_figures")
	f := &figuresTable{
		table:     t,
		company:   t.low("company"),
		kind:      t.low("kind"),
		id:        t.text("id"),
		started:   t.micros("started_at"),
		call:      t.text("call_id"),
		user:      t.text("user_id"),
		rttP50:    t.nullFloat("rtt_ms_p50"),
		rttP95:    t.nullFloat("rtt_ms_p95"),
		jitterP95: t.nullFloat("jitter_ms_p95"),
		loss:      t.nullFloat("loss_percent"),
		mosAvg:    t.nullFloat("mos_avg"),
	}
	f.declare(t)
	return f
}

func (t *figuresTable) add(o *telemetry.Outcome, c *telemetry.Call) {
	v := c.GetVerdict()
	rtt, jitter, mos := v.GetDelay().GetRttMs(), v.GetJitter().GetJitterMs(), v.GetMos()
	hasLoss := v.GetLoss() != nil && v.Loss.Percent != nil
	if c.GetState() != "ended" || !v.GetFinal() || rtt == nil && jitter == nil && mos == nil && !hasLoss {
		return
	}
	for _, p := range c.Peers() {
		t.company.Append(o.Company)
		t.kind.Append(p.Kind)
		t.id.Append(p.ID)
		t.started.append(startedUs(o, c))
		t.call.Append(o.CallId)
		t.user.Append(c.GetTarget().GetIdentity().GetUserId())
		t.rttP50.append(present(rtt != nil, rtt.GetP50()))
		t.rttP95.append(present(rtt != nil, rtt.GetP95()))
		t.jitterP95.append(present(jitter != nil, jitter.GetP95()))
		t.loss.append(present(hasLoss, v.GetLoss().GetPercent()))
		t.mosAvg.append(present(mos != nil, mos.GetAvg()))
		t.versioned.add(o)
	}
}

type rejectionsTable struct {
	*table
	company, timeline, reason, department, office, center, source *lowColumn
	call, id, agent, name, number, leg, raw, text, from, to       *proto.ColStr
	at                                                            *microsColumn
	status                                                        *proto.ColUInt16
	versioned
}

func newRejectionsTable(name string) *rejectionsTable {
	t := newTable(name)
	r := &rejectionsTable{
		table:      t,
		company:    t.low("company"),
		call:       t.text("call_id"),
		id:         t.text("id"),
		timeline:   t.low("timeline"),
		at:         t.micros("at"),
		reason:     t.low("reason"),
		agent:      t.text("agent_user_id"),
		name:       t.text("agent_name"),
		number:     t.text("agent_number"),
		department: t.low("department_id"),
		office:     t.low("office_id"),
		center:     t.low("contact_center_id"),
		leg:        t.text("leg_id"),
		status:     t.uint16("sip_status"),
		raw:        t.text("raw_reason"),
		text:       t.text("text"),
		from:       t.text("from_number"),
		to:         t.text("to_number"),
		source:     t.low("source"),
	}
	r.declare(t)
	return r
}

func (t *rejectionsTable) add(o *telemetry.Outcome, r *telemetry.Rejection) {
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.id.Append(r.GetId())
	t.timeline.Append(o.Timeline)
	t.at.append(r.GetAtUs())
	t.reason.Append(r.GetReason())
	t.agent.Append(r.GetAgent().GetUserId())
	t.name.Append(r.GetAgent().GetName())
	t.number.Append(r.GetAgent().GetNumber())
	t.department.Append(r.GetAgent().GetDepartmentId())
	t.office.Append(r.GetAgent().GetOfficeId())
	t.center.Append(r.GetAgent().GetContactCenterId())
	t.leg.Append(r.GetLegId())
	t.status.Append(uint16(r.GetSipStatus()))
	t.raw.Append(r.GetRawReason())
	t.text.Append(r.GetText())
	t.from.Append(r.GetFromNumber())
	t.to.Append(r.GetToNumber())
	t.source.Append(r.GetSource())
	t.versioned.add(o)
}

type ratingsTable struct {
	*table
	company, timeline          *lowColumn
	call, id, user, name, text *proto.ColStr
	at                         *microsColumn
	rating                     *proto.ColUInt8
	versioned
}

func newRatingsTable() *ratingsTable {
	t := newTable("ratings")
	r := &ratingsTable{
		table:    t,
		company:  t.low("company"),
		call:     t.text("call_id"),
		id:       t.text("id"),
		timeline: t.low("timeline"),
		at:       t.micros("at"),
		user:     t.text("user_id"),
		name:     t.text("name"),
		rating:   t.uint8("rating"),
		text:     t.text("text"),
	}
	r.declare(t)
	return r
}

func (t *ratingsTable) add(o *telemetry.Outcome, r *telemetry.Rating) {
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.id.Append(r.GetId())
	t.timeline.Append(o.Timeline)
	t.at.append(r.GetAtUs())
	t.user.Append(r.GetRater().GetUserId())
	t.name.Append(r.GetRater().GetName())
	t.rating.Append(uint8(min(r.GetRating(), 255)))
	t.text.Append(r.GetText())
	t.versioned.add(o)
}

// eventsTable is what happened in calls, by call or by time: the same columns
// under another order.
type eventsTable struct {
	*table
	company, timeline, kind, reason      *lowColumn
	call, id, agent, body                *proto.ColStr
	at                                   *microsColumn
	users, offices, departments, centers *proto.ColArr[string]
	versioned
}

func newEventsTable(name string) *eventsTable {
	t := newTable(name)
	e := &eventsTable{
		table:       t,
		company:     t.low("company"),
		call:        t.text("call_id"),
		at:          t.micros("at"),
		id:          t.text("id"),
		timeline:    t.low("timeline"),
		kind:        t.low("type"),
		reason:      t.low("reason"),
		agent:       t.text("agent_user_id"),
		users:       t.texts("user_ids"),
		offices:     t.texts("office_ids"),
		departments: t.texts("department_ids"),
		centers:     t.texts("contact_center_ids"),
		body:        t.text("body"),
	}
	e.declare(t)
	return e
}

func (t *eventsTable) add(o *telemetry.Outcome, m *telemetry.CallMoment, body []byte) {
	t.company.Append(o.Company)
	t.call.Append(o.CallId)
	t.at.append(m.GetAtUs())
	t.id.Append(m.GetId())
	t.timeline.Append(o.Timeline)
	t.kind.Append(m.GetType())
	reason := ""
	if m.GetType() == "rejected" { // that of an end is whatever somebody wrote
		reason = m.GetReason()
	}
	t.reason.Append(reason)
	t.agent.Append(m.GetAgent().GetUserId())
	var users, offices, departments, centers []string
	for _, who := range []*telemetry.Identity{m.GetTarget(), m.GetContact(), m.GetAgent()} {
		users = appendNew(users, who.GetUserId())
		offices = appendNew(offices, who.GetOfficeId())
		departments = appendNew(departments, who.GetDepartmentId())
		centers = appendNew(centers, who.GetContactCenterId())
	}
	t.users.Append(users)
	t.offices.Append(offices)
	t.departments.Append(departments)
	t.centers.Append(centers)
	t.body.AppendBytes(body)
	t.versioned.add(o)
}

// registrationsTable is both the history and the newest state: the same
// columns under another order.
type registrationsTable struct {
	*table
	company, timeline, change, reason, agent, app, version, platform, endpoint, department, office, center *lowColumn
	aor, device, contact, source, instance, sipCall, user, name, number, text                              *proto.ColStr
	at                                                                                                     *microsColumn
	registeredAt, expires, failing                                                                         *nullMicrosColumn
	ordinal, cseq                                                                                          *proto.ColUInt32
	status                                                                                                 *proto.ColUInt16
	registered, flapping                                                                                   *proto.ColBool
	versioned
}

func newRegistrationsTable(name string) *registrationsTable {
	t := newTable(name)
	r := &registrationsTable{
		table:        t,
		company:      t.low("company"),
		aor:          t.text("aor"),
		device:       t.text("device_id"),
		timeline:     t.low("timeline"),
		at:           t.micros("at"),
		change:       t.low("change"),
		ordinal:      t.uint32("ordinal"),
		contact:      t.text("contact"),
		source:       t.text("source"),
		agent:        t.low("user_agent"),
		app:          t.low("app"),
		version:      t.low("app_version"),
		platform:     t.low("platform"),
		endpoint:     t.low("endpoint"),
		instance:     t.text("instance"),
		registeredAt: t.nullMicros("registered_at"),
		expires:      t.nullMicros("expires_at"),
		registered:   t.flag("registered"),
		flapping:     t.flag("flapping"),
		status:       t.uint16("sip_status"),
		sipCall:      t.text("sip_call_id"),
		cseq:         t.uint32("cseq"),
		user:         t.text("user_id"),
		name:         t.text("user_name"),
		number:       t.text("number"),
		department:   t.low("department_id"),
		office:       t.low("office_id"),
		center:       t.low("contact_center_id"),
		text:         t.text("text"),
		reason:       t.low("reason"),
		failing:      t.nullMicros("failing_since"),
	}
	r.declare(t)
	return r
}

func (t *registrationsTable) add(o *telemetry.Outcome, r *telemetry.RegistrationChange) {
	t.company.Append(o.Company)
	t.aor.Append(r.GetAor())
	t.device.Append(r.GetDeviceId())
	t.timeline.Append(o.Timeline)
	t.at.append(r.GetAtUs())
	t.change.Append(r.GetChange())
	t.ordinal.Append(r.GetOrdinal())
	t.contact.Append(r.GetContact())
	t.source.Append(r.GetSource())
	t.agent.Append(r.GetUserAgent())
	t.app.Append(r.GetApp())
	t.version.Append(r.GetAppVersion())
	t.platform.Append(r.GetPlatform())
	t.endpoint.Append(r.GetEndpoint())
	t.instance.Append(r.GetInstance())
	t.registeredAt.append(r.GetRegisteredUs())
	t.expires.append(r.GetExpiresUs())
	t.registered.Append(r.GetRegistered())
	t.flapping.Append(r.GetFlapping())
	t.status.Append(uint16(r.GetSipStatus()))
	t.sipCall.Append(r.GetCallId())
	t.cseq.Append(r.GetCseq())
	t.user.Append(r.GetIdentity().GetUserId())
	t.name.Append(r.GetIdentity().GetName())
	t.number.Append(r.GetIdentity().GetNumber())
	t.department.Append(r.GetIdentity().GetDepartmentId())
	t.office.Append(r.GetIdentity().GetOfficeId())
	t.center.Append(r.GetIdentity().GetContactCenterId())
	t.text.Append(r.GetText())
	t.reason.Append(r.GetReason())
	t.failing.append(r.GetFailingSinceUs())
	t.versioned.add(o)
}

// ingestTable has a row per counter of a report.
type ingestTable struct {
	*table
	company, listener, agent, instance, outcome, reason *lowColumn
	at                                                  *microsColumn
	count                                               *proto.ColUInt64
	versioned
}

func newIngestTable() *ingestTable {
	t := newTable("ingest_counts")
	i := &ingestTable{
		table:    t,
		company:  t.low("company"),
		listener: t.low("listener"),
		agent:    t.low("agent"),
		instance: t.low("instance"),
		at:       t.micros("at"),
		outcome:  t.low("outcome"),
		reason:   t.low("reason"),
		count:    t.uint64("count"),
	}
	i.declare(t)
	return i
}

func (t *ingestTable) add(o *telemetry.Outcome, r *telemetry.IngestReport) {
	for _, c := range r.GetCounts() {
		t.company.Append(o.Company)
		t.listener.Append(r.GetListener())
		t.agent.Append(r.GetAgent())
		t.instance.Append(r.GetInstance())
		t.at.append(o.AtUs)
		t.outcome.Append(c.GetOutcome())
		t.reason.Append(c.GetReason())
		t.count.Append(c.GetCount())
		t.versioned.add(o)
	}
}

// startedUs orders a call in lists also where its start was not seen.
func startedUs(o *telemetry.Outcome, c *telemetry.Call) int64 {
	switch {
	case c.GetStartedUs() != 0:
		return c.GetStartedUs()
	case o.AtUs != 0:
		return o.AtUs
	}
	return o.ReceivedUs
}

// band says unknown where nothing was said: unknown is not good.
func band(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func present(is bool, v float64) *float64 {
	if !is {
		return nil
	}
	return &v
}

func appendNew(list []string, v string) []string {
	if v == "" || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
