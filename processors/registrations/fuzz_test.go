package registrations

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// Any sequence of messages and time: the machine never panics, and one that is
// replaced by its restored copy again and again says the same as one that is not.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0x00, 0x11, 0x80, 0x21, 0xff, 0x42, 0x13, 0x07})
	f.Add([]byte{0x00, 0x40, 0x85, 0x03, 0x40, 0x85, 0x10, 0xfe, 0x00, 0x10, 0xfe, 0x01})
	f.Add([]byte{0x01, 0x00, 0x05, 0x41, 0x00, 0x05, 0xc0, 0x60, 0x00, 0x02, 0x01, 0x07})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 600 {
			script = script[:600]
		}
		whole, pieces := run(t, script, false), run(t, script, true)
		if !slices.Equal(whole, pieces) {
			t.Errorf("%d outcomes, with restores %d", len(whole), len(pieces))
		}
	})
}

// Bytes that are no state are an error, and what is restored can go on.
func FuzzRestore(f *testing.F) {
	p := newPhone(f)
	p.register(0, 1, one, 60)
	p.sends(30, 2, bound(one, 60))
	for key, state := range states(p.m) {
		f.Add(key, []byte(state))
		f.Add(key, []byte(strings.Replace(state, `{"at_us"`, `null,"x":{"at_us"`, 1)))
	}
	f.Add("\x00\x00", []byte(`{"attempts":{"a":null},"losses":{"b":null}}`))
	f.Fuzz(func(t *testing.T, key string, state []byte) {
		m := New()
		if m.Restore(key, state) != nil {
			return
		}
		restoreEqual(t, m)
		m.Advance("", 1<<55, func(*telemetry.Outcome) {})
	})
}

func run(t *testing.T, script []byte, restore bool) []string {
	m := New()
	var got []string
	emit := func(o *telemetry.Outcome) {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	nowUs := t0 * secondUs
	uris := []string{one, two, "*", "<sip:x@[::1]:5060;ob>", ""}
	statuses := []uint32{0, 0, 0, 200, 200, 401, 423, 403}
	for len(script) >= 3 {
		op, a, b := script[0], script[1], script[2]
		script = script[3:]
		nowUs += int64(op>>3) * secondUs / 2
		s := &telemetry.SIPMessage{
			Method: "REGISTER", To: &telemetry.NameAddr{User: string('a' + rune(a&1)), Host: "h"}, CallId: string('0' + rune(a>>1&3)), Cseq: uint32(b & 7),
			Status: statuses[op&7], Src: "192.0.2.1:" + string('0'+rune(a>>3&3)), ExpiresS: int64(b>>3) - 1, MinExpiresS: -1, HasCredentials: b&1 == 1,
		}
		for i := range int(a >> 6) {
			c := &telemetry.Contact{Uri: uris[(int(b)+i)%len(uris)], ExpiresS: int64(a>>2&15) - 1}
			if b&0x20 != 0 {
				c.Instance = "i"
			}
			s.Contacts = append(s.Contacts, c)
		}
		if a == 0xff {
			m.Advance("", nowUs, emit)
		}
		r := &telemetry.Record{Company: "acme", AtUs: nowUs, ReceivedUs: nowUs, Body: &telemetry.Record_Sip{Sip: s}}
		if a == 0xfe {
			end := &telemetry.RegistrationEnd{Aor: s.To.User + "@h", DeviceId: telemetry.DeviceID(s.To.User+"@h", "", "", uris[int(b)%len(uris)]), Reason: "revoked"}
			r.Body = &telemetry.Record_RegistrationEnd{RegistrationEnd: end}
		}
		if err := m.Apply(r, emit); err != nil {
			t.Fatal(err)
		}
		if restore {
			m = restoreEqual(t, m)
		}
	}
	m.Advance("", nowUs+1e12, emit)
	if left := len(states(m)); left != 0 {
		t.Errorf("%d accounts are never forgotten", left)
	}
	return got
}
