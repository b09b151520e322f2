package api

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/api/export"
)

const (
	csvType      = export.CSV
	markdownType = "text/markdown"
)

var errReadOnlyFormat = errors.New("requests must be application/json")

func unreadable([]byte, any) error { return errReadOnlyFormat }

// formats is what answers may be written in. Which route has which beside JSON
// is checked before.
func formats() map[string]huma.Format {
	return map[string]huma.Format{
		"application/json": huma.DefaultJSONFormat,
		"json":             huma.DefaultJSONFormat,
		csvType:            {Marshal: marshalCSV, Unmarshal: unreadable},
		export.Arrow:       {Marshal: marshalFile, Unmarshal: unreadable},
		export.Parquet:     {Marshal: marshalFile, Unmarshal: unreadable},
		markdownType:       {Marshal: marshalMarkdown, Unmarshal: unreadable},
	}
}

// marshalMarkdown writes what can write itself.
func marshalMarkdown(w io.Writer, v any) error {
	m, ok := v.(interface{ markdown(io.Writer) error })
	if !ok {
		return fmt.Errorf("cannot write %T as Markdown", v)
	}
	return m.markdown(w)
}

// marshalCSV writes the items of a list (RFC 4180), a column per member, those
// of nested objects as outer.inner. Lists of texts are joined by a space, what
// is deeper is JSON.
func marshalCSV(w io.Writer, v any) error {
	switch own := v.(type) {
	case interface{ csv(io.Writer) error }:
		return own.csv(w)
	case interface{ writeFile(io.Writer) error }:
		return own.writeFile(w)
	}
	items := reflect.Indirect(reflect.ValueOf(v)).FieldByName("Items")
	if !items.IsValid() || items.Kind() != reflect.Slice {
		return fmt.Errorf("cannot write %T as CSV", v)
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	var columns []column
	collect(items.Type().Elem(), "", nil, &columns)
	row := make([]string, len(columns))
	for i, c := range columns {
		row[i] = c.name
	}
	if err := out.Write(row); err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	for i := range items.Len() {
		for j, c := range columns {
			cell, err := c.cell(items.Index(i))
			if err != nil {
				return err
			}
			row[j] = cell
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("cannot write CSV: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	return nil
}

// column is a member of an item, by the way to it.
type column struct {
	name string
	path []int
}

func collect(t reflect.Type, prefix string, path []int, out *[]column) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			collect(f.Type, prefix, append(append([]int(nil), path...), i), out)
			continue
		}
		if name == "-" || name == "" || name == "links" || !f.IsExported() {
			continue
		}
		ft := f.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		way := append(append([]int(nil), path...), i)
		if ft.Kind() == reflect.Struct && !ft.Implements(marshalerType) {
			collect(ft, prefix+name+".", way, out)
			continue
		}
		*out = append(*out, column{name: prefix + name, path: way})
	}
}

var marshalerType = reflect.TypeFor[json.Marshaler]()

func (c column) cell(v reflect.Value) (string, error) {
	for _, i := range c.path {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return "", nil
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return export.Harmless(v.String()), nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			parts := make([]string, v.Len())
			for i := range parts {
				parts[i] = v.Index(i).String()
			}
			return export.Harmless(strings.Join(parts, " ")), nil
		}
		if v.Len() == 0 {
			return "", nil
		}
	case reflect.Map:
		if v.Len() == 0 {
			return "", nil
		}
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return "", fmt.Errorf("cannot write CSV: %w", err)
	}
	s := string(b)
	if s == "null" {
		return "", nil
	}
	if unquoted, err := strconv.Unquote(s); err == nil {
		return export.Harmless(unquoted), nil
	}
	return s, nil
}
