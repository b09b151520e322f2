package webrtc

import (
	"math"
	"time"
	"unicode/utf8"
)

// statType is the type of a statistics object, as far as it matters here.
type statType uint8

const (
	typeUnknown statType = iota
	typeIgnored          // nothing of it is used
	typeInbound
	typeOutbound
	typeRemoteInbound
	typeRemoteOutbound
	typeMediaSource
	typeCodec
	typePair
	typeCandidate
	typeTransport
	typeTrack
	typeSSRC     // goog*: one stream of either direction
	typeGoogPair // goog*: a connection
	statTypes
)

func typeOf(name string) statType {
	switch name {
	case "inbound-rtp", "inboundrtp": // without a hyphen: Firefox before 57
		return typeInbound
	case "outbound-rtp", "outboundrtp":
		return typeOutbound
	case "remote-inbound-rtp":
		return typeRemoteInbound
	case "remote-outbound-rtp":
		return typeRemoteOutbound
	case "media-source":
		return typeMediaSource
	case "codec":
		return typeCodec
	case "candidate-pair", "candidatepair":
		return typePair
	case "local-candidate", "remote-candidate", "localcandidate", "remotecandidate":
		return typeCandidate
	case "transport":
		return typeTransport
	case "track":
		return typeTrack
	case "ssrc":
		return typeSSRC
	case "googCandidatePair":
		return typeGoogPair
	default:
		return typeIgnored
	}
}

// media says whether objects of the type belong to audio or to video.
func (t statType) media() bool {
	switch t {
	case typeInbound, typeOutbound, typeRemoteInbound, typeRemoteOutbound, typeMediaSource, typeTrack, typeSSRC:
		return true
	}
	return false
}

// Numbers of an object.
const (
	numSSRC = iota
	numClockRate
	numPacketsReceived
	numPacketsLost
	numPacketsDiscarded
	numPacketsSent
	numBytesReceived
	numBytesSent
	numJitter
	numBufferDelay
	numBufferTarget
	numBufferEmitted
	numConcealed
	numSilentConcealed
	numSamplesReceived
	numEnergy
	numDuration
	numAudioLevel
	numRTT
	numRTTMeasurements
	numMozRTT
	numFractionLost
	numCurrentRTT
	numResponses
	numGoogJitter
	numGoogBuffer
	numGoogPreferred
	numGoogRTT
	numInputLevel
	numOutputLevel
	nums
)

// Texts of an object.
const (
	textCodecID = iota
	textTrackID
	textMediaSourceID
	textMimeType
	textState
	textCandidateType
	textSelectedPair
	textLocalCandidate
	textRemoteCandidate
	textGoogCodec
	textGoogLocalType
	textGoogRemoteType
	texts
)

// Flags of an object.
const (
	flagNominated = iota
	flagSelected
	flagRemoteSource
	flagIsRemote
	flagActive
	flagVideo // it has frames
	flags
)

// memberKind is how a member is read.
type memberKind uint8

const (
	memberNone memberKind = iota
	memberNum
	memberText
	memberFlag
	memberVideo // that it is there says enough
	memberID
	memberType
	memberMedia
	memberTimestamp
)

// member is a member that is used, and of what types.
type member struct {
	name  string
	kind  memberKind
	index uint8
	types uint32 // bit set by statType
}

func of(types ...statType) uint32 {
	set := uint32(1) << typeUnknown // its type may come later
	for _, t := range types {
		set |= 1 << t
	}
	return set
}

var (
	ofAll      = ^uint32(0)
	ofRTP      = of(typeInbound, typeOutbound, typeRemoteInbound, typeRemoteOutbound, typeSSRC)
	ofReceiver = of(typeInbound, typeTrack)
	ofLevel    = of(typeInbound, typeTrack, typeMediaSource)
	ofPair     = of(typePair, typeGoogPair)
	ofMedia    = ofRTP | of(typeMediaSource, typeTrack)
	ofReport   = of(typeRemoteInbound, typeInbound) // old Firefox: inbound with isRemote
)

var members = []member{
	{"id", memberID, 0, ofAll},
	{"type", memberType, 0, ofAll},
	{"kind", memberMedia, 0, ofMedia},
	{"mediaType", memberMedia, 0, ofMedia},
	{"timestamp", memberTimestamp, 0, ofAll},

	{"ssrc", memberNum, numSSRC, ofRTP},
	{"clockRate", memberNum, numClockRate, of(typeCodec)},
	{"packetsReceived", memberNum, numPacketsReceived, of(typeInbound, typeSSRC)},
	{"packetsLost", memberNum, numPacketsLost, of(typeInbound, typeRemoteInbound, typeSSRC)},
	{"packetsDiscarded", memberNum, numPacketsDiscarded, of(typeInbound)},
	{"packetsSent", memberNum, numPacketsSent, of(typeOutbound, typeRemoteOutbound, typeSSRC)},
	{"bytesReceived", memberNum, numBytesReceived, of(typeInbound, typeSSRC) | ofPair},
	{"bytesSent", memberNum, numBytesSent, of(typeOutbound, typeSSRC) | ofPair},
	{"jitter", memberNum, numJitter, of(typeInbound, typeRemoteInbound)},
	{"jitterBufferDelay", memberNum, numBufferDelay, ofReceiver},
	{"jitterBufferTargetDelay", memberNum, numBufferTarget, ofReceiver},
	{"jitterBufferEmittedCount", memberNum, numBufferEmitted, ofReceiver},
	{"concealedSamples", memberNum, numConcealed, ofReceiver},
	{"silentConcealedSamples", memberNum, numSilentConcealed, ofReceiver},
	{"totalSamplesReceived", memberNum, numSamplesReceived, ofReceiver},
	{"totalAudioEnergy", memberNum, numEnergy, ofLevel | of(typeSSRC)},
	{"totalSamplesDuration", memberNum, numDuration, ofLevel | of(typeSSRC)},
	{"audioLevel", memberNum, numAudioLevel, ofLevel},
	{"roundTripTime", memberNum, numRTT, ofReport},
	{"roundTripTimeMeasurements", memberNum, numRTTMeasurements, ofReport},
	{"mozRtt", memberNum, numMozRTT, ofReport},
	{"fractionLost", memberNum, numFractionLost, ofReport},
	{"currentRoundTripTime", memberNum, numCurrentRTT, ofPair},
	{"responsesReceived", memberNum, numResponses, ofPair},
	{"googJitterReceived", memberNum, numGoogJitter, of(typeSSRC)},
	{"googJitterBufferMs", memberNum, numGoogBuffer, of(typeSSRC)},
	{"googPreferredJitterBufferMs", memberNum, numGoogPreferred, of(typeSSRC)},
	{"googRtt", memberNum, numGoogRTT, of(typeSSRC, typeGoogPair)},
	{"audioInputLevel", memberNum, numInputLevel, of(typeSSRC)},
	{"audioOutputLevel", memberNum, numOutputLevel, of(typeSSRC)},

	{"codecId", memberText, textCodecID, ofRTP},
	{"trackId", memberText, textTrackID, of(typeInbound, typeOutbound)},
	{"mediaSourceId", memberText, textMediaSourceID, of(typeOutbound, typeTrack)},
	{"mimeType", memberText, textMimeType, of(typeCodec)},
	{"state", memberText, textState, ofPair},
	{"candidateType", memberText, textCandidateType, of(typeCandidate)},
	{"selectedCandidatePairId", memberText, textSelectedPair, of(typeTransport)},
	{"localCandidateId", memberText, textLocalCandidate, ofPair},
	{"remoteCandidateId", memberText, textRemoteCandidate, ofPair},
	{"googCodecName", memberText, textGoogCodec, of(typeSSRC)},
	{"googLocalCandidateType", memberText, textGoogLocalType, of(typeGoogPair)},
	{"googRemoteCandidateType", memberText, textGoogRemoteType, of(typeGoogPair)},

	{"nominated", memberFlag, flagNominated, ofPair},
	{"selected", memberFlag, flagSelected, ofPair},
	{"remoteSource", memberFlag, flagRemoteSource, of(typeTrack)},
	{"isRemote", memberFlag, flagIsRemote, ofRTP},
	{"googActiveConnection", memberFlag, flagActive, of(typeGoogPair)},

	{"frameWidth", memberVideo, 0, ofMedia},
	{"frameHeight", memberVideo, 0, ofMedia},
	{"framesDecoded", memberVideo, 0, ofMedia},
	{"framesEncoded", memberVideo, 0, ofMedia},
}

// numsOf are the numbers that a type has: what came before the type is judged by it.
var numsOf = func() (sets [statTypes]uint32) {
	for _, m := range members {
		for t := range sets {
			if m.kind == memberNum && m.types>>t&1 != 0 {
				sets[t] |= 1 << m.index
			}
		}
	}
	return sets
}()

// memberTable finds a member by its name: a hash without collisions, made once.
type memberTable struct {
	slots [1 << tableBits]uint8 // index in members + 1
	seed  uint64
}

const tableBits = 9

var table = newMemberTable()

func newMemberTable() *memberTable {
	for seed := uint64(0x9E3779B97F4A7C15); ; seed += 0xD1B54A32D192ED02 {
		t := &memberTable{seed: seed | 1}
		whole := true
		for i, m := range members {
			slot := &t.slots[t.hash([]byte(m.name), 0, len(m.name))]
			if *slot != 0 {
				whole = false
				break
			}
			*slot = uint8(i + 1)
		}
		if whole {
			return t
		}
	}
}

// hash looks at the first and the last eight bytes of b[start:end] and at its length.
func (t *memberTable) hash(b []byte, start, end int) uint64 {
	n := end - start
	var head, tail uint64
	switch {
	case n >= 8:
		head, tail = load(b, start), load(b, end-8)
	case start+8 <= len(b):
		head = load(b, start) & (1<<(8*n) - 1)
	default:
		for i := start; i < end; i++ {
			head |= uint64(b[i]) << (8 * (i - start))
		}
	}
	return ((head ^ tail<<23 ^ tail>>41 ^ uint64(n)<<56) * t.seed) >> (64 - tableBits)
}

// find gives the member that b[start:end] names, nil if it is not used.
func (t *memberTable) find(b []byte, start, end int) *member {
	slot := t.slots[t.hash(b, start, end)]
	if slot == 0 {
		return nil
	}
	if m := &members[slot-1]; m.name == string(b[start:end]) {
		return m
	}
	return nil
}

// mediaKind is what an object's kind or mediaType says.
type mediaKind uint8

const (
	kindUnsaid mediaKind = iota
	kindAudio
	kindOther
)

// stat is one statistics object: the members that matter. nums are there where
// has says so, so that nothing needs to be cleared for the next one.
type stat struct {
	id    string
	atUs  int64
	has   uint32 // nums
	flags uint8
	typ   statType
	kind  mediaKind
	texts [texts]string
	nums  [nums]float64

	change change
}

func (st *stat) reset(id string) {
	st.id, st.atUs, st.has, st.flags, st.typ, st.kind, st.change = id, 0, 0, 0, typeUnknown, kindUnsaid, change{}
	clear(st.texts[:])
}

func (st *stat) num(index int) (float64, bool) { return st.nums[index], st.has>>index&1 != 0 }
func (st *stat) flag(index int) bool           { return st.flags>>index&1 != 0 }

// ignored says that nothing of the object will be used, whatever else it has.
func (st *stat) ignored() bool {
	return st.typ == typeIgnored || st.kind == kindOther && st.typ.media()
}

// MaxReports is how many statistics objects of one getStats() result are looked
// at, those passed over at a glance (video, certificates, …) not counted.
const MaxReports = 4096

// Repairs counts what was set right or left out in statistics that were taken.
type Repairs struct {
	Text      int // strings with bytes that are no UTF-8
	Numbers   int // numbers beyond float64, and texts that should be numbers
	Duplicate int // streams that came twice in one result; the last one counts
}

// Stats is one getStats() result, or the state of a session whose sender tells
// only what changes. It is made to be used again and is not for several
// goroutines at a time.
type Stats struct {
	// Repairs counts over the life of the Stats.
	Repairs Repairs

	list  []stat
	index map[string]int // of list, where it is worth it; nil while it is not made
	arena []byte         // unescaped strings
	out   output

	// Of changes; see Apply.
	owned      bool // strings are copied
	how        *Changes
	room       Room
	used       int    // of the room
	round      uint32 // counts the changes
	cursor     int    // of list, where the next object is looked for first
	commonUs   int64  // the timestamp of all
	hasCommon  bool
	removed    bool // some objects are
	full       bool
	saved      []savedStat // what changed objects were before
	before     int         // len(list) before
	usedBefore int
}

// Reset forgets everything. It is not for a Stats that takes changes: see Free.
func (s *Stats) Reset() {
	s.list = s.list[:0]
	if len(s.index) > 0 {
		clear(s.index)
	}
}

// Read takes a whole getStats() result: an object of RTCStats by id, an array
// of RTCStats, or an array of [id, RTCStats]. The Stats, and what is made from
// them, refer to b.
func (s *Stats) Read(b []byte) error {
	s.Reset()
	s.arena = s.arena[:0]
	i, err := s.read(b, space(b, 0), 0)
	if err == nil {
		i, err = s.end(b, i)
	}
	return itemError(err, i, len(b))
}

// Len is the number of objects.
func (s *Stats) Len() int { return len(s.list) }

// read takes statistics at b[i], within depth objects or arrays.
func (s *Stats) read(b []byte, i, depth int) (_ int, err error) {
	if i >= len(b) {
		return i, errSyntax
	}
	s.owned = false
	switch b[i] {
	case '{':
		return s.readObject(b, i, depth)
	case '[':
		return s.readArray(b, i, depth)
	default:
		return i, &FieldError{"stats", "must be an object of RTCStats"}
	}
}

func (s *Stats) readObject(b []byte, i, depth int) (_ int, err error) {
	c, i := token(b, i+1)
	if c == '}' {
		return i + 1, nil
	}
	for more := true; more; {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		start := i
		end, kind, err := stringEnd(b, i)
		if err != nil {
			return end, err
		}
		if i, err = colon(b, end); err != nil {
			return i, err
		}
		if i < len(b) && b[i] == '{' {
			i, err = s.object(b, i, depth+1, s.text(b[start+1:end-1], kind))
		} else {
			i, err = skip(b, i, depth+1)
		}
		if err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, '}'); err != nil {
			return i, err
		}
	}
	return i, nil
}

func (s *Stats) readArray(b []byte, i, depth int) (_ int, err error) {
	c, i := token(b, i+1)
	if c == ']' {
		return i + 1, nil
	}
	for more := true; more; {
		switch c, i = token(b, i); c {
		case '{':
			i, err = s.object(b, i, depth+1, "")
		case '[':
			i, err = s.pair(b, i, depth+1)
		default:
			i, err = skip(b, i, depth+1)
		}
		if err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, ']'); err != nil {
			return i, err
		}
	}
	return i, nil
}

// pair takes [id, RTCStats], an entry of the RTCStatsReport. An array of
// anything else is passed over.
func (s *Stats) pair(b []byte, i, depth int) (_ int, err error) {
	c, i := token(b, i+1)
	if c == ']' {
		return i + 1, nil
	}
	id := ""
	for n, more := 0, true; more; n++ {
		switch c, i = token(b, i); {
		case n == 0 && c == '"':
			id, i, err = s.str(b, i)
		case n == 1 && c == '{' && id != "":
			i, err = s.object(b, i, depth+1, id)
		default:
			i, err = skip(b, i, depth+1)
		}
		if err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, ']'); err != nil {
			return i, err
		}
	}
	return i, nil
}

// indexFrom is how many objects are worth an index.
const indexFrom = 48

func (s *Stats) byID(id string) *stat {
	if id == "" {
		return nil
	}
	if len(s.list) < indexFrom {
		for i := range s.list {
			if s.list[i].id == id {
				return &s.list[i]
			}
		}
		return nil
	}
	if s.index == nil {
		s.index = map[string]int{}
	}
	if len(s.index) == 0 {
		for i := range s.list {
			if _, ok := s.index[s.list[i].id]; !ok {
				s.index[s.list[i].id] = i
			}
		}
	}
	if i, ok := s.index[id]; ok {
		return &s.list[i]
	}
	return nil
}

func (s *Stats) add(id string) *stat {
	if len(s.list) < cap(s.list) {
		s.list = s.list[:len(s.list)+1]
	} else {
		s.list = append(s.list, stat{})
	}
	st := &s.list[len(s.list)-1]
	st.reset(id)
	return st
}

// object takes one statistics object, known by the name of the member that it
// is, if any, else by its own id.
func (s *Stats) object(b []byte, i, depth int, id string) (_ int, err error) {
	if depth >= maxDepth {
		return i, errDepth
	}
	st := s.add(id)
	if i, err = s.members(b, i, depth, st); err != nil {
		return i, err
	}
	if st.typ == typeUnknown || st.ignored() {
		s.list = s.list[:len(s.list)-1]
	} else if len(s.list) > MaxReports {
		return i, errReports
	}
	return i, nil
}

var errReports = &FieldError{"stats", "too many reports"}

// members reads an object into st. The first type and the first kind count:
// once they say that the object is of no use, the rest is passed over. Of any
// other member the last one counts.
func (s *Stats) members(b []byte, i, depth int, st *stat) (_ int, err error) {
	c, i := token(b, i+1)
	if c == '}' {
		return i + 1, nil
	}
	for {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		start := i + 1
		end, kind, err := stringEnd(b, i)
		if err != nil {
			return end, err
		}
		var m *member
		if kind&textEscaped == 0 {
			m = table.find(b, start, end-1)
		} else {
			name := unquote(nil, b[start:end-1])
			m = table.find(name, 0, len(name))
		}
		if i, err = colon(b, end); err != nil {
			return i, err
		}
		if m == nil || m.types>>st.typ&1 == 0 {
			i, err = skip(b, i, depth+1)
		} else {
			i, err = s.member(b, i, depth, st, m)
		}
		if err != nil {
			return i, err
		}
		more := false
		if i, more, err = comma(b, i, '}'); err != nil || !more {
			return i, err
		}
		if m != nil && st.ignored() {
			return skipMembers(b, i, depth)
		}
	}
}

func (s *Stats) member(b []byte, i, depth int, st *stat, m *member) (_ int, err error) {
	if i >= len(b) {
		return i, errSyntax
	}
	switch m.kind {
	case memberNum:
		v, ok, i, err := s.number(b, i, depth)
		st.nums[m.index] = v
		if bit := uint32(1) << m.index; ok {
			st.has |= bit
		} else {
			st.has &^= bit
		}
		return i, err
	case memberText:
		v, i, err := s.textValue(b, i, depth)
		if s.owned {
			s.setText(st, m.index, v)
		} else {
			st.texts[m.index] = v
		}
		return i, err
	case memberFlag:
		v, _, i, err := boolean(b, i, depth)
		st.flags &^= 1 << m.index
		if v {
			st.flags |= 1 << m.index
		}
		return i, err
	case memberVideo:
		st.flags |= 1 << flagVideo
		return skip(b, i, depth+1)
	case memberID:
		v, i, err := s.textValue(b, i, depth)
		if st.id == "" {
			st.id = v
		}
		return i, err
	case memberType:
		v, i, err := s.textValue(b, i, depth)
		if st.typ == typeUnknown && v != "" {
			st.typ = typeOf(v)
			st.has &= numsOf[st.typ]
		}
		return i, err
	case memberMedia:
		v, i, err := s.textValue(b, i, depth)
		if st.kind == kindUnsaid && v != "" {
			if st.kind = kindOther; v == "audio" {
				st.kind = kindAudio
			}
		}
		return i, err
	default:
		st.atUs, i, err = s.timestamp(b, i, depth)
		return i, err
	}
}

// number reads a number, also one inside a string as legacy statistics have
// them. Anything else is absent.
func (s *Stats) number(b []byte, i, depth int) (v float64, ok bool, end int, err error) {
	switch c := b[i]; {
	case c == '-' || c >= '0' && c <= '9':
		if v, ok, i, err = number(b, i); err == nil && !ok {
			s.Repairs.Numbers++
		}
		return v, ok, i, err
	case c == '"':
		text, i, err := s.str(b, i)
		if err != nil || text == "" {
			return 0, false, i, err
		}
		if v, ok = numberText(text); !ok {
			s.Repairs.Numbers++
		}
		return v, ok, i, nil
	default:
		i, err = skip(b, i, depth+1)
		return 0, false, i, err
	}
}

// textValue reads a string, or the text of a number; anything else is "".
func (s *Stats) textValue(b []byte, i, depth int) (string, int, error) {
	switch c := b[i]; {
	case c == '"':
		return s.str(b, i)
	case c == '-' || c >= '0' && c <= '9':
		end, err := numberEnd(b, i)
		return alias(b[i:end]), end, err
	default:
		end, err := skip(b, i, depth+1)
		return "", end, err
	}
}

// boolean reads true or false, also inside a string; anything else is absent.
func boolean(b []byte, i, depth int) (value, ok bool, end int, err error) {
	end, err = skip(b, i, depth+1)
	if err != nil {
		return false, false, end, err
	}
	switch text := alias(b[i:end]); text {
	case "true", `"true"`:
		return true, true, end, nil
	case "false", `"false"`:
		return false, true, end, nil
	default:
		return false, false, end, nil
	}
}

// str reads the string at b[i].
func (s *Stats) str(b []byte, i int) (string, int, error) {
	end, kind, err := stringEnd(b, i)
	if err != nil {
		return "", end, err
	}
	return s.text(b[i+1:end-1], kind), end, nil
}

// text gives what the inside of a string says: itself where it can.
func (s *Stats) text(inside []byte, kind textKind) string {
	if kind == 0 {
		return alias(inside)
	}
	valid := kind&textWide == 0 || utf8.Valid(inside)
	if valid && kind&textEscaped == 0 {
		return alias(inside)
	}
	if !valid {
		s.Repairs.Text++
	}
	start := len(s.arena)
	s.arena = unquote(s.arena, inside)
	return alias(s.arena[start:])
}

// timestamp reads when an object was made: Unix milliseconds, microseconds
// (early Firefox) or ISO 8601 (early Safari).
func (s *Stats) timestamp(b []byte, i, depth int) (us int64, end int, err error) {
	if b[i] == '"' {
		text, i, err := s.str(b, i)
		if err != nil {
			return 0, i, err
		}
		if ms, ok := numberText(text); ok {
			return epochMicros(ms), i, nil
		}
		t, notISO := time.Parse(time.RFC3339Nano, text)
		if notISO != nil {
			return 0, i, nil
		}
		return epochMicros(float64(t.UnixMicro()) / 1e3), i, nil
	}
	ms, ok, i, err := s.number(b, i, depth)
	if !ok {
		return 0, i, err
	}
	return epochMicros(ms), i, err
}

// epochMicros turns Unix milliseconds, or microseconds, to microseconds.
// Timestamps that do not count from 1970 (older Safari counts from the page's
// load) are 0.
func epochMicros(ms float64) int64 {
	const y2000, y2200 = 946_684_800_000, 7_258_118_400_000
	switch {
	case ms >= y2000 && ms <= y2200:
		return int64(math.Round(ms * 1000))
	case ms >= y2000*1000 && ms <= y2200*1000:
		return int64(math.Round(ms))
	default:
		return 0
	}
}
