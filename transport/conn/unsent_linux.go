package conn

import "syscall"

// unsentAtMost is how much of an answer the kernel takes from us before it has
// sent it, in bytes. Without it a reader that takes nothing has four megabytes
// wait for it, and a thousand of them so much that the kernel, short of memory
// for all of TCP, drops what others send: live queries then took a second. What
// is on its way to a fast reader is not counted.
const unsentAtMost = 256 << 10

// tcpNotsentLowat is TCP_NOTSENT_LOWAT, which package syscall does not name.
const tcpNotsentLowat = 25

// boundUnsent sets that for a connection.
func boundUnsent(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) { // refused, as by a Unix socket: the kernel's own bounds
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, unsentAtMost)
	})
}
