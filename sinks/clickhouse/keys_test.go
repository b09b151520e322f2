package clickhouse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func TestKeysOfACall(t *testing.T) {
	got := appendKeys(nil, "c1", &telemetry.Call{
		Target:  &telemetry.Party{Identity: &telemetry.Identity{UserId: "u1", Number: "+12125550101", DeviceId: "d1"}},
		Contact: &telemetry.Party{Identity: &telemetry.Identity{UserId: "u1", Number: "101"}},
		Legs: []*telemetry.Leg{
			{Id: "caller", SipCallId: "c1", Address: "203.0.113.7:4000", DeviceId: "d1"},
			{Id: "callee-2", Address: "[::ffff:203.0.113.7]:4002"},
			{Id: "w-1", Address: "0.0.0.0:9", DeviceId: "d2"},
			{Id: "w-2", Address: "no address"},
		},
		SipCallIds: []string{"c1", "x@192.0.2.1", "x@192.0.2.1"},
		Verdict: &telemetry.Verdict{Overall: "bad", Jitter: &telemetry.Jitter{Band: "unacceptable"}, Delay: &telemetry.Delay{Band: "acceptable"},
			Loss: &telemetry.Loss{Band: "bad"}, OneWayAudio: &telemetry.OneWayAudio{State: "suspected"}},
	})
	require.Equal(t, []callKey{
		{"user", "u1"}, {"number", "12125550101"}, {"number_reversed", "10105552121"}, {"device", "d1"},
		{"number", "101"}, {"number_reversed", "101"},
		{"address", "203.0.113.7"}, {"device", "d2"}, {"id", "w-1"}, {"id", "w-2"}, {"id", "x@192.0.2.1"},
		{"verdict", "bad"}, {"verdict", "one_way"}, {"verdict", "choppy"}, {"verdict", "loss"},
	}, got)
	require.Equal(t, []callKey{{"verdict", "unknown"}}, appendKeys(nil, "c2", &telemetry.Call{}))
}

// What migration 0008 makes of stored rows is what the sink makes of outcomes,
// and to run it again changes nothing.
func TestKeysOfStoredCalls(t *testing.T) {
	ctx := context.Background()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	any := func(of ...string) string { return of[random.IntN(len(of))] }
	batch := newBlocks()
	add := func(i int, o *telemetry.Outcome) {
		o.Company, o.CallId, o.Timeline = any("acme", "other"), fmt.Sprint("c", i%40), any("", "import:1")
		o.Seq, o.ReceivedUs = int64(i+1)<<12, 1_790_000_000_000_000+int64(i)
		value, err := proto.Marshal(o)
		require.NoError(t, err)
		require.NoError(t, batch.add(value, 1))
	}
	party := func() *telemetry.Party {
		return &telemetry.Party{Identity: &telemetry.Identity{
			UserId: any("", "u1", "u'2"), Number: any("", "+", "101", "+12125550101", "é1", "+442071234567"), DeviceId: any("", "d1", "d2")}}
	}
	bands := []string{"", "good", "acceptable", "bad", "unacceptable", "unknown"}
	for i := range 40 {
		v := &telemetry.Verdict{Overall: any(bands...), Jitter: &telemetry.Jitter{Band: any(bands...)}, Delay: &telemetry.Delay{Band: any(bands...)},
			Loss: &telemetry.Loss{Band: any(bands...)}, OneWayAudio: &telemetry.OneWayAudio{State: any("", "none", "suspected", "confirmed", "unknown")}}
		add(i, &telemetry.Outcome{Body: &telemetry.Outcome_Call{Call: &telemetry.Call{
			State: any("live", "ended"), Direction: any("inbound", "outbound"), StartedUs: 1_790_000_000_000_000 + random.Int64N(1e9), Target: party(), Contact: party(), Verdict: v,
			Legs:       []*telemetry.Leg{{Id: any("caller", "callee-12", "callee-x", "w1", ""), DeviceId: any("", "d3"), Address: "203.0.113.7:4000"}, {Id: any("callee", fmt.Sprint("c", i))}},
			SipCallIds: []string{any("x@y", fmt.Sprint("c", i)), any("x@y", "z@y")}}}})
		add(i, &telemetry.Outcome{Body: &telemetry.Outcome_Rejection{Rejection: &telemetry.Rejection{Id: any("r1", "r2"), AtUs: 1_790_000_000_000_000 + random.Int64N(1e9)}}})
		add(i, &telemetry.Outcome{Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: any("s1", "s2"), AtUs: 1_790_000_000_000_000 + random.Int64N(1e9), Rating: uint32(1 + random.IntN(5))}}})
	}
	c := testConfig()
	require.NoError(t, Migrate(ctx, c))
	conn, err := Open(c)
	require.NoError(t, err)
	defer conn.Close()
	i := &inserter{config: c}
	defer i.close()
	for _, table := range batch.tables() {
		if table.rows() > 0 {
			require.NoError(t, i.insert(ctx, table, table.name))
		}
	}
	// Addresses are not in columns.
	want := keysStored(t, conn)
	require.NotEmpty(t, want)
	require.NoError(t, conn.Exec(ctx, "TRUNCATE TABLE call_keys"))
	migrations, err := readMigrations(migrationFiles)
	require.NoError(t, err)
	for range 2 {
		for _, statement := range migrations[7].statements {
			require.NoError(t, conn.Exec(ctx, statement))
		}
		require.Equal(t, want, keysStored(t, conn))
	}
}

func keysStored(t *testing.T, conn driver.Conn) string {
	t.Helper()
	rows, err := conn.Query(context.Background(), "SELECT toString(tuple(*)) FROM call_keys FINAL WHERE kind != 'address' ORDER BY ALL")
	require.NoError(t, err)
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var row string
		require.NoError(t, rows.Scan(&row))
		b.WriteString(row + "\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}
