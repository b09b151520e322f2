package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
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
	query, args := "SELECT id, name, region, created_us FROM company WHERE 1 = 1", []any{}
	if only != "" {
		args = append(args, only)
		query += fmt.Sprintf(" AND id = $%d", len(args))
	}
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		args = append(args, key[0], key[1])
		query += fmt.Sprintf(" AND (name, id) > ($%d, $%d)", len(args)-1, len(args))
	}
	args = append(args, page.limit()+1)
	query += fmt.Sprintf(" ORDER BY name, id LIMIT $%d", len(args))
	var out []Company
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var c Company
		var created int64
		if err := r.Scan(&c.ID, &c.Name, &c.Region, &created); err != nil {
			return err
		}
		c.CreatedAt = fromMicros(created)
		out = append(out, c)
		return nil
	}, query, args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(c Company) []string { return []string{c.Name, c.ID} })
	return out, next, nil
}

// Company returns one company.
func (d *Directory) Company(ctx context.Context, id string) (Company, error) {
	var c Company
	var created int64
	err := d.db.QueryRowContext(ctx, "SELECT id, name, region, created_us FROM company WHERE id = $1", id).Scan(&c.ID, &c.Name, &c.Region, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Company{}, ErrNotFound
	case err != nil:
		return Company{}, fmt.Errorf("cannot read the company: %w", err)
	}
	c.CreatedAt = fromMicros(created)
	return c, nil
}

// CreateCompany stores a new company. Its id is part of every link, so the
// caller chooses it.
func (d *Directory) CreateCompany(ctx context.Context, c Company) (Company, error) {
	if !idPattern.MatchString(c.ID) {
		return Company{}, invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	if c.Name = strings.TrimSpace(c.Name); c.Name == "" {
		return Company{}, invalid("name", "must not be empty")
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
		return insertCompany(ctx, tx, c)
	})
	if err != nil {
		return Company{}, err
	}
	return c, nil
}

func insertCompany(ctx context.Context, tx *sql.Tx, c Company) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO company (id, name, region, created_us) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO NOTHING`, c.ID, c.Name, c.Region, micros(c.CreatedAt))
	if err != nil {
		return fmt.Errorf("cannot store the company: %w", err)
	}
	return nil
}

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

// Kinds of places and owners.
const (
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

// Places lists the places of one kind by name.
func (d *Directory) Places(ctx context.Context, company, kind string, page Page) ([]Place, string, error) {
	// Membership of an office is a column of the user, of the others a row.
	members := `(SELECT COUNT(*) FROM membership m JOIN users u ON u.company = m.company AND u.id = m.user_id AND u.state <> 'deleted'
		WHERE m.company = p.company AND m.kind = p.kind AND m.place_id = p.id)`
	if kind == KindOffice {
		members = "(SELECT COUNT(*) FROM users u WHERE u.company = p.company AND u.office_id = p.id AND u.state <> 'deleted')"
	}
	query, args := "SELECT p.id, p.name, p.office_id, p.created_us, "+members+" FROM place p WHERE p.company = $1 AND p.kind = $2", []any{company, kind}
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		args = append(args, key[0], key[1])
		query += " AND (p.name, p.id) > ($3, $4)"
	}
	args = append(args, page.limit()+1)
	query += fmt.Sprintf(" ORDER BY p.name, p.id LIMIT $%d", len(args))
	var out []Place
	err := each(ctx, d.db, func(r *sql.Rows) error {
		p := Place{Kind: kind}
		var created int64
		if err := r.Scan(&p.ID, &p.Name, &p.Office, &created, &p.Users); err != nil {
			return err
		}
		p.CreatedAt = fromMicros(created)
		out = append(out, p)
		return nil
	}, query, args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, page.limit(), func(p Place) []string { return []string{p.Name, p.ID} })
	ids := make([]string, len(out))
	for i := range out {
		ids[i] = out[i].ID
	}
	numbers, err := ownedNumbers(ctx, d.db, company, kind, ids)
	if err != nil {
		return nil, "", err
	}
	for i := range out {
		out[i].Numbers = numbers[out[i].ID]
	}
	return out, next, nil
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
		known, err := exists(ctx, tx, "SELECT 1 FROM company WHERE id = $1", company)
		if err != nil {
			return err
		}
		if !known {
			return ErrNotFound
		}
		if known, err = exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, p.Kind, p.ID); err != nil {
			return err
		}
		if known {
			return conflict("id", "is taken")
		}
		if p.Office != "" {
			if known, err = exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = 'office' AND id = $2", company, p.Office); err != nil {
				return err
			}
			if !known {
				return invalid("office", "is not an office of the company")
			}
		}
		return insertPlace(ctx, tx, company, p)
	})
	if err != nil {
		return Place{}, err
	}
	return p, nil
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
	if p.Name = strings.TrimSpace(p.Name); p.Name == "" {
		return invalid("name", "must not be empty")
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
