package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/earshot/earshot/processors/quality"
)

type verdictSettings struct {
	Rules string `koanf:"rules" doc:"YAML file of the rules that verdicts are made with, or the name of a preset: earshot, teams, twilio, webex; empty: earshot. A change needs a restart"`
}

func rulesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "Check or show the rules that verdicts are made with"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check FILE", Short: "Say whether a file of rules is right, and all that is wrong with it", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				book, err := quality.LoadRules(args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "The rules are right: %s.\n", inForce(book))
				return err
			},
		},
		&cobra.Command{
			Use: "show [NAME]", Short: "Show the sets of rules, or every value of one and the set it comes from", Args: cobra.MaximumNArgs(1),
			Long: `Show the sets of rules that there are and the companies they hold for; with the name of
a set every value that holds in it, and the set that gave it.

Reads verdicts.rules, as the processors do.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				s, _, err := load(cmd)
				if err != nil {
					return err
				}
				book, err := quality.LoadRules(s.Verdicts.Rules)
				if err != nil {
					return err
				}
				if len(args) == 0 {
					return printSets(cmd.OutOrStdout(), book)
				}
				set, err := book.Set(args[0])
				if err != nil {
					return err
				}
				return printSet(cmd.OutOrStdout(), set)
			},
		},
	)
	return cmd
}

// inForce says in a line which rules hold for whom.
func inForce(book *quality.RuleBook) string {
	text := book.Default().Rules.Version
	companies := book.Companies()
	for _, company := range slices.Sorted(maps.Keys(companies)) {
		text += fmt.Sprintf(", %s for %s", book.For(company).Version, company)
	}
	return text
}

func printSets(out io.Writer, book *quality.RuleBook) error {
	holds := map[string][]string{book.Default().Name: {"default"}}
	companies := book.Companies()
	for _, company := range slices.Sorted(maps.Keys(companies)) {
		holds[companies[company]] = append(holds[companies[company]], company)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SET\tVERSION\tBASED ON\tHOLDS FOR")
	for _, set := range book.Sets() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", set.Name, set.Rules.Version, orDash(set.BasedOn), orDash(strings.Join(holds[set.Name], ", ")))
	}
	return w.Flush()
}

func printSet(out io.Writer, set quality.RuleSet) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tVALUE\tFROM\tMAY BE")
	for _, v := range set.Values() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Key, v.Text, v.From, v.May)
	}
	return w.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
