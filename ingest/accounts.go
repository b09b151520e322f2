package ingest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/telemetry"
)

// accountsEvery is how often the accounts are written.
const accountsEvery = 10 * time.Second

// account is one counter of Accounting.
type account struct{ company, listener, agent, outcome, reason string }

// totals are all counters since the start, those of an unknown company with
// DefaultCompany, to which unmapped telemetry belongs.
func (a *Accounting) totals() map[account]uint64 {
	all := map[account]uint64{}
	for outcome, vec := range map[string]*prometheus.CounterVec{
		"received": a.received, "produced": a.produced, "rejected": a.rejected, "dropped": a.dropped, "kernel_dropped": a.kernelDrops,
	} {
		metrics := make(chan prometheus.Metric)
		go func() {
			vec.Collect(metrics)
			close(metrics)
		}()
		for m := range metrics {
			var d dto.Metric
			if m.Write(&d) != nil {
				continue // a counter that cannot be written does not exist
			}
			key := account{outcome: outcome}
			for _, l := range d.Label {
				switch l.GetName() {
				case "company":
					key.company = l.GetValue()
				case "listener":
					key.listener = l.GetValue()
				case "agent":
					key.agent = l.GetValue()
				case "reason":
					key.reason = l.GetValue()
				}
			}
			key.company = cmp.Or(key.company, DefaultCompany)
			all[key] += uint64(d.Counter.GetValue())
		}
	}
	return all
}

// accounts writes what the counters gained to Kafka, for everybody to see what
// was lost wherever it was lost.
type accounts struct {
	accounting *Accounting
	instance   string

	mu      sync.Mutex
	written map[account]uint64
}

// reports are what the counters gained since the last time, one report per
// company, listener and agent. What is in them counts as written.
func (a *accounts) reports(now time.Time) []*telemetry.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	gained := map[account]*telemetry.Outcome{}
	for key, total := range a.accounting.totals() {
		n := total - a.written[key]
		if n == 0 {
			continue
		}
		a.written[key] = total
		whose := account{company: key.company, listener: key.listener, agent: key.agent}
		o := gained[whose]
		if o == nil {
			us := now.UnixMicro()
			o = &telemetry.Outcome{Company: key.company, Seq: us, AtUs: us, ReceivedUs: us, Body: &telemetry.Outcome_Ingest{
				Ingest: &telemetry.IngestReport{Instance: a.instance, Listener: key.listener, Agent: key.agent}}}
			gained[whose] = o
		}
		r := o.GetIngest()
		r.Counts = append(r.Counts, &telemetry.IngestCount{Outcome: key.outcome, Reason: key.reason, Count: n})
	}
	all := make([]*telemetry.Outcome, 0, len(gained))
	for _, o := range gained {
		slices.SortFunc(o.GetIngest().Counts, func(x, y *telemetry.IngestCount) int {
			return cmp.Or(cmp.Compare(x.Outcome, y.Outcome), cmp.Compare(x.Reason, y.Reason))
		})
		all = append(all, o)
	}
	return all
}

// giveBack makes a report that was not written part of the next one.
func (a *accounts) giveBack(o *telemetry.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := o.GetIngest()
	for _, c := range r.Counts {
		a.written[account{o.Company, r.Listener, r.Agent, c.Outcome, c.Reason}] -= c.Count
	}
}

// runAccounts writes the accounts until ctx ends; finish writes the rest.
func (in *Ingester) runAccounts(ctx context.Context) {
	ticker := time.NewTicker(accountsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			in.writeAccounts()
		}
	}
}

func (in *Ingester) writeAccounts() {
	for _, o := range in.accounts.reports(in.now()) {
		in.producer.report(o, func(err error) {
			if err != nil {
				in.accounts.giveBack(o)
			}
		})
	}
}

// report writes an outcome that no processor makes.
func (p *Producer) report(o *telemetry.Outcome, done func(error)) {
	value, err := o.MarshalVT()
	if err != nil {
		done(err)
		return
	}
	r := o.GetIngest()
	p.client.TryProduce(context.Background(), &kgo.Record{Topic: telemetry.TopicOutcomes, Key: telemetry.Key(o.Company, r.Listener+" "+r.Agent), Value: value},
		func(_ *kgo.Record, err error) { done(err) })
}
