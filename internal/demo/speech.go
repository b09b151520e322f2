package demo

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/pion/opus"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// Speech travels in frames of 20 ms.
const (
	frameDuration = 20 * time.Millisecond
	opusRate      = 48000
	opusFrame     = opusRate / 50
	pcmuRate      = 8000
	pcmuFrame     = pcmuRate / 50
)

//go:embed speech/alice.opus
var aliceOgg []byte

//go:embed speech/bob.opus
var bobOgg []byte

// frame is 20 ms of somebody's voice, in both codecs, with its energy.
type frame struct {
	opus []byte
	pcmu []byte
	rms  float64 // 0–1
}

// voice is a recording that is spoken in a loop.
type voice struct {
	frames  []frame
	silence frame // the quietest frame: what a muted microphone sends
}

func loadVoice(ogg []byte) (*voice, error) {
	reader, _, err := oggreader.NewWith(bytes.NewReader(ogg))
	if err != nil {
		return nil, fmt.Errorf("cannot read the demo's speech: %w", err)
	}
	narrow, err := opus.NewDecoderWithOutput(pcmuRate, 1)
	if err != nil {
		return nil, fmt.Errorf("cannot make an Opus decoder: %w", err)
	}
	v := &voice{silence: frame{rms: math.Inf(1)}}
	pcm := make([]float32, pcmuFrame)
	for {
		page, _, err := reader.ParseNextPage()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the demo's speech: %w", err)
		}
		if bytes.HasPrefix(page, []byte("OpusTags")) {
			continue
		}
		n, err := narrow.DecodeToFloat32(page, pcm)
		if err != nil || n != pcmuFrame {
			return nil, fmt.Errorf("the demo's speech has a frame of %d samples: %w", n, err)
		}
		f := frame{opus: page, pcmu: make([]byte, n), rms: rms(pcm)}
		for i, x := range pcm {
			f.pcmu[i] = muLaw(x)
		}
		v.frames = append(v.frames, f)
		if f.rms < v.silence.rms {
			v.silence = f
		}
	}
	for i := range v.silence.pcmu {
		v.silence.pcmu[i] = 0xff // μ-law zero
	}
	return v, nil
}

func rms(pcm []float32) float64 {
	var sum float64
	for _, x := range pcm {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(max(len(pcm), 1)))
}

// muLaw encodes one sample of −1…1 (ITU-T G.711).
func muLaw(x float32) byte {
	const bias, clip = 132, 32635
	s := int(x * 32767)
	sign := byte(0)
	if s < 0 {
		s, sign = -s, 0x80
	}
	s = min(s, clip) + bias
	exponent := byte(7)
	for mask := 0x4000; s&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	return ^(sign | exponent<<4 | byte(s>>(exponent+3))&0x0f)
}

// talk gives frame n of a conversation in which the two take turns of four
// seconds, so that levels look like people talking and not like a tone.
func (v *voice) talk(n int, first bool) frame {
	const turn = 4 * 50
	if (n/turn)%2 == 0 != first {
		return v.silence
	}
	return v.frames[n%len(v.frames)]
}
