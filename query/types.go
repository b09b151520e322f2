package query

import (
	"errors"
	"fmt"
	"time"

	"github.com/earshot/earshot/telemetry"
)

var (
	// ErrNotFound says that the company has no such object, or that it is another company's.
	ErrNotFound = errors.New("not found")
	// ErrLimit says that the question is too big: its page, its buckets, or its time on the server.
	ErrLimit = errors.New("limit exceeded")
	// ErrCursor says that a cursor was not made by this list.
	ErrCursor = errors.New("cursor is not valid")
	// ErrFilter says that a filter has a value outside its set.
	ErrFilter = errors.New("filter is not valid")
)

// Time is an instant that JSON shows as RFC 3339 in UTC with milliseconds, and
// as null where it is not known.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(timeLayout) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		t.Time = time.Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// String is what JSON shows, without quotes; empty where not known.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// Micros gives Unix microseconds; 0 where not known.
func (t Time) Micros() int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func micros(us int64) Time {
	if us == 0 {
		return Time{}
	}
	return Time{time.UnixMicro(us).UTC()}
}

// Page asks for a part of a list.
type Page struct {
	Limit  int    // items; 0: 100, at most MaxLimit
	Cursor string // next_cursor of the page before; empty: the first page
}

// Limits of a page, in items.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

func (p Page) limit() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultLimit, nil
	case p.Limit < 0 || p.Limit > MaxLimit:
		return 0, fmt.Errorf("%w: a page holds 1 to %d items, not %d", ErrLimit, MaxLimit, p.Limit)
	}
	return p.Limit, nil
}

// List is one page of a list.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"` // null on the last page
}

// Call is a call as the API shows it. In lists legs, evidence and sources are absent.
type Call struct {
	ID          string            `json:"id"`
	Company     string            `json:"company"`
	State       string            `json:"state"`     // live, ended
	Direction   string            `json:"direction"` // inbound, outbound, internal
	Target      Party             `json:"target"`
	Contact     Party             `json:"contact"`
	StartedAt   Time              `json:"started_at"`
	ConnectedAt Time              `json:"connected_at"`
	EndedAt     Time              `json:"ended_at"`
	DurationMs  *int64            `json:"duration_ms"` // from connect to end; 0 if never connected, null while live
	Description string            `json:"description"`
	End         *CallEnd          `json:"end"`
	Legs        []Leg             `json:"legs,omitzero"`
	SIPCallIDs  []string          `json:"sip_call_ids,omitzero"`
	LinkedCalls []LinkedCall      `json:"linked_calls,omitempty"`
	Verdict     Verdict           `json:"verdict"`
	Rejections  []Rejection       `json:"rejections"`
	Ratings     []Rating          `json:"ratings"`
	Links       map[string]string `json:"links,omitzero"` // filled by the API

	Timeline   string `json:"timeline,omitempty"` // empty: live traffic
	ReceivedAt Time   `json:"received_at"`        // of the newest version

	// What is usual for whom the call belongs to, and what is remarkable against
	// it: of a single call only, filled by the API.
	Baselines         []Baseline `json:"baselines,omitzero"`
	BaselineSentences []Evidence `json:"baseline_sentences,omitzero"`

	peers []telemetry.Peers
}

// Party is one side of a call.
type Party struct {
	UserID          *string `json:"user_id"`
	Name            string  `json:"name"`
	Number          string  `json:"number"`
	Endpoint        string  `json:"endpoint"` // native, packaged_app, web, mobile, desk_phone, sip
	AppVersion      string  `json:"app_version"`
	Platform        string  `json:"platform"`
	DeviceID        string  `json:"device_id,omitempty"`
	DepartmentID    string  `json:"department_id,omitempty"`
	OfficeID        string  `json:"office_id,omitempty"`
	ContactCenterID string  `json:"contact_center_id,omitempty"`
}

// CallEnd says who ended a call and how.
type CallEnd struct {
	By        string  `json:"by"` // target, contact, system
	SIPStatus *uint32 `json:"sip_status"`
	Reason    string  `json:"reason"`
}

// Leg is one SIP dialog or WebRTC connection of a call.
type Leg struct {
	ID        string `json:"id"`
	SIPCallID string `json:"sip_call_id"`
	Kind      string `json:"kind"` // sip, webrtc
	Side      string `json:"side"` // target, contact, server
	UserAgent string `json:"user_agent"`
	Codec     string `json:"codec"`
	ClockRate uint32 `json:"clock_rate"` // Hz, 0 unknown
	Address   string `json:"address"`    // media address
	StartedAt Time   `json:"started_at"`
	EndedAt   Time   `json:"ended_at"`
	UserID    string `json:"user_id,omitempty"`
	DeviceID  string `json:"device_id,omitempty"`
	// Why this dialog is part of the call: event, session_id, header, guess; absent
	// where it is the call's own.
	LinkedBy       string  `json:"linked_by,omitempty"`
	LinkConfidence float64 `json:"link_confidence,omitempty"` // 0–1
}

// LinkedCall is a call that holds another leg of the same conversation.
type LinkedCall struct {
	CallID         string  `json:"call_id"`
	LinkedBy       string  `json:"linked_by"`
	LinkConfidence float64 `json:"link_confidence"`
}

// Verdict is what was concluded about a call.
type Verdict struct {
	Overall     string      `json:"overall"` // good, acceptable, bad, unacceptable, unknown
	Final       bool        `json:"final"`
	Version     uint32      `json:"version"`
	ComputedAt  Time        `json:"computed_at"`
	Rules       string      `json:"rules"`
	Delay       Delay       `json:"delay"`
	Jitter      Jitter      `json:"jitter"`
	Loss        Loss        `json:"loss"`
	OneWayAudio OneWayAudio `json:"one_way_audio"`
	MOS         *MOS        `json:"mos"`
	FaultSide   string      `json:"fault_side"` // target, contact, network, server, unknown
	// FaultConfidence is 0–1, null where the side at fault is not known.
	FaultConfidence *float64 `json:"fault_confidence"`
	// Segments of the way of the audio that were measured apart, from the target on.
	Segments []PathSegment `json:"segments,omitzero"`
	Evidence []Evidence    `json:"evidence,omitzero"`
	Sources  []Source      `json:"sources,omitzero"`
	// Thresholds that the bands follow from; absent in lists.
	Thresholds *Thresholds `json:"thresholds,omitempty"`
}

// Thresholds are the figures of the rules that a verdict was made with. Delay:
// below good and below acceptable each its band, up to bad bad, above it
// unacceptable. Loss and the share of choppy moments: from bad on unacceptable.
type Thresholds struct {
	DelayGoodMs              float64 `json:"delay_good_ms"`
	DelayAcceptableMs        float64 `json:"delay_acceptable_ms"`
	DelayBadMs               float64 `json:"delay_bad_ms"`
	LossGoodPercent          float64 `json:"loss_good_percent"`
	LossAcceptablePercent    float64 `json:"loss_acceptable_percent"`
	LossBadPercent           float64 `json:"loss_bad_percent"`
	JitterChoppyMs           float64 `json:"jitter_choppy_ms"` // a moment above is choppy
	ConcealmentChoppyPercent float64 `json:"concealment_choppy_percent"`
	ConcealmentBufferPercent float64 `json:"concealment_buffer_percent"` // with the jitter buffer at BufferOverPreferredRatio
	BufferOverPreferredRatio float64 `json:"buffer_over_preferred_ratio"`
	ChoppyShareGood          float64 `json:"choppy_share_good"` // of moments, 0–1
	ChoppyShareAcceptable    float64 `json:"choppy_share_acceptable"`
	ChoppyShareBad           float64 `json:"choppy_share_bad"`
	SettleS                  float64 `json:"settle_s"` // after the answer, left out of bands
	OneWayGraceS             float64 `json:"one_way_grace_s"`
	OneWayDeadS              float64 `json:"one_way_dead_s"`
	OneWayMinPacketsSent     uint32  `json:"one_way_min_packets_sent"`
	OneWayMinReports         uint32  `json:"one_way_min_reports"`
	OneWaySuspected          float64 `json:"one_way_suspected"` // confidence, 0–1
	OneWayConfirmed          float64 `json:"one_way_confirmed"`
}

// Distribution of a quantity over a call.
type Distribution struct {
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

// Delay is the round trip of the call.
type Delay struct {
	Band  string             `json:"band"`
	RTTMs *Distribution      `json:"rtt_ms"`
	Share map[string]float64 `json:"share"` // of time in each band, 0–1
}

// Jitter is that of the network and what the jitter buffer made of it.
type Jitter struct {
	Band                     string        `json:"band"`
	JitterMs                 *Distribution `json:"jitter_ms"`
	BufferOverPreferredRatio *float64      `json:"buffer_over_preferred_ratio"`
	ConcealmentPercent       *float64      `json:"concealment_percent"`
	TargetToContactMs        *Distribution `json:"target_to_contact_ms"`
	ContactToTargetMs        *Distribution `json:"contact_to_target_ms"`
	// The jitter buffer as it was and as it preferred to be, in the direction with the worse ratio.
	BufferMs          *float64 `json:"buffer_ms"`
	BufferPreferredMs *float64 `json:"buffer_preferred_ms"`
}

// Loss of packets, the worse direction first, then each.
type Loss struct {
	Band                   string   `json:"band"`
	Percent                *float64 `json:"percent"`
	BurstPercent           *float64 `json:"burst_percent"`
	TargetToContactPercent *float64 `json:"target_to_contact_percent"`
	ContactToTargetPercent *float64 `json:"contact_to_target_percent"`
	BurstRatio             *float64 `json:"burst_ratio"` // BurstR of G.107 in the worse direction; 1 is random loss
}

// PathSegment is a part of the way of the audio that was measured apart from the
// others; what was not measured is null. Band is the worst of what was.
type PathSegment struct {
	From                       string        `json:"from"` // target, server
	To                         string        `json:"to"`   // server, contact
	RTTMs                      *Distribution `json:"rtt_ms"`
	TargetToContactJitterMs    *float64      `json:"target_to_contact_jitter_ms"` // 95th percentile
	ContactToTargetJitterMs    *float64      `json:"contact_to_target_jitter_ms"`
	TargetToContactLossPercent *float64      `json:"target_to_contact_loss_percent"`
	ContactToTargetLossPercent *float64      `json:"contact_to_target_loss_percent"`
	Band                       string        `json:"band"`
	Source                     string        `json:"source"` // what splits the way: capture_point, server
}

// DeadSpan is a time in which nothing of one direction arrived.
type DeadSpan struct {
	Direction  string  `json:"direction"`
	Since      Time    `json:"since"`
	Until      Time    `json:"until"`
	Confidence float64 `json:"confidence"`
	Healed     bool    `json:"healed"` // audio was seen to arrive afterwards
}

// OneWayAudio says whether a party could not be heard. From cannot be heard by To.
type OneWayAudio struct {
	State      string   `json:"state"`     // none, suspected, confirmed, unknown
	Direction  *string  `json:"direction"` // target_to_contact, contact_to_target, both: the dead one
	From       *string  `json:"from"`
	To         *string  `json:"to"`
	Since      Time     `json:"since"`
	Until      Time     `json:"until"`
	Confidence *float64 `json:"confidence"`
	// Text says it in a sentence, with the names of the parties and the time in the call.
	Text string `json:"text"`
	// Spans are all the times that a direction was dead, in their order.
	Spans []DeadSpan `json:"spans,omitempty"`
}

// MOS by the E-model.
type MOS struct {
	Min       float64            `json:"min"`
	Avg       float64            `json:"avg"`
	Model     string             `json:"model"` // G.107, G.107.1, G.107.2, reported
	Codec     string             `json:"codec"`
	Direction string             `json:"direction"` // the worse one, which it is of
	Inputs    map[string]float64 `json:"inputs"`
	Estimated bool               `json:"estimated"`
}

// Evidence is one observation that a verdict rests on.
type Evidence struct {
	Kind      string             `json:"kind"`
	Leg       string             `json:"leg"`
	At        Time               `json:"at"`
	Until     Time               `json:"until"` // null where it is no span
	Text      string             `json:"text"`
	Values    map[string]float64 `json:"values"`
	Side      string             `json:"side,omitempty"`
	Direction string             `json:"direction,omitempty"`
	Graph     string             `json:"graph,omitempty"` // rtt, jitter, loss, level, jitter_buffer, mos, ladder
}

// Source is a witness of the call.
type Source struct {
	Kind    string `json:"kind"` // webrtc, rtcp, rtcp_xr, vq_rtcpxr, rtp, sip
	Side    string `json:"side"`
	Samples uint32 `json:"samples"`
}

// Sample is a point on the graphs: what one witness saw of one direction.
// Metrics are null where the witness did not give them.
type Sample struct {
	At                       Time     `json:"at"`
	LegID                    string   `json:"leg_id"`
	Side                     string   `json:"side"`      // target, contact, server
	Source                   string   `json:"source"`    // webrtc, rtcp, rtp, rtcp_xr, vq_rtcpxr, sip
	Direction                string   `json:"direction"` // target_to_contact, contact_to_target
	SSRC                     uint32   `json:"ssrc"`
	Codec                    string   `json:"codec"`
	ClockRate                uint32   `json:"clock_rate"` // Hz
	RTTMs                    *float64 `json:"rtt_ms"`
	JitterMs                 *float64 `json:"jitter_ms"`
	LossPercent              *float64 `json:"loss_percent"` // of the interval
	Packets                  *uint32  `json:"packets"`      // of the interval
	PacketsLost              *int32   `json:"packets_lost"`
	PacketsDiscarded         *uint32  `json:"packets_discarded"`
	JitterBufferMs           *float64 `json:"jitter_buffer_ms"`
	JitterBufferPreferredMs  *float64 `json:"jitter_buffer_preferred_ms"`
	ConcealmentPercent       *float64 `json:"concealment_percent"`
	SilentConcealmentPercent *float64 `json:"silent_concealment_percent"`
	AudioLevel               *float64 `json:"audio_level"` // RMS, 0–1
	MOS                      *float64 `json:"mos"`
}

// Message is one step of the SIP ladder.
type Message struct {
	At           Time   `json:"at"`
	Src          string `json:"src"` // address:port
	Dst          string `json:"dst"`
	Transport    string `json:"transport"` // udp, tcp, tls, ws, wss
	Method       string `json:"method"`    // for a response that of CSeq
	Status       uint32 `json:"status"`    // 0 in a request
	ReasonPhrase string `json:"reason_phrase"`
	CSeq         uint32 `json:"cseq"`
	CallID       string `json:"call_id"` // the SIP Call-ID
	Summary      string `json:"summary"` // "INVITE", "180 Ringing", with "(SDP)"
	Raw          string `json:"raw"`
}

// Registration is the current binding of one device (RFC 3261 §10).
type Registration struct {
	AOR          string  `json:"aor"`
	DeviceID     string  `json:"device_id"`
	UserID       *string `json:"user_id"`
	UserName     string  `json:"user_name"`
	Contact      string  `json:"contact"`
	Source       string  `json:"source"` // address:port the phone sent from
	UserAgent    string  `json:"user_agent"`
	App          string  `json:"app"`
	AppVersion   string  `json:"app_version"`
	Endpoint     string  `json:"endpoint"`
	Platform     string  `json:"platform"`
	State        string  `json:"state"`         // registered, unregistered, lapsed, failed
	Registered   bool    `json:"registered"`    // now: expires_at + 32 s has not passed
	RegisteredAt Time    `json:"registered_at"` // since when it holds, or held
	ExpiresAt    Time    `json:"expires_at"`    // or when it expired
	UpdatedAt    Time    `json:"updated_at"`
	Flapping     bool    `json:"flapping"`
	Health       *Health `json:"health"`

	bound        bool   // by the newest change, whatever has expired since
	timeline     string // of the newest change
	failingSince Time
	health       string
}

// RegistrationChange is one step in the life of a binding.
type RegistrationChange struct {
	At         Time    `json:"at"`
	AOR        string  `json:"aor"`
	DeviceID   string  `json:"device_id"`
	UserID     *string `json:"user_id"`
	Change     string  `json:"change"`
	Contact    string  `json:"contact"`
	Source     string  `json:"source"`
	UserAgent  string  `json:"user_agent"`
	SIPStatus  *uint32 `json:"sip_status"`
	ExpiresAt  Time    `json:"expires_at"`
	Registered bool    `json:"registered"` // after this change
	Flapping   bool    `json:"flapping"`
	Reason     string  `json:"reason"` // in a word: silence, refused, no_answer, device …; or empty
	Text       string  `json:"text"`
	Timeline   string  `json:"timeline"` // empty: live traffic
}

// Rejection is one refused leg of a call.
type Rejection struct {
	ID         string `json:"id"`
	At         Time   `json:"at"`
	CallID     string `json:"call_id"`
	Reason     string `json:"reason"`
	Agent      Agent  `json:"agent"`
	FromNumber string `json:"from_number"`
	ToNumber   string `json:"to_number"`
	SIPStatus  uint32 `json:"sip_status"` // 0: from an event
	RawReason  string `json:"raw_reason"` // Reason header
	Text       string `json:"text"`       // the platform's own words
	Source     string `json:"source"`     // event, sip
}

// Agent is who refused a call.
type Agent struct {
	UserID          *string `json:"user_id"`
	Name            string  `json:"name"`
	Number          string  `json:"number"`
	DepartmentID    *string `json:"department_id"`
	ContactCenterID *string `json:"contact_center_id"`
	OfficeID        *string `json:"office_id"`
}

// RejectionTrend is rejections over time, by group.
type RejectionTrend struct {
	Interval string        `json:"interval"`
	GroupBy  string        `json:"group_by"`
	TimeZone string        `json:"time_zone"`
	From     Time          `json:"from"`
	To       Time          `json:"to"`
	Series   []TrendSeries `json:"series"` // the biggest first
}

// TrendSeries is one group's line; empty buckets count 0.
type TrendSeries struct {
	Key    string       `json:"key"`
	Name   string       `json:"name"`
	Other  bool         `json:"other,omitempty"` // all groups that have no line of their own
	Total  uint64       `json:"total"`
	Points []TrendPoint `json:"points"`
	// By agent only, where it is a user: how many calls were answered in the same time,
	// and the share of those offered that was refused, 0–1.
	Answered      *uint64  `json:"answered,omitempty"`
	RejectedShare *float64 `json:"rejected_share,omitempty"`
}

// TrendPoint is a bucket, named by its begin.
type TrendPoint struct {
	At    Time   `json:"at"`
	Count uint64 `json:"count"`
}

// Rating is what a user thought of a call.
type Rating struct {
	ID     string  `json:"id"`
	At     Time    `json:"at"`
	CallID string  `json:"call_id"`
	UserID *string `json:"user_id"`
	Name   string  `json:"name"`
	Rating uint32  `json:"rating"` // 1–5
	Text   string  `json:"text"`
}

// Counts is the part of a company's page that ClickHouse knows.
type Counts struct {
	Devices         uint64 `json:"devices"`
	Registered      uint64 `json:"registered"`
	CallsToday      uint64 `json:"calls_today"`
	LiveCalls       uint64 `json:"live_calls"`
	RejectionsToday uint64 `json:"rejections_today"`
}

// Hit is something that an id may mean.
type Hit struct {
	Kind string `json:"kind"` // call, user, number, aor, device
	ID   string `json:"id"`
	Text string `json:"text"`
	At   Time   `json:"at"` // last seen
}

// CallFilter narrows a list of calls; zero fields do not.
type CallFilter struct {
	User         string // id of a party
	Number       string // E.164 with +, of a party
	NumberPrefix string // digits, the country code first, that a party's E.164 number begins with
	NumberSuffix string // digits that a party's number ends in
	Device       string // id, of a party or leg
	Address      string // IP address of a leg's media
	SIPCallID    string // of any leg
	From, To     Time   // of started_at: From ≤ started_at < To
	Direction    string // inbound, outbound, internal
	State        string // live, ended
	// Verdict: an overall band (good, acceptable, bad, unacceptable, unknown) or
	// what is wrong: one_way (confirmed or suspected), choppy, delay, loss.
	Verdict  string
	Rejected *bool
	Rating   *uint32 // 1–5
	Q        string  // any id: of the call, a leg, a SIP dialog, a user, a device; or a number
}

// RejectionFilter narrows a list of rejections; zero fields do not.
type RejectionFilter struct {
	Reason        string
	Agent         string // user id
	Department    string // id
	Office        string // id
	ContactCenter string // id
	Number        string // E.164 with +, from or to
	From, To      Time   // From ≤ at < To
}

// TrendFilter asks for a trend.
type TrendFilter struct {
	GroupBy  string // rejections: reason, agent, department, office, contact_center
	Interval string // 1m, 5m, 15m, 30m, 1h, 3h, 6h, 12h, 1d
	TimeZone string // IANA name; empty: UTC
	From, To Time
	Filter   RejectionFilter // its From and To are not used
	Top      int             // how many groups have a line of their own; 0: 100
}

// RegistrationFilter narrows a list of registrations; zero fields do not.
type RegistrationFilter struct {
	User     string
	AOR      string
	DeviceID string
	State    string // registered, unregistered, lapsed, failed
	Health   string // see Health.State
	From, To Time   // history only

	events   bool    // history only: no refreshes and challenges
	timeline *string // history only
}

// RatingFilter narrows a list of ratings; zero fields do not.
type RatingFilter struct {
	User     string
	CallID   string
	From, To Time
}
