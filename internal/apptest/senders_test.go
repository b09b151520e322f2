package apptest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// tracedKamailio begins the configuration of a Kamailio that traces all
// signalling to Earshot: its own port, Earshot's HEP port, the agent's number.
const tracedKamailio = `#!KAMAILIO
log_stderror=yes
children=1
auto_aliases=no
listen=udp:%s
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:%s")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", 3)
modparam("siptrace", "hep_capture_id", %d)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
`

// relayingKamailio goes on as a proxy that lets rtpengine carry the media:
// rtpengine's control port, where calls go.
const relayingKamailio = `loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:%s")
request_route {
  if (has_totag()) {
    if (loose_route()) {
      if (is_method("BYE")) rtpengine_delete();
      t_relay();
    } else if (is_method("ACK")) { t_relay(); } else { sl_send_reply("404", "Not here"); }
    exit;
  }
  if (is_method("CANCEL")) { t_relay(); exit; }
  record_route();
  if (is_method("INVITE")) { rtpengine_offer("replace-origin trust-address"); t_on_reply("answer"); }
  $du = "sip:%s";
  t_relay();
}
onreply_route[answer] {
  if (has_body("application/sdp")) rtpengine_answer("replace-origin trust-address");
}
`

// udpPort gives an address whose UDP port is free: below those that systems give
// to sockets that send, as the programs under test do, and no port twice.
func udpPort(t *testing.T) string {
	t.Helper()
	for range 200 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if _, given := givenPorts.LoadOrStore(addr, true); given {
			continue
		}
		if conn, err := net.ListenPacket("udp4", addr); err == nil {
			conn.Close()
			return addr
		}
	}
	t.Fatal("there is no free UDP port between 20000 and 32000")
	return ""
}

var givenPorts sync.Map

// listens waits until a program has bound a UDP port. It looks in the kernel's
// table: trying to bind the port could take it from the program in that moment.
func listens(t *testing.T, addr string, by *program) {
	t.Helper()
	port := netip.MustParseAddrPort(addr).Port()
	Eventually(t, time.Minute, by.name+" listens on "+addr, func() error {
		select {
		case <-by.ended:
			t.Fatalf("%s ended before it listened on %s: %v\n%s", by.name, addr, by.err, by.output)
		default:
		}
		table, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				return nil
			}
		}
		return fmt.Errorf("nobody does\n%s", by.output)
	})
}

// program is one of somebody else.
type program struct {
	name   string
	output *tail
	ended  chan struct{}
	err    error        // once it has ended
	stop   func() error // kills it; the error says that it was no longer there
}

// run starts a program of somebody else and ends it with the test.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	p := &program{name: name, output: &tail{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	go func() { p.err = cmd.Wait(); close(p.ended) }()
	p.stop = sync.OnceValue(func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it has started
		<-p.ended
		return err
	})
	t.Cleanup(func() {
		_ = p.stop() // it may have ended by itself
		if t.Failed() {
			t.Logf("output of %s (%v):\n%s", name, p.err, p.output)
		}
	})
	return p
}

// start is run for a test that stops the program itself.
func start(t *testing.T, name string, args ...string) (output *tail, stop func() error) {
	t.Helper()
	p := run(t, name, args...)
	return p.output, p.stop
}

// tone writes seconds of 440 Hz as a WAV file: 8 kHz, mono, 16 bits.
func tone(t *testing.T, file string, seconds int) {
	t.Helper()
	const rate = 8000
	n := uint32(rate * seconds * 2)
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, 36+n)
	b = append(b, "WAVEfmt "...)
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(rate * 2), uint16(2), uint16(16)} {
		var err error
		b, err = binary.Append(b, binary.LittleEndian, v)
		require.NoError(t, err)
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, n)
	for i := range rate * seconds {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(9000*math.Sin(float64(i)*440*2*math.Pi/rate))))
	}
	require.NoError(t, os.WriteFile(file, b, 0o600))
}

// baresip starts a phone that speaks PCMU from a file.
func baresip(t *testing.T, listen, account string, args ...string) *program {
	t.Helper()
	dir := t.TempDir()
	tone(t, filepath.Join(dir, "tone.wav"), 20)
	config := []string{
		"sip_listen " + listen, "module_path /usr/lib/baresip/modules", "module g711.so", "module aufile.so", "module_app account.so", "module_app menu.so",
		"audio_source aufile," + dir + "/tone.wav", "audio_player aufile," + dir + "/heard.wav", "audio_alert aufile," + dir + "/alert.wav", "",
	}
	for name, text := range map[string]string{"config": strings.Join(config, "\n"), "accounts": account + "\n", "contacts": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return run(t, "baresip", append([]string{"-f", dir}, args...)...)
}

// Two phones call each other through Kamailio, which sends its signalling by
// siptrace, and rtpengine, which sends the RTCP it relays with --homer: the two
// agents' reports meet in one call.
func TestKamailioAndRTPEngineMeetInOneCall(t *testing.T) {
	u := StartUp(t)
	hep := u.Run.Ingest["hep"]
	proxy, control, alice, bob := udpPort(t), udpPort(t), udpPort(t), udpPort(t)

	engine := run(t, "rtpengine", "--table=-1", "--interface=127.0.0.1", "--listen-ng="+control, "--homer="+hep, "--homer-protocol=udp", "--homer-id=2002",
		"--foreground", "--log-stderr", "--port-min=32000", "--port-max=32500")
	listens(t, control, engine)
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, tracedKamailio+relayingKamailio, proxy, hep, 2001, control, bob), 0o600))
	listens(t, proxy, run(t, "kamailio", "-f", config, "-DD", "-E", "-Y", dir, "-P", filepath.Join(dir, "pid")))
	listens(t, bob, baresip(t, bob, fmt.Sprintf("<sip:bob@%s>;regint=0;answermode=auto", bob), "-t", "60"))
	// Baresip sends RTCP every five seconds.
	baresip(t, alice, fmt.Sprintf(`<sip:alice@%s>;outbound="sip:%s";regint=0`, alice, proxy), "-e", "/dial sip:bob@"+proxy, "-t", "12")

	var call query.Call
	Eventually(t, 60*time.Second, "the call has its final verdict", func() error {
		var calls query.List[query.Call]
		if err := u.Get(company+"/calls", &calls); err != nil {
			return err
		}
		if len(calls.Items) != 1 {
			return fmt.Errorf("%d calls, want 1", len(calls.Items))
		}
		if err := u.Get(company+"/calls/"+calls.Items[0].ID, &call); err != nil {
			return err
		}
		if !call.Verdict.Final {
			return fmt.Errorf("state %s, verdict not final", call.State)
		}
		return nil
	})
	require.Equal(t, "ended", call.State)
	require.Equal(t, "none", call.Verdict.OneWayAudio.State)
	require.NotNil(t, call.Verdict.Loss.Percent)
	require.Zero(t, *call.Verdict.Loss.Percent)
	kinds := map[string]int{}
	for _, s := range call.Verdict.Sources {
		kinds[s.Kind] += int(s.Samples)
	}
	require.Positive(t, kinds["rtcp"], "what rtpengine sent is in the call of Kamailio's: %v", kinds)
	codecs := map[string]bool{}
	for _, leg := range call.Legs {
		codecs[leg.Codec] = true
	}
	require.True(t, codecs["PCMU"], "%+v", call.Legs)

	var messages query.List[query.Message]
	require.NoError(t, u.Get(company+"/calls/"+call.ID+"/messages", &messages))
	invites := 0
	for _, m := range messages.Items {
		if m.Method == "INVITE" && m.Status == 0 {
			invites++
		}
	}
	require.Equal(t, 2, invites, "the proxy's both sides are on the ladder")
	var accounts query.List[query.IngestAccount]
	Eventually(t, 30*time.Second, "both agents are in the accounts, whole", func() error {
		if err := u.Get(company+"/ingest", &accounts); err != nil {
			return err
		}
		agents := map[string]bool{}
		for _, a := range accounts.Items {
			if a.Listener == "hep_udp" {
				agents[a.Agent] = a.Received > 0 && a.Received == a.Produced+a.Rejected+a.Dropped
			}
		}
		if !agents["2001"] || !agents["2002"] {
			return fmt.Errorf("%+v", accounts.Items)
		}
		return nil
	})
}
