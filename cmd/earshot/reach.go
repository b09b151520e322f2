package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	// askTime bounds a question whether an engine is there.
	askTime = 10 * time.Second
)

// reach does what a role begins with on an engine. A role waits for an engine that
// is away: whatever starts machines starts them in any order. Everything else that
// is wrong ends it, because waiting would not make it right. try may run often.
func (p *process) reach(ctx context.Context, engine string, try func(context.Context) error) error {
	if !p.waits {
		return try(ctx)
	}
	var missing atomic.Pointer[error]
	unanswered := fmt.Errorf("%s has not answered yet", engine)
	missing.Store(&unanswered)
	p.admin.Add(engine, func(context.Context) error { return *missing.Load() })
	for wait, waited := firstRetry, false; ; wait = min(2*wait, lastRetry) {
		err := try(ctx)
		switch {
		case err == nil:
			if waited {
				p.log.Info("an engine is there, going on", "engine", engine)
			}
			missing.Store(new(error))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !notReachable(err):
			return err
		case !waited:
			waited = true
			p.log.Warn("an engine cannot be reached, waiting for it", "engine", engine, "error", err)
		default:
			p.log.Debug("an engine still cannot be reached", "engine", engine, "error", err)
		}
		missing.Store(&err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.failure:
			return err
		case <-time.After(wait):
		}
	}
}

// ask bounds a question that would wait for long where nobody answers.
func ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return question(ctx)
}

// comingOrGoing are the answers of a PostgreSQL that starts or stops.
var comingOrGoing = []string{"57P01", "57P02", "57P03", "08000", "08001", "08003", "08004", "08006"}

// notReachable tells an engine that is away from one that refuses. A connection
// that ends before an answer counts as away: proxies take connections for engines
// that do not run. So does a name that is not known: orchestrators make names with
// what they name.
func notReachable(err error) bool {
	var postgres *pgconn.PgError
	if errors.As(err, &postgres) {
		return slices.Contains(comingOrGoing, postgres.Code)
	}
	var address *net.AddrError
	var name *net.DNSError
	if errors.As(err, &address) || errors.As(err, &name) && name.Err == "unknown port" {
		return false
	}
	var network *net.OpError // also of TLS, whose alerts are refusals
	if errors.As(err, &network) {
		return slices.Contains([]string{"dial", "read", "write"}, network.Op)
	}
	return name != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || kerr.IsRetriable(err)
}
