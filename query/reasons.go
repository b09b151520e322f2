package query

// RejectionReason is why a leg of a call can be refused.
type RejectionReason struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Explanation string `json:"explanation"`
	Kind        string `json:"kind"` // platform: the nine of the portal; signalling: what SIP alone tells
	SIP         string `json:"sip"`  // what shows it where no event of the platform says it; empty where only the platform knows
}

// Kinds of reasons.
const (
	ofPlatform   = "platform"
	ofSignalling = "signalling"
)

// rejectionReasons is every reason there is, those of the portal first.
var rejectionReasons = []RejectionReason{
	{"reserved_to_another_call", "Reserved to another call", "The agent had just become available and was taken for another call of a contact centre that was offered at the same time.", ofPlatform, ""},
	{"no_available_endpoints", "No available endpoints", "Nothing of the agent could ring: no app was open and no device registered, in the browser, on the desktop or on the phone, and no number to forward to was set.", ofPlatform, "480 before it rang, 404, 410, 503 or 604; Q.850 causes 1, 20 and 22"},
	{"manually_declined", "Manually declined", "The agent saw the call and declined it.", ofPlatform, "603; Q.850 cause 21"},
	{"assigned_to_another_operator", "Assigned to another operator", "Several agents could take the call, and another one took it first.", ofPlatform, "CANCEL of a leg while another is answered, or with Reason SIP;cause=200; Q.850 cause 26"},
	{"after_hours", "After hours", "The call came outside the business hours of the contact centre.", ofPlatform, ""},
	{"spam", "Spam", "The caller was recognised as a spam caller and blocked.", ofPlatform, "607 or 608"},
	{"on_a_call", "On a call", "The agent was on another call already.", ofPlatform, "486 or 600; Q.850 cause 17"},
	{"do_not_disturb", "Do not disturb", "The agent had asked not to be disturbed. Only calls of departments are refused for it.", ofPlatform, ""},
	{"ringing_in_progress", "Ringing in progress", "Another call was ringing at the agent already.", ofPlatform, "486 or 600 while another leg rings there"},

	{"no_answer", "No answer", "It rang, and nobody answered in time.", ofSignalling, "408 or 480 after it rang; Q.850 causes 18 and 19"},
	{"caller_abandoned", "Caller abandoned", "The caller hung up before anybody answered.", ofSignalling, "CANCEL by the caller, or 487"},
	{"unreachable", "Unreachable", "The device or the network behind it did not respond.", ofSignalling, "408 before it rang, or 430; Q.850 causes 2, 3, 27, 28 and 102"},
	{"forbidden", "Forbidden", "A server does not let this caller or this call through.", ofSignalling, "402, 403, 433, 436, 437 or 438; Q.850 causes 29, 50, 52 to 55, 57 and 87"},
	{"media_rejected", "Media rejected", "The two ends have no codec or kind of media in common.", ofSignalling, "406, 415, 488 or 606; Q.850 causes 58, 65, 70, 79 and 88"},
	{"server_error", "Server error", "A server on the way failed.", ofSignalling, "482, 483, or 5xx other than 503; Q.850 causes 34, 38, 41 to 44, 47, 63, 111 and 127"},
	{"unknown", "Unknown", "The call was refused in a way that says nothing known about why; the platform's own words stand beside it.", ofSignalling, "any other final status"},
}

// RejectionReasons lists every reason: the nine of the portal, then those that
// only signalling knows.
func RejectionReasons() []RejectionReason {
	return append([]RejectionReason{}, rejectionReasons...)
}

// RejectionReasonByID gives a reason by its id.
func RejectionReasonByID(id string) (RejectionReason, bool) {
	for _, r := range rejectionReasons {
		if r.ID == id {
			return r, true
		}
	}
	return RejectionReason{}, false
}
