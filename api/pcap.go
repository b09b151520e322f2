package api

import (
	"net/netip"

	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/query"
)

const pcapType = "application/vnd.tcpdump.pcap"

// maxCaptureBytes ends a capture file that has grown out of reason.
const maxCaptureBytes = 64 << 20

// maxDatagramBytes leaves room for the headers in an IP packet.
const maxDatagramBytes = 65_000

// headerBytes is the most that a capture adds to a payload: the headers of the
// record, of IPv6 and of UDP.
const headerBytes = 16 + 40 + 8

// datagram is a SIP message as a capture shows it. What travelled over TCP, TLS
// or a WebSocket becomes a datagram too: the stream around it was not kept, and
// readers of captures show SIP in datagrams without further ado.
func datagram(m query.Message) pcap.Datagram {
	return pcap.Datagram{
		At: m.At.Time, Src: address(m.Src), Dst: address(m.Dst), Payload: []byte(m.Raw[:min(len(m.Raw), maxDatagramBytes)]),
	}
}

// address reads address:port; what is no address, such as a host name, becomes
// the unspecified one, so that the message itself is not lost.
func address(s string) netip.AddrPort {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 5060)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
