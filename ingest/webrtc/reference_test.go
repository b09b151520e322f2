package webrtc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// The reference for the decoder: the same rules on top of encoding/json, written
// to be read and not to be fast.

// pairs is an object in its order, with what is there twice.
type pairs []pair

type pair struct {
	name  string
	value any // nil, bool, json.Number, string, pairs, []any
}

var errDeep = errors.New("nested too deep")

func parse(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth >= maxDepth {
		return nil, errDeep
	}
	list, object := []any{}, pairs{}
	for d.More() {
		name := ""
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				return nil, err
			}
			name = token.(string)
		}
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list, object = append(list, v), append(object, pair{name, v})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if delim == '{' {
		return object, nil
	}
	return list, nil
}

// refStat is a statistics object whose members are known by name.
type refStat struct {
	id, typ, kind string
	atUs          int64
	values        map[string]any
}

var jsonNumber = regexp.MustCompile(`^[ \t\r\n]*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)[ \t\r\n]*$`)

func refNumber(v any) (float64, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = string(v)
	case string:
		m := jsonNumber.FindStringSubmatch(v)
		if m == nil {
			return 0, false
		}
		text = m[1]
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

func refText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	}
	return ""
}

func refFlag(v any) (value, ok bool) {
	switch v {
	case true, "true":
		return true, true
	case false, "false":
		return false, true
	}
	return false, false
}

func refMicros(v any) int64 {
	ms, ok := refNumber(v)
	if text, isText := v.(string); isText && !ok {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0
		}
		ms = float64(t.UnixMicro()) / 1000
	}
	switch {
	case ms >= 946_684_800_000 && ms <= 7_258_118_400_000:
		return int64(math.Round(ms * 1000))
	case ms >= 946_684_800_000_000 && ms <= 7_258_118_400_000_000:
		return int64(math.Round(ms))
	}
	return 0
}

var (
	refTypes = map[string]string{
		"inbound-rtp": "inbound", "inboundrtp": "inbound", "outbound-rtp": "outbound", "outboundrtp": "outbound",
		"remote-inbound-rtp": "remote-inbound", "remote-outbound-rtp": "remote-outbound", "media-source": "source",
		"codec": "codec", "candidate-pair": "pair", "candidatepair": "pair", "local-candidate": "candidate",
		"remote-candidate": "candidate", "localcandidate": "candidate", "remotecandidate": "candidate",
		"transport": "transport", "track": "track", "ssrc": "ssrc", "googCandidatePair": "googpair",
	}
	refMedia = []string{"inbound", "outbound", "remote-inbound", "remote-outbound", "source", "track", "ssrc"}
)

func refStatOf(id string, members pairs) *refStat {
	st := &refStat{id: id, values: map[string]any{}}
	for _, m := range members {
		switch m.name {
		case "id":
			if st.id == "" {
				st.id = refText(m.value)
			}
		case "type":
			if name := refText(m.value); st.typ == "" && name != "" {
				if st.typ = refTypes[name]; st.typ == "" {
					return nil
				}
			}
		case "kind", "mediaType":
			if kind := refText(m.value); st.kind == "" {
				st.kind = kind
			}
		case "timestamp":
			st.atUs = refMicros(m.value)
		default:
			st.values[m.name] = m.value
		}
		if st.kind != "" && st.kind != "audio" && slices.Contains(refMedia, st.typ) {
			return nil
		}
	}
	if st.typ == "" {
		return nil
	}
	return st
}

func (st *refStat) number(name string) (float64, bool) { return refNumber(st.values[name]) }
func (st *refStat) text(name string) string            { return refText(st.values[name]) }
func (st *refStat) flag(name string) bool {
	v, _ := refFlag(st.values[name])
	return v
}

func (st *refStat) float(name string) *float64 {
	if v, ok := st.number(name); ok && v >= 0 {
		return &v
	}
	return nil
}

func (st *refStat) seconds(name string) *float64 {
	if v, ok := st.number(name); ok && v >= 0 {
		return new(v / 1000)
	}
	return nil
}

func (st *refStat) positiveSeconds(name string) *float64 {
	if v, ok := st.number(name); ok && v > 0 {
		return new(v / 1000)
	}
	return nil
}

func (st *refStat) uint(name string) *uint64 {
	if v, ok := st.number(name); ok && v >= 0 && v < 1<<63 {
		return new(uint64(v))
	}
	return nil
}

func (st *refStat) int(name string) *int64 {
	if v, ok := st.number(name); ok && v < 1<<62 && v > -(1<<62) {
		return new(int64(v))
	}
	return nil
}

func (st *refStat) uint32(name string) uint32 {
	if v, ok := st.number(name); ok && v >= 0 && v <= math.MaxUint32 {
		return uint32(v)
	}
	return 0
}

func (st *refStat) level(name string) *float64 {
	v, ok := st.number(name)
	switch {
	case !ok || v < 0 || v > 32767:
		return nil
	case v > 1:
		return new(v / 32767)
	}
	return &v
}

func (st *refStat) legacyLevel(name string) *float64 {
	if v, ok := st.number(name); ok && v >= 0 && v <= 32768 {
		return new(min(v/32767, 1))
	}
	return nil
}

type refReport []*refStat

func refReportOf(v any) (refReport, bool) {
	var r refReport
	add := func(id string, v any) {
		if members, ok := v.(pairs); ok {
			if st := refStatOf(id, members); st != nil {
				r = append(r, st)
			}
		}
	}
	switch v := v.(type) {
	case pairs:
		for _, m := range v {
			add(m.name, m.value)
		}
	case []any:
		for _, e := range v {
			if entry, ok := e.([]any); ok && len(entry) > 1 {
				if id, ok := entry[0].(string); ok && id != "" {
					add(id, entry[1])
				}
				continue
			}
			add("", e)
		}
	default:
		return nil, false
	}
	return r, true
}

func (r refReport) find(id, typ string) *refStat {
	for _, st := range r {
		if id != "" && st.id == id {
			if st.typ != typ {
				return nil
			}
			return st
		}
	}
	return nil
}

func (r refReport) codec(st *refStat) (string, uint32) {
	if c := r.find(st.text("codecId"), "codec"); c != nil {
		return c.text("mimeType"), c.uint32("clockRate")
	}
	return "", 0
}

func (r refReport) audio(st *refStat) bool {
	if st.kind != "" {
		return st.kind == "audio"
	}
	if st.typ != "source" && st.typ != "track" {
		if mime, _ := r.codec(st); mime != "" {
			return strings.HasPrefix(mime, "audio/")
		}
	}
	for _, name := range []string{"frameWidth", "frameHeight", "framesDecoded", "framesEncoded"} {
		if _, ok := st.values[name]; ok {
			return false
		}
	}
	return true
}

func (r refReport) sample(sample *telemetry.WebRTCSample) (atUs int64) {
	for _, st := range r {
		atUs = max(atUs, st.atUs)
	}
	source := func(st *refStat) {
		sample.MediaSources = append(sample.MediaSources, &telemetry.MediaSource{Id: st.id, AudioLevel: st.level("audioLevel"),
			TotalAudioEnergy: st.float("totalAudioEnergy"), TotalSamplesDurationS: st.float("totalSamplesDuration")})
	}
	for _, st := range r {
		if !slices.Contains(refMedia, st.typ) || !r.audio(st) {
			continue
		}
		remote := st.flag("isRemote")
		switch {
		case st.typ == "remote-inbound", st.typ == "inbound" && remote:
			m := &telemetry.RemoteInboundRTP{Id: st.id, Ssrc: st.uint32("ssrc"), TimestampUs: st.atUs, RoundTripTimeS: st.float("roundTripTime"),
				RoundTripTimeMeasurements: st.uint("roundTripTimeMeasurements"), JitterS: st.float("jitter"), PacketsLost: st.int("packetsLost"), FractionLost: st.float("fractionLost")}
			if m.RoundTripTimeS == nil {
				m.RoundTripTimeS = st.seconds("mozRtt")
			}
			sample.RemoteInbound = append(sample.RemoteInbound, m)
		case st.typ == "remote-outbound", st.typ == "outbound" && remote:
			sample.RemoteOutbound = append(sample.RemoteOutbound, &telemetry.RemoteOutboundRTP{Id: st.id, Ssrc: st.uint32("ssrc"), TimestampUs: st.atUs, PacketsSent: st.uint("packetsSent")})
		case st.typ == "inbound":
			sample.Inbound = append(sample.Inbound, r.inbound(st))
		case st.typ == "outbound":
			mime, clock := r.codec(st)
			id := st.text("mediaSourceId")
			if t := r.find(st.text("trackId"), "track"); id == "" && t != nil {
				if id = t.text("mediaSourceId"); id == "" {
					id = t.id
				}
			}
			sample.Outbound = append(sample.Outbound, &telemetry.OutboundRTP{Id: st.id, Ssrc: st.uint32("ssrc"), MimeType: mime, ClockRate: clock,
				PacketsSent: st.uint("packetsSent"), BytesSent: st.uint("bytesSent"), MediaSourceId: id})
		case st.typ == "source":
			source(st)
		case st.typ == "ssrc":
			refLegacy(st, atUs, sample)
		}
	}
	if len(sample.MediaSources) == 0 {
		for _, st := range r {
			_, level := st.number("audioLevel")
			_, energy := st.number("totalAudioEnergy")
			if st.typ == "track" && st.kind == "audio" && !st.flag("remoteSource") && (level || energy) {
				source(st)
			}
		}
	}
	sample.Inbound, sample.Outbound = refDistinct(sample.Inbound), refDistinct(sample.Outbound)
	sample.RemoteInbound, sample.RemoteOutbound = refDistinct(sample.RemoteInbound), refDistinct(sample.RemoteOutbound)
	sample.MediaSources = refDistinct(sample.MediaSources)
	sample.Pair = r.pair()
	return atUs
}

func refDistinct[M interface{ GetId() string }](list []M) []M {
	var kept []M
	for i, m := range list {
		again := false
		for _, other := range list[i+1:] {
			again = again || other.GetId() == m.GetId() && m.GetId() != ""
		}
		if !again {
			kept = append(kept, m)
		}
	}
	return kept
}

func (r refReport) inbound(st *refStat) *telemetry.InboundRTP {
	mime, clock := r.codec(st)
	track := r.find(st.text("trackId"), "track")
	of := func(name string) *refStat {
		if _, ok := st.number(name); !ok && track != nil {
			return track
		}
		return st
	}
	return &telemetry.InboundRTP{
		Id: st.id, Ssrc: st.uint32("ssrc"), MimeType: mime, ClockRate: clock,
		PacketsReceived: st.uint("packetsReceived"), PacketsLost: st.int("packetsLost"), PacketsDiscarded: st.uint("packetsDiscarded"),
		BytesReceived: st.uint("bytesReceived"), JitterS: st.float("jitter"),
		JitterBufferDelayS:       of("jitterBufferDelay").float("jitterBufferDelay"),
		JitterBufferTargetDelayS: of("jitterBufferTargetDelay").float("jitterBufferTargetDelay"),
		JitterBufferEmittedCount: of("jitterBufferEmittedCount").uint("jitterBufferEmittedCount"),
		ConcealedSamples:         of("concealedSamples").uint("concealedSamples"),
		SilentConcealedSamples:   of("silentConcealedSamples").uint("silentConcealedSamples"),
		TotalSamplesReceived:     of("totalSamplesReceived").uint("totalSamplesReceived"),
		TotalAudioEnergy:         of("totalAudioEnergy").float("totalAudioEnergy"),
		TotalSamplesDurationS:    of("totalSamplesDuration").float("totalSamplesDuration"),
		AudioLevel:               of("audioLevel").level("audioLevel"),
	}
}

func refLegacy(st *refStat, atUs int64, sample *telemetry.WebRTCSample) {
	mime := ""
	if codec := st.text("googCodecName"); codec != "" {
		mime = "audio/" + codec
	}
	_, sends := st.number("packetsSent")
	if !sends && !strings.HasSuffix(st.id, "_send") {
		sample.Inbound = append(sample.Inbound, &telemetry.InboundRTP{
			Id: st.id, Ssrc: st.uint32("ssrc"), MimeType: mime,
			PacketsReceived: st.uint("packetsReceived"), PacketsLost: st.int("packetsLost"), BytesReceived: st.uint("bytesReceived"),
			JitterS: st.seconds("googJitterReceived"), AudioLevel: st.legacyLevel("audioOutputLevel"),
			JitterBufferMs: st.float("googJitterBufferMs"), JitterBufferPreferredMs: st.float("googPreferredJitterBufferMs"),
			TotalAudioEnergy: st.float("totalAudioEnergy"), TotalSamplesDurationS: st.float("totalSamplesDuration"),
		})
		return
	}
	sample.Outbound = append(sample.Outbound, &telemetry.OutboundRTP{Id: st.id, Ssrc: st.uint32("ssrc"), MimeType: mime, MediaSourceId: st.id,
		PacketsSent: st.uint("packetsSent"), BytesSent: st.uint("bytesSent")})
	_, level := st.number("audioInputLevel")
	_, energy := st.number("totalAudioEnergy")
	if level || energy {
		sample.MediaSources = append(sample.MediaSources, &telemetry.MediaSource{Id: st.id, AudioLevel: st.legacyLevel("audioInputLevel"),
			TotalAudioEnergy: st.float("totalAudioEnergy"), TotalSamplesDurationS: st.float("totalSamplesDuration")})
	}
	if rtt := st.positiveSeconds("googRtt"); rtt != nil {
		sample.RemoteInbound = append(sample.RemoteInbound, &telemetry.RemoteInboundRTP{Id: st.id, Ssrc: st.uint32("ssrc"), TimestampUs: atUs,
			RoundTripTimeS: rtt, PacketsLost: st.int("packetsLost"), JitterS: st.seconds("googJitterReceived")})
	}
}

func (r refReport) pair() *telemetry.CandidatePair {
	var best *refStat
	for _, st := range r {
		if p := r.find(st.text("selectedCandidatePairId"), "pair"); best == nil && st.typ == "transport" && p != nil {
			best = p
		}
	}
	if best == nil {
		busy := -1.0
		for _, st := range r {
			received, _ := st.number("bytesReceived")
			sent, _ := st.number("bytesSent")
			chosen := st.typ == "googpair" && st.flag("googActiveConnection") ||
				st.typ == "pair" && (st.flag("selected") || st.flag("nominated") && st.text("state") == "succeeded")
			if chosen && received+sent > busy {
				best, busy = st, received+sent
			}
		}
	}
	if best == nil {
		return nil
	}
	kind := func(id, goog string) string {
		k := ""
		if best.typ == "googpair" {
			k = best.text(goog)
		}
		if c := r.find(best.text(id), "candidate"); c != nil {
			k = c.text("candidateType")
		}
		switch k {
		case "serverreflexive", "stun":
			return "srflx"
		case "peerreflexive":
			return "prflx"
		case "relayed":
			return "relay"
		case "local":
			return "host"
		}
		return k
	}
	p := &telemetry.CandidatePair{Id: best.id, State: best.text("state"), CurrentRoundTripTimeS: best.float("currentRoundTripTime"),
		BytesReceived: best.uint("bytesReceived"), BytesSent: best.uint("bytesSent"), ResponsesReceived: best.uint("responsesReceived"),
		LocalCandidateType: kind("localCandidateId", "googLocalCandidateType"), RemoteCandidateType: kind("remoteCandidateId", "googRemoteCandidateType")}
	if p.CurrentRoundTripTimeS == nil && best.typ == "googpair" {
		p.CurrentRoundTripTimeS = best.positiveSeconds("googRtt")
	}
	return p
}

// refItem is Decode. The error is a field error, or that of the JSON.
func refItem(b []byte) (*Item, error) {
	v, err := parse(b)
	if err != nil {
		return nil, err
	}
	object, ok := v.(pairs)
	if !ok {
		return nil, &FieldError{"", "not a JSON object"}
	}
	item := &Item{Sample: &telemetry.WebRTCSample{}}
	s := item.Sample
	var refused error
	refuse := func(field string) {
		if refused == nil {
			refused = &FieldError{Field: field}
		}
	}
	texts := map[string]*string{"call_id": &s.CallId, "leg_id": &s.LegId, "user_id": &s.UserId, "device_id": &s.DeviceId,
		"endpoint": &s.Endpoint, "app_version": &s.AppVersion, "platform": &s.Platform, "side": &s.Side, "from": new(""), "to": new("")}
	hasStats, statsAt := false, int64(0)
	for _, m := range object {
		if into := texts[m.name]; into != nil {
			switch m.value.(type) {
			case nil, string, json.Number:
			default:
				refuse(m.name)
			}
			if *into = refText(m.value); len(*into) > maxMember {
				refuse(m.name)
			}
			continue
		}
		switch m.name {
		case "muted":
			switch m.value.(type) {
			case nil, bool:
			default:
				refuse(m.name)
			}
			s.Muted, s.HasMuted = refFlag(m.value)
		case "at":
			item.AtUs = 0
			switch v := m.value.(type) {
			case nil:
			case json.Number:
				if item.AtUs = refMicros(v); item.AtUs == 0 {
					refuse(m.name)
				}
			case string:
				t, err := time.Parse(time.RFC3339Nano, v)
				if err != nil || t.Year() < 1970 {
					refuse(m.name)
					continue
				}
				item.AtUs = t.UnixMicro()
			default:
				refuse(m.name)
			}
		case "stats":
			hasStats = true
			r, ok := refReportOf(m.value)
			if !ok || len(r) > MaxReports {
				refuse(m.name)
				continue
			}
			s.Inbound, s.Outbound, s.RemoteInbound, s.RemoteOutbound, s.MediaSources, s.Pair = nil, nil, nil, nil, nil, nil
			statsAt = r.sample(s)
		}
	}
	for name, into := range map[string]**telemetry.Identity{"from": &s.From, "to": &s.To} {
		if number := *texts[name]; number != "" {
			*into = &telemetry.Identity{Number: number}
		}
	}
	switch {
	case refused != nil:
		return nil, refused
	case s.CallId == "":
		return nil, &FieldError{Field: "call_id"}
	case !hasStats:
		return nil, &FieldError{Field: "stats"}
	case s.Side != "" && s.Side != "target" && s.Side != "contact":
		return nil, &FieldError{Field: "side"}
	}
	if item.AtUs == 0 {
		item.AtUs = statsAt
	}
	for _, v := range []string{s.DeviceId, s.UserId, s.Side, "webrtc"} {
		if s.LegId == "" {
			s.LegId = v
		}
	}
	return item, nil
}
