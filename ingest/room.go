package ingest

// room bounds what waits for Kafka. The client has bounds of its own, but tells
// neither at once that they are reached nor lets a caller give up waiting
// without giving up the record. The Producer's mutex guards it.
//
// Half of it is for whoever comes. The other half is shared by those who are
// active: one that floods cannot take what others need.
type room struct {
	records, bytes       int
	maxRecords, maxBytes int
	active               int           // origins that have something in it or wait
	freed                chan struct{} // closed when there may be room; nil if nobody waits
}

// origin is one who takes room: a connection, or an agent's socket.
type origin struct {
	records, bytes int
	waiting        int
}

func (o *origin) active() bool { return o.records > 0 || o.waiting > 0 }

// take reports whether there is room for a record of size bytes. Where nobody
// is named as its origin only the bounds of the whole count.
func (r *room) take(size int, from *origin) bool {
	// One record always fits, however large.
	if r.records > 0 && (r.records >= r.maxRecords || r.bytes+size > r.maxBytes || !r.fair(size, from)) {
		return false
	}
	r.records++
	r.bytes += size
	if from != nil {
		if !from.active() {
			r.active++
		}
		from.records++
		from.bytes += size
	}
	return true
}

// fair reports whether an origin may have more of what others may want too.
func (r *room) fair(size int, from *origin) bool {
	if from == nil || from.records == 0 || r.active < 2 || r.records < r.maxRecords/2 && r.bytes+size < r.maxBytes/2 {
		return true
	}
	return from.records < r.maxRecords/r.active && from.bytes+size < r.maxBytes/r.active
}

// join and leave mark an origin as active while it waits.
func (r *room) join(from *origin) {
	if from != nil {
		if !from.active() {
			r.active++
		}
		from.waiting++
	}
}

func (r *room) leave(from *origin) {
	if from != nil {
		if from.waiting--; !from.active() {
			r.active--
		}
	}
}

// wake gives a channel that is closed when room comes free.
func (r *room) wake() <-chan struct{} {
	if r.freed == nil {
		r.freed = make(chan struct{})
	}
	return r.freed
}

func (r *room) release(a ack) {
	r.records -= a.records
	r.bytes -= a.bytes
	if a.from != nil && a.records > 0 {
		a.from.records -= a.records
		a.from.bytes -= a.bytes
		if !a.from.active() {
			r.active--
		}
	}
	if r.freed != nil {
		close(r.freed)
		r.freed = nil
	}
}
