package apptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// replayed is the answer of `earshot replay --json`.
type replayed struct {
	Rules  string `json:"rules"`
	Counts struct {
		Compared, Unchanged, Reworded, Changed, Open, Superseded int
		ByDimension                                              map[string]int `json:"changed_by_dimension"`
		BeganBefore                                              int            `json:"began_before"`
		NotStored                                                int            `json:"not_stored"`
	} `json:"counts"`
	Changed []struct {
		CallID    string `json:"call_id"`
		Link      string `json:"link"`
		RulesFrom string `json:"rules_from"`
		RulesTo   string `json:"rules_to"`
		Changes   []struct{ Dimension, From, To string }
	} `json:"changed"`
	LeftOff int `json:"left_off"`
}

// changes gives what would change in a dimension, by call.
func (r replayed) changes(dimension string) map[string]string {
	out := map[string]string{}
	for _, c := range r.Changed {
		for _, change := range c.Changes {
			if change.Dimension == dimension {
				out[c.CallID] = change.From + " → " + change.To
			}
		}
	}
	return out
}

func (u *Up) judgeAgain(t *testing.T, args ...string) (r replayed) {
	t.Helper()
	out, err := u.Earshot(append([]string{"replay", "--json"}, args...)...)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return r
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestReplayUnderTheSameAndOtherRules(t *testing.T) {
	// A short call has nothing left once its first seconds are not counted.
	const quick = "  quick: {version: quick-1, settle: 0s, one_way: {grace: 0s}}\n"
	rules := write(t, "default: quick\nsets:\n"+quick)
	u := StartUp(t, "--verdicts.rules="+rules)
	began := time.Now()
	live := u.liveCall(t, "live-call")
	want := truths()
	require.Len(t, u.Import(files(want)...), len(want))
	var call query.Call
	Eventually(t, 60*time.Second, "the live call has its final verdict", func() error {
		if err := u.Get(company+"/calls/"+live, &call); err != nil || !call.Verdict.Final {
			return fmt.Errorf("final: %v, error: %w", call.Verdict.Final, err)
		}
		return nil
	})
	require.Equal(t, "quick-1", call.Verdict.Rules)
	require.Equal(t, "unacceptable", call.Verdict.Jitter.Band)
	all := len(want) + 1

	same := u.judgeAgain(t, "--since=1h", "--rules="+rules)
	require.Equal(t, "quick-1", same.Rules)
	require.Equal(t, all, same.Counts.Compared, "%+v", same)
	require.Equal(t, all, same.Counts.Unchanged)
	require.Zero(t, same.Counts.Changed)
	require.Zero(t, same.Counts.Reworded, "nothing is said in other figures or words either")
	require.Empty(t, same.Changed)
	require.Equal(t, same, u.judgeAgain(t, "--since="+began.UTC().Format(time.RFC3339), "--rules="+rules, "--company=default"))

	// Round trips up to 400 ms are good: those that were worse change, in no
	// other dimension but what follows from it.
	lenient := write(t, "default: quick\ncompanies: {default: lenient}\nsets:\n"+quick+
		"  lenient: {version: lenient-1, based_on: quick, delay_good_ms: 400, delay_acceptable_ms: 500, delay_bad_ms: 600}\n")
	other := u.judgeAgain(t, "--since=1h", "--rules="+lenient)
	require.Equal(t, []string{"0f05506ee87a5c5c", "w2_loss_jitter", "w9_rtt340"}, slices.Sorted(maps.Keys(other.changes("delay"))))
	for id, change := range other.changes("delay") {
		require.True(t, strings.HasSuffix(change, "→ good"), "%s: %s", id, change)
	}
	require.Equal(t, []string{"w9_rtt340"}, slices.Collect(maps.Keys(other.changes("overall"))), "the others have lost packets")
	for _, dimension := range []string{"jitter", "loss", "one_way_audio"} {
		require.Empty(t, other.changes(dimension))
	}
	require.Equal(t, 3, other.Counts.Changed)
	require.Equal(t, all-3, other.Counts.Unchanged)
	for _, c := range other.Changed {
		require.Equal(t, "quick-1", c.RulesFrom)
		require.Equal(t, "lenient-1", c.RulesTo)
		require.True(t, strings.HasSuffix(c.Link, "/c/default/calls/"+c.CallID), c.Link)
	}
	first := u.judgeAgain(t, "--since=1h", "--rules="+lenient, "--limit=1")
	require.Equal(t, other.Changed[:1], first.Changed)
	require.Equal(t, 2, first.LeftOff)

	// Presets: jitter up to 150 ms is good at Webex, a round trip of 340 ms nowhere bad.
	webex := u.judgeAgain(t, "--since=1h", "--rules="+write(t, "default: w\nsets:\n  w: {version: w-1, based_on: webex, settle: 0s, one_way: {grace: 0s}}"))
	require.Equal(t, "unacceptable → good", webex.changes("jitter")[live])
	for _, preset := range []string{"teams", "twilio", "webex"} {
		require.Equal(t, "unacceptable → good", u.judgeAgain(t, "--since=1h", "--rules="+preset).changes("delay")["w9_rtt340"], preset)
	}

	text, err := u.Earshot("replay", "--since=1h", "--rules="+lenient)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^w9_rtt340 .*overall: unacceptable → \w+, delay: unacceptable → good.* quick-1 → lenient-1 .*/c/default/calls/w9_rtt340$`, text)
	require.Contains(t, text, fmt.Sprintf("3 changed, %d unchanged", all-3))

	// Nobody's calls, later ones, and what cannot be.
	require.Zero(t, u.judgeAgain(t, "--since=1h", "--company=nobody").Counts.Compared)
	later := u.judgeAgain(t, "--since=1ms")
	require.Zero(t, later.Counts.Compared)
	require.Zero(t, later.Counts.BeganBefore)
	// From the middle of the live call on, the imports came later.
	middle := u.judgeAgain(t, "--since="+began.Add(1500*time.Millisecond).UTC().Format(time.RFC3339Nano), "--rules="+rules)
	require.Equal(t, 1, middle.Counts.BeganBefore)
	require.Equal(t, len(want), middle.Counts.Unchanged)
	for _, c := range []struct{ flag, says string }{
		{"--rules=" + write(t, "sets:\n  s:\n    version: s-1\n    delay_god_ms: 5"), "line 4: unknown key: set s has \"delay_god_ms\"; did you mean delay_good_ms?"},
		{"--rules=none.yaml", "no such file"},
		{"--until=2h", "that is no time at all"},
		{"--until=soon", "neither a time"},
	} {
		_, err := u.Earshot("replay", "--since=1h", c.flag)
		require.ErrorContains(t, err, c.says)
	}

	// Retention takes the beginning: what may have begun before is not compared.
	client, err := kgo.NewClient(kgo.SeedBrokers(u.Run.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	adm := kadm.NewClient(client)
	ends, err := adm.ListEndOffsets(t.Context(), telemetry.TopicTelemetry)
	require.NoError(t, err)
	_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
	require.NoError(t, err)
	Eventually(t, 30*time.Second, "ticks have come since", func() error {
		text, err = u.Earshot("replay", "--since=1h")
		if err == nil && !strings.Contains(text, "Retention has taken the beginning") {
			err = errors.New(text)
		}
		return err
	})
	require.Contains(t, text, "0 calls since ")
}

// liveCall makes a call of three seconds, as an agent beside the proxy would see
// it: G.711 whose RTCP reports 100 ms of jitter.
func (u *Up) liveCall(t *testing.T, id string) string {
	t.Helper()
	conn, err := net.Dial("udp", u.Run.Ingest["hep"])
	require.NoError(t, err)
	defer conn.Close()
	ends := [2]string{"10.9.0.1", "10.9.0.2"}
	send := func(from int, port uint16, kind uint8, payload []byte) {
		src, dst := netip.MustParseAddr(ends[from]), netip.MustParseAddr(ends[1-from])
		_, err := conn.Write(hep.Append(nil, &hep.Packet{
			Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: netip.AddrPortFrom(src, port), Dst: netip.AddrPortFrom(dst, port),
			Time: time.Now(), PayloadType: kind, AgentID: 7, Payload: payload,
		}))
		require.NoError(t, err)
	}
	sip := func(from int, start string, cseq int, method string, talks bool) {
		body := ""
		if talks {
			body = fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n", ends[from])
		}
		send(from, 5060, hep.TypeSIP, fmt.Appendf(nil, "%s\r\nVia: SIP/2.0/UDP %s:5060;branch=z9hG4bK-%s-%d\r\nFrom: <sip:+14155550101@a>;tag=a\r\nTo: <sip:+14155550102@b>;tag=b\r\n"+
			"Call-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:x@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			start, ends[0], method, cseq, id, cseq, method, ends[from], len(body), body))
	}
	sip(0, "INVITE sip:+14155550102@b SIP/2.0", 1, "INVITE", true)
	sip(1, "SIP/2.0 200 OK", 1, "INVITE", true)
	sip(0, "ACK sip:+14155550102@b SIP/2.0", 1, "ACK", false)
	for i := range uint32(6) {
		time.Sleep(500 * time.Millisecond)
		for from := range 2 {
			report, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{
				SSRC: uint32(1 + from), NTPTime: uint64(i+1) << 32, RTPTime: i * 4000, PacketCount: (i + 1) * 25, OctetCount: (i + 1) * 4000,
				Reports: []rtcp.ReceptionReport{{SSRC: uint32(2 - from), LastSequenceNumber: (i + 1) * 25, Jitter: 800}},
			}})
			require.NoError(t, err)
			send(from, 40001, hep.TypeRTCP, report)
		}
	}
	sip(0, "BYE sip:+14155550102@b SIP/2.0", 2, "BYE", false)
	sip(1, "SIP/2.0 200 OK", 2, "BYE", false)
	return id
}
