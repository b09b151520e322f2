package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// MaxSnapshots is how many a company may have.
	MaxSnapshots = 100_000
	// MaxSnapshotBytes is the most that one takes, compressed.
	MaxSnapshotBytes = 16 << 20
	// MaxSnapshotNoteBytes is the longest note of a snapshot.
	MaxSnapshotNoteBytes = 2_000
	// maxFrozenBytes is the most that one may hold, before it is compressed.
	maxFrozenBytes = 128 << 20
)

// Snapshot is a call as it was at a moment. It stays when the store has
// forgotten the call.
type Snapshot struct {
	ID        string // the link to it: who has it must still be signed in
	Company   string
	CallID    string
	Note      string // a ticket's id, or a reason; may be empty
	CreatedAt time.Time
	CreatedBy Actor
	Bytes     int64 // that it takes
}

// Frozen is what a snapshot is made of.
type Frozen struct {
	CallID string
	Note   string
	Users  []string // ids of those who are named in it
	// Digest is the same for a call that has not changed since.
	Digest string
	// Content gives what is kept, knowing the id under which it will be.
	Content func(id string) ([]byte, error)
}

// CreateSnapshot keeps a call as it is. Where the same was kept before, that is
// the answer, with the note added to its own, and created is false.
func (d *Directory) CreateSnapshot(ctx context.Context, company string, f Frozen) (s Snapshot, created bool, err error) {
	note := strings.TrimSpace(f.Note)
	if note != "" {
		if err := checkText("note", note, MaxSnapshotNoteBytes); err != nil {
			return Snapshot{}, false, err
		}
	}
	now, actor := d.now().UTC().Truncate(time.Microsecond), actorOf(ctx)
	s = Snapshot{ID: rand.Text(), Company: company, CallID: f.CallID, Note: note, CreatedAt: now, CreatedBy: Actor{Kind: actor.Kind, ID: actor.ID, Name: actor.Name}}
	content, err := f.Content(s.ID)
	if err != nil {
		return Snapshot{}, false, err
	}
	if len(content) > maxFrozenBytes {
		return Snapshot{}, false, invalid("call", "is too big for a snapshot")
	}
	packed := pack.EncodeAll(content, nil)
	if len(packed) > MaxSnapshotBytes {
		return Snapshot{}, false, invalid("call", "is too big for a snapshot")
	}
	s.Bytes = int64(len(packed))
	err = d.write(ctx, func(tx *sql.Tx) error {
		created = false
		switch before, err := snapshots(ctx, tx, "company = $1 AND call_id = $2 AND digest = $3", company, f.CallID, f.Digest); {
		case err != nil:
			return err
		case len(before) > 0:
			s = before[0]
			return addSnapshotNote(ctx, tx, &s, note, now)
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM snapshot WHERE company = $1", company).Scan(&n); err != nil {
			return fmt.Errorf("cannot count snapshots: %w", err)
		}
		if n >= MaxSnapshots {
			return conflict("company", fmt.Sprintf("has %d snapshots already", n))
		}
		if err := insertSnapshot(ctx, tx, s, f, packed); err != nil {
			return err
		}
		created = true
		return record(ctx, tx, company, now, s.change("snapshot.create"))
	})
	if err != nil {
		return Snapshot{}, false, err
	}
	return s, created, nil
}

func insertSnapshot(ctx context.Context, tx *sql.Tx, s Snapshot, f Frozen, packed []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO snapshot (id, company, call_id, digest, note, created_us, actor_kind, actor_id, actor_name, bytes, content)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		s.ID, s.Company, s.CallID, f.Digest, s.Note, micros(s.CreatedAt), s.CreatedBy.Kind, s.CreatedBy.ID, s.CreatedBy.Name, s.Bytes, packed)
	if err != nil {
		return fmt.Errorf("cannot store the snapshot: %w", err)
	}
	users := slices.DeleteFunc(slices.Clone(f.Users), func(u string) bool { return u == "" })
	slices.Sort(users)
	var rows [][]any
	for _, u := range slices.Compact(users) {
		rows = append(rows, []any{u, s.ID})
	}
	return insertRows(ctx, tx, s.Company, "snapshot_user (company, user_id, snapshot)", rows)
}

// addSnapshotNote adds a line to the note of a snapshot, unless it says so already.
func addSnapshotNote(ctx context.Context, tx *sql.Tx, s *Snapshot, note string, now time.Time) error {
	if note == "" || slices.Contains(strings.Split(s.Note, "\n"), note) {
		return errUnchanged
	}
	old := s.Note
	s.Note = strings.TrimPrefix(old+"\n"+note, "\n")
	if len(s.Note) > MaxSnapshotNoteBytes {
		return invalid("note", "is too long with what the snapshot of this call says already")
	}
	if _, err := tx.ExecContext(ctx, "UPDATE snapshot SET note = $1 WHERE id = $2", s.Note, s.ID); err != nil {
		return fmt.Errorf("cannot change the note of a snapshot: %w", err)
	}
	return record(ctx, tx, s.Company, now, s.change("snapshot.change", FieldChange{"note", old, s.Note}))
}

func (s Snapshot) change(action string, fields ...FieldChange) Change {
	c := Change{Action: action, Kind: "snapshot", ID: s.ID, Fields: fields}
	switch action {
	case "snapshot.create":
		c.Text, c.Fields = s.Note, []FieldChange{{"call", "", s.CallID}}
	case "snapshot.delete":
		c.Text, c.Fields = s.Note, []FieldChange{{"call", s.CallID, ""}}
	}
	return c
}

// pack is of snapshots: they are read rarely and kept for years.
var pack = func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic("directory: options of zstd: " + err.Error()) // they are constants
	}
	return e
}()

var unpack = func() *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxFrozenBytes))
	if err != nil {
		panic("directory: options of zstd: " + err.Error())
	}
	return r
}()

const snapshotColumns = "id, company, call_id, note, created_us, actor_kind, actor_id, actor_name, bytes"

// row is where a row of snapshotColumns is read into.
func (s *Snapshot) row(createdUs *int64) []any {
	return []any{&s.ID, &s.Company, &s.CallID, &s.Note, createdUs, &s.CreatedBy.Kind, &s.CreatedBy.ID, &s.CreatedBy.Name, &s.Bytes}
}

func snapshots(ctx context.Context, q querier, where string, args ...any) ([]Snapshot, error) {
	var out []Snapshot
	err := each(ctx, q, func(r *sql.Rows) error {
		var s Snapshot
		var created int64
		if err := r.Scan(s.row(&created)...); err != nil {
			return err
		}
		s.CreatedAt = fromMicros(created)
		out = append(out, s)
		return nil
	}, "SELECT "+snapshotColumns+" FROM snapshot WHERE "+where, args...)
	return out, err
}

// SnapshotFilter narrows a list of snapshots; empty fields do not.
type SnapshotFilter struct {
	Call string // id
	User string // id of one who is named in it
	Page
}

// Snapshots lists those of a company, the newest first.
func (d *Directory) Snapshots(ctx context.Context, company string, f SnapshotFilter) ([]Snapshot, string, error) {
	c := &conditions{}
	c.and("company = ?", company)
	if f.Call != "" {
		c.and("call_id = ?", f.Call)
	}
	if f.User != "" {
		c.and("id IN (SELECT snapshot FROM snapshot_user WHERE company = ? AND user_id = ?)", company, f.User)
	}
	if f.Cursor != "" {
		key, err := decodeCursor(f.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		created, err := wholeNumber(key[0])
		if err != nil {
			return nil, "", err
		}
		c.and("(created_us, id) < (?, ?)", created, key[1])
	}
	out, err := snapshots(ctx, d.db, fmt.Sprintf("%s ORDER BY created_us DESC, id DESC LIMIT %d", c, f.limit()+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, f.limit(), func(s Snapshot) []string { return []string{fmt.Sprint(micros(s.CreatedAt)), s.ID} })
	return out, next, nil
}

// Snapshot returns one by its id, of whichever company, with what was frozen.
// It is the caller who has to ask whether the company may be seen.
func (d *Directory) Snapshot(ctx context.Context, id string) (Snapshot, []byte, error) {
	var s Snapshot
	var created int64
	var packed []byte
	err := d.db.QueryRowContext(ctx, "SELECT "+snapshotColumns+", content FROM snapshot WHERE id = $1", id).Scan(append(s.row(&created), &packed)...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Snapshot{}, nil, ErrNotFound
	case err != nil:
		return Snapshot{}, nil, fmt.Errorf("cannot read the snapshot: %w", err)
	}
	s.CreatedAt = fromMicros(created)
	content, err := unpack.DecodeAll(packed, nil)
	if err != nil {
		return Snapshot{}, nil, fmt.Errorf("cannot unpack a snapshot: %w", err)
	}
	return s, content, nil
}

// DeleteSnapshot forgets one.
func (d *Directory) DeleteSnapshot(ctx context.Context, company, id string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		found, err := snapshots(ctx, tx, "company = $1 AND id = $2", company, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return ErrNotFound
		}
		if err := deleteSnapshot(ctx, tx, id); err != nil {
			return err
		}
		return record(ctx, tx, company, d.now(), found[0].change("snapshot.delete"))
	})
}

func deleteSnapshot(ctx context.Context, tx *sql.Tx, id string) error {
	for _, statement := range []string{"DELETE FROM snapshot_user WHERE snapshot = $1", "DELETE FROM snapshot WHERE id = $1"} {
		if _, err := tx.ExecContext(ctx, statement, id); err != nil {
			return fmt.Errorf("cannot delete the snapshot: %w", err)
		}
	}
	return nil
}
