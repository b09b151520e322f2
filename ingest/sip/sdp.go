package sip

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/earshot/earshot/telemetry"
)

// staticTypes are the payload types that need no rtpmap (RFC 3551 §6). The RTP
// clock of G.722 is 8000 Hz although it samples at 16000 (§4.5.2).
var staticTypes = map[uint32]staticType{
	0: {"PCMU", 8000, 1}, 3: {"GSM", 8000, 1}, 4: {"G723", 8000, 1}, 5: {"DVI4", 8000, 1},
	6: {"DVI4", 16000, 1}, 7: {"LPC", 8000, 1}, 8: {"PCMA", 8000, 1}, 9: {"G722", 8000, 1},
	10: {"L16", 44100, 2}, 11: {"L16", 44100, 1}, 12: {"QCELP", 8000, 1}, 13: {"CN", 8000, 1},
	14: {"MPA", 90000, 0}, 15: {"G728", 8000, 1}, 16: {"DVI4", 11025, 1}, 17: {"DVI4", 22050, 1},
	18: {"G729", 8000, 1}, 25: {"CelB", 90000, 0}, 26: {"JPEG", 90000, 0}, 28: {"nv", 90000, 0},
	31: {"H261", 90000, 0}, 32: {"MPV", 90000, 0}, 33: {"MP2T", 90000, 0}, 34: {"H263", 90000, 0},
}

type staticType struct {
	name      string
	clockRate uint32 // Hz
	channels  uint32
}

// StaticCodec gives the codec of a static payload type (RFC 3551 §6); nil for
// the others, whose clock only an SDP can tell.
func StaticCodec(payloadType uint32) *telemetry.Codec {
	if c, ok := staticTypes[payloadType]; ok {
		return &telemetry.Codec{PayloadType: payloadType, Name: c.name, ClockRate: c.clockRate, Channels: c.channels}
	}
	return nil
}

// maxMedia bounds the media descriptions that are read of one SDP.
const maxMedia = 64

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

// ParseSDP reads a session description. It needs one line that it knows.
func ParseSDP(b []byte) (*telemetry.SDP, error) {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	s := new(telemetry.SDP)
	var sessionAddr string
	session := mediaState{m: new(telemetry.Media)} // attributes before the first m=
	current := &session
	var all []*mediaState
	known := false
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		line = bytes.TrimSpace(line)
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		v := bytes.TrimSpace(line[2:])
		switch line[0] {
		case 'o':
			if f := bytes.Fields(v); len(f) >= 3 && s.Origin == "" {
				s.Origin = string(bytes.Join(f[:3], []byte(" ")))
				known = true
			}
		case 'c':
			addr := connectionAddress(v)
			if current == &session {
				sessionAddr = addr
			} else if current.m.Address == "" { // the first of several layers
				current.m.Address = addr
			}
			known = known || addr != ""
		case 'm':
			m := parseMedia(v)
			if m == nil {
				continue
			}
			if len(all) == maxMedia {
				return nil, ErrSDP
			}
			known = true
			current = &mediaState{m: m}
			all = append(all, current)
		case 'a':
			current.attribute(v)
		}
	}
	if !known {
		return nil, ErrSDP
	}
	for _, a := range all {
		a.finish(sessionAddr, &session)
		s.Media = append(s.Media, a.m)
	}
	return s, nil
}

// connectionAddress reads "IN IP4 192.0.2.1/127".
func connectionAddress(v []byte) string {
	f := bytes.Fields(v)
	if len(f) < 3 {
		return ""
	}
	addr, _, _ := bytes.Cut(f[2], []byte("/"))
	return string(addr)
}

// parseMedia reads "audio 49170/2 RTP/AVP 0 8".
func parseMedia(v []byte) *telemetry.Media {
	f := bytes.Fields(v)
	if len(f) < 3 {
		return nil
	}
	number, _, _ := bytes.Cut(f[1], []byte("/"))
	port, err := strconv.ParseUint(string(number), 10, 16)
	if err != nil {
		return nil
	}
	m := &telemetry.Media{Kind: strings.ToLower(string(f[0])), Port: uint32(port), Protocol: string(f[2])}
	if !strings.Contains(strings.ToUpper(m.Protocol), "RTP/") {
		return m // udptl and the like: formats are no payload types
	}
	for _, format := range f[3:] {
		pt, err := strconv.ParseUint(string(format), 10, 7)
		if err != nil {
			continue
		}
		c := StaticCodec(uint32(pt))
		if c == nil {
			c = &telemetry.Codec{PayloadType: uint32(pt)}
		}
		m.Codecs = append(m.Codecs, c)
	}
	return m
}

func (a *mediaState) attribute(v []byte) {
	name, value, _ := bytes.Cut(v, []byte(":"))
	value = bytes.TrimSpace(value)
	switch string(bytes.ToLower(bytes.TrimSpace(name))) {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		a.direction = string(bytes.ToLower(bytes.TrimSpace(name)))
	case "rtcp":
		f := bytes.Fields(value)
		if len(f) == 0 {
			return
		}
		if port, err := strconv.ParseUint(string(f[0]), 10, 16); err == nil {
			a.rtcpPort = uint32(port)
			a.rtcpAddr = connectionAddress(bytes.Join(f[1:], []byte(" ")))
		}
	case "rtcp-mux", "rtcp-mux-only":
		a.m.RtcpMux = true
	case "rtpmap":
		a.rtpmap(value)
	case "ssrc":
		number, _, _ := bytes.Cut(value, []byte(" "))
		n, err := strconv.ParseUint(string(number), 10, 32)
		if err != nil {
			return
		}
		for _, s := range a.m.Ssrcs {
			if s == uint32(n) {
				return
			}
		}
		a.m.Ssrcs = append(a.m.Ssrcs, uint32(n))
	case "ptime":
		// Fractions are allowed, and phones write "ptime:20.0".
		if ms, err := strconv.ParseFloat(string(value), 32); err == nil && ms > 0 && ms <= 1000 {
			a.m.PtimeMs = uint32(ms)
		}
	case "candidate":
		a.ice = true
		// foundation component transport priority address port typ …
		if f := bytes.Fields(value); len(f) >= 6 && strings.EqualFold(string(f[2]), "udp") {
			ip, err := netip.ParseAddr(string(f[4]))
			port, perr := strconv.ParseUint(string(f[5]), 10, 16)
			if err == nil && perr == nil { // mDNS names tell nothing
				a.m.Candidates = append(a.m.Candidates, netip.AddrPortFrom(ip, uint16(port)).String())
			}
		}
	case "ice-ufrag", "ice-pwd":
		a.ice = true
	}
}

// rtpmap reads "111 opus/48000/2".
func (a *mediaState) rtpmap(v []byte) {
	f := bytes.Fields(v)
	if len(f) < 2 {
		return
	}
	pt, err := strconv.ParseUint(string(f[0]), 10, 7)
	if err != nil {
		return
	}
	for _, c := range a.m.Codecs {
		if c.PayloadType != uint32(pt) {
			continue
		}
		parts := strings.Split(string(f[1]), "/")
		c.Name = parts[0]
		if len(parts) > 1 {
			if hz, err := strconv.ParseUint(parts[1], 10, 32); err == nil {
				c.ClockRate = uint32(hz)
			}
		}
		if strings.EqualFold(c.Name, "G722") {
			c.ClockRate = 8000 // some write 16000, and send timestamps at 8000
		}
		c.Channels = 0
		if a.m.Kind == "audio" {
			c.Channels = 1
		}
		if len(parts) > 2 {
			if n, err := strconv.ParseUint(parts[2], 10, 8); err == nil {
				c.Channels = uint32(n)
			}
		}
		return
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
	if unspecified(m.Address) && m.Port != 0 && !a.ice && !session.ice {
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
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.IsUnspecified()
}
