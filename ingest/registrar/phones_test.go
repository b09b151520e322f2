package registrar

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/telemetry"
)

// Real phones against the registrar, on every transport they have and with
// every algorithm they know.

// program is one that runs.
type program struct {
	input  io.Writer
	output string // a file
}

// says waits until a program has said something.
func (s *site) says(p program, text string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		said, err := os.ReadFile(p.output)
		if err == nil && strings.Contains(string(said), text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("nothing of %q was said", text)
		}
	}
}

// run starts a program in a directory of its own and ends it with the test.
func (s *site) run(name string, files map[string]string, args ...string) program {
	s.t.Helper()
	dir := s.t.TempDir()
	for file, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// linphonec ends when its input does.
	input, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		input.Close()
		out.Close()
		if said, err := os.ReadFile(out.Name()); err == nil && s.t.Failed() {
			s.t.Logf("%s said:\n%s", name, said)
		}
	})
	return program{input, out.Name()}
}

func (s *site) port(transport string) int {
	l := s.Listeners()
	switch transport {
	case "tls":
		return l.TLS.Addr().(*net.TCPAddr).Port
	case "tcp":
		return l.TCP.Addr().(*net.TCPAddr).Port
	}
	return l.UDP.LocalAddr().(*net.UDPAddr).Port
}

// baresip registers alice with outbound.
func (s *site) baresip(transport, secret string) {
	s.t.Helper()
	account := fmt.Sprintf("<sip:alice@example.test;transport=%s>;auth_user=alice;auth_pass=%s;outbound=\"sip:127.0.0.1:%d;transport=%[1]s\";regint=60;sipnat=outbound\n",
		transport, secret, s.port(transport))
	s.run("baresip", map[string]string{
		"accounts": account, "contacts": "",
		"config": "sip_listen 127.0.0.1:0\nsip_verify_server no\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule stun.so\nmodule uuid.so\nmodule_app account.so\nmodule_app menu.so\n",
	}, "-f", ".", "-t", "120")
}

// linphone registers alice.
func (s *site) linphone(transport, secret string) { s.linphoneWith(transport, secret, "") }

func (s *site) linphoneWith(transport, secret, settings string) program {
	s.t.Helper()
	return s.run("linphonec", map[string]string{".local/share/linphone/of": "its database", "rc": fmt.Sprintf(`[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
verify_server_certs=0
verify_server_cn=0
default_proxy=0
[sound]
playback_dev_id=none
[auth_info_0]
username=alice
passwd=%s
realm=earshot
[proxy_0]
reg_proxy=<sip:127.0.0.1:%d;transport=%s>
reg_identity=sip:alice@example.test
reg_expires=60
reg_sendregister=1
%s
`, secret, s.port(transport), transport, settings)}, "-c", "rc")
}

// outcome waits for the answer to credentials.
func (s *site) outcome() (answered *telemetry.SIPMessage, asked string) {
	s.t.Helper()
	s.wait("the phone's credentials are answered", func(seen []Message) bool {
		for _, m := range seen {
			p, err := sip.Parse(m.Raw)
			if err != nil || p.Method != "REGISTER" {
				continue
			}
			if p.Status == 0 && p.HasCredentials {
				asked = string(m.Raw)
			}
			if asked != "" && p.Status != 0 && p.Status != 401 {
				answered = p
				return true
			}
		}
		return false
	})
	return answered, asked
}

func phoneSettings(algorithms ...string) Config {
	cfg := settings(nil)
	cfg.Algorithms = algorithms
	cfg.Credentials = book{"alice@example.test": {credential("alice", "earshot", "therightone")}}
	return cfg
}

func TestPhones(t *testing.T) {
	for _, c := range []struct {
		name, transport string
		algorithms      []string
		phone           func(s *site, transport, secret string)
		uses            string // the algorithm in its credentials
		flows           bool
	}{
		{"baresip, UDP", "udp", []string{MD5}, (*site).baresip, MD5, true},
		{"baresip, TCP", "tcp", []string{MD5}, (*site).baresip, MD5, true},
		{"baresip, TLS", "tls", []string{MD5}, (*site).baresip, MD5, true},
		{"linphone, TCP, both", "tcp", []string{SHA256, MD5}, (*site).linphone, SHA256, false},
		{"linphone, TLS", "tls", []string{SHA256}, (*site).linphone, SHA256, false},
		{"linphone, UDP", "udp", []string{MD5}, (*site).linphone, MD5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, phoneSettings(c.algorithms...))
			c.phone(s, c.transport, "therightone")
			got, asked := s.outcome()
			if got.Status != 200 || s.Registered() != 1 {
				t.Fatalf("%d, asked:\n%s", got.Status, asked)
			}
			// Who names none means MD5.
			if strong := strings.Contains(asked, "algorithm=SHA-256"); strong != (c.uses == SHA256) {
				t.Errorf("credentials of another algorithm:\n%s", asked)
			}
			if flows := strings.Contains(string(got.Raw), "Require: outbound"); flows != c.flows {
				t.Errorf("%s", got.Raw)
			}
			for _, m := range s.wait("", func([]Message) bool { return true }) {
				if m.Transport != c.transport || m.Err != nil {
					t.Errorf("%+v", m)
				}
			}
		})
		t.Run(c.name+", wrong secret", func(t *testing.T) {
			t.Parallel()
			s := serve(t, phoneSettings(c.algorithms...))
			c.phone(s, c.transport, "thewrongone")
			if got, asked := s.outcome(); got.Status != 403 || s.Registered() != 0 {
				t.Fatalf("%d, asked:\n%s", got.Status, asked)
			}
		})
	}
}

// sipp runs a scenario against the UDP socket to its end.
func (s *site) sipp(scenario string, args ...string) error {
	s.t.Helper()
	file, err := filepath.Abs(filepath.Join("testdata", "sipp", scenario))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("sipp", append([]string{fmt.Sprintf("127.0.0.1:%d", s.port("udp")), "-sf", file, "-nostdin", "-timeout", "20s", "-timeout_error"}, args...)...)
	cmd.Dir = s.t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("sipp: %w\n%s", err, out)
	}
	return nil
}

// A nonce that has expired is replaced without asking for the password.
func TestExpiredNonce(t *testing.T) {
	t.Parallel()
	cfg := phoneSettings(MD5)
	cfg.NonceFor = time.Second
	s := serve(t, cfg)
	if err := s.sipp("stale.xml", "-i", "127.0.0.1", "-m", "1"); err != nil {
		t.Error(err)
	}
	if n := count(t, s.metrics.authentications.WithLabelValues("stale")); n != 1 || s.Registered() != 0 {
		t.Errorf("%v expired nonces counted, %d bindings", n, s.Registered())
	}
}

// What a phone has sent is no use to who has overheard it.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := serve(t, phoneSettings(MD5))
	s.baresip("udp", "therightone")
	_, asked := s.outcome()
	stolen := strings.NewReplacer("branch=z9hG4bK", "branch=z9hG4bKstolen", "Call-ID: ", "Call-ID: stolen").Replace(asked)
	conn := s.dial("udp")
	if _, err := io.WriteString(conn, stolen); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 2000)
	n, err := conn.Read(buffer)
	if err != nil || !strings.HasPrefix(string(buffer[:n]), "SIP/2.0 401 ") || !strings.Contains(string(buffer[:n]), "stale=true") {
		t.Errorf("%v\n%s", err, buffer[:n])
	}
	if n := count(t, s.metrics.authentications.WithLabelValues("replayed")); n != 1 {
		t.Errorf("%v replays counted", n)
	}
}

// While one address floods, phones at others register as ever.
func TestFloodLeavesPhonesAlone(t *testing.T) {
	t.Parallel()
	cfg := phoneSettings(MD5)
	cfg.Rate, cfg.Burst = 50, 100
	s := serve(t, cfg)
	ended := make(chan error, 1)
	go func() {
		ended <- s.sipp("options.xml", "-i", "127.0.0.3", "-r", "2000", "-m", "3000", "-nr")
	}()
	flooded := func(seen []Message) (taken, dropped int) {
		for _, m := range seen {
			switch {
			case m.Src.Addr().String() != "127.0.0.3":
			case m.Err == ErrRate:
				dropped++
			default:
				taken++
			}
		}
		return taken, dropped
	}
	s.wait("the flood is dropped", func(seen []Message) bool { _, dropped := flooded(seen); return dropped > 100 })
	s.baresip("udp", "therightone")
	if got, asked := s.outcome(); got.Status != 200 {
		t.Errorf("%d, asked:\n%s", got.Status, asked)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	taken, dropped := flooded(s.wait("", func([]Message) bool { return true }))
	if taken >= dropped || taken < cfg.Burst {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
}

// A phone that has credentials reports the quality of a call when it is over.
func TestQualityReport(t *testing.T) {
	t.Parallel()
	s := serve(t, phoneSettings(MD5))
	// Bob is at another address: to one of Earshot's, linphone sends by way of Earshot.
	at, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	bob := at.LocalAddr().String()
	at.Close()
	s.run("baresip", map[string]string{
		"accounts": "<sip:bob@127.0.0.2>;regint=0;answermode=auto\n", "contacts": "",
		"config": "sip_listen " + bob + "\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\naudio_source aubridge,x\naudio_player aubridge,x\naudio_alert aubridge,y\nmodule_app account.so\nmodule_app menu.so\n",
	}, "-f", ".", "-t", "120")
	alice := s.linphoneWith("udp", "therightone", fmt.Sprintf("quality_reporting_enabled=1\nquality_reporting_collector=sip:collector@127.0.0.1:%d\nquality_reporting_interval=0", s.port("udp")))
	if got, asked := s.outcome(); got.Status != 200 {
		t.Fatalf("%d, asked:\n%s", got.Status, asked)
	}
	tell := func(command string) {
		t.Helper()
		if _, err := io.WriteString(alice.input, command+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	tell("soundcard use files")
	tell("call sip:bob@" + bob)
	s.says(alice, "Media streams established")
	tell("terminate")
	var report, answered *telemetry.SIPMessage
	s.wait("the report is answered", func(seen []Message) bool {
		for _, m := range seen {
			p, err := sip.Parse(m.Raw)
			if err != nil || p.Method != "PUBLISH" {
				continue
			}
			if p.Status == 0 {
				report = p
			} else {
				answered = p
			}
		}
		return answered != nil
	})
	vq, err := sip.ParseVQ(sip.Body(report.Raw, sip.MediaVQ))
	if err != nil || vq.CallId == "" || vq.Local == nil || answered.Status != 200 || !strings.Contains(string(answered.Raw), "SIP-ETag: ") {
		t.Errorf("%v: %v\n%s", err, vq, answered.Raw)
	}
}
