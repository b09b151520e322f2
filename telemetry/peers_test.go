package telemetry

import (
	"slices"
	"testing"
)

func TestPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		address, office string
		want            string
	}{
		"IPv4":                    {"203.0.113.77:4000", "", "203.0.113.0/24"},
		"IPv6":                    {"[2001:db8:1:2::3]:4000", "", "2001:db8:1::/48"},
		"IPv4 in IPv6":            {"[::ffff:203.0.113.77]:4000", "", "203.0.113.0/24"},
		"private, of nobody":      {"192.168.1.7:4000", "", ""},
		"private, of an office":   {"10.1.2.3:4000", "hq", "10.1.2.0/24 of hq"},
		"unique local":            {"[fd00::1]:4000", "hq", "fd00::/48 of hq"},
		"with a zone":             {"[fe80::1%eth0]:4000", "hq", "fe80::/48 of hq"},
		"loopback":                {"127.0.0.1:4000", "hq", ""},
		"a name":                  {"phone.example.com:4000", "hq", ""},
		"held":                    {"0.0.0.0:4000", "hq", ""},
		"another side is not his": {"", "", ""},
	} {
		c := &Call{Target: &Party{Identity: &Identity{UserId: "u", OfficeId: tc.office}, Endpoint: "web", AppVersion: "5.2"},
			Legs: []*Leg{{Side: "contact", Address: "198.51.100.1:1"}, {Side: "target", Address: tc.address}}}
		want := []Peers{{PeersUser, "u"}}
		if tc.want != "" {
			want = append(want, Peers{PeersNetwork, tc.want})
		}
		if tc.office != "" {
			want = append(want, Peers{PeersOffice, tc.office})
		}
		want = append(want, Peers{PeersAppVersion, "web 5.2"})
		if got := c.Peers(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := (&Call{}).Peers(); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
}
