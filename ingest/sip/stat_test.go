package sip

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func count(n uint64) *uint64   { return &n }
func ratio(f float64) *float64 { return &f }
func seconds(n uint32) *uint32 { return &n }

type stat struct {
	name, value string
	want        *telemetry.RTPStat
}

// Values of our own in the forms that vendors document.
var rtpStats = map[string]*stat{
	"AVM": {"X-RTP-Stat", "CS=0;PS=1433;ES=1525;OS=229280;SP=0/0;SO=0;QS=-;PR=1522;ER=1525;OR=243520;CR=0;SR=0;QR=-;PL=3,2;BL=0;LS=0;RB=0/0;SB=-/-;EN=PCMA,FAX;DE=PCMA;JI=23,2;DL=20,20,21;IP=192.0.2.1:7082,192.0.2.2:25132",
		&telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(1433), OctetsSent: count(229280), PacketsReceived: count(1522), OctetsReceived: count(243520), PacketsLost: count(3),
			JitterMs: ratio(2), JitterMaxMs: ratio(23), Encoder: "PCMA,FAX", Decoder: "PCMA"}},
	"AudioCodes": {"X-RTP-Stat", "PS=207;OS=49680;;PR=314;OR=50240;PL=0;JI=60;LA=40;",
		&telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(207), OctetsSent: count(49680), PacketsReceived: count(314), OctetsReceived: count(50240), PacketsLost: count(0), JitterMs: ratio(60), LatencyMs: ratio(40)}},
	"Poly": {"x-rtp-stat", "PS=1234,OS=34560,PR=1236,OR=24720,JI=1,DU=123,PL=0,EN=G711U,DE=G711A,MOS=4.0",
		&telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(1234), OctetsSent: count(34560), PacketsReceived: count(1236), OctetsReceived: count(24720), PacketsLost: count(0), JitterMs: ratio(1),
			DurationS: seconds(123), Encoder: "G711U", Decoder: "G711A", MosLq: ratio(4)}},
	"baresip": {"X-RTP-Stat", "EX=BareSip;CS=21;CD=9;PR=450;PS=451;PL=7,9;PD=1,-1;JI=3.5,4.0;RT=61.2;IP=192.0.2.1:4000,192.0.2.2:4002;EN=PCMU/8000;DE=PCMU/8000",
		&telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(451), PacketsReceived: count(450), PacketsLost: count(7), RemotePacketsLost: count(9), PacketsDiscarded: count(1), JitterMs: ratio(3.5),
			RemoteJitterMs: ratio(4), RoundTripMs: ratio(61.2), DurationS: seconds(9), Encoder: "PCMU/8000", Decoder: "PCMU/8000"}},
	// As baresip 1.0.0 wrote it.
	"baresip 1.0": {"X-RTP-Stat", "EX=BareSip;CS=0;CD=40;PR=1897;PS=2009;PL=103,21;PD=0,0;JI=94.0,9.0;IP=0.0.0.0:10068,192.0.2.1:10034;EN=PCMU/8000;DE=PCMU/8000",
		&telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(2009), PacketsReceived: count(1897), PacketsLost: count(103), RemotePacketsLost: count(21), PacketsDiscarded: count(0), JitterTimestampUnits: ratio(94),
			DurationS: seconds(40), Encoder: "PCMU/8000", Decoder: "PCMU/8000"}},
	"CUBE": {"P-RTP-Stat", "PS=2156, OS=43120, PR=2162, OR=43240, PL=12, JI=4, LA=82, DU=43",
		&telemetry.RTPStat{Header: "p-rtp-stat", PacketsSent: count(2156), OctetsSent: count(43120), PacketsReceived: count(2162), OctetsReceived: count(43240), PacketsLost: count(12), JitterMs: ratio(4),
			RoundTripMs: ratio(82), DurationS: seconds(43)}},
	"CUBE without RTCP": {"P-RTP-Stat", "PS=21, PR=26, PL=0, JI=0, LA=-1, DU=4",
		&telemetry.RTPStat{Header: "p-rtp-stat", PacketsSent: count(21), PacketsReceived: count(26), PacketsLost: count(0), JitterMs: ratio(0), DurationS: seconds(4)}},
	"Cisco": {"RTP-RxStat", `Dur=13,Pkt=408,Oct=97680,LatePkt=8,LostPkt=2,AvgJit=5,VQMetrics="CCR=0.0125;ICR=0.0000;ICRmx=0.0077;CS=2;SCS=0;VoRxCodec=PCMU;CID=4;VoPktSizeMs=30;VoPktLost=0;VoPktDis=1;VoOneWayDelayMs=281;maxJitter=12;MOScq=4.21;MOSlq=3.52;network=ethernet;hwType=CP-8865"`,
		&telemetry.RTPStat{Header: "rtp-rxstat", PacketsReceived: count(408), OctetsReceived: count(97680), PacketsLost: count(2), PacketsDiscarded: count(8), JitterMs: ratio(5), JitterMaxMs: ratio(12),
			LatencyMs: ratio(281), MosLq: ratio(3.52), MosCq: ratio(4.21), ConcealmentPercent: ratio(1.25), DurationS: seconds(13), Decoder: "PCMU"}},
	"Cisco with K-factors": {"RTP-RxStat", `Dur=1,Pkt=90,Oct=15480,LatePkt=0,LostPkt=0,AvgJit=0,VQMetrics="MLQK=0.0;MLQKav=4.1`,
		&telemetry.RTPStat{Header: "rtp-rxstat", PacketsReceived: count(90), OctetsReceived: count(15480), PacketsLost: count(0), PacketsDiscarded: count(0), JitterMs: ratio(0), DurationS: seconds(1)}},
	"old Cisco": {"RxStat", "Dur=10,Pkt=500,Oct=80000,LatePkt=0,LostPkt=5,AvgJit=240",
		&telemetry.RTPStat{Header: "rxstat", PacketsReceived: count(500), OctetsReceived: count(80000), PacketsLost: count(5), PacketsDiscarded: count(0), JitterTimestampUnits: ratio(240), DurationS: seconds(10)}},
	"Cisco, sent": {"RTP-TxStat", `Dur=13,Pkt=417,Oct=99960,VQMetrics="VoTxCodec=PCMU;rtpBitrate=61511"`,
		&telemetry.RTPStat{Header: "rtp-txstat", PacketsSent: count(417), OctetsSent: count(99960), DurationS: seconds(13), Encoder: "PCMU"}},
	"snom": {"RTP-RxStat", "Total_Rx_Pkts=1057,Rx_Pkts=1054,Rx_Pkts_Lost=3,Remote_Rx_Pkts_Lost=1",
		&telemetry.RTPStat{Header: "rtp-rxstat", PacketsReceived: count(1054), PacketsLost: count(3), RemotePacketsLost: count(1)}},
	"snom, sent": {"RTP-TxStat", "Total_Tx_Pkts=1060,Tx_Pkts=1058,Remote_Tx_Pkts=0", &telemetry.RTPStat{Header: "rtp-txstat", PacketsSent: count(1058)}},
	"Unify": {"X-Siemens-RTP-stats-list", "MT=0;PS=662;OS=105920;PR=661;OR=105760;PL=0;JI=0;LA=1;SS=0;EN=8;DE=8;IE=00;TCLW=52",
		&telemetry.RTPStat{Header: "x-siemens-rtp-stats-list", PacketsSent: count(662), OctetsSent: count(105920), PacketsReceived: count(661), OctetsReceived: count(105760), PacketsLost: count(0), JitterMs: ratio(0),
			LatencyMs: ratio(1), Encoder: "8", Decoder: "8"}},
	"mixed separators, any case, spaces": {"X-RTP-Stat", " pr = 10 ; pl=1, ji = 7 ;x=;=;;PS = 5,", &telemetry.RTPStat{Header: "x-rtp-stat", PacketsSent: count(5), PacketsReceived: count(10), PacketsLost: count(1), JitterMs: ratio(7)}},
	"jitter in another unit":             {"P-RTP-Stat", "PR=10, PL=1, JI=600", &telemetry.RTPStat{Header: "p-rtp-stat", PacketsReceived: count(10), PacketsLost: count(1)}},
	"numbers that are none":              {"X-RTP-Stat", "PR=10;PL=-1;JI=-;LA=x;PS=99999999999999999999;MOS=0;DU=-1", &telemetry.RTPStat{Header: "x-rtp-stat", PacketsReceived: count(10)}},
	"unknown keys only":                  {"X-RTP-Stat", "CS=0;SP=0/0;QS=-", nil},
	"empty":                              {"X-RTP-Stat", "", nil},
	"another header":                     {"X-RTP-State", "PR=10", nil},
	"what is not understood of AVM's":    {"X-RTP-Stat-Add", "DQ=31;DSS=0;DS=0;PLCS=288;JS=1", nil},
}

func TestParseRTPStat(t *testing.T) {
	for name, tt := range rtpStats {
		if got := ParseRTPStat(tt.name, tt.value); !proto.Equal(got, tt.want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, tt.want)
		}
	}
}

func TestParseWithRTPStat(t *testing.T) {
	for _, tt := range rtpStats {
		if tt.want == nil {
			continue
		}
		m, err := Parse(crlf("BYE sip:a SIP/2.0\ni: x\nCSeq: 2 BYE\n" + tt.name + ":\n " + tt.value + "\nX-RTP-Stat: \nRTP-TxStat: Pkt=7\n\n"))
		if err != nil || len(m.RtpStats) != 2 || !proto.Equal(m.RtpStats[0], tt.want) || m.RtpStats[1].GetPacketsSent() != 7 {
			t.Errorf("%v, %v", m, err)
		}
	}
	m, err := Parse(crlf("BYE sip:a SIP/2.0\ni: x\nCSeq: 2 BYE\n" + strings.Repeat("RTP-TxStat: Pkt=7\n", 2*maxStats) + "\n"))
	if err != nil || len(m.RtpStats) != maxStats {
		t.Errorf("%v, %v", m, err)
	}
}

func FuzzParseRTPStat(f *testing.F) {
	for _, s := range rtpStats {
		f.Add(s.name, s.value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		s := ParseRTPStat(name, value)
		for _, x := range []struct{ v, low, high float64 }{
			{s.GetJitterMs(), 0, maxStatJitterMs}, {s.GetJitterMaxMs(), 0, maxStatJitterMs}, {s.GetRoundTripMs(), 0, maxStatDelayMs},
			{s.GetMosLq(), 0, 5}, {s.GetMosCq(), 0, 5}, {s.GetConcealmentPercent(), 0, 100}, {float64(s.GetPacketsLost()), 0, maxStatCount},
		} {
			if !(x.v >= x.low && x.v <= x.high) {
				t.Fatalf("%v", s)
			}
		}
	})
}
