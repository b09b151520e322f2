package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	chdriver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// erasedCalls names the calls that were erased, without whom they were of: what
// comes of them later goes too. It is a table of the eraser's own.
const erasedCalls = `CREATE TABLE IF NOT EXISTS erased_calls
(
    company LowCardinality(String),
    call_id String,
    at DateTime('UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (company, call_id)
TTL at + toIntervalDay(180)`

// Eraser removes what the store has of a user.
type Eraser struct {
	conn driver.Conn
}

// NewEraser makes an eraser over an open connection that may write.
func NewEraser(conn driver.Conn) *Eraser { return &Eraser{conn: conn} }

// personal is a table with what says of whom its rows are.
type personal struct {
	name  string
	call  bool     // it has call_id
	users []string // conditions that name a user, with ? for the id
	time  string   // the column that says when it was
}

// Erase deletes every call up to a time that names the user, as a party, as who
// refused, rated or did something in it, whole: with its samples, messages and
// events, and whatever of it comes later. Of tables without calls, such as
// registrations, it deletes the user's rows. It says how many calls it found;
// those that it has erased before are found only where something came of them.
//
// Rows are rewritten, not hidden: when Erase returns, they are not in the files
// that ClickHouse reads. It keeps replaced files for old_parts_lifetime, minutes.
func (e *Eraser) Erase(ctx context.Context, company, user string, until time.Time) (int64, error) {
	if err := e.conn.Exec(ctx, erasedCalls); err != nil {
		return 0, fmt.Errorf("cannot make the list of erased calls: %w", err)
	}
	tables, err := e.personal(ctx)
	if err != nil {
		return 0, err
	}
	calls, err := e.name(ctx, tables, company, user, until)
	if err != nil {
		return 0, err
	}
	for _, t := range tables {
		where, args := "company = ? AND call_id IN (SELECT call_id FROM erased_calls WHERE company = ?)", []any{company, company}
		if !t.call {
			where, args = t.of(company, user, until)
		}
		if err := e.delete(ctx, t.name, where, args); err != nil {
			return 0, err
		}
	}
	return calls, nil
}

// personal lists the tables that say something of users: by what their columns
// are called, so that one that is added later is not forgotten.
func (e *Eraser) personal(ctx context.Context) ([]personal, error) {
	rows, err := e.conn.Query(ctx, `SELECT c.table, groupArray(c.name), groupArray(c.type) FROM system.columns AS c
INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree' AND c.table != 'erased_calls'
GROUP BY c.table HAVING has(groupArray(c.name), 'company') ORDER BY c.table`)
	if err != nil {
		return nil, fmt.Errorf("cannot list the tables: %w", err)
	}
	defer rows.Close()
	var out []personal
	for rows.Next() {
		var t personal
		var columns, types []string
		if err := rows.Scan(&t.name, &columns, &types); err != nil {
			return nil, fmt.Errorf("cannot list the tables: %w", err)
		}
		t.call, t.time = slices.Contains(columns, "call_id"), "at"
		if slices.Contains(columns, "started_at") {
			t.time = "started_at"
		}
		for i, c := range columns {
			switch {
			case strings.HasSuffix(c, "user_ids") && strings.HasPrefix(types[i], "Array("):
				t.users = append(t.users, "has("+quoteName(c)+", ?)")
			case strings.HasSuffix(c, "user_id"):
				t.users = append(t.users, quoteName(c)+" = ?")
			}
		}
		if slices.Contains(columns, "kind") && slices.Contains(columns, "key") {
			t.users = append(t.users, "(kind = 'user' AND key = ?)")
		}
		if t.call || len(t.users) > 0 {
			out = append(out, t)
		}
	}
	return out, rows.Err()
}

// of is the condition for the rows of a user.
func (t personal) of(company, user string, until time.Time) (string, []any) {
	args := []any{company}
	for range t.users {
		args = append(args, user)
	}
	return fmt.Sprintf("company = ? AND (%s) AND %s <= fromUnixTimestamp64Micro(toInt64(?), 'UTC')", strings.Join(t.users, " OR "), t.time), append(args, until.UnixMicro())
}

// name puts the calls of a user on the list and says how many they are.
func (e *Eraser) name(ctx context.Context, tables []personal, company, user string, until time.Time) (int64, error) {
	var selects []string
	var args []any
	for _, t := range tables {
		if !t.call || len(t.users) == 0 {
			continue
		}
		where, of := t.of(company, user, until)
		selects = append(selects, "SELECT call_id FROM "+quoteName(t.name)+" WHERE "+where)
		args = append(args, of...)
	}
	from := "(" + strings.Join(selects, " UNION ALL ") + ")"
	var calls uint64
	if err := e.conn.QueryRow(ctx, "SELECT uniqExact(call_id) FROM "+from, args...).Scan(&calls); err != nil {
		return 0, fmt.Errorf("cannot find the calls of a user: %w", err)
	}
	if calls == 0 {
		return 0, nil
	}
	args = append([]any{company}, args...)
	if err := e.conn.Exec(ctx, "INSERT INTO erased_calls (company, call_id, at) SELECT ?, call_id, now() FROM (SELECT DISTINCT call_id FROM "+from+")", args...); err != nil {
		return 0, fmt.Errorf("cannot list the calls of a user: %w", err)
	}
	return int64(calls), nil
}

// delete rewrites the parts of a table without what the condition names. Most
// times there is nothing: a mutation would still be one.
func (e *Eraser) delete(ctx context.Context, table, where string, args []any) error {
	var n uint64
	if err := e.conn.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM "+quoteName(table)+" WHERE "+where+" LIMIT 1)", args...).Scan(&n); err != nil {
		return fmt.Errorf("cannot look into table %s: %w", table, err)
	}
	if n == 0 {
		return nil
	}
	ctx = chdriver.Context(ctx, chdriver.WithSettings(chdriver.Settings{"mutations_sync": 2, "allow_nondeterministic_mutations": 1}))
	if err := e.conn.Exec(ctx, "ALTER TABLE "+quoteName(table)+" DELETE WHERE "+where, args...); err != nil {
		return fmt.Errorf("cannot erase from table %s: %w", table, err)
	}
	return nil
}
