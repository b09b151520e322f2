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
}

// ParseNumber reads a number as people write it. Without a + it is read as
// dialled in region. Numbers that no one can have, such as 911, are refused.
func ParseNumber(value, region string) (Number, error) {
	p, err := phonenumbers.Parse(value, region)
	if err != nil || !phonenumbers.IsValidNumber(p) {
		return Number{}, invalid("number", "is not a valid number")
	}
	n := Number{
		Number:   phonenumbers.Format(p, phonenumbers.E164),
		National: phonenumbers.GetNationalSignificantNumber(p),
		Type:     TypeLocal,
		Region:   phonenumbers.GetRegionCodeForNumber(p),
		Status:   StatusAvailable,
	}
	if phonenumbers.GetNumberType(p) == phonenumbers.TOLL_FREE {
		n.Type = TypeTollFree
	}
	n.AreaCode = n.National[:min(3, len(n.National))]
	n.Prefix = n.National[len(n.AreaCode):min(6, len(n.National))]
	return n, nil
}

// NumberFilter narrows a list of numbers; empty fields do not.
type NumberFilter struct {
	// Query is a full number, an area code, a prefix or the end of a number,
	// in any punctuation.
	Query  string
	Type   string
	Status string
	Owner  *Owner
	Page
}

// searchDigits is the digits of a query that can be about a number.
func searchDigits(q string) (string, bool) {
	digits, ok := digitsOf(q)
	return digits, ok && digits != ""
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

const numberColumns = `n.number, n.national, n.type, n.region, n.area_code, n.prefix, n.status, n.owner_kind, n.owner_id,
	COALESCE((SELECT u.name FROM users u WHERE n.owner_kind = 'user' AND u.company = n.company AND u.id = n.owner_id),
	         (SELECT p.name FROM place p WHERE p.company = n.company AND p.kind = n.owner_kind AND p.id = n.owner_id), '')`

func scanNumber(scan func(...any) error) (Number, error) {
	var n Number
	var o Owner
	if err := scan(&n.Number, &n.National, &n.Type, &n.Region, &n.AreaCode, &n.Prefix, &n.Status, &o.Kind, &o.ID, &o.Name); err != nil {
		return Number{}, err
	}
	if o.Kind != "" {
		n.Owner = &o
	}
	return n, nil
}

// Numbers lists the numbers of a company in numerical order.
func (d *Directory) Numbers(ctx context.Context, company string, f NumberFilter) ([]Number, string, error) {
	query, args := "SELECT "+numberColumns+" FROM number n WHERE n.company = $1", []any{company}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if f.Type != "" {
		query += " AND n.type = " + arg(f.Type)
	}
	if f.Status != "" {
		query += " AND n.status = " + arg(f.Status)
	}
	if f.Owner != nil {
		query += " AND n.owner_kind = " + arg(f.Owner.Kind) + " AND n.owner_id = " + arg(f.Owner.ID)
	}
	if f.Query != "" {
		digits, ok := searchDigits(f.Query)
		if !ok {
			return nil, "", invalid("q", "must be digits: a number, an area code, a prefix or the end of a number")
		}
		if strings.HasPrefix(strings.TrimSpace(f.Query), "+") {
			query += " AND n.number LIKE " + arg("+"+digits+"%")
		} else {
			exact, begins, ends := arg(digits), arg(digits+"%"), arg("%"+digits)
			query += " AND (n.national LIKE " + begins + " OR n.number LIKE " + arg("+"+digits+"%") + " OR n.prefix = " + exact + " OR n.national LIKE " + ends + ")"
		}
	}
	if f.Cursor != "" {
		key, err := decodeCursor(f.Cursor, 1)
		if err != nil {
			return nil, "", err
		}
		query += " AND n.number > " + arg(key[0])
	}
	query += " ORDER BY n.number LIMIT " + arg(f.limit()+1)
	var out []Number
	err := each(ctx, d.db, func(r *sql.Rows) error {
		n, err := scanNumber(r.Scan)
		out = append(out, n)
		return err
	}, query, args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, f.limit(), func(n Number) []string { return []string{n.Number} })
	return out, next, nil
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
	// A + is easily lost in a URL, where it can mean a space.
	value = strings.TrimSpace(value)
	if n, err := ParseNumber(value, region); err == nil {
		return n.Number
	}
	if n, err := ParseNumber("+"+value, region); err == nil {
		return n.Number
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
	now := d.now()
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
		if err := insertNumber(ctx, tx, company, n, now); err != nil {
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

// TransferNumber assigns a number to another owner. An owner that would be left
// without any number keeps it: the answer is then ErrConflict.
func (d *Directory) TransferNumber(ctx context.Context, company, value string, to Owner) (Number, error) {
	e164 := d.lookupForm(ctx, company, value)
	var n Number
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		var err error
		if n, err = number(ctx, tx, company, e164); err != nil {
			return err
		}
		if err := checkOwner(ctx, tx, company, "to", to); err != nil {
			return err
		}
		if n.Status == StatusPortPending {
			return conflict("number", "is being ported and cannot be transferred yet")
		}
		if n.Owner != nil {
			if n.Owner.Kind == to.Kind && n.Owner.ID == to.ID {
				return nil // done already
			}
			var left int
			err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM number WHERE company = $1 AND owner_kind = $2 AND owner_id = $3 AND number <> $4",
				company, n.Owner.Kind, n.Owner.ID, e164).Scan(&left)
			if err != nil {
				return fmt.Errorf("cannot count the numbers of the source: %w", err)
			}
			if left == 0 {
				return conflict("number", "is the only one its "+strings.ReplaceAll(n.Owner.Kind, "_", " ")+" has; assign another first")
			}
		}
		if err := setOwner(ctx, tx, company, e164, to, now); err != nil {
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

func checkOwner(ctx context.Context, tx *sql.Tx, company, field string, o Owner) error {
	var known bool
	var err error
	switch o.Kind {
	case KindUser:
		known, err = exists(ctx, tx, "SELECT 1 FROM users WHERE company = $1 AND id = $2 AND state <> 'deleted'", company, o.ID)
	case KindOffice, KindDepartment, KindRoom, KindContactCenter:
		known, err = exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, o.Kind, o.ID)
	default:
		return invalid(field+".kind", "must be user, office, department, room or contact_center")
	}
	if err != nil {
		return err
	}
	if !known {
		return invalid(field+".id", "is not a known "+strings.ReplaceAll(o.Kind, "_", " ")+" of the company")
	}
	return nil
}

func setOwner(ctx context.Context, tx *sql.Tx, company, e164 string, o Owner, now time.Time) error {
	_, err := tx.ExecContext(ctx, "UPDATE number SET status = $1, owner_kind = $1, owner_id = $2, updated_us = $3 WHERE company = $4 AND number = $5",
		o.Kind, o.ID, micros(now), company, e164)
	if err != nil {
		return fmt.Errorf("cannot assign the number: %w", err)
	}
	return nil
}

func insertNumber(ctx context.Context, tx *sql.Tx, company string, n Number, now time.Time) error {
	var o Owner
	if n.Owner != nil {
		o = *n.Owner
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO number (company, number, national, type, region, area_code, prefix, status, owner_kind, owner_id, created_us, updated_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) ON CONFLICT (company, number) DO NOTHING`,
		company, n.Number, n.National, n.Type, n.Region, n.AreaCode, n.Prefix, n.Status, o.Kind, o.ID, micros(now))
	if err != nil {
		return fmt.Errorf("cannot store the number: %w", err)
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
	args := []any{company, kind}
	for _, id := range ids {
		args = append(args, id)
	}
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
