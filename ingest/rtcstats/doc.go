// Package rtcstats takes what the rtcstats clients of browsers send while a
// call runs, and reads the dumps that rtcstats servers keep: the API calls of
// RTCPeerConnection and, every second or so, getStats() as the difference to
// the time before. Three dialects are in the field:
//
//   - rtcstats 5 (@rtcstats/rtcstats-js, WebSocket subprotocol rtcstats#5.0):
//     numbered methods, members and ids; what is absent is unchanged, null is
//     removed.
//   - rtcstats 1 and 2 (the npm package rtcstats, subprotocols 1.0 and 2.0):
//     names in full; what is absent is unchanged or gone, nobody knows.
//   - Jitsi's (@jitsi/rtcstats, subprotocols 3.1_STANDARD and 3.1_LEGACY):
//     names in full, sequence numbers, resumed after a cut; a report that is
//     absent is gone, a member that is absent is unchanged.
//
// Decoder undoes the differences; Server speaks the protocols; ReadDump reads
// files.
package rtcstats
