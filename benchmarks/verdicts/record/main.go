// Record makes the calls of benchmarks/verdicts/calls/sip-*: real phones in
// network namespaces call each other over a path that does to their packets what
// a scenario says, and what was done is measured and written beside the capture.
//
//	go run ./benchmarks/verdicts/record list
//	go run ./benchmarks/verdicts/record [-out dir] [-parallel n] all|NAME|PREFIX* ...
//	go run ./benchmarks/verdicts/record [-out dir] -label all|NAME|PREFIX* ...
//
// It needs root and the programs that README.md names.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

func main() {
	out := flag.String("out", "benchmarks/verdicts/calls", "folder to write the calls into")
	parallel := flag.Int("parallel", 3, "calls at the same time")
	keep := flag.Bool("keep", false, "keep the folder of each call with its phones' output, and say where it is")
	label := flag.Bool("label", false, "record nothing: write the labels of scenarios into the calls that there are")
	flag.Parse()
	if err := run(*out, *parallel, *keep, *label, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out string, parallel int, keep, label bool, names []string) error {
	if len(names) == 1 && names[0] == "list" {
		for _, s := range scenarios {
			fmt.Printf("%-34s %s\n", s.Name, s.What)
		}
		return nil
	}
	chosen := choose(names)
	if len(chosen) == 0 {
		return errors.New("cannot record: name scenarios, or all, or list")
	}
	if label {
		for _, s := range chosen {
			if err := s.relabel(filepath.Join(out, s.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	var calls errgroup.Group
	calls.SetLimit(parallel)
	failed := make([]error, len(chosen))
	for i, s := range chosen {
		calls.Go(func() error {
			failed[i] = record(s, filepath.Join(out, s.Name), keep)
			if failed[i] != nil {
				fmt.Fprintf(os.Stderr, "%-34s %v\n", s.Name, failed[i])
			}
			return nil // the others go on
		})
	}
	_ = calls.Wait()
	if err := errors.Join(failed...); err != nil {
		return errors.New("some calls could not be recorded")
	}
	return nil
}

func choose(names []string) []*Scenario {
	var chosen []*Scenario
	for i := range scenarios {
		for _, name := range names {
			prefix, wild := strings.CutSuffix(name, "*")
			if name == "all" || name == scenarios[i].Name || wild && strings.HasPrefix(scenarios[i].Name, prefix) {
				chosen = append(chosen, &scenarios[i])
				break
			}
		}
	}
	return chosen
}
