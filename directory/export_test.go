package directory

import (
	"cmp"
	"context"
	"database/sql"
	"time"
)

// SetNow gives the directory a clock of the test's own.
func (d *Directory) SetNow(now func() time.Time) { d.now = now }

// Record writes entries of the journal as a change of the directory would.
func (d *Directory) Record(ctx context.Context, company string, changes ...Change) error {
	return d.write(ctx, func(tx *sql.Tx) error { return record(ctx, tx, company, d.now(), changes...) })
}

// RecordTwice writes in two steps of one transaction, which fails at its end
// where failure is not nil.
func (d *Directory) RecordTwice(ctx context.Context, company string, first, second []Change, failure error) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		if err := record(ctx, tx, company, d.now(), first...); err != nil {
			return err
		}
		if err := record(ctx, tx, company, d.now(), second...); err != nil {
			return err
		}
		return failure
	})
}

// CompareVersions orders versions of apps: negative where a is before b, 0 where
// they are the same or one of them says no number.
func CompareVersions(a, b string) int {
	v, w := parseVersion(a), parseVersion(b)
	if len(v.numbers) == 0 || len(w.numbers) == 0 {
		return 0
	}
	return cmp.Or(v.compare(w), compareNumbers(v.builds, w.builds))
}
