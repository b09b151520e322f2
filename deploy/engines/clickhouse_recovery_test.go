package engines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An insert whose token was written down and whose part was not is taken when it is tried again; one that is there is not.
func TestInsertIsTakenAgainWhereOnlyItsTokenWasKept(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.ClickHouse, config.Library = true, library(t)
	s := start(t, config)
	conn := openClickHouse(t, s.ClickHouseAddr())
	require.NoError(t, conn.Exec(ctx, "CREATE DATABASE kept"))
	require.NoError(t, conn.Exec(ctx, "CREATE TABLE kept.rows (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"))
	require.NoError(t, conn.Exec(ctx, "SYSTEM STOP MERGES kept.rows"))
	for _, token := range []string{"first", "second"} {
		require.NoError(t, conn.Exec(ctx, fmt.Sprintf("INSERT INTO kept.rows SETTINGS insert_deduplication_token = '%s' VALUES (1), (2)", token)))
	}
	var name, path string
	require.NoError(t, conn.QueryRow(ctx, "SELECT name, path FROM system.parts WHERE database = 'kept' AND table = 'rows' ORDER BY name DESC LIMIT 1").Scan(&name, &path))
	require.NoError(t, conn.Close())
	s.Stop()
	// What a kill leaves that comes between the two.
	if !filepath.IsAbs(path) {
		path = filepath.Join(config.Data, "clickhouse", path)
	}
	require.DirExists(t, path, name)
	require.NoError(t, os.RemoveAll(path))

	conn = openClickHouse(t, start(t, config).ClickHouseAddr())
	n, err := count(conn)
	require.NoError(t, err)
	require.Equal(t, uint64(2), n)
	for _, token := range []string{"first", "second"} {
		require.NoError(t, conn.Exec(ctx, fmt.Sprintf("INSERT INTO kept.rows SETTINGS insert_deduplication_token = '%s' VALUES (1), (2)", token)))
	}
	n, err = count(conn)
	require.NoError(t, err)
	require.Equal(t, uint64(4), n)
}

func TestTokensOfPartsThatAreNotThereAreForgotten(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "store", "0a1", "0a1b2c3d-0000-4000-8000-000000000000")
	for _, name := range []string{"20261116_1_4_1", "20261116_5_5_0", "20261123_6_6_0_9", "tmp_insert_20261116_7_7_0", "detached", "deduplication_logs"} {
		require.NoError(t, os.MkdirAll(filepath.Join(table, name), 0o755))
	}
	log := filepath.Join(table, "deduplication_logs", "deduplication_log_1.txt")
	there := "1\t20261116_2_2_0\tmerged\n" +
		"1\t20261116_5_5_0\tthere\n" +
		"1\t20261123_6_6_0\tmutated\n" +
		"2\t20261109_3_3_0\tdropped\n" +
		"1\tsomething else\tkept\n"
	lost := "1\t20261116_7_7_0\tnever named\n" +
		"1\t20261123_5_5_0\tof another partition\n"
	require.NoError(t, os.WriteFile(log, []byte(there+lost), 0o640))

	n, err := recoverTokens(dir)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	left, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, there, string(left))

	n, err = recoverTokens(dir)
	require.NoError(t, err)
	require.Zero(t, n, "what is whole stays as it is")
}
