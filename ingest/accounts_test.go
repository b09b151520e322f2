package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/telemetry"
)

// Reports hold what was gained since the one before, and what could not be
// written is in the next one: over all of them the counters add up.
func TestReportsAddUpToTheCounters(t *testing.T) {
	a := NewAccounting(prometheus.NewRegistry())
	reports := &accounts{accounting: a, instance: "i", written: map[account]uint64{}}
	sum := map[string]uint64{}
	add := func(o *telemetry.Outcome) {
		r := o.GetIngest()
		for _, c := range r.Counts {
			require.Positive(t, c.Count)
			sum[o.Company+" "+r.Listener+" "+r.Agent+" "+c.Outcome+" "+c.Reason] += c.Count
		}
	}
	edge := a.Tally(ListenerHEPUDP, "edge", "acme")
	for i := range 10 {
		edge.Received()
		if i%3 == 0 {
			edge.Rejected("rtcp_json")
			continue
		}
		edge.Produced()
		a.Tally(ListenerHEPTCP, "", "").Received()
		a.Tally(ListenerHEPTCP, "", "").Dropped("buffer_full")
		a.kernelDrops.WithLabelValues(ListenerHEPUDP).Add(2)
		for k, o := range reports.reports(time.UnixMicro(int64(i + 1))) {
			require.Equal(t, int64(i+1), o.AtUs)
			require.Equal(t, "i", o.GetIngest().Instance)
			if (i+k)%2 == 0 {
				reports.giveBack(o) // Kafka was away
				continue
			}
			add(o)
		}
	}
	for _, o := range reports.reports(time.UnixMicro(100)) {
		add(o)
	}
	require.Empty(t, reports.reports(time.UnixMicro(101)))
	require.Equal(t, map[string]uint64{
		"acme hep_udp edge received ": 10, "acme hep_udp edge produced ": 6, "acme hep_udp edge rejected rtcp_json": 4,
		"default hep_tcp  received ": 6, "default hep_tcp  dropped buffer_full": 6, "default hep_udp  kernel_dropped ": 12,
	}, sum)
}

func TestReportIsAnOutcome(t *testing.T) {
	r := newRig(t)
	written := make(chan error, 1)
	r.producer.report(&telemetry.Outcome{Company: "acme", AtUs: 1, Body: &telemetry.Outcome_Ingest{Ingest: &telemetry.IngestReport{Listener: "hep_udp"}}}, func(err error) { written <- err })
	select {
	case err := <-written:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal(errors.New("Kafka did not acknowledge"))
	}
}
