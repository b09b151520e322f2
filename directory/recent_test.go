package directory

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A key that another process revokes is taken for no longer than keyMemory.
func TestRevokedElsewhere(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	here, err := Open(ctx, Config{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	elsewhere, err := Open(ctx, Config{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	now := time.Now()
	here.now = func() time.Time { return now }
	plain, key, err := here.CreateKey(ctx, "page", RoleOperator, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.AuthenticateKey(ctx, plain); err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.RevokeKey(ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := here.AuthenticateKey(ctx, plain); err != nil {
		t.Fatalf("not looked up again yet: %v", err)
	}
	now = now.Add(keyMemory)
	if _, err := here.AuthenticateKey(ctx, plain); !errors.Is(err, ErrUnauthenticated) {
		t.Fatalf("a revoked key: %v", err)
	}
}

func TestRecentKeysAreBounded(t *testing.T) {
	var r recentKeys
	now := time.Now()
	for i := range 2*maxRecentKeys + 1 {
		r.put(string(rune(i)), Principal{}, now)
	}
	if len(r.keys) > maxRecentKeys {
		t.Fatalf("%d keys", len(r.keys))
	}
}
