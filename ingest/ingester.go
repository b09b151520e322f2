package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/registrar"
	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// Deps is what an Ingester works with.
type Deps struct {
	Producer *Producer
	// Kafka is where bindings of other ingesters are read from; without brokers
	// none are.
	Kafka    bus.Config
	Resolver Resolver // nil: nobody is known
	Tenancy  *Tenancy // nil: everything belongs to DefaultCompany
	// Credentials knows what devices register with; nil: none has any.
	Credentials registrar.Credentials
	// CredentialUsed is told with which credentials a device has registered, see
	// registrar.Config; nil: nobody is.
	CredentialUsed func(credential, device string) bool
	// DeletedDevices gives the devices deleted since the last call, whose
	// credentials count no more; nil: none ever are.
	DeletedDevices func(ctx context.Context) ([]registrar.Device, error)
	// Authenticate gives the company that a request may post for.
	Authenticate func(r *http.Request) (company string, ok bool)
	Metrics      prometheus.Registerer
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
}

// Ingester is the role `ingest`: all listeners and the ticks.
type Ingester struct {
	cfg  Config
	deps Deps
	log  *slog.Logger
	now  func() time.Time

	producer   *Producer
	accounting *Accounting
	accounts   accounts

	hepAdmission, rtcpAdmission *admission
	live                        *timeline
	instance                    []byte

	mu      sync.Mutex
	replays map[string]*timeline

	wire wire

	ending sync.WaitGroup // ends of replays that are being written

	legs legClocks

	hepUDP, rtcpUDP *net.UDPConn
	hepTCP          net.Listener
	registrar       *registrar.Registrar
	drops           map[*net.UDPConn]*kernelDrops
	rtcstats        *rtcstats.Server
	closed          sync.Once
	// stopping ends with the listeners: connections of HTTP ingest end then.
	stopping context.Context
	stop     context.CancelFunc
	running  atomic.Bool
}

// Addrs are the addresses that the listeners are bound to; nil where there is none.
type Addrs struct {
	HEPUDP, HEPTCP, RTCP, SIPUDP, SIPTCP, SIPTLS, SIPWS, SIPWSS net.Addr
}

// New binds all listeners, so that a port that is taken is known at once. Run
// starts reading from them.
func New(cfg Config, deps Deps) (*Ingester, error) {
	if deps.Tenancy == nil {
		deps.Tenancy = &Tenancy{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	if deps.Authenticate == nil {
		deps.Authenticate = func(*http.Request) (string, bool) { return "", false }
	}
	in := &Ingester{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, producer: deps.Producer,
		drops: map[*net.UDPConn]*kernelDrops{}, accounting: NewAccounting(deps.Metrics), live: newTimeline("", cfg), instance: []byte(rand.Text()),
		replays: map[string]*timeline{}, legs: legClocks{clocks: map[legKey]*legClock{}},
	}
	in.stopping, in.stop = context.WithCancel(context.Background())
	in.accounts = accounts{accounting: in.accounting, instance: string(in.instance), written: map[account]uint64{}}
	if in.producer != nil {
		in.wire.observer = in.newObserver("", in.droppingSink())
	}
	var err error
	if in.rtcstats, err = in.newRTCStats(); err != nil {
		in.close()
		return nil, err
	}
	if err := in.listen(); err != nil {
		in.close()
		return nil, err
	}
	in.metrics(deps.Metrics)
	return in, nil
}

func (in *Ingester) listen() (err error) {
	if in.hepAdmission, err = newAdmission("ingest.hep", in.cfg.HEP.Allow, in.cfg.HEP.AuthKeys, in.cfg.HEP.Agents); err != nil {
		return err
	}
	if in.rtcpAdmission, err = newAdmission("ingest.rtcp", in.cfg.RTCP.Allow, nil, nil); err != nil {
		return err
	}
	if in.cfg.HEP.Listen != "" {
		if in.hepUDP, in.hepTCP, err = listenBoth("ingest.hep.listen", in.cfg.HEP.Listen, in.cfg.HEP.ReceiveBytes, in.cfg.HEP.TLS, in.log); err != nil {
			return err
		}
		in.watchDrops(in.hepUDP, ListenerHEPUDP)
	}
	if in.cfg.RTCP.Listen != "" {
		if in.rtcpUDP, err = listenUDP("ingest.rtcp.listen", in.cfg.RTCP.Listen, in.cfg.HEP.ReceiveBytes, in.log); err != nil {
			return err
		}
		in.watchDrops(in.rtcpUDP, ListenerRTCP)
	}
	return in.listenSIP()
}

// ListenError is a listener that could not be bound.
type ListenError struct {
	Setting, Addr string
	Err           error
}

func (e *ListenError) Error() string {
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("cannot listen on %s: the port is taken by another program; set %s to another address", e.Addr, e.Setting)
	}
	return fmt.Sprintf("cannot listen on %s (%s): %v", e.Addr, e.Setting, e.Err)
}

// Unwrap gives the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Addrs gives the bound addresses.
func (in *Ingester) Addrs() Addrs {
	var a Addrs
	if in.hepUDP != nil {
		a.HEPUDP, a.HEPTCP = in.hepUDP.LocalAddr(), in.hepTCP.Addr()
	}
	if in.rtcpUDP != nil {
		a.RTCP = in.rtcpUDP.LocalAddr()
	}
	in.sipAddrs(&a)
	return a
}

func (in *Ingester) metrics(reg prometheus.Registerer) {
	stat := func(name, help string, value func(CorrelatorStats) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "ingest", Name: name, Help: help}, func() float64 {
			in.live.mu.Lock()
			defer in.live.mu.Unlock()
			return value(in.live.correlator.Stats())
		}))
	}
	stat("waiting_records", "RTCP that waits for the SDP of its call.", func(s CorrelatorStats) float64 { return float64(s.Waiting) })
	stat("bound_calls", "Calls whose media addresses are known.", func(s CorrelatorStats) float64 { return float64(s.Calls) })
	for _, c := range []struct {
		result string
		value  func(CorrelatorStats) uint64
	}{
		{"source", func(s CorrelatorStats) uint64 { return s.BySource }},
		{"destination", func(s CorrelatorStats) uint64 { return s.ByDestination }},
		{"ssrc", func(s CorrelatorStats) uint64 { return s.BySSRC }},
		{"waited", func(s CorrelatorStats) uint64 { return s.Waited }},
		{"released", func(s CorrelatorStats) uint64 { return s.Released }},
		{"released_shared", func(s CorrelatorStats) uint64 { return s.ReleasedShared }},
		{"learned", func(s CorrelatorStats) uint64 { return s.Learned }},
		{"expired", func(s CorrelatorStats) uint64 { return s.Expired }},
		{"evicted", func(s CorrelatorStats) uint64 { return s.Evicted }},
		{"calls_evicted", func(s CorrelatorStats) uint64 { return s.CallsEvicted }},
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "ingest", Name: "correlated_total",
			Help: "What became of live media telemetry.", ConstLabels: prometheus.Labels{"result": c.result}}, func() float64 {
			in.live.mu.Lock()
			defer in.live.mu.Unlock()
			return float64(c.value(in.live.correlator.Stats()))
		}))
	}
	in.linkMetrics(reg)
}

// Run reads from all listeners until ctx ends, then writes what still waits.
func (in *Ingester) Run(ctx context.Context) error {
	in.running.Store(true)
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, in.closeStreams)
	defer stop()
	if in.hepUDP != nil {
		group.Go(func() error { return in.runHEPUDP(ctx) })
		group.Go(func() error { return in.runHEPTCP(ctx) })
	}
	if in.rtcpUDP != nil {
		group.Go(func() error { return in.runRTCP(ctx) })
	}
	if in.registrar != nil {
		group.Go(func() error { return in.registrar.Run(ctx) })
		if in.deps.DeletedDevices != nil {
			group.Go(func() error { in.runDeletions(ctx); return nil })
		}
	}
	group.Go(func() error { in.rtcstats.Run(ctx); return nil })
	group.Go(func() error { in.runTicks(ctx); return nil })
	group.Go(func() error { in.runUpkeep(ctx); return nil })
	group.Go(func() error { in.runAccounts(ctx); return nil })
	if in.cfg.Bindings.Share && len(in.deps.Kafka.Brokers) > 0 {
		group.Go(func() error { return in.runBindings(ctx) })
	}
	err := group.Wait()
	in.ending.Wait()
	in.finish()
	return err
}

// close closes all sockets.
func (in *Ingester) close() {
	for _, conn := range []*net.UDPConn{in.hepUDP, in.rtcpUDP} {
		if conn != nil {
			conn.Close()
		}
	}
	in.closeStreams()
}

// closeStreams closes what is no UDP socket of HEP or RTCP: those are emptied
// first by their readers, which close them.
func (in *Ingester) closeStreams() {
	in.closed.Do(func() {
		in.stop()
		if in.hepTCP != nil {
			in.hepTCP.Close()
		}
		if in.registrar != nil {
			in.pollDrops()
			in.registrar.Close()
		}
	})
}

// finish writes what waits, ends what is replayed and flushes, within a bound.
func (in *Ingester) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), in.cfg.Buffer.Drain)
	defer cancel()
	write := in.waitingSink(ctx)
	in.live.drain(in.now().UnixMicro(), write)
	in.mu.Lock()
	replays := in.replays
	in.replays = map[string]*timeline{}
	in.mu.Unlock()
	for _, tl := range replays {
		tl.end(ctx, in.producer, write, in.log)
	}
	if err := in.producer.Flush(ctx); err != nil {
		in.log.Warn("not everything was written before the end", "error", err)
	}
	in.writeAccounts()
	if err := in.producer.Flush(ctx); err != nil {
		in.log.Warn("the last accounts were not written", "error", err)
	}
}

// waitingSink waits for room in the buffer: the source can be held up.
func (in *Ingester) waitingSink(ctx context.Context) sink {
	return func(o outgoing) { in.producer.wait(ctx, o) }
}

// droppingSink never waits: what finds no room is dropped and counted.
func (in *Ingester) droppingSink() sink { return in.producer.try }

// runTicks moves event time on the live timeline.
func (in *Ingester) runTicks(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// None pile up while Kafka is away: the next one that gets through moves
		// time just as far.
		if in.producer.marks.Load() > 0 {
			continue
		}
		now := in.now().UnixMicro()
		tick := &telemetry.Record{AtUs: now, ReceivedUs: now, Timeline: &telemetry.Timeline{}, Body: &telemetry.Record_Tick{Tick: &telemetry.Tick{}},
			EventId: telemetry.EventID("", "", string(in.instance), now)}
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := in.producer.Everywhere(attempt, tick)
		cancel()
		switch {
		case err == nil && failing:
			failing = false
			in.log.Info("ticks are written again")
		case err != nil && ctx.Err() == nil && !failing:
			failing = true
			in.log.Warn("cannot write ticks", "error", err)
		}
	}
}

// runUpkeep looks after what time does to timelines and agents.
func (in *Ingester) runUpkeep(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	write := in.droppingSink()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		in.upkeep(ctx, in.now().UnixMicro(), write)
	}
}

func (in *Ingester) upkeep(ctx context.Context, nowUs int64, write sink) {
	in.live.advance(nowUs, write)
	in.legs.forget(nowUs)
	in.pollDrops()
	silence := in.cfg.Clock.Silence.Microseconds()
	in.mu.Lock()
	var silent []*timeline
	for id, tl := range in.replays {
		// A replay that is being written holds its lock: it is not silent.
		if !tl.mu.TryLock() {
			continue
		}
		if nowUs-tl.lastReceivedUs > silence {
			silent = append(silent, tl)
			delete(in.replays, id)
		}
		tl.mu.Unlock()
	}
	in.mu.Unlock()
	for _, tl := range silent {
		in.log.Info("replayed capture ended", "timeline", tl.id)
		// Kafka may be away for long; time must go on for the others.
		in.ending.Go(func() {
			if !tl.end(ctx, in.producer, write, in.log) {
				in.mu.Lock()
				defer in.mu.Unlock()
				in.replays[tl.id] = tl // for finish to try once more
			}
		})
	}
}

// bindingsWait is how long bindings of others may gather. RTCP that needs one
// waits longer; waking up for each would cost more than the binding.
const bindingsWait = 100 * time.Millisecond

// runBindings learns the bindings of other ingesters, and after a restart those
// of the process before.
func (in *Ingester) runBindings(ctx context.Context) error {
	opts, err := in.deps.Kafka.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(telemetry.TopicBindings), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(bindingsWait))...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	write := in.droppingSink()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			in.log.Warn("cannot read bindings", "topic", topic, "partition", partition, "error", err)
		})
		fetches.EachRecord(func(k *kgo.Record) { in.learn(k, write) })
	}
}

func (in *Ingester) learn(k *kgo.Record, write sink) {
	if bytes.Equal(k.Key, in.instance) {
		return
	}
	now := in.now().UnixMicro()
	for encoded, err := range telemetry.Unpack(k.Value) {
		b := &telemetry.Binding{}
		if err != nil || proto.Unmarshal(encoded, b) != nil || b.Timeline != "" || b.AtUs < now-in.cfg.Bindings.Idle.Microseconds() {
			continue
		}
		in.live.learn(b, now, write)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
