package ingest

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
)

var heplify = flag.String("heplify", "", "a heplify-server program to measure beside Earshot; empty: none")

// subject is a receiver under measurement.
type subject interface {
	name() string
	// pids are the processes whose CPU time counts.
	pids() []int
	addr(kind string) string // of hep_udp, hep_tcp, rtcp_udp; empty: not taken
	// counts are the packets it says it has taken and kept, by its own metrics.
	counts(b testing.TB) counts
}

// waiting is RTCP whose set-up was lost: it waits its time.
type counts struct{ received, kept, rejected, dropped, kernel, waiting float64 }

func (c counts) minus(o counts) counts {
	return counts{c.received - o.received, c.kept - o.kept, c.rejected - o.rejected, c.dropped - o.dropped, c.kernel - o.kernel, c.waiting - o.waiting}
}

// metrics sums the samples of a Prometheus page by family.
func metrics(b testing.TB, url string) map[string]float64 {
	res, err := http.Get(url)
	require.NoError(b, err)
	defer res.Body.Close()
	sums := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		require.NoError(b, err)
		family, _, _ := strings.Cut(line[:cut], "{")
		sums[family] += value
	}
	return sums
}

// earshot is the ingest role with its broker; no processor reads what it
// produces. The API is there to say when it is ready, the sink for the schema.
type earshot struct{ up *apptest.Up }

func startEarshot(b testing.TB, flags ...string) *earshot {
	return &earshot{apptest.StartUp(b, append([]string{"--roles=sink,ingest,api", "--log.level=warn"}, flags...)...)}
}

func (e *earshot) name() string { return "Earshot" }
func (e *earshot) pids() []int  { return []int{e.up.Run.PID} }
func (e *earshot) addr(kind string) string {
	return e.up.Run.Ingest[map[string]string{"hep_udp": "hep", "hep_tcp": "hep", "rtcp_udp": "rtcp"}[kind]]
}

func (e *earshot) counts(b testing.TB) counts {
	m := metrics(b, "http://"+e.up.Run.Admin+"/metrics")
	return counts{m["earshot_ingest_received_total"], m["earshot_ingest_produced_total"], m["earshot_ingest_rejected_total"],
		m["earshot_ingest_dropped_total"], m["earshot_ingest_kernel_dropped_total"], m["earshot_ingest_waiting_records"]}
}

// peer is heplify-server with its Prometheus output and nothing else.
type peer struct {
	pid           int
	udp, tcp, web string
}

func startHeplify(b testing.TB) *peer {
	p := &peer{udp: freePort(b), tcp: freePort(b), web: freePort(b)}
	dir := b.TempDir()
	cmd := exec.Command(*heplify, "-hepaddr", p.udp, "-heptcpaddr", p.tcp, "-promaddr", p.web, "-dbaddr", "", "-loglvl", "error")
	cmd.Dir = dir
	require.NoError(b, cmd.Start())
	p.pid = cmd.Process.Pid
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	apptest.Eventually(b, 30*time.Second, "heplify-server is up", func() error {
		res, err := http.Get("http://" + p.web + "/metrics")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return p
}

func freePort(b testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	return l.Addr().String()
}

func (p *peer) name() string { return "heplify-server" }
func (p *peer) pids() []int  { return []int{p.pid} }
func (p *peer) addr(kind string) string {
	return map[string]string{"hep_udp": p.udp, "hep_tcp": p.tcp}[kind]
}

func (p *peer) counts(b testing.TB) counts {
	m := metrics(b, "http://"+p.web+"/metrics")
	n := m["heplify_packets_total"]
	return counts{received: n, kept: n}
}

// bare is this program again, as nothing but a receiver: the ceiling.
type bare struct {
	pid   int
	mode  string
	udp   string
	total string
}

const bareEnv = "EARSHOT_BENCH_BARE"

func startBare(b testing.TB, mode string) *bare {
	r := &bare{mode: mode, udp: freePort(b), total: freePort(b)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bareEnv+"="+strings.Join([]string{mode, r.udp, r.total}, "|"))
	cmd.Stderr = os.Stderr
	require.NoError(b, cmd.Start())
	r.pid = cmd.Process.Pid
	b.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	apptest.Eventually(b, 10*time.Second, "the bare receiver is up", func() error {
		res, err := http.Get("http://" + r.total)
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return r
}

func (r *bare) name() string { return "bare receive, " + r.mode }
func (r *bare) pids() []int  { return []int{r.pid} }
func (r *bare) addr(kind string) string {
	return map[string]string{"hep_udp": r.udp, "rtcp_udp": r.udp}[kind]
}
func (r *bare) counts(b testing.TB) counts {
	n := metrics(b, "http://"+r.total)["received"]
	return counts{received: n, kept: n}
}

// TestMain is the bare receiver where the environment asks for it.
func TestMain(m *testing.M) {
	if args := strings.Split(os.Getenv(bareEnv), "|"); len(args) == 3 {
		if err := receive(args[0], args[1], args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func receive(mode, udp, total string) error {
	var received atomic.Int64
	go http.ListenAndServe(total, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "received %d\n", received.Load())
	}))
	config := net.ListenConfig{}
	conn, err := config.ListenPacket(context.Background(), "udp4", udp)
	if err != nil {
		return err
	}
	u := conn.(*net.UDPConn)
	if err := u.SetReadBuffer(4 << 20); err != nil {
		return err
	}
	if mode == "recvmmsg" {
		p := ipv4.NewPacketConn(u)
		messages := make([]ipv4.Message, 64)
		for i := range messages {
			messages[i].Buffers = [][]byte{make([]byte, 8192)}
		}
		for {
			n, err := p.ReadBatch(messages, 0)
			if err != nil {
				return err
			}
			received.Add(int64(n))
		}
	}
	buf := make([]byte, 65536)
	for {
		if _, _, err := u.ReadFromUDPAddrPort(buf); err != nil {
			return err
		}
		received.Add(1)
	}
}

func cpu(b testing.TB, pids []int) (sum time.Duration) {
	for _, pid := range pids {
		one, err := benchmarks.CPU(pid)
		require.NoError(b, err)
		sum += one
	}
	return sum
}
