package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/directory"
)

const ndjsonType = "application/x-ndjson"

// progressInterval is how often an import tells how far it is.
const progressInterval = 200 * time.Millisecond

// maxImports bounds how many imports run at a time, for each has all of its file
// in memory. A further one waits for a while: those before it take seconds.
const maxImports = 2

// importPatience is how long; a variable for tests.
var importPatience = 30 * time.Second

// uploadTime bounds for how long a sender may keep others from importing.
const uploadTime = 10 * time.Minute

// importResult is what came of an import.
type importResult struct {
	DryRun  bool `json:"dry_run"`
	Rows    int  `json:"rows" doc:"Users in the file"`
	Created int  `json:"created" doc:"Users that were stored, or would be; all of the file or 0"`
	importErrors
}

type importErrors struct {
	Errors []directory.ImportError `json:"errors" doc:"The first 1,000, by line"`
	Total  int                     `json:"errors_total"`
}

// importProblem is a Problem whose errors are those of a file.
type importProblem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id,omitempty"`
	importErrors
}

type importInput struct {
	CompanyInput
	DryRun bool   `query:"dry_run" doc:"Check everything and store nothing"`
	Office string `query:"office" maxLength:"64" doc:"Id of the office of users whose row names none"`
}

func (s *server) routeUsersImport() {
	schema := huma.SchemaFromType(s.api.OpenAPI().Components.Schemas, reflect.TypeFor[importResult]())
	add(s, huma.Operation{Method: "POST", Path: companyPath + "/users/import", OperationID: "import-users", Summary: "Add users from CSV, all or none", Tags: []string{"Users"},
		Description: "The first row names the columns: name, and any of email, id, state, office, departments, contact_centers, numbers, aors and voicemail_greeting; " +
			"what an export has beside them is read over. Delimited by comma, semicolon or tab; several values of a cell are divided by semicolons; UTF-8; at most 64 MiB and 200,000 users. " +
			"Two imports run at a time; a further one waits for up to half a minute and is then refused with 503. " +
			"Places are named by id or by name. Each row that is wrong is named by line and column, and then nothing is stored. " +
			"With Accept: application/x-ndjson an import that takes longer than a moment answers lines of progress {rows_checked, rows_stored, total}, and the result as the last line.",
		Metadata: map[string]any{metaFormats: []string{ndjsonType}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			csvType: {Schema: &huma.Schema{Type: huma.TypeString}, Example: "name,email,numbers\r\nAlice Amos,alice@example.com,+14155550101\r\n"},
		}},
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema}, ndjsonType: {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, func(ctx context.Context, in *importInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { s.importUsers(ctx, in) }}, nil
	})
}

func (s *server) importUsers(ctx huma.Context, in *importInput) {
	c := humagin.Unwrap(ctx)
	switch media, _, _ := mime.ParseMediaType(c.GetHeader("Content-Type")); media {
	case csvType, "text/tab-separated-values", "application/csv", "application/vnd.ms-excel": // what browsers call it
	default:
		s.refuse(ctx, newProblem(http.StatusUnsupportedMediaType, "the body must be text/csv"))
		return
	}
	if p := s.beginImport(ctx.Context()); p != nil {
		ctx.SetHeader("Retry-After", "30")
		s.refuse(ctx, p)
		return
	}
	defer func() { <-s.imports }()
	// All of the file is here before anything is locked.
	body := http.NewResponseController(c.Writer)
	_ = body.SetReadDeadline(time.Now().Add(uploadTime))
	file, err := directory.ParseUsers(c.Request.Body)
	_ = body.SetReadDeadline(time.Time{})
	if err != nil {
		s.refuse(ctx, newProblem(http.StatusBadRequest, "the file did not arrive whole"))
		return
	}
	var progress atomic.Pointer[directory.ImportProgress]
	done := make(chan error, 1)
	go func() {
		// Other writers wait for the import, so it never waits for the client.
		done <- s.deps.Directory.ImportUsers(ctx.Context(), in.Company, file, directory.ImportOptions{
			Office: in.Office, DryRun: in.DryRun, Progress: func(p directory.ImportProgress) { progress.Store(&p) },
		})
	}()
	lines := strings.Contains(c.GetHeader("Accept"), ndjsonType)
	t := time.NewTicker(progressInterval)
	defer t.Stop()
	begun := false
	for {
		select {
		case err := <-done:
			s.imported(ctx, in, file, err, lines, begun)
			return
		case <-t.C:
		}
		if p := progress.Load(); lines && p != nil {
			if !begun {
				beginLines(c.Writer)
			}
			begun = true
			writeLine(c.Writer, p)
		}
	}
}

// beginImport waits until there is room for an import, or says why there is none.
func (s *server) beginImport(ctx context.Context) *Problem {
	ctx, cancel := context.WithTimeout(ctx, importPatience)
	defer cancel()
	select {
	case s.imports <- struct{}{}:
		return nil
	case <-ctx.Done():
		return newProblem(http.StatusServiceUnavailable, fmt.Sprintf("%d imports are under way, which is as many as run at a time: try again when one of them has ended", maxImports))
	}
}

func beginLines(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ndjsonType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
}

// writeLine ignores a client that has gone: its request's context says so too.
func writeLine(w http.ResponseWriter, v any) {
	_ = json.NewEncoder(w).Encode(v)
	_ = http.NewResponseController(w).Flush()
}

// imported answers with the result, as JSON or as the last of the lines.
func (s *server) imported(ctx huma.Context, in *importInput, file *directory.ImportFile, err error, lines, begun bool) {
	c := humagin.Unwrap(ctx)
	result := importResult{DryRun: in.DryRun, Rows: file.Total, Created: file.Total, importErrors: importErrors{Errors: []directory.ImportError{}}}
	var wrong *directory.ImportErrors
	var p *Problem
	switch {
	case errors.As(err, &wrong):
		result.Created, result.importErrors = 0, importErrors{wrong.Errors, wrong.Total}
	case err != nil:
		if !errors.As(s.problem(ctx.Context(), "query", err), &p) {
			p = newProblem(http.StatusServiceUnavailable, "the store does not answer; try again shortly")
		}
	}
	switch {
	case begun && p != nil:
		p.RequestID = requestID(ctx.Context())
		writeLine(c.Writer, p)
	case begun:
		writeLine(c.Writer, result)
	case p != nil:
		s.refuse(ctx, p)
	case wrong != nil && !in.DryRun:
		c.Header("Content-Type", problemType)
		c.Status(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(c.Writer).Encode(importProblem{Type: "about:blank", Title: http.StatusText(http.StatusUnprocessableEntity), Status: http.StatusUnprocessableEntity,
			Detail: "nothing was stored; " + wrong.Error(), RequestID: requestID(ctx.Context()), importErrors: result.importErrors})
	case lines:
		beginLines(c.Writer)
		writeLine(c.Writer, result)
	default:
		c.Header("Content-Type", "application/json")
		c.Status(http.StatusOK)
		_ = json.NewEncoder(c.Writer).Encode(result)
	}
}

// exportColumns are those of an import, then what an import reads over.
var exportColumns = []string{"id", "name", "email", "state", "office", "numbers", "aors", "departments", "contact_centers", "voicemail_greeting", "app_versions", "created_at", "updated_at"}

func exportRow(u user) []string {
	list := func(values []string) string { return export.Harmless(strings.Join(values, ";")) }
	moment := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
	return []string{u.ID, export.Harmless(u.Name), export.Harmless(u.Email), u.State, u.Office, strings.Join(u.Numbers, ";"), list(u.AORs), list(u.Departments), list(u.ContactCenters),
		export.Harmless(u.VoicemailGreeting), list(u.AppVersions), moment(u.CreatedAt.Time), moment(u.UpdatedAt.Time)}
}

// csv writes the list, and the rest where that is asked for. A list that breaks
// off ends the connection: half of one must not look like a whole one.
func (l userList) csv(to io.Writer) error {
	w := csv.NewWriter(to)
	w.UseCRLF = true
	if err := w.Write(exportColumns); err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	row := func(u user) error {
		if err := w.Write(exportRow(u)); err != nil {
			return fmt.Errorf("cannot write CSV: %w", err)
		}
		return nil
	}
	for _, u := range l.Items {
		if err := row(u); err != nil {
			return err
		}
	}
	if l.rest != nil && l.rest(row) != nil {
		panic(http.ErrAbortHandler)
	}
	if w.Flush(); w.Error() != nil {
		return fmt.Errorf("cannot write CSV: %w", w.Error())
	}
	return nil
}

// exportRest gives users page after page: no more than one is in memory.
func (s *server) exportRest(ctx context.Context, company string, filter directory.UserFilter, row func(user) error) error {
	for {
		users, next, err := s.deps.Directory.Users(ctx, company, filter)
		if err != nil {
			s.log.Warn("an export of users broke off", "request_id", requestID(ctx), "error", err)
			return err
		}
		for _, u := range s.usersOf(ctx, company, users) {
			if err := row(u); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		filter.Cursor = next
	}
}
