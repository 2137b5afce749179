//go:build !linux

package conn

import (
	"syscall"
	"time"
)

// boundUnsent does nothing here.
func boundUnsent(syscall.RawConn, time.Duration) {}
