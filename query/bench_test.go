package query_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

// BenchmarkBaselines compares a call with 100,000 calls of 28 days of one company:
// 200 users, 10 offices, 40 networks, 3 versions.
func BenchmarkBaselines(b *testing.B) {
	ctx := context.Background()
	c := clickhouse.DefaultConfig()
	c.Addr = []string{serverAddr}
	c.Database = fmt.Sprintf("bench_%d_%d", os.Getpid(), time.Now().UnixNano())
	require.NoError(b, clickhouse.Migrate(ctx, c))
	conn, err := clickhouse.Open(c)
	require.NoError(b, err)
	defer conn.Close()
	// In ten inserts, as parts that are merged now and then.
	for part := range 10 {
		for kind, id := range map[string]string{
			"user": "concat('u', toString(rand % 200))", "office": "concat('o', toString(rand % 10))",
			"network": "concat('203.0.', toString(rand % 40), '.0/24')", "app_version": "concat('web 5.', toString(rand % 3))",
		} {
			require.NoError(b, conn.Exec(ctx, `INSERT INTO call_figures
SELECT 'acme', '`+kind+`', `+id+`, fromUnixTimestamp64Micro(toInt64(?) - number * 24192000 * 10 - `+fmt.Sprint(part)+` * 24192000, 'UTC'),
concat('c', toString(number), '-', ?), concat('u', toString(rand % 200)), 50 + rand % 40, 90 + rand % 80, 5 + rand % 9, (rand % 100) / 100, 4.2 + (rand % 20) / 100, 1, now64(3)
FROM (SELECT number, cityHash64(number, ?) AS rand FROM numbers(10000))`, now.UnixMicro(), fmt.Sprint(part), part))
		}
	}
	d := &telemetry.Distribution{P50: 190, P95: 250}
	call := query.CallOf(&telemetry.Call{Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: "u7", OfficeId: "o7"}, Endpoint: "web", AppVersion: "5.1"},
		Legs: []*telemetry.Leg{{Side: "target", Address: "203.0.7.1:4000"}}, Verdict: &telemetry.Verdict{Delay: &telemetry.Delay{RttMs: d}}})
	call.StartedAt = query.Time{Time: now}
	acme := query.New(conn, query.Options{Now: func() time.Time { return now }}).Company("acme")
	require.NoError(b, conn.Exec(ctx, "OPTIMIZE TABLE call_figures FINAL"))
	b.ResetTimer()
	for b.Loop() {
		got, err := acme.Baselines(ctx, &call, "")
		require.NoError(b, err)
		require.Len(b, got, 4)
	}
}
