package directory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ExperimentCallRecording lets a company see and change call recording.
const ExperimentCallRecording = "admin_call_recording"

// knownExperiments are those that Earshot itself asks for, with what they do.
var knownExperiments = map[string]string{
	ExperimentCallRecording: "See and change for whom calls are recorded, and why a call was not",
}

// maxExperiments is how many different ones a company may have: they are
// features, not data.
const maxExperiments = 500

var experimentKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// LevelDefault is where the value of an experiment or of a setting of recording
// comes from that nobody has set; else that is one of the kinds.
const LevelDefault = "default"

// Experiment is a feature that is turned on or off for a company or a user.
type Experiment struct {
	Key         string
	Description string
	Enabled     *bool  // as set at the level that was asked for; nil: not set there
	Effective   bool   // what holds
	From        string // what says so: KindUser, KindCompany or LevelDefault
	// SetBy and SetAt are of the setting that holds; empty for the default.
	SetBy string
	SetAt time.Time
	Users int // of a company: how many users have a setting of their own
}

// experimentRow is a setting as it is stored.
type experimentRow struct {
	user, description, by string
	enabled               bool
	at                    time.Time
}

// experimentRows reads the settings of the company and, where given, of one user.
func experimentRows(ctx context.Context, q querier, company, user string) (own, all map[string]experimentRow, err error) {
	own, all = map[string]experimentRow{}, map[string]experimentRow{}
	err = each(ctx, q, func(r *sql.Rows) error {
		var e experimentRow
		var key string
		var enabled, at int64
		if err := r.Scan(&e.user, &key, &enabled, &e.description, &e.by, &at); err != nil {
			return err
		}
		e.enabled, e.at = enabled == 1, fromMicros(at)
		if e.user == "" {
			all[key] = e
		} else {
			own[key] = e
		}
		return nil
	}, "SELECT user_id, key, enabled, description, set_by, set_us FROM experiment WHERE company = $1 AND user_id IN ('', $2)", company, user)
	return own, all, err
}

// Experiments lists by key what is set in a company, and what Earshot knows.
// Enabled is the setting of the company.
func (d *Directory) Experiments(ctx context.Context, company string, page Page) ([]Experiment, string, error) {
	_, all, err := experimentRows(ctx, d.db, company, "")
	if err != nil {
		return nil, "", err
	}
	users := map[string]int{}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var key string
		var n int
		if err := r.Scan(&key, &n); err != nil {
			return err
		}
		users[key] = n
		return nil
	}, "SELECT key, COUNT(*) FROM experiment WHERE company = $1 AND user_id <> '' GROUP BY key", company)
	if err != nil {
		return nil, "", err
	}
	out := experimentsOf(nil, all, users)
	for i := range out {
		if row, set := all[out[i].Key]; set {
			out[i].Enabled = &row.enabled
		}
		out[i].Users = users[out[i].Key]
	}
	return pageOfExperiments(out, page)
}

// UserExperiments lists by key what is set in a company or for the user.
// Enabled is the user's own setting.
func (d *Directory) UserExperiments(ctx context.Context, company, user string, page Page) ([]Experiment, string, error) {
	if err := checkUserKnown(ctx, d.db, company, user); err != nil {
		return nil, "", err
	}
	own, all, err := experimentRows(ctx, d.db, company, user)
	if err != nil {
		return nil, "", err
	}
	out := experimentsOf(own, all, nil)
	for i := range out {
		if row, set := own[out[i].Key]; set {
			out[i].Enabled = &row.enabled
		}
	}
	return pageOfExperiments(out, page)
}

// checkUserKnown refuses a user that never was; a deleted one is known.
func checkUserKnown(ctx context.Context, q querier, company, user string) error {
	known, err := exists(ctx, q, "SELECT 1 FROM users WHERE company = $1 AND id = $2", company, user)
	if err == nil && !known {
		return ErrNotFound
	}
	return err
}

// experimentsOf puts together every key that anyone has and what holds of it.
func experimentsOf(own, all map[string]experimentRow, elsewhere map[string]int) []Experiment {
	keys := map[string]bool{}
	for key := range knownExperiments {
		keys[key] = true
	}
	for key := range own {
		keys[key] = true
	}
	for key := range all {
		keys[key] = true
	}
	for key := range elsewhere {
		keys[key] = true
	}
	out := make([]Experiment, 0, len(keys))
	for key := range keys {
		e := Experiment{Key: key, From: LevelDefault, Description: cmp.Or(all[key].description, own[key].description, knownExperiments[key])}
		if row, set := own[key]; set {
			e.Effective, e.From, e.SetBy, e.SetAt = row.enabled, KindUser, row.by, row.at
		} else if row, set := all[key]; set {
			e.Effective, e.From, e.SetBy, e.SetAt = row.enabled, KindCompany, row.by, row.at
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Experiment) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func pageOfExperiments(all []Experiment, page Page) ([]Experiment, string, error) {
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 1)
		if err != nil {
			return nil, "", err
		}
		all = slices.DeleteFunc(all, func(e Experiment) bool { return e.Key <= key[0] })
	}
	out, next := cut(all, page.limit(), func(e Experiment) []string { return []string{e.Key} })
	return out, next, nil
}

// ExperimentEnabled tells whether an experiment holds for a company, or for a
// user of it where user is not empty.
func (d *Directory) ExperimentEnabled(ctx context.Context, company, user, key string) (bool, error) {
	own, all, err := experimentRows(ctx, d.db, company, user)
	if err != nil {
		return false, err
	}
	if row, set := own[key]; set {
		return row.enabled, nil
	}
	return all[key].enabled, nil
}

// SetExperiment turns an experiment on or off for a company, or for one user of
// it. A description that is nil stays as it is.
func (d *Directory) SetExperiment(ctx context.Context, company, user, key string, enabled bool, description *string) error {
	if !experimentKey.MatchString(key) {
		return invalid("key", "must be 1 to 64 lower-case letters, digits and underscores and begin with a letter")
	}
	if description != nil && *description != "" {
		if err := checkText("description", *description, 500); err != nil {
			return err
		}
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		if err := checkExperimentOwner(ctx, tx, company, user); err != nil {
			return err
		}
		before, set, err := readExperiment(ctx, tx, company, user, key)
		if err != nil {
			return err
		}
		if !set {
			var n int
			if err := tx.QueryRowContext(ctx, "SELECT COUNT(DISTINCT key) FROM experiment WHERE company = $1 AND key <> $2", company, key).Scan(&n); err != nil {
				return fmt.Errorf("cannot count the experiments: %w", err)
			}
			if n >= maxExperiments {
				return conflict("key", fmt.Sprintf("is one too many: a company has at most %d experiments; remove one first", maxExperiments))
			}
		}
		after := before
		after.enabled = enabled
		if description != nil {
			after.description = *description
		}
		if set && after == before {
			return errUnchanged // who set it first stays known
		}
		now := d.now()
		_, err = tx.ExecContext(ctx, `INSERT INTO experiment (company, user_id, key, enabled, description, set_by, set_us) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (company, user_id, key) DO UPDATE SET enabled = excluded.enabled, description = excluded.description, set_by = excluded.set_by, set_us = excluded.set_us`,
			company, user, key, flagOf(enabled), after.description, actorOf(ctx).Name, micros(now))
		if err != nil {
			return fmt.Errorf("cannot store the experiment: %w", err)
		}
		fields := []FieldChange{{Field: "enabled", Old: onOff(set, before.enabled), New: onOff(true, enabled)}}
		if after.description != before.description {
			fields = append(fields, FieldChange{Field: "description", Old: before.description, New: after.description})
		}
		return record(ctx, tx, company, now, Change{Action: "experiment.set", Kind: "experiment", ID: key, User: user, Fields: fields})
	})
}

// RemoveExperiment takes a setting back, so that what is above it holds.
func (d *Directory) RemoveExperiment(ctx context.Context, company, user, key string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		before, set, err := readExperiment(ctx, tx, company, user, key)
		if err != nil {
			return err
		}
		if !set {
			return ErrNotFound
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM experiment WHERE company = $1 AND user_id = $2 AND key = $3", company, user, key); err != nil {
			return fmt.Errorf("cannot remove the experiment: %w", err)
		}
		return record(ctx, tx, company, d.now(), Change{Action: "experiment.remove", Kind: "experiment", ID: key, User: user,
			Fields: []FieldChange{{Field: "enabled", Old: onOff(true, before.enabled)}}})
	})
}

func checkExperimentOwner(ctx context.Context, tx *sql.Tx, company, user string) error {
	if user == "" {
		return checkCompanyKnown(ctx, tx, company)
	}
	return checkLiveUser(ctx, tx, company, user)
}

// checkLiveUser refuses a user that is not there, or deleted.
func checkLiveUser(ctx context.Context, q querier, company, user string) error {
	var state string
	err := q.QueryRowContext(ctx, "SELECT state FROM users WHERE company = $1 AND id = $2", company, user).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("cannot read the user: %w", err)
	case state == StateDeleted:
		return conflict("user", "is deleted")
	}
	return nil
}

func readExperiment(ctx context.Context, tx *sql.Tx, company, user, key string) (row experimentRow, set bool, err error) {
	var enabled, at int64
	err = tx.QueryRowContext(ctx, "SELECT enabled, description, set_by, set_us FROM experiment WHERE company = $1 AND user_id = $2 AND key = $3", company, user, key).
		Scan(&enabled, &row.description, &row.by, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row, false, nil
	case err != nil:
		return row, false, fmt.Errorf("cannot read the experiment: %w", err)
	}
	row.enabled, row.at = enabled == 1, fromMicros(at)
	return row, true, nil
}

// onOff writes a setting down; one that is not set is empty.
func onOff(set, on bool) string {
	switch {
	case !set:
		return ""
	case on:
		return "on"
	}
	return "off"
}

// clearUserSettings takes back what is set for a user that is being deleted and
// ends who acts for it. It returns how many settings of recording there were.
func clearUserSettings(ctx context.Context, tx *sql.Tx, company, user string, now time.Time) (recording int, err error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM experiment WHERE company = $1 AND user_id = $2", company, user); err != nil {
		return 0, fmt.Errorf("cannot remove the user's experiments: %w", err)
	}
	if err := endProxies(ctx, tx, now, "s.company = $2 AND s.user_id = $3", company, user); err != nil {
		return 0, err
	}
	return clearRecording(ctx, tx, company, KindUser, user, now)
}
