package directory

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// While somebody writes for long, such as an import, who reads is not kept
// waiting: neither by other writers, which wait apart, nor by the note of when
// the key was last used.
func TestReadersDoNotWaitForWriters(t *testing.T) {
	ctx := t.Context()
	d, err := Open(ctx, Config{DSN: filepath.Join(t.TempDir(), "directory.db")}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	plain, _, err := d.CreateKey(ctx, "reader", RoleOperator, "")
	if err != nil {
		t.Fatal(err)
	}
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- d.write(ctx, func(*sql.Tx) error {
			close(begun)
			<-end
			return errUnchanged
		})
	}()
	<-begun
	waiting, stop := context.WithCancel(ctx)
	others := make(chan error)
	for range 20 {
		go func() { others <- d.write(waiting, func(*sql.Tx) error { return nil }) }()
	}
	for d.writes.Stats().WaitCount < 20 { // they are all there
		select {
		case err := <-others:
			t.Errorf("a writer did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	who, err := d.AuthenticateKey(ctx, plain)
	if err != nil || who.Name != "reader" {
		t.Errorf("%+v, %v", who, err)
	}
	select {
	case err := <-ended:
		t.Errorf("the writer ended first: %v", err)
	default:
	}
	// Who does not want to wait any more need not.
	stop()
	for range 20 {
		if err := <-others; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	close(end)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// The next use is noted.
	d.recent.forget()
	if _, err := d.AuthenticateKey(ctx, plain); err != nil {
		t.Fatal(err)
	}
	if keys, err := d.Keys(ctx); err != nil || keys[0].UsedAt.IsZero() {
		t.Errorf("%+v, %v", keys, err)
	}
}
