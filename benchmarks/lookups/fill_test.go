package lookups

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

const (
	company = "acme"
	// A year of calls, whatever their number: what grows is the company.
	year = 365 * 24 * time.Hour
	// chunk is the number of calls in one insert.
	chunk = 1_000_000
)

// end is when the newest call began.
var end = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// body is a call as processors store it: what is the same in all calls, as texts
// are, and in fill some of what differs.
func body(b *testing.B) string {
	f := func(v float64) *float64 { return &v }
	call := &telemetry.Call{
		State: "ended", Direction: "inbound",
		Target: &telemetry.Party{Identity: &telemetry.Identity{UserId: "u1", Name: "Ann Example", OfficeId: "o1"}, Endpoint: "web", AppVersion: "5.2", Platform: "chrome"},
		Legs: []*telemetry.Leg{
			{Id: "caller", Kind: "sip", Side: "contact", Codec: "PCMU", ClockRate: 8000, Address: "198.51.100.1:10000"},
			{Id: "callee", Kind: "webrtc", Side: "target", Codec: "opus", ClockRate: 48000, Address: "203.0.113.1:4000"}},
		Verdict: &telemetry.Verdict{Overall: "good", Final: true, Version: 4, Rules: "1",
			Delay:  &telemetry.Delay{Band: "good", RttMs: &telemetry.Distribution{Min: 40, P50: 50, P95: 70, Max: 90}, Share: map[string]float64{"good": 1}},
			Jitter: &telemetry.Jitter{Band: "good", JitterMs: &telemetry.Distribution{Min: 1, P50: 2, P95: 5, Max: 9}},
			Loss:   &telemetry.Loss{Band: "good", Percent: f(0.1)}, Mos: &telemetry.MOS{Min: 4.1, Avg: 4.3, Model: "G.107", Codec: "PCMU"},
			Evidence: []*telemetry.Evidence{{Kind: "rtt", Text: "The round trip is good: 70 ms at the 95th percentile.", Values: map[string]float64{"ms": 70}}},
			Sources:  []*telemetry.VerdictSource{{Kind: "rtcp", Side: "target", Samples: 10}}},
	}
	encoded, err := proto.Marshal(call)
	require.NoError(b, err)
	return hex.EncodeToString(encoded)
}

// Calls by their number n of $N: users' shares are skewed, so that the busiest of
// 20,000 has a hundredth of all calls and most have some hundreds. Contacts'
// numbers are of 300 area codes, one of which is a seventh of all. 300 bytes of the
// body are a description, half of which is like no other call's.
const callsSQL = `INSERT INTO calls (company, call_id, state, direction, started_at, connected_at, ended_at,
 target_user_id, target_name, target_number, target_device_id, target_endpoint, target_app_version, target_platform, target_office_id,
 contact_user_id, contact_number, end_by, end_sip_status, overall, final, version, rules, delay_band, jitter_band, loss_band, one_way_state, fault_side,
 rtt_ms_p50, rtt_ms_p95, rtt_ms_max, jitter_ms_p95, loss_percent, mos_min, mos_avg, sip_call_ids, leg_ids, device_ids, body, seq, received_at)
WITH
 cityHash64(number, 1) / 18446744073709551615 AS r1, cityHash64(number, 2) / 18446744073709551615 AS r2, cityHash64(number, 3) / 18446744073709551615 AS r3, cityHash64(number, 4) AS h4,
 toUInt64($U * pow(r1, 2)) AS user, toUInt64($U * pow(cityHash64(number, 5) / 18446744073709551615, 2)) AS other, h4 % 10 = 0 AS internal,
 lower(hex(sipHash128(number, 'call'))) AS id, concat(lower(hex(sipHash128(number, 'b leg'))), '@198.51.100.', toString(h4 % 4)) AS second,
 addMicroseconds(fromUnixTimestamp64Micro(toInt64($END), 'UTC'), -toInt64(($N - number) * $STEP + h4 % $STEP)) AS started, 20 + h4 % 400 AS seconds,
 multiIf(r2 < 0.8, 'good', r2 < 0.92, 'acceptable', r2 < 0.98, 'bad', r2 < 0.995, 'unacceptable', 'unknown') AS verdict,
 concat('d', toString(user), '-', toString(h4 % 2)) AS device, toUInt64(h4 % $C) AS person,
 concat('+1', toString(200 + toUInt64(300 * pow(cityHash64(person, 6) / 18446744073709551615, 3))), leftPad(toString(2000000 + cityHash64(person) % 8000000), 7, '0')) AS stranger
SELECT '` + company + `', id, 'ended', ['inbound', 'outbound', 'internal'][if(internal, 3, 1 + number % 2)], started, addSeconds(started, 8), addSeconds(started, 8 + seconds),
 concat('u', toString(user)), concat('User ', toString(user)), concat('+1212', toString(2000000 + user)), device, ['web', 'native', 'desk_phone'][1 + user % 3], concat('5.', toString(h4 % 3)), 'chrome', concat('o', toString(user % 40)),
 if(internal, concat('u', toString(other)), ''), if(internal, concat('+1212', toString(2000000 + other)), stranger), ['target', 'contact'][1 + h4 % 2], 200, verdict, true, 4, '1',
 if(verdict = 'bad' AND r3 < 0.4, 'bad', 'good'), if(verdict = 'bad' AND r3 >= 0.4 AND r3 < 0.8, 'bad', 'good'), if(verdict = 'unacceptable', 'unacceptable', 'good'),
 if(r3 < 0.003, 'confirmed', 'none'), 'unknown', 50 + h4 % 50, 70 + h4 % 90, 90 + h4 % 200, 3 + h4 % 9, (h4 % 100) / 200, 4.1, 4.2 + (h4 % 20) / 100,
 [id, second], ['caller', 'callee'], [device], concat(unhex('$BODY'), unhex('42ac02'), lower(hex(sipHash128(number, 'w'))), repeat(lower(hex(sipHash128(number, 'x'))), 1),
  lower(hex(sipHash128(number, 'y'))), lower(hex(sipHash128(number, 'z'))), repeat('Calls of a company. ', 8), leftPad('', 12, '.')), toInt64(number) * 4096, addSeconds(started, 20 + seconds)
FROM numbers($FROM, $COUNT)`

const timesSQL = `INSERT INTO call_times (company, started_at, call_id, timeline, state, direction, target_user_id, target_number, contact_user_id, contact_number, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at)
SELECT company, started_at, call_id, timeline, state, direction, target_user_id, target_number, contact_user_id, contact_number, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at
FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096`

// Two addresses a call: the user's own, and one of eight media servers.
const addressesSQL = `INSERT INTO call_keys (company, kind, key, started_at, call_id, timeline, state, direction, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at)
SELECT company, 'address', arrayJoin([IPv4NumToString(toUInt32(3405803776 + toUInt64(substring(target_user_id, 2)))), concat('198.51.100.', toString(cityHash64(call_id) % 8))]),
 started_at, call_id, timeline, state, direction, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at
FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096`

const samplesSQL = `INSERT INTO samples (company, call_id, at, leg_id, direction, source, side, ssrc, codec, clock_rate, rtt_ms, jitter_ms, loss_percent, packets, packets_lost, mos, seq, received_at)
WITH intDiv(number, $S) AS call, number % $S AS k, cityHash64(number) AS h,
 addMicroseconds(fromUnixTimestamp64Micro(toInt64($END), 'UTC'), -toInt64(($N - call) * $STEP) + toInt64(intDiv(k, 2) * 5000000 + h % 40000)) AS moment
SELECT '` + company + `', lower(hex(sipHash128(call, 'call'))), moment, ['caller', 'callee'][1 + k % 2], ['target_to_contact', 'contact_to_target'][1 + k % 2], 'rtcp', ['target', 'contact'][1 + k % 2],
 toUInt32(cityHash64(call, k % 2)), 'PCMU', 8000, 40 + (h % 4000) / 100, (h % 900) / 100, if(h % 10 = 0, (h % 300) / 100, 0), 250, if(h % 10 = 0, h % 8, 0), 4 + (h % 40) / 100, toInt64(number) * 4096, addMilliseconds(moment, 200)
FROM numbers($FROM * $S, $COUNT * $S)`

// A quarter as many refusals as calls, in every eighth call two.
const rejectionsSQL = `INSERT INTO rejections (company, call_id, id, at, reason, agent_user_id, agent_name, department_id, office_id, leg_id, sip_status, from_number, to_number, source, seq, received_at)
SELECT company, call_id, arrayJoin(['r1', 'r2']) AS r, addSeconds(started_at, if(r = 'r1', 3, 6)),
 ['on_a_call', 'manually_declined', 'no_available_endpoints', 'after_hours', 'do_not_disturb', 'spam'][1 + cityHash64(call_id, r) % 6], target_user_id, target_name, concat('dep', toString(cityHash64(target_user_id) % 60)), target_office_id,
 'callee', 486, contact_number, target_number, 'sip', seq, received_at
FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096 AND cityHash64(call_id) % 8 = 0`

const ratingsSQL = `INSERT INTO ratings (company, call_id, id, at, user_id, name, rating, seq, received_at)
SELECT company, call_id, 's', addSeconds(ended_at, 60), target_user_id, target_name, 1 + cityHash64(call_id, 'rating') % 5, seq, received_at
FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096 AND cityHash64(call_id) % 100 = 3`

const momentsSQL = `INSERT INTO call_keys (company, kind, key, started_at, call_id, timeline, seq, received_at)
SELECT company, 'rejected', '', at, call_id, timeline, seq, received_at FROM rejections WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096
UNION ALL SELECT company, 'rating', toString(rating), at, call_id, timeline, seq, received_at FROM ratings WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096`

// A quarter as many changes of registrations as calls.
const changesSQL = `INSERT INTO $TABLE (company, aor, device_id, at, change, contact, source, user_agent, registered_at, expires_at, registered, user_id, number, office_id, seq, received_at)
WITH cityHash64(number, 9) AS h, toUInt64($U * (h / 18446744073709551615)) AS user,
 addMicroseconds(fromUnixTimestamp64Micro(toInt64($END), 'UTC'), -toInt64(($N - number * 4) * $STEP)) AS moment
SELECT '` + company + `', concat('sip:u', toString(user), '@example.com'), concat('d', toString(user), '-', toString(h % 2)), moment, ['refreshed', 'registered', 'lapsed'][1 + h % 3],
 concat('sip:u', toString(user), '@203.0.113.1:5060'), '203.0.113.1:5060', 'Phone/1', moment, addSeconds(moment, 3600), h % 3 != 2, concat('u', toString(user)), concat('+1212', toString(2000000 + user)), concat('o', toString(user % 40)),
 toInt64(number) * 4096, moment
FROM numbers(intDiv($FROM, 4), intDiv($COUNT, 4))`

// keysSQL is what migration 0008 does for calls that are stored already.
func keysSQL(b *testing.B) string {
	text, err := os.ReadFile("../../sinks/clickhouse/migrations/0008_call_keys.sql")
	require.NoError(b, err)
	for _, s := range strings.Split(string(text), ";\n") {
		if at := strings.Index(s, "INSERT INTO call_keys"); at >= 0 {
			return strings.Replace(s[at:], "FROM calls\n", "FROM (SELECT * FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096)\n", 1)
		}
	}
	b.Fatal("migration 0008 fills no keys")
	return ""
}

// fill stores so many calls, with all that belongs to them.
func fill(b *testing.B, conn driver.Conn, calls int) {
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{
		"max_partitions_per_insert_block": 0, "max_insert_threads": 1, "max_execution_time": 0, "insert_deduplicate": 0,
	}))
	statements := []string{callsSQL, timesSQL, keysSQL(b), addressesSQL, samplesSQL, rejectionsSQL, ratingsSQL, momentsSQL,
		strings.ReplaceAll(changesSQL, "$TABLE", "registration_changes"), strings.ReplaceAll(changesSQL, "$TABLE", "registrations")}
	if *plain {
		for _, t := range []struct{ name, order string }{{"calls", "started_at"}, {"samples", "at"}} {
			require.NoError(b, conn.Exec(ctx, "CREATE TABLE plain_"+t.name+" AS "+t.name+" ENGINE = MergeTree PRIMARY KEY "+t.order+" ORDER BY "+t.order))
		}
		statements = append(statements, "INSERT INTO plain_calls SELECT * FROM calls WHERE seq >= $FROM * 4096 AND seq < ($FROM + $COUNT) * 4096",
			"INSERT INTO plain_samples SELECT * FROM samples WHERE seq >= $FROM * $S * 4096 AND seq < ($FROM + $COUNT) * $S * 4096")
	}
	values := []string{"$BODY", body(b), "$STEP", fmt.Sprint(year.Microseconds() / int64(calls)), "$END", fmt.Sprint(end.UnixMicro()),
		"$N", fmt.Sprint(calls), "$U", fmt.Sprint(users(calls)), "$C", fmt.Sprint(max(calls/5, 1)), "$S", fmt.Sprint(*samples)}
	for from := 0; from < calls; from += chunk {
		these := strings.NewReplacer(append([]string{"$FROM", fmt.Sprint(from), "$COUNT", fmt.Sprint(min(chunk, calls-from))}, values...)...)
		for _, s := range statements {
			require.NoError(b, conn.Exec(ctx, these.Replace(s)), s)
		}
	}
	settle(b, conn)
}

func users(calls int) int { return max(calls/1000, 10) }

// settle waits until the server has merged what it merges by itself.
func settle(b *testing.B, conn driver.Conn) {
	for quiet := 0; quiet < 3; {
		time.Sleep(time.Second)
		var merges uint64
		require.NoError(b, conn.QueryRow(context.Background(), "SELECT count() FROM system.merges").Scan(&merges))
		if quiet++; merges > 0 {
			quiet = 0
		}
	}
}
