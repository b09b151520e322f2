package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// gateway is what stands between a page and a phone: Kamailio and rtpengine in
// the middle, baresip at b.
type gateway struct {
	path     *path.Path
	folder   string
	programs []*exec.Cmd
}

const rtpengineControl = "127.0.0.1:2223"

// Towards the phone plain RTP, towards the page what browsers insist on.
// rtpengine begins DTLS: a large ClientHello of a browser, in two fragments, is
// what its OpenSSL does not always take.
const kamailioConfig = `#!KAMAILIO
log_stderror=yes
children=1
auto_aliases=no
listen=udp:%[1]s:5060
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:%[2]s")
request_route {
  if (has_totag()) {
    if (!loose_route() && !is_method("ACK")) { sl_send_reply("404", "Not here"); exit; }
    if (is_method("BYE")) rtpengine_delete();
    t_relay();
    exit;
  }
  record_route();
  if (is_method("INVITE")) { rtpengine_offer("replace-origin RTP/AVP ICE=remove DTLS=off SDES-off rtcp-mux-demux"); t_on_reply("answer"); }
  $du = "sip:%[3]s:5060";
  t_relay();
}
onreply_route[answer] {
  if (has_body("application/sdp")) rtpengine_answer("replace-origin ICE=force SDES-off rtcp-mux-accept generate-mid");
}
`

const baresipConfig = `sip_listen %[1]s:5060
module_path /usr/lib/baresip/modules
module g711.so
module opus.so
module aufile.so
module_app account.so
module_app menu.so
audio_source aufile,%[2]s
audio_player aufile,%[3]s/heard.wav
audio_alert aufile,%[3]s/alert.wav
`

// startGateway runs all three.
func startGateway(p *path.Path, s *scenario) (*gateway, error) {
	folder, err := os.MkdirTemp("", "gateway")
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder: %w", err)
	}
	g := &gateway{path: p, folder: folder}
	if err := g.start(s); err != nil {
		g.stop()
		return nil, fmt.Errorf("cannot start the gateway: %w", err)
	}
	return g, nil
}

func (g *gateway) start(s *scenario) error {
	// Baresip resamples no file.
	rate, channels := "8000", "1"
	if s.codecs[0] == "opus" {
		rate, channels = "48000", "2"
	}
	wav := filepath.Join(g.folder, "speech.wav")
	if out, err := exec.Command("sox", s.microphones["b"], "-r", rate, "-c", channels, wav).CombinedOutput(); err != nil {
		return fmt.Errorf("sox: %w: %s", err, out)
	}
	for name, text := range map[string]string{
		"kamailio.cfg": fmt.Sprintf(kamailioConfig, path.AddressServer, rtpengineControl, path.AddressB),
		"config":       fmt.Sprintf(baresipConfig, path.AddressB, wav, g.folder),
		"accounts":     fmt.Sprintf("<sip:bob@%s>;regint=0;answermode=auto;ptime=20\n", path.AddressB),
		"contacts":     "",
	} {
		if err := os.WriteFile(filepath.Join(g.folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	err := g.run(path.Server, rtpengineControl, "rtpengine", "--table=-1", "--interface="+path.AddressServer, "--listen-ng="+rtpengineControl,
		"--foreground", "--log-stderr", "--port-min=32000", "--port-max=32500", "--num-threads=2")
	if err != nil {
		return err
	}
	err = g.run(path.Server, path.AddressServer+":5060", "kamailio", "-f", filepath.Join(g.folder, "kamailio.cfg"), "-DD", "-E",
		"-Y", g.folder, "-P", filepath.Join(g.folder, "pid"), "-m", "32", "-M", "8")
	if err != nil {
		return err
	}
	return g.run(path.B, path.AddressB+":5060", "baresip", "-f", g.folder)
}

// run starts a program in a namespace and waits until it listens.
func (g *gateway) run(node path.Node, listens, name string, args ...string) error {
	out, err := os.Create(filepath.Join(g.folder, name+".log"))
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own
	cmd := g.path.Command(node, name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	g.programs = append(g.programs, cmd)
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		err := g.path.In(node, func() error {
			conn, err := net.ListenPacket("udp4", listens)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil
		}
	}
	return fmt.Errorf("%s does not listen on %s: %s", name, listens, g.told())
}

// told is what the programs wrote.
func (g *gateway) told() (all string) {
	logs, _ := filepath.Glob(filepath.Join(g.folder, "*.log")) // the pattern is right
	for _, log := range logs {
		text, _ := os.ReadFile(log) // what there is of it
		all += string(text)
	}
	return all
}

func (g *gateway) stop() {
	for _, cmd := range g.programs {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()                                      // says that it was killed
	}
	os.RemoveAll(g.folder)
}

// playGateway has a page call the phone.
func (c *call) playGateway(ctx context.Context) error {
	g, err := startGateway(c.path, c.scenario)
	if err != nil {
		return err
	}
	defer g.stop()
	if err := c.prepare("a"); err != nil {
		return err
	}
	if err := hurry(c.path.Namespace(path.A)); err != nil {
		return err
	}
	a := c.phones["a"]
	var offer string
	if err := a.do(&offer, "offer"); err != nil {
		return err
	}
	err = c.invite(a, "invite", map[string]string{"peer": path.AddressB, "proxy": path.AddressServer, "name": "bob", "callID": c.scenario.name, "sdp": offer})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, g.told())
	}
	if err := a.do(nil, "connected"); err != nil {
		return fmt.Errorf("%w\n%s", err, g.told())
	}
	if err := c.script(ctx, c.path.Zero()); err != nil {
		return err
	}
	return c.hangup()
}
