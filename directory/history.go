package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Assignment is one row of a number's history: in what state it was and who had
// it, from when until when. The rows of a number follow one another without gap
// or overlap for as long as the company has it.
type Assignment struct {
	Number string
	Status string
	Owner  *Owner // nil: no one
	From   time.Time
	Until  time.Time // zero: still
	By     Actor     // who made it so; empty where it was so before histories were kept
	Reason string
}

var assignmentColumns = "h.number, h.status, h.owner_kind, h.owner_id, " + ownerName("h", "owner_kind", "owner_id", "h.owner_name") +
	", h.from_us, h.until_us, h.actor_kind, h.actor_id, h.actor_name, h.reason"

func scanAssignment(scan func(...any) error) (Assignment, error) {
	var a Assignment
	var o Owner
	var from, until int64
	if err := scan(&a.Number, &a.Status, &o.Kind, &o.ID, &o.Name, &from, &until, &a.By.Kind, &a.By.ID, &a.By.Name, &a.Reason); err != nil {
		return Assignment{}, err
	}
	a.From, a.Until = fromMicros(from), fromMicros(until)
	if o.Kind != "" {
		a.Owner = &o
	}
	return a, nil
}

// NumberHistory lists who had a number, the newest first. A number that has
// left the company keeps its history.
func (d *Directory) NumberHistory(ctx context.Context, company, value string, page Page) ([]Assignment, string, error) {
	e164 := d.lookupForm(ctx, company, value)
	known, err := exists(ctx, d.db, "SELECT 1 FROM number_history WHERE company = $1 AND number = $2", company, e164)
	if err != nil {
		return nil, "", err
	}
	if !known {
		return nil, "", ErrNotFound
	}
	c := &conditions{}
	c.and("h.company = ? AND h.number = ?", company, e164)
	if page.Cursor != "" {
		key, err := decodeTimes(page.Cursor, 1)
		if err != nil {
			return nil, "", err
		}
		c.and("h.from_us < ?", key[0])
	}
	var out []Assignment
	err = each(ctx, d.db, func(r *sql.Rows) error {
		a, err := scanAssignment(r.Scan)
		out = append(out, a)
		return err
	}, fmt.Sprintf("SELECT %s FROM number_history h WHERE %s ORDER BY h.from_us DESC LIMIT %d", assignmentColumns, c, page.limit()+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(a Assignment) []string { return []string{strconv.FormatInt(micros(a.From), 10)} })
	return out, next, nil
}

// NumberAt is who had a number at a time. ErrNotFound says that the company did
// not have the number then, or that nothing is known of it so long ago.
func (d *Directory) NumberAt(ctx context.Context, company, value string, at time.Time) (Assignment, error) {
	e164 := d.lookupForm(ctx, company, value)
	a, err := scanAssignment(d.db.QueryRowContext(ctx, "SELECT "+assignmentColumns+` FROM number_history h
		WHERE h.company = $1 AND h.number = $2 AND h.from_us <= $3 AND (h.until_us = 0 OR h.until_us > $3)`, company, e164, micros(at)).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Assignment{}, ErrNotFound
	case err != nil:
		return Assignment{}, fmt.Errorf("cannot read the history of the number: %w", err)
	}
	return a, nil
}

// What follows is how the table of numbers is written: each function keeps the
// history and the journal with it. Nothing else writes that table.

// officeOf is SQL for the office of an owner.
func officeOf(kind, id string) string {
	return `COALESCE((SELECT u.office_id FROM users u WHERE ` + kind + ` = 'user' AND u.company = $1 AND u.id = ` + id + `),
		(SELECT CASE p.kind WHEN 'office' THEN p.id ELSE p.office_id END FROM place p WHERE p.company = $1 AND p.kind = ` + kind + ` AND p.id = ` + id + `), '')`
}

// addNumbers adds numbers that the company does not have, each once, with the
// status and owner that they say. Those of one owner that follow one another
// keep that order: the first is the one to show.
func addNumbers(ctx context.Context, tx *sql.Tx, company string, numbers []Number, reason string, now time.Time) error {
	holders, err := holdersOf(ctx, tx, company, numbers)
	if err != nil {
		return err
	}
	return addHeldNumbers(ctx, tx, company, numbers, holders, reason, now)
}

// addHeldNumbers is addNumbers where it is known what is kept of their owners. An
// import adds 100,000 at once.
func addHeldNumbers(ctx context.Context, tx *sql.Tx, company string, numbers []Number, holders map[Owner]holder, reason string, now time.Time) error {
	left, err := leftAfter(ctx, tx, company, numbers, now)
	if err != nil {
		return err
	}
	a := actorOf(ctx)
	rows, history, changes := make([][]any, len(numbers)), make([][]any, len(numbers)), make([]Change, len(numbers))
	order := 0
	var last Owner
	for i, n := range numbers {
		var o Owner
		if n.Owner != nil {
			o = Owner{Kind: n.Owner.Kind, ID: n.Owner.ID}
		}
		if order++; o != last {
			order, last = 0, o
		}
		created := micros(now) + int64(order)
		from := max(created, left[n.Number])
		rows[i] = []any{n.Number, n.National, n.Type, n.Region, n.AreaCode, n.Prefix, n.Status, o.Kind, o.ID, reversed(n.Number), holders[o].office, created, from}
		history[i] = []any{n.Number, from, n.Status, o.Kind, o.ID, holders[o].name, a.Kind, a.ID, a.Name, reason}
		changes[i] = Change{Action: "number.create", Kind: "number", ID: n.Number, Text: reason, Fields: []FieldChange{{Field: "owner", New: ownerText(n)}}}
		if o.Kind == KindUser {
			changes[i].User = o.ID
		}
	}
	const table = "number (company, number, national, type, region, area_code, prefix, status, owner_kind, owner_id, reversed, office_id, created_us, updated_us)"
	if err := insertRows(ctx, tx, company, table, rows); err != nil {
		return fmt.Errorf("cannot store the numbers: %w", err)
	}
	const open = "number_history (company, number, from_us, status, owner_kind, owner_id, owner_name, actor_kind, actor_id, actor_name, reason)"
	if err := insertRows(ctx, tx, company, open, history); err != nil {
		return fmt.Errorf("cannot write the history of the numbers: %w", err)
	}
	return record(ctx, tx, company, now, changes...)
}

// holder is what is kept of an owner beside its numbers.
type holder struct{ office, name string }

// holdersOf reads the owners of numbers, a few at once.
func holdersOf(ctx context.Context, tx *sql.Tx, company string, numbers []Number) (map[Owner]holder, error) {
	byKind := map[string][]string{}
	out := map[Owner]holder{}
	for _, n := range numbers {
		if n.Owner == nil {
			continue
		}
		o := Owner{Kind: n.Owner.Kind, ID: n.Owner.ID}
		if _, known := out[o]; !known {
			out[o] = holder{}
			byKind[o.Kind] = append(byKind[o.Kind], o.ID)
		}
	}
	for kind, ids := range byKind {
		for part := range slices.Chunk(ids, 100) {
			query, args := "SELECT id, office_id, name FROM users WHERE company = $1 AND id IN ("+placeholders(2, len(part))+")", []any{company}
			if kind != KindUser {
				query = "SELECT id, CASE kind WHEN 'office' THEN id ELSE office_id END, name FROM place WHERE company = $1 AND kind = $2 AND id IN (" + placeholders(3, len(part)) + ")"
				args = append(args, kind)
			}
			args = appendAll(args, part)
			err := each(ctx, tx, func(r *sql.Rows) error {
				var id string
				var h holder
				err := r.Scan(&id, &h.office, &h.name)
				out[Owner{Kind: kind, ID: id}] = h
				return err
			}, query, args...)
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// leftAfter says when numbers left the company, for those that did so later
// than now: another host's clock was ahead.
func leftAfter(ctx context.Context, tx *sql.Tx, company string, numbers []Number, now time.Time) (map[string]int64, error) {
	out := map[string]int64{}
	for part := range slices.Chunk(numbers, 100) {
		args := []any{company, micros(now)}
		for _, n := range part {
			args = append(args, n.Number)
		}
		err := each(ctx, tx, func(r *sql.Rows) error {
			var number string
			var until int64
			err := r.Scan(&number, &until)
			out[number] = max(out[number], until)
			return err
		}, "SELECT number, until_us FROM number_history WHERE company = $1 AND until_us > $2 AND number IN ("+placeholders(3, len(part))+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// beginAssignment opens a row of the history with what a number now is.
func beginAssignment(ctx context.Context, tx *sql.Tx, company, e164, reason string) error {
	a := actorOf(ctx)
	_, err := tx.ExecContext(ctx, `INSERT INTO number_history (company, number, from_us, status, owner_kind, owner_id, actor_kind, actor_id, actor_name, reason, owner_name)
		SELECT n.company, n.number, n.updated_us, n.status, n.owner_kind, n.owner_id, $2, $3, $4, $5, `+ownerName("n", "owner_kind", "owner_id", "''")+`
		FROM number n WHERE n.company = $1 AND n.number = $6`, company, a.Kind, a.ID, a.Name, reason, e164)
	if err != nil {
		return fmt.Errorf("cannot write the history of the number: %w", err)
	}
	return nil
}

// endAssignment closes the open row of a number's history.
func endAssignment(ctx context.Context, tx *sql.Tx, company, e164 string, at time.Time) error {
	_, err := tx.ExecContext(ctx, "UPDATE number_history SET until_us = $1 WHERE company = $2 AND number = $3 AND until_us = 0", micros(at), company, e164)
	if err != nil {
		return fmt.Errorf("cannot write the history of the number: %w", err)
	}
	return nil
}

// following is when a change of n takes place: now, but later than the change
// before it, whose host may have had a clock that was ahead.
func following(n Number, now time.Time) time.Time {
	if next := n.Since.Add(time.Microsecond); now.Before(next) {
		return next
	}
	return now
}

// moveNumber gives n, as it is stored, to another owner. Without an id, to.Kind
// is KindPool or StatusPortPending. It keeps no rule about what the owner is
// left with. action is what the journal calls it.
func moveNumber(ctx context.Context, tx *sql.Tx, company string, n Number, to Owner, action, reason string, now time.Time) error {
	after := n
	after.Status, after.Owner = to.Kind, &to
	switch {
	case to.ID != "":
	case to.Kind == KindPool:
		after.Status, after.Owner, to = StatusAvailable, nil, Owner{}
	default:
		after.Owner, to = nil, Owner{}
	}
	at := following(n, now)
	if err := endAssignment(ctx, tx, company, n.Number, at); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE number SET status = $2, owner_kind = $3, owner_id = $4, updated_us = $5, office_id = "+officeOf("$3", "$4")+" WHERE company = $1 AND number = $6",
		company, after.Status, to.Kind, to.ID, micros(at), n.Number)
	if err != nil {
		return fmt.Errorf("cannot assign the number: %w", err)
	}
	if err := beginAssignment(ctx, tx, company, n.Number, reason); err != nil {
		return err
	}
	return record(ctx, tx, company, now, moves(n, after, action, reason)...)
}

// moves is a number's change of owner for the journal: an entry for the number,
// which is a note on the page of the user who had it, and one on the page of the
// user who has it now.
func moves(from, to Number, action, reason string) []Change {
	owner := FieldChange{Field: "owner", Old: ownerText(from), New: ownerText(to)}
	c := Change{Action: action, Kind: "number", ID: from.Number, Text: reason, Fields: []FieldChange{owner}}
	now := ""
	if to.Owner != nil && to.Owner.Kind == KindUser {
		now = to.Owner.ID
	}
	if from.Owner == nil || from.Owner.Kind != KindUser {
		c.User = now
		return []Change{c}
	}
	c.User = from.Owner.ID
	if now == "" {
		return []Change{c}
	}
	return []Change{c, {Action: action, Kind: "user", ID: now, User: now, Text: reason, Fields: []FieldChange{{Field: "number", New: from.Number}, owner}}}
}

// ownerText is who has a number, as the journal writes it.
func ownerText(n Number) string {
	if n.Owner == nil {
		return n.Status
	}
	return n.Owner.Kind + " " + n.Owner.ID
}

// releaseNumbers makes all numbers of an owner available: the owner is going.
func releaseNumbers(ctx context.Context, tx *sql.Tx, company string, owner Owner, reason string, now time.Time) error {
	var numbers []Number
	err := each(ctx, tx, func(r *sql.Rows) error {
		n, err := scanNumber(r.Scan)
		numbers = append(numbers, n)
		return err
	}, "SELECT "+numberColumns+" FROM number n WHERE n.company = $1 AND n.owner_kind = $2 AND n.owner_id = $3", company, owner.Kind, owner.ID)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if err := moveNumber(ctx, tx, company, n, Owner{Kind: KindPool}, "number.release", reason, now); err != nil {
			return err
		}
	}
	return nil
}

// removeNumber takes a number, as it is stored, from the company. Its history stays.
func removeNumber(ctx context.Context, tx *sql.Tx, company string, n Number, reason string, now time.Time) error {
	if err := endAssignment(ctx, tx, company, n.Number, following(n, now)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM number WHERE company = $1 AND number = $2", company, n.Number); err != nil {
		return fmt.Errorf("cannot remove the number: %w", err)
	}
	c := Change{Action: "number.remove", Kind: "number", ID: n.Number, Text: reason, Fields: []FieldChange{{Field: "owner", Old: ownerText(n)}}}
	if n.Owner != nil && n.Owner.Kind == KindUser {
		c.User = n.Owner.ID
	}
	return record(ctx, tx, company, now, c)
}

// moveNumbersToOffice follows an owner that has moved to another office.
func moveNumbersToOffice(ctx context.Context, tx *sql.Tx, company string, owner Owner, office string) error {
	_, err := tx.ExecContext(ctx, "UPDATE number SET office_id = $1 WHERE company = $2 AND owner_kind = $3 AND owner_id = $4 AND office_id <> $1",
		office, company, owner.Kind, owner.ID)
	if err != nil {
		return fmt.Errorf("cannot move the numbers to another office: %w", err)
	}
	return nil
}
