package calls_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// momentsOf gives the moments of a transcript, in their order.
func momentsOf(out []*telemetry.Outcome) (all []*telemetry.CallMoment) {
	for _, o := range out {
		if m := o.GetMoment(); m != nil {
			all = append(all, m)
		}
	}
	return all
}

// toldAs writes moments as "type by whom at seconds", from when the script begins.
func toldAs(out []*telemetry.Outcome) (lines []string) {
	for _, m := range momentsOf(out) {
		who := m.Agent.GetUserId()
		if who == "" {
			who = m.Agent.GetNumber()
		}
		if who == "" {
			who = "-"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %.2f", m.Type, who, m.Source, float64(m.AtUs-startUs)/1e6))
	}
	return lines
}

const callee = "+14155550199"

// signalled is a call with a hold and a transfer.
func signalled(t testing.TB) *script {
	s := newScript(t)
	s.answered()
	s.reinvite(10, 0, 3, "sendonly", "recvonly")
	s.reinvite(20, 0, 4, "sendrecv", "sendrecv")
	s.sip(25, 1, "REFER", 0, withCSeq(5), withBranch("z9hG4bK-refer"))
	return s.bye(30, 1)
}

// said adds what the platform says of the same call, later or earlier by shift.
func said(s *script, shift float64) *script {
	e := func(at float64, typ string, side string) {
		s.event(at+shift, typ, func(e *telemetry.CallEvent) { e.Side = side })
	}
	e(0, "started", "")
	e(0.2, "ringing", "")
	e(1, "connected", "")
	e(10, "held", "target")
	e(20, "resumed", "target")
	e(25, "transferred", "contact")
	e(30, "ended", "contact")
	slices.SortStableFunc(s.records, func(a, b *telemetry.Record) int { return int(a.AtUs - b.AtUs) })
	return s
}

func TestMoments(t *testing.T) {
	bySIP := []string{
		"started alice sip 0.00", "ringing " + callee + " sip 0.20", "connected " + callee + " sip 1.00",
		"held alice sip 10.00", "resumed alice sip 20.00", "transferred " + callee + " sip 25.00", "ended " + callee + " sip 30.00", "verdict - earshot 35.00",
	}
	byEvent := make([]string, len(bySIP))
	for i, line := range bySIP {
		byEvent[i] = strings.Replace(line, " sip ", " event ", 1)
	}
	t.Run("signalling alone", func(t *testing.T) {
		require.Equal(t, bySIP, toldAs(signalled(t).run(20)))
	})
	t.Run("signalling, then the platform", func(t *testing.T) {
		require.Equal(t, bySIP, toldAs(said(signalled(t), 0).run(20)))
	})
	t.Run("signalling, and the platform some seconds late", func(t *testing.T) {
		require.Equal(t, bySIP, toldAs(said(signalled(t), 1.5).run(20)))
	})
	t.Run("the platform alone", func(t *testing.T) {
		s := newScript(t)
		s.event(0, "started", func(e *telemetry.CallEvent) {
			e.From, e.To, e.Direction = agentA, &telemetry.Identity{Number: callee}, "outbound"
		})
		require.Equal(t, byEvent, toldAs(said(s, 0).run(20)))
	})
	t.Run("the platform, then signalling", func(t *testing.T) {
		// The platform knows of everything a moment before it is on the wire.
		s := said(signalled(t), -0.1)
		s.records[0].GetEvent().From, s.records[0].GetEvent().To = s.caller, s.callee
		told := toldAs(s.run(20))
		require.Len(t, told, len(byEvent))
		for i, line := range told[:len(told)-1] {
			want := strings.Fields(byEvent[i])
			got := strings.Fields(line)
			require.Equal(t, want[:3], got[:3], "%v", told)
		}
	})
}

func TestMomentsSayWhoAndWhat(t *testing.T) {
	s := newScript(t)
	s.callee = agentB
	s.answered()
	s.event(5, "recording_changed", func(e *telemetry.CallEvent) { e.RecordingEnabled, e.Subject, e.Text = true, agentB, "asked for" })
	s.event(6, "muted", func(e *telemetry.CallEvent) { e.Subject = agentB })
	s.event(7, "muted", func(e *telemetry.CallEvent) { e.Subject = agentB }) // again, and nothing new
	s.event(9, "unmuted", func(e *telemetry.CallEvent) { e.Subject = agentB })
	s.talk(10, 30)
	s.bye(31, 0)
	s.event(40, "rated", func(e *telemetry.CallEvent) { e.Subject, e.Rating, e.Text = agentA, 2, "choppy" })
	out := s.run(300)
	require.Equal(t, []string{
		"started alice sip 0.00", "ringing bob sip 0.20", "connected bob sip 1.00",
		"recording_changed bob event 5.00", "muted bob event 6.00", "unmuted bob event 9.00",
		"ended alice sip 31.00", "verdict - earshot 36.00", "rated alice event 40.00",
	}, toldAs(out))
	all := momentsOf(out)
	recording, ended, verdict, rated := all[3], all[6], all[7], all[8]
	require.True(t, recording.GetRecordingEnabled())
	require.Equal(t, "asked for", recording.Text)
	require.Equal(t, "target", ended.Side)
	require.Equal(t, uint32(200), ended.SipStatus)
	require.Equal(t, "internal", ended.Direction)
	require.Equal(t, "good", verdict.Verdict.Overall)
	require.Equal(t, "none", verdict.Verdict.OneWayState)
	require.NotZero(t, verdict.Verdict.Version)
	require.Equal(t, uint32(2), rated.Rating)
	require.Equal(t, "choppy", rated.Text)
	for _, m := range all {
		require.Equal(t, "alice", m.Target.GetUserId())
		require.Equal(t, "sales", m.Target.GetDepartmentId())
		require.Equal(t, "bob", m.Contact.GetUserId())
		require.Regexp(t, "^[0-9a-f]{24}$", m.Id)
	}
}

func TestMomentsOfRefusals(t *testing.T) {
	busy := func() *script {
		s := newScript(t)
		s.callee = agentB
		s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
		s.sip(0.2, 1, "INVITE", 180)
		s.sip(3, 1, "INVITE", 486)
		s.sip(3.1, 0, "ACK", 0)
		return s
	}
	platform := func(s *script, at float64) *script {
		s.event(at, "rejected", func(e *telemetry.CallEvent) {
			e.Subject, e.Reason, e.Text = agentB, "do_not_disturb", "Set to do not disturb"
		})
		return s
	}
	t.Run("told by signalling", func(t *testing.T) {
		out := busy().run(30)
		require.Equal(t, []string{"started alice sip 0.00", "ringing bob sip 0.20", "rejected bob sip 3.00", "ended bob sip 3.00", "verdict - earshot 8.00"}, toldAs(out))
		require.Equal(t, "on_a_call", momentsOf(out)[2].Reason)
		require.Equal(t, uint32(486), momentsOf(out)[2].SipStatus)
	})
	t.Run("the platform says better why", func(t *testing.T) {
		out := platform(busy(), 3.5).run(30)
		require.Equal(t, []string{"started alice sip 0.00", "ringing bob sip 0.20", "rejected bob event 3.00", "ended bob sip 3.00", "verdict - earshot 8.00"}, toldAs(out))
		m := momentsOf(out)[2]
		require.Equal(t, "do_not_disturb", m.Reason)
		require.Equal(t, "Set to do not disturb", m.Text)
		require.Equal(t, uint32(486), m.SipStatus)
	})
	t.Run("the platform is late", func(t *testing.T) {
		out := platform(busy(), 6).run(30)
		all := momentsOf(out)
		require.Equal(t, "rejected", all[2].Type)
		require.Equal(t, "on_a_call", all[2].Reason)
		require.Equal(t, "do_not_disturb", all[3].Reason)
		require.Equal(t, all[2].Id, all[3].Id, "the same refusal, better told")
	})
	t.Run("the platform is first", func(t *testing.T) {
		s := platform(busy(), 2.9)
		slices.SortStableFunc(s.records, func(a, b *telemetry.Record) int { return int(a.AtUs - b.AtUs) })
		out := s.run(30)
		require.Equal(t, []string{"started alice sip 0.00", "ringing bob sip 0.20", "rejected bob event 2.90", "ended bob sip 3.00", "verdict - earshot 8.00"}, toldAs(out))
	})
	t.Run("the platform's word arrives before the call", func(t *testing.T) {
		s := busy()
		platform(s, 3.1)
		last := len(s.records) - 1
		s.records = append(s.records[last:], s.records[:last]...)
		out := s.run(30)
		require.Equal(t, []string{"started alice sip 0.00", "ringing bob sip 0.20", "rejected bob event 3.10", "ended bob sip 3.00"}, toldAs(out)[:4])
	})
	t.Run("the platform's word alone", func(t *testing.T) {
		require.Equal(t, []string{"started - event 3.00", "rejected bob event 3.00"}, toldAs(platform(newScript(t), 3).run(30))[:2])
	})
	t.Run("two agents refuse, a third answers", func(t *testing.T) {
		s := newScript(t)
		s.answered()
		for i, user := range []string{"u1", "u2"} {
			s.event(0.3+float64(i)/10, "rejected", func(e *telemetry.CallEvent) {
				e.Subject, e.Reason = &telemetry.Identity{UserId: user}, "manually_declined"
			})
		}
		slices.SortStableFunc(s.records, func(a, b *telemetry.Record) int { return int(a.AtUs - b.AtUs) })
		s.bye(20, 0)
		told := toldAs(s.run(30))
		require.Equal(t, []string{"rejected u1 event 0.30", "rejected u2 event 0.40", "connected " + callee + " sip 1.00"}, told[2:5])
	})
}

// TestMomentsOfAnAnswerThatCrossed: a CANCEL that came too late ended nothing.
func TestMomentsOfAnAnswerThatCrossed(t *testing.T) {
	s := newScript(t)
	s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
	s.sip(0.2, 1, "INVITE", 183, withSDP(s.sdp(1, "sendrecv")))
	s.sip(5, 0, "CANCEL", 0)
	s.sip(5.01, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
	s.sip(5.05, 0, "ACK", 0)
	s.bye(20, 1)
	require.Equal(t, []string{"started alice sip 0.00", "ringing " + callee + " sip 0.20", "connected " + callee + " sip 5.01", "ended " + callee + " sip 20.00", "verdict - earshot 25.00"},
		toldAs(s.run(30)))
}

// TestMomentsOfStatistics: where nobody but getStats tells of the call.
func TestMomentsOfStatistics(t *testing.T) {
	a, _ := sides(t, "w5_mute_A")
	in := polls(t, "w5_mute_A", func(side string, n int, w *telemetry.WebRTCSample, _ *telemetry.Record) bool {
		w.HasMuted, w.Muted = true, side == a && n >= 10 && n < 15
		return true
	})
	var types []string
	for _, m := range momentsOf(play(t, newMachine(), in)) {
		types = append(types, m.Type+" "+m.Source)
	}
	require.Equal(t, []string{"started webrtc", "connected webrtc", "muted webrtc", "unmuted webrtc", "ended earshot", "verdict earshot"}, types)
}

// TestHoldMusicIsNoResume: the server plays music to the agent, whose dialog it
// refreshes meanwhile as if nothing were.
func TestHoldMusicIsNoResume(t *testing.T) {
	l := through(t)
	l.legs[0].reinvite(20, 0, 3, "inactive", "inactive")
	l.legs[1].reinvite(25, 0, 3, "sendrecv", "sendrecv")
	l.legs[0].reinvite(30, 0, 4, "sendrecv", "sendrecv")
	l.hangUp(40)
	var types []string
	for _, m := range momentsOf(l.run(20)) {
		types = append(types, fmt.Sprintf("%s %.2f", m.Type, float64(m.AtUs-startUs)/1e6))
	}
	i := slices.Index(types, "held 20.00")
	require.True(t, i > 0 && types[i+1] == "resumed 30.00", "%v", types)
}

// TestAttendedTransfer: a dialog that takes the place of one says so.
func TestAttendedTransfer(t *testing.T) {
	l := newLegs(t, 2)
	l.legs[0].answered()
	l.legs[1].sip(10, 0, "INVITE", 0, withSDP(l.legs[1].sdp(0, "sendrecv")), func(m *telemetry.SIPMessage) {
		m.Raw = []byte("INVITE sip:x SIP/2.0\r\nreplaces : call-1;to-tag=a;from-tag=b\r\n\r\n")
	})
	l.legs[0].bye(20, 0)
	told := toldAs(l.run(20))
	require.Equal(t, 1, strings.Count(strings.Join(told, "\n"), "transferred"))
	require.Contains(t, told, "transferred - sip 10.00")
}

// TestMomentsAreBounded: an app that mutes and unmutes without end.
func TestMomentsAreBounded(t *testing.T) {
	s := newScript(t)
	s.answered()
	for i := range 1500 {
		typ := []string{"muted", "unmuted"}[i%2]
		s.event(2+float64(i)/100, typ, func(e *telemetry.CallEvent) { e.Side = "target" })
	}
	s.bye(30, 0)
	told := toldAs(s.run(20))
	require.Len(t, told, 3+1000+2)
	require.Equal(t, "verdict - earshot 35.00", told[len(told)-1])
}

// TestRandomMoments: what comes once comes once, a call begins before anything else
// of it happens, and no two moments have one id.
func TestRandomMoments(t *testing.T) {
	for seed := range uint64(40) {
		type of struct{ company, timeline, call, what string }
		started, verdicts, once, ids := map[of]bool{}, map[of]bool{}, map[of]bool{}, map[of]bool{}
		m := newMachine()
		clock := int64(0)
		emit := func(o *telemetry.Outcome) {
			e := o.GetMoment()
			if e == nil {
				return
			}
			call := of{o.Company, o.Timeline, o.CallId, ""}
			aside := e.Type == "rated" || e.Type == "recording_changed"
			if !aside && e.Type != "started" && !started[call] {
				t.Errorf("seed %d: %s of a call that has not begun", seed, e.Type)
			}
			if slices.Contains([]string{"started", "ringing", "connected", "ended"}, e.Type) {
				key := of{o.Company, o.Timeline, o.CallId, e.Type}
				if once[key] {
					t.Errorf("seed %d: %s twice", seed, e.Type)
				}
				once[key] = true
			}
			if key := (of{o.Company, o.Timeline, o.CallId, e.Id}); e.Type != "rejected" && !aside {
				if ids[key] {
					t.Errorf("seed %d: two moments with one id: %v", seed, e)
				}
				ids[key] = true
			}
			started[call] = started[call] || e.Type == "started"
			verdicts[call] = verdicts[call] || e.Type == "verdict"
		}
		for _, r := range randomRecords(rand.New(rand.NewPCG(seed, 11)), 150) {
			_ = m.Apply(proto.Clone(r).(*telemetry.Record), emit)
			if r.Timeline.GetId() == "" && r.AtUs-clock >= 1_000_000 {
				clock = r.AtUs
				m.Advance("", clock, emit)
			}
		}
		m.End("import:1", clock, emit)
		for range 600 { // not so long that a call is forgotten
			clock += 1_000_000
			m.Advance("", clock, emit)
		}
		for call := range started {
			if call.timeline != "" && !verdicts[call] {
				t.Errorf("seed %d: call %s ended with its timeline and without a verdict", seed, call.call)
			}
		}
	}
}
