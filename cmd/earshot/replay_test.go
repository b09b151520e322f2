package main

import (
	"testing"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

// TestReplayKnowsQuietCalls: of a call that was quiet for longer than the margin
// only the end is read again; that is no other verdict.
func TestReplayKnowsQuietCalls(t *testing.T) {
	call := func(startedUs int64, overall string) *telemetry.Call {
		return &telemetry.Call{StartedUs: startedUs, Verdict: &telemetry.Verdict{Final: true, Overall: overall}}
	}
	r := &replay{}
	p := &replayedPart{replay: r, sinceUs: 1000, end: 1 << 30}
	p.judge(calls.Retried{CallID: "quiet", Call: call(2000, "unknown")}, map[string]query.StoredCall{"quiet": {Call: call(500, "good")}})
	p.judge(calls.Retried{CallID: "whole", Call: call(2000, "good")}, map[string]query.StoredCall{"whole": {Call: call(2000, "good")}})
	if n := r.counts; n.BeganBefore != 1 || n.Compared != 1 || n.Unchanged != 1 || n.Changed != 0 {
		t.Errorf("%+v", n)
	}
}
