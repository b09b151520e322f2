package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// EventTypes are what a subscription may name: the moments of a call, and that
// a device was deleted and its app must register anew.
var EventTypes = append(slices.Clone(telemetry.MomentTypes), EventDeviceReregister)

const (
	EventDeviceReregister = "device_reregister"
	// EventPing is the type of a test, which nobody subscribes to.
	EventPing = "ping"
	// AllEvents in the place of types means all of them, also those of later versions.
	AllEvents = "*"
)

// States of a subscription.
const (
	SubscriptionOK       = "ok"
	SubscriptionFailing  = "failing"
	SubscriptionDisabled = "disabled"
)

const (
	// MaxSubscriptions is how many a company may have: each event is held against
	// each of them, and may become a delivery of each.
	MaxSubscriptions = 200
	maxURL           = 2000 // bytes
	maxDescription   = 500  // bytes
	secretPrefix     = "whsec_"
)

// Target is whose events a subscription is for.
type Target struct {
	Kind string // company, office, department, contact_center or user
	ID   string // empty for company
}

// Subscription is a wish to be told of events by webhook.
type Subscription struct {
	ID          string
	Company     string
	URL         string
	Target      Target
	Types       []string // or AllEvents alone
	Description string
	Enabled     bool
	// DisabledReason says in words why it is not enabled.
	DisabledReason string
	// Secret is whsec_ and base64, as Standard Webhooks has it. It is kept as it
	// is, for signing needs it; it is shown when it is made and never again.
	Secret string
	// OldSecret signs too until OldSecretUntil.
	OldSecret      string
	OldSecretUntil time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time

	// How its deliveries fare.
	Pending      int64
	FailingSince time.Time // zero: the last attempt succeeded, or there was none
	LastError    string    // of the last attempt that failed; empty when one succeeded since
	LastSuccess  time.Time
}

// State is ok, failing or disabled.
func (s Subscription) State() string {
	switch {
	case !s.Enabled:
		return SubscriptionDisabled
	case !s.FailingSince.IsZero():
		return SubscriptionFailing
	}
	return SubscriptionOK
}

// Wants tells whether the subscription is for events of the type.
func (s Subscription) Wants(eventType string) bool {
	return slices.Contains(s.Types, AllEvents) || slices.Contains(s.Types, eventType)
}

// secretBytes is between the 24 and 64 that Standard Webhooks asks for.
const secretBytes = 32

func newWebhookSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return invalid("url", "must be an http:// or https:// URL")
	case len(text) > maxURL:
		return invalid("url", fmt.Sprintf("must not be longer than %d bytes", maxURL))
	case u.User != nil:
		return invalid("url", "must not hold a user name or password: what is sent is signed")
	case u.Fragment != "":
		return invalid("url", "must not have a part after #")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return invalid("url", "must have a port between 1 and 65535, or none")
		}
	}
	return nil
}

// checkTypes gives the types without repeats in the order of EventTypes.
func checkTypes(types []string) ([]string, error) {
	if len(types) == 0 {
		return nil, invalid("types", "must name at least one type of event, or *")
	}
	for i, t := range types {
		if t != AllEvents && !slices.Contains(EventTypes, t) {
			return nil, invalid(fmt.Sprintf("types[%d]", i), "must be *, "+strings.Join(EventTypes, ", "))
		}
	}
	if slices.Contains(types, AllEvents) {
		return []string{AllEvents}, nil
	}
	var out []string
	for _, t := range EventTypes {
		if slices.Contains(types, t) {
			out = append(out, t)
		}
	}
	return out, nil
}

func checkDescription(text string) error {
	if len(text) > maxDescription {
		return invalid("description", fmt.Sprintf("must not be longer than %d bytes", maxDescription))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return invalid("description", "must not hold control characters")
	}
	return nil
}

func checkSubscriptionTarget(ctx context.Context, q querier, company string, t Target) error {
	var known bool
	var err error
	switch t.Kind {
	case KindCompany:
		if t.ID != "" {
			return invalid("target.id", "must not be given for the company")
		}
		return nil
	case KindUser:
		known, err = exists(ctx, q, "SELECT 1 FROM users WHERE company = $1 AND id = $2 AND state <> 'deleted'", company, t.ID)
	case KindOffice, KindDepartment, KindContactCenter:
		known, err = exists(ctx, q, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, t.Kind, t.ID)
	default:
		return invalid("target.kind", "must be company, office, department, contact_center or user")
	}
	if err != nil {
		return err
	}
	if !known {
		return invalid("target.id", "is none of the company")
	}
	return nil
}

// CreateSubscription stores a new subscription. Of s only URL, Target, Types,
// Description and Enabled count. The answer holds its secret.
func (d *Directory) CreateSubscription(ctx context.Context, company string, s Subscription) (Subscription, error) {
	if s.Target.Kind == "" {
		s.Target.Kind = KindCompany
	}
	if err := checkURL(s.URL); err != nil {
		return Subscription{}, err
	}
	types, err := checkTypes(s.Types)
	if err != nil {
		return Subscription{}, err
	}
	if err := checkDescription(s.Description); err != nil {
		return Subscription{}, err
	}
	now := d.now().UTC().Truncate(time.Microsecond)
	s = Subscription{
		ID: newID(), Company: company, URL: s.URL, Target: s.Target, Types: types, Description: s.Description, Enabled: s.Enabled,
		Secret: newWebhookSecret(), CreatedAt: now, UpdatedAt: now,
	}
	if !s.Enabled {
		s.DisabledReason = disabledByHand
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		if err := checkSubscriptionTarget(ctx, tx, company, s.Target); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM subscription WHERE company = $1 AND deleted_us = 0", company).Scan(&n); err != nil {
			return fmt.Errorf("cannot count subscriptions: %w", err)
		}
		if n >= MaxSubscriptions {
			return conflict("company", fmt.Sprintf("has %d subscriptions already", n))
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO subscription (id, company, url, target_kind, target_id, types, description, enabled, disabled_reason, secret, created_us, updated_us)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)`,
			s.ID, company, s.URL, s.Target.Kind, s.Target.ID, strings.Join(s.Types, " "), s.Description, flagOf(s.Enabled), s.DisabledReason, s.Secret, micros(now))
		if err != nil {
			return fmt.Errorf("cannot store the subscription: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO webhook_endpoint (subscription, due_us, changed_us) VALUES ($1, $2, $3)", s.ID, never, micros(now)); err != nil {
			return fmt.Errorf("cannot store the subscription: %w", err)
		}
		return record(ctx, tx, company, now, s.change("subscription.create",
			FieldChange{"url", "", shownURL(s.URL)}, FieldChange{"types", "", strings.Join(s.Types, ";")}, FieldChange{"target", "", s.Target.text()}))
	})
	if err != nil {
		return Subscription{}, err
	}
	return s, nil
}

const disabledByHand = "switched off"

func (t Target) text() string {
	if t.ID == "" {
		return t.Kind
	}
	return t.Kind + " " + t.ID
}

// change is an entry of the journal; on the page of the user whose events it is for.
func (s Subscription) change(action string, fields ...FieldChange) Change {
	c := Change{Action: action, Kind: "subscription", ID: s.ID, Fields: fields}
	if s.Target.Kind == KindUser {
		c.User = s.Target.ID
	}
	return c
}

// shownURL is a URL without what may be a secret: many receivers have their
// token in the path or the query.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "…"
	}
	shown := u.Scheme + "://" + u.Host
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		shown += "/…"
	}
	return shown
}

const selectSubscription = `SELECT s.id, s.company, s.url, s.target_kind, s.target_id, s.types, s.description, s.enabled, s.disabled_reason,
	s.secret, s.old_secret, s.old_until_us, s.created_us, s.updated_us, e.pending, e.failing_since_us, e.last_error, e.last_success_us
	FROM subscription s JOIN webhook_endpoint e ON e.subscription = s.id `

func readSubscriptions(ctx context.Context, q querier, where string, args ...any) ([]Subscription, error) {
	var out []Subscription
	err := each(ctx, q, func(r *sql.Rows) error {
		var s Subscription
		var types string
		var enabled, oldUntil, created, updated, failing, success int64
		if err := r.Scan(&s.ID, &s.Company, &s.URL, &s.Target.Kind, &s.Target.ID, &types, &s.Description, &enabled, &s.DisabledReason,
			&s.Secret, &s.OldSecret, &oldUntil, &created, &updated, &s.Pending, &failing, &s.LastError, &success); err != nil {
			return err
		}
		s.Types, s.Enabled, s.OldSecretUntil = strings.Fields(types), enabled != 0, fromMicros(oldUntil)
		s.CreatedAt, s.UpdatedAt, s.FailingSince, s.LastSuccess = fromMicros(created), fromMicros(updated), fromMicros(failing), fromMicros(success)
		out = append(out, s)
		return nil
	}, selectSubscription+where, args...)
	return out, err
}

// Subscriptions lists those of a company, the oldest first.
func (d *Directory) Subscriptions(ctx context.Context, company string, page Page) ([]Subscription, string, error) {
	where, args := "WHERE s.company = $1 AND s.deleted_us = 0", []any{company}
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		created, err := strconv.ParseInt(key[0], 10, 64)
		if err != nil {
			return nil, "", invalid("cursor", "is not one that a list gave")
		}
		args = append(args, created, key[1])
		where += " AND (s.created_us, s.id) > ($2, $3)"
	}
	args = append(args, page.limit()+1)
	out, err := readSubscriptions(ctx, d.db, where+fmt.Sprintf(" ORDER BY s.created_us, s.id LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(s Subscription) []string { return []string{strconv.FormatInt(micros(s.CreatedAt), 10), s.ID} })
	return out, next, nil
}

// Subscription returns one of a company.
func (d *Directory) Subscription(ctx context.Context, company, id string) (Subscription, error) {
	return subscription(ctx, d.db, company, id)
}

func subscription(ctx context.Context, q querier, company, id string) (Subscription, error) {
	found, err := readSubscriptions(ctx, q, "WHERE s.company = $1 AND s.id = $2 AND s.deleted_us = 0", company, id)
	if err != nil {
		return Subscription{}, err
	}
	if len(found) == 0 {
		return Subscription{}, ErrNotFound
	}
	return found[0], nil
}

// EnabledSubscriptions are those of all companies that events are held against.
func (d *Directory) EnabledSubscriptions(ctx context.Context) ([]Subscription, error) {
	return readSubscriptions(ctx, d.db, "WHERE s.enabled = 1 AND s.deleted_us = 0 ORDER BY s.created_us, s.id")
}

// SubscriptionChange says what to change; nil leaves as it is.
type SubscriptionChange struct {
	URL         *string
	Target      *Target
	Types       *[]string
	Description *string
	Enabled     *bool
}

// UpdateSubscription changes a subscription. A new URL, and switching it on,
// send what is pending at once.
func (d *Directory) UpdateSubscription(ctx context.Context, company, id string, c SubscriptionChange) (Subscription, error) {
	var s Subscription
	err := d.write(ctx, func(tx *sql.Tx) error {
		old, err := subscription(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if s, err = c.applied(ctx, tx, old); err != nil {
			return err
		}
		fields := old.differences(s)
		if len(fields) == 0 {
			return errUnchanged
		}
		now := d.now().UTC().Truncate(time.Microsecond)
		s.UpdatedAt = now
		_, err = tx.ExecContext(ctx, `UPDATE subscription SET url = $1, target_kind = $2, target_id = $3, types = $4, description = $5, enabled = $6, disabled_reason = $7, updated_us = $8 WHERE id = $9`,
			s.URL, s.Target.Kind, s.Target.ID, strings.Join(s.Types, " "), s.Description, flagOf(s.Enabled), s.DisabledReason, micros(now), id)
		if err != nil {
			return fmt.Errorf("cannot store the subscription: %w", err)
		}
		if s.URL != old.URL || s.Enabled != old.Enabled {
			if err := freshEndpoint(ctx, tx, id, now); err != nil {
				return err
			}
			s.FailingSince, s.LastError = time.Time{}, ""
		}
		return record(ctx, tx, company, now, s.change("subscription.update", fields...))
	})
	if err != nil {
		return Subscription{}, err
	}
	return s, nil
}

func (c SubscriptionChange) applied(ctx context.Context, q querier, s Subscription) (Subscription, error) {
	if c.URL != nil {
		if err := checkURL(*c.URL); err != nil {
			return s, err
		}
		s.URL = *c.URL
	}
	if c.Target != nil {
		if err := checkSubscriptionTarget(ctx, q, s.Company, *c.Target); err != nil {
			return s, err
		}
		s.Target = *c.Target
	}
	if c.Types != nil {
		var err error
		if s.Types, err = checkTypes(*c.Types); err != nil {
			return s, err
		}
	}
	if c.Description != nil {
		if err := checkDescription(*c.Description); err != nil {
			return s, err
		}
		s.Description = *c.Description
	}
	if c.Enabled != nil && *c.Enabled != s.Enabled {
		s.Enabled, s.DisabledReason = *c.Enabled, ""
		if !s.Enabled {
			s.DisabledReason = disabledByHand
		}
	}
	return s, nil
}

func (s Subscription) differences(now Subscription) []FieldChange {
	var out []FieldChange
	differ := func(field, before, after string) {
		if before != after {
			out = append(out, FieldChange{field, before, after})
		}
	}
	if s.URL != now.URL {
		out = append(out, FieldChange{"url", shownURL(s.URL), shownURL(now.URL)})
	}
	differ("target", s.Target.text(), now.Target.text())
	differ("types", strings.Join(s.Types, ";"), strings.Join(now.Types, ";"))
	differ("description", s.Description, now.Description)
	differ("enabled", strconv.FormatBool(s.Enabled), strconv.FormatBool(now.Enabled))
	return out
}

// DisableSubscription switches one off for a reason, on the program's behalf.
// What is pending stays so, for when it is switched on again.
func (d *Directory) DisableSubscription(ctx context.Context, id, reason string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		_, found, err := disableSubscription(ctx, tx, id, reason, d.now())
		if err == nil && !found {
			return errUnchanged // somebody was quicker
		}
		return err
	})
}

// disableSubscription gives the subscription as it was; false where it is not enabled.
func disableSubscription(ctx context.Context, tx *sql.Tx, id, reason string, now time.Time) (Subscription, bool, error) {
	found, err := readSubscriptions(ctx, tx, "WHERE s.id = $1 AND s.enabled = 1 AND s.deleted_us = 0", id)
	if err != nil || len(found) == 0 {
		return Subscription{}, false, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE subscription SET enabled = 0, disabled_reason = $1, updated_us = $2 WHERE id = $3", reason, micros(now), id); err != nil {
		return Subscription{}, false, fmt.Errorf("cannot disable the subscription: %w", err)
	}
	c := found[0].change("subscription.update", FieldChange{"enabled", "true", "false"})
	c.Text = reason
	found[0].DisabledReason = reason
	return found[0], true, record(ctx, tx, found[0].Company, now, c)
}

// RotateSubscriptionSecret gives a new secret. The old one signs beside it for
// the overlap, so that a receiver can change over without losing an event.
func (d *Directory) RotateSubscriptionSecret(ctx context.Context, company, id string, overlap time.Duration) (Subscription, error) {
	var s Subscription
	err := d.write(ctx, func(tx *sql.Tx) error {
		var err error
		if s, err = subscription(ctx, tx, company, id); err != nil {
			return err
		}
		now := d.now().UTC().Truncate(time.Microsecond)
		s.OldSecret, s.OldSecretUntil = s.Secret, now.Add(overlap)
		if overlap <= 0 {
			s.OldSecret, s.OldSecretUntil = "", time.Time{}
		}
		s.Secret, s.UpdatedAt = newWebhookSecret(), now
		_, err = tx.ExecContext(ctx, "UPDATE subscription SET secret = $1, old_secret = $2, old_until_us = $3, updated_us = $4 WHERE id = $5",
			s.Secret, s.OldSecret, unixMicros(s.OldSecretUntil), micros(now), id)
		if err != nil {
			return fmt.Errorf("cannot store the secret: %w", err)
		}
		return record(ctx, tx, company, now, s.change("subscription.rotate_secret"))
	})
	if err != nil {
		return Subscription{}, err
	}
	return s, nil
}

// DeleteSubscription removes one, with what is still to be delivered.
func (d *Directory) DeleteSubscription(ctx context.Context, company, id string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		s, err := subscription(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if err := hideSubscription(ctx, tx, id, d.now()); err != nil {
			return err
		}
		return record(ctx, tx, company, d.now(), s.change("subscription.delete", FieldChange{"url", shownURL(s.URL), ""}))
	})
}

// hideSubscription deletes without its deliveries, which may be a million:
// ForgetDeliveries removes them bit by bit.
func hideSubscription(ctx context.Context, tx *sql.Tx, id string, now time.Time) error {
	_, err := tx.ExecContext(ctx, "UPDATE subscription SET enabled = 0, secret = '', old_secret = '', deleted_us = $1 WHERE id = $2", micros(now), id)
	if err != nil {
		return fmt.Errorf("cannot delete the subscription: %w", err)
	}
	return nil
}

// subscriptionsOf counts the subscriptions with that target.
func subscriptionsOf(ctx context.Context, q querier, company, kind, id string) (int, error) {
	var n int
	err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM subscription WHERE company = $1 AND target_kind = $2 AND target_id = $3 AND deleted_us = 0", company, kind, id).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("cannot count subscriptions: %w", err)
	}
	return n, nil
}

// deleteSubscriptionsOf deletes the subscriptions with that target, and gives
// what the journal has to hold.
func deleteSubscriptionsOf(ctx context.Context, tx *sql.Tx, company, kind, id string, now time.Time) ([]Change, error) {
	found, err := readSubscriptions(ctx, tx, "WHERE s.company = $1 AND s.target_kind = $2 AND s.target_id = $3 AND s.deleted_us = 0", company, kind, id)
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, s := range found {
		if err := hideSubscription(ctx, tx, s.ID, now); err != nil {
			return nil, err
		}
		out = append(out, s.change("subscription.delete", FieldChange{"url", shownURL(s.URL), ""}))
	}
	return out, nil
}

// Subject is whom an event is about: users and the places that it belongs to.
type Subject struct {
	Users, Offices, Departments, ContactCenters []string
}

// Covers tells whether events of the subject are the target's.
func (t Target) Covers(s Subject) bool {
	switch t.Kind {
	case KindCompany:
		return true
	case KindUser:
		return slices.Contains(s.Users, t.ID)
	case KindOffice:
		return slices.Contains(s.Offices, t.ID)
	case KindDepartment:
		return slices.Contains(s.Departments, t.ID)
	case KindContactCenter:
		return slices.Contains(s.ContactCenters, t.ID)
	}
	return false
}

// UserSubject is a user with all of the user's places; also of one who is deleted.
func (d *Directory) UserSubject(ctx context.Context, company, user string) (Subject, error) {
	s := Subject{Users: []string{user}}
	var office string
	err := d.db.QueryRowContext(ctx, "SELECT office_id FROM users WHERE company = $1 AND id = $2", company, user).Scan(&office)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, fmt.Errorf("cannot read the user: %w", err)
	}
	if office != "" {
		s.Offices = []string{office}
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var kind, place string
		if err := r.Scan(&kind, &place); err != nil {
			return err
		}
		if kind == KindDepartment {
			s.Departments = append(s.Departments, place)
		} else {
			s.ContactCenters = append(s.ContactCenters, place)
		}
		return nil
	}, "SELECT kind, place_id FROM membership WHERE company = $1 AND user_id = $2", company, user)
	return s, err
}

// Members are the users of a department or contact center.
func (d *Directory) Members(ctx context.Context, company string, t Target) (map[string]bool, error) {
	out := map[string]bool{}
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var user string
		if err := r.Scan(&user); err != nil {
			return err
		}
		out[user] = true
		return nil
	}, "SELECT user_id FROM membership WHERE company = $1 AND kind = $2 AND place_id = $3", company, t.Kind, t.ID)
	return out, err
}

// Subscribed tells whether anybody would be told of such an event of the user.
func (d *Directory) Subscribed(ctx context.Context, company, user, eventType string) (bool, error) {
	subscriptions, err := readSubscriptions(ctx, d.db, "WHERE s.company = $1 AND s.enabled = 1 AND s.deleted_us = 0", company)
	if err != nil || len(subscriptions) == 0 {
		return false, err
	}
	subject, err := d.UserSubject(ctx, company, user)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(subscriptions, func(s Subscription) bool { return s.Wants(eventType) && s.Target.Covers(subject) }), nil
}

// JournaledDeletion is an entry of the journal: the app of a device must register anew.
type JournaledDeletion struct {
	EventID string // the same whenever it is read
	Company string
	User    string
	Device  string
	Fields  []FieldChange
	At      time.Time
}

// atOnceVersions bounds what one reading of the journal goes through.
const atOnceVersions = 10_000

// JournaledDeletions reads on in the journal after a position, from 0, for devices
// that were deleted. It gives the position to go on from, the same where there
// is nothing new: everything up to it was read.
func (d *Directory) JournaledDeletions(ctx context.Context, position int64) ([]JournaledDeletion, int64, error) {
	// Writers take turns: what has a smaller number was committed before.
	version, err := d.Version(ctx)
	if err != nil || version <= position {
		return nil, position, err
	}
	until := min(version, position+atOnceVersions)
	var out []JournaledDeletion
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var n, i, at int64
		var fields string
		var del JournaledDeletion
		if err := r.Scan(&n, &i, &del.Company, &at, &del.Device, &del.User, &fields); err != nil {
			return err
		}
		if fields != "" {
			if err := json.Unmarshal([]byte(fields), &del.Fields); err != nil {
				return err
			}
		}
		del.EventID, del.At = fmt.Sprintf("journal-%d-%d", n, i), fromMicros(at)
		out = append(out, del)
		return nil
	}, "SELECT n, i, company, at_us, subject_id, user_id, fields FROM journal WHERE n > $1 AND n <= $2 AND action = 'device.delete' ORDER BY n, i", position, until)
	if err != nil {
		return nil, position, err
	}
	return out, until, nil
}
