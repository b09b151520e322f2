package ingest

import (
	"testing"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

// What agents call RTCP, in the payload types that they use for it.
func TestHEPReports(t *testing.T) {
	const report = `{"CORRELATION_ID":"c@pbx","RTP_SIP_CALL_ID":"c@pbx","EXPECTED_PK":500,"PACKET_LOSS":5,"MEAN_JITTER":2.1,"MOS":4.3,"SRC_IP":"10.0.0.1","SRC_PORT":4000,"DST_IP":"10.0.0.2","DST_PORT":6000,"TYPE":"PERIODIC"}`
	const list = `[{"SSRC":7,"NTPTime":1,"RTPTime":2,"PacketCount":3,"OctetCount":4,"Reports":[{"SSRC":8,"FractionLost":0,"TotalLost":0,"LastSequenceNumber":5,"Jitter":6,"LastSenderReport":0,"Delay":0}],"ProfileExtensions":null}]`
	tests := map[string]struct {
		kind    uint8
		payload string
		holds   func(*telemetry.Record) bool
	}{
		"RTP of an agent on the way":   {hep.TypeMOS, report, func(r *telemetry.Record) bool { return r.GetVq().GetLocal().GetLossPercent() == 1 }},
		"the same as a short report":   {hep.TypeVQ, report, func(r *telemetry.Record) bool { return r.GetVq().GetLocal().GetMosLq() == 4.3 }},
		"RTCP as pion's packets":       {hep.TypeRTCP, list, func(r *telemetry.Record) bool { return len(r.GetRtcp().GetReports()) == 1 }},
		"a compound that is cut short": {hep.TypeRTCP, "\x80\xc9\x00\x01\x00\x00\x00\x07\x81\xca\x00\x06\x00", func(r *telemetry.Record) bool { return r.GetRtcp().GetReceiverReports() == 1 }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hep(hep.TypeSIP, "10.0.0.1:5060", "10.0.0.2:5060", "", invite("c@pbx", "10.0.0.1", "4000"))
			b.hep(tt.kind, "10.0.0.1:4001", "10.0.0.2:6001", "", tt.payload)
			if len(b.records) != 2 || b.records[1].CallKey != "c@pbx" || !tt.holds(b.records[1]) {
				t.Errorf("records %v", b.records)
			}
		})
	}
}
