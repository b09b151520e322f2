package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// ErrMigrationChanged says that a file which was applied is not what it was.
var ErrMigrationChanged = errors.New("an applied migration was changed")

// ErrSchemaNewer says that a newer Earshot has migrated the database.
var ErrSchemaNewer = errors.New("the schema is newer than this program")

// Migration is one numbered file and whether it is applied.
type Migration struct {
	Version   int
	Name      string
	Checksum  string    // SHA-256 of the file, hex
	AppliedAt time.Time // zero: not yet

	statements []string
}

// The table of what was applied. A kill between a statement and its row here
// leaves a migration that runs again, so every statement must be idempotent.
const schemaMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version`

// Migrate brings the database to this program's schema, forward only, and its
// retention to the configuration's.
func Migrate(ctx context.Context, c Config) error {
	bootstrap, err := c.open("default")
	if err != nil {
		return err
	}
	defer bootstrap.Close()
	if err := bootstrap.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(c.Database)); err != nil {
		return fmt.Errorf("cannot create database %s: %w", c.Database, err)
	}
	conn, err := Open(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Exec(ctx, schemaMigrations); err != nil {
		return fmt.Errorf("cannot create the table of migrations: %w", err)
	}
	migrations, err := status(ctx, conn)
	if err != nil {
		return err
	}
	for _, m := range migrations {
		if !m.AppliedAt.IsZero() {
			continue
		}
		for i, statement := range m.statements {
			if err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("cannot apply migration %s, statement %d: %w", m.Name, i+1, err)
			}
		}
		err := conn.Exec(ctx, "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, now64(3))",
			m.Version, m.Name, m.Checksum)
		if err != nil {
			return fmt.Errorf("cannot record migration %s: %w", m.Name, err)
		}
	}
	return applyRetention(ctx, conn, c.Retention)
}

// Status lists the program's migrations and when each was applied.
func Status(ctx context.Context, c Config) ([]Migration, error) {
	conn, err := c.open("default")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var tables uint64
	row := conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = ? AND name = 'schema_migrations'", c.Database)
	if err := row.Scan(&tables); err != nil {
		return nil, fmt.Errorf("cannot look for the table of migrations: %w", err)
	}
	if tables == 0 {
		return readMigrations(migrationFiles)
	}
	inDatabase, err := Open(c)
	if err != nil {
		return nil, err
	}
	defer inDatabase.Close()
	return status(ctx, inDatabase)
}

func status(ctx context.Context, conn driver.Conn) ([]Migration, error) {
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT version, name, checksum, applied_at FROM schema_migrations FINAL ORDER BY version")
	if err != nil {
		return nil, fmt.Errorf("cannot read the table of migrations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			version        uint32
			name, checksum string
			at             time.Time
		)
		if err := rows.Scan(&version, &name, &checksum, &at); err != nil {
			return nil, fmt.Errorf("cannot read the table of migrations: %w", err)
		}
		i := sort.Search(len(migrations), func(i int) bool { return migrations[i].Version >= int(version) })
		if i == len(migrations) || migrations[i].Version != int(version) {
			return nil, fmt.Errorf("%w: it has migration %s", ErrSchemaNewer, name)
		}
		if migrations[i].Checksum != checksum {
			return nil, fmt.Errorf("%w: %s", ErrMigrationChanged, name)
		}
		migrations[i].AppliedAt = at
	}
	return migrations, rows.Err()
}

var migrationName = regexp.MustCompile(`^(\d{4})_[a-z0-9_]+\.sql$`)

func readMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("cannot list migrations: %w", err)
	}
	var out []Migration
	for _, path := range names {
		name := strings.TrimPrefix(path, "migrations/")
		match := migrationName.FindStringSubmatch(name)
		if match == nil {
			return nil, fmt.Errorf("migration %s is not named 0001_what.sql", name)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("cannot read migration %s: %w", name, err)
		}
		sum := sha256.Sum256(text)
		version, _ := strconv.Atoi(match[1])
		out = append(out, Migration{
			Version: version, Name: name, Checksum: hex.EncodeToString(sum[:]), statements: splitStatements(string(text)),
		})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Version < out[j].Version })
	for i := range out {
		if out[i].Version != i+1 {
			return nil, fmt.Errorf("migration %s stands where number %04d should", out[i].Name, i+1)
		}
	}
	return out, nil
}

// splitStatements cuts at a semicolon that ends a line.
func splitStatements(text string) []string {
	var out []string
	for _, s := range strings.Split(text, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// applyRetention alters the tables whose TTL is not what is configured.
func applyRetention(ctx context.Context, conn driver.Conn, r Retention) error {
	for _, t := range []struct {
		table string
		days  int
	}{
		{"samples", r.Samples}, {"messages", r.Messages},
		{"calls", r.Calls}, {"call_times", r.Calls}, {"call_keys", r.Calls}, {"call_figures", r.Calls}, {"call_quality", r.Calls},
		{"call_events", r.Calls}, {"call_event_times", r.Calls},
		{"rejections", r.Rejections}, {"rejection_times", r.Rejections}, {"ratings", r.Ratings},
		{"registration_changes", r.Registrations}, {"registrations", r.Registrations},
		{"ingest_counts", r.Ingest},
	} {
		var engine string
		row := conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", t.table)
		if err := row.Scan(&engine); err != nil {
			return fmt.Errorf("cannot read the retention of table %s: %w", t.table, err)
		}
		has := strings.Contains(engine, " TTL ")
		var statement string
		switch {
		case t.days <= 0 && has:
			statement = "ALTER TABLE " + quoteName(t.table) + " REMOVE TTL"
		case t.days > 0 && !strings.Contains(engine, fmt.Sprintf(" TTL toDateTime(received_at) + toIntervalDay(%d)", t.days)):
			statement = fmt.Sprintf("ALTER TABLE %s MODIFY TTL toDateTime(received_at) + toIntervalDay(%d)", quoteName(t.table), t.days)
		default:
			continue
		}
		if err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("cannot change the retention of table %s: %w", t.table, err)
		}
	}
	return nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "") + "`" }
