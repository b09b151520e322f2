package query_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// rated is an ended call of a user with its figures.
func rated(id, user, office, network string, ago time.Duration, rtt, loss float64) *telemetry.Outcome {
	d := &telemetry.Distribution{Min: rtt, P50: rtt, P95: rtt, Max: rtt}
	return callOutcome("acme", id, us(ago), &telemetry.Call{
		State: "ended", ConnectedUs: us(ago), EndedUs: us(ago) + 60e6,
		Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: user, Name: map[string]string{"u1": "Alice"}[user], OfficeId: office}, Endpoint: "desk_phone", AppVersion: "66"},
		Legs:   []*telemetry.Leg{{Side: "target", Address: network}},
		Verdict: &telemetry.Verdict{Final: true, Delay: &telemetry.Delay{RttMs: d}, Loss: &telemetry.Loss{Percent: &loss},
			Mos: &telemetry.MOS{Avg: 4.4 - loss/10}},
	})
}

func TestBaselines(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(7, 7))
	day := 24 * time.Hour
	var out []*telemetry.Outcome
	var mine, all []float64 // round trips before the call, of Alice and of all
	call := func(ago time.Duration, user string, rtt float64) {
		out = append(out, rated(fmt.Sprint("c", len(out)), user, "hq", "203.0.113.7:4000", ago, rtt, 0))
		// Only what began before, and at most 28 days.
		if ago > 0 && ago <= 28*day {
			all = append(all, rtt)
			if user == "u1" {
				mine = append(mine, rtt)
			}
		}
	}
	for i := range 41 {
		call(time.Duration(i+1)*12*time.Hour, "u1", 50+20*r.Float64())
	}
	for i := range 20 {
		call(time.Duration(i+1)*time.Hour, "u2", 55+10*r.Float64())
	}
	for i := range 15 { // what does not count: older, later
		call(28*day+time.Duration(i+1)*time.Hour, "u1", 900)
		call(-time.Duration(i+1)*time.Hour, "u1", 900)
	}
	// A call whose late version is good: the earlier one is forgotten.
	late := rated("late", "u1", "hq", "203.0.113.7:4000", 90*time.Minute, 5000, 0)
	better := rated("late", "u1", "hq", "203.0.113.7:4000", 90*time.Minute, 60, 0)
	mine, all = append(mine, 60), append(all, 60)
	// What is not final, and another company's, is no measure.
	open := rated("open", "u1", "hq", "203.0.113.7:4000", time.Hour, 5000, 0)
	open.GetCall().Verdict.Final = false
	theirs := rated("theirs", "u1", "hq", "203.0.113.7:4000", time.Hour, 5000, 0)
	theirs.Company = "other"
	bad := rated("bad", "u1", "hq", "203.0.113.7:4000", 0, 190, 4)
	// A network that was slow all day for everybody.
	for i := range 40 {
		rtt := 60.
		if i < 8 {
			rtt = 240
		}
		out = append(out, rated(fmt.Sprint("n", i), fmt.Sprint("v", i), "", "198.51.100.9:4000", time.Duration(i+1)*2*time.Hour, rtt, 0))
	}
	slow := rated("slow", "w", "", "198.51.100.9:4000", 0, 250, 0)
	alone := rated("alone", "x", "", "192.0.2.1:4000", 0, 900, 0)
	alone.GetCall().Target.AppVersion = ""
	store := stored(t, append(out, late, better, open, theirs, bad, slow, alone))
	acme := store.Company("acme")

	compare := func(id string) ([]query.Baseline, []string) {
		c, err := acme.Call(ctx, id)
		require.NoError(t, err)
		b, err := acme.Baselines(ctx, &c, "Headquarters")
		require.NoError(t, err)
		var say []string
		for _, e := range query.BaselineSentences(&c, b) {
			require.Equal(t, "baseline", e.Kind)
			say = append(say, e.Text)
		}
		return b, say
	}
	baselines, say := compare("bad")
	var kinds []string
	for _, b := range baselines {
		kinds = append(kinds, fmt.Sprintf("%s %s %s %d", b.Kind, b.ID, b.Name, b.Calls))
	}
	require.Equal(t, []string{"user u1 Alice 42", "network 203.0.113.0/24 203.0.113.0/24 62", "office hq Headquarters 62", "app_version desk_phone 66 desk phone 66 102"}, kinds)
	for i, of := range [][]float64{mine, all} {
		f := baselines[i].RTTMs
		require.InDelta(t, quantile(of, 0.5), f.P50, 0.01)
		require.InDelta(t, quantile(of, 0.9), f.P90, 0.01)
		require.InDelta(t, 190/f.P50, *f.Ratio, 0.01)
		require.True(t, f.Remarkable)
	}
	require.Equal(t, us(41*12*time.Hour), baselines[0].Since.UnixMicro())
	require.True(t, baselines[0].LossPercent.Remarkable)
	require.Nil(t, baselines[0].LossPercent.Ratio)
	require.Nil(t, baselines[0].JitterMs, "no call has it")
	require.False(t, baselines[0].MOS.Remarkable)
	p50 := baselines[0].RTTMs.P50
	require.Equal(t, []string{
		"The loss was 4.0 %, where 0.0 % is usual for Alice (median of 42 calls in 28 days).",
		"Others in the network 203.0.113.0/24 were not affected: 0.0 %, median of 20 calls in the 24 h before.",
		"Others in the office Headquarters were not affected: 0.0 %, median of 20 calls in the 24 h before.",
		fmt.Sprintf("The round trip was %.1f times what is usual for Alice: 190 ms (usual: %.0f ms, median of 42 calls in 28 days).", 190/p50, p50),
		fmt.Sprintf("Others in the network 203.0.113.0/24 were not affected: %.0f ms, median of 20 calls in the 24 h before.", *baselines[1].RTTMs.RecentP50),
		fmt.Sprintf("Others in the office Headquarters were not affected: %.0f ms, median of 20 calls in the 24 h before.", *baselines[2].RTTMs.RecentP50),
	}, say)

	_, say = compare("slow")
	require.Equal(t, []string{
		"The round trip was 4.2 times what is usual for the network 198.51.100.0/24: 250 ms (usual: 60 ms, median of 40 calls in 28 days).",
		"So it was for others in the network 198.51.100.0/24 that day: 240 ms, median of 12 calls in the 24 h before (usual: 60 ms). Look there, not at this user.",
	}, say)
	baselines, say = compare("alone")
	require.Empty(t, baselines)
	require.Empty(t, say)
	// Nothing is remarkable about a call as usual.
	baselines, say = compare("c0")
	require.NotEmpty(t, baselines)
	require.Empty(t, say)
	none, err := store.Company("nobody").Baselines(ctx, &query.Call{}, "")
	require.NoError(t, err)
	require.Empty(t, none)
}

// quantile is that of Excel's PERCENTILE.INC.
func quantile(of []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	at := q * float64(len(sorted)-1)
	low := math.Floor(at)
	high := min(int(low)+1, len(sorted)-1)
	return sorted[int(low)] + (at-low)*(sorted[high]-sorted[int(low)])
}
