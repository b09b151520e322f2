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
	"unicode"
	"unicode/utf8"
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
	// VoicemailGreeting is what callers hear who leave a message, as text.
	VoicemailGreeting string
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// UserFilter narrows a list of users; empty fields do not.
type UserFilter struct {
	// Query is words, all of which must begin a word of the name, the email
	// address, the id or a SIP address; digits also begin or end a number.
	Query         string
	State         string
	Office        string
	Department    string
	ContactCenter string
	// IDs, where not nil, is who may be in the answer.
	IDs []string
	Page
}

// User returns one user.
func (d *Directory) User(ctx context.Context, company, id string) (User, error) {
	return d.user(ctx, d.db, company, id)
}

func (d *Directory) user(ctx context.Context, q querier, company, id string) (User, error) {
	users, err := d.users(ctx, q, company, "SELECT "+userColumns+" FROM users WHERE company = $1 AND id = $2", company, id)
	if err != nil {
		return User{}, err
	}
	if len(users) == 0 {
		return User{}, ErrNotFound
	}
	return users[0], nil
}

const userColumns = "id, name, email, state, office_id, voicemail_greeting, created_us, updated_us"

// users reads users and what hangs on them, with a fixed number of queries.
func (d *Directory) users(ctx context.Context, q querier, company, query string, args ...any) ([]User, error) {
	var out []User
	err := each(ctx, q, func(r *sql.Rows) error {
		var u User
		var created, updated int64
		if err := r.Scan(&u.ID, &u.Name, &u.Email, &u.State, &u.Office, &u.VoicemailGreeting, &created, &updated); err != nil {
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
	in, list := d.oneOf("user_id", 2, ids)
	err = each(ctx, q, func(r *sql.Rows) error {
		var id, aor string
		if err := r.Scan(&id, &aor); err != nil {
			return err
		}
		at[id].AORs = append(at[id].AORs, aor)
		return nil
	}, "SELECT user_id, aor FROM aor WHERE company = $1 AND "+in+" ORDER BY aor", company, list)
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
	}, "SELECT user_id, kind, place_id FROM membership WHERE company = $1 AND "+in+" ORDER BY place_id", company, list)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CreateUser stores a new user, with its SIP addresses and memberships.
// Numbers that the company has must be available; others are added to it.
func (d *Directory) CreateUser(ctx context.Context, company string, u User) (User, error) {
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) (err error) {
		u, err = d.createUser(ctx, tx, company, u, now)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

func (d *Directory) createUser(ctx context.Context, tx *sql.Tx, company string, u User, now time.Time) (User, error) {
	if u.ID == "" {
		u.ID = newID()
	}
	if u.State == "" {
		u.State = StateActive
	}
	if err := checkUser(&u); err != nil {
		return User{}, err
	}
	region, err := companyRegion(ctx, tx, company)
	if err != nil {
		return User{}, err
	}
	known, err := exists(ctx, tx, "SELECT 1 FROM users WHERE company = $1 AND id = $2", company, u.ID)
	if err != nil {
		return User{}, err
	}
	if known {
		return User{}, conflict("id", "is taken")
	}
	if err := checkUserRefs(ctx, tx, company, u); err != nil {
		return User{}, err
	}
	u = ordered(u)
	if err := insertUser(ctx, tx, company, u, now); err != nil {
		return User{}, err
	}
	if err := replaceAORs(ctx, tx, company, u.ID, u.AORs); err != nil {
		return User{}, err
	}
	if err := replaceMemberships(ctx, tx, company, u); err != nil {
		return User{}, err
	}
	if err := record(ctx, tx, company, now, userChange("user.create", "", User{ID: u.ID}, u)...); err != nil {
		return User{}, err
	}
	if err := giveNumbers(ctx, tx, company, region, u, now); err != nil {
		return User{}, err
	}
	return d.user(ctx, tx, company, u.ID)
}

// giveNumbers assigns a new user its numbers, the first of which is the one to show.
func giveNumbers(ctx context.Context, tx *sql.Tx, company, region string, u User, now time.Time) error {
	owner := Owner{Kind: KindUser, ID: u.ID}
	for i, value := range u.Numbers {
		field := fmt.Sprintf("numbers[%d]", i)
		n, err := ParseNumber(value, region)
		if err != nil {
			return invalid(field, "is not a valid number")
		}
		stored, err := number(ctx, tx, company, n.Number)
		switch {
		case errors.Is(err, ErrNotFound):
			n.Status, n.Owner = KindUser, &owner
			if err := addNumbers(ctx, tx, company, []Number{n}, "", now.Add(time.Duration(i)*time.Microsecond)); err != nil {
				return err
			}
		case err != nil:
			return err
		case stored.Status != StatusAvailable:
			return conflict(field, "is not available")
		default:
			if err := moveNumber(ctx, tx, company, stored, owner, "number.transfer", "", now); err != nil {
				return err
			}
		}
	}
	return nil
}

// ordered is u as it is read back: what is a set in its order, and a deleted
// user without what only others have.
func ordered(u User) User {
	if u.State == StateDeleted {
		u.AORs, u.Departments, u.ContactCenters = nil, nil, nil
	}
	for _, set := range []*[]string{&u.AORs, &u.Departments, &u.ContactCenters} {
		*set = slices.Compact(slices.Sorted(slices.Values(*set)))
	}
	return u
}

// userFields is a user as the journal compares it. Numbers have entries of their own.
func userFields(u User) []FieldChange {
	return []FieldChange{
		{Field: "name", New: u.Name}, {Field: "email", New: u.Email}, {Field: "state", New: u.State}, {Field: "office", New: u.Office},
		{Field: "aors", New: strings.Join(u.AORs, ";")}, {Field: "departments", New: strings.Join(u.Departments, ";")},
		{Field: "contact_centers", New: strings.Join(u.ContactCenters, ";")}, {Field: "voicemail_greeting", New: u.VoicemailGreeting},
	}
}

// userChange is what the journal holds of a change from before to after: nothing
// where they are the same.
func userChange(action, text string, before, after User) []Change {
	was, fields := userFields(before), userFields(after)
	for i := range fields {
		fields[i].Old = was[i].New
	}
	fields = slices.DeleteFunc(fields, func(f FieldChange) bool { return f.Old == f.New })
	if len(fields) == 0 {
		return nil
	}
	return []Change{{Action: action, Kind: "user", ID: after.ID, User: after.ID, Text: text, Fields: fields}}
}

// UserChange is what PATCH may change; nil fields stay as they are.
type UserChange struct {
	Name              *string
	Email             *string
	State             *string
	Office            *string
	AORs              *[]string
	Departments       *[]string
	ContactCenters    *[]string
	VoicemailGreeting *string
}

func (c UserChange) apply(u *User) {
	set := func(field *string, to *string) {
		if to != nil {
			*field = *to
		}
	}
	set(&u.Name, c.Name)
	set(&u.Email, c.Email)
	set(&u.State, c.State)
	set(&u.Office, c.Office)
	set(&u.VoicemailGreeting, c.VoicemailGreeting)
	setAll := func(field *[]string, to *[]string) {
		if to != nil {
			*field = *to
		}
	}
	setAll(&u.AORs, c.AORs)
	setAll(&u.Departments, c.Departments)
	setAll(&u.ContactCenters, c.ContactCenters)
}

// UpdateUser changes a user. Setting the state to deleted does what DeleteUser does.
func (d *Directory) UpdateUser(ctx context.Context, company, id string, c UserChange) (User, error) {
	var u User
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) (err error) {
		if u, err = d.updateUser(ctx, tx, company, id, c, now); err != nil {
			return err
		}
		return orUnchanged(ctx, tx)
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

func (d *Directory) updateUser(ctx context.Context, tx *sql.Tx, company, id string, c UserChange, now time.Time) (User, error) {
	before, err := d.user(ctx, tx, company, id)
	if err != nil {
		return User{}, err
	}
	u := before
	c.apply(&u)
	if err := checkUser(&u); err != nil {
		return User{}, err
	}
	if u.State == StateDeleted && before.State != StateDeleted {
		if _, err := d.deleteUser(ctx, tx, company, before, now); err != nil {
			return User{}, err
		}
		if before, err = d.user(ctx, tx, company, id); err != nil {
			return User{}, err
		}
	}
	if u.State == StateDeleted { // has nothing that could be wrong
		u = ordered(u)
		// Offices that were deleted by an older program did not free those who were
		// deleted in them.
		if known, err := exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = 'office' AND id = $2", company, u.Office); err != nil {
			return User{}, err
		} else if !known && u.Office == before.Office {
			u.Office = ""
		}
	}
	if err := checkUserRefs(ctx, tx, company, u); err != nil {
		return User{}, err
	}
	if err := storeUser(ctx, tx, company, before, ordered(u), now); err != nil {
		return User{}, err
	}
	return d.user(ctx, tx, company, id)
}

// storeUser writes what is different from before, and the journal.
func storeUser(ctx context.Context, tx *sql.Tx, company string, before, u User, now time.Time) error {
	changes := userChange("user.update", "", before, u)
	if len(changes) == 0 {
		return nil
	}
	if err := deleteTokens(ctx, tx, company, u.ID); err != nil {
		return err
	}
	row := indexed{u.ID, nameKey(u.Name), tokensOf(u)}
	_, err := tx.ExecContext(ctx, `UPDATE users SET name = $1, email = $2, state = $3, office_id = $4, voicemail_greeting = $5, search = $6, name_key = $7, updated_us = $8
		WHERE company = $9 AND id = $10`, u.Name, u.Email, u.State, u.Office, u.VoicemailGreeting, searchText(row.tokens), []byte(row.key), micros(now), company, u.ID)
	if err != nil {
		return fmt.Errorf("cannot store the user: %w", err)
	}
	if err := insertTokens(ctx, tx, company, row); err != nil {
		return err
	}
	if !slices.Equal(before.AORs, u.AORs) {
		if err := replaceAORs(ctx, tx, company, u.ID, u.AORs); err != nil {
			return err
		}
	}
	if !slices.Equal(before.Departments, u.Departments) || !slices.Equal(before.ContactCenters, u.ContactCenters) {
		if err := replaceMemberships(ctx, tx, company, u); err != nil {
			return err
		}
	}
	if before.Office != u.Office {
		if err := moveNumbersToOffice(ctx, tx, company, Owner{Kind: KindUser, ID: u.ID}, u.Office); err != nil {
			return err
		}
	}
	return record(ctx, tx, company, now, changes...)
}

// Deletion is what deleting a user does to what the user has.
type Deletion struct {
	Numbers           []string         // become available
	Devices           []DeletionDevice // lose their credentials
	AORs              []string         // become free
	Departments       []string         // lose a member
	ContactCenters    []string
	RecordingSettings int // are taken back
	Subscriptions     int // are deleted
	// Warnings are what the company may not want, in words.
	Warnings []string
}

// DeletionDevice is a device that has credentials.
type DeletionDevice struct{ ID, Name string }

// Deletion tells what DeleteUser would do now. Of a user who is deleted already
// there is nothing left to do.
func (d *Directory) Deletion(ctx context.Context, company, id string) (Deletion, error) {
	u, err := d.User(ctx, company, id)
	if err != nil {
		return Deletion{}, err
	}
	return deletion(ctx, d.db, company, u)
}

func deletion(ctx context.Context, q querier, company string, u User) (Deletion, error) {
	out := Deletion{Numbers: u.Numbers, AORs: u.AORs, Departments: u.Departments, ContactCenters: u.ContactCenters}
	err := each(ctx, q, func(r *sql.Rows) error {
		var c DeletionDevice
		err := r.Scan(&c.ID)
		c.Name = c.ID
		out.Devices = append(out.Devices, c)
		return err
	}, "SELECT device_id FROM device_credentials WHERE company = $1 AND user_id = $2 AND revoked_us = 0 ORDER BY device_id", company, u.ID)
	if err != nil {
		return Deletion{}, err
	}
	err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM recording_setting s WHERE s.company = $1 AND s.level = 'user' AND s.level_id = $2 AND s.setting <> ''
		AND NOT EXISTS (SELECT 1 FROM recording_setting l WHERE l.company = s.company AND l.level = 'user' AND l.level_id = s.level_id AND l.id > s.id)`,
		company, u.ID).Scan(&out.RecordingSettings)
	if err != nil {
		return Deletion{}, fmt.Errorf("cannot count recording settings: %w", err)
	}
	if out.Subscriptions, err = subscriptionsOf(ctx, q, company, KindUser, u.ID); err != nil {
		return Deletion{}, err
	}
	out.Warnings, err = deletionWarnings(ctx, q, company, u)
	return out, err
}

func deletionWarnings(ctx context.Context, q querier, company string, u User) ([]string, error) {
	var out []string
	for _, p := range []struct {
		kind, text string
		ids        []string
	}{{KindContactCenter, "the contact center %s is left without an agent: nobody answers its calls", u.ContactCenters}, {KindDepartment, "the department %s is left without a member", u.Departments}} {
		for _, id := range p.ids {
			others, err := exists(ctx, q, `SELECT 1 FROM membership m JOIN users u ON u.company = m.company AND u.id = m.user_id
				WHERE m.company = $1 AND m.kind = $2 AND m.place_id = $3 AND m.user_id <> $4 AND u.state IN ('active', 'invited') LIMIT 1`, company, p.kind, id, u.ID)
			if err != nil {
				return nil, err
			}
			if !others {
				out = append(out, fmt.Sprintf(p.text, id))
			}
		}
	}
	if len(u.Numbers) > 0 {
		out = append(out, fmt.Sprintf("nobody answers calls to %s until they are assigned anew", counted(len(u.Numbers), "number")))
	}
	return out, nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// DeleteUser marks a user as deleted: the record stays, because calls refer to
// it. What happens to what the user had is what Deletion said.
func (d *Directory) DeleteUser(ctx context.Context, company, id string) error {
	now := d.now()
	return d.write(ctx, func(tx *sql.Tx) error {
		u, err := d.user(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if u.State == StateDeleted {
			return errUnchanged
		}
		_, err = d.deleteUser(ctx, tx, company, u, now)
		return err
	})
}

// deleteUser does all of a Deletion, and returns it as it was then.
func (d *Directory) deleteUser(ctx context.Context, tx *sql.Tx, company string, u User, now time.Time) (Deletion, error) {
	done, err := deletion(ctx, tx, company, u)
	if err != nil {
		return Deletion{}, err
	}
	gone := u
	gone.State, gone.AORs, gone.Departments, gone.ContactCenters = StateDeleted, nil, nil, nil
	changes := userChange("user.delete", "", u, gone)
	subscriptions, err := deleteSubscriptionsOf(ctx, tx, company, KindUser, u.ID, now)
	if err != nil {
		return Deletion{}, err
	}
	changes = append(changes, subscriptions...)
	if err := deleteUserDevices(ctx, tx, company, u.ID, now); err != nil {
		return Deletion{}, err
	}
	if _, err := clearUserSettings(ctx, tx, company, u.ID, now); err != nil {
		return Deletion{}, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM scim_user WHERE company = $1 AND user_id = $2", company, u.ID); err != nil {
		return Deletion{}, fmt.Errorf("cannot forget what the identity provider calls the user: %w", err)
	}
	if err := storeDeleted(ctx, tx, company, gone, now); err != nil {
		return Deletion{}, err
	}
	if err := record(ctx, tx, company, now, changes...); err != nil {
		return Deletion{}, err
	}
	return done, releaseNumbers(ctx, tx, company, Owner{Kind: KindUser, ID: u.ID}, "the user was deleted", now)
}

func storeDeleted(ctx context.Context, tx *sql.Tx, company string, gone User, now time.Time) error {
	for _, q := range []string{
		"DELETE FROM aor WHERE company = $1 AND user_id = $2",
		"DELETE FROM membership WHERE company = $1 AND user_id = $2",
	} {
		if _, err := tx.ExecContext(ctx, q, company, gone.ID); err != nil {
			return fmt.Errorf("cannot release what the user had: %w", err)
		}
	}
	if err := deleteTokens(ctx, tx, company, gone.ID); err != nil {
		return err
	}
	tokens := tokensOf(gone)
	_, err := tx.ExecContext(ctx, "UPDATE users SET state = $1, search = $2, updated_us = $3 WHERE company = $4 AND id = $5",
		gone.State, searchText(tokens), micros(now), company, gone.ID)
	if err != nil {
		return fmt.Errorf("cannot store the user: %w", err)
	}
	return insertTokens(ctx, tx, company, indexed{gone.ID, nameKey(gone.Name), tokens})
}

// maxGreeting is how long a voicemail greeting may be, in bytes.
const maxGreeting = 4000

// checkUser judges and normalises what can be judged without the database.
func checkUser(u *User) error {
	if !idPattern.MatchString(u.ID) {
		return invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	switch u.Name = strings.TrimSpace(u.Name); {
	case u.Name == "":
		return invalid("name", "must not be empty")
	case !utf8.ValidString(u.Name) || strings.ContainsFunc(u.Name, unicode.IsControl):
		return invalid("name", "must not hold control characters")
	case len(u.VoicemailGreeting) > maxGreeting:
		return invalid("voicemail_greeting", fmt.Sprintf("must not be longer than %d bytes", maxGreeting))
	case !utf8.ValidString(u.VoicemailGreeting) || strings.ContainsRune(u.VoicemailGreeting, 0):
		return invalid("voicemail_greeting", "must be text")
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
		if n == "" || strings.ContainsAny(n, " <>\"") || !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl) || strings.HasPrefix(n, "@") || strings.HasSuffix(n, "@") {
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
	for i, a := range u.AORs {
		taken, err := exists(ctx, tx, "SELECT 1 FROM aor WHERE company = $1 AND aor = $2 AND user_id <> $3", company, a, u.ID)
		if err != nil {
			return err
		}
		if taken {
			return conflict(fmt.Sprintf("aors[%d]", i), "is another user's")
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

// insertUser stores a new user's row and its index. SIP addresses, memberships
// and numbers are stored apart.
func insertUser(ctx context.Context, tx *sql.Tx, company string, u User, now time.Time) error {
	return insertUsers(ctx, tx, company, []User{u}, now)
}

// insertUsers is insertUser for many, in few statements.
func insertUsers(ctx context.Context, tx *sql.Tx, company string, users []User, now time.Time) error {
	rows, words := make([][]any, len(users)), make([]indexed, len(users))
	for i, u := range users {
		w := indexed{u.ID, nameKey(u.Name), tokensOf(u)}
		words[i] = w
		rows[i] = []any{u.ID, u.Name, u.Email, u.State, u.Office, u.VoicemailGreeting, searchText(w.tokens), []byte(w.key), micros(now), micros(now)}
	}
	if err := insertRows(ctx, tx, company, "users (company, id, name, email, state, office_id, voicemail_greeting, search, name_key, created_us, updated_us)", rows); err != nil {
		return err
	}
	return insertTokens(ctx, tx, company, words...)
}

func replaceAORs(ctx context.Context, tx *sql.Tx, company, user string, aors []string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM aor WHERE company = $1 AND user_id = $2", company, user); err != nil {
		return fmt.Errorf("cannot store the user's SIP addresses: %w", err)
	}
	for _, a := range aors {
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
