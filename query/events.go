package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// CallEvent is one event in the life of a call: told by the platform, shown by
// signalling or statistics, or concluded by Earshot.
type CallEvent struct {
	ID        string `json:"id"` // the same however often the event is read or delivered
	Type      string `json:"type"`
	At        Time   `json:"at"`
	Call      string `json:"call"` // id of the call
	Direction string `json:"direction"`
	Target    *Agent `json:"target"`  // null where nobody is known, as contact and agent
	Contact   *Agent `json:"contact"` //
	Agent     *Agent `json:"agent"`   // who answered, held, muted, transferred, hung up, refused or rated
	Side      string `json:"side"`    // target, contact or system; or empty
	// Reason is the id of the reason of a refusal, with its explanation; of an end
	// what was told as the reason.
	Reason           string            `json:"reason"`
	Explanation      string            `json:"explanation"`
	Text             string            `json:"text"`   // the platform's own words, or what a rater wrote
	Source           string            `json:"source"` // who told of it first: event, sip, webrtc, rtcp, earshot
	LegID            string            `json:"leg_id,omitempty"`
	SIPStatus        uint32            `json:"sip_status,omitempty"`
	Rating           uint32            `json:"rating,omitempty"`            // 1–5
	RecordingEnabled *bool             `json:"recording_enabled,omitempty"` // of recording_changed
	Verdict          *EventVerdict     `json:"verdict,omitempty"`           // of verdict
	Links            map[string]string `json:"links,omitzero"`              // filled by the API
}

// EventVerdict is what a verdict says in short.
type EventVerdict struct {
	Version         uint32 `json:"version"`
	Overall         string `json:"overall"`           // good, acceptable, bad, unacceptable, unknown
	OneWayState     string `json:"one_way_state"`     // none, suspected, confirmed, unknown
	OneWayDirection string `json:"one_way_direction"` // target_to_contact, contact_to_target, both; or empty
	FaultSide       string `json:"fault_side"`        // target, contact, network, server, unknown
}

// EventFilter narrows a list of call events; zero fields do not. User, office,
// department and contact centre are those of either party or of who did it.
type EventFilter struct {
	Type          string // one of telemetry.MomentTypes
	User          string // id
	Office        string // id
	Department    string // id
	ContactCenter string // id
	From, To      Time   // From ≤ at < To
}

// CallEventOf shows a moment of a call as an event.
func CallEventOf(call string, m *telemetry.CallMoment) CallEvent {
	e := CallEvent{
		ID: m.GetId(), Type: m.GetType(), At: micros(m.GetAtUs()), Call: call, Direction: m.GetDirection(),
		Target: agentOf(m.GetTarget()), Contact: agentOf(m.GetContact()), Agent: agentOf(m.GetAgent()),
		Side: m.GetSide(), Reason: m.GetReason(), Text: m.GetText(), Source: m.GetSource(),
		LegID: m.GetLegId(), SIPStatus: m.GetSipStatus(), Rating: m.GetRating(), RecordingEnabled: m.RecordingEnabled,
	}
	if e.Type == "rejected" {
		reason, _ := RejectionReasonByID(e.Reason)
		e.Explanation = reason.Explanation
	}
	if v := m.GetVerdict(); v != nil {
		e.Verdict = &EventVerdict{Version: v.Version, Overall: v.Overall, OneWayState: v.OneWayState, OneWayDirection: v.OneWayDirection, FaultSide: v.FaultSide}
	}
	return e
}

func agentOf(id *telemetry.Identity) *Agent {
	if id == nil {
		return nil
	}
	return &Agent{
		UserID: orNil(id.UserId), Name: id.Name, Number: id.Number,
		DepartmentID: orNil(id.DepartmentId), ContactCenterID: orNil(id.ContactCenterId), OfficeID: orNil(id.OfficeId),
	}
}

// scanEvent reads call, body and what its place in a list is.
func scanEvent(scan func(...any) error) (CallEvent, int64, error) {
	var call, body string
	var seq int64
	if err := scan(&call, &body, &seq); err != nil {
		return CallEvent{}, 0, err
	}
	m := &telemetry.CallMoment{}
	if err := proto.Unmarshal([]byte(body), m); err != nil {
		return CallEvent{}, 0, fmt.Errorf("cannot decode an event of call %s: %w", call, err)
	}
	return CallEventOf(call, m), seq, nil
}

const eventColumns = "call_id, body, seq"

// CallEvents lists what happened in a call, in order of time. The id is as in Call.
func (c Company) CallEvents(ctx context.Context, call string, p Page) (List[CallEvent], error) {
	return ofCall(ctx, c, call, p, "call_events", eventColumns, func(scan func(...any) error) (CallEvent, cursor, error) {
		e, seq, err := scanEvent(scan)
		return e, cursor{At: e.At.Micros(), Seq: seq}, err
	})
}

// Events lists what happened in calls, the newest first. A page may hold fewer
// items than asked for and still have a next one.
func (c Company) Events(ctx context.Context, f EventFilter, page Page) (List[CallEvent], error) {
	limit, err := page.limit()
	if err != nil {
		return List[CallEvent]{}, err
	}
	after, err := decodeCursor(page.Cursor, "events", 2)
	if err != nil {
		return List[CallEvent]{}, err
	}
	p := newParams()
	s := c.from("call_event_times", p).get(eventColumns)
	if err := filterEvents(s, f); err != nil {
		return List[CallEvent]{}, err
	}
	if after != nil {
		p.integer("after_at", after.At)
		p.text("after_call", after.Keys[0])
		p.text("after_id", after.Keys[1])
		const at = "fromUnixTimestamp64Micro({after_at:Int64}, 'UTC')"
		s.and("at <= "+at, "(at, call_id, id) < ("+at+", {after_call:String}, {after_id:String})")
	}
	// Copies of an event that were not merged yet are neighbours, the newest first;
	// to have the server remove them would keep it from reading in order.
	read, most := 0, 2*limit+16
	p.integer("limit", int64(most))
	s.with("ORDER BY at DESC, call_id DESC, id DESC, seq DESC LIMIT {limit:UInt32}")
	out := List[CallEvent]{Items: []CallEvent{}}
	more := false
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		e, _, err := scanEvent(scan)
		if err != nil {
			return err
		}
		read++
		n := len(out.Items)
		switch {
		case n > 0 && out.Items[n-1].ID == e.ID && out.Items[n-1].Call == e.Call:
		case n == limit:
			more = true
		default:
			out.Items = append(out.Items, e)
		}
		return nil
	})
	if n := len(out.Items); err == nil && n > 0 && (more || read == most) {
		last := out.Items[n-1]
		out.NextCursor = cursor{List: "events", At: last.At.Micros(), Keys: []string{last.Call, last.ID}}.encode()
	}
	return out, err
}

func filterEvents(s *statement, f EventFilter) error {
	if f.Type != "" && !slices.Contains(telemetry.MomentTypes, f.Type) {
		return fmt.Errorf("%w: type %q is none of %s", ErrFilter, f.Type, strings.Join(telemetry.MomentTypes, ", "))
	}
	for _, c := range []struct{ name, value, where string }{
		{"type", f.Type, "type = {type:String}"},
		{"user", f.User, "has(user_ids, {user:String})"},
		{"office", f.Office, "has(office_ids, {office:String})"},
		{"department", f.Department, "has(department_ids, {department:String})"},
		{"center", f.ContactCenter, "has(contact_center_ids, {center:String})"},
	} {
		if c.value != "" {
			s.params.text(c.name, c.value)
			s.and(c.where)
		}
	}
	timeRange(s, "at", f.From, f.To)
	return nil
}
