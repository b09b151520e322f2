package clickhouse

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestMigrate(t *testing.T) {
	ctx := context.Background()
	c := testConfig()
	before, err := Status(ctx, c)
	require.NoError(t, err)
	require.NotEmpty(t, before)
	for _, m := range before {
		require.True(t, m.AppliedAt.IsZero(), m.Name)
	}

	// A kill after the first statement of the first file.
	admin, err := c.open("default")
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Exec(ctx, "CREATE DATABASE "+c.Database))
	conn, err := Open(c)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Exec(ctx, before[0].statements[0]))

	require.NoError(t, Migrate(ctx, c))
	after, err := Status(ctx, c)
	require.NoError(t, err)
	for _, m := range after {
		require.False(t, m.AppliedAt.IsZero(), m.Name)
	}
	require.NoError(t, CheckDeduplication(ctx, conn, 1))

	require.NoError(t, Migrate(ctx, c), "a second time changes nothing")
	again, err := Status(ctx, c)
	require.NoError(t, err)
	require.Equal(t, after, again)

	ttl := func(table string) string {
		var engine string
		require.NoError(t, conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", table).Scan(&engine))
		return engine
	}
	require.Contains(t, ttl("samples"), "TTL toDateTime(received_at) + toIntervalDay(30)")
	c.Retention.Samples, c.Retention.Calls = 7, 0
	require.NoError(t, Migrate(ctx, c))
	require.Contains(t, ttl("samples"), "TTL toDateTime(received_at) + toIntervalDay(7)")
	require.NotContains(t, ttl("calls"), "TTL")
	require.NotContains(t, ttl("call_times"), "TTL")

	require.NoError(t, conn.Exec(ctx, "INSERT INTO schema_migrations VALUES (1, '0001_samples.sql', 'other', now64(3) + 1)"))
	require.ErrorIs(t, Migrate(ctx, c), ErrMigrationChanged)
	require.NoError(t, conn.Exec(ctx, "INSERT INTO schema_migrations VALUES (1, '0001_samples.sql', ?, now64(3) + 2)", after[0].Checksum))
	require.NoError(t, conn.Exec(ctx, "INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', 'x', now64(3))"))
	require.ErrorIs(t, Migrate(ctx, c), ErrSchemaNewer)
}

func TestReadMigrations(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := readMigrations(fstest.MapFS{
		"migrations/0002_b.sql": file("ALTER;\n"),
		"migrations/0001_a.sql": file("-- why; because\nCREATE x (\n  y);\n\nCREATE z;\n"),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"-- why; because\nCREATE x (\n  y)", "CREATE z"}, got[0].statements)
	require.Equal(t, []string{"ALTER"}, got[1].statements)
	for name, files := range map[string]fstest.MapFS{
		"a gap":      {"migrations/0001_a.sql": file(""), "migrations/0003_c.sql": file("")},
		"twice":      {"migrations/0001_a.sql": file(""), "migrations/0001_b.sql": file("")},
		"other name": {"migrations/1_a.sql": file("")},
	} {
		_, err := readMigrations(files)
		require.Error(t, err, name)
	}
}
