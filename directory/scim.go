package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ScimUser is a user as an identity provider sees it (RFC 7643 §4.1).
type ScimUser struct {
	User
	// UserName is unique in the company, whatever the case of its letters. That of
	// a user whom no provider brought is the email address, or else the id.
	UserName   string
	ExternalID string // the provider's own
	GivenName  string
	FamilyName string
}

// Active tells whether the user may work. A provider that deactivates someone
// means that this person must not get in any more, and may well activate them
// again: Earshot makes such a user pending and revokes the credentials of the
// devices, so that no phone of theirs registers, but leaves them their numbers,
// addresses and places. Only a deletion gives those away.
func (u ScimUser) Active() bool { return u.State == StateActive || u.State == StateInvited }

// SetActive deactivates or activates.
func (u *ScimUser) SetActive(active bool) {
	switch {
	case !active:
		u.State = StatePending
	case u.State == StatePending:
		u.State = StateActive
	}
}

// ScimQuery narrows a list. Users come in the order of their ids.
type ScimQuery struct {
	// Keep, where not nil, tells who is in the list.
	Keep func(ScimUser) bool
	// Names, ExternalIDs and IDs, where Some, are what the list can be found by:
	// all that Keep keeps has one of them. They need not be in lower case.
	Some                    bool
	Names, ExternalIDs, IDs []string
	// Likes are parts of user names and email addresses, NamesFrom beginnings of
	// the names that are shown.
	Likes       []ScimLike
	NamesFrom   []string
	Skip, Limit int
}

// ScimLike is part of a text: with nothing before it where From, with nothing
// after it where To.
type ScimLike struct {
	Text     string
	From, To bool
}

// pattern is what LIKE … ESCAPE '\' takes of a column in lower case.
func (l ScimLike) pattern() string {
	out := escapeLike(strings.ToLower(l.Text))
	if !l.From {
		out = "%" + out
	}
	if !l.To {
		out += "%"
	}
	return out
}

// MaxScimScan is how many users are looked at for one list. To say how many a
// filter keeps, all that no index leaves out have to be.
const MaxScimScan = 10_000

// ErrTooMany says that a list would have to look at more than MaxScimScan users.
var ErrTooMany = errors.New("too many users to look at")

// ScimUsers lists users, without those who are deleted, and tells how many there
// are altogether.
func (d *Directory) ScimUsers(ctx context.Context, company string, q ScimQuery) ([]ScimUser, int, error) {
	switch {
	case q.Some:
		ids, err := d.scimCandidates(ctx, company, q)
		if err != nil {
			return nil, 0, err
		}
		users, err := d.scimUsers(ctx, d.db, company, ids)
		if err != nil {
			return nil, 0, err
		}
		users = slices.DeleteFunc(users, func(u ScimUser) bool { return q.Keep != nil && !q.Keep(u) })
		page := users[min(q.Skip, len(users)):]
		return page[:min(q.Limit, len(page))], len(users), nil
	case q.Keep != nil:
		return d.scanScimUsers(ctx, company, q)
	}
	var total int
	if err := d.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM users WHERE company = $1 AND state <> 'deleted'", company).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("cannot count users: %w", err)
	}
	ids, err := scimIDs(ctx, d.db, "SELECT id FROM users WHERE company = $1 AND state <> 'deleted' ORDER BY id LIMIT $2 OFFSET $3", company, q.Limit, q.Skip)
	if err != nil {
		return nil, 0, err
	}
	users, err := d.scimUsers(ctx, d.db, company, ids)
	return users, total, err
}

// scanScimUsers reads all users, where they are not too many: a filter that no
// index answers.
func (d *Directory) scanScimUsers(ctx context.Context, company string, q ScimQuery) ([]ScimUser, int, error) {
	many, err := exists(ctx, d.db, fmt.Sprintf("SELECT 1 FROM users WHERE company = $1 AND state <> 'deleted' LIMIT 1 OFFSET %d", MaxScimScan), company)
	if err != nil {
		return nil, 0, err
	}
	if many {
		return nil, 0, ErrTooMany
	}
	var out []ScimUser
	total := 0
	for last := ""; ; {
		ids, err := scimIDs(ctx, d.db, "SELECT id FROM users WHERE company = $1 AND state <> 'deleted' AND id > $2 ORDER BY id LIMIT 100", company, last)
		if err != nil || len(ids) == 0 {
			return out, total, err
		}
		users, err := d.scimUsers(ctx, d.db, company, ids)
		if err != nil {
			return nil, 0, err
		}
		for _, u := range users {
			if q.Keep(u) {
				if total++; total > q.Skip && len(out) < q.Limit {
					out = append(out, u)
				}
			}
		}
		last = ids[len(ids)-1]
	}
}

func scimIDs(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	var ids []string
	err := each(ctx, q, func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	}, query, args...)
	return ids, err
}

// scimCandidates finds users by what indexes know, or for parts of names by a
// look at the names alone.
func (d *Directory) scimCandidates(ctx context.Context, company string, q ScimQuery) ([]string, error) {
	var out []string
	find := func(query string, args ...any) error {
		ids, err := scimIDs(ctx, d.db, fmt.Sprintf("%s LIMIT %d", query, MaxScimScan+1), append([]any{company}, args...)...)
		out = append(out, ids...)
		return err
	}
	findAll := func(query string, values []string) error {
		for _, v := range values {
			if err := find(query, v); err != nil {
				return err
			}
		}
		return nil
	}
	lower, likes := make([]string, len(q.Names)), make([]string, len(q.Likes))
	for i, n := range q.Names {
		lower[i] = strings.ToLower(n)
	}
	for i, l := range q.Likes {
		likes[i] = l.pattern()
	}
	if err := errors.Join(
		findAll("SELECT user_id FROM scim_user WHERE company = $1 AND user_name = $2", lower),
		findAll("SELECT id FROM users WHERE company = $1 AND email = $2 AND email <> '' AND state <> 'deleted'", lower),
		findAll("SELECT id FROM users WHERE company = $1 AND id = $2 AND state <> 'deleted'", append(q.Names, q.IDs...)),
		findAll("SELECT user_id FROM scim_user WHERE company = $1 AND external_id = $2 AND external_id <> ''", q.ExternalIDs),
		findAll(`SELECT user_id FROM scim_user WHERE company = $1 AND user_name LIKE $2 ESCAPE '\'`, likes),
		findAll(`SELECT id FROM users WHERE company = $1 AND (email LIKE $2 ESCAPE '\' OR LOWER(id) LIKE $2 ESCAPE '\') AND state <> 'deleted'`, likes),
	); err != nil {
		return nil, err
	}
	for _, name := range q.NamesFrom {
		key := nameKey(name)
		if err := find("SELECT id FROM users WHERE company = $1 AND name_key >= $2 AND name_key < $3 AND state <> 'deleted'", []byte(key), []byte(key+high)); err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > MaxScimScan {
		return nil, ErrTooMany
	}
	return out, nil
}

// ScimUser returns one user; one who is deleted is not found.
func (d *Directory) ScimUser(ctx context.Context, company, id string) (ScimUser, error) {
	return d.scimUser(ctx, d.db, company, id)
}

func (d *Directory) scimUser(ctx context.Context, q querier, company, id string) (ScimUser, error) {
	users, err := d.scimUsers(ctx, q, company, []string{id})
	if err != nil {
		return ScimUser{}, err
	}
	if len(users) == 0 || users[0].State == StateDeleted {
		return ScimUser{}, ErrNotFound
	}
	return users[0], nil
}

// scimUsers reads users in the order of their ids.
func (d *Directory) scimUsers(ctx context.Context, q querier, company string, ids []string) ([]ScimUser, error) {
	var out []ScimUser
	for part := range slices.Chunk(ids, 100) {
		users, err := d.usersByID(ctx, q, company, part)
		if err != nil {
			return nil, err
		}
		at := map[string]*ScimUser{}
		first := len(out)
		for _, u := range users {
			name := u.Email
			if name == "" {
				name = u.ID
			}
			out = append(out, ScimUser{User: u, UserName: name})
		}
		for i := first; i < len(out); i++ {
			at[out[i].ID] = &out[i]
		}
		args := appendAll([]any{company}, part)
		err = each(ctx, q, func(r *sql.Rows) error {
			var s ScimUser
			err := r.Scan(&s.ID, &s.UserName, &s.ExternalID, &s.GivenName, &s.FamilyName)
			if u := at[s.ID]; u != nil {
				u.UserName, u.ExternalID, u.GivenName, u.FamilyName = s.UserName, s.ExternalID, s.GivenName, s.FamilyName
			}
			return err
		}, "SELECT user_id, shown_name, external_id, given_name, family_name FROM scim_user WHERE company = $1 AND user_id IN ("+placeholders(2, len(part))+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// CreateScimUser stores a user that a provider brings.
func (d *Directory) CreateScimUser(ctx context.Context, company string, u ScimUser) (ScimUser, error) {
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		created, err := d.createUser(ctx, tx, company, u.User, now)
		if err != nil {
			return err
		}
		u.User = created
		if err := d.storeScim(ctx, tx, company, ScimUser{}, u, now); err != nil {
			return err
		}
		u, err = d.scimUser(ctx, tx, company, u.ID)
		return err
	})
	if err != nil {
		return ScimUser{}, err
	}
	return u, nil
}

// UpdateScimUser changes a user by what change makes of it, in one transaction.
func (d *Directory) UpdateScimUser(ctx context.Context, company, id string, change func(*ScimUser) error) (ScimUser, error) {
	var u ScimUser
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		before, err := d.scimUser(ctx, tx, company, id)
		if err != nil {
			return err
		}
		u = before
		if err := change(&u); err != nil {
			return err
		}
		if _, err := d.updateUser(ctx, tx, company, id, UserChange{Name: &u.Name, Email: &u.Email, State: &u.State}, now); err != nil {
			return err
		}
		if before.State != StatePending && u.State == StatePending {
			if err := deleteUserDevices(ctx, tx, company, id, now); err != nil {
				return err
			}
		}
		if err := d.storeScim(ctx, tx, company, before, u, now); err != nil {
			return err
		}
		if u, err = d.scimUser(ctx, tx, company, id); err != nil {
			return err
		}
		return orUnchanged(ctx, tx)
	})
	if err != nil {
		return ScimUser{}, err
	}
	return u, nil
}

// DeleteScimUser deletes a user of whom check does not say otherwise, in one
// transaction: what check has seen is what is deleted.
func (d *Directory) DeleteScimUser(ctx context.Context, company, id string, check func(ScimUser) error) error {
	now := d.now()
	return d.write(ctx, func(tx *sql.Tx) error {
		u, err := d.scimUser(ctx, tx, company, id)
		if err != nil {
			return err
		}
		if err := check(u); err != nil {
			return err
		}
		_, err = d.deleteUser(ctx, tx, company, u.User, now)
		return err
	})
}

// storeScim writes what only the provider knows of a user.
func (d *Directory) storeScim(ctx context.Context, tx *sql.Tx, company string, before, u ScimUser, now time.Time) error {
	if before.UserName == u.UserName && before.ExternalID == u.ExternalID && before.GivenName == u.GivenName && before.FamilyName == u.FamilyName {
		return nil
	}
	name := strings.ToLower(u.UserName)
	// Another's name is what a provider called it, else its email address or id.
	taken, err := exists(ctx, tx, `SELECT 1 FROM scim_user WHERE company = $1 AND user_name = $2 AND user_id <> $3
		UNION ALL SELECT 1 FROM users u WHERE u.company = $1 AND u.email = $2 AND u.id <> $3 AND u.state <> 'deleted'
			AND NOT EXISTS (SELECT 1 FROM scim_user s WHERE s.company = u.company AND s.user_id = u.id)
		UNION ALL SELECT 1 FROM users u WHERE u.company = $1 AND u.id = $4 AND u.id <> $3 AND u.email = '' AND u.state <> 'deleted'
			AND NOT EXISTS (SELECT 1 FROM scim_user s WHERE s.company = u.company AND s.user_id = u.id)`, company, name, u.ID, u.UserName)
	if err != nil {
		return err
	}
	if taken {
		return conflict("userName", "is another user's")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO scim_user (company, user_id, user_name, shown_name, external_id, given_name, family_name) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (company, user_id) DO UPDATE SET user_name = EXCLUDED.user_name, shown_name = EXCLUDED.shown_name, external_id = EXCLUDED.external_id,
			given_name = EXCLUDED.given_name, family_name = EXCLUDED.family_name`, company, u.ID, name, u.UserName, u.ExternalID, u.GivenName, u.FamilyName)
	if err != nil {
		return fmt.Errorf("cannot store what the identity provider calls the user: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE users SET updated_us = $1 WHERE company = $2 AND id = $3", micros(now), company, u.ID); err != nil {
		return fmt.Errorf("cannot store the user: %w", err)
	}
	var fields []FieldChange
	for _, f := range []FieldChange{{"user_name", before.UserName, u.UserName}, {"external_id", before.ExternalID, u.ExternalID}, {"given_name", before.GivenName, u.GivenName}, {"family_name", before.FamilyName, u.FamilyName}} {
		if f.Old != f.New {
			fields = append(fields, f)
		}
	}
	return record(ctx, tx, company, now, Change{Action: "user.update", Kind: "user", ID: u.ID, User: u.ID, Fields: fields})
}

// ScimGroup is a department or contact center with who is in it.
type ScimGroup struct {
	Kind, ID, Name string
	CreatedAt      time.Time
	Members        []ScimMember
}

// ScimMember is a user in a group.
type ScimMember struct{ ID, Name string }

// ScimGroups lists departments, then contact centers, by name.
func (d *Directory) ScimGroups(ctx context.Context, company string, members bool) ([]ScimGroup, error) {
	var out []ScimGroup
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var g ScimGroup
		var created int64
		err := r.Scan(&g.Kind, &g.ID, &g.Name, &created)
		g.CreatedAt = fromMicros(created)
		out = append(out, g)
		return err
	}, "SELECT kind, id, name, created_us FROM place WHERE company = $1 AND kind IN ('department', 'contact_center') ORDER BY kind DESC, name, id", company)
	if err != nil || !members {
		return out, err
	}
	for i := range out {
		if out[i].Members, err = scimMembers(ctx, d.db, company, out[i].Kind, out[i].ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ScimGroup returns one group with its members.
func (d *Directory) ScimGroup(ctx context.Context, company, kind, id string) (ScimGroup, error) {
	return scimGroup(ctx, d.db, company, kind, id)
}

func scimGroup(ctx context.Context, q querier, company, kind, id string) (ScimGroup, error) {
	g := ScimGroup{Kind: kind, ID: id}
	var created int64
	err := q.QueryRowContext(ctx, "SELECT name, created_us FROM place WHERE company = $1 AND kind = $2 AND id = $3 AND kind IN ('department', 'contact_center')", company, kind, id).Scan(&g.Name, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ScimGroup{}, ErrNotFound
	case err != nil:
		return ScimGroup{}, fmt.Errorf("cannot read the group: %w", err)
	}
	g.CreatedAt = fromMicros(created)
	g.Members, err = scimMembers(ctx, q, company, kind, id)
	return g, err
}

func scimMembers(ctx context.Context, q querier, company, kind, id string) ([]ScimMember, error) {
	var out []ScimMember
	err := each(ctx, q, func(r *sql.Rows) error {
		var m ScimMember
		err := r.Scan(&m.ID, &m.Name)
		out = append(out, m)
		return err
	}, `SELECT u.id, u.name FROM membership m JOIN users u ON u.company = m.company AND u.id = m.user_id
		WHERE m.company = $1 AND m.kind = $2 AND m.place_id = $3 ORDER BY u.id`, company, kind, id)
	return out, err
}

// MaxMembersChanged is by how many users a group may grow or shrink in one change.
const MaxMembersChanged = 1000

// ChangeMembers sets who is in a department or contact center to what change
// makes of it. Each user who comes or goes has an entry in the journal.
func (d *Directory) ChangeMembers(ctx context.Context, company, kind, id string, change func(ScimGroup) (members []string, err error)) (ScimGroup, error) {
	var g ScimGroup
	now := d.now()
	err := d.write(ctx, func(tx *sql.Tx) error {
		before, err := scimGroup(ctx, tx, company, kind, id)
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		is, stays := map[string]bool{}, map[string]bool{}
		for _, user := range after {
			stays[user] = true
		}
		// Every other writer waits meanwhile.
		if len(stays)-len(before.Members) > MaxMembersChanged || len(before.Members)-len(stays) > MaxMembersChanged {
			return invalid("members", fmt.Sprintf("change by more than %d users at once: send them in parts", MaxMembersChanged))
		}
		for _, m := range before.Members {
			if is[m.ID] = true; !stays[m.ID] {
				if err := d.setMember(ctx, tx, company, kind, id, m.ID, false, now); err != nil {
					return err
				}
			}
		}
		for _, user := range after {
			if !is[user] {
				if err := d.setMember(ctx, tx, company, kind, id, user, true, now); err != nil {
					return err
				}
			}
		}
		if g, err = scimGroup(ctx, tx, company, kind, id); err != nil {
			return err
		}
		return orUnchanged(ctx, tx)
	})
	if err != nil {
		return ScimGroup{}, err
	}
	return g, nil
}

func (d *Directory) setMember(ctx context.Context, tx *sql.Tx, company, kind, id, user string, in bool, now time.Time) error {
	u, err := d.user(ctx, tx, company, user)
	if errors.Is(err, ErrNotFound) || err == nil && u.State == StateDeleted {
		return invalid("members", "has one who is no user of the company")
	}
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(u.Departments), func(p string) bool { return p == id })
	c := UserChange{Departments: &list}
	if kind == KindContactCenter {
		list = slices.DeleteFunc(slices.Clone(u.ContactCenters), func(p string) bool { return p == id })
		c = UserChange{ContactCenters: &list}
	}
	if in {
		list = append(list, id)
	}
	_, err = d.updateUser(ctx, tx, company, user, c, now)
	return err
}
