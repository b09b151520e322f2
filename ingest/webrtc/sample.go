package webrtc

import (
	"math"
	"slices"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// Sample writes what concerns audio into sample and gives the newest timestamp,
// Unix microseconds, 0 if there is none. What it writes belongs to the Stats and
// lasts until its next Sample; other members of sample are left alone.
func (s *Stats) Sample(sample *telemetry.WebRTCSample) (atUs int64) {
	for i := range s.list {
		atUs = max(atUs, s.list[i].atUs)
	}
	s.out.reset()
	for i := range s.list {
		st := &s.list[i]
		switch st.typ {
		case typeInbound, typeOutbound, typeRemoteInbound, typeRemoteOutbound:
			s.rtp(st)
		case typeMediaSource:
			if s.audio(st) {
				s.out.source(st)
			}
		case typeSSRC:
			if s.audio(st) {
				s.out.legacy(st, atUs)
			}
		}
	}
	if len(s.out.sources.used) == 0 {
		s.senderTracks()
	}
	s.Repairs.Duplicate += s.out.duplicates()
	s.out.into(sample)
	sample.Pair = s.selectedPair()
	return atUs
}

func (s *Stats) rtp(st *stat) {
	if !s.audio(st) {
		return
	}
	// Firefox before 65 has what the other end reported as isRemote.
	remote := st.flag(flagIsRemote)
	switch {
	case st.typ == typeRemoteInbound, st.typ == typeInbound && remote:
		s.out.remoteInbound(st)
	case st.typ == typeRemoteOutbound, st.typ == typeOutbound && remote:
		s.out.remoteOutbound(st)
	case st.typ == typeInbound:
		mime, clock := s.codec(st)
		s.out.inbound(st, s.track(st), mime, clock)
	default:
		mime, clock := s.codec(st)
		s.out.outbound(st, s.sourceOf(st), mime, clock)
	}
}

func (s *Stats) audio(st *stat) bool {
	if st.kind != kindUnsaid {
		return st.kind == kindAudio
	}
	if mime, _ := s.codec(st); mime != "" {
		return strings.HasPrefix(mime, "audio/")
	}
	return !st.flag(flagVideo)
}

func (s *Stats) codec(st *stat) (mime string, clockRate uint32) {
	c := s.byID(st.texts[textCodecID])
	if c == nil || c.typ != typeCodec {
		return "", 0
	}
	return c.texts[textMimeType], c.uint32(numClockRate)
}

// track is where members of inbound-rtp stood before they moved there.
func (s *Stats) track(st *stat) *stat {
	if t := s.byID(st.texts[textTrackID]); t != nil && t.typ == typeTrack {
		return t
	}
	return st
}

// sourceOf is the id of what an outbound stream sends.
func (s *Stats) sourceOf(st *stat) string {
	if id := st.texts[textMediaSourceID]; id != "" {
		return id
	}
	t := s.byID(st.texts[textTrackID])
	switch {
	case t == nil || t.typ != typeTrack:
		return ""
	case t.texts[textMediaSourceID] != "":
		return t.texts[textMediaSourceID]
	default:
		return t.id
	}
}

// senderTracks takes the microphone's level from the sender's track where the
// browser has no media-source statistics yet.
func (s *Stats) senderTracks() {
	for i := range s.list {
		st := &s.list[i]
		if st.typ == typeTrack && st.kind == kindAudio && !st.flag(flagRemoteSource) && st.has&(1<<numAudioLevel|1<<numEnergy) != 0 {
			s.out.source(st)
		}
	}
}

// selectedPair is the candidate pair that the transport names, else the one
// marked selected (Firefox), else the busiest nominated one that succeeded.
func (s *Stats) selectedPair() *telemetry.CandidatePair {
	best := s.transportPair()
	if best == nil {
		busy := -1.0
		for i := range s.list {
			st := &s.list[i]
			switch {
			case st.typ == typeGoogPair && st.flag(flagActive),
				st.typ == typePair && st.flag(flagSelected),
				st.typ == typePair && st.flag(flagNominated) && st.texts[textState] == "succeeded":
				if bytes := st.value(numBytesReceived) + st.value(numBytesSent); bytes > busy {
					best, busy = st, bytes
				}
			}
		}
	}
	if best == nil {
		return nil
	}
	return s.out.candidatePair(best, s.candidate(best, textLocalCandidate, textGoogLocalType), s.candidate(best, textRemoteCandidate, textGoogRemoteType))
}

func (s *Stats) transportPair() *stat {
	for i := range s.list {
		if s.list[i].typ != typeTransport {
			continue
		}
		if p := s.byID(s.list[i].texts[textSelectedPair]); p != nil && p.typ == typePair {
			return p
		}
	}
	return nil
}

// candidateTypes are names that older browsers gave to candidates.
var candidateTypes = map[string]string{"serverreflexive": "srflx", "peerreflexive": "prflx", "relayed": "relay", "local": "host", "stun": "srflx"}

func (s *Stats) candidate(pair *stat, id, goog int) string {
	kind := pair.texts[goog]
	if c := s.byID(pair.texts[id]); c != nil && c.typ == typeCandidate {
		kind = c.texts[textCandidateType]
	}
	if name, ok := candidateTypes[kind]; ok {
		return name
	}
	return kind
}

// The members of an object as the record has them. -1 stands for "none" in many
// of them.

func (st *stat) float(index int, into *float64) *float64 {
	v, ok := st.num(index)
	if !ok || v < 0 {
		return nil
	}
	*into = v
	return into
}

// value is 0 for a number that is absent.
func (st *stat) value(index int) float64 {
	if v, ok := st.num(index); ok {
		return v
	}
	return 0
}

func (st *stat) seconds(ms int, into *float64) *float64 {
	v, ok := st.num(ms)
	if !ok || v < 0 {
		return nil
	}
	*into = v / 1000
	return into
}

func (st *stat) uint(index int, into *uint64) *uint64 {
	v, ok := st.num(index)
	if !ok || v < 0 || v >= 1<<63 {
		return nil
	}
	*into = uint64(v)
	return into
}

func (st *stat) int(index int, into *int64) *int64 {
	v, ok := st.num(index)
	if !ok || v >= 1<<62 || v <= -(1<<62) {
		return nil
	}
	*into = int64(v)
	return into
}

func (st *stat) uint32(index int) uint32 {
	v, ok := st.num(index)
	if !ok || v < 0 || v > math.MaxUint32 {
		return 0
	}
	return uint32(v)
}

// level brings an audio level to 0–1. Browsers in the field also give 0–32767
// where the specification has 0–1, and -1 for none.
func (st *stat) level(into *float64) *float64 {
	v, ok := st.num(numAudioLevel)
	if !ok || v < 0 || v > 32767 {
		return nil
	}
	if v > 1 {
		v /= 32767
	}
	*into = v
	return into
}

// legacyLevel brings a level of 0–32767 to 0–1.
func (st *stat) legacyLevel(index int, into *float64) *float64 {
	v, ok := st.num(index)
	if !ok || v < 0 || v > 32768 {
		return nil
	}
	*into = min(v/32767, 1)
	return into
}

// or is the object that has the number: st, else other.
func (st *stat) or(other *stat, index int) *stat {
	if st.has>>index&1 != 0 {
		return st
	}
	return other
}

// output is what a sample points to, used again from one to the next.
type output struct {
	inbounds        slots[inboundSlot, telemetry.InboundRTP]
	outbounds       slots[outboundSlot, telemetry.OutboundRTP]
	remoteInbounds  slots[remoteInboundSlot, telemetry.RemoteInboundRTP]
	remoteOutbounds slots[remoteOutboundSlot, telemetry.RemoteOutboundRTP]
	sources         slots[sourceSlot, telemetry.MediaSource]
	pair            pairSlot
}

// slots are messages with room for their optional members.
type slots[Slot, Message any] struct {
	all  []*Slot
	used []*Message
}

// next gives the slot for one more message.
func (s *slots[Slot, Message]) next() *Slot {
	if len(s.used) == len(s.all) {
		s.all = append(s.all, new(Slot))
	}
	return s.all[len(s.used)]
}

type (
	inboundSlot struct {
		telemetry.InboundRTP
		floats [9]float64
		uints  [7]uint64
		lost   int64
	}
	outboundSlot struct {
		telemetry.OutboundRTP
		uints [2]uint64
	}
	remoteInboundSlot struct {
		telemetry.RemoteInboundRTP
		floats       [3]float64
		measurements uint64
		lost         int64
	}
	remoteOutboundSlot struct {
		telemetry.RemoteOutboundRTP
		sent uint64
	}
	sourceSlot struct {
		telemetry.MediaSource
		floats [3]float64
	}
	pairSlot struct {
		telemetry.CandidatePair
		rtt   float64
		uints [3]uint64
	}
)

func (o *output) reset() {
	o.inbounds.used, o.outbounds.used = o.inbounds.used[:0], o.outbounds.used[:0]
	o.remoteInbounds.used, o.remoteOutbounds.used = o.remoteInbounds.used[:0], o.remoteOutbounds.used[:0]
	o.sources.used = o.sources.used[:0]
}

func (o *output) into(sample *telemetry.WebRTCSample) {
	sample.Inbound, sample.Outbound = o.inbounds.used, o.outbounds.used
	sample.RemoteInbound, sample.RemoteOutbound = o.remoteInbounds.used, o.remoteOutbounds.used
	sample.MediaSources = o.sources.used
}

func (o *output) inbound(st, track *stat, mime string, clockRate uint32) {
	m := o.inbounds.next()
	m.Id, m.Ssrc, m.MimeType, m.ClockRate = st.id, st.uint32(numSSRC), mime, clockRate
	m.PacketsReceived = st.uint(numPacketsReceived, &m.uints[0])
	m.PacketsLost = st.int(numPacketsLost, &m.lost)
	m.PacketsDiscarded = st.uint(numPacketsDiscarded, &m.uints[1])
	m.BytesReceived = st.uint(numBytesReceived, &m.uints[2])
	m.JitterS = st.float(numJitter, &m.floats[0])
	m.JitterBufferDelayS = st.or(track, numBufferDelay).float(numBufferDelay, &m.floats[1])
	m.JitterBufferTargetDelayS = st.or(track, numBufferTarget).float(numBufferTarget, &m.floats[2])
	m.JitterBufferEmittedCount = st.or(track, numBufferEmitted).uint(numBufferEmitted, &m.uints[3])
	m.ConcealedSamples = st.or(track, numConcealed).uint(numConcealed, &m.uints[4])
	m.SilentConcealedSamples = st.or(track, numSilentConcealed).uint(numSilentConcealed, &m.uints[5])
	m.TotalSamplesReceived = st.or(track, numSamplesReceived).uint(numSamplesReceived, &m.uints[6])
	m.TotalAudioEnergy = st.or(track, numEnergy).float(numEnergy, &m.floats[3])
	m.TotalSamplesDurationS = st.or(track, numDuration).float(numDuration, &m.floats[4])
	m.AudioLevel = st.or(track, numAudioLevel).level(&m.floats[5])
	m.JitterBufferMs, m.JitterBufferPreferredMs = nil, nil
	o.inbounds.used = append(o.inbounds.used, &m.InboundRTP)
}

func (o *output) outbound(st *stat, source, mime string, clockRate uint32) {
	m := o.outbounds.next()
	m.Id, m.Ssrc, m.MimeType, m.ClockRate, m.MediaSourceId = st.id, st.uint32(numSSRC), mime, clockRate, source
	m.PacketsSent = st.uint(numPacketsSent, &m.uints[0])
	m.BytesSent = st.uint(numBytesSent, &m.uints[1])
	o.outbounds.used = append(o.outbounds.used, &m.OutboundRTP)
}

func (o *output) remoteInbound(st *stat) {
	m := o.remoteInbounds.next()
	m.Id, m.Ssrc, m.TimestampUs = st.id, st.uint32(numSSRC), st.atUs
	if m.RoundTripTimeS = st.float(numRTT, &m.floats[0]); m.RoundTripTimeS == nil {
		m.RoundTripTimeS = st.seconds(numMozRTT, &m.floats[0])
	}
	m.RoundTripTimeMeasurements = st.uint(numRTTMeasurements, &m.measurements)
	m.JitterS = st.float(numJitter, &m.floats[1])
	m.PacketsLost = st.int(numPacketsLost, &m.lost)
	m.FractionLost = st.float(numFractionLost, &m.floats[2])
	o.remoteInbounds.used = append(o.remoteInbounds.used, &m.RemoteInboundRTP)
}

func (o *output) remoteOutbound(st *stat) {
	m := o.remoteOutbounds.next()
	m.Id, m.Ssrc, m.TimestampUs = st.id, st.uint32(numSSRC), st.atUs
	m.PacketsSent = st.uint(numPacketsSent, &m.sent)
	o.remoteOutbounds.used = append(o.remoteOutbounds.used, &m.RemoteOutboundRTP)
}

func (o *output) source(st *stat) {
	m := o.sources.next()
	m.Id, m.AudioLevel = st.id, st.level(&m.floats[0])
	m.TotalAudioEnergy = st.float(numEnergy, &m.floats[1])
	m.TotalSamplesDurationS = st.float(numDuration, &m.floats[2])
	o.sources.used = append(o.sources.used, &m.MediaSource)
}

// legacy reads a goog* "ssrc" report, which is one stream of either direction:
// its id ends in _recv or _send, and only a sender has packetsSent.
func (o *output) legacy(st *stat, atUs int64) {
	mime := ""
	if codec := st.texts[textGoogCodec]; codec != "" {
		mime = "audio/" + codec
	}
	_, sends := st.num(numPacketsSent)
	if !sends && !strings.HasSuffix(st.id, "_send") {
		o.legacyInbound(st, mime)
		return
	}
	o.outbound(st, st.id, mime, 0)
	if st.has&(1<<numInputLevel|1<<numEnergy) != 0 {
		m := o.sources.next()
		m.Id, m.AudioLevel = st.id, st.legacyLevel(numInputLevel, &m.floats[0])
		m.TotalAudioEnergy = st.float(numEnergy, &m.floats[1])
		m.TotalSamplesDurationS = st.float(numDuration, &m.floats[2])
		o.sources.used = append(o.sources.used, &m.MediaSource)
	}
	// googRtt is -1, and in some versions 0, until a report came back.
	if rtt, ok := st.num(numGoogRTT); ok && rtt > 0 {
		m := o.remoteInbounds.next()
		m.Id, m.Ssrc, m.TimestampUs = st.id, st.uint32(numSSRC), atUs
		m.RoundTripTimeS = st.seconds(numGoogRTT, &m.floats[0])
		m.JitterS = st.seconds(numGoogJitter, &m.floats[1])
		m.PacketsLost = st.int(numPacketsLost, &m.lost)
		m.RoundTripTimeMeasurements, m.FractionLost = nil, nil
		o.remoteInbounds.used = append(o.remoteInbounds.used, &m.RemoteInboundRTP)
	}
}

func (o *output) legacyInbound(st *stat, mime string) {
	o.inbound(st, st, mime, 0)
	m := o.inbounds.all[len(o.inbounds.used)-1]
	m.JitterS = st.seconds(numGoogJitter, &m.floats[0])
	m.AudioLevel = st.legacyLevel(numOutputLevel, &m.floats[5])
	m.JitterBufferMs = st.float(numGoogBuffer, &m.floats[6])
	m.JitterBufferPreferredMs = st.float(numGoogPreferred, &m.floats[7])
}

func (o *output) candidatePair(st *stat, local, remote string) *telemetry.CandidatePair {
	m := &o.pair
	m.Id, m.State, m.LocalCandidateType, m.RemoteCandidateType = st.id, st.texts[textState], local, remote
	if m.CurrentRoundTripTimeS = st.float(numCurrentRTT, &m.rtt); m.CurrentRoundTripTimeS == nil {
		if rtt, ok := st.num(numGoogRTT); ok && rtt > 0 {
			m.CurrentRoundTripTimeS = st.seconds(numGoogRTT, &m.rtt)
		}
	}
	m.BytesReceived = st.uint(numBytesReceived, &m.uints[0])
	m.BytesSent = st.uint(numBytesSent, &m.uints[1])
	m.ResponsesReceived = st.uint(numResponses, &m.uints[2])
	return &m.CandidatePair
}

// duplicates leaves the last of the streams that have the same id, and says how
// many it left out.
func (o *output) duplicates() int {
	before := len(o.inbounds.used) + len(o.outbounds.used) + len(o.remoteInbounds.used) + len(o.remoteOutbounds.used) + len(o.sources.used)
	o.inbounds.used, o.outbounds.used = distinct(o.inbounds.used), distinct(o.outbounds.used)
	o.remoteInbounds.used, o.remoteOutbounds.used = distinct(o.remoteInbounds.used), distinct(o.remoteOutbounds.used)
	o.sources.used = distinct(o.sources.used)
	return before - len(o.inbounds.used) - len(o.outbounds.used) - len(o.remoteInbounds.used) - len(o.remoteOutbounds.used) - len(o.sources.used)
}

func distinct[Message interface{ GetId() string }](list []Message) []Message {
	if len(list) < 2 {
		return list
	}
	if len(list) > indexFrom {
		return distinctMany(list)
	}
	kept := list[:0]
	for i, m := range list {
		if id := m.GetId(); id == "" || !slices.ContainsFunc(list[i+1:], func(other Message) bool { return other.GetId() == id }) {
			kept = append(kept, m)
		}
	}
	return kept
}

func distinctMany[Message interface{ GetId() string }](list []Message) []Message {
	last := make(map[string]int, len(list))
	for i, m := range list {
		last[m.GetId()] = i
	}
	kept := list[:0]
	for i, m := range list {
		if id := m.GetId(); id == "" || last[id] == i {
			kept = append(kept, m)
		}
	}
	return kept
}
