package calls_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// script writes the records of one call, as ingest would make them.
type script struct {
	t       testing.TB
	key     string
	records []*telemetry.Record
	n       uint64
	caller  *telemetry.Identity
	callee  *telemetry.Identity
	proto   string // of the audio
	agent   string
	// The state of the two media streams.
	sent     [2]uint32
	received [2]uint32 // of what party i sends, at the other end
	lost     [2]int32
	lastSR   [2]uint32 // middle NTP of the newest sender report of party i
	lastSRAt [2]int64
	ssrc     [2]uint32
	oneWayUs int64
	rtpSeq   [2]uint32
}

const startUs = int64(1_700_000_000_000_000)

var (
	agentA = &telemetry.Identity{UserId: "alice", Name: "Alice", Number: "+13125550100", DepartmentId: "sales"}
	agentB = &telemetry.Identity{UserId: "bob", Name: "Bob", Number: "+13125550101"}
	someA  = &telemetry.Identity{Number: "+14155550123"}
)

func newScript(t testing.TB) *script {
	return &script{t: t, key: "call-1", caller: agentA, callee: &telemetry.Identity{Number: "+14155550199"}, proto: "RTP/AVP", agent: "probe",
		ssrc: [2]uint32{0xaaaa, 0xbbbb}, oneWayUs: 20_000}
}

func (s *script) add(atS float64, body func(*telemetry.Record)) *telemetry.Record {
	s.n++
	at := startUs + int64(atS*1e6)
	r := &telemetry.Record{
		Company: "acme", CallKey: s.key, Timeline: &telemetry.Timeline{}, AtUs: at, ReceivedUs: at + 1000,
		Source: &telemetry.Source{Kind: telemetry.Source_KIND_HEP, Agent: s.agent},
	}
	body(r)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	r.EventId = telemetry.EventID("acme", "", s.agent, at, b, binary.BigEndian.AppendUint64(nil, s.n))
	s.records = append(s.records, r)
	return r
}

var (
	signalling = [2]string{"10.0.0.1:5060", "10.0.0.2:5060"}
	media      = [2]string{"10.0.0.1", "10.0.0.2"}
	tags       = [2]string{"tag-a", "tag-b"}
)

func mediaPort(p int) uint32 { return uint32(10_000 + 1000*p) }

// sdp gives the SDP of a party.
func (s *script) sdp(p int, direction string) *telemetry.SDP {
	return &telemetry.SDP{Media: []*telemetry.Media{{
		Kind: "audio", Protocol: s.proto, Address: media[p], Port: mediaPort(p), RtcpAddress: media[p], RtcpPort: mediaPort(p) + 1,
		Direction: direction, Codecs: []*telemetry.Codec{{PayloadType: 0, Name: "PCMU", ClockRate: 8000, Channels: 1}, {PayloadType: 101, Name: "telephone-event", ClockRate: 8000}},
	}}}
}

type sipOption func(*telemetry.SIPMessage)

func withSDP(d *telemetry.SDP) sipOption { return func(m *telemetry.SIPMessage) { m.Sdp = d } }
func withBranch(b string) sipOption      { return func(m *telemetry.SIPMessage) { m.ViaBranch = b } }
func withReason(r string) sipOption      { return func(m *telemetry.SIPMessage) { m.Reasons = []string{r} } }
func withCSeq(n uint32) sipOption        { return func(m *telemetry.SIPMessage) { m.Cseq = n } }
func withToTag(tag string) sipOption     { return func(m *telemetry.SIPMessage) { m.To.Tag = tag } }
func withPath(src, dst string) sipOption {
	return func(m *telemetry.SIPMessage) { m.Src, m.Dst = src, dst }
}

// sip adds a message: a request of party `from`, or a status of that party to a
// request of the other.
func (s *script) sip(atS float64, from int, method string, status uint32, options ...sipOption) {
	s.add(atS, func(r *telemetry.Record) {
		m := &telemetry.SIPMessage{
			Src: signalling[from], Dst: signalling[1-from], Transport: "udp", Method: method, Status: status,
			CallId: s.key, Cseq: 1, ViaBranch: "z9hG4bK-1", ExpiresS: -1, MinExpiresS: -1, Raw: []byte(method),
			UserAgent: fmt.Sprintf("phone/%d", from),
		}
		requester := from
		if status != 0 {
			requester = 1 - from
			m.ReasonPhrase = fmt.Sprint("status ", status)
		}
		m.From = &telemetry.NameAddr{Uri: "sip:x", User: fmt.Sprint("user", requester), Tag: tags[requester]}
		m.To = &telemetry.NameAddr{Uri: "sip:y", User: fmt.Sprint("user", 1-requester), Tag: tags[1-requester]}
		if requester == 0 {
			m.Caller, m.Callee = s.caller, s.callee
		} else {
			m.Caller, m.Callee = s.callee, s.caller
		}
		if method == "INVITE" && status == 0 && from == 0 || status == 100 {
			m.To.Tag = ""
		}
		for _, o := range options {
			o(m)
		}
		r.Body = &telemetry.Record_Sip{Sip: m}
	})
}

// answered is a call that was answered at 1 s.
func (s *script) answered() *script {
	s.sip(0, 0, "INVITE", 0, withSDP(s.sdp(0, "sendrecv")))
	s.sip(0.2, 1, "INVITE", 180)
	s.sip(1, 1, "INVITE", 200, withSDP(s.sdp(1, "sendrecv")))
	s.sip(1.05, 0, "ACK", 0)
	return s
}

func (s *script) reinvite(atS float64, from int, cseq uint32, offer, answer string) {
	branch := withBranch(fmt.Sprint("z9hG4bK-re", cseq, from))
	s.sip(atS, from, "INVITE", 0, withCSeq(cseq), branch, withToTag(tags[1-from]), withSDP(s.sdp(from, offer)))
	s.sip(atS+0.05, 1-from, "INVITE", 200, withCSeq(cseq), branch, withSDP(s.sdp(1-from, answer)))
	s.sip(atS+0.1, from, "ACK", 0, withCSeq(cseq), branch)
}

func (s *script) bye(atS float64, from int) *script {
	s.sip(atS, from, "BYE", 0, withCSeq(90), withBranch("z9hG4bK-bye"))
	s.sip(atS+0.05, 1-from, "BYE", 200, withCSeq(90), withBranch("z9hG4bK-bye"))
	return s
}

// reporting is what party p's RTCP says at one moment.
type reporting struct {
	packets   uint32 // sent since the last one
	lost      uint32 // of them, on the way to the other party
	blackout  bool   // none of them arrives
	silent    bool   // p sends no RTCP
	noBlock   bool   // p's report has no block, whatever arrived
	encrypted bool
	endpoint  bool
}

// rtcp adds the reports of both parties at one moment, seen in the middle:
// first what they sent is moved, then party 1 and party 0 report.
func (s *script) rtcp(atS float64, a, b reporting) {
	both := [2]reporting{a, b}
	for p, r := range both {
		s.sent[p] += r.packets
		if !r.blackout {
			if r.packets > 0 {
				s.received[p] = s.sent[p]
			}
			s.lost[p] += int32(r.lost)
		}
	}
	for _, p := range []int{1, 0} {
		r := both[p]
		if r.silent {
			continue
		}
		at := atS + 0.06*float64(1-p)
		s.add(at, func(rec *telemetry.Record) {
			src, dst := fmt.Sprintf("%s:%d", media[p], mediaPort(p)+1), fmt.Sprintf("%s:%d", media[1-p], mediaPort(1-p)+1)
			pkt := &telemetry.RTCPPacket{Src: src, Dst: dst, SenderSsrc: s.ssrc[p]}
			rec.Body = &telemetry.Record_Rtcp{Rtcp: pkt}
			if r.encrypted {
				pkt.Encrypted = true
				return
			}
			ntp := quality.NTPOfMicros(rec.AtUs - s.oneWayUs)
			pkt.EndpointReport = r.endpoint
			if s.sent[p] > 0 {
				pkt.SenderReports = []*telemetry.SenderReport{{Ssrc: s.ssrc[p], Ntp: ntp, PacketCount: s.sent[p], OctetCount: s.sent[p] * 160}}
			} else {
				pkt.ReceiverReports = 1
			}
			other := 1 - p
			if s.received[other] > 0 && !r.noBlock {
				block := &telemetry.ReceptionReport{ReporterSsrc: s.ssrc[p], Ssrc: s.ssrc[other], CumulativeLost: s.lost[other],
					HighestSeq: 1000 + s.received[other], Jitter: 16}
				if s.lastSR[other] != 0 {
					block.Lsr = s.lastSR[other]
					// The report left p one way before it passed the middle; the
					// other's report reached p one way after it passed.
					held := rec.AtUs - s.oneWayUs - (s.lastSRAt[other] + s.oneWayUs)
					block.Dlsr = uint32(held * 65536 / 1_000_000)
				}
				pkt.Reports = []*telemetry.ReceptionReport{block}
			}
			if s.sent[p] > 0 {
				s.lastSR[p], s.lastSRAt[p] = quality.MiddleNTP(ntp), rec.AtUs
			}
		})
	}
}

// talk lets both parties talk and report every 5 s.
func (s *script) talk(fromS, toS float64) {
	for at := fromS; at <= toS; at += 5 {
		s.rtcp(at, reporting{packets: 250}, reporting{packets: 250})
	}
}

func (s *script) event(atS float64, typ string, change func(*telemetry.CallEvent)) {
	s.add(atS, func(r *telemetry.Record) {
		e := &telemetry.CallEvent{Id: fmt.Sprint("event-", s.n), Type: typ, CallId: s.key}
		if change != nil {
			change(e)
		}
		r.Body = &telemetry.Record_Event{Event: e}
	})
}

// run gives the records to a new machine on the live timeline, with a tick each
// second, until tailS after the last.
func (s *script) run(tailS int64) []*telemetry.Outcome {
	s.t.Helper()
	return live(s.t, calls.New(calls.DefaultRules()), s.records, tailS)
}

func live(t testing.TB, m processors.Machine, records []*telemetry.Record, tailS int64) []*telemetry.Outcome {
	t.Helper()
	var out []*telemetry.Outcome
	emit := func(o *telemetry.Outcome) { out = append(out, o) }
	var now int64
	for _, r := range records {
		if now == 0 {
			now = r.AtUs - r.AtUs%1_000_000
		}
		for now+1_000_000 <= r.AtUs {
			now += 1_000_000
			m.Advance("", now, emit)
		}
		if err := m.Apply(r, emit); err != nil {
			t.Fatal(err)
		}
	}
	for range tailS {
		now += 1_000_000
		m.Advance("", now, emit)
	}
	return out
}

func rejected(out []*telemetry.Outcome) []*telemetry.Rejection {
	var all []*telemetry.Rejection
	at := map[string]int{}
	for _, o := range out {
		r := o.GetRejection()
		if r == nil {
			continue
		}
		if i, ok := at[r.Id]; ok {
			all[i] = r // a newer version of the same row
			continue
		}
		at[r.Id] = len(all)
		all = append(all, r)
	}
	return all
}
