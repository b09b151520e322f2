package main

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	chdriver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/earshot/earshot/sinks/clickhouse"
)

func TestOnlyWhatIsAwayIsWaitedFor(t *testing.T) {
	for _, away := range []error{
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		&net.DNSError{Err: "no such host", IsNotFound: true}, io.EOF, &pgconn.PgError{Code: "57P03"},
	} {
		require.True(t, notReachable(fmt.Errorf("cannot begin: %w", away)), "%v", away)
	}
	for _, wrong := range []error{
		&chdriver.Exception{Code: 516, Message: "password is incorrect"}, &pgconn.PgError{Code: "28P01"}, &pgconn.PgError{Code: "3D000"},
		kerr.SaslAuthenticationFailed, clickhouse.ErrSchemaNewer, clickhouse.ErrMigrationChanged,
		&net.OpError{Op: "dial", Err: &net.AddrError{Err: "missing port in address"}}, &net.OpError{Op: "remote error", Err: syscall.EPROTO},
	} {
		require.False(t, notReachable(fmt.Errorf("cannot begin: %w", wrong)), "%v", wrong)
	}
}
