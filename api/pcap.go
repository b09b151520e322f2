package api

import (
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/earshot/earshot/query"
)

const pcapType = "application/vnd.tcpdump.pcap"

// maxCaptureBytes ends a capture file that has grown out of reason.
const maxCaptureBytes = 64 << 20

// maxDatagramBytes leaves room for the headers in an IP packet.
const maxDatagramBytes = 65_000

// capture writes SIP messages as packets. What travelled over TCP, TLS or a
// WebSocket becomes a datagram too: the stream around it was not kept, and
// readers of captures show SIP in datagrams without further ado.
type capture struct {
	w *pcapgo.Writer
}

func newCapture(w io.Writer) (*capture, error) {
	c := &capture{w: pcapgo.NewWriter(w)}
	if err := c.w.WriteFileHeader(65_535, layers.LinkTypeRaw); err != nil {
		return nil, fmt.Errorf("cannot write a capture: %w", err)
	}
	return c, nil
}

func (c *capture) write(m query.Message) error {
	payload := []byte(m.Raw)
	if len(payload) > maxDatagramBytes {
		payload = payload[:maxDatagramBytes]
	}
	src, dst := address(m.Src), address(m.Dst)
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	var ip gopacket.SerializableLayer
	if src.Addr().Is4() && dst.Addr().Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP(src.Addr().AsSlice()), DstIP: net.IP(dst.Addr().AsSlice())}
		if err := udp.SetNetworkLayerForChecksum(l); err != nil {
			return fmt.Errorf("cannot write a capture: %w", err)
		}
		ip = l
	} else {
		a, b := src.Addr().As16(), dst.Addr().As16()
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: a[:], DstIP: b[:]}
		if err := udp.SetNetworkLayerForChecksum(l); err != nil {
			return fmt.Errorf("cannot write a capture: %w", err)
		}
		ip = l
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(payload)); err != nil {
		return fmt.Errorf("cannot write a capture: %w", err)
	}
	err := c.w.WritePacket(gopacket.CaptureInfo{Timestamp: m.At.Time, CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes())
	if err != nil {
		return fmt.Errorf("cannot write a capture: %w", err)
	}
	return nil
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
