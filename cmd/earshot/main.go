// Command earshot is the whole of Earshot: every role, the embedded engines,
// imports, the demo and the tools of an operator.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/directory"
)

// version is set by the linker.
var version = "dev"

func main() {
	// The first signal drains; a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "earshot:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "earshot",
		Short:         "Telemetry pipeline and support portal for business telephony",
		SilenceUsage:  true,
		SilenceErrors: true,
		// What a command changes in the directory is written down as its own.
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			cmd.SetContext(directory.WithActor(cmd.Context(), directory.Actor{Kind: "system", ID: "earshot", Name: cmd.CommandPath()}))
		},
	}
	cmd.PersistentFlags().String("config", "", "YAML file with settings (default: earshot.yaml, where it exists)")
	addSettings(cmd.PersistentFlags())
	cmd.AddCommand(
		upCommand(), ingestCommand(), processCommand(), sinkCommand(), apiCommand(),
		importCommand(), replayCommand(), demoCommand(), migrateCommand(), keysCommand(), usersCommand(), configCommand(), rulesCommand(), doctorCommand(),
		engineCommand(), versionCommand(),
	)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "earshot", version)
			return err
		},
	}
}
