package rtcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	pion "github.com/pion/rtcp"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func compound(t testing.TB, packets ...pion.Packet) []byte {
	t.Helper()
	b, err := pion.Marshal(packets)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	senderReport = &pion.SenderReport{
		SSRC: 0xd5df4199, NTPTime: 0xeead_17a4_bef3_1234, RTPTime: 160000, PacketCount: 250, OctetCount: 40000,
		Reports: []pion.ReceptionReport{{
			SSRC: 0xc4fe99f5, FractionLost: 11, TotalLost: 11, LastSequenceNumber: 7463, Jitter: 75,
			LastSenderReport: 445955828, Delay: 65,
		}},
	}
	wantSender = &telemetry.SenderReport{Ssrc: 0xd5df4199, Ntp: 0xeead_17a4_bef3_1234, RtpTimestamp: 160000, PacketCount: 250, OctetCount: 40000}
	wantReport = &telemetry.ReceptionReport{
		ReporterSsrc: 0xd5df4199, Ssrc: 0xc4fe99f5, FractionLost: 11, CumulativeLost: 11, HighestSeq: 7463, Jitter: 75, Lsr: 445955828, Dlsr: 65,
	}
	description = &pion.SourceDescription{Chunks: []pion.SourceDescriptionChunk{{
		Source: 0xd5df4199, Items: []pion.SourceDescriptionItem{{Type: pion.SDESCNAME, Text: "a@example.org"}},
	}}}
)

func TestDecode(t *testing.T) {
	negative := *senderReport
	negative.Reports = []pion.ReceptionReport{{SSRC: 1, TotalLost: 0xfffffe, LastSequenceNumber: 0x1_0005}}
	wantNegative := &telemetry.ReceptionReport{ReporterSsrc: 0xd5df4199, Ssrc: 1, CumulativeLost: -2, HighestSeq: 0x1_0005}

	tests := map[string]struct {
		in   []byte
		want *telemetry.RTCPPacket
	}{
		"sender report and description": {
			compound(t, senderReport, description),
			&telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantReport}},
		},
		"description first": {
			compound(t, description, senderReport),
			&telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantReport}},
		},
		"goodbye first": {
			compound(t, &pion.Goodbye{Sources: []uint32{7, 8}, Reason: "over"}, &pion.ReceiverReport{SSRC: 7}),
			&telemetry.RTCPPacket{SenderSsrc: 7, ByeSsrcs: []uint32{7, 8}, ReceiverReports: 1},
		},
		"negative loss": {
			compound(t, &negative),
			&telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantNegative}},
		},
		"empty receiver report": {
			compound(t, &pion.ReceiverReport{SSRC: 9}),
			&telemetry.RTCPPacket{SenderSsrc: 9, ReceiverReports: 1},
		},
		"reports of two sources": {
			compound(t, &pion.ReceiverReport{SSRC: 9, Reports: []pion.ReceptionReport{{SSRC: 1, Jitter: 3}, {SSRC: 0}}}),
			&telemetry.RTCPPacket{SenderSsrc: 9, ReceiverReports: 1, Reports: []*telemetry.ReceptionReport{{ReporterSsrc: 9, Ssrc: 1, Jitter: 3}, {ReporterSsrc: 9}}},
		},
		"application-defined": {
			compound(t, &pion.ApplicationDefined{SSRC: 5, Name: "PING", Data: []byte{1, 2, 3, 4}}, senderReport),
			&telemetry.RTCPPacket{SenderSsrc: 5, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantReport}},
		},
		"reduced-size feedback": {
			compound(t, &pion.PictureLossIndication{SenderSSRC: 5, MediaSSRC: 6}),
			&telemetry.RTCPPacket{SenderSsrc: 5},
		},
		"datagram padded with zeros": {
			append(compound(t, senderReport), 0, 0),
			&telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantReport}},
		},
		"authenticated, not encrypted": {
			append(compound(t, senderReport), 0, 0, 0, 9, 'a', 'u', 't', 'h', 't', 'a', 'g', '1', '2', '3'),
			&telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, SenderReports: []*telemetry.SenderReport{wantSender}, Reports: []*telemetry.ReceptionReport{wantReport}},
		},
		"reference times and delays": {
			compound(t, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{
				&pion.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x1122334455667788},
				&pion.LossRLEReportBlock{T: 0, SSRC: 4, BeginSeq: 1, EndSeq: 3, Chunks: []pion.Chunk{0x8000, 0}},
				&pion.DLRRReportBlock{Reports: []pion.DLRRReport{{SSRC: 4, LastRR: 5, DLRR: 6}, {SSRC: 7, LastRR: 8, DLRR: 9}}},
			}}),
			&telemetry.RTCPPacket{SenderSsrc: 3,
				Rrtrs: []*telemetry.ReceiverReferenceTime{{ReporterSsrc: 3, Ntp: 0x1122334455667788}},
				Dlrrs: []*telemetry.DLRR{{ReporterSsrc: 3, Ssrc: 4, LastRr: 5, Dlrr: 6}, {ReporterSsrc: 3, Ssrc: 7, LastRr: 8, Dlrr: 9}}},
		},
		"VoIP metrics": {
			compound(t, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{&pion.VoIPMetricsReportBlock{
				SSRC: 4, LossRate: 13, DiscardRate: 2, BurstDensity: 50, GapDensity: 1, BurstDuration: 120, GapDuration: 4000,
				RoundTripDelay: 90, EndSystemDelay: 124, SignalLevel: 0xab, NoiseLevel: 0xb8, RERL: 75, Gmin: 16,
				RFactor: 96, ExtRFactor: 127, MOSLQ: 44, MOSCQ: 43, RXConfig: 48, JBNominal: 20, JBMaximum: 100, JBAbsMax: 300,
			}}}),
			&telemetry.RTCPPacket{SenderSsrc: 3, VoipMetrics: []*telemetry.VoIPMetrics{{
				ReporterSsrc: 3, Ssrc: 4, LossRate: 13, DiscardRate: 2, BurstDensity: 50, GapDensity: 1, BurstDurationMs: 120, GapDurationMs: 4000,
				RoundTripDelayMs: 90, EndSystemDelayMs: 124, SignalLevelDbm0: -85, NoiseLevelDbm0: -72, RerlDb: 75, Gmin: 16,
				RFactor: 96, ExtRFactor: 127, MosLqX10: 44, MosCqX10: 43, RxConfig: 48, JbNominalMs: 20, JbMaximumMs: 100, JbAbsMaxMs: 300,
			}}},
		},
	}
	for name, tt := range tests {
		got, err := Decode(tt.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !proto.Equal(got, tt.want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, tt.want)
		}
	}
}

func TestDecodePaddedReport(t *testing.T) {
	b := compound(t, &pion.ReceiverReport{SSRC: 9})
	b = append(b, 0, 0, 0, 4)
	b[0] |= 0x20
	binary.BigEndian.PutUint16(b[2:], 2)
	if p, err := Decode(b); err != nil || p.SenderSsrc != 9 || len(p.Reports) != 0 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	whole := compound(t, senderReport, description)
	counted := bytes.Clone(compound(t, senderReport))
	counted[0] |= 3
	xr := compound(t, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{&pion.ReceiverReferenceTimeReportBlock{}}})
	xr[11] = 200 // the block's length
	tests := map[string]struct {
		in   []byte
		want error
		kept bool // what was before the fault
	}{
		"empty":                {nil, ErrNotRTCP, false},
		"RTP":                  {[]byte{0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, ErrNotRTCP, false},
		"SIP":                  {[]byte("OPTIONS sip:b@example.org SIP/2.0"), ErrNotRTCP, false},
		"cut in the first":     {whole[:30], ErrTruncated, false},
		"cut in the second":    {whole[:len(whole)-4], ErrTruncated, true},
		"more blocks than fit": {counted, ErrMalformed, false},
		"block beyond packet":  {xr, ErrMalformed, false},
		"text after it":        {append(compound(t, senderReport), "HTTP/1.1 200 OK"...), ErrMalformed, true},
	}
	for name, tt := range tests {
		p, err := Decode(tt.in)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if tt.kept != (p != nil && len(p.SenderReports) == 1) {
			t.Errorf("%s: kept %v", name, p)
		}
	}
}

// The first 8 bytes of SRTCP are in the clear, the rest is not (RFC 3711 §3.4).
func TestDecodeEncrypted(t *testing.T) {
	for name, h := range map[string]string{
		"AES-CM": "81c8000cd5df4199" + "5bd1e995a3b1c7d2e4f50617283946ab5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9010b2c3d4e5f60718" +
			"8000002a" + "00112233445566778899",
		"AES-GCM":                             "80c90001d5df4199" + "00112233445566778899aabbccddeeff" + "80000001",
		"empty receiver report, AES-CM":       "80c90001d5df4199" + "80000003" + "00112233445566778899",
		"ciphertext that looks like a header": "80c90001d5df4199" + "81cb7fff0101010101010101" + "80000003" + "00112233445566778899",
	} {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		if name == "AES-CM" { // as long as its first header says, and the trailer
			binary.BigEndian.PutUint16(b[2:], 6)
		}
		p, err := Decode(b)
		if !errors.Is(err, ErrEncrypted) {
			t.Errorf("%s: %v, %v", name, p, err)
		} else if !proto.Equal(p, &telemetry.RTCPPacket{SenderSsrc: 0xd5df4199, Encrypted: true}) {
			t.Errorf("%s: read %v", name, p)
		}
	}
}

func TestIsRTCP(t *testing.T) {
	for pt := range 256 {
		b := []byte{0x80, byte(pt), 0, 1, 0, 0, 0, 9}
		if got, want := IsRTCP(b), pt >= 192 && pt <= 223; got != want {
			t.Errorf("packet type %d: %v", pt, got)
		}
		b[0] = 0x40
		if IsRTCP(b) {
			t.Errorf("version 1, packet type %d taken for RTCP", pt)
		}
	}
}

// FuzzDecode holds what both can read against pion's reading.
func FuzzDecode(f *testing.F) {
	f.Add(compound(f, senderReport, description))
	f.Add(compound(f, &pion.Goodbye{Sources: []uint32{7}}, &pion.ReceiverReport{SSRC: 7, Reports: senderReport.Reports}))
	f.Add(compound(f, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{
		&pion.VoIPMetricsReportBlock{SSRC: 4, MOSLQ: 44}, &pion.DLRRReportBlock{Reports: []pion.DLRRReport{{SSRC: 4}}},
	}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			return
		}
		packets, err := pion.Unmarshal(b)
		if err != nil {
			return
		}
		var srs, rrs int
		for _, p := range packets {
			var blocks []pion.ReceptionReport
			switch p := p.(type) {
			case *pion.SenderReport:
				sr := got.SenderReports[srs]
				if sr.Ssrc != p.SSRC || sr.Ntp != p.NTPTime || sr.PacketCount != p.PacketCount || sr.OctetCount != p.OctetCount {
					t.Fatalf("%v, pion: %v", sr, p)
				}
				srs++
				blocks = p.Reports
			case *pion.ReceiverReport:
				blocks = p.Reports
			}
			for _, want := range blocks {
				r := got.Reports[rrs]
				rrs++
				// pion gives the signed 24-bit number unsigned
				if r.Ssrc != want.SSRC || r.FractionLost != uint32(want.FractionLost) || uint32(r.CumulativeLost)&0xffffff != want.TotalLost ||
					r.HighestSeq != want.LastSequenceNumber || r.Jitter != want.Jitter || r.Lsr != want.LastSenderReport || r.Dlsr != want.Delay {
					t.Fatalf("%v, pion: %v", r, want)
				}
			}
		}
		if srs != len(got.SenderReports) || rrs != len(got.Reports) {
			t.Fatalf("%d and %d reports, pion: %d and %d", len(got.SenderReports), len(got.Reports), srs, rrs)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	wire := compound(b, senderReport, description)
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}
