package demo

import (
	"math"
	"sort"
	"sync"
	"time"

	"github.com/pion/opus"
	"github.com/pion/rtp"
)

// playout is a receiver's jitter buffer and decoder: it holds packets for a
// delay that adapts to the jitter it sees, decodes them in order every 20 ms
// and conceals what is missing. The counters are those of an inbound-rtp
// report (W3C webrtc-stats) and are measured, not made up.
type playout struct {
	mu      sync.Mutex
	decoder opus.Decoder
	pcm     []float32

	started  bool
	next     uint16 // sequence number to be played next
	waiting  bool   // filling up to the target before the first frame
	resync   bool   // after a long silence: the next packet is played next
	buffered map[uint16]arrival
	lateness []time.Duration // arrival delays relative to base, newest last
	base     time.Time       // arrival of the first packet, as a clock for the stream
	baseSeq  uint16

	ssrc        uint32
	received    uint64
	bytes       uint64
	discarded   uint64
	firstSeq    uint32
	highest     uint32 // extended
	jitter      float64
	lastArrival time.Time
	lastRTP     uint32

	bufferDelay   float64 // s, summed over samples
	targetDelay   float64
	emitted       uint64 // samples
	concealed     uint64
	silent        uint64
	totalSamples  uint64
	energy        float64
	duration      float64
	level         float64
	conceal       int // frames concealed in a row
	lastEnergyRMS float64
}

type arrival struct {
	at      time.Time
	payload []byte
}

func newPlayout() (*playout, error) {
	decoder, err := opus.NewDecoderWithOutput(opusRate, 1)
	if err != nil {
		return nil, err
	}
	return &playout{decoder: decoder, pcm: make([]float32, opusFrame*6), buffered: map[uint16]arrival{}, waiting: true}, nil
}

// receive takes one RTP packet as it arrived.
func (p *playout) receive(packet *rtp.Packet, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := packet.SequenceNumber
	if !p.started {
		p.started, p.next, p.ssrc = true, seq, packet.SSRC
		p.firstSeq, p.highest = uint32(seq), uint32(seq)
		p.base, p.baseSeq = at, seq
	} else {
		if d := int16(seq - uint16(p.highest)); d > 0 {
			p.highest += uint32(d)
		}
		// RFC 3550 §6.4.1, in seconds.
		transit := at.Sub(p.lastArrival).Seconds() - float64(int32(packet.Timestamp-p.lastRTP))/opusRate
		p.jitter += (math.Abs(transit) - p.jitter) / 16
	}
	p.lastArrival, p.lastRTP = at, packet.Timestamp
	p.received++
	p.bytes += uint64(len(packet.Payload))

	// How much later than the first packet, on the sender's clock.
	p.lateness = append(p.lateness, at.Sub(p.base)-time.Duration(int16(seq-p.baseSeq))*frameDuration)
	if len(p.lateness) > 250 {
		p.lateness = p.lateness[len(p.lateness)-250:]
	}
	if p.resync {
		p.next, p.resync = seq, false
	}
	if int16(seq-p.next) < 0 {
		p.discarded++ // its turn has passed
		return
	}
	p.buffered[seq] = arrival{at: at, payload: packet.Payload}
}

// target is the delay the buffer wants: what 95 % of recent packets need, beyond
// the fastest of them, and three frames: one that is being played, one that is
// due, and one for the clock's grain.
func (p *playout) target() time.Duration {
	if len(p.lateness) == 0 {
		return 3 * frameDuration
	}
	sorted := append([]time.Duration(nil), p.lateness...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	return min(sorted[len(sorted)*95/100]-sorted[0]+3*frameDuration, 500*time.Millisecond)
}

// play emits one frame; it is called every 20 ms.
func (p *playout) play(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return
	}
	target := p.target()
	if p.waiting {
		if time.Duration(len(p.buffered))*frameDuration < target {
			return
		}
		p.waiting = false
	}
	// More in the buffer than wanted: skip a frame, as a player
	// that catches up would shorten the sound.
	if time.Duration(len(p.buffered))*frameDuration > target+frameDuration/2 {
		delete(p.buffered, p.next)
		p.next++
	}
	p.totalSamples += opusFrame
	p.duration += frameDuration.Seconds()
	packet, ok := p.buffered[p.next]
	var n int
	var err error
	if ok {
		delete(p.buffered, p.next)
		p.next++
		n, err = p.decoder.DecodeToFloat32(packet.payload, p.pcm)
	}
	if !ok || err != nil {
		p.concealed += opusFrame
		p.conceal++
		if p.conceal > 3 {
			p.silent += opusFrame
			p.lastEnergyRMS = 0
		} else {
			p.lastEnergyRMS /= 2
		}
		p.level = p.lastEnergyRMS
		p.energy += p.level * p.level * frameDuration.Seconds()
		if len(p.buffered) > 0 {
			p.next++ // lost: later ones are here already
		} else if p.conceal > 25 {
			p.waiting, p.resync = true, true // the stream has stopped; go on with what comes
		}
		return
	}
	p.conceal = 0
	p.level = rms(p.pcm[:n])
	p.lastEnergyRMS = p.level
	p.energy += p.level * p.level * frameDuration.Seconds()
	p.bufferDelay += now.Sub(packet.at).Seconds() * float64(n)
	p.targetDelay += target.Seconds() * float64(n)
	p.emitted += uint64(n)
}

// report gives the stream as an inbound-rtp statistics object; nil where
// nothing was ever received.
func (p *playout) report(timestampMs float64) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.received == 0 {
		return nil
	}
	expected := uint64(p.highest-p.firstSeq) + 1
	return map[string]any{
		"id": "IT01A1", "type": "inbound-rtp", "kind": "audio", "timestamp": timestampMs, "ssrc": p.ssrc,
		"codecId": "CIT01", "packetsReceived": p.received, "bytesReceived": p.bytes,
		"packetsLost": int64(expected) - int64(p.received), "packetsDiscarded": p.discarded, "jitter": p.jitter,
		"jitterBufferDelay": p.bufferDelay, "jitterBufferTargetDelay": p.targetDelay, "jitterBufferEmittedCount": p.emitted,
		"concealedSamples": p.concealed, "silentConcealedSamples": p.silent, "totalSamplesReceived": p.totalSamples,
		"totalAudioEnergy": p.energy, "totalSamplesDuration": p.duration, "audioLevel": p.level,
	}
}
