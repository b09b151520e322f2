package query

import (
	"context"
	"math"
	"strconv"
)

const sampleColumns = `toUnixTimestamp64Micro(at), seq, leg_id, side, source, direction, ssrc, codec, clock_rate,
rtt_ms, jitter_ms, loss_percent, packets, packets_lost, packets_discarded, jitter_buffer_ms, jitter_buffer_preferred_ms,
concealment_percent, silent_concealment_percent, audio_level, mos`

func scanSample(scan func(...any) error) (Sample, cursor, error) {
	var (
		s                                                     Sample
		at, seq                                               int64
		rtt, jitter, loss, buffer, preferred, conceal, silent *float32
		level, mos                                            *float32
	)
	err := scan(&at, &seq, &s.LegID, &s.Side, &s.Source, &s.Direction, &s.SSRC, &s.Codec, &s.ClockRate,
		&rtt, &jitter, &loss, &s.Packets, &s.PacketsLost, &s.PacketsDiscarded, &buffer, &preferred,
		&conceal, &silent, &level, &mos)
	s.At = micros(at)
	s.RTTMs, s.JitterMs, s.LossPercent = shown(rtt), shown(jitter), shown(loss)
	s.JitterBufferMs, s.JitterBufferPreferredMs = shown(buffer), shown(preferred)
	s.ConcealmentPercent, s.SilentConcealmentPercent = shown(conceal), shown(silent)
	s.AudioLevel, s.MOS = shown(level), shown(mos)
	return s, cursor{At: at, Seq: seq}, err
}

// Samples lists the points behind a call's graphs in order of time. The id is as in Call.
func (c Company) Samples(ctx context.Context, call string, p Page) (List[Sample], error) {
	return ofCall(ctx, c, call, p, "samples", sampleColumns, scanSample)
}

const messageColumns = `toUnixTimestamp64Micro(at), seq, src, dst, transport, method, status, reason_phrase, cseq, sip_call_id, has_sdp, raw`

// Messages lists a call's SIP ladder in order of time. The id is as in Call.
func (c Company) Messages(ctx context.Context, call string, p Page) (List[Message], error) {
	return ofCall(ctx, c, call, p, "messages", messageColumns, func(scan func(...any) error) (Message, cursor, error) {
		var (
			m       Message
			at, seq int64
			status  uint16
			sdp     bool
		)
		err := scan(&at, &seq, &m.Src, &m.Dst, &m.Transport, &m.Method, &status, &m.ReasonPhrase, &m.CSeq, &m.CallID, &sdp, &m.Raw)
		m.At, m.Status = micros(at), uint32(status)
		m.Summary = m.Method
		if status != 0 {
			m.Summary = strconv.Itoa(int(status))
			if m.ReasonPhrase != "" {
				m.Summary += " " + m.ReasonPhrase
			}
		}
		if sdp {
			m.Summary += " (SDP)"
		}
		return m, cursor{At: at, Seq: seq}, err
	})
}

// ofCall pages through a table of a call's rows in order of time. One public
// id may name a live call and the same call in an imported capture: the rows
// shown are those of the timeline that the call's newest version has.
func ofCall[T any](ctx context.Context, c Company, call string, page Page, table, columns string, scanItem func(func(...any) error) (T, cursor, error)) (List[T], error) {
	limit, err := page.limit()
	if err != nil {
		return List[T]{}, err
	}
	after, err := decodeCursor(page.Cursor, table, 1)
	if err != nil {
		return List[T]{}, err
	}
	ask := func(id string) (List[T], error) {
		p := newParams()
		p.text("call", id)
		timeline := c.from("calls", p).get("argMax(timeline, seq)").and("call_id = {call:String}").String()
		s := c.from(table, p).newest().get(columns).and("call_id = {call:String}", "timeline = ("+timeline+")")
		if after != nil {
			p.integer("after_at", after.At)
			p.integer("after_seq", after.Seq)
			s.and("(at, seq) > (fromUnixTimestamp64Micro({after_at:Int64}, 'UTC'), {after_seq:Int64})")
		}
		s.with("ORDER BY at, seq LIMIT {limit:UInt32}")
		return onePage(ctx, c, s, limit, table, func(scan func(...any) error) (T, cursor, error) {
			item, at, err := scanItem(scan)
			at.Keys = []string{id}
			return item, at, err
		})
	}
	if after != nil {
		return ask(after.Keys[0])
	}
	// The usual case costs one statement; what gives nothing may be a SIP
	// Call-ID, a call without such rows, or no call.
	out, err := ask(call)
	if err != nil || len(out.Items) > 0 {
		return out, err
	}
	found, err := c.findCall(ctx, call)
	if err != nil {
		return List[T]{}, err
	}
	if found.ID == call {
		return out, nil
	}
	return ask(found.ID)
}

// shown widens a stored float without showing digits that were never measured.
func shown(v *float32) *float64 {
	if v == nil || math.IsNaN(float64(*v)) || math.IsInf(float64(*v), 0) {
		return nil
	}
	f := math.Round(float64(*v)*1e6) / 1e6
	return &f
}
