package notify

import "syscall"

// groupOfItsOwn is how a program is started: as whom, and so that it ends with the server,
// whatever ends that.
func groupOfItsOwn(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
