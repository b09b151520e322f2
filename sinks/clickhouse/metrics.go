package clickhouse

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	rows          *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	commitRetries prometheus.Counter
	lag           *prometheus.GaugeVec
	stalled       *prometheus.GaugeVec
	buffered      prometheus.Gauge
	again         prometheus.Counter
	dead          *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "earshot", "sink_clickhouse"
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "rows_total",
			Help: "Rows that ClickHouse acknowledged, by table; a range that was inserted again counts again.",
		}, []string{"table"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "insert_seconds",
			Help:    "Time of one insert.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}, []string{"table"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "insert_retries_total",
			Help: "Inserts that failed and were tried again with the same token.",
		}, []string{"table"}),
		commitRetries: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "commit_retries_total",
			Help: "Offset commits that failed and were tried again.",
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "lag_records",
			Help: "Records of the outcomes topic that are not yet stored.",
		}, []string{"partition"}),
		stalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "stalled",
			Help: "1 while inserts of the partition fail.",
		}, []string{"partition"}),
		buffered: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "pending_bytes",
			Help: "Bytes of outcomes in memory that are not yet stored.",
		}),
		again: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "ranges_again_total",
			Help: "Ranges that another owner had begun and that were inserted again.",
		}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "dead_letters_total",
			Help: "Outcomes that could not become rows, by reason.",
		}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.seconds, m.retries, m.commitRetries, m.lag, m.stalled, m.buffered, m.again, m.dead} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register metrics of the ClickHouse sink: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) inserted(table string, rows int, took time.Duration) {
	m.rows.WithLabelValues(table).Add(float64(rows))
	m.seconds.WithLabelValues(table).Observe(took.Seconds())
}

func (m *metrics) stored(partition int32, lag int64) {
	m.lag.WithLabelValues(partitionLabel(partition)).Set(float64(max(lag, 0)))
}

// forget drops what is said about a partition that another member owns now.
func (m *metrics) forget(partition int32) {
	m.lag.DeleteLabelValues(partitionLabel(partition))
	m.stalled.DeleteLabelValues(partitionLabel(partition))
}

func partitionLabel(p int32) string { return strconv.Itoa(int(p)) }
