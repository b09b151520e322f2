package query

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// IngestWindow is how far back the accounts of ingesters go where no time is named.
const IngestWindow = time.Hour

// IngestAccount is what ingesters received from one agent on one listener, and
// what became of it:
//
//	received = produced + rejected + dropped + what was in flight at either end
type IngestAccount struct {
	Listener      string         `json:"listener"` // hep_udp, sip_tcp, http_webrtc, …
	Agent         string         `json:"agent"`    // empty: not known, as of what is no HEP at all
	Received      uint64         `json:"received"`
	Produced      uint64         `json:"produced"` // that Kafka acknowledged
	Rejected      uint64         `json:"rejected"` // that could not be used
	Dropped       uint64         `json:"dropped"`  // that could not be kept
	KernelDropped uint64         `json:"kernel_dropped"`
	Reasons       []IngestReason `json:"reasons"`
	LastAt        Time           `json:"last_at"`
}

// IngestReason is why some were rejected or dropped.
type IngestReason struct {
	Outcome string `json:"outcome"` // rejected, dropped
	Reason  string `json:"reason"`
	Count   uint64 `json:"count"`
}

// Lost is what was sent and is not here: dropped by the ingester or by the kernel.
func (a *IngestAccount) Lost() uint64 { return a.Dropped + a.KernelDropped }

// Ingest sums the accounts of the company's agents, the losses first. The list
// is never long: ingesters count some hundred agents by name and the rest as one.
func (c Company) Ingest(ctx context.Context, from, to Time) ([]IngestAccount, error) {
	if from.IsZero() {
		from = Time{c.store.now().Add(-IngestWindow)}
	}
	s := c.from("ingest_counts", newParams()).newest().
		get("listener, agent, outcome, reason, sum(count), toUnixTimestamp64Micro(max(at))").
		with("GROUP BY listener, agent, outcome, reason ORDER BY listener, agent, sum(count) DESC, reason")
	timeRange(s, "at", from, to)
	out := []IngestAccount{}
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		var listener, agent, outcome, reason string
		var count uint64
		var at int64
		if err := scan(&listener, &agent, &outcome, &reason, &count, &at); err != nil {
			return err
		}
		if n := len(out); n == 0 || out[n-1].Listener != listener || out[n-1].Agent != agent {
			out = append(out, IngestAccount{Listener: listener, Agent: agent, Reasons: []IngestReason{}})
		}
		a := &out[len(out)-1]
		if seen := micros(at); seen.After(a.LastAt.Time) {
			a.LastAt = seen
		}
		switch outcome {
		case "received":
			a.Received += count
		case "produced":
			a.Produced += count
		case "kernel_dropped":
			a.KernelDropped += count
		case "rejected":
			a.Rejected += count
			a.Reasons = append(a.Reasons, IngestReason{outcome, reason, count})
		case "dropped":
			a.Dropped += count
			a.Reasons = append(a.Reasons, IngestReason{outcome, reason, count})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b IngestAccount) int {
		return cmp.Or(cmp.Compare(b.Lost(), a.Lost()), cmp.Compare(b.Rejected, a.Rejected))
	})
	return out, err
}
