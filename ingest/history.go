package ingest

import (
	"net/netip"
	"strings"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// mediaHistory is what a whole capture says about media addresses: who was
// where, since when. A live Correlator cannot look ahead and lets RTCP wait; a
// capture is read twice instead, first for this, and its order stays.
type mediaHistory struct {
	company       string
	before, after int64 // how long before its SDP, and after its end, media belongs to a call; µs
	addresses     map[netip.AddrPort][]*mediaSpan
	ssrcs         map[uint32][]*mediaSpan
	calls         map[string]*historicCall // by Call-ID
	links         *linker
}

// historicCall is one Call-ID. Its group is known for good when all was read.
type historicCall struct {
	leg      leg
	overUs   int64 // 0: its end was not seen
	answered bool
}

// key is that of its call: the Call-ID of the first leg.
func (c *historicCall) key() string { return c.leg.group.root().key }

// mediaSpan begins when a call's SDP first named an address.
type mediaSpan struct {
	call   *historicCall
	fromUs int64
	kind   string
	clocks map[uint32]uint32 // payload type to Hz
}

func newMediaHistory(company string, waiting WaitingConfig, bindings BindingsConfig, correlation CorrelationConfig) *mediaHistory {
	h := &mediaHistory{company: company, before: waiting.For.Microseconds(), after: bindings.AfterCall.Microseconds(),
		addresses: map[netip.AddrPort][]*mediaSpan{}, ssrcs: map[uint32][]*mediaSpan{}, calls: map[string]*historicCall{}}
	h.links = newLinker(correlation, func(_, callID string) *leg {
		if call := h.calls[callID]; call != nil {
			return &call.leg
		}
		return nil
	})
	return h
}

// sip takes note of a message, in file order.
func (h *mediaHistory) sip(m *telemetry.SIPMessage, atUs int64) {
	if !isCall(m.Method) || m.CallId == "" {
		return
	}
	call := h.calls[m.CallId]
	introduced := call == nil
	if introduced {
		id := strings.Clone(m.CallId)
		call = &historicCall{leg: leg{company: h.company, id: id}}
		call.leg.group = &group{key: id, legs: 1, first: &call.leg, order: len(h.calls)}
		h.calls[id] = call
	}
	said := h.links.read(&call.leg, m, introduced)
	if introduced {
		if other, by := h.links.find(&call.leg, &said, atUs); other != nil {
			h.links.join(&call.leg, other, by)
		}
	}
	// Of a whole capture nothing is too late: what later messages tell counts
	// from the beginning. The call that began first gives its name.
	_, clashes := h.links.note(&call.leg, m, &said, atUs)
	for _, other := range clashes {
		h.links.merge(other.leg, &call.leg, other.by)
	}
	h.links.advance(atUs)
	if m.Method == "INVITE" && m.Status >= 200 && m.Status < 300 {
		call.answered = true
	}
	if ends(m, call.answered) && call.overUs == 0 {
		call.overUs, call.leg.over = atUs, true
	}
	for _, md := range m.GetSdp().GetMedia() {
		clocks := map[uint32]uint32{}
		for _, c := range md.Codecs {
			clocks[c.PayloadType] = c.ClockRate
		}
		addresses, ssrcs := announced(&telemetry.SDP{Media: []*telemetry.Media{md}}, nil)
		for _, a := range addresses {
			h.addresses[a.address] = begin(h.addresses[a.address], &mediaSpan{call, atUs, a.kind, clocks})
		}
		for _, ssrc := range ssrcs {
			if ssrc != 0 {
				h.ssrcs[ssrc] = begin(h.ssrcs[ssrc], &mediaSpan{call, atUs, md.Kind, clocks})
			}
		}
	}
}

// begin adds a span unless its call has one there: what a call says again does
// not take a port back from a later call.
func begin(spans []*mediaSpan, s *mediaSpan) []*mediaSpan {
	for _, have := range spans {
		if have.call == s.call {
			for pt, hz := range s.clocks {
				have.clocks[pt] = hz
			}
			if s.kind == "audio" {
				have.kind = s.kind
			}
			return spans
		}
	}
	return append(spans, s)
}

// callOf gives the call of a Call-ID, and why it is not one of its own.
func (h *mediaHistory) callOf(callID string) (key, linkedBy string) {
	if call := h.calls[callID]; call != nil {
		return call.key(), call.leg.by
	}
	return callID, ""
}

// at gives the span that an address belongs to at a time: that of the latest
// call which had begun and was not long over, else of one about to begin.
func (h *mediaHistory) at(spans []*mediaSpan, us int64) *mediaSpan {
	for i := len(spans) - 1; i >= 0; i-- {
		s := spans[i]
		if s.fromUs <= us && (s.call.overUs == 0 || us <= s.call.overUs+h.after) {
			return s
		}
	}
	for _, s := range spans {
		if s.fromUs > us && s.fromUs-us <= h.before {
			return s
		}
	}
	return nil
}

// place finds the call of a media packet as Correlator.Place does. local is the
// span of the packet's source, remote that of its destination; one may be nil.
func (h *mediaHistory) place(p MediaPacket, us int64) (found, local, remote *mediaSpan) {
	local, remote = h.at(h.addresses[p.Src], us), h.at(h.addresses[p.Dst], us)
	switch {
	case local != nil && remote != nil && local.call != remote.call && had(h.addresses[p.Src], remote.call):
		return remote, local, remote // a port that the next call got already
	case local != nil:
		return local, local, remote
	case remote != nil:
		return remote, local, remote
	}
	for _, ssrc := range p.SSRCs {
		if s := h.at(h.ssrcs[ssrc], us); s != nil {
			return s, nil, nil
		}
	}
	return nil, nil, nil
}

// had says whether an address was a call's.
func had(spans []*mediaSpan, call *historicCall) bool {
	for _, s := range spans {
		if s.call == call {
			return true
		}
	}
	return false
}

// clockRate is that of a payload type on the way from local to remote: the
// receiver's SDP numbers what it wants to receive (RFC 3264 §5.1).
func clockRate(local, remote *mediaSpan, payloadType uint8) uint32 {
	for _, s := range []*mediaSpan{remote, local} {
		if s != nil {
			if hz := s.clocks[uint32(payloadType)]; hz != 0 {
				return hz
			}
		}
	}
	if c := sip.StaticCodec(uint32(payloadType)); c != nil {
		return c.ClockRate
	}
	return 0
}
