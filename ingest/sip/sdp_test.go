package sip

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func TestParseSDP(t *testing.T) {
	pcmu := &telemetry.Codec{PayloadType: 0, Name: "PCMU", ClockRate: 8000, Channels: 1}
	audio := func(change func(m *telemetry.Media)) *telemetry.Media {
		m := &telemetry.Media{Kind: "audio", Protocol: "RTP/AVP", Address: "192.0.2.1", Port: 4000, RtcpAddress: "192.0.2.1", RtcpPort: 4001,
			Direction: "sendrecv", Codecs: []*telemetry.Codec{pcmu}}
		change(m)
		return m
	}
	const session = "v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
	tests := map[string]struct {
		in   string
		want []*telemetry.Media
	}{
		"session address": {session + "m=audio 4000 RTP/AVP 0\n", []*telemetry.Media{audio(func(m *telemetry.Media) {})}},
		"media address": {session + "m=audio 4000 RTP/AVP 0\nc=IN IP4 198.51.100.7/127\n", []*telemetry.Media{audio(func(m *telemetry.Media) {
			m.Address, m.RtcpAddress = "198.51.100.7", "198.51.100.7"
		})}},
		"rtcp attribute": {session + "m=audio 4000 RTP/AVP 0\na=rtcp:53020\n", []*telemetry.Media{audio(func(m *telemetry.Media) { m.RtcpPort = 53020 })}},
		"rtcp attribute with address": {session + "m=audio 4000 RTP/AVP 0\na=rtcp:53020 IN IP6 2001:db8::9\n", []*telemetry.Media{audio(func(m *telemetry.Media) {
			m.RtcpPort, m.RtcpAddress = 53020, "2001:db8::9"
		})}},
		"rtcp-mux":          {session + "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n", []*telemetry.Media{audio(func(m *telemetry.Media) { m.RtcpMux, m.RtcpPort = true, 4000 })}},
		"session direction": {session + "a=sendonly\nm=audio 4000 RTP/AVP 0\n", []*telemetry.Media{audio(func(m *telemetry.Media) { m.Direction = "sendonly" })}},
		"media direction counts more": {session + "a=sendonly\nm=audio 4000 RTP/AVP 0\na=recvonly\n", []*telemetry.Media{audio(func(m *telemetry.Media) {
			m.Direction = "recvonly"
		})}},
		"hold of RFC 2543": {session + "m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\n", []*telemetry.Media{audio(func(m *telemetry.Media) {
			m.Address, m.RtcpAddress, m.Direction = "0.0.0.0", "0.0.0.0", "sendonly"
		})}},
		"ptime and ssrc": {session + "a=ptime:30\nm=audio 4000 RTP/AVP 0\na=ssrc:4294967295 cname:x\na=ssrc:4294967295 msid:y\na=ssrc:7\nm=audio 5000 RTP/AVP 0\na=ptime:20.0\n", []*telemetry.Media{
			audio(func(m *telemetry.Media) { m.PtimeMs, m.Ssrcs = 30, []uint32{4294967295, 7} }),
			audio(func(m *telemetry.Media) { m.PtimeMs, m.Port, m.RtcpPort = 20, 5000, 5001 }),
		}},
		"static and dynamic types": {session + "m=audio 4000/2 RTP/AVP 9 18 111 96 200\na=rtpmap:9 G722/16000\na=rtpmap:111 opus/48000/2\na=rtpmap:96 speex/16000\na=rtpmap:5 nothing\n", []*telemetry.Media{
			audio(func(m *telemetry.Media) {
				m.Codecs = []*telemetry.Codec{
					{PayloadType: 9, Name: "G722", ClockRate: 8000, Channels: 1}, {PayloadType: 18, Name: "G729", ClockRate: 8000, Channels: 1},
					{PayloadType: 111, Name: "opus", ClockRate: 48000, Channels: 2}, {PayloadType: 96, Name: "speex", ClockRate: 16000, Channels: 1},
				}
			}),
		}},
		"refused": {session + "m=audio 0 RTP/AVP 0\n", []*telemetry.Media{audio(func(m *telemetry.Media) { m.Port, m.RtcpPort, m.RtcpAddress = 0, 0, "" })}},
		"fax": {session + "m=image 6000 udptl t38\na=T38FaxVersion:0\n", []*telemetry.Media{
			{Kind: "image", Protocol: "udptl", Address: "192.0.2.1", Port: 6000, Direction: "sendrecv"},
		}},
		"browser": {"v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\na=ice-ufrag:x\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n" +
			"a=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host generation 0\na=candidate:2 1 tcp 1 192.0.2.1 9 typ host\na=candidate:3 1 udp 1 x.local 50001 typ host\na=candidate:4 1 UDP 1 2001:db8::1 50002 typ host\n", []*telemetry.Media{{
			Kind: "audio", Protocol: "UDP/TLS/RTP/SAVPF", Address: "0.0.0.0", Port: 9, RtcpAddress: "0.0.0.0", RtcpPort: 9, RtcpMux: true, Direction: "sendrecv",
			Codecs: []*telemetry.Codec{{PayloadType: 111, Name: "opus", ClockRate: 48000, Channels: 2}}, Candidates: []string{"192.0.2.1:50000", "[2001:db8::1]:50002"},
		}}},
		"broken lines": {session + "m=audio x RTP/AVP 0\nm=audio\nnonsense\n=\na=rtpmap:\na=ssrc:x\na=candidate:1\na=rtcp:\na=ptime:-1\nm=audio 4000 RTP/AVP 0 x 999\na=rtpmap:0\n", []*telemetry.Media{audio(func(m *telemetry.Media) {})}},
	}
	for name, tt := range tests {
		for ending, in := range map[string][]byte{"LF": []byte(tt.in), "CRLF": crlf(tt.in)} {
			got, err := ParseSDP(in)
			if err != nil {
				t.Errorf("%s, %s: %v", name, ending, err)
				continue
			}
			if got.Origin != "- 1 2" {
				t.Errorf("%s, %s: origin %q", name, ending, got.Origin)
			}
			if !proto.Equal(&telemetry.SDP{Media: got.Media}, &telemetry.SDP{Media: tt.want}) {
				t.Errorf("%s, %s:\n got %v\nwant %v", name, ending, got.Media, tt.want)
			}
		}
	}
}

func TestParseSDPErrors(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "text": "hello, world", "version alone": "v=0\r\n", "too many": "v=0\n" + strings.Repeat("m=audio 4000 RTP/AVP 0\n", maxMedia+1),
	} {
		if s, err := ParseSDP([]byte(in)); !errors.Is(err, ErrSDP) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestStaticCodec(t *testing.T) {
	// Clocks of RFC 3551 §6.
	for pt, clock := range map[uint32]uint32{0: 8000, 3: 8000, 4: 8000, 5: 8000, 6: 16000, 7: 8000, 8: 8000, 9: 8000, 10: 44100, 11: 44100, 12: 8000,
		13: 8000, 14: 90000, 15: 8000, 16: 11025, 17: 22050, 18: 8000, 34: 90000} {
		if c := StaticCodec(pt); c == nil || c.ClockRate != clock || c.PayloadType != pt || c.Name == "" {
			t.Errorf("payload type %d: %v", pt, c)
		}
	}
	if c := StaticCodec(96); c != nil {
		t.Errorf("payload type 96: %v", c)
	}
}

func FuzzParseSDP(f *testing.F) {
	f.Add([]byte(offer))
	f.Add([]byte("c=IN IP6 ::\nm=audio 65535/9 RTP/AVP 127\na=rtpmap:127 x/99999999999/-1\na=rtcp:65535 IN IP4 0.0.0.0\na=candidate:1 1 udp 1 :: 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSDP(b)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		for _, m := range s.GetMedia() {
			switch m.Direction {
			case "sendrecv", "sendonly", "recvonly", "inactive":
			default:
				t.Fatalf("direction %q", m.Direction)
			}
			if m.Port > 65535 || m.RtcpPort > 65536 {
				t.Fatalf("ports %d, %d", m.Port, m.RtcpPort)
			}
		}
		if _, err := proto.Marshal(s); err != nil {
			t.Fatal(err)
		}
	})
}
