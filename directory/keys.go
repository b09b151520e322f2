package directory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Roles of a key or session.
const (
	RoleOperator = "operator" // sees every company
	RoleCompany  = "company"  // sees its own
	// RoleIngest is a key's only: it brings telemetry of its company and sees
	// nothing, so that it can stand in a web page.
	RoleIngest = "ingest"
)

// AdminKeyFile is the name of the file in the data folder that holds the
// operator's key.
const AdminKeyFile = "admin.key"

// ErrUnauthenticated is returned for a key, session or token that is unknown,
// revoked or expired.
var ErrUnauthenticated = errors.New("not authenticated")

// Principal is who is asking.
type Principal struct {
	Role    string
	Company string // empty for operators
	Name    string
	KeyID   string
	// Session names a session without opening it; empty for keys.
	Session string
	Expires time.Time // of a session; zero for keys
}

// Actor is the principal as the journal has it.
func (p Principal) Actor() Actor {
	if p.Session != "" {
		return Actor{Kind: "session", ID: p.Session, Name: p.Name}
	}
	return Actor{Kind: "key", ID: p.KeyID, Name: p.Name}
}

// May tells whether the principal may see the company.
func (p Principal) May(company string) bool {
	return p.Role == RoleOperator || (p.Role == RoleCompany && p.Company == company)
}

// Key is an API key as it can be shown: the key itself is known only when it
// is made.
type Key struct {
	ID        string    `json:"id"`
	Prefix    string    `json:"prefix"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Company   string    `json:"company,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UsedAt    time.Time `json:"used_at,omitzero"` // to the minute
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// keyPrefix makes a leaked key recognisable to scanners.
const keyPrefix = "earshot_"

// secret makes 256 random bits and their hash. A plain hash is enough for
// secrets of that length; there is nothing to guess that slowness would protect.
func secret(prefix string) (plain, hash string) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	plain = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return plain, hashSecret(plain)
}

func hashSecret(plain string) string {
	h := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(h[:])
}

func (d *Directory) checkScope(ctx context.Context, q querier, role, company string) error {
	switch role {
	case RoleOperator:
		if company != "" {
			return invalid("company", "cannot be given for an operator")
		}
	case RoleCompany, RoleIngest:
		known, err := exists(ctx, q, "SELECT 1 FROM company WHERE id = $1", company)
		if err != nil {
			return err
		}
		if !known {
			return invalid("company", "is not a known company")
		}
	default:
		return invalid("role", "must be operator, company or ingest")
	}
	return nil
}

// CreateKey makes an API key and returns it: it is not stored, only its hash.
func (d *Directory) CreateKey(ctx context.Context, name, role, company string) (plain string, k Key, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		plain, k, err = d.createKey(ctx, tx, name, role, company)
		return err
	})
	if err != nil {
		return "", Key{}, err
	}
	return plain, k, nil
}

func (d *Directory) createKey(ctx context.Context, tx *sql.Tx, name, role, company string) (string, Key, error) {
	if name = strings.TrimSpace(name); name == "" {
		return "", Key{}, invalid("name", "must not be empty")
	}
	if err := d.checkScope(ctx, tx, role, company); err != nil {
		return "", Key{}, err
	}
	plain, hash := secret(keyPrefix)
	k := Key{ID: newID(), Prefix: plain[:len(keyPrefix)+6], Name: name, Role: role, Company: company, CreatedAt: d.now().UTC().Truncate(time.Microsecond)}
	_, err := tx.ExecContext(ctx, "INSERT INTO api_key (id, hash, prefix, name, role, company, created_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		k.ID, hash, k.Prefix, k.Name, k.Role, k.Company, micros(k.CreatedAt))
	if err != nil {
		return "", Key{}, fmt.Errorf("cannot store the key: %w", err)
	}
	err = record(ctx, tx, company, k.CreatedAt, Change{Action: "key.create", Kind: "key", ID: k.ID,
		Fields: []FieldChange{{Field: "name", New: name}, {Field: "role", New: role}, {Field: "prefix", New: k.Prefix}}})
	return plain, k, err
}

// Keys lists all keys, the revoked ones too, the newest first.
func (d *Directory) Keys(ctx context.Context) ([]Key, error) {
	var out []Key
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var k Key
		var created, used, revoked int64
		if err := r.Scan(&k.ID, &k.Prefix, &k.Name, &k.Role, &k.Company, &created, &used, &revoked); err != nil {
			return err
		}
		k.CreatedAt, k.UsedAt, k.RevokedAt = fromMicros(created), fromMicros(used), fromMicros(revoked)
		out = append(out, k)
		return nil
	}, "SELECT id, prefix, name, role, company, created_us, used_us, revoked_us FROM api_key ORDER BY created_us DESC, id")
	return out, err
}

// RevokeKey ends a key, named by its id or shown prefix, and the sessions that
// were opened with it.
func (d *Directory) RevokeKey(ctx context.Context, idOrPrefix string) (Key, error) {
	var k Key
	err := d.write(ctx, func(tx *sql.Tx) error {
		var created, used, revoked int64
		var n int
		err := each(ctx, tx, func(r *sql.Rows) error {
			n++
			return r.Scan(&k.ID, &k.Prefix, &k.Name, &k.Role, &k.Company, &created, &used, &revoked)
		}, "SELECT id, prefix, name, role, company, created_us, used_us, revoked_us FROM api_key WHERE id = $1 OR prefix = $1", idOrPrefix)
		switch {
		case err != nil:
			return err
		case n == 0:
			return ErrNotFound
		case n > 1:
			return conflict("key", "names more than one key; use its id")
		}
		k.CreatedAt, k.UsedAt, k.RevokedAt = fromMicros(created), fromMicros(used), d.now().UTC().Truncate(time.Microsecond)
		if revoked != 0 {
			k.RevokedAt = fromMicros(revoked)
			return errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE api_key SET revoked_us = $1 WHERE id = $2", micros(k.RevokedAt), k.ID); err != nil {
			return fmt.Errorf("cannot revoke the key: %w", err)
		}
		// Before its sessions are gone: of those that acted for a user only they tell.
		if err := endProxies(ctx, tx, k.RevokedAt, fmt.Sprintf(`(s.actor_kind = 'key' AND s.actor_id = $2
			OR s.actor_kind = 'session' AND s.actor_id IN (SELECT SUBSTR(hash, 1, %d) FROM session WHERE key_id = $2))`, sessionNameLength), k.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM session WHERE key_id = $1", k.ID); err != nil {
			return fmt.Errorf("cannot end the key's sessions: %w", err)
		}
		return record(ctx, tx, k.Company, k.RevokedAt, Change{Action: "key.revoke", Kind: "key", ID: k.ID,
			Fields: []FieldChange{{Field: "name", Old: k.Name}, {Field: "role", Old: k.Role}}})
	})
	if err != nil {
		return Key{}, err
	}
	d.recent.forget()
	return k, nil
}

// useWait is how long a request waits to note that its key was used.
const useWait = 100 * time.Millisecond

// AuthenticateKey returns whose key it is. What it found lasts for a second, see
// keyMemory.
func (d *Directory) AuthenticateKey(ctx context.Context, plain string) (Principal, error) {
	hash, now := hashSecret(plain), d.now()
	if p, ok := d.recent.find(hash, now); ok {
		return p, nil
	}
	var p Principal
	var used int64
	err := d.db.QueryRowContext(ctx, "SELECT id, name, role, company, used_us FROM api_key WHERE hash = $1 AND revoked_us = 0", hash).
		Scan(&p.KeyID, &p.Name, &p.Role, &p.Company, &used)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Principal{}, ErrUnauthenticated
	case err != nil:
		return Principal{}, fmt.Errorf("cannot look up the key: %w", err)
	}
	// Last use is kept to the minute: a write per request would make every read a write.
	if now.Sub(fromMicros(used)) > time.Minute {
		// Nor does a read wait for who writes, such as an import: a later use is noted then.
		soon, cancel := context.WithTimeout(ctx, useWait)
		_, err := d.writes.ExecContext(soon, "UPDATE api_key SET used_us = $1 WHERE id = $2", micros(now), p.KeyID)
		late := soon.Err() != nil
		cancel()
		if err != nil && (!late || ctx.Err() != nil) {
			return Principal{}, fmt.Errorf("cannot note the use of the key: %w", err)
		}
	}
	d.recent.put(hash, p, now)
	return p, nil
}

// CreateSigninToken makes a token that opens one session, once, within ttl.
func (d *Directory) CreateSigninToken(ctx context.Context, name, role, company string, ttl time.Duration) (string, error) {
	if role == RoleIngest {
		return "", invalid("role", "ingest is for keys: it cannot sign in")
	}
	if err := d.checkScope(ctx, d.db, role, company); err != nil {
		return "", err
	}
	plain, hash := secret("")
	now := d.now()
	_, err := d.writes.ExecContext(ctx, "INSERT INTO signin_token (hash, name, role, company, created_us, expires_us) VALUES ($1, $2, $3, $4, $5, $6)",
		hash, name, role, company, micros(now), micros(now.Add(ttl)))
	if err != nil {
		return "", fmt.Errorf("cannot store the sign-in token: %w", err)
	}
	return plain, nil
}

// ConsumeSigninToken exchanges a token for a session of the given length.
// However many try at once, one gets it.
func (d *Directory) ConsumeSigninToken(ctx context.Context, token string, ttl time.Duration) (session string, p Principal, err error) {
	tx, err := d.writes.BeginTx(ctx, nil)
	if err != nil {
		return "", Principal{}, fmt.Errorf("cannot sign in: %w", err)
	}
	defer tx.Rollback()
	now := d.now()
	err = tx.QueryRowContext(ctx, "DELETE FROM signin_token WHERE hash = $1 AND expires_us > $2 RETURNING name, role, company", hashSecret(token), micros(now)).
		Scan(&p.Name, &p.Role, &p.Company)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", Principal{}, ErrUnauthenticated
	case err != nil:
		return "", Principal{}, fmt.Errorf("cannot sign in: %w", err)
	}
	if session, err = insertSession(ctx, tx, &p, now, ttl); err != nil {
		return "", Principal{}, err
	}
	for _, q := range []string{"DELETE FROM signin_token WHERE expires_us <= $1", "DELETE FROM session WHERE expires_us <= $1"} {
		if _, err := tx.ExecContext(ctx, q, micros(now)); err != nil {
			return "", Principal{}, fmt.Errorf("cannot clear what has expired: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return "", Principal{}, fmt.Errorf("cannot sign in: %w", err)
	}
	return session, p, nil
}

// CreateSession opens a session for a principal who has shown a key.
func (d *Directory) CreateSession(ctx context.Context, p Principal, ttl time.Duration) (string, error) {
	return insertSession(ctx, d.writes, &p, d.now(), ttl)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func insertSession(ctx context.Context, x execer, p *Principal, now time.Time, ttl time.Duration) (string, error) {
	plain, hash := secret("")
	p.Expires = now.Add(ttl).UTC().Truncate(time.Microsecond)
	_, err := x.ExecContext(ctx, "INSERT INTO session (hash, name, role, company, key_id, created_us, expires_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		hash, p.Name, p.Role, p.Company, p.KeyID, micros(now), micros(p.Expires))
	if err != nil {
		return "", fmt.Errorf("cannot open a session: %w", err)
	}
	return plain, nil
}

// AuthenticateSession returns whose session it is.
func (d *Directory) AuthenticateSession(ctx context.Context, session string) (Principal, error) {
	var p Principal
	var expires int64
	err := d.db.QueryRowContext(ctx, "SELECT name, role, company, key_id, expires_us FROM session WHERE hash = $1 AND expires_us > $2", hashSecret(session), micros(d.now())).
		Scan(&p.Name, &p.Role, &p.Company, &p.KeyID, &expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Principal{}, ErrUnauthenticated
	case err != nil:
		return Principal{}, fmt.Errorf("cannot look up the session: %w", err)
	}
	p.Session, p.Expires = sessionName(hashSecret(session)), fromMicros(expires)
	return p, nil
}

// sessionName is part of the hash: enough to tell sessions apart, of no use for
// signing in.
func sessionName(hash string) string { return hash[:sessionNameLength] }

const sessionNameLength = 16

// sessionExpiry is when the session of a name ends; false where there is none
// any more.
func sessionExpiry(ctx context.Context, q querier, name string) (time.Time, bool, error) {
	var expires int64
	// In the order of the index: hashes are hexadecimal, in lower case.
	err := q.QueryRowContext(ctx, "SELECT expires_us FROM session WHERE hash >= $1 AND hash < $2", name, name+"g").Scan(&expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, fmt.Errorf("cannot look up the session: %w", err)
	}
	return fromMicros(expires), true, nil
}

// EndSession signs out, and ends whom the session acted for.
func (d *Directory) EndSession(ctx context.Context, session string) error {
	hash := hashSecret(session)
	acts, err := exists(ctx, d.db, "SELECT 1 FROM proxy_session WHERE actor_kind = 'session' AND actor_id = $1 AND ended_us = 0 AND expires_us > $2", sessionName(hash), micros(d.now()))
	if err != nil {
		return err
	}
	end := func(x execer) error {
		if _, err := x.ExecContext(ctx, "DELETE FROM session WHERE hash = $1", hash); err != nil {
			return fmt.Errorf("cannot end the session: %w", err)
		}
		return nil
	}
	if !acts {
		return end(d.writes)
	}
	// Both or none: who has signed out cannot end a proxy session any more.
	return d.write(ctx, func(tx *sql.Tx) error {
		if err := end(tx); err != nil {
			return err
		}
		return endProxies(ctx, tx, d.now(), "s.actor_kind = 'session' AND s.actor_id = $2", sessionName(hash))
	})
}

// Bootstrap makes a new directory usable: the company "default", and an
// operator's key written to admin.key in dataDir, readable by its owner only.
// On a directory that has a working operator's key it changes nothing.
func (d *Directory) Bootstrap(ctx context.Context, dataDir string) (keyFile string, created bool, err error) {
	keyFile = filepath.Join(dataDir, AdminKeyFile)
	err = d.write(ctx, func(tx *sql.Tx) error {
		if err := insertCompany(ctx, tx, Company{ID: DefaultCompany, Name: "Default", Region: "US", CreatedAt: d.now()}); err != nil {
			return err
		}
		known, err := exists(ctx, tx, "SELECT 1 FROM api_key WHERE role = 'operator' AND revoked_us = 0 LIMIT 1")
		if err != nil || known {
			return err
		}
		plain, _, err := d.createKey(ctx, tx, "admin", RoleOperator, "")
		if err != nil {
			return err
		}
		// The file first: a key that is stored but written nowhere would lock
		// everyone out, a file whose key is not stored is made anew next time.
		if err := writeKeyFile(keyFile, plain); err != nil {
			return err
		}
		created = true
		return nil
	})
	if err != nil {
		return "", false, err
	}
	return keyFile, created, nil
}

func writeKeyFile(path, key string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("cannot write the operator's key: %w", err)
	}
	// CreateTemp makes files with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), ".admin.key-*")
	if err != nil {
		return fmt.Errorf("cannot write the operator's key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the operator's key: %w", err)
	}
	return nil
}
