package query

import (
	"testing"
	"time"
)

func TestOneWayText(t *testing.T) {
	answer := time.Date(2026, 11, 2, 12, 0, 2, 0, time.UTC)
	at := func(s float64) Time { return Time{answer.Add(time.Duration(s * float64(time.Second)))} }
	ptr := func(s string) *string { return &s }
	sure := func(f float64) *float64 { return &f }
	ada, other := Party{Name: "Ada", Number: "+14155550101"}, Party{Number: "+12125550123"}
	span := DeadSpan{Direction: "target_to_contact", Since: at(6), Until: at(66), Healed: true}
	for _, c := range []struct {
		one     OneWayAudio
		contact Party
		want    string
	}{
		{OneWayAudio{State: "confirmed", Direction: ptr("target_to_contact"), Since: at(6), Until: at(66), Confidence: sure(0.98)}, other,
			"Ada (+14155550101) cannot be heard by +12125550123 since 0:06 (98 % sure)."},
		{OneWayAudio{State: "confirmed", Direction: ptr("target_to_contact"), Since: at(6), Until: at(66), Spans: []DeadSpan{span}}, other,
			"Ada (+14155550101) cannot be heard by +12125550123 from 0:06 to 1:06."},
		{OneWayAudio{State: "confirmed", Direction: ptr("contact_to_target"), Since: at(0.4)}, Party{}, "The contact cannot be heard by Ada (+14155550101) from the start."},
		{OneWayAudio{State: "suspected", Direction: ptr("contact_to_target"), Confidence: sure(0.75)}, Party{Name: "Bo"}, "Bo can probably not be heard by Ada (+14155550101) (75 % sure)."},
		{OneWayAudio{State: "confirmed", Direction: ptr("both"), Since: at(3725)}, other, "Neither side can hear the other since 1:02:05."},
		{OneWayAudio{State: "suspected", Direction: ptr("both")}, other, "Probably neither side can hear the other."},
		{OneWayAudio{State: "none", Confidence: sure(0.9)}, other, "Both sides could be heard."},
		{OneWayAudio{State: "unknown"}, other, "One-way audio could not be judged: a direction was not observed long enough."},
	} {
		call := Call{State: "ended", ConnectedAt: Time{answer}, Target: ada, Contact: c.contact, Verdict: Verdict{OneWayAudio: c.one}}
		if got := oneWayText(&call); got != c.want {
			t.Errorf("%+v: %q, want %q", c.one, got, c.want)
		}
	}
	for state, want := range map[string]string{"live": "The call has not been answered yet.", "ended": "The call was not answered: there is no audio to judge."} {
		if got := oneWayText(&Call{State: state}); got != want {
			t.Errorf("%s: %q", state, got)
		}
	}
}
