package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type recordingState struct {
	Enabled   *bool      `json:"enabled" doc:"As set at this level; null: not set here"`
	Effective bool       `json:"effective" doc:"Whether calls are recorded"`
	From      string     `json:"from" enum:"user,contact_center,department,office,company,default" doc:"Which level says so, the nearest that is set; the default is off"`
	FromID    string     `json:"from_id" doc:"Id of the user or place that says so"`
	FromName  string     `json:"from_name"`
	SetBy     *string    `json:"set_by" doc:"Who made the setting that holds"`
	SetAt     query.Time `json:"set_at"`
	Reason    *string    `json:"reason"`

	Memberships *memberships `json:"memberships,omitempty" doc:"Of a user: the places that were counted, as they were at that time"`
}

type memberships struct {
	At             query.Time `json:"at"`
	Office         string     `json:"office"`
	Departments    []string   `json:"departments"`
	ContactCenters []string   `json:"contact_centers"`
}

func recordingStateOf(st directory.RecordingState, level string) recordingState {
	out := recordingState{Enabled: st.Enabled, Effective: st.Effective, From: st.From}
	if st.By != nil {
		out.FromID, out.FromName, out.SetBy, out.SetAt, out.Reason = st.By.RecordingLevel.ID, st.By.Name, given(st.By.By.Name), at(st.By.At), given(st.By.Reason)
	}
	if level == directory.KindUser {
		out.Memberships = membershipsOf(st)
	}
	return out
}

func membershipsOf(st directory.RecordingState) *memberships {
	m := st.Memberships
	return &memberships{At: at(st.At), Office: m.Office, Departments: orEmpty(m.Departments), ContactCenters: orEmpty(m.ContactCenters)}
}

type recordingChange struct {
	ID        string     `json:"id"`
	At        query.Time `json:"at"`
	Level     string     `json:"level" enum:"company,office,department,contact_center,user"`
	LevelID   string     `json:"level_id" doc:"Id of the place or user; empty for the company"`
	LevelName string     `json:"level_name" doc:"As it was called then"`
	Old       *bool      `json:"old" doc:"null: not set"`
	New       *bool      `json:"new" doc:"null: the setting was taken back"`
	By        actor      `json:"by"`
	Reason    string     `json:"reason"`
}

func recordingChangesOf(all []directory.RecordingChange) []recordingChange {
	out := make([]recordingChange, len(all))
	for i, c := range all {
		out[i] = recordingChange{ID: strconv.FormatInt(c.ID, 10), At: at(c.At), Level: c.Level, LevelID: c.RecordingLevel.ID, LevelName: c.Name, Old: c.Old, New: c.New, By: actorFor(c.By), Reason: c.Reason}
	}
	return out
}

// callRecording answers why a call was or was not recorded.
type callRecording struct {
	At           query.Time        `json:"at" doc:"When the call began: what was set then counts"`
	Enabled      bool              `json:"enabled"`
	From         string            `json:"from" enum:"user,contact_center,department,office,company,default"`
	User         *string           `json:"user" doc:"Whose settings count; null: no user of the company took part"`
	Sentence     string            `json:"sentence" doc:"The answer in one sentence"`
	Setting      *recordingChange  `json:"setting" doc:"The setting that held; null: the default"`
	Memberships  *memberships      `json:"memberships" doc:"The places that were counted, as they were when the call began"`
	ChangesSince []recordingChange `json:"changes_since" doc:"Of these levels, the oldest first"`
	Events       []recordingEvent  `json:"events" doc:"What the call itself told of its recording"`
}

// recordingEvent is a recording_changed of the call.
type recordingEvent struct {
	At      query.Time `json:"at"`
	Enabled bool       `json:"enabled"`
	Source  string     `json:"source"`
}

// recordingOpen refuses where the experiment for it is off.
func (s *server) recordingOpen(ctx context.Context, company string) error {
	on, err := s.deps.Directory.ExperimentEnabled(ctx, company, "", directory.ExperimentCallRecording)
	if err != nil || on {
		return err
	}
	return newProblem(http.StatusForbidden, "call recording is shown to companies with the experiment "+directory.ExperimentCallRecording+": add that experiment to the company first")
}

// RecordingBody changes a setting of recording.
type RecordingBody struct {
	Enabled *bool  `json:"enabled" nullable:"true" doc:"null takes the setting back, so that what is above it holds"`
	Reason  string `json:"reason" minLength:"1" maxLength:"500"`
}

// AtInput asks for a state in the past.
type AtInput struct {
	At time.Time `query:"at" doc:"As it was at this time, RFC 3339; not given: now"`
}

func (s *server) recordingAt(ctx context.Context, company string, level directory.RecordingLevel, when time.Time) (*bodyOutput[recordingState], error) {
	if err := s.recordingOpen(ctx, company); err != nil {
		return nil, err
	}
	if when.IsZero() {
		when = s.now()
	}
	st, err := s.deps.Directory.Recording(ctx, company, level, when)
	if err != nil {
		return nil, err
	}
	return &bodyOutput[recordingState]{Body: recordingStateOf(st, level.Level)}, nil
}

func (s *server) setRecording(ctx context.Context, company string, level directory.RecordingLevel, b RecordingBody) (*bodyOutput[recordingState], error) {
	if err := s.recordingOpen(ctx, company); err != nil {
		return nil, err
	}
	if err := s.deps.Directory.SetRecording(ctx, company, level, b.Enabled, b.Reason); err != nil {
		return nil, err
	}
	// A setting may be dated a moment later than now where a clock went back.
	return s.recordingAt(ctx, company, level, s.now().Add(time.Minute))
}

func (s *server) recordingChanges(ctx context.Context, company, user string, page PageInput) (*listOutput[recordingChange], error) {
	if err := s.recordingOpen(ctx, company); err != nil {
		return nil, err
	}
	found, next, err := s.deps.Directory.RecordingChanges(ctx, company, user, page.directory())
	if err != nil {
		return nil, err
	}
	return list(recordingChangesOf(found), next), nil
}

// recordedCall finds whose settings count for a call: those of the target, or
// of the contact where the target is no user.
func recordedCall(c query.Call) directory.RecordedCall {
	p := c.Target
	if p.UserID == nil || *p.UserID == "" {
		if c.Contact.UserID != nil && *c.Contact.UserID != "" {
			p = c.Contact
		}
	}
	out := directory.RecordedCall{Began: c.StartedAt.Time, Ended: c.EndedAt.Time, Memberships: directory.Memberships{Office: p.OfficeID}}
	if p.UserID != nil {
		out.User = *p.UserID
	}
	if p.DepartmentID != "" {
		out.Memberships.Departments = []string{p.DepartmentID}
	}
	if p.ContactCenterID != "" {
		out.Memberships.ContactCenters = []string{p.ContactCenterID}
	}
	return out
}

func (s *server) callRecording(ctx context.Context, company, id string) (callRecording, error) {
	if err := s.recordingOpen(ctx, company); err != nil {
		return callRecording{}, err
	}
	c, err := s.call(ctx, company, id)
	if err != nil {
		return callRecording{}, err
	}
	call := recordedCall(c)
	r, err := s.deps.Directory.RecordingOfCall(ctx, company, call)
	if err != nil {
		return callRecording{}, err
	}
	out := callRecording{At: c.StartedAt, Enabled: r.State.Effective, From: r.State.From, User: given(call.User), Sentence: r.Sentence,
		Memberships: membershipsOf(r.State), ChangesSince: recordingChangesOf(r.Since), Events: []recordingEvent{}}
	if r.State.By != nil {
		out.Setting = &recordingChangesOf([]directory.RecordingChange{*r.State.By})[0]
	}
	if out.Events, err = s.recordingEvents(ctx, company, c.ID); err != nil {
		return callRecording{}, err
	}
	for _, e := range out.Events {
		state := "off"
		if e.Enabled {
			state = "on"
		}
		out.Sentence += " The call itself told that its recording was turned " + state + " at " + e.At.UTC().Format("2006-01-02 15:04:05 UTC") + "."
	}
	return out, nil
}

// recordingEvents are what a call told of its own recording; of many the first few.
func (s *server) recordingEvents(ctx context.Context, company, call string) ([]recordingEvent, error) {
	out := []recordingEvent{}
	for page := (query.Page{Limit: 1000}); ; {
		found, err := s.deps.Query.Company(company).CallEvents(ctx, call, page)
		if err != nil {
			return nil, err
		}
		for _, e := range found.Items {
			if e.Type == "recording_changed" && e.RecordingEnabled != nil && len(out) < 10 {
				out = append(out, recordingEvent{At: e.At, Enabled: *e.RecordingEnabled, Source: e.Source})
			}
		}
		if found.NextCursor == nil {
			return out, nil
		}
		page.Cursor = *found.NextCursor
	}
}

const recordingRule = "What is set for a user comes first, then the contact center, the department, the office and the company; where nothing is set, calls are not recorded. " +
	"Of several contact centers or departments of a user, one that says off is enough. Needs the experiment " + directory.ExperimentCallRecording + "."

func (s *server) routeRecording() {
	tags := []string{"Recording"}
	company := directory.RecordingLevel{Level: directory.KindCompany}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/recording", OperationID: "get-recording", Summary: "Whether calls of a company are recorded, and who says so", Description: recordingRule, Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			AtInput
		}) (*bodyOutput[recordingState], error) {
			return s.recordingAt(ctx, in.Company, company, in.At)
		})
	add(s, huma.Operation{Method: "PUT", Path: companyPath + "/recording", OperationID: "set-recording", Summary: "Turn recording on or off for a company, or take that back", Description: recordingRule, Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body RecordingBody
		}) (*bodyOutput[recordingState], error) {
			return s.setRecording(ctx, in.Company, company, in.Body)
		})

	user := func(id string) directory.RecordingLevel {
		return directory.RecordingLevel{Level: directory.KindUser, ID: id}
	}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/recording", OperationID: "get-user-recording", Summary: "Whether calls of a user are recorded, and who says so", Description: recordingRule, Tags: tags},
		func(ctx context.Context, in *struct {
			UserInput
			AtInput
		}) (*bodyOutput[recordingState], error) {
			return s.recordingAt(ctx, in.Company, user(in.User), in.At)
		})
	add(s, huma.Operation{Method: "PUT", Path: companyPath + "/users/{user}/recording", OperationID: "set-user-recording", Summary: "Turn recording on or off for a user, or take that back", Description: recordingRule, Tags: tags},
		func(ctx context.Context, in *struct {
			UserInput
			Body RecordingBody
		}) (*bodyOutput[recordingState], error) {
			return s.setRecording(ctx, in.Company, user(in.User), in.Body)
		})

	for _, p := range placeKinds {
		if p.kind == directory.KindRoom {
			continue // nobody's calls are those of a room
		}
		add(s, huma.Operation{Method: "GET", Path: companyPath + "/" + p.path + "/{place}/recording", OperationID: "get-" + p.one + "-recording", Summary: p.what + ": whether calls of one are recorded, and who says so", Description: recordingRule, Tags: tags},
			func(ctx context.Context, in *struct {
				PlaceInput
				AtInput
			}) (*bodyOutput[recordingState], error) {
				return s.recordingAt(ctx, in.Company, directory.RecordingLevel{Level: p.kind, ID: in.Place}, in.At)
			})
		add(s, huma.Operation{Method: "PUT", Path: companyPath + "/" + p.path + "/{place}/recording", OperationID: "set-" + p.one + "-recording", Summary: p.what + ": turn recording on or off for one, or take that back", Description: recordingRule, Tags: tags},
			func(ctx context.Context, in *struct {
				PlaceInput
				Body RecordingBody
			}) (*bodyOutput[recordingState], error) {
				return s.setRecording(ctx, in.Company, directory.RecordingLevel{Level: p.kind, ID: in.Place}, in.Body)
			})
	}
	s.routeRecordingLog(tags)
}

func (s *server) routeRecordingLog(tags []string) {
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/recording-changes", OperationID: "list-recording-changes", Summary: "Who turned recording on or off for whom, the newest first", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			CompanyInput
			PageInput
		}) (*listOutput[recordingChange], error) {
			return s.recordingChanges(ctx, in.Company, "", in.PageInput)
		})
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/recording-changes", OperationID: "list-user-recording-changes", Summary: "What changed the recording of a user, the newest first",
		Description: "What was set for the user, for every place that the user is or was in, and for the company.", Tags: tags, Metadata: csvToo},
		func(ctx context.Context, in *struct {
			UserInput
			PageInput
		}) (*listOutput[recordingChange], error) {
			return s.recordingChanges(ctx, in.Company, in.User, in.PageInput)
		})
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/calls/{call}/recording", OperationID: "get-call-recording", Summary: "Why a call was or was not recorded",
		Description: "By what was set when the call began for the user whose call it is, in the places the user was in then. " + recordingRule, Tags: tags},
		func(ctx context.Context, in *CallInput) (*bodyOutput[callRecording], error) {
			r, err := s.callRecording(ctx, in.Company, in.Call)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[callRecording]{Body: r}, nil
		})
}
