package rtcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"slices"
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
		"statistics summary": {
			compound(t, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{&pion.StatisticsSummaryReportBlock{
				LossReports: true, JitterReports: true, SSRC: 4, BeginSeq: 65000, EndSeq: 100,
				LostPackets: 5, MinJitter: 1, MaxJitter: 90, MeanJitter: 20, DevJitter: 7,
			}}}),
			&telemetry.RTCPPacket{SenderSsrc: 3, Statistics: []*telemetry.StatisticsSummary{{
				ReporterSsrc: 3, Ssrc: 4, BeginSeq: 65000, EndSeq: 100, HasLost: true, LostPackets: 5,
				HasJitter: true, MinJitter: 1, MaxJitter: 90, MeanJitter: 20, DeviationJitter: 7,
			}}},
		},
		"packets asked again": {
			compound(t, &pion.TransportLayerNack{SenderSSRC: 5, MediaSSRC: 6, Nacks: []pion.NackPair{{PacketID: 9, LostPackets: 0x8001}, {PacketID: 99}}}),
			&telemetry.RTCPPacket{SenderSsrc: 5, Nacks: 4},
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
				Dlrrs: []*telemetry.DLRR{{ReporterSsrc: 3, Ssrc: 4, LastRr: 5, Dlrr: 6}, {ReporterSsrc: 3, Ssrc: 7, LastRr: 8, Dlrr: 9}}, RunLengths: 1},
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
		got, err := new(Decoder).Decode(tt.in)
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
	if p, err := new(Decoder).Decode(b); err != nil || p.SenderSsrc != 9 || len(p.Reports) != 0 {
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
		"text after it":        {append(compound(t, senderReport, description), "HTTP/1.1 200 OK"...), ErrMalformed, true},
		"a few bytes after it": {append(compound(t, senderReport), "OK"...), ErrMalformed, true},
		// This may be ciphertext.
		"text after the first": {append(compound(t, senderReport), "HTTP/1.1 200 OK"...), ErrMalformed, false},
		"bad one in between": {append(append(compound(t, &pion.ReceiverReport{SSRC: 8}),
			0x82, 201, 0, 1, 0, 0, 0, 9), compound(t, senderReport)...), ErrMalformed, true},
	}
	for name, tt := range tests {
		p, err := new(Decoder).Decode(tt.in)
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
		"with a master key identifier":        "80c80006d5df4199" + "5bd1e995a3b1c7d2e4f50617283946ab5c6d7e8f" + "11223344" + "80000007" + "01" + "00112233445566778899",
		"ciphertext that looks like a header": "80c90001d5df4199" + "81cb7fff0101010101010101" + "80000003" + "00112233445566778899",
	} {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		if name == "AES-CM" { // as long as its first header says, and the trailer
			binary.BigEndian.PutUint16(b[2:], 6)
		}
		p, err := new(Decoder).Decode(b)
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

// TestReuse: what a decoder read before does not show in what it reads next, and
// reading again takes no memory.
func TestReuse(t *testing.T) {
	packets := [][]byte{
		compound(t, senderReport, description),
		compound(t, &pion.ReceiverReport{SSRC: 9}),
		metricsPacket(t, blocksOfAllKinds),
		compound(t, &pion.Goodbye{Sources: []uint32{7}}, &pion.TransportLayerNack{SenderSSRC: 5, MediaSSRC: 6, Nacks: []pion.NackPair{{PacketID: 9}}}),
		metricsPacket(t, "17c00003"+"00000004"+"00280064"+"00780005"),
		{0x81, 201, 0, 1, 0, 0, 0, 9},
	}
	var d Decoder
	for range 3 {
		for i, b := range packets {
			want, wantErr := new(Decoder).Decode(b)
			got, err := d.Decode(b)
			if !errors.Is(err, wantErr) || (got == nil) != (want == nil) || got != nil && !proto.Equal(got, want) {
				t.Errorf("packet %d: %v, %v; alone: %v, %v", i, got, err, want, wantErr)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range packets {
			_, _ = d.Decode(b)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode: no bytes make the decoder panic or read what is not there, and a
// decoder that has read others before reads the same.
func FuzzDecode(f *testing.F) {
	f.Add(compound(f, senderReport, description))
	f.Add(metricsPacket(f, blocksOfAllKinds))
	var used Decoder
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := used.Decode(b)
		want, wantErr := new(Decoder).Decode(b)
		if !errors.Is(err, wantErr) || (got == nil) != (want == nil) {
			t.Fatalf("%v, %v; alone: %v, %v", got, err, want, wantErr)
		}
		if got == nil {
			if err == nil {
				t.Fatal("nothing, and no error")
			}
			return
		}
		gotBytes, _ := got.MarshalVT()
		wantBytes, _ := want.MarshalVT()
		if !bytes.Equal(gotBytes, wantBytes) {
			t.Fatalf("%v, alone: %v", got, want)
		}
		for _, r := range got.Reports {
			if r.FractionLost > 255 || r.CumulativeLost >= 1<<23 || r.CumulativeLost < -1<<23 {
				t.Fatalf("%v", r)
			}
		}
		for _, m := range got.Metrics {
			for _, v := range []float64{m.PdvMeanMs, m.PdvPositiveMs, m.PdvNegativeMs, m.RttMeanMs, m.EndSystemDelayMs} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%v", m)
				}
			}
			if m.Mos != 0 && (m.Mos < 1 || m.Mos > 5) {
				t.Fatalf("MOS %v", m.Mos)
			}
		}
	})
}

// FuzzDecodeAgainstPion: whatever pion reads is read the same. pion differs in
// that it
//   - takes padding (RFC 3550 §6.4.1) for content, in reports and in blocks,
//   - takes any packet type, also those that RFC 5761 §4 leaves to RTP,
//   - reads an encrypted packet as if it were not,
//   - reads a block of an extended report beyond the length that it has, or that
//     its packet has,
//   - gives the cumulative loss and the levels of VoIP metrics, which are signed,
//     as unsigned numbers,
//   - refuses a whole compound for one packet: there is nothing to compare then.
func FuzzDecodeAgainstPion(f *testing.F) {
	f.Add(compound(f, senderReport, description))
	f.Add(compound(f, &pion.Goodbye{Sources: []uint32{7}}, &pion.ReceiverReport{SSRC: 7, Reports: senderReport.Reports}))
	f.Add(compound(f, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{
		&pion.VoIPMetricsReportBlock{SSRC: 4, MOSLQ: 44}, &pion.DLRRReportBlock{Reports: []pion.DLRRReport{{SSRC: 4}}},
	}}))
	f.Add(compound(f, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{
		&pion.StatisticsSummaryReportBlock{LossReports: true, SSRC: 4}, &pion.ReceiverReferenceTimeReportBlock{NTPTimestamp: 6},
	}}))
	f.Add(compound(f, &pion.TransportLayerNack{SenderSSRC: 5, MediaSSRC: 6, Nacks: []pion.NackPair{{PacketID: 9, LostPackets: 0x8001}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := pion.Unmarshal(b)
		if err != nil || len(b) < headerBytes+ssrcBytes || beyondPion(b) {
			return
		}
		got, err := new(Decoder).Decode(b)
		if errors.Is(err, ErrEncrypted) {
			return
		}
		if errors.Is(err, ErrMalformed) && hasExtended(packets) {
			return
		}
		if got == nil {
			t.Fatalf("%v, pion: %v", err, packets)
		}
		want := asPion(packets)
		got.SenderSsrc, got.Metrics = 0, nil // not pion's
		if !proto.Equal(got, want) {
			t.Fatalf("\n got %v (%v)\npion %v", got, err, want)
		}
	})
}

// beyondPion reports whether a packet of the compound is padded or no RTCP.
func beyondPion(b []byte) bool {
	for len(b) >= headerBytes {
		if b[0]&0x20 != 0 || !isHeader(b) {
			return true
		}
		b = b[min(packetBytes(b), len(b)):]
	}
	return false
}

func hasExtended(packets []pion.Packet) bool {
	return slices.ContainsFunc(packets, func(p pion.Packet) bool { _, is := p.(*pion.ExtendedReport); return is })
}

// asPion gives the reports that pion read.
func asPion(packets []pion.Packet) *telemetry.RTCPPacket {
	out := new(telemetry.RTCPPacket)
	reports := func(reporter uint32, blocks []pion.ReceptionReport) {
		for _, r := range blocks {
			out.Reports = append(out.Reports, &telemetry.ReceptionReport{
				ReporterSsrc: reporter, Ssrc: r.SSRC, FractionLost: uint32(r.FractionLost), CumulativeLost: signed24(r.TotalLost),
				HighestSeq: r.LastSequenceNumber, Jitter: r.Jitter, Lsr: r.LastSenderReport, Dlsr: r.Delay,
			})
		}
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *pion.SenderReport:
			out.SenderReports = append(out.SenderReports, &telemetry.SenderReport{
				Ssrc: p.SSRC, Ntp: p.NTPTime, RtpTimestamp: p.RTPTime, PacketCount: p.PacketCount, OctetCount: p.OctetCount,
			})
			reports(p.SSRC, p.Reports)
		case *pion.ReceiverReport:
			out.ReceiverReports++
			reports(p.SSRC, p.Reports)
		case *pion.Goodbye:
			out.ByeSsrcs = append(out.ByeSsrcs, p.Sources...)
		case *pion.TransportLayerNack:
			for _, n := range p.Nacks {
				out.Nacks += uint32(len(n.PacketList()))
			}
		case *pion.ExtendedReport:
			for _, b := range p.Reports {
				asPionBlock(out, p.SenderSSRC, b)
			}
		}
	}
	return out
}

func asPionBlock(out *telemetry.RTCPPacket, reporter uint32, b pion.ReportBlock) {
	switch b := b.(type) {
	case *pion.LossRLEReportBlock, *pion.DuplicateRLEReportBlock:
		out.RunLengths++
	case *pion.ReceiverReferenceTimeReportBlock:
		out.Rrtrs = append(out.Rrtrs, &telemetry.ReceiverReferenceTime{ReporterSsrc: reporter, Ntp: b.NTPTimestamp})
	case *pion.DLRRReportBlock:
		for _, r := range b.Reports {
			out.Dlrrs = append(out.Dlrrs, &telemetry.DLRR{ReporterSsrc: reporter, Ssrc: r.SSRC, LastRr: r.LastRR, Dlrr: r.DLRR})
		}
	case *pion.StatisticsSummaryReportBlock:
		out.Statistics = append(out.Statistics, &telemetry.StatisticsSummary{
			ReporterSsrc: reporter, Ssrc: b.SSRC, BeginSeq: uint32(b.BeginSeq), EndSeq: uint32(b.EndSeq),
			HasLost: b.LossReports, HasDuplicates: b.DuplicateReports, HasJitter: b.JitterReports,
			LostPackets: b.LostPackets, DuplicatePackets: b.DupPackets,
			MinJitter: b.MinJitter, MaxJitter: b.MaxJitter, MeanJitter: b.MeanJitter, DeviationJitter: b.DevJitter,
		})
	case *pion.VoIPMetricsReportBlock:
		out.VoipMetrics = append(out.VoipMetrics, &telemetry.VoIPMetrics{
			ReporterSsrc: reporter, Ssrc: b.SSRC, LossRate: uint32(b.LossRate), DiscardRate: uint32(b.DiscardRate),
			BurstDensity: uint32(b.BurstDensity), GapDensity: uint32(b.GapDensity),
			BurstDurationMs: uint32(b.BurstDuration), GapDurationMs: uint32(b.GapDuration),
			RoundTripDelayMs: uint32(b.RoundTripDelay), EndSystemDelayMs: uint32(b.EndSystemDelay),
			SignalLevelDbm0: int32(int8(b.SignalLevel)), NoiseLevelDbm0: int32(int8(b.NoiseLevel)),
			RerlDb: uint32(b.RERL), Gmin: uint32(b.Gmin), RFactor: uint32(b.RFactor), ExtRFactor: uint32(b.ExtRFactor),
			MosLqX10: uint32(b.MOSLQ), MosCqX10: uint32(b.MOSCQ), RxConfig: uint32(b.RXConfig),
			JbNominalMs: uint32(b.JBNominal), JbMaximumMs: uint32(b.JBMaximum), JbAbsMaxMs: uint32(b.JBAbsMax),
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, wire := range map[string][]byte{
		"sr+sdes": compound(b, senderReport, description),
		"rr":      compound(b, &pion.ReceiverReport{SSRC: 9, Reports: senderReport.Reports}, description),
		"voip":    compound(b, senderReport, description, &pion.ExtendedReport{SenderSSRC: 3, Reports: []pion.ReportBlock{&pion.VoIPMetricsReportBlock{SSRC: 4}}}),
		"metrics": metricsPacket(b, blocksOfAllKinds),
	} {
		b.Run(name, func(b *testing.B) {
			var d Decoder
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodePion is the same work done by the library.
func BenchmarkDecodePion(b *testing.B) {
	wire := compound(b, senderReport, description)
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pion.Unmarshal(wire); err != nil {
			b.Fatal(err)
		}
	}
}
