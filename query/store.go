package query

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Store asks one ClickHouse database.
type Store struct {
	conn driver.Conn
	// MaxExecution limits a statement's time on the server.
	maxExecution time.Duration
	now          func() time.Time
}

// Options of New; the zero value is usable.
type Options struct {
	MaxExecution time.Duration    // of one statement on the server; 0: 20 s
	Now          func() time.Time // nil: time.Now; what registered is compared with
}

// New makes a store over an open connection, see clickhouse.Open.
func New(conn driver.Conn, o Options) *Store {
	if o.MaxExecution == 0 {
		o.MaxExecution = 20 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{conn: conn, maxExecution: o.MaxExecution, now: o.Now}
}

// Ping asks whether ClickHouse answers.
func (s *Store) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }

// Company is the only door to data: every question is one company's.
func (s *Store) Company(company string) Company { return Company{store: s, id: company} }

// Company asks about one company.
type Company struct {
	store *Store
	id    string
}
