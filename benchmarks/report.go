// Package benchmarks measures what Earshot claims. Each folder is one claim;
// its *.md is what `make bench` last wrote there.
package benchmarks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/PID/stat on Linux (USER_HZ).
const clockTick = 10 * time.Millisecond

// CPU is the processor time that a process has used, user and system.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("cannot read the CPU time of %d: %w", pid, err)
	}
	// The second field is the name in parentheses, which may hold spaces.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read the CPU time of %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// RSS is the resident memory of a process in bytes, pages of mapped files left out.
func RSS(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of %d: %w", pid, err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kb, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no RssAnon for %d", pid)
}

// Machine describes where a figure was measured.
func Machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		fields := strings.Fields(string(text))
		if kb, err := strconv.Atoi(fields[1]); err == nil {
			memory = fmt.Sprintf(", %d GiB", kb>>20)
		}
	}
	return fmt.Sprintf("%s, %d cores%s, %s, shared and noisy", model, runtime.NumCPU(), memory, runtime.Version())
}

// Write stores a result in a file of the calling benchmark's folder.
func Write(file, title, command, body string) error {
	_, caller, _, _ := runtime.Caller(1)
	name := filepath.Join(filepath.Dir(caller), file)
	text := fmt.Sprintf("# %s\n\n`%s` on %s:\n%s.\n\n%s", title, command, time.Now().UTC().Format(time.DateOnly), Machine(), body)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}

// Profile stores a profile of a process that serves net/http/pprof on its admin
// address; without a file name it does nothing.
func Profile(admin, kind, file string) error {
	if file == "" {
		return nil
	}
	res, err := http.Get("http://" + admin + "/debug/pprof/" + kind)
	if err != nil {
		return fmt.Errorf("cannot take a profile: %w", err)
	}
	defer res.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("cannot store a profile: %w", err)
	}
	_, err = io.Copy(out, res.Body)
	return errors.Join(err, out.Close())
}
