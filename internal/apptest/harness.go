// Package apptest tests Earshot from the outside: it builds the program, runs
// it as a user would and looks at it through its commands, its API and its
// database. The same tests run on the embedded broker and on Apache Kafka.
package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/earshot/earshot/deploy/engines"
)

// Root is the module's directory.
func Root() string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(self), "..", "..")
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "earshot-apptest-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "earshot")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/earshot")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build earshot: %w\n%s", err, out)
	}
	return program, nil
})

// Program builds the program once per test run and gives its path.
func Program(t testing.TB) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// Process is one running earshot.
type Process struct {
	t    testing.TB
	args []string
	env  []string
	cmd  *exec.Cmd
	out  *tail
	done chan struct{}
	err  error
}

// Start runs the program with arguments and ends it with the test.
func Start(t testing.TB, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, args: args, env: env, out: &tail{}}
	p.Restart()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("output of earshot %s:\n%s", strings.Join(args, " "), p.Output())
		}
	})
	return p
}

// Restart starts the process again after it ended.
func (p *Process) Restart() {
	p.t.Helper()
	p.cmd = exec.Command(Program(p.t), p.args...)
	p.cmd.Env = append(os.Environ(), "EARSHOT_LIBCHDB="+library())
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() { p.err = cmd.Wait(); close(done) }()
}

// library is where make engines put ClickHouse; the program under test is not
// beside it. Where it is missing, the program says so itself.
func library() string {
	path, err := engines.FindLibrary("", filepath.Join(Root(), "deploy", "engines", "node_modules"))
	if err != nil {
		return os.Getenv("EARSHOT_LIBCHDB")
	}
	return path
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop ends the process as an operator would; it must exit by itself.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.Kill()
		p.t.Errorf("earshot %s did not stop after SIGTERM", strings.Join(p.args, " "))
	}
}

// Exited says whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the process to end by itself and gives its error.
func (p *Process) Wait() error { <-p.done; return p.err }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the process printed last.
func (p *Process) Output() string { return p.out.String() }

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 64<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// Eventually repeats check until it returns nil; it fails the test with the last error.
func Eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Up is a running `earshot up`.
type Up struct {
	*Process
	Data string
	URL  string
	Key  string
	Run  engines.Run
}

// anyPorts are the flags that keep tests out of each other's way.
var anyPorts = []string{
	"--api.listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0",
	"--ingest.hep.listen=127.0.0.1:0", "--ingest.rtcp.listen=127.0.0.1:0", "--ingest.sip.listen=127.0.0.1:0",
}

// StartUp runs `earshot up` on fresh data and waits until it is ready.
func StartUp(t testing.TB, args ...string) *Up {
	t.Helper()
	u := &Up{Data: t.TempDir()}
	u.Process = Start(t, nil, append(append([]string{"up", "--data", u.Data}, anyPorts...), args...)...)
	u.WaitReady()
	return u
}

// WaitReady waits until the admin page says that everything is ready.
func (u *Up) WaitReady() {
	u.t.Helper()
	Eventually(u.t, 90*time.Second, "earshot up is ready", func() error {
		if u.Exited() {
			u.t.Fatalf("earshot up ended: %v\n%s", u.err, u.Output())
		}
		run, err := engines.ReadRun(u.Data)
		if err != nil {
			return err
		}
		if !run.Alive || run.PID != u.PID() || run.API == "" {
			return errors.New("run.json is not there yet")
		}
		res, err := http.Get("http://" + run.Admin + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", body)
		}
		u.Run = run
		return nil
	})
	key, err := os.ReadFile(filepath.Join(u.Data, "admin.key"))
	if err != nil {
		u.t.Fatal(err)
	}
	u.URL, u.Key = "http://"+u.Run.API, strings.TrimSpace(string(key))
}

// Earshot runs a command to its end and gives its standard output.
func (u *Up) Earshot(args ...string) (string, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Program(u.t), append(args, "--data", u.Data)...)
	cmd.Env = append(os.Environ(), "EARSHOT_LIBCHDB="+library())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("earshot %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

// Get asks the API and decodes the answer.
func (u *Up) Get(path string, into any) error { return u.Do(http.MethodGet, path, "", nil, into) }

// Do sends one request with the operator's key.
func (u *Up) Do(method, path, contentType string, body []byte, into any) error {
	req, err := http.NewRequest(method, u.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+u.Key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, res.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	if s, ok := into.(*string); ok {
		*s = string(text)
		return nil
	}
	return json.Unmarshal(text, into)
}

// Imported is one line of `earshot import --json`.
type Imported struct {
	File   string `json:"file"`
	CallID string `json:"call_id"`
	Link   string `json:"link"`
}

// Import imports files and gives the calls found.
func (u *Up) Import(files ...string) []Imported {
	u.t.Helper()
	out, err := u.Earshot(append([]string{"import", "--json"}, files...)...)
	if err != nil {
		u.t.Fatal(err)
	}
	var calls []Imported
	if err := json.Unmarshal([]byte(out), &calls); err != nil {
		u.t.Fatalf("cannot read the answer of import: %v\n%s", err, out)
	}
	return calls
}
