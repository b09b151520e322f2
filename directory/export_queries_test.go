package directory

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
)

// CountQueries counts what a function asks the database, outside of changes.
func (d *Directory) CountQueries(t testing.TB, ask func()) (n int) {
	t.Helper()
	plain := d.db
	held, err := plain.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	err = held.Raw(func(conn any) error {
		counted := sql.OpenDB(countingConn{conn.(driver.Conn), &n})
		counted.SetMaxOpenConns(1)
		defer func() { d.db = plain }()
		d.db = counted
		ask()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// countingConn is a connection of another pool, lent out.
type countingConn struct {
	driver.Conn
	n *int
}

func (c countingConn) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c countingConn) Driver() driver.Driver                        { return nil }
func (c countingConn) Close() error                                 { return nil }

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	*c.n++
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c countingConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}
