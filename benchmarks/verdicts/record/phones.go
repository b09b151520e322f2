package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// program is a child with its input, its output in a file.
type program struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

func start(cmd *exec.Cmd, dir string) (*program, error) {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &program{cmd, input}, nil
}

func (p *program) say(line string) error {
	_, err := io.WriteString(p.input, line+"\n")
	return err
}

func (p *program) Stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	_ = p.cmd.Wait()                                      // says that it was killed
}

// ready waits until somebody is bound to a UDP port of a node.
func ready(p *path.Path, node path.Node, address string) error {
	for began := time.Now(); time.Since(began) < startWithin; time.Sleep(50 * time.Millisecond) {
		err := p.In(node, func() error {
			conn, err := net.ListenPacket("udp4", address)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil
		}
	}
	return fmt.Errorf("nobody listens on %s", address)
}

// Baresip is a phone of baresip 1.0.0.
type Baresip struct {
	Account string  // more parameters of the account, each with its semicolon
	Config  string  // more lines of its configuration
	Silent  bool    // its microphone is dead
	PauseS  float64 // between phrases; 0: 0.4
	Manual  bool    // does not answer by itself
	// Unplugs lets it change to a source that gives nothing: "ausrc aubridge,nobody".
	Unplugs bool
}

// Made names the program.
func (Baresip) Made() string { return "baresip 1.0.0" }

type baresip struct {
	*program
	control net.Conn
}

var baresipCodecs = map[string]struct {
	name           string
	rate, channels int
}{"PCMA": {"PCMA/8000/1", 8000, 1}, "PCMU": {"PCMU/8000/1", 8000, 1}, "G722": {"G722/16000/1", 16000, 1}, "opus": {"opus/48000/2", 48000, 2}, "GSM": {"GSM/8000/1", 8000, 1}}

// Start runs it.
func (b Baresip) Start(s *set) (running, error) {
	c, ok := baresipCodecs[s.codec.name]
	if !ok {
		return nil, fmt.Errorf("baresip cannot do %s", s.codec.name)
	}
	loud, pause := 1.0, 0.4
	if b.Silent {
		loud = 0
	}
	if b.PauseS > 0 {
		pause = b.PauseS
	}
	wav := filepath.Join(s.dir, "speech.wav")
	if err := speech(wav, c.rate, c.channels, speechS, loud, pause, uint64(s.user[0])); err != nil {
		return nil, err
	}
	bridge, player := "", "aufile,"+s.dir+"/heard.wav"
	if b.Unplugs {
		bridge, player = "module aubridge.so\n", "aubridge,heard"
	}
	const control = "127.0.0.1:4444"
	config := "sip_listen " + s.address + ":5060\nmodule_path /usr/lib/baresip/modules\n" +
		"module g711.so\nmodule g722.so\nmodule opus.so\nmodule gsm.so\nmodule aufile.so\nmodule srtp.so\n" +
		"module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen " + control + "\n" +
		bridge + "audio_source aufile," + wav + "\naudio_player " + player + "\naudio_alert " + player + "\n" + b.Config + "\n"
	account := fmt.Sprintf("<sip:%s@%s>;regint=0;audio_codecs=%s;ptime=20", s.user, s.address, c.name)
	if s.proxy != "" {
		account += `;outbound="sip:` + s.proxy + `"`
	}
	if !b.Manual {
		account += ";answermode=auto"
	}
	for name, text := range map[string]string{"config": config, "accounts": account + b.Account + "\n", "contacts": ""} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	p, err := start(s.path.Command(s.node, "baresip", "-s", "-f", s.dir), s.dir)
	if err != nil {
		return nil, err
	}
	phone := &baresip{program: p}
	if err := ready(s.path, s.node, s.address+":5060"); err != nil {
		phone.Stop()
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if phone.control, err = s.path.Dial(s.node, "tcp4", control); err == nil {
			break
		}
		if time.Since(began) > startWithin {
			phone.Stop()
			return nil, fmt.Errorf("cannot control it: %w", err)
		}
	}
	go io.Copy(io.Discard, phone.control) // events, until it is stopped
	return phone, nil
}

func (b *baresip) Dial(to string) error { return b.Do("dial " + to) }
func (b *baresip) Hangup() error        { return b.Do("hangup") }

// Do sends a command of baresip's menu.
func (b *baresip) Do(command string) error {
	name, params, _ := strings.Cut(command, " ")
	text := fmt.Sprintf(`{"command":%q,"params":%q}`, name, params)
	_, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text)
	return err
}

func (b *baresip) Stop() {
	if b.control != nil {
		b.control.Close()
	}
	b.program.Stop()
}

// Linphone is a phone of linphonec 5.1.65.
type Linphone struct {
	Config map[string]string // sections and their lines
	Silent bool
	PauseS float64
	Fmtp   string // recv_fmtp of its codec
	Roams  bool   // uses whatever address its machine has
	Manual bool
}

// Made names the program.
func (Linphone) Made() string { return "linphonec 5.1.65" }

type linphone struct{ *program }

var linphoneCodecs = []struct {
	mime           string
	rate, channels int
}{
	{"opus", 48000, 2}, {"speex", 16000, 1}, {"speex", 8000, 1}, {"speex", 32000, 1}, {"PCMU", 8000, 1}, {"PCMA", 8000, 1}, {"GSM", 8000, 1}, {"G722", 8000, 1},
	{"G729", 8000, 1}, {"iLBC", 8000, 1}, {"G726-16", 8000, 1}, {"G726-24", 8000, 1}, {"G726-32", 8000, 1}, {"G726-40", 8000, 1}, {"L16", 44100, 1}, {"L16", 44100, 2},
	{"AAL2-G726-16", 8000, 1}, {"AAL2-G726-24", 8000, 1}, {"AAL2-G726-32", 8000, 1}, {"AAL2-G726-40", 8000, 1},
}

// Start runs it.
func (l Linphone) Start(s *set) (running, error) {
	loud, pause := 1.0, 0.4
	if l.Silent {
		loud = 0
	}
	if l.PauseS > 0 {
		pause = l.PauseS
	}
	if err := os.MkdirAll(filepath.Join(s.dir, ".local/share/linphone"), 0o755); err != nil { // where it wants its database
		return nil, err
	}
	wav := filepath.Join(s.dir, "speech.wav")
	if err := speech(wav, 16000, 1, speechS, loud, pause, uint64(s.user[0])); err != nil {
		return nil, err
	}
	sections := map[string]string{
		"sip": "sip_port=5060\nsip_tcp_port=0\nsip_tls_port=0\ncontact=sip:" + s.user + "@" + s.address + "\nguess_hostname=0\ndefault_proxy=-1\nverify_server_certs=0\nuse_ipv6=0\nbind_address=" + s.address + "\n",
		"rtp": "audio_rtp_port=17076\naudio_adaptive_jitt_comp_enabled=1\n", "video": "enabled=0\ncapture=0\ndisplay=0\n",
		"net": "mtu=1300\nfirewall_policy=0\nadaptive_rate_control=0\ndownload_bw=0\nupload_bw=0\n",
	}
	// Those that it is not told of it adds, and uses.
	for i, of := range linphoneCodecs {
		chosen := strings.EqualFold(of.mime, s.codec.name) && of.rate == s.codec.clockRate
		section := fmt.Sprintf("audio_codec_%d", i)
		sections[section] = fmt.Sprintf("mime=%s\nrate=%d\nchannels=%d\nenabled=%d\n", of.mime, of.rate, of.channels, map[bool]int{true: 1}[chosen])
		if chosen && l.Fmtp != "" {
			sections[section] += "recv_fmtp=" + l.Fmtp + "\n"
		}
	}
	if l.Roams {
		sections["sip"] = strings.Replace(sections["sip"], "bind_address="+s.address+"\n", "auto_net_state_mon=1\n", 1)
	}
	if s.proxy != "" {
		sections["proxy_0"] = fmt.Sprintf("reg_proxy=sip:%s\nreg_route=sip:%s;lr\nreg_identity=sip:%s@%s\nreg_sendregister=0\n", s.proxy, s.proxy, s.user, s.address)
		sections["sip"] = strings.Replace(sections["sip"], "default_proxy=-1", "default_proxy=0", 1)
	}
	for section, lines := range l.Config {
		sections[section] += lines
	}
	var text strings.Builder
	for section, lines := range sections {
		fmt.Fprintf(&text, "[%s]\n%s\n", section, lines)
	}
	config := filepath.Join(s.dir, "linphonerc")
	if err := os.WriteFile(config, []byte(text.String()), 0o644); err != nil {
		return nil, err
	}
	args := []string{"-c", config, "-d", "6", "-l", filepath.Join(s.dir, "log")}
	if !l.Manual {
		args = append(args, "-a")
	}
	p, err := start(s.path.Command(s.node, "linphonec", args...), s.dir)
	if err != nil {
		return nil, err
	}
	phone := &linphone{p}
	if err := ready(s.path, s.node, s.address+":5060"); err != nil {
		phone.Stop()
		return nil, err
	}
	for _, line := range []string{"soundcard use files", "play " + wav} {
		if err := phone.say(line); err != nil {
			phone.Stop()
			return nil, err
		}
	}
	time.Sleep(time.Second) // it has no way to say that it did
	return phone, nil
}

func (l *linphone) Dial(to string) error    { return l.say("call " + to) }
func (l *linphone) Hangup() error           { return l.say("terminate") }
func (l *linphone) Do(command string) error { return l.say(command) }
