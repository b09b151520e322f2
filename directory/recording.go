package directory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// recordingLevels is who may have a setting of recording, the first that has
// one decides: what is said of a person is meant more than what is said of the
// people they work with, a contact center has rules of its own for its calls
// (consent, supervision), a department is smaller than an office and an office
// than the company. Where nobody has said anything, nothing is recorded.
var recordingLevels = []string{KindUser, KindContactCenter, KindDepartment, KindOffice, KindCompany}

// RecordingLevel is the company, a place in it or a user.
type RecordingLevel struct {
	Level string // KindCompany, KindOffice, KindDepartment, KindContactCenter or KindUser
	ID    string // empty for the company
}

// RecordingChange is an entry of the log of recording settings.
type RecordingChange struct {
	ID int64
	At time.Time
	RecordingLevel
	Name   string // of the place or user, as it was then
	Old    *bool  // nil: not set
	New    *bool  // nil: taken back
	By     Actor
	Reason string
}

// Memberships are the places a user is in.
type Memberships struct {
	Office         string
	Departments    []string
	ContactCenters []string
}

// RecordingState is whether calls are recorded, and who says so.
type RecordingState struct {
	At        time.Time
	Enabled   *bool // as set at the level that was asked for; nil: not set there
	Effective bool
	From      string           // a level, or LevelDefault
	By        *RecordingChange // the setting that holds; nil for the default
	// Of a user: where the user was at that time.
	Memberships Memberships
}

// SetRecording turns recording on or off at a level, or takes the setting back
// where enabled is nil. To set what is set already changes nothing.
func (d *Directory) SetRecording(ctx context.Context, company string, level RecordingLevel, enabled *bool, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := checkText("reason", reason, 500); err != nil {
		return err
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		name, err := levelName(ctx, tx, company, level)
		if err != nil {
			return err
		}
		if level.Level == KindUser {
			if err := checkLiveUser(ctx, tx, company, level.ID); err != nil {
				return err
			}
		}
		n, err := setRecording(ctx, tx, company, level, name, settingOf(enabled), reason, d.now())
		if err == nil && n == 0 {
			return errUnchanged
		}
		return err
	})
}

// clearRecording takes a setting back because its place or user goes; the log
// of what was set stays. It returns how many settings there were: 0 or 1.
func clearRecording(ctx context.Context, tx *sql.Tx, company, level, id string, now time.Time) (int, error) {
	l := RecordingLevel{Level: level, ID: id}
	name, err := levelName(ctx, tx, company, l)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	return setRecording(ctx, tx, company, l, name, "", "deleted", now)
}

func setRecording(ctx context.Context, tx *sql.Tx, company string, level RecordingLevel, name, setting, reason string, now time.Time) (int, error) {
	var id, lastUs int64
	err := tx.QueryRowContext(ctx, "SELECT (SELECT COALESCE(MAX(id), 0) + 1 FROM recording_setting), (SELECT COALESCE(MAX(at_us), 0) FROM recording_setting WHERE company = $1)", company).Scan(&id, &lastUs)
	if err != nil {
		return 0, fmt.Errorf("cannot read the log of recording: %w", err)
	}
	at := max(micros(now), lastUs)
	last, err := lastSettings(ctx, tx, company, fromMicros(at), level)
	if err != nil {
		return 0, err
	}
	was := settingOf(last[level].New)
	if was == setting {
		return 0, nil
	}
	a := actorOf(ctx)
	_, err = tx.ExecContext(ctx, `INSERT INTO recording_setting (id, company, at_us, level, level_id, level_name, was, setting, actor_kind, actor_id, actor_name, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, id, company, at, level.Level, level.ID, name, was, setting, a.Kind, a.ID, a.Name, reason)
	if err != nil {
		return 0, fmt.Errorf("cannot store the setting of recording: %w", err)
	}
	c := Change{Action: "recording.set", Kind: "recording", ID: strings.TrimSuffix(level.Level+"/"+level.ID, "/"), Text: reason,
		Fields: []FieldChange{{Field: "recording", Old: was, New: setting}}}
	if setting == "" {
		c.Action = "recording.clear"
	}
	if level.Level == KindUser {
		c.User = level.ID
	}
	return 1, record(ctx, tx, company, now, c)
}

func settingOf(enabled *bool) string { return onOff(enabled != nil, enabled != nil && *enabled) }

func enabledOf(setting string) *bool {
	if setting == "" {
		return nil
	}
	on := setting == "on"
	return &on
}

// levelName checks that a level is there and tells what it is called.
func levelName(ctx context.Context, q querier, company string, level RecordingLevel) (string, error) {
	var row *sql.Row
	switch level.Level {
	case KindCompany:
		if level.ID != "" {
			return "", invalid("level", "company has no id of its own")
		}
		row = q.QueryRowContext(ctx, "SELECT name FROM company WHERE id = $1", company)
	case KindUser:
		row = q.QueryRowContext(ctx, "SELECT name FROM users WHERE company = $1 AND id = $2", company, level.ID)
	case KindOffice, KindDepartment, KindContactCenter:
		row = q.QueryRowContext(ctx, "SELECT name FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, level.Level, level.ID)
	default:
		return "", invalid("level", "must be company, office, department, contact_center or user")
	}
	var name string
	switch err := row.Scan(&name); {
	case errors.Is(err, sql.ErrNoRows):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("cannot read a name: %w", err)
	}
	return name, nil
}

// anyOf asks for rows of one of the levels.
func (c *conditions) anyOf(levels []RecordingLevel) {
	var parts []string
	var values []any
	for _, l := range levels {
		parts = append(parts, "(level = ? AND level_id = ?)")
		values = append(values, l.Level, l.ID)
	}
	c.and("("+strings.Join(parts, " OR ")+")", values...)
}

// lastSettings is the newest entry of each level up to a time, those that took
// a setting back too.
func lastSettings(ctx context.Context, q querier, company string, at time.Time, levels ...RecordingLevel) (map[RecordingLevel]RecordingChange, error) {
	c := &conditions{}
	c.and("company = ?", company)
	c.anyOf(levels)
	c.and(`id = (SELECT MAX(m.id) FROM recording_setting m WHERE m.company = r.company AND m.level = r.level AND m.level_id = r.level_id AND m.at_us <= ?)`, micros(at))
	rows, err := recordingChanges(ctx, q, c, "")
	if err != nil {
		return nil, err
	}
	last := make(map[RecordingLevel]RecordingChange, len(rows))
	for _, r := range rows {
		last[r.RecordingLevel] = r
	}
	return last, nil
}

func recordingChanges(ctx context.Context, q querier, c *conditions, tail string) ([]RecordingChange, error) {
	var out []RecordingChange
	err := each(ctx, q, func(r *sql.Rows) error {
		var e RecordingChange
		var at int64
		var was, setting string
		if err := r.Scan(&e.ID, &at, &e.Level, &e.RecordingLevel.ID, &e.Name, &was, &setting, &e.By.Kind, &e.By.ID, &e.By.Name, &e.Reason); err != nil {
			return err
		}
		e.At, e.Old, e.New = fromMicros(at), enabledOf(was), enabledOf(setting)
		out = append(out, e)
		return nil
	}, "SELECT id, at_us, level, level_id, level_name, was, setting, actor_kind, actor_id, actor_name, reason FROM recording_setting r WHERE "+c.String()+" "+tail, c.args...)
	return out, err
}

// Recording tells what holds at a level at a time: for a user by the places the
// user was in then, for a place by the office it is in now.
func (d *Directory) Recording(ctx context.Context, company string, level RecordingLevel, at time.Time) (RecordingState, error) {
	if _, err := levelName(ctx, d.db, company, level); err != nil {
		return RecordingState{}, err
	}
	levels := []RecordingLevel{level}
	var in Memberships
	var err error
	switch level.Level {
	case KindUser:
		if in, err = d.MembershipsAt(ctx, company, level.ID, at); err != nil {
			return RecordingState{}, err
		}
		levels = append(levels, in.levels()...)
	case KindDepartment, KindContactCenter:
		var office string
		if err := d.db.QueryRowContext(ctx, "SELECT office_id FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, level.Level, level.ID).Scan(&office); err != nil {
			return RecordingState{}, fmt.Errorf("cannot read the place: %w", err)
		}
		levels = append(levels, Memberships{Office: office}.levels()...)
	case KindOffice:
		levels = append(levels, Memberships{}.levels()...)
	}
	state, err := recordingAt(ctx, d.db, company, levels, at)
	if err != nil {
		return RecordingState{}, err
	}
	state.Memberships = in
	return state, nil
}

// levels are the places with the company, in the order in which they decide.
func (m Memberships) levels() []RecordingLevel {
	var out []RecordingLevel
	for _, id := range m.ContactCenters {
		out = append(out, RecordingLevel{KindContactCenter, id})
	}
	for _, id := range m.Departments {
		out = append(out, RecordingLevel{KindDepartment, id})
	}
	if m.Office != "" {
		out = append(out, RecordingLevel{KindOffice, m.Office})
	}
	return append(out, RecordingLevel{Level: KindCompany})
}

// recordingAt judges by the levels that concern someone; the first is the one
// that was asked for.
func recordingAt(ctx context.Context, q querier, company string, levels []RecordingLevel, at time.Time) (RecordingState, error) {
	last, err := lastSettings(ctx, q, company, at, levels...)
	if err != nil {
		return RecordingState{}, err
	}
	return recordingBy(last, levels, at), nil
}

// recordingBy judges by the newest entry of each level at a time.
func recordingBy(last map[RecordingLevel]RecordingChange, levels []RecordingLevel, at time.Time) RecordingState {
	state := RecordingState{At: at, From: LevelDefault, Enabled: last[levels[0]].New}
	for _, level := range recordingLevels {
		// Where someone is in several places of a kind, one that says off is
		// enough: to record without leave is worse than not to record.
		for _, l := range levels {
			set, found := last[l]
			if l.Level != level || !found || set.New == nil || (state.By != nil && !*state.By.New) {
				continue
			}
			if state.By == nil || !*set.New {
				state.By, state.From, state.Effective = &set, level, *set.New
			}
		}
		if state.By != nil {
			break
		}
	}
	return state
}

// MembershipsAt tells which places a user was in at a time. Only what is now is
// kept as such: from it, the changes that the journal has since are taken back.
// Of the time before the journal began, its first entry is all that is known.
func (d *Directory) MembershipsAt(ctx context.Context, company, user string, at time.Time) (Memberships, error) {
	now, changed, err := d.memberships(ctx, company, user, at)
	if err != nil {
		return Memberships{}, err
	}
	// The first change after that time tells what was before it.
	seen := map[string]bool{}
	for _, f := range changed {
		if !seen[f.Field] {
			seen[f.Field] = true
			now.set(f.Field, f.Old)
		}
	}
	return now, nil
}

// everIn are all places a user was ever in, as far as the journal knows.
func (d *Directory) everIn(ctx context.Context, company, user string) ([]RecordingLevel, error) {
	now, changed, err := d.memberships(ctx, company, user, time.Time{})
	if err != nil {
		return nil, err
	}
	all := map[RecordingLevel]bool{{KindUser, user}: true}
	add := func(m Memberships) {
		for _, l := range m.levels() {
			all[l] = true
		}
	}
	add(now)
	for _, f := range changed {
		var m Memberships
		m.set(f.Field, f.Old)
		add(m)
		m.set(f.Field, f.New)
		add(m)
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b RecordingLevel) int {
		return cmp.Or(strings.Compare(a.Level, b.Level), strings.Compare(a.ID, b.ID))
	}), nil
}

// memberships reads where a user is now, and what of it has changed since a
// time, in the order of the changes.
func (d *Directory) memberships(ctx context.Context, company, user string, since time.Time) (Memberships, []FieldChange, error) {
	u, err := d.User(ctx, company, user)
	if err != nil {
		return Memberships{}, nil, err
	}
	var changed []FieldChange
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var text string
		if err := r.Scan(&text); err != nil {
			return err
		}
		fields, err := fieldsOf(text)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.Field == "office" || f.Field == "departments" || f.Field == "contact_centers" {
				changed = append(changed, f)
			}
		}
		return nil
	}, `SELECT fields FROM journal WHERE company = $1 AND user_id = $2 AND user_id <> '' AND subject_kind = 'user' AND at_us > $3 AND fields <> '' ORDER BY at_us, n, i`,
		company, user, micros(since))
	return Memberships{Office: u.Office, Departments: u.Departments, ContactCenters: u.ContactCenters}, changed, err
}

// set takes a value as the journal has it: ids with ; between them.
func (m *Memberships) set(field, value string) {
	ids := strings.FieldsFunc(value, func(r rune) bool { return r == ';' })
	switch field {
	case "office":
		m.Office = value
	case "departments":
		m.Departments = ids
	case "contact_centers":
		m.ContactCenters = ids
	}
}

// RecordingChanges lists the log of recording settings, the newest first: of
// the company, or of all that ever concerned the user where one is given.
func (d *Directory) RecordingChanges(ctx context.Context, company, user string, page Page) ([]RecordingChange, string, error) {
	c := &conditions{}
	c.and("company = ?", company)
	if user != "" {
		levels, err := d.everIn(ctx, company, user)
		if err != nil {
			return nil, "", err
		}
		c.anyOf(levels)
	}
	if page.Cursor != "" {
		key, err := decodeTimes(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		c.and("(at_us, id) < (?, ?)", key[0], key[1])
	}
	rows, err := recordingChanges(ctx, d.db, c, fmt.Sprintf("ORDER BY at_us DESC, id DESC LIMIT %d", page.limit()+1))
	if err != nil {
		return nil, "", err
	}
	rows, next := cut(rows, page.limit(), func(r RecordingChange) []string {
		return []string{strconv.FormatInt(micros(r.At), 10), strconv.FormatInt(r.ID, 10)}
	})
	return rows, next, nil
}
