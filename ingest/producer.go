package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// sync, in the order of the calls per key. Records of one partition travel
// together, as a telemetry.Batch in one Kafka record.
type Producer struct {
	client *kgo.Client
	admin  *kadm.Client
	linger time.Duration
	marks  atomic.Int64 // ticks and ends that Kafka has not acknowledged yet
	ctx    context.Context
	close  context.CancelFunc

	mu     sync.Mutex
	room   room
	topics [2]topicPacks // telemetry, registrations
	free   []*pack       // to be used again

	shared      *pack  // bindings for the other ingesters
	sharedBy    []byte // this ingester
	sharedBytes int    // of bindings that Kafka has not acknowledged
	binding     []byte

	timer  *time.Timer // packs what lingers
	armed  bool
	asked  time.Time     // when the partitions were asked for
	known  chan struct{} // closed once the partitions are known
	asking bool
}

// topicPacks are the packs of one topic by partition.
type topicPacks struct {
	name  string
	packs []*pack // nil where nothing waits; empty as long as the partitions are not known
	// homeless are records that came before the partitions were known.
	homeless []homeless
}

type homeless struct {
	hash   uint32
	record []byte
	ack    ack
}

// A pack is sent when it has this many bytes or records, or has lingered. The
// fixed cost of a Kafka record is then shared by enough to vanish, and a batch
// that is lost to a damaged byte is small.
const (
	packBytes   = 48 << 10
	packRecords = 256
	// freePacks is how many are kept for use again.
	freePacks = 128
)

// pack is a Kafka record in the making.
type pack struct {
	value   []byte // telemetry.Batch
	records int
	acks    []ack
}

// acker is told once what became of each record it was named with. It is a pointer.
type acker interface {
	acknowledged(records int, err error)
}

// ack says who waits for the fate of some records that stand side by side in a pack.
type ack struct {
	to             acker
	from           *origin
	records, bytes int // that took room
	marks          int // that did not
}

// ackEach calls a function for each record.
type ackEach struct{ done func(error) }

func (a *ackEach) acknowledged(records int, err error) {
	for range records {
		a.done(err)
	}
}

// outgoing is a marshalled record on its way to Kafka. The Producer copies it.
type outgoing struct {
	registration bool   // goes to the registrations, not to the telemetry
	key          []byte // as telemetry.Key
	record       []byte
	from         *origin // whose room it takes
	to           acker
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
		kgo.ProducerLinger(0),                            // records linger in packs
		kgo.MaxBufferedRecords(2*buffer.Records+100_000), // room bounds it; ticks and ends go past that
		kgo.ProducerBatchMaxBytes(1<<20),
		kgo.RecordPartitioner(newPartitioner()),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	p := &Producer{client: client, admin: kadm.NewClient(client), linger: buffer.Linger,
		room: room{maxRecords: buffer.Records, maxBytes: buffer.Bytes}, shared: &pack{}, known: make(chan struct{})}
	p.ctx, p.close = context.WithCancel(context.Background())
	p.topics[0].name, p.topics[1].name = telemetry.TopicTelemetry, telemetry.TopicRegistrations
	p.timer = time.AfterFunc(time.Hour, p.lingered)
	p.timer.Stop()
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "ingest",
			Name: "kafka_buffered_records", Help: "Records that wait for Kafka."}, func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return float64(p.room.records)
		}))
	}
	return p, nil
}

// newPartitioner puts keyed records, bindings, where Kafka's own clients put them
// (murmur2 of the key) and packs on the partition they name.
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
func (p *Producer) Close() {
	p.close()
	p.mu.Lock()
	p.timer.Stop()
	p.sendAll()
	var lost []homeless
	for i := range p.topics {
		lost = append(lost, p.topics[i].homeless...)
		p.topics[i].homeless = nil
	}
	for _, h := range lost {
		p.room.release(h.ack)
	}
	p.mu.Unlock()
	p.client.Close()
	for _, h := range lost {
		h.ack.to.acknowledged(h.ack.records, ErrNoKafka)
	}
}

// Flush waits until Kafka has taken everything that is buffered.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	p.sendAll()
	waits := len(p.topics[0].homeless)+len(p.topics[1].homeless) > 0
	p.mu.Unlock()
	if waits {
		select {
		case <-p.known:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.mu.Lock()
		p.sendAll()
		p.mu.Unlock()
	}
	return p.client.Flush(ctx)
}

// Topic is where a record goes: REGISTER transactions to the registrations,
// everything else to the telemetry.
func Topic(r *telemetry.Record) string {
	if isRegister(r.GetSip()) {
		return telemetry.TopicRegistrations
	}
	return telemetry.TopicTelemetry
}

func isRegister(m *telemetry.SIPMessage) bool { return m != nil && m.Method == "REGISTER" }

// Key decides the partition of a record.
func Key(r *telemetry.Record) []byte {
	if m := r.GetSip(); isRegister(m) {
		return telemetry.Key(r.Company, AOR(m))
	}
	if end := r.GetRegistrationEnd(); end != nil {
		return telemetry.Key(r.Company, end.Aor)
	}
	return telemetry.Key(r.Company, r.CallKey)
}

// encode makes a whole record ready for Kafka.
func encode(r *telemetry.Record, to acker) (outgoing, error) {
	b, err := marshal(r)
	return outgoing{registration: isRegister(r.GetSip()) || r.GetRegistrationEnd() != nil, key: Key(r), record: b, to: to}, err
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

// Produce writes a record and waits for room in the buffer, as long as ctx
// lasts, but not for Kafka. done is called once, when Kafka has acknowledged or
// it has failed.
func (p *Producer) Produce(ctx context.Context, r *telemetry.Record, done func(error)) {
	o, err := encode(r, &ackEach{done})
	if err != nil {
		done(err)
		return
	}
	p.wait(ctx, o)
}

// try writes a record without ever waiting for room. It is acknowledged once,
// perhaps before try returns, with ErrBufferFull if there was none.
func (p *Producer) try(o outgoing) {
	hash := murmur2(o.key)
	p.mu.Lock()
	taken := p.room.take(len(o.record), o.from)
	if taken {
		p.put(o, hash)
	}
	p.mu.Unlock()
	if !taken {
		o.to.acknowledged(1, ErrBufferFull)
	}
}

// wait writes a record and waits for room as long as ctx lasts.
func (p *Producer) wait(ctx context.Context, o outgoing) {
	hash := murmur2(o.key)
	p.mu.Lock()
	if !p.room.take(len(o.record), o.from) && p.waitForRoom(ctx, o) != nil {
		p.mu.Unlock()
		o.to.acknowledged(1, ErrBufferFull)
		return
	}
	p.put(o, hash)
	p.mu.Unlock()
}

// waitForRoom is called with p.mu held and returns with it held.
func (p *Producer) waitForRoom(ctx context.Context, o outgoing) error {
	p.room.join(o.from)
	defer func() { p.room.leave(o.from) }()
	for {
		freed := p.room.wake()
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			p.mu.Lock()
			return ctx.Err()
		}
		p.mu.Lock()
		if p.room.take(len(o.record), o.from) {
			return nil
		}
	}
}

// put packs a record that has room.
func (p *Producer) put(o outgoing, hash uint32) {
	t := &p.topics[0]
	if o.registration {
		t = &p.topics[1]
	}
	a := ack{to: o.to, from: o.from, records: 1, bytes: len(o.record)}
	if len(t.packs) == 0 {
		t.homeless = append(t.homeless, homeless{hash, append([]byte(nil), o.record...), a})
		p.ask()
		return
	}
	p.pack(t, int32(hash%uint32(len(t.packs))), o.record, a)
}

// pack adds a record to the pack of its partition.
func (p *Producer) pack(t *topicPacks, partition int32, record []byte, a ack) {
	k := t.packs[partition]
	if k != nil && len(k.value)+len(record) > packBytes {
		p.send(t, partition)
		k = nil
	}
	if k == nil {
		k = p.newPack()
		t.packs[partition] = k
	}
	k.value = telemetry.AppendToBatch(k.value, record)
	k.records++
	if n := len(k.acks); n > 0 && k.acks[n-1].to == a.to && k.acks[n-1].from == a.from {
		last := &k.acks[n-1]
		last.records, last.bytes, last.marks = last.records+a.records, last.bytes+a.bytes, last.marks+a.marks
	} else {
		k.acks = append(k.acks, a)
	}
	if k.records >= packRecords || len(k.value) >= packBytes || p.linger <= 0 {
		p.send(t, partition)
		return
	}
	p.arm()
}

// arm has everything sent once it has lingered.
func (p *Producer) arm() {
	if !p.armed {
		p.armed = true
		p.timer.Reset(p.linger)
	}
}

func (p *Producer) newPack() *pack {
	if n := len(p.free); n > 0 {
		k := p.free[n-1]
		p.free = p.free[:n-1]
		return k
	}
	return &pack{}
}

// lingered sends what has waited for others.
func (p *Producer) lingered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	p.sendAll()
}

func (p *Producer) sendAll() {
	for i := range p.topics {
		for n := range p.topics[i].packs {
			p.send(&p.topics[i], int32(n))
		}
	}
	p.sendShared()
}

// send gives a pack to the client, which keeps the order of a partition. The end
// of a request or of a listener does not take it back: it may have been written
// already.
func (p *Producer) send(t *topicPacks, partition int32) {
	k := t.packs[partition]
	if k == nil {
		return
	}
	t.packs[partition] = nil
	p.client.Produce(context.Background(), &kgo.Record{Topic: t.name, Partition: partition, Value: k.value},
		func(_ *kgo.Record, err error) { p.sent(k, err) })
}

// sent frees the room of a pack and tells those who wait for it.
func (p *Producer) sent(k *pack, err error) {
	p.mu.Lock()
	for _, a := range k.acks {
		p.room.release(a)
	}
	p.mu.Unlock()
	for _, a := range k.acks {
		a.to.acknowledged(a.records+a.marks, err)
	}
	// Of a record that failed the client may still hold the bytes.
	if err != nil || cap(k.value) > 2*packBytes {
		return
	}
	clear(k.acks)
	k.value, k.records, k.acks = k.value[:0], 0, k.acks[:0]
	p.mu.Lock()
	if len(p.free) < freePacks {
		p.free = append(p.free, k)
	}
	p.mu.Unlock()
}

// ask finds out the partitions, for records that came before they were known.
func (p *Producer) ask() {
	if p.asking {
		return
	}
	p.asking = true
	go func() {
		for {
			_, err := p.Partitions(p.ctx, telemetry.TopicTelemetry)
			if err == nil || p.ctx.Err() != nil {
				break
			}
			select {
			case <-p.ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
		}
		p.mu.Lock()
		p.asking = false
		p.mu.Unlock()
	}()
}

// learned takes the number of partitions of the topics.
func (p *Producer) learned(details kadm.TopicDetails) {
	all := true
	for i := range p.topics {
		t := &p.topics[i]
		n := len(details[t.name].Partitions)
		if n == 0 {
			all = false
			continue
		}
		if n == len(t.packs) {
			continue
		}
		for partition := range t.packs {
			p.send(t, int32(partition))
		}
		t.packs = make([]*pack, n)
		for _, h := range t.homeless {
			p.pack(t, int32(h.hash%uint32(n)), h.record, h.ack)
		}
		t.homeless = nil
	}
	select {
	case <-p.known:
	default:
		if all {
			close(p.known)
		}
	}
}

// gathering waits for all of some records.
type gathering struct {
	mu     sync.Mutex
	left   int
	failed error
	all    chan struct{}
}

func newGathering(records int) *gathering {
	g := &gathering{left: records, all: make(chan struct{})}
	if records == 0 {
		close(g.all)
	}
	return g
}

func (g *gathering) acknowledged(records int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && g.failed == nil {
		g.failed = err
	}
	if g.left -= records; g.left == 0 {
		close(g.all)
	}
}

func (g *gathering) wait(ctx context.Context) error {
	select {
	case <-g.all:
	case <-ctx.Done():
		return ErrNoKafka
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// ProduceAll writes records and waits until Kafka has acknowledged all of them,
// at most timeout. With an error some may have been written nevertheless:
// sending them again is safe, for they carry the same event ids.
func (p *Producer) ProduceAll(ctx context.Context, timeout time.Duration, records ...*telemetry.Record) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	g := newGathering(len(records))
	for _, r := range records {
		o, err := encode(r, g)
		if err != nil {
			g.acknowledged(1, err)
			continue
		}
		p.wait(ctx, o)
	}
	return g.wait(ctx)
}

// Partitions is the number of partitions of a topic.
func (p *Producer) Partitions(ctx context.Context, topic string) (int32, error) {
	p.mu.Lock()
	n, fresh := p.partitions(topic), time.Since(p.asked) < time.Minute
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
	p.learned(details)
	if n = p.partitions(topic); n == 0 {
		return 0, fmt.Errorf("topic %s does not exist", topic)
	}
	return n, nil
}

func (p *Producer) partitions(topic string) int32 {
	for i := range p.topics {
		if p.topics[i].name == topic {
			return int32(len(p.topics[i].packs))
		}
	}
	return 0
}

// marked counts the marks that are under way.
type marked struct {
	*gathering
	p *Producer
}

func (m *marked) acknowledged(records int, err error) {
	m.p.marks.Add(-int64(records))
	m.gathering.acknowledged(records, err)
}

// Everywhere writes a record, a tick or an end, to every partition of the
// telemetry and registrations topics, behind everything that this Producer was
// given before, and waits until Kafka has acknowledged. It takes no room.
func (p *Producer) Everywhere(ctx context.Context, r *telemetry.Record) error {
	value, err := marshal(r)
	if err != nil {
		return err
	}
	for i := range p.topics {
		if _, err := p.Partitions(ctx, p.topics[i].name); err != nil {
			return err
		}
	}
	p.mu.Lock()
	total := len(p.topics[0].packs) + len(p.topics[1].packs)
	m := &marked{newGathering(total), p}
	p.marks.Add(int64(total))
	for i := range p.topics {
		t := &p.topics[i]
		for partition := range t.packs {
			p.pack(t, int32(partition), value, ack{to: m, marks: 1})
			p.send(t, int32(partition))
		}
	}
	p.mu.Unlock()
	return m.wait(ctx)
}

// maxShared bounds the bytes of bindings that wait for Kafka.
const maxShared = 4 << 20

// share writes bindings for the other ingesters, many in one Kafka record. They
// are help, not telemetry: what finds no room is left out. The key is the
// ingester that knows them: they reach the others in order, and itself can tell
// that they are its own.
func (p *Producer) share(instance []byte, bindings []*telemetry.Binding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range bindings {
		if p.sharedBytes+len(p.shared.value) > maxShared {
			return
		}
		size := b.SizeVT()
		p.binding = slices.Grow(p.binding[:0], size)[:size]
		if n, err := b.MarshalToSizedBufferVT(p.binding); err != nil || n != size {
			panic(fmt.Sprintf("ingest: a binding of %d bytes is encoded in %d: %v", size, n, err)) // generated code contradicts itself
		}
		if k := p.shared; len(k.value) > 0 && len(k.value)+size > packBytes {
			p.sendShared()
		}
		p.shared.value = telemetry.AppendToBatch(p.shared.value, p.binding)
		p.sharedBy = instance
	}
	if p.linger <= 0 {
		p.sendShared()
		return
	}
	p.arm()
}

func (p *Producer) sendShared() {
	k := p.shared
	if len(k.value) == 0 {
		return
	}
	p.shared = p.newPack()
	size := len(k.value)
	p.sharedBytes += size
	p.client.TryProduce(context.Background(), &kgo.Record{Topic: telemetry.TopicBindings, Key: p.sharedBy, Value: k.value}, func(_ *kgo.Record, err error) {
		p.mu.Lock()
		p.sharedBytes -= size
		p.mu.Unlock()
		p.sent(k, err)
	})
}

// murmur2 is the hash by which Kafka's clients place keys, without its sign bit.
func murmur2(key []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h ^= h >> 13
	h *= m
	return (h ^ h>>15) & 0x7fffffff
}
