package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// call is a scenario being played.
type call struct {
	scenario *scenario
	path     *path.Path
	phones   map[string]*phone // a, b
	log      *slog.Logger
	lines    []statsLine
}

// statsLine is one getStats() of one side, as `earshot import` reads it.
type statsLine struct {
	T      float64         `json:"t"` // seconds after the answer
	Side   string          `json:"side"`
	Muted  *bool           `json:"muted,omitempty"`
	Report json.RawMessage `json:"report"`
	at     int64
}

var nodes = map[string]path.Node{"a": path.A, "b": path.B}

var addresses = map[string]string{"a": path.AddressA, "b": path.AddressB}

// play has two pages call each other and talk as long as the scenario says.
func (c *call) play(ctx context.Context) error {
	if err := c.both(c.prepare); err != nil {
		return err
	}
	if err := c.both(func(side string) error { return hurry(c.path.Namespace(nodes[side])) }); err != nil {
		return err
	}
	a, b := c.phones["a"], c.phones["b"]
	var offer string
	if err := a.do(&offer, "offer"); err != nil {
		return err
	}
	accepted := c.accept(ctx, b, "b")
	if err := c.invite(a, "invite", map[string]string{"peer": addresses["b"], "name": "bob", "callID": c.scenario.name, "sdp": offer}); err != nil {
		return err
	}
	if err := <-accepted; err != nil {
		return err
	}
	answered := c.path.Zero()
	if answered.IsZero() {
		return fmt.Errorf("nobody answered")
	}
	if err := c.phones["a"].do(nil, "connected"); err != nil {
		return err
	}
	if err := c.script(ctx, answered); err != nil {
		return err
	}
	return c.hangup()
}

// both does something at each page at once; a gateway call has but one.
func (c *call) both(f func(side string) error) error {
	if c.phones["b"] == nil {
		return f("a")
	}
	done := make(chan error, 1)
	go func() { done <- f("b") }()
	errA := f("a")
	if err := <-done; err != nil {
		return err
	}
	return errA
}

func (c *call) prepare(side string) error {
	s, p := c.scenario, c.phones[side]
	if err := p.do(nil, "begin", map[string]any{"wav": s.microphones[side], "encrypted": s.encrypted}); err != nil {
		return err
	}
	name := map[string]string{"a": "alice", "b": "bob"}[side]
	if err := p.do(nil, "listen", map[string]string{"host": addresses[side], "name": name}); err != nil {
		return err
	}
	return p.do(nil, "open", c.options(side))
}

func (c *call) options(side string) map[string]any {
	s := c.scenario
	return map[string]any{"codecs": s.codecs, "dtx": s.dtx, "receiveOnly": s.receiveOnly == side, "feedback": s.feedback}
}

// accept answers the next INVITE that a phone gets.
func (c *call) accept(ctx context.Context, p *phone, side string) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			var offer, answer string
			select {
			case offer = <-p.invite:
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(30 * time.Second):
				return fmt.Errorf("phone %s was not called", side)
			}
			if err := p.do(&answer, "answer", offer); err != nil {
				return err
			}
			return p.do(nil, "ok", map[string]string{"sdp": answer})
		}()
	}()
	return done
}

// invite sends an INVITE and takes the answer.
func (c *call) invite(p *phone, what string, options map[string]string) error {
	var answer struct {
		Status int
		SDP    string
	}
	if err := p.do(&answer, what, options); err != nil {
		return err
	}
	if answer.Status != 200 {
		return fmt.Errorf("the INVITE was answered with %d", answer.Status)
	}
	return p.do(nil, "accept", answer.SDP)
}

// reoffer lets a side renegotiate.
func (c *call) reoffer(ctx context.Context, side string, options map[string]any) error {
	other := map[string]string{"a": "b", "b": "a"}[side]
	p := c.phones[side]
	var offer string
	if err := p.do(&offer, "offer", options); err != nil {
		return err
	}
	accepted := c.accept(ctx, c.phones[other], other)
	if err := c.invite(p, "reinvite", map[string]string{"sdp": offer}); err != nil {
		return err
	}
	return <-accepted
}

// script does what the scenario's people do, each at its time, until the end of the talk.
func (c *call) script(ctx context.Context, answered time.Time) error {
	s := c.scenario
	steps := []step{{s.pollFrom, func(c *call, _ context.Context) error { return c.poll(true) }}}
	if s.pollTo > 0 {
		steps = append(steps, step{s.pollTo, func(c *call, _ context.Context) error { return c.poll(false) }})
	}
	steps = append(steps, s.steps...)
	steps = append(steps, step{s.talk, nil})
	for _, step := range steps {
		select {
		case <-time.After(time.Until(answered.Add(time.Duration(step.at * float64(time.Second))))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if step.do == nil {
			continue
		}
		if err := step.do(c, ctx); err != nil {
			return fmt.Errorf("at %.0f s: %w", step.at, err)
		}
	}
	return nil
}

func (c *call) poll(on bool) error {
	return c.both(func(side string) error { return c.phones[side].do(nil, "poll", on) })
}

// collect takes what a page has polled so far.
func (c *call) collect(side string) error {
	var polls []struct {
		At     int64
		Muted  *bool
		Report json.RawMessage
	}
	if err := c.phones[side].do(&polls, "take"); err != nil {
		return err
	}
	for _, p := range polls {
		name := map[string]string{"a": "A", "b": "B"}[side]
		c.lines = append(c.lines, statsLine{Side: name, Muted: p.Muted, Report: p.Report, at: p.At})
	}
	return nil
}

func (c *call) hangup() error {
	if err := c.poll(false); err != nil {
		return err
	}
	for side := range c.phones {
		if err := c.collect(side); err != nil {
			return err
		}
	}
	if err := c.phones["a"].do(nil, "bye"); err != nil {
		return err
	}
	return c.both(func(side string) error { return c.phones[side].do(nil, "hangup") })
}
