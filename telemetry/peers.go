package telemetry

import (
	"net/netip"
	"strings"
)

// Kinds of what a call is compared with.
const (
	PeersUser       = "user"
	PeersOffice     = "office"
	PeersNetwork    = "network"
	PeersAppVersion = "app_version"
)

// Peers names one group of calls that a call is compared with.
type Peers struct{ Kind, ID string }

// Peers are the groups that a call is one of: its target's user, office, network
// and app version, as far as they are known.
func (c *Call) Peers() []Peers {
	var out []Peers
	target := c.GetTarget()
	add := func(kind, id string) {
		if id != "" {
			out = append(out, Peers{kind, id})
		}
	}
	add(PeersUser, target.GetIdentity().GetUserId())
	add(PeersNetwork, c.network())
	add(PeersOffice, target.GetIdentity().GetOfficeId())
	if version := target.GetAppVersion(); version != "" {
		add(PeersAppVersion, strings.TrimSpace(target.GetEndpoint()+" "+version))
	}
	return out
}

// shared are addresses that many places use at the same time.
var shared = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// network is where the target's audio comes from, by its SDP: the /24 of IPv4,
// the /48 of IPv6. A private one says where only together with the office: in
// every other home there is a 192.168.1.0/24.
func (c *Call) network() string {
	for _, leg := range c.GetLegs() {
		if leg.GetSide() != "target" || leg.GetAddress() == "" {
			continue
		}
		a, err := netip.ParseAddrPort(leg.GetAddress())
		addr := a.Addr().Unmap()
		if err != nil || addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
			continue
		}
		bits := 24
		if addr.Is6() {
			bits = 48
		}
		prefix, err := addr.WithZone("").Prefix(bits)
		if err != nil {
			continue
		}
		for _, s := range shared {
			if !s.Contains(prefix.Addr()) {
				continue
			}
			if office := c.GetTarget().GetIdentity().GetOfficeId(); office != "" {
				return prefix.String() + " of " + office
			}
			return ""
		}
		return prefix.String()
	}
	return ""
}
