package processors

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// feed is a partition with its records numbered by themselves.
type feed struct {
	t *testing.T
	*partition
	out *output
}

func newFeed(t *testing.T, tombstones int) *feed {
	return &feed{t: t, partition: newPartition(telemetry.TopicTelemetry, 0, newCounting("x"), tombstones), out: newOutput()}
}

func (f *feed) give(r *telemetry.Record) {
	f.t.Helper()
	if r.EventId == nil {
		r.EventId = []byte{0, 0, 0, 1}
	}
	value, err := proto.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.apply(&kgo.Record{Topic: f.topic, Offset: f.next, Value: telemetry.AppendToBatch(nil, value)}, f.out)
}

func event(kind string) *telemetry.Record_Event {
	return &telemetry.Record_Event{Event: &telemetry.CallEvent{Type: kind}}
}

func (f *feed) own(id string, seq uint64, atS int64) {
	f.t.Helper()
	f.give(&telemetry.Record{CallKey: "c", AtUs: atS * secondUs, Timeline: &telemetry.Timeline{Id: id, Seq: seq}, Body: event("started")})
}

func (f *feed) end(id string, seq uint64, atS int64) {
	f.t.Helper()
	f.give(&telemetry.Record{AtUs: atS * secondUs, Timeline: &telemetry.Timeline{Id: id, Seq: seq}, Body: &telemetry.Record_End{End: &telemetry.TimelineEnd{}}})
}

func (f *feed) tick(atUs int64) {
	f.t.Helper()
	f.give(&telemetry.Record{AtUs: atUs, Body: &telemetry.Record_Tick{Tick: &telemetry.Tick{}}})
}

// said gives the outcomes so far, as "call state description".
func (f *feed) said() []string {
	var all []string
	for _, r := range f.out.records {
		var o telemetry.Outcome
		if r.Topic != telemetry.TopicOutcomes || proto.Unmarshal(r.Value, &o) != nil {
			continue
		}
		count, _, _ := strings.Cut(o.GetCall().GetDescription(), " ")
		all = append(all, strings.Join(strings.Fields(o.CallId+" "+o.GetCall().GetState()+" "+count), " "))
	}
	return all
}

func TestImportTwiceChangesNothing(t *testing.T) {
	f := newFeed(t, 10)
	file := func(from, to uint64) {
		for seq := from; seq <= to; seq++ {
			f.own("import:a", seq, 100+int64(seq))
		}
	}
	file(1, 4) // killed after the fourth record
	file(1, 6) // imported again, whole
	f.end("import:a", 7, 106)
	want := []string{"import:a|c 1", "import:a|c 2", "import:a|c 3", "import:a|c 4", "import:a|c 5", "import:a|c 6", "import:a|c ended 6"}
	if got := f.said(); !slices.Equal(got, want) {
		t.Fatalf("outcomes %q, want %q", got, want)
	}
	file(1, 6)
	f.end("import:a", 7, 106)
	if got := f.said(); !slices.Equal(got, want) {
		t.Fatalf("outcomes after another import %q", got)
	}
	if f.out.dropped[dropDuplicate] != 4 || f.out.dropped[dropEnded] != 7 {
		t.Errorf("dropped %v", f.out.dropped)
	}
}

func TestTimelinesAreApart(t *testing.T) {
	f := newFeed(t, 10)
	f.own("import:a", 1, 100)
	f.own("import:b", 1, 900)
	f.tick(5_000 * secondUs) // neither is ended by live time
	f.own("import:b", 2, 905)
	f.own("import:b", 3, 920) // its own time ends the call before the record comes
	f.own("import:a", 2, 105)
	want := []string{"import:a|c 1", "import:b|c 1", "import:b|c 2", "import:b|c silent 2", "import:b|c 1", "import:a|c 2"}
	if got := f.said(); !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
}

// advances counts the calls of Advance.
type advances struct {
	*counting
	at []string
}

func (a *advances) Advance(id string, nowUs int64, emit Emit) {
	a.at = append(a.at, fmt.Sprint(id, "@", nowUs))
	if nowUs == 13*secondUs {
		emit(&telemetry.Outcome{CallId: "before the panic"})
		panic("time panics")
	}
}

func TestAdvanceOncePerSecond(t *testing.T) {
	f := newFeed(t, 10)
	m := &advances{counting: newCounting("x")}
	f.machine = m
	for _, ms := range []int64{10_000, 10_500, 9_000, 11_000, 10_900, 11_999, 12_001} {
		f.tick(ms * 1000)
	}
	f.give(&telemetry.Record{CallKey: "c", AtUs: 99 * secondUs, Body: event("started")}) // records do not move live time
	f.own("i", 1, 10)
	f.own("i", 2, 10)
	f.own("i", 3, 9)
	f.own("i", 4, 12)
	want := []string{"@10000000", "@11000000", "@12001000", "i@10000000", "i@12000000"}
	if !slices.Equal(m.at, want) {
		t.Errorf("advanced at %v, want %v", m.at, want)
	}
}

// A panic while time moves costs neither the outcomes before it nor the record.
func TestPanicInAdvance(t *testing.T) {
	f := newFeed(t, 10)
	f.machine = &advances{counting: newCounting("x")}
	f.own("i", 1, 13)
	if got, want := f.said(), []string{"before the panic", "i|c 1"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	if f.out.dead[reasonPanic] != 1 {
		t.Errorf("dead letters %v", f.out.dead)
	}
}

func TestPoisonTouchesNothingElse(t *testing.T) {
	f := newFeed(t, 10)
	live := func(kind string) {
		f.give(&telemetry.Record{CallKey: "c", AtUs: secondUs, Body: event(kind)})
	}
	live("started")
	before := dump(f.partition)
	seq := f.lastSeq
	live("poison")
	live("panic")
	f.apply(&kgo.Record{Topic: f.topic, Offset: f.next, Value: telemetry.AppendToBatch(nil, []byte{0xff})}, f.out)
	f.give(&telemetry.Record{})
	f.give(&telemetry.Record{CallKey: "c", Timeline: &telemetry.Timeline{Id: "import:a"}, Body: event("started")})
	f.give(&telemetry.Record{Body: &telemetry.Record_End{End: &telemetry.TimelineEnd{}}})
	if f.lastSeq != seq {
		t.Errorf("outcomes are numbered up to %d, were %d", f.lastSeq, seq)
	}
	f.next = 1
	if after := dump(f.partition); after != before {
		t.Errorf("state\n%swas\n%s", after, before)
	}
	f.next = 7
	live("big") // the outcome that fits stays
	live("started")
	if got, want := f.said(), []string{"|c 1", "|c 2", "|c 3"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	want := map[string]int{reasonRejected: 2, reasonPanic: 1, reasonUnmarshal: 1, reasonEmpty: 1, reasonOrdinal: 1, reasonTooLarge: 1}
	if !maps.Equal(f.out.dead, want) {
		t.Errorf("dead letters %v, want %v", f.out.dead, want)
	}
	if f.out.outcomes["call"] != 3 {
		t.Errorf("counted %v", f.out.outcomes)
	}
}

func TestOutcomesAreNumberedInOrder(t *testing.T) {
	f := newFeed(t, 10)
	for i := range 5000 {
		f.give(&telemetry.Record{CallKey: fmt.Sprint("c", i), AtUs: secondUs, Timeline: &telemetry.Timeline{Id: "i", Seq: uint64(i + 1)}, Body: event("started")})
	}
	f.end("i", 6000, 2) // one record, 5000 outcomes
	f.own("j", 1, 1)
	last := int64(-1)
	for i, r := range f.out.records {
		var o telemetry.Outcome
		if err := proto.Unmarshal(r.Value, &o); err != nil {
			t.Fatal(err)
		}
		if o.Seq <= last {
			t.Fatalf("outcome %d has number %d after %d", i, o.Seq, last)
		}
		last = o.Seq
		if want := int64(i) << seqBits; i < 5000 && o.Seq != want {
			t.Fatalf("outcome %d has number %d, want %d", i, o.Seq, want)
		}
	}
	if len(f.out.records) != 10_001 {
		t.Errorf("%d outcomes", len(f.out.records))
	}
}

// TestBatchBoundaries: however the same records are cut into batches, the same comes
// out in the same order; only its numbers are of other offsets.
func TestBatchBoundaries(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	var in [][]byte
	atS, seq := int64(100), uint64(0)
	for i := range 400 {
		r := &telemetry.Record{EventId: []byte{0, 0, byte(i >> 8), byte(i)}, CallKey: fmt.Sprint("c", random.IntN(4)), AtUs: atS * secondUs, Body: event("started")}
		switch random.IntN(6) {
		case 0:
			atS += random.Int64N(8)
			r.CallKey, r.Body = "", &telemetry.Record_Tick{Tick: &telemetry.Tick{}}
		case 1:
			r.Body = event("poison")
		case 2:
			seq++
			r.Timeline = &telemetry.Timeline{Id: "import:a", Seq: seq}
		}
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, b)
	}
	said := func(most int) (outcomes []string, dead map[string]int) {
		f := newFeed(t, 10)
		for rest := in; len(rest) > 0; {
			n := min(1+random.IntN(most), len(rest))
			var value []byte
			for _, r := range rest[:n] {
				value = telemetry.AppendToBatch(value, r)
			}
			f.apply(&kgo.Record{Topic: f.topic, Offset: f.next, Value: value}, f.out)
			rest = rest[n:]
		}
		return f.said(), f.out.dead
	}
	want, dead := said(1)
	if len(want) < 200 || dead[reasonRejected] == 0 {
		t.Fatalf("%d outcomes, dead letters %v", len(want), dead)
	}
	for _, most := range []int{2, 7, 50, 1000} {
		if got, lost := said(most); !slices.Equal(got, want) || !maps.Equal(lost, dead) {
			t.Errorf("in batches of up to %d: %d outcomes instead of %d, dead letters %v instead of %v", most, len(got), len(want), lost, dead)
		}
	}
}

// Several records at one offset: outcomes of all are numbered through, and one
// that is damaged goes to the dead letters alone.
func TestBatchOfRecords(t *testing.T) {
	f := newFeed(t, 10)
	record := func(call, kind string) []byte {
		b, err := (&telemetry.Record{EventId: []byte{0, 0, 0, 1}, CallKey: call, AtUs: secondUs, Body: event(kind)}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var value []byte
	for _, r := range [][]byte{record("a", "started"), {0xff, 0xff}, record("b", "started"), record("a", "poison"), record("a", "started")} {
		value = telemetry.AppendToBatch(value, r)
	}
	const offset = 7
	f.apply(&kgo.Record{Topic: f.topic, Offset: offset, Value: append(value, 0x0a, 9, 'x')}, f.out)
	if got, want := f.said(), []string{"|a 1", "|b 1", "|a 2"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	if f.next != offset+1 || f.records != 6 || f.out.applied != 6 {
		t.Errorf("next %d after %d records, %d counted", f.next, f.records, f.out.applied)
	}
	seq, dead := int64(offset<<seqBits), []string{}
	for _, r := range f.out.records {
		if r.Topic == telemetry.TopicDeadLetter {
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			dead = append(dead, fmt.Sprintf("%s/%s %s %d", headers["offset"], headers["index"], headers["reason"], len(r.Value)))
			continue
		}
		var o telemetry.Outcome
		if err := proto.Unmarshal(r.Value, &o); err != nil || o.Seq != seq {
			t.Errorf("outcome %d, want %d; %v", o.Seq, seq, err)
		}
		seq++
	}
	poison := len(record("a", "poison"))
	if want := []string{"7/1 unmarshal 2", fmt.Sprint("7/3 rejected ", poison), "7/5 unmarshal 3"}; !slices.Equal(dead, want) {
		t.Errorf("dead letters %q, want %q", dead, want)
	}
	f.apply(&kgo.Record{Topic: f.topic, Offset: offset + 1}, f.out)
	if f.out.dead[reasonEmpty] != 1 {
		t.Errorf("an empty batch: dead letters %v", f.out.dead)
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	f := newFeed(t, 3)
	for i := range 5 {
		id := fmt.Sprint("import:", i)
		f.own(id, 1, 100)
		f.end(id, 2, 101)
	}
	if got := slices.Sorted(maps.Keys(f.times.own)); !slices.Equal(got, []string{"import:2", "import:3", "import:4"}) {
		t.Errorf("remembered: %v", got)
	}
}

func TestAbandonedTimelineEnds(t *testing.T) {
	f := newFeed(t, 3)
	day := int64(24 * 3600)
	f.tick(1_000_000 * secondUs)
	f.own("import:killed", 1, 100)
	f.tick((1_000_000 + day) * secondUs)
	if got := f.said(); len(got) != 1 {
		t.Fatalf("outcomes %q", got)
	}
	f.tick((1_000_000 + day + 61) * secondUs)
	if got, want := f.said(), []string{"import:killed|c 1", "import:killed|c ended 1"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	if len(f.times.own) != 0 {
		t.Error("the timeline is still there")
	}
}

// checkpointed writes a checkpoint into what the compacted topic would hold.
func (f *feed) checkpointed(into savedEntries) {
	f.t.Helper()
	records, err := f.checkpoint()
	if err != nil {
		f.t.Fatal(err)
	}
	if last := records[len(records)-1]; string(last.Key) != "telemetry/0/h" {
		f.t.Fatalf("the last record is %q", last.Key)
	}
	for _, r := range records {
		if r.Topic != telemetry.TopicCheckpoints || len(r.Value) > maxRecordBytes {
			f.t.Fatalf("record %q of %s has %d bytes", r.Key, r.Topic, len(r.Value))
		}
		into.add("telemetry/0/", r)
	}
}

// large has one entry of a size that can be set.
type large struct {
	*counting
	state []byte
}

func (l *large) Checkpoint(put func(string, []byte)) { put("big", l.state) }
func (l *large) Restore(key string, state []byte) error {
	l.state = state
	return nil
}

func TestLargeEntriesAreCut(t *testing.T) {
	f := newFeed(t, 3)
	m := &large{counting: newCounting("x")}
	f.machine = m
	saved := savedEntries{}
	for _, size := range []int{10, 3*pieceBytes + 7, pieceBytes, 2 * pieceBytes, 0} {
		m.state = make([]byte, size)
		for i := range m.state {
			m.state[i] = byte(i * 7)
		}
		f.checkpointed(saved)
		wantKeys := 1 + max(1, (size+pieceBytes-1)/pieceBytes)
		if len(saved) != wantKeys {
			t.Errorf("%d bytes are in %d records, want %d", size, len(saved), wantKeys)
		}
		got := &large{counting: newCounting("x")}
		p := newPartition(f.topic, 0, got, 3)
		if found, err := p.restore(saved); err != nil || !found {
			t.Fatalf("found %v, error %v", found, err)
		}
		if string(got.state) != string(m.state) {
			t.Errorf("%d bytes came back as %d", size, len(got.state))
		}
	}
	m.state = nil
	f.checkpointed(saved)
	if len(saved) != 1 {
		t.Errorf("after the deletion %d records", len(saved))
	}
}

// A checkpoint that is not whole is noticed, whichever record is missing.
func TestDamagedCheckpointIsNoticed(t *testing.T) {
	f := newFeed(t, 3)
	saved := savedEntries{}
	f.own("import:a", 1, 100)
	f.give(&telemetry.Record{CallKey: "c", AtUs: secondUs, Body: event("started")})
	f.checkpointed(saved)
	older := maps.Clone(saved)
	f.give(&telemetry.Record{CallKey: "c", AtUs: secondUs, Body: event("started")})
	f.checkpointed(saved)
	if len(saved) != 4 {
		t.Fatalf("%d entries", len(saved))
	}
	try := func(what string, s savedEntries, want bool) {
		t.Helper()
		found, err := newPartition(f.topic, 0, newCounting("x"), 3).restore(s)
		if (found && err == nil) != want {
			t.Errorf("%s: found %v, error %v", what, found, err)
		}
	}
	try("whole", saved, true)
	for key := range saved {
		damaged := maps.Clone(saved)
		delete(damaged, key)
		try("without "+key, damaged, false)
	}
	mixed := maps.Clone(saved)
	mixed["m/|c"] = older["m/|c"]
	try("with an older entry", mixed, false)
	mixed = maps.Clone(older)
	mixed["m/|c"] = saved["m/|c"]
	try("with a newer entry", mixed, false)
}

func FuzzRestore(f *testing.F) {
	p := newPartition(telemetry.TopicTelemetry, 0, newCounting("x"), 3)
	p.saved.track("t/a", (&timeline{id: "a", seq: 3}).encode())
	header, err := proto.Marshal(header{next: 5, entries: 1, digest: p.saved.digest}.record())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header, "t/a", []byte("\x0a\x07\x01\x03\x00\x00\x00\x00\x00"))
	f.Add([]byte{0xff}, "h", []byte{})
	f.Add(header, "m/x", []byte{0x0a, 0x01, 0x00, 0x20, 0x7f})
	f.Fuzz(func(t *testing.T, header []byte, key string, value []byte) {
		saved := savedEntries{}
		saved.add("p/", &kgo.Record{Key: []byte("p/h"), Value: header})
		saved.add("p/", &kgo.Record{Key: []byte("p/" + key), Value: value})
		saved.add("p/", &kgo.Record{Key: []byte(key), Value: value})
		found, err := newPartition(telemetry.TopicTelemetry, 0, newCounting("x"), 3).restore(saved)
		if found && err != nil {
			t.Errorf("found a checkpoint, and %v", err)
		}
	})
}
