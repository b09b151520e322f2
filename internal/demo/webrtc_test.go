package demo

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A call through the relay is measured by both peers as the relay made it.
func TestPeersMeasureWhatTheRelayDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	alice, err := loadVoice(aliceOgg)
	require.NoError(t, err)
	bob, err := loadVoice(bobOgg)
	require.NoError(t, err)
	r, err := newRelay(impairment{delay: 40 * time.Millisecond, deadFrom: -1}, impairment{delay: 60 * time.Millisecond, loss: 0.2, deadFrom: -1}, 1)
	require.NoError(t, err)
	go r.run(ctx)
	a, err := newPeer(alice, true)
	require.NoError(t, err)
	defer a.close()
	b, err := newPeer(bob, false)
	require.NoError(t, err)
	defer b.close()
	require.NoError(t, connect(ctx, a, b, r))
	go a.talk(ctx)
	go b.talk(ctx)
	time.Sleep(9 * time.Second)
	report := a.stats(time.Now())
	text, err := json.MarshalIndent(report, "", " ")
	require.NoError(t, err)
	t.Log(string(text))
	in := report["IT01A1"].(map[string]any)
	lost, received := float64(in["packetsLost"].(int64)), float64(in["packetsReceived"].(uint64))
	require.InDelta(t, 0.2, lost/(lost+received), 0.1)
	require.Greater(t, in["concealedSamples"].(uint64), uint64(0))
	require.Contains(t, report, "OT01A1")
	remote := report["RIA1"].(map[string]any)
	// A busy machine can only make it longer.
	require.GreaterOrEqual(t, remote["roundTripTime"].(float64), 0.099)
	require.Greater(t, report["SA1"].(map[string]any)["totalAudioEnergy"].(float64), 0.001)
}
