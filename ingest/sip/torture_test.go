package sip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// torture reads a file of messages in the notation of RFC 4475 §2: a line
// "=== section name" begins a message, whose lines end with CRLF on the wire.
func torture(t testing.TB, file string) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	messages := map[string][]byte{}
	for _, part := range strings.Split("\n"+strings.TrimSuffix(string(b), "\n"), "\n=== ")[1:] {
		title, message, _ := strings.Cut(part, "\n")
		messages[title] = expand(t, message+"\n")
	}
	return messages
}

var (
	oneLine  = regexp.MustCompile(`(?s)<allOneLine>\n(.*?)\n</allOneLine>`)
	repeated = regexp.MustCompile(`<repeat count=(\d+)>(.*?)</repeat>`)
	hexed    = regexp.MustCompile(`(?s)<hex>(.*?)</hex>`)
)

func expand(t testing.TB, s string) []byte {
	s = oneLine.ReplaceAllStringFunc(s, func(m string) string { // §2.1
		return strings.ReplaceAll(oneLine.FindStringSubmatch(m)[1], "\n", "")
	})
	s = repeated.ReplaceAllStringFunc(s, func(m string) string { // §2.3
		part := repeated.FindStringSubmatch(m)
		n, err := strconv.Atoi(part[1])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Repeat(part[2], n)
	})
	s = strings.ReplaceAll(s, "\n", "\r\n")
	return hexed.ReplaceAllFunc([]byte(s), func(m []byte) []byte { // §2.2
		octets, err := hex.DecodeString(string(bytes.Join(bytes.Fields(hexed.FindSubmatch(m)[1]), nil)))
		if err != nil {
			t.Fatal(err)
		}
		return octets
	})
}

// told is what matters of a message to a monitor, in short.
func told(m *telemetry.SIPMessage) string {
	party := func(a *telemetry.NameAddr) string {
		s := a.User + "@" + a.Host
		if a.Display != "" {
			s = a.Display + " " + s
		}
		if a.Tag != "" {
			s += " tag " + a.Tag
		}
		return s
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s %d %s; %s; %d; %s; %s; %s", m.Method, m.RequestUri, m.Status, m.ReasonPhrase, m.CallId, m.Cseq, m.ViaBranch, party(m.From), party(m.To))
	for _, c := range m.Contacts {
		s.WriteString("; contact " + c.Uri)
	}
	for _, media := range m.GetSdp().GetMedia() {
		fmt.Fprintf(&s, "; %s %s:%d", media.Kind, media.Address, media.Port)
	}
	return s.String()
}

// What a monitor makes of RFC 4475's messages. It accepts more than a proxy may:
// of those that a proxy has to refuse only what does not say which call it
// belongs to, or is no SIP/2.0.
var rfc4475 = map[string]struct {
	want string
	err  error
}{
	"3.1.1.1 wsinv":       {want: "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam 0 ; wsinv.ndaksdj@192.0.2.1; 9; 390skdjuw; J Rosenberg \\\" jdrosen@example.com tag 98asjd8; vivekg@chair-dnrc.example.com tag 1918181833n; contact sip:jdrosen@example.com; audio 192.0.2.4:49217; video 192.0.2.4:3227"},
	"3.1.1.2 intmeth":     {want: "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com 0 ; intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{; 139122385; z9hG4bK-.!%66*_+`'~; token1~` token2'+_ token3*%!.- mundane@example.com tag _token~1'+`*%!-.; BEL:\a NUL:\x00 DEL:\x7f 1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com"},
	"3.1.1.3 esc01":       {want: "INVITE sip:sips%3Auser%40example.com@example.net 0 ; esc01.239409asdfakjkn23onasd0-3234; 234234; z9hG4bKkdjuw; I have spaces@example.net tag 938; user@example.com; contact sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.1.4 escnull":     {want: "REGISTER sip:example.com 0 ; escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd; 14398234; z9hG4bKkdjuw; null-\x00-null@example.com tag 839923423; null-\x00-null@example.com; contact sip:%00@host5.example.com; contact sip:%00%00@host5.example.com"},
	"3.1.1.5 esc02":       {want: "RE%47IST%45R sip:registrar.example.com 0 ; esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf; 29344; z9hG4bK209%fzsnel234; %Z%45 resource@example.com tag f232jadfj23; %Z%45 resource@example.com; contact sip:alias1@host1.example.com; contact sip:alias3@host3.example.com"},
	"3.1.1.6 lwsdisp":     {want: "OPTIONS sip:user@example.com 0 ; lwsdisp.1234abcd@funky.example.com; 60; z9hG4bKkdjuw; caller caller@example.com tag 323; user@example.com"},
	"3.1.1.7 longreq":     {want: "INVITE sip:user@example.com 0 ; longreq.onereallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallylongcallid; 3882340; ; amazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallername@example.net tag 12982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982424; I have a user name of extremeextremeextremeextremeextremeextremeextremeextremeextremeextreme proportion user@example.com; contact sip:amazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallername@host5.example.net; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.1.8 dblreq":      {want: "REGISTER sip:example.com 0 ; dblreq.0ha0isndaksdj99sdfafnl3lk233412; 8; z9hG4bKkdjuw23492; j.user@example.com tag 43251j3j324; j.user@example.com; contact sip:j.user@host.example.com"},
	"3.1.1.9 semiuri":     {want: "OPTIONS sip:user;par=u%40example.net@example.com 0 ; semiuri.0ha0isndaksdj; 8; z9hG4bKkdjuw; caller@example.org tag 33242; j_user@example.com"},
	"3.1.1.10 transports": {want: "OPTIONS sip:user@example.com 0 ; transports.kijh4akdnaqjkwendsasfdj; 60; z9hG4bKkdjuw; caller@example.com tag 323; user@example.com"},
	"3.1.1.11 mpart01":    {want: "MESSAGE sip:kumiko@example.org 0 ; 3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..; 1; z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-; fluffy@example.com tag 2fb0dcc9; kumiko@example.org; contact sip:fluffy@127.0.0.1:5070"},
	"3.1.1.12 unreason":   {want: "INVITE  200 = 2**3 * 5**2 но сто девяносто девять - простое; unreason.1234ksdfak3j2erwedfsASdf; 35; z9hG4bK1324923; user@example.com tag 11141343; user@example.edu tag 2229; contact sip:user@host198.example.com; audio 192.0.2.198:49217; video 192.0.2.198:3227"},
	"3.1.1.13 noreason":   {want: "INVITE  100 ; noreason.asndj203insdf99223ndf; 35; z9hG4bK2398ndaoe; user@example.com tag 39ansfi3; user@example.edu tag 902jndnke3; contact sip:user@host105.example.com"},
	"3.1.2.1 badinv01":    {want: "INVITE sip:user@example.com 0 ; badinv01.0ha0isndaksdjasdf3234nas; 8; ; caller@example.net tag 134161461246; j.user@example.com; contact sip:joe@example.org; audio 192.0.2.15:49217; video 192.0.2.15:3227"},
	"3.1.2.2 clerr":       {want: "INVITE sip:user@example.com 0 ; clerr.0ha0isndaksdjweiafasdk3; 8; z9hG4bK-39234-23523; caller@example.net tag 93942939o2; j.user@example.com; contact sip:caller@hungry.example.net; audio 192.0.2.155:49217; video 192.0.2.155:3227"},
	"3.1.2.3 ncl":         {want: "INVITE sip:user@example.com 0 ; ncl.0ha0isndaksdj2193423r542w35; 0; z9hG4bKkdjuw; caller@example.net tag 32394234; j.user@example.com; contact sip:caller@example53.example.net; audio 192.0.2.53:49217; video 192.0.2.53:3227"},
	"3.1.2.4 scalar02":    {err: ErrCSeq},
	"3.1.2.5 scalarlg":    {err: ErrCSeq},
	"3.1.2.6 quotbal":     {want: "INVITE sip:user@example.com 0 ; quotbal.aksdj; 8; z9hG4bKkdjuw39234; caller@example.net tag 93334; Mr. J. User j.user@example.com; contact sip:caller@host59.example.net; audio 192.0.2.15:49217; video 192.0.2.15:3227"},
	"3.1.2.7 ltgtruri":    {want: "INVITE sip:user@example.com 0 ; ltgtruri.1@192.0.2.5; 1; ; caller@example.net tag 39291; user@example.com; contact sip:caller@host5.example.net; audio 192.0.2.5:49217; video 192.0.2.5:3227"},
	"3.1.2.8 lwsruri":     {want: "INVITE sip:user@example.com; lr 0 ; lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423; 2130706432; z9hG4bKkdjuw2395; caller@example.net tag 231413434; user@example.com tag 3xfe-9921883-z9f; contact sip:caller@host1.example.net; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.2.9 lwsstart":    {want: "INVITE sip:user@example.com 0 ; lwsstart.dfknq234oi243099adsdfnawe3@example.com; 1893884; z9hG4bKkdjuw3923; caller@example.net tag 8814; user@example.com; contact sip:caller@host1.example.net; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.2.10 trws":       {want: "OPTIONS sip:remote-target@example.com 0 ; trws.oicu34958239neffasdhr2345r; 238923; z9hG4bK299342093; local-resource@example.com tag 329429089; remote-target@example.com"},
	"3.1.2.11 escruri":    {want: "INVITE sip:user@example.com?Route=%3Csip:example.com%3E 0 ; escruri.23940-asdfhj-aje3br-234q098w-fawerh2q-h4n5; 149209342; z9hG4bKkdjuw; caller@example.net tag 341518; user@example.com; contact sip:caller@host39923.example.net; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.2.12 baddate":    {want: "INVITE sip:user@example.com 0 ; baddate.239423mnsadf3j23lj42--sedfnm234; 1392934; z9hG4bKkdjuw; caller@example.net tag 2234923; user@example.com; contact sip:caller@host5.example.net; audio 192.0.2.5:49217; video 192.0.2.5:3227"},
	"3.1.2.13 regbadct":   {want: "REGISTER sip:example.com 0 ; regbadct.k345asrl3fdbv@10.0.0.1; 1; z9hG4bKkdjuw; user@example.com tag 998332; user@example.com; contact sip:user@example.com?Route=%3Csip:sip.example.com%3E"},
	"3.1.2.14 badaspec":   {want: "OPTIONS sip:user@example.org 0 ; badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3; 3923239; z9hG4bKkdju43234; Bell, Alexander a.g.bell@example.com tag 433423; Watson, Thomas t.watson@example.org"},
	"3.1.2.15 baddn":      {want: "OPTIONS sip:t.watson@example.org 0 ; baddn.31415@c.example.com; 3923239; z9hG4bKkdjuw; Bell, Alexander a.g.bell@example.com tag 43; Watson, Thomas t.watson@example.org"},
	"3.1.2.16 badvers":    {err: ErrVersion},
	"3.1.2.17 mismatch01": {want: "OPTIONS sip:user@example.com 0 ; mismatch01.dj0234sxdfl3; 8; z9hG4bKkdjuw; caller@example.net tag 34525; j.user@example.com"},
	"3.1.2.18 mismatch02": {want: "NEWMETHOD sip:user@example.com 0 ; mismatch02.dj0234sxdfl3; 8; z9hG4bKkdjuw; caller@example.net tag 34525; j.user@example.com; contact sip:caller@host.example.net; audio 192.0.2.1:49217; video 192.0.2.1:3227"},
	"3.1.2.19 bigcode":    {err: ErrStatus},
	"3.2.1 badbranch":     {want: "OPTIONS sip:user@example.com 0 ; badbranch.sadonfo23i420jv0as0derf3j3n; 8; z9hG4bK; caller@example.org tag 33242; user@example.com"},
	"3.3.1 insuf":         {err: ErrMissing},
	"3.3.2 unkscm":        {want: "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent 0 ; unkscm.nasdfasser0q239nwsdfasdkl34; 3923423; z9hG4bKkdjuw39234; caller@example.net tag 384; user@example.com"},
	"3.3.3 novelsc":       {want: "OPTIONS soap.beep://192.0.2.103:3002 0 ; novelsc.asdfasser0q239nwsdfasdkl34; 3923423; z9hG4bKkdjuw39234; caller@example.net tag 384; user@example.com"},
	"3.3.4 unksm2":        {want: "REGISTER sip:example.com 0 ; unksm2.daksdj@hyphenated-host.example.com; 234902; z9hG4bKkdjuw; @ tag 3234233; @; contact name:John_Smith"},
	"3.3.5 bext01":        {want: "OPTIONS sip:user@example.com 0 ; bext01.0ha0isndaksdj; 8; z9hG4bKkdjuw; caller@example.net tag 242etr; j_user@example.com"},
	"3.3.6 invut":         {want: "INVITE sip:user@example.com 0 ; invut.0ha0isndaksdjadsfij34n23d; 235448; z9hG4bKkdjuw; caller@example.net tag 8392034; j.user@example.com; contact sip:caller@host5.example.net"},
	"3.3.7 regaut01":      {want: "REGISTER sip:example.com 0 ; regaut01.0ha0isndaksdj; 9338; z9hG4bKkdjuw; j.user@example.com tag 87321hj23128; j.user@example.com"},
	"3.3.8 multi01":       {want: "INVITE sip:user@company.com 0 ; multi01.98asdh@192.0.2.1; 5; z9hG4bKkdjuw; caller@example.com tag 3413415; user@example.com; contact sip:caller@host25.example.net; contact sip:caller@host36.example.net; audio 192.0.2.25:49217; video 192.0.2.25:3227"},
	"3.3.9 mcl01":         {want: "OPTIONS sip:user@example.com 0 ; mcl01.fhn2323orihawfdoa3o4r52o3irsdf; 15932; z9hG4bK293423; other@example.net tag 3923942; user@example.com"},
	"3.3.10 bcast":        {want: "INVITE  200 OK; bcast.0384840201234ksdfak3j2erwedfsASdf; 35; z9hG4bK1324923; user@example.com tag 11141343; user@example.edu tag 2229; contact sip:user@host28.example.com; audio 192.0.2.198:49217; video 192.0.2.198:3227"},
	"3.3.11 zeromf":       {want: "OPTIONS sip:user@example.com 0 ; zeromf.jfasdlfnm2o2l43r5u0asdfas; 39234321; z9hG4bKkdjuw2349i; caller@example.net tag 3ghsd41; user@example.com"},
	"3.3.12 cparam01":     {want: "REGISTER sip:example.com 0 ; cparam01.70710@saturn.example.com; 2; z9hG4bKkdjuw; watson@example.com tag DkfVgjkrtMwaerKKpe; watson@example.com; contact sip:+19725552222@gw1.example.net"},
	"3.3.13 cparam02":     {want: "REGISTER sip:example.com 0 ; cparam02.70710@saturn.example.com; 3; z9hG4bKkdjuw; watson@example.com tag 838293; watson@example.com; contact sip:+19725552222@gw1.example.net;unknownparam"},
	"3.3.14 regescrt":     {want: "REGISTER sip:example.com 0 ; regescrt.k345asrl3fdbv@192.0.2.1; 14398234; z9hG4bKkdjuw; user@example.com tag 8; user@example.com; contact sip:user@example.com?Route=%3Csip:sip.example.com%3E"},
	"3.3.15 sdp01":        {want: "INVITE sip:user@example.com 0 ; sdp01.ndaksdj9342dasdd; 8; z9hG4bKkdjuw; caller@example.net tag 234; j_user@example.com; contact sip:caller@host15.example.net; audio 192.0.2.5:49217; video 192.0.2.5:3227"},
	"3.4.1 inv2543":       {want: "INVITE sip:UserB@example.com 0 ; inv2543.1717@ift.client.example.com; 56; ; +13035551111@ift.client.example.net; +16505552222@ss1.example.net; audio 192.0.2.5:49217"},
}

func TestRFC4475(t *testing.T) {
	messages := torture(t, "testdata/rfc4475.txt")
	if len(messages) != 49 || len(rfc4475) != 49 {
		t.Fatalf("%d messages, %d expectations", len(messages), len(rfc4475))
	}
	var p Parser
	for name, tt := range rfc4475 {
		if !IsSIP(messages[name]) {
			t.Errorf("%s does not look like SIP", name)
		}
		m, err := p.Parse(messages[name])
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		if m != nil && told(m) != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", name, told(m), tt.want)
		}
	}
	// 3.1.1.8 holds two requests, in UDP and in a stream.
	var f Framer
	f.Push(messages["3.1.1.8 dblreq"])
	for _, want := range []string{"REGISTER", "INVITE"} {
		b, err := f.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := p.Parse(b); err != nil || m.Method != want {
			t.Errorf("%v, %v, want %s", m, err, want)
		}
	}
}

// IPv6 after RFC 5118 §4.
func TestRFC5118(t *testing.T) {
	const rest = "Max-Forwards: 70\nCall-ID: c\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n"
	const sdp = "INVITE sip:user@[2001:db8::10] SIP/2.0\nCall-ID: c\nCSeq: 1 INVITE\nContent-Type: application/sdp\n\nv=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for today's meeting\n"
	for name, tt := range map[string]struct{ in, want string }{
		"4.1 reference":            {"REGISTER sip:[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:DB8::10]:5070;x=y\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\n" + rest, "REGISTER sip:[2001:db8::10] 0 ; c; 98176; z9hG4bKas3-111; @; user@[2001:db8::10]; contact sip:caller@[2001:db8::1]"},
		"4.2 no brackets":          {"REGISTER sip:2001:db8::10 SIP/2.0\nTo: sip:user@2001:db8::10\n" + rest, "REGISTER sip:2001:db8::10 0 ; c; 98176; ; @; user@2001:db8::10"},
		"4.3 port ambiguous":       {"REGISTER sip:[2001:db8::10:5070] SIP/2.0\nTo: sip:user@[2001:db8::10:5070]\n" + rest, "REGISTER sip:[2001:db8::10:5070] 0 ; c; 98176; ; @; user@[2001:db8::10:5070]"},
		"4.5 received, delimiters": {"OPTIONS sip:[2001:db8::10] SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\n" + rest, "OPTIONS sip:[2001:db8::10] 0 ; c; 98176; z9hG4bKas3-111; @; @"},
		"4.5 received without":     {"OPTIONS sip:[2001:db8::10] SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\n" + rest, "OPTIONS sip:[2001:db8::10] 0 ; c; 98176; z9hG4bKas3; @; @"},
		"4.6 SDP":                  {sdp + "c=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\nm=video 6024 RTP/AVP 107\n", "INVITE sip:user@[2001:db8::10] 0 ; c; 1; ; @; @; audio 2001:db8::20:6000; video 2001:db8::20:6024"},
		"4.8 both families":        {sdp + "m=audio 6000 RTP/AVP 2\nc=IN IP4 192.0.2.10\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::20\n", "INVITE sip:user@[2001:db8::10] 0 ; c; 1; ; @; @; audio 192.0.2.10:6000; video 2001:db8::20:6024"},
		"4.9 IPv4-mapped":          {sdp + "c=IN IP6 ::ffff:192.0.2.10\nm=audio 6000 RTP/AVP 2\n", "INVITE sip:user@[2001:db8::10] 0 ; c; 1; ; @; @; audio ::ffff:192.0.2.10:6000"},
		"4.10 three colons":        {"OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\nFrom: sip:user@[2001:db8:::192.0.2.1]\n" + rest, "OPTIONS sip:user@[2001:db8:::192.0.2.1] 0 ; c; 98176; ; user@[2001:db8:::192.0.2.1]; @"},
	} {
		if m, err := Parse(crlf(tt.in)); err != nil || told(m) != tt.want {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, told(m), tt.want)
		}
	}
}
