package telemetry

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

func TestBatchKeepsNeighboursOfADamagedRecord(t *testing.T) {
	var batch []byte
	for _, r := range [][]byte{[]byte("one"), {}, {0xff, 0xff}, []byte("four")} {
		batch = AppendToBatch(batch, r)
	}
	var b Batch
	require.NoError(t, proto.Unmarshal(batch, &b), "it is a Batch as the schema has it")
	require.Len(t, b.Records, 4)
	batch = append(batch, 0x12, 1, 'x') // a field of a later version
	batch = AppendToBatch(batch, []byte("five"))
	var got []string
	for r, err := range Unpack(batch) {
		require.NoError(t, err)
		got = append(got, string(r))
	}
	require.Equal(t, []string{"one", "", "\xff\xff", "four", "five"}, got)

	// Cut short: what is whole is there, then the rest with an error.
	got = nil
	var fault error
	for r, err := range Unpack(batch[:len(batch)-1]) {
		got, fault = append(got, string(r)), err
	}
	require.ErrorIs(t, fault, ErrBatch)
	require.Equal(t, []string{"one", "", "\xff\xff", "four", "\x0a\x04fiv"}, got)
}

func FuzzUnpack(f *testing.F) {
	f.Add(AppendToBatch(AppendToBatch(nil, []byte("one")), []byte("two")))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1})
	f.Add([]byte{0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		var fault error
		for r, err := range Unpack(b) {
			if fault != nil {
				t.Fatal("something came after the error")
			}
			if fault = err; err == nil {
				again = AppendToBatch(again, r)
			} else if !errors.Is(err, ErrBatch) || len(r) == 0 {
				t.Fatalf("%v with %d bytes", err, len(r))
			}
		}
		var m Batch
		if proto.Unmarshal(b, &m) == nil {
			if fault != nil {
				t.Fatalf("protobuf reads it: %v", fault)
			}
			n := 0
			for r := range Unpack(again) {
				if string(r) != string(m.Records[n]) {
					t.Fatalf("record %d is %x, want %x", n, r, m.Records[n])
				}
				n++
			}
			if n != len(m.Records) {
				t.Fatalf("%d records, want %d", n, len(m.Records))
			}
		}
	})
}
