package sip

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func micros(s string) int64 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t.UnixMicro()
}

// Reports of own values in the formats of RFC 6035 §4.7, snom, Polycom and liblinphone.
var vqReports = map[string]struct {
	in, userAgent string
	want          *telemetry.VQReport
}{
	"RFC 6035": {in: `VQSessionReport: CallTerm
CallID: 12345@example.org
LocalID: Alice <sip:alice@example.org>
RemoteID: Bill <sip:bill@example.net>
OrigID: Alice <sip:alice@example.org>
LocalAddr: IP=192.0.2.100 PORT=5000 SSRC=1a3b5c7d
RemoteAddr:IP=2001:db8::5 PORT=5002 SSRC=0x2468abcd
LocalMetrics:
Timestamps:START=2026-01-02T18:23:43Z STOP=2026-01-02T18:26:02.5Z
SessionDesc:PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50
                FMTP="annexb=no; STOP=x" PLC=3 SSUP=on
JitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120
PacketLoss:NLR=5.0 JDR=2.5
BurstGapLoss:BLD=1.5 BD=0 GLD=2.0 GD=500 GMIN=16
Delay:RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10
Signal:SL=-21 NL=-50 RERL=55
QualityEst:RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2 MOSCQ=4.3
  QoEEstAlg=P.564
RemoteMetrics:
PacketLoss:NLR=0.4 JDR=0
QualityEst:RLQ=127 RCQ=127 MOSLQ=127 MOSCQ=12.7
DialogID:x;to-tag=1;
   from-tag=2
`, want: &telemetry.VQReport{Report: "CallTerm", CallId: "12345@example.org", From: "Alice <sip:alice@example.org>", To: "Bill <sip:bill@example.net>",
		LocalAddress: "192.0.2.100:5000", RemoteAddress: "[2001:db8::5]:5002",
		Local: &telemetry.VQMetrics{StartUs: micros("2026-01-02T18:23:43Z"), StopUs: micros("2026-01-02T18:26:02.5Z"), PayloadType: 18, Codec: "G729", ClockRate: 8000, Ssrc: 0x2468abcd,
			LossPercent: proto.Float64(5), DiscardPercent: proto.Float64(2.5), BurstLossPercent: proto.Float64(1.5), BurstDurationMs: proto.Uint32(0), GapLossPercent: proto.Float64(2), GapDurationMs: proto.Uint32(500), RoundTripDelayMs: proto.Uint32(200), EndSystemDelayMs: proto.Uint32(140),
			JitterMs: proto.Float64(2), MosLq: proto.Float64(4.2), MosCq: proto.Float64(4.3), RLq: proto.Float64(90), RCq: proto.Float64(85), JbNominalMs: proto.Uint32(40)},
		Remote: &telemetry.VQMetrics{Ssrc: 0x1a3b5c7d, LossPercent: proto.Float64(0.4), DiscardPercent: proto.Float64(0)},
	}},
	"snom": {in: `VQSessionReport: CallTerm
CallID:8259-8ds5
LocalID:<sip:5004@192.0.2.252>
RemoteID:<sip:520@192.0.2.252;user=phone>
LocalAddr:IP=192.0.2.13 PORT=57460 SSRC=0x014EA261
RemoteAddr:IP=192.0.2.252 PORT=10034 SSRC=0x1F634EA2
x-UserAgent:snom821/873_19_20130321
LocalMetrics:
Timestamps:START=2026-06-16T07:47:14Z STOP=2026-06-16T07:47:21Z
SessionDesc:PT=8 PD=PCMA SR=8000 PPS=50 SSUP=off
x-SIPmetrics:SVA=RG SRD=392 SFC=0
JitterBuffer:JBA=3 JBR=2 JBN=20 JBM=20JBX=240
PacketLoss:NLR=3.0 JDR=3.0
Delay:RTD=0 ESD=0 IAJ=11
QualityEst:MOSLQ=4.1 MOSCQ=4.1
`, want: &telemetry.VQReport{Report: "CallTerm", CallId: "8259-8ds5", From: "<sip:5004@192.0.2.252>", To: "<sip:520@192.0.2.252;user=phone>",
		LocalAddress: "192.0.2.13:57460", RemoteAddress: "192.0.2.252:10034",
		Local: &telemetry.VQMetrics{StartUs: micros("2026-06-16T07:47:14Z"), StopUs: micros("2026-06-16T07:47:21Z"), PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Ssrc: 0x1f634ea2,
			LossPercent: proto.Float64(3), DiscardPercent: proto.Float64(3), EndSystemDelayMs: proto.Uint32(0), JitterMs: proto.Float64(11),
			MosLq: proto.Float64(4.1), MosCq: proto.Float64(4.1), JbNominalMs: proto.Uint32(20)},
	}},
	"Polycom, after the drafts": {in: `VQIntervalReport
LocalMetrics:
TimeStamps:START=2026-10-10T18:23:43Z STOP=2026-10-01T18:26:02Z
CallID:1890463548@example.org
FromID:<sip:alice@example.org>
ToID:<sip:bill@example.org>
LocalAddr:IP=192.0.2.1 PORT=5000 SSRC=2769920310
RemoteAddr:IP=192.0.2.2 PORT=5002 SSRC=12345678
SessionDesc:PT=0 PD=PCMU SR=8000
PacketLoss:NLR=101 JDR=x
Delay:RTD=20 ESD=14 IAJ=1.5
`, want: &telemetry.VQReport{Report: "Interval", CallId: "1890463548@example.org", From: "<sip:alice@example.org>", To: "<sip:bill@example.org>",
		LocalAddress: "192.0.2.1:5000", RemoteAddress: "192.0.2.2:5002",
		Local: &telemetry.VQMetrics{StartUs: micros("2026-10-10T18:23:43Z"), Codec: "PCMU", ClockRate: 8000, Ssrc: 0x12345678,
			RoundTripDelayMs: proto.Uint32(20), EndSystemDelayMs: proto.Uint32(14), JitterMs: proto.Float64(1.5)},
	}},
	"liblinphone": {userAgent: "Linphone/3.12.0 (belle-sip/1.6.3)", in: `VQSessionReport: CallTerm
CallID: lp
RemoteAddr: IP=192.0.2.2 PORT=5002 SSRC=2769920310

LocalMetrics:
PacketLoss:NLR=0.1 JDR=0.5
`, want: &telemetry.VQReport{Report: "CallTerm", CallId: "lp", RemoteAddress: "192.0.2.2:5002",
		Local: &telemetry.VQMetrics{Ssrc: 2769920310, LossPercent: proto.Float64(10), DiscardPercent: proto.Float64(50)}}},
	// As liblinphone writes it, behind a capture agent that gives the body alone.
	"liblinphone without User-Agent": {in: `VQIntervalReport
CallID: lp
LocalID: sip:a@example.org
RemoteID: sip:b@example.org
OrigID: sip:a@example.org
LocalAddr: IP=192.0.2.1 PORT=7078 SSRC=-1525046986
RemoteAddr: IP=192.0.2.2 PORT=5002 SSRC=2769920310
LocalMetrics:
Timestamps: START=2026-01-02T18:23:43Z STOP=2026-01-02T18:26:02Z
SessionDesc: PT=0 PD=PCMU SR=8000 PLC=1
PacketLoss: NLR=0.1 JDR=0.0
Delay: RTD=71
QualityEst: MOSLQ=4.2 MOSCQ=4.1
LinphoneExt: UA="Linphone/4.1"
`, want: &telemetry.VQReport{Report: "Interval", CallId: "lp", From: "sip:a@example.org", To: "sip:b@example.org", LocalAddress: "192.0.2.1:7078", RemoteAddress: "192.0.2.2:5002",
		Local: &telemetry.VQMetrics{StartUs: micros("2026-01-02T18:23:43Z"), StopUs: micros("2026-01-02T18:26:02Z"), Codec: "PCMU", ClockRate: 8000, Ssrc: 2769920310,
			LossPercent: proto.Float64(10), RoundTripDelayMs: proto.Uint32(71), MosLq: proto.Float64(4.2), MosCq: proto.Float64(4.1)}}},
	"Cisco, after the drafts": {in: `VQSessionReport: CallTerm
LocalMetrics:
TimeStamps:START=2026-04-03T20:31:00+0200 STOP=2026-04-03T20:31:30.5+0200
CallID: c@192.0.2.1
ToID: "B" <sip:b@example.org>
FromID: "A" <sip:a@example.org>
LocalAddr: [2001:db8::1]:5000
RemoteAddr: IP=[2001:db8::2]:9 PORT=5002 SSRC=0XABCDEF01
SESSIONDESC: PT = 9 PD = G722 SR = 16000
packetloss: nlr=1.5%; jdr=0,5
Delay: RTD=61ms, ESD=20 ms, IAJ=3ms
QualityEst: MOSLQ=4.3;MOSCQ=4.2;RLQ=
`, want: &telemetry.VQReport{Report: "CallTerm", CallId: "c@192.0.2.1", From: `"A" <sip:a@example.org>`, To: `"B" <sip:b@example.org>`, LocalAddress: "[2001:db8::1]:5000", RemoteAddress: "[2001:db8::2]:5002",
		Local: &telemetry.VQMetrics{StartUs: micros("2026-04-03T18:31:00Z"), StopUs: micros("2026-04-03T18:31:30.5Z"), PayloadType: 9, Codec: "G722", ClockRate: 16000, Ssrc: 0xabcdef01,
			LossPercent: proto.Float64(1.5), DiscardPercent: proto.Float64(0.5), RoundTripDelayMs: proto.Uint32(61), EndSystemDelayMs: proto.Uint32(20), JitterMs: proto.Float64(3),
			MosLq: proto.Float64(4.3), MosCq: proto.Float64(4.2)}}},
	"no headings": {in: "CallID: x\nPacketLoss: NLR=2\n", want: &telemetry.VQReport{Report: "Session", CallId: "x", Local: &telemetry.VQMetrics{LossPercent: proto.Float64(2)}}},
	"alert": {in: "VQAlertReport: Type=NLR Severity=Critical Dir=local\nLocalMetrics:\nPacketLoss:NLR=12\n",
		want: &telemetry.VQReport{Report: "Alert", Local: &telemetry.VQMetrics{LossPercent: proto.Float64(12)}}},
	"session": {in: "VQSessionReport\nLocalMetrics:\n", want: &telemetry.VQReport{Report: "Session", Local: new(telemetry.VQMetrics)}},
}

func TestParseVQ(t *testing.T) {
	for name, tt := range vqReports {
		for ending, in := range map[string][]byte{"LF": []byte(tt.in), "CRLF": crlf(tt.in)} {
			got, err := ParseVQFrom(in, tt.userAgent)
			if err != nil {
				t.Errorf("%s, %s: %v", name, ending, err)
				continue
			}
			if string(got.Raw) != string(in) {
				t.Errorf("%s, %s: Raw is not what came", name, ending)
			}
			got.Raw = nil
			if !proto.Equal(got, tt.want) {
				t.Errorf("%s, %s:\n got %v\nwant %v", name, ending, got, tt.want)
			}
		}
	}
}

func TestParseVQErrors(t *testing.T) {
	for _, in := range []string{"", "hello", "CallID: x\nLocalAddr: IP=1\n", "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"} {
		if r, err := ParseVQ([]byte(in)); !errors.Is(err, ErrVQ) {
			t.Errorf("%q: %v, %v", in, r, err)
		}
	}
}

func FuzzParseVQ(f *testing.F) {
	for _, r := range vqReports {
		f.Add([]byte(r.in), r.userAgent)
	}
	f.Fuzz(func(t *testing.T, b []byte, userAgent string) {
		r, err := ParseVQFrom(b, userAgent)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		for _, m := range []*telemetry.VQMetrics{r.GetLocal(), r.GetRemote()} {
			if m.GetLossPercent() < 0 || m.GetLossPercent() > 100 || m.GetMosCq() > 5 || m.GetStopUs() != 0 && m.GetStopUs() < m.GetStartUs() {
				t.Fatalf("%v", m)
			}
		}
		if _, err := proto.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}
