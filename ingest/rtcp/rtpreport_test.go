package rtcp

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func TestDecodeRTPReport(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	tests := map[string]struct {
		in   string
		want *telemetry.VQReport
	}{
		"periodic": {
			`{"CORRELATION_ID":"a@b","RTP_SIP_CALL_ID":"a@b","DELTA":19.983,"JITTER":2.5,"REPORT_TS":1795333140,"TL_BYTE":80000,"SKEW":-1.5,"TOTAL_PK":495,"EXPECTED_PK":500,"PACKET_LOSS":5,"SEQ":0,"MAX_JITTER":4.1,"MEAN_JITTER":2.1,"MIN_MOS":4.2,"MEAN_MOS":4.3,"MOS":4.3,"RFACTOR":89,"MEAN_RFACTOR":88.5,"SRC_IP":"192.0.2.1","SRC_PORT":10000,"DST_IP":"2001:db8::2","DST_PORT":20000,"OUT_ORDER":0,"SSRC":"0x1ab2c3d4","SSRC_CHG":0,"CODEC_PT":9,"CLOCK":8000,"CODEC_NAME":"g722","DIR":0,"PARTY":0,"TYPE":"PERIODIC","REPORT_START":1795333130,"REPORT_END":1795333140}`,
			&telemetry.VQReport{Report: "Interval", CallId: "a@b", LocalAddress: "[2001:db8::2]:20000", RemoteAddress: "192.0.2.1:10000",
				Local: &telemetry.VQMetrics{StartUs: 1795333130_000000, StopUs: 1795333140_000000, PayloadType: 9, Codec: "G722", ClockRate: 8000, Ssrc: 0x1ab2c3d4,
					LossPercent: f(1), JitterMs: f(2.1), MosLq: f(4.3), RLq: f(88.5)}},
		},
		"final": {
			`{"CORRELATION_ID":"a@b","TOTAL_PACKETS":990,"TOTAL_EXPECTED_PK":1000,"TOTAL_PACKET_LOSS":10,"MEAN_JITTER":3,"MEAN_MOS":4.1,"CODEC_PT":8,"CODEC_NAME":"PCMA","CLOCK":8000,"SSRC":"12345678","TYPE":"FINAL"}`,
			&telemetry.VQReport{Report: "CallTerm", CallId: "a@b",
				Local: &telemetry.VQMetrics{PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Ssrc: 0x12345678, LossPercent: f(1), JitterMs: f(3), MosLq: f(4.1)}},
		},
		"of a session border controller, numbers as strings": {
			`{"RTP_SIP_CALL_ID":"x","EXPECTED_PK":"200","PACKET_LOSS":"0","JITTER":"7","MOS":"0","SRC_IP":"192.0.2.1","SRC_PORT":"1","DST_IP":"192.0.2.2","DST_PORT":"2","CODEC_PT":"8","CODEC_NAME":"8","TYPE":"PERIODIC"}`,
			&telemetry.VQReport{Report: "Interval", CallId: "x", LocalAddress: "192.0.2.2:2", RemoteAddress: "192.0.2.1:1",
				Local: &telemetry.VQMetrics{PayloadType: 8, LossPercent: f(0), JitterMs: f(7)}},
		},
	}
	for name, tt := range tests {
		tt.want.Raw = []byte(tt.in)
		got, err := DecodeRTPReport([]byte(tt.in))
		if err != nil || !proto.Equal(got, tt.want) {
			t.Errorf("%s:\n got %v, %v\nwant %v", name, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "[]", "{}", `{"MOS":4.2}`, `{"RTP_SIP_CALL_ID":"x"}`, `{"RTP_SIP_CALL_ID":7,"MOS":4}`} {
		if got, err := DecodeRTPReport([]byte(in)); !errors.Is(err, ErrJSON) {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func FuzzDecodeRTPReport(f *testing.F) {
	f.Add([]byte(`{"RTP_SIP_CALL_ID":"x","EXPECTED_PK":"200","PACKET_LOSS":3,"JITTER":"7","MOS":4,"SSRC":"0x1","CODEC_NAME":"a"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeRTPReport(b)
		if (got == nil) == (err == nil) {
			t.Fatalf("%v, %v", got, err)
		}
		m := got.GetLocal()
		if p := m.GetLossPercent(); !(p >= 0 && p <= 100) {
			t.Fatalf("%v %% lost", p)
		}
		if s := m.GetMosLq(); s != 0 && !(s >= 1 && s <= 5) {
			t.Fatalf("MOS %v", s)
		}
	})
}
