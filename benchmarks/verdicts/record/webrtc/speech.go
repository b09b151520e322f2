package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// The two take turns of four seconds. A quiet room is never quite silent, and
// people pause; without that, levels would not look like people talking.
var spoken = map[string][2]string{
	"alice": {"en-us+f3", "Good morning, this is Alice from the billing department. I have your letter from last week here in front of me, and I wanted to go through the numbers with you before we close the account. Shall we start at the top of the first page?"},
	"bob":   {"en-gb", "Yes, hello Alice. Thank you for calling back so soon. I was wondering about the second line on the invoice, because we returned two of the boxes in March and nobody wrote it down. Could you have a look at that for me?"},
}

// speak writes alice.wav and bob.wav (turns of talk), silent.wav (a microphone
// that gives nothing) and faint.wav (one that gives next to nothing).
func speak(folder string) error {
	file := func(name string) string { return filepath.Join(folder, name) }
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot synthesise speech: %s: %w: %s", name, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	format := []string{"-r", "48000", "-c", "1", "-b", "16"}
	for name, s := range spoken {
		raw, turn, turns, room := file(name+".raw.wav"), file(name+".turn.wav"), file(name+".turns.wav"), file("room.wav")
		first, second := "0", "4"
		if name == "bob" {
			first, second = "4", "0"
		}
		steps := [][]string{
			{"espeak-ng", "-v", s[0], "-s", "155", s[1], "-w", raw},
			append(append([]string{"sox", raw}, format...), turn, "trim", "0", "4", "norm", "-6", "pad", first, second),
			{"sox", turn, turns, "repeat", "5"},
			append(append([]string{"sox", "-R", "-n"}, format...), room, "synth", "48", "pinknoise", "vol", "0.004"),
			{"sox", "-m", "-v", "1", turns, "-v", "1", room, file(name + ".wav")},
		}
		for _, step := range steps {
			if err := run(step[0], step[1:]...); err != nil {
				return err
			}
		}
	}
	if err := run("sox", append(append([]string{"-n"}, format...), file("silent.wav"), "trim", "0", "48")...); err != nil {
		return err
	}
	return run("sox", append(append([]string{"-R", "-n"}, format...), file("faint.wav"), "synth", "48", "pinknoise", "vol", "0.0008")...)
}
