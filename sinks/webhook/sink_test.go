package webhook

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

var killSeed = flag.Uint64("webhook.seed", 0, "seed of the kill test; 0: a new one")

func TestEventsAreDelivered(t *testing.T) {
	onBoth(t, func(b *bench) {
		all, rejected := newReceiver(b.T), newReceiver(b.T)
		s := b.subscribe(all.url + "/hook?token=x")
		all.knows(s.Secret)
		b.subscribe(rejected.url, "rejected")
		b.start(quick())
		b.produce(b.moment("a", nil), b.moment("a", func(o *telemetry.Outcome, m *telemetry.CallMoment) {
			m.Type, m.Reason, m.Text = "rejected", "on_a_call", "busy \x01 "+strings.Repeat("ö", 30_000)
			m.Agent = &telemetry.Identity{UserId: "alice", Name: "Alice", OfficeId: "hq"}
			m.Target = m.Agent
		}), b.moment("a", nil))
		b.eventually("all are told", func() error { return b.hasAll(all) })
		b.eventually("the other is told of rejections", func() error {
			if got, _ := rejected.has(); len(got["a"]) == 0 {
				return errNotYet
			}
			return nil
		})
		got, _ := rejected.has()
		require.Equal(b, map[string][]string{"a": {"a-0001"}}, got)
		rejected.mu.Lock()
		body := rejected.taken[0].Body
		rejected.mu.Unlock()
		require.Less(b, len(body), 20<<10)
		var e struct {
			Type, Timestamp string
			Data            struct {
				Company string
				query.CallEvent
			}
		}
		require.NoError(b, json.Unmarshal([]byte(body), &e))
		require.Equal(b, "call.rejected", e.Type)
		require.Equal(b, "default", e.Data.Company)
		require.Equal(b, "on_a_call", e.Data.Reason)
		require.Equal(b, "alice", *e.Data.Agent.UserID)
		require.Nil(b, e.Data.Contact)
		require.NotEmpty(b, e.Data.Explanation)

		var list []directory.Delivery
		b.eventually("it is written down", func() (err error) {
			if list, _, err = b.dir.Deliveries(b.Context(), directory.DefaultCompany, s.ID, directory.DeliveryDelivered, directory.Page{}); len(list) != 3 && err == nil {
				return errNotYet
			}
			return err
		})
		require.Equal(b, http.StatusNoContent, list[0].Attempts[0].Status)
		require.Equal(b, "a-0002", list[0].EventID)
		require.False(b, list[0].DeliveredAt.IsZero())
	})
}

func TestWhoIsToldOfWhat(t *testing.T) {
	b := newBench(t, "")
	_, err := b.dir.CreatePlace(t.Context(), "default", directory.Place{Kind: "department", ID: "first", Name: "First"})
	require.NoError(t, err)
	_, err = b.dir.CreatePlace(t.Context(), "default", directory.Place{Kind: "department", ID: "second", Name: "Second"})
	require.NoError(t, err)
	_, err = b.dir.CreateUser(t.Context(), "default", directory.User{ID: "alice", Name: "Alice", State: "active", Departments: []string{"first", "second"}})
	require.NoError(t, err)
	made := func(target directory.Target) *receiver {
		r := newReceiver(t)
		s, err := b.dir.CreateSubscription(t.Context(), "default", directory.Subscription{URL: r.url, Types: []string{"*"}, Enabled: true, Target: target})
		require.NoError(t, err)
		return r.knows(s.Secret)
	}
	company, user := made(directory.Target{Kind: "company"}), made(directory.Target{Kind: "user", ID: "alice"})
	first, second := made(directory.Target{Kind: "department", ID: "first"}), made(directory.Target{Kind: "department", ID: "second"})
	b.start(quick())
	alice := func(_ *telemetry.Outcome, m *telemetry.CallMoment) {
		// One department of each user is stamped; the other one counts as well.
		m.Contact = &telemetry.Identity{UserId: "alice", DepartmentId: "first"}
	}
	b.produce(
		b.moment("nobody", nil),
		b.moment("alice", alice),
		b.moment("old", func(o *telemetry.Outcome, _ *telemetry.CallMoment) { o.ReceivedUs -= time.Hour.Microseconds() }),
		b.moment("imported", func(o *telemetry.Outcome, _ *telemetry.CallMoment) { o.Timeline = "capture" }),
		b.moment("foreign", func(o *telemetry.Outcome, _ *telemetry.CallMoment) { o.Company = "other" }),
		b.moment("last", alice),
	)
	for r, want := range map[*receiver][]string{company: {"alice", "last", "nobody"}, user: {"alice", "last"}, first: {"alice", "last"}, second: {"alice", "last"}} {
		b.eventually("all are told", func() error {
			got, _ := r.has()
			var calls []string
			for call := range got {
				calls = append(calls, call)
			}
			slices.Sort(calls)
			if !slices.Equal(calls, want) {
				return fmt.Errorf("%v, want %v", calls, want)
			}
			return nil
		})
	}
}

func TestDeletedDevicesAreTold(t *testing.T) {
	onBoth(t, func(b *bench) {
		r := newReceiver(b.T)
		s := b.subscribe(r.url, directory.EventDeviceReregister)
		r.knows(s.Secret)
		_, err := b.dir.CreateUser(b.Context(), "default", directory.User{ID: "alice", Name: "Alice", State: "active", AORs: []string{"alice@example.com"}})
		require.NoError(b, err)
		deleteDevice(b, "alice", "desk-1")
		stop := b.start(quick())
		told := func(n int) {
			b.eventually("the app is told", func() error {
				if got, _ := r.has(); len(got[""]) != n {
					return fmt.Errorf("%d were told", len(got[""]))
				}
				return nil
			})
		}
		told(1)
		stop()
		deleteDevice(b, "alice", "desk-2")
		b.start(quick())
		told(2)
		r.mu.Lock()
		defer r.mu.Unlock()
		require.Len(b, r.taken, 2)
		require.Contains(b, r.taken[1].Body, `"device":"desk-2"`)
		require.Contains(b, r.taken[1].Body, `"type":"device.reregister"`)
		require.Contains(b, r.taken[1].Body, `"user_id":"alice"`)
	})
}

// misbehaviours are the ways in which a receiver does not take an event.
func misbehaviours(b *bench) map[string]http.HandlerFunc {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.Error("a redirect was followed") }))
	b.Cleanup(elsewhere.Close)
	hijack := func(with func(net.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				b.Error(err)
				return
			}
			with(c)
			c.Close()
		}
	}
	return map[string]http.HandlerFunc{
		"fails":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"wants nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"moves for good": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusMovedPermanently)
		},
		"closes":             hijack(func(net.Conn) {}),
		"resets":             hijack(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }),
		"speaks no HTTP":     hijack(func(c net.Conn) { _, _ = io.WriteString(c, "SIP/2.0 200 OK\r\n\r\n") }),
		"ends in the header": hijack(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") }),
		"floods with header": hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 10_000 {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}),
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"continues for ever": hijack(func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}),
	}
}

// A receiver that does not take events gets all of them when it does again, in
// order per call; another one gets its events in the meantime.
func TestMisbehavingReceivers(t *testing.T) {
	onBoth(t, func(b *bench) {
		type bad struct {
			name string
			*receiver
		}
		var all []bad
		for name, how := range misbehaviours(b) {
			r := newReceiver(b.T)
			r.knows(b.subscribe(r.url).Secret)
			r.behaves(how)
			all = append(all, bad{name, r})
		}
		good := newReceiver(b.T)
		good.knows(b.subscribe(good.url).Secret)
		c := quick()
		c.Timeout = 300 * time.Millisecond
		b.start(c)
		// While they misbehave the good one gets every event: nothing here comes to
		// an end by itself.
		for range 5 {
			b.round(10)
			b.eventually("the good one has all", func() error { return b.hasAll(good) })
		}
		for _, r := range all {
			b.eventually(r.name+" was tried more than once", func() error {
				if r.requests() < 2 {
					return errNotYet
				}
				return nil
			})
			require.Empty(b, r.taken, r.name)
			r.behaves(nil)
		}
		for _, r := range all {
			b.eventually(r.name+" has all", func() error { return b.hasAll(r.receiver) })
		}
	})
}

// A receiver that lies says 2xx and means something else: that is a delivery.
func TestLyingReceivers(t *testing.T) {
	b := newBench(t, "")
	var garbage, endless atomic.Int64
	g, e := newReceiver(t), newReceiver(t)
	g.knows(b.subscribe(g.url).Secret)
	e.knows(b.subscribe(e.url).Secret)
	g.behaves(func(w http.ResponseWriter, _ *http.Request) {
		garbage.Add(1)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x00\xff not gzip {")
	})
	e.behaves(func(w http.ResponseWriter, r *http.Request) {
		endless.Add(1)
		for r.Context().Err() == nil { // until the sender has had enough
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	b.start(quick())
	b.round(3)
	b.eventually("all are delivered", func() error {
		pending, _, err := b.dir.Backlog(t.Context())
		require.NoError(t, err)
		if pending != 0 || garbage.Load()+endless.Load() < 6 {
			return errNotYet
		}
		return nil
	})
	require.EqualValues(t, 3, garbage.Load())
	require.EqualValues(t, 3, endless.Load())
}

// Down for an hour, by the clock of a configuration in which the first 5 s of
// back-off are 20 ms.
func TestDownForAnHour(t *testing.T) {
	onBoth(t, func(b *bench) {
		down, up := newReceiver(b.T), newReceiver(b.T)
		s := b.subscribe(down.url)
		down.knows(s.Secret)
		up.knows(b.subscribe(up.url).Secret)
		down.behaves(misbehaviours(b)["resets"])
		c := quick()
		c.Probe = time.Hour // so that the number of probes grows with the logarithm of the time
		b.start(c)
		for range 40 {
			b.round(20)
			b.eventually("the other has all", func() error { return b.hasAll(up) })
		}
		b.eventually("it is known to fail", func() error {
			got, err := b.dir.Subscription(b.Context(), directory.DefaultCompany, s.ID)
			require.NoError(b, err)
			if got.State() != directory.SubscriptionFailing {
				return errNotYet
			}
			require.EqualValues(b, 800, got.Pending)
			return nil
		})
		// It is probed, not stormed: a hundred requests for 800 events that wait.
		require.Less(b, down.requests(), 100)
		down.behaves(nil)
		b.eventually("it has all", func() error { return b.hasAll(down) })
		b.eventually("it is well", func() error {
			got, err := b.dir.Subscription(b.Context(), directory.DefaultCompany, s.ID)
			require.NoError(b, err)
			if got.State() != directory.SubscriptionOK || got.Pending != 0 {
				return errNotYet
			}
			return nil
		})
	})
}

func TestGiveUpRedeliverAndGone(t *testing.T) {
	onBoth(t, func(b *bench) {
		r := newReceiver(b.T)
		s := b.subscribe(r.url)
		r.knows(s.Secret)
		fails := misbehaviours(b)["fails"]
		r.behaves(fails)
		c := quick()
		c.GiveUp = 300 * time.Millisecond
		b.start(c)
		b.round(1)
		b.round(1)
		dead := func() []directory.Delivery {
			list, _, err := b.dir.Deliveries(b.Context(), directory.DefaultCompany, s.ID, directory.DeliveryDead, directory.Page{})
			require.NoError(b, err)
			return list
		}
		b.eventually("both are given up", func() error {
			if len(dead()) != 2 {
				return errNotYet
			}
			return nil
		})
		first := dead()[1]
		require.Equal(b, "call-0-0000", first.EventID)
		require.Greater(b, first.AttemptCount, int64(2))
		require.Equal(b, "answered 500", first.Attempts[0].Error)
		r.behaves(nil)
		for _, d := range []directory.Delivery{first, dead()[0]} {
			_, err := b.dir.Redeliver(b.Context(), directory.DefaultCompany, s.ID, d.Seq)
			require.NoError(b, err)
		}
		b.eventually("they were sent again", func() error { return b.hasAll(r) })

		r.behaves(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
		b.round(1)
		b.eventually("it is disabled", func() error {
			got, err := b.dir.Subscription(b.Context(), directory.DefaultCompany, s.ID)
			require.NoError(b, err)
			if got.State() != directory.SubscriptionDisabled {
				return errNotYet
			}
			require.Contains(b, got.DisabledReason, "410")
			require.EqualValues(b, 1, got.Pending)
			return nil
		})
		r.behaves(nil)
		on := true
		_, err := b.dir.UpdateSubscription(b.Context(), directory.DefaultCompany, s.ID, directory.SubscriptionChange{Enabled: &on})
		require.NoError(b, err)
		b.eventually("what waited was sent", func() error { return b.hasAll(r) })
	})
}

func TestDisabledAfterDays(t *testing.T) {
	b := newBench(t, "")
	r := newReceiver(t)
	s := b.subscribe(r.url)
	r.behaves(misbehaviours(b)["fails"])
	c := quick()
	c.DisableAfter = 100 * time.Millisecond
	b.start(c)
	b.round(1)
	b.eventually("it is disabled", func() error {
		got, err := b.dir.Subscription(t.Context(), directory.DefaultCompany, s.ID)
		require.NoError(t, err)
		if got.State() != directory.SubscriptionDisabled {
			return errNotYet
		}
		require.Contains(t, got.DisabledReason, "failed for")
		return nil
	})
}

// A receiver that is down does not fill the database: its subscription ends, and
// what had come till then is sent in order when it is switched on again.
func TestDisabledWhereTooMuchIsPending(t *testing.T) {
	onBoth(t, func(b *bench) {
		r, well := newReceiver(b.T), newReceiver(b.T)
		s := b.subscribe(r.url)
		r.knows(s.Secret)
		b.subscribe(well.url)
		r.behaves(misbehaviours(b)["fails"])
		c := quick()
		c.MaxPending = 20
		b.start(c)
		for range 8 {
			b.round(4)
			b.eventually("the other is told", func() error { return b.hasAll(well) })
		}
		b.eventually("it is disabled", func() error {
			got, err := b.dir.Subscription(b.Context(), directory.DefaultCompany, s.ID)
			require.NoError(b, err)
			if got.State() != directory.SubscriptionDisabled {
				return errNotYet
			}
			require.Contains(b, got.DisabledReason, "deliveries were pending, more than 20")
			return nil
		})
		pending, _, err := b.dir.Deliveries(b.Context(), directory.DefaultCompany, s.ID, directory.DeliveryPending, directory.Page{Limit: 1000})
		require.NoError(b, err)
		require.Greater(b, len(pending), 20)
		r.behaves(nil)
		on := true
		_, err = b.dir.UpdateSubscription(b.Context(), directory.DefaultCompany, s.ID, directory.SubscriptionChange{Enabled: &on})
		require.NoError(b, err)
		want := map[string][]string{}
		for _, d := range slices.Backward(pending) {
			want[d.Call] = append(want[d.Call], d.EventID)
		}
		b.eventually("what waited is sent", func() error {
			if got, _ := r.has(); !reflect.DeepEqual(got, want) {
				return fmt.Errorf("%w: %v of %v", errNotYet, got, want)
			}
			return nil
		})
	})
}

func TestRotatedSecretAndTest(t *testing.T) {
	b := newBench(t, "")
	r := newReceiver(t)
	s := b.subscribe(r.url)
	b.start(quick())
	rotated, err := b.dir.RotateSubscriptionSecret(t.Context(), directory.DefaultCompany, s.ID, time.Hour)
	require.NoError(t, err)
	r.knows(s.Secret, rotated.Secret) // both must do
	b.round(1)
	b.eventually("it is told", func() error { return b.hasAll(r) })
	_, err = b.dir.RotateSubscriptionSecret(t.Context(), directory.DefaultCompany, s.ID, 0)
	require.NoError(t, err)
	last, err := b.dir.Subscription(t.Context(), directory.DefaultCompany, s.ID)
	require.NoError(t, err)
	r.knows(last.Secret)
	_, err = b.dir.TestSubscription(t.Context(), directory.DefaultCompany, s.ID, "ping-1", `{"type":"ping","timestamp":"2026-01-01T00:00:00Z","data":{"id":"ping-1"}}`)
	require.NoError(t, err)
	b.eventually("the test has come", func() error {
		if got, _ := r.has(); len(got[""]) != 1 {
			return errNotYet
		}
		return nil
	})
}

func TestPrivateAddressesAreNotReached(t *testing.T) {
	b := newBench(t, "")
	r := newReceiver(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	direct, named := b.subscribe(r.url), b.subscribe("http://localhost:"+port)
	c := quick()
	c.AllowPrivate = nil
	b.start(c)
	b.round(1)
	for _, s := range []directory.Subscription{direct, named} {
		b.eventually("it was tried", func() error {
			got, err := b.dir.Subscription(t.Context(), directory.DefaultCompany, s.ID)
			require.NoError(t, err)
			if got.LastError == "" {
				return errNotYet
			}
			require.Contains(t, got.LastError, "a loopback address is not allowed (webhooks.allow_private)")
			return nil
		})
	}
	require.Zero(t, r.requests())
}

func TestRetryAfterIsRespected(t *testing.T) {
	b := newBench(t, "")
	r := newReceiver(t)
	s := b.subscribe(r.url)
	r.behaves(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	b.start(quick())
	b.round(5)
	b.eventually("it is known to fail", func() error {
		got, err := b.dir.Endpoint(t.Context(), s.ID, 10)
		require.NoError(t, err)
		if !got.Held {
			return errNotYet
		}
		return nil
	})
	due, err := b.dir.DueEndpoints(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
}

// SIGKILL at random, of the process that takes and sends: every event is
// delivered, with its own id, in order per call; what comes twice is a repeat.
func TestKilledAtRandom(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (-webhook.seed=%d repeats it)", seed, seed)
	onBoth(t, func(b *bench) { b.killAtRandom(seed) })
}

func (b *bench) killAtRandom(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	steady, flaky := newReceiver(b.T), newReceiver(b.T)
	steady.knows(b.subscribe(steady.url).Secret)
	flaky.knows(b.subscribe(flaky.url).Secret)
	config, err := json.Marshal(childConfig{Config: quick(), DSN: b.dsn, Data: b.data, Brokers: b.bus.Brokers, Instance: "killed"})
	require.NoError(b, err)
	points := []string{"webhook.before-take", "webhook.after-take", "webhook.before-request", "webhook.after-request", "webhook.before-record", "webhook.after-record"}
	kills := 0
	const rounds = 14
	for round := range rounds {
		b.round(5 + rnd.IntN(20))
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(config))
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		if round%2 == 0 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("EARSHOT_FAILPOINT=%s:%d", points[rnd.IntN(len(points))], 1+rnd.IntN(20)))
		}
		flaky.behaves([]http.HandlerFunc{nil, misbehaviours(b)["fails"], misbehaviours(b)["resets"]}[rnd.IntN(3)])
		require.NoError(b, cmd.Start())
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		b.round(5 + rnd.IntN(20))
		select {
		case <-done:
		case <-time.After(time.Duration(rnd.IntN(1500)) * time.Millisecond):
			_ = cmd.Process.Kill()
			<-done
		}
		if !cmd.ProcessState.Exited() {
			kills++
		} else {
			b.Fatalf("the sink ended by itself: %v\n%s", cmd.ProcessState, out)
		}
	}
	flaky.behaves(nil)
	s, err := NewSink(quick(), Deps{Bus: b.bus, Directory: b.dir, Show: show, InstanceID: "killed"})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.eventually("both have all", func() error {
		if err := b.hasAll(steady); err != nil {
			return err
		}
		return b.hasAll(flaky)
	})
	b.eventually("nothing is pending", func() error {
		if pending, _, err := b.dir.Backlog(b.Context()); err != nil || pending != 0 {
			return fmt.Errorf("%d are pending: %w", pending, err)
		}
		return nil
	})
	cancel()
	require.NoError(b, <-done)
	events := 0
	for _, n := range b.made {
		events += n
	}
	_, first := steady.has()
	_, second := flaky.has()
	b.Logf("seed %d: %d kills, %d events to 2 receivers, none lost, all in order, %d repeats", seed, kills, events, first+second)
}

// Two processes share the work: both take, one sends; when it ends, the other does.
func TestTwoProcesses(t *testing.T) {
	onBoth(t, func(b *bench) {
		r := newReceiver(b.T)
		r.knows(b.subscribe(r.url).Secret)
		c := quick()
		c.Timeout = time.Minute // an answer that comes late on a busy machine would be a repeat
		run := func(name string) (stop func()) {
			s, err := NewSink(c, Deps{Bus: b.bus, Directory: b.dir, Show: show, InstanceID: name})
			require.NoError(b, err)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			return func() { cancel(); require.NoError(b, <-done) }
		}
		stopA := run("a")
		b.round(20)
		b.eventually("all have come", func() error { return b.hasAll(r) })
		stopB := run("b")
		for range 5 {
			b.round(20)
		}
		b.eventually("all have come", func() error { return b.hasAll(r) })
		b.round(20)
		stopA()
		b.round(20)
		b.eventually("all have come", func() error { return b.hasAll(r) })
		stopB()
		if _, repeats := r.has(); repeats != 0 {
			b.Errorf("%d came again although nothing was killed", repeats)
		}
	})
}
