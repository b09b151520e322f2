package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxProxy is how long one may act for a user at a time.
const MaxProxy = time.Hour

var (
	// ErrProxyOver is returned for a proxy session that has ended or expired.
	ErrProxyOver = errors.New("the proxy session is over")
	// ErrProxyOther is returned for a proxy session that another caller opened.
	ErrProxyOther = errors.New("the proxy session is another caller's")
)

// ProxySession is leave to change the account settings of a user in the user's
// place, for a while. Nothing else is ever done as the user.
type ProxySession struct {
	ID        string
	Company   string
	User      string
	UserName  string
	Reason    string
	By        Actor
	StartedAt time.Time
	ExpiresAt time.Time
	EndedAt   time.Time // zero: not ended by anyone
}

// Open tells whether the session may be used.
func (p ProxySession) Open(now time.Time) bool { return p.EndedAt.IsZero() && now.Before(p.ExpiresAt) }

// StartProxy opens a proxy session of the caller with a user, no longer than the
// caller is signed in. A caller has one at a time: two windows on two users are
// how the wrong one gets changed.
func (d *Directory) StartProxy(ctx context.Context, company, user, reason string, length time.Duration) (ProxySession, error) {
	reason = strings.TrimSpace(reason)
	if err := checkText("reason", reason, 500); err != nil {
		return ProxySession{}, err
	}
	if length < time.Minute || length > MaxProxy {
		return ProxySession{}, invalid("minutes", "must be 1 to 60")
	}
	a := actorOf(ctx)
	a.Proxy = ""
	now := d.now().UTC().Truncate(time.Microsecond)
	p := ProxySession{ID: newID(), Company: company, User: user, Reason: reason, By: a, StartedAt: now, ExpiresAt: now.Add(length)}
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := checkLiveUser(ctx, tx, company, user); err != nil {
			return err
		}
		last, err := callerExpiry(ctx, tx, a)
		if err != nil {
			return err
		}
		if !last.IsZero() && last.Before(p.ExpiresAt) {
			p.ExpiresAt = last
		}
		open, err := exists(ctx, tx, "SELECT 1 FROM proxy_session WHERE actor_kind = $1 AND actor_id = $2 AND ended_us = 0 AND expires_us > $3", a.Kind, a.ID, micros(now))
		if err != nil {
			return err
		}
		if open {
			return conflict("user", "cannot be acted for while another proxy session of yours is open: end that one first")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO proxy_session (id, company, user_id, reason, actor_kind, actor_id, actor_name, started_us, expires_us)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, p.ID, company, user, reason, a.Kind, a.ID, a.Name, micros(p.StartedAt), micros(p.ExpiresAt))
		if err != nil {
			return fmt.Errorf("cannot open the proxy session: %w", err)
		}
		if p, err = proxySession(ctx, tx, company, user, p.ID); err != nil {
			return err
		}
		return recordProxy(ctx, tx, "proxy_session.start", p, now)
	})
	return p, err
}

// callerExpiry is until when a caller can act: zero for keys. Whoever signed out
// or lost the key since they were let in is refused.
func callerExpiry(ctx context.Context, tx *sql.Tx, a Actor) (time.Time, error) {
	switch a.Kind {
	case "key":
		revoked, err := exists(ctx, tx, "SELECT 1 FROM api_key WHERE id = $1 AND revoked_us > 0", a.ID)
		if err == nil && revoked {
			err = ErrUnauthenticated
		}
		return time.Time{}, err
	case "session":
		last, found, err := sessionExpiry(ctx, tx, a.ID)
		if err == nil && !found {
			err = ErrUnauthenticated
		}
		return last, err
	}
	return time.Time{}, nil
}

// recordProxy notes the beginning or the end of a session on the user's page.
func recordProxy(ctx context.Context, tx *sql.Tx, action string, p ProxySession, now time.Time) error {
	a := actorOf(ctx)
	a.Proxy = p.ID
	return record(WithActor(ctx, a), tx, p.Company, now, Change{Action: action, Kind: "proxy_session", ID: p.ID, User: p.User, Text: p.Reason})
}

const selectProxySession = `SELECT s.id, s.company, s.user_id, u.name, s.reason, s.actor_kind, s.actor_id, s.actor_name, s.started_us, s.expires_us, s.ended_us
	FROM proxy_session s JOIN users u ON u.company = s.company AND u.id = s.user_id WHERE `

func proxySessions(ctx context.Context, q querier, tail string, args ...any) ([]ProxySession, error) {
	var out []ProxySession
	err := each(ctx, q, func(r *sql.Rows) error {
		var p ProxySession
		var started, expires, ended int64
		if err := r.Scan(&p.ID, &p.Company, &p.User, &p.UserName, &p.Reason, &p.By.Kind, &p.By.ID, &p.By.Name, &started, &expires, &ended); err != nil {
			return err
		}
		p.StartedAt, p.ExpiresAt, p.EndedAt = fromMicros(started), fromMicros(expires), fromMicros(ended)
		out = append(out, p)
		return nil
	}, selectProxySession+tail, args...)
	return out, err
}

func proxySession(ctx context.Context, q querier, company, user, id string) (ProxySession, error) {
	found, err := proxySessions(ctx, q, "s.company = $1 AND s.user_id = $2 AND s.id = $3", company, user, id)
	if err != nil {
		return ProxySession{}, err
	}
	if len(found) == 0 {
		return ProxySession{}, ErrNotFound
	}
	return found[0], nil
}

// ProxySessions lists who acted for a user, the newest first.
func (d *Directory) ProxySessions(ctx context.Context, company, user string, page Page) ([]ProxySession, string, error) {
	if err := checkUserKnown(ctx, d.db, company, user); err != nil {
		return nil, "", err
	}
	c := &conditions{}
	c.and("s.company = ? AND s.user_id = ?", company, user)
	if page.Cursor != "" {
		key, err := decodeCursor(page.Cursor, 2)
		if err != nil {
			return nil, "", err
		}
		us, err := wholeNumber(key[0])
		if err != nil {
			return nil, "", err
		}
		c.and("(s.started_us, s.id) < (?, ?)", us, key[1])
	}
	found, err := proxySessions(ctx, d.db, fmt.Sprintf("%s ORDER BY s.started_us DESC, s.id DESC LIMIT %d", c, page.limit()+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	found, next := cut(found, page.limit(), func(p ProxySession) []string { return []string{fmt.Sprint(micros(p.StartedAt)), p.ID} })
	return found, next, nil
}

// OpenProxy is the proxy session that the caller has open, or nil.
func (d *Directory) OpenProxy(ctx context.Context) (*ProxySession, error) {
	a := actorOf(ctx)
	found, err := proxySessions(ctx, d.db, "s.actor_kind = $1 AND s.actor_id = $2 AND s.ended_us = 0 AND s.expires_us > $3", a.Kind, a.ID, micros(d.now()))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// ProxySession is one session, whatever its state.
func (d *Directory) ProxySession(ctx context.Context, company, user, id string) (ProxySession, error) {
	return proxySession(ctx, d.db, company, user, id)
}

// EndProxy ends a session. One that is over already stays as it is.
func (d *Directory) EndProxy(ctx context.Context, company, user, id string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		p, err := proxySession(ctx, tx, company, user, id)
		if err != nil {
			return err
		}
		if !p.Open(d.now()) {
			return errUnchanged
		}
		return endProxies(ctx, tx, d.now(), "s.company = $2 AND s.user_id = $3 AND s.id = $4", company, user, id)
	})
}

// endProxies ends the open sessions that a condition names, whose arguments are
// $2 and following.
func endProxies(ctx context.Context, tx *sql.Tx, now time.Time, condition string, args ...any) error {
	open, err := proxySessions(ctx, tx, "s.ended_us = 0 AND s.expires_us > $1 AND "+condition, append([]any{micros(now)}, args...)...)
	if err != nil {
		return err
	}
	for _, p := range open {
		if _, err := tx.ExecContext(ctx, "UPDATE proxy_session SET ended_us = $1 WHERE id = $2", micros(now), p.ID); err != nil {
			return fmt.Errorf("cannot end the proxy session: %w", err)
		}
		if err := recordProxy(ctx, tx, "proxy_session.end", p, now); err != nil {
			return err
		}
	}
	return nil
}

// usableProxy refuses a session that is over or another caller's.
func usableProxy(ctx context.Context, q querier, id string, now time.Time) (ProxySession, error) {
	found, err := proxySessions(ctx, q, "s.id = $1", id)
	if err != nil {
		return ProxySession{}, err
	}
	a := actorOf(ctx)
	switch {
	case len(found) == 0:
		return ProxySession{}, ErrNotFound
	case found[0].By.Kind != a.Kind || found[0].By.ID != a.ID:
		return ProxySession{}, ErrProxyOther
	case !found[0].Open(now):
		return ProxySession{}, ErrProxyOver
	}
	return found[0], nil
}

// ProxiedAccount reads the account of the user that the caller's session is with.
func (d *Directory) ProxiedAccount(ctx context.Context, company, user, id string) (User, error) {
	if _, err := proxySession(ctx, d.db, company, user, id); err != nil {
		return User{}, err
	}
	if _, err := usableProxy(ctx, d.db, id, d.now()); err != nil {
		return User{}, err
	}
	return d.User(ctx, company, user)
}

// AccountChange is all that a proxy session may change; nil fields stay as they are.
type AccountChange struct {
	Name              *string
	Email             *string
	VoicemailGreeting *string
}

// ChangeProxiedAccount changes the account settings of the user that the
// caller's session is with. What was changed is a note on the user's page.
func (d *Directory) ChangeProxiedAccount(ctx context.Context, company, user, id string, c AccountChange) (User, error) {
	if _, err := proxySession(ctx, d.db, company, user, id); err != nil {
		return User{}, err
	}
	// Whether the session still is open is asked again inside the change, see write.
	a := actorOf(ctx)
	a.Proxy = id
	return d.UpdateUser(WithActor(ctx, a), company, user, UserChange{Name: c.Name, Email: c.Email, VoicemailGreeting: c.VoicemailGreeting})
}
