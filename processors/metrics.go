package processors

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are counted when a transaction is committed, so that an aborted one
// does not count twice.
type metrics struct {
	records      *prometheus.CounterVec
	outcomes     *prometheus.CounterVec
	dropped      *prometheus.CounterVec
	deadLetters  *prometheus.CounterVec
	lag          *prometheus.GaugeVec
	stateEntries *prometheus.GaugeVec
	timelines    *prometheus.GaugeVec

	transactions       *prometheus.CounterVec
	transactionSeconds prometheus.Histogram
	restarts           prometheus.Counter
	fetchErrors        prometheus.Counter

	checkpointBytes    prometheus.Histogram
	checkpointSeconds  prometheus.Histogram
	checkpointFailures prometheus.Counter
	restores           *prometheus.CounterVec
	restoreSeconds     prometheus.Histogram
	replayed           *prometheus.CounterVec
	truncated          *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "earshot", Subsystem: "processors", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter { return f.NewCounter(opts(name, help)) }
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(opts(name, help), labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "processors", Name: name, Help: help}, []string{"topic", "partition"})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Namespace: "earshot", Subsystem: "processors", Name: name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 16)
	return &metrics{
		records:      vec("records_total", "Input records whose effects are committed.", "topic"),
		outcomes:     vec("outcomes_total", "Outcomes committed.", "topic", "body"),
		dropped:      vec("dropped_total", "Input records that are known already and change nothing.", "topic", "reason"),
		deadLetters:  vec("dead_letters_total", "Records sent to the dead letters.", "topic", "reason"),
		lag:          gauge("lag_records", "Input records not yet processed."),
		stateEntries: gauge("open_states", "Entries of state in the last checkpoint: open calls, accounts, timelines."),
		timelines:    gauge("timelines", "Timelines of captures remembered, ended ones included."),

		transactions:       vec("transactions_total", "Transactions by result.", "result"),
		transactionSeconds: histogram("transaction_seconds", "Time to write and commit a transaction.", seconds),
		restarts:           counter("session_restarts_total", "Sessions lost and begun again."),
		fetchErrors:        counter("fetch_errors_total", "Failed reads of the input."),

		checkpointBytes:    histogram("checkpoint_bytes", "Bytes of the checkpoints of one transaction.", prometheus.ExponentialBuckets(1024, 4, 10)),
		checkpointSeconds:  histogram("checkpoint_seconds", "Time to encode and write the checkpoints of one transaction.", seconds),
		checkpointFailures: counter("checkpoint_failures_total", "Checkpoints a state machine could not make."),
		restores:           vec("restores_total", "Partitions recovered, by what was found.", "topic", "result"),
		restoreSeconds:     histogram("restore_seconds", "Time to recover one partition.", seconds),
		replayed:           vec("replayed_records_total", "Input records replayed without output to recover.", "topic"),
		truncated:          vec("truncated_total", "Times input was gone before it was needed.", "topic"),
	}
}

// committed counts the batches of a committed transaction.
func (m *metrics) committed(batches []*batch) {
	for _, b := range batches {
		topic, number := b.key.topic, strconv.Itoa(int(b.key.partition))
		m.records.WithLabelValues(topic).Add(float64(b.out.applied))
		for body, n := range b.out.outcomes {
			m.outcomes.WithLabelValues(topic, body).Add(float64(n))
		}
		for reason, n := range b.out.dropped {
			m.dropped.WithLabelValues(topic, reason).Add(float64(n))
		}
		for reason, n := range b.out.dead {
			m.deadLetters.WithLabelValues(topic, reason).Add(float64(n))
		}
		m.lag.WithLabelValues(topic, number).Set(float64(max(0, b.high-b.part.next)))
		m.stateEntries.WithLabelValues(topic, number).Set(float64(len(b.part.saved.entries)))
		m.timelines.WithLabelValues(topic, number).Set(float64(len(b.part.times.own)))
	}
}

// forget ends the series of a partition that went to another process.
func (m *metrics) forget(key topicPartition) {
	labels := prometheus.Labels{"topic": key.topic, "partition": strconv.Itoa(int(key.partition))}
	for _, g := range []*prometheus.GaugeVec{m.lag, m.stateEntries, m.timelines} {
		g.Delete(labels)
	}
}
