package path

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Hop is what became of one packet between two nodes. Times are ns since the
// Unix epoch; 0: it never got there.
type Hop struct {
	From, To Node
	Packet   Packet
	Kind     Kind
	In       int64 // left From
	Middle   int64 // passed the monitor
	Out      int64 // reached To
	Due      int64 // should have reached To
	middle   bool  // it is on its way to the middle, and goes on from there
	Unseen   bool  // by the monitor: passed the server's namespace by
}

// engine carries packets in a single thread.
type engine struct {
	config  Config
	to      map[netip.Addr]Node
	streets map[[2]Node]*stretch // by from (A, B, Server) and to
	zero    int64
	zeroed  func(int64) // is told zero
	hops    []*Hop
	pending pending
	dropped int // packets to nowhere
	began   time.Time
}

func newEngine(config Config, random *rand.Rand) *engine {
	e := &engine{config: config, to: map[netip.Addr]Node{}, began: time.Now()}
	for node, list := range addresses {
		for _, a := range list {
			if node != Server || config.Server {
				e.to[netip.MustParseAddr(a)] = node
			}
		}
	}
	e.streets = map[[2]Node]*stretch{
		{A, Server}: newStretch(config.AOut, random), {Server, A}: newStretch(config.AIn, random),
		{B, Server}: newStretch(config.BOut, random), {Server, B}: newStretch(config.BIn, random),
	}
	return e
}

// now is the time in ns since the Unix epoch. It is monotonic: a step of the
// machine's clock does not disturb a recording.
func (e *engine) now() int64 { return e.began.UnixNano() + int64(time.Since(e.began)) }

// run carries packets until something can be read from input, or its end.
func (e *engine) run(fds map[Node]int, input int) error {
	runtime.LockOSThread()
	polled := []unix.PollFd{{Fd: int32(input), Events: unix.POLLIN}}
	nodes := []Node{0}
	for node, fd := range fds {
		polled, nodes = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}), append(nodes, node)
	}
	buffer := make([]byte, 65536)
	for polled[0].Revents == 0 {
		var timeout *unix.Timespec
		if len(e.pending) > 0 {
			ts := unix.NsecToTimespec(max(e.pending[0].Due-e.now(), 0))
			timeout = &ts
		}
		if _, err := unix.Ppoll(polled, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("cannot wait for packets: %w", err)
		}
		for i := range polled[1:] {
			for polled[i+1].Revents&unix.POLLIN != 0 {
				n, err := unix.Read(int(polled[i+1].Fd), buffer)
				if err != nil {
					break
				}
				e.accept(nodes[i+1], e.now(), buffer[:n])
				e.deliver(fds)
			}
		}
		e.deliver(fds)
	}
	return nil
}

// accept takes a packet that a node sent and decides its fate.
func (e *engine) accept(from Node, at int64, data []byte) {
	p := Packet(append([]byte(nil), data...))
	if !p.valid() {
		e.dropped++
		return
	}
	to, ok := e.to[p.To()]
	if !ok || to == from {
		e.dropped++
		return
	}
	h := &Hop{From: from, To: to, Packet: p, Kind: p.Kind(), In: at}
	e.hops = append(e.hops, h)
	h.Unseen = e.config.Server && from != Server && to != Server
	switch {
	case from == Server:
		h.Middle = at
		e.pastMiddle(h)
	case to == Server:
		e.enter(h, at)
	default:
		h.middle = true
		e.enter(h, at)
	}
}

// enter takes a packet from its sender towards the middle.
func (e *engine) enter(h *Hop, at int64) {
	due, lost := e.streets[[2]Node{h.From, Server}].pass(h.Kind, at, e.zero)
	if lost {
		return
	}
	h.Due = due
	heap.Push(&e.pending, h)
}

// pastMiddle takes a packet that is in the middle towards its receiver.
func (e *engine) pastMiddle(h *Hop) {
	e.mark(h)
	due, lost := e.streets[[2]Node{Server, h.To}].pass(h.Kind, h.Middle, e.zero)
	if lost {
		return
	}
	h.Due = due
	heap.Push(&e.pending, h)
}

// mark notes when time begins to count: a packet passes the monitor.
func (e *engine) mark(h *Hop) {
	if e.zero != 0 {
		return
	}
	if e.config.ZeroAtFirstRTP && h.Kind == RTP || !e.config.ZeroAtFirstRTP && h.Kind == SIP && h.Packet.answers() {
		e.zero = h.Middle
		e.zeroed(e.zero)
	}
}

// deliver hands over and passes on what is due.
func (e *engine) deliver(fds map[Node]int) {
	for len(e.pending) > 0 && e.pending[0].Due <= e.now() {
		h := heap.Pop(&e.pending).(*Hop)
		if h.middle { // where nobody is, but the monitor: it passes when it should
			h.middle, h.Middle = false, h.Due
			e.pastMiddle(h)
			continue
		}
		if _, err := unix.Write(fds[h.To], h.Packet); err != nil {
			continue // the node's device takes no more: lost
		}
		h.Out = e.now()
		if h.To == Server {
			h.Middle = h.Out
		}
	}
}

// pending is a heap of packets by the time that they are due; what queued leaves
// as it came.
type pending []*Hop

func (p pending) Len() int { return len(p) }
func (p pending) Less(i, j int) bool {
	return p[i].Due < p[j].Due || p[i].Due == p[j].Due && p[i].In < p[j].In
}
func (p pending) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pending) Push(x any)   { *p = append(*p, x.(*Hop)) }
func (p *pending) Pop() any {
	last := len(*p) - 1
	h := (*p)[last]
	*p = (*p)[:last]
	return h
}
