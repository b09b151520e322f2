package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// States of a user's account.
const (
	StateActive  = "active"
	StatePending = "pending"
	StateInvited = "invited"
	StateDeleted = "deleted"
)

// User is a person with an account.
type User struct {
	ID             string
	Name           string
	Email          string
	State          string
	Office         string
	Numbers        []string // E.164
	AORs           []string // user@host, or user alone for any host
	Departments    []string
	ContactCenters []string
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// UserFilter narrows a list of users; empty fields do not.
type UserFilter struct {
	// Query matches part of a name, email address, id, number or SIP address.
	Query  string
	State  string
	Office string
	// IDs, where not nil, is who may be in the answer.
	IDs []string
	Page
}

// Users lists users by name.
func (d *Directory) Users(ctx context.Context, company string, f UserFilter) ([]User, string, error) {
	query, args := "SELECT id, name, email, state, office_id, created_us, updated_us FROM users WHERE company = $1", []any{company}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if f.State != "" {
		query += " AND state = " + arg(f.State)
	}
	if f.Office != "" {
		query += " AND office_id = " + arg(f.Office)
	}
	if f.IDs != nil {
		if len(f.IDs) == 0 {
			return nil, "", nil
		}
		query += " AND id IN (" + placeholders(len(args)+1, len(f.IDs)) + ")"
		for _, id := range f.IDs {
			args = append(args, id)
		}
	}
	if q := strings.TrimSpace(f.Query); q != "" {
		like := arg("%" + escapeLike(strings.ToLower(q)) + "%")
		match := "search LIKE " + like + ` ESCAPE '\' OR EXISTS (SELECT 1 FROM aor a WHERE a.company = users.company AND a.user_id = users.id AND a.aor LIKE ` + like + ` ESCAPE '\')`
		if digits, ok := searchDigits(q); ok {
			match += " OR EXISTS (SELECT 1 FROM number n WHERE n.company = users.company AND n.owner_kind = 'user' AND n.owner_id = users.id AND n.number LIKE " + arg("%"+digits+"%") + ")"
		}
		query += " AND (" + match + ")"
	}
	if f.Cursor != "" {
		key, err := decodeCursor(f.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		query += " AND (name, id) > (" + arg(key[0]) + ", " + arg(key[1]) + ")"
	}
	query += " ORDER BY name, id LIMIT " + arg(f.limit()+1)
	out, err := d.users(ctx, d.db, company, query, args...)
	if err != nil {
		return nil, "", err
	}
	out, next := cut(out, f.limit(), func(u User) []string { return []string{u.Name, u.ID} })
	return out, next, nil
}

// User returns one user.
func (d *Directory) User(ctx context.Context, company, id string) (User, error) {
	return d.user(ctx, d.db, company, id)
}

func (d *Directory) user(ctx context.Context, q querier, company, id string) (User, error) {
	users, err := d.users(ctx, q, company, `SELECT id, name, email, state, office_id, created_us, updated_us
		FROM users WHERE company = $1 AND id = $2`, company, id)
	if err != nil {
		return User{}, err
	}
	if len(users) == 0 {
		return User{}, ErrNotFound
	}
	return users[0], nil
}

// users reads users and what hangs on them, with a fixed number of queries.
func (d *Directory) users(ctx context.Context, q querier, company, query string, args ...any) ([]User, error) {
	var out []User
	err := each(ctx, q, func(r *sql.Rows) error {
		var u User
		var created, updated int64
		if err := r.Scan(&u.ID, &u.Name, &u.Email, &u.State, &u.Office, &created, &updated); err != nil {
			return err
		}
		u.CreatedAt, u.UpdatedAt = fromMicros(created), fromMicros(updated)
		out = append(out, u)
		return nil
	}, query, args...)
	if err != nil || len(out) == 0 {
		return out, err
	}
	ids := make([]string, len(out))
	at := make(map[string]*User, len(out))
	for i := range out {
		ids[i] = out[i].ID
		at[out[i].ID] = &out[i]
	}
	numbers, err := ownedNumbers(ctx, q, company, KindUser, ids)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Numbers = numbers[out[i].ID]
	}
	in := "(" + placeholders(2, len(ids)) + ")"
	keys := []any{company}
	for _, id := range ids {
		keys = append(keys, id)
	}
	err = each(ctx, q, func(r *sql.Rows) error {
		var id, aor string
		if err := r.Scan(&id, &aor); err != nil {
			return err
		}
		at[id].AORs = append(at[id].AORs, aor)
		return nil
	}, "SELECT user_id, aor FROM aor WHERE company = $1 AND user_id IN "+in+" ORDER BY aor", keys...)
	if err != nil {
		return nil, err
	}
	err = each(ctx, q, func(r *sql.Rows) error {
		var id, kind, place string
		if err := r.Scan(&id, &kind, &place); err != nil {
			return err
		}
		if kind == KindDepartment {
			at[id].Departments = append(at[id].Departments, place)
		} else {
			at[id].ContactCenters = append(at[id].ContactCenters, place)
		}
		return nil
	}, "SELECT user_id, kind, place_id FROM membership WHERE company = $1 AND user_id IN "+in+" ORDER BY place_id", keys...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CreateUser stores a new user, with its SIP addresses and memberships.
// Numbers that the company has must be available; others are added to it.
func (d *Directory) CreateUser(ctx context.Context, company string, u User) (User, error) {
	if u.ID == "" {
		u.ID = newID()
	}
	if u.State == "" {
		u.State = StateActive
	}
	if err := checkUser(&u); err != nil {
		return User{}, err
	}
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		region, err := companyRegion(ctx, tx, company)
		if err != nil {
			return err
		}
		known, err := exists(ctx, tx, "SELECT 1 FROM users WHERE company = $1 AND id = $2", company, u.ID)
		if err != nil {
			return err
		}
		if known {
			return conflict("id", "is taken")
		}
		if err := checkUserRefs(ctx, tx, company, u); err != nil {
			return err
		}
		if err := insertUser(ctx, tx, company, u, now); err != nil {
			return err
		}
		if err := replaceAORs(ctx, tx, company, u.ID, u.AORs); err != nil {
			return err
		}
		if err := replaceMemberships(ctx, tx, company, u); err != nil {
			return err
		}
		for i, value := range u.Numbers {
			field := fmt.Sprintf("numbers[%d]", i)
			n, err := ParseNumber(value, region)
			if err != nil {
				return invalid(field, "is not a valid number")
			}
			stored, err := number(ctx, tx, company, n.Number)
			switch {
			case errors.Is(err, ErrNotFound):
				n.Status, n.Owner = KindUser, &Owner{Kind: KindUser, ID: u.ID}
				if err := insertNumber(ctx, tx, company, n, now); err != nil {
					return err
				}
			case err != nil:
				return err
			case stored.Status != StatusAvailable:
				return conflict(field, "is not available")
			default:
				if err := setOwner(ctx, tx, company, n.Number, Owner{Kind: KindUser, ID: u.ID}, now); err != nil {
					return err
				}
			}
		}
		u, err = d.user(ctx, tx, company, u.ID)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// UserChange is what PATCH may change; nil fields stay as they are.
type UserChange struct {
	Name           *string
	Email          *string
	State          *string
	Office         *string
	AORs           *[]string
	Departments    *[]string
	ContactCenters *[]string
}

// UpdateUser changes a user. Setting the state to deleted releases its numbers
// and SIP addresses, as DeleteUser does.
func (d *Directory) UpdateUser(ctx context.Context, company, id string, c UserChange) (User, error) {
	var u User
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		var err error
		if u, err = d.user(ctx, tx, company, id); err != nil {
			return err
		}
		set := func(field *string, to *string) {
			if to != nil {
				*field = *to
			}
		}
		set(&u.Name, c.Name)
		set(&u.Email, c.Email)
		set(&u.State, c.State)
		set(&u.Office, c.Office)
		if c.AORs != nil {
			u.AORs = *c.AORs
		}
		if c.Departments != nil {
			u.Departments = *c.Departments
		}
		if c.ContactCenters != nil {
			u.ContactCenters = *c.ContactCenters
		}
		if err := checkUser(&u); err != nil {
			return err
		}
		if err := checkUserRefs(ctx, tx, company, u); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE users SET name = $1, email = $2, state = $3, office_id = $4, search = $5, updated_us = $6
			WHERE company = $7 AND id = $8`, u.Name, u.Email, u.State, u.Office, searchText(u), micros(now), company, id)
		if err != nil {
			return fmt.Errorf("cannot store the user: %w", err)
		}
		if u.State == StateDeleted {
			if err := release(ctx, tx, company, id, now); err != nil {
				return err
			}
		} else {
			if err := replaceAORs(ctx, tx, company, id, u.AORs); err != nil {
				return err
			}
			if err := replaceMemberships(ctx, tx, company, u); err != nil {
				return err
			}
		}
		u, err = d.user(ctx, tx, company, id)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// DeleteUser marks a user as deleted: the record stays, because calls refer to
// it; its numbers become available and its SIP addresses free.
func (d *Directory) DeleteUser(ctx context.Context, company, id string) error {
	state := StateDeleted
	_, err := d.UpdateUser(ctx, company, id, UserChange{State: &state})
	return err
}

func release(ctx context.Context, tx *sql.Tx, company, id string, now time.Time) error {
	for _, q := range []string{
		"DELETE FROM aor WHERE company = $1 AND user_id = $2",
		"DELETE FROM membership WHERE company = $1 AND user_id = $2",
	} {
		if _, err := tx.ExecContext(ctx, q, company, id); err != nil {
			return fmt.Errorf("cannot release what the user had: %w", err)
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE number SET status = 'available', owner_kind = '', owner_id = '', updated_us = $1
		WHERE company = $2 AND owner_kind = 'user' AND owner_id = $3`, micros(now), company, id)
	if err != nil {
		return fmt.Errorf("cannot release the user's numbers: %w", err)
	}
	return nil
}

// checkUser judges and normalises what can be judged without the database.
func checkUser(u *User) error {
	if !idPattern.MatchString(u.ID) {
		return invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	if u.Name = strings.TrimSpace(u.Name); u.Name == "" {
		return invalid("name", "must not be empty")
	}
	if u.Email = strings.ToLower(strings.TrimSpace(u.Email)); u.Email != "" {
		if a, err := mail.ParseAddress(u.Email); err != nil || a.Address != u.Email {
			return invalid("email", "is not an email address")
		}
	}
	switch u.State {
	case StateActive, StatePending, StateInvited, StateDeleted:
	default:
		return invalid("state", "must be active, pending, invited or deleted")
	}
	aors := make([]string, 0, len(u.AORs))
	for i, a := range u.AORs {
		n := NormalizeAOR(a)
		if n == "" || strings.ContainsAny(n, " \t\r\n<>\"") || strings.HasPrefix(n, "@") || strings.HasSuffix(n, "@") {
			return invalid(fmt.Sprintf("aors[%d]", i), "is not a SIP address")
		}
		if !slices.Contains(aors, n) {
			aors = append(aors, n)
		}
	}
	u.AORs = aors
	return nil
}

// checkUserRefs judges what refers to other records.
func checkUserRefs(ctx context.Context, tx *sql.Tx, company string, u User) error {
	place := func(field, kind, id string) error {
		known, err := exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", company, kind, id)
		if err != nil {
			return err
		}
		if !known {
			return invalid(field, "is not a known "+strings.ReplaceAll(kind, "_", " ")+" of the company")
		}
		return nil
	}
	if u.Office != "" {
		if err := place("office", KindOffice, u.Office); err != nil {
			return err
		}
	}
	for i, id := range u.Departments {
		if err := place(fmt.Sprintf("departments[%d]", i), KindDepartment, id); err != nil {
			return err
		}
	}
	for i, id := range u.ContactCenters {
		if err := place(fmt.Sprintf("contact_centers[%d]", i), KindContactCenter, id); err != nil {
			return err
		}
	}
	if u.Email != "" && u.State != StateDeleted {
		taken, err := exists(ctx, tx, "SELECT 1 FROM users WHERE company = $1 AND email = $2 AND state <> 'deleted' AND id <> $3", company, u.Email, u.ID)
		if err != nil {
			return err
		}
		if taken {
			return conflict("email", "is another user's")
		}
	}
	return nil
}

func searchText(u User) string { return strings.ToLower(u.Name + "\n" + u.Email + "\n" + u.ID) }

func insertUser(ctx context.Context, tx *sql.Tx, company string, u User, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO users (company, id, name, email, state, office_id, search, created_us, updated_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)`, company, u.ID, u.Name, u.Email, u.State, u.Office, searchText(u), micros(now))
	if err != nil {
		return fmt.Errorf("cannot store the user: %w", err)
	}
	return nil
}

func replaceAORs(ctx context.Context, tx *sql.Tx, company, user string, aors []string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM aor WHERE company = $1 AND user_id = $2", company, user); err != nil {
		return fmt.Errorf("cannot store the user's SIP addresses: %w", err)
	}
	for i, a := range aors {
		taken, err := exists(ctx, tx, "SELECT 1 FROM aor WHERE company = $1 AND aor = $2", company, a)
		if err != nil {
			return err
		}
		if taken {
			return conflict(fmt.Sprintf("aors[%d]", i), "is another user's")
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO aor (company, aor, user_id) VALUES ($1, $2, $3)", company, a, user); err != nil {
			return fmt.Errorf("cannot store the user's SIP addresses: %w", err)
		}
	}
	return nil
}

func replaceMemberships(ctx context.Context, tx *sql.Tx, company string, u User) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM membership WHERE company = $1 AND user_id = $2", company, u.ID); err != nil {
		return fmt.Errorf("cannot store the user's memberships: %w", err)
	}
	add := func(kind string, ids []string) error {
		for _, id := range ids {
			_, err := tx.ExecContext(ctx, `INSERT INTO membership (company, user_id, kind, place_id) VALUES ($1, $2, $3, $4)
				ON CONFLICT (company, user_id, kind, place_id) DO NOTHING`, company, u.ID, kind, id)
			if err != nil {
				return fmt.Errorf("cannot store the user's memberships: %w", err)
			}
		}
		return nil
	}
	if err := add(KindDepartment, u.Departments); err != nil {
		return err
	}
	return add(KindContactCenter, u.ContactCenters)
}

// NormalizeAOR brings a SIP URI or address to the form that AORs are stored and
// compared in: without scheme, parameters and port, in lower case. Hosts compare
// without regard to case (RFC 3261 §19.1.4); user parts are case-sensitive
// there, but no registrar in use tells Alice from alice.
func NormalizeAOR(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if i := strings.IndexByte(s, '<'); i >= 0 {
		s = s[i+1:]
		if j := strings.IndexByte(s, '>'); j >= 0 {
			s = s[:j]
		}
	}
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s = rest
			break
		}
	}
	user, host, ok := strings.Cut(s, "@")
	user, _, _ = strings.Cut(user, ";")
	if !ok {
		return user
	}
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host = host[:i]
	}
	// A port, but not the colons of an IPv6 reference.
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return user + "@" + host
}
