package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Actor is who changes the directory.
type Actor struct {
	Kind string // key, session, scim or system
	ID   string // of the key or session; never a secret
	Name string
	// Proxy is the proxy session that the actor works in, or empty.
	Proxy string
}

type actorKey struct{}

// WithActor says on whose behalf changes made with the context are.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// actorOf is who acts; the program itself where no one was named.
func actorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: "system", ID: "earshot", Name: "Earshot"}
}

// orUnchanged is errUnchanged where the transaction has recorded nothing: what
// was asked for is so already, and those who follow changes need not look.
func orUnchanged(ctx context.Context, tx *sql.Tx) error {
	recorded, err := exists(ctx, tx, "SELECT 1 FROM journal j JOIN directory_version v ON j.n = v.n LIMIT 1")
	if err == nil && !recorded {
		err = errUnchanged
	}
	return err
}

// FieldChange is one member of a record, before and after.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// Change is one entry of the journal.
type Change struct {
	Action string // kind.verb, such as number.transfer
	Kind   string // of the subject: user, number, device, …
	ID     string
	User   string // on whose page it is a note; empty: no one's
	Text   string // a note in someone's words, or the reason given
	Fields []FieldChange
}

// record writes changes to the journal, inside the transaction that makes them.
// Every change of the directory is recorded: who follows the journal misses none.
func record(ctx context.Context, tx *sql.Tx, company string, now time.Time, changes ...Change) error {
	if len(changes) == 0 {
		return nil
	}
	var n, i int64
	err := tx.QueryRowContext(ctx, "SELECT n, (SELECT COALESCE(MAX(j.i) + 1, 0) FROM journal j WHERE j.n = v.n) FROM directory_version v").Scan(&n, &i)
	if err != nil {
		return fmt.Errorf("cannot read the directory's version: %w", err)
	}
	a := actorOf(ctx)
	rows := make([][]any, len(changes))
	for k, c := range changes {
		fields := ""
		if len(c.Fields) > 0 {
			b, err := json.Marshal(c.Fields)
			if err != nil {
				return fmt.Errorf("cannot write down a change: %w", err)
			}
			fields = string(b)
		}
		rows[k] = []any{n, i + int64(k), micros(now), a.Kind, a.ID, a.Name, a.Proxy, c.Action, c.Kind, c.ID, c.User, c.Text, fields}
	}
	const into = "journal (company, n, i, at_us, actor_kind, actor_id, actor_name, proxy_session, action, subject_kind, subject_id, user_id, text, fields)"
	if err := insertRows(ctx, tx, company, into, rows); err != nil {
		return fmt.Errorf("cannot write down a change: %w", err)
	}
	return nil
}

// Entry is a change as the journal has it.
type Entry struct {
	ID      string // of the entry
	At      time.Time
	Actor   Actor
	Change  Change
	Count   int       // of a read: how often within a few minutes; else 1
	Through time.Time // of a read: the last of them; else At
}

// Kinds of notes.
const (
	NoteWritten = "note"   // in someone's words
	NoteChange  = "change" // of a record
	NoteProxy   = "proxy"  // of a record, by someone who acted for the user
)

// JournalFilter narrows a list of entries; empty fields do not.
type JournalFilter struct {
	Actor  string // id or name of who did it
	Action string
	Kind   string // of the subject
	ID     string // of the subject
	User   string // on whose page it is a note
	Note   string // NoteWritten, NoteChange or NoteProxy
	From   time.Time
	To     time.Time // not included
	Page
}

// conditions is what an SQL statement asks for, and its arguments.
type conditions struct {
	where []string
	args  []any
}

// and adds a condition; each ? in it is the next of the values.
func (c *conditions) and(condition string, values ...any) {
	for _, v := range values {
		c.args = append(c.args, v)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(c.args)), 1)
	}
	c.where = append(c.where, condition)
}

func (c *conditions) String() string { return strings.Join(c.where, " AND ") }

// journalRow is an entry with its place in the order of the list.
type journalRow struct {
	Entry
	atUs, n, i int64
}

// Journal lists the entries of a company, the newest first. The company "" is
// what belongs to none, such as the keys of operators.
func (d *Directory) Journal(ctx context.Context, company string, f JournalFilter) ([]Entry, string, error) {
	c, err := f.conditions(ctx, d.db, company)
	if err != nil {
		return nil, "", err
	}
	if f.Cursor != "" {
		key, err := decodeTimes(f.Cursor, 3)
		if err != nil {
			return nil, "", err
		}
		c.and("(at_us, n, i) < (?, ?, ?)", key[0], key[1], key[2])
	}
	rows, err := journal(ctx, d.db, c, f.limit()+1)
	if err != nil {
		return nil, "", err
	}
	rows, next := cut(rows, f.limit(), journalRow.key)
	out := make([]Entry, len(rows))
	for i, r := range rows {
		out[i] = r.Entry
	}
	return out, next, nil
}

func (r journalRow) key() []string {
	return []string{strconv.FormatInt(r.atUs, 10), strconv.FormatInt(r.n, 10), strconv.FormatInt(r.i, 10)}
}

// decodeTimes reads a cursor that is made of n whole numbers.
func decodeTimes(cursor string, n int) ([]int64, error) {
	key, err := decodeCursor(cursor, n)
	if err != nil {
		return nil, err
	}
	out := make([]int64, n)
	for i, s := range key {
		if out[i], err = wholeNumber(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// wholeNumber reads a part of a cursor.
func wholeNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalid("cursor", "is not one that a list gave")
	}
	return n, nil
}

func (f JournalFilter) conditions(ctx context.Context, q querier, company string) (*conditions, error) {
	c := &conditions{}
	c.and("company = ?", company)
	if err := c.andActor(ctx, q, "journal", company, f.Actor); err != nil {
		return nil, err
	}
	if f.Action != "" {
		c.and("action = ?", f.Action)
	}
	switch {
	case f.Kind == KindUser && f.ID != "":
		// What is done to a user stands on that user's page: imports are many users,
		// and one index for both is enough.
		c.and("user_id = ? AND user_id <> '' AND subject_kind = 'user' AND subject_id = user_id", f.ID)
	case f.Kind != "":
		c.and("subject_kind = ?", f.Kind)
		if f.Kind != KindUser {
			c.and("subject_kind <> 'user'")
		}
		if f.ID != "" {
			c.and("subject_id = ?", f.ID)
		}
	case f.ID != "":
		c.and("subject_id = ?", f.ID)
	}
	if f.User != "" {
		c.and("user_id = ? AND user_id <> ''", f.User)
	}
	switch f.Note {
	case NoteWritten:
		c.and("action = 'user.note'")
	case NoteProxy:
		c.and("proxy_session <> ''")
	case NoteChange:
		c.and("action <> 'user.note' AND proxy_session = ''")
	}
	if !f.From.IsZero() {
		c.and("at_us >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		c.and("at_us < ?", micros(f.To))
	}
	return c, nil
}

// andActor asks for what one actor did, named by id or else by name. Asked for
// either at once, neither engine would read by an index in the order of time.
func (c *conditions) andActor(ctx context.Context, q querier, table, company, actor string) error {
	if actor == "" {
		return nil
	}
	isID, err := exists(ctx, q, "SELECT 1 FROM "+table+" WHERE company = $1 AND actor_id = $2 LIMIT 1", company, actor)
	if err != nil {
		return err
	}
	if isID {
		c.and("actor_id = ?", actor)
	} else {
		c.and("actor_name = ?", actor)
	}
	return nil
}

// journal reads at most limit entries, the newest first.
func journal(ctx context.Context, q querier, c *conditions, limit int) ([]journalRow, error) {
	var out []journalRow
	err := each(ctx, q, func(r *sql.Rows) error {
		var e journalRow
		var fields string
		err := r.Scan(&e.n, &e.i, &e.atUs, &e.Actor.Kind, &e.Actor.ID, &e.Actor.Name, &e.Actor.Proxy,
			&e.Change.Action, &e.Change.Kind, &e.Change.ID, &e.Change.User, &e.Change.Text, &fields)
		if err != nil {
			return err
		}
		e.ID, e.At, e.Count = fmt.Sprintf("%d-%d", e.n, e.i), fromMicros(e.atUs), 1
		e.Through = e.At
		if e.Change.Fields, err = fieldsOf(fields); err != nil {
			return err
		}
		out = append(out, e)
		return nil
	}, fmt.Sprintf(`SELECT n, i, at_us, actor_kind, actor_id, actor_name, proxy_session, action, subject_kind, subject_id, user_id, text, fields
		FROM journal WHERE %s ORDER BY at_us DESC, n DESC, i DESC LIMIT %d`, c, limit), c.args...)
	return out, err
}

// fieldsOf reads the fields of a change as the journal has them.
func fieldsOf(text string) (fields []FieldChange, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, fmt.Errorf("cannot read the fields of a change: %w", err)
	}
	return fields, nil
}
