//go:build !linux

package conn

import "syscall"

// boundUnsent does nothing here.
func boundUnsent(syscall.RawConn) {}
