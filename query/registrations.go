package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// lapseGraceUs is how long after its expiry a binding still counts as
// registered: 32 s, 64 times T1 (RFC 3261), which a refresh in flight may take.
const lapseGraceUs = 32_000_000

// The state of a binding against now.
const registrationState = `multiIf(
registered AND (expires_at IS NULL OR toUnixTimestamp64Micro(assumeNotNull(expires_at)) + {grace:Int64} > {now:Int64}), 'registered',
registered OR expires_at IS NOT NULL OR change = 'lapsed', 'lapsed',
change IN ('auth_failed', 'rejected', 'interval_too_brief'), 'failed',
'unregistered')`

const registrationColumns = `aor, device_id, user_id, user_name, contact, source, user_agent, app, app_version, endpoint, platform,
` + registrationState + ` AS current_state,
ifNull(toUnixTimestamp64Micro(registered_at), 0), ifNull(toUnixTimestamp64Micro(expires_at), 0), toUnixTimestamp64Micro(at), flapping,
registered, timeline, ifNull(toUnixTimestamp64Micro(failing_since), 0)`

// bindings is the newest knowledge of each binding. A capture that was
// imported tells about its own time and counts only where it is the newest.
func (c Company) bindings(p *params) *statement {
	p.integer("grace", lapseGraceUs)
	p.integer("now", c.store.now().UnixMicro())
	return c.from("registrations", p).newest().with("ORDER BY aor, device_id, at DESC, timeline LIMIT 1 BY aor, device_id")
}

// Registrations lists current bindings, by address-of-record and device.
func (c Company) Registrations(ctx context.Context, f RegistrationFilter, page Page) (List[Registration], error) {
	limit, err := page.limit()
	if err != nil {
		return List[Registration]{}, err
	}
	after, err := decodeCursor(page.Cursor, "registrations", 2)
	if err != nil {
		return List[Registration]{}, err
	}
	p := newParams()
	s := c.bindings(p).get("*")
	if f.AOR != "" {
		p.text("aor", f.AOR)
		s.and("aor = {aor:String}")
	}
	if f.DeviceID != "" {
		p.text("device", f.DeviceID)
		s.and("device_id = {device:String}")
	}
	if after != nil {
		p.text("after_aor", after.Keys[0])
		p.text("after_device", after.Keys[1])
		s.and("(aor, device_id) > ({after_aor:String}, {after_device:String})")
	}
	// User and state are of the newest row, so they are asked of the outside.
	where := "WHERE true"
	if f.User != "" {
		p.text("user", f.User)
		where += " AND user_id = {user:String}"
	}
	switch f.State {
	case "":
	case "registered", "unregistered", "lapsed", "failed":
		p.text("state", f.State)
		where += " AND current_state = {state:String}"
	default:
		return List[Registration]{}, fmt.Errorf("%w: state %q is none of registered, unregistered, lapsed, failed", ErrFilter, f.State)
	}
	if f.Health != "" {
		if !slices.Contains(healthStates, f.Health) {
			return List[Registration]{}, fmt.Errorf("%w: health %q is none of %s", ErrFilter, f.Health, strings.Join(healthStates, ", "))
		}
		p.text("health", f.Health)
		where += " AND health = {health:String}"
	}
	p.integer("limit", int64(limit+1))
	s.inside("SELECT "+registrationColumns+", "+c.healthState(p)+" AS health", where+" ORDER BY aor, device_id LIMIT {limit:UInt32}")
	out := List[Registration]{Items: []Registration{}}
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := scanRegistration(scan)
		if err != nil {
			return err
		}
		if len(out.Items) == limit {
			last := out.Items[limit-1]
			out.NextCursor = cursor{List: "registrations", Keys: []string{last.AOR, last.DeviceID}}.encode()
			return nil
		}
		out.Items = append(out.Items, r)
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, c.addHealth(ctx, out.Items)
}

func scanRegistration(scan func(...any) error) (Registration, error) {
	var (
		r                             Registration
		user                          string
		registeredUs, expiresUs, atUs int64
		failingUs                     int64
	)
	err := scan(&r.AOR, &r.DeviceID, &user, &r.UserName, &r.Contact, &r.Source, &r.UserAgent, &r.App, &r.AppVersion, &r.Endpoint, &r.Platform,
		&r.State, &registeredUs, &expiresUs, &atUs, &r.Flapping, &r.bound, &r.timeline, &failingUs, &r.health)
	r.failingSince = micros(failingUs)
	r.UserID = orNil(user)
	r.Registered = r.State == "registered"
	r.RegisteredAt, r.ExpiresAt, r.UpdatedAt = micros(registeredUs), micros(expiresUs), micros(atUs)
	return r, err
}

// RegistrationHistory lists changes of bindings, the newest first.
func (c Company) RegistrationHistory(ctx context.Context, f RegistrationFilter, page Page) (List[RegistrationChange], error) {
	limit, err := page.limit()
	if err != nil {
		return List[RegistrationChange]{}, err
	}
	after, err := decodeCursor(page.Cursor, "history", 2)
	if err != nil {
		return List[RegistrationChange]{}, err
	}
	p := newParams()
	s := c.from("registration_changes", p).newest().get(`toUnixTimestamp64Micro(at), seq, aor, device_id, user_id, change, contact, source, user_agent,
sip_status, ifNull(toUnixTimestamp64Micro(expires_at), 0), registered, flapping, reason, text, timeline`)
	for _, w := range []struct{ name, value, where string }{
		{"user", f.User, "user_id = {user:String}"},
		{"aor", f.AOR, "aor = {aor:String}"},
		{"device", f.DeviceID, "device_id = {device:String}"},
	} {
		if w.value != "" {
			p.text(w.name, w.value)
			s.and(w.where)
		}
	}
	timeRange(s, "at", f.From, f.To)
	if f.events {
		s.and("change NOT IN ('refreshed', 'challenged')")
	}
	if f.timeline != nil {
		p.text("timeline", *f.timeline)
		s.and("timeline = {timeline:String}")
	}
	if after != nil {
		p.integer("after_at", after.At)
		p.integer("after_seq", after.Seq)
		p.text("after_aor", after.Keys[0])
		p.text("after_device", after.Keys[1])
		s.and("(at, seq, aor, device_id) < (fromUnixTimestamp64Micro({after_at:Int64}, 'UTC'), {after_seq:Int64}, {after_aor:String}, {after_device:String})")
	}
	s.with("ORDER BY at DESC, seq DESC, aor DESC, device_id DESC LIMIT {limit:UInt32}")
	return onePage(ctx, c, s, limit, "history", scanChange)
}

func scanChange(scan func(...any) error) (RegistrationChange, cursor, error) {
	var (
		r                  RegistrationChange
		at, seq, expiresUs int64
		user               string
		status             uint16
	)
	err := scan(&at, &seq, &r.AOR, &r.DeviceID, &user, &r.Change, &r.Contact, &r.Source, &r.UserAgent,
		&status, &expiresUs, &r.Registered, &r.Flapping, &r.Reason, &r.Text, &r.Timeline)
	r.At, r.ExpiresAt, r.UserID, r.SIPStatus = micros(at), micros(expiresUs), orNil(user), orNil(uint32(status))
	return r, cursor{At: at, Seq: seq, Keys: []string{r.AOR, r.DeviceID}}, err
}
