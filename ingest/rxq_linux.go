package ingest

import (
	"encoding/binary"
	"net"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// soRxqOvfl is SO_RXQ_OVFL of socket(7), which package syscall leaves out: with
// every datagram comes the number of those dropped on the socket before it.
const soRxqOvfl = 40

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
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, bytes) == nil {
			return nil
		}
		return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
	})
}

func reportKernelDrops(conn *net.UDPConn) error {
	return control(conn, func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soRxqOvfl, 1) })
}

// kernelDrops reads the counter that comes with datagrams. It is 32 bits wide
// and wraps.
type kernelDrops struct {
	counter prometheus.Counter
	last    uint32
}

func (k *kernelDrops) see(oob []byte) {
	if len(oob) == 0 {
		return
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == soRxqOvfl && len(m.Data) >= 4 {
			now := binary.NativeEndian.Uint32(m.Data)
			if lost := now - k.last; lost != 0 {
				k.counter.Add(float64(lost))
			}
			k.last = now
		}
	}
}
