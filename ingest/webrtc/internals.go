package webrtc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// ErrInternals is a dump of chrome://webrtc-internals that cannot be read.
var ErrInternals = errors.New("webrtc: no dump of chrome://webrtc-internals")

// maxInternals bounds a dump, unpacked, in bytes; it is held in memory.
const maxInternals = 256 << 20

// IsInternals says whether a file that begins with head is a dump of
// chrome://webrtc-internals.
func IsInternals(head []byte) bool {
	c, i := token(head, 0)
	if c != '{' {
		return false
	}
	for more := true; more; {
		c, start := token(head, i+1)
		if c != '"' {
			return false
		}
		end, _, err := stringEnd(head, start)
		if err != nil {
			return false
		}
		switch alias(head[start+1 : end-1]) {
		case "PeerConnections", "getUserMedia":
			return true
		}
		if i, err = colon(head, end); err != nil {
			return false
		}
		if i, err = skip(head, i, 1); err != nil {
			return false
		}
		if i, more, err = comma(head, i, '}'); err != nil {
			return false
		}
		i--
	}
	return false
}

// Internals is what a dump of chrome://webrtc-internals says of its peer connections.
type Internals struct {
	// Peers in the order in which they were made. Those without statistics are left out.
	Peers []*InternalsPeer
	// Damaged is how many series could not be read.
	Damaged int
}

// InternalsPeer is a peer connection: getStats() about once a second, of which
// Chrome keeps the last thousand.
type InternalsPeer struct {
	ID  string // process and number: "8-1"
	URL string // of the page
	// Sends and Receives are the SSRCs of audio streams.
	Sends, Receives []uint32

	polls   []int64 // Unix microseconds
	reports []internalsReport
}

type internalsReport struct {
	id, typ string
	members []internalsMember
}

// internalsMember is what a member was in polls first, first+1, …; where it
// was not always there, at says when instead.
type internalsMember struct {
	name   string
	values []json.RawMessage
	at     []int // index of polls
}

// Polls is how many getStats() results there are.
func (p *InternalsPeer) Polls() int { return len(p.polls) }

// AtUs is when poll number n was made, Unix microseconds.
func (p *InternalsPeer) AtUs(n int) int64 { return p.polls[n] }

// Stats is what getStats() gave in poll number n, as far as it is used: JSON, an
// object of RTCStats by id.
func (p *InternalsPeer) Stats(n int) []byte {
	out := []byte{'{'}
	for i := range p.reports {
		r := &p.reports[i]
		mark := len(out)
		if mark > 1 {
			out = append(out, ',')
		}
		out = appendText(out, r.id)
		out = append(out, `:{"type":`...)
		out = appendText(out, r.typ)
		any := false
		for k := range r.members {
			m := &r.members[k]
			at, ok := slices.BinarySearch(m.at, n)
			if !ok {
				continue
			}
			any = true
			out = append(out, ',')
			out = appendText(out, m.name)
			out = append(append(out, ':'), m.values[at]...)
		}
		if out = append(out, '}'); !any {
			out = out[:mark]
		}
	}
	return append(out, '}')
}

func appendText(out []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return append(out, `""`...) // no string fails
	}
	return append(out, b...)
}

// internalsSeries is one member of one object over time, as it is in the file.
type internalsSeries struct {
	StartTime internalsTime   `json:"startTime"`
	EndTime   internalsTime   `json:"endTime"`
	StatsType string          `json:"statsType"`
	Values    json.RawMessage `json:"values"` // an array, or a string of one
}

// internalsTime is ISO 8601 or Unix milliseconds, as Unix microseconds; 0: unknown.
type internalsTime int64

func (t *internalsTime) UnmarshalJSON(b []byte) error {
	var s Stats
	us, _, err := s.timestamp(b, 0, 0)
	*t = internalsTime(us)
	return err
}

func (s *internalsSeries) values() ([]json.RawMessage, error) {
	text := []byte(s.Values)
	if len(text) > 0 && text[0] == '"' {
		var inner string
		if err := json.Unmarshal(text, &inner); err != nil {
			return nil, err
		}
		text = []byte(inner)
	}
	var values []json.RawMessage
	err := json.Unmarshal(text, &values)
	return values, err
}

// ReadInternals reads a dump, already unpacked, of any Chrome: the series of the
// W3C statistics, of the goog* statistics of before, or of both, of which the
// latter are then left out. The error wraps ErrInternals.
func ReadInternals(r io.Reader) (*Internals, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInternals+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxInternals:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrInternals, maxInternals)
	}
	var file struct {
		PeerConnections map[string]struct {
			URL   string                     `json:"url"`
			Stats map[string]json.RawMessage `json:"stats"`
		} `json:"PeerConnections"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInternals, err)
	}
	dump := &Internals{}
	for id, pc := range file.PeerConnections {
		peer := &InternalsPeer{ID: id, URL: pc.URL}
		if dump.Damaged += peer.read(pc.Stats); len(peer.polls) > 0 {
			dump.Peers = append(dump.Peers, peer)
		}
	}
	// The number of a peer connection grows: the first one made comes first.
	slices.SortFunc(dump.Peers, func(a, b *InternalsPeer) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return dump, nil
}

// rawReport is an object of statistics with the series that are used.
type rawReport struct {
	typ     string
	members map[string]*rawMember
}

type rawMember struct {
	start, end int64 // Unix microseconds
	values     []json.RawMessage
}

func (p *InternalsPeer) read(stats map[string]json.RawMessage) (damaged int) {
	raws := map[string]*rawReport{}
	for key, raw := range stats {
		// "<id>-<member>"; what Chrome has computed is in brackets.
		cut := strings.LastIndexByte(key, '-')
		if cut <= 0 || strings.HasSuffix(key, "]") {
			continue
		}
		id, name := key[:cut], key[cut+1:]
		if table.find([]byte(name), 0, len(name)) == nil || name == "id" {
			continue
		}
		var series internalsSeries
		if err := json.Unmarshal(raw, &series); err != nil {
			damaged++
			continue
		}
		values, err := series.values()
		if err != nil || series.StartTime == 0 || series.EndTime < series.StartTime {
			damaged++
			continue
		}
		if len(values) == 0 {
			continue
		}
		r := raws[id]
		if r == nil {
			r = &rawReport{typ: cmp.Or(series.StatsType, legacyType(id)), members: map[string]*rawMember{}}
			raws[id] = r
		}
		r.members[name] = &rawMember{int64(series.StartTime), int64(series.EndTime), values}
	}
	leaveOutLegacy(raws)
	p.findPolls(raws)
	for _, id := range sortedKeys(raws) {
		p.place(id, raws[id])
	}
	return damaged
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// legacyType is the type of an object in dumps that do not name it.
func legacyType(id string) string {
	switch {
	case strings.HasPrefix(id, "ssrc_"):
		return "ssrc"
	case strings.HasPrefix(id, "Conn-"):
		return "googCandidatePair"
	default:
		return ""
	}
}

// leaveOutLegacy drops goog* objects where there are the others too: they are
// the same streams.
func leaveOutLegacy(raws map[string]*rawReport) {
	modern := false
	for _, r := range raws {
		t := typeOf(r.typ)
		modern = modern || t == typeInbound || t == typeOutbound
	}
	for id, r := range raws {
		if t := typeOf(r.typ); t == typeIgnored || modern && (t == typeSSRC || t == typeGoogPair) {
			delete(raws, id)
		}
	}
}

// remote says whether an object is as old as the report of the other end that it
// is made from, and not of the time when it was asked for.
func (r *rawReport) remote() bool {
	t := typeOf(r.typ)
	return t == typeRemoteInbound || t == typeRemoteOutbound
}

// times are when the values of a member were taken: by the object's timestamps
// where they fit, else at equal distances.
func (r *rawReport) times(m *rawMember) []int64 {
	times := make([]int64, len(m.values))
	if t := r.members["timestamp"]; t != nil && len(t.values) == len(m.values) && t.start == m.start {
		var s Stats
		whole := true
		for i, v := range t.values {
			us, _, err := s.timestamp(append([]byte(nil), v...), 0, 0)
			times[i] = us
			whole = whole && err == nil && us != 0
		}
		if whole {
			return times
		}
	}
	for i := range times {
		times[i] = m.start
		if n := len(times) - 1; n > 0 {
			times[i] += int64(math.Round(float64(m.end-m.start) * float64(i) / float64(n)))
		}
	}
	return times
}

// pollGap is how far apart times of one poll may be. Polls are a second apart.
const pollGap = 300 * time.Millisecond

// findPolls finds out when getStats() was called.
func (p *InternalsPeer) findPolls(raws map[string]*rawReport) {
	var all []int64
	for _, r := range raws {
		if r.remote() {
			continue
		}
		seen := map[[2]int64]bool{} // most members have the same times
		for _, name := range sortedKeys(r.members) {
			m := r.members[name]
			if span := [2]int64{m.start, int64(len(m.values))}; !seen[span] {
				seen[span] = true
				all = append(all, r.times(m)...)
			}
		}
	}
	slices.Sort(all)
	for i, at := range all {
		if i == 0 || at-all[i-1] > pollGap.Microseconds() {
			p.polls = append(p.polls, at)
			continue
		}
		p.polls[len(p.polls)-1] = at
	}
}

// place says for each value of an object which poll it belongs to.
func (p *InternalsPeer) place(id string, r *rawReport) {
	if len(p.polls) == 0 {
		return
	}
	report := internalsReport{id: id, typ: r.typ}
	for _, name := range sortedKeys(r.members) {
		m := r.members[name]
		if name == "type" {
			continue
		}
		var at []int
		if r.remote() {
			at = p.following(m)
		} else {
			at = p.nearest(r.times(m))
		}
		report.members = append(report.members, internalsMember{name, m.values[:len(at)], at})
	}
	p.reports = append(p.reports, report)
	p.note(r)
}

// nearest gives the polls that are nearest to times, each once.
func (p *InternalsPeer) nearest(times []int64) []int {
	at := make([]int, 0, len(times))
	for _, t := range times {
		i, _ := slices.BinarySearch(p.polls, t)
		if i == len(p.polls) || i > 0 && t-p.polls[i-1] < p.polls[i]-t {
			i--
		}
		if n := len(at); n > 0 && i <= at[n-1] {
			i = at[n-1] + 1
		}
		if i >= len(p.polls) {
			break
		}
		at = append(at, i)
	}
	return at
}

// remoteAge is how old the last report of the other end may be while it is still
// shown: RTCP comes every 5 s, or less often.
const remoteAge = 15 * time.Second

// following gives the polls of a remote object's member: once it is there, it is
// in every poll, with the time of the report that it is from. Of a stream that
// goes on to the end the last value is of the last poll.
func (p *InternalsPeer) following(m *rawMember) []int {
	n, last := min(len(m.values), len(p.polls)), len(p.polls)
	first := last - n
	if p.polls[last-1]-m.end > remoteAge.Microseconds() {
		i, _ := slices.BinarySearch(p.polls, m.start)
		first = min(i, first)
	}
	at := make([]int, n)
	for i := range at {
		at[i] = first + i
	}
	return at
}

// note takes the SSRC of an audio stream.
func (p *InternalsPeer) note(r *rawReport) {
	m := r.members["ssrc"]
	if m == nil {
		return
	}
	for _, kind := range []string{"kind", "mediaType"} {
		if k := r.members[kind]; k != nil && string(k.values[0]) != `"audio"` {
			return
		}
	}
	var s Stats
	v, ok, _, err := s.number(m.values[len(m.values)-1], 0, 0)
	if err != nil || !ok || v < 0 || v > math.MaxUint32 {
		return
	}
	switch typeOf(r.typ) {
	case typeInbound:
		p.Receives = append(p.Receives, uint32(v))
	case typeOutbound:
		p.Sends = append(p.Sends, uint32(v))
	case typeSSRC:
		if r.members["packetsSent"] != nil {
			p.Sends = append(p.Sends, uint32(v))
		} else {
			p.Receives = append(p.Receives, uint32(v))
		}
	}
}
