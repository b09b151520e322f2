package ingest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// Why the dialog of one Call-ID belongs to the call of another, the surest first.
const (
	LinkedByEvent   = "event"      // the platform said so
	LinkedBySession = "session_id" // RFC 7989
	LinkedByHeader  = "header"     // a header that a back-to-back user agent copies or adds
	LinkedByGuess   = "guess"      // time, host and numbers
)

// linkReasons are the reasons, in the order of trust.
var linkReasons = [...]string{LinkedByEvent, LinkedBySession, LinkedByHeader, LinkedByGuess}

// linkConfidence says how far a reason can be trusted, 0–1.
func linkConfidence(by string) float64 {
	switch by {
	case LinkedByEvent:
		return 1
	case LinkedBySession:
		return 0.95
	case LinkedByHeader:
		return 0.9
	case LinkedByGuess:
		return 0.5
	}
	return 0
}

// leg is one Call-ID of a call, or the id that a platform gave it. A
// back-to-back user agent (RFC 3261 §6) makes one call of several dialogs, each
// with a Call-ID of its own.
type leg struct {
	company, id string
	group       *group
	by          string   // why it is in the group; empty: the group is named after it
	keys        []string // that the linker's index may hold for it
	sessions    [2]string
	nextSession uint8
	hops        []hop // on which its first request was seen
	over, gone  bool
	alias       bool // the platform's id, no leg of its own
	firstHop    [1]hop
}

type hop struct{ src, dst netip.AddrPort }

// group is the legs of one call.
type group struct {
	key    string
	legs   int
	merged *group // into which it went

	// Of a capture that is read twice: its first leg, and how many calls began
	// before it.
	first *leg
	order int
}

func (g *group) root() *group {
	for g.merged != nil {
		g = g.merged
	}
	return g
}

type linkKey struct{ company, key string }

// maxHops bounds the hops of a first request that are remembered, maxGuesses the
// first requests.
// maxAtOnce is from how many on, with the same numbers at the same host, nothing
// can be guessed; looking through more would only cost time.
const (
	maxHops    = 8
	maxGuesses = 100_000
	maxAtOnce  = 8
)

// linker recognises legs of the same call. Like the Correlator it knows no
// clock and is not safe for concurrent use. Companies are never linked with
// each other.
type linker struct {
	cfg   CorrelationConfig
	index map[linkKey]*leg
	// guesses holds the first requests of the last seconds, by the host that
	// got or sent one and its two numbers.
	guesses map[linkKey]*encounter
	recent  queue[recentGuess]
	// lookup gives the leg of a Call-ID.
	lookup func(company, callID string) *leg

	headerSizes   uint32 // a bit for each length of a configured header's name
	numbers, text []byte // scratch of read

	linked    [len(linkReasons)]uint64
	late      uint64 // recognised when both had records
	ambiguous uint64 // guesses not made, there being several candidates
	refused   uint64 // links not made, the call having too many legs
}

// encounter is what one host got and sent about the same two numbers.
type encounter struct {
	got, sent []guess
	room      [1]guess // of whichever came first, most often the only one
}

type guess struct {
	leg      *leg
	atUs     int64
	src, dst netip.AddrPort // of the request
}

type recentGuess struct {
	key  linkKey
	atUs int64
}

func newLinker(cfg CorrelationConfig, lookup func(company, callID string) *leg) *linker {
	headers := make([]string, len(cfg.Headers))
	for i, h := range cfg.Headers {
		headers[i] = strings.ToLower(strings.TrimSpace(h))
	}
	cfg.Headers = headers
	k := &linker{cfg: cfg, index: map[linkKey]*leg{}, guesses: map[linkKey]*encounter{}, lookup: lookup}
	for _, h := range headers {
		k.headerSizes |= 1 << (len(h) % 32)
	}
	return k
}

// sessionUUIDs reads a Session-ID (RFC 7989 §5) or its older form without the
// remote half (RFC 7329 §5). A nil UUID is empty.
func sessionUUIDs(value string) (local, remote string) {
	first, params, _ := strings.Cut(value, ";")
	local = sessionUUID(first)
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		if name, v, ok := strings.Cut(param, "="); ok && strings.EqualFold(strings.TrimSpace(name), "remote") {
			remote = sessionUUID(v)
		}
	}
	return local, remote
}

func sessionUUID(s string) string {
	s = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if len(s) != 32 || strings.Trim(s, "0") == "" || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

// sessionKey is the same for both ends of a session: its UUIDs are a set. As
// long as the far end is not known it is that of the caller alone. A UUID alone
// is no key later on: a conference has the same one in all its sessions
// (RFC 7989 §9).
func sessionKey(value string) string {
	local, remote := sessionUUIDs(value)
	switch {
	case local == "":
		local = remote
		remote = ""
	case remote != "" && remote < local:
		local, remote = remote, local
	}
	if local == "" {
		return ""
	}
	return "s:" + local + "," + remote
}

// shortestValue is the least length at which the same value of a header is no
// coincidence, longestValue the most that is kept of one, in bytes.
const (
	shortestValue = 8
	longestValue  = 256
)

// headerKeys lists what the configured headers of a message say: a Call-ID that
// is another leg's, or a value that another leg may have too.
func (k *linker) headerKeys(raw []byte) (keys []string) {
	if len(k.cfg.Headers) == 0 {
		return nil
	}
	for name, value := range sip.Headers(raw) {
		if k.headerSizes>>(len(name)%32)&1 == 0 {
			continue // most are told by their length
		}
		i := slices.IndexFunc(k.cfg.Headers, func(h string) bool { return strings.EqualFold(h, name) })
		if i < 0 {
			continue
		}
		if k.cfg.Headers[i] == "p-charging-vector" { // RFC 7315 §4.6
			_, value, _ = strings.Cut(value, "icid-value=")
			value, _, _ = strings.Cut(value, ";")
		}
		value = validText(strings.Trim(value, " \t\""))
		if value == "" || len(value) > longestValue {
			continue
		}
		keys = append(keys, "c:"+value)
		if len(value) >= shortestValue {
			keys = append(keys, "h:"+k.cfg.Headers[i]+":"+value)
		}
	}
	return keys
}

// suffixKeys adds what a Call-ID itself says: some servers make that of the next
// leg by adding to it.
func (k *linker) suffixKeys(keys []string, callID string) []string {
	for i := 0; i < len(k.cfg.CallIDSuffixes); i++ {
		if shorter, ok := strings.CutSuffix(callID, k.cfg.CallIDSuffixes[i]); ok && shorter != "" && shorter != callID {
			keys = append(keys, "c:"+shorter)
			callID, i = shorter, -1 // a chain adds one to the other
		}
	}
	return keys
}

// first says whether a message is a request that opens a dialog.
func first(m *telemetry.SIPMessage) bool {
	return m.Method == "INVITE" && m.Status == 0 && m.GetTo().GetTag() == ""
}

// appendNumberKey makes the same of a number however it is written: its last
// nine digits; of shorter ones and of names all.
func appendNumberKey(dst []byte, user string) []byte {
	if i := strings.IndexByte(user, ';'); i >= 0 {
		user = user[:i]
	}
	at := len(dst)
	for i := range len(user) {
		switch b := user[i]; {
		case b >= '0' && b <= '9':
			dst = append(dst, b)
		case strings.IndexByte("+-.() ", b) < 0:
			return append(dst[:at], strings.ToLower(user)...)
		}
	}
	if extra := len(dst) - at - 9; extra > 0 {
		dst = append(dst[:at], dst[at+extra:]...)
	}
	return dst
}

// clues are what a message says that other legs may say too.
type clues struct {
	session string   // key; empty: none, or one that the leg had before
	headers []string // keys

	// got and sent are for other ingesters, gotKey and sentKey the part of them
	// under which a first request is remembered at the host that got it and looked
	// for at the host that sent it; empty where it tells nobody, or nothing new.
	got, sent, gotKey, sentKey string
	src, dst                   netip.AddrPort
}

// read gives the clues of a message of a leg. Headers and who sent it only count
// in the first one.
func (k *linker) read(l *leg, m *telemetry.SIPMessage, introduced bool) (c clues) {
	if k.cfg.SessionID && l.newSession(m.SessionId) {
		c.session = sessionKey(m.SessionId)
	}
	if introduced {
		c.headers = k.suffixKeys(k.headerKeys(m.Raw), l.id)
	}
	if k.cfg.Guess && first(m) {
		k.readGuess(l, m, introduced, &c)
	}
	return c
}

func (l *leg) newSession(id string) bool {
	return id != "" && id != l.sessions[0] && id != l.sessions[1]
}

// readGuess reads from where and to where a first request went, and its numbers.
// Only where a host speaks to itself do ports tell programs apart.
func (k *linker) readGuess(l *leg, m *telemetry.SIPMessage, introduced bool, c *clues) {
	src, errSrc := netip.ParseAddrPort(m.Src)
	dst, errDst := netip.ParseAddrPort(m.Dst)
	if errSrc != nil || errDst != nil || len(l.hops) == maxHops || slices.Contains(l.hops, hop{src, dst}) {
		return
	}
	b := append(k.numbers[:0], '|')
	b = appendNumberKey(b, m.GetFrom().GetUser())
	switch string(b[1:]) {
	case "", "anonymous", "unknown", "restricted", "unavailable", "asterisk":
		return
	}
	b = append(b, '|')
	to := len(b)
	b = appendNumberKey(b, m.GetTo().GetUser())
	k.numbers = b
	if len(b) == to {
		return
	}
	c.src, c.dst = src, dst
	t := append(k.text[:0], "gotg:"...)
	t = append(dst.Addr().Unmap().AppendTo(t), b...)
	end := len(t)
	t = src.AppendTo(append(dst.AppendTo(append(t, '|')), '|'))
	c.got = string(t)
	c.gotKey = c.got[len("got"):end]
	if introduced {
		t = append(t[:0], "sentg:"...)
		t = append(src.Addr().Unmap().AppendTo(t), b...)
		end = len(t)
		t = src.AppendTo(append(t, '|'))
		c.sent = string(t)
		c.sentKey = c.sent[len("sent"):end]
	}
	k.text = t
}

// same says whether the program that got a request at one address may be the
// one that sent another from there.
func same(got, sender, sent netip.AddrPort) bool {
	if sender.Addr() == got.Addr() {
		return got == sent && sender != sent
	}
	return got.Addr() == sent.Addr()
}

// find gives the leg whose call a new leg belongs to, by its first message.
func (k *linker) find(l *leg, c *clues, nowUs int64) (other *leg, by string) {
	if other := k.held(l, c.session); other != nil {
		return other, LinkedBySession
	}
	for _, key := range c.headers {
		if id, ok := strings.CutPrefix(key, "c:"); ok {
			if other := k.lookup(l.company, id); other != nil && other != l && !other.gone {
				return other, LinkedByHeader
			}
			continue
		}
		if other := k.held(l, key); other != nil {
			return other, LinkedByHeader
		}
	}
	if other := k.named(l); other != nil {
		return other, LinkedByHeader
	}
	if c.sent != "" {
		if other := k.met(l, linkKey{l.company, c.sentKey}, c.src, nowUs); other != nil {
			return other, LinkedByGuess
		}
	}
	return nil, ""
}

// named gives the leg that named this one in a header.
func (k *linker) named(l *leg) *leg {
	if len(k.index) == 0 {
		return nil
	}
	k.text = append(append(k.text[:0], "c:"...), l.id...)
	other := k.index[linkKey{l.company, aliasText(k.text)}]
	if other == nil || other == l || other.gone {
		return nil
	}
	return other
}

func (k *linker) held(l *leg, key string) *leg {
	if key == "" {
		return nil
	}
	if other := k.index[linkKey{l.company, key}]; other != nil && other != l && !other.gone {
		return other
	}
	return nil
}

// met gives the one call of which a host got a request shortly before it sent
// that of leg l. A host that passed the request on with its Call-ID is a proxy
// for that call, and one that is over made no other.
func (k *linker) met(l *leg, key linkKey, src netip.AddrPort, nowUs int64) (found *leg) {
	e := k.guesses[key]
	if e == nil {
		return nil
	}
	if len(e.got) == maxAtOnce {
		k.ambiguous++
		return nil
	}
	for _, g := range e.got {
		if g.leg == l || g.leg.gone || g.leg.over || abs(nowUs-g.atUs) > k.cfg.GuessWithin.Microseconds() ||
			g.leg.sentBy(src) || !same(g.dst, g.src, src) {
			continue
		}
		if found != nil && found.group.root() != g.leg.group.root() {
			k.ambiguous++
			return nil
		}
		if found == nil {
			found = g.leg
		}
	}
	return found
}

// sentBy says whether a host sent the leg's own first request on any hop. Where
// all is on one host, ports tell programs apart.
func (l *leg) sentBy(src netip.AddrPort) bool {
	for _, h := range l.hops {
		if h.src == src || h.src.Addr() == src.Addr() && l.hops[0].src.Addr() != src.Addr() {
			return true
		}
	}
	return false
}

// join makes a leg without records of its own part of another's call. It
// reports whether it did.
func (k *linker) join(l, other *leg, by string) bool {
	g := other.group.root()
	if g.legs >= k.cfg.Legs {
		k.refused++
		return false
	}
	g.legs++
	l.group, l.by = g, by
	k.linked[slices.Index(linkReasons[:], by)]++
	return true
}

// merge makes two calls one, named after the one that began first. Only where
// nothing was written yet: before the second reading of a capture.
func (k *linker) merge(one, other *leg, by string) {
	a, b := one.group.root(), other.group.root()
	if b.order < a.order {
		a, b = b, a
	}
	if a == b || a.legs+b.legs > k.cfg.Legs {
		return
	}
	a.legs += b.legs
	b.merged = a
	if b.first.by == "" {
		b.first.by = by
	}
}

// clash is a leg of another call that turns out to belong to this one.
type clash struct {
	leg *leg
	by  string
}

// note remembers what a message of a leg says that other legs may say too. It
// returns what of it is new, for other ingesters, and the legs of other calls
// that had said it before.
func (k *linker) note(l *leg, m *telemetry.SIPMessage, c *clues, nowUs int64) (fresh []string, clashes []clash) {
	if k.cfg.SessionID && l.newSession(m.SessionId) {
		l.sessions[l.nextSession] = strings.Clone(m.SessionId)
		l.nextSession = 1 - l.nextSession
		if c.session != "" {
			fresh, clashes = k.hold(l, c.session, fresh, clashes)
		}
	}
	for _, key := range c.headers {
		fresh, clashes = k.hold(l, key, fresh, clashes)
	}
	if c.got != "" {
		fresh, clashes = k.encounter(l, c, nowUs, fresh, clashes)
	}
	return fresh, clashes
}

func (k *linker) hold(l *leg, key string, fresh []string, clashes []clash) ([]string, []clash) {
	at := linkKey{l.company, key}
	if id, ok := strings.CutPrefix(key, "c:"); ok {
		if other := k.lookup(l.company, id); other != nil && other.group.root() != l.group.root() {
			clashes = append(clashes, clash{other, LinkedByHeader})
		}
	}
	switch held := k.index[at]; {
	case held == l:
		return fresh, clashes
	case held == nil || held.gone:
		k.index[at] = l
		l.keys = append(l.keys, key)
	case held.group.root() == l.group.root():
		for _, guessed := range []*leg{l, held} {
			if guessed.by == LinkedByGuess {
				guessed.by = reasonOfKey(key) // now it is more than that
			}
		}
	case strings.HasPrefix(key, "c:"):
		// Two that name the same Call-ID: their values say so, if they are long enough.
	default:
		clashes = append(clashes, clash{held, reasonOfKey(key)})
	}
	return append(fresh, key), clashes
}

func reasonOfKey(key string) string {
	if strings.HasPrefix(key, "s:") {
		return LinkedBySession
	}
	return LinkedByHeader
}

// encounter takes note of a first request at the host that sent it and at the
// one that got it.
func (k *linker) encounter(l *leg, c *clues, nowUs int64, fresh []string, clashes []clash) ([]string, []clash) {
	if l.hops == nil {
		l.hops = l.firstHop[:0]
	}
	l.hops = append(l.hops, hop{c.src, c.dst})
	if c.sent != "" {
		e := k.remember(linkKey{l.company, c.sentKey}, nowUs)
		if e.got == nil && e.sent == nil {
			e.sent = e.room[:0]
		}
		e.sent = append(e.sent[max(len(e.sent)-maxAtOnce+1, 0):], guess{l, nowUs, c.src, c.dst})
		fresh = append(slices.Grow(fresh, 2), c.sent)
	}
	fresh = append(fresh, c.got)
	return fresh, k.got(l, linkKey{l.company, c.gotKey}, c.src, c.dst, nowUs, clashes)
}

func (k *linker) remember(key linkKey, nowUs int64) *encounter {
	for k.recent.len() >= maxGuesses {
		k.dropRecent()
	}
	e := k.guesses[key]
	if e == nil {
		e = &encounter{}
		k.guesses[key] = e
	}
	k.recent.push(recentGuess{key, nowUs})
	return e
}

// got remembers that a host got a leg's request. Where the host's own request
// was seen first, the two are recognised now.
func (k *linker) got(l *leg, key linkKey, src, dst netip.AddrPort, nowUs int64, clashes []clash) []clash {
	e := k.remember(key, nowUs)
	if e.got == nil && e.sent == nil {
		e.got = e.room[:0]
	}
	if len(e.got) == maxAtOnce {
		e.got = append(e.got[:0], e.got[1:]...)
	}
	e.got = append(e.got, guess{l, nowUs, src, dst})
	var candidate *leg
	for _, s := range e.sent {
		if s.leg == l || s.leg.gone || s.leg.group.root() == l.group.root() || l.sentBy(s.src) ||
			abs(nowUs-s.atUs) > k.cfg.GuessWithin.Microseconds() || !same(dst, src, s.src) {
			continue
		}
		if k.met(s.leg, key, s.src, s.atUs) == l {
			candidate = s.leg
		}
	}
	if candidate != nil {
		clashes = append(clashes, clash{candidate, LinkedByGuess})
	}
	return clashes
}

// learn takes the keys that another ingester found in messages of a leg.
func (k *linker) learn(l *leg, keys []string, atUs int64) (clashes []clash) {
	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, "s:") && k.cfg.SessionID, strings.HasPrefix(key, "h:"), strings.HasPrefix(key, "c:"):
			_, clashes = k.hold(l, key, nil, clashes)
		case strings.HasPrefix(key, "sentg:") && k.cfg.Guess:
			key, src, ok := cutLast(strings.TrimPrefix(key, "sent"))
			if !ok {
				continue
			}
			at := linkKey{l.company, key}
			e := k.remember(at, atUs)
			e.sent = append(e.sent[max(len(e.sent)-maxAtOnce+1, 0):], guess{leg: l, atUs: atUs, src: src})
			if other := k.met(l, at, src, atUs); other != nil && other.group.root() != l.group.root() {
				clashes = append(clashes, clash{other, LinkedByGuess})
			}
		case strings.HasPrefix(key, "gotg:") && k.cfg.Guess:
			rest, src, ok := cutLast(strings.TrimPrefix(key, "got"))
			if !ok {
				continue
			}
			key, dst, ok := cutLast(rest)
			if !ok || len(l.hops) == maxHops || slices.Contains(l.hops, hop{src, dst}) {
				continue
			}
			l.hops = append(l.hops, hop{src, dst})
			clashes = k.got(l, linkKey{l.company, key}, src, dst, atUs, clashes)
		}
	}
	return clashes
}

// cutLast cuts the address off the end of a key.
func cutLast(key string) (before string, address netip.AddrPort, ok bool) {
	i := strings.LastIndexByte(key, '|')
	if i < 0 {
		return "", address, false
	}
	address, err := netip.ParseAddrPort(key[i+1:])
	return key[:i], address, err == nil
}

func (k *linker) dropRecent() {
	old := k.recent.pop()
	e := k.guesses[old.key]
	if e == nil {
		return
	}
	past := func(g guess) bool { return g.atUs <= old.atUs }
	e.got, e.sent = slices.DeleteFunc(e.got, past), slices.DeleteFunc(e.sent, past)
	if len(e.got)+len(e.sent) == 0 {
		delete(k.guesses, old.key)
	}
}

// advance forgets the first requests of which nothing can be guessed any more.
// Those of other ingesters may come a little late.
func (k *linker) advance(nowUs int64) {
	keep := 2 * k.cfg.GuessWithin.Microseconds()
	for k.recent.len() > 0 && k.recent.front().atUs+keep < nowUs {
		k.dropRecent()
	}
}

func (k *linker) forget(l *leg) {
	l.gone = true
	for _, key := range l.keys {
		if at := (linkKey{l.company, key}); k.index[at] == l {
			delete(k.index, at)
		}
	}
	l.keys = nil
	if g := l.group.root(); g.legs > 0 && !l.alias {
		g.legs--
	}
}

// CorrelationConfig says how legs of a call are recognised.
type CorrelationConfig struct {
	Events    bool     `koanf:"events" doc:"link legs that call events name together"`
	SessionID bool     `koanf:"session_id" doc:"link legs by Session-ID (RFC 7989)"`
	Headers   []string `koanf:"headers" doc:"SIP headers that name another leg's Call-ID or have the same value in all legs"`
	// CallIDSuffixes are what servers add to the Call-ID of the leg before.
	CallIDSuffixes []string      `koanf:"call_id_suffixes" doc:"endings that servers add to a leg's Call-ID to make that of the next leg"`
	Guess          bool          `koanf:"guess" doc:"link legs by time, host and numbers where nothing else tells; labelled as a guess"`
	GuessWithin    time.Duration `koanf:"guess_within" doc:"how long after it got an INVITE a host may send one for the same numbers that is taken for the other leg"`
	Legs           int           `koanf:"legs" doc:"most legs of a call; more are calls of their own"`
}

func defaultCorrelation() CorrelationConfig {
	return CorrelationConfig{Events: true, SessionID: true, Headers: []string{"X-CID", "X-Call-ID", "X-Correlation-ID", "P-Charging-Vector"},
		CallIDSuffixes: []string{"_b2b-1", "_pbx-1"}, // Sipwise
		Guess:          true, GuessWithin: 3 * time.Second, Legs: 16}
}
