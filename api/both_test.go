package api_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/directory/postgrestest"
	"github.com/earshot/earshot/query"
)

// startPostgres starts the server that the tests share, at the first that needs it.
var startPostgres = sync.OnceValues(func() (*postgrestest.Server, error) {
	server, err := postgrestest.Start()
	stopPostgres = func() {
		if err == nil {
			server.Stop()
		}
	}
	return server, err
})

var stopPostgres = func() {}

// onBothSites runs a test against a server whose directory is in SQLite, and
// against one whose is in PostgreSQL.
func onBothSites(t *testing.T, store *query.Store, test func(s *site)) {
	for name, dsn := range map[string]func(t *testing.T) string{
		"SQLite": func(t *testing.T) string { return filepath.Join(t.TempDir(), "directory.db") },
		"PostgreSQL": func(t *testing.T) string {
			server, err := startPostgres()
			if err != nil {
				t.Fatal(err)
			}
			return server.NewDatabase(t)
		},
	} {
		t.Run(name, func(t *testing.T) { test(newSiteOn(t, store, directory.Config{DSN: dsn(t)})) })
	}
}

// company makes one with the records of the seed's default, for a test that puts
// things into the store: others count what is there.
func (s *site) company(id string) {
	s.t.Helper()
	records, err := directory.ParseSeed([]byte(strings.Replace(seed, "id: default", "id: "+id, 1)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.directory.ApplySeed(s.t.Context(), records); err != nil {
		s.t.Fatal(err)
	}
}

// sql changes a row behind the server's back: the way to make time pass for what
// is stored with a time.
func (s *site) sql(statement string, args ...any) {
	s.t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(s.dsn, "postgres") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(s.t.Context(), statement, args...); err != nil {
		s.t.Fatal(err)
	}
}
