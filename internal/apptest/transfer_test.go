package apptest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/query"
)

// transferred is the number that the test below moves about.
const transferred = "+14155550142"

// phone sends the signalling of calls to the number, as a capture agent sees it.
type phone struct {
	t    *testing.T
	conn net.Conn
}

var phones = [2]netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:5060"), netip.MustParseAddrPort("10.9.0.2:5060")}

// message is one of a call, from the caller (0) or the callee (1).
func message(call, first string, from, cseq int, method string) pcap.Datagram {
	tag := ""
	if from == 1 || method != "INVITE" {
		tag = ";tag=b"
	}
	return pcap.Datagram{Src: phones[from], Dst: phones[1-from], Payload: fmt.Appendf(nil, "%s\r\nVia: SIP/2.0/UDP 10.9.0.1:5060;branch=z9hG4bK-%s-%d\r\n"+
		"From: <sip:+13125550000@10.9.0.1>;tag=a\r\nTo: <sip:%s@10.9.0.2>%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		first, call, cseq, transferred, tag, call, cseq, method)}
}

func begin(call string) []pcap.Datagram {
	uri := " sip:" + transferred + "@10.9.0.2 SIP/2.0"
	return []pcap.Datagram{message(call, "INVITE"+uri, 0, 1, "INVITE"), message(call, "SIP/2.0 200 OK", 1, 1, "INVITE"), message(call, "ACK"+uri, 0, 1, "ACK")}
}

func finish(call string) []pcap.Datagram {
	return []pcap.Datagram{message(call, "BYE sip:"+transferred+"@10.9.0.2 SIP/2.0", 0, 2, "BYE"), message(call, "SIP/2.0 200 OK", 1, 2, "BYE")}
}

func (p phone) send(messages []pcap.Datagram) {
	p.t.Helper()
	for _, m := range messages {
		_, err := p.conn.Write(hep.Append(nil, &hep.Packet{Version: 3, Family: hep.FamilyIPv4, Protocol: hep.ProtocolUDP, Src: m.Src, Dst: m.Dst,
			Time: time.Now(), PayloadType: hep.TypeSIP, AgentID: 7, Payload: m.Payload}))
		require.NoError(p.t, err)
	}
}

// recorded is a capture of a call that began at a time.
func recorded(t *testing.T, call string, at time.Time) string {
	t.Helper()
	messages := append(begin(call), finish(call)...)
	for i := range messages {
		messages[i].At = at.Add(time.Duration(i) * time.Millisecond)
	}
	var b bytes.Buffer
	require.NoError(t, pcap.WriteUDP(&b, messages))
	file := filepath.Join(t.TempDir(), call+".pcap")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	return file
}

// knowsWhoIsWho waits until the ingester knows what the directory holds now. How
// soon that is, benchmarks/directory-cache measures.
func (u *Up) knowsWhoIsWho(t *testing.T) {
	t.Helper()
	d, err := directory.Connect(t.Context(), directory.Config{}, u.Data)
	require.NoError(t, err)
	defer d.Close()
	version, err := d.Version(t.Context())
	require.NoError(t, err)
	start := time.Now()
	Eventually(t, time.Minute, "the ingester knows who is who", func() error {
		res, err := http.Get("http://" + u.Run.Admin + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(text), "\nearshot_directory_version ")
		value, _, _ := strings.Cut(rest, "\n")
		if known, err := strconv.ParseFloat(value, 64); err != nil || int64(known) < version {
			return fmt.Errorf("it knows version %q, the directory has %d", value, version)
		}
		return nil
	})
	t.Logf("known after %s", time.Since(start).Round(time.Millisecond))
}

// A call stays with whom the number belonged to when it began: one made before a
// transfer with the former owner, also where it ends after it; one made after the
// transfer with the new one. A capture that is imported later goes by the time of
// its calls.
func TestACallStaysWithTheOwnerOfItsTime(t *testing.T) {
	onEachBroker(t, func(t *testing.T, flags ...string) {
		u := StartUp(t, flags...)
		do := func(path, body string) {
			t.Helper()
			require.NoError(t, u.Do("POST", company+path, "application/json", []byte(body), nil))
		}
		do("/departments", `{"id":"sales","name":"Sales"}`)
		do("/users", `{"id":"alice","name":"Alice","numbers":["+14155550141","`+transferred+`"]}`)
		do("/users", `{"id":"bob","name":"Bob","numbers":["+14155550143"]}`)
		conn, err := net.Dial("udp", u.Run.Ingest["hep"])
		require.NoError(t, err)
		defer conn.Close()
		p := phone{t, conn}
		transfer := func(to string) {
			t.Helper()
			do("/numbers/"+transferred+"/transfer", to)
			u.knowsWhoIsWho(t)
		}
		u.knowsWhoIsWho(t)

		p.send(append(begin("alices"), finish("alices")...))
		p.send(begin("alices-in-progress"))
		transfer(`{"to":{"kind":"user","id":"bob"}}`)
		p.send(append(begin("bobs"), finish("bobs")...))
		p.send(finish("alices-in-progress"))
		p.send(begin("bobs-in-progress"))
		bobs := time.Now()
		transfer(`{"to":{"kind":"department","id":"sales"}}`)
		p.send(append(begin("departments"), finish("departments")...))
		p.send(finish("bobs-in-progress"))
		u.Import(recorded(t, "imported-alices", bobs.Add(-time.Hour)), recorded(t, "imported-bobs", bobs), recorded(t, "imported-departments", time.Now()))

		for call, want := range map[string]string{
			"alices": "alice", "alices-in-progress": "alice", "bobs": "bob", "bobs-in-progress": "bob", "departments": "",
			"imported-alices": "alice", "imported-bobs": "bob", "imported-departments": "",
		} {
			Eventually(t, 60*time.Second, call+" has ended", func() error {
				var c query.Call
				if err := u.Get(company+"/calls/"+call, &c); err != nil {
					return err
				}
				if c.State != "ended" {
					return fmt.Errorf("it is %s", c.State)
				}
				return nil
			})
			c := u.call(t, call)
			owner := c.Target
			if c.Contact.Number == transferred {
				owner = c.Contact
			}
			require.Equal(t, transferred, owner.Number, call)
			if want != "" {
				require.NotNil(t, owner.UserID, call)
				require.Equal(t, want, *owner.UserID, call)
			} else {
				require.Nil(t, owner.UserID, call)
				require.Equal(t, "Sales", owner.Name, call)
			}
		}
		for user, want := range map[string]int{"alice": 3, "bob": 3} {
			var calls query.List[query.Call]
			require.NoError(t, u.Get(company+"/calls?user="+user, &calls))
			require.Len(t, calls.Items, want, user)
		}
	})
}
