package registrar

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	authentications, answers, keepAlives, refused, unsent *prometheus.CounterVec
	connections                                           *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, r *Registrar) metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "earshot", Subsystem: "registrar", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
		reg.MustRegister(c)
		return c
	}
	m := metrics{
		authentications: counter("authentications_total", "What became of requests that had to authenticate.", "result"),
		answers:         counter("answers_total", "Requests answered.", "method", "status"),
		keepAlives:      counter("keepalives_total", "Keep-alives received.", "kind"),
		refused:         counter("refused_connections_total", "Connections refused: too many, or no TLS or WebSocket was agreed on.", "transport"),
		unsent:          counter("unsent_total", "Answers that could not be sent.", "transport"),
		connections:     prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("connections", "Open connections.")), []string{"transport"}),
	}
	reg.MustRegister(m.connections, prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("bindings", "Bindings that are kept.")), func() float64 { return float64(r.Registered()) }))
	return m
}
