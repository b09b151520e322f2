package path

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/earshot/earshot/benchmarks/verdicts"
)

const (
	settleS = 5 // of a call are left out of what is judged over the whole of it
	deadS   = 2 // without a packet of those sent are a dead span
	staleS  = 1 // after it was last known a quantity no longer is
	pairedS = 6 // may be between a packet and one of the other direction
)

// journey is an RTP packet from its sender to its receiver, over however many
// hops; times as in Hop.
type journey struct {
	rtp
	in, out int64
}

// Measure fills what became of the call's packets into its truth: when it was
// answered (by the monitor's clock; Capture.Zero), how long they talked, loss,
// transit, jitter, dead spans. ClockRate is that of RTP timestamps. A call that
// never was answered gets nothing.
func (c *Capture) Measure(t *verdicts.Truth) {
	if c.Zero == 0 {
		return
	}
	t.AnsweredAt = time.Unix(0, c.Zero).UTC().Truncate(time.Microsecond)
	end := c.end()
	t.TalkS = round(float64(end-c.Zero)/float64(time.Second), 3)
	ab, ba := c.journeys(A, B, end), c.journeys(B, A, end)
	t.AToB, t.BToA = c.direction(ab, t.ClockRate), c.direction(ba, t.ClockRate)
	t.RTT = c.rtt(c.arrivals(ab, A, B, end), c.arrivals(ba, B, A, end), end)
}

// end is when the call's first BYE passed the monitor, or its last RTP packet.
func (c *Capture) end() int64 {
	var last int64
	for _, h := range c.Hops {
		if h.Kind == SIP && h.Middle > c.Zero && len(h.Packet.Payload()) > 4 && string(h.Packet.Payload()[:4]) == "BYE " {
			return h.Middle
		}
		if h.Kind == RTP {
			last = max(last, h.In)
		}
	}
	return last
}

// journeys are the RTP packets from one end to the other that were sent after
// the answer, in the order they were sent. A server in between keeps their
// headers.
func (c *Capture) journeys(from, to Node, end int64) []*journey {
	var all []*journey
	open := map[rtp]*journey{}
	for _, h := range c.Hops {
		if h.Kind != RTP || h.In < c.Zero || h.In > end {
			continue
		}
		key := h.Packet.rtp()
		if h.From == from {
			j := &journey{rtp: key, in: h.In}
			open[key] = j
			all = append(all, j)
		}
		if j := open[key]; j != nil && h.To == to && h.Out != 0 {
			j.out = h.Out
		}
	}
	return all
}

// arrivals are journeys that ended; without one, those of RTCP (which a server
// in between may make itself, and then has none).
func (c *Capture) arrivals(rtps []*journey, from, to Node, end int64) []*journey {
	arrived := slices.DeleteFunc(slices.Clone(rtps), func(j *journey) bool { return j.out == 0 })
	if len(arrived) > 0 {
		return arrived
	}
	for _, h := range c.Hops {
		if h.Kind == RTCP && h.From == from && h.To == to && h.Out != 0 && h.In >= c.Zero && h.In <= end {
			arrived = append(arrived, &journey{in: h.In, out: h.Out})
		}
	}
	return arrived
}

func (c *Capture) direction(sent []*journey, clockRate int) *verdicts.Direction {
	d := &verdicts.Direction{Sent: new(len(sent)), Received: new(0)}
	var transit []float64
	bursts, lost, before := 0, 0, true
	for _, j := range sent {
		if j.out == 0 {
			lost++
			if before {
				bursts++
			}
			before = false
			continue
		}
		before = true
		*d.Received++
		if c.second(j.out) >= settleS {
			transit = append(transit, ms(j.out-j.in))
		}
	}
	if len(sent) > 0 {
		share := float64(lost) / float64(len(sent))
		d.LossPercent = new(round(100*share, 3))
		if bursts > 0 && share < 1 {
			d.BurstR = new(round(float64(lost)/float64(bursts)*(1-share), 3))
		}
	}
	d.Transit = measured(transit)
	d.Jitter = c.jitter(sent, clockRate)
	d.Dead = c.dead(sent)
	return d
}

// dead are the times in which nothing that was sent arrived.
func (c *Capture) dead(sent []*journey) []verdicts.Span {
	var spans []verdicts.Span
	for i := 0; i < len(sent); i++ {
		if sent[i].out != 0 {
			continue
		}
		first := i
		for i < len(sent) && sent[i].out == 0 {
			i++
		}
		last := sent[i-1].in
		if i < len(sent) {
			last = sent[i].in
		}
		if from, to := c.second(sent[first].in), c.second(last); to-from >= deadS {
			spans = append(spans, verdicts.Span{FromS: round(from, 3), ToS: round(to, 3)})
		}
	}
	return spans
}

// jitter is the estimator of RFC 3550 A.8, per synchronisation source, over the
// packets in the order they arrived.
func (c *Capture) jitter(sent []*journey, clockRate int) *verdicts.Measured {
	if clockRate == 0 {
		return nil
	}
	arrived := slices.DeleteFunc(slices.Clone(sent), func(j *journey) bool { return j.out == 0 })
	slices.SortStableFunc(arrived, func(x, y *journey) int { return cmp.Compare(x.out, y.out) })
	type source struct {
		last   *journey
		jitter float64 // ms
	}
	sources := map[uint32]*source{}
	var course course
	for _, j := range arrived {
		s := sources[j.ssrc]
		if s == nil {
			s = &source{}
			sources[j.ssrc] = s
		} else {
			ticks := int32(j.timestamp - s.last.timestamp)
			d := ms(j.out-s.last.out) - float64(ticks)*1000/float64(clockRate)
			s.jitter += (math.Abs(d) - s.jitter) / 16
		}
		s.last = j
		course.add(c.second(j.out), s.jitter)
	}
	return course.measured()
}

// rtt is what RTCP sees from program to program: from when a sender report left
// an end until the report on it came back, less the delay that the other end says
// it took (RFC 3550 §6.4.1), and how long reports lie unread at the end itself.
// Where nobody can read the reports it is the transit of each RTP packet that
// reached b and of the next one that b sent.
func (c *Capture) rtt(ab, ba []*journey, end int64) *verdicts.Measured {
	if values := slices.Concat(c.answered(A, end), c.answered(B, end)); len(values) > 0 {
		return measured(values)
	}
	slices.SortStableFunc(ab, func(x, y *journey) int { return cmp.Compare(x.out, y.out) })
	slices.SortStableFunc(ba, func(x, y *journey) int { return cmp.Compare(x.in, y.in) })
	var values []float64
	for _, j := range ab {
		i, _ := slices.BinarySearchFunc(ba, j.out, func(x *journey, at int64) int { return cmp.Compare(x.in, at) })
		if i < len(ba) && c.second(ba[i].in)-c.second(j.out) < pairedS && c.second(j.out) >= settleS {
			values = append(values, ms(j.out-j.in)+ms(ba[i].out-ba[i].in))
		}
	}
	return measured(values)
}

// answered is the round trip by each report that one end received about its
// sender reports, ms.
func (c *Capture) answered(one Node, end int64) []float64 {
	left, reached := map[senderReport]int64{}, map[senderReport]int64{}
	var values, unread []float64
	c.reports(end, func(h *Hop, sr senderReport, blocks []rtcp.ReceptionReport) {
		if h.From == one && sr != (senderReport{}) {
			left[sr] = h.In
		}
		if h.To == one && h.Out != 0 && sr != (senderReport{}) {
			reached[sr] = h.Out
		}
		for _, b := range blocks {
			key, told := senderReport{b.SSRC, b.LastSenderReport}, float64(b.Delay)*1000/65536
			if at, ok := left[key]; ok && h.To == one && h.Out != 0 && c.second(h.Out) >= settleS {
				values = append(values, ms(h.Out-at)-told)
			}
			if at, ok := reached[key]; ok && h.From == one {
				unread = append(unread, ms(h.In-at)-told)
			}
		}
	})
	slices.Sort(unread)
	for i := range values {
		values[i] += max(rank(unread, 0.5), 0)
	}
	return values
}

// senderReport names a sender report as blocks name it.
type senderReport struct {
	ssrc uint32 // of who sent it
	time uint32 // the middle of its NTP timestamp
}

// reports gives what can be read of RTCP after the answer: of each packet its
// sender report, zero if it has none, and its blocks.
func (c *Capture) reports(end int64, each func(h *Hop, sr senderReport, blocks []rtcp.ReceptionReport)) {
	for _, h := range c.Hops {
		if h.Kind != RTCP || h.In < c.Zero || h.In > end {
			continue
		}
		packets, err := rtcp.Unmarshal(h.Packet.Payload())
		if err != nil {
			continue // encrypted
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.SenderReport:
				each(h, senderReport{p.SSRC, uint32(p.NTPTime >> 16)}, p.Reports)
			case *rtcp.ReceiverReport:
				each(h, senderReport{}, p.Reports)
			}
		}
	}
}

// course is a quantity over the time of a call, in order.
type course []struct{ atS, value float64 }

func (c *course) add(atS, value float64) {
	*c = append(*c, struct{ atS, value float64 }{atS, value})
}

// measured looks at the quantity ten times a second, where it is not older than
// one second; its quantiles are over what it was once a second.
func (c course) measured() *verdicts.Measured {
	if len(c) == 0 {
		return nil
	}
	var each []*float64
	var values []float64
	at := 0
	for k := 0; float64(k)/10 <= c[len(c)-1].atS+0.1; k++ {
		t := float64(k) / 10
		for at < len(c) && c[at].atS <= t {
			at++
		}
		if at == 0 || t-c[at-1].atS > staleS {
			each = append(each, nil)
			continue
		}
		each = append(each, new(round(c[at-1].value, 2)))
		if t >= settleS && k%10 == 0 {
			values = append(values, c[at-1].value)
		}
	}
	m := measured(values)
	if m != nil {
		m.Each100Ms = each
	}
	return m
}

// second is a time in seconds after the answer.
func (c *Capture) second(at int64) float64 { return float64(at-c.Zero) / float64(time.Second) }

func measured(values []float64) *verdicts.Measured {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return &verdicts.Measured{P50: round(rank(values, 0.5), 3), P95: round(rank(values, 0.95), 3), Max: round(rank(values, 1), 3)}
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
