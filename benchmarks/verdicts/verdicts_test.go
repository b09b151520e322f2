package verdicts

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks"
	"github.com/earshot/earshot/internal/apptest"
	"github.com/earshot/earshot/query"
)

var write = flag.Bool("write", false, "print the results and write them to RESULT.md and AGREEMENT.md")

const folder = "calls"

// given is a file that Earshot was given and the recording it is of.
type given struct {
	recording Recording
	from      string // wire, stats
	file      string
}

// files names what to import of each recording. A getStats file is called as
// its call, which it is named after.
func files(t *testing.T, set []Recording) (all []given) {
	t.Helper()
	dir := t.TempDir()
	for _, r := range set {
		if r.Wire != "" {
			all = append(all, given{r, "wire", r.Wire})
		}
		if r.Stats != "" {
			file := filepath.Join(dir, r.Truth.Name+".jsonl.gz")
			copyFile(t, r.Stats, file)
			all = append(all, given{r, "stats", file})
		}
	}
	return all
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
	var names []string
	for _, g := range all {
		names = append(names, g.file)
	}
	calls := importInto(t, u, "default", names...)
	var result Result
	for _, g := range all {
		id := theCall(calls[g.file])
		require.NotEmpty(t, id, "a call in %s of %s", g.from, g.recording.Truth.Name)
		result = append(result, Judge(g.recording, g.from, heard(t, u, "default", id)))
	}
	report(t, "RESULT.md", "Verdicts over recorded calls", result.String())
	for _, wrong := range result.Wrong() {
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
