package ingest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Decompressors are used again: one has tables and windows of some 40 kB (gzip)
// or more (zstd), made anew for a body that is often smaller.
var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstdReaders = sync.Pool{New: func() any {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			panic(fmt.Sprintf("ingest: options of zstd: %v", err)) // they are constants
		}
		return z
	}}
)

// unpack gives the body of a request as it was before compression, within its
// bounds. release must be called when it was read.
func (in *Ingester) unpack(r *http.Request) (body io.Reader, release func(), err error) {
	limits := in.cfg.HTTP
	tooLarge := &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("a body may have %d bytes, %d unpacked", limits.BodyBytes, limits.PlainBytes)}
	var packed io.Reader = &limitedReader{r: r.Body, left: limits.BodyBytes, err: tooLarge}
	release = func() {}
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z := gzipReaders.Get().(*gzip.Reader)
		release = func() { gzipReaders.Put(z) }
		if err := z.Reset(packed); err != nil {
			release()
			return nil, nil, bodyError(err, "the body is no gzip")
		}
		packed = z
	case "zstd":
		z := zstdReaders.Get().(*zstd.Decoder)
		release = func() {
			if z.Reset(nil) == nil { // lets go of the body
				zstdReaders.Put(z)
			}
		}
		if err := z.Reset(packed); err != nil {
			release()
			return nil, nil, bodyError(err, "the body is no zstd")
		}
		packed = z
	default:
		return nil, nil, &problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Encoding must be gzip, zstd or none"}
	}
	return &limitedReader{r: packed, left: limits.PlainBytes, err: tooLarge}, release, nil
}

func bodyError(err error, detail string) error {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: "the body is too large unpacked"}
	}
	return &problem{Status: http.StatusBadRequest, Detail: detail}
}

type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, l.err
	}
	// One byte more than allowed tells a body that is exactly full from a larger one.
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.err
	}
	return n, err
}

// lineByLine says whether a body of a type has an item per line. Other types
// have an array of items or JSON texts one after the other.
func lineByLine(contentType string) (bool, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true, nil
	case "", "application/json", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json", "application/octet-stream":
		return false, nil
	default:
		return false, &problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Type must be application/json, application/x-ndjson, application/cloudevents+json or application/cloudevents-batch+json"}
	}
}
