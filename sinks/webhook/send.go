package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/failpoint"
)

const (
	pollEvery = 250 * time.Millisecond
	// leaseSlack is how much longer than a request a process may send without
	// having said that it still does.
	leaseSlack = 15 * time.Second
	// breakAfter failures in a row, requests to a subscription are made one at a
	// time, with time between.
	breakAfter   = 3
	slowAfter    = 2 * time.Second
	journalEvery = time.Second
	statsEvery   = 10 * time.Second
	forgetEvery  = time.Minute
	forgetAtOnce = 1_000
	recordAtOnce = 256
)

// sender makes the requests. Each subscription with something due has a lane, a
// goroutine of its own, so that none waits for another's answers. Requests to
// those that fail or are slow come out of a budget of their own: however many
// hang, the others have theirs.
type sender struct {
	*Sink
	client  *http.Client
	quick   chan struct{}
	slow    chan struct{}
	records chan *record
	closed  chan struct{} // when no result is stored any more

	// until is when this process must have stopped sending, Unix nanoseconds.
	until atomic.Int64

	mu    sync.Mutex
	lanes map[string]bool
	// slowly are the subscriptions whose last request failed or took long.
	slowly map[string]bool
	wg     sync.WaitGroup
}

// record is a result that waits to be stored.
type record struct {
	directory.Result
	done chan error
}

func newSender(s *Sink) *sender {
	return &sender{
		Sink: s, client: newClient(s.networks, s.PerEndpoint), lanes: map[string]bool{}, slowly: map[string]bool{}, records: make(chan *record, recordAtOnce), closed: make(chan struct{}),
		quick: make(chan struct{}, s.Concurrency), slow: make(chan struct{}, max(1, s.Concurrency/4)),
	}
}

func (s *sender) ttl() time.Duration { return s.Timeout + leaseSlack }

// run sends until ctx ends, whenever this process is the one that does.
func (s *sender) run(ctx context.Context) error {
	// What is under way when ctx ends is finished and stored, if the database answers.
	storing, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { defer close(s.closed); s.store(storing) }()
	defer func() {
		giveUp := time.AfterFunc(s.Timeout+5*time.Second, stop)
		s.wg.Wait()
		giveUp.Stop()
		stop()
		<-s.closed
		s.client.CloseIdleConnections()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := s.dir.StopSending(last, s.owner); err != nil {
			s.log.Warn("cannot leave sending to another process; it waits", "error", err, "wait", s.ttl())
		}
	}()
	var chores sync.WaitGroup
	defer chores.Wait()
	chores.Go(func() { s.followJournal(ctx) })
	chores.Go(func() { s.keepHouse(ctx) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		err := s.dispatch(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("cannot find what is to be sent, trying again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.queued:
		}
	}
}

// hold makes sure that this process is the one that sends.
func (s *sender) hold(ctx context.Context) (bool, error) {
	now := time.Now()
	if s.sends() && s.until.Load() > now.Add(s.Timeout+leaseSlack/2).UnixNano() {
		return true, nil
	}
	mine, err := s.dir.StartSending(ctx, s.owner, s.ttl())
	if err != nil {
		return s.sends(), err
	}
	before := s.sends()
	if !mine {
		s.until.Store(0)
	} else {
		s.until.Store(now.Add(s.ttl()).UnixNano())
	}
	if mine != before {
		s.log.Info("sending webhooks", "here", mine)
	}
	s.metrics.sending.Set(map[bool]float64{true: 1}[mine])
	return mine, nil
}

// sends tells whether a request that is begun now ends while this process is
// the one that sends.
func (s *sender) sends() bool { return s.until.Load() > time.Now().Add(s.Timeout).UnixNano() }

// dispatch starts a lane for each subscription that something is due for.
func (s *sender) dispatch(ctx context.Context) error {
	mine, err := s.hold(ctx)
	if err != nil || !mine {
		return err
	}
	s.mu.Lock()
	busy := len(s.lanes)
	s.mu.Unlock()
	due, err := s.dir.DueEndpoints(ctx, 1000+busy)
	if err != nil {
		return err
	}
	for _, e := range due {
		s.mu.Lock()
		running := s.lanes[e.Subscription]
		s.lanes[e.Subscription] = true
		s.metrics.lanes.Set(float64(len(s.lanes)))
		s.mu.Unlock()
		if running {
			continue
		}
		s.wg.Go(func() {
			l := &lane{sender: s, id: e.Subscription, inflight: map[int64]bool{}, results: make(chan directory.Result, s.PerEndpoint), window: 1}
			l.run(ctx)
			s.mu.Lock()
			delete(s.lanes, e.Subscription)
			s.metrics.lanes.Set(float64(len(s.lanes)))
			s.mu.Unlock()
		})
	}
	return nil
}

// store writes results, those of many lanes in one transaction: while one is
// written, the next ones gather.
func (s *sender) store(ctx context.Context) {
	for {
		var batch []*record
		select {
		case <-ctx.Done():
			return
		case r := <-s.records:
			batch = append(batch, r)
		}
		for more := true; more && len(batch) < recordAtOnce; {
			select {
			case r := <-s.records:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		results := make([]directory.Result, len(batch))
		for i, r := range batch {
			results[i] = r.Result
		}
		failpoint.Hit("webhook.before-record")
		var lost error
		stored := s.again(ctx, "store what was sent", func() error {
			now := time.Now()
			err := s.dir.FinishAttempts(ctx, s.owner, s.ttl(), results)
			switch {
			case errors.Is(err, directory.ErrNotSending):
				s.until.Store(0)
				lost = err
				return nil
			case err == nil:
				s.until.Store(now.Add(s.ttl()).UnixNano())
			}
			return err
		})
		if !stored {
			lost = ctx.Err()
		}
		failpoint.Hit("webhook.after-record")
		for _, r := range batch {
			r.done <- lost
		}
	}
}

// lane sends to one subscription what is due for it.
type lane struct {
	*sender
	id       string
	endpoint directory.Endpoint
	due      []directory.Delivery
	inflight map[int64]bool
	results  chan directory.Result // sent when stored
	// window is how many requests may be under way: one more with every success,
	// up to per_endpoint, and one after a failure. An endpoint that begins to
	// hang holds no more than it has earned.
	window int
	gone   bool
}

// run returns when nothing is due, or when it must not send any more.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil && l.sends() && !l.gone {
		if len(l.due) == 0 && !l.read(ctx) {
			break
		}
		for len(l.due) > 0 && len(l.inflight) < l.window && l.sends() && ctx.Err() == nil {
			d := l.due[0]
			l.due = l.due[1:]
			l.inflight[d.Seq] = true
			go l.attempt(ctx, l.endpoint, d)
		}
		if len(l.inflight) == 0 {
			break
		}
		l.await()
	}
	for len(l.inflight) > 0 {
		l.await()
	}
	if ctx.Err() == nil {
		l.again(ctx, "note when a subscription is due", func() error { return l.dir.RestEndpoint(ctx, l.id) })
	}
}

// read asks what is due; false where nothing may be sent.
func (l *lane) read(ctx context.Context) bool {
	var gone bool
	ok := l.again(ctx, "read what is due", func() error {
		e, err := l.dir.Endpoint(ctx, l.id, 4*l.window+len(l.inflight))
		if errors.Is(err, directory.ErrNotFound) {
			gone = true
			return nil
		}
		if err == nil {
			l.endpoint = e
		}
		return err
	})
	if !ok || gone || l.endpoint.Held {
		l.gone = true
		return false
	}
	if l.endpoint.Failures >= breakAfter {
		l.window = 1
	}
	l.due = l.due[:0:0]
	for _, d := range l.endpoint.Due {
		if !l.inflight[d.Seq] {
			l.due = append(l.due, d)
		}
	}
	return true
}

// await takes the next result and draws its lessons.
func (l *lane) await() {
	r := <-l.results
	delete(l.inflight, r.Seq)
	if r.Error == "" {
		l.window = min(l.window+1, l.PerEndpoint)
		if r.Recovered {
			l.due = nil // all that waited is due now, the oldest first
		}
		l.endpoint.Failures, l.endpoint.FailingSince = 0, time.Time{}
		return
	}
	l.window = 1
	l.due = nil
	l.endpoint.Failures++
	if l.endpoint.FailingSince.IsZero() {
		l.endpoint.FailingSince = time.UnixMicro(r.AtMicros)
	}
}

// attempt makes one request and stores what came of it.
func (l *lane) attempt(ctx context.Context, e directory.Endpoint, d directory.Delivery) {
	slots := l.budget(e)
	result := directory.Result{Delivery: d}
	defer func() { l.results <- result }()
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		result.Error = "not tried"
		return
	}
	if !l.sends() {
		<-slots
		result.Error = "not tried"
		return
	}
	at := time.Now()
	failpoint.Hit("webhook.before-request")
	// A request that is under way when the program stops may end: timeout bounds it.
	a := request(context.WithoutCancel(ctx), l.client, e.Subscription, d, l.Timeout, at)
	failpoint.Hit("webhook.after-request")
	<-slots
	result = l.judge(e, d, a, at, time.Now())
	l.remember(result)
	if err := l.keep(result); err != nil {
		l.log.Info("what came of a request was not stored; it may be made again", "subscription", l.id, "error", err)
		return
	}
	l.report(ctx, e, result, a)
}

// budget is what a request to the endpoint takes its slot of.
func (l *lane) budget(e directory.Endpoint) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Failures > 0 || l.slowly[l.id] {
		return l.slow
	}
	return l.quick
}

func (l *lane) remember(r directory.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Error != "" || r.TookMS > slowAfter.Milliseconds() {
		l.slowly[l.id] = true
	} else {
		delete(l.slowly, l.id)
	}
}

// keep has a result stored and waits for it.
func (l *lane) keep(result directory.Result) error {
	r := &record{Result: result, done: make(chan error, 1)}
	select {
	case l.records <- r:
	case <-l.closed:
		return context.Canceled
	}
	select {
	case err := <-r.done:
		return err
	case <-l.closed:
		return context.Canceled
	}
}

// judge decides what becomes of a delivery.
func (l *lane) judge(e directory.Endpoint, d directory.Delivery, a answer, at, now time.Time) directory.Result {
	r := directory.Result{
		Delivery: d, Changed: e.Changed, State: directory.DeliveryDelivered,
		Attempt: directory.Attempt{AtMicros: at.UnixMicro(), Status: a.status, TookMS: now.Sub(at).Milliseconds()},
	}
	const day = 24 * time.Hour
	if a.err == nil {
		r.Forget = now.Add(time.Duration(l.Retention.Delivered) * day)
		r.Recovered = e.Failures >= breakAfter
		return r
	}
	r.Error = a.err.Error()
	first := d.FirstTry
	if first.IsZero() {
		first = at
	}
	if now.Sub(first) >= l.GiveUp {
		r.State = directory.DeliveryDead
		r.Forget = now.Add(time.Duration(l.Retention.Dead) * day)
	} else {
		r.State = directory.DeliveryPending
		r.Next = now.Add(max(l.backoffAfter(d.Tries), a.retryAfter))
	}
	since := e.FailingSince
	if since.IsZero() {
		since = at
	}
	if e.Failures+1 >= breakAfter {
		r.Hold = now.Add(jitter(min(max(now.Sub(since)/4, l.backoff[0]), l.Probe)))
	}
	if asked := now.Add(min(a.retryAfter, time.Hour)); a.retryAfter > 0 && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable) && asked.After(r.Hold) {
		r.Hold = asked
	}
	return r
}

// backoffAfter is the time to the next attempt after so many and one more.
func (p plan) backoffAfter(tries int64) time.Duration {
	return jitter(p.backoff[min(tries, int64(len(p.backoff)-1))])
}

// jitter is up to a tenth more or less, so that retries do not come in step.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// report counts and logs, and disables a subscription that is not wanted any more.
func (l *lane) report(ctx context.Context, e directory.Endpoint, r directory.Result, a answer) {
	l.metrics.attempted(a, time.Duration(r.TookMS)*time.Millisecond)
	log := l.log.With("subscription", l.id, "company", e.Company)
	switch {
	case a.err == nil:
		l.metrics.delivered.Inc()
		l.metrics.wait.Observe(time.Since(r.CreatedAt).Seconds())
		if r.Recovered {
			log.Info("a subscriber takes webhooks again", "failures", e.Failures, "since", e.FailingSince)
		}
		return
	case e.Failures+1 == breakAfter:
		log.Warn("a subscriber does not take webhooks; what is for it waits", "error", r.Error)
	default:
		log.Debug("a webhook was not taken", "event", r.EventID, "status", a.status, "error", r.Error)
	}
	if r.State == directory.DeliveryDead {
		l.metrics.dead.Inc()
		log.Warn("a webhook was given up", "event", r.EventID, "type", r.Type, "attempts", r.AttemptCount+1, "error", r.Error)
	}
	reason := ""
	switch {
	case a.status == http.StatusGone:
		reason = "the receiver answered 410 Gone"
	case l.DisableAfter > 0 && !e.FailingSince.IsZero() && time.Since(e.FailingSince) >= l.DisableAfter:
		reason = "it failed for " + l.DisableAfter.String() + " without one success"
	default:
		return
	}
	if l.again(ctx, "disable a subscription", func() error { return l.dir.DisableSubscription(ctx, l.id, reason) }) {
		l.metrics.disabled.Inc()
		log.Warn("a subscription was disabled", "reason", reason)
	}
}
