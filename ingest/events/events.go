// Package events reads call events: CloudEvents 1.0 in structured JSON, as a
// telephony platform or a soft-phone posts them.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// ErrEvent is what every error of Decode wraps: the event cannot be taken.
var ErrEvent = errors.New("events: event cannot be read")

// FieldError names the member that an event was refused for. It wraps ErrEvent.
type FieldError struct {
	Field  string // as a path, data.reason; empty: the event as a whole
	Detail string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "events: " + e.Detail
	}
	return "events: " + e.Field + ": " + e.Detail
}

// Unwrap gives ErrEvent.
func (e *FieldError) Unwrap() error { return ErrEvent }

// TypePrefix stands before the types on the wire; it may be left out.
const TypePrefix = "earshot.call."

// Types are the event types, without prefix.
var Types = []string{"started", "ringing", "connected", "held", "resumed", "muted", "unmuted",
	"transferred", "ended", "rejected", "rated", "recording_changed", "linked"}

// Reasons are the rejection reasons that an event may give: the nine of a
// platform, then those that signalling knows too.
var Reasons = []string{"reserved_to_another_call", "no_available_endpoints", "manually_declined",
	"assigned_to_another_operator", "after_hours", "spam", "on_a_call", "do_not_disturb", "ringing_in_progress",
	"no_answer", "caller_abandoned", "unreachable", "forbidden", "media_rejected", "server_error", "unknown"}

// Item is one event. Its identities carry only what the sender said.
type Item struct {
	Event *telemetry.CallEvent
	// Source is the CloudEvents source.
	Source string
	// AtUs is the CloudEvents time, Unix microseconds; 0 where absent.
	AtUs int64
}

// maxMember bounds members that identify, maxText those that are prose, in bytes.
const (
	maxMember = 256
	maxText   = 4096
)

type envelope struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        string          `json:"time"`
	Data        json.RawMessage `json:"data"`
}

type data struct {
	CallID           string    `json:"call_id"`
	SIPCallID        string    `json:"sip_call_id"`
	LegID            string    `json:"leg_id"`
	Direction        string    `json:"direction"`
	From             *identity `json:"from"`
	To               *identity `json:"to"`
	Subject          *identity `json:"subject"`
	Agent            *identity `json:"agent"` // the subject of a rejection, by its usual name
	User             *identity `json:"user"`  // the subject of any other event
	Reason           string    `json:"reason"`
	Text             string    `json:"text"`
	Rating           int       `json:"rating"`
	Side             string    `json:"side"`
	Endpoint         string    `json:"endpoint"`
	Description      string    `json:"description"`
	RecordingEnabled bool      `json:"recording_enabled"`
}

// identity is an object, or a string: a number where it looks like one, else a user id.
type identity struct{ telemetry.Identity }

func (i *identity) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if strings.Trim(s, "+0123456789-(). ") == "" {
			i.Number = s
		} else {
			i.UserId = s
		}
		return nil
	}
	var o struct {
		UserID          string `json:"user_id"`
		ID              string `json:"id"`
		Name            string `json:"name"`
		Number          string `json:"number"`
		DeviceID        string `json:"device_id"`
		DepartmentID    string `json:"department_id"`
		OfficeID        string `json:"office_id"`
		ContactCenterID string `json:"contact_center_id"`
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	if o.UserID == "" {
		o.UserID = o.ID
	}
	i.UserId, i.Name, i.Number, i.DeviceId = o.UserID, o.Name, o.Number, o.DeviceID
	i.DepartmentId, i.OfficeId, i.ContactCenterId = o.DepartmentID, o.OfficeID, o.ContactCenterID
	return nil
}

func (i *identity) check(field string) error {
	if i == nil {
		return nil
	}
	for _, v := range []string{i.UserId, i.Name, i.Number, i.DeviceId, i.DepartmentId, i.OfficeId, i.ContactCenterId} {
		if len(v) > maxMember {
			return &FieldError{field, fmt.Sprintf("a member is longer than %d bytes", maxMember)}
		}
	}
	return nil
}

func (i *identity) proto() *telemetry.Identity {
	if i == nil {
		return nil
	}
	return &i.Identity
}

// Decode reads one event in the structured mode of CloudEvents 1.0. Its data:
//
//	{"call_id", "sip_call_id", "leg_id", "direction": "inbound"|"outbound"|"internal",
//	 "from", "to", "agent" (or "user", "subject"): number, user id or
//	   {"user_id", "name", "number", "device_id", "department_id", "office_id", "contact_center_id"},
//	 "reason": a rejection reason, "text": the platform's own words, "rating": 1–5,
//	 "side": "target"|"contact"|"system", "endpoint", "description", "recording_enabled"}
//
// call_id may also be the CloudEvents subject.
func Decode(b []byte) (*Item, error) {
	var e envelope
	if err := unmarshal(b, "", &e); err != nil {
		return nil, err
	}
	if e.SpecVersion != "1.0" {
		return nil, &FieldError{"specversion", `must be "1.0"`}
	}
	for _, m := range []struct{ field, value string }{{"id", e.ID}, {"source", e.Source}, {"type", e.Type}} {
		if m.value == "" {
			return nil, &FieldError{m.field, "missing"}
		}
	}
	kind := strings.TrimPrefix(e.Type, TypePrefix)
	if !slices.Contains(Types, kind) {
		return nil, &FieldError{"type", "unknown, must be " + TypePrefix + "… one of " + strings.Join(Types, ", ")}
	}
	item := &Item{Source: e.Source}
	if e.Time != "" {
		t, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil || t.Year() < 1970 || t.Year() > 2200 {
			return nil, &FieldError{"time", "must be an RFC 3339 time"}
		}
		item.AtUs = t.UnixMicro()
	}
	var d data
	if len(e.Data) > 0 {
		if err := unmarshal(e.Data, "data", &d); err != nil {
			return nil, err
		}
	}
	if d.CallID == "" {
		d.CallID = e.Subject
	}
	if d.CallID == "" && d.SIPCallID == "" {
		return nil, &FieldError{"data.call_id", "missing"}
	}
	for _, m := range []struct {
		field, value string
		max          int
	}{
		{"id", e.ID, maxMember}, {"source", e.Source, maxMember}, {"data.call_id", d.CallID, maxMember}, {"data.sip_call_id", d.SIPCallID, maxMember},
		{"data.leg_id", d.LegID, maxMember}, {"data.endpoint", d.Endpoint, maxMember}, {"data.text", d.Text, maxText}, {"data.description", d.Description, maxText},
	} {
		if len(m.value) > m.max {
			return nil, &FieldError{m.field, fmt.Sprintf("longer than %d bytes", m.max)}
		}
	}
	for _, m := range []struct {
		field, value string
		allowed      []string
	}{
		{"data.direction", d.Direction, []string{"inbound", "outbound", "internal"}},
		{"data.side", d.Side, []string{"target", "contact", "system"}},
		{"data.reason", d.Reason, Reasons},
	} {
		// A reason of anything but a rejection (why it ended) is free text.
		if m.field == "data.reason" && kind != "rejected" {
			continue
		}
		if m.value != "" && !slices.Contains(m.allowed, m.value) {
			return nil, &FieldError{m.field, "must be one of " + strings.Join(m.allowed, ", ")}
		}
	}
	if len(d.Reason) > maxMember {
		return nil, &FieldError{"data.reason", fmt.Sprintf("longer than %d bytes", maxMember)}
	}
	switch kind {
	case "rejected":
		if d.Reason == "" {
			if d.Text == "" {
				return nil, &FieldError{"data.reason", "missing"}
			}
			d.Reason = "unknown"
		}
	case "linked":
		if d.CallID == "" || d.SIPCallID == "" {
			return nil, &FieldError{"data.sip_call_id", "a link needs call_id and sip_call_id"}
		}
	case "rated":
		if d.Rating < 1 || d.Rating > 5 {
			return nil, &FieldError{"data.rating", "must be 1 to 5"}
		}
	default:
		if d.Rating < 0 || d.Rating > 5 {
			return nil, &FieldError{"data.rating", "must be 1 to 5"}
		}
	}
	subject, field := d.Subject, "data.subject"
	if subject == nil {
		subject, field = d.Agent, "data.agent"
	}
	if subject == nil {
		subject, field = d.User, "data.user"
	}
	for _, i := range []struct {
		field string
		value *identity
	}{{"data.from", d.From}, {"data.to", d.To}, {field, subject}} {
		if err := i.value.check(i.field); err != nil {
			return nil, err
		}
	}
	item.Event = &telemetry.CallEvent{
		Id: e.ID, Type: kind, CallId: d.CallID, SipCallId: d.SIPCallID, LegId: d.LegID, Direction: d.Direction,
		From: d.From.proto(), To: d.To.proto(), Subject: subject.proto(),
		Reason: d.Reason, Text: d.Text, Rating: uint32(d.Rating), Side: d.Side, Endpoint: d.Endpoint,
		Description: d.Description, RecordingEnabled: d.RecordingEnabled,
	}
	return item, nil
}

// unmarshal names the member that has the wrong type.
func unmarshal(b []byte, path string, into any) error {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return &FieldError{path, "must be a JSON object"}
	}
	err := json.Unmarshal(b, into)
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		field := strings.Trim(path+"."+wrong.Field, ".")
		return &FieldError{field, fmt.Sprintf("must not be a JSON %s", wrong.Value)}
	}
	return &FieldError{path, err.Error()}
}
