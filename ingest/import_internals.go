package ingest

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/telemetry"
)

// ErrNoAudio is returned for a dump of a browser in which no peer connection has
// statistics of audio.
var ErrNoAudio = fmt.Errorf("%w: no peer connection has statistics of audio", ErrFileFormat)

// internals reads a dump of chrome://webrtc-internals: what one browser saw of
// one call. Each peer connection with audio is a leg. They are the target's,
// save one that receives what the target sends: a page that calls itself.
func (f *fileImport) internals(r io.Reader) error {
	dump, err := webrtc.ReadInternals(r)
	if err != nil {
		return err
	}
	if dump.Damaged > 0 && f.warn != nil {
		f.warn(fmt.Errorf("%w: %d series cannot be read", webrtc.ErrInternals, dump.Damaged))
	}
	peers := slices.DeleteFunc(dump.Peers, func(p *webrtc.InternalsPeer) bool { return len(p.Sends)+len(p.Receives) == 0 })
	if len(peers) == 0 {
		return ErrNoAudio
	}
	type poll struct {
		peer *webrtc.InternalsPeer
		n    int
	}
	var polls []poll
	for _, p := range peers {
		for n := range p.Polls() {
			polls = append(polls, poll{p, n})
		}
	}
	slices.SortStableFunc(polls, func(a, b poll) int { return int(a.peer.AtUs(a.n) - b.peer.AtUs(b.n)) })
	key := callName(f.name)
	f.found(key)
	for _, p := range polls {
		sample := &telemetry.WebRTCSample{CallId: key, LegId: p.peer.ID, Side: "target", Endpoint: "web"}
		if p.peer != peers[0] && hears(p.peer, peers[0]) {
			sample.Side = "contact"
		}
		report := p.peer.Stats(p.n)
		stats := &webrtc.Stats{} // the record belongs to whom it is handed to
		if err := stats.Read(report); err != nil {
			return err
		}
		stats.Sample(sample)
		record := f.record(key, p.peer.AtUs(p.n), []byte(p.peer.ID), binary.BigEndian.AppendUint32(nil, uint32(p.n)), report)
		record.Body = &telemetry.Record_Webrtc{Webrtc: sample}
		if err := f.write(record); err != nil {
			return err
		}
	}
	return nil
}

// hears says whether one peer connection receives a stream that another sends.
func hears(one, other *webrtc.InternalsPeer) bool {
	return slices.ContainsFunc(one.Receives, func(ssrc uint32) bool { return slices.Contains(other.Sends, ssrc) })
}
