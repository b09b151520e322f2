package query_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
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

// BenchmarkTrends asks for a year of one company with 2,000,000 calls and 500,000
// refusals beside another that has as much. It says rows read, the time of the server
// and the bytes on disk.
func BenchmarkTrends(b *testing.B) {
	ctx := context.Background()
	c := clickhouse.DefaultConfig()
	c.Addr = []string{serverAddr}
	c.Database = fmt.Sprintf("bench_%d_%d", os.Getpid(), time.Now().UnixNano())
	require.NoError(b, clickhouse.Migrate(ctx, c))
	conn, err := clickhouse.Open(c)
	require.NoError(b, err)
	defer conn.Close()
	const calls = 2_000_000
	for _, company := range []string{"acme", "other"} {
		require.NoError(b, conn.Exec(ctx, fmt.Sprintf(`INSERT INTO call_quality
SELECT '%[1]s', toDate(at), xxHash64(toString(number)), at, ['inbound', 'outbound', 'internal'][1 + r %% 3], concat('u', toString(r %% 5000)), concat('office-', toString(r %% 5000 %% 37)),
concat('d', toString(r %% 5000 %% 12)), if(r %% 4 = 0, concat('cc', toString(r %% 5)), ''), concat('5.', toString(r %% 9), '.', toString(intDiv(r, 9) %% 4)),
['ios', 'android', 'windows', 'macos', 'linux', ''][1 + intDiv(r, 7) %% 6], ['native', 'web', 'desk_phone', 'mobile', 'sip'][1 + intDiv(r, 11) %% 5], concat('203.0.', toString(r %% 5000 %% 300), '.0/24'),
['good', 'good', 'good', 'good', 'good', 'acceptable', 'acceptable', 'bad', 'unacceptable', 'unknown'][1 + known], r %% 97 = 0,
if(known = 9, NULL, 20 + exp(randNormal(3.5, 0.8))), if(known = 9, NULL, exp(randNormal(1.5, 0.8))), if(known = 9, NULL, if(r %% 3 = 0, 0, exp(randNormal(0.5, 1.2) - 1.5))),
if(known = 9, NULL, 4.4 - randExponential(4.5)), 0, number * 4096 + 1790000000000000, now()
FROM (SELECT number, cityHash64(number, '%[1]s') AS r, intDiv(r, 100) %% 10 AS known, toDateTime('2025-03-04 00:00:00', 'UTC') + intDiv(number * 365 * 86400, %[2]d) + r %% 600 AS at FROM numbers(%[2]d))
SETTINGS max_partitions_per_insert_block = 0`, company, calls)))
		require.NoError(b, conn.Exec(ctx, fmt.Sprintf(`INSERT INTO rejection_times (company, at, call_id, id, reason, agent_user_id, agent_name, department_id, office_id, sip_status, from_number, to_number, source, seq, received_at)
SELECT '%[1]s', at, lower(hex(sipHash128(number))), lower(hex(cityHash64(number))), ['on_a_call', 'spam', 'after_hours', 'no_answer', 'manually_declined'][1 + r %% 5], concat('u', toString(r %% 5000)), concat('Agent ', toString(r %% 5000)),
concat('d', toString(r %% 12)), concat('office-', toString(r %% 37)), 486, concat('+1415', toString(1000000 + r %% 9000000)), concat('+1415', toString(1000000 + r %% 70000)), 'sip', number, now()
FROM (SELECT number, cityHash64(number) AS r, toDateTime64('2025-03-04 00:00:00', 6, 'UTC') + toIntervalSecond(intDiv(number * 365 * 86400, 500000)) AS at FROM numbers(500000))
SETTINGS max_partitions_per_insert_block = 0`, company)))
	}
	for _, table := range []string{"call_quality", "rejection_times"} {
		require.NoError(b, conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"))
		var perRow float64
		require.NoError(b, conn.QueryRow(ctx, "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = ?", table).Scan(&perRow))
		b.Logf("%s: %.1f bytes a row", table, perRow)
	}
	acme := query.New(conn, query.Options{Now: func() time.Time { return now }}).Company("acme")
	year := query.QualityFilter{Interval: "1d", TimeZone: "Europe/Berlin", From: query.Time{Time: now.AddDate(-1, 0, 0)}, To: query.Time{Time: now}}
	for _, group := range []string{"none", "office", "network", "user"} {
		for _, days := range []int{7, 365} {
			b.Run(fmt.Sprintf("quality/%s/%d_days", group, days), func(b *testing.B) {
				f := year
				f.GroupBy, f.From = group, query.Time{Time: now.AddDate(0, 0, -days)}
				rows := uint64(0)
				counted := ch.Context(ctx, ch.WithProgress(func(p *ch.Progress) { rows += p.Rows }))
				for b.Loop() {
					got, err := acme.QualityTrend(counted, f)
					require.NoError(b, err)
					require.NotZero(b, got.Total.Calls)
				}
				b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
			})
		}
	}
	for _, group := range []string{"reason", "agent"} {
		b.Run("rejections/"+group+"/365_days", func(b *testing.B) {
			rows := uint64(0)
			counted := ch.Context(ctx, ch.WithProgress(func(p *ch.Progress) { rows += p.Rows }))
			for b.Loop() {
				_, err := acme.RejectionTrend(counted, query.TrendFilter{GroupBy: group, Interval: "1d", TimeZone: "Europe/Berlin", From: year.From, To: year.To})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
		})
	}
}
