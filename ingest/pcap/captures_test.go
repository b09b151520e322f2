package pcap_test

import (
	"encoding/json"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/ingest/rtcp"
	"github.com/earshot/earshot/ingest/rtp"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

const captures = "../../testdata/captures"

func datagrams(t testing.TB, path ...string) ([]pcap.Datagram, pcap.Stats) {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{captures}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcap.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	var ds []pcap.Datagram
	for {
		d, err := r.Next()
		if err == io.EOF {
			return ds, r.Stats()
		}
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
}

func calls(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(captures, "*", "mid.pcap"))
	if err != nil || len(found) != 5 {
		t.Fatalf("captures: %q, %v", found, err)
	}
	for i := range found {
		found[i] = filepath.Base(filepath.Dir(found[i]))
	}
	return found
}

// What the relay counted at the place where it captured has to be what is read.
func TestCapturesHoldWhatTheRelayCounted(t *testing.T) {
	for _, call := range calls(t) {
		b, err := os.ReadFile(filepath.Join(captures, call, "truth.json"))
		if err != nil {
			t.Fatal(err)
		}
		var truth struct {
			Counts map[string]int `json:"counts"`
		}
		if err := json.Unmarshal(b, &truth); err != nil {
			t.Fatal(err)
		}
		ds, stats := datagrams(t, call, "mid.pcap")
		got := map[string]int{}
		var h rtp.Header
		for _, d := range ds {
			dir := "AB"
			if d.Src.Addr() != netip.MustParseAddr("10.66.0.1") {
				dir = "BA"
			}
			switch {
			case sip.IsSIP(d.Payload):
				got[dir+".sip.at_mid"]++
			case rtcp.IsRTCP(d.Payload):
				got[dir+".rtcp.at_mid"]++
			case rtp.Parse(d.Payload, &h) == nil:
				got[dir+".rtp.at_mid"]++
			default:
				t.Errorf("%s: frame %d is none of SIP, RTCP, RTP", call, d.Frame)
			}
		}
		for _, dir := range []string{"AB", "BA"} {
			for _, kind := range []string{"sip", "rtcp", "rtp"} {
				key := dir + "." + kind + ".at_mid"
				if got[key] != truth.Counts[key] {
					t.Errorf("%s: %s: read %d, the relay counted %d", call, key, got[key], truth.Counts[key])
				}
			}
		}
		left := truth.Counts["AB.other.at_mid"] + truth.Counts["BA.other.at_mid"]
		if stats.Truncated || stats.LeftOut[pcap.LeftOutProtocol] != left || stats.Frames != len(ds)+left {
			t.Errorf("%s: %+v, the relay counted %d others", call, stats, left)
		}
	}
}

// tshark 4.0's reading of the reports in loss5_jitter40.
func TestCapturedRTCP(t *testing.T) {
	type reading struct {
		reporter, ntpSec, ntpFraction, packets uint32
		source, fraction                       uint32
		lost                                   int32
		highest, jitter, lsr, dlsr             uint32
	}
	want := map[int]reading{
		509:  {0xd5df4199, 4004321940, 3203663350, 250, 0xc4fe99f5, 11, 11, 7463, 75, 0, 0},
		516:  {0xc4fe99f5, 4004321940, 3555601560, 251, 0xd5df4199, 2, 2, 4879, 9, 445955828, 65},
		1012: {0xd5df4199, 4004321945, 3206248921, 500, 0xc4fe99f5, 18, 29, 7714, 112, 445961198, 315162},
		1017: {0xc4fe99f5, 4004321945, 3554802696, 500, 0xd5df4199, 3, 5, 5129, 12, 446283547, 0},
		1515: {0xd5df4199, 4004321950, 3206433604, 750, 0xc4fe99f5, 16, 45, 7963, 74, 446288865, 317063},
		1520: {0xc4fe99f5, 4004321950, 3552165587, 750, 0xd5df4199, 3, 8, 5379, 12, 446611230, 65},
		2018: {0xd5df4199, 4004321955, 3207576065, 1001, 0xc4fe99f5, 8, 53, 8212, 95, 446616505, 316014},
		2023: {0xc4fe99f5, 4004321955, 3553011695, 1000, 0xd5df4199, 6, 14, 5630, 9, 446938927, 0},
		2521: {0xd5df4199, 4004321960, 3204582473, 1251, 0xc4fe99f5, 11, 64, 8463, 98, 446944198, 315817},
		2526: {0xc4fe99f5, 4004321960, 3554527819, 1250, 0xd5df4199, 1, 15, 5880, 10, 447266562, 65},
		3023: {0xd5df4199, 4004321965, 3207803699, 1500, 0xc4fe99f5, 10, 74, 8714, 92, 447271901, 317063},
		3029: {0xc4fe99f5, 4004321965, 3552676688, 1500, 0xd5df4199, 1, 16, 6129, 12, 447266562, 327745},
		3525: {0xd5df4199, 4004321970, 3206480849, 1750, 0xc4fe99f5, 16, 90, 8963, 93, 447599553, 317128},
		3530: {0xc4fe99f5, 4004321970, 3553333818, 1750, 0xd5df4199, 1, 17, 6379, 11, 447921951, 0},
		4027: {0xd5df4199, 4004321975, 3207726389, 2000, 0xc4fe99f5, 13, 103, 9213, 113, 447927243, 316145},
		4033: {0xc4fe99f5, 4004321975, 3553329523, 2000, 0xd5df4199, 4, 21, 6629, 9, 448249650, 0},
	}
	byes := map[int]uint32{4119: 0xc4fe99f5, 4133: 0xd5df4199} // BYE first, then SDES
	ds, _ := datagrams(t, "loss5_jitter40", "mid.pcap")
	for _, d := range ds {
		if !rtcp.IsRTCP(d.Payload) {
			continue
		}
		p, err := new(rtcp.Decoder).Decode(d.Payload)
		if err != nil {
			t.Errorf("frame %d: %v", d.Frame, err)
			continue
		}
		if ssrc, ok := byes[d.Frame]; ok {
			if len(p.ByeSsrcs) != 1 || p.ByeSsrcs[0] != ssrc || p.SenderSsrc != ssrc {
				t.Errorf("frame %d: %v", d.Frame, p)
			}
			delete(byes, d.Frame)
			continue
		}
		w, ok := want[d.Frame]
		if !ok { // the two APP packets at the beginning
			if len(p.SenderReports) != 0 || len(p.Reports) != 0 || p.SenderSsrc == 0 {
				t.Errorf("frame %d: %v", d.Frame, p)
			}
			continue
		}
		delete(want, d.Frame)
		if len(p.SenderReports) != 1 || len(p.Reports) != 1 {
			t.Errorf("frame %d: %v", d.Frame, p)
			continue
		}
		s, r := p.SenderReports[0], p.Reports[0]
		got := reading{s.Ssrc, uint32(s.Ntp >> 32), uint32(s.Ntp), s.PacketCount, r.Ssrc, r.FractionLost, r.CumulativeLost, r.HighestSeq, r.Jitter, r.Lsr, r.Dlsr}
		if got != w {
			t.Errorf("frame %d:\n got %+v\nwant %+v", d.Frame, got, w)
		}
	}
	if len(want)+len(byes) > 0 {
		t.Errorf("not read: %v, %v", want, byes)
	}
}

// tshark 4.0's streams: packets, longest gap and highest jitter.
func TestCapturedRTP(t *testing.T) {
	type reading struct {
		packets               uint32
		maxGap                time.Duration
		lowJitter, highJitter float64 // ms, tshark's minimum and maximum
	}
	for call, want := range map[string]map[uint32]reading{
		"clean_twoway":        {0x03d04183: {1546, 25509 * time.Microsecond, 0.216, 1.993}, 0x0229b80d: {1551, 25947 * time.Microsecond, 0.203, 2.095}},
		"hold_12s_resume_24s": {0x3b44aa1b: {1196, 12019416 * time.Microsecond, 0.163, 2.022}, 0xae97277e: {1201, 12019794 * time.Microsecond, 0.328, 1.908}},
		"loss5_jitter40":      {0xc4fe99f5: {2042, 24788 * time.Microsecond, 0.220, 1.845}, 0xd5df4199: {2051, 29435 * time.Microsecond, 0.178, 3.028}},
	} {
		ds, _ := datagrams(t, call, "mid.pcap")
		a := rtp.NewAggregator(16)
		var h rtp.Header
		var all []*telemetry.RTPInterval
		for _, d := range ds {
			if rtp.Parse(d.Payload, &h) != nil {
				continue
			}
			if i := a.Observe(d.At, d.Src, d.Dst, &h, 8000); i != nil {
				all = append(all, i)
			}
		}
		all = append(all, a.Flush(time.Time{})...)
		packets, expected, gap := map[uint32]uint32{}, map[uint32]uint32{}, map[uint32]uint32{}
		for _, i := range all {
			packets[i.Ssrc] += i.Packets
			expected[i.Ssrc] += i.Expected
			gap[i.Ssrc] = max(gap[i.Ssrc], i.MaxGapMs)
			// tshark adds the change in transit of a packet after a pause as well.
			if w := want[i.Ssrc]; i.JitterMs < 0 || i.JitterMs > w.highJitter+0.001 {
				t.Errorf("%s: stream %#x: jitter %.3f ms, tshark's highest %.3f", call, i.Ssrc, i.JitterMs, w.highJitter)
			}
			if length := i.LastUs - i.FirstUs; length < 0 || length >= 1_000_000 {
				t.Errorf("%s: interval of %d µs", call, length)
			}
		}
		if len(packets) != len(want) {
			t.Errorf("%s: streams %v", call, packets)
		}
		for ssrc, w := range want {
			if packets[ssrc] != w.packets || expected[ssrc] != w.packets {
				t.Errorf("%s: stream %#x: %d packets of %d, tshark %d", call, ssrc, packets[ssrc], expected[ssrc], w.packets)
			}
			if got := float64(gap[ssrc]); math.Abs(got-float64(w.maxGap.Microseconds())/1000) > 1 {
				t.Errorf("%s: stream %#x: longest gap %v ms, tshark %v", call, ssrc, got, w.maxGap)
			}
		}
	}
}

// The hold as tshark shows it: sendonly and recvonly from frame 1229 to 1240.
func TestCapturedHold(t *testing.T) {
	want := map[int]string{3: "sendrecv", 6: "sendrecv", 1229: "sendonly", 1233: "recvonly", 1240: "sendrecv", 1245: "sendrecv"}
	ssrcs := map[string]uint32{"10.66.0.1": 994355739, "10.66.0.2": 2929141630}
	ds, _ := datagrams(t, "hold_12s_resume_24s", "mid.pcap")
	for _, d := range ds {
		if !sip.IsSIP(d.Payload) {
			continue
		}
		m, err := sip.Parse(d.Payload)
		if err != nil {
			t.Errorf("frame %d: %v", d.Frame, err)
			continue
		}
		if m.CallId != "e2ef126e2e9dac5d" {
			t.Errorf("frame %d: Call-ID %q", d.Frame, m.CallId)
		}
		if m.Sdp == nil {
			continue
		}
		audio := m.Sdp.Media[0]
		from := d.Src.Addr().String()
		if audio.Direction != want[d.Frame] || audio.Address != from || len(audio.Ssrcs) != 1 || audio.Ssrcs[0] != ssrcs[from] ||
			audio.RtcpPort != audio.Port+1 || audio.Codecs[0].Name != "PCMU" || audio.PtimeMs != 20 {
			t.Errorf("frame %d: %v", d.Frame, audio)
		}
		delete(want, d.Frame)
	}
	if len(want) > 0 {
		t.Errorf("not read: %v", want)
	}
}

// Three and a half cycles of 423, 401, 200, then `Contact: *`, against the
// parser that takes part in SIP.
func TestCapturedRegistrations(t *testing.T) {
	ds, _ := datagrams(t, "register", "register1.pcap")
	if len(ds) != 40 {
		t.Fatalf("%d messages", len(ds))
	}
	// One cycle of ten messages: method or status, expiry asked for or given.
	cycle := []struct {
		status  uint32
		expires int64
	}{{0, 5}, {423, 20}, {0, 30}, {401, -1}, {0, 30}, {200, 30}, {0, 0}, {401, -1}, {0, 0}, {200, -1}}
	for n, d := range ds {
		m, err := sip.Parse(d.Payload)
		if err != nil {
			t.Fatalf("frame %d: %v", d.Frame, err)
		}
		w := cycle[n%10]
		var expires int64
		switch m.Status {
		case 423:
			expires = m.MinExpiresS
		case 200:
			expires = -1
			if len(m.Contacts) > 0 {
				expires = m.Contacts[0].ExpiresS
			}
		default:
			expires = m.ExpiresS
		}
		if m.Method != "REGISTER" || m.Status != w.status || expires != w.expires || m.From.User != "carol" || m.Cseq != uint32(n%10/2+1) {
			t.Errorf("frame %d: %v", d.Frame, m)
		}
		if m.Status == 0 {
			wildcard := n%10 >= 6
			if len(m.Contacts) != 1 || (m.Contacts[0].Uri == "*") != wildcard || m.HasCredentials != (n%10 == 4 || n%10 == 8) ||
				m.UserAgent != "AcmeDialer/2.3.1 (build 77; Windows 11)" {
				t.Errorf("frame %d: %v", d.Frame, m)
			}
		}
		compareWithSipgo(t, d, m)
	}
}

func compareWithSipgo(t *testing.T, d pcap.Datagram, m *telemetry.SIPMessage) {
	t.Helper()
	parsed, err := sipgo.ParseMessage(d.Payload)
	if err != nil {
		t.Fatalf("frame %d: sipgo: %v", d.Frame, err)
	}
	// Where both read a message they have to agree.
	var callID string
	var via *sipgo.ViaHeader
	switch p := parsed.(type) {
	case *sipgo.Request:
		via, callID = p.Via(), p.CallID().Value()
		if p.Recipient.String() != m.RequestUri || string(p.Method) != m.Method {
			t.Errorf("frame %d: %s %s, sipgo: %s %s", d.Frame, m.Method, m.RequestUri, p.Method, p.Recipient.String())
		}
		if p.From().Address.User != m.From.User || p.From().Params.String() != "tag="+m.From.Tag {
			t.Errorf("frame %d: From %v, sipgo: %v", d.Frame, m.From, p.From())
		}
	case *sipgo.Response:
		via, callID = p.Via(), p.CallID().Value()
		if p.StatusCode != int(m.Status) || p.Reason != m.ReasonPhrase {
			t.Errorf("frame %d: %d %s, sipgo: %d %s", d.Frame, m.Status, m.ReasonPhrase, p.StatusCode, p.Reason)
		}
	}
	if callID != m.CallId {
		t.Errorf("frame %d: Call-ID %q, sipgo: %q", d.Frame, m.CallId, callID)
	}
	if branch, _ := via.Params.Get("branch"); branch != m.ViaBranch {
		t.Errorf("frame %d: branch %q, sipgo: %q", d.Frame, m.ViaBranch, branch)
	}
}
