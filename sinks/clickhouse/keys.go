package clickhouse

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/earshot/earshot/telemetry"
)

// callKey is something that a call is looked for with.
type callKey struct{ kind, key string }

// keysTable has a row for each key of a call.
type keysTable struct {
	*table
	keys                                                                                             []callKey // reused
	company, kind, timeline, state, direction, overall, delayBand, jitterBand, lossBand, oneWayState *lowColumn
	key, call                                                                                        *proto.ColStr
	started                                                                                          *microsColumn
	versioned
}

func newKeysTable() *keysTable {
	t := newTable("call_keys")
	k := &keysTable{
		table:       t,
		company:     t.low("company"),
		kind:        t.low("kind"),
		key:         t.text("key"),
		started:     t.micros("started_at"),
		call:        t.text("call_id"),
		timeline:    t.low("timeline"),
		state:       t.low("state"),
		direction:   t.low("direction"),
		overall:     t.low("overall"),
		delayBand:   t.low("delay_band"),
		jitterBand:  t.low("jitter_band"),
		lossBand:    t.low("loss_band"),
		oneWayState: t.low("one_way_state"),
	}
	k.declare(t)
	return k
}

func (t *keysTable) add(o *telemetry.Outcome, c *telemetry.Call) {
	t.keys = appendKeys(t.keys[:0], o.CallId, c)
	v, started := c.GetVerdict(), startedUs(o, c)
	for _, k := range t.keys {
		t.row(o, k, started)
		t.state.Append(c.GetState())
		t.direction.Append(c.GetDirection())
		t.overall.Append(band(v.GetOverall()))
		t.delayBand.Append(band(v.GetDelay().GetBand()))
		t.jitterBand.Append(band(v.GetJitter().GetBand()))
		t.lossBand.Append(band(v.GetLoss().GetBand()))
		t.oneWayState.Append(band(v.GetOneWayAudio().GetState()))
	}
}

// addMoment has a row for what became of a call: a refusal or a rating.
func (t *keysTable) addMoment(o *telemetry.Outcome, k callKey, atUs int64) {
	t.row(o, k, atUs)
	for _, c := range []*lowColumn{t.state, t.direction, t.overall, t.delayBand, t.jitterBand, t.lossBand, t.oneWayState} {
		c.Append("")
	}
}

func (t *keysTable) row(o *telemetry.Outcome, k callKey, atUs int64) {
	t.company.Append(o.Company)
	t.kind.Append(k.kind)
	t.key.Append(k.key)
	t.started.append(atUs)
	t.call.Append(o.CallId)
	t.timeline.Append(o.Timeline)
	t.versioned.add(o)
}

// ratingKey is that of a rating of 1 to 5.
func ratingKey(r *telemetry.Rating) callKey {
	return callKey{"rating", strconv.Itoa(int(min(r.GetRating(), 255)))}
}

// appendKeys adds what a call is looked for with, each once. Migration 0008 makes
// the same of columns; package query looks for them.
func appendKeys(keys []callKey, call string, c *telemetry.Call) []callKey {
	add := func(kind, key string) {
		if k := (callKey{kind, key}); key != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for _, party := range []*telemetry.Party{c.GetTarget(), c.GetContact()} {
		id := party.GetIdentity()
		number := strings.TrimLeft(id.GetNumber(), "+")
		add("user", id.GetUserId())
		add("number", number)
		add("number_reversed", reversed(number))
		add("device", id.GetDeviceId())
	}
	for _, leg := range c.GetLegs() {
		add("device", leg.GetDeviceId())
		add("address", hostOf(leg.GetAddress()))
		if id := leg.GetId(); id != call && !namedLeg.MatchString(id) {
			add("id", id)
		}
	}
	for _, id := range c.GetSipCallIds() {
		if id != call {
			add("id", id)
		}
	}
	v := c.GetVerdict()
	// Nearly all calls are good: to find those, any order of time does.
	if overall := band(v.GetOverall()); overall != "good" {
		add("verdict", overall)
	}
	if state := v.GetOneWayAudio().GetState(); state == "suspected" || state == "confirmed" {
		add("verdict", "one_way")
	}
	for _, b := range []struct{ band, key string }{
		{v.GetJitter().GetBand(), "choppy"}, {v.GetDelay().GetBand(), "delay"}, {v.GetLoss().GetBand(), "loss"},
	} {
		if b.band == "bad" || b.band == "unacceptable" {
			add("verdict", b.key)
		}
	}
	return keys
}

// namedLeg are the legs that signalling has: every call's are named so.
var namedLeg = regexp.MustCompile(`^calle[re](-[0-9]+)?$`)

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// hostOf is the IP address of a media address, empty where it is none.
func hostOf(address string) string {
	a, err := netip.ParseAddrPort(address)
	if err != nil || a.Addr().IsUnspecified() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
