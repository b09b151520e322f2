package calls_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// twoCompanies judge acme's calls by rules of its own.
func twoCompanies(t *testing.T) *quality.RuleBook {
	t.Helper()
	book, err := quality.ParseRules([]byte("companies: {acme: patient}\nsets:\n  patient: {version: patient-3, delay_good_ms: 1000, delay_acceptable_ms: 2000, delay_bad_ms: 3000}\n"))
	require.NoError(t, err)
	return book
}

// slow is a call of a company with a round trip of 116 ms.
func slow(t *testing.T, company, key string) *script {
	s := newScript(t)
	s.key, s.oneWayUs = key, 29_000
	s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
	s.sip(1, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
	s.talk(2, 42)
	s.bye(45, 0)
	for _, r := range s.records {
		r.Company = company
	}
	return s
}

func inOrder(scripts ...*script) []*telemetry.Record {
	var all []*telemetry.Record
	for _, s := range scripts {
		all = append(all, s.records...)
	}
	slices.SortStableFunc(all, func(a, b *telemetry.Record) int { return int(a.AtUs - b.AtUs) })
	return all
}

func finals(out []*telemetry.Outcome) map[string]*telemetry.Call {
	newest := map[string]*telemetry.Call{}
	for _, o := range out {
		if c := o.GetCall(); c != nil && c.Verdict.Final {
			newest[o.Company+"/"+o.CallId] = c
		}
	}
	return newest
}

func TestEachCompanyHasItsRules(t *testing.T) {
	out := finals(live(t, calls.New(twoCompanies(t)), inOrder(slow(t, "acme", "a"), slow(t, "globex", "g")), 200))
	require.Len(t, out, 2)
	for id, want := range map[string][2]string{"acme/a": {"patient-3", "good"}, "globex/g": {"earshot-1", "acceptable"}} {
		v := out[id].Verdict

		require.InDelta(t, 116, v.Delay.RttMs.P50, 5)
		require.Equal(t, want, [2]string{v.Rules, v.Delay.Band}, id)
	}
	require.EqualValues(t, 1000, out["acme/a"].Verdict.Thresholds.DelayGoodMs)
}

// A call that is open while the rules change is judged by the new ones from then on.
func TestRulesChangeWhileACallIsOpen(t *testing.T) {
	in := slow(t, "acme", "a").records
	before := calls.New(calls.DefaultRules())
	half := len(in) / 2
	early := live(t, before, in[:half], 0)
	require.Equal(t, "earshot-1", last(t, early).Verdict.Rules)

	after := calls.New(twoCompanies(t))
	before.Checkpoint(func(key string, state []byte) { require.NoError(t, after.Restore(key, state)) })
	v := finals(live(t, after, in[half:], 200))["acme/a"].Verdict
	require.Equal(t, "patient-3", v.Rules)
	require.Equal(t, "good", v.Delay.Band)
	require.Greater(t, v.Version, last(t, early).Verdict.Version)
}

// retried judges records again and gives the calls in the order they were handed over.
func retried(t *testing.T, r func(over func(calls.Retried)) *calls.Retrial, in []*telemetry.Record, tailS int64) []calls.Retried {
	t.Helper()
	var out []calls.Retried
	m := r(func(c calls.Retried) { out = append(out, c) })
	live(t, m, in, tailS)
	m.Rest()
	return out
}

func TestRetrialIsWhatWasSaid(t *testing.T) {
	in := inOrder(slow(t, "acme", "a"), slow(t, "globex", "g with a blank"))
	said := finals(live(t, calls.New(twoCompanies(t)), in, 200))
	for _, c := range []struct {
		name    string
		tailS   int64
		company string
		want    []string
		final   bool
	}{
		{"to the end", 1000, "", []string{"acme/a", "globex/" + telemetry.CallID("g with a blank")}, true},
		{"one company", 1000, "acme", []string{"acme/a"}, true},
		{"final, but not yet for long", 20, "", []string{"acme/a", "globex/" + telemetry.CallID("g with a blank")}, true},
		{"still open", 1, "", []string{"acme/a", "globex/" + telemetry.CallID("g with a blank")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			again := retried(t, func(over func(calls.Retried)) *calls.Retrial {
				return calls.NewRetrial(twoCompanies(t), c.company, over)
			}, in, c.tailS)
			var ids []string
			for _, r := range again {
				id := r.Company + "/" + r.CallID
				ids = append(ids, id)
				require.Equal(t, c.final, r.Call.Verdict.Final)
				if c.final {
					require.True(t, calls.SameVersion(said[id], r.Call), id)
					require.Empty(t, calls.Changes(said[id].Verdict, r.Call.Verdict))
				}
				require.Equal(t, startUs+1000, r.FirstUs)
				require.Greater(t, r.LastUs, r.FirstUs)
			}
			slices.Sort(ids)
			require.Equal(t, c.want, ids)
		})
	}
	other := retried(t, func(over func(calls.Retried)) *calls.Retrial {
		return calls.NewRetrial(calls.DefaultRules(), "acme", over)
	}, in, 1000)
	require.Equal(t, []calls.Change{
		{Dimension: "overall", From: "good", To: "acceptable"}, {Dimension: "delay", From: "good", To: "acceptable"},
	}, calls.Changes(said["acme/a"].Verdict, other[0].Call.Verdict)[:2])
	require.False(t, calls.SameVersion(said["acme/a"], other[0].Call))
}

// Calls of a capture began when the first record of the capture was received.
func TestRetrialOfACapture(t *testing.T) {
	var again []calls.Retried
	r := calls.NewRetrial(calls.DefaultRules(), "", func(c calls.Retried) { again = append(again, c) })
	one, two := slow(t, "acme", "a"), slow(t, "acme", "b")
	two.records = two.records[1:] // its INVITE is not in the capture
	for _, rec := range inOrder(one, two) {
		rec.Timeline = &telemetry.Timeline{Id: "import:1", Seq: 1}
		require.NoError(t, r.Apply(rec, nil))
	}
	require.Error(t, r.Apply(&telemetry.Record{Company: "acme", CallKey: "bad"}, nil), "poison")
	r.End("import:1", startUs+int64(60e6), nil)
	require.Len(t, again, 2)
	for _, c := range again {
		require.True(t, c.Call.Verdict.Final)
		require.Equal(t, "import:1", c.Timeline)
		require.Equal(t, startUs+1000, c.FirstUs)
	}
	r.Rest()
	require.Len(t, again, 2, "each call once")
}

func TestChanges(t *testing.T) {
	from := &telemetry.Verdict{Overall: "good", Delay: &telemetry.Delay{Band: "good"}, OneWayAudio: &telemetry.OneWayAudio{State: "none"}}
	to := &telemetry.Verdict{Overall: "bad", Rules: "x", OneWayAudio: &telemetry.OneWayAudio{State: "confirmed", Direction: "both"}, FaultSide: "unknown"}
	require.Equal(t, []calls.Change{
		{Dimension: "overall", From: "good", To: "bad"}, {Dimension: "delay", From: "good", To: "unknown"},
		{Dimension: "one_way_audio", From: "none", To: "confirmed both"},
	}, calls.Changes(from, to))
	require.Empty(t, calls.Changes(nil, &telemetry.Verdict{}))
}
