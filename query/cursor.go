package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// A cursor is the sort key of the last item of a page: a time or a number, and
// texts. It is opaque to callers, but no secret.
type cursor struct {
	List string   `json:"l"`
	At   int64    `json:"a,omitempty"`
	Seq  int64    `json:"s,omitempty"`
	Keys []string `json:"k,omitempty"`
}

func (c cursor) encode() *string {
	b, _ := json.Marshal(c)
	s := base64.RawURLEncoding.EncodeToString(b)
	return &s
}

// decodeCursor reads a cursor of the named list with so many keys; nil for the first page.
func decodeCursor(text, list string, keys int) (*cursor, error) {
	if text == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCursor, err)
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCursor, err)
	}
	if c.List != list || len(c.Keys) != keys {
		return nil, fmt.Errorf("%w: it is one of another list", ErrCursor)
	}
	return &c, nil
}
