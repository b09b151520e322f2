package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
)

var (
	rtcstatsServer = flag.String("rtcstats", "", "directory of rtcstats-server (its app.js and ../../config) to measure beside Earshot; empty: none")
	samples        = flag.Int("samples", 20_000, "getStats samples of each measurement")
)

// recordedReports are what a browser's getStats() gave, one per second.
func recordedReports(b testing.TB) (reports [][]byte) {
	for _, line := range lines(b, "testdata/webrtc/w1_clean.jsonl.gz") {
		var sample struct {
			Report json.RawMessage `json:"report"`
		}
		require.NoError(b, json.Unmarshal(line, &sample))
		if len(sample.Report) > 0 {
			reports = append(reports, sample.Report)
		}
	}
	return reports
}

// recordedMessages are what the rtcstats client sent over its WebSocket.
func recordedMessages(b testing.TB) (messages []string, protocol string) {
	for i, line := range lines(b, "ingest/rtcstats/testdata/rtcstats5.jsonl.gz") {
		var l struct{ Protocol, Message string }
		require.NoError(b, json.Unmarshal(line, &l))
		if i == 0 {
			protocol = l.Protocol
			continue
		}
		messages = append(messages, l.Message)
	}
	return messages, protocol
}

func lines(b testing.TB, name string) (all [][]byte) {
	f, err := os.Open(filepath.Join(apptest.Root(), name))
	require.NoError(b, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(b, err)
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, bytes.Clone(s.Bytes()))
	}
	require.NoError(b, s.Err())
	return all
}

// collector is rtcstats-server: it appends messages to a file per connection.
type collector struct {
	pid  int
	addr string
	work string
}

func startCollector(b testing.TB) *collector {
	c := &collector{addr: freePort(b), work: b.TempDir()}
	_, port, _ := strings.Cut(c.addr, ":")
	config, err := json.Marshal(map[string]any{"server": map[string]any{"httpPort": json.Number(port), "numberOfProcesses": 1, "obfuscateIpAddresses": false,
		"deleteAfterUpload": false, "workDirectory": filepath.Join(c.work, "work"), "uploadDirectory": filepath.Join(c.work, "upload")}})
	require.NoError(b, err)
	cmd := exec.Command("node", "app.js")
	cmd.Dir = *rtcstatsServer
	cmd.Env = append(os.Environ(), "NODE_CONFIG_DIR=../../config", "NODE_CONFIG="+string(config))
	require.NoError(b, cmd.Start())
	c.pid = cmd.Process.Pid
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	apptest.Eventually(b, 30*time.Second, "rtcstats-server is up", func() error {
		res, err := http.Get("http://" + c.addr + "/healthcheck")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return c
}

// pids are the primary and its worker.
func (c *collector) pids(b testing.TB) []int {
	pids := []int{c.pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.pid, c.pid))
	require.NoError(b, err)
	for _, child := range strings.Fields(string(children)) {
		var pid int
		_, err := fmt.Sscan(child, &pid)
		require.NoError(b, err)
		pids = append(pids, pid)
	}
	return pids
}

// stored is how many connections were stored whole.
func (c *collector) stored() int {
	files, _ := filepath.Glob(filepath.Join(c.work, "upload", "*"))
	return len(files)
}

// sockets sends messages over n connections, one after the other on each of a few at a time.
func sockets(b testing.TB, url func(i int) string, protocol string, n int, messages []string) {
	places := make(chan struct{}, 8)
	var all sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, url(i), &websocket.DialOptions{Subprotocols: []string{protocol}})
			if err != nil {
				b.Error(err)
				return
			}
			for _, m := range messages {
				if err := conn.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
					b.Error(err)
					break
				}
			}
			_ = conn.Close(websocket.StatusNormalClosure, "")
		})
	}
	all.Wait()
}

// BenchmarkGetStats sends what browsers send to Earshot, which decodes it and
// writes it to Kafka, and to rtcstats-server, which appends it to a file.
func BenchmarkGetStats(b *testing.B) {
	for range b.N {
		pin(b, os.Getpid(), 1)
		e := startEarshot(b, "--ingest.rtcstats.messages_per_second=1e9", "--ingest.rtcstats.messages_burst=1000000")
		pin(b, e.up.Run.PID, 0)
		pin(b, e.up.Run.Engines.Kafka.PID, 1)

		reports := recordedReports(b)
		messages, protocol := recordedMessages(b)
		whole := make([]string, 100)
		var wholeBytes int
		for i := range whole {
			report := reports[i%len(reports)]
			wholeBytes += len(report)
			whole[i] = fmt.Sprintf(`["getStats","PC_0",%s,1000]`, report)
		}
		isSample := func(m string) bool { return strings.HasPrefix(m, "[1,") || strings.HasPrefix(m, `["g"`) }
		perSession := 0
		for _, m := range messages {
			if isSample(m) {
				perSession++
			}
		}
		require.Positive(b, perSession)
		type row struct {
			what, who string
			n         int
			ns        float64
		}
		var rows []row
		took := func(what, who string, n int, pids []int, do func()) {
			before := cpu(b, pids)
			do()
			rows = append(rows, row{what, who, n, float64(cpu(b, pids)-before) / float64(n)})
			b.Logf("%-40s %-18s %8.0f ns", what, who, rows[len(rows)-1].ns)
		}
		earshotTook := func(what string, n int, do func()) {
			took(what, "Earshot", n, e.pids(), func() {
				before := e.counts(b)
				profiled := make(chan error, 1)
				go func() {
					profiled <- benchmarks.Profile(e.up.Run.Admin, "profile?seconds=3", numberedFile(*profile, len(rows)))
				}()
				do()
				require.NoError(b, <-profiled)
				apptest.Eventually(b, time.Minute, "Kafka has every sample", func() error {
					c := e.counts(b).minus(before)
					if c.kept < float64(n) {
						return fmt.Errorf("%+v of %d", c, n)
					}
					return nil
				})
			})
		}
		size := wholeBytes / len(whole)
		name := fmt.Sprintf("whole report, %d kB", size>>10)
		earshotTook(name+", POST of 10", *samples, func() { post(b, e, reports, *samples) })
		n := *samples / len(whole)
		key := "rtcstats-token=" + e.up.Key
		earshotTook(name+", WebSocket", n*len(whole), func() {
			sockets(b, func(i int) string { return fmt.Sprintf("ws://%s/ingest/v1/rtcstats/whole-%d?%s", e.up.Run.API, i, key) }, protocol, n, whole)
		})
		sessions := *samples / perSession
		changes := fmt.Sprintf("rtcstats 5, changes only, %d B", total(messages)/len(messages))
		earshotTook(changes, sessions*perSession, func() {
			sockets(b, func(i int) string {
				return fmt.Sprintf("ws://%s/ingest/v1/rtcstats/changes-%d?%s", e.up.Run.API, i, key)
			}, protocol, sessions, messages)
		})
		if *rtcstatsServer != "" {
			c := startCollector(b)
			pids := c.pids(b)
			for _, pid := range pids {
				pin(b, pid, 0)
			}
			stored := func(what string, connections, n int, messages []string) {
				took(what, "rtcstats-server", n, pids, func() {
					before := c.stored()
					sockets(b, func(int) string { return "ws://" + c.addr + "/" }, protocol, connections, messages)
					apptest.Eventually(b, time.Minute, "every connection is stored", func() error {
						if got := c.stored() - before; got < connections {
							return fmt.Errorf("%d of %d", got, connections)
						}
						return nil
					})
				})
			}
			stored(name+", WebSocket", n, n*len(whole), whole)
			stored(changes, sessions, sessions*perSession, messages)
		}
		var table strings.Builder
		base := map[string]float64{}
		for _, r := range rows {
			if r.who != "Earshot" {
				base[r.what] = r.ns
			}
		}
		base[name+", POST of 10"] = base[name+", WebSocket"] // the peer takes no POST
		for _, r := range rows {
			ratio := ""
			if base[r.what] > 0 && r.who == "Earshot" {
				ratio = fmt.Sprintf("%.2f ×", r.ns/base[r.what])
			}
			fmt.Fprintf(&table, "| %s | %s | %.1f | %s |\n", r.what, r.who, r.ns/1000, ratio)
		}
		body := fmt.Sprintf(`What browsers send about a call, %d samples each, over 8 connections at a time; receiver on one core, generator and Kafka broker on the other.
Earshot decodes every sample, finds its call and writes to Kafka (acknowledged); rtcstats-server appends the text to a file and copies
that file when the connection ends. CPU is of the receiver's processes. The peer has no POST of samples: that row stands against its WebSocket.

| traffic | receiver | CPU µs per sample | against rtcstats-server |
|---|---|---|---|
%s`, *samples, table.String())
		b.Log("\n" + body)
		require.NoError(b, benchmarks.Write("GETSTATS.md", "Ingest: CPU per getStats sample, from socket to Kafka", "make bench", body))
	}
}

// numberedFile is the file of one row's profile; empty where none is asked for.
func numberedFile(name string, row int) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s.%d", name, row)
}

func total(messages []string) (n int) {
	for _, m := range messages {
		n += len(m)
	}
	return n
}

// post sends n samples as ten to a body.
func post(b testing.TB, e *earshot, reports [][]byte, n int) {
	const batch = 10
	// As browsers do, each sender stays with its connection.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			var body bytes.Buffer
			for i := range jobs {
				body.Reset()
				for k := range batch {
					at := time.Now().Add(time.Duration(k) * time.Millisecond).UTC().Format(time.RFC3339Nano)
					fmt.Fprintf(&body, `{"call_id":"post-%d","leg_id":"a","user_id":"alice","endpoint":"web","at":"%s","stats":%s}`+"\n", i%100, at, reports[(i*batch+k)%len(reports)])
				}
				req, err := http.NewRequest(http.MethodPost, e.up.URL+"/ingest/v1/webrtc", bytes.NewReader(body.Bytes()))
				if err != nil {
					b.Error(err)
					continue
				}
				req.Header.Set("Authorization", "Bearer "+e.up.Key)
				req.Header.Set("Content-Type", "application/x-ndjson")
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					continue
				}
				if res.StatusCode != http.StatusAccepted {
					b.Errorf("POST: %s", res.Status)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	for i := range n / batch {
		jobs <- i
	}
	close(jobs)
	workers.Wait()
}
