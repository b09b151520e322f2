package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// written gives everything in the two topics, by topic and partition, in order.
func written(t *testing.T, kafka bus.Config) map[string][]*telemetry.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers...), kgo.ConsumeTopics(telemetry.TopicTelemetry, telemetry.TopicRegistrations),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, telemetry.TopicTelemetry, telemetry.TopicRegistrations)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	all := map[string][]*telemetry.Record{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d Kafka records did not come", left)
		}
		fetches.EachRecord(func(k *kgo.Record) {
			left--
			for b, err := range telemetry.Unpack(k.Value) {
				r := &telemetry.Record{}
				if err == nil {
					err = r.UnmarshalVT(b)
				}
				if err != nil {
					t.Fatal(err)
				}
				place := fmt.Sprint(k.Topic, "/", k.Partition)
				all[place] = append(all[place], r)
			}
		})
	}
	return all
}

// Records that come before Kafka does are kept in order, and a tick stands
// behind everything that was given before it, in every partition.
func TestProducerBeforeKafka(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	kafka := bus.Config{Brokers: []string{fmt.Sprintf("127.0.0.1:%d", port)}, Partitions: testPartitions, Replication: 1}
	buffer := DefaultConfig().Buffer
	buffer.Records = 1000
	p, err := NewProducer(kafka, buffer, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	var mu sync.Mutex
	outcomes := map[string]int{}
	give := func(n int) {
		r := &telemetry.Record{Company: "c", CallKey: fmt.Sprint("call-", n%20), AtUs: int64(n), Body: &telemetry.Record_Event{Event: &telemetry.CallEvent{}}}
		o, err := encode(r, &ackEach{func(err error) {
			mu.Lock()
			defer mu.Unlock()
			outcomes[fmt.Sprint(err)]++
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.try(o)
	}
	for n := range 1200 {
		give(n)
	}
	mu.Lock()
	if full := outcomes[ErrBufferFull.Error()]; full != 200 || len(outcomes) != 1 {
		t.Errorf("outcomes %v", outcomes)
	}
	mu.Unlock()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	if err := bus.EnsureTopics(t.Context(), kafka); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for n := range 500 {
		give(2000 + n)
	}
	if err := p.Everywhere(ctx, &telemetry.Record{AtUs: 9999, Body: &telemetry.Record_Tick{Tick: &telemetry.Tick{}}}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if outcomes["<nil>"] != 1500 {
		t.Errorf("outcomes %v", outcomes)
	}
	mu.Unlock()
	total, places := 0, written(t, kafka)
	for place, records := range places {
		last := map[string]int64{}
		for i, r := range records {
			if r.GetTick() != nil {
				if i != len(records)-1 {
					t.Errorf("%s: the tick is record %d of %d", place, i, len(records))
				}
				continue
			}
			total++
			if at, ok := last[r.CallKey]; ok && at >= r.AtUs {
				t.Errorf("%s: %s has %d after %d", place, r.CallKey, r.AtUs, at)
			}
			last[r.CallKey] = r.AtUs
		}
	}
	if total != 1500 || len(places) != 2*testPartitions {
		t.Errorf("%d records in %d partitions", total, len(places))
	}
	if p.room.records != 0 || p.room.bytes != 0 || p.marks.Load() != 0 {
		t.Errorf("left in the buffer: %+v, %d marks", p.room, p.marks.Load())
	}
}

// What is given up at the end is told to those who wait for it.
func TestProducerClosedWithoutKafka(t *testing.T) {
	p, err := NewProducer(bus.Config{Brokers: []string{"127.0.0.1:1"}}, DefaultConfig().Buffer, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := newGathering(3)
	for n := range 3 {
		o, err := encode(&telemetry.Record{CallKey: fmt.Sprint(n), Body: &telemetry.Record_Event{Event: &telemetry.CallEvent{}}}, g)
		if err != nil {
			t.Fatal(err)
		}
		p.wait(t.Context(), o)
	}
	p.Close()
	if err := g.wait(t.Context()); err == nil {
		t.Error("records without Kafka were acknowledged")
	}
}

func TestMurmur2IsKafkas(t *testing.T) {
	hashed := kgo.StickyKeyPartitioner(nil).ForTopic("x")
	for n := range 200 {
		key := fmt.Appendf(nil, "%0*d\x00call", 1+n%9, n)
		if got, want := int(murmur2(key)%12), hashed.Partition(&kgo.Record{Key: key}, 12); got != want {
			t.Errorf("%q is in partition %d, want %d", key, got, want)
		}
	}
}

// The end of a binding must come after the REGISTER that made it.
func TestRegistrationEndsStandWithTheirREGISTER(t *testing.T) {
	for _, to := range []*telemetry.NameAddr{{User: "Alice", Host: "Example.org"}, {Host: "example.org"}} {
		made := &telemetry.Record{Company: "acme", Body: &telemetry.Record_Sip{Sip: &telemetry.SIPMessage{Method: "REGISTER", To: to}}}
		ended := &telemetry.Record{Company: "acme", Body: &telemetry.Record_RegistrationEnd{RegistrationEnd: &telemetry.RegistrationEnd{Aor: AOR(made.GetSip())}}}
		one, err := encode(made, nil)
		if err != nil {
			t.Fatal(err)
		}
		two, err := encode(ended, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !one.registration || !two.registration || !bytes.Equal(one.key, two.key) {
			t.Errorf("%v: %v %q, %v %q", to, one.registration, one.key, two.registration, two.key)
		}
	}
}
