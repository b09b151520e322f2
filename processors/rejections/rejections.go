// Package rejections says why a leg of a call was refused, in the words of a
// support portal, from what the platform, the signalling and the canceller said.
// It is a pure mapping; which legs there are is the business of package calls.
package rejections

import (
	"strconv"
	"strings"
)

// Reasons. The first nine are the portal's; the others stand beside them so
// that nothing is forced into a reason that nobody observed.
const (
	ReservedToAnotherCall     = "reserved_to_another_call"
	NoAvailableEndpoints      = "no_available_endpoints"
	ManuallyDeclined          = "manually_declined"
	AssignedToAnotherOperator = "assigned_to_another_operator"
	AfterHours                = "after_hours"
	Spam                      = "spam"
	OnACall                   = "on_a_call"
	DoNotDisturb              = "do_not_disturb"
	RingingInProgress         = "ringing_in_progress"

	NoAnswer        = "no_answer"
	CallerAbandoned = "caller_abandoned"
	Unreachable     = "unreachable"
	Forbidden       = "forbidden"
	MediaRejected   = "media_rejected"
	ServerError     = "server_error"
	UnknownReason   = "unknown"
)

var known = map[string]bool{
	ReservedToAnotherCall: true, NoAvailableEndpoints: true, ManuallyDeclined: true,
	AssignedToAnotherOperator: true, AfterHours: true, Spam: true, OnACall: true,
	DoNotDisturb: true, RingingInProgress: true,
	NoAnswer: true, CallerAbandoned: true, Unreachable: true, Forbidden: true,
	MediaRejected: true, ServerError: true, UnknownReason: true,
}

// Known reports whether id is one of the reasons above.
func Known(id string) bool { return known[id] }

// Leg is what is known of one refused leg. Empty and zero where not known.
type Leg struct {
	// EventReason is the reason id of the platform's own event.
	EventReason string
	// Status is the final status of the INVITE, 300–699.
	Status uint32
	// Reasons are the Reason header values (RFC 3326) of the final response.
	Reasons []string
	// Cancelled says that a CANCEL was seen; CancelReasons are its Reason
	// header values.
	Cancelled     bool
	CancelReasons []string
	// Rang says that a 18x other than 182 and 183 was seen before the end.
	Rang bool
	// OtherLegRings says that another leg offered to the same agent is ringing.
	OtherLegRings bool
}

// Why gives the reason of a refused leg and whether there is one at all: a
// challenge (401, 407) never refuses a call, nor does a redirection or a
// request to say it differently (3xx, 421, 422, 423, 491, 494).
//
// Precedence: the platform's event, the Reason header, the final status, who
// cancelled.
func Why(l Leg) (reason string, refused bool) {
	if l.EventReason != "" {
		if Known(l.EventReason) {
			return l.EventReason, true
		}
		return UnknownReason, true
	}
	if (l.Status != 0 && l.Status < 400) || challenge(l.Status) {
		return "", false
	}
	for _, r := range l.CancelReasons {
		if id := ofReason(r, l); id != "" {
			return id, true
		}
	}
	for _, r := range l.Reasons {
		if id := ofReason(r, l); id != "" {
			return id, true
		}
	}
	if id := ofStatus(l.Status, l); id != "" {
		return id, true
	}
	if l.Cancelled || l.Status == 487 {
		return CallerAbandoned, true
	}
	if l.Status == 0 {
		return "", false
	}
	return UnknownReason, true
}

func challenge(status uint32) bool {
	switch status {
	case 401, 407, 421, 422, 423, 491, 494:
		return true
	}
	return false
}

// Challenge reports whether a final status asks for another attempt rather than
// refusing the call.
func Challenge(status uint32) bool { return challenge(status) || (status >= 300 && status < 400) }

// ofReason maps one Reason header value; "" where it says nothing certain.
func ofReason(value string, l Leg) string {
	protocol, cause := ParseReason(value)
	switch protocol {
	case "SIP":
		if cause == 200 {
			return AssignedToAnotherOperator // RFC 3326 §3.1: completed elsewhere
		}
		return ofStatus(cause, l)
	case "Q.850":
		return ofQ850(cause)
	}
	return ""
}

// ParseReason reads a Reason header value (RFC 3326 §2): protocol in upper
// case and cause, 0 where there is none. Only the first of several values.
func ParseReason(value string) (protocol string, cause uint32) {
	params := strings.Split(value, ";")
	protocol = strings.ToUpper(strings.TrimSpace(params[0]))
	for _, p := range params[1:] {
		name, v, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "cause") {
			continue
		}
		v, _, _ = strings.Cut(v, ",")
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(v), `"`), 10, 16)
		if err == nil {
			return protocol, uint32(n)
		}
	}
	return protocol, 0
}

// ofQ850 maps a cause of ITU-T Q.850 table 1. Normal clearing (16) and normal
// unspecified (31) say nothing.
func ofQ850(cause uint32) string {
	switch cause {
	case 17:
		return OnACall
	case 18, 19:
		return NoAnswer
	case 21:
		return ManuallyDeclined
	case 26:
		return AssignedToAnotherOperator // non-selected user clearing
	case 1, 20, 22:
		return NoAvailableEndpoints
	case 2, 3, 27, 28, 102:
		return Unreachable
	case 29, 50, 52, 53, 54, 55, 57, 87:
		return Forbidden
	case 58, 65, 70, 79, 88:
		return MediaRejected
	case 34, 38, 41, 42, 43, 44, 47, 63, 111, 127:
		return ServerError
	}
	return ""
}

func ofStatus(status uint32, l Leg) string {
	switch status {
	case 486, 600:
		if l.OtherLegRings {
			return RingingInProgress
		}
		return OnACall
	case 480:
		if l.Rang {
			return NoAnswer
		}
		return NoAvailableEndpoints
	case 404, 410, 503, 604:
		return NoAvailableEndpoints
	case 408:
		if l.Rang {
			return NoAnswer
		}
		return Unreachable
	case 430:
		return Unreachable
	case 603:
		return ManuallyDeclined
	case 607, 608:
		return Spam
	case 402, 403, 433, 436, 437, 438:
		return Forbidden
	case 406, 415, 488, 606:
		return MediaRejected
	case 482, 483:
		return ServerError
	}
	if status >= 500 && status < 600 {
		return ServerError
	}
	return ""
}
