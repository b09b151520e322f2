// Package admin serves what operators and orchestrators ask a process: its
// metrics, whether it lives, whether it is ready and on what that depends, and
// profiles.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sort"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check says whether a dependency can be used now; nil is ready.
type Check func(ctx context.Context) error

// Server answers /metrics, /livez, /readyz and /debug/pprof/.
type Server struct {
	log      *slog.Logger
	listener net.Listener
	gatherer prometheus.Gatherer

	mu       sync.Mutex
	checks   map[string]Check
	draining bool
}

// checkTimeout bounds one dependency's check, so that /readyz itself answers.
const checkTimeout = 2 * time.Second

// Listen takes the address; Run serves on it.
func Listen(addr string, gatherer prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: the port is taken by another program; set admin.listen to another address", addr)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s (admin.listen): %w", addr, err)
	}
	return &Server{log: log, listener: l, gatherer: gatherer, checks: map[string]Check{}}, nil
}

// Addr is the bound address.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Add names a dependency that must be well for the process to be ready.
func (s *Server) Add(name string, check Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks[name] = check
}

// Drain makes /readyz refuse while the process finishes its work.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve admin requests: %w", err)
	}
	return nil
}

// State is one line of /readyz.
type State struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// Ready runs every check.
func (s *Server) Ready(ctx context.Context) (states []State, ready bool) {
	s.mu.Lock()
	ready = !s.draining
	for name := range s.checks {
		states = append(states, State{Name: name})
	}
	checks := s.checks
	s.mu.Unlock()
	sort.Slice(states, func(i, j int) bool { return states[i].Name < states[j].Name })
	var wg sync.WaitGroup
	for i := range states {
		s.mu.Lock()
		check := checks[states[i].Name]
		s.mu.Unlock()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			if err := check(ctx); err != nil {
				states[i].Error = err.Error()
				return
			}
			states[i].Ready = true
		})
	}
	wg.Wait()
	for _, state := range states {
		ready = ready && state.Ready
	}
	return states, ready
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	states, ready := s.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"ready": ready, "dependencies": states}); err != nil {
		s.log.Debug("cannot answer /readyz", "error", err)
	}
}
