package calls_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
	"google.golang.org/protobuf/proto"
)

// rtp adds a second of RTP of party p as it passed the capture point: received of
// sent packets, in so many runs of loss.
func (s *script) rtp(atS float64, p int, sent, received, runs uint32) {
	if s.rtpSeq[p] == 0 {
		s.rtpSeq[p] = 1000
	}
	s.rtpSeq[p] += sent
	s.add(atS, func(r *telemetry.Record) {
		r.Body = &telemetry.Record_Rtp{Rtp: &telemetry.RTPInterval{
			Src: mediaAddr(p), Dst: mediaAddr(1 - p), Ssrc: s.ssrc[p], ClockRate: 8000, Packets: received, Expected: sent,
			HighestSeq: s.rtpSeq[p], FirstUs: r.AtUs - 980_000, LastUs: r.AtUs, JitterMs: 1.5, LossRuns: runs, TimestampStep: 160,
		}}
	})
}

func mediaAddr(p int) string { return []string{"10.0.0.1:10000", "10.0.0.2:11000"}[p] }

func kindsOf(v *telemetry.Verdict) (kinds []string) {
	for _, e := range v.Evidence {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func evidenceOf(v *telemetry.Verdict, kind string) *telemetry.Evidence {
	for _, e := range v.Evidence {
		if e.Kind == kind {
			return e
		}
	}
	return nil
}

// What RTP headers at a capture point tell of one-way audio.
func TestOneWayAtCapturePoint(t *testing.T) {
	talking := reporting{packets: 250}
	tests := []struct {
		name             string
		script           func(*script)
		state, direction string
		since            float64
		evidence         string
		says             string // in its text
		fault            string
	}{
		{"lost behind the capture point", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 0, 50, 50, 0)
				s.rtp(at+0.001, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{packets: 250, blackout: true}, talking)
				}
			}
		}, "confirmed", "target_to_contact", 1, "never_received", "did pass the capture point", "contact"},
		{"lost before the capture point", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{packets: 250, blackout: true}, talking)
				}
			}
		}, "confirmed", "target_to_contact", 1, "never_received", "it was lost before it", "target"},
		{"lost before the capture point, and the other end does not report", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{packets: 250, blackout: true}, reporting{packets: 250, silent: true})
				}
			}
		}, "confirmed", "target_to_contact", 1, "lost_before", "none of them passed", "target"},
		{"nothing at all comes of one party", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 1, 50, 50, 0)
			}
		}, "suspected", "target_to_contact", 1, "nothing_sent", "nor RTCP came from the target", "target"},
		{"RTP stops before the capture point for a time", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				stopped := at > 11 && at < 26
				if !stopped {
					s.rtp(at, 0, 50, 50, 0)
				}
				s.rtp(at+0.001, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{packets: 250, blackout: stopped}, talking)
				}
			}
		}, "confirmed", "target_to_contact", 11, "stopped", "it was lost before it", "target"},
		{"all of one party stops, then the other gives up", func(s *script) {
			for at := 2.0; at <= 21; at++ {
				if at <= 14 {
					s.rtp(at, 0, 50, 50, 0)
				}
				s.rtp(at+0.001, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{packets: 250, silent: at > 14, blackout: at > 14}, talking)
				}
			}
		}, "suspected", "target_to_contact", 14, "nothing_sent", "nor RTCP", "target"},
		{"one party only listens, and says so", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, reporting{}, talking)
				}
			}
		}, "unknown", "", 0, "receive_only", "only listened", "unknown"},
		{"only one way passes the capture point", func(s *script) {
			for at := 2.0; at <= 40; at++ {
				s.rtp(at, 1, 50, 50, 0)
				if int(at)%5 == 1 {
					s.rtcp(at+0.01, talking, talking)
				}
			}
		}, "none", "", 0, "", "", "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			s.answered()
			tt.script(s)
			s.bye(41, 0)
			c := last(t, s.run(20))
			v := c.Verdict
			if tt.name == "only one way passes the capture point" {
				// The reports say that it arrives: that outweighs.
				if v.OneWayAudio.State == "confirmed" || v.OneWayAudio.State == "suspected" {
					t.Error(explain(c))
				}
				return
			}
			if v.OneWayAudio.State != tt.state || v.OneWayAudio.Direction != tt.direction || v.FaultSide != tt.fault {
				t.Errorf("one-way %v, fault %s", v.OneWayAudio, v.FaultSide)
			}
			if d := float64(v.OneWayAudio.SinceUs-startUs)/1e6 - tt.since; tt.since != 0 && (d < -1 || d > 1) {
				t.Errorf("dead since %.1f s off", d)
			}
			e := evidenceOf(v, tt.evidence)
			if e == nil || !strings.Contains(e.Text, tt.says) {
				t.Errorf("evidence %v", e)
			}
			if t.Failed() {
				t.Log(explain(c))
			}
		})
	}
}

// Audio that dies and comes back, twice: both times are listed, to the second.
func TestDeadSpans(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 21)
	dead := func(fromS, toS float64) {
		for at := fromS; at <= toS; at += 5 {
			s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
		}
	}
	dead(26, 41)
	s.received[0] = s.sent[0]
	s.talk(46, 66)
	dead(71, 81)
	s.received[0] = s.sent[0]
	s.talk(86, 101)
	s.bye(105, 0)
	c := last(t, s.run(20))
	v := c.Verdict
	spans := v.OneWayAudio.Spans
	if len(spans) != 2 {
		t.Fatalf("%d spans\n%s", len(spans), explain(c))
	}
	for i, want := range []struct{ from, to float64 }{{21, 41}, {66, 81}} {
		from, to := float64(spans[i].SinceUs-startUs)/1e6, float64(spans[i].UntilUs-startUs)/1e6
		if from < want.from-1 || from > want.from+1 || to < want.to-1 || to > want.to+1 || !spans[i].Healed || spans[i].Direction != "target_to_contact" {
			t.Errorf("span %d from %.1f to %.1f, healed %v", i, from, to, spans[i].Healed)
		}
	}
	if o := v.OneWayAudio; o.State != "confirmed" || o.SinceUs != spans[0].SinceUs || o.UntilUs != spans[0].UntilUs || !slices.Contains(kindsOf(v), "healed") {
		t.Error(explain(c))
	}
}

// Audio that dies between two reports died when the packets that arrived ended.
func TestDeadSinceWithinAnInterval(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 21)
	// 100 packets of 250 arrive: it died 2 s after the report of 21 s.
	s.sent[0] += 250
	s.received[0] += 100
	s.rtcp(26, reporting{blackout: true}, reporting{packets: 250})
	for at := 31.0; at <= 46; at += 5 {
		s.rtcp(at, reporting{packets: 250, blackout: true}, reporting{packets: 250})
	}
	s.bye(50, 0)
	c := last(t, s.run(20))
	if since := float64(c.Verdict.OneWayAudio.SinceUs-startUs) / 1e6; since < 22.5 || since > 23.5 {
		t.Errorf("dead since %.2f s, want 23 s\n%s", since, explain(c))
	}
}

// Evidence is told in order, each sentence with its time and its graph.
func TestEvidenceIsTold(t *testing.T) {
	s := newScript(t)
	s.answered()
	for at := 2.0; at <= 60; at++ {
		s.rtp(at, 0, 50, 50, 0)
		s.rtp(at+0.001, 1, 50, 50, 0)
		if int(at)%5 == 1 {
			s.rtcp(at+0.01, reporting{packets: 250, lost: 25}, reporting{packets: 250})
		}
	}
	s.reinvite(62, 0, 2, "sendonly", "recvonly")
	s.bye(70, 0)
	c := last(t, s.run(20))
	v := c.Verdict
	want := []string{"audio_both_ways", "fault", "loss", "mos", "rtt", "jitter", "jitter", "loss", "segment", "segment", "hold"}
	if got := kindsOf(v); !slices.Equal(got, want) {
		t.Errorf("told %v\nwant %v\n%s", got, want, explain(c))
	}
	for _, e := range v.Evidence {
		if e.Kind != "fault" && e.AtUs == 0 {
			t.Errorf("%s has no time", e.Kind)
		}
		if e.UntilUs != 0 && e.UntilUs <= e.AtUs {
			t.Errorf("%s ends at %d before it begins", e.Kind, e.UntilUs)
		}
		if e.Text == "" || strings.Contains(e.Text, "%!") || strings.Contains(e.Text, "NaN") || !strings.HasSuffix(e.Text, ".") {
			t.Errorf("%s says %q", e.Kind, e.Text)
		}
	}
	for kind, graph := range map[string]string{"loss": "loss", "rtt": "rtt", "jitter": "jitter", "mos": "mos", "hold": "ladder"} {
		if e := evidenceOf(v, kind); e == nil || e.Graph != graph {
			t.Errorf("%s is to be seen on %v", kind, e)
		}
	}
	// All of it was lost beyond the capture point, which is 40 ms from either.
	if v.FaultSide != "contact" || v.FaultConfidence != 0.8 || len(v.Segments) != 2 {
		t.Fatalf("fault %s %v, %d segments", v.FaultSide, v.FaultConfidence, len(v.Segments))
	}
	near, far := v.Segments[0], v.Segments[1]
	if near.From != "target" || near.To != "server" || far.From != "server" || far.To != "contact" || near.Source != "capture_point" ||
		near.GetTargetToContactLossPercent() != 0 || far.GetTargetToContactLossPercent() < 9 || far.Band != "unacceptable" || near.Band != "good" ||
		near.RttMs.GetP50() < 39 || near.RttMs.GetP50() > 41 {
		t.Errorf("%v\n%v", near, far)
	}
}

// The score of a call follows from the inputs that stand beside it.
func TestScoreFollowsFromItsInputs(t *testing.T) {
	tests := map[string]struct {
		codec string
		clock uint32
		ptime uint32
		model string
	}{
		"narrowband": {"PCMA", 8000, 0, "G.107"}, "long packets": {"PCMA", 8000, 60, "G.107"},
		"wideband": {"G722", 8000, 20, "G.107.1"}, "fullband": {"opus", 48000, 0, "G.107.2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			speaks := func(p int) sipOption {
				d := s.sdp(p, "sendrecv")
				d.Media[0].PtimeMs = tt.ptime
				d.Media[0].Codecs = []*telemetry.Codec{{PayloadType: 96, Name: tt.codec, ClockRate: tt.clock}}
				return withSDP(d)
			}
			s.sip(0, 0, "INVITE", 0, speaks(0))
			s.sip(1, 1, "INVITE", 200, speaks(1))
			for at := 6.0; at <= 36; at += 5 {
				s.rtcp(at, reporting{packets: 250, lost: 5}, reporting{packets: 250})
			}
			s.bye(40, 0)
			c := last(t, s.run(20))
			m := c.Verdict.Mos
			if m == nil || m.Model != tt.model || m.Direction != "target_to_contact" {
				t.Fatalf("%v\n%s", m, explain(c))
			}
			in := m.Inputs
			if tt.ptime != 0 && in["packetisation_ms"] != float64(tt.ptime) || in["one_way_delay_ms"] != in["rtt_ms"]/2+in["jitter_buffer_ms"]+in["packetisation_ms"]+in["look_ahead_ms"] {
				t.Errorf("inputs %v", in)
			}
			score, _ := quality.MOS(quality.MOSInput{Codec: tt.codec, RTTMs: in["rtt_ms"], JitterBufferMs: in["jitter_buffer_ms"],
				LossPercent: in["loss_percent"], BurstR: in["burst_r"], PacketisationMs: in["packetisation_ms"]})
			if d := score.MOS - m.Avg; d > 0.005 || d < -0.005 || m.Min > m.Avg {
				t.Errorf("inputs give %v, the verdict says %v (worst %v)", score.MOS, m.Avg, m.Min)
			}
		})
	}
}

func TestNoScoreWithoutARow(t *testing.T) {
	s := newScript(t)
	unknown := func(p int) sipOption {
		d := s.sdp(p, "sendrecv")
		d.Media[0].Codecs = []*telemetry.Codec{{PayloadType: 97, Name: "speex", ClockRate: 8000}}
		return withSDP(d)
	}
	s.sip(0, 0, "INVITE", 0, unknown(0))
	s.sip(1, 1, "INVITE", 200, unknown(1))
	s.talk(6, 36)
	s.bye(40, 0)
	c := last(t, s.run(20))
	if e := evidenceOf(c.Verdict, "no_mos"); c.Verdict.Mos != nil || e == nil || !strings.Contains(e.Text, "speex") {
		t.Error(explain(c))
	}
}

// Runs of loss make the same loss sound worse, and packets that the jitter buffer
// discarded were lost for the listener.
func TestBurstsAndDiscards(t *testing.T) {
	call := func(runs uint32, discards uint32) *telemetry.Call {
		s := newScript(t)
		s.answered()
		for at := 2.0; at <= 60; at++ {
			s.rtp(at, 0, 50, 48, runs)
			s.rtp(at+0.001, 1, 50, 50, 0)
			if int(at)%5 == 1 {
				s.rtcp(at+0.01, reporting{packets: 250, lost: 10}, reporting{packets: 250})
				if discards > 0 {
					report := s.records[len(s.records)-2].GetRtcp() // that of the contact
					report.Metrics = []*telemetry.XRMetrics{{ReporterSsrc: s.ssrc[1], Ssrc: s.ssrc[0], Blocks: 1 << (24 - 14), Discarded: discards}}
				}
			}
		}
		s.bye(70, 0)
		return last(t, s.run(20))
	}
	spread, bursts, discarding := call(2, 0), call(1, 0), call(2, 20)
	if a, b := spread.Verdict.Mos, bursts.Verdict.Mos; a == nil || b == nil || !(b.Avg < a.Avg) || a.Inputs["burst_r"] != 1 || b.Inputs["burst_r"] < 1.8 {
		t.Errorf("spread %v\nbursts %v", a, b)
	}
	if r := bursts.Verdict.Loss.GetBurstRatio(); r < 1.8 || r > 2 {
		t.Errorf("burst ratio %v", r)
	}
	l := discarding.Verdict.Loss
	if l.GetTargetToContactPercent() < 11 || l.GetTargetToContactPercent() > 13 || l.Band != "unacceptable" || !strings.Contains(explain(discarding), "came too late") {
		t.Errorf("%v", explain(discarding))
	}
}

// Reports that come after the final verdict make a new one, which says so.
func TestLateReportsAreSaid(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 36)
	s.bye(40, 0)
	s.add(40.5, func(r *telemetry.Record) {
		r.Body = &telemetry.Record_Vq{Vq: &telemetry.VQReport{Report: "CallTerm", CallId: s.key, LocalAddress: mediaAddr(1),
			Local: &telemetry.VQMetrics{LossPercent: proto.Float64(4), BurstLossPercent: proto.Float64(40), BurstDurationMs: proto.Uint32(300), GapLossPercent: proto.Float64(0), GapDurationMs: proto.Uint32(4000)}}}
	})
	late := s.records[len(s.records)-1]
	m := newMachine()
	out := live(t, m, s.records[:len(s.records)-1], 30)
	before := last(t, out)
	if !before.Verdict.Final || slices.Contains(kindsOf(before.Verdict), "late_reports") {
		t.Fatal(explain(before))
	}
	emit := func(o *telemetry.Outcome) { out = append(out, o) }
	if err := m.Apply(late, emit); err != nil {
		t.Fatal(err)
	}
	for at := late.AtUs + 30_000_000; at < late.AtUs+40_000_000; at += 1_000_000 {
		m.Advance("", at, emit)
	}
	after := last(t, out)
	e := evidenceOf(after.Verdict, "late_reports")
	if e == nil || e.AtUs != late.AtUs || after.Verdict.Version <= before.Verdict.Version || !after.Verdict.Final || e.Values["late_s"] < 20 || e.Values["late_s"] > 40 {
		t.Errorf("%v\n%s", e, explain(after))
	}
	// Two witnesses of one loss: both are shown, the better one counts.
	if e := evidenceOf(after.Verdict, "contradiction"); e == nil || e.Values["percent"] != 0 || e.Values["percent_other"] != 4 || after.Verdict.Loss.GetPercent() != 0 {
		t.Errorf("%v\n%s", e, explain(after))
	}
}

// RTCP alone, as copies that both parties send to Earshot: the clock follows from
// the sender reports, the round trip from both legs together.
func TestCopiesOfRTCPAlone(t *testing.T) {
	s := newScript(t)
	s.key = "rtcp:1"
	s.oneWayUs = 0
	const oneWay, toEarshotA, toEarshotB = 40_000, 5_000, 90_000 // µs
	var count [2]uint32
	var lsr [2]uint32
	var arrived [2]int64
	for at := 0.0; at <= 60; at += 5 {
		for p := range count {
			count[p] += 250
			sentUs := startUs + int64(at*1e6) + int64(p)*1_000_000
			earshot := []int64{toEarshotA, toEarshotB}[p]
			s.add(float64(sentUs+earshot-startUs)/1e6, func(r *telemetry.Record) {
				r.Source = &telemetry.Source{Kind: telemetry.Source_KIND_RTCP, Agent: mediaAddr(p)}
				ntp := quality.NTPOfMicros(sentUs)
				pkt := &telemetry.RTCPPacket{Src: mediaAddr(p), SenderSsrc: s.ssrc[p], SenderReports: []*telemetry.SenderReport{{
					Ssrc: s.ssrc[p], Ntp: ntp, PacketCount: count[p], RtpTimestamp: uint32(float64(sentUs-startUs) * 16000 / 1e6)}}}
				if lsr[1-p] != 0 {
					pkt.Reports = []*telemetry.ReceptionReport{{ReporterSsrc: s.ssrc[p], Ssrc: s.ssrc[1-p], HighestSeq: 1000 + count[1-p], Jitter: 160,
						Lsr: lsr[1-p], Dlsr: uint32((sentUs - arrived[1-p]) * 65536 / 1_000_000)}}
				}
				r.Body = &telemetry.Record_Rtcp{Rtcp: pkt}
				lsr[p], arrived[p] = quality.MiddleNTP(ntp), sentUs+oneWay
			})
		}
	}
	c := last(t, s.run(60))
	v := c.Verdict
	if r := v.Delay.RttMs; r == nil || r.P50 < 79 || r.P50 > 81 || len(v.Segments) != 0 {
		t.Errorf("round trip %v, want 80 ms; %d segments\n%s", r, len(v.Segments), explain(c))
	}
	if j := v.Jitter.JitterMs; j == nil || j.P50 < 9.9 || j.P50 > 10.1 { // 160 of 16 kHz
		t.Errorf("jitter %v, want 10 ms", j)
	}
}

// In whatever order the witnesses of one instant come, they say the same.
func TestWitnessesOfAnInstantInAnyOrder(t *testing.T) {
	s := newScript(t)
	s.answered()
	for at := 2.0; at <= 60; at++ {
		s.rtp(at, 0, 50, 49, 1)
		s.rtp(at, 1, 50, 50, 0)
		if int(at)%5 == 1 {
			blackout := at > 30
			s.rtcp(at, reporting{packets: 250, blackout: blackout}, reporting{packets: 250})
			s.records[len(s.records)-1].AtUs = s.records[len(s.records)-2].AtUs // both ends report at once
		}
	}
	s.bye(62, 0)
	want := last(t, s.run(20)).Verdict
	for seed := uint64(1); seed <= 20; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		mixed := slices.Clone(s.records)
		for i := 0; i < len(mixed); {
			j := i
			for j < len(mixed) && mixed[j].AtUs == mixed[i].AtUs {
				j++
			}
			same := mixed[i:j]
			r.Shuffle(len(same), func(a, b int) { same[a], same[b] = same[b], same[a] })
			i = j
		}
		got := last(t, live(t, newMachine(), mixed, 20)).Verdict
		for _, of := range []func(*telemetry.Verdict) proto.Message{
			func(v *telemetry.Verdict) proto.Message { return v.OneWayAudio }, func(v *telemetry.Verdict) proto.Message { return v.Loss },
			func(v *telemetry.Verdict) proto.Message { return v.Delay }, func(v *telemetry.Verdict) proto.Message { return v.Jitter },
		} {
			if !proto.Equal(of(got), of(want)) {
				t.Errorf("seed %d: %v, want %v", seed, of(got), of(want))
			}
		}
		if got.FaultSide != want.FaultSide || !slices.Equal(kindsOf(got), kindsOf(want)) {
			t.Errorf("seed %d: %s %v", seed, got.FaultSide, kindsOf(got))
		}
	}
}

// Statistics of one end alone, of real calls: what the other end's reports count
// tells a hold and a microphone that was taken away from audio that was lost.
func TestStatisticsOfOneEnd(t *testing.T) {
	const recorded = "../../benchmarks/verdicts/calls"
	for _, tt := range []struct {
		call, side string
		state      string
		evidence   string
	}{
		{"rtc-hold-sendonly", "A", "none", "not_sent"},
		{"rtc-hold-sendonly", "B", "none", "audio_both_ways"},
		{"rtc-hold-inactive", "A", "none", "audio_both_ways"},
		{"rtc-mute-no-track", "B", "none", "not_sent"},
		{"rtc-receive-only", "A", "none", "receive_only"},
		{"rtc-oneway-ab-heals", "B", "confirmed", "healed"},
		{"rtc-oneway-ab-middle", "B", "confirmed", "not_received"},
		{"rtc-oneway-ba-10s-pcma", "A", "confirmed", "healed"},
		{"rtc-oneway-ba-middle", "B", "suspected", "not_acknowledged"},
		{"rtc-oneway-ab-middle", "A", "suspected", "not_acknowledged"},
		{"rtc-clean-opus", "A", "none", "audio_both_ways"},
	} {
		t.Run(tt.call+" "+tt.side, func(t *testing.T) {
			var of []*telemetry.Record
			for _, r := range records(t, recorded, tt.call, "stats.jsonl.gz") {
				if w := r.GetWebrtc(); w == nil || strings.HasSuffix(strings.ToUpper(w.LegId), tt.side) {
					of = append(of, r)
				}
			}
			c := last(t, play(t, newMachine(), of))
			if v := c.Verdict; v.OneWayAudio.State != tt.state || evidenceOf(v, tt.evidence) == nil {
				t.Error(explain(c))
			}
		})
	}
}

// TestListenerThatFallsSilent: that a sender's reports never count what it sends is
// no word of it that it stopped. Where its listener reports no more, nothing is
// known of the rest.
func TestListenerThatFallsSilent(t *testing.T) {
	s := newScript(t)
	s.answered().talk(6, 31)
	for at := 36.0; at <= 91; at += 5 {
		s.rtcp(at, reporting{packets: 250}, reporting{packets: 250, silent: true})
	}
	s.bye(95, 0)
	for _, r := range s.records {
		if p := r.GetRtcp(); p != nil && p.SenderSsrc == s.ssrc[0] {
			p.SenderReports, p.ReceiverReports = nil, 1
		}
	}
	c := last(t, s.run(20))
	if got := c.Verdict.OneWayAudio.State; got != "unknown" {
		t.Errorf("%s, though nobody told for a minute whether the caller was heard\n%s", got, explain(c))
	}
}
