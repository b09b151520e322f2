package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/telemetry"
)

func ingestOutcome(company, agent string, ago time.Duration, counts ...*telemetry.IngestCount) *telemetry.Outcome {
	return &telemetry.Outcome{Company: company, AtUs: us(ago), Seq: us(ago), Body: &telemetry.Outcome_Ingest{
		Ingest: &telemetry.IngestReport{Instance: "one", Listener: "hep_udp", Agent: agent, Counts: counts}}}
}

func TestAccountsOfIngestersAddUp(t *testing.T) {
	ctx := context.Background()
	count := func(outcome, reason string, n uint64) *telemetry.IngestCount {
		return &telemetry.IngestCount{Outcome: outcome, Reason: reason, Count: n}
	}
	again := ingestOutcome("acme", "edge", 20*time.Minute, count("received", "", 5), count("produced", "", 5))
	store := stored(t, []*telemetry.Outcome{
		ingestOutcome("acme", "edge", 10*time.Minute, count("received", "", 10), count("produced", "", 6), count("rejected", "rtcp_json", 3), count("dropped", "buffer_full", 1)),
		again, again,
		ingestOutcome("acme", "edge", 2*time.Hour, count("received", "", 100)),
		ingestOutcome("acme", "", 5*time.Minute, count("received", "", 2), count("rejected", "hep_not_hep", 2), count("kernel_dropped", "", 40)),
		ingestOutcome("other", "theirs", 5*time.Minute, count("received", "", 7)),
	})
	got, err := store.Company("acme").Ingest(ctx, query.Time{}, query.Time{})
	require.NoError(t, err)
	require.Equal(t, []query.IngestAccount{
		{Listener: "hep_udp", Received: 2, Rejected: 2, KernelDropped: 40, Reasons: []query.IngestReason{{Outcome: "rejected", Reason: "hep_not_hep", Count: 2}},
			LastAt: query.Time{Time: time.UnixMicro(us(5 * time.Minute)).UTC()}},
		{Listener: "hep_udp", Agent: "edge", Received: 15, Produced: 11, Rejected: 3, Dropped: 1,
			Reasons: []query.IngestReason{{Outcome: "rejected", Reason: "rtcp_json", Count: 3}, {Outcome: "dropped", Reason: "buffer_full", Count: 1}},
			LastAt:  query.Time{Time: time.UnixMicro(us(10 * time.Minute)).UTC()}},
	}, got, "the same report twice counts once, another company's and older ones not at all")

	day, err := store.Company("acme").Ingest(ctx, query.Time{Time: now.Add(-24 * time.Hour)}, query.Time{Time: now})
	require.NoError(t, err)
	require.EqualValues(t, 115, day[1].Received)
}
