package ingest

import (
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/telemetry"
)

// BenchmarkObserveHEP is everything between the socket and the Kafka client, for
// the packets of a call: 6 of SIP, 20 of RTCP.
func BenchmarkObserveHEP(b *testing.B) {
	cfg := DefaultConfig()
	cfg.HEP.Listen, cfg.RTCP.Listen, cfg.SIP.Listen, cfg.Bindings.Share = "", "", "", false
	in, err := New(cfg, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	var packets [][]byte
	for _, dg := range read(b, fixture(b, "captures/loss5_jitter40/mid.pcap")) {
		kind := classify(dg.Payload)
		if kind == unitMedia {
			continue
		}
		p := hep.Packet{Version: 3, Family: 2, Protocol: hep.ProtocolUDP, Src: dg.Src, Dst: dg.Dst, Time: now, Payload: dg.Payload, PayloadType: hep.TypeSIP, AgentID: 7, AgentName: []byte("probe")}
		if kind == unitRTCP {
			p.PayloadType = hep.TypeRTCP
		}
		packets = append(packets, hep.Append(nil, &p))
	}
	write := func(r *telemetry.Record, done func(error)) {
		if _, err := encode(r); err != nil {
			b.Fatal(err)
		}
		done(nil)
	}
	remote := addr4("192.0.2.1:9")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in.observeHEP(packets[i%len(packets)], ListenerHEPUDP, remote, now, write)
	}
}
