package rtcstats

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/earshot/earshot/ingest/webrtc"
)

// Errors of Decoder. Reason gives the word that they are counted under.
var (
	// ErrJSON is a message that is no JSON, or nested deeper than any client does.
	ErrJSON = errors.New("rtcstats: message is no JSON")
	// ErrShape is JSON that is no message of the dialect.
	ErrShape = errors.New("rtcstats: message has not the shape of its protocol")
	// ErrDuplicate is a message that was decoded before a cut.
	ErrDuplicate = errors.New("rtcstats: message was received before")
)

// Reason is the word for an error of this package in counters.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrJSON):
		return "json"
	case errors.Is(err, ErrShape):
		return "shape"
	case errors.Is(err, ErrDuplicate):
		return "duplicate"
	default:
		return "other"
	}
}

// Dialect is how a client encodes its messages.
type Dialect uint8

// The dialects in the field; see the package.
const (
	Numbered Dialect = iota // rtcstats 5, and files of format 3
	Named                   // rtcstats 1 and 2, and files of format 2
	Jitsi                   // Jitsi's, also its files
)

func (d Dialect) String() string {
	return [...]string{"rtcstats5", "rtcstats2", "jitsi"}[d]
}

// Kind is what an Event is about.
type Kind uint8

// Kinds of events. What is Noted is counted only.
const (
	Noted Kind = iota
	Stats
	Identified
	Rated
	Left // the sender says goodbye
)

// Event is what one message says.
type Event struct {
	Kind   Kind
	Method string // in full; as the client sent it where it has no number
	PC     string // the peer connection as its page calls it, PC_0; or empty
	AtUs   int64  // by the sender's clock, Unix microseconds
	Seq    int64  // Jitsi's sequence number; 0 without
	// Prompt says that the message is sent as soon as it is written, however
	// long others waited for the connection: its delay is the network's.
	Prompt bool

	// Of Stats: what getStats() gave, valid until the next message.
	Statistics *webrtc.Stats
	// Full says that some of it found no room.
	Full bool
	// Muted is whether the page has disabled all its microphone tracks on this
	// peer connection; known only once it has set one.
	Muted, HasMuted bool

	// Of Identified: what the sender says of itself; empty where it does not.
	User, Name, Device, Conference string

	// Of Rated.
	Rating uint32 // 1–5
	Text   string
}

// Limits bound what a Decoder remembers.
type Limits struct {
	StateBytes int     // of one sender
	Total      *Budget // of all senders together; may be nil
}

// Decoder turns the messages of one sender, in their order, into events. It is
// not safe for concurrent use.
type Decoder struct {
	dialect Dialect
	room    room
	lastMs  float64 // Numbered: sum of the differences so far
	peers   map[string]*peer
	clock   uint64          // counts messages, for the age of peers
	enabled map[string]bool // microphone tracks by id, where the page set them
	value   []byte
}

type peer struct {
	id     string
	stats  webrtc.Stats
	used   uint64
	tracks []string // ids of the audio tracks that it sends
}

// maxTracks is how many tracks are followed, per sender and per peer connection.
const maxTracks = 256

// NewDecoder makes the Decoder of a new sender.
func NewDecoder(dialect Dialect, limits Limits) *Decoder {
	return &Decoder{dialect: dialect, room: room{left: limits.StateBytes, all: limits.Total}, peers: map[string]*peer{}, enabled: map[string]bool{}}
}

// Close gives back what the Decoder has of the common budget.
func (d *Decoder) Close() {
	for id, p := range d.peers {
		p.stats.Free(&d.room)
		delete(d.peers, id)
	}
}

// maxDepth bounds nesting: messages have six levels.
const maxDepth = 64

// parse checks the whole message before anything looks into it.
func parse(message []byte) (gjson.Result, error) {
	depth, quoted := 0, false
	for i := 0; i < len(message); i++ {
		switch c := message[i]; {
		case quoted:
			if c == '\\' {
				i++
			}
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '[', c == '{':
			if depth++; depth > maxDepth {
				return gjson.Result{}, ErrJSON
			}
		case c == ']', c == '}':
			depth--
		}
	}
	if !gjson.ValidBytes(message) {
		return gjson.Result{}, ErrJSON
	}
	if !utf8.Valid(message) {
		return gjson.Parse(strings.ToValidUTF8(string(message), "\uFFFD")), nil
	}
	return gjson.ParseBytes(message), nil
}

// Decode reads one message: an array as a WebSocket brings it, or a line of a
// dump. On an error the state is what it was.
func (d *Decoder) Decode(message []byte) (Event, error) {
	if e, ok := d.polled(message); ok {
		return e, nil
	}
	m, err := parse(message)
	if err != nil {
		return Event{}, err
	}
	return d.entry(m)
}

// DecodeJitsi reads one message of Jitsi's protocol:
//
//	{"statsSessionId", "type": "identity"|"stats-entry"|"keepalive"|"close", "data"}
//
// data is an array [method, peer connection, value, Unix ms, sequence number],
// mostly inside a string. Messages up to sequence number seen are ErrDuplicate.
func (d *Decoder) DecodeJitsi(message []byte, seen int64) (Event, error) {
	m, err := parse(message)
	if err != nil {
		return Event{}, err
	}
	if !m.IsObject() {
		return Event{}, ErrShape
	}
	switch m.Get("type").Str {
	case "keepalive":
		return Event{Kind: Noted, Method: "keepalive", Prompt: true}, nil
	case "close":
		return Event{Kind: Left, Method: "close", Prompt: true}, nil
	case "identity", "stats-entry":
	default:
		return Event{}, ErrShape
	}
	data := m.Get("data")
	if data.Type == gjson.String {
		if data, err = parse([]byte(data.Str)); err != nil {
			return Event{}, err
		}
	}
	if !data.IsArray() {
		return Event{}, ErrShape
	}
	fields := data.Array()
	if len(fields) < 4 {
		return Event{}, ErrShape
	}
	seq := fields[len(fields)-1]
	if seq.Type != gjson.Number || seq.Num < 1 || seq.Num > 1<<53 {
		return Event{}, ErrShape
	}
	if int64(seq.Num) <= seen {
		return Event{Seq: int64(seq.Num)}, ErrDuplicate
	}
	e, err := d.fields(fields[:len(fields)-1])
	e.Seq = int64(seq.Num)
	return e, err
}

// polled reads, in one pass, the message that comes each second and is as a
// client writes it: [method, peer connection, statistics, time].
func (d *Decoder) polled(message []byte) (Event, bool) {
	rest, ok := cutGetStats(message)
	if !ok {
		return Event{}, false
	}
	pc, rest, ok := bytes.Cut(rest, []byte(`",{`))
	tail := bytes.LastIndexByte(rest, ',')
	if !ok || len(pc) > maxName || tail < 0 || !plain(pc) {
		return Event{}, false
	}
	ms, isArray := bytes.CutSuffix(rest[tail+1:], []byte("]"))
	number, err := strconv.ParseFloat(alias(ms), 64)
	if !isArray || err != nil || !decimal(ms) {
		return Event{}, false
	}
	e, before := Event{Method: "getStats", PC: alias(pc)}, d.lastMs
	if !d.time(&e, number) {
		return Event{}, false
	}
	d.clock++
	start := len(message) - len(rest) - 1 // the brace
	if d.stats(&e, message[start:len(message)-len(rest)+tail]) != nil {
		d.lastMs = before
		return Event{}, false
	}
	return e, true
}

// alias is b as a string, which changes when b does.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// cutGetStats passes over the method and the quote before the peer connection.
func cutGetStats(message []byte) ([]byte, bool) {
	for _, begins := range [...]string{`[1,"`, `["g","`, `["getStats","`, `["getstats","`} {
		if len(message) > len(begins) && string(message[:len(begins)]) == begins {
			return message[len(begins):], true
		}
	}
	return nil, false
}

// plain says whether text stands in JSON as it is.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decimal says whether a number is one of JSON without an exponent; of the
// others strconv knows more than JSON does.
func decimal(text []byte) bool {
	digits, _ := bytes.CutPrefix(text, []byte("-"))
	whole, fraction, point := bytes.Cut(digits, []byte("."))
	return allDigits(whole) && (len(whole) == 1 || whole[0] != '0') && (!point || allDigits(fraction))
}

func allDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

func (d *Decoder) entry(m gjson.Result) (Event, error) {
	if !m.IsArray() {
		return Event{}, ErrShape
	}
	return d.fields(m.Array())
}

// fields are [method, peer connection or null, value, …extra, time].
func (d *Decoder) fields(f []gjson.Result) (Event, error) {
	if len(f) < 3 {
		return Event{}, ErrShape
	}
	var e Event
	switch f[0].Type {
	case gjson.String:
		e.Method = f[0].Str
	case gjson.Number:
		e.Method = f[0].Raw
	default:
		return Event{}, ErrShape
	}
	if len(e.Method) > maxName || f[1].Type != gjson.String && f[1].Type != gjson.Null || len(f[1].Str) > maxName {
		return Event{}, ErrShape
	}
	if e.Method == "g" {
		e.Method = "getStats"
	} else if name, ok := numbered(methods[:], e.Method); ok {
		e.Method = name
	}
	if e.Method == "getstats" {
		e.Method = "getStats"
	}
	e.PC = f[1].Str
	last, before := f[len(f)-1], d.lastMs
	if last.Type != gjson.Number || !d.time(&e, last.Num) {
		return Event{}, ErrShape
	}
	var value gjson.Result
	var extra []gjson.Result
	if len(f) > 3 {
		value, extra = f[2], f[3:len(f)-1]
	}
	d.clock++
	if err := d.dispatch(&e, value, extra); err != nil {
		d.lastMs = before
		return Event{}, err
	}
	return e, nil
}

// absolute is where a number of milliseconds is a time and not a difference:
// the year 2001, or 31 years.
const absolute = 1e12

// time reads the last element of a message: Unix milliseconds, in rtcstats 5 the
// difference to the message before.
func (d *Decoder) time(e *Event, ms float64) bool {
	if d.dialect == Numbered && ms < absolute {
		ms += d.lastMs
	}
	if !(ms >= 0 && ms < 1e14) {
		return false
	}
	d.lastMs = ms
	e.AtUs = int64(math.Round(ms * 1000))
	return true
}

func (d *Decoder) dispatch(e *Event, value gjson.Result, extra []gjson.Result) error {
	switch e.Method {
	case "getStats":
		if value.IsObject() {
			d.value = append(d.value[:0], value.Raw...)
			return d.stats(e, d.value)
		}
	case "create":
		if e.PC == "" && d.dialect == Numbered {
			e.Prompt = true // the page connects in the same moment
			return nil
		}
		if e.PC != "" {
			d.forget(e.PC)
		}
	case "websocket":
		e.Prompt = true // comes when the backlog is through
	case "close":
		if e.PC != "" {
			d.forget(e.PC)
		}
	case "addTrack":
		d.sends(e.PC, value)
	case "addTransceiver":
		d.sends(e.PC, value.Get("0"))
	case "replaceTrack":
		d.replaced(e.PC, value.Get("0"), value.Get("1"))
	case "MediaStreamTrack.enabled":
		if len(extra) > 0 && value.IsBool() && extra[0].Type == gjson.String && len(extra[0].Str) <= maxName {
			if _, ok := d.enabled[extra[0].Str]; ok || len(d.enabled) < maxTracks {
				d.enabled[extra[0].Str] = value.Bool()
			}
		}
	case "identity":
		d.identity(e, value)
	case "constraints":
		if d.dialect == Named {
			d.constraints(e, value)
		}
	case ":rating", ":userRating":
		rating(e, value)
	}
	return nil
}

// stats takes the changes of a getStats().
func (d *Decoder) stats(e *Event, delta []byte) error {
	p := d.peer(e.PC)
	e.PC = p.id
	full, err := p.stats.Apply(delta, changes[d.dialect], &d.room)
	if err != nil {
		return ErrJSON
	}
	e.Kind, e.Statistics, e.Full = Stats, &p.stats, full
	for _, track := range p.tracks {
		if on, ok := d.enabled[track]; ok {
			e.HasMuted = true
			e.Muted = !on
			if on {
				break
			}
		}
	}
	return nil
}

// peer finds or makes a peer connection.
func (d *Decoder) peer(id string) *peer {
	p := d.peers[id]
	if p == nil {
		if len(d.peers) >= maxPeers {
			oldest := ""
			for other, q := range d.peers {
				if o := d.peers[oldest]; o == nil || q.used < o.used {
					oldest = other
				}
			}
			d.forget(oldest)
		}
		p = &peer{id: strings.Clone(id)}
		d.peers[p.id] = p
	}
	p.used = d.clock
	return p
}

func (d *Decoder) forget(id string) {
	if p := d.peers[id]; p != nil {
		p.stats.Free(&d.room)
		delete(d.peers, id)
	}
}

// sends notes a track [kind, id, label, …] that a peer connection sends.
func (d *Decoder) sends(pc string, track gjson.Result) {
	if pc == "" || !track.IsArray() || track.Get("0").Str != "audio" {
		return
	}
	id := track.Get("1").Str
	p := d.peer(pc)
	if id == "" || len(id) > maxName || len(p.tracks) >= maxTracks {
		return
	}
	for _, known := range p.tracks {
		if known == id {
			return
		}
	}
	p.tracks = append(p.tracks, strings.Clone(id))
}

func (d *Decoder) replaced(pc string, before, after gjson.Result) {
	if p := d.peers[pc]; p != nil {
		id := before.Get("1").Str
		for i, known := range p.tracks {
			if known == id {
				p.tracks = append(p.tracks[:i], p.tracks[i+1:]...)
				break
			}
		}
	}
	d.sends(pc, after)
}

// text is a member of an object as bounded text.
func text(o gjson.Result, names ...string) string {
	for _, name := range names {
		if v := o.Get(name); v.Type == gjson.String && v.Str != "" && len(v.Str) <= maxName {
			return strings.Clone(v.Str)
		} else if v.Type == gjson.Number && len(v.Raw) <= maxName {
			return strings.Clone(v.Raw)
		}
	}
	return ""
}

func (d *Decoder) identity(e *Event, value gjson.Result) {
	if !value.IsObject() {
		return
	}
	e.Kind = Identified
	if d.dialect != Jitsi {
		e.User, e.Conference = text(value, "user"), text(value, "conference")
		return
	}
	e.User, e.Name, e.Device = text(value, "userId"), text(value, "displayName"), text(value, "deviceId")
	// A room may hold a meeting every week; each has an id of its own.
	e.Conference = text(value, "meetingUniqueId")
}

// constraints of rtcstats 1 and 2 may say who calls: members of the optional
// constraints of RTCPeerConnection.
func (d *Decoder) constraints(e *Event, value gjson.Result) {
	for _, o := range value.Get("optional").Array() {
		if v := text(o, "rtcStatsClientId"); v != "" {
			e.User = v
		}
		if v := text(o, "rtcStatsConferenceId"); v != "" {
			e.Conference = v
		}
	}
	if e.User != "" || e.Conference != "" {
		e.Kind = Identified
	}
}

// rating reads a custom event of the page: a number, or an object with one.
func rating(e *Event, value gjson.Result) {
	n := value
	if value.IsObject() {
		for _, name := range []string{"rating", "stars", "score"} {
			if v := value.Get(name); v.Exists() {
				n = v
				break
			}
		}
		for _, name := range []string{"text", "comment", "feedback"} {
			if v := value.Get(name); v.Type == gjson.String && len(v.Str) <= maxValue {
				e.Text = strings.Clone(v.Str)
				break
			}
		}
	}
	if n.Type == gjson.Number && n.Num >= 1 && n.Num <= 5 && n.Num == math.Trunc(n.Num) {
		e.Kind, e.Rating = Rated, uint32(n.Num)
	}
}

// Label is the method as counters may have it.
func (e *Event) Label() string {
	switch {
	case known[e.Method] || e.Method == "keepalive":
		return e.Method
	case strings.HasPrefix(e.Method, ":"):
		return "custom"
	default:
		return "unknown"
	}
}
