package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Names of the engines: labels of metrics, keys of run.json, arguments of the hidden subcommand.
const (
	ClickHouse = "clickhouse"
	Kafka      = "kafka"
)

const (
	readyTimeout = 2 * time.Minute // an engine with much data takes its time to load it
	pingTimeout  = 2 * time.Second
	pingInterval = 2 * time.Second

	firstBackOff = 200 * time.Millisecond
	maxBackOff   = 10 * time.Second
	// An engine that fails this often in a row, each time before it ran for steadyAfter, is given up.
	maxFastFailures = 6
	steadyAfter     = 30 * time.Second

	stopByEOF  = clickhouseExitGrace + 2*time.Second
	stopByTERM = 5 * time.Second
)

// ErrEngineFailed says that an engine failed again and again and is not started any more.
var ErrEngineFailed = errors.New("the engine does not stay up")

// engine keeps one child process running.
type engine struct {
	name string
	port int
	argv []string // executable and arguments
	env  []string
	ping func(ctx context.Context, port, pid int) error

	log      *slog.Logger
	output   *childLog
	restarts prometheus.Counter
	up       prometheus.Gauge
	started  func(pid int) // tells the owner that a child runs and answers

	mu     sync.Mutex
	pid    int
	health Health
}

// Health is the state of one engine, for /readyz.
type Health struct {
	Engine   string    `json:"engine"`
	Addr     string    `json:"addr"`
	PID      int       `json:"pid"`
	Ready    bool      `json:"ready"`
	Since    time.Time `json:"since"` // when Ready last changed
	Restarts int       `json:"restarts"`
	Error    string    `json:"error,omitempty"`
}

// child is one life of the process.
type child struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	logOffset int64
	startedAt time.Time
	exited    chan struct{} // closed after err is set
	err       error
}

// killed tells whether the process was ended from outside.
func (c *child) killed() bool {
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && (status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM) ||
		status.Exited() && status.ExitStatus() == 0)
}

func (e *engine) addr() string { return loopback(e.port) }

func (e *engine) Health() Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.health
}

func (e *engine) setReady(ready bool, pid int, problem string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.health.Ready != ready || e.health.Since.IsZero() {
		e.health.Since = time.Now().UTC()
	}
	e.health.Ready, e.health.PID, e.health.Error = ready, pid, problem
	e.pid = pid
	if ready {
		e.up.Set(1)
	} else {
		e.up.Set(0)
	}
}

// spawn starts the process. Its standard input is a pipe that nobody writes to: it ends when this process does.
func (e *engine) spawn() (*child, error) {
	if err := e.output.rotate(maxLogBytes); err != nil {
		e.log.Warn("cannot rotate the engine's log", "engine", e.name, "error", err)
	}
	c := &child{logOffset: e.output.end(), startedAt: time.Now(), exited: make(chan struct{})}
	c.cmd = exec.Command(e.argv[0], e.argv[1:]...)
	c.cmd.Env = append(os.Environ(), e.env...)
	c.cmd.Stdout, c.cmd.Stderr = e.output.file, e.output.file
	c.cmd.SysProcAttr = childAttributes()
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make the pipe of engine %s: %w", e.name, err)
	}
	c.stdin = stdin
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends, so the thread stays for its life.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start engine %s: %w", e.name, err)
	}
	return c, nil
}

// awaitReady returns when the child answers, has ended or took too long.
func (e *engine) awaitReady(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	wait := 10 * time.Millisecond
	var last error
	for {
		pingCtx, cancel := context.WithTimeout(ctx, pingTimeout)
		last = e.ping(pingCtx, e.port, c.cmd.Process.Pid)
		cancel()
		if last == nil {
			return nil
		}
		select {
		case <-c.exited:
			return e.exitError(c)
		case <-ctx.Done():
			return fmt.Errorf("engine %s does not answer on %s: %w", e.name, e.addr(), last)
		case <-time.After(wait):
			wait = min(wait*3/2, 250*time.Millisecond)
		}
	}
}

// exitError explains the end of a child with the last lines that it wrote.
func (e *engine) exitError(c *child) error {
	how := "ended"
	if c.err != nil {
		how = "ended with " + c.err.Error()
	}
	tail := e.output.tail(c.logOffset, 12)
	switch {
	case strings.Contains(tail, "No space left on device") || strings.Contains(tail, "no space left on device"):
		return fmt.Errorf("engine %s %s: %w: free some space on the disk that holds %s; it last wrote:\n%s",
			e.name, how, ErrDiskFull, e.output.path, tail)
	case tail == "":
		return fmt.Errorf("engine %s %s and wrote nothing", e.name, how)
	}
	return fmt.Errorf("engine %s %s; it last wrote (%s):\n%s", e.name, how, e.output.path, tail)
}

// stop ends the child: by the end of its standard input, then by SIGTERM, then by SIGKILL.
func (e *engine) stop(c *child) {
	c.stdin.Close()
	for _, step := range []struct {
		wait   time.Duration
		signal syscall.Signal
	}{{stopByEOF, syscall.SIGTERM}, {stopByTERM, syscall.SIGKILL}} {
		select {
		case <-c.exited:
			return
		case <-time.After(step.wait):
			e.log.Warn("engine does not stop, sending a signal", "engine", e.name, "signal", step.signal.String())
			_ = c.cmd.Process.Signal(step.signal)
		}
	}
	<-c.exited
}

// supervise keeps the engine running, beginning with first, which is ready, until ctx ends. It returns an error
// when it gives up.
func (e *engine) supervise(ctx context.Context, first *child) error {
	c, failures, backOff := first, 0, firstBackOff
	for {
		if c != nil {
			if e.watch(ctx, c) {
				e.stop(c)
				e.setReady(false, 0, "stopped")
				return nil
			}
			cause := e.exitError(c)
			e.setReady(false, 0, cause.Error())
			e.log.Error("engine ended, starting it again", "engine", e.name, "addr", e.addr(), "error", cause)
			// An engine that somebody killed has not failed, and is wanted back at once.
			if time.Since(c.startedAt) >= steadyAfter || c.killed() {
				failures, backOff = 0, firstBackOff
			}
			if !c.killed() {
				failures++
			}
			if failures >= maxFastFailures {
				return fmt.Errorf("%w: %d times in a row: %w", ErrEngineFailed, failures, cause)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backOff):
		}
		backOff = min(backOff*2, maxBackOff)
		e.restarts.Inc()
		e.mu.Lock()
		e.health.Restarts++
		e.mu.Unlock()
		var err error
		if c, err = e.spawn(); err == nil {
			if err = e.awaitReady(ctx, c); err != nil {
				e.stop(c)
			}
		}
		switch {
		case err == nil:
			e.started(c.cmd.Process.Pid)
			e.setReady(true, c.cmd.Process.Pid, "")
			e.log.Info("engine is back", "engine", e.name, "addr", e.addr(), "pid", c.cmd.Process.Pid,
				"seconds", time.Since(c.startedAt).Seconds())
		case ctx.Err() != nil:
			return nil
		default:
			c = nil
			e.setReady(false, 0, err.Error())
			e.log.Error("engine does not start", "engine", e.name, "addr", e.addr(), "error", err)
			if failures++; failures >= maxFastFailures {
				return fmt.Errorf("%w: %d times in a row: %w", ErrEngineFailed, failures, err)
			}
		}
	}
}

// watch returns true when ctx ended and false when the child did. In between it keeps Health true to what it sees.
func (e *engine) watch(ctx context.Context, c *child) (stop bool) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	pid := c.cmd.Process.Pid
	for {
		select {
		case <-ctx.Done():
			return true
		case <-c.exited:
			return false
		case <-ticker.C:
		}
		pingCtx, cancel := context.WithTimeout(ctx, pingTimeout)
		err := e.ping(pingCtx, e.port, pid)
		cancel()
		switch {
		case err == nil:
			e.setReady(true, pid, "")
		case ctx.Err() == nil:
			e.setReady(false, pid, err.Error())
		}
		if err := e.output.rotate(maxLogBytes); err != nil {
			e.log.Warn("cannot rotate the engine's log", "engine", e.name, "error", err)
		}
	}
}

// pingClickHouse asks the server on port for the process it is, over the native protocol.
func pingClickHouse(ctx context.Context, port, pid int) error {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{loopback(port)}, DialTimeout: pingTimeout, MaxOpenConns: 1, MaxIdleConns: 1,
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	var got string
	if err := conn.QueryRow(ctx, "SELECT getMacro('earshot_pid')").Scan(&got); err != nil {
		return err
	}
	if got != strconv.Itoa(pid) {
		return fmt.Errorf("another ClickHouse (process %s) answers on %s: %w", got, loopback(port), ErrPortTaken)
	}
	return nil
}

// pingKafka asks the broker on port for its metadata. A broker that cannot have its port ends, so what answers while
// the child runs is the child.
func pingKafka(ctx context.Context, port, _ int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(loopback(port)), kgo.RequestRetries(0), kgo.DialTimeout(pingTimeout))
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	_, err = req.RequestWith(ctx, client)
	return err
}
