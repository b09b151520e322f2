package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/admin"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
)

// finding is one line of `earshot doctor`.
type finding struct {
	what string
	good string // what was found, where it is well
	err  error
	todo string // what to do about err
}

var errSick = errors.New("something needs attention")

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check configuration, engines, ports, clocks, disk and schema; say what to do", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return fmt.Errorf("the configuration is wrong: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			sick := false
			for _, f := range examine(ctx, s) {
				mark, text := "ok  ", f.good
				if f.err != nil {
					mark, text, sick = "FAIL", f.err.Error(), true
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %-14s %s\n", mark, f.what, text)
				if f.err != nil && f.todo != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "      %-14s → %s\n", "", f.todo)
				}
			}
			if sick {
				return errSick
			}
			return nil
		},
	}
}

func examine(ctx context.Context, s *settings) []finding {
	var all []finding
	add := func(what, good, todo string, err error) { all = append(all, finding{what, good, err, todo}) }

	free, err := engines.FreeBytes(s.Data)
	if err == nil && free < engines.DefaultMinFreeBytes {
		err = fmt.Errorf("only %d MiB are free for %s", free>>20, s.Data)
	}
	add("disk", fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), s.Data), "free some space, or point `data` elsewhere", err)

	rules, err := quality.LoadRules(s.Verdicts.Rules)
	if err == nil {
		add("rules", inForce(rules), "", nil)
	} else {
		add("rules", "", "`earshot rules check` says what is wrong; point verdicts.rules at a file that is right", err)
	}

	embedded := len(s.ClickHouse.Addr) == 0
	if embedded {
		library, err := engines.FindLibrary(s.Engines.Library)
		add("library", library, "run `make engines`, or set engines.library", err)
	}

	run, err := engines.ReadRun(s.Data)
	switch {
	case err == nil && run.Alive:
		add("earshot up", fmt.Sprintf("runs as process %d since %s", run.PID, run.StartedAt.Local().Format(time.DateTime)), "", nil)
		s.useStores(run)
		add(readiness(ctx, run.Admin))
	case err == nil || errors.Is(err, engines.ErrNotRunning):
		add("earshot up", "does not run on "+s.Data, "", nil)
		for _, port := range []struct{ setting, addr string }{
			{"api.listen", s.API.Listen}, {"admin.listen", s.Admin.Listen}, {"ingest.hep.listen", s.Ingest.HEP.Listen},
			{"ingest.rtcp.listen", s.Ingest.RTCP.Listen}, {"ingest.sip.listen", s.Ingest.SIP.Listen},
			{"ingest.sip.tls.listen", s.Ingest.SIP.TLS.Listen}, {"ingest.sip.ws.listen", s.Ingest.SIP.WebSocket.Listen},
			{"ingest.sip.wss.listen", s.Ingest.SIP.WebSocketTLS.Listen},
		} {
			if port.addr != "" {
				add("port", port.addr+" is free for "+port.setting, "end what listens there, or set "+port.setting, freePort(port.addr))
			}
		}
	default:
		add("earshot up", "", "", err)
	}

	if len(s.Kafka.Brokers) > 0 {
		err := bus.EnsureTopics(ctx, s.Kafka)
		add("kafka", fmt.Sprintf("%v answers and has the topics", s.Kafka.Brokers), "check kafka.brokers and that the brokers run", err)
	}
	if len(s.ClickHouse.Addr) > 0 {
		add(schema(ctx, s.ClickHouse))
		add(clock(ctx, s.ClickHouse))
	}
	d, err := directory.Connect(ctx, s.Directory, s.Data)
	if err == nil {
		defer d.Close()
		err = d.Ping(ctx)
	}
	add("directory", "answers", "check directory.dsn", err)
	if err == nil && len(s.ClickHouse.Addr) > 0 {
		all = append(all, agents(ctx, s.ClickHouse, d)...)
	}
	return all
}

// agents looks at what ingesters lost in the last hour: a finding for each
// agent that lost something, and one for all the others.
func agents(ctx context.Context, cfg clickhouse.Config, d *directory.Directory) (all []finding) {
	const what = "agents"
	sick := func(err error) []finding {
		return append(all, finding{what, "", err, "check clickhouse.addr and `earshot migrate --status`"})
	}
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		return sick(err)
	}
	defer conn.Close()
	store := query.New(conn, query.Options{})
	companies, _, err := d.Companies(ctx, "", directory.Page{Limit: 1000})
	if err != nil {
		return sick(err)
	}
	var well int
	var received, rejected uint64
	for _, c := range companies {
		accounts, err := store.Company(c.ID).Ingest(ctx, query.Time{}, query.Time{})
		if err != nil {
			return sick(err)
		}
		for _, a := range accounts {
			received, rejected = received+a.Received, rejected+a.Rejected
			if a.Lost() == 0 {
				well++
				continue
			}
			err := fmt.Errorf("%s on %s (company %s): %d of %d lost in the last hour, %d of them by the kernel%s",
				cmp.Or(a.Agent, "unknown agents"), a.Listener, c.ID, a.Lost(), a.Received+a.KernelDropped, a.KernelDropped, droppedBecause(a))
			all = append(all, finding{what, "", err, "see docs/operations.md, \"When packets are lost\""})
		}
	}
	good := fmt.Sprintf("%d received in the last hour from agents that lost nothing (%d), %d could not be used", received, well, rejected)
	if received == 0 {
		good = "nothing was received in the last hour"
	}
	return append(all, finding{what: what, good: good})
}

func droppedBecause(a query.IngestAccount) (text string) {
	for _, r := range a.Reasons {
		if r.Outcome == "dropped" {
			text += fmt.Sprintf(", %d %s", r.Count, r.Reason)
		}
	}
	return text
}

func readiness(ctx context.Context, addr string) (what, good, todo string, err error) {
	what, todo = "readiness", "look at the log of `earshot up`"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+"/readyz", nil)
	if err != nil {
		return what, "", todo, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return what, "", todo, fmt.Errorf("/readyz does not answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return what, "", todo, err
	}
	var answer struct {
		Ready        bool          `json:"ready"`
		Dependencies []admin.State `json:"dependencies"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return what, "", todo, fmt.Errorf("cannot read /readyz: %w", err)
	}
	for _, state := range answer.Dependencies {
		if !state.Ready {
			err = errors.Join(err, fmt.Errorf("%s: %s", state.Name, state.Error))
		}
	}
	return what, fmt.Sprintf("all %d dependencies are ready", len(answer.Dependencies)), todo, err
}

func schema(ctx context.Context, cfg clickhouse.Config) (what, good, todo string, err error) {
	what, todo = "schema", "run `earshot migrate`"
	migrations, err := clickhouse.Status(ctx, cfg)
	if err != nil {
		return what, "", "check clickhouse.addr and that ClickHouse runs", err
	}
	due := 0
	for _, m := range migrations {
		if m.AppliedAt.IsZero() {
			due++
		}
	}
	if due > 0 {
		err = fmt.Errorf("%d of %d migrations are due", due, len(migrations))
	}
	return what, fmt.Sprintf("all %d migrations are applied", len(migrations)), todo, err
}

// maxSkew is how far ClickHouse's clock may be off before answers about "now" are.
const maxSkew = 2 * time.Second

func clock(ctx context.Context, cfg clickhouse.Config) (what, good, todo string, err error) {
	what, todo = "clock", "synchronise the clocks of this host and of ClickHouse's (NTP)"
	cfg.Database = "default"
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		return what, "", todo, err
	}
	defer conn.Close()
	var there time.Time
	if err := conn.QueryRow(ctx, "SELECT now64(3)").Scan(&there); err != nil {
		return what, "", todo, err
	}
	skew := time.Since(there)
	if skew.Abs() > maxSkew {
		err = fmt.Errorf("ClickHouse's clock is off by %s", skew.Round(time.Millisecond))
	}
	return what, fmt.Sprintf("ClickHouse's clock agrees within %s", skew.Abs().Round(time.Millisecond)), todo, err
}
