// Package feedtest runs what tells who is who, for tests: a broker, a publisher
// of a directory, and a resolver.
package feedtest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/bus"
)

// Secret is what credentials are sealed with.
const Secret = "feedtest"

// Broker starts an embedded Kafka broker with all topics, and gives how to reach it.
func Broker(t testing.TB) bus.Config {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return Topics(t, cluster.ListenAddrs())
}

// Topics makes the topics exist on brokers.
func Topics(t testing.TB, brokers []string) bus.Config {
	t.Helper()
	cfg := bus.DefaultConfig()
	cfg.Brokers, cfg.Partitions = brokers, 1
	if err := bus.EnsureTopics(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Resolve runs a resolver until the returned function is called, or the test ends.
func Resolve(t testing.TB, cfg bus.Config) (r *directory.Resolver, stop func()) {
	t.Helper()
	r, err := directory.NewResolver(directory.ResolverDeps{Bus: cfg, Secret: Secret, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return r, run(t, r.Run)
}

// Publish runs a publisher until the returned function is called, or the test
// ends. It takes charge where nobody else is, or at once where it is eager.
func Publish(t testing.TB, cfg bus.Config, d *directory.Directory, r *directory.Resolver, eager bool) (stop func()) {
	t.Helper()
	p, err := d.NewPublisher(directory.PublisherDeps{Bus: cfg, Resolver: r, Secret: Secret, Eager: eager, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, p.Run)
}

// Start is all of it for one directory.
func Start(t testing.TB, d *directory.Directory) *directory.Resolver {
	t.Helper()
	cfg := Broker(t)
	r, _ := Resolve(t, cfg)
	Publish(t, cfg, d, r, true)
	Catch(t, d, r)
	return r
}

// Catch waits until the resolver knows all that the directory holds now.
func Catch(t testing.TB, d *directory.Directory, r *directory.Resolver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	version, err := d.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(ctx, version); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("the feed ended: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
