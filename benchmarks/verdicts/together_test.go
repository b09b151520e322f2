package verdicts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/query"
)

// together is the company of calls of which the wire is captured while their pages
// post, and the HEP authentication key of its capture agents.
const together = "together"

const (
	wireAndAll  = "capture / all at once"
	statsAndAll = "getStats file / all at once"
)

// atOnce are the recordings of which there is a capture and getStats.
type atOnce struct {
	calls []*joined
	key   string // that pages post with
}

// joined is a call that HEP and its pages tell of at the same time.
type joined struct {
	*play
	datagrams []pcap.Datagram
	lines     []statsLine
	agent     uint32
	sides     bool // its pages say which side they are
	answered  time.Time
}

// tenancyFile gives the setting that makes captures with a key a company's.
func tenancyFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "earshot.yaml")
	require.NoError(t, os.WriteFile(file, []byte("tenancy: {rules: [{hep_auth_key: "+together+", company: "+together+"}]}\n"), 0o600))
	return file
}

// newAtOnce reads what there is of a capture and getStats. The recordings were made
// in networks with the same addresses: each gets one of its own, so that they can
// be on the way at the same time.
func newAtOnce(t *testing.T, u *apptest.Up, plays []*play) *atOnce {
	t.Helper()
	require.NoError(t, u.Do("POST", "/api/v1/companies", "application/json", []byte(`{"id":"`+together+`","name":"Together"}`), nil))
	key, err := u.Earshot("keys", "create", "--role", "ingest", "--company", together, "--name", "pages")
	require.NoError(t, err)
	b := &atOnce{key: strings.TrimSpace(key)}
	for _, p := range plays {
		if r := p.recording; r.Wire == "" || r.Stats == "" {
			continue
		}
		n := len(b.calls)
		j := &joined{play: p, lines: readStats(t, p.recording.Stats), agent: uint32(tapNumber*2 + n), sides: n%2 == 0}
		j.datagrams = moved(signallingAndRTCP(t, p.recording.Wire), n)
		b.calls = append(b.calls, j)
	}
	return b
}

// moved gives datagrams of another network, addresses in SIP and SDP too, which are
// as long as those of the recordings: 10.10 to 10.99.
func moved(all []pcap.Datagram, n int) []pcap.Datagram {
	n = 10 + n%90
	address := func(a netip.AddrPort) netip.AddrPort {
		b := a.Addr().As4()
		b[1] = byte(n)
		return netip.AddrPortFrom(netip.AddrFrom4(b), a.Port())
	}
	for i := range all {
		d := &all[i]
		d.Src, d.Dst = address(d.Src), address(d.Dst)
		if sip.IsSIP(d.Payload) {
			d.Payload = bytes.ReplaceAll(d.Payload, []byte("10.66.0."), fmt.Appendf(nil, "10.%02d.0.", n))
		}
	}
	return all
}

// send plays all calls at their pace and waits for their ends.
func (b *atOnce) send(t *testing.T, u *apptest.Up) {
	var talking sync.WaitGroup
	start := time.Now()
	for _, j := range b.calls {
		j.answered = start.Add(time.Second) // INVITE comes before the answer
		talking.Go(func() { j.capture(t, u.Run.Ingest["hep"]) })
		talking.Go(func() { j.post(t, u, b.key) })
	}
	talking.Wait()
}

// capture sends what a monitor sees when it sees it, half of the calls over TCP.
func (j *joined) capture(t *testing.T, addr string) {
	conn, err := net.Dial([]string{"tcp", "udp"}[j.agent%2], addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for _, d := range j.datagrams {
		at := j.now(d.At)
		time.Sleep(time.Until(at))
		packet := hep.Packet{Version: 3, Family: hep.FamilyIPv4, Protocol: hep.ProtocolUDP, Src: d.Src, Dst: d.Dst, Time: at,
			AgentID: j.agent, AuthKey: []byte(together), PayloadType: hep.TypeRTCP, Payload: d.Payload}
		if sip.IsSIP(d.Payload) {
			packet.PayloadType = hep.TypeSIP
		}
		if _, err := conn.Write(hep.Append(nil, &packet)); err != nil {
			t.Error(err)
			return
		}
	}
}

// now gives the time at which something of the recording happens now.
func (j *joined) now(at time.Time) time.Time {
	return j.answered.Add(at.Sub(j.recording.Truth.AnsweredAt))
}

// callID is the SIP Call-ID: a page knows it.
func (j *joined) callID() string {
	for _, d := range j.datagrams {
		if sip.IsSIP(d.Payload) {
			_, rest, _ := strings.Cut(string(d.Payload), "Call-ID: ")
			id, _, _ := strings.Cut(rest, "\r\n")
			return id
		}
	}
	return ""
}

// post posts what the pages poll when they poll it.
func (j *joined) post(t *testing.T, u *apptest.Up, key string) {
	for _, line := range j.lines {
		polled := time.UnixMicro(int64(line.at * 1000))
		at := j.now(polled)
		for _, stat := range line.Report {
			if stamp, ok := stat["timestamp"].(float64); ok {
				stat["timestamp"] = stamp + float64(at.Sub(polled))/float64(time.Millisecond)
			}
		}
		body := map[string]any{"call_id": j.callID(), "leg_id": line.Side, "at": at.UTC().Format(time.RFC3339Nano), "muted": line.Muted, "stats": line.Report}
		if j.sides {
			body["side"] = map[string]string{"A": "target", "B": "contact"}[line.Side]
		}
		time.Sleep(time.Until(at))
		if err := post(u, key, body); err != nil {
			t.Error(err)
			return
		}
	}
}

func post(u *apptest.Up, key string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("POST", u.URL+"/ingest/v1/webrtc", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("POST /ingest/v1/webrtc: status %d", res.StatusCode)
	}
	return nil
}

// heard waits for the final verdict of a call, or where its end was not seen for a
// verdict about all that was.
func (j *joined) heard(t *testing.T, u *apptest.Up) Heard {
	t.Helper()
	last := j.now(j.datagrams[len(j.datagrams)-1].At)
	apptest.Eventually(t, time.Minute, "the final verdict of "+j.callID(), func() error {
		var call query.Call
		if err := u.Get("/api/v1/companies/"+together+"/calls/"+url.PathEscape(j.callID()), &call); err != nil {
			return err
		}
		if !call.Verdict.Final && (j.ends() || call.Verdict.ComputedAt.Before(last)) {
			return fmt.Errorf("state %s, verdict not final", call.State)
		}
		return nil
	})
	return heard(t, u, together, j.callID())
}

// ends says whether its end was captured.
func (j *joined) ends() bool {
	return slices.ContainsFunc(j.datagrams, func(d pcap.Datagram) bool { return bytes.HasPrefix(d.Payload, []byte("BYE ")) })
}

// judge holds the call of all witnesses against the truth, against what each of
// them says alone, and counts who told what.
func (j *joined) judge(t *testing.T, u *apptest.Up, agreement *Agreement) {
	h := j.heard(t, u)
	r := j.recording
	r.Truth.AnsweredAt = j.answered
	h.Call.Verdict.Final = h.Call.Verdict.Final || !j.ends()
	for _, wrong := range Judge(r, "all at once", h).Wrong {
		agreement.contradicts(j.name(), wireAndAll, "%s", wrong)
	}
	agreement.Compatible(&r.Truth, wireAndAll, j.wire, &h, false, j.apart())
	agreement.Compatible(&r.Truth, statsAndAll, j.stats, &h, false, j.apart())
	for name, of := range map[string]func(*Heard) []string{"witnesses": witnesses, "legs": legs} {
		if got, want := of(&h), sorted(append(of(j.wire), of(j.stats)...)); !slices.Equal(got, want) {
			agreement.contradicts(j.name(), wireAndAll, "%s are %v, those of the files %v", name, got, want)
		}
	}
}

// holdsNoOther makes sure that no report made a call of its own.
func (b *atOnce) holdsNoOther(t *testing.T, u *apptest.Up) {
	t.Helper()
	var list query.List[query.Call]
	require.NoError(t, u.Get("/api/v1/companies/"+together+"/calls?limit=500", &list))
	for _, c := range list.Items {
		if !slices.ContainsFunc(b.calls, func(j *joined) bool { return j.callID() == c.ID }) {
			t.Errorf("%s is a call of nothing that was sent", c.ID)
		}
	}
}

// sorted names each once.
func sorted(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// witnesses names who told how much of which leg and direction.
func witnesses(h *Heard) (all []string) {
	count := map[string]int{}
	for _, s := range h.Samples {
		count[s.Source+" "+s.Side+" "+s.Direction]++
	}
	for who, n := range count {
		all = append(all, fmt.Sprintf("%s: %d", who, n))
	}
	slices.Sort(all)
	return all
}

// legs names what the call consists of.
func legs(h *Heard) (all []string) {
	for _, l := range h.Call.Legs {
		all = append(all, l.Kind+" "+l.Side)
	}
	slices.Sort(all)
	return all
}
