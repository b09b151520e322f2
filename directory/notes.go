package directory

import (
	"context"
	"database/sql"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNoteBytes is the longest note.
const MaxNoteBytes = 10_000

// AddNote writes a note on a user's page. Notes are part of the journal: they
// are never changed and never lost.
func (d *Directory) AddNote(ctx context.Context, company, user, text string) (Entry, error) {
	text = strings.TrimSpace(text)
	if err := checkText("text", text, MaxNoteBytes); err != nil {
		return Entry{}, err
	}
	var note Entry
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := checkUserKnown(ctx, tx, company, user); err != nil {
			return err
		}
		if err := record(ctx, tx, company, d.now(), Change{Action: "user.note", Kind: "user", ID: user, User: user, Text: text}); err != nil {
			return err
		}
		c := &conditions{}
		c.and("n = (SELECT n FROM directory_version) AND action = 'user.note'")
		rows, err := journal(ctx, tx, c, 1)
		if err != nil {
			return err
		}
		note = rows[0].Entry
		return nil
	})
	return note, err
}

// checkText judges a text that someone wrote: lines of UTF-8, not empty.
func checkText(field, s string, maxBytes int) error {
	switch {
	case s == "":
		return invalid(field, "must not be empty")
	case len(s) > maxBytes:
		return invalid(field, "is too long")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }):
		return invalid(field, "holds characters that are no text")
	}
	return nil
}
