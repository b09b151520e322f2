package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
)

const speechS = 60

// speech writes a WAV file (16 bits, all channels the same) of something that a voice activity
// detector takes for a voice: syllables of harmonics below formants that move, in
// phrases with pauses, and hiss between them. With active 0 it is digital
// silence; pauseS is the length of the pauses.
func speech(file string, rate, channels int, lengthS, loud, pauseS float64, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1))
	n := int(lengthS * float64(rate))
	length := 2 * n * channels
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, uint32(36+length))
	b = append(b, "WAVEfmt "...)
	for _, v := range []any{uint32(16), uint16(1), uint16(channels), uint32(rate), uint32(rate * channels * 2), uint16(channels * 2), uint16(16)} {
		b, _ = binary.Append(b, binary.LittleEndian, v) // of fixed size: cannot fail
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	const phraseS, syllableS = 2.4, 0.22
	phase, formants := 0.0, [2]float64{600, 1400}
	for i := range n {
		t := float64(i) / float64(rate)
		inPhrase := math.Mod(t, phraseS+pauseS)
		if i%int(syllableS*float64(rate)) == 0 {
			formants = [2]float64{300 + 500*random.Float64(), 1000 + 1200*random.Float64()}
		}
		x := 0.001 * (2*random.Float64() - 1)
		if inPhrase < phraseS {
			pitch := 110 + 30*math.Sin(2*math.Pi*t/1.7)
			phase += 2 * math.Pi * pitch / float64(rate)
			envelope := math.Pow(math.Sin(math.Pi*math.Mod(t, syllableS)/syllableS), 2)
			for k := 1.0; k <= 20; k++ {
				gain := 0.0
				for _, f := range formants {
					gain += math.Exp(-math.Pow((k*pitch-f)/180, 2))
				}
				x += 0.3 * envelope * gain * math.Sin(k*phase)
			}
		}
		for range channels {
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(math.MaxInt16*max(-1, min(1, x*loud)))))
		}
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("cannot write speech: %w", err)
	}
	return nil
}
