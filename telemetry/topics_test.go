package telemetry

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventIDNeverChanges(t *testing.T) {
	// Ids that are stored must be found again by later versions.
	require.Equal(t, "54fff7351b7418db1d556aa6970848c2", hex.EncodeToString(EventID("default", "", "agent", 1795333135728000, []byte("10.66.0.2:10025"), []byte("payload"))))
	require.NotEqual(t, EventID("a", "b", "", 1), EventID("ab", "", "", 1), "fields have borders")
	require.NotEqual(t, EventID("a", "", "", 1, []byte("x"), nil), EventID("a", "", "", 1, nil, []byte("x")))
}

func TestCallID(t *testing.T) {
	for key, want := range map[string]string{
		"519bce5e8727e02c":       "519bce5e8727e02c",
		"1-25437@10.66.0.1":      "1-25437@10.66.0.1",
		"a/b":                    "hc14cddc033f64b9dea80ea675cf280a0",
		"..":                     "h",
		"":                       "h",
		strings.Repeat("x", 201): "h",
	} {
		require.True(t, strings.HasPrefix(CallID(key), want), "%q gives %q", key, CallID(key))
		require.Regexp(t, `^[A-Za-z0-9._~@:+\-]{1,200}$`, CallID(key))
	}
}

func TestKeysHaveBorders(t *testing.T) {
	require.NotEqual(t, Key("a", "bc"), Key("ab", "c"))
}
