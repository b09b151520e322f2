package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// RecordedCall is what is known of a call whose recording is in question.
type RecordedCall struct {
	User string // whose call it is; empty: no user's
	// The places that the call was stamped with when it came in: what counts
	// where there is no user.
	Memberships Memberships
	Began       time.Time
	Ended       time.Time // zero: it runs
}

// CallRecording answers whether a call was to be recorded.
type CallRecording struct {
	State RecordingState // when the call began
	// Since are the changes after that which concern the user, the oldest first;
	// not more than MaxLimit.
	Since    []RecordingChange
	Sentence string
}

// RecordingOfCall answers why a call was or was not recorded: by what was set
// when it began, and by what has changed since.
func (d *Directory) RecordingOfCall(ctx context.Context, company string, call RecordedCall) (CallRecording, error) {
	name, in, levels, err := d.concerned(ctx, company, call)
	if err != nil {
		return CallRecording{}, err
	}
	var out CallRecording
	last, err := lastSettings(ctx, d.db, company, call.Began, levels...)
	if err != nil {
		return CallRecording{}, err
	}
	out.State = recordingBy(last, levels, call.Began)
	out.State.Memberships = in
	c := &conditions{}
	c.and("company = ?", company)
	c.anyOf(levels)
	c.and("at_us > ?", micros(call.Began))
	if out.Since, err = recordingChanges(ctx, d.db, c, fmt.Sprintf("ORDER BY at_us, id LIMIT %d", MaxLimit)); err != nil {
		return CallRecording{}, err
	}
	out.Sentence = recordingSentence(name, call, out.State, firstTurn(last, levels, out), last)
	return out, nil
}

// concerned tells whose settings count for a call, in the order in which they do.
func (d *Directory) concerned(ctx context.Context, company string, call RecordedCall) (name string, in Memberships, levels []RecordingLevel, err error) {
	u, err := d.User(ctx, company, call.User)
	if errors.Is(err, ErrNotFound) {
		// No user's, or that of a user whom the directory does not know.
		return "", call.Memberships, call.Memberships.levels(), nil
	}
	if err != nil {
		return "", in, nil, err
	}
	if in, err = d.MembershipsAt(ctx, company, u.ID, call.Began); err != nil {
		return "", in, nil, err
	}
	return u.Name, in, append([]RecordingLevel{{KindUser, u.ID}}, in.levels()...), nil
}

// firstTurn is the first change since the call began that made what holds another.
// Last are the settings when it began.
func firstTurn(last map[RecordingLevel]RecordingChange, levels []RecordingLevel, c CallRecording) *RecordingChange {
	last = maps.Clone(last)
	var turned *RecordingChange
	for i, change := range c.Since {
		last[change.RecordingLevel] = change
		switch {
		case recordingBy(last, levels, change.At).Effective == c.State.Effective:
			turned = nil
		case turned == nil:
			turned = &c.Since[i]
		}
		// Of what was set at once the last holds.
		if turned != nil && (i+1 == len(c.Since) || !c.Since[i+1].At.Equal(change.At)) {
			return turned
		}
	}
	return nil
}

func recordingSentence(name string, call RecordedCall, s RecordingState, turned *RecordingChange, last map[RecordingLevel]RecordingChange) string {
	var b strings.Builder
	whom := "for " + name
	if name == "" {
		whom = "for the number of the call"
	}
	fmt.Fprintf(&b, "Recording was %s %s when the call began at %s: ", onOff(true, s.Effective), whom, moment(call.Began))
	if s.By != nil {
		fmt.Fprintf(&b, "%s turned it %s for %s on %s (%q)", s.By.By.Name, onOff(true, s.Effective), s.By.called(), moment(s.By.At), s.By.Reason)
	} else {
		b.WriteString("nothing was set for any of user, contact center, department, office and company, and without a setting nothing is recorded")
		if c := lastTakenBack(last); c != nil {
			fmt.Fprintf(&b, "; %s had taken the setting of %s back on %s (%q)", c.By.Name, c.called(), moment(c.At), c.Reason)
		}
	}
	switch {
	case turned == nil && s.Effective:
		b.WriteString("; if the call was not recorded, the settings are not why")
	case turned == nil:
		b.WriteString("; it has not been turned on since")
	default:
		when := "after the call"
		if call.Ended.IsZero() || turned.At.Before(call.Ended) {
			when = "during the call"
		}
		did := "taken back"
		if turned.New != nil {
			did = "turned " + onOff(true, *turned.New)
		}
		fmt.Fprintf(&b, "; it was %s for %s by %s on %s, %s", did, turned.called(), turned.By.Name, moment(turned.At), when)
	}
	b.WriteByte('.')
	return b.String()
}

// lastTakenBack is the newest of the settings that were taken back.
func lastTakenBack(last map[RecordingLevel]RecordingChange) *RecordingChange {
	var found []RecordingChange
	for _, c := range last {
		if c.New == nil {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	c := slices.MaxFunc(found, func(a, b RecordingChange) int { return int(a.ID - b.ID) })
	return &c
}

// called is how a level is spoken of.
func (c RecordingChange) called() string {
	switch c.Level {
	case KindCompany:
		return "the company"
	case KindUser:
		return c.Name
	}
	return "the " + strings.ReplaceAll(c.Level, "_", " ") + " " + c.Name
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
