package rtcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	pion "github.com/pion/rtcp"
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
		&telemetry.RTCPPacket{SenderSsrc: 9, ReceiverReports: 1},
	},
	"heplify 2, VoIP metrics twice, its two scores exchanged": {
		`{"sender_information":{"ntp_timestamp_sec":0,"ntp_timestamp_usec":0,"rtp_timestamp":0,"packets":0,"octets":0},"ssrc":9,"type":207,"report_count":0,"report_blocks":null,"report_blocks_xr":{"type":7,"id":5,"fraction_lost":1,"fraction_discard":2,"burst_density":3,"gap_density":4,"burst_duration":5,"gap_duration":6,"round_trip_delay":7,"end_system_delay":8},"voip_metrics":{"ssrc":5,"loss_rate":1,"discard_rate":2,"burst_density":3,"gap_density":4,"burst_duration":5,"gap_duration":6,"round_trip_delay":7,"end_system_delay":8,"signal_level":-20,"noise_level":-60,"rerl":55,"gmin":16,"r_factor":90,"ext_r_factor":127,"mos_cq":4.2,"mos_lq":4,"rx_config":48,"jb_nominal":20,"jb_maximum":100,"jb_abs_max":300},"sdes_ssrc":0}`,
		ProfileHeplify,
		&telemetry.RTCPPacket{SenderSsrc: 9, VoipMetrics: []*telemetry.VoIPMetrics{{ReporterSsrc: 9, Ssrc: 5, LossRate: 1, DiscardRate: 2, BurstDensity: 3, GapDensity: 4,
			BurstDurationMs: 5, GapDurationMs: 6, RoundTripDelayMs: 7, EndSystemDelayMs: 8, SignalLevelDbm0: -20, NoiseLevelDbm0: -60, RerlDb: 55, Gmin: 16,
			RFactor: 90, ExtRFactor: 127, MosLqX10: 42, MosCqX10: 40, RxConfig: 48, JbNominalMs: 20, JbMaximumMs: 100, JbAbsMaxMs: 300}}},
	},
	"heplify 2, a compound that begins with a description": {
		`{"sender_information":{"ntp_timestamp_sec":0,"ntp_timestamp_usec":0,"rtp_timestamp":0,"packets":0,"octets":0},"ssrc":0,"type":202,"report_count":1,"report_blocks":null,"report_blocks_xr":{"type":0,"id":0},"sdes_ssrc":77}`,
		ProfileHeplify,
		&telemetry.RTCPPacket{SenderSsrc: 77},
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
		&telemetry.RTCPPacket{SenderSsrc: 1, EndpointReport: true, ReceiverReports: 1,
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
	"pion, as agents name its members": {
		`[{"SenderSSRC":3124621683,"NTPTime":16777216000000000001,"RTPTime":1931711169,"PacketCount":988,"OctetCount":158080,"SenderReports":[{"SSRC":2884455299,"FractionLost":1,"TotalLost":16777215,"LastSequenceNumber":26434,"Jitter":2,"LastSenderReport":3,"Delay":4}],"ProfileExtensions":null},{"SourceDescriptions":[{"Source":3124621683,"Items":[{"Type":1,"Text":"sip:7@example.org"}]}]},{"ExtendedSSRC":3124621683,"ExtendedReports":{"BlockType":7,"BlockLength":8,"SSRC":2884455299,"LossRate":5,"MOSLQ":43,"MOSCQ":42}}]`,
		ProfilePion,
		&telemetry.RTCPPacket{
			SenderSsrc:    3124621683,
			SenderReports: []*telemetry.SenderReport{{Ssrc: 3124621683, Ntp: 16777216000000000001, RtpTimestamp: 1931711169, PacketCount: 988, OctetCount: 158080}},
			Reports:       []*telemetry.ReceptionReport{{ReporterSsrc: 3124621683, Ssrc: 2884455299, FractionLost: 1, CumulativeLost: -1, HighestSeq: 26434, Jitter: 2, Lsr: 3, Dlsr: 4}},
			VoipMetrics:   []*telemetry.VoIPMetrics{{ReporterSsrc: 3124621683, Ssrc: 2884455299, LossRate: 5, MosLqX10: 43, MosCqX10: 42}},
		},
	},
	"a member that makes no sense": {
		`{"ssrc":1,"report_count":1,"report_blocks":[{"source_ssrc":2,"highest_seq_no":3,"ia_jitter":[],"packets_lost":"n/a","fraction_lost":1e3}]}`,
		ProfileUnknown,
		&telemetry.RTCPPacket{SenderSsrc: 1, ReceiverReports: 1, Reports: []*telemetry.ReceptionReport{{ReporterSsrc: 1, Ssrc: 2, HighestSeq: 3, FractionLost: 255}}},
	},
}

func TestDecodeJSON(t *testing.T) {
	for name, tt := range documents {
		got, profile, err := new(Decoder).DecodeJSON([]byte(tt.in))
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
	deep := `{"ssrc":1,"x":` + strings.Repeat("[", 2*maxDepth) + strings.Repeat("]", 2*maxDepth) + "}"
	for _, in := range []string{"", "x", "[]", "{", `{"ssrc":1`, `{}`, `{"report_blocks":7}`, `{"event":"call"}`, deep,
		`{"ssrc":1}x`, `{"ssrc":01}`, `{"ssrc":1,}`, `{"ssrc":1 "type":2}`, `{"ssrc":1.}`, `{"ssrc":1e}`, `{"ssrc":-}`, `{"ssrc":"a` + "\n" + `"}`,
		`{"ssrc":"\x"}`, `{"ssrc":tru}`, `{,"ssrc":1}`, `{"ssrc":1,"report_blocks":[{}`, `{"ssrc":1,"report_blocks":[{},]}`, `[{"Chunks":[]}]`, `[{"SSRC":"x"}]`} {
		if p, _, err := new(Decoder).DecodeJSON([]byte(in)); !errors.Is(err, ErrJSON) {
			t.Errorf("%q: %v, %v", in, p, err)
		}
	}
}

// TestDecodeJSONReuse: what was read before does not show, and no memory is taken.
func TestDecodeJSONReuse(t *testing.T) {
	var d Decoder
	var hot [][]byte
	for range 3 {
		for name, doc := range documents {
			got, profile, err := d.DecodeJSON([]byte(doc.in))
			if err != nil || profile != doc.profile || !proto.Equal(got, doc.want) {
				t.Errorf("%s: %v, %v, %v", name, got, profile, err)
			}
		}
	}
	for _, doc := range documents {
		if doc.profile != ProfilePion && !strings.Contains(doc.in, "n/a") {
			hot = append(hot, []byte(doc.in))
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range hot {
			_, _, _ = d.DecodeJSON(b)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestDecodePion takes what encoding/json makes of the library's own types.
func TestDecodePion(t *testing.T) {
	packets := []pion.Packet{
		senderReport, description,
		&pion.ReceiverReport{SSRC: 9, Reports: []pion.ReceptionReport{{SSRC: 4, TotalLost: 0xffffff}}},
		&pion.ReceiverReport{SSRC: 9},
		&pion.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 4},
		&pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{
			&pion.VoIPMetricsReportBlock{SSRC: 4, LossRate: 13, SignalLevel: 0xab, NoiseLevel: 0xb8, MOSLQ: 44, JBNominal: 20},
			&pion.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x1122334455667788},
			&pion.DLRRReportBlock{Reports: []pion.DLRRReport{{SSRC: 4, LastRR: 5, DLRR: 6}}},
		}},
		&pion.Goodbye{Sources: []uint32{7, 8}},
	}
	wire := compound(t, packets...)
	read, err := pion.Unmarshal(wire) // gives the blocks their types
	if err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	got, profile, err := new(Decoder).DecodeJSON(in)
	want, wantErr := new(Decoder).Decode(wire)
	if err != nil || wantErr != nil || profile != ProfilePion || !proto.Equal(got, want) {
		t.Errorf("%v, %v, %v\nfrom the wire: %v, %v", got, profile, err, want, wantErr)
	}
}

// FuzzDecodeJSON holds the scanner against encoding/json: both refuse the same
// documents, but for those nested too deep, and read the same out of the others.
func FuzzDecodeJSON(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d.in))
	}
	for _, in := range []string{`{"SSRC":"0x1F","ssrc":" 12 ","x":[[{"a":"\u00e9\n"}],true,null,-0.5e+3]}`, `{"ssrc":12345678901234567890,"report_blocks":[1,null,{"LSR":1e999}]}`} {
		f.Add([]byte(in))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := d.DecodeJSON(b)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p != nil {
			for _, r := range p.Reports {
				if r.FractionLost > 255 {
					t.Fatalf("fraction lost %d of 256", r.FractionLost)
				}
			}
		}
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
			return // encoding/json reads these
		}
		b = bytes.TrimRight(bytes.TrimSpace(b), "\x00")
		valid := json.Valid(b) && b[0] == '{'
		if ok := d.scan(b); ok != valid {
			if valid && depthOf(b) > maxDepth {
				return
			}
			t.Fatalf("%v, encoding/json: %v", ok, valid)
		}
		if !valid || bytes.ContainsRune(b, '\\') { // names with escapes are not looked up
			return
		}
		want := reference(t, b)
		got := d.doc
		if len(got.blocks) == 0 && len(want.blocks) == 0 {
			got.blocks, want.blocks = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("\n got %+v\nwant %+v", got, want)
		}
	})
}

func depthOf(b []byte) (deepest int) {
	depth := 0
	for _, c := range b {
		switch c {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// reference reads a document with encoding/json and strconv.
func reference(t *testing.T, b []byte) document {
	var doc document
	object := func(raw json.RawMessage, m members, has *bool) {
		if raw[0] != '{' {
			*has = *has && raw[0] != 'n'
			return
		}
		*has = true
		for _, x := range membersOf(t, raw) {
			if slot := m.slot(x.name); slot != nil {
				*slot = referenceValue(x.value)
			}
		}
	}
	for i, x := range membersOf(t, b) {
		doc.members++
		switch x.name {
		case "ssrc":
			doc.ssrc = referenceValue(x.value)
		case "type":
			doc.typ = referenceValue(x.value)
		case "sdes_ssrc":
			doc.sdesSSRC = referenceValue(x.value)
		case "report_count":
			if doc.countAt == 0 {
				doc.countAt = i + 1
			}
		case "report_blocks":
			if doc.blocksAt == 0 {
				doc.blocksAt = i + 1
			}
			if x.value[0] != 'n' && x.value[0] != '[' {
				continue
			}
			var elements []json.RawMessage
			if err := json.Unmarshal(x.value, &elements); err != nil {
				t.Fatal(err)
			}
			doc.blocks = make([]block, len(elements))
			for i, e := range elements {
				var has bool
				object(e, &doc.blocks[i], &has)
			}
		case "sender_information":
			object(x.value, &doc.sender, &doc.hasSender)
		case "report_blocks_xr":
			object(x.value, &doc.xr, &doc.hasXR)
		case "voip_metrics":
			object(x.value, &doc.voip, &doc.hasVoIP)
		case "extended_report_information":
			object(x.value, &doc.extended, &doc.hasExtended)
		}
	}
	return doc
}

type namedValue struct {
	name  string // ASCII in lower case
	value json.RawMessage
}

func membersOf(t *testing.T, object []byte) (out []namedValue) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		lower := []byte(name.(string))
		for i, c := range lower {
			if c >= 'A' && c <= 'Z' {
				lower[i] = c + 'a' - 'A'
			}
		}
		out = append(out, namedValue{string(lower), v})
	}
	return out
}

func referenceValue(raw json.RawMessage) value {
	v := value{}
	if raw[0] == '{' || raw[0] == '[' {
		return v
	}
	s := string(raw)
	if raw[0] == '"' {
		v.quoted = true
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		v.n, v.isSet = n, true
		return v
	}
	if v.quoted {
		digits := s
		if len(s) > 2 && (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")) {
			digits = s[2:]
		}
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil {
			v.n, v.isSet, v.hex = int64(n), true, true
			return v
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<53 {
		v.n, v.f, v.isSet = int64(f), f, true
	}
	return v
}

func BenchmarkDecodeJSON(b *testing.B) {
	for name, doc := range map[string]string{
		"heplify":   "heplify 2, sender report",
		"rtpengine": "rtpengine",
		"asterisk":  "Asterisk, sender report",
		"hepipe":    "hepipe",
	} {
		b.Run(name, func(b *testing.B) {
			in := []byte(documents[doc].in)
			var d Decoder
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := d.DecodeJSON(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
