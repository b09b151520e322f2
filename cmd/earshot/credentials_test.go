package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

// warnings is a log that tells of what it is given.
type warnings chan string

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warnings) WithGroup(string) slog.Handler            { return w }
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	w <- r.Message
	return nil
}

// phoneBook is a directory with alice, whose desk phone has credentials.
func phoneBook(t *testing.T) (d *directory.Directory, credential string, behind *sql.DB) {
	t.Helper()
	dir := t.TempDir()
	d, err := directory.Open(t.Context(), directory.Config{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if _, _, err := d.Bootstrap(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateUser(t.Context(), "default", directory.User{ID: "alice", Name: "Alice", AORs: []string{"alice@example.com"}}); err != nil {
		t.Fatal(err)
	}
	_, made, err := d.CreateDeviceCredential(t.Context(), "default", directory.NewDeviceCredential{UserID: "alice", DeviceID: "desk", Realm: "earshot"})
	if err != nil {
		t.Fatal(err)
	}
	behind, err = sql.Open("sqlite", filepath.Join(dir, "directory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { behind.Close() })
	return d, made.ID, behind
}

// What cannot be noted for a while is noted then, and meanwhile no more than so
// much is taken: a registrar offers again what was not.
func TestUsesOfCredentialsOutliveAFailure(t *testing.T) {
	d, credential, behind := phoneBook(t)
	said := make(warnings, 100)
	c, err := newCredentials(t.Context(), d, nil, slog.New(said))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if _, err := behind.ExecContext(t.Context(), "ALTER TABLE credential_use RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	if !c.used(credential, "aa") {
		t.Fatal("the first was not taken")
	}
	<-said
	taken := 0
	for i := range 3 * usesAtOnce {
		if c.used("none", fmt.Sprint(i)) {
			taken++
		}
	}
	if taken < usesAtOnce-1 || taken > 2*usesAtOnce {
		t.Errorf("%d were taken while nothing could be noted", taken)
	}
	if _, err := behind.ExecContext(t.Context(), "ALTER TABLE away RENAME TO credential_use"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		known, err := d.CredentialsInUse(t.Context(), "default", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if len(known) == 1 && slices.Equal(known[0].UsedBy, []string{"aa"}) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it was never noted: %+v", known)
		}
	}
}

// Where who is who is not told, those who ask for deleted devices get an answer,
// and ask for the same again.
func TestDeletedDevicesDoNotWaitForEver(t *testing.T) {
	d, _, _ := phoneBook(t)
	r, err := directory.NewResolver(directory.ResolverDeps{}) // which does not run
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCredentials(t.Context(), d, r, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.patience = time.Millisecond
	before := c.version
	if _, err := d.DeleteDevice(t.Context(), directory.DeviceDeletion{Company: "default", UserID: "alice", DeviceID: "desk"}, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if devices, err := c.deleted(t.Context()); !errors.Is(err, context.DeadlineExceeded) || devices != nil || c.version != before {
			t.Errorf("%v, %v, from %d after %d", devices, err, c.version, before)
		}
	}
}
