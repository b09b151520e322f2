package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/telemetry"
)

// event is something that subscribers may want to be told of.
type event struct {
	id      string
	company string
	kind    string // as subscriptions name it
	call    string
	subject directory.Subject
	at      time.Time
	// known is when Earshot learnt of it: those who subscribed later are not told.
	known time.Time
	body  string // JSON, with the envelope of Standard Webhooks
}

// envelope is the body of every request, as Standard Webhooks has it.
type envelope struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

func wrap(kind string, at time.Time, data any) (string, error) {
	b, err := json.Marshal(envelope{kind, stamp(at), data})
	if err != nil {
		return "", fmt.Errorf("cannot write an event as JSON: %w", err)
	}
	return string(b), nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Standard Webhooks asks for bodies below 20 kB. What a platform or a rater
// wrote is all that could be longer.
const (
	maxText = 8 << 10 // bytes
	maxName = 512
)

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// clipMoment makes a moment's texts no longer than what is sent of them.
func clipMoment(m *telemetry.CallMoment) {
	m.Text, m.Reason = clip(m.Text, maxText), clip(m.Reason, maxName)
	for _, i := range []*telemetry.Identity{m.Target, m.Contact, m.Agent} {
		if i != nil {
			i.UserId, i.Name, i.Number, i.DeviceId = clip(i.UserId, maxName), clip(i.Name, maxName), clip(i.Number, maxName), clip(i.DeviceId, maxName)
			i.OfficeId, i.DepartmentId, i.ContactCenterId = clip(i.OfficeId, maxName), clip(i.DepartmentId, maxName), clip(i.ContactCenterId, maxName)
		}
	}
}

// subjectOf is everybody that a moment is about.
func subjectOf(parties ...*telemetry.Identity) directory.Subject {
	var s directory.Subject
	add := func(to *[]string, id string) {
		if id != "" {
			*to = append(*to, id)
		}
	}
	for _, i := range parties {
		add(&s.Users, i.GetUserId())
		add(&s.Offices, i.GetOfficeId())
		add(&s.Departments, i.GetDepartmentId())
		add(&s.ContactCenters, i.GetContactCenterId())
	}
	return s
}

// momentField is the number of Outcome.moment.
var momentField = (*telemetry.Outcome)(nil).ProtoReflect().Descriptor().Fields().ByName("moment").Number()

// holdsMoment tells whether an outcome is a moment of a call, by its fields'
// numbers alone: nearly all outcomes are samples, which are not decoded here.
func holdsMoment(value []byte) bool {
	for len(value) > 0 {
		number, kind, n := protowire.ConsumeTag(value)
		if n < 0 {
			return false
		}
		if number == protowire.Number(momentField) {
			return true
		}
		skip := protowire.ConsumeFieldValue(number, kind, value[n:])
		if skip < 0 {
			return false
		}
		value = value[n+skip:]
	}
	return false
}

// readEvent decodes an outcome; nil where it is of no interest to subscribers.
func (s *Sink) readEvent(value []byte) (*event, error) {
	if !holdsMoment(value) {
		return nil, nil
	}
	var o telemetry.Outcome
	if err := proto.Unmarshal(value, &o); err != nil {
		return nil, fmt.Errorf("cannot read an outcome: %w", err)
	}
	m := o.GetMoment()
	if m == nil || (o.Timeline != "" && !s.Imported) {
		return nil, nil
	}
	if m.Id == "" || strings.ContainsAny(m.Id, ". \n") || strings.Contains(m.Id+o.CallId+m.Type, "\x00") {
		return nil, errors.New("a moment of a call has no usable id")
	}
	e := &event{
		id: m.Id, company: o.Company, kind: m.Type, call: o.CallId, at: telemetry.Time(m.AtUs), known: telemetry.Time(o.ReceivedUs),
		subject: subjectOf(m.Target, m.Contact, m.Agent),
	}
	clipMoment(m)
	var err error
	e.body, err = wrap("call."+m.Type, e.at, s.deps.Show(o.Company, o.CallId, m))
	return e, err
}

// deletionEvent tells an app's server that the app has to register anew.
func deletionEvent(d directory.JournaledDeletion, subject directory.Subject) (*event, error) {
	data := map[string]string{"id": d.EventID, "company": d.Company, "user_id": d.User, "device": d.Device, "at": stamp(d.At)}
	for _, f := range d.Fields {
		if _, taken := data[f.Field]; !taken && f.Old != "" {
			data[f.Field] = clip(f.Old, maxName)
		}
	}
	e := &event{id: d.EventID, company: d.Company, kind: directory.EventDeviceReregister, subject: subject, at: d.At, known: d.At}
	var err error
	e.body, err = wrap("device.reregister", d.At, data)
	return e, err
}
