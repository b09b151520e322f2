package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/api/export"
)

// row has a member of every type.
type row struct {
	text  string
	maybe *string
	word  string
	at    time.Time
	real  *float64
	n     int64
	few   *uint32
	yes   bool
}

var columns = export.Schema[row]{
	export.Text("text", func(r *row) string { return r.text }),
	export.OptionalText("maybe.text", func(r *row) *string { return r.maybe }),
	export.Word("word", func(r *row) string { return r.word }),
	export.OptionalWord("maybe.word", func(r *row) *string { return r.maybe }),
	export.Time("at", func(r *row) time.Time { return r.at }),
	export.Float("real_ms", func(r *row) *float64 { return r.real }),
	export.Integer("n", func(r *row) int64 { return r.n }),
	export.OptionalInteger("few", func(r *row) *uint32 { return r.few }),
	export.Flag("yes", func(r *row) bool { return r.yes }),
}

func ptr[T any](v T) *T { return &v }

var begin = time.Date(2026, 3, 4, 15, 30, 0, 123456000, time.UTC)

// nth is a row of a long list: of every kind of value, in every kind of neighbourhood.
func nth(i int) row {
	r := row{text: fmt.Sprintf("Zoë %d, \"quoted\"\r\nline", i), word: []string{"good", "bad", "", "unknown"}[i%4], at: begin.Add(time.Duration(i) * time.Millisecond),
		real: ptr(float64(i) / 8), n: int64(i) - 5, few: ptr(uint32(i)), yes: i%3 == 0}
	if i%2 == 0 {
		r.maybe = ptr(fmt.Sprint("word", i%5000)) // more than a dictionary is to hold
	}
	if i%7 == 0 {
		r.at, r.real, r.few = time.Time{}, nil, nil
	}
	return r
}

func write(t testing.TB, mediaType string, n int, each func(int) row) []byte {
	var b bytes.Buffer
	w, err := export.New(&b, mediaType, columns)
	require.NoError(t, err)
	for i := range n {
		r := each(i)
		require.NoError(t, w.Row(&r))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// foreign is what readers that are not Earshot's say of a file.
type foreign struct {
	Types  map[string]string `json:"types"`
	Groups int               `json:"groups"`
	Rows   []map[string]any  `json:"rows"`
}

func read(t *testing.T, mediaType string, file []byte) foreign {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file."+export.Extension(mediaType))
	require.NoError(t, os.WriteFile(name, file, 0o600))
	out, err := exec.Command("node", "readers/read.mjs", name).Output()
	if exit := (*exec.ExitError)(nil); err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			exit = e
			t.Fatalf("the reader failed (make api/export/readers/node_modules/.package-lock.json installs it): %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var f foreign
	require.NoError(t, json.Unmarshal(out, &f))
	return f
}

// same compares a row with what a reader made of it.
func same(t *testing.T, want row, got map[string]any) {
	t.Helper()
	expect := map[string]any{"text": want.text, "maybe.text": nil, "word": want.word, "maybe.word": nil, "at": nil, "real_ms": nil, "n": float64(want.n), "few": nil, "yes": want.yes}
	if want.maybe != nil {
		expect["maybe.text"], expect["maybe.word"] = *want.maybe, *want.maybe
	}
	if !want.at.IsZero() {
		expect["at"] = float64(want.at.UnixMicro())
	}
	if want.real != nil {
		expect["real_ms"] = *want.real
	}
	if want.few != nil {
		expect["few"] = float64(*want.few)
	}
	if !equal(expect, got) {
		require.Equal(t, expect, got)
	}
}

func equal(a, b map[string]any) bool {
	for k := range a {
		if v, ok := b[k]; !ok || v != a[k] {
			return false
		}
	}
	return len(a) == len(b)
}

func TestForeignReadersSeeEveryCell(t *testing.T) {
	types := map[string]map[string]string{
		export.Parquet: {"text": "VARCHAR", "maybe.text": "VARCHAR", "word": "VARCHAR", "maybe.word": "VARCHAR", "at": "TIMESTAMP WITH TIME ZONE", "real_ms": "DOUBLE", "n": "BIGINT", "few": "BIGINT", "yes": "BOOLEAN"},
		export.Arrow: {"text": "Utf8", "maybe.text": "Utf8", "word": "Dictionary<Int32, Utf8>", "maybe.word": "Dictionary<Int32, Utf8>", "at": "Timestamp<MICROSECOND, UTC>", "real_ms": "Float64", "n": "Int64",
			"few": "Int64", "yes": "Bool"},
	}
	for _, mediaType := range []string{export.Parquet, export.Arrow} {
		// None, one, and more than a batch and a row group hold.
		for _, n := range []int{0, 1, 150_000} {
			t.Run(fmt.Sprint(mediaType, " ", n), func(t *testing.T) {
				f := read(t, mediaType, write(t, mediaType, n, nth))
				require.Equal(t, types[mediaType], f.Types)
				require.Len(t, f.Rows, n)
				for i := range n {
					same(t, nth(i), f.Rows[i])
				}
				if mediaType == export.Parquet && n > 100_000 {
					require.Equal(t, 3, f.Groups)
				}
			})
		}
	}
}

func TestLongTexts(t *testing.T) {
	long := func(i int) row { return row{text: strings.Repeat(string(rune('a'+i)), 2<<20), word: "x"} }
	for _, mediaType := range []string{export.Parquet, export.Arrow} {
		f := read(t, mediaType, write(t, mediaType, 5, long))
		require.Len(t, f.Rows, 5)
		for i := range 5 {
			same(t, long(i), f.Rows[i])
		}
	}
}

func TestCSV(t *testing.T) {
	texts := []string{"", "plain", `say "hi"`, "a,b", "two\r\nlines", "=1+1", "@x", "+14155550101", "-1+cmd|' /C calc'!A0", "\t=1"}
	text := write(t, export.CSV, len(texts), func(i int) row { return row{text: texts[i], at: begin, real: ptr(0.000001), n: 7} })
	require.True(t, bytes.HasPrefix(text, []byte("text,maybe.text,word,maybe.word,at,real_ms,n,few,yes\r\n")))
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, len(texts)+1)
	for i, want := range []string{"", "plain", `say "hi"`, "a,b", "two\nlines", "'=1+1", "'@x", "+14155550101", "'-1+cmd|' /C calc'!A0", "'\t=1"} {
		require.Equal(t, []string{want, "", "", "", "2026-03-04T15:30:00.123Z", "0.000001", "7", "", "false"}, rows[i+1])
	}
}

// TestHalfAFileIsNone: a writer that is not closed leaves no file that a reader takes.
func TestHalfAFileIsNone(t *testing.T) {
	var b bytes.Buffer
	w, err := export.New(&b, export.Parquet, columns)
	require.NoError(t, err)
	for i := range 200_000 {
		r := nth(i)
		require.NoError(t, w.Row(&r))
	}
	require.NotZero(t, b.Len())
	name := filepath.Join(t.TempDir(), "half.parquet")
	require.NoError(t, os.WriteFile(name, b.Bytes(), 0o600))
	out, err := exec.Command("node", "readers/read.mjs", name).CombinedOutput()
	require.Error(t, err, "%.200s", out)
}

type discarded struct{ bytes int64 }

func (d *discarded) Write(b []byte) (int, error) {
	d.bytes += int64(len(b))
	return len(b), nil
}

// TestMemoryDoesNotGrow: however many rows were written, little is held.
func TestMemoryDoesNotGrow(t *testing.T) {
	for _, mediaType := range []string{export.CSV, export.Arrow, export.Parquet} {
		t.Run(mediaType, func(t *testing.T) {
			w, err := export.New(&discarded{}, mediaType, columns)
			require.NoError(t, err)
			held := func() float64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return float64(m.HeapAlloc) / (1 << 20)
			}
			base := held()
			most := 0.0
			for i := range 600_000 {
				r := nth(i)
				require.NoError(t, w.Row(&r))
				if i%50_000 == 49_999 {
					most = math.Max(most, held()-base)
				}
			}
			require.NoError(t, w.Close())
			t.Logf("at most %.1f MiB", most)
			require.Less(t, most, 10.0)
		})
	}
}

func BenchmarkRow(b *testing.B) {
	rows := make([]row, 4096)
	for i := range rows {
		rows[i] = nth(i)
	}
	for _, mediaType := range []string{export.CSV, export.Arrow, export.Parquet} {
		b.Run(export.Extension(mediaType), func(b *testing.B) {
			d := &discarded{}
			w, err := export.New(d, mediaType, columns)
			require.NoError(b, err)
			b.ReportAllocs()
			for i := range b.N {
				if err := w.Row(&rows[i%len(rows)]); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, w.Close())
			b.ReportMetric(float64(d.bytes)/float64(b.N), "B/row")
		})
	}
}
