// Package portal holds the support portal: a web page in TypeScript, built by
// `make portal` into dist and embedded into the program.
package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// dist holds only a placeholder until the portal has been built, so that the
// Go code compiles without Node.
//
//go:embed all:dist
var dist embed.FS

// contentSecurityPolicy lets the page load nothing from elsewhere. Styles may
// stand in elements because the graphs are placed by them.
const contentSecurityPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// minGzipBytes is the size from which compressing saves a packet on the wire.
const minGzipBytes = 1200

// Handler serves the portal's files and, for every path that is a page of the
// portal, its index.html. Paths of the API that reached it are 404.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		// fs.Sub fails only on an invalid name, and this one is constant.
		panic("cannot open the embedded portal: " + err.Error())
	}
	return newHandler(files)
}

// contentTypes is fixed here because the system's table differs between machines.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

type handler struct {
	files fs.FS

	mu    sync.Mutex
	cache map[string]*asset
}

// asset is one file, ready to be sent. The set of files is fixed at build
// time, so the cache cannot grow past it.
type asset struct {
	body        []byte
	gzipped     []byte // nil where compressing gains nothing
	contentType string
	etag        string
}

func newHandler(files fs.FS) *handler {
	return &handler{files: files, cache: map[string]*asset{}}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	for _, machine := range []string{"api", "ingest"} {
		if name == machine || strings.HasPrefix(name, machine+"/") {
			http.NotFound(w, r)
			return
		}
	}
	hashed := strings.HasPrefix(name, "assets/")

	found, err := h.load(name)
	if errors.Is(err, fs.ErrNotExist) && !hashed {
		// Any other path is a page that the browser's router knows.
		name = "index.html"
		found, err = h.load(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && hashed:
		http.NotFound(w, r)
		return
	case errors.Is(err, fs.ErrNotExist):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", contentSecurityPolicy)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(notBuilt))
		return
	case err != nil:
		http.Error(w, "cannot read the portal", http.StatusInternalServerError)
		return
	}
	found.send(w, r, hashed, name == "index.html")
}

// load returns a file of the portal. Directories and the placeholder do not exist.
func (h *handler) load(name string) (*asset, error) {
	if name == "" || strings.HasPrefix(path.Base(name), ".") {
		return nil, fs.ErrNotExist
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a, ok := h.cache[name]; ok {
		return a, nil
	}
	info, err := fs.Stat(h.files, name)
	if err != nil {
		if errors.Is(err, fs.ErrInvalid) {
			return nil, fs.ErrNotExist
		}
		return nil, err
	}
	if info.IsDir() {
		return nil, fs.ErrNotExist
	}
	body, err := fs.ReadFile(h.files, name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	a := &asset{
		body:        body,
		contentType: contentTypes[path.Ext(name)],
		etag:        hex.EncodeToString(sum[:8]),
	}
	if a.contentType == "" {
		a.contentType = http.DetectContentType(body)
	}
	if len(body) >= minGzipBytes {
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(body); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		if packed.Len() < len(body)*9/10 {
			a.gzipped = packed.Bytes()
		}
	}
	h.cache[name] = a
	return a, nil
}

func (a *asset) send(w http.ResponseWriter, r *http.Request, hashed, page bool) {
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Vary", "Accept-Encoding")
	switch {
	case hashed:
		// The name changes with the content.
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		header.Set("Cache-Control", "no-cache")
	}
	if page {
		header.Set("Content-Security-Policy", contentSecurityPolicy)
	}
	body, etag := a.body, `"`+a.etag+`"`
	if a.gzipped != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		body, etag = a.gzipped, `"`+a.etag+`-gz"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body)
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110 §12.5.3).
func acceptsGzip(accept string) bool {
	for _, part := range strings.Split(accept, ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "gzip") && coding != "*" {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		if !found {
			return true
		}
		value, err := strconv.ParseFloat(q, 64)
		return err == nil && value > 0
	}
	return false
}

func matches(ifNoneMatch, etag string) bool {
	for _, part := range strings.Split(ifNoneMatch, ",") {
		if part = strings.TrimPrefix(strings.TrimSpace(part), "W/"); part == etag || part == "*" {
			return true
		}
	}
	return false
}

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Earshot: the portal is not built</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:4em auto;padding:0 1em}</style>
<h1>The portal is not built</h1>
<p>This program was compiled without its web pages. Build them and the program again:</p>
<pre>make portal build</pre>
<p>The API works without them: <a href="/api/docs">/api/docs</a>.</p>
</html>
`
