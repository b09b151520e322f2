package directory

import (
	"context"
	"database/sql"
	"testing"
)

// SubscriptionsOf counts the subscriptions with that target.
func (d *Directory) SubscriptionsOf(ctx context.Context, company, kind, id string) (int, error) {
	return subscriptionsOf(ctx, d.db, company, kind, id)
}

// JournalText is all that the journal says of subscriptions.
func (d *Directory) JournalText(t testing.TB) (out []string) {
	t.Helper()
	err := each(t.Context(), d.db, func(r *sql.Rows) error {
		var action, text, fields string
		err := r.Scan(&action, &text, &fields)
		out = append(out, action+" "+text+" "+fields)
		return err
	}, "SELECT action, text, fields FROM journal WHERE subject_kind = 'subscription' ORDER BY n, i")
	if err != nil {
		t.Fatal(err)
	}
	return out
}
