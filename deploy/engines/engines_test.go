package engines

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func openClickHouse(t *testing.T, addr string) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func count(conn driver.Conn) (uint64, error) {
	var n uint64
	err := conn.QueryRow(context.Background(), "SELECT count() FROM kept.rows").Scan(&n)
	return n, err
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

func TestClickHouseKeepsRowsAndPortWhenItIsEnded(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.ClickHouse, config.Library = true, library(t)
	metrics := prometheus.NewRegistry()
	config.Metrics = metrics
	s := start(t, config)
	conn := openClickHouse(t, s.ClickHouseAddr())
	for _, ddl := range []string{"CREATE DATABASE kept", "CREATE TABLE kept.rows (n UInt64) ENGINE = MergeTree ORDER BY n"} {
		if err := conn.Exec(ctx, ddl); err != nil {
			t.Fatal(err)
		}
	}
	want := uint64(0)
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL} {
		if err := conn.Exec(ctx, "INSERT INTO kept.rows SELECT number FROM numbers(1000)"); err != nil {
			t.Fatal(err)
		}
		want += 1000
		before := s.Health()[0].PID
		if err := syscall.Kill(before, signal); err != nil {
			t.Fatal(err)
		}
		var got uint64
		// The same client goes on: it dials the same port again.
		eventually(t, "the rows are there again after "+signal.String(), func() bool {
			n, err := count(conn)
			got = n
			return err == nil
		})
		if got != want {
			t.Fatalf("after %s: %d rows, want %d", signal, got, want)
		}
		eventually(t, "the engine counts as ready", func() bool {
			h := s.Health()[0]
			return h.Ready && h.PID != before && h.Restarts == i+1
		})
		run, err := ReadRun(config.Data)
		if err != nil || !run.Alive || run.Engines.ClickHouse.PID != s.Health()[0].PID || run.Engines.ClickHouse.Addr != s.ClickHouseAddr() {
			t.Fatalf("run.json: %+v, %v", run, err)
		}
	}
	var m dto.Metric
	if err := s.engines[0].restarts.Write(&m); err != nil || m.GetCounter().GetValue() != 3 {
		t.Errorf("earshot_engine_restarts_total = %v, %v; want 3", m.GetCounter().GetValue(), err)
	}
	if families, err := metrics.Gather(); err != nil || len(families) != 2 {
		t.Errorf("metrics registered: %v, %v", families, err)
	}

	addr, pid := s.ClickHouseAddr(), s.Health()[0].PID
	conn.Close() // the engine waits some seconds for a connection that is open
	s.Stop()
	if alive(pid) {
		t.Errorf("process %d outlived Stop", pid)
	}
	if run, err := ReadRun(config.Data); err != nil || run.Alive {
		t.Errorf("after Stop: %+v, %v", run, err)
	}
	config.Metrics = prometheus.NewRegistry()
	again := start(t, config)
	if again.ClickHouseAddr() != addr {
		t.Errorf("the second start took %s, want %s as before", again.ClickHouseAddr(), addr)
	}
	if n, err := count(openClickHouse(t, addr)); err != nil || n != want {
		t.Errorf("after a second start: %d rows, %v; want %d", n, err, want)
	}
}

func TestKafkaKeepsRecordsAndClientsWhenItIsEnded(t *testing.T) {
	ctx := context.Background()
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.KafkaAddr()), kgo.DefaultProduceTopic("kept"), kgo.ConsumeTopics("kept"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	n := 0
	produce := func() {
		t.Helper()
		for range 100 {
			if err := client.ProduceSync(ctx, kgo.StringRecord(strconv.Itoa(n))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	produce()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL} {
		before := s.Health()[0].PID
		if err := syscall.Kill(before, signal); err != nil {
			t.Fatal(err)
		}
		produce()
		eventually(t, "the broker counts as ready", func() bool { h := s.Health()[0]; return h.Ready && h.PID != before })
	}
	for i := 0; i < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != strconv.Itoa(i) || r.Offset != int64(i) {
				t.Fatalf("record %d is %q at offset %d", i, r.Value, r.Offset)
			}
			i++
		})
	}
}

// A parent that is killed with -9 can do nothing for its children: they see the end of their standard input.
func TestChildrenEndWithTheirParent(t *testing.T) {
	data := t.TempDir()
	cmd := exec.Command(os.Args[0], "up", data)
	cmd.Env = append(os.Environ(), "EARSHOT_ENGINES_TEST_CHILD=1", "TEST_LIBRARY="+library(t))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the parent did not start: %q, %v", line, err)
	}
	run, err := ReadRun(data)
	if err != nil || !run.Alive || run.PID != cmd.Process.Pid || run.API != "127.0.0.1:1" || run.Ingest["hep"] != "127.0.0.1:3" {
		t.Fatalf("run.json: %+v, %v", run, err)
	}

	config := testConfig(t, data)
	config.Kafka = true
	_, err = Start(context.Background(), config)
	if !errors.Is(err, ErrDataInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", cmd.Process.Pid)) ||
		!strings.Contains(err.Error(), filepath.Join(data, "run.json")) {
		t.Errorf("a second start on the same data gave: %v", err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, e := range []*RunEngine{run.Engines.ClickHouse, run.Engines.Kafka} {
		eventually(t, fmt.Sprintf("process %d on %s has ended", e.PID, e.Addr), func() bool { return !alive(e.PID) })
	}
	if run, err := ReadRun(data); err != nil || run.Alive {
		t.Errorf("a run.json left behind counts as alive: %+v, %v", run, err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	busyPort := busy.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		is     error
		text   string
	}{
		"port taken":       {func(c *Config) { c.Kafka, c.KafkaPort = true, busyPort }, ErrPortTaken, busy.Addr().String()},
		"disk full":        {func(c *Config) { c.Kafka, c.MinFreeBytes = true, 1<<63 }, ErrDiskFull, "are free on the disk of"},
		"no library":       {func(c *Config) { c.ClickHouse, c.Library = true, file+".so" }, ErrLibraryMissing, file + ".so"},
		"broken library":   {func(c *Config) { c.ClickHouse, c.Library = true, file }, nil, "cannot load the ClickHouse library"},
		"data is a file":   {func(c *Config) { c.Kafka, c.Data = true, file }, nil, "cannot use the data directory"},
		"data not allowed": {func(c *Config) { c.Kafka, c.Data = true, "/proc/earshot" }, nil, "cannot use the data directory"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t, t.TempDir())
			test.change(&config)
			s, err := Start(context.Background(), config)
			if err == nil {
				s.Stop()
				t.Fatal("it started")
			}
			if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got: %v", err)
			}
		})
	}
}

func TestEngineThatDoesNotStayUpIsGivenUp(t *testing.T) {
	config := testConfig(t, t.TempDir())
	config.Kafka = true
	s := start(t, config)
	// What the broker finds when it starts again is not a log any more.
	dir := filepath.Join(config.Data, "kafka")
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Health()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Failed():
	case <-time.After(time.Minute):
		t.Fatal("it was never given up")
	}
	if err := s.Err(); !errors.Is(err, ErrEngineFailed) || !strings.Contains(err.Error(), "meta.json") {
		t.Errorf("got: %v", err)
	}
	if h := s.Health()[0]; h.Ready || h.Error == "" {
		t.Errorf("health: %+v", h)
	}
}

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	installed := filepath.Join(dir, "lib", "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(installed), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(installed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FindLibrary("", dir); err != nil || got != installed {
		t.Errorf("beside the program: %q, %v", got, err)
	}
	t.Setenv(LibraryEnv, filepath.Join(dir, "gone.so"))
	if _, err := FindLibrary("", dir); !errors.Is(err, ErrLibraryMissing) || !strings.Contains(err.Error(), LibraryEnv) {
		t.Errorf("a path that does not exist: %v", err)
	}
	if got, err := FindLibrary(installed); err != nil || got != installed {
		t.Errorf("configured: %q, %v", got, err)
	}
	t.Setenv(LibraryEnv, "")
	if _, err := findLibrary("plan9", "amd64", ""); !errors.Is(err, ErrUnsupportedPlatform) {
		t.Errorf("a platform without a library: %v", err)
	}
	t.Chdir(t.TempDir())
	if _, err := findLibrary("linux", "arm64", ""); !errors.Is(err, ErrLibraryMissing) || !strings.Contains(err.Error(), InstallCommand) {
		t.Errorf("a missing library: %v", err)
	}
}

func TestLogOfAChildIsBounded(t *testing.T) {
	l, err := openChildLog(filepath.Join(t.TempDir(), "child.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for i := range 1000 {
		fmt.Fprintf(l.file, "line %03d\n", i)
		if err := l.rotate(950); err != nil {
			t.Fatal(err)
		}
	}
	if l.end() >= 950 {
		t.Errorf("the log has %d bytes", l.end())
	}
	if old, err := os.ReadFile(l.path + ".1"); err != nil || len(old) != 950 || !strings.HasSuffix(string(old), "\n") {
		t.Errorf("the older log has %d bytes, %v", len(old), err)
	}
	if got, want := l.tail(0, 2), "line 998\nline 999"; got != want {
		t.Errorf("tail: %q, want %q", got, want)
	}
}

// A process that was killed leaves its engines on their way out, with their ports.
func TestPortsAreKeptWhereTheEngineBeforeStillEnds(t *testing.T) {
	c := testConfig(t, t.TempDir())
	c.Kafka = true
	s, err := Start(context.Background(), c)
	require.NoError(t, err)
	before := s.Health()[0].Addr
	s.Stop()

	unlock, err := lockEngineDir(context.Background(), filepath.Join(c.Data, Kafka))
	require.NoError(t, err)
	ending, err := net.Listen("tcp4", before)
	require.NoError(t, err)
	time.AfterFunc(time.Second, func() {
		ending.Close()
		unlock()
	})
	s, err = Start(context.Background(), c)
	require.NoError(t, err)
	defer s.Stop()
	require.Equal(t, before, s.Health()[0].Addr)
}
