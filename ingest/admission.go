package ingest

import (
	"crypto/subtle"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/earshot/earshot/ingest/hep"
)

// Why a sender is not let in.
const (
	refusedNetwork = "not_allowed"
	refusedKey     = "hep_auth_key"
	refusedAgent   = "hep_agent"
)

// admission is who may send to a listener. Its zero value lets everybody in.
type admission struct {
	networks []netip.Prefix
	keys     []string
	agents   map[string]bool
}

// newAdmission checks the settings below a prefix as ingest.hep.
func newAdmission(setting string, networks, keys, agents []string) (*admission, error) {
	a := &admission{keys: keys, agents: map[string]bool{}}
	for i, text := range networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("%s.allow[%d]: %q is neither an address nor a network such as 10.0.0.0/8", setting, i, text)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		a.networks = append(a.networks, network.Masked())
	}
	for i, key := range keys {
		if key == "" {
			return nil, fmt.Errorf("%s.auth_keys[%d] is empty", setting, i)
		}
	}
	for _, agent := range agents {
		a.agents[agent] = true
	}
	return a, nil
}

// allows tells whether an address may send.
func (a *admission) allows(addr netip.Addr) bool {
	for _, n := range a.networks {
		if n.Contains(addr) {
			return true
		}
	}
	return len(a.networks) == 0
}

// refusal says why an agent's packet is not taken; empty where it is.
func (a *admission) refusal(p *hep.Packet) string {
	if len(a.agents) > 0 && !a.agents[string(p.AgentName)] && !a.agents[strconv.FormatUint(uint64(p.AgentID), 10)] {
		return refusedAgent
	}
	known := len(a.keys) == 0
	for _, key := range a.keys {
		known = subtle.ConstantTimeCompare([]byte(key), p.AuthKey) == 1 || known
	}
	if !known {
		return refusedKey
	}
	return ""
}
