package ingest

import "github.com/prometheus/client_golang/prometheus"

// linkMetrics counts the legs of live calls that were recognised, and those that
// were not for a reason.
func (in *Ingester) linkMetrics(reg prometheus.Registerer) {
	counter := func(name, help, label, value string, count func(CorrelatorStats) uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "ingest", Name: name, Help: help,
			ConstLabels: prometheus.Labels{label: value}}, func() float64 {
			in.live.mu.Lock()
			defer in.live.mu.Unlock()
			return float64(count(in.live.correlator.Stats()))
		}))
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "earshot", Subsystem: "ingest", Name: "waiting_oldest_seconds",
		Help: "How long the oldest RTCP has waited for the SDP of its call."}, func() float64 {
		in.live.mu.Lock()
		defer in.live.mu.Unlock()
		oldest := in.live.correlator.Stats().OldestUs
		if oldest == 0 {
			return 0
		}
		return float64(max(in.now().UnixMicro()-oldest, 0)) / 1e6
	}))
	for i, by := range linkReasons {
		counter("links_total", "Legs that were made part of the call of another leg.", "by", by, func(s CorrelatorStats) uint64 { return s.Linked[i] })
	}
	const unlinked, help = "links_missed_total", "Legs that stayed calls of their own although they belong to another or may: both had records (late), several calls fit a guess (ambiguous), the call has too many legs (too_many_legs)."
	counter(unlinked, help, "reason", "late", func(s CorrelatorStats) uint64 { return s.LateLinks })
	counter(unlinked, help, "reason", "ambiguous", func(s CorrelatorStats) uint64 { return s.Ambiguous })
	counter(unlinked, help, "reason", "too_many_legs", func(s CorrelatorStats) uint64 { return s.LinksRefused })
}
