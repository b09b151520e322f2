// Package verdicts judges the verdict engine: it runs Earshot over calls that
// were recorded between real clients and compares what it says with what was
// really done to their packets.
package verdicts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ErrTruth is returned for a truth.json that does not say what it has to.
var ErrTruth = errors.New("verdicts: truth.json is not complete")

// Truth is what was done to a call and what a good verdict says of it: the file
// truth.json beside the recordings. a is the caller, whom Earshot calls target,
// b the callee, its contact. Times are seconds after the answer; what is not
// known is absent.
type Truth struct {
	Name       string       `json:"name"`
	MadeWith   []string     `json:"made_with"` // clients and their versions
	What       string       `json:"what"`      // one sentence: what was really done
	Class      string       `json:"class"`     // clean, fault, trap
	Fault      string       `json:"fault"`     // none, one_way, no_audio, delay, jitter, loss, burst_loss, mixed
	Trap       string       `json:"trap"`      // hold, mute, dtx, early_media, …; empty unless class is trap
	Codec      string       `json:"codec"`
	ClockRate  int          `json:"clock_rate"` // of RTP timestamps, Hz
	Bandwidth  string       `json:"bandwidth"`  // narrow, wide, full
	Witnesses  []string     `json:"witnesses"`  // whose reports are in the files: a, b, monitor
	AnsweredAt time.Time    `json:"answered_at"`
	TalkS      float64      `json:"talk_s"`
	AToB       *Direction   `json:"a_to_b,omitempty"`
	BToA       *Direction   `json:"b_to_a,omitempty"`
	RTT        *Measured    `json:"rtt_ms,omitempty"`
	Expect     Expectations `json:"expect"`
}

// Direction is what became of the RTP packets of one direction, measured where
// they entered the path and where they left it.
type Direction struct {
	Sent        *int      `json:"sent,omitempty"`
	Received    *int      `json:"received,omitempty"`
	LossPercent *float64  `json:"loss_percent,omitempty"`
	Jitter      *Measured `json:"jitter_ms,omitempty"` // RFC 3550 A.8 over the packets that left the path
	Transit     *Measured `json:"transit_ms,omitempty"`
	Dead        []Span    `json:"dead,omitempty"`    // when nothing arrived that was sent
	BurstR      *float64  `json:"burst_r,omitempty"` // ITU-T G.107 §3.5: 1 where losses are independent
}

// Span is a part of the call.
type Span struct {
	FromS float64 `json:"from_s"`
	ToS   float64 `json:"to_s"`
}

// Measured is a quantity in ms over the call, its first 5 s left out.
type Measured struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
	// Each100Ms has as element k the value 0.1·k s after the answer, null where
	// there was none. A report tells of one moment, and is compared with that: the
	// memory of the estimator of jitter is 16 packets, a third of a second.
	Each100Ms []*float64 `json:"each_100ms,omitempty"`
}

// Expectations are the label: what a good verdict says. An empty one is not judged.
type Expectations struct {
	OneWay          string   `json:"one_way,omitempty"`           // none, suspected, confirmed, unknown
	OneWayDirection string   `json:"one_way_direction,omitempty"` // target_to_contact, contact_to_target, both
	SinceS          *float64 `json:"since_s,omitempty"`
	Delay           string   `json:"delay,omitempty"`
	Jitter          string   `json:"jitter,omitempty"`
	Loss            string   `json:"loss,omitempty"`
	Overall         string   `json:"overall,omitempty"`
	FaultSide       string   `json:"fault_side,omitempty"`
	// MayBe has all right answers of a dimension that has more than one.
	MayBe map[string][]string `json:"may_be,omitempty"`
}

// Allowed gives the right answers for a dimension, nil where it is not judged.
func (e *Expectations) Allowed(dimension string) []string {
	if any := e.MayBe[dimension]; len(any) > 0 {
		return any
	}
	one := map[string]string{
		"one_way": e.OneWay, "one_way_direction": e.OneWayDirection, "delay": e.Delay, "jitter": e.Jitter,
		"loss": e.Loss, "overall": e.Overall, "fault_side": e.FaultSide,
	}[dimension]
	if one == "" {
		return nil
	}
	return []string{one}
}

// Dead is how long nothing of what was sent arrived, in seconds, of the
// direction that was dead longest.
func (t *Truth) Dead() float64 {
	longest := 0.0
	for _, d := range []*Direction{t.AToB, t.BToA} {
		if d == nil {
			continue
		}
		for _, s := range d.Dead {
			longest = max(longest, s.ToS-s.FromS)
		}
	}
	return longest
}

// Recording is one call of the set.
type Recording struct {
	Truth Truth
	Wire  string // wire.pcap.gz: what a monitor in the middle saw; empty where there is none
	Stats string // stats.jsonl.gz: getStats of its ends; empty where there is none
}

// Recordings reads all calls below a folder, in the order of their names.
func Recordings(folder string) ([]Recording, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*", "truth.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Recording
	for _, name := range names {
		r, err := readRecording(filepath.Dir(name))
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func readRecording(folder string) (Recording, error) {
	var r Recording
	text, err := os.ReadFile(filepath.Join(folder, "truth.json"))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r.Truth); err != nil {
		return r, err
	}
	for file, into := range map[string]*string{"wire.pcap.gz": &r.Wire, "stats.jsonl.gz": &r.Stats} {
		if name := filepath.Join(folder, file); exists(name) {
			*into = name
		}
	}
	return r, r.check(filepath.Base(folder))
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// check holds the label against the names that there are: a slip of the pen
// would make an expectation that is never compared.
func (r *Recording) check(folder string) error {
	t := &r.Truth
	fail := func(what string) error { return fmt.Errorf("%w: %s", ErrTruth, what) }
	bands := []string{"good", "acceptable", "bad", "unacceptable", "unknown"}
	names := map[string][]string{
		"one_way": {"none", "suspected", "confirmed", "unknown"}, "one_way_direction": {"", "target_to_contact", "contact_to_target", "both"}, // empty: not told
		"delay": bands, "jitter": bands, "loss": bands, "overall": bands, "fault_side": {"target", "contact", "network", "server", "unknown"},
	}
	for dimension := range t.Expect.MayBe {
		if names[dimension] == nil {
			return fail("no dimension " + dimension)
		}
	}
	for dimension, known := range names {
		for _, value := range t.Expect.Allowed(dimension) {
			if !slices.Contains(known, value) {
				return fail(dimension + " cannot be " + value)
			}
		}
	}
	switch {
	case t.Name != folder:
		return fail("the name is not the folder's")
	case r.Wire == "" && r.Stats == "":
		return fail("neither wire.pcap.gz nor stats.jsonl.gz is there")
	case !slices.Contains([]string{"clean", "fault", "trap"}, t.Class):
		return fail("class " + t.Class)
	case t.Class == "trap" && t.Trap == "":
		return fail("which trap it is")
	case t.Class == "fault" && (t.Fault == "" || t.Fault == "none"):
		return fail("which fault it is")
	case t.Expect.Allowed("one_way") == nil:
		return fail("expect.one_way")
	}
	return nil
}
