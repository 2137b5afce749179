package verbs

import "syscall"

// tied is how a process is started that ends when the thread that started it does, and that a Ctrl-C of this process does not
// reach: this process ends it.
func tied() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
