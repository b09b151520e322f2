package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/earshot/earshot/query"
)

const eventStreamType = "text/event-stream"

// pollInterval is how old a live view may be. Verdicts of running calls come
// every few seconds; asking ClickHouse for one key costs a millisecond.
const pollInterval = time.Second

// keepAlive is how often a comment goes out where nothing has changed, below
// the idle timeouts of proxies.
const keepAlive = 15 * time.Second

// events writes server-sent events (HTML Standard §9.2).
type events struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	last time.Time
}

func newEvents(ctx huma.Context) *events {
	w := humagin.Unwrap(ctx).Writer
	w.Header().Set("Content-Type", eventStreamType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, ctl: http.NewResponseController(w)}
	// A stream has no end to set a deadline for; servers without deadlines refuse this.
	_ = e.ctl.SetWriteDeadline(time.Time{})
	return e
}

func (e *events) send(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write an event: %w", err)
	}
	if _, err := fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, b); err != nil {
		return fmt.Errorf("cannot write an event: %w", err)
	}
	e.last = time.Now()
	return e.ctl.Flush()
}

// idle sends a comment where the connection has been silent for long.
func (e *events) idle() error {
	if time.Since(e.last) < keepAlive {
		return nil
	}
	if _, err := fmt.Fprint(e.w, ": nothing new\n\n"); err != nil {
		return fmt.Errorf("cannot write an event: %w", err)
	}
	e.last = time.Now()
	return e.ctl.Flush()
}

// poll calls look at once and then each interval until it says done, the
// client has gone, the server closes or the question fails twice in a row.
func (s *server) poll(ctx huma.Context, look func() (done bool, err error)) {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	failed := false
	for {
		done, err := look()
		if done || ctx.Context().Err() != nil {
			return
		}
		if err != nil {
			if failed {
				// The client connects again by itself and then gets the status.
				s.log.Warn("a live view ended", "request_id", requestID(ctx.Context()), "error", err)
				return
			}
			failed = true
		} else {
			failed = false
		}
		select {
		case <-ctx.Context().Done():
			return
		case <-s.deps.Closing:
			return
		case <-t.C:
		}
	}
}

func (s *server) followCall(ctx huma.Context, company, id string) {
	e := newEvents(ctx)
	var sent []byte
	s.poll(ctx, func() (bool, error) {
		c, err := s.call(ctx.Context(), company, id)
		if errors.Is(err, query.ErrNotFound) {
			return true, nil // fell out of retention
		}
		if err != nil {
			return false, err
		}
		b, err := json.Marshal(c)
		if err != nil {
			return true, fmt.Errorf("cannot write a call: %w", err)
		}
		if bytes.Equal(b, sent) {
			return false, e.idle()
		}
		sent = b
		if err := e.send("call", json.RawMessage(b)); err != nil {
			return true, err
		}
		if c.State == "ended" && c.Verdict.Final {
			return true, e.send("end", map[string]string{"id": c.ID})
		}
		return false, nil
	})
}

func (s *server) followCompany(ctx huma.Context, company string) {
	e := newEvents(ctx)
	versions := map[string]uint32{} // of the running calls as sent
	s.poll(ctx, func() (bool, error) {
		calls, err := s.deps.Query.Company(company).LiveCalls(ctx.Context(), query.Page{Limit: 1000})
		if err != nil {
			return false, err
		}
		running := make(map[string]uint32, len(calls.Items))
		for _, c := range calls.Items {
			running[c.ID] = c.Verdict.Version
			if v, known := versions[c.ID]; known && v == c.Verdict.Version {
				continue
			}
			c.Links = callLinks(ctx.Context(), c)
			if err := e.send("call", c); err != nil {
				return true, err
			}
		}
		for id := range versions {
			if _, still := running[id]; !still {
				if err := e.send("end", map[string]string{"id": id}); err != nil {
					return true, err
				}
			}
		}
		versions = running
		return false, e.idle()
	})
}
