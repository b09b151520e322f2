package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/query/explain"
)

const (
	// maxFrozenSamples is what the graphs of a snapshot are drawn from; of longer
	// calls it has a part of each stream, evenly.
	maxFrozenSamples = 20_000
	// maxReadSamples is where reading a call's samples ends: 280 hours of one stream.
	maxReadSamples = 1_000_000
	// maxFrozenMessages and maxFrozenRawBytes bound the SIP ladder.
	maxFrozenMessages = 1000
	maxFrozenRawBytes = 4 << 20
	maxFrozenEvents   = 1000
)

// frozenCall is what the directory keeps of a call. What is added here later
// is absent in what was frozen before.
type frozenCall struct {
	Call           query.Call                     `json:"call"` // without links
	Explain        map[string]explain.Explanation `json:"explain"`
	Samples        frozenSamples                  `json:"samples"`
	SamplesExplain map[string]explain.Explanation `json:"samples_explain"`
	Messages       frozenMessages                 `json:"messages"`
	Events         frozenEvents                   `json:"events"`
	Report         string                         `json:"report"` // Markdown
}

type frozenSamples struct {
	Items     []query.Sample `json:"items"`
	Total     int            `json:"total" doc:"Of the call when it was frozen"`
	Every     int            `json:"every" doc:"1: all are here; n: there were more than a snapshot holds, and each n-th of a stream is here"`
	Truncated bool           `json:"truncated" doc:"The call was longer than could be read: its end is missing"`
}

type frozenMessages struct {
	Items     []frozenMessage `json:"items"`
	Truncated bool            `json:"truncated" doc:"There were more; the first are here"`
}

// frozenMessage has its time as exactly as it was measured, for captures.
type frozenMessage struct {
	query.Message
	AtUs int64 `json:"at_us" doc:"at in microseconds since 1970"`
}

func (m frozenMessage) at() time.Time { return time.UnixMicro(m.AtUs).UTC() }

type frozenEvents struct {
	Items     []query.CallEvent `json:"items"`
	Truncated bool              `json:"truncated" doc:"There were more; the first are here"`
}

// freeze reads all that is known about a call now, but for the report, which
// links to the snapshot that it stands in.
func (s *server) freeze(ctx context.Context, company, id string) (frozenCall, error) {
	c, err := s.comparedCall(ctx, company, id)
	if err != nil {
		return frozenCall{}, err
	}
	c.Links = nil
	f := frozenCall{Call: c}
	q := s.deps.Query.Company(company)
	if f.Explain, err = explain.Call(c); err != nil {
		return frozenCall{}, err
	}
	if f.Samples, err = freezeSamples(ctx, q, c.ID); err != nil {
		return frozenCall{}, err
	}
	f.SamplesExplain = explain.Samples(f.Samples.Items)
	messages, err := q.Messages(ctx, c.ID, query.Page{Limit: maxFrozenMessages})
	if err != nil {
		return frozenCall{}, err
	}
	f.Messages = freezeMessages(messages)
	events, err := q.CallEvents(ctx, c.ID, query.Page{Limit: maxFrozenEvents})
	if err != nil {
		return frozenCall{}, err
	}
	f.Events = frozenEvents{Items: events.Items, Truncated: events.NextCursor != nil}
	return f, nil
}

func freezeMessages(l query.List[query.Message]) frozenMessages {
	out := frozenMessages{Items: []frozenMessage{}, Truncated: l.NextCursor != nil}
	size := 0
	for _, m := range l.Items {
		if size += len(m.Raw); size > maxFrozenRawBytes {
			out.Truncated = true
			break
		}
		out.Items = append(out.Items, frozenMessage{Message: m, AtUs: m.At.Micros()})
	}
	return out
}

func freezeSamples(ctx context.Context, q query.Company, call string) (frozenSamples, error) {
	t := newThinning(maxFrozenSamples)
	page := query.Page{Limit: query.MaxLimit}
	for {
		l, err := q.Samples(ctx, call, page)
		if err != nil {
			return frozenSamples{}, err
		}
		for _, sample := range l.Items {
			t.add(sample)
		}
		if l.NextCursor == nil || t.total >= maxReadSamples {
			return frozenSamples{Items: t.samples(), Total: t.total, Every: t.every, Truncated: l.NextCursor != nil}, nil
		}
		page.Cursor = *l.NextCursor
	}
}

// stream is what belongs to one line of a graph.
type stream struct {
	leg, side, source, direction string
	ssrc                         uint32
}

// thinning holds a bounded part of a call's samples while they are read: each
// n-th of every stream, counted from its first, so that no stream is thinned more
// than another and what is left stands in even distances.
type thinning struct {
	limit, total int
	every        int // each n-th sample of a stream …
	everyStream  int // … of each n-th stream, where there are more streams than room
	seen         map[stream]*seenStream
	kept         []placedSample
}

type seenStream struct{ number, samples int }

type placedSample struct {
	query.Sample
	stream, place int // the number of its stream, and its own in that
}

func newThinning(limit int) *thinning {
	return &thinning{limit: limit, every: 1, everyStream: 1, seen: map[stream]*seenStream{}}
}

func (t *thinning) add(s query.Sample) {
	t.total++
	key := stream{s.LegID, s.Side, s.Source, s.Direction, s.SSRC}
	of := t.seen[key]
	if of == nil {
		of = &seenStream{number: len(t.seen)}
		t.seen[key] = of
	}
	placed := placedSample{s, of.number, of.samples}
	of.samples++
	if t.passes(placed) {
		return
	}
	if t.kept = append(t.kept, placed); len(t.kept) > t.limit {
		t.halve()
	}
}

// passes tells whether a sample is left out.
func (t *thinning) passes(s placedSample) bool {
	return s.place%t.every != 0 || s.stream%t.everyStream != 0
}

func (t *thinning) halve() {
	before := len(t.kept)
	t.every *= 2
	if t.kept = slices.DeleteFunc(t.kept, t.passes); len(t.kept) == before {
		// Each stream has its first only.
		t.every /= 2
		t.everyStream *= 2
		t.kept = slices.DeleteFunc(t.kept, t.passes)
	}
}

func (t *thinning) samples() []query.Sample {
	out := make([]query.Sample, len(t.kept))
	for i, s := range t.kept {
		out[i] = s.Sample
	}
	return out
}

// digest is the same as long as nothing is known about the call that is new. What
// is usual for others, and what explains its numbers, is not of the call.
func (f frozenCall) digest() (string, error) {
	c := f.Call
	c.Baselines, c.BaselineSentences = nil, nil
	b, err := json.Marshal(frozenCall{Call: c, Samples: f.Samples, Messages: f.Messages, Events: f.Events})
	if err != nil {
		return "", fmt.Errorf("cannot write a call as JSON: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// users are the ids of those who are named in the call.
func (f frozenCall) users() []string {
	out := []string{value(f.Call.Target.UserID), value(f.Call.Contact.UserID)}
	for _, l := range f.Call.Legs {
		out = append(out, l.UserID)
	}
	for _, r := range f.Call.Rejections {
		out = append(out, value(r.Agent.UserID))
	}
	for _, r := range f.Call.Ratings {
		out = append(out, value(r.UserID))
	}
	for _, e := range f.Events.Items {
		for _, a := range []*query.Agent{e.Target, e.Contact, e.Agent} {
			if a != nil {
				out = append(out, value(a.UserID))
			}
		}
	}
	return out
}

// content is what is kept under an id: everything, and the report with its links.
func (f frozenCall) content(ctx context.Context, id string) ([]byte, error) {
	c := f.Call
	c.Links = frozenLinks(ctx, c, id)
	var report bytes.Buffer
	if err := reportOf(c).markdown(&report); err != nil {
		return nil, err
	}
	f.Report = report.String()
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("cannot write a call as JSON: %w", err)
	}
	return b, nil
}

// frozenLinks are those of a call in a snapshot: they lead to what stays.
func frozenLinks(ctx context.Context, c query.Call, id string) map[string]string {
	links := map[string]string{
		"self":    link(ctx, "api", "v1", "snapshots", id),
		"portal":  link(ctx, "s", id),
		"samples": link(ctx, "api", "v1", "snapshots", id),
		"pcap":    link(ctx, "api", "v1", "snapshots", id, "messages.pcap"),
		"call":    link(ctx, "c", c.Company, "calls", c.ID),
	}
	if user := value(c.Target.UserID); user != "" {
		links["user"] = link(ctx, "c", c.Company, "users", user)
	}
	return links
}

// snapshot is a frozen call in lists.
type snapshot struct {
	ID        string            `json:"id"`
	Company   string            `json:"company"`
	CallID    string            `json:"call_id"`
	Note      string            `json:"note" doc:"A ticket, a reason; one on each line"`
	CreatedAt query.Time        `json:"created_at"`
	CreatedBy actor             `json:"created_by"`
	Bytes     int64             `json:"bytes" doc:"That it takes in the directory"`
	Links     map[string]string `json:"links" doc:"portal is the link for the ticket; call where the call is as long as the store keeps it"`
}

func snapshotOf(ctx context.Context, s directory.Snapshot) snapshot {
	return snapshot{ID: s.ID, Company: s.Company, CallID: s.CallID, Note: s.Note, CreatedAt: at(s.CreatedAt), CreatedBy: actorFor(s.CreatedBy), Bytes: s.Bytes,
		Links: frozenLinks(ctx, query.Call{Company: s.Company, ID: s.CallID}, s.ID)}
}

// wholeSnapshot is a frozen call with all that was kept of it.
type wholeSnapshot struct {
	snapshot
	Call           explainedCall                  `json:"call"`
	Samples        frozenSamples                  `json:"samples"`
	SamplesExplain map[string]explain.Explanation `json:"samples_explain,omitempty" doc:"By source and column, such as rtcp.jitter_ms; with explain=true"`
	Messages       frozenMessages                 `json:"messages"`
	Events         frozenEvents                   `json:"events"`
	Report         string                         `json:"report" doc:"The ticket's text, Markdown"`
}

func (w wholeSnapshot) markdown(out io.Writer) error {
	by := ""
	if w.CreatedBy.Name != "" {
		by = " by " + escapeMarkdown(w.CreatedBy.Name)
	}
	head := fmt.Sprintf("> Frozen at %s%s: %s\n", w.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC"), by, w.Links["portal"])
	for line := range strings.SplitSeq(w.Note, "\n") {
		if line != "" {
			head += "> " + escapeMarkdown(line) + "\n"
		}
	}
	if _, err := io.WriteString(out, head+"\n"+w.Report); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

// thaw reads a snapshot that the caller may see, and takes down that it was read.
func (s *server) thaw(ctx context.Context, id, what string) (directory.Snapshot, frozenCall, error) {
	found, content, err := s.deps.Directory.Snapshot(ctx, id)
	if err != nil {
		return directory.Snapshot{}, frozenCall{}, err
	}
	p := principal(ctx)
	if !p.May(found.Company) {
		return directory.Snapshot{}, frozenCall{}, directory.ErrNotFound
	}
	var f frozenCall
	if err := json.Unmarshal(content, &f); err != nil {
		return directory.Snapshot{}, frozenCall{}, fmt.Errorf("cannot read snapshot %s: %w", id, err)
	}
	if s.deps.Access != nil {
		s.deps.Access.Read(directory.Access{Actor: p.Actor(), Company: found.Company, Kind: "snapshot", ID: found.ID, What: what})
	}
	return found, f, nil
}

// createdSnapshot answers 201, or 200 where there was the same already.
type createdSnapshot struct {
	Status   int
	Location string `header:"Location"`
	Body     snapshot
}

// SnapshotInput names a snapshot.
type SnapshotInput struct {
	Snapshot string `path:"snapshot" maxLength:"64" doc:"Id of the snapshot"`
}

func (s *server) routeSnapshots() {
	tags := []string{"Snapshots"}
	add(s, huma.Operation{Method: "POST", Path: companyPath + "/calls/{call}/snapshots", OperationID: "create-snapshot", Summary: "Freeze a call for a ticket", Tags: tags, DefaultStatus: http.StatusCreated,
		Description: "Keeps the call with verdict, evidence, samples, messages, events and report as they are now, behind a link that stays when the store has forgotten the call. " +
			"A call that has not changed is frozen once: then the answer is 200 and the snapshot that there is, whose note has the new one as a further line.",
		Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *struct {
			CallInput
			Body *struct {
				Note string `json:"note,omitempty" maxLength:"2000" doc:"What for: a ticket, a reason"`
			}
		}) (*createdSnapshot, error) {
			f, err := s.freeze(ctx, in.Company, in.Call)
			if err != nil {
				return nil, err
			}
			digest, err := f.digest()
			if err != nil {
				return nil, err
			}
			frozen := directory.Frozen{CallID: f.Call.ID, Users: f.users(), Digest: digest, Content: func(id string) ([]byte, error) { return f.content(ctx, id) }}
			if in.Body != nil {
				frozen.Note = in.Body.Note
			}
			made, created, err := s.deps.Directory.CreateSnapshot(ctx, in.Company, frozen)
			if err != nil {
				return nil, err
			}
			out := &createdSnapshot{Status: http.StatusCreated, Body: snapshotOf(ctx, made)}
			out.Location = out.Body.Links["self"]
			if !created {
				out.Status = http.StatusOK
			}
			return out, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/snapshots", OperationID: "list-snapshots", Summary: "Frozen calls, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			Call string `query:"call" maxLength:"512" doc:"Id of the call"`
			User string `query:"user" maxLength:"64" doc:"Id of a user who is named in it"`
			PageInput
		}) (*listOutput[snapshot], error) {
			found, next, err := s.deps.Directory.Snapshots(ctx, in.Company, directory.SnapshotFilter{Call: in.Call, User: in.User, Page: in.PageInput.directory()})
			if err != nil {
				return nil, err
			}
			items := make([]snapshot, len(found))
			for i, f := range found {
				items[i] = snapshotOf(ctx, f)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: companyPath + "/snapshots/{snapshot}", OperationID: "delete-snapshot", Summary: "Delete a frozen call; its link ends", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			CompanyInput
			SnapshotInput
		}) (*struct{}, error) {
			return nil, s.deps.Directory.DeleteSnapshot(ctx, in.Company, in.Snapshot)
		})

	add(s, huma.Operation{Method: "GET", Path: "/api/v1/snapshots/{snapshot}", OperationID: "get-snapshot", Summary: "A call as it was when it was frozen", Tags: tags, Metadata: map[string]any{metaFormats: []string{markdownType}},
		Description: "The link of a ticket names no company: the snapshot is there for whoever may see the company that it is of. As Markdown it is the text of the ticket."},
		func(ctx context.Context, in *struct {
			SnapshotInput
			ExplainInput
		}) (*struct {
			Vary string `header:"Vary"`
			Body wholeSnapshot
		}, error) {
			found, f, err := s.thaw(ctx, in.Snapshot, "")
			if err != nil {
				return nil, err
			}
			w := wholeSnapshot{snapshot: snapshotOf(ctx, found), Call: explainedCall{Call: f.Call}, Samples: f.Samples, Messages: f.Messages, Events: f.Events, Report: f.Report}
			w.Call.Links = frozenLinks(ctx, f.Call, found.ID)
			if in.Explain {
				w.Call.Explain, w.SamplesExplain = f.Explain, f.SamplesExplain
			}
			return &struct {
				Vary string `header:"Vary"`
				Body wholeSnapshot
			}{Vary: "Accept", Body: w}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: "/api/v1/snapshots/{snapshot}/messages.pcap", OperationID: "get-snapshot-pcap", Summary: "The SIP messages of a frozen call as a capture file", Tags: tags, Metadata: map[string]any{metaFormats: []string{pcapType}}},
		func(ctx context.Context, in *SnapshotInput) (*rawOutput, error) {
			_, f, err := s.thaw(ctx, in.Snapshot, "messages.pcap")
			if err != nil {
				return nil, err
			}
			datagrams := make([]pcap.Datagram, len(f.Messages.Items))
			for i, m := range f.Messages.Items {
				datagrams[i] = datagram(m.Message)
				datagrams[i].At = m.at()
			}
			var buf bytes.Buffer
			if err := pcap.WriteUDP(&buf, datagrams); err != nil {
				return nil, err
			}
			return &rawOutput{ContentType: pcapType, Disposition: `attachment; filename="messages.pcap"`, Body: buf.Bytes()}, nil
		})
}
