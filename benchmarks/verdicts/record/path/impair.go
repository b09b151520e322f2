package path

import (
	"math/rand/v2"
	"time"
)

// Impairment is something done to packets of some kinds during a window of time.
// Several on the same stretch add up.
type Impairment struct {
	// Kinds of packets: "rtp", "rtcp", "media" (both), "sip", "other"; none: all.
	Kinds []string `json:"kinds,omitempty"`
	// From and To are seconds after Path.Zero; To 0: for ever. Before zero is
	// known, what begins at 0 or earlier is in force.
	From float64 `json:"from_s,omitempty"`
	To   float64 `json:"to_s,omitempty"`

	DelayMs float64 `json:"delay_ms,omitempty"`
	// JitterMs is the spread of the delay: uniform in ±JitterMs, or normal with
	// that standard deviation. Delay never is negative.
	JitterMs float64 `json:"jitter_ms,omitempty"`
	Normal   bool    `json:"normal,omitempty"`
	// Reorder lets a packet overtake an earlier one of its stretch; without it
	// packets queue.
	Reorder bool `json:"reorder,omitempty"`

	// LossPercent is lost at random, 100 blocks.
	LossPercent float64 `json:"loss_percent,omitempty"`
	Burst       *Burst  `json:"burst,omitempty"`
}

// Burst is loss by Gilbert and Elliott: two states, the bad one loses.
type Burst struct {
	// ToBad and ToGood are the chances of a change at each packet, in percent;
	// the mean burst is 100/ToGood packets long.
	ToBad  float64 `json:"to_bad_percent"`
	ToGood float64 `json:"to_good_percent"`
	// BadLoss is the loss in the bad state in percent; 0 means 100.
	BadLoss float64 `json:"bad_loss_percent,omitempty"`
}

// stretch is one way of one side of the path.
type stretch struct {
	impairments []Impairment
	bad         []bool // state of each impairment's burst
	last        int64  // the latest arrival, ns
	random      *rand.Rand
}

func newStretch(impairments []Impairment, random *rand.Rand) *stretch {
	return &stretch{impairments: impairments, bad: make([]bool, len(impairments)), random: random}
}

// pass says when a packet of a kind that enters at ns leaves the stretch. Zero is
// when windows count from, ns, or 0.
func (s *stretch) pass(kind Kind, at, zero int64) (out int64, lost bool) {
	var delay float64 // ms
	reorder := false
	for i := range s.impairments {
		im := &s.impairments[i]
		if !im.concerns(kind) || !im.inForce(at, zero) {
			continue
		}
		lost = s.loses(i) || lost
		delay += im.DelayMs
		switch {
		case im.JitterMs == 0:
		case im.Normal:
			delay += s.random.NormFloat64() * im.JitterMs
		default:
			delay += (2*s.random.Float64() - 1) * im.JitterMs
		}
		reorder = reorder || im.Reorder
	}
	if lost {
		return 0, true
	}
	out = at + int64(max(delay, 0)*float64(time.Millisecond))
	if !reorder {
		out = max(out, s.last)
	}
	s.last = max(s.last, out)
	return out, false
}

func (s *stretch) loses(i int) bool {
	im := &s.impairments[i]
	lost := im.LossPercent > 0 && s.random.Float64()*100 < im.LossPercent
	b := im.Burst
	if b == nil {
		return lost
	}
	if s.bad[i] {
		s.bad[i] = s.random.Float64()*100 >= b.ToGood
	} else {
		s.bad[i] = s.random.Float64()*100 < b.ToBad
	}
	return lost || s.bad[i] && (b.BadLoss == 0 || s.random.Float64()*100 < b.BadLoss)
}

func (im *Impairment) concerns(kind Kind) bool {
	if len(im.Kinds) == 0 {
		return true
	}
	for _, k := range im.Kinds {
		if k == string(kind) || k == "media" && (kind == RTP || kind == RTCP) {
			return true
		}
	}
	return false
}

func (im *Impairment) inForce(at, zero int64) bool {
	if zero == 0 {
		return im.From <= 0
	}
	s := float64(at-zero) / float64(time.Second)
	return (im.From <= 0 || s >= im.From) && (im.To == 0 || s < im.To)
}
