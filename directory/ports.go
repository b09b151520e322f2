package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds and states of a port request.
const (
	PortIn  = "port_in"  // numbers come from another carrier
	PortOut = "port_out" // numbers leave for another carrier

	PortDraft       = "draft"
	PortSubmitted   = "submitted"
	PortFOCReceived = "foc_received" // the losing carrier has named a day (firm order commitment)
	PortRejected    = "rejected"
	PortCompleted   = "completed"
	PortCancelled   = "cancelled"
)

// portTransitions is what may become of a request. A rejected one is corrected
// and submitted again.
var portTransitions = map[string][]string{
	PortDraft:       {PortSubmitted, PortCancelled},
	PortSubmitted:   {PortFOCReceived, PortRejected, PortCancelled},
	PortFOCReceived: {PortCompleted, PortRejected, PortCancelled},
	PortRejected:    {PortSubmitted, PortCancelled},
	PortCompleted:   {},
	PortCancelled:   {},
}

// MaxPortNumbers is how many numbers a port request may have.
const MaxPortNumbers = 1000

// PortRequest is numbers on their way from or to another carrier.
type PortRequest struct {
	ID      string
	BatchID string
	Office  string
	// LNPID is what the number portability administration calls it.
	LNPID   string
	Type    string
	State   string
	DIDs    int      // how many numbers
	Numbers []string // E.164; not in lists
	// FOCDate is the day of the port, YYYY-MM-DD, or empty.
	FOCDate         string
	Target          *Owner // who gets the numbers in the end; nil: the pool
	Carrier         string
	RejectionReason string
	RequestedAt     time.Time
	ModifiedAt      time.Time
	History         []PortTransition // the oldest first; not in lists
}

// Transitions is the states that may follow.
func (r PortRequest) Transitions() []string { return portTransitions[r.State] }

// PortTransition is a change of a request's state.
type PortTransition struct {
	At   time.Time
	From string // empty: it was made
	To   string
	By   Actor
	Text string // the reason given
}

// PortFilter narrows a list of port requests; empty fields do not.
type PortFilter struct {
	State  string
	Office string
	Batch  string
	LNPID  string
	// Query is part of an id, batch id, LNP id, carrier or number.
	Query string
	Page
}

var portColumns = "r.id, r.batch_id, r.office_id, r.lnp_id, r.port_type, r.state, r.requested_us, r.modified_us, r.foc_date, r.target_kind, r.target_id, " +
	ownerName("r", "target_kind", "target_id", "''") +
	", r.carrier, r.rejection_reason, (SELECT COUNT(*) FROM port_request_number m WHERE m.company = r.company AND m.request_id = r.id)"

func scanPort(scan func(...any) error) (PortRequest, error) {
	var r PortRequest
	var target Owner
	var requested, modified int64
	err := scan(&r.ID, &r.BatchID, &r.Office, &r.LNPID, &r.Type, &r.State, &requested, &modified, &r.FOCDate, &target.Kind, &target.ID, &target.Name,
		&r.Carrier, &r.RejectionReason, &r.DIDs)
	if err != nil {
		return PortRequest{}, err
	}
	r.RequestedAt, r.ModifiedAt = fromMicros(requested), fromMicros(modified)
	if target.Kind != "" {
		r.Target = &target
	}
	return r, nil
}

// PortRequests lists port requests, the last requested first, without their
// numbers and history.
func (d *Directory) PortRequests(ctx context.Context, company string, f PortFilter) ([]PortRequest, string, error) {
	c := &conditions{}
	c.and("r.company = ?", company)
	for _, f := range []struct{ field, column, value string }{
		{"state", "state", f.State}, {"office", "office_id", f.Office}, {"batch", "batch_id", f.Batch}, {"lnp_id", "lnp_id", f.LNPID},
	} {
		if err := checkWritten(f.field, f.value); err != nil {
			return nil, "", err
		}
		if f.value != "" {
			c.and("r."+f.column+" = ?", f.value)
		}
	}
	if q := strings.TrimSpace(f.Query); q != "" {
		if err := checkWritten("q", q); err != nil {
			return nil, "", err
		}
		match, values := `r.search LIKE ? ESCAPE '\'`, []any{"%" + escapeLike(strings.ToLower(q)) + "%"}
		if digits, _, ok := writtenDigits(q); ok {
			match += " OR EXISTS (SELECT 1 FROM port_request_number m WHERE m.company = r.company AND m.request_id = r.id AND m.number LIKE ?)"
			values = append(values, "%"+digits+"%")
		}
		c.and("("+match+")", values...)
	}
	if f.Cursor != "" {
		key, err := decodeCursor(f.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		before, err := wholeNumber(key[0])
		if err != nil {
			return nil, "", err
		}
		if !idPattern.MatchString(key[1]) {
			return nil, "", invalid("cursor", "is not one that a list gave")
		}
		c.and("(r.requested_us, r.id) < (?, ?)", before, key[1])
	}
	var out []PortRequest
	err := each(ctx, d.db, func(rows *sql.Rows) error {
		r, err := scanPort(rows.Scan)
		out = append(out, r)
		return err
	}, fmt.Sprintf("SELECT %s FROM port_request r WHERE %s ORDER BY r.requested_us DESC, r.id DESC LIMIT %d", portColumns, c, f.limit()+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, f.limit(), func(r PortRequest) []string { return []string{strconv.FormatInt(micros(r.RequestedAt), 10), r.ID} })
	return out, next, nil
}

// PortRequest returns one port request with its numbers and history.
func (d *Directory) PortRequest(ctx context.Context, company, id string) (PortRequest, error) {
	r, err := portRequest(ctx, d.db, company, id)
	if err != nil {
		return PortRequest{}, err
	}
	r.History, err = portHistory(ctx, d.db, company, id)
	return r, err
}

func portRequest(ctx context.Context, q querier, company, id string) (PortRequest, error) {
	if !idPattern.MatchString(id) {
		return PortRequest{}, ErrNotFound
	}
	r, err := scanPort(q.QueryRowContext(ctx, "SELECT "+portColumns+" FROM port_request r WHERE r.company = $1 AND r.id = $2", company, id).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return PortRequest{}, ErrNotFound
	case err != nil:
		return PortRequest{}, fmt.Errorf("cannot read the port request: %w", err)
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var number string
		err := rows.Scan(&number)
		r.Numbers = append(r.Numbers, number)
		return err
	}, "SELECT number FROM port_request_number WHERE company = $1 AND request_id = $2 ORDER BY i", company, id)
	return r, err
}

// portHistory reads the changes of a request's state from the journal.
func portHistory(ctx context.Context, q querier, company, id string) ([]PortTransition, error) {
	var out []PortTransition
	err := each(ctx, q, func(rows *sql.Rows) error {
		var t PortTransition
		var at int64
		var written string
		if err := rows.Scan(&at, &t.By.Kind, &t.By.ID, &t.By.Name, &t.Text, &written); err != nil {
			return err
		}
		t.At = fromMicros(at)
		fields, err := fieldsOf(written)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.Field == "state" {
				t.From, t.To = f.Old, f.New
				out = append(out, t)
			}
		}
		return nil
	}, `SELECT at_us, actor_kind, actor_id, actor_name, text, fields FROM journal
		WHERE company = $1 AND subject_kind = 'port_request' AND subject_id = $2 ORDER BY n, i`, company, id)
	return out, err
}

// CreatePortRequest stores a new request as a draft. Its numbers are not touched
// before it is submitted.
func (d *Directory) CreatePortRequest(ctx context.Context, company string, r PortRequest) (PortRequest, error) {
	r.ID, r.State = newID(), PortDraft
	if r.BatchID = strings.TrimSpace(r.BatchID); r.BatchID == "" {
		r.BatchID = r.ID
	}
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := checkPort(ctx, tx, company, &r); err != nil {
			return err
		}
		now := d.now()
		kind, target := targetOf(r)
		_, err := tx.ExecContext(ctx, `INSERT INTO port_request (company, id, batch_id, office_id, lnp_id, port_type, state, requested_us, modified_us, foc_date, target_kind, target_id, carrier, search)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, $13)`,
			company, r.ID, r.BatchID, r.Office, r.LNPID, r.Type, r.State, micros(now), r.FOCDate, kind, target, r.Carrier, portSearch(r))
		if err != nil {
			return fmt.Errorf("cannot store the port request: %w", err)
		}
		if err := replacePortNumbers(ctx, tx, company, r); err != nil {
			return err
		}
		return record(ctx, tx, company, now, Change{Action: "port_request.create", Kind: "port_request", ID: r.ID, Fields: []FieldChange{{Field: "state", New: r.State}}})
	})
	if err != nil {
		return PortRequest{}, err
	}
	return d.PortRequest(ctx, company, r.ID)
}

// checkPort judges and normalises a request.
func checkPort(ctx context.Context, tx *sql.Tx, company string, r *PortRequest) error {
	for _, text := range []struct {
		field string
		value *string
	}{{"batch_id", &r.BatchID}, {"lnp_id", &r.LNPID}, {"carrier", &r.Carrier}} {
		*text.value = strings.TrimSpace(*text.value)
		if err := checkWritten(text.field, *text.value); err != nil {
			return err
		}
	}
	if r.Type != PortIn && r.Type != PortOut {
		return invalid("port_type", "must be port_in or port_out")
	}
	if r.FOCDate != "" {
		if _, err := time.Parse(time.DateOnly, r.FOCDate); err != nil {
			return invalid("foc_date", "must be a day as YYYY-MM-DD")
		}
	}
	if r.Target != nil && r.Target.Kind == KindPool {
		if r.Target.ID != "" {
			return invalid("target.id", "cannot be given for the pool")
		}
		r.Target = nil
	}
	if r.Target != nil {
		if r.Type == PortOut {
			return invalid("target", "cannot be given for numbers that leave")
		}
		if err := checkOwner(ctx, tx, company, "target", *r.Target); err != nil {
			return err
		}
	}
	if err := checkOffice(ctx, tx, company, r.Office); err != nil {
		return err
	}
	return checkPortNumbers(ctx, tx, company, r)
}

func checkPortNumbers(ctx context.Context, tx *sql.Tx, company string, r *PortRequest) error {
	region, err := companyRegion(ctx, tx, company)
	if err != nil {
		return err
	}
	if len(r.Numbers) > MaxPortNumbers {
		return invalid("numbers", fmt.Sprintf("must be at most %d", MaxPortNumbers))
	}
	given := make(map[string]bool, len(r.Numbers))
	numbers := make([]string, len(r.Numbers))
	for i, value := range r.Numbers {
		n, err := ParseNumber(value, region)
		if err != nil {
			return invalid(fmt.Sprintf("numbers[%d]", i), "is not a valid number")
		}
		if given[n.Number] {
			return invalid(fmt.Sprintf("numbers[%d]", i), "is given twice")
		}
		given[n.Number], numbers[i] = true, n.Number
	}
	r.Numbers = numbers
	return nil
}

// checkWritten judges a text that may be empty.
func checkWritten(field, text string) error {
	if text == "" {
		return nil
	}
	return checkText(field, text, 4000)
}

func targetOf(r PortRequest) (kind, id string) {
	if r.Target == nil {
		return "", ""
	}
	return r.Target.Kind, r.Target.ID
}

func portSearch(r PortRequest) string {
	return strings.ToLower(r.ID + "\n" + r.BatchID + "\n" + r.LNPID + "\n" + r.Carrier)
}

func replacePortNumbers(ctx context.Context, tx *sql.Tx, company string, r PortRequest) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM port_request_number WHERE company = $1 AND request_id = $2", company, r.ID); err != nil {
		return fmt.Errorf("cannot store the numbers of the port request: %w", err)
	}
	rows := make([][]any, len(r.Numbers))
	for i, n := range r.Numbers {
		rows[i] = []any{r.ID, n, i}
	}
	return insertRows(ctx, tx, company, "port_request_number (company, request_id, number, i)", rows)
}

// PortChange is what PATCH may change; nil fields stay as they are.
type PortChange struct {
	BatchID *string
	Office  *string
	LNPID   *string
	Type    *string
	Numbers *[]string
	FOCDate *string
	Target  *Owner // KindPool: none
	Carrier *string
}

// UpdatePortRequest changes a request that is not closed. Type and numbers can
// be changed only while no carrier has it: as a draft, or when rejected.
func (d *Directory) UpdatePortRequest(ctx context.Context, company, id string, c PortChange) (PortRequest, error) {
	err := d.write(ctx, func(tx *sql.Tx) error {
		old, err := portRequest(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if len(old.Transitions()) == 0 {
			return conflict("state", "is "+old.State+": the request is closed")
		}
		r := old
		set := func(field *string, to *string) {
			if to != nil {
				*field = *to
			}
		}
		set(&r.BatchID, c.BatchID)
		set(&r.Office, c.Office)
		set(&r.LNPID, c.LNPID)
		set(&r.Type, c.Type)
		set(&r.FOCDate, c.FOCDate)
		set(&r.Carrier, c.Carrier)
		if c.Target != nil {
			r.Target = c.Target
		}
		if c.Numbers != nil {
			r.Numbers = *c.Numbers
		}
		if err := checkPort(ctx, tx, company, &r); err != nil {
			return err
		}
		if r.BatchID == "" {
			r.BatchID = r.ID
		}
		if err := changePort(ctx, tx, company, old, r, d.now()); err != nil {
			return err
		}
		return orUnchanged(ctx, tx)
	})
	if err != nil {
		return PortRequest{}, err
	}
	return d.PortRequest(ctx, company, id)
}

// changePort stores what differs between two forms of a request.
func changePort(ctx context.Context, tx *sql.Tx, company string, old, r PortRequest, now time.Time) error {
	numbers := !slices.Equal(old.Numbers, r.Numbers)
	if open := old.State == PortDraft || old.State == PortRejected; !open && (numbers || old.Type != r.Type) {
		field := "port_type"
		if numbers {
			field = "numbers"
		}
		return conflict(field, "cannot be changed while the request is "+old.State)
	}
	if r.State == PortFOCReceived && r.FOCDate == "" {
		return invalid("foc_date", "must be given once the carrier has named it")
	}
	var fields []FieldChange
	change := func(field, from, to string) {
		if from != to {
			fields = append(fields, FieldChange{Field: field, Old: from, New: to})
		}
	}
	target := func(r PortRequest) string {
		if r.Target == nil {
			return ""
		}
		return r.Target.Kind + " " + r.Target.ID
	}
	change("batch_id", old.BatchID, r.BatchID)
	change("office", old.Office, r.Office)
	change("lnp_id", old.LNPID, r.LNPID)
	change("port_type", old.Type, r.Type)
	change("foc_date", old.FOCDate, r.FOCDate)
	change("target", target(old), target(r))
	change("carrier", old.Carrier, r.Carrier)
	if numbers {
		change("numbers", strings.Join(old.Numbers, ";"), strings.Join(r.Numbers, ";"))
		if err := replacePortNumbers(ctx, tx, company, r); err != nil {
			return err
		}
	}
	if len(fields) == 0 {
		return errUnchanged
	}
	if err := storePort(ctx, tx, company, r, now); err != nil {
		return err
	}
	return record(ctx, tx, company, now, Change{Action: "port_request.update", Kind: "port_request", ID: r.ID, Fields: fields})
}

func storePort(ctx context.Context, tx *sql.Tx, company string, r PortRequest, now time.Time) error {
	kind, target := targetOf(r)
	_, err := tx.ExecContext(ctx, `UPDATE port_request SET batch_id = $3, office_id = $4, lnp_id = $5, port_type = $6, state = $7, modified_us = $8, foc_date = $9,
		target_kind = $10, target_id = $11, carrier = $12, rejection_reason = $13, search = $14 WHERE company = $1 AND id = $2`,
		company, r.ID, r.BatchID, r.Office, r.LNPID, r.Type, r.State, micros(now), r.FOCDate, kind, target, r.Carrier, r.RejectionReason, portSearch(r))
	if err != nil {
		return fmt.Errorf("cannot store the port request: %w", err)
	}
	return nil
}

// PortStep asks for a change of a request's state.
type PortStep struct {
	To      string
	FOCDate string // for foc_received, where the request has none or another
	Reason  string // required for rejected
}

// TransitPortRequest changes a request's state, and what its numbers are with it:
//
//   - submitted: they are port_pending. Numbers that come join the company's list,
//     numbers that leave must be in the pool: so none is taken from an owner that
//     has no other.
//   - completed: numbers that came go to the target, or to the pool; numbers that
//     left are gone from the list.
//   - rejected, cancelled: numbers that were the company's own are as before, the
//     others are gone from the list.
//
// A step that may not follow the state, as another may just have changed it, is
// ErrConflict; it names those that may.
func (d *Directory) TransitPortRequest(ctx context.Context, company, id string, step PortStep) (PortRequest, error) {
	step.Reason = strings.TrimSpace(step.Reason)
	if err := checkWritten("reason", step.Reason); err != nil {
		return PortRequest{}, err
	}
	err := d.write(ctx, func(tx *sql.Tx) error {
		r, err := portRequest(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if _, known := portTransitions[step.To]; !known {
			return invalid("to", "is not a state of a port request")
		}
		if next := r.Transitions(); !slices.Contains(next, step.To) {
			if len(next) == 0 {
				return conflict("to", "cannot follow: the request is "+r.State+", which is its end")
			}
			return conflict("to", "cannot follow "+r.State+": it may become "+strings.Join(next, ", "))
		}
		return transit(ctx, tx, company, r, step, d.now())
	})
	if err != nil {
		return PortRequest{}, err
	}
	return d.PortRequest(ctx, company, id)
}

func transit(ctx context.Context, tx *sql.Tx, company string, r PortRequest, step PortStep, now time.Time) error {
	fields := []FieldChange{{Field: "state", Old: r.State, New: step.To}}
	if step.FOCDate != "" && step.FOCDate != r.FOCDate {
		if step.To != PortFOCReceived {
			return invalid("foc_date", "belongs to foc_received")
		}
		if _, err := time.Parse(time.DateOnly, step.FOCDate); err != nil {
			return invalid("foc_date", "must be a day as YYYY-MM-DD")
		}
		fields = append(fields, FieldChange{Field: "foc_date", Old: r.FOCDate, New: step.FOCDate})
		r.FOCDate = step.FOCDate
	}
	r.State = step.To
	reason := "port request " + r.ID
	var err error
	switch step.To {
	case PortSubmitted:
		r.RejectionReason = ""
		err = holdNumbers(ctx, tx, company, r, reason, now)
	case PortFOCReceived:
		if r.FOCDate == "" {
			err = invalid("foc_date", "must be given: the day that the carrier named")
		}
	case PortRejected:
		if r.RejectionReason = step.Reason; step.Reason == "" {
			return invalid("reason", "must be given")
		}
		err = letNumbersGo(ctx, tx, company, r, reason, now)
	case PortCancelled:
		err = letNumbersGo(ctx, tx, company, r, reason, now)
	case PortCompleted:
		err = portNumbers(ctx, tx, company, r, reason, now)
	}
	if err != nil {
		return err
	}
	if err := storePort(ctx, tx, company, r, now); err != nil {
		return err
	}
	return record(ctx, tx, company, now, Change{Action: "port_request." + step.To, Kind: "port_request", ID: r.ID, Text: step.Reason, Fields: fields})
}

// notThere is the former state of a number that the company did not have.
const notThere = "none"

// holdNumbers makes the numbers of a request port_pending.
func holdNumbers(ctx context.Context, tx *sql.Tx, company string, r PortRequest, reason string, now time.Time) error {
	if len(r.Numbers) == 0 {
		return conflict("numbers", "must be given before the request is submitted")
	}
	for i, e164 := range r.Numbers {
		field := fmt.Sprintf("numbers[%d]", i)
		held, err := exists(ctx, tx, "SELECT 1 FROM port_request_number WHERE company = $1 AND number = $2 AND request_id <> $3 AND former <> '' LIMIT 1", company, e164, r.ID)
		if err != nil {
			return err
		}
		if held {
			return conflict(field, "is in another port request")
		}
		n, err := number(ctx, tx, company, e164)
		former := n.Status
		switch {
		case errors.Is(err, ErrNotFound) && r.Type == PortOut:
			return conflict(field, "is not a number of the company")
		case errors.Is(err, ErrNotFound):
			former = notThere
			if n, err = ParseNumber(e164, ""); err != nil {
				return err
			}
			n.Status = StatusPortPending
			err = addNumbers(ctx, tx, company, []Number{n}, reason, now)
		case err != nil:
		case n.Owner != nil:
			return conflict(field, "is assigned: transfer it to the pool first")
		case n.Status != StatusPortPending:
			err = moveNumber(ctx, tx, company, n, Owner{Kind: StatusPortPending}, "number.port", reason, now)
		}
		if err != nil {
			return err
		}
		if err := setFormer(ctx, tx, company, r.ID, e164, former); err != nil {
			return err
		}
	}
	return nil
}

// heldNumbers calls do with each number that a request holds, and its former status;
// afterwards it holds none.
func heldNumbers(ctx context.Context, tx *sql.Tx, company string, r PortRequest, do func(n Number, former string) error) error {
	for _, e164 := range r.Numbers {
		var former string
		err := tx.QueryRowContext(ctx, "SELECT former FROM port_request_number WHERE company = $1 AND request_id = $2 AND number = $3", company, r.ID, e164).Scan(&former)
		if err != nil {
			return fmt.Errorf("cannot read the numbers of the port request: %w", err)
		}
		if former == "" {
			continue
		}
		n, err := number(ctx, tx, company, e164)
		if err != nil {
			return err
		}
		if err := do(n, former); err != nil {
			return err
		}
		if err := setFormer(ctx, tx, company, r.ID, e164, ""); err != nil {
			return err
		}
	}
	return nil
}

func setFormer(ctx context.Context, tx *sql.Tx, company, id, e164, former string) error {
	_, err := tx.ExecContext(ctx, "UPDATE port_request_number SET former = $4 WHERE company = $1 AND request_id = $2 AND number = $3", company, id, e164, former)
	if err != nil {
		return fmt.Errorf("cannot store the numbers of the port request: %w", err)
	}
	return nil
}

// letNumbersGo undoes holdNumbers.
func letNumbersGo(ctx context.Context, tx *sql.Tx, company string, r PortRequest, reason string, now time.Time) error {
	return heldNumbers(ctx, tx, company, r, func(n Number, former string) error {
		switch former {
		case notThere:
			return removeNumber(ctx, tx, company, n, reason, now)
		case StatusAvailable:
			return moveNumber(ctx, tx, company, n, Owner{Kind: KindPool}, "number.port", reason, now)
		}
		return nil // was port_pending before
	})
}

// portNumbers is the port itself.
func portNumbers(ctx context.Context, tx *sql.Tx, company string, r PortRequest, reason string, now time.Time) error {
	to := Owner{Kind: KindPool}
	if r.Target != nil {
		to = Owner{Kind: r.Target.Kind, ID: r.Target.ID}
		err := checkOwner(ctx, tx, company, "target", to)
		if errors.Is(err, ErrInvalid) { // it was right when it was given
			return conflict("target", "is no longer there: change it")
		}
		if err != nil {
			return err
		}
	}
	return heldNumbers(ctx, tx, company, r, func(n Number, _ string) error {
		if r.Type == PortOut {
			return removeNumber(ctx, tx, company, n, reason, now)
		}
		return moveNumber(ctx, tx, company, n, to, "number.port", reason, now)
	})
}
