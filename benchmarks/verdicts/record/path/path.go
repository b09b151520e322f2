// Package path is a stretch of network for real phones: network namespaces, each
// with a TUN device, and between them a program that carries the IP packets and
// delays, loses, reorders or blocks them as it is told, and remembers when each
// one left, passed the middle and arrived.
//
// There are two namespaces, a and b, and a monitor that sees what passes the
// middle between them; with Config.Server the middle is a third namespace, m,
// where a media server can run, and the monitor sees what enters and leaves it:
//
//	a --AOut--> middle --BIn--> b
//	a <--AIn--- middle <-BOut-- b
//
// It needs root, iproute2 and /dev/net/tun, and no queueing discipline of the
// kernel's. Namespaces have names of their own per Path, so that several may be
// used at once; their addresses are the same each time.
package path

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Node is an end of the path or its middle.
type Node byte

// The nodes.
const (
	A      Node = 'a' // the caller
	B      Node = 'b' // the callee
	Server Node = 'm' // the media server, if there is one
)

// Addresses of the nodes; A and B have a second one, for calls that move.
const (
	AddressA      = "10.66.0.1"
	AddressB      = "10.66.0.2"
	AddressServer = "10.66.0.3"
	AddressA2     = "10.66.0.11"
	AddressB2     = "10.66.0.12"
)

var addresses = map[Node][]string{A: {AddressA, AddressA2}, B: {AddressB, AddressB2}, Server: {AddressServer}}

// Config says what the path does to packets.
type Config struct {
	// Server puts a namespace in the middle.
	Server bool `json:"server,omitempty"`
	// AOut is from a to the middle, AIn from the middle to a; so for b.
	AOut []Impairment `json:"a_out,omitempty"`
	AIn  []Impairment `json:"a_in,omitempty"`
	BOut []Impairment `json:"b_out,omitempty"`
	BIn  []Impairment `json:"b_in,omitempty"`
	// ZeroAtFirstRTP counts windows of time from the first RTP packet, not from
	// the answer: for calls whose signalling does not use the path.
	ZeroAtFirstRTP bool `json:"zero_at_first_rtp,omitempty"`
	// Seed makes chance the same each time.
	Seed uint64 `json:"seed,omitempty"`
}

// Path carries packets until it is closed.
type Path struct {
	prefix  string
	nodes   []Node
	carrier *carrier
	close   sync.Once
}

var paths atomic.Int32

// Start makes the namespaces and begins to carry packets.
func Start(config Config) (*Path, error) {
	p := &Path{prefix: fmt.Sprintf("es%dp%d", os.Getpid(), paths.Add(1)), nodes: []Node{A, B}}
	if config.Server {
		p.nodes = append(p.nodes, Server)
	}
	var devices []*os.File
	defer func() {
		for _, d := range devices {
			d.Close() // the carrier has its own
		}
	}()
	for _, node := range p.nodes {
		fd, err := p.make(node)
		if err != nil {
			p.remove()
			return nil, fmt.Errorf("cannot make namespace %c: %w", node, err)
		}
		devices = append(devices, os.NewFile(uintptr(fd), string(rune(node))))
	}
	var err error
	if p.carrier, err = startCarrier(order{config, p.nodes}, devices); err != nil {
		p.remove()
		return nil, fmt.Errorf("cannot carry packets: %w", err)
	}
	return p, nil
}

// Namespace is the name of a node's network namespace, for `ip netns exec`.
func (p *Path) Namespace(node Node) string { return p.prefix + string(node) }

// Command is a program to be run in a node's namespace, with the priority of a
// phone that a busy machine must not disturb (SCHED_FIFO 10).
func (p *Path) Command(node Node, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", p.Namespace(node), "chrt", "-f", "10", name}, args...)...)
}

// CommandPlain is the same with ordinary priority, for programs with many busy
// threads, such as browsers.
func (p *Path) CommandPlain(node Node, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", p.Namespace(node), name}, args...)...)
}

// In runs f on a thread inside a node's namespace: sockets that f itself makes
// belong there for as long as they live.
func (p *Path) In(node Node, f func() error) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/var/run/netns/"+p.Namespace(node), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		failed <- err
	}()
	return <-failed
}

// Dial connects from inside a node's namespace, 127.0.0.1 included, without
// using the path.
func (p *Path) Dial(node Node, network, address string) (conn net.Conn, err error) {
	err = p.In(node, func() error {
		conn, err = net.Dial(network, address)
		return err
	})
	return conn, err
}

// Zero is when windows of time began to count: the answer or the first RTP
// packet; the zero time if that has not been.
func (p *Path) Zero() time.Time {
	if at := p.carrier.zero.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Close stops carrying packets, removes the namespaces and gives what was seen.
// Programs inside must have been stopped.
func (p *Path) Close() (capture *Capture, err error) {
	p.close.Do(func() {
		capture, err = p.carrier.stop()
		p.remove()
	})
	return capture, err
}

func (p *Path) remove() {
	for _, node := range p.nodes {
		_ = exec.Command("ip", "netns", "del", p.Namespace(node)).Run() // a name left over harms nobody
	}
}

// make makes a node's namespace and gives its TUN device.
func (p *Path) make(node Node) (fd int, err error) {
	if err := ip("netns", "add", p.Namespace(node)); err != nil {
		return 0, err
	}
	err = p.In(node, func() error {
		fd, err = openTUN("tun0")
		if err != nil {
			return err
		}
		steps := [][]string{{"link", "set", "lo", "up"}, {"link", "set", "tun0", "txqueuelen", "1000", "up"}}
		for _, address := range addresses[node] {
			steps = append(steps, []string{"addr", "add", address + "/24", "dev", "tun0"})
		}
		for _, step := range append(steps, []string{"route", "add", "default", "dev", "tun0"}) {
			if err := ip(step...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		if fd != 0 {
			unix.Close(fd)
		}
		_ = exec.Command("ip", "netns", "del", p.Namespace(node)).Run()
	}
	return fd, err
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// openTUN makes a TUN device in the namespace of the calling thread.
func openTUN(name string) (int, error) {
	const device = "/dev/net/tun"
	if _, err := os.Stat(device); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll("/dev/net", 0o755); err != nil {
			return 0, err
		}
		if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
			return 0, fmt.Errorf("cannot make %s: %w", device, err)
		}
	}
	// IPv6 would only add router solicitations to the captures.
	for _, scope := range []string{"default", "all"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/disable_ipv6", []byte("1"), 0) // a kernel without IPv6 has none
	}
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot open %s: %w", device, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("cannot make TUN device %s: %w", name, err)
	}
	return fd, nil
}
