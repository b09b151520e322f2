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

// DefaultCompany is the company of telemetry that no rule maps to another.
const DefaultCompany = "default"

// Company is a tenant.
type Company struct {
	ID   string
	Name string
	// Region is the ISO 3166 code in which numbers without + are read.
	Region    string
	CreatedAt time.Time
}

// Companies lists all companies by name, or the one with the id only, where given.
func (d *Directory) Companies(ctx context.Context, only string, page Page) ([]Company, string, error) {
	c := &conditions{}
	c.and("1 = 1")
	if only != "" {
		c.and("id = ?", only)
	}
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		c.and("(name, id) > (?, ?)", key[0], key[1])
	}
	out, err := companies(ctx, d.db, fmt.Sprintf("%s ORDER BY name, id LIMIT %d", c, page.limit()+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(c Company) []string { return []string{c.Name, c.ID} })
	return out, next, nil
}

// Company returns one company.
func (d *Directory) Company(ctx context.Context, id string) (Company, error) {
	return oneCompany(ctx, d.db, id)
}

func oneCompany(ctx context.Context, q querier, id string) (Company, error) {
	out, err := companies(ctx, q, "id = $1", id)
	if err != nil {
		return Company{}, err
	}
	if len(out) == 0 {
		return Company{}, ErrNotFound
	}
	return out[0], nil
}

func companies(ctx context.Context, q querier, where string, args ...any) ([]Company, error) {
	var out []Company
	err := each(ctx, q, func(r *sql.Rows) error {
		var c Company
		var created int64
		if err := r.Scan(&c.ID, &c.Name, &c.Region, &created); err != nil {
			return err
		}
		c.CreatedAt = fromMicros(created)
		out = append(out, c)
		return nil
	}, "SELECT id, name, region, created_us FROM company WHERE "+where, args...)
	return out, err
}

func checkCompanyKnown(ctx context.Context, q querier, company string) error {
	known, err := exists(ctx, q, "SELECT 1 FROM company WHERE id = $1", company)
	if err == nil && !known {
		return ErrNotFound
	}
	return err
}

// CreateCompany stores a new company. Its id is part of every link, so the
// caller chooses it.
func (d *Directory) CreateCompany(ctx context.Context, c Company) (Company, error) {
	if !idPattern.MatchString(c.ID) {
		return Company{}, invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	c.Name = strings.TrimSpace(c.Name)
	if err := checkName(c.Name); err != nil {
		return Company{}, err
	}
	if c.Region == "" {
		c.Region = "US"
	}
	c.CreatedAt = d.now().UTC().Truncate(time.Microsecond)
	err := d.write(ctx, func(tx *sql.Tx) error {
		known, err := exists(ctx, tx, "SELECT 1 FROM company WHERE id = $1", c.ID)
		if err != nil {
			return err
		}
		if known {
			return conflict("id", "is taken")
		}
		if err := insertCompany(ctx, tx, c); err != nil {
			return err
		}
		return record(ctx, tx, c.ID, c.CreatedAt, Change{Action: "company.create", Kind: KindCompany, ID: c.ID,
			Fields: []FieldChange{{Field: "name", New: c.Name}, {Field: "region", New: c.Region}}})
	})
	if err != nil {
		return Company{}, err
	}
	return c, nil
}

// CompanyChange is what PATCH may change; nil fields stay as they are.
type CompanyChange struct {
	Name *string
	// Region is for numbers that are written from now on; those that are stored
	// keep what they were read as.
	Region *string
}

// UpdateCompany changes a company.
func (d *Directory) UpdateCompany(ctx context.Context, id string, c CompanyChange) (Company, error) {
	var out Company
	err := d.write(ctx, func(tx *sql.Tx) (err error) {
		if out, err = oneCompany(ctx, tx, id); err != nil {
			return err
		}
		var fields []FieldChange
		if c.Name != nil {
			name := strings.TrimSpace(*c.Name)
			if err := checkName(name); err != nil {
				return err
			}
			fields = changed(fields, "name", &out.Name, name)
		}
		if c.Region != nil {
			if !phonenumbers.GetSupportedRegions()[*c.Region] {
				return invalid("region", "is not an ISO 3166 code of a country with telephone numbers")
			}
			fields = changed(fields, "region", &out.Region, *c.Region)
		}
		if len(fields) == 0 {
			return errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE company SET name = $1, region = $2 WHERE id = $3", out.Name, out.Region, id); err != nil {
			return fmt.Errorf("cannot store the company: %w", err)
		}
		return record(ctx, tx, id, d.now(), Change{Action: "company.update", Kind: KindCompany, ID: id, Fields: fields})
	})
	return out, err
}

// changed notes and makes the change of one field, where it is one.
func changed(fields []FieldChange, name string, field *string, to string) []FieldChange {
	if *field == to {
		return fields
	}
	fields = append(fields, FieldChange{Field: name, Old: *field, New: to})
	*field = to
	return fields
}

func insertCompany(ctx context.Context, tx *sql.Tx, c Company) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO company (id, name, region, created_us) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO NOTHING`, c.ID, c.Name, c.Region, micros(c.CreatedAt))
	if err != nil {
		return fmt.Errorf("cannot store the company: %w", err)
	}
	return nil
}

// checkName judges the name of a company or place. The API allows 200 characters;
// here are bytes, of which a character has up to four.
func checkName(name string) error { return checkText("name", name, 800) }

// Counts is how much a company has.
type Counts struct {
	Users   int // not deleted
	Numbers int
}

// Counts counts the records of a company.
func (d *Directory) Counts(ctx context.Context, company string) (Counts, error) {
	var c Counts
	err := d.db.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM users WHERE company = $1 AND state <> 'deleted'),
		(SELECT COUNT(*) FROM number WHERE company = $1)`, company).Scan(&c.Users, &c.Numbers)
	if err != nil {
		return Counts{}, fmt.Errorf("cannot count the company's records: %w", err)
	}
	return c, nil
}

// Kinds of what belongs to a company, and the company itself.
const (
	KindCompany       = "company"
	KindUser          = "user"
	KindOffice        = "office"
	KindDepartment    = "department"
	KindRoom          = "room"
	KindContactCenter = "contact_center"
)

// Place is an office, department, room or contact center.
type Place struct {
	Kind      string
	ID        string
	Name      string
	Office    string // the office it is in; empty for an office
	Numbers   []string
	Users     int // members who are not deleted
	CreatedAt time.Time
}

// PlaceFilter narrows a list of places; empty fields do not.
type PlaceFilter struct {
	Query string // part of the name or id
	Page
}

// Places lists the places of one kind by name.
func (d *Directory) Places(ctx context.Context, company, kind string, f PlaceFilter) ([]Place, string, error) {
	wanted := strings.ToLower(strings.TrimSpace(f.Query))
	var after []string
	if f.Cursor != "" {
		var err error
		if after, err = decodeCursor(f.Cursor, 2); err != nil {
			return nil, "", err
		}
	}
	var out []Place
	for {
		where, args := "", []any{company, kind}
		if after != nil {
			where, args = " AND (p.name, p.id) > ($3, $4)", append(args, after[0], after[1])
		}
		args = append(args, f.limit()+1)
		chunk, err := places(ctx, d.db, kind, where+fmt.Sprintf(" ORDER BY p.name, p.id LIMIT $%d", len(args)), args...)
		if err != nil {
			return nil, "", err
		}
		for _, p := range chunk {
			// Here, for LOWER() of SQLite knows ASCII only. A company has few places.
			if strings.Contains(strings.ToLower(p.Name), wanted) || strings.Contains(strings.ToLower(p.ID), wanted) {
				out = append(out, p)
			}
			after = []string{p.Name, p.ID}
		}
		if len(chunk) <= f.limit() || len(out) > f.limit() {
			break
		}
	}
	out, next := cut(out, f.limit(), func(p Place) []string { return []string{p.Name, p.ID} })
	return out, next, addPlaceNumbers(ctx, d.db, company, kind, out)
}

// Place returns one place.
func (d *Directory) Place(ctx context.Context, company, kind, id string) (Place, error) {
	return onePlace(ctx, d.db, company, kind, id)
}

func onePlace(ctx context.Context, q querier, company, kind, id string) (Place, error) {
	out, err := places(ctx, q, kind, " AND p.id = $3", company, kind, id)
	if err != nil {
		return Place{}, err
	}
	if len(out) == 0 {
		return Place{}, ErrNotFound
	}
	return out[0], addPlaceNumbers(ctx, q, company, kind, out)
}

// places reads places of one kind; the first two arguments are company and kind.
func places(ctx context.Context, q querier, kind, where string, args ...any) ([]Place, error) {
	// Membership of an office is a column of the user, of the others a row.
	members := `(SELECT COUNT(*) FROM membership m JOIN users u ON u.company = m.company AND u.id = m.user_id AND u.state <> 'deleted'
		WHERE m.company = p.company AND m.kind = p.kind AND m.place_id = p.id)`
	if kind == KindOffice {
		members = "(SELECT COUNT(*) FROM users u WHERE u.company = p.company AND u.office_id = p.id AND u.state <> 'deleted')"
	}
	var out []Place
	err := each(ctx, q, func(r *sql.Rows) error {
		p := Place{Kind: kind}
		var created int64
		if err := r.Scan(&p.ID, &p.Name, &p.Office, &created, &p.Users); err != nil {
			return err
		}
		p.CreatedAt = fromMicros(created)
		out = append(out, p)
		return nil
	}, "SELECT p.id, p.name, p.office_id, p.created_us, "+members+" FROM place p WHERE p.company = $1 AND p.kind = $2"+where, args...)
	return out, err
}

// addPlaceNumbers completes places with the numbers that they own.
func addPlaceNumbers(ctx context.Context, q querier, company, kind string, to []Place) error {
	ids := make([]string, len(to))
	for i := range to {
		ids[i] = to[i].ID
	}
	numbers, err := ownedNumbers(ctx, q, company, kind, ids)
	for i := range to {
		to[i].Numbers = numbers[to[i].ID]
	}
	return err
}

// PlaceName is the name of a place, empty where there is no such place.
func (d *Directory) PlaceName(ctx context.Context, company, kind, id string) (string, error) {
	var name string
	err := d.db.QueryRowContext(ctx, "SELECT name FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, kind, id).Scan(&name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("cannot read the name of a place: %w", err)
	}
	return name, nil
}

// CreatePlace stores a new office, department, room or contact center.
func (d *Directory) CreatePlace(ctx context.Context, company string, p Place) (Place, error) {
	if p.ID == "" {
		p.ID = newID()
	}
	if err := checkPlace(&p); err != nil {
		return Place{}, err
	}
	p.CreatedAt = d.now().UTC().Truncate(time.Microsecond)
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := checkCompanyKnown(ctx, tx, company); err != nil {
			return err
		}
		known, err := exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, p.Kind, p.ID)
		if err != nil {
			return err
		}
		if known {
			return conflict("id", "is taken")
		}
		if err := checkOffice(ctx, tx, company, p.Office); err != nil {
			return err
		}
		if err := insertPlace(ctx, tx, company, p); err != nil {
			return err
		}
		fields := []FieldChange{{Field: "name", New: p.Name}}
		if p.Office != "" {
			fields = append(fields, FieldChange{Field: "office", New: p.Office})
		}
		return record(ctx, tx, company, p.CreatedAt, Change{Action: p.Kind + ".create", Kind: p.Kind, ID: p.ID, Fields: fields})
	})
	if err != nil {
		return Place{}, err
	}
	return p, nil
}

// PlaceChange is what PATCH may change; nil fields stay as they are.
type PlaceChange struct {
	Name   *string
	Office *string // empty: in none
}

// UpdatePlace changes a place.
func (d *Directory) UpdatePlace(ctx context.Context, company, kind, id string, c PlaceChange) (Place, error) {
	var p Place
	err := d.write(ctx, func(tx *sql.Tx) (err error) {
		if p, err = onePlace(ctx, tx, company, kind, id); err != nil {
			return err
		}
		after := p
		if c.Name != nil {
			after.Name = *c.Name
		}
		if c.Office != nil {
			after.Office = *c.Office
		}
		if err := checkPlace(&after); err != nil {
			return err
		}
		fields := changed(nil, "name", &p.Name, after.Name)
		if after.Office != p.Office {
			fields = changed(fields, "office", &p.Office, after.Office)
			if err := checkOffice(ctx, tx, company, p.Office); err != nil {
				return err
			}
			if err := moveNumbersToOffice(ctx, tx, company, Owner{Kind: kind, ID: id}, p.Office); err != nil {
				return err
			}
		}
		if len(fields) == 0 {
			return errUnchanged
		}
		_, err = tx.ExecContext(ctx, "UPDATE place SET name = $1, office_id = $2 WHERE company = $3 AND kind = $4 AND id = $5", p.Name, p.Office, company, kind, id)
		if err != nil {
			return fmt.Errorf("cannot store the place: %w", err)
		}
		return record(ctx, tx, company, d.now(), Change{Action: kind + ".update", Kind: kind, ID: id, Fields: fields})
	})
	return p, err
}

// DeletePlace removes a place that nothing hangs on any more.
func (d *Directory) DeletePlace(ctx context.Context, company, kind, id string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		p, err := onePlace(ctx, tx, company, kind, id)
		if err != nil {
			return err
		}
		left, err := leftIn(ctx, tx, company, p)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return conflict(kind, "still has "+enumerate(left)+"; move or remove them first")
		}
		now := d.now()
		if kind != KindRoom {
			if _, err := clearRecording(ctx, tx, company, kind, id, now); err != nil {
				return err
			}
		}
		if kind == KindOffice {
			if err := d.freeDeletedUsers(ctx, tx, company, id, now); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, kind, id); err != nil {
			return fmt.Errorf("cannot remove the place: %w", err)
		}
		return record(ctx, tx, company, now, Change{Action: kind + ".delete", Kind: kind, ID: id,
			Fields: []FieldChange{{Field: "name", Old: p.Name}, {Field: "office", Old: p.Office}}})
	})
}

// freeDeletedUsers takes an office that goes from the users who were deleted in
// it: they do not keep it, nor are they in another one that gets its id. The
// journal still tells where they were.
func (d *Directory) freeDeletedUsers(ctx context.Context, tx *sql.Tx, company, office string, now time.Time) error {
	for {
		users, err := d.users(ctx, tx, company, "SELECT "+userColumns+" FROM users WHERE company = $1 AND office_id = $2 AND state = 'deleted' ORDER BY id LIMIT 100", company, office)
		if err != nil || len(users) == 0 {
			return err
		}
		for _, u := range users {
			freed := u
			freed.Office = ""
			if err := storeUser(ctx, tx, company, u, freed, now); err != nil {
				return err
			}
		}
	}
}

// leftIn says what hangs on a place, such as "2 numbers".
func leftIn(ctx context.Context, q querier, company string, p Place) ([]string, error) {
	var left []string
	add := func(n int, noun string) {
		if n > 0 {
			left = append(left, counted(n, noun))
		}
	}
	add(p.Users, "member")
	add(len(p.Numbers), "number")
	if p.Kind == KindOffice {
		for _, kind := range []string{KindDepartment, KindRoom, KindContactCenter} {
			var n int
			if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM place WHERE company = $1 AND kind = $2 AND office_id = $3", company, kind, p.ID).Scan(&n); err != nil {
				return nil, fmt.Errorf("cannot count what is in the place: %w", err)
			}
			add(n, strings.ReplaceAll(kind, "_", " "))
		}
	}
	n, err := subscriptionsOf(ctx, q, company, p.Kind, p.ID)
	if err != nil {
		return nil, err
	}
	add(n, "subscription")
	err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM port_request WHERE company = $1 AND state IN ('draft', 'submitted', 'foc_received')
		AND ((target_kind = $2 AND target_id = $3) OR ($2 = 'office' AND office_id = $3))`, company, p.Kind, p.ID).Scan(&n)
	if err != nil {
		return nil, fmt.Errorf("cannot count what is in the place: %w", err)
	}
	add(n, "open port request")
	return left, nil
}

// enumerate is "a, b and c".
func enumerate(things []string) string {
	if len(things) < 2 {
		return strings.Join(things, "")
	}
	last := len(things) - 1
	return strings.Join(things[:last], ", ") + " and " + things[last]
}

// checkOffice refuses what is not an office of the company; empty is none.
func checkOffice(ctx context.Context, q querier, company, office string) error {
	if office == "" {
		return nil
	}
	known, err := exists(ctx, q, "SELECT 1 FROM place WHERE company = $1 AND kind = 'office' AND id = $2", company, office)
	if err != nil {
		return err
	}
	if !known {
		return invalid("office", "is not an office of the company")
	}
	return nil
}

func checkPlace(p *Place) error {
	switch p.Kind {
	case KindOffice, KindDepartment, KindRoom, KindContactCenter:
	default:
		return invalid("kind", "must be office, department, room or contact_center")
	}
	if !idPattern.MatchString(p.ID) {
		return invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	p.Name = strings.TrimSpace(p.Name)
	if err := checkName(p.Name); err != nil {
		return err
	}
	if p.Kind == KindOffice && p.Office != "" {
		return invalid("office", "cannot be given for an office")
	}
	return nil
}

func insertPlace(ctx context.Context, tx *sql.Tx, company string, p Place) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO place (company, kind, id, name, office_id, created_us) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (company, kind, id) DO NOTHING`, company, p.Kind, p.ID, p.Name, p.Office, micros(p.CreatedAt))
	if err != nil {
		return fmt.Errorf("cannot store the place: %w", err)
	}
	return nil
}
