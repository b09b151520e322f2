package benchmarks

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/earshot/earshot/ingest/hep"
)

// Call is one generated call between two phones, as a capture agent reports it.
// The messages are those of a plain call; only numbers and addresses vary.
type Call struct {
	id       string
	a, b     netip.AddrPort // SIP
	mediaA   netip.AddrPort
	mediaB   netip.AddrPort
	ssrcA    uint32
	ssrcB    uint32
	sent     uint32
	cseq     int // of the newest INVITE in the dialog
	highSeqA uint32
	highSeqB uint32
	lostA    uint32
	lostB    uint32
	lastSRA  uint32
	lastSRB  uint32
}

// NewCall gives call n.
func NewCall(run string, n int) *Call {
	ipA, ipB := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
	return &Call{
		id: fmt.Sprintf("bench-%s-%d", run, n), a: netip.AddrPortFrom(ipA, 5060), b: netip.AddrPortFrom(ipB, 5060),
		mediaA: netip.AddrPortFrom(ipA, 10000), mediaB: netip.AddrPortFrom(ipB, 20000), ssrcA: uint32(n)*2 + 1, ssrcB: uint32(n)*2 + 2,
	}
}

// SetUp appends the HEP packets that set the call up: INVITE, 200, ACK.
func (c *Call) SetUp(dst []byte, at time.Time) []byte {
	dst = c.sip(dst, at, c.a, c.b, "INVITE", "", c.sdp(c.mediaA, c.ssrcA))
	dst = c.sip(dst, at.Add(100*time.Millisecond), c.b, c.a, "INVITE", "200 OK", c.sdp(c.mediaB, c.ssrcB))
	return c.sip(dst, at.Add(150*time.Millisecond), c.a, c.b, "ACK", "", "")
}

// Report appends one RTCP report of each side, five seconds of media.
func (c *Call) Report(dst []byte, at time.Time) []byte { return c.ReportOf(dst, at, 0, 0) }

// ReportOf is Report where of the packets of a (b) so many of 250 did not arrive.
func (c *Call) ReportOf(dst []byte, at time.Time, lostA, lostB uint32) []byte {
	c.sent += 250
	arrive := func(highest, lost *uint32, n uint32) {
		if n < 250 { // where nothing arrives, a receiver counts no loss either
			*lost += n
			*highest = c.sent
		}
	}
	arrive(&c.highSeqA, &c.lostA, lostA)
	arrive(&c.highSeqB, &c.lostB, lostB)
	dst = c.rtcp(dst, at, c.mediaA, c.mediaB, c.ssrcA, c.ssrcB, c.highSeqB, c.lostB, &c.lastSRA, c.lastSRB)
	return c.rtcp(dst, at.Add(20*time.Millisecond), c.mediaB, c.mediaA, c.ssrcB, c.ssrcA, c.highSeqA, c.lostA, &c.lastSRB, c.lastSRA)
}

// Hold appends the re-INVITE by which a holds the call or takes it back, and its 200.
func (c *Call) Hold(dst []byte, at time.Time, on bool) []byte {
	offer, answer := "sendrecv", "sendrecv"
	if on {
		offer, answer = "sendonly", "recvonly"
	}
	c.cseq++
	dst = c.sip(dst, at, c.a, c.b, "INVITE ", "", c.sdp(c.mediaA, c.ssrcA)+"a="+offer+"\r\n")
	return c.sip(dst, at.Add(50*time.Millisecond), c.b, c.a, "INVITE ", "200 OK", c.sdp(c.mediaB, c.ssrcB)+"a="+answer+"\r\n")
}

// Refuse appends a call that the other side refuses with a status: INVITE, 180 and the refusal.
func (c *Call) Refuse(dst []byte, at time.Time, status string) []byte {
	dst = c.sip(dst, at, c.a, c.b, "INVITE", "", c.sdp(c.mediaA, c.ssrcA))
	dst = c.sip(dst, at.Add(100*time.Millisecond), c.b, c.a, "INVITE", "180 Ringing", "")
	return c.sip(dst, at.Add(400*time.Millisecond), c.b, c.a, "INVITE", status, "")
}

// HangUp appends BYE and its 200.
func (c *Call) HangUp(dst []byte, at time.Time) []byte {
	dst = c.sip(dst, at, c.a, c.b, "BYE", "", "")
	return c.sip(dst, at.Add(50*time.Millisecond), c.b, c.a, "BYE", "200 OK", "")
}

func (c *Call) sdp(media netip.AddrPort, ssrc uint32) string {
	return fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ssrc:%d cname:x\r\n",
		ssrc, media.Addr(), media.Addr(), media.Port(), ssrc)
}

func (c *Call) sip(dst []byte, at time.Time, from, to netip.AddrPort, method, status, body string) []byte {
	start := fmt.Sprintf("%s sip:b@%s SIP/2.0", strings.TrimSpace(method), c.b)
	if status != "" {
		start = "SIP/2.0 " + status
	}
	tag := ";tag=b"
	if method == "INVITE" && status == "" {
		tag = ""
	}
	seq := 1
	switch method {
	case "BYE":
		seq = 90
	case "INVITE ": // within the dialog
		seq, method = 1+c.cseq, "INVITE"
	}
	contentType := ""
	if body != "" {
		contentType = "Content-Type: application/sdp\r\n"
	}
	message := fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d\r\nFrom: <sip:+14155550100@bench.example>;tag=a\r\nTo: <sip:+14155550199@bench.example>%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:x@%s>\r\nMax-Forwards: 70\r\nUser-Agent: bench/1.0\r\n%sContent-Length: %d\r\n\r\n%s",
		start, c.a, method, seq, tag, c.id, seq, method, from, contentType, len(body), body)
	return wrap(dst, at, from, to, hep.TypeSIP, []byte(message))
}

func (c *Call) rtcp(dst []byte, at time.Time, from, to netip.AddrPort, ssrc, about, highest, lost uint32, lastSR *uint32, lsr uint32) []byte {
	const epoch = 2208988800
	ntpSec, ntpFrac := uint32(at.Unix()+epoch), uint32(uint64(at.Nanosecond())<<32/1e9)
	*lastSR = ntpSec<<16 | ntpFrac>>16
	payload, err := json.Marshal(map[string]any{
		"ssrc": ssrc, "type": 200, "report_count": 1,
		"sender_information": map[string]any{"ntp_timestamp_sec": ntpSec, "ntp_timestamp_usec": ntpFrac, "rtp_timestamp": c.sent * 160, "packets": c.sent, "octets": c.sent * 160},
		"report_blocks":      []map[string]any{{"source_ssrc": about, "fraction_lost": 0, "packets_lost": lost, "highest_seq_no": highest, "ia_jitter": 12, "lsr": lsr, "dlsr": 65536}},
	})
	if err != nil {
		panic(err) // a literal
	}
	port := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }
	return wrap(dst, at, port(from), port(to), hep.TypeRTCPJSON, payload)
}

func wrap(dst []byte, at time.Time, from, to netip.AddrPort, kind uint8, payload []byte) []byte {
	return hep.Append(dst, &hep.Packet{
		Version: 3, Family: hep.FamilyIPv4, Protocol: hep.ProtocolUDP, Src: from, Dst: to, Time: at, PayloadType: kind, AgentID: 9, Payload: payload,
	})
}
