// Package export writes rows of any number as CSV (RFC 4180), as a stream of
// Apache Arrow (https://arrow.apache.org/docs/format/Columnar.html, IPC
// streaming format) or as a file of Apache Parquet. What it holds in memory
// does not grow with the number of rows. All use of the Arrow library is here.
package export

import (
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// Media types.
const (
	CSV     = "text/csv"
	Arrow   = "application/vnd.apache.arrow.stream"
	Parquet = "application/vnd.apache.parquet"
)

// Extension of the names of files of a media type.
func Extension(mediaType string) string {
	switch mediaType {
	case Arrow:
		return "arrows" // that of streams; .arrow is that of files
	case Parquet:
		return "parquet"
	}
	return "csv"
}

// Schema is the columns of rows of type T, in their order.
type Schema[T any] []Column[T]

// Names of the columns.
func (s Schema[T]) Names() []string {
	names := make([]string, len(s))
	for i, c := range s {
		names[i] = c.name
	}
	return names
}

// Column is one member of a row. Its type is the same in every row; what is not
// known is null.
type Column[T any] struct {
	name     string
	kind     arrow.DataType
	nullable bool
	// add appends the member of a row to a builder of the kind and says how many
	// bytes of text that were.
	add func(array.Builder, *T) int
	// cell is the member as CSV has it; nothing where it is null.
	cell func(*T) string
}

var moment = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

// word is the type of texts that come again and again.
var word = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}

// Text is a column of texts. What callers and platforms write freely is made
// Harmless in CSV.
func Text[T any](name string, of func(*T) string) Column[T] {
	return Column[T]{name: name, kind: arrow.BinaryTypes.String,
		add:  func(b array.Builder, row *T) int { return addText(b, of(row)) },
		cell: func(row *T) string { return Harmless(of(row)) },
	}
}

// Word is a column of texts of which there are few different ones.
func Word[T any](name string, of func(*T) string) Column[T] {
	c := Text(name, of)
	c.kind = word
	return c
}

// OptionalText is Text that may be null.
func OptionalText[T any](name string, of func(*T) *string) Column[T] {
	return Column[T]{name: name, kind: arrow.BinaryTypes.String, nullable: true,
		add: func(b array.Builder, row *T) int {
			if v := of(row); v != nil {
				return addText(b, *v)
			}
			b.AppendNull()
			return 0
		},
		cell: func(row *T) string {
			if v := of(row); v != nil {
				return Harmless(*v)
			}
			return ""
		},
	}
}

// OptionalWord is Word that may be null.
func OptionalWord[T any](name string, of func(*T) *string) Column[T] {
	c := OptionalText(name, of)
	c.kind = word
	return c
}

func addText(to array.Builder, v string) int {
	switch b := to.(type) {
	case *array.StringBuilder:
		b.Append(v)
	case *array.BinaryDictionaryBuilder:
		// It fails only where indexes are too narrow for the batch.
		if err := b.AppendString(v); err != nil {
			panic(err)
		}
	}
	return len(v)
}

// Time is a column of instants in UTC with microseconds; that which is zero is null.
func Time[T any](name string, of func(*T) time.Time) Column[T] {
	return Column[T]{name: name, kind: moment, nullable: true,
		add: func(b array.Builder, row *T) int {
			if v := of(row); v.IsZero() {
				b.AppendNull()
			} else {
				b.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
			}
			return 0
		},
		cell: func(row *T) string {
			v := of(row)
			if v.IsZero() {
				return ""
			}
			return v.UTC().Format("2006-01-02T15:04:05.000Z")
		},
	}
}

// Float is a column of numbers that may be null.
func Float[T any](name string, of func(*T) *float64) Column[T] {
	return Column[T]{name: name, kind: arrow.PrimitiveTypes.Float64, nullable: true,
		add: func(b array.Builder, row *T) int {
			if v := of(row); v != nil {
				b.(*array.Float64Builder).Append(*v)
			} else {
				b.AppendNull()
			}
			return 0
		},
		cell: func(row *T) string { return number(of(row)) },
	}
}

// integer is every type of whole numbers that int64 holds.
type integer interface {
	~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32
}

// Integer is a column of whole numbers.
func Integer[T any, N integer](name string, of func(*T) N) Column[T] {
	return Column[T]{name: name, kind: arrow.PrimitiveTypes.Int64,
		add: func(b array.Builder, row *T) int {
			b.(*array.Int64Builder).Append(int64(of(row)))
			return 0
		},
		cell: func(row *T) string { return whole(int64(of(row))) },
	}
}

// OptionalInteger is Integer that may be null.
func OptionalInteger[T any, N integer](name string, of func(*T) *N) Column[T] {
	return Column[T]{name: name, kind: arrow.PrimitiveTypes.Int64, nullable: true,
		add: func(b array.Builder, row *T) int {
			if v := of(row); v != nil {
				b.(*array.Int64Builder).Append(int64(*v))
			} else {
				b.AppendNull()
			}
			return 0
		},
		cell: func(row *T) string {
			if v := of(row); v != nil {
				return whole(int64(*v))
			}
			return ""
		},
	}
}

// Flag is a column of true and false.
func Flag[T any](name string, of func(*T) bool) Column[T] {
	return Column[T]{name: name, kind: arrow.FixedWidthTypes.Boolean,
		add: func(b array.Builder, row *T) int {
			b.(*array.BooleanBuilder).Append(of(row))
			return 0
		},
		cell: func(row *T) string {
			if of(row) {
				return "true"
			}
			return "false"
		},
	}
}

// Writer writes rows one after the other.
type Writer[T any] interface {
	// Row takes a row; the writer does not keep it.
	Row(*T) error
	// Close writes what is still held and the end that makes the rows a whole.
	// A Writer that is not closed leaves what readers refuse, CSV excepted, which has no end.
	Close() error
}

// New is a writer of a media type.
func New[T any](w io.Writer, mediaType string, s Schema[T]) (Writer[T], error) {
	switch mediaType {
	case CSV:
		return newCSV(w, s)
	case Arrow:
		return newBatches(s, true, arrowStream(w)), nil
	case Parquet:
		return newBatches(s, false, parquetFile(w)), nil
	}
	return nil, fmt.Errorf("cannot export as %s", mediaType)
}

// Part is the columns of a row that is a part of another.
func Part[T, P any](s Schema[P], of func(*T) *P) Schema[T] {
	out := make(Schema[T], len(s))
	for i, c := range s {
		out[i] = Column[T]{name: c.name, kind: c.kind, nullable: c.nullable,
			add:  func(b array.Builder, row *T) int { return c.add(b, of(row)) },
			cell: func(row *T) string { return c.cell(of(row)) },
		}
	}
	return out
}
