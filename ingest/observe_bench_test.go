package ingest

import (
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

const registerText = "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK776asdhds;rport\r\nMax-Forwards: 70\r\n" +
	"From: <sip:ann@example.test>;tag=a73kszlfl\r\nTo: <sip:ann@example.test>\r\nCall-ID: 843817637684230@998sdasdh09\r\nCSeq: 1826 REGISTER\r\n" +
	"Contact: <sip:ann@10.0.0.1:5060>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";reg-id=1\r\nUser-Agent: test/1.0\r\nExpires: 300\r\nContent-Length: 0\r\n\r\n"

// packer is what follows the observer but for Kafka: records go into batches.
type packer struct{ batch []byte }

func (p *packer) write(o outgoing) {
	if len(p.batch)+len(o.record) > packBytes {
		p.batch = p.batch[:0]
	}
	_ = murmur2(o.key)
	p.batch = telemetry.AppendToBatch(p.batch, o.record)
	o.to.acknowledged(1, nil)
}

// BenchmarkObserve is everything between the socket and the Kafka client, by
// kind of packet: HEP, decoding, the call it belongs to, encoding, packing.
func BenchmarkObserve(b *testing.B) {
	now := time.Now()
	packet := func(kind uint8, payload string) []byte {
		return hep.Append(nil, &hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: addr4("10.0.0.1:4001"), Dst: addr4("10.0.0.2:5001"),
			Time: now, Payload: []byte(payload), PayloadType: kind, AgentID: 7, AgentName: []byte("probe")})
	}
	report := ""
	for _, p := range fixturePackets(b) {
		if p.PayloadType == hep.TypeRTCP {
			report = string(p.Payload)
		}
	}
	for _, tc := range []struct {
		name   string
		packet []byte
	}{
		{"INVITE", packet(hep.TypeSIP, invite("c", "10.0.0.1", "4000"))},
		{"REGISTER", packet(hep.TypeSIP, registerText)},
		{"RTCP", packet(hep.TypeRTCP, report)},
		{"RTCP-JSON", packet(hep.TypeRTCPJSON, rtcpJSON)},
	} {
		b.Run(tc.name, func(b *testing.B) {
			in := newQuiet(b)
			ob, from := in.newObserver(ListenerHEPUDP, (&packer{}).write), newSource(addr4("192.0.2.1:9"))
			ob.hep(packet(hep.TypeSIP, invite("c", "10.0.0.1", "4000")), from, now.UnixMicro())
			b.ReportAllocs()
			for b.Loop() {
				ob.hep(tc.packet, from, now.UnixMicro())
			}
		})
	}
	// The packets of a call: 6 of SIP, 20 of RTCP.
	b.Run("call", func(b *testing.B) {
		var packets [][]byte
		for _, p := range fixturePackets(b) {
			p.Time = now
			packets = append(packets, hep.Append(nil, &p))
		}
		in := newQuiet(b)
		ob, from := in.newObserver(ListenerHEPUDP, (&packer{}).write), newSource(addr4("192.0.2.1:9"))
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			ob.hep(packets[i%len(packets)], from, now.UnixMicro())
		}
	})
}
