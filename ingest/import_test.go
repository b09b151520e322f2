package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/telemetry"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// importBytes runs an import without Kafka.
func importBytes(t testing.TB, name string, content []byte) (records []*telemetry.Record, calls []ImportedCall, err error) {
	t.Helper()
	records, calls, _, err = importAll(t, name, content)
	return records, calls, err
}

// importAll also gives what was passed over, by reason.
func importAll(t testing.TB, name string, content []byte) (records []*telemetry.Record, calls []ImportedCall, passed map[string]int, err error) {
	t.Helper()
	f := importOf(name, content, &records)
	f.warn = func(err error) { t.Log(err) }
	calls, err = f.run()
	return records, calls, f.passed, err
}

// importOf is the import of one file, whose records are appended.
func importOf(name string, content []byte, records *[]*telemetry.Record) *fileImport {
	return &fileImport{
		company: "default", name: name, receivedUs: at(0), waiting: DefaultConfig().Waiting, bindings: DefaultConfig().Bindings, correlation: defaultCorrelation(),
		open: func() (io.ReadCloser, error) { return plain(io.NopCloser(bytes.NewReader(content)), &atomic.Int64{}) },
		emit: func(r *telemetry.Record) error { *records = append(*records, r); return nil },
	}
}

// gzipped packs content.
func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// kinds counts records by body.
func kinds(records []*telemetry.Record) map[string]int {
	n := map[string]int{}
	for _, r := range records {
		n[strings.TrimPrefix(fmt.Sprintf("%T", r.Body), "*telemetry.Record_")]++
	}
	return n
}

func TestImportCaptures(t *testing.T) {
	// The Call-IDs are tshark's reading.
	for name, call := range map[string]string{
		"clean_twoway": "519bce5e8727e02c", "hold_12s_resume_24s": "e2ef126e2e9dac5d", "loss5_jitter40": "0f05506ee87a5c5c",
		"oneway_AB_from_start": "5f563a714cbe42ec", "short_4s_oneway_AB": "66ca8935ca135dd9",
	} {
		t.Run(name, func(t *testing.T) {
			records, calls, err := importBytes(t, "mid.pcap", fixture(t, "captures/"+name+"/mid.pcap"))
			if err != nil {
				t.Fatal(err)
			}
			if len(calls) != 1 || calls[0].CallKey != call {
				t.Fatalf("calls %v", calls)
			}
			var truth struct{ Counts map[string]int }
			if err := json.Unmarshal(fixture(t, "captures/"+name+"/truth.json"), &truth); err != nil {
				t.Fatal(err)
			}
			passed := func(kind string) int { return truth.Counts["AB."+kind+".at_mid"] + truth.Counts["BA."+kind+".at_mid"] }
			n := kinds(records)
			if n["Sip"] != passed("sip") || n["Rtcp"] != passed("rtcp") || n["End"] != 1 {
				t.Errorf("records %v, truth %v", n, truth.Counts)
			}
			var rtp uint32
			for i, r := range records {
				if r.Timeline.Seq != uint64(i+1) || !strings.HasPrefix(r.Timeline.Id, "import:") || len(r.Timeline.Id) != len("import:")+32 {
					t.Fatalf("record %d is on timeline %v", i, r.Timeline)
				}
				if r.GetEnd() == nil && (r.CallKey != calls[0].CallKey || len(r.EventId) != 16 || r.Company != "default") {
					t.Fatalf("record %d: %v", i, r)
				}
				if p := r.GetRtp(); p != nil {
					rtp += p.Packets
					if p.ClockRate != 8000 {
						t.Fatalf("clock rate of %v", p)
					}
				}
			}
			end := records[len(records)-1]
			if end.GetEnd() == nil {
				t.Fatal("the last record is no end")
			}
			for _, r := range records {
				if r.AtUs > end.AtUs {
					t.Fatalf("%d is after the end %d", r.AtUs, end.AtUs)
				}
			}
			if int(rtp) != passed("rtp") {
				t.Errorf("%d RTP packets, %d passed", rtp, passed("rtp"))
			}
		})
	}
}

func TestImportIsDeterministic(t *testing.T) {
	for _, name := range []string{"captures/loss5_jitter40/mid.pcap", "captures/register/register1.pcap", "webrtc/w1_clean.jsonl.gz"} {
		first, _, err := importBytes(t, filepath.Base(name), fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := importBytes(t, filepath.Base(name), fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(first) != len(second) || len(first) < 10 {
			t.Fatalf("%s: %d and %d records", name, len(first), len(second))
		}
		ids := map[string]bool{}
		for i := range first {
			a, errA := encode(first[i], nil)
			b, errB := encode(second[i], nil)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if !bytes.Equal(a.record, b.record) || !bytes.Equal(a.key, b.key) || a.registration != b.registration {
				t.Fatalf("%s: record %d differs", name, i)
			}
			if id := string(first[i].EventId); ids[id] {
				t.Fatalf("%s: record %d has an event id twice", name, i)
			} else {
				ids[id] = true
			}
		}
	}
}

// Compressed or not, it is the same capture.
func TestImportGzip(t *testing.T) {
	content := fixture(t, "captures/short_4s_oneway_AB/mid.pcap")
	a, _, err := importBytes(t, "mid.pcap", content)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := importBytes(t, "mid.pcap.gz", gzipped(t, content))
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) || a[0].Timeline.Id != b[0].Timeline.Id {
		t.Errorf("%d records on %s, %d on %s", len(a), a[0].Timeline.Id, len(b), b[0].Timeline.Id)
	}
}

// Of a gzip that is cut off or damaged, what is before counts, and it is told.
func TestImportDamagedGzip(t *testing.T) {
	content := fixture(t, "captures/short_4s_oneway_AB/mid.pcap")
	whole, _, err := importBytes(t, "mid.pcap", content)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":      func(b []byte) []byte { return b[:len(b)*3/4] },
		"wrong sum":    func(b []byte) []byte { b[len(b)-8] ^= 1; return b },
		"rest missing": func(b []byte) []byte { return b[:len(b)-4] },
		"overwritten":  func(b []byte) []byte { clear(b[len(b)*3/4:]); return b },
		"rubbish":      func(b []byte) []byte { return append(b, "rubbish"...) },
	} {
		t.Run(name, func(t *testing.T) {
			var told error
			var records []*telemetry.Record
			f := importOf("mid.pcap.gz", damage(gzipped(t, content)), &records)
			f.warn = func(err error) { told = err }
			calls, err := f.run()
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(told, ErrGzip) {
				t.Errorf("told %v", told)
			}
			if len(calls) != 1 || len(records) < len(whole)/2 || records[len(records)-1].GetEnd() == nil {
				t.Errorf("%d calls, %d records of %d", len(calls), len(records), len(whole))
			}
		})
	}
	t.Run("getStats lines", func(t *testing.T) {
		lines := fixture(t, "webrtc/w1_clean.jsonl.gz")
		if _, _, err := importBytes(t, "w1_clean.jsonl.gz", lines[:len(lines)/2]); !errors.Is(err, ErrGzip) {
			t.Errorf("error %v", err)
		}
	})
}

func TestImportRegistrations(t *testing.T) {
	records, calls, err := importBytes(t, "register1.pcap", fixture(t, "captures/register/register1.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}
	for _, r := range records {
		if m := r.GetSip(); m != nil && (Topic(r) != telemetry.TopicRegistrations || m.Method != "REGISTER") {
			t.Errorf("%s %d to %s", m.Method, m.Status, Topic(r))
		}
	}
	if n := kinds(records)["Sip"]; n < 20 {
		t.Errorf("%d messages", n)
	}
}

func TestImportStats(t *testing.T) {
	records, calls, err := importBytes(t, "w1_clean.jsonl.gz", fixture(t, "webrtc/w1_clean.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0].CallID != "w1_clean" {
		t.Fatalf("calls %v", calls)
	}
	if n := kinds(records); n["Webrtc"] != 60 || n["End"] != 1 {
		t.Fatalf("records %v", n)
	}
	last := map[string]int64{}
	for _, r := range records[:60] {
		s := r.GetWebrtc()
		if s.Side != map[string]string{"A": "target", "B": "contact"}[s.LegId] || s.CallId != "w1_clean" || r.CallKey != "w1_clean" {
			t.Fatalf("leg %s side %s", s.LegId, s.Side)
		}
		if r.AtUs <= last[s.LegId] {
			t.Fatalf("leg %s goes back from %d to %d", s.LegId, last[s.LegId], r.AtUs)
		}
		last[s.LegId] = r.AtUs
		if len(s.Inbound) != 1 || len(s.Outbound) != 1 || s.Inbound[0].MimeType != "audio/opus" || s.Pair == nil || len(s.MediaSources) != 1 {
			t.Fatalf("sample %v", s)
		}
	}
}

// capture makes a capture of datagrams.
func capture(t testing.TB, datagrams ...pcap.Datagram) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pcap.WriteUDP(&b, datagrams); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read gives the datagrams of a fixture.
func read(t testing.TB, content []byte) (all []pcap.Datagram) {
	t.Helper()
	rd, err := pcap.Open(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for {
		dg, err := rd.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, dg)
	}
}

// The same packets captured on two interfaces, 40 µs apart, are one call's once.
func TestImportDoubleCapture(t *testing.T) {
	original := fixture(t, "captures/short_4s_oneway_AB/mid.pcap")
	var doubled []pcap.Datagram
	for _, dg := range read(t, original) {
		again := dg
		again.At = again.At.Add(40 * time.Microsecond)
		doubled = append(doubled, dg, again)
	}
	once, _, err := importBytes(t, "mid.pcap", original)
	if err != nil {
		t.Fatal(err)
	}
	twice, _, err := importBytes(t, "mid.pcap", capture(t, doubled...))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(kinds(once)), fmt.Sprint(kinds(twice)); a != b {
		t.Errorf("once %s, doubled %s", a, b)
	}
}

// RTCP whose SDP comes only later in the file belongs to that call all the same;
// RTCP that never gets one is a call of its own.
func TestImportMediaBeforeSignalling(t *testing.T) {
	all := read(t, fixture(t, "captures/loss5_jitter40/mid.pcap"))
	var early, late []pcap.Datagram
	for _, dg := range all {
		if classify(dg.Payload) == unitSIP {
			dg.At = dg.At.Add(20 * time.Second)
			late = append(late, dg)
		} else {
			early = append(early, dg)
		}
	}
	records, calls, err := importBytes(t, "x.pcap", capture(t, append(early[:len(early):len(early)], late...)...))
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0].CallKey != "0f05506ee87a5c5c" || kinds(records)["Rtcp"] != 20 {
		t.Errorf("calls %v, records %v", calls, kinds(records))
	}
	records, calls, err = importBytes(t, "x.pcap", capture(t, early...))
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || !strings.HasPrefix(calls[0].CallKey, "rtcp:") || kinds(records)["Rtcp"] != 20 {
		t.Errorf("without signalling: calls %v, records %v", calls, kinds(records))
	}
}

// HEP in a capture and in a dump is what it carries.
func TestImportHEP(t *testing.T) {
	all := read(t, fixture(t, "captures/loss5_jitter40/mid.pcap"))
	var wrapped []pcap.Datagram
	var dump []byte
	for _, dg := range all {
		kind := classify(dg.Payload)
		if kind == unitMedia {
			continue
		}
		p := hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: dg.Src, Dst: dg.Dst, Time: dg.At, Payload: dg.Payload, PayloadType: hep.TypeSIP, AgentID: 7}
		if kind == unitRTCP {
			p.PayloadType = hep.TypeRTCP
		}
		packet := hep.Append(nil, &p)
		dump = append(dump, packet...)
		wrapped = append(wrapped, pcap.Datagram{At: dg.At, Src: netip.MustParseAddrPort("10.9.9.9:40000"), Dst: netip.MustParseAddrPort("10.9.9.8:9060"), Transport: "udp", Payload: packet})
	}
	for name, content := range map[string][]byte{"capture": capture(t, wrapped...), "dump": dump} {
		records, calls, err := importBytes(t, name, content)
		if err != nil {
			t.Fatal(err)
		}
		if n := kinds(records); len(calls) != 1 || n["Sip"] != 6 || n["Rtcp"] != 20 {
			t.Errorf("%s: calls %v, records %v", name, calls, n)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "hello, this is no capture\n", "json": `{"a":1}` + "\n", "blank": strings.Repeat(" ", 100),
	} {
		_, _, err := importBytes(t, name, []byte(content))
		if !errors.Is(err, ErrFileFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := importBytes(t, "x.jsonl", []byte(`{"meta":{}}`+"\n"+`{"t":1,"side":"A","report":{"a":}}`)); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("bad line: %v", err)
	}
}

func TestRepairText(t *testing.T) {
	r := &telemetry.Record{CallKey: "a\xff", Body: &telemetry.Record_Sip{Sip: &telemetry.SIPMessage{UserAgent: "\xe9t\xe9", Reasons: []string{"\xfc"},
		Contacts: []*telemetry.Contact{{Uri: "sip:\xff"}}, From: &telemetry.NameAddr{Display: "ok\xff"}}}}
	b, err := marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back := &telemetry.Record{}
	if err := proto.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	if back.CallKey != "a\uFFFD" || back.GetSip().From.Display != "ok\uFFFD" || back.GetSip().Contacts[0].Uri != "sip:\uFFFD" {
		t.Errorf("%v", back)
	}
}

// Of a capture nothing is too late: that the two legs are one call is known from
// the first record on, even where only the answers tell, or the second leg was
// captured first.
func TestImportLinksLegs(t *testing.T) {
	sipText := func(start, callID, toTag, extra string) []byte {
		return []byte(start + "\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK" + callID + "\r\nFrom: <sip:+13125550100@h>;tag=1\r\nTo: <sip:+14155550199@h>" + toTag +
			"\r\nCall-ID: " + callID + "\r\nCSeq: 1 INVITE\r\n" + extra + "\r\n")
	}
	when := time.Unix(1_700_000_000, 0)
	packet := func(ms int, src, dst string, payload []byte) pcap.Datagram {
		return pcap.Datagram{At: when.Add(time.Duration(ms) * time.Millisecond), Src: addr(src), Dst: addr(dst), Transport: "udp", Payload: payload}
	}
	sdp := func(address, port string) string {
		return "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 " + address + "\r\ns=-\r\nc=IN IP4 " + address + "\r\nt=0 0\r\nm=audio " + port + " RTP/AVP 0"
	}
	const ok, request = "SIP/2.0 200 OK", "INVITE sip:b@h SIP/2.0"
	for name, tc := range map[string]struct {
		a, b, answerA, answerB string
		bFirst                 bool
		by                     string
	}{
		"Session-ID of the answers": {"Session-ID: " + uuidA + "\r\n", "Session-ID: " + uuidB + "\r\n",
			"Session-ID: " + uuidB + ";remote=" + uuidA + "\r\n", "Session-ID: " + uuidB + ";remote=" + uuidA + "\r\n", false, LinkedBySession},
		"header":               {"", "X-CID: a\r\n", "", "", false, LinkedByHeader},
		"header, second first": {"", "X-CID: a\r\n", "", "", true, LinkedByHeader},
		"guess":                {"", "", "", "", false, LinkedByGuess},
		"guess, second first":  {"", "", "", "", true, LinkedByGuess},
	} {
		inviteA := packet(0, "10.0.0.1:5060", "10.0.0.2:5060", sipText(request, "a", "", tc.a+sdp("10.0.0.1", "4000")))
		inviteB := packet(20, "10.0.0.2:5060", "10.0.0.3:5060", sipText(request, "b", "", tc.b+sdp("10.0.0.2", "6000")))
		rest := []pcap.Datagram{
			packet(900, "10.0.0.3:5060", "10.0.0.2:5060", sipText(ok, "b", ";tag=2", tc.answerB+sdp("10.0.0.3", "4000"))),
			packet(910, "10.0.0.2:5060", "10.0.0.1:5060", sipText(ok, "a", ";tag=2", tc.answerA+sdp("10.0.0.2", "5000"))),
			packet(2000, "10.0.0.1:4001", "10.0.0.2:5001", []byte("\x80\xc9\x00\x01\x00\x00\x00\x07")),
			packet(2010, "10.0.0.3:4001", "10.0.0.2:6001", []byte("\x80\xc9\x00\x01\x00\x00\x00\x08")),
		}
		packets := append([]pcap.Datagram{inviteA, inviteB}, rest...)
		key, linked := "a", "b"
		if tc.bFirst {
			packets[0], packets[1] = packets[1], packets[0]
			key, linked = "b", "a"
		}
		records, calls, err := importBytes(t, "x.pcap", capture(t, packets...))
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) != 1 || calls[0].CallKey != key || len(records) != 7 {
			t.Errorf("%s: calls %v, %d records", name, calls, len(records))
			continue
		}
		for _, r := range records[:6] {
			m := r.GetSip()
			want := ""
			if m.GetCallId() == linked {
				want = tc.by
			}
			if r.CallKey != key || m.GetLinkedBy() != want {
				t.Errorf("%s: record %v", name, r)
			}
		}
	}
}

// What cannot be used is counted by reason and costs its neighbours nothing.
func TestImportCountsWhatItPassesOver(t *testing.T) {
	packets := callPackets(t, time.Time{})
	var file []byte
	for i, p := range packets {
		switch i {
		case 1:
			file = hep.Append(file, &hep.Packet{Version: 3, Src: p.Src, Dst: p.Dst, Time: p.Time, PayloadType: hep.TypeSIP, Payload: []byte("INVITE sip:a@b SIP/2.0\r\n\r\n")})
			file = hep.Append(file, &hep.Packet{Version: 3, Src: p.Src, Dst: p.Dst, Time: p.Time, PayloadType: hep.TypeRTCPJSON, Payload: []byte(`{"ssrc":`)})
			// A chunk that is longer than its packet.
			file = append(file, 'H', 'E', 'P', '3', 0, 12, 0, 0, 0, 1, 0, 200)
		}
		file = hep.Append(file, &p)
	}
	file = append(file, hep.Append(nil, &packets[0])[:20]...)
	whole := []byte{}
	for _, p := range packets {
		whole = hep.Append(whole, &p)
	}
	want, _, err := importBytes(t, "whole.hep", whole)
	if err != nil {
		t.Fatal(err)
	}
	got, _, passed, err := importAll(t, "part.hep", file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	if want := (map[string]int{"sip_missing": 1, "rtcp_json": 1, "hep_not_hep": 1, "hep_truncated": 1}); !maps.Equal(passed, want) {
		t.Errorf("passed over %v, want %v", passed, want)
	}
}
