package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/earshot/earshot/api/export"
	"github.com/earshot/earshot/query"
)

// rowsToo is the metadata of a list whose rows are also there as files.
var rowsToo = map[string]any{metaFormats: []string{export.CSV, export.Arrow, export.Parquet}}

const rowsDescription = "As text/csv, application/vnd.apache.arrow.stream or application/vnd.apache.parquet without limit and cursor: the whole list, of any length. " +
	"An answer that breaks off ends with the connection, not with a short file."

// RowsInput asks for a part of a list, or in another format than JSON for all of it.
type RowsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"Items in the answer; default 100, in other formats than JSON all"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next_cursor of the answer before"`
	Accept string `header:"Accept" hidden:"true"`
}

func (r RowsInput) query() query.Page { return query.Page{Limit: r.Limit, Cursor: r.Cursor} }

// file is the media type of a file, or nothing where JSON is asked for.
func (r RowsInput) file(api huma.API) string {
	switch format, err := api.Negotiate(r.Accept); {
	case err != nil:
		return ""
	case format == export.CSV, format == export.Arrow, format == export.Parquet:
		return format
	}
	return ""
}

// all tells whether a file is to hold the whole list.
func (r RowsInput) all() bool { return r.Limit == 0 && r.Cursor == "" }

// rowsOutput answers a list, or its rows as a file.
type rowsOutput[T any] struct {
	Vary        string `header:"Vary"`
	Next        string `header:"X-Next-Cursor" doc:"next_cursor again, for formats that have no place for it"`
	Disposition string `header:"Content-Disposition" doc:"The name of a file"`
	Body        rowsBody[T]
}

// rowsBody is the list for JSON, or the file.
type rowsBody[T any] struct {
	query.List[T]
	file *file
}

func (b rowsBody[T]) writeFile(w io.Writer) error { return b.file.writeFile(w) }

func rowsOf[T any](l query.List[T]) *rowsOutput[T] {
	o := listOf(l)
	return &rowsOutput[T]{Vary: o.Vary, Next: o.Next, Body: rowsBody[T]{List: o.Body}}
}

func fileOf[T any](f *file) *rowsOutput[T] {
	return &rowsOutput[T]{Vary: "Accept", Disposition: f.disposition(), Body: rowsBody[T]{file: f}}
}

// pageFile is the rows of one page, whose list has the cursor of the next.
func pageFile[T any](f *file, l query.List[T]) *rowsOutput[T] {
	o := fileOf[T](f)
	o.Next = listOf(l).Next
	return o
}

// rowsAnswer is a list whose items are the rows of its files.
func rowsAnswer[T any](ctx context.Context, s *server, in RowsInput, name string, columns export.Schema[T], list func(query.Page) (query.List[T], error), all each[T]) (*rowsOutput[T], error) {
	mediaType := in.file(s.api)
	if mediaType != "" && in.all() {
		return fileOf[T](newFile(ctx, s, mediaType, name, true, columns, all)), nil
	}
	items, err := list(in.query())
	switch {
	case err != nil:
		return nil, err
	case mediaType != "":
		return pageFile(newFile(ctx, s, mediaType, name, false, columns, eachOf(items.Items)), items), nil
	}
	return rowsOf(items), nil
}

// each gives rows one after the other until there are no more or row fails.
type each[R any] func(ctx context.Context, row func(*R) error) error

// eachOf gives rows that are in memory.
func eachOf[R any](rows []R) each[R] {
	return func(_ context.Context, row func(*R) error) error {
		for i := range rows {
			if err := row(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// file is rows on their way to a client.
type file struct {
	server *server
	ctx    context.Context // of the request
	name   string
	whole  bool // takes one of the places for exports
	write  func(ctx context.Context, w io.Writer) error
}

// newFile is a file of a media type with rows as they come.
func newFile[R any](ctx context.Context, s *server, mediaType, name string, whole bool, columns export.Schema[R], rows each[R]) *file {
	return &file{server: s, ctx: ctx, name: name + "." + export.Extension(mediaType), whole: whole, write: func(ctx context.Context, w io.Writer) error {
		out, err := export.New(w, mediaType, columns)
		if err != nil {
			return err
		}
		if err := rows(ctx, out.Row); err != nil {
			return err
		}
		return out.Close()
	}}
}

func (f *file) disposition() string { return fmt.Sprintf("attachment; filename=%q", f.name) }

// marshalFile writes what can write itself as a file.
func marshalFile(w io.Writer, v any) error {
	f, ok := v.(interface{ writeFile(io.Writer) error })
	if !ok {
		return fmt.Errorf("cannot write %T as a file", v)
	}
	return f.writeFile(w)
}

// Bounds of the way to a client.
const (
	// fileBuffer is also how much may go wrong before the client has a byte.
	fileBuffer = 64 << 10
	// stalled is how long a client may take none of it.
	stalled = time.Minute
)

// writeFile sends the rows. What fails before the first byte is a problem; what
// fails after it ends the connection: half a file must not look like a whole one.
func (f *file) writeFile(to io.Writer) error {
	w, ok := to.(gin.ResponseWriter)
	if !ok {
		return fmt.Errorf("cannot write a file to %T", to)
	}
	err := f.send(w)
	switch {
	case err == nil:
		return nil
	case w.Written():
		if f.ctx.Err() == nil { // else the client has left
			f.server.log.Warn("an export broke off", "request_id", requestID(f.ctx), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	var headers huma.HeadersError
	if !errors.As(err, &headers) { // else it is a problem already
		err = f.server.problem(f.ctx, "query", err)
	}
	if errors.As(err, &headers) {
		for name, values := range headers.GetHeaders() {
			w.Header()[name] = values
		}
	}
	p := newProblem(http.StatusInternalServerError, "")
	errors.As(err, &p)
	p.RequestID = requestID(f.ctx)
	w.Header().Del("Content-Disposition")
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	return huma.DefaultJSONFormat.Marshal(w, p)
}

func (f *file) send(w http.ResponseWriter) error {
	if f.whole {
		select {
		case f.server.exports <- struct{}{}:
			defer func() { <-f.server.exports }()
		default:
			return huma.ErrorWithHeaders(newProblem(http.StatusServiceUnavailable, "as many exports run as may; try again shortly"), http.Header{"Retry-After": {"30"}})
		}
	}
	paced := &pacedWriter{w: w, connection: http.NewResponseController(w)}
	defer paced.end()
	out := bufio.NewWriterSize(paced, fileBuffer)
	if err := f.write(f.ctx, out); err != nil {
		return err
	}
	return out.Flush()
}

// pacedWriter gives up a client that takes nothing for long.
type pacedWriter struct {
	w          io.Writer
	connection *http.ResponseController
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	// A writer without deadlines waits as long as its client.
	_ = p.connection.SetWriteDeadline(time.Now().Add(stalled))
	return p.w.Write(b)
}

// end leaves the connection to its next request.
func (p *pacedWriter) end() { _ = p.connection.SetWriteDeadline(time.Time{}) }

// describeFormats adds what else a route answers to its description.
func describeFormats(api *huma.OpenAPI, op huma.Operation) {
	formats, _ := op.Metadata[metaFormats].([]string)
	item := api.Paths[op.Path]
	if op.Method != http.MethodGet || item == nil || item.Get == nil || item.Get.Responses["200"] == nil {
		return
	}
	answer := item.Get.Responses["200"]
	for _, format := range formats {
		if answer.Content == nil {
			answer.Content = map[string]*huma.MediaType{}
		}
		if answer.Content[format] == nil {
			answer.Content[format] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
}

type callRow = query.CallRow

// callColumns are named as the members of a call in JSON.
var callColumns = export.Schema[callRow]{
	export.Text("id", func(r *callRow) string { return r.ID }),
	export.Word("company", func(r *callRow) string { return r.Company }),
	export.Word("state", func(r *callRow) string { return r.State }),
	export.Word("direction", func(r *callRow) string { return r.Direction }),
	export.OptionalText("target.user_id", func(r *callRow) *string { return r.Target.UserID }),
	export.Text("target.name", func(r *callRow) string { return r.Target.Name }),
	export.Text("target.number", func(r *callRow) string { return r.Target.Number }),
	export.Word("target.endpoint", func(r *callRow) string { return r.Target.Endpoint }),
	export.Word("target.app_version", func(r *callRow) string { return r.Target.AppVersion }),
	export.Word("target.platform", func(r *callRow) string { return r.Target.Platform }),
	export.Text("target.device_id", func(r *callRow) string { return r.Target.DeviceID }),
	export.Word("target.department_id", func(r *callRow) string { return r.Target.DepartmentID }),
	export.Word("target.office_id", func(r *callRow) string { return r.Target.OfficeID }),
	export.Word("target.contact_center_id", func(r *callRow) string { return r.Target.ContactCenterID }),
	export.OptionalText("contact.user_id", func(r *callRow) *string { return r.Contact.UserID }),
	export.Text("contact.name", func(r *callRow) string { return r.Contact.Name }),
	export.Text("contact.number", func(r *callRow) string { return r.Contact.Number }),
	export.Text("contact.device_id", func(r *callRow) string { return r.Contact.DeviceID }),
	export.Time("started_at", func(r *callRow) time.Time { return r.StartedAt.Time }),
	export.Time("connected_at", func(r *callRow) time.Time { return r.ConnectedAt.Time }),
	export.Time("ended_at", func(r *callRow) time.Time { return r.EndedAt.Time }),
	export.OptionalInteger("duration_ms", func(r *callRow) *int64 { return r.DurationMs }),
	export.OptionalWord("end.by", func(r *callRow) *string { return r.EndBy }),
	export.OptionalInteger("end.sip_status", func(r *callRow) *uint32 { return r.EndSIPStatus }),
	export.Word("verdict.overall", func(r *callRow) string { return r.Overall }),
	export.Flag("verdict.final", func(r *callRow) bool { return r.Final }),
	export.Integer("verdict.version", func(r *callRow) uint32 { return r.Version }),
	export.Word("verdict.rules", func(r *callRow) string { return r.Rules }),
	export.Word("verdict.delay.band", func(r *callRow) string { return r.DelayBand }),
	export.Float("verdict.delay.rtt_ms.p50", func(r *callRow) *float64 { return r.RTTMsP50 }),
	export.Float("verdict.delay.rtt_ms.p95", func(r *callRow) *float64 { return r.RTTMsP95 }),
	export.Float("verdict.delay.rtt_ms.max", func(r *callRow) *float64 { return r.RTTMsMax }),
	export.Word("verdict.jitter.band", func(r *callRow) string { return r.JitterBand }),
	export.Float("verdict.jitter.jitter_ms.p95", func(r *callRow) *float64 { return r.JitterMsP95 }),
	export.Word("verdict.loss.band", func(r *callRow) string { return r.LossBand }),
	export.Float("verdict.loss.percent", func(r *callRow) *float64 { return r.LossPercent }),
	export.Word("verdict.one_way_audio.state", func(r *callRow) string { return r.OneWayState }),
	export.OptionalWord("verdict.one_way_audio.direction", func(r *callRow) *string { return r.OneWayDirection }),
	export.Float("verdict.mos.min", func(r *callRow) *float64 { return r.MOSMin }),
	export.Float("verdict.mos.avg", func(r *callRow) *float64 { return r.MOSAvg }),
	export.Word("verdict.fault_side", func(r *callRow) string { return r.FaultSide }),
	export.Word("timeline", func(r *callRow) string { return r.Timeline }),
	export.Time("received_at", func(r *callRow) time.Time { return r.ReceivedAt.Time }),
}

type sample = query.Sample

var sampleColumns = export.Schema[sample]{
	export.Time("at", func(r *sample) time.Time { return r.At.Time }),
	export.Text("leg_id", func(r *sample) string { return r.LegID }),
	export.Word("side", func(r *sample) string { return r.Side }),
	export.Word("source", func(r *sample) string { return r.Source }),
	export.Word("direction", func(r *sample) string { return r.Direction }),
	export.Integer("ssrc", func(r *sample) uint32 { return r.SSRC }),
	export.Word("codec", func(r *sample) string { return r.Codec }),
	export.Integer("clock_rate", func(r *sample) uint32 { return r.ClockRate }),
	export.Float("rtt_ms", func(r *sample) *float64 { return r.RTTMs }),
	export.Float("jitter_ms", func(r *sample) *float64 { return r.JitterMs }),
	export.Float("loss_percent", func(r *sample) *float64 { return r.LossPercent }),
	export.OptionalInteger("packets", func(r *sample) *uint32 { return r.Packets }),
	export.OptionalInteger("packets_lost", func(r *sample) *int32 { return r.PacketsLost }),
	export.OptionalInteger("packets_discarded", func(r *sample) *uint32 { return r.PacketsDiscarded }),
	export.Float("jitter_buffer_ms", func(r *sample) *float64 { return r.JitterBufferMs }),
	export.Float("jitter_buffer_preferred_ms", func(r *sample) *float64 { return r.JitterBufferPreferredMs }),
	export.Float("concealment_percent", func(r *sample) *float64 { return r.ConcealmentPercent }),
	export.Float("silent_concealment_percent", func(r *sample) *float64 { return r.SilentConcealmentPercent }),
	export.Float("audio_level", func(r *sample) *float64 { return r.AudioLevel }),
	export.Float("mos", func(r *sample) *float64 { return r.MOS }),
}

var callSampleColumns = append(export.Schema[query.CallSample]{
	export.Text("call_id", func(r *query.CallSample) string { return r.CallID }),
	export.Word("timeline", func(r *query.CallSample) string { return r.Timeline }),
}, export.Part(sampleColumns, func(r *query.CallSample) *sample { return &r.Sample })...)

func (s *server) routeSamples() {
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/samples", OperationID: "list-company-samples", Summary: "The points behind the graphs of all calls of a time, in order of time", Tags: []string{"Calls"}, Metadata: rowsToo,
		Description: "For analyses of whole days. The samples of one call are found faster under the call. " + rowsDescription},
		func(ctx context.Context, in *struct {
			CompanyInput
			From time.Time `query:"from" required:"true" doc:"Not before this time, RFC 3339"`
			To   time.Time `query:"to" required:"true" doc:"Before this time, RFC 3339"`
			RowsInput
		}) (*rowsOutput[query.CallSample], error) {
			span := TimeInput{From: in.From, To: in.To}
			if err := span.check(); err != nil {
				return nil, err
			}
			q := s.deps.Query.Company(in.Company)
			return rowsAnswer(ctx, s, in.RowsInput, in.Company+"-samples", callSampleColumns,
				func(page query.Page) (query.List[query.CallSample], error) {
					return q.SamplesBetween(ctx, span.from(), span.to(), page)
				},
				func(ctx context.Context, row func(*query.CallSample) error) error {
					return q.EachSampleBetween(ctx, span.from(), span.to(), row)
				})
		})
}

type rejection = query.Rejection

var rejectionColumns = export.Schema[rejection]{
	export.Text("id", func(r *rejection) string { return r.ID }),
	export.Time("at", func(r *rejection) time.Time { return r.At.Time }),
	export.Text("call_id", func(r *rejection) string { return r.CallID }),
	export.Word("reason", func(r *rejection) string { return r.Reason }),
	export.OptionalText("agent.user_id", func(r *rejection) *string { return r.Agent.UserID }),
	export.Text("agent.name", func(r *rejection) string { return r.Agent.Name }),
	export.Text("agent.number", func(r *rejection) string { return r.Agent.Number }),
	export.OptionalWord("agent.department_id", func(r *rejection) *string { return r.Agent.DepartmentID }),
	export.OptionalWord("agent.contact_center_id", func(r *rejection) *string { return r.Agent.ContactCenterID }),
	export.OptionalWord("agent.office_id", func(r *rejection) *string { return r.Agent.OfficeID }),
	export.Text("from_number", func(r *rejection) string { return r.FromNumber }),
	export.Text("to_number", func(r *rejection) string { return r.ToNumber }),
	export.Integer("sip_status", func(r *rejection) uint32 { return r.SIPStatus }),
	export.Text("raw_reason", func(r *rejection) string { return r.RawReason }),
	export.Text("text", func(r *rejection) string { return r.Text }),
	export.Word("source", func(r *rejection) string { return r.Source }),
}
