package webrtc

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// recorded gives the getStats() results of one side of a recorded call.
func recorded(tb testing.TB, name, side string) []json.RawMessage {
	tb.Helper()
	file, err := os.Open("../../testdata/webrtc/" + name + ".jsonl.gz")
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
	var reports []json.RawMessage
	for lines.Scan() {
		var entry struct {
			Side   string          `json:"side"`
			Report json.RawMessage `json:"report"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			tb.Fatal(err)
		}
		if entry.Side == side && len(entry.Report) > 0 {
			reports = append(reports, entry.Report)
		}
	}
	if len(reports) == 0 {
		tb.Fatal("nothing recorded")
	}
	return reports
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

// BenchmarkReference is encoding/json on the same item.
func BenchmarkReference(b *testing.B) {
	item := browserItem(b)
	b.SetBytes(int64(len(item)))
	began := processorTime(b)
	for b.Loop() {
		if _, err := refItem(item); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
}

func BenchmarkDecode(b *testing.B) {
	for name, item := range map[string][]byte{"small": []byte(specItem), "browser": browserItem(b), "recorded": append(append([]byte(envelope), recorded(b, "w1_clean", "A")[5]...), '}')} {
		b.Run(name, func(b *testing.B) {
			var d Decoder
			b.SetBytes(int64(len(item)))
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				if _, err := d.Decode(item); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

const envelope = `{"call_id":"42","leg_id":"42-alice","user_id":"alice","device_id":"d1","endpoint":"web","app_version":"5.2.1","at":"2026-11-22T12:00:00.000Z","stats":`

// browserItem is an item as a browser posts it: 29 objects. The recorded ones
// have 50, for their codecs were listed for either direction.
func browserItem(tb testing.TB) []byte {
	reports := recorded(tb, "w1_clean", "A")
	var objects map[string]json.RawMessage
	if err := json.Unmarshal(reports[len(reports)/2], &objects); err != nil {
		tb.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(objects)) {
		if len(objects) > 29 && bytes.Contains(objects[id], []byte(`"type":"codec"`)) && !bytes.Contains(objects[id], []byte("opus")) {
			delete(objects, id)
		}
	}
	stats, err := json.Marshal(objects)
	if err != nil {
		tb.Fatal(err)
	}
	return append(append([]byte(envelope), stats...), '}')
}

func BenchmarkMarshal(b *testing.B) {
	var d Decoder
	item, err := d.Decode(browserItem(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := item.Sample.MarshalVT(); err != nil {
			b.Fatal(err)
		}
	}
}
