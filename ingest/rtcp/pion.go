package rtcp

import (
	"encoding/json"
	"fmt"

	"github.com/earshot/earshot/telemetry"
)

// pionPacket is a packet as encoding/json writes the types of github.com/pion/rtcp,
// the payload of HEP type 58. The packets have no type of their own in it: their
// members tell. Some agents gave the SSRC and the reports the packet's name.
type pionPacket struct {
	SSRC, SenderSSRC, ReceiverSSRC, ExtendedSSRC *uint32

	NTPTime                          uint64
	RTPTime, PacketCount, OctetCount *uint32

	Reports, SenderReports, ReceiverReports, ExtendedReports pionReports

	Sources []uint32
}

// pionReport is a reception report or a block of an extended report.
type pionReport struct {
	SSRC uint32

	FractionLost                                               uint8
	TotalLost                                                  uint32 // pion has the signed 24 bits unsigned
	LastSequenceNumber, Jitter, LastSenderReport, Delay        uint32
	BlockType                                                  uint8
	LossRate, DiscardRate, BurstDensity, GapDensity            uint8
	BurstDuration, GapDuration, RoundTripDelay, EndSystemDelay uint16
	SignalLevel, NoiseLevel, RERL, Gmin, RFactor, ExtRFactor   uint8
	MOSLQ, MOSCQ, RXConfig                                     uint8
	JBNominal, JBMaximum, JBAbsMax                             uint16
	NTPTimestamp                                               uint64
	Reports                                                    []pionDLRR
}

type pionDLRR struct{ SSRC, LastRR, DLRR uint32 }

// pionReports is a list, or one report where there was but one.
type pionReports []pionReport

func (r *pionReports) UnmarshalJSON(b []byte) error {
	*r = pionReports{} // null is an empty list: the member was there
	if len(b) > 0 && b[0] == '{' {
		*r = make(pionReports, 1)
		return json.Unmarshal(b, &(*r)[0])
	}
	var list []pionReport
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*r = append(*r, list...)
	return nil
}

// decodePion reads a list of packets. It is rare, and not made to be fast.
func (d *Decoder) decodePion(b []byte) (*telemetry.RTCPPacket, Profile, error) {
	var packets []pionPacket
	if err := json.Unmarshal(b, &packets); err != nil {
		return nil, ProfileUnknown, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	p := d.reset()
	read, known := false, false
	for i := range packets {
		in := &packets[i]
		ssrc, has := in.ssrc()
		if has && !known {
			p.SenderSsrc, known = ssrc, true
		}
		reports := in.reports()
		switch {
		case in.PacketCount != nil:
			s := d.senders.next()
			s.Ssrc, s.Ntp, s.RtpTimestamp, s.PacketCount, s.OctetCount = ssrc, in.NTPTime, valueOf(in.RTPTime), *in.PacketCount, valueOf(in.OctetCount)
		case len(in.Sources) > 0:
			d.byes = append(d.byes, in.Sources...)
		case reports != nil && !reports.extended():
			p.ReceiverReports++
		case !has:
			continue // a description
		}
		read = true
		for j := range reports {
			d.pionReport(ssrc, &reports[j])
		}
	}
	if !read {
		return nil, ProfileUnknown, ErrJSON
	}
	return d.finish(), ProfilePion, nil
}

func valueOf(v *uint32) uint32 {
	if v == nil {
		return 0
	}
	return *v
}

func (p *pionPacket) ssrc() (uint32, bool) {
	for _, v := range []*uint32{p.SSRC, p.SenderSSRC, p.ReceiverSSRC, p.ExtendedSSRC} {
		if v != nil {
			return *v, true
		}
	}
	return 0, false
}

// reports gives the packet's list, nil if it is of a kind that has none.
func (p *pionPacket) reports() pionReports {
	for _, r := range []pionReports{p.Reports, p.SenderReports, p.ReceiverReports, p.ExtendedReports} {
		if r != nil {
			return r
		}
	}
	return nil
}

func (r pionReports) extended() bool { return len(r) > 0 && r[0].BlockType != 0 }

func (d *Decoder) pionReport(reporter uint32, in *pionReport) {
	switch in.BlockType {
	case 0:
		r := d.reports.next()
		r.ReporterSsrc, r.Ssrc = reporter, in.SSRC
		r.FractionLost, r.CumulativeLost = uint32(in.FractionLost), signed24(in.TotalLost)
		r.HighestSeq, r.Jitter, r.Lsr, r.Dlsr = in.LastSequenceNumber, in.Jitter, in.LastSenderReport, in.Delay
	case blockLossRLE, blockDuplicateRLE:
		d.packet.RunLengths++
	case blockRRTR:
		r := d.rrtrs.next()
		r.ReporterSsrc, r.Ntp = reporter, in.NTPTimestamp
	case blockDLRR:
		for _, x := range in.Reports {
			r := d.dlrrs.next()
			r.ReporterSsrc, r.Ssrc, r.LastRr, r.Dlrr = reporter, x.SSRC, x.LastRR, x.DLRR
		}
	case blockVoIPMetrics:
		m := d.voip.next()
		m.ReporterSsrc, m.Ssrc = reporter, in.SSRC
		m.LossRate, m.DiscardRate = uint32(in.LossRate), uint32(in.DiscardRate)
		m.BurstDensity, m.GapDensity = uint32(in.BurstDensity), uint32(in.GapDensity)
		m.BurstDurationMs, m.GapDurationMs = uint32(in.BurstDuration), uint32(in.GapDuration)
		m.RoundTripDelayMs, m.EndSystemDelayMs = uint32(in.RoundTripDelay), uint32(in.EndSystemDelay)
		m.SignalLevelDbm0, m.NoiseLevelDbm0 = int32(int8(in.SignalLevel)), int32(int8(in.NoiseLevel))
		m.RerlDb, m.Gmin = uint32(in.RERL), uint32(in.Gmin)
		m.RFactor, m.ExtRFactor = uint32(in.RFactor), uint32(in.ExtRFactor)
		m.MosLqX10, m.MosCqX10 = uint32(in.MOSLQ), uint32(in.MOSCQ)
		m.RxConfig = uint32(in.RXConfig)
		m.JbNominalMs, m.JbMaximumMs, m.JbAbsMaxMs = uint32(in.JBNominal), uint32(in.JBMaximum), uint32(in.JBAbsMax)
	}
}
