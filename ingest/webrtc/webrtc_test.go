package webrtc

import (
	"encoding/json"
	"errors"
	"math/bits"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

const specItem = `{"call_id":"c1","leg_id":"l1","user_id":"u1","device_id":"d1","endpoint":"web","app_version":"5.2","platform":"Chrome","side":"target",
"muted":true,"from":"+15551230001","to":"+15551230002","at":"2026-03-01T10:00:00.250Z","unknown":{"x":[1,2,{"y":null}]},
"stats":{
 "I1":{"id":"I1","type":"inbound-rtp","timestamp":1772359200250.5,"kind":"audio","ssrc":11,"codecId":"C1","packetsReceived":100,"packetsLost":-2,"packetsDiscarded":3,
   "jitter":0.004,"jitterBufferDelay":10.5,"jitterBufferTargetDelay":20.5,"jitterBufferEmittedCount":480,"concealedSamples":7,"silentConcealedSamples":6,
   "totalSamplesReceived":960,"totalAudioEnergy":0.5,"totalSamplesDuration":2.5,"audioLevel":16383.5,"bytesReceived":4000},
 "V1":{"id":"V1","type":"inbound-rtp","kind":"video","ssrc":12,"packetsReceived":1},
 "O1":{"id":"O1","type":"outbound-rtp","mediaType":"audio","ssrc":21,"codecId":"C1","packetsSent":90,"bytesSent":3600,"mediaSourceId":"S1"},
 "RI":{"id":"RI","type":"remote-inbound-rtp","kind":"audio","timestamp":1772359198000,"ssrc":21,"roundTripTime":0.041,"roundTripTimeMeasurements":3,"jitter":0.002,"packetsLost":1,"fractionLost":0.01},
 "RO":{"id":"RO","type":"remote-outbound-rtp","kind":"audio","timestamp":1772359199000,"ssrc":11,"packetsSent":101},
 "S1":{"id":"S1","type":"media-source","kind":"audio","audioLevel":0.25,"totalAudioEnergy":1.5,"totalSamplesDuration":3},
 "C1":{"id":"C1","type":"codec","mimeType":"audio/opus","clockRate":48000},
 "P0":{"id":"P0","type":"candidate-pair","nominated":true,"state":"succeeded","bytesSent":999999,"currentRoundTripTime":0.9},
 "P1":{"id":"P1","type":"candidate-pair","state":"succeeded","localCandidateId":"L","remoteCandidateId":"R","currentRoundTripTime":0.039,"bytesReceived":10,"bytesSent":20,"responsesReceived":4},
 "L":{"id":"L","type":"local-candidate","candidateType":"host"},"R":{"id":"R","type":"remote-candidate","candidateType":"relay"},
 "T":{"id":"T","type":"transport","selectedCandidatePairId":"P1"}}}`

func TestDecodeSpecification(t *testing.T) {
	item, err := new(Decoder).Decode([]byte(specItem))
	if err != nil {
		t.Fatal(err)
	}
	want := &telemetry.WebRTCSample{
		CallId: "c1", LegId: "l1", UserId: "u1", DeviceId: "d1", Endpoint: "web", AppVersion: "5.2", Platform: "Chrome", Side: "target",
		Muted: true, HasMuted: true, From: &telemetry.Identity{Number: "+15551230001"}, To: &telemetry.Identity{Number: "+15551230002"},
		Inbound: []*telemetry.InboundRTP{{
			Id: "I1", Ssrc: 11, MimeType: "audio/opus", ClockRate: 48000, PacketsReceived: new(uint64(100)), PacketsLost: new(int64(-2)),
			PacketsDiscarded: new(uint64(3)), JitterS: new(0.004), JitterBufferDelayS: new(10.5), JitterBufferTargetDelayS: new(20.5),
			JitterBufferEmittedCount: new(uint64(480)), ConcealedSamples: new(uint64(7)), SilentConcealedSamples: new(uint64(6)),
			TotalSamplesReceived: new(uint64(960)), TotalAudioEnergy: new(0.5), TotalSamplesDurationS: new(2.5), AudioLevel: new(0.5),
			BytesReceived: new(uint64(4000)),
		}},
		Outbound: []*telemetry.OutboundRTP{{Id: "O1", Ssrc: 21, MimeType: "audio/opus", ClockRate: 48000,
			PacketsSent: new(uint64(90)), BytesSent: new(uint64(3600)), MediaSourceId: "S1"}},
		RemoteInbound: []*telemetry.RemoteInboundRTP{{Id: "RI", Ssrc: 21, TimestampUs: 1772359198000000, RoundTripTimeS: new(0.041),
			RoundTripTimeMeasurements: new(uint64(3)), JitterS: new(0.002), PacketsLost: new(int64(1)), FractionLost: new(0.01)}},
		RemoteOutbound: []*telemetry.RemoteOutboundRTP{{Id: "RO", Ssrc: 11, TimestampUs: 1772359199000000, PacketsSent: new(uint64(101))}},
		MediaSources:   []*telemetry.MediaSource{{Id: "S1", AudioLevel: new(0.25), TotalAudioEnergy: new(1.5), TotalSamplesDurationS: new(3.0)}},
		Pair: &telemetry.CandidatePair{Id: "P1", State: "succeeded", CurrentRoundTripTimeS: new(0.039), BytesReceived: new(uint64(10)),
			BytesSent: new(uint64(20)), ResponsesReceived: new(uint64(4)), LocalCandidateType: "host", RemoteCandidateType: "relay"},
	}
	if !proto.Equal(item.Sample, want) {
		t.Errorf("got  %v\nwant %v", item.Sample, want)
	}
	if item.AtUs != 1772359200250000 {
		t.Errorf("at %d", item.AtUs)
	}
}

const legacyItem = `{"call_id":"c","stats":[
	 {"id":"ssrc_5_recv","type":"ssrc","mediaType":"audio","ssrc":"5","timestamp":1605199250000,"packetsReceived":"50","packetsLost":"1","bytesReceived":"4000",
	  "googJitterReceived":"8","googJitterBufferMs":"60","googPreferredJitterBufferMs":"40","audioOutputLevel":"32767","googCodecName":"opus"},
	 {"id":"ssrc_6_send","type":"ssrc","mediaType":"audio","ssrc":"6","packetsSent":"51","bytesSent":"4100","packetsLost":"2","googRtt":"120","audioInputLevel":"16383.5"},
	 {"id":"ssrc_7_send","type":"ssrc","mediaType":"audio","ssrc":"7","packetsSent":"0","googRtt":"-1"},
	 {"id":"ssrc_8_recv","type":"ssrc","mediaType":"video","ssrc":"8","packetsReceived":"9"},
	 {"id":"Conn-audio-1-0","type":"googCandidatePair","googActiveConnection":"true","googRtt":"118","bytesSent":"7","bytesReceived":"8"}]}`

// Legacy values are strings; levels are 0–32767; -1 stands for none.
func TestDecodeLegacy(t *testing.T) {
	item, err := new(Decoder).Decode([]byte(legacyItem))
	if err != nil {
		t.Fatal(err)
	}
	want := &telemetry.WebRTCSample{
		CallId: "c", LegId: "webrtc",
		Inbound: []*telemetry.InboundRTP{{Id: "ssrc_5_recv", Ssrc: 5, MimeType: "audio/opus", PacketsReceived: new(uint64(50)),
			PacketsLost: new(int64(1)), BytesReceived: new(uint64(4000)), JitterS: new(0.008), JitterBufferMs: new(60.0),
			JitterBufferPreferredMs: new(40.0), AudioLevel: new(1.0)}},
		Outbound: []*telemetry.OutboundRTP{
			{Id: "ssrc_6_send", Ssrc: 6, PacketsSent: new(uint64(51)), BytesSent: new(uint64(4100)), MediaSourceId: "ssrc_6_send"},
			{Id: "ssrc_7_send", Ssrc: 7, PacketsSent: new(uint64(0)), MediaSourceId: "ssrc_7_send"}},
		MediaSources:  []*telemetry.MediaSource{{Id: "ssrc_6_send", AudioLevel: new(0.5)}},
		RemoteInbound: []*telemetry.RemoteInboundRTP{{Id: "ssrc_6_send", Ssrc: 6, TimestampUs: 1605199250000000, RoundTripTimeS: new(0.12), PacketsLost: new(int64(2))}},
		Pair:          &telemetry.CandidatePair{Id: "Conn-audio-1-0", CurrentRoundTripTimeS: new(0.118), BytesSent: new(uint64(7)), BytesReceived: new(uint64(8))},
	}
	if !proto.Equal(item.Sample, want) {
		t.Errorf("got  %v\nwant %v", item.Sample, want)
	}
	if item.AtUs != 1605199250000000 {
		t.Errorf("at %d", item.AtUs)
	}
}

// Until 2022 Chrome kept the receiver's audio statistics in the track.
func TestDecodeTrackMembers(t *testing.T) {
	sample := &telemetry.WebRTCSample{}
	var stats Stats
	err := stats.Read([]byte(`{"I":{"type":"inbound-rtp","kind":"audio","trackId":"TR"},"O":{"type":"outbound-rtp","kind":"audio","trackId":"TS"},
	 "TR":{"type":"track","kind":"audio","remoteSource":true,"jitterBufferDelay":9,"jitterBufferEmittedCount":90,"concealedSamples":1,"totalSamplesReceived":2,"audioLevel":-1},
	 "TS":{"type":"track","kind":"audio","remoteSource":false,"audioLevel":0.5}}`))
	if err != nil {
		t.Fatal(err)
	}
	stats.Sample(sample)
	in := sample.Inbound[0]
	if in.GetJitterBufferDelayS() != 9 || in.GetJitterBufferEmittedCount() != 90 || in.GetConcealedSamples() != 1 || in.GetTotalSamplesReceived() != 2 {
		t.Errorf("inbound %v", in)
	}
	if in.AudioLevel != nil {
		t.Errorf("audioLevel -1 became %v", *in.AudioLevel)
	}
	if len(sample.MediaSources) != 1 || sample.MediaSources[0].GetAudioLevel() != 0.5 || sample.Outbound[0].MediaSourceId != "TS" {
		t.Errorf("sources %v outbound %v", sample.MediaSources, sample.Outbound)
	}
}

// What browsers called things before they agreed.
func TestOtherBrowsers(t *testing.T) {
	for name, tc := range map[string]struct {
		stats string
		want  *telemetry.WebRTCSample
		at    int64
	}{
		"Firefox 50: names without hyphens, what the other end reported is remote, ms": {
			`{"inbound_rtp_audio_0":{"id":"inbound_rtp_audio_0","timestamp":1488366000000.5,"type":"inboundrtp","bytesReceived":1720,"isRemote":false,"jitter":0.004,
			   "mediaType":"audio","packetsLost":1,"packetsReceived":86,"remoteId":"inbound_rtcp_audio_0","ssrc":"2872518794"},
			  "inbound_rtcp_audio_0":{"id":"inbound_rtcp_audio_0","timestamp":1488366000000,"type":"outboundrtp","bytesSent":1700,"isRemote":true,"mediaType":"audio","packetsSent":85,"ssrc":"2872518794"},
			  "outbound_rtp_audio_0":{"id":"outbound_rtp_audio_0","timestamp":1488366000000,"type":"outboundrtp","bytesSent":2000,"isRemote":false,"mediaType":"audio","packetsSent":100,"ssrc":"77"},
			  "outbound_rtcp_audio_0":{"id":"outbound_rtcp_audio_0","timestamp":1488365999000,"type":"inboundrtp","isRemote":true,"jitter":0.002,"mediaType":"audio","mozRtt":41,"packetsLost":2,"packetsReceived":98,"ssrc":"77"},
			  "inbound_rtp_video_1":{"type":"inboundrtp","mediaType":"video","packetsReceived":5,"framerateMean":30},
			  "pair":{"id":"pair","type":"candidatepair","selected":true,"state":"succeeded","localCandidateId":"l","remoteCandidateId":"r","bytesSent":9},
			  "l":{"id":"l","type":"localcandidate","candidateType":"serverreflexive"},"r":{"id":"r","type":"remotecandidate","candidateType":"relayed"}}`,
			&telemetry.WebRTCSample{
				Inbound: []*telemetry.InboundRTP{{Id: "inbound_rtp_audio_0", Ssrc: 2872518794, PacketsReceived: new(uint64(86)), PacketsLost: new(int64(1)),
					BytesReceived: new(uint64(1720)), JitterS: new(0.004)}},
				Outbound: []*telemetry.OutboundRTP{{Id: "outbound_rtp_audio_0", Ssrc: 77, PacketsSent: new(uint64(100)), BytesSent: new(uint64(2000))}},
				RemoteInbound: []*telemetry.RemoteInboundRTP{{Id: "outbound_rtcp_audio_0", Ssrc: 77, TimestampUs: 1488365999000000, RoundTripTimeS: new(0.041),
					JitterS: new(0.002), PacketsLost: new(int64(2))}},
				RemoteOutbound: []*telemetry.RemoteOutboundRTP{{Id: "inbound_rtcp_audio_0", Ssrc: 2872518794, TimestampUs: 1488366000000000, PacketsSent: new(uint64(85))}},
				Pair:           &telemetry.CandidatePair{Id: "pair", State: "succeeded", BytesSent: new(uint64(9)), LocalCandidateType: "srflx", RemoteCandidateType: "relay"},
			}, 1488366000000500,
		},
		"entries of the report, microseconds": {
			`[["i",{"type":"inbound-rtp","timestamp":1488366000000500,"kind":"audio","jitter":0.5}],["x"],[],[1,{}],"y",["v",{"type":"inbound-rtp","kind":"video"}]]`,
			&telemetry.WebRTCSample{Inbound: []*telemetry.InboundRTP{{Id: "i", JitterS: new(0.5)}}}, 1488366000000500,
		},
		"Safari 11: ISO 8601, mediaType after the numbers, track": {
			`[{"jitter":0.25,"id":"i","trackId":"t","timestamp":"2017-03-01T11:00:00.25Z","mediaType":"audio","type":"inbound-rtp"},
			  {"id":"t","type":"track","kind":"audio","remoteSource":true,"audioLevel":0.5,"concealedSamples":4}]`,
			&telemetry.WebRTCSample{Inbound: []*telemetry.InboundRTP{{Id: "i", JitterS: new(0.25), AudioLevel: new(0.5), ConcealedSamples: new(uint64(4))}}}, 1488366000250000,
		},
		"timestamps from the page's load, no kind but a codec": {
			`{"i":{"timestamp":81234.5,"type":"inbound-rtp","codecId":"c","jitter":0.1},"v":{"type":"inbound-rtp","codecId":"d"},"w":{"type":"inbound-rtp","framesDecoded":1},
			  "c":{"type":"codec","mimeType":"audio/PCMU","clockRate":8000},"d":{"type":"codec","mimeType":"video/VP8"}}`,
			&telemetry.WebRTCSample{Inbound: []*telemetry.InboundRTP{{Id: "i", MimeType: "audio/PCMU", ClockRate: 8000, JitterS: new(0.1)}}}, 0,
		},
	} {
		var s Stats
		if err := s.Read([]byte(tc.stats)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := &telemetry.WebRTCSample{}
		if at := s.Sample(got); at != tc.at || !proto.Equal(got, tc.want) {
			t.Errorf("%s: at %d\ngot  %v\nwant %v", name, at, got, tc.want)
		}
	}
}

// Changes make the same of a session as whole statistics do.
func TestApplyRecorded(t *testing.T) {
	var session, whole Stats
	var used unbounded
	known := map[string]bool{}
	for n, report := range recorded(t, "w2_loss_jitter", "A") {
		var objects map[string]map[string]json.RawMessage
		if err := json.Unmarshal(report, &objects); err != nil {
			t.Fatal(err)
		}
		for id, object := range objects {
			if known[id] { // a client that leaves out what cannot change
				for _, name := range []string{"id", "type", "kind", "mediaType", "ssrc", "codecId", "mimeType"} {
					delete(object, name)
				}
			}
			known[id] = true
		}
		changes, err := json.Marshal(objects)
		if err != nil {
			t.Fatal(err)
		}
		if full, err := session.Apply(changes, &Changes{}, &used); full || err != nil {
			t.Fatal(full, err)
		}
		clear(changes) // it is not needed any more
		if err := whole.Read(report); err != nil {
			t.Fatal(err)
		}
		got, want := &telemetry.WebRTCSample{}, &telemetry.WebRTCSample{}
		gotAt, wantAt := session.Sample(got), whole.Sample(want)
		if gotAt != wantAt || !proto.Equal(got, want) {
			t.Fatalf("result %d at %d and %d\ngot  %v\nwant %v", n, gotAt, wantAt, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for in, field := range map[string]string{
		`{"stats":{}}`:                                 "call_id",
		`{"call_id":"c"}`:                              "stats",
		`{"call_id":"c","stats":7}`:                    "stats",
		`{"call_id":{},"stats":{}}`:                    "call_id",
		`{"call_id":"c","at":"yesterday","stats":{}}`:  "at",
		`{"call_id":"c","at":12,"stats":{}}`:           "at",
		`{"call_id":"c","side":"left","stats":{}}`:     "side",
		`{"call_id":"c","muted":"yes","stats":{}}`:     "muted",
		`{"call_id":"c","stats":{}`:                    "",
		`{"call_id":"c","stats":{}} x`:                 "",
		`[]`:                                           "",
		``:                                             "",
		`{"call_id":"c","stats":{"a":{"ssrc":01}}}`:    "",
		"{\"call_id\":\"c\",\"stats\":{\"a\":\"\n\"}}": "",
	} {
		_, err := new(Decoder).Decode([]byte(in))
		var fe *FieldError
		if !errors.As(err, &fe) || !errors.Is(err, ErrItem) || fe.Field != field {
			t.Errorf("%s: %v, want field %q", in, err, field)
		}
	}
}

// In every place of a word every byte is judged rightly, whatever stands behind it.
func TestSpecial(t *testing.T) {
	for place := range 8 {
		for c := range 256 {
			for _, behind := range []byte{'a', 0, '"', '\\', 0xff} {
				word := []byte("aaaaaaaa")
				word[place] = byte(c)
				for i := place + 1; i < 8; i++ {
					word[i] = behind
				}
				want := place
				if c >= ' ' && c < 0x80 && c != '"' && c != '\\' {
					if want = place + 1; behind == 'a' {
						want = 8
					}
				}
				if got := bits.TrailingZeros64(special(load(word, 0))) >> 3; got != want {
					t.Fatalf("%q: %d, want %d", word, got, want)
				}
			}
		}
	}
}
