package engines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultMinFreeBytes is the free disk space below which the engines are not started: ClickHouse needs room for the
// parts it merges.
const DefaultMinFreeBytes = 512 << 20

// dataLockWait outlasts the moment for which ReadRun holds the lock of the data directory to see whether it is held.
const dataLockWait = 300 * time.Millisecond

// Config says which engines run, and where.
type Config struct {
	Data       string // directory of everything that is kept; made when missing
	ClickHouse bool   // run ClickHouse: false where clickhouse.addr is configured
	Kafka      bool   // run Kafka: false where kafka.brokers is configured

	Library        string // path of libchdb; empty: see FindLibrary
	ClickHousePort int    // 0: the previous one, or any free one
	KafkaPort      int    // 0: the previous one, or any free one
	MinFreeBytes   uint64 // 0: DefaultMinFreeBytes

	Executable string   // the program that has the subcommand `engine`; empty: this one
	Env        []string // added to the environment of the children

	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Set is the engines of one data directory, and the lock on it.
type Set struct {
	config  Config
	lock    *os.File
	engines []*engine
	cancel  context.CancelFunc
	done    chan struct{} // closed when every engine has stopped
	failed  chan struct{} // closed when an engine was given up

	mu  sync.Mutex
	run Run
	err error
}

// Start takes the data directory, starts the engines that config asks for and returns when they answer. ctx bounds
// the start only: the engines run until Stop.
func Start(ctx context.Context, config Config) (*Set, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Metrics == nil {
		config.Metrics = prometheus.NewRegistry()
	}
	if config.MinFreeBytes == 0 {
		config.MinFreeBytes = DefaultMinFreeBytes
	}
	if config.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("cannot find this program: %w", err)
		}
		config.Executable = exe
	}
	data, err := filepath.Abs(config.Data)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve the data directory: %w", err)
	}
	config.Data = data
	if config.ClickHouse {
		if config.Library, err = FindLibrary(config.Library); err != nil {
			return nil, fmt.Errorf("cannot start ClickHouse: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(data, "logs"), 0o700); err != nil {
		return nil, fmt.Errorf("cannot use the data directory %s: %w", data, err)
	}
	lock, err := lockData(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &Set{config: config, lock: lock, done: make(chan struct{}), failed: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		for _, e := range s.engines {
			e.output.close()
		}
		lock.Close()
		return nil, err
	}
	return s, nil
}

func lockData(ctx context.Context, data string) (*os.File, error) {
	deadline := time.Now().Add(dataLockWait)
	for {
		lock, err := lockFile(lockPath(data))
		switch {
		case err == nil:
			return lock, nil
		case !errors.Is(err, ErrDataInUse):
			return nil, fmt.Errorf("cannot use the data directory %s: %w", data, err)
		}
		if pid, held := lockHeld(lockPath(data)); held && time.Now().After(deadline) {
			return nil, fmt.Errorf("cannot use the data directory %s: process %d is running on it, see %s: %w",
				data, pid, runPath(data), ErrDataInUse)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Set) start(ctx context.Context) error {
	config := s.config
	free, err := FreeBytes(config.Data)
	if err != nil {
		return fmt.Errorf("cannot see how much disk space is free: %w", err)
	}
	if free < config.MinFreeBytes {
		return fmt.Errorf("cannot start the engines: %d MiB are free on the disk of %s, at least %d MiB are needed: %w",
			free>>20, config.Data, config.MinFreeBytes>>20, ErrDiskFull)
	}
	restarts := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "earshot_engine_restarts_total",
		Help: "Times an embedded engine was started again after it ended."}, []string{"engine"})
	up := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "earshot_engine_up",
		Help: "Whether an embedded engine answers."}, []string{"engine"})
	for _, c := range []prometheus.Collector{restarts, up} {
		if err := config.Metrics.Register(c); err != nil {
			return fmt.Errorf("cannot register the metrics of the engines: %w", err)
		}
	}
	previous, err := ReadRun(config.Data)
	if err != nil && !errors.Is(err, ErrNotRunning) {
		config.Log.Warn("cannot read the previous run, its ports are not used again", "error", err)
	}
	var taken []int
	add := func(name string, explicit int, prior *RunEngine, ping func(context.Context, int, int) error, flags func(port int) []string) error {
		var before int
		if prior != nil {
			before = portOf(prior.Addr)
			// Where the process that had it was killed, its engine may be on the way out, and has the port until then.
			// The roles in other processes know that port.
			if err := awaitEngineEnd(ctx, filepath.Join(config.Data, name)); err != nil {
				return fmt.Errorf("cannot start engine %s: %w", name, err)
			}
		}
		port, err := choosePort(explicit, before, taken...)
		if err != nil {
			return fmt.Errorf("cannot start engine %s: %w", name, err)
		}
		taken = append(taken, port)
		output, err := openChildLog(filepath.Join(config.Data, "logs", name+".log"))
		if err != nil {
			return err
		}
		s.engines = append(s.engines, &engine{
			name: name, port: port, ping: ping, env: config.Env, log: config.Log, output: output,
			argv:     append([]string{config.Executable, "engine", name}, flags(port)...),
			restarts: restarts.WithLabelValues(name), up: up.WithLabelValues(name),
			started: func(pid int) { s.engineStarted(name, pid) },
			health:  Health{Engine: name, Addr: loopback(port), Since: time.Now().UTC()},
		})
		return nil
	}
	if config.ClickHouse {
		err := add(ClickHouse, config.ClickHousePort, previous.Engines.ClickHouse, pingClickHouse, func(port int) []string {
			return []string{"--dir", filepath.Join(config.Data, "clickhouse"), "--tcp-port", strconv.Itoa(port), "--library", config.Library}
		})
		if err != nil {
			return err
		}
	}
	if config.Kafka {
		err := add(Kafka, config.KafkaPort, previous.Engines.Kafka, pingKafka, func(port int) []string {
			return []string{"--dir", filepath.Join(config.Data, "kafka"), "--port", strconv.Itoa(port)}
		})
		if err != nil {
			return err
		}
	}
	s.run = Run{PID: os.Getpid(), StartedAt: time.Now().UTC()}

	// Both start at the same time; ClickHouse is the slower one.
	children := make([]*child, len(s.engines))
	errs := make([]error, len(s.engines))
	var starting sync.WaitGroup
	for i, e := range s.engines {
		starting.Go(func() {
			c, err := e.spawn()
			if err == nil {
				if err = e.awaitReady(ctx, c); err != nil {
					e.stop(c)
				}
			}
			children[i], errs[i] = c, err
		})
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		for i, e := range s.engines {
			if errs[i] == nil {
				e.stop(children[i])
			}
		}
		return fmt.Errorf("cannot start the engines: %w", err)
	}
	for i, e := range s.engines {
		pid := children[i].cmd.Process.Pid
		e.setReady(true, pid, "")
		s.setRunEngine(e.name, pid)
		config.Log.Info("engine is ready", "engine", e.name, "addr", e.addr(), "pid", pid,
			"seconds", time.Since(children[i].startedAt).Seconds())
	}
	if err := writeRun(config.Data, s.run); err != nil {
		for i, e := range s.engines {
			e.stop(children[i])
		}
		return err
	}

	runCtx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	var running sync.WaitGroup
	for i, e := range s.engines {
		running.Go(func() {
			if err := e.supervise(runCtx, children[i]); err != nil {
				s.fail(err)
			}
		})
	}
	go func() {
		running.Wait()
		close(s.done)
	}()
	return nil
}

func (s *Set) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.failed)
	}
}

func (s *Set) engineStarted(name string, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setRunEngine(name, pid)
	if err := writeRun(s.config.Data, s.run); err != nil {
		s.config.Log.Error("cannot note the engine's new process", "engine", name, "error", err)
	}
}

func (s *Set) setRunEngine(name string, pid int) {
	for _, e := range s.engines {
		if e.name != name {
			continue
		}
		switch entry := (&RunEngine{PID: pid, Addr: e.addr()}); name {
		case ClickHouse:
			s.run.Engines.ClickHouse = entry
		case Kafka:
			s.run.Engines.Kafka = entry
		}
	}
}

// SetListeners writes where the API, the admin page and the ingest listeners (hep, rtcp, sip) are to DATA/run.json.
func (s *Set) SetListeners(api, admin string, ingest map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.API, s.run.Admin, s.run.Ingest = api, admin, ingest
	return writeRun(s.config.Data, s.run)
}

// SetStores writes where Kafka and ClickHouse are, embedded or not, to DATA/run.json.
func (s *Set) SetStores(brokers, clickhouse []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.Brokers, s.run.ClickHouse = brokers, clickhouse
	return writeRun(s.config.Data, s.run)
}

// Run is what DATA/run.json says.
func (s *Set) Run() Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.run
	r.Alive = true
	return r
}

// ClickHouseAddr is host:port of the native protocol, "" when ClickHouse runs elsewhere.
func (s *Set) ClickHouseAddr() string { return s.addrOf(ClickHouse) }

// KafkaAddr is host:port of the broker, "" when Kafka runs elsewhere.
func (s *Set) KafkaAddr() string { return s.addrOf(Kafka) }

func (s *Set) addrOf(name string) string {
	for _, e := range s.engines {
		if e.name == name {
			return e.addr()
		}
	}
	return ""
}

// Health is the state of each engine that runs here.
func (s *Set) Health() []Health {
	all := make([]Health, 0, len(s.engines))
	for _, e := range s.engines {
		all = append(all, e.Health())
	}
	return all
}

// Failed is closed when an engine was given up; Err says why. The other engine runs on until Stop.
func (s *Set) Failed() <-chan struct{} { return s.failed }

// Err is why an engine was given up.
func (s *Set) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stop ends the engines, in the way that lets them close their files, and gives the data directory free.
// It is called after everything that uses the engines has stopped.
func (s *Set) Stop() {
	s.cancel()
	<-s.done
	for _, e := range s.engines {
		e.output.close()
	}
	s.lock.Close()
}
