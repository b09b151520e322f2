package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// phone is a Chromium with page.js and a SIP user agent, in a namespace (phone.mjs).
type phone struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	log  *slog.Logger

	mu     sync.Mutex
	nextID int
	waits  map[int]chan reply
	invite chan string // offers that came
	bye    chan struct{}
	dead   chan struct{}
}

type reply struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
	Event string          `json:"event"`
	SDP   string          `json:"sdp"`
}

// startPhone starts one in a namespace.
func startPhone(ctx context.Context, log *slog.Logger, name, namespace, source string) (*phone, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", namespace, "chrt", "-o", "0", "nice", "-n", "-5", "node", filepath.Join(source, "phone.mjs"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start a phone: %w", err)
	}
	p := &phone{name: name, cmd: cmd, in: in, log: log, waits: map[int]chan reply{}, invite: make(chan string, 4), bye: make(chan struct{}, 4), dead: make(chan struct{})}
	go p.listen(out)
	return p, nil
}

func (p *phone) listen(out io.Reader) {
	defer close(p.dead)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			p.log.Warn("a phone said what is no JSON", "phone", p.name, "line", lines.Text())
			continue
		}
		switch r.Event {
		case "":
			p.mu.Lock()
			wait := p.waits[r.ID]
			delete(p.waits, r.ID)
			p.mu.Unlock()
			if wait != nil {
				wait <- r
			}
		case "invite":
			p.invite <- r.SDP
		case "bye":
			p.bye <- struct{}{}
		default:
			p.log.Info("a phone told", "phone", p.name, "event", r.Event, "value", string(r.Value), "error", r.Error)
		}
	}
}

var errPhoneGone = errors.New("the phone is gone")

// do has the phone do something and reads its answer into value, which may be nil.
func (p *phone) do(value any, what string, args ...any) error {
	p.mu.Lock()
	p.nextID++
	id := p.nextID
	wait := make(chan reply, 1)
	p.waits[id] = wait
	p.mu.Unlock()
	if args == nil {
		args = []any{}
	}
	line, err := json.Marshal(map[string]any{"id": id, "do": what, "args": args})
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", what, err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("cannot tell phone %s to %s: %w", p.name, what, err)
	}
	select {
	case r := <-wait:
		if r.Error != "" {
			return fmt.Errorf("phone %s cannot %s: %s", p.name, what, r.Error)
		}
		if value == nil {
			return nil
		}
		if err := json.Unmarshal(r.Value, value); err != nil {
			return fmt.Errorf("phone %s: %s: %w", p.name, what, err)
		}
		return nil
	case <-p.dead:
		return fmt.Errorf("phone %s: %s: %w", p.name, what, errPhoneGone)
	case <-time.After(time.Minute):
		return fmt.Errorf("phone %s: %s: no answer within a minute", p.name, what)
	}
}

// hurry lets all that runs in a namespace go before what else the machine does
// (SCHED_RR, below the path's own thread): the browser's audio threads must not
// wait for it. Not from the start: a browser that starts takes a whole core, and
// what is real time must not be busy all the time.
func hurry(namespace string) error {
	pids, err := exec.Command("ip", "netns", "pids", namespace).Output()
	if err != nil {
		return fmt.Errorf("cannot list what runs in %s: %w", namespace, err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		_ = exec.Command("chrt", "-a", "-r", "-p", "5", pid).Run() // it may just have ended
	}
	return nil
}

// end closes the browser and waits for it.
func (p *phone) end() {
	if err := p.do(nil, "end"); err != nil && !errors.Is(err, errPhoneGone) {
		p.log.Warn("a phone did not end by itself", "phone", p.name, "error", err)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	p.in.Close()
	_ = p.cmd.Wait() // killed or gone: both are the end
}
