package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// scenario is one labelled call. The label says what was really done to it.
type scenario struct {
	name  string // part of the call's id
	label string
	media bool
	pause time.Duration // before it runs again
	run   func(ctx context.Context, d *demo, callID, label string) error
}

const (
	callTime = 35 * time.Second
	never    = time.Duration(-1)
)

// scenarios is the demo. In SIP and WebRTC calls the first party is the caller.
var scenarios = []scenario{
	{"rtc-clean", "clean", true, 20 * time.Second, webrtcCall(webrtcScenario{from: "alice", to: "bob",
		ab: impairment{delay: 15 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 15 * time.Millisecond, deadFrom: never}})},
	{"rtc-oneway-middle", "one-way from the middle: the callee stops hearing the caller after 15 s", true, 40 * time.Second, webrtcCall(webrtcScenario{from: "carol", to: "alice",
		ab: impairment{delay: 20 * time.Millisecond, deadFrom: 15 * time.Second}, ba: impairment{delay: 20 * time.Millisecond, deadFrom: never}})},
	{"sip-clean", "clean", true, 25 * time.Second, sipCall(sipScenario{from: "dave", to: "erin",
		ab: impairment{delay: 10 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 10 * time.Millisecond, deadFrom: never}})},
	{"sip-oneway-start", "one-way from the start: the callee never hears the caller", true, 50 * time.Second, sipCall(sipScenario{from: "frank", to: "grace",
		ab: impairment{delay: 15 * time.Millisecond, deadFrom: 0}, ba: impairment{delay: 15 * time.Millisecond, deadFrom: never}})},
	{"rtc-delayed", "delayed: 340 ms round trip", true, 40 * time.Second, webrtcCall(webrtcScenario{from: "bob", to: "carol",
		ab: impairment{delay: 170 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 170 * time.Millisecond, deadFrom: never}})},
	{"rtc-jittery", "jittery: 0–160 ms towards the callee", true, 40 * time.Second, webrtcCall(webrtcScenario{from: "alice", to: "carol",
		ab: impairment{delay: 20 * time.Millisecond, jitter: 160 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 20 * time.Millisecond, deadFrom: never}})},
	{"rtc-lossy", "lossy: 8 % towards the caller", true, 40 * time.Second, webrtcCall(webrtcScenario{from: "bob", to: "alice",
		ab: impairment{delay: 25 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 25 * time.Millisecond, loss: 0.08, deadFrom: never}})},
	{"rtc-muted", "muted: the caller mutes after 10 s, which is no fault", true, 40 * time.Second, webrtcCall(webrtcScenario{from: "carol", to: "bob", muteAfter: 10 * time.Second,
		ab: impairment{delay: 20 * time.Millisecond, deadFrom: never}, ba: impairment{delay: 20 * time.Millisecond, deadFrom: never}})},
	{"rtc-oneway-start", "one-way from the start: the callee never hears the caller", true, 60 * time.Second, webrtcCall(webrtcScenario{from: "alice", to: "bob",
		ab: impairment{delay: 20 * time.Millisecond, deadFrom: 0}, ba: impairment{delay: 20 * time.Millisecond, deadFrom: never}})},
	{"sip-lossy", "lossy: 6 % towards the callee, 240 ms round trip", true, 50 * time.Second, sipCall(sipScenario{from: "erin", to: "frank",
		ab: impairment{delay: 120 * time.Millisecond, loss: 0.06, deadFrom: never}, ba: impairment{delay: 120 * time.Millisecond, deadFrom: never}})},

	{"busy", "rejected: on a call", false, 45 * time.Second, refused("dave", "frank", 486, "Busy Here", true, "")},
	{"declined", "rejected: manually declined", false, 60 * time.Second, refused("dave", "grace", 603, "Decline", true, "")},
	{"no-endpoint", "rejected: no available endpoints", false, 50 * time.Second, refused("erin", "heidi", 480, "Temporarily Unavailable", false, "")},
	{"spam", "rejected: spam", false, 70 * time.Second, refused("frank", "dave", 607, "Unwanted", false, "")},
	{"elsewhere", "rejected: assigned to another operator", false, 55 * time.Second, completedElsewhere("frank", "erin")},
	{"reserved", "rejected: reserved to another call", false, 80 * time.Second, refused("grace", "dave", 480, "Temporarily Unavailable", false, "reserved_to_another_call")},
	{"after-hours", "rejected: after hours", false, 90 * time.Second, refused("erin", "grace", 480, "Temporarily Unavailable", false, "after_hours")},
	{"dnd", "rejected: do not disturb", false, 65 * time.Second, refused("frank", "heidi", 480, "Do Not Disturb", false, "do_not_disturb")},
	{"ringing", "rejected: ringing in progress", false, 75 * time.Second, refused("grace", "erin", 486, "Busy Here", false, "ringing_in_progress")},
}

type webrtcScenario struct {
	from, to  string
	ab, ba    impairment
	muteAfter time.Duration
}

func webrtcCall(s webrtcScenario) func(ctx context.Context, d *demo, callID, label string) error {
	return func(ctx context.Context, d *demo, callID, label string) error {
		from, to := who(s.from), who(s.to)
		party := func(p person) map[string]any {
			return map[string]any{"user_id": p.id, "name": p.name, "number": p.number}
		}
		base := map[string]any{"call_id": callID, "from": party(from), "to": party(to), "direction": "internal"}
		with := func(more map[string]any) map[string]any {
			out := map[string]any{}
			for _, m := range []map[string]any{base, more} {
				for k, v := range m {
					out[k] = v
				}
			}
			return out
		}
		ctx, hangUp := context.WithCancel(ctx)
		defer hangUp()
		r, err := newRelay(s.ab, s.ba, hash(callID))
		if err != nil {
			return err
		}
		go r.run(ctx)
		a, err := newPeer(d.alice, true)
		if err != nil {
			return err
		}
		defer a.close()
		b, err := newPeer(d.bob, false)
		if err != nil {
			return err
		}
		defer b.close()
		if err := d.event(ctx, "started", with(map[string]any{"description": "Demo: " + label})); err != nil {
			return err
		}
		if err := connect(ctx, a, b, r); err != nil {
			return err
		}
		if err := d.event(ctx, "connected", with(nil)); err != nil {
			return err
		}
		start := time.Now()
		go a.talk(ctx)
		go b.talk(ctx)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for time.Since(start) < callTime {
			select {
			case <-ctx.Done():
				return nil
			case now := <-ticker.C:
				if s.muteAfter > 0 && now.Sub(start) > s.muteAfter && !a.muted.Swap(true) {
					if err := d.event(ctx, "muted", with(map[string]any{"side": "target", "subject": party(from)})); err != nil {
						return err
					}
				}
				if err := d.postStats(ctx, callID, now, []peerLeg{{"target", from, a}, {"contact", to, b}}); err != nil {
					return err
				}
			}
		}
		return d.event(ctx, "ended", with(map[string]any{"side": "target", "reason": "hang-up"}))
	}
}

type peerLeg struct {
	side   string
	person person
	peer   *peer
}

func (d *demo) postStats(ctx context.Context, callID string, now time.Time, legs []peerLeg) error {
	var batch []map[string]any
	for _, l := range legs {
		batch = append(batch, map[string]any{
			"call_id": callID, "leg_id": callID + "-" + l.side, "side": l.side,
			"user_id": l.person.id, "device_id": l.person.id + "-" + l.person.endpoint, "endpoint": l.person.endpoint,
			"app_version": l.person.version, "platform": l.person.platform,
			"at": now.UTC().Format(time.RFC3339Nano), "muted": l.peer.muted.Load(), "stats": l.peer.stats(now),
		})
	}
	status, body, err := d.post(ctx, "/ingest/v1/webrtc", "application/json", batch)
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("getStats were refused: status %d: %s", status, body)
	}
	return nil
}

type sipScenario struct {
	from, to string
	ab, ba   impairment
}

func sipCall(s sipScenario) func(ctx context.Context, d *demo, callID, label string) error {
	return func(ctx context.Context, d *demo, callID, label string) error {
		ctx, hangUp := context.WithCancel(ctx)
		defer hangUp()
		from, to := d.phones[s.from], d.phones[s.to]
		r, err := newRelay(s.ab, s.ba, hash(callID))
		if err != nil {
			return err
		}
		// The relay is the network: on the wire each party is where the other sees it.
		r.tap = func(side int, _, _ netip.AddrPort, packet []byte) {
			if isRTCP(packet) {
				d.agent.rtcp(r.facing(1-side), r.facing(side), packet)
			}
		}
		go r.run(ctx)
		a, err := newSpeaker(d.alice, true, uint32(hash(callID+"a")))
		if err != nil {
			return err
		}
		b, err := newSpeaker(d.bob, false, uint32(hash(callID+"b")))
		if err != nil {
			return err
		}
		r.setParty(0, a.local())
		r.setParty(1, b.local())
		a.to, b.to = r.facing(0), r.facing(1)

		to.expect(callID, func(dialog *sipgo.DialogServerSession) {
			_ = dialog.Respond(sip.StatusRinging, "Ringing", nil, userAgent(to))
			time.Sleep(800 * time.Millisecond)
			_ = dialog.Respond(sip.StatusOK, "OK", []byte(b.sdp(r.facing(0))), userAgent(to), sip.NewHeader("Content-Type", "application/sdp"))
		})
		dialog, err := from.dial(ctx, to, callID, a.sdp(r.facing(1)))
		if err != nil {
			return err
		}
		defer dialog.Close()
		if err := dialog.WaitAnswer(ctx, sipgo.AnswerOptions{}); err != nil {
			return fmt.Errorf("the call was not answered: %w", err)
		}
		if err := dialog.Ack(ctx); err != nil {
			return fmt.Errorf("cannot acknowledge: %w", err)
		}
		if err := d.describe(ctx, callID, label); err != nil {
			return err
		}
		go a.talk(ctx)
		go b.talk(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(callTime):
		}
		if err := dialog.Bye(ctx); err != nil {
			return fmt.Errorf("cannot hang up: %w", err)
		}
		return nil
	}
}

// describe gives a SIP call its label.
func (d *demo) describe(ctx context.Context, callID, label string) error {
	return d.event(ctx, "started", map[string]any{"sip_call_id": callID, "description": "Demo: " + label})
}

func userAgent(p *phone) sip.Header { return sip.NewHeader("User-Agent", p.userAgent) }

// refused is a call that the callee's side turns down with a status; where the
// platform knows a reason that no status can carry, it says so by an event.
func refused(from, to string, status int, phrase string, rings bool, reason string) func(ctx context.Context, d *demo, callID, label string) error {
	return func(ctx context.Context, d *demo, callID, label string) error {
		caller, callee := d.phones[from], d.phones[to]
		callee.expect(callID, func(dialog *sipgo.DialogServerSession) {
			if rings {
				_ = dialog.Respond(sip.StatusRinging, "Ringing", nil, userAgent(callee))
				time.Sleep(time.Second)
			}
			_ = dialog.Respond(status, phrase, nil, userAgent(callee))
		})
		dialog, err := caller.dial(ctx, callee, callID, noMedia)
		if err != nil {
			return err
		}
		defer dialog.Close()
		var refusal *sipgo.ErrDialogResponse
		if err := dialog.WaitAnswer(ctx, sipgo.AnswerOptions{}); err == nil {
			return errors.New("a call was answered that should have been refused")
		} else if !errors.As(err, &refusal) {
			return fmt.Errorf("the call was not refused as it should: %w", err)
		}
		if err := d.describe(ctx, callID, label); err != nil {
			return err
		}
		if reason == "" {
			return nil
		}
		agent := who(to)
		return d.event(ctx, "rejected", map[string]any{
			"sip_call_id": callID, "reason": reason, "text": phrase,
			"agent": map[string]any{"user_id": agent.id, "name": agent.name, "number": agent.number},
		})
	}
}

// completedElsewhere rings an operator until another one takes the call (RFC 3326).
func completedElsewhere(from, to string) func(ctx context.Context, d *demo, callID, label string) error {
	return func(ctx context.Context, d *demo, callID, label string) error {
		caller, callee := d.phones[from], d.phones[to]
		callee.expect(callID, func(dialog *sipgo.DialogServerSession) {
			_ = dialog.Respond(sip.StatusRinging, "Ringing", nil, userAgent(callee))
			<-dialog.Context().Done()
		})
		dialog, err := caller.dial(ctx, callee, callID, noMedia)
		if err != nil {
			return err
		}
		defer dialog.Close()
		answered := make(chan error, 1)
		go func() { answered <- dialog.WaitAnswer(ctx, sipgo.AnswerOptions{}) }()
		select {
		case err := <-answered:
			return fmt.Errorf("a ringing call ended early: %w", err)
		case <-time.After(1500 * time.Millisecond):
		}
		if err := caller.cancel(dialog, `SIP;cause=200;text="Call completed elsewhere"`); err != nil {
			return err
		}
		<-answered
		return d.describe(ctx, callID, label)
	}
}

// noMedia is the offer of a call that will not be answered.
const noMedia = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=inactive\r\n"
