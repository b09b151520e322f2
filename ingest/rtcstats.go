package ingest

import (
	"context"

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

func (in *Ingester) produceRTCStats(ctx context.Context, o rtcstats.Observation, done func(error)) {
	r := &telemetry.Record{
		Company: o.Company, Timeline: &telemetry.Timeline{}, AtUs: o.AtUs, ReceivedUs: o.Received.UnixMicro(),
		Source: &telemetry.Source{Kind: telemetry.Source_KIND_HTTP, Agent: "rtcstats", ClockOffsetUs: o.OffsetUs},
	}
	if e := o.Event; e != nil {
		e.Subject = completed(in.deps.Resolver, o.Company, e.Subject)
		r.CallKey, r.Body = in.callKey(o.Company, e.CallId, e.SipCallId), &telemetry.Record_Event{Event: e}
		r.EventId = telemetry.EventID(o.Company, "", "rtcstats", 0, []byte(e.Id))
	} else {
		s := o.Sample
		s.Identity = completed(in.deps.Resolver, o.Company, s.Identity)
		r.CallKey, r.Body = in.callKey(o.Company, s.CallId, ""), &telemetry.Record_Webrtc{Webrtc: s}
		// By the sender's clock: a message that is sent again is the same.
		r.EventId = telemetry.EventID(o.Company, "", s.LegId, o.AtUs-o.OffsetUs, o.Message)
	}
	in.producer.Produce(ctx, r, done)
}
