package conn

import (
	"syscall"
	"time"

	"lapid/transport/reactor"
)

// boundUnsent sets that for a connection.
func boundUnsent(c syscall.RawConn, stall time.Duration) {
	_ = c.Control(func(fd uintptr) { reactor.BoundUnsent(int(fd), unsentAtMost, stall) })
}
