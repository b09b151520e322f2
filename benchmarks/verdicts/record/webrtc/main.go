// Command webrtc records calls between two Chromium: each in a network namespace
// of its own, between them a path that disturbs the packets as the scenario says
// (package path). The pages say in plain SIP over that path that they call; what
// they say of the media is what getStats() gives, once a second. For each call
// it writes truth.json, wire.pcap.gz and stats.jsonl.gz; gateway calls (gw-)
// have a phone in the place of the second page, behind rtpengine.
//
// Start it with `chrt -f 20`: it goes before the browsers, which go before all else.
//
// It needs root, iproute2, chromium, node, espeak-ng and sox, and for gateway
// calls baresip and rtpengine.
package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/earshot/earshot/benchmarks/verdicts"
	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

func main() {
	// The path's thread must find a processor of Go's free at once, also while
	// others wait for one of the machine's.
	runtime.GOMAXPROCS(16)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	calls := flag.String("calls", "benchmarks/verdicts/calls", "where the calls are written")
	source := flag.String("source", "benchmarks/verdicts/record/webrtc", "where the page is")
	only := flag.String("only", ".*", "a regular expression of the names to record")
	label := flag.Bool("label", false, "record nothing: write the labels anew into the truth of calls that are there")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, log, *calls, *source, *only, *label); err != nil {
		log.Error("cannot record", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, calls, source, only string, label bool) error {
	wanted, err := regexp.Compile("^(" + only + ")$")
	if err != nil {
		return fmt.Errorf("cannot read -only: %w", err)
	}
	chosen := slices.DeleteFunc(scenarios(), func(s *scenario) bool { return !wanted.MatchString(s.name) })
	if label {
		return labelAll(chosen, calls)
	}
	return record(ctx, log, chosen, calls, source)
}

// labelAll keeps what was measured of calls and writes the rest of their truth.
func labelAll(chosen []*scenario, calls string) error {
	for _, s := range chosen {
		file := filepath.Join(calls, s.name, "truth.json")
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot label: %w", err)
		}
		truth := s.truth()
		var was verdicts.Truth
		if err := json.Unmarshal(text, &was); err != nil {
			return fmt.Errorf("cannot label %s: %w", s.name, err)
		}
		truth.MadeWith, truth.AnsweredAt, truth.TalkS, truth.AToB, truth.BToA, truth.RTT = was.MadeWith, was.AnsweredAt, was.TalkS, was.AToB, was.BToA, was.RTT
		s.leaveOut(&truth)
		if err := writeTruth(file, truth); err != nil {
			return err
		}
	}
	return nil
}

func record(ctx context.Context, log *slog.Logger, chosen []*scenario, calls, source string) error {
	speech, err := os.MkdirTemp("", "speech")
	if err != nil {
		return fmt.Errorf("cannot make a folder: %w", err)
	}
	defer os.RemoveAll(speech)
	if err := speak(speech); err != nil {
		return err
	}
	var failed []error
	for _, s := range chosen {
		s.microphones = map[string]string{"a": filepath.Join(speech, s.sounds[0]+".wav"), "b": filepath.Join(speech, s.sounds[1]+".wav")}
		log.Info("recording", "call", s.name)
		if err := recordOne(ctx, log, s, source, filepath.Join(calls, s.name)); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			log.Error("cannot record a call", "call", s.name, "error", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func recordOne(ctx context.Context, log *slog.Logger, s *scenario, source, folder string) (err error) {
	p, err := path.Start(s.path)
	if err != nil {
		return fmt.Errorf("cannot make the path: %w", err)
	}
	c := &call{scenario: s, path: p, phones: map[string]*phone{}, log: log}
	played := c.run(ctx, source)
	capture, err := p.Close()
	if err := errors.Join(played, err); err != nil {
		return err
	}
	_, p99, most := capture.Late()
	log.Info("recorded", "call", s.name, "late_p99_ms", p99, "late_max_ms", most)
	return c.write(folder, capture)
}

// run starts the phones, plays the scenario and ends them.
func (c *call) run(ctx context.Context, source string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for side, node := range nodes {
		if c.scenario.gateway && side == "b" {
			continue
		}
		p, err := startPhone(ctx, c.log, side, c.path.Namespace(node), source)
		if err != nil {
			return err
		}
		defer p.end()
		c.phones[side] = p
	}
	if c.scenario.gateway {
		return c.playGateway(ctx)
	}
	return c.play(ctx)
}

func (c *call) write(folder string, capture *path.Capture) error {
	s := c.scenario
	truth := s.truth()
	capture.Measure(&truth)
	s.leaveOut(&truth)
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("cannot write the call: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("cannot write the call: %w", err)
	}
	if s.wire {
		// What sets the connection up and keeps it alive says nothing of the call.
		if err := capture.WriteWire(filepath.Join(folder, "wire.pcap.gz"), func(h *path.Hop) bool { return h.Kind != path.Other }); err != nil {
			return err
		}
	}
	if s.stats != "" {
		if err := c.writeStats(filepath.Join(folder, "stats.jsonl.gz"), time.Unix(0, capture.Zero)); err != nil {
			return err
		}
	}
	return writeTruth(filepath.Join(folder, "truth.json"), truth)
}

// manyNumbers is a list of numbers that indentation spreads over as many lines.
var manyNumbers = regexp.MustCompile(`\[[\d\s.,eEnul-]+\]`)

func writeTruth(file string, truth verdicts.Truth) error {
	text, err := json.MarshalIndent(truth, "", " ")
	if err != nil {
		return fmt.Errorf("cannot encode the truth: %w", err)
	}
	text = manyNumbers.ReplaceAllFunc(text, func(list []byte) []byte { return []byte(strings.Join(strings.Fields(string(list)), "")) })
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the truth: %w", err)
	}
	return nil
}

// writeStats writes what the pages polled, in the order of time.
func (c *call) writeStats(file string, answered time.Time) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("cannot write getStats: %w", err)
	}
	defer f.Close()
	zip, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("cannot write getStats: %w", err)
	}
	out := json.NewEncoder(zip)
	meta := map[string]any{"meta": map[string]any{"call_id": c.scenario.name, "scenario": c.scenario.what, "interval_ms": 1000, "tool": chromiumVersion()}}
	if err := out.Encode(meta); err != nil {
		return fmt.Errorf("cannot write getStats: %w", err)
	}
	slices.SortStableFunc(c.lines, func(x, y statsLine) int { return int(x.at - y.at) })
	for _, line := range c.lines {
		if !strings.Contains(c.scenario.stats, strings.ToLower(line.Side)) {
			continue
		}
		line.T = float64(line.at-answered.UnixMilli()) / 1000
		if err := out.Encode(line); err != nil {
			return fmt.Errorf("cannot write getStats: %w", err)
		}
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("cannot write getStats: %w", err)
	}
	return f.Close()
}

// chromiumVersion is as its maker names it.
func chromiumVersion() string {
	out, err := exec.Command("chromium", "--version").Output()
	if err != nil {
		return "Chromium"
	}
	return strings.Join(strings.Fields(string(out))[:2], " ")
}
