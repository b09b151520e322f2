package sip

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

type staticType struct {
	name      string
	clockRate uint32 // Hz
	channels  uint32
}

// staticTypes are the payload types that need no rtpmap (RFC 3551 §6). The RTP
// clock of G.722 is 8000 Hz although it samples at 16000 (§4.5.2).
var staticTypes = [...]staticType{
	0: {"PCMU", 8000, 1}, 3: {"GSM", 8000, 1}, 4: {"G723", 8000, 1}, 5: {"DVI4", 8000, 1},
	6: {"DVI4", 16000, 1}, 7: {"LPC", 8000, 1}, 8: {"PCMA", 8000, 1}, 9: {"G722", 8000, 1},
	10: {"L16", 44100, 2}, 11: {"L16", 44100, 1}, 12: {"QCELP", 8000, 1}, 13: {"CN", 8000, 1},
	14: {"MPA", 90000, 0}, 15: {"G728", 8000, 1}, 16: {"DVI4", 11025, 1}, 17: {"DVI4", 22050, 1},
	18: {"G729", 8000, 1}, 25: {"CelB", 90000, 0}, 26: {"JPEG", 90000, 0}, 28: {"nv", 90000, 0},
	31: {"H261", 90000, 0}, 32: {"MPV", 90000, 0}, 33: {"MP2T", 90000, 0}, 34: {"H263", 90000, 0},
}

func staticCodec(payloadType uint32) (staticType, bool) {
	if payloadType >= uint32(len(staticTypes)) || staticTypes[payloadType].name == "" {
		return staticType{}, false
	}
	return staticTypes[payloadType], true
}

// StaticCodec gives the codec of a static payload type (RFC 3551 §6); nil for
// the others, whose clock only an SDP can tell.
func StaticCodec(payloadType uint32) *telemetry.Codec {
	if c, ok := staticCodec(payloadType); ok {
		return &telemetry.Codec{PayloadType: payloadType, Name: c.name, ClockRate: c.clockRate, Channels: c.channels}
	}
	return nil
}

// Bounds of what is read of one SDP. Payload types have seven bits.
const (
	maxMedia      = 64
	maxCodecs     = 128
	maxSSRCs      = 64
	maxCandidates = 128
)

// discardPort stands for "not known yet" in offers with ICE (RFC 8840 §4.1.1).
const discardPort = 9

// mediaState is what is gathered of one m= section until its end.
type mediaState struct {
	m         *telemetry.Media
	rtcpPort  uint32 // of a=rtcp
	rtcpAddr  string
	direction string
	ice       bool
}

// sdpParser keeps what a Parser needs to read SDP without allocating.
type sdpParser struct {
	msg      telemetry.SDP
	session  telemetry.Media // what attributes before the first m= say
	media    pool[telemetry.Media]
	codecs   pool[telemetry.Codec]
	sections []mediaState // [0] is the session
	list     []*telemetry.Media
	*scratch
}

// ParseSDP reads a session description into memory of its own. It needs one
// line that it knows.
func ParseSDP(b []byte) (*telemetry.SDP, error) {
	return new(sdpParser).parse(validText(text(bytes.Clone(b))), new(scratch))
}

// parse reads a session description that is UTF-8.
func (p *sdpParser) parse(body string, s *scratch) (*telemetry.SDP, error) {
	p.reset(s)
	known := false
	var sessionAddr string
	for len(body) > 0 {
		var line string
		line, body = cutLine(body)
		line = trim(line)
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		current := &p.sections[len(p.sections)-1]
		switch v := trim(line[2:]); line[0] {
		case 'o':
			if p.msg.Origin == "" {
				p.msg.Origin = p.origin(v)
				known = known || p.msg.Origin != ""
			}
		case 'c':
			addr := connectionAddress(v)
			if current.m == &p.session {
				sessionAddr = addr
			} else if current.m.Address == "" { // the first of several layers
				current.m.Address = addr
			}
			known = known || addr != ""
		case 'm':
			if !p.beginMedia(v) {
				continue
			}
			if known = true; len(p.list) > maxMedia {
				return nil, ErrSDP
			}
		case 'a':
			p.attribute(current, v)
		}
	}
	if !known {
		return nil, ErrSDP
	}
	for i := range p.sections[1:] {
		p.sections[1+i].finish(sessionAddr, &p.sections[0])
	}
	p.msg.Media = p.list
	return &p.msg, nil
}

func (p *sdpParser) reset(s *scratch) {
	p.scratch = s
	p.media.reset()
	p.codecs.reset()
	p.list = p.list[:0]
	p.msg, p.session = telemetry.SDP{}, telemetry.Media{Ssrcs: p.session.Ssrcs[:0], Candidates: p.session.Candidates[:0]}
	p.sections = append(p.sections[:0], mediaState{m: &p.session})
}

// origin gives username, sess-id and sess-version of o=, one space between them.
func (p *sdpParser) origin(v string) string {
	user, rest := word(v)
	id, rest := word(rest)
	version, _ := word(rest)
	if version == "" {
		return ""
	}
	if n := len(user) + len(id) + len(version) + 2; n <= len(v) && v[len(user)] == ' ' && v[len(user)+1+len(id)] == ' ' && v[n-len(version):n] == version {
		return v[:n]
	}
	at := len(p.buf)
	p.buf = append(append(p.buf, user...), ' ')
	p.buf = append(append(p.buf, id...), ' ')
	p.buf = append(p.buf, version...)
	return p.since(at)
}

// connectionAddress reads "IN IP4 192.0.2.1/127".
func connectionAddress(v string) string {
	_, v = word(v)
	_, v = word(v)
	addr, _ := word(v)
	addr, _, _ = cut(addr, '/')
	return addr
}

// beginMedia reads "audio 49170/2 RTP/AVP 0 8".
func (p *sdpParser) beginMedia(v string) bool {
	kind, v := word(v)
	number, v := word(v)
	protocol, v := word(v)
	number, _, _ = cut(number, '/')
	port, ok := decimal(number)
	if !ok || port > 65535 || protocol == "" {
		return false
	}
	m := p.media.next()
	*m = telemetry.Media{Kind: p.lower(kind), Port: uint32(port), Protocol: protocol, Codecs: m.Codecs[:0], Ssrcs: m.Ssrcs[:0], Candidates: m.Candidates[:0]}
	p.sections = append(p.sections, mediaState{m: m})
	p.list = append(p.list, m)
	if !hasRTP(protocol) {
		return true // udptl and the like: formats are no payload types
	}
	for len(m.Codecs) < maxCodecs {
		var format string
		if format, v = word(v); format == "" {
			break
		}
		if pt, ok := decimal(format); ok && pt < 128 {
			m.Codecs = append(m.Codecs, p.codec(uint32(pt)))
		}
	}
	return true
}

func hasRTP(protocol string) bool {
	for i := 0; i+4 <= len(protocol); i++ {
		if protocol[i+3] == '/' && is(protocol[i:i+3], "rtp") {
			return true
		}
	}
	return false
}

func (p *sdpParser) codec(payloadType uint32) *telemetry.Codec {
	c := p.codecs.next()
	static, _ := staticCodec(payloadType)
	*c = telemetry.Codec{PayloadType: payloadType, Name: static.name, ClockRate: static.clockRate, Channels: static.channels}
	return c
}

var directions = [...]string{"sendrecv", "sendonly", "recvonly", "inactive"}

func (p *sdpParser) attribute(a *mediaState, v string) {
	name, value, _ := cut(v, ':')
	name, value = trim(name), trim(value)
	switch len(name) {
	case 4:
		if is(name, "rtcp") {
			a.rtcp(value)
		} else if is(name, "ssrc") {
			a.ssrc(value)
		}
	case 5:
		if is(name, "ptime") {
			a.ptime(value)
		}
	case 6:
		if is(name, "rtpmap") {
			a.rtpmap(value)
		}
	case 7:
		a.ice = a.ice || is(name, "ice-pwd")
	case 8:
		if is(name, "rtcp-mux") {
			a.m.RtcpMux = true
			return
		}
		for _, d := range directions {
			if is(name, d) {
				a.direction = d
			}
		}
	case 9:
		a.ice = a.ice || is(name, "ice-ufrag")
		if is(name, "candidate") {
			a.ice = true
			p.candidate(a.m, value)
		}
	case 13:
		a.m.RtcpMux = a.m.RtcpMux || is(name, "rtcp-mux-only")
	}
}

// rtcp reads "53020 IN IP4 192.0.2.1" (RFC 3605).
func (a *mediaState) rtcp(v string) {
	number, rest := word(v)
	if port, ok := decimal(number); ok && port <= 65535 {
		a.rtcpPort, a.rtcpAddr = uint32(port), connectionAddress(rest)
	}
}

// ssrc reads "4294967295 cname:x" (RFC 5576).
func (a *mediaState) ssrc(v string) {
	number, _, _ := cut(v, ' ')
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || len(a.m.Ssrcs) == maxSSRCs {
		return
	}
	for _, have := range a.m.Ssrcs {
		if have == uint32(n) {
			return
		}
	}
	a.m.Ssrcs = append(a.m.Ssrcs, uint32(n))
}

// ptime is in ms. Fractions are allowed, and phones write "ptime:20.0".
func (a *mediaState) ptime(v string) {
	if ms, err := strconv.ParseFloat(v, 32); err == nil && ms > 0 && ms <= 1000 {
		a.m.PtimeMs = uint32(ms)
	}
}

// candidate reads "foundation component transport priority address port typ …"
// (RFC 8839 §5.1).
func (p *sdpParser) candidate(m *telemetry.Media, v string) {
	_, v = word(v)
	_, v = word(v)
	transport, v := word(v)
	_, v = word(v)
	address, v := word(v)
	number, _ := word(v)
	port, ok := decimal(number)
	if !ok || port > 65535 || !is(transport, "udp") || !looksLikeIP(address) || len(m.Candidates) == maxCandidates {
		return
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		at := len(p.buf)
		p.buf = netip.AddrPortFrom(ip, uint16(port)).AppendTo(p.buf)
		m.Candidates = append(m.Candidates, p.since(at))
	}
}

// looksLikeIP tells an address from a name, as of mDNS, which tells nothing.
func looksLikeIP(s string) bool {
	return strings.IndexByte(s, ':') >= 0 || len(s) > 0 && isDigit(s[0]) && isDigit(s[len(s)-1])
}

// rtpmap reads "111 opus/48000/2".
func (a *mediaState) rtpmap(v string) {
	number, v := word(v)
	encoding, _ := word(v)
	pt, ok := decimal(number)
	if !ok || encoding == "" {
		return
	}
	for _, c := range a.m.Codecs {
		if uint64(c.PayloadType) == pt {
			a.describe(c, encoding)
			return
		}
	}
}

func (a *mediaState) describe(c *telemetry.Codec, encoding string) {
	name, rest, _ := cut(encoding, '/')
	clock, rest, _ := cut(rest, '/')
	channels, _, _ := cut(rest, '/')
	c.Name, c.Channels = name, 0
	if hz, ok := decimal(clock); ok {
		c.ClockRate = uint32(hz)
	}
	if is(name, "g722") {
		c.ClockRate = 8000 // some write 16000, and send timestamps at 8000
	}
	if a.m.Kind == "audio" {
		c.Channels = 1
	}
	if n, ok := decimal(channels); ok && n < 256 {
		c.Channels = uint32(n)
	}
}

// finish fills in what the session level or a default gives.
func (a *mediaState) finish(sessionAddr string, session *mediaState) {
	m := a.m
	if m.Address == "" {
		m.Address = sessionAddr
	}
	m.RtcpMux = m.RtcpMux || session.m.RtcpMux
	if m.PtimeMs == 0 {
		m.PtimeMs = session.m.PtimeMs
	}
	m.Direction = "sendrecv"
	switch {
	case a.direction != "":
		m.Direction = a.direction
	case session.direction != "":
		m.Direction = session.direction
	}
	// Hold as RFC 2543 had it: nothing may be sent to this address. An offer
	// with ICE that has no candidates yet looks alike and is none.
	if m.Port != 0 && !a.ice && !session.ice && unspecified(m.Address) {
		switch m.Direction {
		case "sendrecv":
			m.Direction = "sendonly"
		case "recvonly":
			m.Direction = "inactive"
		}
	}
	if m.Port == 0 || len(m.Codecs) == 0 {
		return // refused, or no RTP
	}
	m.RtcpAddress = m.Address
	if a.rtcpAddr != "" && !unspecified(a.rtcpAddr) {
		m.RtcpAddress = a.rtcpAddr
	}
	switch {
	case a.rtcpPort != 0 && !(m.RtcpMux && a.rtcpPort == discardPort):
		m.RtcpPort = a.rtcpPort
	case m.RtcpMux:
		m.RtcpPort = m.Port
	default:
		m.RtcpPort = m.Port + 1
	}
}

func unspecified(addr string) bool {
	if addr == "" || addr[0] != '0' && addr[0] != ':' {
		return false
	}
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.IsUnspecified()
}
