package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

const testPartitions = 4

// rig is an Ingester on a broker of its own, with what it wrote.
type rig struct {
	t        *testing.T
	broker   *kfake.Cluster
	kafka    bus.Config
	registry *prometheus.Registry
	producer *Producer
	ingester *Ingester
	web      *httptest.Server
	stop     func()

	mu      sync.Mutex
	records []*telemetry.Record
	placed  map[string]map[int32]bool // topic and key to partitions
	wake    chan struct{}
}

func newRig(t *testing.T, tune ...func(*Config, *Deps)) *rig {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	r := &rig{t: t, broker: broker, kafka: bus.Config{Brokers: broker.ListenAddrs(), Partitions: testPartitions, Replication: 1},
		registry: prometheus.NewRegistry(), placed: map[string]map[int32]bool{}, wake: make(chan struct{}, 1)}
	if err := bus.EnsureTopics(t.Context(), r.kafka); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	deps := Deps{Kafka: r.kafka, Metrics: r.registry,
		Authenticate: func(q *http.Request) (string, bool) { return "acme", q.Header.Get("Authorization") == "Bearer k" }}
	for _, f := range tune {
		f(&cfg, &deps)
	}
	if r.producer, err = NewProducer(r.kafka, cfg.Buffer, r.registry); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.producer.Close)
	deps.Producer = r.producer
	if r.ingester, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.ingester.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(r.stop)
	r.web = httptest.NewServer(r.ingester.HTTPHandler())
	t.Cleanup(r.web.Close)
	r.consume()
	return r
}

func (r *rig) consume() {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kafka.Brokers...), kgo.ConsumeTopics(telemetry.TopicTelemetry, telemetry.TopicRegistrations),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(k *kgo.Record) {
				r.mu.Lock()
				defer r.mu.Unlock()
				for b, err := range telemetry.Unpack(k.Value) {
					rec := &telemetry.Record{}
					if err == nil {
						err = proto.Unmarshal(b, rec)
					}
					if err != nil {
						r.t.Errorf("cannot read a record: %v", err)
						return
					}
					r.take(k, rec)
				}
				select {
				case r.wake <- struct{}{}:
				default:
				}
			})
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done; client.Close() })
}

// take notes a record and where it is.
func (r *rig) take(k *kgo.Record, rec *telemetry.Record) {
	r.records = append(r.records, rec)
	key := ""
	if rec.GetTick() == nil && rec.GetEnd() == nil {
		key = string(Key(rec))
		// Where Kafka's own clients would have put it.
		want := kgo.StickyKeyPartitioner(nil).ForTopic(k.Topic).Partition(&kgo.Record{Key: Key(rec)}, testPartitions)
		if k.Topic != Topic(rec) || int(k.Partition) != want {
			r.t.Errorf("record %v is in partition %d of %s, want %d", rec, k.Partition, k.Topic, want)
		}
	}
	key = k.Topic + " " + key
	if r.placed[key] == nil {
		r.placed[key] = map[int32]bool{}
	}
	r.placed[key][k.Partition] = true
}

// wait gives the records that match once there are n.
func (r *rig) wait(n int, match func(*telemetry.Record) bool) []*telemetry.Record {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		var found []*telemetry.Record
		for _, rec := range r.records {
			if match(rec) {
				found = append(found, rec)
			}
		}
		r.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-r.wake:
		case <-deadline:
			r.t.Fatalf("%d records instead of %d came", len(found), n)
		}
	}
}

func isSIP(r *telemetry.Record) bool  { return r.GetSip() != nil }
func isRTCP(r *telemetry.Record) bool { return r.GetRtcp() != nil }

// sums adds up a counter over all labels but those given.
func (r *rig) sums(name string, labels ...string) (total float64) {
	families, err := r.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if hasLabels(m, labels) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

func hasLabels(m *dto.Metric, want []string) bool {
	for _, w := range want {
		found := false
		for _, l := range m.Label {
			found = found || l.GetName()+"="+l.GetValue() == w
		}
		if !found {
			return false
		}
	}
	return true
}

// balance checks that every observation of a listener has found its end.
func (r *rig) balance(listener string) {
	r.t.Helper()
	l := "listener=" + listener
	received := r.sums("earshot_ingest_received_total", l)
	ended := r.sums("earshot_ingest_produced_total", l) + r.sums("earshot_ingest_rejected_total", l) + r.sums("earshot_ingest_dropped_total", l)
	if received == 0 || received != ended {
		r.t.Errorf("%s: %v received, %v accounted for", listener, received, ended)
	}
}

func (r *rig) dial(network string, addr net.Addr) net.Conn {
	r.t.Helper()
	conn, err := net.Dial(network, addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// callPackets are the SIP and RTCP packets of a recorded call, moved to now.
func callPackets(t *testing.T, now time.Time) []hep.Packet {
	t.Helper()
	all := fixturePackets(t)
	if !now.IsZero() {
		first := all[0].Time
		for i := range all {
			all[i].Time = now.Add(all[i].Time.Sub(first) / 1000) // 40 s in 40 ms: within the tolerance
		}
	}
	return all
}

func fixturePackets(t testing.TB) (all []hep.Packet) {
	t.Helper()
	for _, dg := range read(t, fixture(t, "captures/loss5_jitter40/mid.pcap")) {
		kind := classify(dg.Payload)
		if kind == unitMedia {
			continue
		}
		p := hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: dg.Src, Dst: dg.Dst, Time: dg.At, Payload: dg.Payload, PayloadType: hep.TypeSIP, AgentID: 7, AgentName: []byte("probe")}
		if kind == unitRTCP {
			p.PayloadType = hep.TypeRTCP
		}
		all = append(all, p)
	}
	return all
}

func TestHEPOverUDPAndTCP(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := newRig(t)
			addr, listener := r.ingester.Addrs().HEPUDP, ListenerHEPUDP
			if network == "tcp" {
				addr, listener = r.ingester.Addrs().HEPTCP, ListenerHEPTCP
			}
			conn := r.dial(network, addr)
			for _, p := range callPackets(t, time.Now()) {
				send(t, conn, hep.Append(nil, &p))
			}
			send(t, conn, hep.Append(nil, &hep.Packet{Version: 3, Family: 2, Protocol: 17, Src: addr4("10.0.0.1:1"), Dst: addr4("10.0.0.2:2"), Time: time.Now(), PayloadType: hep.TypeLog, Payload: []byte("a log line")}))
			for _, rec := range r.wait(6, isSIP) {
				if rec.CallKey != "0f05506ee87a5c5c" || rec.Timeline.Id != "" || rec.Timeline.Seq != 0 || rec.Source.Agent != "probe" || rec.Source.Kind != telemetry.Source_KIND_HEP || rec.GetSip().Src == "" {
					t.Errorf("record %v", rec)
				}
			}
			for _, rec := range r.wait(20, isRTCP) {
				if rec.CallKey != "0f05506ee87a5c5c" || rec.Company != DefaultCompany {
					t.Errorf("record %v", rec)
				}
			}
			r.stop()
			r.balance(listener)
			if n := r.sums("earshot_ingest_rejected_total", "listener="+listener, "reason=payload_type_log"); n != 1 {
				t.Errorf("%v log lines rejected", n)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.placed[telemetry.TopicTelemetry+" default\x000f05506ee87a5c5c"]) != 1 {
				t.Errorf("partitions of the call: %v", r.placed)
			}
		})
	}
}

func addr4(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// RTCP that comes before its SDP waits for it; garbage is counted, never fatal.
func TestHEPOutOfOrderAndGarbage(t *testing.T) {
	r := newRig(t)
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	packets := callPackets(t, time.Now())
	for _, b := range [][]byte{{}, []byte("HEP3"), []byte("HEP3\x00\x06"), bytes.Repeat([]byte{0xff}, 1500)} {
		send(t, conn, b)
	}
	for i := len(packets) - 1; i >= 0; i-- {
		send(t, conn, hep.Append(nil, &packets[i]))
	}
	for _, rec := range r.wait(20, isRTCP) {
		if rec.CallKey != "0f05506ee87a5c5c" {
			t.Errorf("call %q", rec.CallKey)
		}
	}
	r.stop()
	r.balance(ListenerHEPUDP)
	if n := r.sums("earshot_ingest_correlated_total", "result=released"); n == 0 {
		t.Error("nothing had to wait")
	}
}

// A capture of another day that an agent replays is on a timeline of its own,
// which ends when the agent falls silent.
func TestHEPReplay(t *testing.T) {
	var mu sync.Mutex
	ahead := time.Duration(0)
	r := newRig(t, func(_ *Config, d *Deps) {
		d.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	})
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	packets := callPackets(t, time.Time{})
	for i := range packets {
		packets[i].Time = packets[i].Time.Add(-24 * 365 * time.Hour)
		send(t, conn, hep.Append(nil, &packets[i]))
	}
	replayed := r.wait(26, func(rec *telemetry.Record) bool { return rec.Timeline.GetId() != "" && rec.GetEnd() == nil })
	id := replayed[0].Timeline.Id
	if want := "replay:probe:" + packets[0].Time.UTC().Format("2006-01-02T15:04:05.000000Z"); id != want {
		t.Errorf("timeline %q, want %q", id, want)
	}
	seen := map[uint64]bool{}
	for _, rec := range replayed {
		if rec.Timeline.Id != id || rec.CallKey != "0f05506ee87a5c5c" || rec.Source.ClockOffsetUs != 0 || seen[rec.Timeline.Seq] {
			t.Errorf("record %v", rec)
		}
		seen[rec.Timeline.Seq] = true
	}
	mu.Lock()
	ahead = 11 * time.Second
	mu.Unlock()
	for _, end := range r.wait(2*testPartitions, func(rec *telemetry.Record) bool { return rec.GetEnd() != nil }) {
		if end.Timeline.Id != id || end.Timeline.Seq != 27 || end.AtUs != packets[len(packets)-1].Time.UnixMicro() {
			t.Errorf("end %v", end)
		}
	}
}

func TestHEPClockOff(t *testing.T) {
	r := newRig(t)
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	sent := time.Now()
	for _, p := range callPackets(t, sent.Add(-5*time.Minute)) {
		send(t, conn, hep.Append(nil, &p))
	}
	for _, rec := range r.wait(6, isSIP) {
		if off := time.Duration(rec.Source.ClockOffsetUs) * time.Microsecond; off < 5*time.Minute-time.Second || off > 5*time.Minute+30*time.Second {
			t.Errorf("offset %v", off)
		}
		if rec.AtUs < sent.Add(-time.Second).UnixMicro() || rec.Timeline.Id != "" {
			t.Errorf("at %v on %q", telemetry.Time(rec.AtUs), rec.Timeline.Id)
		}
	}
}

func TestRTCPOverUDP(t *testing.T) {
	r := newRig(t)
	packets := callPackets(t, time.Now())
	hepConn, conn := r.dial("udp", r.ingester.Addrs().HEPUDP), r.dial("udp", r.ingester.Addrs().RTCP)
	for _, p := range packets {
		switch p.PayloadType {
		case hep.TypeSIP: // its SDP has a=ssrc, by which the phone's own RTCP is found
			send(t, hepConn, hep.Append(nil, &p))
		}
	}
	r.wait(6, isSIP)
	for _, p := range packets {
		if p.PayloadType == hep.TypeRTCP {
			send(t, conn, p.Payload)
		}
	}
	send(t, conn, []byte("no RTCP"))
	for _, rec := range r.wait(20, isRTCP) {
		if rec.CallKey != "0f05506ee87a5c5c" || rec.GetRtcp().Src != conn.LocalAddr().String() || rec.Source.Kind != telemetry.Source_KIND_RTCP {
			t.Errorf("record %v", rec)
		}
	}
	r.stop()
	r.balance(ListenerRTCP)
}

var branches atomic.Int64

// request sends a SIP request and gives the response.
func (r *rig) request(conn net.Conn, method, user, callID string, cseq int, body string, headers ...string) string {
	r.t.Helper()
	lines := []string{
		fmt.Sprintf("%s sip:example.test SIP/2.0", method),
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%d;rport", strings.ToUpper(conn.LocalAddr().Network()), conn.LocalAddr(), branches.Add(1)),
		"Max-Forwards: 70", fmt.Sprintf("From: <sip:%s@example.test>;tag=1", user), fmt.Sprintf("To: <sip:%s@example.test>", user),
		"Call-ID: " + callID, fmt.Sprintf("CSeq: %d %s", cseq, method), "User-Agent: test/1.0",
	}
	lines = append(lines, headers...)
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	send(r.t, conn, []byte(strings.Join(lines, "\r\n")))
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 65536)
	n, err := conn.Read(b)
	if err != nil {
		r.t.Fatalf("no response to %s: %v", method, err)
	}
	return string(b[:n])
}

func status(response string) string { return strings.SplitN(response, " ", 3)[1] }

func contacts(response string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^Contact: (.*?)\r?$`).FindAllStringSubmatch(response, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestRegistrar(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := newRig(t)
			addr, listener := r.ingester.Addrs().SIPUDP, ListenerSIPUDP
			if network == "tcp" {
				addr, listener = r.ingester.Addrs().SIPTCP, ListenerSIPTCP
			}
			conn := r.dial(network, addr)
			messages := 0
			register := func(wantStatus string, cseq int, headers ...string) string {
				t.Helper()
				messages += 2
				response := r.request(conn, "REGISTER", "ann", "c1", cseq, "", headers...)
				if status(response) != wantStatus {
					t.Errorf("CSeq %d: %s, want %s", cseq, response, wantStatus)
				}
				return response
			}
			if got := register("423", 1, "Contact: <sip:ann@10.0.0.1>", "Expires: 10"); !strings.Contains(got, "Min-Expires: 20\r\n") {
				t.Errorf("no Min-Expires: %s", got)
			}
			if got := contacts(register("200", 2, "Contact: <sip:ann@10.0.0.1:5070>;expires=60;+sip.instance=\"<urn:uuid:1>\";reg-id=1", "Supported: outbound")); len(got) != 1 ||
				got[0] != `<sip:ann@10.0.0.1:5070>;expires=60;+sip.instance="<urn:uuid:1>";reg-id=1` {
				t.Errorf("contacts %q", got)
			}
			// The same device from another address replaces its binding; another phone adds one.
			if got := contacts(register("200", 3, "Contact: <sip:ann@10.0.0.9:5070>;+sip.instance=\"<urn:uuid:1>\";reg-id=1, <sip:ann@10.0.0.2>", "Supported: outbound")); len(got) != 2 ||
				!strings.HasPrefix(got[0], "<sip:ann@10.0.0.9:5070>;expires=300") || !strings.HasPrefix(got[1], "<sip:ann@10.0.0.2>;expires=300") {
				t.Errorf("contacts %q", got)
			}
			if got := contacts(register("200", 4)); len(got) != 2 {
				t.Errorf("query: contacts %q", got)
			}
			if got := contacts(register("200", 5, "Contact: <sip:ann@10.0.0.2>;expires=0")); len(got) != 1 {
				t.Errorf("contacts %q", got)
			}
			if got := contacts(register("200", 6, "Contact: <sip:ann@10.0.0.1>", "Expires: 999999")); len(got) != 2 || !strings.HasSuffix(got[1], ";expires=3600") {
				t.Errorf("contacts %q", got)
			}
			register("500", 5, "Contact: <sip:ann@10.0.0.7>") // overtaken
			register("400", 7, "Contact: *", "Expires: 60")
			if got := contacts(register("200", 8, "Contact: *", "Expires: 0")); len(got) != 0 {
				t.Errorf("contacts %q", got)
			}
			for method, want := range map[string]string{"OPTIONS": "200", "INVITE": "405", "MESSAGE": "405", "FROBNICATE": "501"} {
				messages += 2
				if got := r.request(conn, method, "ann", "o1", 1, ""); status(got) != want {
					t.Errorf("%s: %s, want %s", method, got, want)
				}
			}
			for _, rec := range r.wait(18, func(rec *telemetry.Record) bool { return rec.GetSip().GetMethod() == "REGISTER" }) {
				m := rec.GetSip()
				if m.ReceivedFrom != conn.LocalAddr().String() || m.Transport != network || Topic(rec) != telemetry.TopicRegistrations || string(Key(rec)) != "default\x00ann@example.test" {
					t.Errorf("record %v", rec)
				}
				if m.Status == 0 && m.Src != conn.LocalAddr().String() || m.Status != 0 && m.Dst != conn.LocalAddr().String() {
					t.Errorf("%d from %s to %s", m.Status, m.Src, m.Dst)
				}
			}
			r.wait(messages, isSIP)
			r.stop()
			r.balance(listener)
		})
	}
}

const vqBodyText = "VQSessionReport: CallTerm\r\nCallID: vq-call-1\r\nLocalID: <sip:ann@example.test>\r\nRemoteID: <sip:bob@example.test>\r\n" +
	"LocalAddr: IP=10.0.0.1 PORT=5000 SSRC=0x2468ace0\r\nRemoteAddr: IP=10.0.0.2 PORT=5002 SSRC=0x1357efff\r\n" +
	"LocalMetrics:\r\nTimestamps: START=2004-10-10T18:23:43Z STOP=2004-10-01T18:26:02Z\r\nSessionDesc: PT=0 PD=PCMU SR=8000\r\n" +
	"PacketLoss: NLR=5.0 JDR=2.0\r\nDelay: RTD=200 ESD=140 IAJ=2\r\nQualityEst: MOSLQ=4.2 MOSCQ=4.3\r\n"

func TestPublishQuality(t *testing.T) {
	r := newRig(t)
	conn := r.dial("udp", r.ingester.Addrs().SIPUDP)
	got := r.request(conn, "PUBLISH", "ann", "p1", 1, vqBodyText, "Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr")
	if status(got) != "200" || !regexp.MustCompile(`SIP-ETag: \S+`).MatchString(got) {
		t.Errorf("response %s", got)
	}
	if got := r.request(conn, "PUBLISH", "ann", "p2", 1, "", "Event: presence"); status(got) != "489" {
		t.Errorf("presence: %s", got)
	}
	if got := r.request(conn, "NOTIFY", "ann", "p3", 1, vqBodyText, "Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr"); status(got) != "200" {
		t.Errorf("NOTIFY: %s", got)
	}
	for _, rec := range r.wait(2, func(rec *telemetry.Record) bool { return rec.GetVq() != nil }) {
		if vq := rec.GetVq(); rec.CallKey != "vq-call-1" || vq.Local.GetLossPercent() != 5 || vq.Identity.GetNumber() != "ann" || string(vq.Raw) != vqBodyText {
			t.Errorf("record %v", rec)
		}
	}
	r.stop()
	r.balance(ListenerSIPUDP)
}

func (r *rig) post(path, body, contentType, encoding, key string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.web.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", encoding)
	req.Header.Set("Authorization", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(b)
}

const (
	sample = `{"call_id":"w1","leg_id":"l","user_id":"u","side":"target","stats":{"I":{"type":"inbound-rtp","kind":"audio","packetsReceived":1}}}`
	event  = `{"specversion":"1.0","id":"%s","source":"/pbx","type":"earshot.call.ended","data":{"call_id":"e1","user":"u"}}`
)

func packed(t testing.TB, encoding, body string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	if encoding == "gzip" {
		w = gzip.NewWriter(&b)
	} else if w, err = zstd.NewWriter(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTTP(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.HTTP.BodyBytes, c.HTTP.PlainBytes, c.HTTP.ItemBytes = 2000, 4000, 1500 })
	for i, tc := range []struct {
		path, body, contentType, encoding, key string
		status                                 int
		answer                                 string // contained in the body
	}{
		{"/ingest/v1/webrtc", sample, "application/json", "", "Bearer k", 202, `{"accepted":1,"rejected":[]}`},
		{"/ingest/v1/webrtc", "[" + sample + "," + sample + "]", "application/json", "", "Bearer k", 202, `"accepted":2`},
		{"/ingest/v1/webrtc", sample + "\n\n" + sample + "\n{bad\n" + sample, "application/x-ndjson", "", "Bearer k", 202, `{"accepted":3,"rejected":[{"index":2,"field":"",`},
		{"/ingest/v1/webrtc", sample + "\n" + sample, "application/json", "", "Bearer k", 202, `"accepted":2`},
		{"/ingest/v1/webrtc", "[" + sample + `,{"call_id":"x"}]`, "application/json", "", "Bearer k", 202, `{"accepted":1,"rejected":[{"index":1,"field":"stats","detail":"missing"}]}`},
		{"/ingest/v1/webrtc", packed(t, "gzip", sample), "application/json", "gzip", "Bearer k", 202, `"accepted":1`},
		{"/ingest/v1/webrtc", packed(t, "zstd", sample), "application/json", "zstd", "Bearer k", 202, `"accepted":1`},
		{"/ingest/v1/events", fmt.Sprintf(event, "a"), "application/cloudevents+json", "", "Bearer k", 202, `"accepted":1`},
		{"/ingest/v1/events", "[" + fmt.Sprintf(event, "b") + "," + fmt.Sprintf(event, "c") + "]", "application/cloudevents-batch+json; charset=utf-8", "", "Bearer k", 202, `"accepted":2`},
		{"/ingest/v1/webrtc", sample, "application/json", "", "Bearer wrong", 401, `"status":401`},
		{"/ingest/v1/webrtc", "", "application/json", "", "Bearer k", 400, "empty"},
		{"/ingest/v1/webrtc", "[]", "application/json", "", "Bearer k", 400, "empty"},
		{"/ingest/v1/webrtc", `[{"stats":{}},{"call_id":"x"}]`, "application/json", "", "Bearer k", 400, `"rejected":[{"index":0,"field":"call_id","detail":"missing"},{"index":1,"field":"stats"`},
		{"/ingest/v1/webrtc", "[" + sample, "application/json", "", "Bearer k", 400, `"field":"[1]"`},
		{"/ingest/v1/webrtc", "[" + sample + "] x", "application/json", "", "Bearer k", 400, `"field":"[1]"`},
		{"/ingest/v1/webrtc", `{"call_id":"c"}`, "application/json", "", "Bearer k", 400, `"field":"stats"`},
		{"/ingest/v1/events", `{"specversion":"1.0","id":"1","source":"s","type":"rejected","data":{"call_id":"c","reason":"bored"}}`, "application/json", "", "Bearer k", 400, `"field":"data.reason"`},
		{"/ingest/v1/webrtc", sample, "application/json", "br", "Bearer k", 415, `"status":415`},
		{"/ingest/v1/webrtc", sample, "application/xml", "", "Bearer k", 415, `"status":415`},
		{"/ingest/v1/webrtc", "not gzip", "application/json", "gzip", "Bearer k", 400, "gzip"},
		{"/ingest/v1/webrtc", strings.Repeat(" ", 2001), "application/json", "", "Bearer k", 413, `"status":413`},
		{"/ingest/v1/webrtc", packed(t, "gzip", strings.Repeat(" ", 4001)), "application/json", "gzip", "Bearer k", 413, `"status":413`},
		{"/ingest/v1/webrtc", packed(t, "zstd", strings.Repeat(" ", 1<<20)), "application/json", "zstd", "Bearer k", 413, `"status":413`},
		{"/ingest/v1/webrtc", `{"call_id":"` + strings.Repeat("x", 1600) + `","stats":{}}`, "application/json", "", "Bearer k", 413, `"field":"[0]"`},
	} {
		res, body := r.post(tc.path, tc.body, tc.contentType, tc.encoding, tc.key)
		if res.StatusCode != tc.status || !strings.Contains(body, tc.answer) {
			t.Errorf("%d: %d %s, want %d %s", i, res.StatusCode, body, tc.status, tc.answer)
		}
		if kind := res.Header.Get("Content-Type"); res.StatusCode >= 400 && kind != "application/problem+json" {
			t.Errorf("%d: Content-Type %s", i, kind)
		}
	}
	for _, rec := range r.wait(11, func(rec *telemetry.Record) bool { return rec.GetWebrtc() != nil }) {
		if rec.Company != "acme" || rec.CallKey != "w1" || rec.GetWebrtc().Identity.GetUserId() != "u" || rec.Timeline.Id != "" {
			t.Errorf("record %v", rec)
		}
	}
	for _, rec := range r.wait(3, func(rec *telemetry.Record) bool { return rec.GetEvent() != nil }) {
		if rec.Company != "acme" || rec.CallKey != "e1" || rec.Source.Agent != "/pbx" {
			t.Errorf("record %v", rec)
		}
	}
	r.balance(ListenerWebRTC)
	r.balance(ListenerEvents)
}

// A body that was recorded long ago, or by a clock that is off, keeps its
// intervals and ends now.
func TestHTTPClockOff(t *testing.T) {
	r := newRig(t)
	var lines []string
	for i := range 3 {
		lines = append(lines, fmt.Sprintf(`{"call_id":"c","leg_id":"l","at":"2020-01-01T00:00:0%dZ","stats":{}}`, i))
	}
	if res, body := r.post("/ingest/v1/webrtc", strings.Join(lines, "\n"), "application/x-ndjson", "", "Bearer k"); res.StatusCode != 202 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	found := r.wait(3, func(rec *telemetry.Record) bool { return rec.GetWebrtc() != nil })
	for i, rec := range found {
		if want := rec.ReceivedUs - int64(2-i)*1_000_000; rec.AtUs != want || rec.Source.ClockOffsetUs == 0 {
			t.Errorf("sample %d at %d, want %d", i, rec.AtUs, want)
		}
	}
}

// Without Kafka: HTTP is told to come again, UDP drops and counts, TCP is not read.
func TestKafkaAway(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.Buffer.Records = 5
		c.Buffer.Drain = 100 * time.Millisecond
		c.HTTP.AckTimeout = 200 * time.Millisecond
	})
	r.wait(2*testPartitions, func(rec *telemetry.Record) bool { return rec.GetTick() != nil })
	r.broker.Close()
	res, body := r.post("/ingest/v1/webrtc", sample, "application/json", "", "Bearer k")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"status":503`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	packets := callPackets(t, time.Now())
	for _, p := range packets {
		send(t, conn, hep.Append(nil, &p))
	}
	deadline := time.Now().Add(20 * time.Second)
	for r.sums("earshot_ingest_dropped_total", "listener="+ListenerHEPUDP, "reason=buffer_full") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing was dropped")
		}
		time.Sleep(10 * time.Millisecond)
	}
	// TCP: one record more than there is room for is taken off the wire, no more.
	tcp := r.dial("tcp", r.ingester.Addrs().HEPTCP)
	for _, p := range packets {
		send(t, tcp, hep.Append(nil, &p))
	}
	if n := r.sums("earshot_ingest_dropped_total", "listener="+ListenerHEPTCP); n != 0 {
		t.Errorf("%v dropped on TCP", n)
	}
}

func TestTicksReachEveryPartition(t *testing.T) {
	r := newRig(t)
	r.wait(4*testPartitions, func(rec *telemetry.Record) bool { return rec.GetTick() != nil })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range []string{telemetry.TopicTelemetry, telemetry.TopicRegistrations} {
		if n := len(r.placed[topic+" "]); n != testPartitions {
			t.Errorf("%s: ticks on %d partitions", topic, n)
		}
	}
}

func TestImportThroughKafka(t *testing.T) {
	r := newRig(t)
	name := "../testdata/captures/loss5_jitter40/mid.pcap"
	var last ImportProgress
	calls, err := Import(t.Context(), ImportConfig{Files: []string{name}, Producer: r.producer, Progress: func(p ImportProgress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0].CallID != "0f05506ee87a5c5c" || calls[0].File != name {
		t.Errorf("calls %v", calls)
	}
	ends := r.wait(2*testPartitions, func(rec *telemetry.Record) bool { return rec.GetEnd() != nil })
	imported := r.wait(26, func(rec *telemetry.Record) bool { return rec.GetSip() != nil || rec.GetRtcp() != nil })
	if len(ends) != 2*testPartitions || ends[0].Timeline.Id != imported[0].Timeline.Id {
		t.Errorf("%d ends on %v", len(ends), ends[0].Timeline)
	}
	if last.Done != last.Total || last.Records == 0 || uint64(last.Records+1) != ends[0].Timeline.Seq {
		t.Errorf("progress %+v, end %v", last, ends[0].Timeline)
	}
	if _, err := Import(t.Context(), ImportConfig{Files: []string{"no-such.pcap"}, Producer: r.producer}); err == nil || !strings.Contains(err.Error(), "no-such.pcap") {
		t.Errorf("missing file: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, setting := range []string{"ingest.hep.listen", "ingest.rtcp.listen", "ingest.sip.listen"} {
		cfg := DefaultConfig()
		cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen = "", "", ""
		switch setting {
		case "ingest.hep.listen":
			cfg.HEP.Listen = taken.LocalAddr().String()
		case "ingest.rtcp.listen":
			cfg.RTCP.Listen = taken.LocalAddr().String()
		default:
			cfg.SIP.Listen = taken.LocalAddr().String()
		}
		_, err := New(cfg, Deps{})
		var le *ListenError
		if !errors.As(err, &le) || le.Setting != setting || !strings.Contains(err.Error(), setting) || !strings.Contains(err.Error(), "taken") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// A second ingester finds the call of RTCP whose SDP only the first one saw.
func TestBindingsAreShared(t *testing.T) {
	r := newRig(t)
	other := newRig(t, func(c *Config, d *Deps) { c.RTCP.Listen = ""; c.SIP.Listen = ""; d.Kafka = r.kafka })
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	packets := callPackets(t, time.Now())
	for _, p := range packets {
		if p.PayloadType == hep.TypeSIP {
			send(t, conn, hep.Append(nil, &p))
		}
	}
	conn = other.dial("udp", other.ingester.Addrs().HEPUDP)
	for _, p := range packets {
		if p.PayloadType == hep.TypeRTCP {
			send(t, conn, hep.Append(nil, &p))
		}
	}
	for _, rec := range other.wait(20, isRTCP) {
		if rec.CallKey != "0f05506ee87a5c5c" {
			t.Errorf("call %q", rec.CallKey)
		}
	}
}
