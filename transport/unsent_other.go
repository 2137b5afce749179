//go:build !linux

package transport

import "syscall"

// boundUnsent does nothing here.
func boundUnsent(syscall.RawConn) {}
