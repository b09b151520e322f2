package ingest

import (
	"net"
	"sync"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

func control(conn *net.UDPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func setReceiveBuffer(conn *net.UDPConn, bytes int) error {
	return control(conn, func(fd int) error {
		// SO_RCVBUFFORCE passes net.core.rmem_max, where we may.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) == nil {
			return nil
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
	})
}

// receiveBuffer is the size of the kernel's buffer in bytes, bookkeeping included.
func receiveBuffer(conn *net.UDPConn) (bytes int) {
	_ = control(conn, func(fd int) (err error) {
		bytes, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return err
	})
	return bytes
}

// kernelDrops counts what the kernel drops on a socket because nobody read it
// fast enough. It is the counter of SO_RXQ_OVFL of socket(7), read directly
// (SO_MEMINFO): with SO_RXQ_OVFL it would come with the next datagram only. It
// is 32 bits wide and wraps.
type kernelDrops struct {
	conn    *net.UDPConn
	counter prometheus.Counter

	mu   sync.Mutex
	last uint32
}

// memDrops is SK_MEMINFO_DROPS of linux/sock_diag.h.
const memDrops = 8

// poll counts the drops since the last call.
func (k *kernelDrops) poll() { _ = k.read() }

func (k *kernelDrops) read() error {
	return control(k.conn, func(fd int) error {
		var info [memDrops + 1]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		if uintptr(size) < unsafe.Sizeof(info) {
			return unix.EOPNOTSUPP
		}
		k.count(info[memDrops])
		return nil
	})
}

func (k *kernelDrops) count(now uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if lost := now - k.last; lost != 0 {
		k.counter.Add(float64(lost))
	}
	k.last = now
}
