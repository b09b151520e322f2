package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

// feedTransaction is the transactional id of all publishers: Kafka lets only the
// one write that took it last, so that an older state never follows a newer one.
const feedTransaction = "earshot-directory"

const (
	// followEvery is how often the directory is asked whether it has changed.
	followEvery = 100 * time.Millisecond
	// feedPatience is how long a publisher that is not in charge sees changes untold,
	// and no one at work, before it takes charge.
	feedPatience = 2 * time.Second
	// busyEvery is how often a publisher with nothing to tell yet shows that it works.
	busyEvery = 500 * time.Millisecond
	// entriesAtOnce bounds the entries of the journal that are told at a time,
	// tellAtOnce the differences that a comparison gathers, pageAtOnce the objects
	// that it looks at between two changes, objectsAtOnce the parameters of a
	// statement: in SQLite their time grows with the square of their number.
	entriesAtOnce = 5000
	tellAtOnce    = 20_000
	pageAtOnce    = 1000
	objectsAtOnce = 125
	// compareEvery is the least time between two comparisons of all that was told
	// with the directory; a comparison takes at most one part in compareShare of
	// the time.
	compareEvery = 10 * time.Minute
	compareShare = 100
	// echoWithin is how long Kafka may take to show what it has committed.
	echoWithin = 30 * time.Second
)

// Publisher tells over Kafka what the directory holds, for Resolvers. It follows
// the journal: each change is told within moments. How far it has told stands in
// the topic itself, in the transaction that told it; so whatever is lost or
// brought back, topic or directory, shows when the two are compared, and what
// differs is told again. Several may run: one is in charge.
type Publisher struct {
	directory *Directory
	resolver  *Resolver // what has been told
	bus       bus.Config
	secrets   *seal
	eager     bool
	log       *slog.Logger

	id     string
	client *kgo.Client // nil: not in charge
	serial uint64
	wrote  time.Time
	told   int64    // version up to which everything is told
	last   position // of the last entry of the journal that is told
	scan   *comparison
	next   time.Time     // of the next comparison
	took   time.Duration // the last one

	published, unrecorded prometheus.Counter
}

// position is where an entry of the journal stands, and when it was written.
type position struct{ n, i, atUs int64 }

// PublisherDeps is what a Publisher works with.
type PublisherDeps struct {
	Bus      bus.Config
	Resolver *Resolver // of the same process and running
	Secret   string    // seals credentials, see FeedSecret
	// Eager takes charge at once; else only where nobody else tells changes.
	Eager   bool
	Log     *slog.Logger
	Metrics prometheus.Registerer // may be nil
}

// NewPublisher makes a publisher of the directory.
func (d *Directory) NewPublisher(deps PublisherDeps) (*Publisher, error) {
	secrets, err := newSeal(deps.Secret)
	if err != nil {
		return nil, err
	}
	if secrets == nil {
		return nil, errors.New("cannot publish the directory: it has no secret to seal credentials with")
	}
	p := &Publisher{
		directory: d, resolver: deps.Resolver, bus: deps.Bus, secrets: secrets, eager: deps.Eager, log: deps.Log, id: rand.Text()[:8],
		published:  prometheus.NewCounter(prometheus.CounterOpts{Name: "earshot_directory_published_total", Help: "Records of the directory's topic that were written."}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "earshot_directory_unrecorded_total", Help: "Changes of the directory that its journal does not name."}),
	}
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(p.published, p.unrecorded)
	}
	return p, nil
}

// Run publishes until ctx ends. What goes wrong is tried again.
func (p *Publisher) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		err := p.take(ctx)
		if err == nil {
			failing = false
			err = p.lead(ctx)
		}
		p.leave()
		if err != nil && ctx.Err() == nil {
			if !failing {
				p.log.Warn("cannot publish who is who; it is tried again", "error", err)
			}
			failing = true
			waitFor(ctx, time.Second)
		}
	}
	return nil
}

func waitFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// take waits until it is this publisher's turn, and takes charge.
func (p *Publisher) take(ctx context.Context) error {
	if err := p.resolver.until(ctx, func() bool { return p.resolver.caught }); err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	for seen, since := int64(-1), time.Now(); !p.eager; waitFor(ctx, followEvery) {
		version, err := p.directory.Version(ctx)
		if err != nil {
			return err
		}
		p.resolver.state.Lock()
		told, read := p.resolver.mark != nil && p.resolver.version == version, p.resolver.read
		p.resolver.state.Unlock()
		if told || read != seen {
			seen, since = read, time.Now()
		}
		if time.Since(since) > feedPatience {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	p.eager = false // once; who was replaced does not fight for it
	opts, err := p.bus.Options()
	if err != nil {
		return err
	}
	p.client, err = kgo.NewClient(append(opts, kgo.TransactionalID(feedTransaction), kgo.TransactionTimeout(10*time.Second),
		kgo.DefaultProduceTopic(telemetry.TopicDirectory), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()), kgo.RecordDeliveryTimeout(echoWithin))...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	if _, _, err := p.client.ProducerID(ctx); err != nil { // from here on the one before cannot write
		return fmt.Errorf("cannot take charge of the directory's topic: %w", err)
	}
	return p.tell(ctx, nil, false) // returns when all that was written before is known
}

func (p *Publisher) leave() {
	if p.client != nil {
		p.client.Close()
		p.client = nil
	}
	p.scan = nil
}

// lead tells what changes until ctx ends or another takes charge.
func (p *Publisher) lead(ctx context.Context) error {
	if p.client == nil {
		return nil
	}
	p.log.Debug("this process publishes who is who", "publisher", p.id)
	known, err := p.resume(ctx)
	if err != nil {
		return err
	}
	if !known {
		if err := p.everything(ctx); err != nil {
			return err
		}
	}
	p.next = time.Now() // a program before this one may have told it otherwise
	for ctx.Err() == nil {
		if err := p.follow(ctx); err != nil {
			return err
		}
		if p.scan == nil && time.Now().After(p.next) {
			p.scan = newComparison()
		}
		if p.scan == nil {
			waitFor(ctx, followEvery)
			continue
		}
		if err := p.compare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resume goes on where the topic ends. known is false where the topic tells
// nothing yet, or was told by a directory that is not this one: one that was
// brought back from a backup has another journal from there on.
func (p *Publisher) resume(ctx context.Context) (known bool, err error) {
	version, err := p.directory.Version(ctx)
	if err != nil {
		return false, err
	}
	p.resolver.state.Lock()
	mark, told := p.resolver.mark, p.resolver.version
	p.resolver.state.Unlock()
	if mark == nil || told > version {
		return false, nil
	}
	p.told, p.last = told, position{mark.JournalN, mark.JournalI, mark.JournalAtUs}
	if p.last.n == 0 {
		return true, nil
	}
	var atUs int64
	err = p.directory.db.QueryRowContext(ctx, "SELECT at_us FROM journal WHERE n = $1 AND i = $2", p.last.n, p.last.i).Scan(&atUs)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("cannot read the journal: %w", err)
	}
	return atUs == p.last.atUs, nil
}

// everything tells all that differs, and only then that it is complete.
func (p *Publisher) everything(ctx context.Context) error {
	version, err := p.directory.Version(ctx)
	if err != nil {
		return err
	}
	var last position
	err = p.directory.db.QueryRowContext(ctx, "SELECT n, i, at_us FROM journal WHERE n <= $1 ORDER BY n DESC, i DESC LIMIT 1", version).Scan(&last.n, &last.i, &last.atUs)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("cannot read the journal: %w", err)
	}
	p.log.Info("publishing who is who anew: what was told is not of this directory, or nothing was")
	for p.scan = newComparison(); p.scan != nil; {
		if err := p.compare(ctx); err != nil {
			return err
		}
		// Else another would take the silence for the end of this one.
		if time.Since(p.wrote) > busyEvery {
			if err := p.tell(ctx, nil, false); err != nil {
				return err
			}
		}
	}
	p.told, p.last = version, last
	return p.tell(ctx, nil, true)
}

// object is something that is told of by its key.
type object struct{ company, kind, id string }

// follow tells what has changed since it was told last.
func (p *Publisher) follow(ctx context.Context) error {
	version, err := p.directory.Version(ctx)
	if err != nil || version == p.told {
		return err
	}
	if version < p.told {
		return errors.New("the directory is older than what was told of it")
	}
	if err := p.tellDifferent(ctx); err != nil {
		return err
	}
	recorded, last := int64(0), p.last
	for from, more := (position{n: p.told, i: math.MaxInt64}), true; more; {
		objects := map[object]bool{}
		entries := 0
		err := each(ctx, p.directory.db, func(r *sql.Rows) error {
			var at position
			var o object
			if err := r.Scan(&at.n, &at.i, &at.atUs, &o.company, &o.kind, &o.id); err != nil {
				return err
			}
			if at.n != from.n {
				recorded++
			}
			if entries++; told(o.kind) {
				objects[o] = true
			}
			from, last = at, at
			return nil
		}, "SELECT n, i, at_us, company, subject_kind, subject_id FROM journal WHERE (n, i) > ($1, $2) AND n <= $3 ORDER BY n, i LIMIT "+strconv.Itoa(entriesAtOnce),
			from.n, from.i, version)
		if err != nil {
			return err
		}
		changes, err := p.differences(ctx, objects)
		if err != nil {
			return err
		}
		if more = entries == entriesAtOnce; !more {
			p.noteUnrecorded(version - p.told - recorded)
			p.told, p.last = version, last
		}
		if err := p.tell(ctx, changes, !more); err != nil {
			return err
		}
	}
	return nil
}

// noteUnrecorded makes up for changes that the journal does not name, which are
// mistakes, or for writes that changed nothing: all is compared, soon and without
// spending the day on it.
func (p *Publisher) noteUnrecorded(n int64) {
	if n <= 0 {
		return
	}
	p.unrecorded.Add(float64(n))
	if soon := time.Now().Add(10 * p.took); soon.Before(p.next) {
		p.next = soon
	}
	if p.scan != nil {
		p.scan.again = true
	}
}

// change is what is to be told of an object; without a value, that it is gone.
type change struct{ key, value []byte }

// differences reads objects and gives those of which something else was told.
// All that was told is known: tell returns only then.
func (p *Publisher) differences(ctx context.Context, objects map[object]bool) ([]change, error) {
	groups := map[object][]string{} // by company and kind
	for o := range objects {
		group := object{company: o.company, kind: o.kind}
		groups[group] = append(groups[group], o.id)
	}
	var out []change
	for group, ids := range groups {
		slices.Sort(ids)
		for part := range slices.Chunk(ids, objectsAtOnce) {
			version, err := p.directory.Version(ctx)
			if err != nil {
				return nil, err
			}
			found, err := p.directory.records(ctx, group.company, group.kind, part, p.secrets)
			if err != nil {
				return nil, err
			}
			for _, id := range part {
				c := change{key: telemetry.DirectoryKey(group.company, group.kind, id)}
				if r := found[id]; r != nil {
					r.Version = uint64(version)
					if c.value, err = r.MarshalVT(); err != nil {
						return nil, fmt.Errorf("cannot encode what is told of the directory: %w", err)
					}
				}
				p.resolver.mu.RLock()
				same := p.resolver.told(group.company, group.kind, id) == contentHash(c.value)
				p.resolver.mu.RUnlock()
				if !same {
					out = append(out, c)
				}
			}
		}
	}
	return out, nil
}

// tell writes changes in one transaction, at its end how far the directory is
// told, or where marked says that there is more to come, only that there is
// somebody at work. It returns when the resolver has them.
func (p *Publisher) tell(ctx context.Context, changes []change, marked bool) error {
	p.serial++
	kind, mark := kindProbe, &telemetry.DirectoryMark{Publisher: p.id, Serial: p.serial}
	if marked {
		kind, mark.Complete = kindMark, true
		mark.JournalN, mark.JournalI, mark.JournalAtUs = p.last.n, p.last.i, p.last.atUs
	}
	value, err := (&telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Mark{Mark: mark}, Version: uint64(p.told)}).MarshalVT()
	if err != nil {
		return fmt.Errorf("cannot encode what is told of the directory: %w", err)
	}
	if err := p.client.BeginTransaction(); err != nil {
		return fmt.Errorf("cannot write to the directory's topic: %w", err)
	}
	records := make([]*kgo.Record, 0, len(changes)+1)
	for _, c := range append(changes, change{telemetry.DirectoryKey("", kind, ""), value}) {
		records = append(records, &kgo.Record{Key: c.key, Value: c.value})
	}
	err = p.client.ProduceSync(ctx, records...).FirstErr()
	end := kgo.TransactionEndTry(err == nil)
	// A transaction that is begun is ended also where the program is.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), echoWithin)
	defer cancel()
	if err = errors.Join(err, p.client.EndTransaction(ending, end)); err != nil {
		return fmt.Errorf("cannot write to the directory's topic: %w", err)
	}
	p.published.Add(float64(len(changes)))
	p.wrote = time.Now()
	err = p.resolver.until(ending, func() bool {
		return p.resolver.last.GetPublisher() == p.id && p.resolver.last.GetSerial() >= p.serial
	})
	if err != nil {
		return errors.New("cannot read back what was written to the directory's topic")
	}
	return nil
}

// told says whether a kind of the journal's subjects is told of.
func told(kind string) bool { return slices.Contains(toldKinds, kind) }
