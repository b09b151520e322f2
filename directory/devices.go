package directory

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DeviceDeletion is a device that was deleted, so that it has to register anew.
type DeviceDeletion struct {
	Company   string
	UserID    string
	DeviceID  string
	AppKind   string // what it was then
	Platform  string
	Version   string
	DeletedAt time.Time
	Revoked   int // credentials that the deletion revoked
}

// DeleteDevice makes a device register anew: the credentials it registers with
// are revoked, registrars end its bindings, and subscribers are told by the
// journal's entry device.delete. The device is one that was seen, or the name
// that credentials were made for. It returns how many credentials it revoked.
//
// Other devices that were seen with the same credentials are deleted with it:
// what they prove with is gone. Without known being said (the device was seen)
// one that has no credentials either is not found.
func (d *Directory) DeleteDevice(ctx context.Context, del DeviceDeletion, known bool) (revoked int, err error) {
	if del.DeviceID == "" || len(del.DeviceID) > 64 {
		return 0, invalid("device", "must be 1 to 64 characters")
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		if err := checkUserKnown(ctx, tx, del.Company, del.UserID); err != nil {
			return err
		}
		credentials, err := credentialsInUse(ctx, tx, `WHERE company = $1 AND user_id = $2 AND revoked_us = 0
			AND (device_id = $3 OR id IN (SELECT credential_id FROM credential_use WHERE device_id = $3)) ORDER BY id`, del.Company, del.UserID, del.DeviceID)
		if err != nil {
			return err
		}
		if len(credentials) == 0 && !known {
			return ErrNotFound
		}
		del.DeletedAt = d.now()
		revoked = len(credentials)
		return deleteWith(ctx, tx, del, credentials)
	})
	return revoked, err
}

// deleteWith deletes a device, or with an empty id none, and with it all that
// register with some credentials, which it revokes.
func deleteWith(ctx context.Context, tx *sql.Tx, del DeviceDeletion, credentials []CredentialInUse) error {
	revoked := make([]DeviceCredential, len(credentials))
	devices := []string{}
	for i, c := range credentials {
		revoked[i] = c.DeviceCredential
		devices = append(append(devices, c.DeviceID), c.UsedBy...)
	}
	if err := revokeCredentials(ctx, tx, revoked, del.DeletedAt); err != nil {
		return err
	}
	del.Revoked = len(credentials)
	if del.DeviceID != "" {
		if err := storeDeletion(ctx, tx, del); err != nil {
			return err
		}
	}
	slices.Sort(devices)
	for _, id := range slices.Compact(devices) {
		if id == del.DeviceID {
			continue
		}
		other := DeviceDeletion{Company: del.Company, UserID: del.UserID, DeviceID: id, DeletedAt: del.DeletedAt, Revoked: len(credentials)}
		if err := storeDeletion(ctx, tx, other); err != nil {
			return err
		}
	}
	return nil
}

// deleteUserDevices ends what a user's devices have: all credentials, and the
// bindings of the devices that registered with them.
func deleteUserDevices(ctx context.Context, tx *sql.Tx, company, user string, now time.Time) error {
	credentials, err := credentialsInUse(ctx, tx, "WHERE company = $1 AND user_id = $2 AND revoked_us = 0 ORDER BY id", company, user)
	if err != nil {
		return err
	}
	return deleteWith(ctx, tx, DeviceDeletion{Company: company, UserID: user, DeletedAt: now}, credentials)
}

func storeDeletion(ctx context.Context, tx *sql.Tx, del DeviceDeletion) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO device (company, user_id, id, app_kind, platform, version, deleted_us, revoked, n)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT n FROM directory_version))
		ON CONFLICT (company, user_id, id) DO UPDATE SET app_kind = EXCLUDED.app_kind, platform = EXCLUDED.platform, version = EXCLUDED.version,
			deleted_us = EXCLUDED.deleted_us, revoked = EXCLUDED.revoked, n = EXCLUDED.n`,
		del.Company, del.UserID, del.DeviceID, del.AppKind, del.Platform, del.Version, micros(del.DeletedAt), del.Revoked)
	if err != nil {
		return fmt.Errorf("cannot store the deletion of a device: %w", err)
	}
	return record(ctx, tx, del.Company, del.DeletedAt, Change{Action: "device.delete", Kind: "device", ID: del.DeviceID, User: del.UserID,
		Fields: []FieldChange{{Field: "app_kind", Old: del.AppKind}, {Field: "platform", Old: del.Platform}, {Field: "version", Old: del.Version}}})
}

// UserDevice names a device of a user.
type UserDevice struct{ User, Device string }

// DeviceDeletions gives those of some devices that were deleted. Those that were
// seen since are in it too: only what was measured knows. All that were ever
// deleted are not for one answer: they only get more.
func (d *Directory) DeviceDeletions(ctx context.Context, company string, devices []UserDevice) ([]DeviceDeletion, error) {
	var out []DeviceDeletion
	for some := range slices.Chunk(devices, 50) {
		c := &conditions{}
		c.and("company = ?", company)
		var values []any
		for _, x := range some {
			values = append(values, x.User, x.Device)
		}
		c.and("("+strings.TrimSuffix(strings.Repeat("(user_id = ? AND id = ?) OR ", len(some)), " OR ")+")", values...)
		found, _, err := d.deletions(ctx, "WHERE "+c.String(), c.args...)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// DeletedDevices lists what was deleted, in any company, after a version of the
// directory, and the version up to which that is all. It is one query for an
// index that nearly always ends empty, to be asked every second.
func (d *Directory) DeletedDevices(ctx context.Context, after int64) ([]DeviceDeletion, int64, error) {
	out, upTo, err := d.deletions(ctx, "WHERE n > $1 ORDER BY n", after)
	return out, max(after, upTo), err
}

func (d *Directory) deletions(ctx context.Context, where string, args ...any) (out []DeviceDeletion, upTo int64, err error) {
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var x DeviceDeletion
		var deleted, n int64
		if err := r.Scan(&x.Company, &x.UserID, &x.DeviceID, &x.AppKind, &x.Platform, &x.Version, &deleted, &x.Revoked, &n); err != nil {
			return err
		}
		x.DeletedAt, upTo = fromMicros(deleted), max(upTo, n)
		out = append(out, x)
		return nil
	}, "SELECT company, user_id, id, app_kind, platform, version, deleted_us, revoked, n FROM device "+where, args...)
	return out, upTo, err
}

// maxUses is how many devices are remembered for one set of credentials. A
// phone without an instance id (RFC 5626) is a new device with every new port.
const maxUses = 8

// CredentialUse is a device that was seen, and credentials it registered with.
type CredentialUse struct{ Credential, Device string }

// NoteCredentials notes with which credentials devices registered. What is known
// already, as after every start of a registrar, costs no write. It may be called
// again with what it has noted in part.
func (d *Directory) NoteCredentials(ctx context.Context, uses []CredentialUse) error {
	for some := range slices.Chunk(uses, 100) {
		if err := d.noteCredentials(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) noteCredentials(ctx context.Context, uses []CredentialUse) error {
	fresh := map[CredentialUse]bool{}
	var ids []any
	for _, u := range uses {
		// What cannot be stored is no device that could be deleted, either: the
		// others do not wait for it.
		if storable(u.Credential) != u.Credential || storable(u.Device) != u.Device {
			continue
		}
		if !fresh[u] {
			fresh[u], ids = true, append(ids, u.Credential)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var u CredentialUse
		if err := r.Scan(&u.Credential, &u.Device); err != nil {
			return err
		}
		delete(fresh, u)
		return nil
	}, "SELECT credential_id, device_id FROM credential_use WHERE credential_id IN ("+placeholders(1, len(ids))+")", ids...)
	if err != nil || len(fresh) == 0 {
		return err
	}
	// Not by write: who is who does not change by it.
	tx, err := d.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot note the use of credentials: %w", err)
	}
	defer tx.Rollback()
	now := micros(d.now())
	for u := range fresh {
		_, err = tx.ExecContext(ctx, `INSERT INTO credential_use (credential_id, device_id, first_us)
			SELECT id, $2, $3 FROM device_credentials WHERE id = $1 ON CONFLICT (credential_id, device_id) DO NOTHING`, u.Credential, u.Device, now)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM credential_use WHERE credential_id = $1 AND device_id NOT IN (
				SELECT device_id FROM credential_use WHERE credential_id = $1 ORDER BY first_us DESC, device_id LIMIT $2)`, u.Credential, maxUses)
		}
		if err != nil {
			return fmt.Errorf("cannot note the use of credentials: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("cannot note the use of credentials: %w", err)
	}
	return nil
}

// CredentialInUse are credentials that are not revoked, with the devices that
// were seen with them, the newest first.
type CredentialInUse struct {
	DeviceCredential
	UsedBy []string
}

// CredentialsInUse lists the credentials in use of users' devices.
func (d *Directory) CredentialsInUse(ctx context.Context, company string, users ...string) ([]CredentialInUse, error) {
	if len(users) == 0 {
		return nil, nil
	}
	args := appendAll([]any{company}, users)
	return credentialsInUse(ctx, d.db, "WHERE company = $1 AND revoked_us = 0 AND user_id IN ("+placeholders(2, len(users))+") ORDER BY created_us, id", args...)
}

func credentialsInUse(ctx context.Context, q querier, where string, args ...any) ([]CredentialInUse, error) {
	credentials, err := deviceCredentials(ctx, q, where, args...)
	if err != nil || len(credentials) == 0 {
		return nil, err
	}
	out := make([]CredentialInUse, len(credentials))
	at := map[string]*CredentialInUse{}
	ids := make([]any, len(credentials))
	for i, c := range credentials {
		out[i].DeviceCredential = c
		ids[i], at[c.ID] = c.ID, &out[i]
	}
	err = each(ctx, q, func(r *sql.Rows) error {
		var id, device string
		if err := r.Scan(&id, &device); err != nil {
			return err
		}
		at[id].UsedBy = append(at[id].UsedBy, device)
		return nil
	}, "SELECT credential_id, device_id FROM credential_use WHERE credential_id IN ("+placeholders(1, len(ids))+") ORDER BY first_us DESC, device_id", ids...)
	return out, err
}

// Instructions is what has to be done, after a device of a kind was deleted, to
// make it register anew.
func Instructions(appKind, platform string) []string {
	switch cmp.Or(appKind, "sip") {
	case "desk_phone":
		return []string{"Delete the device.", "Provision the phone again; an admin or its user can do so."}
	case "native", "packaged_app":
		return []string{"Delete the device.", "Log out of the desktop app and in again."}
	case "web", "harness":
		return []string{"Delete the device.", "Log out of the app in the browser and in again."}
	case "mobile":
		return []string{"Nothing has to be done: apps on iOS, iPadOS and Android keep no registration, calls wake them by push."}
	}
	return []string{"Delete the device.", "Give it new credentials and let it register again."}
}
