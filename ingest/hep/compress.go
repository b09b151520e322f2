package hep

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"sync"
)

// unzippers are kept: each has 40 kB of tables, and heplify may pack every packet.
var unzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// inflate unpacks gzip (heplify), zlib (captagent) or bare deflate.
func inflate(b []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch {
	case len(b) > 2 && isGzip(b):
		z := unzippers.Get().(*gzip.Reader)
		defer unzippers.Put(z)
		r, err = z, z.Reset(bytes.NewReader(b))
	case len(b) > 2 && b[0]&0x0f == 8 && (uint(b[0])<<8|uint(b[1]))%31 == 0: // RFC 1950 §2.2
		r, err = zlib.NewReader(bytes.NewReader(b))
	default:
		r = flate.NewReader(bytes.NewReader(b))
	}
	if err != nil {
		return nil, compressedError(err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxInflatedBytes+1))
	if err != nil {
		return nil, compressedError(err)
	}
	if len(plain) > maxInflatedBytes {
		return nil, ErrTooLarge
	}
	return plain, nil
}
