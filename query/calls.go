package query

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// liveWindow is how long ago a call that still runs may have begun.
const liveWindow = 24 * time.Hour

// Calls lists calls, the newest first. What a page does not hold yet when its
// calls are written belongs before it: a call is on one page at most, and one
// that did not change while pages were read is on one.
func (c Company) Calls(ctx context.Context, f CallFilter, p Page) (List[Call], error) {
	limit, err := p.limit()
	if err != nil {
		return List[Call]{}, err
	}
	after, err := decodeCursor(p.Cursor, "calls", 1)
	if err != nil {
		return List[Call]{}, err
	}
	if f, err = f.checked(); err != nil {
		return List[Call]{}, err
	}
	index, err := c.callIndex(ctx, f)
	if err != nil {
		return List[Call]{}, err
	}
	out := List[Call]{Items: []Call{}}
	// An item of the index may be stale: its call's newest version begins at
	// another time or does not pass the filter. Read on until the page is full,
	// more at a time where little of it passes.
	for need := limit; ; need = min(2*need, max(limit, maxCandidates)) {
		candidates, next, err := index.candidates(ctx, after, need)
		if err != nil {
			return List[Call]{}, err
		}
		found, err := c.callsByID(ctx, f, candidates)
		if err != nil {
			return List[Call]{}, err
		}
		for i, at := range candidates {
			if call, ok := found[at.id]; ok && call.StartedAt.Micros() == at.startedUs {
				out.Items = append(out.Items, call)
			}
			if len(out.Items) == limit {
				if i < len(candidates)-1 || next != nil {
					out.NextCursor = at.cursor().encode()
				}
				return out, c.attach(ctx, out.Items)
			}
		}
		if after = next; after == nil {
			return out, c.attach(ctx, out.Items)
		}
	}
}

// maxCandidates bounds how many calls are looked at in one statement.
const maxCandidates = 2000

// LiveCalls lists calls that run now, the newest first.
func (c Company) LiveCalls(ctx context.Context, p Page) (List[Call], error) {
	return c.Calls(ctx, CallFilter{State: "live"}, p)
}

// checked brings a filter into the form that is stored, or says why it cannot be.
func (f CallFilter) checked() (CallFilter, error) {
	switch f.State {
	case "", "live", "ended":
	default:
		return f, fmt.Errorf("%w: state %q is neither live nor ended", ErrFilter, f.State)
	}
	switch f.Verdict {
	case "", "good", "acceptable", "bad", "unacceptable", "unknown", "one_way", "choppy", "delay", "loss":
	default:
		return f, fmt.Errorf("%w: verdict %q is none of good, acceptable, bad, unacceptable, unknown, one_way, choppy, delay, loss", ErrFilter, f.Verdict)
	}
	for _, digits := range []string{f.NumberPrefix, f.NumberSuffix} {
		if strings.Trim(digits, "0123456789") != "" {
			return f, fmt.Errorf("%w: the beginning or end of a number must be digits", ErrFilter)
		}
	}
	if f.Address != "" {
		a, err := netip.ParseAddr(f.Address)
		if err != nil {
			return f, fmt.Errorf("%w: address is no IP address", ErrFilter)
		}
		f.Address = a.Unmap().WithZone("").String()
	}
	return f, nil
}

// filterCalls adds conditions on columns that calls, call_times and call_keys have.
func (c Company) filterCalls(s *statement, f CallFilter) {
	p := s.params
	timeRange(s, "started_at", f.From, f.To)
	if f.Direction != "" {
		p.text("direction", f.Direction)
		s.and("direction = {direction:String}")
	}
	switch f.State {
	case "live":
		// What an imported capture left open does not run now.
		p.integer("live_since", c.store.now().Add(-liveWindow).UnixMicro())
		s.and("state = 'live'", "timeline = ''", "started_at >= fromUnixTimestamp64Micro({live_since:Int64}, 'UTC')")
	case "ended":
		s.and("state = 'ended'")
	}
	switch f.Verdict {
	case "":
	case "one_way":
		s.and("one_way_state IN ('suspected', 'confirmed')")
	case "choppy":
		s.and("jitter_band IN ('bad', 'unacceptable')")
	case "delay":
		s.and("delay_band IN ('bad', 'unacceptable')")
	case "loss":
		s.and("loss_band IN ('bad', 'unacceptable')")
	default:
		p.text("overall", f.Verdict)
		s.and("overall = {overall:String}")
	}
}

// filterParties adds conditions on columns that calls and call_times have.
func filterParties(s *statement, f CallFilter) {
	p := s.params
	if f.User != "" {
		p.text("user", f.User)
		s.and("target_user_id = {user:String} OR contact_user_id = {user:String}")
	}
	if f.Number != "" {
		p.text("number", f.Number)
		s.and("target_number = {number:String} OR contact_number = {number:String}")
	}
	if f.NumberPrefix != "" {
		p.text("number_prefix", "+"+f.NumberPrefix)
		s.and("startsWith(target_number, {number_prefix:String}) OR startsWith(contact_number, {number_prefix:String})")
	}
	if f.NumberSuffix != "" {
		p.text("number_suffix", f.NumberSuffix)
		s.and("endsWith(target_number, {number_suffix:String}) OR endsWith(contact_number, {number_suffix:String})")
	}
}

// filterIDs adds conditions on columns of calls alone. The statement is of the
// calls {ids}: what else is looked at is looked at for them only.
func (c Company) filterIDs(s *statement, f CallFilter) {
	p := s.params
	if f.Device != "" {
		p.text("device", f.Device)
		s.and("has(device_ids, {device:String})")
	}
	if f.SIPCallID != "" {
		p.text("sip_call_id", f.SIPCallID)
		s.and("call_id = {sip_call_id:String} OR has(sip_call_ids, {sip_call_id:String})")
	}
	if f.Q != "" {
		p.text("q", f.Q)
		s.and("call_id = {q:String} OR has(sip_call_ids, {q:String}) OR has(leg_ids, {q:String}) OR has(device_ids, {q:String})" +
			" OR target_user_id = {q:String} OR contact_user_id = {q:String}" +
			" OR target_number IN ({q:String}, concat('+', {q:String})) OR contact_number IN ({q:String}, concat('+', {q:String}))")
	}
	const these = "call_id IN {ids:Array(String)}"
	if f.Rejected != nil {
		not := ""
		if !*f.Rejected {
			not = "NOT "
		}
		s.and("call_id " + not + "IN (" + c.from("rejections", p).get("call_id").and(these).String() + ")")
	}
	if f.Rating != nil {
		p.integer("rating", int64(*f.Rating))
		s.and("call_id IN (" + c.from("ratings", p).newest().get("call_id").and(these, "rating = {rating:UInt8}").String() + ")")
	}
}

// timeRange narrows a DateTime64 column to from ≤ column < to.
func timeRange(s *statement, column string, from, to Time) {
	if !from.IsZero() {
		s.params.integer("from", from.Micros())
		s.and(column + " >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')")
	}
	if !to.IsZero() {
		s.params.integer("to", to.Micros())
		s.and(column + " < fromUnixTimestamp64Micro({to:Int64}, 'UTC')")
	}
}

const callColumns = "call_id, timeline, toUnixTimestamp64Micro(started_at), toUnixTimestamp64Milli(received_at), body"

func (c Company) scanCall(scan func(...any) error) (Call, error) {
	var (
		id, timeline, body    string
		startedUs, receivedMs int64
	)
	if err := scan(&id, &timeline, &startedUs, &receivedMs, &body); err != nil {
		return Call{}, err
	}
	var t telemetry.Call
	if err := proto.Unmarshal([]byte(body), &t); err != nil {
		return Call{}, fmt.Errorf("cannot decode call %s: %w", id, err)
	}
	call := CallOf(&t)
	call.ID, call.Company, call.Timeline = id, c.id, timeline
	// The column orders lists; it is set also where the start was not seen.
	call.StartedAt = micros(startedUs)
	call.ReceivedAt = micros(receivedMs * 1000)
	return call, nil
}

// receptionSkew is how much sooner than a version of a call a later one may seem
// to be received: ingesters have clocks of their own.
const receptionSkew = 24 * time.Hour

// callsByID gives the newest versions of calls, those that pass the filter, as
// list items. Versions are received one after the other: the months before are
// not looked into.
func (c Company) callsByID(ctx context.Context, f CallFilter, at []callAt) (map[string]Call, error) {
	out := make(map[string]Call, len(at))
	if len(at) == 0 {
		return out, nil
	}
	ids := make([]string, len(at))
	received := at[0].receivedMs
	for i := range at {
		ids[i], received = at[i].id, min(received, at[i].receivedMs)
	}
	p := newParams()
	p.texts("ids", ids)
	// By the partition: of FINAL the server looks into all of them for a time.
	p.text("received_since", time.UnixMilli(received).UTC().Add(-receptionSkew).Format("200601"))
	s := c.from("calls", p).newest().get(callColumns).before("call_id IN {ids:Array(String)}").
		and("_partition_id >= {received_since:String}")
	c.filterCalls(s, f)
	filterParties(s, f)
	c.filterIDs(s, f)
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		call, err := c.scanCall(scan)
		if err != nil {
			return err
		}
		if f.Address != "" && !slices.ContainsFunc(call.Legs, func(l Leg) bool { return hostOf(l.Address) == f.Address }) {
			return nil
		}
		call.Legs, call.SIPCallIDs, call.Verdict.Evidence, call.Verdict.Sources = nil, nil, nil, nil
		call.Verdict.Segments, call.Verdict.OneWayAudio.Spans, call.Verdict.Thresholds = nil, nil, nil
		out[call.ID] = call
		return nil
	})
	return out, err
}

// hostOf is the IP address of a media address, empty where it is none.
func hostOf(address string) string {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

// attach adds the rejections and ratings of calls.
func (c Company) attach(ctx context.Context, calls []Call) error {
	if len(calls) == 0 {
		return nil
	}
	index := make(map[string]int, len(calls))
	ids := make([]string, len(calls))
	for i := range calls {
		ids[i] = calls[i].ID
		index[ids[i]] = i
		calls[i].Rejections, calls[i].Ratings = []Rejection{}, []Rating{}
	}
	p := newParams()
	p.texts("ids", ids)
	s := c.from("rejections", p).newest().get(rejectionColumns).and("call_id IN {ids:Array(String)}").with("ORDER BY at, id")
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := scanRejection(scan)
		if err != nil {
			return err
		}
		i := index[r.CallID]
		calls[i].Rejections = append(calls[i].Rejections, r)
		return nil
	})
	if err != nil {
		return err
	}
	s = c.from("ratings", p).newest().get(ratingColumns).and("call_id IN {ids:Array(String)}").with("ORDER BY at, id")
	return c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := scanRating(scan)
		if err != nil {
			return err
		}
		i := index[r.CallID]
		calls[i].Ratings = append(calls[i].Ratings, r)
		return nil
	})
}

// Call gives one call by its id or by any leg's SIP Call-ID.
func (c Company) Call(ctx context.Context, id string) (Call, error) {
	call, err := c.findCall(ctx, id)
	if err != nil {
		return Call{}, err
	}
	one := []Call{call}
	if err := c.attach(ctx, one); err != nil {
		return Call{}, err
	}
	return one[0], nil
}

func (c Company) findCall(ctx context.Context, id string) (Call, error) {
	// A Call-ID that cannot stand in a path has another public id.
	call, found, err := c.newestOf(ctx, slices.Compact([]string{id, telemetry.CallID(id)}), "")
	if found || err != nil {
		return call, err
	}
	p := newParams()
	s := c.keyed(p, 0, callKey{kind: "id", key: id}).get("DISTINCT call_id").with("LIMIT 1000")
	var ids []string
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return Call{}, err
	}
	call, found, err = c.newestOf(ctx, ids, id)
	if err == nil && !found {
		err = fmt.Errorf("call: %w", ErrNotFound)
	}
	return call, err
}

// newestOf gives the call that began last of some, of those that have the SIP
// Call-ID where it is given.
func (c Company) newestOf(ctx context.Context, ids []string, sipCallID string) (call Call, found bool, err error) {
	if len(ids) == 0 {
		return Call{}, false, nil
	}
	p := newParams()
	p.texts("ids", ids)
	s := c.from("calls", p).newest().get(callColumns).before("call_id IN {ids:Array(String)}").with("ORDER BY started_at DESC LIMIT 1")
	if sipCallID != "" {
		p.text("id", sipCallID)
		s.and("has(sip_call_ids, {id:String})")
	}
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		found = true
		call, err = c.scanCall(scan)
		return err
	})
	return call, found && err == nil, err
}

// CallOf shows a call as it is stored; its ids are not in it.
func CallOf(t *telemetry.Call) Call {
	c := Call{
		State:       t.GetState(),
		Direction:   t.GetDirection(),
		Target:      partyOf(t.GetTarget()),
		Contact:     partyOf(t.GetContact()),
		ConnectedAt: micros(t.GetConnectedUs()),
		EndedAt:     micros(t.GetEndedUs()),
		Description: t.GetDescription(),
		Legs:        []Leg{},
		SIPCallIDs:  append([]string{}, t.GetSipCallIds()...),
		Verdict:     verdictOf(t.GetVerdict()),
		Rejections:  []Rejection{},
		Ratings:     []Rating{},
		peers:       t.Peers(),
	}
	if t.GetEndedUs() != 0 {
		var ms int64
		if t.GetConnectedUs() != 0 {
			ms = max(0, t.EndedUs-t.ConnectedUs) / 1000
		}
		c.DurationMs = &ms
	}
	if e := t.GetEnd(); e != nil {
		c.End = &CallEnd{By: e.GetBy(), SIPStatus: orNil(e.GetSipStatus()), Reason: e.GetReason()}
	}
	for _, l := range t.GetLegs() {
		c.Legs = append(c.Legs, Leg{
			ID: l.GetId(), SIPCallID: l.GetSipCallId(), Kind: l.GetKind(), Side: l.GetSide(), UserAgent: l.GetUserAgent(),
			Codec: l.GetCodec(), ClockRate: l.GetClockRate(), Address: l.GetAddress(),
			StartedAt: micros(l.GetStartedUs()), EndedAt: micros(l.GetEndedUs()), UserID: l.GetUserId(), DeviceID: l.GetDeviceId(),
			LinkedBy: l.GetLinkedBy(), LinkConfidence: l.GetLinkConfidence(),
		})
	}
	for _, l := range t.GetLinkedCalls() {
		c.LinkedCalls = append(c.LinkedCalls, LinkedCall{CallID: l.GetCallId(), LinkedBy: l.GetLinkedBy(), LinkConfidence: l.GetLinkConfidence()})
	}
	c.Verdict.OneWayAudio.Text = oneWayText(&c)
	return c
}

func partyOf(p *telemetry.Party) Party {
	id := p.GetIdentity()
	return Party{
		UserID: orNil(id.GetUserId()), Name: id.GetName(), Number: id.GetNumber(),
		Endpoint: p.GetEndpoint(), AppVersion: p.GetAppVersion(), Platform: p.GetPlatform(), DeviceID: id.GetDeviceId(),
		DepartmentID: id.GetDepartmentId(), OfficeID: id.GetOfficeId(), ContactCenterID: id.GetContactCenterId(),
	}
}

// verdictOf says unknown where nothing was said.
func verdictOf(v *telemetry.Verdict) Verdict {
	out := Verdict{
		Overall: known(v.GetOverall()), Final: v.GetFinal(), Version: v.GetVersion(), ComputedAt: micros(v.GetComputedUs()), Rules: v.GetRules(),
		Delay: Delay{Band: known(v.GetDelay().GetBand()), RTTMs: distributionOf(v.GetDelay().GetRttMs()), Share: orEmpty(v.GetDelay().GetShare())},
		Jitter: Jitter{
			Band: known(v.GetJitter().GetBand()), JitterMs: distributionOf(v.GetJitter().GetJitterMs()),
		},
		Loss:        Loss{Band: known(v.GetLoss().GetBand())},
		OneWayAudio: OneWayAudio{State: known(v.GetOneWayAudio().GetState())},
		FaultSide:   known(v.GetFaultSide()),
		Evidence:    []Evidence{},
		Sources:     []Source{},
		Segments:    []PathSegment{},
	}
	if v.GetFaultConfidence() > 0 {
		out.FaultConfidence = &v.FaultConfidence
	}
	if j := v.GetJitter(); j != nil {
		out.Jitter.BufferOverPreferredRatio, out.Jitter.ConcealmentPercent = j.BufferOverPreferredRatio, j.ConcealmentPercent
		out.Jitter.TargetToContactMs, out.Jitter.ContactToTargetMs = distributionOf(j.TargetToContactMs), distributionOf(j.ContactToTargetMs)
		out.Jitter.BufferMs, out.Jitter.BufferPreferredMs = j.BufferMs, j.BufferPreferredMs
	}
	if l := v.GetLoss(); l != nil {
		out.Loss.Percent, out.Loss.BurstPercent, out.Loss.BurstRatio = l.Percent, l.BurstPercent, l.BurstRatio
		out.Loss.TargetToContactPercent, out.Loss.ContactToTargetPercent = l.TargetToContactPercent, l.ContactToTargetPercent
	}
	if o := v.GetOneWayAudio(); o.GetState() == "suspected" || o.GetState() == "confirmed" {
		out.OneWayAudio.Direction, out.OneWayAudio.From, out.OneWayAudio.To = orNil(o.Direction), orNil(o.From), orNil(o.To)
		out.OneWayAudio.Since, out.OneWayAudio.Until = micros(o.SinceUs), micros(o.UntilUs)
	}
	for _, s := range v.GetOneWayAudio().GetSpans() {
		out.OneWayAudio.Spans = append(out.OneWayAudio.Spans, DeadSpan{
			Direction: s.Direction, Since: micros(s.SinceUs), Until: micros(s.UntilUs), Confidence: s.Confidence, Healed: s.Healed,
		})
	}
	if o := v.GetOneWayAudio(); o.GetConfidence() > 0 {
		out.OneWayAudio.Confidence = &o.Confidence
	}
	if m := v.GetMos(); m != nil {
		out.MOS = &MOS{Min: m.Min, Avg: m.Avg, Model: m.Model, Codec: m.Codec, Direction: m.Direction, Inputs: orEmpty(m.Inputs), Estimated: m.Estimated}
	}
	for _, e := range v.GetEvidence() {
		out.Evidence = append(out.Evidence, Evidence{
			Kind: e.Kind, Leg: e.Leg, At: micros(e.AtUs), Until: micros(e.UntilUs), Text: e.Text, Values: orEmpty(e.Values),
			Side: e.Side, Direction: e.Direction, Graph: e.Graph,
		})
	}
	for _, s := range v.GetSegments() {
		out.Segments = append(out.Segments, PathSegment{
			From: s.From, To: s.To, RTTMs: distributionOf(s.RttMs), Band: known(s.Band), Source: s.Source,
			TargetToContactJitterMs: s.TargetToContactJitterMs, ContactToTargetJitterMs: s.ContactToTargetJitterMs,
			TargetToContactLossPercent: s.TargetToContactLossPercent, ContactToTargetLossPercent: s.ContactToTargetLossPercent,
		})
	}
	if t := v.GetThresholds(); t != nil {
		out.Thresholds = &Thresholds{
			DelayGoodMs: t.DelayGoodMs, DelayAcceptableMs: t.DelayAcceptableMs, DelayBadMs: t.DelayBadMs,
			LossGoodPercent: t.LossGoodPercent, LossAcceptablePercent: t.LossAcceptablePercent, LossBadPercent: t.LossBadPercent,
			JitterChoppyMs: t.JitterChoppyMs, ConcealmentChoppyPercent: t.ConcealmentChoppyPercent,
			ConcealmentBufferPercent: t.ConcealmentBufferPercent, BufferOverPreferredRatio: t.BufferOverPreferredRatio,
			ChoppyShareGood: t.ChoppyShareGood, ChoppyShareAcceptable: t.ChoppyShareAcceptable, ChoppyShareBad: t.ChoppyShareBad,
			SettleS: t.SettleS, OneWayGraceS: t.OneWayGraceS, OneWayDeadS: t.OneWayDeadS,
			OneWayMinPacketsSent: t.OneWayMinPacketsSent, OneWayMinReports: t.OneWayMinReports,
			OneWaySuspected: t.OneWaySuspected, OneWayConfirmed: t.OneWayConfirmed,
		}
	}
	for _, s := range v.GetSources() {
		out.Sources = append(out.Sources, Source{Kind: s.Kind, Side: s.Side, Samples: s.Samples})
	}
	return out
}

func distributionOf(d *telemetry.Distribution) *Distribution {
	if d == nil {
		return nil
	}
	return &Distribution{Min: d.Min, P50: d.P50, P95: d.P95, Max: d.Max}
}

func known(band string) string {
	if band == "" {
		return "unknown"
	}
	return band
}

// orNil is null in JSON where there is nothing to say.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func orEmpty[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}
