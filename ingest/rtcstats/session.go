package rtcstats

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// grant is what a connection is allowed to say.
type grant struct {
	company string
	claim   Claim
	token   bool   // the claim is from a signed token: who calls is not the page's to say
	place   string // the path after the route: the meeting, or the page
}

// session is one sender: one connection, with Jitsi as many as it takes.
type session struct {
	grant   grant
	id      string // of the sender, the first part of its legs' ids
	decoder *Decoder
	clock   clock

	callID string // fixed with the first sample
	user   string
	name   string
	device string
	meet   string // as the sender says it

	legPC, legID string // the leg of the newest sample
	made         telemetry.WebRTCSample
	who          telemetry.Identity

	mu     sync.Mutex
	seen   int64       // highest sequence number decoded
	acked  int64       // all up to this one are in Kafka or need not be
	wait   []sequenced // decoded and not acked, in order
	told   int64       // the acked that the client knows
	conn   *connection // nil between connections
	usedAt time.Time
}

type sequenced struct {
	seq  int64
	done bool
}

// decoded notes a sequence number that was decoded and now waits for Kafka.
func (s *session) decoded(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, seq)
	s.wait = append(s.wait, sequenced{seq, false})
}

// passed notes a sequence number of which nothing is to be kept.
func (s *session) passed(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, seq)
	switch n := len(s.wait); {
	case n == 0:
		s.acked = seq
	case s.wait[n-1].done:
		s.wait[n-1].seq = seq // so that no more stand there than wait for Kafka
	default:
		s.wait = append(s.wait, sequenced{seq, true})
	}
}

// settled notes that Kafka has what a sequence number brought, or never will.
func (s *session) settled(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := slices.BinarySearchFunc(s.wait, seq, func(w sequenced, seq int64) int { return int(w.seq - seq) }); ok {
		s.wait[i].done = true
	}
	n := 0
	for n < len(s.wait) && s.wait[n].done {
		s.acked = s.wait[n].seq
		n++
	}
	s.wait = slices.Delete(s.wait, 0, n)
}

// unsaid is the acknowledged sequence number where the client does not know it
// yet, and at least step numbers are new.
func (s *session) unsaid(step int64) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked-s.told < step {
		return 0, false
	}
	s.told = s.acked
	return s.acked, true
}

// identify takes what the sender says of itself, where its token does not.
func (s *session) identify(e *Event) {
	keep := func(into *string, said string) {
		if said != "" {
			*into = said
		}
	}
	if !s.grant.token {
		keep(&s.user, e.User)
	}
	keep(&s.name, e.Name)
	keep(&s.device, e.Device)
	keep(&s.meet, e.Conference)
}

// call is the id of the call that the sender is in: what the token says, else
// what the sender says, else where it connected to. It stays what it was for the
// first sample, so that one sender is in one call.
func (s *session) call() string {
	if s.callID == "" {
		for _, id := range []string{s.grant.claim.Conference, s.meet, s.grant.place, s.grant.claim.Session, s.id} {
			if id != "" {
				s.callID = id
				break
			}
		}
	}
	return s.callID
}

// leg is the id of one peer connection of the sender.
func (s *session) leg(pc string) string {
	if pc == "" {
		return s.id
	}
	if s.legPC != pc {
		s.legPC, s.legID = strings.Clone(pc), s.id+"/"+pc
	}
	return s.legID
}

// sample is a new sample of the sender, without statistics. It is valid until the
// next one.
func (s *session) sample(e *Event) *telemetry.WebRTCSample {
	sample := &s.made
	sample.CallId, sample.LegId, sample.UserId, sample.DeviceId, sample.Endpoint = s.call(), s.leg(e.PC), s.user, s.device, "web"
	sample.Muted, sample.HasMuted, sample.Identity = e.Muted, e.HasMuted, nil
	if s.user != "" || s.device != "" || s.name != "" {
		s.who.Reset() // whoever completes it writes into it
		s.who.UserId, s.who.DeviceId, s.who.Name = s.user, s.device, s.name
		sample.Identity = &s.who
	}
	return sample
}

// rated is the event of a rating that the page asked its user for.
func (s *session) rated(e *Event) *telemetry.CallEvent {
	event := &telemetry.CallEvent{
		Id: "rtcstats:" + s.id + ":" + strconv.FormatInt(e.AtUs, 10), Type: "rated", CallId: s.call(), LegId: s.leg(e.PC),
		Rating: e.Rating, Text: e.Text,
	}
	if s.user != "" {
		event.Subject = &telemetry.Identity{UserId: s.user, Name: s.name}
	}
	return event
}
