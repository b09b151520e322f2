package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DeduplicationWindow is how many inserts every table must remember. A range is
// tried again after a crash or a rebalance, while other partitions go on
// inserting: at 16 inserts a second this lasts ten minutes.
const DeduplicationWindow = 10_000

// ErrDeduplication says that a retried insert could store its rows twice.
var ErrDeduplication = errors.New("ClickHouse would not recognise a retried insert")

// CheckDeduplication verifies that every table the sink writes to, and every
// target of a materialized view fed by them, remembers enough inserts.
func CheckDeduplication(ctx context.Context, conn driver.Conn, addresses int) error {
	rows, err := conn.Query(ctx, `SELECT name, engine, engine_full, create_table_query, toString(uuid)
FROM system.tables WHERE database = currentDatabase()`)
	if err != nil {
		return fmt.Errorf("cannot read system.tables: %w", err)
	}
	defer rows.Close()
	type tableInfo struct{ engine, full, create, uuid string }
	tables := map[string]tableInfo{}
	for rows.Next() {
		var name string
		var t tableInfo
		if err := rows.Scan(&name, &t.engine, &t.full, &t.create, &t.uuid); err != nil {
			return fmt.Errorf("cannot read system.tables: %w", err)
		}
		tables[name] = t
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot read system.tables: %w", err)
	}
	var wanted []string
	for _, t := range newBlocks().tables() {
		wanted = append(wanted, t.name)
	}
	for _, view := range tables {
		if view.engine != "MaterializedView" {
			continue
		}
		if m := viewTarget.FindStringSubmatch(view.create); m != nil {
			wanted = append(wanted, m[1])
		} else {
			wanted = append(wanted, ".inner_id."+view.uuid)
		}
	}
	slices.Sort(wanted)
	var problems []error
	for _, name := range slices.Compact(wanted) {
		t, exists := tables[name]
		switch {
		case !exists:
			problems = append(problems, fmt.Errorf("table %s does not exist (run `earshot migrate`)", name))
		case strings.HasPrefix(t.engine, "Replicated"):
			if n := windowOf(replicatedWindow, t.full, 10_000); n < DeduplicationWindow {
				problems = append(problems, fmt.Errorf("table %s has replicated_deduplication_window = %d, needed: %d", name, n, DeduplicationWindow))
			}
		case strings.HasSuffix(t.engine, "MergeTree"):
			if addresses > 1 {
				problems = append(problems, fmt.Errorf("table %s is not replicated, but clickhouse.addr names %d servers", name, addresses))
			}
			if n := windowOf(plainWindow, t.full, 0); n < DeduplicationWindow {
				problems = append(problems, fmt.Errorf("table %s has non_replicated_deduplication_window = %d, needed: %d", name, n, DeduplicationWindow))
			}
		default:
			problems = append(problems, fmt.Errorf("table %s has engine %s, which recognises no retried insert", name, t.engine))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", ErrDeduplication, errors.Join(problems...))
	}
	return nil
}

var (
	viewTarget       = regexp.MustCompile("(?s)^CREATE MATERIALIZED VIEW \\S+ (?:REFRESH .*?)?TO (?:[\\w`]+\\.)?`?(\\w+)`?")
	plainWindow      = regexp.MustCompile(`\bnon_replicated_deduplication_window = (\d+)`)
	replicatedWindow = regexp.MustCompile(`\breplicated_deduplication_window = (\d+)`)
)

// windowOf reads a setting from an engine's definition; standard where it is not named.
func windowOf(setting *regexp.Regexp, engine string, standard int) int {
	m := setting.FindStringSubmatch(engine)
	if m == nil {
		return standard
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}
