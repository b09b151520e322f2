package api_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

var mediaTypes = []string{export.CSV, export.Arrow, export.Parquet}

func between(from, to time.Time) string {
	return "from=" + from.Format(time.RFC3339) + "&to=" + to.Format(time.RFC3339)
}

// exportedCalls are calls of all kinds on a day of their own, each with samples
// and every second with a rejection; of every third an older version is there too.
func exportedCalls(company string, day time.Time, n int) []*telemetry.Outcome {
	var out []*telemetry.Outcome
	for i := range n {
		id := fmt.Sprintf("export-%s-%03d", company, i)
		begin := day.Add(time.Duration(i)*time.Minute + time.Duration(i)*time.Microsecond)
		outcomes := oneWayCall(company, id, begin)
		call := outcomes[0].GetCall()
		switch i % 4 {
		case 1: // one of which little is known
			outcomes[0].Body = &telemetry.Outcome_Call{Call: &telemetry.Call{State: "live", Direction: "outbound", StartedUs: call.StartedUs}}
		case 2:
			call.Verdict.OneWayAudio, call.Verdict.Mos, call.End, call.ConnectedUs = nil, nil, nil, 0
			call.Contact.Identity.Name = `=HYPERLINK("http://example.com"), "Eve"` + "\nand more"
		case 3:
			call.Verdict.Delay.RttMs = &telemetry.Distribution{P50: 33.333333333, P95: 0.1, Max: 1234.5678}
		}
		if i%3 == 0 {
			older := proto.CloneOf(outcomes[0])
			older.GetCall().Direction = "internal" // the same call otherwise
			out = append(out, older)
			outcomes[0].Seq = 1000
		}
		samples := outcomes[5 : 5+30]
		for j, o := range samples {
			s := o.GetSample()
			s.Codec, s.ClockRate, s.Packets, s.PacketsLost = "PCMU", 8000, proto.Uint32(uint32(50+j)), proto.Int32(int32(j-2))
			s.JitterMs, s.LossPercent, s.Mos = proto.Float64(0.1*float64(j)), proto.Float64(100.0/3), nil
			if j%5 == 0 {
				s.RttMs, s.Packets = nil, nil
			}
		}
		if i%2 == 0 {
			outcomes = slices.Delete(outcomes, 1, 2)
		}
		out = append(out, outcomes...)
	}
	return out
}

// flatten gives an item of JSON as cells by dotted names.
func flatten(prefix string, v any, into map[string]any) {
	if members, ok := v.(map[string]any); ok {
		for name, member := range members {
			flatten(prefix+name+".", member, into)
		}
		return
	}
	into[strings.TrimSuffix(prefix, ".")] = v
}

// listed is a list as JSON gives it, page after page.
func (s *site) listed(path string) []map[string]any {
	s.t.Helper()
	var out []map[string]any
	for cursor := ""; ; {
		var l struct {
			Items []map[string]any `json:"items"`
			Next  *string          `json:"next_cursor"`
		}
		s.get(path+cursor).decode(s.t, &l)
		for _, item := range l.Items {
			cells := map[string]any{}
			flatten("", item, cells)
			out = append(out, cells)
		}
		if l.Next == nil {
			return out
		}
		cursor = "&cursor=" + *l.Next
	}
}

// exported is a list as a file gives it to software that is not Earshot's; of
// CSV all cells are texts.
func (s *site) exported(path, mediaType string) []map[string]any {
	s.t.Helper()
	a := s.get(path, "Accept", mediaType)
	if a.status != 200 || a.header.Get("Content-Type") != mediaType || !strings.Contains(a.header.Get("Content-Disposition"), "."+export.Extension(mediaType)+`"`) || a.header.Get("Vary") == "" {
		s.t.Fatalf("%s as %s: %d %v %.300s", path, mediaType, a.status, a.header, a.body)
	}
	if mediaType == export.CSV {
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil {
			s.t.Fatal(err)
		}
		out := make([]map[string]any, len(rows)-1)
		for i, row := range rows[1:] {
			out[i] = map[string]any{}
			for j, cell := range row {
				out[i][rows[0][j]] = cell
			}
		}
		return out
	}
	name := filepath.Join(s.t.TempDir(), "rows."+export.Extension(mediaType))
	if err := os.WriteFile(name, []byte(a.body), 0o600); err != nil {
		s.t.Fatal(err)
	}
	text, err := exec.Command("node", "export/readers/read.mjs", name).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		s.t.Fatalf("the reader failed (make api/export/readers/node_modules/.package-lock.json installs it): %v %s", err, exit.Stderr)
	}
	var f struct{ Rows []map[string]any }
	if err := json.Unmarshal(text, &f); err != nil {
		s.t.Fatal(err)
	}
	return f.Rows
}

// sameCell compares a cell of a file with the same of JSON. Calls have single
// precision in columns, and times are in JSON with milliseconds.
func sameCell(mediaType string, got, want any) bool {
	text, isText := want.(string)
	at, err := time.Parse(time.RFC3339, text)
	isTime := isText && err == nil
	if mediaType == export.CSV {
		switch want := want.(type) {
		case nil:
			return got == ""
		case bool:
			return got == strconv.FormatBool(want)
		case float64:
			n, err := strconv.ParseFloat(got.(string), 64)
			return err == nil && near(n, want)
		}
		return got == export.Harmless(strings.ReplaceAll(text, "\r\n", "\n"))
	}
	if isTime {
		us, ok := got.(float64)
		return ok && int64(us)/1000 == at.UnixMilli()
	}
	if n, ok := want.(float64); ok {
		m, ok := got.(float64)
		return ok && near(m, n)
	}
	return got == want
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func TestExportsAreTheLists(t *testing.T) {
	p := withEngine(t)
	// The other tests of the package count what the company has.
	defer p.forget(t, "default")
	defer p.forget(t, "other")
	s := newSite(t, p.store)
	midnight := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -2)
	day := midnight.Add(8 * time.Hour)
	const calls = 60
	outcomes := append(exportedCalls("default", day, calls), exportedCalls("other", day, calls)...)
	span := between(midnight, midnight.AddDate(0, 0, 1))
	p.put(t, func() bool {
		return len(s.listed(defaultCompany+"/calls?limit=1000&"+span)) == calls && len(s.listed("/api/v1/companies/other/calls?limit=1000&"+span)) == calls &&
			strings.Count(s.get("/api/v1/companies/other/calls/export-other-059/samples").body, `"at"`) == 30
	}, outcomes...)

	lists := []struct {
		path string
		rows int
	}{
		{"/calls?limit=7&" + span, calls},
		{"/calls?limit=7&user=alice&verdict=one_way&" + span, calls / 2},
		{"/calls?limit=7&q=leg-call-id@example.com&rejected=true&" + span, calls / 4},
		{"/calls?limit=7&rating=1&state=ended&direction=inbound&" + span, calls * 3 / 4},
		{"/calls?limit=7&q=export-default-007", 1},
		{"/calls?limit=7&q=nothing", 0},
		{"/users/alice/calls?limit=7&number=%2B14155550101&" + span, calls * 3 / 4},
		{"/calls/export-default-000/samples?limit=7", 30},
		{"/calls/leg-call-id@example.com/samples?limit=7", 30},
		{"/samples?limit=1000&" + span, 30 * calls},
		{"/samples?limit=7&" + between(day.Add(10*time.Second), day.Add(70*time.Second)), 30},
		{"/rejections?limit=7&" + span, calls / 2},
		{"/rejections?limit=7&reason=on_a_call&agent=alice&office=hq&" + span, calls / 2},
		{"/rejections?limit=7&reason=declined&" + span, 0},
	}
	for _, list := range lists {
		want := s.listed(defaultCompany + list.path)
		if len(want) != list.rows {
			t.Fatalf("%s: %d items, want %d", list.path, len(want), list.rows)
		}
		path, query, _ := strings.Cut(list.path, "?")
		_, query, _ = strings.Cut(query, "&") // all, not a page
		for _, mediaType := range mediaTypes {
			got := s.exported(defaultCompany+path+"?"+query, mediaType)
			if len(got) != len(want) {
				t.Errorf("%s as %s: %d rows, want %d", list.path, mediaType, len(got), len(want))
				continue
			}
			for i := range want {
				compareRow(t, list.path, mediaType, i, got[i], want[i])
			}
		}
	}
	// Every member of a sample and of a rejection is a column.
	for _, path := range []string{"/samples?limit=1&" + span, "/rejections?limit=1&" + span} {
		item := s.listed(defaultCompany + strings.Replace(path, "limit=1&", "limit=1000&", 1))[0]
		row := s.exported(defaultCompany+path, export.CSV)[0]
		for name := range item {
			if _, ok := row[name]; !ok {
				t.Errorf("%s: no column %s", path, name)
			}
		}
	}

	t.Run("pages", func(t *testing.T) {
		for _, path := range []string{"/calls?", "/samples?", "/rejections?"} {
			all := s.exported(defaultCompany+path+span, export.CSV)
			for _, mediaType := range mediaTypes {
				first := s.exported(defaultCompany+path+"limit=5&"+span, mediaType)
				next := s.get(defaultCompany+path+"limit=5&"+span, "Accept", mediaType).header.Get("X-Next-Cursor")
				second := s.exported(defaultCompany+path+"limit=5&"+span+"&cursor="+next, mediaType)
				for i, row := range append(first, second...) {
					id := "id"
					if path == "/samples?" {
						id = "call_id"
					}
					if row[id] != all[i][id] {
						t.Errorf("%s as %s, row %d: %v, want %v", path, mediaType, i, row[id], all[i][id])
					}
				}
				if len(first) != 5 || len(second) != 5 {
					t.Errorf("%s as %s: %d and %d rows", path, mediaType, len(first), len(second))
				}
			}
		}
	})

	t.Run("refusals", func(t *testing.T) {
		s.get(defaultCompany+"/samples?from="+day.Format(time.RFC3339), "Accept", export.Parquet).names(t, "query.to")
		s.get(defaultCompany+"/samples").names(t, "query.from")
		s.get(defaultCompany+"/calls?"+between(day, midnight), "Accept", export.Arrow).names(t, "query.to")
		for path, status := range map[string]int{
			defaultCompany + "/calls/no-such-call/samples":               404,
			defaultCompany + "/calls/export-other-001/samples":           404, // another company's
			defaultCompany + "/users/nobody/calls":                       404,
			"/api/v1/companies/nowhere/calls":                            404,
			defaultCompany + "/ratings":                                  406,
			defaultCompany + "/calls?verdict=terrible":                   422,
			defaultCompany + "/calls?cursor=nope":                        422,
			defaultCompany + "/calls/export-default-001/samples?limit=0": 422,
		} {
			a := s.get(path, "Accept", export.Parquet)
			if a.problem(t); a.status != status || a.header.Get("Content-Disposition") != "" {
				t.Errorf("%s: %d %v, want %d", path, a.status, a.header, status)
			}
		}
		for _, path := range []string{"/calls", "/samples?" + span, "/rejections", "/calls/export-default-001/samples"} {
			if a := s.as(s.other, "GET", defaultCompany+path, "", "Accept", export.Arrow); a.status != 404 {
				t.Errorf("another company's key, %s: %d", path, a.status)
			}
		}
	})

	t.Run("audit", func(t *testing.T) {
		s := newSite(t, p.store)
		for _, mediaType := range mediaTypes {
			s.get(defaultCompany+"/calls?"+span, "Accept", mediaType)
		}
		s.get(defaultCompany+"/calls/no-such-call/samples", "Accept", export.Parquet)
		s.get(defaultCompany + "/calls?" + span)
		if err := s.access.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range s.list(s.operator, defaultCompany+"/audit?action=read") {
			got = append(got, e.Subject.Kind+" "+e.Subject.ID+" "+e.Text)
		}
		slices.Sort(got)
		if want := []string{"export calls arrow", "export calls csv", "export calls parquet"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})

	t.Run("described", func(t *testing.T) {
		var document struct {
			Paths map[string]struct {
				Get struct {
					Responses map[string]struct{ Content map[string]any }
				}
			}
		}
		s.get("/api/v1/openapi.json").decode(t, &document)
		for _, path := range []string{"/calls", "/users/{user}/calls", "/calls/{call}/samples", "/samples", "/rejections"} {
			for _, mediaType := range append([]string{"application/json"}, mediaTypes...) {
				if document.Paths["/api/v1/companies/{company}"+path].Get.Responses["200"].Content[mediaType] == nil {
					t.Errorf("%s does not say that it answers %s", path, mediaType)
				}
			}
		}
	})
}

func compareRow(t *testing.T, path, mediaType string, i int, got, want map[string]any) {
	t.Helper()
	for name, cell := range got {
		member, ok := want[name]
		if !ok {
			// JSON leaves out what is empty, and all of an object that is null.
			outer := name
			for {
				dot := strings.LastIndexByte(outer, '.')
				if dot < 0 {
					break
				}
				outer = outer[:dot]
				if v, there := want[outer]; there && v == nil {
					member, ok = nil, true
				}
			}
			if !ok && (cell == nil || cell == "") {
				continue
			}
			if !ok {
				t.Errorf("%s as %s, row %d: %s is %v, JSON has none", path, mediaType, i, name, cell)
				continue
			}
		}
		if !sameCell(mediaType, cell, member) {
			t.Errorf("%s as %s, row %d: %s is %v, in JSON %v", path, mediaType, i, name, cell, member)
		}
	}
}

// manySamples makes a list of which a client cannot take all at once.
func manySamples(t *testing.T, p *pipeline) (path string) {
	t.Helper()
	err := p.conn.Exec(t.Context(), `INSERT INTO samples (company, call_id, at, leg_id, direction, source, side, ssrc, codec, clock_rate, rtt_ms, jitter_ms, seq, received_at)
SELECT 'default', concat('bulk-', toString(intDiv(number, 1000))), toDateTime64('2026-02-01 00:00:00', 6, 'UTC') + number / 1000, 'leg', 'target_to_contact', 'rtcp', 'target', number, 'PCMU', 8000,
    number % 300, number % 7, number, now64(3) FROM numbers(1500000)`)
	if err != nil {
		t.Fatal(err)
	}
	return defaultCompany + "/samples?from=2026-02-01T00:00:00Z&to=2026-02-02T00:00:00Z"
}

// begun starts an export and reads its beginning.
func (s *site) begun(ctx context.Context, path, mediaType, encoding string) *bufio.Reader {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.operator)
	req.Header.Set("Accept", mediaType)
	req.Header.Set("Accept-Encoding", encoding)
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	b := bufio.NewReader(resp.Body)
	if _, err := b.Peek(1000); err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return b
}

// reading are the statements of exports that the server runs.
func reading(t *testing.T, p *pipeline) (ids []string) {
	t.Helper()
	rows, err := p.conn.Query(t.Context(), "SELECT query_id FROM system.processes WHERE query LIKE '%FROM samples FINAL%' AND query NOT LIKE '%system.processes%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestExportsThatEndEarly(t *testing.T) {
	p := withEngine(t)
	defer p.forget(t, "default")
	s := newSite(t, p.store)
	path := manySamples(t, p)

	t.Run("the client leaves", func(t *testing.T) {
		for _, mediaType := range mediaTypes {
			ctx, leave := context.WithCancel(t.Context())
			s.begun(ctx, path, mediaType, "")
			if n := len(reading(t, p)); n != 1 {
				t.Fatalf("%s: %d statements run", mediaType, n)
			}
			leave()
			until(t, mediaType+": the statement goes on without its client", func() bool { return len(reading(t, p)) == 0 })
		}
	})

	t.Run("the server breaks off", func(t *testing.T) {
		for _, as := range [][2]string{{export.CSV, ""}, {export.CSV, "gzip"}, {export.Arrow, ""}, {export.Parquet, ""}} {
			mediaType := as[0]
			body := s.begun(t.Context(), path, mediaType, as[1])
			for _, id := range reading(t, p) {
				if err := p.conn.Exec(t.Context(), "KILL QUERY WHERE query_id = '"+id+"' ASYNC"); err != nil {
					t.Fatal(err)
				}
			}
			n, err := io.Copy(io.Discard, body)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: after %d bytes: %v: it looks complete", mediaType, n, err)
			}
		}
	})

	t.Run("so many at a time", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		for range 4 {
			s.begun(ctx, path, export.Arrow, "")
		}
		a := s.get(path, "Accept", export.CSV)
		if a.problem(t); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("the fifth: %d %v", a.status, a.header)
		}
		if a := s.get(path+"&limit=3", "Accept", export.CSV); a.status != 200 || strings.Count(a.body, "\r\n") != 4 {
			t.Errorf("a page takes no place: %d %s", a.status, a.body)
		}
		leave()
		until(t, "places are never free again", func() bool {
			return s.get(defaultCompany+"/rejections?from=2026-02-01T00:00:00Z&to=2026-02-02T00:00:00Z", "Accept", export.CSV).status == 200
		})
	})

	t.Run("too long", func(t *testing.T) {
		s := newSite(t, query.New(p.conn, query.Options{MaxExport: time.Millisecond}))
		for _, mediaType := range mediaTypes {
			a := s.get(path, "Accept", mediaType)
			if a.problem(t); a.status != 422 || !strings.Contains(a.body, "too big") {
				t.Errorf("%s: %d %s", mediaType, a.status, a.body)
			}
		}
	})

	t.Run("no store", func(t *testing.T) {
		s := newSite(t, nil)
		for _, path := range []string{"/calls", "/rejections", "/calls/x/samples", "/samples?from=2026-02-01T00:00:00Z&to=2026-02-02T00:00:00Z"} {
			a := s.get(defaultCompany+path, "Accept", export.Parquet)
			if a.problem(t); a.status != 503 || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})

	t.Run("whole", func(t *testing.T) {
		a := s.get(path, "Accept", export.CSV)
		if n := strings.Count(a.body, "\r\n"); n != 1_500_001 {
			t.Errorf("%d lines", n)
		}
		last := ""
		for line := range strings.Lines(a.body[strings.IndexByte(a.body, '\n')+1:]) {
			cells := strings.SplitN(line, ",", 4)
			if at := cells[2]; at < last {
				t.Fatalf("%s comes after %s", at, last)
			} else {
				last = at
			}
		}
	})
}
