package ingest

import (
	"encoding/binary"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// dropsMessage is the control message that comes with a datagram.
func dropsMessage(total uint32) []byte {
	b := make([]byte, syscall.CmsgSpace(4))
	header := syscall.Cmsghdr{Level: syscall.SOL_SOCKET, Type: soRxqOvfl}
	header.SetLen(syscall.CmsgLen(4))
	at := syscall.CmsgLen(0) - 8 // level and type stand at the end of the header
	if syscall.SizeofCmsghdr == 16 {
		binary.NativeEndian.PutUint64(b, header.Len)
	}
	binary.NativeEndian.PutUint32(b[at:], uint32(header.Level))
	binary.NativeEndian.PutUint32(b[at+4:], uint32(header.Type))
	binary.NativeEndian.PutUint32(b[syscall.CmsgLen(0):], total)
	return b
}

func TestKernelDropsAreCounted(t *testing.T) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", Help: "x"})
	drops := kernelDrops{counter: counter, last: math.MaxUint32 - 1}
	for _, total := range []uint32{math.MaxUint32, math.MaxUint32, 2, 7} { // over the wrap
		drops.see(dropsMessage(total))
	}
	drops.see(nil)
	drops.see([]byte("nonsense"))
	var m dto.Metric
	if err := counter.Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetCounter().GetValue(); got != 9 {
		t.Errorf("%v drops counted, want 9", got)
	}
}

// The kernel really says so: a socket that nobody reads overflows.
func TestKernelReportsDrops(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := setReceiveBuffer(conn, 4096); err != nil {
		t.Fatal(err)
	}
	if err := reportKernelDrops(conn); err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	payload := make([]byte, 1000)
	const sent = 200
	for range sent {
		if _, err := out.Write(payload); err != nil {
			t.Fatal(err)
		}
	}
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", Help: "x"})
	drops := kernelDrops{counter: counter}
	b, oob := make([]byte, 2000), make([]byte, 256)
	received := 0
	read := func() error {
		_, n, _, _, err := conn.ReadMsgUDPAddrPort(b, oob)
		if err == nil {
			received++
			drops.see(oob[:n])
		}
		return err
	}
	// What is in the buffer is there already: nothing more comes on loopback.
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for read() == nil {
	}
	// The count comes with the next datagram that finds room.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	var m dto.Metric
	if err := counter.Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetCounter().GetValue(); got == 0 || int(got)+received != sent+1 {
		t.Errorf("%d received, %v counted as dropped, %d sent", received, got, sent+1)
	}
}
