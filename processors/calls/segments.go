package calls

import (
	"fmt"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// all gives the parts of the way: the call's own dialog, then the others.
func (v *verdictOf) all() []*verdictOf { return append([]*verdictOf{v}, v.segments...) }

// whole says of each direction what became of it on all parts of the way. It is
// dead where one is, and known to live only where all are, or where the end that
// hears says so itself: that audio got into a server does not say that it got out.
func (v *verdictOf) whole() (find [2]finding) {
	for d := range find {
		f := v.find[d]
		for _, s := range v.segments {
			g := s.find[d]
			alive := f.alive && (g.alive || s.brief())
			if g.dead && (!f.dead || g.confidence > f.confidence) {
				heard := f.heard
				f, f.heard = g, heard
			}
			f.alive = alive
		}
		if f.heard {
			f.alive = true
			if f.dead && f.at != v && !f.death.contra {
				f.confidence *= telemetry.Contradicted
				f.death.contra, f.death.contraBy = true, byReceiver
			}
		}
		find[d] = f
	}
	return find
}

// brief says whether a segment was too short to tell anything, as that of an
// agent who passed the caller on at once; its silence speaks against nothing.
func (v *verdictOf) brief() bool {
	return v.c.endedUs != 0 && len(v.root.dialogs) > 1 &&
		v.c.endedUs-v.c.connectedUs < (v.rules.OneWay.Grace+v.rules.OneWay.Dead).Microseconds()
}

// between names the ends of a part of the way where there are several.
func (v *verdictOf) between() string {
	if v.c.ordinal == 0 && !v.root.server(v.c, 1-int(v.root.callerParty)) {
		return ""
	}
	caller := int(v.root.callerParty)
	return fmt.Sprintf(" between %s and %s", v.who(caller), v.who(1-caller))
}

// ofSegments adds what was measured on the further parts of the way. True where
// the round trip of a part is not known.
func (v *verdictOf) ofSegments(out *telemetry.Verdict) (partial bool) {
	if len(v.segments) == 0 {
		return false
	}
	partial = out.Delay.RttMs == nil
	for _, s := range v.segments {
		delay := telemetry.Delay{Band: quality.Unknown}
		s.delay(&delay)
		partial = partial || delay.RttMs == nil && !v.c.sameStream(s.c)
		v.addDelay(out.Delay, &delay, s)
		jitter := telemetry.Jitter{Band: quality.Unknown}
		s.jitter(&jitter)
		worseJitter(out.Jitter, &jitter)
		s.lossVerdict(out.Loss)
	}
	if partial && out.Delay.RttMs != nil {
		v.say("rtt_partial", -1, "", v.c.connectedUs, nil, "The round trip was not measured on all parts of the way: the whole is longer.")
		if quality.Severity(out.Delay.Band) < quality.Severity(quality.Bad) {
			out.Delay.Band = quality.Unknown
		}
	}
	for d := range v.c.dir {
		v.notForwarded(d)
	}
	return partial
}

// sameStream says whether a further dialog carries the very streams of the call's
// own: the server passes packets on as they are, RTCP too, so that both parts
// measure the whole way.
func (c *call) sameStream(other *call) bool {
	for d := range c.dir {
		for i := range c.dir[d].streams {
			if other.dir[d].find(c.dir[d].streams[i].ssrc) != nil {
				return true
			}
		}
	}
	return false
}

// addDelay adds a part's round trip to that of the others: a server that ends
// RTCP on both sides makes one way of two. The sum of percentiles is not the
// percentile of the sum, but not far from it.
func (v *verdictOf) addDelay(out, part *telemetry.Delay, s *verdictOf) {
	switch {
	case part.RttMs == nil:
	case out.RttMs == nil:
		out.Band, out.RttMs, out.Share = part.Band, part.RttMs, part.Share
	case v.c.sameStream(s.c):
		if part.RttMs.P95 > out.RttMs.P95 {
			out.Band, out.RttMs, out.Share = part.Band, part.RttMs, part.Share
		}
	case v.replaced(s):
		// The caller was passed on: one part came after the other.
	default:
		r := out.RttMs
		r.Min, r.P50, r.P95, r.Max = round(r.Min+part.RttMs.Min, 1), round(r.P50+part.RttMs.P50, 1), round(r.P95+part.RttMs.P95, 1), round(r.Max+part.RttMs.Max, 1)
		out.Band = v.rules.DelayBand(r.P95)
		out.Share = nil
		v.say("rtt_sum", -1, "", v.c.connectedUs, map[string]float64{"p50_ms": r.P50, "p95_ms": r.P95},
			"From end to end the round trip was %.0f ms in the median and %.0f ms at the 95th percentile, as the sum of its parts: %s.", r.P50, r.P95, out.Band)
	}
}

// replaced says whether another part of the way took the place of s: one that
// was answered later and went on without it. Parts in a row end together.
func (v *verdictOf) replaced(s *verdictOf) bool {
	for _, other := range v.segments {
		if other.c.connectedUs > s.c.connectedUs && s.c.endedUs != 0 && other.endUs > s.c.endedUs+5*second {
			return true
		}
	}
	return false
}

func worseJitter(out, part *telemetry.Jitter) {
	out.Band = quality.Worst(out.Band, part.Band)
	if part.JitterMs != nil && (out.JitterMs == nil || part.JitterMs.P95 > out.JitterMs.P95) {
		out.JitterMs = part.JitterMs
	}
	out.TargetToContactMs = worseDistribution(out.TargetToContactMs, part.TargetToContactMs)
	out.ContactToTargetMs = worseDistribution(out.ContactToTargetMs, part.ContactToTargetMs)
	if out.BufferOverPreferredRatio == nil {
		out.BufferOverPreferredRatio, out.BufferMs, out.BufferPreferredMs = part.BufferOverPreferredRatio, part.BufferMs, part.BufferPreferredMs
	}
	if out.ConcealmentPercent == nil {
		out.ConcealmentPercent = part.ConcealmentPercent
	}
}

// notForwarded says where audio got into the server and nothing shows that it
// got out again.
func (v *verdictOf) notForwarded(d int) {
	parts := v.all()
	if d != int(v.c.callerParty) { // the callee's audio takes the parts from the far end
		for i, j := 1, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		parts = append(parts[1:], v)
	}
	for i := 1; i < len(parts); i++ {
		in, on := parts[i-1], parts[i]
		x := &on.c.dir[d]
		if in.find[d].alive && !on.find[d].alive && !on.find[d].dead && x.srSent+x.rtpSent == 0 && on.c.party[1-d].rtcpSeen > 0 {
			on.say("not_forwarded", d, "server", on.c.connectedUs, nil, "Audio from %s arrived at the server; nothing was seen of it on the way from there to %s, which reports.", v.end(d), on.who(1-d))
		}
	}
}

func worseDistribution(a, b *telemetry.Distribution) *telemetry.Distribution {
	if a == nil || b != nil && b.P95 > a.P95 {
		return b
	}
	return a
}
