package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// Types and states of a number. A number that is assigned has its owner's kind
// as its status.
const (
	TypeLocal         = "local"
	TypeTollFree      = "toll_free"
	StatusAvailable   = "available"
	StatusPortPending = "port_pending"
)

// KindPool is where numbers go that no one has: the target of a transfer, not an
// owner.
const KindPool = "pool"

// Owner is whom a number is assigned to.
type Owner struct {
	Kind string // user, department, office, room or contact_center
	ID   string
	Name string // filled when read
}

// Number is a telephone number (DID) of a company.
type Number struct {
	Number   string // E.164 with +
	National string // national significant number, digits
	Type     string
	Region   string // ISO 3166, from the numbering plan
	AreaCode string // national digits 1–3
	Prefix   string // national digits 4–6
	Status   string
	Owner    *Owner
	Since    time.Time // that status and owner; zero until stored
}

// ParseNumber reads a number as people write it. Without a + it is read as
// dialled in region. Numbers that no one can have, such as 911, are refused.
func ParseNumber(value, region string) (Number, error) {
	p, err := phonenumbers.Parse(value, region)
	if err != nil {
		return Number{}, invalid("number", "is not a valid number")
	}
	// A number that is valid is of a type, and no other is. Asked once, for an
	// import asks it 100,000 times.
	kind := phonenumbers.GetNumberType(p)
	if kind == phonenumbers.UNKNOWN {
		return Number{}, invalid("number", "is not a valid number")
	}
	n := Number{
		Number:   phonenumbers.Format(p, phonenumbers.E164),
		National: phonenumbers.GetNationalSignificantNumber(p),
		Type:     TypeLocal,
		Region:   phonenumbers.GetRegionCodeForNumber(p),
		Status:   StatusAvailable,
	}
	if kind == phonenumbers.TOLL_FREE {
		n.Type = TypeTollFree
	}
	n.AreaCode = n.National[:min(3, len(n.National))]
	n.Prefix = n.National[len(n.AreaCode):min(6, len(n.National))]
	return n, nil
}

// digitsOf strips the punctuation that numbers are written with. ok is false
// where there is anything else in s.
func digitsOf(s string) (digits string, ok bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case strings.ContainsRune("+ -().\u00a0/", r):
		default:
			return "", false
		}
	}
	return b.String(), true
}

// ownerName is SQL for the name of an owner that a row of table t names in the
// columns kind and id; where there is no such owner, it is what otherwise says.
func ownerName(t, kind, id, otherwise string) string {
	return fmt.Sprintf(`COALESCE((SELECT u.name FROM users u WHERE %[1]s.%[2]s = 'user' AND u.company = %[1]s.company AND u.id = %[1]s.%[3]s),
		(SELECT p.name FROM place p WHERE p.company = %[1]s.company AND p.kind = %[1]s.%[2]s AND p.id = %[1]s.%[3]s), %[4]s)`, t, kind, id, otherwise)
}

var numberColumns = "n.number, n.national, n.type, n.region, n.area_code, n.prefix, n.status, n.owner_kind, n.owner_id, n.updated_us, " + ownerName("n", "owner_kind", "owner_id", "''")

func scanNumber(scan func(...any) error) (Number, error) {
	var n Number
	var o Owner
	var since int64
	if err := scan(&n.Number, &n.National, &n.Type, &n.Region, &n.AreaCode, &n.Prefix, &n.Status, &o.Kind, &o.ID, &since, &o.Name); err != nil {
		return Number{}, err
	}
	n.Since = fromMicros(since)
	if o.Kind != "" {
		n.Owner = &o
	}
	return n, nil
}

// Number returns one number of a company, by any way of writing it.
func (d *Directory) Number(ctx context.Context, company, value string) (Number, error) {
	return number(ctx, d.db, company, d.lookupForm(ctx, company, value))
}

// lookupForm is value as E.164, or a string that no number equals.
func (d *Directory) lookupForm(ctx context.Context, company, value string) string {
	region, err := companyRegion(ctx, d.db, company)
	if err != nil {
		return ""
	}
	value = strings.TrimSpace(value)
	// A + is easily lost in a URL, where it can mean a space. 00 and 011 stand for
	// it where they are dialled; written down they are also seen elsewhere.
	forms := []string{value, "+" + value}
	for _, international := range []string{"00", "011"} {
		if rest, found := strings.CutPrefix(value, international); found {
			forms = append(forms, "+"+rest)
		}
	}
	for _, form := range forms {
		if n, err := ParseNumber(form, region); err == nil {
			return n.Number
		}
	}
	return ""
}

func number(ctx context.Context, q querier, company, e164 string) (Number, error) {
	n, err := scanNumber(q.QueryRowContext(ctx, "SELECT "+numberColumns+" FROM number n WHERE n.company = $1 AND n.number = $2", company, e164).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Number{}, ErrNotFound
	case err != nil:
		return Number{}, fmt.Errorf("cannot read the number: %w", err)
	}
	return n, nil
}

// CreateNumber adds a number to a company, owned where owner is not nil.
// status may be port_pending; empty means as the owner says.
func (d *Directory) CreateNumber(ctx context.Context, company, value, status string, owner *Owner) (Number, error) {
	var n Number
	err := d.write(ctx, func(tx *sql.Tx) error {
		region, err := companyRegion(ctx, tx, company)
		if err != nil {
			return err
		}
		if n, err = ParseNumber(value, region); err != nil {
			return err
		}
		known, err := exists(ctx, tx, "SELECT 1 FROM number WHERE company = $1 AND number = $2", company, n.Number)
		if err != nil {
			return err
		}
		if known {
			return conflict("number", "is there already")
		}
		if n.Status, err = statusFor(status, owner); err != nil {
			return err
		}
		if owner != nil {
			if err := checkOwner(ctx, tx, company, "owner", *owner); err != nil {
				return err
			}
			n.Owner = owner
		}
		if err := addNumbers(ctx, tx, company, []Number{n}, "", d.now()); err != nil {
			return err
		}
		n, err = number(ctx, tx, company, n.Number)
		return err
	})
	if err != nil {
		return Number{}, err
	}
	return n, nil
}

func statusFor(status string, owner *Owner) (string, error) {
	if owner != nil {
		if status != "" && status != owner.Kind {
			return "", invalid("status", "contradicts the owner")
		}
		return owner.Kind, nil
	}
	switch status {
	case "", StatusAvailable:
		return StatusAvailable, nil
	case StatusPortPending:
		return StatusPortPending, nil
	}
	return "", invalid("status", "needs an owner")
}

// TransferNumber assigns a number to another owner, or to no one: KindPool
// without an id. The reason is kept in its history and in the notes of the users
// concerned.
//
// An owner that would be left without any number keeps it: the answer is then
// ErrConflict. That holds for users, rooms and offices, and for departments and
// contact centers too: they are lines that people call, and one without a number
// would be reached by no one while all lists still show it. Only what ends an
// owner, such as deleting a user, takes its last number.
func (d *Directory) TransferNumber(ctx context.Context, company, value string, to Owner, reason string) (Number, error) {
	reason = strings.TrimSpace(reason)
	if err := checkWritten("reason", reason); err != nil {
		return Number{}, err
	}
	e164 := d.lookupForm(ctx, company, value)
	var n Number
	err := d.write(ctx, func(tx *sql.Tx) error {
		var err error
		if n, err = number(ctx, tx, company, e164); err != nil {
			return err
		}
		if err := checkTarget(ctx, tx, company, "to", to); err != nil {
			return err
		}
		if n.Status == StatusPortPending {
			return conflict("number", "is being ported and cannot be transferred yet")
		}
		if n.has(to) {
			return errUnchanged // done already
		}
		if n.Owner != nil {
			last, err := isLast(ctx, tx, company, n)
			if err != nil {
				return err
			}
			if last {
				kind := strings.ReplaceAll(n.Owner.Kind, "_", " ")
				return conflict("number", "is the only number that its "+kind+" has: assign another number to the "+kind+" first")
			}
		}
		if err := moveNumber(ctx, tx, company, n, to, "number.transfer", reason, d.now()); err != nil {
			return err
		}
		n, err = number(ctx, tx, company, e164)
		return err
	})
	if err != nil {
		return Number{}, err
	}
	return n, nil
}

// has says whether o is where n is.
func (n Number) has(o Owner) bool {
	if n.Owner == nil {
		return o.Kind == KindPool && n.Status == StatusAvailable
	}
	return n.Owner.Kind == o.Kind && n.Owner.ID == o.ID
}

// isLast says whether the owner of n has no other number.
func isLast(ctx context.Context, tx *sql.Tx, company string, n Number) (bool, error) {
	other, err := exists(ctx, tx, "SELECT 1 FROM number WHERE company = $1 AND owner_kind = $2 AND owner_id = $3 AND number <> $4 LIMIT 1",
		company, n.Owner.Kind, n.Owner.ID, n.Number)
	return !other, err
}

// checkTarget is checkOwner for where numbers may go: to the pool as well.
func checkTarget(ctx context.Context, tx *sql.Tx, company, field string, to Owner) error {
	switch {
	case to.Kind != KindPool && to.ID == "":
		return invalid(field+".id", "must be given")
	case to.Kind != KindPool:
		return checkOwner(ctx, tx, company, field, to)
	case to.ID != "":
		return invalid(field+".id", "cannot be given for the pool")
	}
	return nil
}

func checkOwner(ctx context.Context, tx *sql.Tx, company, field string, o Owner) error {
	var query string
	args := []any{company, o.ID}
	switch o.Kind {
	case KindUser:
		query = "SELECT 1 FROM users WHERE company = $1 AND id = $2 AND state <> 'deleted'"
	case KindOffice, KindDepartment, KindRoom, KindContactCenter:
		query, args = "SELECT 1 FROM place WHERE company = $1 AND id = $2 AND kind = $3", append(args, o.Kind)
	default:
		return invalid(field+".kind", "must be user, office, department, room or contact_center")
	}
	known := false
	if idPattern.MatchString(o.ID) {
		var err error
		if known, err = exists(ctx, tx, query, args...); err != nil {
			return err
		}
	}
	if !known {
		return invalid(field+".id", "is not a known "+strings.ReplaceAll(o.Kind, "_", " ")+" of the company")
	}
	return nil
}

// ownedNumbers maps owners of one kind to their numbers, in the order in which
// they were added: the first is the one to show.
func ownedNumbers(ctx context.Context, q querier, company, kind string, ids []string) (map[string][]string, error) {
	out := make(map[string][]string, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	args := appendAll([]any{company, kind}, ids)
	err := each(ctx, q, func(r *sql.Rows) error {
		var id, n string
		if err := r.Scan(&id, &n); err != nil {
			return err
		}
		out[id] = append(out[id], n)
		return nil
	}, "SELECT owner_id, number FROM number WHERE company = $1 AND owner_kind = $2 AND owner_id IN ("+placeholders(3, len(ids))+") ORDER BY created_us, number", args...)
	return out, err
}

func companyRegion(ctx context.Context, q querier, company string) (string, error) {
	var region string
	err := q.QueryRowContext(ctx, "SELECT region FROM company WHERE id = $1", company).Scan(&region)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("cannot read the company: %w", err)
	}
	return region, nil
}

// E164 is a number as measured calls carry it: E.164 where value can be read as
// a number in the company's region, else value as it is.
func (d *Directory) E164(ctx context.Context, company, value string) string {
	if n := d.lookupForm(ctx, company, value); n != "" {
		return n
	}
	return strings.TrimSpace(value)
}
