package ingest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

// bench is an Ingester without sockets and Kafka, and what it writes.
type bench struct {
	t       testing.TB
	in      *Ingester
	ob      *observer
	from    *source
	records []*telemetry.Record
	now     time.Time
}

// newQuiet gives an Ingester without sockets and Kafka.
func newQuiet(t testing.TB) *Ingester {
	t.Helper()
	cfg := DefaultConfig()
	cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen, cfg.Bindings.Share = "", "", "", false
	in, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func newBench(t *testing.T) *bench {
	t.Helper()
	in := newQuiet(t)
	b := &bench{t: t, in: in, from: newSource(addr4("192.0.2.1:9")), now: time.Unix(1_700_000_000, 0)}
	b.ob = in.newObserver(ListenerHEPUDP, b.write)
	return b
}

func (b *bench) write(o outgoing) {
	r := &telemetry.Record{}
	if err := proto.Unmarshal(o.record, r); err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(o.key, Key(r)) || o.registration != (Topic(r) == telemetry.TopicRegistrations) {
		b.t.Errorf("key %q of %v", o.key, r)
	}
	b.records = append(b.records, r)
	o.to.acknowledged(1, nil)
}

func (b *bench) hep(kind uint8, src, dst, correlationID, payload string) {
	p := hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: addr4(src), Dst: addr4(dst), Time: b.now, AgentID: 1,
		PayloadType: kind, CorrelationID: []byte(correlationID), Payload: []byte(payload)}
	raw := hep.Append(nil, &p)
	b.ob.hep(raw, b.from, b.now.UnixMicro())
	// Nothing may still need the packet, or the buffers that come with the next one.
	for _, buffer := range [][]byte{raw, b.ob.encoded, b.ob.addresses, b.ob.eventID, b.ob.key} {
		poison(buffer[:cap(buffer)])
	}
	// Nor the parser's: folded lines go into its scratch, piece by piece.
	if _, err := b.ob.messages.Parse([]byte("OPTIONS sip:h SIP/2.0\r\nTo:" + strings.Repeat("\r\n ####", 2000))); err == nil {
		b.t.Error("a message without Call-ID was read")
	}
}

func poison(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
}

func invite(callID, address string, port string, extra ...string) string {
	return "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: " + callID + "\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n" +
		"v=0\r\no=- 1 1 IN IP4 " + address + "\r\ns=-\r\nc=IN IP4 " + address + "\r\nt=0 0\r\nm=audio " + port + " RTP/AVP 0\r\n" + strings.Join(extra, "\r\n")
}

const rtcpJSON = `{"ssrc":1,"type":200,"report_count":1,"sender_information":{"ntp_timestamp_sec":3913056000,"ntp_timestamp_usec":1,"rtp_timestamp":1,"packets":10,"octets":100},` +
	`"report_blocks":[{"source_ssrc":2,"fraction_lost":0,"packets_lost":0,"highest_seq_no":5,"ia_jitter":3,"lsr":0,"dlsr":0}]}`

// The correlation id of HEP wins where it is a Call-ID that was seen; then the
// addresses; then, for RTCP as JSON, whatever the agent says.
func TestHEPCorrelationID(t *testing.T) {
	b := newBench(t)
	b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", invite("known", "10.0.0.1", "4000"))
	b.hep(hep.TypeSIP, "10.0.0.3:5060", "10.0.0.2:5060", "", invite("other", "10.0.0.3", "4000"))
	for i, tc := range []struct{ src, id, want string }{
		{"10.0.0.3:4001", "known", "known"},         // a relay's address, but the agent knows the call
		{"10.0.0.3:4001", "SIP/peer-0001", "other"}, // Asterisk's channel name: addresses know better
		{"10.9.9.9:4001", "later@pbx", "later@pbx"},
	} {
		b.hep(hep.TypeRTCPJSON, tc.src, "10.8.8.8:6001", tc.id, rtcpJSON)
		if r := b.records[len(b.records)-1]; len(b.records) != 3+i || r.CallKey != tc.want || r.GetRtcp() == nil {
			t.Errorf("%+v: %d records, last %v", tc, len(b.records), r)
		}
	}
	// Binary RTCP of an agent that gives ids of its own waits for its SDP.
	b.hep(hep.TypeRTCP, "10.9.9.7:4001", "10.8.8.7:6001", "whatever", "\x80\xc9\x00\x01\x00\x00\x00\x07")
	if len(b.records) != 5 {
		t.Fatalf("%d records", len(b.records))
	}
	b.in.upkeep(t.Context(), b.now.Add(30*time.Second).UnixMicro(), b.write)
	if r := b.records[len(b.records)-1]; len(b.records) != 6 || !strings.HasPrefix(r.CallKey, "rtcp:") {
		t.Errorf("%d records, last %v", len(b.records), r)
	}
}

// What is remembered of a message does not change with the packet it came in.
func TestNothingAliasesAPacket(t *testing.T) {
	b := newBench(t)
	text := invite("c", "10.0.0.1", "4000", "a=ssrc:77 cname:x\r\n")
	for range 2 { // sent again
		b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", text)
	}
	b.hep(hep.TypeRTCP, "10.0.0.1:4001", "10.0.0.2:5001", "", "\x80\xc9\x00\x01\x00\x00\x00\x07")
	b.hep(hep.TypeRTCP, "10.7.7.7:4001", "10.8.8.8:5001", "", "\x80\xc9\x00\x01\x00\x00\x00\x4d")
	b.hep(hep.TypeRTCP, "10.5.5.5:4001", "10.6.6.6:5001", "", "\x80\xc9\x00\x01\x00\x00\x00\x08") // waits
	b.hep(hep.TypeSIP, "10.5.5.5:5060", "10.0.0.2:5060", "", invite("d", "10.5.5.5", "4000"))
	b.hep(hep.TypeRTCPJSON, "10.9.9.9:4001", "10.9.9.8:5001", "given", rtcpJSON)
	var keys []string
	for _, r := range b.records {
		keys = append(keys, r.CallKey)
		if r.Source.GetAgent() != "1" || r.Company != DefaultCompany {
			t.Errorf("record %v", r)
		}
	}
	if want := []string{"c", "c", "c", "c", "d", "d", "given"}; !slices.Equal(keys, want) {
		t.Errorf("calls %q, want %q", keys, want)
	}
}

func TestHEPVideoIsNoAudio(t *testing.T) {
	b := newBench(t)
	b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", invite("c", "10.0.0.1", "4000", "m=video 5000 RTP/AVP 96\r\n"))
	b.hep(hep.TypeRTCP, "10.0.0.1:5001", "10.0.0.2:5001", "", "\x80\xc9\x00\x01\x00\x00\x00\x07")
	b.hep(hep.TypeRTCP, "10.0.0.1:4001", "10.0.0.2:4001", "", "\x80\xc9\x00\x01\x00\x00\x00\x08")
	if len(b.records) != 2 || b.records[1].GetRtcp().SenderSsrc != 8 {
		t.Errorf("records %v", b.records)
	}
}

func TestHEPQualityReport(t *testing.T) {
	b := newBench(t)
	b.hep(hep.TypeVQ, "10.0.0.1:5060", "10.0.0.2:5060", "", vqBodyText)
	// Without a Call-ID the media addresses in the report tell the call.
	b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", invite("c", "10.0.0.1", "5000"))
	b.hep(hep.TypeVQ, "10.0.0.1:5060", "10.0.0.2:5060", "", strings.Replace(vqBodyText, "CallID: vq-call-1\r\n", "", 1))
	if len(b.records) != 3 || b.records[0].CallKey != "vq-call-1" || b.records[2].CallKey != "c" || b.records[2].GetVq() == nil {
		t.Errorf("records %v", b.records)
	}
	// Collectors send the whole request.
	b.hep(hep.TypeVQ, "10.0.0.1:5060", "10.0.0.2:5060", "", "PUBLISH sip:c@h SIP/2.0\r\nCall-ID: publish\r\nCSeq: 1 PUBLISH\r\nContent-Type: application/vq-rtcpxr\r\n\r\n"+vqBodyText)
	if len(b.records) != 5 || b.records[3].GetSip().GetMethod() != "PUBLISH" || b.records[4].CallKey != "vq-call-1" || b.records[4].GetVq() == nil {
		t.Errorf("records %v", b.records[3:])
	}
}

// The same observation has the same id, another one has another.
func TestEventIDs(t *testing.T) {
	b := newBench(t)
	for range 2 {
		b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", invite("c", "10.0.0.1", "5000"))
	}
	b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.3:5060", "", invite("c", "10.0.0.1", "5000"))
	ids := []string{string(b.records[0].EventId), string(b.records[1].EventId), string(b.records[2].EventId)}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("ids %x", ids)
	}
}

func TestHEPOverTLS(t *testing.T) {
	pair, roots, certFile, keyFile := certificate(t)
	r := newRig(t, func(c *Config, _ *Deps) { c.HEP.TLS = TLSConfig{Cert: certFile, Key: keyFile, ClientCA: certFile} })
	dial := func(certs ...tls.Certificate) *tls.Conn {
		conn, err := tls.Dial("tcp", r.ingester.Addrs().HEPTCP.String(), &tls.Config{RootCAs: roots, Certificates: certs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// With TLS 1.3 a client learns that its certificate is missing when it reads.
	if _, err := dial().Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Fatalf("an agent without a certificate: %v", err)
	}
	conn := dial(pair)
	for _, p := range callPackets(t, time.Now()) {
		send(t, conn, hep.Append(nil, &p))
	}
	r.wait(20, isRTCP)
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(`[{"a":1},{"b":[2,"]"]}]`), "application/json")
	f.Add([]byte("{\"a\":1}\n{bad\n{}"), "application/x-ndjson")
	f.Add([]byte(`{"a":1} {"b":2}`), "")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		items, err := split(body, contentType, 1000)
		if err != nil {
			return
		}
		if len(items) == 0 {
			t.Fatal("no items and no error")
		}
		lines := strings.Contains(contentType, "jsonl") || strings.Contains(contentType, "ndjson")
		for _, item := range items {
			if len(item) == 0 || len(item) > 1000 || !lines && !json.Valid(item) {
				t.Fatalf("item %q", item)
			}
		}
	})
}
