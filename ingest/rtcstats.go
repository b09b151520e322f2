package ingest

import (
	"context"
	"slices"
	"sync"

	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/telemetry"
)

// ListenerRTCStats is the WebSocket of rtcstats clients.
const ListenerRTCStats = "ws_rtcstats"

// newRTCStats makes the WebSocket end of rtcstats clients.
func (in *Ingester) newRTCStats() (*rtcstats.Server, error) {
	return rtcstats.New(in.cfg.RTCStats, rtcstats.Deps{
		Authenticate: in.deps.Authenticate,
		Produce:      in.produceRTCStats,
		Counts:       func(company string) rtcstats.Counts { return in.accounting.Tally(ListenerRTCStats, "", company) },
		Tolerance:    in.cfg.Clock.Tolerance, Replay: in.cfg.Clock.Replay,
		Metrics: in.deps.Metrics, Log: in.log, Now: in.now,
	})
}

// posted is what a record of an rtcstats client is made in, used again and again.
type posted struct {
	record   telemetry.Record
	source   telemetry.Source
	timeline telemetry.Timeline
	webrtc   telemetry.Record_Webrtc
	event    telemetry.Record_Event
	id       telemetry.EventHash

	eventID, key, encoded []byte
}

var postedRecords = sync.Pool{New: func() any { return new(posted) }}

func (in *Ingester) produceRTCStats(ctx context.Context, o rtcstats.Observation, done func(error)) {
	p := postedRecords.Get().(*posted)
	defer func() {
		p.record.Body, p.webrtc.Webrtc, p.event.Event = nil, nil, nil
		postedRecords.Put(p)
	}()
	p.source.Kind, p.source.Agent, p.source.ClockOffsetUs = telemetry.Source_KIND_HTTP, "rtcstats", o.OffsetUs
	r := &p.record
	r.Company, r.Timeline, r.AtUs, r.ReceivedUs, r.Source = o.Company, &p.timeline, o.AtUs, o.Received.UnixMicro(), &p.source
	if e := o.Event; e != nil {
		e.Subject = completed(in.deps.Resolver, o.Company, e.Subject, o.AtUs)
		p.event.Event = e
		r.CallKey, r.Body = in.callKey(o.Company, e.CallId, e.SipCallId), &p.event
		p.id.Begin(o.Company, "", "rtcstats", 0)
		p.id.Text(e.Id)
	} else {
		s := o.Sample
		s.Identity = completed(in.deps.Resolver, o.Company, s.Identity, o.AtUs)
		p.webrtc.Webrtc = s
		r.CallKey, r.Body = in.callKey(o.Company, s.CallId, ""), &p.webrtc
		// As sampleID. By the sender's clock: a message that is sent again is the same.
		p.id.Begin(o.Company, "", s.LegId, o.AtUs-o.OffsetUs)
		p.id.Text(s.CallId)
	}
	p.eventID = p.id.Append(p.eventID[:0])
	r.EventId = p.eventID
	p.key = appendKey(p.key[:0], o.Company, r.CallKey)
	size := r.SizeVT()
	p.encoded = slices.Grow(p.encoded[:0], size)[:size]
	if _, err := r.MarshalToSizedBufferVT(p.encoded); err != nil {
		done(err)
		return
	}
	in.producer.wait(ctx, outgoing{key: p.key, record: p.encoded, to: &ackEach{done}})
}
