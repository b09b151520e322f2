package kafkatest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/telemetry"
)

func TestTopicsAndRecordsSurviveAKill(t *testing.T) {
	broker := Start(t)
	ctx := context.Background()
	cfg := bus.DefaultConfig()
	cfg.Brokers, cfg.Partitions = []string{broker.Addr}, 2
	require.NoError(t, bus.EnsureTopics(ctx, cfg))
	opts, err := cfg.Options()
	require.NoError(t, err)
	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(telemetry.TopicTelemetry))...)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Topic: telemetry.TopicTelemetry, Value: []byte("kept")}).FirstErr())
	broker.Kill()
	require.NoError(t, broker.Run())
	require.NoError(t, bus.EnsureTopics(ctx, cfg), "a second time is harmless")
	fetches := client.PollRecords(ctx, 1)
	require.NoError(t, fetches.Err())
	require.Equal(t, "kept", string(fetches.Records()[0].Value))
}
