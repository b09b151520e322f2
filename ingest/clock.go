package ingest

import "time"

// Standing is what an agent's clock says about a packet.
type Standing struct {
	// OffsetUs is to be added to the capture time.
	OffsetUs int64
	// Replay: the packet is from a capture that is being replayed; its time is
	// its own. New: it is the first one of that capture.
	Replay, New bool
}

// agentClock compares one agent's capture times with the times of reception. A
// small difference is the way through the network. A larger one is a clock that
// is off, and corrected by a constant, so that intervals stay what they were. A
// very large one is no clock at all but an old capture.
type agentClock struct {
	cfg      ClockConfig
	begun    bool
	offsetUs int64
	settled  int // packets since the offset was found

	behindSinceUs int64 // since when every packet came later than offset and tolerance
	behindMinUs   int64 // least difference since then

	replaying     bool
	lastCaptureUs int64
	lastReceiveUs int64
}

// settling is the number of packets over which the least difference, the one
// with the least time under way, becomes the offset.
const settling = 20

// judge takes the times of the next packet, Unix microseconds.
func (c *agentClock) judge(captureUs, receivedUs int64) Standing {
	tolerance, replay := c.cfg.Tolerance.Microseconds(), c.cfg.Replay.Microseconds()
	diff := receivedUs - captureUs
	defer func() { c.lastCaptureUs, c.lastReceiveUs = captureUs, receivedUs }()
	if c.replaying {
		step := captureUs - c.lastCaptureUs
		switch {
		case receivedUs-c.lastReceiveUs > c.cfg.Silence.Microseconds():
			c.begun = false // that capture is over: look again
		case step < -time.Minute.Microseconds() || step > time.Hour.Microseconds():
			return Standing{Replay: true, New: true} // the next capture
		default:
			return Standing{Replay: true}
		}
	}
	if !c.begun || abs(diff-c.offsetUs) > replay {
		c.begun = true
		c.replaying = abs(diff) > replay
		if c.replaying {
			return Standing{Replay: true, New: true}
		}
		c.set(diff, tolerance)
		return Standing{OffsetUs: c.offsetUs}
	}
	switch {
	case diff < c.offsetUs-tolerance:
		c.set(diff, tolerance) // its clock was set forward
	case diff > c.offsetUs+tolerance:
		// Packets that were held up look like this, and so does a clock that was
		// set back. Only the latter lasts.
		if c.behindSinceUs == 0 {
			c.behindSinceUs, c.behindMinUs = receivedUs, diff
		}
		c.behindMinUs = min(c.behindMinUs, diff)
		if receivedUs-c.behindSinceUs > time.Minute.Microseconds() {
			c.set(c.behindMinUs, tolerance)
		}
	default:
		c.behindSinceUs = 0
		if c.offsetUs != 0 && c.settled < settling && diff < c.offsetUs {
			c.offsetUs = diff
		}
	}
	c.settled++
	return Standing{OffsetUs: c.offsetUs}
}

func (c *agentClock) set(diffUs, toleranceUs int64) {
	c.settled, c.behindSinceUs = 0, 0
	c.offsetUs = diffUs
	if abs(diffUs) <= toleranceUs {
		c.offsetUs = 0
	}
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
