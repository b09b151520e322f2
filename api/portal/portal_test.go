package portal

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, method, target string, headers map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func built() http.Handler {
	return newHandler(fstest.MapFS{
		".gitkeep":             {},
		"index.html":           {Data: []byte("<!doctype html><title>Earshot</title>")},
		"favicon.svg":          {Data: []byte("<svg/>")},
		"assets/index-abc1.js": {Data: []byte(strings.Repeat("export const a = 1;\n", 200))},
	})
}

func TestHandlerPaths(t *testing.T) {
	cases := []struct {
		path        string
		status      int
		contentType string
		cache       string
	}{
		{"/", 200, "text/html; charset=utf-8", "no-cache"},
		{"/c/default/calls/abc.def", 200, "text/html; charset=utf-8", "no-cache"},
		{"/favicon.svg", 200, "image/svg+xml", "no-cache"},
		{"/assets/index-abc1.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"/assets/index-gone.js", 404, "", ""},
		{"/assets", 200, "text/html; charset=utf-8", "no-cache"},
		{"/.gitkeep", 200, "text/html; charset=utf-8", "no-cache"},
		{"/../../etc/passwd", 200, "text/html; charset=utf-8", "no-cache"},
		{"/api/v1/nothing", 404, "", ""},
		{"/ingest/v1/nothing", 404, "", ""},
	}
	for _, c := range cases {
		resp := get(t, built(), http.MethodGet, c.path, nil)
		if resp.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.path, resp.StatusCode, c.status)
			continue
		}
		if c.status != 200 {
			continue
		}
		if got := resp.Header.Get("Content-Type"); got != c.contentType {
			t.Errorf("%s: content type %q, want %q", c.path, got, c.contentType)
		}
		if got := resp.Header.Get("Cache-Control"); got != c.cache {
			t.Errorf("%s: cache control %q, want %q", c.path, got, c.cache)
		}
		page := strings.HasPrefix(c.contentType, "text/html")
		if got := resp.Header.Get("Content-Security-Policy"); page != strings.Contains(got, "default-src 'self'") {
			t.Errorf("%s: content security policy %q", c.path, got)
		}
	}
}

func TestHandlerCompresses(t *testing.T) {
	const name = "/assets/index-abc1.js"
	plain := get(t, built(), http.MethodGet, name, nil)
	want := body(t, plain)
	if plain.Header.Get("Content-Encoding") != "" {
		t.Fatal("compressed without being asked")
	}
	packed := get(t, built(), http.MethodGet, name, map[string]string{"Accept-Encoding": "br, gzip;q=0.8"})
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("not compressed")
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || string(got) != want {
		t.Fatalf("unpacked to %d bytes, %v; want %d bytes", len(got), err, len(want))
	}
	if refused := get(t, built(), http.MethodGet, name, map[string]string{"Accept-Encoding": "gzip;q=0"}); refused.Header.Get("Content-Encoding") != "" {
		t.Error("compressed although refused")
	}
	again := get(t, built(), http.MethodGet, name, map[string]string{
		"Accept-Encoding": "gzip", "If-None-Match": packed.Header.Get("ETag"),
	})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for a file that did not change, want 304", again.StatusCode)
	}
}

func TestHandlerMethods(t *testing.T) {
	if resp := get(t, built(), http.MethodPost, "/", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d, want 405", resp.StatusCode)
	}
	head := get(t, built(), http.MethodHead, "/favicon.svg", nil)
	if got := body(t, head); head.StatusCode != 200 || got != "" || head.Header.Get("Content-Length") != "6" {
		t.Errorf("HEAD: status %d, length %q, body %q", head.StatusCode, head.Header.Get("Content-Length"), got)
	}
}

func TestHandlerNotBuilt(t *testing.T) {
	h := newHandler(fstest.MapFS{".gitkeep": {}})
	resp := get(t, h, http.MethodGet, "/c/default", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body(t, resp), "make portal") {
		t.Errorf("status %d: want 503 and a word on make portal", resp.StatusCode)
	}
}
