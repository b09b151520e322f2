package ingest

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// serveTurn is how many datagrams are served before the socket is looked at
// again, so that the kernel's buffer, which all sources share, stays empty.
const serveTurn = 192

// drainTurn is how many are taken from the socket before some are served.
const drainTurn = 1024

// busyRate is from how many datagrams a second on the loop pauses between reads
// instead of waiting for each: a wakeup costs more than a datagram.
const busyRate = 4000

// rateWindow is the time over which the rate is measured.
const rateWindow = 5 * time.Millisecond

// datagramBytes is what a datagram takes in the kernel's buffer, bookkeeping
// included, for the usual sizes.
const datagramBytes = 2304

// udpLoop reads one socket. It empties it into a queue with room for each
// source, and serves the sources in turn.
type udpLoop struct {
	in    *Ingester
	conn  *net.UDPConn
	read  *batchReader
	queue *fairQueue
	drops *kernelDrops

	room  int // datagrams that the kernel's buffer holds
	began time.Time
	count int
	rate  float64 // datagrams a second
}

// runUDP calls take for every datagram until ctx ends, then for those that had
// come by then, and closes the socket. The bytes are used again after take returns.
func (in *Ingester) runUDP(ctx context.Context, conn *net.UDPConn, ob *observer, take func(b []byte, from *source, receivedUs int64)) error {
	defer conn.Close()
	read, err := newBatchReader(conn, in.cfg.UDP.Batch)
	if err != nil {
		return err
	}
	l := &udpLoop{in: in, conn: conn, read: read, queue: newFairQueue(in.cfg.UDP, ob, take), drops: in.drops[conn], began: time.Now()}
	l.room = receiveBuffer(conn) / datagramBytes
	// A deadline ends the wait, whenever ctx does.
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = conn.SetReadDeadline(time.Now())
	})
	for ctx.Err() == nil {
		n := l.drain()
		l.queue.serve(serveTurn)
		if l.queue.empty() && n < drainTurn && ctx.Err() == nil {
			l.idle()
		}
	}
	<-woken
	l.finish()
	return nil
}

// finish takes what had come by now, as far as can be told: no more than the
// kernel's buffer holds.
func (l *udpLoop) finish() {
	_ = l.conn.SetReadDeadline(time.Time{})
	for left := max(4*l.room, drainTurn); left > 0; {
		n := l.drain()
		if n == 0 {
			break
		}
		left -= n
	}
	for !l.queue.empty() {
		l.queue.serve(serveTurn)
	}
	l.queue.settle()
	l.drops.poll()
}

// drain moves what the socket holds into the queue, and says how much it was.
func (l *udpLoop) drain() (total int) {
	for total < drainTurn {
		n, err := l.read.now()
		if err != nil {
			l.failed(err)
			return total
		}
		if n == 0 {
			return total
		}
		l.put(n)
		if total += n; n < l.read.size() {
			return total
		}
	}
	return total
}

func (l *udpLoop) put(n int) {
	l.count += n
	us := l.in.now().UnixMicro()
	for i := range n {
		b, remote := l.read.datagram(i)
		l.queue.put(b, remote, us)
	}
}

// idle waits for more to come. Where much comes it lets some gather first.
func (l *udpLoop) idle() {
	now := time.Now()
	if passed := now.Sub(l.began); passed >= rateWindow {
		l.rate = float64(l.count) / passed.Seconds()
		l.began, l.count = now, 0
	}
	if pause := l.pause(); pause > 0 {
		time.Sleep(pause)
		return
	}
	n, err := l.read.wait()
	if err != nil {
		l.failed(err)
		return
	}
	l.put(n)
}

// pause is how long datagrams may gather: not longer than the kernel's buffer
// has room for, by far.
func (l *udpLoop) pause() time.Duration {
	if l.rate < busyRate {
		return 0
	}
	return min(l.in.cfg.UDP.Pause, time.Duration(float64(l.room)/4/l.rate*float64(time.Second)))
}

func (l *udpLoop) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		return
	}
	// An ICMP error on an unconnected socket and the like: it lives on.
	l.in.log.Debug("cannot read a datagram", "address", l.conn.LocalAddr().String(), "error", err)
}
