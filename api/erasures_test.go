package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

// naming counts, by table, the rows of a company in which a text stands anywhere.
func (p *pipeline) naming(t *testing.T, company, text string) map[string]uint64 {
	t.Helper()
	rows, err := p.conn.Query(t.Context(), `SELECT DISTINCT c.table FROM system.columns AS c INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
		WHERE c.database = 'earshot' AND c.name = 'company' AND t.engine LIKE '%MergeTree'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]uint64{}
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		var n uint64
		if err := p.conn.QueryRow(t.Context(), "SELECT count() FROM earshot."+table+" WHERE company = ? AND position(toString(tuple(*)), ?) > 0", company, text).Scan(&n); err != nil {
			t.Fatal(table, err)
		}
		if n > 0 {
			out[table] = n
		}
	}
	return out
}

// What was measured of a user is in no table afterwards, also where it comes late.
func TestErasure(t *testing.T) {
	p := withEngine(t)
	onBothSites(t, p.store, func(s *site) {
		t := s.t
		company := "erased-" + strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
		s.company(company)
		base := "/api/v1/companies/" + company
		begin := time.Now().Add(-10 * time.Minute).UTC().Truncate(time.Second)
		mine := oneWayCall(company, "mine-7f3a", begin)
		bob := oneWayCall(company, "bobs-7f3a", begin)
		for _, o := range bob {
			for _, id := range []*telemetry.Identity{o.GetCall().GetTarget().GetIdentity(), o.GetRejection().GetAgent(), o.GetRating().GetRater(), o.GetMoment().GetTarget(), o.GetMoment().GetAgent()} {
				if id.GetUserId() == "alice" {
					id.UserId, id.Name, id.Number = "bob", "Bob", "+14155550109"
				}
			}
			if c := o.GetCall(); c != nil {
				c.Verdict.OneWayAudio.To = "+14155550109"
			}
			if r := o.GetRejection(); r != nil {
				r.ToNumber = "+14155550109"
			}
			if m := o.GetMessage(); m != nil {
				m.Raw = []byte(strings.ReplaceAll(string(m.Raw), "alice", "bob"))
			}
		}
		all := append(append(mine, bob...), binding(company, begin))
		p.put(t, func() bool {
			return s.get(base+"/calls/mine-7f3a").status == 200 && s.get(base+"/calls/bobs-7f3a").status == 200 && strings.Count(s.get(base+"/calls/bobs-7f3a/messages").body, `"at"`) == 3 &&
				strings.Contains(s.get(base+"/registrations").body, "d1")
		}, all...)
		s.as(s.operator, "POST", base+"/calls/mine-7f3a/snapshots", "").decode(t, &struct{}{})
		s.as(s.operator, "POST", base+"/calls/bobs-7f3a/snapshots", "").decode(t, &struct{}{})
		before := p.naming(t, company, "bobs-7f3a")
		if p.naming(t, company, "alice")["calls"] == 0 || before["calls"] == 0 {
			t.Fatal("the check finds nothing of what is there")
		}

		var preview struct {
			Calls, Snapshots int
			Changes          int `json:"registration_changes"`
		}
		s.get(base+"/users/alice/erasure/preview").decode(t, &preview)
		if preview.Calls != 1 || preview.Snapshots != 1 || preview.Changes != 1 {
			t.Errorf("it would take %+v", preview)
		}
		if a := s.get(base + "/users/alice/erasure"); a.status != 404 {
			t.Errorf("before it was asked for: %d", a.status)
		}
		key, _, err := s.directory.CreateKey(t.Context(), "company", "company", company)
		if err != nil {
			t.Fatal(err)
		}
		if a := s.as(key, "POST", base+"/users/alice/erasure", `{"reason":"x"}`); a.status != 403 {
			t.Errorf("a company's key erases: %d", a.status)
		}
		if a := s.as(s.operator, "POST", base+"/users/nobody/erasure", `{"reason":"x"}`); a.status != 404 {
			t.Errorf("nobody is erased: %d", a.status)
		}

		type state struct {
			State, LastError string
			Calls, Snapshots int
		}
		var e state
		s.as(s.operator, "POST", base+"/users/alice/erasure", `{"reason":"request 17 of the data subject"}`).decode(t, &e)
		if e.State != "pending" || e.Snapshots != 1 {
			t.Errorf("asked for: %+v", e)
		}
		failing := func(context.Context, string, string, time.Time) (int64, error) { return 0, errors.New("away") }
		if err := s.directory.EraseDue(t.Context(), failing); err == nil {
			t.Error("a failure is not told")
		}
		if s.get(base+"/users/alice/erasure").decode(t, &e); e.State != "pending" {
			t.Errorf("after a failure: %+v", e)
		}
		run := func() {
			t.Helper()
			s.sql("UPDATE erasure SET looked_us = 0")
			if err := s.directory.EraseDue(t.Context(), clickhouse.NewEraser(p.conn).Erase); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"alice", "Alice", "+14155550101", "mine-7f3a", "192.0.2.7"} {
				found := p.naming(t, company, text)
				delete(found, "erased_calls") // which names no one
				if len(found) != 0 {
					t.Errorf("%q is still in %v", text, found)
				}
			}
			if got := p.naming(t, company, "bobs-7f3a"); len(got) != len(before) || got["samples"] != before["samples"] || got["messages"] != before["messages"] {
				t.Errorf("of another's call there is %v, there was %v", got, before)
			}
		}
		run()
		if s.get(base+"/users/alice/erasure").decode(t, &e); e.State != "done" || e.Calls != 1 || e.Snapshots != 1 {
			t.Errorf("done: %+v", e)
		}
		var kept struct {
			Items []struct {
				CallID string `json:"call_id"`
			}
		}
		s.get(base+"/snapshots").decode(t, &kept)
		if len(kept.Items) != 1 || kept.Items[0].CallID != "bobs-7f3a" {
			t.Errorf("snapshots left: %+v", kept.Items)
		}

		// A late version of the call, and a sample that names no one.
		late := proto.Clone(mine[0]).(*telemetry.Outcome)
		late.Seq, late.GetCall().Verdict.Version = 5000, 9
		sample := proto.Clone(mine[len(mine)-4]).(*telemetry.Outcome)
		sample.Seq = 5001
		p.put(t, func() bool {
			return s.get(base+"/calls/mine-7f3a").status == 200 && p.naming(t, company, "mine-7f3a")["samples"] > 0
		}, late, sample)
		run()
		again := proto.Clone(sample).(*telemetry.Outcome)
		again.Seq = 5002
		p.put(t, func() bool { return p.naming(t, company, "mine-7f3a")["samples"] > 0 }, again)
		run()

		var audit struct {
			Items []struct{ Action, Text string }
		}
		s.get(base+"/audit?action=user.erase").decode(t, &audit)
		if len(audit.Items) != 1 || audit.Items[0].Text != "request 17 of the data subject" {
			t.Errorf("the audit tells %+v", audit.Items)
		}
	})
}
