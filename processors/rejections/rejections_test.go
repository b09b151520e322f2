package rejections

import "testing"

func TestWhy(t *testing.T) {
	elsewhere := []string{`SIP;cause=200;text="Call completed elsewhere"`}
	tests := []struct {
		name string
		leg  Leg
		want string // "" for: not refused
	}{
		{"event wins over everything", Leg{EventReason: AfterHours, Status: 486, Reasons: []string{"Q.850;cause=21"}}, AfterHours},
		{"an event with words of its own", Leg{EventReason: "lunch", Status: 486}, UnknownReason},
		{"busy", Leg{Status: 486}, OnACall},
		{"busy everywhere", Leg{Status: 600}, OnACall},
		{"busy while another leg of the agent rings", Leg{Status: 486, OtherLegRings: true}, RingingInProgress},
		{"Q.850 busy beside 480", Leg{Status: 480, Reasons: []string{"Q.850;cause=17;text=\"User busy\""}}, OnACall},
		{"Q.850 that says nothing", Leg{Status: 603, Reasons: []string{"Q.850 ; cause=16"}}, ManuallyDeclined},
		{"480 before ringing", Leg{Status: 480}, NoAvailableEndpoints},
		{"480 after ringing", Leg{Status: 480, Rang: true}, NoAnswer},
		{"408 before ringing", Leg{Status: 408}, Unreachable},
		{"408 after ringing", Leg{Status: 408, Rang: true}, NoAnswer},
		{"not found", Leg{Status: 404}, NoAvailableEndpoints},
		{"gone", Leg{Status: 410}, NoAvailableEndpoints},
		{"service unavailable", Leg{Status: 503}, NoAvailableEndpoints},
		{"does not exist anywhere", Leg{Status: 604}, NoAvailableEndpoints},
		{"declined", Leg{Status: 603}, ManuallyDeclined},
		{"unwanted", Leg{Status: 607}, Spam},
		{"rejected by an analysis", Leg{Status: 608}, Spam},
		{"forbidden", Leg{Status: 403}, Forbidden},
		{"not acceptable here", Leg{Status: 488}, MediaRejected},
		{"server", Leg{Status: 500}, ServerError},
		{"cancelled, answered elsewhere", Leg{Status: 487, Cancelled: true, CancelReasons: elsewhere}, AssignedToAnotherOperator},
		{"cancelled, 487 not seen", Leg{Cancelled: true, CancelReasons: elsewhere}, AssignedToAnotherOperator},
		{"cancelled, declined elsewhere", Leg{Status: 487, Cancelled: true, CancelReasons: []string{"SIP;cause=603"}}, ManuallyDeclined},
		{"cancelled by the caller", Leg{Status: 487, Cancelled: true, Rang: true}, CallerAbandoned},
		{"487 alone", Leg{Status: 487}, CallerAbandoned},
		{"a status nobody knows", Leg{Status: 499}, UnknownReason},
		{"challenge", Leg{Status: 401}, ""},
		{"proxy challenge", Leg{Status: 407}, ""},
		{"redirected", Leg{Status: 302}, ""},
		{"session timer too small", Leg{Status: 422}, ""},
		{"nothing happened", Leg{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, refused := Why(tt.leg)
			if got != tt.want || refused != (tt.want != "") {
				t.Errorf("Why = %q, %v; want %q", got, refused, tt.want)
			}
			if refused && !Known(got) {
				t.Errorf("reason %q is none of the ids", got)
			}
		})
	}
}

func TestParseReason(t *testing.T) {
	tests := []struct {
		value    string
		protocol string
		cause    uint32
	}{
		{`SIP;cause=200;text="Call completed elsewhere"`, "SIP", 200},
		{`q.850 ;Cause = 17 ; text="x"`, "Q.850", 17},
		{`Q.850;cause="16"`, "Q.850", 16},
		{`SIP ;cause=580, Q.850;cause=3`, "SIP", 580},
		{`Preemption`, "PREEMPTION", 0},
		{`;cause=x`, "", 0},
		{``, "", 0},
	}
	for _, tt := range tests {
		if p, c := ParseReason(tt.value); p != tt.protocol || c != tt.cause {
			t.Errorf("ParseReason(%q) = %q, %d; want %q, %d", tt.value, p, c, tt.protocol, tt.cause)
		}
	}
}
