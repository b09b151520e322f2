package directory

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/directory"
)

const (
	offices   = 1000
	lastNames = 2000
	common    = 10 // area codes that have half of the numbers
)

var firstNames = strings.Fields(`Ada Adam Agnes Ahmed Aisha Alan Alice Amir Ana Andrea Anna Anton Aria Arthur Astrid Ben Bianca Bruno Carla Carlos Cecilia Chen
	Clara Daniel David Diana Diego Dora Edith Elena Elias Ella Emil Emma Eric Erik Eva Felix Fatima Flora Frank Freya George Grace Greta Hana Hannah Hassan Helen Henry
	Hugo Ida Igor Ines Ingrid Irene Iris Isaac Ivan Jack James Jana Jane Jin Joan Johan John Jonas Jorge Julia Kai Karin Karl Kate Kenji Lara Laura Lea Leo Lena Lily
	Linda Lisa Louis Luca Lucia Luis Maja Marco Maria Mark Marta Mary Max Maya Mei Mia Miguel Mila Nadia Nina Noah Nora Olga Olivia Omar Oscar Otto Paul Paula Pedro
	Peter Petra Pia Rafael Rita Robert Rosa Ruth Samuel Sara Sofia Stefan Tara Theo Thomas Tim Tina Tom Uma Ursula Vera Victor Viola Walter Wei Yara Yusuf Zoe`)

// lastName is a name of three syllables.
func lastName(i int) string {
	begin := strings.Fields("Ba Bel Cor Dan Far Gar Hol Jan Kel Lan Mor Nor Par Ras Sal Tor Var Wes Yor Zan")
	middle := strings.Fields("a be di ga lo ma ne ri sa to")
	end := strings.Fields("berg den ford ler man nik sen son ton wick")
	return begin[i%20] + middle[i/20%10] + end[i/200%10]
}

// areaCodes are real ones, for only such numbers are read as numbers; the
// toll-free ones last.
var areaCodes = sync.OnceValue(func() []string {
	var local, free []string
	for code := 200; code < 1000; code++ {
		n, err := directory.ParseNumber(fmt.Sprintf("+1%d2345678", code), "US")
		switch {
		case err != nil:
		case n.Type == directory.TypeTollFree:
			free = append(free, n.AreaCode)
		case n.Region == "US":
			local = append(local, n.AreaCode)
		}
	}
	return append(local, free...)
})

// numberOf is the i-th number; fill makes the same in SQL. Half of all are of a
// few area codes, as a company's are.
func numberOf(i int) string {
	codes := areaCodes()
	code, k := i/2%common, i/2/common
	if i%2 == 1 {
		code, k = common+i/2%(len(codes)-common), i/2/(len(codes)-common)
	}
	return fmt.Sprintf("+1%s%07d", codes[code], 2_000_000+k*5_333_333%8_000_000)
}

func emailOf(i int) string {
	return strings.ToLower(fmt.Sprintf("%s.%s.%d@example.com", firstNames[i%len(firstNames)], lastName(i/len(firstNames)%lastNames), i))
}

// fill stores users and numbers by statements that run on both engines, with the
// indexes taken off meanwhile.
func fill(b *testing.B, db *sql.DB, engine string) {
	ctx := b.Context()
	conn, err := db.Conn(ctx)
	require.NoError(b, err)
	defer conn.Close()
	run := func(query string, args ...any) {
		b.Helper()
		_, err := conn.ExecContext(ctx, query, args...)
		require.NoError(b, err, query)
	}
	if engine == "sqlite" {
		run("PRAGMA synchronous = OFF")
		run("PRAGMA cache_size = -1000000")
	}
	restore := dropIndexes(ctx, b, conn, engine)
	words := func(table string, n int, word func(i int) string) {
		run("CREATE TEMP TABLE " + table + " (i BIGINT PRIMARY KEY, word TEXT NOT NULL)")
		for i := range n {
			run("INSERT INTO "+table+" (i, word) VALUES ($1, $2)", i, word(i))
		}
	}
	codes := areaCodes()
	words("first_name", len(firstNames), func(i int) string { return firstNames[i] })
	words("last_name", lastNames, lastName)
	words("code", len(codes), func(i int) string { return codes[i] })
	now := time.Now().UnixMicro()

	run(fmt.Sprintf(`INSERT INTO place (company, kind, id, name, office_id, created_us)
		WITH RECURSIVE seq (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM seq WHERE i < %d)
		SELECT '%s', k.kind, 'p' || i, k.kind || ' ' || i, CASE k.kind WHEN 'office' THEN '' ELSE 'p' || i END, %d
		FROM seq CROSS JOIN (SELECT 'office' AS kind UNION ALL SELECT 'department' UNION ALL SELECT 'room' UNION ALL SELECT 'contact_center') k`, offices-1, company, now))
	run(fmt.Sprintf("INSERT INTO place (company, kind, id, name, created_us) VALUES ('%s', 'office', 'large', 'Large', %d)", company, now))
	run(fmt.Sprintf(`INSERT INTO users (company, id, name, email, state, office_id, search, created_us, updated_us)
		WITH RECURSIVE seq (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM seq WHERE i < %[1]d)
		SELECT '%[2]s', 'u' || s.i, f.word || ' ' || l.word, LOWER(f.word || '.' || l.word || '.' || s.i || '@example.com'), CASE WHEN s.i %% 50 = 0 THEN 'invited' ELSE 'active' END,
			'p' || (s.i %% %[3]d), '', %[4]d, %[4]d
		FROM seq s JOIN first_name f ON f.i = s.i %% %[5]d JOIN last_name l ON l.i = (s.i / %[5]d) %% %[6]d`,
		*users-1, company, offices, now, len(firstNames), lastNames))

	// One and a half numbers for each user, some for places, a few being ported,
	// the rest available. A third of the users' second numbers count for one
	// large office.
	digits := "c.word || substr(CAST(12000000 + (s.k * 5333333) %% 8000000 AS TEXT), 2)"
	free := "'" + strings.Join(codes[slices.Index(codes, "800"):], "','") + "'"
	run(fmt.Sprintf(`INSERT INTO number (company, number, national, type, region, area_code, prefix, status, owner_kind, owner_id, created_us, updated_us, reversed, office_id)
		WITH RECURSIVE seq (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM seq WHERE i < %[1]d),
		spread (i, code, k) AS (SELECT i, CASE i %% 2 WHEN 0 THEN (i / 2) %% %[5]d ELSE %[5]d + (i / 2) %% %[6]d END, CASE i %% 2 WHEN 0 THEN i / 2 / %[5]d ELSE i / 2 / %[6]d END FROM seq),
		made (i, national, area) AS (SELECT s.i, `+digits+`, c.word FROM spread s JOIN code c ON c.i = s.code),
		held (i, national, area, kind, id) AS (SELECT i, national, area,
			CASE WHEN i < %[3]d THEN 'user' WHEN i < %[4]d THEN CASE i %% 4 WHEN 0 THEN 'office' WHEN 1 THEN 'department' WHEN 2 THEN 'room' ELSE 'contact_center' END ELSE '' END,
			CASE WHEN i < %[3]d THEN 'u' || (i %% %[2]d) WHEN i < %[4]d THEN 'p' || (i %% %[7]d) ELSE '' END FROM made)
		SELECT '%[8]s', '+1' || national, national, CASE WHEN area IN (%[10]s) THEN 'toll_free' ELSE 'local' END, 'US', area, substr(national, 4, 3),
			CASE WHEN kind <> '' THEN kind WHEN i %% 200 = 0 THEN 'port_pending' ELSE 'available' END, kind, id, %[9]d + i, %[9]d + i,
			substr(national, 10, 1) || substr(national, 9, 1) || substr(national, 8, 1) || substr(national, 7, 1) || substr(national, 6, 1)
				|| substr(national, 5, 1) || substr(national, 4, 1) || substr(national, 3, 1) || substr(national, 2, 1) || substr(national, 1, 1) || '1',
			CASE WHEN kind = '' THEN '' WHEN i >= %[2]d AND i %% 3 = 0 THEN 'large' ELSE 'p' || (i %% %[7]d) END
		FROM held`, *numbers-1, *users, *users*3/2, *users*3/2+min(*users/10, *numbers-*users*3/2), common, len(codes)-common, offices, company, now-int64(*numbers), free))
	run(`INSERT INTO number_history (company, number, from_us, status, owner_kind, owner_id)
		SELECT company, number, updated_us, status, owner_kind, owner_id FROM number`)
	restore()
	var made string
	require.NoError(b, conn.QueryRowContext(ctx, "SELECT number FROM number WHERE updated_us = $1", now-int64(*numbers)+int64(*numbers/2+1)).Scan(&made))
	require.Equal(b, numberOf(*numbers/2+1), made)
}

// dropIndexes takes off what can be made again in one go; restore does so.
func dropIndexes(ctx context.Context, b *testing.B, conn *sql.Conn, engine string) (restore func()) {
	find := "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('users', 'number', 'number_history')"
	if engine == "postgres" {
		find = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ('users', 'number', 'number_history') AND indexname NOT LIKE '%_pkey'"
	}
	rows, err := conn.QueryContext(ctx, find)
	require.NoError(b, err)
	var names, make []string
	for rows.Next() {
		var name, how string
		require.NoError(b, rows.Scan(&name, &how))
		names, make = append(names, name), append(make, how)
	}
	require.NoError(b, rows.Err())
	require.NotEmpty(b, names)
	for _, name := range names {
		_, err := conn.ExecContext(ctx, "DROP INDEX "+name)
		require.NoError(b, err)
	}
	return func() {
		for _, how := range make {
			_, err := conn.ExecContext(ctx, how)
			require.NoError(b, err)
		}
	}
}
