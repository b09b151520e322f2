package demo

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"github.com/earshot/earshot/ingest/hep"
)

// agentID is that of the demo's capture agent.
const agentID = 2001

// agent sends what it captures in HEP 3, as capture agents do.
type agent struct{ conn net.Conn }

func dialAgent(addr string) (*agent, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the HEP listener: %w", err)
	}
	return &agent{conn: conn}, nil
}

func (a *agent) sip(src, dst netip.AddrPort, message []byte) {
	a.send(src, dst, hep.TypeSIP, message)
}

// rtcp reports a compound packet as JSON, the way heplify does.
func (a *agent) rtcp(src, dst netip.AddrPort, packet []byte) {
	packets, err := rtcp.Unmarshal(packet)
	if err != nil {
		return
	}
	message := map[string]any{}
	block := func(reports []rtcp.ReceptionReport) []map[string]any {
		blocks := []map[string]any{}
		for _, r := range reports {
			blocks = append(blocks, map[string]any{
				"source_ssrc": r.SSRC, "fraction_lost": r.FractionLost, "packets_lost": r.TotalLost, "highest_seq_no": r.LastSequenceNumber,
				"ia_jitter": r.Jitter, "lsr": r.LastSenderReport, "dlsr": r.Delay,
			})
		}
		return blocks
	}
	for _, p := range packets {
		switch r := p.(type) {
		case *rtcp.SenderReport:
			message["ssrc"], message["type"], message["report_count"] = r.SSRC, 200, len(r.Reports)
			message["sender_information"] = map[string]any{
				"ntp_timestamp_sec": uint32(r.NTPTime >> 32), "ntp_timestamp_usec": uint32(r.NTPTime),
				"rtp_timestamp": r.RTPTime, "packets": r.PacketCount, "octets": r.OctetCount,
			}
			message["report_blocks"] = block(r.Reports)
		case *rtcp.ReceiverReport:
			message["ssrc"], message["type"], message["report_count"] = r.SSRC, 201, len(r.Reports)
			message["sender_information"] = nil
			message["report_blocks"] = block(r.Reports)
		}
	}
	if message["ssrc"] == nil {
		return
	}
	text, err := json.Marshal(message)
	if err != nil {
		return
	}
	a.send(src, dst, hep.TypeRTCPJSON, text)
}

func (a *agent) send(src, dst netip.AddrPort, payloadType uint8, payload []byte) {
	_, _ = a.conn.Write(hep.Append(nil, &hep.Packet{
		Version: 3, Family: hep.FamilyIPv4, Protocol: hep.ProtocolUDP, Src: src, Dst: dst, Time: time.Now(),
		PayloadType: payloadType, AgentID: agentID, AgentName: []byte("demo"), Payload: payload,
	}))
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}
