package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// Device is what a user registers or calls with.
type Device struct {
	ID       string `json:"id"`
	UserID   string `json:"user_id"`
	UserName string `json:"user_name"`
	AOR      string `json:"aor"`
	Platform string `json:"platform" doc:"What machine it is: the system of an app, the model of a desk phone"`
	AppKind  string `json:"app_kind" doc:"native (desktop app for Mac or Windows), packaged_app (web page packed as an app, Chrome app), web or harness (in the browser), mobile, desk_phone, sip (anything else that registers); empty where it is not known"`
	App      string `json:"app"`
	Version  string `json:"version"`
	// Since when it has that version: the first time that it was seen with it, after any other.
	VersionUpdatedAt Time    `json:"version_updated_at" doc:"When it was first seen with its version, as far back as data is retained"`
	Endpoint         string  `json:"endpoint" doc:"As app_kind"`
	AppVersion       string  `json:"app_version" doc:"As version"`
	UserAgent        string  `json:"user_agent"`
	UpdatedAt        Time    `json:"updated_at" doc:"When it was last heard of"`
	Registered       *bool   `json:"registered" doc:"null: none is expected, or none was ever seen here; registered_reason says which"`
	RegisteredReason string  `json:"registered_reason" doc:"Why registered is null, in words"`
	RegisteredSince  Time    `json:"registered_since" doc:"null unless it is registered"`
	State            string  `json:"state" doc:"registered, unregistered, lapsed, failed; empty where it never registered by SIP"`
	RegisteredAt     Time    `json:"registered_at" doc:"Since when it is registered, or since when it was before it ended"`
	ExpiresAt        Time    `json:"expires_at"`
	Contact          string  `json:"contact"`
	Source           string  `json:"source"`
	Health           *Health `json:"health"`

	timeline string
}

// Reasons why of a device no registration is shown.
const (
	pushReason  = "Apps on iOS, iPadOS and Android are woken by push and keep no registration: none is expected."
	callsReason = "It was seen in calls only: whether it is registered is not known here."
	neverUsed   = "It has credentials and has never registered."
)

// SQL for the kind of app, see AppKind: of what registers, and of what calls.
const (
	// pushPlatforms are those whose apps are woken by push.
	pushPlatforms = `('iOS', 'iPadOS', 'Android')`

	sipKind  = `multiIf(endpoint != '', endpoint, platform IN ` + pushPlatforms + `, 'mobile', 'sip')`
	callKind = `multiIf(endpoint != '', endpoint, platform IN ` + pushPlatforms + `, 'mobile', '')`
)

// AppKind is the kind of app that a registration or call tells of, see Device.
func AppKind(endpoint, platform string, bySIP bool) string {
	switch {
	case endpoint != "":
		return endpoint
	case slices.Contains([]string{"iOS", "iPadOS", "Android"}, platform):
		return "mobile"
	case bySIP:
		return "sip"
	}
	return ""
}

// DeviceFilter narrows a company's list of devices; zero fields do not.
type DeviceFilter struct {
	User, AppKind, Platform string
	Version                 string // alone, or with the app before it
	Registered              *bool  // false leaves out those of which none is expected or known
	Query                   string // part of the address, user, or the beginning of the id
	// Apps, where not nil, are the only ones listed.
	Apps []AppInUse
}

// DeviceKey names a device of a user.
type DeviceKey struct{ User, ID string }

// AppInUse is a version of an app as devices have it.
type AppInUse struct{ Kind, App, Platform, Version string }

func (a AppInUse) key() string {
	return a.Kind + "\n" + a.App + "\n" + a.Platform + "\n" + a.Version
}

// where is the condition over the columns user_id, device_id, app, app_version,
// endpoint, platform and those named.
func (f *DeviceFilter) where(p *params, kind, words string) string {
	conditions := []string{"true"}
	equal := func(name, value, condition string) {
		if value != "" {
			p.text(name, value)
			conditions = append(conditions, condition)
		}
	}
	equal("user", f.User, "user_id = {user:String}")
	equal("kind", f.AppKind, kind+" = {kind:String}")
	equal("platform", f.Platform, "platform = {platform:String}")
	equal("version", f.Version, "(app_version = {version:String} OR concat(app, ' ', app_version) = {version:String})")
	equal("q", strings.TrimSpace(f.Query), "(startsWith(device_id, {q:String}) OR "+words+")")
	if f.Apps != nil {
		keys := make([]string, len(f.Apps))
		for i, a := range f.Apps {
			keys[i] = a.key()
		}
		p.texts("apps", keys)
		conditions = append(conditions, "concat("+kind+`, '\n', app, '\n', platform, '\n', app_version) IN {apps:Array(String)}`)
	}
	return "WHERE " + strings.Join(conditions, " AND ")
}

// Parts of the list of devices, in their order.
const (
	registeringPart = "r"
	callingPart     = "c"
)

// CompanyDevices lists the devices of a company: first those that register, by
// address-of-record, then those that were seen in calls of the last 90 days only,
// by user.
func (c Company) CompanyDevices(ctx context.Context, f DeviceFilter, page Page) (List[Device], error) {
	limit, err := page.limit()
	if err != nil {
		return List[Device]{}, err
	}
	after, err := decodeCursor(page.Cursor, "devices", 3)
	if err != nil {
		return List[Device]{}, err
	}
	at := [3]string{registeringPart}
	if after != nil {
		copy(at[:], after.Keys)
	}
	out := List[Device]{Items: []Device{}}
	if at[0] == registeringPart {
		if out.Items, err = c.registeringDevices(ctx, f, at[1], at[2], limit+1); err != nil {
			return out, err
		}
		at = [3]string{callingPart}
	}
	registering := len(out.Items)
	if len(out.Items) <= limit && f.Registered == nil {
		more, err := c.callingDevices(ctx, f, at[1], at[2], limit+1-len(out.Items))
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, more...)
	}
	if len(out.Items) > limit {
		last := out.Items[limit-1]
		keys := []string{callingPart, last.UserID, last.ID}
		if limit <= registering {
			keys = []string{registeringPart, last.AOR, last.ID}
		}
		out.Items, out.NextCursor = out.Items[:limit], cursor{List: "devices", Keys: keys}.encode()
	}
	return out, c.addVersionTimes(ctx, out.Items)
}

func (c Company) registeringDevices(ctx context.Context, f DeviceFilter, afterAOR, afterID string, limit int) ([]Device, error) {
	p := newParams()
	s := c.bindings(p).get("*")
	p.text("after_aor", afterAOR)
	p.text("after_device", afterID)
	s.and("(aor, device_id) > ({after_aor:String}, {after_device:String})")
	where := f.where(p, sipKind, "positionCaseInsensitiveUTF8(concat(aor, '\\n', user_id, '\\n', user_name), {q:String}) > 0")
	if f.Registered != nil {
		if *f.Registered {
			where += " AND current_state = 'registered'"
		} else {
			where += " AND current_state != 'registered' AND health != 'push'"
		}
	}
	p.integer("limit", int64(limit))
	s.inside("SELECT "+registrationColumns+", "+c.healthState(p)+" AS health", where+" ORDER BY aor, device_id LIMIT {limit:UInt32}")
	var found []Registration
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		r, err := scanRegistration(scan)
		found = append(found, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.addHealth(ctx, found); err != nil {
		return nil, err
	}
	out := make([]Device, len(found))
	for i := range found {
		out[i] = found[i].device()
	}
	return out, nil
}

// device is a registration as a device shows it.
func (r *Registration) device() Device {
	registered := r.Registered
	d := Device{
		ID: r.DeviceID, UserName: r.UserName, AOR: r.AOR, Platform: r.Platform, AppKind: AppKind(r.Endpoint, r.Platform, true), App: r.App, Version: r.AppVersion,
		Endpoint: r.Endpoint, AppVersion: r.AppVersion, UserAgent: r.UserAgent, UpdatedAt: r.UpdatedAt, Registered: &registered, State: r.State,
		RegisteredAt: r.RegisteredAt, ExpiresAt: r.ExpiresAt, Contact: r.Contact, Source: r.Source, Health: r.Health, timeline: r.timeline,
	}
	if r.UserID != nil {
		d.UserID = *r.UserID
	}
	switch {
	case r.Registered:
		d.RegisteredSince = r.RegisteredAt
	case r.health == byPush:
		d.Registered, d.RegisteredReason = nil, pushReason
	}
	return d
}

// callingDevices are the browsers and apps that never register by SIP.
func (c Company) callingDevices(ctx context.Context, f DeviceFilter, afterUser, afterID string, limit int) ([]Device, error) {
	p := newParams()
	p.text("after_user", afterUser)
	p.text("after_device", afterID)
	p.integer("since", c.store.now().Add(-callDays*24*time.Hour).UnixMilli())
	registering := c.from("registrations", p).get("device_id").and("device_id != ''")
	s := c.from("calls", p).get(callDeviceColumns).
		and("target_user_id != ''", "target_device_id != ''", "received_at > fromUnixTimestamp64Milli({since:Int64}, 'UTC')",
			"(target_user_id, target_device_id) > ({after_user:String}, {after_device:String})", "target_device_id NOT IN ("+registering.String()+")").
		with("GROUP BY target_user_id, target_device_id")
	where := f.where(p, callKind, "positionCaseInsensitiveUTF8(concat(user_id, '\\n', user_name), {q:String}) > 0")
	p.integer("limit", int64(limit))
	s.inside("SELECT user_id, device_id, user_name, platform, endpoint, app_version, last", where+" ORDER BY user_id, device_id LIMIT {limit:UInt32}")
	var out []Device
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		d, err := scanCallDevice(scan)
		out = append(out, d)
		return err
	})
	return out, err
}

// Of what a call does not say the one before it may: a call that is set up tells
// of no version yet. calls may hold a call twice, its newest version has the
// highest seq.
var callDeviceColumns = `target_user_id AS user_id, target_device_id AS device_id, ` + lastSaid("target_name", "user_name") + lastSaid("target_platform", "platform") +
	lastSaid("target_endpoint", "endpoint") + lastSaid("target_app_version", "app_version") + `'' AS app, toUnixTimestamp64Micro(max(started_at)) AS last`

func lastSaid(column, as string) string {
	return "argMaxIf(" + column + ", (started_at, seq), " + column + " != '') AS " + as + ", "
}

func scanCallDevice(scan func(...any) error) (Device, error) {
	var d Device
	var last int64
	err := scan(&d.UserID, &d.ID, &d.UserName, &d.Platform, &d.Endpoint, &d.Version, &last)
	d.UpdatedAt = micros(last)
	d.called()
	return d, err
}

// called completes a device that is known from calls only.
func (d *Device) called() {
	d.AppKind, d.AppVersion = AppKind(d.Endpoint, d.Platform, false), d.Version
	r := &Registration{health: neverSeen}
	d.RegisteredReason = callsReason
	if d.AppKind == "mobile" || AppKind("", d.Platform, false) == "mobile" {
		r.health, d.RegisteredReason = byPush, pushReason
	}
	d.Health = (&facts{}).health(r, time.Time{})
}

// UnusedDevice is a device that credentials were made for and that has never
// been seen.
func UnusedDevice(id, user, name, aor string) Device {
	registered := false
	return Device{ID: id, UserID: user, UserName: name, AOR: aor, AppKind: "sip", Registered: &registered, RegisteredReason: neverUsed,
		Health: (&facts{}).health(&Registration{health: neverSeen}, time.Time{})}
}

// Devices lists what a user registered or called with, the last used first.
func (c Company) Devices(ctx context.Context, user string) ([]Device, error) {
	out := []Device{}
	registrations, err := c.Registrations(ctx, RegistrationFilter{User: user}, Page{Limit: MaxLimit})
	if err != nil {
		return nil, err
	}
	known := map[string]int{}
	for i := range registrations.Items {
		known[registrations.Items[i].DeviceID] = i
		out = append(out, registrations.Items[i].device())
	}
	calling, err := c.devicesInCalls(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, d := range calling {
		if i, ok := known[d.ID]; ok {
			r := &out[i]
			// Its statistics may say what its User-Agent does not.
			if r.Platform == "" {
				r.Platform = d.Platform
			}
			if r.Endpoint == "" {
				r.Endpoint, r.AppKind = d.Endpoint, AppKind(d.Endpoint, r.Platform, true)
			}
			continue
		}
		out = append(out, d)
	}
	if err := c.addVersionTimes(ctx, out); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Device) int { return b.UpdatedAt.Compare(a.UpdatedAt.Time) })
	return out, nil
}

// devicesInCalls are those that a user called with, as target or, in a call
// between users, as contact.
func (c Company) devicesInCalls(ctx context.Context, user string) ([]Device, error) {
	var out []Device
	p := newParams()
	p.text("user", user)
	s := c.from("calls", p).get(callDeviceColumns).and("target_user_id = {user:String}", "target_device_id != ''").
		with("GROUP BY target_user_id, target_device_id").inside("SELECT user_id, device_id, user_name, platform, endpoint, app_version, last", "")
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		d, err := scanCallDevice(scan)
		out = append(out, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	p = newParams()
	p.text("user", user)
	s = c.from("calls", p).get("contact_device_id, argMax(body, (started_at, seq)), toUnixTimestamp64Micro(max(started_at))").
		and("contact_user_id = {user:String}", "contact_device_id != ''").with("GROUP BY contact_device_id")
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		d := Device{UserID: user}
		var body string
		var last int64
		if err := scan(&d.ID, &body, &last); err != nil {
			return err
		}
		if slices.ContainsFunc(out, func(o Device) bool { return o.ID == d.ID && o.UpdatedAt.Micros() >= last }) {
			return nil
		}
		var call telemetry.Call
		if err := proto.Unmarshal([]byte(body), &call); err != nil {
			return fmt.Errorf("cannot read a stored call: %w", err)
		}
		contact := call.GetContact()
		d.UserName, d.Platform, d.Endpoint, d.Version = contact.GetIdentity().GetName(), contact.GetPlatform(), contact.GetEndpoint(), contact.GetAppVersion()
		d.UpdatedAt = micros(last)
		d.called()
		out = slices.DeleteFunc(out, func(o Device) bool { return o.ID == d.ID })
		out = append(out, d)
		return nil
	})
	return out, err
}

// AppsInUse lists the versions that a company's devices have, for those who know
// which are outdated.
func (c Company) AppsInUse(ctx context.Context) ([]AppInUse, error) {
	var out []AppInUse
	p := newParams()
	bindings := c.bindings(p).get("*").inside("SELECT DISTINCT "+sipKind+" AS kind, app, platform, app_version", "WHERE app_version != ''")
	q := newParams()
	q.integer("since", c.store.now().Add(-callDays*24*time.Hour).UnixMilli())
	calls := c.from("calls", q).get("DISTINCT "+inCalls(callKind)+" AS kind, '', target_platform, target_app_version").
		and("target_device_id != ''", "target_app_version != ''", "received_at > fromUnixTimestamp64Milli({since:Int64}, 'UTC')")
	for _, s := range []*statement{bindings, calls} {
		err := c.rows(ctx, s, func(scan func(...any) error) error {
			var a AppInUse
			err := scan(&a.Kind, &a.App, &a.Platform, &a.Version)
			out = append(out, a)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func inCalls(kind string) string {
	return strings.NewReplacer("endpoint", "target_endpoint", "platform", "target_platform").Replace(kind)
}

// DevicesSeen tells when devices were last accepted by a registrar or seen in a
// call; those that never were are not in it.
func (c Company) DevicesSeen(ctx context.Context, devices []string) (map[string]Time, error) {
	out := map[string]Time{}
	if len(devices) == 0 {
		return out, nil
	}
	p := newParams()
	p.texts("devices", devices)
	aors := c.from("registrations", p).get("aor").and("device_id IN {devices:Array(String)}")
	registered := c.from("registration_changes", p).get("device_id, toUnixTimestamp64Micro(max(at))").
		and("aor IN ("+aors.String()+")", "device_id IN {devices:Array(String)}", "change IN ('registered', 'refreshed')").with("GROUP BY device_id")
	called := c.from("calls", p).get("arrayJoin(arrayIntersect([target_device_id, contact_device_id], {devices:Array(String)})) AS device, toUnixTimestamp64Micro(max(started_at))").
		and("target_device_id IN {devices:Array(String)} OR contact_device_id IN {devices:Array(String)}").with("GROUP BY device")
	for _, s := range []*statement{registered, called} {
		err := c.rows(ctx, s, func(scan func(...any) error) error {
			var id string
			var us int64
			if err := scan(&id, &us); err != nil {
				return err
			}
			if us > out[id].Micros() {
				out[id] = micros(us)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// versionRun is how long a device was seen with a version.
type versionRun struct {
	device          [3]string // address-of-record or user, id, timeline
	version         string
	firstUs, lastUs int64
}

func (d *Device) runKey() [3]string {
	if d.AOR == "" {
		return [3]string{d.UserID, d.ID, ""}
	}
	return [3]string{d.AOR, d.ID, d.timeline}
}

// addVersionTimes says since when devices have their version. One that has had
// it, then another, and has it again, has it since it came back to it.
func (c Company) addVersionTimes(ctx context.Context, devices []Device) error {
	var registering, calling []*Device
	for i := range devices {
		switch d := &devices[i]; {
		case d.Version == "":
		case d.AOR != "":
			registering = append(registering, d)
		default:
			calling = append(calling, d)
		}
	}
	for _, part := range []struct {
		devices []*Device
		from    func(p *params) *statement
		columns string // of versionRun, without times
		at      string
	}{
		{registering, func(p *params) *statement {
			return c.from("registration_changes", p).and("aor IN {owners:Array(String)}", "device_id IN {devices:Array(String)}", "app_version != ''")
		}, "aor, device_id, timeline, app_version", "at"},
		{calling, func(p *params) *statement {
			return c.from("calls", p).and("target_user_id IN {owners:Array(String)}", "target_device_id IN {devices:Array(String)}", "target_app_version != ''")
		}, "target_user_id, target_device_id, '', target_app_version", "started_at"},
	} {
		if len(part.devices) == 0 {
			continue
		}
		var owners, ids []string
		for _, d := range part.devices {
			key := d.runKey()
			owners, ids = append(owners, key[0]), append(ids, key[1])
		}
		p := newParams()
		p.texts("owners", owners)
		p.texts("devices", ids)
		s := part.from(p).get(fmt.Sprintf("%[1]s, toUnixTimestamp64Micro(min(%[2]s)), toUnixTimestamp64Micro(max(%[2]s))", part.columns, part.at)).with("GROUP BY " + strings.ReplaceAll(part.columns, " '',", ""))
		runs := map[[3]string][]versionRun{}
		err := c.rows(ctx, s, func(scan func(...any) error) error {
			var r versionRun
			err := scan(&r.device[0], &r.device[1], &r.device[2], &r.version, &r.firstUs, &r.lastUs)
			runs[r.device] = append(runs[r.device], r)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range part.devices {
			first, afterUs := versionSince(runs[d.runKey()], d.Version)
			if afterUs != 0 {
				if first, err = c.cameBack(ctx, part.from, part.at, d, afterUs); err != nil {
					return err
				}
			}
			d.VersionUpdatedAt = micros(first)
		}
	}
	return nil
}

// versionSince is when a version was first seen; where another was seen after
// that, afterUs is when.
func versionSince(runs []versionRun, version string) (firstUs, afterUs int64) {
	var otherUs int64
	for _, r := range runs {
		if r.version == version {
			firstUs = r.firstUs
		} else {
			otherUs = max(otherUs, r.lastUs)
		}
	}
	if firstUs != 0 && otherUs >= firstUs {
		return firstUs, otherUs
	}
	return firstUs, 0
}

// cameBack is when a device was first seen with its version after another was
// last seen; when that was where it was not.
func (c Company) cameBack(ctx context.Context, from func(*params) *statement, at string, d *Device, afterUs int64) (int64, error) {
	p := newParams()
	key := d.runKey()
	p.texts("owners", key[:1])
	p.texts("devices", key[1:2])
	p.text("version", d.Version)
	p.text("timeline", d.timeline)
	p.integer("after", afterUs)
	s := from(p).get("toUnixTimestamp64Micro(min(" + at + "))").and(at + " > fromUnixTimestamp64Micro({after:Int64}, 'UTC')")
	if d.AOR != "" {
		s.and("app_version = {version:String}", "timeline = {timeline:String}")
	} else {
		s.and("target_app_version = {version:String}")
	}
	var us int64
	if err := c.one(ctx, s, &us); err != nil {
		return 0, err
	}
	return max(us, afterUs), nil
}
