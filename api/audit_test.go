package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/earshot/earshot/api"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
)

// hangUp is a client that goes away when the answer begins to arrive.
type hangUp struct {
	*httptest.ResponseRecorder
	away context.CancelFunc
}

func (h hangUp) Write(b []byte) (int, error) {
	h.away()
	return h.ResponseRecorder.Write(b)
}

// Who breaks an export off has read what came before.
func TestAuditOfABrokenExport(t *testing.T) {
	s := newSiteOn(t, nil, directory.Config{})
	for i := range 2 * directory.DefaultLimit {
		if _, err := s.directory.CreateUser(t.Context(), "default", directory.User{ID: fmt.Sprintf("user-%03d", i), Name: fmt.Sprintf("User number %03d of the export", i)}); err != nil {
			t.Fatal(err)
		}
	}
	none := clickhouse.DefaultConfig()
	none.Addr = []string{"127.0.0.1:1"} // nothing listens on tcpmux
	conn, err := clickhouse.Open(none)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h, err := api.New(api.Config{}, api.Deps{Directory: s.directory, Query: query.New(conn, query.Options{}), Access: s.access, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, away := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", defaultCompany+"/users", nil)
	r.Header.Set("Authorization", "Bearer "+s.operator)
	r.Header.Set("Accept", "text/csv")
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("the export did not break off: %v", err)
			}
		}()
		h.ServeHTTP(hangUp{httptest.NewRecorder(), away}, r)
	}()
	if err := s.access.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.list(s.operator, defaultCompany+"/audit?action=read"); len(got) != 1 || got[0].Subject.Kind != "export" || got[0].Subject.ID != "users" {
		t.Errorf("%+v", got)
	}
}

// What no record can hold is no failure of the server, on either engine.
func TestPathsThatAreNoText(t *testing.T) {
	onBothSites(t, nil, func(s *site) {
		for _, path := range []string{"/users/a%00b", "/users/a%ffb", "/offices/%00", "/subscriptions/%00", "/audit?actor=%00", "/notes?cursor=WyIxIiwiMiIsIlx1MDAwMCJd"} {
			if a := s.get(defaultCompany + path); a.status >= 500 {
				s.t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"/a%00b", filtered(`userName co "a\u0000b"`), filtered(`displayName sw "a\u0000b"`), filtered(`userName eq "a\u0000b"`)} {
			if a := s.get("/scim/v2/default/Users"+path, "Authorization", "Bearer "+s.operator); a.status >= 500 {
				s.t.Errorf("SCIM %s: %d %s", path, a.status, a.body)
			}
		}
	})
}
