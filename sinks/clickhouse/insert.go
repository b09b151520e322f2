package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// inserter writes blocks over one connection, opened when needed and dropped
// after any error: what the server did is unknown then, and the token answers
// that better than the connection.
type inserter struct {
	config Config
	client *ch.Client
}

func (i *inserter) close() {
	if i.client != nil {
		_ = i.client.Close()
		i.client = nil
	}
}

// insert stores the rows of a table as one block. A second insert with the
// same token changes nothing.
func (i *inserter) insert(ctx context.Context, t *table, token string) error {
	ctx, cancel := context.WithTimeout(ctx, i.config.Timeout)
	defer cancel()
	if i.client == nil {
		if err := i.connect(ctx); err != nil {
			return err
		}
	}
	err := i.client.Do(ctx, ch.Query{
		Body:  t.into,
		Input: t.input,
		Settings: []ch.Setting{
			{Key: "insert_deduplication_token", Value: token, Important: true},
			{Key: "insert_deduplicate", Value: "1", Important: true},
			// A background buffer would answer before the token was looked at.
			{Key: "async_insert", Value: "0", Important: true},
			// After an outage a batch may span many weeks of reception.
			{Key: "max_partitions_per_insert_block", Value: "0", Important: true},
		},
	})
	if err != nil {
		i.close()
		return fmt.Errorf("cannot insert into %s: %w", t.name, err)
	}
	return nil
}

func (i *inserter) connect(ctx context.Context) error {
	var errs []error
	// Always in the configured order: only replicas share the memory of tokens.
	for _, addr := range i.config.Addr {
		options := ch.Options{
			Address:          addr,
			Database:         i.config.Database,
			User:             i.config.User,
			Password:         i.config.Password,
			ClientName:       "earshot-sink",
			TLS:              i.config.tlsConfig(),
			DialTimeout:      dialTimeout,
			HandshakeTimeout: 10 * time.Second,
			ReadTimeout:      i.config.Timeout,
			Compression:      compression(addr),
		}
		if !i.config.TLS {
			options.Dialer = &dialer{net.Dialer{Timeout: dialTimeout}}
		}
		client, err := ch.Dial(ctx, options)
		if err == nil {
			i.client = client
			return nil
		}
		errs = append(errs, fmt.Errorf("cannot connect to ClickHouse at %s: %w", addr, err))
	}
	return errors.Join(errs...)
}

// compression costs CPU on both sides and gains nothing on loopback.
func compression(addr string) ch.Compression {
	if strings.HasPrefix(addr, "127.") || strings.HasPrefix(addr, "localhost:") || strings.HasPrefix(addr, "[::1]") {
		return ch.CompressionDisabled
	}
	return ch.CompressionLZ4
}

// exceptionName is the server's name of an error, empty where there is none:
// for the log of a retry.
func exceptionName(err error) string {
	if e, ok := ch.AsException(err); ok {
		return e.Code.String()
	}
	var code proto.Error
	if errors.As(err, &code) {
		return code.String()
	}
	return ""
}
