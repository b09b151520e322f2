package engines

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ClickHouse remembers the tokens of inserts in a log of its own in each table's directory, a line for each:
//
//	1 <TAB> name of the part <TAB> token      (2: the part was dropped)
//
// It writes the line before it gives the part its name. Killed between the two, it comes back without the part and
// with its token, takes the insert that is tried again for one that it has, and its rows are lost. So before the
// engine starts, tokens whose part is not there are taken out of the log: the rows were never stored.

// part is a part of a MergeTree by its name: the blocks of one partition from lowest to highest.
type part struct {
	partition       string
	lowest, highest int64
}

// parsePart reads PARTITION_LOWEST_HIGHEST_LEVEL, with a fifth number after a mutation.
func parsePart(name string) (part, bool) {
	fields := strings.Split(name, "_")
	if len(fields) != 4 && len(fields) != 5 {
		return part{}, false
	}
	lowest, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return part{}, false
	}
	highest, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return part{}, false
	}
	return part{fields[0], lowest, highest}, true
}

// covers says whether p is other, or was merged from it.
func (p part) covers(other part) bool {
	return p.partition == other.partition && p.lowest <= other.lowest && p.highest >= other.highest
}

// recoverTokens forgets the tokens of parts that are not there, in every table below a ClickHouse directory that no
// engine has open. It returns how many they were.
func recoverTokens(dir string) (forgotten int, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "store", "*", "*", "deduplication_logs", "deduplication_log_*.txt"))
	if err != nil {
		return 0, fmt.Errorf("cannot look for the tokens of inserts: %w", err)
	}
	for _, log := range logs {
		n, err := recoverTokenLog(log, filepath.Join(dir, "tokens.tmp"))
		if err != nil {
			return forgotten, fmt.Errorf("cannot recover the tokens of inserts: %w", err)
		}
		forgotten += n
	}
	return forgotten, nil
}

// recoverTokenLog writes what is left to tmp first: beside the log the engine would take it for one.
func recoverTokenLog(log, tmp string) (forgotten int, err error) {
	entries, err := os.ReadDir(filepath.Dir(filepath.Dir(log)))
	if err != nil {
		return 0, err
	}
	var parts []part
	for _, e := range entries {
		// What is not complete has a name with tmp before it, and is thrown away when the table is opened.
		if p, ok := parsePart(e.Name()); ok && e.IsDir() {
			parts = append(parts, p)
		}
	}
	content, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	var kept bytes.Buffer
	for line := range bytes.Lines(content) {
		fields := strings.Split(strings.TrimSuffix(string(line), "\n"), "\t")
		if len(fields) == 3 && fields[0] == "1" {
			p, ok := parsePart(fields[1])
			if ok && !slices.ContainsFunc(parts, func(there part) bool { return there.covers(p) }) {
				forgotten++
				continue
			}
		}
		kept.Write(line)
	}
	if forgotten == 0 {
		return 0, nil
	}
	if err := writeSync(tmp, os.O_TRUNC, kept.Bytes(), 0o640); err != nil {
		return 0, err
	}
	return forgotten, os.Rename(tmp, log)
}
