package verdicts

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/ingest/rtcp"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// asFiles is the company of what comes as files, so that what comes live under
// the same Call-IDs is another call.
const asFiles, live = "files", "default"

const (
	overHEP   = "capture / HEP"
	overRTCP  = "capture / RTCP alone"
	overHTTP  = "getStats file / posted live"
	twoKinds  = "RTCP / getStats"
	tapNumber = 1000 // HEP agent of the first call; each has its own, as a capture of its own has
)

// The same telemetry comes as a capture, over HEP, as RTCP alone, as getStats in a
// file, as getStats posted live, and all of a call's witnesses at once. What the
// witnesses saw is the same, and so are the verdicts.
func TestEveryWayInGivesTheSameVerdict(t *testing.T) {
	set, err := Recordings(folder)
	require.NoError(t, err)
	u := apptest.StartUp(t, "--log.level=warn", "--config", tenancyFile(t))
	require.NoError(t, u.Do("POST", "/api/v1/companies", "application/json", []byte(`{"id":"`+asFiles+`","name":"As files"}`), nil))
	var plays []*play
	var files []string
	var talking sync.WaitGroup
	for _, r := range set {
		p := newPlay(t, r)
		plays = append(plays, p)
		files = append(files, p.files()...)
		talking.Go(func() { p.sendRTCP(t, u.Run.Ingest["rtcp"]) })
		talking.Go(func() { p.postStats(t, u) })
	}
	all := newAtOnce(t, u, plays)
	talking.Go(func() { all.send(t, u) })
	calls := importInto(t, u, asFiles, files...)
	sendHEP(t, u.Run.Ingest["hep"], plays)
	var agreement Agreement
	for _, p := range plays {
		p.read(t, u, calls)
		if p.wire == nil {
			continue
		}
		agreement.Identical(p.name(), overHEP, &p.wire.Call.Verdict, &finalCall(t, u, p.wire.Call.ID).Verdict)
		if p.stats != nil {
			agreement.Compatible(&p.recording.Truth, twoKinds, p.wire, p.stats, false, p.apart())
		}
	}
	talking.Wait()
	until := time.Now().Add(20 * time.Second)
	for _, p := range plays {
		if alone := p.alone(t, u, until); alone != nil {
			agreement.Compatible(&p.recording.Truth, overRTCP, p.wire, alone, swapped(p.wire, alone), p.late()+p.apart())
		}
		if p.stats != nil {
			agreement.Identical(p.name(), overHTTP, &p.stats.Call.Verdict, p.postedVerdict(t, u))
		}
	}
	for _, j := range all.calls {
		j.judge(t, u, &agreement)
	}
	all.holdsNoOther(t, u)
	report(t, "AGREEMENT.md", "The same calls by every way in", agreement.String())
	for _, contradiction := range agreement.Contradictions {
		t.Error(contradiction)
	}
}

// play is a recording that is sent by several ways.
type play struct {
	recording Recording
	datagrams []pcap.Datagram // SIP and RTCP
	wireFile  string          // with nothing else in it
	statsFile string
	lines     []statsLine
	shift     time.Duration // from the recording to what was posted live
	addresses []netip.AddrPort
	listener  netip.AddrPort
	lateMs    []float64 // how much later than in the recording each report was sent
	wire      *Heard
	stats     *Heard
}

func (p *play) name() string { return p.recording.Truth.Name }

func newPlay(t *testing.T, r Recording) *play {
	t.Helper()
	p := &play{recording: r}
	dir := t.TempDir()
	if r.Wire != "" {
		p.datagrams = signallingAndRTCP(t, r.Wire)
		p.wireFile = filepath.Join(dir, "wire.pcap")
		writeCapture(t, p.wireFile, p.datagrams)
	}
	if r.Stats != "" {
		p.statsFile = filepath.Join(dir, statsCall(r)+".jsonl.gz")
		copyFile(t, r.Stats, p.statsFile)
		p.lines = readStats(t, r.Stats)
	}
	return p
}

func (p *play) files() (all []string) {
	for _, file := range []string{p.wireFile, p.statsFile} {
		if file != "" {
			all = append(all, file)
		}
	}
	return all
}

// read takes what Earshot says of the files.
func (p *play) read(t *testing.T, u *apptest.Up, calls map[string][]string) {
	t.Helper()
	for file, into := range map[string]**Heard{p.wireFile: &p.wire, p.statsFile: &p.stats} {
		if id := theCall(calls[file]); id != "" {
			h := heard(t, u, asFiles, id)
			*into = &h
		}
	}
}

// signallingAndRTCP reads a capture's messages and reports: what HEP carries.
func signallingAndRTCP(t *testing.T, file string) (all []pcap.Datagram) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	rd, err := pcap.Open(z)
	require.NoError(t, err)
	type way struct{ src, dst netip.AddrPort }
	framers := map[way]*sip.Framer{}
	for {
		d, err := rd.Next()
		if err != nil {
			return all
		}
		if d.Transport != "tcp" {
			if sip.IsSIP(d.Payload) || rtcp.IsRTCP(d.Payload) && !d.Truncated {
				all = append(all, d)
			}
			continue
		}
		framer := framers[way{d.Src, d.Dst}]
		if framer == nil {
			framer = &sip.Framer{}
			framers[way{d.Src, d.Dst}] = framer
		}
		framer.Push(d.Payload)
		for {
			message, err := framer.Next()
			if message == nil && err == nil {
				break
			}
			if message != nil {
				one := d
				one.Payload = bytes.Clone(message)
				all = append(all, one)
			}
		}
	}
}

// sendHEP sends every capture with its own times: a replay, each by its own agent.
func sendHEP(t *testing.T, addr string, plays []*play) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	out := bufio.NewWriter(conn)
	for i, p := range plays {
		for _, d := range p.datagrams {
			packet := hep.Packet{Version: 3, Family: hep.FamilyIPv4, Protocol: hep.ProtocolUDP, Src: d.Src, Dst: d.Dst, Time: d.At,
				AgentID: uint32(tapNumber + i), PayloadType: hep.TypeSIP, Payload: d.Payload}
			if !sip.IsSIP(d.Payload) {
				packet.PayloadType = hep.TypeRTCP
			}
			_, err := out.Write(hep.Append(nil, &packet))
			require.NoError(t, err)
		}
	}
	require.NoError(t, out.Flush())
}

// finalCall waits for the final verdict of a call that comes live.
func finalCall(t *testing.T, u *apptest.Up, id string) *query.Call {
	t.Helper()
	var call query.Call
	apptest.Eventually(t, time.Minute, "the final verdict of "+id, func() error {
		if err := u.Get("/api/v1/companies/"+live+"/calls/"+url.PathEscape(id), &call); err != nil {
			return err
		}
		if !call.Verdict.Final {
			return fmt.Errorf("state %s, verdict not final", call.State)
		}
		return nil
	})
	return &call
}

// sendRTCP sends each party's reports from a socket of its own at the pace of
// the call, as phones do that are told to send a copy to a monitor.
func (p *play) sendRTCP(t *testing.T, addr string) {
	if caller(p.datagrams) == nil {
		return // a server between them reports too: without signalling nobody knows which part of the way is whose
	}
	start := time.Now()
	sockets := map[netip.AddrPort]net.Conn{}
	for _, d := range p.datagrams {
		if sip.IsSIP(d.Payload) {
			continue
		}
		conn := sockets[d.Src]
		if conn == nil {
			// Each party is a host of its own.
			dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(1+len(sockets)))}}
			var err error
			if conn, err = dialer.Dial("udp", addr); err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			sockets[d.Src] = conn
			p.addresses = append(p.addresses, conn.LocalAddr().(*net.UDPAddr).AddrPort())
			p.listener = conn.RemoteAddr().(*net.UDPAddr).AddrPort()
		}
		time.Sleep(time.Until(start.Add(d.At.Sub(p.datagrams[0].At))))
		if _, err := conn.Write(d.Payload); err != nil {
			t.Error(err)
		}
		p.lateMs = append(p.lateMs, max(0, float64(time.Since(start.Add(d.At.Sub(p.datagrams[0].At))))/float64(time.Millisecond)))
	}
}

// late is what a busy machine may have added to round trips, ms.
func (p *play) late() float64 {
	return 2 * slices.Max(append(p.lateMs, 0))
}

// apart is how far the round trips that a few reports and a few polls saw of a
// path that varies may lie apart, ms.
func (p *play) apart() float64 {
	rtt := p.recording.Truth.RTT
	if rtt == nil {
		return math.Inf(1) // it varied so much that it has no truth
	}
	return 2 * (rtt.P95 - rtt.P50)
}

// alone is what Earshot says of the RTCP that came without signalling; nil
// where there was none. Until then it waits for all of it: of a party that moves
// to another port the rest may be a call of its own.
func (p *play) alone(t *testing.T, u *apptest.Up, until time.Time) *Heard {
	t.Helper()
	if len(p.addresses) == 0 {
		return nil
	}
	var h *Heard
	apptest.Eventually(t, time.Minute, "a call of the RTCP of "+p.name(), func() error {
		var err error
		for _, address := range p.addresses {
			id := telemetry.CallID(ingest.OwnCallKey(address, p.listener))
			if err = u.Get("/api/v1/companies/"+live+"/calls/"+url.PathEscape(id), new(query.Call)); err == nil {
				one := heard(t, u, live, id)
				h = &one
				if got, want := reports(h), reports(p.wire); got < want && time.Now().Before(until) {
					return fmt.Errorf("%d reports of %d", got, want)
				}
				return nil
			}
		}
		return err
	})
	return h
}

// reports counts the samples that RTCP made.
func reports(h *Heard) (n int) {
	for _, s := range h.Samples {
		if s.Source == "rtcp" {
			n++
		}
	}
	return n
}

// swapped says whether two hearings of a call differ in whom they call target:
// nobody says so where there is no signalling.
func swapped(a, b *Heard) bool {
	directions := map[uint32]string{}
	for _, s := range a.Samples {
		directions[s.SSRC] = s.Direction
	}
	for _, s := range b.Samples {
		if d := directions[s.SSRC]; s.SSRC != 0 && d != "" {
			return d != s.Direction
		}
	}
	return false
}

// statsLine is one report of a getStats file.
type statsLine struct {
	Side   string                    `json:"side"`
	Muted  *bool                     `json:"muted"`
	Report map[string]map[string]any `json:"report"`
	at     float64                   // newest timestamp, Unix ms
}

func readStats(t *testing.T, file string) (all []statsLine) {
	t.Helper()
	eachLine(t, file, func(text []byte) {
		var line statsLine
		require.NoError(t, json.Unmarshal(text, &line))
		for _, stat := range line.Report {
			if at, _ := stat["timestamp"].(float64); at > line.at {
				line.at = at
			}
		}
		if line.Report != nil {
			all = append(all, line)
		}
	})
	return all
}

// postStats posts the reports at the pace of the call with the times of now.
func (p *play) postStats(t *testing.T, u *apptest.Up) {
	if len(p.lines) == 0 {
		return
	}
	p.shift = time.Until(time.UnixMicro(int64(p.lines[0].at*1000))) * -1
	p.shift = p.shift.Truncate(time.Millisecond)
	for _, line := range p.lines {
		for _, stat := range line.Report {
			if at, ok := stat["timestamp"].(float64); ok {
				stat["timestamp"] = at + float64(p.shift.Milliseconds())
			}
		}
		body, err := json.Marshal(map[string]any{"call_id": statsCall(p.recording), "leg_id": line.Side, "side": map[string]string{"A": "target", "B": "contact"}[line.Side],
			"muted": line.Muted, "stats": line.Report})
		if err != nil {
			t.Error(err)
			return
		}
		time.Sleep(time.Until(time.UnixMicro(int64(line.at * 1000)).Add(p.shift)))
		if err := u.Do("POST", "/ingest/v1/webrtc", "application/json", body, nil); err != nil {
			t.Error(err)
			return
		}
	}
}

// postedVerdict is what Earshot says of getStats that was posted live.
func (p *play) postedVerdict(t *testing.T, u *apptest.Up) *query.Verdict {
	t.Helper()
	var call query.Call
	apptest.Eventually(t, time.Minute, "the verdict of the getStats of "+p.name(), func() error {
		if err := u.Get("/api/v1/companies/"+live+"/calls/"+url.PathEscape(statsCall(p.recording)), &call); err != nil {
			return err
		}
		if seen, want := sources(&call), sources(&p.stats.Call); seen != want {
			return fmt.Errorf("the verdict knows of %s, want %s", seen, want)
		}
		return nil
	})
	return &call.Verdict
}

// sources says how many samples of each witness a verdict is made of.
func sources(c *query.Call) string { return text(c.Verdict.Sources) }
