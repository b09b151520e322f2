package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// ErrBufferFull is returned where a record found no room because Kafka does not
// take records as fast as they come, or not at all.
var ErrBufferFull = errors.New("ingest: buffer for Kafka is full")

// ErrNoKafka is returned where Kafka did not acknowledge in time.
var ErrNoKafka = errors.New("ingest: Kafka did not acknowledge in time")

// Producer writes records to Kafka: idempotent, acknowledged by all replicas in
// sync, in the order of the calls per key.
type Producer struct {
	client *kgo.Client
	admin  *kadm.Client
	room   room
	marks  atomic.Int64 // ticks and ends that Kafka has not acknowledged yet

	mu         sync.Mutex
	partitions map[string]int32
	asked      time.Time
}

// NewProducer makes a Producer; it connects when it is first used.
func NewProducer(kafka bus.Config, buffer BufferConfig, reg prometheus.Registerer) (*Producer, error) {
	opts, err := kafka.Options()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(buffer.Linger),
		kgo.MaxBufferedRecords(2*buffer.Records+100_000), // room bounds it; ticks and ends go past that
		kgo.ProducerBatchMaxBytes(1<<20),
		kgo.RecordPartitioner(newPartitioner()),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	p := &Producer{client: client, admin: kadm.NewClient(client), partitions: map[string]int32{},
		room: room{maxRecords: buffer.Records, maxBytes: buffer.Bytes}}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "ingest",
			Name: "kafka_buffered_records", Help: "Records that wait for Kafka."}, func() float64 { return float64(client.BufferedProduceRecords()) }))
	}
	return p, nil
}

// newPartitioner puts keyed records where Kafka's own clients put them (murmur2
// of the key) and the others, ticks and ends, on the partition they name.
func newPartitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		hashed := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		return func(r *kgo.Record, n int) int {
			if r.Key == nil {
				return int(r.Partition)
			}
			return hashed.Partition(r, n)
		}
	})
}

// Close gives up what is still buffered. Flush first.
func (p *Producer) Close() { p.client.Close() }

// Flush waits until Kafka has taken everything that is buffered.
func (p *Producer) Flush(ctx context.Context) error { return p.client.Flush(ctx) }

// Topic is where a record goes: REGISTER transactions to the registrations,
// everything else to the telemetry.
func Topic(r *telemetry.Record) string {
	if isRegister(r) {
		return telemetry.TopicRegistrations
	}
	return telemetry.TopicTelemetry
}

func isRegister(r *telemetry.Record) bool {
	m := r.GetSip()
	return m != nil && m.Method == "REGISTER"
}

// Key is the Kafka key of a record.
func Key(r *telemetry.Record) []byte {
	if isRegister(r) {
		return telemetry.Key(r.Company, AOR(r.GetSip()))
	}
	return telemetry.Key(r.Company, r.CallKey)
}

func encode(r *telemetry.Record) (*kgo.Record, error) {
	value, err := marshal(r)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: Topic(r), Key: Key(r), Value: value}, nil
}

func marshal(m proto.Message) ([]byte, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		// Text from the wire may be in any encoding; protobuf takes UTF-8 only.
		// Looking at every string of every record would cost more than this.
		repairText(m.ProtoReflect())
		if value, err = proto.Marshal(m); err != nil {
			return nil, fmt.Errorf("cannot encode record: %w", err)
		}
	}
	return value, nil
}

func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func repairText(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList():
			list := v.List()
			for i := range list.Len() {
				switch f.Kind() {
				case protoreflect.StringKind:
					list.Set(i, protoreflect.ValueOfString(validText(list.Get(i).String())))
				case protoreflect.MessageKind:
					repairText(list.Get(i).Message())
				}
			}
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(validText(v.String())))
		case f.Kind() == protoreflect.MessageKind:
			repairText(v.Message())
		}
		return true
	})
}

// TryProduce writes a record without ever waiting for room. done is called once,
// perhaps before TryProduce returns, with ErrBufferFull if there was none.
func (p *Producer) TryProduce(r *telemetry.Record, done func(error)) {
	k, err := encode(r)
	if err != nil {
		done(err)
		return
	}
	if !p.room.take(len(k.Value)) {
		done(ErrBufferFull)
		return
	}
	p.send(k, done)
}

// Produce writes a record and waits for room in the buffer, as long as ctx
// lasts, but not for Kafka. done is called once, when Kafka has acknowledged or
// it has failed.
func (p *Producer) Produce(ctx context.Context, r *telemetry.Record, done func(error)) {
	k, err := encode(r)
	if err != nil {
		done(err)
		return
	}
	if p.room.wait(ctx, len(k.Value)) != nil {
		done(ErrBufferFull)
		return
	}
	p.send(k, done)
}

// send gives a record that has room to the client. The end of a request or of a
// listener does not take it back: it may have been written already.
func (p *Producer) send(k *kgo.Record, done func(error)) {
	size := len(k.Value)
	p.client.Produce(context.Background(), k, func(_ *kgo.Record, err error) {
		p.room.free(size)
		done(err)
	})
}

// room bounds what waits for Kafka. The client has bounds of its own, but tells
// neither at once that they are reached nor lets a caller give up waiting
// without giving up the record.
type room struct {
	mu                   sync.Mutex
	records, bytes       int
	maxRecords, maxBytes int
	freed                chan struct{} // closed when there may be room; nil if nobody waits
}

func (r *room) take(size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(size)
}

func (r *room) takeLocked(size int) bool {
	// One record always fits, however large.
	if r.records > 0 && (r.records >= r.maxRecords || r.bytes+size > r.maxBytes) {
		return false
	}
	r.records++
	r.bytes += size
	return true
}

func (r *room) wait(ctx context.Context, size int) error {
	for {
		r.mu.Lock()
		if r.takeLocked(size) {
			r.mu.Unlock()
			return nil
		}
		if r.freed == nil {
			r.freed = make(chan struct{})
		}
		freed := r.freed
		r.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *room) free(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records--
	r.bytes -= size
	if r.freed != nil {
		close(r.freed)
		r.freed = nil
	}
}

// ProduceAll writes records and waits until Kafka has acknowledged all of them,
// at most timeout. With an error some may have been written nevertheless:
// sending them again is safe, for they carry the same event ids.
func (p *Producer) ProduceAll(ctx context.Context, timeout time.Duration, records ...*telemetry.Record) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(chan error, len(records))
	for _, r := range records {
		p.Produce(ctx, r, func(err error) { results <- err })
	}
	var failed error
	for range records {
		select {
		case err := <-results:
			if err != nil && failed == nil {
				failed = err
			}
		case <-ctx.Done():
			return ErrNoKafka
		}
	}
	return failed
}

// Partitions is the number of partitions of a topic.
func (p *Producer) Partitions(ctx context.Context, topic string) (int32, error) {
	p.mu.Lock()
	n, fresh := p.partitions[topic], time.Since(p.asked) < time.Minute
	p.mu.Unlock()
	if n > 0 && fresh {
		return n, nil
	}
	details, err := p.admin.ListTopics(ctx, telemetry.TopicTelemetry, telemetry.TopicRegistrations)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		if n > 0 {
			return n, nil // Kafka is away: its partitions are not
		}
		return 0, fmt.Errorf("cannot ask for the partitions of %s: %w", topic, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = time.Now()
	for name, d := range details {
		p.partitions[name] = int32(len(d.Partitions))
	}
	if n = p.partitions[topic]; n == 0 {
		return 0, fmt.Errorf("topic %s does not exist", topic)
	}
	return n, nil
}

// Everywhere writes a record, a tick or an end, to every partition of the
// telemetry and registrations topics, behind everything that this Producer was
// given before, and waits until Kafka has acknowledged.
func (p *Producer) Everywhere(ctx context.Context, r *telemetry.Record) error {
	value, err := marshal(r)
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for _, topic := range []string{telemetry.TopicTelemetry, telemetry.TopicRegistrations} {
		n, err := p.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		for partition := range n {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: value})
		}
	}
	results := make(chan error, len(records))
	p.marks.Add(int64(len(records)))
	for _, k := range records {
		p.client.Produce(context.Background(), k, func(_ *kgo.Record, err error) {
			p.marks.Add(-1)
			results <- err
		})
	}
	var failed error
	for range records {
		select {
		case err := <-results:
			if err != nil && failed == nil {
				failed = err
			}
		case <-ctx.Done():
			return ErrNoKafka
		}
	}
	return failed
}

// share writes bindings for the other ingesters. They are help, not telemetry:
// what finds no room is left out.
func (p *Producer) share(instance []byte, bindings []*telemetry.Binding) {
	for _, b := range bindings {
		value, err := marshal(b)
		if err != nil {
			continue
		}
		p.client.TryProduce(context.Background(), &kgo.Record{Topic: telemetry.TopicBindings, Key: telemetry.Key(b.Scope, b.Address),
			Value: value, Headers: []kgo.RecordHeader{{Key: "ingester", Value: instance}}}, nil)
	}
}
