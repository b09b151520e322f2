package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// States of a delivery.
const (
	DeliveryPending   = "pending"
	DeliveryDelivered = "delivered"
	DeliveryDead      = "dead" // given up; it can be sent again by hand
)

// never is the time of what waits for something else than time.
const never = math.MaxInt64

// keptAttempts is how many attempts a delivery shows; the first ones give way.
const keptAttempts = 20

var (
	// ErrPositionMoved says that somebody else has taken these events.
	ErrPositionMoved = errors.New("the position was moved by another process")
	// ErrNotSending says that another process has begun to send.
	ErrNotSending = errors.New("another process sends webhooks now")
)

// Delivery is one event on its way to one subscriber.
type Delivery struct {
	Subscription string
	Seq          int64 // its order among those of the subscription
	EventID      string
	Type         string
	Call         string // deliveries of one call keep their order; empty: of none
	Body         string // what is sent, JSON; empty in lists
	State        string
	NextAttempt  time.Time // of a pending one; zero while an earlier one of its call is pending
	AttemptCount int64
	Attempts     []Attempt // the last 20, the oldest first
	CreatedAt    time.Time
	DeliveredAt  time.Time

	// Tries are the attempts since it became pending, FirstTry the time of the first.
	Tries    int64
	FirstTry time.Time
}

// Attempt is one request that was made, or could not be made.
type Attempt struct {
	AtMicros int64  `json:"at_us"`
	Status   int    `json:"status"` // of HTTP; 0: there was no answer
	Error    string `json:"error"`  // empty: it was delivered
	TookMS   int64  `json:"took_ms"`
}

// queue runs a change of deliveries in a transaction. It is apart from write on
// purpose. A write takes its turn among all changes of the directory and moves
// directory_version, which makes every ingester reload who is who; deliveries
// change a thousand times as often and are nobody's identity. They take turns
// by subscription only, on the rows of webhook_endpoint.
func (d *Directory) queue(ctx context.Context, change func(tx *sql.Tx) error) error {
	tx, err := d.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot begin a change of deliveries: %w", err)
	}
	defer tx.Rollback()
	if err := change(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("cannot store a change of deliveries: %w", err)
	}
	return nil
}

// Move is a step of a source of events: what lies from From to before To is taken.
type Move struct {
	Source string // a topic, or the journal
	Part   int64
	From   int64 // as Positions gave it; -1: it was not there
	To     int64
}

// Positions says how far the parts of a source were taken.
func (d *Directory) Positions(ctx context.Context, source string) (map[int64]int64, error) {
	out := map[int64]int64{}
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var part, next int64
		if err := r.Scan(&part, &next); err != nil {
			return err
		}
		out[part] = next
		return nil
	}, "SELECT part, next FROM webhook_position WHERE source = $1", source)
	return out, err
}

// QueueDeliveries stores deliveries together with how far their source was
// taken, so that each event is taken once, whatever is killed. An event that a
// subscription has or had in the time that deliveries are kept is left out.
// Of a delivery Subscription, EventID, Type, Call and Body count. Where somebody
// else has moved one of the sources, nothing is stored: ErrPositionMoved.
func (d *Directory) QueueDeliveries(ctx context.Context, moves []Move, deliveries []Delivery) (stored int, err error) {
	bySubscription := map[string][]Delivery{}
	for _, del := range deliveries {
		bySubscription[del.Subscription] = append(bySubscription[del.Subscription], del)
	}
	// All take rows in one order, so that none waits for another in a circle.
	slices.SortFunc(moves, func(a, b Move) int {
		return strings.Compare(a.Source+fmt.Sprintf("/%020d", a.Part), b.Source+fmt.Sprintf("/%020d", b.Part))
	})
	err = d.queue(ctx, func(tx *sql.Tx) error {
		stored = 0
		for _, m := range moves {
			if err := m.apply(ctx, tx); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(bySubscription)) {
			n, err := queueFor(ctx, tx, id, bySubscription[id], d.now())
			if err != nil {
				return err
			}
			stored += n
		}
		return nil
	})
	return stored, err
}

func (m Move) apply(ctx context.Context, tx *sql.Tx) error {
	var result sql.Result
	var err error
	if m.From < 0 {
		result, err = tx.ExecContext(ctx, "INSERT INTO webhook_position (source, part, next) VALUES ($1, $2, $3) ON CONFLICT (source, part) DO NOTHING", m.Source, m.Part, m.To)
	} else {
		result, err = tx.ExecContext(ctx, "UPDATE webhook_position SET next = $1 WHERE source = $2 AND part = $3 AND next = $4", m.To, m.Source, m.Part, m.From)
	}
	if err != nil {
		return fmt.Errorf("cannot store how far events were taken: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrPositionMoved, err)
	}
	return nil
}

// lockEndpoint makes the deliveries of a subscription this transaction's, and
// gives the last seq; false where the subscription is gone.
func lockEndpoint(ctx context.Context, tx *sql.Tx, id string) (last int64, ok bool, err error) {
	err = tx.QueryRowContext(ctx, "UPDATE webhook_endpoint SET last_seq = last_seq WHERE subscription = $1 RETURNING last_seq", id).Scan(&last)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("cannot take a turn with deliveries: %w", err)
	}
	return last, true, nil
}

func queueFor(ctx context.Context, tx *sql.Tx, id string, deliveries []Delivery, now time.Time) (stored int, err error) {
	last, ok, err := lockEndpoint(ctx, tx, id)
	if err != nil || !ok {
		return 0, err
	}
	deliveries, err = newAmong(ctx, tx, id, deliveries, now)
	if err != nil {
		return 0, err
	}
	// SQLite's time for a statement grows with the square of its parameters.
	const atOnce = 20
	for ; len(deliveries) > 0; deliveries = deliveries[min(atOnce, len(deliveries)):] {
		args, values := []any{id, micros(now)}, make([]string, 0, atOnce)
		for _, del := range deliveries[:min(atOnce, len(deliveries))] {
			last++
			stored++
			next := int64(never)
			if !del.NextAttempt.IsZero() {
				next = micros(del.NextAttempt)
			}
			values = append(values, fmt.Sprintf("($1, %s, 'pending', $2)", placeholders(len(args)+1, 6)))
			args = append(args, last, del.EventID, del.Type, del.Call, del.Body, next)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO webhook_delivery (subscription, seq, event_id, type, call_id, body, next_us, state, created_us) VALUES "+strings.Join(values, ", "), args...); err != nil {
			return 0, fmt.Errorf("cannot store deliveries: %w", err)
		}
	}
	if stored == 0 {
		return 0, nil
	}
	_, err = tx.ExecContext(ctx, "UPDATE webhook_endpoint SET last_seq = $1, pending = pending + $2, due_us = CASE WHEN due_us > $3 THEN $3 ELSE due_us END WHERE subscription = $4", last, stored, micros(now), id)
	if err != nil {
		return 0, fmt.Errorf("cannot store deliveries: %w", err)
	}
	return stored, nil
}

// newAmong leaves out the events that the subscription has, and sets the next
// attempt of those that no earlier event of their call is pending for.
//
// It asks for one at a time: PostgreSQL would plan a question for many by a scan
// while the table is small, and keep to that plan when it is not any more.
func newAmong(ctx context.Context, tx *sql.Tx, id string, deliveries []Delivery, now time.Time) ([]Delivery, error) {
	asks := func(query string) (func(string) (bool, error), func() error, error) {
		stmt, err := tx.PrepareContext(ctx, query)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read deliveries: %w", err)
		}
		known := map[string]bool{}
		return func(value string) (bool, error) {
			if known[value] {
				return true, nil
			}
			known[value] = true
			var one int
			switch err := stmt.QueryRowContext(ctx, id, value).Scan(&one); {
			case errors.Is(err, sql.ErrNoRows):
				return false, nil
			case err != nil:
				return false, fmt.Errorf("cannot read deliveries: %w", err)
			}
			return true, nil
		}, stmt.Close, nil
	}
	has, done, err := asks("SELECT 1 FROM webhook_delivery WHERE subscription = $1 AND event_id = $2")
	if err != nil {
		return nil, err
	}
	defer done()
	waits, done, err := asks("SELECT 1 FROM webhook_delivery WHERE subscription = $1 AND call_id = $2 AND state = 'pending' LIMIT 1")
	if err != nil {
		return nil, err
	}
	defer done()
	var out []Delivery
	for _, del := range deliveries {
		known, err := has(del.EventID)
		if err != nil {
			return nil, err
		}
		if known {
			continue
		}
		waiting := false
		if del.Call != "" {
			if waiting, err = waits(del.Call); err != nil {
				return nil, err
			}
		}
		del.NextAttempt = time.Time{}
		if !waiting {
			del.NextAttempt = now
		}
		out = append(out, del)
	}
	return out, nil
}

// StartSending makes owner the one process that sends, for the time ttl, or for
// longer where it is already. It tells whether it is.
func (d *Directory) StartSending(ctx context.Context, owner string, ttl time.Duration) (bool, error) {
	now := d.now()
	result, err := d.writes.ExecContext(ctx, "UPDATE webhook_lease SET owner = $1, until_us = $2 WHERE owner = $1 OR until_us < $3", owner, micros(now.Add(ttl)), micros(now))
	if err != nil {
		return false, fmt.Errorf("cannot ask who sends webhooks: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("cannot ask who sends webhooks: %w", err)
	}
	return n == 1, nil
}

// StopSending lets another process begin at once.
func (d *Directory) StopSending(ctx context.Context, owner string) error {
	if _, err := d.writes.ExecContext(ctx, "UPDATE webhook_lease SET owner = '', until_us = 0 WHERE owner = $1", owner); err != nil {
		return fmt.Errorf("cannot leave sending to others: %w", err)
	}
	return nil
}

// DueEndpoint is a subscription that something is to be sent to.
type DueEndpoint struct {
	Subscription string
	Failures     int64 // one after the other
}

// DueEndpoints are the subscriptions that something is to be sent to now, those
// that wait longest first.
func (d *Directory) DueEndpoints(ctx context.Context, limit int) ([]DueEndpoint, error) {
	var out []DueEndpoint
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var e DueEndpoint
		if err := r.Scan(&e.Subscription, &e.Failures); err != nil {
			return err
		}
		out = append(out, e)
		return nil
	}, `SELECT e.subscription, e.failures FROM webhook_endpoint e JOIN subscription s ON s.id = e.subscription
		WHERE e.due_us <= $1 AND e.hold_us <= $1 AND s.enabled = 1 AND s.deleted_us = 0 ORDER BY e.due_us LIMIT $2`, micros(d.now()), limit)
	return out, err
}

// Endpoint is what sending to a subscription needs.
type Endpoint struct {
	Subscription
	Failures int64
	// Changed is when its address changed, or it was switched on.
	Changed time.Time
	Held    bool // nothing is to be sent to it yet
	Due     []Delivery
}

// Endpoint reads a subscription with up to limit deliveries that are due, the
// one due longest first. ErrNotFound where nothing may be sent to it any more.
func (d *Directory) Endpoint(ctx context.Context, id string, limit int) (Endpoint, error) {
	found, err := readSubscriptions(ctx, d.db, "WHERE s.id = $1 AND s.enabled = 1 AND s.deleted_us = 0", id)
	if err != nil {
		return Endpoint{}, err
	}
	if len(found) == 0 {
		return Endpoint{}, ErrNotFound
	}
	e := Endpoint{Subscription: found[0]}
	var changed, hold int64
	now := micros(d.now())
	if err := d.db.QueryRowContext(ctx, "SELECT failures, changed_us, hold_us FROM webhook_endpoint WHERE subscription = $1", id).Scan(&e.Failures, &changed, &hold); err != nil {
		return Endpoint{}, fmt.Errorf("cannot read the state of a subscription: %w", err)
	}
	e.Changed, e.Held = fromMicros(changed), hold > now
	e.Due, err = readDeliveries(ctx, d.db, "body", "WHERE subscription = $1 AND state = 'pending' AND next_us <= $2 ORDER BY next_us, seq LIMIT $3", id, now, limit)
	return e, err
}

const deliveryColumns = "subscription, seq, event_id, type, call_id, state, next_us, attempt_count, tries, first_us, attempts, created_us, delivered_us"

func readDeliveries(ctx context.Context, q querier, body, where string, args ...any) ([]Delivery, error) {
	var out []Delivery
	err := each(ctx, q, func(r *sql.Rows) error {
		var del Delivery
		var next, first, created, delivered int64
		var attempts string
		if err := r.Scan(&del.Subscription, &del.Seq, &del.EventID, &del.Type, &del.Call, &del.State, &next, &del.AttemptCount, &del.Tries, &first, &attempts, &created, &delivered, &del.Body); err != nil {
			return err
		}
		if del.State == DeliveryPending && next != never {
			del.NextAttempt = fromMicros(max(next, 1))
		}
		if attempts != "" {
			if err := json.Unmarshal([]byte(attempts), &del.Attempts); err != nil {
				return err
			}
		}
		del.FirstTry, del.CreatedAt, del.DeliveredAt = fromMicros(first), fromMicros(created), fromMicros(delivered)
		out = append(out, del)
		return nil
	}, "SELECT "+deliveryColumns+", "+body+" FROM webhook_delivery "+where, args...)
	return out, err
}

// Result is what came of one attempt.
type Result struct {
	Delivery
	Attempt
	State string // what becomes of the delivery: pending, delivered or dead
	// Next is when a pending one is tried again.
	Next time.Time
	// Hold is until when nothing is sent to the subscription; zero: no need to wait.
	Hold time.Time
	// Forget is when one that is done is removed.
	Forget time.Time
	// Changed is that of the endpoint that was tried: of one that has changed
	// since, this says nothing.
	Changed time.Time
	// Recovered says that the subscription failed until this attempt: all that
	// wait for their next attempt are due.
	Recovered bool
}

// FinishAttempts stores what came of attempts, and makes due what waited for
// them. Only the process that sends may: ErrNotSending. That it sends holds for
// ttl from now.
func (d *Directory) FinishAttempts(ctx context.Context, owner string, ttl time.Duration, results []Result) error {
	bySubscription := map[string][]Result{}
	for _, r := range results {
		bySubscription[r.Subscription] = append(bySubscription[r.Subscription], r)
	}
	return d.queue(ctx, func(tx *sql.Tx) error {
		now := d.now()
		lease, err := tx.ExecContext(ctx, "UPDATE webhook_lease SET until_us = $1 WHERE owner = $2", micros(now.Add(ttl)), owner)
		if err != nil {
			return fmt.Errorf("cannot ask who sends webhooks: %w", err)
		}
		if n, err := lease.RowsAffected(); err != nil || n != 1 {
			return errors.Join(ErrNotSending, err)
		}
		for _, id := range slices.Sorted(maps.Keys(bySubscription)) {
			if err := finishFor(ctx, tx, id, bySubscription[id], micros(now)); err != nil {
				return err
			}
		}
		return nil
	})
}

func finishFor(ctx context.Context, tx *sql.Tx, id string, results []Result, now int64) error {
	if _, ok, err := lockEndpoint(ctx, tx, id); err != nil || !ok {
		return err
	}
	done := 0
	for _, r := range results {
		changed, err := r.store(ctx, tx)
		if err != nil {
			return err
		}
		if changed && r.State != DeliveryPending {
			done++
			if err := unblock(ctx, tx, id, r.Call, now); err != nil {
				return err
			}
		}
		if err := r.judge(ctx, tx); err != nil {
			return err
		}
		if r.Recovered {
			if err := dueNow(ctx, tx, id, now); err != nil {
				return err
			}
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE webhook_endpoint SET pending = pending - $1, spared = CASE WHEN spared > pending - $1 THEN pending - $1 ELSE spared END,
		due_us = CASE WHEN due_us > $2 THEN $2 ELSE due_us END WHERE subscription = $3`, done, now, id); err != nil {
		return fmt.Errorf("cannot store attempts: %w", err)
	}
	return nil
}

// store writes the delivery; false where it was taken from under the attempt,
// by somebody who deleted the subscription.
func (r Result) store(ctx context.Context, tx *sql.Tx) (bool, error) {
	attempts := append(slices.Clone(r.Attempts), r.Attempt)
	attempts = attempts[max(0, len(attempts)-keptAttempts):]
	text, err := json.Marshal(attempts)
	if err != nil {
		return false, fmt.Errorf("cannot store an attempt: %w", err)
	}
	next, delivered := unixMicros(r.Next), int64(0)
	if r.State == DeliveryDelivered {
		delivered = r.AtMicros + r.TookMS*1000
	}
	result, err := tx.ExecContext(ctx, `UPDATE webhook_delivery SET state = $1, next_us = $2, attempt_count = attempt_count + 1, tries = tries + 1,
		first_us = CASE WHEN first_us = 0 THEN $3 ELSE first_us END, attempts = $4, delivered_us = $5, forget_us = $6
		WHERE subscription = $7 AND seq = $8 AND state = 'pending'`, r.State, next, r.AtMicros, string(text), delivered, unixMicros(r.Forget), r.Subscription, r.Seq)
	if err != nil {
		return false, fmt.Errorf("cannot store an attempt: %w", err)
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// judge keeps what an attempt says about the endpoint.
func (r Result) judge(ctx context.Context, tx *sql.Tx) error {
	var err error
	if r.Error == "" {
		_, err = tx.ExecContext(ctx, "UPDATE webhook_endpoint SET failures = 0, failing_since_us = 0, hold_us = 0, last_error = '', last_success_us = $1 WHERE subscription = $2 AND changed_us = $3",
			r.AtMicros, r.Subscription, unixMicros(r.Changed))
	} else {
		_, err = tx.ExecContext(ctx, `UPDATE webhook_endpoint SET failures = failures + 1, failing_since_us = CASE WHEN failing_since_us = 0 THEN $1 ELSE failing_since_us END,
			hold_us = CASE WHEN hold_us < $2 THEN $2 ELSE hold_us END, last_error = $3 WHERE subscription = $4 AND changed_us = $5`,
			r.AtMicros, unixMicros(r.Hold), r.Error, r.Subscription, unixMicros(r.Changed))
	}
	if err != nil {
		return fmt.Errorf("cannot store an attempt: %w", err)
	}
	return nil
}

// unblock makes the next delivery of a call due.
func unblock(ctx context.Context, tx *sql.Tx, id, call string, now int64) error {
	if call == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE webhook_delivery SET next_us = $1 WHERE subscription = $2 AND next_us = $3 AND state = 'pending'
		AND seq = (SELECT MIN(seq) FROM webhook_delivery WHERE subscription = $2 AND call_id = $4 AND state = 'pending')`, now, id, int64(never), call)
	if err != nil {
		return fmt.Errorf("cannot make the next delivery due: %w", err)
	}
	return nil
}

// dueNow ends the waiting of what waits for its next attempt.
func dueNow(ctx context.Context, tx *sql.Tx, id string, now int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE webhook_delivery SET next_us = $1 WHERE subscription = $2 AND state = 'pending' AND next_us > $1 AND next_us < $3", now, id, int64(never))
	if err != nil {
		return fmt.Errorf("cannot make deliveries due: %w", err)
	}
	return nil
}

// freshEndpoint forgets how a subscription failed and makes all of it due.
func freshEndpoint(ctx context.Context, tx *sql.Tx, id string, now time.Time) error {
	_, err := tx.ExecContext(ctx, "UPDATE webhook_endpoint SET failures = 0, failing_since_us = 0, hold_us = 0, last_error = '', changed_us = $1, due_us = $1, spared = pending WHERE subscription = $2", micros(now), id)
	if err != nil {
		return fmt.Errorf("cannot store the subscription: %w", err)
	}
	return dueNow(ctx, tx, id, micros(now))
}

// RestEndpoint notes when something of a subscription is due next.
func (d *Directory) RestEndpoint(ctx context.Context, id string) error {
	return d.queue(ctx, func(tx *sql.Tx) error {
		if _, ok, err := lockEndpoint(ctx, tx, id); err != nil || !ok {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE webhook_endpoint SET due_us = COALESCE((SELECT MIN(next_us) FROM webhook_delivery WHERE subscription = $1 AND state = 'pending'), $2)
			WHERE subscription = $1`, id, int64(never))
		if err != nil {
			return fmt.Errorf("cannot note when a subscription is due: %w", err)
		}
		return nil
	})
}

// ForgetDeliveries removes up to limit deliveries whose time is over, and those
// of deleted subscriptions. It gives how many it removed.
func (d *Directory) ForgetDeliveries(ctx context.Context, limit int) (int, error) {
	var removed int64
	now := micros(d.now())
	remove := func(query string, args ...any) error {
		result, err := d.writes.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("cannot remove old deliveries: %w", err)
		}
		n, err := result.RowsAffected()
		removed += n
		return err
	}
	if err := remove(`DELETE FROM webhook_delivery WHERE forget_us > 0 AND forget_us <= $1 AND (subscription, seq) IN
		(SELECT subscription, seq FROM webhook_delivery WHERE forget_us > 0 AND forget_us <= $1 ORDER BY forget_us LIMIT $2)`, now, limit); err != nil {
		return 0, err
	}
	var gone string
	err := d.db.QueryRowContext(ctx, "SELECT id FROM subscription WHERE deleted_us > 0 ORDER BY deleted_us, id LIMIT 1").Scan(&gone)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return int(removed), nil
	case err != nil:
		return 0, fmt.Errorf("cannot find deleted subscriptions: %w", err)
	}
	before := removed
	if err := remove(`DELETE FROM webhook_delivery WHERE (subscription, seq) IN
		(SELECT subscription, seq FROM webhook_delivery WHERE subscription = $1 ORDER BY seq LIMIT $2)`, gone, limit); err != nil || removed > before {
		return int(removed), err
	}
	// Without its endpoint nothing can be queued for it, and then it is empty for good.
	if err := remove("DELETE FROM webhook_endpoint WHERE subscription = $1", gone); err != nil || removed > before {
		return int(removed), err
	}
	err = remove("DELETE FROM subscription WHERE id = $1", gone)
	return int(removed), err
}

// AbandonDeliveries makes dead what is pending for subscriptions that were
// switched off before a time: nobody has switched them on again.
func (d *Directory) AbandonDeliveries(ctx context.Context, before, forget time.Time, limit int) (int, error) {
	var ids []string
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var id string
		if err := r.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
		return nil
	}, `SELECT s.id FROM subscription s JOIN webhook_endpoint e ON e.subscription = s.id
		WHERE s.enabled = 0 AND s.deleted_us = 0 AND s.updated_us < $1 AND e.pending > 0 LIMIT 100`, micros(before))
	if err != nil {
		return 0, err
	}
	total := 0
	for _, id := range ids {
		// Those that wait for others first: were it switched on in between, nothing
		// would be left that waits for what is no longer there.
		err := d.queue(ctx, func(tx *sql.Tx) error {
			if _, ok, err := lockEndpoint(ctx, tx, id); err != nil || !ok {
				return err
			}
			result, err := tx.ExecContext(ctx, `UPDATE webhook_delivery SET state = 'dead', next_us = 0, forget_us = $1 WHERE subscription = $2 AND state = 'pending' AND seq IN
				(SELECT seq FROM webhook_delivery WHERE subscription = $2 AND state = 'pending' ORDER BY next_us DESC, seq DESC LIMIT $3)`, unixMicros(forget), id, limit)
			if err != nil {
				return fmt.Errorf("cannot give up deliveries: %w", err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				return fmt.Errorf("cannot give up deliveries: %w", err)
			}
			total += int(n)
			if _, err := tx.ExecContext(ctx, "UPDATE webhook_endpoint SET pending = pending - $1, spared = CASE WHEN spared > pending - $1 THEN pending - $1 ELSE spared END WHERE subscription = $2", n, id); err != nil {
				return fmt.Errorf("cannot give up deliveries: %w", err)
			}
			return nil
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// PendingBounds are how many deliveries may be pending; 0: any number.
type PendingBounds struct {
	Subscription int64
	// Company bounds those of all subscriptions of a company. Where there are more,
	// a subscription may still have a hundredth of it: those whose receivers
	// answer are not made to pay for the others.
	Company int64
}

func (b PendingBounds) args() []any {
	none := func(n int64) int64 {
		if n == 0 {
			return math.MaxInt64
		}
		return n
	}
	return []any{none(b.Subscription), none(b.Company), none(b.Company) / 100}
}

// overfull are the subscriptions that have more pending than they may: more than
// the bound beyond what was pending when they were switched on, so that one that
// is switched on again is not switched off before its receiver has taken what
// had gathered. Of that too no more than the bound is left out.
const overfull = `SELECT s.id, e.pending, CASE WHEN e.pending - CASE WHEN e.spared < $1 THEN e.spared ELSE $1 END > $1 THEN 1 ELSE 0 END
	FROM subscription s JOIN webhook_endpoint e ON e.subscription = s.id WHERE s.enabled = 1 AND s.deleted_us = 0
	AND (e.pending - CASE WHEN e.spared < $1 THEN e.spared ELSE $1 END > $1
		OR (e.pending - e.spared > $3 AND s.company IN (SELECT c.company FROM subscription c JOIN webhook_endpoint p ON p.subscription = c.id
			WHERE c.deleted_us = 0 GROUP BY c.company HAVING SUM(p.pending) > $2)))`

// DisableOverfull switches off the subscriptions that have more pending than the
// bounds allow, and gives them. What is pending stays so, for when they are
// switched on again.
func (d *Directory) DisableOverfull(ctx context.Context, bounds PendingBounds) ([]Subscription, error) {
	args := bounds.args()
	// Nearly always there are none, and nobody waits for that.
	if found, err := exists(ctx, d.db, "SELECT 1 FROM ("+overfull+") f LIMIT 1", args...); err != nil || !found {
		return nil, err
	}
	var out []Subscription
	err := d.write(ctx, func(tx *sql.Tx) error {
		out = nil
		reasons := map[string]string{}
		err := each(ctx, tx, func(r *sql.Rows) error {
			var id string
			var pending int64
			var itself bool
			if err := r.Scan(&id, &pending, &itself); err != nil {
				return err
			}
			reasons[id] = fmt.Sprintf("%d deliveries were pending, more than %d", pending, bounds.Subscription)
			if !itself {
				reasons[id] = fmt.Sprintf("%d deliveries were pending, and more than %d of all the company's subscriptions", pending, bounds.Company)
			}
			return nil
		}, overfull+" ORDER BY s.id", args...)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(reasons)) {
			s, found, err := disableSubscription(ctx, tx, id, reasons[id], d.now())
			if err != nil {
				return err
			}
			if found {
				out = append(out, s)
			}
		}
		if len(out) == 0 {
			return errUnchanged // somebody was quicker
		}
		return nil
	})
	return out, err
}

// Backlog says how much is to be delivered, and since when the oldest waits.
func (d *Directory) Backlog(ctx context.Context) (pending int64, oldest time.Time, err error) {
	var created int64
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var n, at int64
		if err := r.Scan(&n, &at); err != nil {
			return err
		}
		pending += n
		if at > 0 && (created == 0 || at < created) {
			created = at
		}
		return nil
	}, `SELECT e.pending, COALESCE((SELECT d.created_us FROM webhook_delivery d WHERE d.subscription = e.subscription AND d.state = 'pending' ORDER BY d.seq LIMIT 1), 0)
		FROM webhook_endpoint e JOIN subscription s ON s.id = e.subscription WHERE e.pending > 0 AND s.enabled = 1 AND s.deleted_us = 0`)
	return pending, fromMicros(created), err
}

// Deliveries lists those of a subscription, the newest first; in one state
// where it is not empty.
func (d *Directory) Deliveries(ctx context.Context, company, id, state string, page Page) ([]Delivery, string, error) {
	if _, err := d.Subscription(ctx, company, id); err != nil {
		return nil, "", err
	}
	where, args := "WHERE subscription = $1", []any{id}
	switch state {
	case "":
	case DeliveryPending, DeliveryDelivered, DeliveryDead:
		where += " AND state = '" + state + "'" // as the indexes have it
	default:
		return nil, "", invalid("state", "must be pending, delivered or dead")
	}
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 1)
		if err != nil {
			return nil, "", err
		}
		seq, err := strconv.ParseInt(key[0], 10, 64)
		if err != nil {
			return nil, "", invalid("cursor", "is not one that a list gave")
		}
		args = append(args, seq)
		where += " AND seq < $2"
	}
	args = append(args, page.limit()+1)
	out, err := readDeliveries(ctx, d.db, "''", where+fmt.Sprintf(" ORDER BY seq DESC LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(d Delivery) []string { return []string{strconv.FormatInt(d.Seq, 10)} })
	return out, next, nil
}

// delivery reads one of a subscription.
func delivery(ctx context.Context, q querier, id string, seq int64) (Delivery, error) {
	found, err := readDeliveries(ctx, q, "''", "WHERE subscription = $1 AND seq = $2", id, seq)
	if err != nil {
		return Delivery{}, err
	}
	if len(found) == 0 {
		return Delivery{}, ErrNotFound
	}
	return found[0], nil
}

// Redeliver makes a delivery that is done pending again, to be sent at once,
// with the same event id. It may come after later ones of its call: that is
// what who asks for it wants.
func (d *Directory) Redeliver(ctx context.Context, company, id string, seq int64) (Delivery, error) {
	var out Delivery
	err := d.byHand(ctx, company, id, "subscription.redeliver", func(tx *sql.Tx) error {
		del, err := delivery(ctx, tx, id, seq)
		if err != nil {
			return err
		}
		if del.State == DeliveryPending {
			return conflict("delivery", "is pending already")
		}
		waits := false
		if del.Call != "" {
			if waits, err = exists(ctx, tx, "SELECT 1 FROM webhook_delivery WHERE subscription = $1 AND call_id = $2 AND state = 'pending' LIMIT 1", id, del.Call); err != nil {
				return err
			}
		}
		next := int64(0)
		if waits {
			next = never
		}
		_, err = tx.ExecContext(ctx, "UPDATE webhook_delivery SET state = 'pending', next_us = $1, tries = 0, first_us = 0, delivered_us = 0, forget_us = 0 WHERE subscription = $2 AND seq = $3", next, id, seq)
		if err != nil {
			return fmt.Errorf("cannot send it again: %w", err)
		}
		out, err = delivery(ctx, tx, id, seq)
		return err
	})
	return out, err
}

// TestSubscription queues a delivery of type ping, to be sent at once.
func (d *Directory) TestSubscription(ctx context.Context, company, id, eventID, body string) (Delivery, error) {
	var out Delivery
	err := d.byHand(ctx, company, id, "subscription.test", func(tx *sql.Tx) error {
		waiting, err := exists(ctx, tx, "SELECT 1 FROM webhook_delivery WHERE subscription = $1 AND state = 'pending' AND type = $2 LIMIT 1", id, EventPing)
		if err != nil {
			return err
		}
		if waiting {
			return conflict("subscription", "has a test that waits already")
		}
		var seq int64
		if err := tx.QueryRowContext(ctx, "UPDATE webhook_endpoint SET last_seq = last_seq + 1 WHERE subscription = $1 RETURNING last_seq", id).Scan(&seq); err != nil {
			return fmt.Errorf("cannot store a test: %w", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO webhook_delivery (subscription, seq, event_id, type, call_id, body, state, next_us, created_us) VALUES ($1, $2, $3, $4, '', $5, 'pending', 0, $6)`,
			id, seq, eventID, EventPing, body, micros(d.now()))
		if err != nil {
			return fmt.Errorf("cannot store a test: %w", err)
		}
		out, err = delivery(ctx, tx, id, seq)
		return err
	})
	return out, err
}

// byHand adds one pending delivery on somebody's behalf, which ends the waiting
// of a subscription that fails: who asks wants to see what happens now.
func (d *Directory) byHand(ctx context.Context, company, id, action string, add func(tx *sql.Tx) error) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		s, err := subscription(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if !s.Enabled {
			return conflict("subscription", "is disabled: enable it first")
		}
		if _, ok, err := lockEndpoint(ctx, tx, id); err != nil || !ok {
			return err
		}
		if err := add(tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE webhook_endpoint SET pending = pending + 1, due_us = 0, hold_us = 0 WHERE subscription = $1", id); err != nil {
			return fmt.Errorf("cannot store the delivery: %w", err)
		}
		return record(ctx, tx, company, d.now(), s.change(action))
	})
}
