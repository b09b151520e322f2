package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// Resolver knows who is who from what publishers tell over Kafka, within a
// second of each change. It needs no database.
type Resolver struct {
	*whoIsWho
	bus     bus.Config
	secrets *seal
	log     *slog.Logger

	state   sync.Mutex
	moved   chan struct{} // closed, and another made, when anything below changes
	mark    *telemetry.DirectoryMark
	version int64 // of mark
	last    *telemetry.DirectoryMark
	read    int64 // records, so that who waits sees that others work
	caught  bool  // all that was there at the start has been read
}

// ResolverDeps is what a Resolver works with.
type ResolverDeps struct {
	Bus bus.Config
	// Secret opens credentials, see FeedSecret. Without it they cannot be used,
	// and devices that have some cannot register.
	Secret  string
	Log     *slog.Logger
	Metrics prometheus.Registerer // may be nil
}

// NewResolver makes a resolver that knows nobody until Run has read the topic.
func NewResolver(deps ResolverDeps) (*Resolver, error) {
	secrets, err := newSeal(deps.Secret)
	if err != nil {
		return nil, err
	}
	r := &Resolver{whoIsWho: newWhoIsWho(), bus: deps.Bus, secrets: secrets, log: deps.Log, moved: make(chan struct{})}
	if deps.Metrics != nil {
		r.register(deps.Metrics)
	}
	return r, nil
}

func (r *Resolver) register(metrics prometheus.Registerer) {
	gauge := func(name, help string, value func() float64) {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("earshot_directory_version", "Version of the directory that who-is-who has reached.", func() float64 {
		r.state.Lock()
		defer r.state.Unlock()
		return float64(r.version)
	})
	gauge("earshot_directory_unread", "Records of the directory's topic that could not be read, or not be opened.", func() float64 {
		r.mu.RLock()
		defer r.mu.RUnlock()
		return float64(r.unread)
	})
	gauge("earshot_directory_users", "Users that who-is-who knows, the deleted ones too.", func() float64 {
		r.mu.RLock()
		defer r.mu.RUnlock()
		n := 0
		for _, h := range r.companies {
			n += len(h.users)
		}
		return float64(n)
	})
	gauge("earshot_directory_numbers", "Numbers that who-is-who knows.", func() float64 {
		r.mu.RLock()
		defer r.mu.RUnlock()
		n := 0
		for _, h := range r.companies {
			n += len(h.byNumber)
		}
		return float64(n)
	})
}

// feedIdle is the silence after which the end of the topic has been reached, where
// what stood there last is no record any more.
const feedIdle = 3 * time.Second

// applyAtOnce bounds how many records are applied while lookups wait.
const applyAtOnce = 256

// Run reads the topic from its start until ctx ends. While Kafka does not answer,
// what is known holds.
func (r *Resolver) Run(ctx context.Context) error {
	opts, err := r.bus.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{telemetry.TopicDirectory: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMinBytes(1))...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	end, err := committedEnd(ctx, client)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if end == 0 {
		r.take(nil, true)
	}
	failing := false
	for at := int64(0); ; {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if at < end {
			wait, cancel = context.WithTimeout(ctx, feedIdle)
		}
		fetches := client.PollRecords(wait, 10_000)
		quiet := wait.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		bad := false
		fetches.EachError(func(_ string, _ int32, err error) {
			if errors.Is(err, context.DeadlineExceeded) {
				return
			}
			if bad = true; !failing {
				r.log.Warn("cannot read who is who from Kafka; what is known holds", "error", err)
			}
		})
		failing = bad
		if records := fetches.Records(); len(records) > 0 {
			at = records[len(records)-1].Offset + 1
			r.take(records, at >= end)
		} else if quiet && !bad {
			at = end
			r.take(nil, true)
		}
	}
}

// committedEnd is the offset behind the last record that is committed now.
func committedEnd(ctx context.Context, client *kgo.Client) (int64, error) {
	for {
		ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, telemetry.TopicDirectory)
		if err == nil {
			if end, ok := ends.Lookup(telemetry.TopicDirectory, 0); ok && end.Err == nil {
				return end.Offset, nil
			}
			err = ends.Error()
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("cannot see the end of the directory's topic: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *Resolver) take(records []*kgo.Record, caught bool) {
	var mark, last *telemetry.DirectoryMark
	var version int64
	for rest := records; len(rest) > 0; {
		n := min(applyAtOnce, len(rest))
		r.mu.Lock()
		for _, k := range rest[:n] {
			if k.Attrs.IsControl() {
				continue
			}
			if m, v := r.apply(k.Key, k.Value, r.secrets); m != nil {
				if last = m; m.Complete {
					mark, version = m, v
				}
			}
		}
		r.mu.Unlock()
		rest = rest[n:]
	}
	r.state.Lock()
	defer r.state.Unlock()
	if mark != nil {
		r.mark, r.version = mark, version
	}
	if last != nil {
		r.last = last
	}
	r.read += int64(len(records))
	r.caught = r.caught || caught
	close(r.moved)
	r.moved = make(chan struct{})
}

// until waits for a condition on the state.
func (r *Resolver) until(ctx context.Context, holds func() bool) error {
	for {
		r.state.Lock()
		done, moved := holds(), r.moved
		r.state.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// ready is called with the state locked.
func (r *Resolver) ready(version int64) bool {
	return r.caught && r.mark != nil && r.version >= version
}

// Wait returns when everything that had been told when Run began is known, and
// at least what the directory was at version; 0 is whatever has been told.
func (r *Resolver) Wait(ctx context.Context, version int64) error {
	if err := r.until(ctx, func() bool { return r.ready(version) }); err != nil {
		return fmt.Errorf("cannot learn who is who: %w", err)
	}
	return nil
}

// Ready is an error until all is known that had been told when Run began.
func (r *Resolver) Ready(context.Context) error {
	r.state.Lock()
	defer r.state.Unlock()
	switch {
	case r.mark == nil && r.caught:
		return errors.New("who is who has not been told yet: no api role has published the directory")
	case !r.ready(0):
		return errors.New("who is who is being read")
	}
	return nil
}
