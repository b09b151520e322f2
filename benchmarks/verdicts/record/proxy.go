package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

// Proxy is a Kamailio in the middle, with an rtpengine that carries the media.
type Proxy struct {
	// Hiding gives the second leg another Call-ID, as a back-to-back user agent
	// does (Kamailio's topoh).
	Hiding bool
	// Flags are more flags for rtpengine's offers and answers.
	Flags string
}

// Made names the programs.
func (*Proxy) Made() []string { return []string{"Kamailio 5.6.3", "rtpengine 10.5.3"} }

const rtpengineControl = "127.0.0.1:2223"

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
%[3]s
request_route {
  if (is_method("PUBLISH")) { sl_send_reply("200", "OK"); exit; } # quality reports (RFC 6035)
  if (is_method("CANCEL")) { t_relay(); exit; }
  if (has_totag()) {
    if (!loose_route() && !is_method("ACK")) { sl_send_reply("404", "Not here"); exit; }
    if (is_method("BYE")) rtpengine_delete();
    if (is_method("INVITE")) { rtpengine_offer("replace-origin trust-address %[4]s"); t_on_reply("answer"); }
    t_relay();
    exit;
  }
  record_route();
  if (is_method("INVITE")) { rtpengine_offer("replace-origin trust-address %[4]s"); t_on_reply("answer"); }
  $du = "sip:%[5]s:5060";
  t_relay();
}
onreply_route[answer] {
  if (has_body("application/sdp")) rtpengine_answer("replace-origin trust-address %[4]s");
}
`

const hiding = `loadmodule "topoh.so"
modparam("topoh", "mask_key", "earshot")
modparam("topoh", "mask_ip", "10.66.0.9")
modparam("topoh", "mask_callid", 1)`

// server is both programs.
type server struct{ programs []*program }

// Start runs both in the namespace in the middle.
func (p *Proxy) Start(on *path.Path, dir string) (running, error) {
	s := &server{}
	fail := func(err error) (running, error) {
		s.Stop()
		return nil, fmt.Errorf("cannot start the server: %w", err)
	}
	run := func(name, listens string, args ...string) error {
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		one, err := start(on.Command(path.Server, name, args...), own)
		if err != nil {
			return err
		}
		s.programs = append(s.programs, one)
		return ready(on, path.Server, listens)
	}
	err := run("rtpengine", rtpengineControl, "--table=-1", "--interface="+path.AddressServer, "--listen-ng="+rtpengineControl,
		"--foreground", "--log-stderr", "--port-min=32000", "--port-max=32500", "--num-threads=2")
	if err != nil {
		return fail(err)
	}
	more := ""
	if p.Hiding {
		more = hiding
	}
	config := filepath.Join(dir, "kamailio.cfg")
	text := fmt.Appendf(nil, kamailioConfig, path.AddressServer, rtpengineControl, more, p.Flags, path.AddressB)
	if err := os.WriteFile(config, text, 0o644); err != nil {
		return fail(err)
	}
	if err := run("kamailio", path.AddressServer+":5060", "-f", config, "-DD", "-E", "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "32", "-M", "8"); err != nil {
		return fail(err)
	}
	return s, nil
}

func (s *server) Dial(string) error { return nil }
func (s *server) Do(string) error   { return nil }
func (s *server) Hangup() error     { return nil }
func (s *server) Stop() {
	for _, p := range s.programs {
		p.Stop()
	}
}
