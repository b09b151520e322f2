// Package webrtc reads what RTCPeerConnection.getStats() gives (W3C webrtc-stats),
// posted by browsers and apps, and reduces it to the audio statistics that
// Earshot works with. Legacy (goog*) reports are read too.
package webrtc

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// ErrItem is what every error of Decode wraps: the item cannot be taken.
var ErrItem = errors.New("webrtc: item cannot be read")

// FieldError names the member that an item was refused for. It wraps ErrItem.
type FieldError struct {
	Field  string // empty: the item as a whole
	Detail string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "webrtc: " + e.Detail
	}
	return "webrtc: " + e.Field + ": " + e.Detail
}

// Unwrap gives ErrItem.
func (e *FieldError) Unwrap() error { return ErrItem }

// Item is one posted sample. Identity, From and To of the sample carry only
// what the sender said; who that is in the directory is for the caller to find.
type Item struct {
	Sample *telemetry.WebRTCSample
	// AtUs is when the sample was taken by the sender's clock, Unix
	// microseconds: the member `at`, else the newest timestamp in the
	// statistics, 0 if there is neither.
	AtUs int64
}

// maxMember bounds the identifying members of an item, in bytes.
const maxMember = 256

// Decode reads one item of the telemetry JSON:
//
//	{"call_id", "leg_id", "user_id", "device_id", "endpoint", "app_version", "platform",
//	 "side": "target"|"contact", "muted": bool, "from", "to", "at", "stats": {"<id>": {RTCStats}}}
//
// call_id and stats are required. at is RFC 3339 or Unix milliseconds. stats
// may also be an array of RTCStats.
func Decode(b []byte) (*Item, error) {
	item := &Item{Sample: &telemetry.WebRTCSample{}}
	sample := item.Sample
	s := &scanner{b: b}
	if s.peek() != '{' {
		return nil, &FieldError{"", "not a JSON object"}
	}
	var statsAt int64
	hasStats := false
	member := func(k []byte) error {
		key := string(k)
		text := func(into *string) error {
			if c := s.peek(); c != '"' && c != 'n' && c != '-' && (c < '0' || c > '9') {
				return &FieldError{key, "must be a string"}
			}
			v, err := s.text()
			if len(v) > maxMember {
				return &FieldError{key, fmt.Sprintf("longer than %d bytes", maxMember)}
			}
			*into = v
			return err
		}
		switch key {
		case "call_id":
			return text(&sample.CallId)
		case "leg_id":
			return text(&sample.LegId)
		case "user_id":
			return text(&sample.UserId)
		case "device_id":
			return text(&sample.DeviceId)
		case "endpoint":
			return text(&sample.Endpoint)
		case "app_version":
			return text(&sample.AppVersion)
		case "platform":
			return text(&sample.Platform)
		case "side":
			return text(&sample.Side)
		case "from", "to":
			var number string
			if err := text(&number); err != nil {
				return err
			}
			if number == "" {
				return nil
			}
			if key == "from" {
				sample.From = &telemetry.Identity{Number: number}
			} else {
				sample.To = &telemetry.Identity{Number: number}
			}
			return nil
		case "muted":
			if c := s.peek(); c != 't' && c != 'f' && c != 'n' {
				return &FieldError{key, "must be true or false"}
			}
			var err error
			sample.Muted, sample.HasMuted, err = s.boolean()
			return err
		case "at":
			at, err := s.instant()
			if err != nil {
				return err
			}
			item.AtUs = at
			return nil
		case "stats":
			hasStats = true
			r := newReport()
			defer r.free()
			if err := r.read(s); err != nil {
				return err
			}
			statsAt = r.reduce(sample)
			return nil
		default:
			return s.skip()
		}
	}
	if err := s.object(member); err != nil {
		return nil, itemError(err)
	}
	if s.peek() != 0 {
		return nil, itemError(s.fail())
	}
	switch {
	case sample.CallId == "":
		return nil, &FieldError{"call_id", "missing"}
	case !hasStats:
		return nil, &FieldError{"stats", "missing"}
	case sample.Side != "" && sample.Side != "target" && sample.Side != "contact":
		return nil, &FieldError{"side", `must be "target" or "contact"`}
	}
	if item.AtUs == 0 {
		item.AtUs = statsAt
	}
	if sample.LegId == "" {
		// Samples of one peer connection must share a leg: whatever tells this
		// sender from the other one will do.
		for _, v := range []string{sample.DeviceId, sample.UserId, sample.Side, "webrtc"} {
			if v != "" {
				sample.LegId = v
				break
			}
		}
	}
	return item, nil
}

// Reduce reads a bare getStats() report into sample and gives the newest
// timestamp in it, Unix microseconds, 0 if it has none.
func Reduce(stats []byte, sample *telemetry.WebRTCSample) (atUs int64, err error) {
	s := &scanner{b: stats}
	r := newReport()
	defer r.free()
	if err := r.read(s); err != nil {
		return 0, itemError(err)
	}
	if s.peek() != 0 {
		return 0, itemError(s.fail())
	}
	return r.reduce(sample), nil
}

func itemError(err error) error {
	var field *FieldError
	if errors.As(err, &field) {
		return err
	}
	return &FieldError{"", err.Error()}
}

func (s *scanner) instant() (int64, error) {
	switch c := s.peek(); {
	case c == 'n':
		return 0, s.skip()
	case c == '"':
		b, err := s.str()
		if err != nil {
			return 0, err
		}
		t, err := time.Parse(time.RFC3339Nano, string(b))
		if err != nil || t.Year() < 1970 {
			return 0, &FieldError{"at", "must be an RFC 3339 time or Unix milliseconds"}
		}
		return t.UnixMicro(), nil
	case c == '-' || c >= '0' && c <= '9':
		n, err := s.num()
		if err != nil {
			return 0, err
		}
		at := epochMicros(n)
		if at == 0 {
			return 0, &FieldError{"at", "must be an RFC 3339 time or Unix milliseconds"}
		}
		return at, nil
	default:
		return 0, &FieldError{"at", "must be an RFC 3339 time or Unix milliseconds"}
	}
}

// epochMicros turns Unix milliseconds to microseconds. Timestamps that do not
// count from 1970 (older Safari counts from the page's load) are 0.
func epochMicros(ms optional) int64 {
	const y2000, y2200 = 946_684_800_000, 7_258_118_400_000
	if !ms.ok || ms.v < y2000 || ms.v > y2200 {
		return 0
	}
	return int64(math.Round(ms.v * 1000))
}

// stat is one object of a report, of any type: the members that matter.
type stat struct {
	id, typ, kind, codecID, trackID, mediaSourceID, mimeType   string
	state, candidateType, selectedPair, localCand, remoteCand  string
	googTrackID, googCodec                                     string
	timestamp, ssrc, clockRate                                 optional
	packetsReceived, packetsLost, packetsDiscarded, jitter     optional
	bytesReceived, bytesSent, packetsSent                      optional
	jbDelay, jbTarget, jbEmitted                               optional
	concealed, silentConcealed, samplesReceived                optional
	energy, duration, audioLevel                               optional
	rtt, rttMeasurements, fractionLost, currentRTT, responses  optional
	googJitterReceived, googJitterBuffer, googPreferred        optional
	googRTT, inputLevel, outputLevel                           optional
	nominated, selected, remoteSource, isRemote, active, video bool
}

// report is one getStats() result in document order.
type report struct{ stats []stat }

// reports are used again: a report is some 50 kB, and gone as soon as it is reduced.
var reports = sync.Pool{New: func() any { return &report{} }}

func newReport() *report { return reports.Get().(*report) }

func (r *report) free() {
	clear(r.stats)
	r.stats = r.stats[:0]
	reports.Put(r)
}

func (r *report) read(s *scanner) error {
	switch s.peek() {
	case '{':
		return s.object(func(key []byte) error {
			id := string(key)
			if s.peek() != '{' {
				return s.skip()
			}
			return r.one(s, id)
		})
	case '[':
		return s.array(func() error {
			if s.peek() != '{' {
				return s.skip()
			}
			return r.one(s, "")
		})
	default:
		return &FieldError{"stats", "must be an object of RTCStats"}
	}
}

func (r *report) one(s *scanner, key string) error {
	r.stats = append(r.stats, stat{id: key})
	st := &r.stats[len(r.stats)-1]
	return s.object(func(member []byte) error { return st.member(s, member) })
}

func (st *stat) member(s *scanner, name []byte) (err error) {
	text := func(into *string) error { *into, err = s.text(); return err }
	num := func(into *optional) error { *into, err = s.num(); return err }
	flag := func(into *bool) error { *into, _, err = s.boolean(); return err }
	switch string(name) { // compiled without a copy
	case "id":
		var id string
		if err := text(&id); err != nil {
			return err
		}
		if st.id == "" {
			st.id = id
		}
		return nil
	case "type":
		return text(&st.typ)
	case "kind", "mediaType":
		var kind string
		if err := text(&kind); err != nil {
			return err
		}
		if kind != "" {
			st.kind = kind
		}
		return nil
	case "timestamp":
		return num(&st.timestamp)
	case "ssrc":
		return num(&st.ssrc)
	case "codecId":
		return text(&st.codecID)
	case "trackId":
		return text(&st.trackID)
	case "mediaSourceId":
		return text(&st.mediaSourceID)
	case "mimeType":
		return text(&st.mimeType)
	case "clockRate":
		return num(&st.clockRate)
	case "packetsReceived":
		return num(&st.packetsReceived)
	case "packetsLost":
		return num(&st.packetsLost)
	case "packetsDiscarded":
		return num(&st.packetsDiscarded)
	case "packetsSent":
		return num(&st.packetsSent)
	case "bytesReceived":
		return num(&st.bytesReceived)
	case "bytesSent":
		return num(&st.bytesSent)
	case "jitter":
		return num(&st.jitter)
	case "jitterBufferDelay":
		return num(&st.jbDelay)
	case "jitterBufferTargetDelay":
		return num(&st.jbTarget)
	case "jitterBufferEmittedCount":
		return num(&st.jbEmitted)
	case "concealedSamples":
		return num(&st.concealed)
	case "silentConcealedSamples":
		return num(&st.silentConcealed)
	case "totalSamplesReceived":
		return num(&st.samplesReceived)
	case "totalAudioEnergy":
		return num(&st.energy)
	case "totalSamplesDuration":
		return num(&st.duration)
	case "audioLevel":
		return num(&st.audioLevel)
	case "roundTripTime":
		return num(&st.rtt)
	case "roundTripTimeMeasurements":
		return num(&st.rttMeasurements)
	case "fractionLost":
		return num(&st.fractionLost)
	case "currentRoundTripTime":
		return num(&st.currentRTT)
	case "responsesReceived":
		return num(&st.responses)
	case "state":
		return text(&st.state)
	case "candidateType":
		return text(&st.candidateType)
	case "selectedCandidatePairId":
		return text(&st.selectedPair)
	case "localCandidateId":
		return text(&st.localCand)
	case "remoteCandidateId":
		return text(&st.remoteCand)
	case "nominated":
		return flag(&st.nominated)
	case "selected":
		return flag(&st.selected)
	case "remoteSource":
		return flag(&st.remoteSource)
	case "isRemote":
		return flag(&st.isRemote)
	case "frameWidth", "framesDecoded", "framesEncoded", "frameHeight":
		st.video = true
		return s.skip()
	case "googTrackId":
		return text(&st.googTrackID)
	case "googCodecName":
		return text(&st.googCodec)
	case "googJitterReceived":
		return num(&st.googJitterReceived)
	case "googJitterBufferMs":
		return num(&st.googJitterBuffer)
	case "googPreferredJitterBufferMs":
		return num(&st.googPreferred)
	case "googRtt":
		return num(&st.googRTT)
	case "audioInputLevel":
		return num(&st.inputLevel)
	case "audioOutputLevel":
		return num(&st.outputLevel)
	case "googActiveConnection":
		return flag(&st.active)
	default:
		return s.skip()
	}
}

// level brings an audio level to 0–1. Browsers in the field also give 0–32767
// where the specification has 0–1, and -1 for none.
func level(o optional) *float64 {
	if !o.ok || o.v < 0 || o.v > 32767 {
		return nil
	}
	if o.v > 1 {
		o.v /= 32767
	}
	return o.float()
}

func legacyLevel(o optional) optional {
	if o.v < 0 || o.v > 32768 {
		return optional{}
	}
	return o.per(32767)
}

func (r *report) byID(id string) *stat {
	if id == "" {
		return nil
	}
	for i := range r.stats {
		if r.stats[i].id == id {
			return &r.stats[i]
		}
	}
	return nil
}

func (r *report) codec(st *stat) (mime string, clockRate uint32) {
	c := r.byID(st.codecID)
	if c == nil || c.typ != "codec" {
		return "", 0
	}
	return c.mimeType, c.clockRate.uint32()
}

func (r *report) audio(st *stat) bool {
	switch st.kind {
	case "audio":
		return true
	case "":
		if mime, _ := r.codec(st); mime != "" {
			return strings.HasPrefix(mime, "audio/")
		}
		return !st.video
	default:
		return false
	}
}

// reduce writes what concerns audio into sample and gives the newest timestamp.
func (r *report) reduce(sample *telemetry.WebRTCSample) (atUs int64) {
	for i := range r.stats {
		st := &r.stats[i]
		if at := epochMicros(st.timestamp); at > atUs {
			atUs = at
		}
	}
	for i := range r.stats {
		st := &r.stats[i]
		switch st.typ {
		case "inbound-rtp", "inboundrtp":
			switch {
			case !r.audio(st):
			case st.isRemote: // Firefox before 65
				sample.RemoteInbound = append(sample.RemoteInbound, remoteInbound(st))
			default:
				sample.Inbound = append(sample.Inbound, r.inbound(st))
			}
		case "outbound-rtp", "outboundrtp":
			switch {
			case !r.audio(st):
			case st.isRemote:
				sample.RemoteOutbound = append(sample.RemoteOutbound, remoteOutbound(st))
			default:
				sample.Outbound = append(sample.Outbound, r.outbound(st))
			}
		case "remote-inbound-rtp":
			if r.audio(st) {
				sample.RemoteInbound = append(sample.RemoteInbound, remoteInbound(st))
			}
		case "remote-outbound-rtp":
			if r.audio(st) {
				sample.RemoteOutbound = append(sample.RemoteOutbound, remoteOutbound(st))
			}
		case "media-source":
			if r.audio(st) {
				sample.MediaSources = append(sample.MediaSources, &telemetry.MediaSource{
					Id: st.id, AudioLevel: level(st.audioLevel),
					TotalAudioEnergy: st.energy.nonNegative(), TotalSamplesDurationS: st.duration.nonNegative(),
				})
			}
		case "ssrc":
			if r.audio(st) {
				legacy(st, atUs, sample)
			}
		}
	}
	r.senderTracks(sample)
	sample.Pair = r.selectedPair()
	return atUs
}

func (r *report) inbound(st *stat) *telemetry.InboundRTP {
	mime, clock := r.codec(st)
	// Before the members moved to inbound-rtp they stood in the stream's track.
	track := &stat{}
	if t := r.byID(st.trackID); t != nil && t.typ == "track" {
		track = t
	}
	return &telemetry.InboundRTP{
		Id: st.id, Ssrc: st.ssrc.uint32(), MimeType: mime, ClockRate: clock,
		PacketsReceived: st.packetsReceived.uint(), PacketsLost: st.packetsLost.int(), PacketsDiscarded: st.packetsDiscarded.uint(),
		BytesReceived: st.bytesReceived.uint(), JitterS: st.jitter.nonNegative(),
		JitterBufferDelayS:       st.jbDelay.or(track.jbDelay).nonNegative(),
		JitterBufferTargetDelayS: st.jbTarget.or(track.jbTarget).nonNegative(),
		JitterBufferEmittedCount: st.jbEmitted.or(track.jbEmitted).uint(),
		ConcealedSamples:         st.concealed.or(track.concealed).uint(),
		SilentConcealedSamples:   st.silentConcealed.or(track.silentConcealed).uint(),
		TotalSamplesReceived:     st.samplesReceived.or(track.samplesReceived).uint(),
		TotalAudioEnergy:         st.energy.or(track.energy).nonNegative(),
		TotalSamplesDurationS:    st.duration.or(track.duration).nonNegative(),
		AudioLevel:               level(st.audioLevel.or(track.audioLevel)),
	}
}

func (r *report) outbound(st *stat) *telemetry.OutboundRTP {
	mime, clock := r.codec(st)
	source := st.mediaSourceID
	if source == "" {
		if t := r.byID(st.trackID); t != nil {
			if source = t.mediaSourceID; source == "" {
				source = t.id
			}
		}
	}
	return &telemetry.OutboundRTP{
		Id: st.id, Ssrc: st.ssrc.uint32(), MimeType: mime, ClockRate: clock,
		PacketsSent: st.packetsSent.uint(), BytesSent: st.bytesSent.uint(), MediaSourceId: source,
	}
}

func remoteInbound(st *stat) *telemetry.RemoteInboundRTP {
	return &telemetry.RemoteInboundRTP{
		Id: st.id, Ssrc: st.ssrc.uint32(), TimestampUs: epochMicros(st.timestamp),
		RoundTripTimeS: st.rtt.nonNegative(), RoundTripTimeMeasurements: st.rttMeasurements.uint(),
		JitterS: st.jitter.nonNegative(), PacketsLost: st.packetsLost.int(), FractionLost: st.fractionLost.nonNegative(),
	}
}

func remoteOutbound(st *stat) *telemetry.RemoteOutboundRTP {
	return &telemetry.RemoteOutboundRTP{
		Id: st.id, Ssrc: st.ssrc.uint32(), TimestampUs: epochMicros(st.timestamp), PacketsSent: st.packetsSent.uint(),
	}
}

// legacy reads a goog* "ssrc" report, which is one stream of either direction:
// its id ends in _recv or _send, and only a sender has packetsSent.
func legacy(st *stat, atUs int64, sample *telemetry.WebRTCSample) {
	mime := ""
	if st.googCodec != "" {
		mime = "audio/" + st.googCodec
	}
	if !strings.HasSuffix(st.id, "_send") && !st.packetsSent.ok {
		sample.Inbound = append(sample.Inbound, &telemetry.InboundRTP{
			Id: st.id, Ssrc: st.ssrc.uint32(), MimeType: mime,
			PacketsReceived: st.packetsReceived.uint(), PacketsLost: st.packetsLost.int(), BytesReceived: st.bytesReceived.uint(),
			JitterS: st.googJitterReceived.per(1000).nonNegative(), AudioLevel: legacyLevel(st.outputLevel).float(),
			JitterBufferMs: st.googJitterBuffer.nonNegative(), JitterBufferPreferredMs: st.googPreferred.nonNegative(),
			TotalAudioEnergy: st.energy.nonNegative(), TotalSamplesDurationS: st.duration.nonNegative(),
		})
		return
	}
	sample.Outbound = append(sample.Outbound, &telemetry.OutboundRTP{
		Id: st.id, Ssrc: st.ssrc.uint32(), MimeType: mime, MediaSourceId: st.id,
		PacketsSent: st.packetsSent.uint(), BytesSent: st.bytesSent.uint(),
	})
	if st.inputLevel.ok || st.energy.ok {
		sample.MediaSources = append(sample.MediaSources, &telemetry.MediaSource{
			Id: st.id, AudioLevel: legacyLevel(st.inputLevel).float(),
			TotalAudioEnergy: st.energy.nonNegative(), TotalSamplesDurationS: st.duration.nonNegative(),
		})
	}
	// googRtt is -1, and in some versions 0, until a report came back.
	if st.googRTT.ok && st.googRTT.v > 0 {
		sample.RemoteInbound = append(sample.RemoteInbound, &telemetry.RemoteInboundRTP{
			Id: st.id, Ssrc: st.ssrc.uint32(), TimestampUs: atUs,
			RoundTripTimeS: st.googRTT.per(1000).float(), PacketsLost: st.packetsLost.int(),
			JitterS: st.googJitterReceived.per(1000).nonNegative(),
		})
	}
}

// senderTracks takes the microphone's level from the sender's track where the
// browser has no media-source statistics yet.
func (r *report) senderTracks(sample *telemetry.WebRTCSample) {
	if len(sample.MediaSources) > 0 {
		return
	}
	for i := range r.stats {
		st := &r.stats[i]
		if st.typ == "track" && st.kind == "audio" && !st.remoteSource && (st.audioLevel.ok || st.energy.ok) {
			sample.MediaSources = append(sample.MediaSources, &telemetry.MediaSource{
				Id: st.id, AudioLevel: level(st.audioLevel),
				TotalAudioEnergy: st.energy.nonNegative(), TotalSamplesDurationS: st.duration.nonNegative(),
			})
		}
	}
}

// selectedPair is the candidate pair that the transport names, else the one
// marked selected (Firefox), else the busiest nominated one that succeeded.
func (r *report) selectedPair() *telemetry.CandidatePair {
	var best *stat
	for i := range r.stats {
		st := &r.stats[i]
		if st.typ == "transport" {
			if p := r.byID(st.selectedPair); p != nil && p.typ == "candidate-pair" {
				best = p
				break
			}
		}
	}
	if best == nil {
		busy := -1.0
		for i := range r.stats {
			st := &r.stats[i]
			switch {
			case st.typ == "googCandidatePair" && st.active,
				st.typ == "candidate-pair" && st.selected,
				st.typ == "candidate-pair" && st.nominated && st.state == "succeeded":
				if bytes := st.bytesReceived.v + st.bytesSent.v; bytes > busy {
					best, busy = st, bytes
				}
			}
		}
	}
	if best == nil {
		return nil
	}
	pair := &telemetry.CandidatePair{
		Id: best.id, State: best.state, CurrentRoundTripTimeS: best.currentRTT.nonNegative(),
		BytesReceived: best.bytesReceived.uint(), BytesSent: best.bytesSent.uint(), ResponsesReceived: best.responses.uint(),
	}
	if pair.CurrentRoundTripTimeS == nil && best.googRTT.ok && best.googRTT.v > 0 {
		pair.CurrentRoundTripTimeS = best.googRTT.per(1000).float()
	}
	if c := r.byID(best.localCand); c != nil {
		pair.LocalCandidateType = c.candidateType
	}
	if c := r.byID(best.remoteCand); c != nil {
		pair.RemoteCandidateType = c.candidateType
	}
	return pair
}
