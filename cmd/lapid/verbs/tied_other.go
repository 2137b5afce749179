//go:build !linux

package verbs

import "syscall"

// tied is how a process is started that a Ctrl-C of this process does not reach: this process ends it. If this process is
// killed it goes on.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
