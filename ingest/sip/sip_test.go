package sip

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// crlf writes a message as it is on the wire.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const offer = `v=0
o=alice 2890844526 2890844527 IN IP4 192.0.2.10
s=-
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0 101
a=rtpmap:101 telephone-event/8000
`

var invite = crlf(`INVITE sip:+13125550100;npdi@example.net;user=phone SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bKabc1, SIP/2.0/TCP 192.0.2.11;branch=z9hG4bKold
Via: SIP/2.0/UDP 192.0.2.12;branch=z9hG4bKolder
Max-Forwards: 70
From: "Alice \"A\" <the first>, Ltd" <sip:alice:secret@Example.ORG:5070;transport=udp>;tag=1928
To: <tel:+1-312-555-0100;phone-context=x>
Call-ID: a84b4c76e66710@192.0.2.10
CSeq: 314159 INVITE
Contact: <sip:alice@192.0.2.10:5060>
Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000
User-Agent: AcmeDialer/2.3.1 (build 77; Windows 11)
Content-Type: application/sdp
Content-Length: 167

` + offer)

func TestParseRequest(t *testing.T) {
	m, err := Parse(invite)
	if err != nil {
		t.Fatal(err)
	}
	want := &telemetry.SIPMessage{
		Raw: invite, Method: "INVITE", RequestUri: "sip:+13125550100;npdi@example.net;user=phone",
		CallId: "a84b4c76e66710@192.0.2.10", Cseq: 314159, ViaBranch: "z9hG4bKabc1",
		From:     &telemetry.NameAddr{Display: `Alice "A" <the first>, Ltd`, Uri: "sip:alice:secret@Example.ORG:5070;transport=udp", User: "alice", Host: "example.org", Tag: "1928"},
		To:       &telemetry.NameAddr{Uri: "tel:+1-312-555-0100;phone-context=x", User: "+1-312-555-0100"},
		Contacts: []*telemetry.Contact{{Uri: "sip:alice@192.0.2.10:5060", ExpiresS: -1}},
		ExpiresS: -1, MinExpiresS: -1,
		SessionId: "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
		UserAgent: "AcmeDialer/2.3.1 (build 77; Windows 11)",
		Sdp: &telemetry.SDP{Origin: "alice 2890844526 2890844527", Media: []*telemetry.Media{{
			Kind: "audio", Protocol: "RTP/AVP", Address: "192.0.2.10", Port: 49170, RtcpAddress: "192.0.2.10", RtcpPort: 49171, Direction: "sendrecv",
			Codecs: []*telemetry.Codec{{PayloadType: 0, Name: "PCMU", ClockRate: 8000, Channels: 1}, {PayloadType: 101, Name: "telephone-event", ClockRate: 8000, Channels: 1}},
		}}},
	}
	if !proto.Equal(m, want) {
		t.Errorf("\n got %v\nwant %v", m, want)
	}
}

func TestParseResponse(t *testing.T) {
	m, err := Parse(crlf(`SIP/2.0 486 Busy Here
v: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK776
f: Alice <sip:alice@example.org>;tag=1
t: sip:bob@example.org;tag=2
i: x@y
CSeq: 7 INVITE
Server: Registrar 1.2
Reason: Q.850;cause=17;text="User busy, sorry", SIP;cause=486
Reason: X;cause=1
l: 0

`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Status != 486 || m.ReasonPhrase != "Busy Here" || m.Method != "INVITE" || m.CallId != "x@y" || m.ViaBranch != "z9hG4bK776" {
		t.Errorf("%v", m)
	}
	if m.To.Tag != "2" || m.To.Uri != "sip:bob@example.org" || m.UserAgent != "Registrar 1.2" {
		t.Errorf("%v", m)
	}
	if want := []string{`Q.850;cause=17;text="User busy, sorry"`, "SIP;cause=486", "X;cause=1"}; !reflect.DeepEqual(m.Reasons, want) {
		t.Errorf("reasons %q", m.Reasons)
	}
}

func TestParseRegister(t *testing.T) {
	m, err := Parse(crlf(`REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/TLS 192.0.2.10;branch=z9hG4bK1
From: <sip:bob@example.org>;tag=a
To: <sip:bob@example.org>
Call-ID: r
CSeq: 2 REGISTER
Authorization: Digest username="bob", realm="example.org"
Contact: "Bob, mobile" <sip:bob@192.0.2.10;ob>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";reg-id=1;expires=3600,
 sip:bob@192.0.2.11;q=0.5;expires="60"
Contact: <sip:bob@192.0.2.12>;expires=7200000000000
Expires: 300
Min-Expires: 20

`))
	if err != nil {
		t.Fatal(err)
	}
	want := []*telemetry.Contact{
		{Uri: "sip:bob@192.0.2.10;ob", ExpiresS: 3600, Instance: "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF", RegId: "1"},
		{Uri: "sip:bob@192.0.2.11", ExpiresS: 60},
		{Uri: "sip:bob@192.0.2.12", ExpiresS: 1<<32 - 1},
	}
	if !proto.Equal(&telemetry.SIPMessage{Contacts: m.Contacts}, &telemetry.SIPMessage{Contacts: want}) {
		t.Errorf("contacts %v", m.Contacts)
	}
	if !m.HasCredentials || m.ExpiresS != 300 || m.MinExpiresS != 20 {
		t.Errorf("credentials %v, expires %d, min %d", m.HasCredentials, m.ExpiresS, m.MinExpiresS)
	}
	m, err = Parse(crlf("REGISTER sip:example.org SIP/2.0\nCall-ID: r\nCSeq: 3 REGISTER\nContact: *\nExpires: 0\n\n"))
	if err != nil || len(m.Contacts) != 1 || m.Contacts[0].Uri != "*" || m.ExpiresS != 0 || m.HasCredentials {
		t.Errorf("wildcard: %v, %v", m, err)
	}
}

// Cases after RFC 4475 and after what phones send. Each is a whole message but
// for Call-ID and CSeq, which are the test's unless the case has them.
func TestParseTolerance(t *testing.T) {
	const ids = "Call-ID: c\nCSeq: 1 OPTIONS\n"
	tests := map[string]struct {
		in    string
		check func(m *telemetry.SIPMessage) bool
	}{
		"LF only": {"OPTIONS sip:b@example.org SIP/2.0\n" + ids + "User-Agent: x\n\n", func(m *telemetry.SIPMessage) bool {
			return m.UserAgent == "x"
		}},
		"keep-alive before it": {"\r\n\r\nOPTIONS sip:b@example.org SIP/2.0\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.Method == "OPTIONS"
		}},
		"cut in the header": {"OPTIONS sip:b@example.org SIP/2.0\n" + ids + "User-Ag", func(m *telemetry.SIPMessage) bool {
			return m.CallId == "c"
		}},
		"white space everywhere": {"OPTIONS  sip:b@example.org  SIP/2.0  \nTO :\n sip:b@example.org ;   tag    = 19\nFrom   : \"J Rosenberg \\\\\\\"\"       <sip:j@example.com>\n  ;\n  tag = 98asjd8\nCSeq: 0009\n  OPTIONS\nCall-ID: c\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch = 390skdjuw\n\n",
			func(m *telemetry.SIPMessage) bool {
				return m.To.Tag == "19" && m.From.Tag == "98asjd8" && m.From.Display == `J Rosenberg \"` && m.Cseq == 9 && m.ViaBranch == "390skdjuw" && m.RequestUri == "sip:b@example.org"
			}},
		"escapes": {"OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\n" + ids + "\n",
			func(m *telemetry.SIPMessage) bool {
				return m.To.User == "user" && m.From.User == "I have spaces" && m.RequestUri == "sip:sips%3Auser%40example.com@example.net"
			}},
		"escapes that are no UTF-8": {"OPTIONS sip:a SIP/2.0\nTo: sip:%ff%zz@example.com\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.User == "\uFFFD%zz"
		}},
		"another code page": {"OPTIONS sip:a SIP/2.0\nTo: \"J\xfcrgen\" <sip:j@example.com>\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.Display == "J\uFFFDrgen" && m.To.User == "j"
		}},
		"every character of a token": {"!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\nCall-ID: word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nTo: <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\n",
			func(m *telemetry.SIPMessage) bool {
				return m.CallId == "word%ZK-!.*_+'@word`~)(><:\\/\"][?}{" && m.To.Host == "example.com" && m.To.User == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
			}},
		"no reason phrase": {"SIP/2.0 100 \n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.Status == 100 && m.ReasonPhrase == "" && m.Method == "OPTIONS"
		}},
		"no space after the code": {"SIP/2.0 100\n" + ids + "\n", func(m *telemetry.SIPMessage) bool { return m.Status == 100 }},
		"UTF-8 reason":            {"SIP/2.0 200 = 2**3 * 5**2 но сто\n" + ids + "\n", func(m *telemetry.SIPMessage) bool { return m.ReasonPhrase == "= 2**3 * 5**2 но сто" }},
		"quote never closed": {"OPTIONS sip:a SIP/2.0\nTo: \"Mr. J. User <sip:j.user@example.com>;tag=1\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.User == "j.user" && m.To.Tag == "1" && m.To.Display == "Mr. J. User"
		}},
		"spaces in angle brackets": {"OPTIONS sip:a SIP/2.0\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.User == "t.watson" && m.To.Host == "example.org"
		}},
		"angle bracket never closed": {"OPTIONS sip:a SIP/2.0\nTo: <sip:t@example.org\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.User == "t"
		}},
		"angle brackets around the request URI": {"OPTIONS <sip:user@example.com> SIP/2.0\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.RequestUri == "sip:user@example.com"
		}},
		"headers that stand twice": {"OPTIONS sip:a SIP/2.0\nFrom: sip:first@example.com;tag=1\nFrom: sip:second@example.com;tag=2\n" + ids + "CSeq: 59 OPTIONS\nCall-ID: d\n\n", func(m *telemetry.SIPMessage) bool {
			return m.From.User == "first" && m.Cseq == 1 && m.CallId == "c"
		}},
		"mail address as user": {"OPTIONS sip:a SIP/2.0\nFrom: <sip:bob@corp.example@pbx.example.org:5060;x=a@b>;tag=1\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.From.User == "bob@corp.example" && m.From.Host == "pbx.example.org"
		}},
		"parameters of a number": {"OPTIONS sip:a SIP/2.0\nFrom: <sip:+13125550100;rn=1312;npdi@[2001:db8::1]:5060;user=phone>;tag=1\nTo: sip:user;par=u%40example.net@example.com\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.From.User == "+13125550100" && m.From.Host == "[2001:db8::1]" && m.To.Uri == "sip:user"
		}},
		"other schemes": {"REGISTER sip:a SIP/2.0\nTo: isbn:2983792873\nFrom: <http://www.example.com>;tag=3\nContact: <name:John_Smith>\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.To.Uri == "isbn:2983792873" && m.To.User == "" && m.Contacts[0].Uri == "name:John_Smith"
		}},
		"line without a colon": {"OPTIONS sip:a SIP/2.0\nwhat is this\n" + ids + "\n", func(m *telemetry.SIPMessage) bool { return m.CallId == "c" }},
		"expires is no number": {"OPTIONS sip:a SIP/2.0\nExpires: 1 day\nContact: <sip:a>;expires=soon\n" + ids + "\n", func(m *telemetry.SIPMessage) bool {
			return m.ExpiresS == -1 && m.Contacts[0].ExpiresS == -1
		}},
		"body without a type":    {"OPTIONS sip:a SIP/2.0\n" + ids + "\n" + offer, func(m *telemetry.SIPMessage) bool { return len(m.GetSdp().GetMedia()) == 1 }},
		"length too long":        {"OPTIONS sip:a SIP/2.0\nc: application/sdp\nl: 9999\n" + ids + "\n" + offer, func(m *telemetry.SIPMessage) bool { return len(m.GetSdp().GetMedia()) == 1 }},
		"length negative":        {"OPTIONS sip:a SIP/2.0\nc: application/sdp\nl: -999\n" + ids + "\n" + offer, func(m *telemetry.SIPMessage) bool { return len(m.GetSdp().GetMedia()) == 1 }},
		"length 0 before an SDP": {"OPTIONS sip:a SIP/2.0\nc: application/sdp\nl: 0\n" + ids + "\n" + offer, func(m *telemetry.SIPMessage) bool { return len(m.GetSdp().GetMedia()) == 1 }},
		"length too short": {"OPTIONS sip:a SIP/2.0\nc: application/sdp\nl: 140\n" + ids + "\n" + offer, func(m *telemetry.SIPMessage) bool {
			return m.GetSdp().GetMedia()[0].GetCodecs()[1].GetName() == "telephone-event"
		}},
		"second message behind it": {"OPTIONS sip:a SIP/2.0\nc: application/sdp\nl: 0\n" + ids + "\nINVITE sip:b SIP/2.0\n\n" + offer, func(m *telemetry.SIPMessage) bool { return m.Sdp == nil }},
		"SDP that is none":         {"OPTIONS sip:a SIP/2.0\nc: application/sdp\n" + ids + "\nhello", func(m *telemetry.SIPMessage) bool { return m.Sdp == nil }},
		"multipart": {"INVITE sip:a SIP/2.0\nContent-Type: multipart/mixed;boundary=\"a b\"\n" + ids + "\npreamble\n--a b\nContent-Type: application/isup\n\n\x01\xff\n--a b\nContent-Type: multipart/alternative; boundary=in\n\n--in\nc: application/sdp\n\n" + offer + "\n--in--\n--a b--\nepilogue", func(m *telemetry.SIPMessage) bool {
			return len(m.GetSdp().GetMedia()) == 1 && m.Sdp.Media[0].Port == 49170
		}},
		"multipart that never ends": {"INVITE sip:a SIP/2.0\nContent-Type: multipart/mixed;boundary=x\n" + ids + "\n--x\nc: application/sdp\n\n" + offer, func(m *telemetry.SIPMessage) bool {
			return len(m.GetSdp().GetMedia()) == 1
		}},
	}
	for name, tt := range tests {
		for ending, in := range map[string][]byte{"LF": []byte(tt.in), "CRLF": crlf(tt.in)} {
			m, err := Parse(in)
			if err != nil {
				t.Errorf("%s, %s: %v", name, ending, err)
				continue
			}
			if !tt.check(m) {
				t.Errorf("%s, %s: %v", name, ending, m)
			}
			if _, err := proto.Marshal(m); err != nil {
				t.Errorf("%s, %s: %v", name, ending, err)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	const ids = "\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
	tests := map[string]struct {
		in   string
		want error
	}{
		"empty":              {"", ErrNotSIP},
		"keep-alive":         {"\r\n\r\n", ErrNotSIP},
		"HTTP":               {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrNotSIP},
		"one word":           {"OPTIONS\r\n", ErrNotSIP},
		"version 7":          {"OPTIONS sip:a SIP/7.0" + ids, ErrVersion},
		"version 2.1":        {"SIP/2.1 200 OK" + ids, ErrVersion},
		"code of ten digits": {"SIP/2.0 4294967301 better not break the receiver" + ids, ErrStatus},
		"code 99":            {"SIP/2.0 99 x" + ids, ErrStatus},
		"code no number":     {"SIP/2.0 OK" + ids, ErrNotSIP},
		"no Call-ID":         {"OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n", ErrMissing},
		"no CSeq":            {"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n", ErrMissing},
		"CSeq too large":     {"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\nCSeq: 36893488147419103232 OPTIONS\r\n\r\n", ErrCSeq},
		"CSeq no number":     {"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\nCSeq: OPTIONS\r\n\r\n", ErrCSeq},
		"CSeq no method":     {"SIP/2.0 200 OK\r\nCall-ID: x\r\nCSeq: 7\r\n\r\n", ErrCSeq},
	}
	for name, tt := range tests {
		if m, err := Parse([]byte(tt.in)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, m, err, tt.want)
		}
	}
}

func TestIsSIP(t *testing.T) {
	for in, want := range map[string]bool{
		"INVITE sip:a@b SIP/2.0\r\n":            true,
		"\r\nSIP/2.0 200 OK\r\n":                true,
		"sip/2.0 200 OK":                        true,
		"OPTIONS sip:a SIP/7.0\r\n":             true,
		"GET /sip HTTP/1.1\r\n":                 false,
		"INVITE sip:a@b":                        false,
		"SIP/2.0":                               false,
		"":                                      false,
		"\x80\xc8\x00\x06 aaaaaaaaaaaa SIP/2.0": false,
	} {
		if got := IsSIP([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestBody(t *testing.T) {
	message := crlf("PUBLISH sip:c SIP/2.0\nContent-Type: Application/VQ-RTCPXR;x=y\nContent-Length: 4\n\nVQ\nrest")
	if got := Body(message, MediaVQ); string(got) != "VQ\r\n" {
		t.Errorf("%q", got)
	}
	if got := Body(message, "application/sdp"); got != nil {
		t.Errorf("%q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(invite)
	f.Add([]byte("SIP/2.0 200 OK\nv:x;branch=1,\n y\nf:\"\\\nt:<\ni:1\nCSeq:1 A\nm:*,<a>;expires=\"\nc:multipart/x;boundary=b\n\n--b\nc:application/sdp\n\nv=0\n--b--"))
	for _, message := range torture(f, "testdata/rfc4475.txt") {
		f.Add(message)
	}
	var used Parser
	f.Fuzz(func(t *testing.T, b []byte) {
		original := bytes.Clone(b)
		m, err := used.Parse(b)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		fresh, freshErr := Parse(b)
		if !bytes.Equal(b, original) || !errors.Is(err, freshErr) {
			t.Fatalf("%q was %q; %v, %v", b, original, err, freshErr)
		}
		if m == nil {
			return
		}
		if !proto.Equal(m, fresh) {
			t.Fatalf("a used parser reads\n%v, a new one\n%v", m, fresh)
		}
		if m.CallId == "" || m.From == nil || m.To == nil || m.Method == "" {
			t.Fatalf("accepted without Call-ID, From, To or a method: %v", m)
		}
		clone := Clone(m)
		clear(b)
		if _, err := proto.Marshal(clone); err != nil { // checks UTF-8
			t.Fatalf("cannot be sent on: %v", err)
		}
		if fresh.Raw = original; !proto.Equal(clone, fresh) {
			t.Fatalf("the clone changed with what it was parsed from:\n%v\n%v", clone, fresh)
		}
	})
}

var register = crlf(`REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bKPj3f1
Max-Forwards: 70
From: <sip:alice@example.org>;tag=5c2a
To: <sip:alice@example.org>
Call-ID: 8f1c2d3e@192.0.2.10
CSeq: 2 REGISTER
User-Agent: AcmeDialer/2.3.1 (build 77; Windows 11)
Contact: <sip:alice@192.0.2.10:5060;ob>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"
Expires: 300
Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
Authorization: Digest username="alice", realm="example.org", nonce="5c2a", uri="sip:example.org", response="0123456789abcdef0123456789abcdef"
Content-Length: 0

`)

func BenchmarkParser(b *testing.B) {
	for name, message := range map[string][]byte{"REGISTER": register, "INVITE": invite} {
		b.Run(name, func(b *testing.B) {
			var p Parser
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Parse(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
