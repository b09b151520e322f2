package directory

import (
	"context"
	"database/sql"
	"fmt"
)

// DB is the database, for tests that look at it by themselves.
func (d *Directory) DB() *sql.DB { return d.db }

// Told gives everything that is told of the directory, by kind and id.
func (d *Directory) Told(ctx context.Context) (map[string]string, error) {
	secrets, err := newSeal("test")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, kind := range toldKinds {
		ids := map[string][]string{}
		err := each(ctx, d.db, func(r *sql.Rows) error {
			var company, id string
			err := r.Scan(&company, &id)
			ids[company] = append(ids[company], id)
			return err
		}, pageQuery(kind), "", "", 10_000)
		if err != nil {
			return nil, err
		}
		for company, ids := range ids {
			found, err := d.records(ctx, company, kind, ids, secrets)
			if err != nil {
				return nil, err
			}
			for id, r := range found {
				out[company+" "+kind+" "+id] = fmt.Sprint(r)
			}
		}
	}
	return out, nil
}

// Recorded gives what the journal names after a version, by kind and id.
func (d *Directory) Recorded(ctx context.Context, after int64) (map[string]bool, error) {
	out := map[string]bool{}
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var company, kind, id string
		err := r.Scan(&company, &kind, &id)
		out[company+" "+kind+" "+id] = true
		return err
	}, "SELECT company, subject_kind, subject_id FROM journal WHERE n > $1", after)
	return out, err
}

// SealOpens says whether what was sealed for one key opens for another, and with
// another secret.
func SealOpens(secret, otherSecret, key, otherKey string) (same, stable, wrongKey, wrongSecret, none bool) {
	a, _ := newSeal(secret)
	b, _ := newSeal(otherSecret)
	sealed := a.close([]byte(key), []byte("plain"))
	plain, err := a.open([]byte(key), sealed)
	same = err == nil && string(plain) == "plain"
	stable = string(sealed) == string(a.close([]byte(key), []byte("plain")))
	_, err = a.open([]byte(otherKey), sealed)
	wrongKey = err == nil
	_, err = b.open([]byte(key), sealed)
	wrongSecret = err == nil
	_, err = (*seal)(nil).open([]byte(key), sealed)
	return same, stable, wrongKey, wrongSecret, err == nil
}
