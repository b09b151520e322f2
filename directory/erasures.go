package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	// ErasureWatch is for how long an erasure is repeated: late outcomes and
	// captures that are imported again bring back what was erased.
	ErasureWatch = 90 * 24 * time.Hour
	// erasureEvery is how often what was erased is looked for again.
	erasureEvery = time.Hour
	// erasureSoon is the same for as long as calls that ran then may still end.
	erasureSoon  = time.Minute
	erasureFresh = 2 * time.Hour
	// erasurePoll is how soon a new erasure is begun.
	erasurePoll = 10 * time.Second
	// maxErasureReason is in bytes.
	maxErasureReason = 1000
)

// Erasure is the wish that what was measured of a user be gone.
type Erasure struct {
	Company     string
	User        string
	Reason      string
	RequestedAt time.Time // what was measured up to here is erased
	RequestedBy Actor
	DoneAt      time.Time // zero: not yet
	LookedAt    time.Time // the last time that it was looked for
	LastError   string    // of that time
	Calls       int64     // that were erased
	Snapshots   int64     // the same
}

// RequestErasure asks for a user's telemetry to be erased, and deletes the
// snapshots that name the user. Who asks again has what came since erased too.
func (d *Directory) RequestErasure(ctx context.Context, company, user, reason string) (Erasure, error) {
	reason = strings.TrimSpace(reason)
	if err := checkText("reason", reason, maxErasureReason); err != nil {
		return Erasure{}, err
	}
	now, actor := d.now().UTC().Truncate(time.Microsecond), actorOf(ctx)
	var out Erasure
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := checkUserKnown(ctx, tx, company, user); err != nil {
			return err
		}
		deleted, err := deleteSnapshotsOf(ctx, tx, company, user)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO erasure (company, user_id, reason, requested_us, actor_kind, actor_id, actor_name, snapshots)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (company, user_id) DO UPDATE SET reason = excluded.reason, requested_us = excluded.requested_us, actor_kind = excluded.actor_kind,
				actor_id = excluded.actor_id, actor_name = excluded.actor_name, snapshots = erasure.snapshots + excluded.snapshots, done_us = 0, looked_us = 0, last_error = ''`,
			company, user, reason, micros(now), actor.Kind, actor.ID, actor.Name, deleted)
		if err != nil {
			return fmt.Errorf("cannot store the erasure: %w", err)
		}
		found, err := erasures(ctx, tx, "company = $1 AND user_id = $2", company, user)
		if err != nil {
			return err
		}
		out = found[0]
		return record(ctx, tx, company, now, Change{Action: "user.erase", Kind: "user", ID: user, User: user, Text: reason})
	})
	return out, err
}

// Erasure returns that of a user.
func (d *Directory) Erasure(ctx context.Context, company, user string) (Erasure, error) {
	found, err := erasures(ctx, d.db, "company = $1 AND user_id = $2", company, user)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Erasure{}, err
	}
	return found[0], nil
}

func erasures(ctx context.Context, q querier, where string, args ...any) ([]Erasure, error) {
	var out []Erasure
	err := each(ctx, q, func(r *sql.Rows) error {
		var e Erasure
		var requested, done, looked int64
		if err := r.Scan(&e.Company, &e.User, &e.Reason, &requested, &e.RequestedBy.Kind, &e.RequestedBy.ID, &e.RequestedBy.Name, &done, &looked, &e.LastError, &e.Calls, &e.Snapshots); err != nil {
			return err
		}
		e.RequestedAt, e.DoneAt, e.LookedAt = fromMicros(requested), fromMicros(done), fromMicros(looked)
		out = append(out, e)
		return nil
	}, `SELECT company, user_id, reason, requested_us, actor_kind, actor_id, actor_name, done_us, looked_us, last_error, calls, snapshots
		FROM erasure WHERE `+where+` ORDER BY requested_us, company, user_id`, args...)
	return out, err
}

// deleteSnapshotsOf deletes all snapshots that name a user, and says how many.
func deleteSnapshotsOf(ctx context.Context, tx *sql.Tx, company, user string) (int64, error) {
	const of = "SELECT snapshot FROM snapshot_user WHERE company = $1 AND user_id = $2"
	var ids []string
	err := each(ctx, tx, func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	}, of, company, user)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := deleteSnapshot(ctx, tx, id); err != nil {
			return 0, err
		}
	}
	return int64(len(ids)), nil
}

// Erase removes what the store has of a user up to a time, and says how many
// calls that were which it had not removed before.
type Erase func(ctx context.Context, company, user string, until time.Time) (calls int64, err error)

// RunErasures carries out erasures until ctx ends. Several may do so at once:
// to erase what is gone does nothing.
func (d *Directory) RunErasures(ctx context.Context, erase Erase, log *slog.Logger) error {
	poll := time.NewTicker(erasurePoll)
	defer poll.Stop()
	for {
		if err := d.EraseDue(ctx, erase); err != nil && ctx.Err() == nil {
			log.Warn("cannot erase what was measured of a user; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
	}
}

// EraseDue carries out the erasures whose time has come, each by itself.
func (d *Directory) EraseDue(ctx context.Context, erase Erase) error {
	now := d.now()
	due, err := erasures(ctx, d.db, "(done_us = 0 OR requested_us > $1) AND (looked_us < $2 OR looked_us < $3 AND (done_us = 0 OR requested_us > $4))",
		micros(now.Add(-ErasureWatch)), micros(now.Add(-erasureEvery)), micros(now.Add(-erasureSoon)), micros(now.Add(-erasureFresh)))
	if err != nil {
		return err
	}
	var all []error
	for _, e := range due {
		calls, err := erase(ctx, e.Company, e.User, e.RequestedAt)
		if err != nil {
			all = append(all, fmt.Errorf("user %s of company %s: %w", e.User, e.Company, err))
		}
		all = append(all, d.erased(ctx, e, calls, err))
	}
	return errors.Join(all...)
}

// erased writes down what came of an attempt. Where it is the first that
// succeeded, what was frozen of the user meanwhile goes too.
func (d *Directory) erased(ctx context.Context, e Erasure, calls int64, failure error) error {
	if ctx.Err() != nil {
		return nil // stopped, and not tried
	}
	// Not by write: who is who does not change by it.
	tx, err := d.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot store what came of an erasure: %w", err)
	}
	defer tx.Rollback()
	now, done, text, snapshots := micros(d.now()), unixMicros(e.DoneAt), "", int64(0)
	switch {
	case failure != nil:
		// What it found is found again, and counted then.
		text, calls = failure.Error(), 0
	case done == 0:
		if snapshots, err = deleteSnapshotsOf(ctx, tx, e.Company, e.User); err != nil {
			return err
		}
		done = now
	}
	// Who has asked again since is to be served anew.
	_, err = tx.ExecContext(ctx, `UPDATE erasure SET done_us = $1, looked_us = $2, last_error = $3, calls = calls + $4, snapshots = snapshots + $5
		WHERE company = $6 AND user_id = $7 AND requested_us = $8`, done, now, text, calls, snapshots, e.Company, e.User, micros(e.RequestedAt))
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("cannot store what came of an erasure: %w", err)
	}
	return nil
}
