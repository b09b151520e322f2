package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/directory"
)

func usersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "Users of a company"}
	cmd.AddCommand(importUsersCommand())
	return cmd
}

func importUsersCommand() *cobra.Command {
	var company, office string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Add the users of a CSV file, all or none", Args: cobra.ExactArgs(1),
		Long: `Add the users of a CSV file, all or none. The first row names the columns: name, and
any of email, id, state, office, departments, contact_centers, numbers, aors and
voicemail_greeting; several values of a cell are divided by semicolons.

It writes into the directory itself, whether an Earshot runs on it or not. Each row
that is wrong is named by line and column, and then nothing is stored. Killed in the
middle it leaves nothing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			file, err := readUsers(args[0])
			if err != nil {
				return err
			}
			d, err := directory.Connect(cmd.Context(), s.Directory, s.Data)
			if err != nil {
				return err
			}
			defer d.Close()
			begin := time.Now()
			err = d.ImportUsers(cmd.Context(), company, file, directory.ImportOptions{Office: office, DryRun: dryRun, Progress: showUsers(cmd)})
			return printImport(cmd, file, err, dryRun, time.Since(begin))
		},
	}
	cmd.Flags().StringVar(&company, "company", directory.DefaultCompany, "company that gets the users")
	cmd.Flags().StringVar(&office, "office", "", "id of the office of users whose row names none")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check everything and store nothing")
	return cmd
}

func readUsers(name string) (*directory.ImportFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot import: %w", err)
	}
	defer f.Close()
	return directory.ParseUsers(f)
}

// showUsers draws one line that is renewed, where somebody looks.
func showUsers(cmd *cobra.Command) func(directory.ImportProgress) {
	if !isTerminal(os.Stderr) {
		return nil
	}
	return func(p directory.ImportProgress) {
		done, what := p.Checked, "checked"
		if p.Stored > 0 {
			done, what = p.Stored, "stored"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "\r\033[K%s %d of %d users", what, done, p.Total)
	}
}

func printImport(cmd *cobra.Command, file *directory.ImportFile, err error, dryRun bool, took time.Duration) error {
	if isTerminal(os.Stderr) {
		fmt.Fprint(cmd.ErrOrStderr(), "\r\033[K")
	}
	var wrong *directory.ImportErrors
	switch {
	case errors.As(err, &wrong):
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "LINE\tCOLUMN\tWHAT IS WRONG")
		for _, e := range wrong.Errors {
			fmt.Fprintf(w, "%d\t%s\t%s\n", e.Line, e.Column, e.Message)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return fmt.Errorf("nothing was stored: the file has %d errors in %d users", wrong.Total, file.Total)
	case errors.Is(err, directory.ErrNotFound):
		return errors.New("there is no such company")
	case err != nil:
		return err
	case dryRun:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d users can be imported; nothing was stored\n", file.Total)
	default:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d users were imported in %.1f s\n", file.Total, took.Seconds())
	}
	return err
}
