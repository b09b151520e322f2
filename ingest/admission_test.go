package ingest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/ingest/hep"
)

func TestAdmission(t *testing.T) {
	everybody, err := newAdmission("ingest.hep", nil, nil, nil)
	require.NoError(t, err)
	require.True(t, everybody.allows(netip.MustParseAddr("203.0.113.9")))
	require.Empty(t, everybody.refusal(&hep.Packet{}))

	some, err := newAdmission("ingest.hep", []string{"10.1.2.3/8", "192.0.2.7", "2001:db8::/32"}, []string{"k1", "k2"}, []string{"7", "edge"})
	require.NoError(t, err)
	for addr, want := range map[string]bool{"10.200.0.1": true, "192.0.2.7": true, "192.0.2.8": false, "2001:db8::1": true, "2001:db9::1": false} {
		require.Equal(t, want, some.allows(netip.MustParseAddr(addr)), addr)
	}
	require.Empty(t, some.refusal(&hep.Packet{AgentID: 7, AuthKey: []byte("k2")}))
	require.Empty(t, some.refusal(&hep.Packet{AgentName: []byte("edge"), AuthKey: []byte("k1")}))
	require.Equal(t, refusedKey, some.refusal(&hep.Packet{AgentID: 7, AuthKey: []byte("k")}))
	require.Equal(t, refusedKey, some.refusal(&hep.Packet{AgentID: 7}))
	require.Equal(t, refusedAgent, some.refusal(&hep.Packet{AgentID: 8, AuthKey: []byte("k1")}))

	_, err = newAdmission("ingest.rtcp", []string{"10.0.0.0/8", "here"}, nil, nil)
	require.ErrorContains(t, err, `ingest.rtcp.allow[1]: "here"`)
	_, err = newAdmission("ingest.hep", nil, []string{""}, nil)
	require.ErrorContains(t, err, "ingest.hep.auth_keys[0]")
}

// What is refused is counted and goes no further, and a later key of the same
// agent is judged by itself.
func TestRefusedSendersAreCounted(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.HEP.AuthKeys = []string{"good"}
		c.RTCP.Allow = []string{"192.0.2.0/24"}
	})
	packets := callPackets(t, time.Now())
	conn, err := net.Dial("udp", r.ingester.Addrs().HEPUDP.String())
	require.NoError(t, err)
	defer conn.Close()
	for _, key := range []string{"bad", "good"} {
		for _, p := range packets {
			p.AuthKey = []byte(key)
			send(t, conn, hep.Append(nil, &p))
		}
	}
	r.wait(20, isRTCP)
	plain, err := net.Dial("udp", r.ingester.Addrs().RTCP.String())
	require.NoError(t, err)
	defer plain.Close()
	send(t, plain, []byte{0x80, 201, 0, 1, 0, 0, 0, 1})
	want := map[account]uint64{
		{DefaultCompany, ListenerRTCP, "", "rejected", refusedNetwork}: 1, {DefaultCompany, ListenerRTCP, "", "received", ""}: 1,
	}
	require.Eventually(t, func() bool {
		all := r.ingester.accounting.totals()
		for key, n := range want {
			if all[key] != n {
				return false
			}
		}
		var refused uint64
		for key, n := range all {
			if key.listener == ListenerHEPUDP && key.outcome == "rejected" && key.reason == refusedKey {
				refused += n
			}
		}
		return refused == uint64(len(packets))
	}, 30*time.Second, 10*time.Millisecond)
}
