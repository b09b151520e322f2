package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"

	chdriver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Config says where ClickHouse is, how long it keeps what, and how the sink batches.
type Config struct {
	Addr      []string      `koanf:"addr" doc:"servers, host:port of the native protocol; empty: the embedded engine. More than one: replicas"`
	User      string        `koanf:"user" doc:"user name"`
	Password  string        `koanf:"password" doc:"password" secret:"true"`
	Database  string        `koanf:"database" doc:"database; created where it does not exist"`
	TLS       bool          `koanf:"tls" doc:"connect with TLS"`
	Retention Retention     `koanf:"retention"`
	Batch     Batch         `koanf:"batch"`
	Timeout   time.Duration `koanf:"timeout" doc:"of one insert; then it is tried again with the same token"`
	// MaxExecution limits what a question of the API may cost.
	MaxExecution time.Duration `koanf:"max_execution" doc:"time limit of one query of the API on the server"`
	MaxExport    time.Duration `koanf:"max_export" doc:"the same, of one download of a whole list, the time that its client takes included"`
}

// Retention is how many days rows are kept, from reception; 0 keeps them for ever.
type Retention struct {
	Samples       int `koanf:"samples" doc:"days that samples are kept, from reception; 0: for ever"`
	Messages      int `koanf:"messages" doc:"days that SIP messages are kept"`
	Calls         int `koanf:"calls" doc:"days that calls with their verdicts are kept"`
	Rejections    int `koanf:"rejections" doc:"days that rejections are kept"`
	Ratings       int `koanf:"ratings" doc:"days that ratings are kept"`
	Registrations int `koanf:"registrations" doc:"days that registrations and their changes are kept"`
	Ingest        int `koanf:"ingest" doc:"days that the accounts of the ingesters are kept"`
}

// Batch says what ends a batch: whichever comes first.
type Batch struct {
	Rows   int           `koanf:"rows" doc:"outcomes in one batch"`
	Bytes  int           `koanf:"bytes" doc:"bytes of outcomes in one batch"`
	Linger time.Duration `koanf:"linger" doc:"time after a batch's first outcome"`
	// Buffer bounds what is read from Kafka and not yet in ClickHouse.
	Buffer int `koanf:"buffer" doc:"bytes of outcomes held in memory; above it the sink stops reading"`
}

// DefaultConfig is the embedded engine.
func DefaultConfig() Config {
	return Config{
		User:         "default",
		Database:     "earshot",
		Retention:    Retention{Samples: 30, Messages: 30, Calls: 365, Rejections: 365, Ratings: 365, Registrations: 365, Ingest: 30},
		Batch:        Batch{Rows: 100_000, Bytes: 8 << 20, Linger: 200 * time.Millisecond, Buffer: 64 << 20},
		Timeout:      2 * time.Minute,
		MaxExecution: 20 * time.Second,
		MaxExport:    time.Hour,
	}
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func (c Config) validate() error {
	if len(c.Addr) == 0 {
		return errors.New("clickhouse.addr is empty")
	}
	if !databaseName.MatchString(c.Database) {
		return fmt.Errorf("clickhouse.database %q is no plain name", c.Database)
	}
	if c.Batch.Rows < 1 || c.Batch.Bytes < 1 || c.Batch.Buffer < 1 {
		return errors.New("clickhouse.batch: rows, bytes and buffer must be positive")
	}
	return nil
}

func (c Config) tlsConfig() *tls.Config {
	if !c.TLS {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

const dialTimeout = 5 * time.Second

// Open gives a connection pool for DDL and questions. It does not connect yet,
// and the database need not exist yet.
func Open(c Config) (driver.Conn, error) { return c.open(c.Database) }

func (c Config) open(database string) (driver.Conn, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	options := &chdriver.Options{
		Addr:             c.Addr,
		Auth:             chdriver.Auth{Database: database, Username: c.User, Password: c.Password},
		TLS:              c.tlsConfig(),
		DialTimeout:      dialTimeout,
		MaxOpenConns:     16,
		MaxIdleConns:     8,
		ConnOpenStrategy: chdriver.ConnOpenInOrder,
	}
	if !c.TLS {
		d := &dialer{net.Dialer{Timeout: dialTimeout}}
		options.DialContext = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	conn, err := chdriver.Open(options)
	if err != nil {
		return nil, fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	return conn, nil
}
