package engines

import "syscall"

// childAttributes keep a terminal's Ctrl-C away from the engines, which stop after everything that uses them, and let
// the kernel end a child whose parent is gone, in case it does not notice the end of its standard input.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
