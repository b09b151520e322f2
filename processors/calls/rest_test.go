package calls_test

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestEveryRecordedCallAtRest: after each record of each recorded call the state
// is put down as bytes and read back by another machine; all that comes out stays
// the same to the byte.
func TestEveryRecordedCallAtRest(t *testing.T) {
	const dir = "../../benchmarks/verdicts/calls"
	n := 0
	for _, name := range []string{"wire.pcap.gz", "stats.jsonl.gz"} {
		files, err := filepath.Glob(filepath.Join(dir, "*", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			in := records(t, file)
			want := transcript(t, in, 0)
			if len(want) == 0 {
				t.Errorf("%s: nothing came out", file)
			}
			if !bytes.Equal(want, transcript(t, in, 1)) {
				t.Errorf("%s: the state at rest does not hold all that later outcomes depend on", file)
			}
			n++
		}
	}
	if n < 60 {
		t.Fatalf("found only %d recordings", n)
	}
}
