package calls

import (
	"math"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

const (
	// A leg measured longer ago than this is not added to the other one.
	legFreshUs = 30 * second
	// An interval with fewer packets says nothing about a burst.
	burstPackets = 20
	// Two copies of a report that holds no LSR are told apart by time.
	copyUs = second
	// The jitter buffer of a phone that does not report it, at least.
	assumedBufferMs = 20
	// A first report this long after the answer may cover more than the call's
	// beginning: what it has summed up is not known.
	firstReportUs = 30 * second
	// The time between two sender reports that tell the clock: a shorter one is
	// too coarse, in a longer one a 90 kHz timestamp may have gone round.
	minClockS, maxClockS = 2, 600
	// Packets per second that a first packet count may stand for.
	maxPacketRate = 200
)

// tapID names the place where a packet was seen: the capture agent and the two
// addresses between which it went. Only what one tap saw may be subtracted.
func tapID(agent, src, dst string) uint32 {
	if dst < src {
		src, dst = dst, src
	}
	h := hash64(agent, src, dst)
	return uint32(h>>32) ^ uint32(h)
}

// tapOfCopies stands for Earshot itself where both parties send it copies of
// their RTCP.
const tapOfCopies = 1

func (h *handler) tapOf(p *telemetry.RTCPPacket) uint32 {
	if h.rec.Source.GetKind() == telemetry.Source_KIND_RTCP {
		return tapOfCopies
	}
	return tapID(h.rec.Source.GetAgent(), p.Src, p.Dst)
}

// partyOf says which party sent a packet: by the media addresses of the SDP,
// then by the SSRC, then by the host alone. Where nothing tells, the sender is
// the party of whom no address is known yet, and the pair is remembered. dst is
// empty in a copy of RTCP that a phone sends to a monitor.
func (c *call) partyOf(src, dst string, ssrc uint32, rtcp bool) int {
	srcHost, srcPort, _ := splitAddr(src)
	dstHost, dstPort, _ := splitAddr(dst)
	match := func(host string, port uint16) int {
		for i := range c.addresses {
			a := &c.addresses[i]
			if a.host == host && (a.rtcp == port && rtcp || a.rtp == port) {
				return int(a.party)
			}
		}
		return -1
	}
	if p := match(srcHost, srcPort); p >= 0 {
		return p
	}
	if p := match(dstHost, dstPort); dst != "" && p >= 0 {
		return 1 - p
	}
	for d := range c.dir {
		for i := range c.dir[d].streams {
			if ssrc != 0 && c.dir[d].streams[i].ssrc == ssrc {
				return d
			}
		}
	}
	p := -1
	for i := range c.addresses {
		a := &c.addresses[i]
		if a.host == srcHost {
			p = int(a.party)
			break
		}
		if a.host == dstHost && dst != "" {
			p = 1 - int(a.party)
		}
	}
	if p < 0 {
		p = 0
		if len(c.addresses) > 0 && c.party[0].rtcpSeen+c.party[0].rtpSeen > 0 {
			p = 1
		}
	}
	c.learn(address{host: srcHost, rtp: srcPort, rtcp: srcPort, party: uint8(p)})
	if dst != "" {
		c.learn(address{host: dstHost, rtp: dstPort, rtcp: dstPort, party: uint8(1 - p)})
	}
	return p
}

// stream finds or makes the state of an SSRC; the stalest one makes room.
func (d *direction) stream(ssrc uint32, atUs int64) *stream {
	oldest := 0
	for i := range d.streams {
		if d.streams[i].ssrc == ssrc {
			d.streams[i].atUs = max(d.streams[i].atUs, atUs)
			return &d.streams[i]
		}
		if d.streams[i].atUs < d.streams[oldest].atUs {
			oldest = i
		}
	}
	if len(d.streams) < maxStreams {
		d.streams = append(d.streams, stream{ssrc: ssrc, atUs: atUs})
		return &d.streams[len(d.streams)-1]
	}
	// What the forgotten stream lost still counts.
	old := &d.streams[oldest]
	d.loss[lossRTCP].lost += old.lost
	d.loss[lossRTCP].received += old.expected - old.lost
	if old.burst > d.loss[lossRTCP].burst {
		d.loss[lossRTCP].burst, d.loss[lossRTCP].burstUs = old.burst, old.burstUs
	}
	*old = stream{ssrc: ssrc, atUs: atUs}
	return old
}

// media marks that media was seen of a call. Where nobody could tell of the
// answer, because no signalling or only its end was captured, this is it.
func (h *handler) media() {
	h.live()
	h.c.hasMedia, h.root.hasMedia = true, true
	if h.root.earlyUs == 0 && h.root.connectedUs == 0 {
		h.root.earlyUs = h.at()
	}
	if !h.c.hasEvents && !h.c.offered() {
		h.connect(h.at())
	}
}

// offered says whether the beginning of the dialog was seen.
func (c *call) offered() bool {
	for i := range c.invites {
		if c.invites[i].initial {
			return true
		}
	}
	return false
}

// settled says whether what is measured now counts for the bands.
func (h *handler) settled() bool {
	return h.c.connectedUs != 0 && h.at() >= h.c.connectedUs+h.rules.Settle.Microseconds()
}

// rtcp digests one compound packet (RFC 3550 §6). Its sender is s; its report
// blocks are about what s receives, its sender reports about what s sends.
func (h *handler) rtcp(p *telemetry.RTCPPacket) {
	if p == nil {
		return
	}
	c := h.c
	ssrc := p.SenderSsrc
	if ssrc == 0 && len(p.SenderReports) > 0 {
		ssrc = p.SenderReports[0].GetSsrc()
	}
	if ssrc == 0 && len(p.Reports) > 0 {
		ssrc = p.Reports[0].GetReporterSsrc()
	}
	s := c.partyOf(p.Src, p.Dst, ssrc, true)
	from := &c.party[s]
	if id := eventHash(h.rec.EventId); id != 0 && len(h.rec.EventId) > 0 {
		for _, known := range from.eventIDs {
			if known == id {
				return
			}
		}
		from.eventIDs[from.eventNext] = id
		from.eventNext = (from.eventNext + 1) % uint8(len(from.eventIDs))
	}
	h.media()
	from.lastSeenUs = max(from.lastSeenUs, h.at())
	from.rtcpSeen++
	if p.Encrypted {
		if len(from.reporters) == 0 { // else a relay encrypts what was read before it
			from.secure = true
		}
		return
	}
	before := c.dir[s].srSent
	tap := h.tapOf(p)
	for _, sr := range p.SenderReports {
		if sr != nil && sr.Ssrc != 0 {
			h.senderReport(s, sr, tap, p)
		}
	}
	for _, r := range p.Rrtrs { // RFC 3611 §4.4: the sender report of those who send nothing
		if r != nil && r.ReporterSsrc != 0 {
			c.dir[s].stream(r.ReporterSsrc, h.at()).keep(streamSR{quality.MiddleNTP(r.Ntp), tap, h.at(), r.Ntp})
		}
	}
	for _, r := range p.Dlrrs { // RFC 3611 §4.5: the answer to it
		if r != nil && r.Ssrc != 0 {
			if st := c.dir[1-s].find(r.Ssrc); st != nil {
				h.roundTrip(s, st, tap, p, r.LastRr, r.Dlrr)
			}
		}
	}
	var about, moved bool
	for _, b := range p.Reports {
		// Some phones send a block about SSRC 0 before they have received anything.
		if b == nil || b.Ssrc == 0 {
			continue
		}
		about = true
		if h.reportBlock(s, b, tap, p) {
			moved = true
		}
	}
	h.extended(s, p)
	if sent := c.dir[s].srSent; sent == before {
		c.dir[s].reportsOnly++
	} else {
		c.dir[s].reportsOnly, c.dir[s].sentUs = 0, h.at()
	}
	if len(p.SenderReports) > 0 || len(p.Reports) > 0 || p.ReceiverReports > 0 {
		h.judgeReport(s, ssrc, p, about, moved)
	}
}

func (d *direction) find(ssrc uint32) *stream {
	for i := range d.streams {
		if d.streams[i].ssrc == ssrc {
			return &d.streams[i]
		}
	}
	return nil
}

// oldSRUs is the age from which no more than fewSRs are kept.
const oldSRUs = 10 * second

// keep remembers when a sender report passed a tap.
func (st *stream) keep(sr streamSR) {
	n := 0
	for i := range st.srs {
		if st.srs[i].tap == sr.tap {
			if st.srs[i].middle == sr.middle {
				return // the same report again
			}
			n++
		}
	}
	most := maxSRs
	if len(st.srs) > 0 && sr.atUs-st.srs[0].atUs > oldSRUs {
		most = fewSRs
	}
	if n >= most || len(st.srs) >= 2*most {
		for i := range st.srs {
			if st.srs[i].tap == sr.tap || n < most {
				st.srs = append(st.srs[:i], st.srs[i+1:]...)
				break
			}
		}
	}
	st.srs = append(st.srs, sr)
}

func (h *handler) senderReport(s int, sr *telemetry.SenderReport, tap uint32, p *telemetry.RTCPPacket) {
	d := &h.c.dir[s]
	st := d.stream(sr.Ssrc, h.at())
	if st.hop == 0 {
		st.hop = tap
	}
	middle := quality.MiddleNTP(sr.Ntp)
	for i := range st.srs {
		if st.srs[i].ntp == sr.Ntp && st.srs[i].tap != tap {
			st.keep(streamSR{middle, tap, h.at(), sr.Ntp})
			return // another tap saw it first: its packets are counted
		}
		if st.srs[i].ntp == sr.Ntp && sr.Ntp != 0 {
			return
		}
	}
	if st.hasCount && sr.PacketCount > st.packetCount && h.at()-st.countUs >= second {
		st.rate = float64(sr.PacketCount-st.packetCount) * float64(second) / float64(h.at()-st.countUs)
	}
	st.keep(streamSR{middle, tap, h.at(), sr.Ntp})
	switch {
	case p.IntervalCounters:
		d.srSent += uint64(sr.PacketCount)
	case st.hasCount && sr.PacketCount >= st.packetCount:
		d.srSent += uint64(sr.PacketCount - st.packetCount)
	case st.hasCount:
		d.srSent += uint64(sr.PacketCount) // the source began anew
	case h.c.connectedUs != 0:
		// The first count is of the call if so much can have been sent in it.
		since := max(h.at()-h.c.connectedUs, 0)/second + 2
		if uint64(sr.PacketCount) <= uint64(since)*maxPacketRate {
			d.srSent += uint64(sr.PacketCount)
		}
	}
	if sr.PacketCount < st.packetCount || p.IntervalCounters {
		st.hasAhead, st.hasAheadRTP, st.hasBase = false, false, false
	}
	st.packetCount, st.hasCount, st.countUs = sr.PacketCount, !p.IntervalCounters, h.at()
	if st.hasCount && st.hasRTPBase && h.at()-st.rtpUs < 2*second {
		if ahead := int64(st.rtpHighest) - int64(sr.PacketCount); !st.hasAheadRTP || ahead < st.aheadRTP {
			st.aheadRTP, st.hasAheadRTP = ahead, true
		}
	}
	st.tellClock(sr)
}

// tellClock learns the RTP clock from two sender reports of a stream, whose codec
// nobody may have told: what the timestamp grew by in the time between them.
func (st *stream) tellClock(sr *telemetry.SenderReport) {
	if st.firstNTP == 0 || sr.Ntp <= st.firstNTP {
		st.firstNTP, st.firstRTP = sr.Ntp, sr.RtpTimestamp
		return
	}
	seconds := float64(sr.Ntp-st.firstNTP) / (1 << 32)
	if st.measuredClock != 0 || seconds < minClockS || seconds > maxClockS {
		return
	}
	rate := float64(sr.RtpTimestamp-st.firstRTP) / seconds
	for _, known := range []float64{8000, 16000, 44100, 48000, 90000} {
		if math.Abs(rate-known) <= 0.02*known {
			st.measuredClock = uint32(known)
		}
	}
}

// roundTrip measures the way to reporter s by its answer to the report lsr of
// the other party's stream st. The end-to-end round trip follows as soon as the
// way to the other party is known too. False where nothing follows.
func (h *handler) roundTrip(s int, st *stream, tap uint32, p *telemetry.RTCPPacket, lsr, dlsr uint32) (float64, bool) {
	if lsr == 0 {
		return 0, false
	}
	c := h.c
	var sr *streamSR
	for i := range st.srs {
		if st.srs[i].tap == tap && st.srs[i].middle == lsr {
			sr = &st.srs[i]
		}
	}
	if sr == nil {
		return 0, false
	}
	if p.EndpointReport {
		// An agent inside an end, whose capture times are no monitor's. Where it
		// sent the sender report itself, its clock is the report's and RFC 3550's
		// own formula holds.
		if off := sr.atUs - quality.MicrosOfNTP(sr.ntp); off < -2000 || off > 2000 {
			return 0, false
		}
		ms, ok := quality.RTTAtEnd(quality.MiddleNTP(quality.NTPOfMicros(h.at())), lsr, dlsr)
		if ok {
			h.addRTT(ms, 1-s)
		}
		return ms, ok
	}
	ms, ok := quality.LegRTT(sr.atUs, h.at(), dlsr)
	if tap == tapOfCopies {
		// Each copy took its own way here, which has nothing to do with that of the
		// call: in the sum of both legs they cancel, a single leg is no measure.
		ms = float64(h.at()-sr.atUs)/1000 - float64(dlsr)*1000/65536
		ok = math.Abs(ms) <= float64(quality.MaxRTT.Milliseconds())
	}
	if !ok {
		return 0, false
	}
	t := c.tap(tap)
	t.legMs[s], t.legUs[s] = ms, h.at()
	if h.settled() && tap != tapOfCopies {
		t.hist[s].Add(ms)
	}
	if t.legUs[1-s] == 0 || h.at()-t.legUs[1-s] > legFreshUs {
		return 0, false
	}
	total := t.legMs[0] + t.legMs[1]
	if total <= 0 || total > float64(quality.MaxRTT.Milliseconds()) {
		return 0, false
	}
	h.addRTT(total, -1)
	return total, true
}

func (c *call) tap(id uint32) *tap {
	oldest := 0
	for i := range c.taps {
		if c.taps[i].id == id {
			return &c.taps[i]
		}
		if max(c.taps[i].legUs[0], c.taps[i].legUs[1]) < max(c.taps[oldest].legUs[0], c.taps[oldest].legUs[1]) {
			oldest = i
		}
	}
	if len(c.taps) < maxTaps {
		c.taps = append(c.taps, tap{id: id})
		return &c.taps[len(c.taps)-1]
	}
	c.taps[oldest] = tap{id: id}
	return &c.taps[oldest]
}

// addRTT takes an end-to-end round trip. by is the party that measured it, -1
// for a monitor.
func (h *handler) addRTT(ms float64, by int) {
	c := h.c
	c.rttMs, c.rttUs = ms, h.at()
	if !h.settled() {
		return
	}
	if c.rtt.Count() == 0 || ms > c.rtt.Max() {
		c.rttMaxUs = h.at()
	}
	c.rtt.Add(ms)
	if by >= 0 {
		c.party[by].rtt.Add(ms)
	}
}

// reportBlock digests what s says of the stream it receives (RFC 3550 §6.4.1).
// True where the block shows that something arrived since the last one.
func (h *handler) reportBlock(s int, b *telemetry.ReceptionReport, tap uint32, p *telemetry.RTCPPacket) bool {
	c := h.c
	sender := 1 - s
	d := &c.dir[sender]
	st := d.stream(b.Ssrc, h.at())
	if st.hop == 0 {
		st.hop = tap
	}
	rtt, hasRTT := h.roundTrip(s, st, tap, p, b.Lsr, b.Dlsr)

	prev := st.block
	if st.hasBlock && prev.is(b, h.at()) { // nothing new
		return prev.highestMovedAtUs == prev.atUs || prev.highestMovedAtUs > prev.atUs-st.intervalUs
	}

	expected, lost, known, moved := h.interval(st, b, p)
	if st.hasBlock {
		st.intervalUs = h.at() - prev.atUs
	}
	movedAt := prev.highestMovedAtUs
	if moved || !st.hasBlock {
		movedAt = h.at()
		if st.hasBlock && known {
			movedAt = h.stoppedWithin(st, d, prev.atUs, float64(expected))
		}
	}
	if st.hasCount && moved {
		if ahead := int64(b.HighestSeq) - int64(st.packetCount); !st.hasAhead || ahead < st.ahead {
			st.ahead, st.hasAhead = ahead, true
		}
		if base := int64(b.HighestSeq) - int64(st.packetCount) - int64(st.rate*float64(h.at()-st.countUs)/float64(second)); st.rate > 0 && (!st.hasBase || base < st.base) {
			st.base, st.hasBase = base, true
		}
	}
	st.hasBlock = true
	st.block = blockMark{h.at(), b.HighestSeq, b.CumulativeLost, b.Jitter, b.Lsr, b.Dlsr, b.ReporterSsrc, movedAt}

	name, clock := c.codecOf(st.payloadType, st.hasPT)
	if st.clockRate != 0 {
		clock = st.clockRate
	}
	if clock == 0 {
		clock = st.measuredClock
	}
	jitter := nan
	if ms, ok := quality.JitterMs(b.Jitter, clock); ok {
		jitter = ms
	}
	lossPercent := nan
	st.missingUs = 0
	if known {
		lossPercent = st.account(int64(expected), lost, h.at())
	}
	if h.settled() && moved && !math.IsNaN(jitter) {
		d.jitter.Add(jitter)
		if !h.hears(s) {
			d.moment(h.rules.Choppy(jitter, nan, nan, nan), h.at())
		}
	}

	box := h.sample(fromRTCP, sender, h.witness(s), c.sipLeg(s))
	box.sample.Ssrc, box.sample.Codec, box.sample.ClockRate = b.Ssrc, name, clock
	if hasRTT {
		box.sample.RttMs = box.value(rtt)
	}
	box.sample.JitterMs = box.value(jitter)
	box.sample.LossPercent = box.value(lossPercent)
	if known {
		box.sample.Packets = box.count(0, max(float64(expected)-float64(lost), 0))
		box.sample.PacketsLost = box.lostCount(float64(lost))
	}
	if !h.hears(s) {
		box.sample.Mos = box.value(h.score(d, name, jitter, lossPercent, moved))
	}
	d.sourceSamples[fromRTCP]++
	h.emitSample(box)
	return moved
}

// is says whether b is the block of the very packet, seen at another place.
func (m *blockMark) is(b *telemetry.ReceptionReport, atUs int64) bool {
	return b.HighestSeq == m.highest && b.Lsr == m.lsr && b.Dlsr == m.dlsr &&
		b.CumulativeLost == m.cumulativeLost && b.Jitter == m.jitter && b.ReporterSsrc == m.reporter &&
		(b.Lsr != 0 && b.Dlsr != 0 || atUs-m.atUs < copyUs)
}

// account adds what a block says of an interval to the totals, and gives its loss in
// percent; NaN where no packet was expected.
func (st *stream) account(expected, lost, atUs int64) (percent float64) {
	if st.rate > 0 && lost > 0 && float64(lost) >= 0.8*float64(expected) {
		st.missingUs = int64(float64(lost) / st.rate * float64(second))
	}
	st.expected += expected
	st.lost += lost
	if expected <= 0 {
		return nan
	}
	percent = percentOf(lost, expected)
	if expected >= burstPackets && percent > st.burst {
		st.burst, st.burstUs = percent, atUs
	}
	return percent
}

// stoppedWithin is when the newest of the packets that a block accounts for came:
// at the rate of the stream, fewer of them than fill the time since prevUs came
// at its beginning.
func (h *handler) stoppedWithin(st *stream, d *direction, prevUs int64, packets float64) int64 {
	seconds := float64(h.at()-prevUs) / float64(second)
	rate := st.rate
	if ms := h.c.packetMs(d); rate == 0 && ms > 0 {
		rate = 1000 / ms
	}
	if !(seconds > 0) || !(rate > 0) || packets > 0.9*rate*seconds {
		return h.at()
	}
	return min(prevUs+int64(packets/rate*float64(second)), h.at())
}

// packetMs is what one packet of direction d holds: by the timestamps of its RTP,
// else what its receiver asked for; 0 where neither is known.
func (c *call) packetMs(d *direction) float64 {
	if d.packetMs > 0 {
		return d.packetMs
	}
	receiver := &c.party[1]
	if d == &c.dir[1] {
		receiver = &c.party[0]
	}
	return float64(receiver.ptimeMs)
}

// interval gives the packets that a block accounts for since the one before,
// whether that is known at all, and whether the sequence moved.
func (h *handler) interval(st *stream, b *telemetry.ReceptionReport, p *telemetry.RTCPPacket) (expected uint32, lost int64, known, moved bool) {
	if st.hasBlock {
		step, ok := quality.HighestSeqDelta(st.block.highest, b.HighestSeq)
		if !ok {
			// The source began its sequence anew: this block is a new baseline.
			st.hasAhead, st.hasBase = false, false
			return 0, 0, false, true
		}
		if p.IntervalCounters {
			lost = int64(b.CumulativeLost)
		} else {
			lost = int64(quality.CumulativeLostDelta(st.block.cumulativeLost, b.CumulativeLost))
		}
		if lost > int64(step) && !p.IntervalCounters {
			return 0, 0, false, step > 0 // counters of another session
		}
		return step, lost, true, step > 0
	}
	moved = b.HighestSeq != 0
	if h.c.connectedUs == 0 || h.at()-h.c.connectedUs > firstReportUs {
		return 0, 0, false, moved
	}
	lost = int64(b.CumulativeLost)
	if st.hasRTPBase {
		if n := b.HighestSeq - st.rtpBase + 1; n > 0 && n < 1<<16 {
			return n, lost, lost <= int64(n), moved
		}
	}
	if n, ok := quality.ExpectedOfFirst(b.CumulativeLost, b.FractionLost); ok {
		return n, lost, true, moved
	}
	if st.hasCount && b.CumulativeLost <= 0 && st.packetCount < 1<<16 {
		return st.packetCount, 0, true, moved
	}
	return 0, 0, false, moved
}

// moment counts one point in time for the jitter band.
func (d *direction) moment(choppy bool, atUs int64) {
	d.moments++
	if choppy {
		d.choppy++
		d.choppyLastUs = max(d.choppyLastUs, atUs)
		if d.choppyUs == 0 {
			d.choppyUs = atUs
		}
	}
}

// score gives the MOS of an interval that RTCP reported on. Where the phone does
// not say in extended reports how long its jitter buffer is, twice the jitter is
// taken, and said so.
func (h *handler) score(d *direction, codec string, jitterMs, lossPercent float64, moved bool) float64 {
	if !moved {
		return nan
	}
	buffer, reported := max(2*jitterMs, assumedBufferMs), d.xrBufferUs != 0 && h.at()-d.xrBufferUs <= legFreshUs
	if reported {
		buffer = d.xrBufferMs
	}
	mos := h.mos(d, quality.MOSInput{Codec: codec, RTTMs: h.wayRTT(), JitterBufferMs: buffer, LossPercent: lossPercent})
	if mos == mos && !reported {
		d.mosAssumed = true
	}
	return mos
}

// wayRTT is the newest round trip of the whole way, through a server the sum of
// its parts; NaN where a part was not measured of late.
func (h *handler) wayRTT() float64 {
	root := h.root
	sum := 0.0
	fresh := func(c *call) bool { return c.rttUs != 0 && h.at()-c.rttUs <= legFreshUs }
	for _, d := range root.segments() {
		switch {
		case root.sameStream(d) && fresh(d):
			return d.rttMs // the server passes RTCP on: each part measures the whole
		case root.sameStream(d), d.endedUs != 0:
		case !fresh(d):
			return nan
		default:
			sum += d.rttMs
		}
	}
	if !fresh(root) {
		return nan
	}
	return sum + root.rttMs
}

func (h *handler) mos(d *direction, in quality.MOSInput) float64 {
	in.BurstR, in.PacketisationMs = d.burstR, h.c.packetMs(d)
	score, ok := quality.MOS(in)
	if d.mosCodec == "" || ok {
		d.mosCodec = in.Codec
	}
	if !ok {
		return nan
	}
	if !h.settled() {
		return score.MOS
	}
	if d.mosReported {
		d.mosN, d.mosSum, d.mosReported = 0, 0, false
	}
	d.addMOS(score.MOS)
	d.mosBuffer += in.JitterBufferMs
	return score.MOS
}

func (d *direction) addMOS(score float64) {
	if d.mosN == 0 || score < d.mosMin {
		d.mosMin = score
	}
	d.mosSum += score
	d.mosN++
}

// reportedMOS takes a score that an endpoint computed itself; ours come first.
func (d *direction) reportedMOS(score float64) {
	if d.mosN > 0 && !d.mosReported {
		return
	}
	d.mosReported = true
	d.addMOS(score)
}

// packetHolds learns how much sound is in one packet, and whether the sender
// suppresses silence: then most of what comes in a second is comfort noise.
func (h *handler) packetHolds(d *direction, r *telemetry.RTPInterval) {
	if r.TimestampStep > 0 && r.ClockRate > 0 {
		if ms := float64(r.TimestampStep) * 1000 / float64(r.ClockRate); ms >= 2.5 && (d.packetMs == 0 || ms < d.packetMs) {
			d.packetMs = ms
		}
	}
	if span := r.LastUs - r.FirstUs; h.settled() && r.Packets > 1 && span > 0 {
		d.rate(float64(r.Expected-min(r.Expected, 1))*float64(second)/float64(span), h.rules)
	}
}

// rate counts an interval by how many packets a second the sender sent in it.
func (d *direction) rate(perSecond float64, rules *Rules) {
	d.rated++
	if perSecond < rules.DTXPacketsPerSecond {
		d.sparse++
	}
}

// rtp digests about a second of RTP headers on one stream, seen at a monitor:
// that s sent, and what happened up to here. What arrived at the other end it
// does not say.
func (h *handler) rtp(r *telemetry.RTPInterval) {
	if r == nil {
		return
	}
	c := h.c
	s := c.partyOf(r.Src, r.Dst, r.Ssrc, false)
	d := &c.dir[s]
	st := d.stream(r.Ssrc, h.at())
	if r.LastUs != 0 {
		if r.LastUs <= st.rtpUs {
			return // a resend
		}
		st.rtpUs = r.LastUs
	}
	h.media()
	from := &c.party[s]
	from.lastSeenUs = max(from.lastSeenUs, h.at(), min(r.LastUs, h.at()))
	from.rtpSeen++
	if r.ClockRate != 0 {
		st.clockRate = r.ClockRate
	}
	st.payloadType, st.hasPT = r.PayloadType, true
	if !st.hasRTPBase {
		st.rtpBase, st.hasRTPBase = r.HighestSeq-r.Expected+1, true
	}
	st.rtpHighest = r.HighestSeq
	d.rtpSent += uint64(r.Packets)
	if d.rtpFirst == 0 {
		d.rtpFirst = h.at()
		if r.FirstUs > 0 && r.FirstUs < h.at() {
			d.rtpFirst = r.FirstUs
		}
	}
	if first := max(r.FirstUs, 0); d.rtpLast != 0 && first-d.rtpLast > d.gapEndUs-d.gapUs {
		d.gapUs, d.gapEndUs = d.rtpLast, first
	}
	d.rtpLast = max(d.rtpLast, h.at())
	lost := int64(r.Expected) - int64(r.Packets)
	l := &d.loss[lossMonitor]
	l.reports++
	l.lost += lost
	l.received += int64(r.Packets)
	if lost > 0 {
		l.runs += int64(min(r.LossRuns, uint32(lost)))
	}
	d.srAtRTP = d.srSent
	h.packetHolds(d, r)
	h.unseen(s)

	name, clock := c.codecOf(r.PayloadType, true)
	if r.ClockRate != 0 {
		clock = r.ClockRate
	}
	percent := nan
	if r.Expected > 0 {
		percent = min(max(100*float64(lost)/float64(r.Expected), 0), 100)
		if r.Expected >= burstPackets && percent > l.burst {
			l.burst, l.burstUs = percent, h.at()
		}
	}
	jitter := nan
	if r.ClockRate != 0 && r.JitterMs >= 0 && r.JitterMs < quality.MaxJitterMs {
		jitter = r.JitterMs
		if h.settled() {
			d.jitterRTP.Add(jitter)
		}
	}
	box := h.sample(fromRTP, s, "server", "monitor")
	box.sample.Ssrc, box.sample.Codec, box.sample.ClockRate = r.Ssrc, name, clock
	box.sample.JitterMs = box.value(jitter)
	box.sample.LossPercent = box.value(percent)
	box.sample.Packets = box.count(0, float64(r.Packets))
	box.sample.PacketsLost = box.lostCount(float64(lost))
	d.sourceSamples[fromRTP]++
	h.emitSample(box)
}
