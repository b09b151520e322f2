package webhook

import (
	"context"
	crand "crypto/rand"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// Group is the consumer group of those that take events.
const Group = "earshot-sink-webhook"

// ErrInstanceTaken says that another process has joined the group under this one's name.
var ErrInstanceTaken = errors.New("another sink runs under the same instance name")

// Deps is what a Sink needs beside its configuration.
type Deps struct {
	Bus       bus.Config
	Directory *directory.Directory
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// InstanceID makes the group member static, and lets a process that was
	// killed go on sending at once when it comes back. It must be unique; empty:
	// a new one each time.
	InstanceID string
	// Show gives what is sent of a moment of a call: what the API answers of it.
	Show func(company, call string, m *telemetry.CallMoment) any
}

// Sink tells subscribers of events.
type Sink struct {
	plan
	deps    Deps
	dir     *directory.Directory
	log     *slog.Logger
	metrics *metrics
	owner   string
	// queued is told when there is something new to send.
	queued chan struct{}
	// grown says that deliveries were stored since the bounds were looked at.
	grown atomic.Bool
}

// NewSink checks the configuration.
func NewSink(c Config, d Deps) (*Sink, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = prometheus.NewRegistry()
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		plan: p, deps: d, dir: d.Directory, metrics: m, log: d.Log.With("component", "webhooks"),
		owner: d.InstanceID, queued: make(chan struct{}, 1),
	}
	if s.owner == "" {
		s.owner = crand.Text()
	}
	return s, nil
}

// Run takes events and sends deliveries until ctx ends. Requests that are under
// way then may end, and what came of them is stored.
func (s *Sink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.take(ctx) })
	g.Go(func() error { return newSender(s).run(ctx) })
	g.Go(func() error { s.keepBounds(ctx); return nil })
	return g.Wait()
}

// wake says that there is something new to send.
func (s *Sink) wake() {
	s.grown.Store(true)
	select {
	case s.queued <- struct{}{}:
	default:
	}
}

// again calls what until it succeeds; false when ctx ended first.
func (s *Sink) again(ctx context.Context, doing string, what func() error) bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := what()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.log.Warn("cannot "+doing+", trying again", "error", err)
		if !sleep(ctx, wait/2+rand.N(wait/2)) {
			return false
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
