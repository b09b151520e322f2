package path

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Packets are carried by a process of its own, all of whose threads have
// priority: threads of Go's runtime wait for each other, and one without
// priority, which a busy machine leaves standing, would hold up those with it.
// It is this program, started again with carrierVariable set; its input is the
// order, the end of its input tells it to stop, its output are reports.
const (
	carrierVariable = "EARSHOT_PATH_CARRIER"
	priority        = 50 // of SCHED_FIFO, above the phones'
)

// order is what the carrier is told: its devices are its files from 3 on.
type order struct {
	Config Config
	Nodes  []Node
}

// report is what the carrier tells: when zero was, and at the end the rest.
type report struct {
	Zero    int64
	Capture *Capture
	Error   string
}

func init() {
	if os.Getenv(carrierVariable) != "" {
		if err := carry(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// carrier is the other process, as seen from this one.
type carrier struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	zero  atomic.Int64
	last  chan report // the one with the capture; closed if there is none
}

func startCarrier(o order, devices []*os.File) (*carrier, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &carrier{cmd: exec.Command("chrt", "-f", strconv.Itoa(priority), program), last: make(chan report, 1)}
	// A collection would stop the thread that carries. A call's packets are some
	// megabytes.
	c.cmd.Env = append(os.Environ(), carrierVariable+"=1", "GOGC=off", "GOMAXPROCS=4")
	c.cmd.ExtraFiles, c.cmd.Stderr = devices, os.Stderr
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.listen(output)
	return c, gob.NewEncoder(c.input).Encode(o)
}

func (c *carrier) listen(output io.Reader) {
	defer close(c.last)
	reports := gob.NewDecoder(output)
	for {
		var r report
		if err := reports.Decode(&r); err != nil {
			return
		}
		if r.Zero != 0 {
			c.zero.Store(r.Zero)
		}
		if r.Capture != nil {
			c.last <- r
			return
		}
	}
}

func (c *carrier) stop() (*Capture, error) {
	c.input.Close()
	r, ok := <-c.last
	err := c.cmd.Wait()
	switch {
	case !ok:
		return nil, fmt.Errorf("cannot carry packets: %w", errors.Join(errors.New("the carrier ended"), err))
	case r.Error != "":
		return r.Capture, errors.New(r.Error)
	}
	return r.Capture, nil
}

// carry is what the other process does.
func carry() error {
	var o order
	if err := gob.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	fds := map[Node]int{}
	for i, node := range o.Nodes {
		fds[node] = 3 + i
		if err := unix.SetNonblock(fds[node], true); err != nil {
			return fmt.Errorf("cannot use the device: %w", err)
		}
	}
	reports := gob.NewEncoder(os.Stdout)
	e := newEngine(o.Config, rand.New(rand.NewPCG(o.Config.Seed, 0x6561727368)))
	e.zeroed = func(at int64) {
		_ = reports.Encode(report{Zero: at}) // who does not listen will not get the rest either
	}
	last := report{}
	if err := e.run(fds, int(os.Stdin.Fd())); err != nil {
		last.Error = err.Error()
	}
	// What is left to do must not delay another path's packets. It is done even
	// if this cannot be.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0)
	last.Capture = &Capture{Config: o.Config, Zero: e.zero, Hops: e.hops, Dropped: e.dropped}
	return reports.Encode(last)
}
