package webhook

import (
	"context"
	"time"

	"github.com/earshot/earshot/directory"
)

// clockSlack is how far the clocks of two machines may be apart: who subscribed
// is told of what was received that little before.
const clockSlack = 5 * time.Second

// matcher knows who is to be told of what. It is read anew when the directory
// has changed, so that who has subscribed is told of all that happens then.
type matcher struct {
	dir       *directory.Directory
	version   int64
	byCompany map[string][]wish
}

type wish struct {
	directory.Subscription
	// members of the department or contact center: an event's parties carry one
	// of these each, and a user may be in several.
	members map[string]bool
}

// refresh makes the matcher as new as the directory.
func (m *matcher) refresh(ctx context.Context) error {
	version, err := m.dir.Version(ctx)
	if err != nil || (m.byCompany != nil && version == m.version) {
		return err
	}
	subscriptions, err := m.dir.EnabledSubscriptions(ctx)
	if err != nil {
		return err
	}
	byCompany := map[string][]wish{}
	for _, s := range subscriptions {
		w := wish{Subscription: s}
		if s.Target.Kind == directory.KindDepartment || s.Target.Kind == directory.KindContactCenter {
			if w.members, err = m.dir.Members(ctx, s.Company, s.Target); err != nil {
				return err
			}
		}
		byCompany[s.Company] = append(byCompany[s.Company], w)
	}
	m.version, m.byCompany = version, byCompany
	return nil
}

func (w wish) covers(e *event) bool {
	if !w.Wants(e.kind) || !e.known.IsZero() && e.known.Before(w.CreatedAt.Add(-clockSlack)) {
		return false
	}
	if w.Target.Covers(e.subject) {
		return true
	}
	for _, user := range e.subject.Users {
		if w.members[user] {
			return true
		}
	}
	return false
}

// deliveries are what is to be delivered of events, in their order.
func (m *matcher) deliveries(events []*event) []directory.Delivery {
	var out []directory.Delivery
	for _, e := range events {
		for _, w := range m.byCompany[e.company] {
			if w.covers(e) {
				out = append(out, directory.Delivery{Subscription: w.ID, EventID: e.id, Type: e.kind, Call: e.call, Body: e.body})
			}
		}
	}
	return out
}
