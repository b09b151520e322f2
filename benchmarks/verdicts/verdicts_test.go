package verdicts

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/query"
)

var write = flag.Bool("write", false, "print the results and write them to RESULT.md and AGREEMENT.md")

const folder = "calls"

// given is a file that Earshot was given and the recording it is of.
type given struct {
	recording Recording
	from      string // wire, stats
	alone     string // a or b: the only end whose reports are in it; else empty
	file      string
}

// company is whose the file is: a call by other witnesses is another call.
func (g *given) company() string {
	if g.alone == "" {
		return "default"
	}
	return "only-" + g.alone
}

// files names what to import of each recording. A getStats file is called as
// its call, which it is named after.
func files(t *testing.T, set []Recording) (all []given) {
	t.Helper()
	dir := t.TempDir()
	for _, r := range set {
		if r.Wire != "" {
			all = append(all, given{r, "wire", "", r.Wire})
			reported := signallingAndRTCP(t, r.Wire)
			for end, host := range caller(reported) {
				file := filepath.Join(dir, r.Truth.Name+"."+end+".pcap")
				writeCapture(t, file, slices.DeleteFunc(slices.Clone(reported), func(d pcap.Datagram) bool { return !sip.IsSIP(d.Payload) && d.Src.Addr() != host }))
				all = append(all, given{r, "wire", end, file})
			}
		}
		if r.Stats != "" {
			file := filepath.Join(dir, statsCall(r)+".jsonl.gz")
			copyFile(t, r.Stats, file)
			all = append(all, given{r, "stats", "", file})
			for end, side := range map[string]string{"a": "A", "b": "B"} {
				file := filepath.Join(dir, statsCall(r)+"."+end+".jsonl")
				if slices.Contains(r.Truth.Witnesses, "a") && slices.Contains(r.Truth.Witnesses, "b") && writeLines(t, file, r.Stats, side) {
					all = append(all, given{r, "stats", end, file})
				}
			}
		}
	}
	return all
}

// statsCall names the call that a getStats file makes: its Call-ID may be the
// recording's name.
func statsCall(r Recording) string { return r.Truth.Name + "-getstats" }

// caller gives the hosts of a and b where only they send RTCP: the one that
// sent the first INVITE is a.
func caller(of []pcap.Datagram) map[string]netip.Addr {
	hosts := map[string]netip.Addr{}
	for _, d := range of {
		switch {
		case sip.IsSIP(d.Payload) && !hosts["a"].IsValid() && bytes.HasPrefix(d.Payload, []byte("INVITE")):
			hosts["a"] = d.Src.Addr()
		case sip.IsSIP(d.Payload):
		case d.Src.Addr() != hosts["a"] && hosts["b"].IsValid() && d.Src.Addr() != hosts["b"]:
			return nil // a server sends too
		case d.Src.Addr() != hosts["a"]:
			hosts["b"] = d.Src.Addr()
		}
	}
	if !hosts["a"].IsValid() || !hosts["b"].IsValid() {
		return nil
	}
	return hosts
}

func writeCapture(t *testing.T, file string, datagrams []pcap.Datagram) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, pcap.WriteUDP(&b, datagrams))
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
}

// writeLines writes what one side says of a getStats file, if it says anything.
func writeLines(t *testing.T, file, stats, side string) bool {
	t.Helper()
	var b bytes.Buffer
	eachLine(t, stats, func(line []byte) {
		var entry struct {
			Side string `json:"side"`
		}
		require.NoError(t, json.Unmarshal(line, &entry))
		if entry.Side == side {
			b.Write(append(bytes.Clone(line), '\n'))
		}
	})
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	return b.Len() > 0
}

// eachLine reads a gzipped file line by line.
func eachLine(t *testing.T, file string, take func(line []byte)) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		take(lines.Bytes())
	}
	require.NoError(t, lines.Err())
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o600))
}

// importInto imports files into a company and gives the calls of each.
func importInto(t *testing.T, u *apptest.Up, company string, files ...string) map[string][]string {
	t.Helper()
	out, err := u.Earshot(append([]string{"import", "--json", "--company", company}, files...)...)
	require.NoError(t, err)
	var imported []apptest.Imported
	require.NoError(t, json.Unmarshal([]byte(out), &imported), out)
	calls := map[string][]string{}
	for _, i := range imported {
		calls[i.File] = append(calls[i.File], i.CallID)
	}
	return calls
}

// heard asks the API for a call and its samples.
func heard(t *testing.T, u *apptest.Up, company, id string) Heard {
	t.Helper()
	var h Heard
	path := "/api/v1/companies/" + company + "/calls/" + url.PathEscape(id)
	require.NoError(t, u.Get(path, &h.Call))
	for cursor := ""; ; {
		var page query.List[query.Sample]
		require.NoError(t, u.Get(path+"/samples?limit=1000&cursor="+url.QueryEscape(cursor), &page))
		h.Samples = append(h.Samples, page.Items...)
		if page.NextCursor == nil {
			return h
		}
		cursor = *page.NextCursor
	}
}

// theCall is the one that a file is about: the first with signalling.
func theCall(ids []string) string {
	for _, id := range ids {
		if !strings.HasPrefix(id, "rtcp:") {
			return id
		}
	}
	if len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// Earshot is given every recording, and its verdicts are those that the
// recordings' truth supports.
func TestVerdictsAreRight(t *testing.T) {
	set, err := Recordings(folder)
	require.NoError(t, err)
	require.NotEmpty(t, set)
	u := apptest.StartUp(t, "--log.level=warn")
	all := files(t, set)
	names := map[string][]string{}
	for _, g := range all {
		names[g.company()] = append(names[g.company()], g.file)
	}
	calls := map[string][]string{}
	for company, files := range names {
		if company != "default" {
			require.NoError(t, u.Do("POST", "/api/v1/companies", "application/json", []byte(`{"id":"`+company+`","name":"`+company+`"}`), nil))
		}
		maps.Copy(calls, importInto(t, u, company, files...))
	}
	var result, alone Result
	for _, g := range all {
		id := theCall(calls[g.file])
		require.NotEmpty(t, id, "a call in %s of %s", g.from, g.recording.Truth.Name)
		h := heard(t, u, g.company(), id)
		if g.alone == "" {
			result = append(result, Judge(g.recording, g.from, h))
		} else {
			alone = append(alone, JudgeAlone(g.recording, g.from, g.alone, h))
		}
	}
	report(t, "RESULT.md", "Verdicts over recorded calls", result.String()+alone.AloneString())
	for _, wrong := range append(result.Wrong(), alone.Wrong()...) {
		t.Error(wrong)
	}
}

// report prints and stores a result where one was asked for.
func report(t *testing.T, file, title, body string) {
	t.Helper()
	if *write {
		fmt.Println(body)
		require.NoError(t, benchmarks.Write(file, title, "make verdicts", body))
	}
}
