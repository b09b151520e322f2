package calls

import (
	"math"
	"slices"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

const (
	// ICE counts as alive this long after its last sign.
	iceAliveUs = 10 * second
	// What the other leg said is of the same time when not older than this.
	otherLegUs = 3 * second
	// The other leg reports itself: then what it receives needs no guess.
	otherReportsUs = 10 * second
	// Polls come a little early or late.
	pollSlackUs = second / 2
	// remote-inbound with less than this is no acknowledgement yet.
	minRemotePolls = 1
)

// leg finds the leg of a sample, or decides whose it is.
func (h *handler) leg(s *telemetry.WebRTCSample) *leg {
	c := h.c
	id := s.LegId
	if id == "" {
		id = "webrtc"
		if s.Side != "" {
			id += "-" + s.Side
		}
	}
	for i := range c.legs {
		if c.legs[i].id == id {
			return &c.legs[i]
		}
	}
	p := h.legParty(s)
	if len(c.legs) == maxLegs {
		c.legs = append(c.legs[:0], c.legs[1:]...)
	}
	l := newLeg()
	l.id, l.party, l.firstUs = id, uint8(p), h.at()
	l.userID, l.deviceID = s.UserId, s.DeviceId
	c.legs = append(c.legs, l)
	return &c.legs[len(c.legs)-1]
}

// legParty decides whose getStats these are: the sender says so, or it is a
// known user or number, or SDP and RTCP know its streams, or it is the first, who
// is the target.
func (h *handler) legParty(s *telemetry.WebRTCSample) int {
	c := h.c
	switch s.Side {
	case "target":
		return int(c.target)
	case "contact":
		return 1 - int(c.target)
	}
	user := s.UserId
	if user == "" {
		user = s.Identity.GetUserId()
	}
	for p := range c.party {
		id := c.party[p].identity
		if user != "" && id.GetUserId() == user || s.Identity.GetNumber() != "" && id.GetNumber() == s.Identity.GetNumber() {
			return p
		}
	}
	if p := c.partyOfStreams(s); p >= 0 {
		return p
	}
	var taken [2]bool
	for i := range c.legs {
		// Someone without a name may have several peer connections, on one device.
		if user == "" && s.DeviceId != "" && c.legs[i].deviceID == s.DeviceId {
			return int(c.legs[i].party)
		}
		taken[c.legs[i].party] = true
	}
	if !taken[c.target] {
		// With signalling, a user who is nobody yet is the party without a user.
		if user != "" && c.party[c.target].identity.GetUserId() != "" && c.party[1-c.target].identity.GetUserId() == "" {
			return 1 - int(c.target)
		}
		return int(c.target)
	}
	return 1 - int(c.target)
}

// partyOfStreams says whose statistics these are by the SSRCs that SDP or RTCP
// named of each party, -1 where none did. A server that ends RTP may use an SSRC
// of its own: only what is known counts.
func (c *call) partyOfStreams(s *telemetry.WebRTCSample) int {
	for part := range c.parts() {
		for d := range part.dir {
			for _, o := range s.Outbound {
				if ssrc := o.GetSsrc(); ssrc != 0 && part.dir[d].find(ssrc) != nil && !c.server(part, d) {
					return d
				}
			}
			for _, in := range s.Inbound {
				if ssrc := in.GetSsrc(); ssrc != 0 && part.dir[d].find(ssrc) != nil && !c.server(part, 1-d) {
					return 1 - d
				}
			}
		}
	}
	return -1
}

// hears says whether getStats of a party tell what it hears at this time: more
// than its RTCP can, which knows no jitter buffer and nothing of what was concealed.
func (h *handler) hears(p int) bool {
	for i := range h.c.legs {
		if l := &h.c.legs[i]; int(l.party) == p && len(l.inbound) > 0 && h.at()-l.atUs <= otherReportsUs {
			return true
		}
	}
	return false
}

// identifyLeg takes what a sample says about people and their endpoints.
func (h *handler) identifyLeg(s *telemetry.WebRTCSample, p int) {
	c := h.c
	id := s.Identity
	if id == nil && (s.UserId != "" || s.DeviceId != "") {
		id = &telemetry.Identity{UserId: s.UserId, DeviceId: s.DeviceId}
	}
	party := &c.party[p]
	merge(&party.identity, id)
	if s.From != nil || s.To != nil {
		same := func(o *telemetry.Identity) bool {
			me := party.identity
			return o.GetUserId() != "" && o.GetUserId() == me.GetUserId() ||
				o.GetNumber() != "" && o.GetNumber() == me.GetNumber()
		}
		if !c.hasSIP {
			switch {
			case same(s.From):
				c.callerParty = uint8(p)
			case same(s.To):
				c.callerParty = uint8(1 - p)
			}
		}
		merge(&c.party[c.callerParty].identity, s.From)
		merge(&c.party[1-c.callerParty].identity, s.To)
	}
	for _, f := range []struct {
		to *string
		v  string
	}{{&party.endpoint, s.Endpoint}, {&party.appVersion, s.AppVersion}, {&party.platform, s.Platform}} {
		if f.v != "" {
			*f.to = f.v
		}
	}
	c.settle()
}

// webrtc digests one poll of getStats() on the leg of party p.
func (h *handler) webrtc(s *telemetry.WebRTCSample) {
	if s == nil {
		return
	}
	c := h.c
	l := h.leg(s)
	if l.polls > 0 && h.at() <= l.atUs {
		return // a resend, or out of order: counters cannot be subtracted
	}
	h.live()
	c.hasStats = true
	p := int(l.party)
	h.identifyLeg(s, p)
	prevUs := l.atUs
	first := l.polls == 0
	if first {
		prevUs = h.at()
	}
	stepS := float64(h.at()-prevUs) / float64(second)
	l.atUs = h.at()
	l.polls++
	if s.HasMuted && s.Muted != c.party[p].muted {
		h.mute(p, s.Muted)
	}

	sent, sentTotal := h.outbound(l, s, first)
	// Without signalling, packets are the answer; where the platform tells of
	// the call but not of its answer, packets both ways.
	if received := receivedTotal(s); !c.hasSIP && c.connectedUs == 0 &&
		(sentTotal > 0 && received > 0 || !c.hasEvents && (sentTotal > 0 || received > 0)) {
		h.connect(h.at())
	}
	h.ice(l, s)
	rtt := h.statsRTT(l, s)
	if !math.IsNaN(rtt) {
		h.addRTT(rtt, p)
	}

	// What p says: direction p, seen by its sender.
	out := h.sample(fromWebRTC, p, c.side(p), l.id)
	out.sample.Codec, out.sample.ClockRate = l.codec, l.clock
	for _, o := range s.Outbound {
		if o != nil {
			out.sample.Ssrc = o.Ssrc
			break
		}
	}
	out.sample.RttMs = out.value(rtt)
	out.sample.AudioLevel = out.value(l.micLevel)
	if !first {
		out.sample.Packets = out.count(0, sent)
	}
	h.remote(l, s, out, sent, prevUs)
	h.senderReports(l, s)
	h.emitSample(out)

	// What p hears: direction 1-p, seen by its receiver.
	h.inbound(l, s, rtt, sent, prevUs, stepS, first)
	h.unacknowledged(l, sent)
}

func receivedTotal(s *telemetry.WebRTCSample) (n float64) {
	for _, in := range s.Inbound {
		if in == nil {
			continue
		}
		if received := quality.Counter(in.PacketsReceived); received > 0 {
			n += received
		}
	}
	return n
}

// outbound gives packets sent since the last poll (NaN where not known) and in
// total, and takes the microphone's level.
func (h *handler) outbound(l *leg, s *telemetry.WebRTCSample, first bool) (sent, total float64) {
	sent = nan
	total = 0
	var id uint64
	known := false
	source := ""
	for _, o := range s.Outbound {
		if o == nil || math.IsNaN(quality.Counter(o.PacketsSent)) {
			continue
		}
		known = true
		total += float64(*o.PacketsSent)
		id = id*31 + hash64(o.Id)
		if o.MimeType != "" && l.codec == "" {
			l.codec, l.clock = mimeCodec(o.MimeType), o.ClockRate
		}
		if source == "" {
			source = o.MediaSourceId
		}
	}
	if known {
		switch {
		case !l.hasOut || l.outID != id || total < l.outSent:
			if !first {
				sent = total
			}
		default:
			sent = total - l.outSent
		}
		l.outID, l.outSent, l.hasOut = id, total, true
	}
	l.sentDelta = sent
	l.micLevel = nan
	for _, m := range s.MediaSources {
		if m == nil || (source != "" && m.Id != source && len(s.MediaSources) > 1) {
			continue
		}
		mic := hash64(m.Id)
		energy, duration := nan, nan
		if m.TotalAudioEnergy != nil && m.TotalSamplesDurationS != nil {
			energy, duration = *m.TotalAudioEnergy, *m.TotalSamplesDurationS
			if l.micID == mic && duration >= l.micDuration {
				l.micLevel = quality.RMS(energy-l.micEnergy, duration-l.micDuration)
			}
		}
		if math.IsNaN(l.micLevel) && m.AudioLevel != nil && *m.AudioLevel >= 0 && *m.AudioLevel <= 1 {
			l.micLevel = *m.AudioLevel
		}
		l.micID, l.micEnergy, l.micDuration = mic, energy, duration
		if p := &h.c.party[l.party]; !math.IsNaN(l.micLevel) && h.settled() && !p.muted && !h.c.dir[l.party].blocked {
			l.micPolls++
			if l.micLevel <= h.rules.OneWay.SilentLevel {
				l.micQuiet++
			}
		}
		break
	}
	return sent, total
}

// mimeCodec turns audio/opus into opus.
func mimeCodec(mime string) string {
	for i := 0; i < len(mime); i++ {
		if mime[i] == '/' {
			return mime[i+1:]
		}
	}
	return mime
}

// ice notes when the selected pair last showed life.
func (h *handler) ice(l *leg, s *telemetry.WebRTCSample) {
	pair := s.Pair
	if pair == nil {
		return
	}
	if pair.BytesReceived != nil {
		if v := float64(*pair.BytesReceived); v != l.pairBytes {
			l.pairBytes, l.iceUs = v, h.at()
		}
	}
	if pair.ResponsesReceived != nil {
		if v := float64(*pair.ResponsesReceived); v != l.pairResponses {
			l.pairResponses, l.iceUs = v, h.at()
		}
	}
	if pair.BytesReceived == nil && pair.ResponsesReceived == nil && (pair.State == "succeeded" || pair.State == "") {
		l.iceUs = h.at()
	}
}

// statsRTT is the round trip of a poll in ms: RTCP's where it was measured and
// is fresh, else that of the selected candidate pair where that is the whole way.
func (h *handler) statsRTT(l *leg, s *telemetry.WebRTCSample) float64 {
	for _, r := range s.RemoteInbound {
		if r == nil || r.RoundTripTimeS == nil || !(*r.RoundTripTimeS > 0) || *r.RoundTripTimeS > 10 {
			continue
		}
		if r.RoundTripTimeMeasurements != nil && *r.RoundTripTimeMeasurements == 0 {
			continue
		}
		if l.remoteStampUs != 0 && r.TimestampUs == l.remoteStampUs && h.at()-l.remoteSeenUs > h.rules.OneWay.RemoteStale.Microseconds() {
			continue // nothing new for long: the pair knows better
		}
		return *r.RoundTripTimeS * 1000
	}
	if h.c.party[1-l.party].relayed {
		return nan // the pair's is that of the way to the relay
	}
	if p := s.Pair; p != nil && p.CurrentRoundTripTimeS != nil && *p.CurrentRoundTripTimeS > 0 && *p.CurrentRoundTripTimeS <= 10 {
		return *p.CurrentRoundTripTimeS * 1000
	}
	return nan
}

// remote takes what the other end acknowledged of what p sends.
func (h *handler) remote(l *leg, s *telemetry.WebRTCSample, out *sampleBox, sent float64, prevUs int64) {
	c := h.c
	p := int(l.party)
	if sent > 0 {
		l.sentSinceRIN += sent
	}
	for _, r := range s.RemoteInbound {
		if r == nil {
			continue
		}
		if jitter := quality.JitterMsOfSeconds(r.JitterS); jitter >= 0 {
			out.sample.JitterMs = out.value(jitter)
			talks := sent*float64(second) >= h.rules.DTXPacketsPerSecond*float64(h.at()-prevUs) // the spacing of comfort noise is no jitter
			if h.settled() && (r.TimestampUs != l.remoteStampUs || l.remoteCount == 0) && sent > 0 && talks {
				c.dir[p].jitterRemote.Add(jitter)
			}
		}
		if r.TimestampUs == l.remoteStampUs && l.remoteCount > 0 {
			break
		}
		fromUs := l.remoteSeenUs
		if fromUs == 0 {
			fromUs = c.connectedUs
		}
		if !math.IsNaN(quality.Counter(r.PacketsLost)) {
			lost := *r.PacketsLost
			delta := lost - l.remoteLost
			if !l.remoteBaseSet {
				delta = lost
			}
			acc := &c.dir[p].loss[lossRemote]
			if n := l.sentSinceRIN; n > 0 && delta >= 0 {
				percent := min(100*float64(delta)/n, 100)
				out.sample.LossPercent = out.value(percent)
				out.sample.PacketsLost = out.lostCount(float64(delta))
				if n >= burstPackets && percent > acc.burst {
					acc.burst, acc.burstUs = percent, h.at()
				}
			}
			acc.lost += delta
			acc.received += int64(l.sentSinceRIN) - delta
			acc.reports++
			l.remoteLost, l.remoteBaseSet = lost, true
		}
		l.remoteStampUs, l.remoteSeenUs = r.TimestampUs, h.at()
		l.remoteCount++
		if l.sentSinceRIN > 0 {
			h.alive(p, byRemote, fromUs)
		}
		l.sentSinceRIN = 0
		break
	}
}

// unacknowledged watches for a sender that nobody acknowledges while the other
// side's audio arrives.
func (h *handler) unacknowledged(l *leg, sent float64) {
	c := h.c
	p := int(l.party)
	rules := &h.rules.OneWay
	if l.zeroSinceUs != 0 || !(sent > 0) || l.sentSinceRIN < float64(rules.MinPacketsSent) {
		return
	}
	for i := range c.legs {
		if o := &c.legs[i]; int(o.party) == 1-p && h.at()-o.atUs <= otherReportsUs {
			return // the other end says itself what it receives
		}
	}
	since, wait := l.remoteSeenUs, rules.RemoteStale.Microseconds()
	if l.remoteCount < minRemotePolls {
		since, wait = max(c.dir[p].clearUs, l.firstUs), rules.RemoteAbsent.Microseconds()
	}
	since = max(since, c.dir[p].clearUs)
	// Short of a hold, whose beginning and end leave few packets in a long time.
	steady := l.sentSinceRIN*float64(second) >= h.rules.DTXPacketsPerSecond*float64(h.at()-since)
	if h.at()-since < wait || !steady || !h.open(p, since) {
		return
	}
	h.dead(p, byRemote, death{sinceUs: since, untilUs: h.at(), confidence: telemetry.ConfidenceRemote,
		kind: deadNeverReceived, packets: uint64(l.sentSinceRIN)})
}

// inbound digests what p hears.
func (h *handler) inbound(l *leg, s *telemetry.WebRTCSample, rtt, sent float64, prevUs int64, stepS float64, first bool) {
	c := h.c
	p := int(l.party)
	sender := 1 - p
	d := &c.dir[sender]
	packets, known := 0.0, false
	l.heard = nan
	for _, in := range s.Inbound {
		if in == nil {
			continue
		}
		poll := quality.InboundOf(in)
		id := hash64(in.Id)
		var prev quality.Inbound
		slot, had := -1, false
		for i := range l.inbound {
			if l.inbound[i].id == id {
				slot, had = i, l.inbound[i].poll.SSRC == poll.SSRC
			}
		}
		if had {
			prev = l.inbound[slot].poll
		}
		delta := poll.Since(prev)
		if slot < 0 {
			if len(l.inbound) == maxReporters {
				l.inbound = append(l.inbound[:0], l.inbound[1:]...)
			}
			l.inbound = append(l.inbound, inbound{id: id, poll: poll})
		} else {
			l.inbound[slot].poll = poll
		}
		if in.PacketsReceived != nil {
			known = true
			packets += delta.Packets
		}
		codec, clock := l.codec, l.clock
		if in.MimeType != "" {
			codec, clock = mimeCodec(in.MimeType), in.ClockRate
			if l.codec == "" {
				l.codec, l.clock = codec, clock
			}
		}
		h.count(d, delta)
		h.inboundSample(l, in.Ssrc, codec, clock, delta, rtt, stepS, had)
		if had && !math.IsNaN(delta.Level) {
			l.heard = delta.Level
		}
	}
	if first {
		// One poll alone shows no interval, but a stream that has received
		// nothing yet is dead from here on until it does.
		if known && packets == 0 {
			l.zeroSinceUs = h.at()
		}
		return
	}
	h.watch(l, packets, known, sent, prevUs)
}

// count adds a poll to the totals of a direction. Counters begin at 0 with the
// stream, so the first poll counts from there.
func (h *handler) count(d *direction, delta quality.InboundDelta) {
	acc := &d.loss[lossInbound]
	if math.IsNaN(delta.Packets) || math.IsNaN(delta.Lost) {
		return
	}
	acc.received += int64(delta.Packets)
	acc.lost += int64(delta.Lost)
	if delta.Discarded > 0 {
		acc.discarded += int64(delta.Discarded)
	}
	acc.reports++
}

func (h *handler) inboundSample(l *leg, ssrc uint32, codec string, clock uint32, delta quality.InboundDelta, rtt, stepS float64, had bool) {
	c := h.c
	p := int(l.party)
	d := &c.dir[1-p]
	box := h.sample(fromWebRTC, 1-p, c.side(p), l.id)
	box.sample.Ssrc, box.sample.Codec, box.sample.ClockRate = ssrc, codec, clock
	box.sample.JitterMs = box.value(delta.JitterMs)
	d.sourceSamples[fromWebRTC]++
	if !had || !(stepS > 0) {
		h.emitSample(box)
		return
	}
	box.sample.Packets = box.count(0, delta.Packets)
	box.sample.PacketsLost = box.lostCount(delta.Lost)
	box.sample.PacketsDiscarded = box.count(1, delta.Discarded)
	box.sample.LossPercent = box.value(delta.LossPercent)
	box.sample.JitterBufferMs = box.value(delta.BufferMs)
	box.sample.JitterBufferPreferredMs = box.value(delta.BufferPreferredMs)
	box.sample.ConcealmentPercent = box.value(delta.ConcealmentPercent)
	box.sample.SilentConcealmentPercent = box.value(delta.SilentConcealmentPercent)
	box.sample.AudioLevel = box.value(delta.Level)

	lossWithDiscards := delta.LossPercent
	if delta.Discarded > 0 && delta.Packets > 0 {
		lossWithDiscards = min(100*(max(delta.Lost, 0)+delta.Discarded)/(max(delta.Lost, 0)+delta.Packets), 100)
	}
	acc := &d.loss[lossInbound]
	if delta.Packets+max(delta.Lost, 0) >= burstPackets && lossWithDiscards > acc.burst {
		acc.burst, acc.burstUs = lossWithDiscards, h.at()
	}
	if delta.Packets > 0 {
		box.sample.Mos = box.value(h.mos(d, quality.MOSInput{Codec: codec, RTTMs: h.legRTT(rtt), JitterBufferMs: delta.BufferMs, LossPercent: lossWithDiscards}))
	}
	if h.settled() && delta.Packets > 0 {
		d.rate((delta.Packets+max(delta.Lost, 0))/stepS, h.rules)
		jitter := delta.JitterMs
		if delta.Packets/stepS < h.rules.DTXPacketsPerSecond {
			jitter = nan // the spacing of comfort noise is no jitter
		}
		d.jitter.Add(jitter)
		d.moment(h.rules.Choppy(jitter, delta.BufferMs, delta.BufferPreferredMs, delta.ConcealmentPercent), h.at())
		if delta.Samples > 0 && delta.Concealed >= 0 {
			d.concealed += min(delta.Concealed, delta.Samples)
			d.samples += delta.Samples
			if delta.SilentConcealed > 0 {
				d.silentConcealed += delta.SilentConcealed
			}
		}
		if delta.BufferMs >= 0 && delta.BufferPreferredMs > 0 {
			d.bufferMs += delta.BufferMs
			d.preferredMs += delta.BufferPreferredMs
			d.bufferPolls++
		}
	}
	h.emitSample(box)
}

// legRTT is the round trip that what a browser hears is scored with: its own where
// it has one and speaks with the other end, else that of the whole way.
func (h *handler) legRTT(ms float64) float64 {
	if len(h.root.dialogs) == 0 && !math.IsNaN(ms) {
		return ms
	}
	return h.wayRTT()
}

// watch decides from one poll whether what the other party says arrives.
func (h *handler) watch(l *leg, packets float64, known bool, sent float64, prevUs int64) {
	c := h.c
	p := int(l.party)
	d := 1 - p
	x := &c.dir[d]
	rules := &h.rules.OneWay
	other := h.otherLeg(d)
	if packets > 0 {
		l.zeroSinceUs = 0
		h.alive(d, byReceiver, prevUs)
		h.watchSilence(l, other, prevUs)
		return
	}
	l.silentSinceUs, l.silentSpoke = 0, 0
	// The other end says that it sends: then it needs no sign of life of our own.
	sends := other != nil && other.sentDelta > 0
	if other != nil && !other.hasOut && other.polls >= minSilentPolls {
		return // it has no stream to send on: it only listens
	}
	if x.blocked || c.connectedUs == 0 || !sends && (!(sent > 0) || l.iceUs == 0) {
		if x.blocked || c.connectedUs == 0 {
			l.zeroSinceUs = 0
		}
		return
	}
	if l.zeroSinceUs == 0 || l.zeroSinceUs < x.clearUs {
		l.zeroSinceUs = max(prevUs, x.clearUs)
		l.judged = false
		l.senderSpoke, l.senderSent, l.reportCount = 0, 0, 0
	}
	e := death{sinceUs: l.zeroSinceUs, untilUs: h.at(), confidence: telemetry.ConfidenceReceiver, kind: deadNeverReceived, noInbound: !known}
	if x.life[byReceiver].count > 0 {
		e.kind = deadStopped
	}
	if !known {
		e.confidence = telemetry.ConfidenceNoStream
	}
	if other != nil {
		e.packets = l.senderSays(other, rules)
	}
	least := rules.Dead.Microseconds()
	// What the sender said in the first moments may be the last of a call that it ended.
	agrees := other != nil && other.atUs >= e.sinceUs+least-pollSlackUs
	switch {
	case other != nil && other.sentDelta == 0, other == nil && l.reportedNothing(rules):
		// It says itself that it sends nothing: its way is not to blame.
		x.sentNothing(e.sinceUs)
		if h.at()-e.sinceUs > x.quietUntilUs-x.quietSinceUs {
			x.quietSinceUs, x.quietUntilUs = e.sinceUs, h.at()
		}
		return
	case agrees && l.senderSpoke > 0:
		e.confidence, e.senderHeard = telemetry.ConfidenceBothSides, true
	}
	if !(agrees && l.senderSent > 0) && l.iceUs <= e.sinceUs {
		// No sign of life of ICE from within the run: the connection died with the
		// audio, or the other end has hung up and nobody told.
		e.confidence, e.noConnection, least = telemetry.ConfidenceNoStream, true, iceAliveUs
	}
	e.senderCounts = l.judged
	if h.open(d, e.sinceUs) && h.at()-max(e.sinceUs, x.clearUs) >= least {
		h.dead(d, byReceiver, e)
		if !l.judged {
			l.judgeUs = e.sinceUs
		}
	}
}

// otherLeg is the newest leg of the party that is heard, nil where none reports at
// the time.
func (h *handler) otherLeg(p int) (other *leg) {
	for i := range h.c.legs {
		if o := &h.c.legs[i]; int(o.party) == p && h.at()-o.atUs <= otherLegUs && (other == nil || o.atUs > other.atUs) {
			other = o
		}
	}
	return other
}

// senderSays takes down what the sender's own poll says in a run in which nothing
// arrives, and gives how many packets it has sent in the run, about.
func (l *leg) senderSays(other *leg, rules *quality.OneWayRules) (packets uint64) {
	if !(other.sentDelta > 0) {
		return 0
	}
	l.senderSent++
	if other.micLevel >= rules.SpeechLevel {
		l.senderSpoke++
	}
	return uint64(other.sentDelta) * uint64(l.senderSent)
}

// senderReports takes what the sender's reports count, as remote-outbound tells it.
func (h *handler) senderReports(l *leg, s *telemetry.WebRTCSample) {
	var stamp int64
	sent := 0.0
	for _, r := range s.RemoteOutbound {
		if r != nil && !math.IsNaN(quality.Counter(r.PacketsSent)) {
			stamp = max(stamp, r.TimestampUs)
			sent += float64(*r.PacketsSent)
		}
	}
	if stamp == 0 || stamp == l.reportUs {
		return
	}
	l.reportUs, l.reportSent = stamp, sent
	if l.reportCount == 0 {
		l.reportBase = sent
	}
	l.reportCount++
	h.judgeGap(l, sent-receivedTotal(s))
}

// judgeGap looks, at a report of the sender, at a time in which no packet came: a
// sender that has sent no more than what arrived was on hold, or had its
// microphone taken away, and its way is not to blame. ahead is its count less what
// has arrived by now.
func (h *handler) judgeGap(l *leg, ahead float64) {
	few := float64(h.rules.OneWay.MinPacketsSent)
	missing := ahead - l.reportAhead
	switch {
	case l.judgeUs == 0 || !l.hasAhead:
	case missing >= few: // it has sent, and that did not arrive
		x := &h.c.dir[1-l.party]
		for i := range x.deaths {
			if e := &x.deaths[i]; e.w == byReceiver && e.sinceUs == l.judgeUs {
				e.senderCounts = true
			}
		}
		l.judgeUs, l.judged = 0, true
	case l.zeroSinceUs == 0: // packets come again
		h.c.dir[1-l.party].sentNothing(l.judgeUs)
		l.judgeUs = 0
	default:
		return // judged when packets come again
	}
	l.reportAhead, l.hasAhead = ahead, true
}

// sentNothing takes back that the receiver's statistics showed a direction dead
// since a time: its sender had sent nothing.
func (d *direction) sentNothing(sinceUs int64) {
	for i := range d.deaths {
		e := d.deaths[i]
		if e.w != byReceiver || e.sinceUs != sinceUs || e.senderHeard {
			continue
		}
		if e.untilUs-e.sinceUs > d.quietUntilUs-d.quietSinceUs {
			d.quietSinceUs, d.quietUntilUs = e.sinceUs, e.untilUs
		}
		d.deaths = slices.Delete(d.deaths, i, i+1)
		return
	}
}

// reportedNothing says whether the sender's reports went on in the run and counted
// no more packets.
func (l *leg) reportedNothing(rules *quality.OneWayRules) bool {
	return l.reportCount >= rules.MinReports && l.reportSent-l.reportBase < float64(rules.MinPacketsSent)
}

// watchSilence notes packets that carry silence while the other side talks. It
// is worth a sentence and never one-way audio by itself: somebody is muted, or
// has nothing to say.
func (h *handler) watchSilence(l *leg, other *leg, prevUs int64) {
	c := h.c
	x := &c.dir[1-int(l.party)]
	rules := &h.rules.OneWay
	if !(l.heard <= rules.SilentLevel) {
		l.silentSinceUs, l.silentSpoke = 0, 0
		return
	}
	if l.silentSinceUs == 0 {
		l.silentSinceUs = prevUs
	}
	if other != nil && other.micLevel >= rules.SpeechLevel {
		l.silentSpoke++
	}
	need := rules.SilentPayload.Microseconds() - pollSlackUs
	if l.silentSpoke > 0 {
		need = rules.Dead.Microseconds() // both sides know more than one
	}
	if h.at()-l.silentSinceUs >= need && c.connectedUs != 0 &&
		h.at()-l.silentSinceUs > x.silentUntilUs-x.silentSinceUs {
		x.silentSinceUs, x.silentUntilUs = l.silentSinceUs, h.at()
		x.silentSenderSpeaks = l.silentSpoke > 0
	}
}

// mute takes a party's microphone off or on, as its app says.
func (h *handler) mute(p int, muted bool) {
	if !h.tellMute(p, muted) {
		return
	}
	party := &h.c.party[p]
	party.muted = muted
	if muted {
		party.everMuted, party.mutedUs = true, h.at()
	}
	h.block()
}
