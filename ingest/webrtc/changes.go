package webrtc

import (
	"strconv"
	"strings"
	"unsafe"
)

// Room bounds the memory of a Stats that is told only what changes.
type Room interface {
	// Take takes n bytes and says whether there were that many.
	Take(n int) bool
	// Give gives n bytes back; below zero it takes them back again, which cannot
	// be refused.
	Give(n int)
}

// Changes is how a client tells what has changed since its last getStats().
type Changes struct {
	// With numbers (NumberedChanges) types and members have their index
	// for a name, and t is the timestamp: in an object its own, beside
	// them that of all. null in place of an object removes it. What RTCP reports
	// keeps its timestamp until RTCP has brought something.
	numbers []numbered
	types   []statType
	// Without, names come in full, timestamp beside the objects is that of all
	// that have 0, and Sweep says that what is not mentioned is gone; without,
	// only its timestamp has changed, except of what RTCP reports.
	Sweep bool
}

// numbered is a member that has a number.
type numbered struct {
	*member      // nil: it is not used
	known   bool // it has a name
	report  bool // it changes only when a sender report arrives
}

// NumberedChanges makes the Changes of a client that has numbers for names.
func NumberedChanges(types, names []string) *Changes {
	c := &Changes{types: make([]statType, len(types)), numbers: make([]numbered, len(names))}
	for i, name := range types {
		if name != "" {
			c.types[i] = typeOf(name)
		}
	}
	for i, name := range names {
		c.numbers[i] = numbered{
			member: table.find([]byte(name), 0, len(name)), known: name != "",
			report: name == "packetsSent" || name == "remoteTimestamp" || name == "reportsSent",
		}
	}
	return c
}

// numberOf reads the digits of an index below size.
func numberOf(b []byte, size int) (int, bool) {
	if len(b) == 0 || len(b) > 3 || b[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n < size
}

// change is what the newest changes did to an object.
type change struct {
	round   uint32 // of the changes that mentioned it last
	gone    bool
	ownTime bool // it has a timestamp of its own
	common  bool // it has that of all
	arrived bool // what RTCP carries has changed
}

// Bounds of what is kept of one object.
const (
	maxID      = 256
	maxText    = 1024
	objectSize = int(unsafe.Sizeof(stat{}))
)

func (st *stat) size() int {
	n := objectSize + len(st.id)
	for _, text := range st.texts {
		n += len(text)
	}
	return n
}

// Apply takes changes, all of b: a JSON object of objects by id. b may change
// afterwards. full says that some found no room and were left out. On an error
// the Stats is what it was.
func (s *Stats) Apply(b []byte, how *Changes, room Room) (full bool, err error) {
	s.arena = s.arena[:0]
	s.owned, s.how, s.room, s.full = true, how, room, false
	s.round++
	s.saved, s.before, s.usedBefore = s.saved[:0], len(s.list), s.used
	s.cursor, s.commonUs, s.hasCommon, s.removed = 0, 0, false, false
	i, err := s.changes(b)
	s.room = nil
	if err != nil {
		s.undo(room)
		return false, itemError(err, i, len(b))
	}
	s.settle(room)
	return s.full, nil
}

// Free forgets everything and gives back what it took.
func (s *Stats) Free(room Room) {
	room.Give(s.used)
	*s = Stats{Repairs: s.Repairs}
}

// Used is how many bytes of a Room are taken.
func (s *Stats) Used() int { return s.used }

func (s *Stats) undo(room Room) {
	s.list = s.list[:s.before]
	for _, old := range s.saved {
		s.list[old.index] = old.stat
	}
	room.Give(s.used - s.usedBefore)
	s.used = s.usedBefore
	clear(s.index)
}

// settle ends a round: what is gone is removed and the others have their timestamps.
func (s *Stats) settle(room Room) {
	left := s.list[:0]
	for i := range s.list {
		st := &s.list[i]
		mentioned := st.change.round == s.round
		if st.change.gone || s.how.Sweep && !mentioned {
			room.Give(st.size())
			s.used -= st.size()
			s.removed = true
			continue
		}
		remote := st.typ == typeRemoteInbound || st.typ == typeRemoteOutbound
		switch {
		case !s.hasCommon:
		case s.how.numbers != nil:
			if ownTime := mentioned && st.change.ownTime; !ownTime && (!remote || st.atUs == 0 || mentioned && st.change.arrived) {
				st.atUs = s.commonUs
			}
		case mentioned && st.change.common, !mentioned && !remote:
			st.atUs = s.commonUs
		}
		if len(left) < i {
			left = append(left, *st)
		} else {
			left = s.list[:i+1]
		}
	}
	clear(s.list[len(left):])
	s.list = left
	if s.removed {
		clear(s.index)
	}
}

// changes reads the object of objects.
func (s *Stats) changes(b []byte) (_ int, err error) {
	c, i := token(b, 0)
	if c != '{' {
		return i, errSyntax
	}
	c, i = token(b, i+1)
	if c == '}' {
		return s.end(b, i+1)
	}
	for more := true; more; {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		start := i + 1
		end, kind, err := stringEnd(b, i)
		if err != nil {
			return end, err
		}
		if i, err = colon(b, end); err != nil {
			return i, err
		}
		if i, err = s.changed(b, i, s.text(b[start:end-1], kind)); err != nil {
			return i, err
		}
		if i, more, err = comma(b, i, '}'); err != nil {
			return i, err
		}
	}
	return s.end(b, i)
}

func (s *Stats) end(b []byte, i int) (int, error) {
	if i = space(b, i); i < len(b) {
		return i, errSyntax
	}
	return i, nil
}

// changed reads what stands under one id.
func (s *Stats) changed(b []byte, i int, id string) (_ int, err error) {
	numbers := s.how.numbers != nil
	switch {
	case i < len(b) && b[i] == '{':
		return s.apply(b, i, id)
	case i < len(b) && b[i] == 'n' && numbers:
		if n := s.find(id); n >= 0 {
			s.touch(n).change.gone = true
		}
	case i < len(b) && (b[i] == '-' || b[i] >= '0' && b[i] <= '9') && (numbers && id == "t" || !numbers && id == "timestamp"):
		ms, ok, end, err := number(b, i)
		if s.hasCommon = true; ok {
			s.commonUs = epochMicros(ms)
		}
		return end, err
	}
	return skip(b, i, 1)
}

// find gives the index of an object, -1 if there is none. Objects mostly come in
// the same order each time.
func (s *Stats) find(id string) int {
	if s.cursor < len(s.list) && s.list[s.cursor].id == id {
		s.cursor++
		return s.cursor - 1
	}
	if st := s.byID(id); st != nil {
		n := int((uintptr(unsafe.Pointer(st)) - uintptr(unsafe.Pointer(&s.list[0]))) / unsafe.Sizeof(*st))
		s.cursor = n + 1
		return n
	}
	return -1
}

// touch keeps what an object was and gives it to be changed.
func (s *Stats) touch(n int) *stat {
	st := &s.list[n]
	if st.change.round != s.round {
		if n < s.before {
			s.saved = append(s.saved, savedStat{n, *st})
		}
		st.change = change{round: s.round}
	}
	return st
}

type savedStat struct {
	index int
	stat  stat
}

// apply reads the changes of one object. Of no use, it is not kept: what comes of
// it next is of no use either.
func (s *Stats) apply(b []byte, i int, id string) (_ int, err error) {
	if n := s.find(id); n >= 0 {
		st := s.touch(n)
		st.change.gone = false
		if i, err = s.changedMembers(b, i, st); err == nil && st.ignored() {
			st.change.gone = true
		}
		return i, err
	}
	st := s.add(id)
	st.change = change{round: s.round}
	s.owned = false // what it has is copied when it is to be kept
	i, err = s.changedMembers(b, i, st)
	s.owned = true
	if err != nil || st.typ == typeUnknown || st.ignored() || !s.keep(st) {
		s.list = s.list[:len(s.list)-1]
	}
	return i, err
}

// keep makes an object that was just read last.
func (s *Stats) keep(st *stat) bool {
	for n := range st.texts {
		if len(st.texts[n]) > maxText {
			st.texts[n], s.full = "", true
		}
	}
	size := st.size()
	if len(s.list) > MaxReports || len(st.id) > maxID || !s.room.Take(size) {
		s.full = true
		return false
	}
	s.used += size
	st.id = strings.Clone(st.id)
	for n, text := range st.texts {
		st.texts[n] = strings.Clone(text)
	}
	if len(s.index) > 0 {
		s.index[st.id] = len(s.list) - 1
	}
	s.cursor = len(s.list)
	return true
}

// setText gives an object that is kept a text.
func (s *Stats) setText(st *stat, index uint8, text string) {
	old := st.texts[index]
	if text == old {
		return
	}
	if len(text) > maxText {
		text, s.full = "", true
	}
	switch grown := len(text) - len(old); {
	case grown <= 0:
		s.room.Give(-grown)
	case !s.room.Take(grown):
		s.room.Give(len(old))
		text, s.full = "", true
	}
	s.used += len(text) - len(old)
	st.texts[index] = strings.Clone(text)
}

// changedMembers reads the members of an object that have changed, the last one
// of a name counts. An object that turns out to be of no use is passed over.
func (s *Stats) changedMembers(b []byte, i int, st *stat) (_ int, err error) {
	c, i := token(b, i+1)
	if c == '}' {
		return i + 1, nil
	}
	numbered, report := false, false
	for {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return i, errSyntax
		}
		start := i + 1
		end, kind, err := stringEnd(b, i)
		if err != nil {
			return end, err
		}
		name := b[start : end-1]
		if i, err = colon(b, end); err != nil {
			return i, err
		}
		var m *member
		switch n, ok := numberOf(name, len(s.how.numbers)); {
		case ok && s.how.numbers[n].known:
			m = s.how.numbers[n].member
			numbered, report = true, report || s.how.numbers[n].report
		case s.how.numbers != nil && len(name) == 1 && name[0] == 't':
			m, st.change.ownTime = timestampMember, true
		case kind&textEscaped != 0:
			name = unquote(nil, name)
			m = table.find(name, 0, len(name))
		default:
			m = table.find(b, start, end-1)
		}
		if m == nil || m.types>>st.typ&1 == 0 {
			i, err = skip(b, i, 2)
		} else {
			i, err = s.changedMember(b, i, st, m)
		}
		if err != nil {
			return i, err
		}
		more := false
		if i, more, err = comma(b, i, '}'); err != nil {
			return i, err
		}
		if more && m != nil && st.ignored() {
			return skipMembers(b, i, 1)
		}
		if !more {
			// A remote-outbound-rtp also changes with round trips that XR measures.
			st.change.arrived = st.change.arrived || report || numbered && st.typ != typeRemoteOutbound
			return i, nil
		}
	}
}

var timestampMember = table.find([]byte("timestamp"), 0, len("timestamp"))

func (s *Stats) changedMember(b []byte, i int, st *stat, m *member) (_ int, err error) {
	if i >= len(b) {
		return i, errSyntax
	}
	switch m.kind {
	case memberID:
		return skip(b, i, 2)
	case memberType:
		return s.changedType(b, i, st)
	case memberMedia:
		st.kind = kindUnsaid
	case memberTimestamp:
		if s.how.numbers == nil {
			st.change.common = b[i] == '0'
		}
	}
	return s.member(b, i, 1, st, m)
}

func (s *Stats) changedType(b []byte, i int, st *stat) (int, error) {
	name, end, err := s.textValue(b, i, 1)
	if err != nil || name == "" {
		return end, err
	}
	typ := typeOf(name)
	if c := b[i]; c >= '0' && c <= '9' {
		if n, err := strconv.Atoi(name); err == nil && n < len(s.how.types) {
			if typ = s.how.types[n]; typ == typeUnknown {
				typ = typeIgnored
			}
		}
	}
	if st.typ != typ {
		st.typ = typ
		st.has &= numsOf[typ]
	}
	return end, nil
}
