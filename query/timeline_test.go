package query

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/processors/registrations"
	"github.com/earshot/earshot/telemetry"
)

// script is what a phone does, second by second from second 1000 on.
type script struct {
	at   []int64 // seconds, ascending
	kind []string
}

const second = int64(1_000_000)

func randomScript(r *rand.Rand) script {
	var s script
	at := int64(1000)
	for range 2 + r.IntN(30) {
		at += 1 + r.Int64N(150)
		s.at = append(s.at, at)
		s.kind = append(s.kind, []string{"register", "register", "register", "unregister", "refused"}[r.IntN(5)])
	}
	return s
}

const expiresS = 60

// run plays a script to the processor and gives what the tables would hold.
func (s script) run(t *testing.T, nowS int64) (changes []*telemetry.RegistrationChange) {
	m := registrations.New()
	emit := func(o *telemetry.Outcome) { changes = append(changes, o.GetRegistration()) }
	for i, at := range s.at {
		if at > nowS {
			break
		}
		m.Advance("", at*second, emit)
		expires := int64(expiresS)
		if s.kind[i] == "unregister" {
			expires = 0
		}
		for _, status := range []uint32{0, map[string]uint32{"register": 200, "unregister": 200, "refused": 503}[s.kind[i]]} {
			message := &telemetry.SIPMessage{Method: "REGISTER", To: &telemetry.NameAddr{User: "a", Host: "x"}, CallId: "c", Cseq: uint32(i + 1), Status: status,
				ExpiresS: -1, MinExpiresS: -1, Src: "192.0.2.1:5060", Contacts: []*telemetry.Contact{{Uri: "sip:a@192.0.2.1", ExpiresS: expires}}}
			r := &telemetry.Record{Company: "acme", AtUs: at * second, ReceivedUs: 1, Body: &telemetry.Record_Sip{Sip: message}}
			require.NoError(t, m.Apply(r, emit))
		}
	}
	m.Advance("", nowS*second, emit)
	return changes
}

// bound is the slow truth of one second: a binding holds until its expiry, and
// across it where the refresh came within 32 s, or still may.
func (s script) bound(second, nowS int64) bool {
	until, is := int64(0), false
	for i, at := range s.at {
		if at > nowS {
			break
		}
		switch s.kind[i] {
		case "register":
			if is && at > second && second >= until && at < until+32 {
				return true // it held across
			}
			if at <= second {
				is, until = true, at+expiresS
			}
		case "unregister":
			if at <= second {
				is = false
			} else if is && second >= until && at < until+32 {
				return true // it was still there to be given up
			}
		}
	}
	return is && (second < until || nowS < until+32)
}

func tables(changes []*telemetry.RegistrationChange, nowS int64) (r Registration, endings []ending, firstUs int64) {
	for _, c := range changes {
		if firstUs == 0 {
			firstUs = c.AtUs
		}
		r = Registration{bound: c.Registered, RegisteredAt: micros(c.RegisteredUs), ExpiresAt: micros(c.ExpiresUs), UpdatedAt: micros(c.AtUs)}
		r.Registered = c.Registered && c.ExpiresUs+lapseGraceUs > nowS*second
		switch c.Change {
		case lapsed, unregistered, "replaced":
			if c.Reason == "not_bound" {
				continue
			}
			e := ending{span: span{c.RegisteredUs, c.ExpiresUs}, atUs: c.AtUs, change: c.Change, reason: c.Reason, text: c.Text}
			if c.ExpiresUs == 0 {
				e.toUs = c.AtUs
			}
			endings = append(endings, e)
		}
	}
	return r, endings, firstUs
}

// The share of time that a device was registered, and the state at any second,
// are those of a count second by second.
func TestSharesAndSpansAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		s := randomScript(r)
		last := s.at[len(s.at)-1]
		nowS := 1000 + r.Int64N(last-1000+200)
		fromS := 900 + r.Int64N(nowS-900)
		toS := fromS + 1 + r.Int64N(nowS-fromS)
		reg, endings, firstUs := tables(s.run(t, nowS), nowS)
		var want int64
		for at := fromS; at < toS; at++ {
			if s.bound(at, nowS) {
				want++
			}
		}
		spans := reg.holding()
		for _, e := range endings {
			spans = append(spans, e.span)
		}
		require.Equal(t, want, boundUs(spans, fromS*second, toS*second)/second, "round %d", round)
		told := spansOf(&reg, endings, firstUs, fromS*second, toS*second)
		at := fromS * second
		for i, span := range told {
			require.Equal(t, at, span.From.Micros(), "round %d: a gap before span %d", round, i)
			at = span.To.Micros()
			for sec := span.From.Micros() / second; sec < span.To.Micros()/second; sec++ {
				require.Equal(t, s.bound(sec, nowS), span.State == "registered", "round %d: second %d", round, sec)
			}
		}
		require.Equal(t, toS*second, at, "round %d", round)
	}
}

func TestRegisteredAt(t *testing.T) {
	at := func(s int64) Time { return micros(s * second) }
	reg := Registration{bound: true, Registered: true, RegisteredAt: at(5000), ExpiresAt: at(9000)}
	endings := []ending{{span: span{2000 * second, 3000 * second}, atUs: 3032 * second, change: lapsed, reason: "silence", text: "It expired."}}
	spans := spansOf(&reg, endings, 2000*second, 1000*second, 6000*second)
	for s, want := range map[int64]RegisteredAt{
		1500: {State: "unknown", Since: at(1000), Until: at(2000), Text: "Not known: Nothing was seen of this device before 1970-01-01 00:33:20 UTC."},
		2000: {Registered: orNil(true), State: "registered", Since: at(2000), Until: at(3000), Text: "Yes: at 1970-01-01 00:33:20 UTC it was registered, since 1970-01-01 00:33:20 UTC, until 1970-01-01 00:50:00 UTC."},
		3000: {State: lapsed, Since: at(3000), Until: at(5000), Text: "No: at 1970-01-01 00:50:00 UTC it was not registered. It expired."},
		6000: {Registered: orNil(true), State: "registered", Since: at(5000), Text: "Yes: at 1970-01-01 01:40:00 UTC it was registered, since 1970-01-01 01:23:20 UTC."},
	} {
		want.At = at(s)
		if want.State == lapsed {
			want.Registered = new(bool)
		}
		require.Equal(t, &want, registeredAt(spans, TimelineFilter{At: at(s)}))
	}
}

func TestSpoken(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", -time.Second: "0 s", 45 * time.Second: "45 s", 60 * time.Second: "1 min", 3723 * time.Second: "1 h 2 min", 7200 * time.Second: "2 h",
		90061 * time.Second: "1 d 1 h", 86460 * time.Second: "1 d 1 min",
	} {
		require.Equal(t, want, spoken(d), d)
	}
}
