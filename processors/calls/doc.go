// Package calls is the state machine of calls: from SIP messages, RTCP, RTP
// headers, getStats() and call events to samples, versions of calls with their
// verdicts, rejections and ratings.
//
// The way of a record: Machine.Apply finds the call (machine.go), the record's
// kind decides who digests it (sip.go, rtcp.go, webrtc.go, events.go), what was
// observed goes into the state of one direction of audio (state.go, oneway.go),
// and verdict.go reads that state when a version of the call is due.
//
// Inside, a call has two parties, 0 and 1. Where there is signalling, party 0 is
// the caller. Which of them is the target is decided when the first identity is
// known; outcomes speak of target and contact only. A direction of audio is
// named by the party that sends: direction 0 is what party 0 says.
package calls
