package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Harmless keeps a spreadsheet from running a text as a formula: callers choose
// their display names. Numbers with their + stay as they are.
func Harmless(s string) string {
	if s == "" {
		return s
	}
	switch s[0] {
	case '=', '@', '\t', '\r':
		return "'" + s
	case '+', '-':
		if strings.Trim(s[1:], "0123456789. +-") != "" {
			return "'" + s
		}
	}
	return s
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

func whole(v int64) string { return strconv.FormatInt(v, 10) }

type csvWriter[T any] struct {
	out   *csv.Writer
	s     Schema[T]
	cells []string
}

func newCSV[T any](w io.Writer, s Schema[T]) (*csvWriter[T], error) {
	c := &csvWriter[T]{out: csv.NewWriter(w), s: s, cells: make([]string, len(s))}
	c.out.UseCRLF = true
	return c, c.write(s.Names())
}

func (c *csvWriter[T]) write(cells []string) error {
	if err := c.out.Write(cells); err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	return nil
}

func (c *csvWriter[T]) Row(row *T) error {
	for i := range c.s {
		c.cells[i] = c.s[i].cell(row)
	}
	return c.write(c.cells)
}

func (c *csvWriter[T]) Close() error {
	if c.out.Flush(); c.out.Error() != nil {
		return fmt.Errorf("cannot write CSV: %w", c.out.Error())
	}
	return nil
}
