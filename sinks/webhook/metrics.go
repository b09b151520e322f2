package webhook

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events    prometheus.Counter
	queued    prometheus.Counter
	poison    prometheus.Counter
	attempts  *prometheus.CounterVec
	delivered prometheus.Counter
	failed    prometheus.Counter
	dead      prometheus.Counter
	disabled  prometheus.Counter
	seconds   prometheus.Histogram
	wait      prometheus.Histogram
	pending   prometheus.Gauge
	oldest    prometheus.Gauge
	sending   prometheus.Gauge
	lanes     prometheus.Gauge
	lag       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "earshot", "webhook"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	m := &metrics{
		events:    counter("events_total", "Events that were held against the subscriptions."),
		queued:    counter("queued_total", "Deliveries that were stored to be sent."),
		poison:    counter("unreadable_total", "Outcomes that could not be read and were left out."),
		delivered: counter("delivered_total", "Deliveries that were answered with 2xx."),
		failed:    counter("failed_attempts_total", "Attempts that failed."),
		dead:      counter("dead_total", "Deliveries that were given up."),
		disabled:  counter("disabled_total", "Subscriptions that were disabled because of how they answered, or of how much was pending."),
		pending:   gauge("pending", "Deliveries that are to be sent, of all subscriptions that are enabled; by the process that sends."),
		oldest:    gauge("oldest_pending_seconds", "Age of the oldest of them; 0: there is none."),
		sending:   gauge("sending", "1 in the process that sends."),
		lanes:     gauge("active_subscriptions", "Subscriptions that are being sent to."),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "attempts_total", Help: "Attempts, by answer: 2xx, 3xx, 4xx, 5xx or none.",
		}, []string{"answer"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "attempt_seconds", Help: "Time of one request.", Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30},
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "delivery_seconds", Help: "Time from storing a delivery to its 2xx.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "lag_records", Help: "Records of the outcomes topic that were not yet looked at.",
		}, []string{"partition"}),
	}
	for _, c := range []prometheus.Collector{m.events, m.queued, m.poison, m.attempts, m.delivered, m.failed, m.dead, m.disabled, m.seconds, m.wait, m.pending, m.oldest, m.sending, m.lanes, m.lag} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register metrics of the webhooks: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) attempted(a answer, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	label := "none"
	if a.status > 0 {
		label = fmt.Sprintf("%dxx", a.status/100)
	}
	m.attempts.WithLabelValues(label).Inc()
	if a.err != nil {
		m.failed.Inc()
	}
}

func (m *metrics) backlog(pending int64, oldest, now time.Time) {
	m.pending.Set(float64(pending))
	if oldest.IsZero() {
		m.oldest.Set(0)
		return
	}
	m.oldest.Set(max(0, now.Sub(oldest).Seconds()))
}
