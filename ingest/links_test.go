package ingest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// hop1 is the way of a caller to a back-to-back user agent, hop2 from there on,
// hop3 and so forth further.
var hops = [...]string{"10.0.0.1:5060", "10.0.0.2:5060", "10.0.0.3:5060", "10.0.0.4:5060"}

type messageOption func(*telemetry.SIPMessage)

func withHeader(line string) messageOption {
	return func(m *telemetry.SIPMessage) { m.Raw = append(m.Raw, line+"\r\n"...) }
}
func withSession(v string) messageOption { return func(m *telemetry.SIPMessage) { m.SessionId = v } }
func withNumbers(from, to string) messageOption {
	return func(m *telemetry.SIPMessage) { m.From.User, m.To.User = from, to }
}
func between(src, dst string) messageOption {
	return func(m *telemetry.SIPMessage) { m.Src, m.Dst = src, dst }
}

// legInvite is the first INVITE of the leg from hops[n] to hops[n+1].
func legInvite(n int, callID string, options ...messageOption) *telemetry.SIPMessage {
	m := message(callID, "INVITE", 0, media(fmt.Sprint("10.0.0.", n+1), uint32(4000+100*n)))
	m.Src, m.Dst = hops[n], hops[n+1]
	m.From, m.To = &telemetry.NameAddr{Tag: "t"}, &telemetry.NameAddr{}
	m.Raw = []byte("INVITE sip:b@h SIP/2.0\r\n")
	for _, o := range options {
		o(m)
	}
	return m
}

const (
	uuidA = "ab30317f1a784dc48ff824d0d3715d86"
	uuidB = "47755a9de7794ba387653f2099600ef2"
	nilID = "00000000000000000000000000000000"
)

func TestSessionID(t *testing.T) {
	for value, want := range map[string]string{
		uuidA + ";remote=" + nilID: "s:" + uuidA + ",",
		uuidA:                      "s:" + uuidA + ",",
		uuidA + ";remote=" + uuidB: "s:" + uuidB + "," + uuidA,
		uuidB + " ; Remote = " + strings.ToUpper(uuidA): "s:" + uuidB + "," + uuidA,
		nilID + ";remote=" + uuidA:                      "s:" + uuidA + ",",
		"ab30317f-1a78-4dc4-8ff8-24d0d3715d86;x=1":      "s:" + uuidA + ",",
		nilID + ";remote=" + nilID:                      "",
		"":                                              "",
		"something else":                                "",
		uuidA[:31] + "g":                                "",
		uuidA + "0;remote=" + uuidB:                     "s:" + uuidB + ",",
		uuidA + ";logme;remote=" + uuidB + ";remote=none": "s:" + uuidA + ",",
	} {
		if got := sessionKey(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func number(user string) string { return string(appendNumberKey(nil, user)) }

func TestNumbersAreTheSame(t *testing.T) {
	for _, same := range [][]string{
		{"+13125550100", "13125550100", "3125550100", "(312) 555-0100", "+13125550100;phone-context=x"},
		{"100"}, {"5550100"}, {"Alice", "alice"}, {""}, {"+1#00"},
	} {
		for _, n := range same {
			if number(n) != number(same[0]) {
				t.Errorf("%q and %q differ", n, same[0])
			}
		}
	}
	if number("100") == number("1100") || number("5550100") == number("3125550100") {
		t.Error("different numbers are the same")
	}
}

func TestLegsAreLinked(t *testing.T) {
	numbers := withNumbers("+13125550100", "+14155550199")
	for name, tc := range map[string]struct {
		a, b []messageOption
		want string // why; empty: not
	}{
		"Session-ID":              {[]messageOption{withSession(uuidA + ";remote=" + nilID)}, []messageOption{withSession(uuidA + ";remote=" + nilID)}, LinkedBySession},
		"Session-ID of old":       {[]messageOption{withSession(uuidA)}, []messageOption{withSession(uuidA + ";remote=" + nilID)}, LinkedBySession},
		"another Session-ID":      {[]messageOption{withSession(uuidA)}, []messageOption{withSession(uuidB)}, ""},
		"no UUID":                 {[]messageOption{withSession(nilID)}, []messageOption{withSession(nilID)}, ""},
		"Call-ID in a header":     {nil, []messageOption{withHeader("X-CID: a@h")}, LinkedByHeader},
		"any case":                {nil, []messageOption{withHeader("x-call-id:   a@h")}, LinkedByHeader},
		"told by the first":       {[]messageOption{withHeader("X-CID: b@h")}, nil, LinkedByHeader},
		"same value":              {[]messageOption{withHeader("X-Correlation-ID: 1234-5678")}, []messageOption{withHeader("X-Correlation-ID: 1234-5678")}, LinkedByHeader},
		"same value, too short":   {[]messageOption{withHeader("X-Correlation-ID: 1234")}, []messageOption{withHeader("X-Correlation-ID: 1234")}, ""},
		"same value elsewhere":    {[]messageOption{withHeader("X-Correlation-ID: 1234-5678")}, []messageOption{withHeader("X-Other: 1234-5678")}, ""},
		"charging vector":         {[]messageOption{withHeader(`P-Charging-Vector: icid-value="AyretyU0dm+6O2IrT5tAFrbHLso=023551024"; orig-ioi=home1.net`)}, []messageOption{withHeader(`P-Charging-Vector: icid-value=AyretyU0dm+6O2IrT5tAFrbHLso=023551024;term-ioi=x`)}, LinkedByHeader},
		"guess":                   {[]messageOption{numbers}, []messageOption{withNumbers("3125550100", "0014155550199")}, LinkedByGuess},
		"the surest counts":       {[]messageOption{numbers, withSession(uuidA)}, []messageOption{numbers, withSession(uuidA), withHeader("X-CID: a@h")}, LinkedBySession},
		"another caller":          {[]messageOption{numbers}, []messageOption{withNumbers("+13125550101", "+14155550199")}, ""},
		"another number":          {[]messageOption{numbers}, []messageOption{withNumbers("+13125550100", "+14155550198")}, ""},
		"another host":            {[]messageOption{numbers}, []messageOption{numbers, between("10.0.0.9:5060", hops[2])}, ""},
		"no number":               {[]messageOption{withNumbers("anonymous", "100")}, []messageOption{withNumbers("anonymous", "100")}, ""},
		"another port of a host":  {[]messageOption{numbers}, []messageOption{numbers, between("10.0.0.2:5080", hops[2])}, LinkedByGuess},
		"the caller again":        {[]messageOption{numbers, between("127.0.0.1:5061", "127.0.0.1:5060")}, []messageOption{numbers, between("127.0.0.1:5061", "127.0.0.1:5060")}, ""},
		"other programs on it":    {[]messageOption{numbers, between("127.0.0.1:5061", "127.0.0.1:5060")}, []messageOption{numbers, between("127.0.0.1:5062", "127.0.0.1:5060")}, ""},
		"a server on one machine": {[]messageOption{numbers, between("127.0.0.1:5061", "127.0.0.1:5060")}, []messageOption{numbers, between("127.0.0.1:5060", "127.0.0.1:5062")}, LinkedByGuess},
	} {
		c := newTestCorrelator()
		c.SIP("default", sipCall("a@h"), legInvite(0, "a@h", tc.a...), at(0))
		seen := c.SIP("default", sipCall("b@h"), legInvite(1, "b@h", tc.b...), at(1))
		key := "b@h"
		if tc.want != "" {
			key = "a@h"
		}
		if seen.Call.Key != key || seen.LinkedBy != tc.want {
			t.Errorf("%s: call %q linked by %q, want %q", name, seen.Call.Key, seen.LinkedBy, tc.want)
		}
		if len(seen.Released) != 0 {
			t.Errorf("%s: %d records", name, len(seen.Released))
		}
		// What follows of the leg, its media and its correlation id go the same way.
		if seen := c.SIP("default", sipCall("b@h"), message("b@h", "BYE", 0, nil), at(2)); seen.Call.Key != key || seen.LinkedBy != tc.want {
			t.Errorf("%s: BYE in %q, linked by %q", name, seen.Call.Key, seen.LinkedBy)
		}
		c.mustPlace(t, packet("10.0.0.2:4101", "10.0.0.99:9"), at(3), key)
		if call, ok := c.Known("default", "b@h"); !ok || call.Key != key {
			t.Errorf("%s: known as %q", name, call.Key)
		}
	}
}

func TestChainOfLegs(t *testing.T) {
	c := newTestCorrelator()
	session := withSession(uuidA + ";remote=" + nilID)
	c.SIP("default", sipCall("a"), legInvite(0, "a", session), at(0))
	c.SIP("default", sipCall("b"), legInvite(1, "b", session, withHeader("X-Correlation-ID: chain-42")), at(0.1))
	seen := c.SIP("default", sipCall("c"), legInvite(2, "c", withHeader("X-Correlation-ID: chain-42")), at(0.2))
	if seen.Call.Key != "a" || seen.LinkedBy != LinkedByHeader {
		t.Errorf("call %q linked by %q", seen.Call.Key, seen.LinkedBy)
	}
	if s := c.Stats(); s.Linked != [4]uint64{0, 1, 1, 0} {
		t.Errorf("stats %+v", s)
	}
}

// Sipwise's servers make the Call-ID of a leg of that of the leg before.
func TestCallIDsThatAreMadeOfOthers(t *testing.T) {
	for _, order := range [][]string{{"a@h", "a@h_b2b-1", "a@h_b2b-1_pbx-1"}, {"a@h_b2b-1", "a@h"}, {"a@h", "a@h_b2b-1_b2b-1"}} {
		c := newTestCorrelator()
		for i, id := range order {
			seen := c.SIP("default", sipCall(id), legInvite(i, id), at(float64(i)))
			if want := order[0]; seen.Call.Key != want {
				t.Errorf("%v: %s is in %q", order, id, seen.Call.Key)
			}
			if i > 0 && seen.LinkedBy != LinkedByHeader {
				t.Errorf("%v: %s linked by %q", order, id, seen.LinkedBy)
			}
		}
	}
	c := newTestCorrelator()
	for i, id := range []string{"a@h_b2b-1", "_b2b-1", "b@h_b2b-2"} {
		if seen := c.SIP("default", sipCall(id), legInvite(0, id), at(float64(i))); seen.Call.Key != id || seen.LinkedBy != "" {
			t.Errorf("%s is in %q, linked by %q", id, seen.Call.Key, seen.LinkedBy)
		}
	}
}

// A guess is made only where nothing else is possible.
func TestGuessesAreCareful(t *testing.T) {
	numbers := withNumbers("+13125550100", "+14155550199")
	for name, tc := range map[string]struct {
		before func(c *Correlator)
		at     float64
		want   string
	}{
		"too late":     {func(c *Correlator) { c.SIP("default", sipCall("a"), legInvite(0, "a", numbers), at(0)) }, 3.1, "b"},
		"just in time": {func(c *Correlator) { c.SIP("default", sipCall("a"), legInvite(0, "a", numbers), at(0)) }, 2.9, "a"},
		"two candidates": {func(c *Correlator) {
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers), at(0))
			c.SIP("default", sipCall("x"), legInvite(0, "x", numbers), at(0.5))
		}, 1, "b"},
		"one is over": {func(c *Correlator) {
			c.SIP("default", sipCall("x"), legInvite(0, "x", numbers), at(0))
			c.SIP("default", sipCall("x"), message("x", "INVITE", 486, nil), at(0.1))
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers), at(0.5))
		}, 1, "a"},
		"a proxy": {func(c *Correlator) {
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers), at(0))
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between(hops[1], hops[2])), at(0.1))
		}, 1, "b"},
		"a proxy before it": {func(c *Correlator) {
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between(hops[0], "10.0.0.9:5060")), at(0))
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between("10.0.0.9:5060", hops[1])), at(0.1))
		}, 1, "a"},
		"a fork before it": {func(c *Correlator) {
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between(hops[0], "10.0.0.9:5060")), at(0))
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between("10.0.0.9:5060", "10.0.0.8:5060")), at(0.1))
			c.SIP("default", sipCall("a"), legInvite(0, "a", numbers, between("10.0.0.9:5060", hops[1])), at(0.1))
		}, 1, "a"},
	} {
		c := newTestCorrelator()
		tc.before(c)
		if seen := c.SIP("default", sipCall("b"), legInvite(1, "b", numbers), at(tc.at)); seen.Call.Key != tc.want {
			t.Errorf("%s: call %q, want %q", name, seen.Call.Key, tc.want)
		}
	}
	cfg := DefaultConfig()
	cfg.Correlation.Guess, cfg.Correlation.SessionID, cfg.Correlation.Headers = false, false, nil
	c := NewCorrelator(cfg.Waiting, cfg.Bindings, cfg.Correlation)
	all := []messageOption{numbers, withSession(uuidA), withHeader("X-CID: a")}
	c.SIP("default", sipCall("a"), legInvite(0, "a", all...), at(0))
	if seen := c.SIP("default", sipCall("b"), legInvite(1, "b", all...), at(0.1)); seen.Call.Key != "b" {
		t.Errorf("everything is off, and call is %q", seen.Call.Key)
	}
}

// Two Call-IDs that share a key of another company stay apart.
func TestCompaniesAreNotLinked(t *testing.T) {
	c := newTestCorrelator()
	session := withSession(uuidA)
	c.SIP("default", Call{"acme", "a"}, legInvite(0, "a", session), at(0))
	if seen := c.SIP("default", Call{"other", "b"}, legInvite(1, "b", session, withHeader("X-CID: a")), at(0.1)); seen.Call.Key != "b" {
		t.Errorf("call %q", seen.Call.Key)
	}
	if seen := c.SIP("default", Call{"acme", "c"}, legInvite(1, "c", session), at(0.2)); seen.Call.Key != "a" {
		t.Errorf("call %q", seen.Call.Key)
	}
}

func TestLegsOfACallAreBounded(t *testing.T) {
	c := newTestCorrelator()
	own := 0
	for i := range 40 {
		id := fmt.Sprint("leg-", i)
		if seen := c.SIP("default", sipCall(id), legInvite(0, id, withHeader("X-CID: constant-value")), at(float64(i))); seen.Call.Key == id {
			own++
		}
	}
	if s := c.Stats(); own != 1+24 || s.LinksRefused != 24 {
		t.Errorf("%d calls, stats %+v", own, s)
	}
}

// told decodes the records that tell calls of each other.
func told(t *testing.T, held []*Held) (out []string) {
	t.Helper()
	for _, h := range held {
		var r telemetry.Record
		if err := r.UnmarshalVT(h.record); err != nil {
			t.Fatal(err)
		}
		if l := r.GetLink(); l != nil {
			out = append(out, fmt.Sprint(h.CallKey, " with ", l.CallKey, " by ", l.LinkedBy))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestLateLinks(t *testing.T) {
	numbers := withNumbers("+13125550100", "+14155550199")
	session := func(v string) messageOption { return withSession(v) }
	for name, tc := range map[string]struct {
		first, second, late *telemetry.SIPMessage
		by                  string
	}{
		"Session-ID": {legInvite(0, "a"), legInvite(1, "b", session(uuidA+";remote="+uuidB)),
			legInvite(0, "a", session(uuidB+";remote="+uuidA)), LinkedBySession},
		"guess, the second leg first": {legInvite(1, "b", numbers), legInvite(2, "c"), legInvite(0, "a", numbers), LinkedByGuess},
	} {
		c := newTestCorrelator()
		c.SIP("default", sipCall(tc.first.CallId), tc.first, at(0))
		c.SIP("default", sipCall(tc.second.CallId), tc.second, at(0.1))
		seen := c.SIP("default", sipCall(tc.late.CallId), tc.late, at(0.2))
		got := told(t, seen.Released)
		want := []string{"a with b by " + tc.by, "b with a by " + tc.by}
		if seen.Call.Key != "a" || !slices.Equal(got, want) {
			t.Errorf("%s: call %q told %q", name, seen.Call.Key, got)
		}
		if c.Stats().LateLinks == 0 {
			t.Errorf("%s: not counted", name)
		}
	}
}

func TestPosted(t *testing.T) {
	c := newTestCorrelator()
	key := func(callID, sipCallID string, want string) {
		t.Helper()
		if got := c.Posted("default", callID, sipCallID, at(1)).Call.Key; got != want {
			t.Errorf("%q, %q: %q, want %q", callID, sipCallID, got, want)
		}
	}
	key("own", "", "own")
	// Signalling first: the platform's id stands for the SIP call from then on.
	c.SIP("default", sipCall("a"), legInvite(0, "a"), at(0))
	key("p1", "a", "a")
	key("p1", "", "a")
	// Another leg of the same id of the platform's.
	key("p1", "b", "a")
	if seen := c.SIP("default", sipCall("b"), legInvite(1, "b"), at(1)); seen.Call.Key != "a" || seen.LinkedBy != LinkedByEvent {
		t.Errorf("call %q linked by %q", seen.Call.Key, seen.LinkedBy)
	}
	// The platform first.
	key("p2", "c", "c")
	key("p2", "", "c")
	if seen := c.SIP("default", sipCall("c"), legInvite(2, "c"), at(1)); seen.Call.Key != "c" || seen.LinkedBy != "" {
		t.Errorf("call %q linked by %q", seen.Call.Key, seen.LinkedBy)
	}
	// Its id alone was there first: what comes of the SIP call goes there.
	key("p3", "", "p3")
	key("p3", "d", "p3")
	if seen := c.SIP("default", sipCall("d"), legInvite(0, "d"), at(1)); seen.Call.Key != "p3" {
		t.Errorf("call %q", seen.Call.Key)
	}
	// Both have records: they are told.
	c.SIP("default", sipCall("e"), legInvite(0, "e"), at(1))
	key("p4", "", "p4")
	if got := told(t, c.Posted("default", "p4", "e", at(2)).Released); !slices.Equal(got, []string{"e with p4 by event", "p4 with e by event"}) {
		t.Errorf("told %q", got)
	}
	// Nobody else's.
	if got := c.Posted("other", "p1", "", at(1)).Call; got != (Call{"other", "p1"}) {
		t.Errorf("call %v", got)
	}
	if s := c.Stats(); s.Linked[0] != 2 {
		t.Errorf("stats %+v", s)
	}
}

// What is known of legs goes with their calls.
func TestLinksAreForgotten(t *testing.T) {
	c := newTestCorrelator()
	for i := range 100 {
		a, b := fmt.Sprint("a", i), fmt.Sprint("b", i)
		options := []messageOption{withNumbers("+1312555"+fmt.Sprint(1000+i), "+14155550199"), withSession(fmt.Sprintf("%032x", i+1)), withHeader("X-CID: " + a)}
		c.SIP("default", sipCall(a), legInvite(0, a, options...), at(float64(i)))
		if seen := c.SIP("default", sipCall(b), legInvite(1, b, options...), at(float64(i))); seen.Call.Key != a {
			t.Fatalf("call %q", seen.Call.Key)
		}
		for _, id := range []string{a, b} {
			c.SIP("default", sipCall(id), message(id, "BYE", 0, nil), at(float64(i)+0.5))
		}
	}
	c.Advance(at(1000))
	if k := c.links; len(k.index)+len(k.guesses)+k.recent.len()+len(c.foreign)+len(c.scopes["default"].calls) != 0 {
		t.Errorf("left: %d keys, %d guesses, %d recent, %d foreign", len(k.index), len(k.guesses), k.recent.len(), len(c.foreign))
	}
}

// TestLegsAmongIngesters plays the messages of two legs to two ingesters in any
// interleaving, with bindings that arrive at any time: in the end it is one call,
// or two that know of each other, and no message is lost.
func TestLegsAmongIngesters(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	how := map[string][2][]messageOption{
		LinkedBySession: {{withSession(uuidA + ";remote=" + nilID)}, {withSession(uuidA + ";remote=" + nilID)}},
		LinkedByHeader:  {nil, {withHeader("X-CID: a")}},
		LinkedByGuess:   {{withNumbers("+13125550100", "+14155550199")}, {withNumbers("+13125550100", "+14155550199")}},
	}
	one, pair := 0, 0
	for range 800 {
		for by, options := range how {
			legs := [2][]*telemetry.SIPMessage{}
			for i, id := range []string{"a", "b"} {
				answer := message(id, "INVITE", 200, media(fmt.Sprint("10.0.1.", i), 6000))
				answer.From, answer.To = &telemetry.NameAddr{Tag: "t"}, &telemetry.NameAddr{Tag: "u"}
				legs[i] = []*telemetry.SIPMessage{legInvite(i, id, options[i]...), answer, message(id, "BYE", 0, nil)}
			}
			ingesters := [2]*Correlator{newTestCorrelator(), newTestCorrelator()}
			var shared [2][]*telemetry.Binding
			keys := map[string][]string{}
			links := map[string]bool{}
			note := func(held []*Held) {
				for _, l := range told(t, held) {
					links[l] = true
				}
			}
			now := 0.0
			deliver := func(to, n int) {
				for range n {
					if len(shared[to]) > 0 {
						note(ingesters[to].Learn(shared[to][0], at(now)))
						shared[to] = shared[to][1:]
					}
				}
			}
			for len(legs[0])+len(legs[1]) > 0 {
				now += 0.05
				deliver(0, rng.IntN(4))
				deliver(1, rng.IntN(4))
				leg := rng.IntN(2)
				if len(legs[leg]) == 0 {
					leg = 1 - leg
				}
				m := legs[leg][0]
				legs[leg] = legs[leg][1:]
				i := rng.IntN(2)
				seen := ingesters[i].SIP("default", sipCall(m.CallId), m, at(now))
				if seen.Call.Key == "" {
					t.Fatalf("seed %d: a message without a call", seed)
				}
				keys[m.CallId] = append(keys[m.CallId], seen.Call.Key)
				note(seen.Released)
				shared[1-i] = append(shared[1-i], seen.Fresh...)
			}
			deliver(0, len(shared[0]))
			deliver(1, len(shared[1]))
			all := slices.Concat(keys["a"], keys["b"])
			slices.Sort(all)
			all = slices.Compact(all)
			switch {
			case len(keys["a"]) != 3 || len(keys["b"]) != 3:
				t.Fatalf("seed %d, %s: lost: %v", seed, by, keys)
			case len(all) == 1:
				one++
			case !slices.Equal(all, []string{"a", "b"}) || !links["a with b by "+by] || !links["b with a by "+by]:
				t.Fatalf("seed %d, %s: calls %v, links %v", seed, by, keys, links)
			default:
				pair++
			}
		}
	}
	if one == 0 || pair == 0 {
		t.Errorf("%d times one call, %d times a pair", one, pair)
	}
}

// Nothing is allocated for the messages of a call that is known.
func TestKnownCallsCostNoMemory(t *testing.T) {
	c := newTestCorrelator()
	options := []messageOption{withSession(uuidA + ";remote=" + nilID), withNumbers("+13125550100", "+14155550199")}
	c.SIP("default", sipCall("a"), legInvite(0, "a", options...), at(0))
	c.SIP("default", sipCall("b"), legInvite(1, "b", options...), at(0.1))
	ack := message("b", "ACK", 0, nil)
	ack.SessionId = uuidA + ";remote=" + nilID
	p := MediaPacket{Src: addr("10.0.0.2:4101"), Dst: netip.MustParseAddrPort("10.0.0.99:9")}
	if n := testing.AllocsPerRun(100, func() {
		c.SIP("default", sipCall("b"), ack, at(1))
		c.Place("default", p, at(1))
		c.Known("default", "b")
		c.Posted("default", "b", "", at(1))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSessionID(f *testing.F) {
	f.Add(uuidA + ";remote=" + uuidB)
	f.Add("a;b=c;;remote")
	f.Fuzz(func(t *testing.T, value string) {
		local, remote := sessionUUIDs(value)
		for _, u := range []string{local, remote} {
			if u != "" && len(u) != 32 {
				t.Fatalf("UUID %q", u)
			}
		}
		// Both ends say the same of their session.
		if local != "" && remote != "" && sessionKey(local+";remote="+remote) != sessionKey(remote+";remote="+local) {
			t.Fatal("the ends differ")
		}
	})
}

// What another ingester says is taken or left, whatever it is.
func FuzzLearnedLinks(f *testing.F) {
	f.Add("default", "a", "b", LinkedBySession, "s:"+uuidA+",", "gotg:10.0.0.2|1|2|10.0.0.2:5060|10.0.0.1:5060")
	f.Add("default", "b", "", "nonsense", "sentg:10.0.0.2|1|2|10.0.0.2:5060", "c:a")
	f.Add("", "", "x", "", "gotg:||", "h:x-cid:")
	f.Fuzz(func(t *testing.T, company, callKey, callID, by, key1, key2 string) {
		c := newTestCorrelator()
		c.SIP("default", sipCall("a"), legInvite(0, "a", withSession(uuidA), withNumbers("1", "2")), at(0))
		c.SIP("default", sipCall("b"), legInvite(1, "b", withNumbers("1", "2")), at(0.1))
		shared := &telemetry.Binding{Company: company, Scope: "default", CallKey: callKey, CallId: callID, LinkedBy: by, LinkKeys: []string{key1, key2}, AtUs: at(0.2)}
		for range 2 {
			for _, h := range c.Learn(shared, at(0.2)) {
				if h.Company != "default" && h.Company != company {
					t.Fatalf("a record of %q", h.Company)
				}
			}
		}
		if seen := c.SIP("default", sipCall("a"), message("a", "BYE", 0, nil), at(1)); seen.Call.Key != "a" {
			t.Fatalf("the call changed to %q", seen.Call.Key)
		}
		c.Advance(at(10_000))
		c.Advance(at(100_000))
		if len(c.links.index) != 0 || len(c.scopes["default"].calls) != 0 {
			t.Fatal("not forgotten")
		}
	})
}
