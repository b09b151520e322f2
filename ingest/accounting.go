package ingest

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Listeners, as they are called in metrics.
const (
	ListenerHEPUDP  = "hep_udp"
	ListenerHEPTCP  = "hep_tcp"
	ListenerRTCP    = "rtcp_udp"
	ListenerEvents  = "http_events"
	ListenerWebRTC  = "http_webrtc"
	ListenerCapture = "capture"
)

// otherAgents stands for agents of a listener beyond its first maxAgents, so
// that the number of time series stays bounded whatever calls itself an agent,
// and none on one listener takes the place of those on another.
const (
	otherAgents = "other"
	maxAgents   = 200
)

// Accounting counts every observation from reception to its end:
//
//	received = produced + rejected{reason} + dropped{reason} + in flight
//
// Rejected is what Earshot could not use, dropped what it could not keep, in
// flight what waits for its SDP or for Kafka.
type Accounting struct {
	received, produced, rejected, dropped *prometheus.CounterVec
	kernelDrops, senderDrops, repairs     *prometheus.CounterVec

	mu     sync.RWMutex
	tallys map[tallyKey]*Tally
	agents map[string]int // by listener
}

type tallyKey struct{ listener, agent, company string }

// NewAccounting registers the counters.
func NewAccounting(reg prometheus.Registerer) *Accounting {
	labels := []string{"listener", "agent", "company"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "earshot", Subsystem: "ingest", Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	return &Accounting{
		received:    counter("received_total", "Observations received.", labels...),
		produced:    counter("produced_total", "Observations that Kafka acknowledged.", labels...),
		rejected:    counter("rejected_total", "Observations that could not be used, by reason.", append(labels, "reason")...),
		dropped:     counter("dropped_total", "Observations that could not be kept, by reason.", append(labels, "reason")...),
		kernelDrops: counter("kernel_dropped_total", "Datagrams that the kernel dropped before they were received.", "listener"),
		senderDrops: counter("sender_dropped_total", "Samples that browsers gave up because they could not be sent, as the SDK reports.", "company"),
		repairs:     counter("webrtc_repaired_total", "What was set right or left out in getStats samples that were taken: text that is no UTF-8, numbers that are none, streams that come twice.", "what"),
		tallys:      map[tallyKey]*Tally{},
		agents:      map[string]int{},
	}
}

// Tally counts the observations of one agent on one listener.
type Tally struct {
	received, produced prometheus.Counter
	rejected, dropped  *prometheus.CounterVec

	mu      sync.Mutex
	reasons map[string]prometheus.Counter
}

// Tally gives the counters of an agent; they may be kept.
func (a *Accounting) Tally(listener, agent, company string) *Tally {
	key := tallyKey{listener, agent, company}
	a.mu.RLock()
	t := a.tallys[key]
	a.mu.RUnlock()
	if t != nil {
		return t
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tallys[key]; t != nil {
		return t
	}
	switch {
	case agent == "":
	case a.agents[listener] < maxAgents:
		a.agents[listener]++
	default:
		key.agent = otherAgents
		if t := a.tallys[key]; t != nil {
			return t
		}
	}
	labels := prometheus.Labels{"listener": key.listener, "agent": key.agent, "company": key.company}
	t = &Tally{
		received: a.received.With(labels), produced: a.produced.With(labels),
		rejected: a.rejected.MustCurryWith(labels), dropped: a.dropped.MustCurryWith(labels),
		reasons: map[string]prometheus.Counter{},
	}
	a.tallys[key] = t
	return t
}

// SenderDropped counts samples that were given up before they were sent.
func (a *Accounting) SenderDropped(company string, n uint64) {
	a.senderDrops.WithLabelValues(company).Add(float64(n))
}

// repaired counts what was set right or left out in samples that were taken.
func (a *Accounting) repaired(what string, n int) {
	if n > 0 {
		a.repairs.WithLabelValues(what).Add(float64(n))
	}
}

// Received counts one observation.
func (t *Tally) Received() { t.received.Inc() }

// Produced counts one that Kafka acknowledged.
func (t *Tally) Produced() { t.produced.Inc() }

// Rejected counts one that could not be used.
func (t *Tally) Rejected(reason string) { t.reason(t.rejected, "r", reason).Inc() }

// Dropped counts one that could not be kept.
func (t *Tally) Dropped(reason string) { t.droppedMany(reason, 1) }

func (t *Tally) droppedMany(reason string, n int) {
	t.reason(t.dropped, "d", reason).Add(float64(n))
}

func (t *Tally) reason(vec *prometheus.CounterVec, prefix, reason string) prometheus.Counter {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.reasons[prefix+reason]
	if c == nil {
		c = vec.WithLabelValues(reason)
		t.reasons[prefix+reason] = c
	}
	return c
}
