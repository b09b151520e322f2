package ingest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

func TestTenancy(t *testing.T) {
	rules, err := NewTenancy(TenancyRules{
		{Company: "keyed", HEPAuthKey: "secret", Network: "10.0.0.0/8"},
		{Company: "named", AgentID: "edge"},
		{Company: "numbered", AgentID: "77"},
		{Company: "domain", SIPDomain: "Acme.example"},
		{Company: "six", Network: "2001:db8::/32"},
	})
	if err != nil {
		t.Fatal(err)
	}
	inside, outside := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	for name, tc := range map[string]struct {
		witness Witness
		domain  string
		media   string
		sip     string
	}{
		"key and network":       {Witness{AuthKey: []byte("secret"), Remote: inside}, "", "keyed", "keyed"},
		"key from elsewhere":    {Witness{AuthKey: []byte("secret"), Remote: outside}, "", "default", "default"},
		"wrong key":             {Witness{AuthKey: []byte("Secret"), Remote: inside}, "", "default", "default"},
		"mapped IPv4":           {Witness{AuthKey: []byte("secret"), Remote: netip.MustParseAddr("::ffff:10.1.2.3")}, "", "keyed", "keyed"},
		"name":                  {Witness{AgentName: []byte("edge"), Remote: outside}, "", "named", "named"},
		"number":                {Witness{AgentID: 77, Remote: outside}, "", "numbered", "numbered"},
		"IPv6":                  {Witness{Remote: netip.MustParseAddr("2001:db8::7")}, "", "six", "six"},
		"domain":                {Witness{Remote: outside}, "acme.EXAMPLE", "default", "domain"},
		"first rule wins":       {Witness{AgentID: 77, Remote: outside}, "acme.example", "numbered", "numbered"},
		"domain of another one": {Witness{Remote: outside}, "acme.example.org", "default", "default"},
	} {
		if got := rules.Company(tc.witness); got != tc.media {
			t.Errorf("%s: %q, want %q", name, got, tc.media)
		}
		for _, m := range []*telemetry.SIPMessage{
			{RequestUri: "sip:bob@" + tc.domain + ":5060;transport=tcp"}, {From: &telemetry.NameAddr{Host: tc.domain}}, {To: &telemetry.NameAddr{Host: tc.domain}},
		} {
			if got := rules.CompanyOfSIP(tc.witness, m); got != tc.sip {
				t.Errorf("%s: SIP %v: %q, want %q", name, m, got, tc.sip)
			}
		}
	}
	for name, bad := range map[string]TenancyRule{
		"no company": {AgentID: "1"}, "no condition": {Company: "x"}, "network": {Company: "x", Network: "10.0.0.0"},
	} {
		if _, err := NewTenancy(TenancyRules{{Company: "ok", AgentID: "1"}, bad}); err == nil || !strings.Contains(err.Error(), "tenancy.rules[1]") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestURIHost(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:ann@example.test": "example.test", "sips:example.test:5061;x=@y": "example.test", "sip:a:b@h?x=y": "h", "sip:ann@[2001:db8::1]:5060": "2001:db8::1",
		"sip:[2001:db8::1": "[2001", "tel:+1555": "+1555", "nonsense": "", "": "",
	} {
		if got := uriHost(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

// phoneBook knows one user by each kind.
type phoneBook struct{}

func (phoneBook) Resolve(company, kind, value string, _ int64) *telemetry.Identity {
	if company == "acme" && (kind == KindAOR && value == "ann@acme.example" || kind == KindNumber && value == "+15550100" || kind == KindUser && value == "u1") {
		return &telemetry.Identity{UserId: "u1", Name: "Ann", Number: "+15550100", DepartmentId: "d1"}
	}
	return nil
}

// The company of a call comes from its SIP domain; its RTCP has none, and still
// goes to the same call of the same company. Whose number it is stands in the record.
func TestCompanyAndPartiesOfACall(t *testing.T) {
	tenancy, err := NewTenancy(TenancyRules{{Company: "acme", SIPDomain: "10.66.0.2"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(_ *Config, d *Deps) { d.Tenancy, d.Resolver = tenancy, phoneBook{} })
	conn := r.dial("udp", r.ingester.Addrs().HEPUDP)
	for _, p := range callPackets(t, time.Now()) {
		if p.PayloadType == hep.TypeSIP {
			p.Payload = []byte(strings.ReplaceAll(string(p.Payload), "<sip:a@10.66.0.1", "<sip:+15550100@10.66.0.1"))
		}
		send(t, conn, hep.Append(nil, &p))
	}
	for _, rec := range append(r.wait(6, isSIP), r.wait(20, isRTCP)...) {
		if rec.Company != "acme" || rec.CallKey != "0f05506ee87a5c5c" {
			t.Errorf("company %q, call %q", rec.Company, rec.CallKey)
		}
		if m := rec.GetSip(); m != nil {
			ann := m.Caller
			if ann.GetNumber() != "+15550100" { // a BYE from the other end would turn them around
				ann = m.Callee
			}
			if ann.GetUserId() != "u1" || ann.GetDepartmentId() != "d1" {
				t.Errorf("caller %v, callee %v", m.Caller, m.Callee)
			}
		}
	}
}

func TestCompleted(t *testing.T) {
	for _, tc := range []struct{ said, want *telemetry.Identity }{
		{nil, nil},
		{&telemetry.Identity{UserId: "u1", Name: "Annie"}, &telemetry.Identity{UserId: "u1", Name: "Annie", Number: "+15550100", DepartmentId: "d1"}},
		{&telemetry.Identity{Number: "+15550100"}, &telemetry.Identity{UserId: "u1", Name: "Ann", Number: "+15550100", DepartmentId: "d1"}},
		{&telemetry.Identity{Number: "+1999"}, &telemetry.Identity{Number: "+1999"}},
	} {
		if got := completed(phoneBook{}, "acme", tc.said, 1); !proto.Equal(got, tc.want) {
			t.Errorf("%v, want %v", got, tc.want)
		}
	}
}

// Whatever calls itself an agent, the number of time series stays bounded, and
// what is counted stays counted.
func TestAccountingIsBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	a := NewAccounting(registry)
	for i := range 1000 {
		for range 2 {
			a.Tally(ListenerHEPUDP, fmt.Sprint("agent", i), "default").Received()
		}
	}
	// A crowd on one listener leaves the names of another's.
	if a.Tally(ListenerSIPUDP, "198.51.100.1", "default") == a.Tally(ListenerSIPUDP, otherAgents, "default") {
		t.Error("an agent of another listener is one of the others")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "earshot_ingest_received_total" {
			continue
		}
		total, series := 0.0, 0
		for _, m := range f.Metric {
			if slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "listener" && l.GetValue() != ListenerHEPUDP }) {
				continue
			}
			series++
			total += m.GetCounter().GetValue()
		}
		if series != maxAgents+1 || total != 2000 {
			t.Errorf("%d series that count %v", series, total)
		}
	}
}

// Whatever comes over HEP, nothing panics and everything is accounted for.
func FuzzObserveHEP(f *testing.F) {
	for _, p := range []hep.Packet{
		{PayloadType: hep.TypeSIP, Payload: []byte("INVITE sip:b@h SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n")},
		{PayloadType: hep.TypeRTCPJSON, Payload: []byte(`{"type":200,"ssrc":1,"sender_information":{"packets":1},"report_blocks":[]}`), CorrelationID: []byte("c")},
		{PayloadType: hep.TypeRTCP, Payload: []byte{0x80, 201, 0, 1, 0, 0, 0, 1}},
		{PayloadType: hep.TypeVQ, Payload: []byte(vqBodyText)},
	} {
		p.Version, p.Family, p.Protocol, p.Src, p.Dst, p.Time = 3, 2, 17, addr4("10.0.0.1:4001"), addr4("10.0.0.2:5001"), time.Unix(1_700_000_000, 0)
		f.Add(hep.Append(nil, &p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := DefaultConfig()
		cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen, cfg.Bindings.Share = "", "", "", false
		registry := prometheus.NewRegistry()
		in, err := New(cfg, Deps{Metrics: registry})
		if err != nil {
			t.Fatal(err)
		}
		write := func(o outgoing) {
			r := &telemetry.Record{}
			if err := proto.Unmarshal(o.record, r); err != nil {
				t.Fatal(err)
			}
			if r.CallKey == "" && !isRegister(r.GetSip()) {
				t.Fatalf("a record without a call: %v", r)
			}
			o.to.acknowledged(1, nil)
		}
		now := time.Unix(1_700_000_000, 0)
		ob := in.newObserver(ListenerHEPUDP, write)
		ob.hep(b, newSource(addr4("192.0.2.1:9")), now.UnixMicro())
		poison(b)
		in.live.drain(now.UnixMicro(), write)
		for _, tl := range in.replays {
			tl.drain(now.UnixMicro(), write)
		}
		r := &rig{registry: registry}
		received := r.sums("earshot_ingest_received_total")
		if ended := r.sums("earshot_ingest_produced_total") + r.sums("earshot_ingest_rejected_total"); received == 0 || received != ended {
			t.Fatalf("%v received, %v accounted for", received, ended)
		}
	})
}
