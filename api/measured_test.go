package api_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

const callID = "a84b4c76e66710@pc33.example.com"

// oneWayCall is a call of alice whose caller could not be heard, with all that
// hangs on it, as outcomes of company.
func oneWayCall(company, id string, begin time.Time) []*telemetry.Outcome {
	us := begin.UnixMicro()
	seq := int64(0)
	outcome := func(o *telemetry.Outcome) *telemetry.Outcome {
		seq++
		o.Company, o.CallId, o.Seq, o.ReceivedUs, o.AtUs = company, id, seq, us, us
		return o
	}
	alice := &telemetry.Identity{UserId: "alice", Name: "Alice", Number: "+14155550101", OfficeId: "hq", DepartmentId: "sales"}
	eve := &telemetry.Identity{Name: "Eve | <script>`x`", Number: "+442071838750"}
	out := []*telemetry.Outcome{
		outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Call{Call: &telemetry.Call{
			State: "ended", Direction: "inbound", StartedUs: us, ConnectedUs: us + 2e6, EndedUs: us + 62e6, Description: "inbound, 1m0s",
			Target: &telemetry.Party{Identity: alice, Endpoint: "native", AppVersion: "5.2.1", Platform: "macOS"}, Contact: &telemetry.Party{Identity: eve, Endpoint: "sip"},
			End:        &telemetry.CallEnd{By: "contact", SipStatus: 200, Reason: "BYE"},
			Legs:       []*telemetry.Leg{{Id: "leg1", SipCallId: "leg-call-id@example.com", Kind: "sip", Side: "contact", Codec: "PCMU", ClockRate: 8000}},
			SipCallIds: []string{"leg-call-id@example.com"},
			Verdict: &telemetry.Verdict{
				Overall: "unacceptable", Final: true, Version: 3, ComputedUs: us + 67e6, Rules: "1", FaultSide: "network",
				Delay:       &telemetry.Delay{Band: "acceptable", RttMs: &telemetry.Distribution{Min: 80, P50: 120, P95: 180, Max: 190}, Share: map[string]float64{"acceptable": 1}},
				Jitter:      &telemetry.Jitter{Band: "good", JitterMs: &telemetry.Distribution{P50: 2, P95: 4, Max: 5}},
				Loss:        &telemetry.Loss{Band: "good", Percent: proto.Float64(0.25)},
				OneWayAudio: &telemetry.OneWayAudio{State: "confirmed", Direction: "contact_to_target", From: "+442071838750", To: "+14155550101", SinceUs: us + 12e6, Confidence: 0.95},
				Mos:         &telemetry.MOS{Min: 3.9, Avg: 4.2, Model: "G.107"},
				Evidence:    []*telemetry.Evidence{{Kind: "rtcp_stopped", AtUs: us + 12e6, Text: "150 packets sent, none received"}},
				Sources:     []*telemetry.VerdictSource{{Kind: "rtcp", Side: "target", Samples: 12}},
			},
		}}}),
		outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{
			Id: id + "-r", AtUs: us + 1e6, Reason: "on_a_call", Agent: alice, SipStatus: 486, Text: "busy", FromNumber: "+442071838750", ToNumber: "+14155550101", Source: "sip"}}}),
		outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: id + "-g", AtUs: us + 70e6, Rater: alice, Rating: 1, Text: "could not hear"}}}),
		outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{Id: id + "-e1", Type: "rejected", AtUs: us + 1e6, Reason: "on_a_call", Target: alice, Contact: eve, Agent: alice, SipStatus: 486, Source: "sip"}}}),
		outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{Id: id + "-e2", Type: "ended", AtUs: us + 62e6, Reason: "BYE", Target: alice, Contact: eve, Agent: eve, Side: "contact", Source: "sip"}}}),
	}
	for i := range 30 {
		out = append(out, outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{
			AtUs: us + int64(i)*1e6, LegId: "leg1", Side: "target", Source: "rtcp", Direction: "target_to_contact", Ssrc: 7, RttMs: proto.Float64(120 + float64(i))}}}))
	}
	for i, m := range []struct {
		src, dst, transport, method string
		status                      uint32
		raw                         string
	}{
		{"192.0.2.1:5060", "192.0.2.2:5060", "udp", "INVITE", 0, "INVITE sip:alice@example.com SIP/2.0\r\nCall-ID: " + id + "\r\n\r\n"},
		{"192.0.2.2:5060", "192.0.2.1:5060", "udp", "INVITE", 200, "SIP/2.0 200 OK\r\nCall-ID: " + id + "\r\n\r\n"},
		{"[2001:db8::1]:5061", "[2001:db8::2]:5061", "tls", "BYE", 0, "BYE sip:alice@example.com SIP/2.0\r\nCall-ID: " + id + "\r\n\r\n"},
	} {
		o := outcome(&telemetry.Outcome{Body: &telemetry.Outcome_Message{Message: &telemetry.SIPMessage{
			Src: m.src, Dst: m.dst, Transport: m.transport, Method: m.method, Status: m.status, Cseq: uint32(i + 1), CallId: id, Raw: []byte(m.raw)}}})
		o.AtUs = us + int64(i)*1e6
		out = append(out, o)
	}
	return out
}

func binding(company string, at time.Time) *telemetry.Outcome {
	us := at.UnixMicro()
	return &telemetry.Outcome{Company: company, Seq: us, ReceivedUs: us, AtUs: us, Body: &telemetry.Outcome_Registration{Registration: &telemetry.RegistrationChange{
		Aor: "alice@example.com", DeviceId: "d1", AtUs: us, Change: "registered", Contact: "sip:alice@192.0.2.7", Source: "192.0.2.7:5060", UserAgent: "Phone/7.1",
		App: "Phone", AppVersion: "7.1", ExpiresUs: us + 3600e6, RegisteredUs: us, Registered: true, Identity: &telemetry.Identity{UserId: "alice", Name: "Alice"}, Endpoint: "desk_phone",
	}}}
}

func TestMeasured(t *testing.T) {
	p := withEngine(t)
	s := newSite(t, p.store)
	begin := time.Now().Add(-10 * time.Minute).UTC().Truncate(time.Second)
	outcomes := oneWayCall("default", callID, begin)
	outcomes = append(outcomes, binding("default", begin))
	outcomes = append(outcomes, oneWayCall("other", "theirs@example.com", begin)...)
	call := defaultCompany + "/calls/" + url.PathEscape(callID)
	p.put(t, func() bool {
		a := s.get(call + "/samples")
		return a.status == 200 && strings.Count(a.body, `"at"`) == 30 && strings.Count(s.get(call+"/messages").body, `"at"`) == 3 &&
			strings.Contains(s.get(defaultCompany+"/registrations").body, "d1") && s.get("/api/v1/companies/other/calls/theirs@example.com").status == 200
	}, outcomes...)

	t.Run("call", func(t *testing.T) {
		var c query.Call
		for _, id := range []string{callID, "leg-call-id@example.com", url.PathEscape(callID)} {
			s.get(defaultCompany+"/calls/"+id).decode(t, &c)
			if c.ID != callID || c.Verdict.OneWayAudio.State != "confirmed" || len(c.Legs) != 1 || len(c.Rejections) != 1 || len(c.Ratings) != 1 {
				t.Errorf("%s: %+v", id, c)
			}
		}
		want := map[string]string{
			"portal":  "https://earshot.example.com/c/default/calls/" + callID,
			"samples": "https://earshot.example.com/api/v1/companies/default/calls/" + callID + "/samples",
			"user":    "https://earshot.example.com/c/default/users/alice",
		}
		for name, link := range want {
			if c.Links[name] != link {
				t.Errorf("link %s: %q, want %q", name, c.Links[name], link)
			}
		}
		if _, live := c.Links["live"]; live {
			t.Error("a call that is over has a live link")
		}
		if c.StartedAt.String() != begin.Format("2006-01-02T15:04:05.000Z") || *c.DurationMs != 60_000 {
			t.Errorf("started %s, took %d ms", c.StartedAt, *c.DurationMs)
		}
	})

	t.Run("tenancy", func(t *testing.T) {
		for _, rest := range []string{"", "/samples", "/messages", "/messages.pcap", "/events", "/report", "/live"} {
			for path, key := range map[string]string{
				"/api/v1/companies/other/calls/" + callID + rest: s.operator, // not that company's
				call + rest: s.other, // not that key's
				"/api/v1/companies/default/calls/theirs@example.com" + rest: s.operator,
			} {
				a := s.as(key, "GET", path, "")
				if a.problem(t); a.status != 404 {
					t.Errorf("%s: %d", path, a.status)
				}
			}
		}
		if a := s.as(s.other, "GET", "/api/v1/companies/other/calls/theirs@example.com", ""); a.status != 200 {
			t.Errorf("their own: %d", a.status)
		}
	})

	t.Run("filters", func(t *testing.T) {
		after := url.QueryEscape(begin.Add(time.Minute).Format(time.RFC3339))
		for q, want := range map[string]int{
			"": 1, "user=alice": 1, "user=bob": 0, "number=%2B442071838750": 1, "number=(415)+555-0101": 1, "number=+14155550101": 1, "number=%2B14155550102": 0,
			"direction=inbound": 1, "direction=outbound": 0, "verdict=one_way": 1, "verdict=good": 0, "rejected=true": 1, "rejected=false": 0,
			"rating=1": 1, "rating=5": 0, "q=leg-call-id@example.com": 1, "q=leg1": 1, "q=nothing": 0, "from=" + after: 0, "to=" + after: 1, "state=live": 0,
			"area_code=415": 1, "area_code=212": 0, "area_code=415&number_prefix=555": 1, "number_prefix=%2B44+20": 1, "number_prefix=%2B45": 0, "number_suffix=01-01": 1, "number_suffix=99": 0,
			"sip_call_id=leg-call-id@example.com": 1, "sip_call_id=leg1": 0, "device=nothing": 0, "address=203.0.113.200": 0,
		} {
			var l query.List[query.Call]
			s.get(defaultCompany+"/calls?"+q).decode(t, &l)
			if len(l.Items) != want {
				t.Errorf("%s: %d calls, want %d", q, len(l.Items), want)
			}
		}
		var l query.List[query.Call]
		s.get(defaultCompany+"/users/alice/calls?verdict=one_way").decode(t, &l)
		if len(l.Items) != 1 || l.Items[0].Links["portal"] == "" {
			t.Errorf("alice's: %+v", l)
		}
		s.get(defaultCompany+"/calls?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").names(t, "query.to")
		s.get(defaultCompany+"/calls?cursor=nope").names(t, "query.cursor")
		for q, field := range map[string]string{"area_code=x": "query.area_code", "number_prefix=%23": "query.number_prefix", "number_suffix=*": "query.number_suffix", "address=203.0.113.1:4000": "query.address"} {
			s.get(defaultCompany+"/calls?"+q).names(t, field)
		}
		if a := s.get(defaultCompany + "/users/nobody/calls"); a.status != 404 {
			t.Errorf("nobody's calls: %d", a.status)
		}
	})

	t.Run("pages of samples", func(t *testing.T) {
		n, cursor := 0, ""
		for range 10 {
			var l query.List[query.Sample]
			s.get(call+"/samples?limit=8"+cursor).decode(t, &l)
			for _, x := range l.Items {
				if x.RTTMs == nil || *x.RTTMs != 120+float64(n) {
					t.Fatalf("sample %d: %+v", n, x)
				}
				n++
			}
			if l.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *l.NextCursor
		}
		if n != 30 {
			t.Errorf("%d samples", n)
		}
	})

	t.Run("CSV", func(t *testing.T) {
		a := s.get(call+"/samples", "Accept", "text/csv")
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) != 31 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		rtt, jitter := slices.Index(rows[0], "rtt_ms"), slices.Index(rows[0], "jitter_ms")
		if rows[1][rtt] != "120" || rows[1][jitter] != "" {
			t.Errorf("%q", rows[1])
		}
		a = s.get(defaultCompany+"/calls", "Accept", "text/csv")
		if rows, err = csv.NewReader(strings.NewReader(a.body)).ReadAll(); err != nil || len(rows) != 2 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if overall := slices.Index(rows[0], "verdict.overall"); overall < 0 || rows[1][overall] != "unacceptable" {
			t.Errorf("%q", rows)
		}
	})

	t.Run("capture", func(t *testing.T) {
		a := s.get(call + "/messages.pcap")
		if a.header.Get("Content-Type") != "application/vnd.tcpdump.pcap" {
			t.Fatalf("%d %v", a.status, a.header)
		}
		r, err := pcapgo.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		var firsts []string
		for {
			data, info, err := r.ReadPacketData()
			if err != nil {
				break
			}
			packet := gopacket.NewPacket(data, r.LinkType(), gopacket.Default)
			if packet.ErrorLayer() != nil {
				t.Fatal(packet.ErrorLayer().Error())
			}
			udp, ok := packet.TransportLayer().(*layers.UDP)
			if !ok {
				t.Fatalf("no UDP: %v", packet)
			}
			line, _, _ := bytes.Cut(udp.Payload, []byte("\r\n"))
			flow := packet.NetworkLayer().NetworkFlow()
			firsts = append(firsts, info.Timestamp.UTC().Sub(begin).String()+" "+flow.String()+" "+strconv.Itoa(int(udp.DstPort))+" "+string(line))
		}
		want := []string{
			"0s 192.0.2.1->192.0.2.2 5060 INVITE sip:alice@example.com SIP/2.0",
			"1s 192.0.2.2->192.0.2.1 5060 SIP/2.0 200 OK",
			"2s 2001:db8::1->2001:db8::2 5061 BYE sip:alice@example.com SIP/2.0",
		}
		if !slices.Equal(firsts, want) {
			t.Errorf("got %q", firsts)
		}
	})

	t.Run("report", func(t *testing.T) {
		var r struct {
			UserID     string            `json:"user_id"`
			CallLink   string            `json:"call_link"`
			ToNumber   string            `json:"to_number"`
			FromNumber string            `json:"from_number"`
			Summary    string            `json:"summary_text"`
			Evidence   []json.RawMessage `json:"evidence"`
			Graphs     map[string]string `json:"graphs"`
		}
		s.get(call+"/report").decode(t, &r)
		// Inbound: the target was called.
		if r.UserID != "alice" || r.ToNumber != "+14155550101" || r.FromNumber != "+442071838750" || len(r.Evidence) != 1 {
			t.Errorf("%+v", r)
		}
		if r.CallLink != "https://earshot.example.com/c/default/calls/"+callID || r.Graphs["delay"] != r.CallLink+"#delay" {
			t.Errorf("links: %+v", r)
		}
		if !strings.Contains(r.Summary, "confirmed one-way audio. Eve | <script>`x` (+442071838750) cannot be heard by Alice (+14155550101) since 0:10 (95 % sure).") {
			t.Errorf("summary: %s", r.Summary)
		}
		a := s.get(call+"/report", "Accept", "text/markdown")
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/markdown") {
			t.Fatalf("%d %v", a.status, a.header)
		}
		for _, want := range []string{
			"| User ID | `alice` https://earshot.example.com/c/default/users/alice |\n",
			"| From number | +442071838750 |\n", "| To number | +14155550101 |\n", "### Verdict: unacceptable\n\nVersion 3, final, computed ", ", rules 1.\n",
			"| Delay | acceptable | RTT median 120 ms, 95th percentile 180 ms, maximum 190 ms |\n",
			"1. [0:10 (" + begin.Add(12*time.Second).Format("15:04:05") + " UTC)](https://earshot.example.com/c/default/calls/" + callID + "?at=10.0#evidence-1): 150 packets sent, none received\n", "- on a call, Alice, SIP 486: busy\n", "- 1 of 5 by Alice could not hear\n",
		} {
			if !strings.Contains(a.body, want) {
				t.Errorf("lacks %q:\n%s", want, a.body)
			}
		}
		// The display name is the caller's choice.
		if strings.Contains(a.body, "<script>") && !strings.Contains(a.body, `\<script\>`) {
			t.Errorf("the name is not escaped:\n%s", a.body)
		}
		for line := range strings.SplitSeq(a.body, "\n") {
			if strings.HasPrefix(line, "| Contact |") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 3 {
				t.Errorf("the name breaks the table: %s", line)
			}
		}
	})

	t.Run("explain", func(t *testing.T) {
		type explained struct {
			Explain map[string]struct {
				Value    *float64 `json:"value"`
				Formula  string   `json:"formula"`
				Standard string   `json:"standard"`
			} `json:"explain"`
		}
		for path, number := range map[string]string{"": "verdict.delay.rtt_ms.p95", "/report": "verdict.delay.rtt_ms.p95", "/samples": "rtcp.rtt_ms"} {
			var plain, full explained
			s.get(call+path).decode(t, &plain)
			s.get(call+path+"?explain=true").decode(t, &full)
			if x := full.Explain[number]; plain.Explain != nil || !strings.Contains(x.Formula+x.Standard, "RFC 3550") {
				t.Errorf("%s: without %v, with %+v", path, plain.Explain, x)
			}
		}
		a := s.get(call+"/report?explain=true", "Accept", "text/markdown")
		if !strings.Contains(a.body, "| Round trip, 95th percentile | 180 ms |") {
			t.Errorf("the report does not say how the round trip was made:\n%s", a.body)
		}
	})

	t.Run("registrations", func(t *testing.T) {
		var l query.List[query.Registration]
		for _, path := range []string{"/registrations", "/users/alice/registrations", "/registrations?state=registered&user=alice"} {
			s.get(defaultCompany+path).decode(t, &l)
			if len(l.Items) != 1 || !l.Items[0].Registered || l.Items[0].State != "registered" {
				t.Errorf("%s: %+v", path, l)
			}
		}
		if s.get(defaultCompany+"/users/bob/registrations").decode(t, &l); len(l.Items) != 0 {
			t.Errorf("bob's: %+v", l)
		}
		s.get(defaultCompany+"/registrations?health=healthy").decode(t, &l)
		if len(l.Items) != 1 || l.Items[0].Health == nil || l.Items[0].Health.State != "healthy" || len(l.Items[0].Health.Sentences) == 0 {
			t.Errorf("healthy: %+v", l)
		}
		s.get(defaultCompany+"/registrations?health=well").names(t, "query.health")
		var sum query.RegistrationHealth
		s.get(defaultCompany+"/registrations/health").decode(t, &sum)
		if sum.Devices != 1 || sum.States["healthy"] != 1 || len(sum.Versions) != 1 || sum.Versions[0].Registered != 1 {
			t.Errorf("health of the company: %+v", sum)
		}
		var line query.DeviceTimeline
		s.get(defaultCompany+"/devices/d1/timeline?at="+time.Now().UTC().Format(time.RFC3339)).decode(t, &line)
		if line.At == nil || line.At.Registered == nil || !*line.At.Registered || len(line.Spans) == 0 || line.Device.DeviceID != "d1" {
			t.Errorf("timeline: %+v", line)
		}
		if a := s.get(defaultCompany + "/devices/d9/timeline"); a.status != 404 {
			t.Errorf("no such device: %d", a.status)
		}
		if a := s.get(defaultCompany + "/devices/d1/timeline?at=2999-01-01T00:00:00Z"); a.status != 422 {
			t.Errorf("in the future: %d", a.status)
		}
		if a := s.get("/api/v1/companies/other/devices/d1/timeline"); a.status != 404 {
			t.Errorf("another company's device: %d", a.status)
		}
		var h query.List[query.RegistrationChange]
		for _, path := range []string{"/registrations?history=true", "/users/alice/registrations?history=true"} {
			s.get(defaultCompany+path).decode(t, &h)
			if len(h.Items) != 1 || h.Items[0].Change != "registered" {
				t.Errorf("%s: %+v", path, h)
			}
		}
		s.get(defaultCompany+"/registrations?from=2026-01-01T00:00:00Z").names(t, "query.from")
		var d query.List[query.Device]
		s.get(defaultCompany+"/users/alice/devices").decode(t, &d)
		if len(d.Items) != 1 || d.Items[0].AppVersion != "7.1" || d.Items[0].Registered == nil || !*d.Items[0].Registered {
			t.Errorf("devices: %+v", d)
		}
		var u struct {
			AppVersions []string `json:"app_versions"`
		}
		s.get(defaultCompany+"/users/alice").decode(t, &u)
		if !slices.Equal(u.AppVersions, []string{"Phone 7.1", "native 5.2.1"}) {
			t.Errorf("app versions: %v", u.AppVersions)
		}
		for version, want := range map[string]int{"7.1": 1, "Phone+7.1": 1, "native+5.2.1": 1, "5.2.1": 1, "web+5.2.1": 0, "9": 0} {
			var l struct{ Items []struct{ ID string } }
			if s.get(defaultCompany+"/users?app_version="+version).decode(t, &l); len(l.Items) != want {
				t.Errorf("users of %s: %+v", version, l)
			}
		}
	})

	t.Run("rejections", func(t *testing.T) {
		var l query.List[query.Rejection]
		for q, want := range map[string]int{"": 1, "reason=on_a_call": 1, "reason=spam": 0, "agent=alice": 1, "department=sales": 1, "office=mars": 0, "number=+442071838750": 1} {
			s.get(defaultCompany+"/rejections?"+q).decode(t, &l)
			if len(l.Items) != want {
				t.Errorf("%s: %+v", q, l)
			}
		}
		var trend query.RejectionTrend
		s.get(defaultCompany+"/rejections/trend?interval=1h").decode(t, &trend)
		if len(trend.Series) != 1 || trend.Series[0].Key != "on_a_call" || trend.Series[0].Total != 1 || len(trend.Series[0].Points) < 24 {
			t.Errorf("%+v", trend)
		}
		for q, want := range map[string]int{"agent=alice": 1, "agent=bob": 0, "department=sales": 1, "contact_center=support": 0, "reason=spam": 0, "office=hq": 1} {
			if s.get(defaultCompany+"/rejections/trend?interval=1h&"+q).decode(t, &trend); len(trend.Series) != want {
				t.Errorf("trend of %s: %+v", q, trend)
			}
		}
		var reasons query.List[query.RejectionReason]
		s.get(defaultCompany+"/rejections/reasons").decode(t, &reasons)
		if len(reasons.Items) != 16 || reasons.Items[0].ID != "reserved_to_another_call" || reasons.Items[8].ID != "ringing_in_progress" {
			t.Errorf("reasons: %+v", reasons)
		}
		s.get(defaultCompany+"/rejections/trend?interval=2h").names(t, "query.interval")
		s.get(defaultCompany+"/rejections/trend?time_zone=Mars/Olympus").names(t, "query.time_zone")
		a := s.get(defaultCompany + "/rejections/trend?interval=1m&from=2020-01-01T00:00:00Z")
		if a.problem(t); a.status != 422 {
			t.Errorf("millions of buckets: %d", a.status)
		}
		a.names(t, "query.interval")
		if s.get(defaultCompany+"/rejections/trend?group_by=office&top=1").decode(t, &trend); trend.Series[0].Name != "Headquarters" {
			t.Errorf("the office's name: %+v", trend.Series)
		}
		a = s.get(defaultCompany+"/rejections/trend?interval=1d", "Accept", "text/csv")
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) < 2 || strings.Join(rows[0], ",") != "group,name,at,count" || rows[1][0] != "on_a_call" || rows[1][1] != "On a call" {
			t.Errorf("as CSV: %v %v", err, rows)
		}
	})

	t.Run("quality", func(t *testing.T) {
		var q query.QualityTrend
		s.get(defaultCompany+"/quality/trend?group_by=app_version").decode(t, &q)
		if len(q.Series) != 1 || q.Series[0].Key != "5.2.1" || q.Groups != 1 {
			t.Errorf("%+v", q)
		}
		f := q.Series[0].QualityFigures
		if f.Calls != 1 || f.Verdicts["unacceptable"] != 1 || f.Shares["unacceptable"] != 1 || f.OneWay != 1 || math.Abs(f.RTTMs.P50-120) > 1.2 ||
			math.Abs(f.JitterMs.P95-4) > 0.04 || math.Abs(f.LossPercent.P99-0.25) > 0.0025 || math.Abs(f.MOS.P50-4.2) > 0.042 {
			t.Errorf("%+v %+v", f, *f.RTTMs)
		}
		for filter, want := range map[string]uint64{"office=hq": 1, "office=mars": 0, "department=sales": 1, "user=alice": 1, "user=bob": 0, "app_version=5.2.1": 1, "platform=macOS": 1,
			"endpoint=web": 0, "direction=inbound": 1, "network=203.0.113.0/24": 0, "contact_center=support": 0, "min_calls=5&group_by=office": 1} {
			if s.get(defaultCompany+"/quality/trend?"+filter).decode(t, &q); q.Total.Calls != want {
				t.Errorf("%s: %+v", filter, q.Total)
			}
		}
		if s.get(defaultCompany+"/quality/trend?group_by=office&interval=6h").decode(t, &q); q.Series[0].Name != "Headquarters" {
			t.Errorf("the office's name: %+v", q.Series)
		}
		a := s.get(defaultCompany+"/quality/trend?group_by=office&interval=1d", "Accept", "text/csv")
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) < 3 || rows[0][2] != "of" || rows[1][0] != "hq" || rows[1][2] != "group" || rows[len(rows)-1][2] != "total" {
			t.Errorf("as CSV: %v %v", err, rows)
		}
		for asked, location := range map[string]string{
			"interval=2h": "query.interval", "time_zone=Mars/Olympus": "query.time_zone", "group_by=company": "query.group_by", "top=51": "query.top", "order=worst": "query.order",
			"min_calls=-1": "query.min_calls", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "query.to", "interval=1m&from=2020-01-01T00:00:00Z": "query.interval",
		} {
			s.get(defaultCompany+"/quality/trend?"+asked).names(t, location)
		}
	})

	t.Run("events", func(t *testing.T) {
		var l query.List[query.CallEvent]
		s.get(call+"/events").decode(t, &l)
		if len(l.Items) != 2 || l.Items[0].Type != "rejected" || !strings.Contains(l.Items[0].Explanation, "on another call") ||
			l.Items[1].Links["portal"] != "https://earshot.example.com/c/default/calls/"+callID {
			t.Errorf("%+v", l)
		}
		for q, want := range map[string]int{"": 2, "type=ended": 1, "type=held": 0, "user=alice": 2, "user=bob": 0, "office=hq": 2, "department=sales": 2, "contact_center=support": 0} {
			if s.get(defaultCompany+"/events?"+q).decode(t, &l); len(l.Items) != want {
				t.Errorf("%s: %+v", q, l)
			}
		}
		s.get(defaultCompany+"/events?type=exploded").names(t, "query.type")
		a := s.get(defaultCompany+"/events", "Accept", "text/csv")
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) != 3 || rows[1][1] != "ended" {
			t.Errorf("as CSV: %v %v", err, rows)
		}
	})

	t.Run("ratings and counts", func(t *testing.T) {
		var l query.List[query.Rating]
		for _, path := range []string{"/ratings", "/ratings?user=alice", "/users/alice/ratings"} {
			if s.get(defaultCompany+path).decode(t, &l); len(l.Items) != 1 || l.Items[0].Rating != 1 {
				t.Errorf("%s: %+v", path, l)
			}
		}
		var c struct{ Counts map[string]int }
		s.get(defaultCompany).decode(t, &c)
		if c.Counts["registered"] != 1 || c.Counts["devices"] != 1 || c.Counts["users"] != 2 {
			t.Errorf("%v", c.Counts)
		}
	})
}

// A call that is followed live arrives as it is, then with its final verdict,
// and the stream ends.
func TestLive(t *testing.T) {
	p := withEngine(t)
	s := newSite(t, p.store)
	const id = "live-1"
	version := func(n uint32, state string, final bool) *telemetry.Outcome {
		us := time.Now().UnixMicro()
		return &telemetry.Outcome{Company: "default", CallId: id, Seq: int64(n), ReceivedUs: us, AtUs: us, Body: &telemetry.Outcome_Call{Call: &telemetry.Call{
			State: state, Direction: "outbound", StartedUs: us, Target: &telemetry.Party{Identity: &telemetry.Identity{Number: "+14155550101"}}, Contact: &telemetry.Party{},
			Verdict: &telemetry.Verdict{Overall: "good", Version: n, Final: final}}}}
	}
	path := defaultCompany + "/calls/" + id
	p.put(t, func() bool { return s.get(path).status == 200 }, version(1, "live", false))

	var c query.Call
	if s.get(path).decode(t, &c); c.Links["live"] == "" {
		t.Error("a running call has no live link")
	}
	follow := func(path string) *bufio.Scanner {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.operator)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		return bufio.NewScanner(resp.Body)
	}
	next := func(lines *bufio.Scanner) (event, data string) {
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "event: "):
				event = line[7:]
			case strings.HasPrefix(line, "data: "):
				data = line[6:]
			case line == "" && event != "":
				return event, data
			}
		}
		return "", ""
	}
	one, all := follow(path+"/live"), follow(defaultCompany+"/live")
	for name, lines := range map[string]*bufio.Scanner{"call": one, "company": all} {
		event, data := next(lines)
		if err := json.Unmarshal([]byte(data), &c); err != nil || event != "call" || c.ID != id || c.State != "live" || c.Links["portal"] == "" {
			t.Errorf("%s: %s %s", name, event, data)
		}
	}
	p.put(t, func() bool {
		var c query.Call
		s.get(path).decode(t, &c)
		return c.Verdict.Final
	}, version(2, "ended", true))
	event, data := next(one)
	if err := json.Unmarshal([]byte(data), &c); err != nil || event != "call" || !c.Verdict.Final {
		t.Errorf("%s %s", event, data)
	}
	for name, lines := range map[string]*bufio.Scanner{"call": one, "company": all} {
		if event, data := next(lines); event != "end" || data != `{"id":"live-1"}` {
			t.Errorf("%s: %s %s", name, event, data)
		}
	}
	if event, data := next(one); event != "" {
		t.Errorf("after the end: %s %s", event, data)
	}
	// The stream of the company has no end but the server's.
	close(s.closing)
	if event, data := next(all); event != "" {
		t.Errorf("after closing: %s %s", event, data)
	}
}
