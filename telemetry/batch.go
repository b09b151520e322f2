package telemetry

import (
	"errors"
	"fmt"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrBatch is returned for bytes that are no Batch, or are one no longer.
var ErrBatch = errors.New("telemetry: batch cannot be read")

// batchRecords is the field number of Batch.records.
const batchRecords = 1

// AppendToBatch appends a marshalled Record to a marshalled Batch. An empty
// slice is a Batch without records.
func AppendToBatch(batch, record []byte) []byte {
	batch = protowire.AppendTag(batch, batchRecords, protowire.BytesType)
	return protowire.AppendBytes(batch, record)
}

// Unpack gives the marshalled Records of a Batch in their order, as parts of
// it. A damaged Record does not hinder those after it; where the Batch itself
// is damaged the last step gives what cannot be read, with an error.
func Unpack(batch []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(batch) > 0 {
			number, kind, n := protowire.ConsumeTag(batch)
			if n < 0 {
				yield(batch, fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(n)))
				return
			}
			if number != batchRecords || kind != protowire.BytesType {
				// A field of a later version.
				m := protowire.ConsumeFieldValue(number, kind, batch[n:])
				if m < 0 {
					yield(batch, fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(m)))
					return
				}
				batch = batch[n+m:]
				continue
			}
			record, m := protowire.ConsumeBytes(batch[n:])
			if m < 0 {
				yield(batch, fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(m)))
				return
			}
			batch = batch[n+m:]
			if !yield(record, nil) {
				return
			}
		}
	}
}
