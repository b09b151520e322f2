package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/earshot/earshot/api"
	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/internal/config"
	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/sinks/webhook"
)

// settings are all that can be configured; see `earshot config dump`.
type settings struct {
	Data       string            `koanf:"data" doc:"directory of everything that up keeps"`
	Log        logSettings       `koanf:"log"`
	Admin      adminSettings     `koanf:"admin"`
	Engines    engineSettings    `koanf:"engines"`
	API        api.Config        `koanf:"api"`
	Ingest     ingest.Config     `koanf:"ingest"`
	Tenancy    tenancySettings   `koanf:"tenancy"`
	Processors processors.Config `koanf:"processors"`
	Verdicts   verdictSettings   `koanf:"verdicts"`
	Kafka      bus.Config        `koanf:"kafka"`
	ClickHouse clickhouse.Config `koanf:"clickhouse"`
	Directory  directory.Config  `koanf:"directory"`
	Webhooks   webhook.Config    `koanf:"webhooks"`
}

type logSettings struct {
	Level  slog.Level `koanf:"level" doc:"debug, info, warn or error"`
	Format string     `koanf:"format" doc:"text or json"`
}

type adminSettings struct {
	Listen string `koanf:"listen" doc:"address of /metrics, /livez, /readyz and profiles"`
}

type engineSettings struct {
	Library string `koanf:"library" doc:"path of libchdb; empty: where make engines puts it"`
}

type tenancySettings struct {
	Rules ingest.TenancyRules `koanf:"rules" doc:"which traffic belongs to which company; the rest belongs to default"`
}

func defaultSettings() *settings {
	return &settings{
		Data:       "./earshot-data",
		Log:        logSettings{Level: slog.LevelInfo, Format: "text"},
		Admin:      adminSettings{Listen: "127.0.0.1:8081"},
		API:        api.DefaultConfig(),
		Ingest:     ingest.DefaultConfig(),
		Processors: processors.DefaultConfig(),
		Kafka:      bus.DefaultConfig(),
		ClickHouse: clickhouse.DefaultConfig(),
		Directory:  directory.DefaultConfig(),
		Webhooks:   webhook.DefaultConfig(),
	}
}

// notSettings are environment variables that begin like settings and are none.
var notSettings = []string{"FAILPOINT", "LIBCHDB", "URL", "SIGNIN"}

// everyday are the flags that --help shows; the others work too and stand in
// `earshot config dump`.
var everyday = []string{
	"config", "help", "data", "log.level", "api.listen", "admin.listen", "ingest.hep.listen", "ingest.rtcp.listen",
	"ingest.sip.listen", "kafka.brokers", "clickhouse.addr", "directory.dsn",
}

func addSettings(flags *pflag.FlagSet) {
	config.AddFlags(flags, defaultSettings())
	flags.VisitAll(func(f *pflag.Flag) { f.Hidden = !slices.Contains(everyday, f.Name) })
}

// load reads the settings for a command.
func load(cmd *cobra.Command) (*settings, []config.Setting, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, nil, err
	}
	s := defaultSettings()
	all, err := config.Load(s, file, os.Environ(), cmd.Flags(), notSettings...)
	if err != nil {
		return nil, nil, err
	}
	if s.Log.Format != "text" && s.Log.Format != "json" {
		return nil, nil, fmt.Errorf("%w for log.format: want text or json", config.ErrBadValue)
	}
	if s.Processors.Instance == "" {
		// Stable over restarts, so that a process that was killed has its
		// partitions back at once.
		if s.Processors.Instance, err = os.Hostname(); err != nil {
			return nil, nil, fmt.Errorf("cannot name this instance after its host, set processors.instance: %w", err)
		}
	}
	return s, all, nil
}

func (s *settings) logger(cmd *cobra.Command) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.Log.Level}
	if s.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options))
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options))
}

// findEngines fills in the engines of an `up` that runs on the same data,
// where none are configured.
func (s *settings) findEngines() error {
	if len(s.Kafka.Brokers) > 0 && len(s.ClickHouse.Addr) > 0 {
		return nil
	}
	run, err := engines.ReadRun(s.Data)
	if err != nil || !run.Alive {
		return fmt.Errorf("kafka.brokers and clickhouse.addr are not both configured and no `earshot up` runs on %s", s.Data)
	}
	s.useStores(run)
	return nil
}

// useStores takes what is not configured from a running `up`.
func (s *settings) useStores(run engines.Run) {
	if len(s.Kafka.Brokers) == 0 {
		s.Kafka.Brokers = run.Brokers
	}
	if len(s.ClickHouse.Addr) == 0 {
		s.ClickHouse.Addr = run.ClickHouse
	}
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show the effective configuration"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Say whether the configuration is right", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				s, _, err := load(cmd)
				if err != nil {
					return err
				}
				if _, err := ingest.NewTenancy(s.Tenancy.Rules); err != nil {
					return err
				}
				if err := s.Ingest.SIP.Check(); err != nil {
					return err
				}
				if err := s.Webhooks.Check(); err != nil {
					return err
				}
				if _, err := quality.LoadRules(s.Verdicts.Rules); err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "The configuration is right.")
				return err
			},
		},
		&cobra.Command{
			Use: "dump", Short: "Show every setting, where its value came from and what it means", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, all, err := load(cmd)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "SETTING\tVALUE\tFROM\tMEANING")
				for _, s := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Key, s.Shown(), s.Source, s.Doc)
				}
				return w.Flush()
			},
		},
	)
	return cmd
}
