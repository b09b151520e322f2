package calls

import (
	"slices"

	"github.com/earshot/earshot/telemetry"
)

// silentReportsUs: a sender of whom nothing was seen for this long, three
// report intervals of RFC 3550's least.
const silentReportsUs = 15 * second

// blocksMissingUs is how long after a report block reports without one say
// nothing: longer than any interval between two blocks of 5 s, which RFC 3550
// §6.3.1 spreads over half to one and a half.
const blocksMissingUs = 8 * second

// silentMediaUs is the same where RTP is captured, which comes all the time;
// silentLeftUs where the call was left without an end, at the silence of both.
const (
	silentMediaUs = 10 * second
	silentLeftUs  = 6 * second
)

// ranDryUs is how long audio must have been missing when a report came that still
// shows some: less is jitter and the rhythm of sending.
const ranDryUs = 2 * second

// steadyShare is how much of a time in which nothing arrived is known to be filled by
// packets that were sent: reports of the two parties do not come at the same time.
const steadyShare = 0.4

// maxAliveStepUs bounds what one observation adds to the time alive.
const maxAliveStepUs = 10 * second

// gateUs is when conclusions about a direction begin.
func (h *handler) gateUs(d int) int64 {
	return h.c.dir[d].clearUs + h.rules.OneWay.Grace.Microseconds()
}

// open says whether anything may be concluded about a direction that was
// observed since fromUs.
func (h *handler) open(d int, fromUs int64) bool {
	x := &h.c.dir[d]
	return h.c.connectedUs != 0 && !x.blocked && x.clearUs != 0 && fromUs >= x.clearUs && h.at() >= h.gateUs(d)
}

// alive takes down that audio of direction d arrived in the time since fromUs.
func (h *handler) alive(d int, w witness, fromUs int64) {
	if !h.open(d, max(fromUs, h.c.dir[d].clearUs)) {
		return
	}
	l := &h.c.dir[d].life[w]
	l.count++
	if h.at() >= l.lastUs {
		l.lastUs, l.lastFromUs = h.at(), fromUs
	}
	l.aliveUs += min(max(h.at()-max(fromUs, h.c.dir[d].clearUs), 0), maxAliveStepUs)
	x := &h.c.dir[d]
	for i := range x.deaths {
		x.deaths[i].against(w, fromUs, h.at())
	}
}

// against notes that another witness saw packets arrive from fromUs to untilUs,
// where all of that lies within the very time. What was seen in part before it or
// after it says nothing. Nor do fresh remote statistics of the sender where the
// receiver itself counts nothing: some receivers go on reporting on a stream that
// has stopped.
func (e *death) against(w witness, fromUs, untilUs int64) {
	if e.contra || w == e.w || w == byRemote && e.w == byReceiver {
		return
	}
	if fromUs >= e.sinceUs+second && untilUs <= e.untilUs {
		e.contra, e.contraBy = true, w
	}
}

// dead takes down that direction d was dead. Of times that overlap one witness
// keeps the longest.
func (h *handler) dead(d int, w witness, e death) {
	if e.untilUs-e.sinceUs < h.rules.OneWay.Dead.Microseconds() {
		return
	}
	x := &h.c.dir[d]
	e.w = w
	slot := -1
	for i := range x.deaths {
		o := &x.deaths[i]
		if o.w != w || o.sinceUs > e.untilUs || e.sinceUs > o.untilUs {
			continue
		}
		if o.sinceUs != e.sinceUs && o.untilUs-o.sinceUs >= e.untilUs-e.sinceUs {
			return
		}
		if o.sinceUs == e.sinceUs {
			if e.confidence < o.confidence {
				return // what made it so sure has ended since
			}
			e.contra, e.contraBy = o.contra, o.contraBy
		}
		slot = i
	}
	for o := witness(0); o < witnesses; o++ {
		if l := &x.life[o]; l.count > 0 {
			e.against(o, l.lastFromUs, l.lastUs)
		}
	}
	if slot >= 0 {
		x.deaths[slot] = e
		return
	}
	if len(x.deaths) == maxDeaths {
		x.deaths = append(x.deaths[:0], x.deaths[1:]...)
	}
	at := len(x.deaths)
	for at > 0 && (x.deaths[at-1].sinceUs > e.sinceUs || x.deaths[at-1].sinceUs == e.sinceUs && x.deaths[at-1].w > w) {
		at--
	}
	x.deaths = slices.Insert(x.deaths, at, e)
}

// judgeReport looks at one report of party s for what it says about the
// direction towards s. about: it had a block about the other party; moved: the
// block shows that packets arrived. Fraction and cumulative lost are not looked
// at: after a total blackout they stay 0, only the highest sequence shows it.
func (h *handler) judgeReport(s int, ssrc uint32, p *telemetry.RTCPPacket, about, moved bool) {
	c := h.c
	d := 1 - s
	x := &c.dir[d]
	r := c.party[s].reporter(ssrc, h.at())
	fromUs := r.atUs
	if r.reports == 0 {
		fromUs = x.clearUs
	}
	if r.reports > 0 && h.at()-r.atUs < copyUs/10 {
		return // the same compound seen at a second place
	}
	r.reports++
	if !about && h.at()-x.blockUs() < blocksMissingUs {
		// Some send their sender reports without blocks and the blocks by themselves.
		r.blockless++
		return
	}
	silent := r.blockless
	r.blockless = 0
	sentSR, sentRTP := x.srSent-min(r.markSR, x.srSent), x.rtpSent-min(r.markRTP, x.rtpSent)
	sent := max(sentSR, sentRTP)
	// A sender report counts what was sent before it, which may have arrived long
	// since: only what is beyond the highest that the receiver has counts.
	beyond, comparable := x.beyond()
	arrived := comparable && r.lastBlock != 0 && beyond < int64(h.rules.OneWay.MinPacketsSent)
	own := r.sent(p)
	r.atUs, r.markSR, r.markRTP = h.at(), x.srSent, x.rtpSent
	if about {
		r.lastBlock = r.reports
	}
	if about && moved {
		h.stoodUntil(s, r, p, silent)
		r.run = [3]run{}
		h.alive(d, byRTCP, fromUs)
		return
	}
	if !h.open(d, fromUs) {
		r.run = [3]run{}
		return
	}
	rules := &h.rules.OneWay
	minSent := uint64(rules.MinPacketsSent)
	switch {
	case sent >= minSent && !about && c.party[s].secure && r.lastBlock == 0 && !p.EndpointReport:
		// Encrypted media: that no block could be read is no observation.
	case sent >= minSent && arrived:
		// It has sent no more than what arrived: it stopped by itself.
	case sent >= minSent:
		kind, since, n := deadNeverReceived, x.clearUs, uint32(1)
		if about || r.lastBlock != 0 {
			kind, since = deadStopped, fromUs
			if movedAt := x.movedAt(); movedAt > x.clearUs {
				since = min(since, movedAt)
			}
		}
		if !about {
			n += silent
		}
		r.run[kind].packetsSR += sentSR
		r.run[kind].packetsRTP += sentRTP
		h.deadBy(d, byRTCP, telemetry.ConfidenceReports, r, kind, since, n)
		if row := &r.run[kind]; about == (kind == deadStopped) && h.steady(d, sent, about, row.sinceUs) {
			row.untilUs = h.at()
		}
	case sent == 0:
		since := max(c.party[d].lastSeenUs, x.clearUs)
		speaks := own >= rules.MinPacketsSent || c.dir[s].rtpLast > 0 && h.at()-c.dir[s].rtpLast < rules.Dead.Microseconds()
		if speaks && h.at()-since >= silentReportsUs {
			h.deadBy(d, bySilence, telemetry.ConfidenceSilent, r, deadSilent, since, 1)
		}
	}
}

// sent is how many packets a reporter's own sender reports count since the ones before.
func (r *reporter) sent(p *telemetry.RTCPPacket) (packets uint32) {
	for _, sr := range p.SenderReports {
		if sr == nil || sr.Ssrc != r.ssrc {
			continue
		}
		packets = sr.PacketCount
		if r.hasOwn && sr.PacketCount >= r.ownPackets && !p.IntervalCounters {
			packets -= r.ownPackets
		}
		r.ownPackets, r.hasOwn = sr.PacketCount, true
	}
	return packets
}

// deadBy adds n reports to the row of those that agree, which began at sinceUs. Where
// they are enough the direction is dead.
func (h *handler) deadBy(d int, w witness, confidence float64, r *reporter, kind deadKind, sinceUs int64, n uint32) {
	run := &r.run[kind]
	if run.n == 0 {
		run.sinceUs = sinceUs
	}
	run.n += n
	if run.n >= h.rules.OneWay.MinReports {
		h.dead(d, w, death{
			sinceUs: run.sinceUs, untilUs: h.at(), confidence: confidence,
			kind: kind, reports: run.n, packets: max(run.packetsSR, run.packetsRTP),
		})
	}
}

// unseen looks, when RTP of party s passes a capture point, for that of the other
// party. Where its own reports count packets that never come by, they are lost
// before the capture point. Where nothing at all comes from it, it is silent or
// its way out is dead. Where it reports and says that it sends nothing, that is so
// by design or by mute, and no fault.
func (h *handler) unseen(s int) {
	c := h.c
	d := 1 - s
	x := &c.dir[d]
	since := max(x.rtpLast, x.clearUs)
	if !h.open(d, since) || h.at()-since < h.rules.OneWay.Dead.Microseconds() {
		return
	}
	e := death{sinceUs: since, untilUs: h.at(), confidence: telemetry.ConfidenceMonitor, kind: deadStopped, packets: x.beyondPoint()}
	if x.rtpLast <= x.clearUs {
		e.kind = deadNeverReceived
	}
	switch {
	case e.packets >= uint64(h.rules.OneWay.MinPacketsSent):
		h.dead(d, byMonitor, e)
	default:
		h.silent(d, h.at(), silentMediaUs)
	}
}

// silent takes down that nothing at all came of the sender of direction d until
// untilUs, neither RTP nor RTCP.
func (h *handler) silent(d int, untilUs, atLeastUs int64) {
	x := &h.c.dir[d]
	since := max(h.c.party[d].lastSeenUs, x.clearUs)
	if untilUs-since < atLeastUs {
		return
	}
	h.dead(d, bySilence, death{sinceUs: since, untilUs: untilUs, confidence: telemetry.ConfidenceSilent, kind: deadSilent})
}

// silentAtEnd looks, when the call ends, for a party of whom nothing came for long
// while the other went on: what watches the other's packets ended with them.
func (h *handler) silentAtEnd(atUs, atLeastUs int64) {
	c := h.c
	for d := range c.dir {
		x := &c.dir[d]
		since := max(c.party[d].lastSeenUs, x.clearUs)
		other := c.party[1-d].lastSeenUs
		if c.connectedUs == 0 || x.blocked || x.clearUs == 0 || other-since < h.rules.OneWay.Dead.Microseconds() {
			continue
		}
		switch {
		case x.rtpSent > 0:
			h.silent(d, atUs, atLeastUs)
		case atUs-since >= blocksMissingUs && x.ranDry():
			h.dead(d, bySilence, death{sinceUs: max(since, x.movedAt()), untilUs: atUs, confidence: telemetry.ConfidenceSilent, kind: deadStopped})
		}
	}
}

// steady says whether the packets that did not arrive fill much of the time since
// sinceUs: one that pauses and begins anew has sent only a few. They are those that were
// sent where nothing has arrived at all, else those beyond the highest that has.
func (h *handler) steady(d int, sent uint64, arrived bool, sinceUs int64) bool {
	x := &h.c.dir[d]
	rate, packets := 50.0, int64(sent)
	if ms := h.c.packetMs(x); ms > 0 {
		rate = 1000 / ms
	}
	if arrived {
		packets = 0
	}
	for i := range x.streams {
		st := &x.streams[i]
		if st.rate > 0 {
			rate = st.rate
		}
		if arrived && st.hasBlock && st.hasBase && st.hasCount {
			packets = max(packets, int64(st.packetCount)-int64(st.block.highest)+st.base)
		}
	}
	return float64(packets) >= steadyShare*rate*float64(h.at()-sinceUs)/float64(second)
}

// ranDry says whether by the newest report block audio had stopped before it came:
// it accounts for far fewer packets than would fill the time.
func (d *direction) ranDry() bool {
	movedAt := d.movedAt()
	return movedAt > d.clearUs && d.blockUs()-movedAt >= ranDryUs
}

// stoodUntil ends a time in which nothing arrived with the report p of party s that
// shows packets again. What it counts as lost was lost in that time. Where it counts
// nothing as lost (libwebrtc leaves a gap of more than 50 packets out, as if the
// source had begun anew) nothing had arrived when the newest report without progress
// came; nor while blocks were missing, though other reports came and one was due.
// One report before it in which the sequence stood still is enough then. One that
// has no block at all is so only where blocks come with sender reports, as this one does.
func (h *handler) stoodUntil(s int, r *reporter, p *telemetry.RTCPPacket, blockless uint32) {
	kind := deadStopped
	if r.run[kind].n == 0 && len(p.SenderReports) > 0 {
		kind = deadNeverReceived
	}
	row := &r.run[kind]
	if row.n == 0 {
		return
	}
	d := 1 - s
	var missing int64
	for i := range h.c.dir[d].streams {
		if st := &h.c.dir[d].streams[i]; st.hasBlock && st.block.atUs == h.at() {
			missing = max(missing, st.missingUs)
		}
	}
	e := death{
		sinceUs: row.sinceUs, untilUs: min(row.sinceUs+missing, h.at()), confidence: telemetry.ConfidenceReports,
		kind: kind, reports: row.n, packets: max(row.packetsSR, row.packetsRTP),
	}
	if kind == deadStopped {
		e.reports++ // from which the sequence did not move
	}
	until := row.untilUs
	if until != 0 && kind == deadStopped && blockless > 0 {
		until = max(until, h.at()-blocksMissingUs)
	}
	if until > e.untilUs {
		e.untilUs, e.confidence = until, telemetry.ConfidenceGap
	}
	h.dead(d, byRTCP, e)
}

// beyond is how many packets were sent beyond the highest that the receiver
// reports, by the sender's reports or by the RTP that passed a capture point; false
// where neither can be compared.
func (d *direction) beyond() (packets int64, ok bool) {
	for i := range d.streams {
		st := &d.streams[i]
		if !st.hasBlock {
			continue
		}
		if st.hasAhead && st.hasCount {
			packets, ok = max(packets, int64(st.packetCount)-int64(st.block.highest)+st.ahead), true
		}
		if st.hasRTPBase {
			packets, ok = max(packets, int64(int16(uint16(st.rtpHighest)-uint16(st.block.highest)))), true
		}
	}
	return packets, ok
}

// beyondPoint is the same of what passed a capture point.
func (d *direction) beyondPoint() uint64 {
	packets, ok := int64(0), false
	for i := range d.streams {
		if st := &d.streams[i]; st.hasAheadRTP && st.hasCount {
			packets, ok = max(packets, int64(st.packetCount)-int64(st.rtpHighest)+st.aheadRTP), true
		}
	}
	if !ok && d.rtpSent == 0 {
		return d.srSent - min(d.srAtRTP, d.srSent)
	}
	return uint64(max(packets, 0))
}

// blockUs is when the newest report block about this direction came.
func (d *direction) blockUs() int64 {
	var at int64
	for i := range d.streams {
		if d.streams[i].hasBlock {
			at = max(at, d.streams[i].block.atUs)
		}
	}
	return at
}

// movedAt is when a receiver last reported progress of any stream.
func (d *direction) movedAt() int64 {
	var at int64
	for i := range d.streams {
		if d.streams[i].hasBlock {
			at = max(at, d.streams[i].block.highestMovedAtUs)
		}
	}
	return at
}

func (p *party) reporter(ssrc uint32, atUs int64) *reporter {
	oldest := 0
	for i := range p.reporters {
		if p.reporters[i].ssrc == ssrc {
			return &p.reporters[i]
		}
		if p.reporters[i].atUs < p.reporters[oldest].atUs {
			oldest = i
		}
	}
	if len(p.reporters) < maxReporters {
		p.reporters = append(p.reporters, reporter{ssrc: ssrc})
		return &p.reporters[len(p.reporters)-1]
	}
	p.reporters[oldest] = reporter{ssrc: ssrc}
	return &p.reporters[oldest]
}

// finding is the conclusion about one direction.
type finding struct {
	dead       bool
	w          witness
	death      death
	confidence float64
	alive      bool
	heard      bool       // alive by the getStats of the end that hears: all the way
	none       bool       // by agreement no audio goes this way at all
	at         *verdictOf // the part of the way it is about
}

// judge combines what the witnesses of direction d said. endUs is the end of
// the call, or now.
func (c *call) judge(rules *Rules, d int, endUs int64) finding {
	x := &c.dir[d]
	f := finding{none: c.unexpected(d)}
	for i := range x.deaths {
		e := x.deaths[i]
		confidence := e.confidence
		if e.contra {
			confidence *= telemetry.Contradicted
		}
		same := e.sinceUs <= f.death.untilUs && f.death.sinceUs <= e.untilUs
		longer := e.untilUs-e.sinceUs > f.death.untilUs-f.death.sinceUs
		// Of witnesses who are as sure the end that hears is the one to quote.
		if confidence > f.confidence || confidence == f.confidence && (same && e.w < f.w || !same && longer) {
			f = finding{dead: true, w: e.w, death: e, confidence: confidence, none: f.none}
		}
	}
	for w := witness(0); w < witnesses; w++ {
		l := x.life[w]
		enough := l.count >= rules.OneWay.MinReports
		switch w {
		case byReceiver:
			enough = l.aliveUs >= rules.OneWay.MinStats.Microseconds()
		case byHeader:
			enough = l.count > 0 // it is about the whole call
		}
		// A direction that nobody spoke of for long is not known to live, but
		// for the time in which nothing was to be heard.
		until := endUs
		switch {
		case x.blocked:
			until = min(until, x.blockedUs)
		case x.sentUs != 0 && x.reportsOnly >= rules.OneWay.MinReports: // its sender says that it stopped by itself
			until = min(until, x.sentUs)
		}
		recent := until-l.lastUs <= rules.OneWay.AliveStale.Microseconds()
		if enough && recent {
			f.alive = true
			f.heard = f.heard || w == byReceiver
		}
	}
	return f
}

// unexpected says whether by the first offer and answer, or by its own statistics,
// a party sends no audio at all: it only listens.
func (c *call) unexpected(d int) bool {
	from, to := &c.party[d], &c.party[1-d]
	if from.byDesign && (from.sdp == sdpRecvOnly || from.sdp == sdpInactive) || to.byDesign && (to.sdp == sdpSendOnly || to.sdp == sdpInactive) {
		return true
	}
	silent := false
	for i := range c.legs {
		l := &c.legs[i]
		if int(l.party) == d && l.polls >= minSilentPolls {
			if l.hasOut {
				return false
			}
			silent = true
		}
	}
	return silent
}

// minSilentPolls is how many polls without an outbound stream make one that only listens.
const minSilentPolls = 5
