package apptest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/internal/kafkatest"
	"github.com/earshot/earshot/query"
)

// onEachBroker runs a test on the embedded broker and on Apache Kafka.
func onEachBroker(t *testing.T, test func(t *testing.T, flags ...string)) {
	t.Run("embedded broker", func(t *testing.T) { test(t) })
	t.Run("Apache Kafka", func(t *testing.T) { test(t, "--kafka.brokers="+kafkatest.Start(t).Addr) })
}

func capture(name string) string {
	return filepath.Join(Root(), "testdata", "captures", name, "mid.pcap")
}

func webrtc(name string) string {
	return filepath.Join(Root(), "testdata", "webrtc", name+".jsonl.gz")
}

const company = "/api/v1/companies/default"

func (u *Up) call(t *testing.T, id string) query.Call {
	t.Helper()
	var call query.Call
	require.NoError(t, u.Get(company+"/calls/"+url.PathEscape(id), &call))
	return call
}

// expectation is what a capture's truth supports.
type expectation struct {
	rttMs      float64 // least round trip, ± 5 ms (the relay adds jitter to the rest); -1: cannot be measured
	loss       [2]float64
	overall    string
	oneWay     string // state
	direction  string
	since      time.Duration // from the first media packet, ± 6 s
	firstMedia float64       // Unix s
	file       string
}

// truths are what the relay really did, from truth.json beside each capture.
func truths() map[string]expectation {
	return map[string]expectation{
		"519bce5e8727e02c":   {file: capture("clean_twoway"), rttMs: 80, overall: "good", oneWay: "none"},
		"e2ef126e2e9dac5d":   {file: capture("hold_12s_resume_24s"), rttMs: 80, overall: "good", oneWay: "none"},
		"0f05506ee87a5c5c":   {file: capture("loss5_jitter40"), rttMs: 160, loss: [2]float64{105. / 2042 * 100, 21. / 2051 * 100}, overall: "unacceptable", oneWay: "none"},
		"5f563a714cbe42ec":   {file: capture("oneway_AB_from_start"), rttMs: -1, oneWay: "confirmed", direction: "target_to_contact", firstMedia: 1795333135.71},
		"66ca8935ca135dd9":   {file: capture("short_4s_oneway_AB"), rttMs: -1, overall: "unknown", oneWay: "unknown"},
		"w1_clean":           {file: webrtc("w1_clean"), rttMs: 40, overall: "good", oneWay: "none"},
		"w2_loss_jitter":     {file: webrtc("w2_loss_jitter"), rttMs: 120, loss: [2]float64{126. / 1963 * 100, 20. / 1957 * 100}, overall: "unacceptable", oneWay: "none"},
		"w3_oneway_AB_start": {file: webrtc("w3_oneway_AB_start"), rttMs: 60, oneWay: "confirmed", direction: "target_to_contact"},
		"w5_mute_A":          {file: webrtc("w5_mute_A"), rttMs: 60, oneWay: "none"},
		"w8_dtx_silence_A":   {file: webrtc("w8_dtx_silence_A"), rttMs: 60, oneWay: "none"},
		"w9_rtt340":          {file: webrtc("w9_rtt340"), rttMs: 340, overall: "unacceptable", oneWay: "none"},
	}
}

func files(of map[string]expectation) (all []string) {
	for _, e := range of {
		all = append(all, e.file)
	}
	return all
}

func TestImportedCallsGetTheVerdictTheirTruthSupports(t *testing.T) {
	onEachBroker(t, func(t *testing.T, flags ...string) {
		u := StartUp(t, flags...)
		want := truths()
		imported := u.Import(files(want)...)
		require.Len(t, imported, len(want))
		before := map[string]string{}
		for _, i := range imported {
			e, known := want[i.CallID]
			require.True(t, known, "call %s of %s", i.CallID, i.File)
			require.True(t, strings.HasSuffix(i.Link, "/c/default/calls/"+i.CallID), i.Link)
			t.Run(i.CallID, func(t *testing.T) { checkVerdict(t, u.call(t, i.CallID), e) })
			before[i.CallID] = everything(t, u, i.CallID)
		}

		// Once more: nothing that a user sees changes.
		again := u.Import(files(want)...)
		require.ElementsMatch(t, imported, again)
		for id, text := range before {
			require.Equal(t, text, everything(t, u, id), id)
		}
	})
}

// everything is what the API says of a call.
func everything(t *testing.T, u *Up, id string) string {
	t.Helper()
	var all []json.RawMessage
	for _, part := range []string{"", "/samples?limit=1000", "/messages"} {
		var text json.RawMessage
		require.NoError(t, u.Get(company+"/calls/"+url.PathEscape(id)+part, &text))
		all = append(all, text)
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return string(text)
}

func checkVerdict(t *testing.T, call query.Call, e expectation) {
	v := call.Verdict
	text, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	defer func() {
		if t.Failed() {
			t.Log(string(text))
		}
	}()
	require.Equal(t, "ended", call.State)
	require.True(t, v.Final)
	if e.rttMs > 0 {
		require.NotNil(t, v.Delay.RTTMs)
		require.InDelta(t, e.rttMs, v.Delay.RTTMs.Min, math.Max(5, e.rttMs*.05), "round trip, ms")
	}
	if e.loss != [2]float64{} {
		require.InDelta(t, e.loss[0], *v.Loss.TargetToContactPercent, 0.3, "loss A→B, percentage points")
		require.InDelta(t, e.loss[1], *v.Loss.ContactToTargetPercent, 0.3, "loss B→A, percentage points")
	}
	if e.overall != "" {
		require.Equal(t, e.overall, v.Overall)
	}
	require.Equal(t, e.oneWay, v.OneWayAudio.State)
	if e.direction != "" {
		require.NotNil(t, v.OneWayAudio.Direction)
		require.Equal(t, e.direction, *v.OneWayAudio.Direction)
		first := call.ConnectedAt.Time
		if first.IsZero() {
			first = call.StartedAt.Time
		}
		if e.firstMedia > 0 {
			first = time.UnixMilli(int64(e.firstMedia * 1000))
		}
		require.InDelta(t, 0, v.OneWayAudio.Since.Sub(first).Seconds()-e.since.Seconds(), 6, "first dead second")
	}
	require.NotEmpty(t, v.Evidence, "a verdict says why")
	for _, evidence := range v.Evidence {
		require.NotEmpty(t, evidence.Text)
	}
}

// sngrep replays a capture to the HEP port: the same calls as by import.
func TestReplayOverHEPMakesTheSameCalls(t *testing.T) {
	onEachBroker(t, func(t *testing.T, flags ...string) {
		imports, replays := StartUp(t, flags...), StartUp(t)
		for _, name := range []string{"clean_twoway", "hold_12s_resume_24s"} {
			replays.replay(t, capture(name))
		}
		for _, i := range imports.Import(capture("clean_twoway"), capture("hold_12s_resume_24s")) {
			want := imports.call(t, i.CallID)
			Eventually(t, 60*time.Second, "the replayed call has ended", func() error {
				var got query.Call
				if err := replays.Get(company+"/calls/"+i.CallID, &got); err != nil {
					return err
				}
				if !got.Verdict.Final {
					return fmt.Errorf("state %s, verdict not final", got.State)
				}
				return nil
			})
			got := replays.call(t, i.CallID)
			require.Equal(t, want.StartedAt, got.StartedAt)
			require.Equal(t, want.ConnectedAt, got.ConnectedAt)
			require.Equal(t, want.EndedAt, got.EndedAt)
			require.Equal(t, want.Target.Number, got.Target.Number)
			require.Equal(t, want.Contact.Number, got.Contact.Number)
			require.Equal(t, want.End, got.End)
			var wantMessages, gotMessages query.List[query.Message]
			require.NoError(t, imports.Get(company+"/calls/"+i.CallID+"/messages", &wantMessages))
			require.NoError(t, replays.Get(company+"/calls/"+i.CallID+"/messages", &gotMessages))
			require.Equal(t, wantMessages.Items, gotMessages.Items)
		}
	})
}
