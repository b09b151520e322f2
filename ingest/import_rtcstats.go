package ingest

import (
	"encoding/binary"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/telemetry"
)

// rtcstatsLimits are wide: a dump may hold a whole day of one browser.
var rtcstatsLimits = rtcstats.Limits{StateBytes: 64 << 20}

// rtcstats reads a dump of an rtcstats server: what one browser saw of one call.
// Whoever it was is the target, with all peer connections.
func (f *fileImport) rtcstats(r io.Reader) error {
	key := callName(f.name)
	var who telemetry.Identity
	samples := 0
	damage, err := rtcstats.ReadDump(r, rtcstatsLimits, func(line *rtcstats.Line) error {
		switch line.Kind {
		case rtcstats.Identified:
			for _, m := range []struct {
				into *string
				said string
			}{{&who.UserId, line.User}, {&who.Name, line.Name}, {&who.DeviceId, line.Device}} {
				if m.said != "" {
					*m.into = m.said
				}
			}
			return nil
		case rtcstats.Stats:
		default:
			return nil
		}
		sample := &telemetry.WebRTCSample{CallId: key, LegId: line.PC, Side: "target", Endpoint: "web", UserId: who.UserId, DeviceId: who.DeviceId,
			Muted: line.Muted, HasMuted: line.HasMuted}
		at := line.Statistics.Sample(sample)
		sample = proto.Clone(sample).(*telemetry.WebRTCSample) // the record belongs to whom it is handed to
		if at == 0 {
			at = line.AtUs
		}
		if at == 0 || rtcstats.Empty(sample) {
			return nil
		}
		if who.UserId != "" || who.Name != "" || who.DeviceId != "" {
			sample.Identity = completed(f.resolver, f.company, &telemetry.Identity{UserId: who.UserId, Name: who.Name, DeviceId: who.DeviceId}, at)
		}
		samples++
		f.found(key)
		record := f.record(key, at, []byte(line.PC), binary.BigEndian.AppendUint32(nil, uint32(line.Number)), line.Raw)
		record.Body = &telemetry.Record_Webrtc{Webrtc: sample}
		return f.write(record)
	})
	if err != nil {
		return err
	}
	if damage.Lines > 0 && f.warn != nil {
		f.warn(&damage)
	}
	if samples == 0 {
		return rtcstats.ErrNoStatistics
	}
	return nil
}
