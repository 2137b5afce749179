package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// userOf is the user whose process has connected, as the kernel saw it then; -1
// when it does not say.
func userOf(c net.Conn) int {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return -1
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	_ = raw.Control(func(fd uintptr) {
		if who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(who.Uid)
		}
	})
	return uid
}
