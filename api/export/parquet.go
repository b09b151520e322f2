package export

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"github.com/klauspost/compress/zstd"
)

// What ends a row group, whichever comes first. Its compressed pages are held
// until then, and what describes the groups until the end of the file.
const (
	groupRows  = 64 << 10
	groupBytes = 32 << 20 // of texts
)

// Bounds of what each column holds before it is compressed.
const (
	pageBytes       = 32 << 10
	dictionaryBytes = 32 << 10 // above it the rest of a row group has the texts themselves
)

// parquetSink writes a file. It is not pqarrow, which brings gRPC along.
type parquetSink struct {
	out   *file.Writer
	group file.BufferedRowGroupWriter // nil before the first
	rows  int64                       // of the group
	bytes int
	known []int16 // definition levels of a batch: 1, or 0 for null
	texts []parquet.ByteArray
	ints  []int64
	reals []float64
	flags []bool
}

func parquetFile(w io.Writer) func(*arrow.Schema) (sink, error) {
	return func(s *arrow.Schema) (sink, error) {
		root, err := parquetSchema(s)
		if err != nil {
			return nil, fmt.Errorf("cannot write Parquet: %w", err)
		}
		// Only a Writer: what is also an io.Closer would be closed.
		return &parquetSink{out: file.NewParquetWriter(struct{ io.Writer }{w}, root, file.WithWriterProps(parquet.NewWriterProperties(
			parquet.WithCompression(compress.Codecs.Zstd),
			parquet.WithDataPageSize(pageBytes),
			parquet.WithDictionaryPageSizeLimit(dictionaryBytes),
			parquet.WithCreatedBy("Earshot"),
		)))}, nil
	}
}

func parquetSchema(s *arrow.Schema) (*schema.GroupNode, error) {
	nodes := make(schema.FieldList, s.NumFields())
	for i, f := range s.Fields() {
		repetition := parquet.Repetitions.Required
		if f.Nullable {
			repetition = parquet.Repetitions.Optional
		}
		var logical schema.LogicalType = schema.NoLogicalType{}
		var physical parquet.Type
		switch f.Type.ID() {
		case arrow.STRING:
			logical, physical = schema.StringLogicalType{}, parquet.Types.ByteArray
		case arrow.INT64:
			logical, physical = schema.NewIntLogicalType(64, true), parquet.Types.Int64
		case arrow.FLOAT64:
			physical = parquet.Types.Double
		case arrow.TIMESTAMP:
			logical, physical = schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), parquet.Types.Int64
		case arrow.BOOL:
			physical = parquet.Types.Boolean
		default:
			return nil, fmt.Errorf("column %s has type %s", f.Name, f.Type)
		}
		node, err := schema.NewPrimitiveNodeLogical(f.Name, repetition, logical, physical, -1, -1)
		if err != nil {
			return nil, err
		}
		nodes[i] = node
	}
	return schema.NewGroupNode("schema", parquet.Repetitions.Required, nodes, -1)
}

func (p *parquetSink) write(r arrow.Record) error {
	if p.rows >= groupRows || p.bytes >= groupBytes {
		if err := p.group.Close(); err != nil {
			return fmt.Errorf("cannot write Parquet: %w", err)
		}
		p.group, p.rows, p.bytes = nil, 0, 0
	}
	if p.group == nil {
		p.group = p.out.AppendBufferedRowGroup()
	}
	p.rows += r.NumRows()
	for i, column := range r.Columns() {
		chunk, err := p.group.Column(i)
		if err == nil {
			err = p.append(chunk, column)
		}
		if err != nil {
			return fmt.Errorf("cannot write Parquet, column %s: %w", r.ColumnName(i), err)
		}
	}
	return nil
}

// append writes the values of a batch that are there, and which those are.
func (p *parquetSink) append(to file.ColumnChunkWriter, a arrow.Array) error {
	p.known = p.known[:0]
	for i := range a.Len() {
		p.known = append(p.known, 1)
		if a.IsNull(i) {
			p.known[i] = 0
		}
	}
	known := p.known
	if to.Descr().MaxDefinitionLevel() == 0 {
		known = nil
	}
	var err error
	switch a := a.(type) {
	case *array.String:
		p.texts = pick(p.texts, a, func(i int) parquet.ByteArray { return parquet.ByteArray(a.Value(i)) })
		p.bytes += len(a.ValueBytes())
		_, err = to.(*file.ByteArrayColumnChunkWriter).WriteBatch(p.texts, known, nil)
	case *array.Int64:
		p.ints = pick(p.ints, a, a.Value)
		_, err = to.(*file.Int64ColumnChunkWriter).WriteBatch(p.ints, known, nil)
	case *array.Timestamp:
		p.ints = pick(p.ints, a, func(i int) int64 { return int64(a.Value(i)) })
		_, err = to.(*file.Int64ColumnChunkWriter).WriteBatch(p.ints, known, nil)
	case *array.Float64:
		p.reals = pick(p.reals, a, a.Value)
		_, err = to.(*file.Float64ColumnChunkWriter).WriteBatch(p.reals, known, nil)
	case *array.Boolean:
		p.flags = pick(p.flags, a, a.Value)
		_, err = to.(*file.BooleanColumnChunkWriter).WriteBatch(p.flags, known, nil)
	}
	return err
}

// pick gives the values that are not null.
func pick[V any](into []V, a arrow.Array, value func(int) V) []V {
	into = into[:0]
	for i := range a.Len() {
		if !a.IsNull(i) {
			into = append(into, value(i))
		}
	}
	return into
}

func (p *parquetSink) close() error {
	if p.group != nil {
		if err := p.group.Close(); err != nil {
			return fmt.Errorf("cannot write Parquet: %w", err)
		}
	}
	if err := p.out.Close(); err != nil {
		return fmt.Errorf("cannot write Parquet: %w", err)
	}
	return nil
}

// zstdPages compresses pages with one encoder. That of the library makes a new
// one, of more than a megabyte, for each page.
type zstdPages struct {
	compress.Codec
	encoder *zstd.Encoder
}

func (z zstdPages) Encode(dst, src []byte) []byte { return z.encoder.EncodeAll(src, dst[:0]) }

func (z zstdPages) EncodeLevel(dst, src []byte, _ int) []byte { return z.Encode(dst, src) }

func init() {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		panic(err)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(64<<10))
	if err != nil {
		panic(err)
	}
	compress.RegisterCodec(compress.Codecs.Zstd, zstdPages{codec, encoder})
}
