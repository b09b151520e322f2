// Package export measures what a download of millions of rows costs: time, and
// the memory of Earshot, which must not grow with the rows.
package export

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/sinks/clickhouse"
)

var (
	sampleRows = flag.Int("samples", 10_000_000, "samples to export")
	callRows   = flag.Int("calls", 2_000_000, "calls to export")
	formats    = flag.String("formats", "parquet,arrows,csv", "which to export")
	profile    = flag.String("profile", "", "file for a heap profile of Earshot after the last export")
)

// maxMemory is what Earshot may have resident at any time, MiB.
const maxMemory = 100

// BenchmarkExport fills ClickHouse and downloads it in every format. Earshot is
// the whole program with all its roles; ClickHouse is another process.
func BenchmarkExport(b *testing.B) {
	for range b.N {
		u := apptest.StartUp(b, "--log.level=warn")
		cfg := clickhouse.DefaultConfig()
		cfg.Addr = []string{u.Run.Engines.ClickHouse.Addr}
		db, err := clickhouse.Open(cfg)
		require.NoError(b, err)
		defer db.Close()
		fill(b, db)
		idle, idleAll := status(b, u.Run.PID, "RssAnon"), status(b, u.Run.PID, "VmRSS")
		var table strings.Builder
		for _, list := range []struct {
			name, path, column, total string
		}{
			{"samples of a day", "/samples?from=2026-02-01T00:00:00Z&to=2026-02-02T00:00:00Z", "rtt_ms", "SELECT count(), sum(round(toFloat64(rtt_ms), 6)) FROM samples"},
			{"calls of a month", "/calls?from=2026-02-01T00:00:00Z&to=2026-03-01T00:00:00Z", "verdict.delay.rtt_ms.p95", "SELECT count(), sum(round(toFloat64(rtt_ms_p95), 6)) FROM calls"},
		} {
			var rows uint64
			var sum float64
			require.NoError(b, db.QueryRow(b.Context(), list.total).Scan(&rows, &sum))
			for _, mediaType := range []string{export.Parquet, export.Arrow, export.CSV} {
				if !strings.Contains(*formats, export.Extension(mediaType)) {
					continue
				}
				d := download(b, u, list.path, mediaType)
				d.readBack(b, list.column, rows, sum)
				fmt.Fprintf(&table, "| %s | %s | %d | %.0f | %.1f | %.0f | **%.0f** | %.0f | %.1f | %.0f |\n", list.name, export.Extension(mediaType), rows, d.took.Seconds(), float64(rows)/d.took.Seconds()/1000,
					float64(d.bytes)/(1<<20), d.peak, d.resident, d.cpu.Seconds(), d.clickhouse)
				b.ReportMetric(d.peak, export.Extension(mediaType)+"-MiB")
				b.Logf("%s as %s: %+v", list.name, mediaType, d)
				if d.peak >= maxMemory {
					b.Errorf("%s as %s took %.0f MiB", list.name, mediaType, d.peak)
				}
				require.NoError(b, os.Remove(d.file))
			}
		}
		require.NoError(b, benchmarks.Profile(u.Run.Admin, "heap", *profile))
		body := fmt.Sprintf(`| | as | rows | s | thousand rows/s | MiB | most memory of Earshot, MiB | with mapped files, MiB | CPU of Earshot, s | most of ClickHouse, MiB |
|---|---|---|---|---|---|---|---|---|---|
%s
Memory is the most anonymous memory (RssAnon, looked at a hundred times a second) of the process with all roles during the export; it had %.0f MiB before. The column after
it is the high-water mark of all that was resident (VmHWM), to which the pages of the program itself belong; that was %.0f MiB before. Every file was read back: by DuckDB (Parquet, CSV) and by Apache Arrow's JavaScript library (Arrow), row count and the sum of a column compared with ClickHouse's own.
The rows are sorted by time on the server, which takes its disk for what does not fit 256 MiB.
`, table.String(), idle, idleAll)
		b.Log("\n" + body)
		require.NoError(b, benchmarks.Write("RESULT.md", "Exports of millions of rows", "make bench", body))
		u.Stop()
	}
}

// fill makes samples of one day and calls of one month, in steps that fit memory.
func fill(b *testing.B, db driver.Conn) {
	const step = 1_000_000
	for from := 0; from < *sampleRows; from += step {
		run(b, db, fmt.Sprintf(`INSERT INTO samples (company, call_id, at, leg_id, direction, source, side, ssrc, codec, clock_rate, rtt_ms, jitter_ms, loss_percent, packets, packets_lost, mos, seq, received_at)
SELECT 'default', concat(lower(hex(cityHash64(intDiv(number, 40)))), '@192.0.2.7'), toDateTime64('2026-02-01 00:00:00', 6, 'UTC') + (cityHash64(intDiv(number, 40)) %% 86000) + (number %% 40) * 5 + (rand(1) %% 1000000) / 1000000,
    concat('leg-', toString(number %% 2)), if(number %% 2 = 0, 'target_to_contact', 'contact_to_target'), ['rtcp', 'webrtc', 'vq_rtcpxr'][1 + intDiv(number, 40) %% 3], if(number %% 2 = 0, 'target', 'contact'),
    cityHash64(intDiv(number, 40), number %% 2), ['PCMU', 'opus', 'G722'][1 + intDiv(number, 40) %% 3], 8000, if(number %% 5 = 0, NULL, 20 + randExponential(0.02)), randExponential(0.3),
    if(rand(2) %% 10 = 0, randExponential(1), 0), 250, rand(3) %% 4, 3.5 + (rand(4) %% 1000) / 1000, number, now64(3)
FROM numbers(%d, %d)`, from, min(step, *sampleRows-from)))
	}
	for from := 0; from < *callRows; from += step {
		run(b, db, fmt.Sprintf(`INSERT INTO calls (company, call_id, state, direction, started_at, connected_at, ended_at, target_user_id, target_name, target_number, target_endpoint, target_app_version, target_platform, target_office_id,
    contact_name, contact_number, end_by, end_sip_status, overall, final, version, rules, delay_band, jitter_band, loss_band, one_way_state, fault_side, rtt_ms_p50, rtt_ms_p95, rtt_ms_max, jitter_ms_p95, loss_percent, mos_min, mos_avg, seq, received_at)
SELECT 'default', concat(lower(hex(cityHash64(number))), '@192.0.2.7'), 'ended', if(number %% 2 = 0, 'inbound', 'outbound'), toDateTime64('2026-02-01 00:00:00', 6, 'UTC') + (rand(1) %% 2400000) + (rand(2) %% 1000000) / 1000000 AS started, started + 3, started + 3 + rand(3) %% 600,
    concat('user-', toString(rand(4) %% 50000)), concat('Person ', toString(rand(4) %% 50000)), concat('+1415', toString(2000000 + rand(4) %% 50000)), 'native', concat('5.', toString(rand(5) %% 30)), 'macOS', concat('office-', toString(rand(6) %% 40)),
    '', concat('+44', toString(2000000000 + rand(7) %% 100000000)), 'contact', 200, ['good', 'acceptable', 'bad'][1 + rand(8) %% 3], true, 3, '1', 'good', 'good', 'good', 'none', 'unknown',
    20 + randExponential(0.02), 40 + randExponential(0.02), 60 + randExponential(0.02), randExponential(0.3), randExponential(1), 3.5, 4.1, number, now64(3)
FROM numbers(%d, %d)`, from, min(step, *callRows-from)))
	}
}

func run(b *testing.B, db driver.Conn, statement string) {
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Minute)
	defer cancel()
	require.NoError(b, db.Exec(ctx, statement))
}

type downloaded struct {
	file       string
	bytes      int64
	took, cpu  time.Duration
	peak       float64 // MiB
	resident   float64
	clickhouse float64
}

// download stores a list as a file and watches what that takes.
func download(b *testing.B, u *apptest.Up, path, mediaType string) downloaded {
	d := downloaded{file: filepath.Join(b.TempDir(), "rows."+export.Extension(mediaType))}
	pids := []int{u.Run.PID, u.Run.Engines.ClickHouse.PID}
	for _, pid := range pids {
		// 5 takes the high-water mark back to what is resident now, see proc(5).
		require.NoError(b, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0))
	}
	before, err := benchmarks.CPU(u.Run.PID)
	require.NoError(b, err)
	begin := time.Now()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, u.URL+"/api/v1/companies/default"+path, nil)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer "+u.Key)
	req.Header.Set("Accept", mediaType)
	done := make(chan struct{})
	watched := make(chan float64)
	go func() {
		most := 0.0
		for {
			select {
			case <-done:
				watched <- most
				return
			case <-time.After(10 * time.Millisecond):
				if rss, err := benchmarks.RSS(u.Run.PID); err == nil {
					most = max(most, float64(rss)/(1<<20))
				}
			}
		}
	}()
	res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	require.NoError(b, err)
	defer res.Body.Close()
	require.Equal(b, http.StatusOK, res.StatusCode)
	f, err := os.Create(d.file)
	require.NoError(b, err)
	d.bytes, err = io.Copy(f, res.Body)
	require.NoError(b, err)
	require.NoError(b, f.Close())
	d.took = time.Since(begin)
	close(done)
	d.peak = <-watched
	after, err := benchmarks.CPU(u.Run.PID)
	require.NoError(b, err)
	d.cpu = after - before
	d.resident, d.clickhouse = status(b, pids[0], "VmHWM"), status(b, pids[1], "VmHWM")
	return d
}

// readBack compares a file, as software that is not Earshot's sees it, with the store.
func (d downloaded) readBack(b *testing.B, column string, rows uint64, sum float64) {
	out, err := exec.CommandContext(b.Context(), "node", filepath.Join(apptest.Root(), "api", "export", "readers", "sum.mjs"), d.file, column).Output()
	require.NoError(b, err, "make api/export/readers/node_modules/.package-lock.json installs the readers")
	var read struct {
		Rows uint64
		Sum  float64
	}
	require.NoError(b, json.Unmarshal(out, &read))
	require.Equal(b, rows, read.Rows)
	require.InEpsilon(b, sum, read.Sum, 1e-9)
}

// status is a line of /proc/PID/status in MiB.
func status(b *testing.B, pid int, name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			require.NoError(b, err)
			return float64(kb) / 1024
		}
	}
	b.Fatalf("no %s for %d", name, pid)
	return 0
}
