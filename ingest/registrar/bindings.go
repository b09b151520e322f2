package registrar

import (
	"net/netip"
	"sync"
	"time"
)

// binding is one contact of an address-of-record (RFC 3261 §10).
type binding struct {
	uri       string
	q         string // as the phone wrote it, empty without one
	instance  string // +sip.instance (RFC 5626), without quotes and brackets
	regID     string // only with an instance, of phones that know outbound
	temporary string // of its temporary GRUU (RFC 5627)
	source    netip.Addr
	callID    string
	cseq      uint32
	expiresAt time.Time
	company   string
	device    string // id, as the history of registrations has it
	by        string // id of the credentials that it was made with, empty without
	told      bool   // that it was
}

// key tells bindings apart: flow of a device (RFC 5626 §6), else contact URI.
func (b *binding) key() string {
	if b.instance != "" && b.regID != "" {
		return b.instance + " " + b.regID
	}
	return b.uri
}

// maxContacts bounds the contacts of one address-of-record.
const maxContacts = 32

// bindings are all that is registered. They are in memory only: after a restart
// phones refresh them, and the history of registrations is not kept here.
type bindings struct {
	most int

	mu    sync.Mutex
	total int
	byAOR map[string][]*binding // in order of their registration
}

// update is what one REGISTER wants.
type update struct {
	aor    string
	callID string
	cseq   uint32
	all    bool // Contact: *
	flows  bool // a binding to set is a flow (RFC 5626)
	set    []binding
	remove []binding
}

type verdict uint8

const (
	accepted verdict = iota
	outOfOrder
	tooMany
)

// apply does all of an update or nothing of it (RFC 3261 §10.3) and gives the
// bindings that hold then.
func (s *bindings) apply(u update, now time.Time) ([]binding, verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byAOR[u.aor]
	var current []*binding
	for _, b := range old {
		if b.expiresAt.After(now) {
			current = append(current, b)
		}
	}
	// A request that was overtaken by a newer one of its phone changes nothing;
	// nor does one that was seen before, which its transaction would have answered.
	for _, b := range current {
		if b.callID == u.callID && u.cseq <= b.cseq && (u.all || len(u.set)+len(u.remove) > 0) {
			return nil, outOfOrder
		}
	}
	if u.all {
		current = nil
	}
	for _, gone := range u.remove {
		current = without(current, gone.key())
	}
	for _, b := range u.set {
		kept := false
		for i, have := range current {
			if have.key() == b.key() {
				b.told = have.told && have.by == b.by && have.device == b.device
				current[i], kept = &b, true
			}
		}
		if !kept {
			current = append(current, &b)
		}
	}
	if len(current) > maxContacts || s.total-len(old)+len(current) > s.most && len(current) > len(old) {
		return nil, tooMany
	}
	s.total += len(current) - len(old)
	if len(current) == 0 {
		delete(s.byAOR, u.aor)
	} else {
		s.byAOR[u.aor] = current
	}
	out := make([]binding, len(current))
	for i, b := range current {
		out[i] = *b
	}
	return out, accepted
}

// holds reports whether an address is registered from a source.
func (s *bindings) holds(aor string, source netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.byAOR[aor] {
		if b.source == source && b.expiresAt.After(now) {
			return true
		}
	}
	return false
}

// tell tells of the bindings of an address that were made with credentials, once
// each; what telling does not take is told next time.
func (s *bindings) tell(aor string, telling func(by, device string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.byAOR[aor] {
		if b.by != "" && !b.told {
			b.told = telling(b.by, b.device)
		}
	}
}

// end takes away the bindings of some devices.
func (s *bindings) end(devices map[Device]bool) (ended []Ended) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for aor, list := range s.byAOR {
		kept := list[:0:0]
		for _, b := range list {
			if devices[Device{b.company, b.device}] {
				ended = append(ended, Ended{Company: b.company, AOR: aor, Device: b.device})
			} else {
				kept = append(kept, b)
			}
		}
		if len(kept) == len(list) {
			continue
		}
		s.total += len(kept) - len(list)
		if len(kept) == 0 {
			delete(s.byAOR, aor)
		} else {
			s.byAOR[aor] = kept
		}
	}
	return ended
}

func without(list []*binding, key string) []*binding {
	var kept []*binding
	for _, b := range list {
		if b.key() != key {
			kept = append(kept, b)
		}
	}
	return kept
}

// sweep forgets what has expired.
func (s *bindings) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for aor, list := range s.byAOR {
		var kept []*binding
		for _, b := range list {
			if b.expiresAt.After(now) {
				kept = append(kept, b)
			}
		}
		s.total += len(kept) - len(list)
		if len(kept) == 0 {
			delete(s.byAOR, aor)
		} else {
			s.byAOR[aor] = kept
		}
	}
}

func (s *bindings) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
