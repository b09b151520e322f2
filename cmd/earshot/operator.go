package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/demo"
	"github.com/earshot/earshot/sinks/clickhouse"
)

func demoCommand() *cobra.Command {
	var cfg demo.Config
	cmd := &cobra.Command{
		Use: "demo", Short: "Make live traffic with known faults against a running Earshot", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			run, err := runningUp(s.Data)
			if err != nil {
				return err
			}
			key, err := adminKey(s.Data)
			if err != nil {
				return err
			}
			cfg.URL, cfg.Key = "http://"+reachable(run.API), key
			cfg.HEP, cfg.SIP = reachable(run.Ingest["hep"]), reachable(run.Ingest["sip"])
			return demo.Run(cmd.Context(), cfg, s.logger(cmd))
		},
	}
	cmd.Flags().StringVar(&cfg.Company, "company", directory.DefaultCompany, "company that gets the calls")
	cmd.Flags().IntVar(&cfg.Parallel, "parallel", 5, "calls with media at once")
	cmd.Flags().IntVar(&cfg.Rounds, "rounds", 0, "end after each scenario ran that often; 0: go on")
	return cmd
}

// runningUp finds the `up` on a data directory.
func runningUp(data string) (engines.Run, error) {
	run, err := engines.ReadRun(data)
	if err != nil {
		return run, err
	}
	if !run.Alive {
		return run, fmt.Errorf("%w (%s): start `earshot up`", engines.ErrNotRunning, data)
	}
	return run, nil
}

func adminKey(data string) (string, error) {
	key, err := os.ReadFile(filepath.Join(data, directory.AdminKeyFile))
	if err != nil {
		return "", fmt.Errorf("cannot read the operator's API key: %w", err)
	}
	return strings.TrimSpace(string(key)), nil
}

func migrateCommand() *cobra.Command {
	var status bool
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the schemas of ClickHouse and the directory up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			if err := s.findEngines(); err != nil {
				return err
			}
			d, err := directory.Connect(cmd.Context(), s.Directory, s.Data)
			if err != nil {
				return err
			}
			defer d.Close()
			if !status {
				if err := errors.Join(clickhouse.Migrate(cmd.Context(), s.ClickHouse), d.Migrate(cmd.Context())); err != nil {
					return err
				}
			}
			return printMigrations(cmd, s, d)
		},
	}
	cmd.Flags().BoolVar(&status, "status", false, "only show what was applied and what is due")
	return cmd
}

func printMigrations(cmd *cobra.Command, s *settings, d *directory.Directory) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STORE\tMIGRATION\tAPPLIED")
	store, err := clickhouse.Status(cmd.Context(), s.ClickHouse)
	if err != nil {
		return err
	}
	for _, m := range store {
		fmt.Fprintf(w, "clickhouse\t%s\t%s\n", m.Name, applied(m.AppliedAt))
	}
	own, err := d.Migrations(cmd.Context())
	if err != nil {
		return err
	}
	for _, m := range own {
		fmt.Fprintf(w, "directory\t%s\t%s\n", m.Name, applied(m.Applied))
	}
	return w.Flush()
}

func applied(at time.Time) string {
	if at.IsZero() {
		return "due"
	}
	return at.UTC().Format(time.RFC3339)
}

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "API keys and sign-in links"}
	withDirectory := func(run func(ctx context.Context, cmd *cobra.Command, s *settings, d *directory.Directory, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			d, err := directory.Connect(cmd.Context(), s.Directory, s.Data)
			if err != nil {
				return err
			}
			defer d.Close()
			return run(cmd.Context(), cmd, s, d, args)
		}
	}
	var name, role, company string
	create := &cobra.Command{
		Use: "create", Short: "Create a key and print it, once", Args: cobra.NoArgs,
		RunE: withDirectory(func(ctx context.Context, cmd *cobra.Command, _ *settings, d *directory.Directory, _ []string) error {
			plain, _, err := d.CreateKey(ctx, name, role, company)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), plain)
			return err
		}),
	}
	signin := &cobra.Command{
		Use: "signin", Short: "Print a link that signs a browser in, once", Args: cobra.NoArgs,
		RunE: withDirectory(func(ctx context.Context, cmd *cobra.Command, s *settings, d *directory.Directory, _ []string) error {
			token, err := d.CreateSigninToken(ctx, name, role, company, signinTime)
			if err != nil {
				return err
			}
			base := s.API.PublicURL
			if base == "" {
				base = "http://" + reachable(s.API.Listen)
				if run, err := runningUp(s.Data); err == nil && run.API != "" {
					base = "http://" + reachable(run.API)
				}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimRight(base, "/")+"/signin?token="+token)
			return err
		}),
	}
	for c, roles := range map[*cobra.Command]string{
		create: "operator; company; or ingest, which may bring telemetry and nothing else: for web pages",
		signin: "operator or company",
	} {
		c.Flags().StringVar(&name, "name", "operator", "whose it is; stands in the audit")
		c.Flags().StringVar(&role, "role", directory.RoleOperator, roles)
		c.Flags().StringVar(&company, "company", "", "company of a role other than operator")
	}
	cmd.AddCommand(create, signin,
		&cobra.Command{
			Use: "list", Short: "List the keys", Args: cobra.NoArgs,
			RunE: withDirectory(func(ctx context.Context, cmd *cobra.Command, _ *settings, d *directory.Directory, _ []string) error {
				keys, err := d.Keys(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tPREFIX\tNAME\tROLE\tCOMPANY\tCREATED\tLAST USED\tREVOKED")
				for _, k := range keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, k.Name, k.Role, k.Company, when(k.CreatedAt), when(k.UsedAt), when(k.RevokedAt))
				}
				return w.Flush()
			}),
		},
		&cobra.Command{
			Use: "revoke KEY", Short: "Revoke a key, named by id or prefix", Args: cobra.ExactArgs(1),
			RunE: withDirectory(func(ctx context.Context, cmd *cobra.Command, _ *settings, d *directory.Directory, args []string) error {
				k, err := d.RevokeKey(ctx, args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s (%s)\n", k.ID, k.Name)
				return err
			}),
		})
	return cmd
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// freePort says whether an address can be listened on, over TCP and UDP.
func freePort(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return u.Close()
}
