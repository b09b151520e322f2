package query_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

// pipeline is a sink that runs beside the test, and the tables it writes.
type pipeline struct {
	*testing.T
	store    *query.Store
	client   *kgo.Client
	produced int64
}

func startPipeline(t *testing.T) *pipeline {
	t.Helper()
	ctx := context.Background()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	b := bus.DefaultConfig()
	b.Brokers, b.Partitions = cluster.ListenAddrs(), 1
	require.NoError(t, bus.EnsureTopics(ctx, b))
	c := clickhouse.DefaultConfig()
	c.Addr, c.Batch.Linger = []string{serverAddr}, 10*time.Millisecond
	c.Database = fmt.Sprintf("query_%d_%d", os.Getpid(), time.Now().UnixNano())
	require.NoError(t, clickhouse.Migrate(ctx, c))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	sink, err := clickhouse.NewSink(c, clickhouse.Deps{Bus: b})
	require.NoError(t, err)
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sink.Run(running) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	conn, err := clickhouse.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &pipeline{T: t, client: client, store: query.New(conn, query.Options{Now: func() time.Time { return now }})}
}

func (p *pipeline) produce(outcomes ...*telemetry.Outcome) {
	p.Helper()
	var records []*kgo.Record
	for _, o := range outcomes {
		p.produced++
		o.Seq, o.ReceivedUs = p.produced<<12, time.Now().UnixMicro()
		value, err := proto.Marshal(o)
		require.NoError(p, err)
		records = append(records, &kgo.Record{Topic: telemetry.TopicOutcomes, Value: value})
	}
	require.NoError(p, p.client.ProduceSync(context.Background(), records...).FirstErr())
}

// wait returns when all that was produced is stored.
func (p *pipeline) wait() {
	p.Helper()
	adm := kadm.NewClient(p.client)
	deadline := time.Now().Add(4 * time.Minute)
	for {
		at, err := adm.FetchOffsets(context.Background(), clickhouse.Group)
		if o, ok := at.Lookup(telemetry.TopicOutcomes, 0); err == nil && ok && o.At == p.produced {
			return
		}
		if time.Now().After(deadline) {
			p.Fatal("the outcomes were never stored")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// modelCall is a call as the test knows it.
type modelCall struct {
	company, id string
	timeline    string
	call        *telemetry.Call
	rejections  []int64 // at
	ratings     []uint32
}

func (m *modelCall) outcomes() []*telemetry.Outcome {
	one := func(o *telemetry.Outcome) *telemetry.Outcome {
		o.Company, o.CallId, o.Timeline = m.company, m.id, m.timeline
		return o
	}
	out := []*telemetry.Outcome{one(&telemetry.Outcome{Body: &telemetry.Outcome_Call{Call: m.call}})}
	for i, at := range m.rejections {
		out = append(out, one(&telemetry.Outcome{Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{Id: fmt.Sprint("r", i), AtUs: at, Reason: "spam"}}}))
	}
	for i, rating := range m.ratings {
		out = append(out, one(&telemetry.Outcome{Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: fmt.Sprint("s", i), AtUs: m.call.StartedUs + int64(i+1)*int64(30*time.Hour/time.Microsecond), Rating: rating}}}))
	}
	return out
}

// passes says by the filter's documentation whether it lets a call through.
func (m *modelCall) passes(f query.CallFilter) bool {
	c := m.call
	target, contact := c.GetTarget().GetIdentity(), c.GetContact().GetIdentity()
	users, numbers := []string{target.GetUserId(), contact.GetUserId()}, []string{target.GetNumber(), contact.GetNumber()}
	devices := []string{target.GetDeviceId(), contact.GetDeviceId()}
	var legs, hosts []string
	for _, l := range c.Legs {
		devices, legs = append(devices, l.DeviceId), append(legs, l.Id)
		host, _, _ := strings.Cut(l.Address, ":")
		hosts = append(hosts, host)
	}
	begins := func(n string) bool { return strings.HasPrefix(n, "+"+f.NumberPrefix) }
	ends := func(n string) bool { return strings.HasSuffix(n, f.NumberSuffix) }
	bad := func(band string) bool { return band == "bad" || band == "unacceptable" }
	v := c.GetVerdict()
	verdict := func() bool {
		switch f.Verdict {
		case "one_way":
			return v.GetOneWayAudio().GetState() == "suspected" || v.GetOneWayAudio().GetState() == "confirmed"
		case "choppy":
			return bad(v.GetJitter().GetBand())
		case "delay":
			return bad(v.GetDelay().GetBand())
		case "loss":
			return bad(v.GetLoss().GetBand())
		case "unknown":
			return v.GetOverall() == "" || v.GetOverall() == "unknown"
		}
		return v.GetOverall() == f.Verdict
	}
	q := func() bool {
		return m.id == f.Q || slices.Contains(slices.Concat(users, numbers, devices, legs, c.SipCallIds), f.Q) || slices.Contains(numbers, "+"+f.Q)
	}
	return (f.User == "" || slices.Contains(users, f.User)) &&
		(f.Number == "" || slices.Contains(numbers, f.Number)) &&
		(f.NumberPrefix == "" || slices.ContainsFunc(numbers, begins)) &&
		(f.NumberSuffix == "" || slices.ContainsFunc(numbers, ends)) &&
		(f.Device == "" || slices.Contains(devices, f.Device)) &&
		(f.Address == "" || slices.Contains(hosts, f.Address)) &&
		(f.SIPCallID == "" || m.id == f.SIPCallID || slices.Contains(c.SipCallIds, f.SIPCallID)) &&
		(f.From.IsZero() || c.StartedUs >= f.From.UnixMicro()) && (f.To.IsZero() || c.StartedUs < f.To.UnixMicro()) &&
		(f.Direction == "" || c.Direction == f.Direction) &&
		(f.State != "ended" || c.State == "ended") &&
		(f.State != "live" || c.State == "live" && m.timeline == "" && c.StartedUs >= now.Add(-24*time.Hour).UnixMicro()) &&
		(f.Verdict == "" || verdict()) &&
		(f.Rejected == nil || *f.Rejected == (len(m.rejections) > 0)) &&
		(f.Rating == nil || slices.Contains(m.ratings, *f.Rating)) &&
		(f.Q == "" || q())
}

// lookups makes calls and filters of few values, so that they meet.
type lookups struct{ *rand.Rand }

func (r lookups) any(of ...string) string { return of[r.IntN(len(of))] }
func (r lookups) rarely(v string) string {
	if r.IntN(6) == 0 {
		return v
	}
	return ""
}

func (r lookups) user() string    { return fmt.Sprint("u", r.IntN(4)*r.IntN(3)) }
func (r lookups) device() string  { return fmt.Sprint("d", r.IntN(5)) }
func (r lookups) address() string { return fmt.Sprint("203.0.113.", r.IntN(4)) }
func (r lookups) sipCall() string { return fmt.Sprint("dialog-", r.IntN(60), "@192.0.2.1") }
func (r lookups) started() int64  { return us(time.Duration(r.IntN(90*24*60)) * time.Minute) }
func (r lookups) number() string {
	return r.any("101", "+1212555010", "+1415555010", "+44207123450") + fmt.Sprint(r.IntN(4))
}

func (r lookups) call(company, id string) *modelCall {
	band := func() string { return r.any("", "good", "good", "acceptable", "bad", "unacceptable", "unknown") }
	party := func() *telemetry.Party {
		return &telemetry.Party{Identity: &telemetry.Identity{UserId: r.any("", r.user()), Number: r.any("", r.number(), r.number()), DeviceId: r.rarely(r.device())}}
	}
	m := &modelCall{company: company, id: id, timeline: r.rarely("import:1")}
	m.call = &telemetry.Call{
		State: r.any("ended", "ended", "live"), Direction: r.any("inbound", "outbound", "internal"), StartedUs: r.started(), Target: party(), Contact: party(),
		Legs: []*telemetry.Leg{
			{Id: "caller", Kind: "sip", Address: r.address() + ":4000", DeviceId: r.rarely(r.device())},
			{Id: fmt.Sprint("w", r.IntN(50)), Kind: "webrtc", Address: r.rarely(r.address() + ":5000")}},
		SipCallIds: []string{r.any(id, r.sipCall()), r.sipCall()},
		Verdict: &telemetry.Verdict{Overall: band(), Jitter: &telemetry.Jitter{Band: band()}, Delay: &telemetry.Delay{Band: band()}, Loss: &telemetry.Loss{Band: band()},
			OneWayAudio: &telemetry.OneWayAudio{State: r.any("", "none", "suspected", "confirmed")}},
	}
	for range r.IntN(3) * r.IntN(2) {
		m.rejections = append(m.rejections, m.call.StartedUs+r.Int64N(int64(40*time.Hour/time.Microsecond)))
	}
	for range r.IntN(3) * r.IntN(2) {
		m.ratings = append(m.ratings, uint32(1+r.IntN(5)))
	}
	return m
}

// filter has one condition, or some together.
func (r lookups) filter() query.CallFilter {
	var f query.CallFilter
	at := func() query.Time { return query.Time{Time: time.UnixMicro(r.started()).UTC()} }
	conditions := []func(){
		func() { f.User = r.user() },
		func() { f.Number = r.number() },
		func() { f.NumberPrefix = r.any("1", "1212", "1415555", "44", "14155550102", "9") },
		func() { f.NumberSuffix = r.any("1", "02", "5550101", "01") },
		func() { f.Device = r.device() },
		func() { f.Address = r.address() },
		func() { f.SIPCallID = r.any(r.sipCall(), "c7") },
		func() { f.From = at() },
		func() { f.To = at() },
		func() { f.Direction = r.any("inbound", "outbound", "internal") },
		func() { f.State = r.any("live", "ended") },
		func() {
			f.Verdict = r.any("good", "acceptable", "bad", "unacceptable", "unknown", "one_way", "choppy", "delay", "loss")
		},
		func() { f.Rejected = ptr(r.IntN(2) == 0) },
		func() { f.Rating = ptr(uint32(1 + r.IntN(5))) },
		func() {
			f.Q = r.any("c7", "c8", r.user(), r.number(), r.device(), r.sipCall(), "w7", "12125550101", "nobody")
		},
	}
	for range 1 + r.IntN(3)*r.IntN(2) {
		conditions[r.IntN(len(conditions))]()
	}
	return f
}

func described(f query.CallFilter) string {
	text := fmt.Sprintf("%+v", f)
	if f.Rejected != nil {
		text += fmt.Sprint(" rejected ", *f.Rejected)
	}
	if f.Rating != nil {
		text += fmt.Sprint(" rating ", *f.Rating)
	}
	return text
}

// pages reads a whole list, in pages of random sizes.
// between is called before each.
func (r lookups) pages(t *testing.T, c query.Company, f query.CallFilter, most int, between func()) []query.Call {
	t.Helper()
	var out []query.Call
	var page query.Page
	for {
		between()
		page.Limit = 1 + r.IntN(most)
		list, err := c.Calls(context.Background(), f, page)
		require.NoError(t, err, described(f))
		require.LessOrEqual(t, len(list.Items), page.Limit)
		out = append(out, list.Items...)
		if list.NextCursor == nil {
			return out
		}
		require.NotEmpty(t, list.Items)
		page.Cursor = *list.NextCursor
	}
}

func seeded(t *testing.T) lookups {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return lookups{rand.New(rand.NewPCG(seed, 0))}
}

// Every combination of filters gives what the calls themselves say, in order,
// whichever way it is looked up; and of two companies that have the same ids,
// users, numbers, devices and addresses, each sees its own.
func TestLookupsGiveWhatCallsSay(t *testing.T) {
	r := seeded(t)
	p := startPipeline(t)
	var calls []*modelCall
	for _, company := range []string{"acme", "other"} {
		for i := range 150 {
			calls = append(calls, r.call(company, fmt.Sprint("c", i)))
		}
	}
	var outcomes []*telemetry.Outcome
	for _, m := range calls {
		// What it was before must not be found.
		if r.IntN(3) == 0 {
			old := r.call(m.company, m.id)
			old.rejections, old.ratings = nil, nil
			outcomes = append(outcomes, old.outcomes()...)
		}
	}
	for _, m := range calls {
		outcomes = append(outcomes, m.outcomes()...)
	}
	p.produce(outcomes...)
	p.wait()
	check := func(f query.CallFilter) {
		t.Helper()
		for _, company := range []string{"acme", "other"} {
			var want, got []string
			for _, m := range calls {
				if m.company == company && m.passes(f) {
					want = append(want, fmt.Sprintf("%d %s %s", m.call.StartedUs, m.id, m.call.Target.Identity.UserId))
				}
			}
			slices.Sort(want)
			slices.Reverse(want)
			for _, c := range r.pages(t, p.store.Company(company), f, 60, func() {}) {
				user := ""
				if c.Target.UserID != nil {
					user = *c.Target.UserID
				}
				require.Equal(t, company, c.Company)
				got = append(got, fmt.Sprintf("%d %s %s", c.StartedAt.UnixMicro(), c.ID, user))
			}
			require.Equal(t, want, got, "%s: %s", company, described(f))
		}
	}
	for _, bounds := range []struct{ rows, moments, filters int }{{50_000, 256, 40}, {10, 5, 60}} {
		restore := query.LookupBounds(bounds.rows, bounds.moments)
		defer restore()
		for range bounds.filters {
			check(r.filter())
		}
	}
	for _, m := range calls[:20] {
		for _, id := range append([]string{m.id}, m.call.SipCallIds...) {
			got, err := p.store.Company("acme").Call(context.Background(), id)
			require.NoError(t, err)
			require.True(t, got.ID == id || slices.Contains(got.SIPCallIDs, id))
			require.Equal(t, "acme", got.Company)
		}
	}
}

// While calls arrive, change and move, whoever reads pages sees every call that
// stays as it is once, nothing twice in the same place, all in order, and only
// what passes the filter.
func TestPagesWhileCallsAreWritten(t *testing.T) {
	r := seeded(t)
	p := startPipeline(t)
	still := map[string]*modelCall{}
	var first []*telemetry.Outcome
	for i := range 120 {
		m := r.call("acme", fmt.Sprint("c", i))
		still[m.id] = m
		first = append(first, m.outcomes()...)
	}
	const moving = 60
	for i := range moving {
		first = append(first, r.call("acme", fmt.Sprint("m", i)).outcomes()...)
	}
	p.produce(first...)
	p.wait()

	filters := map[string]query.CallFilter{"none": {}}
	for _, f := range []query.CallFilter{
		{User: r.user()}, {Number: r.number()}, {NumberPrefix: "1"}, {NumberPrefix: "1415"}, {NumberSuffix: "1"}, {Device: r.device()}, {Address: r.address()},
		{SIPCallID: r.sipCall()}, {Direction: "inbound"}, {State: "live"}, {Verdict: "bad"}, {Verdict: "one_way"}, {Verdict: "good"}, {Rejected: ptr(true)}, {Rejected: ptr(false)},
		{Rating: ptr(uint32(3))}, {Q: r.user()}, {Q: r.device()}, {From: query.Time{Time: now.Add(-60 * 24 * time.Hour)}, To: query.Time{Time: now.Add(-9 * 24 * time.Hour)}},
		r.filter(), r.filter(), r.filter(), r.filter(),
	} {
		filters[described(f)] = f
	}
	acme := p.store.Company("acme")
	for _, bounds := range []struct{ rows, moments int }{{50_000, 256}, {10, 5}} {
		defer query.LookupBounds(bounds.rows, bounds.moments)()
		writer := lookups{rand.New(rand.NewPCG(r.Uint64(), 1))}
		// Some calls are written while each page is read: without an end to them
		// there would be none to the pages.
		turns, stopped := make(chan struct{}, 1), make(chan int)
		go func() {
			n := 0
			for range turns {
				var some []*telemetry.Outcome
				for range 3 {
					id := fmt.Sprint("m", writer.IntN(moving))
					if writer.IntN(3) == 0 {
						id = fmt.Sprint("n", bounds.rows, "-", n)
					}
					some = append(some, writer.call("acme", id).outcomes()...)
					n++
				}
				p.produce(some...)
			}
			stopped <- n
		}()
		turn := func() {
			select {
			case turns <- struct{}{}:
			default: // it still writes
			}
		}
		for _, name := range slices.Sorted(maps.Keys(filters)) {
			f := filters[name]
			got := r.pages(t, acme, f, 60, turn)
			seen := map[string]int{}
			for i, c := range got {
				seen[c.ID]++
				if i > 0 {
					before := got[i-1]
					require.True(t, c.StartedAt.Before(before.StartedAt.Time) || c.StartedAt.Equal(before.StartedAt.Time) && c.ID < before.ID, "order of %s after %s, %s", c.ID, before.ID, name)
				}
			}
			for id, m := range still {
				want := 0
				if m.passes(f) {
					want = 1
				}
				require.Equal(t, want, seen[id], "call %s, %s", id, name)
			}
		}
		close(turns)
		require.NotZero(t, <-stopped)
	}
}
