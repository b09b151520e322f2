package ingest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// A phone behind a symmetric NAT announces a private address; the relay's is
// true. What comes to the relay teaches where the phone is.
func TestLearnedPeer(t *testing.T) {
	const relay, phone, moved = "198.51.100.1:20001", "203.0.113.9:40001", "203.0.113.9:40002"
	c := newTestCorrelator()
	c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("192.168.1.5", 4000)), at(0))
	c.SIP("default", sipCall("a"), message("a", "INVITE", 200, media("198.51.100.1", 20000)), at(1))
	elsewhere := "198.51.100.7:30000"
	c.mustPlace(t, packet(phone, elsewhere), at(2), "")
	c.mustPlace(t, packet(phone, relay), at(2), "a")
	c.mustPlace(t, packet(phone, elsewhere), at(3), "a")
	c.mustPlace(t, packet(elsewhere, phone), at(3), "a")
	// What was learned teaches nothing further.
	c.mustPlace(t, packet("203.0.113.77:1234", "198.51.100.7:5555"), at(3), "")
	// The NAT gave it another port: the old one counts no more.
	c.mustPlace(t, packet(moved, relay), at(4), "a")
	c.mustPlace(t, packet(phone, "198.51.100.8:1"), at(5), "")
	c.mustPlace(t, packet(moved, "198.51.100.8:1"), at(5), "a")
	// Unconfirmed for a minute it is forgotten.
	c.mustPlace(t, packet(moved, "198.51.100.8:1"), at(70), "")
	// Nor does it outlive the call.
	c.mustPlace(t, packet(phone, relay), at(80), "a")
	c.SIP("default", sipCall("a"), message("a", "BYE", 0, nil), at(81))
	c.mustPlace(t, packet(phone, "198.51.100.8:1"), at(82), "")
	if n := c.Stats().Learned; n != 3 {
		t.Errorf("learned %d times", n)
	}
}

// An address that belongs to a call is never learned for another one, and SDP
// takes back what was learned.
func TestLearnedPeerTakesNothing(t *testing.T) {
	c := newTestCorrelator()
	c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("198.51.100.1", 20000)), at(0))
	c.SIP("default", sipCall("b"), message("b", "INVITE", 0, media("203.0.113.9", 40000)), at(1))
	c.mustPlace(t, packet("203.0.113.9:40001", "198.51.100.1:20001"), at(2), "b")
	c.mustPlace(t, packet("203.0.113.9:40001", "192.0.2.1:9"), at(3), "b")
	if n := c.Stats().Learned; n != 0 {
		t.Errorf("learned %d times", n)
	}
	c.mustPlace(t, packet("203.0.113.10:50001", "198.51.100.1:20001"), at(4), "a")
	c.SIP("default", sipCall("c"), message("c", "INVITE", 0, media("203.0.113.10", 50000)), at(5))
	c.mustPlace(t, packet("203.0.113.10:50001", "192.0.2.1:9"), at(6), "c")
	// The end of a call does not take its learned address from the new owner.
	c.SIP("default", sipCall("a"), message("a", "BYE", 0, nil), at(7))
	c.mustPlace(t, packet("203.0.113.10:50001", "192.0.2.1:9"), at(8), "c")
}

// Inside the NAT the same packets have other addresses: two SSRCs tell.
func TestHeardSSRCs(t *testing.T) {
	c := newTestCorrelator()
	c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("198.51.100.1", 20000)), at(0))
	c.mustPlace(t, packet("203.0.113.9:40001", "198.51.100.1:20001", 7, 8), at(1), "a")
	c.mustPlace(t, packet("192.168.1.5:4001", "192.168.1.1:4001", 7), at(2), "")
	c.mustPlace(t, packet("192.168.1.5:4001", "192.168.1.1:4001", 7, 9), at(2), "")
	c.mustPlace(t, packet("192.168.1.5:4001", "192.168.1.1:4001", 8, 7), at(2), "a")
	c.SIP("default", sipCall("a"), message("a", "BYE", 0, nil), at(3))
	c.mustPlace(t, packet("192.168.1.5:4001", "192.168.1.1:4001", 8, 7), at(4), "")
}

// The next call gets a relay's port within seconds; what is still on the way
// between the old call's ends stays the old call's.
func TestPortReuseWithinSeconds(t *testing.T) {
	c := newTestCorrelator()
	relay := media("198.51.100.1", 20000)
	c.SIP("default", sipCall("old"), message("old", "INVITE", 0, media("203.0.113.1", 4000)), at(0))
	c.SIP("default", sipCall("old"), message("old", "INVITE", 200, relay), at(1))
	c.SIP("default", sipCall("old"), message("old", "BYE", 0, nil), at(10))
	c.SIP("default", sipCall("new"), message("new", "INVITE", 0, media("203.0.113.2", 4000)), at(11))
	c.SIP("default", sipCall("new"), message("new", "INVITE", 200, relay), at(12))
	c.mustPlace(t, packet("203.0.113.1:4001", "198.51.100.1:20001"), at(12.1), "old")
	c.mustPlace(t, packet("198.51.100.1:20001", "203.0.113.1:4001"), at(12.1), "old")
	c.mustPlace(t, packet("203.0.113.2:4001", "198.51.100.1:20001"), at(12.2), "new")
	c.mustPlace(t, packet("198.51.100.1:20001", "203.0.113.2:4001"), at(12.2), "new")
	c.mustPlace(t, packet("198.51.100.1:20001", "203.0.113.3:4001"), at(12.3), "new")
}

// The ways in which SDP comes and changes.
func TestOffersAndAnswers(t *testing.T) {
	type step struct {
		method string
		status uint32
		sdp    *telemetry.SDP
	}
	for name, tc := range map[string]struct {
		steps   []step
		yes, no []string
	}{
		"delayed offer":    {[]step{{"INVITE", 0, nil}, {"INVITE", 200, media("10.0.0.2", 5000)}, {"ACK", 0, media("10.0.0.1", 4000)}}, []string{"10.0.0.1:4001", "10.0.0.2:5001"}, nil},
		"early media":      {[]step{{"INVITE", 0, media("10.0.0.1", 4000)}, {"INVITE", 183, media("10.0.0.2", 5000)}, {"PRACK", 0, media("10.0.0.1", 4010)}, {"PRACK", 200, media("10.0.0.2", 5010)}}, []string{"10.0.0.2:5001", "10.0.0.1:4011", "10.0.0.2:5011"}, nil},
		"forked answers":   {[]step{{"INVITE", 0, media("10.0.0.1", 4000)}, {"INVITE", 183, media("10.0.0.2", 5000)}, {"INVITE", 183, media("10.0.0.3", 6000)}, {"INVITE", 200, media("10.0.0.3", 6000)}}, []string{"10.0.0.2:5001", "10.0.0.3:6001"}, nil},
		"moved by UPDATE":  {[]step{{"INVITE", 0, media("10.0.0.1", 4000)}, {"INVITE", 200, media("10.0.0.2", 5000)}, {"UPDATE", 0, media("10.0.0.9", 7000)}}, []string{"10.0.0.1:4001", "10.0.0.9:7001"}, nil},
		"hold of old":      {[]step{{"INVITE", 0, media("10.0.0.1", 4000)}, {"INVITE", 200, media("10.0.0.2", 5000)}, {"INVITE", 0, media("0.0.0.0", 4000)}}, []string{"10.0.0.1:4001"}, []string{"0.0.0.0:4001"}},
		"IPv6":             {[]step{{"INVITE", 0, media("2001:db8::1", 4000)}}, []string{"[2001:db8::1]:4001"}, []string{"[2001:db8::2]:4001"}},
		"IPv4 within IPv6": {[]step{{"INVITE", 0, media("::ffff:10.0.0.1", 4000)}}, []string{"10.0.0.1:4001"}, nil},
		"all candidates": {[]step{{"INVITE", 0, media("203.0.113.5", 50000, func(m *telemetry.Media) {
			m.RtcpMux, m.Candidates = true, []string{"192.168.1.5:50000", "203.0.113.5:50000", "198.51.100.1:60000", "[2001:db8::5]:50000", "abcd.local:5"}
		})}}, []string{"192.168.1.5:50000", "198.51.100.1:60000", "[2001:db8::5]:50000"}, nil},
		"RTCP elsewhere": {[]step{{"INVITE", 0, media("10.0.0.1", 4000, func(m *telemetry.Media) { m.RtcpAddress, m.RtcpPort = "10.0.0.7", 53020 })}}, []string{"10.0.0.7:53020"}, []string{"10.0.0.1:4001"}},
	} {
		c := newTestCorrelator()
		for i, s := range tc.steps {
			c.SIP("default", sipCall("a"), message("a", s.method, s.status, s.sdp), at(float64(i)))
		}
		for _, a := range tc.yes {
			c.mustPlace(t, packet(a, "192.0.2.1:9"), at(10), "a")
		}
		for _, a := range tc.no {
			if call, _, ok := c.Place("default", packet(a, "192.0.2.1:9"), at(10)); ok {
				t.Errorf("%s: %s placed in %v", name, a, call)
			}
		}
	}
	// Bundled media share a port; what is audio stays it, whatever comes first.
	for _, kinds := range [][]string{{"audio", "video"}, {"video", "audio"}} {
		c := newTestCorrelator()
		sdp := &telemetry.SDP{}
		for _, kind := range kinds {
			sdp.Media = append(sdp.Media, &telemetry.Media{Kind: kind, Address: "10.0.0.1", Port: 4000, RtcpPort: 4000, RtcpMux: true})
		}
		c.SIP("default", sipCall("a"), message("a", "INVITE", 0, sdp), at(0))
		if _, kind, ok := c.Place("default", packet("10.0.0.1:4000", "192.0.2.1:9"), at(1)); !ok || kind != "audio" {
			t.Errorf("%v: kind %q", kinds, kind)
		}
	}
}

// TestRoomLosesNothing lets RTCP, SDP, bindings and time come in any order:
// every record that was given to the room comes out of it once, with a call.
func TestRoomLosesNothing(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 60 {
		cfg := DefaultConfig()
		cfg.Waiting.Records, cfg.Bindings.Calls = 1+rng.IntN(50), 5+rng.IntN(20)
		c := NewCorrelator(cfg.Waiting, cfg.Bindings, cfg.Correlation)
		given, out := 0, map[*Held]bool{}
		take := func(held []*Held) {
			for _, h := range held {
				if h.from == nil && h.tally == nil && h.record == nil {
					if out[h] || h.CallKey == "" {
						t.Fatalf("seed %d: a record came twice or without a call", seed)
					}
					out[h] = true
				}
			}
		}
		now := 0.0
		for range 600 {
			now += rng.Float64()
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(3))}), uint16(4000+rng.IntN(12)))
			b := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(rng.IntN(3))}), uint16(4000+rng.IntN(12)))
			id := fmt.Sprint("call-", rng.IntN(12))
			switch rng.IntN(8) {
			case 0:
				take(c.SIP("default", sipCall(id), message(id, "INVITE", 0, media(a.Addr().String(), uint32(a.Port()))), at(now)).Released)
			case 1:
				take(c.SIP("default", sipCall(id), message(id, "BYE", 0, nil), at(now)).Released)
			case 2:
				take(c.Learn(&telemetry.Binding{Company: "default", Scope: "default", Address: b.String(), CallKey: id, AtUs: at(now), Kind: "audio"}, at(now)))
			case 3:
				take(c.Advance(at(now)))
			default:
				p := MediaPacket{a, b, []uint32{uint32(rng.IntN(6)), uint32(rng.IntN(6))}}
				if _, _, ok := c.Place("default", p, at(now)); !ok {
					given++
					take(c.Wait("default", p, &Held{Company: "default"}, at(now)))
				}
			}
		}
		take(c.Drain(at(now)))
		if len(out) != given || c.Stats().Waiting != 0 {
			t.Fatalf("seed %d: %d records given, %d came out, %d wait", seed, given, len(out), c.Stats().Waiting)
		}
	}
}
