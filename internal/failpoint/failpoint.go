// Package failpoint lets tests kill the program at a named step, which is how
// "nothing lost, nothing twice" is proven from outside. In production nothing
// is set and a step costs one comparison.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env is the variable that arms a failpoint: "name" or "name:count". The
// process sends itself SIGKILL when the step is reached for the count-th time.
const Env = "EARSHOT_FAILPOINT"

// point is one armed step.
type point struct {
	name string
	left atomic.Int64
	kill func()
}

var armed = fromEnv()

func fromEnv() *point {
	p, err := parse(os.Getenv(Env))
	if err != nil {
		// A test that misspells its failpoint would pass by killing nothing.
		panic(err)
	}
	return p
}

func parse(spec string) (*point, error) {
	if spec == "" {
		return nil, nil
	}
	name, count, found := strings.Cut(spec, ":")
	n := int64(1)
	if found {
		var err error
		if n, err = strconv.ParseInt(count, 10, 64); err != nil || n < 1 {
			return nil, fmt.Errorf("%s=%q: the count after the colon is no positive number", Env, spec)
		}
	}
	if name == "" {
		return nil, fmt.Errorf("%s=%q names no step", Env, spec)
	}
	p := &point{name: name, kill: killSelf}
	p.left.Store(n)
	return p, nil
}

// Hit marks the step name as reached.
func Hit(name string) {
	if armed != nil {
		armed.hit(name)
	}
}

func (p *point) hit(name string) {
	if p.name == name && p.left.Add(-1) == 0 {
		p.kill()
	}
}

// killSelf ends the process as a power cut would: no deferred call, no flush.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; nothing after the step may run
}
