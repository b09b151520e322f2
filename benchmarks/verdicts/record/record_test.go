package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks/verdicts"
)

// The calls that are there are those of the table, and have its labels: an
// expectation that is changed in one place only is none.
func TestCallsAreThoseOfTheTable(t *testing.T) {
	byName := map[string]*Scenario{}
	for i := range scenarios {
		require.NotContains(t, byName, scenarios[i].Name)
		byName[scenarios[i].Name] = &scenarios[i]
	}
	files, err := filepath.Glob("../calls/sip-*/truth.json")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		if strings.HasPrefix(name, "sip-relay-") {
			continue // made otherwise
		}
		found++
		require.Contains(t, byName, name)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var is verdicts.Truth
		require.NoError(t, json.Unmarshal(text, &is))
		should := is
		byName[name].label(&should)
		require.Equal(t, should, is, "record -label %s", name)
		require.Equal(t, byName[name].UnansweredS > 0, is.AToB == nil, name)
	}
	require.Len(t, byName, found, "every call of the table was recorded")
}
