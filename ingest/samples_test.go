package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// recordedSamples are items as a browser posts them, of a recorded call.
func recordedSamples(tb testing.TB, n int) [][]byte {
	tb.Helper()
	file, err := os.Open("../testdata/webrtc/w1_clean.jsonl.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	var items [][]byte
	for len(items) < n && lines.Scan() {
		var entry struct {
			Side   string                     `json:"side"`
			Report map[string]json.RawMessage `json:"report"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			tb.Fatal(err)
		}
		if entry.Side != "A" || len(entry.Report) == 0 {
			continue
		}
		// The codecs that are not in use are listed twice: a newer browser has 29 objects.
		for id, object := range entry.Report {
			if len(entry.Report) > 29 && bytes.Contains(object, []byte(`"type":"codec"`)) && !bytes.Contains(object, []byte("opus")) {
				delete(entry.Report, id)
			}
		}
		stats, err := json.Marshal(entry.Report)
		if err != nil {
			tb.Fatal(err)
		}
		items = append(items, fmt.Appendf(nil, `{"call_id":"42","leg_id":"42-alice","user_id":"alice","device_id":"d1","endpoint":"web","app_version":"5.2.1","stats":%s}`, stats))
	}
	if len(items) < n {
		tb.Fatalf("%d samples", len(items))
	}
	return items
}

// processorTime is what this process has used of the processors: other programs
// on the machine do not change it much.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// A body of ten samples, from its bytes to the records that Kafka gets, without
// Kafka: CPU per sample.
func BenchmarkSamples(b *testing.B) {
	in := quietIngester(b)
	items := recordedSamples(b, 10)
	body := append(append([]byte("["), bytes.Join(items, []byte(","))...), ']')
	for _, encoding := range []string{"plain", "gzip", "zstd"} {
		b.Run(encoding, func(b *testing.B) {
			sent := string(body)
			if encoding != "plain" {
				sent = packed(b, encoding, sent)
			}
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/ingest/v1/webrtc", strings.NewReader(sent))
				if encoding != "plain" {
					r.Header.Set("Content-Encoding", encoding)
				}
				s := sampleBodies.Get().(*samples)
				s.begin(in, "acme", in.now())
				if err := s.readBody(r); err != nil || len(s.produced) != len(items) {
					b.Fatalf("%d records: %v", len(s.produced), err)
				}
				for i := range s.produced {
					s.timed(&s.produced[i])
				}
				s.free()
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N*len(items)), "cpu-ns/sample")
			b.ReportMetric(float64(len(body)/len(items)), "bytes/sample")
		})
	}
}

// bodyOf reads a body with a buffer so small that items do not fit in it.
func bodyOf(in *Ingester, buffer int, body io.Reader, contentType string) (*samples, error) {
	r := httptest.NewRequest(http.MethodPost, "/ingest/v1/webrtc", body)
	r.Header.Set("Content-Type", contentType)
	s := &samples{buf: make([]byte, 0, buffer), legIndex: map[legKey]int{}}
	s.begin(in, "acme", in.now())
	return s, s.readBody(r)
}

func quietIngester(tb testing.TB) *Ingester {
	cfg := DefaultConfig()
	cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen = "", "", ""
	in, err := New(cfg, Deps{})
	if err != nil {
		tb.Fatal(err)
	}
	return in
}

// However a body comes in, the same records come out.
func TestSamplesInPieces(t *testing.T) {
	in := quietIngester(t)
	items := recordedSamples(t, 20)
	items[3] = []byte(`{"call_id":7,"stats":[],"padding":"` + strings.Repeat("é\\n", 90_000) + `"}`)
	items[5] = []byte(`{"call_id":"c","stats":"none"}`)
	items[6] = []byte(`[1,"x"]`)
	for contentType, body := range map[string][]byte{
		"application/json":     slices.Concat([]byte(" [ "), bytes.Join(items, []byte(" ,\n")), []byte("\n]\n")),
		"application/x-ndjson": bytes.Join(items, []byte("\r\n\n")),
		"text/plain":           bytes.Join(items, []byte(" ")),
	} {
		var want [][]byte
		for _, buffer := range []int{sampleBuffer, 16, 1 << 20} {
			for name, reader := range map[string]io.Reader{"whole": bytes.NewReader(body), "halves": iotest.HalfReader(bytes.NewReader(body)), "end": iotest.DataErrReader(bytes.NewReader(body))} {
				s, err := bodyOf(in, buffer, reader, contentType)
				if err != nil {
					t.Fatalf("%s %d %s: %v", contentType, buffer, name, err)
				}
				var got [][]byte
				for i := range s.produced {
					r := &telemetry.Record{}
					if err := proto.Unmarshal(s.timed(&s.produced[i]), r); err != nil {
						t.Fatal(err)
					}
					r.ReceivedUs, r.AtUs, r.EventId = 0, 0, nil // of the one without a time
					b, err := r.MarshalVT()
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, b)
				}
				if len(got) != 18 || len(s.receipt.Rejected) != 2 || s.receipt.Rejected[0].Index != 5 || s.receipt.Rejected[0].Field != "stats" || s.receipt.Rejected[1].Index != 6 {
					t.Fatalf("%s %d %s: %d records, refused %v", contentType, buffer, name, len(got), s.receipt.Rejected)
				}
				if want == nil {
					want = got
				}
				if !slices.EqualFunc(got, want, bytes.Equal) {
					t.Errorf("%s %d %s: other records", contentType, buffer, name)
				}
			}
		}
	}
}

// What was wrong with items, and what was set right in others, is counted.
func TestSamplesCounted(t *testing.T) {
	r := newRig(t)
	body := strings.Join([]string{
		`{"call_id":"c","stats":{"a":{"type":"inbound-rtp","ssrc":"x","jitter":1e999},"b":{"id":"a","type":"inbound-rtp","packetsLost":2}}}`,
		`{"call_id":"c","stats":[{"id":"a","type":"inbound-rtp","packetsLost":1},{"id":"a","type":"inbound-rtp","packetsLost":2}]}`,
		"{\"call_id\":\"\xff\",\"stats\":{}}",
		`{"call_id":"c","stats":{"a":NaN}}`,
		`{"call_id":"c","stats":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"call_id":"c"}`,
	}, "\n")
	res, answer := r.post("/ingest/v1/webrtc", body, "application/x-ndjson", "", "Bearer k")
	if res.StatusCode != 202 || !strings.Contains(answer, `"accepted":3,"rejected":[{"index":3,"field":"","detail":"malformed JSON at byte 28"},{"index":4,"field":"","detail":"nested too deep`) ||
		!strings.Contains(answer, `{"index":5,"field":"stats","detail":"missing"}`) {
		t.Errorf("%d %s", res.StatusCode, answer)
	}
	for _, rec := range r.wait(3, func(rec *telemetry.Record) bool { return rec.GetWebrtc() != nil }) {
		if in := rec.GetWebrtc().Inbound; rec.CallKey == "c" && len(in) == 1 && in[0].GetPacketsLost() != 2 {
			t.Errorf("inbound %v", in)
		}
	}
	for what, n := range map[string]float64{"text": 1, "number": 2, "duplicate": 1} {
		if got := r.sums("earshot_ingest_webrtc_repaired_total", "what="+what); got != n {
			t.Errorf("%s: %v repaired, want %v", what, got, n)
		}
	}
	if got := r.sums("earshot_ingest_rejected_total", "reason=http_json"); got != 2 {
		t.Errorf("%v rejected as no JSON", got)
	}
	r.balance(ListenerWebRTC)
}

// Nothing of one body is left in the next, which is read with the same buffers.
func TestSamplesUsedAgain(t *testing.T) {
	in := quietIngester(t)
	s := &samples{buf: make([]byte, 0, sampleBuffer), legIndex: map[legKey]int{}}
	read := func(body string) *telemetry.Record {
		t.Helper()
		s.begin(in, "acme", in.now())
		if err := s.readBody(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))); err != nil || len(s.produced) != 1 {
			t.Fatalf("%d records, %v", len(s.produced), err)
		}
		for i := range s.legs {
			s.legs[i].offsetUs = in.legs.offset(s.legs[i].key, s.legs[i].newestUs, s.receivedUs, in.cfg.Clock.Tolerance.Microseconds())
		}
		r := &telemetry.Record{}
		if err := proto.Unmarshal(s.timed(&s.produced[0]), r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	full := `{"call_id":"1","leg_id":"l","user_id":"u","device_id":"d","endpoint":"web","app_version":"1","platform":"p","side":"target","muted":true,"from":"1","to":"2",
		"at":"2020-01-01T00:00:00Z","stats":` + string(recorded(t)) + `}`
	if r := read(full); r.Source.GetClockOffsetUs() == 0 || len(r.GetWebrtc().GetInbound()) == 0 || r.GetWebrtc().GetFrom() == nil {
		t.Fatalf("first %v", r)
	}
	r := read(`{"call_id":"2","stats":{"a":{"type":"inbound-rtp"}}}`)
	want := &telemetry.Record{EventId: r.EventId, Company: "acme", CallKey: "2", Timeline: &telemetry.Timeline{}, AtUs: s.receivedUs, ReceivedUs: s.receivedUs,
		Source: &telemetry.Source{Kind: telemetry.Source_KIND_HTTP},
		Body:   &telemetry.Record_Webrtc{Webrtc: &telemetry.WebRTCSample{CallId: "2", LegId: "webrtc", Inbound: []*telemetry.InboundRTP{{Id: "a"}}}}}
	if !proto.Equal(r, want) {
		t.Errorf("got  %v\nwant %v", r, want)
	}
}

// recorded is a getStats() result of a recorded call.
func recorded(t *testing.T) []byte {
	var item struct{ Stats json.RawMessage }
	if err := json.Unmarshal(recordedSamples(t, 5)[4], &item); err != nil {
		t.Fatal(err)
	}
	return item.Stats
}

// One body may not hold more than maxItems.
func TestSamplesBounded(t *testing.T) {
	_, err := bodyOf(quietIngester(t), sampleBuffer, strings.NewReader(strings.Repeat("{}\n", maxItems+1)), "application/x-ndjson")
	var p *problem
	if !errors.As(err, &p) || p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("%v", err)
	}
}

// A body is cut into items as split does it on encoding/json.
func FuzzSamples(f *testing.F) {
	in := quietIngester(f)
	f.Add([]byte(`[{"call_id":"c","stats":{}},{"call_id":"d","stats":[]}]`), false)
	f.Add([]byte("{\"call_id\":\"c\",\"stats\":{}}\n\nx\n{\"call_id\":\"c\",\"stats\":{}}"), true)
	f.Add([]byte(`{"batch":1,"sent_at":1772359200250} {"ref":1,"call_id":"c","stats":{}} {"ref":1,"stats":{"a":{}}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		contentType := map[bool]string{true: "application/x-ndjson", false: "application/json"}[lines]
		s, err := bodyOf(in, 16, bytes.NewReader(body), contentType)
		items, splitErr := split(body, contentType, in.cfg.HTTP.ItemBytes)
		if bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) > 60 {
			return // perhaps nested deeper than a sample may be
		}
		if !bytes.Equal(bytes.TrimSpace(body), bytes.Trim(body, " \t\r\n")) {
			return // split takes for white space what JSON does not
		}
		if (err != nil) != (splitErr != nil) {
			t.Fatalf("got %v, split says %v", err, splitErr)
		}
		if err == nil && s.items != len(items) {
			t.Fatalf("%d items, split says %d", s.items, len(items))
		}
		for i := range s.produced {
			r := &telemetry.Record{}
			if err := proto.Unmarshal(s.timed(&s.produced[i]), r); err != nil || r.AtUs == 0 || r.CallKey == "" {
				t.Fatalf("%v %v", r, err)
			}
		}
	})
}
