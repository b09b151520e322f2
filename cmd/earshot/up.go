package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest"
)

// signinTime is how long the printed sign-in link works.
const signinTime = 24 * time.Hour

// allRoles in the order they start. They stop in the reverse: what brings
// telemetry before what takes it.
var allRoles = []string{"sink", "process", "ingest", "api"}

func upCommand() *cobra.Command {
	var withDemo bool
	var roles []string
	cmd := &cobra.Command{
		Use: "up", Short: "Run every role in one process, with embedded engines for what is not configured", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, role := range roles {
				if !slices.Contains(allRoles, role) && role != "none" {
					return fmt.Errorf("--roles: %q is none of %s, none", role, strings.Join(allRoles, ", "))
				}
			}
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			err = up(cmd, s, roles, withDemo)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // told to stop before all was there
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&withDemo, "demo", false, "make live demo traffic with known faults")
	cmd.Flags().StringSliceVar(&roles, "roles", allRoles, "roles to run beside the engines; none: only the engines")
	return cmd
}

func up(cmd *cobra.Command, s *settings, roles []string, withDemo bool) error {
	ctx, log := cmd.Context(), s.logger(cmd)
	say := func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) }

	// Ports first: a taken one should not cost the start of the engines.
	p, err := newProcess(s, log)
	if err != nil {
		return err
	}
	defer p.shutdown()

	if slices.Contains(roles, "api") {
		if _, err := p.listenAPI(); err != nil {
			return err
		}
	}
	say("Starting the engines in %s …", s.Data)
	set, err := engines.Start(ctx, engines.Config{
		Data: s.Data, ClickHouse: len(s.ClickHouse.Addr) == 0, Kafka: len(s.Kafka.Brokers) == 0,
		Library: s.Engines.Library, Log: log, Metrics: p.registry,
	})
	if err != nil {
		return err
	}
	p.start("engines", func(ctx context.Context) error { <-ctx.Done(); set.Stop(); return nil })
	go func() {
		select {
		case <-set.Failed():
			p.fail(set.Err())
		case <-ctx.Done():
		}
	}()
	if err := s.useEngines(set); err != nil {
		return err
	}
	for _, h := range set.Health() {
		name := h.Engine
		p.admin.Add("engine "+name, func(context.Context) error {
			for _, h := range set.Health() {
				if h.Engine == name && !h.Ready {
					return fmt.Errorf("%s is not ready: %s", name, h.Error)
				}
			}
			return nil
		})
	}
	p.waits = true
	if err := p.prepare(ctx); err != nil {
		return err
	}
	p.publishes = slices.Contains(roles, "ingest") || slices.Contains(roles, "api")
	p.eager = p.publishes
	ingestAddrs := map[string]string{}
	for _, role := range allRoles {
		if !slices.Contains(roles, role) {
			continue
		}
		switch role {
		case "ingest":
			err = p.startIngest(ctx)
			if err == nil {
				ingestAddrs = listening(p.ingest.Addrs())
			}
		case "process":
			err = p.startProcess()
		case "sink":
			err = p.startSink(ctx)
		case "api":
			err = p.startAPI(ctx)
		}
		if err != nil {
			return err
		}
	}
	if err := set.SetListeners(p.apiAddr, p.admin.Addr(), ingestAddrs); err != nil {
		return err
	}
	if p.apiAddr != "" {
		link, err := p.signinLink(ctx)
		if err != nil {
			return err
		}
		say("\nEarshot is ready. Open this link once to sign in (it works for %d hours):\n\n    %s\n", int(signinTime.Hours()), link)
	}
	for _, kind := range []string{"hep", "rtcp", "sip"} {
		if addr := ingestAddrs[kind]; addr != "" {
			say("    %-5s %s", strings.ToUpper(kind), addr)
		}
	}
	if p.apiAddr != "" {
		say("    HTTP  http://%s/ingest/v1/ (key in %s)\n", p.apiAddr, directory.AdminKeyFile)
	}
	if withDemo {
		p.start("demo", func(ctx context.Context) error { return runDemo(ctx, s, log) })
		say("Demo calls are running; the first ones show in a few seconds.")
	}
	err = p.wait(ctx)
	say("Stopping …")
	return err
}

// useEngines points the settings at the embedded engines.
func (s *settings) useEngines(set *engines.Set) error {
	if len(s.Kafka.Brokers) == 0 {
		s.Kafka.Brokers = []string{set.KafkaAddr()}
	}
	if len(s.ClickHouse.Addr) == 0 {
		s.ClickHouse.Addr = []string{set.ClickHouseAddr()}
	}
	return set.SetStores(s.Kafka.Brokers, s.ClickHouse.Addr)
}

func (p *process) signinLink(ctx context.Context) (string, error) {
	token, err := p.dir.CreateSigninToken(ctx, "operator", directory.RoleOperator, "", signinTime)
	if err != nil {
		return "", err
	}
	return p.publicURL() + "/signin?token=" + token, nil
}

// publicURL is where browsers find the portal.
func (p *process) publicURL() string {
	if p.s.API.PublicURL != "" {
		return strings.TrimRight(p.s.API.PublicURL, "/")
	}
	return "http://" + reachable(p.apiAddr)
}

// listening names the bound addresses as DATA/run.json does.
func listening(addrs ingest.Addrs) map[string]string {
	out := map[string]string{}
	for kind, addr := range map[string]net.Addr{
		"hep": addrs.HEPUDP, "rtcp": addrs.RTCP, "sip": addrs.SIPUDP, "sips": addrs.SIPTLS, "sip_ws": addrs.SIPWS, "sip_wss": addrs.SIPWSS,
	} {
		if addr != nil {
			out[kind] = addr.String()
		}
	}
	return out
}

// reachable gives an address one can dial for one that was listened on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// runDemo runs `earshot demo` as a process of its own: what makes traffic
// should not share a fate, or a memory figure, with what measures it.
func runDemo(ctx context.Context, s *settings, log interface{ Warn(string, ...any) }) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, self, "demo", "--data", s.Data, "--log.level", "warn")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 5 * time.Second
		if err := cmd.Run(); err != nil && ctx.Err() == nil {
			log.Warn("the demo ended; it starts again in a moment", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(3 * time.Second):
		}
	}
	return nil
}

// engineCommand is what `up` starts as a child; nobody types it.
func engineCommand() *cobra.Command {
	return &cobra.Command{
		Use: "engine", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			// The parent ends an engine by closing its standard input, so that
			// Ctrl-C in a terminal, which reaches the children too, does not
			// take the engines from under the roles.
			signal.Ignore(os.Interrupt)
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			if err := engines.Serve(ctx, args, os.Stdin); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
	}
}
