package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Health says how a device fares, beyond whether it is registered now.
type Health struct {
	// healthy, flapping, lapsed, failing_authentication, unregistered,
	// never_registered; push: an app on iOS or Android, of which no registration
	// is expected.
	State string `json:"state"`
	Since Time   `json:"since"` // of the state; null where it is not known
	// What an engineer would tell, in that order.
	Sentences          []Sentence   `json:"sentences"`
	Lapses24h          uint64       `json:"lapses_24h"`
	AuthFailures24h    uint64       `json:"auth_failures_24h"`
	SourceChanges24h   uint64       `json:"source_changes_24h"`
	RegisteredShare24h float64      `json:"registered_share_24h"` // of the last 24 h, or since it was first seen, 0–1
	Versions           []AppVersion `json:"versions"`             // of the last 7 days, the last used first
}

// Sentence is an observation, told as the evidence of a verdict is.
type Sentence struct {
	Kind   string             `json:"kind"`
	At     Time               `json:"at"`
	Text   string             `json:"text"`
	Values map[string]float64 `json:"values"`
}

// AppVersion is a version that a device was seen with.
type AppVersion struct {
	App       string `json:"app"`
	Version   string `json:"app_version"`
	UserAgent string `json:"user_agent"`
	FirstSeen Time   `json:"first_seen"` // within the time that was asked for
	LastSeen  Time   `json:"last_seen"`
}

// RegistrationHealth sums up the devices of a company.
type RegistrationHealth struct {
	Devices  uint64            `json:"devices"`
	States   map[string]uint64 `json:"states"` // devices by state of health, each state there is
	Versions []VersionInUse    `json:"versions"`
}

// VersionInUse is a version of an app by the devices whose last word it was.
type VersionInUse struct {
	App        string `json:"app"`
	Version    string `json:"app_version"`
	Devices    uint64 `json:"devices"`
	Registered uint64 `json:"registered"` // of them, now
	LastSeen   Time   `json:"last_seen"`
}

const (
	healthWindow   = 24 * time.Hour
	versionsWindow = 7 * 24 * time.Hour
	// flapFor is how long after its last change a device that flapped counts as flapping.
	flapFor = 10 * time.Minute
	// maxVersions is how many versions a company's sum names.
	maxVersions = 200
)

// States of health.
const (
	healthy       = "healthy"
	flapping      = "flapping"
	lapsed        = "lapsed"
	failing       = "failing_authentication"
	unregistered  = "unregistered"
	neverSeen     = "never_registered"
	byPush        = "push"
	pushEndpoints = `endpoint = 'mobile' OR platform IN ` + pushPlatforms
)

var healthStates = []string{healthy, flapping, failing, lapsed, unregistered, neverSeen, byPush}

// endings are the changes that end a binding.
const endings = `('lapsed', 'unregistered', 'replaced')`

// healthState is the expression for Health.State over the rows of bindings, to
// stand beside registrationState as current_state. A device whose newest row is
// of an attempt that failed may have been registered before: that is asked of
// the history.
func (c Company) healthState(p *params) string {
	p.integer("flap_since", c.store.now().Add(-flapFor).UnixMicro())
	unclear := c.from("registrations", p).get("aor").and("NOT registered", "expires_at IS NULL", "registered_at IS NULL", "change NOT IN "+endings)
	last := c.from("registration_changes", p).get("device_id, argMax(change, (at, seq)) AS ending").
		and("change IN "+endings, "reason != 'not_bound'", "aor IN ("+unclear.String()+")").with("GROUP BY device_id").String()
	return `multiIf(
flapping AND toUnixTimestamp64Micro(at) > {flap_since:Int64}, 'flapping',
failing_since IS NOT NULL, 'failing_authentication',
current_state = 'registered', 'healthy',
` + pushEndpoints + `, 'push',
current_state = 'lapsed', 'lapsed',
registered_at IS NOT NULL OR change IN ` + endings + ` AND reason != 'not_bound', 'unregistered',
device_id IN (SELECT device_id FROM (` + last + `) WHERE ending = 'lapsed'), 'lapsed',
device_id IN (SELECT device_id FROM (` + last + `)), 'unregistered',
'never_registered')`
}

// bindingKey is a binding on a timeline.
type bindingKey struct{ aor, device, timeline string }

// span is a time during which a binding held, Unix µs.
type span struct{ fromUs, toUs int64 }

// facts are what the history of a binding says about the last hours.
type facts struct {
	lapses, authFailures, rejections, sourceChanges uint64
	ended                                           []span // bindings that were lost
	ending, auth, rejection, source, flap           told   // the last of each
	authSinceUs                                     int64
	versions                                        []AppVersion
}

// told is a change as the processor put it.
type told struct {
	atUs int64
	text string
}

func (f *facts) scan(scan func(...any) error) (k bindingKey, err error) {
	var from, to []int64
	err = scan(&k.aor, &k.device, &k.timeline, &f.lapses, &f.authFailures, &f.rejections, &f.sourceChanges, &from, &to,
		&f.ending.atUs, &f.ending.text, &f.auth.atUs, &f.auth.text, &f.authSinceUs, &f.rejection.atUs, &f.rejection.text,
		&f.source.atUs, &f.source.text, &f.flap.atUs, &f.flap.text)
	if err != nil {
		return k, err
	}
	for i := range from {
		f.ended = append(f.ended, span{from[i], to[i]})
	}
	return k, nil
}

// factColumns sum up changes by binding; of one that flaps all day no more than 2000
// losses are read.
var factColumns = `aor, device_id, timeline,
countIf(change = 'lapsed'), countIf(change = 'auth_failed'), countIf(change IN ('rejected', 'interval_too_brief')), countIf(change = 'source_changed'),
groupArrayIf(2000)(toUnixTimestamp64Micro(assumeNotNull(registered_at)), change IN ` + endings + ` AND registered_at IS NOT NULL),
groupArrayIf(2000)(toUnixTimestamp64Micro(ifNull(expires_at, at)), change IN ` + endings + ` AND registered_at IS NOT NULL),
` + lastOf("change IN "+endings+" AND reason != 'not_bound'") + lastOf("change = 'auth_failed'") +
	`toUnixTimestamp64Micro(ifNull(argMaxIf(failing_since, at, change = 'auth_failed'), toDateTime64(0, 6, 'UTC'))),
` + lastOf("change IN ('rejected', 'interval_too_brief')") + lastOf("change = 'source_changed'") + strings.TrimSuffix(lastOf("change = 'flapping'"), ",\n")

func lastOf(condition string) string {
	return "toUnixTimestamp64Micro(maxIf(at, " + condition + ")), argMaxIf(text, (at, seq), " + condition + "),\n"
}

// facts reads the history of the bindings of some addresses-of-record.
func (c Company) facts(ctx context.Context, aors []string, now time.Time) (map[bindingKey]*facts, error) {
	out := map[bindingKey]*facts{}
	p := newParams()
	p.texts("aors", aors)
	p.integer("since", now.Add(-healthWindow).UnixMicro())
	p.integer("now", now.UnixMicro())
	const within = "at > fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND at <= fromUnixTimestamp64Micro({now:Int64}, 'UTC')"
	s := c.from("registration_changes", p).newest().get(factColumns).
		and("aor IN {aors:Array(String)}", within, "change NOT IN ('refreshed', 'challenged', 'registered')").with("GROUP BY aor, device_id, timeline")
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		f := &facts{}
		k, err := f.scan(scan)
		if err == nil {
			out[k] = f
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.integer("since", now.Add(-versionsWindow).UnixMicro())
	s = c.from("registration_changes", p).get(versionColumns).
		and("aor IN {aors:Array(String)}", within, "user_agent != ''").with("GROUP BY aor, device_id, timeline, app, app_version ORDER BY max(at) DESC, app, app_version")
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		k, v, err := scanVersion(scan)
		if err != nil {
			return err
		}
		if out[k] == nil {
			out[k] = &facts{}
		}
		out[k].versions = append(out[k].versions, v)
		return nil
	})
	return out, err
}

const versionColumns = "aor, device_id, timeline, app, app_version, argMax(user_agent, at), toUnixTimestamp64Micro(min(at)), toUnixTimestamp64Micro(max(at))"

func scanVersion(scan func(...any) error) (k bindingKey, v AppVersion, err error) {
	var first, last int64
	err = scan(&k.aor, &k.device, &k.timeline, &v.App, &v.Version, &v.UserAgent, &first, &last)
	v.FirstSeen, v.LastSeen = micros(first), micros(last)
	return k, v, err
}

// addHealth completes a page of registrations.
func (c Company) addHealth(ctx context.Context, items []Registration) error {
	if len(items) == 0 {
		return nil
	}
	var aors []string
	for _, r := range items {
		aors = append(aors, r.AOR)
	}
	slices.Sort(aors)
	now := c.store.now()
	known, err := c.facts(ctx, slices.Compact(aors), now)
	if err != nil {
		return err
	}
	for i := range items {
		r := &items[i]
		f := known[bindingKey{r.AOR, r.DeviceID, r.timeline}]
		if f == nil {
			f = &facts{}
		}
		r.Health = f.health(r, now)
	}
	return nil
}

// holding is the span of the binding that a registration still has, cut at its
// expiry; nil where it has none.
func (r *Registration) holding() []span {
	if !r.bound || r.RegisteredAt.IsZero() {
		return nil
	}
	to := r.ExpiresAt.Micros()
	if r.Registered || to == 0 {
		// A refresh may still come within the grace time.
		to = 1<<63 - 1
	}
	return []span{{r.RegisteredAt.Micros(), to}}
}

// boundUs is how long any of the spans held within from and to.
func boundUs(spans []span, fromUs, toUs int64) (sum int64) {
	for _, s := range joined(spans, fromUs, toUs) {
		sum += s.toUs - s.fromUs
	}
	return sum
}

// joined cuts spans to from and to, and makes one of those that touch.
func joined(spans []span, fromUs, toUs int64) []span {
	var out []span
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int { return cmp.Compare(a.fromUs, b.fromUs) })
	for _, s := range sorted {
		s.fromUs, s.toUs = max(s.fromUs, fromUs), min(s.toUs, toUs)
		if s.fromUs >= s.toUs {
			continue
		}
		if n := len(out); n > 0 && s.fromUs <= out[n-1].toUs {
			out[n-1].toUs = max(out[n-1].toUs, s.toUs)
			continue
		}
		out = append(out, s)
	}
	return out
}

// health is what the newest row and the history of a binding come to.
func (f *facts) health(r *Registration, now time.Time) *Health {
	h := &Health{
		State: r.health, Lapses24h: f.lapses, AuthFailures24h: f.authFailures, SourceChanges24h: f.sourceChanges,
		Versions: f.versions, Sentences: []Sentence{},
	}
	if h.Versions == nil {
		h.Versions = []AppVersion{}
	}
	known, ofThem := f.known(now)
	bound := time.Duration(boundUs(append(f.ended, r.holding()...), now.Add(-known).UnixMicro(), now.UnixMicro())) * time.Microsecond
	if known > 0 {
		h.RegisteredShare24h = bound.Seconds() / known.Seconds()
	}
	f.sayState(h, r, now)
	f.sayCounts(h, known-bound, ofThem)
	return h
}

func (h *Health) say(kind string, at Time, text string, values map[string]float64) {
	h.Sentences = append(h.Sentences, Sentence{Kind: kind, At: at, Text: text, Values: orEmpty(values)})
}

// sayLast tells a change as the processor put it, in other words where it is not there.
func (h *Health) sayLast(kind string, t told, otherwise string) {
	if t.text == "" {
		t.text = otherwise
	}
	h.say(kind, micros(t.atUs), t.text, nil)
}

// sayState tells the state, and since when it is so.
func (f *facts) sayState(h *Health, r *Registration, now time.Time) {
	switch h.State {
	case healthy:
		h.Since = r.RegisteredAt
		h.say(healthy, r.RegisteredAt, r.held(now), r.heldValues(now))
	case flapping:
		h.Since = micros(f.flap.atUs)
		h.sayLast(flapping, f.flap, "It has been registered and lost, or has changed its source, three times or more within 10 min.")
		if r.Registered {
			h.say(healthy, r.RegisteredAt, r.held(now), r.heldValues(now))
		} else {
			h.sayLast(unregistered, f.ending, "It is not registered now.")
		}
	case failing:
		h.Since = r.failingSince
		h.sayLast(failing, f.auth, "The registrar refused the credentials when it last tried, at "+moment(r.UpdatedAt)+".")
		if r.Registered {
			h.say(healthy, r.RegisteredAt, r.held(now), r.heldValues(now))
		}
	case lapsed:
		h.Since = r.ExpiresAt
		text := "Its registration has expired, and no newer one was seen."
		if !r.ExpiresAt.IsZero() {
			text = "It expired at " + moment(r.ExpiresAt) + ", and no newer registration was seen."
		}
		h.sayLast(lapsed, f.ending, text)
	case unregistered:
		h.Since = r.UpdatedAt
		if f.ending.atUs != 0 {
			h.Since = micros(f.ending.atUs)
		}
		h.sayLast(unregistered, f.ending, "It unregistered or was unregistered.")
	case byPush:
		h.say(byPush, Time{}, "Apps on iOS and Android are woken by push: that this one is not registered is not a fault.", nil)
	case neverSeen:
		h.say(neverSeen, Time{}, "No registration of this device was ever seen.", nil)
	}
}

// sayCounts tells what happened how often; out is how long the device was not registered.
func (f *facts) sayCounts(h *Health, out time.Duration, ofThem string) {
	if n := f.lapses; n > 0 && (h.State != lapsed || n > 1) {
		h.say("lapses", micros(f.ending.atUs), fmt.Sprintf("It lapsed %s and was not registered for %s of %s.", times(n), spoken(out), ofThem),
			map[string]float64{"lapses": float64(n), "not_registered_s": out.Seconds()})
	}
	if n := f.authFailures; n > 0 && (h.State != failing || n > 1) {
		h.say("auth_failures", micros(f.auth.atUs), fmt.Sprintf("Its credentials were refused %s in the last 24 h, last at %s.", times(n), moment(micros(f.auth.atUs))),
			map[string]float64{"auth_failures": float64(n)})
	}
	if f.rejections > 0 {
		h.sayLast("rejected", f.rejection, "")
	}
	if n := f.sourceChanges; n > 0 {
		text := f.source.text
		if n > 1 {
			text = fmt.Sprintf("Its source changed %s in the last 24 h. The last time: %s", times(n), text)
		}
		h.say("source_changed", micros(f.source.atUs), text, map[string]float64{"source_changes": float64(n)})
	}
	if len(f.versions) > 1 {
		to, from := f.versions[0], f.versions[1]
		h.say("version_changed", to.FirstSeen, fmt.Sprintf("Its version changed from %s to %s at %s.", from.name(), to.name(), moment(to.FirstSeen)), nil)
	}
	if h.State != byPush && h.State != neverSeen && h.RegisteredShare24h < 0.9995 {
		h.say("registered_share", Time{}, fmt.Sprintf("It was registered %.1f %% of %s.", 100*h.RegisteredShare24h, ofThem),
			map[string]float64{"registered_share": h.RegisteredShare24h})
	}
}

// known is how much of the last 24 h the device is known for, in words too: one
// that is new was not unregistered before.
func (f *facts) known(now time.Time) (time.Duration, string) {
	first := Time{now.Add(-healthWindow)}
	if len(f.versions) > 0 {
		first = slices.MinFunc(f.versions, func(a, b AppVersion) int { return a.FirstSeen.Compare(b.FirstSeen.Time) }).FirstSeen
	}
	if d := now.Sub(first.Time); d < healthWindow {
		return d, "the " + spoken(d) + " since it was first seen"
	}
	return healthWindow, "the last 24 h"
}

func (v AppVersion) name() string {
	return strings.TrimSpace(v.App + " " + v.Version)
}

// held says of a binding that holds since when and how long.
func (r *Registration) held(now time.Time) string {
	text := "It is registered since " + moment(r.RegisteredAt) + " (" + spoken(now.Sub(r.RegisteredAt.Time)) + ")"
	if r.Source != "" {
		text += " from " + r.Source
	}
	switch {
	case r.ExpiresAt.IsZero():
	case r.ExpiresAt.Before(now):
		text += "; it expired at " + moment(r.ExpiresAt) + ", and a refresh may still come"
	default:
		text += ", until " + moment(r.ExpiresAt) + " unless it is refreshed"
	}
	return text + "."
}

func (r *Registration) heldValues(now time.Time) map[string]float64 {
	v := map[string]float64{"registered_s": now.Sub(r.RegisteredAt.Time).Seconds()}
	if !r.ExpiresAt.IsZero() {
		v["expires_in_s"] = r.ExpiresAt.Sub(now).Seconds()
	}
	return v
}

func moment(t Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func times(n uint64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// spoken is a duration in its two biggest units: "2 h 3 min", "45 s".
func spoken(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	units := []struct {
		name string
		s    int64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}
	var parts []string
	for i, u := range units {
		if s < u.s && len(parts) == 0 && i < len(units)-1 {
			continue
		}
		if n := s / u.s; n > 0 || len(parts) == 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
		}
		s %= u.s
		if len(parts) == 2 || s == 0 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// RegistrationHealth counts the devices of a company by state of health, and by
// the version they last registered with.
func (c Company) RegistrationHealth(ctx context.Context) (RegistrationHealth, error) {
	out := RegistrationHealth{States: map[string]uint64{}, Versions: []VersionInUse{}}
	for _, state := range healthStates {
		out.States[state] = 0
	}
	p := newParams()
	s := c.bindings(p).get("*")
	s.inside("SELECT health, count() FROM (SELECT "+registrationState+" AS current_state, "+c.healthState(p)+" AS health", ") GROUP BY health")
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		var state string
		var n uint64
		if err := scan(&state, &n); err != nil {
			return err
		}
		out.States[state] += n
		out.Devices += n
		return nil
	})
	if err != nil {
		return out, err
	}
	p = newParams()
	s = c.bindings(p).get("*").inside("SELECT app, app_version, count() AS devices, countIf("+registrationState+" = 'registered'), toUnixTimestamp64Micro(max(at))",
		fmt.Sprintf("WHERE user_agent != '' GROUP BY app, app_version ORDER BY devices DESC, app, app_version LIMIT %d", maxVersions))
	err = c.rows(ctx, s, func(scan func(...any) error) error {
		var v VersionInUse
		var at int64
		if err := scan(&v.App, &v.Version, &v.Devices, &v.Registered, &at); err != nil {
			return err
		}
		v.LastSeen = micros(at)
		out.Versions = append(out.Versions, v)
		return nil
	})
	return out, err
}
