package ingest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/earshot/earshot/benchmarks"
)

// traffic is a list of packets made before the clock runs.
type traffic struct {
	arena []byte
	ends  []int
	// dated is whether the packets are HEP 3 with a capture time, which is set
	// when a packet is sent.
	dated bool
}

func (t *traffic) add(b []byte) {
	t.arena = append(t.arena, b...)
	t.ends = append(t.ends, len(t.arena))
}

func (t *traffic) packet(i int) []byte {
	i %= len(t.ends)
	if i == 0 {
		return t.arena[:t.ends[0]]
	}
	return t.arena[t.ends[i-1]:t.ends[i]]
}

// stamp sets the capture time of a HEP 3 packet: its chunks 0x09 and 0x0a stand
// where hep.Append puts them.
func stamp(packet []byte, at time.Time) {
	for i := 6; i+6 <= len(packet); {
		size := int(binary.BigEndian.Uint16(packet[i+4:]))
		switch binary.BigEndian.Uint16(packet[i+2:]) {
		case 0x09:
			binary.BigEndian.PutUint32(packet[i+6:], uint32(at.Unix()))
		case 0x0a:
			binary.BigEndian.PutUint32(packet[i+6:], uint32(at.Nanosecond()/1000))
			return
		}
		i += size
	}
}

// split cuts what a Call appended into packets, by the length in their headers.
func (t *traffic) split(b []byte) {
	for len(b) > 0 {
		n := int(binary.BigEndian.Uint16(b[4:]))
		t.add(b[:n])
		b = b[n:]
	}
}

// sipTraffic is whole dialogs, interleaved as they are in a network: INVITE, 200, ACK, BYE, 200.
func sipTraffic(run string, calls int) *traffic {
	t, now := &traffic{dated: true}, time.Now()
	for i := range calls {
		c := benchmarks.NewCall(run, i)
		t.split(c.HangUp(c.SetUp(nil, now), now))
	}
	return t
}

// rtcpTraffic is reports of calls whose set-up is given beside it.
func rtcpTraffic(run string, calls, reports int) (setUp, t *traffic) {
	setUp, t = &traffic{dated: true}, &traffic{dated: true}
	now := time.Now()
	all := make([]*benchmarks.Call, calls)
	for i := range all {
		all[i] = benchmarks.NewCall(run, i)
		setUp.split(all[i].SetUp(nil, now))
	}
	for range reports {
		for _, c := range all {
			t.split(c.Report(nil, now))
		}
	}
	return setUp, t
}

// mixedTraffic is the load model: eight reports to one message of signalling.
func mixedTraffic(run string, calls int) *traffic {
	t, now := &traffic{dated: true}, time.Now()
	for i := range calls {
		c := benchmarks.NewCall(run, i)
		b := c.SetUp(nil, now)
		for range 20 {
			b = c.Report(b, now)
		}
		t.split(c.HangUp(b, now))
	}
	return t
}

// plainRTCP is compound packets as phones send them: SR with one block and SDES.
func plainRTCP(ssrcs int) *traffic {
	t := &traffic{}
	for i := range ssrcs {
		b, err := rtcp.Marshal([]rtcp.Packet{
			&rtcp.SenderReport{SSRC: uint32(2*i + 1), NTPTime: 0xdda3c5a800000000 + uint64(i), RTPTime: 160, PacketCount: 250, OctetCount: 40000,
				Reports: []rtcp.ReceptionReport{{SSRC: uint32(2*i + 2), LastSequenceNumber: 250, Jitter: 12, LastSenderReport: 0xc5a80000, Delay: 65536}}},
			rtcp.NewCNAMESourceDescription(uint32(2*i+1), "phone@bench.example"),
		})
		if err != nil {
			panic(err) // fixed values
		}
		t.add(b)
	}
	return t
}

// sender sends datagrams in batches from several addresses, at a steady rate.
type sender struct {
	conns []*ipv4.PacketConn
	addrs []netip.AddrPort
}

func newSender(b testing.TB, to string, sources int) *sender {
	s := &sender{}
	for range sources {
		conn, err := net.Dial("udp4", to)
		require.NoError(b, err)
		b.Cleanup(func() { conn.Close() })
		require.NoError(b, conn.(*net.UDPConn).SetWriteBuffer(4<<20))
		s.conns = append(s.conns, ipv4.NewPacketConn(conn.(net.PacketConn)))
		s.addrs = append(s.addrs, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return s
}

// run sends n packets of t at a rate per second, and gives how long it took.
func (s *sender) run(b testing.TB, t *traffic, n int, rate float64) time.Duration {
	const batch = 32
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = make([][]byte, 1)
	}
	start := time.Now()
	for sent, source := 0, 0; sent < n; source++ {
		if due := time.Duration(float64(sent) / rate * float64(time.Second)); time.Since(start) < due {
			time.Sleep(due - time.Since(start))
		}
		now := time.Now()
		size := min(batch, n-sent)
		for i := range size {
			packet := t.packet(sent + i)
			if t.dated {
				stamp(packet, now)
			}
			messages[i].Buffers[0] = packet
		}
		for done := 0; done < size; {
			k, err := s.conns[source%len(s.conns)].WriteBatch(messages[done:size], 0)
			require.NoError(b, err)
			done += k
		}
		sent += size
	}
	return time.Since(start)
}

// stream sends n packets of t over several TCP connections as fast as they are taken.
func stream(b testing.TB, to string, t *traffic, n, connections int) time.Duration {
	start := time.Now()
	results := make(chan error, connections)
	for c := range connections {
		go func() {
			results <- func() error {
				conn, err := net.Dial("tcp4", to)
				if err != nil {
					return err
				}
				defer conn.Close()
				buf := make([]byte, 0, 96<<10)
				for i := c; i < n; i += connections {
					at := len(buf)
					buf = append(buf, t.packet(i)...)
					stamp(buf[at:], time.Now())
					if len(buf) >= 64<<10 {
						if _, err := conn.Write(buf); err != nil {
							return err
						}
						buf = buf[:0]
					}
				}
				_, err = conn.Write(buf)
				return err
			}()
		}()
	}
	for range connections {
		require.NoError(b, <-results)
	}
	return time.Since(start)
}

// pin keeps a process on one core: a figure per core needs one, and the
// generator should not be what is measured.
func pin(b testing.TB, pid, core int) {
	var set unix.CPUSet
	set.Set(core % runtime.NumCPU())
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	require.NoError(b, err)
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		require.NoError(b, err)
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			require.NoError(b, err)
		}
	}
}

// kernelDrops is what /proc says that a UDP port lost.
func kernelDrops(b testing.TB, port int) (drops uint64) {
	text, err := os.ReadFile("/proc/net/udp")
	require.NoError(b, err)
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 13 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		n, err := strconv.ParseUint(fields[12], 10, 64)
		require.NoError(b, err)
		drops += n
	}
	return drops
}
