package ingest

import (
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/hep"
)

// twoMessages are as one TCP segment carries them.
const twoMessages = "OPTIONS sip:b@h SIP/2.0\r\nCall-ID: a@h\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n\r\n" +
	"SIP/2.0 200 OK\r\nCall-ID: b@h\r\nCSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n"

func segment(protocol uint8, at time.Time) *hep.Packet {
	return &hep.Packet{Version: 3, Family: 2, Protocol: protocol, Src: addr4("10.0.0.1:5060"), Dst: addr4("10.0.0.2:5060"), Time: at, AgentID: 1, PayloadType: hep.TypeSIP, Payload: []byte(twoMessages)}
}

// What an agent took off one TCP segment may be several messages; in a datagram
// what follows the first is none (RFC 3261 §18.3).
func TestHEPOfSegments(t *testing.T) {
	for protocol, want := range map[uint8][]string{hep.ProtocolTCP: {"a@h", "b@h"}, hep.ProtocolUDP: {"a@h"}} {
		b := newBench(t)
		b.ob.hep(hep.Append(nil, segment(protocol, b.now)), b.from, b.now.UnixMicro())
		var got []string
		for _, r := range b.records {
			got = append(got, r.GetSip().GetCallId())
		}
		if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("protocol %d: %v, want %v", protocol, got, want)
		}
		if len(b.records) == 2 && bytes.Equal(b.records[0].EventId, b.records[1].EventId) {
			t.Error("two messages have one event id")
		}
	}
}

// heplify may pack each packet, also in a stream.
func TestPackedHEPOverTCP(t *testing.T) {
	r := newRig(t)
	conn := r.dial("tcp", r.ingester.Addrs().HEPTCP)
	for range 3 {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(hep.Append(nil, segment(hep.ProtocolTCP, time.Now()))); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		send(t, conn, packed.Bytes())
	}
	r.wait(6, isSIP)
	r.stop()
	r.balance(ListenerHEPTCP)
}
