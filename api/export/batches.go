package export

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// What ends a batch, whichever comes first.
const (
	batchRows  = 4 << 10
	batchBytes = 4 << 20 // of texts
)

// maxDictionary is how many different texts of a column an Arrow stream takes
// along from batch to batch.
const maxDictionary = 4096

// sink takes batches of rows.
type sink interface {
	write(arrow.Record) error
	close() error
}

// batches gathers rows to batches for a sink.
type batches[T any] struct {
	s     Schema[T]
	build *array.RecordBuilder
	rows  int
	bytes int
	start func(*arrow.Schema) (sink, error)
	sink  sink // nil before the first batch
}

// newBatches has words as dictionaries, or as texts for a sink that makes
// dictionaries by itself.
func newBatches[T any](s Schema[T], dictionaries bool, start func(*arrow.Schema) (sink, error)) *batches[T] {
	fields := make([]arrow.Field, len(s))
	for i, c := range s {
		fields[i] = arrow.Field{Name: c.name, Type: c.kind, Nullable: c.nullable}
		if c.kind == word && !dictionaries {
			fields[i].Type = word.ValueType
		}
	}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(fields, nil))
	return &batches[T]{s: s, build: b, start: start}
}

func (b *batches[T]) Row(row *T) error {
	for i := range b.s {
		b.bytes += b.s[i].add(b.build.Field(i), row)
	}
	if b.rows++; b.rows < batchRows && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batches[T]) flush() error {
	if b.sink == nil {
		var err error
		if b.sink, err = b.start(b.build.Schema()); err != nil {
			return err
		}
	}
	if b.rows == 0 {
		return nil
	}
	record := b.build.NewRecord()
	defer record.Release()
	b.rows, b.bytes = 0, 0
	for _, f := range b.build.Fields() {
		if d, ok := f.(array.DictionaryBuilder); ok && d.DictionarySize() > maxDictionary {
			d.ResetFull()
		}
	}
	return b.sink.write(record)
}

func (b *batches[T]) Close() error {
	defer b.build.Release()
	if err := b.flush(); err != nil {
		return err
	}
	return b.sink.close()
}

// arrowSink writes a stream: the schema, then batches. A dictionary that has
// grown replaces the one before, which every reader of streams takes; deltas
// not all do.
type arrowSink struct{ out *ipc.Writer }

func arrowStream(w io.Writer) func(*arrow.Schema) (sink, error) {
	return func(s *arrow.Schema) (sink, error) {
		return arrowSink{ipc.NewWriter(w, ipc.WithSchema(s))}, nil
	}
}

func (a arrowSink) write(r arrow.Record) error {
	if err := a.out.Write(r); err != nil {
		return fmt.Errorf("cannot write Arrow: %w", err)
	}
	return nil
}

func (a arrowSink) close() error {
	if err := a.out.Close(); err != nil {
		return fmt.Errorf("cannot write Arrow: %w", err)
	}
	return nil
}
