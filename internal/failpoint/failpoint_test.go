package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		spec string
		name string
		left int64
		bad  bool
	}{
		{spec: ""},
		{spec: "sink.after-insert", name: "sink.after-insert", left: 1},
		{spec: "before-commit:3", name: "before-commit", left: 3},
		{spec: "before-commit:0", bad: true},
		{spec: "before-commit:x", bad: true},
		{spec: ":2", bad: true},
	} {
		p, err := parse(tc.spec)
		if (err != nil) != tc.bad {
			t.Errorf("parse(%q): error %v, want an error: %v", tc.spec, err, tc.bad)
			continue
		}
		if tc.bad || tc.name == "" {
			if p != nil {
				t.Errorf("parse(%q) armed %q", tc.spec, p.name)
			}
			continue
		}
		if p.name != tc.name || p.left.Load() != tc.left {
			t.Errorf("parse(%q) = %q, %d", tc.spec, p.name, p.left.Load())
		}
	}
}

func TestHitCountsOnlyItsStep(t *testing.T) {
	p, err := parse("b:2")
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	p.kill = func() { killed++ }
	for i, step := range []string{"a", "b", "a", "b", "b"} {
		p.hit(step)
		if want := map[bool]int{false: 0, true: 1}[i >= 3]; killed != want {
			t.Fatalf("after step %d killed %d times, want %d", i, killed, want)
		}
	}
}

// The test binary runs itself with the failpoint armed.
func TestHitKillsTheProcess(t *testing.T) {
	if os.Getenv("FAILPOINT_CHILD") != "" {
		Hit("here")
		Hit("here")
		os.Exit(0)
	}
	for spec, want := range map[string]bool{"here:2": true, "here:3": false, "elsewhere": false} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHitKillsTheProcess$")
		cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", Env+"="+spec)
		err := cmd.Run()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != want {
			t.Errorf("%s=%s: killed %v (%v), want %v", Env, spec, killed, err, want)
		}
	}
}
