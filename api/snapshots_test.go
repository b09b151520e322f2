package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/api"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

type frozen struct {
	ID        string                `json:"id"`
	Company   string                `json:"company"`
	CallID    string                `json:"call_id"`
	Note      string                `json:"note"`
	CreatedAt string                `json:"created_at"`
	CreatedBy struct{ Name string } `json:"created_by"`
	Links     map[string]string     `json:"links"`
	Call      json.RawMessage       `json:"call"`
	Samples   struct {
		Items     []query.Sample `json:"items"`
		Total     int            `json:"total"`
		Every     int            `json:"every"`
		Truncated bool           `json:"truncated"`
	} `json:"samples"`
	Messages struct{ Items []query.Message }   `json:"messages"`
	Events   struct{ Items []query.CallEvent } `json:"events"`
	Report   string                            `json:"report"`
}

// forget deletes all that the store has of a company, as its retention does.
func (p *pipeline) forget(t *testing.T, company string) {
	t.Helper()
	rows, err := p.conn.Query(t.Context(), `SELECT table FROM system.columns c JOIN system.tables t ON t.database = c.database AND t.name = c.table
		WHERE c.database = 'earshot' AND c.name = 'company' AND t.engine LIKE '%MergeTree'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tables := 0
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		if err := p.conn.Exec(t.Context(), "ALTER TABLE earshot."+table+" DELETE WHERE company = '"+company+"' SETTINGS mutations_sync = 2"); err != nil {
			t.Fatal(err)
		}
		tables++
	}
	if err := errors.Join(rows.Err()); err != nil || tables < 5 {
		t.Fatalf("emptied %d tables: %v", tables, err)
	}
}

// A frozen call shows everything when the store has nothing of it any more.
func TestSnapshotsOutliveRetention(t *testing.T) {
	p := withEngine(t)
	onBothSites(t, p.store, func(s *site) {
		t := s.t
		company := "frozen-" + strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
		s.company(company)
		base, id := "/api/v1/companies/"+company, "frozen@example.com"
		call := base + "/calls/" + url.PathEscape(id)
		begin := time.Now().Add(-10 * time.Minute).UTC().Truncate(time.Second).Add(123456 * time.Microsecond)
		p.put(t, func() bool {
			return strings.Count(s.get(call+"/samples").body, `"at"`) == 30 && strings.Count(s.get(call+"/messages").body, `"at"`) == 3 && strings.Count(s.get(call+"/events").body, `"at"`) == 2
		}, oneWayCall(company, id, begin)...)

		// The call is named by a leg's SIP Call-ID here, as anywhere.
		var made frozen
		a := s.as(s.operator, "POST", base+"/calls/leg-call-id@example.com/snapshots", `{"note":"ticket 4711"}`)
		a.decode(t, &made)
		if a.status != 201 || made.CallID != id || made.Company != company || made.Note != "ticket 4711" || made.CreatedBy.Name != "operator" || len(made.ID) < 26 ||
			made.Links["portal"] != "https://earshot.example.com/s/"+made.ID || a.header.Get("Location") != made.Links["self"] {
			t.Fatalf("made %d %s", a.status, a.body)
		}
		path := "/api/v1/snapshots/" + made.ID

		// Once more is the same; its body may be missing.
		for _, body := range []string{"", `{"note":"ticket 4711"}`, `{}`} {
			var again frozen
			a := s.as(s.operator, "POST", call+"/snapshots", body)
			a.decode(t, &again)
			if a.status != 200 || again.ID != made.ID || again.Note != made.Note {
				t.Errorf("again with %q: %d %s", body, a.status, a.body)
			}
		}

		var live, kept map[string]any
		s.get(call+"?explain=true").decode(t, &live)
		var samples struct{ Items []query.Sample }
		s.get(call+"/samples?limit=1000").decode(t, &samples)
		var messages struct{ Items []query.Message }
		s.get(call+"/messages").decode(t, &messages)
		var events struct{ Items []query.CallEvent }
		s.get(call+"/events").decode(t, &events)
		livePcap := s.get(call+"/messages.pcap", "Accept", "application/vnd.tcpdump.pcap").body

		p.forget(t, company)
		for _, rest := range []string{"", "/samples", "/messages", "/report"} {
			if a := s.get(call + rest); a.status != 404 {
				t.Fatalf("the store still has the call%s: %d", rest, a.status)
			}
		}

		var f frozen
		s.get(path+"?explain=true").decode(t, &f)
		if err := json.Unmarshal(f.Call, &kept); err != nil {
			t.Fatal(err)
		}
		if kept["links"].(map[string]any)["portal"] != made.Links["portal"] {
			t.Errorf("links %v", kept["links"])
		}
		delete(kept, "links")
		delete(live, "links")
		if !same(t, kept, live) {
			t.Errorf("frozen call\n%v\nthe call was\n%v", kept, live)
		}
		for i := range events.Items {
			events.Items[i].Links = nil
		}
		if len(samples.Items) != 30 || !same(t, f.Samples.Items, samples.Items) || f.Samples.Total != 30 || f.Samples.Every != 1 || f.Samples.Truncated {
			t.Errorf("frozen samples %+v", f.Samples)
		}
		if len(messages.Items) != 3 || !same(t, f.Messages.Items, messages.Items) || len(events.Items) != 2 || !same(t, f.Events.Items, events.Items) {
			t.Errorf("frozen messages %+v and events %+v", f.Messages, f.Events)
		}
		if a := s.get(path); strings.Contains(a.body, `"explain"`) || !strings.Contains(a.body, `"at_us":`) {
			t.Errorf("without explain: %s", a.body)
		}
		text := s.get(path, "Accept", "text/markdown")
		if text.header.Get("Content-Type") != "text/markdown" || !strings.HasPrefix(text.body, "> Frozen at ") || !strings.HasSuffix(text.body, f.Report) {
			t.Errorf("as Markdown: %v %s", text.header, text.body)
		}
		for _, want := range []string{"by operator: " + made.Links["portal"], "> ticket 4711\n", "## Call issue report", "Verdict: unacceptable", "150 packets sent, none received",
			"(" + made.Links["portal"] + "?at=10.0#evidence-1)", "on a call, Alice", "could not hear", made.Links["portal"] + "#jitter"} {
			if !strings.Contains(text.body, want) {
				t.Errorf("the report lacks %q: %s", want, text.body)
			}
		}
		if strings.Contains(text.body, "/c/"+company+"/calls/") {
			t.Error("the report links to the call, which is gone")
		}
		frozenPcap := s.get(path+"/messages.pcap", "Accept", "application/vnd.tcpdump.pcap")
		if frozenPcap.body != livePcap || frozenPcap.header.Get("Content-Disposition") == "" {
			t.Error("the frozen capture is not that of the call")
		}
		if at := firstPacketAt(t, []byte(frozenPcap.body)); at.Nanosecond()/1000 != 123456 {
			t.Errorf("the first packet of the capture is of %s", at)
		}

		// Who has the link needs to be of the company all the same.
		for _, at := range []string{path, path + "/messages.pcap", "/api/v1/snapshots/NOBODYHASTHISONE2345678ABC"} {
			a := s.as(s.other, "GET", at, "", "Accept", "*/*")
			if a.problem(t); a.status != 404 {
				t.Errorf("another company, %s: %d", at, a.status)
			}
			if a := s.do("GET", at, ""); a.status != 401 {
				t.Errorf("nobody, %s: %d", at, a.status)
			}
		}
		if a := s.as(s.other, "DELETE", "/api/v1/companies/other/snapshots/"+made.ID, ""); a.status != 404 {
			t.Errorf("another company deletes it: %d", a.status)
		}
		if a := s.as(s.other, "POST", call+"/snapshots", ""); a.status != 404 {
			t.Errorf("another company freezes: %d", a.status)
		}
		var none struct{ Items []frozen }
		s.as(s.other, "GET", "/api/v1/companies/other/snapshots?call="+url.QueryEscape(id), "").decode(t, &none)
		if len(none.Items) != 0 {
			t.Errorf("another company lists %v", none.Items)
		}

		var list struct{ Items []frozen }
		for q, want := range map[string]int{"": 1, "?call=" + url.QueryEscape(id): 1, "?call=none": 0, "?user=alice": 1, "?user=bob": 0} {
			s.get(base+"/snapshots"+q).decode(t, &list)
			if len(list.Items) != want || want == 1 && (list.Items[0].ID != made.ID || list.Items[0].Links["portal"] != made.Links["portal"]) {
				t.Errorf("list %q: %+v", q, list.Items)
			}
		}

		if a := s.as(s.operator, "DELETE", base+"/snapshots/"+made.ID, ""); a.status != 204 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		if a := s.get(path); a.status != 404 {
			t.Errorf("after it was deleted: %d", a.status)
		}
		if err := s.access.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var audit struct {
			Items []struct {
				Action, Text string
				Count        int
			}
		}
		s.get(base+"/audit?kind=snapshot&id="+made.ID).decode(t, &audit)
		told := map[string]int{}
		for _, e := range audit.Items {
			told[e.Action+" "+e.Text] = e.Count
		}
		if told["snapshot.create ticket 4711"] != 1 || told["snapshot.delete ticket 4711"] != 1 || told["read "] != 3 || told["read messages.pcap"] != 1 {
			t.Errorf("the audit tells %v", told)
		}
	})
}

// A call that changes is frozen anew, and what was frozen before stays.
func TestSnapshotsOfACallThatChanges(t *testing.T) {
	p := withEngine(t)
	s := newSite(t, p.store)
	company := "frozen-changes"
	s.company(company)
	base := "/api/v1/companies/" + company
	begin := time.Now().Add(-10 * time.Minute).UTC().Truncate(time.Second)
	outcomes := oneWayCall(company, "changes", begin)
	call := base + "/calls/changes"
	p.put(t, func() bool { return strings.Count(s.get(call+"/samples").body, `"at"`) == 30 }, outcomes...)
	freeze := func() frozen {
		t.Helper()
		var f frozen
		s.as(s.operator, "POST", call+"/snapshots", "").decode(t, &f)
		s.get("/api/v1/snapshots/"+f.ID).decode(t, &f)
		return f
	}
	first := freeze()

	late := proto.Clone(outcomes[0]).(*telemetry.Outcome)
	late.Seq, late.GetCall().Verdict.Version, late.GetCall().Verdict.Overall = 1000, 4, "bad"
	p.put(t, func() bool { return strings.Contains(s.get(call).body, `"overall":"bad"`) }, late)
	second := freeze()
	if second.ID == first.ID || !strings.Contains(string(second.Call), `"overall":"bad"`) || !strings.Contains(second.Report, "Verdict: bad") {
		t.Errorf("the later version: %+v", second)
	}
	var again frozen
	s.get("/api/v1/snapshots/"+first.ID).decode(t, &again)
	if !same(t, again, first) || !strings.Contains(string(again.Call), `"overall":"unacceptable"`) {
		t.Errorf("the snapshot of before is now %+v", again)
	}
}

// Of a call with more samples than a snapshot holds, each stream has its share.
func TestSnapshotsThinLongCalls(t *testing.T) {
	p := withEngine(t)
	s := newSite(t, p.store)
	company := "frozen-long"
	s.company(company)
	base := "/api/v1/companies/" + company
	begin := time.Now().Add(-20 * time.Hour).UTC().Truncate(time.Second)
	outcomes := oneWayCall(company, "long", begin)
	// Two streams in turn: every second sample of all would be one of them.
	const more = 30_000
	for i := range more {
		us := begin.Add(time.Duration(i+60) * time.Second).UnixMicro()
		outcomes = append(outcomes, &telemetry.Outcome{Company: company, CallId: "long", Seq: int64(1000 + i), ReceivedUs: us, AtUs: us, Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{
			AtUs: us, LegId: "leg2", Side: "target", Source: "rtcp", Direction: []string{"target_to_contact", "contact_to_target"}[i%2], Ssrc: uint32(8 + i%2), RttMs: proto.Float64(float64(i))}}})
	}
	p.put(t, func() bool {
		var n uint64
		if err := p.conn.QueryRow(t.Context(), "SELECT count() FROM earshot.samples WHERE company = '"+company+"'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == more+30
	}, outcomes...)
	var f frozen
	s.as(s.operator, "POST", base+"/calls/long/snapshots", "").decode(t, &f)
	s.get("/api/v1/snapshots/"+f.ID).decode(t, &f)
	if f.Samples.Total != more+30 || f.Samples.Every != 2 || f.Samples.Truncated || len(f.Samples.Items) != (more+30)/2 {
		t.Fatalf("%d samples of %d, every %d", len(f.Samples.Items), f.Samples.Total, f.Samples.Every)
	}
	last := map[string]query.Time{}
	for _, x := range f.Samples.Items {
		of := fmt.Sprint(x.LegID, x.SSRC)
		want := 4 * time.Second
		if x.LegID == "leg1" {
			want = 2 * time.Second
		}
		if before := last[of]; !before.IsZero() && x.At.Sub(before.Time) != want {
			t.Fatalf("stream %s: %s after %s", of, x.At, before)
		}
		last[of] = x.At
	}
	if len(last) != 3 {
		t.Errorf("streams %v", last)
	}
	var list struct{ Items []struct{ Bytes int } }
	s.get(base+"/snapshots").decode(t, &list)
	t.Logf("%d samples take %d bytes", len(f.Samples.Items), list.Items[0].Bytes)
}

func TestThinningIsBounded(t *testing.T) {
	for _, c := range []struct{ streams, each int }{{1, 10_000}, {3, 5000}, {500, 40}, {7000, 1}, {1, 100}} {
		kept, every := api.Thin(100, func(yield func(query.Sample)) {
			for i := range c.each {
				for ssrc := range c.streams {
					yield(query.Sample{SSRC: uint32(ssrc), At: query.Time{Time: time.Unix(int64(i), 0)}})
				}
			}
		})
		if len(kept) > 100 || len(kept) < 25 {
			t.Errorf("%d streams of %d: kept %d", c.streams, c.each, len(kept))
		}
		if c.each*c.streams <= 100 != (every == 1) {
			t.Errorf("%d streams of %d: every %d", c.streams, c.each, every)
		}
	}
}

// same compares by what stands in JSON.
func same(t *testing.T, a, b any) bool {
	t.Helper()
	var texts [2][]byte
	for i, v := range []any{a, b} {
		var err error
		if texts[i], err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(texts[0], texts[1])
}

func firstPacketAt(t *testing.T, capture []byte) time.Time {
	t.Helper()
	r, err := pcapgo.NewReader(bytes.NewReader(capture))
	if err != nil {
		t.Fatal(err)
	}
	data, info, err := r.ReadPacketData()
	if err != nil {
		t.Fatal(err)
	}
	if p := gopacket.NewPacket(data, r.LinkType(), gopacket.Default); p.Layer(layers.LayerTypeUDP) == nil {
		t.Errorf("no UDP in %v", p)
	}
	return info.Timestamp
}
