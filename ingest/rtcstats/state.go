package rtcstats

import (
	"strconv"
	"sync/atomic"

	"github.com/tidwall/gjson"
)

// Bounds of what is remembered of one peer connection beside the bytes.
const (
	maxPeers   = 64   // peer connections of one sender; the longest silent makes room
	maxReports = 4096 // of one peer connection
	maxMembers = 256  // of one report
	maxName    = 256  // of an id or a member, in bytes
	maxValue   = 4096 // of one member, in bytes; certificates are longer
	overhead   = 64   // of one member or report beside its bytes
)

// Budget bounds the memory that the base states of many senders take together.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a Budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) <= b.max {
		return true
	}
	b.used.Add(int64(-n))
	return false
}

// room is what one sender may take, of its own bound and of the budget of all.
type room struct {
	left int
	used int
	all  *Budget // may be nil
}

func (r *room) take(n int) bool {
	if n > r.left || r.all != nil && n > 0 && !r.all.take(n) {
		return false
	}
	if r.all != nil && n < 0 {
		r.all.used.Add(int64(n))
	}
	r.left -= n
	r.used += n
	return true
}

// base is what getStats() last gave on one peer connection: the state that the
// next difference is against. Values are kept as the JSON they came in.
type base struct {
	reports []report
	index   map[string]int // by id
	round   uint64         // of the newest difference
}

type report struct {
	id      string // as JSON, with quotes
	members []member
	typ     string
	round   uint64 // when it was last mentioned
	// Of the newest difference: it gave the report a timestamp of its own; it
	// changed what RTCP carries.
	ownTime, arrived bool
}

type member struct {
	name  string // as JSON, with quotes
	value []byte // JSON
}

const timestampName = `"timestamp"`

// report finds or makes a report.
func (b *base) report(id string, room *room) (*report, error) {
	if i, ok := b.index[id]; ok {
		return &b.reports[i], nil
	}
	if len(b.reports) >= maxReports || len(id) > maxName || !room.take(len(id)+overhead) {
		return nil, errStateFull
	}
	if b.index == nil {
		b.index = map[string]int{}
	}
	id = string(append([]byte(nil), id...)) // not the message that it stood in
	b.index[id] = len(b.reports)
	b.reports = append(b.reports, report{id: id})
	return &b.reports[len(b.reports)-1], nil
}

// remove takes reports away that keep says no to; the others keep their order.
func (b *base) remove(room *room, keep func(*report) bool) {
	left := b.reports[:0]
	for i := range b.reports {
		r := &b.reports[i]
		if keep(r) {
			if b.index[r.id] != len(left) {
				b.index[r.id] = len(left)
			}
			left = append(left, *r)
			continue
		}
		delete(b.index, r.id)
		room.take(-r.size())
	}
	clear(b.reports[len(left):])
	b.reports = left
}

func (b *base) free(room *room) { b.remove(room, func(*report) bool { return false }) }

func (r *report) size() int {
	n := len(r.id) + overhead
	for i := range r.members {
		n += len(r.members[i].name) + len(r.members[i].value) + overhead
	}
	return n
}

func (r *report) get(name string) *member {
	for i := range r.members {
		if r.members[i].name == name {
			return &r.members[i]
		}
	}
	return nil
}

// set gives a member its new value; what is too long or finds no room is left
// out, and what stood there before with it.
func (r *report) set(name, value string, room *room) error {
	m := r.get(name)
	if m == nil {
		if len(name) > maxName || len(value) > maxValue || len(r.members) >= maxMembers || !room.take(len(name)+len(value)+overhead) {
			return errStateFull
		}
		r.members = append(r.members, member{name: string(append([]byte(nil), name...)), value: []byte(value)})
		return nil
	}
	if len(value) > 1 && value[0] == '{' && len(m.value) > 1 && m.value[0] == '{' {
		value = merged(string(m.value), value)
	}
	if len(value) > maxValue || !room.take(len(value)-len(m.value)) {
		r.unset(name, room)
		return errStateFull
	}
	m.value = append(m.value[:0], value...)
	return nil
}

func (r *report) unset(name string, room *room) {
	for i := range r.members {
		if m := &r.members[i]; m.name == name {
			room.take(-(len(m.name) + len(m.value) + overhead))
			r.members = append(r.members[:i], r.members[i+1:]...)
			return
		}
	}
}

// merged lays the members of one JSON object over those of another.
func merged(under, over string) string {
	changed := map[string]string{}
	var order []string
	gjson.Parse(over).ForEach(func(k, v gjson.Result) bool {
		if _, twice := changed[k.Raw]; !twice {
			order = append(order, k.Raw)
		}
		changed[k.Raw] = v.Raw
		return true
	})
	out := []byte{'{'}
	add := func(k, v string) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, k...), ':'), v...)
	}
	gjson.Parse(under).ForEach(func(k, v gjson.Result) bool {
		if _, ok := changed[k.Raw]; !ok {
			add(k.Raw, v.Raw)
		}
		return true
	})
	for _, k := range order {
		add(k, changed[k])
	}
	return string(append(out, '}'))
}

// numbers applies a difference of rtcstats 5: ids and members are numbers, a
// null report is removed, everything absent is unchanged. t at the top is the
// timestamp of every report that has none of its own.
func (b *base) numbers(delta gjson.Result, room *room) (full error) {
	b.round++
	common := ""
	removed := false
	for i := range b.reports {
		b.reports[i].ownTime, b.reports[i].arrived = false, false
	}
	delta.ForEach(func(id, v gjson.Result) bool {
		switch {
		case v.Type == gjson.Number:
			if id.Str == "t" {
				common = v.Raw
			}
		case v.Type == gjson.Null:
			if i, ok := b.index[id.Raw]; ok {
				b.reports[i].round, removed = 0, true
			}
		case v.IsObject():
			r, err := b.report(id.Raw, room)
			if err != nil {
				full = err
				return true
			}
			r.round = b.round
			v.ForEach(func(k, v gjson.Result) bool {
				if err := r.number(k, v, room); err != nil {
					full = err
				}
				return true
			})
		}
		return true
	})
	if removed {
		b.remove(room, func(r *report) bool { return r.round != 0 })
	}
	if common == "" {
		return full
	}
	for i := range b.reports {
		r := &b.reports[i]
		// A timestamp that is absent is the common one, or the one from before. A
		// report of RTCP is stamped when it arrives and not at every poll: where
		// nothing changed that RTCP carries, none has arrived.
		if r.ownTime || remote(r.typ) && !r.arrived && r.get(timestampName) != nil {
			continue
		}
		if err := r.set(timestampName, common, room); err != nil {
			full = err
		}
	}
	return full
}

func (r *report) number(k, v gjson.Result, room *room) error {
	switch k.Str {
	case "t":
		r.ownTime = true
		return r.set(timestampName, v.Raw, room)
	case "type":
		name := v.Str
		if v.Type == gjson.Number {
			var ok bool
			if name, ok = numbered(types[:], v.Raw); !ok {
				name = v.Raw
			}
		}
		r.typ = name
		return r.set(`"type"`, strconv.Quote(plainASCII(name)), room)
	case "id":
		return nil
	}
	if name, ok := numbered(members[:], k.Str); ok {
		// A remote-outbound-rtp also changes with round trips that XR measures.
		r.arrived = r.arrived || r.typ != "remote-outbound-rtp" || name == "packetsSent" || name == "remoteTimestamp" || name == "reportsSent"
		return r.set(quotedMembers[name], v.Raw, room)
	}
	return r.set(k.Raw, v.Raw, room)
}

var quotedMembers = func() map[string]string {
	m := map[string]string{}
	for _, name := range members {
		m[name] = `"` + name + `"`
	}
	return m
}()

// plainASCII is s where it needs no escaping in JSON, else nothing: types are words.
func plainASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return ""
		}
	}
	return s
}

func remote(typ string) bool { return typ == "remote-inbound-rtp" || typ == "remote-outbound-rtp" }

// names applies a difference of Jitsi's dialect and of rtcstats 1 and 2: ids and
// members by name, timestamp at the top, 0 in a report that has this one. With
// sweep a report that is absent is removed.
func (b *base) names(delta gjson.Result, sweep bool, room *room) (full error) {
	b.round++
	common := ""
	if t := delta.Get("timestamp"); t.Type == gjson.Number {
		common = t.Raw
	}
	delta.ForEach(func(id, v gjson.Result) bool {
		if !v.IsObject() {
			return true
		}
		r, err := b.report(id.Raw, room)
		if err != nil {
			full = err
			return true
		}
		r.round = b.round
		v.ForEach(func(k, v gjson.Result) bool {
			switch k.Str {
			case "id":
				return true
			case "type":
				r.typ = v.Str
			case "timestamp":
				if v.Raw == "0" && common != "" {
					v.Raw = common
				}
			}
			if err := r.set(k.Raw, v.Raw, room); err != nil {
				full = err
			}
			return true
		})
		return true
	})
	if sweep {
		b.remove(room, func(r *report) bool { return r.round == b.round })
		return full
	}
	if common != "" {
		for i := range b.reports {
			// rtcstats 1 and 2 leave a report out where only its time has changed.
			if r := &b.reports[i]; r.round != b.round && !remote(r.typ) {
				if err := r.set(timestampName, common, room); err != nil {
					full = err
				}
			}
		}
	}
	return full
}

// append writes the whole report as getStats() gave it.
func (b *base) append(to []byte) []byte {
	to = append(to, '{')
	for i := range b.reports {
		r := &b.reports[i]
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(append(to, r.id...), `:{"id":`...), r.id...)
		for j := range r.members {
			m := &r.members[j]
			to = append(append(append(append(to, ','), m.name...), ':'), m.value...)
		}
		to = append(to, '}')
	}
	return append(to, '}')
}
