package directory

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// accessWindow is for how long reads of one object by one caller are one
	// entry: the portal asks every other second.
	accessWindow = 5 * time.Minute
	// accessFlush is how old an entry may be that is not yet stored.
	accessFlush = 2 * time.Second
	// maxAccesses bounds what waits in memory, about 300 bytes each.
	maxAccesses = 20_000
	// auditSweep is how often entries that are too old are looked for.
	auditSweep = time.Hour
)

// ActionRead is the action of entries that tell who has read something.
const ActionRead = "read"

// Access is something that was read.
type Access struct {
	Actor   Actor
	Company string
	Kind    string // of the subject: call, user, number, export, …
	ID      string // of the subject
	What    string // which part of it, such as samples; empty: itself
}

// access is an entry of the log that may still grow.
type access struct {
	id          string
	first, last time.Time
	reads       int64
	dirty       bool // not stored as it is now
}

// accessKey is what makes reads one entry.
type accessKey struct {
	Access
	window int64
}

// AccessLog takes down who has read what, in the background: a read never waits
// for it and never fails with it. What it cannot keep it counts.
type AccessLog struct {
	directory *Directory
	retention time.Duration
	log       *slog.Logger
	now       func() time.Time
	dropped   prometheus.Counter
	stored    prometheus.Counter

	mu      sync.Mutex
	entries map[accessKey]*access
}

// NewAccessLog makes the log of a directory. Metrics may be nil.
func (d *Directory) NewAccessLog(retention time.Duration, metrics prometheus.Registerer, log *slog.Logger) (*AccessLog, error) {
	l := &AccessLog{
		directory: d, retention: retention, log: log, now: d.now, entries: map[accessKey]*access{},
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "earshot_audit_reads_dropped_total", Help: "Reads that are not in the audit log because the directory did not take them in time.",
		}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "earshot_audit_reads_stored_total", Help: "Entries of reads that were written to the audit log, each time they grew.",
		}),
	}
	if metrics != nil {
		for _, c := range []prometheus.Collector{l.dropped, l.stored} {
			if err := metrics.Register(c); err != nil {
				return nil, fmt.Errorf("cannot count what the audit log drops: %w", err)
			}
		}
	}
	return l, nil
}

// Read takes down that something was read. It only touches memory.
func (l *AccessLog) Read(a Access) {
	// Whom one acts for is in the journal; what is read is read as oneself.
	a.Actor.Proxy = ""
	now := l.now()
	key := accessKey{a, now.UnixNano() / int64(accessWindow)}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		if len(l.entries) >= maxAccesses {
			l.dropped.Inc()
			return
		}
		e = &access{id: newID(), first: now}
		l.entries[key] = e
	}
	e.last, e.dirty = now, true
	e.reads++
}

// Run stores what was read until ctx ends, and forgets what is older than the
// retention.
func (l *AccessLog) Run(ctx context.Context) error {
	flush, sweep := time.NewTicker(accessFlush), time.NewTicker(auditSweep)
	defer flush.Stop()
	defer sweep.Stop()
	failing := false
	say := func(err error) {
		if err != nil && !failing && ctx.Err() == nil {
			l.log.Warn("cannot write the audit log; reads wait in memory for as long as there is room", "error", err)
		}
		failing = err != nil
	}
	say(l.Sweep(ctx))
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := l.Flush(last); err != nil {
				l.log.Warn("the audit log lacks the last reads", "error", err)
			}
			return nil
		case <-flush.C:
			say(l.Flush(ctx))
		case <-sweep.C:
			say(l.Sweep(ctx))
		}
	}
}

// Flush stores what was read up to now. Where that fails, it is kept for the
// next time.
func (l *AccessLog) Flush(ctx context.Context) error {
	keys, entries := l.take()
	for len(keys) > 0 {
		n := min(len(keys), 20) // SQLite takes time for the square of what a statement is given
		if err := l.directory.storeAccesses(ctx, keys[:n], entries[:n]); err != nil {
			l.mu.Lock()
			for _, k := range keys {
				if e := l.entries[k]; e != nil {
					e.dirty = true
				}
			}
			l.mu.Unlock()
			return err
		}
		l.stored.Add(float64(n))
		keys, entries = keys[n:], entries[n:]
	}
	return nil
}

// take copies what is to be stored and forgets what was and cannot grow any more.
func (l *AccessLog) take() (keys []accessKey, entries []access) {
	window := l.now().UnixNano() / int64(accessWindow)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.entries {
		switch {
		case e.dirty:
			keys, entries = append(keys, k), append(entries, *e)
			e.dirty = false
		case k.window < window:
			delete(l.entries, k)
		}
	}
	return keys, entries
}

// storeAccesses writes entries, over those of them that are there already. It
// does not go through write: nothing that others follow has changed.
func (d *Directory) storeAccesses(ctx context.Context, keys []accessKey, entries []access) error {
	var query strings.Builder
	query.WriteString("INSERT INTO access_log (id, company, first_us, last_us, reads, actor_kind, actor_id, actor_name, subject_kind, subject_id, what) VALUES ")
	var args []any
	for i, e := range entries {
		if i > 0 {
			query.WriteByte(',')
		}
		query.WriteString("(" + placeholders(len(args)+1, 11) + ")")
		k := keys[i]
		args = append(args, e.id, k.Company, micros(e.first), micros(e.last), e.reads, k.Actor.Kind, k.Actor.ID, k.Actor.Name, k.Kind, storable(k.ID), k.What)
	}
	query.WriteString(" ON CONFLICT (id) DO UPDATE SET last_us = excluded.last_us, reads = excluded.reads")
	if _, err := d.writes.ExecContext(ctx, query.String(), args...); err != nil {
		return fmt.Errorf("cannot store who has read what: %w", err)
	}
	return nil
}

// storable makes a text of what came in a path: PostgreSQL takes neither broken
// UTF-8 nor NUL, and one such read must not keep the others from being stored.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Sweep forgets reads that are older than the retention, a few thousand at a
// time so that no one waits for it. A retention of 0 keeps them for ever.
func (l *AccessLog) Sweep(ctx context.Context) error {
	if l.retention <= 0 {
		return nil
	}
	before := micros(l.now().Add(-l.retention))
	for {
		r, err := l.directory.writes.ExecContext(ctx, "DELETE FROM access_log WHERE id IN (SELECT id FROM access_log WHERE first_us < $1 ORDER BY first_us LIMIT 5000)", before)
		if err != nil {
			return fmt.Errorf("cannot forget old reads: %w", err)
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
	}
}

// auditRow is an entry of the journal or of the access log, with its place in
// the order of both.
type auditRow struct {
	journalRow
	read string // id of an entry of the access log; empty: of the journal
}

// Audit lists what was changed and what was read, the newest first. Of entries
// of the same microsecond, changes come before reads. The filter's action
// "read" leaves the changes out, any other the reads.
func (d *Directory) Audit(ctx context.Context, company string, f JournalFilter) ([]Entry, string, error) {
	after, err := decodeAudit(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var rows []auditRow
	if f.Action != ActionRead {
		c, err := f.conditions(ctx, d.db, company)
		if err != nil {
			return nil, "", err
		}
		switch {
		case after == nil:
		case after.read == "":
			c.and("(at_us, n, i) < (?, ?, ?)", after.atUs, after.n, after.i)
		default:
			c.and("at_us < ?", after.atUs)
		}
		found, err := journal(ctx, d.db, c, f.limit()+1)
		if err != nil {
			return nil, "", err
		}
		for _, r := range found {
			rows = append(rows, auditRow{journalRow: r})
		}
	}
	if f.Action == "" || f.Action == ActionRead {
		found, err := d.accesses(ctx, company, f, after)
		if err != nil {
			return nil, "", err
		}
		rows = append(rows, found...)
	}
	// Each of the two is in order already and a change is never equal to a read.
	slices.SortStableFunc(rows, func(a, b auditRow) int {
		return cmp.Or(cmp.Compare(b.atUs, a.atUs), cmp.Compare(flagOf(a.read != ""), flagOf(b.read != "")))
	})
	rows, next := cut(rows, f.limit(), auditRow.key)
	out := make([]Entry, len(rows))
	for i, r := range rows {
		out[i] = r.Entry
	}
	return out, next, nil
}

func (r auditRow) key() []string { return append(r.journalRow.key(), r.read) }

func decodeAudit(cursor string) (*auditRow, error) {
	if cursor == "" {
		return nil, nil
	}
	key, err := decodeCursor(cursor, 4)
	if err != nil {
		return nil, err
	}
	r := &auditRow{read: key[3]}
	for i, to := range []*int64{&r.atUs, &r.n, &r.i} {
		if *to, err = wholeNumber(key[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// accesses reads the entries of reads that a filter asks for, the newest first.
func (d *Directory) accesses(ctx context.Context, company string, f JournalFilter, after *auditRow) ([]auditRow, error) {
	c := &conditions{}
	c.and("company = ?", company)
	if err := c.andActor(ctx, d.db, "access_log", company, f.Actor); err != nil {
		return nil, err
	}
	if f.Kind != "" {
		c.and("subject_kind = ?", f.Kind)
	}
	if f.ID != "" {
		c.and("subject_id = ?", f.ID)
	}
	if !f.From.IsZero() {
		c.and("first_us >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		c.and("first_us < ?", micros(f.To))
	}
	switch {
	case after == nil:
	case after.read == "":
		c.and("first_us <= ?", after.atUs)
	default:
		c.and("(first_us, id) < (?, ?)", after.atUs, after.read)
	}
	var out []auditRow
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var e auditRow
		var last int64
		if err := r.Scan(&e.read, &e.atUs, &last, &e.Count, &e.Actor.Kind, &e.Actor.ID, &e.Actor.Name, &e.Change.Kind, &e.Change.ID, &e.Change.Text); err != nil {
			return err
		}
		e.ID, e.At, e.Through, e.Change.Action = e.read, fromMicros(e.atUs), fromMicros(last), ActionRead
		out = append(out, e)
		return nil
	}, fmt.Sprintf(`SELECT id, first_us, last_us, reads, actor_kind, actor_id, actor_name, subject_kind, subject_id, what
		FROM access_log WHERE %s ORDER BY first_us DESC, id DESC LIMIT %d`, c, f.limit()+1), c.args...)
	return out, err
}
