package calls

import (
	"fmt"
	"math"
	"strings"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// awayMs is the round trip from which a capture point is not beside a party.
const awayMs = 3

// What splits the way of the audio.
const (
	splitByCapture = "capture_point"
	splitByServer  = "server"
)

// stretch is a part of the way from the target to the contact. Directions are by
// sender, as in call.dir.
type stretch struct {
	from, to string
	rtt      *telemetry.Distribution
	jitter   [2]float64 // 95th percentile at its end, NaN unknown
	loss     [2]float64 // of what entered it, NaN unknown
	source   string
	toward   int // the party at its far end from the middle, -1 in the middle
}

// path fills in the parts of the way that were measured apart from each other.
func (v *verdictOf) path(out *telemetry.Verdict) {
	way := v.stretches()
	for _, s := range way {
		p := &telemetry.PathSegment{From: s.from, To: s.to, RttMs: s.rtt, Source: s.source, Band: v.bandOf(s)}
		t, k := int(v.c.target), 1-int(v.c.target)
		p.TargetToContactJitterMs, p.ContactToTargetJitterMs = known(s.jitter[t]), known(s.jitter[k])
		p.TargetToContactLossPercent, p.ContactToTargetLossPercent = known(s.loss[t]), known(s.loss[k])
		out.Segments = append(out.Segments, p)
		v.stretchSentence(s, p)
	}
}

func known(x float64) *float64 {
	if math.IsNaN(x) {
		return nil
	}
	return optional(x, 3)
}

// stretches splits the way: at the servers that end RTP, else at the capture
// point. Empty where nothing splits it.
func (v *verdictOf) stretches() []stretch {
	if len(v.segments) > 0 {
		return v.byServer()
	}
	return v.byCapture()
}

func (v *verdictOf) byServer() (way []stretch) {
	parts := v.all()
	same := false
	for _, s := range v.segments {
		same = same || v.c.sameStream(s.c)
	}
	caller := int(v.c.callerParty)
	for _, s := range parts {
		if s != v && v.replaced(s) {
			continue
		}
		one := stretch{from: s.side(caller), to: s.side(1 - caller), source: splitByServer, toward: -1}
		if int(v.c.target) != caller {
			one.from, one.to = one.to, one.from
		}
		for p := range s.c.party {
			if s.side(p) != "server" {
				one.toward = p
			}
		}
		if !same {
			one.rtt = distribution(&s.c.rtt, 1)
		} else if t := s.c.bestTap(); t != nil && one.toward >= 0 {
			one.rtt = distribution(&t.hist[one.toward], 1) // each part measures the whole way; the tap is at the server
		}
		for d := range s.c.dir {
			one.jitter[d], one.loss[d] = math.NaN(), math.NaN()
			if h, _, _, ok := s.heardJitter(d); ok && h.Count() > 0 {
				one.jitter[d] = h.Quantile(0.95)
			}
			if s.loss[d].known {
				one.loss[d] = s.loss[d].percent
			}
		}
		way = append(way, one)
	}
	if same && len(way) == len(parts) {
		for d := range v.c.dir {
			splitLoss(way, parts, d, caller)
		}
	}
	if int(v.c.target) != caller {
		for i, j := 0, len(way)-1; i < j; i, j = i+1, j-1 {
			way[i], way[j] = way[j], way[i]
		}
	}
	if len(way) < 2 {
		return nil
	}
	return way
}

// splitLoss gives each part of the way its share of the loss where the server passes
// the streams on, so that the receiver's reports are of the whole: what was lost up
// to the capture point of the next part was lost on this one. parts are in the
// order from the caller.
func splitLoss(way []stretch, parts []*verdictOf, d, caller int) {
	n := len(parts)
	order := func(i int) int {
		if d == caller {
			return i
		}
		return n - 1 - i
	}
	lost := make([]float64, n+1) // on the way up to the beginning of each part
	for i := 1; i < n; i++ {
		f := parts[order(i)].loss[d]
		if !f.monitorObserved {
			return
		}
		lost[i] = f.beforeMonitor
	}
	whole := parts[order(n-1)].loss[d]
	if !whole.known || whole.from == lossMonitor {
		return
	}
	lost[n] = whole.percent
	for i := range n {
		if lost[i] < 100 {
			way[order(i)].loss[d] = min(max(100*(lost[i+1]-lost[i])/(100-lost[i]), 0), 100)
		}
	}
}

func (v *verdictOf) byCapture() []stretch {
	c := v.c
	t := c.bestTap()
	split := false
	for d := range v.loss {
		split = split || v.loss[d].monitorObserved && v.loss[d].known && v.loss[d].from != lossMonitor
	}
	if t == nil && !split {
		return nil
	}
	var way [2]stretch // by party
	for p := range way {
		s := stretch{from: "server", to: "server", source: splitByCapture, toward: p}
		if p == int(c.target) {
			s.from = c.side(p)
		} else {
			s.to = c.side(p)
		}
		if t != nil {
			s.rtt = distribution(&t.hist[p], 1)
		}
		for d := range s.jitter {
			s.jitter[d], s.loss[d] = math.NaN(), math.NaN()
			x, f := &c.dir[d], v.loss[d]
			switch {
			case d == p: // from the sender to the capture point
				if x.jitterRTP.Count() > 0 {
					s.jitter[d] = x.jitterRTP.Quantile(0.95)
				}
				if f.monitorObserved {
					s.loss[d] = f.beforeMonitor
				}
			default: // from the capture point to the receiver
				if h, _, where, ok := v.heardJitter(d); ok && where == "" && h.Count() > 0 {
					s.jitter[d] = h.Quantile(0.95)
				}
				if f.monitorObserved && f.known && f.from != lossMonitor && f.beforeMonitor < 100 {
					s.loss[d] = min(max(100*(f.percent-f.beforeMonitor)/(100-f.beforeMonitor), 0), 100)
				}
			}
			if v.find[d].dead && v.deadThroughout(d) {
				s.jitter[d], s.loss[d] = math.NaN(), v.deadLoss(d, p)
			}
		}
		way[p] = s
	}
	return []stretch{way[c.target], way[1-c.target]}
}

// deadThroughout says whether next to nothing of direction d ever arrived.
func (v *verdictOf) deadThroughout(d int) bool {
	f := v.find[d]
	return f.death.untilUs-f.death.sinceUs >= (v.endUs-v.c.connectedUs)*8/10
}

// deadLoss is the loss on the part of the way at party p of a direction that was
// dead: all of it on one side of the capture point, where that is known.
func (v *verdictOf) deadLoss(d, p int) float64 {
	f := v.loss[d]
	switch v.passed(d, v.find[d].death) {
	case passedBy:
		if d == p {
			return f.beforeMonitor
		}
		return 100
	case passedNot:
		if d == p {
			return 100
		}
	}
	return math.NaN()
}

func (v *verdictOf) bandOf(s stretch) string {
	band := quality.Unknown
	if s.rtt != nil {
		band = quality.Worst(band, v.rules.DelayBand(s.rtt.P95))
	}
	for d := range s.loss {
		if !math.IsNaN(s.loss[d]) {
			band = quality.Worst(band, v.rules.LossBand(s.loss[d]))
		}
		switch {
		case math.IsNaN(s.jitter[d]):
		case s.jitter[d] > v.rules.JitterChoppyMs:
			band = quality.Worst(band, quality.Bad)
		default:
			band = quality.Worst(band, quality.Good)
		}
	}
	return band
}

// place names a part of the way in a sentence.
func (s stretch) place() string {
	name := func(end string) string {
		if end == "server" && s.source == splitByCapture {
			return "the capture point"
		}
		return "the " + end
	}
	if s.from == s.to {
		return "within the servers"
	}
	return fmt.Sprintf("between %s and %s", name(s.from), name(s.to))
}

func (v *verdictOf) stretchSentence(s stretch, p *telemetry.PathSegment) {
	values := map[string]float64{}
	var said []string
	if s.rtt != nil {
		values["p50_ms"], values["p95_ms"] = s.rtt.P50, s.rtt.P95
		said = append(said, fmt.Sprintf("round trip %.0f ms in the median, %.0f ms at the 95th percentile", s.rtt.P50, s.rtt.P95))
	}
	both := func(name, unit, there, back string, a, b *float64) {
		var ways []string
		if a != nil {
			values[there] = *a
			ways = append(ways, fmt.Sprintf("%.1f %s towards the contact", *a, unit))
		}
		if b != nil {
			values[back] = *b
			ways = append(ways, fmt.Sprintf("%.1f %s towards the target", *b, unit))
		}
		if len(ways) > 0 {
			said = append(said, name+" "+strings.Join(ways, ", "))
		}
	}
	both("loss", "%", "target_to_contact_percent", "contact_to_target_percent", p.TargetToContactLossPercent, p.ContactToTargetLossPercent)
	both("jitter", "ms", "target_to_contact_jitter_ms", "contact_to_target_jitter_ms", p.TargetToContactJitterMs, p.ContactToTargetJitterMs)
	if len(said) == 0 {
		return
	}
	side := ""
	if s.toward >= 0 {
		side = v.c.side(s.toward)
	}
	v.say("segment", -1, side, v.c.connectedUs, values, "%s: %s: %s.", capital(s.place()), strings.Join(said, "; "), p.Band).until(v.endUs)
}

// blame is where a fault lies, how sure that is, and why.
type blame struct {
	side       string
	confidence float64
	why        string
}

// fault says where the fault lies, where the evidence allows it.
func (v *verdictOf) fault(out *telemetry.Verdict) {
	b := v.blame(out)
	if b.side == "" || b.side == quality.Unknown {
		return
	}
	out.FaultSide, out.FaultConfidence = b.side, round(b.confidence, 2)
	name := fmt.Sprintf("on the %s's side", b.side)
	if b.side == "network" {
		name = "in the network"
	}
	v.say("fault", -1, b.side, 0, map[string]float64{"confidence": b.confidence}, "The fault lies %s (confidence %.0f %%): %s.", name, b.confidence*100, b.why)
}

func (v *verdictOf) blame(out *telemetry.Verdict) blame {
	if s := out.OneWayAudio.State; s == "confirmed" || s == "suspected" {
		return v.blameOneWay(out.OneWayAudio)
	}
	if quality.Severity(out.Overall) < quality.Severity(quality.Bad) {
		return blame{}
	}
	switch out.Overall {
	case out.Loss.Band:
		return v.blameLoss(out)
	case out.Delay.Band:
		return v.blameDelay()
	case out.Jitter.Band:
		if j := out.Jitter.JitterMs; (j == nil || j.P95 <= v.rules.JitterChoppyMs) && quality.Severity(out.Loss.Band) > 0 {
			return v.blameLoss(out) // what was concealed was lost
		}
		return v.blameJitter()
	}
	return blame{}
}

func (v *verdictOf) blameOneWay(o *telemetry.OneWayAudio) blame {
	c := v.c
	if o.Direction == "both" {
		for _, f := range v.whole() {
			if f.w == bySilence || f.w == byRemote || f.w == byReceiver && !f.death.senderHeard && !f.death.senderCounts {
				return blame{}
			}
		}
		return blame{"network", telemetry.FaultUnsplit * o.Confidence, "both sent and neither received anything"}
	}
	d := int(c.target)
	if o.Direction == "contact_to_target" {
		d = 1 - d
	}
	f := v.whole()[d]
	at := f.at
	switch {
	case f.w == bySilence && at.side(d) == "server":
		return blame{"server", f.confidence, "it passed nothing on"}
	case f.w == bySilence:
		return blame{at.side(d), f.confidence, "nothing at all came from " + at.who(d)}
	}
	switch at.passed(d, f.death) {
	case passedNot:
		why := fmt.Sprintf("the audio of %s was lost before it came to the capture point", at.who(d))
		switch {
		case c.beside(1 - d):
			return blame{"network", telemetry.FaultSplit * f.confidence, why}
		case c.away(1-d) || len(v.segments) > 0:
			return blame{at.side(d), telemetry.FaultSplit * f.confidence, why}
		}
		return blame{at.side(d), telemetry.FaultUnsplit * f.confidence, why}
	case passedBy:
		why := fmt.Sprintf("the audio passed the capture point and was lost between there and %s", at.who(1-d))
		switch {
		case c.beside(d) || len(v.segments) > 0:
			return blame{"network", telemetry.FaultSplit * f.confidence, why}
		case c.away(d):
			return blame{at.side(1 - d), telemetry.FaultSplit * f.confidence, why}
		}
		return blame{at.side(1 - d), telemetry.FaultUnsplit * f.confidence, why}
	}
	if f.death.senderHeard || f.death.senderCounts || f.w == byRTCP || f.w == byHeader {
		return blame{"network", telemetry.FaultUnsplit * f.confidence, fmt.Sprintf("%s sent and %s received nothing", at.who(d), at.who(1-d))}
	}
	return blame{}
}

// blameLoss looks for the part of the way that lost what was lost.
func (v *verdictOf) blameLoss(out *telemetry.Verdict) blame {
	d, percent := -1, 0.0
	for _, s := range v.all() {
		for i := range s.loss {
			if s.loss[i].known && s.loss[i].percent > percent {
				d, percent = i, s.loss[i].percent
			}
		}
	}
	if d < 0 {
		return blame{}
	}
	return v.blamePart(d, "%.1f %% were lost %s, %s on the rest of the way", "%.1f %%", func(s stretch) float64 { return s.loss[d] }, fmt.Sprintf("%.1f %% of the packets from %s to %s were lost on the way", percent, v.end(d), v.end(1-d)))
}

func (v *verdictOf) blameDelay() blame {
	return v.blamePart(-1, "%.0f ms of the round trip were spent %s, %s on the rest of the way", "%.0f ms", func(s stretch) float64 {
		if s.rtt == nil {
			return math.NaN()
		}
		return s.rtt.P50
	}, "the round trip is that of the way")
}

func (v *verdictOf) blameJitter() blame {
	for d := range v.c.dir {
		if _, share, _, ok := v.heardJitter(d); ok && quality.Severity(v.rules.JitterBand(share)) >= quality.Severity(quality.Bad) {
			way := v.stretches()
			if len(way) == 2 && len(v.segments) == 0 {
				// Jitter grows along the way: where little of it was there at the
				// capture point, it came after it.
				before, after := way[0].jitter[d], way[1].jitter[d]
				if d != int(v.c.target) {
					before, after = after, before
				}
				if before <= 0.3*after && v.c.away(d) {
					return blame{v.c.side(1 - d), telemetry.FaultSplit, fmt.Sprintf("the jitter was %.1f ms at the capture point and %.1f ms where %s heard it", before, after, v.end(1-d))}
				}
				if before >= 0.7*after && v.c.away(1-d) {
					return blame{v.c.side(d), telemetry.FaultSplit, fmt.Sprintf("the jitter was %.1f ms at the capture point already, of %.1f ms where %s heard it", before, after, v.end(1-d))}
				}
			}
			return blame{"network", telemetry.FaultUnsplit, "the packets came at uneven times"}
		}
	}
	return blame{}
}

// blamePart finds the part of the way that has most of a measure. The
// capture point must lie between the network and a party, not beside it, to tell
// that party's part from the rest.
func (v *verdictOf) blamePart(d int, format, rest string, of func(stretch) float64, unsplit string) blame {
	network := blame{"network", telemetry.FaultUnsplit, unsplit}
	way := v.stretches()
	if len(way) < 2 {
		return network
	}
	sum, most := 0.0, 0
	for i, s := range way {
		x := of(s)
		if math.IsNaN(x) {
			return network
		}
		sum += x
		if x > of(way[most]) {
			most = i
		}
	}
	s := way[most]
	if !(sum > 0) || of(s) < telemetry.FaultShare*sum {
		return network
	}
	confidence := telemetry.FaultSplit
	if s.source == splitByServer {
		confidence = telemetry.FaultMeasured
	}
	why := fmt.Sprintf(format, of(s), s.place(), fmt.Sprintf(rest, sum-of(s)))
	if s.toward < 0 || s.source == splitByCapture && !v.c.away(1-s.toward) {
		return blame{"network", confidence, why}
	}
	return blame{v.c.side(s.toward), confidence, why}
}

// beside says whether a capture point is known to be next to party p.
func (c *call) beside(p int) bool {
	for i := range c.taps {
		if h := &c.taps[i].hist[p]; h.Count() > 0 && h.Quantile(0.5) < awayMs {
			return true
		}
	}
	return false
}

// away says whether a capture point lies between the network and party p, not
// beside p: only then does it tell p's part of the way from the other's.
func (c *call) away(p int) bool {
	for i := range c.taps {
		if h := &c.taps[i].hist[p]; h.Count() > 0 && h.Quantile(0.5) >= awayMs {
			return true
		}
	}
	return false
}
