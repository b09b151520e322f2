package webrtc

import (
	"strings"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// As Chrome dumped before 2023: goog* statistics, no timestamps, here beside a
// peer connection with W3C statistics that came later and of which an object ended.
const oldDump = `{"getUserMedia":[],"UserAgent":"Mozilla/5.0","PeerConnections":{
 "77-2":{"url":"https://a.example/","updateLog":[],"stats":{
  "ssrc_5_recv-packetsReceived":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[\"50\",100,150,200]"},
  "ssrc_5_recv-ssrc":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[\"5\",\"5\",\"5\",\"5\"]"},
  "ssrc_5_recv-mediaType":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[\"audio\",\"audio\",\"audio\",\"audio\"]"},
  "ssrc_5_recv-googJitterBufferMs":{"startTime":"2021-03-04T10:00:01.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[60,61,62]"},
  "Conn-audio-1-0-googActiveConnection":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[true,true,true,true]"},
  "Conn-audio-1-0-googRtt":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[10,11,12,13]"},
  "ssrc_5_recv-broken":{"startTime":1,"values":"["},
  "ssrc_5_recv-packetsLost":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:03.000Z","values":"[1,"}}},
 "77-10":{"url":"https://a.example/","stats":{
  "I-kind":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:02.000Z","statsType":"inbound-rtp","values":["audio","audio","audio"]},
  "I-packetsReceived":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:02.000Z","statsType":"inbound-rtp","values":"[1,2,3]"},
  "I-[packetsReceived/s]":{"startTime":"2021-03-04T10:00:01.000Z","endTime":"2021-03-04T10:00:02.000Z","statsType":"inbound-rtp","values":"[1,1]"},
  "ssrc_9_recv-packetsReceived":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:02.000Z","statsType":"ssrc","values":"[1,2,3]"},
  "R-roundTripTime":{"startTime":"2021-03-04T09:59:59.000Z","endTime":"2021-03-04T10:00:01.900Z","statsType":"remote-inbound-rtp","values":"[0.1,0.2]"},
  "R-kind":{"startTime":"2021-03-04T09:59:59.000Z","endTime":"2021-03-04T10:00:01.900Z","statsType":"remote-inbound-rtp","values":"[\"audio\",\"audio\"]"},
  "C-x-mimeType":{"startTime":"2021-03-04T10:00:00.000Z","endTime":"2021-03-04T10:00:02.000Z","statsType":"codec","values":"[\"audio/opus\",null,\"a\\\"b\"]"}}},
 "77-3":{"url":"https://a.example/","stats":{}}}}`

func TestReadInternals(t *testing.T) {
	if !IsInternals([]byte(oldDump)) || !IsInternals([]byte(oldDump)[:200]) {
		t.Error("not recognised")
	}
	dump, err := ReadInternals(strings.NewReader(oldDump))
	if err != nil {
		t.Fatal(err)
	}
	if len(dump.Peers) != 2 || dump.Peers[0].ID != "77-2" || dump.Peers[1].ID != "77-10" || dump.Damaged != 1 {
		t.Fatalf("%d peers, %d damaged", len(dump.Peers), dump.Damaged)
	}
	sample := func(p *InternalsPeer, n int) *telemetry.WebRTCSample {
		var s Stats
		if err := s.Read(p.Stats(n)); err != nil {
			t.Fatalf("%s: %v", p.Stats(n), err)
		}
		out := &telemetry.WebRTCSample{}
		s.Sample(out)
		return out
	}
	legacy, modern := dump.Peers[0], dump.Peers[1]
	if legacy.Polls() != 4 || modern.Polls() != 3 || legacy.AtUs(3) != 1614852003000000 || len(legacy.Receives) != 1 || legacy.Receives[0] != 5 {
		t.Errorf("%d and %d polls, the last at %d, receives %v", legacy.Polls(), modern.Polls(), legacy.AtUs(3), legacy.Receives)
	}
	first, last := sample(legacy, 0), sample(legacy, 3)
	if in := first.Inbound[0]; in.GetPacketsReceived() != 50 || in.JitterBufferMs != nil || first.Pair.GetCurrentRoundTripTimeS() != 0.010 {
		t.Errorf("first %v", first)
	}
	if in := last.Inbound[0]; in.GetPacketsReceived() != 200 || in.GetJitterBufferMs() != 62 || last.Pair.GetCurrentRoundTripTimeS() != 0.013 {
		t.Errorf("last %v", last)
	}
	for n, rtt := range []float64{0, 0.1, 0.2} {
		s := sample(modern, n)
		if len(s.Inbound) != 1 || s.Inbound[0].Id != "I" || s.Inbound[0].GetPacketsReceived() != uint64(n+1) {
			t.Errorf("poll %d: %v", n, s)
		}
		if len(s.RemoteInbound) != min(n, 1) || n > 0 && s.RemoteInbound[0].GetRoundTripTimeS() != rtt {
			t.Errorf("poll %d: remote %v", n, s.RemoteInbound)
		}
	}
}

func TestIsInternals(t *testing.T) {
	for _, other := range []string{"", "{", "{}", `{"t":1.26,"side":"A","report":{"a":{}}}`, `["getUserMedia"]`, `{"a":{"PeerConnections":1}}`, `{"a" "PeerConnections"`} {
		if IsInternals([]byte(other)) {
			t.Errorf("%s taken for a dump", other)
		}
	}
	if !IsInternals([]byte(`{"cpuPerformance": 2, "timestamp": 1.5, "getUserMedia": [`)) {
		t.Error("not recognised")
	}
}

func FuzzReadInternals(f *testing.F) {
	f.Add([]byte(oldDump))
	f.Fuzz(func(t *testing.T, b []byte) {
		IsInternals(b)
		dump, err := ReadInternals(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		for _, p := range dump.Peers {
			for n := range p.Polls() {
				var s Stats
				if err := s.Read(p.Stats(n)); err != nil {
					t.Fatalf("%s: %v", p.Stats(n), err)
				}
				if n > 0 && p.AtUs(n) <= p.AtUs(n-1) {
					t.Fatalf("poll %d at %d, the one before at %d", n, p.AtUs(n), p.AtUs(n-1))
				}
			}
		}
	})
}
