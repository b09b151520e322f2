package calls_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/telemetry"
)

// restarting plays records; every so many of them the machine is thrown away and
// another restored from what the checkpoints left in the store.
type restarting struct {
	m     *calls.Machine
	store map[string][]byte
}

func (r *restarting) checkpoint(t testing.TB) {
	r.m.Checkpoint(func(key string, state []byte) {
		if len(key) > 1024 {
			t.Fatalf("a key of %d bytes", len(key))
		}
		if state == nil {
			delete(r.store, key)
			return
		}
		r.store[key] = bytes.Clone(state)
	})
	next := newMachine()
	for key, state := range r.store {
		if err := next.Restore(key, state); err != nil {
			t.Fatal(err)
		}
	}
	r.m = next
}

// transcript gives the bytes of all outcomes, in order.
func transcript(t testing.TB, in []*telemetry.Record, every int) []byte {
	t.Helper()
	r := &restarting{m: newMachine(), store: map[string][]byte{}}
	var out []byte
	emit := func(o *telemetry.Outcome) {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out = binary.AppendUvarint(out, uint64(len(b)))
		out = append(out, b...)
	}
	clock := map[string]int64{}
	for i, rec := range in {
		if every > 0 && i%every == every-1 {
			r.checkpoint(t)
		}
		if rec.GetEnd() != nil {
			r.m.End(rec.Timeline.GetId(), rec.AtUs, emit)
			continue
		}
		_ = r.m.Apply(rec, emit) // a random record may be poison
		line := rec.Timeline.GetId()
		if rec.AtUs-clock[line] >= 1_000_000 && rec.AtUs < 1<<55 {
			clock[line] = rec.AtUs
			r.m.Advance(line, rec.AtUs, emit)
		}
	}
	for s := int64(0); s < 900; s += 5 {
		if every > 0 && s%100 == 0 {
			r.checkpoint(t)
		}
		r.m.Advance("", clock[""]+s*1_000_000, emit)
	}
	return out
}

// randomRecords makes records that are well-formed and make little sense: times
// that jump, parties that change, counters that fall.
func randomRecords(r *rand.Rand, n int) []*telemetry.Record {
	at := startUs
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	addr := func() string {
		return fmt.Sprintf("10.0.0.%d:%d", r.IntN(3), 10_000+r.IntN(4))
	}
	maybeF := func() *float64 {
		if r.IntN(4) == 0 {
			return nil
		}
		v := r.Float64() * float64(r.IntN(1000)-10)
		if r.IntN(30) == 0 {
			v = []float64{1e300, -1e300, 1e18, math.Inf(1), math.NaN()}[r.IntN(5)]
		}
		return &v
	}
	maybeU := func() *uint64 {
		if r.IntN(4) == 0 {
			return nil
		}
		v := uint64(r.IntN(5000))
		if r.IntN(30) == 0 {
			v = math.MaxUint64 - v
		}
		return &v
	}
	maybeI := func() *int64 {
		if r.IntN(4) == 0 {
			return nil
		}
		v := int64(r.IntN(100)) - 50
		if r.IntN(30) == 0 {
			v += math.MinInt64 + 50
		}
		return &v
	}
	identity := func() *telemetry.Identity {
		if r.IntN(2) == 0 {
			return nil
		}
		return &telemetry.Identity{UserId: pick("", "alice", "bob"), Number: pick("", "+1", "+2")}
	}
	name := func() *telemetry.NameAddr {
		if r.IntN(5) == 0 {
			return nil
		}
		return &telemetry.NameAddr{User: pick("", "u1", "u2"), Tag: pick("", "t1", "t2", "t3")}
	}
	sdp := func() *telemetry.SDP {
		if r.IntN(2) == 0 {
			return nil
		}
		d := &telemetry.SDP{}
		for range r.IntN(3) {
			d.Media = append(d.Media, &telemetry.Media{Kind: pick("audio", "audio", "image", "video"), Protocol: pick("RTP/AVP", "RTP/SAVP"),
				Address: pick("10.0.0.0", "10.0.0.1", "0.0.0.0", "::"), Port: uint32(10_000 * r.IntN(2)), RtcpPort: uint32(10_001),
				Direction: pick("", "sendrecv", "sendonly", "recvonly", "inactive"), Ssrcs: []uint32{uint32(r.IntN(4))},
				Codecs: []*telemetry.Codec{{PayloadType: uint32(r.IntN(120)), Name: pick("PCMU", "opus", "telephone-event"), ClockRate: uint32(8000 * r.IntN(3))}}})
		}
		return d
	}
	var out []*telemetry.Record
	for i := range n {
		at += int64(r.IntN(6_000_000)) - 500_000
		rec := &telemetry.Record{Company: pick("acme", "other"), CallKey: pick("c1", "c2", "rtcp:1"), AtUs: at, ReceivedUs: at,
			EventId: binary.BigEndian.AppendUint64(nil, uint64(i)*7919+1), Source: &telemetry.Source{Agent: pick("", "p1", "p2")}}
		if r.IntN(3) == 0 {
			rec.Timeline = &telemetry.Timeline{Id: "import:1", Seq: uint64(i + 1)}
		}
		switch r.IntN(12) {
		case 0, 1, 2:
			rec.Body = &telemetry.Record_Sip{Sip: &telemetry.SIPMessage{Src: addr(), Dst: addr(), Method: pick("INVITE", "INVITE", "BYE", "CANCEL", "ACK", "REFER", "UPDATE", "OPTIONS"),
				Status: []uint32{0, 0, 0, 180, 183, 200, 200, 302, 401, 480, 486, 487, 603}[r.IntN(13)], Cseq: uint32(r.IntN(4)), ViaBranch: pick("b1", "b2", "b3", ""),
				From: name(), To: name(), Sdp: sdp(), Caller: identity(), Callee: identity(), CallId: pick("c1", "c1", "c2", "c3", "c4"), RequestUri: pick("", "sip:u1@h", "x"), Reasons: []string{pick("", "SIP;cause=200", "Q.850;cause=17")}}}
			if r.IntN(2) == 0 {
				rec.GetSip().RtpStats = append(rec.GetSip().RtpStats, nil, &telemetry.RTPStat{PacketsSent: maybeU(), PacketsReceived: maybeU(), PacketsLost: maybeU(), PacketsDiscarded: maybeU(), JitterMs: maybeF(),
					JitterTimestampUnits: maybeF(), RoundTripMs: maybeF(), MosLq: maybeF(), MosCq: maybeF(), ConcealmentPercent: maybeF()})
			}
		case 3, 4, 5, 6:
			p := &telemetry.RTCPPacket{Src: addr(), Dst: addr(), SenderSsrc: uint32(r.IntN(4)), Encrypted: r.IntN(20) == 0, EndpointReport: r.IntN(5) == 0,
				IntervalCounters: r.IntN(10) == 0, ReceiverReports: uint32(r.IntN(2))}
			for range r.IntN(3) {
				p.SenderReports = append(p.SenderReports, &telemetry.SenderReport{Ssrc: uint32(r.IntN(4)), Ntp: uint64(r.IntN(6)) << 16, PacketCount: uint32(r.IntN(3000))})
			}
			for range r.IntN(3) {
				p.Reports = append(p.Reports, &telemetry.ReceptionReport{ReporterSsrc: uint32(r.IntN(4)), Ssrc: uint32(r.IntN(4)), FractionLost: uint32(r.IntN(300)),
					CumulativeLost: int32(r.IntN(400) - 100), HighestSeq: uint32(r.IntN(4000)), Jitter: uint32(r.Uint32()), Lsr: uint32(r.IntN(6)), Dlsr: uint32(r.IntN(200_000))})
			}
			if r.IntN(5) == 0 {
				p.VoipMetrics = append(p.VoipMetrics, &telemetry.VoIPMetrics{LossRate: uint32(r.IntN(300)), MosCqX10: uint32(r.IntN(130)), RoundTripDelayMs: uint32(r.IntN(20_000))})
				p.Statistics = append(p.Statistics, &telemetry.StatisticsSummary{Ssrc: uint32(r.IntN(2)), BeginSeq: uint32(r.IntN(1 << 16)), EndSeq: uint32(r.IntN(1 << 16)),
					HasLost: r.IntN(2) == 0, LostPackets: uint32(r.IntN(1 << 17)), HasJitter: r.IntN(2) == 0, MeanJitter: r.Uint32()})
				p.Metrics = append(p.Metrics, &telemetry.XRMetrics{Ssrc: uint32(r.IntN(2)), Blocks: r.Uint32(), Cumulative: r.Uint32(), PdvMeanMs: r.Float64()*100 - 50, RttMeanMs: r.Float64() * 20_000,
					BurstLost: uint32(r.IntN(100)), BurstExpected: uint32(r.IntN(100)), JbNominalMs: uint32(r.IntN(300)), Discarded: r.Uint32(), Mos: r.Float64() * 6})
				p.Rrtrs = append(p.Rrtrs, &telemetry.ReceiverReferenceTime{ReporterSsrc: uint32(r.IntN(4)), Ntp: uint64(r.IntN(6)) << 16})
				p.Dlrrs = append(p.Dlrrs, &telemetry.DLRR{Ssrc: uint32(r.IntN(4)), LastRr: uint32(r.IntN(6)), Dlrr: 1})
			}
			rec.Body = &telemetry.Record_Rtcp{Rtcp: p}
		case 7:
			rec.Body = &telemetry.Record_Rtp{Rtp: &telemetry.RTPInterval{Src: addr(), Dst: addr(), Ssrc: uint32(r.IntN(4)), Packets: uint32(r.IntN(60)), Expected: uint32(r.IntN(60)),
				HighestSeq: r.Uint32(), LastUs: at, ClockRate: 8000, JitterMs: r.Float64() * 50}}
		case 8, 9, 10:
			w := &telemetry.WebRTCSample{LegId: pick("", "l1", "l2", "l3"), Side: pick("", "", "target", "contact"), UserId: pick("", "alice"), Identity: identity(), From: identity(), To: identity(),
				HasMuted: r.IntN(5) == 0, Muted: r.IntN(2) == 0}
			for range r.IntN(3) {
				w.Inbound = append(w.Inbound, &telemetry.InboundRTP{Id: pick("i1", "i2"), Ssrc: uint32(r.IntN(2)), PacketsReceived: maybeU(), PacketsLost: maybeI(), PacketsDiscarded: maybeU(), JitterS: maybeF(),
					JitterBufferDelayS: maybeF(), JitterBufferEmittedCount: maybeU(), ConcealedSamples: maybeU(), TotalSamplesReceived: maybeU(), TotalAudioEnergy: maybeF(), TotalSamplesDurationS: maybeF(), MimeType: pick("", "audio/opus")})
				w.Outbound = append(w.Outbound, &telemetry.OutboundRTP{Id: pick("o1", "o2"), PacketsSent: maybeU()})
				w.RemoteInbound = append(w.RemoteInbound, &telemetry.RemoteInboundRTP{TimestampUs: int64(r.IntN(5)), RoundTripTimeS: maybeF(), PacketsLost: maybeI(), JitterS: maybeF()})
				w.MediaSources = append(w.MediaSources, &telemetry.MediaSource{Id: pick("m1", "m2"), TotalAudioEnergy: maybeF(), TotalSamplesDurationS: maybeF(), AudioLevel: maybeF()})
			}
			if r.IntN(2) == 0 {
				w.Pair = &telemetry.CandidatePair{State: "succeeded", CurrentRoundTripTimeS: maybeF(), BytesReceived: maybeU(), ResponsesReceived: maybeU()}
			}
			rec.Body = &telemetry.Record_Webrtc{Webrtc: w}
		default:
			if r.IntN(3) == 0 {
				rec.Body = &telemetry.Record_Vq{Vq: &telemetry.VQReport{Report: pick("CallTerm", "Interval"), LocalAddress: addr(), Local: &telemetry.VQMetrics{LossPercent: maybeF(), JitterMs: maybeF(), MosCq: maybeF()}, Identity: identity()}}
				break
			}
			rec.Body = &telemetry.Record_Event{Event: &telemetry.CallEvent{Id: fmt.Sprint(r.IntN(n)), Type: pick("started", "ringing", "connected", "held", "resumed", "muted", "unmuted", "transferred", "ended", "rejected", "rated", "recording_changed"),
				Direction: pick("", "inbound", "outbound"), From: identity(), To: identity(), Subject: identity(), Side: pick("", "target", "contact", "system"), Reason: pick("", "spam", "on_a_call", "lunch"), Rating: uint32(r.IntN(7))}}
		}
		out = append(out, rec)
	}
	return out
}

// TestRandomRecords: whatever comes, the machine does not panic, a restart at
// any point changes no byte of what comes out, and no value is out of range.
func TestRandomRecords(t *testing.T) {
	for seed := range uint64(25) {
		in := randomRecords(rand.New(rand.NewPCG(seed, 7)), 150)
		want := transcript(t, in, 0)
		for _, every := range []int{1, 5, 40} {
			if got := transcript(t, in, every); !bytes.Equal(got, want) {
				t.Fatalf("seed %d: a restart every %d records changes the outcomes", seed, every)
			}
		}
		check(t, seed, want)
	}
}

// infinite names a number that is none, or too large for the store; "" where all are well.
func infinite(m protoreflect.Message) (name string) {
	bad := func(v protoreflect.Value) bool {
		f, is := v.Interface().(float64)
		return is && !(math.Abs(f) <= math.MaxFloat32)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				if bad(v) {
					name = fd.TextName() + "." + k.String()
				}
				return name == ""
			})
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				if name == "" {
					name = infinite(v.List().Get(i).Message())
				}
			}
		case fd.IsList():
		case fd.Kind() == protoreflect.MessageKind:
			name = infinite(v.Message())
		case bad(v):
			name = fd.TextName()
		}
		return name == ""
	})
	return name
}

// check reads a transcript and looks at every number.
func check(t *testing.T, seed uint64, transcript []byte) {
	t.Helper()
	versions := map[string]uint32{}
	for len(transcript) > 0 {
		n, k := binary.Uvarint(transcript)
		var o telemetry.Outcome
		if err := proto.Unmarshal(transcript[k:k+int(n)], &o); err != nil {
			t.Fatal(err)
		}
		transcript = transcript[k+int(n):]
		if name := infinite(o.ProtoReflect()); name != "" && o.GetMessage() == nil { // which stands as it came
			t.Errorf("seed %d: %s is no number that JSON or a 32-bit column could hold", seed, name)
		}
		within := func(what string, v *float64, low, high float64) {
			if v != nil && !(*v >= low && *v <= high) {
				t.Errorf("seed %d: %s is %v", seed, what, *v)
			}
		}
		if s := o.GetSample(); s != nil {
			within("round trip", s.RttMs, 0, 20_000)
			within("jitter", s.JitterMs, 0, 1e6)
			within("loss", s.LossPercent, 0, 100)
			within("concealment", s.ConcealmentPercent, 0, 100)
			within("level", s.AudioLevel, 0, 1)
			within("mos", s.Mos, 1, 5)
		}
		if c := o.GetCall(); c != nil {
			v := c.Verdict
			key := o.Company + o.Timeline + o.CallId
			if v.Version <= versions[key] && v.Version != 1 {
				t.Errorf("seed %d: version %d after %d", seed, v.Version, versions[key])
			}
			versions[key] = v.Version
			within("loss", v.Loss.Percent, 0, 100)
			within("burst", v.Loss.BurstPercent, 0, 100)
			if o := v.OneWayAudio; (o.State == "confirmed" || o.State == "suspected") != (o.Direction != "") {
				t.Errorf("seed %d: one-way %v", seed, o)
			}
			if r := v.Delay.RttMs; r != nil && !(r.Min <= r.P50+0.06 && r.P50 <= r.P95+0.06 && r.P95 <= r.Max+0.06) {
				t.Errorf("seed %d: distribution %v", seed, r)
			}
		}
	}
}

// FuzzApply gives a machine whatever decodes as records.
func FuzzApply(f *testing.F) {
	for seed := range uint64(3) {
		var b []byte
		for _, r := range randomRecords(rand.New(rand.NewPCG(seed, 1)), 12) {
			m, err := proto.Marshal(r)
			if err != nil {
				f.Fatal(err)
			}
			b = binary.AppendUvarint(b, uint64(len(m)))
			b = append(b, m...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in []*telemetry.Record
		for len(b) > 0 && len(in) < 64 {
			n, k := binary.Uvarint(b)
			if k <= 0 || n > uint64(len(b)-k) {
				break
			}
			r := new(telemetry.Record)
			if proto.Unmarshal(b[k:k+int(n)], r) == nil {
				in = append(in, r)
			}
			b = b[k+int(n):]
		}
		if len(in) == 0 {
			return
		}
		once := transcript(t, in, 0)
		if again := transcript(t, in, 2); !bytes.Equal(once, again) {
			t.Error("a restart changes the outcomes")
		}
		check(t, 0, once)
	})
}

// FuzzRestore: bytes that are no state are an error, never a panic.
func FuzzRestore(f *testing.F) {
	m := newMachine()
	for _, r := range randomRecords(rand.New(rand.NewPCG(1, 1)), 60) {
		_ = m.Apply(r, func(*telemetry.Outcome) {})
	}
	m.Checkpoint(func(key string, state []byte) { f.Add(key, state) })
	f.Fuzz(func(t *testing.T, key string, state []byte) {
		m := newMachine()
		if err := m.Restore(key, state); err != nil {
			return
		}
		m.Advance("", 1<<55, func(*telemetry.Outcome) {})
		again := newMachine()
		m.Checkpoint(func(key string, state []byte) {
			if state != nil {
				if err := again.Restore(key, state); err != nil {
					t.Errorf("state that was restored and put is not readable: %v", err)
				}
			}
		})
	})
}

func openCalls(b testing.TB, n int) (*calls.Machine, *script) {
	s := newScript(b)
	s.answered().talk(6, 16)
	m := newMachine()
	for i := range n {
		for _, r := range s.records {
			clone := proto.Clone(r).(*telemetry.Record)
			clone.CallKey = fmt.Sprint("call-", i)
			if err := m.Apply(clone, func(*telemetry.Outcome) {}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return m, s
}

// BenchmarkRTCP measures one RTCP packet with a report block while 100,000
// calls are open.
func BenchmarkRTCP(b *testing.B) {
	const open = 100_000
	m, s := openCalls(b, open)
	n := len(s.records)
	s.talk(21, 21)
	template := s.records[n:]
	// One report for every open call, in random order.
	records := make([]*telemetry.Record, open)
	for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(open) {
		rec := proto.Clone(template[i%len(template)]).(*telemetry.Record)
		rec.CallKey = fmt.Sprint("call-", k)
		records[i] = rec
	}
	emitted := 0
	emit := func(*telemetry.Outcome) { emitted++ }
	runtime.GC()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rec := records[i%open]
		rec.AtUs += 5_000_000
		binary.BigEndian.PutUint64(rec.EventId, uint64(i)+1<<40)
		rec.GetRtcp().Reports[0].HighestSeq += 250
		if err := m.Apply(rec, emit); err != nil {
			b.Fatal(err)
		}
	}
	if emitted < b.N {
		b.Fatalf("%d samples of %d reports", emitted, b.N)
	}
}

// BenchmarkOpenCalls measures the memory of an open call and the bytes of its checkpoint.
func BenchmarkOpenCalls(b *testing.B) {
	const open = 20_000
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, _ := openCalls(b, open)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/open, "B/call")
		bytes := 0
		m.Checkpoint(func(_ string, state []byte) { bytes += len(state) })
		b.ReportMetric(float64(bytes)/open, "checkpoint-B/call")
		runtime.KeepAlive(m)
	}
}
