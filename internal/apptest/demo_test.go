package apptest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// Every labelled fault of the demo is found, and nothing that is no fault is.
func TestDemoCallsGetTheirLabelsVerdicts(t *testing.T) {
	u := StartUp(t)
	_, err := u.Earshot("demo", "--rounds=1", "--parallel=4")
	require.NoError(t, err)

	one := func(scenario string) query.Call {
		var list query.List[query.Call]
		require.NoError(t, u.Get(company+"/calls?limit=1000", &list))
		for _, call := range list.Items {
			if strings.HasPrefix(call.ID, "demo-"+scenario+"-") {
				return u.call(t, call.ID)
			}
		}
		t.Fatalf("no call of scenario %s", scenario)
		return query.Call{}
	}
	final := func(scenario string) query.Call {
		Eventually(t, 30*time.Second, scenario+" is final", func() error {
			if call := one(scenario); !call.Verdict.Final {
				return fmt.Errorf("state %s", call.State)
			}
			return nil
		})
		return one(scenario)
	}
	for scenario, check := range map[string]func(t *testing.T, v query.Verdict){
		"rtc-clean": clean,
		"sip-clean": clean,
		"rtc-delayed": func(t *testing.T, v query.Verdict) {
			require.Equal(t, "unacceptable", v.Delay.Band)
			require.InDelta(t, 340, v.Delay.RTTMs.Min, 20)
		},
		"rtc-jittery": func(t *testing.T, v query.Verdict) {
			require.Contains(t, []string{"bad", "unacceptable"}, v.Jitter.Band)
		},
		"rtc-lossy": func(t *testing.T, v query.Verdict) {
			require.Contains(t, []string{"bad", "unacceptable"}, v.Loss.Band)
			require.InDelta(t, 8, *v.Loss.ContactToTargetPercent, 3)
		},
		"sip-lossy": func(t *testing.T, v query.Verdict) {
			require.Contains(t, []string{"bad", "unacceptable"}, v.Loss.Band)
			require.Contains(t, []string{"bad", "unacceptable"}, v.Delay.Band)
			require.InDelta(t, 240, v.Delay.RTTMs.Min, 20)
		},
		"rtc-muted": func(t *testing.T, v query.Verdict) {
			require.NotContains(t, []string{"suspected", "confirmed"}, v.OneWayAudio.State)
		},
		"rtc-oneway-start":  oneWay("target_to_contact"),
		"rtc-oneway-middle": oneWay("target_to_contact"),
		"sip-oneway-start":  oneWay("target_to_contact"),
	} {
		t.Run(scenario, func(t *testing.T) {
			call := final(scenario)
			check(t, call.Verdict)
			if !strings.Contains(scenario, "oneway") {
				require.NotContains(t, []string{"suspected", "confirmed"}, call.Verdict.OneWayAudio.State)
			}
			require.Contains(t, call.Description, "Demo: ")
			require.Equal(t, "internal", call.Direction)
		})
	}
	middle := final("rtc-oneway-middle")
	require.InDelta(t, 15, middle.Verdict.OneWayAudio.Since.Sub(middle.ConnectedAt.Time).Seconds(), 6, "first dead second")

	for scenario, reason := range map[string]string{
		"busy": "on_a_call", "declined": "manually_declined", "no-endpoint": "no_available_endpoints", "spam": "spam",
		"elsewhere": "assigned_to_another_operator", "reserved": "reserved_to_another_call", "after-hours": "after_hours",
		"dnd": "do_not_disturb", "ringing": "ringing_in_progress",
	} {
		t.Run(scenario, func(t *testing.T) {
			call := final(scenario)
			require.Len(t, call.Rejections, 1, "once per leg")
			require.Equal(t, reason, call.Rejections[0].Reason)
			require.NotNil(t, call.Rejections[0].Agent.UserID)
		})
	}
	var trend query.RejectionTrend
	require.NoError(t, u.Get(company+"/rejections/trend?group_by=reason&interval=1m", &trend))
	require.Len(t, trend.Series, 9)
	for _, series := range trend.Series {
		require.EqualValues(t, 1, series.Total, series.Key)
	}
	// The device that never refreshed.
	var list query.List[query.Registration]
	Eventually(t, 90*time.Second, "heidi's second device has lapsed", func() error {
		require.NoError(t, u.Get(company+"/users/heidi/registrations", &list))
		for _, r := range list.Items {
			if r.App == "Zoiper" && r.State == "lapsed" {
				return nil
			}
		}
		return fmt.Errorf("%+v", list.Items)
	})
}

// clean is what nothing was done to. A busy machine delays packets really, and
// that is measured; but it loses none, and the best round trip stays short.
func clean(t *testing.T, v query.Verdict) {
	require.NotEqual(t, "unknown", v.Overall)
	require.Equal(t, "good", v.Loss.Band)
	require.Equal(t, "none", v.OneWayAudio.State)
	require.Less(t, v.Delay.RTTMs.Min, 60.)
}

func oneWay(direction string) func(t *testing.T, v query.Verdict) {
	return func(t *testing.T, v query.Verdict) {
		require.Equal(t, "confirmed", v.OneWayAudio.State)
		require.NotNil(t, v.OneWayAudio.Direction)
		require.Equal(t, direction, *v.OneWayAudio.Direction)
	}
}
