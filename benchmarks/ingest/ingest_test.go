// Package ingest measures what a packet costs on its way from the socket to
// Kafka, beside other receivers and a receiver that does nothing, and whether
// every packet is accounted for.
package ingest

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
)

var (
	rate     = flag.Float64("rate", 120_000, "packets per second over UDP")
	seconds  = flag.Float64("seconds", 8, "length of each measurement over UDP")
	flatOut  = flag.Int("tcp", 1_500_000, "packets over TCP, flat out")
	profile  = flag.String("profile", "", "file for a CPU profile of Earshot during the row of -profiled; with a number behind it, of each row of getStats")
	profiled = flag.String("profiled", "1 SIP (UDP)", "part of the name of the row to profile")
	only     = flag.String("only", "", "measure only rows with this in their name; nothing is written then")
)

// figure is one measurement.
type figure struct {
	subject, kind string
	sent          int
	counts
	drops  uint64 // by the kernel, as /proc says
	perNs  float64
	broker float64
	rate   float64
}

func (f figure) lost() float64 { return float64(f.sent) - f.kept }

// uncounted is what neither arrived nor is in any counter of the receiver.
func (f figure) uncounted() float64 { return float64(f.sent) - f.received - f.kernel }

// BenchmarkIngest measures each kind of traffic on each receiver.
func BenchmarkIngest(b *testing.B) {
	for range b.N {
		pin(b, os.Getpid(), 1)
		run := strconv.FormatInt(time.Now().UnixNano(), 36)
		setUp, reports := rtcpTraffic(run, 20_000, 5)
		kinds := []struct {
			name, listener string
			before, t      *traffic
		}{
			{"HEP, SIP (UDP)", "hep_udp", nil, sipTraffic(run, 100_000)},
			{"HEP, RTCP as JSON (UDP)", "hep_udp", setUp, reports},
			{"HEP, 8 RTCP : 1 SIP (UDP)", "hep_udp", nil, mixedTraffic(run, 10_000)},
			{"plain RTCP (UDP)", "rtcp_udp", nil, plainRTCP(10_000)},
			{"HEP, SIP (TCP, flat out)", "hep_tcp", nil, sipTraffic(run, 100_000)},
			{"HEP, 8 RTCP : 1 SIP (TCP, flat out)", "hep_tcp", nil, mixedTraffic(run, 10_000)},
		}
		e := startEarshot(b)
		subjects := []subject{e}
		if *heplify != "" {
			subjects = append(subjects, startHeplify(b))
		}
		subjects = append(subjects, startBare(b, "one by one"), startBare(b, "recvmmsg"))
		for _, s := range subjects {
			for _, pid := range s.pids() {
				pin(b, pid, 0)
			}
		}
		pin(b, e.up.Run.Engines.Kafka.PID, 1)
		var figures []figure
		for _, kind := range kinds {
			if !strings.Contains(kind.name, *only) {
				continue
			}
			for _, s := range subjects {
				if s.addr(kind.listener) == "" {
					continue
				}
				done := make(chan error, 1)
				if s == subject(e) && strings.Contains(kind.name, *profiled) {
					go func() { done <- benchmarks.Profile(e.up.Run.Admin, "profile?seconds=6", *profile) }()
				} else {
					done <- nil
				}
				f := measure(b, s, kind.name, kind.listener, kind.before, kind.t, e.up.Run.Engines.Kafka.PID)
				require.NoError(b, <-done)
				b.Logf("%-36s %-26s %7.0f ns, %6.0f/s, lost %.0f of %d (uncounted %.0f, kernel %d, dropped later %.0f), broker %.0f ns",
					f.kind, f.subject, f.perNs, f.rate, f.lost(), f.sent, f.uncounted(), f.drops, f.dropped, f.broker)
				if s == subject(e) {
					require.Zero(b, f.uncounted(), "every packet is received or counted as dropped by the kernel")
					require.Equal(b, f.received, f.kept+f.rejected+f.dropped+f.waiting, "received = produced + rejected + dropped + waiting")
				}
				figures = append(figures, f)
			}
		}
		if *only == "" {
			report(b, figures)
		}
	}
}

func measure(b testing.TB, s subject, kind, listener string, before, t *traffic, broker int) figure {
	to := s.addr(listener)
	_, portText, err := net.SplitHostPort(to)
	require.NoError(b, err)
	port, err := strconv.Atoi(portText)
	require.NoError(b, err)
	if tcp := s.addr("hep_tcp"); before != nil && tcp != "" {
		n := s.counts(b)
		stream(b, tcp, before, len(before.ends), 1) // what waits for a set-up that got lost is in no count
		settle(b, s, n, len(before.ends))
	}
	start, drops, used, brokerUsed := s.counts(b), kernelDrops(b, port), cpu(b, s.pids()), cpu(b, []int{broker})
	var took time.Duration
	n := *flatOut
	if strings.HasSuffix(listener, "_tcp") {
		took = stream(b, to, t, n, 4)
	} else {
		n = int(*rate * *seconds)
		took = newSender(b, to, 4).run(b, t, n, *rate)
	}
	end := settle(b, s, start, n)
	f := figure{subject: s.name(), kind: kind, sent: n, counts: end.minus(start), rate: float64(n) / took.Seconds()}
	if !strings.HasSuffix(listener, "_tcp") {
		f.drops = kernelDrops(b, port) - drops
	}
	// What was lost cost nothing: the figure is per packet that arrived.
	f.perNs = float64(cpu(b, s.pids())-used) / max(f.received, 1)
	f.broker = float64(cpu(b, []int{broker})-brokerUsed) / max(f.received, 1)
	return f
}

// settle waits until the receiver has everything or nothing more comes.
func settle(b testing.TB, s subject, start counts, n int) counts {
	last, still := counts{}, 0
	for {
		time.Sleep(100 * time.Millisecond)
		now := s.counts(b)
		done := now.minus(start)
		if done.received+done.kernel >= float64(n) && done.kept+done.rejected+done.dropped >= done.received {
			return now
		}
		if now != last {
			last, still = now, 0
		} else if still++; still >= 30 {
			return now
		}
	}
}

func report(b testing.TB, figures []figure) {
	var rows strings.Builder
	base := map[string]float64{}
	for _, f := range figures {
		if f.subject == "heplify-server" {
			base[f.kind] = f.perNs
		}
	}
	for _, f := range figures {
		ratio := ""
		if base[f.kind] > 0 {
			ratio = fmt.Sprintf("%.2f ×", f.perNs/base[f.kind])
		}
		fmt.Fprintf(&rows, "| %s | %s | %.0f | %s | %.0f | %.2f %% | %.0f |\n", f.kind, f.subject, f.perNs, ratio, f.rate, 100*f.lost()/float64(f.sent), f.uncounted())
		if f.subject == "Earshot" {
			fmt.Fprintf(&rows, "| | its Kafka broker, beside it | %.0f | | | | |\n", f.broker)
		}
	}
	body := fmt.Sprintf(`Receiver on one core, generator and Kafka broker on the other. UDP at %.0f packets/s for %.0f s from 4 addresses, TCP flat out over 4 connections.
Earshot parses, correlates and writes to Kafka (embedded broker, all replicas acknowledge); heplify-server parses and counts for its Prometheus
page, without a database; the bare receiver reads datagrams and forgets them. CPU is user and system time of the receiver's process per packet
that it received. *Uncounted* is what was sent and stands in no counter of the receiver.

| traffic | receiver | CPU ns per packet | against heplify-server | packets/s sent | lost | uncounted |
|---|---|---|---|---|---|---|
%s
The sums of Earshot agree to the packet in every row: sent = received + dropped by the kernel, received = produced + rejected + dropped.
`, *rate, *seconds, rows.String())
	b.Log("\n" + body)
	require.NoError(b, benchmarks.Write("RESULT.md", "Ingest: CPU per packet, from socket to Kafka", "make bench", body))
}
