package engines

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"text/template"
	"time"

	"github.com/ebitengine/purego"
)

// ClickHouseArgs says how the ClickHouse child serves; they are the flags of `earshot engine clickhouse`.
type ClickHouseArgs struct {
	Dir      string // where tables are kept
	Library  string // path of libchdb
	TCPPort  int    // native protocol, on loopback
	HTTPPort int    // HTTP interface, on loopback; 0 leaves it off
}

// clickhouseExitGrace is how long the engine may take to flush and close its tables once told to stop.
const clickhouseExitGrace = 20 * time.Second

// clickhouseConfig keeps an idle engine small: the defaults are made for a machine that does nothing else. No
// system.*_log table is configured, so none is written. The pool of merges is small, so the thresholds that are
// counted in free entries of that pool have to be small as well, or the server refuses to start.
var clickhouseConfig = template.Must(template.New("config.xml").Funcs(template.FuncMap{"xml": xmlText}).Parse(`<clickhouse>
    <path>{{xml .Dir}}/</path>
    <tcp_port>{{.TCPPort}}</tcp_port>
{{- if .HTTPPort}}
    <http_port>{{.HTTPPort}}</http_port>
{{- end}}
    <listen_host>127.0.0.1</listen_host>
    <macros><earshot_pid>{{.PID}}</earshot_pid></macros>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <max_connections>256</max_connections>
    <max_concurrent_queries>64</max_concurrent_queries>
    <mark_cache_size>67108864</mark_cache_size>
    <index_mark_cache_size>16777216</index_mark_cache_size>
    <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <primary_index_cache_size>67108864</primary_index_cache_size>
    <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
    <mmap_cache_size>100</mmap_cache_size>
    <max_thread_pool_size>1000</max_thread_pool_size>
    <max_thread_pool_free_size>8</max_thread_pool_free_size>
    <background_pool_size>4</background_pool_size>
    <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
    <background_schedule_pool_size>16</background_schedule_pool_size>
    <background_common_pool_size>4</background_common_pool_size>
    <background_fetches_pool_size>1</background_fetches_pool_size>
    <background_move_pool_size>1</background_move_pool_size>
    <background_buffer_flush_schedule_pool_size>1</background_buffer_flush_schedule_pool_size>
    <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
    <background_distributed_schedule_pool_size>1</background_distributed_schedule_pool_size>
    <merge_tree>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
`))

func xmlText(s string) (string, error) {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "", err
	}
	return b.String(), nil
}

// database is what Earshot's tables are in, unless it is configured otherwise.
const database = "earshot"

// ServeClickHouse turns this process into a ClickHouse server and returns when it has stopped: after end of file
// on stdin, SIGTERM, SIGINT or the end of ctx, with its tables closed. It owns the process: the engine replaces
// file descriptor 0 and can be started once only.
//
// The engine is clickhouse-local inside libchdb. It has no server mode of its own, but in interactive mode it
// executes SYSTEM START LISTEN and then serves until its standard input ends.
func ServeClickHouse(ctx context.Context, args ClickHouseArgs, stdin io.Reader) error {
	dir, err := filepath.Abs(args.Dir)
	if err != nil {
		return fmt.Errorf("cannot resolve the ClickHouse directory: %w", err)
	}
	args.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the ClickHouse directory: %w", err)
	}
	unlock, err := lockEngineDir(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	if n, err := recoverTokens(dir); err != nil {
		return err
	} else if n > 0 {
		fmt.Fprintf(os.Stderr, "ClickHouse was killed between the token of an insert and its rows: %d tokens are forgotten\n", n)
	}
	// In interactive mode a listener that fails ends nothing: the engine would sit there, reachable by nobody.
	for _, port := range []int{args.TCPPort, args.HTTPPort} {
		if port == 0 {
			continue
		}
		if err := checkPort(port); err != nil {
			return err
		}
	}
	// Only the relay knows the engine's own ports.
	for i, port := range []*int{&args.TCPPort, &args.HTTPPort} {
		if *port == 0 {
			continue
		}
		own, err := choosePort(0, 0, args.TCPPort, args.HTTPPort)
		if err != nil {
			return err
		}
		listener, err := startRelay(*port, own, i == 0)
		if err != nil {
			return err
		}
		defer listener.Close()
		*port = own
	}
	var config bytes.Buffer
	// The pid lets a client tell this server from another one that may answer on the port.
	values := struct {
		ClickHouseArgs
		PID int
	}{args, os.Getpid()}
	if err := clickhouseConfig.Execute(&config, values); err != nil {
		return fmt.Errorf("cannot write the ClickHouse configuration: %w", err)
	}
	configPath := filepath.Join(dir, "earshot-config.xml")
	if err := os.WriteFile(configPath, config.Bytes(), 0o600); err != nil {
		return fmt.Errorf("cannot write the ClickHouse configuration: %w", err)
	}

	// libchdb lets the error of a client that names a missing database out of that client's thread, which ends the
	// process: the one that Earshot's roles name is there before any of them, whichever role makes its tables.
	listen := "CREATE DATABASE IF NOT EXISTS " + database + "; SYSTEM START LISTEN TCP"
	if args.HTTPPort != 0 {
		listen += "; SYSTEM START LISTEN HTTP"
	}
	argv := []string{"clickhouse", "--config-file=" + configPath, "--log-level=warning", "--disable_suggestion",
		"--interactive", "--query=" + listen}

	// The engine reads a pipe of ours, not the parent's: so a signal can end it as gently as end of file does.
	inner, release, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make the pipe that keeps ClickHouse running: %w", err)
	}
	parent, err := detachStdin(stdin, inner)
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		if wait := waitForStop(ctx, parent, stopped); !wait {
			return
		}
		release.Close()
		select {
		case <-stopped:
		case <-time.After(clickhouseExitGrace):
			fmt.Fprintln(os.Stderr, "ClickHouse did not stop in time, ending the process")
			os.Exit(3)
		}
	}()

	handle, err := purego.Dlopen(args.Library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("cannot load the ClickHouse library %s: %w", args.Library, err)
	}
	var lib clickhouseLibrary
	for name, function := range map[string]any{
		"chdb_set_signal_handlers_enabled": &lib.setSignalHandlersEnabled,
		"chdb_query_cmdline":               &lib.queryCmdline,
		"chdb_result_error":                &lib.resultError,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("cannot use the ClickHouse library %s: %w", args.Library, err)
		}
		purego.RegisterFunc(function, symbol)
	}
	// Signals of this process belong to the Go runtime.
	lib.setSignalHandlersEnabled(false)

	// The main thread of the engine keeps thread-local state for as long as it runs.
	runtime.LockOSThread()
	cargv := make([]*byte, len(argv)+1)
	for i, a := range argv {
		cargv[i] = &append([]byte(a), 0)[0]
	}
	result := lib.queryCmdline(int32(len(argv)), &cargv[0])
	runtime.KeepAlive(cargv)
	if result == 0 {
		return errors.New("ClickHouse stopped without a result")
	}
	if text := lib.resultError(result); text != "" {
		return fmt.Errorf("ClickHouse stopped: %s", text)
	}
	return nil
}

// clickhouseLibrary is what is used of chdb.h.
type clickhouseLibrary struct {
	setSignalHandlersEnabled func(enabled bool)
	queryCmdline             func(argc int32, argv **byte) uintptr // chdb_result *
	resultError              func(result uintptr) string
}

// detachStdin puts inner in the place of file descriptor 0, where the engine will read, and returns what was there.
func detachStdin(stdin io.Reader, inner *os.File) (io.Reader, error) {
	if f, ok := stdin.(*os.File); ok && f.Fd() == 0 {
		fd, err := syscall.Dup(0)
		if err != nil {
			return nil, fmt.Errorf("cannot keep the parent's pipe: %w", err)
		}
		syscall.CloseOnExec(fd)
		stdin = os.NewFile(uintptr(fd), "parent")
	}
	if err := dup2(int(inner.Fd()), 0); err != nil {
		return nil, fmt.Errorf("cannot hand ClickHouse its standard input: %w", err)
	}
	return stdin, nil
}

// waitForStop returns true when the parent closed its end of stdin, a signal arrived or ctx ended, and false when
// stopped was closed first.
func waitForStop(ctx context.Context, stdin io.Reader, stopped <-chan struct{}) bool {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	eof := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(eof)
	}()
	select {
	case <-eof:
	case <-signals:
	case <-ctx.Done():
	case <-stopped:
		return false
	}
	return true
}
