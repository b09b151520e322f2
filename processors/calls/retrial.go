package calls

import (
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// Retried is a call that was judged again.
type Retried struct {
	Company, Timeline, CallID string
	// FirstUs and LastUs are when the first and the last record were received
	// that the machine was given of the call; of a call of a capture FirstUs is
	// that of the capture.
	FirstUs, LastUs int64
	// Call is its newest version.
	Call *telemetry.Call
}

// Retrial judges calls again, under rules that may be others. It is a Machine
// that emits nothing and remembers of each call no more than its newest
// version, until no other can follow; so it holds as much as the processors do.
type Retrial struct {
	machine *Machine
	company string
	over    func(Retried)

	seen     map[callID]*received // by call key
	captures map[string]int64     // when the first record of a timeline was received
	newest   map[callID][]byte    // of the public id: the marshalled call
}

type received struct{ firstUs, lastUs int64 }

var _ processors.Machine = (*Retrial)(nil)

// NewRetrial gives a retrial of the calls of a company, of all where it is
// empty. Each call that has a version is handed to over, once.
func NewRetrial(rules *quality.RuleBook, company string, over func(Retried)) *Retrial {
	return &Retrial{
		machine: New(rules), company: company, over: over,
		seen: map[callID]*received{}, captures: map[string]int64{}, newest: map[callID][]byte{},
	}
}

// Apply takes one observation.
func (r *Retrial) Apply(rec *telemetry.Record, _ processors.Emit) error {
	if r.company != "" && rec.Company != r.company {
		return nil
	}
	timeline := rec.GetTimeline().GetId()
	if timeline != "" {
		if _, known := r.captures[timeline]; !known {
			r.captures[timeline] = rec.ReceivedUs
		}
	}
	var versions []*telemetry.Outcome // taken back where the record is poison
	err := r.machine.Apply(rec, func(o *telemetry.Outcome) {
		if o.GetCall() != nil {
			versions = append(versions, o)
		}
	})
	if err != nil {
		return err
	}
	for _, o := range versions {
		r.keep(o)
	}
	id := callID{rec.Company, timeline, rec.CallKey}
	at := r.seen[id]
	if at == nil {
		at = &received{firstUs: rec.ReceivedUs}
		r.seen[id] = at
	}
	at.lastUs = max(at.lastUs, rec.ReceivedUs)
	return nil
}

// Advance moves event time.
func (r *Retrial) Advance(timeline string, nowUs int64, _ processors.Emit) {
	r.machine.Advance(timeline, nowUs, r.keep)
	r.forgotten()
}

// End closes a timeline.
func (r *Retrial) End(timeline string, atUs int64, _ processors.Emit) {
	r.machine.End(timeline, atUs, r.keep)
	r.forgotten()
	delete(r.captures, timeline)
}

// Checkpoint has nothing to put: a retrial is not continued.
func (r *Retrial) Checkpoint(func(string, []byte)) {}

// Restore is never called, since there is no checkpoint.
func (r *Retrial) Restore(string, []byte) error { return nil }

// Rest hands over the calls that still may have another version.
func (r *Retrial) Rest() {
	for id := range r.seen {
		r.hand(id)
	}
}

func (r *Retrial) keep(o *telemetry.Outcome) {
	c := o.GetCall()
	if c == nil {
		return
	}
	// Taken down at once, as the runtime does: what the outcome consists of may be
	// the machine's, and is smaller so.
	b, err := c.MarshalVT()
	if err != nil {
		panic(err) // the runtime counts the record as poison
	}
	r.newest[callID{o.Company, o.Timeline, o.CallId}] = b
}

// forgotten hands over the calls that the machine has forgotten, and spares it
// the account of what a checkpoint would have to write.
func (r *Retrial) forgotten() {
	m := r.machine
	for _, e := range m.dirty {
		e.dirty = false
		if e.gone { // remembered, but nothing more is said of it
			r.hand(e.callID())
		}
	}
	m.dirty = m.dirty[:0]
	for _, e := range m.deleted {
		if e.line.calls[e.id] == nil {
			r.hand(e.callID())
		}
	}
	m.deleted = m.deleted[:0]
}

func (r *Retrial) hand(id callID) {
	at := r.seen[id]
	if at == nil {
		return
	}
	delete(r.seen, id)
	public := callID{id.company, id.timeline, telemetry.CallID(id.key)}
	newest, said := r.newest[public]
	if !said {
		return
	}
	delete(r.newest, public)
	call := &telemetry.Call{}
	if err := call.UnmarshalVT(newest); err != nil {
		panic(err) // it was written above
	}
	first := at.firstUs
	if began, known := r.captures[id.timeline]; known {
		first = min(first, began)
	}
	r.over(Retried{Company: id.company, Timeline: id.timeline, CallID: public.key, FirstUs: first, LastUs: at.lastUs, Call: call})
}

// Change is a dimension of a verdict that two versions judge differently.
type Change struct {
	Dimension string `json:"dimension"`
	From      string `json:"from"`
	To        string `json:"to"`
}

// Dimensions of a verdict that Changes looks at.
var Dimensions = []string{"overall", "delay", "jitter", "loss", "one_way_audio", "fault_side"}

// Changes says where two verdicts come to another conclusion, in the order of Dimensions.
func Changes(from, to *telemetry.Verdict) []Change {
	var out []Change
	a, b := conclusions(from), conclusions(to)
	for i, dimension := range Dimensions {
		if a[i] != b[i] {
			out = append(out, Change{dimension, a[i], b[i]})
		}
	}
	return out
}

func conclusions(v *telemetry.Verdict) []string {
	o := v.GetOneWayAudio()
	oneWay := o.GetState()
	if o.GetDirection() != "" {
		oneWay += " " + o.GetDirection()
	}
	out := []string{v.GetOverall(), v.GetDelay().GetBand(), v.GetJitter().GetBand(), v.GetLoss().GetBand(), oneWay, v.GetFaultSide()}
	for i := range out {
		if out[i] == "" {
			out[i] = quality.Unknown
		}
	}
	return out
}

// SameVersion says whether two versions of a call say the same in the same
// words and figures, whatever the rules are called that they were made with.
func SameVersion(a, b *telemetry.Call) bool {
	return proto.Equal(withoutRules(a), withoutRules(b))
}

func withoutRules(c *telemetry.Call) *telemetry.Call {
	c = proto.CloneOf(c)
	if v := c.GetVerdict(); v != nil {
		v.Rules, v.Thresholds = "", nil
	}
	return c
}
