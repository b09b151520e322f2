package directory

import (
	"errors"
	"testing"
)

// A cursor comes from outside: whatever it is, it is read or refused.
func FuzzAuditCursor(f *testing.F) {
	for _, key := range [][]string{{"1", "2", "3", ""}, {"1", "2", "3", "ab"}, {"-1", "x", "3", ""}, {"99999999999999999999", "0", "0", ""}, {"1", "2", "3"}, {}} {
		f.Add(encodeCursor(key...))
	}
	f.Add("W10")
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, read := range []func() error{
			func() error { _, err := decodeAudit(cursor); return err },
			func() error { _, err := decodeTimes(cursor, 3); return err },
		} {
			if err := read(); err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v", cursor, err)
			}
		}
		if r, err := decodeAudit(cursor); err == nil && r != nil {
			again, err := decodeAudit(encodeCursor(auditRow.key(*r)...))
			if err != nil || again.atUs != r.atUs || again.n != r.n || again.i != r.i || again.read != r.read {
				t.Errorf("%q is read as %+v and then %+v: %v", cursor, r, again, err)
			}
		}
	})
}
