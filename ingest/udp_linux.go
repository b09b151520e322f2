package ingest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxDatagram is the largest payload that UDP carries, and then some.
const maxDatagram = 64 << 10

// slotBytes is the distance of two datagrams in the buffer. It is no power of
// two, so that their first bytes do not all want the same place in the cache.
const slotBytes = maxDatagram + 33*64

// batchReader reads many datagrams with one system call, recvmmsg(2).
type batchReader struct {
	raw      syscall.RawConn
	buffer   []byte // slotBytes for each; what no datagram has reached is no memory
	messages []mmsghdr
	vectors  []unix.Iovec
	names    []unix.RawSockaddrInet6
	n        int
	err      error
	try      func(fd uintptr) bool // reads and is content with nothing
	until    func(fd uintptr) bool // reads and waits for something
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

func newBatchReader(conn *net.UDPConn, datagrams int) (*batchReader, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	datagrams = min(max(datagrams, 1), 1024)
	r := &batchReader{raw: raw, buffer: make([]byte, datagrams*slotBytes), messages: make([]mmsghdr, datagrams),
		vectors: make([]unix.Iovec, datagrams), names: make([]unix.RawSockaddrInet6, datagrams)}
	for i := range r.messages {
		r.vectors[i].Base = &r.buffer[i*slotBytes]
		r.vectors[i].SetLen(maxDatagram)
		h := &r.messages[i].header
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
	}
	r.try = func(fd uintptr) bool { r.recv(fd); return true }
	r.until = func(fd uintptr) bool { r.recv(fd); return r.n > 0 || r.err != nil }
	return r, nil
}

func (r *batchReader) recv(fd uintptr) {
	for i := range r.messages {
		r.messages[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), uintptr(len(r.messages)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.n, r.err = int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.n, r.err = 0, nil
		default:
			r.n, r.err = 0, errno
		}
		return
	}
}

// now reads what is there, perhaps nothing.
func (r *batchReader) now() (int, error) { return r.run(r.try) }

// wait reads and waits until there is something.
func (r *batchReader) wait() (int, error) { return r.run(r.until) }

func (r *batchReader) run(f func(fd uintptr) bool) (int, error) {
	if err := r.raw.Read(f); err != nil {
		return 0, err
	}
	return r.n, r.err
}

func (r *batchReader) size() int { return len(r.messages) }

// datagram gives one of those that were read last, valid until the next read.
func (r *batchReader) datagram(i int) ([]byte, netip.AddrPort) {
	at := i * slotBytes
	return r.buffer[at : at+int(r.messages[i].length)], addressOf(&r.names[i])
}

func addressOf(name *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
}
