package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/earshot/earshot/directory"
)

// journalSource is the name of the directory's journal among the sources of events.
const journalSource = "journal"

// followJournal turns deleted devices into deliveries. The process that sends
// does it; that two do for a moment is harmless, for one of them comes too late.
func (s *sender) followJournal(ctx context.Context) {
	match := matcher{dir: s.dir}
	stored, read := int64(-2), int64(0) // -2: not asked yet
	noted := time.Now()
	failing := false
	for sleep(ctx, journalEvery) {
		if !s.sends() {
			stored = -2
			continue
		}
		err := func() error {
			if stored == -2 {
				at, err := s.dir.Positions(ctx, journalSource)
				if err != nil {
					return err
				}
				stored, read = -1, 0
				if n, known := at[0]; known {
					stored, read = n, n
				}
			}
			deletions, next, err := s.dir.JournaledDeletions(ctx, read)
			if err != nil {
				return err
			}
			deliveries, err := s.tellOf(ctx, &match, deletions)
			if err != nil {
				return err
			}
			if read = next; read == stored || (len(deliveries) == 0 && time.Since(noted) < noteEvery) {
				return nil
			}
			n, err := s.dir.QueueDeliveries(ctx, []directory.Move{{Source: journalSource, From: stored, To: read}}, deliveries)
			if err != nil {
				return err
			}
			stored, noted = read, time.Now()
			if n > 0 {
				s.metrics.queued.Add(float64(n))
				s.wake()
			}
			return nil
		}()
		if err != nil {
			stored = -2 // ask again where to go on
			if !failing && ctx.Err() == nil && !errors.Is(err, directory.ErrPositionMoved) {
				s.log.Warn("cannot follow the journal, trying again", "error", err)
			}
		}
		failing = err != nil
	}
}

func (s *sender) tellOf(ctx context.Context, match *matcher, deletions []directory.JournaledDeletion) ([]directory.Delivery, error) {
	if len(deletions) == 0 {
		return nil, nil
	}
	if err := match.refresh(ctx); err != nil {
		return nil, err
	}
	var events []*event
	for _, d := range deletions {
		if len(match.byCompany[d.Company]) == 0 {
			continue
		}
		subject, err := s.dir.UserSubject(ctx, d.Company, d.User)
		if err != nil {
			return nil, err
		}
		e, err := deletionEvent(d, subject)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	s.metrics.events.Add(float64(len(events)))
	return match.deliveries(events), nil
}

// keepHouse measures the backlog and removes what is old.
func (s *sender) keepHouse(ctx context.Context) {
	var swept time.Time
	for failing := false; sleep(ctx, statsEvery); {
		if !s.sends() {
			continue
		}
		pending, oldest, err := s.dir.Backlog(ctx)
		if err == nil {
			s.metrics.backlog(pending, oldest, time.Now())
		}
		if err == nil && time.Since(swept) >= forgetEvery {
			if err = s.sweep(ctx); err == nil {
				swept = time.Now()
			}
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("cannot look after deliveries, trying again", "error", err)
		}
		failing = err != nil
	}
}

// boundsEvery is how much later at most a subscription ends that has too much pending.
const boundsEvery = time.Second

// keepBounds disables the subscriptions that deliveries gather for beyond what is
// allowed. Each process does so for what it has taken itself. Nothing that was
// taken is thrown away: whoever is told how to go on finds all of it.
func (s *Sink) keepBounds(ctx context.Context) {
	bounds := directory.PendingBounds{Subscription: s.MaxPending, Company: s.MaxPendingCompany}
	for sleep(ctx, boundsEvery) {
		if !s.grown.Swap(false) {
			continue
		}
		s.again(ctx, "disable subscriptions with too much pending", func() error {
			disabled, err := s.dir.DisableOverfull(ctx, bounds)
			for _, d := range disabled {
				s.metrics.disabled.Inc()
				s.log.Warn("a subscription was disabled", "subscription", d.ID, "company", d.Company, "reason", d.DisabledReason)
			}
			return err
		})
	}
}

// sweep works in small steps: each holds the database's lock for moments only.
func (s *sender) sweep(ctx context.Context) error {
	for {
		n, err := s.dir.ForgetDeliveries(ctx, forgetAtOnce)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	const day = 24 * time.Hour
	keep := time.Duration(s.Retention.Dead) * day
	for {
		now := time.Now()
		n, err := s.dir.AbandonDeliveries(ctx, now.Add(-keep), now.Add(keep), forgetAtOnce)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		s.metrics.dead.Add(float64(n))
	}
}
