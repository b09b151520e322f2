package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver is a subscriber. Every request must be signed as the official
// library of Standard Webhooks wants it; what it does with it is behave's.
type receiver struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	secrets []string
	behave  http.HandlerFunc // nil: 204
	taken   []taken          // those that were answered with 204, in order
	asked   int              // requests that came at all
}

// taken is an event that a receiver said it has.
type taken struct {
	ID, Type, Call string
	Body           string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// knows tells the receiver with what events are signed.
func (r *receiver) knows(secrets ...string) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets = secrets
	return r
}

// behaves sets what it does from now on; nil: it takes what comes.
func (r *receiver) behaves(how http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = how
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	r.mu.Lock()
	r.asked++
	secrets, behave := r.secrets, r.behave
	r.mu.Unlock()
	for _, secret := range secrets {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = wh.Verify(body, req.Header)
		}
		if err != nil {
			r.t.Errorf("a request is not signed: %v", err)
		}
	}
	var e struct {
		Type, Timestamp string
		Data            struct{ ID, Call, Type string }
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Type == "" || e.Timestamp == "" || e.Data.ID != req.Header.Get("webhook-id") || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("a request is not as it should be: %v %s %v", err, body, req.Header)
	}
	if behave != nil {
		behave(w, req)
		return
	}
	// Taken before it is answered: a sender that is killed in between sends it again.
	r.mu.Lock()
	r.taken = append(r.taken, taken{ID: e.Data.ID, Type: e.Type, Call: e.Data.Call, Body: string(body)})
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// has are the ids that were taken, each once, by call, in the order of their
// first coming; repeats are what came again.
func (r *receiver) has() (byCall map[string][]string, repeats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	byCall, seen := map[string][]string{}, map[string]bool{}
	for _, e := range r.taken {
		if seen[e.ID] {
			repeats++
			continue
		}
		seen[e.ID] = true
		byCall[e.Call] = append(byCall[e.Call], e.ID)
	}
	return byCall, repeats
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// hasAll is nil when every event that was made has come, in order per call.
func (b *bench) hasAll(r *receiver) error {
	got, _ := r.has()
	for call, n := range b.made {
		ids := got[call]
		if !slices.IsSorted(ids) {
			b.Fatalf("the events of %s came out of order: %v", call, ids)
		}
		if len(ids) < n {
			return fmt.Errorf("of %s %d of %d have come", call, len(ids), n)
		}
		require.Len(b, ids, n)
	}
	return nil
}
