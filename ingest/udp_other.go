//go:build !linux

package ingest

import (
	"net"
	"net/netip"
)

// batchReader reads one datagram after the other.
type batchReader struct {
	conn   *net.UDPConn
	buffer []byte
	n      int
	remote netip.AddrPort
}

func newBatchReader(conn *net.UDPConn, _ int) (*batchReader, error) {
	return &batchReader{conn: conn, buffer: make([]byte, 64<<10)}, nil
}

// now reads nothing: what is there cannot be asked for without waiting.
func (r *batchReader) now() (int, error) { return 0, nil }

// wait reads and waits until there is something.
func (r *batchReader) wait() (int, error) {
	n, remote, err := r.conn.ReadFromUDPAddrPort(r.buffer)
	if err != nil {
		return 0, err
	}
	r.n, r.remote = n, unmapped(remote)
	return 1, nil
}

func (r *batchReader) size() int { return 1 }

// datagram gives the one that was read last, valid until the next read.
func (r *batchReader) datagram(int) ([]byte, netip.AddrPort) { return r.buffer[:r.n], r.remote }

// unmapped gives an address as it is written, IPv4 as IPv4.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
