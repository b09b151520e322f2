package ingest

import (
	"math"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func counted(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

func TestKernelDropsWrap(t *testing.T) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", Help: "x"})
	drops := kernelDrops{counter: counter, last: math.MaxUint32 - 1}
	for _, total := range []uint32{math.MaxUint32, math.MaxUint32, 2, 7} {
		drops.count(total)
	}
	if got := counted(t, counter); got != 9 {
		t.Errorf("%v drops counted, want 9", got)
	}
}

// A socket that nobody reads overflows, and the kernel says how much is lost
// without anything coming after.
func TestKernelReportsDrops(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := setReceiveBuffer(conn, 4096); err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const sent = 200
	for range sent {
		if _, err := out.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", Help: "x"})
	drops := kernelDrops{conn: conn, counter: counter}
	if err := drops.read(); err != nil {
		t.Fatal(err)
	}
	read, err := newBatchReader(conn, 16)
	if err != nil {
		t.Fatal(err)
	}
	received := 0
	for {
		n, err := read.now()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for i := range n {
			if b, remote := read.datagram(i); len(b) != 1000 || remote != addrPort(out.LocalAddr()) {
				t.Fatalf("%d bytes from %s", len(b), remote)
			}
		}
		received += n
	}
	if got := counted(t, counter); got == 0 || got+received != sent {
		t.Errorf("%d received, %d counted as dropped, %d sent", received, got, sent)
	}
	// A datagram of any size, IPv6 or not; the wait ends with the deadline.
	if _, err := out.Write(make([]byte, 65_000)); err == nil {
		n, err := read.wait()
		b, _ := read.datagram(0)
		if n != 1 || err != nil || len(b) != 65_000 && len(b) != 0 {
			t.Errorf("%d datagrams, %d bytes, %v", n, len(b), err)
		}
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := read.wait(); n != 0 || err == nil {
		t.Errorf("%d datagrams, %v", n, err)
	}
}

func TestBatchReaderIPv6(t *testing.T) {
	for _, at := range []string{"[::1]:0", "[::]:0", "127.0.0.1:0"} {
		conn, err := listenUDP("x", at, 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		to := conn.LocalAddr().(*net.UDPAddr)
		if to.IP.IsUnspecified() {
			to.IP = net.IPv4(127, 0, 0, 1)
		}
		out, err := net.DialUDP("udp", nil, to)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := out.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		read, err := newBatchReader(conn, 4)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := read.wait(); n != 1 || err != nil {
			t.Fatalf("%d datagrams, %v", n, err)
		}
		if b, remote := read.datagram(0); string(b) != "hello" || remote != addrPort(out.LocalAddr()) {
			t.Errorf("%q from %s, want %s", b, remote, out.LocalAddr())
		}
	}
}
