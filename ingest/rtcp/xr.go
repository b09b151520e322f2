package rtcp

import (
	"encoding/binary"

	"github.com/earshot/earshot/telemetry"
)

// XR block types: IANA's registry "RTCP XR Block Type", by the RFCs named. Others
// are left.
const (
	blockLossRLE         = 1  // RFC 3611 §4.1
	blockDuplicateRLE    = 2  // RFC 3611 §4.2
	blockRRTR            = 4  // RFC 3611 §4.4
	blockDLRR            = 5  // RFC 3611 §4.5
	blockStatistics      = 6  // RFC 3611 §4.6
	blockVoIPMetrics     = 7  // RFC 3611 §4.7
	blockMeasurement     = 14 // RFC 6776 §4.1
	blockDelayVariation  = 15 // RFC 6798 §3.1
	blockDelay           = 16 // RFC 6843 §3.1
	blockBurstGapLoss    = 20 // RFC 6958 §3.1
	blockBurstGapDiscard = 21 // RFC 7003 §3.1, erratum 3735
	blockDeJitterBuffer  = 23 // RFC 7005 §4.1
	blockDiscardCount    = 24 // RFC 7002 §3.1
	blockMOS             = 29 // RFC 7266 §3.1
)

// blockBytes is the least that a block holds after its header, by block type.
var blockBytes = [...]uint8{
	blockRRTR:            8,
	blockStatistics:      36,
	blockVoIPMetrics:     32,
	blockMeasurement:     28,
	blockDelayVariation:  16,
	blockDelay:           24,
	blockBurstGapLoss:    20,
	blockBurstGapDiscard: 12,
	blockDeJitterBuffer:  12,
	blockDiscardCount:    8,
	blockMOS:             8,
}

const dlrrBytes = 12

// extended reads the blocks of an extended report (RFC 3611 §3).
func (d *Decoder) extended(reporter uint32, b []byte) (read bool, err error) {
	read = len(b) == 0
	for len(b) > 0 {
		if len(b) < headerBytes {
			return read, ErrMalformed
		}
		n := packetBytes(b)
		if n > len(b) {
			return read, ErrMalformed
		}
		if d.block(reporter, b[0], b[1], b[headerBytes:n]) {
			read = true
		} else {
			err = ErrMalformed
		}
		b = b[n:]
	}
	return read, err
}

// block reads one report block; flags is the type-specific byte of its header.
func (d *Decoder) block(reporter uint32, typ, flags byte, v []byte) bool {
	if int(typ) < len(blockBytes) && len(v) < int(blockBytes[typ]) {
		return false
	}
	switch typ {
	case blockLossRLE, blockDuplicateRLE:
		d.packet.RunLengths++
	case blockRRTR:
		r := d.rrtrs.next()
		r.ReporterSsrc = reporter
		r.Ntp = binary.BigEndian.Uint64(v)
	case blockDLRR:
		for ; len(v) >= dlrrBytes; v = v[dlrrBytes:] {
			r := d.dlrrs.next()
			r.ReporterSsrc = reporter
			r.Ssrc = binary.BigEndian.Uint32(v)
			r.LastRr = binary.BigEndian.Uint32(v[4:])
			r.Dlrr = binary.BigEndian.Uint32(v[8:])
		}
		return len(v) == 0
	case blockStatistics:
		d.statistics(reporter, flags, v)
	case blockVoIPMetrics:
		d.voipMetrics(reporter, v)
	case blockMeasurement, blockDelayVariation, blockDelay, blockBurstGapLoss, blockBurstGapDiscard,
		blockDeJitterBuffer, blockDiscardCount, blockMOS:
		d.metricsBlock(reporter, typ, flags, v)
	}
	return true
}

func (d *Decoder) voipMetrics(reporter uint32, v []byte) {
	m := d.voip.next()
	m.ReporterSsrc = reporter
	m.Ssrc = binary.BigEndian.Uint32(v)
	m.LossRate = uint32(v[4])
	m.DiscardRate = uint32(v[5])
	m.BurstDensity = uint32(v[6])
	m.GapDensity = uint32(v[7])
	m.BurstDurationMs = u16(v, 8)
	m.GapDurationMs = u16(v, 10)
	m.RoundTripDelayMs = u16(v, 12)
	m.EndSystemDelayMs = u16(v, 14)
	m.SignalLevelDbm0 = int32(int8(v[16]))
	m.NoiseLevelDbm0 = int32(int8(v[17]))
	m.RerlDb = uint32(v[18])
	m.Gmin = uint32(v[19])
	m.RFactor = uint32(v[20])
	m.ExtRFactor = uint32(v[21])
	m.MosLqX10 = uint32(v[22])
	m.MosCqX10 = uint32(v[23])
	m.RxConfig = uint32(v[24])
	m.JbNominalMs = u16(v, 26)
	m.JbMaximumMs = u16(v, 28)
	m.JbAbsMaxMs = u16(v, 30)
}

// Flags of the statistics summary: which members are reported.
const (
	statisticsLost       = 0x80
	statisticsDuplicates = 0x40
	statisticsJitter     = 0x20
)

func (d *Decoder) statistics(reporter uint32, flags byte, v []byte) {
	s := d.stats.next()
	s.ReporterSsrc = reporter
	s.Ssrc = u32(v, 0)
	s.BeginSeq = u16(v, 4)
	s.EndSeq = u16(v, 6)
	s.HasLost = flags&statisticsLost != 0
	s.HasDuplicates = flags&statisticsDuplicates != 0
	s.HasJitter = flags&statisticsJitter != 0
	s.LostPackets = u32(v, 8)
	s.DuplicatePackets = u32(v, 12)
	s.MinJitter = u32(v, 16)
	s.MaxJitter = u32(v, 20)
	s.MeanJitter = u32(v, 24)
	s.DeviationJitter = u32(v, 28)
}

// intervalCumulative is the interval metric flag, in the two highest bits of the
// type-specific byte, of what is measured over the whole reception (RFC 6792 §5.2).
const intervalCumulative = 3

// metricsBlock adds a metrics block to what the packet says of its stream.
func (d *Decoder) metricsBlock(reporter uint32, typ, flags byte, v []byte) {
	m := d.metricsOf(reporter, u32(v, 0))
	if m == nil {
		return
	}
	v = v[ssrcBytes:]
	var ok bool
	switch typ {
	case blockMeasurement:
		measurement(m, v)
		ok = true
	case blockDelayVariation:
		ok = delayVariation(m, flags, v)
	case blockDelay:
		ok = delay(m, v)
	case blockBurstGapLoss:
		ok = burstGapLoss(m, flags, v)
	case blockBurstGapDiscard:
		ok = burstGapDiscard(m, v)
	case blockDeJitterBuffer:
		ok = deJitterBuffer(m, flags, v)
	case blockDiscardCount:
		ok = discardCount(m, flags, v)
	case blockMOS:
		ok = opinionScore(m, v)
	}
	if !ok {
		return
	}
	bit := uint32(1) << (typ - blockMeasurement)
	m.Blocks |= bit
	if flags>>6 == intervalCumulative && typ != blockMeasurement {
		m.Cumulative |= bit
	}
}

// maxMetrics bounds the streams of which one packet can have metrics; a device
// that reports on more is none, and each costs a search.
const maxMetrics = 64

func (d *Decoder) metricsOf(reporter, ssrc uint32) *telemetry.XRMetrics {
	for _, m := range d.metrics.used() {
		if m.Ssrc == ssrc && m.ReporterSsrc == reporter {
			return m
		}
	}
	if d.metrics.n == maxMetrics {
		return nil
	}
	m := d.metrics.next()
	m.Reset()
	m.ReporterSsrc, m.Ssrc = reporter, ssrc
	return m
}

// Values that stand for "beyond what can be written" and "cannot be measured".
const (
	overRange16, unavailable16 = 0xfffe, 0xffff
	overRange24, unavailable24 = 0xfffffe, 0xffffff
	overRange32, unavailable32 = 0xfffffffe, 0xffffffff
)

func measurement(m *telemetry.XRMetrics, v []byte) {
	m.FirstSeq = u32(v, 4)
	m.LastSeq = u32(v, 8)
	m.IntervalMs = uint32(uint64(u32(v, 12)) * 1000 >> 16)
	m.CumulativeMs = uint64(u32(v, 16))*1000 + uint64(u32(v, 20))*1000>>32
}

func delayVariation(m *telemetry.XRMetrics, flags byte, v []byte) bool {
	const unavailable = 0x7fff
	ms := func(at int) float64 { // signed, 1/16 ms
		if w := u16(v, at); w != unavailable {
			return float64(int16(w)) / 16
		}
		return 0
	}
	percent := func(at int) float64 {
		if w := u16(v, at); w != unavailable16 {
			return float64(w) / 256
		}
		return 0
	}
	m.PdvType = uint32(flags>>2) & 0xf
	m.PdvPositiveMs, m.PdvPositivePercentile = ms(0), percent(2)
	m.PdvNegativeMs, m.PdvNegativePercentile = ms(4), percent(6)
	m.PdvMeanMs = ms(8)
	return u16(v, 8) != unavailable
}

func delay(m *telemetry.XRMetrics, v []byte) bool {
	ms := func(at int) float64 { // 1/65536 s
		if w := u32(v, at); w < overRange32 {
			return float64(w) * 1000 / 65536
		}
		return 0
	}
	m.RttMeanMs, m.RttMinMs, m.RttMaxMs = ms(0), ms(4), ms(8)
	m.EndSystemDelayMs = 0
	if s, f := u32(v, 12), u32(v, 16); s != unavailable32 || f < overRange32 { // NTP format
		m.EndSystemDelayMs = float64(s)*1000 + float64(f)*1000/(1<<32)
	}
	return u32(v, 0) < overRange32
}

func burstGapLoss(m *telemetry.XRMetrics, flags byte, v []byte) bool {
	m.BurstCombined = flags&0x20 != 0
	m.BurstThreshold = uint32(v[0])
	m.BurstDurationMs = count24(v, 1)
	m.BurstLost = count24(v, 4)
	m.BurstExpected = count24(v, 7)
	m.Bursts = u16(v, 10) >> 4 // 12 bits; the sum of squares follows
	if m.Bursts >= 0xffe {
		m.Bursts = 0
	}
	return u24(v, 4) < overRange24 && u24(v, 7) < overRange24
}

func burstGapDiscard(m *telemetry.XRMetrics, v []byte) bool {
	m.BurstDiscardThreshold = uint32(v[0])
	m.BurstDiscarded = count24(v, 1)
	m.BurstDiscardExpected = count24(v, 4)
	return u24(v, 1) < overRange24 && u24(v, 4) < overRange24
}

func deJitterBuffer(m *telemetry.XRMetrics, flags byte, v []byte) bool {
	ms := func(at int) uint32 {
		if w := u16(v, at); w < overRange16 {
			return w
		}
		return 0
	}
	m.JbAdaptive = flags&0x20 != 0
	m.JbNominalMs, m.JbMaximumMs = ms(0), ms(2)
	m.JbHighWaterMs, m.JbLowWaterMs = ms(4), ms(6)
	return u16(v, 0) < overRange16
}

// Discard types (RFC 7002 §3.2).
const (
	discardDuplicate = 0
	discardEarly     = 1
	discardLate      = 2
	discardBoth      = 3 // early and late together
)

// discardCount adds up: early and late may come in a block each.
func discardCount(m *telemetry.XRMetrics, flags byte, v []byte) bool {
	n := u32(v, 0)
	if n >= overRange32 {
		return false
	}
	switch flags >> 4 & 3 {
	case discardDuplicate:
		m.Duplicates = n
	case discardEarly, discardLate:
		m.Discarded += n
	case discardBoth:
		m.Discarded = n
	}
	return true
}

// opinionScore reads the first segment: 1 bit for several channels, 8 bits
// algorithm, 7 bits payload type, then the score as 8:8 fixed point, or 3 bits
// channel and 6:7. RFC 7266 has MOS × 10 there; a sender that writes the MOS
// itself is known by its value, for no MOS is below 1.
func opinionScore(m *telemetry.XRMetrics, v []byte) bool {
	w := u32(v, 0)
	m.MosAlgorithm = w >> 23 & 0xff
	m.MosPayloadType = w >> 16 & 0x7f
	value := float64(w&0xffff) / 256
	if w>>31 == 1 {
		value = float64(w&0x1fff) / 128
	}
	m.Mos = 0
	switch {
	case value >= 10 && value <= 50:
		m.Mos = value / 10
	case value >= 1 && value <= 5:
		m.Mos = value
	}
	return m.Mos != 0
}

func u16(v []byte, at int) uint32 { return uint32(binary.BigEndian.Uint16(v[at:])) }
func u32(v []byte, at int) uint32 { return binary.BigEndian.Uint32(v[at:]) }
func u24(v []byte, at int) uint32 { return u32(v, at-1) & 0xffffff }

// count24 reads a count, 0 where there is none.
func count24(v []byte, at int) uint32 {
	if n := u24(v, at); n < overRange24 {
		return n
	}
	return 0
}
