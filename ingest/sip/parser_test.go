package sip

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func TestParserAllocatesNothing(t *testing.T) {
	var p Parser
	response := crlf("SIP/2.0 486 Busy Here\nVia: SIP/2.0/UDP a;branch=z9hG4bK7\nf: \"A\\\"B\" <sip:%41lice@EXAMPLE.org>;tag=1\n t: <sip:b@c>;tag=2\nt: <sip:b@c>\ni: x\nCSeq: 7\n INVITE\nReason: Q.850;cause=17, SIP;cause=486\n\n")
	browser := crlf("INVITE sip:a SIP/2.0\ni: x\nCSeq: 7 INVITE\nc: multipart/mixed;boundary=b\n\n--b\nc: application/sdp\n\nv=0\no=-  1 2 IN IP4 0.0.0.0\nm=Audio 9 UDP/TLS/RTP/SAVPF 111 0\nc=IN IP4 0.0.0.0\na=rtpmap:111 opus/48000/2\na=ptime:20\n" +
		"a=ssrc:7 cname:x\na=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host\na=candidate:1 1 udp 2113937151 9f-x.local 50000 typ host\na=candidate:2 1 udp 1 2001:db8::1 5 typ host\na=rtcp:9 IN IP4 0.0.0.0\na=rtcp-mux\na=sendrecv\n\n--b--\n")
	for name, message := range map[string][]byte{"REGISTER": register, "INVITE": invite, "response": response, "browser": browser} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := p.Parse(message); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What a parser read before leaves no trace in what it reads next.
func TestParserForgets(t *testing.T) {
	messages := [][]byte{invite, register, crlf("OPTIONS sip:a SIP/2.0\ni: x\nCSeq: 7 OPTIONS\n\n"), []byte("no SIP"),
		crlf("INVITE sip:a SIP/2.0\ni: x\nCSeq: 7 INVITE\n\nv=0\nc=IN IP4 192.0.2.1\nm=audio 1 RTP/AVP\nm=video 2 RTP/AVP 31\n")}
	for i, first := range messages {
		for j, second := range messages {
			var p Parser
			_, _ = p.Parse(first)
			got, err := p.Parse(second)
			want, wantErr := Parse(second)
			if (err == nil) != (wantErr == nil) || !proto.Equal(got, want) {
				t.Errorf("%d after %d:\n got %v\nwant %v", j, i, got, want)
			}
		}
	}
}

func TestClone(t *testing.T) {
	b := bytes.Clone(invite)
	var p Parser
	m, err := p.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	m.Caller = &telemetry.Identity{UserId: m.From.User}
	got := Clone(m)
	want, _ := Parse(bytes.Clone(invite))
	want.Caller = &telemetry.Identity{UserId: "alice"}
	for i := range b {
		b[i] = '#'
	}
	if !proto.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// Lists without an end cost no more than a long message does, and keep their
// first members.
func TestParserBounds(t *testing.T) {
	head := "REGISTER sip:a SIP/2.0\ni: x\nCSeq: 1 REGISTER\n"
	for name, tt := range map[string]struct {
		in    string
		check func(m *telemetry.SIPMessage) bool
	}{
		"contacts":       {head + "m: " + strings.Repeat("sip:a,", 80_000), func(m *telemetry.SIPMessage) bool { return len(m.Contacts) == maxContacts }},
		"reasons":        {head + "Reason: " + strings.Repeat("SIP,", 80_000), func(m *telemetry.SIPMessage) bool { return len(m.Reasons) == maxReasons }},
		"open quotes":    {head + "m: " + strings.Repeat(`\",`, 80_000), func(m *telemetry.SIPMessage) bool { return len(m.Contacts) == maxContacts }},
		"parameters":     {head + "f: <sip:a>;" + strings.Repeat(`x=\";`, 80_000) + ";tag=late", func(m *telemetry.SIPMessage) bool { return m.From.Tag == "" }},
		"folded":         {head + "f: <sip:a>;tag=1" + strings.Repeat("\n ", 120_000) + ";x", func(m *telemetry.SIPMessage) bool { return m.From.Tag == "1" || strings.HasPrefix(m.From.Tag, "1 ") }},
		"payload types":  {head + "\nv=0\nm=audio 1 RTP/AVP" + strings.Repeat(" 0", 80_000), func(m *telemetry.SIPMessage) bool { return len(m.Sdp.Media[0].Codecs) == maxCodecs }},
		"ssrcs":          {head + "\nv=0\nm=audio 1 RTP/AVP 0\n" + manySSRCs(20_000), func(m *telemetry.SIPMessage) bool { return len(m.Sdp.Media[0].Ssrcs) == maxSSRCs }},
		"media":          {head + "\nv=0\n" + strings.Repeat("m=audio 1 RTP/AVP 0\n", maxMedia+1), func(m *telemetry.SIPMessage) bool { return m.Sdp == nil }},
		"multipart":      {head + "c: multipart/mixed;boundary=x\n\n" + strings.Repeat("--x\nc: multipart/mixed;boundary=x\n\n", 8_000), func(m *telemetry.SIPMessage) bool { return m.Sdp == nil }},
		"lines":          {head + strings.Repeat("a:\n", 80_000), func(m *telemetry.SIPMessage) bool { return m.CallId == "x" }},
		"lone semicolon": {head + "t: ;;;;;;", func(m *telemetry.SIPMessage) bool { return m.To.Uri == "" }},
	} {
		m, err := Parse([]byte(tt.in))
		if err != nil || !tt.check(m) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manySSRCs(n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString("a=ssrc:1")
		s.WriteString(strings.Repeat("0", i%7))
		s.WriteByte(byte('0' + i%10))
		s.WriteByte(byte('0' + i/10%10))
		s.WriteString(" x\n")
	}
	return s.String()
}

func TestContentEncoding(t *testing.T) {
	head := "INVITE sip:a SIP/2.0\r\ni: x\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Encoding: "
	for encoding, body := range map[string][]byte{"gzip": gzipped(t, crlf(offer)), "Identity": crlf(offer)} {
		m, err := Parse(append([]byte(head+encoding+"\r\n\r\n"), body...))
		if err != nil || len(m.GetSdp().GetMedia()) != 1 {
			t.Errorf("%s: %v, %v", encoding, m, err)
		}
	}
	for _, encoding := range []string{"gzip", "deflate", "br"} { // and is not what it says
		if m, err := Parse(append([]byte(head+encoding+"\r\n\r\n"), offer...)); err != nil || m.Sdp != nil {
			t.Errorf("%s: %v, %v", encoding, m, err)
		}
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
