package directory

import (
	"context"
	"crypto/md5" // RFC 7616 §3.3: what most phones know
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxAORCredentials is how many devices may have credentials for one address at
// a time: a request is checked against each.
const MaxAORCredentials = 16

// DeviceCredential lets one device register one address-of-record (RFC 3261
// §22). Its secret is known only when it is made.
type DeviceCredential struct {
	ID        string
	Company   string
	UserID    string
	DeviceID  string
	AOR       string // user@host, or user alone for any host
	Username  string
	Realm     string
	HA1MD5    string // H(username ":" realm ":" secret), hexadecimal
	HA1SHA256 string
	CreatedAt time.Time
	RevokedAt time.Time
}

// NewDeviceCredential says for whom credentials are made.
type NewDeviceCredential struct {
	UserID   string
	DeviceID string // a name of the caller's choice, or the id of a device that was seen
	AOR      string // one of the user's; empty: its first, else its first number
	Realm    string
}

// CreateDeviceCredential makes credentials and returns their secret, of which
// only hashes are stored. What the device had before is revoked.
func (d *Directory) CreateDeviceCredential(ctx context.Context, company string, n NewDeviceCredential) (secret string, c DeviceCredential, err error) {
	if !idPattern.MatchString(n.DeviceID) {
		return "", c, invalid("device", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	c = DeviceCredential{ID: newID(), Company: company, UserID: n.UserID, DeviceID: n.DeviceID, Realm: n.Realm, CreatedAt: d.now().UTC().Truncate(time.Microsecond)}
	err = d.write(ctx, func(tx *sql.Tx) error {
		u, err := d.user(ctx, tx, company, n.UserID)
		if err != nil {
			return err
		}
		if u.State == StateDeleted {
			return conflict("user", "is deleted")
		}
		if c.AOR, err = credentialAOR(u, n.AOR); err != nil {
			return err
		}
		if err := revokeDevice(ctx, tx, company, n.UserID, n.DeviceID, c.CreatedAt); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		var inUse int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM device_credentials WHERE company = $1 AND aor = $2 AND revoked_us = 0", company, c.AOR).Scan(&inUse); err != nil {
			return fmt.Errorf("cannot count credentials: %w", err)
		}
		if inUse >= MaxAORCredentials {
			return conflict("aor", fmt.Sprintf("has credentials for %d devices already", inUse))
		}
		c.Username, _, _ = strings.Cut(c.AOR, "@")
		// 26 characters of base 32: some have to be typed on the keys of a phone.
		secret = strings.ToLower(rand.Text())
		c.HA1MD5, c.HA1SHA256 = ha1(c.Username, c.Realm, secret)
		_, err = tx.ExecContext(ctx, `INSERT INTO device_credentials (id, company, user_id, device_id, aor, username, realm, ha1_md5, ha1_sha256, created_us)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, c.ID, company, c.UserID, c.DeviceID, c.AOR, c.Username, c.Realm, c.HA1MD5, c.HA1SHA256, micros(c.CreatedAt))
		if err != nil {
			return fmt.Errorf("cannot store credentials: %w", err)
		}
		// Never the secret, nor a hash of it.
		return record(ctx, tx, company, c.CreatedAt, Change{Action: "credential.create", Kind: "credential", ID: c.ID, User: c.UserID,
			Fields: []FieldChange{{Field: "device", New: c.DeviceID}, {Field: "aor", New: c.AOR}}})
	})
	if err != nil {
		return "", DeviceCredential{}, err
	}
	return secret, c, nil
}

// credentialAOR is the address that a user's device is to register.
func credentialAOR(u User, wanted string) (string, error) {
	var has []string
	has = append(append(has, u.AORs...), u.Numbers...)
	if wanted == "" {
		if len(has) == 0 {
			return "", conflict("user", "has neither a SIP address nor a number")
		}
		return has[0], nil
	}
	aor := NormalizeAOR(wanted)
	name, _, _ := strings.Cut(aor, "@")
	for _, a := range has {
		// An address without host holds for any.
		if a == aor || a == name {
			return aor, nil
		}
	}
	return "", invalid("aor", "is not an address or number of the user")
}

// ha1 hashes what a device proves with (RFC 7616 §3.4.2).
func ha1(username, realm, secret string) (md5Hex, sha256Hex string) {
	text := []byte(username + ":" + realm + ":" + secret)
	m, s := md5.Sum(text), sha256.Sum256(text)
	return hex.EncodeToString(m[:]), hex.EncodeToString(s[:])
}

// RevokeDeviceCredential ends the credentials of a device. Its address goes on
// asking for credentials: who had these must not register without any.
func (d *Directory) RevokeDeviceCredential(ctx context.Context, company, user, device string) error {
	return d.write(ctx, func(tx *sql.Tx) error { return revokeDevice(ctx, tx, company, user, device, d.now()) })
}

func revokeDevice(ctx context.Context, tx *sql.Tx, company, user, device string, now time.Time) error {
	credentials, err := deviceCredentials(ctx, tx, "WHERE company = $1 AND user_id = $2 AND device_id = $3 AND revoked_us = 0", company, user, device)
	if err != nil {
		return err
	}
	if len(credentials) == 0 {
		return ErrNotFound
	}
	return revokeCredentials(ctx, tx, credentials, now)
}

func revokeCredentials(ctx context.Context, tx *sql.Tx, credentials []DeviceCredential, now time.Time) error {
	for _, c := range credentials {
		if _, err := tx.ExecContext(ctx, "UPDATE device_credentials SET revoked_us = $1 WHERE id = $2", micros(now), c.ID); err != nil {
			return fmt.Errorf("cannot revoke credentials: %w", err)
		}
		err := record(ctx, tx, c.Company, now, Change{Action: "credential.revoke", Kind: "credential", ID: c.ID, User: c.UserID,
			Fields: []FieldChange{{Field: "device", Old: c.DeviceID}, {Field: "aor", Old: c.AOR}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// DeviceCredentials lists the credentials of a user's devices, the newest
// first, the revoked ones too.
func (d *Directory) DeviceCredentials(ctx context.Context, company, user string) ([]DeviceCredential, error) {
	if _, err := d.User(ctx, company, user); err != nil {
		return nil, err
	}
	return deviceCredentials(ctx, d.db, "WHERE company = $1 AND user_id = $2 ORDER BY created_us DESC, id", company, user)
}

func deviceCredentials(ctx context.Context, q querier, where string, args ...any) ([]DeviceCredential, error) {
	var out []DeviceCredential
	err := each(ctx, q, func(r *sql.Rows) error {
		var c DeviceCredential
		var created, revoked int64
		if err := r.Scan(&c.ID, &c.Company, &c.UserID, &c.DeviceID, &c.AOR, &c.Username, &c.Realm, &c.HA1MD5, &c.HA1SHA256, &created, &revoked); err != nil {
			return err
		}
		c.CreatedAt, c.RevokedAt = fromMicros(created), fromMicros(revoked)
		out = append(out, c)
		return nil
	}, "SELECT id, company, user_id, device_id, aor, username, realm, ha1_md5, ha1_sha256, created_us, revoked_us FROM device_credentials "+where, args...)
	return out, err
}
