package rtcstats

// clock finds how far a sender's clock is off. A message that is older than its
// reception by much was either written by a slow clock or waited for the
// connection; the first moments of a connection, when backlogs come, do not tell
// which. Times in µs.
type clock struct {
	toleranceUs int64 // a difference that is taken as it is
	replayUs    int64 // no backlog is that old
	known       bool
	leastUs     int64 // smallest reception − message so far
	offsetUs    int64
}

// backlogUs is how long after its opening a connection may bring a backlog.
const backlogUs = 5_000_000

// offset is what to add to a sender's time atUs that was received at receivedUs
// on a connection opened at openedUs. prompt: the message did not wait.
func (c *clock) offset(atUs, receivedUs, openedUs int64, prompt bool) int64 {
	diff := receivedUs - atUs
	early := receivedUs-openedUs < backlogUs && !prompt
	if !c.known && early && diff > c.toleranceUs && diff < c.replayUs {
		return 0
	}
	if !c.known || diff < c.leastUs {
		// Steps smaller than the tolerance are the network's, and would bend the
		// intervals between samples.
		moved := !c.known || c.offsetUs != 0 && c.offsetUs-diff > c.toleranceUs || diff < -c.toleranceUs
		c.known, c.leastUs = true, diff
		if moved {
			c.offsetUs = 0
			if diff > c.toleranceUs || diff < -c.toleranceUs {
				c.offsetUs = diff
			}
		}
	}
	return c.offsetUs
}
