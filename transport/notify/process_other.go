//go:build !linux

package notify

import "syscall"

// groupOfItsOwn is how a program is started: as whom.
func groupOfItsOwn(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true}
}
