package apptest

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/earshot/earshot/telemetry"
)

var hookSeed = flag.Uint64("hook.seed", 0, "seed of the kills of the sender of webhooks; 0: a new one")

// subscriber receives webhooks. It checks every signature with the official
// library and keeps what it has said to have, in order.
type subscriber struct {
	t      *testing.T
	url    string
	secret string

	mu     sync.Mutex
	behave http.HandlerFunc // nil: it takes what comes
	order  map[string][]string
	seen   map[string]bool
	again  int
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	wh, err := standardwebhooks.NewWebhook(s.secret)
	if err == nil {
		err = wh.Verify(body, r.Header)
	}
	if err != nil {
		s.t.Errorf("a webhook is not signed as it should be: %v", err)
	}
	s.mu.Lock()
	behave := s.behave
	s.mu.Unlock()
	if behave != nil {
		behave(w, r)
		return
	}
	var e struct{ Data struct{ ID, Call string } }
	if err := json.Unmarshal(body, &e); err != nil || e.Data.ID != r.Header.Get("webhook-id") {
		s.t.Errorf("a webhook is not as it should be: %v %s", err, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[e.Data.ID] {
		s.again++
	} else {
		s.seen[e.Data.ID] = true
		s.order[e.Data.Call] = append(s.order[e.Data.Call], e.Data.ID)
	}
}

func (s *subscriber) behaves(how http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = how
}

// lacks is nil when the subscriber has just these events, in their order.
func (s *subscriber) lacks(want map[string][]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for call, ids := range want {
		got := s.order[call]
		if !slices.Equal(got, ids[:min(len(got), len(ids))]) {
			s.t.Fatalf("events of %s came as %v, happened as %v", call, got, ids)
		}
		if len(got) != len(ids) {
			return fmt.Errorf("it has %d of %d events of %s", len(got), len(ids), call)
		}
	}
	return nil
}

// subscribe makes a subscription to all events by the API.
func (u *Up) subscribe(t *testing.T) (*subscriber, string) {
	t.Helper()
	s := &subscriber{t: t, order: map[string][]string{}, seen: map[string]bool{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	var made struct{ ID, Secret string }
	require.NoError(t, u.Do(http.MethodPost, company+"/subscriptions", "application/json", fmt.Appendf(nil, `{"url":%q,"types":["*"]}`, s.url), &made))
	s.secret = made.Secret
	return s, company + "/subscriptions/" + made.ID
}

// Platforms post events of calls; the process that tells subscribers is killed
// with SIGKILL at random, and one of two subscribers fails, hangs and resets by
// turns and is then away for what its back-off takes for an hour. Both get every
// event, in order per call.
func TestWebhooksSurviveKills(t *testing.T) {
	seed := *hookSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with go test ./internal/apptest -run TestWebhooksSurviveKills -args -hook.seed=%d", seed, seed)
	random := rand.New(rand.NewPCG(seed, 1))

	u := StartUp(t, "--roles=process,ingest,api", "--webhooks.allow_private=127.0.0.0/8")
	sink := Start(t, nil, "sink", "--data", u.Data, "--admin.listen=127.0.0.1:0", "--processors.instance=sink",
		"--webhooks.allow_private=127.0.0.0/8", "--webhooks.backoff=20ms,100ms,500ms", "--webhooks.probe=500ms", "--webhooks.timeout=2s")
	steady, _ := u.subscribe(t)
	flaky, path := u.subscribe(t)
	moods := []http.HandlerFunc{
		nil,
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, steady.url, http.StatusFound) },
	}

	const calls, rounds = 6, 16
	begin := time.Now()
	post := func(typ string, round int) {
		for c := range calls {
			u.post(t, typ, fmt.Sprint("hook-", c), begin.Add(time.Duration(round)*10*time.Millisecond), map[string]any{"from": "+14155550100", "to": "+14155550199", "side": "target"})
		}
	}
	post("started", 0)
	post("connected", 1)
	kills := 0
	for round := range rounds {
		flaky.behaves(moods[random.IntN(len(moods))])
		if round >= rounds/2 {
			flaky.behaves(moods[3]) // away from here on
		}
		post([]string{"held", "resumed"}[round%2], 2+round)
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond) // any moment will do
		if random.IntN(3) > 0 {
			sink.Kill()
			kills++
			sink.Restart()
		}
	}
	post("ended", 2+rounds)

	want := map[string][]string{}
	events := 0
	Eventually(t, 60*time.Second, "all calls have ended", func() error {
		ended := 0
		clear(want)
		committedOutcomes(t, u.Run, func(_ *kgo.Record, o *telemetry.Outcome) {
			if m := o.GetMoment(); m != nil && !slices.Contains(want[o.CallId], m.Id) {
				want[o.CallId] = append(want[o.CallId], m.Id)
				if m.Type == "verdict" {
					ended++
				}
			}
		})
		if ended < calls {
			return fmt.Errorf("%d of %d", ended, calls)
		}
		return nil
	})
	for _, ids := range want {
		require.Greater(t, len(ids), rounds+2)
		events += len(ids)
	}
	Eventually(t, 60*time.Second, "the steady one has all while the other is away", func() error { return steady.lacks(want) })
	var shown struct {
		State   string
		Pending int
	}
	require.NoError(t, u.Get(path, &shown))
	require.Equal(t, "failing", shown.State)
	require.Positive(t, shown.Pending)

	flaky.behaves(nil)
	Eventually(t, 60*time.Second, "the other has all when it is back", func() error { return flaky.lacks(want) })
	Eventually(t, 30*time.Second, "nothing is pending", func() error {
		if err := u.Get(path, &shown); err != nil || shown.Pending != 0 || shown.State != "ok" {
			return fmt.Errorf("%+v %w", shown, err)
		}
		return nil
	})
	require.Len(t, steady.seen, events)
	require.Len(t, flaky.seen, events)
	t.Logf("seed %d: %d kills, %d events to each of 2 subscribers, 0 lost, all in order per call, %d and %d came again", seed, kills, events, steady.again, flaky.again)
}
