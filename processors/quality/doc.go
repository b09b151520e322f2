// Package quality holds the formulas that turn what RTCP, RTP headers and
// getStats() say into delay, jitter, loss and MOS. Everything in it is a pure
// function of its arguments; RTP timestamp units do not leave it.
//
// The rule of the whole package: where an input is missing there is no number.
package quality
