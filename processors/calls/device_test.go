package calls_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// Two peer connections of one device without a user, as Jitsi has them to the
// bridge and to one other participant, are one party; those of another are the other.
func TestPeerConnectionsOfOneDevice(t *testing.T) {
	s := newScript(t)
	a, b := sides(t, "w1_clean")
	for _, r := range records(t, stats, "w1_clean.jsonl.gz") {
		w := r.GetWebrtc()
		if w == nil {
			continue
		}
		for _, leg := range map[string][]string{a: {"PC_0", "PC_1"}, b: {"PC_0"}}[w.LegId] {
			c := proto.Clone(r).(*telemetry.Record)
			c.CallKey, c.Timeline = s.key, nil
			c.GetWebrtc().Side, c.GetWebrtc().UserId, c.GetWebrtc().DeviceId = "", "", w.LegId
			c.GetWebrtc().LegId = w.LegId + "/" + leg
			s.records = append(s.records, c)
		}
	}
	got := map[string]string{}
	for _, l := range last(t, s.run(60)).Legs {
		got[l.Id] = l.Side
	}
	if got[a+"/PC_0"] != "target" || got[a+"/PC_1"] != "target" || got[b+"/PC_0"] != "contact" {
		t.Errorf("legs are on the sides %v", got)
	}
}
