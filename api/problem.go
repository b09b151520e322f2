package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

const problemType = "application/problem+json"

// Problem is the body of every error (RFC 9457). It names what is wrong and
// where, and never repeats a value: what callers send may be a phone number,
// and error texts end up in logs.
type Problem struct {
	Type      string         `json:"type" doc:"about:blank: the status says what kind of problem it is"`
	Title     string         `json:"title" doc:"The status in words"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty" doc:"What was wrong this time"`
	Errors    []ProblemField `json:"errors,omitempty" doc:"Each thing that was wrong"`
	RequestID string         `json:"request_id,omitempty" doc:"Finds the request in the log"`
}

// ProblemField says what is wrong with one part of a request.
type ProblemField struct {
	Location string `json:"location" doc:"Such as query.limit or body.numbers[2]"`
	Message  string `json:"message"`
}

func (p *Problem) Error() string  { return p.Detail }
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes errors JSON whatever was asked for.
func (p *Problem) ContentType(string) string { return problemType }

func newProblem(status int, detail string, fields ...ProblemField) *Problem {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
	if len(fields) > 0 {
		// The detail alone has to do where only one line is shown.
		said := make([]string, len(fields))
		for i, f := range fields {
			said[i] = f.Location + ": " + f.Message
		}
		p.Detail = strings.Join(said, "; ")
	}
	return p
}

// huma keeps its error constructor in a variable of the package: there is one
// form of errors in a program.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		var fields []ProblemField
		for _, err := range errs {
			var d huma.ErrorDetailer
			if errors.As(err, &d) {
				// Without d.Value.
				fields = append(fields, ProblemField{Location: d.ErrorDetail().Location, Message: d.ErrorDetail().Message})
			}
			// Errors of other kinds may quote what they failed on.
		}
		return newProblem(status, message, fields...)
	}
}

// writeProblem is for what is answered outside of huma.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = requestID(r.Context())
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		// The status is out; a client that has gone away is no one's error.
		_ = huma.DefaultJSONFormat.Marshal(w, p)
	}
}

// problem turns an error of a handler into what the client is told. in is where
// the fields that the directory names came from: query or body.
func (s *server) problem(ctx context.Context, in string, err error) error {
	var p *Problem
	var field *directory.FieldError
	var tooMany *query.TooManyPointsError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &field):
		status := http.StatusUnprocessableEntity
		if errors.Is(field, directory.ErrConflict) {
			status = http.StatusConflict
		}
		return newProblem(status, "", ProblemField{Location: in + "." + field.Field, Message: field.Reason})
	case errors.Is(err, directory.ErrNotFound), errors.Is(err, query.ErrNotFound):
		return newProblem(http.StatusNotFound, "there is no such object")
	case errors.Is(err, query.ErrCursor):
		return newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.cursor", Message: "is not one that this list gave"})
	case errors.As(err, &tooMany):
		return newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "query.interval",
			Message: fmt.Sprintf("makes %d points in this time, at most %d: choose a wider interval, a shorter time or fewer groups", tooMany.Points, tooMany.Most)})
	case errors.Is(err, query.ErrLimit):
		return newProblem(http.StatusUnprocessableEntity, "the question is too big: ask for a shorter time, a wider interval or a smaller page")
	case errors.Is(err, query.ErrFilter):
		return newProblem(http.StatusUnprocessableEntity, "a filter has a value that it does not know")
	case errors.Is(err, directory.ErrUnauthenticated):
		return newProblem(http.StatusUnauthorized, "sign in, or send a valid key as Authorization: Bearer")
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// The client has gone: no one reads this, and it is no failure of ours.
		return newProblem(http.StatusServiceUnavailable, "the request was cancelled")
	}
	// PostgreSQL takes neither NUL nor broken UTF-8; no record holds them.
	var sql interface{ SQLState() string }
	if errors.As(err, &sql) && sql.SQLState() == "22021" {
		return newProblem(http.StatusUnprocessableEntity, "the request holds characters that are no text")
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("a store does not answer", "request_id", requestID(ctx), slog.Any("error", err))
		return huma.ErrorWithHeaders(newProblem(http.StatusServiceUnavailable, "the store does not answer; try again shortly"), http.Header{"Retry-After": {"5"}})
	}
	s.log.Error("request failed", "request_id", requestID(ctx), slog.Any("error", err))
	return newProblem(http.StatusInternalServerError, "something failed inside; the log has it under the request id")
}
