// Package registrations follows the life of registrations (RFC 3261 §10): it
// pairs REGISTER requests with their responses and says for each binding when
// it was made, refreshed, moved, given up, lost, and why an attempt failed.
package registrations

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/useragent"
	"github.com/earshot/earshot/telemetry"
)

const (
	secondUs = int64(time.Second / time.Microsecond)
	// graceUs is how long after its expiry a binding is given for its refresh to
	// arrive: 64·T1, the longest a REGISTER may take (RFC 3261 §17.1.2, timer F).
	graceUs = 32 * secondUs
	// attemptUs is how long a REGISTER transaction is remembered.
	attemptUs = 32 * secondUs
	// Flapping is flapTimes losses, or changes of source, within flapWindowUs.
	flapWindowUs = 600 * secondUs
	flapTimes    = 3
	// defaultExpiresS is RFC 3261's suggestion where nobody says anything (§10.2.1.1).
	defaultExpiresS = 3600

	maxPlausibleUs = int64(1) << 56 // year 4253

	// Bounds on what one address-of-record may hold.
	maxBindings = 256
	maxAttempts = 256
	maxContacts = 64
)

// Kinds of change.
const (
	Registered       = "registered"
	Refreshed        = "refreshed"
	Unregistered     = "unregistered"
	Lapsed           = "lapsed"
	Replaced         = "replaced"
	Challenged       = "challenged"
	AuthFailed       = "auth_failed"
	IntervalTooBrief = "interval_too_brief"
	Rejected         = "rejected"
	SourceChanged    = "source_changed"
	Flapping         = "flapping"
)

// Reasons of changes, see telemetry.RegistrationChange.
const (
	reasonSilence      = "silence"
	reasonRefused      = "refused"
	reasonNoAnswer     = "no_answer"
	reasonDevice       = "device"
	reasonAllContacts  = "all_contacts"
	reasonNotListed    = "not_listed"
	reasonNotBound     = "not_bound"
	reasonRevoked      = "revoked"
	reasonOtherContact = "other_contact"
	reasonStatus       = "status"
	reasonCredentials  = "credentials"
)

// Reasons why a record is refused.
var (
	ErrNotRegister = errors.New("registrations: no REGISTER message")
	ErrNoAOR       = errors.New("registrations: To names no address-of-record")
	ErrTime        = errors.New("registrations: record has no usable time")
)

// Machine is the registrations of one partition.
type Machine struct {
	timelines map[string]*timeline
	dirty     map[string]struct{}
}

// timeline holds the accounts of one timeline.
type timeline struct {
	accounts map[string]*account // by state key
	queue    dueQueue
}

// account is one address-of-record: the piece of state that is checkpointed.
type account struct {
	Company    string              `json:"company"`
	Timeline   string              `json:"timeline,omitempty"`
	AOR        string              `json:"aor"`
	ReceivedUs int64               `json:"received_us"`
	Bindings   map[string]*binding `json:"bindings,omitempty"` // by device id
	Attempts   map[string]*attempt `json:"attempts,omitempty"` // by Call-ID and CSeq
	// Losses by subject: the device where it has an instance id, else "", the
	// account: without one a device that comes back on another port is a new one.
	Losses map[string]*losses `json:"losses,omitempty"`
	// Refusals of credentials by device id, until it binds or is quiet for flapWindowUs.
	Refusals map[string]refusals `json:"refusals,omitempty"`

	// Of the queue; all of it follows from the above.
	key   string
	dueUs int64
	index int // in the queue, -1: not in it
}

// binding is a contact that the registrar holds.
type binding struct {
	device
	RegisteredUs  int64   `json:"registered_us"`
	ExpiresUs     int64   `json:"expires_us"`
	Listed        string  `json:"listed"` // the contact as the registrar lists it
	SourceChanges []int64 `json:"source_changes,omitempty"`
	SourceSinceUs int64   `json:"source_since_us"`
	Failures      int     `json:"failures,omitempty"` // of attempts to refresh it, since the last that did not
	Failed        failure `json:"failed,omitzero"`    // the last of them
}

// failure is an attempt that came to nothing.
type failure struct {
	AtUs   int64  `json:"at_us"`
	Reason string `json:"reason"` // why a binding lapses if nothing better comes
	Status uint32 `json:"status"`
}

// refusals are attempts in a row whose credentials were refused.
type refusals struct {
	Count   int   `json:"count"`
	SinceUs int64 `json:"since_us"`
	LastUs  int64 `json:"last_us"`
}

// device is who registers.
type device struct {
	ID        string              `json:"id"`
	Contact   string              `json:"contact"`
	Instance  string              `json:"instance,omitempty"`
	Source    string              `json:"source"`
	UserAgent string              `json:"user_agent,omitempty"`
	CallID    string              `json:"call_id"`
	Identity  *telemetry.Identity `json:"identity,omitempty"`
}

// losses is the history behind flapping.
type losses struct {
	AtUs  []int64 `json:"at_us,omitempty"`
	Bound bool    `json:"bound,omitempty"` // bound again since the last one
}

// attempt is one REGISTER transaction, however often it was sent or captured.
type attempt struct {
	AtUs     int64    `json:"at_us"`
	Request  *message `json:"request,omitempty"`
	Response *message `json:"response,omitempty"` // came before its request was seen
	Status   uint32   `json:"status,omitempty"`   // of the final response, once handled
}

// message is what is needed of a request or a response.
type message struct {
	Source         string              `json:"source,omitempty"`
	UserAgent      string              `json:"user_agent,omitempty"`
	Status         uint32              `json:"status,omitempty"`
	Reason         string              `json:"reason,omitempty"`
	CallID         string              `json:"call_id"`
	CSeq           uint32              `json:"cseq"`
	Contacts       []contact           `json:"contacts,omitempty"`
	ExpiresS       int64               `json:"expires_s"`
	MinExpiresS    int64               `json:"min_expires_s"`
	HasCredentials bool                `json:"has_credentials,omitempty"`
	Stale          bool                `json:"stale,omitempty"` // the nonce was too old, the password is not in question
	Identity       *telemetry.Identity `json:"identity,omitempty"`
}

type contact struct {
	URI      string `json:"uri"`
	ExpiresS int64  `json:"expires_s"`
	Instance string `json:"instance,omitempty"`
	RegID    string `json:"reg_id,omitempty"`
}

var _ processors.Machine = (*Machine)(nil)

// New gives a machine without any registration.
func New() *Machine {
	return &Machine{timelines: map[string]*timeline{}, dirty: map[string]struct{}{}}
}

func stateKey(company, timeline, aor string) string {
	return company + "\x00" + timeline + "\x00" + aor
}

func (m *Machine) timeline(id string) *timeline {
	t := m.timelines[id]
	if t == nil {
		t = &timeline{accounts: map[string]*account{}}
		m.timelines[id] = t
	}
	return t
}

// Apply takes a REGISTER request or a response to one, or the end of a binding
// that no message tells of.
func (m *Machine) Apply(r *telemetry.Record, emit processors.Emit) error {
	if end := r.GetRegistrationEnd(); end != nil {
		return m.end(r, end, emit)
	}
	s := r.GetSip()
	if s == nil || s.Method != "REGISTER" {
		return ErrNotRegister
	}
	aor := addressOfRecord(s)
	if err := check(r, aor); err != nil {
		return err
	}
	if s.Status > 0 && s.Status < 200 {
		return nil // provisional
	}
	id := r.GetTimeline().GetId()
	t, key := m.timeline(id), stateKey(r.Company, id, aor)
	a := t.accounts[key]
	if a == nil {
		a = &account{Company: r.Company, Timeline: id, AOR: aor, key: key, index: -1,
			Bindings: map[string]*binding{}, Attempts: map[string]*attempt{}, Losses: map[string]*losses{}, Refusals: map[string]refusals{}}
		t.accounts[key] = a
	}
	m.change(t, a, r, emit, func(e *emitter) { a.take(r.AtUs, s, e) })
	return nil
}

func check(r *telemetry.Record, aor string) error {
	if aor == "" {
		return ErrNoAOR
	}
	if r.AtUs <= 0 || r.AtUs > maxPlausibleUs {
		return fmt.Errorf("%w: %d", ErrTime, r.AtUs)
	}
	return nil
}

// change lets a record change an account.
func (m *Machine) change(t *timeline, a *account, r *telemetry.Record, emit processors.Emit, by func(*emitter)) {
	m.dirty[a.key] = struct{}{}
	a.ReceivedUs = max(a.ReceivedUs, r.ReceivedUs)
	by(&emitter{a: a, receivedUs: r.ReceivedUs, emit: emit})
	t.schedule(a)
}

// end takes the end of a binding that the registrar itself gave up. Of one that
// is not known there is nothing to end.
func (m *Machine) end(r *telemetry.Record, end *telemetry.RegistrationEnd, emit processors.Emit) error {
	if err := check(r, end.Aor); err != nil {
		return err
	}
	id := r.GetTimeline().GetId()
	t := m.timelines[id]
	if t == nil || t.accounts[stateKey(r.Company, id, end.Aor)] == nil {
		return nil
	}
	a := t.accounts[stateKey(r.Company, id, end.Aor)]
	m.change(t, a, r, emit, func(e *emitter) {
		a.lapse(r.AtUs, e)
		if b := a.Bindings[end.DeviceId]; b != nil {
			text := "The registrar ended it: the device was deleted in the portal and has to register anew; it was registered since " + moment(b.RegisteredUs) + "."
			a.unbind(r.AtUs, b, Unregistered, reasonRevoked, text, b.device, e)
		}
	})
	return nil
}

// addressOfRecord is user@host of To (RFC 3261 §10.2), the host in lower case.
func addressOfRecord(s *telemetry.SIPMessage) string {
	host := strings.ToLower(s.GetTo().GetHost())
	if user := s.GetTo().GetUser(); user != "" {
		return user + "@" + host
	}
	return host
}

func (a *account) take(atUs int64, s *telemetry.SIPMessage, e *emitter) {
	key := s.CallId + " " + strconv.FormatUint(uint64(s.Cseq), 10)
	t := a.Attempts[key]
	if t == nil {
		t = &attempt{AtUs: atUs}
		a.Attempts[key] = t
		a.boundAttempts(key)
	}
	if s.Status == 0 {
		if t.Request != nil {
			return // sent again, or captured twice
		}
		t.Request = newMessage(s)
	} else {
		if t.Status != 0 || t.Response != nil {
			return
		}
		t.Response = newMessage(s)
	}
	if t.Request == nil || t.Response == nil {
		return
	}
	req, resp := t.Request, t.Response
	// Of an answered attempt only its number is needed any more.
	t.Status, t.Response, t.Request = resp.Status, nil, &message{CallID: req.CallID, CSeq: req.CSeq}
	e.status, e.callID, e.cseq = resp.Status, req.CallID, req.CSeq
	a.answered(max(atUs, t.AtUs), req, resp, e)
}

// boundAttempts makes room for a new transaction by forgetting the oldest.
func (a *account) boundAttempts(newest string) {
	for len(a.Attempts) > maxAttempts {
		oldest := ""
		for key, t := range a.Attempts {
			if key == newest {
				continue
			}
			if o := a.Attempts[oldest]; o == nil || t.AtUs < o.AtUs || t.AtUs == o.AtUs && key < oldest {
				oldest = key
			}
		}
		delete(a.Attempts, oldest)
	}
}

func newMessage(s *telemetry.SIPMessage) *message {
	m := &message{
		Source: s.Src, UserAgent: s.UserAgent, Status: s.Status, Reason: s.ReasonPhrase, CallID: s.CallId, CSeq: s.Cseq,
		ExpiresS: s.ExpiresS, MinExpiresS: s.MinExpiresS, HasCredentials: s.HasCredentials,
	}
	if s.ReceivedFrom != "" {
		m.Source = s.ReceivedFrom
	}
	if s.Status == 0 {
		m.Identity = s.Callee
		if m.Identity == nil {
			m.Identity = s.Caller
		}
	}
	if s.Status == 401 || s.Status == 407 {
		m.Stale = staleNonce(s.Raw)
	}
	for _, c := range s.Contacts[:min(len(s.Contacts), maxContacts)] {
		m.Contacts = append(m.Contacts, contact{URI: c.Uri, ExpiresS: c.ExpiresS, Instance: c.Instance, RegID: c.RegId})
	}
	return m
}

// staleNonce looks for stale=true in a challenge (RFC 7616 §3.3).
func staleNonce(raw []byte) bool {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for line := range bytes.Lines(head) {
		l := bytes.ToLower(line)
		if bytes.HasPrefix(l, []byte("www-authenticate")) || bytes.HasPrefix(l, []byte("proxy-authenticate")) {
			l = bytes.ReplaceAll(bytes.ReplaceAll(l, []byte(" "), nil), []byte(`"`), nil)
			if bytes.Contains(l, []byte("stale=true")) {
				return true
			}
		}
	}
	return false
}

// answered handles a request together with its final response.
func (a *account) answered(atUs int64, req, resp *message, e *emitter) {
	// Time on the live timeline comes with ticks: what has lapsed meanwhile has
	// lapsed before this.
	a.lapse(atUs, e)
	switch {
	case resp.Status < 300:
		a.accepted(atUs, req, resp, e)
	case resp.Status == 401 || resp.Status == 407:
		if req.HasCredentials && !resp.Stale && a.challengedBefore(req) {
			a.refused(atUs, req, resp, e)
			return
		}
		text := fmt.Sprintf("The registrar asked for credentials (%d).", resp.Status)
		if resp.Stale {
			text = fmt.Sprintf("The registrar asked for credentials with a fresh nonce (%d).", resp.Status)
		}
		a.failed(atUs, Challenged, "", text, req, e)
	case resp.Status == 403 && req.HasCredentials:
		// A second challenge is not what every registrar has for wrong credentials.
		a.refused(atUs, req, resp, e)
	case resp.Status == 423:
		text := "The interval is too brief for the registrar."
		if resp.MinExpiresS >= 0 {
			text = fmt.Sprintf("The registrar wants at least %d s.", resp.MinExpiresS)
			if asked := requestExpires(req); asked >= 0 {
				text = fmt.Sprintf("The registrar wants at least %d s, the device asked for %d s.", resp.MinExpiresS, asked)
			}
		}
		a.failed(atUs, IntervalTooBrief, "", text, req, e)
	default:
		a.failed(atUs, Rejected, reasonStatus, "The registrar refused: "+answer(resp)+".", req, e)
	}
}

// answer is the status line without its version.
func answer(resp *message) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.Status, resp.Reason))
}

// moment is a time as the texts of changes say it.
func moment(us int64) string { return telemetry.Time(us).Format("2006-01-02 15:04:05") + " UTC" }

// refused reports credentials that the registrar did not take.
func (a *account) refused(atUs int64, req, resp *message, e *emitter) {
	d := a.deviceOf(req)
	if d.ID == "" {
		d.ID = telemetry.HashID(a.AOR, req.Source)
	}
	r, known := a.Refusals[d.ID]
	if !known || atUs-r.LastUs >= flapWindowUs {
		r = refusals{SinceUs: atUs}
	}
	r.Count++
	r.LastUs = atUs
	if known || len(a.Refusals) < maxBindings {
		a.Refusals[d.ID] = r
	}
	text := "The registrar refused the credentials (" + answer(resp) + ")."
	if r.Count > 1 {
		text = fmt.Sprintf("The registrar refused the credentials (%s), %d times since %s.", answer(resp), r.Count, moment(r.SinceUs))
	}
	a.failed(atUs, AuthFailed, reasonCredentials, text, req, e)
}

// challengedBefore says whether an earlier attempt of the same Call-ID has been
// challenged: only then were the credentials an answer to it. Old ones, sent
// along with the first request, may simply have expired.
func (a *account) challengedBefore(req *message) bool {
	for _, t := range a.Attempts {
		if t.Request != nil && t.Request.CallID == req.CallID && t.Request.CSeq < req.CSeq && (t.Status == 401 || t.Status == 407) {
			return true
		}
	}
	return false
}

// failed reports an attempt that changed no binding.
func (a *account) failed(atUs int64, kind, reason, text string, req *message, e *emitter) {
	d := a.deviceOf(req)
	if d.ID == "" {
		if kind == Challenged {
			return // nobody known is asked, nothing is known by it
		}
		d.ID = telemetry.HashID(a.AOR, req.Source)
	}
	if b := a.Bindings[d.ID]; b != nil {
		d.Contact = b.Contact
		if kind != Challenged {
			b.Failures++
			b.Failed = failure{AtUs: atUs, Reason: reasonRefused, Status: e.status}
			if reason == reasonNoAnswer {
				b.Failed = failure{AtUs: atUs, Reason: reasonNoAnswer}
			}
		}
	}
	e.change(atUs, kind, reason, text, d)
}

// deviceOf finds who sent a request. One without a contact of its own (a query,
// or "*") is known by its dialog or its address; else the id stays empty.
func (a *account) deviceOf(req *message) device {
	d := device{Source: req.Source, UserAgent: req.UserAgent, CallID: req.CallID, Identity: req.Identity}
	for _, c := range req.Contacts {
		if c.URI != "*" {
			d.ID, d.Contact, d.Instance = deviceID(a.AOR, c), c.URI, c.Instance
			return d
		}
	}
	if len(req.Contacts) > 0 {
		d.Contact = "*"
	}
	for _, same := range []func(*binding) bool{
		func(b *binding) bool { return b.CallID == req.CallID },
		func(b *binding) bool { return b.Source == req.Source },
		func(*binding) bool { return len(a.Bindings) == 1 },
	} {
		for _, id := range sorted(a.Bindings) {
			if b := a.Bindings[id]; same(b) {
				d.ID, d.Contact, d.Instance = b.ID, b.Contact, b.Instance
				return d
			}
		}
	}
	return d
}

// accepted makes the bindings what the 200 says they are (RFC 3261 §10.3: it
// lists all that are current).
func (a *account) accepted(atUs int64, req, resp *message, e *emitter) {
	var bound device // the last one this request bound
	touched := map[string]bool{}
	for _, c := range req.Contacts {
		if c.URI == "*" {
			continue
		}
		id := deviceID(a.AOR, c)
		touched[id] = true
		d := device{ID: id, Contact: c.URI, Instance: c.Instance, Source: req.Source, UserAgent: req.UserAgent, CallID: req.CallID, Identity: req.Identity}
		listed := a.listed(c, id, req, resp)
		asked := c.ExpiresS
		if asked < 0 {
			asked = req.ExpiresS
		}
		expires := int64(0)
		if listed != nil {
			expires = first(listed.ExpiresS, resp.ExpiresS, asked, defaultExpiresS)
		}
		expires = min(expires, 1<<32) // the most that RFC 3261 lets one say (§20.19)
		switch {
		case expires > 0:
			a.bind(atUs, d, listed.URI, expires, e)
			bound = d
		case asked == 0:
			if b := a.Bindings[id]; b != nil {
				a.unbind(atUs, b, Unregistered, reasonDevice, "The device unregistered; it was registered since "+moment(b.RegisteredUs)+".", d, e)
			} else {
				e.change(atUs, Unregistered, reasonNotBound, "The device unregistered, though no registration of it is known.", d)
			}
		default:
			text := "The registrar accepted, but lists no such binding."
			if b := a.Bindings[id]; b != nil {
				a.unbind(atUs, b, Unregistered, reasonNotListed, text, d, e)
			} else {
				e.change(atUs, Rejected, reasonNotListed, text, d)
			}
		}
	}
	for _, id := range sorted(a.Bindings) {
		b := a.Bindings[id]
		if touched[id] {
			continue
		}
		if c := find(resp.Contacts, b.Contact, b.Listed, b.Instance); c != nil {
			// Another device's: no refresh by that device, but proof that the
			// registrar still holds it.
			if s := first(c.ExpiresS, resp.ExpiresS, -1); s > 0 {
				b.ExpiresUs = max(b.ExpiresUs, atUs+min(s, 1<<32)*secondUs)
			}
			if first(c.ExpiresS, resp.ExpiresS, -1) != 0 {
				continue
			}
		}
		d := b.device
		switch {
		case slices.ContainsFunc(req.Contacts, func(c contact) bool { return c.URI == "*" }):
			a.unbind(atUs, b, Unregistered, reasonAllContacts, "All contacts of the address were unregistered; this one was registered since "+moment(b.RegisteredUs)+".", d, e)
		case b.ExpiresUs <= atUs:
			// Within the grace time, but the registrar has said that it is over.
			reason, text := b.lapsed()
			a.unbind(atUs, b, Lapsed, reason, text, d, e)
		case bound.ID != "":
			a.unbind(atUs, b, Replaced, reasonOtherContact, "Replaced by "+bound.Contact+" from "+bound.Source+".", d, e)
		default:
			a.unbind(atUs, b, Unregistered, reasonNotListed, "The registrar no longer lists it; it was registered since "+moment(b.RegisteredUs)+".", d, e)
		}
	}
}

// lapsed says why a binding has expired: a phone that fell silent is another
// trouble than one that is refused.
func (b *binding) lapsed() (reason, text string) {
	expired := "It expired at " + moment(b.ExpiresUs) + ", registered since " + moment(b.RegisteredUs) + "; "
	attempts := "1 attempt to refresh it failed"
	if b.Failures > 1 {
		attempts = fmt.Sprintf("%d attempts to refresh it failed", b.Failures)
	}
	switch {
	case b.Failures == 0:
		return reasonSilence, expired + "no REGISTER of the device was seen that would have refreshed it."
	case b.Failed.Reason == reasonNoAnswer:
		return reasonNoAnswer, expired + attempts + ", the last at " + moment(b.Failed.AtUs) + " without an answer."
	}
	return reasonRefused, expired + attempts + fmt.Sprintf(", the last at %s with %d.", moment(b.Failed.AtUs), b.Failed.Status)
}

// listed finds the contact of a request in the 200. A registrar that rewrites
// contacts (NAT) is understood where there is no doubt.
func (a *account) listed(c contact, id string, req, resp *message) *contact {
	if l := find(resp.Contacts, c.URI, "", c.Instance); l != nil {
		return l
	}
	if b := a.Bindings[id]; b != nil {
		if l := find(resp.Contacts, b.Listed, "", ""); l != nil {
			return l
		}
	}
	if len(req.Contacts) != 1 || len(resp.Contacts) != 1 {
		return nil
	}
	for other, b := range a.Bindings {
		if other != id && find(resp.Contacts, b.Contact, b.Listed, b.Instance) != nil {
			return nil
		}
	}
	return &resp.Contacts[0]
}

func find(contacts []contact, uri, listed, instance string) *contact {
	for i := range contacts {
		c := &contacts[i]
		if c.URI == "*" {
			continue
		}
		if instance != "" && c.Instance == instance || sameContact(c.URI, uri) || listed != "" && sameContact(c.URI, listed) {
			return c
		}
	}
	return nil
}

func first(values ...int64) int64 {
	for _, v := range values {
		if v >= 0 {
			return v
		}
	}
	return -1
}

func requestExpires(req *message) int64 {
	for _, c := range req.Contacts {
		if c.ExpiresS >= 0 {
			return c.ExpiresS
		}
	}
	return req.ExpiresS
}

// bind makes or refreshes a binding.
func (a *account) bind(atUs int64, d device, listed string, expiresS int64, e *emitter) {
	expiresUs := atUs + expiresS*secondUs
	delete(a.Refusals, d.ID)
	b := a.Bindings[d.ID]
	if b == nil {
		a.boundBindings()
		b = &binding{device: d, RegisteredUs: atUs, ExpiresUs: expiresUs, Listed: listed, SourceSinceUs: atUs}
		a.Bindings[d.ID] = b
		a.history(d).Bound = true
		e.change(atUs, Registered, "", fmt.Sprintf("Registered for %d s%s.", expiresS, fromSource(d.Source)), d)
		return
	}
	from, since, agent := b.Source, b.SourceSinceUs, b.UserAgent
	b.device, b.ExpiresUs, b.Listed = d, expiresUs, listed
	b.Failures, b.Failed = 0, failure{}
	moved := from != "" && d.Source != "" && from != d.Source
	b.SourceChanges = within(b.SourceChanges, atUs)
	if moved {
		b.SourceChanges = append(b.SourceChanges, atUs)
		b.SourceSinceUs = atUs
	}
	text := fmt.Sprintf("Refreshed for %d s%s.", expiresS, fromSource(d.Source))
	if agent != "" && d.UserAgent != "" && agent != d.UserAgent {
		text = fmt.Sprintf("Refreshed for %d s%s by %s; before it was %s.", expiresS, fromSource(d.Source), d.UserAgent, agent)
	}
	e.change(atUs, Refreshed, "", text, d)
	if !moved {
		return
	}
	e.change(atUs, SourceChanged, "", "The source changed from "+from+", where it was since "+moment(since)+", to "+d.Source+".", d)
	if len(b.SourceChanges) == flapTimes { // it begins
		e.change(atUs, Flapping, "", fmt.Sprintf("%d changes of source within %d min, the first at %s.", len(b.SourceChanges), flapWindowUs/secondUs/60, moment(b.SourceChanges[0])), d)
	}
}

func fromSource(source string) string {
	if source == "" {
		return ""
	}
	return " from " + source
}

// boundBindings makes room for a new binding by forgetting the one that
// expires first.
func (a *account) boundBindings() {
	if len(a.Bindings) < maxBindings {
		return
	}
	ids := sorted(a.Bindings)
	soonest := slices.MinFunc(ids, func(x, y string) int {
		bx, by := a.Bindings[x], a.Bindings[y]
		if bx.ExpiresUs != by.ExpiresUs {
			return int(min(max(bx.ExpiresUs-by.ExpiresUs, -1), 1))
		}
		return strings.Compare(x, y)
	})
	a.history(a.Bindings[soonest].device).Bound = false
	delete(a.Bindings, soonest)
}

// unbind ends a binding; by is who sent the request that did it.
func (a *account) unbind(atUs int64, b *binding, kind, reason, text string, by device, e *emitter) {
	delete(a.Bindings, b.ID)
	d := b.device
	if by.ID == b.ID {
		d = by
	}
	h := a.history(d)
	h.AtUs = within(h.AtUs, atUs)
	counts := h.Bound
	// Only a loss after a new binding counts: three phones of one account that
	// lose power together do not flap.
	if counts {
		h.AtUs, h.Bound = append(h.AtUs, atUs), false
	}
	e.ended = &telemetry.RegistrationChange{RegisteredUs: b.RegisteredUs}
	if kind == Lapsed {
		e.ended.ExpiresUs = b.ExpiresUs
	}
	e.change(atUs, kind, reason, text, d)
	if counts && len(h.AtUs) == flapTimes { // it begins
		e.change(atUs, Flapping, "", fmt.Sprintf("%d times registered and lost within %d min, the first loss at %s.", len(h.AtUs), flapWindowUs/secondUs/60, moment(h.AtUs[0])), d)
	}
	e.ended = nil
}

func (a *account) history(d device) *losses {
	subject := ""
	if d.Instance != "" {
		subject = d.ID
	}
	h := a.Losses[subject]
	if h == nil {
		h = &losses{}
		a.Losses[subject] = h
	}
	return h
}

// flaps says whether the device flaps at a time.
func (a *account) flaps(d device, atUs int64) bool {
	if b := a.Bindings[d.ID]; b != nil && recent(b.SourceChanges, atUs) >= flapTimes {
		return true
	}
	subject := ""
	if d.Instance != "" {
		subject = d.ID
	}
	h := a.Losses[subject]
	return h != nil && recent(h.AtUs, atUs) >= flapTimes
}

func recent(times []int64, nowUs int64) (n int) {
	for _, t := range times {
		if nowUs-t < flapWindowUs {
			n++
		}
	}
	return n
}

// within keeps the times that still count.
func within(times []int64, nowUs int64) []int64 {
	return slices.DeleteFunc(times, func(t int64) bool { return nowUs-t >= flapWindowUs })
}

// lapse ends the bindings whose refresh did not come.
func (a *account) lapse(nowUs int64, e *emitter) {
	var over []*binding
	for _, b := range a.Bindings {
		if b.ExpiresUs+graceUs <= nowUs {
			over = append(over, b)
		}
	}
	slices.SortFunc(over, func(x, y *binding) int {
		if x.ExpiresUs != y.ExpiresUs {
			return int(min(max(x.ExpiresUs-y.ExpiresUs, -1), 1))
		}
		return strings.Compare(x.ID, y.ID)
	})
	// A lapse is no answer to anything.
	quiet := *e
	quiet.status, quiet.callID, quiet.cseq = 0, "", 0
	for _, b := range over {
		reason, text := b.lapsed()
		quiet.callID = b.CallID
		a.unbind(b.ExpiresUs+graceUs, b, Lapsed, reason, text, b.device, &quiet)
	}
	e.ordinal = quiet.ordinal
}

// timeouts reports attempts that nobody answered, and forgets old ones.
func (a *account) timeouts(nowUs int64, e *emitter) {
	for _, key := range sorted(a.Attempts) {
		t := a.Attempts[key]
		if t.AtUs+attemptUs > nowUs {
			continue
		}
		delete(a.Attempts, key)
		if t.Request == nil || t.Status != 0 {
			continue
		}
		quiet := *e
		quiet.status, quiet.callID, quiet.cseq = 408, t.Request.CallID, t.Request.CSeq
		a.failed(t.AtUs+attemptUs, Rejected, reasonNoAnswer, "No answer was seen within 32 s.", t.Request, &quiet)
		e.ordinal = quiet.ordinal
	}
}

// due is when the account has to be looked at again; 0: never.
func (a *account) due() int64 {
	due := int64(0)
	soonest := func(t int64) {
		if due == 0 || t < due {
			due = t
		}
	}
	for _, b := range a.Bindings {
		soonest(b.ExpiresUs + graceUs)
	}
	for _, t := range a.Attempts {
		soonest(t.AtUs + attemptUs)
	}
	if due == 0 {
		// Nothing is open: only the memory of losses and refusals keeps the account.
		for _, h := range a.Losses {
			for _, t := range h.AtUs {
				soonest(t + flapWindowUs)
			}
		}
		for _, r := range a.Refusals {
			soonest(r.LastUs + flapWindowUs)
		}
	}
	return due
}

// tidy forgets losses and refusals that no longer count, and says whether anything is left.
func (a *account) tidy(nowUs int64) (empty bool) {
	for subject, h := range a.Losses {
		h.AtUs = within(h.AtUs, nowUs)
		if len(h.AtUs) == 0 && !h.Bound {
			delete(a.Losses, subject)
		}
	}
	maps.DeleteFunc(a.Refusals, func(_ string, r refusals) bool { return nowUs-r.LastUs >= flapWindowUs })
	return len(a.Bindings) == 0 && len(a.Attempts) == 0 && len(a.Losses) == 0 && len(a.Refusals) == 0
}

// Advance finds what has lapsed and what was never answered.
func (m *Machine) Advance(id string, nowUs int64, emit processors.Emit) {
	t := m.timelines[id]
	if t == nil {
		return
	}
	for len(t.queue) > 0 && t.queue[0].dueUs <= nowUs {
		a := t.queue[0]
		m.dirty[a.key] = struct{}{}
		e := &emitter{a: a, receivedUs: a.ReceivedUs, emit: emit}
		if id == "" {
			e.receivedUs = nowUs // live time is the time of reception
		}
		a.lapse(nowUs, e)
		a.timeouts(nowUs, e)
		if a.tidy(nowUs) {
			delete(t.accounts, a.key)
		}
		t.schedule(a)
		if a.index >= 0 && a.dueUs <= nowUs { // what is due has been done; never spin
			a.dueUs = nowUs + secondUs
			heap.Fix(&t.queue, a.index)
		}
	}
}

// End drops what a capture leaves open: its bindings do not lapse because it
// ends, and what was not answered by then is not known.
func (m *Machine) End(id string, _ int64, _ processors.Emit) {
	t := m.timelines[id]
	if t == nil {
		return
	}
	for key := range t.accounts {
		m.dirty[key] = struct{}{}
	}
	delete(m.timelines, id)
}

// Checkpoint puts the accounts that changed, in the order of their keys.
func (m *Machine) Checkpoint(put func(key string, state []byte)) {
	for _, key := range sorted(m.dirty) {
		_, rest, _ := strings.Cut(key, "\x00")
		id, _, _ := strings.Cut(rest, "\x00")
		var a *account
		if t := m.timelines[id]; t != nil {
			a = t.accounts[key]
		}
		if a == nil {
			put(key, nil)
			continue
		}
		state, err := json.Marshal(a)
		if err != nil {
			panic(err) // strings, numbers and maps of them: it cannot fail
		}
		put(key, state)
	}
	clear(m.dirty)
}

// Restore takes back one account.
func (m *Machine) Restore(key string, state []byte) error {
	a := &account{}
	if err := json.Unmarshal(state, a); err != nil {
		return fmt.Errorf("cannot read the state of a registration: %w", err)
	}
	if stateKey(a.Company, a.Timeline, a.AOR) != key {
		return errors.New("cannot read the state of a registration: it belongs to another key")
	}
	if hasNull(a.Bindings) || hasNull(a.Attempts) || hasNull(a.Losses) {
		return errors.New("cannot read the state of a registration: a member is null")
	}
	if a.Bindings == nil {
		a.Bindings = map[string]*binding{}
	}
	if a.Attempts == nil {
		a.Attempts = map[string]*attempt{}
	}
	if a.Losses == nil {
		a.Losses = map[string]*losses{}
	}
	if a.Refusals == nil {
		a.Refusals = map[string]refusals{}
	}
	t := m.timeline(a.Timeline)
	if old := t.accounts[key]; old != nil && old.index >= 0 {
		heap.Remove(&t.queue, old.index)
	}
	a.key, a.index = key, -1
	t.accounts[key] = a
	t.schedule(a)
	return nil
}

func hasNull[V any](m map[string]*V) bool {
	for _, v := range m {
		if v == nil {
			return true
		}
	}
	return false
}

// schedule brings the queue up to date with an account.
func (t *timeline) schedule(a *account) {
	a.dueUs = a.due()
	switch {
	case a.dueUs != 0 && a.index < 0:
		heap.Push(&t.queue, a)
	case a.dueUs != 0:
		heap.Fix(&t.queue, a.index)
	case a.index >= 0:
		heap.Remove(&t.queue, a.index)
	}
}

// dueQueue is a heap, soonest first, in an order that depends on nothing else.
type dueQueue []*account

func (q dueQueue) Len() int { return len(q) }
func (q dueQueue) Less(i, j int) bool {
	return q[i].dueUs < q[j].dueUs || q[i].dueUs == q[j].dueUs && q[i].key < q[j].key
}
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *dueQueue) Push(x any) {
	a := x.(*account)
	a.index = len(*q)
	*q = append(*q, a)
}
func (q *dueQueue) Pop() any {
	old := *q
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	a.index = -1
	return a
}

// emitter makes outcomes of one record or tick for one account.
type emitter struct {
	a          *account
	receivedUs int64
	status     uint32
	callID     string
	cseq       uint32
	ordinal    uint32
	ended      *telemetry.RegistrationChange // of the binding that ends: since when it held, and when it expired
	emit       processors.Emit
}

// change emits one change, with what holds after it.
func (e *emitter) change(atUs int64, kind, reason, text string, d device) {
	agent := useragent.Parse(d.UserAgent)
	c := &telemetry.RegistrationChange{
		Aor: e.a.AOR, DeviceId: d.ID, AtUs: atUs, Change: kind, Contact: d.Contact, Source: d.Source, UserAgent: d.UserAgent,
		App: agent.App, AppVersion: agent.Version, Platform: agent.Platform, Endpoint: agent.Endpoint,
		SipStatus: e.status, CallId: e.callID, Cseq: e.cseq, Identity: d.Identity, Instance: d.Instance,
		Flapping: e.a.flaps(d, atUs), Text: text, Timeline: e.a.Timeline, Ordinal: e.ordinal, Reason: reason,
	}
	if r, known := e.a.Refusals[d.ID]; known && atUs-r.LastUs < flapWindowUs {
		c.FailingSinceUs = r.SinceUs
	}
	if e.ended != nil {
		c.RegisteredUs, c.ExpiresUs = e.ended.RegisteredUs, e.ended.ExpiresUs
	}
	if b := e.a.Bindings[d.ID]; b != nil {
		c.Registered, c.ExpiresUs, c.RegisteredUs = true, b.ExpiresUs, b.RegisteredUs
	}
	e.ordinal++
	e.emit(&telemetry.Outcome{
		Company: e.a.Company, Timeline: e.a.Timeline, ReceivedUs: e.receivedUs,
		Body: &telemetry.Outcome_Registration{Registration: c},
	})
}

func deviceID(aor string, c contact) string {
	return telemetry.DeviceID(aor, c.Instance, c.RegID, c.URI)
}

func sameContact(a, b string) bool {
	return a == b || telemetry.ContactCore(a) == telemetry.ContactCore(b)
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
