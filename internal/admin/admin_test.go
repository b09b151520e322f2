package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestReadinessNamesWhatIsNot(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "earshot_test_total"}, func() float64 { return 3 }))
	s, err := Listen("127.0.0.1:0", registry, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	base := "http://" + s.Addr()

	broken := errors.New("no broker answers")
	s.Add("clickhouse", func(context.Context) error { return nil })
	s.Add("kafka", func(context.Context) error { return broken })
	status, body := get(t, base+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	var answer struct {
		Ready        bool
		Dependencies []State
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Equal(t, []State{{Name: "clickhouse", Ready: true}, {Name: "kafka", Error: "no broker answers"}}, answer.Dependencies)

	broken = nil
	status, _ = get(t, base+"/readyz")
	require.Equal(t, http.StatusOK, status)
	s.Drain()
	status, _ = get(t, base+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	status, _ = get(t, base+"/livez")
	require.Equal(t, http.StatusOK, status, "draining is still alive")
	_, body = get(t, base+"/metrics")
	require.Contains(t, body, "earshot_test_total 3")

	cancel()
	require.NoError(t, <-done)
}

func TestTakenPortNamesTheSetting(t *testing.T) {
	s, err := Listen("127.0.0.1:0", prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.listener.Close()
	_, err = Listen(s.Addr(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "admin.listen")
}
