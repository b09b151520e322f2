package directory

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// bulk stores many rows in the transaction that is open on its connection,
// through the driver's own interface: on PostgreSQL that is COPY, on SQLite it
// saves what database/sql costs for each row.
type bulk struct {
	conn     *sql.Conn
	prepared map[string]driver.Stmt // SQLite's, by what they insert into
}

type bulkKey struct{}

// withBulk makes insertRows store rows in bulk.
func withBulk(ctx context.Context, b *bulk) context.Context {
	return context.WithValue(ctx, bulkKey{}, b)
}

// beginBulk takes a connection for a large change, which end gives back.
func (d *Directory) beginBulk(ctx context.Context) (*bulk, error) {
	conn, err := d.writes.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the directory: %w", err)
	}
	b := &bulk{conn: conn, prepared: map[string]driver.Stmt{}}
	if d.postgres {
		return b, nil
	}
	// In KiB, for all that changes: SQLite's usual 2 MiB would be written out and
	// read back again and again.
	if _, err := conn.ExecContext(ctx, "PRAGMA cache_size = -262144"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot set the size of the directory's cache: %w", err)
	}
	return b, nil
}

func (d *Directory) endBulk(ctx context.Context, b *bulk) {
	defer b.conn.Close()
	if d.postgres {
		return
	}
	// Also where the change failed: the connection is used again.
	_, _ = b.conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA cache_size = -2000")
	_ = b.conn.Raw(func(any) error {
		for _, s := range b.prepared {
			_ = s.Close()
		}
		return nil
	})
}

// insert stores rows that begin with the primary key, but for the company.
func (b *bulk) insert(ctx context.Context, company, into string, rows [][]any) error {
	// In the order of the key a row goes beside the one before it: an index is
	// written from one end to the other and not all over.
	slices.SortFunc(rows, compareRows)
	return b.conn.Raw(func(c any) error {
		// Where the context has ended, so may have the transaction: what is stored
		// now would stay. It cannot end while Raw has the connection.
		if err := ctx.Err(); err != nil {
			return err
		}
		if c, ok := c.(*stdlib.Conn); ok {
			return copyRows(ctx, c.Conn(), company, into, rows)
		}
		return b.insertEach(ctx, c.(driver.ConnPrepareContext), company, into, rows)
	})
}

func compareRows(a, b []any) int {
	for i, v := range a {
		c := 0
		switch v := v.(type) {
		case string:
			c = strings.Compare(v, b[i].(string))
		case []byte:
			c = bytes.Compare(v, b[i].([]byte))
		case int64:
			c = cmp.Compare(v, b[i].(int64))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// copyRows is for PostgreSQL.
func copyRows(ctx context.Context, c *pgx.Conn, company, into string, rows [][]any) error {
	table, columns, _ := strings.Cut(strings.TrimSuffix(into, ")"), " (")
	row := append([]any{company}, rows[0]...)
	_, err := c.CopyFrom(ctx, pgx.Identifier{table}, strings.Split(columns, ", "), pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		copy(row[1:], rows[i])
		return row, nil
	}))
	return err
}

// insertEach is for SQLite. A statement has one row: of one that has more, SQLite
// keeps the pages as they were before it, to be able to undo it alone.
func (b *bulk) insertEach(ctx context.Context, c driver.ConnPrepareContext, company, into string, rows [][]any) error {
	statement, err := b.statement(ctx, c, into, len(rows[0]))
	if err != nil {
		return err
	}
	args := make([]driver.NamedValue, 1+len(rows[0]))
	for i := range args {
		args[i].Ordinal = i + 1
	}
	args[0].Value = company
	// A context that can end costs the driver a goroutine for each row.
	lasting := context.WithoutCancel(ctx)
	for n, row := range rows {
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for i, v := range row {
			if args[1+i].Value, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return err
			}
		}
		if _, err := statement.ExecContext(lasting, args); err != nil {
			return err
		}
	}
	return nil
}

// statement is prepared once. Its parameters have no names, which the driver
// would look up for each row.
func (b *bulk) statement(ctx context.Context, c driver.ConnPrepareContext, into string, columns int) (driver.StmtExecContext, error) {
	if b.prepared[into] == nil {
		s, err := c.PrepareContext(ctx, "INSERT INTO "+into+" VALUES (?"+strings.Repeat(",?", columns)+")")
		if err != nil {
			return nil, err
		}
		b.prepared[into] = s
	}
	return b.prepared[into].(driver.StmtExecContext), nil
}
