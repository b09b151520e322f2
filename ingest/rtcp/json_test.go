package rtcp

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// The documents are written after the senders' sources: member names, order and types are theirs.
var documents = map[string]struct {
	in      string
	profile Profile
	want    *telemetry.RTCPPacket
}{
	"heplify 2, sender report": {
		`{"sender_information":{"ntp_timestamp_sec":3953771345,"ntp_timestamp_usec":2147483648,"rtp_timestamp":2944344000,"packets":18,"octets":2880},"ssrc":3571175962,"type":200,"report_count":1,"report_blocks":[{"source_ssrc":1089493108,"fraction_lost":3,"packets_lost":16777215,"highest_seq_no":67000,"ia_jitter":42,"lsr":457573597,"dlsr":128451}],"report_blocks_xr":{"type":0,"id":0,"fraction_lost":0,"fraction_discard":0,"burst_density":0,"gap_density":0,"burst_duration":0,"gap_duration":0,"round_trip_delay":0,"end_system_delay":0},"sdes_ssrc":3571175962}`,
		ProfileHeplify,
		&telemetry.RTCPPacket{
			SenderSsrc:    3571175962,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 3571175962, Ntp: 3953771345<<32 | 2147483648, RtpTimestamp: 2944344000, PacketCount: 18, OctetCount: 2880}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 3571175962, Ssrc: 1089493108, FractionLost: 3, CumulativeLost: -1, HighestSeq: 67000, Jitter: 42, Lsr: 457573597, Dlsr: 128451}},
		},
	},
	"heplify 1, type 202 with a sender report in it": {
		`{"sender_information":{"ntp_timestamp_sec":3811646280,"ntp_timestamp_usec":210071145,"rtp_timestamp":1610824168,"packets":595,"octets":95200},"ssrc":2141660700,"type":202,"report_count":0,"report_blocks":null,"report_blocks_xr":{"type":7,"id":299816601,"fraction_lost":5,"fraction_discard":1,"burst_density":2,"gap_density":3,"burst_duration":4,"gap_duration":5,"round_trip_delay":60,"end_system_delay":70},"sdes_ssrc":2141660700}`,
		ProfileHeplify,
		&telemetry.RTCPPacket{
			SenderSsrc:    2141660700,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 2141660700, Ntp: 3811646280<<32 | 210071145, RtpTimestamp: 1610824168, PacketCount: 595, OctetCount: 95200}},
			VoipMetrics: []*telemetry.VoIPMetrics{{ReporterSsrc: 2141660700, Ssrc: 299816601, LossRate: 5, DiscardRate: 1, BurstDensity: 2, GapDensity: 3, BurstDurationMs: 4, GapDurationMs: 5,
				RoundTripDelayMs: 60, EndSystemDelayMs: 70, SignalLevelDbm0: 127, NoiseLevelDbm0: 127, RerlDb: 127, RFactor: 127, ExtRFactor: 127, MosLqX10: 127, MosCqX10: 127}},
		},
	},
	"heplify 2, receiver report with its blanks": {
		`{"sender_information":{"ntp_timestamp_sec":0,"ntp_timestamp_usec":0,"rtp_timestamp":0,"packets":0,"octets":0},"ssrc":9,"type":201,"report_count":1,"report_blocks":[{"source_ssrc":0,"fraction_lost":0,"packets_lost":0,"highest_seq_no":0,"ia_jitter":0,"lsr":0,"dlsr":0}],"report_blocks_xr":{"type":0,"id":0,"fraction_lost":0},"sdes_ssrc":0}`,
		ProfileHeplify,
		&telemetry.RTCPPacket{SenderSsrc: 9},
	},
	"rtpengine": {
		`{ "sender_information":{"ntp_timestamp_sec":4004321940,"ntp_timestamp_usec":3203663350,"octets":40000,"rtp_timestamp":160000, "packets":250},"ssrc":3588178329,"type":200,"report_count":2,"report_blocks":[{"source_ssrc":3305019893,"highest_seq_no":7463,"fraction_lost":11,"ia_jitter":75,"packets_lost":11,"lsr":1,"dlsr":2},{"source_ssrc":5,"highest_seq_no":6,"fraction_lost":0,"ia_jitter":0,"packets_lost":4294967295,"lsr":0,"dlsr":0}],"sdes_report_count":1,"sdes_information": [ {"sdes_chunk_ssrc":3588178329,"type":1,"text":"a@b"}] }`,
		ProfileRTPEngine,
		&telemetry.RTCPPacket{
			SenderSsrc:    3588178329,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 3588178329, Ntp: 4004321940<<32 | 3203663350, RtpTimestamp: 160000, PacketCount: 250, OctetCount: 40000}},
			Reports: []*telemetry.ReceptionReport{
				{ReporterSsrc: 3588178329, Ssrc: 3305019893, FractionLost: 11, CumulativeLost: 11, HighestSeq: 7463, Jitter: 75, Lsr: 1, Dlsr: 2},
				{ReporterSsrc: 3588178329, Ssrc: 5, CumulativeLost: -1, HighestSeq: 6},
			},
		},
	},
	"Asterisk, sender report": {
		`{"type":200,"ssrc":2057347264,"report_count":1,"report_blocks":[{"source_ssrc":305419896,"fraction_lost":2,"packets_lost":7,"highest_seq_no":1000,"lsr":"457573597","ia_jitter":44,"dlsr":0}],"sender_information":{"ntp_timestamp_sec":"1795333140","ntp_timestamp_usec":"500000","rtp_timestamp":160000,"packets":250,"octets":40000}}`,
		ProfileAsterisk,
		&telemetry.RTCPPacket{
			SenderSsrc: 2057347264, EndpointReport: true,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 2057347264, Ntp: (1795333140+2208988800)<<32 | 1<<31, RtpTimestamp: 160000, PacketCount: 250, OctetCount: 40000}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 2057347264, Ssrc: 305419896, FractionLost: 2, CumulativeLost: 7, HighestSeq: 1000, Jitter: 44, Lsr: 457573597}},
		},
	},
	"Asterisk, receiver report": {
		`{"type":201,"ssrc":1,"report_count":1,"report_blocks":[{"source_ssrc":2,"fraction_lost":0,"packets_lost":-3,"highest_seq_no":1000,"lsr":"9","ia_jitter":44,"dlsr":8}]}`,
		ProfileAsterisk,
		&telemetry.RTCPPacket{SenderSsrc: 1, EndpointReport: true,
			Reports: []*telemetry.ReceptionReport{{ReporterSsrc: 1, Ssrc: 2, CumulativeLost: -3, HighestSeq: 1000, Jitter: 44, Lsr: 9, Dlsr: 8}}},
	},
	"hepipe": {
		`{"type":200,"ssrc":"6d8f3a12","report_count":1,"report_blocks":[{"source_ssrc":"12345678","fraction_lost":0,"packets_lost":2,"highest_seq_no":"1000","ia_jitter":"33","lsr":"11","dlsr":"12"}],"sender_information":{"packets":250,"ntp_timestamp_sec":"4004321940","ntp_timestamp_usec":"3203663350","rtp_timestamp":"160000","octets":40000}}`,
		ProfileHepipe,
		&telemetry.RTCPPacket{
			SenderSsrc: 0x6d8f3a12, EndpointReport: true, IntervalCounters: true,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 0x6d8f3a12, Ntp: 4004321940<<32 | 3203663350, RtpTimestamp: 160000, PacketCount: 250, OctetCount: 40000}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 0x6d8f3a12, Ssrc: 0x12345678, CumulativeLost: 2, HighestSeq: 1000, Jitter: 33, Lsr: 11, Dlsr: 12}},
		},
	},
	"captagent": {
		`{"sender_information":{"ntp_timestamp_sec":4004321940,"ntp_timestamp_usec":5,"octets":6,"rtp_timestamp":7, "packets":8},"ssrc":1,"type":200, "report_blocks":[{"source_ssrc":2,"highest_seq_no":3,"fraction_lost":4,"ia_jitter":5,"packets_lost":-6,"lsr":7,"dlsr":8}],"report_count":1,"sdes_ssrc":1,"sdes_chunk_ssrc":1,"sdes_information": [ {"type":1,"text":"x"}],"sdes_report_count":1}`,
		ProfileCaptagent,
		&telemetry.RTCPPacket{
			SenderSsrc:    1,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 1, Ntp: 4004321940<<32 | 5, RtpTimestamp: 7, PacketCount: 8, OctetCount: 6}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 1, Ssrc: 2, FractionLost: 4, CumulativeLost: -6, HighestSeq: 3, Jitter: 5, Lsr: 7, Dlsr: 8}},
		},
	},
	"captagent, extended report": {
		`{"ssrc":1,"extended_report_information":{"type":7, "identifier":2, "loss_rate":3, "discard_rate":4, "burst_rate":5, "gap_rate":6, "burst_duration":7, "gap_duration":8, "round_trip_delay":9, "end_sys_delay":10, "signal_lev":236, "noise_lev":-60, "RERL":55, "Gmin":16, "R_fact":90, "ext_R_fact":127, "MOS_LQ":42, "MOS_CQ":41}}`,
		ProfileCaptagent,
		&telemetry.RTCPPacket{SenderSsrc: 1, VoipMetrics: []*telemetry.VoIPMetrics{{ReporterSsrc: 1, Ssrc: 2, LossRate: 3, DiscardRate: 4, BurstDensity: 5, GapDensity: 6,
			BurstDurationMs: 7, GapDurationMs: 8, RoundTripDelayMs: 9, EndSystemDelayMs: 10, SignalLevelDbm0: -20, NoiseLevelDbm0: -60, RerlDb: 55, Gmin: 16,
			RFactor: 90, ExtRFactor: 127, MosLqX10: 42, MosCqX10: 41}}},
	},
	"signed SSRCs, NTP words as strings": {
		`{"type":200,"ssrc":-1640316609,"report_count":1,"report_blocks":[{"source_ssrc":-2,"fraction_lost":0,"packets_lost":0,"highest_seq_no":992,"lsr":"0","ia_jitter":44,"dlsr":0}],"sender_information":{"packets":588,"ntp_timestamp_sec":"3373905471","ntp_timestamp_usec":"4285752605","rtp_timestamp":-210739271,"octets":11760}} `,
		ProfileUnknown,
		&telemetry.RTCPPacket{
			SenderSsrc:    2654650687,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 2654650687, Ntp: 3373905471<<32 | 4285752605, RtpTimestamp: 4084228025, PacketCount: 588, OctetCount: 11760}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 2654650687, Ssrc: 4294967294, HighestSeq: 992, Jitter: 44}},
		},
	},
	"a member that makes no sense": {
		`{"ssrc":1,"report_count":1,"report_blocks":[{"source_ssrc":2,"highest_seq_no":3,"ia_jitter":[],"packets_lost":"n/a","fraction_lost":1e3}]}`,
		ProfileUnknown,
		&telemetry.RTCPPacket{SenderSsrc: 1, Reports: []*telemetry.ReceptionReport{{ReporterSsrc: 1, Ssrc: 2, HighestSeq: 3, FractionLost: 255}}},
	},
}

func TestDecodeJSON(t *testing.T) {
	for name, tt := range documents {
		got, profile, err := DecodeJSON([]byte(tt.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if profile != tt.profile {
			t.Errorf("%s: taken for %v", name, profile)
		}
		if !proto.Equal(got, tt.want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, tt.want)
		}
	}
}

func TestDecodeJSONErrors(t *testing.T) {
	for _, in := range []string{"", "x", "[]", "{", `{"ssrc":1`, `{}`, `{"report_blocks":7}`, `{"event":"call"}`} {
		if p, _, err := DecodeJSON([]byte(in)); !errors.Is(err, ErrJSON) {
			t.Errorf("%q: %v, %v", in, p, err)
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := DecodeJSON(b)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p == nil {
			return
		}
		for _, r := range p.Reports {
			if r.FractionLost > 255 {
				t.Fatalf("fraction lost %d of 256", r.FractionLost)
			}
		}
	})
}

func BenchmarkDecodeJSON(b *testing.B) {
	in := []byte(documents["heplify 2, sender report"].in)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeJSON(in); err != nil {
			b.Fatal(err)
		}
	}
}
