package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/earshot/earshot/benchmarks/verdicts"
	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// Scenario is one call: who calls whom, what they do, what happens to their
// packets, and what a good verdict says of it.
type Scenario struct {
	Name  string
	What  string // one sentence
	Class string // clean, fault, trap
	Fault string // none if empty
	Trap  string
	Codec codec
	A, B  Phone // A calls B
	Path  path.Config
	// Proxy runs in the middle, which is then a server.
	Proxy *Proxy
	Steps []Step
	// Gone is an address that steps take away, and when.
	Gone gone
	// TalkS is when A hangs up, after the answer; 0: nobody does it here.
	TalkS float64
	// Unanswered calls have their steps timed from the dialling; they last that long.
	UnansweredS float64
	// AfterS is how long packets are still carried after the end; 0: one second.
	AfterS float64
	// Keep chooses what of the wire is written; nil: all.
	Keep      func(*path.Hop) bool
	Witnesses []string // a, b and monitor if nil
	Expect    verdicts.Expectations
}

type gone struct {
	address string
	atS     float64
}

// Step is a command for a phone at a time after the answer, in the phone's own
// language, or after an exclamation mark one for the shell of its machine.
type Step struct {
	AtS     float64
	Phone   path.Node
	Command string
}

// codec is how speech is coded, and the clock of its RTP timestamps.
type codec struct {
	name      string
	clockRate int
	bandwidth string
}

var (
	pcma  = codec{"PCMA", 8000, "narrow"}
	pcmu  = codec{"PCMU", 8000, "narrow"}
	g722  = codec{"G722", 8000, "wide"} // its clock is half its sampling rate (RFC 3551 §4.5.2)
	opus  = codec{"opus", 48000, "full"}
	gsm   = codec{"GSM", 8000, "narrow"}
	speex = codec{"speex", 16000, "wide"}
)

// Phone is a program that can call and be called.
type Phone interface {
	// Start runs it at an address of its own.
	Start(s *set) (running, error)
	// Made names the program and its version.
	Made() string
}

// running is a phone that runs.
type running interface {
	Dial(to string) error
	Do(command string) error
	Hangup() error
	Stop()
}

// set is what a phone needs to start.
type set struct {
	path    *path.Path
	node    path.Node
	user    string // its SIP user
	address string // its own
	dir     string // its own, exists
	proxy   string // address of its outbound proxy, empty: none
	codec   codec
	other   string // address of the other phone
}

// A busy machine is slow to start programs.
const (
	startWithin  = time.Minute
	answerWithin = 20 * time.Second
)

// record makes the call and writes it into a folder.
func record(s *Scenario, folder string, keep bool) error {
	dir, err := os.MkdirTemp("", s.Name+"-")
	if err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	if keep {
		fmt.Printf("%-34s %s\n", s.Name, dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if s.Path.Seed == 0 {
		for _, c := range s.Name {
			s.Path.Seed = s.Path.Seed*31 + uint64(c)
		}
	}
	s.Path.Server = s.Proxy != nil
	p, err := path.Start(s.Path)
	if err != nil {
		return err
	}
	err = s.call(p, dir)
	capture, failed := p.Close()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return s.write(capture, folder)
}

// call starts the phones, makes the call and stops them.
func (s *Scenario) call(p *path.Path, dir string) error {
	phones := map[path.Node]running{}
	defer func() {
		for _, phone := range phones {
			phone.Stop()
		}
	}()
	proxy := ""
	if s.Proxy != nil {
		server, err := s.Proxy.Start(p, dir)
		if err != nil {
			return err
		}
		phones[path.Server] = server
		proxy = path.AddressServer
	}
	// Who is called is there first.
	for _, one := range []struct {
		phone          Phone
		node           path.Node
		address, other string
	}{{s.B, path.B, path.AddressB, path.AddressA}, {s.A, path.A, path.AddressA, path.AddressB}} {
		user := string(rune(one.node))
		own := filepath.Join(dir, user)
		if err := os.Mkdir(own, 0o755); err != nil {
			return err
		}
		phone, err := one.phone.Start(&set{path: p, node: one.node, user: user, address: one.address, dir: own, proxy: proxy, codec: s.Codec, other: one.other})
		if err != nil {
			return fmt.Errorf("cannot start phone %s: %w", user, err)
		}
		phones[one.node] = phone
	}
	if err := phones[path.A].Dial("sip:b@" + path.AddressB); err != nil {
		return fmt.Errorf("cannot dial: %w", err)
	}
	began, length := time.Now(), s.UnansweredS
	if s.UnansweredS == 0 {
		length = s.TalkS
		for p.Zero().IsZero() {
			if time.Since(began) > answerWithin {
				return errors.New("nobody answered")
			}
			time.Sleep(time.Millisecond)
		}
		began = p.Zero()
	}
	for _, step := range s.Steps {
		time.Sleep(time.Until(began.Add(seconds(step.AtS))))
		if command, ok := strings.CutPrefix(step.Command, "!"); ok { // not the phone's: of its machine
			if out, err := p.Command(step.Phone, "sh", "-c", command).CombinedOutput(); err != nil {
				return fmt.Errorf("cannot do %q: %w: %s", command, err, out)
			}
			continue
		}
		if err := phones[step.Phone].Do(step.Command); err != nil {
			return fmt.Errorf("cannot do %q: %w", step.Command, err)
		}
	}
	time.Sleep(time.Until(began.Add(seconds(length))))
	if s.TalkS > 0 {
		if err := phones[path.A].Hangup(); err != nil {
			return fmt.Errorf("cannot hang up: %w", err)
		}
	}
	time.Sleep(seconds(max(s.AfterS, 1)))
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (s *Scenario) write(c *path.Capture, folder string) error {
	var t verdicts.Truth
	s.label(&t)
	if s.Gone.address != "" {
		c.Gone(netip.MustParseAddr(s.Gone.address), seconds(s.Gone.atS))
	}
	c.Measure(&t)
	if s.UnansweredS == 0 && t.AToB == nil {
		return errors.New("nothing was measured")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("cannot write the call: %w", err)
	}
	if err := c.WriteWire(filepath.Join(folder, "wire.pcap.gz"), s.Keep); err != nil {
		return err
	}
	if err := writeTruth(&t, folder); err != nil {
		return err
	}
	p50, p99, late := c.Late()
	fmt.Printf("%-34s %.1f s, path late by %.3f ms (p50), %.3f (p99), %.3f (max); %s\n", s.Name, t.TalkS, p50, p99, late, summary(&t))
	return nil
}

// label writes what is known of a call before it is made.
func (s *Scenario) label(t *verdicts.Truth) {
	t.Name, t.What, t.Class, t.Fault, t.Trap = s.Name, s.What, s.Class, cmp.Or(s.Fault, "none"), s.Trap
	t.Codec, t.ClockRate, t.Bandwidth = s.Codec.name, s.Codec.clockRate, s.Codec.bandwidth
	t.Witnesses, t.Expect, t.MadeWith = s.Witnesses, s.Expect, nil
	if t.Witnesses == nil {
		t.Witnesses = []string{"a", "b", "monitor"}
	}
	for _, phone := range []Phone{s.A, s.B} {
		if !slices.Contains(t.MadeWith, phone.Made()) {
			t.MadeWith = append(t.MadeWith, phone.Made())
		}
	}
	if s.Proxy != nil {
		t.MadeWith = append(t.MadeWith, s.Proxy.Made()...)
	}
}

// relabel writes the label into a call that was made.
func (s *Scenario) relabel(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "truth.json"))
	if err != nil {
		return fmt.Errorf("cannot label a call: %w", err)
	}
	var t verdicts.Truth
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("cannot label %s: %w", s.Name, err)
	}
	s.label(&t)
	return writeTruth(&t, folder)
}

func writeTruth(t *verdicts.Truth, folder string) error {
	text, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return fmt.Errorf("cannot write the truth: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "truth.json"), append(flat(text), '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the truth: %w", err)
	}
	return nil
}

var numbers = regexp.MustCompile(`\[[\s\d.,nul-]+\]`)
var space = regexp.MustCompile(`\s+`)

// flat puts a list of numbers on one line.
func flat(text []byte) []byte {
	return numbers.ReplaceAllFunc(text, func(list []byte) []byte { return space.ReplaceAll(list, nil) })
}

// summary tells whoever records what came out.
func summary(t *verdicts.Truth) string {
	if t.AToB == nil {
		return "not answered"
	}
	text := ""
	for _, d := range []struct {
		name string
		*verdicts.Direction
	}{{"ab", t.AToB}, {"ba", t.BToA}} {
		text += fmt.Sprintf("%s %d/%d", d.name, *d.Received, *d.Sent)
		if d.Jitter != nil {
			text += fmt.Sprintf(" jitter %.1f", d.Jitter.P50)
		}
		for _, span := range d.Dead {
			text += fmt.Sprintf(" dead %.1f-%.1f", span.FromS, span.ToS)
		}
		text += "; "
	}
	if t.RTT != nil {
		text += fmt.Sprintf("rtt %.1f-%.1f", t.RTT.P50, t.RTT.P95)
	}
	return text
}
