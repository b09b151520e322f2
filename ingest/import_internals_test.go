package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/telemetry"
)

func unzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	b, err = io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The page that was dumped polled getStats() itself, twice a second: what the
// dump says of an instant lies between the polls before and after.
func TestImportInternals(t *testing.T) {
	dump := fixture(t, "webrtc/internals/chrome156.json.gz")
	records, calls, err := importBytes(t, "chrome156.json.gz", dump)
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0].CallKey != "chrome156" {
		t.Fatalf("calls %v", calls)
	}
	var polls []map[string]json.RawMessage
	if err := json.Unmarshal(unzipped(t, fixture(t, "webrtc/internals/chrome156.getstats.json.gz")), &polls); err != nil {
		t.Fatal(err)
	}
	truth := map[string][]*webrtc.Item{} // by leg
	for _, poll := range polls {
		for name, leg := range map[string]string{"a": "8-1", "b": "8-2"} {
			item := &webrtc.Item{Sample: &telemetry.WebRTCSample{}}
			stats := &webrtc.Stats{}
			if err := stats.Read(poll[name]); err != nil {
				t.Fatal(err)
			}
			item.AtUs = stats.Sample(item.Sample)
			truth[leg] = append(truth[leg], item)
		}
	}
	n, compared, last := map[string]int{}, 0, int64(0)
	for _, r := range records[:len(records)-1] {
		s := r.GetWebrtc()
		n[s.LegId]++
		if side := map[string]string{"8-1": "target", "8-2": "contact"}[s.LegId]; s.Side != side || r.AtUs < last {
			t.Errorf("leg %s is %s, at %d after %d", s.LegId, s.Side, r.AtUs, last)
		}
		last = r.AtUs
		if len(s.Inbound) != 1 || len(s.Outbound) != 1 || len(s.MediaSources) != 1 || s.Pair.GetLocalCandidateType() != "host" {
			t.Fatalf("sample %v", s)
		}
		compared += compareAround(t, r.AtUs, s, truth[s.LegId])
	}
	if n["8-1"] < 10 || n["8-2"] != n["8-1"] || compared < 18 {
		t.Errorf("polls %v, of which %d compared", n, compared)
	}
	// Of a remote object the last values are those of the last report.
	for _, r := range records[len(records)-3 : len(records)-1] {
		s := r.GetWebrtc()
		want := truth[s.LegId][len(truth[s.LegId])-1].Sample
		if len(s.RemoteInbound) != 1 || len(s.RemoteOutbound) != 1 || len(want.RemoteInbound) != 1 || s.RemoteInbound[0].Ssrc != want.RemoteInbound[0].Ssrc || s.RemoteInbound[0].TimestampUs < want.RemoteInbound[0].TimestampUs {
			t.Errorf("remote %v, want %v", s.RemoteInbound, want.RemoteInbound)
		}
	}
	again, _, err := importBytes(t, "chrome156.json.gz", dump)
	if err != nil || len(again) != len(records) || !bytes.Equal(again[5].EventId, records[5].EventId) || again[0].Timeline.Id != records[0].Timeline.Id {
		t.Errorf("another import is not the same: %v", err)
	}
}

// compareAround compares a sample with the polls around it, if there are any.
func compareAround(t *testing.T, at int64, s *telemetry.WebRTCSample, truth []*webrtc.Item) int {
	for i := 1; i < len(truth); i++ {
		before, after := truth[i-1].Sample, truth[i].Sample
		if at < truth[i-1].AtUs || at > truth[i].AtUs {
			continue
		}
		got, a, b := s.Inbound[0], before.Inbound[0], after.Inbound[0]
		for name, v := range map[string][3]float64{
			"packetsReceived":   {float64(a.GetPacketsReceived()), float64(got.GetPacketsReceived()), float64(b.GetPacketsReceived())},
			"jitterBufferDelay": {a.GetJitterBufferDelayS(), got.GetJitterBufferDelayS(), b.GetJitterBufferDelayS()},
			"emitted":           {float64(a.GetJitterBufferEmittedCount()), float64(got.GetJitterBufferEmittedCount()), float64(b.GetJitterBufferEmittedCount())},
			"concealed":         {float64(a.GetConcealedSamples()), float64(got.GetConcealedSamples()), float64(b.GetConcealedSamples())},
			"samples":           {float64(a.GetTotalSamplesReceived()), float64(got.GetTotalSamplesReceived()), float64(b.GetTotalSamplesReceived())},
			"energy":            {a.GetTotalAudioEnergy(), got.GetTotalAudioEnergy(), b.GetTotalAudioEnergy()},
			"packetsSent":       {float64(before.Outbound[0].GetPacketsSent()), float64(s.Outbound[0].GetPacketsSent()), float64(after.Outbound[0].GetPacketsSent())},
			"source duration":   {before.MediaSources[0].GetTotalSamplesDurationS(), s.MediaSources[0].GetTotalSamplesDurationS(), after.MediaSources[0].GetTotalSamplesDurationS()},
		} {
			if v[1] < v[0] || v[1] > v[2] {
				t.Errorf("%s at %d: %v is not from %v to %v", name, at, v[1], v[0], v[2])
			}
		}
		if got.Id != a.Id || got.Ssrc != a.Ssrc || got.MimeType != "audio/opus" || got.ClockRate != 48000 || s.Outbound[0].Ssrc != before.Outbound[0].Ssrc {
			t.Errorf("stream %v, want %v", got, a)
		}
		return 1
	}
	return 0
}

func TestImportInternalsRefused(t *testing.T) {
	for dump, want := range map[string]error{
		`{"getUserMedia":[],"PeerConnections":{},"UserAgent":"x"}`:                                                                               ErrNoAudio,
		`{"PeerConnections":{"1-1":{"stats":{"IT-ssrc":{"startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:01Z","values":"[1,"}}}}}`: ErrNoAudio,
		`{"PeerConnections":{"1-1":`: webrtc.ErrInternals,
		`{"PeerConnections":[]}`:     webrtc.ErrInternals,
	} {
		if _, _, err := importBytes(t, "dump.txt", []byte(dump)); !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", dump, err, want)
		}
	}
}

// Firefox names its objects by hashes, has isRemote no more and marks the pair.
// Both ends of the call are there: what one sends, the other receives.
func TestImportFirefox(t *testing.T) {
	records, calls, err := importBytes(t, "firefox153.jsonl.gz", fixture(t, "webrtc/firefox/firefox153.jsonl.gz"))
	if err != nil || len(calls) != 1 || calls[0].CallKey != "firefox153" {
		t.Fatalf("calls %v, %v", calls, err)
	}
	last, first := map[string]*telemetry.WebRTCSample{}, map[string]*telemetry.WebRTCSample{}
	for _, r := range records[:len(records)-1] {
		s := r.GetWebrtc()
		if len(s.Inbound) != 1 || len(s.Outbound) != 1 || s.Inbound[0].MimeType != "audio/opus" || s.Inbound[0].ClockRate != 48000 || s.Pair.GetRemoteCandidateType() == "" || s.Pair.GetState() != "succeeded" {
			t.Fatalf("sample %v", s)
		}
		if last[s.LegId] = s; first[s.LegId] == nil {
			first[s.LegId] = s
		}
	}
	a, b := last["A"], last["B"]
	if len(records) != 31 || a == nil || b == nil || a.Side != "target" || b.Side != "contact" {
		t.Fatalf("%d records, sides %v %v", len(records), a, b)
	}
	for _, way := range [][2]*telemetry.WebRTCSample{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		sent, received := from.Outbound[0], to.Inbound[0]
		if sent.Ssrc != received.Ssrc || received.GetPacketsReceived()+50 < sent.GetPacketsSent() || received.GetPacketsReceived() > sent.GetPacketsSent()+50 {
			t.Errorf("sent %v, received %v", sent, received)
		}
		if len(from.RemoteInbound) != 1 || from.RemoteInbound[0].Ssrc != sent.Ssrc || from.RemoteInbound[0].RoundTripTimeS == nil || len(to.RemoteOutbound) != 1 || to.RemoteOutbound[0].GetPacketsSent() == 0 {
			t.Errorf("remote %v and %v", from.RemoteInbound, to.RemoteOutbound)
		}
		// 48,000 samples a second came out of the jitter buffer.
		seconds := received.GetTotalSamplesDurationS() - first[to.LegId].Inbound[0].GetTotalSamplesDurationS()
		samples := float64(received.GetTotalSamplesReceived() - first[to.LegId].Inbound[0].GetTotalSamplesReceived())
		if rate := samples / seconds; rate < 45_000 || rate > 51_000 || received.GetJitterBufferDelayS() == 0 || received.GetTotalAudioEnergy() == 0 {
			t.Errorf("%v samples a second in %v s: %v", rate, seconds, received)
		}
	}
}
