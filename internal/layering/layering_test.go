// Package layering holds the rule that imports point one way.
package layering

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/earshot/earshot/"

// stages never import each other: what they share is telemetry.
var stages = []string{"ingest", "processors", "sinks", "query", "directory", "api", "deploy", "cmd", "telemetry"}

// allowed are the imports between stages that there may be.
var allowed = map[string][]string{
	"telemetry":  {},
	"ingest":     {"telemetry"},
	"processors": {"telemetry"},
	"sinks":      {"telemetry", "directory"}, // the directory for webhook only, see below
	"query":      {"telemetry"},
	"directory":  {"telemetry"},
	"deploy":     {"telemetry"},
	"api":        {"query", "directory", "telemetry", "ingest"}, // of ingest only pcap, see below
	"cmd":        stages,
}

func TestImportsPointOneWay(t *testing.T) {
	list := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := list.Output()
	require.NoError(t, err)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		seen++
		name := path.Base(p.ImportPath)
		for _, bad := range []string{"util", "utils", "common", "helpers", "helper", "misc"} {
			require.NotEqual(t, bad, name, "%s: a package is named for its subject", p.ImportPath)
		}
		from := stage(p.ImportPath)
		rules, isStage := allowed[from]
		if !isStage {
			continue
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "github.com/apache/arrow/") {
				require.Equal(t, module+"api/export", p.ImportPath, "the Arrow library stays in one package")
			}
			to := stage(imported)
			if _, known := allowed[to]; !known || to == from {
				continue
			}
			require.Contains(t, rules, to, "%s imports %s", p.ImportPath, imported)
			if from == "sinks" && to == "directory" {
				require.Equal(t, module+"sinks/webhook", p.ImportPath, "only webhooks, whose deliveries lie there, need the directory")
			}
			if from == "api" && to == "ingest" {
				require.Equal(t, module+"ingest/pcap", imported, "api takes only the capture writer from ingest")
			}
		}
	}
	require.Greater(t, seen, 15, "packages were listed")
}

// stage is the first folder below the module, or nothing for foreign packages.
func stage(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module)
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}
