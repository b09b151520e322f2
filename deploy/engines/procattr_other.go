//go:build !linux

package engines

import "syscall"

// childAttributes keep a terminal's Ctrl-C away from the engines, which stop after everything that uses them.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
