package ingest

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/earshot/earshot/telemetry"
)

func newTestCorrelator() *Correlator {
	c := DefaultConfig()
	return NewCorrelator(c.Waiting, c.Bindings, c.Correlation)
}

func at(seconds float64) int64 { return 1_700_000_000_000_000 + int64(seconds*1e6) }

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func packet(src, dst string, ssrcs ...uint32) MediaPacket {
	return MediaPacket{Src: addr(src), Dst: addr(dst), SSRCs: ssrcs}
}

func media(address string, port uint32, mutate ...func(*telemetry.Media)) *telemetry.SDP {
	m := &telemetry.Media{Kind: "audio", Protocol: "RTP/AVP", Address: address, Port: port, RtcpAddress: address, RtcpPort: port + 1,
		Codecs: []*telemetry.Codec{{PayloadType: 0, ClockRate: 8000}}}
	for _, f := range mutate {
		f(m)
	}
	return &telemetry.SDP{Media: []*telemetry.Media{m}}
}

func message(callID, method string, status uint32, sdp *telemetry.SDP) *telemetry.SIPMessage {
	return &telemetry.SIPMessage{CallId: callID, Method: method, Status: status, Sdp: sdp}
}

func (c *Correlator) mustPlace(t *testing.T, p MediaPacket, now int64, want string) {
	t.Helper()
	call, _, _ := c.Place("default", p, now)
	if call.Key != want {
		t.Errorf("%s -> %s at %d: call %q, want %q", p.Src, p.Dst, now, call.Key, want)
	}
}

func sipCall(key string) Call { return Call{Company: "default", Key: key} }

func TestCorrelatorPlacesBySDP(t *testing.T) {
	c := newTestCorrelator()
	fresh := c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("10.0.0.1", 4000)), at(0)).Fresh
	if len(fresh) != 2 || fresh[0].Address != "10.0.0.1:4000" || fresh[1].Address != "10.0.0.1:4001" || fresh[0].ClockRate != 8000 {
		t.Errorf("bindings %v", fresh)
	}
	c.SIP("default", sipCall("a"), message("a", "INVITE", 200, media("10.0.0.2", 5000)), at(1))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(2), "a")
	// Symmetric NAT: only one end is where SDP said.
	c.mustPlace(t, packet("192.0.2.7:61000", "10.0.0.2:5001"), at(2), "a")
	c.mustPlace(t, packet("10.0.0.2:5001", "192.0.2.7:61000"), at(2), "a")
	c.mustPlace(t, packet("192.0.2.9:61000", "192.0.2.8:61000"), at(2), "")
	if _, _, ok := c.Place("other", packet("10.0.0.1:4001", "10.0.0.2:5001"), at(2)); ok {
		t.Error("another scope sees the binding")
	}
	s := c.Stats()
	if s.BySource != 2 || s.ByDestination != 1 || s.Learned != 1 || s.Calls != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestCorrelatorRTCPPorts(t *testing.T) {
	for name, tc := range map[string]struct {
		mutate func(*telemetry.Media)
		yes    []string
		no     []string
	}{
		"port+1":   {func(*telemetry.Media) {}, []string{"10.0.0.1:4000", "10.0.0.1:4001"}, []string{"10.0.0.1:4002"}},
		"a=rtcp":   {func(m *telemetry.Media) { m.RtcpAddress, m.RtcpPort = "10.0.0.9", 7000 }, []string{"10.0.0.9:7000", "10.0.0.1:4000"}, []string{"10.0.0.1:4001"}},
		"mux":      {func(m *telemetry.Media) { m.RtcpMux, m.RtcpPort = true, 4000 }, []string{"10.0.0.1:4000", "10.0.0.1:4001"}, nil},
		"rejected": {func(m *telemetry.Media) { m.Port = 0 }, nil, []string{"10.0.0.1:4000", "10.0.0.1:4001", "10.0.0.1:1"}},
		"old hold": {func(m *telemetry.Media) { m.Address, m.RtcpAddress = "0.0.0.0", "0.0.0.0" }, nil, []string{"0.0.0.0:4000"}},
		"ice":      {func(m *telemetry.Media) { m.Candidates = []string{"203.0.113.5:50000"} }, []string{"203.0.113.5:50000"}, nil},
		"name":     {func(m *telemetry.Media) { m.Address, m.RtcpAddress = "phone.example", "" }, nil, []string{"10.0.0.1:4000"}},
	} {
		c := newTestCorrelator()
		c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("10.0.0.1", 4000, tc.mutate)), at(0))
		for _, a := range tc.yes {
			if call, _, _ := c.Place("default", packet(a, "198.51.100.1:9"), at(1)); call.Key != "a" {
				t.Errorf("%s: %s not placed", name, a)
			}
		}
		for _, a := range tc.no {
			if call, _, ok := c.Place("default", packet(a, "198.51.100.1:9"), at(1)); ok {
				t.Errorf("%s: %s placed in %v", name, a, call)
			}
		}
	}
}

func TestCorrelatorSSRCFallback(t *testing.T) {
	c := newTestCorrelator()
	c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("10.0.0.1", 4000, func(m *telemetry.Media) { m.Ssrcs = []uint32{77} })), at(0))
	c.mustPlace(t, packet("192.0.2.7:61000", "192.0.2.8:61000", 5, 77), at(1), "a")
	c.mustPlace(t, packet("192.0.2.7:61000", "192.0.2.8:61000", 5), at(1), "")
	if c.Stats().BySSRC != 1 {
		t.Errorf("stats %+v", c.Stats())
	}
}

func TestCorrelatorPortReuse(t *testing.T) {
	c := newTestCorrelator()
	c.SIP("default", sipCall("old"), message("old", "INVITE", 0, media("10.0.0.1", 4000)), at(0))
	c.SIP("default", sipCall("new"), message("new", "INVITE", 0, media("10.0.0.1", 4000)), at(60))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(61), "new")
	// A late retransmission of the old call must not take the port back.
	c.SIP("default", sipCall("old"), message("old", "INVITE", 200, media("10.0.0.1", 4000)), at(62))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(63), "new")
	// But when the newer call is over, a re-INVITE of the older one may.
	c.SIP("default", sipCall("new"), message("new", "BYE", 0, nil), at(70))
	c.SIP("default", sipCall("old"), message("old", "INVITE", 0, media("10.0.0.1", 4000)), at(71))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(72), "old")
}

func TestCorrelatorForgets(t *testing.T) {
	c := newTestCorrelator()
	c.SIP("default", sipCall("bye"), message("bye", "INVITE", 0, media("10.0.0.1", 4000)), at(0))
	c.SIP("default", sipCall("bye"), message("bye", "INVITE", 200, nil), at(1))
	c.SIP("default", sipCall("bye"), message("bye", "INVITE", 488, nil), at(2)) // a refused re-INVITE ends nothing
	c.Advance(at(300))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(300), "bye")
	c.SIP("default", sipCall("bye"), message("bye", "BYE", 0, nil), at(301))
	c.Advance(at(301 + 179))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(301+179), "bye")
	c.Advance(at(301 + 180))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(301+180), "")

	c.SIP("default", sipCall("busy"), message("busy", "INVITE", 0, media("10.0.0.1", 4000)), at(1000))
	c.SIP("default", sipCall("busy"), message("busy", "INVITE", 486, nil), at(1001))
	c.Advance(at(1001 + 180))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(1182), "")

	// Idle: not the beginning counts, but the last sign of life.
	c.SIP("default", sipCall("long"), message("long", "INVITE", 0, media("10.0.0.1", 4000)), at(2000))
	const hour = 3600
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(2000+3*hour), "long")
	c.Advance(at(2000 + 4*hour))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(2000+4*hour), "long")
	c.Advance(at(2000 + 8*hour + 1))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(2000+8*hour+1), "")
	if n := c.Stats().Calls; n != 0 {
		t.Errorf("%d calls left", n)
	}
	for _, s := range c.scopes {
		if len(s.addresses)+len(s.calls)+len(s.ssrcs)+len(s.own)+len(s.heard)+len(s.waitAddr)+len(s.waitSSRC) != 0 {
			t.Errorf("left over: %+v", s)
		}
	}
}

func rtcpRecord(n int64) *Held {
	return &Held{Company: "default", record: binary.BigEndian.AppendUint64(nil, uint64(n))}
}

func TestCorrelatorWaitingRoom(t *testing.T) {
	c := newTestCorrelator()
	first, second, ssrc := rtcpRecord(1), rtcpRecord(2), rtcpRecord(3)
	c.Wait("default", packet("10.0.0.1:4001", "10.0.0.2:5001"), first, at(0))
	c.Wait("default", packet("10.0.0.2:5001", "10.0.0.1:4001"), second, at(1))
	c.Wait("default", packet("192.0.2.7:61000", "192.0.2.8:61000", 77), ssrc, at(2))
	released := c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("10.0.0.1", 4000)), at(3)).Released
	if len(released) != 2 || released[0] != first || released[1] != second || first.CallKey != "a" || second.CallKey != "a" {
		t.Fatalf("released %v", released)
	}
	released = c.SIP("default", sipCall("a"), message("a", "INVITE", 200, media("10.0.0.2", 5000, func(m *telemetry.Media) { m.Ssrcs = []uint32{77} })), at(4)).Released
	if len(released) != 1 || released[0] != ssrc {
		t.Fatalf("released by SSRC %v", released)
	}
	if s := c.Stats(); s.Waited != 3 || s.Released != 3 || s.Waiting != 0 {
		t.Errorf("stats %+v", s)
	}
	if expired := c.Advance(at(100)); len(expired) != 0 {
		t.Errorf("expired %v", expired)
	}
	s := c.scopes["default"]
	if len(s.waitAddr)+len(s.waitSSRC) != 0 || c.room.len() != 0 {
		t.Errorf("left in the room: %v %v %d", s.waitAddr, s.waitSSRC, c.room.len())
	}
}

func TestCorrelatorExpiryMakesOneCallOfItsOwn(t *testing.T) {
	c := newTestCorrelator()
	there, back := rtcpRecord(1), rtcpRecord(2)
	c.Wait("default", packet("10.0.0.1:4001", "10.0.0.2:5001"), there, at(0))
	c.Wait("default", packet("10.0.0.2:5001", "10.0.0.1:4001"), back, at(5))
	if expired := c.Advance(at(29.999)); len(expired) != 0 {
		t.Fatalf("expired early: %v", expired)
	}
	// What waits for less long goes with it: what follows must not come before it.
	if expired := c.Advance(at(30)); len(expired) != 2 || expired[0] != there || expired[1] != back {
		t.Fatalf("expired %v", expired)
	}
	if there.CallKey == "" || there.CallKey != back.CallKey {
		t.Errorf("keys %q and %q", there.CallKey, back.CallKey)
	}
	// What follows does not wait again.
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(40), there.CallKey)
	// Until signalling turns up after all.
	c.SIP("default", sipCall("a"), message("a", "INVITE", 0, media("10.0.0.1", 4000)), at(41))
	c.mustPlace(t, packet("10.0.0.1:4001", "10.0.0.2:5001"), at(42), "a")
}

// Two phones that send a copy of their RTCP to a monitor have no address in
// common but the monitor's, which all phones have.
func TestCorrelatorJoinsThePartiesOfRTCPAloneBySSRC(t *testing.T) {
	const monitor = "192.0.2.1:5005"
	type sent struct {
		src   string
		ssrcs []uint32
	}
	for name, tt := range map[string]struct {
		sent  []sent
		calls int
	}{
		"each reports about the other":        {[]sent{{"10.0.0.1:4001", []uint32{1}}, {"10.0.0.2:5001", []uint32{2}}, {"10.0.0.1:4001", []uint32{1, 2}}, {"10.0.0.2:5001", []uint32{2, 1}}}, 1},
		"one hears nothing":                   {[]sent{{"10.0.0.1:4001", []uint32{1}}, {"10.0.0.2:5001", []uint32{2, 1}}, {"10.0.0.1:4001", []uint32{1}}}, 1},
		"neither hears anything":              {[]sent{{"10.0.0.1:4001", []uint32{1}}, {"10.0.0.2:5001", []uint32{2}}}, 2},
		"two calls of phones with one SSRC":   {[]sent{{"10.0.0.1:4001", []uint32{1, 2}}, {"10.0.0.3:4001", []uint32{1, 3}}}, 2},
		"two calls":                           {[]sent{{"10.0.0.1:4001", []uint32{1, 2}}, {"10.0.0.3:4001", []uint32{3, 4}}, {"10.0.0.2:5001", []uint32{2, 1}}, {"10.0.0.4:4001", []uint32{4, 3}}}, 2},
		"the second speaks up after a minute": {[]sent{{"10.0.0.1:4001", []uint32{1, 2}}, {}, {"10.0.0.2:5001", []uint32{2, 1}}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCorrelator()
			now, order := 0., 0
			keys := map[string]string{}
			var came []*Held
			for i, p := range tt.sent {
				if p.src == "" {
					now += 60
					came = append(came, c.Advance(at(now))...)
					continue
				}
				m := packet(p.src, monitor)
				m.SSRCs = p.ssrcs
				if _, _, ok := c.Place("default", m, at(now)); !ok {
					c.Wait("default", m, rtcpRecord(int64(i)), at(now))
				}
				now += 5
			}
			came = append(came, c.Advance(at(now+30))...)
			for _, h := range came {
				n := int(binary.BigEndian.Uint64(h.record))
				keys[tt.sent[n].src] = h.CallKey
				if tt.calls == 1 && n < order {
					t.Errorf("packet %d comes after %d", n, order)
				}
				order = n
			}
			calls := map[string]bool{}
			for _, key := range keys {
				calls[key] = true
			}
			if len(calls) != tt.calls || calls[""] {
				t.Errorf("%d calls, want %d: %v", len(calls), tt.calls, keys)
			}
			for src, key := range keys { // what follows does not wait
				c.mustPlace(t, packet(src, monitor), at(now+31), key)
			}
		})
	}
}

func TestCorrelatorWaitingRoomIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Waiting.Records = 10
	c := NewCorrelator(cfg.Waiting, cfg.Bindings, cfg.Correlation)
	evicted := 0
	for i := range 100 {
		p := MediaPacket{Src: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i)), Dst: addr("10.0.0.2:5001"), SSRCs: []uint32{uint32(i + 1)}}
		for _, r := range c.Wait("default", p, rtcpRecord(int64(i)), at(float64(i)/1000)) {
			if binary.BigEndian.Uint64(r.record) != uint64(evicted) || r.CallKey == "" {
				t.Fatalf("evicted %v, want record %d with a call", r, evicted)
			}
			evicted++
		}
	}
	if s := c.Stats(); evicted != 90 || s.Evicted != 90 || s.Waiting != 10 {
		t.Errorf("evicted %d, stats %+v", evicted, s)
	}
	if drained := c.Drain(at(1)); len(drained) != 10 {
		t.Errorf("drained %d", len(drained))
	}
}

func TestCorrelatorCallsAreBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Bindings.Calls = 10
	cfg.Bindings.AfterCall = time.Second
	c := NewCorrelator(cfg.Waiting, cfg.Bindings, cfg.Correlation)
	for i := range 1000 {
		id := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+2*i)).String()
		c.SIP("default", sipCall(id), message(id, "INVITE", 0, media("10.0.0.1", uint32(1000+2*i))), at(float64(i)))
		if i%2 == 0 {
			c.SIP("default", sipCall(id), message(id, "BYE", 0, nil), at(float64(i)))
		}
		c.Advance(at(float64(i)))
		if n := c.Stats().Calls; n > 10 || n != len(c.scopes["default"].calls) {
			t.Fatalf("%d calls counted, %d known", n, len(c.scopes["default"].calls))
		}
	}
	if n := len(c.scopes["default"].addresses); n > 20 {
		t.Errorf("%d addresses", n)
	}
}

func TestCorrelatorLearnsFromOthers(t *testing.T) {
	c := newTestCorrelator()
	waits := rtcpRecord(1)
	c.Wait("default", packet("10.0.0.1:4001", "10.0.0.2:5001"), waits, at(0))
	released := c.Learn(&telemetry.Binding{Company: "acme", Address: "10.0.0.1:4001", CallKey: "a", AtUs: at(0), Scope: "default", Kind: "audio"}, at(1))
	if len(released) != 1 || released[0] != waits || waits.Company != "acme" || waits.CallKey != "a" {
		t.Errorf("released %v", released)
	}
	if c.Learn(&telemetry.Binding{Address: "nonsense"}, at(1)) != nil {
		t.Error("learned nonsense")
	}
}
