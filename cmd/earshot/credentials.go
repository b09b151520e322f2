package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest/registrar"
)

// credentials joins the registrar to what the directory knows of devices.
type credentials struct {
	directory *directory.Directory
	resolver  *directory.Resolver
	log       *slog.Logger
	uses      chan directory.CredentialUse
	version   int64 // of the directory, up to which deletions are known
	// patience is how long deleted waits for who is who.
	patience time.Duration
}

const (
	// usesAtOnce bounds the uses of credentials that wait to be noted: as many in
	// the queue, and as many in hand.
	usesAtOnce = 1000
	// noteAgain is the longest time between attempts to note them.
	noteAgain = 10 * time.Second
	// whoIsWhoSoon is longer than the directory's changes take to come here.
	whoIsWhoSoon = 10 * time.Second
)

func newCredentials(ctx context.Context, d *directory.Directory, r *directory.Resolver, log *slog.Logger) (*credentials, error) {
	version, err := d.Version(ctx)
	if err != nil {
		return nil, err
	}
	return &credentials{directory: d, resolver: r, log: log, uses: make(chan directory.CredentialUse, usesAtOnce), version: version, patience: whoIsWhoSoon}, nil
}

// Credentials implements registrar.Credentials.
func (c *credentials) Credentials(company, aor string) ([]registrar.Credential, bool) {
	known, protected := c.resolver.Credentials(company, aor)
	usable := make([]registrar.Credential, len(known))
	for i, k := range known {
		usable[i] = registrar.Credential{ID: k.ID, Username: k.Username, Realm: k.Realm, HA1MD5: k.HA1MD5, HA1SHA256: k.HA1SHA256}
	}
	return usable, protected
}

// used takes what run notes; it says no where that is behind.
func (c *credentials) used(credential, device string) bool {
	select {
	case c.uses <- directory.CredentialUse{Credential: credential, Device: device}:
		return true
	default:
		return false
	}
}

// run notes which devices use which credentials, so that deleting a device can
// revoke them. What cannot be noted is tried again, before what comes after it.
func (c *credentials) run(ctx context.Context) error {
	for {
		var batch []directory.CredentialUse
		select {
		case <-ctx.Done():
			return nil
		case u := <-c.uses:
			batch = append(batch, u)
		}
		for len(batch) < usesAtOnce && len(c.uses) > 0 {
			batch = append(batch, <-c.uses)
		}
		c.note(ctx, batch)
	}
}

// note returns when the uses are noted or ctx has ended: a registrar that starts
// tells of them again.
func (c *credentials) note(ctx context.Context, batch []directory.CredentialUse) {
	failing := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, noteAgain) {
		err := c.directory.NoteCredentials(ctx, batch)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !failing {
			failing = true
			c.log.Warn("cannot note which device uses which credentials, trying again: until then deleting it does not revoke them", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// deleted gives the devices deleted since the last call.
func (c *credentials) deleted(ctx context.Context) ([]registrar.Device, error) {
	deleted, version, err := c.directory.DeletedDevices(ctx, c.version)
	if err != nil || len(deleted) == 0 {
		return nil, err
	}
	// The credentials first: between the end of its binding and theirs a phone
	// could register again with what was revoked. Where that is not known soon, who
	// asks asks again, and is not held up till then.
	soon, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	if err := c.resolver.Wait(soon, version); err != nil {
		return nil, err
	}
	c.version = version
	devices := make([]registrar.Device, len(deleted))
	for i, d := range deleted {
		devices[i] = registrar.Device{Company: d.Company, ID: d.DeviceID}
	}
	return devices, nil
}
